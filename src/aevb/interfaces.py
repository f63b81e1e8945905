"""The interfaces of aevb: one base class for each kind of part that you can replace.

A variational autoencoder (``aevb.VAE``) has five parts, and an objective trains it:

    x -> encoder -> Posterior -> q(z|x)        an encoder maps rows to features
    z -> decoder -> Likelihood -> p(x|z)       a decoder maps latent vectors to features
                    Prior     -> p(z)
    Objective(model, x) -> Estimate            a loss to differentiate, and figures to report

Encoder and decoder are ordinary networks. A likelihood, a posterior and a prior are modules whose
``forward`` returns a ``torch.distributions.Distribution``; there is no further abstraction. No part
depends on the class of another part, and an objective uses them only through ``Model``. Therefore
any likelihood works with any posterior, any prior and any objective.

To add a part of your own, derive from its class here and write the methods marked as abstract. The
example in each class is complete: it defines a part and uses it. docs/extending.md shows how a part
gets a name for the command line.

Shapes, here and in every docstring of the package:

    K  importance samples        B  rows of a batch        N  rows of a data set
    L  latent dimensions         D  data dimensions        ...  any leading dimensions

Units: every log-density, bound and divergence is in nats. A density is the density of one row.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import ClassVar, NamedTuple, Protocol

from torch import Tensor, nn
from torch.distributions import Distribution


class Likelihood(nn.Module, ABC):
    """p(x|z): turns the decoder's features into a distribution over one row of data.

    Attributes:
        num_features: how many numbers the decoder must emit for one row.
        discrete: True if ``log_prob`` is the log of a probability; False if it is the log of a
            density, which has units of 1/x.
        form: which numbers x may be. "real": any, standardised. "unit": between 0 and 1. "levels":
            k / (levels - 1) for the integers 0 <= k < levels; the constructor then takes
            (data_dim, levels), otherwise (data_dim). "counts": the integers 0, 1, 2, ... up to
            2^24, as they are; the encoder sees their logarithms. "columns": each column has a
            family of its own, as ``aevb.probability.factors`` says; the constructor takes these.
        nominal: True if the levels are names without an order. The encoder then sees an indicator
            for each level.
        of_batch: True if the loss of a row depends on the other rows of its batch.

    Example:
        >>> import torch
        >>> from torch.distributions import Independent, Laplace
        >>> from aevb import VAE
        >>> from aevb.interfaces import Likelihood
        >>> class LaplaceLikelihood(Likelihood):
        ...     discrete = False
        ...
        ...     def __init__(self, data_dim):
        ...         super().__init__()
        ...         self.num_features = data_dim
        ...
        ...     def forward(self, h):
        ...         return Independent(Laplace(h, 1.0), 1)
        ...
        ...     def check(self, x):
        ...         pass  # every real number will do
        >>> model = VAE(data_dim=3, likelihood=LaplaceLikelihood(3))
        >>> model.likelihood_given(torch.zeros(5, 2)).log_prob(torch.zeros(5, 3)).shape
        torch.Size([5])
    """

    num_features: int
    discrete: bool
    form: ClassVar[str] = "real"
    nominal: ClassVar[bool] = False
    of_batch: ClassVar[bool] = False

    @abstractmethod
    def forward(self, h: Tensor) -> Distribution:
        """Return p(x|z) for the decoder's features.

        h: (..., num_features) -> a distribution with batch shape (...) and event shape (D,).
        """

    @abstractmethod
    def check(self, x: Tensor) -> None:
        """Raise DataError if a value of x: (N, D) lies outside the support.

        The package calls this when it loads a data set, on one part of the rows after another. It
        never calls it in a training step.
        """

    def initialise(self, x: Tensor) -> None:
        """Set the first values of parameters and buffers from some training rows x: (N, D).

        The default does nothing.
        """

    def penalty(self) -> Tensor | None:
        """Minus the log of a prior of the weights, in nats for each training row: ().

        An objective adds it to its loss. The default is None: all weights are equally likely.
        """
        return None

    @property
    def noise(self) -> Tensor | None:
        """The standard deviation of x given z, () or (D,), if it is the same for every z.

        None if it depends on z, or if the likelihood has no such number.
        """
        return None


class Posterior(nn.Module, ABC):
    """q(z|x): turns the encoder's features into a distribution over the latent vector of one row.

    Attributes:
        num_features: how many numbers the encoder emits for one row.

    Example:
        >>> import torch
        >>> from torch import nn
        >>> from torch.distributions import Independent, Normal
        >>> from aevb import VAE
        >>> from aevb.interfaces import Posterior
        >>> class UnitVariance(Posterior):
        ...     def __init__(self, num_features, latent_dim):
        ...         super().__init__()
        ...         self.num_features = num_features
        ...         self.mean = nn.Linear(num_features, latent_dim)
        ...
        ...     def forward(self, h):
        ...         return Independent(Normal(self.mean(h), 1.0), 1)
        >>> model = VAE(data_dim=3, hidden=8, latent_dim=2, posterior=UnitVariance(8, 2))
        >>> model.posterior_given(torch.zeros(5, 3)).rsample().shape
        torch.Size([5, 2])
    """

    num_features: int

    @abstractmethod
    def forward(self, h: Tensor) -> Distribution:
        """Return q(z|x) for the encoder's features.

        h: (..., num_features) -> a distribution with batch shape (...) and event shape (L,). It
        must have ``rsample``, so that a gradient can pass through its draws.
        """


class Prior(nn.Module, ABC):
    """p(z): the distribution of the latent vector before any data are seen.

    Attributes:
        after_training: True if the prior is only fitted to the codes of a trained model, because
            its density is too slow for every step of a training.

    Example:
        >>> import torch
        >>> from torch.distributions import Independent, StudentT
        >>> from aevb import VAE
        >>> from aevb.interfaces import Prior
        >>> class HeavyTails(Prior):
        ...     def __init__(self, latent_dim):
        ...         super().__init__()
        ...         self.latent_dim = latent_dim
        ...
        ...     def forward(self):
        ...         return Independent(StudentT(torch.full((self.latent_dim,), 5.0)), 1)
        >>> VAE(data_dim=3, latent_dim=2, prior=HeavyTails(2)).sample(4).shape
        torch.Size([4, 3])
    """

    after_training: ClassVar[bool] = False

    @abstractmethod
    def forward(self) -> Distribution:
        """Return the distribution over one latent vector: batch shape (), event shape (L,)."""

    def connect(self, posterior_given: Callable[[Tensor], Distribution], data_dim: int) -> None:
        """Receive the model's q(z|x) and D. A VAE calls this once, when it is made.

        A prior that is a mixture of posteriors overrides this. The default does nothing.
        """

    def initialise(self, x: Tensor) -> None:
        """Set the first values of the parameters from some training rows x: (N, D).

        Random choices use torch's global generator. The default does nothing.
        """


class Density(Protocol):
    """A log-density that can be evaluated at given points.

    Example:
        >>> import torch
        >>> from aevb import VAE
        >>> density = VAE(latent_dim=2).prior()
        >>> round(float(density.log_prob(torch.zeros(2))), 4)
        -1.8379
    """

    def log_prob(self, z: Tensor) -> Tensor:
        """Return the log-density at z: (..., L) -> (...), nats."""


class Model(Protocol):
    """The methods of a model that an objective may use. ``aevb.VAE`` has all of them.

    Example:
        >>> import torch
        >>> from aevb import VAE
        >>> model, x = VAE(data_dim=3, latent_dim=2), torch.zeros(5, 3)
        >>> reconstruction, kl = model.elbo_terms(x)
        >>> reconstruction.shape, kl.shape
        (torch.Size([5]), torch.Size([5, 2]))
    """

    latent_dim: int

    def posterior_given(self, x: Tensor) -> Distribution:
        """Return q(z|x). x: (..., D) -> a distribution over (L,) with batch shape (...)."""

    def posterior_and_frozen(self, x: Tensor) -> tuple[Distribution, Density]:
        """Return q(z|x), and its density with all parameters held constant.

        A gradient passes through the frozen density to z alone. x: (..., D).
        """

    def log_joint(self, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return log p(x|z) and log p(z). x: (B, D), z: (..., B, L) -> (..., B) each, nats."""

    def sample_joint(self, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """Draw z ~ p(z) and x ~ p(x|z), without a gradient: (*shape, L) and (*shape, D)."""

    def log_weights(self, x: Tensor, samples: int = 1) -> Tensor:
        """Return log p(x, z) - log q(z|x) for K = ``samples`` draws of z from q(z|x).

        x: (B, D) -> (K, B), nats.
        """

    def elbo_terms(self, x: Tensor, samples: int = 1) -> tuple[Tensor, Tensor]:
        """Return E_q[log p(x|z)] and KL(q(z|x) || p(z)) of each row.

        x: (B, D) -> (B,), and (B, L) if the KL has a closed form for each dimension, else (B, 1);
        nats.
        """

    def penalty(self) -> Tensor | None:
        """What the prior of the weights adds to the loss: (), or None. See ``Likelihood``."""

    def in_evaluation(self) -> AbstractContextManager[None]:
        """Put every part into evaluation mode for a ``with`` block.

        Inside the block, no part updates anything from the batches that it sees.
        """


class Estimate(NamedTuple):
    """The result of an objective: one number to differentiate, and others to report.

    Example:
        >>> import torch
        >>> from aevb import ELBO, VAE
        >>> estimate = ELBO()(VAE(data_dim=3), torch.zeros(5, 3))
        >>> estimate.loss.requires_grad, sorted(estimate.log)
        (True, ['bound', 'kl', 'reconstruction'])
    """

    loss: Tensor
    """(): the number to differentiate. Do not report it: it may be a surrogate, and its KL may have
    a weight or a floor."""
    log: dict[str, Tensor]
    """name -> (), averaged over the batch, nats unless the objective says otherwise. "bound" (never
    weighted), "reconstruction" and "kl" are always there."""


class Objective(nn.Module, ABC):
    """A way to train: turns a model and a batch into an ``Estimate``.

    An objective may keep state from step to step. It must keep this state in persistent buffers,
    which a run saves with its training state, and must change them in place.

    Attributes:
        recordable: False if a step cannot be recorded once and replayed. Each step then runs as
            ordinary Python code.

    Example:
        >>> import torch
        >>> from aevb import VAE
        >>> from aevb.interfaces import Estimate, Objective
        >>> class HalfKL(Objective):
        ...     def forward(self, model, x):
        ...         reconstruction, kl = (term.sum() / len(x) for term in model.elbo_terms(x))
        ...         log = {"bound": reconstruction - kl, "reconstruction": reconstruction, "kl": kl}
        ...         figures = {name: value.detach() for name, value in log.items()}
        ...         return Estimate(0.5 * kl - reconstruction, figures)
        >>> HalfKL()(VAE(data_dim=3), torch.zeros(5, 3)).loss.shape
        torch.Size([])
    """

    recordable: ClassVar[bool] = True

    @property
    def couples_rows_by(self) -> str:
        """The name of the setting that makes a row's loss depend on the other rows of its batch.

        Empty if the loss is a mean over rows. Several processes can then share a batch.
        """
        return ""

    @abstractmethod
    def forward(self, model: Model, x: Tensor) -> Estimate:
        """Estimate the loss and the figures on one batch. x: (B, D)."""

    def schedule(self, step: int) -> None:
        """Set everything that changes over time, such as the KL weight of a warm-up.

        ``step`` is the number of the next step, from 0. The result must depend on ``step`` alone,
        because a resumed run does not repeat the earlier steps. The default does nothing.
        """

    def begin(self, rows: int, latent_dim: int) -> None:
        """Prepare for ``rows`` training rows, before the first step.

        An objective that keeps state for each row allocates it here. The default does nothing.
        """

    def select(self, index: Tensor) -> None:
        """Receive the numbers of the next batch's rows: (B,). The default does nothing."""
