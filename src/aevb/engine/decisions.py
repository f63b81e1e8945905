"""How the steps of a run are executed: mode, precision, kernels and threads.

The result of a run depends on all four in its last bits. So they follow from counts of steps and
operations and from the processor, never from a measurement: one command ends with the same bits
every time on one machine. Only ``--kernels fastest`` measures, since then the user asks for it. The
choices are saved with the run, and a resumed run keeps them.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial

import torch
from torch import Tensor

from aevb.datasets.batches import Shard
from aevb.engine import processor
from aevb.engine.graph_passes import ONEDNN
from aevb.engine.recording import flops
from aevb.engine.step import Engine, Step

FEW_STEPS = 1000
"""Steps of a run below which recording does not pay.

Recording takes the time of some hundred eager steps, whatever the network.
"""
MANY_STEPS = 50_000
"""Steps of a run on a GPU from which on compiling pays.

It takes ten seconds there too, and saves a fifth of a millisecond of each step.
"""
MUCH_WORK = 1e13
"""Floating-point operations of a run from which on compiling pays: a minute or two of two cores."""
SOME_WORK = 1e12
"""Floating-point operations of a run from which on looking for faster kernels pays.

Such a run takes some ten seconds.
"""
LITTLE_WORK = 1e8
"""Floating-point operations of a step below which one thread and torch's kernels are the fastest.

For less work, waking a second thread or starting oneDNN takes longer than the work itself. A step
gets at most one thread for this much work.
"""
WORTH = 0.9
"""Measured kernels or bfloat16 are chosen only if they need less than this share of the time."""
OPEN = ("auto", "fastest")
"""Wishes for kernels that name none."""
ROUNDS = 7
"""How many times each way of executing a step is measured."""


@dataclass(frozen=True)
class Wishes:
    """What the user asks for; ``auto`` and ``None`` leave the decision to this module.

    compile: auto, on or off. precision: auto, fp32 or bf16. kernels: auto, torch, onednn, or
    fastest, which measures what is left open. threads: number of CPU threads.
    """

    compile: str = "auto"
    precision: str = "auto"
    kernels: str = "auto"
    threads: int | None = None


@dataclass(frozen=True)
class Circumstances:
    """The facts about a run that decide how its steps are executed.

    steps: number of steps of the whole run. world: number of processes. bf16_is_free: whether
    bfloat16 is known to change the result of such a model by less than another seed does. before:
    the engine of a resumed run so far, None for a new run.
    """

    steps: int
    world: int = 1
    bf16_is_free: bool = False
    before: Engine | None = None


def plan(step: Step, inputs: Sequence[Tensor], wishes: Wishes, run: Circumstances) -> Engine:
    """Decide how to execute a run. ``step`` and its model stay as they were.

    Args:
        step: the step to be executed.
        inputs: the inputs of a step for a whole batch.
        wishes: what the user asks for.
        run: the facts about the run.

    Returns:
        The engine. A resumed run keeps its engine, except for what the user asks for.
    """

    @cache
    def work() -> float:
        return flops(step.loss, step.to_x(*inputs))

    on_gpu = inputs[0].is_cuda
    mode, reason = decide_mode(step, wishes, run, work, gpu=on_gpu)
    engine = Engine(
        mode=mode,
        precision=decide_precision(wishes, run.before),
        kernels=decide_kernels(wishes, run.before),
        threads=decide_threads(wishes, run.before),
        world=run.world,
        reason=reason,
    )
    # The speed of a GPU does not depend on the processor's threads, nor on its kernels.
    if run.before or mode == "eager" or on_gpu:
        return engine
    return fitted(step, inputs, engine, wishes, run, work())


def fitted(
    step: Step,
    inputs: Sequence[Tensor],
    engine: Engine,
    wishes: Wishes,
    run: Circumstances,
    work: float,
) -> Engine:
    """The engine of a new run of recorded steps on a CPU: threads, kernels and precision.

    Args:
        step: the step to be executed.
        inputs: the inputs of a step for a whole batch.
        engine: the engine so far.
        wishes: what the user asks for.
        run: the facts about the run.
        work: floating-point operations of a step.
    """
    if work < LITTLE_WORK:
        return replace(engine, threads=wishes.threads or 1)
    is_long = engine.mode == "compiled" or run.steps * work >= SOME_WORK
    if wishes.kernels == "fastest":
        ways = [engine, *(other_kernels(engine, wishes, run) if is_long else [])]
        threads = threads_to_try(engine, wishes)
        return fastest(step, inputs, [[replace(way, threads=n) for n in threads] for way in ways])
    engine = replace(engine, threads=wishes.threads or threads_for(work, engine.threads))
    return by_processor(engine, wishes, run) if is_long else engine


def threads_for(work: float, most: int) -> int:
    """How many CPU threads a step gets: one for each ``LITTLE_WORK`` of it, at most ``most``.

    work: floating-point operations of the step.
    """
    return max(1, min(most, int(work / LITTLE_WORK)))


def by_processor(engine: Engine, wishes: Wishes, run: Circumstances) -> Engine:
    """The engine of a long run, with the kernels and the precision that suit this processor.

    bfloat16 comes first, since it reads half the bytes. It is chosen only where it is known to be
    harmless, and where the processor multiplies it.
    """
    ways = {(way.precision, way.kernels): way for way in other_kernels(engine, wishes, run)}
    if processor.multiplies_bf16() and ("bf16", engine.kernels) in ways:
        return ways["bf16", engine.kernels]
    if processor.is_faster_with_onednn() and ("fp32", "onednn") in ways:
        return ways["fp32", "onednn"]
    return engine


def decide_mode(
    step: Step,
    wishes: Wishes,
    run: Circumstances,
    work: Callable[[], float],
    *,
    gpu: bool,
) -> tuple[str, str]:
    """The mode of a run, and the reason for it.

    An objective that keeps a state for every row runs as Python. A resumed run keeps its mode,
    unless the user asks for another one, or its steps were eager and there are now several
    processes.

    Args:
        step: the step to be executed.
        wishes: what the user asks for.
        run: the facts about the run.
        work: counts the floating-point operations of a step.
        gpu: whether the steps run on a GPU.

    Returns:
        The mode (eager, traced or compiled), and the reason as a phrase.
    """
    if not step.loss.objective.recordable:
        return "eager", "the objective keeps something of every row"
    before = run.before
    if before and wishes.compile == "auto" and (before.mode != "eager" or run.world == 1):
        return before.mode, before.reason
    return choose_mode(wishes.compile, run.steps, work, run.world, gpu=gpu)


def choose_mode(
    compile: str, steps: int, work: Callable[[], float], world: int = 1, *, gpu: bool = False
) -> tuple[str, str]:
    """The mode of a new run, and the reason for it.

    Args:
        compile: auto, on or off.
        steps: number of steps of the whole run.
        work: counts the floating-point operations of a step. It is called only if the count
            matters, since counting imports modules for seconds.
        world: number of processes. Only recorded steps can hand each process its rows of the noise.
        gpu: whether the steps run on a GPU.

    Returns:
        The mode (eager, traced or compiled), and the reason as a phrase.
    """
    if compile != "auto":
        return ("compiled" if compile == "on" else "eager"), f"--compile {compile}"
    if steps < FEW_STEPS and world == 1:
        return "eager", f"{steps} steps planned"
    if gpu:  # there, compiling saves the time between operations, whatever their size
        return ("compiled" if steps >= MANY_STEPS else "traced"), f"{steps} steps planned on a GPU"
    total = steps * work()
    mode = "compiled" if total >= MUCH_WORK else "traced"
    return mode, f"{steps} steps planned, {total:.1e} floating-point operations"


def decide_precision(wishes: Wishes, before: Engine | None) -> str:
    """The precision: the user's choice, else that of the run so far, else fp32."""
    if wishes.precision != "auto":
        return wishes.precision
    return before.precision if before else "fp32"


