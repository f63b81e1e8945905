r"""The distributions over one row that torch lacks, or has in a form that loses precision.

A Gaussian that keeps logvar (nothing takes the log of an exp), one with correlations, a mixture of
Gaussians, and a Gaussian's image under an invertible map. None validates its arguments: data are
checked at the door, and a step checks nothing.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Distribution, Independent, Normal, Transform

LOGVAR_MIN, LOGVAR_MAX = -30.0, 20.0
"""Bounds of logvar where a network emits it, to be applied there by ``clamp``: outside them the
gradient is zero. exp(20) keeps every sum of squares inside float32; at the least sigma, exp(-15), a
sample differs from its mean by 3e-7 eps."""

DRAWS = 512
"""Fixed draws from which the moments of a distribution without closed ones are estimated; half are
mirror images."""


def reparameterize(mu: Tensor, logvar: Tensor) -> Tensor:
    """Draw z ~ N(mu, exp(logvar)), differentiable in both. mu, logvar: (..., L) -> z: (..., L)."""
    std = torch.exp(0.5 * logvar)
    return mu + std * torch.randn_like(std)


class DiagonalNormal(Distribution):
    """N(mu, diag exp(logvar)) over (L,). mu: (..., L); logvar: the same, or anything that
    broadcasts to it."""

    arg_constraints = {}  # noqa: RUF012  (torch's own convention)
    has_rsample = True

    def __init__(self, mu: Tensor, logvar: Tensor) -> None:
        self.mu, self.logvar = mu, logvar
        super().__init__(mu.shape[:-1], mu.shape[-1:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        """(..., L)."""
        return self.mu

    @property
    def variance(self) -> Tensor:
        """(..., L)."""
        return self.logvar.exp().expand_as(self.mu)

    def rsample(self, sample_shape: torch.Size | tuple[int, ...] = ()) -> Tensor:  # type: ignore[override]
        """sample_shape -> z: (*sample_shape, ..., L), differentiable in mu and logvar."""
        shape = (*sample_shape, *self.mu.shape)
        return reparameterize(self.mu.expand(shape), self.logvar.expand(shape))

    def log_prob(self, value: Tensor) -> Tensor:
        """z: (..., L) -> (...), nats."""
        eps = (value - self.mu) * torch.exp(-0.5 * self.logvar)
        return -0.5 * (eps.square() + self.logvar + math.log(2 * math.pi)).sum(-1)


class TriangularNormal(Distribution):
    """The law of mu + exp(logvar/2) (eps + A eps), eps ~ N(0, I): a Gaussian with any covariance.
    mu, logvar: (..., L).

    lower: A, (..., L, L), zero on the diagonal and above. With the diagonal of 1 that it leaves
    out, and the scales, it is a Cholesky factor: the log-determinant is that of the scales alone.
    """

    arg_constraints = {}  # noqa: RUF012
    has_rsample = True

    def __init__(self, mu: Tensor, logvar: Tensor, lower: Tensor) -> None:
        self.mu, self.logvar, self.lower = mu, logvar, lower
        super().__init__(mu.shape[:-1], mu.shape[-1:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        """(..., L)."""
        return self.mu

    @property
    def variance(self) -> Tensor:
        """(..., L)."""
        return self.logvar.exp() * (1 + self.lower.square().sum(-1))

    def rsample(self, sample_shape: torch.Size | tuple[int, ...] = ()) -> Tensor:  # type: ignore[override]
        """sample_shape -> z: (*sample_shape, ..., L), differentiable in every parameter."""
        return self.rsample_and_log_prob(sample_shape)[0]

    def rsample_and_log_prob(
        self, sample_shape: torch.Size | tuple[int, ...] = ()
    ) -> tuple[Tensor, Tensor]:
        """Draws z: (*sample_shape, ..., L) and their log-density (*sample_shape, ...), without
        solving for their noise."""
        eps = torch.randn(
            (*sample_shape, *self.mu.shape), dtype=self.mu.dtype, device=self.mu.device
        )
        draws = eps.reshape(-1, *self.mu.shape)  # of one row, they share a product
        u = (draws + torch.einsum("...ij,s...j->s...i", self.lower, draws)).reshape(eps.shape)
        return self.mu + torch.exp(0.5 * self.logvar) * u, self._log_density(eps)

    def log_prob(self, value: Tensor) -> Tensor:
        """z: (..., L) -> (...), nats."""
        u = (value - self.mu) * torch.exp(-0.5 * self.logvar)
        own = u.shape[u.ndim - self.mu.ndim :]
        points = u.reshape(-1, *own).movedim(0, -1)  # of one row, they share a solution
        lower = self.lower.expand(*own, own[-1])
        solved = torch.linalg.solve_triangular(lower, points, upper=False, unitriangular=True)
        return self._log_density(solved.movedim(-1, 0).reshape(u.shape))

    def kl_from_standard(self) -> Tensor:
        """KL from N(0, I), in closed form: (...), nats."""
        return 0.5 * (self.mu.square() + self.variance - 1 - self.logvar).sum(-1)

    def _log_density(self, eps: Tensor) -> Tensor:
        """Of the z that ``eps`` became."""
        return -0.5 * (eps.square() + self.logvar + math.log(2 * math.pi)).sum(-1)


class NormalMixture(Distribution):
    """sum_k w_k N(mu_k, diag exp(logvar_k)) over (L,). log_weights: (C,), normalised here; mu,
    logvar: (C, L)."""

    arg_constraints = {}  # noqa: RUF012

    def __init__(self, log_weights: Tensor, mu: Tensor, logvar: Tensor) -> None:
        self.log_weights, self.mu, self.logvar = log_weights.log_softmax(-1), mu, logvar
        super().__init__(torch.Size(), mu.shape[-1:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        """(L,)."""
        return self.log_weights.exp() @ self.mu

    @property
    def variance(self) -> Tensor:
        """(L,)."""
        return self.log_weights.exp() @ (self.logvar.exp() + (self.mu - self.mean).square())

    def sample(self, sample_shape: torch.Size | tuple[int, ...] = ()) -> Tensor:  # type: ignore[override]
        """sample_shape -> z: (*sample_shape, L)."""
        with torch.no_grad():
            shape = torch.Size(sample_shape)
            component = torch.multinomial(
                self.log_weights.exp(), shape.numel(), replacement=True
            ).reshape(shape)
            return reparameterize(self.mu[component], self.logvar[component])

    def log_prob(self, value: Tensor) -> Tensor:
        """z: (..., L) -> (...), nats."""
        # |z - mu|^2 / v, expanded into matrix products: no tensor of (..., C, L). The expansion
        # cancels; hence float64.
        z, mu, logvar = value.double(), self.mu.double(), self.logvar.double()
        precision = logvar.neg().exp()
        square = (
            z.square() @ precision.T
            - 2 * z @ (mu * precision).T
            + (mu.square() * precision).sum(-1)
        )
        constant = logvar.sum(-1) + self.mu.shape[-1] * math.log(2 * math.pi)
        log_joint = self.log_weights.double() - 0.5 * (square + constant)
        # At logvar -30 even float64 loses hundredths of a nat: the component that counts most is
        # measured once more, without the expansion. Its gradient cancels less, and stays as it is.
        with torch.no_grad():
            most = log_joint.argmax(-1, keepdim=True)
            straight = ((z - mu[most[..., 0]]).square() * precision[most[..., 0]]).sum(
                -1, keepdim=True
            )
            error = 0.5 * (square.gather(-1, most) - straight)
        log_p = torch.logsumexp(log_joint.scatter_add(-1, most, error), dim=-1)
        return log_p.to(value.dtype)


class TransformedNormal(Distribution):
    """The law of mu + exp(logvar/2) u, where ``transform`` takes u to eps ~ N(0, I). mu, logvar:
    (..., L).

    transform: a bijection of (..., L), such as a flow makes; its inverse draws, itself gives the
    density.
    """

    arg_constraints = {}  # noqa: RUF012
    has_rsample = True

    def __init__(self, mu: Tensor, logvar: Tensor, transform: Transform) -> None:
        self.mu, self.logvar, self.transform = mu, logvar, transform
        self.base = DiagonalNormal(torch.zeros_like(mu), torch.zeros_like(mu))
        super().__init__(mu.shape[:-1], mu.shape[-1:], validate_args=False)

    def rsample(self, sample_shape: torch.Size | tuple[int, ...] = ()) -> Tensor:  # type: ignore[override]
        """sample_shape -> z: (*sample_shape, ..., L), differentiable in every parameter."""
        return self._image(self.base.rsample(sample_shape))

    def rsample_and_log_prob(
        self, sample_shape: torch.Size | tuple[int, ...] = ()
    ) -> tuple[Tensor, Tensor]:
        """Draws z: (*sample_shape, ..., L) and their log-density (*sample_shape, ...), without
        going back through the map."""
        straight, z, log_ratio = self.rsample_both(sample_shape)
        return z, self.straight.log_prob(straight) + log_ratio

    @property
    def straight(self) -> DiagonalNormal:
        """The law without the transform, N(mu, exp(logvar))."""
        return DiagonalNormal(self.mu, self.logvar)

    def rsample_both(
        self, sample_shape: torch.Size | tuple[int, ...] = ()
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Draws of ``straight`` and of this law from the same noise, and how their log-densities
        differ.

        Returns straight: (*sample_shape, ..., L), z: the same, and log q(z) - log
        straight(straight): (*sample_shape, ...).
        """
        eps = self.base.rsample(sample_shape)
        u, log_det = self.transform.inv.call_and_ladj(eps)  # type: ignore[attr-defined]
        sigma = torch.exp(0.5 * self.logvar)
        return self.mu + sigma * eps, self.mu + sigma * u, -log_det

    def log_prob(self, value: Tensor) -> Tensor:
        """z: (..., L) -> (...), nats."""
        eps, log_det = self.transform.call_and_ladj(  # type: ignore[attr-defined]
            (value - self.mu) * torch.exp(-0.5 * self.logvar)
        )
        log_p: Tensor = self.base.log_prob(eps) + log_det - 0.5 * self.logvar.sum(-1)
        return log_p

    @property
    def mean(self) -> Tensor:
        """(..., L), from a fixed set of draws: the same for the same parameters."""
        return self._fixed_draws().mean(0)

    @property
    def variance(self) -> Tensor:
        """(..., L), from a fixed set of draws."""
        return self._fixed_draws().var(0)

    def _image(self, eps: Tensor) -> Tensor:
        u: Tensor = self.transform.inv(eps)
        return self.mu + torch.exp(0.5 * self.logvar) * u

    def _fixed_draws(self) -> Tensor:
        g = torch.Generator(self.mu.device).manual_seed(0)
        half = torch.randn(
            DRAWS // 2, self.mu.shape[-1], generator=g, device=self.mu.device, dtype=self.mu.dtype
        )
        eps = torch.cat([half, -half]).reshape(DRAWS, *[1] * len(self.batch_shape), -1)
        return self._image(eps.expand(DRAWS, *self.mu.shape))


