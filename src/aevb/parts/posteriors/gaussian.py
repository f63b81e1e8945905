r"""Gaussian posteriors, diagonal and full (Kingma & Welling 2013, section 2.4 and appendices B and
C).

A sample is written z = mu + sigma * eps with eps ~ N(0, I). All randomness sits in eps, which has
no parameters, so dz/dmu = 1 and dz/dlogvar = (z - mu)/2 exist and carry the gradient of any
function of z back to the encoder.

The network emits logvar = log sigma^2: sigma = exp(logvar/2) is positive whatever the network says,
and the divergence from the prior needs the logarithm as it is,

    KL(N(mu, sigma^2) || N(0, 1)) = -1/2 (1 + logvar - mu^2 - exp(logvar))   per dimension.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from aevb.interfaces import Posterior
from aevb.probability.distributions import LOGVAR_MAX, LOGVAR_MIN, DiagonalNormal, TriangularNormal

GAIN = 0.3
"""Of the correlations against the other outputs of the encoder: there are L/2 times as many of
them."""


def kl_per_dimension(mu: Tensor, logvar: Tensor) -> Tensor:
    """KL(N(mu, exp(logvar)) || N(0, 1)) of each dimension. mu, logvar: (..., L) -> (..., L), nats."""
    return -0.5 * (1 + logvar - mu.pow(2) - logvar.exp())


def kl_divergence(mu: Tensor, logvar: Tensor) -> Tensor:
    """KL(N(mu, diag exp(logvar)) || N(0, I)). mu, logvar: (B, L) -> (B,), nats. Source: appendix B
    of the paper."""
    return kl_per_dimension(mu, logvar).sum(dim=-1)


class DiagonalGaussian(Posterior):
    """Two linear heads on the encoder's features, one for mu and one for logvar.

    ``num_features``: width of the features; ``latent_dim``: L. The identity inside [-30, 20], the
    bound on logvar stops exp(logvar) from overflowing, a common source of NaN.
    """

    def __init__(self, num_features: int, latent_dim: int) -> None:
        super().__init__()
        self.num_features = num_features
        self.mu = nn.Linear(num_features, latent_dim)
        self.logvar = nn.Linear(num_features, latent_dim)

    def forward(self, h: Tensor) -> DiagonalNormal:
        """h: (..., num_features) -> distribution over (L,)."""
        return DiagonalNormal(self.mu(h), self.logvar(h).clamp(LOGVAR_MIN, LOGVAR_MAX))


class FullGaussian(Posterior):
    """A Gaussian with any covariance (Kingma & Welling 2019, section 2.5.1): a linear flow, whose
    KL keeps its closed form.

    ``num_features``: width of the features; ``latent_dim``: L, whose square is the number of
    outputs. Starts as a diagonal one.
    """

    at: Tensor

    def __init__(self, num_features: int, latent_dim: int) -> None:
        super().__init__()
        self.num_features, self.latent_dim = num_features, latent_dim
        self.mu = nn.Linear(num_features, latent_dim)
        self.logvar = nn.Linear(num_features, latent_dim)
        correlations = (
            latent_dim * (latent_dim - 1) // 2
        )  # of one dimension none, which nn.Linear would warn of
        self.lower_weight = nn.Parameter(torch.zeros(correlations, num_features))
        self.lower_bias = nn.Parameter(torch.zeros(correlations))
        row, column = torch.tril_indices(latent_dim, latent_dim, -1)
        self.register_buffer("at", row * latent_dim + column, persistent=False)

    def forward(self, h: Tensor) -> TriangularNormal:
        """h: (..., num_features) -> distribution over (L,)."""
        found = GAIN * nn.functional.linear(h, self.lower_weight, self.lower_bias)
        flat = found.new_zeros(*found.shape[:-1], self.latent_dim**2).scatter(
            -1, self.at.expand(found.shape), found
        )
        lower = flat.unflatten(-1, (self.latent_dim, self.latent_dim))
        return TriangularNormal(self.mu(h), self.logvar(h).clamp(LOGVAR_MIN, LOGVAR_MAX), lower)
