"""An array of any type becomes ``Data``: numbers as they are, and anything else is explained."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aevb.datasets.schema import Data, Schema
from aevb.datasets.tabular.frames import table_of
from aevb.errors import DataError

EXACT = 2**53
"""Whole numbers beyond this are rounded as float64."""
NUMPY_FLOATS = ("torch.float16", "torch.float32", "torch.float64")
"""Types of floats that numpy has too."""
REFUSED = {
    "c": "complex numbers ({type}). Give their parts: numpy.stack([z.real, z.imag], -1)",
    "U": "text ({type}). Give it in a data frame or a .csv file, or encode it as numbers",
    "S": "text ({type}). Give it in a data frame or a .csv file, or encode it as numbers",
    "T": "text ({type}). Give it in a data frame or a .csv file, or encode it as numbers",
}
"""What an array of each type holds, and what to do, by the letter of numpy's type."""


def data_of_array(
    array: NDArray[Any],
    source: str,
    *,
    columns: dict[str, str] | None = None,
    like: Schema | None = None,
    **facts: Any,
) -> Data:
    """Make ``Data`` from an array of any type.

    Masked values are missing. An array of Python numbers becomes one of floats or integers. A
    structured array is a table of its fields, and dates are a table too.

    Args:
        array: (N, ...).
        source: The name of the data, for messages.
        columns: The kinds of a table's columns, if they were given: name -> kind.
        like: The form that the rows should have.
        facts: More fields of ``Data``.

    Raises:
        DataError: The array holds something else than finite numbers, or is empty.

    Example:
        >>> import numpy as np
        >>> from aevb.datasets.numbers import data_of_array
        >>> data_of_array(np.array([[1, 2.5], [3, 4]], dtype=object), "mine").rows
        array([[1. , 2.5],
               [3. , 4. ]])
        >>> data_of_array(np.ma.masked_equal([[1, 2], [3, 9]], 9), "mine")
        Traceback (most recent call last):
        aevb.errors.DataError: mine: 1 missing (NaN) of 4 values, the first at index [1, 1]. Fill \
them in or remove those rows; a data frame or a .csv file may have missing cells.
    """
    if array.ndim == 0:
        raise DataError(
            f"{source} holds a single number; expected an array with one row per example. Is it the"
            " right file?"
        )
    if array.dtype.names is not None:
        return table_of(_frame_of_fields(array, source), source, columns, like)
    if array.dtype.kind in "mM" and array.ndim <= 2:
        return table_of(_frame_of_dates(array), source, columns, like)
    rows = plain(array, source)
    data = Data(rows, source, **facts)
    return replace(data, notes=(*data.notes, *_rounded(data)))


def plain(array: NDArray[Any], source: str) -> NDArray[Any]:
    """Return an array of a type that the rest of the package takes: integers, floats or bits.

    Args:
        array: Any array without fields.
        source: The name of the data, for messages.

    Raises:
        DataError: The array does not hold real numbers.

    Example:
        >>> import numpy as np
        >>> from aevb.datasets.numbers import plain
        >>> plain(np.array([None, 2]), "mine")
        array([nan,  2.])
        >>> plain(np.array(["a"]), "mine")
        Traceback (most recent call last):
        aevb.errors.DataError: mine: expected numbers; got text (<U1). Give it in a data frame or \
a .csv file, or encode it as numbers.
    """
    if isinstance(array, np.ma.MaskedArray):
        array = _unmasked(array)
    array = np.asarray(array)
    if array.dtype.kind == "O":
        array = _numbers(array, source)
    if array.dtype.kind in REFUSED:
        found = REFUSED[array.dtype.kind].format(type=array.dtype)
        raise DataError(f"{source}: expected numbers; got {found}.")
    if array.dtype.kind == "f" and array.dtype.itemsize > 8:
        return array.astype(np.float64)
    return array


