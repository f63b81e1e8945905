"""Mixtures of Gaussians as the prior: p(z) = sum_c w_c N(z; mu_c, S_c), S_c diagonal or full.

It is learned with the model, or fitted to the codes of a trained model afterwards.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from aevb.errors import UsageError
from aevb.interfaces import Prior
from aevb.probability.distributions import LOGVAR_MAX, LOGVAR_MIN, NormalMixture
from aevb.probability.mixtures import FullNormalMixture


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


class MixtureOfFullGaussians(Prior):
    """A mixture of Gaussians with correlations over (L,), learned.

    Args:
        latent_dim: L.
        components: how many Gaussians.

    Raises:
        UsageError: there is fewer than 1 component.

    Example:
        >>> from aevb.parts.priors.mixture import MixtureOfFullGaussians
        >>> p = MixtureOfFullGaussians(latent_dim=2, components=3)()
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
        self.lower = nn.Parameter(torch.zeros(components, latent_dim, latent_dim))

    def forward(self) -> FullNormalMixture:
        """Return p(z), a distribution over (L,)."""
        logvar = self.logvar.clamp(LOGVAR_MIN, LOGVAR_MAX)
        return FullNormalMixture(self.log_weights, self.mu, logvar, self.lower.tril(-1))

    @torch.no_grad()
    def take(self, covariances: Tensor) -> None:
        """Set the covariances of the components: (C, L, L).

        Example:
            >>> import torch
            >>> from aevb.parts.priors.mixture import MixtureOfFullGaussians
            >>> prior = MixtureOfFullGaussians(latent_dim=2, components=1)
            >>> prior.take(torch.tensor([[[4.0, 1.0], [1.0, 2.0]]]))
            >>> [round(value, 4) for value in prior().variance.tolist()]
            [4.0, 2.0]
        """
        factors = torch.linalg.cholesky(covariances.double())
        scales = factors.diagonal(dim1=-2, dim2=-1)
        self.logvar.copy_(2 * scales.log())
        self.lower.copy_((factors / scales.unsqueeze(-1)).tril(-1))
