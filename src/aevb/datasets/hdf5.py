"""Read HDF5 files, and the matrices of AnnData files (.h5ad). This needs the extra ``h5``."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from aevb.datasets import stored
from aevb.datasets.arrays import free_name, one_of
from aevb.datasets.damage import why
from aevb.datasets.numbers import data_of_array
from aevb.datasets.schema import Data
from aevb.datasets.sparse import SparseRows
from aevb.datasets.stored import FileRows, is_streamed
from aevb.errors import AevbError, DataError, NotFoundError, UsageError

if TYPE_CHECKING:
    import h5py

HDF5_START = b"\x89HDF\r\n\x1a\n"
"""The first bytes of an HDF5 file."""


@contextmanager
def readable(path: Path, what: str) -> Iterator[None]:
    """Explain what goes wrong inside a ``with`` block that reads a file."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except AevbError:
        raise
    except NotImplementedError as error:
        raise DataError(f"{path} cannot be read as {what}: {error}. Save plain arrays.") from error
    except Exception as error:  # damaged bytes may cause any error in a library
        raise DataError(f"{path} cannot be read as {what}: {why(error)}") from error


@contextmanager
def open_hdf5(path: Path, what: str) -> Iterator[h5py.File]:
    """Open an HDF5 file. Raises UsageError without h5py, DataError for a damaged file."""
    try:
        import h5py
    except ImportError as error:
        raise UsageError(f"reading {path} needs h5py: pip install 'aevb[h5]'") from error
    with readable(path, what), h5py.File(path, "r") as file:
        yield file


# -------------------------------------------------------------------------------------------------
# HDF5


def read_hdf5(path: Path, name: str = "") -> Data:
    """Read one array (N, ...) of an HDF5 file. This needs the extra ``h5``.

    An array of more than 1 GiB stays in its file if it is stored in one piece.

    Args:
        path: The file.
        name: The name of the array, with its groups: ``group/name``. It may be empty if there is
            only one array of numbers.

    Raises:
        UsageError: There are several arrays, and none was named; or h5py is missing.
        NotFoundError: There is no array of that name.
        DataError: The file is damaged, or holds no array of numbers.

    Example:
        >>> import h5py, numpy as np
        >>> from pathlib import Path
        >>> from aevb.datasets.hdf5 import read_hdf5
        >>> with h5py.File("two.h5", "w") as file:
        ...     file["train"], file["test"] = np.ones((5, 2)), np.zeros((3, 2))
        >>> len(read_hdf5(Path("two.h5"), "test"))
        3
    """
    with open_hdf5(path, "HDF5") as file:
        found = _datasets(file)
        _refuse_pandas(file, path)
        if name:
            _require_dataset(file, found, path, name)
        name = one_of(_numeric(found, name), path, name.strip("/"))
        return _hdf5_data(found[name], path, name)


def _datasets(file: h5py.Group) -> dict[str, h5py.Dataset]:
    """All arrays of a file by their names, which include their groups."""
    import h5py

    found: dict[str, h5py.Dataset] = {}

    def visit(name: str, thing: h5py.HLObject) -> None:
        if isinstance(thing, h5py.Dataset) and thing.shape is not None:
            found[name] = thing

    file.visititems(visit)
    return found


def _numeric(found: Mapping[str, h5py.Dataset], asked: str) -> dict[str, tuple[int, ...] | None]:
    """The shapes of the arrays that can be data: numbers or records, more than one of them.

    asked: the name of an array that is listed in any case.
    """
    return {
        name: tuple(dataset.shape)
        for name, dataset in found.items()
        if name == asked.strip("/") or (dataset.size > 1 and dataset.dtype.kind in "buifV")
    }


def _require_dataset(
    file: h5py.File, found: Mapping[str, h5py.Dataset], path: Path, name: str
) -> None:
    """Raise NotFoundError if ``name`` is a group, and name the arrays in it."""
    inner = [each for each in found if each.startswith(name.strip("/") + "/")]
    if name.strip("/") not in found and name in file and inner:
        raise NotFoundError(f"{name!r} is a group of {path}; name an array: {path}:{inner[0]}")


