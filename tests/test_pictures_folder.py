"""A folder of pictures: the values read are those stored, and what is not used is said."""

import io
import itertools
import struct
import zlib

import numpy as np
import pytest
from helpers import aevb, into, refuses
from PIL import Image

from aevb import memory
from aevb.datasets import load, load_like
from aevb.datasets.planning import plan
from aevb.datasets.rows import rows_of
from aevb.errors import DataError


@pytest.fixture
def put(tmp_path):
    """Write a file below the test's own folder."""

    def write(name, content):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        return str(path)

    return write


# -------------------------------------------------------------------------------------------------
# truth: what was stored comes back

RANDOM = np.random.default_rng(18)
LOSSLESS = {"png": {}, "tiff": {}, "webp": {"lossless": True, "exact": True}, "bmp": {}, "ppm": {}}
MODES = ("1", "L", "P", "RGB", "RGBA", "LA", "I;16", "I;16B", "I", "F", "CMYK")
WRITES = {  # which modes a format keeps as they are
    "png": ("1", "L", "P", "RGB", "RGBA", "LA", "I;16"),
    "tiff": MODES,
    "webp": ("RGB", "RGBA"),
    "bmp": ("1", "L", "P", "RGB"),
    "ppm": ("1", "L", "RGB", "I;16"),
    "gif": ("1", "L", "P"),
}


def integers(high, *shape, dtype):
    return RANDOM.integers(0, high, shape, endpoint=True).astype(dtype)


def picture_of(mode, height, width):
    """A picture of random values in one mode, and the rows that it must become."""
    shape = (height, width)
    grey = integers(255, *shape, dtype=np.uint8)
    grey[0, :2] = 0, 255
    colour = integers(255, *shape, 3, dtype=np.uint8)
    opacity = integers(255, *shape, dtype=np.uint8)
    if mode == "1":
        return Image.fromarray(grey > 99), np.where(grey > 99, 255, 0)
    if mode == "L":
        return Image.fromarray(grey), grey
    if mode == "P":
        palette = integers(255, 8, 3, dtype=np.uint8)
        picture = Image.fromarray(grey % 8).convert("P")
        picture.putpalette(palette.ravel().tolist())
        return picture, palette[grey % 8]
    if mode == "RGB":
        return Image.fromarray(colour), colour
    if mode in ("RGBA", "LA"):
        below = colour if mode == "RGBA" else grey[..., None]
        a = opacity[..., None] / 255
        row = below * a + 255 * (1 - a)
        return Image.fromarray(np.dstack([below, opacity])), row if mode == "RGBA" else row[..., 0]
    if mode == "I;16":
        values = integers(65535, *shape, dtype=np.uint16)
        return Image.fromarray(values), values
    if mode == "I;16B":
        values = integers(65535, *shape, dtype=np.uint16)
        return Image.frombytes("I;16B", shape[::-1], values.astype(">u2").tobytes()), values
    if mode == "I":
        values = integers(2**31 - 1, *shape, dtype=np.int32)
        return Image.fromarray(values), values
    if mode == "F":
        values = RANDOM.random(shape).astype(np.float32) * 1000
        return Image.fromarray(values), values
    ink = np.dstack([colour, opacity])
    light = (255 - colour.astype(float)) * (255 - opacity[..., None].astype(float)) / 255
    return Image.frombytes("CMYK", shape[::-1], ink.tobytes()), light


def written():
    """About 100 pictures: (name of the file, its content, the rows)."""
    cases = [(ending, mode) for ending, modes in WRITES.items() for mode in modes]
    sizes = [(5, 7), (1, 3), (8, 8), (13, 4)]
    for number, ((ending, mode), size) in enumerate(itertools.product(cases, sizes)):
        picture, rows = picture_of(mode, *size)
        options = LOSSLESS.get(ending, {})
        yield (
            f"{number}_{mode.replace(';', '')}.{ending}",
            into(picture.save, format="TIFF" if ending == "tiff" else ending.upper(), **options),
            rows,
        )


TOLERANCE = {"RGBA": 1, "LA": 1, "CMYK": 1.5}  # blending rounds


