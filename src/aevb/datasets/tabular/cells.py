"""Cells become codes, and codes become cells, for a ``Column`` whose kind is known.

Numbers are their own codes. Dates are steps of their type's resolution, counted from the column's
``base``; levels are counted from 0. Whole numbers beyond 2^53, which a float64 does not hold, are
counted from ``base``, too.

Besides pandas's types there are those of Python objects in a column of type ``object``:
``date``, ``time`` and ``decimal``.
"""

from __future__ import annotations

import datetime
import decimal
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aevb.datasets.damage import in_quotes
from aevb.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

    from aevb.datasets.tabular.columns import Column

MARKS = ("?", "-", "--", ".")
"""Marks for a missing cell among words, unless they are levels of the column. Words such as
"missing", "unknown" and "none" are levels always: they may say something."""
LEVELLED = ("boolean", "category", "ordered")
"""The kinds whose codes are numbers of levels."""


class Steps(NamedTuple):
    """How cells of a type become whole numbers and back.

    to_int: One cell to a whole number. from_int: The reverse.
    """

    to_int: Callable[[Any], int]
    from_int: Callable[[int], Any]


def _microseconds(time: datetime.time) -> int:
    return ((time.hour * 60 + time.minute) * 60 + time.second) * 10**6 + time.microsecond


def _time(microseconds: int) -> datetime.time:
    inside = min(max(microseconds, 0), 86_400 * 10**6 - 1)
    return (datetime.datetime.min + datetime.timedelta(microseconds=inside)).time()


OBJECTS = {
    "date": Steps(datetime.date.toordinal, datetime.date.fromordinal),
    "time": Steps(_microseconds, _time),
}
"""The types of Python objects that are counted in steps: days, and microseconds of the day."""

MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


def _of_week(text: str) -> int:
    return datetime.date.fromisocalendar(int(text[:4]), int(text[-2:]), 1).toordinal() // 7


def _week(number: int) -> str:
    year, week, _ = datetime.date.fromordinal(number * 7 + 1).isocalendar()
    return f"{year} W{week:02d}"


PERIODS = {
    "%Y Q%q": Steps(
        lambda text: int(text[:4]) * 4 + int(text[-1]) - 1,
        lambda number: f"{number // 4} Q{number % 4 + 1}",
    ),
    "%Y W%V": Steps(_of_week, _week),
    "%Y %b": Steps(
        lambda text: int(text[:4]) * 12 + MONTHS.index(text[-3:]),
        lambda number: f"{number // 12} {MONTHS[number % 12]}",
    ),
}
"""Words for spans of a year that are counted in steps, such as 1979 Q3, 1991 W06 and 1960 Jan."""


def period_of(text: Iterable[str]) -> str:
    """The format in ``PERIODS`` that all words have. "" if there is none.

    Example:
        >>> from aevb.datasets.tabular.cells import period_of
        >>> period_of(["1979 Q3", "1980 Q1"]), period_of(["1979 Q3", "west"])
        ('%Y Q%q', '')
    """
    words = list(text)
    for form, (to_int, from_int) in PERIODS.items():
        try:
            if words and all(from_int(to_int(word)) == word for word in words):
                return form
        except ValueError:
            continue
    return ""


def encode(column: Column, cells: pd.Series) -> NDArray[np.float64]:
    """Turn cells into codes: (N,). See ``Column.encode``."""
    cells = _without_marks(column, cells)
    if column.kind in LEVELLED:
        return _level_codes(column, cells)
    if column.unit != 1 or column.base or is_stepped(column):
        return _step_codes(column, cells)
    return numbers(column.name, cells)


def _without_marks(column: Column, cells: pd.Series) -> pd.Series:
    """Cells of text with NaN for a mark of a missing cell that is no level of the column: (N,)."""
    if str(cells.dtype) not in ("object", "str", "string"):
        return cells
    gone = cells.isin([mark for mark in MARKS if mark not in column.levels])
    return cells.mask(gone) if gone.any() else cells


