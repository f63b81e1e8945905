"""Prepare real and generated rows for a comparison: check them, and bring them to common units."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aevb.errors import DataError

Array = NDArray[Any]
"""Rows (N, D), or one number for each row (N,)."""

FEWEST_ROWS = 20
"""Each side needs at least this many rows."""


def checked(**sides: Array) -> list[Array]:
    """Return the sides as float64: (N, D) each. Raises DataError if they cannot be compared.

    sides: the rows of each side, by the name that messages use.

    Example:
        >>> import numpy as np
        >>> from aevb.evaluation.sides import checked
        >>> real, generated = checked(real=np.ones((20, 3), int), generated=np.zeros((30, 3)))
        >>> real.dtype, generated.shape
        (dtype('float64'), (30, 3))
        >>> checked(real=np.ones((20, 3)), generated=np.zeros((5, 3)))
        Traceback (most recent call last):
        aevb.errors.DataError: needs at least 20 rows a side; got 20 real and 5 generated; give or \
generate more rows
    """
    rows = {name: np.asarray(side, dtype=np.float64) for name, side in sides.items()}
    for name, side in rows.items():
        _require_columns(name, side)
    _require_same_columns(rows)
    _require_enough_rows(rows)
    for name, side in rows.items():
        _require_finite(name, side)
    return list(rows.values())


def _require_columns(name: str, side: Array) -> None:
    if side.ndim != 2 or side.shape[1] == 0:
        raise DataError(
            f"the {name} rows need the shape (N, D), D at least 1; got {side.shape}; flatten each"
            " row first"
        )


def _require_same_columns(sides: dict[str, Array]) -> None:
    if len({side.shape[1] for side in sides.values()}) > 1:
        found = ", ".join(f"{side.shape[1]} {name}" for name, side in sides.items())
        raise DataError(
            f"both sides need the same number of columns; got {found}; take the same columns in the"
            " same order"
        )


def _require_enough_rows(sides: dict[str, Array]) -> None:
    if min(len(side) for side in sides.values()) < FEWEST_ROWS:
        found = " and ".join(f"{len(side)} {name}" for name, side in sides.items())
        raise DataError(
            f"needs at least {FEWEST_ROWS} rows a side; got {found}; give or generate more rows"
        )


def _require_finite(name: str, side: Array) -> None:
    bad = int((~np.isfinite(side)).any(1).sum())
    if bad:
        raise DataError(
            f"the {name} rows must be finite; got NaN or infinity in {bad} of {len(side)}; leave"
            " those out"
        )


def common_units(reference: Array, *others: Array, one_unit: bool = False) -> list[Array]:
    """Bring all sides to the units of ``reference``, the real rows, and return it first.

    The columns of ``reference`` then have mean 0 and standard deviation 1, and constant columns are
    0. With ``one_unit``, all columns are divided by one number, and their variances have mean 1.

    Example:
        >>> import numpy as np
        >>> from aevb.evaluation.sides import common_units
        >>> real, made = common_units(np.array([[0.0], [4.0]]), np.array([[8.0]]))
        >>> real.tolist(), made.tolist()
        ([[-1.0], [1.0]], [[3.0]])
    """
    centre, scale = reference.mean(0), reference.std(0)
    if one_unit:
        one = math.sqrt(float((scale**2).mean()))
        scale = np.full_like(scale, one if np.ptp(reference, axis=0).any() else 1.0)
    else:
        # The deviation of a constant column is not always exactly 0, but its range is.
        scale = np.where((np.ptp(reference, axis=0) > 0) & (scale > 0), scale, 1.0)
    return [(rows - centre) / scale for rows in (reference, *others)]
