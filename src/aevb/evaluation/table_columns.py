"""What the figures about tables share: which columns are numbers, and error bars over rows.

Rows of a table are codes, as ``aevb.datasets.tabular.columns`` explains: float64, (N, C), NaN for a
missing cell.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aevb.datasets.tabular.cells import LEVELLED
from aevb.datasets.tabular.columns import Column

Floats = NDArray[np.float64]
Array = NDArray[Any]

DRAWS = 20
"""An error bar is the standard deviation over so many draws of the rows with replacement."""


def is_number(column: Column) -> bool:
    """Whether the cells are measured as numbers: sizes, dates, and orders of numbers.

    Example:
        >>> from aevb.datasets.tabular.columns import Column
        >>> from aevb.evaluation.table_columns import is_number
        >>> grade = Column("grade", "ordered", "int64", levels=(1, 2, 5))
        >>> is_number(grade), is_number(Column("sex", "category", "str", levels=("f", "m")))
        (True, False)
    """
    if column.kind == "ordered":
        levels = column.levels
        return len(levels) > 2 and all(type(level) in (int, float) for level in levels)
    return column.kind not in LEVELLED


def sizes(codes: Array, columns: Sequence[Column]) -> Floats:
    """Return the codes with the levels of ordered numbers in place of their places: (N, C).

    Example:
        >>> import numpy as np
        >>> from aevb.datasets.tabular.columns import Column
        >>> from aevb.evaluation.table_columns import sizes
        >>> grade = Column("grade", "ordered", "int64", levels=(1, 2, 5))
        >>> sizes(np.array([[2.0], [np.nan]]), [grade]).tolist()
        [[5.0], [nan]]
    """
    found = np.array(codes, np.float64)
    for i, column in enumerate(columns):
        if column.kind == "ordered" and is_number(column):
            levels = np.array([*column.levels, np.nan], np.float64)
            found[:, i] = levels[places(found[:, i], len(column.levels))]
    return found


def places(codes: Array, count: int) -> NDArray[np.int64]:
    """Return the codes of ``count`` levels as integers: (N,). A missing cell has place ``count``.

    Example:
        >>> import numpy as np
        >>> from aevb.evaluation.table_columns import places
        >>> places(np.array([1.0, np.nan, 0.0]), 2).tolist()
        [1, 2, 0]
    """
    return np.where(np.isnan(codes), count, codes).astype(np.int64)


def level_count(column: Column, *sides: Array) -> int:
    """How many levels a column has: those that it knows, and any further code of the sides.

    Example:
        >>> import numpy as np
        >>> from aevb.datasets.tabular.columns import Column
        >>> from aevb.evaluation.table_columns import level_count
        >>> sex = Column("sex", "category", "str", levels=("f", "m"))
        >>> level_count(sex, np.array([0.0, np.nan])), level_count(sex, np.array([4.0]))
        (2, 5)
    """
    most = [float(np.nanmax(side)) for side in sides if np.isfinite(side).any()]
    return max(len(column.levels), 1 + int(max(most, default=-1)))


def picks(rows: int, draws: int = DRAWS, seed: int = 0) -> list[NDArray[np.int64]]:
    """Return numbers of rows: all rows first, and then ``draws`` draws with replacement.

    A statistic of each of them gives the value, and ``spread`` gives its standard error.

    Example:
        >>> from aevb.evaluation.table_columns import picks
        >>> [len(pick) for pick in picks(5, draws=2)]
        [5, 5, 5]
    """
    rng = np.random.default_rng(seed)
    return [np.arange(rows), *(rng.integers(0, rows, rows) for _ in range(draws))]


def spread(values: Array) -> float:
    """Return the standard error of the first of the values, which the others are redraws of.

    Example:
        >>> import numpy as np
        >>> from aevb.evaluation.table_columns import spread
        >>> spread(np.array([7.0, 6.0, 8.0]))
        1.4142135623730951
    """
    return float(np.std(values[1:], ddof=1)) if len(values) > 2 else math.nan


def share(hits: Array, counted: Array) -> tuple[float, float]:
    """Return the share of hits among the counted cells, and its standard error over rows.

    The cells of a row may go together, so the error is that of a ratio of sums over rows. It is at
    least that of two hits, since no hit does not prove a share of 0.

    Args:
        hits: (N,), hits in each row.
        counted: (N,), cells of each row that could have been hits.

    Returns:
        Both NaN if no cell was counted.

    Example:
        >>> import numpy as np
        >>> from aevb.evaluation.table_columns import share
        >>> found, error = share(np.array([1, 0, 0, 1]), np.array([2, 2, 2, 2]))
        >>> found, round(error, 3)
        (0.25, 0.177)
    """
    total = float(counted.sum())
    if total == 0:
        return math.nan, math.nan
    value = float(hits.sum()) / total
    error = math.sqrt(float(np.square(hits - value * counted).sum())) / total
    return value, max(error, math.sqrt(2) / max(total, 2.0))