def test_the_values_read_are_the_values_stored(put, tmp_path):
    checked = 0
    for name, content, rows in written():
        put(f"{checked}/{name}", content)
        data = load(tmp_path / str(checked))
        mode = name.split("_")[1].split(".")[0]
        assert data.shape == rows.shape, name
        off = np.abs(data.rows[0].astype(float) - rows.astype(float)).max()
        assert off <= TOLERANCE.get(mode, 0), (name, off)
        assert data.rows.dtype == {
            "I16": np.uint16, "I16B": np.uint16, "I": np.uint32, "F": np.float32,
        }.get(mode, np.uint8), name  # fmt: skip
        assert data.white is None or data.white >= data.rows.max()
        checked += 1
    assert checked >= 100


@pytest.mark.parametrize(
    ("most", "white"), [(300, 511), (4095, 4095), (4096, 8191), (200, 255), (65535, 65535)]
)
def test_white_of_16_bits_is_the_smallest_that_no_value_exceeds(put, tmp_path, most, white):
    values = np.linspace(0, most, 12).astype(np.uint16).reshape(3, 4)
    for name in ("a", "b"):
        put(f"{name}.png", into(Image.fromarray(values).save, format="PNG"))
    data = load(tmp_path)
    assert (data.white, data.values, data.rows.dtype) == (white, "grey", np.uint16)
    assert any(f"white is taken to be {white}" in note for note in data.notes) == (
        white not in (255, 65535)
    )


def test_rows_of_16_bits_go_through_the_model_and_back(put, tmp_path):
    values = (4095 * RANDOM.random((6, 3, 4))).astype(np.uint16)
    values[0, 0, 0] = 4095
    for name, each in enumerate(values):
        put(f"{name}.png", into(Image.fromarray(each).save, format="PNG"))
    data = load(tmp_path)
    forms = {"auto": "real", "gaussian": "real", "bernoulli": "unit", "categorical": "levels"}
    for likelihood in ("auto", "bernoulli", "categorical"):
        schema = plan(data, likelihood, form_of=forms.__getitem__).schema
        x = schema.to_model(data)
        assert np.array_equal(x, rows_of(data, schema).head(6).numpy())
        back = schema.to_data(x)
        assert back.dtype == np.uint16
        assert np.array_equal(back, values)
        assert schema.to_data(x + 9).max() == 4095  # clipped at white


def test_a_pgm_of_4095_greys_keeps_them(put, tmp_path):
    values = np.array([[0, 1, 4095], [300, 77, 4000]])
    put("a.pgm", b"P5 3 2 4095\n" + values.astype(">u2").tobytes())
    assert np.array_equal(load(tmp_path).rows[0], values)


def test_pictures_of_16_bits_are_resized_within_their_range(put, tmp_path):
    values = np.zeros((8, 8), np.uint16)
    values[:, 4:] = 4095
    put("a.png", into(Image.fromarray(values).save, format="PNG"))
    data = load(tmp_path, resize=(4, 4))
    assert (data.rows.min(), data.rows.max(), data.white) == (0, 4095, 4095)


def png(width, height, depth, kind, raw):
    """A PNG as its standard describes it; Pillow writes no colours of 16 bits."""

    def chunk(name, content):
        return (
            struct.pack(">I", len(content))
            + name
            + content
            + struct.pack(">I", zlib.crc32(name + content))
        )

    head = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


def test_colours_of_16_bits_are_read_with_8_and_that_is_said(put, tmp_path):
    row = b"\0" + np.array([257 * 9, 0, 65535], ">u2").tobytes()
    put("a.png", png(1, 2, 16, 2, row + row))
    data = load(tmp_path)
    assert data.rows[0, 0, 0].tolist() == [9, 0, 255]
    assert "16 bits for each colour" in data.notes[0]


def test_8_bits_among_16_are_brought_to_16_and_that_is_said(put, tmp_path):
    put("a.png", into(Image.fromarray(np.array([[0, 255]], np.uint8)).save, format="PNG"))
    put("b.png", into(Image.fromarray(np.array([[1, 65535]], np.uint16)).save, format="PNG"))
    data = load(tmp_path)
    assert data.rows.tolist() == [[[0, 65535]], [[1, 65535]]]
    assert data.notes == ("1 of 2 pictures had 8 bits and were brought to 16.",)
    put("b.png", into(Image.fromarray(np.array([[1, 4000]], np.uint16)).save, format="PNG"))
    refuses(DataError, ["1 of 8 bits (a.png)", "1 of 16 bits (b.png)"], load, tmp_path)


