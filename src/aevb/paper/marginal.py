r"""log p(x) three ways, for a Bernoulli decoder with few latent dimensions, so that each can be held against the others.

``reciprocal``: the paper's own (appendix D). Draw z ~ p(z|x) by HMC, fit a density q(z) to the draws, draw again, and

    log p(x) ~ -log 1/L sum_l q(z_l) / (p(z_l) p(x|z_l)),     z_l ~ p(z|x)

which holds since E[q(z) / p(x, z)] under p(z|x) is 1 / p(x) for any q. Its weakness: chains that have not reached all of the
posterior, and a q with more mass than the posterior somewhere, make it wrong or of large variance, and it does not say so.
``importance``: ``evaluation.log_likelihood`` from q(z|x). Judge of both: ``paper.quadrature``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from aevb.evaluation.log_likelihood import importance_rows
from aevb.hmc import LogDensity, adapted, hmc_move
from aevb.model import VAE
from aevb.paper.quadrature import log_likelihood
from aevb.paper.trial import Rows

BURN_IN, DRAWS = 200, 100
WIDER = 1.5
"""A second grid is this much wider than the judge's: what they differ by is more than the judge's error."""
IMPORTANCE = 5000


def reciprocal(model: VAE, x: Tensor, seed: int = 0) -> Tensor:
    """The paper's estimator. x: (N, D) -> (N,), nats. One chain a row; DRAWS to fit and DRAWS to weigh."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        log_density = _log_joint(model, x)
        z, step = _start(model, x), torch.full((len(x), 1), 0.1, device=x.device)
        for _ in range(BURN_IN):
            z, acceptance = hmc_move(log_density, z, step)
            step = adapted(step, acceptance.unsqueeze(-1), 0.9, rate=0.3)
        draws = []
        for _ in range(2 * DRAWS):
            z, _ = hmc_move(log_density, z, step)
            draws.append(z)
    fitted, weighed = torch.stack(draws[:DRAWS]).double(), torch.stack(draws[DRAWS:])
    log_q = _fit(fitted).log_prob(weighed.double())
    with torch.no_grad():
        log_p = log_density(weighed).double()
    return math.log(DRAWS) - torch.logsumexp(log_q - log_p, 0)


def comparison(model: VAE, rows: Rows, shown: int, *, encoder: bool, width: float = 0.1) -> dict[str, float]:
    """Means over the first ``shown`` training and test rows by each way, and the root mean square of each row's error; nats.

    width: of the judge's grid. encoder: whether the model has one that was trained; without it there is no importance sampling.
    """
    found: dict[str, float] = {}
    for split, stored in (("train", rows.train), ("test", rows.test)):
        x = stored[:shown] / rows.scale
        judge = log_likelihood(model, x, width)
        ways = {"quadrature": judge, "wider_grid": log_likelihood(model, x, WIDER * width), "reciprocal": reciprocal(model, x)}
        if encoder:
            ways["importance"] = importance_rows(model, x, samples=IMPORTANCE).log_likelihood
        for name, values in ways.items():
            found[f"{split}_{name}"] = float(values.mean())
            found[f"{split}_{name}_row_error"] = float((values - judge).square().mean().sqrt())
    return found


@torch.no_grad()
def _start(model: VAE, x: Tensor) -> Tensor:
    """z near the posterior: one of 4,096 draws of the prior, with probability as p(x|z). A chain seldom changes its mode."""
    z = torch.randn(4096, model.latent_dim, device=x.device)
    a = model.decoder(z)
    log_p = torch.addmm(-torch.nn.functional.softplus(a).sum(-1), x, a.t())
    return z[torch.distributions.Categorical(logits=log_p).sample()]


def _log_joint(model: VAE, x: Tensor) -> LogDensity:
    """z: (..., N, L) -> log p(x, z): (..., N), nats."""

    def log_joint(z: Tensor) -> Tensor:
        reconstruction, prior = model.log_joint(x, z)
        return reconstruction + prior

    return log_joint


def _fit(z: Tensor) -> torch.distributions.MultivariateNormal:
    """A Gaussian with a full covariance for each row. z: (L, N, latent_dim), float64."""
    centred = z - z.mean(0)
    covariance = torch.einsum("lni,lnj->nij", centred, centred) / (len(z) - 1)
    return torch.distributions.MultivariateNormal(
        z.mean(0), covariance + 1e-8 * torch.eye(z.shape[-1], dtype=z.dtype, device=z.device)
    )
