"""Definitions that a stranger's file imports from files beside it, put before its own.

These files are read and parsed, but not run. The definitions that are imported are taken from
them, with all that these use in turn; loops, the main part and other classes are not. A definition
is compiled under a name for its file, so that a finding can give its place.
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
    """The files beside a program that it imports from. files: those read, in order."""

    def __init__(self, path: Path, tree: ast.Module) -> None:
        self.files: list[Path] = []
        self.taken: list[ast.stmt] = []
        self._path = path.resolve()
        self._trees: dict[Path, ast.Module] = {}
        self._done: set[tuple[Path, str]] = set()
        own = (one for one in _statements(tree.body) if isinstance(one, Definition))
        self._owner: dict[str, Path] = {one.name: self._path for one in own}
        changed = _Imports(self, self._path, tree).visit(tree)
        tree.body = [*self.taken, *changed.body]
        ast.fix_missing_locations(tree)

    def find(self, start: Path, module: str, level: int = 0) -> Path | None:
        """Find the file of an imported module, beside the importing file or in folders above.

        Args:
            start: the importing file.
            module: the name after ``import`` or ``from``.
            level: the number of dots before it.

        Returns:
            The file, or None if there is none.
        """
        steps = module.split(".") if module else []
        for base in self._bases(start, steps, level):
            place = base.joinpath(*steps)
            for file in (place.with_name(place.name + ".py"), place / "__init__.py"):
                if file.is_file() and file.resolve() != self._path:
                    return file
        return None

    def _bases(self, start: Path, steps: list[str], level: int) -> list[Path]:
        """Folders to look into."""
        if level:
            return [[start.parent, *start.parents][level]] if level < len(start.parents) else []
        if steps[0] in NEVER or steps[0] in sys.stdlib_module_names:
            return []
        return [start.parent] if _installed(steps[0]) else list(start.parents[: 1 + UP])

    def tree(self, file: Path) -> ast.Module | None:
        """Return the file's own tree; None if it cannot be read."""
        if file not in self._trees:
            if len(self.files) >= MOST_FILES or file.stat().st_size > MAX_BYTES:
                return None
            try:
                self._trees[file] = ast.parse(file.read_bytes().decode("utf-8-sig"))
            except (OSError, SyntaxError, ValueError, RecursionError):
                return None
            self.files.append(file)
        return self._trees[file]

    def take(self, file: Path, name: str) -> bool:
        """Put the definition of ``name`` in ``file`` before the program, with all that it uses.

        Returns:
            False if it cannot be taken.
        """
        if (file, name) in self._done:
            return True
        found = next((one for one in self._top(file) if name in _names(one)), None)
        taken = isinstance(found, Definition) and self._owner.setdefault(name, file) != file
        if found is None or taken:
            return False
        self._done.add((file, name))
        for other in sorted(_uses(found).keys() - {name}):
            self.take(file, other)
        self._done.update((file, other) for other in _names(found))
        made = _Imports(self, file, self.tree(file)).visit(found)
        self._put(file, made if isinstance(made, list) else [made])
        return True

    def _put(self, file: Path, statements: list[ast.stmt]) -> None:
        """Put the statements of a file before the program."""
        for node in (node for one in statements for node in ast.walk(one)):
            node.file = beside(self.files.index(file) + 1)  # type: ignore[attr-defined]
        self.taken += statements

    def _top(self, file: Path) -> Iterator[ast.stmt]:
        """The statements of a file's top level."""
        tree = self.tree(file)
        return _statements(tree.body if tree is not None else [])

    def public(self, file: Path) -> Iterator[str]:
        """Names that ``from file import *`` imports."""
        names = (name for one in self._top(file) for name in _names(one))
        return (name for name in names if not name.startswith("_"))


def file_of(node: ast.AST) -> str:
    """The name that the file of the node is compiled under."""
    return getattr(node, "file", STRANGER)


