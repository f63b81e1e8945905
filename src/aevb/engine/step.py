"""One optimiser step, in whichever of three ways is the fastest for the run at hand.

    eager       the objective in Python and autograd, anew at every step: for runs of few steps, and the way out
    traced      the recorded operations, replayed (``recording.py``): the rule
    compiled    the recorded operations, fused by a compiler that takes some ten seconds: for long runs of large networks

All three draw the same noise: it is a pure function of (seed, epoch, step), made outside and handed
in.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial

import torch
from torch import Tensor

from aevb.config import Config
from aevb.datasets.batches import Shard
from aevb.engine.cuda_graphs import Captured
from aevb.engine.graph_passes import ONEDNN
from aevb.engine.optimisers import Update
from aevb.engine.recording import Draw, Loss, Recording, compiled, flops, outcome, record, traced
from aevb.interfaces import Model, Objective
from aevb.probability.seeds import counter_seed

MODES = ("eager", "traced", "compiled")
FEW_STEPS = 1000
"""Recording takes the time of some hundred eager steps, whatever the network."""
MANY_STEPS = 50_000
"""On a GPU, from which on compiling pays: it takes ten seconds there too, and saves a fifth of a
millisecond of each step."""
MUCH_WORK = 1e13
"""Floating-point operations of a run from which on compiling pays: a minute or two of two CPU
cores."""
SOME_WORK = 1e12
"""And from which on looking for faster kernels pays: some ten seconds."""
LITTLE_WORK = 1e8
"""Floating-point operations of a step up to which one thread and torch's kernels are the fastest: a
second thread takes longer to be told, and oneDNN longer to begin."""
WORTH = 0.9
"""Share of the time that other kernels or precision have to stay below to be preferred to the
plainer ones."""


@dataclass(frozen=True)
class Engine:
    """How the steps of a run are executed. Saved with it: the bits of the result depend on each of
    these.

    mode: one of MODES. precision: of the products, fp32 or bf16. kernels: that multiply
    matrices of float32, torch or onednn. threads: CPU threads. world: processes. reason: for mode.
    """

    mode: str = "eager"
    precision: str = "fp32"
    kernels: str = "torch"
    threads: int = 1
    world: int = 1
    reason: str = ""


def choose_mode(
    compile: str, steps: int, work: Callable[[], float], world: int = 1, *, gpu: bool = False
) -> tuple[str, str]:
    """The mode and the reason for it. compile: auto, on or off. steps: of the whole run. work:
    ``flops`` of a step, asked for if it matters, since counting imports what takes seconds. world:
    processes. gpu: whether the steps run on one.

    A rule of counts, not a measurement: the same run is executed in the same way every time. Only
    recorded steps can hand each process its own rows of the noise.
    """
    if compile != "auto":
        return ("compiled" if compile == "on" else "eager"), f"--compile {compile}"
    if steps < FEW_STEPS and world == 1:
        return "eager", f"{steps} steps planned"
    if gpu:  # what compiling saves there is the time between operations, whatever their size
        return ("compiled" if steps >= MANY_STEPS else "traced"), f"{steps} steps planned on a GPU"
    total = steps * work()
    return (
        "compiled" if total >= MUCH_WORK else "traced"
    ), f"{steps} steps planned, {total:.1e} floating-point operations"


@dataclass(frozen=True)
class _Replay:
    recording: Recording
    run: Callable[..., Sequence[Tensor]]
    row_axes: tuple[int, ...]

    def __call__(
        self, inputs: Sequence[Tensor], noise: torch.Generator, shard: Shard
    ) -> Sequence[Tensor]:
        draws = [
            _part_of(draw, axis, noise, shard)
            for draw, axis in zip(self.recording.draws, self.row_axes, strict=True)
        ]
        return self.run(*self.recording.parameters, *self.recording.buffers, *inputs, *draws)


class Step:
    """Gradient and update, called once per batch.

    to_x: turns the inputs of a step, what is stored of the rows and perhaps random numbers, into x:
    (B, D); it is recorded with the rest. reduce: adds up weighted gradients of all processes in
    place, where there are several.
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
        self.loss, self.update, self.to_x, self.engine, self.reduce = (
            Loss(model, objective),
            update,
            to_x,
            engine,
            reduce,
        )
        self.names: tuple[str, ...] = ()
        self.failures = torch.zeros((), device=update.step.device)
        self._replays: dict[tuple[object, ...], _Replay] = {}
        self._captured: dict[tuple[object, ...], Captured] = {}

    def __call__(self, inputs: Sequence[Tensor], seed: int, shard: Shard) -> tuple[Tensor, Tensor]:
        """Take one step. inputs: of ``to_x``. seed: of the noise. shard: which rows of the whole
        batch these are.

        Returns the log: (names,), averaged over the whole batch, and whether a number was not
        finite: (), 1.0 or 0.0. If so, no weight and no moment has changed, nor will they again. On
        a GPU the next call may overwrite both.
        """
        if inputs[0].is_cuda:
            self.make_ready(inputs, shard)
            if captured := self._captured.get(_kind(inputs, shard)):
                _seeded(seed, inputs[0].device)
                log, bad = captured(inputs)
                return log, bad
        return self._apply(self.gradients(inputs, seed, shard), shard)

    def gradients(self, inputs: Sequence[Tensor], seed: int, shard: Shard) -> Sequence[Tensor]:
        """(gradients, as ``update`` takes them, log, bad; flat), of the rows given. Arguments as of
        a call."""
        self.make_ready(inputs, shard)
        if self.engine.mode == "eager":
            return self._eager(inputs, seed, shard)
        return self._replays[_kind(inputs, shard)](inputs, _seeded(seed, inputs[0].device), shard)

    def _apply(self, found: Sequence[Tensor], shard: Shard) -> tuple[Tensor, Tensor]:
        """The update. found: of ``gradients``. Returns what a call returns."""
        *gradients, log, bad = found
        if self.reduce:
            *gradients, log, bad = self.reduce([*gradients, log, bad], shard.weight)
            bad = (bad != 0).to(torch.float32)  # a sum over processes, or NaN
        bad = torch.maximum(bad, self.failures.clamp(max=1.0))
        self.failures += bad
        self.update(gradients, bad)
        return log, bad

    def make_ready(self, inputs: Sequence[Tensor], shard: Shard) -> None:
        """Record, and compile if that is wanted, what is needed for inputs of this size, unless it
        is there."""
        kind = _kind(inputs, shard)
        if self.engine.mode == "eager" or kind in self._replays:
            return
        try:
            self._replays[kind] = replay = self._record(inputs, shard)
            self.names = replay.recording.names
            if inputs[0].is_cuda and not self.reduce:
                self._captured[kind] = self._capture(replay, inputs, shard)
        except Exception as error:  # whatever torch raises for what it cannot record
            why = (
                f"the step cannot be recorded: {type(error).__name__}:"
                f" {' '.join(str(error).split())[:120]}"
            )
            self.engine = replace(self.engine, mode="eager", reason=why)

    def _capture(self, replay: _Replay, inputs: Sequence[Tensor], shard: Shard) -> Captured:
        """The whole step, update and all. Its noise starts where the device's generator is when it
        is replayed."""
        noise = _default_generator(inputs[0].device)
        gradients = partial(replay, noise=noise, shard=shard)
        buffers = [value.clone() for value in self.loss.buffers()]
        captured = Captured(
            lambda own: self._apply(gradients(own), shard), inputs, gradients, noise
        )
        for buffer, value in zip(
            self.loss.buffers(), buffers, strict=True
        ):  # which the runs before the capture changed
            buffer.copy_(value)
        return captured

    def _eager(self, inputs: Sequence[Tensor], seed: int, shard: Shard) -> Sequence[Tensor]:
        # Where the noise cannot be shared out, each process draws its own, rather than all the
        # same.
        _seeded(seed if shard.is_whole else counter_seed(seed, shard.first), inputs[0].device)
        estimate = self.loss(self.to_x(*inputs))
        parameters = [parameter for parameter in self.loss.parameters() if parameter.requires_grad]
        gradients = torch.autograd.grad(estimate.loss, parameters, materialize_grads=True)
        self.names = tuple(estimate.log)
        return outcome(estimate, gradients, self.update.flat is not None)

    def _record(self, inputs: Sequence[Tensor], shard: Shard) -> _Replay:
        engine, joined = self.engine, self.update.flat is not None
        bf16 = engine.precision == "bf16"
        recording = record(
            self.loss, inputs, self.to_x, joined=joined, bf16=bf16, kernels=engine.kernels
        )
        # A batch of another size, the last of an epoch, is not worth a compiler's time.
        make = compiled if self.engine.mode == "compiled" and not self._replays else traced
        return _Replay(recording, make(recording, inputs), self._row_axes(recording, inputs, shard))

    def _row_axes(
        self, recording: Recording, inputs: Sequence[Tensor], shard: Shard
    ) -> tuple[int, ...]:
        """Along which axis of each draw the rows of the batch lie, or -1: told by recording a batch
        of twice the size."""
        if shard.is_whole:
            return (-1,) * len(recording.draws)
        doubled = record(self.loss, [torch.cat([each, each]) for each in inputs], self.to_x)
        pairs = zip(recording.draws, doubled.draws, strict=True)
        return tuple(
            next((i for i, n in enumerate(a.shape) if b.shape[i] != n), -1) for a, b in pairs
        )


