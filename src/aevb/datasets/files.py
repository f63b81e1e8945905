"""The user's own data: .npy, .npz, .csv, .parquet, idx files, folders of pictures. Nothing is ever
unpickled."""

from __future__ import annotations

import gzip
import re
import struct
import tokenize
import warnings
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aevb.datasets.pictures import PICTURES, read_pictures
from aevb.datasets.schema import Data
from aevb.datasets.stored import BEYOND_ITS_END, FileRows, is_streamed, npy_rows
from aevb.errors import AevbError, DataError, NotFoundError, UsageError

if TYPE_CHECKING:
    import pandas as pd

# All that numpy, zipfile and gzip were seen to raise on damaged bytes; RuntimeError: an encrypted
# or unknown kind of zip.
_DAMAGED = (
    EOFError, OSError, ValueError, KeyError, TypeError, ArithmeticError, MemoryError, RuntimeError,
    zipfile.BadZipFile, zlib.error, struct.error, tokenize.TokenError,
)  # fmt: skip


def exists(text: str) -> bool:
    """Whether ``text`` names a file or a folder; ``arrays.npz:name`` names an array inside a file."""
    return _there(text) or _inside_npz(text) is not None


def _there(text: str) -> bool:
    try:
        return Path(text).expanduser().exists()
    except (
        OSError,
        RuntimeError,
    ):  # a name too long for the file system, or ~ of a user that is not known
        return False


