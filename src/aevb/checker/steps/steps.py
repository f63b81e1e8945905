"""What in a stranger's program could be a training step, whatever form it has.

In this order: code that goes backward (a function, a method or a loop of the top level, run until
its first ``backward``); Lightning's ``training_step``; a model and a loss function, whose arguments
are recognised by name; a model whose output is or holds a loss.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from torch import Tensor, nn

from aevb.checker.program import calls as by_name
from aevb.checker.program.making import construct, models
from aevb.checker.program.program import Program
from aevb.checker.program.shapes import channels
from aevb.checker.program.source import calls, goes_backward, last_name, place_of, unpacked_first
from aevb.checker.steps.mapped import (
    UnknownNameError,
    before_a_decoder,
    between_layers,
    named,
    only_a_loss,
)
from aevb.checker.tape.parts import Parts
from aevb.checker.tape.tape import Tape, tensors


@dataclass
class Step:
    """One step on tape. loss: the value differentiated, None if there was none. how: what was run,
    in words.

    faithful: whether the program's own training code ran, so that what went where was its own doing
    and no guess by name. error_is_ours: whether a caller would give the reconstruction error, so
    that its reduction is not the program's. action: kept, for it holds the model, whose layers and
    attributes are asked for later.
    """

    tape: Tape
    how: str
    loss: int | None
    parts: list[Parts] = field(default_factory=list)
    outputs: Any = None
    faithful: bool = True
    action: Callable[[], Any] | None = None
    error_is_ours: bool = False

    @property
    def score(self) -> tuple[int, ...]:
        """How much of a VAE was seen; larger is more."""
        whole = [p for p in self.parts if len(p.mean) and len(p.raw)]
        return (
            int(bool(whole) and self.loss is not None),
            int(bool(whole)),
            int(bool(self.parts)),
            int(self.loss is not None),
        )


@dataclass(frozen=True)
class Attempt:
    """Something to run. how: in words. action: returns a loss, or outputs, or goes backward.

    spare: to be run only where none before showed a sample. begun: steps that ended with an error
    after their loss was whole.
    """

    how: str
    action: Callable[[], Any]
    structured: bool = True
    spare: bool = False
    begun: list[Step] = field(default_factory=list)


def attempts(program: Program) -> Iterator[Attempt]:
    """Everything in the program that could be a training step, the most faithful first."""
    tree = program.source.tree
    if program.mapping:
        yield from _mapped(program)
        return
    yield from _going_backward(
        program, sorted(tree.body, key=place_of), None
    )  # files beside come last
    for name, module in models(program):
        for method in ("training_step", "_step", "step", "shared_step", "_shared_step"):
            if callable(getattr(type(module), method, None)) and method in vars(type(module)):
                yield Attempt(
                    f"{name}.{method}",
                    _lightning(program, module, method),
                )
    yield from by_model(program)


def _mapped(program: Program) -> Iterator[Attempt]:
    """The step that a person's names make."""
    given, found = program.mapping, models(program)
    if "model" in given:
        found = [pair for pair in found if given["model"] in (pair[0], type(pair[1]).__name__)]
        if not found:
            raise UnknownNameError(
                f"--map names the model {given['model']!r}, which the file does not define or could"
                " not be made"
            )
    if "sampler" in given or "kl" in given or (set(given) == {"loss"} and only_a_loss(program)):
        own = {
            role: named(program, found, given[role])
            for role in ("sampler", "kl", "loss")
            if role in given
        }
        all_in_one = unpacked_first(program.source.tree, given.get("loss", ""))
        how = " and ".join(given[role] for role in own)
        yield Attempt(
            how,
            lambda: program.run(lambda: between_layers(program.session, **own, outputs=all_in_one)),
            structured=False,
        )
        return
    for name, module in found:
        if "loss" in given:
            loss = named(program, found, given["loss"])
            yield Attempt(
                f"{given['loss']}({name}(x))",
                _model_then_loss(program, module, loss),
                structured=False,
            )
        else:
            yield from _of_one_model(program, name, module)


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
            yield Attempt(
                f"the loop in line {statement.lineno}",
                partial(program.execute, statement),
            )


