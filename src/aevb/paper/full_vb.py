r"""Full variational Bayes (appendix F of the paper): a posterior for the decoder's parameters too.

    p(theta) = N(0, I),   q(theta) = N(m, s^2),   theta = m + s zeta,   zeta ~ N(0, I)

    log p(X) >= E_q(theta)[ sum_i bound(x_i; theta) ] - KL(q(theta) || p(theta))

In place of the estimate of every weight that AEVB makes, a mean and a deviation, both learned
through the path that also leads through z; both KLs are closed. The right-hand side is a bound on
the evidence of the whole training set, with nothing fitted that it does not pay for: two models can
be compared by it without a test row. The encoder is no part of p: its weights keep their prior as
in the other methods. One draw of theta serves a minibatch (the appendix draws one a row: the same
mean).
"""

from __future__ import annotations

import torch
from torch import Tensor

from aevb.model import VAE
from aevb.paper.trial import Rows, Training, bounds
from aevb.parts.posteriors.gaussian import kl_divergence
from aevb.probability.seeds import generator

START_LOGVAR = -6.0
"""Log-variances of q(theta) begin here: standard deviations of 0.05, half of what a weight of 100
inputs may vary by."""
DRAWS = 10
"""Draws of theta for a figure."""


class FullVBTraining(Training):
    """A trial whose method is full_vb. Its model has the means of q(theta); its curve has besides
    the bounds at the means "train_drawn" and "test_drawn", the mean bounds of a row over draws of
    theta, and "evidence", the bound on log p(X) / N."""

    def _start(self) -> None:
        self.run = self.gradient.aevb
        decoder = {id(p) for p in self.model.decoder.parameters()}
        self.drawn = [i for i, p in enumerate(self.model.parameters()) if id(p) in decoder]
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
        self._set(
            [
                m + torch.exp(0.5 * s) * z
                for m, s, z in zip(self.means, self.logvars, self.zetas, strict=True)
            ]
        )
        return super()._step(x)

    def _prior(self, gradients: list[Tensor], share: float) -> list[Tensor]:
        """Of minus ``share`` of the bound on log p(X), from the gradients of minus a minibatch's
        bound at the draw."""
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
        for i, value in zip(self.drawn, theta, strict=True):
            self.gradient.parameters[i].copy_(value)

    def kl(self) -> float:
        """KL(q(theta) || p(theta)), nats."""
        pairs = zip(self.means, self.logvars, strict=True)
        return sum(
            float(kl_divergence(m.double().reshape(1, -1), s.double().reshape(1, -1)))
            for m, s in pairs
        )

    def _bounds(self, model: VAE, rows: Rows) -> dict[str, float]:
        at_means = bounds(model, rows)
        noise, drawn = generator(self.trial.seed, "theta"), []
        for _ in range(DRAWS):
            zetas = [
                torch.randn(mean.shape, generator=noise).to(mean.device) for mean in self.means
            ]
            self._set(
                [
                    m + torch.exp(0.5 * s) * z
                    for m, s, z in zip(self.means, self.logvars, zetas, strict=True)
                ]
            )
            drawn.append(bounds(model, rows))
        self._set(self.means)
        mean = {
            f"{split}_drawn": sum(one[f"{split}_bound"] for one in drawn) / DRAWS
            for split in ("train", "test")
        }
        return at_means | mean | {"evidence": mean["train_drawn"] - self.kl() / len(rows.train)}
