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

from aevb.datasets.schema import Data
from aevb.errors import UsageError
from aevb.model import VAE
from aevb.probability.seeds import counter_seed
from aevb.runs.code_priors import (
    MOST_CODES,
    MOST_DRAWS,
    Codes,
    Fitted,
    draw_codes,
    fit_flow,
    fit_flow_matching,
    fit_mixture,
    one_thread,
)
from aevb.runs.run import Run

FITS = ("mixture", "flow", "flow_matching")
"""Names of the priors that can be fitted to codes."""
STEPS = 2000
"""Optimiser steps to fit a flow or a velocity."""


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
        name: "mixture" (Gaussians, by expectation maximisation), "flow" (spline couplings, by
            maximum likelihood) or "flow_matching". Of mixtures, the one with diagonal or with full
            covariances is taken that gives held-out codes the higher density; the settings of the
            run then say ``mixture`` or ``full_mixture``.
        components: How many Gaussians the mixture has. By default 1, 5, 20 or 60, whichever gives
            held-out codes the highest density.
        seed: Seeds the codes and the fit.
        on_step: Called with n after step n of the ``STEPS`` steps that fit a flow or a velocity.

    Raises:
        UsageError: The name is unknown, or ``components`` does not apply.
        DataError: There are fewer codes than components.

    Example:
        >>> import aevb
        >>> from aevb.datasets import load
        >>> from aevb.runs.refit import refit_prior
        >>> run = aevb.fit("digits", aevb.Config(epochs=5, hidden=(32,), latent_dim=2))
        >>> better = refit_prior(run, load("digits"), "mixture", components=5)
        >>> better.config.components, better.model.prior().sample().shape
        (5, torch.Size([2]))
        >>> bounds = [each.evaluate("digits")["bound"].value for each in (run, better)]
        >>> bounds[1] > bounds[0]
        True
    """
    if name not in FITS:
        raise UsageError(
            f"a prior can be refitted as {', '.join(FITS[:-1])} or {FITS[-1]}; got {name!r}"
        )
    if components is not None and (components < 1 or name != "mixture"):
        raise UsageError(
            f"components, at least 1, are for the prior mixture; got {components} for {name}"
        )
    with one_thread(counter_seed(seed, "refit")):
        codes = draw_codes(run, data, MOST_CODES, (1, MOST_DRAWS))
        fitted = _fitted(name, codes, components, seed, on_step)
    # The history was measured with the old prior.
    return replace(with_prior(run, fitted), history=[], kept_epoch=0, trained=0)


def _fitted(
    name: str,
    codes: Codes,
    components: int | None,
    seed: int,
    on_step: Callable[[int], None] | None,
) -> Fitted:
    if name == "mixture":
        return fit_mixture(codes, components, seed)
    fit = fit_flow if name == "flow" else fit_flow_matching
    return fit(codes, STEPS, on_step)


def with_prior(run: Run, fitted: Fitted) -> Run:
    """Return a copy of ``run`` with another prior, and settings that name it.

    Example:
        >>> import aevb
        >>> from aevb.parts.priors.flow import FlowPrior
        >>> from aevb.runs.code_priors import Fitted
        >>> from aevb.runs.refit import with_prior
        >>> run = aevb.fit("moons", aevb.Config(epochs=1, hidden=(8,), latent_dim=2))
        >>> with_prior(run, Fitted(FlowPrior(2), "flow")).config.prior
        'flow'
    """
    model: VAE = deepcopy(run.model)
    model.prior = fitted.prior.to(run.device)
    config = replace(run.config, prior=fitted.name, components=fitted.components)
    return replace(run, model=model.eval(), config=config)
