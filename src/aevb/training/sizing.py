"""Choose the network, tell how large a run is, and refuse what does not fit into the memory."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from aevb import memory
from aevb.config import Config
from aevb.errors import UsageError
from aevb.runs.build import settle_network
from aevb.runs.sizes import Size, refuse_too_large, size_of
from aevb.storage.checkpoint import SETTINGS
from aevb.training.split import Prepared


def settled(config: Config, prepared: Prepared, resumed: Path | None) -> tuple[Config, str]:
    """Choose the network if it is ``auto``, and say why.

    A resumed run keeps its network, which may have been chosen by an older rule.

    Args:
        config: The settings.
        prepared: The rows.
        resumed: The folder of the run that is resumed, or None.
    """
    if config.network == "auto" and resumed is not None and (name := _network_of(resumed)):
        return replace(config, network=name), "as it was"
    schema = prepared.plan.schema
    return settle_network(config, schema.shape, prepared.data.kind or schema.kind)


def _network_of(folder: Path) -> str | None:
    try:
        name = tomllib.loads((folder / SETTINGS).read_text(encoding="utf-8")).get("network")
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return None  # resuming the run will report this
    return str(name) if name else None


def sized(prepared: Prepared, config: Config, *, saves: bool, device: torch.device) -> Size:
    """Compute how large a run is. config: with the name of a network."""
    return _size(prepared, config, saves=saves, device=device)


def _size(
    prepared: Prepared, config: Config, *, saves: bool, device: torch.device, **change: Any
) -> Size:
    """The size of a run with some settings changed."""
    config, schema = replace(config, **change), prepared.plan.schema
    if "resize" in change:
        schema = replace(schema, shape=(*(config.picture_size() or ()), *schema.shape[2:]))
    held_out = 0 if prepared.validation is None else len(prepared.validation)
    is_streamed = prepared.data.in_file
    return size_of(
        config,
        prepared.plan.likelihood,
        schema,
        rows=len(prepared.train),
        held_out=held_out,
        saves=saves,
        on_gpu=device.type == "cuda",
        streamed=is_streamed,
    )


def require_memory(
    size: Size,
    prepared: Prepared,
    config: Config,
    *,
    saves: bool,
    resumes: bool,
    device: torch.device,
) -> None:
    """Raise UsageError if a run takes more memory than the device has left.

    Args:
        size: Of the run.
        prepared: The rows.
        config: The settings.
        saves: Whether the run saves itself.
        resumes: Whether the run goes on, so that its settings cannot be changed.
        device: Where it is trained.
    """

    def smaller(**change: Any) -> Size:
        if resumes:
            raise UsageError("a run that goes on keeps its settings")
        return _size(prepared, config, saves=saves, device=device, **change)

    data = prepared.data
    refuse_too_large(
        size,
        _free(device),
        smaller,
        config,
        folder=data.kind == "pictures" and data.names_of == "file",
    )


def _free(device: torch.device) -> memory.Free:
    if device.type == "cuda":
        return memory.Free(torch.cuda.mem_get_info(device)[0], "on the GPU")
    return memory.free()


@contextmanager
def memory_errors_told(size: Size) -> Iterator[None]:
    """Inside a ``with`` block, turn the errors of a full memory into a ``UsageError``."""
    try:
        yield
    except (MemoryError, torch.OutOfMemoryError) as error:
        raise _full(size) from error
    except RuntimeError as error:
        # torch has no class of its own for a full memory of the machine.
        if "can't allocate memory" not in str(error):
            raise
        raise _full(size) from error


def _full(size: Size) -> UsageError:
    return UsageError(
        f"the memory is full: this run has {size.in_words()}; use a smaller --batch-size, or"
        " smaller --hidden"
    )
