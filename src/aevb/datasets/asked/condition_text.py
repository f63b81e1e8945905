"""Read conditions: sex=Female, age>=60, income=*, occupation= on the command line, or a dictionary.

NAME=VALUE            the cell is this value          NAME!=VALUE     the cell is another value
NAME>=VALUE  > <= <   the number, date or ordered     NAME=*          the cell is not missing
                      level is in this range          NAME=           the cell is missing
NAME in A,B           the cell is one of these        NAME=missing    the same, unless it is a level
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import Any

import numpy as np

from aevb.datasets.asked.conditions import (
    Condition,
    Conditions,
    check_possible,
    known_levels,
    shown,
    together,
)
from aevb.datasets.damage import in_quotes
from aevb.datasets.tabular.cells import LEVELLED, PERIODS, is_stepped
from aevb.datasets.tabular.columns import Column, Table, quoted, text_of
from aevb.errors import DataError, UsageError

OPERATORS = (">=", "<=", "!=", "==", "=", ">", "<")
"""What may stand between a name and a value; longer ones are tried first."""
_IN = re.compile(r"\s+in\s+")
FORM = "give it as NAME=VALUE, NAME>=VALUE, NAME<VALUE, 'NAME in A,B', NAME=* or NAME="


def read_conditions(table: Table, given: Any) -> Conditions:
    """Read conditions on the rows of a table.

    Args:
        table: The columns.
        given: Texts such as "age>=60", or a dictionary: name -> a value, a pair (low, high) in
            which None is no bound, a list of values, "*" for any cell that is there, or None for a
            missing cell.

    Raises:
        UsageError: A condition cannot be read, no row can meet it, or two contradict each other.

    Example:
        >>> from aevb.datasets.tabular.columns import Column, Table
        >>> from aevb.datasets.asked.condition_text import read_conditions
        >>> age = Column("age", "integer", "int64", low=17.0, high=90.0)
        >>> sex = Column("sex", "category", "str", levels=("female", "male"))
        >>> print(read_conditions(Table((age, sex)), ["age>=60", "sex=male"]))
        age>=60, sex=male
        >>> print(read_conditions(Table((age, sex)), {"age": (60, None), "sex": "male"}))
        age>=60, sex=male
        >>> read_conditions(Table((age, sex)), ["sex=mail"])
        Traceback (most recent call last):
        aevb.errors.UsageError: no row can have sex=mail: the model knows 'female', 'male' in \
