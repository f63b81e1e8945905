"""A stranger's program without its top level: imports, classes, functions and constants, and the
rest on demand.

What looks like work (training loops, loading, calls) is put aside. A statement that was put aside
runs when a later one asks for a name that it gives: ``model = VAE(784, 20)`` runs if a training
step needs ``model``. What cannot run is replaced by a stand-in chosen by name: a loader by one of
random batches, an optimiser by an object that does nothing.
"""

from __future__ import annotations

import ast
import math
import os
import re
import sys
import types
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from aevb.checker.places import STRANGER
from aevb.checker.program.guards import at_most, quiet_options
from aevb.checker.program.names import (
    FREE_CALLS,
    MODEL,
    TABLES,
    Digits,
    data_set,
    loads,
)
from aevb.checker.program.rewriting import HELPERS, rewritten
from aevb.checker.program.source import (
    Source,
    assigned,
    blocks,
    calls,
    default_of,
    file_of,
    last_name,
    outermost,
)
from aevb.checker.program.stand_ins import FakeLoader, StandIn, StandInModule
from aevb.checker.program.vocabulary import size_of
from aevb.checker.session import Session

DEFINITION = ast.Import | ast.ImportFrom | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
USUAL = {
    "torch": torch,
    "nn": nn,
    "F": F,
    "optim": torch.optim,
    "np": np,
    "math": math,
    "os": os,
    "Tensor": torch.Tensor,
}
"""Names that libraries hand on, ``from fastai.vision.all import *``."""


