"""Files of tables: what is read, what is said about it, and what is refused."""

import bz2
import gzip
import io
import json
import lzma
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers import refuses
from hypothesis import given, settings
from hypothesis import strategies as st

from aevb.datasets import load
from aevb.datasets.tabular.columns import Written
from aevb.datasets.tabular.dialect import delimited
from aevb.datasets.tabular.header import has_header
from aevb.datasets.tabular.tables import read_table, read_tables, write_table
from aevb.datasets.tabular.text import AmbiguousError
from aevb.errors import DataError, OutputExistsError, UsageError


def table(content, suffix=".csv", **options):
    content = content.encode() if isinstance(content, str) else content
    return read_table(io.BytesIO(content), suffix, **options)


def rows(found):
    return [
        [None if pd.isna(cell) else cell for cell in row]
        for row in found.frame.itertuples(index=False, name=None)
    ]


def zipped(**members):
    with zipfile.ZipFile(file := io.BytesIO(), "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


READ = {  # ending, text -> names, rows, a word of the notes
    ("csv", "a,b\n1,2.5\n3,4\n"): ("a b", [[1, 2.5], [3, 4]], ""),
    ("csv", "a;b\n1,5;2\n3;4\n"): ("a b", [[1.5, 2], [3, 4]], ""),
    ("csv", "a;b\n1.239;2,5\n3.100;4,25\n"): ("a b", [[1239, 2.5], [3100, 4.25]], ""),
    ("csv", "a;b\n1.239;2.5\n3.1;4.1\n"): ("a b", [[1.239, 2.5], [3.1, 4.1]], ""),
    ("csv", 'a,b\n"1,234",1.5\n"12,400",2\n'): ("a b", [[1234, 1.5], [12400, 2]], ""),
    ("csv", 'a,b\n"1,239","1,5"\n"850","2,5"\n'): ("a b", [[1.239, 1.5], [850, 2.5]], ""),
    ("tsv", "a\tb\nx y\t2\n"): ("a b", [["x y", 2]], ""),
    ("txt", "a|b\n1|2\n"): ("a b", [[1, 2]], ""),
    ("txt", "name age\nanna 23\nbert 42\n"): ("name age", [["anna", 23], ["bert", 42]], ""),
    ("dat", '  "x y"  2\n "z"   4\n'): ("column_1 column_2", [["x y", 2], ["z", 4]], "as a row"),
    ("csv", 'a,b\n"x,y",2\n"z\nt",3\n'): ("a b", [["x,y", 2], ["z\nt", 3]], ""),
    ("csv", "tags,n\na;b,1\nc;d,2\n"): ("tags n", [["a;b", 1], ["c;d", 2]], ""),
    ("csv", "2019,2020\n1.5,2.5\n"): ("2019 2020", [[1.5, 2.5]], "names of columns"),
    ("csv", "name,2019,2020\na,15,2\n"): ("name 2019 2020", [["a", 15, 2]], ""),
    ("csv", "1,2\n3,4\n"): ("column_1 column_2", [[1, 2], [3, 4]], ""),
    ("csv", "0,1\n1,0\n0,0\n"): ("column_1 column_2", [[0, 1], [1, 0], [0, 0]], "as a row"),
    ("csv", "5,red\n6,blue\n"): ("column_1 column_2", [[5, "red"], [6, "blue"]], "as a row"),
    ("csv", "red\nblue\nred\n"): ("column_1", [["red"], ["blue"], ["red"]], "as a row"),
    ("csv", "colour\nblue\nred\n"): ("colour", [["blue"], ["red"]], ""),
    ("csv", "a\n1\n\n3\n\n"): ("a", [[1], [None], [3]], ""),
    ("csv", "\n\na,b\r1,2\r"): ("a b", [[1, 2]], ""),
    ("csv", "\n\na\n1\n\n2\n"): ("a", [[1], [None], [2]], ""),
    ("csv", '\n"x\ny"\n1\n2\n'): ("x\ny", [[1], [2]], ""),
    ("csv", "\n1.5\n2\n"): ("column_1", [[1.5], [2]], ""),
    ("csv", "a,b\n1,2\n,3\n,\n,\n"): ("a b", [[1, 2], [None, 3]], "2 rows without"),
    ("csv", "a , b\n 1 , x \n"): ("a b", [[1, "x"]], ""),
    ("csv", "a,b,\n1,2,\n"): ("a b", [[1, 2]], "no name and no cells"),
    ("csv", ",a\n0,5\n1,6\n"): ("a", [[5], [6]], "counts the rows"),
    ("csv", '"","a"\n"1",5\n"2",6\n'): ("a", [[5], [6]], "counts the rows"),
    ("csv", ",a\n0,5\n3,6\n"): ("Unnamed:_0 a", [[0, 5], [3, 6]], ""),
    ("csv", "id,a\n0,5\n1,6\n"): ("id a", [[0, 5], [1, 6]], ""),
    ("csv", "zip,n\n01234,5\n99999,6\n"): ("zip n", [["01234", 5], ["99999", 6]], ""),
    ("csv", "id,n\n1157567399403462677,\n,1\n"): (
        "id n",
        [[1157567399403462677, None], [None, 1]],
        "",
    ),
    ("csv", "n\n99999999999999999999\n1\n"): ("n", [["99999999999999999999"], ["1"]], ""),
    ("tsv", "#chrom\tstart\nchr1\t5\n"): ("#chrom start", [["chr1", 5]], ""),
    ("json", '[{"a": 1}, {"a": null, "b": "x"}]'): ("a b", [[1, None], [None, "x"]], ""),
    ("json", "[[1, 2], [3, 4.5]]"): ("column_1 column_2", [[1, 2], [3, 4.5]], ""),
    ("json", '{"a": [1, 2], "b": ["007", null]}'): ("a b", [[1, "007"], [2, None]], ""),
    ("json", '{"columns": ["a"], "index": [0], "data": [[true]]}'): ("a", [[True]], ""),
    ("json", '{"a": {"0": 1, "1": 2}}'): ("a", [[1], [2]], ""),
    ("jsonl", '{"a": 1157567399403462677}\n\n{"b": 2}\n'): (
        "a b",
        [[1157567399403462677, None], [None, 2]],
        "",
    ),
}


@pytest.mark.parametrize(("suffix", "text"), READ)
def test_tables_are_read_as_they_are_meant(suffix, text):
    names, wanted, note = READ[suffix, text]
    found = table(text, f".{suffix}")
    assert [str(name).replace(" ", "_") for name in found.frame.columns] == names.split(" ")
    assert rows(found) == wanted
    assert note in " ".join(found.notes)
    assert bool(found.notes) == bool(note), found.notes


REFUSED = {
    ("csv", "a,b\n1,2\n3,4,5\n"): "data row 2 (line 3) has 3 cells",
    ("csv", "a,b\n1,2\n3\n5,6\n"): "data row 2 (line 3) has 1 cells",
    ("csv", 'a,b\n"x\ny",2\n3\n'): "data row 2 (line 4)",
    ("csv", "a,b\n1,2,3\n4,5,6\n"): "data row 1 (line 2) has 3 cells",
    ("csv", 'a,b\n1,"2\n'): "quote that is opened in data row 1",
    ("csv", "# note\na,b\n1,2\n"): "Remove the lines that are comments",
    ("txt", "# a b\n1 2\n3 4\n"): "Remove the lines that are comments",
    ("csv", "a,b,a\n1,2,3\n"): "columns 1 and 3 are both named 'a'",
    ("csv", "a,b\n1,\x002\n"): "NUL bytes, the first at byte 6",
    ("csv", "a,b\n".encode("utf-16-le")): "NUL bytes",
    ("csv", "ä,".encode() + b"\xfc\n1,2\n"): "UTF-8 only in part: byte 3",
    ("csv", ""): "no cells",
    ("csv", "sep=;\na;b\n1;2\n"): "begins with the line 'sep=;'",
    ("csv", "<!DOCTYPE html>\n<p>a, b</p>\n"): "web page",
    ("csv", "version https://git-lfs.github.com/spec/v1\noid 1\n"): "git lfs pull",
    ("csv.gz", b"a,b\n1,2\n"): "damaged",
    ("csv.gz", gzip.compress(b"a,b\n1,2\n" * 99, mtime=0)[:30]): "damaged",
    ("zip", zipped(a="1", b="2")): "holds 2 files",
    ("json", "3"): "holds no table",
    ("json", "{"): "damaged",
    ("json", '[{"a": 1, "a": 2}]'): "twice",
    ("json", '[{"a": 1}, {"a": [1]}]'): "column 'a' holds a list at row 2",
    ("json", '{"a": [1], "b": [1, 2]}'): "1 to 2 cells",
    ("json", "[[1], [1, 2]]"): "row 2 has 2 values",
    ("jsonl", '{"a": 1}\n{a\n'): "line 2 is no JSON",
    ("jsonl", "3\n"): "row 1 is no record",
    ("parquet", "hello"): "damaged",
    ("feather", "hello"): "damaged",
}


@pytest.mark.parametrize(("suffix", "content"), REFUSED)
def test_what_is_no_table_is_refused_with_the_place(suffix, content):
    if suffix in ("parquet", "feather"):
        pytest.importorskip("pyarrow")
    assert refuses(DataError, [REFUSED[suffix, content]], table, content, f".{suffix}")


def test_too_many_columns_are_refused_before_they_are_read():
    wide = ",".join(f"c{i}" for i in range(100_001)) + "\n"
    assert refuses(DataError, ["100001 columns", ".npy"], table, wide)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
def test_the_encoding_is_found_without_a_word_if_it_is_certain(encoding):
    found = table("größe,n\nx€,007\n".encode(encoding))
    assert rows(found) == [["x€", "007"]]
    assert list(found.frame.columns) == ["größe", "n"]
    assert found.notes == ()


def test_other_encodings_are_said():
    found = table("größe,n\nx€,1\n".encode("cp1252"))
    assert rows(found) == [["x€", 1]]
    assert "cp1252" in found.notes[0]
    assert "latin-1" in table(b"\xfc\x81,n\n1,2\n").notes[0]


@pytest.mark.parametrize(
    ("ending", "pack"),
    [
        (".gz", gzip.compress),
        (".bz2", bz2.compress),
        (".xz", lzma.compress),
        (".zip", lambda content: zipped(**{"x.csv": content, "__MACOSX/x.csv": "junk"})),
    ],
)
def test_compressed_files_are_read(ending, pack, tmp_path):
    content = b"a,b\n1.5,2\n3,4\n"
    assert rows(table(pack(content), f".csv{ending}")) == [[1.5, 2], [3, 4]]
    path = tmp_path / f"x.csv{ending}"
    path.write_bytes(pack(content))
    assert load(path).columns == ("a", "b")


def test_zstandard_is_read_or_what_to_install_is_said():
    try:
        import zstandard
    except ImportError:
        assert refuses(UsageError, ["aevb[zstd]"], table, b"x", ".csv.zst")
        return
    assert rows(table(zstandard.compress(b"a,b\n1,2\n"), ".csv.zst")) == [[1, 2]]
    assert refuses(DataError, ["damaged"], table, b"x", ".csv.zst")


ASKED = {
    "a;b\n1.239;2\n3.100;4\n": ({"decimal": ","}, [1239, 3100], {"decimal": "."}, [1.239, 3.1]),
    'a,b\n"1,239",2\n"3,100",4\n': ({"decimal": ","}, [1.239, 3.1], {"decimal": "."}, [1239, 3100]),
}


@pytest.mark.parametrize("text", ASKED)
def test_marks_that_may_mean_two_things_are_asked_for(text):
    first, one, second, two = ASKED[text]
    message = refuses(AmbiguousError, ["column 'a'", "--decimal"], table, text)
    assert message.startswith("standard input: ")
    assert table(text, **first).frame.a.tolist() == one
    assert table(text, **second).frame.a.tolist() == two


def test_the_order_of_a_date_is_asked_for_unless_another_column_tells_it():
    text = "d,e\n11/12/2020,{}/02/2020\n01/02/2020,01/02/2020\n"
    assert refuses(AmbiguousError, ["column 'd'", "date:%d/%m/%Y"], table, text.format("09"))
    assert table(text.format(13)).frame.d.dt.day.tolist() == [11, 1]
    form = Written(date="%m/%d/%Y")
    told = table(text.format("09"), like={"d": form, "e": form})
    assert told.frame.d.dt.day.tolist() == [12, 2]
    assert table(text.format("09"), as_text=["d", "e"]).frame.d.tolist()[0] == "11/12/2020"


def test_new_rows_must_be_written_as_the_old_ones_were():
    like = {"d": Written(date="%d.%m.%Y"), "p": Written(decimal=","), "q": Written()}
    found = table("d;p;q\n01.02.2020;1,5;2.5\n", like=like)
    assert (found.frame.d.dt.month[0], found.frame.p[0], found.frame.q[0]) == (2, 1.5, 2.5)
    says = ["column 'd'", "dates written 31.12.2020", "'2020-01-03'", "row 2"]
    text = "d;p\n01.02.2020;1,5\n2020-01-03;2\n"
    assert refuses(DataError, says, table, text, like=like)
    assert refuses(DataError, ["decimal ','", "'1.5'"], table, "p\n1.5\n", like=like)


def test_a_late_row_decides_a_column_that_is_read_in_parts():
    """pandas reads a large file in parts, and would make numbers of the first ones."""
    text = "a,b\n" + "5,7\n" * 300_000 + "x,007\n"
    found = table(text)
    assert found.frame.a.tolist() == ["5"] * 300_000 + ["x"]
    assert found.frame.b.tolist()[-2:] == ["7", "007"]
    assert "300000 numbers and 1 other cell, the first 'x' at row 300001" in found.reasons["a"]


def test_zeros_in_front_are_found_across_the_parts_of_a_file(monkeypatch):
    monkeypatch.setattr("aevb.datasets.tabular.delimited.CHUNK", 8)
    for text in ("a,b\n1,2\n10,07", "a,b\n01,2\n10,7\n", "a,b\n1,2\n100000,000012\n"):
        assert "with zeros in front" in " ".join(table(text).reasons.values())
    assert table("a,b\n1.05,10:05\n100,20:07\n").frame.a.tolist() == [1.05, 100]


def test_parquet_of_every_type(tmp_path):
    pytest.importorskip("pyarrow")
    import decimal

    path = tmp_path / "x.parquet"
    frame = pd.DataFrame(
        {
            "id": pd.array([1157567399403462677, None], dtype="Int64"),
            "price": [decimal.Decimal("1.5"), None],
            "day": [pd.Timestamp("2020-02-01").date(), None],
            "berlin": pd.to_datetime(["2020-02-01", None]).tz_localize("Europe/Berlin"),
            "lasts": pd.to_timedelta(["1 min", None]),
            "digits": ["007", None],
            "iso": ["2020-02-01", None],
            "flag": pd.array([True, None], dtype="boolean"),
            "grade": pd.Categorical(["a", None]),
        }
    )
    frame.set_index("id").to_parquet(path)
    found = read_table(path)
    assert [str(d) for d in found.frame.dtypes[["id", "flag", "grade"]]] == [
        "Int64", "boolean", "category"
    ]  # fmt: skip
    day = pd.Timestamp("2020-02-01")
    assert rows(found)[0] == [1157567399403462677, 1.5, day, day, 60, "007", day, True, "a"]
    assert rows(found)[1] == [None] * 9
    notes = " ".join(found.notes)
    assert [word in notes for word in ("index", "Europe/Berlin", "seconds")] == [True] * 3
    for nested in ([[1.0]], [{"a": 1}], [b"x"]):
        pd.DataFrame({"n": nested}).to_parquet(path)
        assert refuses(DataError, ["column 'n' holds"], read_table, path)


def test_excel_is_read_or_what_to_install_is_said(tmp_path):
    path = tmp_path / "x.xlsx"
    try:
        import openpyxl
    except ImportError:
        path.write_bytes(b"PK")
        assert refuses(UsageError, ["aevb[excel]"], read_table, path)
        return
    book = openpyxl.Workbook()
    for row in (["a", "d", "z"], [1, pd.Timestamp("2020-02-01"), "007"], ["NA", None, "1"]):
        book.active.append(row)
    book.create_sheet("more")
    book.save(path)
    found = read_table(path)
    assert rows(found) == [[1, pd.Timestamp("2020-02-01"), "007"], [None, None, "1"]]
    assert "first of its 2 sheets" in found.notes[0]
    path.write_bytes(b"PK")
    assert refuses(DataError, ["damaged"], read_table, path)


def test_parts_are_read_one_after_the_other(tmp_path, monkeypatch):
    (tmp_path / "parts").mkdir()
    monkeypatch.chdir(tmp_path)
    texts = {"b": "code,d\n7,01/02/2020\n", "a": "code,d\n007,13/02/2020\n"}
    for name, text in texts.items():
        Path(f"parts/{name}.csv").write_text(text)
    found = read_tables([Path("parts/a.csv"), Path("parts/b.csv")], "parts")
    assert found.frame.code.tolist() == ["007", "7"]
    assert found.frame.d.dt.day.tolist() == [13, 1]
    assert "2 files" in found.notes[0]
    for name in "ab":
        Path(f"parts/{name}.csv").write_text(f"x,y\n{ord(name)},{len(name)}.5\n1,2\n")
    for source in ("parts", "parts/*.csv"):
        assert len(load(source)) == 4
        assert "2 files were read" in load(source).notes[0]
    Path("parts/c.csv").write_text("x,z\n1,2\n")
    assert refuses(DataError, ["a.csv and parts/c.csv", "'z'"], load, "parts")


def test_standard_input_is_a_table(monkeypatch):
    def given(content):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(content)))
        return load("-")

    assert given(b"a,b\n1.5,2\n3,4\n").columns == ("a", "b")
    assert given(b'[{"a": 1.5}, {"a": 2}]').columns == ("a",)
    assert refuses(DataError, ["standard input is empty"], given, b"")