def plan(
    step: Step,
    inputs: Sequence[Tensor],
    config: Config,
    steps: int,
    world: int = 1,
    before: Engine | None = None,
    bf16_is_free: bool = False,
) -> Engine:
    """How to execute a run of ``steps`` steps on batches like ``inputs``. Leaves ``step`` and its
    model as they were.

    before: the engine that the run began in, which is kept but for what ``config`` asks for, and
    for eager steps if there are several processes now. Else a short measurement decides what is
    left open for recorded steps that are not small: threads, one or all that torch would use; for
    longer runs on a processor also whose kernels multiply, and whether they do it in bfloat16.
    bf16_is_free: whether that is known to cost less than another seed would in a model of this
    kind.
    """

    @cache
    def work() -> float:
        return flops(step.loss, step.to_x(*inputs))

    mode, reason = choose_mode(config.compile, steps, work, world, gpu=inputs[0].is_cuda)
    if before and config.compile == "auto" and (before.mode != "eager" or world == 1):
        mode, reason = before.mode, before.reason
    if not step.loss.objective.recordable:
        mode, reason = "eager", "the objective keeps something of every row"
    if before:
        precision = before.precision if config.precision == "auto" else config.precision
        kernels = before.kernels if config.kernels == "auto" else config.kernels
        return Engine(mode, precision, kernels, config.threads or before.threads, world, reason)
    precision = "fp32" if config.precision == "auto" else config.precision
    kernels = "torch" if config.kernels == "auto" else config.kernels
    engine = Engine(
        mode, precision, kernels, config.threads or torch.get_num_threads(), world, reason
    )
    if mode == "eager" or inputs[0].is_cuda:  # what a GPU does is not decided by threads
        return engine
    if work() < LITTLE_WORK:
        return replace(engine, threads=config.threads or 1)
    threads = (
        [1, engine.threads] if config.threads is None and engine.threads > 1 else [engine.threads]
    )
    ways = [engine]
    if (
        inputs[0].device.type == "cpu"
        and precision == "fp32"
        and (mode == "compiled" or steps * work() >= SOME_WORK)
    ):
        ways += [replace(engine, kernels="onednn")] if ONEDNN and config.kernels == "auto" else []
        ways += (
            [replace(engine, precision="bf16")]
            if bf16_is_free and config.precision == "auto"
            else []
        )
    return _fastest(step, inputs, [[replace(way, threads=n) for n in threads] for way in ways])


