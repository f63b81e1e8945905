"""Fit a better prior to the codes of a trained model. Nothing else in the model changes.

Samples are drawn from the prior and decoded. Where the prior has probability but the data have no
codes, the decoder has learned nothing, and its samples look unlike the data. For a given encoder
and decoder, the prior that maximises the bound is the aggregate posterior 1/N sum_n q(z|x_n)
(Tomczak & Welling 2018). So a prior that is fitted to draws from it raises the bound and avoids the
places without codes (Ghosh et al. 2020 do this for deterministic autoencoders).
"""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import replace

import torch
from torch import Tensor

from aevb.datasets.schema import Data
from aevb.errors import DataError, UsageError
from aevb.interfaces import Prior
from aevb.parts.priors.flow import FlowPrior
from aevb.parts.priors.mixture import MixtureOfGaussians
from aevb.probability.seeds import counter_seed
from aevb.runs.run import CHUNK, Run

FITS = ("mixture", "flow")
"""Names of the priors that can be fitted to codes."""
MOST_CODES = 50_000
"""A prior is fitted to at most this many codes."""
STEPS, BATCH = 2000, 512
"""Optimiser steps to fit a flow, and codes in each step."""


@torch.no_grad()
def refit_prior(
    run: Run,
    data: Data,
    name: str = "mixture",
    *,
    components: int | None = None,
    seed: int = 0,
    on_step: Callable[[int], None] | None = None,
) -> Run:
    """Return a copy of ``run`` with a prior that is fitted to the codes of ``data``.

    Args:
        run: The trained model.
        data: Its training rows.
        name: "mixture" (diagonal Gaussians, by expectation maximisation) or "flow" (spline
            couplings, by maximum likelihood).
        components: How many Gaussians the mixture has, 10 by default.
        seed: Seeds the codes and the fit.
        on_step: Called with n after step n of the ``STEPS`` steps that fit a flow.

    Raises:
        UsageError: The name is unknown, or ``components`` does not apply.
        DataError: There are fewer codes than components.

    Example:
        >>> import aevb
        >>> from aevb.datasets import load
        >>> from aevb.runs.refit import refit_prior
        >>> run = aevb.fit("digits", aevb.Config(epochs=5, hidden=(32,), latent_dim=2))
        >>> better = refit_prior(run, load("digits"), "mixture", components=5)
        >>> better.config.prior, better.model.prior().sample().shape
        ('mixture', torch.Size([2]))
        >>> bounds = [each.evaluate("digits")["bound"].value for each in (run, better)]
        >>> bounds[1] > bounds[0]
        True
    """
    if name not in FITS:
        raise UsageError(f"a prior can be refitted as {' or '.join(FITS)}; got {name!r}")
    if components is not None and (components < 1 or name == "flow"):
        raise UsageError(
            f"components, at least 1, are for the prior mixture; got {components} for {name}"
        )
    with torch.random.fork_rng():
        torch.manual_seed(counter_seed(seed, "refit"))
        codes = _codes(run, data)
        prior: Prior = (
            _mixture(codes, components or 10, seed) if name == "mixture" else _flow(codes, on_step)
        )
        model = deepcopy(run.model)
        model.prior = prior.to(run.device)
    # The history was measured with the old prior.
    settings = replace(run.config, prior=name, components=components)
    return replace(run, model=model.eval(), config=settings, history=[], kept_epoch=0, trained=0)


def _codes(run: Run, data: Data) -> Tensor:
    """Draw codes from q(z|x): (M, L). If there are few rows, each gets several draws."""
    x = run.stored(data)
    draws = max(1, min(10, MOST_CODES // len(x)))
    parts = [
        run.model.posterior_given(part).sample(torch.Size((draws,))).flatten(0, 1)
        for part in x.split(CHUNK)
    ]
    codes = torch.cat(parts)
    return codes[torch.randperm(len(codes))[:MOST_CODES].to(codes.device)]


def _mixture(codes: Tensor, components: int, seed: int) -> MixtureOfGaussians:
    from sklearn.mixture import GaussianMixture

    if len(codes) < components:
        raise DataError(
            f"{components} components need as many codes at least; there are {len(codes)}. Use"
            " fewer components."
        )
    fitted = GaussianMixture(
        components, covariance_type="diag", n_init=3, max_iter=500, random_state=seed
    )
    fitted.fit(codes.double().cpu().numpy())
    prior = MixtureOfGaussians(codes.shape[-1], components)
    prior.log_weights.copy_(torch.from_numpy(fitted.weights_).log())
    prior.mu.copy_(torch.from_numpy(fitted.means_))
    prior.logvar.copy_(torch.from_numpy(fitted.covariances_).log())
    return prior


def _flow(codes: Tensor, on_step: Callable[[int], None] | None) -> FlowPrior:
    prior = FlowPrior(codes.shape[-1]).to(codes.device)
    prior.place(codes)
    optimizer = torch.optim.Adam(prior.parameters(), lr=1e-3)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, STEPS)
    with torch.enable_grad():
        for step in range(STEPS):
            batch = codes[torch.randint(len(codes), (BATCH,)).to(codes.device)]
            loss = -prior().log_prob(batch).mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            if on_step:
                on_step(step + 1)
    return prior
