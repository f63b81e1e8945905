"""Sparse rows: only the numbers that are not 0 are in memory, and batches become dense."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aevb.datasets.damage import why
from aevb.datasets.stored import LazyRows
from aevb.errors import DataError, UsageError

if TYPE_CHECKING:
    from scipy.sparse import csr_array

MEMBERS = {"format", "shape", "data"}
"""Names that every sparse matrix has in a .npz archive."""


class SparseRows(LazyRows):
    """The rows (N, D) of a sparse matrix.

    Args:
        matrix: Any matrix or array of ``scipy.sparse`` with two axes.
        source: The name of the data, for messages.

    Raises:
        DataError: The matrix does not hold real numbers, or its indices are damaged.

    Example:
        >>> import numpy as np
        >>> from scipy.sparse import coo_array
        >>> from aevb.datasets.sparse import SparseRows
        >>> rows = SparseRows(coo_array(np.array([[0, 3], [0, 0], [5, 0]])))
        >>> rows.shape, rows.size, rows.dtype
        ((3, 2), 6, dtype('int64'))
        >>> rows[np.array([2, 0])]
        array([[5, 0],
               [0, 3]])
        >>> rows.take(np.array([1, 2]))[:]
        array([[0, 0],
               [5, 0]])
    """

    def __init__(self, matrix: Any, source: str = "the matrix") -> None:
        self._matrix = _by_rows(matrix, source)
        count, width = self._matrix.shape
        super().__init__(count, (width,), self._matrix.dtype)

    def read(self, index: NDArray[np.int64]) -> NDArray[Any]:
        """Return the rows of ``index``: (M,), in any order -> (M, D), dense."""
        dense: NDArray[Any] = self._matrix[index].toarray()
        return dense


def _by_rows(matrix: Any, source: str) -> csr_array:
    """Bring a sparse matrix to compressed rows of numbers that scipy can make dense."""
    from scipy.sparse import csr_array

    if matrix.ndim != 2:
        raise DataError(
            f"{source} is a sparse array of {matrix.ndim} axes; expected 2, one row per example."
            " Give array.reshape(array.shape[0], -1)."
        )
    kind = np.dtype(matrix.dtype).kind
    if kind not in "buif":
        raise DataError(
            f"{source}: expected numbers; got a sparse matrix of type {matrix.dtype}. Give it as"
            " integers or floats."
        )
    try:
        rows = csr_array(matrix)
        rows.check_format(full_check=True)  # scipy would otherwise read outside of its arrays
    except (ValueError, IndexError) as error:
        raise DataError(f"{source} is no valid sparse matrix: {why(error)}") from error
    return rows.astype(_dense_type(rows.dtype), copy=False)


def _dense_type(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """The type of the dense rows: scipy makes no dense rows of half or of extended precision."""
    if dtype.kind != "f":
        return dtype.newbyteorder("=")
    return np.dtype(np.float32 if dtype.itemsize <= 4 else np.float64)


def is_sparse(value: object) -> bool:
    """Whether a value is a matrix or an array of ``scipy.sparse``.

    Example:
        >>> import numpy as np
        >>> from scipy.sparse import eye_array
        >>> from aevb.datasets.sparse import is_sparse
        >>> is_sparse(eye_array(3)), is_sparse(np.eye(3))
        (True, False)
    """
    from scipy.sparse import issparse

    return bool(issparse(value))


def holds_sparse(members: Collection[str]) -> bool:
    """Whether the arrays of a .npz archive are the parts of one sparse matrix.

    Example:
        >>> from aevb.datasets.sparse import holds_sparse
        >>> holds_sparse(["indices", "indptr", "format", "shape", "data"])
        True
        >>> holds_sparse(["data", "shape"])
        False
    """
    return set(members) >= MEMBERS


def read_sparse(path: Path, name: str = "") -> SparseRows:
    """Read the sparse matrix of a .npz archive that ``scipy.sparse.save_npz`` has written.

    Args:
        path: The archive.
        name: The part of the matrix that was asked for, which is refused.

    Raises:
        UsageError: A part was asked for.
        DataError: The archive is damaged.

    Example:
        >>> import numpy as np
        >>> from pathlib import Path
        >>> from scipy.sparse import csr_array, save_npz
        >>> from aevb.datasets.sparse import read_sparse
        >>> save_npz("counts.npz", csr_array(np.eye(3, 4)))
        >>> read_sparse(Path("counts.npz")).shape
        (3, 4)
    """
    from scipy.sparse import load_npz

    if name:
        raise UsageError(
            f"{path} holds one sparse matrix, and {name!r} is only a part of it. Give {path}."
        )
    try:
        return SparseRows(load_npz(path), str(path))
    except DataError:
        raise
    except Exception as error:  # damaged members cause any error in scipy
        raise DataError(f"{path} cannot be read as a sparse matrix: {why(error)}") from error


def of_torch(tensor: Any, source: str = "the tensor") -> Any:
    """Turn a sparse tensor with two axes into a matrix of ``scipy.sparse``.

    Raises:
        DataError: The tensor is damaged.

    Example:
        >>> import torch
        >>> from aevb.datasets.sparse import of_torch
        >>> of_torch(torch.eye(3).to_sparse()).shape
        (3, 3)
    """
    from scipy.sparse import coo_array

    try:
        # Tensors in compressed forms are brought to coordinates.
        parts = (tensor if tensor.is_sparse else tensor.to_sparse_coo()).coalesce().cpu()
    except RuntimeError as error:
        raise DataError(f"{source}: a sparse tensor that cannot be read: {why(error)}") from error
    values = parts.values()
    wide = values.float() if values.is_floating_point() and values.itemsize < 4 else values
    return coo_array((wide.numpy(), parts.indices().numpy()), shape=tuple(parts.shape))
