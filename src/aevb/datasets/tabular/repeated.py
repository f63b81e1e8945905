"""Find the numbers of a column that rows share more often than a smooth density would have it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from aevb.probability.factors import Factor
from aevb.probability.first_numbers import single_mixtures
from aevb.probability.repeat_bins import bin_cuts

MOST_REPEATS = 10_000
"""At most so many numbers of a column are told apart, those of the most rows."""
LEAST_ROWS = 1000
"""Columns of fewer numbers are smooth."""
LEAST_GAIN = 0.02
"""Numbers are told apart if that is worth so many nats a row."""
NEIGHBOURS = 25
"""The density around a number is that of so many rows on either side."""
SHARES = np.linspace(0.02, 0.98, 49)
DIGITS = 2.0**-22
"""x has single precision: its step must be at least so large a part of the largest x."""


def with_repeats(factor: Factor, rest: NDArray[np.float64], t: NDArray[np.float64]) -> Factor:
    """Add the repeated numbers of a column to its factor, if they are worth it.

    They are worth it if each number is more likely so, when its own row does not count.

    Args:
        factor: The family of the column.
        rest: (N,), its training rows without missing cells and spikes.
        t: (N,), these numbers, bent and standardised.

    Example:
        >>> import numpy as np
        >>> from aevb.datasets.tabular.repeated import with_repeats
        >>> from aevb.probability.factors import Factor
        >>> rng = np.random.default_rng(0)
        >>> cents = rng.integers(1000, 9000, 2000)
        >>> price = np.where(rng.random(2000) < 0.8, cents // 100 * 100 + 99, cents).astype(float)
        >>> factor = Factor("a", "integer", step=1.0, high=9000.0, scale=2000.0)
        >>> found = with_repeats(factor, price, (price - price.mean()) / price.std())
        >>> round(found.repeat_share, 1), 1199.0 in found.repeats
        (0.8, True)
    """
    farthest = np.abs((rest - factor.shift) / factor.scale).max(initial=0.0)
    if len(rest) < LEAST_ROWS or factor.step / factor.scale <= DIGITS * farthest:
        return factor
    values, first, at, rows = np.unique(
        rest, return_index=True, return_inverse=True, return_counts=True
    )
    most = np.argsort(-rows, kind="stable")[:MOST_REPEATS]
    kept = np.zeros(len(values), bool)
    kept[most] = rows[most] > 1
    if not kept.any():
        return factor
    smooth, of_bin = _smooth(factor, values, t[first], rows, kept)
    others = np.where(kept & (rows > 2), rows - 1.0, 0.0)
    # How much more likely a repeated number is than one of the smooth density, minus 1.
    gains = of_bin * others / smooth - 1.0
    logs = np.log1p(SHARES[:, None] * gains)
    best = int((logs @ rows).argmax())
    of_rows = logs[best][at]
    mean, error = of_rows.mean(), of_rows.std() / math.sqrt(len(rest))
    if mean < max(LEAST_GAIN, 2 * error):
        return factor
    return replace(
        factor,
        repeats=tuple(values[kept].tolist()),
        repeat_rows=tuple(rows[kept].tolist()),
        repeat_logs=tuple(_log_density(np.sort(t), t[first[kept]]).tolist()),
        repeat_share=float(SHARES[best]),
    )


def _log_density(t: NDArray[np.float64], at: NDArray[np.float64]) -> NDArray[np.float64]:
    """The log of the density of numbers t (N,), ascending, around some of them: (V,).

    It is that of the ``NEIGHBOURS`` nearest rows on either side.
    """
    low, high = np.searchsorted(t, at, "left"), np.searchsorted(t, at, "right") - 1
    low, high = (low - NEIGHBOURS).clip(0), (high + NEIGHBOURS).clip(max=len(t) - 1)
    found: NDArray[np.float64] = np.log((high - low) / np.maximum(t[high] - t[low], 1e-9))
    return found


def _smooth(
    factor: Factor,
    values: NDArray[np.float64],
    t: NDArray[np.float64],
    rows: NDArray[np.intp],
    kept: NDArray[np.bool_],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The smooth mass of each number, and that of its bin per repeated row of it: (V,) each."""
    weights, means, log_scales = single_mixtures(np.repeat(t, rows)[:, None])[:, 0]

    def below(ends: NDArray[np.float64]) -> NDArray[np.float64]:
        shares = norm.cdf((ends[:, None] - means) / np.exp(log_scales))
        found: NDArray[np.float64] = shares @ np.exp(weights)
        return found

    half = 0.5 * factor.step * (np.gradient(t, values) if len(values) > 1 else np.ones(1))
    smooth = np.maximum(below(t + half) - below(t - half), 1e-300)
    cuts = bin_cuts(values[kept], rows[kept].astype(np.float64))
    bins = np.searchsorted(cuts, values)
    masses = np.diff([0.0, *below(np.interp(cuts, values, t)), 1.0])
    counts = np.bincount(bins, rows * kept, len(cuts) + 1)
    return smooth, (masses / np.maximum(counts - 1.0, 1.0))[bins]
