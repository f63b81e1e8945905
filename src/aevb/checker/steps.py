"""Run one training step of a stranger's program, whatever form it has, and keep its tape.

Tried in this order, each with batches of several shapes until one fits: code that goes backward (a function, a method or a loop
of the top level, run until its first ``backward``); Lightning's ``training_step``; a model and a loss function, whose arguments
are recognised by name; a model whose output is or holds a loss.
"""

from __future__ import annotations

import ast
import inspect
import time
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from aevb.checker import arguments as by_name
from aevb.checker import numpy_noise
from aevb.checker.guards import OutOfTimeError, at_most
from aevb.checker.hints import channels, from_error, shapes
from aevb.checker.making import construct, models
from aevb.checker.mapped import UnknownNameError, before_a_decoder, between_layers, named, only_a_loss
from aevb.checker.parts import Parts, find
from aevb.checker.program import Program
from aevb.checker.rewriting import ROWS
from aevb.checker.source import calls, goes_backward, last_name, unpacked_first
from aevb.checker.stand_ins import STRANGER, Batch, StandIn
from aevb.checker.tape import BackwardCalledError, Tape
from aevb.checker.unknown import begin, learn_from
from aevb.checker.values import loss_in, tensors

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


@dataclass
class Step:
    """One step on tape. loss: the value differentiated, None if there was none. how: what was run, in words.

    faithful: whether the program's own training code ran, so that what went where was its own doing and no guess by name.
    action: kept, for it holds the model, whose layers and attributes are asked for later.
    """

    tape: Tape
    how: str
    loss: int | None
    parts: list[Parts] = field(default_factory=list)
    outputs: Any = None
    faithful: bool = True
    action: Callable[[], Any] | None = None

    @property
    def score(self) -> tuple[int, ...]:
        """How much of a VAE was seen; larger is more."""
        whole = [p for p in self.parts if len(p.mean) and len(p.raw)]
        return (int(bool(whole) and self.loss is not None), int(bool(whole)), int(bool(self.parts)), int(self.loss is not None))


@dataclass(frozen=True)
class Attempt:
    """Something to run. how: in words. line: where it stands. action: returns a loss, or outputs, or goes backward.

    spare: to be run only where none before showed a sample.
    """

    how: str
    line: int | None
    action: Callable[[], Any]
    structured: bool = True
    spare: bool = False


def attempts(program: Program) -> Iterator[Attempt]:
    """Everything in the program that could be a training step, the most faithful first."""
    tree = program.source.tree
    if program.mapping:
        yield from _mapped(program)
        return
    yield from _going_backward(program, sorted(tree.body, key=lambda one: one.lineno), None)  # files beside come last
    for name, module in models(program):
        for method in ("training_step", "_step", "step", "shared_step", "_shared_step"):
            if callable(getattr(type(module), method, None)) and method in vars(type(module)):
                yield Attempt(f"{name}.{method}", _line(getattr(type(module), method)), _lightning(module, method))
    yield from by_model(program)


def _mapped(program: Program) -> Iterator[Attempt]:
    """The step that a person's names make."""
    given, found = program.mapping, models(program)
    if "model" in given:
        found = [pair for pair in found if given["model"] in (pair[0], type(pair[1]).__name__)]
        if not found:
            raise UnknownNameError(
                f"--map names the model {given['model']!r}, which the file does not define or could not be made"
            )
    if "sampler" in given or "kl" in given or (set(given) == {"loss"} and only_a_loss(program)):
        own = {role: named(program, found, given[role]) for role in ("sampler", "kl", "loss") if role in given}
        all_in_one = unpacked_first(program.source.tree, given.get("loss", ""))
        how, line = " and ".join(given[role] for role in own), _line(next(iter(own.values())))
        yield Attempt(how, line, lambda: program.run(lambda: between_layers(**own, outputs=all_in_one)), structured=False)
        return
    for name, module in found:
        if "loss" in given:
            loss = named(program, found, given["loss"])
            yield Attempt(f"{given['loss']}({name}(x))", _line(loss), _model_then_loss(program, module, loss), structured=False)
        else:
            yield from _of_one_model(program, name, module)


def _line(function: Any) -> int | None:
    code = getattr(function, "__code__", None)
    return code.co_firstlineno if code is not None and code.co_filename == STRANGER else None


def _going_backward(program: Program, body: list[ast.stmt], owner: str | None) -> Iterator[Attempt]:
    for statement in body:
        if not goes_backward(statement):
            continue
        if isinstance(statement, ast.FunctionDef):
            yield _function(program, statement, owner)
        elif isinstance(statement, ast.ClassDef):
            yield from _going_backward(program, statement.body, statement.name)
        elif isinstance(statement, ast.If | ast.With | ast.Try):
            yield from _going_backward(program, statement.body, owner)
        else:
            yield Attempt(f"the loop in line {statement.lineno}", statement.lineno, partial(program.execute, [statement]))


