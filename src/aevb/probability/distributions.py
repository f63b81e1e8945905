r"""The distributions over one row that torch lacks, or has in a form that loses precision.

    DiagonalNormal      a Gaussian that keeps logvar, so that nothing takes the log of an exp
    TriangularNormal    a Gaussian with correlations
    NormalMixture       a mixture of Gaussians
    TransformedNormal   the image of a Gaussian under an invertible map

None of them validates its arguments. The package checks data once, when it takes them in, and
checks nothing in a training step.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import Bernoulli, Distribution, Independent, Normal, Transform

LOGVAR_MIN, LOGVAR_MAX = -30.0, 20.0
"""Bounds of logvar. A part whose network emits a logvar applies them with ``clamp``; outside them
the gradient is zero. exp(20) keeps every sum of squares inside float32. At the smallest sigma,
exp(-15), a sample differs from its mean by 3e-7 eps."""

DRAWS = 512
"""How many fixed draws estimate the moments of a distribution that has no closed form for them.
Half of them are mirror images of the others."""


def reparameterize(mu: Tensor, logvar: Tensor) -> Tensor:
    """Draw z ~ N(mu, exp(logvar)), differentiable in both. mu, logvar: (..., L) -> z: (..., L).

    Example:
        >>> import torch
        >>> from aevb.probability.distributions import reparameterize
        >>> mu = torch.zeros(5, 2, requires_grad=True)
        >>> reparameterize(mu, torch.zeros(5, 2)).sum().backward()
        >>> mu.grad.unique()
        tensor([1.])
    """
    std = torch.exp(0.5 * logvar)
    return mu + std * torch.randn_like(std)


class DiagonalNormal(Distribution):
    """N(mu, diag exp(logvar)) over (L,).

    Args:
        mu: (..., L), the means.
        logvar: the logs of the variances; any shape that broadcasts to that of ``mu``.

    Example:
        >>> import torch
        >>> from aevb.probability.distributions import DiagonalNormal
        >>> d = DiagonalNormal(torch.zeros(5, 2), torch.zeros(5, 2))
        >>> d.rsample((10,)).shape, d.variance[0].tolist()
        (torch.Size([10, 5, 2]), [1.0, 1.0])
        >>> round(float(d.log_prob(torch.zeros(2))[0]), 4)  # -log(2 pi)
        -1.8379
    """

    arg_constraints = {}  # noqa: RUF012  (torch's own convention)
    has_rsample = True

    def __init__(self, mu: Tensor, logvar: Tensor) -> None:
        self.mu, self.logvar = mu, logvar
        super().__init__(mu.shape[:-1], mu.shape[-1:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        """The mean: (..., L)."""
        return self.mu

    @property
    def variance(self) -> Tensor:
        """The variance: (..., L)."""
        return self.logvar.exp().expand_as(self.mu)

    def rsample(self, sample_shape: torch.Size | tuple[int, ...] = ()) -> Tensor:  # type: ignore[override]
        """Draw z: (*sample_shape, ..., L), differentiable in mu and logvar."""
        shape = (*sample_shape, *self.mu.shape)
        return reparameterize(self.mu.expand(shape), self.logvar.expand(shape))

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-density at z: (..., L) -> (...), nats."""
        eps = (value - self.mu) * torch.exp(-0.5 * self.logvar)
        return -0.5 * (eps.square() + self.logvar + math.log(2 * math.pi)).sum(-1)