def test_what_is_not_read_says_what_to_do(tmp_path):
    (tmp_path / "x.xls").write_bytes(b"x")
    assert refuses(DataError, ["x.xls", "to_csv"], load, tmp_path / "x.xls")
    address = "https://example.com/a b.csv?x=1"
    assert refuses(UsageError, ["curl -L -o 'a b.csv'", f"'{address}'"], load, address)


FRAME = pd.DataFrame(
    {
        "day": pd.to_datetime(["2020-12-31", None]),
        "price": [1234.5, -2.25],
        "flag": [True, False],
        "name": ["a;b\nc", None],
        "n": pd.array([10**18 + 1, None], dtype="Int64"),
    }
)
FORMS = {
    "day": Written(date="%d.%m.%Y", missing="NA"),
    "price": Written(decimal=",", thousands=".", after=" €"),
    "flag": Written(words=("no", "yes")),
}


@pytest.mark.parametrize("name", ["x.csv", "x.tsv", "x.jsonl", "x.json", "x.parquet", "x.feather"])
def test_a_table_that_is_written_is_read_again(name, tmp_path):
    if name in ("x.parquet", "x.feather"):
        pytest.importorskip("pyarrow")
    path = tmp_path / name
    write_table(FRAME, FORMS, path)
    found = read_table(path)
    assert rows(found) == rows(found._replace(frame=FRAME))
    if name == "x.csv":
        assert path.read_text().splitlines()[:2] == [
            "day;price;flag;name;n", '31.12.2020;1.234,5 €;yes;"a;b'
        ]  # fmt: skip
        assert found.written["price"] == FORMS["price"]
    assert refuses(OutputExistsError, [name], write_table, FRAME, FORMS, path)
    assert refuses(UsageError, ["x.doc"], write_table, FRAME, FORMS, tmp_path / "x.doc")


