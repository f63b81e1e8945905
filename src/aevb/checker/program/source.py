"""A stranger's file as statements: .py, or the code cells of .ipynb without their shell lines."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from aevb.checker.places import STRANGER, Place, beside
from aevb.checker.program.siblings import Beside
from aevb.checker.program.siblings import file_of as file_of

MAX_BYTES = 20_000_000
MAGIC = re.compile(r"^\s*(%|!|\?)|\?\s*$")


class SourceError(Exception):
    """A file that cannot be read as Python; the message is one sentence."""


@dataclass(frozen=True)
class Source:
    """text: all code. cells: for a notebook, the first line of each code cell, counted from 1;
    empty for a .py file.

    beside: files of which definitions were taken, see ``siblings``.
    """

    path: Path
    text: str
    tree: ast.Module
    cells: tuple[int, ...] = ()
    beside: tuple[Path, ...] = ()

    @property
    def files(self) -> tuple[str, ...]:
        """The names that the program and the files beside it are compiled under."""
        return (STRANGER, *(beside(number + 1) for number in range(len(self.beside))))

    def other(self, file: str) -> str:
        """The name of the file beside the program that is compiled under ``file``; else ""."""
        number = self.files.index(file) if file in self.files else 0
        return self.beside[number - 1].name if number else ""

    def where(self, place: Place | None) -> str:
        """Name a place for a person: "line 12", "cell 3, line 2" of a notebook, "nets.py, line 8"."""
        if place is None:
            return ""
        other, line = self.other(place.file), place.line
        if other:
            return f"{other}, line {line}"
        if not self.cells:
            return f"line {line}"
        number = max(i for i, first in enumerate(self.cells) if first <= line)
        return f"cell {number + 1}, line {line - self.cells[number] + 1}"


def read(path: Path, *, alone: bool = False) -> Source:
    """Raises SourceError for a file that is not there, too large, no text, no notebook or no
    Python.

    alone: without what it imports from files beside it.
    """
    if not path.is_file():
        raise SourceError(f"no such file: {path}")
    if path.stat().st_size > MAX_BYTES:
        raise SourceError(
            f"{path.name} is larger than {MAX_BYTES // 1_000_000} MB; expected a program"
        )
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise SourceError(
            f"{path.name} is not text in UTF-8; expected a .py or an .ipynb file"
        ) from None
    cells: tuple[int, ...] = ()
    if path.suffix == ".ipynb":
        text, cells = _joined(path, text)
    try:
        tree = ast.parse(text)
        if alone:
            return Source(path, text, tree, cells)
        found = Beside(path, tree)
        return Source(
            path,
            "\n".join([text, *map(ast.unparse, found.taken)]),
            tree,
            cells,
            tuple(found.files),
        )
    except (SyntaxError, ValueError, RecursionError) as error:
        line = getattr(error, "lineno", None)
        place = None if line is None else Place(STRANGER, line)
        where = Source(path, text, ast.Module([], []), cells).where(place)
        hint = (
            "; it looks like Python 2"
            if re.search(r"^\s*print\s+[\"'\w]", text, re.MULTILINE)
            else ""
        )
        raise SourceError(
            f"syntax error{f' in {where}' if where else ''}: {getattr(error, 'msg', error)}{hint}"
        ) from None


def _joined(path: Path, text: str) -> tuple[str, tuple[int, ...]]:
    try:
        cells = json.loads(text)["cells"]
        codes = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    except (ValueError, KeyError, TypeError):
        raise SourceError(
            f"{path.name} is not a notebook of format 4: expected JSON with cells"
        ) from None
    starts: list[int] = []
    lines: list[str] = []
    for code in codes:
        starts.append(len(lines) + 1)
        own = code.splitlines() or [""]
        whole_cell = own[0].lstrip().startswith("%%") and not own[0].lstrip().startswith(
            ("%%time", "%%capture")
        )
        lines += ["" if whole_cell else _plain(line) for line in own]
    return "\n".join(lines) + "\n", tuple(starts)


def _plain(line: str) -> str:
    if not MAGIC.search(line):
        return line
    indent = line[: len(line) - len(line.lstrip())]
    return f"{indent}pass" if indent else ""


def blocks(tree: ast.Module) -> Iterator[list[ast.stmt]]:
    """The module's statements, then the bodies of functions, conditions and ``with`` blocks, from
    outside in."""
    open_: list[list[ast.stmt]] = [tree.body]
    while open_:
        body = open_.pop(0)
        yield body
        for statement in body:
            if isinstance(statement, ast.ClassDef):
                continue
            for name in ("body", "orelse", "finalbody"):
                inner = getattr(statement, name, None)
                if isinstance(inner, list) and inner and isinstance(inner[0], ast.stmt):
                    open_.append(inner)


def place_of(node: ast.stmt | ast.expr) -> Place:
    """The file and the line that a statement or an expression begins at."""
    return Place(file_of(node), node.lineno)


def covers(node: ast.stmt | ast.expr, place: Place | None) -> bool:
    """Whether the place is on one of the node's lines."""
    if place is None or place.file != file_of(node):
        return False
    return node.lineno <= place.line <= (node.end_lineno or node.lineno)


