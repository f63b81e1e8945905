"""The contracts of aevb: everything that can be exchanged is one of these.

Shapes, here and in every docstring of the package:

    K  importance samples        B  rows of a batch        N  rows of a data set
    L  latent dimensions         D  data dimensions        ...  any leading dimensions

Units: every log-density, bound and divergence is in nats; a density is that of one row.

A module whose ``forward`` returns a distribution is all the abstraction there is. A likelihood, a
posterior and a prior do not know of each other, and an objective meets them only through these
contracts, so that any of each can be combined.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import ClassVar, NamedTuple, Protocol

from torch import Tensor, nn
from torch.distributions import Distribution


class Likelihood(nn.Module, ABC):
    """p(x|z): what the decoder's last features say about one row of data.

    ``num_features``: how many numbers the decoder must emit for one row. ``discrete``: True when
    ``log_prob`` is that of a probability, False when of a density (which has units of 1/x).
    ``form``: what numbers x are. "real": any, standardised; "unit": in [0, 1]; "levels": k /
    (levels - 1) for integers k < levels, and the constructor takes (data_dim, levels) instead of
    (data_dim). ``nominal``: True where levels are names, in no order: the encoder then sees an
    indicator for each. ``of_batch``: True where the loss of a row depends on the other rows of its
    batch.
    """

    num_features: int
    discrete: bool
    form: ClassVar[str] = "real"
    nominal: ClassVar[bool] = False
    of_batch: ClassVar[bool] = False

    @abstractmethod
    def forward(self, h: Tensor) -> Distribution:
        """h: (..., num_features) -> distribution with batch shape (...) and event shape (D,)."""

    @abstractmethod
    def check(self, x: Tensor) -> None:
        """x: (N, D). Raises DataError if a value lies outside the support. Called once, at the
        door, never in a step."""

    @property
    def noise(self) -> Tensor | None:
        """Standard deviation of x given z, () or (D,), where it is one number for all z; None
        otherwise."""
        return None


class Posterior(nn.Module, ABC):
    """q(z|x): what the encoder's features say about the latent vector of one row.

    ``num_features``: how many numbers the encoder emits for one row.
    """

    num_features: int

    @abstractmethod
    def forward(self, h: Tensor) -> Distribution:
        """h: (..., num_features) -> distribution with batch shape (...) and event shape (L,), with
        ``rsample``."""


class Prior(nn.Module, ABC):
    """p(z)."""

    @abstractmethod
    def forward(self) -> Distribution:
        """Return the distribution over one latent vector: batch shape (), event shape (L,)."""

    def connect(self, posterior_given: Callable[[Tensor], Distribution], data_dim: int) -> None:
        """Receive the model's q(z|x), once, from the VAE, to make a prior of posteriors. Nothing,
        unless overridden."""

    def initialise(self, x: Tensor) -> None:
        """Start from some training rows x: (N, D), drawn with torch's generator. Nothing, unless
        overridden."""


class Density(Protocol):
    """A log-density at given points."""

    def log_prob(self, z: Tensor) -> Tensor:
        """z: (..., L) -> (...), nats."""


class Model(Protocol):
    """What an objective may ask of a model."""

    latent_dim: int

    def posterior_given(self, x: Tensor) -> Distribution:
        """q(z|x). x: (..., D) -> distribution over (L,) with batch shape (...)."""

    def posterior_and_frozen(self, x: Tensor) -> tuple[Distribution, Density]:
        """q(z|x), and its density as a constant of its parameters, but not of the z at which it is
        taken."""

    def log_joint(self, x: Tensor, z: Tensor) -> tuple[Tensor, Tensor]:
        """x: (B, D), z: (..., B, L) -> log p(x|z) and log p(z): (..., B) each, nats."""

    def sample_joint(self, shape: tuple[int, ...]) -> tuple[Tensor, Tensor]:
        """Draws z ~ p(z) and x ~ p(x|z), without a gradient: (*shape, L) and (*shape, D)."""

    def log_weights(self, x: Tensor, samples: int = 1) -> Tensor:
        """x: (B, D) -> log p(x, z) - log q(z|x) for draws of z from q(z|x): (K, B), nats."""

    def elbo_terms(self, x: Tensor, samples: int = 1) -> tuple[Tensor, Tensor]:
        """x: (B, D) -> E_q[log p(x|z)]: (B,), and the KL to the prior: (B, L) per dimension or (B,
        1); nats."""

    def in_evaluation(self) -> AbstractContextManager[None]:
        """For a while every part stands still: none learns from the batches that it is shown."""


class Estimate(NamedTuple):
    """What an objective returns: one thing to differentiate, others to report."""

    loss: Tensor
    """() differentiate this and report nothing from it: it may be a surrogate, weighted or floored.
    """
    log: dict[str, Tensor]
    """name -> (), nats, averaged over the batch: "bound" (never weighted), "reconstruction", "kl",
    ..."""


class Objective(nn.Module, ABC):
    """A way to train.

    What it keeps from step to step lies in persistent buffers, which a run saves with its state,
    and is changed in place. ``recordable``: False where a step cannot be recorded once and
    replayed: it then runs as Python each time.
    """

    recordable: ClassVar[bool] = True

    @property
    def couples_rows_by(self) -> str:
        """The setting by which the loss of a row depends on the other rows of its batch.

        Empty where the loss is a mean over rows: several processes can then share a batch.
        """
        return ""

    @abstractmethod
    def forward(self, model: Model, x: Tensor) -> Estimate:
        """x: (B, D) -> Estimate."""

    def schedule(self, step: int) -> None:
        """Set whatever depends on time (a warm-up's weight) for optimiser step ``step``, counted
        from 0.

        A pure function of ``step``: a resumed run needs no memory of how it came here. Nothing,
        unless overridden.
        """

    def begin(self, rows: int, latent_dim: int) -> None:
        """Make room for what is kept of each of ``rows`` training rows, before the first step.
        Nothing, unless overridden."""

    def select(self, index: Tensor) -> None:
        """Hear which training rows the next batch is made of: (B,). Nothing, unless overridden."""
