"""Save and load a run: tensors as safetensors, everything else in a JSON manifest with their
SHA-256. Nothing is pickled.

A save takes the place of the one before only when all of it is on the disk, and the one before is
kept: a full disk or a crash in the middle leaves it the newest, and damage to the newest falls back
to it with a warning (``generations`` says how). safetensors itself notices few flipped bits; the
checksums notice all.
"""

from __future__ import annotations

import json
import math
import platform
import warnings
from dataclasses import asdict, dataclass, field
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from pydantic import TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors import torch as safetensors
from torch import Tensor

from aevb.config import Config
from aevb.datasets.schema import Schema
from aevb.errors import (
    CannotWriteError,
    DamagedCheckpointWarning,
    DataError,
    NotFoundError,
    OutputExistsError,
)
from aevb.parts.likelihoods import LIKELIHOODS
from aevb.runs.build import build
from aevb.runs.run import Run
from aevb.storage import saves
from aevb.storage.saves import Generation, Manifest

METRICS = "metrics.jsonl"
SETTINGS = "config.toml"
TERMS = ("bound", "reconstruction", "kl")


@dataclass(frozen=True)
class Progress:
    """How far a run came. epoch: completed epochs. best_bound: of the validation rows, nats,
    reached at best_epoch.

    threads, rows_sha256: what the run's bits depend on: CPU threads, and the training and
    validation rows; "" is unknown. step: completed steps of the epoch under way, the one after
    ``epoch``. totals: sums over its rows of its figures so far. engine: how steps are executed, as
    plain values: mode, threads, precision, world size.
    """

    epoch: int = 0
    best_epoch: int = 0
    best_bound: float | None = None
    threads: int = 0
    rows_sha256: str = ""
    step: int = 0
    totals: dict[str, float] = field(default_factory=dict)
    engine: dict[str, Any] = field(default_factory=dict)

    def kept_epoch(self, config: Config) -> int:
        """The epoch whose weights are to be used: the best one if ``config`` has patience, else the
        last."""
        return self.best_epoch if config.patience and self.best_epoch else self.epoch


_CONFIG, _SCHEMA, _PROGRESS = TypeAdapter(Config), TypeAdapter(Schema), TypeAdapter(Progress)


