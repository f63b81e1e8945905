"""A normalising flow as the prior: p(z) of any shape.

It is learned with the model, or fitted to the codes of a trained model afterwards.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from aevb.interfaces import Prior
from aevb.probability.distributions import LOGVAR_MAX, LOGVAR_MIN, TransformedNormal
from aevb.probability.flows import Flow


class FlowPrior(Prior):
    """Spline coupling layers (Durkan et al. 2019) over (L,), shifted and scaled by mu and logvar.

    The prior starts near N(0, I).

    Args:
        latent_dim: L.

    Example:
        >>> from aevb.parts.priors.flow import FlowPrior
        >>> p = FlowPrior(latent_dim=2)()
        >>> z = p.sample((5,))
        >>> z.shape, p.log_prob(z).shape
        (torch.Size([5, 2]), torch.Size([5]))
    """

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.mu = nn.Parameter(torch.zeros(latent_dim))
        self.logvar = nn.Parameter(torch.zeros(latent_dim))
        self.flow = Flow(latent_dim, spline=True)

    def forward(self) -> TransformedNormal:
        """Return p(z), a distribution over (L,)."""
        return TransformedNormal(self.mu, self.logvar.clamp(LOGVAR_MIN, LOGVAR_MAX), self.flow())

    @torch.no_grad()
    def place(self, codes: Tensor) -> None:
        """Set mu and logvar to the mean and the log-variance of codes: (N, L).

        Example:
            >>> import torch
            >>> from aevb.parts.priors.flow import FlowPrior
            >>> prior = FlowPrior(latent_dim=1)
            >>> prior.place(torch.tensor([[2.0], [4.0]]))
            >>> prior.mu.tolist()
            [3.0]
        """
        self.mu.copy_(codes.mean(0))
        self.logvar.copy_(codes.var(0).clamp(min=1e-12).log())
