"""Run the steps of a stranger's program, with batches of several shapes, and keep the best."""

from __future__ import annotations

import ast
import time
from collections.abc import Collection, Iterator
from dataclasses import dataclass, replace
from types import FrameType
from typing import TypeGuard

import torch
from torch import Tensor

from aevb.checker.places import Place, is_strangers
from aevb.checker.program.making import models
from aevb.checker.program.program import OutOfTimeError, Program, at_most, quiet_options
from aevb.checker.program.rewriting import set_mode
from aevb.checker.program.shapes import Shape, from_error, labels, rows, shapes
from aevb.checker.program.source import calls, covers, each, functions
from aevb.checker.program.stand_ins import StandIn
from aevb.checker.program.vocabulary import LOSS
from aevb.checker.session import STRUCTURES, Batch
from aevb.checker.steps.candidates import Attempt, RecordedStep, attempts
from aevb.checker.steps.outside_noise import adopt, find_with_kept
from aevb.checker.tape.returned import loss_in, sum_of_rows
from aevb.checker.tape.tape import BackwardCalledError, Tape

MOST_SHAPES = 16
LONGEST_SEARCH_S = 15
NUMBERS = (
    ("'indices' to have one of the following scalar types", "tokens"),
    ("but got Float and Double", "double"),
    ("but got Double and Float", "double"),
    ("expected m1 and m2 to have the same dtype", "double"),
    ("same number of dimensions: got 2 and 1", "column"),
)
"""Parts of error messages, and the kind of numbers that the program then expects in its rows."""


Found = RecordedStep | None


@dataclass(frozen=True)
class RowKind:
    """The form of a batch: the shape of a row, a structure, a kind of numbers."""

    shape: Shape
    structure: str = "tensor"
    numbers: str = ""


def record(
    program: Program, seed: int, *, evaluating: bool = False, besides: Collection[str] = ()
) -> RecordedStep | None:
    """Record the step in which most of a VAE is seen.

    Args:
        program: the program.
        seed: for torch's generator, set before each step.
        evaluating: whether modules are in evaluation mode.
        besides: ``Attempt.how`` of attempts to leave out.

    Returns:
        The step, or None if nothing could be run.
    """
    best: RecordedStep | None = None
    program.guess = models
    runner = Runner(program, seed, evaluating)
    for attempt in attempts(program):
        if attempt.how in besides or (attempt.spare and best is not None and best.parts):
            continue
        step = runner.first_that_runs(attempt)
        if step is not None and (best is None or step.score > best.score):
            best = step
        if best is not None and best.score[0]:
            break
        if runner.is_late:
            late = f"the search for a training step was given up after {LONGEST_SEARCH_S} s"
            program.trace.append(late)
            break
    return best


class Runner:
    """Runs attempts of a program, each after the same seed. begun: the time of the start."""

    def __init__(self, program: Program, seed: int, evaluating: bool = False) -> None:
        self.program, self.seed, self.evaluating = program, seed, evaluating
        self.begun = time.monotonic()

    @property
    def is_late(self) -> bool:
        """Whether the search for a step has taken too long."""
        return time.monotonic() - self.begun > LONGEST_SEARCH_S

    def first_that_runs(self, attempt: Attempt) -> RecordedStep | None:
        """Try one shape of rows after another; an error message may give the next."""
        waiting = shapes(self.program, [module for _, module in models(self.program)])
        seen: set[Shape] = set()
        given = RowKind(())
        while waiting and len(seen) < MOST_SHAPES and not self.is_late:
            shape = waiting.pop(0)
            if shape in seen or not all(isinstance(side, int) for side in shape):
                continue
            seen.add(shape)
            for structure in STRUCTURES if attempt.structured else ("tensor",):
                given = replace(given, shape=shape, structure=structure)
                step, given = self._with_its_numbers(attempt, given)
                if step is not None or isinstance(self._failure(attempt), OutOfTimeError):
                    return step
                waiting = [*from_error(str(self._failure(attempt)), shape), *waiting]
        return next(iter(attempt.begun), None)

    def _with_its_numbers(self, attempt: Attempt, given: RowKind) -> tuple[Found, RowKind]:
        """The step with numbers of the given kind, or of the kind that an error asks for."""
        step = self.run(attempt, given)
        said = str(self._failure(attempt))
        wanted = next((kind for words, kind in NUMBERS if words in said), given.numbers)
        if step is not None or wanted == given.numbers:
            return step, given
        given = replace(given, numbers=wanted)
        return self.run(attempt, given), given

    def _failure(self, attempt: Attempt) -> BaseException | str:
        """Why the attempt failed the last time; "" if it never did."""
        return self.program.failed.get(attempt.how, "")

    def run(self, attempt: Attempt, given: RowKind) -> RecordedStep | None:
        """Run the attempt on a batch; return None if it fails."""
        program, session = self.program, self.program.session
        torch.manual_seed(self.seed)
        x = rows(program, given.shape, given.numbers)
        session.begin(Batch(x, labels(given.numbers), given.structure))
        tape = Tape(session, program.source.files)
        program.on_retry = tape.clear
        names = dict(program.names)
        for _, module in models(program) if self.evaluating else ():
            set_mode(module, False)
        try:
            result = _on_tape(attempt, tape)
        except (Exception, SystemExit) as error:
            self._failed(attempt, given, tape, error)
            return None
        finally:
            used = dict(program.names)
            # The program may have assigned its batch to names: the next try has another batch.
            program.names.clear()
            program.names.update(names)
        loss = loss_in(result)
        if loss is None and not attempt.structured and LOSS.search(attempt.how.partition("(")[0]):
            with tape:
                loss = sum_of_rows(result)
        if result is None or isinstance(result, StandIn) or not tape.entries:
            return None
        adopt(tape)
        number = None if loss is None else tape.number(loss)
        return RecordedStep(
            tape, attempt.how, number, find_with_kept(tape, program.tree, used), result,
            attempt.structured, attempt.action, session.error_is_ours,
        )  # fmt: skip

    def _failed(self, attempt: Attempt, given: RowKind, tape: Tape, error: BaseException) -> None:
        """Keep why the attempt failed, and its step if it had a loss by then."""
        program, why = self.program, f"{type(error).__name__}: {error}"
        if not any(why in line and line.startswith(attempt.how) for line in program.trace):
            program.trace.append(f"{attempt.how} on {given.structure} of {given.shape}: {why}")
        wanted = attempt.structured and not attempt.begun and tape.entries
        left = left_behind(error, program.tree) if wanted else None
        if left is not None:
            attempt.begun.append(self._begun(attempt, tape, left, why))
        error = error.with_traceback(None)  # its frames would keep the try's tensors
        error.__context__ = error.__cause__ = None  # and so would theirs
        program.failed[attempt.how] = error
        program.session.unseen.learn_from(why)
        program.tried.append((attempt.how, error))

    def _begun(
        self, attempt: Attempt, tape: Tape, left: tuple[Tensor, Place], why: str
    ) -> RecordedStep:
        """The step up to the error that ended it."""
        adopt(tape)
        where = self.program.source.where(left[1])
        how = f"{attempt.how}, up to {where}, where it ends with {why[:80]}"
        parts = find_with_kept(tape, self.program.tree, self.program.names)
        loss, number = left[0], tape.number(left[0])
        return RecordedStep(tape, how, number, parts, loss, attempt.structured, attempt.action)


