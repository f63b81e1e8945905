r"""The variational autoencoder: encoder, posterior, prior, decoder and likelihood put together.

    x -> encoder -> posterior -> q(z|x)      z ~ q(z|x)      z -> decoder -> likelihood -> p(x|z)

For any distribution q,

    log p(x) = E_q[log p(x|z)] - KL(q(z|x) || p(z)) + KL(q(z|x) || p(z|x)).

The last term is never negative, so the first two are a lower bound on log p(x): the ELBO (Kingma &
Welling 2013, equations 1 to 3). The first term rewards codes from which x can be rebuilt. The
second term keeps the codes close to the prior, because the model draws z from the prior when it
generates.
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

    An encoder of your own maps (..., D) to (..., posterior.num_features). A decoder of your own
    maps (..., L) to (..., likelihood.num_features).

    Args:
        data_dim: D, the numbers in a row.
        hidden: widths of the encoder's hidden layers; the decoder has them in reverse. One number
            means two layers of that width.
        latent_dim: L, the dimensions of z.
        activation: relu, tanh, silu or gelu.
        likelihood: p(x|z). Default: a Gaussian of variance 1/2.
        posterior: q(z|x). Default: a diagonal Gaussian.
        prior: p(z). Default: N(0, I).
        encoder: a network. Default: a multi-layer perceptron.
        decoder: a network. Default: a multi-layer perceptron.

    Raises:
        UsageError: a size is below 1, or two parts do not fit each other.

    Example:
        >>> import torch
        >>> from aevb import VAE
        >>> from aevb.parts.likelihoods.bernoulli import Bernoulli
        >>> model = VAE(data_dim=6, hidden=(16, 8), latent_dim=2, likelihood=Bernoulli(6))
        >>> reconstruction, mu, logvar = model(torch.zeros(5, 6))
        >>> reconstruction.shape, mu.shape
        (torch.Size([5, 6]), torch.Size([5, 2]))
    """

    most_likely = False
    """Return the most likely values in place of means. A run of tokens sets it."""

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
        widths = _widths(hidden)
        # The tutorial's code draws its initial weights in the order encoder, posterior, decoder.
        # With the same order here, the same seed gives the same weights.
        if encoder is None:
            encoder = mlp(data_dim, widths, activation=activation)
        if posterior is None:
            posterior = DiagonalGaussian(widths[-1] if widths else data_dim, latent_dim)
        if likelihood is None:
            likelihood = GaussianFixed(data_dim)
        if decoder is None:
            decoder = mlp(latent_dim, widths[::-1], likelihood.num_features, activation)
        if prior is None:
            prior = StandardNormal(latent_dim)
        self.data_dim, self.latent_dim = data_dim, latent_dim
        self.encoder, self.posterior = encoder, posterior
        self.likelihood, self.decoder = likelihood, decoder
        self.prior = prior
        self.prior.connect(self.posterior_given, data_dim)
        _check_that_parts_fit(self)

    # ---------------------------------------------------------------------------------------------
    # from rows to codes and back

    def posterior_given(self, x: Tensor) -> Distribution:
        """Return q(z|x). x: (..., D) -> a distribution over (L,) with batch shape (...).

        Raises:
            DataError: the rows do not have D numbers.

        Example:
            >>> import torch
            >>> from aevb import VAE
            >>> q = VAE(data_dim=3, latent_dim=2).posterior_given(torch.zeros(5, 3))
            >>> q.mean.shape, q.rsample((10,)).shape
            (torch.Size([5, 2]), torch.Size([10, 5, 2]))
        """
        if x.ndim == 0 or x.shape[-1] != self.data_dim:
            raise DataError(
                f"expected rows of {self.data_dim} numbers, (..., {self.data_dim}); got shape"
                f" {tuple(x.shape)}. Pictures? Flatten them: x.flatten(1)."
            )
        h: Distribution = self.posterior(self.encoder(x))
        return h

    def likelihood_given(self, z: Tensor) -> Distribution:
        """Return p(x|z). z: (..., L) -> a distribution over (D,) with batch shape (...).

        Example:
            >>> import torch
            >>> from aevb import VAE
            >>> p = VAE(data_dim=3, latent_dim=2).likelihood_given(torch.zeros(5, 2))
            >>> p.log_prob(torch.zeros(5, 3)).shape
            torch.Size([5])
        """
        p: Distribution = self.likelihood(self.decoder(z))
        return p

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return mu and logvar of q(z|x). x: (B, D) -> (B, L) each.

        Raises:
            UsageError: the posterior is not a diagonal Gaussian.

        Example:
            >>> import torch
            >>> from aevb import VAE
            >>> mu, logvar = VAE(data_dim=3, latent_dim=2).encode(torch.zeros(5, 3))
            >>> mu.shape, logvar.shape
            (torch.Size([5, 2]), torch.Size([5, 2]))
        """
        q = self.posterior_given(x)
        if not isinstance(q, DiagonalNormal):
            raise UsageError(
                "encode gives mu and logvar of a diagonal Gaussian; for this posterior use"
                " posterior_given(x)"
            )
        return q.mu, q.logvar

    def reparameterize(self, mu: Tensor, logvar: Tensor) -> Tensor:
        """Draw z ~ N(mu, exp(logvar)), differentiable in both. mu, logvar: (..., L) -> (..., L).

        Example:
            >>> import torch
            >>> from aevb import VAE
            >>> z = VAE(latent_dim=2).reparameterize(torch.ones(5, 2), torch.full((5, 2), -30.0))
            >>> bool((z - 1).abs().max() < 1e-5)
            True
        """
        return reparameterize(mu, logvar)

    def decode(self, z: Tensor) -> Tensor:
        """Return the mean of p(x|z). z: (..., L) -> (..., D).

        Example:
            >>> import torch
            >>> from aevb import VAE
            >>> VAE(data_dim=3, latent_dim=2).decode(torch.zeros(5, 2)).shape
            torch.Size([5, 3])
        """
        return self._centre(self.likelihood_given(z))

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return a reconstruction from one draw of z, and mu and logvar of q(z|x).

        x: (B, D) -> (B, D), (B, L), (B, L).

        Example:
            >>> import torch
            >>> from aevb import VAE, vae_loss
            >>> x = torch.zeros(5, 3)
            >>> reconstruction, mu, logvar = VAE(data_dim=3)(x)
            >>> loss, error, kl = vae_loss(reconstruction, x, mu, logvar)
            >>> bool(torch.isclose(loss, error + kl))
            True
        """
        mu, logvar = self.encode(x)
        return self.decode(self.reparameterize(mu, logvar)), mu, logvar

    @torch.no_grad()
    def reconstruct(self, x: Tensor) -> Tensor:
        """Decode the mean of q(z|x), without noise and without a gradient. x: (B, D) -> (B, D).

        Example:
            >>> import torch
            >>> from aevb import VAE
            >>> model, x = VAE(data_dim=3), torch.zeros(5, 3)
            >>> torch.equal(model.reconstruct(x), model.reconstruct(x))
            True
        """
        return self.decode(self.posterior_given(x).mean)

    # ---------------------------------------------------------------------------------------------
    # generating

    @torch.no_grad()
    def sample(self, n: int, *, noise: bool = False) -> Tensor:
        """Draw z ~ p(z) and return the means of p(x|z), or draws from it if ``noise``: (n, D).

        Example:
            >>> import torch
            >>> from aevb import VAE
            >>> model = VAE(data_dim=3)
            >>> model.sample(4).shape, model.sample(4, noise=True).shape
            (torch.Size([4, 3]), torch.Size([4, 3]))
        """
        p = self.likelihood_given(self.prior().sample(torch.Size((n,))))
        return p.sample() if noise else self._centre(p)

    def _centre(self, p: Distribution) -> Tensor:
        centre: Tensor = p.mode if self.most_likely else p.mean
        return centre

    @torch.no_grad()
    def sample_joint(self, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """Draw z ~ p(z) and x ~ p(x|z), without a gradient: (*shape, L) and (*shape, D).

        Example:
            >>> from aevb import VAE
            >>> z, x = VAE(data_dim=3, latent_dim=2).sample_joint((4, 5))
            >>> z.shape, x.shape
            (torch.Size([4, 5, 2]), torch.Size([4, 5, 3]))
        """
        z = draw(self.prior(), shape)
        return z, draw(self.likelihood_given(z))

    # ---------------------------------------------------------------------------------------------
    # the terms of the bounds

    def log_joint(self, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return log p(x|z) and log p(z). x: (B, D), z: (..., B, L) -> (..., B) each, nats.

        Example:
            >>> import torch
            >>> from aevb import VAE
            >>> model = VAE(data_dim=3, latent_dim=2)
            >>> log_likelihood, log_prior = model.log_joint(torch.zeros(5, 3), torch.zeros(5, 2))
            >>> [round(float(value), 4) for value in log_prior[:2]]
            [-1.8379, -1.8379]
        """
        return self.likelihood_given(z).log_prob(x), self.prior().log_prob(z)

    def log_weights(self, x: Tensor, samples: int = 1) -> Tensor:
        """Return log p(x, z) - log q(z|x) for K = ``samples`` draws of z from q(z|x).

        x: (B, D) -> (K, B), nats. The mean over K is the ELBO. The log of the mean of the
        exponentials is the importance-weighted bound.

        Example:
            >>> import torch
            >>> from aevb import VAE
            >>> log_w = VAE(data_dim=3).log_weights(torch.zeros(5, 3), samples=10)
            >>> bound = log_w.logsumexp(0) - torch.tensor(10.0).log()
            >>> bool((bound >= log_w.mean(0)).all())
            True
        """
        z, log_q = rsample_and_log_prob(self.posterior_given(x), samples)
        reconstruction, log_prior = self.log_joint(x, z)
        return reconstruction + log_prior - log_q

    def elbo_terms(self, x: Tensor, samples: int = 1) -> tuple[Tensor, Tensor]:
        """Return the two terms of the ELBO for each row, from ``samples`` draws of z from q(z|x).

        The KL has a closed form if the prior is N(0, I) and q is Gaussian (estimator B of the
        paper, equations 7 and 10). Otherwise it is estimated from the same draws as the first term
        (estimator A, equation 6). A flow under N(0, I) is a special case, because it transforms a
        Gaussian: the Gaussian's KL is exact, and only the change due to the transform is estimated
        from the draws. This avoids most of the noise.

        Args:
            x: (B, D).
            samples: draws of z per row.

        Returns:
            E_q[log p(x|z)]: (B,), and KL(q(z|x) || p(z)): (B, L), per dimension, for a diagonal
            Gaussian with a closed form, else (B, 1). Both in nats.

        Example:
            >>> import torch
            >>> from aevb import VAE
            >>> reconstruction, kl = VAE(data_dim=3, latent_dim=2).elbo_terms(torch.zeros(5, 3))
            >>> elbo = reconstruction - kl.sum(-1)
            >>> elbo.shape, bool((kl >= 0).all())
            (torch.Size([5]), True)
        """
        q = self.posterior_given(x)
        if isinstance(self.prior, StandardNormal):
            if isinstance(q, DiagonalNormal):
                return self._terms_of_diagonal(q, x, samples)
            if isinstance(q, TriangularNormal):
                return self._terms_of_triangular(q, x, samples)
            if isinstance(q, TransformedNormal):
                return self._terms_of_flow(q, x, samples)
        return self._terms_of_draws(q, x, samples)

    def _terms_of_diagonal(
        self, q: DiagonalNormal, x: Tensor, samples: int
    ) -> tuple[Tensor, Tensor]:
        # A single draw has no axis for draws: in a small network, views and sums over that axis
        # would take a tenth of the time of a step.
        z = q.rsample((samples,) if samples > 1 else ())
        reconstruction = self.likelihood_given(z).log_prob(x)
        if samples > 1:
            reconstruction = reconstruction.mean(0)
        return reconstruction, kl_per_dimension(q.mu, q.logvar)

    def _terms_of_triangular(
        self, q: TriangularNormal, x: Tensor, samples: int
    ) -> tuple[Tensor, Tensor]:
        reconstruction = self.likelihood_given(q.rsample((samples,))).log_prob(x)
        return reconstruction.mean(0), q.kl_to_standard_normal().unsqueeze(-1)

    def _terms_of_flow(
        self, q: TransformedNormal, x: Tensor, samples: int
    ) -> tuple[Tensor, Tensor]:
        straight, z, log_ratio = q.rsample_both((samples,))
        reconstruction, log_prior = self.log_joint(x, z)
        added = log_ratio - log_prior + self.prior().log_prob(straight)
        kl = kl_per_dimension(q.mu, q.logvar).sum(-1) + added.mean(0)
        return reconstruction.mean(0), kl.unsqueeze(-1)

    def _terms_of_draws(self, q: Distribution, x: Tensor, samples: int) -> tuple[Tensor, Tensor]:
        z, log_q = rsample_and_log_prob(q, samples)
        reconstruction, log_prior = self.log_joint(x, z)
        return reconstruction.mean(0), (log_q - log_prior).mean(0).unsqueeze(-1)

    def penalty(self) -> Tensor | None:
        """Return what the prior of the likelihood's weights adds to a loss: (), or None.

        Example:
            >>> from aevb import VAE
            >>> VAE().penalty() is None
            True
        """
        penalty: Tensor | None = self.likelihood.penalty()
        return penalty

    def posterior_and_frozen(self, x: Tensor) -> tuple[Distribution, FrozenPosterior]:
        """Return q(z|x), and its density with all parameters held constant. x: (..., D).

        A gradient passes through the frozen density to z alone. The gradient estimators of
        ``aevb.parts.objectives.importance`` need that.

        Example:
            >>> import torch
            >>> from aevb import VAE
            >>> q, frozen = VAE(data_dim=3).posterior_and_frozen(torch.zeros(5, 3))
            >>> z = q.sample()
            >>> torch.allclose(q.log_prob(z), frozen.log_prob(z))
            True
            >>> q.log_prob(z).requires_grad, frozen.log_prob(z).requires_grad
            (True, False)
        """
        h = self.encoder(x)
        return self.posterior(h), FrozenPosterior(self.posterior, h.detach())

    @contextmanager
    def in_evaluation(self) -> Iterator[None]:
        """Put every part into evaluation mode for a ``with`` block, then restore each part's mode.

        Inside the block, no part updates anything from the batches that it sees.

        Example:
            >>> from aevb import VAE
            >>> model = VAE()
            >>> with model.in_evaluation():
            ...     print(model.training)
            False
            >>> model.training
            True
        """
        training = {module: module.training for module in self.modules()}
        self.eval()
        try:
            yield
        finally:
            for module, mode in training.items():
                module.training = mode


class FrozenPosterior:
    """log q(z|x) for given features h: (..., F); no gradient reaches the posterior's parameters.

    Example:
        >>> import torch
        >>> from aevb.model import FrozenPosterior
        >>> from aevb.parts.posteriors.gaussian import DiagonalGaussian
        >>> frozen = FrozenPosterior(DiagonalGaussian(8, 2), torch.zeros(5, 8))
        >>> frozen.log_prob(torch.zeros(5, 2)).requires_grad
        False
    """

    def __init__(self, posterior: Posterior, h: Tensor) -> None:
        self.posterior, self.h = posterior, h

    def log_prob(self, z: Tensor) -> Tensor:
        """Return the log-density at z: (..., L) -> (...), nats."""
        # The whole density is evaluated in one call with constant parameters, because a flow reads
        # its parameters only when its density is evaluated.
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


def _size(name: str, value: Any) -> int:
    try:
        size = index(value)
    except TypeError:
        size = 0
    if size < 1:
        raise UsageError(f"{name} must be an integer of at least 1; got {value!r}")
    return size


def _widths(hidden: int | Sequence[int]) -> list[int]:
    """The widths of the hidden layers; one number stands for two layers of that width."""
    each = hidden if isinstance(hidden, list | tuple) else (hidden, hidden)
    return [_size("hidden", width) for width in each]


def _check_that_parts_fit(model: VAE) -> None:
    """Send two rows of zeros through every part. Raises UsageError if two widths do not fit."""
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
                    f"the {name} cannot take the output of the part before it: {first}"
                ) from error
            if shape != expected:
                raise UsageError(
                    f"the {name} gives shape {shape} where {expected} is expected, for 2 rows;"
                    " check its width"
                )
