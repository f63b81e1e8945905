"""Who calls a function of a stranger's program, and with what."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from aevb.checker.program.source import calls, goes_backward, last_name

CHANGES = {
    "exp",
    "exp_",
    "sqrt",
    "log",
    "pow",
    "square",
    "softplus",
    "exp2",
    "log1p",
    "expm1",
    "abs",
    "sigmoid",
}
"""Calls after which a head is another: a deviation, a variance, a logarithm."""
MOST_NAMES = 5
MAXIMISED, MINIMISED = (
    re.compile(r"elbo|bound|likelihood|log_?p", re.IGNORECASE),
    re.compile(r"loss|neg|minus|nelbo|nll", re.I),
)
Function = ast.FunctionDef | ast.AsyncFunctionDef


def functions(tree: ast.AST) -> Iterator[Function]:
    """Every function and method in the tree."""
    return (node for node in ast.walk(tree) if isinstance(node, Function))


def called_in(tree: ast.AST, name: str) -> set[str]:
    """Names that the functions called ``name`` call, but for themselves."""
    return {
        last_name(call.func) for one in functions(tree) if one.name == name for call in calls(one)
    } - {name}


def given_changed(tree: ast.AST, name: str, spread: tuple[int, str]) -> bool:
    """Whether every call of ``name`` hands over something made of a head for its spread, not the
    head. spread: place, name."""
    place, keyword = spread
    if place < 0:
        return False
    seen = []
    for scope in functions(tree):
        for call in calls(scope):
            if last_name(call.func) != name or scope.name == name:
                continue
            named = next((k.value for k in call.keywords if k.arg == keyword), None)
            given = (
                named if named is not None else call.args[place] if place < len(call.args) else None
            )
            if given is not None:
                seen.append(
                    _changes(given)
                    or (isinstance(given, ast.Name) and _assigned_changed(scope, given.id))
                )
    return bool(seen) and all(seen)


def _changes(value: ast.expr) -> bool:
    """Whether the expression is more than a name, a part of it or another shape of it."""
    if isinstance(value, ast.BinOp):
        return True
    return any(last_name(call.func) in CHANGES for call in calls(value))


def _assigned_changed(scope: Function, name: str) -> bool:
    """Whether the function makes what it calls ``name`` of something else, by arithmetic."""
    made = _assigned(scope, name)
    return bool(made) and all(map(_changes, made))


def batches_of(tree: ast.AST, name: str) -> set[str]:
    """What the innermost loops that go backward, in functions called ``name``, loop over by name:
    ``for x in rows``."""
    found = set()
    for scope in (one for one in functions(tree) if one.name == name):
        loops = [
            loop for loop in ast.walk(scope) if isinstance(loop, ast.For) and goes_backward(loop)
        ]
        inner = [
            loop
            for loop in loops
            if not any(other is not loop and other in loops for other in ast.walk(loop))
        ]
        found |= {loop.iter.id for loop in inner if isinstance(loop.iter, ast.Name)}
    return found


def direction(tree: ast.AST, name: str) -> str:
    """Whether a function goes backward from what ``name`` returns, "down", or from minus that,
    "up"; "" if neither is seen."""
    for scope in functions(tree):
        for call in calls(scope):
            if not isinstance(call.func, ast.Attribute) or call.func.attr != "backward":
                continue
            value, minus = call.func.value, False
            for _ in range(MOST_NAMES):
                if not isinstance(value, ast.Name | ast.UnaryOp):
                    break
                made = (
                    _assigned(scope, value.id) if isinstance(value, ast.Name) else [value.operand]
                )
                minus ^= isinstance(value, ast.UnaryOp) and isinstance(value.op, ast.USub)
                if len(made) != 1 or ast.unparse(made[0]) == ast.unparse(value):
                    break
                value = made[0]
            if isinstance(value, ast.Call) and last_name(value) == name:
                return "up" if minus else "down"
    return "up" if MAXIMISED.search(name) and not MINIMISED.search(name) else ""


def _assigned(scope: Function, name: str) -> list[ast.expr]:
    """All that the function assigns to ``name``."""
    return [
        node.value
        for node in ast.walk(scope)
        if isinstance(node, ast.Assign)
        and any(isinstance(t, ast.Name) and t.id == name for t in node.targets)
    ]