def _on_tape(attempt: Attempt, tape: Tape) -> object:
    """The value that the attempt returns, or the loss on which it calls ``backward``."""
    try:
        with at_most(10), quiet_options(), tape:
            result: object = attempt.action()
    except BackwardCalledError as stop:
        return stop.loss
    if any(not tape.shown(weight).numel() for weight in tape.parameters):
        raise ValueError("a layer has no input or no output: the network was made for no columns")
    return result


def left_behind(error: BaseException, tree: ast.Module) -> tuple[Tensor, Place] | None:
    """The loss of a step that ended with an error afterwards, and the place where it ended.

    The loss is a variable that the function would have returned or called ``backward`` on: a
    scalar with a gradient, which no later line of the function assigns again.
    """
    for frame, place in _frames(error):
        around = (f for f in functions(tree, frame.f_code.co_name) if covers(f, place))
        scope = next(around, tree)
        for name in _losses(scope):
            value = frame.f_locals.get(name)
            if _is_a_loss(value) and not _changes(scope, name, place.line):
                return value, place
    return None


def _is_a_loss(value: object) -> TypeGuard[Tensor]:
    return isinstance(value, Tensor) and value.numel() == 1 and value.requires_grad


def _changes(scope: ast.AST, name: str, line: int) -> bool:
    """Whether the scope assigns the name at that line or later."""
    stores = (one for one in each(scope, ast.Name) if isinstance(one.ctx, ast.Store))
    return any(one.id == name and one.lineno >= line for one in stores)


def _frames(error: BaseException) -> Iterator[tuple[FrameType, Place]]:
    """The program's frames that the error went through, the outermost first, with its places."""
    step = error.__traceback__
    while step is not None:
        file = step.tb_frame.f_code.co_filename
        if is_strangers(file):
            yield step.tb_frame, Place(file, step.tb_lineno)
        step = step.tb_next


def _losses(scope: ast.AST) -> Iterator[str]:
    """Names on which the function calls ``backward``, or that it returns as the loss."""
    methods = (call.func for call in calls(scope) if isinstance(call.func, ast.Attribute))
    for method in methods:
        if method.attr == "backward" and isinstance(method.value, ast.Name):
            yield method.value.id
    for node in each(scope, ast.Return) if isinstance(scope, ast.FunctionDef) else ():
        value = _whole_loss(node.value)
        if isinstance(value, ast.Name):
            yield value.id


def _whole_loss(value: ast.expr | None) -> ast.expr | None:
    """The loss in a returned value: the value itself, its "loss", or the first of a tuple."""
    if isinstance(value, ast.Dict):
        pairs = zip(value.keys, value.values, strict=True)
        return next((v for k, v in pairs if getattr(k, "value", None) == "loss"), None)
    return value.elts[0] if isinstance(value, ast.Tuple) else value
