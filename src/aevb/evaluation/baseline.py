"""The trivial model: independent columns, without z. A useful VAE has a higher log p(x).

A real column is a Gaussian with the mean and variance of the training rows. A column of numbers in
[0, 1] is a Bernoulli variable with their mean. A column of levels has their frequencies. One is
added to every frequency (Laplace), so that a value that the training rows lack has a probability
above 0. A column of counts is a negative binomial, fitted by maximum likelihood. It has the Poisson
as a limit, so the baseline of counts is the same for both likelihoods of counts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
from torch import Tensor

from aevb.datasets.rows import Rows
from aevb.errors import UsageError
from aevb.probability.counts import NegativeBinomialCounts
from aevb.probability.distributions import DiagonalNormal

FLOOR = 1e-4
"""The smallest variance of a column, as a share of the columns' average variance.

Without it, the density of one constant pixel would have no limit.
"""
CHUNK = 1024
"""Rows that are read together."""
MOST_NUMBERS, FEWEST_ROWS = 2**22, 500
"""The shapes of negative binomials are fitted to at most so many numbers, but to at least so many
rows if there are as many. The means are those of all rows."""
LOG_SHAPES = (-10.0, 20.0)
"""Bounds of the log of a shape. At the upper one, a negative binomial is a Poisson."""
HALVINGS = 25
"""Each halves the interval in which the log of a shape lies."""


def fit_baseline(x: Tensor | Rows, form: str, levels: int | None = None) -> Tensor:
    """Fit the parameters of independent columns.

    Args:
        x: (N, D), the training rows.
        form: The ``form`` of x under its likelihood: "real", "unit", "levels" or
            "counts".
        levels: How many values a column can have, for "levels".

    Returns:
        Means and log-variances (2, D) for "real", probabilities of 1 (1, D) for "unit",
        log-probabilities (levels, D) for "levels", logs of means and of shapes (2, D) for "counts".

    Raises:
        UsageError: The form is unknown, or ``levels`` is missing.

    Example:
        >>> import torch
        >>> from aevb.evaluation.baseline import fit_baseline
        >>> fit_baseline(torch.tensor([[1.0, 4.0], [3.0, 6.0]]), "real")
        tensor([[2., 5.],
                [0., 0.]], dtype=torch.float64)
        >>> fit_baseline(torch.tensor([[1.0], [1.0]]), "unit")  # (2 + 1) / (2 + 2)
        tensor([[0.7500]], dtype=torch.float64)
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
    if form == "counts":
        return _negative_binomials(parts, len(x))
    raise UsageError(
        f"there is no baseline for data of form {form!r}; there is real, unit, levels, counts"
    )


def _negative_binomials(parts: Iterable[Tensor], n: int) -> Tensor:
    """Return the logs of mean and shape of each column: (2, D).

    Half a count is added to each column, so that a column of zeros has a mean above 0. n: how many
    rows there are.
    """
    total, kept = torch.zeros((), dtype=torch.float64), []
    for part in parts:
        stride = math.ceil(n / max(FEWEST_ROWS, MOST_NUMBERS // part.shape[1]))
        kept.append(part[::stride].double())
        total = total.to(part.device) + part.double().sum(0)
    return torch.stack([((total + 0.5) / n).log(), _log_shapes(torch.cat(kept))])


def _log_shapes(k: Tensor) -> Tensor:
    """Return the log of the shape r that maximises the likelihood of each column of k: (N, D).

    The derivative with respect to r, with the mean of the column for m, is

        sum_n digamma(k_n + r) - digamma(r) + log(r / (r + m)).

    It is positive below the maximum and negative above, so its sign tells in which half of an
    interval the maximum lies. If the variance is below the mean, it is positive everywhere. For a
    column of zeros it is 0 everywhere, and the largest shape, a Poisson, is the choice.
    """
    values, index = k.unique(return_inverse=True)
    weights = torch.ones_like(k)
    points = k
    if len(values) < len(k):  # each value is worth one evaluation, however often it occurs
        weights = k.new_zeros(len(values), k.shape[1]).scatter_add_(0, index, weights)
        points = values[:, None]
    low, high = (torch.full_like(k[0], bound) for bound in LOG_SHAPES)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        r = middle.exp()
        slope = (weights * (torch.digamma(points + r) - torch.digamma(r))).sum(0)
        grows = slope >= len(k) * (k.mean(0) / r).log1p()
        low, high = torch.where(grows, middle, low), torch.where(grows, high, middle)
    return (low + high) / 2


def _moments(parts: Iterable[Tensor]) -> tuple[Tensor, Tensor]:
    """Return mean and variance of each column: (D,) each.

    The parts are combined by the formula of Chan, Golub & LeVeque (1979).
    """
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
    """Return log p(x) of every row under independent columns: (N,), nats.

    Args:
        parameters: From ``fit_baseline``.
        x: (N, D).
        form: As for ``fit_baseline``.

    Example:
        >>> import torch
        >>> from aevb.evaluation.baseline import baseline_rows, fit_baseline
        >>> parameters = fit_baseline(torch.tensor([[1.0], [1.0]]), "unit")
        >>> baseline_rows(parameters, torch.tensor([[1.0], [0.0]]), "unit").exp()
        tensor([0.7500, 0.2500], dtype=torch.float64)
    """
    parameters, x = parameters.double(), x.double()
    if form == "real":
        mean, logvar = parameters
        return DiagonalNormal(mean, logvar).log_prob(x)
    if form == "unit":
        return (x * parameters[0].log() + (1 - x) * (-parameters[0]).log1p()).sum(-1)
    if form == "counts":
        return NegativeBinomialCounts(*parameters).log_prob(x)
    k = (x * (len(parameters) - 1)).round().long()
    log_p: Tensor = parameters.gather(0, k).sum(-1)
    return log_p
