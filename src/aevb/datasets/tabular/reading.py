"""The columns of a text file: numbers as pandas read them, and all other cells by ``parse``.

What one column says about the file (its decimal mark, the order of day and month) decides columns
that are not certain by themselves.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from aevb.datasets.damage import in_quotes
from aevb.datasets.tabular.columns import Written
from aevb.datasets.tabular.delimited import Delimited
from aevb.datasets.tabular.numerals import Known
from aevb.datasets.tabular.text import (
    MISSING,
    MISSING_NUMBER,
    AmbiguousError,
    described,
    is_text,
    leave,
    parse,
)
from aevb.errors import DataError

if TYPE_CHECKING:
    import pandas as pd


class Reading:
    """The columns of one text file while they are read.

    Args:
        table: The file.
        like: How the columns of a name are written, if this is known from other rows.
        as_text: The names of columns whose cells are left as text.
        decimal: The decimal mark, if the user named it.

    Attributes:
        written: How the cells of a column are written, where that is not ``Written()``.
        reasons: Why a column became what it is.

    Example:
        >>> import io
        >>> from aevb.datasets.tabular.dialect import delimited
        >>> from aevb.datasets.tabular.reading import Reading
        >>> table = delimited(lambda: io.BytesIO(b"a;b\\n1.500;1,5\\n2.250;2,25\\n"), ".csv", "it")
        >>> reading = Reading(table, {}, (), "")
        >>> reading.frame().a.tolist(), reading.written["a"].thousands
        ([1500, 2250], '.')
    """

    def __init__(
        self,
        table: Delimited,
        like: Mapping[str, Written],
        as_text: Collection[str],
        decimal: str,
    ) -> None:
        self.table, self.like, self.as_text = table, like, set(as_text)
        self.written: dict[str, Written] = {}
        self.reasons: dict[str, str] = {}
        self._decimals = {decimal} - {""}
        self._sure = bool(decimal)
        self._dates: list[str] = []
        self._patient = True
        forms = [like[name] for name in table.names if name in like]
        if any(form.decimal == "." and not form.date for form in forms):
            table.decimal = "."

    def frame(self) -> pd.DataFrame:
        """Read all columns. Those that are not certain by themselves come last.

        Raises:
            DataError: The file is no table, or cells are not written as ``like`` says.
            AmbiguousError: A column can be read in several ways.
        """
        import pandas as pd

        frame = self.table.rows()
        done = {str(name): column for name, column in frame.items()}
        again = self._to_read_again(done)
        plain = not again and not any(is_text(column) for column in done.values())
        if again:
            done |= {str(name): cells for name, cells in self.table.rows(text=again).items()}
        waiting = []
        for name, cells in done.items():
            try:
                done[name] = self._column(name, cells)
            except AmbiguousError:
                waiting.append(name)
        self._patient = False
        for name in waiting:
            try:
                done[name] = self._column(name, done[name])
            except AmbiguousError as error:
                raise AmbiguousError(
                    f"{self.table.source}: {error}", error.column, error.decimal
                ) from None
        return frame if plain else pd.DataFrame(done)

    def _to_read_again(self, columns: dict[str, pd.Series]) -> list[str]:
        """The columns that pandas took for numbers and whose text must be looked at."""
        again = [name for name, column in columns.items() if self._must_be_text(name, column)]
        whole = [name for name, column in columns.items() if column.dtype.kind == "i"]
        if set(whole) - set(again) and self.table.zeros_in_front():
            cells = self.table.rows(text=whole)
            again += [name for name in whole if cells[name].str.match(r"\s*[+-]?0[0-9]").any()]
        return again

    def _must_be_text(self, name: str, column: pd.Series) -> bool:
        form = self.like.get(name)
        if name in self.as_text or (form and form != Written(missing=form.missing)):
            return not is_text(column) or column.dtype.kind == "O"
        if column.dtype.kind != "f":
            return column.dtype.kind == "b" or _is_mixed(column)
        points = self.table.decimal == "." and self.table.delimiter != ","
        values = column.to_numpy()
        return _may_be_whole(values) or (points and _three_decimals(values))

    def _column(self, name: str, cells: pd.Series) -> pd.Series:
        if not is_text(cells):
            self._of_numbers(name, cells)
            return cells
        form = self.like.get(name)
        if name in self.as_text:
            values, written, reason = leave(cells, form)
        else:
            values, written, reason = parse(cells, form, self._known())
            _require(values, cells, form, name, self.table.source)
        self.written |= {name: written} if written != Written() else {}
        self.reasons |= {name: reason} if reason else {}
        if written.date:
            self._dates.append(written.date)
        elif values.dtype.kind == "f" and values.notna().any() and not self._sure:
            self._decimals.add(written.decimal)
        return values

    def _of_numbers(self, name: str, cells: pd.Series) -> None:
        if cells.dtype.kind != "f":
            return
        if self.table.decimal == ",":
            self.written[name] = Written(decimal=",")
            self.reasons[name] = described(self.written[name])
        if not self._sure:
            self._decimals.add(self.table.decimal)

    def _known(self) -> Known:
        decimal = "" if self.table.delimiter == "," else "?"
        if self._sure or (len(self._decimals) == 1 and not self._patient):
            decimal = next(iter(self._decimals))
        return Known(decimal, tuple(self._dates), self._patient and not self._sure)


def _is_mixed(column: pd.Series) -> bool:
    """Whether pandas made Python objects that are not all text, such as very long integers."""
    import pandas as pd

    return isinstance(column.dtype, np.dtype) and (
        column.dtype.kind == "O"
        and pd.api.types.infer_dtype(column, skipna=True) not in ("string", "empty")
    )


def _may_be_whole(values: NDArray[np.float64]) -> bool:
    """Whether floats may be whole numbers with gaps, or longer than a float can hold."""
    gaps = np.isnan(values)
    filled = values[~gaps]
    whole = bool((filled == np.floor(filled)).all())
    return bool((whole and gaps.any()) or (np.abs(filled) >= 2**53).any())


def _three_decimals(values: NDArray[np.float64]) -> bool:
    """Whether all numbers may be like 1.239, whose point may stand between thousands."""
    size = np.abs(values[~np.isnan(values)]) * 1000
    return bool((size < 1e6).all() and (np.abs(size - np.round(size)) < 1e-6).all())


def _require(
    values: pd.Series, cells: pd.Series, form: Written | None, name: str, source: str
) -> None:
    """Raise DataError if cells are not written as the other rows of the column are."""
    if form is None or not is_text(values) or form == Written(missing=form.missing):
        return
    wrong = cells.notna() & ~cells.isin(MISSING | MISSING_NUMBER | {form.missing})
    for row in map(int, np.flatnonzero(wrong)):
        one = cells.iloc[[row]]
        if is_text(parse(one, form)[0]):
            raise DataError(
                f"{source}: column {in_quotes(name)} should hold {described(form)}; got"
                f" {in_quotes(str(one.iloc[0]))} at data row {row + 1}. Correct it, or write the"
                " column as"
                " the rows of the training are written."
            )