def _refuse_pandas(file: h5py.File, path: Path) -> None:
    """Raise DataError for a table that pandas wrote with ``to_hdf``: it is spread over arrays."""
    key = next((key for key in file if "pandas_type" in file[key].attrs), None)
    if key is not None:
        read = f"pandas.read_hdf({str(path)!r}, {key!r})"
        raise DataError(
            f"{path} holds a table of pandas, which only pandas can read. Save it as .csv: python"
            f' -c "import pandas; {read}.to_csv({free_name(path.stem + ".csv")!r}, index=False)"'
        )


def _hdf5_data(dataset: h5py.Dataset, path: Path, name: str) -> Data:
    """Read an array of an HDF5 file, or leave it there if it is large."""
    source = f"{path}:{name}"
    size = dataset.size * dataset.dtype.itemsize
    if not is_streamed(size) or dataset.dtype.kind not in "buif":
        return data_of_array(np.asarray(dataset[()]), source)
    offset = dataset.id.get_offset()
    if offset is None or dataset.external or dataset.is_virtual:
        raise _too_large(path, name, size)
    dtype = dataset.dtype
    return Data(
        FileRows(path, dtype, tuple(dataset.shape), offset, dtype.newbyteorder("=")), source
    )


def _too_large(path: Path, name: str, size: int) -> DataError:
    """The error for a large array in pieces, out of which single rows are slow to read."""
    new = free_name(name.rpartition("/")[2] + ".npy")
    d = f"d = h5py.File({str(path)!r})[{name!r}]"
    made = f"numpy.lib.format.open_memmap({new!r}, 'w+', d.dtype, d.shape)"
    return DataError(
        f"{path}:{name} takes {size / 2**30:.1f} GiB in compressed or separate pieces; arrays of"
        f" more than {stored.IN_MEMORY_BYTES / 2**30:g} GiB are read row by row, from one piece."
        f' Save it as .npy: python -c "import h5py, numpy; {d}; d.read_direct({made})"'
    )


# -------------------------------------------------------------------------------------------------
# AnnData


def read_h5ad(path: Path, name: str = "") -> Data:
    """Read counts of genes in cells, or another matrix of an AnnData file. Needs the extra ``h5``.

    A sparse matrix stays sparse in memory. The names of the cells become names of the rows, and
    those of the genes become names of the columns.

    Args:
        path: The file.
        name: The matrix: ``X`` or empty, ``layers/counts``, ``raw/X``, ``obsm/X_pca``.

    Raises:
        UsageError: h5py is missing.
        NotFoundError: There is no such matrix.
        DataError: The file is damaged.

    Example:
        >>> import h5py, numpy as np
        >>> from pathlib import Path
        >>> from aevb.datasets.hdf5 import read_h5ad
        >>> with h5py.File("cells.h5ad", "w") as file:
        ...     file["X"] = np.ones((3, 2))
        ...     file["obs/_index"], file["var/_index"] = ["c1", "c2", "c3"], ["g1", "g2"]
        ...     file["obs"].attrs["_index"] = file["var"].attrs["_index"] = "_index"
        >>> data = read_h5ad(Path("cells.h5ad"))
        >>> data.columns, data.names.tolist()
        (('g1', 'g2'), ['c1', 'c2', 'c3'])
    """
    with open_hdf5(path, "AnnData") as file:
        known = [each for each in _matrices(file) if each in file]
        asked = name.strip("/") or "X"
        if asked not in known:
            listed = ", ".join(known) or "no matrices"
            hint = f"Give {path}:{known[0]}." if known else "Is it an AnnData file?"
            raise NotFoundError(f"{path} holds {listed}; there is no {asked!r} in it. {hint}")
        rows = _matrix(file[asked], path, asked)
        beside = file["raw"] if asked == "raw/X" else file
        genes = None if asked.startswith("obsm/") else _index(beside.get("var"), rows.shape[1])
        source = f"{path}:{name}" if name else str(path)
        return annotated(rows, _index(file.get("obs"), rows.shape[0]), genes, source)


