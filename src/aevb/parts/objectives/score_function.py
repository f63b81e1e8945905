r"""The score-function gradient of the bound: REINFORCE (Williams 1992), which needs no path through
z.

    grad_phi E_q[f(z)] = E_q[(f(z) - b) grad_phi log q(z|x)],      f = log p(x, z) - log q(z|x)

for any b that does not depend on this z. *Auto-Encoding Variational Bayes* calls it the usual
Monte-Carlo estimator, of a variance too high to be of use (section 2.2), and brings the path
through z in its place. With several draws a row, b is the mean of f over the row's other draws
(Mnih & Rezende 2016; Kool, van Hoof & Welling 2019): the same mean, far less variance. Nothing is
differentiated through z: discrete latent variables would do.
"""

from __future__ import annotations

import torch
from torch import Tensor

from aevb.errors import UsageError
from aevb.interfaces import Estimate, Model, Objective
from aevb.probability.distributions import draw


class ScoreFunction(Objective):
    """The ELBO, its gradient for q by the score function.

    samples: draws of z per row. baseline: subtract from each draw's f the mean over the row's other
    draws; by default wherever there are others. Raises UsageError for fewer samples than 1, or than
    2 with a baseline.
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
        """x: (B, D) -> Estimate; the log has "bound", "reconstruction" and "kl" in nats, bound =
        reconstruction - kl."""
        q = model.posterior_given(x)
        with torch.no_grad():
            z = draw(q, (self.samples,))
        log_q = q.log_prob(z)
        reconstruction, log_prior = model.log_joint(x, z)
        f = (reconstruction + log_prior - log_q).detach()
        if self.baseline:  # less the mean of the others = (less the mean of all) * K / (K - 1)
            f = (f - f.mean(0)) * (self.samples / (self.samples - 1))
        loss = -(reconstruction + log_prior + f * log_q).mean()
        terms = {
            "reconstruction": reconstruction.mean().detach(),
            "kl": (log_q - log_prior).mean().detach(),
        }
        return Estimate(loss, {"bound": terms["reconstruction"] - terms["kl"], **terms})
