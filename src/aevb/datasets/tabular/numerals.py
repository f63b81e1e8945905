"""Numbers as text: the marks, signs and units that a whole column writes them with."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aevb.datasets.tabular.columns import Written

if TYPE_CHECKING:
    import pandas as pd

_CURRENCY = "USD|EUR|GBP|JPY|CHF|CNY|INR|AUD|CAD|SEK|NOK|DKK|PLN|BRL"
_BEFORE = rf"(?:US\$|[$€£¥₹]|{_CURRENCY})[ \u00a0]?"
_AFTER = r"[ \u00a0]?(?:%|[€$£¥₹]|[A-Za-zµ°Ω]+[A-Za-z°²³/µ^]*)"
_DIGITS = r"[0-9.,'’_ \u00a0\u202f]"
_CORE = rf"{_DIGITS}*[0-9]{_DIGITS}*?(?:[eE][+-]?[0-9]+)?"
_INFINITE = "(?i:inf|infinity)"
_SHAPE = re.compile(rf"[+-]?(?P<before>{_BEFORE})?[+-]?{_CORE}(?P<after>{_AFTER})?")
_MARKS = (",", ".", " ", "\u00a0", "\u202f", "'", "’", "_")


class MarksError(Exception):
    """All numbers of a column fit two readings, as 1,239 is 1.239 or 1239.

    Args:
        example: One of the numbers.
        mark: The mark in question.
    """

    def __init__(self, example: str, mark: str) -> None:
        super().__init__(example)
        self.example, self.mark = example, mark


class Known(NamedTuple):
    """What the rest of a file says about how its cells are written.

    Args:
        decimal: "," or ".": the mark before the decimals. "?": either is likely, as in a file with
            semicolons. "": a point is; a comma may be.
        dates: Formats of dates that are certain.
        patient: Whether columns that are not certain by themselves are to be refused for now.
    """

    decimal: str = ""
    dates: tuple[str, ...] = ()
    patient: bool = False


def number_form(cells: pd.Series, known: Known) -> Written | None:
    """Find how all cells of a column are written as numbers. None: they are no numbers.

    Args:
        cells: (N,) of text, at least one, none missing.
        known: What the rest of the file says.

    Raises:
        MarksError: A comma or a point may stand before decimals or between thousands.

    Example:
        >>> import pandas as pd
        >>> from aevb.datasets.tabular.numerals import Known, number_form
        >>> form = number_form(pd.Series(["$1,234.50", "$7"]), Known())
        >>> form.before, form.thousands, form.decimal
        ('$', ',', '.')
        >>> number_form(pd.Series(["1.2.3"]), Known()) is None
        True
    """
    first = str(cells.iloc[0])
    shape = _SHAPE.fullmatch(first)
    if shape is None and not re.fullmatch(f"[+-]?{_INFINITE}", first):
        return None
    before, after = (shape["before"] or "", shape["after"] or "") if shape else ("", "")
    cores = _without(cells, before, after)
    if cores is None or not _all(cores, f"[+-]?(?:{_CORE}|{_INFINITE})"):
        return None
    marks = _marks(cores, known)
    return marks and Written(decimal=marks[0], thousands=marks[1], before=before, after=after)


def read_numbers(cells: pd.Series, form: Written) -> NDArray[Any] | None:
    """Read numbers of one form: (N,) of int64, uint64 or float64. None if some cell is no such.

    Codes with zeros in front, such as 007, and whole numbers of more than 64 bits are no numbers
    here, because a number would not keep their digits.

    Example:
        >>> import pandas as pd
        >>> from aevb.datasets.tabular.columns import Written
        >>> from aevb.datasets.tabular.numerals import read_numbers
        >>> read_numbers(pd.Series(["1.250 kg", "3 kg"]), Written(after=" kg"))
        array([1.25, 3.  ])
        >>> read_numbers(pd.Series(["007"]), Written()) is None
        True
    """
    import pandas as pd

    plain = _without(cells, form.before, form.after)
    if plain is None or not _grouped(plain, form.decimal, form.thousands):
        return None
    if form.thousands:
        plain = plain.str.replace(form.thousands, "", regex=False)
    if form.decimal != ".":
        plain = plain.str.replace(form.decimal, ".", regex=False)
    if not form.width and _any(plain, "[+-]?0[0-9]+"):
        return None
    values: NDArray[Any] = np.asarray(pd.to_numeric(plain))
    if values.dtype.kind == "f" and _any(plain, "[+-]?[0-9]{16,}"):
        return None
    return values if values.dtype.kind in "iuf" else None


def write_number(value: Any, form: Written) -> str:
    """Write one number.

    Example:
        >>> from aevb.datasets.tabular.columns import Written
        >>> from aevb.datasets.tabular.numerals import write_number
        >>> write_number(-1234.5, Written(decimal=",", thousands=".", after=" €"))
        '-1.234,5 €'
    """
    whole = isinstance(value, int | np.integer)
    sign = "-" if value < 0 else ""
    digits = str(int(value) if whole else float(value)).removeprefix("-")
    point, _, rest = digits.partition(".")
    if form.thousands and point.isdigit():
        point = f"{int(point):,}".replace(",", form.thousands)
    if whole:
        point = point.zfill(form.width)
    decimals = f"{form.decimal}{rest}" if rest else ""
    return f"{sign}{form.before}{point}{decimals}{form.after}"


def _has(cells: pd.Series, mark: str) -> bool:
    return bool(cells.str.contains(mark, regex=False).any())


def _all(cells: pd.Series, pattern: str) -> bool:
    return bool(cells.str.fullmatch(pattern).all())


def _any(cells: pd.Series, pattern: str) -> bool:
    return bool(cells.str.fullmatch(pattern).any())


def _without(cells: pd.Series, before: str, after: str) -> pd.Series | None:
    """Take away what stands before and after every number. None if a cell lacks it."""
    if after:
        if not cells.str.endswith(after).all():
            return None
        cells = cells.str.slice(stop=-len(after))
    if before:
        if not cells.str.match(f"[+-]?{re.escape(before)}").all():
            return None
        cells = cells.str.replace(before, "", n=1, regex=False)
    return cells


def _grouped(cores: pd.Series, decimal: str, thousands: str) -> bool:
    """Whether all numbers have this decimal mark and this mark between groups of three digits."""
    d, t = re.escape(decimal), re.escape(thousands)
    whole = rf"(?:[1-9][0-9]{{0,2}}(?:{t}[0-9]{{3}})+|[0-9]+)" if thousands else "[0-9]+"
    number = rf"(?:{whole}(?:{d}[0-9]*)?|{d}[0-9]+)(?:[eE][+-]?[0-9]+)?"
    return _all(cores, rf"[+-]?(?:{number}|{_INFINITE})")


def _marks(cores: pd.Series, known: Known) -> tuple[str, str] | None:
    """The mark before decimals and the one between thousands, or None if none fit."""
    marks = [mark for mark in _MARKS if _has(cores, mark)]
    fitting = [pair for pair in _pairs(marks) if _grouped(cores, *pair)]
    if len(fitting) < 2:
        return next(iter(fitting), None)
    told = dict(fitting).get(known.decimal)
    if told is not None:
        return known.decimal, told
    # Without a hint, a point stands before decimals. A comma decides nothing.
    if marks[0] == "," or (marks[0] == "." and known.decimal):
        return _by_length(cores, marks[0], known.patient)
    return fitting[0]


def _pairs(marks: list[str]) -> list[tuple[str, str]]:
    """All (decimal, thousands) that use all marks."""
    if not marks:
        return [(".", "")]
    pairs = [(d, t) for d in ".," for t in ("", *marks)]
    return [(d, t) for d, t in pairs if d != t and set(marks) <= {d, t}]


def _by_length(cores: pd.Series, mark: str, patient: bool) -> tuple[str, str]:
    """Decide between decimals and thousands by the numbers without a mark.

    1,239 next to 850 has its mark between thousands. Next to 1500 it has decimals.
    """
    without = cores[~cores.str.contains(mark, regex=False)].str.lstrip("+-")
    if patient or not len(without):
        raise MarksError(str(next(core for core in cores if mark in core)), mark)
    other = "," if mark == "." else "."
    return (mark, "") if (without.str.len() > 3).any() else (other, mark)
