r"""VampPrior (Tomczak & Welling 2018): a mixture of the posteriors of learned pseudo-inputs u_c.

    p(z) = 1/C sum_c q(z | u_c)

The prior that maximises the bound is the aggregate posterior 1/N sum_n q(z | x_n). This prior has
the same form with C << N terms. The pseudo-inputs are free parameters: they need not look like
data, nor stay within its range.
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
    """A mixture of the model's own posteriors at learned pseudo-inputs.

    Args:
        latent_dim: L.
        components: C, how many pseudo-inputs.

    Raises:
        UsageError: there is fewer than 1 component, or the prior is used without a VAE.

    Example:
        >>> from aevb import VAE
        >>> from aevb.parts.priors.vamp import VampPrior
        >>> model = VAE(data_dim=3, latent_dim=2, prior=VampPrior(2, components=4))
        >>> model.prior.inputs.shape, model.prior().sample((5,)).shape
        (torch.Size([4, 3]), torch.Size([5, 2]))
    """

    def __init__(self, latent_dim: int, components: int = 100) -> None:  # noqa: ARG002  (every prior takes it)
        super().__init__()
        if components < 1:
            raise UsageError(f"components must be at least 1; got {components}")
        self.components = components
        self.posterior_given: Callable[[Tensor], Distribution] | None = None

    def connect(self, posterior_given: Callable[[Tensor], Distribution], data_dim: int) -> None:
        """Receive the model's q(z|x), and make the pseudo-inputs: (C, D), small at first.

        A VAE calls this when it takes the prior.

        Example:
            >>> from aevb import VAE
            >>> from aevb.parts.priors.vamp import VampPrior
            >>> prior = VampPrior(2, components=4)
            >>> prior.connect(VAE(data_dim=3).posterior_given, data_dim=3)
            >>> prior().mean.shape
            torch.Size([2])
        """
        self.posterior_given = posterior_given
        self.inputs = nn.Parameter(0.1 * torch.randn(self.components, data_dim))

    @torch.no_grad()
    def initialise(self, x: Tensor) -> None:
        """Set the pseudo-inputs to random rows of x: (N, D). One row may be drawn several times.

        Example:
            >>> import torch
            >>> from aevb import VAE
            >>> from aevb.parts.priors.vamp import VampPrior
            >>> model = VAE(data_dim=3, prior=VampPrior(2, components=4))
            >>> model.prior.initialise(torch.full((10, 3), 7.0))
            >>> model.prior.inputs[0].tolist()
            [7.0, 7.0, 7.0]
        """
        self.inputs.copy_(x[torch.randint(len(x), (self.components,)).to(x.device)])

    def forward(self) -> Distribution:
        """Return p(z), a distribution over (L,)."""
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
