r"""The Bernoulli likelihood, for binary data.

    log p(x|z) = sum_d  x_d log sigmoid(h_d) + (1 - x_d) log sigmoid(-h_d)

The network emits logits h, because log sigmoid(h) keeps full precision where log(sigmoid(h)) does
not.

Grey levels in [0, 1] are accepted as targets too, as in *Auto-Encoding Variational Bayes* (Kingma &
Welling 2013, figure 2). The sum above is then the expected log-probability of pixels that are
binarised at random with P(1) = x_d. It can be compared between models on the same data, but it is
not the log of a normalised density of grey levels.
"""

from __future__ import annotations

from torch import Tensor
from torch.distributions import Bernoulli as BernoulliDistribution
from torch.distributions import Distribution, Independent

from aevb.errors import DataError
from aevb.interfaces import Likelihood


class Bernoulli(Likelihood):
    """D independent Bernoulli variables, with logits from the decoder.

    Args:
        data_dim: D.

    Example:
        >>> import torch
        >>> from aevb.parts.likelihoods.bernoulli import Bernoulli
        >>> p = Bernoulli(2)(torch.tensor([0.0, 0.0]))  # logits of 0: fair coins
        >>> p.mean.tolist(), round(float(p.log_prob(torch.tensor([1.0, 0.0]))), 4)
        ([0.5, 0.5], -1.3863)
    """

    discrete = True
    form = "unit"

    def __init__(self, data_dim: int) -> None:
        super().__init__()
        self.num_features = data_dim

    def forward(self, h: Tensor) -> Distribution:
        """Return p(x|z) for logits h: (..., D) -> a distribution over (D,)."""
        return Independent(
            BernoulliDistribution(logits=h, validate_args=False), 1, validate_args=False
        )

    def check(self, x: Tensor) -> None:
        """Raise DataError unless every value of x: (N, D) lies in [0, 1]."""
        low, high = float(x.min()), float(x.max())
        if not (low >= 0 and high <= 1):
            raise DataError(
                f"bernoulli needs x in [0, 1]; got [{low:.4g}, {high:.4g}]. Standardised or real"
                " data? Use likelihood gaussian."
            )
