r"""log p(x) of a Bernoulli decoder with few latent dimensions, by adding up a grid: exact but for
the grid's width.

    log p(x) ~ log sum_g width^L p(z_g) p(x|z_g),     log p(x|z_g) = x . a_g - sum_d softplus(a_gd)

where a_g are the decoder's logits at z_g: for many rows x one matrix product. The sum over an even
grid converges faster than any power of its width once that is near the posterior's standard
deviation; a finer grid says whether it has.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from aevb.evaluation.bound import mean_figure
from aevb.model import VAE
from aevb.paper.trial import Rows

SHOWN = 1000
"""Training and test rows whose log p(x) a curve shows."""
WIDTH = 0.15
REACH = 4.5
"""Standard deviations of the prior that the grid covers on each side: at 3 dimensions all but 2e-5
of its mass."""
CHUNK = 4096


@torch.no_grad()
def log_likelihood(model: VAE, x: Tensor, width: float = WIDTH, reach: float = REACH) -> Tensor:
    """x: (N, D), in [0, 1] -> log p(x): (N,), nats, float64. width, reach: of the grid, in units of
    z."""
    axis = torch.arange(-reach, reach + width / 2, width, device=x.device)
    points = torch.cartesian_prod(*[axis] * model.latent_dim).reshape(-1, model.latent_dim)
    points = points[points.square().sum(-1) <= (reach + 0.5) ** 2]
    total = torch.full((len(x),), -torch.inf, dtype=torch.float64, device=x.device)
    for z in points.split(CHUNK):
        a = model.decoder(z)
        constant = model.prior().log_prob(z) - torch.nn.functional.softplus(a).sum(-1)
        log_p = torch.addmm(constant, x, a.t())
        peak = log_p.amax(1, keepdim=True)
        total = torch.logaddexp(
            total, (peak + (log_p - peak).exp_().sum(1, keepdim=True).log()).squeeze(1).double()
        )
    return total + model.latent_dim * math.log(width)


def log_likelihoods(model: VAE, rows: Rows) -> dict[str, float]:
    """Means over the first 1,000 training rows and test rows, each with its standard error over
    rows; nats."""
    found: dict[str, float] = {}
    for name, stored in (("train", rows.train), ("test", rows.test)):
        figure = mean_figure(log_likelihood(model, stored[:SHOWN] / rows.scale))
        found |= {f"{name}_log_p": figure.value, f"{name}_se": figure.standard_error}
    return found
