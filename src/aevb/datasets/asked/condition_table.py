"""A table of conditions: one set of conditions in each row."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from aevb.datasets.asked.conditions import settled, shown
from aevb.datasets.damage import in_quotes
from aevb.datasets.tabular.columns import Column, Table, quoted, text_of
from aevb.errors import DataError

if TYPE_CHECKING:
    import pandas as pd


def codes_of_conditions(table: Table, frame: pd.DataFrame, source: str) -> NDArray[np.float64]:
    """Turn a table of conditions into codes: (N, C), NaN where a cell is free.

    Args:
        table: The columns of the model.
        frame: Some of these columns. A missing cell is free.
        source: The name of the conditions, for messages.

    Raises:
        DataError: A column or a cell is not known, or no row can have the cell.

    Example:
        >>> import pandas as pd
        >>> from aevb.datasets.tabular.columns import Column, Table
        >>> from aevb.datasets.asked.condition_table import codes_of_conditions
        >>> table = Table((Column("age", "integer", "int64"), Column("x", "real", "float64")))
        >>> codes_of_conditions(table, pd.DataFrame({"x": [1.5, None]}), "mine").tolist()
        [[nan, 1.5], [nan, nan]]
    """
    found = {text_of(label): label for label in frame.columns}
    known = [column.name for column in table.given]
    extra = [name for name in found if name not in known]
    if extra:
        raise DataError(
            f"{source}: the model knows no column {in_quotes(extra[0])}; give some of"
            f" {quoted([column.name for column in table.modelled])}"
        )
    if not len(frame):
        raise DataError(f"{source} has no rows of conditions; give one row for each new row")
    codes = np.full((len(frame), len(table.modelled)), np.nan)
    for i, column in enumerate(table.modelled):
        if column.name not in found:
            continue
        try:
            codes[:, i] = column.encode(frame[found[column.name]])
        except DataError as error:
            raise DataError(f"{source}: {error}") from error
        _require_possible(column, codes[:, i], source)
    return codes


def _require_possible(column: Column, codes: NDArray[np.float64], source: str) -> None:
    """Raise DataError unless a row of the model can have each of the codes (N,)."""
    written = settled(column, codes)
    wrong = ~(np.isnan(codes) | np.isclose(written, codes, rtol=1e-12, atol=0))
    if not wrong.any():
        return
    row = int(wrong.argmax())
    span = (
        f"; it goes from {shown(column, column.low)} to {shown(column, column.high)} in the"
        " training rows"
        if column.low is not None and column.high is not None
        else ""
    )
    plain = codes[row] if math.isfinite(codes[row]) else 0.0
    raise DataError(
        f"{source}: no row can have {plain:.10g} in column {in_quotes(column.name)}, as row"
        f" {row + 1} asks{span}; the nearest value is {shown(column, float(written[row]))}, so give"
        " that"
    )