def test_more_pictures_are_brought_to_the_depth_of_the_model(put, tmp_path):
    narrow, wide = np.array([[3, 255]], np.uint8), np.array([[771, 65535]], np.uint16)
    for name, values in [("n/a", narrow), ("n/b", 255 - narrow), ("w/a", wide), ("w/b", wide - 9)]:
        put(f"{name}.png", into(Image.fromarray(values).save, format="PNG"))
    schemas = {name: plan(load(tmp_path / name)).schema for name in "nw"}
    for name, values, other in [("n", narrow, "w"), ("w", wide, "n")]:
        data = load_like(tmp_path / other, schemas[name])
        schemas[name].require(data)
        assert np.array_equal(data.rows[0], values)
        assert "brought to the model's" in data.notes[0]
    put("d/a.png", into(Image.fromarray(wide // 64).save, format="PNG"))
    assert load_like(tmp_path / "d", schemas["w"]).white == 65535  # darker, not another scale


@pytest.mark.parametrize(
    ("values", "white", "kind"),
    [([0, 0.25, 1], None, "unit"), ([0, 7, 300], 511, "grey"), ([0, 0.5, 3.7], None, "real")],
)
def test_floats_have_the_white_that_their_range_shows(put, tmp_path, values, white, kind):
    picture = Image.fromarray(np.array([values], np.float32))
    put("a.tif", into(picture.save, format="TIFF"))
    data = load(tmp_path)
    assert (data.rows.dtype, data.white, data.values) == (np.float32, white, kind)
    assert np.array_equal(data.rows[0, 0], np.float32(values))
    assert "hold floats" in data.notes[0]


# -------------------------------------------------------------------------------------------------
# what is not used is said


def noise(seed=0, size=(16, 16, 3)):
    return Image.fromarray(np.random.default_rng(seed).integers(0, 256, size, np.uint8))


def test_every_file_that_is_not_used_is_counted_with_the_reason(put, tmp_path):
    whole = into(noise().save, format="PNG")
    for name in ("a.png", "b.webp", "c/d.JFIF", "e.tif", "f.bmp"):
        kind = {"webp": "WEBP", "JFIF": "JPEG", "tif": "TIFF", "bmp": "BMP"}
        put(name, into(noise().save, format=kind.get(name.split(".")[1], "PNG")))
    put("2.png", whole[:200])
    put("3.png", whole[:150])
    put("4.png", b"")
    put("notes.txt", "no picture")
    put("x.heic", "no picture")
    for name in (".DS_Store", "._a.png", "Thumbs.db"):
        put(name, "no picture")
    data = load(tmp_path)
    assert data.names.tolist() == ["a.png", "b.webp", "c/d.JFIF", "e.tif", "f.bmp"]
    assert data.names_of == "file"
    assert data.notes[0] == (
        "8 of 13 files not used: 3 are hidden files (.DS_Store, ._a.png, ...), 1 cannot be read"
        " (4.png: empty), 1 is no picture (notes.txt), 1 is a picture of a kind that aevb does not"
        " read (x.heic), 2 cannot be read (2.png, 3.png: the end is missing)."
    )


def test_a_folder_of_mostly_damaged_pictures_is_refused(put, tmp_path):
    whole = into(noise().save, format="PNG")
    for name in "abc":
        put(f"{name}.png", whole[: 400 if name > "a" else None])
    refuses(DataError, ["2 cannot be read (b.png, c.png"], load, tmp_path)
    put("d.png", whole)
    assert len(load(tmp_path)) == 2


@pytest.mark.parametrize(("ending", "kind"), [("png", "PNG"), ("gif", "GIF"), ("webp", "WEBP"),
                                              ("tif", "TIFF")])  # fmt: skip
def test_the_first_frame_is_used_and_that_is_said(put, tmp_path, ending, kind):
    frames = [noise(i) for i in range(5)]
    content = into(frames[0].save, format=kind, save_all=True, append_images=frames[1:])
    put(f"a.{ending}", content)
    data = load(tmp_path)
    assert len(data) == 1
    with Image.open(io.BytesIO(content)) as picture:
        assert np.array_equal(data.rows[0], np.asarray(picture.convert("RGB")))
    assert (
        "1 of 1 pictures have several frames, of which only the first is used and 4 are not"
        in (data.notes[0])
    )


@pytest.mark.parametrize(
    ("values", "says"), [([-1.0, 2], "negative"), ([np.nan, 1], "not finite"), ([np.inf, 1], "not")]
)
def test_negative_and_infinite_floats_are_left_out_by_name(put, tmp_path, values, says):
    for name, row in [("a", values), ("b", [0.0, 1]), ("c", [1.0, 0])]:
        put(f"{name}.tif", into(Image.fromarray(np.array([row], np.float32)).save, format="TIFF"))
    data = load(tmp_path)
    assert data.names.tolist() == ["b.tif", "c.tif"]
    assert "a.tif" in data.notes[0]
    assert says in data.notes[0]


def test_transparency_and_cmyk_are_said(put, tmp_path):
    glass = noise(size=(4, 4, 4))
    glass.putpixel((0, 0), (1, 2, 3, 0))
    put("a.png", into(glass.save, format="PNG"))
    full = noise(size=(4, 4, 3)).convert("RGBA")  # an alpha channel that hides nothing
    put("b.png", into(full.save, format="PNG"))
    put("c.tif", into(noise(size=(4, 4, 3)).convert("CMYK").save, format="TIFF"))
    first, second = load(tmp_path).notes
    assert "1 of 3 pictures are in CMYK" in first
    assert "(c.tif)" in first
    assert "1 of 3 pictures have transparent parts and were laid on white (a.png)" in second


# -------------------------------------------------------------------------------------------------
# folders of classes


def test_folders_of_classes_give_labels(put, tmp_path):
    for name in ("cat/1", "cat/2", "dog/1"):
        put(f"{name}.png", into(noise().save, format="PNG"))
    data = load(tmp_path)
    assert data.labels.tolist() == ["cat", "cat", "dog"]
    assert data.names.tolist() == ["cat/1.png", "cat/2.png", "dog/1.png"]
    assert data.notes == ("the 2 subfolders give the labels: cat (2), dog (1).",)
    assert data.take(np.array([2])).names.tolist() == ["dog/1.png"]


@pytest.mark.parametrize("names", [("a.png", "b/c.png"), ("a/b/c.png", "d/e.png")])
def test_folders_at_several_depths_give_no_labels_and_that_is_said(put, tmp_path, names):
    for name in names:
        put(name, into(noise().save, format="PNG"))
    data = load(tmp_path)
    assert data.labels is None
    assert "no labels" in data.notes[0]


def test_one_subfolder_gives_no_labels(put, tmp_path):
    put("images/a.png", into(noise().save, format="PNG"))
    data = load(tmp_path)
    assert (data.labels, data.notes) == (None, ())


def test_labels_that_are_names_are_drawn(put, tmp_path):
    for name in ("cat/1", "cat/2", "dog/1", "dog/2"):
        put(f"pets/{name}.png", into(noise(size=(4, 4)).save, format="PNG"))
    fit = "--hidden 4 --latent-dim 2 --epochs 1 --threads 1 --quiet"
    assert aevb(f"fit {tmp_path / 'pets'} --out {tmp_path / 'run'} {fit}").code == 0
    assert (tmp_path / "run" / "pictures" / "latent.png").is_file()


# -------------------------------------------------------------------------------------------------
# memory


def test_a_folder_larger_than_the_memory_is_refused_before_it_is_read(put, tmp_path, monkeypatch):
    for name in range(4):
        put(f"{name}.png", into(noise(size=(64, 64, 3)).save, format="PNG"))
    monkeypatch.setattr(memory, "free", lambda: memory.Free(40_000, "on this machine"))
    says = refuses(DataError, ["4 pictures of 64x64", "49 kB", "40 kB", "--resize"], load, tmp_path)
    side = int(says.rpartition("x")[2].strip("."))
    assert len(load(tmp_path, resize=(side, side))) == 4
