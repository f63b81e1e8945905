"""The contracts of aevb: everything that can be exchanged is one of these.

Shapes, here and in every docstring of the package:

    K  importance samples        B  rows of a batch        N  rows of a data set
    L  latent dimensions         D  data dimensions        ...  any leading dimensions

Units: every log-density, bound and divergence is in nats; a density is that of one row.

A module whose ``forward`` returns a distribution is all the abstraction there is. A likelihood, a posterior and a prior
do not know of each other, and an objective meets them only through these contracts, so that any of each can be combined.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import NamedTuple, Protocol

from torch import Tensor, nn
from torch.distributions import Distribution


class Likelihood(nn.Module, ABC):
    """p(x|z): what the decoder's last features say about one row of data.

    ``num_features``: how many numbers the decoder must emit for one row.
    ``discrete``: True when ``log_prob`` is that of a probability, False when of a density (which has units of 1/x).
    """

    num_features: int
    discrete: bool

    @abstractmethod
    def forward(self, h: Tensor) -> Distribution:
        """h: (..., num_features) -> distribution with batch shape (...) and event shape (D,)."""

    @abstractmethod
    def check(self, x: Tensor) -> None:
        """x: (N, D). Raises DataError if a value lies outside the support. Called once, at the door, never in a step."""


class Posterior(nn.Module, ABC):
    """q(z|x): what the encoder's features say about the latent vector of one row.

    ``num_features``: how many numbers the encoder emits for one row.
    """

    num_features: int

    @abstractmethod
    def forward(self, h: Tensor) -> Distribution:
        """h: (..., num_features) -> distribution with batch shape (...) and event shape (L,), with ``rsample``."""


class Prior(nn.Module, ABC):
    """p(z)."""

    @abstractmethod
    def forward(self) -> Distribution:
        """Return the distribution over one latent vector: batch shape (), event shape (L,)."""


class Model(Protocol):
    """What an objective may ask of a model."""

    @property
    def prior(self) -> Prior:
        """p(z)."""

    def posterior_given(self, x: Tensor) -> Distribution:
        """q(z|x). x: (..., D) -> distribution over (L,) with batch shape (...)."""

    def likelihood_given(self, z: Tensor) -> Distribution:
        """p(x|z). z: (..., L) -> distribution over (D,) with batch shape (...)."""

    def elbo_terms(self, x: Tensor, samples: int = 1) -> tuple[Tensor, Tensor]:
        """x: (B, D) -> E_q[log p(x|z)]: (B,), and the KL to the prior: (B, L) per dimension or (B, 1); nats."""


class Estimate(NamedTuple):
    """What an objective returns: one thing to differentiate, others to report."""

    loss: Tensor
    """() differentiate this and report nothing from it: it may be a surrogate, weighted or floored."""
    log: dict[str, Tensor]
    """name -> (), nats, averaged over the batch: "bound" (never weighted), "reconstruction", "kl", ..."""


class Objective(nn.Module, ABC):
    """A way to train."""

    @abstractmethod
    def forward(self, model: Model, x: Tensor) -> Estimate:
        """x: (B, D) -> Estimate."""

    def schedule(self, step: int) -> None:
        """Set whatever depends on time (a warm-up's weight) for optimiser step ``step``, counted from 0.

        A pure function of ``step``: a resumed run needs no memory of how it came here. Nothing, unless overridden.
        """
