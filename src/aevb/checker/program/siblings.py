"""What a stranger's file imports from files beside it: the definitions that it needs, put before
its own.

Files are read and parsed, never run as they are. Of one, only what the importing file asks for is
taken, with all that these definitions name in turn; its loops, its main part and its other classes
stay where they are. What is taken is compiled under a file name of its own, so that a finding can
say where it stands.
"""

from __future__ import annotations

import ast
import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path

from aevb.checker.places import STRANGER, beside

MOST_FILES, MAX_BYTES, UP = 20, 1_000_000, 3
NEVER = {"torch", "numpy", "torchvision", "pytorch_lightning", "lightning", "tensorflow"}
Definition = ast.FunctionDef | ast.ClassDef


class Beside:
    """The files beside ``path``, as far as its tree imports from them. files: those read, in
    order."""

    def __init__(self, path: Path, tree: ast.Module) -> None:
        self.files: list[Path] = []
        self.taken: list[ast.stmt] = []
        self._path = path.resolve()
        self._trees: dict[Path, ast.Module] = {}
        self._done: set[tuple[Path, str]] = set()
        self._owner: dict[str, Path] = {
            name: self._path for one in _statements(tree.body) for name in _names(one, whole=True)
        }
        own = _Imports(self, self._path, tree).visit(tree)
        tree.body = [*self.taken, *own.body]
        ast.fix_missing_locations(tree)

    def find(self, start: Path, module: str, level: int = 0) -> Path | None:
        """The file that ``import module`` means in the file ``start``, if it stands beside it or
        above."""
        steps = module.split(".") if module else []
        if level:
            bases = [[start.parent, *start.parents][level]] if level < len(start.parents) else []
        elif steps[0] in NEVER or steps[0] in sys.stdlib_module_names:
            return None
        else:
            bases = [start.parent] if _installed(steps[0]) else list(start.parents[: 1 + UP])
        for base in bases:
            place = base.joinpath(*steps)
            for file in (place.with_name(place.name + ".py"), place / "__init__.py"):
                if file.is_file() and file.resolve() != self._path:
                    return file
        return None

    def tree(self, file: Path) -> ast.Module | None:
        """The file's own tree; None if it cannot be read."""
        if file not in self._trees:
            if len(self.files) >= MOST_FILES or file.stat().st_size > MAX_BYTES:
                return None
            try:
                parsed = ast.parse(file.read_bytes().decode("utf-8-sig"))
            except (OSError, SyntaxError, ValueError, RecursionError):
                return None
            self.files.append(file)
            self._trees[file] = parsed
        return self._trees[file]

    def take(self, file: Path, name: str) -> bool:
        """Put the definition of ``name`` in ``file`` before the program, with what it needs; False
        if there is none."""
        if (file, name) in self._done:
            return True
        tree = self.tree(file)
        found = (
            next((s for s in _statements(tree.body) if name in _names(s)), None)
            if tree is not None
            else None
        )
        if found is None or (
            isinstance(found, Definition) and self._owner.setdefault(name, file) != file
        ):
            return False
        self._done.add((file, name))
        for needed in sorted(
            {one.id for one in ast.walk(found) if isinstance(one, ast.Name)} - {name}
        ):
            self.take(file, needed)
        self._done.update((file, other) for other in _names(found))
        made = _Imports(self, file, tree).visit(found)
        statements = made if isinstance(made, list) else [made]
        for node in (node for one in statements for node in ast.walk(one)):
            node.file = beside(self.files.index(file) + 1)  # type: ignore[attr-defined]
        self.taken += statements
        return True

    def public(self, file: Path) -> Iterator[str]:
        """Names that ``from file import *`` brings."""
        tree = self.tree(file)
        names = (
            (name for one in _statements(tree.body) for name in _names(one))
            if tree is not None
            else ()
        )
        yield from (name for name in names if not name.startswith("_"))


