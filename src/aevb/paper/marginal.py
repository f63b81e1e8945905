r"""log p(x) four ways, for a Bernoulli decoder with few latent dimensions, so that each can be held
against the others.

``reciprocal``: the paper's own (appendix D). Draw z ~ p(z|x) by HMC, fit a density q(z) to the draws, draw again, and

    log p(x) ~ -log 1/L sum_l q(z_l) / (p(z_l) p(x|z_l)),     z_l ~ p(z|x)

which holds since E[q(z) / p(x, z)] under p(z|x) is 1 / p(x) for any q. Its weakness: chains that have not reached all of the
posterior, and a q with more mass than the posterior somewhere, make it wrong or of large variance, and it does not say so.
``importance``: ``evaluation.log_likelihood`` from q(z|x), which fails where the encoder has overfitted.
``fitted_importance``: the same from a proposal that owes nothing to the encoder, a t distribution fitted to chains, with
a part of the prior. Judge of all: ``paper.quadrature``.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from aevb.evaluation.log_likelihood import importance_rows
from aevb.model import VAE
from aevb.paper.quadrature import log_likelihood
from aevb.paper.trial import Rows
from aevb.probability.hmc import LogDensity, adapted, hmc_move

BURN_IN, DRAWS = 200, 100
WIDER = 1.5
"""A second grid is this much wider than the judge's: what they differ by is more than the judge's
error."""
REACH = 7.0
"""Of the judge's grid: weights fitted to 1,000 rows put single codes beyond 4.5 standard deviations
of the prior."""
IMPORTANCE = 5000
CHAINS, STARTS = 8, 65_536
"""Of the fitted proposal: enough of both that no mode of a row that weighs much is left without a
chain."""
DEGREES, PRIOR_SHARE = 5, 0.2
"""Tails of the fitted proposal, and the part of the prior in it, which bounds the weights
(defensive, Hesterberg 1995)."""


def reciprocal(model: VAE, x: Tensor, seed: int = 0) -> Tensor:
    """The paper's estimator. x: (N, D) -> (N,), nats. One chain a row; DRAWS to fit and DRAWS to
    weigh."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        log_density = _log_joint(model, x)
        draws = _draws(log_density, _start(model, x)[0], 2 * DRAWS)
    fitted, weighed = draws[:DRAWS].double(), draws[DRAWS:]
    log_q = _fit(fitted).log_prob(weighed.double())
    with torch.no_grad():
        log_p = log_density(weighed).double()
    return math.log(DRAWS) - torch.logsumexp(log_q - log_p, 0)


def fitted_importance(model: VAE, x: Tensor, seed: int = 0) -> Tensor:
    """log p(x) from IMPORTANCE draws of a proposal that is fitted to draws from p(z|x). x: (N, D)
    -> (N,), nats."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        log_joint = _log_joint(model, x)
        z = _draws(log_joint, _start(model, x, STARTS, CHAINS), DRAWS // 2)
        fitted = _fit(z.flatten(0, 1).double())
        few = round(PRIOR_SHARE * IMPORTANCE)
        size = IMPORTANCE - few, len(x), model.latent_dim
        heavy = (
            torch.distributions.Chi2(fitted.loc.new_tensor(float(DEGREES))).sample(size[:2])
            / DEGREES
        )
        z = fitted.loc + (
            fitted.scale_tril @ torch.randn(size).to(fitted.loc).unsqueeze(-1)
        ).squeeze(-1) / heavy.sqrt().unsqueeze(-1)
        z = torch.cat([z, torch.randn(few, *size[1:]).to(fitted.loc)])
    with torch.no_grad():
        log_p = torch.cat([log_joint(part.to(x.dtype)).double() for part in z.split(250)])
    log_q = torch.logaddexp(
        _log_t(fitted, z) + math.log(1 - PRIOR_SHARE), _log_normal(z) + math.log(PRIOR_SHARE)
    )
    return torch.logsumexp(log_p - log_q, 0) - math.log(IMPORTANCE)


def comparison(
    model: VAE, rows: Rows, shown: int, *, encoder: bool, width: float = 0.1
) -> dict[str, float]:
    """Means over the first ``shown`` training and test rows by each way, and the root mean square
    of each row's error; nats.

    width: of the judge's grid. encoder: whether the model has one that was trained; without it
    there is no importance sampling.
    """
    found: dict[str, float] = {}
    for split, stored in (("train", rows.train), ("test", rows.test)):
        x = stored[:shown] / rows.scale
        judge = log_likelihood(model, x, width, REACH)
        ways = {"quadrature": judge, "wider_grid": log_likelihood(model, x, WIDER * width, REACH)}
        ways |= {
            "reciprocal": reciprocal(model, x),
            "fitted_importance": fitted_importance(model, x),
        }
        if encoder:
            ways["importance"] = importance_rows(model, x, samples=IMPORTANCE).log_likelihood
        for name, values in ways.items():
            found[f"{split}_{name}"] = float(values.mean())
            found[f"{split}_{name}_row_error"] = float((values - judge).square().mean().sqrt())
    return found


def _draws(log_density: LogDensity, z: Tensor, count: int) -> Tensor:
    """(count, *z.shape): what chains that begin at z, (..., N, L), come to after they have burnt in
    and found their steps."""
    step = torch.full((*z.shape[:-1], 1), 0.1, device=z.device)
    for _ in range(BURN_IN):
        z, acceptance = hmc_move(log_density, z, _jittered(step))
        step = adapted(step, acceptance.unsqueeze(-1), 0.9, rate=0.3)
    draws = []
    for _ in range(count):
        z, _ = hmc_move(log_density, z, _jittered(step))
        draws.append(z)
    return torch.stack(draws)


def _jittered(step: Tensor) -> Tensor:
    """Up to a fifth more or less: where the posterior is nearly a Gaussian, moves of one length may
    return to their start."""
    return step * (1 + 0.2 * (2 * torch.rand_like(step) - 1))


@torch.no_grad()
def _start(model: VAE, x: Tensor, among: int = 4096, chains: int = 1) -> Tensor:
    """z near the posterior, (chains, N, L): of ``among`` draws of the prior, with probability as p(x|z). A chain seldom changes
    its mode."""
    z = torch.randn(among, model.latent_dim, device=x.device)
    parts = [model.decoder(part) for part in z.split(4096)]
    log_p = torch.cat(
        [torch.addmm(-torch.nn.functional.softplus(a).sum(-1), x, a.t()) for a in parts], 1
    )
    return z[torch.distributions.Categorical(logits=log_p).sample(torch.Size((chains,)))]


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


def _log_t(fitted: torch.distributions.MultivariateNormal, z: Tensor) -> Tensor:
    """Log density at z, (K, N, L), of a t distribution of DEGREES with the place and shape of each
    row's Gaussian: (K, N)."""
    size, tril = z.shape[-1], fitted.scale_tril
    distance = (
        torch.linalg.solve_triangular(tril, (z - fitted.loc).unsqueeze(-1), upper=False)
        .squeeze(-1)
        .square()
        .sum(-1)
    )
    constant = (
        math.lgamma((DEGREES + size) / 2)
        - math.lgamma(DEGREES / 2)
        - size / 2 * math.log(DEGREES * math.pi)
    )
    volume = tril.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    return constant - volume - (DEGREES + size) / 2 * torch.log1p(distance / DEGREES)


def _log_normal(z: Tensor) -> Tensor:
    """Log density of N(0, I): (K, N)."""
    return -0.5 * (z.square().sum(-1) + z.shape[-1] * math.log(2 * math.pi))
