"""How strongly the columns of a table go together, two by two, for columns of any kinds."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np

from aevb.datasets.tabular.columns import Column
from aevb.evaluation.table_columns import Array, Floats, is_number, level_count, places, sizes
from aevb.evaluation.table_shapes import correlations


def associations(rows: Array, columns: Sequence[Column]) -> Floats:
    """Return the association of each pair of columns: (C, C), NaN where there is none.

    It is the correlation of two columns of numbers, from -1 to 1. It is Cramer's V of two columns
    of levels, from 0 to 1: the root of chi squared by the largest that it could be. It is the
    correlation ratio of a column of numbers and one of levels, from 0 to 1: the root of the share
    of the variance that lies between the levels. Missing cells are a level of their own among
    levels, and rows without the number are left out.

    Args:
        rows: (N, C), codes.
        columns: C columns.

    Example:
        >>> import numpy as np
        >>> from aevb.datasets.tabular.columns import Column
        >>> from aevb.evaluation.associations import associations
        >>> columns = [Column("a", "real", "float64"), Column("b", "boolean", "bool",
        ...                                                   levels=(False, True))]
        >>> rows = np.array([[1.0, 0], [1.0, 0], [5.0, 1], [5.0, 1]])
        >>> associations(rows, columns).round(3).tolist()
        [[1.0, 1.0], [1.0, 1.0]]
    """
    rows = sizes(rows, columns)
    numbers = [is_number(column) for column in columns]
    levels = [
        None if number else places(rows[:, i], level_count(columns[i], rows[:, i]))
        for i, number in enumerate(numbers)
    ]
    found = correlations(_centred(rows))
    for i, j in itertools.combinations(range(len(columns)), 2):
        first, second = levels[i], levels[j]
        if first is not None and second is not None:
            found[i, j] = _cramer(first, second)
        elif first is not None:
            found[i, j] = _ratio(rows[:, j], first)
        elif second is not None:
            found[i, j] = _ratio(rows[:, i], second)
        found[j, i] = found[i, j]
    np.fill_diagonal(found, 1.0)
    return found


def _centred(rows: Array) -> Floats:
    """Return the columns around 0, so that their squares keep their digits."""
    there = ~np.isnan(rows)
    centred: Floats = rows - np.where(there, rows, 0).sum(0) / np.maximum(there.sum(0), 1)
    return centred


def _cramer(one: Array, other: Array) -> float:
    """Return Cramer's V of two columns of places: (N,) each."""
    _, one = np.unique(one, return_inverse=True)
    _, other = np.unique(other, return_inverse=True)
    first, second = np.bincount(one), np.bincount(other)
    least = min(len(first), len(second)) - 1
    if least < 1:
        return math.nan
    both, counts = np.unique(one * len(second) + other, return_counts=True)
    expected = first[both // len(second)] * second[both % len(second)]
    # The sum of counts^2 / expected counts is chi squared / N + 1: no zero cell is needed for it.
    squared = float((counts.astype(np.float64) ** 2 / expected).sum()) - 1
    return math.sqrt(min(max(squared / least, 0.0), 1.0))


def _ratio(numbers: Array, levels: Array) -> float:
    """Return the correlation ratio of numbers: (N,) by places: (N,)."""
    there = ~np.isnan(numbers)
    numbers, levels = numbers[there], levels[there]
    if len(numbers) < 3 or np.ptp(numbers) == 0 or np.ptp(levels) == 0:
        return math.nan
    numbers = numbers - numbers.mean()
    counts, sums = np.bincount(levels), np.bincount(levels, weights=numbers)
    between = float((sums[counts > 0] ** 2 / counts[counts > 0]).sum())
    return math.sqrt(min(max(between / float(np.square(numbers).sum()), 0.0), 1.0))
