"""The paper's experiments as schedules: which networks to train, and for how long.

The docstring of each recipe says what the paper reports, and what a faithful run should give. MNIST
means grey levels in [0, 1] as Bernoulli targets, the first 50,000 training pictures and all 10,000
test pictures. A sample is one row seen in training. If ``full`` is false, a recipe returns the
quick form, which takes minutes. ``seeds`` is how many times the main curves are trained.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple

from aevb.paper.trial import FREY_TRAIN, Trial, grid

LATENTS = (3, 5, 10, 20, 200)
FREY_LATENTS = (2, 5, 10, 20)
METHODS = ("aevb", "wake_sleep")
OTHER_STD = 0.1
"""The paper's N(0, 0.01), with 0.01 read as a variance.

The authors' later code reads it as a standard deviation of 0.01, which is the default of a Trial.
That reading follows the paper's curves. With 0.1, AEVB is faster and wake-sleep fails.
"""
SLOW_LOGVAR = 0.1
"""Factor of the log-variance head of wake-sleep's encoder (``paper.wake_sleep``).

With a head like AEVB's, wake-sleep is 1 to 4 nats below the paper at 3e6 samples, and fails with
200 latent dimensions.
"""
OTHER_STEP = 0.02
"""A step size of Adagrad that early performance does not choose for AEVB.

