"""One training run of the paper's protocol: its settings, its steps and its file.

A point is a number of training samples at which the curve is measured and the state is saved. The
order of the rows follows from the seed and the epoch, the noise from the seed and the point. So no
state of a generator has to be saved. A run that is killed between two points continues from the
earlier one, bit for bit. On a GPU, a CUDA graph runs ten steps at once, with other noise than on a
CPU.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aevb.datasets import load
from aevb.datasets.batches import epoch_batches
from aevb.engine.cuda_graphs import Captured
from aevb.engine.optimisers import Adagrad, Adam, Update
from aevb.errors import DataError, UsageError
from aevb.evaluation.bound import elbo_rows, mean_figure
from aevb.files import whole
from aevb.model import VAE
from aevb.paper.lean import LeanGradient, paper_model
from aevb.probability.seeds import counter_seed, generator

BATCH = 100
START = 100_000
"""The first point of a curve, in training samples."""
CHOICE = 15_000
"""The step size with the best training figure after this many training samples is chosen.

Adagrad has then made its first 50 moves.
"""
STILL = 100
"""Adagrad adds up the squared gradients of this many minibatches before its first move.

The authors' code does the same (``warmup`` in github.com/dpkingma/anglepy).
"""
AT_ONCE = 10
"""Steps in a CUDA graph: as many as an epoch of 1,000 rows has."""
FREY_TRAIN = 1500
"""Training rows of Frey Face."""
SHOWN_TRAIN = 10_000
"""Training rows on which the training bound is measured."""
SPLITS = ("train", "test")


@dataclass(frozen=True)
class Trial:
    """The settings of a training run.

    Attributes:
        data: "mnist" or "frey".
        method: "aevb", "wake_sleep", "mcem" or "full_vb".
        latent_dim: Latent dimensions.
        hidden: Units of each hidden layer.
        rows: Training rows.
        optimiser: "adagrad" or "adam".
        lr: The step size. With 0, early performance chooses it.
        std: Standard deviation of the normal distribution of all initial parameters.
        seed: Seeds the initial parameters, the order of rows and the noise.
        targets: "grey" for grey levels, or "binary" for pixels binarised at each step.
        logvar: Factor of wake-sleep's log-variance head (``paper.wake_sleep``). With 1, the head is
            like AEVB's.
    """

    data: str
    method: str
    latent_dim: int
    hidden: int
    rows: int
    optimiser: str = "adagrad"
    lr: float = 0.0
    std: float = 0.01
    seed: int = 0
    targets: str = "grey"
    logvar: float = 1.0

    @property
    def name(self) -> str:
        """The name of its file, by which a resumed command finds it."""
        size = f"L{self.latent_dim}-H{self.hidden}-N{self.rows}"
        head = "" if self.logvar == 1.0 else f"-logvar{self.logvar:g}"
        start = f"{self.data}-{self.targets}-{self.method}{head}"
        return f"{start}-{size}-{self.optimiser}{self.lr:g}-std{self.std:g}-seed{self.seed}"


@dataclass(frozen=True)
class TrialRows:
    """The rows of a trial: unsigned bytes, (N, D). scale: division by it brings them to [0, 1]."""

    train: Tensor
    test: Tensor
    scale: float

    @property
    def device(self) -> torch.device:
        """The device of the rows."""
        return self.train.device

    def batch(self, index: Tensor) -> Tensor:
        """Return training rows as the network sees them: (B, D), float32. index: (B,)."""
        return self.train.index_select(0, index) / self.scale

    def first(self, count: int) -> Iterator[tuple[str, Tensor]]:
        """Yield the first rows of each split, (count, D), float32, with the split's name."""
        for split, stored in zip(SPLITS, (self.train, self.test), strict=True):
            yield split, stored[:count] / self.scale


def load_rows(data: str, rows: int, device: torch.device | str = "cpu") -> TrialRows:
    """Load the rows of a trial.

    Args:
        data: "mnist": the first training pictures, and all test pictures. "frey": the first of
            1,500 random frames, the same for all trials, and the other 465 frames as test rows.
        rows: How many training rows.
        device: Where to put them.

    Raises:
        UsageError: There are no such data.
    """
    found = _load_rows(data, rows)
    return TrialRows(found.train.to(device), found.test.to(device), found.scale)


def _load_rows(data: str, rows: int) -> TrialRows:
    if data == "mnist":
        train, test = (
            torch.from_numpy(np.asarray(load(f"mnist:{split}").rows)).flatten(1) for split in SPLITS
        )
        return TrialRows(train[:rows].contiguous(), test, 255.0)
    if data != "frey":
        raise UsageError(f"expected mnist or frey; got {data!r}")
    frames = torch.from_numpy(np.asarray(load("frey").rows)).flatten(1)
    order = torch.randperm(len(frames), generator=generator(0, "frey split"))
    return TrialRows(frames[order[:FREY_TRAIN]][:rows], frames[order[FREY_TRAIN:]], 256.0)


