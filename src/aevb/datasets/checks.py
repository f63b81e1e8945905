"""Checks on rows and splits. Each error message names the first value that is wrong."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from aevb.datasets.stored import Stored, chunks
from aevb.errors import DataError, UsageError

FEWEST_STEPS = 256
"""A column must vary by this many of the steps between floats of its size, or it is refused. Its
values then span about a thousand steps."""


def require_numbers(rows: Stored, source: str) -> None:
    """Raise DataError unless ``rows`` hold numbers, at least one of them."""
    if rows.dtype.kind not in "buif":
        raise DataError(
            f"{source}: expected numbers; got values of type {rows.dtype}. Save them as integers or"
            " floats."
        )
    if rows.size == 0:
        raise DataError(
            f"{source} is empty: shape {rows.shape}. Expected rows of numbers. Is it the right"
            " file?"
        )


def not_finite(rows: Stored, columns: tuple[str, ...] | None, source: str) -> DataError:
    """Make the error that counts the values that are not finite, and says where the first is.

    Args:
        rows: (N, ...), with at least one NaN or infinity.
        columns: Names of the columns, for a table.
        source: The name of the data, for the message.
    """
    where, nan, infinite = None, 0, 0
    for start, part in chunks(rows):
        bad = ~np.isfinite(part)
        if where is None and bad.any():
            first = np.argwhere(bad)[0].tolist()
            where = [start + first[0], *first[1:]]
        nan += int(np.isnan(part).sum())
        infinite += int(np.isinf(part).sum())
    assert where is not None
    kinds = " and ".join(
        f"{n} {what}" for n, what in [(nan, "missing (NaN)"), (infinite, "infinite")] if n
    )
    place = (
        f"row {where[0] + 1}, column {column_name(columns, where[1])}"
        if columns
        else f"index {where}"
    )
    return DataError(
        f"{source}: {kinds} of {rows.size} values, the first at {place}. Fill them in or remove"
        " those rows."
    )


def refuse_narrow(
    rows: Stored,
    mean: NDArray[np.float64],
    std: NDArray[np.float64],
    columns: tuple[str, ...] | None,
    source: str,
) -> NDArray[np.intp]:
    """Raise DataError if the values of a column differ so little that floats cannot tell them.

    Such are identifiers of 18 digits that lie close together, and times in nanoseconds.

    Args:
        rows: (N, ...).
        mean: (D,) of each column, or (1,) of all values.
        std: Standard deviations, of the same shape.
        columns: Names of the columns, for a table.
        source: The name of the data, for the message.

    Returns:
        The numbers of the columns that are constant, from 0. Rounding may have given them a
        standard deviation above 0.
    """
    suspects = np.flatnonzero(std < FEWEST_STEPS * np.spacing(np.abs(mean)))
    if not suspects.size:
        return suspects
    parts = [part.reshape(-1, len(mean)) for _, part in chunks(rows)]
    low = np.min([part[:, suspects].min(0) for part in parts], axis=0)
    high = np.max([part[:, suspects].max(0) for part in parts], axis=0)
    span, size = (high - low).astype(np.float64), np.maximum(np.abs(low), np.abs(high))
    narrow = np.flatnonzero((span > 0) & (span < 4 * FEWEST_STEPS * np.spacing(size.astype(float))))
    if not narrow.size:
        return suspects
    first, place = narrow[0], column_name(columns, int(suspects[narrow[0]]))
    what = f"column {place}" if columns else place
    more = f" ({narrow.size} columns are like this)" if narrow.size > 1 else ""
    least, most = low[first].item(), high[first].item()
    raise DataError(
        f"{source}: {what if len(mean) > 1 else 'the data'} only varies by {most - least:.3g} near"
        f" {least:.6g}, too little for numbers of 16 digits{more}. Give it with {least}"
        " subtracted, or leave it out if it only numbers the rows."
    )


def only_split(name: str, split: str | None, allowed: tuple[str, ...]) -> None:
    """Raise UsageError unless a split is allowed.

    Args:
        name: The name of the data set, for the message.
        split: The split, or None.
        allowed: Names of the splits that the data set has.
    """
    if split is not None and split not in allowed:
        raise UsageError(
            f"{name} has {'the splits ' + ', '.join(allowed) if allowed else 'no splits'}; got"
            f" {name}:{split}"
        )


def column_name(columns: tuple[str, ...] | None, index: int) -> str:
    """Name a column for a message. A column without a name is counted from 1."""
    return f"{columns[index]!r}" if columns else f"column_{index + 1}"
