r"""Optimisers, as one fused operation over all parameters each.

    Adam (Kingma & Ba 2015)          p -= lr m_hat / (sqrt(v_hat) + eps)
    Adagrad (Duchi et al. 2011)      p -= lr g / (sqrt(sum g^2) + eps)

torch.optim has the same kernels behind bookkeeping that costs a small network more than its gradient does. What is kept here
besides the kernel: the moments, under torch.optim's names, and a step count that all parameters share.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import ClassVar

import torch
from torch import Tensor


class Update(ABC):
    """parameters: changed in place, in this order. lr: step size."""

    moments: ClassVar[tuple[str, ...]]

    def __init__(self, parameters: Iterable[Tensor], lr: float) -> None:
        self.parameters, self.lr = list(parameters), lr
        self.step = torch.zeros((), device=self.parameters[0].device)
        self.state = {name: [torch.zeros_like(p) for p in self.parameters] for name in self.moments}

    @torch.no_grad()
    def __call__(self, gradients: Sequence[Tensor], bad: Tensor) -> None:
        """Take one step. bad: (), 1.0 to leave everything as it is, because a gradient is not finite; 0.0 otherwise."""
        self.step += 1 - bad
        self._run(gradients, bad)

    @abstractmethod
    def _run(self, gradients: Sequence[Tensor], bad: Tensor) -> None: ...

    def state_dict(self) -> dict[str, Tensor]:
        """``{index}.{moment}`` and ``{index}.step`` -> tensors."""
        found = {f"{i}.{name}": values[i] for name, values in self.state.items() for i in range(len(self.parameters))}
        return found | {f"{i}.step": self.step for i in range(len(self.parameters))}

    def load_state_dict(self, saved: dict[str, Tensor]) -> None:
        """Take up what ``state_dict`` returned, in place."""
        self.step.copy_(saved["0.step"])
        for name, values in self.state.items():
            for i, value in enumerate(values):
                value.copy_(saved[f"{i}.{name}"])


class Adam(Update):
    """Adam with beta 0.9 and 0.999, epsilon 1e-8."""

    moments = ("exp_avg", "exp_avg_sq")

    def _run(self, gradients: Sequence[Tensor], bad: Tensor) -> None:
        torch._fused_adam_(
            self.parameters, list(gradients), self.state["exp_avg"], self.state["exp_avg_sq"], [],
            [self.step] * len(self.parameters), lr=self.lr, beta1=0.9, beta2=0.999, weight_decay=0.0, eps=1e-8,
            amsgrad=False, maximize=False, found_inf=bad,
        )  # fmt: skip


class Adagrad(Update):
    """Adagrad with epsilon 1e-10."""

    moments = ("sum",)

    def _run(self, gradients: Sequence[Tensor], bad: Tensor) -> None:
        torch._fused_adagrad_(
            self.parameters, list(gradients), self.state["sum"], [self.step] * len(self.parameters), lr=self.lr,
            lr_decay=0.0, weight_decay=0.0, eps=1e-10, maximize=False, found_inf=bad,
        )  # fmt: skip
