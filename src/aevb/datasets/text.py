"""Cells of text become a typed column, and a typed column becomes the same cells again.

``parse`` looks at a whole column at once, and takes a reading only if every cell fits it. Equal
cells are looked at once.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from aevb.datasets.columns import Written
from aevb.datasets.dates import OrdersError, date_format, order, read_dates, shown, write_dates
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
WORDS = (("false", "true"), ("no", "yes"), ("n", "y"), ("f", "t"))
"""The pairs of words for False and True."""

_CURRENCY = "USD|EUR|GBP|JPY|CHF|CNY|INR|AUD|CAD|SEK|NOK|DKK|PLN|BRL"
_BEFORE = rf"(?:US\$|[$€£¥₹]|{_CURRENCY})[ \u00a0]?"
_AFTER = r"[ \u00a0]?(?:%|[€$£¥₹]|[A-Za-zµ°Ω]+[A-Za-z°²³/µ^]*)"
_CORE = r"[\d.,'’_ \u00a0\u202f]*\d[\d.,'’_ \u00a0\u202f]*?(?:[eE][+-]?\d+)?"
_SHAPE = re.compile(rf"[+-]?(?P<before>{_BEFORE})?[+-]?{_CORE}(?P<after>{_AFTER})?")
_MARKS = (",", ".", " ", "\u00a0", "\u202f", "'", "’", "_")


class AmbiguousError(UsageError):
    """A column of text that can be read in several ways, all of them plausible.

    Args:
        message: The sentence for the user.
        decimal: Whether the marks of numbers are in question, and not the order of a date.
    """

    def __init__(self, message: str, decimal: bool = False) -> None:
        super().__init__(message)
        self.decimal = decimal


class Known(NamedTuple):
    """What the rest of a file says about how its cells are written.

    Args:
        decimal: "," or ".": the mark before the decimals. "?": either is likely, as in a file with
            semicolons. "": a point is; a comma may be.
        dates: Formats of dates that are certain.
    """

    decimal: str = ""
    dates: tuple[str, ...] = ()


class _Read(NamedTuple):
    """A column's different cells as values (an array of the same length), and their form."""

    values: Any
    written: Written
    reason: str


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
        >>> from aevb.datasets.text import parse, write
        >>> price, form, reason = parse(pd.Series(["1.250,50 €", "?", "3,75 €"]))
        >>> price.tolist(), reason
        ([1250.5, nan, 3.75], "numbers with decimal ',' and thousands '.' before ' €', missing '?'")
        >>> write(price, form).tolist()
        ['1.250,5 €', '?', '3,75 €']
    """
    import pandas as pd

    if not is_text(cells):
        return cells, written or Written(), ""
    codes, unique = pd.factorize(cells)
    levels = pd.Series(unique, dtype=text_type()).str.strip()
    lower = levels.str.lower()
    usual = levels.isin(MISSING | {written.missing if written else ""}).to_numpy(bool)
    number = usual | lower.isin(MISSING_NUMBER).to_numpy(bool)
    counts = np.bincount(codes[codes >= 0], minlength=len(levels))
    name = "the column" if cells.name is None else f"column {str(cells.name)!r}"
    read, gaps = None, number
    if usual.all():
        read = _Read(np.full(0, np.nan), Written(), "no cell is filled")
    elif not number.all():
        read = _numbers(levels[~number], written, known or Known(), name)
        read = read or _dates(levels[~number], written, known or Known(), name)
    if read is None:
        gaps = usual
        read = _booleans(levels[~usual], written)
    if read is None:
        return _text(cells, codes, levels, usual, number, counts, written)
    missing, said = _missing_word(codes, levels, gaps, counts, written)
    values = _spread(read.values, gaps, codes)
    reason = ", ".join(part for part in (read.reason, said) if part)
    return (
        pd.Series(values, index=cells.index, name=cells.name),
        replace(read.written, missing=missing),
        reason,
    )


def write(values: pd.Series, written: Written) -> pd.Series:
    """Write a typed column as cells of text: (N,), none of them missing.

    Example:
        >>> import pandas as pd
        >>> from aevb.datasets.columns import Written
        >>> from aevb.datasets.text import write
        >>> write(pd.Series([1234.5, -2.0, None]), Written(thousands=",", before="$")).tolist()
        ['$1,234.5', '-$2.0', '']
        >>> write(pd.Series([True, False]), Written(words=("no", "yes"))).tolist()
        ['yes', 'no']
    """
    import pandas as pd

    kind = pd.api.types
    if kind.is_bool_dtype(values.dtype):
        no, yes = written.words or ("False", "True")
        cells = values.map({False: no, True: yes}, na_action="ignore")
    elif kind.is_datetime64_any_dtype(values.dtype):
        cells = write_dates(values, written.date or _iso(values))
    elif kind.is_numeric_dtype(values.dtype):
        cells = values.astype(object).map(lambda value: _number(value, written), na_action="ignore")
    else:
        cells = values.astype(object).map(str, na_action="ignore")
    filled: pd.Series = cells.astype(object).where(values.notna(), written.missing)
    return filled.astype(text_type())


def text_type() -> Any:
    """Return pandas's type for text: ``str`` since pandas 3, ``object`` before.

    Example:
        >>> import pandas as pd
        >>> from aevb.datasets.text import is_text, text_type
        >>> is_text(pd.Series(["a"], dtype=text_type()))
        True
    """
    import pandas as pd

    return "str" if int(pd.__version__.partition(".")[0]) >= 3 else object


def is_text(cells: pd.Series) -> bool:
    """Whether a column holds text.

    Example:
        >>> import pandas as pd
        >>> from aevb.datasets.text import is_text
        >>> is_text(pd.Series(["a", None])), is_text(pd.Series([1, 2]))
        (True, False)
    """
    import pandas as pd

    return bool(pd.api.types.is_string_dtype(cells.dtype) or cells.dtype == object)


def described(written: Written) -> str:
    """Describe in a phrase how values are written. "" for plain numbers.

    Example:
        >>> from aevb.datasets.columns import Written
        >>> from aevb.datasets.text import described
        >>> described(Written(date="%d.%m.%Y")), described(Written(decimal=","))
        ('dates written 31.12.2020', "numbers with decimal ','")
    """
    if written.date:
        noun = "dates" if re.search("%-?[dmYybB]", written.date) else "times"
        return f"{noun} written {shown(written.date)}"
    if written.words:
        return " and ".join(written.words)
    marks = [
        f"{name} {mark!r}"
        for name, mark, usual in (
            ("decimal", written.decimal, "."),
            ("thousands", written.thousands, ""),
        )
        if mark != usual
    ]
    parts = [f"with {' and '.join(marks)}"] if marks else []
    parts += [f"after {written.before!r}"] if written.before else []
    parts += [f"before {written.after!r}"] if written.after else []
    return f"numbers {' '.join(parts)}" if parts else ""


def _iso(dates: pd.Series) -> str:
    """The ISO format for dates whose format is not known."""
    whole = bool((dates.dropna() == dates.dropna().dt.normalize()).all())
    return "%Y-%m-%d" if whole else "%Y-%m-%d %H:%M:%S"


def _number(value: Any, written: Written) -> str:
    """Write one number."""
    whole = isinstance(value, int | np.integer)
    sign = "-" if value < 0 else ""
    digits = str(int(value) if whole else float(value)).removeprefix("-")
    point, _, rest = digits.partition(".")
    if written.thousands and point.isdigit():
        point = f"{int(point):,}".replace(",", written.thousands)
    if whole:
        point = point.zfill(written.width)
    decimals = f"{written.decimal}{rest}" if rest else ""
    return f"{sign}{written.before}{point}{decimals}{written.after}"


def _spread(values: Any, gaps: np.ndarray, codes: np.ndarray) -> Any:
    """Turn the values of the different cells that are not missing into the whole column."""
    import pandas as pd

    whole = np.full(len(gaps) + 1, -1)
    whole[:-1][~gaps] = np.arange(int((~gaps).sum()))
    where = whole[codes]
    if (where >= 0).all():
        return values[where]
    nullable = {"i": "Int64", "u": "UInt64", "b": "boolean"}.get(values.dtype.kind)
    array = pd.array(values, dtype=nullable) if nullable else values
    return pd.api.extensions.take(array, where, allow_fill=True)


def _missing_word(
    codes: np.ndarray,
    levels: pd.Series,
    gaps: np.ndarray,
    counts: np.ndarray,
    written: Written | None,
) -> tuple[str, str]:
    """The most frequent word for a missing cell, and a phrase that names all words but ""."""
    found = [(int(counts[i]), str(levels.iloc[i])) for i in np.flatnonzero(gaps)]
    said = " ".join(repr(word) for _, word in found if word)
    found.append((int((codes < 0).sum()), ""))
    word = max(found)[1] if max(found)[0] else ""
    return (written.missing if written else word), f"missing {said}" if said else ""


def _booleans(levels: pd.Series, written: Written | None) -> _Read | None:
    """Read two words as False and True."""
    here = set(levels)
    if written is not None:
        words = written.words if here <= set(written.words) else ()
    else:
        words = next(
            (
                pair
                for lower in WORDS
                for change in (str.lower, str.upper, str.capitalize)
                if here == set(pair := tuple(change(word) for word in lower))
                or (here < set(pair) and lower[0] == "false")
            ),
            (),
        )
    if not words:
        return None
    form = Written(words=words)
    return _Read((levels == words[1]).to_numpy(bool), form, described(form))


def _dates(levels: pd.Series, written: Written | None, known: Known, name: str) -> _Read | None:
    """Read dates or times."""
    if written is not None:
        form = written.date
        dates = read_dates(levels, form) if form else None
        if dates is None or dates.isna().any():
            return None
    else:
        try:
            form = date_format(levels, known.dates)
        except OrdersError as error:
            raise _two_dates(levels, error.formats, name) from None
        if not form:
            return None
        dates = read_dates(levels, form)
    said = Written(date=form)
    return _Read(dates.array, said, described(said))


def _two_dates(levels: pd.Series, formats: list[str], name: str) -> AmbiguousError:
    column = name.removeprefix("column ").strip("'")
    ways = [f'--column "{column}=date:{form.replace("%-", "%")}"' for form in formats]
    return AmbiguousError(
        f"{name} holds dates such as {str(levels.iloc[0])!r}, which may be"
        f" {' or '.join(order(form) for form in formats)}. Say which, with {' or '.join(ways)}"
    )


def _numbers(levels: pd.Series, written: Written | None, known: Known, name: str) -> _Read | None:
    """Read numbers with marks, and with the same sign or unit before or after all of them."""
    shape = _SHAPE.fullmatch(str(levels.iloc[0]))
    infinite = "(?i:inf|infinity)"
    if shape is None and not re.fullmatch(f"[+-]?{infinite}", str(levels.iloc[0])):
        return None
    before, after = (shape["before"] or "", shape["after"] or "") if shape else ("", "")
    if written is not None:
        before, after = written.before, written.after
    pattern = rf"([+-]?){re.escape(before)}([+-]?(?:{_CORE}|{infinite})){re.escape(after)}"
    parts = levels.str.extract(rf"^{pattern}$")
    if parts[1].isna().any():
        return None
    cores = parts[0] + parts[1]
    if written is not None:
        forms = [(written.decimal, written.thousands)]
        forms = forms if _grouped(cores, *forms[0]) else []
    else:
        forms = _forms(cores, known, name)
    if not forms:
        return None
    decimal, thousands = forms[0]
    width = written.width if written else 0
    form = Written(decimal=decimal, thousands=thousands, before=before, after=after, width=width)
    return _values(cores, form)


def _values(cores: pd.Series, form: Written) -> _Read | None:
    """Turn numbers of one form into an array. None for codes and for integers that are too long."""
    import pandas as pd

    plain = cores
    if form.thousands:
        plain = plain.str.replace(form.thousands, "", regex=False)
    if form.decimal != ".":
        plain = plain.str.replace(form.decimal, ".", regex=False)
    if not form.width and plain.str.contains(r"^[+-]?0\d+$", regex=True).any():
        return None
    values = pd.to_numeric(plain).to_numpy()
    if values.dtype.kind == "f" and not plain.str.contains(r"[.eEiI]", regex=True).all():
        long = plain[~plain.str.contains(r"[.eEiI]", regex=True)].str.len().max() > 15
        if long and plain.str.contains(r"^[+-]?[0-9]{16,}$", regex=True).any():
            return None
    if values.dtype.kind not in "iuf":
        return None
    return _Read(values, form, described(form))


def _forms(cores: pd.Series, known: Known, name: str) -> list[tuple[str, str]]:
    """The (decimal, thousands) that fit all numbers, the most plausible one first."""
    marks = [mark for mark in _MARKS if cores.str.contains(mark, regex=False).any()]
    if not marks:
        return [(".", "")] if _grouped(cores, ".", "") else []
    pairs = [(d, t) for d in ".," for t in ("", *marks) if t != d and (t or d in marks)]
    fitting = [pair for pair in pairs if _grouped(cores, *pair)]
    # A mark that is only the decimal one, or only between groups, decides nothing about the other.
    fitting = [pair for pair in fitting if set(marks) <= set(pair)]
    told = [pair for pair in fitting if pair[0] == known.decimal]
    if told or len(fitting) < 2:
        return told or fitting
    mark = marks[0]
    if mark == "." and known.decimal != "?":
        return [(".", "")]
    if mark in ".,":
        return _by_length(cores, mark, fitting, name)
    return fitting[:1]


def _by_length(
    cores: pd.Series, mark: str, fitting: list[tuple[str, str]], name: str
) -> list[tuple[str, str]]:
    """Decide whether one mark is decimal or between thousands, from the numbers without it."""
    without = cores[~cores.str.contains(mark, regex=False)].str.lstrip("+-")
    decimal, thousands = (mark, ""), (".,".replace(mark, ""), mark)
    if not {decimal, thousands} <= set(fitting):
        return fitting[:1]
    if len(without):
        # 1,239 next to 850 has marks between thousands, next to 1500 it has decimals.
        return [decimal if (without.str.len() > 3).any() else thousands]
    first = next(core for core in cores if mark in core)
    raise AmbiguousError(
        f"{name} holds numbers such as {first!r}, which may be"
        f" {first.replace(mark, '.')} or {first.replace(mark, '')}. Say which mark stands before"
        f' the decimals, with --decimal "{mark}" or --decimal "{thousands[0]}".',
        decimal=True,
    )


def _grouped(cores: pd.Series, decimal: str, thousands: str) -> bool:
    """Whether all numbers have this decimal mark and this mark between groups of three digits."""
    d, t = re.escape(decimal), re.escape(thousands)
    whole = rf"(?:[1-9][0-9]{{0,2}}(?:{t}[0-9]{{3}})+|[0-9]+)" if thousands else "[0-9]+"
    number = rf"(?:{whole}(?:{d}[0-9]*)?|{d}[0-9]+)(?:[eE][+-]?[0-9]+)?"
    return bool(cores.str.fullmatch(rf"[+-]?(?:{number}|(?i:inf|infinity))").all())


def _text(
    cells: pd.Series,
    codes: np.ndarray,
    levels: pd.Series,
    usual: np.ndarray,
    number: np.ndarray,
    counts: np.ndarray,
    written: Written | None,
) -> tuple[pd.Series, Written, str]:
    """Leave cells as text, and say what is odd about them."""
    import pandas as pd

    missing, said = _missing_word(codes, levels, usual, counts, written)
    kept = levels.mask(usual)
    text = pd.Series(_spread(kept.array, np.zeros(len(levels), bool), codes), cells.index)
    text = text.astype(text_type()).rename(cells.name)
    odd = _odd(levels, number, counts, codes)
    reason = ", ".join(part for part in (odd, said) if part)
    return text, replace(written or Written(), missing=missing), reason


def _odd(levels: pd.Series, gaps: np.ndarray, counts: np.ndarray, codes: np.ndarray) -> str:
    """Say why a column that is mostly numbers stays text: codes, long numbers, or other cells."""
    plain = levels.str.fullmatch(r"[+-]?(?:\d+[.,]?\d*|[.,]\d+)(?:[eE][+-]?\d+)?").to_numpy(bool)
    numbers = int(counts[plain].sum())
    other = ~plain & ~gaps
    if not other.any() and numbers:
        codes_like = levels[levels.str.fullmatch(r"[+-]?0\d+").to_numpy(bool)]
        if len(codes_like):
            return f"codes with zeros in front, such as {codes_like.iloc[0]!r}"
        if (levels.str.len() > 18).any():
            return "whole numbers too long for 64 bits"
        return "numbers with marks of several kinds"
    others = int(counts[other].sum())
    if numbers <= others:
        return ""
    row = int(np.flatnonzero((codes >= 0) & other[codes])[0])
    cell = str(levels.iloc[codes[row]])
    return (
        f"{numbers} numbers and {others} other cell{'s' * (others > 1)}, the first {cell!r} at row"
        f" {row + 1}"
    )
