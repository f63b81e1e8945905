"""Columns that come with a type: brought to the types that a table has."""

from __future__ import annotations

import datetime
import decimal
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from aevb.datasets.tabular.columns import Written
from aevb.datasets.tabular.text import AmbiguousError, is_text, parse, text_type

if TYPE_CHECKING:
    import pandas as pd


def plain(column: pd.Series) -> pd.Series:
    """Bring a typed column to the types of a table: (N,).

    Decimals become float64, days and periods dates, durations seconds, and intervals text. Times
    lose their zone. Whole numbers and booleans without gaps get numpy's types. Categories stay.

    Example:
        >>> import pandas as pd
        >>> from aevb.datasets.tabular.typed import plain
        >>> plain(pd.Series(pd.to_timedelta(["1 min"]))).tolist()
        [60.0]
    """
    import pandas as pd

    dtype, result = column.dtype, column
    if isinstance(dtype, pd.PeriodDtype):
        result = column.dt.to_timestamp()
    elif isinstance(dtype, pd.IntervalDtype):
        result = column.astype(text_type())
    elif isinstance(dtype, pd.DatetimeTZDtype):
        result = column.dt.tz_localize(None)
    elif dtype.kind == "m":
        result = column.dt.total_seconds()
    elif dtype.kind == "O" and isinstance(dtype, np.dtype):
        result = objects(column.tolist()).set_axis(column.index)
    elif not isinstance(dtype, np.dtype) and dtype.kind in "iub" and not column.isna().any():
        result = column.astype(getattr(dtype, "numpy_dtype", dtype))
    return result


def objects(cells: Sequence[Any]) -> pd.Series:
    """Turn Python objects into a typed column: (N,). Cells of several types become text.

    Example:
        >>> from aevb.datasets.tabular.typed import objects
        >>> objects([1, None, 1157567399403462676]).tolist()
        [1, <NA>, 1157567399403462676]
        >>> objects([1, "a"]).tolist()
        ['1', 'a']
    """
    import pandas as pd

    kinds = [kind_of(cell) for cell in cells]
    filled = [None if kind == "missing" else cell for cell, kind in zip(cells, kinds, strict=True)]
    found = set(kinds) - {"missing"}
    if not found:
        return pd.Series(np.full(len(cells), np.nan))
    if found == {"boolean"}:
        return plain(pd.Series(pd.array(filled, dtype="boolean")))
    if found == {"integer"}:
        return _whole(filled)
    if found <= {"integer", "real"}:
        return pd.Series([np.nan if cell is None else float(cell) for cell in filled])
    if found == {"date"}:
        return pd.Series(pd.to_datetime(pd.Series(filled, dtype=object), errors="coerce"))
    return _texts(filled)


def _whole(cells: Sequence[Any]) -> pd.Series:
    """Whole numbers of 64 bits. Longer ones become text."""
    import pandas as pd

    low = min(cell for cell in cells if cell is not None)
    high = max(cell for cell in cells if cell is not None)
    if low >= -(2**63) and high < 2**63:
        return plain(pd.Series(pd.array(cells, dtype="Int64")))
    if low >= 0 and high < 2**64:
        return plain(pd.Series(pd.array(cells, dtype="UInt64")))
    return _texts(cells)


def _texts(cells: Sequence[Any]) -> pd.Series:
    import pandas as pd

    return pd.Series([None if cell is None else str(cell) for cell in cells], dtype=text_type())


def kind_of(cell: Any) -> str:
    """Name the type of one Python object."""
    if cell is None or cell != cell or type(cell).__name__ in ("NAType", "NaTType"):
        return "missing"
    names = (
        ((bool, np.bool_), "boolean"),
        ((int, np.integer), "integer"),
        ((float, np.floating, decimal.Decimal), "real"),
        ((datetime.datetime, datetime.date), "date"),
        ((dict, list, tuple, set, np.ndarray), "nested"),
    )
    return next((name for types, name in names if isinstance(cell, types)), "text")


def typed_text(
    cells: pd.Series, written: Written | None, source: str
) -> tuple[pd.Series, Written, str]:
    """Read dates in the texts of a typed file. Texts of digits stay text.

    Example:
        >>> import pandas as pd
        >>> from aevb.datasets.tabular.typed import typed_text
        >>> typed_text(pd.Series(["2020-01-31"]), None, "it")[2]
        'dates written 2020-12-31'
        >>> typed_text(pd.Series(["12", "13"]), None, "it")[2]
        'text in the file, though all cells are numbers'
    """
    try:
        values, form, reason = parse(cells, written)
    except AmbiguousError as error:
        if error.decimal:
            return cells, written or Written(), "text in the file"
        raise AmbiguousError(f"{source}: {error}", error.column) from None
    if form.date or is_text(values):
        return values, form, reason
    if values.dtype.kind in "iuf" and values.notna().any():
        return cells, Written(), "text in the file, though all cells are numbers"
    return cells, Written(), ""
