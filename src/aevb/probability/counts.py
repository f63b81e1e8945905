r"""Distributions of rows of counts k = 0, 1, 2, ..., from the logs of their means m.

Poisson: the variance is m.

    log P(k) = k log m - m - log k!

Negative binomial: the variance is m + m^2 / r. It is a Poisson whose rate varies by a gamma
distribution of shape r. The larger r is, the closer the distribution is to a Poisson.

    log P(k) = log G(k + r) - log G(r) - log k! + k log(m / (r + m)) + r log(r / (r + m))

with the gamma function G. The sums are taken in double precision. At a count of a million the terms
are near 10^7, and float32 would round their sum to whole nats.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Distribution

MOST = 2.0**24
"""The largest count. float32 has every integer up to it."""


class PoissonCounts(Distribution):
    """D independent Poisson variables.

    Args:
        log_mean: log m: (..., D).
        dtype: The type of what the methods return. Default: that of ``log_mean``.

    Example:
        >>> import torch
        >>> from aevb.probability.counts import PoissonCounts
        >>> p = PoissonCounts(torch.tensor([2.0, 10.0]).log())
        >>> [round(mean, 4) for mean in p.mean.tolist()]
        [2.0, 10.0]
        >>> round(float(p.log_prob(torch.tensor([0.0, 0.0]))), 4)
        -12.0
    """

    arg_constraints = {}  # noqa: RUF012

    def __init__(self, log_mean: Tensor, dtype: torch.dtype | None = None) -> None:
        self.log_mean, self.dtype = log_mean.double(), dtype or log_mean.dtype
        super().__init__(log_mean.shape[:-1], log_mean.shape[-1:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        """The mean: (..., D)."""
        return self.log_mean.exp().to(self.dtype)

    @property
    def variance(self) -> Tensor:
        """The variance: (..., D)."""
        return self.mean

    def sample(self, sample_shape: torch.Size | tuple[int, ...] = ()) -> Tensor:  # type: ignore[override]
        """Draw x: (*sample_shape, ..., D). Draws above 2^24 become 2^24."""
        with torch.no_grad():
            return torch.poisson(self._rates(sample_shape)).clamp(max=MOST).to(self.dtype)

    def _rates(self, shape: tuple[int, ...]) -> Tensor:
        """The rate of each draw: (*shape, ..., D), double."""
        return self.log_mean.exp().expand(*shape, *self.log_mean.shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-probability of x: (..., D) -> (...), nats."""
        k = value.double()
        log_p = k * self.log_mean - self.log_mean.exp() - torch.lgamma(k + 1)
        return log_p.sum(-1).to(self.dtype)


class NegativeBinomialCounts(PoissonCounts):
    """D independent negative binomial variables.

    Args:
        log_mean: log m: (..., D).
        log_shape: log r: (D,) or (..., D).
        dtype: The type of what the methods return. Default: that of ``log_mean``.

    Example:
        >>> import torch
        >>> from aevb.probability.counts import NegativeBinomialCounts
        >>> p = NegativeBinomialCounts(torch.tensor([10.0]).log(), torch.tensor([2.0]).log())
        >>> round(float(p.mean), 4), round(float(p.variance), 4)  # 10 + 10^2 / 2
        (10.0, 60.0)
    """

    def __init__(
        self, log_mean: Tensor, log_shape: Tensor, dtype: torch.dtype | None = None
    ) -> None:
        super().__init__(log_mean, dtype)
        self.log_shape = log_shape.double()

    @property
    def variance(self) -> Tensor:
        """The variance: (..., D)."""
        m = self.log_mean.exp()
        return (m + m.square() / self.log_shape.exp()).to(self.dtype)

    def _rates(self, shape: tuple[int, ...]) -> Tensor:
        r = self.log_shape.exp()
        varying = torch._standard_gamma(r.expand(*shape, *self.log_mean.shape)) / r
        return (self.log_mean.exp() * varying).clamp(max=MOST)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-probability of x: (..., D) -> (...), nats."""
        k, r, odds = value.double(), self.log_shape.exp(), self.log_mean - self.log_shape
        log_ways = torch.lgamma(k + r) - torch.lgamma(r) - torch.lgamma(k + 1)
        # log(m / (r + m)) and log(r / (r + m)) are odds - softplus(odds) and -softplus(odds).
        return (log_ways + k * odds - (k + r) * F.softplus(odds)).sum(-1).to(self.dtype)
