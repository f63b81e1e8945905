"""The folder of a run while it trains: opened, added to line by line, taken up again, and cleared
when nothing came of it."""

from __future__ import annotations

import contextlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from aevb.errors import CannotWriteError, DataError, OutputExistsError, UsageError
from aevb.files import part_of, to_disk, whole
from aevb.runs.run import Run
from aevb.storage import checkpoint
from aevb.storage.checkpoint import METRICS, SETTINGS, Progress


def refuse_existing(folder: Path) -> None:
    """Raise OutputExistsError if there is anything at ``folder`` but an empty folder, or what a
    kill left of our first file."""
    if folder.exists() and not (
        folder.is_dir()
        and {path.name for path in folder.iterdir()} <= {part_of(folder / SETTINGS).name}
    ):
        what = "a run" if checkpoint.exists(folder) else "something"
        raise OutputExistsError(
            f"{folder} already holds {what}. Choose another --out, or continue a run that was"
            " interrupted with --resume."
        )


def refuse_other_run(saved: Run, progress: Progress, run: Run, rows_sha256: str) -> None:
    """A run continues as it began and on the same rows, except for its length, its machine and its
    learning rate.

    A smaller learning rate is the remedy for a run that diverged after it was saved. Its length may
    change as long as it does not end before where it stands.
    """
    _refuse_fewer_epochs(saved.config.epochs, progress, run.config.epochs)
    speed = {"device", "threads", "precision", "kernels", "compile", "save_every"}
    free = {"epochs", "patience", "learning_rate", "decay", *speed}
    before, now = ({**asdict(each.config), "data": each.source} for each in (saved, run))
    # Where it began need not be said again, nor be there any more.
    before["start"] = before["start"] and absolute(before["start"])
    now["start"] = absolute(now["start"]) if now["start"] else before["start"]
    changed = [
        f"{name} {before[name]} (now {now[name]})"
        for name in before
        if name not in free and before[name] != now[name]
    ]
    if changed:
        raise UsageError(
            f"the run was started with {', '.join(changed)}; resume it as it was, or start"
            " another run"
        )
    # The schema alone would not do: under Bernoulli likelihoods it is the same for any rows of one
    # shape.
    if saved.schema != run.schema or progress.rows_sha256 not in ("", rows_sha256):
        raise DataError(
            f"{run.source} has changed since the run began; restore it, or start another run"
        )


def _refuse_fewer_epochs(planned: int, progress: Progress, epochs: int) -> None:
    begun = progress.epoch + (progress.step > 0)
    if epochs < begun:
        raise UsageError(
            "--epochs is the length of the whole run, not what is added to it: expected at least"
            f" the {begun} that it has begun, of {planned}; got {epochs}. Leave it out to go on to"
            f" {planned}, or give more to go on for longer."
        )


def absolute(folder: str) -> str:
    """``folder`` as an absolute path, whatever directory a later command runs in."""
    return str(Path(folder).expanduser().absolute())


def start(folder: Path, run: Run) -> list[Path]:
    """Write the settings and the history so far. Lines of epochs after the last save go: these
    epochs are run again.

    Returns what was not there before, innermost first.
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
    """Remove the files and the empty folders that ``start`` had made, so that the same command can
    be tried again."""
    for path in created:
        with contextlib.suppress(OSError):
            path.rmdir() if path.is_dir() else path.unlink()


def append_metrics(folder: Path, record: dict[str, Any]) -> None:
    """Add the line of one epoch. Raises CannotWriteError."""
    try:
        with (folder / METRICS).open("a", encoding="utf-8") as file:
            file.write(json.dumps(record) + "\n")
    except OSError as error:
        raise CannotWriteError(
            f"{folder / METRICS} could not be written: {error.strerror or error}"
        ) from error


def metrics_to_disk(folder: Path) -> None:
    """Wait for the lines of all epochs: a save must not outlast a crash that its own history does
    not. CannotWriteError."""
    try:
        to_disk(folder / METRICS)
    except OSError as error:
        raise CannotWriteError(
            f"{folder / METRICS} could not be written: {error.strerror or error}"
        ) from error


def recorded(folder: Path, history: list[dict[str, Any]], epochs: int) -> list[dict[str, Any]]:
    """The records of the first ``epochs`` epochs. Raises DataError unless each of them is there:
    curves would have a gap."""
    found = [record["epoch"] for record in history[:epochs]]
    if found != list(range(1, epochs + 1)):
        good = next((i for i, epoch in enumerate(found) if epoch != i + 1), len(found))
        raise DataError(
            f"{folder / METRICS} should hold the records of {epochs} epochs; it is whole up to"
            f" epoch {good}. Restore it from a copy, or start another run."
        )
    return history[:epochs]
