"""Noise that no call on the tape of a step draws.

The program draws it with numpy, or draws it once before any step and keeps it: ``self.eps =
torch.randn(20)`` in ``__init__``. If a step shows no sample with both heads, such kept tensors are
recorded as noise.
"""

from __future__ import annotations

import ast
import gc
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from aevb.checker.places import Place
from aevb.checker.program.source import called_names, functions, last_name, place_of
from aevb.checker.tape.parts import Parts, find
from aevb.checker.tape.tape import Entry, Tape

NORMAL = {"randn", "randn_like", "normal", "normal_", "standard_normal", "sample"}
UNIFORM = {"rand", "rand_like", "uniform_", "uniform"}
CONVERSIONS = {"tensor", "from_numpy", "as_tensor"}
Drawn = tuple[Place, Callable[..., Tensor]]


def adopt(tape: Tape) -> None:
    """Record numpy's draws as calls of torch's random functions.

    Such a call replaces the entry that converts the array, or is added for a value from outside.
    """
    for function, shape, array in tape.session.drawn:
        flat = torch.as_tensor(array, dtype=torch.float32).reshape(-1)
        for value, tensor in enumerate(tape.values):
            entry, shown = tape.made_by(value), tape.shown(value)
            if (entry is None or entry.name in CONVERSIONS) and _holds(shown, flat):
                normal = function is torch.normal
                arguments = (shape, {"size": shown.shape}) if normal else ((shown.shape,), {})
                place = entry.place if entry else None
                tape.put(Entry(function, arguments, [], [value], tensor, False, place))


def _holds(shown: Tensor, flat: Tensor) -> bool:
    alike = shown.is_floating_point() and shown.numel() == flat.numel()
    return alike and torch.allclose(shown.reshape(-1).float(), flat)


def find_with_kept(tape: Tape, tree: ast.Module, names: Mapping[str, Any]) -> list[Parts]:
    """Find the parts of a VAE as ``tape.parts.find`` does, also with noise from before the step.

    Args:
        tape: the step's.
        tree: the program.
        names: the values of its top-level names.
    """
    parts = find(tape)
    if any(len(one.mean) and len(one.raw) for one in parts):
        return parts
    known, adopted = dict(_drawn(tree)), False
    for value, tensor in enumerate(list(tape.values)) if known else ():
        name = _kept_as(tensor, known, names) if _may_be_noise(tape, value) else ""
        if name:
            adopted, (place, function) = True, known[name]
            shape = (tuple(tensor.shape),)
            tape.put(Entry(function, (shape, {}), [], [value], tensor, False, place, kept=True))
    return find(tape) if adopted else parts


def _may_be_noise(tape: Tape, value: int) -> bool:
    tensor = tape.values[value]
    plain = tensor.is_floating_point() and tensor.numel() > 1
    outside = tape.made_by(value) is None and value not in tape.parameters
    return plain and outside and not isinstance(tensor, nn.Parameter)


def _kept_as(tensor: Tensor, known: Mapping[str, Drawn], names: Mapping[str, Any]) -> str:
    """The name in ``known`` under which a module or the top level keeps the tensor, or ""."""
    modules = (one for one in gc.get_objects() if issubclass(type(one), nn.Module))
    places = (place for one in modules for place in (vars(one), one._buffers))
    for place in (names, *places):
        for name in known:
            if place.get(name) is tensor:
                return name
    return ""


def _drawn(tree: ast.Module) -> Iterator[tuple[str, Drawn]]:
    """Names that are assigned a draw, with its place and torch's function for it.

    They are attributes, buffers and top-level names.
    """
    made = [one for f in functions(tree, "__init__") for one in ast.walk(f)]
    for node in [*tree.body, *made]:
        name, value = "", None
        if isinstance(node, ast.Assign):
            name, value = last_name(node.targets[0]), node.value
        elif isinstance(node, ast.Call) and last_name(node.func) == "register_buffer":
            name, value = _buffer(node)
        drawn = called_names(value) if name and value is not None else set()
        if value is not None and drawn & (NORMAL | UNIFORM):
            yield name, (place_of(value), torch.randn if drawn & NORMAL else torch.rand)


def _buffer(call: ast.Call) -> tuple[str, ast.expr | None]:
    """The name and the value of ``register_buffer("eps", torch.randn(20))``."""
    if len(call.args) < 2 or not isinstance(call.args[0], ast.Constant):
        return "", None
    return str(call.args[0].value), call.args[1]
