"""Choose the prior that fits the codes of a trained model best, on rows that it was not fitted to.

Of the bound, only E_q(z|x)[log p(z)] depends on the prior. So its mean over validation rows, with
the same draws of z for every prior, compares priors exactly as the bounds would.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor

from aevb.datasets.schema import Data
from aevb.evaluation.bound import Figure, mean_figure
from aevb.interfaces import Prior
from aevb.probability.seeds import counter_seed
from aevb.runs.automatic import known
from aevb.runs.code_priors import (
    MOST_DRAWS,
    Codes,
    Fitted,
    draw_codes,
    fit_flow,
    fit_flow_matching,
    fit_mixture,
    one_thread,
)
from aevb.runs.refit import with_prior
from aevb.runs.run import Run

MARGIN = 0.02
"""Nats a row by which a new prior must be better, and flow matching better than the faster ones."""
IDLE = 0.05
"""Nats. If q(z|x) tells less about x than this, no prior can gain more, and none is fitted."""
FEWEST_ROWS = 10
"""With fewer rows than this, no prior is fitted."""
FLOW_ROWS = 500
"""With at least so many rows, flows are fitted too."""
PRESENT = "present"
"""The name of the run's own prior among the figures."""
MOST_FITTED, MOST_MEASURED = 30_000, 8192
"""Codes to fit priors to, and to compare them on."""
FLOW_STEPS, MATCHING_STEPS = (60, 120), (300, 700)
"""The fewest and the most optimiser steps of a flow and of flow matching."""


@dataclass(frozen=True)
class PriorChoice:
    """Which prior was taken, and the figures that decided.

    Args:
        name: Of the prior that was taken, as in ``Config.prior``.
        components: How many Gaussians a mixture has.
        reason: One line to print.
        densities: E_q(z|x)[log p(z)], the mean over rows, by the name of the fitted prior, and
            ``present`` for the prior that the run had, nats.
        gains: By how much a fitted prior is better than the present one, paired, by its name, nats.

    Example:
        >>> from aevb.runs.best_prior import PriorChoice
        >>> PriorChoice("standard_normal", None, "prior N(0, I): the codes are idle").gains
        {}
    """

    name: str
    components: int | None
    reason: str
    densities: Mapping[str, Figure] = field(default_factory=dict)
    gains: Mapping[str, Figure] = field(default_factory=dict)


@torch.no_grad()
def best_prior(
    run: Run,
    training: Data,
    validation: Data | None,
    *,
    seed: int,
    on_step: Callable[[float], None] | None = None,
) -> tuple[Run, PriorChoice]:
    """Fit priors to the codes of the training rows, and take the best on validation rows.

    A mixture of Gaussians is tried, and from ``FLOW_ROWS`` rows on a flow and flow matching. A
    fitted prior is taken only if it is better than the present one by more than one standard error
    of the difference and by ``MARGIN`` nats a row. Flow matching, whose densities are slow, must
    also be better than the other two by ``MARGIN``.

    This is for the end of a training: ``run, choice = best_prior(run, training, validation,
    seed=config.seed)``. The history and the count of epochs stay, although the bounds in the
    history were measured with the old prior; ``run.config`` names the new one. Weights are not
    changed in place: the run that is returned has a model of its own, or is ``run`` itself.

    Args:
        run: The trained model.
        training: The rows it was trained on.
        validation: Rows it was not trained on. None: a fifth of the training rows take their
            place, and the priors are fitted to the rest.
        seed: Seeds the codes and the fits, to the last bit.
        on_step: Called with the share of the work that is done, from 0 to 1.

    Returns:
        The run with the best prior, and why it is the best.

    Example:
        >>> import aevb
        >>> from aevb.datasets import load
        >>> from aevb.runs.best_prior import best_prior
        >>> settings = {"hidden": (32,), "latent_dim": 2, "epochs": 10, "learning_rate": 0.01}
        >>> run = aevb.fit("gmm", likelihood="gaussian", **settings)
        >>> better, choice = best_prior(run, load("gmm").sample(400), load("gmm:test"), seed=0)
        >>> choice.name == better.config.prior, "present" in choice.densities
        (True, True)
    """
    tell = on_step or (lambda _: None)
    with one_thread(counter_seed(seed, "best prior")):
        codes = draw_codes(run, training, MOST_FITTED, (1, MOST_DRAWS))
        own = run.model.prior()
        reason = _nothing_to_gain(codes, lambda z: own.log_prob(z.to(run.device)).cpu())
        if reason:
            return run, _kept(run, reason)
        if validation is None:
            codes, measured = _apart(codes)
        else:
            measured = draw_codes(run, validation, MOST_MEASURED, (2, 32)).z
        candidates = _candidates(codes, seed, tell)
        densities = {
            PRESENT: _density(run.model.prior, measured.to(run.device)),
            **{each.name: _density(each.prior, measured) for each in candidates},
        }
        tell(1.0)
    where = "validation rows" if validation is not None else "held-out training rows"
    return _decide(run, candidates, densities, where)


