"""The user's own data: .npy, .npz, .csv, .parquet, idx files, folders of pictures. Nothing is ever unpickled."""

from __future__ import annotations

import gzip
import struct
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aevb.datasets.schema import Data
from aevb.errors import DataError, NotFoundError, UsageError

if TYPE_CHECKING:
    import pandas as pd
    from PIL import Image

PICTURES = (".png", ".jpg", ".jpeg")
_DAMAGED = (EOFError, OSError, ValueError, KeyError, MemoryError, zipfile.BadZipFile, zlib.error, struct.error)


def exists(text: str) -> bool:
    """Whether ``text`` names a file or a folder; ``arrays.npz:name`` names an array inside a file."""
    return Path(text).expanduser().exists() or _inside_npz(text) is not None


def read(text: str, *, resize: tuple[int, int] | None = None, grey: bool | None = None) -> Data:
    """Read a file or a folder of pictures.

    resize: (height, width) to which pictures are brought, cropped about the centre where the proportions differ.
    grey: True for grey pictures, False for RGB, None for grey if all of them are.
    Raises NotFoundError, DataError, or UsageError for options that the kind of file does not have.
    """
    path = Path(text).expanduser()
    if path.is_dir():
        return read_pictures(path, resize=resize, grey=grey)
    if resize is not None or grey is not None:
        raise UsageError(f"resize and grey are for a folder of pictures; {text} is a file")
    inside = _inside_npz(text)
    if inside is not None:
        return read_npz(*inside)
    if not path.exists():
        raise NotFoundError(f"there is no file {text!r}")
    if path.stat().st_size == 0:
        raise DataError(f"{text} is empty: 0 bytes")
    return _reader(path)(path)


def _inside_npz(text: str) -> tuple[Path, str] | None:
    file, _, name = text.rpartition(":")
    path = Path(file).expanduser()
    return (path, name) if file.endswith(".npz") and path.exists() else None


def _reader(path: Path) -> Callable[[Path], Data]:
    readers: dict[str, Callable[[Path], Data]] = {
        ".npy": read_npy,
        ".npz": read_npz,
        ".csv": read_csv,
        ".tsv": read_csv,
        ".txt": read_csv,
        ".parquet": read_parquet,
        ".gz": read_idx,
        ".idx": read_idx,
    }
    suffix = path.suffix.lower()
    if suffix in readers:
        return readers[suffix]
    if path.name.endswith("ubyte"):
        return read_idx
    if suffix in PICTURES:
        raise DataError(f"{path} is one picture; give the folder that holds the pictures to learn from")
    raise DataError(f"{path}: cannot tell what kind of file this is. Known: {', '.join(readers)} and folders of pictures.")


def read_npy(path: Path) -> Data:
    """One array: (N, ...)."""
    try:
        array = np.load(path, allow_pickle=False)
    except _DAMAGED as error:
        raise DataError(f"{path} cannot be read as .npy: {_why(error)}") from error
    return Data(_at_least_one_axis(array, path), source=str(path))


def read_npz(path: Path, name: str = "") -> Data:
    """One array of an archive: the one called ``name``, or the only one."""
    try:
        with np.load(path, allow_pickle=False) as archive:
            names = list(archive.files)
            if name and name not in names:
                raise NotFoundError(f"{path} holds {', '.join(names)}; there is no array {name!r} in it")
            if not name and len(names) != 1:
                raise UsageError(f"{path} holds {len(names)} arrays ({', '.join(names)}); name one: {path}:{names[0]}")
            array = archive[name or names[0]]
    except (NotFoundError, UsageError):
        raise
    except _DAMAGED as error:
        raise DataError(f"{path} cannot be read as .npz: {_why(error)}") from error
    return Data(_at_least_one_axis(array, path), source=f"{path}:{name}" if name else str(path))


def _why(error: BaseException) -> str:
    text = " ".join(str(error).split())
    if "pickle" in text.lower():
        return "it holds Python objects, which are never loaded because loading them can run code. Save plain numbers."
    return f"it is damaged or cut short ({text or type(error).__name__})."


def _at_least_one_axis(array: NDArray[Any], path: Path) -> NDArray[Any]:
    if array.ndim == 0:
        raise DataError(f"{path} holds a single number; expected an array with one row per example")
    return array


def read_csv(path: Path) -> Data:
    """A table of numbers, with or without a header; commas, semicolons, tabs or bars. Rows are counted from 1."""
    import pandas as pd

    try:
        with path.open(encoding="utf-8-sig") as file:
            first = file.readline()
        delimiter = max(",;\t|", key=first.count)
        header = None if all(_is_number(cell) for cell in first.strip().split(delimiter)) else 0
        frame = pd.read_csv(path, sep=delimiter, header=header, skipinitialspace=True, encoding="utf-8-sig", low_memory=False)
    except UnicodeDecodeError as error:
        raise DataError(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}. Save it as UTF-8 CSV.") from error
    except (pd.errors.ParserError, pd.errors.EmptyDataError) as error:
        raise DataError(f"{path} is not a table: {' '.join(str(error).split())}") from error
    if header is None:
        frame.columns = pd.Index([f"column_{i + 1}" for i in range(frame.shape[1])])
    return _from_frame(frame, path)


