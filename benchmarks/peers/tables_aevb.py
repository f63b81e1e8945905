"""aevb through its public interface, with no option; and aevb with a part taken out.

Ablations, by the order's ``without``:

- ``z``: the decoder gets zeros in place of codes, and no KL is free. So the model is the chain.
- ``chain``: a column's factor gets the code alone. No weight leads from one column to another, and
  the numbers' Gaussians have no correlations. Columns still share the component of the mixture of
  the numbers, and cells that follow exactly from others by a rule still do.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor, nn

import aevb
from aevb.evaluation.latents import latents
from aevb.parts.likelihoods.mixed import Mixed
from aevb.probability.number_chain import NumberChain
from aevb.runs import build
from peers.tables_common import Learned, serve

LOOKED_AT = 2000
"""Test rows whose codes are looked at."""


class Blind(nn.Module):
    """A decoder that gets zeros in place of z."""

    def __init__(self, decoder: nn.Module) -> None:
        super().__init__()
        self.decoder = decoder

    def forward(self, z: Tensor) -> Tensor:
        """z (..., L) -> features (..., F)."""
        features: Tensor = self.decoder(torch.zeros_like(z))
        return features


def without_z() -> dict[str, Any]:
    """Take z away from the models that are made from now on. Returns settings for ``fit``."""
    made = build._model

    def model(*parts: Any) -> aevb.VAE:
        found = made(*parts)
        found.decoder = Blind(found.decoder)
        return found

    build._model = model
    return {"free_bits": 0.0}


def without_chain() -> dict[str, Any]:
    """Take the chain away from the models that are made from now on."""
    init, context = Mixed.__init__, NumberChain._context

    def unchained(self: Mixed, *parts: Any, **named: Any) -> None:
        init(self, *parts, **named)
        with torch.no_grad():
            for mask in (
                self.classes.linear_mask,
                self.classes.in_mask,
                self.classes.inward,
                self.numbers.in_mask,
                self.numbers.lower,
            ):
                mask.zero_()
        plain = self.classes.features.plain
        self.classes.features.plain = torch.zeros_like(plain)

    def of_code(self: NumberChain, h: Tensor, features: Tensor) -> Any:
        return context(self, h, torch.zeros_like(features))

    Mixed.__init__, NumberChain._context = unchained, of_code
    return {}


WITHOUT = {"z": without_z, "chain": without_chain}


def learn(order: dict[str, Any]) -> Learned:
    settings = {"seed": order["seed"], "threads": order["threads"]}
    if order.get("without"):
        settings |= WITHOUT[order["without"]]()
    if order.get("steps"):
        settings["steps"] = order["steps"]
    run = aevb.fit(order["train"], **settings)

    def draw(n: int, seed: int) -> pd.DataFrame:
        rows = run.sample(n, seed=seed)
        return (
            rows
            if isinstance(rows, pd.DataFrame)
            else pd.DataFrame(rows, columns=run.schema.columns)
        )

    return draw, lambda: described(run, order)


def described(run: aevb.Run, order: dict[str, Any]) -> dict[str, Any]:
    """Say what was decided, and score the first test rows. Saves log p of each row."""
    names = ("steps", "batch_size", "latent_dim", "prior", "components")
    decided = {name: getattr(run.config, name) for name in names}
    if not order.get("scores"):
        return decided
    test = pd.read_csv(order["test"]).head(order["scored"])
    found = run.score(test, samples=order["draws"])
    np.save(order["scores"], found["log_likelihood"])
    codes = latents(run.model, run.tensor(test.head(LOOKED_AT)))
    count = len(test)
    return decided | {
        "log_p": float(found["log_likelihood"].mean()),
        "log_p_error": float(found["log_likelihood"].std() / np.sqrt(count)),
        "scored": count,
        "draws": order["draws"],
        "kl": float(found["kl"].mean()),
        "active_units": codes.figures["active_units"].value,
    }


if __name__ == "__main__":
    serve(learn)
