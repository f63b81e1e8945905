"""Checks on rows and splits. Each error message names the first value that is wrong."""

from __future__ import annotations

import numpy as np

from aevb.datasets.stored import Stored, chunks
from aevb.errors import DataError, UsageError


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
