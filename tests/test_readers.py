"""The user's files: every format is read as written, and anything else is refused."""

import gzip
import io
import struct
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
from helpers import idx, into, numbers, refuses
from PIL import Image

from aevb.datasets import load
from aevb.datasets.kinds import with_kind
from aevb.datasets.planning import plan
from aevb.errors import DataError, NotFoundError, UsageError


@pytest.fixture
def put(tmp_path):
    def write(name, content):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(path)

    return write


def npy_header(descr="<f8", shape=(4,), extra=""):
    text = (repr({"descr": descr, "fortran_order": False, "shape": shape}) + extra).encode()
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text) + 1) + text + b"\n" + bytes(range(32))


def zipped(**members):
    with zipfile.ZipFile(file := io.BytesIO(), "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return file.getvalue()


ARRAYS = ["f8 6", "f4 6,3", "u1 6,4,5", "f2 6,2", "? 6,3", ">f4 6,2", ">i2 6", "i8 6,2,2,3"]


@pytest.mark.parametrize("form", ARRAYS)
def test_arrays_are_read_as_they_were_saved(put, form):
    dtype, shape = form.split()
    array = numbers(dtype, tuple(map(int, shape.split(","))))
    several = put("several.npz", into(np.savez_compressed, a=array[::-1], b=array))
    for source in (
        put("x.npy", into(np.save, array)),
        put("one.npz", into(np.savez, only=array)),
        f"{several}:b",
    ):
        data = load(source)
        assert data.rows.dtype == array.dtype
        assert np.array_equal(data.rows, array.reshape(6, *(array.shape[1:] or (1,))))
        schema = plan(with_kind(data, "pictures" if array.ndim > 2 else "table")).schema
        assert np.allclose(schema.to_data(schema.to_model(data)), data.rows, atol=1e-5)
    assert refuses(UsageError, ["2 arrays (a: 6", f"{several}:a"], load, several)
    assert refuses(NotFoundError, ["holds a, b", "'c'"], load, f"{several}:c")


TABLES = {
    "pandas' own header.csv": ("0,1\n1,2\n3,4.5\n", "0 1"),
    "an index.csv": (",a,b\n0,1,2\n1,3,4.5\n", "a b"),
    "no index.csv": (",b\n1,2\n3,4.5\n", "Unnamed:_0 b"),
    "blanks.txt": ("1.0 2.0\n  3e0   4.5\n", "column_1 column_2"),
    "header.csv": ("a,b\n1,2\n3,4.5\n", "a b"),
    "none.csv": ("1,2\n3,4.5\n", "column_1 column_2"),
    "semicolons.csv": ("a;b\n1;2\n3;4.5", "a b"),
    "tabs.tsv": ("a\tb\n1\t2\n3\t4.5\n", "a b"),
    "bars.txt": ("1|2\n3|4.5\n", "column_1 column_2"),
    "byte order mark.csv": ("\ufeffa,b\r\n1,2\r\n3,4.5\r\n", "a b"),
    "byte order mark, none.csv": ("\ufeff1,2\n3,4.5\n", "column_1 column_2"),
    "quotes.csv": ('"a","b"\n"1","2"\n"3","4.5"\n', "a b"),
    "quotes, none.csv": ('"1","2"\n"3","4.5"\n', "column_1 column_2"),
    "spaces.csv": ("a, b\n 1, 2\n3, 4.5\n\n", "a b"),
    "spellings.csv": ("1.,+2e0\n30e-1,4.50\n", "column_1 column_2"),
}


@pytest.mark.parametrize("name", TABLES)
def test_tables(put, name):
    text, columns = TABLES[name]
    data = load(put(name, text))
    assert data.rows.tolist() == [[1, 2], [3, 4.5]]
    assert data.columns == tuple(name.replace("_0", " 0") for name in columns.split())


def test_parquet(put, tmp_path):
    pytest.importorskip("pyarrow", reason="reading .parquet needs the extra 'parquet'")
    import pandas as pd

    pd.DataFrame({"a": [1, 3], "b": [2.0, 4.5]}).to_parquet(tmp_path / "x.parquet")
    whole = (tmp_path / "x.parquet").read_bytes()
    assert load(tmp_path / "x.parquet").rows.tolist() == [[1, 2], [3, 4.5]]
    assert load(tmp_path / "x.parquet").columns == ("a", "b")
    for damaged in (b"hello", *(whole[:length] for length in range(1, len(whole), 7))):
        path = put("y.parquet", damaged)
        assert refuses(DataError, [path], load, path)


def test_parquet_without_pyarrow_says_what_to_install(put, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    assert refuses(UsageError, ["pip install 'aevb[parquet]'"], load, put("x.parquet", "PAR1"))


@pytest.mark.parametrize(
    ("code", "dtype"),
    [(8, "u1"), (9, "i1"), (0x0B, ">i2"), (0x0C, ">i4"), (0x0D, ">f4"), (0x0E, ">f8")],
)
def test_idx_files_of_every_type(put, code, dtype):
    array = (numbers(int, (4, 2, 3)) - (code != 8)).astype(dtype)
    content = idx(code, array.shape, array.tobytes())
    for source in (
        put("x.idx", content),
        put("x.gz", gzip.compress(content)),
        put("x-idx3-ubyte", content),
    ):
        assert np.array_equal(load(source).rows, array)


P = (10 * np.arange(24)).astype(np.uint8).reshape(4, 6)
SEE_THROUGH = np.where(P % 20 == 0, 0, 255).astype(np.uint8)
ON_WHITE = np.where(SEE_THROUGH == 0, 255, P)
COLOUR, COLOUR_ON_WHITE = np.stack([P, P // 2, 255 - P], 2), np.stack([ON_WHITE] * 3, 2)
UPSIDE_DOWN = Image.Exif()
UPSIDE_DOWN[0x0112] = 6
PICTURES = {  # picture, how it is saved -> rows
    "grey": (Image.fromarray(P), {}, P),
    "16 bits": (Image.fromarray(P.astype(np.uint16) * 257), {}, P.astype(np.uint16) * 257),
    "one bit": (Image.fromarray(P > 100), {}, np.where(P > 100, 255, 0)),
    "colour": (Image.fromarray(COLOUR), {}, COLOUR),
    "palette": (Image.fromarray(COLOUR).quantize(256), {}, COLOUR),
    "grey palette": (Image.fromarray(P).convert("P"), {}, P),
    "transparent grey": (Image.fromarray(np.stack([P, SEE_THROUGH], 2)), {}, ON_WHITE),
    "transparent colour": (Image.fromarray(np.dstack([COLOUR, SEE_THROUGH])), {}, None),
    "transparent palette": (
        Image.fromarray(P).convert("P"),
        {"transparency": 0},
        np.where(P == 0, 255, P),
    ),
    "turned camera": (Image.fromarray(P), {"exif": UPSIDE_DOWN}, np.rot90(P, -1)),
}


@pytest.mark.parametrize("name", PICTURES)
def test_pictures_of_every_mode(put, tmp_path, name):
    picture, options, rows = PICTURES[name]
    rows = np.where(SEE_THROUGH[..., None] == 0, 255, COLOUR) if rows is None else rows
    put("a.png", into(picture.save, format="PNG", **options))
    assert np.array_equal(load(tmp_path).rows, rows[None])
    assert load(tmp_path, grey=True).shape == rows.shape[:2]
    assert load(tmp_path, grey=False).shape == (*rows.shape[:2], 3)


def test_a_folder_is_read_in_the_order_of_names_with_its_subfolders_and_nothing_else(put, tmp_path):
    for name, value in [("b/2.PNG", 20), ("a.png", 10), ("b/10.png", 30), ("c.jpeg", 40)]:
        put(
            name,
            into(Image.new("L", (3, 2), value).save, format="JPEG" if name == "c.jpeg" else "PNG"),
        )
    for name in ("notes.txt", "Thumbs.db", "z.gif", "folder.png/readme"):
        put(name, "no picture")
    data = load(tmp_path)
    assert data.rows[:, 0, 0].tolist() == [10, 30, 20, 40]
    assert (data.shape, data.white, data.grey) == ((2, 3), 255.0, True)


def test_pictures_of_several_sizes_need_resize_which_crops_about_the_centre(put, tmp_path):
    wide = np.full((4, 10), 200, np.uint8)
    wide[:, :3] = wide[:, -3:] = 0
    put("tall.png", into(Image.fromarray(wide.T.copy()).save, format="PNG"))
    for name in "ab":
        put(f"{name}.png", into(Image.fromarray(wide).save, format="PNG"))
    assert refuses(DataError, ["2 of 4x10", "1 of 10x4", "--resize"], load, tmp_path)
    assert (load(tmp_path, resize=(4, 4)).rows == 200).all()
    assert load(tmp_path, resize=(5, 7)).shape == (5, 7)


def harm(marker):
    """An array that creates the file ``marker`` when it is unpickled."""

    class Harm:
        def __reduce__(self):
            return (Path.touch, (marker,))

    return np.array([Harm(), Harm()], dtype=object)


@pytest.mark.parametrize(("name", "save"), [("x.npy", np.save), ("x.npz", np.savez)])
def test_objects_are_never_unpickled(put, tmp_path, name, save):
    marker = tmp_path / "marker"
    content = into(save, harm(marker))
    opened = np.load(io.BytesIO(content), allow_pickle=True)
    _ = opened if name == "x.npy" else opened["arr_0"]
    assert marker.exists()  # so that its absence below means something
    marker.unlink()
    assert refuses(DataError, ["Python objects", "Save plain numbers"], load, put(name, content))
    assert not marker.exists()


ONE = into(np.savez, a=np.eye(3))
LOCKED = bytearray(ONE)  # as if encrypted: a flag in the member's own header and in the directory
LOCKED[6] |= 1
LOCKED[LOCKED.index(b"PK\x01\x02") + 8] |= 1
NOT_FINITE = np.ones((4, 3))
NOT_FINITE[1, 2], NOT_FINITE[3] = np.nan, [np.inf, 1, -np.inf]
MOST = 2**32 - 1
BAD = {
    "empty.csv": ("", ["empty", "0 bytes"]),
    "header only.csv": ("a,b\n", ["empty", "0 rows and 2 columns"]),
    "blank.csv": ("\n\n", ["not a table"]),
    "one long row.csv": ("a,b\n1,2\n3,4,5\n", ["line 3"]),
    "all rows long.csv": ("a,b\n1,2,3\n4,5,6\n", ["not a table"]),
    "short row.csv": ("a,b\n1,2\n3\n", ["row 2 (line 3) has 1 cells", "has 2"]),
    "infinite.csv": ("a,b\n1,2\n-inf,3\n", ["a finite number", "row 2", "'a'", "1 such"]),
    "quote.csv": ('a,b\n1,"2\n', ["not a table"]),
    "nul.csv": (b"a,b\n1,\x002\n", ["NUL", "byte 6", "UTF-8"]),
    "not finite.npy": (
        into(np.save, NOT_FINITE),
        ["1 missing (NaN) and 2 infinite of 12", "index [1, 2]"],
    ),
    "one number.npy": (into(np.save, 3.0), ["single number", "one row per example"]),
    "no rows.npy": (into(np.save, np.empty((0, 3))), ["empty", "(0, 3)"]),
    "complex.npy": (into(np.save, np.ones((2, 2), complex)), ["expected numbers", "complex128"]),
    "strings.npy": (into(np.save, np.array(["a", "b"])), ["expected numbers", "<U1"]),
    "too large.npy": (npy_header(shape=(10**15,)), [".npy"]),
    "far too large.npy": (npy_header(shape=(10**30,)), [".npy"]),
    "negative.npy": (npy_header(shape=(-3,)), [".npy"]),
    "axes.npy": (npy_header(shape=(1,) * 65), [".npy"]),
    "boolean shape.npy": (npy_header(shape=(True,)), [".npy"]),
    "open bracket.npy": (npy_header(extra="("), [".npy"]),
    "text.npy": ("1 2 3", ["damaged"]),
    "archive.npy": (ONE, ["damaged"]),
    "array.npz": (into(np.save, np.eye(3)), ["damaged"]),
    "nothing.npz": (zipped(), ["no arrays"]),
    "note.npz": (zipped(note="hello"), ["no arrays"]),
    "mislabelled.npz": (zipped(**{"a.npy": "hello"}), ["damaged"]),
    "locked.npz": (bytes(LOCKED), ["damaged"]),
    "type.idx": (idx(7, (2,), b"ab"), ["00000701"]),
    "no axes.idx": (idx(8, (), b"a"), ["shape ()"]),
    "long.idx": (idx(8, (2,), b"abc"), ["2 bytes", "holds 3"]),
    "too large.idx": (idx(8, (MOST, MOST, MOST), b"a"), [str(MOST**3), "holds 1"]),
    "overflow.idx": (idx(8, (MOST, 0, MOST, MOST), b""), [str(MOST)]),
    "axes.idx": (idx(8, (1,) * 65, b"a"), ["damaged"]),
    "x.xyz": ("hello", ["cannot tell", ".npy", ".csv"]),
    "one.png": (into(Image.new("L", (3, 2)).save, format="PNG"), ["one picture", "folder"]),
    "damaged/2.png": (b"\x89PNG\r\n\x1a\n", ["2.png"]),
    "damaged too/x.gif": ("GIF89a", ["x.gif", "not the content of a picture"]),
    "no pictures/x.heic": ("no picture", ["holds no pictures (PNG", "x.heic"]),
}


@pytest.mark.parametrize("name", BAD)
def test_a_file_that_cannot_be_used_is_refused_by_name(put, name):
    content, says = BAD[name]
    path = put(name, content)
    assert refuses(
        DataError,
        [name.partition("/")[0], *says],
        load,
        path if "/" not in name else Path(path).parent,
    )


CUT = {
    "x.npy": into(np.save, np.eye(3)),
    "x.npz": ONE,
    "y.npz": into(np.savez_compressed, a=np.eye(3)),
    "x.idx": idx(8, (3, 2, 2), bytes(range(12))),
    "x.gz": gzip.compress(idx(8, (3, 2, 2), bytes(range(12)))),
}


@pytest.mark.parametrize("name", CUT)
def test_a_file_cut_short_anywhere_is_refused(put, name):
    for length in range(len(CUT[name])):
        path = put(name, CUT[name][:length])
        assert refuses(DataError, [path], load, path)


def test_a_picture_cut_short_is_refused_by_name_unless_all_its_pixels_are_there(put, tmp_path):
    whole, complete = into(Image.fromarray(P).save, format="PNG"), []
    for length in range(len(whole)):
        put("x.png", whole[:length])
        try:
            assert np.array_equal(load(tmp_path).rows[0], P)
            complete.append(length)
        except DataError:
            assert refuses(DataError, ["x.png"], load, tmp_path)
    assert all(length > len(whole) - 24 for length in complete)  # two checksums and the end mark


def test_bytes_after_the_end_of_an_array_are_refused(put):
    """numpy would leave out the rows beyond a damaged shape without a word."""
    content = into(np.savez, a=np.eye(3))
    for name, whole in [("x.npy", into(np.save, np.eye(3))), ("x.npz", content)]:
        assert refuses(DataError, ["damaged"], load, put(name, whole.replace(b"(3, 3)", b"(2, 3)")))


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("missing.npy", ["'missing.npy'"]),
        ("no/such/folder", ["'no/such/folder'"]),
        ("missing.npz:a", ["missing.npz:a"]),
        ("~nobody/x.npy", ["~nobody/x.npy"]),
        (300 * "x", ["xxx"]),
        ("mnst", ["unknown data set 'mnst'", "Did you mean 'mnist'?", "Nor is there a file"]),
    ],
)
def test_what_is_not_there_is_not_found(name, says):
    assert refuses(NotFoundError, says, load, name)
    assert issubclass(NotFoundError, FileNotFoundError)


def test_the_options_of_pictures_are_refused_for_a_file(put):
    for option in ({"resize": (2, 2)}, {"grey": True}):
        with pytest.raises(UsageError, match=r"are for a folder of pictures; .*x\.npy is a file"):
            load(put("x.npy", into(np.save, np.eye(3))), **option)
