"""First values of a ``NumberChain``: a mixture of Gaussians with full covariances, fitted by EM."""

from __future__ import annotations

import math
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

COMPONENTS = (1, 2, 3, 5, 10, 20)
"""How many Gaussians are tried."""
MOST_ROWS = 5000
"""Rows that a mixture is fitted to."""
PENALTIES = (1e-3, 1e-2, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 1000.0)
"""Penalties of the regressions that are tried."""
BROAD, BROAD_SHARE, BROAD_ROWS = 3.0, 0.02, 5.0
"""One more component is so many times as wide. It is for outliers: at most for this share of the
rows, and for so many rows."""
OUTLIER = 20.0
"""Numbers count as no farther from 0 than this when rows are assigned to Gaussians."""
FEWEST, MOST_REGRESSED = 10, 2000
"""Missing numbers of a column are drawn from a regression on so many rows."""
ROUNDS, MANY_COLUMNS = 5, 40
"""Missing numbers are drawn so many times, one after another. Those of more columns, once."""
VARIANCE = 1e-3
"""Added to the variances while the rows are assigned, so that no Gaussian shrinks to a point."""

Array = NDArray[np.float64]


def components_for(t: Array) -> int:
    """Choose how many Gaussians suit standardised numbers t (N, C) by their BIC, 0 for no columns.

    One is added for outliers. Numbers that are not known are NaN.

    Example:
        >>> import numpy as np
        >>> from aevb.probability.first_numbers import components_for
        >>> rng = np.random.default_rng(0)
        >>> components_for(rng.choice([-1.0, 1.0], (300, 1)) + 0.1 * rng.normal(size=(300, 1)))
        3
    """
    if not t.shape[1]:
        return 0
    rows = held(filled(some_rows(t)))
    columns = t.shape[1]
    weights = columns * (columns + 3) // 2  # of one Gaussian
    # With fewer rows than weights BIC would not take so many.
    counts = [k for k in COMPONENTS if k == 1 or len(rows) > max(10 * k, k * weights)]
    return 1 + min(counts, key=lambda count: _fit(rows, count).bic(rows))


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


def regression(x: Array, y: Array, weights: Array) -> tuple[Array, float, Array]:
    """Ridge regression whose penalty has the least leave-one-out error.

    x: (N, P), y: (N,), weights: (N,). Returns slopes (P,), the constant and the leave-one-out
    residuals (N,).

    Example:
        >>> import numpy as np
        >>> from aevb.probability.first_numbers import regression
        >>> x = np.linspace(-1, 1, 50)
        >>> slopes, constant, residuals = regression(x[:, None], 2 * x + 1, np.ones(50))
        >>> slopes.round(3), round(constant, 3)
        (array([2.]), 1.0)
    """
    total = max(weights.sum(), 1e-9)
    mean_x, mean_y = weights @ x / total, weights @ y / total
    root = np.sqrt(weights)
    u, s, vh = np.linalg.svd((x - mean_x) * root[:, None], full_matrices=False)
    keep = s > 1e-8 * max(s.max(initial=0.0), 1e-300)
    u, s, vh = u[:, keep], s[keep], vh[keep]
    target = (y - mean_y) * root
    along = u.T @ target
    best = (np.inf, 1.0, target)
    for penalty in PENALTIES:
        shrink = s**2 / (s**2 + penalty)
        leverage = (u**2) @ shrink + weights / total
        left_out = (target - u @ (shrink * along)) / np.maximum(1 - leverage, 0.05)
        # A few outliers must not choose the penalty.
        error = np.minimum(left_out**2, 25 * np.median(left_out**2) + 1e-9).mean()
        if error < best[0]:
            best = (error, penalty, left_out)
    slopes = vh.T @ (s / (s**2 + best[1]) * along)
    residuals = np.divide(best[2], root, out=np.zeros_like(root), where=root > 1e-6)
    return slopes, float(mean_y - mean_x @ slopes), residuals


def filled(t: Array) -> Array:
    """Draw the numbers of t (N, C) that are not known (NaN): (N, C).

    Each column is drawn from its regression on all others, round after round. Means in place of
    draws would make the columns seem more correlated than they are, zeros less.

    Example:
        >>> import numpy as np
        >>> from aevb.probability.first_numbers import filled
        >>> rng = np.random.default_rng(0)
        >>> t = rng.normal(size=(500, 1)) + 0.1 * rng.normal(size=(500, 2))
        >>> t[:200, 1] = np.nan
        >>> np.corrcoef(filled(t).T)[0, 1].round(2).item()
        0.99
    """
    known, rng = np.isfinite(t), np.random.default_rng(0)
    x = np.where(known, t, 0.0)
    columns = [c for c in range(t.shape[1]) if FEWEST <= known[:, c].sum() < len(t)]
    rows = rng.choice(len(t), min(len(t), MOST_REGRESSED), replace=False)
    for _ in range(ROUNDS if t.shape[1] <= MANY_COLUMNS else 1):
        for c in columns:
            here, others = rows[known[rows, c]], np.delete(x, c, axis=1)
            if len(here) < FEWEST:
                continue
            slopes, constant, left_out = regression(others[here], t[here, c], np.ones(len(here)))
            gone = ~known[:, c]
            noise = math.sqrt(np.mean(left_out**2)) * rng.normal(size=int(gone.sum()))
            x[gone, c] = others[gone] @ slopes + constant + noise
    return x


def first_values(
    t: Array, features: Array, components: int, *, fill: bool = True
) -> dict[str, Array]:
    """Fit the parameters of a ``NumberChain`` by name.

    t: (N, C), NaN where a number is not known. features: (N, P), those of the classes. fill:
    whether numbers that are not known are drawn (``filled``); otherwise their residuals are 0.

    Example:
        >>> import numpy as np
        >>> from aevb.probability.first_numbers import first_values
        >>> t = np.random.default_rng(0).normal(size=(500, 1))
        >>> found = first_values(np.hstack([t, 3 * t]), np.zeros((500, 0)), components=1)
        >>> found["slopes"][0, 1, 0].round(2).item()  # the second number is three times the first
        3.0
    """
    columns = t.shape[1]
    means = np.zeros((features.shape[1], columns))
    r = np.full_like(t, np.nan)
    for c in range(columns):
        known = np.isfinite(t[:, c])
        y = t[known, c]
        if features.shape[1] and known.sum() > 20:
            slopes, constant, _ = regression(features[known], y, np.ones(len(y)))
            means[:, c] = slopes
            y = y - features[known] @ slopes
        r[known, c] = y
    found = {
        "means": means,
        "log_weights": np.zeros(components),
        "offsets": np.zeros((components, columns)),
        "log_scales": np.zeros((components, columns)),
        "slopes": np.zeros((components, columns, columns)),
    }
    known, r = np.isfinite(t), filled(r) if fill else np.nan_to_num(r)
    shares = np.ones((len(t), 1))
    if components > 2:
        shares = _fit(some_rows(held(r)), components - 1).predict_proba(held(r))
    rare = min(BROAD_SHARE, BROAD_ROWS / max(len(t), 1))
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
