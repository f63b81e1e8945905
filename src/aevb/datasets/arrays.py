"""Read arrays of numbers: .npy, .npz and idx (the format of the MNIST files).

Nothing is ever unpickled. A large .npy or uncompressed idx file stays on disk, and its rows are
read when they are needed.
"""

from __future__ import annotations

import gzip
import struct
import zipfile
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from aevb.datasets.damage import DAMAGED, why
from aevb.datasets.schema import Data
from aevb.datasets.stored import BEYOND_ITS_END, FileRows, is_streamed, npy_rows
from aevb.errors import AevbError, DataError, NotFoundError, UsageError

MOST_AXES = 32
"""An idx header that announces more axes than this is damaged."""
IDX_TYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
"""The type code in an idx header, and numpy's name for the type."""


def read_npy(path: Path) -> Data:
    """Read a .npy file: one array (N, ...).

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
        raise DataError(f"{path} cannot be read as .npy: {why(error)}") from error
    return Data(_at_least_one_axis(array, path), source=str(path))


def read_npz(path: Path, name: str = "") -> Data:
    """Read one array (N, ...) of a .npz archive.

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
    try:
        with zipfile.ZipFile(path) as archive:
            member = _member(archive, path, name)
            with archive.open(member + ".npy") as file:
                array = _one_array(file)
    except AevbError:
        raise
    except DAMAGED as error:
        raise DataError(f"{path} cannot be read as .npz: {why(error)}") from error
    return Data(_at_least_one_axis(array, path), source=f"{path}:{name}" if name else str(path))


def _member(archive: zipfile.ZipFile, path: Path, name: str) -> str:
    """Return the name of the array to read: ``name``, or the only one."""
    names = [
        member.removesuffix(".npy") for member in archive.namelist() if member.endswith(".npy")
    ]
    if not names:
        raise DataError(
            f"{path} holds no arrays; expected an archive made by numpy.savez. Save it again."
        )
    if name and name not in names:
        raise NotFoundError(f"{path} holds {', '.join(names)}; there is no array {name!r} in it")
    if not name and len(names) != 1:
        raise UsageError(
            f"{path} holds {len(names)} arrays ({', '.join(names)}); name one: {path}:{names[0]}"
        )
    return name or names[0]


def _one_array(file: IO[bytes]) -> NDArray[Any]:
    """Decode .npy, and refuse bytes after the array.

    If the shape in the header is damaged, numpy would silently drop the rows beyond it.
    """
    array: NDArray[Any] = np.lib.format.read_array(file, allow_pickle=False)
    if file.read(1):
        raise ValueError(BEYOND_ITS_END)
    return array


def _at_least_one_axis(array: NDArray[Any], path: Path) -> NDArray[Any]:
    if array.ndim == 0:
        raise DataError(
            f"{path} holds a single number; expected an array with one row per example. Is it the"
            " right file?"
        )
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
