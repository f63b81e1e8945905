"""Make the modules of a stranger's program: by its own calls, else with sizes chosen by name."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import Any

from torch import nn

from aevb.checker.program import vocabulary as words
from aevb.checker.program.program import Program, at_most
from aevb.checker.program.shapes import channels
from aevb.checker.program.source import called_parameters, calls, last_name
from aevb.checker.program.stand_ins import StandIn
from aevb.checker.program.unknown import UnknownNetwork

Kind = type[nn.Module]


def parameters_of(
    function: Callable[..., Any], *, required: bool = False
) -> list[inspect.Parameter]:
    """A function's parameters, without ``*args`` and ``**kwargs``; or those without a default."""
    named = inspect.signature(function).parameters.values()
    plain = [p for p in named if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    return [p for p in plain if not required or p.default is p.empty]


class Maker:
    """Makes modules of a class, with sizes chosen by the names of its parameters.

    width: the number of channels of a picture.
    """

    def __init__(self, program: Program, width: int = 1) -> None:
        self.program, self.width = program, width

    def make(self, kind: Kind, *, parts: bool = True) -> nn.Module:
        """Make a module; errors of the class are passed on.

        parts: whether parameters whose names say so get networks of the program.
        """
        called = called_parameters(self.program.tree, kind.__name__) if parts else set()
        others = self.program.classes() if parts else {}
        own = inspect.signature(kind.__init__).parameters
        settings = {}
        for parameter in parameters_of(kind.__init__)[1:]:
            if parameter.default is parameter.empty:
                settings[parameter.name] = self._setting(kind, parameter, others, called)
        made = self._with(kind, settings)
        zero = [n for n, p in own.items() if type(p.default) is int and p.default == 0]
        if not zero or not is_empty(made):
            return made
        return self._with(kind, settings | {name: words.size_of(name) for name in zero})

    def _setting(
        self, kind: Kind, parameter: inspect.Parameter, others: Mapping[str, Kind], called: set[str]
    ) -> Any:
        """The argument for one parameter: widths, a network or a size."""
        if re.search(r"list|sequence|tuple", str(parameter.annotation).lower()):
            return words.Widths([words.HIDDEN, words.HIDDEN])
        name, low = parameter.name, parameter.name.lower()
        part = words.PART.fullmatch(low)
        network = part or (name in called and not words.NO_NETWORK_CALLED.search(low))
        word = part[1] if part else low if network and len(name) > 3 else ""
        for title, other in others.items():
            if word and word in title.lower() and other is not kind:
                return self.make(other, parts=False)
        if network:
            return self.program.session.make(UnknownNetwork, name)
        return words.size_of(name, ("channel|in_ch|^nc$|img_ch", self.width))

    def _with(self, kind: Kind, settings: Mapping[str, Any]) -> nn.Module:
        with self.program.session.unrecorded():
            try:
                return kind(**settings)
            except AssertionError:  # of a program that asks for a list or an int itself
                return kind(**{name: _plain(value) for name, value in settings.items()})


def _plain(value: Any) -> Any:
    if isinstance(value, words.Widths):
        return list(value)
    return int(value) if isinstance(value, words.Setting) else value


def is_empty(module: nn.Module) -> bool:
    """Whether a layer has no input or no output: the network was made for no columns."""
    lazy = nn.UninitializedParameter
    return any(not one.numel() for one in module.parameters() if not isinstance(one, lazy))


def bare_object(kind: type) -> Any:
    """Make an object without its ``__init__``: enough for a method that needs no layer."""
    module = issubclass(kind, nn.Module)

    def attribute(self: Any, name: str) -> Any:
        guessed = words.meaning(name, words.ATTRIBUTES)
        if guessed is not None:
            return guessed
        return nn.Module.__getattr__(self, name) if module else object.__getattribute__(self, name)

    made = nn.Module.__init__ if module else object.__init__
    return type(kind.__name__, (kind,), {"__getattr__": attribute, "__init__": made})()


def models(program: Program) -> list[tuple[str, nn.Module]]:
    """Make a module of each class of the program, except for parts of other modules."""
    made = [pair for pair in program.modules() if not is_empty(pair[1])]
    known = {type(module).__name__ for _, module in made}
    inner = {name for _, module in made for name in _inside(module)}
    for name, kind in reversed(program.classes().items()):
        if name in known | inner or issubclass(kind, nn.modules.loss._Loss):
            continue
        try:
            with at_most(5):
                module = program.run(partial(_made, program, kind, name))
        except Exception as error:
            program.not_made(name, error)
            continue
        inner |= _inside(module)
        made.append((name, module))
    return [pair for pair in made if type(pair[1]).__name__ not in inner]


def _inside(module: nn.Module) -> set[str]:
    """The classes of a module's parts."""
    return {type(one).__name__ for one in module.modules() if one is not module}


def made_by_calls(program: Program, name: str, *, known: bool = False) -> Iterator[Any]:
    """The results of the program's own calls of ``name`` that can be run.

    known: whether to leave out calls with arguments that would be stand-ins.
    """
    for call in (one for one in calls(program.tree) if last_name(one.func) == name):
        if known and not _is_known(program, call):
            continue
        try:
            yield program.evaluate(call)
        except Exception as error:
            if known and isinstance(error, NameError):
                raise
            program.not_made(name, error, call)


def _is_known(program: Program, call: ast.Call) -> bool:
    values = (*call.args, *(k.value for k in call.keywords))
    names = [value.id for value in values if isinstance(value, ast.Name)]
    plain = program.session.bound(StandIn)
    return not any(type(program.get(name)) is plain for name in names)


def _made(program: Program, kind: Kind, name: str) -> nn.Module:
    """A module of the class: by the program's call, else for pictures with its channels."""
    for module in made_by_calls(program, name, known=True):
        if isinstance(module, nn.Module) and not is_empty(module):
            return module
    try:
        return Maker(program, channels(program.source.text)).make(kind)
    except (ArithmeticError, ValueError, RuntimeError):  # too few channels to halve or to group
        return Maker(program, words.HIDDEN).make(kind)
