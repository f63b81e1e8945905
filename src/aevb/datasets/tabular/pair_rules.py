"""Find columns that follow from the levels of two columns together, but from neither alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from aevb.datasets.tabular.cells import LEVELLED
from aevb.datasets.tabular.columns import Column
from aevb.datasets.tabular.evidence import Evidence, least, of_pair
from aevb.datasets.tabular.rules import Rule, circular, exact_gaps, tolerance_of

if TYPE_CHECKING:
    from aevb.datasets.tabular.level_rules import Numbered

MOST_SOURCES = 24
"""Pairs of so many columns are tried, those with the fewest levels."""
MOST_LEVELS = 1000
"""A source of a pair has at most so many levels."""
MOST_NUMBERS = 12
"""Whole numbers are a source of a pair if there are at most so many of them."""
SAMPLE = 4096
"""The rows that discard pairs."""

Rows = NDArray[np.float64]


def pair_rules(
    codes: Rows,
    columns: Sequence[Column],
    levels: dict[int, Numbered],
    holds: NDArray[np.bool_],
    known: Sequence[Rule],
) -> list[Rule]:
    """Find the columns that follow from pairs of columns.

    Args:
        codes: (N, C), the codes of the modelled columns.
        columns: The C modelled columns.
        levels: The levels of those that repeat.
        holds: (C, C), whether column t follows from column s in all rows, at [s, t].
        known: Rules that were found before. Their targets neither get another, nor are sources.

    Example:
        >>> import numpy as np
        >>> from aevb.datasets.tabular.columns import Column
        >>> from aevb.datasets.tabular.level_rules import numbered
        >>> from aevb.datasets.tabular.pair_rules import pair_rules
        >>> a, b = np.random.default_rng(0).integers(0, 3, (2, 400))
        >>> codes = np.column_stack([a, b, (a + b) % 3.0])
        >>> columns = [Column(name, "category", "str") for name in "abc"]
        >>> levels = {i: numbered(codes[:, i]) for i in range(3)}
        >>> rules = pair_rules(codes, columns, levels, np.zeros((3, 3), bool), [])
        >>> [rule.describe(columns) for rule in rules]
        ['c follows from a and b']
    """
    taken = {rule.target for rule in known}
    pool = sorted(
        (i for i in levels if i not in taken and _may_be_source(columns[i], levels[i])),
        key=lambda i: (len(levels[i].codes), i),
    )[:MOST_SOURCES]
    targets = [t for t in range(len(columns)) if t not in taken]
    tried = len(targets) * max(1, len(pool) * (len(pool) - 1) // 2)
    rules: list[Rule] = []
    # Where each of three columns follows from the other two, the last one is the target.
    for target, pair in sorted(_holding(codes, levels, pool, targets), reverse=True):
        if target in taken or circular([*known, *rules], target, pair):
            continue
        evidence = _evidence(codes, columns, levels, holds, pair, target)
        rule = _rule(codes, columns, levels, pair, target)
        if rule and evidence.convinces(tried):
            rules.append(rule)
            taken.add(target)
    return rules


def _may_be_source(column: Column, levels: Numbered) -> bool:
    if column.kind in LEVELLED:
        return len(levels.codes) <= MOST_LEVELS
    return column.kind == "integer" and len(levels.codes) <= MOST_NUMBERS


def _holding(
    codes: Rows, levels: dict[int, Numbered], pool: list[int], targets: list[int]
) -> Iterator[tuple[int, tuple[int, int]]]:
    """Yield (target, pair) that hold in a sample whose rows repeat the pair's levels."""
    chosen = np.arange(len(codes))
    if len(codes) > SAMPLE:
        chosen = np.sort(np.random.default_rng(2).choice(len(codes), SAMPLE, replace=False))
    sample = codes[chosen][:, targets]
    for first, second in combinations(sorted(pool), 2):
        place = _joint(levels[first], levels[second], chosen)
        order = np.argsort(place, kind="stable")[int((place < 0).sum()) :]
        if not len(order):
            continue
        starts = np.r_[0, np.flatnonzero(np.diff(place[order])) + 1]
        if len(starts) > len(order) / 2:
            continue
        rows = sample[order]
        low, high = np.fmin.reduceat(rows, starts), np.fmax.reduceat(rows, starts)
        for k in np.flatnonzero(~(low < high).any(axis=0)).tolist():
            if targets[k] not in (first, second):
                yield targets[k], (first, second)


def _joint(
    first: Numbered, second: Numbered, rows: NDArray[np.int64] | slice = slice(None)
) -> NDArray[np.int64]:
    """The number of the pair of levels in each row, or -1 where one is missing."""
    one, other = first.place[rows].astype(np.int64), second.place[rows].astype(np.int64)
    return np.where((one < 0) | (other < 0), -1, one * len(second.codes) + other)


def _evidence(
    codes: Rows,
    columns: Sequence[Column],
    levels: dict[int, Numbered],
    holds: NDArray[np.bool_],
    pair: tuple[int, int],
    target: int,
) -> Evidence:
    """What each of the two adds to the other, counted in rows or in levels of a finer column."""
    from aevb.datasets.tabular.level_rules import one_row_each

    joint = _joint(levels[pair[0]], levels[pair[1]])
    there = np.flatnonzero((joint >= 0) & ~np.isnan(codes[:, target]))
    first, second = (levels[source].place.astype(np.int64) for source in pair)
    cells = codes[:, target]
    return least(
        *(
            of_pair(one[rows], other[rows], cells[rows])
            for rows in (there, *one_row_each(columns, levels, holds, there, pair, target))
            for one, other in ((first, second), (second, first))
        )
    )


def _rule(
    codes: Rows,
    columns: Sequence[Column],
    levels: dict[int, Numbered],
    pair: tuple[int, int],
    target: int,
) -> Rule | None:
    """The map from a pair of levels, or None if it does not hold in every row."""
    joint = _joint(levels[pair[0]], levels[pair[1]])
    cells = codes[:, target]
    there = (joint >= 0) & ~np.isnan(cells)
    known, first, place = np.unique(joint[there], return_index=True, return_inverse=True)
    values = cells[there][first]
    if (values[place] != cells[there]).any():
        return None
    one, other = np.divmod(known, len(levels[pair[1]].codes))
    keys = zip(
        levels[pair[0]].codes[one].tolist(), levels[pair[1]].codes[other].tolist(), strict=True
    )
    return Rule(
        target,
        pair,
        "map",
        exact_gaps=exact_gaps(codes, target, pair),
        keys=tuple(keys),
        values=tuple(values.tolist()),
        tolerance=float(tolerance_of(columns[target], float(np.abs(values).max()))),
    )
