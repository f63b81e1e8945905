"""The folder of a run while it trains.

The functions here create the folder, append to its history, check it before a run is resumed, and
remove it if the run failed before its first save.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from aevb.config import Config
from aevb.errors import CannotWriteError, DataError, OutputExistsError, UsageError
from aevb.files import part_of, to_disk, whole
from aevb.runs.run import Run
from aevb.storage import checkpoint
from aevb.storage.checkpoint import METRICS, SETTINGS, Progress


def refuse_existing(folder: Path) -> None:
    """Raise OutputExistsError unless ``folder`` is free or empty.

    An unfinished first file, which a kill leaves behind, does not count.
    """
    unfinished = part_of(folder / SETTINGS).name
    is_empty = folder.is_dir() and {path.name for path in folder.iterdir()} <= {unfinished}
    if folder.exists() and not is_empty:
        what = "a run" if checkpoint.exists(folder) else "something"
        raise OutputExistsError(
            f"{folder} already holds {what}. Choose another --out, or continue a run that was"
            " interrupted with --resume."
        )


FREE = {"epochs", "steps", "minutes", "patience", "learning_rate", "decay"}
"""Settings that may change on resumption. A smaller learning rate helps a run that diverged."""
MACHINE = {"device", "threads", "precision", "kernels", "compile", "save_every"}
"""Settings of the machine, which may change as well."""


def refuse_other_run(saved: Run, progress: Progress, run: Run, rows_sha256: str) -> None:
    """Refuse to continue a run with other settings or on other rows.

    Args:
        saved: the run as it was saved.
        progress: how far it came.
        run: the run that is to continue it.
        rows_sha256: the digest of this run's rows.

    Raises:
        UsageError: a setting outside of ``FREE`` and ``MACHINE`` differs, or the run would end
            before the epoch or the step that it has begun.
        DataError: the rows have changed.
    """
    _refuse_shorter(saved.config, progress, run.config)
    before, now = ({**asdict(each.config), "data": each.source} for each in (saved, run))
    # The run in ``start`` need not be named again, and may have been removed.
    before["start"] = before["start"] and absolute(before["start"])
    now["start"] = absolute(now["start"]) if now["start"] else before["start"]
    changed = [
        f"{name} {before[name]} (now {now[name]})"
        for name in before
        if name not in FREE | MACHINE and before[name] != now[name]
    ]
    if changed:
        raise UsageError(
            f"the run was started with {', '.join(changed)}; resume it as it was, or start"
            " another run"
        )
    # The schema does not suffice: Bernoulli likelihoods have one schema for all rows of a shape.
    if saved.schema != run.schema or progress.rows_sha256 not in ("", rows_sha256):
        raise DataError(
            f"{run.source} has changed since the run began; restore it, or start another run"
        )


def _refuse_shorter(saved: Config, progress: Progress, now: Config) -> None:
    """Raise UsageError for a length that ends before the epoch or the step that has begun."""
    if now.epochs is not None:
        begun, unit, length = progress.epoch + (progress.step > 0), "epochs", now.epochs
    else:
        assert now.steps is not None
        begun, unit, length = progress.steps + progress.step, "steps", now.steps
    planned = getattr(saved, unit)
    of, to = (f", of {planned}", f" to {planned}") if planned else ("", "")
    if length < begun:
        raise UsageError(
            f"--{unit} is the length of the whole run, not what is added to it: expected at least"
            f" the {begun} that it has begun{of}; got {length}. Leave it out to go on{to}, or give"
            " more to go on for longer."
        )


def absolute(folder: str) -> str:
    """``folder`` as an absolute path, so that later commands find it from any directory."""
    return str(Path(folder).expanduser().absolute())


def start(folder: Path, run: Run) -> list[Path]:
    """Write the settings, and the history up to the last save.

    Lines of later epochs are dropped, since these epochs are trained again. Returns the new files
    and folders, innermost first. Raises CannotWriteError.
    """
    created = [
        path
        for path in (folder / SETTINGS, folder / METRICS, folder, *folder.parents)
        if not path.exists()
    ]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CannotWriteError(
            f"{folder} could not be written: {error.strerror or error}"
        ) from error
    whole(
        folder / SETTINGS,
        lambda part: part.write_text(run.config.to_toml(run.source), encoding="utf-8"),
    )
    lines = "".join(json.dumps(record) + "\n" for record in run.history)
    whole(folder / METRICS, lambda part: part.write_text(lines, encoding="utf-8"))
    return created


def clear(created: list[Path]) -> None:
    """Remove files and empty folders that ``start`` made, so that the command can be repeated."""
    for path in created:
        with contextlib.suppress(OSError):
            path.rmdir() if path.is_dir() else path.unlink()


def append_metrics(folder: Path, record: dict[str, Any]) -> None:
    """Add the line of one epoch to metrics.jsonl. Raises CannotWriteError."""
    try:
        with (folder / METRICS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
    except OSError as error:
        raise CannotWriteError(
            f"{folder / METRICS} could not be written: {error.strerror or error}"
        ) from error


def metrics_to_disk(folder: Path) -> None:
    """Wait until metrics.jsonl is on the disk.

    Otherwise a save might survive a crash without its history. Raises CannotWriteError.
    """
    try:
        to_disk(folder / METRICS)
    except OSError as error:
        raise CannotWriteError(
            f"{folder / METRICS} could not be written: {error.strerror or error}"
        ) from error


def recorded(folder: Path, history: list[dict[str, Any]], epochs: int) -> list[dict[str, Any]]:
    """The records of the first ``epochs`` epochs of ``history``.

    Raises DataError unless all of them are there: curves would have a gap.
    """
    found = [record["epoch"] for record in history[:epochs]]
    if found != list(range(1, epochs + 1)):
        good = next((i for i, epoch in enumerate(found) if epoch != i + 1), len(found))
        raise DataError(
            f"{folder / METRICS} should hold the records of {epochs} epochs; it is whole up to"
            f" epoch {good}. Restore it from a copy, or start another run."
        )
    return history[:epochs]