def decode(column: Column, codes: NDArray[Any]) -> pd.Series:
    """Turn codes: (N,) into cells. See ``Column.decode``."""
    codes = np.asarray(codes, np.float64)
    if column.low is not None and column.high is not None:
        codes = codes.clip(column.low, column.high)
    if column.kind in LEVELLED:
        return _from_levels(column, codes)
    if column.unit != 1 or column.base or is_stepped(column):
        return from_steps(column, codes)
    return _from_numbers(column, codes)


def unmodelled(column: Column, n: int) -> pd.Series:
    """Make n cells of a column that is not modelled: the constant, or the numbers 1 to n."""
    import pandas as pd

    if column.kind == "identifier":
        counted: Any = pd.Series(np.arange(1, n + 1))
        try:
            cells: pd.Series = counted.astype(column.dtype)
            return cells
        except (TypeError, ValueError):
            return pd.Series(counted.astype("str"))
    if column.low is not None:
        return from_steps(column, np.zeros(n))
    value: Any = column.levels[0] if column.levels else None
    if column.dtype == "decimal" and value is not None:
        value = decimal.Decimal(f"{value:.{column.decimals or 0}f}")
    if column.dtype in OBJECTS or column.dtype == "decimal":
        return pd.Series([value] * n, dtype="object")
    return _series(column, [value] * n)


def numbers(name: str, cells: Any) -> NDArray[np.float64]:
    """Turn cells that are numbers into float64: (N,). Raises DataError for text or infinity."""
    import pandas as pd

    if cells.dtype == object:
        cells = cells.map(lambda cell: float(cell) if isinstance(cell, decimal.Decimal) else cell)
    values = pd.to_numeric(cells, errors="coerce").astype("Float64")
    found: NDArray[np.float64] = values.to_numpy(dtype=np.float64, na_value=np.nan)
    wrong = np.isnan(found) & cells.notna().to_numpy()
    _refuse_first(name, cells, wrong, "a number")
    _refuse_first(name, cells, np.isinf(found), "a finite number")
    return found


def steps(column: Column, cells: Any) -> NDArray[Any]:
    """Turn cells that are not missing into whole numbers, exactly: (N,), int64 or objects.

    Dates are counted in steps of their type.
    """
    made = _made_of_steps(column)
    if made is not None:
        return np.array([_step(column, made, cell) for cell in cells], np.int64)
    if column.written.date and not _is_time_like(cells.dtype):
        cells = _dates_of_numbers(column, cells)
    if _is_time_like(cells.dtype):
        counted: NDArray[np.int64] = _as_type(column, cells).astype("int64").to_numpy()
        return counted
    if str(cells.dtype).lower().startswith(("int", "uint")):
        whole: NDArray[Any] = cells.to_numpy(dtype=str(cells.dtype).lower().split("[")[0])
        return whole.astype(object if whole.dtype == np.uint64 else np.int64)
    if cells.dtype == object:
        return np.array([int(cell) for cell in cells], object)
    return numbers(column.name, cells).astype(np.int64)


def _made_of_steps(column: Column) -> Steps | None:
    """How the cells become steps, if they are Python objects or words for spans of a year."""
    return OBJECTS.get(column.dtype) or PERIODS.get(column.written.date)


def _step(column: Column, made: Steps, cell: Any) -> int:
    try:
        return made.to_int(cell)
    except (ValueError, TypeError, AttributeError) as error:
        wanted = column.written.date or column.dtype
        raise DataError(
            f"column {in_quotes(column.name)} holds {in_quotes(str(cell))}; expected a {wanted},"
            " as in training."
            " Correct the cell, or leave the row out."
        ) from error


def _dates_of_numbers(column: Column, cells: Any) -> Any:
    """Read whole numbers such as 20240131 as dates."""
    import pandas as pd

    text = cells.astype("Int64").astype("str").where(cells.notna())
    found = pd.to_datetime(text, format=column.written.date, errors="coerce").astype(
        "datetime64[s]"
    )
    wrong = (found.isna() & cells.notna()).to_numpy()
    _refuse_first(column.name, cells, wrong, f"a date written {column.written.date}")
    return found


