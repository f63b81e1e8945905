"""Decide the settings of a run, tell how large it is, and refuse what is too large."""

from __future__ import annotations

import math
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
from aevb.runs import automatic
from aevb.runs.automatic import Facts, resumed
from aevb.runs.sizes import Size, refuse_too_large, size_of
from aevb.storage.checkpoint import SETTINGS
from aevb.training.split import Prepared


def settled(
    config: Config, prepared: Prepared, folder: Path | None
) -> tuple[Config, dict[str, str]]:
    """Decide the settings that are not given, and say why.

    A resumed run keeps what was decided when it began, perhaps by an older rule.

    Args:
        config: The settings as they were asked for.
        prepared: The rows.
        folder: The folder of the run that is resumed, or None.

    Returns:
        The settings of the run, and one phrase for each decision.
    """
    saved = None if folder is None else settings_of(folder)
    asked = config if saved is None else resumed(config, saved)
    found, reasons = automatic.settled(asked, _facts(prepared))
    if saved is not None and config.network == "auto":
        reasons["network"] = "as it was"
    return found, reasons


def _facts(prepared: Prepared, shape: tuple[int, ...] | None = None) -> Facts:
    """The facts about the rows. shape: of a row, if it is another one than that of the data."""
    schema = prepared.plan.schema
    shape = schema.shape if shape is None else shape
    return Facts(
        rows=len(prepared.train),
        columns=math.prod(shape),
        kind=prepared.data.kind or schema.kind,
        likelihood=prepared.plan.likelihood,
        shape=shape,
        held_out=0 if prepared.validation is None else len(prepared.validation),
    )


def settings_of(folder: Path) -> Config | None:
    """The settings of a run as its file has them, None if they cannot be read."""
    try:
        values = tomllib.loads((folder / SETTINGS).read_text(encoding="utf-8"))
        values.pop("data", None)
        return Config(**values)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, TypeError, UsageError):
        return None  # resuming the run will report this


def sized(prepared: Prepared, config: Config, *, saves: bool, device: torch.device) -> Size:
    """Compute how large a run is. config: its settings, as they were decided."""
    return _size(prepared, config, saves=saves, device=device)


def _size(
    prepared: Prepared, config: Config, *, saves: bool, device: torch.device, **change: Any
) -> Size:
    """The size of a run with some settings changed."""
    config, schema = replace(config, **change), prepared.plan.schema
    if "resize" in change:
        schema = replace(schema, shape=(*(config.picture_size() or ()), *schema.shape[2:]))
    config, _ = automatic.settled(config, _facts(prepared, schema.shape))
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
        config: The settings as they were asked for: a smaller run may get others.
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
        prepared.config or config,
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
