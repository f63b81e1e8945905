r"""Gaussian posteriors, diagonal and full.

The source is Kingma & Welling 2013, section 2.4 and appendices B and C.

A draw is z = mu + sigma * eps with eps ~ N(0, I). All randomness is in eps, which has no
parameters. Hence dz/dmu = 1 and dz/dlogvar = (z - mu)/2 exist, and they carry the gradient of any
function of z back to the encoder.

The network emits logvar = log sigma^2, because sigma = exp(logvar/2) is then positive for every
output of the network. The divergence from the prior uses the logarithm directly:

    KL(N(mu, sigma^2) || N(0, 1)) = -1/2 (1 + logvar - mu^2 - exp(logvar))   per dimension.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from aevb.interfaces import Posterior
from aevb.probability.distributions import LOGVAR_MAX, LOGVAR_MIN, DiagonalNormal, TriangularNormal

GAIN = 0.3
"""Factor on the correlations. There are (L - 1) / 2 of them for each mean, so without the factor
they would together change q too fast."""


def kl_per_dimension(mu: Tensor, logvar: Tensor) -> Tensor:
    """Return KL(N(mu, exp(logvar)) || N(0, 1)) of each dimension: (..., L) -> (..., L), nats.

    Example:
        >>> import torch
        >>> from aevb.parts.posteriors.gaussian import kl_per_dimension
        >>> kl_per_dimension(torch.tensor([1.0, 2.0]), torch.zeros(2)).tolist()
        [0.5, 2.0]
    """
    return -0.5 * (1 + logvar - mu.pow(2) - logvar.exp())


def kl_divergence(mu: Tensor, logvar: Tensor) -> Tensor:
    """Return KL(N(mu, diag exp(logvar)) || N(0, I)) of each row.

    The source is appendix B of Kingma & Welling 2013.

    Args:
        mu: (B, L), the means.
        logvar: (B, L), the logs of the variances.

    Returns:
        (B,), nats.

    Example:
        >>> import torch
        >>> from aevb import kl_divergence
        >>> kl_divergence(torch.ones(3, 2), torch.zeros(3, 2)).tolist()
        [1.0, 1.0, 1.0]
    """
    return kl_per_dimension(mu, logvar).sum(dim=-1)


class DiagonalGaussian(Posterior):
    """A diagonal Gaussian: one linear layer on the features gives mu, another one gives logvar.

    logvar is clamped to [-30, 20]. Otherwise exp(logvar) can overflow, a common source of NaN.

    Args:
        num_features: width of the encoder's features.
        latent_dim: L.

    Example:
        >>> import torch
        >>> from aevb.parts.posteriors.gaussian import DiagonalGaussian
        >>> q = DiagonalGaussian(num_features=8, latent_dim=2)(torch.zeros(5, 8))
        >>> q.mu.shape, q.logvar.shape, q.rsample((3,)).shape
        (torch.Size([5, 2]), torch.Size([5, 2]), torch.Size([3, 5, 2]))
    """

    def __init__(self, num_features: int, latent_dim: int) -> None:
        super().__init__()
        self.num_features = num_features
        self.mu = nn.Linear(num_features, latent_dim)
        self.logvar = nn.Linear(num_features, latent_dim)

    def forward(self, h: Tensor) -> DiagonalNormal:
        """Return q(z|x) for features h: (..., num_features) -> a distribution over (L,)."""
        return DiagonalNormal(self.mu(h), self.logvar(h).clamp(LOGVAR_MIN, LOGVAR_MAX))


class FullGaussian(Posterior):
    """A Gaussian with any covariance; its KL has a closed form.

    The source is Kingma & Welling 2019, section 2.5.1. It starts without correlations. The number
    of its outputs grows with the square of L.

    Args:
        num_features: width of the encoder's features.
        latent_dim: L.

    Example:
        >>> import torch
        >>> from aevb.parts.posteriors.gaussian import FullGaussian
        >>> q = FullGaussian(num_features=8, latent_dim=3)(torch.zeros(5, 8))
        >>> q.lower.shape, bool((q.lower == 0).all())
        (torch.Size([5, 3, 3]), True)
    """

    at: Tensor

    def __init__(self, num_features: int, latent_dim: int) -> None:
        super().__init__()
        self.num_features, self.latent_dim = num_features, latent_dim
        self.mu = nn.Linear(num_features, latent_dim)
        self.logvar = nn.Linear(num_features, latent_dim)
        # One latent dimension has no correlations; nn.Linear would warn of an empty weight.
        correlations = latent_dim * (latent_dim - 1) // 2
        self.lower_weight = nn.Parameter(torch.zeros(correlations, num_features))
        self.lower_bias = nn.Parameter(torch.zeros(correlations))
        row, column = torch.tril_indices(latent_dim, latent_dim, -1)
        self.register_buffer("at", row * latent_dim + column, persistent=False)

    def forward(self, h: Tensor) -> TriangularNormal:
        """Return q(z|x) for features h: (..., num_features) -> a distribution over (L,)."""
        found = GAIN * nn.functional.linear(h, self.lower_weight, self.lower_bias)
        flat = found.new_zeros(*found.shape[:-1], self.latent_dim**2).scatter(
            -1, self.at.expand(found.shape), found
        )
        lower = flat.unflatten(-1, (self.latent_dim, self.latent_dim))
        return TriangularNormal(self.mu(h), self.logvar(h).clamp(LOGVAR_MIN, LOGVAR_MAX), lower)
