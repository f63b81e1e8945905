"""Distances between the rows of tables, and rows that repeat a training row.

The distance of two rows is that of Gower (1971): the mean over columns of the difference of two
numbers, in units of the column's range, or of 0 or 1 for equal or different levels. A missing cell
is at 1 from every cell that is there, and at 0 from another missing one.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist

from aevb.datasets.tabular.columns import Column
from aevb.evaluation.bound import Figure
from aevb.evaluation.table_columns import Array, Floats, is_number, share, sizes

BLOCK = 200
"""The distances of this many rows are in memory at a time."""
MOST_ASKED = 2000
"""The nearest row is looked for from at most so many rows."""
MOST_SEARCHED = 10_000
"""It is looked for among at most so many rows."""


def gower(
    rows: Array, others: Array, columns: Sequence[Column], reference: Array | None = None
) -> Floats:
    """Return the distance of each row to the nearest of the others: (N,), from 0.

    Args:
        rows: (N, C), codes.
        others: (M, C), codes.
        columns: C columns.
        reference: (R, C), the rows that give the range of each number; default: the others.

    Example:
        >>> import numpy as np
        >>> from aevb.datasets.tabular.columns import Column
        >>> from aevb.evaluation.closest import gower
        >>> columns = [Column("a", "real", "float64"), Column("b", "boolean", "bool",
        ...                                                   levels=(False, True))]
        >>> others = np.array([[0.0, 0], [10.0, 1]])
        >>> gower(np.array([[1.0, 0], [10.0, np.nan]]), others, columns).tolist()
        [0.05, 0.5]
    """
    rows, others = sizes(rows, columns), sizes(others, columns)
    reference = others if reference is None else sizes(reference, columns)
    numbers = np.array([is_number(column) for column in columns])
    gaps = np.isnan(rows).any(0) | np.isnan(others).any(0)
    scale = np.where(numbers, _ranges(reference), 1.0)
    rows, others = rows / scale, others / scale
    plain, rest = numbers & ~gaps, np.flatnonzero(~(numbers & ~gaps))
    found = np.empty(len(rows))
    for start in range(0, len(rows), BLOCK):
        part = rows[start : start + BLOCK]
        far = np.zeros((len(part), len(others)))
        if plain.any():
            far = cdist(part[:, plain], others[:, plain], "cityblock")
        for i in rest:
            far += _differences(part[:, i], others[:, i], number=bool(numbers[i]))
        found[start : start + BLOCK] = far.min(1)
    return found / len(columns)


def _ranges(rows: Array) -> Floats:
    """Return the range of the present cells of each column: (C,), 1 where there is none."""
    there = ~np.isnan(rows)
    high = np.where(there, rows, -np.inf).max(0)
    low = np.where(there, rows, np.inf).min(0)
    return np.where(high > low, high - low, 1.0)


def _differences(one: Array, other: Array, *, number: bool) -> Array:
    """Return the distance of each cell to each other: (N, M), for one column."""
    if not number:  # -1 is the missing level, which equals itself
        different: Array = np.nan_to_num(one, nan=-1.0)[:, None] != np.nan_to_num(other, nan=-1.0)
        return different
    far: Array = np.abs(one[:, None] - other)
    gone = np.isnan(one)[:, None], np.isnan(other)
    return np.where(gone[0] | gone[1], gone[0] != gone[1], far)


def closest_records(
    training: Array, held_out: Array, samples: Array, columns: Sequence[Column], seed: int = 0
) -> dict[str, Figure]:
    """Measure whether samples lie nearer to training rows than to other real rows.

    Half of the held-out rows and as many training rows are searched, at most 10,000 each, for the
    nearest row of each sample. The other half of the held-out rows, at most 2,000, is treated as
    the samples are, for comparison.

    Args:
        training: (T, C), codes of the rows that the model was trained on.
        held_out: (N, C), codes of real rows that it was not trained on; at least 2.
        samples: (M, C), codes. At most 2,000 are used.
        columns: C columns.
        seed: Seeds the choice of rows.

    Returns:
        ``closest_distance``, the mean distance to the nearest training row, and
        ``nearer_to_training``, the share of samples that are nearer to a training row than to a
        held-out row: 0.5 if nothing is copied. Ties count half. The details ``real`` and
        ``real_error`` are about the held-out rows.

    Example:
        >>> import numpy as np
        >>> from aevb.datasets.tabular.columns import Column
        >>> from aevb.evaluation.closest import closest_records
        >>> training, held_out = np.random.default_rng(0).normal(size=(2, 200, 3))
        >>> columns = [Column(name, "real", "float64") for name in "abc"]
        >>> figures = closest_records(training, held_out, training, columns)
        >>> figures["nearer_to_training"].value > 0.7
        True
    """
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(held_out))
    asked = held_out[order[: min(len(order) // 2, MOST_ASKED)]]
    kept = held_out[order[len(asked) :]]
    n = min(len(training), len(kept), MOST_SEARCHED)
    seen = training[rng.permutation(len(training))[:n]]
    kept = kept[:n]
    made = samples[rng.permutation(len(samples))[:MOST_ASKED]]
    lengths, shares = [], []
    for rows in (made, asked):
        to_seen = gower(rows, seen, columns, training)
        to_kept = gower(rows, kept, columns, training)
        nearer = (to_seen < to_kept) + 0.5 * (to_seen == to_kept)
        lengths.append(_mean(to_seen))
        shares.append(share(nearer, np.ones(len(nearer))))
    return {
        "closest_distance": _beside(lengths, "mean over columns of range"),
        "nearer_to_training": _beside(shares, "fraction"),
    }


def copies(training: Array, rows: Array) -> NDArray[np.bool_]:
    """Return which rows equal a training row in every cell: (N,).

    Example:
        >>> import numpy as np
        >>> from aevb.evaluation.closest import copies
        >>> training = np.array([[1.0, np.nan], [2.0, 0.0]])
        >>> copies(training, np.array([[1.0, np.nan], [2.0, np.nan]])).tolist()
        [True, False]
    """
    return np.isin(_keys(rows), _keys(training))


def _keys(rows: Array) -> Array:
    """Return the bytes of each row as one item: (N,). Equal numbers have equal bytes."""
    plain = np.array(rows, np.float64, order="C") + 0.0  # -0.0 becomes 0.0
    plain[np.isnan(plain)] = np.nan  # one NaN of the many that there are
    return plain.view(np.dtype((np.void, plain.itemsize * plain.shape[1]))).ravel()


def copied(training: Array, held_out: Array, samples: Array) -> Figure:
    """Return the share of samples that equal a training row, beside that of held-out rows.

    Example:
        >>> import numpy as np
        >>> from aevb.evaluation.closest import copied
        >>> training, held_out = np.random.default_rng(0).normal(size=(2, 50, 3))
        >>> figure = copied(training, held_out, training[:10])
        >>> figure.value, figure.details["real"]
        (1.0, 0.0)
    """
    sides = [copies(training, rows) for rows in (samples, held_out)]
    return _beside([share(side, np.ones(len(side))) for side in sides], "fraction")


def _mean(values: Floats) -> tuple[float, float]:
    return float(values.mean()), float(values.std(ddof=1)) / math.sqrt(len(values))


def _beside(sides: Sequence[tuple[float, float]], unit: str) -> Figure:
    """Make a figure of the samples' value and error, with those of the real rows as details."""
    (value, error), (real, real_error) = sides
    return Figure(value, error, unit, {"real": real, "real_error": real_error})
