"""The columns of a table: what kind each one is, and how its cells become numbers and back.

A cell becomes one float64, its code: a number itself, or the number of a level. A missing cell is
NaN. Constants and identifiers have no codes, because there is nothing to learn in them.
"""

from __future__ import annotations

from dataclasses import dataclass

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
    """One column of a table.

    Args:
        name: Its name, as text.
        kind: A name in ``COLUMN_KINDS``.
        dtype: pandas's name of its type.
        reason: Why it is of that kind, as a phrase to print.
        levels: The values of a category, in order; (False, True) of a boolean; the one of a
            constant.
        low: The smallest code, or None if there is none.
        high: The largest code, or None if there is none.
        decimals: How many decimals the numbers have at most, or None if this is not known.
        missing: How many cells were missing.
        base: The code of a whole number or a date is (value - base) / unit.
        unit: See ``base``. For dates in nanoseconds.
        written: How the file writes its cells.
    """

    name: str
    kind: str
    dtype: str
    reason: str = ""
    levels: tuple[bool | int | float | str, ...] = ()
    low: float | None = None
    high: float | None = None
    decimals: int | None = None
    missing: int = 0
    base: int = 0
    unit: int = 1
    written: Written = Written()


@dataclass(frozen=True)
class Table:
    """The columns of a table, in their order.

    Args:
        columns: All columns, with those that are not modelled.
        frame: What the table came as and goes out as: "pandas", "polars", "arrow", or "file".
    """

    columns: tuple[Column, ...]
    frame: str = "file"
