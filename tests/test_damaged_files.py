"""Damaged files of which ``tests/fuzz_files.py`` found one that was not refused in one sentence."""

import io
import json
import lzma
import os
import re
import shlex
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mutants import zipped
from PIL import Image

from aevb.datasets import load
from aevb.datasets.damage import short
from aevb.datasets.planning import plan
from aevb.errors import DataError, UsageError

TEXT = b"a,b\n" + b"".join(b"%d.5,x%d\n" % (i, i % 3) for i in range(40))
LONG = "How often, in a usual week? " * 30


def refused(name, content, kind=DataError, likelihood="auto"):
    """The message with which a file is refused, which is one line of a few hundred letters."""
    Path(name).write_bytes(content)
    with pytest.raises(kind) as caught:
        plan(load(name), likelihood)
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) <= 600
    return message


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_damaged_xz():
    packed = lzma.compress(TEXT)
    assert "damaged or cut short" in refused("t.csv.xz", packed[:40] + b"!" + packed[41:])


def test_excel_without_xml():
    assert "damaged" in refused("t.xlsx", zipped({"[Content_Types].xml": b"&"}))


def test_offsets_of_arrow_out_of_order():
    """pyarrow would read outside of its memory, and the process would end."""
    file = io.BytesIO()
    words = [f"word-{i}" for i in range(40)]
    pd.DataFrame({"word": words, "x": np.arange(40.0)}).to_feather(file, compression="uncompressed")
    offsets = np.cumsum([0, *map(len, words)]).astype("<i8").tobytes()
    narrow = np.cumsum([0, *map(len, words)]).astype("<i4").tobytes()
    content = file.getvalue()
    step = 8 if offsets in content else 4
    place = content.index(offsets if step == 8 else narrow) + 7 * step
    broken = content[:place] + (2**30).to_bytes(step, "little") + content[place + step :]
    assert "damaged" in refused("t.feather", broken)


def test_damaged_parquet_has_no_control_characters():
    """Arrow says "don't know what type: \\x0e" of this header of a page."""
    file = io.BytesIO()
    pd.DataFrame({"a": np.arange(40.0)}).to_parquet(file)
    for place in range(4, 12):
        content = bytearray(file.getvalue())
        content[place] = 0x0E
        refused("t.parquet", bytes(content))


def test_libtiff_does_not_write_on_stderr(capfd):
    Path("f").mkdir()
    for i, packing in enumerate(["tiff_lzw", "tiff_adobe_deflate"] * 2):
        file = io.BytesIO()
        pixels = np.arange(72, dtype=np.uint8).reshape(9, 8)
        Image.fromarray(pixels).save(file, "tiff", compression=packing)
        content = file.getvalue()
        Path(f"f/{i}.tif").write_bytes(content[:9] + b"\xff" * 30 + content[39:])
    with pytest.raises(DataError, match="damaged"):
        load("f")
    assert capfd.readouterr().err == ""
    os.write(2, b"still there")
    assert capfd.readouterr().err == "still there"


def test_many_reasons_not_to_use_files():
    Path("f").mkdir()
    for i in range(9):
        Image.new("L", (3, 3), i).save(f"f/{i}.png")
    content = Path("f/0.png").read_bytes()
    Path("f/link.png").symlink_to("nothing")
    for name in (".hidden", "notes.txt", "a.heic", "empty.png"):
        Path(f"f/{name}").touch()
    Path("f/text.png").write_bytes(b"text")
    Path("f/cut.png").write_bytes(content[:40])
    assert load("f").notes[0].endswith(", 1 for other reasons.")


@pytest.mark.parametrize("place", [0, 4, 200])
def test_cell_of_megabytes(place):
    message = refused("t.csv", TEXT[:place] + b"x" * 200_000 + TEXT[place:])
    assert "131072 letters" in message


def test_row_that_differs_behind_a_cell_of_megabytes():
    content = TEXT + TEXT[4:] * 5000 + b"1," + b"x" * 200_000 + b"\n1,2,3\n"
    assert "131072 letters" in refused("t.csv", content)


def test_name_of_megabytes():
    """Each row of numpy's text would take as much memory as the longest."""
    names = [f"name-{i}" for i in range(4000)]
    names[7] *= 10_000
    frame = pd.DataFrame({"id": names, "x": np.arange(4000.0) ** 1.5})
    frame.to_parquet("t.parquet")
    data = load("t.parquet")
    assert data.names_of == "id"
    assert data.names.itemsize < 1000
    assert data.names[:3].tolist() == names[:3]
    assert data.names[7].startswith("name-7name-7")
    assert data.names[7].endswith("...")


@pytest.mark.parametrize("name", [LONG, "\x1b[31mred\x1b[0m", "\u202e", "a\nb", "per week", "it's"])
def test_options_for_columns_with_odd_names(name):
    """What the message says to type names the column, or says NAME where it cannot be typed."""
    frame = pd.DataFrame({name: list("abcd") * 10, "x": np.arange(40.0) ** 1.5})
    message = refused("t.csv", frame.to_csv(index=False).encode(), likelihood="gaussian")
    words = shlex.split(message.partition("leave the column out with ")[2].removesuffix("."))
    option = words[words.index("--column") + 1]
    found = option.rpartition("=")[0]
    assert found == (name if name in ("per week", "it's") else "NAME")
    if found == name:
        assert plan(load("t.csv", columns={found: "ignore"}), "gaussian").schema.columns == ("x",)


@pytest.mark.parametrize("name", ["n" * 5000, "\x1b[31mred", "two words"])
def test_arrays_with_odd_names(name):
    np.savez("t.npz", **{name: np.ones((3, 2)), "b": np.ones((2, 2))})
    with pytest.raises(UsageError) as caught:
        load("t.npz")
    message = str(caught.value)
    assert message.isprintable()
    assert len(message) < 400
    named = shlex.split(message.partition("name one: ")[2])[0]
    assert named == (f"t.npz:{name}" if name == "two words" else "t.npz:NAME")


def test_names_that_are_long_or_odd_in_json():
    for name in ("n" * 100_000, "\x1b[31mred"):
        refused("t.json", json.dumps([{name: [1]}]).encode())
        refused("t.jsonl", b'{"%s": 1, "%s": 2}\n' % ((name[:9].encode(),) * 2))


def test_messages_are_one_line_whatever_they_hold():
    assert str(DataError("a\nb\x1b")) == "a\\nb\\x1b"
    assert len(str(DataError("x" * 10**6))) < 2100
    assert short("x" * 10**7) == "x" * 197 + "..."


def test_warnings_of_openpyxl_are_not_printed(recwarn):
    file = io.BytesIO()
    pd.DataFrame({"a": np.arange(40.0) ** 1.5}).to_excel(file, index=False)
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    odd = b'<definedNames><definedName name="_xlnm.Print_Area" localSheetId="5">?</definedName>'
    book = re.sub(rb"<definedNames ?/>", odd + b"</definedNames>", members["xl/workbook.xml"])
    assert odd in book
    Path("t.xlsx").write_bytes(zipped(members | {"xl/workbook.xml": book}))
    assert load("t.xlsx").columns == ("a",)
    assert not recwarn.list


def test_sparse_matrix_whose_format_is_a_number():
    np.savez("t.npz", format=np.float64(1), shape=(3, 4), data=np.ones(2))
    with pytest.raises(DataError, match="damaged"):
        load("t.npz")
