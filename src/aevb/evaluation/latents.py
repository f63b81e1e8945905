r"""What the code of a model carries: active units, the KL of each dimension, mutual information,
the aggregate posterior.

The average KL splits into two (Hoffman & Johnson 2016),

    E_x[KL(q(z|x) || p(z))] = I(x; z) + KL(q(z) || p(z)),      q(z) = 1/N sum_n q(z|x_n):

what a code tells about its row, and how far the codes together are from the prior, which is where
samples come from. Both are estimated with the aggregate posterior of the N rows given; I(x; z) then
cannot exceed log N.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution

from aevb.evaluation.bound import Figure, evaluating, mean_figure
from aevb.model import VAE
from aevb.probability.distributions import DiagonalNormal, NormalMixture, rsample_and_log_prob
from aevb.probability.seeds import counter_seed

ACTIVE = 0.01
"""A latent dimension is active if the means of q(z|x) vary over the rows by more than this (Burda
et al. 2016)."""
NEAR_CEILING = 0.9
"""Share of log N from which on the mutual information of N rows says more about N than about the
codes."""
COLLAPSED = 0.1
"""Nats of KL in all below which q(z|x) is the prior for any practical purpose."""


class Latents(NamedTuple):
    """means, draws: (N, L), of q(z|x) and from it. figures: by name. active: (L,), whether each
    dimension is."""

    means: Tensor
    draws: Tensor
    active: Tensor
    figures: dict[str, Figure]


@torch.no_grad()
def latents(model: VAE, x: Tensor, *, seed: int = 0) -> Latents:
    """Figures about the codes of given rows. x: (N, D).

    ``active_units``: how many dimensions are active. ``mutual_information``: I(x; z). ``marginal_kl``: KL(q(z) || p(z)).
    The result depends on ``seed``, not on torch's global generator.
    """
    with evaluating(model):
        torch.manual_seed(counter_seed(seed, "latents"))
        q = model.posterior_given(x)
        means = q.mean
        z, log_q = rsample_and_log_prob(q, 1)
        log_aggregate = _log_aggregate(model, q, x, z[0])
        log_prior = model.prior().log_prob(z[0])
    active = means.var(0) > ACTIVE if len(x) > 1 else torch.zeros(means.shape[-1], dtype=torch.bool)
    information = mean_figure(log_q[0] - log_aggregate)
    marginal, ceiling = mean_figure(log_aggregate - log_prior), math.log(len(x))
    if information.value >= NEAR_CEILING * ceiling:  # what was cut off there was added here
        marginal = marginal._replace(details={"at_most": marginal.value})
    count = float(active.sum()) if len(x) > 1 else math.nan
    figures = {
        "active_units": Figure(count, math.nan, f"of {means.shape[-1]} latent dimensions"),
        "mutual_information": information._replace(details={"at_most": ceiling}),
        "marginal_kl": marginal,
    }
    return Latents(means, z[0], active, figures)


def _log_aggregate(model: VAE, q: Distribution, x: Tensor, z: Tensor) -> Tensor:
    """log 1/N sum_n q(z|x_n). x: (N, D); z: (M, L) -> (M,)."""
    if isinstance(q, DiagonalNormal):
        aggregate = NormalMixture(
            torch.zeros(len(x), dtype=z.dtype, device=z.device), q.mu, q.logvar
        )
        return torch.cat([aggregate.log_prob(part) for part in z.split(256)])
    parts = []
    for part in z.split(32):  # a flow is evaluated for every pair of a row and a point
        pairs = [model.posterior_given(rows).log_prob(part.unsqueeze(1)) for rows in x.split(256)]
        parts.append(torch.cat(pairs, dim=1).logsumexp(1) - math.log(len(x)))
    return torch.cat(parts)
