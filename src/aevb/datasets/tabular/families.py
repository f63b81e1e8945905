"""Find the family of each column of a table, and turn rows of codes into the model's numbers.

The families are those of the likelihood ``mixed``; ``aevb.probability.factors`` lists them. They
are found from the training rows alone, but for the levels, which are those of the whole table.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aevb.datasets.tabular.columns import Column
from aevb.datasets.tabular.repeated import with_repeats
from aevb.datasets.tabular.rules import Rule, find_rules
from aevb.probability.factors import FARTHEST, Factor
from aevb.probability.first_numbers import components_for, mixture_score, some_rows

MOST_VALUES = 200
"""Numbers of at most so many values may be levels, if there are many rows for each value."""
MOST_CLASSES = 256
"""A column of names has at most so many classes. The rarest names share the last one."""
SPIKE_SHARE, SPIKE_ROWS, SPIKE_HEIGHT = 0.03, 10, 6.0
"""A spike is a number in at least this share of the rows, and in so many rows, and so many times as
frequent as a typical number of the column."""
MOST_SPIKES = 8
BENDS = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0)
"""Bends that are tried for a column of numbers, per its spread."""
CENTRES = (0.0, 0.02, 0.1, 0.25, 0.5, 0.75, 0.9, 0.98, 1.0)
"""The quantiles at which a bend may have its centre."""
NEARLY = 0.05
"""Nats by which a bent Gaussian may be worse than a mixture, which has more numbers."""
MOST_SORTED = 20_000
"""Numbers from which a bend is found."""
NARROWEST = 1e-3 * math.sqrt(2 * math.pi)
"""The width of the cell of a value whose decimals are not known, per spread of its column. A
Gaussian with a standard deviation of 1e-3 is as high, the floor of scikit-learn's mixtures too."""
LITTLE_DATA = 1000
"""Below this many rows the columns depend on each other in linear ways only."""
WIDTH = 16
"""Hidden units of each column, for larger data."""
MANY_COLUMNS = 100
"""With more columns than this there are no hidden units."""


@dataclass(frozen=True)
class Families:
    """The families of all modelled columns.

    Args:
        factors: One for each column.
        rules: The columns of the family "follows".
        repairs: Rules that hold, but whose target has missing cells of its own. They are applied
            to what the model makes.
        components: How many Gaussians the numbers' mixture has.
        width: Hidden units of each column.
        rows: How many training rows there are.

    Example:
        >>> import numpy as np
        >>> from aevb.datasets.tabular.columns import Column
        >>> from aevb.datasets.tabular.families import find
        >>> codes = np.column_stack([np.arange(100) % 2, np.linspace(1, 5, 100)])
        >>> columns = [Column("a", "boolean", "bool"), Column("b", "real", "float64")]
        >>> families = find(codes, columns)
        >>> [factor.family for factor in families.factors]
        ['levels', 'real']
        >>> np.allclose(families.codes(families.numbers(codes)), codes)
        True
    """

    factors: tuple[Factor, ...]
    rules: tuple[Rule, ...] = ()
    repairs: tuple[Rule, ...] = ()
    components: int = 0
    width: int = 0
    rows: int = 1

    def numbers(self, codes: NDArray[Any]) -> NDArray[np.float32]:
        """Turn codes (N, C) into the model's numbers (N, C).

        A cell that follows from others becomes 0 if it keeps the rule, else how far it is off; and
        NaN where the rule says nothing.
        """
        codes = np.asarray(codes, np.float64)
        x = np.empty(codes.shape, np.float32)
        for i, factor in enumerate(self.factors):
            if factor.family != "follows":
                x[:, i] = factor.numbers(codes[:, i])
        for rule in self.rules:
            with np.errstate(over="ignore", invalid="ignore"):
                off = codes[:, rule.target] - rule.predict(codes)
                kept = np.abs(off) <= rule.tolerance
                far = (off / self.factors[rule.target].scale).clip(-FARTHEST, FARTHEST)
            x[:, rule.target] = np.where(kept, 0.0, far)
        return x

    def codes(self, x: NDArray[Any]) -> NDArray[np.float64]:
        """Turn the model's numbers (N, C) into codes (N, C), NaN for a missing cell."""
        codes = np.full(x.shape, np.nan)
        for i, factor in enumerate(self.factors):
            if factor.family != "follows":
                codes[:, i] = factor.codes(x[:, i])
        for rule in self._in_order():
            factor, found = self.factors[rule.target], rule.predict(codes)
            if rule in self.rules:
                off = np.nan_to_num(x[:, rule.target].astype(np.float64), posinf=0.0)
                found = (found + off * factor.scale).clip(factor.low, factor.high)
                codes[:, rule.target] = found
            else:
                use = ~np.isnan(codes[:, rule.target]) & ~np.isnan(found)
                codes[use, rule.target] = found[use]
        return codes

    def _in_order(self) -> list[Rule]:
        """All rules, in an order in which the sources of a rule are final before it."""
        left, ordered = [*self.rules, *self.repairs], list[Rule]()
        while left:
            waiting = {rule.target for rule in left}
            ready = [rule for rule in left if not waiting & set(rule.sources)]
            ordered += ready
            left = [rule for rule in left if rule not in ready]
        return ordered


