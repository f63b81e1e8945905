"""Run a schedule of trials one after the other, and write their records after every point."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from aevb.errors import OutputExistsError
from aevb.files import whole
from aevb.model import VAE
from aevb.paper.full_vb import FullVBTraining
from aevb.paper.mcem import UPDATES, EMTraining
from aevb.paper.quadrature import log_likelihoods
from aevb.paper.recipes import ScheduledTrial
from aevb.paper.trial import CHOICE, Training, Trial, TrialRows, bounds, load_rows
from aevb.paper.wake_sleep import WakeSleepTraining

STEP_SIZES = (0.01, 0.02, 0.1)
"""Step sizes of Adagrad; early performance on the training set chooses one (section 5).

The paper does not say whether all latent sizes share one step size. Here they do, because after 50
updates the differences at a single size are mostly noise (docs/reproduction.md).
"""
EM_ROUNDS = 3
"""Rounds after which the step size of Monte-Carlo EM is chosen. A round has five updates."""
KINDS: dict[str, type[Training]] = {
    "wake_sleep": WakeSleepTraining,
    "mcem": EMTraining,
    "full_vb": FullVBTraining,
}
"""Method -> its class of training. All other methods use ``Training``."""

Said = Callable[[str], None]


@dataclass(frozen=True)
class Place:
    """Where a reproduction reads and writes.

    Attributes:
        trials: Folder for the trials' states.
        results: Folder for the numbers.
        pictures: Folder for the pictures.
        resume: Whether to continue existing trials, and overwrite results and pictures.
        say: Called with a line of text after every point.
        device: "cpu" or "cuda", which have different noise.
    """

    trials: Path
    results: Path
    pictures: Path
    resume: bool
    say: Said
    device: str = "cpu"

    def result(self, name: str) -> Path:
        """Return the file of an experiment's numbers, or raise OutputExistsError."""
        return self._free(self.results / f"paper_{name}.json")

    def picture(self, name: str) -> Path:
        """Return the file of a picture, or raise OutputExistsError."""
        return self._free(self.pictures / f"paper_{name}.png")

    def _free(self, path: Path) -> Path:
        if path.exists() and not self.resume:
            raise OutputExistsError(
                f"{path} exists already; --resume goes on from it, --results names another folder"
            )
        return path


def run(schedule: Iterable[ScheduledTrial], place: Place, name: str) -> list[dict[str, Any]]:
    """Train each scheduled trial, and write the records after each of its points.

    Args:
        schedule: The trials of an experiment.
        place: Where to read and write.
        name: The name of the experiment.

    Returns:
        The final records, one for each scheduled trial.
    """
    path = place.result(name)
    schedule = list(schedule)
    records: list[dict[str, Any]] = []
    loaded: dict[tuple[str, int], TrialRows] = {}
    for scheduled in schedule:
        key = scheduled.trial.data, scheduled.trial.rows
        if key not in loaded:
            loaded = {key: load_rows(*key, place.device)}  # only one data set at a time in memory
        record: dict[str, Any] = {}
        records.append(record)
        for state in states(scheduled, schedule, loaded[key], place):
            record.update(state)
            write(path, records, place.device)
    return records


def states(
    scheduled: ScheduledTrial, schedule: Sequence[ScheduledTrial], rows: TrialRows, place: Place
) -> Iterable[dict[str, Any]]:
    """Train a trial, and yield its record after each of its points and once at the end.

    Args:
        scheduled: The trial.
        schedule: All trials of its experiment, which the choice of the step size needs.
        rows: Training and test rows.
        place: Where to read and write.
    """
    trial = scheduled.trial
    choice: dict[str, float] = {}
    if not trial.lr:
        trial, choice = chosen(scheduled, schedule, rows, place)
    training = open_training(trial, scheduled, rows, place.trials)
    for point in [point for point in scheduled.points if point > training.samples]:
        training.advance([point])
        place.say(_line(training))
        yield _record(trial, choice, training)
    yield _record(trial, choice, training)


