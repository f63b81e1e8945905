"""Find columns that follow from the levels of two columns together, but from neither alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from aevb.datasets.tabular.cells import LEVELLED
from aevb.datasets.tabular.columns import Column
from aevb.datasets.tabular.rules.evidence import of_pair
from aevb.datasets.tabular.rules.levels import SAMPLES, Facts, one_value, sample
from aevb.datasets.tabular.rules.rule import Rule, circular, exact_gaps, tolerance_of

MOST_SOURCES = 24
"""Pairs of so many columns are tried, those with the fewest levels."""
MOST_LEVELS = 1000
"""A source of a pair has at most so many levels."""
MOST_NUMBERS = 12
"""Whole numbers are a source of a pair if there are at most so many of them."""
EIGHTH = 8
"""One row in so many of the sample discards most pairs."""

Rows = NDArray[np.float64]


def pair_rules(facts: Facts, known: Sequence[Rule]) -> list[Rule]:
    """Find the columns that follow from pairs of columns.

    Args:
        facts: The table.
        known: Rules that were found before. Their targets neither get another, nor are sources.

    Example:
        >>> import numpy as np
        >>> from aevb.datasets.tabular.columns import Column
        >>> from aevb.datasets.tabular.rules.levels import Facts
        >>> from aevb.datasets.tabular.rules.pairs import pair_rules
        >>> a, b = np.random.default_rng(0).integers(0, 3, (2, 400))
        >>> columns = [Column(name, "category", "str") for name in "abc"]
        >>> facts = Facts.of(np.column_stack([a, b, (a + b) % 3.0]), columns)
        >>> [rule.describe(columns) for rule in pair_rules(facts, [])]
        ['c follows from a and b']
    """
    taken = {rule.target for rule in known}
    pool = sorted(
        (i for i in facts.levels if i not in taken and _may_be_source(facts, i)),
        key=lambda i: (len(facts.levels[i].codes), i),
    )[:MOST_SOURCES]
    targets = [t for t in range(len(facts.columns)) if t not in taken]
    tried = len(targets) * max(1, len(pool) * (len(pool) - 1) // 2)
    rules: list[Rule] = []
    # Where each of three columns follows from the other two, the last one is the target.
    for target, pair in sorted(_holding(facts, pool, targets), reverse=True):
        if target in taken or circular([*known, *rules], target, pair):
            continue
        rule = _rule(facts, pair, target)
        if rule and _is_sure(facts, pair, target, tried):
            rules.append(rule)
            taken.add(target)
    return rules


def _may_be_source(facts: Facts, number: int) -> bool:
    column, size = facts.columns[number], len(facts.levels[number].codes)
    if column.kind in LEVELLED:
        return size <= MOST_LEVELS
    return column.kind == "integer" and size <= MOST_NUMBERS


def _holding(
    facts: Facts, pool: list[int], targets: list[int]
) -> Iterator[tuple[int, tuple[int, int]]]:
    """Yield (target, pair) that hold in a sample whose rows repeat the pair's levels.

    Where one of the two determines the target alone, the other adds nothing.
    """
    few = facts.codes[facts.chosen][:, targets]
    part = few[::EIGHTH]
    for pair in combinations(sorted(pool), 2):
        place = _joint(facts, pair, facts.chosen)
        if len(np.unique(place)) > (place >= 0).sum() / 2:
            continue
        # Most targets are out after an eighth of the rows.
        alone = facts.holds[list(pair)][:, targets].any(axis=0) | np.isin(targets, pair)
        left = np.setdiff1d(_one_value(place[::EIGHTH], part), np.flatnonzero(alone))
        for k in left[_one_value(place, few[:, left])].tolist():
            yield targets[k], pair


def _one_value(place: NDArray[np.int64], rows: Rows) -> NDArray[np.int64]:
    """The numbers of the columns with one value for each pair of levels. place: -1 is missing."""
    there = place >= 0
    return np.flatnonzero(one_value(place[there], rows[there]))


def _joint(facts: Facts, pair: tuple[int, int], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """The number of the pair of levels in each row, or -1 where one is missing."""
    one, other = (facts.levels[source].place[rows].astype(np.int64) for source in pair)
    width = len(facts.levels[pair[1]].codes)
    return np.where((one < 0) | (other < 0), -1, one * width + other)


def _table(
    facts: Facts, pair: tuple[int, int], target: int, rows: NDArray[np.int64]
) -> tuple[NDArray[np.int64], Rows] | None:
    """The pairs of levels, and the target's value for each. None if a pair has two values."""
    joint, cells = _joint(facts, pair, rows), facts.codes[rows, target]
    there = (joint >= 0) & ~np.isnan(cells)
    known, first, place = np.unique(joint[there], return_index=True, return_inverse=True)
    values = cells[there][first]
    if not len(known) or (values[place] != cells[there]).any():
        return None
    return known, values


def _is_sure(facts: Facts, pair: tuple[int, int], target: int, tried: int) -> bool:
    """Whether each of the two adds to the other, counted in rows and in levels of finer columns."""
    there = facts.whole(*pair, target)
    first, second = (facts.levels[source].place for source in pair)
    cells = facts.codes[:, target]
    return all(
        of_pair(one[rows], other[rows], cells[rows]).convinces(tried)
        for rows in (there, *facts.one_row_each(there, pair, target))
        for one, other in ((first, second), (second, first))
    )


def _rule(facts: Facts, pair: tuple[int, int], target: int) -> Rule | None:
    """The map from a pair of levels, or None if it does not hold in every row."""
    found = None
    for most in (SAMPLES[1], len(facts.codes)):
        found = _table(facts, pair, target, sample(len(facts.codes), most))
        if found is None:
            return None
    assert found is not None
    known, values = found
    one, other = np.divmod(known, len(facts.levels[pair[1]].codes))
    keys = zip(
        facts.levels[pair[0]].codes[one].tolist(),
        facts.levels[pair[1]].codes[other].tolist(),
        strict=True,
    )
    column: Column = facts.columns[target]
    return Rule(
        target,
        pair,
        "map",
        exact_gaps=exact_gaps(facts.codes, target, pair),
        keys=tuple(keys),
        values=tuple(values.tolist()),
        tolerance=tolerance_of(column, float(np.median(np.abs(values)))),
    )