def find(codes: NDArray[np.float64], columns: Sequence[Column]) -> Families:
    """Find the families of the columns.

    Args:
        codes: (N, C), the training rows; NaN for a missing cell.
        columns: The modelled columns, C of them.

    Example:
        >>> import numpy as np
        >>> from aevb.datasets.tabular.columns import Column
        >>> from aevb.datasets.tabular.families import find
        >>> amounts = np.exp(np.random.default_rng(0).normal(7, 1, 300))
        >>> income = np.where(np.arange(300) % 3 == 0, 0.0, amounts)
        >>> factor = find(income[:, None], [Column("income", "real", "float64")]).factors[0]
        >>> factor.family, factor.values, factor.bend > 0
        ('real', (0.0,), True)
    """
    with np.errstate(over="ignore", invalid="ignore"):  # squares of huge numbers
        rules = find_rules(codes, columns)
    exact = tuple(rule for rule in rules if rule.exact_gaps)
    factors = [factor_of(codes[:, i], column) for i, column in enumerate(columns)]
    for rule in exact:
        factors[rule.target] = _following(factors[rule.target], len(codes))
    few = len(codes) < LITTLE_DATA or len(columns) > MANY_COLUMNS
    return Families(
        tuple(factors),
        exact,
        tuple(rule for rule in rules if not rule.exact_gaps),
        components_for(bent(some_rows(codes), factors)),
        0 if few else WIDTH,
        len(codes),
    )


def bent(codes: NDArray[np.float64], factors: Sequence[Factor]) -> NDArray[np.float64]:
    """The numbers of a table, bent and standardised: (N, numbers); NaN where there is none.

    A spike counts as no number.
    """
    found = []
    for i, factor in enumerate(factors):
        if factor.is_number:
            u = (codes[:, i] - factor.shift) / factor.scale - factor.centre
            t = np.arcsinh(u * factor.bend) / factor.bend if factor.bend else u
            t = (t - factor.mean) / factor.spread
            found.append(np.where(np.isin(codes[:, i], factor.values), np.nan, t))
    return np.column_stack(found) if found else np.empty((len(codes), 0))


def factor_of(codes: NDArray[np.float64], column: Column) -> Factor:
    """Find the family of one column. codes: (N,), NaN for a missing cell.

    Example:
        >>> import numpy as np
        >>> from aevb.datasets.tabular.columns import Column
        >>> from aevb.datasets.tabular.families import factor_of
        >>> factor_of(np.array([1.0, np.nan, 0.0]), Column("a", "boolean", "bool")).num_classes
        3
    """
    present = codes[~np.isnan(codes)]
    # A gap that only held-out rows have needs a place too.
    gaps = len(present) < len(codes) or column.missing > 0
    if column.kind in ("category", "boolean", "ordered"):
        return _of_names(present, column, gaps)
    if not len(present):
        return Factor(column.name, "levels", values=(0.0,), gaps=gaps)
    values, counts = np.unique(present, return_counts=True)
    step = step_of(values, column)
    if len(values) <= min(MOST_VALUES, max(2.0, math.sqrt(len(present)))):
        return _of_few_values(values, counts, column, step, gaps)
    return _of_numbers(present, values, counts, column, step, gaps)


