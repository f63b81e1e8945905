r"""The plain autoencoder: z is the mean of q(z|x), and there is no KL.

    loss = -log p(x | z = E_q[z])

Nothing tells the codes where to lie. Where they do lie the decoder is good; a draw from p(z) need
not be near any of them, and what the decoder makes of it was never trained: the latent space has
holes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from aevb.interfaces import Estimate, Model, Objective


class Autoencoder(Objective):
    """Maximise log p(x|z) at the mean of q(z|x). The variance of q stays as it begins."""

    def forward(self, model: Model, x: Tensor) -> Estimate:
        """x: (B, D) -> Estimate; the log has "fidelity", log p(x|z) at the mean, which is trained, and "bound",
        "reconstruction" and "kl" of the pair p, q as it is, which are not; nats."""
        fidelity = model.log_joint(x, model.posterior_given(x).mean)[0].mean()
        with torch.no_grad():
            reconstruction, kl = (terms.sum() / len(x) for terms in model.elbo_terms(x))
        log = {"bound": reconstruction - kl, "reconstruction": reconstruction, "kl": kl}
        return Estimate(-fidelity, {**log, "fidelity": fidelity.detach()})
