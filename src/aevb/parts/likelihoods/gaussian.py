r"""Gaussian likelihoods, for real data: five models of the noise around the decoder's mean.

    log p(x|z) = -D/2 log(2 pi v) - |x - h|^2 / (2 v)

With v = 1/2 this is -|x - h|^2 - (D/2) log(pi). Many VAEs (and ``vae_loss``) use the sum of squared
errors as their reconstruction term. Up to the constant, it is the negative log-density of a
Gaussian of variance 1/2. That variance is an assumption about the noise in the data, and the
meaning of the assumption changes with the scale of the data.

The variance that fits best is the mean squared error v* = |x - h|^2 / D, averaged over the rows. A
variance that is learned by gradient approaches v*; ``GaussianOptimal`` sets it to v* (Rybkin,
Daniilidis & Levine 2021).
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
"""The smallest log-variance: a standard deviation of 5e-5 times that of the data. Below it, float32
cannot tell noise from rounding."""
GAIN = 10.0
"""A learned log-variance is GAIN times its parameter. An optimiser like Adam moves each parameter
by about the learning rate in a step. At 1e-3 and without GAIN, the standard deviation would need
4,600 steps to fall to a tenth. That is long after the networks have learned."""
MOMENTUM = 0.1
"""Weight of the newest batch in the stored variance of ``GaussianOptimal``. The stored value then
follows a falling error with a delay of ten batches. The noise of single batches costs the bound
less than 0.03 / B nats for batches of B rows, if the errors are Gaussian."""


class _Gaussian(Likelihood):
    """The code that all five share: they take real numbers and give densities."""

    discrete = False

    def __init__(self, data_dim: int) -> None:
        super().__init__()
        self.num_features = data_dim

    def check(self, x: Tensor) -> None:
        """Raise DataError unless every value of x: (N, D) is finite."""
        if not bool(torch.isfinite(x).all()):
            raise DataError(
                "gaussian needs finite x; got NaN or infinite values. Remove those rows or fill"
                " them in."
            )


class _OneNoise(_Gaussian):
    """A Gaussian whose noise is the same for every z."""

    @abstractmethod
    def logvar(self) -> Tensor:
        """Return the log of the variance: () or (D,)."""

    def forward(self, h: Tensor) -> Distribution:
        """Return p(x|z) for the means h: (..., D) -> a distribution over (D,)."""
        return DiagonalNormal(h, self.logvar())

    @property
    def noise(self) -> Tensor:
        """The standard deviation of x given z: () or (D,)."""
        return torch.exp(0.5 * self.logvar().detach())


class GaussianFixed(_OneNoise):
    """A Gaussian with one fixed variance for all dimensions.

    Args:
        data_dim: D.
        variance: v, in squared units of the model's data. With 1/2 the loss is the sum of squared
            errors.

    Raises:
        UsageError: the variance is not positive.

    Example:
        >>> import torch
        >>> from aevb.parts.likelihoods.gaussian import GaussianFixed
        >>> likelihood = GaussianFixed(3, variance=0.25)
        >>> likelihood(torch.zeros(5, 3)).log_prob(torch.ones(5, 3)).shape
        torch.Size([5])
        >>> float(likelihood.noise)
        0.5
    """

    def __init__(self, data_dim: int, variance: float = 0.5) -> None:
        super().__init__(data_dim)
        if not (variance > 0 and math.isfinite(variance)):
            raise UsageError(f"the variance of a Gaussian must be positive; got {variance}")
        self.log_variance: Tensor
        # As a buffer, it follows the model to its device and into the saved file.
        self.register_buffer("log_variance", torch.tensor(math.log(variance)))

    def logvar(self) -> Tensor:
        """Return the log of the variance: ()."""
        return self.log_variance


class GaussianLearned(_OneNoise):
    """A Gaussian with one variance for all dimensions, which is learned like a weight.

    The variance starts at 1.

    Args:
        data_dim: D.

    Example:
        >>> from aevb.parts.likelihoods.gaussian import GaussianLearned
        >>> likelihood = GaussianLearned(3)
        >>> float(likelihood.noise), len(list(likelihood.parameters()))
        (1.0, 1)
    """

    def __init__(self, data_dim: int) -> None:
        super().__init__(data_dim)
        self.raw = nn.Parameter(torch.zeros(()))

    def logvar(self) -> Tensor:
        """Return the log of the variance: ()."""
        return (GAIN * self.raw).clamp(LOGVAR_MIN, LOGVAR_MAX)


class GaussianPerDimension(_OneNoise):
    """A Gaussian with a variance for each dimension, learned like weights.

    The variances start at 1.

    Args:
        data_dim: D.

    Example:
        >>> from aevb.parts.likelihoods.gaussian import GaussianPerDimension
        >>> GaussianPerDimension(3).noise.tolist()
        [1.0, 1.0, 1.0]
    """

    def __init__(self, data_dim: int) -> None:
        super().__init__(data_dim)
        self.raw = nn.Parameter(torch.zeros(data_dim))

    def logvar(self) -> Tensor:
        """Return the logs of the variances: (D,)."""
        return (GAIN * self.raw).clamp(LOGVAR_MIN, LOGVAR_MAX)


class GaussianNetwork(_Gaussian):
    """A Gaussian whose mean and variance both come from the decoder.

    The source is appendix C.2 of *Auto-Encoding Variational Bayes* (Kingma & Welling 2013). The
    density has no upper bound: a decoder that repeats training rows may let the variances fall to
    their smallest value.

    Args:
        data_dim: D.

    Example:
        >>> import torch
        >>> from aevb.parts.likelihoods.gaussian import GaussianNetwork
        >>> likelihood = GaussianNetwork(2)
        >>> p = likelihood(torch.tensor([3.0, 4.0, 0.0, 0.0]))  # two means, two log-variances
        >>> p.mean.tolist(), p.variance.tolist(), likelihood.noise
        ([3.0, 4.0], [1.0, 1.0], None)
    """

    def __init__(self, data_dim: int) -> None:
        super().__init__(data_dim)
        self.num_features = 2 * data_dim

    def forward(self, h: Tensor) -> Distribution:
        """Return p(x|z) for means and then log-variances h: (..., 2 D) -> over (D,)."""
        mean, logvar = h.chunk(2, dim=-1)
        return DiagonalNormal(mean, logvar.clamp(LOGVAR_MIN, LOGVAR_MAX))


class GaussianOptimal(_OneNoise):
    """A Gaussian with one variance for all dimensions, set to the best value for each batch.

    In a training step the variance is the mean squared error of the batch. The source is Rybkin,
    Daniilidis & Levine 2021. In evaluation mode, and under ``torch.no_grad``, the variance is the
    stored one: a running average over the batches of the training steps.

    The bound on training batches is a little too high, because each batch has its own variance. The
    validation bound is not affected.

    Args:
        data_dim: D.

    Example:
        >>> import torch
        >>> from aevb.parts.likelihoods.gaussian import GaussianOptimal
        >>> likelihood = GaussianOptimal(3)
        >>> _ = likelihood(torch.zeros(5, 3)).log_prob(torch.full((5, 3), 0.5))
        >>> float(likelihood.variance)  # the mean of 0.5^2
        0.25
    """

    of_batch = True

    def __init__(self, data_dim: int) -> None:
        super().__init__(data_dim)
        self.variance: Tensor
        self.batches: Tensor
        self.register_buffer("variance", torch.ones(()))
        self.register_buffer("batches", torch.zeros(()))

    def logvar(self) -> Tensor:
        """Return the log of the stored variance: ()."""
        return self.variance.log().clamp(LOGVAR_MIN, LOGVAR_MAX)

    def forward(self, h: Tensor) -> Distribution:
        """Return p(x|z) for the means h: (..., D) -> a distribution over (D,)."""
        of_batch = self.training and torch.is_grad_enabled()
        return _BatchOptimalNormal(h, self) if of_batch else super().forward(h)

    def best_logvar(self, x: Tensor, h: Tensor) -> Tensor:
        """Return the log of the best variance for a batch, (), and update the stored variance.

        x: (B, D); h: (..., B, D).

        Example:
            >>> import torch
            >>> from aevb.parts.likelihoods.gaussian import GaussianOptimal
            >>> likelihood = GaussianOptimal(3)
            >>> float(likelihood.best_logvar(torch.ones(5, 3), torch.zeros(5, 3)))
            0.0
        """
        # No gradient goes through the variance: at the best variance, the derivative of the bound
        # with respect to it is 0.
        best = (x - h).detach().square().mean()
        self.batches += 1
        self.variance.lerp_(
            best.to(self.variance.dtype), torch.clamp(1 / self.batches, min=MOMENTUM)
        )
        return best.log().clamp(LOGVAR_MIN, LOGVAR_MAX)


class _BatchOptimalNormal(DiagonalNormal):
    """A Gaussian whose variance depends on the rows at which its density is evaluated."""

    def __init__(self, h: Tensor, owner: GaussianOptimal) -> None:
        super().__init__(h, owner.logvar())
        self.owner = owner

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-density at x: (B, D) -> (..., B), nats."""
        return DiagonalNormal(self.mu, self.owner.best_logvar(value, self.mu)).log_prob(value)
