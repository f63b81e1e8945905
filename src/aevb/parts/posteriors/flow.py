r"""Normalising flows as posteriors (Rezende & Mohamed 2015): q(z|x) of any shape, bent out of a diagonal Gaussian.

    z = mu(x) + sigma(x) * f^-1(eps; x),      log q(z|x) = log N(f(u); 0, I) + log |df/du| - sum_j log sigma_j

with u = (z - mu) / sigma. mu and sigma place and scale the posterior as the Gaussian's do; the flow
f starts near the identity, so that training starts from the diagonal Gaussian and leaves it where
the bound gains.
"""

from __future__ import annotations

from torch import Tensor, nn

from aevb.interfaces import Posterior
from aevb.probability.distributions import LOGVAR_MAX, LOGVAR_MIN, TransformedNormal
from aevb.probability.flows import Flow

GAIN = 0.01
"""Of the flow against the encoder: at the same pace, the noise of its gradients keeps the decoder
from learning (measured on binarised MNIST: docs/evaluation.md)."""


class _FlowPosterior(Posterior):
    """``num_features``: width of the encoder's features; ``latent_dim``: L."""

    spline: bool

    def __init__(self, num_features: int, latent_dim: int) -> None:
        super().__init__()
        self.num_features = num_features
        self.mu = nn.Linear(num_features, latent_dim)
        self.logvar = nn.Linear(num_features, latent_dim)
        self.flow = Flow(latent_dim, num_features, spline=self.spline, gain=GAIN)

    def forward(self, h: Tensor) -> TransformedNormal:
        """h: (..., num_features) -> distribution over (L,)."""
        return TransformedNormal(
            self.mu(h), self.logvar(h).clamp(LOGVAR_MIN, LOGVAR_MAX), self.flow(h)
        )


class CouplingFlow(_FlowPosterior):
    """Affine coupling layers (Dinh et al. 2017), conditioned on x: fast to draw from and to
    evaluate.

    In one latent dimension this is a Gaussian still; ``SplineFlow`` is not.
    """

    spline = False


class SplineFlow(_FlowPosterior):
    """Rational quadratic splines in coupling layers (Durkan et al. 2019), conditioned on x: several
    modes, sharp bends."""

    spline = True
