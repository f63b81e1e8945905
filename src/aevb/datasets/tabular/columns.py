"""The columns of a table: what kind each one is, and how its cells become numbers and back.

A cell becomes one float64, its code: a number itself, or the number of a level. A missing cell is
NaN. Constants and identifiers have no codes, because there is nothing to learn in them.
``column_kinds.py`` finds the kinds; ``cells.py`` converts the cells.
"""

from __future__ import annotations

import shlex
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aevb.datasets.damage import in_quotes
from aevb.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

COLUMN_KINDS = {
    "real": "numbers of any size",
    "integer": "whole numbers",
    "boolean": "two values, such as yes and no",
    "category": "names without an order",
    "ordered": "names or numbers with an order, such as grades",
    "date": "dates or times",
    "constant": "one value in all rows: kept aside, and put back into samples",
    "identifier": "a name or number of the row: not modelled",
    "ignore": "left out",
}
"""The kinds of columns, and what each one means."""
ASIDE = ("constant", "identifier", "ignore")
"""The kinds of columns that are not modelled."""

Level = bool | int | float | str
"""A value that a column with levels can have."""
Label = str | int | float | tuple[str | int | float, ...]
"""The name of a column in a data frame; a tuple if the frame's names have several parts."""


@dataclass(frozen=True)
class Written:
    """How a text file writes the cells of a column, so that samples are written the same way.

    Args:
        missing: The word for a missing cell.
        date: The format of a date, as ``strptime`` takes it. "": the column holds no dates.
        decimal: The mark before the decimals.
        thousands: The mark between groups of three digits.
        words: The words for False and True.
        width: Whole numbers are filled with zeros from the left to this width. 0: they are not.
        before: What stands before every number, such as "$".
        after: What stands after every number, such as "%".

    Example:
        >>> from aevb.datasets.tabular.columns import Written
        >>> Written(date="%d.%m.%Y").date
        '%d.%m.%Y'
    """

    missing: str = ""
    date: str = ""
    decimal: str = "."
    thousands: str = ""
    words: tuple[str, ...] = ()
    width: int = 0
    before: str = ""
    after: str = ""


@dataclass(frozen=True)
class Column:
    """One column of a table. ``aevb.datasets.tabular.column_kinds.find`` makes one.

    Args:
        name: Its name, as text.
        kind: A name in ``COLUMN_KINDS``.
        dtype: The type of its cells: pandas's name, or one of ``aevb.datasets.tabular.cells``.
        reason: Why it is of that kind, as a phrase to print.
        label: Its name in the data frame, or None if that is the text ``name``.
        levels: The values of a category, in order; those of a boolean, False first; the value of a
            constant, or () if all cells were missing.
        level_dtype: The type of the levels of a categorical column.
        low: The smallest code, or None if there is none.
        high: The largest code, or None if there is none.
        decimals: How many decimals the numbers have at most, or None if this is not known.
        missing: How many cells were missing.
        base: The code of a whole number or a date is (value - base) / unit.
        unit: See ``base``. Dates count in steps of their type, such as nanoseconds.
        written: How the file writes its cells.

    Example:
        >>> from aevb.datasets.tabular.columns import Column
        >>> column = Column("sex", "category", "str", levels=("female", "male"))
        >>> column.is_modelled
        True
    """

    name: str
    kind: str
    dtype: str
    reason: str = ""
    label: Label | None = None
    levels: tuple[Level, ...] = ()
    level_dtype: str = ""
    low: float | None = None
    high: float | None = None
    decimals: int | None = None
    missing: int = 0
    base: int = 0
    unit: int = 1
    written: Written = Written()

    @property
    def is_modelled(self) -> bool:
        """Whether the column has codes."""
        return self.kind not in ASIDE

    @property
    def holds_text(self) -> bool:
        """Whether the cells are text, even where they look like numbers, as codes like 007 do."""
        return self.dtype in ("str", "string", "object") and not self.written.date

    def encode(self, cells: pd.Series) -> NDArray[np.float64]:
        """Turn cells into codes: (N,), NaN for a missing cell.

        Raises:
            DataError: A cell is not of this column's kind, or its level is not known.

        Example:
            >>> import pandas as pd
            >>> from aevb.datasets.tabular.columns import Column
            >>> sex = Column("sex", "category", "str", levels=("female", "male"))
            >>> sex.encode(pd.Series(["male", None, "female"]))
            array([ 1., nan,  0.])
            >>> sex.encode(pd.Series(["mail"]))
            Traceback (most recent call last):
            aevb.errors.DataError: column 'sex' holds 'mail' at row 1; the model knows 'female', \
'male'. Correct the cell, or leave the row out.
        """
        from aevb.datasets.tabular.cells import encode

        return encode(self, cells)

    def decode(self, codes: NDArray[Any]) -> pd.Series:
        """Turn codes: (N,) into cells of this column's type.

        A code between two levels becomes the nearer one, a number is rounded to the column's
        decimals, and both stay within the range of the column. NaN becomes a missing cell.

        Example:
            >>> import numpy as np
            >>> from aevb.datasets.tabular.columns import Column
            >>> age = Column("age", "integer", "int64", low=18.0, high=90.0)
            >>> age.decode(np.array([30.4, 7.0])).tolist()
            [30, 18]
        """
        from aevb.datasets.tabular.cells import decode

        return decode(self, codes)


