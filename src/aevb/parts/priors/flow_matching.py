"""A flow-matching prior: a learned velocity carries N(0, I) to the codes of a trained model.

It is fitted to codes after training (``aevb refit``). Its density takes the solution of a
differential equation, which is too slow for each step of a training.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from aevb.interfaces import Prior
from aevb.probability.velocity import CarriedNormal, Velocity

FLOOR = 1e-8
"""Added to the variances of the codes, as a share of their mean variance."""


class FlowMatchingPrior(Prior):
    """Flow matching (Lipman et al. 2023) over (L,), on codes with mean 0 and covariance I.

    It starts as N(0, I). ``place`` makes it the Gaussian with the mean and the covariance of
    codes; a fit by ``aevb.probability.velocity.matching_loss`` adds the rest of their shape.

    Args:
        latent_dim: L.

    Example:
        >>> from aevb.parts.priors.flow_matching import FlowMatchingPrior
        >>> p = FlowMatchingPrior(latent_dim=2)()
        >>> z = p.sample((5,))
        >>> z.shape, p.log_prob(z).shape
        (torch.Size([5, 2]), torch.Size([5]))
    """

    after_training: ClassVar[bool] = True

    def __init__(self, latent_dim: int) -> None:
        super().__init__()
        self.mu: Tensor
        self.factor: Tensor
        self.register_buffer("mu", torch.zeros(latent_dim))
        self.register_buffer("factor", torch.eye(latent_dim))
        self.velocity = Velocity(latent_dim)

    def forward(self) -> CarriedNormal:
        """Return p(z), a distribution over (L,)."""
        return CarriedNormal(self.mu, self.factor, self.velocity)

    @torch.no_grad()
    def place(self, codes: Tensor) -> Tensor:
        """Take mean and covariance of codes: (N, L), and return the codes without them: (N, L).

        Example:
            >>> import torch
            >>> from aevb.parts.priors.flow_matching import FlowMatchingPrior
            >>> prior = FlowMatchingPrior(latent_dim=1)
            >>> plain = prior.place(torch.tensor([[2.0], [4.0]]))
            >>> prior.mu.tolist(), round(float(plain.square().mean()), 3)
            ([3.0], 1.0)
        """
        exact = codes.double()
        mu = exact.mean(0)
        covariance = (exact - mu).T @ (exact - mu) / len(exact)
        share = FLOOR * covariance.diagonal().mean().clamp(min=1e-12)
        covariance += share * torch.eye(len(mu), dtype=torch.float64, device=codes.device)
        factor = torch.linalg.cholesky(covariance)
        self.mu.copy_(mu)
        self.factor.copy_(factor)
        plain: Tensor = torch.linalg.solve_triangular(factor, (exact - mu).T, upper=False).T
        return plain.to(codes.dtype)
