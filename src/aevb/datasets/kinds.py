"""The kinds of data: what the axes of an array mean.

An array does not say what it holds. ``decide`` names its kind where only one reading makes sense,
and asks where several do. ``with_kind`` then brings the rows into the form of their kind.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import copy
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aevb.datasets.form import Form
from aevb.datasets.looks import Look, constant_columns, first_fraction, first_negative
from aevb.datasets.schema import Data, Schema
from aevb.datasets.stored import LazyRows
from aevb.datasets.tabular.words import NAMES_OF_LABELS, are_pixels
from aevb.errors import DataError, UsageError

KINDS = {
    "table": "each column is a quantity of its own",
    "pictures": "all values are grey levels or colours in one unit",
    "series": "steps in time, each with the same channels; every channel has its own unit",
    "counts": "whole numbers from 0 that count something",
    "tokens": "whole numbers that are names without an order, such as letters",
}
"""The kinds of data, and what each one means."""

IF = {
    "table": "if every column is a quantity of its own",
    "pictures": "if they are grey levels",
    "series": "if they are steps in time with channels",
    "counts": "if they count something",
    "tokens": "if they are names, such as letters",
}
"""When a person should choose a kind, as a phrase for a question."""
IMPLIED = {"categorical": "tokens", "poisson": "counts", "negative_binomial": "counts"}
"""A likelihood that was asked for -> the kind of whole numbers that it needs."""

DARKEST, BRIGHT, WHITE = 63, 128, 255
"""Bytes above DARKEST are grey levels, since few things are counted so far in 8 bits. Other whole
numbers are taken for grey levels if their largest is from BRIGHT to WHITE."""
SMALL = 8
"""A picture has at least so many pixels along each side. Fewer may be channels."""
MOST_LABELS = 1000
"""A column of labels has at most so many different values."""


def white_of(high: float) -> float:
    """Return the value of white for whole grey levels up to ``high``.

    It is 255 above 63, because most pictures have 8 bits, and the largest number of the fewest
    bits otherwise. The digits of scikit-learn reach from 0 to 16, so 16 is white for them.

    Example:
        >>> from aevb.datasets.kinds import white_of
        >>> [white_of(high) for high in (1, 7, 15, 16, 100, 254, 1000, 40000)]
        [1.0, 7.0, 15.0, 16.0, 255.0, 255.0, 1023.0, 65535.0]
    """
    if high == 16:
        return 16.0
    if DARKEST < high <= WHITE:
        return float(WHITE)
    return float(2 ** max(1, math.ceil(high)).bit_length() - 1)


def decide(data: Data, likelihood: str = "auto", binarize: str = "none") -> tuple[str, str]:
    """Tell the kind of an array, and the reason as a phrase to print.

    Args:
        data: The rows as they were found.
        likelihood: The likelihood that was asked for. It may answer what would be asked.
        binarize: How grey levels become bits. Other data are not binarised.

    Raises:
        UsageError: Several readings make sense. The message has the option for each.

    Example:
        >>> import numpy as np
        >>> from aevb.datasets import Data
        >>> from aevb.datasets.kinds import decide
        >>> decide(Data(np.random.default_rng(0).normal(size=(9, 20, 3)), source="eeg"))
        ('series', 'real values over two axes')
        >>> decide(Data(np.arange(640, dtype=np.uint8).reshape(10, 8, 8) % 255, source="photos"))
        ('pictures', 'two axes of pixels reaching 254')
        >>> decide(Data(np.arange(640).reshape(10, 8, 8) % 7, source="spikes"))
        Traceback (most recent call last):
        aevb.errors.UsageError: spikes holds whole numbers from 0 to 6 in rows of 8 x 8, which may \
