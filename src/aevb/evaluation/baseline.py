r"""The trivial model: every column by itself, without z. A VAE that does not beat it has learned
nothing that it should.

Real columns are Gaussians with the mean and variance of the training rows; numbers in [0, 1] are
Bernoulli variables with their mean; levels have their frequencies in each column. Counts are
smoothed by one (Laplace), so that what the training rows lack is not impossible.
"""

from __future__ import annotations

from collections.abc import Iterable

import torch
from torch import Tensor

from aevb.datasets.rows import Rows
from aevb.errors import UsageError
from aevb.probability.distributions import DiagonalNormal

FLOOR = 1e-4
"""Least variance of a column, as a share of the columns' average: without it, one constant pixel
would be worth any number of nats."""
CHUNK = 1024
"""Rows looked at together."""


def fit_baseline(x: Tensor | Rows, form: str, levels: int | None = None) -> Tensor:
    """Parameters of the independent columns of x: (N, D), as their likelihood's ``form`` ("real",
    "unit", "levels") asks.

    Returns (2, D), means and log-variances; (1, D), probabilities of 1; or (levels, D),
    log-probabilities.
    """
    parts = x.split(CHUNK)
    if form == "real":
        mean, variance = _moments(parts)
        return torch.stack(
            [mean, variance.clamp(min=FLOOR * float(variance.mean()) or FLOOR).log()]
        )
    if form == "unit":
        ones = sum((part.double().sum(0) for part in parts), torch.zeros((), dtype=torch.float64))
        return ((ones + 1) / (len(x) + 2)).unsqueeze(0)
    if form == "levels" and levels is not None:
        counts = torch.ones(levels, x.shape[1], dtype=torch.float64, device=x.device)
        for part in parts:
            k = (part * (levels - 1)).round().long()
            counts.scatter_add_(0, k, torch.ones_like(k, dtype=torch.float64))
        return (counts / counts.sum(0)).log()
    raise UsageError(f"there is no baseline for data of form {form!r}; there is real, unit, levels")


def _moments(parts: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """Mean and variance of each column, (D,), the parts put together by Chan, Golub & LeVeque
    (1979)."""
    count, mean, squares = 0, torch.zeros(()), torch.zeros(())
    for part in parts:
        n, part = len(part), part.double()
        mean_of = part.mean(0)
        squares_of = (part - mean_of).square_().sum(0)
        apart = mean_of - mean.to(mean_of) if count else torch.zeros_like(mean_of)
        mean = mean + apart * (n / (count + n)) if count else mean_of
        squares = squares_of + (
            squares + apart.square() * (count * n / (count + n)) if count else 0
        )
        count += n
    return mean, squares / count


def baseline_rows(parameters: Tensor, x: Tensor, form: str) -> Tensor:
    """log p(x) of the independent columns. parameters: from ``fit_baseline``; x: (N, D) -> (N,),
    nats."""
    parameters, x = parameters.double(), x.double()
    if form == "real":
        mean, logvar = parameters
        return DiagonalNormal(mean, logvar).log_prob(x)
    if form == "unit":
        return (x * parameters[0].log() + (1 - x) * (-parameters[0]).log1p()).sum(-1)
    k = (x * (len(parameters) - 1)).round().long()
    log_p: Tensor = parameters.gather(0, k).sum(-1)
    return log_p