class TriangularNormal(Distribution):
    """A Gaussian with any covariance: mu + exp(logvar/2) (eps + A eps) with eps ~ N(0, I).

    exp(logvar/2) (I + A) is a Cholesky factor of the covariance. Its diagonal is exp(logvar/2), so
    the log-determinant depends on logvar alone.

    Args:
        mu: (..., L), the means.
        logvar: (..., L), the logs of the squared diagonal of the Cholesky factor.
        lower: A, (..., L, L), zero on the diagonal and above.

    Example:
        >>> import torch
        >>> from aevb.probability.distributions import TriangularNormal
        >>> lower = torch.tensor([[0.0, 0.0], [2.0, 0.0]])
        >>> d = TriangularNormal(torch.zeros(2), torch.zeros(2), lower)
        >>> d.variance.tolist()  # of eps_1, and of 2 eps_1 + eps_2
        [1.0, 5.0]
        >>> exact = torch.distributions.MultivariateNormal(
        ...     torch.zeros(2), scale_tril=lower + torch.eye(2)
        ... )
        >>> z = torch.tensor([0.3, -1.0])
        >>> torch.allclose(d.log_prob(z), exact.log_prob(z))
        True
    """

    arg_constraints = {}  # noqa: RUF012
    has_rsample = True

    def __init__(self, mu: Tensor, logvar: Tensor, lower: Tensor) -> None:
        self.mu, self.logvar, self.lower = mu, logvar, lower
        super().__init__(mu.shape[:-1], mu.shape[-1:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        """The mean: (..., L)."""
        return self.mu

    @property
    def variance(self) -> Tensor:
        """The variance: (..., L)."""
        return self.logvar.exp() * (1 + self.lower.square().sum(-1))

    def rsample(self, sample_shape: torch.Size | tuple[int, ...] = ()) -> Tensor:  # type: ignore[override]
        """Draw z: (*sample_shape, ..., L), differentiable in every parameter."""
        return self.rsample_and_log_prob(sample_shape)[0]

    def rsample_and_log_prob(
        self, sample_shape: torch.Size | tuple[int, ...] = ()
    ) -> tuple[Tensor, Tensor]:
        """Draw z: (*sample_shape, ..., L), and return their log-density too: (*sample_shape, ...).

        The noise eps is known here, so the density needs no triangular solve.

        Example:
            >>> import torch
            >>> from aevb.probability.distributions import TriangularNormal
            >>> d = TriangularNormal(torch.zeros(2), torch.zeros(2), torch.zeros(2, 2))
            >>> z, log_density = d.rsample_and_log_prob((3,))
            >>> torch.allclose(log_density, d.log_prob(z))
            True
        """
        eps = torch.randn(
            (*sample_shape, *self.mu.shape), dtype=self.mu.dtype, device=self.mu.device
        )
        draws = eps.reshape(-1, *self.mu.shape)  # all draws of a row share one product
        u = (draws + torch.einsum("...ij,s...j->s...i", self.lower, draws)).reshape(eps.shape)
        return self.mu + torch.exp(0.5 * self.logvar) * u, self._log_density(eps)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-density at z: (..., L) -> (...), nats."""
        u = (value - self.mu) * torch.exp(-0.5 * self.logvar)
        own = u.shape[u.ndim - self.mu.ndim :]
        points = u.reshape(-1, *own).movedim(0, -1)  # all points of a row share one solution
        lower = self.lower.expand(*own, own[-1])
        solved = torch.linalg.solve_triangular(lower, points, upper=False, unitriangular=True)
        return self._log_density(solved.movedim(-1, 0).reshape(u.shape))

    def kl_to_standard_normal(self) -> Tensor:
        """Return KL(this || N(0, I)), in closed form: (...), nats.

        Example:
            >>> import torch
            >>> from aevb.probability.distributions import TriangularNormal
            >>> d = TriangularNormal(torch.ones(3), torch.zeros(3), torch.zeros(3, 3))
            >>> float(d.kl_to_standard_normal())
            1.5
        """
        return 0.5 * (self.mu.square() + self.variance - 1 - self.logvar).sum(-1)

    def _log_density(self, eps: Tensor) -> Tensor:
        """Return the log-density of the z that ``eps`` became."""
        return -0.5 * (eps.square() + self.logvar + math.log(2 * math.pi)).sum(-1)


class NormalMixture(Distribution):
    """A mixture of C Gaussians: sum_k w_k N(mu_k, diag exp(logvar_k)) over (L,).

    Args:
        log_weights: (C,), the logs of the weights w; they need not be normalised.
        mu: (C, L), the means.
        logvar: (C, L), the logs of the variances.

    Example:
        >>> import torch
        >>> from aevb.probability.distributions import NormalMixture
        >>> centres = torch.tensor([[-1.0], [3.0]])
        >>> d = NormalMixture(torch.zeros(2), centres, torch.zeros(2, 1))
        >>> d.mean.tolist(), d.variance.tolist()
        ([1.0], [5.0])
        >>> d.sample((7,)).shape, d.log_prob(centres).shape
        (torch.Size([7, 1]), torch.Size([2]))
    """

    arg_constraints = {}  # noqa: RUF012

    def __init__(self, log_weights: Tensor, mu: Tensor, logvar: Tensor) -> None:
        self.log_weights, self.mu, self.logvar = log_weights.log_softmax(-1), mu, logvar
        super().__init__(torch.Size(), mu.shape[-1:], validate_args=False)

    @property
    def mean(self) -> Tensor:
        """The mean: (L,)."""
        return self.log_weights.exp() @ self.mu

    @property
    def variance(self) -> Tensor:
        """The variance: (L,)."""
        return self.log_weights.exp() @ (self.logvar.exp() + (self.mu - self.mean).square())

    def sample(self, sample_shape: torch.Size | tuple[int, ...] = ()) -> Tensor:  # type: ignore[override]
        """Draw z: (*sample_shape, L), without a gradient."""
        with torch.no_grad():
            shape = torch.Size(sample_shape)
            component = torch.multinomial(
                self.log_weights.exp(), shape.numel(), replacement=True
            ).reshape(shape)
            return reparameterize(self.mu[component], self.logvar[component])

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-density at z: (..., L) -> (...), nats."""
        # |z - mu|^2 / v is expanded into matrix products, which avoids a tensor of (..., C, L). The
        # expansion loses digits by cancellation; hence float64.
        z, mu, logvar = value.double(), self.mu.double(), self.logvar.double()
        precision = logvar.neg().exp()
        square = (
            z.square() @ precision.T
            - 2 * z @ (mu * precision).T
            + (mu.square() * precision).sum(-1)
        )
        constant = logvar.sum(-1) + self.mu.shape[-1] * math.log(2 * math.pi)
        log_joint = self.log_weights.double() - 0.5 * (square + constant)
        # At logvar -30 even float64 loses hundredths of a nat. The largest component is therefore
        # computed once more, without the expansion. The gradient loses fewer digits, so it is not
        # corrected.
        with torch.no_grad():
            most = log_joint.argmax(-1, keepdim=True)
            straight = ((z - mu[most[..., 0]]).square() * precision[most[..., 0]]).sum(
                -1, keepdim=True
            )
            error = 0.5 * (square.gather(-1, most) - straight)
        log_p = torch.logsumexp(log_joint.scatter_add(-1, most, error), dim=-1)
        return log_p.to(value.dtype)


class TransformedNormal(Distribution):
    """The distribution of mu + exp(logvar/2) u, where ``transform`` takes u to eps ~ N(0, I).

    The inverse of the transform makes draws; the transform itself gives the density.

    Args:
        mu: (..., L), the location.
        logvar: (..., L), the logs of the squared scales.
        transform: an invertible map of (..., L), such as a flow returns.

    Example:
        >>> import torch
        >>> from aevb.probability.distributions import TransformedNormal
        >>> from aevb.probability.flows import Flow
        >>> d = TransformedNormal(torch.zeros(5, 2), torch.zeros(5, 2), Flow(2, spline=True)())
        >>> z = d.rsample((10,))
        >>> z.shape, d.log_prob(z).shape
        (torch.Size([10, 5, 2]), torch.Size([10, 5]))
    """

    arg_constraints = {}  # noqa: RUF012
    has_rsample = True

    def __init__(self, mu: Tensor, logvar: Tensor, transform: Transform) -> None:
        self.mu, self.logvar, self.transform = mu, logvar, transform
        self.base = DiagonalNormal(torch.zeros_like(mu), torch.zeros_like(mu))
        super().__init__(mu.shape[:-1], mu.shape[-1:], validate_args=False)

    def rsample(self, sample_shape: torch.Size | tuple[int, ...] = ()) -> Tensor:  # type: ignore[override]
        """Draw z: (*sample_shape, ..., L), differentiable in every parameter."""
        return self._image(self.base.rsample(sample_shape))

    def rsample_and_log_prob(
        self, sample_shape: torch.Size | tuple[int, ...] = ()
    ) -> tuple[Tensor, Tensor]:
        """Draw z: (*sample_shape, ..., L), and return their log-density too: (*sample_shape, ...).

        The noise eps is known here, so the density needs no second pass through the map.

        Example:
            >>> import torch
            >>> from aevb.probability.distributions import TransformedNormal
            >>> from aevb.probability.flows import Flow
            >>> d = TransformedNormal(torch.zeros(2), torch.zeros(2), Flow(2)())
            >>> z, log_density = d.rsample_and_log_prob((3,))
            >>> torch.allclose(log_density, d.log_prob(z), atol=1e-5)
            True
        """
        straight, z, log_ratio = self.rsample_both(sample_shape)
        return z, self.straight.log_prob(straight) + log_ratio

    @property
    def straight(self) -> DiagonalNormal:
        """The distribution without the transform: N(mu, exp(logvar)).

        Example:
            >>> import torch
            >>> from aevb.probability.distributions import TransformedNormal
            >>> from aevb.probability.flows import Flow
            >>> d = TransformedNormal(torch.zeros(2), torch.zeros(2), Flow(2)())
            >>> d.straight.variance.tolist()
            [1.0, 1.0]
        """
        return DiagonalNormal(self.mu, self.logvar)

    def rsample_both(
        self, sample_shape: torch.Size | tuple[int, ...] = ()
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Draw from ``straight`` and from this distribution, with the same noise.

        Returns:
            s ~ straight: (*sample_shape, ..., L); z ~ this: the same shape; and the difference of
            their log-densities, log q(z) - log straight(s): (*sample_shape, ...), nats.

        Example:
            >>> import torch
            >>> from aevb.probability.distributions import TransformedNormal
            >>> from aevb.probability.flows import Flow
            >>> d = TransformedNormal(torch.zeros(2), torch.zeros(2), Flow(2)())
            >>> s, z, difference = d.rsample_both((3,))
            >>> log_density = d.straight.log_prob(s) + difference
            >>> torch.allclose(log_density, d.log_prob(z), atol=1e-5)
            True
        """
        eps = self.base.rsample(sample_shape)
        u, log_det = self.transform.inv.call_and_ladj(eps)  # type: ignore[attr-defined]
        sigma = torch.exp(0.5 * self.logvar)
        return self.mu + sigma * eps, self.mu + sigma * u, -log_det

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-density at z: (..., L) -> (...), nats."""
        eps, log_det = self.transform.call_and_ladj(  # type: ignore[attr-defined]
            (value - self.mu) * torch.exp(-0.5 * self.logvar)
        )
        log_p: Tensor = self.base.log_prob(eps) + log_det - 0.5 * self.logvar.sum(-1)
        return log_p

    @property
    def mean(self) -> Tensor:
        """The mean: (..., L), estimated from fixed draws, so equal parameters give equal means."""
        return self._fixed_draws().mean(0)

    @property
    def variance(self) -> Tensor:
        """The variance: (..., L), estimated from fixed draws."""
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
    """Draw z: (K, ..., L) from ``d``, differentiably, and return log d(z): (K, ...) too.

    K = ``samples``. A flow and a full Gaussian do both in one pass.

    Example:
        >>> import torch
        >>> from aevb.probability.distributions import DiagonalNormal, rsample_and_log_prob
        >>> d = DiagonalNormal(torch.zeros(5, 2), torch.zeros(5, 2))
        >>> z, log_density = rsample_and_log_prob(d, samples=3)
        >>> z.shape, log_density.shape
        (torch.Size([3, 5, 2]), torch.Size([3, 5]))
    """
    shape = torch.Size((samples,))
    if isinstance(d, TransformedNormal | TriangularNormal):
        return d.rsample_and_log_prob(shape)
    z = d.rsample(shape)
    return z, d.log_prob(z)


@torch.no_grad()
def draw(d: Distribution, shape: tuple[int, ...] = ()) -> Tensor:
    """Draw from ``d`` without a gradient: (*shape, ...).

    Gaussian and Bernoulli draws use ``torch.randn`` and ``torch.rand`` alone. A recorded step
    (``aevb.engine.recording``) replaces these two by noise from outside; torch's own samplers of
    the two distributions use other functions.

    Example:
        >>> import torch
        >>> from torch.distributions import Bernoulli
        >>> from aevb.probability.distributions import draw
        >>> draw(Bernoulli(torch.tensor([0.0, 1.0])), (3,)).tolist()
        [[0.0, 1.0], [0.0, 1.0], [0.0, 1.0]]
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