mean several things: give --kind counts if they count something, --kind tokens if they are names, \
such as letters, or --kind pictures if they are grey levels (in Python, Config(kind="counts")).
    """
    look, implied = Look(data), IMPLIED.get(likelihood)
    if data.white is not None:
        return "pictures", f"grey levels up to {data.white:g}"
    if implied and look.whole and not data.survey.bits and not _certain(look):
        return implied, f"likelihood {likelihood} is for them"
    if data.columns is not None:
        return _named(data.columns)
    hint = "pictures" if binarize != "none" or likelihood == "bernoulli" else ""
    axes = len(data.shape)
    if axes == 1:
        return _flat(look, hint)
    return _plane(look, hint) if axes == 2 else _volume(look, hint)


def _named(columns: tuple[str, ...]) -> tuple[str, str]:
    """Decide for a table by the names of its columns."""
    if are_pixels(columns):
        return "pictures", f"columns named {columns[-2]}, {columns[-1]}"
    return "table", "columns with names"


def _certain(look: Look) -> bool:
    """Whether whole numbers are pictures even for someone who asks for categories."""
    shape = look.data.shape
    return len(shape) > 1 and min(shape[:2]) >= SMALL and look.is_byte and look.high >= BRIGHT


def _flat(look: Look, hint: str) -> tuple[str, str]:
    """Decide for rows of one axis."""
    if look.may_be_flat_pictures and not look.data.survey.bits:
        if hint:
            return hint, "grey levels, as likelihood bernoulli reads them"
        raise _question(look, ["pictures", "table"])
    if look.low >= 0 and look.may_be_letters:
        raise _question(look, ["table", "counts", "tokens"])
    if look.data.survey.bits:
        return "table", "all values are 0 or 1"
    return "table", "one axis of columns"


def _plane(look: Look, hint: str) -> tuple[str, str]:
    """Decide for rows of two axes."""
    steps, channels = look.data.shape
    if look.one_hot:
        return "tokens", f"one 1 in {channels} at each of {steps} positions"
    if look.data.survey.bits:
        return "pictures", "two axes of pixels, all 0 or 1"
    grey = _grey(look)
    if grey and _has_sides_of_pictures(look):
        return "pictures", f"two axes of pixels {grey}"
    if look.whole and look.low >= 0:
        if hint:
            return hint, "grey levels, as likelihood bernoulli reads them"
        other = "tokens" if look.high <= DARKEST else "series"
        raise _question(look, ["counts", other, "pictures"])
    if min(steps, channels) >= SMALL and _may_be_drawn(look):
        raise _question(look, ["pictures", "series"])
    return "series", "real values over two axes"


def _may_be_drawn(look: Look) -> bool:
    """Whether real numbers may be grey levels all the same.

    A series hardly ever begins at 0 and ends near 255, or never changes at many places.
    """
    return look.border >= 0.1 or (look.low == 0 and BRIGHT <= look.high <= WHITE)


def _has_sides_of_pictures(look: Look) -> bool:
    """Whether rows of two axes are as wide and high as pictures, or as small patches of them."""
    height, width = look.data.shape
    patch = max(height, width) < SMALL and (look.whole or height == width)
    return patch or min(height, width) >= SMALL


def _volume(look: Look, hint: str) -> tuple[str, str]:
    """Decide for rows of three axes or more."""
    shape = look.data.shape
    if look.data.survey.bits:
        return "pictures", f"{_words(shape)} axes, all values 0 or 1"
    if grey := _grey(look):
        return "pictures", f"{_words(shape)} axes of colours or pixels {grey}"
    if look.whole and look.low >= 0:
        if hint:
            return hint, "grey levels, as likelihood bernoulli reads them"
        raise _question(look, ["counts", "tokens", "pictures"])
    axis = colour_axis(shape)
    if axis is not None:
        several = f", each of {shape[axis]} channels in its own unit" if shape[axis] > 1 else ""
        return "pictures", f"real values over {_words(shape[1:])} axes{several}"
    return "series", f"real values over {_words(shape)} axes"


def _words(shape: tuple[int, ...]) -> str:
    return {1: "one", 2: "two", 3: "three", 4: "four"}.get(len(shape), str(len(shape)))


def _grey(look: Look) -> str:
    """Say which grey levels the values may be, as a phrase. Empty if they do not look like any."""
    low, high = look.low, look.high
    if low < 0:
        return "from -1 to 1" if (low, high) == (-1, 1) and not look.whole else ""
    if look.whole:
        return f"reaching {high:g}" if _may_be_bytes(look) else ""
    if high <= 1:
        return "in [0, 1]"
    return f"from 0 to {high:g}" if low == 0 and 250 <= high <= WHITE else ""


def _may_be_bytes(look: Look) -> bool:
    """Whether whole numbers look like grey levels of 8 or 16 bits."""
    if look.high > WHITE:
        return bool(look.data.rows.dtype == np.uint16)
    return look.high > DARKEST if look.is_byte else look.high >= BRIGHT


def colour_axis(shape: tuple[int, ...]) -> int | None:
    """Return the axis of the colours or channels in a row (H, W, C) or (C, H, W), or None.

    Example:
        >>> from aevb.datasets.kinds import colour_axis
        >>> colour_axis((32, 32, 3)), colour_axis((2, 64, 64)), colour_axis((9, 9, 9))
        (2, 0, None)
    """
    if len(shape) != 3:
        return None
    if shape[2] in (1, 3, 4) or shape[2] < SMALL <= min(shape[:2]):
        return 2
    return 0 if shape[0] in (1, 3) or shape[0] < SMALL <= min(shape[1:]) else None


def _question(look: Look, kinds: list[str]) -> UsageError:
    what = "whole numbers" if look.whole else "numbers"
    *first, last = [f"--kind {kind} {IF[kind]}" for kind in kinds]
    comma = "," if len(first) > 1 or "," in first[0] else ""
    return UsageError(
        f"{look.data.source} holds {what} from {look.low:g} to {look.high:g} in rows of"
        f" {_times(look.data.shape)}, which may mean several things: give {', '.join(first)}{comma}"
        f' or {last} (in Python, Config(kind="{kinds[0]}")).'
    )


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def with_kind(
    data: Data, asked: str = "auto", likelihood: str = "auto", binarize: str = "none"
) -> Data:
    """Return the data with their kind, in the form of that kind.

    Pictures get the value of white, and flat rows of a square number of pixels become squares.
    Constant columns of an unnamed table are kept aside, and one-hot rows become tokens; samples
    have both again.

    Args:
        data: The rows as they were found.
        asked: A name in ``KINDS``, or "auto".
        likelihood: As for ``decide``.
        binarize: As for ``decide``.

    Raises:
        UsageError: Several readings make sense, and none was asked for.
        DataError: The rows cannot be of the kind that was asked for.

    Example:
        >>> import numpy as np
        >>> from aevb.datasets import Data
        >>> from aevb.datasets.kinds import with_kind
        >>> flat = Data(np.tile([[0.0, 9.0, 99.0, 200.0]], (5, 1)), source="flat")
        >>> pictures = with_kind(flat, "pictures")
        >>> pictures.shape, pictures.white
        ((2, 2), 255.0)
        >>> with_kind(Data(np.array([[0, 3, -1]]), source="mine"), "counts")
        Traceback (most recent call last):
        aevb.errors.DataError: counts are whole numbers from 0; mine has -1 at row 1, column 3. \
