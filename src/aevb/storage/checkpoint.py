"""Save and load a run.

Tensors go into safetensors files. A JSON manifest holds everything else, and the SHA-256 of each
file. Nothing is pickled.

A new save counts as the newest only when all of it is on the disk. Until then, also on a full disk
or after a crash, the previous save stays the newest. The previous save is kept. If the newest save
is damaged, loading falls back to it, with a warning (``saves.py`` says how). safetensors itself
notices few flipped bits; the checksums notice all.
"""

from __future__ import annotations

import json
import math
import platform
import warnings
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

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
from aevb.runs.build import build, prior_for
from aevb.runs.run import Run
from aevb.storage import saves
from aevb.storage.saves import File, Generation, Manifest

METRICS = "metrics.jsonl"
SETTINGS = "config.toml"
TERMS = ("bound", "reconstruction", "kl")


@dataclass(frozen=True)
class Progress:
    """How far a run came.

    epoch: number of completed epochs. best_epoch: the epoch whose weights patience keeps.
    best_bound: the best validation bound so far in nats, or log p of the validation rows.
    rows_sha256: digest of the training and validation rows, "" if it is unknown. step: number of
    completed steps of the current epoch, which is the one after ``epoch``. totals: sums of the
    figures over the rows of the current epoch so far. engine: how steps are executed, as plain
    values (``engine.step.Engine``). Older formats also hold ``threads``, which is ignored. steps:
    number of completed steps of the completed epochs, 0 if it is unknown. seconds: time of training
    so far, if the settings limit it (``minutes``), else 0. prior: the settings of a prior that was
    fitted to the codes of the finished run.

    Example:
        >>> import aevb
        >>> from aevb.storage.checkpoint import read_progress
        >>> config = aevb.Config(hidden=(8,), latent_dim=2, epochs=1)
        >>> run = aevb.fit("gmm", config, out="saved")
        >>> read_progress("saved").epoch
        1
    """

    epoch: int = 0
    best_epoch: int = 0
    best_bound: float | None = None
    rows_sha256: str = ""
    step: int = 0
    totals: dict[str, float] = field(default_factory=dict)
    engine: dict[str, Any] = field(default_factory=dict)
    steps: int = 0
    seconds: float = 0.0
    prior: dict[str, Any] = field(default_factory=dict)

    def kept_epoch(self, config: Config) -> int:
        """The epoch whose weights are to be used: with patience the best one, else the last.

        Example:
            >>> import aevb
            >>> from aevb.storage.checkpoint import Progress
            >>> progress = Progress(epoch=9, best_epoch=6)
            >>> progress.kept_epoch(aevb.Config()), progress.kept_epoch(aevb.Config(patience=3))
            (9, 6)
        """
        return self.best_epoch if config.patience and self.best_epoch else self.epoch


_CONFIG, _SCHEMA, _PROGRESS = TypeAdapter(Config), TypeAdapter(Schema), TypeAdapter(Progress)


class Saved(NamedTuple):
    """Everything that one save holds of a run that can be continued.

    Example:
        >>> import aevb
        >>> from aevb.storage.checkpoint import load_to_continue
        >>> config = aevb.Config(hidden=(8,), latent_dim=2, epochs=1)
        >>> run = aevb.fit("gmm", config, out="saved")
        >>> saved = load_to_continue("saved")
        >>> saved.progress.epoch, saved.run.config == run.config
        (1, True)
    """

    run: Run
    progress: Progress
    state: dict[str, Tensor]
    """The tensors needed to continue: weights, moments, and those that the objective keeps."""


class _Parts(NamedTuple):
    """A save as it was read, with its settings. Tensors are still bytes."""

    found: Generation
    config: Config
    schema: Schema
    progress: Progress


def save(
    run: Run,
    folder: str | Path,
    *,
    weights: dict[str, Tensor] | None = None,
    progress: Progress | None = None,
    state: dict[str, Tensor] | None = None,
    prior: dict[str, Tensor] | None = None,
    overwrite: bool = False,
) -> None:
    """Write a run into a folder.

    Args:
        run: the run to save.
        folder: made if it is not there.
        weights: those to save instead of those of ``run.model``.
        progress: how far the run came.
        state: further tensors that are needed to continue training. A run that saves itself while
            it trains gives them. Then its new save replaces the last one, and the last one is kept
            as the previous save. Without ``state``, a run that was in the folder can no longer be
            continued.
        prior: the tensors of a prior that was fitted after training; ``progress`` names it.
        overwrite: replace another run.

    Raises:
        OutputExistsError: there is a run already, and neither ``overwrite`` nor ``state`` is given.
        CannotWriteError: the disk is full or not writable. The last complete save is unchanged.

    Example:
        >>> import aevb
        >>> config = aevb.Config(hidden=(8,), latent_dim=2, epochs=1)
        >>> run = aevb.fit("gmm", config)
        >>> aevb.save(run, "saved")
        >>> aevb.load("saved").sample(3).tolist() == run.sample(3).tolist()
        True
    """
    folder = Path(folder)
    may_replace = overwrite or state is not None
    if not may_replace and (exists(folder) or (folder / SETTINGS).is_file()):
        raise OutputExistsError(
            f"{folder} already holds a run. Choose another folder, or replace it with"
            " overwrite=True."
        )
    progress = progress or Progress(
        epoch=run.trained or run.kept_epoch,
        best_epoch=run.kept_epoch,
        steps=run.steps,
        seconds=run.seconds,
    )
    tensors = _tensors_to_save(run, weights, state)
    if prior is not None:
        tensors["prior"] = prior
    try:
        folder.mkdir(parents=True, exist_ok=True)
        files = {
            name: saves.write_file(folder, name, _packed(each)) for name, each in tensors.items()
        }
        saves.publish(folder, _manifest(run, progress, files))
        if state is None:
            _forget_training(folder)
    except OSError as error:
        raise CannotWriteError(
            f"{error.strerror or error}. The last whole save in {folder} is unchanged; free some"
            " space or use another folder."
        ) from error


