"""TVAE of the package ctgan (Xu et al. 2019), with its own settings but for the epochs."""

from __future__ import annotations

from typing import Any

import pandas as pd
import torch
from ctgan import TVAE

from peers.tables_common import Codes, Learned, read, serve


def learn(order: dict[str, Any]) -> Learned:
    torch.set_num_threads(order["threads"])
    frame = read(order["train"])
    names = list(Codes(frame).levels)
    model = TVAE(epochs=order["epochs"], enable_gpu=False)
    model.set_random_state(order["seed"])
    model.fit(frame, names)

    def draw(n: int, seed: int) -> pd.DataFrame:
        model.set_random_state(seed)
        return model.sample(n)

    return draw, lambda: {"epochs": order["epochs"]}


if __name__ == "__main__":
    serve(learn)