column 'sex'. Did you mean sex=male?
    """
    found: list[Condition] = []
    if isinstance(given, Mapping):
        for name, value in given.items():
            found += _of_value(_column(table, text_of(name)), value)
    elif isinstance(given, str):
        found += _of_text(table, given)
    elif isinstance(given, Sequence):
        for text in given:
            if not isinstance(text, str):
                raise UsageError(f"a condition is a text such as 'age>=60'; got {text!r}; {FORM}")
            found += _of_text(table, text)
    else:
        raise UsageError(
            f"conditions are texts, a dictionary or a table; got {type(given).__name__}; give"
            " {'age': (60, None)} or ['age>=60']"
        )
    return together(table, found)


def _of_text(table: Table, text: str) -> list[Condition]:
    """Read one condition of the command line."""
    name, operator, value = _split(table, text)
    column = _column(table, name)
    if operator == "in":
        values = [word.strip() for word in value.split(_separator(column, value))]
        return [_one_of(column, values, f"{name} in {value}")]
    if operator in ("=", "=="):
        return [_equal(column, value)]
    if operator == "!=":
        return [_unequal(column, value)]
    return [_bound(column, operator, value)]


def _split(table: Table, text: str) -> tuple[str, str, str]:
    """Take a condition apart: name, operator, value. Names may hold operators themselves."""
    names = sorted((column.name for column in table.columns), key=len, reverse=True)
    for name in names:
        for start in {text, text.lstrip()}:
            if not start.startswith(name):
                continue
            rest = start[len(name) :]
            word = _IN.match(rest)
            if word:
                return name, "in", rest[word.end() :]
            rest = rest.lstrip()
            for operator in OPERATORS:
                if rest.startswith(operator):
                    return name, operator, rest[len(operator) :].strip()
    found = re.split(r"\s*(?:>=|<=|!=|==|=|>|<|\sin\s)\s*", text.strip(), maxsplit=1)
    if len(found) < 2:
        raise UsageError(f"condition {in_quotes(text)} says nothing about a cell; {FORM}")
    return found[0], "=", found[1]


def _column(table: Table, name: str) -> Column:
    """Find a column that conditions may name. Raises UsageError if there is none."""
    found = next((column for column in table.columns if column.name == name), None)
    if found is None or found.kind == "ignore":
        names = [column.name for column in table.given if column.kind != "identifier"]
        near = get_close_matches(name, names, n=1, cutoff=0.7)
        hint = f" Did you mean {in_quotes(near[0])}?" if near else f" Give one of {quoted(names)}."
        raise UsageError(f"the model knows no column {in_quotes(name)}.{hint}")
    if found.kind == "identifier":
        raise UsageError(
            f"column {in_quotes(name)} names the rows, and the model does not know its values; give"
            " a condition on another column"
        )
    return found


def _separator(column: Column, value: str) -> str:
    """What stands between values: a semicolon if the numbers have decimal commas."""
    return ";" if ";" in value and column.written.decimal == "," else ","


# -------------------------------------------------------------------------------------------------
# conditions from texts


def _equal(column: Column, value: str) -> Condition:
    text = f"{column.name}={value}"
    if column.kind == "constant":
        return _of_constant(column, value, text)
    is_level = column.kind in LEVELLED and _level(column, value) is not None
    if not is_level and value == "*":
        return Condition(column, text)
    if not is_level and value in ("", "missing"):
        return _missing(column, text)
    return check_possible(Condition(column, text, values=(_code(column, value, text),)))


def _missing(column: Column, text: str) -> Condition:
    """The condition that a cell is missing. Raises UsageError if none ever was."""
    if not column.missing:
        raise UsageError(
            f"no row can have {text}: no cell of column {in_quotes(column.name)} was missing in the"
            " training rows; give a value, or remove the condition"
        )
    return Condition(column, text, missing=True)


def _of_constant(column: Column, value: str, text: str) -> Condition:
    """A condition on a column of one value, which every row meets or none."""
    only = shown(column, 0.0) if column.low is not None else _constant(column)
    gaps_only = not column.levels and column.low is None
    if (value in (only, "*") and not gaps_only) or (value in ("", "missing") and gaps_only):
        return Condition(column, text)
    what = "missing" if gaps_only else in_quotes(only)
    raise UsageError(
        f"no row can have {text}: column {in_quotes(column.name)} is {what} in all training rows;"
        " remove the condition"
    )


def _constant(column: Column) -> str:
    from aevb.datasets.tabular.cells import unmodelled
    from aevb.datasets.tabular.text import write

    return str(write(unmodelled(column, 1), column.written).iloc[0])


def _unequal(column: Column, value: str) -> Condition:
    text = f"{column.name}!={value}"
    _refuse_constant(column, text)
    if value in ("", "missing", "*") and not (
        column.kind in LEVELLED and _level(column, value) is not None
    ):
        return Condition(column, text) if value != "*" else _missing(column, text)
    code = _code(column, value, text)
    if column.kind in LEVELLED:
        rest = tuple(float(k) for k in range(len(column.levels)) if k != code)
        return Condition(column, text, values=rest)
    return Condition(column, text, excluded=(code,))


def _one_of(column: Column, values: Sequence[str], text: str) -> Condition:
    _refuse_constant(column, text)
    codes = tuple(dict.fromkeys(_code(column, value, text) for value in values))
    return check_possible(Condition(column, text, values=codes))


def _bound(column: Column, operator: str, value: str) -> Condition:
    text = f"{column.name}{operator}{value}"
    _refuse_constant(column, text)
    if column.kind in ("category", "boolean"):
        raise UsageError(
            f"{text} needs an order, and column {in_quotes(column.name)} has none; give"
            f" '{column.name} in A,B' with some of {known_levels(column)}"
        )
    code = _code(column, value, text)
    step = 2 * np.finfo(float).eps
    away = max(abs(code) * step, 5e-324)
    low, high = {
        ">=": (code, math.inf),
        ">": (code + away, math.inf),
        "<=": (-math.inf, code),
        "<": (-math.inf, code - away),
    }[operator]
    if column.kind == "ordered":
        values = tuple(float(k) for k in range(len(column.levels)) if low <= k <= high)
        if not values:
            raise UsageError(
                f"no row can have {text}: the levels of column {in_quotes(column.name)} are"
                f" {known_levels(column)}, in this order; give a level that has others beyond it"
            )
        return Condition(column, text, values=values)
    return check_possible(Condition(column, text, low=low, high=high))


def _refuse_constant(column: Column, text: str) -> None:
    if column.kind == "constant":
        raise UsageError(
            f"{text} is a condition on column {in_quotes(column.name)}, which is the same in all"
            " training rows; remove the condition"
        )


# -------------------------------------------------------------------------------------------------
# values of Python


def _of_value(column: Column, value: Any) -> list[Condition]:
    """Read the value of a dictionary of conditions."""
    if isinstance(value, tuple):
        return _of_range(column, value)
    if isinstance(value, list | set | frozenset | np.ndarray):
        words = [_word(column, each) for each in value]
        return [_one_of(column, words, f"{column.name} in {','.join(words)}")]
    if _is_gap(value):
        return [_equal(column, "")]
    word = _word(column, value)
    sign = next((s for s in OPERATORS if word.startswith(s) and s[0] in "<>!"), "")
    if not sign or not isinstance(value, str) or column.kind in LEVELLED:
        return [_equal(column, word)]
    rest = word[len(sign) :].strip()
    return [_unequal(column, rest) if sign == "!=" else _bound(column, sign, rest)]


def _of_range(column: Column, value: tuple[Any, ...]) -> list[Condition]:
    if len(value) != 2:
        raise UsageError(
            f"a range of column {in_quotes(column.name)} is a pair (low, high), with None for no"
            f" bound; got {value!r}; give a list for several values"
        )
    bounds = zip((">=", "<="), value, strict=True)
    return [_bound(column, sign, _word(column, end)) for sign, end in bounds if end is not None]


def _is_gap(value: Any) -> bool:
    import pandas as pd

    return bool(np.isscalar(pd.isna(value)) and pd.isna(value))


def _word(column: Column, value: Any) -> str:
    """Write a value of Python as the column's texts are read."""
    if isinstance(value, str):
        return value
    if isinstance(value, bool | np.bool_) and column.written.words:
        return column.written.words[int(value)]
    if isinstance(value, int | float | np.number) and not isinstance(value, bool):
        from aevb.datasets.tabular.numerals import write_number

        plain = value.item() if isinstance(value, np.number) else value
        return write_number(plain, column.written)
    return str(value)