def decide_kernels(wishes: Wishes, before: Engine | None) -> str:
    """The kernels for products: the user's choice, else those of the run so far, else torch's."""
    if wishes.kernels not in OPEN:
        return wishes.kernels
    return before.kernels if before else "torch"


def decide_threads(wishes: Wishes, before: Engine | None) -> int:
    """The threads: the user's choice, else those of the run so far, else as many as torch uses."""
    return wishes.threads or (before.threads if before else torch.get_num_threads())


def threads_to_try(engine: Engine, wishes: Wishes) -> list[int]:
    """Numbers of threads to measure: one and all of them, unless the user gave a number."""
    several = wishes.threads is None and engine.threads > 1
    return [1, engine.threads] if several else [engine.threads]


def other_kernels(engine: Engine, wishes: Wishes, run: Circumstances) -> list[Engine]:
    """Engines that differ from a plain one in kernels or precision, and may be faster.

    oneDNN computes the same products. bfloat16 is tried only where it is known to be harmless.
    """
    if engine.precision != "fp32":
        return []
    ways = []
    if ONEDNN and wishes.kernels in OPEN:
        ways.append(replace(engine, kernels="onednn"))
    if run.bf16_is_free and wishes.precision == "auto":
        ways.append(replace(engine, precision="bf16"))
    return ways


def fastest(step: Step, inputs: Sequence[Tensor], ways: Sequence[Sequence[Engine]]) -> Engine:
    """The engine that replays a step in the least time.

    Args:
        step: the step to be executed; its model stays as it was.
        inputs: the inputs of a step for a whole batch.
        ways: lists of engines, the plainest list first. The engines of one list differ in their
            threads alone. A later list is chosen only if it is clearly faster (``WORTH``).

    Returns:
        One of the engines.
    """
    if [len(way) for way in ways] == [1]:
        return ways[0][0]
    seconds = _measured(step, inputs, ways)
    best, *others = [min(way, key=seconds.__getitem__) for way in ways]
    for other in others:
        if seconds[other] < WORTH * seconds[best]:
            best = other
    return best


def _measured(
    step: Step, inputs: Sequence[Tensor], ways: Sequence[Sequence[Engine]]
) -> dict[Engine, float]:
    """Median seconds of three replays in each engine.

    The engines take turns, so that other work of the machine slows all of them alike.
    """
    buffers = [value.clone() for value in step.loss.buffers()]
    shard = Shard(0, len(inputs[0]), len(inputs[0]))
    trials: dict[Engine, Callable[[], object]] = {}
    for way in ways:
        trial = step.with_engine(replace(way[0], mode="traced"))
        trials |= dict.fromkeys(way, partial(trial.gradients, inputs, 0, shard))
    seconds: dict[Engine, list[float]] = {engine: [] for engine in trials}
    for _ in range(ROUNDS + 1):
        for engine, run in trials.items():
            torch.set_num_threads(engine.threads)
            started = time.perf_counter()
            for _ in range(3):
                run()
            seconds[engine].append(time.perf_counter() - started)
    for buffer, value in zip(step.loss.buffers(), buffers, strict=True):
        buffer.copy_(value)
    # The first round warms up.
    return {engine: statistics.median(found[1:]) for engine, found in seconds.items()}
