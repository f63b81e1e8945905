r"""Normalising flows as posteriors (Rezende & Mohamed 2015): q(z|x) of any shape.

    z = mu(x) + sigma(x) * f^-1(eps; x),    u = (z - mu) / sigma,    eps ~ N(0, I)

    log q(z|x) = log N(f(u); 0, I) + log |df/du| - sum_j log sigma_j

mu and sigma shift and scale the posterior, as in a diagonal Gaussian. The flow f changes its shape.
f starts near the identity, so q starts near a diagonal Gaussian, and departs from it where that
raises the bound.
"""

from __future__ import annotations

from torch import Tensor, nn

from aevb.interfaces import Posterior
from aevb.probability.distributions import LOGVAR_MAX, LOGVAR_MIN, TransformedNormal
from aevb.probability.flows import Flow

GAIN = 0.01
"""Factor on the output of the flow's networks. It slows the flow down, because the noise of the
gradients of a richer posterior hinders the decoder at the start (docs/evaluation.md)."""


class _FlowPosterior(Posterior):
    """The code that both flows share.

    Args:
        num_features: width of the encoder's features.
        latent_dim: L.
    """

    spline: bool

    def __init__(self, num_features: int, latent_dim: int) -> None:
        super().__init__()
        self.num_features = num_features
        self.mu = nn.Linear(num_features, latent_dim)
        self.logvar = nn.Linear(num_features, latent_dim)
        self.flow = Flow(latent_dim, num_features, spline=self.spline, gain=GAIN)

    def forward(self, h: Tensor) -> TransformedNormal:
        """Return q(z|x) for features h: (..., num_features) -> a distribution over (L,)."""
        return TransformedNormal(
            self.mu(h), self.logvar(h).clamp(LOGVAR_MIN, LOGVAR_MAX), self.flow(h)
        )


class CouplingFlow(_FlowPosterior):
    """Affine coupling layers (Dinh et al. 2017), given x; draws and densities are equally fast.

    In one latent dimension this is still a Gaussian; ``SplineFlow`` is not.

    Args:
        num_features: width of the encoder's features.
        latent_dim: L.

    Example:
        >>> import torch
        >>> from aevb.parts.posteriors.flow import CouplingFlow
        >>> q = CouplingFlow(num_features=8, latent_dim=2)(torch.zeros(5, 8))
        >>> z = q.rsample((3,))
        >>> z.shape, q.log_prob(z).shape
        (torch.Size([3, 5, 2]), torch.Size([3, 5]))
    """

    spline = False


class SplineFlow(_FlowPosterior):
    """Coupling layers of rational quadratic splines (Durkan et al. 2019), given x.

    Such a posterior can have several modes and sharp bends.

    Args:
        num_features: width of the encoder's features.
        latent_dim: L.

    Example:
        >>> import torch
        >>> from aevb import VAE
        >>> from aevb.parts.posteriors.flow import SplineFlow
        >>> model = VAE(data_dim=3, hidden=8, latent_dim=2, posterior=SplineFlow(8, 2))
        >>> reconstruction, kl = model.elbo_terms(torch.zeros(5, 3))
        >>> kl.shape  # no closed form, so one number for each row
        torch.Size([5, 1])
    """

    spline = True
