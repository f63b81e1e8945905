"""The decoder's noise: the standard deviation of x given z under a Gaussian likelihood."""

from __future__ import annotations

import torch
from torch import Tensor

from aevb.datasets.rows import Rows
from aevb.evaluation.bound import evaluating
from aevb.model import VAE
from aevb.probability.distributions import DiagonalNormal

CHUNK = 2048
"""Codes that are decoded at once: bounds memory, changes no result."""
MOST_ROWS = 1000
"""Training rows at whose codes a noise that depends on z is measured after an epoch."""


@torch.no_grad()
def noise_at(model: VAE, codes: Tensor) -> Tensor | None:
    """Standard deviation of x given z where p(x|z) is Gaussian, else None: () or (D,), in the model's numbers. codes: (N, L).

    Of a decoder whose noise depends on z the root of its mean square over the codes, column by
    column.
    """
    likelihood = model.likelihood
    if likelihood.noise is not None or not isinstance(
        model.likelihood_given(codes[:1]), DiagonalNormal
    ):
        return likelihood.noise
    with evaluating(model):
        squares = [model.likelihood_given(z).variance.double().sum(0) for z in codes.split(CHUNK)]
    return (torch.stack(squares).sum(0) / len(codes)).sqrt()


@torch.no_grad()
def noise_of_rows(model: VAE, x: Rows, seed: int = 0) -> float | None:
    """The same as one number, the root of the mean square over the columns, at draws of z for up to
    MOST_ROWS of the rows."""
    noise = model.likelihood.noise
    if noise is None and model.likelihood.form == "real":
        with evaluating(model):
            torch.manual_seed(seed)
            codes = model.posterior_given(x.sample(MOST_ROWS)).sample()
        noise = noise_at(model, codes)
    return None if noise is None else float(noise.square().mean().sqrt())
