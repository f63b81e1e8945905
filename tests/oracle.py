"""Models whose answers are known in closed form, to hold estimators against."""

import math

import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal

from aevb.model import VAE
from aevb.parts.likelihoods.gaussian import GaussianFixed
from aevb.parts.posteriors.gaussian import GAIN, FullGaussian

FIVE_SIGMA = 5.0
"""A z-test at five standard errors fails by chance once in 1.7 million times."""


class LinearGaussian:
    """Probabilistic PCA as a VAE: p(z) = N(0, I), p(x|z) = N(W z + b, v I), in float64.

    The columns of W are orthogonal, so that the exact posterior is a diagonal Gaussian and the VAE
    can represent it; or, if ``correlated``, they are not, and it has a full one. covariance: (L,
    L), of the exact posterior, the same for every x.
    """

    def __init__(
        self,
        data_dim: int = 4,
        latent_dim: int = 2,
        variance: float = 0.3,
        seed: int = 0,
        *,
        correlated: bool = False,
    ) -> None:
        g = torch.Generator().manual_seed(seed)
        basis = torch.linalg.qr(
            torch.randn(data_dim, latent_dim, generator=g, dtype=torch.float64)
        ).Q
        self.w = basis * torch.linspace(0.5, 1.5, latent_dim, dtype=torch.float64)
        self.b = torch.randn(data_dim, generator=g, dtype=torch.float64)
        self.v = variance
        one = torch.eye(latent_dim, dtype=torch.float64)
        if correlated:
            self.w = self.w @ (one + 0.8 * torch.ones_like(one).tril(-1))
        self.covariance = torch.linalg.inv(one + self.w.T @ self.w / variance)
        self.marginal = MultivariateNormal(
            self.b,
            self.w @ self.w.T + variance * torch.eye(data_dim, dtype=torch.float64),
            validate_args=False,
        )
        posterior = FullGaussian(data_dim, latent_dim) if correlated else None
        self.model = VAE(
            data_dim,
            (),
            latent_dim,
            likelihood=GaussianFixed(data_dim, variance),
            posterior=posterior,
        ).double()
        self.set_posterior()
        with torch.no_grad():
            decoder = self.model.decoder[0]
            decoder.weight.copy_(self.w)
            decoder.bias.copy_(self.b)
            self.model.likelihood.log_variance.fill_(math.log(variance))  # exact in float64

    def set_posterior(self, shift: float = 0.0, stretch: float = 1.0) -> None:
        """Set q(z|x) to the exact posterior, with a shifted mean and a stretched covariance.

        The mean moves by ``shift``, and the covariance is multiplied by ``stretch``.
        """
        q = self.model.posterior
        factor = torch.linalg.cholesky(stretch * self.covariance)
        with torch.no_grad():
            projection = self.covariance @ self.w.T / self.v
            q.mu.weight.copy_(projection)
            q.mu.bias.copy_(shift - projection @ self.b)
            q.logvar.weight.zero_()
            q.logvar.bias.copy_(2 * factor.diagonal().log())
            if isinstance(q, FullGaussian):
                row, column = torch.tril_indices(len(factor), len(factor), -1)
                q.lower_weight.zero_()
                q.lower_bias.copy_((factor / factor.diagonal()[:, None])[row, column] / GAIN)

    def gap(self, shift: float, stretch: float) -> float:
        """KL(q(z|x) || p(z|x)) after ``set_posterior(shift, stretch)``; the same for every x."""
        dims = len(self.covariance)
        return 0.5 * (
            dims * (stretch - 1 - math.log(stretch))
            + shift**2 * float(torch.linalg.inv(self.covariance).sum())
        )

    def sample(self, n: int) -> Tensor:
        """x ~ p(x): (n, D)."""
        return self.marginal.sample((n,))


def all_bits(n: int) -> Tensor:
    """Every vector of n bits: (2**n, n)."""
    return torch.cartesian_prod(*[torch.tensor([0.0, 1.0], dtype=torch.float64)] * n).reshape(-1, n)


def square_grid(dims: int, reach: float, points: int) -> tuple[Tensor, float]:
    """Points of a grid over [-reach, reach]^dims: (points**dims, dims), and a cell's volume."""
    axis = torch.linspace(-reach, reach, points, dtype=torch.float64)
    return torch.cartesian_prod(*[axis] * dims).reshape(-1, dims), float(axis[1] - axis[0]) ** dims


def is_mean(values: Tensor, expected: float, sigmas: float = FIVE_SIGMA) -> bool:
    """Whether ``expected`` is within ``sigmas`` standard errors of the mean of values: (N,)."""
    values = values.double()
    return (
        abs(float(values.mean()) - expected)
        <= sigmas * float(values.std()) / math.sqrt(len(values)) + 1e-12
    )


def parameters_without_gradient(module: nn.Module) -> list[str]:
    """Names of the parameters that no gradient reached."""
    return [
        name
        for name, p in module.named_parameters()
        if p.grad is None or not bool(p.grad.abs().sum() > 0)
    ]
