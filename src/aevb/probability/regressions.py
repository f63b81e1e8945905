"""Regressions whose penalty is chosen by leaving rows out, and missing numbers drawn from them."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

PENALTIES = (1e-3, 1e-2, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 1000.0)
"""Penalties of the regressions that are tried."""
FEWEST, MOST_REGRESSED = 10, 2000
"""Missing numbers of a column are drawn from a regression on so many rows."""
ROUNDS, MANY_COLUMNS = 5, 40
"""Missing numbers are drawn so many times, one after another. Those of more columns, once."""

Array = NDArray[np.float64]


def regression(x: Array, y: Array, weights: Array) -> tuple[Array, float, Array]:
    """Ridge regression whose penalty has the least leave-one-out error.

    x: (N, P), y: (N,), weights: (N,). Returns slopes (P,), the constant and the leave-one-out
    residuals (N,).

    Example:
        >>> import numpy as np
        >>> from aevb.probability.regressions import regression
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
        >>> from aevb.probability.regressions import filled
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
