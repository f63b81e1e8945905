"""Conditions on rows: what is read, what is refused and how, and what a row must be."""

import datetime

import numpy as np
import pandas as pd
import pytest
from helpers import refuses

from aevb.datasets.asked.condition_text import read_conditions
from aevb.datasets.asked.conditions import settled
from aevb.datasets.tabular.frames import data_of_frame
from aevb.errors import UsageError

INF = float("inf")


def people(n=300):
    rng = np.random.default_rng(0)
    start = pd.Timestamp("2020-01-01 10:00")
    income = np.round(rng.lognormal(10, 1, n), 2)
    return pd.DataFrame(
        {
            "age": rng.integers(17, 91, n),
            "income": np.where(rng.random(n) < 0.2, np.nan, income),
            "sex": rng.choice(["Female", "Male"], n),
            "flag": rng.random(n) < 0.5,
            "a=b>c": rng.normal(size=n),
            "day": start.normalize() + pd.to_timedelta(rng.integers(0, 900, n), "D"),
            "when": start + pd.to_timedelta(rng.integers(0, 10**6, n), "s"),
            "grade": pd.Categorical(
                rng.choice(["low", "mid", "high"], n), ["low", "mid", "high"], ordered=True
            ),
            "occ": np.where(rng.random(n) < 0.1, None, rng.choice(["missing", "b", "c"], n)),
            "k": "x",
            "id": [f"p{i}" for i in range(n)],
            " odd name ": rng.integers(0, 2, n),
            "in x": rng.choice(["u", "v", "w"], n),
            "x": rng.choice(["u", "v", "w"], n),
        }
    )


FRAME = people()
TABLE = data_of_frame(FRAME, "people").table


def read(*given):
    return read_conditions(TABLE, given[0] if not isinstance(given[0], str) else list(given))


def met(*given):
    """Which rows of the table meet conditions, by the conditions themselves: (N,)."""
    return read(*given).keeps(TABLE.encode(FRAME, "people"))


MEANT = {
    "age>=60": FRAME.age >= 60,
    "age > 60": FRAME.age > 60,
    "age<18": FRAME.age < 18,
    "age <= 18": FRAME.age <= 18,
    "age!=60": FRAME.age != 60,
    "age==60": FRAME.age == 60,
    "age=60.0": FRAME.age == 60,
    "age in 20,30, 31": FRAME.age.isin([20, 30, 31]),
    "income=*": FRAME.income.notna(),
    "income=": FRAME.income.isna(),
    "income=missing": FRAME.income.isna(),
    "income!=": FRAME.income.notna(),
    "income>=30000.5": FRAME.income >= 30000.5,
    "sex=Female": FRAME.sex == "Female",
    "sex!=Male": FRAME.sex == "Female",
    "sex in Female,Male": FRAME.sex.notna(),
    "flag=true": FRAME.flag,
    "flag=no": ~FRAME.flag,
    "a=b>c>=0.5": FRAME["a=b>c"] >= 0.5,
    "day>=2020-06-01": FRAME.day >= "2020-06-01",
    "day<2020-06-01": FRAME.day < "2020-06-01",
    "day=2021-02-03": FRAME.day == "2021-02-03",
    "day>=2021": FRAME.day >= "2021-01-01",
    "when>2020-01-05 12:30": FRAME.when > "2020-01-05 12:30",
    "grade>=mid": FRAME.grade >= "mid",
    "grade<high": FRAME.grade < "high",
    "grade=low": FRAME.grade == "low",
    "occ=missing": FRAME.occ == "missing",
    "occ=": FRAME.occ.isna(),
    "occ=*": FRAME.occ.notna(),
    "k=x": FRAME.k == "x",
    " odd name =1": FRAME[" odd name "] == 1,
    "in x=u": FRAME["in x"] == "u",
    "in x in u,v": FRAME["in x"].isin(["u", "v"]),
    "x in u,v": FRAME["x"].isin(["u", "v"]),
}


@pytest.mark.parametrize("text", MEANT)
def test_a_text_means_what_it_says(text):
    assert (met(text) == MEANT[text].to_numpy(bool)).all()


