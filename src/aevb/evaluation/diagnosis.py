"""What is wrong with a model, by name, with the remedy: decided from figures alone."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from aevb.evaluation.latents import COLLAPSED, NEAR_CEILING

GAP = 3.0
"""Standard errors by which a difference must differ from zero to be told."""
LEAST_NOISE, GREATEST_NOISE = 1e-3, 2.0
"""Standard deviations of the decoder's noise, in those of the data, outside which something is
wrong."""


FEWEST_ROWS = 20
"""Rows from which the variance of the codes' means, and so the number of active units, can be told.
"""
SMALL_KL = 1.0
"""Nats of KL from which on codes carry something, however little their means vary."""


class Finding(NamedTuple):
    """name: fixed, for programs. message: what was seen, and what to do."""

    name: str
    message: str


class Facts(NamedTuple):
    """What is known of a model; None where it is not. Nats per row; errors are standard errors of
    means over rows.

    bound, kl: on held-out rows. training_bound: on training rows. baseline: of independent columns,
    on the held-out rows. fidelity: log p(x|z) at the mean of q, where that was trained in place of
    a bound (objective autoencoder). margin_error: of bound - baseline over the same rows. noise:
    least and greatest, in standard deviations of the data. rows: of how many the codes were looked
    at. information: I(x; z), which is at most log rows.
    """

    bound: float
    bound_error: float
    kl: float
    active_units: float | None = None
    latent_dim: int | None = None
    kl_weight: float = 1.0
    baseline: float | None = None
    margin_error: float | None = None
    training_bound: float | None = None
    training_error: float = 0.0
    noise: tuple[float, float] | None = None
    unreliable: float | None = None
    fidelity: float | None = None
    rows: int | None = None
    information: float | None = None


def diagnose(facts: Facts) -> list[Finding]:
    """Everything that is wrong, worst first; an empty list if nothing is."""
    checks = (
        _autoencoder,
        _collapse,
        _worse_than_baseline,
        _vanishing_noise,
        _exploding_noise,
        _gap,
        _unreliable,
        _ceiling,
    )
    return [finding for check in checks if (finding := check(facts))]


def _autoencoder(facts: Facts) -> Finding | None:
    if facts.fidelity is None:
        return None
    return Finding(
        "not_a_generative_model",
        f"an autoencoder: it was trained for log p(x|z) at the mean of q(z|x), {facts.fidelity:.2f}"
        f" nats; its bound, {facts.bound:.2f}, and draws from its prior are what nothing was done"
        " for. For those use --objective elbo.",
    )


def _collapse(facts: Facts) -> Finding | None:
    known = facts.active_units is not None and (facts.rows is None or facts.rows >= FEWEST_ROWS)
    if facts.kl >= COLLAPSED and not (known and facts.active_units == 0 and facts.kl < SMALL_KL):
        return None
    units = (
        f", {facts.active_units:.0f} of {facts.latent_dim} latent dimensions active"
        if known
        else ""
    )
    return Finding(
        "posterior_collapse",
        f"posterior collapse: KL {facts.kl:.3f} nats{units}: the decoder ignores z. Try"
        " --warmup-epochs 10, --free-bits 0.1, --skip, a smaller decoder (--decoder-hidden), or a"
        " smaller --beta.",
    )


def _worse_than_baseline(facts: Facts) -> Finding | None:
    if facts.fidelity is not None or facts.baseline is None or facts.bound >= facts.baseline:
        return None
    if facts.margin_error is not None and facts.baseline - facts.bound < GAP * facts.margin_error:
        return None
    return Finding(
        "worse_than_baseline",
        f"worse than independent columns: bound {facts.bound:.2f}, columns each by themselves"
        f" {facts.baseline:.2f} nats. Train longer, or try another likelihood: its noise may not"
        " fit these data.",
    )


def _vanishing_noise(facts: Facts) -> Finding | None:
    if facts.noise is None or facts.noise[0] >= LEAST_NOISE:
        return None
    return Finding(
        "vanishing_variance",
        f"vanishing decoder variance: noise {facts.noise[0]:.2g} of the data's standard deviation:"
        " a density without limit. Repeated or rounded values? Use discretized_logistic for"
        " integers, fewer latent dimensions, or gaussian_fixed.",
    )


def _exploding_noise(facts: Facts) -> Finding | None:
    if facts.noise is None or facts.noise[1] <= GREATEST_NOISE:
        return None
    return Finding(
        "exploding_variance",
        f"exploding decoder variance: noise {facts.noise[1]:.2g} times the data's standard"
        " deviation, which itself would do. Try a smaller --learning-rate, or look for outliers in"
        " the data.",
    )


def _gap(facts: Facts) -> Finding | None:
    if facts.training_bound is None:
        return None
    gap = facts.training_bound - facts.bound
    error = (facts.bound_error**2 + facts.training_error**2) ** 0.5
    if not (gap > GAP * error and gap > 0.05 * abs(facts.bound) and gap > 0.5):
        return None
    return Finding(
        "overfitting",
        f"train/test gap: bound {facts.training_bound:.2f} on training rows, {facts.bound:.2f} on"
        " held-out rows. Stop earlier with --patience 20, use a smaller network, or more data.",
    )


def _unreliable(facts: Facts) -> Finding | None:
    if not facts.unreliable or facts.unreliable <= 0.05:
        return None
    return Finding(
        "unreliable_log_likelihood",
        f"unreliable log likelihood: {facts.unreliable:.0%} of the rows rest on fewer than 10"
        " effective samples and are too low. Use more --samples, or --ais.",
    )


def _ceiling(facts: Facts) -> Finding | None:
    if (
        facts.information is None
        or not facts.rows
        or facts.information < NEAR_CEILING * math.log(facts.rows)
    ):
        return None
    return Finding(
        "information_ceiling",
        f"mutual information at its ceiling: {facts.information:.2f} nats, and {facts.rows} rows"
        f" allow no more than log {facts.rows} = {math.log(facts.rows):.2f}. What the codes hold"
        " beyond that counts as marginal_kl, which is therefore only an upper bound. Use more"
        " --rows.",
    )


def facts_of_record(record: Mapping[str, float]) -> Facts | None:
    """What one line of metrics.jsonl tells; None without validation rows."""
    if "validation_bound" not in record:
        return None
    return Facts(
        bound=record["validation_bound"],
        bound_error=record.get("validation_standard_error", 0.0),
        kl=record["validation_kl"],
        training_bound=record["bound"],
        noise=(record["noise"], record["noise"]) if "noise" in record else None,
        fidelity=record.get("fidelity"),
    )


class Watch:
    """Findings while a run trains, each told once, from when a quarter of the epochs and the
    warm-up are over.

    epochs, warmup_epochs: of the run.
    """

    def __init__(self, epochs: int, warmup_epochs: float) -> None:
        self.first = max(5.0, epochs / 4, warmup_epochs + 1)
        self.told: set[str] = set()

    def new(self, record: Mapping[str, float]) -> list[Finding]:
        """What the record of another epoch shows that was not told before."""
        facts = facts_of_record(record)
        if facts is None or record["epoch"] < self.first:
            return []
        findings = [finding for finding in diagnose(facts) if finding.name not in self.told]
        self.told |= {finding.name for finding in findings}
        return findings