@dataclass(frozen=True)
class Table:
    """The columns of a table, in their order.

    Args:
        columns: All columns, with those that are not modelled.
        frame: What the table came as and goes out as: "pandas", "polars", "arrow", or "file".

    Example:
        >>> import numpy as np, pandas as pd
        >>> from aevb.datasets.tabular.columns import Column, Table
        >>> table = Table((Column("a", "integer", "int64"), Column("b", "constant", "str",
        ...                                                        levels=("x",))))
        >>> rows = table.encode(pd.DataFrame({"a": [1, 2], "b": ["x", "x"]}), "mine")
        >>> rows
        array([[1.],
               [2.]])
        >>> table.decode(rows)
           a  b
        0  1  x
        1  2  x
    """

    columns: tuple[Column, ...]
    frame: str = "file"

    @property
    def modelled(self) -> tuple[Column, ...]:
        """The columns that have codes, in their order."""
        return tuple(column for column in self.columns if column.is_modelled)

    @property
    def given(self) -> tuple[Column, ...]:
        """The columns that come out again: all but those that the user had left out."""
        return tuple(column for column in self.columns if column.kind != "ignore")

    def encode(
        self, frame: pd.DataFrame, source: str, ignore: Sequence[str] = ()
    ) -> NDArray[np.float64]:
        """Turn a frame into the codes of the modelled columns: (N, C), in the table's order.

        The columns of the frame are found by name, in any order. Columns that are not modelled may
        be missing.

        Args:
            frame: The rows.
            source: The name of the rows, for messages.
            ignore: Names of further columns that the frame may have.

        Raises:
            DataError: A column is missing or not known, or a cell does not fit its column.

        Example:
            >>> import pandas as pd
            >>> from aevb.datasets.tabular.columns import Column, Table
            >>> table = Table((Column("a", "real", "float64"), Column("b", "real", "float64")))
            >>> table.encode(pd.DataFrame({"b": [1.0], "a": [2.0]}), "mine")
            array([[2., 1.]])
            >>> table.encode(pd.DataFrame({"a": [1.0], "c": [2.0]}), "mine")
            Traceback (most recent call last):
            aevb.errors.DataError: mine: column 'b' is missing, and column 'c' is not known to the \
model. Give the columns that it was trained on: 'a', 'b'; --ignore leaves further ones out.
        """
        found = {text_of(label): label for label in frame.columns}
        self._require(found, source, ignore)
        rows = np.empty((len(frame), len(self.modelled)))
        for i, column in enumerate(self.modelled):
            try:
                rows[:, i] = column.encode(frame[found[column.name]])
            except DataError as error:
                raise DataError(f"{source}: {error}") from error
        return rows

    def _require(self, found: Mapping[str, Hashable], source: str, ignore: Sequence[str]) -> None:
        """Raise DataError if a column is missing, or one is too many."""
        known = [column.name for column in self.columns]
        missing = [column.name for column in self.modelled if column.name not in found]
        extra = [name for name in found if name not in (*known, *ignore)]
        parts = [
            f"{_columns(names)} {_verb(names)} {what}"
            for names, what in [(missing, "missing"), (extra, "not known to the model")]
            if names
        ]
        if parts:
            raise DataError(
                f"{source}: {', and '.join(parts)}. Give the columns that it was trained on:"
                f" {quoted([column.name for column in self.modelled])}; --ignore leaves further"
                " ones out."
            )

    def aside(self, frame: pd.DataFrame) -> dict[str, pd.Series]:
        """The identifiers of a frame, by name, as ``decode`` takes them.

        Example:
            >>> import pandas as pd
            >>> from aevb.datasets.tabular.columns import Column, Table
            >>> table = Table((Column("id", "identifier", "str"), Column("a", "real", "float64")))
            >>> list(table.aside(pd.DataFrame({"id": ["p1"], "a": [2.0]})))
            ['id']
        """
        found = {text_of(label): label for label in frame.columns}
        return {
            column.name: frame[found[column.name]]
            for column in self.columns
            if column.kind == "identifier" and column.name in found
        }

    def decode(self, rows: NDArray[Any], aside: dict[str, pd.Series] | None = None) -> pd.DataFrame:
        """Turn codes (N, C) into a frame with all columns that came in.

        Constants are put back. Identifiers are numbered from 1, unless ``aside`` has them.

        Example:
            >>> import numpy as np
            >>> from aevb.datasets.tabular.columns import Column, Table
            >>> table = Table((Column("id", "identifier", "str"), Column("a", "real", "float64")))
            >>> table.decode(np.array([[1.5], [2.5]]))
              id    a
            0  1  1.5
            1  2  2.5
        """
        import pandas as pd

        from aevb.datasets.tabular.cells import unmodelled

        codes = dict(zip((column.name for column in self.modelled), rows.T, strict=True))
        kept = aside or {}
        cells = [
            column.decode(codes[column.name])
            if column.is_modelled
            else kept.get(column.name, unmodelled(column, len(rows)))
            for column in self.given
        ]
        frame = pd.concat(
            [each.reset_index(drop=True) for each in cells], axis=1, ignore_index=True
        )
        # The name of a column may be the number 0, or an empty text.
        labels: list[Any] = [
            column.name if column.label is None else column.label for column in self.given
        ]
        several = all(isinstance(label, tuple) for label in labels)
        frame.columns = pd.MultiIndex.from_tuples(labels) if several else pd.Index(labels)
        return frame


