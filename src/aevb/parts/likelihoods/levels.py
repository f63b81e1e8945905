r"""Likelihoods for integers k = 0, 1, ..., levels - 1.

The model sees the number x = k / (levels - 1) in place of k.

Categorical: each level has its own probability, P = softmax(h). The order of the levels does not
matter.

Discretised logistic (Kingma et al. 2016, section 5.1; Salimans et al. 2017): a logistic density
with mean m and scale s is integrated over the cell of each level. Neighbouring grey levels
therefore have similar probabilities. With w for half a cell,

    P(k) = F((x + w - m) / s) - F((x - w - m) / s),      F(t) = 1 / (1 + exp(-t)).

The outermost cells reach to infinity, so the sum over all levels is 1.

Both are probabilities of the integers themselves. Minus log2 P / D is thus a true number of bits
per dimension, which no density of grey levels gives.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.distributions import Categorical as CategoricalDistribution
from torch.distributions import Distribution

from aevb.errors import DataError, UsageError
from aevb.interfaces import Likelihood

LOG_SCALE_MIN, LOG_SCALE_MAX = -9.0, 7.0
"""Bounds of log s, with x in [0, 1]. At the lower bound one of 256 levels has a probability near 1.
At the upper bound the first and the last level have one half each, because their cells reach to
infinity."""


class _Levels(Likelihood):
    """The code that both share: the check of the levels."""

    discrete = True
    form = "levels"

    def __init__(self, data_dim: int, levels: int) -> None:
        super().__init__()
        if levels < 2:
            raise UsageError(f"a likelihood over levels needs at least 2 of them; got {levels}")
        self.data_dim, self.levels = data_dim, levels

    def check(self, x: Tensor) -> None:
        """Raise DataError unless every value of x: (N, D) is k / (levels - 1), 0 <= k < levels."""
        k = x * (self.levels - 1)
        if not bool(((k - k.round()).abs() < 1e-2).all()):
            raise DataError(
                f"{type(self).__name__} needs integers; got fractions such as"
                f" {_first_fraction(k):.4g}. Real values? Use likelihood gaussian."
            )
        if not bool(((k > -0.5) & (k < self.levels - 0.5)).all()):
            raise DataError(
                f"this model takes the integers 0 to {self.levels - 1}; got {float(k.min()):.4g} to"
                f" {float(k.max()):.4g}. Save the rows in the form that the model was trained on."
            )


class Categorical(_Levels):
    """D independent variables with a probability for each level, P = softmax(h).

    Args:
        data_dim: D.
        levels: how many values a variable can have, at least 2.

    Raises:
        UsageError: there are fewer than 2 levels.

    Example:
        >>> import torch
        >>> from aevb.parts.likelihoods.levels import Categorical
        >>> likelihood = Categorical(data_dim=2, levels=4)
        >>> p = likelihood(torch.zeros(likelihood.num_features))  # four levels, equally likely
        >>> round(float(p.log_prob(torch.tensor([0.0, 1 / 3])).exp()), 4)
        0.0625
    """

    nominal = True

    def __init__(self, data_dim: int, levels: int) -> None:
        super().__init__(data_dim, levels)
        self.num_features = data_dim * levels

    def forward(self, h: Tensor) -> Distribution:
        """Return p(x|z) for logits h: (..., levels * D), level by level -> over (D,)."""
        return _CategoricalLevels(h.unflatten(-1, (self.levels, self.data_dim)))


class DiscretizedLogistic(_Levels):
    """D independent discretised logistics, with mean and scale from the decoder.

    Args:
        data_dim: D.
        levels: how many values a variable can have, at least 2; 256 for 8 bits.

    Raises:
        UsageError: there are fewer than 2 levels.

    Example:
        >>> import torch
        >>> from aevb.parts.likelihoods.levels import DiscretizedLogistic
        >>> p = DiscretizedLogistic(data_dim=1, levels=3)(torch.zeros(2))
        >>> grey = torch.tensor([[0.0], [0.5], [1.0]])
        >>> round(float(p.log_prob(grey).exp().sum()), 5), round(float(p.mean), 5)
        (1.0, 0.5)
    """

    def __init__(self, data_dim: int, levels: int = 256) -> None:
        super().__init__(data_dim, levels)
        self.num_features = 2 * data_dim

    def forward(self, h: Tensor) -> Distribution:
        """Return p(x|z) for means and then log-scales h: (..., 2 D) -> over (D,).

        Features of 0 give the mean 1/2 and the scale s = 1/10.
        """
        mean, log_scale = h.chunk(2, dim=-1)
        # With these offsets, a fresh network gives all levels similar probabilities.
        return _DiscretizedLogistic(
            mean + 0.5, (log_scale - 2.3).clamp(LOG_SCALE_MIN, LOG_SCALE_MAX), self.levels
        )


class _CategoricalLevels(Distribution):
    """A categorical distribution over the numbers k / (levels - 1). logits: (..., levels, D)."""

    arg_constraints = {}  # noqa: RUF012

    def __init__(self, logits: Tensor) -> None:
        self.log_p = logits.log_softmax(-2)
        self.levels = logits.shape[-2]
        super().__init__(logits.shape[:-2], logits.shape[-1:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        """The mean: (..., D). It has no meaning if the levels are names."""
        values = torch.linspace(0, 1, self.levels, dtype=self.log_p.dtype, device=self.log_p.device)
        return (self.log_p.exp() * values[:, None]).sum(-2)

    @property
    def mode(self) -> Tensor:
        """The most likely level of each variable: (..., D)."""
        k: Tensor = self.log_p.argmax(-2)
        return k.to(self.log_p.dtype) / (self.levels - 1)

    def sample(self, sample_shape: torch.Size | tuple[int, ...] = ()) -> Tensor:  # type: ignore[override]
        """Draw x: (*sample_shape, ..., D)."""
        d = CategoricalDistribution(logits=self.log_p.transpose(-1, -2), validate_args=False)
        k: Tensor = d.sample(torch.Size(sample_shape))
        return k.to(self.log_p.dtype) / (self.levels - 1)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-probability of x: (..., D) -> (...), nats."""
        k = (value * (self.levels - 1)).round().long().unsqueeze(-2)
        shape = torch.broadcast_shapes(k.shape[:-2], self.log_p.shape[:-2])
        log_p = self.log_p.expand(*shape, *self.log_p.shape[-2:])
        return log_p.gather(-2, k.expand(*shape, *k.shape[-2:])).squeeze(-2).sum(-1)


