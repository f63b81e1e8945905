"""The possible training steps of a stranger's program.

In this order: code that calls ``backward`` (a function, a method or a loop of the top level, run
until that call); Lightning's ``training_step``; a model and a loss function, whose arguments are
recognised by name; a model whose output is or contains a loss.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from torch import nn

from aevb.checker.program import calls
from aevb.checker.program import vocabulary as words
from aevb.checker.program.making import Maker, made_by_calls, models
from aevb.checker.program.program import Program
from aevb.checker.program.shapes import channels
from aevb.checker.program.source import goes_backward, place_of, unpacked_first
from aevb.checker.steps import mapped
from aevb.checker.tape.parts import Parts
from aevb.checker.tape.tape import Tape, tensors

LIGHTNING = ("training_step", "_step", "step", "shared_step", "_shared_step")


@dataclass
class RecordedStep:
    """One step on tape.

    how: what was run, in words. loss: the value to differentiate, None if there was none. faithful:
    whether the program's own training code ran, without arguments guessed by name. error_is_ours:
    whether the reconstruction error is ours, in place of one that a caller would pass. action: kept
    only to keep the model alive, whose layers and attributes are needed later.
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
    def score(self) -> tuple[bool, ...]:
        """How much of a VAE was seen; a larger score is more."""
        whole = any(len(p.mean) and len(p.raw) for p in self.parts)
        loss = self.loss is not None
        return (whole and loss, whole, bool(self.parts), loss)


@dataclass(frozen=True)
class Attempt:
    """A possible training step.

    how: its description. action: returns a loss or outputs, or calls ``backward``. structured:
    whether it takes the batch from a loader, in any structure. spare: whether to run it only if no
    attempt before it showed a sample. begun: steps that ended with an error after the loss.
    """

    how: str
    action: Callable[[], Any]
    structured: bool = True
    spare: bool = False
    begun: list[RecordedStep] = field(default_factory=list)


def attempts(program: Program) -> Iterator[Attempt]:
    """The possible training steps of the program, the most faithful first."""
    if program.mapping:
        yield from _mapped(program)
        return
    yield from _going_backward(program, sorted(program.tree.body, key=place_of))
    for name, module in models(program):
        for method in LIGHTNING:
            if callable(vars(type(module)).get(method)):
                yield Attempt(f"{name}.{method}", partial(_lightning, program, module, method))
    yield from _by_model(program)


def _mapped(program: Program) -> Iterator[Attempt]:
    """The steps made of the parts that a person named."""
    given, found = program.mapping, _meant(program)
    roles = [role for role in ("sampler", "kl", "loss") if role in given]
    if roles not in ([], ["loss"]) or (set(given) == {"loss"} and mapped.only_a_loss(program)):
        own = {role: mapped.named(program, found, given[role]) for role in roles}
        outputs = unpacked_first(program.tree, given.get("loss", ""))
        small = mapped.BetweenLayers(program.session, outputs=outputs, **own)
        how = " and ".join(given[role] for role in roles)
        yield Attempt(how, partial(program.run, small), structured=False)
        return
    for name, module in found:
        if "loss" in given:
            loss = mapped.named(program, found, given["loss"])
            yield _model_then_loss(program, (given["loss"], loss), (name, module))
        else:
            yield from _of_one_model(program, name, module)


def _meant(program: Program) -> list[tuple[str, nn.Module]]:
    """The program's models, or the one that a person named."""
    name, found = program.mapping.get("model"), models(program)
    if name is None:
        return found
    found = [pair for pair in found if name in (pair[0], type(pair[1]).__name__)]
    if not found:
        raise mapped.UnknownNameError(
            f"--map names the model {name!r}, which the file does not define or could not be made"
        )
    return found