def _function(program: Program, statement: ast.FunctionDef, owner: str | None) -> Attempt:
    def action() -> Any:
        if owner is None:
            function = program.get(statement.name)
            made = program.run(lambda: function(**by_name.for_function(program, function)))
            # A function that makes the function that trains, or an object that keeps it.
            kept = [made, *getattr(made, "__dict__", {}).values()]
            inner = next((one for one in kept if inspect.isfunction(one)), None)
            return (
                made
                if inner is None
                else program.run(lambda: inner(**by_name.for_function(program, inner)))
            )
        private = statement.name.startswith("__") and not statement.name.endswith("__")
        bound = getattr(
            instance(program, owner),
            f"_{owner.lstrip('_')}{statement.name}" if private else statement.name,
        )
        return program.run(lambda: bound(**by_name.for_function(program, bound)))

    return Attempt(f"{owner + '.' if owner else ''}{statement.name}", action)


def instance(program: Program, name: str) -> Any:
    """An object of the program's class ``name``: made by the program's own call, or by arguments
    chosen by name."""
    kind = program.get(name)
    for call in calls(program.source.tree):
        if last_name(call.func) == name:
            try:
                return program.evaluate(call)
            except Exception as error:
                program.note(
                    f"line {call.lineno}: {name} could not be made: {type(error).__name__}: {error}"
                )
    if isinstance(kind, type) and issubclass(kind, nn.Module):
        return construct(program, kind, channels(program.source.text), program.classes())
    return program.run(lambda: kind(**by_name.for_function(program, kind)))


def _lightning(program: Program, module: nn.Module, method: str) -> Callable[[], Any]:
    def action() -> Any:
        function = getattr(module, method)
        count = len(inspect.signature(function).parameters)
        return program.run(lambda: function(*(program.session.batch.give(), 0, "train")[:count]))

    return action


def by_model(program: Program) -> Iterator[Attempt]:
    """Losses that take networks, models called on a batch, then their losses."""
    for name, loss in program.functions().items():
        parts = by_name.parts_for(loss, models(program)) if by_name.LOSS.search(name) else {}
        if parts:
            yield Attempt(
                name,
                partial(program.run, partial(by_name.call_with_parts, program.session, loss, parts)),
                structured=False,
            )
    for name, module in models(program):
        yield from _of_one_model(program, name, module)


def _of_one_model(program: Program, name: str, module: nn.Module) -> Iterator[Attempt]:
    for loss_name, loss in by_name.loss_functions(program, module):
        yield Attempt(
            f"{loss_name}({name}(x))",
            _model_then_loss(program, module, loss),
            structured=False,
        )
    yield Attempt(f"{name}(x)", _model(program, module), structured=False)
    if len(models(program)) == 1 and not program.mapping:
        own = [
            key
            for key, one in vars(type(module)).items()
            if inspect.isfunction(one) and not key.startswith("_")
        ]
        for method in (
            key for key in own if type(module).forward is nn.Module.forward or key == "forward"
        ):
            action = partial(program.run, partial(before_a_decoder, program.session, module, method))
            yield Attempt(
                f"{name}.{method}(x), before a decoder", action, structured=False, spare=True
            )


def _model(program: Program, module: nn.Module) -> Callable[[], Any]:
    return lambda: program.run(lambda: by_name.call_model(program.session.batch, module))


def _model_then_loss(
    program: Program, module: nn.Module, loss: Callable[..., Any]
) -> Callable[[], Any]:
    return lambda: program.run(lambda: by_name.call_loss(program.session, loss, module, program.source.tree))


def output_values(step: Step) -> list[int]:
    """The values that the step returned."""
    return [step.tape.number(t) for t in tensors(step.outputs) if isinstance(t, Tensor)]
