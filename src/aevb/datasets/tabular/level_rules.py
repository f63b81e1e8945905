"""Find columns that follow from the levels of one or two columns, or from ranges of a number.

A sample of the rows discards nearly all candidates; the others must hold in every row. Of several
sources that determine a column, the one with the fewest levels is kept: a continent follows from
the country, not from the city. Of two columns that determine each other, text is the source.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aevb.datasets.tabular.cells import LEVELLED
from aevb.datasets.tabular.columns import Column
from aevb.datasets.tabular.evidence import Evidence, least, of_map, of_steps
from aevb.datasets.tabular.linear_rules import simplest
from aevb.datasets.tabular.pair_rules import pair_rules
from aevb.datasets.tabular.rules import Rule, circular, exact_gaps, tolerance_of

SAMPLES = (4096, 65_536)
"""So many rows are looked at before all of them."""
MOST_NUMBERS = 100
"""A map from numbers has at most so many of them; a tenth of the rows at most, too."""
MOST_VALUES = 64
"""A target of steps has at most so many values."""
ORDER = ("category", "ordered", "boolean", "date", "integer", "real")
"""Of two columns that determine each other, the one whose kind stands first here is the source."""

Rows = NDArray[np.float64]


class Numbered(NamedTuple):
    """The levels of a column in all rows.

    Args:
        place: (N,), the number of the level in each row, or -1 where the cell is missing.
        codes: (G,), the code of each level, ascending.
    """

    place: NDArray[np.int32]
    codes: Rows


def numbered(column: Rows) -> Numbered:
    """Number the levels of a column. column: (N,), its codes.

    Example:
        >>> import numpy as np
        >>> from aevb.datasets.tabular.level_rules import numbered
        >>> numbered(np.array([5.0, np.nan, 3.0])).place
        array([ 1, -1,  0], dtype=int32)
    """
    place = np.full(len(column), -1, np.int32)
    there = ~np.isnan(column)
    codes, place[there] = np.unique(column[there], return_inverse=True)
    return Numbered(place, codes)


class _Candidate(NamedTuple):
    """A rule that holds, what speaks for it, and how many levels or ranges it has."""

    rule: Rule
    evidence: Evidence
    size: int


def level_rules(codes: Rows, columns: Sequence[Column], known: Sequence[Rule]) -> list[Rule]:
    """Add to the known rules those that follow from levels or ranges. See ``find_rules``.

    Args:
        codes: (N, C), the codes of the modelled columns.
        columns: The C modelled columns.
        known: Rules that were found before. Their targets get no other.

    Example:
        >>> import numpy as np
        >>> from aevb.datasets.tabular.columns import Column
        >>> from aevb.datasets.tabular.level_rules import level_rules
        >>> state = np.random.default_rng(0).integers(0, 8, 300)
        >>> columns = [Column("state", "category", "str"), Column("east", "boolean", "bool")]
        >>> rules = level_rules(np.column_stack([state, state > 3.0]), columns, [])
        >>> rules[0].describe(columns)
        'east follows from state'
    """
    chosen = _sample(codes, SAMPLES[0])
    sample = codes[chosen]
    levels = {
        source: numbered(codes[:, source])
        for source in range(len(columns))
        if _may_repeat(codes, source)
    }
    holds = _holding(sample, list(levels))
    _hold_everywhere(codes, levels, holds)
    found = list(known)
    tried = 2 * len(columns) ** 2
    taken = {rule.target for rule in found}
    for target in sorted(set(range(len(columns))) - taken, key=lambda t: _rank(columns, t)[::-1]):
        candidates = [
            *_maps(codes, columns, levels, holds, target),
            *_steps(codes, sample, columns, levels, holds, target),
        ]
        rule = _best(columns, holds, candidates, found, tried)
        found += [rule] if rule else []
    return [*found, *pair_rules(codes, columns, levels, holds, found)]


def _sample(codes: Rows, most: int) -> NDArray[np.int64]:
    """The numbers of some rows, ascending."""
    if len(codes) <= most:
        return np.arange(len(codes))
    return np.sort(np.random.default_rng(1).choice(len(codes), most, replace=False))


def _may_repeat(codes: Rows, column: int) -> bool:
    """Whether the values of a column occur twice on average, as those of a source must."""
    part = codes[_sample(codes, SAMPLES[1]), column]
    part = part[~np.isnan(part)]
    distinct = len(np.unique(part))
    return 1 < distinct <= len(part) / 2


def _holding(sample: Rows, sources: list[int]) -> NDArray[np.bool_]:
    """Whether column t has one value for each value of column s in the sample: (C, C), [s, t]."""
    holds = np.zeros((sample.shape[1],) * 2, np.bool_)
    for source in sources:
        column = sample[:, source]
        order = np.argsort(column, kind="stable")[: len(column) - int(np.isnan(column).sum())]
        if not len(order):
            continue
        starts = np.r_[0, np.flatnonzero(np.diff(column[order])) + 1]
        rows = sample[order]
        low = np.fmin.reduceat(rows, starts, axis=0)
        high = np.fmax.reduceat(rows, starts, axis=0)
        holds[source] = ~(low < high).any(axis=0)
        holds[source, source] = False
    return holds


def _hold_everywhere(codes: Rows, levels: dict[int, Numbered], holds: NDArray[np.bool_]) -> None:
    """Keep in ``holds`` what holds in more rows, and then in all rows."""
    for most in SAMPLES[1:]:
        if len(codes) > SAMPLES[0]:
            chosen = _sample(codes, most)
            for source, target in np.argwhere(holds).tolist():
                place = levels[source].place[chosen]
                holds[source, target] = value_of(place, codes[chosen, target]) is not None
    if len(codes) > SAMPLES[-1]:
        for source, target in np.argwhere(holds).tolist():
            held = value_of(levels[source].place, codes[:, target])
            holds[source, target] = held is not None


def value_of(place: NDArray[np.int32], target: Rows) -> Rows | None:
    """Return the target's value for each level, NaN where it is never there: (G,).

    None: some level has two values.

    Args:
        place: (N,), the number of the level in each row, or -1.
        target: (N,), the codes of the target.

    Example:
        >>> import numpy as np
        >>> from aevb.datasets.tabular.level_rules import value_of
        >>> place = np.array([0, 1, 0], np.int32)
        >>> value_of(place, np.array([7.0, 8.0, 7.0]))
        array([7., 8.])
        >>> value_of(place, np.array([7.0, 8.0, 9.0])) is None
        True
    """
    there = (place >= 0) & ~np.isnan(target)
    at, cells = (place, target) if there.all() else (place[there], target[there])
    table = np.full(int(place.max(initial=-1)) + 1, np.nan)
    table[at] = cells
    return table if bool((table[at] == cells).all()) else None


# -------------------------------------------------------------------------------------------------
# maps


def _maps(
    codes: Rows,
    columns: Sequence[Column],
    levels: dict[int, Numbered],
    holds: NDArray[np.bool_],
    target: int,
) -> Iterator[_Candidate]:
    """Yield the maps from one column that hold for a target."""
    for source in np.flatnonzero(holds[:, target]).tolist():
        if not _is_level_like(columns[source], levels[source]):
            continue
        place, cells = levels[source].place, codes[:, target]
        table = value_of(place, cells)
        if table is None:
            continue
        there = np.flatnonzero((place >= 0) & ~np.isnan(cells))
        evidence = least(
            of_map(place[there].astype(np.int64), cells[there]),
            *(
                of_map(place[rows].astype(np.int64), cells[rows])
                for rows in one_row_each(columns, levels, holds, there, (source,), target)
            ),
        )
        seen = ~np.isnan(table)
        rule = Rule(
            target,
            (source,),
            "map",
            exact_gaps=exact_gaps(codes, target, (source,)),
            keys=tuple((code,) for code in levels[source].codes[seen].tolist()),
            values=tuple(table[seen].tolist()),
            tolerance=_tolerance(columns[target], cells),
        )
        yield _Candidate(rule, evidence, int(seen.sum()))


def _is_level_like(column: Column, levels: Numbered) -> bool:
    """Whether a map can start from the column."""
    if column.kind in LEVELLED:
        return True
    return len(levels.codes) <= min(MOST_NUMBERS, len(levels.place) / 10)


def _tolerance(column: Column, cells: Rows) -> float:
    return float(tolerance_of(column, float(np.nanmax(np.abs(cells)))))


def one_row_each(
    columns: Sequence[Column],
    levels: dict[int, Numbered],
    holds: NDArray[np.bool_],
    there: NDArray[np.int64],
    sources: tuple[int, ...],
    target: int,
) -> Iterator[NDArray[np.int64]]:
    """Yield, for each column that determines sources and target, one row of each of its levels.

    In a table with many rows of each person, all that is fixed for a person repeats. Then height
    would determine sex, as hardly two persons share a height. Evidence must count persons, not
    rows.

    Args:
        columns: The modelled columns.
        levels: The levels of those that repeat.
        holds: (C, C), whether column t follows from column s in all rows, at [s, t].
        there: The rows in which sources and target are there.
        sources: The sources of a rule.
        target: Its target.

    Example:
        >>> import numpy as np
        >>> from aevb.datasets.tabular.columns import Column
        >>> from aevb.datasets.tabular.level_rules import numbered, one_row_each
        >>> person = np.arange(6) // 2  # with a height and a sex of its own
        >>> holds = np.array([[False, True, True], [False, False, True], [False] * 3])
        >>> columns = [Column("person", "category", "str"), Column("height", "real", "float64"),
        ...            Column("sex", "category", "str")]
        >>> [rows.tolist() for rows in one_row_each(
        ...     columns, {0: numbered(person * 1.0)}, holds, np.arange(6), (1,), 2)]
        [[0, 2, 4]]
    """
    wanted = [*sources, target]
    for finer in levels:
        if finer in wanted or not holds[finer, wanted].all():
            continue
        # Of two columns that determine each other, one does not make the other's rows one. But
        # numbers that name the level of a category are measured values of it.
        named = all(columns[source].kind in LEVELLED for source in sources)
        if named and len(sources) == 1 and holds[sources[0], finer]:
            continue
        place = levels[finer].place[there]
        known = place >= 0
        yield there[known][np.unique(place[known], return_index=True)[1]]


# -------------------------------------------------------------------------------------------------
# steps


def _steps(
    codes: Rows,
    sample: Rows,
    columns: Sequence[Column],
    levels: dict[int, Numbered],
    holds: NDArray[np.bool_],
    target: int,
) -> Iterator[_Candidate]:
    """Yield the rules of steps along a number that hold for a target."""
    cells = sample[:, target]
    values = np.unique(cells[~np.isnan(cells)])
    if not 1 < len(values) <= MOST_VALUES:
        return
    for source, column in enumerate(columns):
        if source == target or column.kind in LEVELLED:
            continue
        if (source in levels and not holds[source, target]) or not _in_steps(
            sample[:, source], cells
        ):
            continue
        found = _in_steps(codes[:, source], codes[:, target])
        if found:
            yield _with_evidence(codes, columns, levels, holds, found, (source, target))


class _Stepped(NamedTuple):
    """Where a target changes along a source, its values, and how often each of these occurs."""

    cuts: tuple[float, ...]
    values: tuple[float, ...]
    places: int
    counts: NDArray[np.int64]


def _in_steps(source: Rows, target: Rows) -> _Stepped | None:
    """The steps of a target along a source, or None if there are too many changes."""
    there = ~(np.isnan(source) | np.isnan(target))
    source, target = source[there], target[there]
    order = np.argsort(source, kind="stable")
    along, cells = source[order], target[order]
    changes = np.flatnonzero(np.diff(cells))
    if not 0 < len(changes) <= 2 * (MOST_VALUES - 1):
        return None
    counts = np.unique(cells, return_counts=True)[1]
    # Two ranges a value: low and high are both odd, winter begins and ends the year.
    few = len(counts) <= MOST_VALUES and len(changes) <= 2 * (len(counts) - 1)
    if not few or (along[changes] == along[changes + 1]).any():
        return None
    cuts = tuple(_between(along[i], along[i + 1]) for i in changes)
    places = 1 + int((np.diff(along) > 0).sum())
    return _Stepped(cuts, tuple(cells[[*changes, -1]].tolist()), places, counts)


def _between(low: float, high: float) -> float:
    """A simple number from which on the target has its next value: above low, up to high."""
    apart = float(high - low)
    cut = simplest(float(low) + apart / 4, float(high) - apart / 4)
    return cut if low < cut <= high else float(high)


def _with_evidence(
    codes: Rows,
    columns: Sequence[Column],
    levels: dict[int, Numbered],
    holds: NDArray[np.bool_],
    found: _Stepped,
    pair: tuple[int, int],
) -> _Candidate:
    source, target = pair
    there = np.flatnonzero(~np.isnan(codes[:, pair]).any(axis=1))
    changes = len(found.cuts)
    evidence = [of_steps(changes, found.places, found.counts)]
    for rows in one_row_each(columns, levels, holds, there, (source,), target):
        counts = np.unique(codes[rows, target], return_counts=True)[1]
        evidence.append(of_steps(changes, max(found.places, changes + 1), counts))
    rule = Rule(
        target,
        (source,),
        "steps",
        exact_gaps=exact_gaps(codes, target, (source,)),
        values=found.values,
        cuts=found.cuts,
        tolerance=_tolerance(columns[target], codes[:, target]),
    )
    return _Candidate(rule, least(*evidence), changes + 1)


# -------------------------------------------------------------------------------------------------
# which rule


def _best(
    columns: Sequence[Column],
    holds: NDArray[np.bool_],
    candidates: list[_Candidate],
    found: list[Rule],
    tried: int,
) -> Rule | None:
    """The candidate with the fewest levels that is no chance and makes no circle."""
    for one in sorted(candidates, key=lambda c: (c.size, _rank(columns, c.rule.sources[0]))):
        source, target = one.rule.sources[0], one.rule.target
        mutual = holds[source, target] and holds[target, source]
        if mutual and _rank(columns, target) < _rank(columns, source):
            continue
        if one.evidence.convinces(tried) and not circular(found, target, (source,)):
            return one.rule
    return None


def _rank(columns: Sequence[Column], number: int) -> tuple[bool, int, int]:
    """Sort columns that determine each other: text first, then by kind, then by place."""
    column = columns[number]
    return not column.holds_text, ORDER.index(column.kind), number
