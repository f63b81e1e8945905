r"""The evidence lower bound and its usual variations.

    loss = -( E_q[log p(x|z)] - w(t) sum_j max(lambda, KL_j) ),      w(t) = beta min(1, t / T)

beta (Higgins et al. 2017) scales the KL. A warm-up over T steps (Bowman et al. 2016; Sonderby et
al. 2016) lets the decoder learn to use z before the KL has its full weight. Free bits lambda
(Kingma et al. 2016, section C.8) give a latent dimension no reward for a KL below lambda nats,
averaged over the batch. All three change only the loss. The figures always report the plain bound
(beta = 1), so runs can be compared.
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
    """Maximise the evidence lower bound (Kingma & Welling 2013).

    Args:
        beta: weight of the KL.
        warmup_steps: optimiser steps in which that weight rises linearly from 0.
        free_bits: lambda, nats per latent dimension. If the posterior is not a diagonal Gaussian or
            the prior is not N(0, I), the KL is one number, and its floor is L lambda.
        samples: draws of z per row.

    Raises:
        UsageError: a value is out of range.

    Example:
        >>> import torch
        >>> from aevb import ELBO, VAE
        >>> estimate = ELBO(beta=0.5)(VAE(data_dim=3), torch.zeros(5, 3))
        >>> log = estimate.log
        >>> bool(torch.isclose(estimate.loss, 0.5 * log["kl"] - log["reconstruction"]))
        True
        >>> bool(torch.isclose(log["bound"], log["reconstruction"] - log["kl"]))
        True
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
        # A tensor, because a compiled step would be compiled again if a plain number changed.
        self.register_buffer("kl_weight", torch.tensor(float(beta)), persistent=False)
        self.schedule(0)

    @property
    def couples_rows_by(self) -> str:
        """``free_bits`` if they are used: their floor applies to the mean KL of the whole batch."""
        return "free_bits" if self.free_bits else ""

    def schedule(self, step: int) -> None:
        """Set the KL weight w for optimiser step ``step``, counted from 0.

        Example:
            >>> from aevb import ELBO
            >>> objective = ELBO(warmup_steps=10)
            >>> objective.schedule(5)
            >>> float(objective.kl_weight)
            0.5
        """
        progress = min(1.0, step / self.warmup_steps) if self.warmup_steps else 1.0
        self.kl_weight.fill_(self.beta * progress)

    def forward(self, model: Model, x: Tensor) -> Estimate:
        """Estimate the loss on x: (B, D).

        The log has "bound" = "reconstruction" - "kl", in nats.
        """
        reconstruction, kl = model.elbo_terms(x, self.samples)
        mean_reconstruction, mean_kl = reconstruction.mean(), kl.mean(0)
        # A KL of all latent dimensions together has one floor for all of them.
        floor = self.free_bits * model.latent_dim / kl.shape[-1]
        floored = mean_kl.clamp(min=floor) if self.free_bits else mean_kl
        loss = self.kl_weight * floored.sum() - mean_reconstruction
        if (penalty := model.penalty()) is not None:
            loss = loss + penalty
        return Estimate(
            loss,
            {
                "bound": (mean_reconstruction - mean_kl.sum()).detach(),
                "reconstruction": mean_reconstruction.detach(),
                "kl": mean_kl.sum().detach(),
            },
        )


class SampledELBO(Objective):
    """Maximise the ELBO with a sampled KL, from the same draws of z as the reconstruction.

    This is estimator A of *Auto-Encoding Variational Bayes* (Kingma & Welling 2013, equation 6).
    ``ELBO`` is estimator B (equation 7), which uses the closed form of the KL if there is one.
    Both have the same expectation, and in both the gradient goes through z.

    Args:
        samples: draws of z per row, at least 1.

    Raises:
        UsageError: there are fewer than 1 samples.

    Example:
        >>> import torch
        >>> from aevb import VAE
        >>> from aevb.parts.objectives.elbo import SampledELBO
        >>> estimate = SampledELBO(samples=4)(VAE(data_dim=3), torch.zeros(5, 3))
        >>> bool(torch.isclose(estimate.loss, -estimate.log["bound"]))
        True
    """

    def __init__(self, samples: int = 1) -> None:
        super().__init__()
        if samples < 1:
            raise UsageError(f"elbo_sampled needs at least 1 sample of z a row; got {samples}")
        self.samples = samples

    def forward(self, model: Model, x: Tensor) -> Estimate:
        """Estimate the loss on x: (B, D).

        The log has "bound" = "reconstruction" - "kl", in nats.
        """
        z, log_q = rsample_and_log_prob(model.posterior_given(x), self.samples)
        reconstruction, log_prior = model.log_joint(x, z)
        mean, kl = reconstruction.mean(), (log_q - log_prior).mean()
        log = {"bound": mean - kl, "reconstruction": mean, "kl": kl}
        penalty = model.penalty()
        loss = kl - mean if penalty is None else kl - mean + penalty
        return Estimate(loss, {name: value.detach() for name, value in log.items()})


def vae_loss(recon: Tensor, x: Tensor, mu: Tensor, logvar: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return the loss of a VAE with a Gaussian decoder of variance 1/2, and its two terms.

    The constant (D/2) log(pi) is left out: loss + (D/2) log(pi) is minus the ELBO, in nats.

    Args:
        recon: (B, D), the means that the decoder gives.
        x: (B, D), the rows.
        mu: (B, L), the means of q(z|x).
        logvar: (B, L), the logs of its variances.

    Returns:
        loss = error + kl; error, the squared error summed over D; kl, the KL to N(0, I) summed over
        L. All are () and averaged over the batch.

    Raises:
        ValueError: recon and x differ in shape. Broadcasting them would give another loss.

    Example:
        >>> import torch
        >>> from aevb import vae_loss
        >>> x, mu, logvar = torch.zeros(4, 3), torch.ones(4, 2), torch.zeros(4, 2)
        >>> loss, error, kl = vae_loss(x + 2, x, mu, logvar)
        >>> float(loss), float(error), float(kl)
        (13.0, 12.0, 1.0)
    """
    if recon.shape != x.shape:
        raise ValueError(
            f"recon and x must have one shape; got {tuple(recon.shape)} and {tuple(x.shape)}"
        )
    error = F.mse_loss(recon, x, reduction="none").sum(dim=-1)
    kl = kl_divergence(mu, logvar)
    return (error + kl).mean(), error.mean(), kl.mean()