def _fastest(
    step: Step, inputs: Sequence[Tensor], ways: Sequence[Sequence[Engine]], rounds: int = 7
) -> Engine:
    """The engine that replays a step in the least time, the median of ``rounds``, taken in turns.

    ways: each a list of engines that differ in their threads, plainest first: a later way has to be
    faster by a good deal.
    """
    if [len(way) for way in ways] == [1]:
        return ways[0][0]
    buffers = [value.clone() for value in step.loss.buffers()]
    shard = Shard(0, len(inputs[0]), len(inputs[0]))
    trials: dict[Engine, Callable[[], object]] = {}
    for way in ways:
        trial = Step(
            step.loss.model,
            step.loss.objective,
            step.update,
            step.to_x,
            replace(way[0], mode="traced"),
        )
        trials |= dict.fromkeys(way, partial(trial.gradients, inputs, 0, shard))
    seconds: dict[Engine, list[float]] = {engine: [] for engine in trials}
    for _ in range(rounds + 1):
        for engine, run in trials.items():
            torch.set_num_threads(engine.threads)
            started = time.perf_counter()
            for _ in range(3):
                run()
            seconds[engine].append(time.perf_counter() - started)
    for buffer, value in zip(step.loss.buffers(), buffers, strict=True):
        buffer.copy_(value)
    medians = {
        engine: statistics.median(found[1:]) for engine, found in seconds.items()
    }  # the first one warms up
    best, *others = [min(way, key=medians.__getitem__) for way in ways]
    for other in others:
        if medians[other] < WORTH * medians[best]:
            best = other
    return best


def _kind(inputs: Sequence[Tensor], shard: Shard) -> tuple[object, ...]:
    """What can share a recording. Of one row in a batch of one, which rows of the noise it needs
    was never asked."""
    return shard.is_whole, *(each.shape for each in inputs)


def _seeded(seed: int, device: torch.device) -> torch.Generator:
    """The device's default generator, started anew. torch.manual_seed costs a hundred times as
    much."""
    return _default_generator(device).manual_seed(seed)


def _default_generator(device: torch.device) -> torch.Generator:
    """Which eager draws come from."""
    return (
        torch.cuda.default_generators[device.index or 0]
        if device.type == "cuda"
        else torch.default_generator
    )


def _part_of(draw: Draw, axis: int, noise: torch.Generator, shard: Shard) -> Tensor:
    """The shard's rows of the noise for the whole batch: each process draws all of it, so that none
    depends on the others."""
    if axis < 0:
        return draw(noise)
    whole = replace(draw, shape=(*draw.shape[:axis], shard.total, *draw.shape[axis + 1 :]))(noise)
    return whole.narrow(axis, shard.first, shard.rows).contiguous()
