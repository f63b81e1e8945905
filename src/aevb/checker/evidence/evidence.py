"""The evidence of one recorded step: what rules may ask for, measured when they ask.

The latent sample is z = m + s * eps. The heads are the outputs of layers that z is made of: the
mean's head, and the raw head, from which the standard deviation s ("deviation") is computed. A
reading says how: the raw head is a logvar, a log sigma, a softplus. Slopes are gradients with
respect to the heads.
"""

from __future__ import annotations

import ast
import gc
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Protocol
from weakref import proxy

from torch import Tensor, nn

from aevb.checker.evidence import by_names, sampling, weighing
from aevb.checker.evidence.divergence import Divergence, measured, misread
from aevb.checker.evidence.readings import recognise, sampler_reading
from aevb.checker.places import Place
from aevb.checker.program.source import covers
from aevb.checker.program.vocabulary import KL, ROWS
from aevb.checker.rules import Seen
from aevb.checker.tape.measure import (
    Reconstruction,
    Sampled,
    Slopes,
    kl_slopes,
    ratio,
    right_kl_slopes,
    sampled,
    settings,
)

if TYPE_CHECKING:
    from aevb.checker.program.source import Source
    from aevb.checker.session import Session
    from aevb.checker.steps.candidates import RecordedStep
    from aevb.checker.tape.parts import Parts
    from aevb.checker.tape.tape import Entry, Tape

Points = list[tuple[Tensor, Tensor]]
WHOLE_LINE, POSITIVE = (-2.5, 1.8), (0.2, 2.0)
"""Ranges of raw heads; POSITIVE for a head that is itself the deviation or the variance."""
MOST_POINTS = 400
"""The most points of each kind in a fingerprint."""


class Judged(Protocol):
    """A program, or a model of this process. trace: how it was run. mapping: role -> name."""

    source: Source
    session: Session
    trace: list[str]
    mapping: dict[str, str]


@dataclass
class StepEvidence:
    """A recorded step, and the places in the program that made its values."""

    program: Judged
    step: RecordedStep
    seed: int

    @property
    def tape(self) -> Tape:
        """The step's tape."""
        return self.step.tape

    def place(self, value: int) -> Place | None:
        """The place in the program that made the value."""
        entry = self.tape.made_by(value)
        return entry.place if entry else None

    def at(
        self,
        value: int,
        message: str,
        *figures: str,
        class_: str = "",
        verdict: str = "",
        check: str = "",
    ) -> Seen:
        """Make a ``Seen`` at the place that made the value. figures: measured, expected."""
        measured, expected = (*figures, "", "")[:2]
        return Seen(message, measured, expected, self.place(value), class_, verdict, check)

    def named(self, value: int) -> str:
        """The program's name for the value, and the function that assigns it."""
        place = self.place(value)
        return "" if place is None else name_at(self.program.source.tree, place)

    @cached_property
    def modules(self) -> list[nn.Module]:
        """All modules of this process, since a program's model may have no name."""
        return [one for one in gc.get_objects() if issubclass(type(one), nn.Module)]

    def layer(self, value: int) -> str:
        """The program's name for the layer that made the value, such as "encoder.head", or ""."""
        own = [v for one in self.makers([value]) for v in one.inputs if v in self.tape.parameters]
        return attribute_of(self.tape.values[own[0]], self.modules) if own else ""

    def makers(self, values: list[int]) -> list[Entry]:
        """The calls that made the values."""
        return [entry for entry in map(self.tape.made_by, values) if entry is not None]


