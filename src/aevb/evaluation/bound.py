"""The evidence lower bound on given rows, split into its terms, with standard errors over the rows."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from aevb.errors import DataError
from aevb.model import VAE


class Figure(NamedTuple):
    """A number with its error bar and unit. ``standard_error``: of a mean over rows; NaN where one row gives none."""

    value: float
    standard_error: float
    unit: str = "nats"


class RowTerms(NamedTuple):
    """The terms of the bound, row by row, in nats: reconstruction (N,) and kl (N, L), or (N, 1) if it was sampled."""

    reconstruction: Tensor
    kl: Tensor

    @property
    def bound(self) -> Tensor:
        """(N,)."""
        return self.reconstruction - self.kl.sum(-1)


@torch.no_grad()
def elbo_rows(
    model: VAE, x: Tensor, *, samples: int = 1, seed: int = 0, log_jacobian: float = 0.0, batch_size: int = 1024
) -> RowTerms:
    """The ELBO's terms for every row. x: (N, D). The KL has weight 1, whatever beta the model was trained with.

    samples: draws of z per row. log_jacobian: nats, added to the reconstruction to turn a density of x into one of the
    data (see ``Schema``). The result depends on ``seed``, not on torch's global generator, which is left as it was.
    """
    training = model.training
    model.eval()
    try:
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            parts = [model.elbo_terms(batch, samples) for batch in x.split(max(1, batch_size // samples))]
    finally:
        model.train(training)
    return RowTerms(torch.cat([r for r, _ in parts]) + log_jacobian, torch.cat([kl for _, kl in parts]))


def summarise(rows: RowTerms, data_dim: int) -> dict[str, Figure]:
    """Means over the rows: ``bound``, ``reconstruction``, ``kl`` in nats and ``bits_per_dim`` = -bound / (D ln 2).

    The standard error is that of a mean over rows drawn from the population, the noise of z included.
    Raises DataError for a bound that is not finite.
    """
    figures = {
        "bound": mean_figure(rows.bound),
        "reconstruction": mean_figure(rows.reconstruction),
        "kl": mean_figure(rows.kl.sum(-1)),
    }
    bound = figures["bound"]
    if not math.isfinite(bound.value):
        raise DataError(f"the bound is {bound.value}: the model or the rows hold values that are not finite")
    bits = data_dim * math.log(2)
    figures["bits_per_dim"] = Figure(-bound.value / bits, bound.standard_error / bits, "bits per dimension")
    return figures


def mean_figure(values: Tensor) -> Figure:
    """Mean and standard error. values: (N,), nats."""
    values = values.double()
    return Figure(float(values.mean()), float(values.std() / math.sqrt(len(values))) if len(values) > 1 else math.nan)
