"""Read a stranger's .py file, or the code cells of an .ipynb without shell lines, and search it."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeGuard, TypeVar

from aevb.checker.places import STRANGER, Place, beside
from aevb.checker.program import vocabulary as words
from aevb.checker.program.siblings import Beside, file_of

MAX_BYTES = 20_000_000
MAGIC = re.compile(r"^\s*(%|!|\?)|\?\s*$")
CHANGES = words.as_set("exp exp_ sqrt log pow square softplus exp2 log1p expm1 abs sigmoid")
"""Calls that turn a head into something else: a deviation, a variance, a logarithm."""
MOST_NAMES = 5
Node = TypeVar("Node", bound=ast.AST)


class SourceError(Exception):
    """The file cannot be read as Python; the message is one sentence."""


@dataclass(frozen=True)
class Source:
    """A program, with the definitions that it takes from files beside it, see ``siblings``.

    text: all code. cells: for a notebook, the first line of each code cell, counted from 1; empty
    for a .py file. beside: the files from which definitions were taken.
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
        """Return the name of the file beside the program that is compiled as ``file``; else ""."""
        number = self.files.index(file) if file in self.files else 0
        return self.beside[number - 1].name if number else ""

    def where(self, place: Place | None) -> str:
        """Name a place for a person: "line 12", "cell 3, line 2", "nets.py, line 8"."""
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
    """Read a program, with what it imports from files beside it unless ``alone``.

    Raises:
        SourceError: the file is missing, too large, or not text, not a notebook or not Python.
    """
    text = _text(path)
    text, cells = _joined(path, text) if path.suffix == ".ipynb" else (text, ())
    try:
        tree = ast.parse(text)
        if alone:
            return Source(path, text, tree, cells)
        found = Beside(path, tree)
        whole = "\n".join([text, *map(ast.unparse, found.taken)])
        return Source(path, whole, tree, cells, tuple(found.files))
    except (SyntaxError, ValueError, RecursionError) as error:
        line, said = getattr(error, "lineno", None), getattr(error, "msg", error)
        place = None if line is None else Place(STRANGER, line)
        where = Source(path, text, ast.Module([], []), cells).where(place)
        old = re.search(r"^\s*print\s+[\"'\w]", text, re.MULTILINE)
        hint = "; it looks like Python 2" if old else ""
        raise SourceError(f"syntax error{where and f' in {where}'}: {said}{hint}") from None


def _text(path: Path) -> str:
    if not path.is_file():
        raise SourceError(f"no such file: {path}")
    if path.stat().st_size > MAX_BYTES:
        most = f"{MAX_BYTES // 1_000_000} MB"
        raise SourceError(f"{path.name} is larger than {most}; expected a program")
    try:
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        message = f"{path.name} is not text in UTF-8; expected a .py or an .ipynb file"
        raise SourceError(message) from None


def _joined(path: Path, text: str) -> tuple[str, tuple[int, ...]]:
    """The code of a notebook, and the first line of each of its code cells."""
    try:
        cells = json.loads(text)["cells"]
        codes = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    except (ValueError, KeyError, TypeError):
        message = f"{path.name} is not a notebook of format 4: expected JSON with cells"
        raise SourceError(message) from None
    starts: list[int] = []
    lines: list[str] = []
    for code in codes:
        starts.append(len(lines) + 1)
        own = code.splitlines() or [""]
        first = own[0].lstrip()
        foreign = first.startswith("%%") and not first.startswith(("%%time", "%%capture"))
        lines += ["" if foreign else _without_magic(line) for line in own]
    return "\n".join(lines) + "\n", tuple(starts)


def _without_magic(line: str) -> str:
    if not MAGIC.search(line):
        return line
    indent = line[: len(line) - len(line.lstrip())]
    return f"{indent}pass" if indent else ""


def each(tree: ast.AST, kind: type[Node]) -> Iterator[Node]:
    """Every node of that kind in the tree."""
    return (node for node in ast.walk(tree) if isinstance(node, kind))


def calls(tree: ast.AST) -> Iterator[ast.Call]:
    """Every call in the tree."""
    return each(tree, ast.Call)


