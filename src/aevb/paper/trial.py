"""One training run of the paper's protocol: what it is, how it goes on, where it is kept.

Nothing here remembers a generator: rows and noise are pure functions of (seed, point), where points
are the places of the curve at which the bound is taken and the state is kept. A run killed between
two points goes on from the first, bit for bit. On a GPU the steps of a trial are one CUDA graph,
whose noise is another than a processor's.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from aevb import datasets
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
"""Training samples after which the best training figure decides for a step size: the first 50 moves
of Adagrad."""
STILL = 100
"""Minibatches whose squared gradients Adagrad adds up before the first move
(github.com/dpkingma/anglepy, ``warmup``)."""
AT_ONCE = 10
"""Steps of a CUDA graph. No more, since an epoch of 1,000 rows has no more."""
FREY_TRAIN = 1500
SHOWN_TRAIN = 10_000
"""Training rows on which the training bound is taken."""


@dataclass(frozen=True)
class Trial:
    """data: mnist or frey. method: aevb, wake_sleep, mcem or full_vb. rows: of the training set.
    lr: step size; 0 to choose it.

    std: of the normal distribution of all initial parameters. targets: grey levels, or "binary",
    binarised at each step. logvar: what wake-sleep's log-variance head is multiplied by
    (``paper.wake_sleep``); 1 is a head like AEVB's.
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
        """A folder's name, by which a resumed command finds it."""
        size = f"L{self.latent_dim}-H{self.hidden}-N{self.rows}"
        head = "" if self.logvar == 1.0 else f"-logvar{self.logvar:g}"
        start = f"{self.data}-{self.targets}-{self.method}{head}"
        return f"{start}-{size}-{self.optimiser}{self.lr:g}-std{self.std:g}-seed{self.seed}"


@dataclass(frozen=True)
class Rows:
    """Stored rows (N, D) of unsigned bytes, and what divides them. train, test: all there are of
    each."""

    train: Tensor
    test: Tensor
    scale: float

    @property
    def device(self) -> torch.device:
        """Where they are."""
        return self.train.device

    def batch(self, index: Tensor) -> Tensor:
        """Training rows as the network sees them: (B, D), float32."""
        return self.train.index_select(0, index) / self.scale


def load_rows(data: str, rows: int, device: torch.device | str = "cpu") -> Rows:
    """MNIST: the first ``rows`` training pictures. Frey Face: 1,500 frames at random, the same for
    all; 465 to test."""
    found = _load_rows(data, rows)
    return Rows(found.train.to(device), found.test.to(device), found.scale)


def _load_rows(data: str, rows: int) -> Rows:
    if data == "mnist":
        train, test = (
            torch.from_numpy(np.asarray(datasets.load(f"mnist:{s}").rows)).flatten(1)
            for s in ("train", "test")
        )
        return Rows(train[:rows].contiguous(), test, 255.0)
    if data != "frey":
        raise UsageError(f"expected mnist or frey; got {data!r}")
    frames = torch.from_numpy(np.asarray(datasets.load("frey").rows)).flatten(1)
    order = torch.randperm(len(frames), generator=generator(0, "frey split"))
    return Rows(frames[order[:FREY_TRAIN]][:rows], frames[order[FREY_TRAIN:]], 256.0)


def grid(until: int, start: int = START) -> list[int]:
    """Points of a curve, in training samples: ten a decade, whole minibatches, ``until`` the last."""
    tenths = math.ceil(10 * math.log10(until / start))
    points = [round(start * 10 ** (k / 10) / BATCH) * BATCH for k in range(tenths)]
    return [*[p for p in points if p < until], until]


Measure = Callable[[VAE, Rows], dict[str, float]]
"""A model and its rows -> figures by name, nats."""


