"""Adversarial random forests (Watson et al. 2023) of the package arfpy, with its own settings."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from arfpy import arf

from peers.tables_common import Learned, read, serve


def learn(order: dict[str, Any]) -> Learned:
    np.random.seed(order["seed"])
    frame = read(order["train"])
    for name in frame:
        if not pd.api.types.is_numeric_dtype(frame[name]):
            frame[name] = frame[name].astype("category")
    model = arf.arf(x=frame, random_state=order["seed"], verbose=False)
    model.forde()

    def draw(n: int, seed: int) -> pd.DataFrame:
        np.random.seed(seed)
        return model.forge(n=n)

    return draw, dict


if __name__ == "__main__":
    serve(learn)
