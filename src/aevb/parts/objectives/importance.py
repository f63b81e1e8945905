r"""Importance-weighted objectives, and gradients for q that go through z alone.

With z_k ~ q(z|x) and w_k = p(x, z_k) / q(z_k|x), the importance-weighted bound is

    L_K = E[log 1/K sum_k w_k] <= log p(x)

(Burda, Grosse & Salakhutdinov 2016). It rises with K, and L_1 is the ELBO. Its gradient equals the
gradient of sum_k a_k log w_k, where the normalised weights a_k = w_k / sum w are held constant.
This sum is a surrogate: its value lies above the bound by up to log K. It is differentiated and
never reported.

The gradient with respect to q has two parts. The path part goes through z. The score part is
d log q(z) / d phi at a fixed z. For K = 1 its expectation is 0. Sticking-the-landing (Roeder, Wu &
Duvenaud 2017) drops it; the gradient then has no variance where q is exact. For K > 1 the
expectation of the score part is not 0, but it can be written as a path part, too: DReG (Tucker et
al. 2019) gives the path the weight a_k^2 in place of a_k. The signal-to-noise ratio of the plain
estimator falls as K grows (Rainforth et al. 2018); that of DReG does not.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from aevb.errors import UsageError
from aevb.interfaces import Estimate, Model, Objective
from aevb.probability.distributions import rsample_and_log_prob


class IWAE(Objective):
    """Maximise the importance-weighted bound L_K (Burda, Grosse & Salakhutdinov 2016).

    Args:
        samples: K, draws of z per row, at least 2.

    Raises:
        UsageError: there are fewer than 2 samples.

    Example:
        >>> import torch
        >>> from aevb import VAE
        >>> from aevb.parts.objectives.importance import IWAE
        >>> estimate = IWAE(samples=5)(VAE(data_dim=3), torch.zeros(4, 3))
        >>> bool(estimate.log["importance_bound"] >= estimate.log["bound"])
        True
    """

    def __init__(self, samples: int = 5) -> None:
        super().__init__()
        self.samples = _at_least_two(samples, "iwae")

    def forward(self, model: Model, x: Tensor) -> Estimate:
        """Estimate the loss on x: (B, D).

        The log has two true bounds, "bound" (the ELBO) and "importance_bound" (L_K), in nats.
        """
        z, log_q = rsample_and_log_prob(model.posterior_given(x), self.samples)
        reconstruction, log_prior = model.log_joint(x, z)
        log_w = reconstruction + log_prior - log_q
        return Estimate(-(_shares(log_w) * log_w).sum(0).mean(), _report(log_w, reconstruction))


class DReG(Objective):
    """Maximise L_K with doubly reparameterised gradients for q (Tucker et al. 2019).

    Args:
        samples: K, draws of z per row, at least 2.

    Raises:
        UsageError: there are fewer than 2 samples.

    Example:
        >>> import torch
        >>> from aevb import VAE
        >>> from aevb.parts.objectives.importance import DReG
        >>> estimate = DReG(samples=5)(VAE(data_dim=3), torch.zeros(4, 3))
        >>> bool(estimate.log["importance_bound"] >= estimate.log["bound"])
        True
    """

    def __init__(self, samples: int = 5) -> None:
        super().__init__()
        self.samples = _at_least_two(samples, "dreg")

    def forward(self, model: Model, x: Tensor) -> Estimate:
        """Estimate the loss on x: (B, D). The log has the figures of ``IWAE``."""
        q, frozen = model.posterior_and_frozen(x)
        z = q.rsample(torch.Size((self.samples,)))
        reconstruction, log_prior = model.log_joint(x, z)
        log_w = reconstruction + log_prior - frozen.log_prob(z)
        shares = _shares(log_w)
        if z.requires_grad:
            # The decoder's gradient carries a_k. The gradient that reaches z, and through it the
            # encoder, is multiplied by a_k again.
            z.register_hook(lambda gradient: gradient * shares.unsqueeze(-1))
        return Estimate(-(shares * log_w).sum(0).mean(), _report(log_w, reconstruction))


class StickingTheLanding(Objective):
    """Maximise the ELBO with a gradient for q that goes through z alone.

    The source is Roeder, Wu & Duvenaud 2017. The KL is sampled even if it has a closed form,
    because the noise of the KL cancels that of the reconstruction as q becomes exact.

    Args:
        beta: weight of the KL.
        samples: draws of z per row, at least 1.

    Raises:
        UsageError: a value is out of range.

    Example:
        >>> import torch
        >>> from aevb import VAE
        >>> from aevb.parts.objectives.importance import StickingTheLanding
        >>> estimate = StickingTheLanding(samples=2)(VAE(data_dim=3), torch.zeros(4, 3))
        >>> bool(torch.isclose(estimate.loss, -estimate.log["bound"]))
        True
    """

    def __init__(self, beta: float = 1.0, samples: int = 1) -> None:
        super().__init__()
        if not (samples >= 1 and beta >= 0):
            raise UsageError(
                f"stl needs samples of at least 1 and beta of at least 0; got {samples} and {beta}"
            )
        self.beta, self.samples = beta, samples

    def forward(self, model: Model, x: Tensor) -> Estimate:
        """Estimate the loss on x: (B, D).

        The log has "bound" = "reconstruction" - "kl", in nats.
        """
        q, frozen = model.posterior_and_frozen(x)
        z = q.rsample(torch.Size((self.samples,)))
        reconstruction, log_prior = model.log_joint(x, z)
        kl = frozen.log_prob(z) - log_prior
        return Estimate((self.beta * kl - reconstruction).mean(), _terms(reconstruction, kl))


def _at_least_two(samples: int, name: str) -> int:
    if samples < 2:
        hint = (
            "with 1 it is the elbo; use objective elbo, or samples 5"
            if samples == 1
            else "for example samples 5"
        )
        raise UsageError(f"{name} needs at least 2 samples of z a row; got {samples}: {hint}")
    return samples


def _shares(log_w: Tensor) -> Tensor:
    """Return the normalised weights a, as constants: (K, B) -> (K, B); they sum to 1 over K."""
    return log_w.detach().softmax(0)


def _terms(reconstruction: Tensor, kl: Tensor) -> dict[str, Tensor]:
    return {
        "bound": (reconstruction - kl).mean().detach(),
        "reconstruction": reconstruction.mean().detach(),
        "kl": kl.mean().detach(),
    }


def _report(log_w: Tensor, reconstruction: Tensor) -> dict[str, Tensor]:
    importance = (log_w.logsumexp(0) - math.log(len(log_w))).mean()
    return {
        **_terms(reconstruction, reconstruction - log_w),
        "importance_bound": importance.detach(),
    }
