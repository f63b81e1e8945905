r"""Likelihoods for integers k = 0, 1, ..., levels - 1, given to the model as x = k / (levels - 1).

Categorical: every level has a probability of its own, softmax(h); nothing is assumed about their
order.

Discretised logistic (Kingma et al. 2016, section 5.1; Salimans et al. 2017): a logistic density of
mean m and scale s, integrated over the cell of each level, so that neighbouring grey levels share
their probability. With half a cell w,

    P(k) = F((x + w - m) / s) - F((x - w - m) / s),      F(t) = 1 / (1 + exp(-t)),

and the outermost cells reach to infinity: the sum over all levels is 1. Both are probabilities of
the integers themselves: minus log2 P / D is a true number of bits per dimension, which a density of
grey levels is not.
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
"""Bounds of log s where the decoder emits it, with x in [0, 1]: at the lower one a level has
probability 1, at the upper the first and the last have one half each, since all that lies beyond
them is theirs."""


class _Levels(Likelihood):
    """What the two share: the support."""

    discrete = True
    form = "levels"

    def __init__(self, data_dim: int, levels: int) -> None:
        super().__init__()
        if levels < 2:
            raise UsageError(f"a likelihood over levels needs at least 2 of them; got {levels}")
        self.data_dim, self.levels = data_dim, levels

    def check(self, x: Tensor) -> None:
        """x: (N, D). Raises DataError unless every value is k / (levels - 1) for an integer k in
        0..levels - 1."""
        k = x * (self.levels - 1)
        if not bool(((k - k.round()).abs() < 1e-2).all()):
            raise DataError(
                f"{type(self).__name__} needs integers; got fractions such as"
                f" {_first_fraction(k):.4g}. Real values? Use likelihood gaussian."
            )
        if not bool(((k > -0.5) & (k < self.levels - 0.5)).all()):
            raise DataError(
                f"this model knows the integers 0 to {self.levels - 1}; got {float(k.min()):.4g} to"
                f" {float(k.max()):.4g}. Save the rows in the form that the model was trained on."
            )


class Categorical(_Levels):
    """D independent variables with one probability for each level. ``data_dim``: D; ``levels``: how
    many values."""

    nominal = True

    def __init__(self, data_dim: int, levels: int) -> None:
        super().__init__(data_dim, levels)
        self.num_features = data_dim * levels

    def forward(self, h: Tensor) -> Distribution:
        """h: (..., levels * D), logits, level by level -> distribution over (D,)."""
        return _CategoricalLevels(h.unflatten(-1, (self.levels, self.data_dim)))


class DiscretizedLogistic(_Levels):
    """D independent discretised logistics, mean and scale from the decoder. ``data_dim``: D;
    ``levels``: 256 for 8 bits."""

    def __init__(self, data_dim: int, levels: int = 256) -> None:
        super().__init__(data_dim, levels)
        self.num_features = 2 * data_dim

    def forward(self, h: Tensor) -> Distribution:
        """h: (..., 2 D), means and then log-scales -> distribution over (D,). Features 0 mean:
        mid-grey, s = 1/10."""
        mean, log_scale = h.chunk(2, dim=-1)
        # Offsets, so that a fresh network starts with cells of even probability rather than with a
        # step.
        return _DiscretizedLogistic(
            mean + 0.5, (log_scale - 2.3).clamp(LOG_SCALE_MIN, LOG_SCALE_MAX), self.levels
        )


class _CategoricalLevels(Distribution):
    """logits: (..., levels, D)."""

    arg_constraints = {}  # noqa: RUF012

    def __init__(self, logits: Tensor) -> None:
        self.log_p = logits.log_softmax(-2)
        self.levels = logits.shape[-2]
        super().__init__(logits.shape[:-2], logits.shape[-1:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        """(..., D). Of the numbers k / (levels - 1): of little use where levels are names."""
        values = torch.linspace(0, 1, self.levels, dtype=self.log_p.dtype, device=self.log_p.device)
        return (self.log_p.exp() * values[:, None]).sum(-2)

    def sample(self, sample_shape: torch.Size | tuple[int, ...] = ()) -> Tensor:  # type: ignore[override]
        """sample_shape -> x: (*sample_shape, ..., D)."""
        d = CategoricalDistribution(logits=self.log_p.transpose(-1, -2), validate_args=False)
        k: Tensor = d.sample(torch.Size(sample_shape))
        return k.to(self.log_p.dtype) / (self.levels - 1)

    def log_prob(self, value: Tensor) -> Tensor:
        """x: (..., D) -> (...), nats."""
        k = (value * (self.levels - 1)).round().long().unsqueeze(-2)
        shape = torch.broadcast_shapes(k.shape[:-2], self.log_p.shape[:-2])
        log_p = self.log_p.expand(*shape, *self.log_p.shape[-2:])
        return log_p.gather(-2, k.expand(*shape, *k.shape[-2:])).squeeze(-2).sum(-1)


class _DiscretizedLogistic(Distribution):
    """location, log_scale: (..., D)."""

    arg_constraints = {}  # noqa: RUF012

    def __init__(self, location: Tensor, log_scale: Tensor, levels: int) -> None:
        self.location, self.log_scale, self.levels = location, log_scale, levels
        super().__init__(location.shape[:-1], location.shape[-1:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        """(..., D). The sum over k >= 1 of P(level >= k), one level at a time to save memory."""
        total = torch.zeros_like(self.location)
        for k in range(1, self.levels):
            edge = (k - 0.5) / (self.levels - 1)
            total += torch.sigmoid((self.location - edge) * torch.exp(-self.log_scale))
        return total / (self.levels - 1)

    def sample(self, sample_shape: torch.Size | tuple[int, ...] = ()) -> Tensor:  # type: ignore[override]
        """sample_shape -> x: (*sample_shape, ..., D). A logistic, rounded to the nearest level."""
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
        """x: (..., D) -> (...), nats."""
        half = 0.5 / (self.levels - 1)
        inverse = torch.exp(-self.log_scale)
        upper, lower = (
            (value - self.location + half) * inverse,
            (value - self.location - half) * inverse,
        )
        log_above, log_below = F.logsigmoid(upper), F.logsigmoid(-lower)
        # F(b) - F(a) = F(b) F(-a) (1 - exp(a - b)): no difference of two numbers close to each
        # other.
        inside = log_above + log_below + torch.log(-torch.expm1(-2 * half * inverse))
        first, last = value < half, value > 1 - half
        return torch.where(first, log_above, torch.where(last, log_below, inside)).sum(-1)


def _first_fraction(k: Tensor) -> float:
    return float(k[~((k - k.round()).abs() < 1e-2)][0])
