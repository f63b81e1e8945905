"""Filled tables in files: every other cell keeps its letters."""

import gzip
import re

import numpy as np
import pandas as pd
import pytest

from aevb.datasets.asked.filling import filled_frame, versions_frame, write_filled
from aevb.datasets.readers import table_like
from aevb.datasets.schema import Schema
from aevb.datasets.tabular.frames import data_like, data_of_frame
from aevb.datasets.tabular.tables import read_table
from aevb.errors import DataError, OutputExistsError

TEXTS = {
    "plain.csv": "a,b,c\n1,u,2.50\n,v,3.125\n3,,0.5\n",
    "quoted.csv": 'a,b,c\n"1","u, w",2.50\n"","v",3.125\n3,"",00.5\n',
    "blanks.csv": "a, b, c\n1, u , 2.50\n ?, v, +3.125\n3, NA,1e1\n",
    "dos.csv": "a,b,c\r\n1,u,2.5\r\n,v,3.1\r\n3,,1.5",
    "german.csv": "a;b;c\n1;u;2,50\n;v;3,125\n3;;0,5\n",
    "tabs.tsv": "a\tb\tc\n1\tu\t2.5\n\tv\t3\n3\t\t7.25\n",
    "lines.csv": 'a,b,c\n1,"u\nu",2.5\n,v,3.1\n\n3,,1.5\n\n',
    "extra.csv": "a,b,note,c\n1,u,x,2.50\n,v,,3.125\n3,,y,0.5\n",
}


def filled(name, text, tmp_path, values=((1, 0, 2.5), (2, 1, 3.0), (3, 0, 1.5)), out=None, m=1):
    """Write a file, fill it with codes, and return what was written."""
    path = tmp_path / name
    data = text if isinstance(text, bytes) else text.encode()
    path.write_bytes(data)
    raw = read_table(path)
    table = data_of_frame(raw.frame, name, written=raw.written, columns=kinds(raw.frame)).table
    schema = Schema("real", (3,), "float64", (0.0,), (1.0,), table=table)
    raw = table_like(str(path), schema)
    codes = np.asarray(data_like(raw.frame, name, table).rows)
    missing = np.isnan(codes)
    full = np.stack([np.where(missing, np.array(values, float), codes)] * m)
    result = tmp_path / (out or f"full{path.suffix}")
    write_filled(path, raw.frame, table, full, missing, result, numbered=m > 1)
    return result.read_bytes()


def kinds(frame):
    given = {"a": "integer", "b": "category", "c": "real", "note": "ignore"}
    return {name: given[name] for name in frame.columns}


@pytest.mark.parametrize("name", TEXTS)
def test_only_the_missing_cells_of_a_text_change(name, tmp_path):
    text = TEXTS[name]
    result = filled(name, text, tmp_path).decode()
    first = "u\nu" if name == "lines.csv" else "u, w" if name == "quoted.csv" else "u"
    quoted = f'"{first}"' if name in ("lines.csv", "quoted.csv") else first
    number = '"2"' if name == "quoted.csv" else "2"
    lines = {
        "plain.csv": ("\n,v", f"\n{number},v", "3,,", f"3,{quoted},"),
        "quoted.csv": ('\n"",', f"\n{number},", '3,"",', f"3,{quoted},"),
        "blanks.csv": (" ?,", " 2,", "3, NA,", "3, u,"),
        "dos.csv": ("\n,v", "\n2,v", "3,,", "3,u,"),
        "german.csv": ("\n;v", "\n2;v", "3;;", "3;u;"),
        "tabs.tsv": ("\n\tv", "\n2\tv", "3\t\t", "3\tu\t"),
        "lines.csv": ("\n,v", "\n2,v", "3,,", f"3,{quoted},"),
        "extra.csv": ("\n,v", "\n2,v", "3,,", "3,u,"),
    }[name]
    assert result == text.replace(*lines[:2]).replace(*lines[2:])


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "latin-1"])
def test_the_encoding_of_a_text_is_kept(encoding, tmp_path):
    text = "a,b,c\n1,ü,2.5\n,v,3.1\n3,,1.5\n2,ü,1.25\n"
    result = filled(
        "it.csv", text.encode(encoding), tmp_path, ((1, 1, 0), (2, 0, 0), (3, 1, 0), (0, 0, 0))
    )
    assert result.decode(encoding) == text.replace("\n,v", "\n2,v").replace("3,,", "3,ü,")


def test_a_compressed_file_is_filled(tmp_path):
    packed = gzip.compress(TEXTS["plain.csv"].encode())
    result = filled("plain.csv.gz", packed, tmp_path, out="full.csv").decode()
    assert result == TEXTS["plain.csv"].replace("\n,v", "\n2,v").replace("3,,", "3,u,")


def test_versions_stand_one_after_the_other(tmp_path):
    result = filled("plain.csv", TEXTS["plain.csv"], tmp_path, m=2).decode()
    rows = ["1,u,2.50", "2,v,3.125", "3,u,0.5"]
    numbered = [f"{m},{i + 1},{row}" for m in (1, 2) for i, row in enumerate(rows)]
    assert result.splitlines() == [".imp,.id,a,b,c", *numbered]


def test_a_file_of_another_ending_is_written_as_a_table(tmp_path):
    filled("plain.csv", TEXTS["plain.csv"], tmp_path, out="full.parquet")
    frame = pd.read_parquet(tmp_path / "full.parquet")
    assert frame.a.tolist() == [1, 2, 3]
    assert frame.b.tolist() == ["u", "v", "u"]


def test_nothing_is_overwritten(tmp_path):
    (tmp_path / "full.parquet").write_text("mine")
    with pytest.raises(OutputExistsError):
        filled("plain.csv", TEXTS["plain.csv"], tmp_path, out="full.parquet")
    assert (tmp_path / "full.parquet").read_text() == "mine"


def test_frames_keep_their_types():
    frame = pd.DataFrame(
        {
            "n": pd.array([1, None, 3], "Int64"),
            "f": [0.5, None, 2.25],
            "c": pd.Categorical(["u", None, "v"]),
            "s": ["p", None, "q"],
            "t": pd.to_datetime(["2020-01-01", None, "2020-01-05"]),
            "b": pd.array([True, None, False], "boolean"),
        }
    )
    kinds = {"n": "integer", "f": "real", "c": "category", "s": "category", "t": "date"}
    table = data_of_frame(frame, "it", columns=kinds).table
    codes = table.encode(frame, "it")
    missing = np.isnan(codes)
    full = filled_frame(frame, table, np.where(missing, 1.0, codes), missing)
    assert full.dtypes.equals(frame.dtypes)
    filled_in = full.iloc[1].astype(str).tolist()
    assert filled_in == ["1", "1.0", "v", "q", "2020-01-05 00:00:00", "True"]
    assert full.iloc[[0, 2]].equals(frame.iloc[[0, 2]])
    assert re.fullmatch(r"\.imp", versions_frame([full, full]).columns[0])


def test_a_letter_that_the_encoding_lacks_is_refused(tmp_path, monkeypatch):
    from aevb.datasets.asked import filling

    monkeypatch.setattr(filling, "write", lambda cells, _: ["\u0142"] * len(cells))
    with pytest.raises(DataError, match="cannot write; save the file as UTF-8"):
        filled("it.csv", "a,b,c\n1,\xfc,2.5\n,v,3\n3,,1\n".encode("latin-1"), tmp_path)
    assert not (tmp_path / "full.csv").exists()
