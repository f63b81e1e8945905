"""Find columns of numbers that are sums of multiples of other columns, exact to their rounding.

A sample of the rows proposes: two columns with a correlation of one, or a column that least squares
from the others before it reproduce. The coefficients are brought to numbers that a person would
write, such as 2.54 or 1/12. Then every row must agree.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aevb.datasets.tabular.columns import Column
from aevb.datasets.tabular.rules.evidence import BITS, arrangements
from aevb.datasets.tabular.rules.rule import Rule, circular, exact_gaps, tolerance_of

NUMBERS = ("real", "integer", "date")
SAMPLE = 4096
"""The rows that propose rules."""
CHUNK = 65_536
"""The rows that are checked at a time."""
MOST_SOURCES = 12
"""A sum has at most this many terms."""
BEYOND = 10
"""So many different rows must agree beyond those that fix the coefficients."""
FEW_VALUES = 32
"""A sum of one source that is rounded has at least so many different values."""
MANY_VALUES = 100
"""It has so many more for each further source, as two smooth columns can imitate a third."""
SLACK = 0.6
"""Rounding to whole steps leaves a spread of 0.29 steps; twice that is let in."""
MOST_LEFT = 0.3
"""A sum explains a column up to this share of its spread, however coarse its steps are."""

Rows = NDArray[np.float64]


class _Numbers(NamedTuple):
    """The columns of numbers in the sample. Each array has one entry a column.

    number: the column's number. rows: (M, K), the sample. step: the smallest difference between
    two cells. spread: the standard deviation.
    """

    number: list[int]
    rows: Rows
    step: Rows
    spread: Rows


def sum_rules(codes: Rows, columns: Sequence[Column]) -> list[Rule]:
    """Find the columns that are sums of multiples of others. See ``find_rules``.

    Args:
        codes: (N, C), the codes of the modelled columns.
        columns: The C modelled columns.

    Example:
        >>> import numpy as np
        >>> from aevb.datasets.tabular.columns import Column
        >>> from aevb.datasets.tabular.rules.sums import sum_rules
        >>> inches = np.random.default_rng(0).integers(50, 99, 300).astype(float)
        >>> columns = [Column("inch", "integer", "int64"), Column("cm", "real", "float64",
        ...                                                     decimals=1)]
        >>> rules = sum_rules(np.column_stack([inches, (2.54 * inches).round(1)]), columns)
        >>> rules[0].describe(columns)
        'cm = 2.54 * inch, rounded'
    """
    numbers = _numbers(codes, columns)
    found: list[Rule] = []
    if len(numbers.number) < 2:
        return found
    for target, source in _proportional(numbers):
        if not any(rule.target in (target, source) for rule in found):
            rule = _fitted(codes, columns, numbers, target, (source,))
            found += [rule] if rule else []
    gone = {rule.target for rule in found}
    kept = [k for k, number in enumerate(numbers.number) if number not in gone]
    return [*found, *_sums(numbers, kept, found, codes, columns)]


def _numbers(codes: Rows, columns: Sequence[Column]) -> _Numbers:
    """The columns of numbers that vary, in a sample of the rows."""
    number = [i for i, column in enumerate(columns) if column.kind in NUMBERS]
    n = len(codes)
    chosen = np.arange(n)
    if n > SAMPLE:
        chosen = np.sort(np.random.default_rng(0).choice(n, SAMPLE, replace=False))
    rows = codes[chosen][:, number]
    filled = (~np.isnan(rows)).sum(axis=0) > 2 * BEYOND
    number, rows = [i for i, full in zip(number, filled, strict=True) if full], rows[:, filled]
    if not number:
        return _Numbers([], rows, rows[:0], rows[:0])
    spread = np.nanstd(rows, axis=0)
    high = np.nanmax(np.abs(rows), axis=0)
    usual = np.nanmedian(np.abs(rows), axis=0)
    step = [2 * tolerance_of(columns[i], usual[k]) for k, i in enumerate(number)]
    varied = spread > 1e-9 * high
    number = [i for i, varies in zip(number, varied, strict=True) if varies]
    return _Numbers(number, rows[:, varied], np.array(step)[varied], spread[varied])


def _proportional(numbers: _Numbers) -> Iterator[tuple[int, int]]:
    """Yield (target, source) of columns whose correlation is one, to their rounding.

    Of two columns, the one with more different values is the source first, or the first one.
    """
    rows, step, spread = numbers.rows, numbers.step, numbers.spread
    values = [len(np.unique(column[~np.isnan(column)])) for column in rows.T]
    there = ~np.isnan(rows)
    z = np.where(there, (rows - np.nanmean(rows, axis=0)) / spread, 0.0)
    m = there.astype(np.float64)
    count = np.maximum(m.T @ m, 1.0)
    mean = z.T @ m / count  # of row's column, over the rows where both are there
    square = (z * z).T @ m / count - mean**2
    joint = z.T @ z / count - mean * mean.T
    left = 1 - joint**2 / np.maximum(square * square.T, 1e-300)
    relative = step / spread
    noise = (relative[:, None] ** 2 + relative[None, :] ** 2) * SLACK**2 + 1e-10
    most = np.minimum(noise / np.maximum(np.minimum(square, square.T), 1e-12), MOST_LEFT**2)
    near = (left <= most) & (count > 2 * BEYOND)
    for a in range(len(spread)):
        for b in range(a + 1, len(spread)):
            # Fewer different values than _confirmed wants prove nothing.
            if near[a, b] and max(values[a], values[b]) >= BEYOND + 2:
                pair = (b, a) if values[a] >= values[b] else (a, b)
                yield numbers.number[pair[0]], numbers.number[pair[1]]
                yield numbers.number[pair[1]], numbers.number[pair[0]]


def _sums(
    numbers: _Numbers,
    kept: list[int],
    found: list[Rule],
    codes: Rows,
    columns: Sequence[Column],
) -> Iterator[Rule]:
    """Yield the rules with several sources. kept: the places of columns that follow from none."""
    kept = _with_whole_rows(numbers.rows, kept)
    if len(kept) < 3:
        return
    rows = numbers.rows[:, kept]
    rows = rows[~np.isnan(rows).any(axis=1)]
    z = (rows - rows.mean(axis=0)) / numbers.spread[kept]
    relative = (numbers.step / numbers.spread)[kept]
    gram = z.T @ z / len(z)
    base: list[int] = []
    known = list(found)
    for j in range(len(kept)):
        sources = _combination(z, gram, relative, base, j)
        rule = None
        if sources:
            members = [numbers.number[kept[k]] for k in (*sources, j)]
            rule = _best_direction(codes, columns, numbers, members, known)
        if rule is None:
            base.append(j)
            continue
        known.append(rule)
        yield rule
        follows = next(k for k in (*sources, j) if numbers.number[kept[k]] == rule.target)
        base = [k for k in (*base, j) if k != follows]


def _with_whole_rows(rows: Rows, kept: list[int]) -> list[int]:
    """Leave out the columns with most gaps until enough rows are whole."""
    gaps = np.isnan(rows).mean(axis=0)
    kept = sorted(kept, key=lambda k: (gaps[k], k))
    while kept:
        whole = int((~np.isnan(rows[:, kept]).any(axis=1)).sum())
        if whole >= 2 * len(kept) + 2 * BEYOND:
            break
        kept.pop()
    return sorted(kept)


def _combination(z: Rows, gram: Rows, relative: Rows, base: list[int], j: int) -> list[int]:
    """The columns of the base whose multiples add up to column j, to the rounding. [] if none do.

    z: (M, K), columns of mean 0 and spread near 1. relative: (K,), their steps in that unit.
    """
    if len(base) < 2 or gram[j, j] < 1e-12:
        return []
    inner = gram[np.ix_(base, base)]
    weight, *_ = np.linalg.lstsq(inner, gram[base, j], rcond=1e-12)
    noise = math.sqrt(relative[j] ** 2 + float((weight**2 * relative[base] ** 2).sum()))
    if _left(z, j, base, weight) > min(SLACK * noise, MOST_LEFT) + 1e-6:
        return []
    return _fewest(z, gram, relative, dict(zip(base, weight.tolist(), strict=True)), j)


def _fewest(z: Rows, gram: Rows, relative: Rows, weight: dict[int, float], j: int) -> list[int]:
    """Leave out the columns of a combination that it does not need. [] if it needs too many.

    Columns that have nothing to do with the sum get small weights that follow its rounding.
    """
    kept = [b for b, w in weight.items() if abs(w) > 1e-6]
    whole = _left(z, j, list(weight), np.array(list(weight.values())))
    for b in sorted(kept, key=lambda b: abs(weight[b])):
        fewer = [k for k in kept if k != b]
        if len(fewer) < 2:
            break
        fit, *_ = np.linalg.lstsq(gram[np.ix_(fewer, fewer)], gram[fewer, j], rcond=1e-12)
        noise = math.sqrt(relative[j] ** 2 + float((fit**2 * relative[fewer] ** 2).sum()))
        # A sum that is exact stays so. Else the columns too many have fitted some of the rounding.
        if _left(z, j, fewer, fit) <= min(SLACK * noise, 1.5 * whole) + 1e-6:
            kept = fewer
    return kept if 2 <= len(kept) <= MOST_SOURCES else []


def _left(z: Rows, j: int, sources: list[int], weight: NDArray[Any]) -> float:
    """The spread of what a sum leaves of column j."""
    return float(np.sqrt(((z[:, j] - z[:, sources] @ weight) ** 2).mean()))


def _best_direction(
    codes: Rows,
    columns: Sequence[Column],
    numbers: _Numbers,
    members: list[int],
    known: list[Rule],
) -> Rule | None:
    """The rule that gives one of the members from the others.

    A sum of parts comes first: a total follows from its parts, and no part from the total.
    """
    places = [numbers.number.index(member) for member in members]
    weight = _least_squares(numbers.rows, places[-1], places[:-1])[0]
    signs = np.sign(np.append(weight, -1.0))
    # Solved for one member, the others have positive weights if their signs differ from its own.
    order = sorted(
        range(len(members)),
        key=lambda m: ((signs != -signs[m]).sum() > 1, -members[m]),
    )
    follows = {rule.target for rule in known}
    for m in order:
        sources = tuple(sorted(other for other in members if other != members[m]))
        if members[m] in follows or circular(known, members[m], sources):
            continue
        rule = _fitted(codes, columns, numbers, members[m], sources)
        if rule:
            return rule
    return None


def _least_squares(rows: Rows, target: int, sources: Sequence[int]) -> tuple[Rows, Rows, Rows]:
    """Return coefficients and rows.

    The coefficients: (p,); their standard errors if the target has errors of spread one: (p,); the
    rows with all cells: (M, p + 1), the target last.
    """
    part = rows[:, [*sources, target]]
    part = part[~np.isnan(part).any(axis=1)]
    centred = part - part.mean(axis=0)
    size = np.maximum(np.abs(centred).max(axis=0), 1e-300)
    scaled = centred / size
    weight, *_ = np.linalg.lstsq(scaled[:, :-1], scaled[:, -1], rcond=None)
    inverse = np.linalg.pinv(scaled[:, :-1].T @ scaled[:, :-1])
    error = np.sqrt(np.maximum(np.diag(inverse), 0.0)) / size[:-1]
    return weight * size[-1] / size[:-1], error, part


def _fitted(
    codes: Rows,
    columns: Sequence[Column],
    numbers: _Numbers,
    target: int,
    sources: tuple[int, ...],
) -> Rule | None:
    """The exact rule of a target and its sources, or None if there is none."""
    place = {number: k for k, number in enumerate(numbers.number)}
    weight, error, part = _least_squares(numbers.rows, place[target], [place[s] for s in sources])
    if not np.isfinite(weight).all() or _is_coarse(part):
        return None
    column = columns[target]
    tolerance = float(numbers.step[place[target]] / 2)
    decimals = 0 if column.kind != "real" else column.decimals
    blank = Rule(target, sources, "linear", decimals=decimals, tolerance=tolerance)
    # Rounding errs by 0.29 steps; the coefficients may be seven standard errors away.
    apart = 4 * tolerance * error + 1e-9 * np.abs(weight)
    for coefficients in _simple(weight):
        if (np.abs(coefficients - weight) > apart).any():
            continue
        rule = _with_intercept(replace(blank, coefficients=coefficients), part)
        if rule and _confirmed(part, len(columns)) and _agrees_everywhere(rule, codes):
            return replace(rule, exact_gaps=exact_gaps(codes, target, sources))
    return None


def _with_intercept(rule: Rule, part: Rows) -> Rule | None:
    """The rule with an intercept that makes it agree with the sample, or None."""
    offsets = part[:, -1] - part[:, :-1] @ np.array(rule.coefficients)
    low, high = offsets.max() - rule.tolerance, offsets.min() + rule.tolerance
    if low <= high + 1e-6 * rule.tolerance:
        for intercept in (simplest(low, high), (low + high) / 2):
            made = replace(rule, intercept=float(intercept))
            if _agrees(made, part):
                return None if _is_guess(made, part) else made
    return None


def _simple(weight: Rows) -> Iterator[tuple[float, ...]]:
    """Yield the coefficients as numbers that a person would write, the simplest first."""
    tried = set()
    for form in _FORMS:
        made = tuple(form(float(w)) for w in weight)
        if made not in tried and 0.0 not in made:
            tried.add(made)
            yield made


def _digits(digits: int) -> Callable[[float], float]:
    return lambda w: float(f"{w:.{digits}g}")


def _inverse(digits: int) -> Callable[[float], float]:
    return lambda w: 1 / float(f"{1 / w:.{digits}g}") if w else 0.0


def _fraction(most: int) -> Callable[[float], float]:
    return lambda w: float(Fraction(w).limit_denominator(most))


_FORMS: list[Callable[[float], float]] = [
    _fraction(1),
    _fraction(12),
    *map(_digits, (2, 3)),
    _fraction(60),
    *(form(digits) for digits in (4, 5, 6, 8) for form in (_digits, _inverse)),
    lambda w: w,
]


def _agrees(rule: Rule, part: Rows) -> bool:
    """Whether the prediction is the target's cell. part: (M, p + 1), the sources and the target."""
    near = rule.tolerance * (1 if rule.decimals is None else 1e-3)
    sources = tuple(range(len(rule.sources)))
    apart = np.abs(replace(rule, sources=sources).predict(part) - part[:, -1])
    return not (apart > near + 1e-12 * np.abs(part[:, -1])).any()


