r"""log p(x) of a Bernoulli decoder with few latent dimensions, as a sum over a grid.

    log p(x) ~ log sum_g width^L p(z_g) p(x|z_g),     log p(x|z_g) = x . a_g - sum_d softplus(a_gd)

Here a_g are the decoder's logits at z_g, so one matrix product serves many rows x. Errors come only
from the width and the reach of the grid. Once the width is near the posterior's standard deviation,
the sum converges faster than any power of the width. A finer grid shows whether it has converged.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from aevb.evaluation.bound import mean_figure
from aevb.model import VAE
from aevb.paper.trial import TrialRows

SHOWN = 1000
"""How many training rows and test rows are measured for a curve."""
WIDTH = 0.15
REACH = 4.5
"""How far the grid goes on each side, in standard deviations of the prior.

In 3 dimensions it covers all but 2e-5 of the prior's mass.
"""
CHUNK = 4096
"""Points of the grid that are decoded at once."""


@torch.no_grad()
def log_likelihood(model: VAE, x: Tensor, width: float = WIDTH, reach: float = REACH) -> Tensor:
    """Return log p(x): (N,), nats, float64.

    Args:
        model: A model with a Bernoulli decoder.
        x: Rows in [0, 1], (N, D).
        width: The distance between two points of the grid, in units of z.
        reach: How far the grid goes on each side, in units of z.
    """
    axis = torch.arange(-reach, reach + width / 2, width, device=x.device)
    points = torch.cartesian_prod(*[axis] * model.latent_dim).reshape(-1, model.latent_dim)
    points = points[points.square().sum(-1) <= (reach + 0.5) ** 2]
    total = torch.full((len(x),), -torch.inf, dtype=torch.float64, device=x.device)
    for z in points.split(CHUNK):
        a = model.decoder(z)
        constant = model.prior().log_prob(z) - torch.nn.functional.softplus(a).sum(-1)
        log_p = torch.addmm(constant, x, a.t())
        peak = log_p.amax(1, keepdim=True)
        part = peak + (log_p - peak).exp_().sum(1, keepdim=True).log()
        total = torch.logaddexp(total, part.squeeze(1).double())
    return total + model.latent_dim * math.log(width)


def log_likelihoods(model: VAE, rows: TrialRows) -> dict[str, float]:
    """Return the mean log p(x) of the first rows of each split, and its standard error; nats."""
    found: dict[str, float] = {}
    for split, x in rows.first(SHOWN):
        figure = mean_figure(log_likelihood(model, x))
        found |= {f"{split}_log_p": figure.value, f"{split}_se": figure.standard_error}
    return found
