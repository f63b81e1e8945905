r"""The evidence lower bound and its usual variations.

    loss = -( E_q[log p(x|z)] - w(t) sum_j max(lambda, KL_j) ),      w(t) = beta min(1, t / T)

beta (Higgins et al. 2017) scales the KL; warm-up over T steps (Bowman et al. 2016; Sonderby et al.
2016) lets the decoder learn to use z before the KL presses; free bits lambda (Kingma et al. 2016,
section C.8) stop rewarding a latent dimension whose KL, averaged over the batch, is already below
lambda nats. All three change the loss alone: what is reported is always the plain bound (beta = 1),
so that runs can be compared.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from aevb.errors import UsageError
from aevb.interfaces import Estimate, Model, Objective
from aevb.parts.posteriors.gaussian import kl_divergence
from aevb.probability.distributions import rsample_and_log_prob


class ELBO(Objective):
    """Minimise minus the evidence lower bound.

    beta: weight of the KL. warmup_steps: optimiser steps over which that weight rises linearly from
    0. free_bits: lambda, nats per latent dimension, or L times as much for all of them together
    where the KL is one number (any posterior but the diagonal Gaussian, any prior but N(0, I)).
    samples: draws of z per row. Raises UsageError for values out of range.
    """

    def __init__(
        self, beta: float = 1.0, warmup_steps: int = 0, free_bits: float = 0.0, samples: int = 1
    ) -> None:
        super().__init__()
        for name, value, least in [
            ("beta", beta, 0),
            ("warmup_steps", warmup_steps, 0),
            ("free_bits", free_bits, 0),
            ("samples", samples, 1),
        ]:
            if not value >= least:
                raise UsageError(f"{name} must be at least {least}; got {value}")
        self.beta, self.warmup_steps, self.free_bits, self.samples = (
            beta,
            warmup_steps,
            free_bits,
            samples,
        )
        self.kl_weight: Tensor
        # A tensor, not a number: a compiled step reads it without being compiled again whenever it
        # changes.
        self.register_buffer("kl_weight", torch.tensor(float(beta)), persistent=False)
        self.schedule(0)

    @property
    def couples_rows_by(self) -> str:
        """Free bits compare the KL of a whole batch with their floor."""
        return "free_bits" if self.free_bits else ""

    def schedule(self, step: int) -> None:
        """Set the KL weight w for optimiser step ``step``, counted from 0."""
        progress = min(1.0, step / self.warmup_steps) if self.warmup_steps else 1.0
        self.kl_weight.fill_(self.beta * progress)

    def forward(self, model: Model, x: Tensor) -> Estimate:
        """x: (B, D) -> Estimate; the log has "bound", "reconstruction" and "kl" in nats, bound =
        reconstruction - kl."""
        reconstruction, kl = model.elbo_terms(x, self.samples)
        mean_reconstruction, mean_kl = reconstruction.mean(), kl.mean(0)
        # A KL without a closed form comes as one number: all latent dimensions then are one group,
        # with the floor of all.
        floor = self.free_bits * model.latent_dim / kl.shape[-1]
        floored = mean_kl.clamp(min=floor) if self.free_bits else mean_kl
        loss = self.kl_weight * floored.sum() - mean_reconstruction
        return Estimate(
            loss,
            {
                "bound": (mean_reconstruction - mean_kl.sum()).detach(),
                "reconstruction": mean_reconstruction.detach(),
                "kl": mean_kl.sum().detach(),
            },
        )


class SampledELBO(Objective):
    """Estimator A of *Auto-Encoding Variational Bayes* (equation 6): the KL from the same draws of
    z as the reconstruction.

    ``ELBO`` is estimator B (equation 7), with the KL closed where it has a closed form. The mean is
    the same, and the gradient goes through z in both. samples: draws of z per row. Raises
    UsageError for fewer than 1.
    """

    def __init__(self, samples: int = 1) -> None:
        super().__init__()
        if samples < 1:
            raise UsageError(f"elbo_sampled needs at least 1 sample of z a row; got {samples}")
        self.samples = samples

    def forward(self, model: Model, x: Tensor) -> Estimate:
        """x: (B, D) -> Estimate; the log has "bound", "reconstruction" and "kl" in nats, bound =
        reconstruction - kl."""
        z, log_q = rsample_and_log_prob(model.posterior_given(x), self.samples)
        reconstruction, log_prior = model.log_joint(x, z)
        mean, kl = reconstruction.mean(), (log_q - log_prior).mean()
        log = {"bound": mean - kl, "reconstruction": mean, "kl": kl}
        return Estimate(kl - mean, {name: value.detach() for name, value in log.items()})


def vae_loss(recon: Tensor, x: Tensor, mu: Tensor, logvar: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Loss of a VAE with a Gaussian decoder of variance 1/2, without its constant (D/2) log(pi).

    recon, x: (B, D); mu, logvar: (B, L). Returns loss = error + kl, the squared error summed over
    D, and the KL against N(0, I) summed over L; all () and averaged over the batch. loss + (D/2)
    log(pi) is minus the ELBO, in nats. Raises ValueError if recon and x differ in shape, since
    broadcasting them would train something else.
    """
    if recon.shape != x.shape:
        raise ValueError(
            f"recon and x must have one shape; got {tuple(recon.shape)} and {tuple(x.shape)}"
        )
    error = F.mse_loss(recon, x, reduction="none").sum(dim=-1)
    kl = kl_divergence(mu, logvar)
    return (error + kl).mean(), error.mean(), kl.mean()