def calls(tree: ast.AST) -> Iterator[ast.Call]:
    """Every call in the tree."""
    return (node for node in ast.walk(tree) if isinstance(node, ast.Call))


def outermost(node: ast.AST) -> Iterator[ast.Call]:
    """A call and those whose result it hands on: ``VAE(20).to(device)``,
    ``nn.DataParallel(VAE(20))``."""
    while isinstance(node, ast.Call):
        yield node
        if isinstance(node.func, ast.Attribute) and isinstance(node.func.value, ast.Call):
            node = node.func.value
        elif node.args and isinstance(node.args[0], ast.Call):
            node = node.args[0]
        else:
            return


def last_name(node: ast.AST) -> str:
    """The last name of ``a.b.c`` or ``a.b.c(...)``: "c"."""
    while isinstance(node, ast.Call):
        node = node.func
    if isinstance(node, ast.Attribute):
        return node.attr
    return node.id if isinstance(node, ast.Name) else ""


def looped_over(tree: ast.AST, function: str) -> set[str]:
    """Names over which a function of that name loops with several names at once: ``for x, y in
    data``."""
    found = set()
    for one in ast.walk(tree):
        if isinstance(one, ast.FunctionDef) and one.name == function:
            for loop in (
                node
                for node in ast.walk(one)
                if isinstance(node, ast.For) and isinstance(node.target, ast.Tuple)
            ):
                inner: ast.expr = loop.iter
                while (
                    isinstance(inner, ast.Call)
                    and inner.args
                    and last_name(inner) in ("enumerate", "tqdm", "iter")
                ):
                    inner = inner.args[0]
                if isinstance(inner, ast.Name):
                    found.add(inner.id)
    return found


def returned(tree: ast.AST, name: str) -> list[str]:
    """What ``forward`` of the class ``name`` calls the values of the tuple that it returns at its
    end; "" for a call."""
    for one in ast.walk(tree):
        if isinstance(one, ast.ClassDef) and one.name == name:
            forward = next(
                (f for f in one.body if isinstance(f, ast.FunctionDef) and f.name == "forward"),
                None,
            )
            last = forward.body[-1] if forward is not None else None
            if isinstance(last, ast.Return) and isinstance(last.value, ast.Tuple | ast.List):
                return [
                    "" if isinstance(value, ast.Call) else last_name(value)
                    for value in last.value.elts
                ]
    return []


def unpacked_first(tree: ast.AST, function: str) -> list[str]:
    """Names into which a function of that name unpacks its first parameter: ``recon, mu, logvar =
    output``."""
    for one in ast.walk(tree):
        if isinstance(one, ast.FunctionDef) and one.name == function and one.args.args:
            for inner in one.body:
                target = inner.targets[0] if isinstance(inner, ast.Assign) else None
                if (
                    isinstance(target, ast.Tuple)
                    and ast.unparse(inner.value) == one.args.args[0].arg
                ):  # type: ignore[attr-defined]
                    return [last_name(name) for name in target.elts]
    return []


def called_parameters(tree: ast.AST, name: str) -> set[str]:
    """Parameters of the ``__init__`` of the class ``name`` that it keeps as an attribute, which one
    of its methods calls."""
    out: set[str] = set()
    for one in ast.walk(tree):
        if isinstance(one, ast.ClassDef) and one.name == name:
            called = {
                call.func.attr
                for call in calls(one)
                if isinstance(call.func, ast.Attribute) and _of_self(call.func)
            }
            kept = (
                s
                for s in ast.walk(one)
                if isinstance(s, ast.Assign) and isinstance(s.value, ast.Name)
            )
            out |= {s.value.id for s in kept if called & {t.attr for t in s.targets if _of_self(t)}}  # type: ignore[attr-defined]
    return out


def _of_self(node: ast.AST) -> bool:
    return (
        isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == "self"
    )


def default_of(tree: ast.AST, name: str) -> ast.expr | None:
    """The first default, other than None, of a parameter of that name."""
    for one in ast.walk(tree):
        if isinstance(one, ast.FunctionDef):
            last = [*one.args.posonlyargs, *one.args.args][::-1]
            pairs = [
                *zip(last, one.args.defaults[::-1], strict=False),
                *zip(one.args.kwonlyargs, one.args.kw_defaults, strict=True),
            ]
            for parameter, default in pairs:
                if parameter.arg == name and default is not None and ast.unparse(default) != "None":
                    return default
    return None


def goes_backward(tree: ast.AST) -> bool:
    """Whether ``.backward(...)`` or Lightning's ``manual_backward(...)`` is called within."""
    return any(last_name(call.func) in ("backward", "manual_backward") for call in calls(tree))


def assigned(statement: ast.stmt) -> list[str]:
    """Names that the statement gives a value to."""
    targets: list[ast.expr] = []
    if isinstance(statement, ast.Assign):
        targets = statement.targets
    elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
        targets = [statement.target]
    return [
        node.id
        for target in targets
        for node in ast.walk(target)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)
    ]
