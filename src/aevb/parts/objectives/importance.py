r"""Objectives of K importance samples, and the gradients that go through z alone.

With z_k ~ q(z|x) and w_k = p(x, z_k) / q(z_k|x), the importance-weighted bound (Burda, Grosse & Salakhutdinov 2016)

    L_K = E[log 1/K sum_k w_k] <= log p(x)

rises with K; L_1 is the ELBO. Its gradient is that of sum_k a_k log w_k with the normalised weights
a_k = w_k / sum w held constant. That sum is a surrogate: its value lies above the bound by up to
log K, so it is differentiated and never reported.

The gradient with respect to q splits into a path through z and a score, d log q(z) / d phi at a
fixed z, whose expectation vanishes for K = 1. Sticking-the-landing (Roeder, Wu & Duvenaud 2017)
drops it: the gradient then has no variance where q is exact. For K > 1 it does not vanish, but can
be written as a path too: DReG (Tucker et al. 2019) weighs the path by a_k^2 in place of a_k. Its
signal does not fade as K grows, as the plain estimator's does (Rainforth et al. 2018).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from aevb.errors import UsageError
from aevb.interfaces import Estimate, Model, Objective
from aevb.probability.distributions import rsample_and_log_prob


class IWAE(Objective):
    """Maximise the importance-weighted bound of ``samples`` draws a row. Raises UsageError for
    fewer than 2."""

    def __init__(self, samples: int = 5) -> None:
        super().__init__()
        self.samples = _at_least_two(samples, "iwae")

    def forward(self, model: Model, x: Tensor) -> Estimate:
        """x: (B, D) -> Estimate; the log has the true bounds: "bound" (the ELBO) and
        "importance_bound" (L_K), nats."""
        z, log_q = rsample_and_log_prob(model.posterior_given(x), self.samples)
        reconstruction, log_prior = model.log_joint(x, z)
        log_w = reconstruction + log_prior - log_q
        return Estimate(-(_shares(log_w) * log_w).sum(0).mean(), _report(log_w, reconstruction))


class DReG(Objective):
    """Maximise the same bound with doubly reparameterised gradients for q. Raises UsageError for
    fewer than 2 ``samples``."""

    def __init__(self, samples: int = 5) -> None:
        super().__init__()
        self.samples = _at_least_two(samples, "dreg")

    def forward(self, model: Model, x: Tensor) -> Estimate:
        """x: (B, D) -> Estimate, as that of IWAE."""
        q, frozen = model.posterior_and_frozen(x)
        z = q.rsample(torch.Size((self.samples,)))
        reconstruction, log_prior = model.log_joint(x, z)
        log_w = reconstruction + log_prior - frozen.log_prob(z)
        shares = _shares(log_w)
        if z.requires_grad:
            # The decoder's gradient carries a_k; what reaches z, and through it the encoder, is
            # multiplied by a_k again.
            z.register_hook(lambda gradient: gradient * shares.unsqueeze(-1))
        return Estimate(-(shares * log_w).sum(0).mean(), _report(log_w, reconstruction))


class StickingTheLanding(Objective):
    """The ELBO, with a gradient for q that goes through z alone. samples: draws of z per row; beta:
    weight of the KL.

    The KL is sampled even where it has a closed form: its noise cancels that of the reconstruction
    as q becomes exact.
    """

    def __init__(self, beta: float = 1.0, samples: int = 1) -> None:
        super().__init__()
        if not (samples >= 1 and beta >= 0):
            raise UsageError(
                f"stl needs samples of at least 1 and beta of at least 0; got {samples} and {beta}"
            )
        self.beta, self.samples = beta, samples

    def forward(self, model: Model, x: Tensor) -> Estimate:
        """x: (B, D) -> Estimate; the log has "bound", "reconstruction" and "kl" in nats, bound =
        reconstruction - kl."""
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
    """Normalised weights, constants for the gradient. log_w: (K, B) -> (K, B), which sum to 1 over
    K."""
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