def functions(tree: ast.AST, name: str = "") -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Every function and method in the tree, or those of that name."""
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
    return (f for f in ast.walk(tree) if isinstance(f, kinds) and name in ("", f.name))


def called_names(tree: ast.AST) -> set[str]:
    """The last name of each call in the tree."""
    return {last_name(call.func) for call in calls(tree)}


def place_of(node: ast.stmt | ast.expr) -> Place:
    """The file and the line at which a statement or an expression begins."""
    return Place(file_of(node), node.lineno)


def covers(node: ast.stmt | ast.expr, place: Place | None) -> bool:
    """Whether the place is on one of the node's lines."""
    if place is None or place.file != file_of(node):
        return False
    return node.lineno <= place.line <= (node.end_lineno or node.lineno)


def blocks(tree: ast.Module) -> Iterator[list[ast.stmt]]:
    """The module's statements, then the bodies within them except classes, from outside in."""
    open_: list[list[ast.stmt]] = [tree.body]
    while open_:
        body = open_.pop(0)
        yield body
        for statement in (one for one in body if not isinstance(one, ast.ClassDef)):
            for name in ("body", "orelse", "finalbody"):
                inner = getattr(statement, name, None)
                if isinstance(inner, list) and inner and isinstance(inner[0], ast.stmt):
                    open_.append(inner)


def statements(tree: ast.Module) -> Iterator[ast.stmt]:
    """The statements of all those blocks."""
    return (statement for block in blocks(tree) for statement in block)


def outermost(node: ast.AST) -> Iterator[ast.Call]:
    """A call, then the calls inside it: ``DataParallel(VAE(20)).to(device)``, from outside in."""
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


def argument(call: ast.Call, place: int, name: str) -> ast.expr | None:
    """The argument of a call for the parameter at ``place`` with that name."""
    named = next((k.value for k in call.keywords if k.arg == name), None)
    return named or (call.args[place] if place < len(call.args) else None)


def assigned(statement: ast.stmt) -> list[str]:
    """Names to which the statement assigns a value."""
    targets: list[ast.expr] = []
    if isinstance(statement, ast.Assign):
        targets = statement.targets
    elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
        targets = [statement.target]
    names = (node for target in targets for node in each(target, ast.Name))
    return [node.id for node in names if isinstance(node.ctx, ast.Store)]


def looped_over(tree: ast.AST, function: str) -> set[str]:
    """Names that the function loops over with several targets: ``for x, y in data``."""
    loops = (loop for one in functions(tree, function) for loop in each(one, ast.For))
    found = (_inside_bars(one.iter) for one in loops if isinstance(one.target, ast.Tuple))
    return {one.id for one in found if isinstance(one, ast.Name)}


def _inside_bars(inner: ast.expr) -> ast.expr:
    """The inner expression of ``enumerate(tqdm(data))``."""
    while isinstance(inner, ast.Call) and inner.args:
        if last_name(inner) not in ("enumerate", "tqdm", "iter"):
            break
        inner = inner.args[0]
    return inner


def batches_of(tree: ast.AST, name: str) -> set[str]:
    """Names that the innermost training loops in functions ``name`` loop over."""
    found = set()
    for scope in functions(tree, name):
        loops = [loop for loop in each(scope, ast.For) if goes_backward(loop)]
        for loop in loops:
            inner = any(other is not loop and other in loops for other in ast.walk(loop))
            if not inner and isinstance(loop.iter, ast.Name):
                found.add(loop.iter.id)
    return found


def returned(tree: ast.AST, name: str) -> list[str]:
    """The names in the tuple that ``forward`` of the class ``name`` returns; "" for a call."""
    for one in (node for node in each(tree, ast.ClassDef) if node.name == name):
        own = (f for f in one.body if isinstance(f, ast.FunctionDef) and f.name == "forward")
        last = next((forward.body[-1] for forward in own), None)
        if isinstance(last, ast.Return) and isinstance(last.value, ast.Tuple | ast.List):
            values = last.value.elts
            return ["" if isinstance(value, ast.Call) else last_name(value) for value in values]
    return []


def unpacked_first(tree: ast.AST, function: str) -> list[str]:
    """Names that a function unpacks its first parameter into: ``recon, mu, logvar = output``."""
    for one in (f for f in functions(tree, function) if f.args.args):
        for inner in (s for s in one.body if isinstance(s, ast.Assign)):
            whole = ast.unparse(inner.value) == one.args.args[0].arg
            if whole and isinstance(inner.targets[0], ast.Tuple):
                return [last_name(name) for name in inner.targets[0].elts]
    return []


