"""Find out of what kind each column of a table is, and say why.

The type of a column decides where it can: dates, booleans, pandas's categories. Whole numbers and
text are judged by their values. Every column is encoded and decoded once, and is refused by name if
it does not come back as it was.
"""

from __future__ import annotations

import datetime
import decimal
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from aevb.datasets.damage import in_quotes
from aevb.datasets.tabular.cells import is_stepped, numbers, period_of, plain
from aevb.datasets.tabular.columns import (
    COLUMN_KINDS,
    Column,
    Label,
    Written,
    options,
    quoted,
    text_of,
)
from aevb.datasets.tabular.number_kinds import (
    ALL_DIFFERENT,
    FEW,
    GAPS,
    are_dates,
    decimals_of,
    integer,
    numeric,
    real,
    stepped,
    told,
    whole_steps,
    with_gaps,
)
from aevb.datasets.tabular.words import YES_OR_NO, order_of
from aevb.errors import DataError, UsageError
from aevb.registry import Registry

if TYPE_CHECKING:
    import pandas as pd


FREE_TEXT = 30
"""If half of the cells differ and they have more characters than this, they are free text."""
SPANS = ("timedelta", "duration")
"""How pandas's names for types of spans of time begin."""

KINDS = Registry("kind of column", COLUMN_KINDS)


def find(
    cells: pd.Series,
    label: Label,
    asked: str = "",
    written: Written | None = None,
    reason: str = "",
) -> Column:
    """Find the kind of one column.

    Args:
        cells: (N,), the cells.
        label: The name of the column.
        asked: The kind that the user gave, or "".
        written: How a file writes the cells.
        reason: What the reader of a text file found out about the cells, as a phrase.

    Raises:
        DataError: The column cannot be held exactly, or it mixes kinds of values.
        UsageError: The column cannot be of the kind that was asked for.

    Example:
        >>> import pandas as pd
        >>> from aevb.datasets.tabular.column_kinds import find
        >>> find(pd.Series([3, 1, 2, 3]), "stars").kind
        'integer'
        >>> column = find(pd.Series(["low", "high", "low"]), "risk")
        >>> column.kind, column.levels
        ('ordered', ('low', 'high'))
        >>> find(pd.Series([3, 1, 2, 3]), "stars", asked="category").levels
        (1, 2, 3)
    """
    name = text_of(label)
    base = Column(
        name,
        "ignore",
        _dtype(cells, name),
        reason=reason,
        label=label,
        missing=int(cells.isna().sum()),
        written=written or Written(),
    )
    if asked == "ignore":
        return replace(base, reason="as asked for")
    present = cells.dropna()
    column = _as_asked(base, present, KINDS.check(asked)) if asked else _found(base, present)
    if column.is_modelled:
        _require_round_trip(column, cells)
    return column


def _dtype(cells: pd.Series, name: str) -> str:
    """Name the type of the cells. Raises DataError for cells that nothing can be done with."""
    import pandas as pd

    dtype = cells.dtype
    if isinstance(dtype, pd.CategoricalDtype):
        return "category, ordered" if dtype.ordered else "category"
    if dtype.kind == "O" and str(dtype) == "object":
        return _dtype_of_objects(cells.dropna(), name)
    if dtype.kind in "cV" or str(dtype).startswith(("interval", "list", "struct", "binary")):
        raise _unusable(name, f"values of type {dtype}")
    return str(dtype)


def _dtype_of_objects(present: pd.Series, name: str) -> str:
    """Name the type of Python objects: date, time, decimal, or object."""
    kinds = {type(plain(cell)) for cell in present}
    for kind, dtype in [
        (datetime.time, "time"),
        (datetime.date, "date"),
        (decimal.Decimal, "decimal"),
    ]:
        if kinds == {kind}:
            return dtype
    odd = kinds - {bool, int, float, str}
    if odd:
        raise _unusable(name, f"values of type {sorted(each.__name__ for each in odd)[0]}")
    if len(kinds) > 1 and kinds != {int, float}:
        raise _mixed(present, name)
    return "object"


def _unusable(name: str, what: str) -> DataError:
    return DataError(
        f"column {in_quotes(name)} holds {what}; a table holds numbers, text, dates, or true and"
        " false."
        f" Convert the column, or leave it out with {options([name], 'ignore')}."
    )


