"""Rows that the model learns in another form than the user's: ``Form``, and the tokens of a row.

Constant columns are left out of the rows that the model learns, and one-hot rows become numbers of
tokens. What the model makes gets the user's form again, and whole numbers stay whole.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aevb.errors import DataError

MOST_TOKENS = 4096
"""A categorical likelihood has a probability for each token, so there cannot be many more."""


@dataclass(frozen=True)
class Form:
    """The form of the user's rows where it is not the form that the model learns.

    Args:
        shape: Shape of one row of the user.
        one_hot: Whether the last axis has a single 1, at the place that is the number of a token.
        constants: The columns that never change, as (number from 0, value). They are left out.

    Example:
        >>> import numpy as np
        >>> from aevb.datasets.form import Form
        >>> form = Form((3,), constants=((1, 5.0),))
        >>> form.inward(np.array([[1.0, 5.0, 2.0]]), "mine")
        array([[1., 2.]])
        >>> form.outward(np.array([[7.0, 8.0]]))
        array([[7., 5., 8.]])
        >>> Form((2, 3), one_hot=True).outward(np.array([[2, 0]])).tolist()
        [[[0, 0, 1], [1, 0, 0]]]
    """

    shape: tuple[int, ...]
    one_hot: bool = False
    constants: tuple[tuple[int, float], ...] = ()

    @property
    def kept(self) -> tuple[int, ...]:
        """The numbers of the columns that the model learns."""
        aside = dict(self.constants)
        return tuple(i for i in range(math.prod(self.shape)) if i not in aside)

    def inward(self, rows: NDArray[Any], source: str) -> NDArray[Any]:
        """Turn the user's rows (N, *shape) into rows that the model learns.

        Args:
            rows: The user's rows.
            source: Their name in messages.

        Raises:
            DataError: One-hot rows have a position without exactly one 1, or a column that was
                constant has another value.

        Example:
            >>> import numpy as np
            >>> from aevb.datasets.form import Form
            >>> Form((2, 3), one_hot=True).inward(np.eye(3)[[[2, 0]]], "mine")
            array([[2, 0]])
        """
        if self.one_hot:
            if not is_one_hot(rows):
                raise DataError(
                    f"this model takes rows of {_times(self.shape)} with exactly one 1 at each"
                    f" position; {source} has others. Save the rows in the form that the model was"
                    " trained on."
                )
            tokens: NDArray[np.int64] = rows.argmax(-1)
            return tokens
        for column, value in self.constants:
            if (other := rows[:, column] != value).any():
                first = int(other.argmax())
                raise DataError(
                    f"column_{column + 1} was {value:g} in all rows that this model was trained"
                    f" on; {source} has {rows[first, column]:g} there at row {first + 1}. Remove"
                    " such rows, or train a model on data in which this column changes."
                )
        return rows[:, list(self.kept)]

    def outward(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Turn rows that the model made into rows (N, *shape) of the user.

        Example:
            >>> import numpy as np
            >>> from aevb.datasets.form import Form
            >>> Form((2,), constants=((0, 3.0),)).outward(np.array([[1], [2]]))
            array([[3, 1],
                   [3, 2]])
        """
        if self.one_hot:
            ones: NDArray[np.bool_] = rows[..., None] == np.arange(self.shape[-1])
            return ones.astype(rows.dtype)
        full: NDArray[Any] = np.empty((len(rows), *self.shape), rows.dtype)
        full[:, list(self.kept)] = rows
        for column, value in self.constants:
            full[:, column] = value
        return full


def limits_of(
    parts: Iterable[tuple[int, NDArray[Any]]], dtype: np.dtype[Any]
) -> tuple[tuple[int, int], ...]:
    """Return the smallest and the largest value of each column, if the columns hold integers.

    Args:
        parts: (number of the first row, rows (M, D)) of one part after another.
        dtype: The type of the rows.

    Returns:
        D pairs; none for other types, and none if a value is too large for float64 to be exact.

    Example:
        >>> import numpy as np
        >>> from aevb.datasets.form import limits_of
        >>> rows = np.array([[18, 0], [90, 6]])
        >>> limits_of([(0, rows)], rows.dtype)
        ((18, 90), (0, 6))
    """
    if dtype.kind not in "ui":
        return ()
    found = [(rows.min(0), rows.max(0)) for _, rows in parts]
    low = np.min([each for each, _ in found], axis=0).tolist()
    high = np.max([each for _, each in found], axis=0).tolist()
    is_exact = min(low) >= -(2**53) and max(high) <= 2**53
    return tuple(zip(low, high, strict=True)) if is_exact else ()


