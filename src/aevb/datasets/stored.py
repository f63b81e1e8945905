"""Rows that stay in their file and are read when they are needed, a batch or a chunk at a time.

``preadv`` reads them into a buffer. A memory mapping would also work, but its pages count as memory
of the process, while the system's cache of a file does not.

Every pass over all rows of a data set goes through ``chunks``. The chunks are the same whether the
rows are in memory or in a file. So the sums over them are equal to the last bit.
"""

from __future__ import annotations

import math
import os
import weakref
from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from aevb.errors import DataError

IN_MEMORY_BYTES = 2**30
"""A larger .npy or uncompressed idx file stays on disk; a smaller one is loaded."""
CHUNK_VALUES = 2**20
"""Numbers in a chunk. In double precision they take 8 MiB."""
GAP = 8192
"""If two rows are at most this many bytes apart, one call reads both and what lies between."""
BLOCK = 2**22
"""One call reads at most this many bytes plus one row."""
BEYOND_ITS_END = "it goes on after the last value that its header announces"
"""The message for a file that is longer than its header says; numpy would drop the last rows."""


class LazyRows(ABC):
    """Rows (N, *shape) that become an array only where they are needed, some at a time.

    They offer the few attributes and methods of an array that ``Data`` needs. A subclass defines
    ``read``.

    Args:
        rows: N.
        row_shape: The shape of one row.
        dtype: The type of the rows that are returned.
    """

    def __init__(self, rows: int, row_shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self.dtype = dtype
        self._rows, self._row_shape = rows, row_shape
        self._index: NDArray[np.int64] | None = None

    @abstractmethod
    def read(self, index: NDArray[np.int64]) -> NDArray[Any]:
        """Return the rows of ``index``: (M,), in any order -> (M, *shape)."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, *shape)."""
        return (len(self), *self._row_shape)

    @property
    def ndim(self) -> int:
        """How many axes there are, including that of the rows."""
        return 1 + len(self._row_shape)

    @property
    def size(self) -> int:
        """How many numbers there are."""
        return math.prod(self.shape)

    def __len__(self) -> int:
        return self._rows if self._index is None else len(self._index)

    def take(self, index: NDArray[Any]) -> Self:
        """Return the rows of ``index``: (M,), integers from 0. Nothing is read yet.

        Example:
            >>> import numpy as np
            >>> from pathlib import Path
            >>> from aevb.datasets.stored import FileRows
            >>> np.arange(12).tofile("numbers.bin")
            >>> rows = FileRows(Path("numbers.bin"), np.dtype(int), (4, 3), offset=0)
            >>> rows.take(np.array([3, 1])).take(np.array([1]))[:]
            array([[3, 4, 5]])
        """
        part = object.__new__(type(self))
        part.__dict__.update(self.__dict__)
        index = np.asarray(index, np.int64)
        part._index = index if self._index is None else self._index[index]
        return part

    def shaped(self, shape: tuple[int, ...]) -> Self:
        """Return the same rows with another shape of as many numbers each: (N, *shape).

        Example:
            >>> import numpy as np
            >>> from pathlib import Path
            >>> from aevb.datasets.stored import FileRows
            >>> np.arange(12).tofile("numbers.bin")
            >>> FileRows(Path("numbers.bin"), np.dtype(int), (3, 4), offset=0).shaped((2, 2)).shape
            (3, 2, 2)
        """
        part = object.__new__(type(self))
        part.__dict__.update(self.__dict__)
        part._row_shape = shape
        return part

    def __getitem__(self, index: slice | NDArray[Any]) -> NDArray[Any]:
        """Read the rows of a slice, or of integers (M,): (M, *shape)."""
        places = self._numbers(index)
        return self.read(places).reshape(len(places), *self._row_shape)

    def _numbers(self, index: slice | NDArray[Any]) -> NDArray[np.int64]:
        """Return the places of the rows that ``index`` names, before any ``take``: (M,)."""
        if self._index is not None:
            return self._index[index]
        if isinstance(index, slice):
            return np.arange(*index.indices(len(self)))
        return np.asarray(index, np.int64)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return self[:] if dtype is None else self[:].astype(dtype)


class FileRows(LazyRows):
    """The rows (N, *shape) of an array in C order in a file.

    Args:
        path: The file.
        file_dtype: The type of the array in the file.
        shape: The shape of the array.
        offset: Bytes before its first row.
        dtype: The type of the rows that are returned. Default: that of the file.

    Raises:
        DataError: The file cannot be read any more.

    Example:
        >>> import numpy as np
        >>> from pathlib import Path
        >>> from aevb.datasets.stored import FileRows
        >>> numbers = np.arange(12).reshape(4, 3)
        >>> numbers.tofile("numbers.bin")
        >>> rows = FileRows(Path("numbers.bin"), numbers.dtype, numbers.shape, offset=0)
        >>> len(rows), rows.shape, rows.ndim, rows.size
        (4, (4, 3), 2, 12)
        >>> rows[np.array([3, 0])]
        array([[ 9, 10, 11],
               [ 0,  1,  2]])
        >>> rows.take(np.array([2]))[:]
        array([[6, 7, 8]])
    """

    def __init__(
        self,
        path: Path,
        file_dtype: np.dtype[Any],
        shape: tuple[int, ...],
        offset: int,
        dtype: np.dtype[Any] | None = None,
    ) -> None:
        super().__init__(shape[0], shape[1:] or (1,), dtype or file_dtype)
        self.path, self._file_dtype, self._offset = path, file_dtype, offset
        self._row_bytes = math.prod(self._row_shape) * file_dtype.itemsize
        self._file = _OpenFile(path)

    def read(self, index: NDArray[np.int64]) -> NDArray[Any]:
        """Return the rows of ``index``: (M,), in any order -> (M, *shape)."""
        ordered = bool((index[1:] >= index[:-1]).all())
        if ordered:
            found = self._read(index)
        else:  # Read in the order of the file, and return in the order of the index.
            order = np.argsort(index, kind="stable")
            in_order = self._read(index[order])
            found = np.empty_like(in_order)
            found[order] = in_order
        rows: NDArray[Any] = found.view(self._file_dtype).reshape(len(index), *self._row_shape)
        return rows.astype(self.dtype, copy=False)

    def _read(self, index: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Read the rows of ``index``: (M,), ascending -> bytes (M, bytes of a row)."""
        size = self._row_bytes
        found = np.empty((len(index), size), np.uint8)
        if not len(index):
            return found
        start = index * size
        breaks = (np.diff(start) > size + GAP) | (np.diff(start // BLOCK) > 0)
        ends = [*(np.flatnonzero(breaks) + 1).tolist(), len(index)]
        for first, end in zip([0, *ends], ends, strict=False):
            self._read_near(index[first:end], found[first:end])
        return found

    def _read_near(self, index: NDArray[np.int64], found: NDArray[np.uint8]) -> None:
        """Read rows that lie near each other into ``found``, with as few calls as possible."""
        low, high = int(index[0]), int(index[-1])
        offset = self._offset + low * self._row_bytes
        if high - low == len(index) - 1 and bool((np.diff(index) == 1).all()):
            self._file.fill(found.reshape(-1).data, offset)
            return
        # Rows in between are read and dropped. A row that occurs twice is read once.
        span = np.empty((high - low + 1, self._row_bytes), np.uint8)
        self._file.fill(span.reshape(-1).data, offset)
        np.take(span, index - low, axis=0, out=found)


class _OpenFile:
    """A file descriptor. It is closed when the last ``FileRows`` that reads from it is gone."""

    def __init__(self, path: Path) -> None:
        self.path, self.descriptor = path, os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self.descriptor)
        if hasattr(os, "posix_fadvise"):
            # Rows are drawn at random, so reading ahead would be wasted.
            os.posix_fadvise(self.descriptor, 0, 0, os.POSIX_FADV_RANDOM)

    def fill(self, view: memoryview, offset: int) -> None:
        """Fill ``view`` with the bytes from ``offset`` on. Raises DataError if the file ends."""
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


Stored = NDArray[Any] | LazyRows
"""The rows of a data set: an array in memory, or rows that are read when they are needed."""


def is_streamed(size: int) -> bool:
    """Whether a file of this many bytes stays on disk."""
    return size > IN_MEMORY_BYTES and hasattr(os, "preadv")


def npy_rows(path: Path) -> FileRows | None:
    """Return the rows of a large .npy file, to be read when they are needed.

    None means that the file must be loaded: it is small, or cannot be read row by row.

    Raises:
        ValueError, OSError: The file is damaged.

    Example:
        >>> import numpy as np
        >>> from pathlib import Path
        >>> from aevb.datasets.stored import npy_rows
        >>> np.save("small.npy", np.ones((4, 3)))
        >>> print(npy_rows(Path("small.npy")))  # a small file is loaded
        None
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
    """Yield (number of the first row, rows) of each chunk of rows (N, *shape), in order.

    Example:
        >>> import numpy as np
        >>> from aevb.datasets.stored import chunks
        >>> [(start, part.shape) for start, part in chunks(np.ones((3, 2**19)))]
        [(0, (2, 524288)), (2, (1, 524288))]
    """
    step = max(1, CHUNK_VALUES // max(1, math.prod(rows.shape[1:])))
    for start in range(0, len(rows), step):
        yield start, rows[start : start + step]


class Survey(NamedTuple):
    """Facts about all values: the smallest, the largest, and whether all are 0 or 1.

    If there is a NaN, the smallest and the largest are NaN.
    """

    low: float
    high: float
    bits: bool


def survey(rows: Stored) -> Survey:
    """Look at all rows (N, *shape) once.

    Example:
        >>> import numpy as np
        >>> from aevb.datasets.stored import survey
        >>> survey(np.array([[0.0, 0.5], [2.0, 1.0]]))
        Survey(low=0.0, high=2.0, bits=False)
    """
    lows, highs, bits = [], [], True
    for _, part in chunks(rows):
        lows.append(float(part.min()))
        highs.append(float(part.max()))
        bits = bits and lows[-1] >= 0 and highs[-1] <= 1 and bool(((part == 0) | (part == 1)).all())
    return Survey(float(np.min(lows)), float(np.max(highs)), bits)


def moments(rows: Stored, axis: int | None) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Compute mean and standard deviation in double precision.

    Each chunk takes two passes, and the chunks are combined by the formula of Chan, Golub & LeVeque
    (1979). This is as exact as two passes over all rows.

    Args:
        rows: (N, *shape), flattened to (N, D).
        axis: 0 for each of the D columns: (D,). None for all values together: (1,).

    Example:
        >>> import numpy as np
        >>> from aevb.datasets.stored import moments
        >>> moments(np.array([[1.0, 10.0], [3.0, 10.0]]), axis=0)
        (array([ 2., 10.]), array([1., 0.]))
        >>> moments(np.array([[1.0, 3.0]]), axis=None)
        (array([2.]), array([1.]))
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
