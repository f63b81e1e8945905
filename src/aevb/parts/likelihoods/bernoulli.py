r"""Bernoulli likelihood for binary data, on logits.

    log p(x|z) = sum_d  x_d log sigmoid(h_d) + (1 - x_d) log sigmoid(-h_d)

The network emits logits h: computing log sigmoid(h) directly keeps full precision where
log(sigmoid(h)) would not.

Grey levels in [0, 1] are accepted as targets too, as in *Auto-Encoding Variational Bayes* (Kingma &
Welling 2013, figure 2). The sum above is then the expected log-probability of a pixel binarised at
random with P(1) = x_d. It remains comparable between models on the same data, but it is not the log
of a normalised density of grey levels.
"""

from __future__ import annotations

from torch import Tensor
from torch.distributions import Bernoulli as BernoulliDistribution
from torch.distributions import Distribution, Independent

from aevb.errors import DataError
from aevb.interfaces import Likelihood


class Bernoulli(Likelihood):
    """D independent Bernoulli variables. ``data_dim``: D."""

    discrete = True
    form = "unit"

    def __init__(self, data_dim: int) -> None:
        super().__init__()
        self.num_features = data_dim

    def forward(self, h: Tensor) -> Distribution:
        """h: (..., D), logits -> distribution over (D,)."""
        return Independent(
            BernoulliDistribution(logits=h, validate_args=False), 1, validate_args=False
        )

    def check(self, x: Tensor) -> None:
        """x: (N, D). Raises DataError unless every value lies in [0, 1]."""
        low, high = float(x.min()), float(x.max())
        if not (low >= 0 and high <= 1):
            raise DataError(
                f"bernoulli needs x in [0, 1]; got [{low:.4g}, {high:.4g}]. Standardised or real"
                " data? Use likelihood gaussian."
            )
