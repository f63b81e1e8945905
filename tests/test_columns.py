"""Columns of tables: their kinds, and the way from cells to codes and back."""

import datetime
import decimal
import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from generated_tables import N, frames
from hypothesis import given, settings
from pydantic import TypeAdapter

from aevb.datasets.tabular.column_kinds import find, same_cells
from aevb.datasets.tabular.columns import Column, Table
from aevb.datasets.tabular.frames import data_like, data_of_frame, frame_of
from aevb.errors import AevbError, DataError, UsageError

STORED = TypeAdapter(Table)


def saved(table):
    """The table as it comes back from the JSON of a save."""
    return STORED.validate_json(json.dumps(STORED.dump_python(table, mode="json")))


def comes_back(frame):
    """Encode and decode a frame, with the columns that are not modelled put aside."""
    data = data_of_frame(frame, "a frame")
    table = saved(data.table)
    assert table == data.table
    back = table.decode(data.rows, table.aside(frame))
    return data, back


# -------------------------------------------------------------------------------------------------
# what comes in comes out


@settings(max_examples=150, deadline=None, derandomize=True)
@given(frames())
def test_a_table_comes_back_as_it_was_or_is_refused_by_name(frame):
    try:
        data, back = comes_back(frame)
    except (DataError, UsageError) as error:
        refused = str(error)
    else:
        refused = ""
    if refused:
        assert refused.startswith("a frame: ")
        return
    assert list(back.columns) == list(frame.columns)
    coarse = {c.name for c in data.table.columns if "kept to" in c.reason}
    for i, column in enumerate(data.table.columns):
        if column.name not in coarse:
            assert same_cells(frame.iloc[:, i].reset_index(drop=True), back.iloc[:, i]), column


@pytest.mark.parametrize(
    "cells",
    [
        pd.Series(pd.Categorical(["b", "a"] * 20, categories=["c", "b", "a"])),
        pd.Series(pd.Categorical([3, 1] * 20, categories=[3, 1], ordered=True)),
        pd.Series(pd.period_range("2020-01", periods=N, freq="M")),
        pd.Series(np.arange(N) % 5, dtype="int64[pyarrow]"),
        pd.Series([datetime.date(2020, 1, 1 + i % 5) for i in range(N)]).astype(
            "date32[day][pyarrow]"
        ),
        pd.Series([20240228, 20240229, 19991231, 20000101] * 10),
        pd.Series([2**63 + 5, 2**64 - 1] * 20, dtype="uint64"),
        pd.Series([True, None] * 20, dtype=object),
        pd.Series([None] * N, dtype=object),
        pd.Series([pd.Timestamp("2020-02-29 13:00")] * N),
    ],
    ids=lambda cells: str(cells.dtype),
)
def test_types_that_no_random_table_has_come_back(cells):
    frame = pd.DataFrame({"a": cells, "b": np.arange(N) * 0.5})
    _, back = comes_back(frame)
    assert same_cells(frame["a"], back["a"])
    if isinstance(cells.dtype, pd.CategoricalDtype):
        assert back["a"].dtype == cells.dtype


def test_a_frame_of_another_library_goes_out_as_that_library():
    table = pa.table({"n": [1, None, 3, 4], "t": ["a", "b", "a", "a"], "x": [0.5, 1.5, 2.0, 0.1]})
    data = data_of_frame(table, "arrow")
    back = frame_of(data.rows, data.table)
    assert back.to_pylist() == table.to_pylist()
    assert back.schema.types[0] == pa.int64()


# -------------------------------------------------------------------------------------------------
# made-up codes become cells that the column can have


def test_codes_of_a_model_become_cells_of_the_column():
    frame = pd.DataFrame(
        {
            "age": [18, 44, 90] * 4,
            "price": [1.25, 3.5, 2.0] * 4,
            "day": pd.to_datetime(["2024-01-31", "2024-03-01", "2024-02-10"] * 4),
            "flag": ["no", "yes", "no"] * 4,
        }
    )
    table = data_of_frame(frame, "mine").table
    made = table.decode(np.array([[17.2, 2.3456, 0.6, 0.7], [93.0, 9.0, 500.0, -3.0]]))
    assert made["age"].tolist() == [18, 90]
    assert made["price"].tolist() == [2.35, 3.5]
    # Dates are counted in steps of ten days, the largest that reaches all three.
    assert made["day"].tolist() == [pd.Timestamp("2024-02-10"), pd.Timestamp("2024-03-01")]
    assert made["flag"].tolist() == ["yes", "no"]
    assert (made.dtypes == frame.dtypes).all()


