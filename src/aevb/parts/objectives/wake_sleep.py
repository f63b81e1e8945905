r"""Wake-sleep (Hinton, Dayan, Frey & Neal 1995): one objective for p, another one for q.

    wake     z ~ q(z|x), x from the data          log p(x, z) rises with respect to p
    sleep    z ~ p(z), x ~ p(x|z), a dream        log q(z|x) rises with respect to q

Sleep minimises KL(p(z|x) || q(z|x)), averaged over the model's dreams; the bound has KL(q || p)
over the data. So there is no single function that both phases maximise. If q cannot represent the
posterior, their fixed point is not the maximum of the bound. No gradient goes through z, so z could
be discrete.

A dream is a draw from p(x|z). Under a Bernoulli likelihood it is binary, even if the data are grey
levels. The code that the authors of *Auto-Encoding Variational Bayes* published later does the same
(github.com/dpkingma/anglepy, step_wakesleep).
"""

from __future__ import annotations

import torch
from torch import Tensor

from aevb.errors import UsageError
from aevb.interfaces import Estimate, Model, Objective
from aevb.probability.distributions import draw


class WakeSleep(Objective):
    """Train by wake-sleep, with both phases in every step.

    The loss is the sum of two losses, one for p and one for q. p and q share no parameters, except
    with a VampPrior: it uses the encoder, whose parameters then learn in both phases.

    Args:
        samples: draws of z per row, and dreams per row; at least 1.

    Raises:
        UsageError: there are fewer than 1 samples.

    Example:
        >>> import torch
        >>> from aevb import VAE
        >>> from aevb.parts.objectives.wake_sleep import WakeSleep
        >>> estimate = WakeSleep()(VAE(data_dim=3), torch.zeros(5, 3))
        >>> sorted(estimate.log)
        ['bound', 'dream', 'kl', 'reconstruction']
    """

    def __init__(self, samples: int = 1) -> None:
        super().__init__()
        if samples < 1:
            raise UsageError(f"wake_sleep needs at least 1 sample of z a row; got {samples}")
        self.samples = samples

    def forward(self, model: Model, x: Tensor) -> Estimate:
        """Estimate the loss on x: (B, D).

        The log has "bound", "reconstruction" and "kl" of the current p and q, and "dream", the mean
        of log q(z|x) over the dreams, in nats.
        """
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
