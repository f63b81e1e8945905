"""Checks on rows and splits. Each error message names the first value that is wrong."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from aevb.datasets.damage import in_quotes
from aevb.datasets.form import require_known
from aevb.datasets.stored import Stored, chunks
from aevb.datasets.tabular.columns import options, quoted
from aevb.errors import DataError, UsageError

FEWEST_STEPS = 256
"""A column must vary by this many of the steps between floats of its size, or it is refused. Its
values then span about a thousand steps."""
MOST_ONES = 0.05
"""Among grey levels up to 255, at most this share of the values is 1 if none is larger."""

if TYPE_CHECKING:
    from aevb.datasets.schema import Data, Schema


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
    gaps_alone = nan and not infinite and len(rows.shape) == 2 and not columns
    further = "; a data frame or a .csv file may have missing cells" if gaps_alone else ""
    return DataError(
        f"{source}: {kinds} of {rows.size} values, the first at {place}. Fill them in or remove"
        f" those rows{further}."
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
    return in_quotes(columns[index]) if columns else f"column_{index + 1}"


def require_form(data: Data, schema: Schema) -> None:
    """Raise DataError unless the data have the schema's shape, columns, unit and tokens."""
    if data.shape != schema.shape:
        shape = schema.shape if schema.form is None else schema.form.shape
        raise DataError(
            f"this model takes rows of shape {shape}; {data.source} has rows of shape"
            f" {data.shape}. Use a model that was trained on such rows."
        )
    if schema.columns and data.columns and data.columns != schema.columns:
        raise DataError(
            f"this model takes the columns {', '.join(schema.columns)}, in this order; "
            f"{data.source} has {', '.join(data.columns)}. Bring them into this order."
        )
    if schema.table is not None:
        _require_table(data, schema)
    _require_same_white(data, schema)
    _require_probabilities(data, schema)
    if schema.vocabulary is not None:
        require_known(data.chunks(), schema.vocabulary, data.source)


def _require_table(data: Data, schema: Schema) -> None:
    """Refuse missing cells, and bare numbers where the columns are not all numbers."""
    if schema.families is None:
        require_complete(data, "this model", "Train a model with the likelihood left out")
    table = schema.table
    assert table is not None
    bare = all(column.kind in ("real", "integer", "boolean") for column in table.columns)
    if data.table is None and not bare:
        raise DataError(
            f"this model takes a table with the columns"
            f" {quoted([column.name for column in table.columns])}; {data.source} has numbers"
            " without names. Give a data frame or a file with these columns."
        )


def _require_same_white(data: Data, schema: Schema) -> None:
    """Refuse values with a different range of grey levels."""
    if schema.values in ("real", "counts") or _is_as_white(data, schema):
        return
    low, high = data.range
    raise DataError(
        f"this model takes {schema.noun} from 0 to {schema.white or 1:g}; {data.source} has"
        f" values in [{low:.4g}, {high:.4g}]. Bring them into the form that the model was"
        " trained on."
    )


def _is_as_white(data: Data, schema: Schema) -> bool:
    """Whether the values may have the white of the schema."""
    if schema.white is None:
        return data.white is None and not (schema.is_unit_picture and _exceeds_one(data))
    if data.white is not None:
        return data.white == schema.white
    low, high = data.range
    return low >= 0 and high <= schema.white and (schema.white == 1 or not _reaches_one(data))


def _reaches_one(data: Data) -> bool:
    """Whether white seems to be 1: all values lie in [0, 1], and are fractions or often 1.

    Really dark pictures have the grey levels 0 and 1 out of 255, too, but few of the 1.
    """
    if not 0 < data.range[1] <= 1:
        return False
    ones = 0
    for _, part in data.chunks():
        if not ((part == 0) | (part == 1)).all():
            return True
        ones += int((part == 1).sum())
    return ones > MOST_ONES * data.rows.size


def _exceeds_one(data: Data) -> bool:
    """Whether white is more than 1. Values of resized pictures may exceed 1 by a little."""
    high = data.range[1]
    if not 1 < high <= 2:
        return high > 2
    return all(bool((part == np.rint(part)).all()) for _, part in data.chunks())


def _require_probabilities(data: Data, schema: Schema) -> None:
    """Refuse values that cannot be binarised, since they are no probabilities once scaled."""
    low, high = data.range
    if schema.binarize == "none" or (low >= 0 and np.float32(high / schema.scale[0]) <= 1):
        return
    raise DataError(
        f"binarisation needs {schema.noun} in [0, {schema.scale[0]:g}]; {data.source} has"
        f" [{low:.4g}, {high:.4g}]. Save the rows in the form that the model was trained on."
    )


def require_complete(data: Data, what: str, remedy: str) -> None:
    """Raise DataError if cells of a table are missing.

    Args:
        data: The rows.
        what: What cannot take missing cells, such as "likelihood gaussian".
        remedy: A way to have them modelled, as the begin of a sentence.

    Example:
        >>> import pandas as pd
        >>> from aevb.datasets.tabular.frames import data_of_frame
        >>> from aevb.datasets.checks import require_complete
        >>> data = data_of_frame(pd.DataFrame({"a": [1.5, 2.5]}), "mine")
        >>> require_complete(data, "likelihood gaussian", "Leave the likelihood out")
    """
    if not math.isnan(data.survey.low):
        return
    gone = np.concatenate([np.isnan(rows) for _, rows in data.chunks()])
    columns = data.columns or ()
    gaps = [name for i, name in enumerate(columns) if gone[:, i].any()]
    cells = int(gone.sum())
    said = "1 cell is missing" if cells == 1 else f"{cells} cells are missing"
    first = int(gone.any(1).argmax()) + 1
    where = "columns" if len(gaps) > 1 else "column"
    # A table needs at least one column.
    leave = f", or leave the {where} out with {options(gaps, 'ignore')}"
    raise DataError(
        f"{data.source}: {what} needs complete columns of numbers; {said}, the first at row"
        f" {first}, in the {where} {quoted(gaps)}. {remedy}, or remove the rows"
        f"{leave if len(gaps) < len(columns) else ''}."
    )
