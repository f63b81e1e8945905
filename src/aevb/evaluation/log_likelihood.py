r"""log p(x) itself, by importance sampling from q(z|x).

    log p(x) ~ log 1/K sum_k w_k,     w_k = p(x, z_k) / q(z_k|x),     z_k ~ q(z|x)

The mean of the w_k is unbiased for p(x); its logarithm is low by about 1 / (2 ESS) on average, with
the effective sample size ESS = (sum w)^2 / sum w^2, and off by chance by about sqrt(1/ESS - 1/K).
Where a few of the weights carry the sum, ESS is small and the figure cannot be trusted: q(z|x)
misses part of p(z|x). The figures say so.
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
"""Draws that go through the decoder at once, over rows and samples. Larger sheets leave a
processor's cache, and smaller ones leave most of a GPU idle."""
ROWS = 32
"""Rows that share a pass; a constant, since the noise of a row depends on it."""
RELIABLE = 10.0
"""A row with a smaller effective sample size is off by about 1 / (2 * 10) = 0.05 nats on average,
or more."""


class Importance(NamedTuple):
    """log_likelihood: (N,), nats; effective_sample_size: (N,), at most ``samples``, the number of
    draws a row."""

    log_likelihood: Tensor
    effective_sample_size: Tensor
    samples: int

    @property
    def error(self) -> Tensor:
        """(N,) standard deviation of the estimate of each row by the chance of its draws, nats."""
        return (1 / self.effective_sample_size - 1 / self.samples).clamp(min=0).sqrt()

    @property
    def unreliable(self) -> float:
        """Fraction of the rows whose effective sample size is below 10."""
        return float((self.effective_sample_size < RELIABLE).double().mean())

    def figure(self) -> Figure:
        """Mean over rows. Its standard error is that of rows drawn from the population, the chance
        of the draws included."""
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
    """Estimate log p(x) of every row. x: (N, D).

    samples: K, draws of z a row. first: number of the first row of x, where x is a part of more
    rows. log_jacobian: nats, added to turn a density of x into one of the data. on_rows(n) is
    called as rows are done. The result depends on ``seed``, not on torch's global generator. Raises
    UsageError for samples below 1.
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
    """x: (B, D) -> log of the sum of the weights and of their squares: (B,) each, in float64."""
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
