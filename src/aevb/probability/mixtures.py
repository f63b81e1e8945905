"""Mixtures of Gaussians with any covariances."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import Distribution

MOST = 2**22
"""Numbers of one intermediate tensor, at most, when densities are computed."""


class FullNormalMixture(Distribution):
    """A mixture of C Gaussians with correlations over (L,).

    Component k is mu_k + exp(logvar_k / 2) (eps + A_k eps) with eps ~ N(0, I), as in
    ``TriangularNormal``.

    Args:
        log_weights: (C,), the logs of the weights; they need not be normalised.
        mu: (C, L), the means.
        logvar: (C, L), the logs of the squared diagonals of the Cholesky factors.
        lower: A, (C, L, L), zero on the diagonal and above.

    Example:
        >>> import torch
        >>> from aevb.probability.mixtures import FullNormalMixture
        >>> centres, zeros = torch.tensor([[-1.0, 0.0], [3.0, 0.0]]), torch.zeros(2, 2)
        >>> d = FullNormalMixture(torch.zeros(2), centres, zeros, torch.zeros(2, 2, 2))
        >>> d.mean.tolist(), d.variance.tolist()
        ([1.0, 0.0], [5.0, 1.0])
        >>> d.sample((7,)).shape, d.log_prob(centres).shape
        (torch.Size([7, 2]), torch.Size([2]))
    """

    arg_constraints = {}  # noqa: RUF012

    def __init__(self, log_weights: Tensor, mu: Tensor, logvar: Tensor, lower: Tensor) -> None:
        self.log_weights, self.mu, self.logvar = log_weights.log_softmax(-1), mu, logvar
        self.lower = lower
        super().__init__(torch.Size(), mu.shape[-1:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        """The mean: (L,)."""
        return self.log_weights.exp() @ self.mu

    @property
    def variance(self) -> Tensor:
        """The variance: (L,)."""
        within = self.logvar.exp() * (1 + self.lower.square().sum(-1))
        return self.log_weights.exp() @ (within + (self.mu - self.mean).square())

    @torch.no_grad()
    def sample(self, sample_shape: torch.Size | tuple[int, ...] = ()) -> Tensor:  # type: ignore[override]
        """Draw z: (*sample_shape, L), without a gradient."""
        shape = torch.Size(sample_shape)
        component = torch.multinomial(self.log_weights.exp(), shape.numel(), replacement=True)
        eps = torch.randn(len(component), *self.event_shape).to(self.mu)
        z = torch.empty_like(eps)
        # One product a component: a factor for each draw would take L times the memory.
        for k in range(len(self.mu)):
            chosen = component == k
            own = eps[chosen]
            z[chosen] = self.mu[k] + (0.5 * self.logvar[k]).exp() * (own + own @ self.lower[k].T)
        return z.reshape(*shape, *self.event_shape)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-density at z: (..., L) -> (...), nats."""
        # In float64, because a component may be far narrower than the distance of its mean from 0.
        mu, logvar = self.mu.double(), self.logvar.double()
        factors = torch.eye(mu.shape[-1], dtype=mu.dtype, device=mu.device) + self.lower.double()
        factors = (0.5 * logvar).exp().unsqueeze(-1) * factors
        one = torch.eye(mu.shape[-1], dtype=mu.dtype, device=mu.device).expand_as(factors)
        inverse = torch.linalg.solve_triangular(factors, one, upper=False)
        centres = torch.einsum("kij,kj->ki", inverse, mu)
        constant = self.log_weights.double() - 0.5 * (
            logvar.sum(-1) + mu.shape[-1] * math.log(2 * math.pi)
        )
        z = value.double().reshape(-1, mu.shape[-1])
        parts = []
        for part in z.split(max(1, MOST // mu.numel())):
            eps = (part @ inverse.flatten(0, 1).T).unflatten(-1, mu.shape) - centres
            parts.append(torch.logsumexp(constant - 0.5 * eps.square().sum(-1), dim=-1))
        log_p = torch.cat(parts) if parts else z.new_zeros(0)
        return log_p.reshape(value.shape[:-1]).to(value.dtype)