def _tensors_to_save(
    run: Run, weights: dict[str, Tensor] | None, state: dict[str, Tensor] | None
) -> dict[str, dict[str, Tensor]]:
    """The tensors of each file of a save, by the file's name."""
    tensors = {"model": weights or run.model.state_dict()}
    if run.baseline is not None:
        tensors["baseline"] = {"baseline": run.baseline}
    if state is not None:
        tensors["state"] = state
    return tensors


def _manifest(run: Run, progress: Progress, files: dict[str, File]) -> Manifest:
    """Everything in a save except its tensors."""
    return Manifest(
        versions=_versions(),
        data=run.source,
        likelihood=run.likelihood,
        config=run.config.to_dict(),
        data_schema=_SCHEMA.dump_python(run.schema, mode="json"),
        progress=asdict(progress),
        files=files,
    )


def _forget_training(folder: Path) -> None:
    """Remove settings and history of a run that was replaced: it cannot be continued."""
    for name in (SETTINGS, METRICS):
        (folder / name).unlink(missing_ok=True)


def load(folder: str | Path) -> Run:
    """Read a run.

    If the newest save is damaged and the previous one is not, the previous one is read, with a
    DamagedCheckpointWarning. If every save is damaged, but the model of one is not, that model is
    read, also with a warning.

    Raises:
        NotFoundError: there is no run.
        DataError: a file is damaged or was changed, and no other save can be read.

    Example:
        >>> import aevb
        >>> config = aevb.Config(hidden=(8,), latent_dim=2, epochs=2)
        >>> run = aevb.fit("gmm", config, out="loaded")
        >>> again = aevb.load("loaded")
        >>> again.trained, again.config == run.config
        (2, True)
    """
    parts = _read(Path(folder), "model", "baseline", "prior")
    run, settings = _run(parts), parts.progress.prior
    if not settings:
        return run
    config = replace(run.config, **settings)
    prior = prior_for(config)
    prior.load_state_dict(_tensors(parts.found, "prior"))
    run.model.prior = prior.eval()
    return replace(run, config=config)


def read_progress(folder: str | Path) -> Progress:
    """How far the run in ``folder`` came. Raises and warns as ``load_progress``.

    Example:
        >>> import aevb
        >>> from aevb.storage.checkpoint import read_progress
        >>> config = aevb.Config(hidden=(8,), latent_dim=2, epochs=2)
        >>> run = aevb.fit("gmm", config, out="measured")
        >>> read_progress("measured").epoch
        2
    """
    return _read(Path(folder), strict=True).progress


def load_progress(folder: str | Path) -> tuple[Progress, dict[str, Tensor]]:
    """How far the run came, and the tensors to continue from.

    Like ``load``, it falls back to the previous save with a warning. It raises the errors of
    ``load``, and DataError for a run that cannot be continued.

    Example:
        >>> import aevb
        >>> from aevb.storage.checkpoint import load_progress
        >>> config = aevb.Config(hidden=(8,), latent_dim=2, epochs=2)
        >>> run = aevb.fit("gmm", config, out="continued")
        >>> progress, state = load_progress("continued")
        >>> progress.epoch, float(state["optimizer.0.step"])  # 15 steps in each epoch
        (2, 30.0)
    """
    parts = _read(Path(folder), "state", strict=True)
    return parts.progress, _state(parts.found)


def load_to_continue(folder: str | Path) -> Saved:
    """Read a run, and everything that is needed to continue it, from one save.

    Raises and warns as ``load_progress``.

    Example:
        >>> import aevb
        >>> from aevb.storage.checkpoint import load_to_continue
        >>> config = aevb.Config(hidden=(8,), latent_dim=2, epochs=2)
        >>> run = aevb.fit("gmm", config, out="whole")
        >>> saved = load_to_continue("whole")
        >>> saved.progress.epoch, saved.run.trained
        (2, 2)
    """
    parts = _read(Path(folder), "model", "baseline", "state", strict=True)
    return Saved(_run(parts), parts.progress, _state(parts.found))


def exists(folder: str | Path) -> bool:
    """Whether ``folder`` holds a saved run.

    Example:
        >>> from aevb.storage.checkpoint import exists
        >>> exists("nowhere")
        False
    """
    return saves.exists(Path(folder))


