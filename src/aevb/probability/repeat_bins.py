"""The bins of repeated numbers, and how much more often these occur than their neighbours."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from aevb.probability.factors import Factor

VALUES_PER_BIN, MOST_BINS = 24, 256
"""The range of a column is cut into bins of so many repeated values, but not into more bins."""
MOST_IN_BIN = 32
"""No bin has more repeated values, unless a column has very many: a step works on all of a bin."""


def popularity(factor: Factor, codes: NDArray[np.float64]) -> NDArray[np.float64]:
    """The log of how much more often numbers occur than their neighbours: (N,) -> (N,), nats.

    Example:
        >>> import numpy as np
        >>> from aevb.probability.factors import Factor
        >>> from aevb.probability.repeat_bins import popularity
        >>> grid = {"step": 1.0, "high": 10.0}
        >>> repeated = {"repeats": (5.0,), "repeat_rows": (9,), "repeat_share": 0.5}
        >>> popularity(Factor("a", "integer", **grid, **repeated), np.array([4.0, 5.0])).round(2)
        array([-0.69,  1.7 ])
    """
    values, rows = np.asarray(factor.repeats), np.asarray(factor.repeat_rows, np.float64)
    cuts = bin_cuts(values, rows)
    bins = np.searchsorted(cuts, values)
    cells = np.diff([factor.low, *cuts, factor.high]) / factor.step
    often = rows / np.bincount(bins, rows)[bins] * np.maximum(cells[bins], 1.0)
    k = np.searchsorted(0.5 * (values[1:] + values[:-1]), codes)
    same = np.abs(values[k] - codes) < 0.5 * factor.step
    found: NDArray[np.float64] = np.log1p(factor.repeat_share * (np.where(same, often[k], 0.0) - 1))
    return found


def bin_cuts(codes: NDArray[np.float64], rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where the bins of repeated numbers end, but for the last: halfway between two numbers.

    codes: (V,), ascending. rows: (V,). The bins have about as many rows each, and at
    most ``MOST_IN_BIN`` numbers.

    Example:
        >>> import numpy as np
        >>> from aevb.probability.repeat_bins import bin_cuts
        >>> bin_cuts(np.arange(48.0), np.full(48, 2.0))
        array([23.5])
    """
    bins = min(MOST_BINS, max(len(codes) // VALUES_PER_BIN, 1))
    wanted = rows.sum() * np.arange(1, bins) / bins
    most = max(MOST_IN_BIN, -(-len(codes) // MOST_BINS))
    # What is left of a bin after its first ``most`` numbers is the next bin.
    ends = np.unique([0, *(np.searchsorted(np.cumsum(rows), wanted) + 1), len(codes)])
    last = np.concatenate([np.arange(a, b, most) for a, b in pairwise(ends)])[1:] - 1
    last = last[last < len(codes) - 1]
    found: NDArray[np.float64] = 0.5 * (codes[last] + codes[last + 1])
    return found