def _as_type(column: Column, cells: Any) -> Any:
    """Bring dates to the column's type, so that their steps have one size."""
    wanted = "datetime64[s]" if _counts_days(column) else _twin(column.dtype)
    if str(cells.dtype) == wanted:
        return cells
    try:
        return cells.astype(wanted)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"column {in_quotes(column.name)} holds values of type {cells.dtype}; the model takes"
            f" {wanted}. Convert the column with pandas's astype({wanted!r})."
        ) from error


def _twin(dtype: str) -> str:
    """numpy's name for a type of dates. pyarrow's types have others."""
    if not dtype.endswith("[pyarrow]"):
        return dtype
    inner = dtype.removesuffix("[pyarrow]")
    return {"date32[day]": "datetime64[s]", "date64[ms]": "datetime64[ms]"}.get(
        inner,
        inner.replace("timestamp", "datetime64")
        .replace("duration", "timedelta64")
        .replace("tz=", ""),
    )


def _counts_days(column: Column) -> bool:
    return bool(column.written.date) and not column.dtype.startswith("datetime")


def from_steps(column: Column, codes: NDArray[np.float64]) -> pd.Series:
    """Turn codes (N,) into dates or whole numbers: base + unit * code, exactly."""
    import pandas as pd

    gone = np.isnan(codes)
    wide = object if column.base > np.iinfo(np.int64).max else np.int64
    counted = np.rint(np.where(gone, 0, codes)).astype(np.int64).astype(wide)
    counted = counted * column.unit + column.base
    made = _made_of_steps(column)
    if made is not None:
        cells = _with_gaps(map(made.from_int, counted.tolist()), gone)
        return pd.Series(cells, dtype="object" if column.dtype in OBJECTS else column.dtype)
    if _counts_days(column):
        dates = pd.Series(counted.view("datetime64[s]"))
        numbers_of_dates = dates.dt.strftime(column.written.date).astype(np.int64)
        return _whole_series(column, numbers_of_dates.to_numpy(), gone)
    if _is_time_like(column.dtype):
        return _times(column, counted, gone)
    return _whole_series(column, counted, gone)


def _with_gaps(values: Iterable[Any], gone: NDArray[np.bool_]) -> list[Any]:
    return [None if no else value for value, no in zip(values, gone, strict=True)]


def _times(column: Column, counted: NDArray[np.int64], gone: NDArray[np.bool_]) -> pd.Series:
    """Make dates, spans or periods from steps of their type."""
    import pandas as pd

    twin = _twin(column.dtype)
    dtype: Any = pd.api.types.pandas_dtype(twin)
    cells: Any
    if isinstance(dtype, pd.PeriodDtype):
        index: Any = pd.PeriodIndex
        cells = pd.Series(index.from_ordinals(counted, freq=dtype.freq))
    elif isinstance(dtype, pd.DatetimeTZDtype):
        plain = pd.Series(counted.view(f"datetime64[{dtype.unit}]"))
        cells = plain.dt.tz_localize("UTC").dt.tz_convert(dtype.tz)
    else:
        cells = pd.Series(counted.view(dtype))
    if gone.any():
        cells = cells.mask(pd.Series(gone))
    return pd.Series(cells if twin == column.dtype else cells.astype(column.dtype))


def is_stepped(column: Column) -> bool:
    """Whether the column's cells are counted in steps: dates, times, spans."""
    return bool(column.written.date) or column.dtype in OBJECTS or _is_time_like(column.dtype)


def _is_time_like(dtype: Any) -> bool:
    return str(dtype).startswith(
        ("datetime", "timedelta", "period", "timestamp", "duration", "date32", "date64")
    )


def _step_codes(column: Column, cells: Any) -> NDArray[np.float64]:
    """Number the steps from the column's base. A date between two steps has a fraction."""
    present = cells.notna().to_numpy()
    codes = np.full(len(cells), np.nan)
    codes[present] = (steps(column, cells[present]) - column.base).astype(np.float64) / column.unit
    return codes


