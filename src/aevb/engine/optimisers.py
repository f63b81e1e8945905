r"""Optimisers, each as one fused operation over all parameters.

    Adam (Kingma & Ba 2015)          p -= lr m_hat / (sqrt(v_hat) + eps)
    Adagrad (Duchi et al. 2011)      p -= lr g / (sqrt(sum g^2) + eps)

torch.optim has the same kernels, but its bookkeeping costs a small network more than the gradient
does. An optimiser here keeps the moments, under torch.optim's names, and one step count for all
parameters.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Sequence
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn

FEW_NUMBERS = {"cpu": 100_000, "cuda": 100_000_000}
"""A model with at most this many parameters, by device, keeps them in one tensor.

For small models the calls take most of the time, above all on a GPU.
"""

BLOCKS = 36
"""Parameters that one launch of torch's kernels takes, with a gradient and two moments each."""


@torch.no_grad()
def join(parameters: Iterable[Tensor]) -> Tensor:
    """Move parameters into one tensor (N,), in their order. They become views of it."""
    parameters = list(parameters)
    flat = torch.cat([parameter.reshape(-1) for parameter in parameters])
    for parameter, part in zip(parameters, parts_of(flat, parameters), strict=True):
        parameter.data = part
    return flat


def parts_of(flat: Tensor, like: Sequence[Tensor]) -> list[Tensor]:
    """Cut flat (N,) into views with the shapes and in the order of ``like``."""
    parts = flat.split([each.numel() for each in like])
    return [part.view_as(each) for part, each in zip(parts, like, strict=True)]


class Update(ABC):
    """An optimiser that changes parameters in place.

    Args:
        parameters: the tensors to train, in a fixed order.
        lr: step size.
        flat: the result of ``join`` on the parameters, if they were joined.
    """

    moments: ClassVar[tuple[str, ...]]

    def __init__(self, parameters: Iterable[Tensor], lr: float, flat: Tensor | None = None) -> None:
        self.parameters, self.lr, self.flat = list(parameters), lr, flat
        self.step = torch.zeros((), device=self.parameters[0].device)
        self.rate = self.step + lr  # the step size as a tensor, for CUDA graphs
        self.pieces = self.parameters if flat is None else [flat]
        self.piece_moments = {
            name: [torch.zeros_like(piece) for piece in self.pieces] for name in self.moments
        }
        self.state = {
            name: values if flat is None else parts_of(values[0], self.parameters)
            for name, values in self.piece_moments.items()
        }

    @classmethod
    def of_model(cls, model: nn.Module, lr: float) -> Self:
        """An optimiser of all parameters of ``model``, which are joined if they are few."""
        parameters = list(model.parameters())
        few = sum(each.numel() for each in parameters) <= FEW_NUMBERS.get(
            parameters[0].device.type, 0
        )
        return cls(parameters, lr, join(parameters) if few else None)

    def set_rate(self, lr: float) -> None:
        """Change the step size."""
        if lr != self.lr:
            self.lr = lr
            self.rate.fill_(lr)

    @torch.no_grad()
    def __call__(self, gradients: Sequence[Tensor], bad: Tensor) -> None:
        """Take one step.

        gradients: one for each parameter, or a single one for ``flat``. bad: (), 0.0, or 1.0 to
        leave everything as it is, because a gradient is not finite.
        """
        self.step += 1 - bad
        lists = [self.pieces, list(gradients), *self.piece_moments.values()]
        lists, lr = (_cut(lists), self.rate) if bad.is_cuda else (lists, self.lr)
        self._run(*lists, steps=[self.step] * len(lists[0]), lr=lr, found_inf=bad)

    @abstractmethod
    def _run(self, *lists: list[Tensor], steps: list[Tensor], lr: Any, found_inf: Tensor) -> None:
        """Call the kernel.

        lists: parameters, gradients, and moments in the order of ``moments``. lr: a number or a
        tensor.
        """

    def tensors(self) -> list[Tensor]:
        """All tensors that a step changes, parameters included; joined parameters as one tensor."""
        return [
            *self.pieces,
            *(moment for moments in self.piece_moments.values() for moment in moments),
            self.step,
        ]

    def state_dict(self) -> dict[str, Tensor]:
        """The moments and the step count, by the names ``{index}.{moment}``, ``{index}.step``."""
        found = {
            f"{i}.{name}": values[i]
            for name, values in self.state.items()
            for i in range(len(self.parameters))
        }
        return found | {f"{i}.step": self.step for i in range(len(self.parameters))}

    def load_state_dict(self, saved: dict[str, Tensor]) -> None:
        """Restore what ``state_dict`` returned, in place."""
        self.step.copy_(saved["0.step"])
        for name, values in self.state.items():
            for i, value in enumerate(values):
                value.copy_(saved[f"{i}.{name}"])


class Adam(Update):
    """Adam with beta 0.9 and 0.999, epsilon 1e-8."""

    moments = ("exp_avg", "exp_avg_sq")

    def _run(self, *lists: list[Tensor], steps: list[Tensor], lr: Any, found_inf: Tensor) -> None:
        parameters, gradients, means, squares = lists
        torch._fused_adam_(
            parameters, gradients, means, squares, [], steps, lr=lr, beta1=0.9, beta2=0.999,
            weight_decay=0.0, eps=1e-8, amsgrad=False, maximize=False, found_inf=found_inf,
        )  # fmt: skip


class Adagrad(Update):
    """Adagrad with epsilon 1e-10."""

    moments = ("sum",)

    def _run(self, *lists: list[Tensor], steps: list[Tensor], lr: Any, found_inf: Tensor) -> None:
        parameters, gradients, sums = lists
        torch._fused_adagrad_(
            parameters, gradients, sums, steps, lr=lr, lr_decay=0.0, weight_decay=0.0, eps=1e-10,
            maximize=False, found_inf=found_inf,
        )  # fmt: skip


def _cut(lists: list[list[Tensor]]) -> list[list[Tensor]]:
    """Cut the tensors of all lists in the same way, into about ``BLOCKS`` parts.

    torch's kernels give each block of the GPU 65,536 numbers of a tensor. Without the cut, a model
    of 0.8 million parameters would leave nine tenths of an H100 idle.
    """
    size = -(-sum(each.numel() for each in lists[0]) // BLOCKS)
    size += -size % 4  # the kernels read four numbers at once
    # A gradient may be stored as its transpose.
    return [
        [part for each in found for part in each.contiguous().view(-1).split(size)]
        for found in lists
    ]
