"""Read files that hold several arrays: .npz, HDF5, .h5ad, MATLAB's .mat and .safetensors.

``CONTAINERS`` lists them. ``file.h5:name`` names one array.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from aevb.datasets.arrays import free_name, one_of, read_npz
from aevb.datasets.damage import why
from aevb.datasets.hdf5 import HDF5_START, open_hdf5, read_h5ad, read_hdf5, readable
from aevb.datasets.numbers import data_of_array, of_tensor
from aevb.datasets.schema import Data
from aevb.datasets.sparse import SparseRows, is_sparse
from aevb.errors import DataError

# -------------------------------------------------------------------------------------------------
# MATLAB


def read_mat(path: Path, name: str = "") -> Data:
    """Read one variable of a MATLAB file. Files of version 7.3 need the extra ``h5``.

    Args:
        path: The file.
        name: The variable. It may be empty if there is only one array of numbers.

    Raises:
        UsageError: There are several variables, and none was named; or h5py is missing.
        NotFoundError: There is no variable of that name.
        DataError: The file is damaged, or the variable is no array of numbers.

    Example:
        >>> import numpy as np
        >>> from pathlib import Path
        >>> from scipy.io import savemat
        >>> from aevb.datasets.containers import read_mat
        >>> savemat("spikes.mat", {"spikes": np.ones((6, 4)), "rate": 30.0})
        >>> read_mat(Path("spikes.mat")).source, len(read_mat(Path("spikes.mat"), "spikes"))
        ('spikes.mat:spikes', 6)
    """
    with readable(path, "a MATLAB file"), path.open("rb") as file:
        start = file.read(520)
    if HDF5_START in (start[:8], start[512:520]) or start.startswith(b"MATLAB 7.3"):
        value, name = _of_matlab_hdf5(path, name)
    else:
        value, name = _of_matlab(path, name)
    source = f"{path}:{name}"
    if is_sparse(value):
        return Data(SparseRows(value, source), source)
    # MATLAB has no arrays of one axis: a vector is one row or one column.
    return data_of_array(value.ravel() if value.ndim == 2 and 1 in value.shape else value, source)


def _of_matlab(path: Path, name: str) -> tuple[Any, str]:
    """Read a variable of a file of version 4 to 7."""
    from scipy.io import loadmat, whosmat

    with readable(path, "a MATLAB file"):
        kinds = {each: (shape, kind) for each, shape, kind in whosmat(path)}
        numeric = {
            each: tuple(shape)
            for each, (shape, kind) in kinds.items()
            if each == name or (kind not in NOT_NUMBERS and math.prod(shape) > 1)
        }
        name = one_of(numeric, path, name)
        _refuse_matlab(kinds[name][1], path, name)
        found = loadmat(path, variable_names=[name])[name]
        return (found.astype(bool) if kinds[name][1] == "logical" else found), name


def _of_matlab_hdf5(path: Path, name: str) -> tuple[Any, str]:
    """Read a variable of a file of version 7.3. HDF5 has MATLAB's axes in reverse order."""
    with open_hdf5(path, "a MATLAB file") as file:
        kinds = {key: _matlab_class(file[key]) for key in file if not key.startswith("#")}
        shapes = {
            each: shape
            for each, kind in kinds.items()
            for shape in [_matlab_shape(file[each])]
            if each == name or (kind not in NOT_NUMBERS and math.prod(shape or (0,)) > 1)
        }
        name = one_of(shapes, path, name)
        _refuse_matlab(kinds[name], path, name)
        found = file[name]
        if "MATLAB_sparse" in found.attrs:
            return _matlab_sparse(found), name
        array = np.asarray(found[()]).T
        return (array.astype(bool) if kinds[name] == "logical" else array), name


NOT_NUMBERS = (
    "char",
    "cell",
    "struct",
    "object",
    "function",
    "opaque",
    "unknown",
    "string",
    "table",
)
"""Classes of MATLAB's variables that are no arrays of numbers."""


def _matlab_class(found: Any) -> str:
    kind = found.attrs.get("MATLAB_class", b"")
    kind = kind.decode() if isinstance(kind, bytes) else str(kind)
    return kind or ("struct" if not hasattr(found, "shape") else "double")


def _matlab_shape(found: Any) -> tuple[int, ...] | None:
    """The shape in MATLAB, or None for what has no shape in the file."""
    if "MATLAB_sparse" in found.attrs:
        return int(found.attrs["MATLAB_sparse"]), len(found["jc"]) - 1
    return tuple(reversed(found.shape)) if hasattr(found, "shape") else None


def _matlab_sparse(found: Any) -> Any:
    from scipy.sparse import csc_array

    columns = found["jc"][()].astype(np.int64)
    has_numbers = "data" in found  # a matrix of zeros has none
    return csc_array(
        (
            found["data"][()] if has_numbers else np.empty(0),
            found["ir"][()].astype(np.int64) if has_numbers else np.empty(0, np.int64),
            columns,
        ),
        shape=(int(found.attrs["MATLAB_sparse"]), len(columns) - 1),
    )


