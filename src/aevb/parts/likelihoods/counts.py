r"""Likelihoods for counts k = 0, 1, 2, ...: genes, spikes, visits.

The model sees the counts themselves. The decoder emits h, and the mean of a column is

    m = c exp(h),

where c is the column's mean in the training rows. A fresh network, whose h is near 0, therefore
starts at the scale of the data, whether a column counts to 0.01 or to 1000 on average.

Poisson: the variance is m. Negative binomial: the variance is m + m^2 / r. The larger r is, the
closer the distribution is to a Poisson. Both are probabilities of the integers themselves, as those
of the likelihoods over levels are. ``aevb.probability.counts`` has their formulas.
"""

from __future__ import annotations

import math
from abc import abstractmethod

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from aevb.errors import DataError
from aevb.interfaces import Likelihood
from aevb.probability.counts import MOST, NegativeBinomialCounts, PoissonCounts

LOG_MEAN_MIN, LOG_MEAN_MAX = -20.0, math.log(MOST)
"""Bounds of log m. Values between them are not changed."""
LOG_SHAPE_MIN, LOG_SHAPE_MAX = -10.0, 20.0
"""Bounds of log r. At the upper bound the variance of a count near 10^6 is that of a Poisson to
0.2%."""
GAIN = 10.0
"""log r is GAIN times its parameter, for the reason that ``gaussian`` gives: an optimiser like Adam
moves each parameter by about one learning rate in a step."""


class _Counts(Likelihood):
    """The code that both share: the columns' means, and the check of the counts."""

    discrete = True
    form = "counts"

    def __init__(self, data_dim: int) -> None:
        super().__init__()
        self.num_features = data_dim
        self.log_scale: Tensor
        # As a buffer, it follows the model to its device and into the saved file.
        self.register_buffer("log_scale", torch.zeros(data_dim))

    @abstractmethod
    def forward(self, h: Tensor) -> Distribution:
        """Return p(x|z) for the features h: (..., D) -> a distribution over (D,)."""

    def log_mean(self, h: Tensor) -> Tensor:
        """Return log m for the features h: (..., D) -> (..., D), in double precision."""
        return (h.double() + self.log_scale).clamp(LOG_MEAN_MIN, LOG_MEAN_MAX)

    @torch.no_grad()
    def initialise(self, x: Tensor) -> None:
        """Set c, the scale of each column, to its mean in the rows x: (N, D).

        Half a count is added to each column, so that a column of zeros has a mean above 0.
        """
        self.log_scale.copy_(((x.double().sum(0) + 0.5) / len(x)).log())

    def check(self, x: Tensor) -> None:
        """Raise DataError unless every value of x: (N, D) is one of 0, 1, 2, ..., 2^24."""
        name = type(self).__name__
        if not bool((x == x.round()).all()):
            fraction = float(x[~(x == x.round())][0])
            raise DataError(
                f"{name} needs counts; got values such as {fraction:.4g}. Use likelihood gaussian"
                " for amounts."
            )
        low, high = float(x.min()), float(x.max())
        if not (low >= 0 and high <= MOST):
            raise DataError(
                f"{name} needs counts from 0 to {MOST:.0f}; got {low:.6g} to {high:.6g}. Use"
                " likelihood gaussian for amounts."
            )


class Poisson(_Counts):
    """D independent Poisson variables, with the logs of their means from the decoder.

    Args:
        data_dim: D.

    Example:
        >>> import torch
        >>> from aevb.parts.likelihoods.counts import Poisson
        >>> likelihood = Poisson(2)
        >>> likelihood.initialise(torch.tensor([[1000.0, 0.0], [3000.0, 1.0]]))
        >>> p = likelihood(torch.zeros(2))  # a fresh network: about the means of the columns
        >>> [round(mean, 2) for mean in p.mean.tolist()]
        [2000.25, 0.75]
    """

    def forward(self, h: Tensor) -> Distribution:
        """Return p(x|z) for the features h: (..., D) -> a distribution over (D,)."""
        return PoissonCounts(self.log_mean(h), h.dtype)


class NegativeBinomial(_Counts):
    """D independent negative binomial variables, with the logs of their means from the decoder.

    Each column learns r, which says by how much its variance, m + m^2 / r, exceeds its mean m.

    Args:
        data_dim: D.

    Example:
        >>> import torch
        >>> from aevb.parts.likelihoods.counts import NegativeBinomial
        >>> likelihood = NegativeBinomial(1)  # r = 1 and, for h = 0, m = 1: a fair coin
        >>> k = torch.tensor([[0.0], [1.0], [2.0]])
        >>> likelihood(torch.zeros(1)).log_prob(k).exp().tolist()
        [0.5, 0.25, 0.125]
    """

    def __init__(self, data_dim: int) -> None:
        super().__init__(data_dim)
        self.raw = nn.Parameter(torch.zeros(data_dim))

    @property
    def shape(self) -> Tensor:
        """r of each column: (D,)."""
        return self._log_shape().exp()

    def _log_shape(self) -> Tensor:
        return (GAIN * self.raw).clamp(LOG_SHAPE_MIN, LOG_SHAPE_MAX)

    @torch.no_grad()
    def initialise(self, x: Tensor) -> None:
        """Set c as ``Poisson`` does, and r so that it explains the variance of the rows x: (N, D).

        What z explains of that variance is not known yet, so r can only grow.
        """
        super().initialise(x)
        x = x.double()
        mean, excess = x.mean(0), x.var(0, unbiased=False) - x.mean(0)
        shape = (mean.square() / excess.clamp(min=1e-12)).clamp(1e-2, 1e2)
        self.raw.copy_(shape.log() / GAIN)

    def forward(self, h: Tensor) -> Distribution:
        """Return p(x|z) for the features h: (..., D) -> a distribution over (D,)."""
        return NegativeBinomialCounts(self.log_mean(h), self._log_shape(), h.dtype)
