r"""Estimate log p(x) itself, by importance sampling from q(z|x).

    log p(x) ~ log 1/K sum_k w_k,     w_k = p(x, z_k) / q(z_k|x),     z_k ~ q(z|x)

The mean of the w_k is unbiased for p(x). Let ESS = (sum w)^2 / sum w^2 be the effective sample
size. The logarithm is too low by about 1 / (2 ESS) on average, and its standard deviation is about
sqrt(1/ESS - 1/K). If a few of the weights make up most of the sum, ESS is small: q(z|x) misses part
of p(z|x), and the estimate is not reliable. The figures include the ESS.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from aevb.errors import UsageError
from aevb.evaluation.bound import Figure, evaluating, mean_figure
from aevb.model import VAE
from aevb.probability.distributions import rsample_and_log_prob
from aevb.probability.seeds import counter_seed

PAIRS = {"cpu": 4096, "cuda": 65_536}
"""Draws (rows times samples) that go through the decoder at once.

More would not fit into a processor's cache; fewer would leave most of a GPU idle.
"""
ROWS = 32
"""Rows that are estimated together. This is fixed, because the noise of a row depends on it."""
RELIABLE = 10.0
"""Below this effective sample size, an estimate is too low by 1 / (2 * 10) = 0.05 nats or more."""


class Importance(NamedTuple):
    """Estimates of log p(x) for every row, with their effective sample sizes.

    Args:
        log_likelihood: (N,), nats.
        effective_sample_size: (N,), at most ``samples``.
        samples: K, the draws of z for each row.

    Example:
        >>> import torch
        >>> from aevb.evaluation.log_likelihood import Importance
        >>> estimate = Importance(torch.tensor([-2.0, -4.0]), torch.tensor([400.0, 5.0]), 500)
        >>> estimate.unreliable  # the second row
        0.5
        >>> estimate.figure().value
        -3.0
    """

    log_likelihood: Tensor
    effective_sample_size: Tensor
    samples: int

    @property
    def error(self) -> Tensor:
        """Standard deviation of each row's estimate over its draws: (N,), nats."""
        return (1 / self.effective_sample_size - 1 / self.samples).clamp(min=0).sqrt()

    @property
    def unreliable(self) -> float:
        """Fraction of the rows whose effective sample size is below 10."""
        return float((self.effective_sample_size < RELIABLE).double().mean())

    def figure(self) -> Figure:
        """Average over the rows.

        The standard error treats the rows as draws from the population. It includes the noise of
        the draws of z.

        Example:
            >>> import torch
            >>> from aevb.evaluation.log_likelihood import Importance
            >>> estimate = Importance(torch.tensor([-2.0, -4.0]), torch.tensor([400.0, 5.0]), 500)
            >>> figure = estimate.figure()
            >>> figure.value, figure.standard_error, figure.details["unreliable_rows"]
            (-3.0, 1.0, 0.5)
        """
        mean = mean_figure(self.log_likelihood)
        return mean._replace(
            details={
                "samples": self.samples,
                "effective_sample_size": float(self.effective_sample_size.median()),
                "sampling_error": float(self.error.square().sum().sqrt()) / len(self.error),
                "unreliable_rows": self.unreliable,
            }
        )


@torch.no_grad()
def importance_rows(
    model: VAE,
    x: Tensor,
    *,
    samples: int = 5000,
    seed: int = 0,
    first: int = 0,
    log_jacobian: float = 0.0,
    on_rows: Callable[[int], None] | None = None,
) -> Importance:
    """Estimate log p(x) of every row by importance sampling.

    The result depends on ``seed``, and not on torch's global generator.

    Args:
        model: The VAE.
        x: (N, D).
        samples: K, the draws of z for each row.
        seed: Seeds the draws.
        first: The number of the first row of x in the data, if x is a part of the data.
        log_jacobian: Nats that are added to turn the density of x into that of the data.
        on_rows: Called with the number of rows each time some are done.

    Raises:
        UsageError: ``samples`` is below 1.

    Example:
        >>> import torch
        >>> from aevb import VAE
        >>> from aevb.evaluation.bound import elbo_rows
        >>> from aevb.evaluation.log_likelihood import importance_rows
        >>> _ = torch.manual_seed(0)
        >>> model, x = VAE(4, (8,), 2), torch.ones(5, 4)
        >>> estimate = importance_rows(model, x, samples=1000)
        >>> estimate.log_likelihood.shape, estimate.unreliable
        (torch.Size([5]), 0.0)
        >>> bound = elbo_rows(model, x, samples=1000).bound
        >>> bool((estimate.log_likelihood > bound).all())
        True
    """
    if samples < 1:
        raise UsageError(f"samples must be at least 1; got {samples}")
    values, sizes = [], []
    with evaluating(model):
        for start in range(0, len(x), ROWS):
            torch.manual_seed(counter_seed(seed, "importance", first + start))
            log_sum, log_square_sum = _weigh(model, x[start : start + ROWS], samples)
            values.append(log_sum - math.log(samples) + log_jacobian)
            sizes.append((2 * log_sum - log_square_sum).exp())
            if on_rows:
                on_rows(len(log_sum))
    return Importance(torch.cat(values), torch.cat(sizes), samples)


def _weigh(model: VAE, x: Tensor, samples: int) -> tuple[Tensor, Tensor]:
    """Return the logs of the sum of the weights and of their squares: (B,) each, in float64."""
    q = model.posterior_given(x)
    log_sum = torch.full((len(x),), -torch.inf, dtype=torch.float64, device=x.device)
    log_square_sum = log_sum.clone()
    chunk = max(1, PAIRS.get(x.device.type, PAIRS["cpu"]) // len(x))
    for done in range(0, samples, chunk):
        z, log_q = rsample_and_log_prob(q, min(chunk, samples - done))
        log_p, log_prior = model.log_joint(x, z)
        log_w = log_p.double() + log_prior.double() - log_q.double()
        log_sum = torch.logaddexp(log_sum, log_w.logsumexp(0))
        log_square_sum = torch.logaddexp(log_square_sum, (2 * log_w).logsumexp(0))
    return log_sum, log_square_sum