def _matrices(file: h5py.File) -> list[str]:
    """Names of the matrices with a row per cell."""
    inside = [f"{group}/{key}" for group in ("layers", "obsm") for key in file.get(group) or ()]
    return ["X", "raw/X", *inside]


def _matrix(stored_as: Any, path: Path, name: str) -> Any:
    """Read a dense array or a sparse matrix."""
    import h5py
    from scipy.sparse import csc_array, csr_array

    if isinstance(stored_as, h5py.Dataset):
        found = _hdf5_data(stored_as, path, name).rows
        if found.ndim == 2:
            return found
    elif (kind := _sparse_kind(stored_as)) is not None:
        make = csc_array if kind == "csc" else csr_array
        parts = tuple(np.asarray(stored_as[part][()]) for part in ("data", "indices", "indptr"))
        shape = tuple(
            int(n) for n in stored_as.attrs.get("shape", stored_as.attrs.get("h5sparse_shape"))
        )
        return SparseRows(make(parts, shape=shape), f"{path}:{name}")
    raise DataError(f"{path}: {name} is no matrix of numbers. Name a matrix, such as {path}:X.")


def _sparse_kind(group: Any) -> str | None:
    """ "csr" or "csc" if a group holds a sparse matrix, else None."""
    kind = group.attrs.get("encoding-type", group.attrs.get("h5sparse_format", ""))
    return kind[:3] if kind[:3] in ("csr", "csc") else None


def _index(group: Any, count: int) -> NDArray[Any] | None:
    """The names of cells or genes: (count,) of str. None if there are none."""
    import h5py

    found: Any = None
    if isinstance(group, h5py.Dataset):  # the form before AnnData 0.7
        fields = group.dtype.names or ()
        found = group[fields[0]] if fields else None
    elif group is not None:
        found = group.get(group.attrs.get("_index", "_index"))
        found = None if not isinstance(found, h5py.Dataset) else found[()]
    if found is None or len(found) != count:
        return None
    return np.array([x.decode() if isinstance(x, bytes) else str(x) for x in found])


def annotated(
    rows: Any, cells: NDArray[Any] | None, genes: NDArray[Any] | None, source: str
) -> Data:
    """Put a matrix of AnnData and its names together.

    Args:
        rows: (N, D), an array or ``SparseRows``.
        cells: (N,), the names of the rows, or None.
        genes: (D,), the names of the columns, or None.
        source: The name of the data, for messages.

    Example:
        >>> import numpy as np
        >>> from aevb.datasets.hdf5 import annotated
        >>> genes = np.array(["a", "b", "a"])
        >>> annotated(np.ones((2, 3)), np.array(["c1", "c2"]), genes, "mine").columns
        ('a', 'b', 'a-1')
    """
    columns = None if genes is None else _unique([str(name) for name in genes])
    added = genes is not None and len(set(genes)) < len(genes)
    return Data(
        rows,
        source,
        columns=columns,
        names=None if cells is None else np.array([str(name) for name in cells]),
        names_of="" if cells is None else "obs",
        notes=(
            (f"{source}: some genes have the same name; -1, -2, ... were added to the later ones.",)
            if added
            else ()
        ),
    )


def _unique(names: list[str]) -> tuple[str, ...]:
    """Add -1, -2, ... to names that occurred before."""
    taken, found = set(names), []
    seen: set[str] = set()
    for name in names:
        new, number = name, 0
        while new in seen or (number and new in taken):
            number += 1
            new = f"{name}-{number}"
        seen.add(new)
        found.append(new)
    return tuple(found)
