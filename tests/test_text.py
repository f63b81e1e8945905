"""Cells of text: what a column becomes, why, and the same cells again."""

import datetime

import numpy as np
import pandas as pd
import pytest
from helpers import refuses
from hypothesis import given, settings
from hypothesis import strategies as st

from aevb.datasets.tabular.cells import MARKS
from aevb.datasets.tabular.columns import Written
from aevb.datasets.tabular.dates import date_format, read_dates, write_dates
from aevb.datasets.tabular.numerals import Known
from aevb.datasets.tabular.text import MISSING, AmbiguousError, leave, parse, write

TEXT = pd.Series(["a"]).dtype


def cells(*texts):
    return pd.Series(list(texts), dtype=TEXT, name="x")


COLUMNS = {  # cells -> type, values, reason
    "1 2": ("int64", [1, 2], ""),
    "1  3": ("Int64", [1, None, 3], ""),
    "1.5 -2": ("float64", [1.5, -2], ""),
    "1,5 2": ("float64", [1.5, 2], "numbers with decimal ','"),
    "1,239 850": ("int64", [1239, 850], "numbers with thousands ','"),
    "1,239 1500": ("float64", [1.239, 1500], "numbers with decimal ','"),
    "0,239 0,500": ("float64", [0.239, 0.5], "numbers with decimal ','"),
    "1.234.567 5": ("int64", [1234567, 5], "numbers with decimal ',' and thousands '.'"),
    "1.239 2.500": ("float64", [1.239, 2.5], ""),
    "1.250,5 3": ("float64", [1250.5, 3], "numbers with decimal ',' and thousands '.'"),
    "1'250.5 3": ("float64", [1250.5, 3], 'numbers with thousands "\'"'),
    "$5 -$3.5": ("float64", [5, -3.5], "numbers after '$'"),
    "12% ?": ("Int64", [12, None], "numbers before '%', missing '?'"),
    "5kg 7kg": ("int64", [5, 7], "numbers before 'kg'"),
    "5kg 7g": ("text", ["5kg", "7g"], ""),
    "1157567399403462677 NA": ("Int64", [1157567399403462677, None], "missing 'NA'"),
    "18446744073709551615 3": ("uint64", [18446744073709551615, 3], ""),
    "99999999999999999999 3": ("text", None, "whole numbers too long for 64 bits"),
    "1157567399403462677 1.5": ("text", None, "whole numbers too long for 64 bits"),
    "007 12": ("text", None, "codes with zeros in front, such as '007'"),
    "00.5 12": ("float64", [0.5, 12], ""),
    "1e3 2": ("float64", [1000, 2], ""),
    "inf 1.5 NA": ("float64", [np.inf, 1.5, None], "missing 'NA'"),
    "yes no NA": ("boolean", [True, False, None], "no and yes, missing 'NA'"),
    "TRUE FALSE": ("bool", [True, False], "FALSE and TRUE"),
    "yes yes": ("text", None, ""),
    "Yes no": ("text", None, ""),
    "0 1": ("int64", [0, 1], ""),
    "None Big": ("text", [None, "Big"], "missing 'None'"),
    "? Big": ("text", [None, "Big"], "missing '?'"),
    "? -": ("text", ["?", "-"], ""),
    "? NA": ("float64", [None, None], "no cell is filled, missing '?' 'NA'"),
    "? b e": ("text", [None, "b", "e"], "missing '?'"),
    "red - ? blue": ("text", ["red", None, None, "blue"], "missing '-' '?'"),
    "yes no ?": ("boolean", [True, False, None], "no and yes, missing '?'"),
    "A - C": ("text", None, ""),  # a gene
    "+ - ?": ("text", None, ""),
    "none unknown missing": ("text", None, ""),
    "- - small": ("text", None, ""),  # so often, it may say that there is nothing
    "NA  nan": ("float64", [None, None, None], "no cell is filled, missing 'NA' 'nan'"),
    "1 2 3 abc": ("text", None, "3 numbers and 1 other cell, the first 'abc' at row 4"),
    "a b 3 c": ("text", None, ""),
    "2020Q1 2020Q2": ("text", None, ""),
    "2020-01-30 2020-02-30 2020-03-30": (
        "text",
        None,
        "2 dates and 1 other cell, the first '2020-02-30' at row 2",
    ),
    "1.2.3 10.0.1": ("text", None, "dates of several formats, or days that do not exist"),
    "٣ 4": ("text", None, ""),
    "--5 3": ("text", None, ""),
    "1,2,3 5": ("text", None, ""),
}


