r"""The variational autoencoder: prior, encoder, posterior, decoder and likelihood, put together.

    x -> encoder -> posterior -> q(z|x)          z ~ q(z|x)          z -> decoder -> likelihood -> p(x|z)

For any q, log p(x) = E_q[log p(x|z)] - KL(q(z|x) || p(z)) + KL(q(z|x) || p(z|x)). The last term is not negative, so the
first two are a lower bound on log p(x), the ELBO (Kingma & Welling 2013, equations 1 to 3): the first rewards codes from
which x can be rebuilt, the second keeps them where the prior will look for them when the model generates.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Distribution

from aevb.errors import DataError, UsageError
from aevb.interfaces import Likelihood, Posterior, Prior
from aevb.likelihoods.gaussian import GaussianFixed
from aevb.networks import mlp
from aevb.posteriors.gaussian import DiagonalGaussian, DiagonalNormal, kl_per_dimension, reparameterize
from aevb.priors.standard_normal import StandardNormal


class VAE(nn.Module):
    """A variational autoencoder on rows of ``data_dim`` numbers.

    data_dim: D. latent_dim: L. hidden: widths of the encoder's hidden layers, mirrored in the decoder; one number means
    two layers of that width. activation: relu, tanh, silu or gelu.

    ``likelihood``, ``posterior``, ``prior``, ``encoder`` and ``decoder`` replace the parts: by default a Gaussian of
    variance 1/2, a diagonal Gaussian, N(0, I) and two multi-layer perceptrons. An encoder of one's own maps (..., D) to
    (..., posterior.num_features), a decoder (..., L) to (..., likelihood.num_features).

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
        widths = [hidden, hidden] if isinstance(hidden, int) else list(hidden)
        for name, size in [
            ("data_dim", data_dim),
            ("latent_dim", latent_dim),
            *(("hidden", width) for width in widths),
        ]:
            if size < 1:
                raise UsageError(f"{name} must be at least 1; got {size}")
        self.data_dim, self.latent_dim = data_dim, latent_dim
        # Encoder, posterior, decoder: this order draws the tutorial's initial weights from the tutorial's seed.
        self.encoder = encoder or mlp(data_dim, widths, activation=activation)
        self.posterior = posterior or DiagonalGaussian(widths[-1] if widths else data_dim, latent_dim)
        self.likelihood = likelihood or GaussianFixed(data_dim)
        self.decoder = decoder or mlp(latent_dim, widths[::-1], self.likelihood.num_features, activation)
        self.prior = prior or StandardNormal(latent_dim)

    def posterior_given(self, x: Tensor) -> Distribution:
        """q(z|x). x: (..., D) -> distribution over (L,) with batch shape (...)."""
        if x.ndim == 0 or x.shape[-1] != self.data_dim:
            raise DataError(
                f"expected rows of {self.data_dim} numbers, (..., {self.data_dim}); got shape {tuple(x.shape)}. "
                "Pictures? Flatten them: x.flatten(1)."
            )
        h: Distribution = self.posterior(self.encoder(x))
        return h

    def likelihood_given(self, z: Tensor) -> Distribution:
        """p(x|z). z: (..., L) -> distribution over (D,) with batch shape (...)."""
        p: Distribution = self.likelihood(self.decoder(z))
        return p

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """x: (B, D) -> mu, logvar of q(z|x): (B, L) each. Raises UsageError if the posterior is not a diagonal Gaussian."""
        q = self.posterior_given(x)
        if not isinstance(q, DiagonalNormal):
            raise UsageError("encode gives mu and logvar of a diagonal Gaussian; for this posterior use posterior_given(x)")
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

    def elbo_terms(self, x: Tensor, samples: int = 1) -> tuple[Tensor, Tensor]:
        """Return the two terms of the ELBO for each row, with ``samples`` draws of z from q(z|x). x: (B, D).

        Returns E_q[log p(x|z)]: (B,) and the KL from q(z|x) to the prior: (B, L) per dimension where it has a closed form
        (estimator B of the paper, equation 10), else (B, 1), from the same draws (estimator A, equation 6); nats.
        """
        q = self.posterior_given(x)
        z = q.rsample(torch.Size((samples,)))
        reconstruction = self.likelihood_given(z).log_prob(x).mean(0)
        if isinstance(q, DiagonalNormal) and isinstance(self.prior, StandardNormal):
            return reconstruction, kl_per_dimension(q.mu, q.logvar)
        return reconstruction, (q.log_prob(z) - self.prior().log_prob(z)).mean(0).unsqueeze(-1)

    @torch.no_grad()
    def sample(self, n: int, *, noise: bool = False) -> Tensor:
        """Draw z ~ p(z) and return the means of p(x|z), or draws from it if ``noise``: (n, D)."""
        p = self.likelihood_given(self.prior().sample(torch.Size((n,))))
        return p.sample() if noise else p.mean

    @torch.no_grad()
    def reconstruct(self, x: Tensor) -> Tensor:
        """x: (B, D) -> decode(mean of q(z|x)): (B, D). Deterministic: the mean, not a sample."""
        return self.decode(self.posterior_given(x).mean)