NAMES = st.lists(
    st.text("abcXY_ ü;\"',", min_size=1, max_size=5).map(str.strip).filter(bool),
    min_size=2,
    max_size=4,
    unique=True,
).filter(lambda names: not any(name.isdigit() for name in names))


@settings(deadline=None, max_examples=15)
@given(NAMES, st.data(), st.sampled_from(",;\t|"), st.sampled_from(["\n", "\r\n"]))
def test_what_pandas_writes_is_read_with_every_delimiter(names, data, delimiter, end):
    size = data.draw(st.integers(1, 5))
    frame = pd.DataFrame(
        {
            name: data.draw(
                st.lists(st.integers(-(2**63), 2**63 - 1), min_size=size, max_size=size)
            )
            for name in names
        }
    )
    content = frame.to_csv(index=False, sep=delimiter, lineterminator=end)
    found = table(content)
    assert list(found.frame.columns) == names
    assert rows(found) == frame.to_numpy().tolist()


def test_a_header_is_told_from_a_row():
    random = np.random.default_rng(0)
    for _ in range(200):
        body = random.normal(size=(4, 3)).round(3).astype(str).tolist()
        assert has_header([["a", "b", "c"], *body])[0]
        assert not has_header(body)[0]
        assert has_header([["2019", "2020", "2021"], *body])[0]
        integers = random.integers(0, 100, (5, 4)).astype(str).tolist()
        assert not has_header(integers)[0] or _steps(integers[0])


def _steps(cells):
    return len(set(np.diff([int(cell) for cell in cells]))) == 1


def test_the_delimiter_is_told_by_all_lines():
    for text, wanted in [
        ("a,b;c\n1,5;2\n1,7;3\n", ";"),
        ("a\tb\nx,y\tz,t\n", "\t"),
        ('"a,b";c\n"1,2";3\n', ";"),
        ("a|b,c\n1|2\n", "|"),
    ]:
        content = text.encode()
        assert delimited(lambda c=content: io.BytesIO(c), ".csv", "it").delimiter == wanted


def test_json_lines_and_numbers_keep_every_digit():
    numbers = [2**64 - 1, 2**63, 0]
    found = table(json.dumps([{"a": number} for number in numbers]), ".json")
    assert found.frame.a.tolist() == numbers