def read_parquet(path: Path) -> Data:
    """A table of numbers. Needs the extra ``parquet``."""
    import pandas as pd

    try:
        frame = pd.read_parquet(path)
    except ImportError as error:
        raise UsageError("reading .parquet needs pyarrow: pip install 'aevb[parquet]'") from error
    except _DAMAGED as error:
        raise DataError(f"{path} cannot be read as .parquet: {_why(error)}") from error
    return _from_frame(frame, path)


def _is_number(cell: str) -> bool:
    try:
        float(cell.strip().strip('"') or "nan")
    except ValueError:
        return False
    return True


def _from_frame(frame: pd.DataFrame, path: Path) -> Data:
    import pandas as pd

    numbers = {}
    for name, column in frame.items():
        values = pd.to_numeric(column, errors="coerce")
        text = values.isna() & column.notna()
        if text.any():
            row = int(text.to_numpy().argmax())
            raise DataError(
                f"{path}: column {str(name)!r} should hold numbers; got {str(column.iloc[row])!r} at row {row + 1} "
                f"({int(text.sum())} such cells). Correct them, or remove the column or encode it as numbers."
            )
        numbers[str(name)] = values.to_numpy(dtype=np.float64)
    columns = tuple(numbers)
    rows = (
        np.stack([numbers[name] for name in columns], axis=1)
        if columns and len(frame)
        else np.empty((len(frame), len(columns)))
    )
    return Data(rows, source=str(path), columns=columns)


IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(path: Path) -> Data:
    """An array in the idx format of the MNIST files, gzipped or not."""
    return Data(idx_array(path), source=str(path))


def idx_array(path: Path) -> NDArray[Any]:
    """Decode an idx file: two zero bytes, a type, the number of axes, their lengths, the values. Raises DataError."""
    try:
        with path.open("rb") as file:
            zipped = file.read(2) == b"\x1f\x8b"
        with gzip.open(path, "rb") if zipped else path.open("rb") as file:
            content = file.read()
        zero, code, axes = struct.unpack_from(">HBB", content)
        if zero != 0 or code not in IDX_TYPES:
            raise DataError(f"{path} is not an idx file (it starts with {content[:4].hex()})")
        shape = struct.unpack_from(f">{axes}I", content, 4)
    except DataError:
        raise
    except _DAMAGED as error:
        raise DataError(f"{path} cannot be read as idx: {_why(error)}") from error
    kind = np.dtype(IDX_TYPES[code])
    expected, found = int(np.prod(shape, dtype=object)) * kind.itemsize, len(content) - 4 - 4 * axes
    if axes == 0 or expected != found:
        raise DataError(f"{path} is damaged: its header announces {expected} bytes of shape {shape}, it holds {found}")
    return np.frombuffer(content, kind, offset=4 + 4 * axes).reshape(shape).astype(kind.newbyteorder("="))


def read_pictures(folder: Path, *, resize: tuple[int, int] | None = None, grey: bool | None = None) -> Data:
    """All PNG and JPEG files in a folder and its subfolders, in the order of their names: 8 bits, grey or RGB."""
    from PIL import Image

    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in PICTURES and p.is_file())
    if not files:
        raise DataError(f"the folder {folder} holds no PNG or JPEG pictures")
    pictures = []
    for file in files:
        try:
            with Image.open(file) as picture:
                pictures.append(_in_one_form(picture, resize))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise DataError(f"{file} cannot be read as a picture: {error}. Remove or replace it.") from error
    if grey is None:
        grey = all(picture.mode == "L" for picture in pictures)
    sizes = Counter(f"{picture.height}x{picture.width}" for picture in pictures)
    if len(sizes) > 1:
        common = ", ".join(f"{count} of {size}" for size, count in sizes.most_common(3))
        raise DataError(
            f"the {len(files)} pictures in {folder} have {len(sizes)} sizes ({common}, ...); "
            "bring them to one with --resize HEIGHTxWIDTH, for example --resize 32x32."
        )
    rows = np.stack([np.asarray(picture.convert("L" if grey else "RGB")) for picture in pictures])
    return Data(rows, source=str(folder), white=255.0, resize=resize, grey=grey)


def _in_one_form(picture: Image.Image, resize: tuple[int, int] | None) -> Image.Image:
    """To 8 bits (mode L or RGB), upright, transparency on white; resized and cropped about the centre if asked for."""
    from PIL import Image, ImageOps

    picture = ImageOps.exif_transpose(picture)
    if picture.mode.startswith("I"):  # 16 bits per pixel
        picture = Image.fromarray((np.asarray(picture).clip(0, 65535) / 257).round().astype(np.uint8))
    if picture.mode in ("LA", "PA", "RGBA") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        colour = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
        picture = colour.convert("L") if _is_grey(colour) else colour
    if picture.mode not in ("L", "RGB"):
        picture = picture.convert("L" if picture.mode == "1" else "RGB")
    if resize is not None:
        picture = ImageOps.fit(picture, (resize[1], resize[0]), Image.Resampling.LANCZOS)
    return picture


def _is_grey(picture: Image.Image) -> bool:
    red, green, blue = (np.asarray(channel) for channel in picture.split())
    return bool((red == green).all() and (green == blue).all())
