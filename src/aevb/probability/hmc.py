r"""Hamiltonian Monte Carlo over latent vectors, many chains at once (Neal 2011).

A chain at z draws a momentum r ~ N(0, I), follows the dynamics of the energy -log density(z) + |r|^2 / 2 by leapfrog steps,
and accepts where it arrives with probability min(1, exp(-change of energy)). The leapfrog map is reversible and keeps
volumes, so the density is left invariant exactly, whatever the step size; this chooses only how far a chain gets.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

LogDensity = Callable[[Tensor], Tensor]
"""z: (..., L) -> (...), nats, up to a constant."""


class Move(NamedTuple):
    """z: (..., L), where the chains are now. acceptance: (...), the probability with which the
    proposal was accepted."""

    z: Tensor
    acceptance: Tensor


def hmc_move(log_density: LogDensity, z: Tensor, step: Tensor, leapfrogs: int = 10) -> Move:
    """One move of every chain. z: (..., L). step: step size, anything that broadcasts to z: by
    chain, by dimension, ...

    Depends on torch's global generator. The result carries no gradient.
    """
    start, gradient = _value_and_gradient(log_density, z)
    momentum = torch.randn_like(z)
    position, r = z, momentum + 0.5 * step * gradient
    for i in range(leapfrogs):
        position = position + step * r
        end, gradient = _value_and_gradient(log_density, position)
        r = r + (step if i < leapfrogs - 1 else 0.5 * step) * gradient
    change = end - start + 0.5 * (momentum.square() - r.square()).sum(-1)
    # A chain that ran off to where the density is not a number stays where it was.
    acceptance = change.nan_to_num(nan=-torch.inf).clamp(max=0).exp()
    accepted = torch.rand_like(acceptance) < acceptance
    return Move(torch.where(accepted.unsqueeze(-1), position, z), acceptance)


def adapted(step: Tensor, acceptance: Tensor, target: float = 0.65, rate: float = 0.1) -> Tensor:
    """A larger step where more than ``target`` of the proposals are accepted, else a smaller one;
    both of one shape.

    Steps must not be adapted within a run whose result is to be exact: adapt in a run before it.
    """
    return step * torch.exp(rate * (acceptance - target))


def _value_and_gradient(log_density: LogDensity, z: Tensor) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        z = z.detach().requires_grad_()
        value = log_density(z)
        (gradient,) = torch.autograd.grad(value.sum(), z)
    return value.detach(), gradient
