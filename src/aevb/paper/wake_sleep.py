r"""Wake-sleep with a log-variance head that learns slowly.

    logvar = c W h + b,   c = 0.1,   W and b zero at the start

The authors' later code trains wake-sleep with such an encoder (github.com/dpkingma/anglepy,
``MLBN_Inverse``, ``logvar_factor``). The paper does not mention it. Adagrad changes W as fast as
any other weight, so c W changes at c times that speed.
"""

from __future__ import annotations

import torch
from torch import Tensor

from aevb.paper.trial import Training


class WakeSleepTraining(Training):
    """A trial with the method wake_sleep.

    ``head`` is W, (L, hidden). The model's own weight is c W.
    """

    def _start(self) -> None:
        self.at = [name for name, _ in self.model.named_parameters()].index(
            "posterior.logvar.weight"
        )
        weight, bias = (self.gradient.parameters[self.at + i] for i in range(2))
        if self.trial.logvar != 1.0:
            weight.zero_()
            bias.zero_()
        self.head = weight.clone()
        super()._start()

    def _moved_tensors(self) -> list[Tensor]:
        tensors = super()._moved_tensors()
        tensors[self.at] = self.head
        return tensors

    def _move(self, gradients: list[Tensor], step: int, rows: int) -> None:
        super()._move(gradients, step, rows)
        torch.mul(self.head, self.trial.logvar, out=self.gradient.parameters[self.at])

    def _prior(self, gradients: list[Tensor], share: float) -> list[Tensor]:
        """Add the gradient of the prior, which for the head is a prior of W, not of c W."""
        gradients[self.at].mul_(self.trial.logvar)
        gradients[self.at].add_(self.head - self.gradient.parameters[self.at], alpha=share)
        return super()._prior(gradients, share)

    def _extra(self) -> dict[str, Tensor]:
        return {"head": self.head}
