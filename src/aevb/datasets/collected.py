"""Collect the items of a data set in Python: rows, pictures, or pairs of a row and a label."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aevb.datasets.numbers import data_of_array, of_tensor, plain
from aevb.datasets.schema import Data
from aevb.errors import DataError, UsageError

MOST_COLLECTED = 2**32
"""Items of a ``Dataset`` that take more bytes than this are not collected in memory."""


class _Item(NamedTuple):
    """One item of a data set: a row, its label or None, and how many parts were not used."""

    x: NDArray[Any]
    label: Any
    left: int


def of_items(get: Callable[[int], Any], length: int, source: str) -> Data:
    """Collect the items of a data set: rows, or pairs (row, label).

    Args:
        get: Returns item number i.
        length: How many items there are.
        source: The name of the data, for messages.

    Raises:
        DataError: An item cannot be read, the rows have different shapes, or they would take more
            than 4 GiB.

    Example:
        >>> from aevb.datasets.collected import of_items
        >>> data = of_items(lambda i: ([i, 2 * i], f"label {i}"), 3, "mine")
        >>> data.rows.tolist(), data.labels.tolist()
        ([[0, 0], [1, 2], [2, 4]], ['label 0', 'label 1', 'label 2'])
    """
    if not length:
        raise DataError(f"{source} is empty: it has no items. Check the data set.")
    first = _item(get, 0, source)
    again = _item(get, 0, source)
    size = length * first.x.nbytes
    if size > MOST_COLLECTED:
        raise DataError(
            f"{source}: {length} items of {first.x.nbytes} bytes take {size / 2**30:.1f} GiB, more"
            f" than {MOST_COLLECTED / 2**30:g}. Save them as one .npy file, which is read row by"
            " row: numpy.lib.format.open_memmap(...)."
        )
    rows, labels = np.empty((length, *first.x.shape), first.x.dtype), []
    for i in range(length):
        item = _item(get, i, source)
        if item.x.shape != first.x.shape:
            raise DataError(
                f"{source}: item 0 has {extent(first.x.shape)}, item {i} has"
                f" {extent(item.x.shape)}. Give all items one shape."
            )
        if item.x.dtype != rows.dtype:
            rows = rows.astype(np.result_type(rows, item.x))
        rows[i] = item.x
        labels.append(item.label)
    notes = unused(first.left)
    if not np.array_equal(first.x, again.x, equal_nan=first.x.dtype.kind == "f"):
        notes += ("the items change from one reading to the next; each was read once and kept.",)
    known = all(label is not None for label in labels)
    return data_of_array(rows, source, labels=np.array(labels) if known else None, notes=notes)


def _item(get: Callable[[int], Any], i: int, source: str) -> _Item:
    """Read item number i. Raises DataError."""
    try:
        item = get(i)
    except Exception as error:
        raise DataError(
            f"{source}: item {i} cannot be read ({type(error).__name__}: {message(error)}). Check"
            " the data set."
        ) from error
    if isinstance(item, Mapping):
        key = next(iter(item), "x")
        raise UsageError(
            f"{source}: its items are dictionaries with {', '.join(map(repr, item))}; expected"
            f" rows or pairs (row, label). Give [item[{key!r}] for item in dataset]."
        )
    parts: Sequence[Any] = [item]
    if isinstance(item, tuple | list) and item and (axes(item[0]) or is_picture(item[0])):
        parts = item
    label = _label(parts[1]) if len(parts) > 1 else None
    return _Item(_row(parts[0], i, source), label, len(parts) - 1 - (label is not None))


def _row(value: Any, i: int, source: str) -> NDArray[Any]:
    if is_picture(value):
        return of_picture(value)
    if is_tensor(value):
        return of_tensor(value, source)
    try:
        return plain(np.asarray(value), source)
    except (ValueError, TypeError, RuntimeError) as error:
        if isinstance(error, DataError):
            raise
        raise DataError(
            f"{source}: item {i} is not an array ({message(error)}). Give rows of numbers."
        ) from error


def _label(value: Any) -> Any:
    """A label as a plain value. None for something larger, such as a second picture."""
    if is_tensor(value):
        value = of_tensor(value)
    if is_picture(value) or isinstance(value, Mapping) or is_ragged(value) or np.size(value) != 1:
        return None
    return np.asarray(value).item()


def unused(parts: int) -> tuple[str, ...]:
    """A note that items have more parts than x and a label."""
    if not parts:
        return ()
    what = "the second part was" if parts == 1 else f"the {parts} parts after it were"
    return (f"x is the first part of every item; {what} not used.",)


# -------------------------------------------------------------------------------------------------
# words and tests that the readers of values share


def named(value: object) -> str:
    """Name a value for a message, shortly."""
    text = " ".join(repr(value).split())
    shown = f" {text}" if len(text) <= 40 and not text.startswith("<") else ""
    return f"{type(value).__module__.removeprefix('builtins')}.{type(value).__qualname__}".lstrip(
        "."
    ) + (shown if value is not None else "")


def message(error: BaseException) -> str:
    """The text of an error as a part of a sentence."""
    return " ".join(str(error).split()).rstrip(".") or type(error).__name__


def extent(shape: tuple[int, ...]) -> str:
    """Say how large a row is."""
    if len(shape) > 1:
        return f"shape {shape}"
    return f"{shape[0]}" + (" numbers" if shape[0] != 1 else "") if shape else "one number"


def axes(value: Any) -> int:
    """How many axes the array of a value has. 0 for what is no array."""
    if hasattr(value, "ndim"):
        return int(value.ndim)
    return np.ndim(value) if isinstance(value, list | tuple) and not is_ragged(value) else 0


def is_ragged(value: Any) -> bool:
    """Whether a list has parts of different lengths, so that it is no array."""
    try:
        np.shape(value)
    except (ValueError, TypeError, RuntimeError):
        return True
    return False


def is_picture(value: object) -> bool:
    """Whether a value is a picture of PIL, which is not imported for that."""
    image = sys.modules.get("PIL.Image")
    return image is not None and isinstance(value, image.Image)


def of_picture(picture: Any) -> NDArray[np.uint8]:
    """A picture as 8 bits: (height, width) if it is grey, else (height, width, 3)."""
    from PIL import ImageOps

    from aevb.datasets.picture_files import in_8_bits

    return np.asarray(in_8_bits(ImageOps.exif_transpose(picture))[0])


def is_tensor(value: object) -> bool:
    """Whether a value is a tensor of torch, which is not imported for that."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)
