"""scikit-learn's mixture of Gaussians on standardised numbers, with the best BIC of four sizes."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.mixture import GaussianMixture

from peers.tables_common import Learned, read, serve

SIZES = (1, 3, 10, 20)
"""Numbers of components that are tried."""


def learn(order: dict[str, Any]) -> Learned:
    frame = read(order["train"])
    rows = frame.to_numpy(np.float64)
    mean, scale = rows.mean(0), rows.std(0)
    rows = (rows - mean) / scale
    fits = [
        GaussianMixture(k, random_state=order["seed"]).fit(rows) for k in SIZES if k < len(rows)
    ]
    best = min(fits, key=lambda fit: fit.bic(rows))

    def draw(n: int, _seed: int) -> pd.DataFrame:
        return pd.DataFrame(best.sample(n)[0] * scale + mean, columns=frame.columns)

    def report() -> dict[str, Any]:
        test = (read(order["test"]).to_numpy(np.float64) - mean) / scale
        np.save(order["scores"], best.score_samples(test) - np.log(scale).sum())
        return {"components": best.n_components}

    return draw, report


if __name__ == "__main__":
    serve(learn)