# -------------------------------------------------------------------------------------------------
# texts as codes


def _code(column: Column, value: str, text: str) -> float:
    """Turn a text into a code. Raises UsageError if it is no value of the column."""
    if column.kind in LEVELLED:
        found = _level(column, value)
        if found is None:
            near = get_close_matches(value, [str(level) for level in column.levels], n=1)
            hint = f"Did you mean {column.name}={near[0]}?" if near else "Give one of these."
            raise UsageError(
                f"no row can have {text}: the model knows {known_levels(column)} in column"
                f" {in_quotes(column.name)}. {hint}"
            )
        return float(found)
    code = _step_code(column, value) if _counts_steps(column) else _number(column, value)
    if code is None or not math.isfinite(code):
        low, high = column.low, column.high
        span = "" if low is None or high is None else f", such as {shown(column, low)}"
        what = "a date or time" if is_stepped(column) else "a number"
        raise UsageError(
            f"condition {text} needs {what} for column {in_quotes(column.name)}{span}; got"
            f" {in_quotes(value)}; correct the value"
        )
    return code


def _level(column: Column, value: str) -> int | None:
    """The number of the level that a text stands for, or None."""
    texts = [str(level) for level in column.levels]
    if value in texts:
        return texts.index(value)
    if column.kind == "boolean":
        return _truth(column, value.lower())
    number = _number(column, value)
    if number is not None and not any(isinstance(level, str) for level in column.levels):
        numbers = [float(level) for level in column.levels]
        return numbers.index(number) if number in numbers else None
    stripped = [text.strip() for text in texts]
    return stripped.index(value) if stripped.count(value) == 1 else None