def within(rows: NDArray[Any], limits: tuple[tuple[int, int], ...]) -> NDArray[np.float64]:
    """Round rows (N, D) to whole numbers between the smallest and the largest of each column.

    Example:
        >>> import numpy as np
        >>> from aevb.datasets.form import within
        >>> within(np.array([[17.2, 2.6]]), ((18, 90), (0, 6)))
        array([[18.,  3.]])
    """
    low, high = np.array(limits, np.float64).T
    rounded: NDArray[np.float64] = rows.round().clip(low, high)
    return rounded


def is_one_hot(rows: NDArray[Any]) -> bool:
    """Whether rows (N, T, V) have exactly one 1 along the last axis, and otherwise 0.

    Example:
        >>> import numpy as np
        >>> from aevb.datasets.form import is_one_hot
        >>> is_one_hot(np.eye(3)[None]), is_one_hot(np.ones((1, 3, 3)))
        (True, False)
    """
    return bool(((rows == 0) | (rows == 1)).all() and (rows.sum(-1, dtype=np.int64) == 1).all())


def vocabulary_of(parts: Iterable[NDArray[Any]], source: str) -> tuple[int, ...]:
    """Return the tokens that occur, in ascending order.

    Args:
        parts: The rows, one part after another. They hold whole numbers.
        source: Their name in messages.

    Raises:
        DataError: There are more than ``MOST_TOKENS``, or only one.

    Example:
        >>> import numpy as np
        >>> from aevb.datasets.form import vocabulary_of
        >>> vocabulary_of([np.array([[7, 3], [3, 65]])], "mine")
        (3, 7, 65)
    """
    found = np.empty(0, np.int64)
    for part in parts:
        found = np.union1d(found, part).astype(np.int64)
        if len(found) > MOST_TOKENS:
            raise DataError(
                f"{source} has more than {MOST_TOKENS} different tokens; a categorical likelihood"
                f" takes at most {MOST_TOKENS}. Give the rare ones one number in common."
            )
    return tuple(found.tolist())


def codes(rows: NDArray[Any], vocabulary: tuple[int, ...]) -> NDArray[np.int64]:
    """Return the number of each token in the vocabulary: (N, ...), integers from 0.

    Example:
        >>> import numpy as np
        >>> from aevb.datasets.form import codes
        >>> codes(np.array([[7, 3]]), (3, 7, 65))
        array([[1, 0]])
    """
    return np.searchsorted(np.asarray(vocabulary), rows)


def require_known(
    parts: Iterable[tuple[int, NDArray[Any]]], vocabulary: tuple[int, ...], source: str
) -> None:
    """Raise DataError at the first token that is not in the vocabulary.

    Args:
        parts: (number of the first row, rows) of one part after another.
        vocabulary: The tokens that the model knows.
        source: The name of the rows in messages.

    Example:
        >>> import numpy as np
        >>> from aevb.datasets.form import require_known
        >>> require_known([(0, np.array([[3, 7, 8]]))], (3, 7, 65), "new.npy")
        Traceback (most recent call last):
        aevb.errors.DataError: new.npy has the token 8 at row 1, position 3; this model knows 3 \
tokens, from 3 to 65, and 8 is not one of them. Remove such rows, or train a model on data that \
have it.
    """
    for start, rows in parts:
        unknown = ~np.isin(rows, vocabulary)
        if unknown.any():
            row, *place = np.argwhere(unknown)[0].tolist()
            token = rows[(row, *place)]
            where = ", ".join(str(each + 1) for each in place)
            raise DataError(
                f"{source} has the token {token:g} at row {start + row + 1}, position {where}; this"
                f" model knows {len(vocabulary)} tokens, from {vocabulary[0]} to {vocabulary[-1]},"
                f" and {token:g} is not one of them. Remove such rows, or train a model on data"
                " that have it."
            )


def _times(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))
