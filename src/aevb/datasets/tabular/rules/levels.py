"""The levels of the columns of a table, and which columns have one value for each level of another.

A sample of the rows discards nearly all pairs of columns; the others must hold in every row.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from aevb.datasets.tabular.cells import LEVELLED
from aevb.datasets.tabular.columns import Column

SAMPLES = (4096, 65_536)
"""So many rows are looked at before all of them."""

Rows = NDArray[np.float64]


class Numbered(NamedTuple):
    """The levels of a column in all rows.

    Args:
        place: (N,), the number of the level in each row, or -1 where the cell is missing.
        codes: (G,), the code of each level, ascending.

    Example:
        >>> import numpy as np
        >>> from aevb.datasets.tabular.rules.levels import Numbered
        >>> Numbered.of(np.array([5.0, np.nan, 3.0])).place
        array([ 1, -1,  0], dtype=int32)
    """

    place: NDArray[np.int32]
    codes: Rows

    @classmethod
    def of(cls, column: Rows) -> Numbered:
        """Number the levels of a column. column: (N,), its codes."""
        place = np.full(len(column), -1, np.int32)
        there = ~np.isnan(column)
        codes, place[there] = np.unique(column[there], return_inverse=True)
        return cls(place, codes)


@dataclass(frozen=True, eq=False)
class Facts:
    """What the search for rules knows of a table.

    Args:
        codes: (N, C), the codes of the modelled columns, NaN for a missing cell.
        columns: The C modelled columns.
        chosen: The numbers of the rows of a sample, ascending.
        levels: The levels of each column whose values occur twice on average.
        holds: (C, C), whether column t has one value for each level of column s, at [s, t]. False
            if the values of s hardly repeat.

    Example:
        >>> import numpy as np
        >>> from aevb.datasets.tabular.columns import Column
        >>> from aevb.datasets.tabular.rules.levels import Facts
        >>> city = np.arange(20) % 4
        >>> columns = [Column("city", "category", "str"), Column("land", "category", "str")]
        >>> Facts.of(np.column_stack([city, city // 2.0]), columns).holds
        array([[False,  True],
               [False, False]])
    """

    codes: Rows
    columns: Sequence[Column]
    chosen: NDArray[np.int64]
    levels: dict[int, Numbered]
    holds: NDArray[np.bool_]

    @classmethod
    def of(cls, codes: Rows, columns: Sequence[Column]) -> Facts:
        """Find the levels, and what holds."""
        levels = {
            number: Numbered.of(codes[:, number])
            for number in range(len(columns))
            if _repeats(codes, number)
        }
        chosen = sample(len(codes), SAMPLES[0])
        holds = _holding(codes[chosen], list(levels))
        for most in (SAMPLES[1], len(codes)):
            if len(codes) > SAMPLES[0]:
                rows = sample(len(codes), most)
                for source, target in np.argwhere(holds).tolist():
                    value = value_of(levels[source].place[rows], codes[rows, target])
                    holds[source, target] = value is not None
        return cls(codes, columns, chosen, levels, holds)

    def whole(self, *numbers: int) -> NDArray[np.int64]:
        """The numbers of the rows in which the cells of these columns are there."""
        there = ~np.isnan(self.codes[:, numbers[0]])
        for number in numbers[1:]:
            there &= ~np.isnan(self.codes[:, number])
        return np.flatnonzero(there)

    def one_row_each(
        self, there: NDArray[np.int64], sources: tuple[int, ...], target: int
    ) -> Iterator[NDArray[np.int64]]:
        """Yield, for each column that determines sources and target, one row of each level.

        In a table with many rows of each person, all that is fixed for a person repeats. Then
        height would determine sex, as hardly two persons share a height. Evidence must count
        persons, not rows.

        Args:
            there: The rows in which sources and target are there.
            sources: The sources of a rule.
            target: Its target.

        Example:
            >>> import numpy as np
            >>> from aevb.datasets.tabular.columns import Column
            >>> from aevb.datasets.tabular.rules.levels import Facts
            >>> person = np.arange(8) // 2
            >>> codes = np.column_stack([person, 170.0 + person % 3, person % 2])
            >>> columns = [Column("person", "category", "str"), Column("cm", "real", "float64"),
            ...            Column("sex", "category", "str")]
            >>> facts = Facts.of(codes, columns)
            >>> [rows.tolist() for rows in facts.one_row_each(np.arange(8), (1,), 2)]
            [[0, 2, 4, 6]]
        """
        wanted = [*sources, target]
        for finer in self.levels:
            if finer in wanted or not self.holds[finer, wanted].all():
                continue
            # Of two names of one thing, neither makes the rows of the other one row. But numbers
            # that tell the levels of a category apart are measured values of it.
            named = all(self.columns[source].kind in LEVELLED for source in sources)
            if named and len(sources) == 1 and self.holds[sources[0], finer]:
                continue
            place = self.levels[finer].place[there]
            known = place >= 0
            yield there[known][np.unique(place[known], return_index=True)[1]]


def sample(rows: int, most: int) -> NDArray[np.int64]:
    """Choose some rows at random, the same in every call. Returns their numbers, ascending.

    Example:
        >>> from aevb.datasets.tabular.rules.levels import sample
        >>> sample(3, most=10), len(sample(1000, most=10))
        (array([0, 1, 2]), 10)
    """
    if rows <= most:
        return np.arange(rows)
    return np.sort(np.random.default_rng(0).choice(rows, most, replace=False))


def _repeats(codes: Rows, number: int) -> bool:
    """Whether the values of a column occur twice on average, as those of a source must."""
    part = codes[sample(len(codes), SAMPLES[1]), number]
    part = part[~np.isnan(part)]
    return 1 < len(np.unique(part)) <= len(part) / 2


def _holding(codes: Rows, sources: list[int]) -> NDArray[np.bool_]:
    """Whether each column has one value for each level of each source: (C, C), [source, column]."""
    holds = np.zeros((codes.shape[1],) * 2, np.bool_)
    for source in sources:
        there = np.flatnonzero(~np.isnan(codes[:, source]))
        holds[source] = one_value(codes[there, source], codes[there])
        holds[source, source] = False
    return holds


def one_value(groups: NDArray[np.generic], rows: Rows) -> NDArray[np.bool_]:
    """Whether each column has one value in each group, apart from missing cells: (C,).

    Args:
        groups: (M,), a number for each row, the same for rows of one group.
        rows: (M, C).

    Example:
        >>> import numpy as np
        >>> from aevb.datasets.tabular.rules.levels import one_value
        >>> one_value(np.array([0, 1, 0]), np.array([[5.0, 5.0], [6.0, 6.0], [5.0, 7.0]]))
        array([ True, False])
    """
    if not len(groups):
        return np.ones(rows.shape[1], np.bool_)
    order = np.argsort(groups, kind="stable")
    ordered, rows = groups[order], rows[order]
    starts = np.r_[0, np.flatnonzero(ordered[1:] != ordered[:-1]) + 1]
    low, high = np.fmin.reduceat(rows, starts), np.fmax.reduceat(rows, starts)
    one: NDArray[np.bool_] = ~np.logical_or.reduce(low < high, axis=0)
    return one


def value_of(place: NDArray[np.int32], target: Rows) -> Rows | None:
    """Return the target's value for each level, NaN where it is never there: (G,).

    None: some level has two values.

    Args:
        place: (N,), the number of the level in each row, or -1.
        target: (N,), the codes of the target.

    Example:
        >>> import numpy as np
        >>> from aevb.datasets.tabular.rules.levels import value_of
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
