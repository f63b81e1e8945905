"""Changes to a stranger's program before it runs, so that one step of it shows what a whole
training would.

Loops over epochs start at their last epoch: a warm-up of the KL weight has ended there. Batch sizes
that are written down become the batch size of the checker, so that a division by them is a mean
over rows. Line numbers stay.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable
from typing import Any

from aevb.checker.program.plain import PLAIN, PlainModule, acts_as_module
from aevb.checker.program.source import last_name

ROWS = 7
"""Rows of a batch: a number that is seldom that of anything else, so that a factor of it tells
where a sum was averaged."""
BATCH_SIZE = re.compile(
    r"^-*(train_|mini_?|n_)?(batch_?-?size|batchsize|bs|bsz|batch|mb_?size|minibatch)$",
    re.IGNORECASE,
)
EPOCH_NAME = re.compile(
    r"^(epochs?|ep|e|n_?epoch|epoch_?(num|idx|number|i)?|i_?epoch|cur_?epoch|current_epoch)$",
    re.IGNORECASE,
)
LAST = "__last_of__"


def last_of(items: Any) -> Any:
    """The last of ``items`` where they can be sliced; else all of them."""
    try:
        return items[-1:]
    except Exception:
        return items


HELPERS = {LAST: last_of, PLAIN: PlainModule}
"""What the rewritten program needs besides its own names."""


class Rewriter(ast.NodeTransformer):
    """See the module's description."""

    def visit_For(self, node: ast.For) -> ast.AST:
        """``for epoch in range(n)``: only the last."""
        self.generic_visit(node)
        if (
            isinstance(node.target, ast.Name)
            and EPOCH_NAME.match(node.target.id)
            and isinstance(node.iter, ast.Call)
        ):
            node.iter = _at(ast.Call(ast.Name(LAST, ast.Load()), [node.iter], []), node.iter)
        return node

    def visit_ClassDef(self, node: ast.ClassDef) -> ast.AST:
        """``class VAE:`` with a ``forward``: a module."""
        self.generic_visit(node)
        if acts_as_module(node):
            node.bases = [
                ast.fix_missing_locations(ast.copy_location(ast.Name(PLAIN, ast.Load()), node))
            ]
        return node

    def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.AST:
        """``from ..constants import SIZE``: of a package that is not here."""
        if node.level:
            node.level, node.module = 0, f"local.{node.module or 'package'}"
        return node

    def visit_Assign(self, node: ast.Assign) -> ast.AST:
        """``batch_size = 128``, ``self.bs, lr = 128, 1e-3``, ``config["batch_size"] = 128``."""
        self.generic_visit(node)
        for target in node.targets:
            if (
                isinstance(target, ast.Tuple)
                and isinstance(node.value, ast.Tuple)
                and len(target.elts) == len(node.value.elts)
            ):
                pairs = list(zip(target.elts, node.value.elts, strict=True))
                node.value.elts = [
                    _rows(value) if BATCH_SIZE.match(_name(one)) else value for one, value in pairs
                ]
            elif BATCH_SIZE.match(_name(target)):
                node.value = _rows(node.value)
        return node

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        """``batch_size: int = 128``."""
        self.generic_visit(node)
        if node.value is not None and BATCH_SIZE.match(_name(node.target)):
            node.value = _rows(node.value)
        return node

    def visit_Call(self, node: ast.Call) -> ast.AST:
        """``f(batch_size=128)``, ``add_argument("--batch-size", default=128)``."""
        self.generic_visit(node)
        option = last_name(node.func) == "add_argument" and any(
            BATCH_SIZE.match(_name(a)) for a in node.args
        )
        for keyword in node.keywords:
            if (keyword.arg and BATCH_SIZE.match(keyword.arg)) or (
                option and keyword.arg == "default"
            ):
                keyword.value = _rows(keyword.value)
        return node

    def visit_Dict(self, node: ast.Dict) -> ast.AST:
        """``{"batch_size": 128}``."""
        self.generic_visit(node)
        node.values = [_rows(v) if k is not None and BATCH_SIZE.match(_name(k)) else v
                       for k, v in zip(node.keys, node.values, strict=True)]  # fmt: skip
        return node

    def visit_arguments(self, node: ast.arguments) -> ast.AST:
        """``def train(batch_size=128)``."""
        self.generic_visit(node)
        named = [*node.posonlyargs, *node.args][
            len(node.posonlyargs) + len(node.args) - len(node.defaults) :
        ]
        node.defaults = [
            _rows(v) if BATCH_SIZE.match(a.arg) else v
            for a, v in zip(named, node.defaults, strict=True)
        ]
        node.kw_defaults = [
            _rows(v) if v is not None and BATCH_SIZE.match(a.arg) else v
            for a, v in zip(node.kwonlyargs, node.kw_defaults, strict=True)
        ]
        return node


def _at(node: ast.expr, place: ast.expr) -> ast.expr:
    return ast.fix_missing_locations(ast.copy_location(node, place))


def _name(node: ast.AST) -> str:
    if isinstance(node, ast.Subscript):
        node = node.slice
    return str(node.value) if isinstance(node, ast.Constant) else last_name(node)


def _rows(value: ast.expr) -> ast.expr:
    if isinstance(value, ast.Constant) and type(value.value) is int:
        return _at(ast.Constant(ROWS), value)
    return value


def rewritten(body: Iterable[ast.stmt]) -> list[ast.stmt]:
    """The statements, changed in place."""
    return [Rewriter().visit(statement) for statement in body]