def _level_codes(column: Column, cells: pd.Series) -> NDArray[np.float64]:
    """Number the levels. Raises DataError for a level that is not known."""
    import pandas as pd

    places: dict[Any, int] = {level: i for i, level in enumerate(column.levels)}
    if column.levels == (False, True):
        # A frame may hold the words of the file that the model was trained on.
        places |= {word: i for i, word in enumerate(column.written.words)}
    numbered, uniques = pd.factorize(cells)
    found = np.array([places.get(plain(value), -1) for value in uniques] + [np.nan], np.float64)
    codes: NDArray[np.float64] = found[numbered]
    unknown = codes == -1
    if unknown.any():
        row = int(unknown.argmax())
        from aevb.datasets.tabular.columns import quoted

        raise DataError(
            f"column {in_quotes(column.name)} holds {in_quotes(plain(cells.iloc[row]))} at row"
            f" {row + 1}; the model"
            f" knows {quoted(column.levels)}. Correct the cell, or leave the row out."
        )
    return codes


def _from_levels(column: Column, codes: NDArray[np.float64]) -> pd.Series:
    import pandas as pd

    gone = np.isnan(codes)
    last = len(column.levels) - 1
    index = np.where(gone, -1, np.rint(codes).clip(0, last)).astype(int)
    if column.dtype.startswith("category"):
        categories = pd.Index(column.levels, dtype=column.level_dtype)
        ordered = column.dtype.endswith("ordered")
        return pd.Series(pd.Categorical.from_codes(index, categories, ordered=ordered))
    cells = np.array([*column.levels, None], object)[index]
    return _series(column, list(cells))


def _from_numbers(column: Column, codes: NDArray[np.float64]) -> pd.Series:
    if column.kind == "integer":
        codes = np.rint(codes)
    elif column.decimals is not None:
        with np.errstate(over="ignore", invalid="ignore"):  # numbers near the largest float
            codes = codes.round(column.decimals)
    if column.dtype == "decimal":
        return _decimals(column, codes)
    if column.dtype.startswith(("float", "Float", "double")):
        return _series(column, codes)
    gone = np.isnan(codes)
    return _whole_series(column, np.where(gone, 0, codes).astype(np.int64), gone)


def _decimals(column: Column, codes: NDArray[np.float64]) -> pd.Series:
    import pandas as pd

    places = column.decimals if column.decimals is not None else 6
    cells = [None if np.isnan(code) else decimal.Decimal(f"{code:.{places}f}") for code in codes]
    return pd.Series(cells, dtype="object")


def _whole_series(column: Column, whole: NDArray[Any], gone: NDArray[np.bool_]) -> pd.Series:
    """Make a series of whole numbers: whole, (N,), with missing cells where gone, (N,)."""
    if column.dtype == "object" or gone.any():
        return _series(column, _with_gaps(whole.tolist(), gone))
    return _series(column, whole)


def _series(column: Column, values: Any) -> pd.Series:
    """Make a series of the column's type, or of one like it that can hold missing cells."""
    import pandas as pd

    dtype = column.dtype
    if dtype.startswith("category"):
        categories = pd.Index(column.levels, dtype=column.level_dtype or None)
        return pd.Series(pd.Categorical(values, categories, ordered=dtype.endswith("ordered")))
    with_gaps = not isinstance(values, np.ndarray) and any(value is None for value in values)
    if with_gaps and (dtype.startswith(("int", "uint")) or dtype == "bool"):
        dtype = "boolean" if dtype == "bool" else dtype.replace("int", "Int").replace("u", "U")
    return pd.Series(values, dtype=dtype)


def plain(value: Any) -> Any:
    """Return a numpy scalar as Python's own type."""
    return value.item() if isinstance(value, np.generic) else value


def _refuse_first(name: str, cells: pd.Series, wrong: NDArray[np.bool_], expected: str) -> None:
    """Raise DataError for the first cell that is wrong. wrong: (N,)."""
    if not wrong.any():
        return
    from aevb.datasets.tabular.columns import options

    row, count = int(wrong.argmax()), int(wrong.sum())
    many = f"{count} such cells). Correct them" if count > 1 else "1 such cell). Correct it"
    raise DataError(
        f"column {in_quotes(name)} should hold {expected} in every cell; got"
        f" {in_quotes(str(cells.iloc[row]))} at"
        f" row {row + 1} ({many}, or leave the column out with {options([name], 'ignore')}."
    )
