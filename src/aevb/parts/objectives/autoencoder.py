r"""The plain autoencoder: z is the mean of q(z|x), and there is no KL.

    loss = -log p(x | z = E_q[z])

Nothing in this loss decides where the codes lie. The decoder learns to decode the codes of the
data, but a draw from p(z) may be far from all of them. The decoder was never trained there, so the
latent space has holes.
"""

from __future__ import annotations

import torch
from torch import Tensor

from aevb.interfaces import Estimate, Model, Objective


class Autoencoder(Objective):
    """Maximise log p(x|z) at the mean of q(z|x). The variance of q is not trained.

    Example:
        >>> import torch
        >>> from aevb import VAE
        >>> from aevb.parts.objectives.autoencoder import Autoencoder
        >>> estimate = Autoencoder()(VAE(data_dim=3), torch.zeros(5, 3))
        >>> torch.equal(estimate.loss, -estimate.log["fidelity"])
        True
    """

    def forward(self, model: Model, x: Tensor) -> Estimate:
        """Estimate the loss on x: (B, D).

        The log has "fidelity", which is log p(x|z) at the mean of q(z|x). Only this is trained. The
        log also has "bound", "reconstruction" and "kl" of the current p and q. All are in nats.
        """
        fidelity = model.log_joint(x, model.posterior_given(x).mean)[0].mean()
        with torch.no_grad():
            reconstruction, kl = (terms.sum() / len(x) for terms in model.elbo_terms(x))
        log = {"bound": reconstruction - kl, "reconstruction": reconstruction, "kl": kl}
        return Estimate(-fidelity, {**log, "fidelity": fidelity.detach()})