class _DiscretizedLogistic(Distribution):
    """D independent discretised logistics. location, log_scale: (..., D)."""

    arg_constraints = {}  # noqa: RUF012

    def __init__(self, location: Tensor, log_scale: Tensor, levels: int) -> None:
        self.location, self.log_scale, self.levels = location, log_scale, levels
        super().__init__(location.shape[:-1], location.shape[-1:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        """The mean: (..., D), the sum over k >= 1 of P(level >= k).

        One level at a time saves memory.
        """
        total = torch.zeros_like(self.location)
        for k in range(1, self.levels):
            edge = (k - 0.5) / (self.levels - 1)
            total += torch.sigmoid((self.location - edge) * torch.exp(-self.log_scale))
        return total / (self.levels - 1)

    def sample(self, sample_shape: torch.Size | tuple[int, ...] = ()) -> Tensor:  # type: ignore[override]
        """Draw x: (*sample_shape, ..., D): logistic draws, rounded to the nearest level."""
        with torch.no_grad():
            u = torch.rand(
                *sample_shape,
                *self.location.shape,
                dtype=self.location.dtype,
                device=self.location.device,
            )
            x = self.location + self.log_scale.exp() * torch.logit(u, eps=1e-7)
            return (x * (self.levels - 1)).round().clamp(0, self.levels - 1) / (self.levels - 1)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-probability of x: (..., D) -> (...), nats."""
        half = 0.5 / (self.levels - 1)
        inverse = torch.exp(-self.log_scale)
        upper, lower = (
            (value - self.location + half) * inverse,
            (value - self.location - half) * inverse,
        )
        log_above, log_below = F.logsigmoid(upper), F.logsigmoid(-lower)
        # F(b) - F(a) = F(b) F(-a) (1 - exp(a - b)) avoids a difference of two close numbers.
        inside = log_above + log_below + torch.log(-torch.expm1(-2 * half * inverse))
        first, last = value < half, value > 1 - half
        return torch.where(first, log_above, torch.where(last, log_below, inside)).sum(-1)


def _first_fraction(k: Tensor) -> float:
    return float(k[~((k - k.round()).abs() < 1e-2)][0])
