"""A table in a file: read, put into codes, decoded and written again, it is the same table."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from generated_tables import frames
from hypothesis import given, settings

from aevb.datasets import load, load_like
from aevb.datasets.planning import plan
from aevb.datasets.readers import raw_table
from aevb.datasets.tabular.column_kinds import same_cells
from aevb.datasets.tabular.frames import data_of_frame
from aevb.datasets.tabular.tables import write_table
from aevb.errors import AevbError, DataError, UsageError


def again(path, out):
    """Read a table, and write what its codes decode to."""
    data = load(path)
    raw = raw_table(str(path))
    frame = data.table.decode(data.rows, data.table.aside(raw.frame))
    write_table(frame, {column.name: column.written for column in data.table.given}, out)
    return data, raw.frame, raw_table(str(out)).frame


@pytest.mark.parametrize("ending", [".csv", ".tsv", ".parquet", ".feather", ".jsonl"])
@settings(max_examples=8, deadline=None, derandomize=True)
@given(frame=frames())
def test_a_file_comes_back_as_it_was_or_is_refused(ending, frame, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tables")
    path, out = folder / f"in{ending}", folder / f"out{ending}"
    frame.columns = [f"c{i}" for i in range(frame.shape[1])]
    writers = {
        ".csv": lambda: frame.to_csv(path, index=False),
        ".tsv": lambda: frame.to_csv(path, index=False, sep="\t"),
        ".parquet": lambda: frame.to_parquet(path),
        ".feather": lambda: frame.to_feather(path),
        ".jsonl": lambda: frame.to_json(path, orient="records", lines=True),
    }
    try:
        writers[ending]()
    except Exception:
        return  # pandas cannot write this table
    try:
        data, first, second = again(path, out)
    except AevbError:
        return  # refused in a sentence
    coarse = {c.name for c in data.table.columns if "kept to" in c.reason}
    for column in data.table.given:
        if column.name not in coarse:
            assert same_cells(first[column.name], second[column.name]), column


def test_dates_marks_and_gaps_are_written_as_they_were(tmp_path):
    text = (
        "nr;tag;preis;land;plz;ja\n"
        "1;31.12.2020;1.234,5;CH;0800;ja\n2;28.2.2021;99;AT;1010;nein\n"
        "3;1.1.2021;0,25;CH;0800;ja\n4;1.5.2021;7;DE;1010;nein\n"
    ) * 4
    rows = text.splitlines()
    unique = [rows[0], *[r for r in rows if not r.startswith("nr")]]
    (tmp_path / "in.csv").write_text("\n".join(unique) + "\n", encoding="utf-8")
    data, first, second = again(tmp_path / "in.csv", tmp_path / "out.csv")
    kinds = {column.name: column.kind for column in data.table.columns}
    assert (kinds["tag"], kinds["preis"], kinds["plz"]) == ("date", "real", "category")
    pd.testing.assert_frame_equal(first, second)
    assert "31.12.2020" in (tmp_path / "out.csv").read_text()
    assert "0800" in (tmp_path / "out.csv").read_text()


@pytest.fixture
def loans(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    g = np.random.default_rng(0)
    frame = pd.DataFrame(
        {
            "id": [f"L{i:04d}" for i in range(60)],
            "amount": g.lognormal(8, 1, 60).round(2),
            "grade": g.choice(["a", "b", "c"], 60),
            "gap": np.where(np.arange(60) % 7 == 0, np.nan, g.normal(size=60)),
        }
    )
    frame.to_csv("loans.csv", index=False)
    return frame


def test_the_advice_on_columns_that_cannot_be_modelled_works(loans):
    with pytest.raises(DataError, match=r"'grade' are names.*--column grade=ignore"):
        plan(load("loans.csv"))
    with pytest.raises(DataError, match=r"9 cells are missing.*--column gap=ignore"):
        plan(load("loans.csv", columns={"grade": "ignore"}))
    chosen = plan(load("loans.csv", columns={"grade": "ignore", "gap": "ignore"}))
    assert chosen.schema.columns == ("amount",)


def test_advice_that_would_leave_no_column_is_not_given():
    gaps = data_of_frame(pd.DataFrame({"a": [1.5, None, 2.5], "b": [None, 2.5, 4]}), "mine")
    with pytest.raises(DataError, match=r"2 cells.*columns 'a', 'b'.*or remove the rows\.$"):
        plan(gaps)
    stars = pd.DataFrame({"stars": pd.Categorical([1, 2, 3] * 20)})
    with pytest.raises(DataError, match=r"modelled yet\. Replace each by columns of 0 and 1\.$"):
        plan(data_of_frame(stars, "mine"))


def test_new_rows_may_have_further_columns_and_another_order(loans):
    schema = plan(load("loans.csv", columns={"grade": "ignore", "gap": "ignore"})).schema
    loans[["amount", "id"]].assign(new=1).to_csv("new.csv", index=False)
    with pytest.raises(DataError, match=r"column 'new' is not known to the model.*--ignore"):
        load_like("new.csv", schema)
    data = load_like("new.csv", schema, ignore=["new"])
    assert data.rows[:, 0].tolist() == loans["amount"].tolist()
    assert (data.names_of, data.names[3]) == ("id", "L0003")
    with pytest.raises(UsageError, match=r"no column 'old' to ignore"):
        load_like("new.csv", schema, ignore=["old"])


def test_an_ambiguous_date_is_asked_and_the_answer_is_taken(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    days = ["01/02/2020", "03/04/2020", "05/06/2020", "07/08/2020"] * 3
    pd.DataFrame({"day": days, "x": np.arange(12) / 3}).to_csv("days.csv", index=False)
    with pytest.raises(UsageError) as refused:
        load("days.csv")
    assert '--column "day=date:%d/%m/%Y"' in str(refused.value)
    data = load("days.csv", columns={"day": "date:%d/%m/%Y"})
    assert data.table.columns[0].kind == "date"
    assert data.table.decode(data.rows)["day"][0] == pd.Timestamp("2020-02-01")


def test_an_ambiguous_decimal_mark_is_asked_and_the_answer_is_taken(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pd.DataFrame({"v": ["1.239", "2.500", "3.125"] * 4, "w": range(10, 22)}).to_csv(
        "v.csv", index=False, sep=";"
    )
    with pytest.raises(UsageError, match='--decimal "\\."'):
        load("v.csv")
    assert load("v.csv", decimal=".").rows[0, 0] == 1.239
    assert load("v.csv", decimal=",").rows[0, 0] == 1239


def test_a_table_comes_from_standard_input(loans, monkeypatch):
    import io

    content = Path("loans.csv").read_bytes()
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
    assert len(load("-", columns={"grade": "ignore", "gap": "ignore"})) == 60


def test_codes_that_look_like_numbers_stay_text_in_new_rows(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    old = pd.DataFrame({"zip": ["0800", "1010"] * 9, "x": np.arange(18) / 7})
    old.to_csv("old.csv", index=False)
    old[1::2].to_csv("new.csv", index=False)  # no cell begins with a zero here
    schema = plan(load("old.csv")).schema
    assert load_like("new.csv", schema).rows[:, 0].tolist() == [1.0] * 9
