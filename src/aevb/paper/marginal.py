r"""log p(x) in four ways, for a Bernoulli decoder with few latent dimensions.

``reciprocal`` is the paper's own way (appendix D). It draws z ~ p(z|x) by HMC, fits a density q(z)
to the draws, draws again, and takes

    log p(x) ~ -log 1/L sum_l q(z_l) / (p(z_l) p(x|z_l)),     z_l ~ p(z|x)

This holds since E[q(z) / p(x, z)] under p(z|x) is 1 / p(x) for any q. The estimator has two
weaknesses. It is wrong if the chains have not reached all of the posterior. And it has a large
variance if q has more mass than the posterior somewhere. Its result shows neither.

``importance`` is ``evaluation.log_likelihood`` with q(z|x) as the proposal. It fails if the encoder
has overfitted.

``fitted_importance`` also samples by importance, but its proposal needs no encoder: it is a t
distribution that is fitted to chains, mixed with the prior.

``paper.quadrature`` is exact up to its grid, and serves as the reference for the other three.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from aevb.evaluation.log_likelihood import importance_rows
from aevb.model import VAE
from aevb.paper.quadrature import log_likelihood
from aevb.paper.trial import TrialRows
from aevb.probability.hmc import LogDensity, adapted, hmc_move

BURN_IN, DRAWS = 200, 100
"""Moves of a chain before its first draw, and draws of a chain."""
WIDER = 1.5
"""A second grid has a width this many times that of the reference grid.

The difference between the two exceeds the error of the reference.
"""
REACH = 7.0
"""Reach of the reference grid.

A model that is trained on 1,000 rows has a few codes beyond 4.5 standard deviations of the prior.
"""
IMPORTANCE = 5000
"""Draws for importance sampling."""
CHAINS, STARTS = 8, 65_536
"""Chains of each row for the fitted proposal, and draws of the prior among which they start.

There are enough of both to put a chain into every important mode of a row's posterior.
"""
DEGREES, PRIOR_SHARE = 5, 0.2
"""Degrees of freedom of the fitted t distribution, and the prior's share in the proposal.

