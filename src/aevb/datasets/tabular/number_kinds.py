"""Find the kind of a column of numbers or dates: amounts, levels, dates, or names of the rows."""

from __future__ import annotations

import decimal
import math
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from aevb.datasets.tabular.cells import numbers, plain, steps
from aevb.datasets.tabular.columns import Column
from aevb.datasets.tabular.words import (
    NAMES_OF_CODES,
    NAMES_OF_DATES,
    NAMES_OF_GRADES,
    NAMES_OF_IDENTIFIERS,
)

if TYPE_CHECKING:
    import pandas as pd

EXACT = 2**53
"""Whole numbers up to this size are exact in a float64."""
MOST_DECIMALS = 9
"""More decimals than this are those of a computation, not of a measurement."""
ALL_DIFFERENT = 0.9
"""Numbers or words are names of the rows if more than this share of the cells differ."""
FEW = 10
"""With fewer rows than this, cells that all differ say nothing."""
GAPS = "missing "
"""How a reason begins that only names the words for a missing cell."""
MOST_GRADES = 12
"""A column of grades has at most this many different numbers."""


def numeric(base: Column, present: pd.Series, distinct: int) -> Column:
    """Judge numbers: whole or not, two values, a count of the rows, a date, an amount."""
    values = numbers(base.name, present)
    fractions = (values != np.rint(values)).any()
    if fractions or (not _is_whole_type(base) and np.abs(values).max() > EXACT):
        return real(base, present, values)
    why = _why_identifier(base, values, distinct)
    if why:
        return replace(base, kind="identifier", reason=why)
    kind, reason = _kind_of_few(base, values, distinct)
    if kind:
        levels = tuple(sorted(plain(value) for value in present.unique()))
        return replace(base, kind=kind, levels=levels, reason=reason)
    if are_dates(values):
        written = replace(base.written, date="%Y%m%d")
        return stepped(
            replace(base, written=written), present, "date", "whole numbers such as 20240131"
        )
    return integer(base, present, values)


def real(base: Column, present: pd.Series, values: Any) -> Column:
    """Make a column of numbers with fractions."""
    low, high = float(values.min()), float(values.max())
    return replace(
        base,
        kind="real",
        low=low,
        high=high,
        decimals=decimals_of(present),
        reason=told(f"numbers from {low:.6g} to {high:.6g}", base),
    )


def integer(base: Column, present: pd.Series, values: Any) -> Column:
    """Make a column of whole numbers, exactly."""
    low, high = float(values.min()), float(values.max())
    reason = told(f"whole numbers from {low:.15g} to {high:.15g}", base)
    if max(abs(low), abs(high)) <= EXACT or base.dtype.lower().startswith(("float", "double")):
        return replace(base, kind="integer", low=low, high=high, decimals=0, reason=reason)
    return stepped(base, present, "integer", reason)


def told(reason: str, base: Column) -> str:
    """The reason to print: what the reader of a file said, or else this one."""
    said = base.reason and not base.reason.startswith(GAPS)
    return base.reason if said else with_gaps(reason, base)


def with_gaps(reason: str, base: Column) -> str:
    """Add the words for a missing cell, if the reader of a file said nothing else."""
    return f"{reason}, {base.reason}" if base.reason.startswith(GAPS) else reason


def decimals_of(present: pd.Series) -> int | None:
    """Count the decimals of numbers. None if there are more than a person writes."""
    if isinstance(present.iloc[0], decimal.Decimal):
        return max(0, *(-int(cell.as_tuple().exponent) for cell in present))
    values = present.astype("float64").to_numpy()
    with np.errstate(over="ignore", invalid="ignore"):  # numbers near the largest float
        for places in range(MOST_DECIMALS + 1):
            if (values.round(places) == values).all():
                return places
    return None