def _agrees_everywhere(rule: Rule, codes: Rows) -> bool:
    columns = [*rule.sources, rule.target]
    starts = range(0, len(codes), CHUNK)
    return all(_agrees(rule, codes[start : start + CHUNK, columns]) for start in starts)


def _is_coarse(part: Rows) -> bool:
    """Whether the target has few values, and its one source many more.

    Then ranges of the source say the same, and no slope has to be guessed.
    """
    if part.shape[1] > 2:
        return False
    source, target = (len(np.unique(column)) for column in part.T)
    return target <= 2 * FEW_VALUES and target < source / 2


def _is_guess(rule: Rule, part: Rows) -> bool:
    """Whether the rule rounds to few values. Then many slopes fit, and none is known."""
    raw = replace(rule, decimals=None, sources=tuple(range(len(rule.sources)))).predict(part)
    rounds = (np.abs(raw - part[:, -1]) > 0.02 * rule.tolerance).any()
    fewest = FEW_VALUES + MANY_VALUES * (len(rule.sources) - 1)
    return bool(rounds) and len(np.unique(part[:, -1])) < fewest


def _confirmed(part: Rows, tried: int) -> bool:
    """Whether enough different rows agree, and each source matters in enough of them.

    A linear function of p sources has p + 1 free numbers, which p + 1 rows fix. The bound of
    ``evidence.py`` then holds with G = p + 1 choices among the different rows.

    part: (M, p + 1), rows with the target last.
    """
    different = np.unique(part, axis=0)
    free = part.shape[1]
    if len(different) < free + BEYOND:
        return False
    counts = np.unique(different[:, -1], return_counts=True)[1]
    bits = arrangements(counts) - free * (math.log2(len(counts)) + math.log2(len(different)))
    if bits < BITS + free * math.log2(tried):
        return False
    for column in different.T:
        counts = np.unique(column, return_counts=True)[1]
        if len(column) - counts.max() < BEYOND:
            return False
    return True


def simplest(low: float, high: float) -> float:
    """The number with the fewest decimals from low to high, or their mean if they are too near.

    Example:
        >>> from aevb.datasets.tabular.rules.sums import simplest
        >>> simplest(-1.0, 2.0), simplest(31.6, 32.3), simplest(0.123, 0.127)
        (0.0, 32.0, 0.125)
    """
    middle = (low + high) / 2
    if low <= 0 <= high:
        return 0.0
    for places in range(-6, 13):
        number = round(middle, places)
        if low <= number <= high:
            return float(number)
    return middle
