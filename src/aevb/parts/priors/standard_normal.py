"""The prior of Kingma & Welling 2013: p(z) = N(0, I), without parameters."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from aevb.interfaces import Prior


class StandardNormal(Prior):
    """N(0, I) over (L,).

    Args:
        latent_dim: L.

    Example:
        >>> import torch
        >>> from aevb.parts.priors.standard_normal import StandardNormal
        >>> p = StandardNormal(latent_dim=2)()
        >>> p.sample((5,)).shape, round(float(p.log_prob(torch.zeros(2))), 4)  # -log(2 pi)
        (torch.Size([5, 2]), -1.8379)
    """

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.zeros: Tensor
        # A buffer follows the model to its device and dtype. It is not saved, because it depends
        # on latent_dim alone.
        self.register_buffer("zeros", torch.zeros(latent_dim), persistent=False)

    def forward(self) -> Distribution:
        """Return p(z), a distribution over (L,)."""
        return Independent(
            Normal(self.zeros, torch.ones_like(self.zeros), validate_args=False),
            1,
            validate_args=False,
        )