Correct it, or give --kind table if these are amounts.
    """
    if data.kind and asked in ("auto", data.kind):
        return data
    if asked == "auto":
        kind, reason = decide(data, likelihood, binarize)
    else:
        kind, reason = asked, "as asked for"
    bring: dict[str, Callable[[Data, str], Data]] = {
        "table": _as_table,
        "pictures": _as_pictures,
        "series": _as_series,
        "counts": _as_counts,
        "tokens": _as_tokens,
    }
    return bring[kind](data, reason)


def like(data: Data, schema: Schema) -> Data:
    """Return new rows in the form of the rows that a model was trained on.

    A table of pixels becomes pictures if the model learned pictures. For the rest see
    ``Schema.fitted``.

    Raises:
        DataError: The rows cannot be brought into that form.

    Example:
        >>> import numpy as np
        >>> from aevb.datasets import Data, Schema
        >>> from aevb.datasets.kinds import like
        >>> schema = Schema("grey", (2, 2), "uint8", (0.0,), (255.0,), white=255.0, kind="pictures")
        >>> table = Data(np.ones((3, 5)), source="new.csv", columns=("label", "a", "b", "c", "d"))
        >>> like(table, schema).shape
        (2, 2)
    """
    if schema.kind == "pictures" and data.columns is not None and len(data.shape) == 1:
        data = pictures_of_table(data)
    return schema.fitted(data)


def changed(data: Data, **fields: Any) -> Data:
    """Return the data with other fields. The rows are not checked again.

    Example:
        >>> from aevb.datasets import load
        >>> from aevb.datasets.kinds import changed
        >>> changed(load("moons"), reason="two columns").reason
        'two columns'
    """
    part = copy(data)
    if "rows" in fields:
        part.__dict__.pop("survey", None)
    part.__dict__.update(fields)
    return part


def _as_table(data: Data, reason: str) -> Data:
    plain = changed(data, kind="table", reason=reason, white=None)
    arrays = data.columns is None and len(data.shape) == 1 and not data.in_file
    if not arrays or data.survey.bits:
        return plain
    constants = constant_columns(data)
    if not 0 < len(constants) < data.shape[0]:
        return plain
    form = Form(data.shape, constants=tuple(constants.items()))
    names = [f"column_{i + 1}" for i in constants]
    note = (
        f"{len(constants)} of {data.shape[0]} columns never change and are kept aside"
        f" ({_first(names)}); samples have them again"
    )
    rows = form.inward(np.asarray(data.rows), data.source)
    return changed(plain, rows=rows, form=form, notes=(*data.notes, note))


def _first(names: list[str]) -> str:
    return ", ".join(names[:5]) + (", ..." if len(names) > 5 else "")


def _as_pictures(data: Data, reason: str) -> Data:
    if data.columns is not None and data.table is None:
        data = pictures_of_table(data)
    white = data.white
    if white is None:
        white = _white(Look(data))
        reason += "" if white in (None, WHITE) else f"; white is {white:g}"
    found = changed(data, white=white, kind="pictures", reason=reason)
    if len(data.shape) == 1:
        found = _with_sides(found)
    axis = colour_axis(found.shape) if white is None and found.values == "real" else None
    several = axis is not None and found.shape[axis] > 1
    return changed(found, channel_axis=axis if several else None)


def _with_sides(data: Data) -> Data:
    """Turn flat rows into squares, if they have a square number of pixels."""
    pixels, side = data.shape[0], Look(data).side
    if side is None or side == 1:
        return changed(data, notes=(*data.notes, _how_to_shape(data)))
    reason = f"{data.reason}; {pixels} pixels a row, as {side} x {side}"
    return changed(data, rows=squares(data.rows, side), reason=reason)


def _white(look: Look) -> float | None:
    """The value of white, or None if the values are no grey levels from 0 that have one."""
    if look.low < 0 or look.high <= 1:
        return None
    return white_of(look.high) if look.whole or look.high > DARKEST else None


def squares(rows: NDArray[Any] | LazyRows, side: int) -> NDArray[Any] | LazyRows:
    """Turn flat rows (N, side * side) into (N, side, side).

    Example:
        >>> import numpy as np
        >>> from aevb.datasets.kinds import squares
        >>> squares(np.arange(8).reshape(2, 4), 2).shape
        (2, 2, 2)
    """
    if isinstance(rows, LazyRows):
        return rows.shaped((side, side))
    return rows.reshape(len(rows), side, side)


def _how_to_shape(data: Data) -> str:
    return (
        f"rows of {data.shape[0]} values have no sides, so they are learned but not drawn as"
        " pictures; save them as an array (rows, height, width) or (rows, height, width, colours)"
        " to see them"
    )


def _as_series(data: Data, reason: str) -> Data:
    """Find the axis of the channels: the last, unless only the first has unlike scales."""
    found, axis = changed(data, kind="series", white=None), None
    if len(data.shape) > 1:
        look, axis = Look(data), len(data.shape) - 1
        first, last = look.gain(0), look.gain(axis)
        axis, place = (0, "first") if first > last + math.log(2) else (axis, "last")
        alike = max(first, last) < 0.05
        unit = "all in one unit, it seems" if alike else "each in its own unit"
        reason += f"; {data.shape[axis]} channels on the {place} axis, {unit}"
    return changed(found, reason=reason, channel_axis=axis)


def _as_counts(data: Data, reason: str) -> Data:
    amounts = "give --kind table if these are amounts"
    _refuse(data, first_negative(data), "counts are whole numbers from 0", amounts)
    _refuse(data, first_fraction(data), "counts are whole numbers from 0", amounts)
    return changed(data, kind="counts", reason=reason, white=None)


def _as_tokens(data: Data, reason: str) -> Data:
    numbers = "give --kind table if these are numbers"
    _refuse(data, first_fraction(data), "tokens are whole numbers", numbers)
    found = changed(data, kind="tokens", reason=reason, white=None)
    if len(data.shape) != 2 or not Look(data).one_hot:
        return found
    form = Form(data.shape, one_hot=True)
    small = np.min_scalar_type(data.shape[-1])
    parts = [form.inward(part, data.source).astype(small) for _, part in data.chunks()]
    return changed(found, rows=np.concatenate(parts), form=form)


def _refuse(data: Data, place: tuple[int, ...] | None, wanted: str, instead: str) -> None:
    """Raise DataError if there is a bad value. place: where the first one is, or None."""
    if place is None:
        return
    row, *rest = place
    value = np.asarray(data.rows[np.array([row])])[(0, *rest)]
    where = f"column {rest[0] + 1}" if len(rest) == 1 else f"place {tuple(i + 1 for i in rest)}"
    if data.columns:
        where = f"column {data.columns[rest[0]]!r}"
    raise DataError(
        f"{wanted}; {data.source} has {value:g} at row {row + 1}, {where}. Correct it, or"
        f" {instead}."
    )


def pictures_of_table(data: Data) -> Data:
    """Turn a table of pixels into pictures. A column of labels is set apart.

    Args:
        data: Rows (N, D) with names of the columns, as numbers.

    Returns:
        Pictures (N, s, s) if the number of pixels is a square, else rows (N, pixels). Whole
        numbers from 0 get the smallest type that holds them.

    Example:
        >>> import numpy as np
        >>> from aevb.datasets import Data
        >>> from aevb.datasets.kinds import pictures_of_table
        >>> names = ("label", "pixel0", "pixel1", "pixel2", "pixel3")
        >>> table = np.array([[7.0, 0, 9, 99, 200], [1, 0, 8, 88, 180]])
        >>> pictures = pictures_of_table(Data(table, source="train.csv", columns=names))
        >>> pictures.rows.shape, pictures.labels.tolist(), pictures.rows.dtype
        ((2, 2, 2), [7, 1], dtype('uint8'))
    """
    columns, rows = data.columns or (), np.asarray(data.rows)
    label = next((i for i, name in enumerate(columns) if _labels(name, rows[:, i])), None)
    labels, notes, reason = data.labels, data.notes, data.reason
    if label is not None:
        labels = rows[:, label].astype(np.int64)
        rows = np.delete(rows, label, axis=1)
        note = f"column {columns[label]!r} labels the pictures; it is not learned"
        notes = (*notes, note)
        columns = columns[:label] + columns[label + 1 :]
    whole = rows.dtype.kind in "bui" or bool((rows == np.rint(rows)).all())
    if whole and rows.min() >= 0 and rows.max() < 2**16:
        rows = rows.astype(np.uint8 if rows.max() <= WHITE else np.uint16)
    side = math.isqrt(rows.shape[1])
    if side**2 == rows.shape[1] and side > 1:
        rows = rows.reshape(-1, side, side)
    return changed(
        data, rows=rows, columns=columns, labels=labels, notes=notes, reason=reason, table=None
    )


def _labels(name: str, values: NDArray[Any]) -> bool:
    whole = bool((values == np.rint(values)).all())
    named = name.strip().lower() in NAMES_OF_LABELS
    return named and whole and len(np.unique(values)) <= MOST_LABELS
