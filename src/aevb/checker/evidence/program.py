"""Evidence from the text of a program."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

from aevb.checker.program.source import calls, last_name, place_of
from aevb.checker.program.vocabulary import DECODER

if TYPE_CHECKING:
    from aevb.checker.evidence.evidence import Judged
    from aevb.checker.places import Place
    from aevb.checker.steps.candidates import RecordedStep

UNIFORM = {"rand", "rand_like", "uniform_", "random_sample", "uniform"}


@dataclass
class ProgramEvidence:
    """A program, and its step if one could be run."""

    program: Judged
    step: RecordedStep | None

    @cached_property
    def decoders(self) -> set[str]:
        """Names of the author's functions and attributes that are called on z."""
        out: set[str] = set()
        if self.step is None:
            return out
        for parts in self.step.parts:
            maker = self.step.tape.made_by(parts.z)
            for entered in map(self.step.tape.made_by, parts.entrances):
                if maker is not None and entered is not None:
                    out |= set(entered.functions) - set(maker.functions)
                    out |= self._methods_on(entered.place)
        return out - {"forward", "__call__"}

    def _methods_on(self, place: Place | None) -> set[str]:
        """Methods and attributes of ``self`` that are called at the place."""
        own = (node for node in calls(self.program.source.tree) if place_of(node) == place)
        return {last_name(one.func) for one in own if ast.unparse(one.func).startswith("self.")}

    @cached_property
    def uniform_z(self) -> Place | None:
        """The place of uniform draws that are decoded: ``decode(torch.rand(n, 20))``.

        The draws may also be assigned to a name first.
        """
        for node in ast.walk(self.program.source.tree):
            if isinstance(node, ast.Module | ast.FunctionDef):
                place = _decoded_uniform(node.body, self.decoders)
                if place is not None:
                    return place
        return None


def _decoded_uniform(body: list[ast.stmt], decoders: set[str]) -> Place | None:
    """The place of uniform numbers that a statement in the body decodes."""
    uniform: dict[str, Place] = {}
    for node in _in_order(body):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            _remember(uniform, node.targets[0].id, node)
        place = _decoded(node, uniform, decoders)
        if place is not None:
            return place
    return None


def _remember(uniform: dict[str, Place], name: str, node: ast.Assign) -> None:
    """Keep the place where the name got uniform numbers; forget it when the name gets others."""
    value = node.value
    if _is_uniform(value):
        uniform[name] = place_of(node)
    elif isinstance(value, ast.Name) and value.id in uniform:
        uniform[name] = uniform[value.id]
    elif not any(isinstance(one, ast.Name) and one.id in uniform for one in ast.walk(value)):
        uniform.pop(name, None)


def _in_order(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The statements of a function, including those in its loops and conditions."""
    for statement in body:
        if isinstance(statement, ast.FunctionDef | ast.ClassDef):
            continue
        inner = [getattr(statement, name, []) for name in ("body", "orelse", "finalbody")]
        for part in inner:
            yield from _in_order(part)
        if not any(inner):
            yield statement


def _is_uniform(value: ast.expr) -> bool:
    """Whether the value is uniform numbers, perhaps shifted and scaled, but not transformed."""
    names = [last_name(call.func) for call in calls(value)]
    changed = any(re.search(r"ppf|icdf|erfinv|log", n) or DECODER.match(n) for n in names)
    return (
        bool(UNIFORM & set(names)) and not changed and not any(map(_adds_a_name, ast.walk(value)))
    )


def _adds_a_name(node: ast.AST) -> bool:
    """Whether the node combines a draw with something that has a name, such as a mean."""
    sides = (node.left, node.right) if isinstance(node, ast.BinOp) else ()
    bare = (side for side in sides if not any(calls(side)))
    return any(isinstance(one, ast.Name) for side in bare for one in ast.walk(side))


def _decoded(statement: ast.stmt, uniform: dict[str, Place], decoders: set[str]) -> Place | None:
    """The place of uniform numbers that the statement gives to a decoder."""
    for call in calls(statement):
        name = last_name(call.func)
        if not call.args or not (name in decoders or DECODER.match(name)):
            continue
        first = call.args[0]
        if _is_uniform(first):
            return place_of(first)
        names = [n.id for n in ast.walk(first) if isinstance(n, ast.Name) and n.id in uniform]
        if names and not any(map(_is_a_quantile, calls(first))):
            return uniform[names[0]]
    return None


def _is_a_quantile(call: ast.Call) -> bool:
    """Whether the call turns uniform numbers into normal ones."""
    return bool(re.search(r"ppf|icdf|erfinv", last_name(call.func)))
