r"""The variational autoencoder: prior, encoder, posterior, decoder and likelihood, put together.

    x -> encoder -> posterior -> q(z|x)          z ~ q(z|x)          z -> decoder -> likelihood -> p(x|z)

For any q, log p(x) = E_q[log p(x|z)] - KL(q(z|x) || p(z)) + KL(q(z|x) || p(z|x)). The last term is not negative, so the
first two are a lower bound on log p(x), the ELBO (Kingma & Welling 2013, equations 1 to 3): the first rewards codes from
which x can be rebuilt, the second keeps them where the prior will look for them when the model generates.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from operator import index
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from aevb.errors import DataError, UsageError
from aevb.interfaces import Likelihood, Posterior, Prior
from aevb.parts.likelihoods.gaussian import GaussianFixed
from aevb.parts.networks.mlp import mlp
from aevb.parts.posteriors.gaussian import DiagonalGaussian, kl_per_dimension
from aevb.parts.priors.standard_normal import StandardNormal
from aevb.probability.distributions import (
    DiagonalNormal,
    TransformedNormal,
    TriangularNormal,
    draw,
    reparameterize,
    rsample_and_log_prob,
)


class VAE(nn.Module):
    """A variational autoencoder on rows of ``data_dim`` numbers.

    data_dim: D. latent_dim: L. hidden: widths of the encoder's hidden layers, mirrored in the
    decoder; one number means two layers of that width. activation: relu, tanh, silu or gelu.

    ``likelihood``, ``posterior``, ``prior``, ``encoder`` and ``decoder`` replace the parts: by
    default a Gaussian of variance 1/2, a diagonal Gaussian, N(0, I) and two multi-layer
    perceptrons. An encoder of one's own maps (..., D) to (..., posterior.num_features), a decoder
    (..., L) to (..., likelihood.num_features).

    Raises UsageError for sizes below 1 and for parts that do not fit each other.
    """

    def __init__(
        self,
        data_dim: int = 2,
        hidden: int | Sequence[int] = 64,
        latent_dim: int = 2,
        *,
        activation: str = "relu",
        likelihood: Likelihood | None = None,
        posterior: Posterior | None = None,
        prior: Prior | None = None,
        encoder: nn.Module | None = None,
        decoder: nn.Module | None = None,
    ) -> None:
        super().__init__()
        data_dim, latent_dim = _size("data_dim", data_dim), _size("latent_dim", latent_dim)
        # One width or several, so that VAE(2, 64, 2) can be typed from memory.
        widths = [
            _size("hidden", width)
            for width in (hidden if isinstance(hidden, list | tuple) else (hidden, hidden))
        ]
        self.data_dim, self.latent_dim = data_dim, latent_dim
        # Encoder, posterior, decoder: this order draws the tutorial's initial weights from the
        # tutorial's seed.
        self.encoder = mlp(data_dim, widths, activation=activation) if encoder is None else encoder
        self.posterior = (
            DiagonalGaussian(widths[-1] if widths else data_dim, latent_dim)
            if posterior is None
            else posterior
        )
        self.likelihood = GaussianFixed(data_dim) if likelihood is None else likelihood
        features = self.likelihood.num_features
        self.decoder = (
            mlp(latent_dim, widths[::-1], features, activation) if decoder is None else decoder
        )
        self.prior = StandardNormal(latent_dim) if prior is None else prior
        self.prior.connect(self.posterior_given, data_dim)
        _check_that_parts_fit(self)

    def posterior_given(self, x: Tensor) -> Distribution:
        """q(z|x). x: (..., D) -> distribution over (L,) with batch shape (...)."""
        if x.ndim == 0 or x.shape[-1] != self.data_dim:
            raise DataError(
                f"expected rows of {self.data_dim} numbers, (..., {self.data_dim}); got shape"
                f" {tuple(x.shape)}. Pictures? Flatten them: x.flatten(1)."
            )
        h: Distribution = self.posterior(self.encoder(x))
        return h

    def likelihood_given(self, z: Tensor) -> Distribution:
        """p(x|z). z: (..., L) -> distribution over (D,) with batch shape (...)."""
        p: Distribution = self.likelihood(self.decoder(z))
        return p

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x: (B, D) -> mu, logvar of q(z|x): (B, L) each. Raises UsageError if the posterior is not
        a diagonal Gaussian."""
        q = self.posterior_given(x)
        if not isinstance(q, DiagonalNormal):
            raise UsageError(
                "encode gives mu and logvar of a diagonal Gaussian; for this posterior use"
                " posterior_given(x)"
            )
        return q.mu, q.logvar

    def reparameterize(self, mu: Tensor, logvar: Tensor) -> Tensor:
        """mu, logvar: (..., L) -> z ~ N(mu, exp(logvar)): (..., L), differentiable in both."""
        return reparameterize(mu, logvar)

    def decode(self, z: Tensor) -> Tensor:
        """z: (..., L) -> mean of p(x|z): (..., D)."""
        mean: Tensor = self.likelihood_given(z).mean
        return mean

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """x: (B, D) -> reconstruction (B, D) from one sample z, mu (B, L), logvar (B, L)."""
        mu, logvar = self.encode(x)
        return self.decode(self.reparameterize(mu, logvar)), mu, logvar

    def posterior_and_frozen(self, x: Tensor) -> tuple[Distribution, Frozen]:
        """q(z|x), and its density as a constant of its parameters, but not of the z at which it is taken.

        Gradient estimators that go through z alone need the second (``objectives/importance.py``).
        x: (..., D).
        """
        h = self.encoder(x)
        return self.posterior(h), Frozen(self.posterior, h.detach())

    def log_joint(self, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """x: (B, D), z: (..., B, L) -> log p(x|z) and log p(z): (..., B) each, nats."""
        return self.likelihood_given(z).log_prob(x), self.prior().log_prob(z)

    def log_weights(self, x: Tensor, samples: int = 1) -> Tensor:
        """log p(x, z) - log q(z|x) for draws of z from q(z|x). x: (B, D) -> (K, B), nats; K = ``samples``.

        Their mean over K is the ELBO, the log of the mean of their exponentials the
        importance-weighted bound.
        """
        z, log_q = rsample_and_log_prob(self.posterior_given(x), samples)
        reconstruction, log_prior = self.log_joint(x, z)
        return reconstruction + log_prior - log_q

    def elbo_terms(self, x: Tensor, samples: int = 1) -> tuple[Tensor, Tensor]:
        """Return the two terms of the ELBO for each row, with ``samples`` draws of z from q(z|x). x: (B, D).

        Returns E_q[log p(x|z)]: (B,) and the KL from q(z|x) to the prior: (B, L) per dimension where it has a closed form
        (estimator B of the paper, equation 10), else (B, 1), from the same draws (estimator A, equation 6); nats. Of a flow
        out of a Gaussian only what it adds to the Gaussian's KL is drawn: without the noise of the rest, which was nearly all.
        """
        q = self.posterior_given(x)
        if isinstance(q, TransformedNormal) and isinstance(self.prior, StandardNormal):
            straight, z, log_ratio = q.rsample_both((samples,))
            reconstruction, log_prior = self.log_joint(x, z)
            added = log_ratio - log_prior + self.prior().log_prob(straight)
            kl = kl_per_dimension(q.mu, q.logvar).sum(-1) + added.mean(0)
            return reconstruction.mean(0), kl.unsqueeze(-1)
        if isinstance(q, DiagonalNormal) and isinstance(self.prior, StandardNormal):
            # One draw needs no axis of its own: views and sums over it are a tenth of a small
            # network's step.
            z = q.rsample((samples,) if samples > 1 else ())
            reconstruction = self.likelihood_given(z).log_prob(x)
            return reconstruction.mean(0) if samples > 1 else reconstruction, kl_per_dimension(
                q.mu, q.logvar
            )
        z, log_q = rsample_and_log_prob(q, samples)
        reconstruction, log_prior = self.log_joint(x, z)
        if isinstance(q, TriangularNormal) and isinstance(self.prior, StandardNormal):
            return reconstruction.mean(0), q.kl_from_standard().unsqueeze(-1)
        return reconstruction.mean(0), (log_q - log_prior).mean(0).unsqueeze(-1)

    @torch.no_grad()
    def sample_joint(self, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """Draw z ~ p(z) and x ~ p(x|z), without a gradient: (*shape, L) and (*shape, D)."""
        z = draw(self.prior(), shape)
        return z, draw(self.likelihood_given(z))

    @torch.no_grad()
    def sample(self, n: int, *, noise: bool = False) -> Tensor:
        """Draw z ~ p(z) and return the means of p(x|z), or draws from it if ``noise``: (n, D)."""
        p = self.likelihood_given(self.prior().sample(torch.Size((n,))))
        return p.sample() if noise else p.mean

    @torch.no_grad()
    def reconstruct(self, x: Tensor) -> Tensor:
        """x: (B, D) -> decode(mean of q(z|x)): (B, D). Deterministic: the mean, not a sample."""
        return self.decode(self.posterior_given(x).mean)

    @contextmanager
    def in_evaluation(self) -> Iterator[None]:
        """Every part in evaluation mode, so that what is learned from batches stands still; then
        each as it was."""
        training = {module: module.training for module in self.modules()}
        self.eval()
        try:
            yield
        finally:
            for module, mode in training.items():
                module.training = mode


def _size(name: str, value: Any) -> int:
    try:
        size = index(value)
    except TypeError:
        size = 0
    if size < 1:
        raise UsageError(f"{name} must be an integer of at least 1; got {value!r}")
    return size


class Frozen:
    """log q(z|x) of features h: (..., F), in which no gradient reaches the posterior's parameters."""

    def __init__(self, posterior: Posterior, h: Tensor) -> None:
        self.posterior, self.h = posterior, h

    def log_prob(self, z: Tensor) -> Tensor:
        """z: (..., L) -> (...), nats."""
        # Called as a whole: a flow reads its parameters only when its density is taken.
        density = _Density(self.posterior)
        constants = {name: value.detach() for name, value in density.named_parameters()}
        log_q: Tensor = torch.func.functional_call(density, constants, (self.h, z))
        return log_q


class _Density(nn.Module):
    def __init__(self, posterior: Posterior) -> None:
        super().__init__()
        self.posterior = posterior

    def forward(self, h: Tensor, z: Tensor) -> Tensor:
        log_q: Tensor = self.posterior(h).log_prob(z)
        return log_q


def _check_that_parts_fit(model: VAE) -> None:
    """Send two rows of zeros through every part. Raises UsageError for widths that do not fit each
    other."""
    like = next(iter(model.parameters()), torch.empty(0))
    x = torch.zeros(2, model.data_dim, dtype=like.dtype, device=like.device)
    z = torch.zeros(2, model.latent_dim, dtype=like.dtype, device=like.device)
    parts: list[tuple[str, Callable[[], tuple[int, ...]], tuple[int, ...]]] = [
        ("encoder", lambda: model.encoder(x).shape, (2, model.posterior.num_features)),
        ("posterior", lambda: model.posterior_given(x).rsample().shape, (2, model.latent_dim)),
        ("decoder", lambda: model.decoder(z).shape, (2, model.likelihood.num_features)),
        ("likelihood", lambda: model.likelihood_given(z).mean.shape, (2, model.data_dim)),
        ("prior", lambda: model.prior().sample().shape, (model.latent_dim,)),
    ]
    with model.in_evaluation(), torch.no_grad(), torch.random.fork_rng():
        for name, run, expected in parts:
            try:
                shape = tuple(run())
            except (RuntimeError, NotImplementedError) as error:
                first = (str(error) or type(error).__name__).splitlines()[0]
                raise UsageError(
                    f"the {name} cannot take what the part before it gives: {first}"
                ) from error
            if shape != expected:
                raise UsageError(
                    f"the {name} gives shape {shape} where {expected} is expected, for 2 rows;"
                    " check its width"
                )
