"""A normalising flow as the prior: p(z) of any shape, learned with the model (or fitted to its
codes afterwards)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from aevb.interfaces import Prior
from aevb.probability.distributions import LOGVAR_MAX, LOGVAR_MIN, TransformedNormal
from aevb.probability.flows import Flow


class FlowPrior(Prior):
    """Spline couplings over (L,), placed and scaled by mu and logvar. ``latent_dim``: L. Starts
    near N(0, I)."""

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.mu = nn.Parameter(torch.zeros(latent_dim))
        self.logvar = nn.Parameter(torch.zeros(latent_dim))
        self.flow = Flow(latent_dim, spline=True)

    def forward(self) -> TransformedNormal:
        """Return the distribution over (L,)."""
        return TransformedNormal(self.mu, self.logvar.clamp(LOGVAR_MIN, LOGVAR_MAX), self.flow())

    @torch.no_grad()
    def place(self, codes: Tensor) -> None:
        """Set mu and logvar to the mean and the variance of codes: (N, L)."""
        self.mu.copy_(codes.mean(0))
        self.logvar.copy_(codes.var(0).clamp(min=1e-12).log())