def called_parameters(tree: ast.AST, name: str) -> set[str]:
    """Parameters that the class ``name`` keeps as attributes and calls."""
    out: set[str] = set()
    for one in (node for node in each(tree, ast.ClassDef) if node.name == name):
        called = {call.func.attr for call in calls(one) if _of_self(call.func)}
        for kept in (s for s in each(one, ast.Assign) if isinstance(s.value, ast.Name)):
            if called & {t.attr for t in kept.targets if _of_self(t)}:
                out.add(last_name(kept.value))
    return out


def _of_self(node: ast.AST) -> TypeGuard[ast.Attribute]:
    own = isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name)
    return own and node.value.id == "self"  # type: ignore[attr-defined]


def default_of(tree: ast.AST, name: str) -> ast.expr | None:
    """The first default that is not None, of a parameter with that name."""
    for one in each(tree, ast.FunctionDef):
        last = [*one.args.posonlyargs, *one.args.args][::-1]
        positional = zip(last, one.args.defaults[::-1], strict=False)
        named = zip(one.args.kwonlyargs, one.args.kw_defaults, strict=True)
        for parameter, default in [*positional, *named]:
            if parameter.arg == name and default and ast.unparse(default) != "None":
                return default
    return None


def goes_backward(tree: ast.AST) -> bool:
    """Whether the tree calls ``.backward(...)`` or Lightning's ``manual_backward(...)``."""
    return not called_names(tree).isdisjoint(("backward", "manual_backward"))


def given_changed(tree: ast.AST, name: str, spread: tuple[int, str]) -> bool:
    """Whether every call of ``name`` passes a changed head as its spread: ``exp(logvar / 2)``.

    Args:
        tree: the program.
        name: a function of the program.
        spread: place and name of the parameter; the place is -1 if there is none.

    Returns:
        False if there is no call.
    """
    seen = []
    for scope in functions(tree) if spread[0] >= 0 else ():
        own = (call for call in calls(scope) if last_name(call.func) == name != scope.name)
        given = [argument(call, *spread) for call in own]
        seen += [_changes(one) or _assigned_changed(scope, one) for one in given if one]
    return bool(seen) and all(seen)


def _changes(value: ast.expr) -> bool:
    """Whether the expression is more than a name, a part of it or another shape of it."""
    return isinstance(value, ast.BinOp) or not called_names(value).isdisjoint(CHANGES)


def _assigned_changed(scope: ast.AST, value: ast.expr) -> bool:
    """Whether the value is a name to which the function only assigns changed values."""
    made = _assigned_to(scope, value.id) if isinstance(value, ast.Name) else []
    return bool(made) and all(map(_changes, made))


def _assigned_to(scope: ast.AST, name: str) -> list[ast.expr]:
    """All values that the function assigns to ``name``."""
    own = (one for one in each(scope, ast.Assign))
    return [one.value for one in own if name in [getattr(t, "id", None) for t in one.targets]]


def direction(tree: ast.AST, name: str) -> str:
    """Whether training takes the result of ``name`` "down" or "up"; "" if that is not seen."""
    for scope in functions(tree):
        for call in calls(scope):
            if isinstance(call.func, ast.Attribute) and call.func.attr == "backward":
                value, minus = _origin(scope, call.func.value)
                if isinstance(value, ast.Call) and last_name(value) == name:
                    return "up" if minus else "down"
    up = words.MAXIMISED.search(name) and not words.MINIMISED.search(name)
    return "up" if up else ""


def _origin(scope: ast.AST, value: ast.expr) -> tuple[ast.expr, bool]:
    """The expression behind names and signs from which the value comes, and whether negated."""
    minus = False
    for _ in range(MOST_NAMES):
        if isinstance(value, ast.UnaryOp):
            made = [value.operand]
            minus ^= isinstance(value.op, ast.USub)
        else:
            made = _assigned_to(scope, value.id) if isinstance(value, ast.Name) else []
        if len(made) != 1 or ast.unparse(made[0]) == ast.unparse(value):
            break
        value = made[0]
    return value, minus
