"""What an array looks like: facts from which the kind of data is decided."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aevb.datasets.form import is_one_hot
from aevb.datasets.schema import Data
from aevb.datasets.stored import chunks, moments

FEWEST_PIXELS = 64
"""Flat rows of fewer numbers are not taken for pictures."""
FEWEST_POSITIONS = 8
"""Rows of fewer numbers are not taken for sequences of tokens."""
MOST_LETTERS = 128
"""An alphabet has at most this many letters."""
MOST_SEEN = 1000
"""Some facts are looked up in at most this many rows."""


@dataclass(frozen=True, eq=False)
class Look:
    """Facts about the rows of an array. Each is found when it is asked for.

    Example:
        >>> import numpy as np
        >>> from aevb.datasets import Data
        >>> from aevb.datasets.looks import Look
        >>> look = Look(Data(np.array([[0.0, 3.0], [2.0, 1.0]]), source="mine"))
        >>> look.whole, look.high, look.side
        (True, 3.0, None)
    """

    data: Data

    @property
    def low(self) -> float:
        """The smallest value."""
        return self.data.range[0]

    @property
    def high(self) -> float:
        """The largest value."""
        return self.data.range[1]

    @property
    def is_byte(self) -> bool:
        """Whether the values are of the type uint8, in which most pictures are kept."""
        return bool(self.data.rows.dtype == np.uint8)

    @cached_property
    def whole(self) -> bool:
        """Whether all values are whole numbers, of any type."""
        return self.data.rows.dtype.kind in "bui" or first_fraction(self.data) is None

    @cached_property
    def some(self) -> NDArray[Any]:
        """Some rows, flat: (N, D)."""
        some = self.data.sample(MOST_SEEN)
        return np.asarray(some.rows).reshape(len(some), -1)

    @cached_property
    def one_hot(self) -> bool:
        """Whether rows (T, V) have exactly one 1 at each of T positions."""
        shape = self.data.shape
        return (
            self.data.survey.bits
            and len(shape) == 2
            and shape[1] > 2
            and all(is_one_hot(part) for _, part in self.data.chunks())
        )

    @property
    def side(self) -> int | None:
        """The side of the square picture that a flat row may be, or None."""
        side = math.isqrt(math.prod(self.data.shape))
        return side if side**2 == math.prod(self.data.shape) else None

    @cached_property
    def may_be_flat_pictures(self) -> bool:
        """Whether flat rows look like pictures.

        They have as many numbers as a square of pixels with one or three colours, reach from 0 to
        1 or far towards 255, and either neighbours are alike or a border never changes.
        """
        width = math.prod(self.data.shape)
        square = self.side is not None or math.isqrt(width // 3) ** 2 * 3 == width
        grey = self.low == 0 and (self.high == 1 or 128 <= self.high <= 255)
        return width >= FEWEST_PIXELS and square and grey and self._is_like_a_picture()

    def _is_like_a_picture(self) -> bool:
        some = self.some.astype(np.float64)
        border = float((some.min(0) == some.max(0)).mean())
        order = np.random.default_rng(0).permutation(some.shape[1])
        apart = float(np.abs(some - some[:, order]).mean())
        beside = float(np.abs(np.diff(some, axis=1)).mean())
        return border >= 0.1 or beside < 0.6 * apart

    @cached_property
    def may_be_letters(self) -> bool:
        """Whether all columns of flat rows share one small set of whole numbers, as letters do."""
        some = self.some
        if not self.whole or some.shape[1] < FEWEST_POSITIONS or self.data.survey.bits:
            return False
        alphabet = np.unique(some)
        dense = 2 * len(alphabet) > float(alphabet[-1]) - float(alphabet[0])
        if not (dense and 3 <= len(alphabet) <= MOST_LETTERS):
            return False
        used = [len(np.unique(column)) for column in some.T]
        return float(np.median(used)) >= 0.5 * len(alphabet)

    def gain(self, axis: int) -> float:
        """How many nats a number gains, on average, if each index of an axis has its own scale.

        It is near 0 where all of them have one scale. axis: an axis of one row, from 0.
        """
        mean, std = channel_moments(self.data, axis)
        whole = math.sqrt(float(np.mean(std**2 + (mean - mean.mean()) ** 2)))
        std = std[std > 1e-12 * (whole or 1.0)]
        return float(np.log(whole / std).mean()) if len(std) else 0.0


def first_fraction(data: Data) -> tuple[int, ...] | None:
    """Return the place (row, ...) of the first value that is no whole number, or None.

    Example:
        >>> import numpy as np
        >>> from aevb.datasets import Data
        >>> from aevb.datasets.looks import first_fraction
        >>> first_fraction(Data(np.array([[1.0, 2.0], [3.0, 4.5]]), source="mine"))
        (1, 1)
    """
    for start, part in data.chunks():
        other = part != np.rint(part) if part.dtype.kind == "f" else np.zeros(part.shape, bool)
        if other.any():
            row, *place = np.argwhere(other)[0].tolist()
            return (start + row, *place)
    return None


def first_negative(data: Data) -> tuple[int, ...] | None:
    """Return the place (row, ...) of the first value below 0, or None.

    Example:
        >>> import numpy as np
        >>> from aevb.datasets import Data
        >>> from aevb.datasets.looks import first_negative
        >>> first_negative(Data(np.array([[1, 2], [-3, 4]]), source="mine"))
        (1, 0)
    """
    for start, part in data.chunks():
        if (part < 0).any():
            row, *place = np.argwhere(part < 0)[0].tolist()
            return (start + row, *place)
    return None


def channel_moments(data: Data, axis: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return mean and standard deviation of each channel: (C,) each.

    Args:
        data: Rows (N, *shape).
        axis: Which axis of one row has the C channels, from 0.

    Example:
        >>> import numpy as np
        >>> from aevb.datasets import Data
        >>> from aevb.datasets.looks import channel_moments
        >>> rows = np.array([[[1.0, 10.0], [3.0, 10.0]]])  # one row: two steps of two channels
        >>> channel_moments(Data(rows, source="mine"), axis=1)
        (array([ 2., 10.]), array([1., 0.]))
    """
    mean, std = moments(data.rows, 0)
    others = tuple(i for i in range(len(data.shape)) if i != axis)
    mean, std = mean.reshape(data.shape), std.reshape(data.shape)
    of_channel = mean.mean(others, keepdims=True)
    variance = (std**2 + (mean - of_channel) ** 2).mean(others)
    return of_channel.reshape(-1), np.sqrt(variance)


def constant_columns(data: Data) -> dict[int, float]:
    """Return the columns of a table that never change: number from 0 -> value.

    Example:
        >>> import numpy as np
        >>> from aevb.datasets import Data
        >>> from aevb.datasets.looks import constant_columns
        >>> constant_columns(Data(np.array([[1, 5, 2], [3, 5, 4]]), source="mine"))
        {1: 5.0}
    """
    first = np.asarray(data.rows[:1])
    same = np.ones(first.shape[1:], bool)
    for _, part in chunks(data.rows):
        same &= (part == first).all(0)
    return {int(i): float(first[0, i]) for i in np.flatnonzero(same)}
