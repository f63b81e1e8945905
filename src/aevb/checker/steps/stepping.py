"""Run the steps of a stranger's program, each with batches of several shapes until one fits, and
keep the tape of the best."""

from __future__ import annotations

import time
from collections.abc import Collection

import torch
from torch import Tensor

from aevb.checker.places import Place
from aevb.checker.program import calls as by_name
from aevb.checker.program.guards import OutOfTimeError, at_most, quiet_options
from aevb.checker.program.making import models
from aevb.checker.program.plain import set_mode
from aevb.checker.program.program import Program
from aevb.checker.program.rewriting import ROWS
from aevb.checker.program.shapes import from_error, shapes
from aevb.checker.program.stand_ins import StandIn
from aevb.checker.session import Batch
from aevb.checker.steps.outside_noise import adopt, find_with_kept
from aevb.checker.steps.salvage import left_behind
from aevb.checker.steps.steps import Attempt, Step, attempts
from aevb.checker.tape.returned import loss_in, sum_of_rows
from aevb.checker.tape.tape import BackwardCalledError, Tape

MOST_SHAPES = 16
LONGEST_SEARCH_S = 15
STRUCTURES = ("pair", "twins", "tensor", "list", "dict")
NUMBERS = (
    ("'indices' to have one of the following scalar types", "tokens"),
    ("but got Float and Double", "double"),
    ("but got Double and Float", "double"),
    ("expected m1 and m2 to have the same dtype", "double"),
    ("same number of dimensions: got 2 and 1", "column"),
)
"""What an error says, and the kind of numbers that the program then expects of its rows."""


def record(
    program: Program, seed: int, *, evaluating: bool = False, besides: Collection[str] = ()
) -> Step | None:
    """The step in which most of a VAE is seen; None if nothing could be run.

    evaluating: with modules in evaluation. besides: attempts that are left out, as ``Attempt.how``
    calls them.
    """
    best: Step | None = None
    program.guess = models
    began = time.monotonic()
    for attempt in (one for one in attempts(program) if one.how not in besides):
        if attempt.spare and best is not None and best.parts:
            continue
        step = _first_that_runs(program, attempt, seed, evaluating, began)
        if step is not None and (best is None or step.score > best.score):
            best = step
        if best is not None and best.score[0]:
            break
        if time.monotonic() - began > LONGEST_SEARCH_S:
            program.trace.append(
                f"the search for a training step was given up after {LONGEST_SEARCH_S} s"
            )
            break
    return best


def _first_that_runs(
    program: Program, attempt: Attempt, seed: int, evaluating: bool, began: float
) -> Step | None:
    """The attempt on batches of one shape after another; an error of torch may name the next shape."""
    waiting = shapes(program, [m for _, m in models(program)])
    seen: set[tuple[int, ...]] = set()
    numbers = ""
    while waiting and len(seen) < MOST_SHAPES and time.monotonic() - began < LONGEST_SEARCH_S:
        shape = waiting.pop(0)
        if shape in seen or not all(isinstance(side, int) for side in shape):
            continue
        seen.add(shape)
        for structure in STRUCTURES if attempt.structured else ("tensor",):
            step = run(program, attempt, shape, structure, seed, evaluating, numbers)
            wanted = next(
                (kind for said, kind in NUMBERS if said in str(program.failed.get(attempt.how))),
                numbers,
            )
            if step is None and wanted != numbers:
                numbers = wanted
                step = run(program, attempt, shape, structure, seed, evaluating, numbers)
            if step is not None or isinstance(program.failed.get(attempt.how), OutOfTimeError):
                return step
            waiting = [*from_error(str(program.failed.get(attempt.how, "")), shape), *waiting]
    return next(iter(attempt.begun), None)


def run(
    program: Program,
    attempt: Attempt,
    shape: tuple[int, ...],
    structure: str,
    seed: int,
    evaluating: bool = False,
    numbers: str = "",
) -> Step | None:
    """Run the attempt on a batch of rows of the given shape and kind of numbers; None if it fails."""
    torch.manual_seed(seed)
    session = program.session
    x = by_name.rows(program, ROWS, shape, numbers)
    y = (
        torch.randint(0, 2, (ROWS, 1)).float()
        if numbers == "column"
        else torch.randint(0, 10, (ROWS,))
    )
    session.begin(Batch(x, y, structure))
    tape = Tape(session, program.source.files)
    program.on_retry = tape.clear
    names = dict(program.names)
    for _, module in models(program) if evaluating else ():
        set_mode(module, False)
    try:
        with at_most(10), quiet_options(), tape:
            result = attempt.action()
        if any(not tape.shown(weight).numel() for weight in tape.parameters):
            raise ValueError(
                "a layer has no input or no output: the network was made for no columns"
            )
    except BackwardCalledError as stop:
        result = stop.loss
    except (Exception, SystemExit) as error:
        why = f"{type(error).__name__}: {error}"
        if not any(why in line and line.startswith(attempt.how) for line in program.trace):
            program.trace.append(f"{attempt.how} on {structure} of {shape}: {why}")
        left = (
            left_behind(error, program.source.tree)
            if attempt.structured and not attempt.begun
            else None
        )
        if left is not None and tape.entries:
            attempt.begun.append(_begun(program, attempt, tape, *left, why))
        error = error.with_traceback(None)  # its frames would keep the try's tensors
        error.__context__ = error.__cause__ = None  # and so would theirs
        program.failed[attempt.how] = error
        session.unseen.learn_from(why)
        program.tried.append((attempt.how, error))
        return None
    finally:
        used = dict(program.names)
        # A loop leaves its batch behind: the next try has another.
        program.names.clear()
        program.names.update(names)
    loss = loss_in(result)
    if (
        loss is None
        and not attempt.structured
        and by_name.LOSS.search(attempt.how.partition("(")[0])
    ):
        with tape:
            loss = sum_of_rows(result)
    if result is None or isinstance(result, StandIn) or not tape.entries:
        return None
    adopt(tape)
    number = None if loss is None else tape.number(loss)
    parts = find_with_kept(tape, program.source.tree, used)
    return Step(
        tape,
        attempt.how,
        number,
        parts,
        result,
        attempt.structured,
        attempt.action,
        session.error_is_ours,
    )


def _begun(
    program: Program, attempt: Attempt, tape: Tape, loss: Tensor, place: Place, why: str
) -> Step:
    """The step up to the error that ended it."""
    adopt(tape)
    how = f"{attempt.how}, up to {program.source.where(place)}, where it ends with {why[:80]}"
    parts = find_with_kept(tape, program.source.tree, program.names)
    return Step(tape, how, tape.number(loss), parts, loss, attempt.structured, attempt.action)
