"""Read arrays of numbers: .npy, .npz and idx (the format of the MNIST files).

Nothing is ever unpickled. A large .npy or uncompressed idx file stays on disk, and its rows are
read when they are needed.
"""

from __future__ import annotations

import gzip
import math
import shlex
import struct
import zipfile
from collections.abc import Collection, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from aevb.datasets.damage import DAMAGED, in_quotes, short, why
from aevb.datasets.numbers import data_of_array
from aevb.datasets.schema import Data
from aevb.datasets.sparse import holds_sparse, read_sparse
from aevb.datasets.stored import BEYOND_ITS_END, FileRows, is_streamed, npy_rows
from aevb.errors import AevbError, DataError, NotFoundError, UsageError

MOST_LISTED = 8
"""A message lists at most this many arrays of a file."""
MOST_AXES = 32
"""An idx header that announces more axes than this is damaged."""
IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
"""The type code in an idx header, and numpy's name for the type."""


def read_npy(path: Path) -> Data:
    """Read a .npy file: one array (N, ...). A structured array is a table of its fields.

    Example:
        >>> import numpy as np
        >>> from pathlib import Path
        >>> from aevb.datasets.arrays import read_npy
        >>> np.save("rows.npy", np.ones((5, 2)))
        >>> read_npy(Path("rows.npy")).rows.shape
        (5, 2)
    """
    try:
        if (rows := npy_rows(path)) is not None:
            return Data(rows, source=str(path))
        with path.open("rb") as file:
            array = _one_array(file)
    except DAMAGED as error:
        raise _unreadable(path, "", error) from error
    return data_of_array(array, str(path))


def read_npz(path: Path, name: str = "") -> Data:
    """Read one array (N, ...) of a .npz archive, or the sparse matrix that it holds.

    Args:
        path: The archive.
        name: The array's name. It may be empty if the archive holds only one array.

    Raises:
        UsageError: The archive holds several arrays, and no name was given.
        NotFoundError: There is no array of that name.
        DataError: The file is damaged, or holds no array.

    Example:
        >>> import numpy as np
        >>> from pathlib import Path
        >>> from aevb.datasets.arrays import read_npz
        >>> np.savez("two.npz", train=np.ones((5, 2)), test=np.zeros((3, 2)))
        >>> len(read_npz(Path("two.npz"), "test"))
        3
    """
    member = name
    try:
        with zipfile.ZipFile(path) as archive:
            names = [
                member.removesuffix(".npy")
                for member in archive.namelist()
                if member.endswith(".npy")
            ]
            if holds_sparse(names):
                return Data(read_sparse(path, name), source=str(path))
            member = one_of({each: _form(archive, each) for each in names}, path, name)
            with archive.open(member + ".npy") as file:
                array = _one_array(file)
    except AevbError:
        raise
    except DAMAGED as error:
        raise _unreadable(path, member, error) from error
    return data_of_array(array, f"{path}:{name}" if name else str(path))


def _form(archive: zipfile.ZipFile, member: str) -> tuple[int, ...] | None:
    """The shape of an array in an archive, from its header. None for one that cannot be read."""
    try:
        with archive.open(member + ".npy") as file:
            version = np.lib.format.read_magic(file)
            read = (
                np.lib.format.read_array_header_1_0
                if version == (1, 0)
                else np.lib.format.read_array_header_2_0
            )
            return read(file)[0]
    except DAMAGED:
        return None


def one_of(shapes: Mapping[str, tuple[int, ...] | None], path: Path, name: str) -> str:
    """Return the name of the array to read from a file of several: ``name``, or the only one.

    Args:
        shapes: The shape of every array that the file holds, or None where it is not known.
        path: The file.
        name: The name that was asked for, or "".

    Raises:
        UsageError: There are several arrays, and none was named.
        NotFoundError: There is no array of that name.
        DataError: There are no arrays.

    Example:
        >>> from pathlib import Path
        >>> from aevb.datasets.arrays import one_of
        >>> one_of({"x": (5, 2)}, Path("one.h5"), "")
        'x'
        >>> one_of({"y": (5,), "x": (5, 2)}, Path("two.h5"), "")
        Traceback (most recent call last):
        aevb.errors.UsageError: two.h5 holds 2 arrays (y: 5, x: 5 x 2); name one: two.h5:x
    """
    if not shapes:
        raise DataError(
            f"{path} holds no arrays; expected at least one with a row per example. Save it again."
        )
    # The rows of a data set usually hold the most numbers.
    largest = max(shapes, key=lambda each: math.prod(shapes[each] or (0,)))
    if name and name not in shapes:
        near = get_close_matches(name, shapes, n=1) or [each for each in shapes if name in each]
        raise NotFoundError(
            f"{path} holds {', '.join(_first(shapes))}; there is no array {in_quotes(name)} in"
            f" it. Give {_address(path, [*near, largest][0])}."
        )
    if not name and len(shapes) != 1:
        listed = ", ".join(
            _first([f"{short(each, 40)}: {_sizes(shape)}" for each, shape in shapes.items()])
        )
        raise UsageError(
            f"{path} holds {len(shapes)} arrays ({listed}); name one: {_address(path, largest)}"
        )
    return name or next(iter(shapes))


