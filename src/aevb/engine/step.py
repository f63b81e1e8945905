"""One optimiser step, executed in one of three ways.

    eager       the objective in Python and autograd, anew at every step
    traced      the recorded operations, replayed (``recording.py``)
    compiled    the recorded operations, fused by a compiler that takes some ten seconds

All three draw the same noise: it is a pure function of (seed, epoch, step), which the caller hands
in as a seed. ``decisions.py`` says which way suits a run.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from aevb.datasets.batches import Shard
from aevb.engine.cuda_graphs import Captured
from aevb.engine.optimisers import Update
from aevb.engine.recording import (
    Draw,
    Loss,
    Outcome,
    Recording,
    compiled,
    outcome,
    record,
    traced,
)
from aevb.interfaces import Model, Objective
from aevb.probability.seeds import counter_seed


@dataclass(frozen=True)
class Engine:
    """How the steps of a run are executed. It is saved with the run, whose bits depend on it.

    mode: eager, traced or compiled. precision: fp32 or bf16, for matrix products and convolutions.
    kernels: torch or onednn, for matrix products in float32. threads: CPU threads of each process.
    world: number of processes. reason: why this mode was chosen, as a phrase.
    """

    mode: str = "eager"
    precision: str = "fp32"
    kernels: str = "torch"
    threads: int = 1
    world: int = 1
    reason: str = ""


class StepResult(NamedTuple):
    """What one optimiser step reports. On a GPU the next step may overwrite its tensors."""

    names: tuple[str, ...]
    """Names of the figures in ``log``."""
    log: Tensor
    """(names,), nats, averaged over the whole batch."""
    bad: Tensor
    """(), 1.0 if a number was not finite in this step or an earlier one, else 0.0."""

    def figures(self) -> dict[str, Tensor]:
        """Each figure by name, as a copy: () each."""
        return dict(zip(self.names, self.log.clone(), strict=True))


@dataclass(frozen=True)
class _Replay:
    """A recording, ready to run. row_axes: see ``Step._row_axes``."""

    recording: Recording
    run: Callable[..., Sequence[Tensor]]
    row_axes: tuple[int, ...]

    def __call__(self, inputs: Sequence[Tensor], noise: torch.Generator, shard: Shard) -> Outcome:
        draws = [
            _part_of(draw, axis, noise, shard)
            for draw, axis in zip(self.recording.draws, self.row_axes, strict=True)
        ]
        return Outcome.from_flat(
            self.run(*self.recording.parameters, *self.recording.buffers, *inputs, *draws)
        )


class Step:
    """Gradient and update, called once per batch.

    Args:
        model: the model to train.
        objective: how to train it.
        update: the optimiser.
        to_x: turns the inputs of a step into x: (B, D). The inputs are rows as they are stored and
            perhaps random numbers. This function is recorded as part of the step.
        engine: how to execute the step.
        reduce: adds up weighted tensors over all processes; None for a single process.
    """

    def __init__(
        self,
        model: Model,
        objective: Objective,
        update: Update,
        to_x: Callable[..., Tensor],
        engine: Engine,
        reduce: Callable[[Sequence[Tensor], float], Sequence[Tensor]] | None = None,
    ) -> None:
        self.loss = Loss(model, objective)
        self.update, self.to_x, self.engine, self.reduce = update, to_x, engine, reduce
        self.names: tuple[str, ...] = ()
        self.failures = torch.zeros((), device=update.step.device)
        self._replays: dict[tuple[object, ...], _Replay] = {}
        self._captured: dict[tuple[object, ...], Captured[StepResult]] = {}

    def with_engine(self, engine: Engine) -> Step:
        """A step of the same model and optimiser in another engine, for one process."""
        return Step(self.loss.model, self.loss.objective, self.update, self.to_x, engine)

    def __call__(self, inputs: Sequence[Tensor], seed: int, shard: Shard) -> StepResult:
        """Take one step.

        If a loss or a gradient is not finite, this step and all later ones leave the weights and
        moments as they are.

        Args:
            inputs: the arguments of ``to_x``.
            seed: seeds the noise.
            shard: which rows of the whole batch these are.

        Returns:
            The figures of the step. On a GPU the next call may overwrite them.
        """
        if inputs[0].is_cuda:
            self.make_ready(inputs, shard)
            if captured := self._captured.get(_kind(inputs, shard)):
                _seeded(seed, inputs[0].device)
                return captured(inputs)
        return self._apply(self.gradients(inputs, seed, shard), shard)

    def gradients(self, inputs: Sequence[Tensor], seed: int, shard: Shard) -> Outcome:
        """The gradients for the given rows, with the log and ``bad`` of these rows alone.

        Args:
            inputs: the arguments of ``to_x``.
            seed: seeds the noise.
            shard: which rows of the whole batch these are.

        Returns:
            The gradients as ``update`` takes them, averaged over the rows given, and their log.
        """
        self.make_ready(inputs, shard)
        if self.engine.mode == "eager":
            return self._eager(inputs, seed, shard)
        return self._replays[_kind(inputs, shard)](inputs, _seeded(seed, inputs[0].device), shard)

    def _apply(self, found: Outcome, shard: Shard) -> StepResult:
        """Update the model, unless a number was not finite."""
        gradients, log, bad = found
        if self.reduce:
            gradients, log, bad = Outcome.from_flat(self.reduce(found.flat(), shard.weight))
            bad = (bad != 0).to(torch.float32)  # it may be a sum over processes, or NaN
        bad = torch.maximum(bad, self.failures.clamp(max=1.0))
        self.failures += bad
        self.update(gradients, bad)
        return StepResult(self.names, log, bad)

    def make_ready(self, inputs: Sequence[Tensor], shard: Shard) -> None:
        """Record, and perhaps compile, the step for inputs of this size, unless that was done.

        A step that cannot be recorded runs as Python from then on.
        """
        kind = _kind(inputs, shard)
        if self.engine.mode == "eager" or kind in self._replays:
            return
        try:
            self._replays[kind] = replay = self._record(inputs, shard)
            self.names = replay.recording.names
            if inputs[0].is_cuda and not self.reduce:
                self._captured[kind] = self._capture(replay, inputs, shard)
        except Exception as error:  # torch raises all kinds for what it cannot record
            said = " ".join(str(error).split())[:120]
            why = f"the step cannot be recorded: {type(error).__name__}: {said}"
            self.engine = replace(self.engine, mode="eager", reason=why)

    def _capture(
        self, replay: _Replay, inputs: Sequence[Tensor], shard: Shard
    ) -> Captured[StepResult]:
        """The whole step with its update as a CUDA graph.

        A replay draws its noise from where the device's generator stands then.
        """
        noise = _default_generator(inputs[0].device)
        gradients = partial(replay, noise=noise, shard=shard)
        buffers = [value.clone() for value in self.loss.buffers()]
        captured = Captured(
            lambda own: self._apply(gradients(own), shard), inputs, gradients, noise
        )
        # The runs before the capture have changed the buffers.
        for buffer, value in zip(self.loss.buffers(), buffers, strict=True):
            buffer.copy_(value)
        return captured

    def _eager(self, inputs: Sequence[Tensor], seed: int, shard: Shard) -> Outcome:
        # Eager noise cannot be split by rows: each process draws other noise, rather than the same.
        _seeded(seed if shard.is_whole else counter_seed(seed, shard.first), inputs[0].device)
        estimate = self.loss(self.to_x(*inputs))
        parameters = [parameter for parameter in self.loss.parameters() if parameter.requires_grad]
        gradients = torch.autograd.grad(estimate.loss, parameters, materialize_grads=True)
        self.names = tuple(estimate.log)
        return outcome(estimate, gradients, self.update.flat is not None)

    def _record(self, inputs: Sequence[Tensor], shard: Shard) -> _Replay:
        recording = record(
            self.loss,
            inputs,
            self.to_x,
            joined=self.update.flat is not None,
            bf16=self.engine.precision == "bf16",
            kernels=self.engine.kernels,
        )
        # A batch of another size, the last of an epoch, is not worth the compiler's time.
        make = compiled if self.engine.mode == "compiled" and not self._replays else traced
        return _Replay(recording, make(recording, inputs), self._row_axes(recording, inputs, shard))

    def _row_axes(
        self, recording: Recording, inputs: Sequence[Tensor], shard: Shard
    ) -> tuple[int, ...]:
        """For each draw, the axis along which the rows of the batch lie, or -1 if there is none.

        A second recording, of a batch of twice the size, shows it: this axis is twice as long.
        """
        if shard.is_whole:
            return (-1,) * len(recording.draws)
        doubled = record(self.loss, [torch.cat([each, each]) for each in inputs], self.to_x)
        pairs = zip(recording.draws, doubled.draws, strict=True)
        return tuple(
            next((i for i, n in enumerate(a.shape) if b.shape[i] != n), -1) for a, b in pairs
        )


def _kind(inputs: Sequence[Tensor], shard: Shard) -> tuple[object, ...]:
    """A key for steps that can share a recording.

    ``is_whole`` is part of the key, because a recording for whole batches does not know which axes
    of its noise are rows.
    """
    return shard.is_whole, *(each.shape for each in inputs)


def _seeded(seed: int, device: torch.device) -> torch.Generator:
    """The device's default generator with a new seed.

    torch.manual_seed would take a hundred times as long.
    """
    return _default_generator(device).manual_seed(seed)


def _default_generator(device: torch.device) -> torch.Generator:
    """The generator that eager draws come from."""
    if device.type == "cuda":
        return torch.cuda.default_generators[device.index or 0]
    return torch.default_generator


def _part_of(draw: Draw, axis: int, noise: torch.Generator, shard: Shard) -> Tensor:
    """The shard's rows of the noise for the whole batch.

    Each process draws the noise of the whole batch, so it needs nothing from the others.
    """
    if axis < 0:
        return draw(noise)
    whole = replace(draw, shape=(*draw.shape[:axis], shard.total, *draw.shape[axis + 1 :]))(noise)
    return whole.narrow(axis, shard.first, shard.rows).contiguous()
