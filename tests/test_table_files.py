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


def test_a_likelihood_that_cannot_take_names_and_gaps_says_what_can(loans):
    data = load("loans.csv")
    names = (
        r"likelihood gaussian needs complete columns of numbers; .*'grade' are names.*"
        r"Leave the likelihood out, or leave the column out with --column grade=ignore\."
    )
    with pytest.raises(DataError, match=names):
        plan(data, "gaussian")
    without = load("loans.csv", columns={"grade": "ignore"})
    with pytest.raises(DataError, match=r"9 cells are missing.*Leave the.*--column gap=ignore"):
        plan(without, "gaussian")
    # Each of the ways works.
    assert plan(data).likelihood == "mixed"
    numbers = load("loans.csv", columns={"grade": "ignore", "gap": "ignore"})
    schema = plan(numbers, "gaussian").schema
    assert schema.columns == ("amount",)
    loans.assign(amount=np.nan).to_csv("new.csv", index=False)
    with pytest.raises(DataError, match=r"this model needs complete.*Train a model with the lik"):
        schema.require(load_like("new.csv", schema))


def test_advice_that_would_leave_no_column_is_not_given():
    gaps = data_of_frame(pd.DataFrame({"a": [1.5, None, 2.5], "b": [None, 2.5, 4]}), "mine")
    with pytest.raises(DataError, match=r"2 cells.*columns 'a', 'b'.*or remove the rows\.$"):
        plan(gaps, "gaussian")
    stars = pd.DataFrame({"stars": pd.Categorical([1, 2, 3] * 20)})
    with pytest.raises(DataError, match=r"an order\. Leave the likelihood out\.$"):
        plan(data_of_frame(stars, "mine"), "gaussian")


def test_that_rare_levels_share_a_class_is_said():
    g = np.random.default_rng(0)
    frame = pd.DataFrame({"city": [f"C{k}" for k in g.zipf(1.5, 3000) % 9000], "x": g.random(3000)})
    assert plan(data_of_frame(frame, "mine")).reason.endswith(
        "all but the 255 most frequent levels of 'city' share one class"
    )


@pytest.mark.parametrize("ending", [".csv", ".jsonl", ".parquet", ".xlsx"])
def test_a_question_mark_among_words_is_missing_and_is_written_again(ending, tmp_path):
    words = ["Private", "?", "State-gov", "Private", "NA", "?"] * 5
    frame = pd.DataFrame({"work": words, "age": np.arange(30) % 7})
    path, out = tmp_path / f"in{ending}", tmp_path / f"out{ending}"
    write_table(frame, {}, path)
    data, first, second = again(path, out)
    column = data.table.columns[0]
    assert (column.kind, column.levels) == ("category", ("Private", "State-gov"))
    assert (column.missing, column.written.missing) == (15, "?")
    assert column.reason == "text with 2 values, missing '?' 'NA'"
    assert same_cells(first["work"], second["work"])
    if ending == ".csv":
        assert out.read_text().split()[:3] == ["work,age", "Private,0", "?,1"]
    if ending == ".jsonl":
        assert '"work":"?"' in out.read_text()
    if ending == ".parquet":
        assert pd.read_parquet(out)["work"].tolist()[:2] == ["Private", "?"]


def test_parts_agree_on_what_a_mark_is(tmp_path):
    """In the first part alone the mark would be a level: it is frequent there."""
    for name, words in {"a": ["-", "-", "red"], "b": ["red", "blue", "blue", "-", "red"]}.items():
        pd.DataFrame({"c": words * 2, "n": range(len(words) * 2)}).to_csv(
            tmp_path / f"{name}.csv", index=False
        )
    column = load(tmp_path).table.columns[0]
    assert (column.levels, column.missing, column.written.missing) == (("blue", "red"), 6, "-")


def test_new_rows_with_another_mark_are_read(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    frame = pd.DataFrame(
        {"c": ["red", "blue", "?", "green"] * 5, "ok": ["yes", "no", "?", "no"] * 5}
    )
    frame.to_csv("old.csv", index=False)
    schema = plan(load("old.csv")).schema
    frame.replace("?", "-").to_csv("new.csv", index=False)
    rows = load_like("new.csv", schema).rows
    assert np.isnan(rows[2]).all()
    assert np.array_equal(rows, load_like("old.csv", schema).rows, equal_nan=True)
    # pandas reads a question mark as text.
    frame = pd.read_csv("old.csv")
    assert np.array_equal(rows[:, 0], schema.table.columns[0].encode(frame["c"]), equal_nan=True)
    assert np.array_equal(rows[:, 1], schema.table.columns[1].encode(frame["ok"]), equal_nan=True)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("a,b\n", "is empty: 0 rows and 2 columns"),
        ("a,b\nNA,\n,?\n", "no column can be modelled: 'a' .constant: all its cells are missing"),
        ("a,b\n1,2\n1e999,3\n", "'a' should hold a finite number.* at row 2 .1 such cell"),
    ],
)
def test_a_file_without_anything_to_learn_is_refused(text, says, tmp_path):
    (tmp_path / "t.csv").write_text(text)
    with pytest.raises(DataError, match=says):
        load(tmp_path / "t.csv")


def test_a_column_without_a_filled_cell_is_put_aside(tmp_path):
    (tmp_path / "in.csv").write_text("a,b,c\n" + "1,NA,x\n2,NA,y\n4,,x\n" * 5)
    data, _, _ = again(tmp_path / "in.csv", tmp_path / "out.csv")
    kinds = [(column.kind, column.reason) for column in data.table.columns]
    assert kinds[1] == ("constant", "all its cells are missing")
    assert data.columns == ("a", "c")
    assert (tmp_path / "out.csv").read_text().split()[:4] == ["a,b,c", "1,NA,x", "2,NA,y", "4,NA,x"]


@pytest.mark.parametrize(
    ("cells", "kind", "says"),
    [
        (
            [*range(30), "abc", "x"],
            "identifier",
            "30 numbers and 2 other cells, the first 'abc' at row 31",
        ),
        (
            [*(f"2020-01-{day:02d}" for day in range(1, 31)), "2020-02-30"],
            "identifier",
            "30 dates and 1 other cell, the first '2020-02-30' at row 31",
        ),
    ],
)
def test_a_few_cells_that_make_a_column_text_are_noted(cells, kind, says, tmp_path):
    frame = pd.DataFrame({"a": cells, "b": np.arange(len(cells)) % 5})
    frame.to_csv(tmp_path / "t.csv", index=False)
    data = load(tmp_path / "t.csv")
    assert data.table.columns[0].kind == kind
    assert says in data.table.columns[0].reason
    assert f"column 'a' holds {says}; it was read as text" in data.notes[0]
    with pytest.raises(UsageError, match="cannot be of kind date"):
        load(tmp_path / "t.csv", columns={"a": "date"})


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
