"""Measurements of the KL: is there one, which formula is it, does it train both heads?"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from aevb.checker.evidence.factors import has_literal
from aevb.checker.evidence.readings import TOLERANCE, Recognised, recognise
from aevb.checker.program.vocabulary import LOG_SIGMA
from aevb.checker.steps.candidates import output_values
from aevb.checker.tape.measure import ratio, reachable
from aevb.checker.tape.parts import SHAPES

if TYPE_CHECKING:
    from aevb.checker.evidence.evidence import Evidence
    from aevb.checker.tape.measure import Slopes

LIMITS = {
    "clamp", "clamp_min", "clamp_max", "clip", "max", "maximum", "relu", "abs", "where", "softplus",
    "hinge",
}  # fmt: skip
NOTHING = 1e-13
"""A smaller gradient counts as 0. A KL of weight 1e-5, averaged over pictures, has 1e-10."""
MOST_NODES = 80


@dataclass(frozen=True)
class Divergence:
    """What is known about the KL.

    kl: its formula. node: the value on the tape that was judged. place: the value at which a
    finding is reported. cut: the heads that its gradient does not reach, in words.

    absent: why the loss has no gradient from a KL: "times 0", "weight 0" (at this step), "item" (a
    plain number is added), "beside" (it is returned with the error), "not added", "elsewhere" (the
    program's text has one) or "none". It is "" if there is such a gradient.
    """

    kl: Recognised
    node: int
    place: int
    cut: str = ""
    absent: str = ""

    @property
    def counts(self) -> bool:
        """Whether the loss has a KL."""
        return not self.absent

    @property
    def is_minus_the_right_one(self) -> bool:
        """Whether the loss has minus a KL of the right form, with its gradients."""
        minus = self.kl.class_ == "kl-sign" and self.kl.formula.startswith("1/2")
        return minus and self.counts and not self.cut


NO_KL = Recognised("kl-absent", 0.0)


def measured(e: Evidence, loss: int) -> Divergence:
    """Measure the KL in ``loss``."""
    slopes = e.slopes(loss)
    if _still(slopes):
        return _absent(e, loss)
    node, kl = loss, recognise(slopes, e.right, e.exact_reading)
    inner = _inside_a_limit(e, loss) if kl.class_ == "kl-wrong" else None
    if inner is not None:
        node, kl = inner, recognise(e.slopes(inner), e.right, e.reading[0])
    return Divergence(kl, node, _place(e, loss), _cut(e, loss))


def _largest(values: Tensor) -> float:
    return float(values.nan_to_num().abs().max())


def _still(slopes: Slopes) -> bool:
    return _largest(slopes.both) < NOTHING


def _numbers(e: Evidence, values: list[int]) -> list[int]:
    """The last MOST_NODES of the values, without integers."""
    return [v for v in values if e.tape.shown(v).is_floating_point()][-MOST_NODES:]


def nodes(e: Evidence, loss: int) -> list[int]:
    """Values on the way from the heads to the loss that avoid the decoder, in order."""
    return _numbers(e, reachable(e.tape, loss, e.parts.roots, e.parts.entrances))


def right_nodes(e: Evidence, values: list[int]) -> list[tuple[int, float]]:
    """The values that are a multiple of the right KL, with the factor."""
    fits = ((value, *ratio(e.slopes(value).both, e.right.both)) for value in values)
    return [(value, factor) for value, factor, gap in fits if gap < TOLERANCE and factor]


def _inside_a_limit(e: Evidence, loss: int) -> int | None:
    """The right KL before a limit on it, such as free bits or a capacity."""
    between = nodes(e, loss)
    if not any(entry.name in LIMITS for entry in e.makers(between)):
        return None
    right = right_nodes(e, between)
    return right[-1][0] if right else None


def _place(e: Evidence, loss: int) -> int:
    """The last value that depends on the heads, is no part of z, and is not the loss."""
    before_z = e.tape.ancestors(e.parts.z)
    between = (v for v in reversed(nodes(e, loss)) if v != loss and v not in before_z)
    return next((v for v in between if e.place(v) is not None), loss)


def _cut(e: Evidence, loss: int) -> str:
    """The heads on which the KL depends, but to which the program passes no gradient."""
    whole, seen = e.slopes(loss), e.slopes(loss, transparent=False)
    pairs = (("mu", seen.by_a, whole.by_a), ("logvar", seen.by_r, whole.by_r))
    for name, own, full in pairs:
        if _largest(full) > NOTHING and _largest(own) < 1e-6 * _largest(full):
            return "mu and logvar" if _still(seen) else name
    return ""


def _absent(e: Evidence, loss: int) -> Divergence:
    """Why the loss has no KL."""
    before_z = e.tape.ancestors(e.parts.z)
    inner = [v for v in nodes(e, loss) if v not in before_z and not _still(e.slopes(v))]
    if inner:
        return _of_weight_0(e, loss, inner[-1])
    dependent = e.tape.dependents(e.parts.roots, stop=e.parts.entrances)
    unused = _numbers(e, sorted(dependent - e.tape.ancestors(loss)))
    found = [value for value, _ in right_nodes(e, unused)]
    absent, place = _not_in_the_loss(e, found) or (_nowhere(e), loss)
    return Divergence(NO_KL, loss, place, absent=absent)


def _not_in_the_loss(e: Evidence, found: list[int]) -> tuple[str, int] | None:
    """Why a right KL does not reach the loss, and its value on the tape."""
    if not found:
        return None
    taken_out = {value for _, value in e.tape.items}
    plain = [value for value in found if value in taken_out]
    if plain:
        return "item", plain[0]
    scalars = [v for v in output_values(e.step) if e.tape.shown(v).numel() == 1]
    if not e.step.faithful and len(scalars) == 2 and scalars[1] in found:
        return "beside", scalars[1]
    return "not added", found[-1]


def _nowhere(e: Evidence) -> str:
    """Return "elsewhere" if the text mentions a KL that an unseen training may use, else "none"."""
    named = re.search(r"kl|logvar.*exp|log_var.*exp", e.program.source.text, re.IGNORECASE)
    return "elsewhere" if named and not e.step.faithful else "none"


def _of_weight_0(e: Evidence, loss: int, node: int) -> Divergence:
    """A KL that is multiplied by a bare 0, or by a weight that is 0 at this step."""
    if any(has_literal(e, value, (0,)) for value in (node, loss)):
        return Divergence(NO_KL, node, node, absent="times 0")
    kl = recognise(e.slopes(node), e.right, e.exact_reading)
    return Divergence(kl, node, node, absent="weight 0")


@dataclass(frozen=True)
class Misread:
    """The sampler and the KL read the raw head differently.

    sampler, kl: their readings. factor: that on the sampler's deviation. log_sigma: whether the
    program calls the head a log sigma. in_place: whether a call changes the head before the KL
    reads it. fit: the sampler's deviation as an exponential of the head, in words, if it is one.
    """

    sampler: str
    factor: float
    kl: str
    log_sigma: bool
    in_place: bool
    fit: str

    @property
    def exp_of_logvar(self) -> bool:
        """Whether the deviation is the exponential of a log variance, up to a factor."""
        return (self.sampler, self.kl) == ("log sigma", "logvar") and not self.log_sigma

    @property
    def log_sigma_in_kl(self) -> bool:
        """Whether the KL takes a log variance for a log sigma."""
        return (self.sampler, self.kl) == ("logvar", "log sigma") and not self.log_sigma


def misread(e: Evidence) -> Misread | None:
    """Compare the two readings; None if they agree or if there is no KL with a reading."""
    d = e.divergence
    if d is None or d.kl.class_ != "mismatch" or d.cut:
        return None
    log_sigma = any(LOG_SIGMA.search(e.named(root)) for root in e.parts.roots)
    own, factor = e.reading
    return Misread(own, factor, d.kl.reading, log_sigma, _changed_in_place(e), _exponent(e))


def _exponent(e: Evidence) -> str:
    """The fit log std = a * head + b in words, "" if it is not exact."""
    s = e.sampler.s.abs().reshape(-1)
    good = s.isfinite() & (s > 0)
    if good.sum() < 4:
        return ""
    r, log = e.sampler.r.reshape(-1)[good], s[good].log()
    a = float(((r - r.mean()) * (log - log.mean())).sum() / (r - r.mean()).square().sum())
    b = float(log.mean() - a * r.mean())
    exact = float((log - a * r - b).abs().max()) <= 1e-2
    return f" (log std = {a:.2f} head {b:+.2f})" if exact else ""


def _changed_in_place(e: Evidence) -> bool:
    """Whether a call on the way to z changes the deviation's head before the KL reads it."""
    same = {e.parts.roots[int(i)] for i in torch.unique(e.parts.raw[:, 0])}
    before = e.tape.ancestors(e.parts.z)
    for entry in e.tape.entries:
        if not same.intersection(entry.inputs[:1]):
            continue
        if entry.in_place and before.intersection(entry.outputs):
            read = e.tape.dependents(entry.outputs, stop=e.parts.entrances)
            return e.step.loss is None or e.step.loss in read
        if entry.name in SHAPES - {"cat", "stack"}:
            same.update(entry.outputs)
    return False