@dataclass
class Evidence(StepEvidence):
    """The evidence of one latent sample.

    parts: the parts of its VAE. spread: for a sampler that was run alone, its parameter from which
    the deviation is computed. Cached objects refer back by proxies, so that the step is freed with
    the evidence.
    """

    parts: Parts
    spread: str = ""

    def __post_init__(self) -> None:
        self._slopes: dict[tuple[int, bool], Slopes] = {}

    @cached_property
    def rows(self) -> int:
        """The number of rows in the batch: ROWS, unless the program chose another."""
        shape = self.tape.shown(self.parts.z).shape
        if ROWS in shape or not shape:
            return ROWS
        return shape[1] if len(shape) > 2 and shape[0] == self.parts.draws else shape[0]

    def at_z(self, message: str, *figures: str, **more: str) -> Seen:
        """Make a ``Seen`` at the place that made z."""
        return self.at(self.parts.z, message, *figures, **more)

    # The sampler.

    @cached_property
    def on_the_whole_line(self) -> Sampled:
        """The sampler, measured with raw heads of either sign."""
        return sampled(self.tape, self.parts, settings(self.parts.n, *WHOLE_LINE, self.seed))

    @cached_property
    def may_be_negative(self) -> bool:
        """Whether a negative raw head makes the deviation negative, or not a number."""
        whole = self.on_the_whole_line
        below, above = whole.s[whole.r < -0.05], whole.s[whole.r > 0.05]
        if not below.numel():
            return False
        # mu - std * eps is as good as mu + std * eps.
        sign = 1.0 if float(above.nanmedian()) > 0 else -1.0
        return bool((below.isnan() | (sign * below < 0)).float().mean() > 0.9)

    @cached_property
    def points(self) -> Points:
        """Settings of the heads at which the KL is measured."""
        span = POSITIVE if self.may_be_negative else WHOLE_LINE
        return settings(self.parts.n, *span, self.seed)

    @cached_property
    def sampler(self) -> Sampled:
        """The sampler, measured at ``points``."""
        return sampled(self.tape, self.parts, self.points)

    @cached_property
    def reading(self) -> tuple[str, float]:
        """How the sampler reads the raw head, and the factor on its deviation."""
        return sampler_reading(self.sampler)

    @property
    def exact_reading(self) -> str:
        """The reading where its factor is 1, otherwise ""."""
        return self.reading[0] if self.reading[1] == 1.0 else ""

    noise = cached_property(sampling.noise_of)
    """The moments of the noise, and whether rows or dimensions share it."""

    @cached_property
    def heads(self) -> sampling.Heads:
        """The heads, what limits them, and whether one layer gives both."""
        return sampling.Heads(proxy(self))

    @cached_property
    def names(self) -> by_names.Names:
        """The evidence from the names of the program."""
        return by_names.Names(proxy(self))

    # The loss and its two terms.

    @property
    def loss(self) -> int | None:
        """The step's loss."""
        return self.step.loss

    @cached_property
    def kept_kl(self) -> int | None:
        """A KL that a module keeps as an attribute, ``self.kl``, if no loss was found."""
        if self.loss is not None:
            return None
        for module in self.modules:
            for name, value in vars(module).items():
                found = KL.search(name) and isinstance(value, Tensor) and value.numel() == 1
                known = self.tape.known(value) if found and value.requires_grad else None
                if known is not None:  # modules of an earlier look may still be there
                    return known
        return None

    @cached_property
    def with_kl(self) -> int | None:
        """The value that should hold the KL: the loss, or a KL that a module keeps.

        It is None if only a sampler was named: then the loss is ours, and has no KL.
        """
        given = self.program.mapping
        if self.loss is not None and "sampler" in given and not {"kl", "loss"} & given.keys():
            return None
        return self.kept_kl if self.loss is None else self.loss

    def slopes(self, value: int, *, transparent: bool = True) -> Slopes:
        """Gradients of a value with respect to the heads, with the decoder's output constant."""
        key = value, transparent
        if key not in self._slopes:
            self._slopes[key] = kl_slopes(
                self.tape, self.parts, value, self.points, transparent=transparent
            )
        return self._slopes[key]

    @cached_property
    def right(self) -> Slopes:
        """Gradients of the KL that fits the sampler.

        A KL may leave out what is added to the mean, such as the code of a class. If it does,
        so does the result.
        """
        right = right_kl_slopes(self.tape, self.parts, self.points)
        if not self.parts.shifted or self.with_kl is None:
            return right
        slopes = self.slopes(self.with_kl)
        if not recognise(slopes, right, self.exact_reading).class_:
            return right
        other = right_kl_slopes(self.tape, self.parts, self.points, moved=False)
        fits = not recognise(slopes, other, self.exact_reading).class_
        return other if fits else right

    @cached_property
    def divergence(self) -> Divergence | None:
        """What is known about the KL; None if there is no KL to judge."""
        return None if self.with_kl is None else measured(self, self.with_kl)

    @property
    def negative_deviation(self) -> bool:
        """Whether the KL is right apart from a deviation that may be negative."""
        d = self.divergence
        right = d is not None and self.loss is not None and d.counts and d.kl.class_ == ""
        return right and self.may_be_negative

    misread = cached_property(misread)
    """How the sampler and the KL read the raw head; None unless they differ."""

    @cached_property
    def error(self) -> Reconstruction | None:
        """The reconstruction error in the loss, if it has a known form."""
        return None if self.loss is None else weighing.error_of(self, self.loss)

    @cached_property
    def weights(self) -> weighing.Weights | None:
        """The weights of the KL and of the error; None where there is no KL to weigh."""
        return weighing.weighed(proxy(self))

    def fingerprint(self) -> dict[str, list[float]]:
        """The measured sampler and KL, as plain numbers for a picture.

        head, deviation: settings of the raw head, and the deviation of z there. right_mean,
        right_deviation: gradients of the right KL with respect to the two heads. seen_mean,
        seen_deviation: those of the loss, divided by factor, their least-squares ratio to the
        right ones.
        """
        found = dict(
            zip(("head", "deviation"), _finite(self.sampler.r, self.sampler.s.abs()), strict=True)
        )
        if self.loss is None:
            return found
        seen, right = self.slopes(self.loss), self.right
        factor = ratio(seen.both, right.both)[0]
        found["factor"] = [factor]
        scale = factor if abs(factor) > 1e-12 else 1.0
        pairs = {"mean": (right.by_a, seen.by_a), "deviation": (right.by_r, seen.by_r)}
        for name, (own, other) in pairs.items():
            found[f"right_{name}"], found[f"seen_{name}"] = _finite(own, other / scale)
        return found


def _finite(a: Tensor, b: Tensor) -> tuple[list[float], list[float]]:
    """Up to MOST_POINTS pairs of elements that are both finite."""
    a, b = a.detach().reshape(-1).double(), b.detach().reshape(-1).double()
    keep = a.isfinite() & b.isfinite()
    step = max(1, -(-int(keep.sum()) // MOST_POINTS))
    return a[keep][::step].tolist(), b[keep][::step].tolist()


def attribute_of(parameter: Tensor, modules: list[nn.Module]) -> str:
    """The attribute under which a module keeps the layer that has the parameter."""
    names: list[str] = []
    inner = next((m for m in modules if any(p is parameter for p in m._parameters.values())), None)
    while inner is not None and len(names) < 4:
        keepers = ((m, n) for m in modules for n, child in m._modules.items() if child is inner)
        inner, name = next(keepers, (None, ""))
        names[:0] = [name] if name else []
        if name and not name.isdigit():  # a place in a Sequential says little by itself
            break
    return ".".join(names)


def name_at(tree: ast.AST, place: Place) -> str:
    """The target of the assignment at the place, and its function: "mu in forward"."""
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
