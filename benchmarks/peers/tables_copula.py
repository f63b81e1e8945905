"""A Gaussian copula with the empirical distribution of each column; a program of our own.

Each cell becomes a normal score: the quantile of its rank, where ties have a random order. The
scores of a row are taken as one Gaussian. A new cell is the value of the training rows at the rank
of its score. So each column has the distribution that it has in the training rows. Ties weaken the
correlations of columns with few values.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from scipy.special import ndtr, ndtri

from peers.tables_common import Codes, Floats, Learned, read, serve


def scores(rows: Floats, rng: np.random.Generator) -> Floats:
    """Return the normal scores of codes: (N, C) -> (N, C)."""
    found = np.empty_like(rows)
    for i, column in enumerate(rows.T):
        order = np.lexsort((rng.random(len(column)), column))
        found[order, i] = ndtri((np.arange(len(column)) + 0.5) / len(column))
    return found


def learn(order: dict[str, Any]) -> Learned:
    codes = Codes(read(order["train"]))
    normal = scores(codes.rows, np.random.default_rng(order["seed"]))
    ordered = np.sort(codes.rows, axis=0)  # a missing number comes last
    correlations = np.corrcoef(normal, rowvar=False)

    def draw(n: int, seed: int) -> pd.DataFrame:
        rng, count = np.random.default_rng(seed), len(ordered)
        z = rng.multivariate_normal(np.zeros(len(correlations)), correlations, n, method="eigh")
        ranks = np.minimum((ndtr(z) * count).astype(int), count - 1)
        return codes.table(np.take_along_axis(ordered, ranks, axis=0))

    return draw, dict


if __name__ == "__main__":
    serve(learn)
