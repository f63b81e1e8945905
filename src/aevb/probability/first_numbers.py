"""First values of a ``NumberChain``: a mixture of Gaussians with full covariances, fitted by EM.

With few rows the covariances are shrunk (``aevb.probability.first_mixture``). With more, each
number gets a ridge regression on those before it, in each Gaussian.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aevb.probability.regressions import filled, regression

LEAST_FITTED, FEW = 20, 1000
"""With so many rows, but fewer than this, covariances are shrunk."""
COMPONENTS = (1, 2, 3, 5, 10, 20)
"""How many Gaussians are tried."""
MOST_ROWS = 5000
"""Rows that a mixture is fitted to."""
BROAD, BROAD_SHARE, BROAD_ROWS = 3.0, 0.02, 0.5
"""One more component is so many times as wide. It is for outliers: at most for this share of the
rows, and for so many rows."""
OUTLIER = 20.0
"""Numbers count as no farther from 0 than this when rows are assigned to Gaussians."""
VARIANCE = 1e-3
"""Added to the variances while the rows are assigned, so that no Gaussian shrinks to a point."""

Array = NDArray[np.float64]


def components_for(t: Array) -> int:
    """Choose how many Gaussians suit standardised numbers t (N, C), 0 for no columns.

    With few rows they are chosen by rows left out, otherwise by BIC. One is added for outliers.
    Numbers that are not known are NaN.

    Example:
        >>> import numpy as np
        >>> from aevb.probability.first_numbers import components_for
        >>> rng = np.random.default_rng(0)
        >>> components_for(rng.choice([-1.0, 1.0], (300, 1)) + 0.1 * rng.normal(size=(300, 1)))
        3
    """
    if not t.shape[1]:
        return 0
    if is_few(len(t)):
        from aevb.probability.first_mixture import fitted  # with torch, which is slow to import

        return 1 + len(fitted(held(t)).weights)
    rows = held(filled(some_rows(t)))
    columns = t.shape[1]
    weights = columns * (columns + 3) // 2  # of one Gaussian
    # With fewer rows than weights BIC would not take so many.
    counts = [k for k in COMPONENTS if k == 1 or len(rows) > max(10 * k, k * weights)]
    return 1 + min(counts, key=lambda count: _fit(rows, count).bic(rows))


def is_few(rows: int) -> bool:
    """Whether the covariances of so many rows are shrunk.

    Example:
        >>> from aevb.probability.first_numbers import is_few
        >>> is_few(10), is_few(100), is_few(1000)
        (False, True, False)
    """
    return LEAST_FITTED <= rows < FEW


def _fit(rows: Array, count: int) -> Any:
    from sklearn.mixture import GaussianMixture

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # too few steps do no harm
        return GaussianMixture(count, reg_covar=VARIANCE, max_iter=200, random_state=0).fit(rows)


def held(rows: Array) -> Array:
    """Hold standardised numbers within ``OUTLIER`` of 0: one outlier must not place a Gaussian.

    Example:
        >>> import numpy as np
        >>> from aevb.probability.first_numbers import held
        >>> held(np.array([1.0, 1e9]))
        array([ 1., 20.])
    """
    return rows.clip(-OUTLIER, OUTLIER)


def some_rows(rows: Array, most: int = MOST_ROWS) -> Array:
    """At most ``most`` of the rows, always the same ones.

    Example:
        >>> import numpy as np
        >>> from aevb.probability.first_numbers import some_rows
        >>> len(some_rows(np.zeros((9000, 2)))), len(some_rows(np.zeros((9, 2))))
        (5000, 9)
    """
    if len(rows) <= most:
        return rows
    return rows[np.random.default_rng(0).choice(len(rows), most, replace=False)]


def first_values(
    t: Array, features: Array, components: int, *, fill: bool = True
) -> dict[str, Array]:
    """Fit the parameters of a ``NumberChain`` by name.

    t: (N, C), NaN where a number is not known, infinity where a cell holds a spike. features:
    (N, P), those of the classes. fill: whether numbers that are not known are drawn (``filled``);
    otherwise their residuals are 0. Those of spikes are 0 always.

    Example:
        >>> import numpy as np
        >>> from aevb.probability.first_numbers import first_values
        >>> t = np.random.default_rng(0).normal(size=(500, 1))
        >>> found = first_values(np.hstack([t, 3 * t]), np.zeros((500, 0)), components=1)
        >>> found["slopes"][0, 1, 0].round(2).item()  # the second number is three times the first
        3.0
    """
    columns = t.shape[1]
    means, r = _without_classes(t, features)
    found = {
        "means": means,
        "log_weights": np.zeros(components),
        "offsets": np.zeros((components, columns)),
        "log_scales": np.zeros((components, columns)),
        "slopes": np.zeros((components, columns, columns)),
    }
    known, r = np.isfinite(t), np.where(np.isinf(t), 0.0, r)
    r = filled(r) if fill else np.nan_to_num(r)
    rare = min(BROAD_SHARE, BROAD_ROWS / max(len(t), 1))
    if fill and is_few(len(t)):
        return found | _shrunk(np.where(known, held(r), np.nan), components, rare)
    shares = np.ones((len(t), 1))
    if components > 2:
        shares = _fit(some_rows(held(r)), components - 1).predict_proba(held(r))
    for y in range(components):
        weights = shares[:, y] if y < components - 1 else np.ones(len(t))
        broad = BROAD if y == components - 1 > 0 else 1.0
        share = rare if broad > 1 else (1 - rare) * weights.mean()
        found["log_weights"][y] = np.log(max(share, 1e-6))
        for c in range(columns):
            here = known[:, c] & (weights > 1e-4)
            if here.sum() < 3:
                continue
            slopes, constant, left_out = regression(r[here, :c], r[here, c], weights[here])
            variance = weights[here] @ left_out**2 / weights[here].sum()
            found["slopes"][y, c, :c], found["offsets"][y, c] = slopes, constant
            found["log_scales"][y, c] = np.log(max(broad * np.sqrt(variance), 1e-3))
    return found


def _without_classes(t: Array, features: Array) -> tuple[Array, Array]:
    """The slopes of regressions of the numbers on the features (P, C), and what is left (N, C)."""
    means = np.zeros((features.shape[1], t.shape[1]))
    r = np.full_like(t, np.nan)
    for c in range(t.shape[1]):
        known = np.isfinite(t[:, c])
        y = t[known, c]
        if features.shape[1] and known.sum() > 20:
            slopes, _, _ = regression(features[known], y, np.ones(len(y)))
            means[:, c] = slopes
            y = y - features[known] @ slopes
        r[known, c] = y
    return means, r


def _shrunk(r: Array, components: int, rare: float) -> dict[str, Array]:
    """The parameters of a mixture with shrunk covariances, the last Gaussian for outliers.

    r: (N, C), NaN where a number is not known. rare: the share of the outliers.
    """
    from aevb.probability.first_mixture import fitted

    mixture, one = fitted(r, max(components - 1, 1)), fitted(r, 1)
    parts = [mixture] if components == 1 else [mixture, one.scaled(BROAD)]
    shares = [1.0] if components == 1 else [1 - rare, rare]
    values = [part.regressions() for part in parts]
    weights = [share * part.weights.numpy() for part, share in zip(parts, shares, strict=True)]
    return {
        "log_weights": np.log(np.concatenate(weights)),
        "slopes": np.concatenate([slopes for slopes, _, _ in values]),
        "offsets": np.concatenate([offsets for _, offsets, _ in values]),
        "log_scales": np.concatenate([log_scales for _, _, log_scales in values]),
    }


FEW_ROWS = 2000
"""Rows from which it is judged whether a bend pays."""
SINGLE = 5
"""Gaussians of a column by itself."""


def mixture_score(t: Array) -> float:
    """The mean log p of numbers t (N,) under the best mixture by BIC, with BIC's price.

    Example:
        >>> import numpy as np
        >>> from aevb.probability.first_numbers import mixture_score
        >>> one = np.random.default_rng(0).normal(size=500)
        >>> mixture_score(one) > mixture_score(2 * one)
        True
    """
    rows = some_rows(t[:, None], FEW_ROWS)
    fits = [_fit(rows, k) for k in (1, 2, 3, SINGLE) if k == 1 or len(rows) >= 10 * k]
    return float(-min(fit.bic(rows) for fit in fits) / (2 * len(rows)))


def single_mixtures(t: Array) -> Array:
    """Fit a mixture of Gaussians to each column of t (N, C), NaN where there is no number.

    Returns the logs of the weights, the means and the logs of the standard deviations:
    (3, C, ``SINGLE``). Their number is chosen by BIC.

    Example:
        >>> import numpy as np
        >>> from aevb.probability.first_numbers import single_mixtures
        >>> weights, means, scales = single_mixtures(np.random.default_rng(0).normal(size=(500, 1)))
        >>> np.exp(weights[0]).round(2)
        array([1., 0., 0., 0., 0.])
    """
    found = np.zeros((3, t.shape[1], SINGLE))
    found[0] = -1e4
    for c, column in enumerate(t.T):
        rows = some_rows(column[np.isfinite(column), None])
        if len(rows) < 2:
            found[0, c, 0] = 0.0
            continue
        fits = [_fit(rows, k) for k in (1, 2, 3, SINGLE) if k == 1 or len(rows) >= 10 * k]
        best = min(fits, key=lambda fit: fit.bic(rows))
        k = len(best.weights_)
        found[0, c, :k], found[1, c, :k] = np.log(best.weights_), best.means_[:, 0]
        found[2, c, :k] = 0.5 * np.log(best.covariances_[:, 0, 0])
    return found
