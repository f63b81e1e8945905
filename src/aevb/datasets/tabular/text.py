"""Cells of text become a typed column, and a typed column becomes the same cells again.

``parse`` looks at a whole column at once, and takes a reading only if every cell fits it. Equal
cells are looked at once.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aevb.datasets.damage import in_quotes
from aevb.datasets.tabular.cells import MARKS
from aevb.datasets.tabular.columns import Written
from aevb.datasets.tabular.dates import (
    OrdersError,
    date_format,
    none_of_most,
    order,
    read_dates,
    shown,
    write_dates,
)
from aevb.datasets.tabular.numerals import (
    Known,
    MarksError,
    number_form,
    read_numbers,
    write_number,
)
from aevb.errors import UsageError

if TYPE_CHECKING:
    import pandas as pd

MISSING = frozenset(
    {
        "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN",
        "<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null",
    }
)  # fmt: skip
"""The words that stand for a missing cell in any column. They are those of pandas."""
MISSING_NUMBER = frozenset(
    {"?", "-", "--", ".", "na", "n/a", "#n/a", "<na>", "nan", "null", "none", "missing"}
)
"""More words for a missing cell where all other cells are numbers or dates; capitals are equal."""
MOST_MARKED = 0.5
"""A mark other than "?" in more than this share of the cells says something, such as "no"."""
WORDS = (("false", "true"), ("no", "yes"), ("n", "y"), ("f", "t"))
"""The pairs of words for False and True."""

_NUMBER = r"[+-]?(?:[0-9]+[.,]?[0-9]*|[.,][0-9]+)(?:[eE][+-]?[0-9]+)?"
_DATE = r"[0-9]{1,4}[-/.][0-9]{1,2}[-/.][0-9]{1,4}(?:[T ].*)?"


class AmbiguousError(UsageError):
    """A column of text that can be read in several ways, all of them plausible.

    Args:
        message: The sentence for the user.
        column: The name of the column, or "" if it has none.
        decimal: Whether the marks of numbers are in question, and not the order of a date.
    """

    def __init__(self, message: str, column: str = "", decimal: bool = False) -> None:
        super().__init__(message)
        self.column, self.decimal = column, decimal


class _Read(NamedTuple):
    """The different cells of a column that are not missing, as values, and their form."""

    values: Any
    written: Written


@dataclass(frozen=True)
class _Cells:
    """A column of text, taken apart into its different cells.

    Args:
        column: The column.
        word: A further word for a missing cell, or "".
    """

    column: pd.Series
    word: str

    @cached_property
    def _factors(self) -> tuple[NDArray[np.intp], Any]:
        import pandas as pd

        return pd.factorize(self.column)

    @property
    def codes(self) -> NDArray[np.intp]:
        """The number of each cell's level, or -1 where there is no text: (N,)."""
        return self._factors[0]

    @cached_property
    def words(self) -> list[str]:
        """The different cells, without blanks around them: (L,)."""
        return [str(level).strip() for level in self._factors[1].tolist()]

    @cached_property
    def levels(self) -> pd.Series:
        """The same as a column of text."""
        import pandas as pd

        levels: pd.Series = pd.Series(self.words, dtype=text_type())
        return levels

    @cached_property
    def counts(self) -> NDArray[np.intp]:
        """How often each level stands in the column: (L,)."""
        return np.bincount(self.codes[self.codes >= 0], minlength=len(self.words))

    @cached_property
    def usual(self) -> NDArray[np.bool_]:
        """Which levels stand for a missing cell in any column: (L,)."""
        return np.array([word in MISSING or word == self.word for word in self.words], bool)

    @cached_property
    def number(self) -> NDArray[np.bool_]:
        """Which levels stand for a missing cell among numbers or dates: (L,)."""
        lower = (word.lower() in MISSING_NUMBER for word in self.words)
        pairs = zip(self.usual.tolist(), lower, strict=True)
        return np.array([usual or number for usual, number in pairs], bool)

    @cached_property
    def marked(self) -> NDArray[np.bool_]:
        """Which levels are marks for a missing cell where the others are words: (L,)."""
        words = [word for word, usual in zip(self.words, self.usual, strict=True) if not usual]
        marks = _marks_among(words)
        often = self.counts > MOST_MARKED * len(self.codes)
        pairs = zip(self.words, often, strict=True)
        return np.array([word in marks and (word == "?" or not many) for word, many in pairs], bool)

    def gaps(self, written: Written | None) -> NDArray[np.bool_]:
        """Which levels stand for a missing cell where the others are no numbers: (L,).

        In new rows a mark may be a level that is known; ``Column.encode`` decides.
        """
        if written is None:
            return self.usual | self.marked
        return self.number if written.words else self.usual

    @property
    def name(self) -> str:
        """The column's name, for messages."""
        name = self.column.name
        return "the column" if name is None else f"column {str(name)!r}"

    def missing(self, gaps: NDArray[np.bool_], written: Written | None) -> tuple[str, str]:
        """The most frequent word for a missing cell, and a phrase that names all words but ""."""
        found = [(int(self.counts[i]), self.words[i]) for i in np.flatnonzero(gaps)]
        said = " ".join(repr(word) for _, word in found if word)
        count, word = max([*found, (int((self.codes < 0).sum()), "")])
        word = written.missing if written else word if count else ""
        return word, f"missing {said}" if said else ""

    def spread(self, values: Any, gaps: NDArray[np.bool_]) -> pd.Series:
        """Turn the values of the levels that are not missing into the whole column: (N,)."""
        import pandas as pd

        places = np.full(len(gaps) + 1, -1)
        places[:-1][~gaps] = np.arange(int((~gaps).sum()))
        where = places[self.codes]
        if (where >= 0).all():
            whole = values[where]
        else:
            nullable = {"i": "Int64", "u": "UInt64", "b": "boolean"}.get(values.dtype.kind)
            array = pd.array(values, dtype=nullable) if nullable else values
            whole = pd.api.extensions.take(array, where, allow_fill=True)
        return pd.Series(whole, index=self.column.index, name=self.column.name)

    def text(self, gaps: NDArray[np.bool_]) -> pd.Series:
        """The column as text: (N,), with NaN for the levels that are gaps, (L,)."""
        column = self.column
        if gaps.any() or self.words != self._factors[1].tolist():
            column = self.spread(self.levels[~gaps].array, gaps)
        return column.astype(text_type())


