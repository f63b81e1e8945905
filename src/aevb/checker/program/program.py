"""A stranger's program: definitions and constants run at once, other statements on demand.

Training loops, loading and other calls are put aside. A statement that was put aside runs when a
name that it assigns is needed: ``model = VAE(784, 20)`` runs if a training step needs ``model``. If
it cannot run, the name gets a stand-in: a loader of random batches, an optimiser that does nothing.
"""

from __future__ import annotations

import argparse
import ast
import contextlib
import math
import os
import re
import signal
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aevb.checker.places import STRANGER
from aevb.checker.program import source as syntax
from aevb.checker.program import stand_ins
from aevb.checker.program import vocabulary as words
from aevb.checker.program.rewriting import HELPERS, rewritten
from aevb.checker.program.siblings import file_of
from aevb.checker.session import Patches, Session

DEFINITION = ast.Import | ast.ImportFrom | ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
OPTIONS, PARSED = ("add_argument", "set_defaults"), ("parse_args", "parse_known_args")
USUAL = {
    "torch": torch, "nn": nn, "F": F, "optim": torch.optim, "np": np, "math": math, "os": os,
    "Tensor": torch.Tensor,
}  # fmt: skip
"""Names that an import such as ``from fastai.vision.all import *`` may bring."""


class OutOfTimeError(Exception):
    """A part of the program took longer than its time limit."""


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Raise OutOfTimeError in the block if it takes longer.

    It does nothing outside the main thread of a Unix process.
    """

    def stop(*_: Any) -> None:
        raise OutOfTimeError(f"took longer than {seconds:g} s")

    try:
        before = signal.signal(signal.SIGALRM, stop)
    except (ValueError, AttributeError):  # not the main thread, or no such signal
        yield
        return
    began = time.monotonic()
    left, _ = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if left:  # time of a limit around this one
            signal.setitimer(signal.ITIMER_REAL, max(0.01, left - (time.monotonic() - began)))


@contextmanager
def quiet_options() -> Iterator[None]:
    """Let argparse work without a command line: no option is required, and ours are hidden."""
    add = argparse.ArgumentParser.add_argument

    def never_required(self: argparse.ArgumentParser, *names: Any, **settings: Any) -> Any:
        if names and str(names[0]).startswith("-"):
            settings.pop("required", None)
        else:
            settings.update(nargs="?")
        return add(self, *names, **settings)

    with Patches() as patches:
        patches.attribute(sys, "argv", [STRANGER])
        patches.attribute(argparse.ArgumentParser, "add_argument", never_required)
        parse = lambda self, *_, **__: self.parse_known_args([])[0]  # noqa: E731
        patches.attribute(argparse.ArgumentParser, "parse_args", parse)
        yield


class Program:
    """The names that the file has defined so far.

    trace: sentences for people about what was done. tried: steps that could not be run, and why.
    mapping: role -> the author's name, from a person. guess: makes modules that the program's own
    calls do not make. on_retry: called before a part of the program runs again.
    """

    def __init__(
        self, source: syntax.Source, session: Session, *, mapping: Mapping[str, str] | None = None
    ) -> None:
        self.source, self.tree, self.session = source, source.tree, session
        self.mapping = dict(mapping or {})
        self.trace: list[str] = []
        self.failed: dict[str, BaseException] = {}
        self.tried: list[tuple[str, BaseException]] = []
        self.guess: Callable[[Program], list[tuple[str, nn.Module]]] = lambda _: []
        self.on_retry: Callable[[], None] = lambda: None
        self._looking = False
        self._running: set[str] = set()
        module = ModuleType(STRANGER)
        self.names: dict[str, Any] = module.__dict__
        self.names |= {"__file__": str(source.path), "__builtins__": __builtins__, **HELPERS}
        session.patches.entry(sys.modules, STRANGER, module)
        if any(one.names[0].name == "*" for one in syntax.each(self.tree, ast.ImportFrom)):
            self.names |= USUAL  # such an import may have brought them
        self.tree.body = rewritten(self.tree.body)
        self._aside: dict[str, list[ast.stmt]] = {}
        for statement in syntax.statements(self.tree):  # those of the module itself come first
            for name in syntax.assigned(statement):
                self._aside.setdefault(name, []).append(statement)
        self._start(self.tree.body)

    def _start(self, body: list[ast.stmt]) -> None:
        for statement in body:
            if isinstance(statement, DEFINITION):
                self._define(statement)
            elif self._is_cheap(statement):
                self._try(statement)
            elif isinstance(statement, ast.If | ast.Try):
                self._start_inside(statement)

    def _start_inside(self, statement: ast.If | ast.Try) -> None:
        test = statement.test if isinstance(statement, ast.If) else ast.Constant(True)
        if not all(self._is_cheap(s) or isinstance(s, DEFINITION) for s in statement.body):
            self._start([s for s in statement.body if isinstance(s, DEFINITION)])
        elif "__name__" not in ast.unparse(test) and (
            not syntax.called_names(test) or self._is_free(test)
        ):
            self._try(statement)

    def _is_cheap(self, statement: ast.stmt) -> bool:
        """Whether the statement only makes a constant, a device, a size or an option."""
        value = getattr(statement, "value", None)
        if isinstance(statement, ast.Expr):
            return syntax.last_name(statement.value) in OPTIONS
        gives = isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign)
        return (
            gives
            and value is not None
            and (syntax.last_name(value) in PARSED or self._is_free(value))
        )

    def _is_free(self, value: ast.AST) -> bool:
        """Whether an expression calls only FREE_CALLS and the program's own plain classes."""
        work = ast.ListComp | ast.GeneratorExp | ast.Await | ast.Yield
        if any(isinstance(node, work) for node in ast.walk(value)):
            return False
        kinds = {name: one for name, one in self.names.items() if isinstance(one, type)}
        tables = {name for name, one in kinds.items() if not issubclass(one, nn.Module)}
        return syntax.called_names(value) <= words.FREE_CALLS | tables

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
        own = getattr(statement, "name", None) or ", ".join(syntax.assigned(statement))
        name = own or type(statement).__name__
        self.failed[name] = error
        self.not_made(name, error, statement)

    def not_made(
        self, what: str, error: BaseException, node: ast.stmt | ast.expr | None = None
    ) -> None:
        """Add a line to the trace, unless it is there, about something that could not be made.

        Args:
            what: its name.
            error: the reason.
            node: its place in the program.
        """
        place = f"line {node.lineno}: " if node is not None else ""
        line = f"{place}{what} could not be made: {type(error).__name__}: {error}"
        if line not in self.trace:
            self.trace.append(line)

    def _exec(self, statement: ast.stmt, seconds: float = 5.0) -> None:
        with at_most(seconds), quiet_options():
            exec(compile(ast.Module([statement], []), file_of(statement), "exec"), self.names)

    def run(self, action: Callable[[], Any], tries: int = 60) -> Any:
        """Call ``action``; if a name is missing, get its value and call again."""
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
        """Return the value of an expression of the program, with the names it needs."""
        code = compile(ast.Expression(expression), file_of(expression), "eval")
        with at_most(10), quiet_options():
            return self.run(lambda: eval(code, self.names))

    def get(self, name: str) -> Any:
        """Return the value of a name: by the statement that was put aside, or a stand-in."""
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
            return self.session.make(stand_ins.Digits)
        for statement in self._aside.get(name, ()):
            if "DataLoader" in syntax.called_names(statement):
                return self.session.make(stand_ins.FakeLoader)
            try:
                with quiet_options():
                    self.execute(statement, seconds=5)
                value = self._or_rows(self.names[name], statement)
            except (Exception, SystemExit) as error:
                self._note(statement, error)
                self.names.pop(name, None)
                continue
            if isinstance(value, stand_ins.StandIn):
                self.names.pop(name, None)
                continue
            self.names[name] = value
            self._attributes(name)
            return value
        return self.stand_in(name)

    def _or_rows(self, value: Any, statement: ast.stmt) -> Any:
        """The value, or the rows of the batch in place of data from a file."""
        bare = isinstance(value, Tensor) and not value.numel()
        shapeless = not isinstance(value, nn.Module) and not getattr(value, "ndim", 0)
        loaded = shapeless and stand_ins.loads(list(syntax.calls(statement)))
        rows = self.session.batch.x
        return rows.clone() if (loaded or bare) and len(rows) else value

    def _attributes(self, name: str) -> None:
        """Run assignments to attributes of ``name``, and calls that add options to it."""
        for statement in syntax.statements(self.tree):
            if isinstance(statement, ast.Expr):
                said = ast.unparse(statement)
                if said.startswith(tuple(f"{name}.{option}(" for option in OPTIONS)):
                    self._try(statement)
            if isinstance(statement, ast.Assign):
                owners = [getattr(t, "value", None) for t in statement.targets if _is_attribute(t)]
                if name in [one.id for one in owners if isinstance(one, ast.Name)]:
                    self._try(statement)

    def stand_in(self, name: str) -> Any:
        """Return a value for a name that could not be made."""
        named = stand_ins.data_set(self.session, name, self.source.text) or self.session.named(name)
        if named is not None:
            return named
        made = [call for one in self._aside.get(name, ()) for call in syntax.calls(one)]
        if any(words.TABLES.match(ast.unparse(call.func)) for call in made):
            return words.size_of(name)
        if stand_ins.loads(made) and len(self.session.batch.x):
            return self.session.batch.x.clone()
        model = self.model_named(name)
        return model if model is not None else self._default(name)

    def _default(self, name: str) -> Any:
        """The default of a function's parameter with that name, else a plain stand-in."""
        default = syntax.default_of(self.tree, name)
        with contextlib.suppress(Exception):  # whatever a stranger's default does
            if default is not None:
                return self.evaluate(default)
        return self.session.make(stand_ins.StandIn, name)

    def model_named(self, name: str) -> nn.Module | None:
        """Return a module that the program makes, if ``name`` sounds like one."""
        if self._looking or not words.MODEL.search(name):
            return None
        self._looking = True
        try:
            models = self.modules() or self.guess(self)
        finally:
            self._looking = False
        return models[0][1] if models else None

    def modules(self) -> list[tuple[str, nn.Module]]:
        """Return the modules that the program's own calls make, with their names."""
        found, classes = [], self.classes().keys()
        for name, made in self._aside.items():
            for value in (getattr(statement, "value", statement) for statement in made):
                own = classes | (self.functions().keys() if words.MODEL.search(name) else set())
                inside = [
                    one for one in syntax.outermost(value) if syntax.last_name(one.func) in own
                ]
                if inside:
                    module = self._made_by(name, value, inside, own)
                    found += [(name, module)] if isinstance(module, nn.Module) else []
                    break
        return found

    def _made_by(self, name: str, value: Any, inside: list[ast.Call], own: set[str]) -> Any:
        """The module called ``name``; of ``train(VAE(20), data)`` only ``VAE(20)`` is run.

        value: the assigned expression. inside: calls in it that make a module, from outside in.
        own: names of the program's functions and classes that may make one.
        """
        wrapped = inside[0] is not inside[-1] or syntax.last_name(value) not in own
        if not (wrapped and syntax.last_name(value) in self.functions()):
            return self.names.get(name) or self.get(name)
        try:
            return self.evaluate(inside[-1])
        except Exception as error:
            self.not_made(ast.unparse(inside[-1]), error, inside[-1])
            return None

    def classes(self) -> dict[str, type[nn.Module]]:
        """Return the program's own classes of modules, in order."""
        return {name: kind for name, kind in self._kinds() if issubclass(kind, nn.Module)}

    def plain_classes(self) -> dict[str, type]:
        """Return the program's own classes that are not modules, such as trainers."""
        return {name: kind for name, kind in self._kinds() if not issubclass(kind, nn.Module)}

    def _kinds(self) -> Iterator[tuple[str, type]]:
        kinds = ((name, value) for name, value in self.names.items() if isinstance(value, type))
        return ((name, kind) for name, kind in kinds if kind.__module__ == STRANGER)

    def functions(self) -> dict[str, Callable[..., Any]]:
        """Return the program's own functions, in order."""
        found = ((n, value) for n, value in self.names.items() if isinstance(value, FunctionType))
        return {name: value for name, value in found if value.__module__ == STRANGER}


def _is_attribute(target: ast.expr) -> bool:
    return isinstance(target, ast.Attribute)
