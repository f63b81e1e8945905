"""Compare the columns of two tables one by one, and in pairs.

Errors are between 0 and 1, and 0 is best: they are 1 minus the scores "column shapes" and "pair
trends" of SDMetrics. A missing cell is a level of its own in a category. In a column of numbers,
the shape is that of the cells that are there.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aevb.datasets.tabular.columns import Column
from aevb.evaluation.table_columns import (
    Array,
    Floats,
    is_number,
    level_count,
    picks,
    places,
    sizes,
    spread,
)

BINS = 10
"""A column of numbers beside a category is cut into so many bins of one width."""
MOST_PAIRS = 2000
"""Of more pairs of columns, a random choice is measured."""
TAILS = (0.001, 0.01, 0.99, 0.999)
"""The quantiles that are compared."""
SPIKE = 0.05
"""A single number in more than this share of the cells is a spike."""
MOST_BINNED = 65_536
"""A table of counts has at most so many cells. With more, only those that occur are counted."""

Picks = Sequence[NDArray[np.int64]]


class Measured(NamedTuple):
    """Errors of several columns or pairs.

    Args:
        names: The column of each error, or its two columns.
        errors: One for each name.
        standard_error: That of the mean of the errors, over rows.

    Example:
        >>> import numpy as np
        >>> from aevb.evaluation.table_shapes import Measured
        >>> Measured([("a",), ("b",)], np.array([0.1, 0.3]), 0.01).worst(1)
        {'b': 0.3}
    """

    names: list[tuple[str, ...]]
    errors: Floats
    standard_error: float

    @property
    def mean(self) -> float:
        """The mean error. NaN if nothing was measured."""
        return float(self.errors.mean()) if len(self.errors) else math.nan

    def worst(self, most: int) -> dict[str, float]:
        """The largest errors by name, the largest first.

        Example:
            >>> import numpy as np
            >>> from aevb.datasets.tabular.columns import Column
            >>> from aevb.evaluation.table_shapes import column_shapes
            >>> column = Column("a", "real", "float64")
            >>> column_shapes(np.zeros((9, 1)), np.ones((9, 1)), [column]).worst(1)
            {'a': 1.0}
        """
        order = np.argsort(-self.errors, kind="stable")[:most]
        return {" x ".join(self.names[i]): float(self.errors[i]) for i in order}


def column_shapes(
    real: Array, made: Array, columns: Sequence[Column], *, draws: int = 0, seed: int = 0
) -> Measured:
    """Measure how much the distribution of each column differs.

    The error is the Kolmogorov-Smirnov statistic for numbers, the largest difference of the two
    cumulative shares. For categories it is the total variation, half of the sum of the differences
    of their shares.

    Args:
        real: (N, C), codes.
        made: (M, C), codes of the rows to judge.
        columns: C columns.
        draws: How many draws of the rows of ``made`` give the standard error; 0 for none.
        seed: Seeds these draws.

    Example:
        >>> import numpy as np
        >>> from aevb.datasets.tabular.columns import Column
        >>> from aevb.evaluation.table_shapes import column_shapes
        >>> columns = [Column("a", "real", "float64"), Column("b", "boolean", "bool",
        ...                                                   levels=(False, True))]
        >>> real, made = np.array([[1.0, 0], [2, 0]]), np.array([[1.0, 1], [9, 0]])
        >>> column_shapes(real, made, columns).errors.tolist()
        [0.5, 0.5]
    """
    chosen = picks(len(made), draws, seed)
    real, made = sizes(real, columns), sizes(made, columns)
    errors = np.empty((len(chosen), len(columns)))
    for i, column in enumerate(columns):
        measure = _ks if is_number(column) else _total_variation
        errors[:, i] = measure(real[:, i], made[:, i], chosen, column)
    return Measured([(column.name,) for column in columns], errors[0], spread(errors.mean(1)))


def _ks(real: Array, made: Array, chosen: Picks, _: Column) -> list[float]:
    """Return the Kolmogorov-Smirnov statistic for each choice of rows of ``made``."""
    both = np.concatenate([real, made])
    # numpy sorts NaN to the end, so the last place is that of the missing cells.
    values, ranks = np.unique(both, return_inverse=True)
    count = len(values) - int(np.isnan(values[-1:]).any())
    of_real, of_made = ranks[: len(real)], ranks[len(real) :]
    wanted = _cumulative(of_real, count)
    return [_largest(wanted, _cumulative(of_made[pick], count)) for pick in chosen]


def _cumulative(ranks: Array, count: int) -> Floats | None:
    """Return the cumulative shares of the present cells: (count,), or None if there are none."""
    counts = np.bincount(ranks, minlength=count)[:count]
    total = counts.sum()
    return np.cumsum(counts) / total if total else None


def _largest(one: Floats | None, other: Floats | None) -> float:
    if one is None or other is None:
        return float((one is None) != (other is None))
    return float(np.abs(one - other).max())


def _total_variation(real: Array, made: Array, chosen: Picks, column: Column) -> list[float]:
    count = level_count(column, real, made)
    return _variation(places(real, count), places(made, count), chosen, count + 1)


def _variation(real: Array, made: Array, chosen: Picks, count: int) -> list[float]:
    """Return the total variation of cells 0 to count - 1, for each choice of rows of ``made``."""
    if count > MOST_BINNED:
        _, both = np.unique(np.concatenate([real, made]), return_inverse=True)
        real, made, count = both[: len(real)], both[len(real) :], int(both.max()) + 1
    wanted = np.bincount(real, minlength=count) / len(real)
    return [
        float(np.abs(wanted - np.bincount(made[pick], minlength=count) / len(pick)).sum()) / 2
        for pick in chosen
    ]


def pair_trends(
    real: Array, made: Array, columns: Sequence[Column], *, draws: int = 0, seed: int = 0
) -> Measured:
    """Measure how much the relation of two columns differs, for each pair of columns.

    For two columns of numbers, the error is half of the difference of their correlations, over the
    rows that have both. A pair that has no correlation in the real rows, as one with a constant
    column, is left out. Otherwise, it is the total variation of the shares of all combinations of
    levels. Numbers are cut into ten bins, of one width between the smallest and the largest real
    number. Missing cells are a bin of their own.

    Args:
        real: (N, C), codes.
        made: (M, C), codes of the rows to judge.
        columns: C columns. Of more than 2,000 pairs, a random choice is measured.
        draws: How many draws of the rows of ``made`` give the standard error; 0 for none.
        seed: Seeds these draws.

    Example:
        >>> import numpy as np
        >>> from aevb.datasets.tabular.columns import Column
        >>> from aevb.evaluation.table_shapes import pair_trends
        >>> columns = [Column("a", "real", "float64"), Column("b", "real", "float64")]
        >>> real, made = np.array([[1.0, 1], [2, 2], [3, 3]]), np.array([[1.0, 3], [2, 2], [3, 1]])
        >>> pair_trends(real, made, columns).worst(1)  # correlations of 1 and -1
        {'a x b': 1.0}
    """
    chosen = picks(len(made), draws, seed)
    numbers = {i for i, column in enumerate(columns) if is_number(column)}
    pairs = _pairs(len(columns))
    of_numbers = [pair for pair in pairs if numbers.issuperset(pair)]
    real, made = sizes(real, columns), sizes(made, columns)
    found = _correlation_errors(real, made, of_numbers, chosen)
    binned = [_binned(real[:, i], made[:, i], column) for i, column in enumerate(columns)]
    for i, j in set(pairs) - set(of_numbers):
        found[i, j] = _joint_variation(binned[i], binned[j], chosen)
    kept = sorted(found)
    errors = np.array([found[pair] for pair in kept]).reshape(len(kept), len(chosen))
    error = spread(errors.mean(0)) if kept else math.nan
    return Measured([_names(columns, pair) for pair in kept], errors[:, 0], error)


def _names(columns: Sequence[Column], pair: tuple[int, int]) -> tuple[str, ...]:
    return tuple(columns[i].name for i in pair)


def _pairs(count: int) -> list[tuple[int, int]]:
    """Return all pairs of columns, or a fixed random choice of them."""
    pairs = list(itertools.combinations(range(count), 2))
    if len(pairs) <= MOST_PAIRS:
        return pairs
    kept = np.random.default_rng(0).choice(len(pairs), MOST_PAIRS, replace=False)
    return [pairs[i] for i in np.sort(kept)]


def _correlation_errors(
    real: Array, made: Array, pairs: Sequence[tuple[int, int]], chosen: Picks
) -> dict[tuple[int, int], list[float]]:
    """Return half of the difference of the correlations, for each choice of rows of ``made``."""
    if not pairs:
        return {}
    used = sorted({i for pair in pairs for i in pair})
    at = {column: place for place, column in enumerate(used)}
    centre, scale = _centre_and_scale(real[:, used])
    wanted = correlations((real[:, used] - centre) / scale)
    made = (made[:, used] - centre) / scale
    found = np.nan_to_num(np.array([correlations(made[pick]) for pick in chosen]))
    errors = np.abs(found - wanted) / 2
    return {
        (i, j): errors[:, at[i], at[j]].tolist()
        for i, j in pairs
        if np.isfinite(wanted[at[i], at[j]])
    }


def _centre_and_scale(rows: Array) -> tuple[Floats, Floats]:
    """Return the mean and the deviation of the present cells of each column: (C,) each."""
    there = ~np.isnan(rows)
    count = np.maximum(there.sum(0), 1)
    centre = np.where(there, rows, 0).sum(0) / count
    scale = np.sqrt(np.square(np.where(there, rows - centre, 0)).sum(0) / count)
    return centre, np.where(scale > 0, scale, 1.0)


def correlations(rows: Array) -> Floats:
    """Return the correlation of each pair of columns, over the rows that have both: (C, C).

    It is NaN where there is none: with fewer than three rows, or with a constant column.

    Example:
        >>> import numpy as np
        >>> from aevb.evaluation.table_shapes import correlations
        >>> rows = np.array([[1.0, 2.0], [2.0, 4.0], [3.0, 6.0], [9.0, np.nan]])
        >>> correlations(rows)[0].tolist()
        [1.0, 1.0]
    """
    there = ~np.isnan(rows)
    filled, mask = np.where(there, rows, 0.0), there.astype(np.float64)
    count = mask.T @ mask
    # Entry [i, j] is about column i on the rows that have both i and j.
    total, squares = filled.T @ mask, np.square(filled).T @ mask
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = squares - total**2 / count
        variance = np.where(variance > 1e-12 * squares, variance, np.nan)
        product = filled.T @ filled - total * total.T / count
        found = product / np.sqrt(variance * variance.T)
    return np.where(count > 2, found.clip(-1, 1), np.nan)


class _Binned(NamedTuple):
    """A column as integers from 0 to levels - 1 on both sides. The last one is a missing cell."""

    real: NDArray[np.int64]
    made: NDArray[np.int64]
    levels: int


def _binned(real: Array, made: Array, column: Column) -> _Binned:
    count = BINS if is_number(column) else level_count(column, real, made)
    if is_number(column):
        inner = bin_edges(real)[1:-1]
        real, made = (
            np.where(np.isnan(side), np.nan, np.digitize(side, inner)) for side in (real, made)
        )
    return _Binned(places(real, count), places(made, count), count + 1)


def bin_edges(real: Array, bins: int = BINS) -> Floats:
    """Return the edges of bins of one width over the present cells: (bins + 1,).

    Example:
        >>> import numpy as np
        >>> from aevb.evaluation.table_shapes import bin_edges
        >>> bin_edges(np.array([0.0, np.nan, 4.0]), 2).tolist()
        [0.0, 2.0, 4.0]
    """
    present = real[~np.isnan(real)]
    return np.histogram_bin_edges(present if len(present) else np.zeros(1), bins).astype(np.float64)


def _joint_variation(one: _Binned, other: _Binned, chosen: Picks) -> list[float]:
    real = one.real * other.levels + other.real
    made = one.made * other.levels + other.made
    return _variation(real, made, chosen, one.levels * other.levels)


def tails(
    real: Array, made: Array, columns: Sequence[Column], *, draws: int = 0, seed: int = 0
) -> Measured:
    """Measure how far the tails of each column of numbers differ.

    The tails are the quantiles at 0.1, 1, 99 and 99.9 %. Each is put as a multiple of the spread of
    the column, the distance from its real median that 90 % of the real cells keep. Then asinh
    makes lengths of them: near the median, an error of 0.01 is a hundredth of the spread, and far
    from it a hundredth of the distance. The error of a column is the mean over the four.

    Arguments are those of ``column_shapes``.

    Example:
        >>> import numpy as np
        >>> from aevb.datasets.tabular.columns import Column
        >>> from aevb.evaluation.table_shapes import tails
        >>> rows = np.random.default_rng(0).standard_cauchy((5000, 1))
        >>> column = Column("a", "real", "float64")
        >>> tails(rows, rows, [column]).mean, round(tails(rows, 2 * rows, [column]).mean, 1)
        (0.0, 0.7)
    """
    return _of_numbers(real, made, columns, _tail_errors, draws, seed)


def spikes(
    real: Array, made: Array, columns: Sequence[Column], *, draws: int = 0, seed: int = 0
) -> Measured:
    """Measure how far the shares of single numbers differ that hold more than 5 % of a column.

    Such a number is 0 for a loss that most people do not have. Arguments are those of
    ``column_shapes``. A name is that of the column with the number.

    Example:
        >>> import numpy as np
        >>> from aevb.datasets.tabular.columns import Column
        >>> from aevb.evaluation.table_shapes import spikes
        >>> real, made = np.zeros((100, 1)), np.zeros((100, 1))
        >>> real[:50, 0], made[:40, 0] = np.arange(1, 51), np.arange(1, 41)
        >>> found = spikes(real, made, [Column("loss", "real", "float64")])
        >>> found.names, round(found.mean, 2)  # 50 % and 60 %
        ([('loss = 0',)], 0.1)
    """
    return _of_numbers(real, made, columns, _spike_errors, draws, seed)


Each = Callable[[Floats, list[Floats], Column], list[tuple[tuple[str, ...], list[float]]]]
"""Takes the cells of a real column, redraws of the other side, and the column."""


def _of_numbers(
    real: Array, made: Array, columns: Sequence[Column], each: Each, draws: int, seed: int
) -> Measured:
    chosen = picks(len(made), draws, seed)
    real, made = sizes(real, columns), sizes(made, columns)
    found: list[tuple[tuple[str, ...], list[float]]] = []
    for i, column in enumerate(columns):
        if is_number(column):
            sides = [made[pick, i] for pick in chosen]
            present = [side[~np.isnan(side)] for side in (real[:, i], *sides)]
            if all(len(side) for side in present):
                found += each(present[0], present[1:], column)
    names, errors = [name for name, _ in found], np.array([errors for _, errors in found])
    if not found:
        return Measured([], np.empty(0), math.nan)
    return Measured(names, errors[:, 0], spread(errors.mean(0)))


def _tail_errors(
    real: Floats, redraws: list[Floats], column: Column
) -> list[tuple[tuple[str, ...], list[float]]]:
    middle = float(np.median(real))
    spread_ = float(np.quantile(np.abs(real - middle), 0.9)) or float(real.std()) or 1.0

    def far(side: Floats) -> Any:
        return np.arcsinh((np.quantile(side, TAILS) - middle) / spread_)

    wanted = far(real)
    return [((column.name,), [float(np.abs(far(side) - wanted).mean()) for side in redraws])]


def _text(column: Column, value: float) -> str:
    """Write a number of a column as a person knows it."""
    return str(column.decode(np.array([value]))[0]) if column.kind == "date" else f"{value:g}"


def _spike_errors(
    real: Floats, redraws: list[Floats], column: Column
) -> list[tuple[tuple[str, ...], list[float]]]:
    values, counts = np.unique(real, return_counts=True)
    return [
        (
            (f"{column.name} = {_text(column, value)}",),
            [abs(float((side == value).mean()) - count / len(real)) for side in redraws],
        )
        for value, count in zip(values, counts, strict=True)
        if count > SPIKE * len(real)
    ]