def open_training(
    trial: Trial, scheduled: ScheduledTrial, rows: TrialRows, folder: Path
) -> Training:
    """Open a trial in the state of its file, or begin it if there is no file.

    Args:
        trial: The settings, with a step size.
        scheduled: The entry of the schedule, which says whether to measure log p(x) or the bound.
        rows: Training and test rows.
        folder: The folder of the trials' files.
    """
    kind = KINDS.get(trial.method, Training)
    return kind(trial, rows, folder, log_likelihoods if scheduled.log_p else bounds)


def load(record: dict[str, Any], rows: TrialRows, folder: Path) -> VAE:
    """Return the model of a record at the last point of its trial.

    Args:
        record: A record that ``run`` returned.
        rows: The rows of the trial. The model is put on their device.
        folder: The folder of the trials' files.
    """
    trial = Trial(**record["trial"])
    return KINDS.get(trial.method, Training)(trial, rows, folder).model


def chosen(
    scheduled: ScheduledTrial, schedule: Sequence[ScheduledTrial], rows: TrialRows, place: Place
) -> tuple[Trial, dict[str, float]]:
    """Choose the step size of a trial, the same for all latent sizes of its experiment.

    Args:
        scheduled: The trial, whose step size is not chosen yet.
        schedule: All trials of its experiment.
        rows: Training and test rows.
        place: Where to read and write.

    Returns:
        The trial with its step size. And for each step size, the training figure after the first
        few updates, averaged over the latent sizes.
    """
    open_trial = scheduled.trial
    sizes = sorted(
        {
            other.trial.latent_dim
            for other in schedule
            if replace(other.trial, latent_dim=open_trial.latent_dim) == open_trial
        }
    )
    found: dict[float, float] = {}
    for lr in STEP_SIZES:
        trials = [replace(open_trial, lr=lr, latent_dim=size) for size in sizes]
        figures = [_early(trial, scheduled, rows, place) for trial in trials]
        found[lr] = sum(figures) / len(figures)
    best = max(found, key=found.__getitem__)
    return replace(open_trial, lr=best), {f"{lr:g}": value for lr, value in found.items()}


def _early(trial: Trial, scheduled: ScheduledTrial, rows: TrialRows, place: Place) -> float:
    """Return a trial's training figure after the first few updates, -inf if it is not finite.

    The trial's state is saved like any other.
    """
    em = trial.method == "mcem"
    until = max(CHOICE, EM_ROUNDS * UPDATES * len(rows.train)) if em else CHOICE
    training = open_training(trial, scheduled, rows, place.trials / "choice")
    if training.samples < until:
        training.advance([until])
        place.say(f"choosing: {_line(training)}")
    value = training.curve[-1]["train_log_p" if scheduled.log_p else "train_bound"]
    return value if math.isfinite(value) else -math.inf


def _line(training: Training) -> str:
    last = training.curve[-1]
    figures = ", ".join(
        f"{name} {value:.2f}" for name, value in last.items() if name not in ("samples", "seconds")
    )
    return (
        f"{training.trial.name}: {last['samples']:.3g} samples, {last['seconds']:.0f} s, {figures}"
    )


def _record(trial: Trial, choice: dict[str, float], training: Training) -> dict[str, Any]:
    return {"trial": asdict(trial), "name": trial.name, "choice": choice, "curve": training.curve}


def write(path: Path, records: list[dict[str, Any]], device: str = "cpu") -> None:
    """Write records as JSON, with the versions that made them.

    Args:
        path: The file. Its folder is made if it is missing.
        records: The records of an experiment.
        device: "cpu" or "cuda"; the name of the GPU is written too.
    """
    gpu = {"device": torch.cuda.get_device_name(device)} if device == "cuda" else {}
    made_with = {
        "aevb": version("aevb"),
        "torch": torch.__version__,
        "python": platform.python_version(),
        **gpu,
        "threads": torch.get_num_threads(),
    }
    text = json.dumps({"made_with": made_with, "trials": records}, indent=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    whole(path, lambda part: part.write_text(text + "\n", encoding="utf-8"))


def read(path: Path) -> list[dict[str, Any]]:
    """Read the records of a result file."""
    records: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["trials"]
    return records
