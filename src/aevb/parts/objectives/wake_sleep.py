r"""Wake-sleep (Hinton, Dayan, Frey & Neal 1995): two objectives in turn, of which neither is a
bound on the other's behalf.

    wake     z ~ q(z|x), x from the data          log p(x, z) rises with respect to p
    sleep    z ~ p(z), x ~ p(x|z), a dream        log q(z|x) rises with respect to q

Sleep minimises KL(p(z|x) || q(z|x)) averaged over the model's own dreams, not KL(q || p) over the data, so the two phases do
not climb one function: where q cannot hold the posterior, their fixed point is not the maximum of the bound. Nothing is
differentiated through z; discrete latent variables would do.

A dream is a draw from p(x|z). Under a Bernoulli likelihood it is binary even where the data are grey levels; so it was in the
code that the authors of *Auto-Encoding Variational Bayes* published later (github.com/dpkingma/anglepy, step_wakesleep).
"""

from __future__ import annotations

import torch
from torch import Tensor

from aevb.errors import UsageError
from aevb.interfaces import Estimate, Model, Objective
from aevb.probability.distributions import draw


class WakeSleep(Objective):
    """Both phases at every step, one loss whose gradient is the sum of theirs: p and q share no
    parameters.

    samples: draws of z per row, and dreams. Raises UsageError for fewer than 1. (A prior made of
    posteriors, VampPrior, does share the encoder's parameters: those then learn from both phases.)
    """

    def __init__(self, samples: int = 1) -> None:
        super().__init__()
        if samples < 1:
            raise UsageError(f"wake_sleep needs at least 1 sample of z a row; got {samples}")
        self.samples = samples

    def forward(self, model: Model, x: Tensor) -> Estimate:
        """x: (B, D) -> Estimate; the log has "bound", "reconstruction" and "kl" of the pair as it
        is, and "dream", the mean of log q(z|x) over dreams; nats."""
        with torch.no_grad():
            q = model.posterior_given(x)
            z = draw(q, (self.samples,))
            log_q = q.log_prob(z)
        reconstruction, log_prior = model.log_joint(x, z)
        wake = (reconstruction + log_prior).mean()
        z_dreamt, x_dreamt = model.sample_joint(z.shape[:-1])
        sleep = model.posterior_given(x_dreamt).log_prob(z_dreamt).mean()
        log = {
            "reconstruction": reconstruction.mean().detach(),
            "kl": (log_q - log_prior).mean().detach(),
        }
        return Estimate(
            -wake - sleep,
            {"bound": log["reconstruction"] - log["kl"], **log, "dream": sleep.detach()},
        )
