"""Find columns that follow from the levels of one column, or from ranges of a number.

Of several sources that determine a column, the one with the fewest levels is kept: a continent
follows from the country, not from the city. Of two columns that determine each other, text is the
source.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aevb.datasets.tabular.cells import LEVELLED
from aevb.datasets.tabular.columns import Column
from aevb.datasets.tabular.rules.evidence import Evidence, of_map, of_steps
from aevb.datasets.tabular.rules.levels import Facts, value_of
from aevb.datasets.tabular.rules.rule import Rule, circular, exact_gaps, tolerance_of
from aevb.datasets.tabular.rules.sums import simplest

MOST_NUMBERS = 100
"""A map from numbers has at most so many of them; a tenth of the rows at most, too."""
MOST_VALUES = 64
"""A target of steps has at most so many values."""
FEWEST_IN_RANGE = 5
"""So many rows lie in each range of a rule of steps."""
NEAR = 8
"""The gap at a cut is compared with those between so many values on either side."""
WIDE = 6.0
"""A cut through a gap so many times the usual one parts clusters. It is no limit that was set."""
SMALL = 0.01
"""A gap of this share of the whole range, or less, is not counted as wide."""
ORDER = ("category", "ordered", "boolean", "date", "integer", "real")
"""Of two columns that determine each other, the one whose kind stands first here is the source."""

Rows = NDArray[np.float64]


class _Steps(NamedTuple):
    """A target along a source.

    along: (M,), the source, ascending. cells: (M,), the target in this order. changes: the numbers
    of the rows after which the target changes. counts: how often each of its values occurs.
    """

    along: Rows
    cells: Rows
    changes: NDArray[np.int64]
    counts: NDArray[np.int64]


class _Candidate(NamedTuple):
    """A source that determines a target. size: how many levels or ranges it has."""

    size: int
    source: int
    steps: _Steps | None = None


def single_rules(facts: Facts, known: Sequence[Rule]) -> list[Rule]:
    """Find the columns that follow from the levels or ranges of one column.

    Args:
        facts: The table.
        known: Rules that were found before. Their targets get no other.

    Example:
        >>> import numpy as np
        >>> from aevb.datasets.tabular.columns import Column
        >>> from aevb.datasets.tabular.rules.levels import Facts
        >>> from aevb.datasets.tabular.rules.singles import single_rules
        >>> state = np.random.default_rng(0).integers(0, 8, 300)
        >>> columns = [Column("state", "category", "str"), Column("east", "boolean", "bool")]
        >>> rules = single_rules(Facts.of(np.column_stack([state, state > 3.0]), columns), [])
        >>> rules[0].describe(columns)
        'east follows from state'
    """
    taken = {rule.target for rule in known}
    rules: list[Rule] = []
    calm = _calm(facts)
    targets = sorted(set(range(len(facts.columns))) - taken, key=lambda t: _rank(facts, t))
    for target in reversed(targets):
        candidates = [
            *_maps(facts, target),
            *_stepped(facts, np.flatnonzero(calm[:, target]), target),
        ]
        for one in sorted(candidates, key=lambda c: (c.size, _rank(facts, c.source))):
            if _may_follow(facts, one.source, target, [*known, *rules]) and _is_sure(
                facts, one, target
            ):
                rules.append(_rule(facts, one, target))
                break
    return rules


def _rank(facts: Facts, number: int) -> tuple[bool, int, int]:
    """Sort columns that determine each other: text first, then by kind, then by place."""
    column = facts.columns[number]
    return not column.holds_text, ORDER.index(column.kind), number


def _may_follow(facts: Facts, source: int, target: int, known: Sequence[Rule]) -> bool:
    """Whether a target may have this source, so that there is no circle."""
    mutual = facts.holds[source, target] and facts.holds[target, source]
    if mutual and _rank(facts, target) < _rank(facts, source):
        return False
    return not circular(known, target, (source,))


def _is_sure(facts: Facts, one: _Candidate, target: int) -> bool:
    """Whether the evidence for a candidate convinces, counted in rows and in finer levels."""
    tried = 2 * len(facts.columns) ** 2
    there = facts.whole(one.source, target)
    if not _evidence(facts, one, target, there).convinces(tried):
        return False
    return all(
        _evidence(facts, one, target, rows).convinces(tried)
        for rows in facts.one_row_each(there, (one.source,), target)
    )


def _evidence(facts: Facts, one: _Candidate, target: int, rows: NDArray[np.int64]) -> Evidence:
    """What speaks for a candidate in some of the rows."""
    cells = facts.codes[rows, target]
    if one.steps is None:
        return of_map(facts.levels[one.source].place[rows], cells)
    places = len(np.unique(facts.codes[rows, one.source]))
    return of_steps(one.size - 1, places, np.unique(cells, return_counts=True)[1])


def _rule(facts: Facts, one: _Candidate, target: int) -> Rule:
    cells = facts.codes[:, target]
    gaps = exact_gaps(facts.codes, target, (one.source,))
    tolerance = tolerance_of(facts.columns[target], float(np.nanmedian(np.abs(cells))))
    blank = Rule(target, (one.source,), "map", exact_gaps=gaps, tolerance=tolerance)
    if one.steps is None:
        return _with_keys(facts, blank)
    along, ordered, changes, _ = one.steps
    return Rule(
        target,
        (one.source,),
        "steps",
        exact_gaps=gaps,
        values=tuple(ordered[[*changes, -1]].tolist()),
        cuts=tuple(_between(float(along[i]), float(along[i + 1])) for i in changes),
        tolerance=tolerance,
    )


# -------------------------------------------------------------------------------------------------
# maps


def _maps(facts: Facts, target: int) -> Iterator[_Candidate]:
    """Yield the sources whose levels determine a target."""
    for source in np.flatnonzero(facts.holds[:, target]).tolist():
        size = len(facts.levels[source].codes)
        if _is_level_like(facts.columns[source], size, len(facts.codes)):
            yield _Candidate(size, source)


def _is_level_like(column: Column, size: int, rows: int) -> bool:
    """Whether a map can start from a column with so many levels."""
    return column.kind in LEVELLED or size <= min(MOST_NUMBERS, rows / 10)


def _with_keys(facts: Facts, rule: Rule) -> Rule:
    levels = facts.levels[rule.sources[0]]
    table = value_of(levels.place, facts.codes[:, rule.target])
    assert table is not None
    seen = ~np.isnan(table)
    keys = tuple((code,) for code in levels.codes[seen].tolist())
    return replace(rule, keys=keys, values=tuple(table[seen].tolist()))


# -------------------------------------------------------------------------------------------------
# steps


def _calm(facts: Facts) -> NDArray[np.bool_]:
    """Whether column t may change in few steps along column s, by a sample: (C, C), [s, t]."""
    few = facts.codes[facts.chosen]
    distinct = np.array([len(np.unique(column[~np.isnan(column)])) for column in few.T])
    most = np.where(distinct <= MOST_VALUES, 2 * (distinct - 1), 0)
    calm = np.zeros(facts.holds.shape, np.bool_)
    for source, column in enumerate(facts.columns):
        if column.kind not in LEVELLED:
            along = few[np.argsort(few[:, source], kind="stable")]
            along = along[~np.isnan(along[:, source])]
            # Next to a missing cell no change is counted, so these are the fewest there are.
            changes = ((along[1:] < along[:-1]) | (along[1:] > along[:-1])).sum(axis=0)
            calm[source] = (changes > 0) & (changes <= most)
            calm[source, source] = False
            if source in facts.levels:
                calm[source] &= facts.holds[source]
    return calm


def _stepped(facts: Facts, sources: NDArray[np.int64], target: int) -> Iterator[_Candidate]:
    """Yield the sources along which a target changes in few steps."""
    few = facts.codes[facts.chosen]
    for source in sources.tolist():
        if not _steps(few[:, source], few[:, target]):
            continue
        found = _steps(facts.codes[:, source], facts.codes[:, target])
        if found and _are_limits(facts.columns[source], found):
            yield _Candidate(len(found.changes) + 1, source, found)


def _steps(source: Rows, target: Rows) -> _Steps | None:
    """The steps of a target along a source, or None if it changes too often."""
    there = ~(np.isnan(source) | np.isnan(target))
    source, target = source[there], target[there]
    order = np.argsort(source, kind="stable")
    along, cells = source[order], target[order]
    changes = np.flatnonzero(cells[1:] != cells[:-1])
    if not 0 < len(changes) <= 2 * (MOST_VALUES - 1):
        return None
    if (along[changes] == along[changes + 1]).any():
        return None
    counts = np.unique(cells, return_counts=True)[1]
    # Two ranges a value: low and high are both odd, winter begins and ends the year.
    few = len(counts) <= MOST_VALUES and len(changes) <= 2 * (len(counts) - 1)
    return _Steps(along, cells, changes, counts) if few else None


def _are_limits(column: Column, steps: _Steps) -> bool:
    """Whether the cuts look like limits that were set.

    Measured values of separate groups, such as the heights of trees measured every five years, may
    fall into ranges, too. But there is a gap between these, and limits do not care where they fall.
    """
    values, counts = np.unique(steps.along, return_counts=True)
    if column.kind == "date" or len(values) <= len(steps.along) / FEWEST_IN_RANGE:
        return True
    ends = np.r_[-1, steps.changes, len(steps.cells) - 1]
    if np.diff(ends).min() < FEWEST_IN_RANGE:
        return False
    gaps = np.diff(values)
    small = SMALL * (values[-1] - values[0])
    for cut in np.searchsorted(values, steps.along[steps.changes]).tolist():
        usual = np.median(gaps[max(0, cut - NEAR) : cut + NEAR + 1])
        # Zero is a value of its own where it is frequent, whatever comes after it.
        frequent = counts[cut : cut + 2].max() >= FEWEST_IN_RANGE
        if gaps[cut] > max(WIDE * usual, small) and not frequent:
            return False
    return True


def _between(low: float, high: float) -> float:
    """A simple number from which on the target has its next value: above low, up to high."""
    apart = high - low
    cut = simplest(low + apart / 4, high - apart / 4)
    return cut if low < cut <= high else high
