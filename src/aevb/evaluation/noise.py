"""Measure the decoder's noise: the standard deviation of x given z under a Gaussian likelihood."""

from __future__ import annotations

import torch
from torch import Tensor

from aevb.datasets.rows import Rows
from aevb.evaluation.bound import evaluating
from aevb.model import VAE
from aevb.probability.distributions import DiagonalNormal

CHUNK = 2048
"""Codes that are decoded at once. This bounds the memory and changes no result."""
MOST_ROWS = 1000
"""After an epoch, a noise that depends on z is measured at the codes of this many training rows."""


@torch.no_grad()
def noise_at(model: VAE, codes: Tensor) -> Tensor | None:
    """Return the standard deviation of x given z: () or (D,), in the model's numbers.

    If the noise depends on z, this is the root of its mean square over the codes, for each column.

    Args:
        model: The VAE.
        codes: (N, L), the points z to measure at.

    Returns:
        None if p(x|z) is not Gaussian.

    Example:
        >>> import torch
        >>> from aevb import VAE
        >>> from aevb.evaluation.noise import noise_at
        >>> noise_at(VAE(4, (8,), 2), torch.zeros(10, 2))  # variance 1/2
        tensor(0.7071)
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
    """Return the noise as one number: the root of the mean square over the columns.

    It is measured at draws of z for up to MOST_ROWS of the rows.

    Args:
        model: The VAE.
        x: The rows.
        seed: Seeds the draws of z.

    Returns:
        None if p(x|z) is not Gaussian.

    Example:
        >>> from aevb import VAE
        >>> from aevb.datasets import load
        >>> from aevb.datasets.planning import plan
        >>> from aevb.datasets.rows import rows_of
        >>> from aevb.evaluation.noise import noise_of_rows
        >>> gmm = load("gmm")
        >>> round(noise_of_rows(VAE(2, (8,), 2), rows_of(gmm, plan(gmm).schema)), 4)
        0.7071
    """
    noise = model.likelihood.noise
    if noise is None and model.likelihood.form == "real":
        with evaluating(model):
            torch.manual_seed(seed)
            codes = model.posterior_given(x.sample(MOST_ROWS)).sample()
        noise = noise_at(model, codes)
    return None if noise is None else float(noise.square().mean().sqrt())