def grid(until: int, start: int = START) -> list[int]:
    """Return the points of a curve: ten in each decade, in whole minibatches, up to ``until``."""
    tenths = math.ceil(10 * math.log10(until / start))
    points = [round(start * 10 ** (k / 10) / BATCH) * BATCH for k in range(tenths)]
    return [*[point for point in points if point < until], until]


Measure = Callable[[VAE, TrialRows], dict[str, float]]
"""A model and its rows -> figures by name, nats."""


def bounds(model: VAE, rows: TrialRows) -> dict[str, float]:
    """Measure the bounds on the first training rows and on all test rows.

    Returns:
        "train_bound", "test_bound", their standard errors over rows "train_se", "test_se", and the
        mean KLs "train_kl", "test_kl"; nats.
    """
    draws = max(1, SHOWN_TRAIN // len(rows.test))  # for fewer rows, more draws
    found: dict[str, float] = {}
    for name, stored in (("train", rows.train[:SHOWN_TRAIN]), ("test", rows.test)):
        terms = elbo_rows(model, stored / rows.scale, samples=draws, seed=0)
        figure = mean_figure(terms.bound)
        found |= {f"{name}_bound": figure.value, f"{name}_se": figure.standard_error}
        found[f"{name}_kl"] = float(terms.kl.sum(-1).double().mean())
    return found


class Training:
    """A trial and its state.

    Args:
        trial: The settings.
        rows: Training and test rows. There must be whole minibatches of training rows.
        folder: The folder of all trials. The state is read from this trial's file, if it exists.
        measure: What to measure at each point; by default the bounds on training and test rows.

    Raises:
        UsageError: The training rows are no multiple of a minibatch.
        DataError: The file is damaged.
    """

    def __init__(
        self, trial: Trial, rows: TrialRows, folder: Path, measure: Measure | None = None
    ) -> None:
        self.trial, self.rows, self.file = trial, rows, folder / f"{trial.name}.npz"
        self.measure = measure or bounds
        if len(rows.train) % BATCH:
            raise UsageError(f"expected a multiple of {BATCH} training rows; got {len(rows.train)}")
        size = rows.train.shape[1], trial.hidden, trial.latent_dim
        start = generator(trial.seed, "initial")
        self.model: VAE = paper_model(
            *size, bernoulli=trial.data == "mnist", std=trial.std, generator=start
        )
        self.model.to(rows.device)
        self.gradient = LeanGradient(self.model, torch.Generator(rows.device))
        self.captured: Captured[Sequence[Tensor]] | None = None
        self.all_is_well = torch.zeros((), device=rows.device)
        self.curve: list[dict[str, float]] = []
        self._start()
        if self.file.is_file():
            self._read()

    def _start(self) -> None:
        """Set up the method: the tensors that the optimiser changes, and their gradient."""
        self.moved = list(range(len(self.gradient.parameters)))
        self.update = self._optimiser()
        methods = {"aevb": self.gradient.aevb, "wake_sleep": self.gradient.wake_sleep}
        self.run = methods[self.trial.method]

    def _decoder(self) -> list[int]:
        """Return the indices of the decoder's parameters."""
        own = {id(p) for p in self.model.decoder.parameters()}
        return [i for i, p in enumerate(self.model.parameters()) if id(p) in own]

    def _moved_tensors(self) -> list[Tensor]:
        """Return the tensors that the optimiser changes."""
        return [self.gradient.parameters[i] for i in self.moved]

    def _optimiser(self) -> Update:
        kind = Adagrad if self.trial.optimiser == "adagrad" else Adam
        return kind(self._moved_tensors(), self.trial.lr)

    @property
    def samples(self) -> int:
        """The training samples seen up to the last point."""
        return int(self.curve[-1]["samples"]) if self.curve else 0

    def advance(self, points: Sequence[int]) -> None:
        """Train up to each point that lies ahead; measure there, and save the state."""
        for until in [point for point in points if point > self.samples]:
            started = time.perf_counter()
            self.gradient.generator.manual_seed(counter_seed(self.trial.seed, "noise", until))
            self._train(self.samples, until)
            if self.rows.device.type == "cuda":
                torch.cuda.synchronize(self.rows.device)
            before = self.curve[-1]["seconds"] if self.curve else 0.0
            seconds = round(before + time.perf_counter() - started, 1)
            self.curve.append(
                {"samples": until, "seconds": seconds, **self.measure(self.model, self.rows)}
            )
            self._write()

    def _train(self, start: int, until: int) -> None:
        """Take the steps between two points, given in training samples."""
        per_epoch = len(self.rows.train) // BATCH
        step, last = start // BATCH, until // BATCH
        for epoch in range(step // per_epoch, -(-last // per_epoch)):
            order = torch.stack(
                list(epoch_batches(len(self.rows.train), BATCH, self.trial.seed, epoch))
            )
            waiting = order[step - epoch * per_epoch : last - epoch * per_epoch].to(
                self.rows.device
            )
            while len(waiting):
                count = AT_ONCE if self._can_be_captured(step, len(waiting)) else 1
                self._take_steps(waiting[:count], step)
                step, waiting = step + count, waiting[count:]

    def _can_be_captured(self, step: int, steps: int) -> bool:
        """Whether the next steps can replay the CUDA graph.

        The step size is fixed in the graph. It differs only during Adagrad's first steps, where it
        is 0.
        """
        return (
            self.rows.device.type == "cuda"
            and steps >= AT_ONCE
            and self._rate(step) == self.trial.lr
        )

    def _take_steps(self, indices: Tensor, first: int) -> None:
        """Compute gradients and update, once for each minibatch.

        indices: the rows of the minibatches, (steps, B). first: the number of the first step.
        """

        def whole(inputs: Sequence[Tensor]) -> Sequence[Tensor]:
            for index in inputs[0]:
                self._move(self._of_rows(index), first, BATCH)
            return ()

        if len(indices) == 1:
            whole([indices])
            return
        if self.captured is None:
            self.captured = Captured(
                whole,
                [indices],
                lambda inputs: self._of_rows(inputs[0][0]),
                self.gradient.generator,
            )
        self.captured([indices])

    def _of_rows(self, index: Tensor) -> list[Tensor]:
        """Return the gradients at a minibatch. index: its rows, (B,)."""
        return self._step(self._targets(self.rows.batch(index)))

    def _step(self, x: Tensor) -> list[Tensor]:
        """Return the gradients of the loss, summed over a minibatch. x: (B, D)."""
        return self.run(x)

    def _targets(self, x: Tensor) -> Tensor:
        if self.trial.targets == "grey":
            return x
        return torch.lt(self.gradient.uniform(x.shape), x).to(x.dtype)

    def _move(self, gradients: list[Tensor], step: int, rows: int) -> None:
        """Update once from the gradients of ``rows`` rows.

        Adagrad's first updates move nothing and only add to its sums.
        """
        moved = self._prior(gradients, rows / len(self.rows.train))
        self.update.set_rate(self._rate(step))
        self.update(moved, self.all_is_well)

    def _rate(self, step: int) -> float:
        return self.trial.lr if self.trial.optimiser != "adagrad" or step >= STILL else 0.0

    def _prior(self, gradients: list[Tensor], share: float) -> list[Tensor]:
        """Add the gradient of the prior, and return the gradients of the tensors to move.

        Training is MAP estimation with p(weights) = N(0, I). Biases have no prior.

        Args:
            gradients: Those of all parameters, from a minibatch. They are changed in place.
            share: The size of the minibatch over that of the training set. The prior gets this
                weight, so that it counts once in each epoch.
        """
        for i in self.moved:
            if gradients[i].ndim == 2:
                gradients[i].add_(self.gradient.parameters[i], alpha=share)
        return [gradients[i] for i in self.moved]

    def _extra(self) -> dict[str, Tensor]:
        """Return the tensors that the state needs beside the parameters and moments."""
        return {}

    def _state(self) -> dict[str, dict[str, Tensor]]:
        """Return all tensors of the state, by kind and name."""
        parameters = {str(i): p for i, p in enumerate(self.gradient.parameters)}
        update = dict(self.update.state_dict())
        return {"parameter": parameters, "update": update, "extra": self._extra()}

    def _write(self) -> None:
        arrays: dict[str, Any] = {
            f"{kind}.{name}": value.numpy(force=True)
            for kind, values in self._state().items()
            for name, value in values.items()
        }
        names = list(self.curve[0])
        arrays["curve"] = np.array([[point[name] for name in names] for point in self.curve])
        arrays["names"] = np.array(names)
        self.file.parent.mkdir(parents=True, exist_ok=True)
        whole(self.file, lambda part: _save(part, arrays))

    def _read(self) -> None:
        try:
            with np.load(self.file) as saved:
                arrays = {name: saved[name] for name in saved.files}
            self._restore(arrays)
        except Exception as error:  # damaged bytes end in many kinds of errors
            raise DataError(
                f"{self.file} cannot be read ({error}). Remove it to begin this trial anew."
            ) from error

    def _restore(self, arrays: dict[str, Any]) -> None:
        """Set the state from the arrays of a file."""
        state = {
            name: torch.from_numpy(np.asarray(value))
            for name, value in arrays.items()
            if name not in ("curve", "names")
        }
        for i, p in enumerate(self.gradient.parameters):
            p.copy_(state[f"parameter.{i}"])
        self.update.load_state_dict(
            {
                name.removeprefix("update."): value
                for name, value in state.items()
                if name.startswith("update.")
            }
        )
        for name, value in self._extra().items():
            value.copy_(state[f"extra.{name}"])
        names = [str(name) for name in arrays["names"]]
        self.curve = [dict(zip(names, map(float, point), strict=True)) for point in arrays["curve"]]


def _save(part: Path, arrays: dict[str, Any]) -> None:
    with part.open("wb") as file:
        np.savez(file, **arrays)
