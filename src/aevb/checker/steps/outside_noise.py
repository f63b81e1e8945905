"""Noise of a stranger's program that no call on the tape of a step makes.

The program draws it with numpy; or once, before any step, and keeps it: ``self.eps =
torch.randn(20)`` in ``__init__``. Where a step shows no whole sample, such kept tensors are taken
for the noise that they are.
"""

from __future__ import annotations

import ast
import gc
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from aevb.checker.places import Place
from aevb.checker.program.source import calls, last_name, place_of
from aevb.checker.tape.parts import Parts, find
from aevb.checker.tape.tape import Entry, Tape

NORMAL = {"randn", "randn_like", "normal", "normal_", "standard_normal", "sample"}
UNIFORM = {"rand", "rand_like", "uniform_", "uniform"}
CONVERSIONS = {"tensor", "from_numpy", "as_tensor"}


def adopt(tape: Tape) -> None:
    """Make calls of torch's random functions of those entries, or bare values, of the tape that
    hold what numpy drew."""
    for function, (loc, scale), array in tape.session.drawn:
        flat = torch.as_tensor(array, dtype=torch.float32).reshape(-1)
        for value, tensor in enumerate(tape.values):
            entry = tape.made_by(value)
            shown = tape.shown(value)
            if entry is not None and entry.name not in CONVERSIONS:
                continue
            if (
                not tensor.is_floating_point()
                or shown.numel() != flat.numel()
                or not torch.allclose(shown.reshape(-1).float(), flat)
            ):
                continue
            arguments = (
                ((loc, scale), {"size": shown.shape})
                if function is torch.normal
                else ((shown.shape,), {})
            )
            made = Entry(
                function, arguments, [], [value], tensor, False, entry.place if entry else None
            )
            tape.put(made)


def find_with_kept(tape: Tape, tree: ast.AST, names: Mapping[str, Any]) -> list[Parts]:
    """The parts of a VAE on the tape, of noise that was drawn before it too. names: those of the
    program's top level."""
    parts = find(tape)
    if any(len(one.mean) and len(one.raw) for one in parts):
        return parts
    known = dict(_drawn(tree))
    adopted = False
    for value, tensor in enumerate(list(tape.values)) if known else ():
        name = _kept_as(tensor, known, names) if _may_be_noise(tape, value, tensor) else ""
        if name:
            place, function = known[name]
            adopted = True
            tape.put(
                Entry(
                    function,
                    ((tuple(tensor.shape),), {}),
                    [],
                    [value],
                    tensor,
                    False,
                    place,
                    kept=True,
                )
            )
    return find(tape) if adopted else parts


def _may_be_noise(tape: Tape, value: int, tensor: Tensor) -> bool:
    plain = (
        tensor.is_floating_point() and tensor.numel() > 1 and not isinstance(tensor, nn.Parameter)
    )
    return plain and tape.made_by(value) is None and value not in tape.parameters


def _kept_as(tensor: Tensor, known: Mapping[str, Any], names: Mapping[str, Any]) -> str:
    """The name under which a module, or the top level, keeps the tensor; "" if none that is
    ``known`` for noise."""
    places: Iterator[Mapping[str, Any]] = (
        place
        for one in gc.get_objects()
        if issubclass(type(one), nn.Module)
        for place in (vars(one), one._buffers)
    )
    for place in (names, *places):
        name = next((name for name in known if place.get(name) is tensor), "")
        if name:
            return name
    return ""


def _drawn(tree: ast.AST) -> Iterator[tuple[str, tuple[Place, Any]]]:
    """Names of attributes and of the top level that are assigned a draw: with the line, and torch's
    function for it."""
    top = tree.body if isinstance(tree, ast.Module) else []
    made = [
        one
        for f in ast.walk(tree)
        if isinstance(f, ast.FunctionDef) and f.name == "__init__"
        for one in ast.walk(f)
    ]
    for node in [*top, *made]:
        buffer = (
            node.args
            if isinstance(node, ast.Call) and last_name(node.func) == "register_buffer"
            else []
        )
        name, value = "", None
        if len(buffer) > 1 and isinstance(buffer[0], ast.Constant):
            name, value = str(buffer[0].value), buffer[1]
        elif isinstance(node, ast.Assign):
            name, value = last_name(node.targets[0]), node.value
        drawn = {last_name(call.func) for call in calls(value)} if value is not None else set()
        if name and value is not None and drawn & (NORMAL | UNIFORM):
            yield name, (place_of(value), torch.randn if drawn & NORMAL else torch.rand)
