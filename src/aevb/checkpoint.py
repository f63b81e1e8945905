"""Save and load a run: tensors as safetensors, everything else in a JSON manifest with their SHA-256. Nothing is pickled.

The manifest is written last and replaced in one step, and it names the tensor files by their content, so a run folder is
at every instant either the old run or the new one. A full disk or a crash in the middle leaves the old one. safetensors
itself notices few flipped bits; the checksums notice all.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
import platform
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from safetensors import SafetensorError
from safetensors import torch as safetensors
from torch import Tensor

from aevb.config import Config, build
from aevb.datasets.schema import Schema
from aevb.errors import CannotWriteError, DataError, NotFoundError
from aevb.likelihoods import LIKELIHOODS
from aevb.outputs import whole
from aevb.run import Run

MANIFEST = "manifest.json"
METRICS = "metrics.jsonl"
SETTINGS = "config.toml"
FORMAT = 1
TERMS = ("bound", "reconstruction", "kl")


@dataclass(frozen=True)
class Progress:
    """How far a run came. epoch: completed epochs. best_bound: of the validation rows, nats, reached at best_epoch.

    threads, rows_sha256: what the run's bits depend on: CPU threads, and the training and validation rows; "" is unknown.
    """

    epoch: int = 0
    best_epoch: int = 0
    best_bound: float | None = None
    threads: int = 0
    rows_sha256: str = ""

    def kept_epoch(self, config: Config) -> int:
        """The epoch whose weights are to be used: the best one if ``config`` has patience, else the last."""
        return self.best_epoch if config.patience and self.best_epoch else self.epoch


class _File(BaseModel):
    model_config = ConfigDict(extra="forbid")
    file: str
    sha256: str


class _Manifest(BaseModel):
    model_config = ConfigDict(extra="forbid")
    format: int
    versions: dict[str, str]
    data: str
    likelihood: str
    config: dict[str, Any]
    data_schema: dict[str, Any]
    progress: dict[str, Any]
    files: dict[str, _File]


def save(
    run: Run,
    folder: str | Path,
    *,
    weights: dict[str, Tensor] | None = None,
    progress: Progress | None = None,
    state: dict[str, Tensor] | None = None,
) -> None:
    """Write the run into ``folder``, replacing a run that is there.

    weights: by default those of ``run.model``. state: further tensors needed to continue training.
    Raises CannotWriteError; the old run is then still whole.
    """
    folder = Path(folder)
    progress = progress or Progress(epoch=run.kept_epoch, best_epoch=run.kept_epoch)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        files = {"model": _write_tensors(folder, "model", weights or run.model.state_dict())}
        if run.baseline is not None:
            files["baseline"] = _write_tensors(folder, "baseline", {"baseline": run.baseline})
        if state is not None:
            files["state"] = _write_tensors(folder, "state", state)
        manifest = _Manifest(
            format=FORMAT,
            versions={name: version(name) for name in ("aevb", "torch", "safetensors")} | {"python": platform.python_version()},
            data=run.source,
            likelihood=run.likelihood,
            config=run.config.to_dict(),
            data_schema=TypeAdapter(Schema).dump_python(run.schema, mode="json"),
            progress=TypeAdapter(Progress).dump_python(progress, mode="json"),
            files=files,
        )
        body = manifest.model_dump(mode="json")
        text = json.dumps(body | {"sha256": _digest(body)}, indent=1)
        whole(folder / MANIFEST, lambda part: part.write_text(text, encoding="utf-8"))
    except OSError as error:
        raise CannotWriteError(
            f"{error.strerror or error}. What was saved in {folder} before is unchanged; free some space or use another folder."
        ) from error
    _remove_unnamed(folder, {file.file for file in files.values()})


def load(folder: str | Path) -> Run:
    """Read a run. Raises NotFoundError if there is none, DataError if any file of it is damaged or was changed."""
    folder = Path(folder)
    manifest = _read_manifest(folder)
    config, schema, progress = _parts(folder, manifest)
    try:
        with torch.random.fork_rng():
            model, _ = build(config, manifest.likelihood, schema.shape, 1, schema.levels)
        model.load_state_dict(_read_tensors(folder, manifest, "model"))
    except (RuntimeError, ValueError) as error:
        if isinstance(error, DataError):
            raise
        first = str(error).split("\n")[0]
        raise DataError(f"{folder}: the saved weights do not fit the saved configuration: {first}") from error
    model.eval()
    baseline = _read_tensors(folder, manifest, "baseline")["baseline"] if "baseline" in manifest.files else None
    kept = progress.kept_epoch(config)
    return Run(model, config, manifest.likelihood, schema, manifest.data, read_metrics(folder), kept, baseline)


def read_progress(folder: str | Path) -> Progress:
    """How far the run came. Raises as ``load``, but reads no tensors."""
    return _parts(Path(folder), _read_manifest(Path(folder)))[2]


def load_progress(folder: str | Path) -> tuple[Progress, dict[str, Tensor]]:
    """How far the run came and the tensors to continue from. Raises as ``load``, and DataError if it cannot be continued."""
    folder = Path(folder)
    manifest = _read_manifest(folder)
    if "state" not in manifest.files:
        raise DataError(f"{folder} holds a model without the optimiser's state: it can be used but not continued")
    return _parts(folder, manifest)[2], _read_tensors(folder, manifest, "state")


def exists(folder: str | Path) -> bool:
    """Whether ``folder`` holds a saved run."""
    return (Path(folder) / MANIFEST).is_file()


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


def _write_tensors(folder: Path, name: str, tensors: dict[str, Tensor]) -> _File:
    # Copies: safetensors refuses tensors that share memory.
    content = safetensors.save({key: tensor.detach().cpu().contiguous().clone() for key, tensor in tensors.items()})
    digest = hashlib.sha256(content).hexdigest()
    file = f"{name}-{digest[:12]}.safetensors"
    whole(folder / file, lambda part: part.write_bytes(content))
    return _File(file=file, sha256=digest)


def _remove_unnamed(folder: Path, named: set[str]) -> None:
    """Remove tensor files that the manifest no longer names, and halves that a killed process left behind."""
    for pattern in ("model-*.safetensors", "baseline-*.safetensors", "state-*.safetensors", ".*.part.safetensors"):
        for path in folder.glob(pattern):
            if path.name not in named:
                with contextlib.suppress(OSError):
                    path.unlink()


def _digest(body: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()


def _read_manifest(folder: Path) -> _Manifest:
    path = folder / MANIFEST
    if not path.is_file():
        if (folder / SETTINGS).is_file():
            raise NotFoundError(f"{folder} was interrupted before it was saved. Go on with: aevb fit --resume --out {folder}")
        what = "is not a run: it has no manifest.json" if folder.exists() else "does not exist"
        raise NotFoundError(f"{folder} {what}. Train one with: aevb fit DATA --out {folder}")
    try:
        body = json.loads(path.read_bytes())
        digest = body.pop("sha256")
        manifest = _Manifest.model_validate(body)
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError) as error:
        raise DataError(f"{path} is damaged: it is not the manifest of a run. Restore it from a copy or train anew.") from error
    if digest != _digest(body):
        raise DataError(f"{path} was changed or damaged: its SHA-256 differs. Restore it from a copy or train anew.")
    if manifest.format != FORMAT:
        raise DataError(f"{path} has format {manifest.format}, this version of aevb reads format {FORMAT}")
    return manifest


def _parts(folder: Path, manifest: _Manifest) -> tuple[Config, Schema, Progress]:
    try:
        LIKELIHOODS.check(manifest.likelihood)
        return (
            TypeAdapter(Config).validate_python(manifest.config),
            TypeAdapter(Schema).validate_python(manifest.data_schema),
            TypeAdapter(Progress).validate_python(manifest.progress),
        )
    except (ValueError, TypeError) as error:
        first = error.errors()[0]["msg"] if isinstance(error, ValidationError) else error
        raise DataError(f"{folder / MANIFEST} holds settings that this version of aevb cannot use: {first}") from error


def _read_tensors(folder: Path, manifest: _Manifest, name: str) -> dict[str, Tensor]:
    if name not in manifest.files:
        raise DataError(f"{folder / MANIFEST} names no {name}: the run is not whole. Restore it from a copy or train anew.")
    entry = manifest.files[name]
    path = folder / Path(entry.file).name
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} is missing or cannot be read ({error.strerror}); the run is not whole") from error
    if hashlib.sha256(content).hexdigest() != entry.sha256:
        raise DataError(f"{path} is damaged: its SHA-256 differs from the manifest's. Restore it from a copy or train anew.")
    try:
        return safetensors.load(content)
    except SafetensorError as error:
        raise DataError(f"{path} is damaged: {error}") from error