@pytest.mark.parametrize(
    ("given", "same"),
    [
        ({"age": (60, None)}, ["age>=60"]),
        ({"age": (None, 30), "sex": "Male"}, ["age<=30", "sex=Male"]),
        ({"age": np.int64(40)}, ["age=40"]),
        ({"age": [40, 50]}, ["age in 40,50"]),
        ({"age": ">=60"}, ["age>=60"]),
        ({"flag": True}, ["flag=true"]),
        ({"occ": None}, ["occ="]),
        ({"income": "*"}, ["income=*"]),
        ({"day": (pd.Timestamp("2020-06-01"), None)}, ["day>=2020-06-01"]),
        ({"day": datetime.date(2021, 2, 3)}, ["day=2021-02-03"]),
        ({"grade": ("mid", None)}, ["grade>=mid"]),
        ("age>=60", ["age>=60"]),
    ],
)
def test_values_of_python_mean_the_same(given, same):
    rows = TABLE.encode(FRAME, "people")
    assert (read_conditions(TABLE, given).keeps(rows) == met(*same)).all()


def test_conditions_on_one_column_are_joined():
    assert (met("age>=60", "age<70") == ((FRAME.age >= 60) & (FRAME.age < 70))).all()
    assert read("age>=60", "age=70").codes()[0, 0] == 70
    assert np.isnan(read("occ=").codes()).all()


@pytest.mark.parametrize(
    ("given", "parts"),
    [
        ("age=200", ["age=200", "17 to 90", "nearest value is 90", "age=90"]),
        ("age=30.5", ["whole numbers", "age=30"]),
        ("age>95", ["17 to 90"]),
        ("age<17", ["17 to 90"]),
        ("income=30000.123", ["2 decimals", "income=30000.12"]),
        ("sex=Femal", ["'Female', 'Male'", "Did you mean sex=Female?"]),
        ("sex=dog", ["'Female', 'Male'", "Give one of these"]),
        ("sex>=Male", ["needs an order", "sex in A,B"]),
        ("grade>high", ["'low', 'mid', 'high'"]),
        ("day<2019-01-01", ["2020-01-02 to"]),
        ("day=03.02.2021", ["date", "such as 2020-01-02"]),
        ("age>=abc", ["a number", "such as 17", "'abc'"]),
        ("age>=nan", ["a number"]),
        ("age=", ["no cell of column 'age' was missing"]),
        ("k=y", ["'x' in all training rows"]),
        ("k>3", ["the same in all"]),
        ("id=p1", ["names the rows"]),
        ("agee=3", ["no column 'agee'", "Did you mean 'age'?"]),
        ("zzz=3", ["no column 'zzz'", "Give one of 'age'"]),
        ("blah", ["'blah'", "NAME=VALUE"]),
        ("", ["NAME=VALUE"]),
        (["age>=60", "age<30"], ["both age>=60 and age<30"]),
        (["age>30", "age<31"], ["both age>30 and age<31"]),
        (["sex=Male", "sex=Female"], ["both sex=Male and sex=Female"]),
        (["occ=*", "occ="], ["both occ=* and occ="]),
        ({"age": (70, 60)}, ["both age>=70 and age<=60"]),
        ({"age": (1, 2, 3)}, ["a pair (low, high)"]),
        (3, ["{'age': (60, None)}"]),
        ([3], ["a text such as"]),
    ],
)
def test_what_no_row_can_meet_is_refused_with_the_nearest(given, parts):
    refuses(UsageError, parts, read_conditions, TABLE, given)


def test_codes_are_checked_as_the_cells_that_they_become():
    """``settled`` agrees with the way from codes to cells and back, for every kind of column."""
    rng = np.random.default_rng(1)
    rows = TABLE.encode(FRAME, "people")
    for i, column in enumerate(TABLE.modelled):
        span = np.nanmax(rows[:, i]) - np.nanmin(rows[:, i])
        codes = np.append(rng.uniform(-0.3, 1.3, 200) * span + np.nanmin(rows[:, i]), np.nan)
        back = column.encode(column.decode(codes))
        assert np.array_equal(settled(column, codes), back, equal_nan=True), column.name