def of_tensor(tensor: Any, source: str = "the tensor") -> NDArray[Any]:
    """Turn a tensor into an array, wherever it is, and whether or not it has a gradient.

    Floats of fewer than 32 bits that numpy lacks, such as bfloat16, become float32.

    Args:
        tensor: A tensor of torch.
        source: The name of the data, for messages.

    Raises:
        DataError: The tensor has no numbers, or its rows have different lengths.

    Example:
        >>> import torch
        >>> from aevb.datasets.numbers import of_tensor
        >>> of_tensor(torch.ones(2, dtype=torch.bfloat16, requires_grad=True))
        array([1., 1.], dtype=float32)
    """
    try:
        found = tensor.detach()
        if found.is_quantized:
            found = found.dequantize()
        if found.is_nested:
            raise DataError(
                f"{source}: a nested tensor has rows of different lengths. Give all rows one shape,"
                " for example by torch.nested.to_padded_tensor."
            )
        found = found.to_dense() if str(found.layout) != "torch.strided" else found
        if found.is_floating_point() and str(found.dtype) not in NUMPY_FLOATS:
            found = found.float()
        return np.asarray(found.cpu().resolve_conj().resolve_neg().numpy())
    except (RuntimeError, NotImplementedError, TypeError) as error:
        raise DataError(
            f"{source}: a tensor of type {tensor.dtype} on {tensor.device} has no numbers that can"
            f" be read ({' '.join(str(error).split())}). Give a tensor of floats on the CPU."
        ) from error


def _unmasked(array: np.ma.MaskedArray[Any, Any]) -> NDArray[Any]:
    """Masked values become NaN, which is refused as a missing value."""
    if not np.ma.is_masked(array):
        return np.asarray(array.data)
    kind = array.dtype.kind
    wide: Any = array if kind in "fcO" else array.astype(np.float64)
    filled: NDArray[Any] = wide.filled(np.nan)
    return filled


def _numbers(array: NDArray[Any], source: str) -> NDArray[Any]:
    """Turn an array of Python objects into numbers. Missing ones become NaN."""
    cells = array.ravel().tolist()
    wrong = next((i for i, cell in enumerate(cells) if not _is_number(cell)), None)
    if wrong is not None:
        place = [int(i) for i in np.unravel_index(wrong, array.shape)]
        raise DataError(
            f"{source}: expected numbers; got {_short(cells[wrong])} at index {place}. Give"
            " integers or floats with one row per example, all rows of one shape."
        )
    missing = any(_is_missing(cell) for cell in cells)
    found = np.array(
        [np.nan if _is_missing(cell) else cell for cell in cells] if missing else cells
    )
    if found.dtype.kind == "O":  # decimals, fractions, or integers of more than 64 bits
        found = np.array([float(cell) for cell in cells])
    return found.reshape(array.shape)


def _is_missing(cell: object) -> bool:
    return cell is None or type(cell).__name__ in ("NAType", "NaTType")


def _is_number(cell: object) -> bool:
    """Whether a Python object is one number, or a missing one."""
    if _is_missing(cell):
        return True
    return not isinstance(cell, str | bytes) and np.ndim(cell) == 0 and hasattr(cell, "__float__")  # type: ignore[arg-type]


def _short(cell: object) -> str:
    text = " ".join(repr(cell).split())
    return f"{type(cell).__name__} {text if len(text) <= 40 else text[:37] + '...'}"


def _frame_of_fields(array: NDArray[Any], source: str) -> Any:
    """Make a data frame from the fields of a structured array (N,)."""
    import pandas as pd

    names = array.dtype.names or ()
    deep = next((name for name in names if array[name].ndim > array.ndim), None)
    if deep is not None:
        raise DataError(
            f"{source}: a structured array is a table with one value in every field; the field"
            f" {deep!r} holds several. Give that field by itself: array[{deep!r}]."
        )
    if array.ndim > 1:
        raise DataError(
            f"{source}: a structured array is a table, and this one has {array.ndim} axes. Give"
            " array.ravel()."
        )
    return pd.DataFrame({name: _field(array[name]) for name in names})


def _field(values: NDArray[Any]) -> Any:
    """One field (N,) in the byte order of this machine, which pandas needs. Masked is missing."""
    import pandas as pd

    if isinstance(values, np.ma.MaskedArray):
        cells: Any = values.astype(object)
        whole = np.asarray(cells.data).copy()
        whole[np.ma.getmaskarray(values)] = None
        return pd.Series(whole).infer_objects()
    return values.astype(values.dtype.newbyteorder("="))


def _frame_of_dates(array: NDArray[Any]) -> Any:
    import pandas as pd

    table = array[:, None] if array.ndim == 1 else array
    return pd.DataFrame({f"column_{i + 1}": table[:, i] for i in range(table.shape[1])})


def _rounded(data: Data) -> Iterable[str]:
    """Say that whole numbers are too large to be exact."""
    if data.rows.dtype.kind in "ui" and max(map(abs, data.range)) > EXACT:
        yield (
            f"{data.source} has whole numbers beyond 2**53 = {EXACT}: their last digits are lost,"
            " because the model computes with floats. Leave identifiers out."
        )