def read(text: str, *, resize: tuple[int, int] | None = None, grey: bool | None = None) -> Data:
    """Read a file or a folder of pictures.

    resize: (height, width) to which pictures are brought, cropped about the centre where the
    proportions differ. grey: True for grey pictures, False for RGB, None for grey if all of them
    are. Raises NotFoundError, DataError, or UsageError for options that the kind of file does not
    have.
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
        raise NotFoundError(f"there is no file {text!r}. Check the path.")
    if path.stat().st_size == 0:
        raise DataError(f"{text} is empty: 0 bytes. Copy or save it again.")
    return _reader(path)(path)


def _inside_npz(text: str) -> tuple[Path, str] | None:
    file, _, name = text.rpartition(":")
    return (Path(file).expanduser(), name) if file.endswith(".npz") and _there(file) else None


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
    if suffix == ".gz" and Path(path.stem).suffix.lower() in readers.keys() - {".idx", ".gz"}:
        raise DataError(f"{path} is compressed; unpack it and give the file inside, {path.stem}")
    if suffix in readers:
        return readers[suffix]
    if path.name.endswith("ubyte"):
        return read_idx
    if suffix in PICTURES:
        raise DataError(
            f"{path} is one picture; give the folder that holds the pictures to learn from"
        )
    raise DataError(
        f"{path}: cannot tell what kind of file this is. Save it as one of {', '.join(readers)}, or"
        " give a folder of pictures."
    )


def read_npy(path: Path) -> Data:
    """One array: (N, ...). A large one stays in its file and is read as it is needed."""
    try:
        if (rows := npy_rows(path)) is not None:
            return Data(rows, source=str(path))
        with path.open("rb") as file:
            array = _one_array(file)
    except _DAMAGED as error:
        raise DataError(f"{path} cannot be read as .npy: {_why(error)}") from error
    return Data(_at_least_one_axis(array, path), source=str(path))


def read_npz(path: Path, name: str = "") -> Data:
    """One array of an archive: the one called ``name``, or the only one."""
    try:
        with zipfile.ZipFile(path) as archive:
            names = [
                member.removesuffix(".npy")
                for member in archive.namelist()
                if member.endswith(".npy")
            ]
            if not names:
                raise DataError(
                    f"{path} holds no arrays; expected an archive made by numpy.savez. Save it"
                    " again."
                )
            if name and name not in names:
                raise NotFoundError(
                    f"{path} holds {', '.join(names)}; there is no array {name!r} in it"
                )
            if not name and len(names) != 1:
                raise UsageError(
                    f"{path} holds {len(names)} arrays ({', '.join(names)}); name one:"
                    f" {path}:{names[0]}"
                )
            with archive.open((name or names[0]) + ".npy") as file:
                array = _one_array(file)
    except AevbError:
        raise
    except _DAMAGED as error:
        raise DataError(f"{path} cannot be read as .npz: {_why(error)}") from error
    return Data(_at_least_one_axis(array, path), source=f"{path}:{name}" if name else str(path))


def _one_array(file: IO[bytes]) -> NDArray[Any]:
    """Decode .npy, and refuse bytes after its end: numpy would drop the rows beyond a damaged
    shape."""
    array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
    if file.read(1):
        raise ValueError(BEYOND_ITS_END)
    return array


def _why(error: BaseException) -> str:
    text = " ".join(str(error).split())
    if "pickle" in text.lower():
        return (
            "it holds Python objects, which are never loaded because loading them can run code."
            " Save plain numbers."
        )
    return (
        f"it is damaged or cut short ({text or type(error).__name__}). Copy or download it again."
    )


def _at_least_one_axis(array: NDArray[Any], path: Path) -> NDArray[Any]:
    if array.ndim == 0:
        raise DataError(
            f"{path} holds a single number; expected an array with one row per example. Is it the"
            " right file?"
        )
    return array


def read_csv(path: Path) -> Data:
    """A table of numbers, with or without a header; commas, semicolons, tabs or bars, in .txt also
    blanks.

    Rows are counted from 1, without the header. A first column without a name that counts the rows
    is left out.
    """
    import pandas as pd

    try:
        with path.open(encoding="utf-8-sig") as file:
            first = file.readline()
        delimiter = max(",;\t|", key=first.count)
        if delimiter not in first and path.suffix.lower() == ".txt":
            delimiter = r"\s+"
        cells = re.split(delimiter if delimiter == r"\s+" else re.escape(delimiter), first.strip())
        counted = len(cells) > 1 and cells == [
            str(i) for i in range(len(cells))
        ]  # pandas' names for columns without one
        header = None if all(_is_number(cell) for cell in cells) and not counted else 0
        with warnings.catch_warnings():
            # Without index_col=False, pandas takes the values that the header does not name for row
            # labels, and drops them.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = pd.read_csv(
                path,
                sep=delimiter,
                header=header,
                index_col=False,
                skipinitialspace=True,
                encoding="utf-8-sig",
                low_memory=False,
            )
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not UTF-8 text: {error.reason} at byte {error.start}. Save it as UTF-8 CSV."
        ) from error
    except (pd.errors.ParserError, pd.errors.EmptyDataError, pd.errors.ParserWarning) as error:
        message = " ".join(str(error).split()).rstrip(".")
        raise DataError(
            f"{path} is not a table: {message}. Give every row as many cells as the first has."
        ) from error
    if str(frame.columns[0]).startswith("Unnamed: 0") and list(frame.iloc[:, 0]) == list(
        range(len(frame))
    ):
        frame = frame.iloc[:, 1:]
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
                f"{path}: column {str(name)!r} should hold numbers; got {str(column.iloc[row])!r}"
                f" at data row {row + 1} ({int(text.sum())} such cells). Correct them, or remove"
                " the column or encode it as numbers."
            )
        numbers[str(name)] = values.to_numpy(dtype=np.float64)
    columns = tuple(numbers)
    rows = (
        np.stack([numbers[name] for name in columns], axis=1)
        if columns and len(frame)
        else np.empty((len(frame), len(columns)))
    )
    return Data(rows, source=str(path), columns=columns)


MOST_AXES = 32
IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}


def read_idx(path: Path) -> Data:
    """An array in the idx format of the MNIST files, gzipped or not. A large one that is not stays
    in its file."""
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            head = file.read(4 + 4 * 255)
    except _DAMAGED as error:
        raise DataError(f"{path} cannot be read as idx: {_why(error)}") from error
    if not is_streamed(size) or _is_zipped(head):
        return Data(idx_array(path), source=str(path))
    kind, shape, offset = _idx_form(path, head, size)
    return Data(FileRows(path, kind, shape, offset, kind.newbyteorder("=")), source=str(path))


def idx_array(path: Path) -> NDArray[Any]:
    """Decode an idx file: two zero bytes, a type, the number of axes, their lengths, the values.
    Raises DataError."""
    try:
        with path.open("rb") as file:
            zipped = _is_zipped(file.read(2))
        with gzip.open(path, "rb") if zipped else path.open("rb") as file:
            content = file.read()
    except _DAMAGED as error:
        raise DataError(f"{path} cannot be read as idx: {_why(error)}") from error
    kind, shape, offset = _idx_form(path, content, len(content))
    return np.frombuffer(content, kind, offset=offset).reshape(shape).astype(kind.newbyteorder("="))


def _is_zipped(head: bytes) -> bool:
    return head[:2] == b"\x1f\x8b"


def _idx_form(path: Path, head: bytes, size: int) -> tuple[np.dtype[Any], tuple[int, ...], int]:
    """Type and shape of an idx file's array, and where it starts. size: bytes of all of it. Raises
    DataError."""
    try:
        zero, code, axes = struct.unpack_from(">HBB", head)
        if zero != 0 or code not in IDX_TYPES:
            raise DataError(
                f"{path} is not an idx file (it starts with {head[:4].hex()}). Save it as .npy,"
                " .npz or .csv."
            )
        shape = struct.unpack_from(f">{axes}I", head, 4)
    except struct.error as error:
        raise DataError(f"{path} cannot be read as idx: {_why(error)}") from error
    kind, offset = np.dtype(IDX_TYPES[code]), 4 + 4 * axes
    expected, found = int(np.prod(shape, dtype=object)) * kind.itemsize, size - offset
    if axes == 0 or expected != found:
        raise DataError(
            f"{path} is damaged: its header announces {expected} bytes of shape {shape}, it holds"
            f" {found}. Copy it again."
        )
    if axes > MOST_AXES or expected == 0:
        raise DataError(
            f"{path} is damaged: its header announces an array of shape {shape[:8]}. Copy it again."
        )
    return kind, shape, offset