def bounds(model: VAE, rows: Rows) -> dict[str, float]:
    """Bounds on the first training rows and on all test rows, each with its standard error over
    rows, and KLs; nats."""
    draws = max(1, SHOWN_TRAIN // len(rows.test))  # of few rows, more of each
    found: dict[str, float] = {}
    for name, stored in (("train", rows.train[:SHOWN_TRAIN]), ("test", rows.test)):
        terms = elbo_rows(model, stored / rows.scale, samples=draws, seed=0)
        figure = mean_figure(terms.bound)
        found |= {f"{name}_bound": figure.value, f"{name}_se": figure.standard_error}
        found[f"{name}_kl"] = float(terms.kl.sum(-1).double().mean())
    return found


class Training:
    """A trial and its state. folder: of all trials; this one's file is looked for there, and read
    if it is there.

    measure: what is taken at each point of the curve, by name; the bounds on training and test rows
    by default.
    """

    def __init__(
        self, trial: Trial, rows: Rows, folder: Path, measure: Measure | None = None
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
        """What a method has of its own."""
        self.moved = list(range(len(self.gradient.parameters)))
        self.update = self._optimiser()
        self.run = {"aevb": self.gradient.aevb, "wake_sleep": self.gradient.wake_sleep}[
            self.trial.method
        ]

    def _moved_tensors(self) -> list[Tensor]:
        """What the optimiser changes."""
        return [self.gradient.parameters[i] for i in self.moved]

    def _optimiser(self) -> Update:
        moved = self._moved_tensors()
        return (
            Adagrad(moved, self.trial.lr)
            if self.trial.optimiser == "adagrad"
            else Adam(moved, self.trial.lr)
        )

    @property
    def samples(self) -> int:
        """Training samples seen up to the last point."""
        return int(self.curve[-1]["samples"]) if self.curve else 0

    def advance(self, points: Sequence[int]) -> None:
        """Train up to each of ``points`` that lies ahead; measure there, and keep the state."""
        for until in [p for p in points if p > self.samples]:
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
        """Whether the next steps can be a replay. A graph holds the step size that all but
        Adagrad's first few have."""
        return (
            self.rows.device.type == "cuda"
            and steps >= AT_ONCE
            and self._rate(step) == self.trial.lr
        )

    def _take_steps(self, indices: Tensor, first: int) -> None:
        """Gradients and updates. indices: (steps, B), the rows of minibatches. first: number of the
        first step."""

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
        """Gradients at a minibatch. index: (B,)."""
        return self._step(self._targets(self.rows.batch(index)))

    def _step(self, x: Tensor) -> list[Tensor]:
        """Gradients of minus the sum over a minibatch. x: (B, D)."""
        return self.run(x)

    def _targets(self, x: Tensor) -> Tensor:
        if self.trial.targets == "grey":
            return x
        return torch.lt(self.gradient.uniform(x.shape), x).to(x.dtype)

    def _move(self, gradients: list[Tensor], step: int, rows: int) -> None:
        """One update from the gradients of ``rows`` rows; the first of Adagrad's only add to its
        sums."""
        moved = self._prior(gradients, rows / len(self.rows.train))
        self.update.set_rate(self._rate(step))
        self.update(moved, self.all_is_well)

    def _rate(self, step: int) -> float:
        return self.trial.lr if self.trial.optimiser != "adagrad" or step >= STILL else 0.0

    def _prior(self, gradients: list[Tensor], share: float) -> list[Tensor]:
        """Gradients of what is moved, with the prior's: MAP with p(weights) = N(0, I), not of
        biases.

        share: of the training set in the minibatch; the prior counts once for the whole of it.
        """
        for i in self.moved:
            if gradients[i].ndim == 2:
                gradients[i].add_(self.gradient.parameters[i], alpha=share)
        return [gradients[i] for i in self.moved]

    def _extra(self) -> dict[str, Tensor]:
        """Tensors, beyond the parameters and moments, that the next point needs."""
        return {}

    def _write(self) -> None:
        arrays = {
            f"parameter.{i}": p.numpy(force=True) for i, p in enumerate(self.gradient.parameters)
        }
        arrays |= {
            f"update.{name}": value.numpy(force=True)
            for name, value in self.update.state_dict().items()
        }
        arrays |= {
            f"extra.{name}": value.numpy(force=True) for name, value in self._extra().items()
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
            for i, p in enumerate(self.gradient.parameters):
                p.copy_(torch.from_numpy(arrays[f"parameter.{i}"]))
            update = {
                name.removeprefix("update."): value
                for name, value in arrays.items()
                if name.startswith("update.")
            }
            self.update.load_state_dict(
                {name: torch.from_numpy(np.asarray(value)) for name, value in update.items()}
            )
            for name, value in self._extra().items():
                value.copy_(torch.from_numpy(np.asarray(arrays[f"extra.{name}"])))
            names = [str(name) for name in arrays["names"]]
            self.curve = [
                dict(zip(names, map(float, point), strict=True)) for point in arrays["curve"]
            ]
        except Exception as error:  # whatever zip and npy make of other bytes
            raise DataError(
                f"{self.file} cannot be read ({error}). Remove it to begin this trial anew."
            ) from error


def _save(part: Path, arrays: dict[str, Any]) -> None:
    with part.open("wb") as file:
        np.savez(file, **arrays)