class Program:
    """The file's names, as far as it has run.

    trace: what was done, a sentence each. tried: steps that could not be run, and why. mapping: the
    author's names for roles, where a person gave them. guess: makes modules of which the program
    shows no call. on_retry: called before a part of the program runs again.
    """

    def __init__(
        self, source: Source, session: Session, *, mapping: Mapping[str, str] | None = None
    ) -> None:
        self.source, self.session = source, session
        self.mapping = dict(mapping or {})
        self.names: dict[str, Any] = {
            "__name__": STRANGER,
            "__file__": str(source.path),
            "__builtins__": __builtins__,
        }
        self.trace: list[str] = []
        self.failed: dict[str, BaseException] = {}
        self.tried: list[tuple[str, BaseException]] = []
        self.guess: Callable[[Program], list[tuple[str, nn.Module]]] = lambda _: []
        self.on_retry: Callable[[], None] = lambda: None
        self._looking = False
        self._aside: dict[str, list[ast.stmt]] = {}
        self._running: set[str] = set()
        module = types.ModuleType(STRANGER)
        self.names = module.__dict__ | self.names
        module.__dict__.update(self.names)
        self.names = module.__dict__
        self.names.update(HELPERS)
        session.patches.entry(sys.modules, STRANGER, module)
        if any(
            isinstance(one, ast.ImportFrom) and one.names[0].name == "*"
            for one in ast.walk(source.tree)
        ):
            self.names.update(USUAL)  # what such an import may have brought
        source.tree.body = rewritten(source.tree.body)
        self._put_aside()
        self._start(source.tree.body)

    def _put_aside(self) -> None:
        """Assignments of all blocks by name; those of the module itself come first."""
        for block in blocks(self.source.tree):
            for statement in block:
                for name in assigned(statement):
                    self._aside.setdefault(name, []).append(statement)

    def _start(self, body: list[ast.stmt]) -> None:
        for statement in body:
            if isinstance(statement, DEFINITION):
                self._define(statement)
            elif self._is_cheap(statement):
                self._try(statement)
            elif isinstance(statement, ast.If | ast.Try):
                self._start_inside(statement)

    def _start_inside(self, statement: ast.If | ast.Try) -> None:
        is_main = isinstance(statement, ast.If) and "__name__" in ast.unparse(statement.test)
        cheap = all(self._is_cheap(s) or isinstance(s, DEFINITION) for s in statement.body)
        plain = (
            isinstance(statement, ast.Try)
            or not any(calls(statement.test))
            or self._is_free(statement.test)
        )
        if cheap and plain and not is_main:
            self._try(statement)
        elif not cheap:
            self._start([s for s in statement.body if isinstance(s, DEFINITION)])

    def _is_cheap(self, statement: ast.stmt) -> bool:
        """Constants, names for devices and sizes, options with their defaults."""
        if isinstance(statement, ast.Expr):
            return last_name(statement.value) in ("add_argument", "set_defaults")
        if isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign):
            value = statement.value
            if value is not None and last_name(value) in ("parse_args", "parse_known_args"):
                return True
            return value is not None and self._is_free(value)
        return False

    def _is_free(self, value: ast.AST) -> bool:
        local = {
            n for n, v in self.names.items() if isinstance(v, type) and not issubclass(v, nn.Module)
        }
        return all(last_name(call.func) in FREE_CALLS | local for call in calls(value)) and not any(
            isinstance(node, ast.ListComp | ast.GeneratorExp | ast.Await | ast.Yield)
            for node in ast.walk(value)
        )

    def _define(self, statement: Any) -> None:
        try:
            self._exec(statement)
        except Exception as error:
            if getattr(statement, "decorator_list", None):
                statement.decorator_list = []
                self._try(statement)
            else:
                self._note(statement, error)

    def _try(self, statement: ast.stmt) -> None:
        try:
            self._exec(statement)
        except (Exception, SystemExit) as error:
            self._note(statement, error)

    def _note(self, statement: ast.stmt, error: BaseException) -> None:
        named = (
            getattr(statement, "name", None)
            or ", ".join(assigned(statement))
            or type(statement).__name__
        )
        self.failed[named] = error
        self.note(
            f"line {statement.lineno}: {named} could not be made: {type(error).__name__}: {error}"
        )

    def note(self, line: str) -> None:
        """Add a line to the trace, unless it is there."""
        if line not in self.trace:
            self.trace.append(line)

    def _exec(self, statement: ast.stmt, seconds: float = 5.0) -> None:
        with at_most(seconds), quiet_options():
            exec(compile(ast.Module([statement], []), file_of(statement), "exec"), self.names)

    def run(self, action: Callable[[], Any], tries: int = 60) -> Any:
        """Call ``action``; whenever it asks for a name that is not there, get that and call it
        again."""
        for _ in range(tries):
            try:
                return action()
            except NameError as error:
                name = error.name or ""
                if isinstance(error, UnboundLocalError) or not name or name in self.names:
                    raise
                self.names[name] = self.get(name)
                self.on_retry()
        raise RuntimeError("names could not be resolved")

    def execute(self, statement: ast.stmt, seconds: float = 10.0) -> None:
        """Run a statement of the program, with the names it needs."""
        code = compile(ast.Module([statement], []), file_of(statement), "exec")
        with at_most(seconds):
            self.run(lambda: exec(code, self.names))

    def evaluate(self, expression: ast.expr) -> Any:
        """The value of an expression of the program, with the names it needs."""
        code = compile(ast.Expression(expression), file_of(expression), "eval")
        with at_most(10), quiet_options():
            return self.run(lambda: eval(code, self.names))

    def get(self, name: str) -> Any:
        """The value of a name: made by the statement that was put aside for it, or a stand-in."""
        if name in self.names:
            return self.names[name]
        if name in self._running:
            return self.stand_in(name)
        self._running.add(name)
        try:
            with self.session.unrecorded():
                return self._make(name)
        finally:
            self._running.discard(name)

    def _make(self, name: str) -> Any:
        if re.search(rf"\b{name}\.train\.(next_batch|images)", self.source.text):
            return self.session.make(Digits)
        for statement in self._aside.get(name, ()):
            if any(last_name(call.func) == "DataLoader" for call in calls(statement)):
                return self.session.make(FakeLoader)
            try:
                with quiet_options():
                    self.execute(statement, seconds=5)
                value = self.names[name]
            except (Exception, SystemExit) as error:
                self._note(statement, error)
                self.names.pop(name, None)
                continue
            loaded = loads(list(calls(statement)))
            bare = (
                isinstance(value, torch.Tensor) and not value.numel()
            )  # of rows that were to come from a file
            loaded = loaded and not isinstance(value, nn.Module) and not getattr(value, "ndim", 0)
            if (loaded or bare) and len(self.session.batch.x):
                value = self.names[name] = self.session.batch.x.clone()
            if isinstance(value, StandIn) and not isinstance(value, StandInModule):
                self.names.pop(name, None)
                continue
            self._attributes(name)
            return value
        return self.stand_in(name)

    def _attributes(self, name: str) -> None:
        """Run assignments to attributes of ``name``, ``criterion.size_average = False``, and calls
        that add options to it."""
        for block in blocks(self.source.tree):
            for statement in block:
                if isinstance(statement, ast.Expr) and re.match(
                    rf"{name}\.(add_argument|set_defaults)\(", ast.unparse(statement)
                ):
                    self._try(statement)
                if isinstance(statement, ast.Assign) and any(
                    isinstance(t, ast.Attribute)
                    and isinstance(t.value, ast.Name)
                    and t.value.id == name
                    for t in statement.targets
                ):
                    self._try(statement)

    def stand_in(self, name: str) -> Any:
        """Something to put in the place of a name that could not be made."""
        found = data_set(self.session, name, self.source.text) or self.session.named(name)
        if found is not None:
            return found
        made = [call for one in self._aside.get(name, ()) for call in calls(one)]
        if any(TABLES.match(ast.unparse(call.func)) for call in made):
            return size_of(name)
        if loads(made) and len(self.session.batch.x):
            return self.session.batch.x.clone()
        model = self.model_named(name)
        return model if model is not None else self._default(name)

    def _default(self, name: str) -> Any:
        """What a function of the program takes for a parameter of that name, in which case a local
        name of another is meant."""
        default = default_of(self.source.tree, name)
        try:
            if default is not None:
                return self.evaluate(default)
        except Exception:  # whatever a stranger's default does
            pass
        return self.session.make(StandIn, name)

    def model_named(self, name: str) -> nn.Module | None:
        """A module that the program makes, if ``name`` sounds like one."""
        if not MODEL.search(name):
            return None
        if self._looking:
            return None
        self._looking = True
        try:
            models = self.modules() or self.guess(self)
        finally:
            self._looking = False
        return models[0][1] if models else None

    def modules(self) -> list[tuple[str, nn.Module]]:
        """Modules that the program's own calls make, by name, each a new one; the outermost class
        first."""
        found = []
        classes = self.classes()
        for name, statements in self._aside.items():
            for statement in statements:
                made = getattr(statement, "value", None)
                own = classes.keys() | (self.functions().keys() if MODEL.search(name) else set())
                inside = (
                    [call for call in outermost(made) if last_name(call.func) in own]
                    if made is not None
                    else []
                )
                if made is not None and inside:
                    trains = inside[0] is not inside[-1] or last_name(made) not in own
                    trains = trains and last_name(made) in self.functions()
                    module = (
                        self._module(inside[-1])
                        if trains
                        else self.names.get(name) or self.get(name)
                    )
                    if isinstance(module, nn.Module):
                        found.append((name, module))
                    break
        return found

    def _module(self, call: ast.Call) -> Any:
        """A module from the call that makes it, without what is then done with it: ``train(VAE(20),
        data)``."""
        try:
            return self.evaluate(call)
        except Exception as error:
            self.note(
                f"line {call.lineno}: {ast.unparse(call)} could not be made:"
                f" {type(error).__name__}: {error}"
            )
            return None

    def classes(self) -> dict[str, type[nn.Module]]:
        """The program's own classes of modules, in order."""
        return {
            name: value
            for name, value in self.names.items()
            if isinstance(value, type)
            and issubclass(value, nn.Module)
            and value.__module__ == STRANGER
        }

    def plain_classes(self) -> dict[str, type]:
        """The program's own classes that are no modules: trainers, solvers."""
        own = {
            name: value
            for name, value in self.names.items()
            if isinstance(value, type) and value.__module__ == STRANGER
        }
        return {name: value for name, value in own.items() if not issubclass(value, nn.Module)}

    def functions(self) -> dict[str, Callable[..., Any]]:
        """The program's own functions, in order."""
        return {
            name: value
            for name, value in self.names.items()
            if isinstance(value, types.FunctionType) and value.__module__ == STRANGER
        }