def read_metrics(folder: Path) -> list[dict[str, Any]]:
    """The records of metrics.jsonl, up to the first line that is damaged or was cut short.

    Example:
        >>> from pathlib import Path
        >>> import aevb
        >>> from aevb.storage.checkpoint import read_metrics
        >>> config = aevb.Config(hidden=(8,), latent_dim=2, epochs=2)
        >>> run = aevb.fit("gmm", config, out="lines")
        >>> [record["epoch"] for record in read_metrics(Path("lines"))]
        [1, 2]
    """
    records: list[dict[str, Any]] = []
    path = folder / METRICS
    if not path.is_file():
        return records
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        record = _record(line)
        if record is None:
            break
        records.append(record)
    return records


def _record(line: str) -> dict[str, Any] | None:
    """A record of metrics.jsonl, or None if it is not whole."""
    try:
        record: dict[str, Any] = json.loads(line)
        is_whole = all(math.isfinite(record[name]) for name in ("epoch", *TERMS))
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return record if is_whole else None


@cache
def _versions() -> dict[str, str]:
    """The versions of the programs that write a save.

    They are looked up only once: to find a version, Python parses files, which takes as long as a
    save.
    """
    return {name: version(name) for name in ("aevb", "torch", "safetensors")} | {
        "python": platform.python_version()
    }


def _packed(tensors: dict[str, Tensor]) -> bytes:
    # Copies, since safetensors refuses tensors that share memory.
    return safetensors.save(
        {key: tensor.detach().cpu().contiguous().clone() for key, tensor in tensors.items()}
    )


def _read(folder: Path, *wanted: str, strict: bool = False) -> _Parts:
    """The save to use, and its settings.

    If it is not the newest one, or only its model can be used, a warning names the damage. It
    points at the line that called our caller.
    """
    if not saves.exists(folder):
        raise _no_run(folder)
    found = saves.read(folder, wanted, strict=strict)
    parts = _Parts(found, *_settings(found))
    if found.damage:
        at = f"epoch {parts.progress.epoch}, step {parts.progress.step}"
        used = (
            f"only the model of {at} can be used and not continued; restore {folder} from a copy to"
            " train on"
            if found.partial
            else f"the save of {at}, {found.path.name}, is used instead; restore {folder} from a"
            " copy, or go on from there with aevb fit --resume"
        )
        warnings.warn(f"{found.damage}: {used}.", DamagedCheckpointWarning, stacklevel=3)
    return parts


def _no_run(folder: Path) -> NotFoundError:
    """The error for a folder without a save, with a remedy."""
    if (folder / SETTINGS).is_file():
        return NotFoundError(
            f"{folder} was interrupted before it was saved. Go on with: aevb fit --resume --out"
            f" {folder}"
        )
    what = "is not a run: it has no manifest.json" if folder.exists() else "does not exist"
    return NotFoundError(f"{folder} {what}. Train one with: aevb fit DATA --out {folder}")


def _run(parts: _Parts) -> Run:
    """The run of a save. Raises DataError for weights that do not fit the settings."""
    found, config, schema, progress = parts
    folder, manifest = found.path.parent, found.manifest
    try:
        with torch.random.fork_rng():
            model, _ = build(
                config, manifest.likelihood, schema.shape, 1, schema.levels, schema.families
            )
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
    # The records of later epochs belong to the save that was lost.
    if found.damage:
        history = [record for record in history if record["epoch"] <= progress.epoch]
    return Run(
        model,
        config,
        manifest.likelihood,
        schema,
        manifest.data,
        history,
        progress.kept_epoch(config),
        baseline,
        progress.epoch,
        progress.steps,
        progress.seconds,
    )


def _state(found: Generation) -> dict[str, Tensor]:
    """The tensors needed to continue. Raises DataError for a save without them."""
    if "state" not in found.manifest.files:
        folder = found.path.parent
        raise DataError(
            f"{folder} holds a model without the optimiser's state: it can be used but not"
            " continued"
        )
    return _tensors(found, "state")


def _settings(found: Generation) -> tuple[Config, Schema, Progress]:
    """Everything in a manifest but the files. Raises DataError for settings of another version."""
    manifest = found.manifest
    try:
        LIKELIHOODS.check(manifest.likelihood)
        return (
            _CONFIG.validate_python(manifest.config),
            _SCHEMA.validate_python(_with_values(manifest.data_schema)),
            _PROGRESS.validate_python(manifest.progress),
        )
    except (ValueError, TypeError) as error:
        first = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        raise DataError(
            f"{found.path} holds settings that this version of aevb cannot use: {first}"
        ) from error


def _with_values(schema: dict[str, Any]) -> dict[str, Any]:
    """The schema of a save. Before version 0.3 the name of ``values`` was ``kind``."""
    return schema if "values" in schema else {"values": schema["kind"], **schema, "kind": ""}


def _tensors(found: Generation, name: str) -> dict[str, Tensor]:
    """The tensors of one file of a save, by name."""
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
