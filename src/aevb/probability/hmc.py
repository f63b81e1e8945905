r"""Hamiltonian Monte Carlo over latent vectors, many chains at once (Neal 2011).

A chain at z draws a momentum r ~ N(0, I). It follows the dynamics of the energy -log density(z) +
|r|^2 / 2 by leapfrog steps, and accepts the end point with probability min(1, exp(-change of
energy)). The leapfrog map is reversible and preserves volume. So a move leaves the density exactly
invariant for any step size. The step size decides only how far a chain moves.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

LogDensity = Callable[[Tensor], Tensor]
"""A function z: (..., L) -> (...), nats, up to a constant."""


class Move(NamedTuple):
    """The result of one move of every chain.

    Example:
        >>> import torch
        >>> from aevb.probability.hmc import Move
        >>> Move(torch.zeros(4, 2), torch.ones(4)).acceptance.shape
        torch.Size([4])
    """

    z: Tensor
    """(..., L): where the chains are now."""
    acceptance: Tensor
    """(...): the probabilities with which the proposals were accepted."""


def hmc_move(log_density: LogDensity, z: Tensor, step: Tensor, leapfrogs: int = 10) -> Move:
    """Move every chain once, with torch's global generator. The result carries no gradient.

    Args:
        log_density: the log of the target density, up to a constant; differentiable.
        z: (..., L), where the chains are.
        step: the step size, of any shape that broadcasts to z, such as one for each dimension.
        leapfrogs: the number of leapfrog steps in a move.

    Example:
        >>> import torch
        >>> from aevb.probability.hmc import hmc_move
        >>> _ = torch.manual_seed(0)
        >>> def standard_normal(z):
        ...     return -0.5 * z.square().sum(-1)
        >>> z = torch.zeros(1000, 2)
        >>> for _ in range(10):
        ...     z, acceptance = hmc_move(standard_normal, z, torch.tensor(0.3), leapfrogs=5)
        >>> bool((z.var(0) - 1).abs().max() < 0.2), bool(acceptance.mean() > 0.9)
        (True, True)
    """
    start, gradient = _value_and_gradient(log_density, z)
    momentum = torch.randn_like(z)
    position, r = z, momentum + 0.5 * step * gradient
    for i in range(leapfrogs):
        position = position + step * r
        end, gradient = _value_and_gradient(log_density, position)
        r = r + (step if i < leapfrogs - 1 else 0.5 * step) * gradient
    change = end - start + 0.5 * (momentum.square() - r.square()).sum(-1)
    # A chain stays where it was if its proposal has a density that is not a number.
    acceptance = change.nan_to_num(nan=-torch.inf).clamp(max=0).exp()
    accepted = torch.rand_like(acceptance) < acceptance
    return Move(torch.where(accepted.unsqueeze(-1), position, z), acceptance)


def adapted(step: Tensor, acceptance: Tensor, target: float = 0.65, rate: float = 0.1) -> Tensor:
    """Return a larger step where acceptance exceeds ``target``, and a smaller step elsewhere.

    A run that adapts its own step size does not give exact results. Adapt it in an earlier run.

    Args:
        step: the step sizes.
        acceptance: the probabilities of acceptance; the same shape.
        target: the share of proposals that should be accepted.
        rate: the change of the log of the step, per unit of ``acceptance - target``.

    Example:
        >>> import torch
        >>> from aevb.probability.hmc import adapted
        >>> step, acceptance = torch.tensor([0.5, 0.5]), torch.tensor([1.0, 0.2])
        >>> (adapted(step, acceptance) > step).tolist()
        [True, False]
    """
    return step * torch.exp(rate * (acceptance - target))


def _value_and_gradient(log_density: LogDensity, z: Tensor) -> tuple[Tensor, Tensor]:
    with torch.enable_grad():
        z = z.detach().requires_grad_()
        value = log_density(z)
        (gradient,) = torch.autograd.grad(value.sum(), z)
    return value.detach(), gradient
