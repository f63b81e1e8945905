"""Factors in the loss: which numbers count as equal, and the factors in the program's text."""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from aevb.checker.program.source import place_of

if TYPE_CHECKING:
    from aevb.checker.evidence.evidence import Evidence
    from aevb.checker.places import Place

CLOSE = 0.02


def close(a: float, b: float = 1.0) -> bool:
    """Whether two weights are the same number."""
    return abs(a - b) < CLOSE


def plain(count: float) -> bool:
    """Whether the factor is common in formulas, so that it says nothing about a reduction."""
    return any(abs(count - one) < 1e-6 for one in (0.25, 0.5, 1, 2, 4))


def has_literal(e: Evidence, value: int, numbers: tuple[float, ...]) -> bool:
    """Whether a statement that makes or uses the value has one of the numbers as a factor."""
    places = {e.place(value)} | {one.place for one in e.tape.entries if value in one.inputs}
    sides = factors(e.program.source.tree, places)
    return any(isinstance(side, ast.Constant) and side.value in numbers for side in sides)


def factors(tree: ast.AST, places: set[Place | None]) -> list[ast.expr]:
    """Both sides of every product and quotient at those places."""
    return [
        side
        for node in ast.walk(tree)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult | ast.Div)
        if place_of(node) in places
        for side in (node.left, node.right)
    ]