@pytest.mark.parametrize("texts", COLUMNS)
def test_what_a_column_becomes_and_why(texts):
    kind, values, reason = COLUMNS[texts]
    column, _, said = parse(cells(*texts.split(" ")))
    assert ("text" if column.dtype == TEXT else str(column.dtype)) == kind
    assert said == reason
    wanted = texts.split(" ") if values is None else values
    assert [None if pd.isna(value) else value for value in column] == wanted
    assert column.name == "x"


DATES = {
    "2020-01-05 2020-12-31": "%Y-%m-%d",
    "31.12.2020 1.2.2020": "%-d.%-m.%Y",
    "01.02.2020 03.04.2020": "%d.%m.%Y",
    "13/02/2020 01/02/2020": "%d/%m/%Y",
    "01/13/2020 01/02/2020": "%m/%d/%Y",
    "01/01/2020 02/02/2020": "%d/%m/%Y",
    "5-Jan-20 15-May-20": "%-d-%b-%y",
    "2020-01-01T10:00:00Z": "%Y-%m-%dT%H:%M:%SZ",
    "2020-01-01T10:00:00.123 2020-01-01T10:00:00.456": "%Y-%m-%dT%H:%M:%S.%3f",
    "2020-01 2020-02": "%Y-%m",
    "12:30 09:05": "%H:%M",
    "36:15 09:05": "",
    "2020-02-30": "",
    "20.20.2020": "",
}


@pytest.mark.parametrize("texts", DATES)
def test_the_format_of_dates_is_that_of_the_whole_column(texts):
    column = cells(*texts.split(" "))
    form = date_format(column)
    assert form == DATES[texts]
    if form:
        assert write_dates(read_dates(column, form), form).tolist() == texts.split(" ")


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        ("01/02/2020 03/04/2020", ["column 'x'", "x=date:%d/%m/%Y", "x=date:%m/%d/%Y"]),
        ("01-02-20", ["x=date:%d-%m-%y", "x=date:%y-%m-%d"]),
        ("1,239 2,500", ["'1,239'", "1.239 or 1239", '--decimal ","']),
    ],
)
def test_two_plausible_readings_are_asked_for_and_each_answer_works(texts, says):
    column = cells(*texts.split(" "))
    assert refuses(AmbiguousError, says, parse, column)
    if "date" in says[-1]:
        form = says[-1].partition("date:")[2]
        assert parse(column, Written(date=form))[0].dtype.kind == "M"
        assert parse(column, known=Known(dates=(form,)))[1].date == form
    else:
        assert parse(column, known=Known(","))[0].tolist() == [1.239, 2.5]
        assert parse(column, known=Known("."))[0].tolist() == [1239, 2500]


def test_the_rest_of_a_file_decides_what_a_column_does_not():
    points = cells("1.239", "2.500")
    assert refuses(AmbiguousError, ["1239"], parse, points, known=Known("?"))
    assert parse(points, known=Known(","))[0].tolist() == [1239, 2500]
    assert parse(points, known=Known("."))[0].tolist() == [1.239, 2.5]


def test_new_rows_are_read_as_the_old_ones_were_written():
    assert parse(cells("1.500"), Written(decimal=",", thousands="."))[0].tolist() == [1500]
    assert parse(cells("1.5"), Written(decimal=","))[0].tolist() == ["1.5"]
    assert parse(cells("no"), Written(words=("no", "yes")))[0].tolist() == [False]
    assert parse(cells("01/02/2020"), Written(date="%m/%d/%Y"))[0].dt.month.tolist() == [1]
    assert parse(cells("01.02.2020"), Written(date="%m/%d/%Y"))[0].tolist() == ["01.02.2020"]
    assert parse(cells("x", "1"), Written(missing="x"))[0].isna().tolist() == [True, False]
    assert parse(cells("yes", "no"), Written())[0].tolist() == ["yes", "no"]
    assert parse(cells("007"), Written(width=3))[0].tolist() == [7]


