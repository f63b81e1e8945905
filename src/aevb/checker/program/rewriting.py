"""Changes to a stranger's program, so that one step shows as much as a whole training.

Loops over epochs run only the last epoch, when a warm-up of the KL weight has ended. Batch sizes in
the text become the checker's, so that a division by them is a mean over rows. A class that has a
model's methods and no base class becomes a module. Line numbers do not change.
"""

from __future__ import annotations

import ast
from typing import Any

from torch import nn

from aevb.checker.program.source import last_name
from aevb.checker.program.vocabulary import BATCH_SIZE, EPOCH_NAME, ROWS, as_set

LAST, PLAIN = "__last_of__", "__plain__"
CODES, TORCH = {"encode", "decode"}, {"torch", "nn", "F"}
OWN_WAY = as_set("modules parameters named_parameters children __getattr__ __setattr__ __new__")
"""Methods that a module needs from torch."""


def last_of(items: Any) -> Any:
    """The last of ``items`` if they can be sliced, else all of them."""
    try:
        return items[-1:]
    except Exception:
        return items


class PlainModule(nn.Module):
    """A module whose class need not call ``super().__init__``."""

    def __new__(cls, *_: Any, **__: Any) -> PlainModule:
        """Make a whole module, before the class's own ``__init__``."""
        made = super().__new__(cls)
        nn.Module.__init__(made)
        return made


HELPERS = {LAST: last_of, PLAIN: PlainModule}
"""Names that the rewritten program needs besides its own."""


def acts_as_module(node: ast.ClassDef) -> bool:
    """Whether the class has no base, uses torch, and has ``forward`` or both of CODES."""
    own = {one.name for one in node.body if isinstance(one, ast.FunctionDef)}
    derives = any(last_name(base) != "object" for base in node.bases)
    if derives or node.keywords or node.decorator_list or own & OWN_WAY:
        return False
    named = {one.id for one in ast.walk(node) if isinstance(one, ast.Name)}
    return not named.isdisjoint(TORCH) and ("forward" in own or own >= CODES)


def set_mode(module: nn.Module, training: bool) -> None:
    """Do what ``module.train(training)`` does, even if the class has its own ``train``."""
    for one in module.modules():
        one.training = training


class Rewriter(ast.NodeTransformer):
    """See the module's description."""

    def visit_For(self, node: ast.For) -> ast.AST:
        """``for epoch in range(n)``: only the last."""
        self.generic_visit(node)
        epochs = isinstance(node.target, ast.Name) and EPOCH_NAME.match(node.target.id)
        if epochs and isinstance(node.iter, ast.Call):
            node.iter = _at(ast.Call(ast.Name(LAST, ast.Load()), [node.iter], []), node.iter)
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        """``class VAE:`` with a ``forward``: a module."""
        self.generic_visit(node)
        if acts_as_module(node):
            node.bases = [_at(ast.Name(PLAIN, ast.Load()), node)]
        return node

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST:
        """``from ..constants import SIZE``: an import from a package that is missing."""
        if node.level:
            node.level, node.module = 0, f"local.{node.module or 'package'}"
        return node

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        """``batch_size = 128``, ``self.bs, lr = 128, 1e-3``, ``config["batch_size"] = 128``."""
        self.generic_visit(node)
        for target in node.targets:
            own = target.elts if isinstance(target, ast.Tuple) else []
            values = node.value.elts if isinstance(node.value, ast.Tuple) else []
            if own and len(own) == len(values):
                pairs = zip(own, values, strict=True)
                values[:] = [_if_a_batch(_name(one), value) for one, value in pairs]
            else:
                node.value = _if_a_batch(_name(target), node.value)
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        """``batch_size: int = 128``."""
        self.generic_visit(node)
        if node.value is not None:
            node.value = _if_a_batch(_name(node.target), node.value)
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """``f(batch_size=128)``, ``add_argument("--batch-size", default=128)``."""
        self.generic_visit(node)
        named = (one for one in map(_name, node.args) if BATCH_SIZE.match(one))
        option = next(named, "") if last_name(node.func) == "add_argument" else ""
        for keyword in node.keywords:
            name = option if keyword.arg == "default" and option else keyword.arg or ""
            keyword.value = _if_a_batch(name, keyword.value)
        return node

    def visit_Dict(self, node: ast.Dict) -> ast.AST:
        """``{"batch_size": 128}``."""
        self.generic_visit(node)
        pairs = zip(node.keys, node.values, strict=True)
        node.values = [_if_a_batch("" if k is None else _name(k), v) for k, v in pairs]
        return node

    def visit_arguments(self, node: ast.arguments) -> ast.AST:
        """``def train(batch_size=128)``."""
        self.generic_visit(node)
        named = [*node.posonlyargs, *node.args]
        pairs = zip(named[len(named) - len(node.defaults) :], node.defaults, strict=True)
        node.defaults = [_if_a_batch(a.arg, v) for a, v in pairs]
        others = zip(node.kwonlyargs, node.kw_defaults, strict=True)
        node.kw_defaults = [v if v is None else _if_a_batch(a.arg, v) for a, v in others]
        return node


def _at(node: ast.expr, place: ast.AST) -> ast.expr:
    return ast.fix_missing_locations(ast.copy_location(node, place))


def _name(node: ast.AST) -> str:
    if isinstance(node, ast.Subscript):
        node = node.slice
    return str(node.value) if isinstance(node, ast.Constant) else last_name(node)


def _if_a_batch(name: str, value: ast.expr) -> ast.expr:
    """ROWS if the name is that of a batch size and the value an integer, else the value."""
    if BATCH_SIZE.match(name) and isinstance(value, ast.Constant) and type(value.value) is int:
        return _at(ast.Constant(ROWS), value)
    return value


def rewritten(body: list[ast.stmt]) -> list[ast.stmt]:
    """The statements, changed in place."""
    return [Rewriter().visit(statement) for statement in body]
