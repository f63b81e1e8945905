"""What one recorded step shows: its parts, its sampler measured, and where in the program things
stand."""

from __future__ import annotations

import ast
import gc
from dataclasses import dataclass, field
from functools import cached_property
from typing import Protocol

from torch import Tensor, nn

from aevb.checker.findings.readings import sampler_reading
from aevb.checker.places import Place
from aevb.checker.program.rewriting import ROWS
from aevb.checker.program.source import Source, covers
from aevb.checker.report import Finding
from aevb.checker.steps.steps import Step
from aevb.checker.tape.measure import Sampled, Slopes, kl_slopes, right_kl_slopes, sampled, settings
from aevb.checker.tape.parts import Parts
from aevb.checker.tape.tape import Entry, Tape

Points = list[tuple[Tensor, Tensor]]
WHOLE_LINE, POSITIVE = (-2.5, 1.8), (0.2, 2.0)
"""Settings of the raw head: where it may be any number; where a negative one is no deviation or
variance."""


class Judged(Protocol):
    """What is judged: a program, or a model of this process. trace: how, a sentence each. mapping:
    names for roles."""

    source: Source
    trace: list[str]
    mapping: dict[str, str]


@dataclass
class Evidence:
    """parts: those of the VAE on the step's tape. seed: of the settings that are tried."""

    program: Judged
    step: Step
    parts: Parts
    seed: int
    notes: list[str] = field(default_factory=list)

    @property
    def tape(self) -> Tape:
        """The step's."""
        return self.step.tape

    @cached_property
    def rows(self) -> int:
        """Rows of the batch: as many as were given, unless the program chose its own."""
        shape = self.tape.shown(self.parts.z).shape
        if ROWS in shape or not shape:
            return ROWS
        return shape[1] if len(shape) > 2 and shape[0] == self.parts.draws else shape[0]

    @cached_property
    def on_the_whole_line(self) -> Sampled:
        """The sampler where the raw head is any number."""
        return sampled(self.tape, self.parts, settings(self.parts.n, *WHOLE_LINE, self.seed))

    @cached_property
    def may_be_negative(self) -> bool:
        """Whether the deviation takes the sign of the raw head, or is no number below 0."""
        whole = self.on_the_whole_line
        below, above = whole.s[whole.r < -0.05], whole.s[whole.r > 0.05]
        sign = (
            1.0 if float(above.nanmedian()) > 0 else -1.0
        )  # mu - std * eps is as good as mu + std * eps
        return (
            bool((below.isnan() | (sign * below < 0)).float().mean() > 0.9)
            if below.numel()
            else False
        )

    @cached_property
    def points(self) -> Points:
        """Settings of the heads at which the KL is measured."""
        return settings(
            self.parts.n, *(POSITIVE if self.may_be_negative else WHOLE_LINE), self.seed
        )

    @cached_property
    def sampler(self) -> Sampled:
        """The sampler at the same settings."""
        return sampled(self.tape, self.parts, self.points)

    @cached_property
    def reading(self) -> tuple[str, float]:
        """How the sampler reads the raw head, and a factor of its deviation."""
        return sampler_reading(self.sampler)

    @cached_property
    def right(self) -> Slopes:
        """Gradients of the KL that fits the sampler."""
        return right_kl_slopes(self.tape, self.parts, self.points)

    def slopes(self, value: int, *, transparent: bool = True) -> Slopes:
        """Gradients of a value of the tape with respect to the heads, decoder held still."""
        return kl_slopes(self.tape, self.parts, value, self.points, transparent=transparent)

    def place(self, value: int) -> Place | None:
        """The place in the program that made the value."""
        entry = self.tape.made_by(value)
        return entry.place if entry else None

    def named(self, value: int) -> str:
        """What the program calls the value: the target of the assignment, else the function that
        made it."""
        place = self.place(value)
        return "" if place is None else name_at(self.program.source.tree, place)

    @cached_property
    def modules(self) -> list[nn.Module]:
        """All modules of this process: a program need not give its model a name."""
        return [one for one in gc.get_objects() if issubclass(type(one), nn.Module)]

    def layer(self, value: int) -> str:
        """What the program calls the layer that made the value: "fc_mu", "encoder.head"; "" for
        what no layer made."""
        entry = self.tape.made_by(value)
        own = (
            [self.tape.values[v] for v in entry.inputs if v in self.tape.parameters]
            if entry is not None
            else []
        )
        return attribute_of(own[0], self.modules) if own else ""

    def makers(self, values: list[int]) -> list[Entry]:
        """The entries that made the values."""
        return [entry for entry in map(self.tape.made_by, values) if entry is not None]

    def finding(
        self,
        check: str,
        verdict: str,
        class_: str,
        message: str,
        measured: str,
        expected: str,
        value: int,
    ) -> Finding:
        """A finding at the place that made ``value``."""
        place = self.place(value)
        return Finding(check, verdict, class_, message, measured, expected).at(place)


def attribute_of(parameter: Tensor, modules: list[nn.Module]) -> str:
    """The attribute under which a module keeps the layer that has the parameter."""
    names: list[str] = []
    inner = next((m for m in modules if any(p is parameter for p in m._parameters.values())), None)
    while inner is not None and len(names) < 4:
        found = next(
            ((m, name) for m in modules for name, child in m._modules.items() if child is inner),
            None,
        )
        if found is None:
            break
        inner, name = found
        names.insert(0, name)
        if not name.isdigit():  # the place in a Sequential says little by itself
            break
    return ".".join(names)


def name_at(tree: ast.AST, place: Place) -> str:
    """The name that a statement at the place assigns to, after the function that it stands in:
    "forward: mu"."""
    best: ast.stmt | None = None
    inside = ""
    for node in ast.walk(tree):
        if not isinstance(node, ast.stmt) or not covers(node, place):
            continue
        if isinstance(node, ast.FunctionDef):
            inside = node.name
        elif not hasattr(node, "body"):
            best = node
    target = ""
    if isinstance(best, ast.Assign | ast.AnnAssign | ast.AugAssign):
        target = ast.unparse(best.targets[0] if isinstance(best, ast.Assign) else best.target)
    return f"{target} in {inside}" if inside and target else target or inside