def test_the_most_frequent_word_for_a_missing_cell_is_written():
    values, written, reason = parse(cells("red", "?", "NA", "?", "blue", "green"))
    assert reason == "missing '?' 'NA'"
    assert write(values, written).tolist() == ["red", "?", "?", "?", "blue", "green"]


def test_typed_columns_stay_as_they_are_and_cells_can_be_left_as_text():
    numbers = pd.Series([1, 2])
    assert parse(numbers)[0] is numbers
    column, form, _ = leave(cells("12", "NA", " 5"))
    assert [None if pd.isna(cell) else cell for cell in column] == ["12", None, "5"]
    assert write(column, form).tolist() == ["12", "NA", "5"]


def same_again(texts):
    values, form, _ = parse(cells(*texts))
    return values, write(values, form).tolist()


WORDS = st.sampled_from(sorted(MISSING))
FORMS = [
    Written(decimal=d, thousands=t, before=b, after=a)
    for d, t in [(".", ""), (",", ""), (".", ","), (",", "."), (".", "'"), (",", "\u00a0")]
    for b, a in [("", ""), ("$", ""), ("", "%"), ("", " kg"), ("€ ", "")]
]


@settings(deadline=None, max_examples=12)
@given(st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1), WORDS, st.booleans())
def test_whole_numbers_keep_every_digit(numbers, word, gap):
    texts = [str(number) for number in numbers] + [word] * gap
    values, again = same_again(texts)
    assert again == texts
    assert values.dropna().tolist() == numbers


@settings(deadline=None, max_examples=12)
@given(
    st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1),
    st.sampled_from(FORMS),
    WORDS,
)
def test_numbers_of_every_form_are_read_and_written_again(numbers, form, word):
    column = write(pd.Series([*numbers, np.nan]), Written(**(vars(form) | {"missing": word})))
    known = Known(form.decimal)
    values, found, _ = parse(column, known=known)
    assert values.tolist()[:-1] == numbers
    assert np.isnan(values.tolist()[-1])
    assert write(values, found).tolist() == column.tolist()


@settings(deadline=None, max_examples=12)
@given(
    st.lists(
        st.datetimes(datetime.datetime(1000, 1, 1), datetime.datetime(9999, 12, 31)), min_size=1
    ),
    st.sampled_from(
        ["%Y-%m-%d", "%d.%m.%Y", "%-d.%-m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%Y-%m-%dT%H:%M:%S",
         "%Y-%m-%d %H:%M:%S.%3f", "%b %-d, %Y", "%-m/%-d/%Y %-H:%M", "%H:%M:%S", "%d-%b-%Y"]
    ),
)  # fmt: skip
def test_dates_of_every_format_are_written_again(dates, form):
    texts = write_dates(pd.Series(pd.to_datetime(pd.Series(dates))), form).tolist()
    try:
        _, again = same_again(texts)
    except AmbiguousError:
        _, written, _ = parse(cells(*texts), known=Known(dates=(form, form.replace("%-", "%"))))
        again = write(parse(cells(*texts), written)[0], written).tolist()
    assert again == texts


@settings(deadline=None, max_examples=12)
@given(st.lists(st.text(st.characters(codec="utf-8"), max_size=6).map(str.strip), min_size=1))
def test_any_text_is_refused_or_comes_back(texts):
    """What a value does not keep is taken out: see the docstring of ``parse``."""
    try:
        values, again = same_again(texts)
    except AmbiguousError:
        return
    if values.dtype.kind in "iufbM":
        second, twice = same_again(again)
        assert twice == again
        assert second.equals(values)
    else:
        missing = {text for text in texts if text in MISSING or text in MARKS}
        wanted = [None if text in missing else text for text in texts]
        assert [None if a in missing else a for a in again] == wanted