@pytest.mark.parametrize(
    ("cells", "kind"),
    [
        ([1, 2, 5, 2] * 10, "integer"),
        ([1.0, 2.0, np.nan, 7.0] * 10, "integer"),
        ([0, 1, 1, 0] * 10, "boolean"),
        (["yes", "no"] * 20, "boolean"),
        (["Low", "High", "Medium", "High"] * 10, "ordered"),
        (["18-24", "65+", "25-34", "<18"] * 10, "ordered"),
        (["1. < HS Grad", "2. HS Grad", "3. College"] * 13, "ordered"),
        (["<12 yrs", "12 yrs", "13-15 yrs", ">16 yrs"] * 10, "ordered"),
        (["1.SP", "3.NL", "2.SW"] * 13, "category"),
        (["1979 Q3", "1980 Q1", "1979 Q4"] * 13, "date"),
        (["red", "green", "red"] * 13, "category"),
        ([f"comment {i}" for i in range(N)], "identifier"),
        (list(range(1, N + 1)), "identifier"),
        ([1157567399403463000 + 7**i % 10**12 for i in range(N)], "identifier"),
        (list(range(1960, 1960 + N)), "integer"),
        ([20240131 + i % 3 - 31 * (i % 2) for i in range(N)], "integer"),  # 20240099 is no date
        ([3.5] * N, "constant"),
        ([None] * N, "constant"),
        ([3.5, None] * 20, "real"),
        ([1e300, 2.0, 3.0] * 13, "real"),
    ],
)
def test_kinds_are_found_from_the_values(cells, kind):
    assert find(pd.Series(cells), "a").kind == kind


def test_a_name_tells_an_identifier_from_an_amount():
    cells = pd.Series(np.random.default_rng(0).permutation(1000)[:N] + 100)
    kinds = {
        name: find(cells, name).kind for name in ("patient_id", "customerID", "income", "paid")
    }
    assert kinds == {
        "patient_id": "identifier",
        "customerID": "identifier",
        "income": "integer",
        "paid": "integer",
    }


@pytest.mark.parametrize(
    ("cells", "asked", "codes"),
    [
        ([3, 1, 3, 7], "category", [1, 0, 1, 2]),
        (["b", "a", "b", "b"], "boolean", [1, 0, 1, 1]),
        (["mid", "low", "high", "low"], "ordered", [1, 0, 2, 0]),
        ([1, 0, 1, 1], "integer", [1, 0, 1, 1]),
        ([1, 0, 1, 1], "real", [1, 0, 1, 1]),
    ],
)
def test_a_kind_can_be_asked_for(cells, asked, codes):
    column = find(pd.Series(cells), "a", asked=asked)
    assert (column.kind, column.encode(pd.Series(cells)).tolist()) == (asked, codes)


@pytest.mark.parametrize(
    ("cells", "asked", "why"),
    [
        ([1.5, 2.0], "integer", "fractions"),
        ([1, 2, 3], "boolean", "3 values"),
        (["a", "b"], "real", "a number"),
        ([1, 2], "constant", "2 values"),
        ([1.5, 2.5], "date", "YYYYMMDD"),
    ],
)
def test_a_kind_that_cannot_be_is_refused(cells, asked, why):
    with pytest.raises(UsageError, match=why):
        find(pd.Series(cells), "a", asked=asked)


# -------------------------------------------------------------------------------------------------
# new rows for a table that is known


def test_columns_of_new_rows_are_found_by_name_whatever_its_type():
    frame = pd.DataFrame({2019: [1.5, 2.5], 2020: [3.5, 7.5]})
    table = saved(data_of_frame(frame, "old").table)
    new = data_like(frame[[2020, 2019]], "new", table)
    assert new.rows.tolist() == [[1.5, 3.5], [2.5, 7.5]]
    assert "another order" in new.notes[0]
    assert data_like(frame, "new", table).notes == ()


def test_names_that_are_numbers_are_kept():
    frame = pd.DataFrame(np.arange(8.0).reshape(4, 2) + 0.5)
    _, back = comes_back(frame)
    assert [type(name) for name in back.columns.tolist()] == [int, int]
    assert back.columns.tolist() == [0, 1]


