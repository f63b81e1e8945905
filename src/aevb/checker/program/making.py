"""Modules of a stranger's program: made as it makes them, else with sizes chosen by the names of
parameters."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Collection, Mapping
from functools import partial
from typing import Any

import torch
from torch import nn

from aevb.checker.program.guards import at_most
from aevb.checker.program.program import Program
from aevb.checker.program.shapes import channels
from aevb.checker.program.source import called_parameters, calls, last_name
from aevb.checker.program.stand_ins import StandIn
from aevb.checker.program.unknown import UnknownNetwork
from aevb.checker.program.vocabulary import DATA_DIM as DATA_DIM
from aevb.checker.program.vocabulary import HIDDEN, Setting, Widths, size_of
from aevb.checker.program.vocabulary import LATENT as LATENT

PART = re.compile(r"_?(enc|dec)(oder)?(_net|_model)?")
"""Names of parameters that take a network."""
NO_NETWORK = re.compile(
    r"act|nonlin|loss|crit|sampl|reparam|norm|prior|drop|optim|sched|func|fn$|log"
)
"""Names of parameters that are called and are none."""


def construct(
    program: Program,
    kind: type[nn.Module],
    channels: int = 1,
    others: Mapping[str, type[nn.Module]] | None = None,
    called: Collection[str] = (),
) -> nn.Module:
    """A module of the class, with sizes chosen by the names of its parameters. Raises what the
    class raises.

    others: classes of which one is meant where a parameter is called "encoder" or "decoder", by
    name. called: parameters that the class calls: networks, unless they sound like something else.
    """
    settings: dict[str, Any] = {}
    parameters = inspect.signature(kind.__init__).parameters
    for name, parameter in list(parameters.items())[1:]:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if parameter.default is not parameter.empty:
            continue
        network = bool(PART.fullmatch(name.lower())) or (
            name in called and not NO_NETWORK.search(name.lower())
        )
        part = _part_of(name, kind, others or {}, network)
        if re.search(r"list|sequence|tuple", str(parameter.annotation).lower()):
            settings[name] = Widths([HIDDEN, HIDDEN])
            continue
        given = (r"channel|in_ch|^nc$|img_ch", channels)
        if part is not None:
            settings[name] = construct(program, part, channels)
        elif network:
            settings[name] = program.session.make(UnknownNetwork, name)
        else:
            settings[name] = size_of(name, given)
    made = _with(program, kind, settings)
    none = [
        name
        for name, parameter in parameters.items()
        if type(parameter.default) is int and parameter.default == 0
    ]
    return (
        _with(program, kind, settings | {name: size_of(name) for name in none})
        if none and is_empty(made)
        else made
    )


def _with(program: Program, kind: type[nn.Module], settings: Mapping[str, Any]) -> nn.Module:
    with program.session.unrecorded():
        try:
            return kind(**settings)
        except (
            AssertionError
        ):  # of a program that asks for a list or an int, and takes nothing derived from it
            return kind(**{name: _plain(value) for name, value in settings.items()})


def is_empty(module: nn.Module) -> bool:
    """Whether a layer has no input or no output: of a network that is made for no columns nothing
    can be seen."""
    return any(
        not weight.numel()
        for weight in module.parameters()
        if not isinstance(weight, nn.UninitializedParameter)
    )


def _plain(value: Any) -> Any:
    return (
        list(value)
        if isinstance(value, Widths)
        else int(value)
        if isinstance(value, Setting)
        else value
    )


PLAIN: list[tuple[str, Any]] = [
    (r"^device$", torch.device("cpu")),
    (r"beta|weight|lambda|alpha|gamma|coef|noise_scale|temperature", 1.0),
]
"""What a method may ask of an object that was never made."""


def bare_object(kind: type) -> Any:
    """An object of the class that its ``__init__`` never saw: enough for a method that needs no
    layer."""
    module = issubclass(kind, nn.Module)

    def attribute(self: Any, name: str) -> Any:
        guessed = next((value for pattern, value in PLAIN if re.search(pattern, name)), None)
        if guessed is None:
            return (
                nn.Module.__getattr__(self, name) if module else object.__getattribute__(self, name)
            )
        return guessed

    made = nn.Module.__init__ if module else object.__init__
    return type(kind.__name__, (kind,), {"__getattr__": attribute, "__init__": made})()


def _part_of(
    name: str, kind: type[nn.Module], others: Mapping[str, type[nn.Module]], network: bool
) -> type[nn.Module] | None:
    """The class that a parameter such as ``encoder`` or ``dec`` takes an object of."""
    part = PART.fullmatch(name.lower())
    word = part[1] if part else name.lower() if network and len(name) > 3 else None
    fitting = [
        other
        for title, other in others.items()
        if word and word in title.lower() and other is not kind
    ]
    return fitting[0] if fitting else None


def models(program: Program) -> list[tuple[str, nn.Module]]:
    """The program's modules, made as it makes them, or by guess; one of each class, those that are
    parts of others last."""
    made = [pair for pair in program.modules() if not is_empty(pair[1])]
    known = {type(module).__name__ for _, module in made}
    inner = {type(m).__name__ for _, module in made for m in module.modules() if m is not module}
    for name, kind in reversed(program.classes().items()):
        if name in known | inner or issubclass(kind, nn.modules.loss._Loss):
            continue
        try:
            with at_most(5):
                module = program.run(partial(_made, program, kind, name))
        except Exception as error:
            program.note(f"{name} could not be made: {type(error).__name__}: {error}")
            continue
        inner |= {type(m).__name__ for m in module.modules() if m is not module}
        made.append((name, module))
    return [pair for pair in made if type(pair[1]).__name__ not in inner]


def _unknown(program: Program, call: ast.Call) -> bool:
    """Whether an argument has a name of which the program does not tell the value."""
    names = [
        value.id
        for value in (*call.args, *(k.value for k in call.keywords))
        if isinstance(value, ast.Name)
    ]
    plain = program.session.bound(StandIn)
    return any(type(program.get(name)) is plain for name in names)


def _made(program: Program, kind: type[nn.Module], name: str) -> nn.Module:
    for call in calls(program.source.tree):
        if last_name(call.func) == name and not _unknown(program, call):
            try:
                module = program.evaluate(call)
            except NameError:
                raise
            except Exception as error:
                program.note(
                    f"line {call.lineno}: {name} could not be made: {type(error).__name__}: {error}"
                )
                continue
            if isinstance(module, nn.Module) and not is_empty(module):
                return module
    called = called_parameters(program.source.tree, kind.__name__)
    try:
        return construct(program, kind, channels(program.source.text), program.classes(), called)
    except (
        ArithmeticError,
        ValueError,
        RuntimeError,
    ):  # of few channels, that are to be halved or grouped
        return construct(program, kind, HIDDEN, program.classes(), called)
