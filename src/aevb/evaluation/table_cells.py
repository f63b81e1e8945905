"""Cells that no real row would have: out of range, never seen, no whole number, against a rule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from aevb.datasets.tabular.columns import Column
from aevb.evaluation.table_columns import Array, Floats, is_number, share

Rate = tuple[float, float]
"""A share of cells, and its standard error over rows. Both are NaN if there are no such cells."""


class Rule(Protocol):
    """A dependency between columns that the training rows keep.

    Example:
        >>> import numpy as np
        >>> class Twice:  # column 1 is twice column 0
        ...     target = 1
        ...     def predict(self, codes):
        ...         return 2 * codes[:, 0]
        >>> Twice().predict(np.array([[1.0, 2.0]])).tolist()
        [2.0]
    """

    @property
    def target(self) -> int:
        """The number of the column that follows from others."""

    def predict(self, codes: NDArray[np.float64]) -> Any:
        """Return what the target must be in each row: (N,). NaN where the rule does not say.

        Example:
            >>> import numpy as np
            >>> from aevb.datasets.tabular.rules import Rule
            >>> Rule(1, (0,), "linear", coefficients=(2.0,)).predict(np.array([[1.0, 2.0]]))
            array([2.])
        """


def missing_rates(rows: Array) -> Floats:
    """Return the share of missing cells of each column: (C,).

    Example:
        >>> import numpy as np
        >>> from aevb.evaluation.table_cells import missing_rates
        >>> missing_rates(np.array([[1.0, np.nan], [2.0, 3.0]])).tolist()
        [0.0, 0.5]
    """
    found: Floats = np.isnan(rows).mean(0)
    return found


def missing_difference(reference: Array, rows: Array) -> tuple[float, float, int]:
    """Return the largest difference of the shares of missing cells, its error, and its column.

    Example:
        >>> import numpy as np
        >>> from aevb.evaluation.table_cells import missing_difference
        >>> rows = np.array([[1.0, np.nan], [2.0, 3.0]])
        >>> difference, _, column = missing_difference(np.ones((2, 2)), rows)
        >>> difference, column
        (0.5, 1)
    """
    differences = np.abs(missing_rates(rows) - missing_rates(reference))
    worst = int(differences.argmax())
    error = share(np.isnan(rows[:, worst]), np.ones(len(rows)))[1]
    return float(differences[worst]), error, worst


def out_of_range(reference: Array, rows: Array, columns: Sequence[Column]) -> Rate:
    """Return the share of the numbers that are below or above all numbers of the reference.

    Args:
        reference: (N, C), codes.
        rows: (M, C), codes of the rows to judge.
        columns: C columns.

    Example:
        >>> import numpy as np
        >>> from aevb.datasets.tabular.columns import Column
        >>> from aevb.evaluation.table_cells import out_of_range
        >>> out_of_range(np.array([[0.0], [9.0]]), np.array([[5.0], [10.0]]),
        ...              [Column("a", "real", "float64")])[0]
        0.5
    """
    kept = [i for i, column in enumerate(columns) if is_number(column)]
    reference, rows = reference[:, kept], rows[:, kept]
    there = ~np.isnan(reference)
    low = np.where(there, reference, np.inf).min(0)
    high = np.where(there, reference, -np.inf).max(0)
    return share(((rows < low) | (rows > high)).sum(1), (~np.isnan(rows)).sum(1))


def never_seen(reference: Array, rows: Array, columns: Sequence[Column]) -> Rate:
    """Return the share of the cells with levels whose level is nowhere in the reference's column.

    Arguments are those of ``out_of_range``. A missing cell is not counted.

    Example:
        >>> import numpy as np
        >>> from aevb.datasets.tabular.columns import Column
        >>> from aevb.evaluation.table_cells import never_seen
        >>> never_seen(np.array([[0.0], [1.0]]), np.array([[1.0], [2.0]]),
        ...            [Column("a", "category", "str", levels=("x", "y", "z"))])[0]
        0.5
    """
    kept = [i for i, column in enumerate(columns) if not is_number(column)]
    there = ~np.isnan(rows[:, kept])
    hits = np.zeros(len(rows))
    for place, i in enumerate(kept):
        hits += there[:, place] & ~np.isin(rows[:, i], reference[:, i])
    return share(hits, there.sum(1))


def not_whole(reference: Array, rows: Array, columns: Sequence[Column]) -> Rate:
    """Return the share of the cells with a fraction, in columns of whole numbers.

    Such columns are those of numbers whose cells in the reference are all whole. Arguments are
    those of ``out_of_range``.

    Example:
        >>> import numpy as np
        >>> from aevb.datasets.tabular.columns import Column
        >>> from aevb.evaluation.table_cells import not_whole
        >>> not_whole(np.array([[1.0], [4.0]]), np.array([[1.5], [2.0]]),
        ...           [Column("a", "integer", "int64")])[0]
        0.5
    """
    whole = np.isnan(reference) | (reference == np.rint(reference))
    numbers = np.array([is_number(column) for column in columns])
    kept = whole.all(0) & (~np.isnan(reference)).any(0) & numbers
    there = ~np.isnan(rows[:, kept])
    return share((there & (rows[:, kept] != np.rint(rows[:, kept]))).sum(1), there.sum(1))


def broken_rules(rows: Array, rules: Sequence[Rule]) -> Rate:
    """Return the share of the cells that are not what a rule says they must be.

    Args:
        rows: (M, C), codes of the rows to judge.
        rules: The rules. A cell is judged by each rule that says something about it, unless it is
            missing. A rule may have a ``tolerance``, by which a cell may miss what it says.

    Example:
        >>> import numpy as np
        >>> from aevb.evaluation.table_cells import broken_rules
        >>> class Twice:
        ...     target = 1
        ...     def predict(self, codes):
        ...         return 2 * codes[:, 0]
        >>> broken_rules(np.array([[1.0, 2.0], [2.0, 5.0]]), [Twice()])[0]
        0.5
    """
    hits, counted = np.zeros(len(rows)), np.zeros(len(rows))
    for rule in rules:
        apart = np.abs(np.asarray(rule.predict(rows), np.float64) - rows[:, rule.target])
        # A sum of decimals may end in other bits than the number in the table.
        hits += apart > getattr(rule, "tolerance", 1e-9)
        counted += ~np.isnan(apart)
    return share(hits, counted)
