r"""Monte-Carlo EM as in section 5 and appendix E of the paper: no encoder; draws of p(z|x) by Hamiltonian Monte Carlo.

    E   every row's z moves once: 10 leapfrog steps, of a size at which 90 % of the proposals are accepted
    M   5 updates of the decoder on log p(x|z) at these z

Over the whole training set at a time, as in the code that the authors published later
(github.com/dpkingma/anglepy, ``step_batch_mcem``): the paper calls the method not on-line, and so
slow for 50,000 rows. A sample of the abscissa is one row in one of the updates; the ten gradients
of the E step are not counted.
"""

from __future__ import annotations

import torch
from torch import Tensor

from aevb.paper.trial import Training
from aevb.probability.hmc import adapted

LEAPFROGS = 10
UPDATES = 5
ACCEPTED = 0.9
RATE = 1.0
"""Of the step size's change: ten times the default, since 50,000 rows leave few rounds, and a mean
of many little chance."""


PART = {"cpu": 1000, "cuda": 50_000}
"""Rows that are worked on at once: on a processor as many as its cache holds."""


class EMTraining(Training):
    """A trial whose method is mcem. Points must be multiples of UPDATES training sets."""

    def _start(self) -> None:
        decoder = {id(p) for p in self.model.decoder.parameters()}
        self.moved = [i for i, p in enumerate(self.model.parameters()) if id(p) in decoder]
        self.update = self._optimiser()
        shape = len(self.rows.train), self.trial.latent_dim
        self.z = torch.randn(shape, generator=torch.Generator().manual_seed(self.trial.seed)).to(
            self.rows.device
        )
        self.step_size = torch.tensor(0.1, device=self.rows.device)
        self.parts = torch.arange(shape[0], device=self.rows.device).split(
            PART[self.rows.device.type]
        )

    def _extra(self) -> dict[str, Tensor]:
        return {"z": self.z, "step_size": self.step_size}

    def _train(self, start: int, until: int) -> None:
        rows = len(self.rows.train)
        for round_ in range(start // (UPDATES * rows), until // (UPDATES * rows)):
            accepted = [self._sample(part) for part in self.parts]
            self.step_size.copy_(
                adapted(self.step_size, torch.cat(accepted).mean(), ACCEPTED, RATE)
            )
            for i in range(UPDATES):
                self._move(self._gradient(), UPDATES * round_ + i, rows)

    def _gradient(self) -> list[Tensor]:
        """Of all rows at once, in parts that stay in the processor's cache."""
        total: list[Tensor] = []
        for part in self.parts:
            found = self.gradient.decoder(self.rows.batch(part), self.z[part])
            if len(self.parts) == 1:
                return found
            total = (
                [a.clone() for a in found]
                if not total
                else [a.add_(b) for a, b in zip(total, found, strict=True)]
            )
        return total

    def _sample(self, part: Tensor) -> Tensor:
        """One move of the chains of some rows. Returns the probability of acceptance of each: (B,)."""
        x, z, generator = self.rows.batch(part), self.z[part], self.gradient.generator
        r = torch.randn(z.shape, generator=generator, device=z.device)
        start = self.gradient.log_joint(x, z) - 0.5 * r.square().sum(-1)
        position, step = z, self.step_size
        r = r + 0.5 * step * self.gradient.force(x, z)
        for i in range(LEAPFROGS):
            position = position + step * r
            r = r + (step if i < LEAPFROGS - 1 else 0.5 * step) * self.gradient.force(x, position)
        end = self.gradient.log_joint(x, position) - 0.5 * r.square().sum(-1)
        acceptance = (end - start).nan_to_num(nan=-torch.inf).clamp(max=0).exp()
        accepted = self.gradient.uniform(acceptance.shape) < acceptance
        self.z[part] = torch.where(accepted.unsqueeze(-1), position, z)
        return acceptance
