"""Dates and times as text: find the format that a whole column is written in, and write it again.

A format is written as ``strftime`` takes it, with two additions: ``%-d`` is a day without a leading
zero (``%-m`` and ``%-H`` likewise), and ``%3f`` is a fraction of a second in three digits.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import pandas as pd

_MARK = r"[-/. ]"
_DATE = re.compile(
    rf"(?P<year>\d{{4}})(?P<s1>[-/.])\d{{1,2}}(?:(?P<s2>[-/.])\d{{1,2}})?"
    rf"|(?P<two>\d{{2}})(?P<s3>[-/.])\d{{2}}(?P=s3)\d{{2}}(?!\d)"
    rf"|(?P<day>\d{{1,2}})(?P<s4>[-/.])\d{{1,2}}(?P=s4)\d{{4}}"
    rf"|(?P<d5>\d{{1,2}})(?P<s5>{_MARK})(?P<b5>[A-Za-z]{{3,9}})(?P=s5)(?P<y5>\d{{4}}|\d{{2}})"
    r"|(?P<b6>[A-Za-z]{3,9}) \d{1,2}(?P<s6>,? )\d{4}"
    rf"|(?P<b7>[A-Za-z]{{3,9}})(?P<s7>{_MARK})(?P<y7>\d{{4}}|\d{{2}})"
)
_TIME = re.compile(
    r"(?P<gap>T| )?(?P<hour>\d{1,2}):\d{2}"
    r"(?P<second>:\d{2}(?:(?P<point>[.,])(?P<digits>\d{1,9}))?)?"
    r"(?P<half> ?[AaPp][Mm])?(?P<zone> ?(?:Z|UTC|[+-]\d{2}:?\d{2}))?$"
)
MOST_TRIED = 3
"""From so many cells the format is guessed that most cells have."""
NAMES = {"d": "day", "m": "month", "Y": "year", "y": "year", "b": "month", "B": "month"}


class OrdersError(Exception):
    """All cells can be read in several orders of day and month.

    Args:
        formats: The formats that fit every cell, for one column.
    """

    def __init__(self, formats: list[str]) -> None:
        super().__init__(", ".join(formats))
        self.formats = formats


def date_format(cells: pd.Series, prefer: tuple[str, ...] = ()) -> str:
    """Return the format in which all cells are dates or times, or "" if there is none.

    The order of day and month is decided by the whole column: a number above 12 is a day. With
    points between them, the day comes first, as in 31.12.2020.

    Args:
        cells: (N,) of text, at least one, none missing.
        prefer: Formats to take if several fit, such as those of other columns of the file.

    Raises:
        OrdersError: Several orders of day and month fit, and none of them is preferred.

    Example:
        >>> import pandas as pd
        >>> from aevb.datasets.tabular.dates import date_format
        >>> date_format(pd.Series(["01.12.2020", "31.12.2020"]))
        '%d.%m.%Y'
        >>> date_format(pd.Series(["12/31/2020 18:30", "1/5/2021 07:00"]))
        '%-m/%-d/%Y %H:%M'
        >>> date_format(pd.Series(["2020Q1", "2020Q2"]))
        ''
    """
    first = str(cells.iloc[0])
    fitting = [form for form in _candidates(first, cells) if fits(cells, form)]
    if len(fitting) < 2 or _same(cells, fitting):
        return fitting[0] if fitting else ""
    return _preferred(fitting, prefer)


def none_of_most(cells: pd.Series) -> NDArray[np.bool_]:
    """Find the few cells that are no dates of the format that most cells have.

    Args:
        cells: (N,) of text, none missing.

    Returns:
        (N,), all False if no format fits most of the cells.

    Example:
        >>> import pandas as pd
        >>> from aevb.datasets.tabular.dates import none_of_most
        >>> none_of_most(pd.Series(["30.01.2020", "30.02.2020", "30.03.2020"]))
        array([False,  True, False])
    """
    found = np.zeros(len(cells), bool)
    fewest = len(cells) / 2
    for first in cells.iloc[:MOST_TRIED]:
        for form in _candidates(str(first), cells):
            wrong = read_dates(cells, form).isna().to_numpy()
            if 0 < wrong.sum() < fewest:
                found, fewest = wrong, wrong.sum()
    return found


def _preferred(fitting: list[str], prefer: tuple[str, ...]) -> str:
    """Choose the format that other columns have. Between points, the day comes first."""
    orders = {_order_and_marks(form) for form in (*prefer, "%d.%m.%Y")}
    known = [form for form in fitting if _order_and_marks(form) in orders]
    if not known or (not prefer and "%y" in known[0]):
        raise OrdersError(fitting)
    return known[0]


def fits(cells: pd.Series, form: str) -> bool:
    """Whether every cell is a date or a time of this format.

    Example:
        >>> import pandas as pd
        >>> from aevb.datasets.tabular.dates import fits
        >>> fits(pd.Series(["30.02.2020"]), "%d.%m.%Y"), fits(pd.Series(["1.2.2020"]), "%d.%m.%Y")
        (False, True)
    """
    return not bool(read_dates(cells, form).isna().any())


def read_dates(cells: pd.Series, form: str) -> pd.Series:
    """Read dates and times of one format: (N,) of datetime64. What is none becomes NaT.

    Times without a date lie on 1900-01-01. Times with several zones are brought to UTC.

    Example:
        >>> import pandas as pd
        >>> from aevb.datasets.tabular.dates import read_dates
        >>> read_dates(pd.Series(["31.12.2020", "x"]), "%d.%m.%Y").dt.year.tolist()
        [2020.0, nan]
    """
    import pandas as pd

    plain = re.sub(r"%-?\d?([a-zA-Z])", r"%\1", form)
    zoned = "%z" in plain
    dates = pd.to_datetime(cells, format=plain, errors="coerce", utc=zoned)
    return dates.dt.tz_localize(None) if zoned else dates


def write_dates(dates: pd.Series, form: str) -> pd.Series:
    """Write dates and times in a format: (N,) of text. A missing one stays missing.

    Example:
        >>> import pandas as pd
        >>> from aevb.datasets.tabular.dates import write_dates
        >>> write_dates(pd.Series(pd.to_datetime(["2020-02-01"])), "%-d.%-m.%Y").tolist()
        ['1.2.2020']
    """
    form = form.replace("%z", "+00:00")
    simple = re.sub(r"%-([dmHI])", r"%\1", re.sub(r"%(\d)f", "%f", form))
    written: pd.Series = (
        dates.dt.strftime(form)
        if simple == form
        else dates.map(lambda date: _written(date, form), na_action="ignore")
    )
    return written


def _written(date: pd.Timestamp, form: str) -> str:
    """Write one date in a format with the additions of this module."""
    nanoseconds = f"{date.microsecond:06d}{date.nanosecond:03d}"

    def one(match: re.Match[str]) -> str:
        digits = match[2]
        if digits:
            return nanoseconds[: int(digits)]
        return date.strftime(f"%{match[3]}").lstrip("0") or "0"

    return date.strftime(re.sub(r"%((\d)f|-([dmHI]))", one, form))


def shown(form: str) -> str:
    """Show a format by writing the last evening of 2020 in it.

    Example:
        >>> from aevb.datasets.tabular.dates import shown
        >>> shown("%-d/%-m/%Y %H:%M")
        '31/12/2020 23:59'
    """
    import pandas as pd

    return str(write_dates(pd.Series([pd.Timestamp("2020-12-31 23:59:59")]), form).iloc[0])


def order(form: str) -> str:
    """Say in which order a format has day, month and year.

    Example:
        >>> from aevb.datasets.tabular.dates import order
        >>> order("%d/%m/%Y")
        'day, month, year'
    """
    return ", ".join(NAMES[letter] for letter in re.findall(r"%-?([dmYybB])", form))


def _order_and_marks(form: str) -> str:
    """What decides between day and month: a format such as %d/%m/%Y, without time and length."""
    return form.replace("%-", "%").replace("%y", "%Y")[: len("%d/%m/%Y")]


def _candidates(first: str, cells: pd.Series) -> list[str]:
    """The formats that the first cell may be written in."""
    date = _DATE.match(first)
    if date is None:
        time = _TIME.match(first)
        alone = time is not None and not time["gap"] and not time["zone"]
        return [_time_format(time, cells)] if time is not None and alone else []
    clock, rest = "", first[date.end() :]
    if rest:
        time = _TIME.match(rest)
        if time is None or not time["gap"]:
            return []
        clock = _time_format(time, cells)
    return [_unpadded(form, cells) + clock for form in _date_formats(date, cells)]


def _date_formats(date: re.Match[str], cells: pd.Series) -> list[str]:
    if date["year"]:
        day = f"{date['s2']}%d" if date["s2"] else ""
        return [f"%Y{date['s1']}%m{day}"]
    if date["two"]:
        s = date["s3"]
        return [f"%d{s}%m{s}%y", f"%m{s}%d{s}%y", f"%y{s}%m{s}%d"]
    if date["day"]:
        s = date["s4"]
        return [f"%d{s}%m{s}%Y", f"%m{s}%d{s}%Y"]
    month = "%B" if cells.str.contains("[A-Za-z]{4}", regex=True).any() else "%b"
    if date["d5"]:
        s = date["s5"]
        return [f"%d{s}{month}{s}{'%Y' if len(date['y5']) == 4 else '%y'}"]
    if date["b6"]:
        return [f"{month} %d{date['s6']}%Y"]
    return [f"{month}{date['s7']}{'%Y' if len(date['y7']) == 4 else '%y'}"]


def _time_format(time: re.Match[str], cells: pd.Series) -> str:
    hour = "%I" if time["half"] else "%H"
    if cells.str.contains(r"(?:^|[T ])\d:", regex=True).any():
        hour = f"%-{hour[1]}"
    form = f"{time['gap'] or ''}{hour}:%M"
    if time["second"]:
        form += ":%S"
    if time["digits"]:
        longest = cells.str.extract(r":\d{2}[.,](\d+)", expand=False).str.len()
        form += f"{time['point']}%{int(longest.max())}f"
    if time["half"]:
        form += time["half"].replace(time["half"].strip(), "%p")
    zone = time["zone"] or ""
    same = bool(cells.str.endswith(zone).all())
    return form + (zone if same else "%z")


def _unpadded(form: str, cells: pd.Series) -> str:
    """Mark day and month as written without leading zeros if some cell has a single digit."""
    if cells.str.contains(r"^(?:[^:]*\D)?\d(?:[-/., ]|$)", regex=True).any():
        return re.sub(r"%([dm])", r"%-\1", form)
    return form


def _same(cells: pd.Series, forms: list[str]) -> bool:
    """Whether all formats read the same dates."""
    first = read_dates(cells, forms[0])
    return all(first.equals(read_dates(cells, form)) for form in forms[1:])
