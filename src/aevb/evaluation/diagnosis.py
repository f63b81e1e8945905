"""Find the faults of a model from its figures, and suggest a remedy for each."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import NamedTuple

from aevb.evaluation.latents import COLLAPSED, NEAR_CEILING

GAP = 3.0
"""A difference is reported if it is this many standard errors from zero."""
LEAST_NOISE, GREATEST_NOISE = 1e-3, 2.0
"""The decoder's noise should lie within these limits, in standard deviations of the data."""
FEWEST_ROWS = 20
"""From fewer rows, the variance of the codes' means says nothing about active units."""
SMALL_KL = 1.0
"""From this KL in nats upwards, codes carry information even if their means hardly vary."""
FREE_KL = 0.5
"""A KL below this many nats may be there only because it cost nothing in training."""
OVERFITTING_SHARE, OVERFITTING_NATS = 0.05, 0.5
"""A gap between the bounds on training and held-out rows is reported if it exceeds both this share
of the bound and this many nats."""
UNRELIABLE_SHARE = 0.05
"""log p(x) is called unreliable if more than this share of the rows is."""


class Diagnosis(NamedTuple):
    """One fault of a model.

    Args:
        name: A fixed name, for programs.
        message: The observation, and a remedy.

    Example:
        >>> from aevb.evaluation.diagnosis import Facts, diagnose
        >>> collapse = diagnose(Facts(bound=-10.0, bound_error=0.1, kl=0.001))[0]
        >>> collapse.name, collapse.message.split(":")[0]
        ('posterior_collapse', 'posterior collapse')
    """

    name: str
    message: str


class Facts(NamedTuple):
    """The facts about a model that ``diagnose`` looks at. None means that a fact is not known.

    Densities are in nats per row. Errors are standard errors of means over rows.

    Args:
        bound: The ELBO on held-out rows.
        bound_error: The standard error of ``bound``.
        kl: The KL on held-out rows.
        active_units: How many latent dimensions are active.
        latent_dim: How many there are.
        baseline: log p(x) of independent columns, on held-out rows.
        margin_error: The standard error of bound - baseline, over the same rows.
        training_bound: The ELBO on training rows.
        training_error: The standard error of ``training_bound``.
        noise: The smallest and the largest noise of a column, in standard deviations of the data.
        unreliable: The share of rows whose estimate of log p(x) is unreliable.
        fidelity: log p(x|z) at the mean of q(z|x), if that was trained in place of a bound
            (objective autoencoder).
        rows: How many rows were encoded to measure the codes.
        information: I(x; z), which is at most the log of ``rows``.

    Example:
        >>> from aevb.evaluation.diagnosis import Facts, diagnose
        >>> facts = Facts(bound=-10.0, bound_error=0.1, kl=5.0, baseline=-8.0, training_bound=-9.9)
        >>> [found.name for found in diagnose(facts)]
        ['worse_than_baseline']
    """

    bound: float
    bound_error: float
    kl: float
    active_units: float | None = None
    latent_dim: int | None = None
    baseline: float | None = None
    margin_error: float | None = None
    training_bound: float | None = None
    training_error: float = 0.0
    noise: tuple[float, float] | None = None
    unreliable: float | None = None
    fidelity: float | None = None
    rows: int | None = None
    information: float | None = None


def diagnose(facts: Facts) -> list[Diagnosis]:
    """List everything that is wrong, worst first. The list is empty if nothing is.

    Example:
        >>> from aevb.evaluation.diagnosis import Facts, diagnose
        >>> diagnose(Facts(bound=-10.0, bound_error=0.1, kl=5.0))
        []
        >>> [found.name for found in diagnose(Facts(bound=-10.0, bound_error=0.1, kl=0.001))]
        ['posterior_collapse']
    """
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
    return [found for check in checks if (found := check(facts))]


def _autoencoder(facts: Facts) -> Diagnosis | None:
    if facts.fidelity is None:
        return None
    return Diagnosis(
        "not_a_generative_model",
        f"an autoencoder: it was trained for log p(x|z) at the mean of q(z|x), {facts.fidelity:.2f}"
        f" nats, and neither for its bound, {facts.bound:.2f}, nor for draws from its prior. For"
        " those use --objective elbo.",
    )


def _collapse(facts: Facts) -> Diagnosis | None:
    known = facts.active_units is not None and (facts.rows is None or facts.rows >= FEWEST_ROWS)
    if facts.kl >= COLLAPSED and not (known and facts.active_units == 0 and facts.kl < SMALL_KL):
        return None
    units = (
        f", {facts.active_units:.0f} of {facts.latent_dim} latent dimensions active"
        if known
        else ""
    )
    return Diagnosis(
        "posterior_collapse",
        f"posterior collapse: KL {facts.kl:.3f} nats{units}: the decoder ignores z. Try"
        " --warmup-epochs 10, --free-bits 0.1, --skip, a smaller decoder (--decoder-hidden), or a"
        " smaller --beta.",
    )