def _going_backward(
    program: Program, body: list[ast.stmt], owner: str | None = None
) -> Iterator[Attempt]:
    """Functions, methods of the class ``owner`` and loops that call ``backward``."""
    for statement in filter(goes_backward, body):
        if isinstance(statement, ast.FunctionDef):
            name = statement.name
            method = partial(_run_method, program, owner or "", name)
            function = partial(_run_function, program, name)
            yield Attempt(f"{owner}.{name}", method) if owner else Attempt(name, function)
        elif isinstance(statement, ast.ClassDef):
            yield from _going_backward(program, statement.body, statement.name)
        elif isinstance(statement, ast.If | ast.With | ast.Try):
            yield from _going_backward(program, statement.body, owner)
        else:
            run = partial(program.execute, statement)
            yield Attempt(f"the loop in line {statement.lineno}", run)


def _run(program: Program, function: Callable[..., Any]) -> Any:
    return program.run(lambda: function(**calls.for_function(program, function)))


def _run_function(program: Program, name: str) -> Any:
    """Run a function; if it returns a function, or an object that keeps one, run that too."""
    made = _run(program, program.get(name))
    kept = [made, *getattr(made, "__dict__", {}).values()]
    inner = next((one for one in kept if inspect.isfunction(one)), None)
    return made if inner is None else _run(program, inner)


def _run_method(program: Program, owner: str, name: str) -> Any:
    private = name.startswith("__") and not name.endswith("__")
    own = f"_{owner.lstrip('_')}{name}" if private else name
    return _run(program, getattr(instance(program, owner), own))


def instance(program: Program, name: str) -> Any:
    """Make an object of the class ``name``: by the program's own call, else by parameter names."""
    kind = program.get(name)
    for made in made_by_calls(program, name):
        return made
    if isinstance(kind, type) and issubclass(kind, nn.Module):
        return Maker(program, channels(program.source.text)).make(kind)
    return _run(program, kind)


def _lightning(program: Program, module: nn.Module, method: str) -> Any:
    function = getattr(module, method)
    count = len(inspect.signature(function).parameters)
    return program.run(lambda: function(*(program.session.batch.give(), 0, "train")[:count]))


def _by_model(program: Program) -> Iterator[Attempt]:
    """Losses that take networks; then, for each model, its losses and a call on a batch."""
    for name, loss in program.functions().items():
        action = calls.with_parts(program, loss) if words.LOSS.search(name) else None
        if action is not None:
            yield Attempt(name, partial(program.run, action), structured=False)
    for name, module in models(program):
        yield from _of_one_model(program, name, module)


def _of_one_model(program: Program, name: str, module: nn.Module) -> Iterator[Attempt]:
    for loss in calls.loss_functions(program, module):
        yield _model_then_loss(program, loss, (name, module))

    def outputs() -> Any:
        return program.run(lambda: calls.call_model(program.session.batch, module))

    yield Attempt(f"{name}(x)", outputs, structured=False)
    if len(models(program)) == 1 and not program.mapping:
        for method in _own_methods(type(module)):
            how = f"{name}.{method}(x), before a decoder"
            target = module if method == "forward" else getattr(module, method)
            action = partial(mapped.before_a_decoder, program.session, target)
            yield Attempt(how, partial(program.run, action), structured=False, spare=True)


def _own_methods(kind: type[nn.Module]) -> list[str]:
    """The name of ``forward``; for a class without it, the names of all public methods."""
    own = [key for key, one in vars(kind).items() if inspect.isfunction(one) and key[0] != "_"]
    return [key for key in own if kind.forward is nn.Module.forward or key == "forward"]


def _model_then_loss(
    program: Program, loss: tuple[str, Callable[..., Any]], model: tuple[str, nn.Module]
) -> Attempt:
    """The attempt of a loss on a model's outputs, each with its name."""

    def action() -> Any:
        call = lambda: calls.LossCall(program.session, loss[1], model[1], program.tree).call()  # noqa: E731
        return program.run(call)

    return Attempt(f"{loss[0]}({model[0]}(x))", action, structured=False)


def output_values(step: RecordedStep) -> list[int]:
    """The values that the step returned."""
    return [step.tape.number(one) for one in tensors(step.outputs)]