class _Imports(ast.NodeTransformer):
    """Imports from files beside become plain assignments, after what they import has been taken."""

    def __init__(self, beside: Beside, file: Path, tree: ast.Module | None) -> None:
        self.beside, self.file, self.tree = beside, file, tree

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | list[ast.stmt]:
        """``from models import VAE as Net``, ``from . import losses``, ``from nets import *``."""
        beside, left, made = self.beside, [], []
        file = (
            beside.find(self.file, node.module or "", node.level)
            if node.module or node.level
            else None
        )
        for alias in node.names:
            inner = ".".join(filter(None, (node.module, alias.name)))
            bound = alias.asname or alias.name
            if alias.name == "*":
                if file is None:
                    return node
                for name in beside.public(file):
                    beside.take(file, name)
            elif file is not None and beside.take(file, alias.name):
                made += (
                    []
                    if bound == alias.name
                    else [_assign(bound, ast.Name(alias.name, ast.Load()))]
                )
            elif (module := beside.find(self.file, inner, node.level)) is not None:
                made.append(self._namespace(bound, module))
            else:
                left.append(alias)
        if len(left) == len(node.names):
            return node
        node.names = left
        return [
            ast.copy_location(one, node) for one in [*made, *([node] if left else []), ast.Pass()]
        ]

    def visit_Import(self, node: ast.Import) -> ast.AST | list[ast.stmt]:
        """``import losses``, ``import models.vae as vae``."""
        found = [(one, self.beside.find(self.file, one.name)) for one in node.names]
        found = [
            (one, file)
            for one, file in found
            if file is not None and (one.asname or "." not in one.name)
        ]
        if not found:
            return node
        made = [
            self._namespace(one.asname or one.name, file) for one, file in found if file is not None
        ]
        node.names = [one for one in node.names if all(one is not other for other, _ in found)]
        return [ast.copy_location(one, node) for one in [*made, *([node] if node.names else [])]]

    def _namespace(self, bound: str, file: Path) -> ast.stmt:
        """``bound`` as an object that has what is asked of the module under that name."""
        asked = {
            one.attr
            for one in ast.walk(self.tree or ast.Module([], []))
            if isinstance(one, ast.Attribute)
            and isinstance(one.value, ast.Name)
            and one.value.id == bound
        }
        have = [
            ast.keyword(name, ast.Name(name, ast.Load()))
            for name in sorted(asked)
            if self.beside.take(file, name)
        ]
        kind = ast.parse("type('Module', (), {})", mode="eval").body
        kind.args[2] = ast.Dict(
            [ast.Constant(one.arg) for one in have], [_static(one.value) for one in have]
        )  # type: ignore[attr-defined]
        return _assign(bound, kind)


def file_of(node: ast.AST) -> str:
    """The name that the file of the node is compiled under."""
    return getattr(node, "file", STRANGER)


def _static(value: ast.expr) -> ast.expr:
    return ast.Call(ast.Name("staticmethod", ast.Load()), [value], [])


def _assign(name: str, value: ast.expr) -> ast.stmt:
    return ast.Assign([ast.Name(name, ast.Store())], value)


def _installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of the top level, with those of its ``try`` and ``if``, but for the main part."""
    for one in body:
        if isinstance(one, ast.Try):
            yield from _statements(
                [*one.body, *(inner for handler in one.handlers for inner in handler.body)]
            )
        elif isinstance(one, ast.If):
            if "__name__" not in ast.unparse(one.test):
                yield from _statements([*one.body, *one.orelse])
        else:
            yield one


def _names(one: ast.stmt, *, whole: bool = False) -> list[str]:
    """Names that the statement defines. whole: only classes and functions."""
    if isinstance(one, Definition):
        return [one.name]
    if whole:
        return []
    if isinstance(one, ast.Import | ast.ImportFrom):
        return [alias.asname or alias.name.split(".")[0] for alias in one.names]
    targets = (
        one.targets
        if isinstance(one, ast.Assign)
        else [one.target]
        if isinstance(one, ast.AnnAssign)
        else []
    )
    return [
        node.id for target in targets for node in ast.walk(target) if isinstance(node, ast.Name)
    ]