def _following(factor: Factor, rows: int) -> Factor:
    scale = max(factor.high - factor.low, factor.step, 1e-300)
    unseen = 0.5 / (rows + 1)
    return replace(factor, family="follows", scale=scale, gaps=True, unseen=unseen)


def _of_names(present: NDArray[np.float64], column: Column, gaps: bool) -> Factor:
    count = max(len(column.levels), int(present.max(initial=0)) + 1, 1)
    factor = Factor(
        column.name,
        "levels",
        values=tuple(float(k) for k in range(count)),
        ordered=column.kind == "ordered",
        high=count - 1.0,
        gaps=gaps,
    )
    if count <= MOST_CLASSES:
        return factor
    rows = np.bincount(present.astype(np.intp), minlength=count)
    classes = np.full(count, MOST_CLASSES - 1)
    frequent = np.argsort(-rows, kind="stable")[: MOST_CLASSES - 1]
    classes[np.sort(frequent)] = np.arange(MOST_CLASSES - 1)
    rare = classes == MOST_CLASSES - 1
    shares = np.zeros(count)
    shares[rare] = np.log((rows[rare] + 0.5) / (rows[rare] + 0.5).sum())
    return replace(factor, classes=tuple(classes.tolist()), shares=tuple(shares.tolist()))


def _of_few_values(
    values: NDArray[np.float64],
    counts: NDArray[np.intp],
    column: Column,
    step: float,
    gaps: bool,
) -> Factor:
    """Numbers of few values are levels. Others may occur about as often as those that occur once.

    That is the estimate of Good (1953) for what was not seen.
    """
    full = step > 0 and round((values[-1] - values[0]) / step) + 1 == len(values)
    singles = 0 if full else int((counts == 1).sum())
    return Factor(
        column.name,
        "levels",
        values=tuple(values.tolist()),
        ordered=True,
        step=step,
        density=column.kind == "real",
        cell=cell_of(values, step, place_of(np.repeat(values, counts))[1]),
        low=float(values[0]),
        high=float(values[-1]),
        gaps=gaps,
        unseen=(singles + 0.5) / (counts.sum() + 1) if step else 0.0,
    )


def _of_numbers(
    present: NDArray[np.float64],
    values: NDArray[np.float64],
    counts: NDArray[np.intp],
    column: Column,
    step: float,
    gaps: bool,
) -> Factor:
    spikes = spikes_among(values, counts)
    rest = present[~np.isin(present, spikes)]
    shift, scale = place_of(rest)
    with np.errstate(over="ignore"):
        x = ((rest - shift) / scale).clip(-FARTHEST, FARTHEST)
    centre, bend = bend_of(x)
    t = np.arcsinh((x - centre) * bend) / bend if bend else x - centre
    mean, spread = float(t.mean()), float(t.std()) or 1.0
    factor = Factor(
        column.name,
        "real" if column.kind == "real" else "integer",
        values=tuple(spikes.tolist()),
        step=step,
        density=column.kind == "real",
        cell=cell_of(spikes, step, scale),
        shift=float(shift),
        scale=float(scale),
        centre=centre,
        bend=bend,
        mean=mean,
        spread=spread,
        low=float(values[0]),
        high=float(values[-1]),
        gaps=gaps,
    )
    return with_repeats(factor, rest, (t - mean) / spread)


def place_of(rest: NDArray[np.float64]) -> tuple[float, float]:
    """The median of numbers and their usual distance from it, whatever outliers there are.

    Example:
        >>> import numpy as np
        >>> from aevb.datasets.tabular.families import place_of
        >>> place_of(np.array([1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 5.0, 1e300]))
        (1.0, 1.5625)
    """
    low, lower, shift, upper, high = np.quantile(rest, [0.1, 0.25, 0.5, 0.75, 0.9], method="lower")
    with np.errstate(over="ignore"):
        # 2.56 and 1.35: these distances of a Gaussian in standard deviations.
        scale = max((high - low) / 2.56, (upper - lower) / 1.35)
        if not 0 < scale < np.inf:
            apart = np.abs(rest - shift).clip(max=1e308)
            scale = np.quantile(apart[apart > 0], 0.5, method="lower") if apart.any() else 1.0
    return float(shift), float(max(scale, 1e-300))


