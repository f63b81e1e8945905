"""A mixture of diagonal Gaussians as the prior: p(z) = sum_c w_c N(z; mu_c, diag exp(logvar_c)).

It is learned with the model, or fitted to the codes of a trained model afterwards.
"""

from __future__ import annotations

import torch
from torch import nn

from aevb.errors import UsageError
from aevb.interfaces import Prior
from aevb.probability.distributions import LOGVAR_MAX, LOGVAR_MIN, NormalMixture


class MixtureOfGaussians(Prior):
    """A mixture of diagonal Gaussians over (L,); weights, means and variances are learned.

    The means start as draws from N(0, I), the weights are equal, and the variances are 1.

    Args:
        latent_dim: L.
        components: how many Gaussians.

    Raises:
        UsageError: there is fewer than 1 component.

    Example:
        >>> from aevb.parts.priors.mixture import MixtureOfGaussians
        >>> p = MixtureOfGaussians(latent_dim=2, components=3)()
        >>> p.sample((5,)).shape, p.log_weights.exp().sum().round(decimals=4).item()
        (torch.Size([5, 2]), 1.0)
    """

    def __init__(self, latent_dim: int, components: int = 10) -> None:
        super().__init__()
        if components < 1:
            raise UsageError(f"components must be at least 1; got {components}")
        self.log_weights = nn.Parameter(torch.zeros(components))
        self.mu = nn.Parameter(torch.randn(components, latent_dim))
        self.logvar = nn.Parameter(torch.zeros(components, latent_dim))

    def forward(self) -> NormalMixture:
        """Return p(z), a distribution over (L,)."""
        return NormalMixture(self.log_weights, self.mu, self.logvar.clamp(LOGVAR_MIN, LOGVAR_MAX))
