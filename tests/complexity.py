"""Cyclomatic complexity with every branch counted: ``python tests/complexity.py [MOST] [FOLDER]``.

Ruff's C901 counts statements only. A ternary, an ``and`` or a comprehension is a branch for a
reader too, so this counts them: 1 for the function, and 1 for each if, loop, except, case and
ternary, for each comprehension and each of its filters, and for each further operand of ``and`` and
``or``. Inner functions count as part of their function.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src" / "aevb"
MOST = 12
BRANCHES = (
    ast.If,
    ast.For,
    ast.AsyncFor,
    ast.While,
    ast.ExceptHandler,
    ast.IfExp,
    ast.comprehension,
    ast.match_case,
)


def complexity(function: ast.AST) -> int:
    """The number of paths through a function, as the module's docstring counts them."""
    nodes = list(ast.walk(function))
    operands = sum(len(node.values) - 1 for node in nodes if isinstance(node, ast.BoolOp))
    filters = sum(len(node.ifs) for node in nodes if isinstance(node, ast.comprehension))
    return 1 + operands + filters + sum(isinstance(node, BRANCHES) for node in nodes)


def functions(path: Path) -> Iterator[tuple[str, int, int]]:
    """(name, line, complexity) of every function of a file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node.name, node.lineno, complexity(node)


def too_complex(folder: Path = SOURCE, most: int = MOST) -> list[str]:
    """A line for each function over ``most``, the worst first."""
    found = [
        (count, f"{path.relative_to(folder)}:{line} {name}: {count}")
        for path in sorted(folder.rglob("*.py"))
        for name, line, count in functions(path)
        if count > most
    ]
    return [line for _, line in sorted(found, reverse=True)]


if __name__ == "__main__":
    limit = int(sys.argv[1]) if len(sys.argv) > 1 else MOST
    lines = too_complex(Path(sys.argv[2]) if len(sys.argv) > 2 else SOURCE, limit)
    print("\n".join(lines))
    print(f"{len(lines)} functions over {limit}")