def _why_identifier(base: Column, values: Any, distinct: int) -> str:
    """Say why whole numbers are names of the rows, or return "" if they are not."""
    if len(values) < FEW:
        return ""
    low, high = values.min(), values.max()
    digits = len(str(int(high)))
    if _is_whole_type(base) and high - low > EXACT:
        return f"whole numbers of {digits} digits, too many to be modelled"
    if distinct == len(values) and low in (0.0, 1.0) and (np.diff(values) == 1).all():
        return f"it counts the rows from {low:.0f}"
    if distinct <= ALL_DIFFERENT * len(values):
        return ""
    if _names_an_identifier(base.name):
        return "its name, and a number of its own in nearly every row"
    if _is_whole_type(base) and digits >= 12 and not NAMES_OF_DATES.fullmatch(base.name.lower()):
        return f"a number of {digits} digits of its own in nearly every row"
    return ""


def _kind_of_few(base: Column, values: Any, distinct: int) -> tuple[str, str]:
    """The kind of whole numbers that are levels, and why. ("", "") for amounts."""
    if distinct == 2 and set(values) == {0.0, 1.0}:
        return "boolean", "only 0 and 1"
    if len(values) < FEW:
        return "", ""
    if set(values) == {-1.0, 0.0, 1.0}:
        return "ordered", "only -1, 0 and 1"
    if _is_code(base, values, distinct):
        return "category", f"{distinct} numbers that are codes, by the name of the column"
    if distinct <= MOST_GRADES and NAMES_OF_GRADES.fullmatch(base.name.lower()):
        return "ordered", f"{distinct} grades, by the name of the column"
    return "", ""


def _is_code(base: Column, values: Any, distinct: int) -> bool:
    """Whether whole numbers are codes: their column is named so, and they repeat."""
    named = NAMES_OF_CODES.fullmatch(base.name.lower()) or re.fullmatch(
        r".*[a-z](ID|Id)", base.name
    )
    return bool(named) and distinct > 1 and values.min() >= 0


def _is_whole_type(base: Column) -> bool:
    return base.dtype.lower().startswith(("int", "uint"))


def _names_an_identifier(name: str) -> bool:
    return bool(
        NAMES_OF_IDENTIFIERS.fullmatch(name.lower())
        or NAMES_OF_CODES.fullmatch(name.lower())
        or re.fullmatch(r".*[a-z](ID|Id)", name)
    )


def are_dates(values: Any) -> bool:
    """Whether whole numbers are dates written YYYYMMDD."""
    if not (values.min() >= 1700_01_01 and values.max() <= 2200_12_31):
        return False
    years, months, days = values // 10_000, values // 100 % 100, values % 100
    inside = (months >= 1) & (months <= 12) & (days >= 1) & (days <= 31)
    if not inside.all():
        return False
    import pandas as pd

    parts = pd.DataFrame({"year": years, "month": months, "day": days})
    return bool(pd.to_datetime(parts, errors="coerce").notna().all())


def stepped(base: Column, present: pd.Series, kind: str, reason: str) -> Column:
    """Make a column whose cells are counted in whole steps from the first one.

    Dates that are too fine for a float64 are kept to the thousandth or millionth step: nanoseconds
    to the microsecond. Other numbers that are too fine are identifiers.
    """
    first, last, unit = whole_steps(base, present)
    if (last - first) // unit > EXACT:
        unit = next(n for n in (1000, 10**6, 10**9) if (last - first) // n < EXACT)
        if kind != "date":
            return replace(base, kind="identifier", reason=f"{reason}, too fine to be modelled")
        first -= first % unit
        reason += f", kept to {unit} of {base.dtype}"
    return replace(
        base,
        kind=kind,
        base=first,
        unit=unit,
        low=0.0,
        high=float((last - first) // unit),
        reason=reason,
    )


def whole_steps(base: Column, present: pd.Series) -> tuple[int, int, int]:
    """Return the first step, the last, and the largest step that reaches all of them."""
    counted = steps(base, present)
    first = int(counted.min())
    apart = np.unique(counted - first)
    unit = math.gcd(*map(int, apart)) if apart.dtype == object else int(np.gcd.reduce(apart))
    return first, int(counted.max()), unit or 1
