r"""VampPrior (Tomczak & Welling 2018): the prior is a mixture of posteriors of learned
pseudo-inputs,

    p(z) = 1/C sum_c q(z | u_c).

The prior that maximises the bound is the aggregate posterior 1/N sum_n q(z | x_n); this one has its form with C << N terms.
The pseudo-inputs are free parameters: they need not look like data, nor stay within its range.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, MixtureSameFamily

from aevb.errors import UsageError
from aevb.interfaces import Prior
from aevb.probability.distributions import DiagonalNormal, NormalMixture


class VampPrior(Prior):
    """``components`` pseudo-inputs through the model's own encoder and posterior. ``latent_dim``:
    L.

    Raises UsageError for fewer than 1 component, and when used without the VAE that it belongs to.
    """

    def __init__(self, latent_dim: int, components: int = 100) -> None:  # noqa: ARG002  (the contract of the table)
        super().__init__()
        if components < 1:
            raise UsageError(f"components must be at least 1; got {components}")
        self.components = components
        self.posterior_given: Callable[[Tensor], Distribution] | None = None

    def connect(self, posterior_given: Callable[[Tensor], Distribution], data_dim: int) -> None:
        """Take the model's q(z|x), and make the pseudo-inputs, small at first: (components,
        data_dim)."""
        self.posterior_given = posterior_given
        self.inputs = nn.Parameter(0.1 * torch.randn(self.components, data_dim))

    @torch.no_grad()
    def initialise(self, x: Tensor) -> None:
        """Start the pseudo-inputs from random rows of x: (N, D), with repetition if there are fewer
        than components."""
        self.inputs.copy_(x[torch.randint(len(x), (self.components,)).to(x.device)])

    def forward(self) -> Distribution:
        """Return the distribution over (L,)."""
        if self.posterior_given is None:
            raise UsageError(
                "a VampPrior is made of a model's posteriors; give it to a VAE: VAE(...,"
                " prior=VampPrior(L))"
            )
        q = self.posterior_given(self.inputs)
        even = torch.zeros(self.components, dtype=self.inputs.dtype, device=self.inputs.device)
        if isinstance(q, DiagonalNormal):
            return NormalMixture(even, q.mu, q.logvar)
        return MixtureSameFamily(
            Categorical(logits=even, validate_args=False), q, validate_args=False
        )