def free_name(name: str) -> str:
    """A name for a new file in this folder: ``name``, or one like it if that is taken.

    Example:
        >>> from pathlib import Path
        >>> from aevb.datasets.arrays import free_name
        >>> _ = Path("rows.npy").write_text("")
        >>> free_name("rows.npy"), free_name("other.npy")
        ('new_rows.npy', 'other.npy')
    """
    return free_name(f"new_{name}") if Path(name).exists() else name


def _address(path: Path, name: str) -> str:
    """How to name an array of a file on a command line, if its name can be printed."""
    fits = name.isprintable() and len(name) <= 120
    return shlex.quote(f"{path}:{name if fits else 'NAME'}")


def _first(names: Collection[str]) -> list[str]:
    """The first names of a list that may be long, and how many more there are."""
    more = len(names) - MOST_LISTED
    return [
        *(short(name, 60) for name in list(names)[:MOST_LISTED]),
        *([f"and {more} more"] if more > 0 else []),
    ]


def _sizes(shape: tuple[int, ...] | None) -> str:
    return "?" if shape is None else " x ".join(map(str, shape)) or "one number"


def _unreadable(path: Path, name: str, error: BaseException) -> DataError:
    """The error for a .npy or .npz file that cannot be read."""
    kind = path.suffix.lower()
    if "pickle" not in str(error).lower():
        return DataError(f"{path} cannot be read as {kind}: {why(error)}")
    part, new = f"[{name!r}]" if name else "", free_name(f"{path.stem}.npy")
    load = f"numpy.load({str(path)!r}, allow_pickle=1){part}.astype(float)"
    return DataError(
        f"{path} cannot be read as {kind}: it holds Python objects, which are never loaded because"
        " loading them can run code. Save plain numbers, for example, if you trust the file:"
        f' python -c "import numpy; numpy.save({new!r}, {load})"'
    )


def _one_array(file: IO[bytes]) -> NDArray[Any]:
    """Decode .npy, and refuse bytes after the array.

    If the shape in the header is damaged, numpy would silently drop the rows beyond it.
    """
    array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
    if file.read(1):
        raise ValueError(BEYOND_ITS_END)
    return array


def read_idx(path: Path) -> Data:
    """Read an array in the idx format, gzipped or not.

    Example:
        >>> import struct
        >>> from pathlib import Path
        >>> from aevb.datasets.arrays import read_idx
        >>> header = struct.pack(">HBBII", 0, 0x08, 2, 3, 4)  # unsigned bytes, 3 rows of 4
        >>> _ = Path("rows.idx").write_bytes(header + bytes(range(12)))
        >>> read_idx(Path("rows.idx")).rows[1]
        array([4, 5, 6, 7], dtype=uint8)
    """
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            head = file.read(4 + 4 * 255)
    except DAMAGED as error:
        raise DataError(f"{path} cannot be read as idx: {why(error)}") from error
    if not is_streamed(size) or _is_zipped(head):
        return Data(idx_array(path), source=str(path))
    kind, shape, offset = _idx_form(path, head, size)
    return Data(FileRows(path, kind, shape, offset, kind.newbyteorder("=")), source=str(path))


def idx_array(path: Path) -> NDArray[Any]:
    """Decode all of an idx file. Raises DataError.

    The format is two zero bytes, a type code, the number of axes, their lengths, and the values.
    """
    try:
        with path.open("rb") as file:
            zipped = _is_zipped(file.read(2))
        with gzip.open(path, "rb") if zipped else path.open("rb") as file:
            content = file.read()
    except DAMAGED as error:
        raise DataError(f"{path} cannot be read as idx: {why(error)}") from error
    kind, shape, offset = _idx_form(path, content, len(content))
    return np.frombuffer(content, kind, offset=offset).reshape(shape).astype(kind.newbyteorder("="))


def _is_zipped(head: bytes) -> bool:
    return head[:2] == b"\x1f\x8b"


def _idx_form(path: Path, head: bytes, size: int) -> tuple[np.dtype[Any], tuple[int, ...], int]:
    """Decode the header of an idx file. Raises DataError.

    Args:
        path: The file, for messages.
        head: Its first bytes, the header included.
        size: The size of the uncompressed file in bytes.

    Returns:
        The type and the shape of the array, and the byte at which its values start.
    """
    try:
        zero, code, axes = struct.unpack_from(">HBB", head)
        if zero != 0 or code not in IDX_TYPES:
            raise DataError(
                f"{path} is not an idx file (it starts with {head[:4].hex()}). Save it as .npy,"
                " .npz or .csv."
            )
        shape = struct.unpack_from(f">{axes}I", head, 4)
    except struct.error as error:
        raise DataError(f"{path} cannot be read as idx: {why(error)}") from error
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