The prior's share bounds the weights (defensive importance sampling, Hesterberg 1995).
"""


def reciprocal(model: VAE, x: Tensor, seed: int = 0) -> Tensor:
    """Return log p(x) by the paper's estimator: (N,), nats.

    Each row has one chain, with DRAWS draws to fit q and DRAWS more for the mean.

    Args:
        model: A model from ``paper_model``, with a Bernoulli decoder.
        x: Rows, (N, D).
        seed: Seeds all draws.
    """
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
    """Return log p(x) by importance sampling from a proposal that is fitted to draws of p(z|x).

    Args:
        model: A model from ``paper_model``, with a Bernoulli decoder.
        x: Rows, (N, D).
        seed: Seeds all draws.

    Returns:
        (N,), nats.
    """
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        log_joint = _log_joint(model, x)
        z = _draws(log_joint, _start(model, x, STARTS, CHAINS), DRAWS // 2)
        fitted = _fit(z.flatten(0, 1).double())
        few = round(PRIOR_SHARE * IMPORTANCE)
        z = _draw_t(fitted, IMPORTANCE - few)
        z = torch.cat([z, torch.randn(few, *z.shape[1:]).to(z)])
    with torch.no_grad():
        log_p = torch.cat([log_joint(part.to(x.dtype)).double() for part in z.split(250)])
    log_q = torch.logaddexp(
        _log_t(fitted, z) + math.log(1 - PRIOR_SHARE), _log_normal(z) + math.log(PRIOR_SHARE)
    )
    return torch.logsumexp(log_p - log_q, 0) - math.log(IMPORTANCE)


def comparison(
    model: VAE, rows: TrialRows, shown: int, *, encoder: bool, width: float = 0.1
) -> dict[str, float]:
    """Estimate log p(x) of the first training and test rows in each way.

    Args:
        model: A model from ``paper_model``, with a Bernoulli decoder.
        rows: Training and test rows.
        shown: How many rows of each to use.
        encoder: Whether the model has a trained encoder, which ``importance`` needs.
        width: The width of the reference grid.

    Returns:
        For each split and way, "SPLIT_WAY", the mean over rows, and "SPLIT_WAY_row_error", the root
        mean square of the rows' differences from the reference; in nats.
    """
    found: dict[str, float] = {}
    for split, x in rows.first(shown):
        judge = log_likelihood(model, x, width, REACH)
        ways = {
            "quadrature": judge,
            "wider_grid": log_likelihood(model, x, WIDER * width, REACH),
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
    """Return draws of chains after their burn-in: (count, *z.shape).

    The burn-in also tunes the step sizes. z: where the chains begin, (..., N, L).
    """
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
    """Change a step by up to a fifth at random.

    If the posterior is nearly Gaussian, moves of a fixed length may return to their start.
    """
    return step * (1 + 0.2 * (2 * torch.rand_like(step) - 1))


@torch.no_grad()
def _start(model: VAE, x: Tensor, among: int = 4096, chains: int = 1) -> Tensor:
    """Return codes near the posterior, (chains, N, L).

    They are chosen among ``among`` draws of the prior, with probabilities proportional to p(x|z). A
    good start matters, since a chain seldom changes its mode.
    """
    z = torch.randn(among, model.latent_dim, device=x.device)
    parts = [model.decoder(part) for part in z.split(4096)]
    log_p = torch.cat(
        [torch.addmm(-torch.nn.functional.softplus(a).sum(-1), x, a.t()) for a in parts], 1
    )
    return z[torch.distributions.Categorical(logits=log_p).sample(torch.Size((chains,)))]


def _log_joint(model: VAE, x: Tensor) -> LogDensity:
    """Return the function that maps z, (..., N, L), to log p(x, z), (..., N), in nats."""

    def log_joint(z: Tensor) -> Tensor:
        reconstruction, prior = model.log_joint(x, z)
        return reconstruction + prior

    return log_joint


def _fit(z: Tensor) -> torch.distributions.MultivariateNormal:
    """Fit a Gaussian with a full covariance to the draws of each row.

    z: (draws, N, L), float64.
    """
    centred = z - z.mean(0)
    covariance = torch.einsum("lni,lnj->nij", centred, centred) / (len(z) - 1)
    return torch.distributions.MultivariateNormal(
        z.mean(0), covariance + 1e-8 * torch.eye(z.shape[-1], dtype=z.dtype, device=z.device)
    )


def _draw_t(fitted: torch.distributions.MultivariateNormal, count: int) -> Tensor:
    """Draw from t distributions with the locations and scales of the rows' Gaussians.

    They have DEGREES degrees of freedom. Returns (count, N, L).
    """
    size = count, *fitted.loc.shape
    chi2 = torch.distributions.Chi2(fitted.loc.new_tensor(float(DEGREES)))
    heavy = chi2.sample(size[:2]) / DEGREES
    normal = torch.randn(size).to(fitted.loc).unsqueeze(-1)
    return fitted.loc + (fitted.scale_tril @ normal).squeeze(-1) / heavy.sqrt().unsqueeze(-1)


def _log_t(fitted: torch.distributions.MultivariateNormal, z: Tensor) -> Tensor:
    """Return the log density of ``_draw_t``'s distribution: (K, N). z: (K, N, L)."""
    size, tril = z.shape[-1], fitted.scale_tril
    away = (z - fitted.loc).unsqueeze(-1)
    whitened = torch.linalg.solve_triangular(tril, away, upper=False).squeeze(-1)
    distance = whitened.square().sum(-1)
    constant = (
        math.lgamma((DEGREES + size) / 2)
        - math.lgamma(DEGREES / 2)
        - size / 2 * math.log(DEGREES * math.pi)
    )
    volume = tril.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    return constant - volume - (DEGREES + size) / 2 * torch.log1p(distance / DEGREES)


def _log_normal(z: Tensor) -> Tensor:
    """Return the log density of N(0, I): (K, N). z: (K, N, L)."""
    return -0.5 * (z.square().sum(-1) + z.shape[-1] * math.log(2 * math.pi))
