"""Counts 0, 1, 2, ...: which rows are counts, and which likelihood suits them."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from aevb.datasets.schema import Data
from aevb.errors import DataError

MOST = 2**24
"""The largest count. The model's numbers are float32, which has every integer up to it."""
CLEAR = 5.0
"""The variance exceeds the mean clearly if it does so by this many standard errors."""
ENOUGH = 100
"""A column is tested by itself if its counts add up to this. With fewer counts the standard error
says little."""


def require_counts(data: Data, likelihood: str) -> None:
    """Raise DataError unless every value is one of the counts 0, 1, 2, ..., 2^24.

    likelihood: the name of the likelihood that takes only counts, for the message.

    Example:
        >>> import numpy as np
        >>> from aevb.datasets import Data
        >>> from aevb.datasets.counts import require_counts
        >>> require_counts(Data(np.array([[0, 7], [1.0, 2.0]]), source="mine"), "poisson")
        >>> require_counts(Data(np.array([[0, 7], [1.5, 2.0]]), source="mine"), "poisson")
        Traceback (most recent call last):
        aevb.errors.DataError: poisson needs counts 0, 1, 2, ...; mine has fractions such as 1.5. \
Use likelihood gaussian for amounts.
    """
    low, high = data.range
    remedy = "Use likelihood gaussian for amounts."
    if low < 0:
        raise DataError(
            f"{likelihood} needs counts 0, 1, 2, ...; {data.source} has values from {low:.4g}."
            f" {remedy}"
        )
    if data.rows.dtype.kind == "f" and (fraction := _fraction(data)) is not None:
        raise DataError(
            f"{likelihood} needs counts 0, 1, 2, ...; {data.source} has fractions such as"
            f" {fraction:.4g}. {remedy}"
        )
    if high > MOST:
        raise DataError(
            f"{likelihood} needs counts up to {MOST}, beyond which float32 lacks integers;"
            f" {data.source} has values up to {high:.0f}. {remedy}"
        )


def _fraction(data: Data) -> float | None:
    """The first value that is not an integer, if there is one."""
    for _, rows in data.chunks():
        if (others := rows != np.round(rows)).any():
            return float(rows[others][0])
    return None


def count_likelihood(data: Data) -> tuple[str, str]:
    """Say which likelihood suits rows of counts, ``poisson`` or ``negative_binomial``, and why.

    Under a Poisson, a column's variance is its mean. If the N counts of a column of mean m are
    independent Poisson draws, the sum of (k - m)^2 / m over its rows has the mean N - 1 and the
    variance 2 (N - 1) (1 - 1 / (N m)), given the sum of the counts. The negative binomial is chosen
    if such a sum is more than ``CLEAR`` standard errors above its mean: either the total of all
    columns, or that of one column with at least ``ENOUGH`` counts.

    A variance above the mean may also come from rates that vary with z, which a Poisson allows.
    The negative binomial is the choice then, too: it has the Poisson as a limit, and the other way
    round there is no remedy.

    Args:
        data: The training rows, which ``require_counts`` accepts.

    Returns:
        The name of the likelihood, and the reason as a phrase to print.

    Example:
        >>> import numpy as np
        >>> from aevb.datasets import Data
        >>> from aevb.datasets.counts import count_likelihood
        >>> draws = np.random.default_rng(0)
        >>> count_likelihood(Data(draws.poisson(3.0, (1000, 5)), source="steady"))
        ('poisson', 'counts whose variance is about their mean')
        >>> count_likelihood(Data(draws.poisson(draws.gamma(1, 3, (1000, 5))), source="bursts"))
        ('negative_binomial', 'counts whose variance is 4.0 times their mean')
    """
    n, total, squares = len(data), *_sums(data)
    used = total > 0
    mean, total = total[used] / n, total[used]
    excess = squares[used] / mean - total - (n - 1)
    variance = 2 * (n - 1) * (1 - 1 / total)
    together = excess.sum() / math.sqrt(variance.sum() or 1.0)
    tested = total >= ENOUGH
    alone = (excess[tested] / np.sqrt(variance[tested])).max(initial=0.0)
    if max(together, alone) <= CLEAR:
        return "poisson", "counts whose variance is about their mean"
    if together <= CLEAR:
        return "negative_binomial", "counts whose variance exceeds their mean in some columns"
    ratio = 1 + excess.mean() / (n - 1)
    return "negative_binomial", f"counts whose variance is {ratio:.1f} times their mean"


def _sums(data: Data) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The sum and the sum of squares of each column: (D,) each."""
    columns = math.prod(data.shape)
    total, squares = np.zeros(columns), np.zeros(columns)
    for _, rows in data.chunks():
        k = rows.reshape(len(rows), -1).astype(np.float64)
        total += k.sum(0)
        squares += np.square(k).sum(0)
    return total, squares
