"""Rows that stay in their file: read when they are asked for, a batch or a chunk at a time.

Read with ``preadv`` into a buffer, not through a mapping: the pages of a mapping count as memory of
the process, those that the system keeps of a file do not. Whatever passes over all rows of a data
set does so in ``chunks``, which are the same whether the rows are in memory or in a file: so are,
to the last bit, the sums that are made of them.
"""

from __future__ import annotations

import math
import os
import weakref
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aevb.errors import DataError

IN_MEMORY_BYTES = 2**30
"""A .npy or unpacked idx file larger than this is read as it is needed; a smaller one is loaded."""
CHUNK_VALUES = 2**20
"""Numbers in a chunk: in double precision it is 8 MiB."""
GAP = 8192
"""Bytes between two rows that are cheaper to read and drop than to skip with another call."""
BLOCK = 2**22
"""Bytes read by one call, at most, and one row more."""
BEYOND_ITS_END = "it goes on after the last value that its header announces"
"""What is wrong with a file whose rows numpy would drop."""


class FileRows:
    """Rows of an array in C order in a file: (N, *shape). What an array is to rows in memory, as
    far as ``Data`` needs it.

    file_dtype, shape: of the array. offset: bytes before its first row. dtype: in which rows are
    handed out, by default as they are in the file. Raises DataError for a file that cannot be read
    any more.
    """

    def __init__(
        self,
        path: Path,
        file_dtype: np.dtype[Any],
        shape: tuple[int, ...],
        offset: int,
        dtype: np.dtype[Any] | None = None,
    ) -> None:
        self.path, self.dtype, self._offset = path, dtype or file_dtype, offset
        self._file_dtype = file_dtype
        self._row_shape = shape[1:] or (1,)
        self._row_bytes = math.prod(self._row_shape) * file_dtype.itemsize
        self._rows = shape[0]
        self._index: NDArray[np.int64] | None = None
        self._file = _OpenFile(path)

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, *shape)."""
        return (len(self), *self._row_shape)

    @property
    def ndim(self) -> int:
        """Axes, that of the rows included."""
        return 1 + len(self._row_shape)

    @property
    def size(self) -> int:
        """How many numbers there are."""
        return math.prod(self.shape)

    def __len__(self) -> int:
        return self._rows if self._index is None else len(self._index)

    def take(self, index: NDArray[Any]) -> FileRows:
        """The rows of ``index``: (M,), integers from 0. Nothing is read."""
        part = object.__new__(FileRows)
        part.__dict__.update(self.__dict__)
        index = np.asarray(index, np.int64)
        part._index = index if self._index is None else self._index[index]
        return part

    def __getitem__(self, index: slice | NDArray[Any]) -> NDArray[Any]:
        """Read rows: those of a slice or of integers (M,) -> (M, *shape)."""
        if isinstance(index, slice):
            index = (
                np.arange(*index.indices(len(self))) if self._index is None else self._index[index]
            )
        else:
            index = np.asarray(index, np.int64) if self._index is None else self._index[index]
        ordered = bool((index[1:] >= index[:-1]).all())
        order = None if ordered else np.argsort(index, kind="stable")
        found = self._read(index if order is None else index[order])
        if order is not None:  # read in the order of the file, handed out in that of the index
            sorted_, found = found, np.empty_like(found)
            found[order] = sorted_
        rows: NDArray[Any] = found.view(self._file_dtype).reshape(len(index), *self._row_shape)
        return rows.astype(self.dtype, copy=False)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self[:] if dtype is None else self[:].astype(dtype)

    def _read(self, index: NDArray[np.int64]) -> NDArray[np.uint8]:
        """index: (M,), ascending -> bytes (M, bytes of a row)."""
        size, found = self._row_bytes, np.empty((len(index), self._row_bytes), np.uint8)
        start = index * size
        breaks = (np.diff(start) > size + GAP) | (np.diff(start // BLOCK) > 0)
        first, view = 0, found.reshape(-1).data
        for end in [*(np.flatnonzero(breaks) + 1).tolist(), len(index)] if len(index) else []:
            low, high = int(index[first]), int(index[end - 1])
            if end - first == 1 or (
                high - low == end - first - 1 and bool((np.diff(index[first:end]) == 1).all())
            ):
                self._file.fill(view[first * size : end * size], self._offset + low * size)
            else:  # rows between are read and dropped, a row asked for twice is read once
                span = np.empty((high - low + 1, size), np.uint8)
                self._file.fill(span.reshape(-1).data, self._offset + low * size)
                np.take(span, index[first:end] - low, axis=0, out=found[first:end])
            first = end
        return found


class _OpenFile:
    """A file descriptor, closed with the last of those who read from it."""

    def __init__(self, path: Path) -> None:
        self.path, self.descriptor = path, os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self.descriptor)
        if hasattr(
            os, "posix_fadvise"
        ):  # rows are drawn at random: what lies behind one is not wanted next
            os.posix_fadvise(self.descriptor, 0, 0, os.POSIX_FADV_RANDOM)

    def fill(self, view: memoryview, offset: int) -> None:
        """Fill ``view`` with the bytes from ``offset`` on. Raises DataError where the file ends
        before."""
        while view.nbytes:
            try:
                count = os.preadv(self.descriptor, [view], offset)
            except OSError as error:
                raise DataError(
                    f"{self.path} cannot be read any more: {error.strerror}. Check the disk."
                ) from error
            if count == 0:
                raise DataError(
                    f"{self.path} was cut short while it was read: it ends at byte {offset}. Copy"
                    " it again."
                )
            view, offset = view[count:], offset + count


Stored = NDArray[Any] | FileRows
"""Rows of a data set: in memory, or in a file."""


def is_streamed(size: int) -> bool:
    """Whether an array of this many bytes is to stay in its file."""
    return size > IN_MEMORY_BYTES and hasattr(os, "preadv")


def npy_rows(path: Path) -> FileRows | None:
    """The rows of a .npy file that is to stay a file; None where it is small, or cannot be read row
    by row.

    Raises ValueError or OSError for a damaged one.
    """
    size = path.stat().st_size
    if not is_streamed(size):
        return None
    headers = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    with path.open("rb") as file:
        version = np.lib.format.read_magic(file)
        if version not in headers:
            return None
        shape, by_columns, dtype = headers[version](file)
        offset = file.tell()
    if dtype.hasobject or min(shape, default=0) < 1 or (by_columns and len(shape) > 1):
        return None
    expected = math.prod(shape) * dtype.itemsize
    if size < offset + expected:
        raise ValueError(f"EOF: reading array data, expected {expected} bytes got {size - offset}")
    if size > offset + expected:
        raise ValueError(BEYOND_ITS_END)
    return FileRows(path, dtype, shape, offset)


def chunks(rows: Stored) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield (number of the first row, rows) of each chunk of rows (N, *shape), in order."""
    step = max(1, CHUNK_VALUES // max(1, math.prod(rows.shape[1:])))
    for start in range(0, len(rows), step):
        yield start, rows[start : start + step]


class Survey(NamedTuple):
    """Of all values: the least, the greatest, and whether all are 0 or 1. NaN among them makes the
    former two NaN."""

    low: float
    high: float
    bits: bool


def survey(rows: Stored) -> Survey:
    """Look at all rows: (N, *shape)."""
    lows, highs, bits = [], [], True
    for _, part in chunks(rows):
        lows.append(float(part.min()))
        highs.append(float(part.max()))
        bits = bits and lows[-1] >= 0 and highs[-1] <= 1 and bool(((part == 0) | (part == 1)).all())
    return Survey(float(np.min(lows)), float(np.max(highs)), bits)


def moments(rows: Stored, axis: int | None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation, in double precision: of each of the D columns with axis 0, of
    all values with None.

    Of each chunk in two passes, the chunks put together by Chan, Golub & LeVeque (1979): as exact
    as two passes over all.
    """
    count, mean, squares = 0, np.zeros(1), np.zeros(1)
    for _, part in chunks(rows):
        flat = part.reshape(len(part), -1)
        n = len(flat) if axis == 0 else flat.size
        mean_of = np.atleast_1d(flat.sum(axis=axis, dtype=np.float64)) / n
        squares_of = np.atleast_1d(np.square(flat - mean_of, dtype=np.float64).sum(axis=axis))
        if count:
            apart = mean_of - mean
            mean = mean + apart * (n / (count + n))
            squares = squares + squares_of + apart**2 * (count * n / (count + n))
        else:
            mean, squares = mean_of, squares_of
        count += n
    return mean, np.sqrt(squares / count)