def _mixed(present: pd.Series, name: str) -> DataError:
    """Say how many cells of a column are text, and where the first of the fewer ones is."""
    types = sorted({type(plain(cell)).__name__ for cell in present})
    if "str" not in types:
        return DataError(
            f"column {in_quotes(name)} mixes values of the types {' and '.join(types)}. Make them"
            " alike, or"
            f" leave the column out with {options([name], 'ignore')}."
        )
    is_text = present.map(lambda cell: isinstance(cell, str)).to_numpy()
    fewer = is_text if is_text.mean() <= 0.5 else ~is_text
    place = int(fewer.argmax())
    return DataError(
        f"column {in_quotes(name)} mixes {int(is_text.sum())} cells of text with"
        f" {int((~is_text).sum())}"
        f" others; the first that differs from most is {in_quotes(present.iloc[place])} at row"
        f" {present.index[place] + 1 if present.index.dtype.kind == 'i' else place + 1}. Make them"
        f" alike, or leave the column out with {options([name], 'ignore')}."
    )


# -------------------------------------------------------------------------------------------------
# the kind, found from type and values


def _found(base: Column, present: pd.Series) -> Column:
    """Find the kind of a column with cells that are not missing."""
    distinct = int(present.nunique())
    if distinct == 0:
        return replace(base, kind="constant", reason="all its cells are missing")
    if distinct == 1 and base.missing == 0:
        return _constant(base, present)
    if base.dtype.startswith("category"):
        return _categories(base, present)
    if base.dtype in ("bool", "boolean", "bool[pyarrow]") or isinstance(
        plain(present.iloc[0]), bool
    ):
        return replace(base, kind="boolean", levels=(False, True), reason="true and false")
    if base.dtype.startswith(SPANS):
        return stepped(base, present, "integer", "spans of time")
    if is_stepped(base):
        return _dated(base, present)
    if isinstance(present.iloc[0], str):
        return _text(base, present, distinct)
    return numeric(base, present, distinct)


def _constant(base: Column, present: pd.Series) -> Column:
    """Make a column of one value, which samples get back."""
    value = plain(present.iloc[0])
    shown = f"every cell is {value!s:.40}"
    column = replace(base, kind="constant", reason=shown)
    if isinstance(value, bool | int | float | str):
        level_dtype = _level_dtype(present) if base.dtype.startswith("category") else ""
        return replace(column, levels=(value,), level_dtype=level_dtype)
    if base.dtype == "decimal":
        return replace(column, levels=(float(value),), decimals=decimals_of(present))
    return replace(column, base=whole_steps(base, present)[0], low=0.0, high=0.0)


def _categories(base: Column, present: pd.Series) -> Column:
    """Make a column of pandas's categories, with those that do not occur."""
    categories = present.cat.categories
    levels = tuple(plain(level) for level in categories)
    if not all(isinstance(level, bool | int | float | str) for level in levels):
        raise _unusable(base.name, f"categories of type {categories.dtype}")
    ordered = base.dtype.endswith("ordered")
    return replace(
        base,
        kind="ordered" if ordered else "category",
        levels=levels,
        level_dtype=_level_dtype(present),
        reason=f"{len(levels)} categories{' with an order' if ordered else ''}",
    )


def _level_dtype(present: pd.Series) -> str:
    return str(present.cat.categories.dtype)


def _dated(base: Column, present: pd.Series) -> Column:
    first, last = present.min(), present.max()
    what = "times" if base.dtype == "time" else "dates"
    reason = f"{what} from {first} to {last}".replace(" 00:00:00", "")
    return stepped(base, present, "date", reason)


def _text(base: Column, present: pd.Series, distinct: int) -> Column:
    """Judge text: yes and no, a span of a year, a name of the row, an order, or names."""
    small = {str(value).strip().lower(): str(value) for value in present.unique()}
    pair = _yes_and_no(small) if distinct == 2 else ()
    if pair:
        return replace(base, kind="boolean", levels=pair, reason=with_gaps(quoted(pair), base))
    form = period_of(present.unique())
    if form:
        base = replace(base, written=replace(base.written, date=form))
        return stepped(base, present, "date", f"from {present.min()} to {present.max()}")
    why = _why_free(present, distinct)
    if why:
        said = "" if base.reason.startswith(GAPS) else base.reason
        return replace(base, kind="identifier", reason="; ".join(filter(None, [why, said])))
    order = order_of(small) if len(small) == distinct else []
    if order:
        levels = tuple(small[word] for word in order)
        reason = with_gaps(f"an order: {quoted(levels)}", base)
        return replace(base, kind="ordered", levels=levels, reason=reason)
    levels = tuple(sorted(map(str, present.unique())))
    reason = told(f"text with {distinct} values", base)
    return replace(base, kind="category", levels=levels, reason=reason)


def _yes_and_no(small: Mapping[str, str]) -> tuple[str, ...]:
    """The words for False and True, as they are written. () if these are others."""
    for no, yes in YES_OR_NO:
        if small.keys() == {no, yes}:
            return small[no], small[yes]
    return ()


