r"""Monte-Carlo EM as in section 5 and appendix E of the paper.

There is no encoder. Hamiltonian Monte Carlo (HMC) draws z from p(z|x). A round has two steps:

    E   every row's z moves once, by 10 leapfrog steps with 90 % of the proposals accepted
    M   5 updates of the decoder on log p(x|z) at these z

Each step uses the whole training set, as in the code that the authors published later
(github.com/dpkingma/anglepy, ``step_batch_mcem``). The paper says that the method is not on-line.
So it is slow for 50,000 rows. On the horizontal axis of a curve, each row of each update counts as
one sample. The gradients of the E step do not count.
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
"""Rate at which the step size adapts, ten times the default.

With 50,000 rows there are few rounds, and the mean acceptance over so many rows has little noise.
"""
PART = {"cpu": 1000, "cuda": 50_000}
"""Rows that are processed at once. On a CPU they fit into its cache."""


class EMTraining(Training):
    """A trial with the method mcem. Its points must be multiples of UPDATES training sets."""

    def _start(self) -> None:
        device = self.rows.device
        self.moved = self._decoder()
        self.update = self._optimiser()
        shape = len(self.rows.train), self.trial.latent_dim
        generator = torch.Generator().manual_seed(self.trial.seed)
        self.z = torch.randn(shape, generator=generator).to(device)
        self.step_size = torch.tensor(0.1, device=device)
        self.parts = torch.arange(shape[0], device=device).split(PART[device.type])

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
        """Return the decoder's gradients, summed over all rows part by part."""
        total: list[Tensor] = []
        for part in self.parts:
            found = self.gradient.decoder(self.rows.batch(part), self.z[part])
            if len(self.parts) == 1:
                return found
            if total:
                total = [a.add_(b) for a, b in zip(total, found, strict=True)]
            else:
                total = [a.clone() for a in found]
        return total

    def _sample(self, part: Tensor) -> Tensor:
        """Move the chains of some rows once, and return their acceptance probabilities: (B,)."""
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