def _nothing_to_gain(codes: Codes, log_p: Callable[[Tensor], Tensor]) -> str:
    """Return why no prior is fitted, as a phrase; "" if one may pay."""
    if codes.rows < FEWEST_ROWS:
        return f"{codes.rows} rows are too few to fit another"
    kl = float((codes.log_q - log_p(codes.z)).double().mean())
    if not math.isfinite(kl):
        return "the codes are not finite"
    return f"the codes are idle, at {max(0.0, kl):.2f} nats a row" if kl < IDLE else ""


def _apart(codes: Codes) -> tuple[Codes, Tensor]:
    """Hold the codes of some rows out: return the others, and these."""
    fitted, held_out = codes.split()
    return Codes(codes.z[:, fitted], codes.log_q[:, fitted]), codes.z[:, held_out]


def _candidates(codes: Codes, seed: int, tell: Callable[[float], None]) -> list[Fitted]:
    """Fit every prior that may pay."""
    found = [fit_mixture(codes, None, seed)]
    tell(0.2)
    if codes.rows >= FLOW_ROWS:
        size = codes.z.shape[0] * codes.rows
        steps = [max(few, min(most, size // 30)) for few, most in (FLOW_STEPS, MATCHING_STEPS)]
        done = partial(_share, tell, 0.2, 0.6, steps[0])
        found.append(fit_flow(codes, steps[0], done))
        done = partial(_share, tell, 0.6, 0.9, steps[1])
        found.append(fit_flow_matching(codes, steps[1], done))
    return found


def _share(tell: Callable[[float], None], start: float, end: float, steps: int, step: int) -> None:
    tell(start + (end - start) * step / steps)


def _density(prior: Prior, codes: Tensor) -> Tensor:
    """Return the mean log-density of the draws of each row. codes: (K, N, L) -> (N,)."""
    log_p: Tensor = prior().log_prob(codes)
    return log_p.double().mean(0).cpu()


def _decide(
    run: Run, candidates: list[Fitted], densities: dict[str, Tensor], where: str
) -> tuple[Run, PriorChoice]:
    means = {name: mean_figure(values) for name, values in densities.items()}
    gains = {
        each.name: mean_figure(densities[each.name] - densities[PRESENT]) for each in candidates
    }
    order = sorted(candidates, key=lambda each: _rank(means[each.name], each.name), reverse=True)
    best = next((each for each in order if _wins(gains[each.name])), None)
    if best is None:
        reason = f"no fitted prior is clearly better on {where}"
        return run, _kept(run, reason, means, gains)
    gain = gains[best.name].value
    reason = (
        f"prior {in_words(best.name, best.components)}: {gain:.2f} nats a row better than"
        f" {in_words(known(run.config, 'prior'), run.config.components)} on {where}"
    )
    choice = PriorChoice(best.name, best.components, reason, means, gains)
    return with_prior(run, best), choice


def _rank(mean: Figure, name: str) -> float:
    return mean.value - (MARGIN if name == "flow_matching" else 0.0)


def _wins(gain: Figure) -> bool:
    # A standard error that is not known, NaN, never lets a prior win.
    return gain.value > MARGIN and gain.value > gain.standard_error


def _kept(
    run: Run,
    why: str,
    densities: Mapping[str, Figure] | None = None,
    gains: Mapping[str, Figure] | None = None,
) -> PriorChoice:
    name, components = known(run.config, "prior"), run.config.components
    reason = f"prior {in_words(name, components)}: {why}"
    return PriorChoice(name, components, reason, densities or {}, gains or {})


def in_words(name: str, components: int | None) -> str:
    """Return the name of a prior as a phrase.

    Example:
        >>> from aevb.runs.best_prior import in_words
        >>> in_words("standard_normal", None), in_words("full_mixture", 20)
        ('N(0, I)', 'mixture of 20 full Gaussians')
    """
    if name in ("mixture", "full_mixture"):
        size = 10 if components is None else components
        full = "full " if name == "full_mixture" else ""
        return f"mixture of {size} {full}Gaussian{'s' if size != 1 else ''}"
    words = {"standard_normal": "N(0, I)", "vamp": "VampPrior", "flow_matching": "flow matching"}
    return words.get(name, name)