def _function(program: Program, statement: ast.FunctionDef, owner: str | None) -> Attempt:
    def action() -> Any:
        if owner is None:
            function = program.get(statement.name)
            made = program.run(lambda: function(**by_name.for_function(program, function)))
            # A function that makes the function that trains, or an object that keeps it.
            kept = [made, *getattr(made, "__dict__", {}).values()]
            inner = next((one for one in kept if inspect.isfunction(one)), None)
            return made if inner is None else program.run(lambda: inner(**by_name.for_function(program, inner)))
        private = statement.name.startswith("__") and not statement.name.endswith("__")
        bound = getattr(instance(program, owner), f"_{owner.lstrip('_')}{statement.name}" if private else statement.name)
        return program.run(lambda: bound(**by_name.for_function(program, bound)))

    return Attempt(f"{owner + '.' if owner else ''}{statement.name}", statement.lineno, action)


def instance(program: Program, name: str) -> Any:
    """An object of the program's class ``name``: made by the program's own call, or by arguments chosen by name."""
    kind = program.get(name)
    for call in calls(program.source.tree):
        if last_name(call.func) == name:
            try:
                return program.evaluate(call)
            except Exception as error:
                program.note(f"line {call.lineno}: {name} could not be made: {type(error).__name__}: {error}")
    if isinstance(kind, type) and issubclass(kind, nn.Module):
        return construct(kind, channels(program.source.text), program.classes())
    return program.run(lambda: kind(**by_name.for_function(program, kind)))


def _lightning(module: nn.Module, method: str) -> Callable[[], Any]:
    def action() -> Any:
        function = getattr(module, method)
        count = len(inspect.signature(function).parameters)
        return function(*(Batch.give(), 0, "train")[:count])

    return action


def by_model(program: Program) -> Iterator[Attempt]:
    """Models called on a batch, then their losses."""
    for name, module in models(program):
        yield from _of_one_model(program, name, module)


def _of_one_model(program: Program, name: str, module: nn.Module) -> Iterator[Attempt]:
    for loss_name, loss in by_name.loss_functions(program, module):
        yield Attempt(f"{loss_name}({name}(x))", _line(loss), _model_then_loss(program, module, loss), structured=False)
    yield Attempt(f"{name}(x)", _line(type(module).forward), _model(program, module), structured=False)
    if len(models(program)) == 1 and not program.mapping:
        own = [key for key, one in vars(type(module)).items() if inspect.isfunction(one) and not key.startswith("_")]
        for method in (key for key in own if type(module).forward is nn.Module.forward or key == "forward"):
            line = _line(getattr(type(module), method))
            action = partial(program.run, partial(before_a_decoder, module, method))
            yield Attempt(f"{name}.{method}(x), before a decoder", line, action, structured=False, spare=True)


def _model(program: Program, module: nn.Module) -> Callable[[], Any]:
    return lambda: program.run(lambda: by_name.call_model(module))


def _model_then_loss(program: Program, module: nn.Module, loss: Callable[..., Any]) -> Callable[[], Any]:
    return lambda: program.run(lambda: by_name.call_loss(loss, module, program.source.tree))


def record(program: Program, seed: int, *, evaluating: bool = False, besides: Collection[str] = ()) -> Step | None:
    """The step in which most of a VAE is seen; None if nothing could be run.

    evaluating: with modules in evaluation. besides: attempts that are left out, as ``Attempt.how`` calls them.
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
            program.trace.append(f"the search for a training step was given up after {LONGEST_SEARCH_S} s")
            break
    return best


def _first_that_runs(program: Program, attempt: Attempt, seed: int, evaluating: bool, began: float) -> Step | None:
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
            wanted = next((kind for said, kind in NUMBERS if said in str(program.failed.get(attempt.how))), numbers)
            if step is None and wanted != numbers:
                numbers = wanted
                step = run(program, attempt, shape, structure, seed, evaluating, numbers)
            if step is not None or isinstance(program.failed.get(attempt.how), OutOfTimeError):
                return step
            waiting = [*from_error(str(program.failed.get(attempt.how, "")), shape), *waiting]
    return None


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
    Batch.x, Batch.structure = by_name.rows(program, ROWS, shape, numbers), structure
    Batch.y = torch.randint(0, 2, (ROWS, 1)).float() if numbers == "column" else torch.randint(0, 10, (ROWS,))
    begin()
    tape = Tape(file=STRANGER)
    program.on_retry = tape.clear
    numpy_noise.Drawn.forget()
    names = dict(program.names)
    for _, module in models(program) if evaluating else ():
        module.eval()
    try:
        with at_most(10), tape:
            result = attempt.action()
    except BackwardCalledError as stop:
        result = stop.loss
    except (Exception, SystemExit) as error:
        why = f"{type(error).__name__}: {error}"
        if not any(why in line and line.startswith(attempt.how) for line in program.trace):
            program.trace.append(f"{attempt.how} on {structure} of {shape}: {why}")
        error = error.with_traceback(None)  # its frames would keep the try's tensors
        error.__context__ = error.__cause__ = None  # and so would theirs
        program.failed[attempt.how] = error
        learn_from(why)
        program.tried.append((attempt.how, error))
        return None
    finally:
        # A loop leaves its batch behind: the next try has another.
        program.names.clear()
        program.names.update(names)
    loss = loss_in(result)
    if result is None or isinstance(result, StandIn) or not tape.entries:
        return None
    numpy_noise.adopt(tape)
    number = None if loss is None else tape.number(loss)
    return Step(tape, attempt.how, number, find(tape), result, attempt.structured, attempt.action)


def output_values(step: Step) -> list[int]:
    """The values that the step returned."""
    return [step.tape.number(t) for t in tensors(step.outputs) if isinstance(t, Tensor)]
