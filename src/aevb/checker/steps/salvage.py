"""Steps of a stranger's program that end with an error of their own after their loss is whole: the
loss, out of the wreck."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from types import FrameType

from torch import Tensor

from aevb.checker.places import Place, is_strangers
from aevb.checker.program.source import calls, covers


def left_behind(error: BaseException, tree: ast.Module) -> tuple[Tensor, Place] | None:
    """The loss that a function would have returned or gone backward from, and the place at which it
    ended; None if not whole.

    Whole: the variable is a number with a gradient, and no later line of the function gives it
    another value.
    """
    for frame, place in _frames(error):
        scope = _scope(tree, frame.f_code.co_name, place)
        for name in _losses(scope):
            value = frame.f_locals.get(name)
            whole = isinstance(value, Tensor) and value.numel() == 1 and value.requires_grad
            if whole and all(changed < place.line for changed in _changes(scope, name)):
                return value, place  # type: ignore[return-value]
    return None


def _frames(error: BaseException) -> Iterator[tuple[FrameType, Place]]:
    """The stranger's frames that the error went through, the outermost first, each with its place."""
    step = error.__traceback__
    while step is not None:
        file = step.tb_frame.f_code.co_filename
        if is_strangers(file):
            yield step.tb_frame, Place(file, step.tb_lineno)
        step = step.tb_next


def _scope(tree: ast.Module, name: str, place: Place) -> ast.AST:
    """The function of that name around the place; the module if there is none."""
    around = (
        one
        for one in ast.walk(tree)
        if isinstance(one, ast.FunctionDef)
        and one.name == name
        and covers(one, place)
    )
    return next(around, tree)


def _losses(scope: ast.AST) -> Iterator[str]:
    """Names of what the function goes backward from, or returns: by itself, as "loss" in a
    dictionary, first in a tuple."""
    for call in calls(scope):
        if (
            isinstance(call.func, ast.Attribute)
            and call.func.attr == "backward"
            and isinstance(call.func.value, ast.Name)
        ):
            yield call.func.value.id
    for node in ast.walk(scope) if isinstance(scope, ast.FunctionDef) else ():
        value = node.value if isinstance(node, ast.Return) else None
        if isinstance(value, ast.Dict):
            pairs = zip(value.keys, value.values, strict=True)
            value = next(
                (v for k, v in pairs if isinstance(k, ast.Constant) and k.value == "loss"), None
            )
        elif isinstance(value, ast.Tuple):
            value = value.elts[0]
        if isinstance(value, ast.Name):
            yield value.id


def _changes(scope: ast.AST, name: str) -> Iterator[int]:
    """Lines at which the scope assigns to the name."""
    for node in ast.walk(scope):
        if isinstance(node, ast.Name) and node.id == name and isinstance(node.ctx, ast.Store):
            yield node.lineno
