"""The prior of the paper: N(0, I), without parameters."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from aevb.interfaces import Prior


class StandardNormal(Prior):
    """N(0, I) over (L,). ``latent_dim``: L."""

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.zeros: Tensor
        # Not saved: it says nothing that latent_dim does not, but it must follow the model to its
        # device and dtype.
        self.register_buffer("zeros", torch.zeros(latent_dim), persistent=False)

    def forward(self) -> Distribution:
        """Return the distribution over (L,)."""
        return Independent(
            Normal(self.zeros, torch.ones_like(self.zeros), validate_args=False),
            1,
            validate_args=False,
        )