def text_of(label: Any) -> str:
    """Write the name of a column as text: the parts of a tuple are joined by a point.

    Example:
        >>> from aevb.datasets.tabular.columns import text_of
        >>> text_of(2019), text_of(("a", "x"))
        ('2019', 'a.x')
    """
    return ".".join(map(str, label)) if isinstance(label, tuple) else str(label)


def quoted(names: Sequence[Any], most: int = 8) -> str:
    """Write names in quotes with commas between them, and "..." for those beyond ``most``.

    Example:
        >>> from aevb.datasets.tabular.columns import quoted
        >>> quoted(["a", "b", "c"], most=2)
        "'a', 'b', ..."
    """
    listed = [in_quotes(name) for name in names[:most]]
    room = max(1, sum(end <= MOST_LETTERS for end in accumulate(len(each) + 2 for each in listed)))
    return ", ".join([*listed[:room], *(["..."] if names[min(room, most) :] else [])])


MOST_LETTERS = 240
"""Names in one list of a message have about so many letters together."""


def options(names: Sequence[str], kind: str) -> str:
    """Write the options that give columns a kind, as a shell takes them.

    A name that is too long for a message, or that cannot be printed, stands as NAME.

    Example:
        >>> from aevb.datasets.tabular.columns import options
        >>> options(["a", "per week"], "ignore")
        "--column a=ignore --column 'per week=ignore'"
    """
    fit = [
        name if name.isprintable() and len(name) <= MOST_LETTERS // 2 else "NAME" for name in names
    ]
    listed = list(dict.fromkeys(f"--column {shlex.quote(f'{name}={kind}')}" for name in fit))
    ends = accumulate(len(each) + 1 for each in listed)
    room = max(1, sum(end <= MOST_LETTERS for end in ends))
    return " ".join([*listed[:room], *(["..."] if listed[room:] else [])])


def _columns(names: Sequence[str]) -> str:
    return f"column{'s' if len(names) > 1 else ''} {quoted(names)}"


def _verb(names: Sequence[str]) -> str:
    return "are" if len(names) > 1 else "is"
