r"""Full variational Bayes (appendix F of the paper): the decoder's parameters get a posterior too.

    p(theta) = N(0, I),   q(theta) = N(m, s^2),   theta = m + s zeta,   zeta ~ N(0, I)

    log p(X) >= E_q(theta)[ sum_i bound(x_i; theta) ] - KL(q(theta) || p(theta))

AEVB learns a point estimate of each weight. This method learns a mean and a standard deviation
instead. Gradients reach these two through theta, as they reach mu and logvar through z. Both KLs
have a closed form. The right-hand side is a bound on the evidence of the whole training set. Its KL
grows with the number of parameters and with how far they are fitted. So two models can be compared
by this bound without test rows. The encoder is not part of p, so its weights keep the prior that
they have in the other methods. All rows of a minibatch share one draw of theta. (The appendix draws
one for each row, which gives the same mean.)
"""

from __future__ import annotations

import torch
from torch import Tensor

from aevb.model import VAE
from aevb.paper.trial import Training, TrialRows, bounds
from aevb.parts.posteriors.gaussian import kl_divergence
from aevb.probability.seeds import generator

START_LOGVAR = -6.0
"""Initial log-variances of q(theta).

The standard deviation is then 0.05: half of the usual spread of a weight with 100 inputs.
"""
DRAWS = 10
"""Draws of theta for each measurement."""


class FullVBTraining(Training):
    """A trial with the method full_vb. Its model holds the means of q(theta).

    Its curve has the bounds at these means. It also has "train_drawn" and "test_drawn", the mean
    bounds of a row over draws of theta, and "evidence", the bound on log p(X) / N.
    """

    def _start(self) -> None:
        self.run = self.gradient.aevb
        self.drawn = self._decoder()
        self.means = [self.gradient.parameters[i].clone() for i in self.drawn]
        self.logvars = [torch.full_like(mean, START_LOGVAR) for mean in self.means]
        self.moved = [i for i in range(len(self.gradient.parameters)) if i not in self.drawn]
        self.update = self._optimiser()
        self.measure = self._bounds

    def _moved_tensors(self) -> list[Tensor]:
        return [*super()._moved_tensors(), *self.means, *self.logvars]

    def _extra(self) -> dict[str, Tensor]:
        named = {f"mean.{i}": mean for i, mean in zip(self.drawn, self.means, strict=True)}
        return named | {
            f"logvar.{i}": logvar for i, logvar in zip(self.drawn, self.logvars, strict=True)
        }

    def _train(self, start: int, until: int) -> None:
        super()._train(start, until)
        self._set(self.means)

    def _step(self, x: Tensor) -> list[Tensor]:
        self.zetas = [self.gradient.normal(mean.shape) for mean in self.means]
        self._set(self._theta(self.zetas))
        return super()._step(x)

    def _theta(self, zetas: list[Tensor]) -> list[Tensor]:
        """Return the draw of theta that this noise gives."""
        return [
            mean + torch.exp(0.5 * logvar) * zeta
            for mean, logvar, zeta in zip(self.means, self.logvars, zetas, strict=True)
        ]

    def _prior(self, gradients: list[Tensor], share: float) -> list[Tensor]:
        """Return the gradients of the negative bound on log p(X), times ``share``.

        gradients: those of a minibatch's negative bound, at the draw of theta.
        """
        encoder = super()._prior(gradients, share)
        by_mean, by_logvar = [], []
        for i, mean, logvar, zeta in zip(
            self.drawn, self.means, self.logvars, self.zetas, strict=True
        ):
            variance = logvar.exp()
            by_mean.append(gradients[i] + share * mean)
            by_logvar.append(0.5 * (gradients[i] * variance.sqrt() * zeta + share * (variance - 1)))
        return [*encoder, *by_mean, *by_logvar]

    def _set(self, theta: list[Tensor]) -> None:
        """Put parameters into the decoder."""
        for i, value in zip(self.drawn, theta, strict=True):
            self.gradient.parameters[i].copy_(value)

    def kl(self) -> float:
        """Return KL(q(theta) || p(theta)) in nats."""
        pairs = zip(self.means, self.logvars, strict=True)
        return sum(
            float(kl_divergence(m.double().reshape(1, -1), s.double().reshape(1, -1)))
            for m, s in pairs
        )

    def _bounds(self, model: VAE, rows: TrialRows) -> dict[str, float]:
        at_means = bounds(model, rows)
        noise, drawn = generator(self.trial.seed, "theta"), []
        for _ in range(DRAWS):
            zetas = [
                torch.randn(mean.shape, generator=noise).to(mean.device) for mean in self.means
            ]
            self._set(self._theta(zetas))
            drawn.append(bounds(model, rows))
        self._set(self.means)
        mean = {
            f"{split}_drawn": sum(one[f"{split}_bound"] for one in drawn) / DRAWS
            for split in ("train", "test")
        }
        return at_means | mean | {"evidence": mean["train_drawn"] - self.kl() / len(rows.train)}