def _worse_than_baseline(facts: Facts) -> Diagnosis | None:
    if facts.fidelity is not None or facts.baseline is None:
        return None
    # If the code tells nothing, log p(x) is above the bound by the whole KL. A small KL that was
    # free in training is of this kind.
    free = facts.kl if facts.kl < FREE_KL else 0.0
    if facts.bound + free >= facts.baseline:
        return None
    if facts.margin_error is not None and facts.baseline - facts.bound < GAP * facts.margin_error:
        return None
    return Diagnosis(
        "worse_than_baseline",
        f"worse than independent columns: bound {facts.bound:.2f}, columns each by themselves"
        f" {facts.baseline:.2f} nats. Train longer, or try another likelihood: its noise may not"
        " fit these data.",
    )


def _vanishing_noise(facts: Facts) -> Diagnosis | None:
    if facts.noise is None or facts.noise[0] >= LEAST_NOISE:
        return None
    return Diagnosis(
        "vanishing_variance",
        f"vanishing decoder variance: noise {facts.noise[0]:.2g} of the data's standard deviation;"
        " the density has no upper limit. Repeated or rounded values? Use discretized_logistic for"
        " integers, fewer latent dimensions, or gaussian_fixed.",
    )


def _exploding_noise(facts: Facts) -> Diagnosis | None:
    if facts.noise is None or facts.noise[1] <= GREATEST_NOISE:
        return None
    return Diagnosis(
        "exploding_variance",
        f"exploding decoder variance: noise {facts.noise[1]:.2g} times the data's standard"
        " deviation; more than 1 is never needed. Try a smaller --learning-rate, or look for"
        " outliers in the data.",
    )


def _gap(facts: Facts) -> Diagnosis | None:
    if facts.training_bound is None:
        return None
    gap = facts.training_bound - facts.bound
    error = (facts.bound_error**2 + facts.training_error**2) ** 0.5
    smallest = max(GAP * error, OVERFITTING_SHARE * abs(facts.bound), OVERFITTING_NATS)
    if not gap > smallest:
        return None
    return Diagnosis(
        "overfitting",
        f"train/test gap: bound {facts.training_bound:.2f} on training rows, {facts.bound:.2f} on"
        " held-out rows. Stop earlier with --patience 20, use a smaller network, or more data.",
    )


def _unreliable(facts: Facts) -> Diagnosis | None:
    if not facts.unreliable or facts.unreliable <= UNRELIABLE_SHARE:
        return None
    return Diagnosis(
        "unreliable_log_likelihood",
        f"unreliable log likelihood: {facts.unreliable:.0%} of the rows rest on fewer than 10"
        " effective samples and are too low. Use more --samples, or --ais.",
    )


def _ceiling(facts: Facts) -> Diagnosis | None:
    if facts.information is None or not facts.rows:
        return None
    ceiling = math.log(facts.rows)
    if facts.information < NEAR_CEILING * ceiling:
        return None
    return Diagnosis(
        "information_ceiling",
        f"mutual information at its ceiling: {facts.information:.2f} nats, and {facts.rows} rows"
        f" allow no more than log {facts.rows} = {ceiling:.2f}. Any information"
        " beyond that counts as marginal_kl, which is therefore only an upper bound. Use more"
        " --rows.",
    )


def facts_of_record(record: Mapping[str, float]) -> Facts | None:
    """Take the facts from one line of metrics.jsonl. None if there were no validation rows.

    Example:
        >>> from aevb.evaluation.diagnosis import facts_of_record
        >>> record = {"bound": -9.0, "validation_bound": -10.0, "validation_kl": 2.0}
        >>> facts = facts_of_record(record)
        >>> facts.bound, facts.training_bound, facts.kl
        (-10.0, -9.0, 2.0)
    """
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
    """Diagnose a run while it trains, and report each diagnosis once.

    It reports nothing before epoch 5, in the first quarter of the epochs, or during the warm-up.

    Args:
        epochs: The epochs of the run.
        warmup_epochs: The epochs of its warm-up.

    Example:
        >>> from aevb.evaluation.diagnosis import Watch
        >>> watch = Watch(epochs=20, warmup_epochs=0)
        >>> record = {"bound": -9.0, "validation_bound": -9.0, "validation_kl": 0.0}
        >>> [len(watch.new(record | {"epoch": epoch})) for epoch in (4, 5, 6)]
        [0, 1, 0]
    """

    def __init__(self, epochs: int, warmup_epochs: float) -> None:
        self.first = max(5.0, epochs / 4, warmup_epochs + 1)
        self.told: set[str] = set()

    def new(self, record: Mapping[str, float]) -> list[Diagnosis]:
        """Return the diagnoses for another epoch that were not reported before.

        record: the line of metrics.jsonl for this epoch.

        Example:
            >>> from aevb.evaluation.diagnosis import Watch
            >>> watch = Watch(epochs=8, warmup_epochs=0)
            >>> record = {"epoch": 8, "bound": -9.0, "validation_bound": -9.0, "validation_kl": 0.0}
            >>> [found.name for found in watch.new(record)]
            ['posterior_collapse']
        """
        facts = facts_of_record(record)
        if facts is None or record["epoch"] < self.first:
            return []
        new = [found for found in diagnose(facts) if found.name not in self.told]
        self.told |= {found.name for found in new}
        return new