def test_names_of_several_levels_are_kept():
    labels = pd.MultiIndex.from_product([["a", "b"], [1, 2]])
    frame = pd.DataFrame(np.arange(8.0).reshape(2, 4) + 0.5, columns=labels)
    data, back = comes_back(frame)
    assert data.columns == ("a.1", "a.2", "b.1", "b.2")
    pd.testing.assert_frame_equal(back, frame)


TABLE = Table(
    (
        Column("a", "real", "float64"),
        Column("sex", "category", "str", levels=("female", "male")),
        Column("id", "identifier", "int64"),
    )
)


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        ({"a": [1.0]}, "column 'sex' is missing"),
        ({"a": [1.0], "sex": ["male"], "b": [2]}, "column 'b' is not known to the model"),
        ({"a": [1.0], "sex": ["mail"]}, "'mail' at row 1; the model knows 'female', 'male'"),
        ({"a": ["x"], "sex": ["male"]}, "a number in every cell; got 'x' at row 1"),
        ({"a": [np.inf], "sex": ["male"]}, "a finite number"),
    ],
)
def test_rows_that_do_not_fit_are_refused(frame, says):
    with pytest.raises(DataError, match=f"new: .*{says}"):
        data_like(pd.DataFrame(frame), "new", TABLE)


def test_a_mark_in_new_rows_is_missing_unless_it_is_a_level():
    gene = Column("gene", "category", "str", levels=("-", "A", "C"))
    assert gene.encode(pd.Series(["C", "-"])).tolist() == [2, 0]
    assert np.isnan(gene.encode(pd.Series(["?", None]))).all()
    assert np.isnan(Column("a", "real", "float64").encode(pd.Series(["?"]))).all()
    with pytest.raises(DataError, match="holds 'unknown' at row 1"):
        gene.encode(pd.Series(["unknown"]))


def test_rows_without_a_filled_cell_are_counted():
    frame = pd.DataFrame({"a": [1.5, None, 2.5, None], "b": ["x", None, "y", None]})
    data = data_of_frame(frame, "mine")
    assert len(data) == 4
    assert "2 rows have no filled cell, the first is row 2;" in data.notes[0]
    assert data_of_frame(frame[["a"]], "mine").notes == ()
    assert data_of_frame(frame[:2], "mine").notes[0].startswith("mine: 1 row has no filled cell")


def test_further_columns_can_be_ignored():
    frame = pd.DataFrame({"b": ["?"], "a": [1.0], "sex": ["male"]})
    assert data_like(frame, "new", TABLE, ignore=["b"]).rows.tolist() == [[1.0, 1.0]]


@pytest.mark.parametrize(
    ("frame", "says"),
    [
        (pd.DataFrame({"a": []}), "is empty: 0 rows and 1 columns"),
        (pd.DataFrame([[1, 2]], columns=["a", "a"]), "several columns are named 'a'"),
        (pd.DataFrame([[1]], columns=[pd.Timestamp("2020")]), "of type Timestamp; use text"),
        (pd.DataFrame({"a": [[1], [2]]}), "column 'a' holds values of type list"),
        (pd.DataFrame({"a": [1, "x", 2]}), "mixes 1 cells of text with 2 others.*'x' at row 2"),
        (
            pd.DataFrame({"a": [1, 1]}),
            "no column can be modelled: 'a' .constant.*Add a column of numbers",
        ),
        (pd.DataFrame({"a": [f"C{i}N" for i in range(40)]}), "Text is not modelled; give it as"),
    ],
)
def test_frames_that_cannot_be_used_are_refused(frame, says):
    with pytest.raises(DataError, match=says):
        data_of_frame(frame, "mine")


def test_the_names_of_rows_are_those_of_an_identifier_or_of_the_index():
    frame = pd.DataFrame({"id": [f"p{i}" for i in range(12)], "a": np.arange(12) / 2})
    data = data_of_frame(frame, "mine")
    assert (data.names_of, data.names[1]) == ("id", "p1")
    data = data_of_frame(frame.set_index("id"), "mine")
    assert (data.names_of, data.names[1]) == ("id", "p1")
    assert data_of_frame(frame[["a"]], "mine").names is None


def test_decimals_and_errors_are_told():
    column = find(pd.Series([decimal.Decimal("1.10"), decimal.Decimal("2.05")]), "price")
    assert (column.kind, column.decimals, column.dtype) == ("real", 2, "decimal")
    with pytest.raises(UsageError, match="no column 'b'; it has 'a'"):
        data_of_frame(pd.DataFrame({"a": [1, 2]}), "mine", columns={"b": "real"})
    assert issubclass(DataError, AevbError)