class _Imports(ast.NodeTransformer):
    """Takes definitions from files beside the program, and makes their imports assignments."""

    def __init__(self, beside: Beside, file: Path, tree: ast.Module | None) -> None:
        self.beside, self.file, self.tree = beside, file, tree

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST | list[ast.stmt]:
        """``from models import VAE as Net``, ``from . import losses``, ``from nets import *``."""
        named = node.module or node.level
        file = self.beside.find(self.file, node.module or "", node.level) if named else None
        left: list[ast.alias] = []
        made: list[ast.stmt] = []
        for alias in node.names:
            found = self._bound(node, file, alias)
            made += found or []
            left += [alias] if found is None else []
        if len(left) == len(node.names):
            return node
        node.names = left
        kept = [*made, *([node] if left else []), ast.Pass()]
        return [ast.copy_location(one, node) for one in kept]

    def _bound(
        self, node: ast.ImportFrom, file: Path | None, alias: ast.alias
    ) -> list[ast.stmt] | None:
        """Statements that replace the import of one name; None if no file beside has it."""
        take, bound = self.beside.take, alias.asname or alias.name
        if alias.name == "*":
            for name in self.beside.public(file) if file is not None else ():
                take(file, name)  # type: ignore[arg-type]
            return None if file is None else []
        if file is not None and take(file, alias.name):
            other = [_assign(bound, ast.Name(alias.name, ast.Load()))]
            return [] if bound == alias.name else other
        inner = ".".join(filter(None, (node.module, alias.name)))
        module = self.beside.find(self.file, inner, node.level)
        return None if module is None else [self._namespace(bound, module)]

    def visit_Import(self, node: ast.Import) -> ast.AST | list[ast.stmt]:
        """``import losses``, ``import models.vae as vae``."""
        made: list[ast.stmt] = []
        left = []
        for one in node.names:
            file = self.beside.find(self.file, one.name)
            if file is not None and (one.asname or "." not in one.name):
                made.append(self._namespace(one.asname or one.name, file))
            else:
                left.append(one)
        if not made:
            return node
        node.names = left
        return [ast.copy_location(one, node) for one in [*made, *([node] if left else [])]]

    def _namespace(self, bound: str, file: Path) -> ast.stmt:
        """``bound`` as an object with the attributes of the module that the file uses."""
        nodes = ast.walk(self.tree or ast.Module([], []))
        asked = {
            one.attr
            for one in nodes
            if isinstance(one, ast.Attribute) and getattr(one.value, "id", None) == bound
        }
        have = [name for name in sorted(asked) if self.beside.take(file, name)]
        kind = ast.Name("type", ast.Load()), ast.Name("staticmethod", ast.Load())
        values: list[ast.expr] = [
            ast.Call(kind[1], [ast.Name(name, ast.Load())], []) for name in have
        ]
        own = ast.Dict([ast.Constant(name) for name in have], values)
        made = ast.Call(kind[0], [ast.Constant("Module"), ast.Tuple([], ast.Load()), own], [])
        return _assign(bound, made)


def _assign(name: str, value: ast.expr) -> ast.stmt:
    return ast.Assign([ast.Name(name, ast.Store())], value)


def _installed(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def _statements(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of the top level and of its ``try`` and ``if``, without the main part."""
    for one in body:
        if isinstance(one, ast.Try):
            handled = [inner for handler in one.handlers for inner in handler.body]
            yield from _statements([*one.body, *handled])
        elif isinstance(one, ast.If):
            if "__name__" not in ast.unparse(one.test):
                yield from _statements([*one.body, *one.orelse])
        else:
            yield one


def _names(one: ast.stmt) -> list[str]:
    """Names that the statement defines."""
    if isinstance(one, Definition):
        return [one.name]
    if isinstance(one, ast.Import | ast.ImportFrom):
        return [alias.asname or alias.name.split(".")[0] for alias in one.names]
    targets = one.targets if isinstance(one, ast.Assign) else []
    targets = [one.target] if isinstance(one, ast.AnnAssign) else targets
    return [name for target in targets for name in _uses(target)]


def _uses(one: ast.AST) -> dict[str, None]:
    """All plain names in the node, in order."""
    return {node.id: None for node in ast.walk(one) if isinstance(node, ast.Name)}