def parse(
    cells: pd.Series, written: Written | None = None, known: Known | None = None
) -> tuple[pd.Series, Written, str]:
    """Read cells of text as numbers, booleans or dates, or leave them as text.

    ``write`` makes the same cells again, except for what a value does not keep: zeros at the end of
    decimals, a plus sign, blanks around a cell, an exponent, some of several words for a missing
    cell, small letters in the name of a month, and marks between thousands that only some cells
    have. Times with several zones are written in UTC.

    Whole numbers keep every digit (int64, uint64, or Int64 and UInt64 with gaps); longer ones stay
    text, and so do codes with zeros in front, such as 007.

    Args:
        cells: (N,) of text; a cell without text is NaN. Its name is used in messages.
        written: How the cells are written, if that is known from other rows: nothing else is tried
            then. Cells that do not fit stay text.
        known: What the rest of the file says.

    Returns:
        The typed column (N,), how its cells are written, and why it became what it is, as a phrase
        that may be empty.

    Raises:
        AmbiguousError: Two readings are plausible, such as 01/02/2020 for two days.

    Example:
        >>> import pandas as pd
        >>> from aevb.datasets.tabular.text import parse, write
        >>> price, form, reason = parse(pd.Series(["1.250,50 €", "?", "3,75 €"]))
        >>> price.tolist(), reason
        ([1250.5, nan, 3.75], "numbers with decimal ',' and thousands '.' before ' €', missing '?'")
        >>> write(price, form).tolist()
        ['1.250,5 €', '?', '3,75 €']
    """
    if not is_text(cells):
        return cells, written or Written(), ""
    taken = _Cells(cells, written.missing if written else "")
    gaps = taken.number
    read = _typed(taken, written, known or Known())
    if read is None:
        gaps = taken.gaps(written)
        read = _booleans(taken.levels[~gaps], written)
    if read is None:
        return _text(taken, gaps, written)
    word, said = taken.missing(gaps, written)
    form = replace(read.written, missing=word)
    reason = described(form) if len(read.values) else "no cell is filled"
    return taken.spread(read.values, gaps), form, ", ".join(filter(None, (reason, said)))


def leave(cells: pd.Series, written: Written | None = None) -> tuple[pd.Series, Written, str]:
    """Leave cells as text, with missing cells as NaN. Arguments and results are those of ``parse``.

    Example:
        >>> import pandas as pd
        >>> from aevb.datasets.tabular.text import leave
        >>> leave(pd.Series(["12", "NA"]))[0].tolist()
        ['12', nan]
    """
    taken = _Cells(cells, written.missing if written else "")
    word, said = taken.missing(taken.usual, written)
    return taken.text(taken.usual), replace(written or Written(), missing=word), said