It chooses 0.01 in figure 2 and 0.1 in figure 3.
"""
QUICK = 251_200
"""Samples of a trial in the quick form: the first five points of the grid."""
FULL = 3_000_000
"""Samples of most trials in the full form."""
LONG = 10_000_000
"""Samples of the longest trials."""
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


class ScheduledTrial(NamedTuple):
    """A trial and its number of training samples. log_p: measure log p(x) instead of the bound."""

    trial: Trial
    until: int
    log_p: bool = False

    @property
    def points(self) -> list[int]:
        """The numbers of training samples after which the curve is measured."""
        points = list(FIGURE3_POINTS) if self.log_p else grid(self.until)
        return [*[point for point in points if point < self.until], self.until]


Schedule = list[ScheduledTrial]


def figure2(full: bool, seeds: int = 1) -> Schedule:
    """MNIST, the bound against the samples seen, 500 hidden units.

    The paper, test bound at 3e6 samples for 3, 5, 10, 20 and 200 latent dimensions: AEVB -143.7,
    -129.2, -115.8, -112.4, -108.7; wake-sleep -148.9, -132.0, -121.8, -115.7, -115.3. Expected:
    AEVB within 2 nats of the paper, wake-sleep within 3, and AEVB above wake-sleep for each size.
    More latent dimensions than needed do no harm. With Adam instead of Adagrad, AEVB is about 10
    nats better at 3e6 samples (20 dimensions). docs/reproduction.md says where this did not hold.
    """
    base = Trial("mnist", "aevb", 20, 500, 50_000)
    # The most important trials come first, in case there is not enough time for all.
    order = [(method, n) for method in METHODS for n in (3, 20, 5, 10, 200)]
    main = [
        replace(_by(method, base), latent_dim=n, seed=seed)
        for seed in range(seeds)
        for method, n in order
    ]
    if not full:
        return _all(main, QUICK)
    adam = replace(base, optimiser="adam", lr=1e-3)
    other_std = [
        replace(base, latent_dim=n, std=OTHER_STD, lr=lr) for n, lr in ((3, 0.02), (20, 0.01))
    ]
    return [
        *_all([*main, adam], FULL),
        *_all(other_std, 1_000_000),
        ScheduledTrial(base, LONG),
        ScheduledTrial(replace(base, targets="binary"), FULL),
        *_all([replace(adam, latent_dim=n) for n in LATENTS if n != 20], FULL),
        ScheduledTrial(replace(adam, method="wake_sleep"), FULL),
    ]


def figure2_tried(full: bool, seeds: int = 1) -> Schedule:
    """Figure 2 for MNIST, wake-sleep with a log-variance head like AEVB's.

    It takes the step size that early performance chooses for each size. Full form only, as a table
    without a picture. Expected: 1 to 4 nats below the paper at 3e6 samples, and a failure with 200
    latent dimensions.
    """
    del seeds
    trial = Trial("mnist", "wake_sleep", 3, 500, 50_000, lr=0.01)
    return _all([replace(trial, latent_dim=n) for n in LATENTS], FULL) if full else []


def figure2_std(full: bool, seeds: int = 1) -> Schedule:
    """Figure 2 for MNIST, AEVB with all parameters from a standard deviation of 0.1.

    This reads the paper's N(0, 0.01) as a variance. Full form only, as a table without a picture.
    Expected: within 2 nats of the paper with 3 and 200 latent dimensions, where the other reading
    is not; and 2 to 5 nats better than the paper with 5, 10 and 20.
    """
    base = Trial("mnist", "aevb", 3, 500, 50_000, lr=OTHER_STEP, std=OTHER_STD)
    order = [(seed, n) for seed in range(seeds) for n in (3, 200, 5, 10, 20)]
    trials = [replace(base, latent_dim=n, seed=seed) for seed, n in order]
    return _all(trials, FULL) if full else []


def figure2_step(full: bool, seeds: int = 1) -> Schedule:
    """Figure 2 for MNIST, AEVB with the other step size from each start.

    The step size is 0.02 from std 0.01, and 0.01 from std 0.1. With 3 dimensions, one more seed is
    trained, since that curve leaves a plateau late and by chance. Full form only, as a table
    without a picture. Expected at 3e6 samples: from std 0.01 the paper's numbers with 10 and 200
    latent dimensions, 4 nats better with 20, 2 to 5 below it with 3 and 5; from std 0.1 within 2
    with 10 and 20, and 2 to 3 below with 5.
    """
    base = Trial("mnist", "aevb", 3, 500, 50_000, lr=OTHER_STEP)
    other = replace(base, lr=0.01, std=OTHER_STD)
    trials = [
        replace(start, latent_dim=n, seed=seed)
        for start, sizes in ((base, (3, 200, 20, 10, 5)), (other, (20, 10, 5)))
        for seed in range(seeds)
        for n in sizes
    ]
    trials += [replace(base, lr=lr, seed=seeds) for lr in (0.01, OTHER_STEP)]
    return _all(trials, FULL) if full else []


def frey(full: bool, seeds: int = 1) -> Schedule:
    """Frey Face, the bound against the samples seen.

    200 hidden units, sigmoid means, learned log-variances, pixels / 256. The paper's curves end
    between about 800 and 1,600 nats and overfit little, with AEVB above wake-sleep. Here wake-sleep
    starts with a standard deviation of 0.1. With 0.01 it never leaves the constant model, whose
    dreams teach nothing about z. Expected: AEVB is above the constant Gaussian model (a mean and a
    variance for each pixel) by hundreds of nats. The rows are split at random out of a film whose
    neighbouring frames are nearly equal, so overfitting is hardly visible.
    """
    base = Trial("frey", "aevb", 2, 200, FREY_TRAIN)
    pair = (base, replace(_by("wake_sleep", base), std=OTHER_STD))
    schedule: Schedule = []
    for n in (2, 10, 5, 20):
        until = QUICK if not full else LONG if n in (2, 10) else FULL
        trials = [
            replace(trial, latent_dim=n, seed=seed) for seed in range(seeds) for trial in pair
        ]
        schedule += _all(trials, until)
    return schedule


def figure3(full: bool, seeds: int = 1) -> Schedule:
    """MNIST, log p(x) against the samples seen, for few and many training rows.

    100 hidden units, 3 latent dimensions. The paper at 1e7 samples, 1,000 training rows: test AEVB
    -142.9, wake-sleep -146.6, Monte-Carlo EM -142.4; train -114.4, -128.3, -118.3. 50,000 rows:
    test AEVB -142.3, wake-sleep -143.2, Monte-Carlo EM below -165. Expected: AEVB and wake-sleep
    within 2 nats. On 1,000 rows Monte-Carlo EM learns about as well as AEVB; on 50,000 it hardly
    begins.
    """
    base = Trial("mnist", "aevb", 3, 100, 1000)
    methods = (*METHODS, "mcem")
    trials = [
        replace(base, method=method, seed=seed) for seed in range(seeds) for method in methods
    ]
    if not full:
        return _all(trials, 1_000_000, log_p=True)
    trials += [replace(base, rows=50_000, method=method) for method in methods]
    return _all(trials, LONG, log_p=True)


def figure3_step(full: bool, seeds: int = 1) -> Schedule:
    """Figure 3, AEVB and wake-sleep, with Adagrad's step size at 0.02.

    Early performance does not choose this step size. Full form only. Expected: slower than the
    chosen 0.1, and nearer to the paper.
    """
    base = Trial("mnist", "aevb", 3, 100, 1000, lr=OTHER_STEP)
    trials = [
        replace(base, seed=seed, rows=rows, method=method)
        for seed in range(seeds)
        for rows in (1000, 50_000)
        for method in METHODS
    ]
    return _all(trials, LONG, log_p=True) if full else []


def manifolds(full: bool, seeds: int = 1) -> Schedule:
    """Figure 4: a plane of pictures from two latent dimensions, for MNIST and Frey Face.

    The points of the plane come from the inverse Gaussian CDF. Expected: neighbours look alike and
    turn into each other. There are ten digits, and a face that turns and changes its expression.
    """
    del seeds
    return _of_sizes("mnist", (2,), full) + _of_sizes("frey", (2,), full)


def samples(full: bool, seeds: int = 1) -> Schedule:
    """Figure 5: pictures drawn from models with 2, 5, 10 and 20 latent dimensions.

    MNIST as in the paper, and Frey Face. Expected: with more dimensions the pictures are sharper,
    and more of them show no digit, or two faces over each other.
    """
    del seeds
    return _of_sizes("mnist", FREY_LATENTS, full) + _of_sizes("frey", FREY_LATENTS, full)


def variance(full: bool, seeds: int = 1) -> Schedule:
    """The variance of the encoder's gradient on the models of figure 5, by four estimators.

    The paper calls the variance of the score-function gradient too high to be of use. Expected:
    orders of magnitude above the variance of the reparameterised gradient; with a baseline for each
    row, several times above it; estimator B at or below A.
    """
    del seeds
    return _of_sizes("mnist", FREY_LATENTS, full)


def full_vb(full: bool, seeds: int = 1) -> Schedule:
    """Full variational Bayes (appendix F) beside AEVB, whose weights have no posterior.

    Figure 3's networks, 1,000 rows, Adam. The paper derives the method and shows no experiment.
    Expected: from some point on, AEVB's test bound falls while its training bound goes on rising.
    With a posterior over the decoder's parameters the two stay together. The bound on the evidence,
    which needs no test row, is below both.
    """
    base = Trial("mnist", "aevb", 3, 100, 1000, optimiser="adam", lr=1e-3)
    trials = [
        replace(base, method=method, seed=seed)
        for seed in range(seeds)
        for method in ("aevb", "full_vb")
    ]
    return _all(trials, FULL if full else QUICK)


def _all(trials: list[Trial], until: int, *, log_p: bool = False) -> Schedule:
    """Schedule each trial for the same number of samples."""
    return [ScheduledTrial(trial, until, log_p) for trial in trials]


def _by(method: str, base: Trial) -> Trial:
    """Return a trial of figure 2 by one of its methods. Wake-sleep has its own head."""
    return replace(base, method=method, logvar=SLOW_LOGVAR if method == "wake_sleep" else 1.0)


def _of_sizes(data: str, sizes: tuple[int, ...], full: bool) -> Schedule:
    """Schedule AEVB as in figure 2. The trials share its names, so none is trained twice."""
    hidden, rows = (500, 50_000) if data == "mnist" else (200, FREY_TRAIN)
    base = Trial(data, "aevb", 2, hidden, rows)
    return _all([replace(base, latent_dim=n) for n in sizes], FULL if full else QUICK)
