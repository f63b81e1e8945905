r"""Gaussian likelihoods for real data: one mean for each dimension from the decoder, and five ideas
of the noise.

    log p(x|z) = -D/2 log(2 pi v) - |x - h|^2 / (2 v)

With v = 1/2 this is -|x - h|^2 - (D/2) log(pi): the sum of squared errors, which many VAEs (and `vae_loss`) use as their
reconstruction term, is the negative log-density of a Gaussian of variance 1/2 up to the constant (D/2) log(pi). That
variance is an assumption about the data's noise, and with data on another scale it is another assumption. The variance that
fits best is the mean squared error, v* = |x - h|^2 / D, averaged over the rows: learned by gradient it goes there, and
``GaussianOptimal`` sets it there (Rybkin, Daniilidis & Levine 2021).
"""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from aevb.errors import DataError, UsageError
from aevb.interfaces import Likelihood
from aevb.probability.distributions import LOGVAR_MAX, DiagonalNormal

LOGVAR_MIN = -20.0
"""A standard deviation of 5e-5 of the data's own: below, float32 rows cannot tell noise from
rounding."""
GAIN = 10.0
"""A free log-variance is GAIN times its parameter. An optimiser like Adam moves every parameter by
about a learning rate a step: at 1e-3 the noise would need 4,600 steps to fall to a tenth, while the
weights around it are long in place."""
MOMENTUM = 0.1
"""Weight of the newest batch in the stored variance of ``GaussianOptimal``: it lies ten batches
behind an error that falls, and the chance of single batches costs the bound less than 0.03 nats / B
where errors are Gaussian."""


class _Gaussian(Likelihood):
    """What the five share: real rows, densities."""

    discrete = False

    def __init__(self, data_dim: int) -> None:
        super().__init__()
        self.num_features = data_dim

    def check(self, x: Tensor) -> None:
        """x: (N, D). Raises DataError unless every value is finite."""
        if not bool(torch.isfinite(x).all()):
            raise DataError(
                "gaussian needs finite x; got NaN or infinite values. Remove those rows or fill"
                " them in."
            )


class _OneNoise(_Gaussian):
    """Noise that is the same for every z."""

    @abstractmethod
    def logvar(self) -> Tensor:
        """() or (D,), log of the variance."""

    def forward(self, h: Tensor) -> Distribution:
        """h: (..., D), the means -> distribution over (D,)."""
        return DiagonalNormal(h, self.logvar())

    @property
    def noise(self) -> Tensor:
        """Standard deviation of x given z: () or (D,)."""
        return torch.exp(0.5 * self.logvar().detach())


class GaussianFixed(_OneNoise):
    """One variance for all dimensions, not learned. ``data_dim``: D.

    ``variance``: v, in squared units of the model's data; the default 1/2 makes the objective the
    sum of squared errors. Raises UsageError unless it is positive.
    """

    def __init__(self, data_dim: int, variance: float = 0.5) -> None:
        super().__init__(data_dim)
        if not (variance > 0 and math.isfinite(variance)):
            raise UsageError(f"the variance of a Gaussian must be positive; got {variance}")
        self.log_variance: Tensor
        # A buffer follows the model to its device and into the saved file.
        self.register_buffer("log_variance", torch.tensor(math.log(variance)))

    def logvar(self) -> Tensor:
        """(), log of the variance."""
        return self.log_variance


class GaussianLearned(_OneNoise):
    """One variance for all dimensions, a parameter like any weight; it starts at 1. ``data_dim``:
    D."""

    def __init__(self, data_dim: int) -> None:
        super().__init__(data_dim)
        self.raw = nn.Parameter(torch.zeros(()))

    def logvar(self) -> Tensor:
        """(), log of the variance."""
        return (GAIN * self.raw).clamp(LOGVAR_MIN, LOGVAR_MAX)


class GaussianPerDimension(_OneNoise):
    """A variance for each dimension, parameters like any weight; they start at 1. ``data_dim``: D."""

    def __init__(self, data_dim: int) -> None:
        super().__init__(data_dim)
        self.raw = nn.Parameter(torch.zeros(data_dim))

    def logvar(self) -> Tensor:
        """(D,), log of the variances."""
        return (GAIN * self.raw).clamp(LOGVAR_MIN, LOGVAR_MAX)


class GaussianNetwork(_Gaussian):
    """Means and log-variances from the decoder, as in appendix C.2 of *Auto-Encoding Variational
    Bayes*. ``data_dim``: D.

    The density has no upper bound: a decoder that repeats training rows may let variances fall to
    their least value.
    """

    def __init__(self, data_dim: int) -> None:
        super().__init__(data_dim)
        self.num_features = 2 * data_dim

    def forward(self, h: Tensor) -> Distribution:
        """h: (..., 2 D), the means and then the log-variances -> distribution over (D,)."""
        mean, logvar = h.chunk(2, dim=-1)
        return DiagonalNormal(mean, logvar.clamp(LOGVAR_MIN, LOGVAR_MAX))


class GaussianOptimal(_OneNoise):
    """One variance for all dimensions: in a training step the mean squared error of the batch, the
    best for it.

    In evaluation mode, and where nothing is differentiated, it is the stored one, a running average
    over the batches: only what is trained has a say in it. ``data_dim``: D. The bound that training
    reports is therefore a little optimistic, each batch having its own variance; validation is not.
    """

    of_batch = True

    def __init__(self, data_dim: int) -> None:
        super().__init__(data_dim)
        self.variance: Tensor
        self.batches: Tensor
        self.register_buffer("variance", torch.ones(()))
        self.register_buffer("batches", torch.zeros(()))

    def logvar(self) -> Tensor:
        """(), log of the stored variance."""
        return self.variance.log().clamp(LOGVAR_MIN, LOGVAR_MAX)

    def forward(self, h: Tensor) -> Distribution:
        """h: (..., D), the means -> distribution over (D,)."""
        of_batch = self.training and torch.is_grad_enabled()
        return _BatchOptimalNormal(h, self) if of_batch else super().forward(h)

    def best_logvar(self, x: Tensor, h: Tensor) -> Tensor:
        """(), that of the batch, which is also worked into the stored one. x: (B, D); h: (..., B,
        D)."""
        # A constant for the gradient: at its best value the bound does not change with the
        # variance.
        best = (x - h).detach().square().mean()
        self.batches += 1
        self.variance.lerp_(
            best.to(self.variance.dtype), torch.clamp(1 / self.batches, min=MOMENTUM)
        )
        return best.log().clamp(LOGVAR_MIN, LOGVAR_MAX)


class _BatchOptimalNormal(DiagonalNormal):
    """A Gaussian whose variance is decided by the rows it is shown."""

    def __init__(self, h: Tensor, owner: GaussianOptimal) -> None:
        super().__init__(h, owner.logvar())
        self.owner = owner

    def log_prob(self, value: Tensor) -> Tensor:
        """x: (B, D) -> (..., B), nats."""
        return DiagonalNormal(self.mu, self.owner.best_logvar(value, self.mu)).log_prob(value)