def _refuse_matlab(kind: str, path: Path, name: str) -> None:
    if kind in NOT_NUMBERS:
        raise DataError(
            f"{path}: {name!r} is a MATLAB {kind}; expected an array of numbers. Save the array by"
            " itself: in MATLAB, X = ...; save('x.mat', 'X')."
        )


# -------------------------------------------------------------------------------------------------
# safetensors


def read_safetensors(path: Path, name: str = "") -> Data:
    """Read one tensor (N, ...) of a .safetensors file.

    Args:
        path: The file.
        name: The tensor's name. It may be empty if the file holds only one.

    Raises:
        UsageError: The file holds several tensors, and no name was given.
        NotFoundError: There is no tensor of that name.
        DataError: The file is damaged.

    Example:
        >>> import torch
        >>> from pathlib import Path
        >>> from safetensors.torch import save_file
        >>> from aevb.datasets.containers import read_safetensors
        >>> save_file({"x": torch.ones(3, 2, dtype=torch.bfloat16)}, "x.safetensors")
        >>> read_safetensors(Path("x.safetensors")).rows.dtype
        dtype('float32')
    """
    from safetensors import SafetensorError, safe_open

    try:
        with readable(path, "safetensors"), safe_open(path, "pt") as file:
            shapes = {key: tuple(file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
            member = one_of(shapes, path, name)
            array = of_tensor(file.get_tensor(member))
    except SafetensorError as error:
        raise DataError(f"{path} cannot be read as safetensors: {why(error)}") from error
    return data_of_array(array, f"{path}:{name}" if name else str(path))


class Reader(Protocol):
    """A function that reads one array of a file. Without a name, there must be only one."""

    def __call__(self, path: Path, name: str = "") -> Data:
        """Read the array ``name`` of the file."""


CONTAINERS: dict[str, Reader] = {
    ".npz": read_npz,
    ".h5": read_hdf5,
    ".hdf5": read_hdf5,
    ".h5ad": read_h5ad,
    ".mat": read_mat,
    ".safetensors": read_safetensors,
}
"""The function that reads an array of a file, by the ending of the file's name."""


def inside(text: str) -> tuple[Path, str] | None:
    """Split ``file.h5:name`` into the file and the name of an array in it.

    Returns:
        None if there is no such file, or if it cannot hold several arrays.

    Example:
        >>> import numpy as np
        >>> from aevb.datasets.containers import inside
        >>> np.savez("arrays.npz", x=np.ones((5, 2)))
        >>> inside("arrays.npz:x"), inside("arrays.npz"), inside("gone.npz:x")
        ((PosixPath('arrays.npz'), 'x'), None, None)
    """
    ends = [i for i, letter in enumerate(text) if letter == ":"]
    for end in ends:
        try:
            path = Path(text[:end]).expanduser()
            if path.suffix.lower() in CONTAINERS and path.is_file() and text[end + 1 :]:
                return path, text[end + 1 :]
        except (OSError, RuntimeError, ValueError):  # no such name, or an unknown user after ~
            continue
    return None


def refuse_objects(path: Path) -> Data:
    """Refuse a file of Python objects, and say how its owner can save the numbers in it.

    Raises:
        DataError: Always.

    Example:
        >>> from pathlib import Path
        >>> from aevb.datasets.containers import refuse_objects
        >>> refuse_objects(Path("rows.pt"))  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        aevb.errors.DataError: rows.pt holds Python objects, and loading them can run code, ...
    """
    raise DataError(
        f"{path} holds Python objects, and loading them can run code, so aevb never does. If the"
        f' file is yours, save its numbers: python -c "{_loading(path)}"'
    )


def _loading(path: Path) -> str:
    """A line of Python that saves the content of a file as .npy or .csv."""
    suffix, source, new = path.suffix.lower(), str(path), free_name(f"{path.stem}.npy")
    if suffix in (".pt", ".pth"):
        tensors = "x if isinstance(x, dict) else {'x': x.detach().contiguous()}"
        return (
            "import torch; from safetensors.torch import save_file;"
            f" x = torch.load({source!r}, weights_only=True);"
            f" save_file({tensors}, {free_name(path.stem + '.safetensors')!r})"
        )
    with path.open("rb") as file:
        holds_frame = b"pandas" in file.read(2**16)
    loaded = (
        f"joblib.load({source!r})" if suffix == ".joblib" else f"pandas.read_pickle({source!r})"
    )
    imported = "joblib, numpy" if suffix == ".joblib" else "numpy, pandas"
    saved = (
        f"{loaded}.to_csv({free_name(path.stem + '.csv')!r}, index=False)"
        if holds_frame
        else f"numpy.save({new!r}, numpy.asarray({loaded}, float))"
    )
    return f"import {imported}; {saved}"