def write(values: pd.Series, written: Written) -> pd.Series:
    """Write a typed column as cells of text: (N,), none of them missing.

    Example:
        >>> import pandas as pd
        >>> from aevb.datasets.tabular.columns import Written
        >>> from aevb.datasets.tabular.text import write
        >>> write(pd.Series([1234.5, -2.0, None]), Written(thousands=",", before="$")).tolist()
        ['$1,234.5', '-$2.0', '']
        >>> write(pd.Series([True, False]), Written(words=("no", "yes"))).tolist()
        ['yes', 'no']
    """
    import pandas as pd

    kind = pd.api.types
    if kind.is_bool_dtype(values.dtype):
        no, yes = written.words or ("False", "True")
        cells = values.astype(object).map(lambda value: yes if value else no, na_action="ignore")
    elif kind.is_datetime64_any_dtype(values.dtype):
        cells = write_dates(values, written.date or _iso(values))
    elif kind.is_numeric_dtype(values.dtype):
        cells = values.astype(object).map(
            lambda value: write_number(value, written), na_action="ignore"
        )
    else:
        cells = values.astype(object).map(str, na_action="ignore")
    filled: pd.Series = cells.astype(object).where(values.notna(), written.missing)
    return filled.astype(text_type())


def text_type() -> Any:
    """Return pandas's type for text: ``str`` since pandas 3, ``object`` before.

    Example:
        >>> import pandas as pd
        >>> from aevb.datasets.tabular.text import is_text, text_type
        >>> is_text(pd.Series(["a"], dtype=text_type()))
        True
    """
    import pandas as pd

    return "str" if int(pd.__version__.partition(".")[0]) >= 3 else object


def is_text(cells: pd.Series) -> bool:
    """Whether a column holds text.

    Example:
        >>> import pandas as pd
        >>> from aevb.datasets.tabular.text import is_text
        >>> is_text(pd.Series(["a", None])), is_text(pd.Series([1, 2]))
        (True, False)
    """
    import pandas as pd

    dtype = cells.dtype
    return bool(pd.api.types.is_string_dtype(dtype) or pd.api.types.is_object_dtype(dtype))


def described(written: Written) -> str:
    """Describe in a phrase how values are written. "" for plain numbers.

    Example:
        >>> from aevb.datasets.tabular.columns import Written
        >>> from aevb.datasets.tabular.text import described
        >>> described(Written(date="%d.%m.%Y")), described(Written(decimal=","))
        ('dates written 31.12.2020', "numbers with decimal ','")
    """
    if written.date:
        noun = "dates" if re.search("%-?[dmYybB]", written.date) else "times"
        return f"{noun} written {shown(written.date)}"
    if written.words:
        return " and ".join(written.words)
    decimal = f"decimal {written.decimal!r}" if written.decimal != "." else ""
    thousands = f"thousands {written.thousands!r}" if written.thousands else ""
    marks = " and ".join(filter(None, (decimal, thousands)))
    parts = [
        f"{preposition} {part}"
        for preposition, part in (
            ("with", marks),
            ("after", written.before and repr(written.before)),
            ("before", written.after and repr(written.after)),
        )
        if part
    ]
    return " ".join(["numbers", *parts]) if parts else ""


def _marks_among(words: list[str]) -> tuple[str, ...]:
    """The marks that stand for a missing cell among the different words of a column.

    A column of "?" alone has no filled cell. Marks other than "?" need words of several letters
    around them: a "-" among the letters of a gene, or beside a "+", is a level.
    """
    others = [word for word in words if word not in MARKS]
    if not others:
        return MARKS[:1] if set(words) == {"?"} else ()
    spoken = [any(map(str.isalnum, word)) for word in others]
    if all(spoken) and min(map(len, others)) > 1:
        return MARKS
    return MARKS[:1] if any(spoken) else ()


def _iso(dates: pd.Series) -> str:
    """The ISO format for dates whose format is not known."""
    whole = bool((dates.dropna() == dates.dropna().dt.normalize()).all())
    return "%Y-%m-%d" if whole else "%Y-%m-%d %H:%M:%S"


def _typed(taken: _Cells, written: Written | None, known: Known) -> _Read | None:
    """Read numbers or dates. A column without a filled cell counts as numbers."""
    if (taken.usual if written else taken.usual | taken.marked).all():
        return _Read(np.full(0, np.nan), Written())
    levels = taken.levels[~taken.number]
    if not len(levels):
        return None
    return _numbers(levels, written, known, taken.name) or _dates(
        levels, written, known, taken.name
    )


