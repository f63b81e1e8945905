"""Classes of a stranger's program that are no modules and act as some: they hold layers and have a
``forward``."""

from __future__ import annotations

import ast
from typing import Any

from torch import nn

from aevb.checker.program.source import last_name

PLAIN = "__plain__"
"""The name of the base class that they are given."""
CODES, TORCH = {"encode", "decode"}, {"torch", "nn", "F"}
OWN_WAY = {
    "modules",
    "parameters",
    "named_parameters",
    "children",
    "__getattr__",
    "__setattr__",
    "__new__",
}
"""Methods of which torch's own are needed."""


class PlainModule(nn.Module):
    """A module though its class never calls ``super().__init__``."""

    def __new__(cls, *_: Any, **__: Any) -> PlainModule:
        """A whole module, before the class's own ``__init__``."""
        made = super().__new__(cls)
        nn.Module.__init__(made)
        return made


def acts_as_module(node: ast.ClassDef) -> bool:
    """Whether the class derives from nothing, and has what a model has: ``forward``, or ``encode``
    and ``decode``."""
    own = {one.name for one in node.body if isinstance(one, ast.FunctionDef)}
    bare = (
        all(last_name(base) == "object" for base in node.bases)
        and not node.keywords
        and not node.decorator_list
    )
    of_torch = any(
        isinstance(one, ast.Name) and one.id in TORCH for one in ast.walk(node)
    )  # no table of words
    return bare and of_torch and ("forward" in own or own >= CODES) and not own & OWN_WAY


def set_mode(module: nn.Module, training: bool) -> None:
    """As ``module.train(training)``, where the class may have a ``train`` of its own that trains."""
    for one in module.modules():
        one.training = training
