"""The paper's experiments as lists of trials: which networks, how long, and what is expected to
come out.

Every recipe's docstring says what the paper found and what a faithful run should give. MNIST means
grey levels in [0, 1] as Bernoulli targets, the first 50,000 training pictures and all 10,000 test
pictures; a sample is one row seen in training.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from aevb.paper.trial import FREY_TRAIN, Trial, grid

LATENTS = (3, 5, 10, 20, 200)
FREY_LATENTS = (2, 5, 10, 20)
METHODS = ("aevb", "wake_sleep")
OTHER_STD = 0.1
"""The paper's N(0, 0.01) read as a variance. Read as a standard deviation, as the authors' later
code has it, it is 0.01, the default of a Trial: that is what follows the paper's curves. With 0.1
AEVB is faster, and wake-sleep fails."""
SLOW_LOGVAR = 0.1
"""Of the log-variance head of the encoder that wake-sleep trains (``paper.wake_sleep``). With a
head like AEVB's, wake-sleep is 1 to 4 nats below the paper at 3e6 samples and fails with 200 latent
dimensions."""
OTHER_STEP = 0.02
"""A step size of Adagrad that early performance does not choose for AEVB: in figure 2 that is 0.01,
in figure 3 it is 0.1."""
QUICK = 251_200
"""Samples of a trial where there is no time: the first five points of the grid."""
FIGURE3_POINTS = (
    100_000,
    316_200,
    500_000,
    1_000_000,
    2_000_000,
    3_000_000,
    5_000_000,
    7_500_000,
    10_000_000,
)


class Plan(NamedTuple):
    """A trial, and how many samples it is to see."""

    trial: Trial
    until: int
    log_p: bool = False
    """Whether log p(x) is measured, not the bound."""

    @property
    def points(self) -> list[int]:
        """Where the curve is measured, in training samples."""
        points = list(FIGURE3_POINTS) if self.log_p else grid(self.until)
        return [*[p for p in points if p < self.until], self.until]


def figure2(full: bool, seeds: int = 1) -> list[Plan]:
    """MNIST, the bound against the samples seen, 500 hidden units.

    The paper, test bound at 3e6 samples for 3, 5, 10, 20 and 200 latent dimensions: AEVB -143.7,
    -129.2, -115.8, -112.4, -108.7; wake-sleep -148.9, -132.0, -121.8, -115.7, -115.3. Expected:
    AEVB within 2 nats, wake-sleep within 3, AEVB above wake-sleep for each size; more latent
    dimensions than needed do no harm. Adam instead of Adagrad: about 10 nats better at 3e6 samples
    (20 dimensions).
    """
    base = Trial("mnist", "aevb", 20, 500, 50_000)
    main = _of_methods_and_sizes(base, seeds)
    if not full:
        return [Plan(trial, QUICK) for trial in main]
    adam = replace(base, optimiser="adam", lr=1e-3)
    return [
        *(Plan(trial, 3_000_000) for trial in main),
        Plan(adam, 3_000_000),
        *(
            Plan(replace(base, latent_dim=n, std=OTHER_STD, lr=lr), 1_000_000)
            for n, lr in ((3, 0.02), (20, 0.01))
        ),
        Plan(base, 10_000_000),
        Plan(replace(base, targets="binary"), 3_000_000),
        *(Plan(replace(adam, latent_dim=n), 3_000_000) for n in LATENTS if n != 20),
        Plan(replace(adam, method="wake_sleep"), 3_000_000),
    ]


def figure2_tried(full: bool, seeds: int = 1) -> list[Plan]:
    """Figure 2 for MNIST, wake-sleep with a log-variance head like AEVB's, and the step size that
    it chooses for each size.

    Full length alone, and a table, no picture. Expected: 1 to 4 nats below the paper at 3e6
    samples, and failing with 200 latent dimensions.
    """
    del seeds
    trial = Trial("mnist", "wake_sleep", 3, 500, 50_000, lr=0.01)
    return [Plan(replace(trial, latent_dim=n), 3_000_000) for n in LATENTS] if full else []


def figure2_std(full: bool, seeds: int = 1) -> list[Plan]:
    """Figure 2 for MNIST, AEVB with N(0, 0.01) read as a variance: all parameters from a standard
    deviation of 0.1.

    Full length alone, and a table, no picture. Expected: within 2 nats of the paper with 3 and 200
    latent dimensions, where the other reading is not, and better than the paper by 2 to 5 nats with
    5, 10 and 20.
    """
    base = Trial("mnist", "aevb", 3, 500, 50_000, lr=OTHER_STEP, std=OTHER_STD)
    order = [(s, n) for s in range(seeds) for n in (3, 200, 5, 10, 20)]
    return [Plan(replace(base, latent_dim=n, seed=s), 3_000_000) for s, n in order] if full else []


def figure2_step(full: bool, seeds: int = 1) -> list[Plan]:
    """Figure 2 for MNIST, AEVB by the other step size with each start: 0.02 from std 0.01, 0.01
    from std 0.1.

    With 3 dimensions, where the curve leaves a plateau late and by chance, another seed as well.
    Full length alone, and a table, no picture. Expected at 3e6 samples: from std 0.01 the paper's
    numbers with 10 and 200 latent dimensions, 4 nats better with 20, 2 to 5 below it with 3 and 5;
    from std 0.1 within 2 with 10 and 20, and 2 to 3 below with 5.
    """
    base = Trial("mnist", "aevb", 3, 500, 50_000, lr=OTHER_STEP)
    plans = [replace(base, latent_dim=n, seed=s) for s in range(seeds) for n in (3, 200, 20, 10, 5)]
    plans += [
        replace(base, latent_dim=n, lr=0.01, std=OTHER_STD, seed=s)
        for s in range(seeds)
        for n in (20, 10, 5)
    ]
    plans += [replace(base, lr=lr, seed=seeds) for lr in (0.01, OTHER_STEP)]
    return [Plan(trial, 3_000_000) for trial in plans] if full else []


def frey(full: bool, seeds: int = 1) -> list[Plan]:
    """Frey Face, the bound against the samples seen, 200 hidden units, sigmoid means, learned
    log-variances, pixels / 256.

    The paper's curves end between about 800 and 1,600 nats and overfit little; AEVB is above
    wake-sleep, which here starts with a standard deviation of 0.1: with 0.01 it never leaves the
    constant model, whose dreams teach nothing of z. Expected: AEVB above the constant Gaussian
    model (a mean and a variance for each pixel) by hundreds of nats; the rows split at random out
    of a film, where neighbouring frames are nearly equal, so that overfitting is hardly seen.
    """
    base = Trial("frey", "aevb", 2, 200, FREY_TRAIN)
    plans: list[Plan] = []
    for n in (2, 10, 5, 20):
        until = QUICK if not full else 10_000_000 if n in (2, 10) else 3_000_000
        trials = (base, replace(_by("wake_sleep", base), std=OTHER_STD))
        plans += [
            Plan(replace(trial, latent_dim=n, seed=s), until)
            for s in range(seeds)
            for trial in trials
        ]
    return plans


def figure3(full: bool, seeds: int = 1) -> list[Plan]:
    """MNIST, log p(x) against the samples seen, 100 hidden units, 3 latent dimensions, few and many
    training rows.

    The paper at 1e7 samples, 1,000 training rows: test AEVB -142.9, wake-sleep -146.6, Monte-Carlo
    EM -142.4; train -114.4, -128.3, -118.3. 50,000 rows: test AEVB -142.3, wake-sleep -143.2,
    Monte-Carlo EM below -165. Expected: AEVB and wake-sleep within 2 nats; of 1,000 rows
    Monte-Carlo EM learns about as well as AEVB, of 50,000 it hardly begins.
    """
    base = Trial("mnist", "aevb", 3, 100, 1000)
    until, methods = 10_000_000 if full else 1_000_000, (*METHODS, "mcem")
    plans = [
        Plan(replace(base, method=m, seed=s), until, log_p=True)
        for s in range(seeds)
        for m in methods
    ]
    return plans + (
        [Plan(replace(base, rows=50_000, method=m), until, log_p=True) for m in methods]
        if full
        else []
    )


def figure3_step(full: bool, seeds: int = 1) -> list[Plan]:
    """Figure 3, AEVB and wake-sleep, with Adagrad's step size at 0.02, which early performance does
    not choose.

    Full length alone. Expected: slower than the chosen 0.1, and nearer to the paper.
    """
    base = Trial("mnist", "aevb", 3, 100, 1000, lr=OTHER_STEP)
    order = [(s, n, m) for s in range(seeds) for n in (1000, 50_000) for m in METHODS]
    return (
        [Plan(replace(base, seed=s, rows=n, method=m), 10_000_000, log_p=True) for s, n, m in order]
        if full
        else []
    )


def manifolds(full: bool, seeds: int = 1) -> list[Plan]:
    """Figure 4: two latent dimensions, a plane of pictures through the inverse Gaussian CDF; MNIST
    and Frey Face.

    Expected: neighbours look alike and turn into each other; ten digits, and a face that turns and
    changes its expression.
    """
    del seeds
    return _of_sizes("mnist", (2,), full) + _of_sizes("frey", (2,), full)


def samples(full: bool, seeds: int = 1) -> list[Plan]:
    """Figure 5: pictures drawn from models of 2, 5, 10 and 20 latent dimensions; MNIST as in the
    paper, and Frey Face.

    Expected: sharper with more dimensions, and with more among them that are no digit, or two faces
    over each other.
    """
    del seeds
    return _of_sizes("mnist", FREY_LATENTS, full) + _of_sizes("frey", FREY_LATENTS, full)


def variance(full: bool, seeds: int = 1) -> list[Plan]:
    """The variance of the encoder's gradient on the models of figure 5, by four estimators.

    The paper calls the variance of the score-function gradient too high to be of use. Expected:
    orders of magnitude above the reparameterised one's; with a baseline for each row, several
    times; estimator B at or below A.
    """
    del seeds
    return _of_sizes("mnist", FREY_LATENTS, full)


def full_vb(full: bool, seeds: int = 1) -> list[Plan]:
    """Full variational Bayes (appendix F) beside AEVB's weights without a posterior; figure 3's
    networks, 1,000 rows, Adam.

    The paper derives it and shows no experiment. Expected: AEVB's test bound falls from some point
    on while its training bound goes on rising; with a posterior over the decoder's parameters the
    two stay together, and the bound on the evidence, for which no test row is needed, is below
    both.
    """
    base = Trial("mnist", "aevb", 3, 100, 1000, optimiser="adam", lr=1e-3)
    until = 3_000_000 if full else QUICK
    return [
        Plan(replace(base, method=m, seed=s), until)
        for s in range(seeds)
        for m in ("aevb", "full_vb")
    ]


def _of_methods_and_sizes(base: Trial, seeds: int) -> list[Trial]:
    """By what is wanted first, if there is not the time for all."""
    order = [(m, n) for m in METHODS for n in (3, 20, 5, 10, 200)]
    return [replace(_by(m, base), latent_dim=n, seed=s) for s in range(seeds) for m, n in order]


def _by(method: str, base: Trial) -> Trial:
    """A trial of figure 2 by one of its methods; wake-sleep has a head of its own."""
    return replace(base, method=method, logvar=SLOW_LOGVAR if method == "wake_sleep" else 1.0)


def _of_sizes(data: str, sizes: tuple[int, ...], full: bool) -> list[Plan]:
    """AEVB of figure 2, under the names that it has there: what is trained already is not trained
    again."""
    hidden, rows = (500, 50_000) if data == "mnist" else (200, FREY_TRAIN)
    base = Trial(data, "aevb", 2, hidden, rows)
    until = 3_000_000 if full else QUICK
    return [Plan(replace(base, latent_dim=n), until) for n in sizes]
