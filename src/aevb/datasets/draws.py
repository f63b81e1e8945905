"""Random numbers that are a pure function of (seed, row, column): row 7 draws the same, whichever
rows are drawn with it.

SplitMix64 (Steele, Lea & Flood 2014) at the position that row and column have in the data: a
counter times an odd constant, then mixed by multiplications and shifts until every bit of the
counter reaches every bit of the result.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

GOLDEN, FIRST, SECOND = (
    np.uint64(0x9E3779B97F4A7C15),
    np.uint64(0xBF58476D1CE4E5B9),
    np.uint64(0x94D049BB133111EB),
)
BITS = 24
"""Of a number in [0, 1): as many as float32 holds."""


def uniforms(seed: int, rows: NDArray[Any], columns: int) -> NDArray[np.float32]:
    """rows: (n,), numbers of rows -> (n, columns), uniform on the multiples of 2**-24 in [0, 1)."""
    starts = np.asarray(rows, np.uint64) * np.uint64(columns)
    counter: NDArray[np.uint64] = np.add.outer(starts, np.arange(1, columns + 1, dtype=np.uint64))
    counter *= GOLDEN  # wraps around, as it should
    counter += np.uint64(seed % 2**64)
    for shift, factor in ((30, FIRST), (27, SECOND)):
        counter ^= counter >> np.uint64(shift)
        counter *= factor
    counter ^= counter >> np.uint64(31)
    counter >>= np.uint64(64 - BITS)
    numbers: NDArray[np.float32] = counter.astype(np.float32)
    numbers *= np.float32(2.0**-BITS)
    return numbers