def _truth(column: Column, value: str) -> int | None:
    """The number of the level of a boolean: by its words in the file, or as true or yes or 1."""
    texts = [str(level).lower() for level in column.levels]
    words = [word.lower() for word in column.written.words]
    pairs = [texts, words, ["false", "true"], ["no", "yes"], ["0", "1"]]
    return next((pair.index(value) for pair in pairs if value in pair), None)


def _number(column: Column, value: str) -> float | None:
    """Read a number as the column's file writes it, or as Python does."""
    import pandas as pd

    from aevb.datasets.tabular.numerals import read_numbers

    found = read_numbers(pd.Series([value.strip()]), column.written) if value.strip() else None
    if found is not None:
        return float(found[0])
    try:
        return float(value)
    except ValueError:
        return None


def _counts_steps(column: Column) -> bool:
    return bool(column.unit != 1 or column.base or is_stepped(column))


def _step_code(column: Column, value: str) -> float | None:
    """Read a date, a time or a large whole number, and count its steps."""
    import pandas as pd

    for cells in _step_cells(column, value):
        try:
            return float(column.encode(pd.Series(cells))[0])
        except (DataError, ValueError, TypeError, OverflowError, pd.errors.ParserError):
            continue
    return None


def _step_cells(column: Column, value: str) -> list[Any]:
    """The cells that a text may stand for: as the file writes them, then as ISO 8601 does."""
    import datetime

    if column.dtype in ("date", "time"):
        kind: Any = datetime.date if column.dtype == "date" else datetime.time
        try:
            return [[kind.fromisoformat(value)]]
        except ValueError:
            return []
    cells = [*_as_written(column, value), *_as_iso(column, value)]
    if column.dtype.startswith(("datetime", "timestamp", "timedelta", "period")):
        return cells
    number = [[int(value)]] if re.fullmatch(r"[+-]?[0-9]+", value.strip()) else []
    return [*number, [value], *cells]


def _as_written(column: Column, value: str) -> list[Any]:
    """A date in the format of the column's file."""
    import pandas as pd

    from aevb.datasets.tabular.dates import read_dates

    if not column.written.date or column.written.date in PERIODS:
        return []
    try:
        found: Any = read_dates(pd.Series([value]), column.written.date)
    except (ValueError, TypeError):
        return []
    typed = found.astype(column.dtype) if "datetime" in column.dtype else found
    return [typed] if found.notna().all() else []


def _as_iso(column: Column, value: str) -> list[Any]:
    """A date in the format of ISO 8601 alone, since 03.02.2021 may be two days; or a span."""
    import pandas as pd

    text = pd.Series([value])
    parsed: Any = (
        pd.to_timedelta(text, errors="coerce")
        if "timedelta" in column.dtype
        else pd.to_datetime(text, format="ISO8601", errors="coerce")
    )
    return [parsed] if parsed.notna().all() else []