def save(
    run: Run,
    folder: str | Path,
    *,
    weights: dict[str, Tensor] | None = None,
    progress: Progress | None = None,
    state: dict[str, Tensor] | None = None,
    overwrite: bool = False,
) -> None:
    """Write the run into ``folder``. Raises OutputExistsError if there is a run already, unless
    ``overwrite``.

    weights: by default those of ``run.model``. state: further tensors needed to continue training,
    of a run that saves itself as it goes: it replaces its own save, and the one before is kept
    beside it. Without, what was needed to continue a run that was there goes. Raises
    CannotWriteError; the folder then still holds a whole save.
    """
    folder = Path(folder)
    if state is None and not overwrite and (exists(folder) or (folder / SETTINGS).is_file()):
        raise OutputExistsError(
            f"{folder} already holds a run. Choose another folder, or replace it with"
            " overwrite=True."
        )
    progress = progress or Progress(epoch=run.trained or run.kept_epoch, best_epoch=run.kept_epoch)
    tensors = {"model": weights or run.model.state_dict()}
    if run.baseline is not None:
        tensors["baseline"] = {"baseline": run.baseline}
    if state is not None:
        tensors["state"] = state
    try:
        folder.mkdir(parents=True, exist_ok=True)
        manifest = Manifest(
            versions=_versions(),
            data=run.source,
            likelihood=run.likelihood,
            config=run.config.to_dict(),
            data_schema=_SCHEMA.dump_python(run.schema, mode="json"),
            progress=asdict(progress),
            files={
                name: saves.write_file(folder, name, _packed(each))
                for name, each in tensors.items()
            },
        )
        saves.publish(folder, manifest)
        if state is None:  # settings and history of a run that was replaced
            for name in (SETTINGS, METRICS):
                (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise CannotWriteError(
            f"{error.strerror or error}. The last whole save in {folder} is unchanged; free some"
            " space or use another folder."
        ) from error


def load(folder: str | Path) -> Run:
    """Read a run. Raises NotFoundError if there is none, DataError if any file of it is damaged or
    was changed.

    If the newest save is damaged and the one before is whole, that one is taken, with a
    DamagedCheckpointWarning; if only the files needed to continue are damaged, the model is.
    """
    return _run(*_read(Path(folder), "model", "baseline"))


def read_progress(folder: str | Path) -> Progress:
    """How far the run came. Raises and warns as ``load_progress``."""
    return _read(Path(folder), strict=True)[3]


def load_progress(folder: str | Path) -> tuple[Progress, dict[str, Tensor]]:
    """How far the run came and the tensors to continue from. Raises as ``load``, and DataError if
    it cannot be continued.

    Takes the save before, with a warning, wherever ``load`` does.
    """
    found, _, _, progress = _read(Path(folder), "state", strict=True)
    return progress, _state(found)


def load_to_continue(folder: str | Path) -> tuple[Run, Progress, dict[str, Tensor]]:
    """What ``load`` and ``load_progress`` return, all of one save. Raises and warns as
    ``load_progress``."""
    parts = _read(Path(folder), "model", "baseline", "state", strict=True)
    return _run(*parts), parts[3], _state(parts[0])


def exists(folder: str | Path) -> bool:
    """Whether ``folder`` holds a saved run."""
    return saves.exists(Path(folder))


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The records of metrics.jsonl, up to the first line that is damaged or was cut short."""
    records: list[dict[str, Any]] = []
    path = folder / METRICS
    if path.is_file():
        for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
            try:
                record = json.loads(line)
                if not all(math.isfinite(record[name]) for name in ("epoch", *TERMS)):
                    break
                records.append(record)
            except (ValueError, KeyError, TypeError, RecursionError):
                break
    return records


@cache
def _versions() -> dict[str, str]:
    """What wrote the save. Looked up once: a package's version is found by parsing files, which
    takes as long as a save."""
    return {name: version(name) for name in ("aevb", "torch", "safetensors")} | {
        "python": platform.python_version()
    }


def _packed(tensors: dict[str, Tensor]) -> bytes:
    # Copies: safetensors refuses tensors that share memory.
    return safetensors.save(
        {key: tensor.detach().cpu().contiguous().clone() for key, tensor in tensors.items()}
    )


def _read(
    folder: Path, *wanted: str, strict: bool = False
) -> tuple[Generation, Config, Schema, Progress]:
    """The save to use, and its parts. Warns, at the line that called our caller, if it is not the
    newest."""
    if not saves.exists(folder):
        if (folder / SETTINGS).is_file():
            raise NotFoundError(
                f"{folder} was interrupted before it was saved. Go on with: aevb fit --resume --out"
                f" {folder}"
            )
        what = "is not a run: it has no manifest.json" if folder.exists() else "does not exist"
        raise NotFoundError(f"{folder} {what}. Train one with: aevb fit DATA --out {folder}")
    found = saves.read(folder, wanted, strict=strict)
    parts = _parts(found)
    if found.damage:
        at = f"epoch {parts[2].epoch}, step {parts[2].step}"
        used = (
            f"only the model of {at} can be used and not continued; restore {folder} from a copy to"
            " train on"
            if found.partial
            else (
                f"the save of {at}, {found.path.name}, is used instead; "
                f"restore {folder} from a copy, or go on from there with aevb fit --resume"
            )
        )
        warnings.warn(f"{found.damage}: {used}.", DamagedCheckpointWarning, stacklevel=3)
    return found, *parts


def _run(found: Generation, config: Config, schema: Schema, progress: Progress) -> Run:
    folder, manifest = found.path.parent, found.manifest
    try:
        with torch.random.fork_rng():
            model, _ = build(config, manifest.likelihood, schema.shape, 1, schema.levels)
        model.load_state_dict(_tensors(found, "model"))
    except (RuntimeError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        first = str(error).split("\n")[0]
        raise DataError(
            f"{folder}: the saved weights do not fit the saved configuration: {first}"
        ) from error
    model.eval()
    baseline = _tensors(found, "baseline")["baseline"] if "baseline" in manifest.files else None
    history = read_metrics(folder)
    if found.damage:  # the lines of later epochs belong to the save that was lost
        history = [record for record in history if record["epoch"] <= progress.epoch]
    kept, epoch = progress.kept_epoch(config), progress.epoch
    return Run(
        model, config, manifest.likelihood, schema, manifest.data, history, kept, baseline, epoch
    )


def _state(found: Generation) -> dict[str, Tensor]:
    if "state" not in found.manifest.files:
        folder = found.path.parent
        raise DataError(
            f"{folder} holds a model without the optimiser's state: it can be used but not"
            " continued"
        )
    return _tensors(found, "state")


def _parts(found: Generation) -> tuple[Config, Schema, Progress]:
    manifest = found.manifest
    try:
        LIKELIHOODS.check(manifest.likelihood)
        return (
            _CONFIG.validate_python(manifest.config),
            _SCHEMA.validate_python(manifest.data_schema),
            _PROGRESS.validate_python(manifest.progress),
        )
    except (ValueError, TypeError) as error:
        first = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        raise DataError(
            f"{found.path} holds settings that this version of aevb cannot use: {first}"
        ) from error


def _tensors(found: Generation, name: str) -> dict[str, Tensor]:
    if name not in found.contents:
        raise DataError(
            f"{found.path} names no {name}: the run is not whole. Restore it from a copy or train"
            " anew."
        )
    try:
        return safetensors.load(found.contents[name])
    except SafetensorError as error:
        raise DataError(
            f"{found.path.parent / found.manifest.files[name].file} is damaged: {error}"
        ) from error