def _numbers(levels: pd.Series, written: Written | None, known: Known, name: str) -> _Read | None:
    try:
        form = written or number_form(levels, known)
    except MarksError as error:
        number, mark = error.example, error.mark
        raise AmbiguousError(
            f"{name} holds numbers such as {in_quotes(number)}, which may be"
            f" {number.replace(mark, '.')} or {number.replace(mark, '')}. Give the mark that"
            " stands before the decimals, with"
            ' --decimal "," or --decimal "."',
            _bare(name),
            decimal=True,
        ) from None
    if form is None or form.date or form.words:
        return None
    values = read_numbers(levels, form)
    return None if values is None else _Read(values, form)


def _bare(name: str) -> str:
    """The name of a column without the word "column" and its quotes."""
    return name[len("column '") : -1] if name.startswith("column ") else ""


def _dates(levels: pd.Series, written: Written | None, known: Known, name: str) -> _Read | None:
    try:
        form = written.date if written else date_format(levels, known.dates)
    except OrdersError as error:
        ways = [
            f'--column "{_bare(name)}=date:{form.replace("%-", "%")}"' for form in error.formats
        ]
        orders = " or ".join(order(form) for form in error.formats)
        raise AmbiguousError(
            f"{name} holds dates such as {in_quotes(str(levels.iloc[0]))}, which may be {orders}."
            " Give"
            f" the right one, with {' or '.join(ways)}",
            _bare(name),
        ) from None
    dates = read_dates(levels, form) if form else None
    return None if dates is None or dates.isna().any() else _Read(dates.array, Written(date=form))


def _booleans(levels: pd.Series, written: Written | None) -> _Read | None:
    """Read two words as False and True. One of them alone is enough for true and false only."""
    here = set(levels)
    pairs = [
        (change(no), change(yes))
        for no, yes in WORDS
        for change in (str.lower, str.upper, str.capitalize)
    ]
    if written is not None:
        pairs = [(written.words[0], written.words[1])] if written.words else []
    for pair in pairs:
        part = here < set(pair) and (written is not None or pair[0].lower() == "false")
        if here and (here == set(pair) or part):
            return _Read((levels == pair[1]).to_numpy(bool), Written(words=pair))
    return None


def _text(
    taken: _Cells, gaps: NDArray[np.bool_], written: Written | None
) -> tuple[pd.Series, Written, str]:
    """Leave cells as text, and say what is odd about them."""
    word, said = taken.missing(gaps, written)
    reason = ", ".join(filter(None, (_odd(taken), said)))
    return taken.text(gaps), replace(written or Written(), missing=word), reason


def _odd(taken: _Cells) -> str:
    """Say why a column that is mostly numbers or dates stays text."""
    levels = taken.levels
    for noun, pattern in (("numbers", _NUMBER), ("dates", _DATE)):
        fits = levels.str.fullmatch(pattern).to_numpy(bool)
        other = ~fits & ~taken.number
        count, others = int(taken.counts[fits].sum()), int(taken.counts[other].sum())
        if not others and noun == "dates":
            other[fits] = none_of_most(levels[fits])
            others = int(taken.counts[other].sum())
            count -= others
        if count > others:
            return _few_others(taken, noun, count, other) if others else _odd_all(levels, noun)
    return ""


def _few_others(taken: _Cells, noun: str, count: int, other: NDArray[np.bool_]) -> str:
    others = int(taken.counts[other].sum())
    row = int(np.flatnonzero((taken.codes >= 0) & other[taken.codes])[0])
    cell = str(taken.levels.iloc[taken.codes[row]])
    cells = "cell" if others == 1 else "cells"
    return (
        f"{count} {noun} and {others} other {cells}, the first {in_quotes(cell)} at row {row + 1}"
    )


def _odd_all(levels: pd.Series, noun: str) -> str:
    """Say why a column of nothing but numbers, or of nothing but dates, stays text."""
    if noun == "dates":
        return "dates of several formats, or days that do not exist"
    codes = levels[levels.str.fullmatch("[+-]?0[0-9]+").to_numpy(bool)]
    if len(codes):
        return f"codes with zeros in front, such as {in_quotes(codes.iloc[0])}"
    if (levels.str.len() > 15).any():
        return "whole numbers too long for 64 bits"
    return "numbers with marks of several kinds"
