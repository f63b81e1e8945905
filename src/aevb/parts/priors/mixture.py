"""A mixture of diagonal Gaussians as the prior, learned with the model (or fitted to its codes
afterwards)."""

from __future__ import annotations

import torch
from torch import nn

from aevb.errors import UsageError
from aevb.interfaces import Prior
from aevb.probability.distributions import LOGVAR_MAX, LOGVAR_MIN, NormalMixture


class MixtureOfGaussians(Prior):
    """``components`` diagonal Gaussians over (L,) with free weights, means and variances.
    ``latent_dim``: L.

    Means start as draws from N(0, I), weights even, variances 1. Raises UsageError for fewer than 1
    component.
    """

    def __init__(self, latent_dim: int, components: int = 10) -> None:
        super().__init__()
        if components < 1:
            raise UsageError(f"components must be at least 1; got {components}")
        self.log_weights = nn.Parameter(torch.zeros(components))
        self.mu = nn.Parameter(torch.randn(components, latent_dim))
        self.logvar = nn.Parameter(torch.zeros(components, latent_dim))

    def forward(self) -> NormalMixture:
        """Return the distribution over (L,)."""
        return NormalMixture(self.log_weights, self.mu, self.logvar.clamp(LOGVAR_MIN, LOGVAR_MAX))