def rsample_and_log_prob(d: Distribution, samples: int) -> tuple[Tensor, Tensor]:
    """Draw from ``d``, differentiably: z (K, ..., L) and log d(z) (K, ...), in one pass where ``d``
    can do that."""
    shape = torch.Size((samples,))
    if isinstance(d, TransformedNormal | TriangularNormal):
        return d.rsample_and_log_prob(shape)
    z = d.rsample(shape)
    return z, d.log_prob(z)


@torch.no_grad()
def draw(d: Distribution, shape: tuple[int, ...] = ()) -> Tensor:
    """Draws from ``d`` without a gradient: (*shape, ...), made of ``torch.randn`` and
    ``torch.rand`` alone.

    A recorded step takes such noise out of its operations and is handed it from outside
    (``recording.py``); torch's own samplers of these two distributions use other kinds.
    """
    base = d.base_dist if isinstance(d, Independent) else d
    if isinstance(base, Normal):
        return base.loc + base.scale * torch.randn(
            (*shape, *base.batch_shape), dtype=base.loc.dtype, device=base.loc.device
        )
    if isinstance(base, Bernoulli):
        p = base.probs.expand((*shape, *base.batch_shape))
        return (torch.rand_like(p) < p).to(p.dtype)
    drawn: Tensor = d.sample(torch.Size(shape))
    return drawn
