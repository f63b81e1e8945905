r"""Measure how much the codes z tell about the rows: active units, mutual information, marginal KL.

The average KL has two parts (Hoffman & Johnson 2016),

    E_x[KL(q(z|x) || p(z))] = I(x; z) + KL(q(z) || p(z)),      q(z) = 1/N sum_n q(z|x_n).

I(x; z) is the information that a code holds about its row. KL(q(z) || p(z)) measures how far all
codes together are from the prior, from which samples are drawn. Both are estimated with the
aggregate posterior q(z) of the N given rows. The estimate of I(x; z) cannot exceed log N.
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
"""A latent dimension is active if the mean of q(z|x) has a larger variance over the rows than this
(Burda et al. 2016)."""
NEAR_CEILING = 0.9
"""Above this share of log N, the mutual information says more about N than about the codes."""
COLLAPSED = 0.1
"""Below this total KL in nats, q(z|x) is practically the prior."""


class Latents(NamedTuple):
    """The codes of N rows, and figures about them.

    Args:
        means: (N, L), the means of q(z|x).
        draws: (N, L), one draw from each q(z|x).
        active: (L,), whether each dimension is active.
        figures: ``active_units``, ``mutual_information`` and ``marginal_kl``.

    Example:
        >>> import torch
        >>> from aevb import VAE
        >>> from aevb.evaluation.latents import latents
        >>> codes = latents(VAE(4, (8,), 2), torch.randn(100, 4))
        >>> codes.draws.shape, codes.active.shape
        (torch.Size([100, 2]), torch.Size([2]))
    """

    means: Tensor
    draws: Tensor
    active: Tensor
    figures: dict[str, Figure]


@torch.no_grad()
def latents(model: VAE, x: Tensor, *, seed: int = 0) -> Latents:
    """Measure the codes of given rows.

    The figures are ``active_units`` (how many dimensions are active), ``mutual_information`` (I(x;
    z), nats) and ``marginal_kl`` (KL(q(z) || p(z)), nats). The result depends on ``seed``, and not
    on torch's global generator.

    Args:
        model: The VAE.
        x: (N, D).
        seed: Seeds the draws of z.

    Example:
        >>> import torch
        >>> from aevb import VAE
        >>> from aevb.evaluation.latents import latents
        >>> _ = torch.manual_seed(0)
        >>> codes = latents(VAE(4, (8,), 2), torch.randn(100, 4))
        >>> codes.means.shape, sorted(codes.figures)
        (torch.Size([100, 2]), ['active_units', 'marginal_kl', 'mutual_information'])
        >>> round(codes.figures["mutual_information"].details["at_most"], 2)  # log 100
        4.61
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
    if information.value >= NEAR_CEILING * ceiling:  # The excess over it counts as marginal KL.
        marginal = marginal._replace(details={"at_most": marginal.value})
    count = float(active.sum()) if len(x) > 1 else math.nan
    figures = {
        "active_units": Figure(count, math.nan, f"of {means.shape[-1]} latent dimensions"),
        "mutual_information": information._replace(details={"at_most": ceiling}),
        "marginal_kl": marginal,
    }
    return Latents(means, z[0], active, figures)


def _log_aggregate(model: VAE, q: Distribution, x: Tensor, z: Tensor) -> Tensor:
    """Return log 1/N sum_n q(z|x_n). x: (N, D); z: (M, L) -> (M,)."""
    if isinstance(q, DiagonalNormal):
        aggregate = NormalMixture(
            torch.zeros(len(x), dtype=z.dtype, device=z.device), q.mu, q.logvar
        )
        return torch.cat([aggregate.log_prob(part) for part in z.split(256)])
    parts = []
    for part in z.split(32):  # A flow is evaluated at every pair of a row and a point.
        pairs = [model.posterior_given(rows).log_prob(part.unsqueeze(1)) for rows in x.split(256)]
        parts.append(torch.cat(pairs, dim=1).logsumexp(1) - math.log(len(x)))
    return torch.cat(parts)