def step_of(values: NDArray[np.float64], column: Column) -> float:
    """The largest step that reaches all values of a column; 0 if their decimals are not known.

    values: (V,), the different codes in ascending order.

    Example:
        >>> import numpy as np
        >>> from aevb.datasets.tabular.columns import Column
        >>> from aevb.datasets.tabular.families import step_of
        >>> step_of(np.array([0.25, 0.5, 1.0]), Column("a", "real", "float64", decimals=2))
        0.25
    """
    decimals = column.decimals if column.kind == "real" else 0
    if decimals is None or len(values) < 2:
        return 0.0 if decimals is None else 10.0**-decimals
    whole = np.rint(values * 10.0**decimals)
    if np.abs(whole).max() > 2**53:
        return 0.0
    return float(np.gcd.reduce(np.diff(whole).astype(np.int64)) or 1) * 10.0**-decimals


def cell_of(values: NDArray[np.float64], step: float, spread: float) -> float:
    """The width of the cell that one value of a column stands for.

    It is the step if it is known, else small; and cells of neighbouring values never overlap.

    Args:
        values: The values that have a probability of their own, ascending.
        step: Their step; 0 if it is not known.
        spread: The spread of the column.

    Example:
        >>> import numpy as np
        >>> from aevb.datasets.tabular.families import cell_of
        >>> cell_of(np.array([0.1, 0.3]), 0.1, 1.0), round(cell_of(np.array([1 / 3]), 0.0, 1.0), 6)
        (0.1, 0.002507)
    """
    return step or float(min(NARROWEST * spread, np.diff(values).min(initial=np.inf)))


def spikes_among(values: NDArray[np.float64], counts: NDArray[np.intp]) -> NDArray[np.float64]:
    """The numbers that occur far more often than others, ascending.

    Example:
        >>> import numpy as np
        >>> from aevb.datasets.tabular.families import spikes_among
        >>> spikes_among(np.arange(50.0), np.array([40, *[1] * 49]))
        array([0.])
    """
    rows = counts.sum()
    typical = SPIKE_HEIGHT * max(float(np.median(counts)), 1.0)
    high = (counts >= max(SPIKE_ROWS, SPIKE_SHARE * rows)) & (counts > typical)
    order = np.argsort(-counts[high], kind="stable")[:MOST_SPIKES]
    found: NDArray[np.float64] = np.sort(values[high][order])
    # What is left must still be numbers with a spread.
    return found if (~high).sum() > 1 else found[:0]


def bend_of(x: NDArray[np.float64]) -> tuple[float, float]:
    """Choose centre and bend, so that asinh(bend (x - centre)) / bend is nearest to a Gaussian.

    The measure is the likelihood of the best Gaussian after the bend, with BIC's price for the two
    numbers. If what is found is not nearly Gaussian, it must also do better than no bend where each
    has a mixture of Gaussians: clusters need no bend. A bend of 0 means none.

    Example:
        >>> import numpy as np
        >>> from aevb.datasets.tabular.families import bend_of
        >>> bend_of(np.random.default_rng(0).normal(size=500))
        (0.0, 0.0)
    """
    x = np.sort(x)[:: -(-len(x) // MOST_SORTED)]

    def score(centre: float, bend: float) -> float:
        u = x - centre
        t = np.arcsinh(u * bend) / bend if bend else u
        return -math.log(max(float(t.std()), 1e-300)) - 0.5 * float(
            np.log1p((u * bend) ** 2).mean()
        )

    best, chosen = score(0.0, 0.0) + math.log(len(x)) / len(x), (0.0, 0.0)
    for centre in np.quantile(x, CENTRES):
        for bend in BENDS:
            if (found := score(float(centre), bend)) > best:
                best, chosen = found, (float(centre), bend)
    if not chosen[1]:
        return chosen
    u = (x - chosen[0]) * chosen[1]
    of_bent = mixture_score(np.arcsinh(u) / chosen[1]) - 0.5 * float(np.log1p(u**2).mean())
    straight = mixture_score(x)
    is_gaussian = best - 0.5 * math.log(2 * math.pi * math.e) > straight - NEARLY
    return chosen if is_gaussian or of_bent > straight else (0.0, 0.0)
