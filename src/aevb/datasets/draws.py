"""Draw random numbers that depend only on seed, row and column.

A row gets the same numbers in any batch. The method is SplitMix64 (Steele, Lea & Flood 2014) at the
position of row and column in the data. A counter is multiplied by an odd constant and then mixed by
multiplications and shifts, until every bit of the counter affects every bit of the result.
``content_numbers`` gives numbers that may stand in place of the positions of the rows: they depend
on what is in a row.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

GOLDEN, FIRST, SECOND = (
    np.uint64(0x9E3779B97F4A7C15),
    np.uint64(0xBF58476D1CE4E5B9),
    np.uint64(0x94D049BB133111EB),
)
BITS = 24
"""Random bits in a number in [0, 1): as many as float32 holds exactly."""


def uniforms(seed: int, rows: NDArray[Any], columns: int) -> NDArray[np.float32]:
    """Draw uniform numbers for some rows: (n, columns), multiples of 2**-24 in [0, 1).

    Args:
        seed: Any integer.
        rows: (n,), the numbers of the rows in the data.
        columns: How many numbers each row of the data has.

    Example:
        >>> import numpy as np
        >>> from aevb.datasets.draws import uniforms
        >>> one, both = uniforms(0, np.array([7]), 3), uniforms(0, np.array([2, 7]), 3)
        >>> bool((one[0] == both[1]).all())
        True
    """
    starts = np.asarray(rows, np.uint64) * np.uint64(columns)
    counter: NDArray[np.uint64] = np.add.outer(starts, np.arange(1, columns + 1, dtype=np.uint64))
    counter *= GOLDEN  # This wraps around on purpose.
    counter += np.uint64(seed % 2**64)
    for shift, factor in ((30, FIRST), (27, SECOND)):
        counter ^= counter >> np.uint64(shift)
        counter *= factor
    counter ^= counter >> np.uint64(31)
    counter >>= np.uint64(64 - BITS)
    numbers: NDArray[np.float32] = counter.astype(np.float32)
    numbers *= np.float32(2.0**-BITS)
    return numbers


def content_numbers(x: NDArray[Any]) -> NDArray[np.uint64]:
    """Return a 64-bit number for each row that depends only on the values in it: (N, D) -> (N,).

    Equal rows get equal numbers, and rows that differ anywhere get unrelated numbers. The numbers
    are the same on every machine. -0.0 counts as 0.0.

    Example:
        >>> import numpy as np
        >>> from aevb.datasets.draws import content_numbers
        >>> first, second, third = content_numbers(np.array([[1.0, 0.0], [1.0, -0.0], [2.0, 0.0]]))
        >>> bool(first == second), bool(first == third)
        (True, False)
    """
    # An integer needs no sign of zero, and adding 0 keeps its type.
    values = np.ascontiguousarray(x + x.dtype.type(0))
    values = values.astype(values.dtype.newbyteorder("<"), copy=False)
    digests = [hashlib.blake2b(row.data, digest_size=8).digest() for row in values]
    return np.frombuffer(b"".join(digests), np.dtype("<u8")).astype(np.uint64)
