"""Turn whatever a person hands to ``aevb.fit`` in Python into ``Data``.

``FORMS`` lists what is understood. Anything else is refused with a sentence.
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aevb.datasets import load, load_like
from aevb.datasets.collected import (
    axes,
    extent,
    is_picture,
    is_ragged,
    is_tensor,
    message,
    named,
    of_items,
    of_picture,
    unused,
)
from aevb.datasets.hdf5 import annotated
from aevb.datasets.numbers import data_of_array, of_tensor, plain
from aevb.datasets.schema import Data, Schema
from aevb.datasets.sparse import SparseRows, is_sparse, of_torch
from aevb.datasets.tabular.frames import table_of
from aevb.errors import DataError, UsageError

WANTED = (
    "expected rows of numbers: an array, a tensor, a data frame, a Dataset, a path or the name of"
    " a data set"
)


class _Asked(NamedTuple):
    """What the caller knows: the name of the data, the kinds of columns, the form to have."""

    source: str
    columns: dict[str, str] | None
    like: Schema | None
    kind: str = "auto"


def given(
    value: Any,
    source: str = "",
    *,
    kind: str = "auto",
    columns: Mapping[str, str] | None = None,
    like: Schema | None = None,
) -> Data:
    """Make ``Data`` from a value of Python.

    Args:
        value: One row per example: an array (N, ...), a tensor, a sparse matrix, a data frame, a
            dictionary of columns, a list of rows or of pictures, a pair (rows, labels), a torch
            ``Dataset`` or ``DataLoader``, ``Data``, a path, or the name of a data set.
        source: The name of the rows in messages. "": "an array" or "a table"; with ``like`` "the
            array" or "the table".
        kind: The kind of the data, if it is known: a name in ``aevb.datasets.kinds.KINDS``.
        columns: The kinds of columns of a table, if they are known: name -> kind.
        like: The form that the rows should have, for rows for a trained model.

    Raises:
        UsageError: The value is nothing that could hold rows.
        DataError: Its rows cannot be used.
        NotFoundError: There is no such data set or file.

    Example:
        >>> import torch
        >>> from aevb.datasets.given import given
        >>> given(torch.ones(3, 2, requires_grad=True)).rows.shape
        (3, 2)
        >>> given({"height": [1.5, 2.0], "width": [20, 30]}).columns
        ('height', 'width')
        >>> given(([[1, 2], [3, 4], [5, 6]], ["a", "b", "a"])).labels.tolist()
        ['a', 'b', 'a']
        >>> given([[1, 2], [3]])
        Traceback (most recent call last):
        aevb.errors.DataError: an array: row 1 has 2 numbers, row 2 has 1. Give all rows one shape.
    """
    if isinstance(value, Data):
        return value
    if not source:
        is_table = _is_frame(value) or isinstance(value, Mapping)
        source = ("a " if is_table else "an ") if like is None else "the "
        source += "table" if is_table else "array"
    return _data(value, _Asked(source, None if columns is None else dict(columns), like, kind))


def _data(value: Any, asked: _Asked) -> Data:
    """Make ``Data`` of a value of any form in ``FORMS``. Raises as ``given``."""
    for is_one, make in FORMS:
        if is_one(value):
            return make(value, asked)
    hint = "list(...) of it" if hasattr(value, "__iter__") else "the rows to learn from"
    raise UsageError(f"{WANTED}; got {named(value)}. Give {hint}.")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float | complex)


# -------------------------------------------------------------------------------------------------
# paths, and what cannot be rows


def _is_path(value: object) -> bool:
    return isinstance(value, str | os.PathLike)


def _of_path(value: Any, asked: _Asked) -> Data:
    path = os.fsdecode(value)
    return load(path) if asked.like is None else load_like(path, asked.like)


def _is_no_data(value: object) -> bool:
    return value is None or isinstance(value, type | bytes | bytearray | set | frozenset | Iterator)


def _refuse(value: Any, asked: _Asked) -> Data:
    if isinstance(value, Iterator):
        raise UsageError(
            f"{asked.source}: an iterator or generator can be read only once and may never end."
            " Give list(...) of it."
        )
    if isinstance(value, set | frozenset):
        raise UsageError(
            f"{asked.source}: a set has no order. Give sorted(...) or list(...) of it."
        )
    raise UsageError(f"{WANTED}; got {named(value)}. Give the rows to learn from.")


# -------------------------------------------------------------------------------------------------
# arrays, tensors, tables


def _of_tensor(tensor: Any, asked: _Asked) -> Data:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch calls some forms of tensors new
        if tensor.ndim == 2 and not tensor.is_nested and str(tensor.layout) != "torch.strided":
            return _of_sparse(of_torch(tensor.detach(), asked.source), asked)
        return data_of_array(of_tensor(tensor, asked.source), asked.source)


def _of_sparse(matrix: Any, asked: _Asked) -> Data:
    return Data(SparseRows(matrix, asked.source), asked.source)


def _is_anndata(value: object) -> bool:
    return type(value).__name__ == "AnnData" and hasattr(value, "obs_names")


def _of_anndata(value: Any, asked: _Asked) -> Data:
    if value.X is None or getattr(value, "isbacked", False):
        raise DataError(
            f"{asked.source}: this AnnData object has no X in memory. Give one of its layers, or"
            " adata.to_memory()."
        )
    rows = SparseRows(value.X, asked.source) if is_sparse(value.X) else np.asarray(value.X)
    return annotated(rows, np.asarray(value.obs_names), np.asarray(value.var_names), asked.source)


def _is_frame(value: object) -> bool:
    """Whether a value is a table or a column of pandas, polars, pyarrow or a similar library."""
    return not isinstance(value, type) and (
        hasattr(value, "__dataframe__")
        or hasattr(value, "__arrow_c_stream__")
        or _is_lazy_frame(value)
        or (hasattr(value, "to_frame") and hasattr(value, "name"))
    )


def _is_lazy_frame(value: object) -> bool:
    return type(value).__name__ == "LazyFrame" and hasattr(value, "collect")


def _of_frame(frame: Any, asked: _Asked) -> Data:
    if _is_lazy_frame(frame):
        frame = frame.collect()
    if hasattr(frame, "to_frame") and not hasattr(frame, "columns"):  # one column
        frame = frame.to_frame() if frame.name not in (None, "") else frame.to_frame("column_1")
    return table_of(frame, asked.source, asked.columns, asked.like, asked.kind)


def _of_columns(value: Mapping[Any, Any], asked: _Asked) -> Data:
    """Make a table from a dictionary of columns."""
    import pandas as pd

    columns = {str(name): of_tensor(v) if is_tensor(v) else v for name, v in value.items()}
    sizes = {name: len(_column(columns[name], name, asked.source)) for name in columns}
    if len(set(sizes.values())) > 1:
        listed = ", ".join(f"{name!r} has {size}" for name, size in sizes.items())
        raise DataError(
            f"{asked.source}: the columns differ in length: {listed}. Give all of them one length."
        )
    return table_of(pd.DataFrame(columns), asked.source, asked.columns, asked.like, asked.kind)


def _column(column: Any, name: str, source: str) -> Any:
    """Return a column of a dictionary. Raises DataError unless it has one axis."""
    n = 2 if is_ragged(column) else len(np.shape(column))
    if n == 1:
        return column
    raise DataError(
        f"{source}: a dictionary holds one column under each name; {name!r} holds"
        f" {'several axes' if n else 'a single value'}. Give"
        f" {f'one array: data[{name!r}]' if n else 'lists of values'}."
    )


def _is_array(value: object) -> bool:
    return isinstance(value, np.ndarray | np.generic) or hasattr(value, "__array__")


def _of_array(value: Any, asked: _Asked) -> Data:
    if isinstance(value, np.ndarray) and _holds_arrays(value):
        return _of_list(list(value), asked)
    try:
        array = value if isinstance(value, np.ma.MaskedArray) else np.asarray(value)
    except (ValueError, TypeError, RuntimeError, MemoryError) as error:
        raise DataError(
            f"{asked.source}: {named(value)} cannot be turned into an array ({message(error)})."
            " Give a numpy array."
        ) from error
    return data_of_array(array, asked.source, columns=asked.columns, like=asked.like)


def _holds_arrays(array: NDArray[Any]) -> bool:
    """Whether an array of objects holds arrays or lists, one for each row."""
    return bool(array.dtype.kind == "O" and array.ndim == 1 and len(array) and np.ndim(array[0]))


# -------------------------------------------------------------------------------------------------
# lists


def _of_pair(pair: tuple[Any, Any], asked: _Asked) -> Data:
    """Read (rows, labels)."""
    rows, labels = _data(pair[0], asked), _labels(pair[1])
    if len(rows) != len(labels):
        raise DataError(
            f"{asked.source}: a pair is (rows, labels) with one label per row; got {len(rows)} rows"
            f" and {len(labels)} labels. Give the rows alone, or as many labels."
        )
    return replace(rows, labels=labels)


def _labels(value: Any) -> NDArray[Any]:
    return (of_tensor(value) if is_tensor(value) else np.asarray(value)).ravel()


def _is_pair(value: object) -> bool:
    if not isinstance(value, tuple) or len(value) != 2 or axes(value[0]) < 2:
        return False
    return axes(value[1]) == 1 or (axes(value[1]) == 2 and np.shape(value[1])[1] == 1)


def _is_several(value: object) -> bool:
    """Whether a tuple holds a few arrays with rows of their own, such as (train, test)."""
    return isinstance(value, tuple) and len(value) <= 4 and any(axes(each) >= 2 for each in value)


def _refuse_several(value: tuple[Any, ...], asked: _Asked) -> Data:
    shapes = " and ".join(str(tuple(getattr(each, "shape", np.shape(each)))) for each in value)
    raise DataError(
        f"{asked.source}: a tuple of {len(value)} arrays, of shapes {shapes}; expected rows, or a"
        " pair (rows, labels) with one label per row. Give one of the arrays."
    )


def _of_list(value: Sequence[Any], asked: _Asked) -> Data:
    """Read a list of rows, of pictures, of dictionaries, or of pairs (row, label)."""
    items = list(value)
    first = items[0] if items else 0
    if isinstance(first, Mapping):
        return _of_records(items, asked)
    if _is_path(first):
        raise UsageError(
            f"{asked.source}: a list of text or paths, such as {str(first)!r}; expected numbers."
            " For pictures, give the folder that holds them."
        )
    if is_sparse(first):
        return _of_sparse_rows(items, asked)
    if _is_frame(first):
        raise UsageError(
            f"{asked.source}: a list of tables or columns; join them first, for example by"
            " pandas.concat, and give the result."
        )
    if is_picture(first):
        return _of_pictures(items, asked)
    if isinstance(first, tuple | list) and first and (is_picture(first[0]) or _is_row(first[0])):
        return of_items(items.__getitem__, len(items), asked.source)
    return data_of_array(_stacked(items, asked.source), asked.source)


def _is_row(value: object) -> bool:
    return (is_tensor(value) or isinstance(value, np.ndarray)) and axes(value) >= 1


def _of_records(items: list[Any], asked: _Asked) -> Data:
    import pandas as pd

    try:
        frame = pd.DataFrame.from_records(items)
    except (ValueError, TypeError, AttributeError) as error:
        raise DataError(
            f"{asked.source}: a list of dictionaries is a table, with one number under each name"
            f" ({message(error)}). Give a data frame."
        ) from error
    return table_of(frame, asked.source, asked.columns, asked.like, asked.kind)


def _of_sparse_rows(items: list[Any], asked: _Asked) -> Data:
    from scipy.sparse import vstack

    if any(not is_sparse(each) or each.ndim != 2 or each.shape[0] != 1 for each in items):
        raise DataError(
            f"{asked.source}: a list of sparse matrices; expected one row in each. Give one matrix:"
            " scipy.sparse.vstack(...)."
        )
    return _of_sparse(vstack(items), asked)


def _stacked(items: list[Any], source: str) -> NDArray[Any]:
    """Make one array from a list of rows. Raises DataError for rows of different shapes."""
    rows = [of_tensor(each, source) if is_tensor(each) else each for each in items]
    if any(isinstance(each, np.ma.MaskedArray) for each in rows):
        rows = [plain(np.ma.asarray(each), source) for each in rows]
    try:
        return np.array(rows)
    except (ValueError, TypeError, RuntimeError, OverflowError) as error:
        raise _not_alike(rows, source, error) from error


def _not_alike(rows: list[Any], source: str, error: Exception) -> DataError:
    """The error for rows of different shapes: it names the first one that differs."""
    if is_ragged(rows[0]):
        return DataError(
            f"{source}: row 1 has parts of different lengths. Give all rows and their parts one"
            " shape."
        )
    shape = np.shape(rows[0])
    for number, row in enumerate(rows, 1):
        if is_ragged(row) or np.shape(row) != shape:
            found = "parts of different lengths" if is_ragged(row) else extent(np.shape(row))
            return DataError(
                f"{source}: row 1 has {extent(shape)}, row {number} has {found}. Give all rows one"
                " shape."
            )
    return DataError(f"{source} cannot be turned into an array ({message(error)}). Give numbers.")


# -------------------------------------------------------------------------------------------------
# pictures


def _refuse_picture(_: Any, asked: _Asked) -> Data:
    raise UsageError(f"{asked.source}: one picture; give a list of pictures, or their folder.")


def _of_pictures(items: list[Any], asked: _Asked) -> Data:
    """Read a list of pictures of one size. All of them are grey, or all become RGB."""
    wrong = next((i for i, each in enumerate(items, 1) if not is_picture(each)), None)
    if wrong is not None:
        raise DataError(
            f"{asked.source}: item 1 is a picture, item {wrong} is {named(items[wrong - 1])}. Give"
            " pictures only."
        )
    size = items[0].size
    other = next((i for i, each in enumerate(items, 1) if each.size != size), None)
    if other is not None:
        raise DataError(
            f"{asked.source}: picture 1 is {size[1]}x{size[0]}, picture {other} is"
            f" {items[other - 1].height}x{items[other - 1].width}. Bring them to one size:"
            " [p.resize((32, 32)) for p in pictures]."
        )
    arrays = [of_picture(each) for each in items]
    grey = all(each.ndim == 2 for each in arrays)
    rows = [each if grey or each.ndim == 3 else np.stack([each] * 3, -1) for each in arrays]
    return Data(np.stack(rows), asked.source, white=255.0, grey=grey)


# -------------------------------------------------------------------------------------------------
# Datasets of torch, and other objects with items


def _is_loader(value: object) -> bool:
    data = sys.modules.get("torch.utils.data")
    return data is not None and isinstance(value, data.DataLoader)


def _is_dataset(value: object) -> bool:
    data = sys.modules.get("torch.utils.data")
    is_one = data is not None and isinstance(value, data.Dataset)
    return is_one or (hasattr(value, "__getitem__") and hasattr(value, "__len__"))


def _of_loader(loader: Any, asked: _Asked) -> Data:
    """Read the ``Dataset`` behind a ``DataLoader``: aevb makes batches of its own."""
    from torch.utils import data

    sampler, dataset = loader.sampler, loader.dataset
    if isinstance(dataset, data.IterableDataset):
        return _of_dataset(dataset, asked)
    if isinstance(sampler, data.SubsetRandomSampler):
        dataset = data.Subset(dataset, sorted(int(i) for i in sampler.indices))
    elif not isinstance(sampler, data.SequentialSampler | data.RandomSampler):
        raise UsageError(
            f"{asked.source}: a DataLoader whose {type(sampler).__name__} draws its own choice of"
            " rows; aevb draws by itself. Give the Dataset with the rows to learn from:"
            " loader.dataset."
        )
    found = _of_dataset(dataset, asked)
    note = (
        "the Dataset of the DataLoader was used; aevb makes its own batches, so the loader's batch"
        " size, order and collate_fn were not."
    )
    return replace(found, notes=(*found.notes, note))


def _of_dataset(dataset: Any, asked: _Asked) -> Data:
    """Read all items of a map-style ``Dataset``, once each."""
    from torch.utils import data

    if isinstance(dataset, data.IterableDataset):
        raise UsageError(
            f"{asked.source}: an IterableDataset has no length and may never end. Give list(...) of"
            " it, or its first rows: list(itertools.islice(dataset, 10000))."
        )
    if isinstance(dataset, data.TensorDataset):
        return _of_tensors(dataset.tensors, asked)
    try:
        length = len(dataset)
    except TypeError as error:
        raise UsageError(
            f"{asked.source}: {named(dataset)} has no length. Give it a method __len__."
        ) from error
    return of_items(dataset.__getitem__, length, asked.source)


def _of_tensors(tensors: Sequence[Any], asked: _Asked) -> Data:
    """Read the tensors of a ``TensorDataset``: x, or x and labels."""
    found = _of_tensor(tensors[0], asked)
    if len(tensors) == 2 and tensors[1].numel() == len(found):
        return replace(found, labels=of_tensor(tensors[1]).ravel())
    return replace(found, notes=(*found.notes, *unused(len(tensors) - 1)))


FORMS: tuple[tuple[Callable[[Any], bool], Callable[[Any, _Asked], Data]], ...] = (
    (_is_path, _of_path),
    (_is_no_data, _refuse),
    (is_sparse, _of_sparse),
    (is_tensor, _of_tensor),
    (_is_anndata, _of_anndata),
    (_is_frame, _of_frame),
    (is_picture, _refuse_picture),
    (_is_loader, _of_loader),
    (lambda value: isinstance(value, Mapping), _of_columns),
    (_is_array, _of_array),
    (_is_pair, _of_pair),
    (_is_several, _refuse_several),
    (lambda value: isinstance(value, Sequence), _of_list),
    (_is_dataset, _of_dataset),
    (
        lambda value: isinstance(value, int | float | complex),
        lambda v, a: data_of_array(np.asarray(v), a.source),
    ),
)
"""What is understood, in the order in which it is tried: a test, and the function that reads it."""
