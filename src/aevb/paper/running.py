"""A list of trials, run one after the other, and what came out, in a file after every point."""

from __future__ import annotations

import json
import math
import platform
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

import aevb
from aevb.errors import OutputExistsError
from aevb.files import whole
from aevb.model import VAE
from aevb.paper.full_vb import FullVBTraining
from aevb.paper.mcem import UPDATES, EMTraining
from aevb.paper.quadrature import log_likelihoods
from aevb.paper.recipes import Plan
from aevb.paper.trial import CHOICE, Rows, Training, Trial, bounds, load_rows
from aevb.paper.wake_sleep import WakeSleepTraining

STEP_SIZES = (0.01, 0.02, 0.1)
"""Adagrad's, of which one is chosen by early performance on the training set (section 5). The paper
does not say whether one serves all sizes. Here it does: a race of 50 moves is decided by noise for
a single size (docs/reproduction.md)."""
EM_ROUNDS = 3
"""The same for Monte-Carlo EM, whose updates come five to a round over all rows."""
KINDS: dict[str, type[Training]] = {
    "wake_sleep": WakeSleepTraining,
    "mcem": EMTraining,
    "full_vb": FullVBTraining,
}
"""Method -> its training, where that is not a plain one."""

Said = Callable[[str], None]


@dataclass(frozen=True)
class Place:
    """trials: folder of what is kept to go on from. results: folder of the numbers. pictures:
    folder of the pictures.

    say: hears of every point that is reached. device: that computes; its noise is its own.
    """

    trials: Path
    results: Path
    pictures: Path
    resume: bool
    say: Said
    device: str = "cpu"

    def result(self, name: str) -> Path:
        """File of an experiment's numbers. Raises OutputExistsError unless it may be written."""
        return self._free(self.results / f"paper_{name}.json")

    def picture(self, name: str) -> Path:
        """File of a picture. Raises OutputExistsError unless it may be written."""
        return self._free(self.pictures / f"paper_{name}.png")

    def _free(self, path: Path) -> Path:
        if path.exists() and not self.resume:
            raise OutputExistsError(
                f"{path} exists already; --resume goes on from it, --results names another folder"
            )
        return path


def run(plans: Iterable[Plan], place: Place, name: str) -> list[dict[str, Any]]:
    """Train each trial as far as its plan says. Returns the records that the result file ends with,
    one a plan."""
    path = place.result(name)
    plans = list(plans)
    records: list[dict[str, Any]] = []
    loaded: dict[tuple[str, int], Rows] = {}
    for plan in plans:
        key = plan.trial.data, plan.trial.rows
        if key not in loaded:
            loaded = {key: load_rows(*key, place.device)}  # of the data sets only one at a time
        record: dict[str, Any] = {}
        records.append(record)
        for state in states(plan, plans, loaded[key], place):
            record.update(state)
            write(path, records, place.device)
    return records


def states(plan: Plan, plans: Sequence[Plan], rows: Rows, place: Place) -> Iterable[dict[str, Any]]:
    """The record of a trial after each of its points. plans: of its experiment, all."""
    trial = plan.trial
    choice: dict[str, float] = {}
    if not trial.lr:
        trial, choice = chosen(plan, plans, rows, place)
    training = open_training(trial, plan, rows, place.trials)
    for point in [p for p in plan.points if p > training.samples]:
        training.advance([point])
        place.say(_line(training))
        yield _record(trial, choice, training)
    yield _record(trial, choice, training)


def open_training(trial: Trial, plan: Plan, rows: Rows, folder: Path) -> Training:
    """A trial as it is in its folder, or new."""
    return KINDS.get(trial.method, Training)(
        trial, rows, folder, log_likelihoods if plan.log_p else bounds
    )


def load(record: dict[str, Any], rows: Rows, folder: Path) -> VAE:
    """The model of a record, at the last point that its trial reached, where its ``rows`` are."""
    trial = Trial(**record["trial"])
    return KINDS.get(trial.method, Training)(trial, rows, folder).model


def chosen(
    plan: Plan, plans: Sequence[Plan], rows: Rows, place: Place
) -> tuple[Trial, dict[str, float]]:
    """Step size of a trial that leaves it open: one for all the latent sizes of an experiment.

    Returns the trial, and for each step size the training figure after the first few updates, the
    mean over these sizes.
    """
    sizes = sorted(
        {
            p.trial.latent_dim
            for p in plans
            if replace(p.trial, latent_dim=plan.trial.latent_dim) == plan.trial
        }
    )
    found: dict[float, float] = {}
    for lr in STEP_SIZES:
        trials = [replace(plan.trial, lr=lr, latent_dim=size) for size in sizes]
        found[lr] = sum(_early(trial, plan, rows, place) for trial in trials) / len(trials)
    return replace(plan.trial, lr=max(found, key=found.__getitem__)), {
        f"{lr:g}": value for lr, value in found.items()
    }


def _early(trial: Trial, plan: Plan, rows: Rows, place: Place) -> float:
    """A trial's training figure after the first few updates, -inf if that is no number; kept as all
    trials are."""
    em = trial.method == "mcem"
    until = max(CHOICE, EM_ROUNDS * UPDATES * len(rows.train)) if em else CHOICE
    training = open_training(trial, plan, rows, place.trials / "choice")
    if training.samples < until:
        training.advance([until])
        place.say(f"choosing: {_line(training)}")
    value = training.curve[-1]["train_log_p" if plan.log_p else "train_bound"]
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
    """Records, and with what they were made, as JSON."""
    gpu = {"device": torch.cuda.get_device_name(device)} if device == "cuda" else {}
    versions = {
        "aevb": aevb.__version__,
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
    text = json.dumps(
        {"made_with": {**versions, **gpu, "threads": torch.get_num_threads()}, "trials": records},
        indent=1,
    )
    path.parent.mkdir(parents=True, exist_ok=True)
    whole(path, lambda part: part.write_text(text + "\n", encoding="utf-8"))


def read(path: Path) -> list[dict[str, Any]]:
    """Records of a result file."""
    records: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["trials"]
    return records
