r"""The score-function gradient of the bound: REINFORCE (Williams 1992).

    grad_phi E_q[f(z)] = E_q[(f(z) - b) grad_phi log q(z|x)],      f = log p(x, z) - log q(z|x)

The baseline b may be anything that does not depend on this z. *Auto-Encoding Variational Bayes*
(Kingma & Welling 2013, section 2.2) calls this the usual Monte-Carlo estimator, whose variance is
too high to be of use, and replaces it by the path through z. With several draws a row, b is the
mean of f over the row's other draws (Mnih & Rezende 2016; Kool, van Hoof & Welling 2019). The
gradient then has the same mean and far less variance. No gradient goes through z, so z could be
discrete.
"""

from __future__ import annotations

import torch
from torch import Tensor

from aevb.errors import UsageError
from aevb.interfaces import Estimate, Model, Objective
from aevb.probability.distributions import draw


class ScoreFunction(Objective):
    """Maximise the ELBO, with the score-function gradient for q.

    Args:
        samples: draws of z per row.
        baseline: whether to subtract, from the f of each draw, the mean of f over the row's other
            draws. Default: True if ``samples`` is above 1.

    Raises:
        UsageError: there are fewer than 1 samples, or fewer than 2 with a baseline.

    Example:
        >>> import torch
        >>> from aevb import VAE
        >>> from aevb.parts.objectives.score_function import ScoreFunction
        >>> objective = ScoreFunction(samples=4)
        >>> objective.baseline, objective(VAE(data_dim=3), torch.zeros(5, 3)).loss.shape
        (True, torch.Size([]))
    """

    def __init__(self, samples: int = 1, baseline: bool | None = None) -> None:
        super().__init__()
        self.baseline = samples > 1 if baseline is None else baseline
        if samples < 1 + self.baseline:
            what = (
                "2 samples of z a row for its baseline, the mean of the others"
                if self.baseline
                else "1 sample of z a row"
            )
            raise UsageError(f"score_function needs at least {what}; got {samples}")
        self.samples = samples

    def forward(self, model: Model, x: Tensor) -> Estimate:
        """Estimate the loss on x: (B, D).

        The log has "bound" = "reconstruction" - "kl", in nats.
        """
        q = model.posterior_given(x)
        with torch.no_grad():
            z = draw(q, (self.samples,))
        log_q = q.log_prob(z)
        reconstruction, log_prior = model.log_joint(x, z)
        f = (reconstruction + log_prior - log_q).detach()
        if self.baseline:
            # f minus the mean of the others is (f minus the mean of all) * K / (K - 1).
            f = (f - f.mean(0)) * (self.samples / (self.samples - 1))
        loss = -(reconstruction + log_prior + f * log_q).mean()
        terms = {
            "reconstruction": reconstruction.mean().detach(),
            "kl": (log_q - log_prior).mean().detach(),
        }
        return Estimate(loss, {"bound": terms["reconstruction"] - terms["kl"], **terms})