def _why_free(present: pd.Series, distinct: int) -> str:
    """Say why text is a name of its row or free text, or return "" if it is not."""
    if _differ(present, distinct, ALL_DIFFERENT):
        return f"{distinct} of {len(present)} cells of text differ"
    long = present.astype("str").str.len().mean() > FREE_TEXT
    return "free text" if long and _differ(present, distinct, 0.5) else ""


def _differ(present: pd.Series, distinct: int, share: float) -> bool:
    return len(present) >= FEW and distinct > share * len(present)


# -------------------------------------------------------------------------------------------------
# what the user asked for


def _as_asked(base: Column, present: pd.Series, kind: str) -> Column:
    """Make a column of the kind that was asked for. Raises UsageError if it cannot be that."""
    if present.empty:
        return replace(base, kind="constant", reason="all its cells are missing")
    if kind == "identifier":
        return replace(base, kind=kind, reason="as asked for")
    try:
        column = _MAKERS[kind](base, present)
    except (DataError, ValueError, TypeError, AttributeError) as error:
        raise UsageError(
            f"column {in_quotes(base.name)} cannot be of kind {kind}: {str(error).rstrip('.')}."
            " Give"
            " another kind, or none."
        ) from error
    return replace(column, reason="as asked for")


def _asked_real(base: Column, present: pd.Series) -> Column:
    return real(base, present, numbers(base.name, present))


def _asked_integer(base: Column, present: pd.Series) -> Column:
    if base.dtype.startswith(SPANS):
        return stepped(base, present, "integer", "")
    values = numbers(base.name, present)
    if (values != np.rint(values)).any():
        raise ValueError("it holds fractions")
    return integer(base, present, values)


def _asked_levels(kind: str) -> Callable[[Column, Any], Column]:
    def make(base: Column, present: pd.Series) -> Column:
        if base.dtype.startswith("category"):
            return replace(_categories(base, present), kind=kind)
        levels = sorted(plain(value) for value in present.unique())
        if not all(isinstance(level, bool | int | float | str) for level in levels):
            raise ValueError(f"its cells are of type {type(levels[0]).__name__}")
        if kind == "boolean" and len(levels) != 2:
            raise ValueError(f"it has {len(levels)} values")
        small = {str(level).strip().lower(): level for level in levels}
        order = order_of({word: word for word in small}) if kind == "ordered" else []
        return replace(
            base, kind=kind, levels=tuple(small[word] for word in order) or tuple(levels)
        )

    return make


def _asked_date(base: Column, present: pd.Series) -> Column:
    if is_stepped(base):
        return _dated(base, present)
    if isinstance(present.iloc[0], str):
        raise ValueError(base.reason or "its text is no dates of one format")
    if not are_dates(numbers(base.name, present)):
        raise ValueError("its numbers are not dates written YYYYMMDD")
    return stepped(replace(base, written=replace(base.written, date="%Y%m%d")), present, "date", "")


def _asked_constant(base: Column, present: pd.Series) -> Column:
    if present.nunique() > 1 or base.missing:
        raise ValueError(f"it has {present.nunique()} values and {base.missing} missing cells")
    return _constant(base, present)


_MAKERS: dict[str, Callable[[Column, Any], Column]] = {
    "real": _asked_real,
    "integer": _asked_integer,
    "boolean": _asked_levels("boolean"),
    "category": _asked_levels("category"),
    "ordered": _asked_levels("ordered"),
    "date": _asked_date,
    "constant": _asked_constant,
}


# -------------------------------------------------------------------------------------------------


def _require_round_trip(column: Column, cells: pd.Series) -> None:
    """Raise DataError unless the column comes back from its codes as it was."""
    codes = column.encode(cells)
    # The codes of whole steps are whole, unless dates are kept in larger steps than they have.
    coarse = column.kind == "date" and bool((codes % 1 > 0).any())
    if not coarse and not same_cells(cells, column.decode(codes)):
        raise DataError(
            f"column {in_quotes(column.name)} of type {column.dtype} cannot be held exactly as"
            f" {column.kind}. Convert it, or leave it out with {options([column.name], 'ignore')}."
        )


def same_cells(cells: pd.Series, other: pd.Series) -> bool:
    """Whether two columns hold the same cells, of the same type.

    Example:
        >>> import pandas as pd
        >>> from aevb.datasets.tabular.column_kinds import same_cells
        >>> same_cells(pd.Series([1, 2]), pd.Series([1, 2])), same_cells(
        ...     pd.Series([1, 2]), pd.Series([1.0, 2.0]))
        (True, False)
    """
    gone = cells.isna().to_numpy()
    if str(cells.dtype) != str(other.dtype) or (gone != other.isna().to_numpy()).any():
        return False
    here = cells[~gone].reset_index(drop=True)
    there = other[~gone].reset_index(drop=True)
    return bool((here == there).all())
