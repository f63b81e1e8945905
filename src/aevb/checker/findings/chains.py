"""A term of the loss, followed from where it is whole to where it meets the other: every factor and
reduction on the way."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from torch import Tensor

from aevb.checker.findings.evidence import Evidence
from aevb.checker.tape.tape import Entry, tensors

CLOSE = 0.02
DIVISIONS = {
    "div",
    "truediv",
    "idiv",
    "itruediv",
    "divide",
    "true_divide",
    "mul",
    "imul",
    "rmul",
    "multiply",
}


@dataclass
class Chain:
    """Weights along the way of one term. factor: what was multiplied besides reductions; seen: all
    values it had.

    rows, width: the power of the number of rows, of latent or data dimensions, that reductions
    divided by. last: the last value of the term alone, with its weight. changed: the value at which
    the factor changed last. values: those of ``seen``.
    """

    factor: float
    seen: list[float]
    rows: int
    width: int
    last: int
    weight: float
    summed_rows_first: bool = False
    changed: int | None = None
    values: list[int] = field(default_factory=list)

    @property
    def was_whole(self) -> bool:
        """Whether the term had the weight 1 or -1 somewhere on the way."""
        return any(abs(abs(factor) - 1) < CLOSE for factor in self.seen)


def followed(e: Evidence, weights: list[tuple[int, float]], width: int) -> Chain | None:
    """The chain of values with their weights, the first of which may follow reductions of its own."""
    if not weights:
        return None
    known = dict(weights)
    first, weight = weights[0]
    rows, wide, mean_first = _before(e, first, weight, width)
    chain = Chain(weight * e.rows**rows * width**wide, [], rows, wide, first, weight, mean_first)
    chain.seen.append(chain.factor)
    chain.values.append(first)
    for value, weight in weights[1:]:
        entry = e.tape.made_by(value)
        if entry is None or chain.last not in entry.inputs or chain.last not in known:
            continue
        rows, wide = _reduction(
            entry, e.tape.shown(chain.last), e.tape.shown(value), weight / chain.weight, width, e
        )
        chain.rows, chain.width = chain.rows + rows, chain.width + wide
        chain.factor *= weight / chain.weight * e.rows**rows * width**wide
        if abs(chain.factor - chain.seen[-1]) > CLOSE:
            chain.changed = value
        chain.seen.append(chain.factor)
        chain.values.append(value)
        chain.summed_rows_first |= _sums_rows(
            e, entry, e.tape.shown(chain.last), e.tape.shown(value)
        )
        chain.last, chain.weight = value, weight
    return chain


def _sums_rows(e: Evidence, entry: Entry, before: Tensor, after: Tensor) -> bool:
    """Whether the call sums over the rows and keeps the dimensions."""
    return (
        entry.name == "sum"
        and before.ndim > 1
        and before.shape[0] == e.rows
        and after.shape == before.shape[1:]
    )


def _reduction(
    entry: Entry, before: Tensor, after: Tensor, factor: float, width: int, e: Evidence
) -> tuple[int, int]:
    """By which powers of the numbers of rows and of dimensions the call divides."""
    if entry.name in ("mean", "nanmean"):
        return _of_shapes(before, after, e)
    return _of_number(abs(factor), width, e.rows) if entry.name in DIVISIONS else (0, 0)


def _of_shapes(before: Tensor, after: Tensor, e: Evidence) -> tuple[int, int]:
    """A mean over the draws of a row is none that counts."""
    count = before.numel() // max(1, after.numel())
    has_rows = e.rows in before.shape
    over_rows = has_rows and (after.numel() == 1 or e.rows not in after.shape)
    return int(over_rows), int(count // (e.rows if over_rows else 1) not in (1, e.parts.draws))


def _of_number(factor: float, width: int, batch: int) -> tuple[int, int]:
    """The same for a division by a number, or by twice or half of it."""
    if plain(factor):
        return 0, 0
    for rows in (0, 1, -1):
        for wide in (0, 1, -1):
            count = float(batch**rows * width**wide)
            near = any(abs(factor * count / own - 1) < 1e-4 for own in (1.0, 0.5, 2.0))
            if (rows or wide) and near and not plain(count):
                return rows, wide
    return 0, 0


def plain(count: float) -> bool:
    """Whether a factor is one that people write anyway."""
    return any(abs(count - plain) < 1e-6 for plain in (0.25, 0.5, 1, 2, 4))


def _before(e: Evidence, value: int, weight: float, width: int) -> tuple[int, int, bool]:
    """Reductions before the first value: terms averaged one by one, or a loss of torch that
    averages."""
    entry = e.tape.made_by(value)
    if entry is None:
        return 0, 0, False
    if e.tape.shown(value).numel() == 1 or "loss" in entry.name or "entropy" in entry.name:
        for rows, wide in ((0, 0), (1, 1), (1, 0), (0, 1)):
            if plain(abs(weight) * e.rows**rows * width**wide) and _averaged(e, value, rows, wide):
                return rows, wide, False
    for one in e.makers(sorted(e.tape.ancestors(value)))[::-1]:
        inputs = [v for v in one.inputs if e.tape.shown(v).numel() > 1]
        if (
            one.name in ("mean", "nanmean")
            and inputs
            and set(e.tape.dependents(e.parts.roots)) & set(one.inputs)
        ):
            rows, wide = _of_shapes(e.tape.shown(inputs[0]), e.tape.shown(one.outputs[0]), e)
            if plain(abs(weight) * e.rows**rows * width**wide):
                return rows, wide, False
    return (0, 0, False)


def _averaged(e: Evidence, value: int, rows: int, wide: int) -> bool:
    """Whether a call of torch that both compares and reduces did average, by what it was asked for."""
    entry = e.tape.made_by(value)
    if entry is None or not (
        "loss" in entry.name or "entropy" in entry.name or "kl_div" in entry.name
    ):
        return not rows and not wide and not _has_mean(e, value)
    shape = next(iter(t.shape for t in tensors(entry.result)), ())
    return (math.prod(shape) > 1) == (not rows and not wide) or not (rows or wide)


def _has_mean(e: Evidence, value: int) -> bool:
    after = e.tape.dependents(e.parts.roots)
    return any(
        one.name == "mean" and set(one.inputs) & after
        for one in e.makers(sorted(e.tape.ancestors(value)))
    )
