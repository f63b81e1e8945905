r"""Estimate log p(x) by annealed importance sampling (AIS; Neal 2001), from below and from above.

Chains start from q(z|x) and move to the posterior p(z|x) through densities between the two,

    f_t(z) = q(z|x)^(1 - b_t) p(x, z)^b_t,      0 = b_0 < b_1 < ... < b_T = 1,

with one Hamiltonian move at each. The product of the ratios f_t / f_(t-1), each at the point from
which move t starts, is an unbiased estimate of p(x). Its logarithm is a lower bound on average, and
a tight one if the moves mix well.

The same product can be computed backwards from an exact draw of the posterior. It then estimates
1 / p(x) and gives an upper bound. Exact draws exist for rows that the model itself makes: draw z
from the prior and x from p(x|z); then z is a draw from p(z|x). For such rows the two bounds enclose
log p(x), and their gap shows how well the estimate works (bidirectional Monte Carlo; Grosse, Ancha
& Roy 2016).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from aevb.errors import UsageError
from aevb.evaluation.bound import Figure, evaluating, mean_figure
from aevb.model import VAE
from aevb.probability.hmc import Move, adapted, hmc_move
from aevb.probability.seeds import counter_seed

ROWS = 64
"""The chains of this many rows run together."""
FIRST_STEP = 0.3
"""Step size at the start of the adaptation, in standard deviations of q(z|x)."""
TUNING_CHAINS = 4
"""Chains for each row that adapt the step sizes."""


class _Schedule(NamedTuple):
    """The path from q(z|x) to the posterior.

    b: (T + 1,), from 0 to 1. steps: (T, B, L), the step size of each move, row and dimension.
    """

    b: Tensor
    steps: Tensor


class Sandwich(NamedTuple):
    """Bounds on log p(x) for rows that the model made: (N,) each, nats, without a Jacobian.

    Example:
        >>> import torch
        >>> from aevb.evaluation.ais import Sandwich
        >>> Sandwich(lower=torch.tensor([-2.0]), upper=torch.tensor([-1.5])).upper
        tensor([-1.5000])
    """

    lower: Tensor
    upper: Tensor

    def figures(self, log_jacobian: float = 0.0) -> dict[str, Figure]:
        """Average over the rows: ``ais_lower``, ``ais_upper`` and ``ais_gap``.

        Example:
            >>> import torch
            >>> from aevb.evaluation.ais import Sandwich
            >>> both = Sandwich(torch.tensor([-2.0, -3.0]), torch.tensor([-1.9, -2.9]))
            >>> {name: round(figure.value, 2) for name, figure in both.figures().items()}
            {'ais_lower': -2.5, 'ais_upper': -2.4, 'ais_gap': 0.1}
        """
        figures = {
            "ais_lower": mean_figure(self.lower + log_jacobian),
            "ais_upper": mean_figure(self.upper + log_jacobian),
            "ais_gap": mean_figure(self.upper - self.lower),
        }
        return {
            name: figure._replace(details={"rows_of_its_own": len(self.lower)})
            for name, figure in figures.items()
        }


@torch.no_grad()
def ais_rows(
    model: VAE,
    x: Tensor,
    *,
    chains: int = 16,
    temperatures: int = 100,
    leapfrogs: int = 10,
    seed: int = 0,
    log_jacobian: float = 0.0,
    on_rows: Callable[[int], None] | None = None,
) -> Tensor:
    """Estimate log p(x) of every row from below: (N,), nats.

    Step sizes are adapted in an earlier run with other noise, and then fixed. The result depends on
    ``seed``, and not on torch's global generator.

    Args:
        model: The VAE.
        x: (N, D).
        chains: Chains for each row.
        temperatures: T, the number of moves.
        leapfrogs: Leapfrog steps in each move.
        seed: Seeds the chains.
        log_jacobian: Nats that are added to turn the density of x into that of the data.
        on_rows: Called with the number of rows each time some are done.

    Raises:
        UsageError: A number is below 1.

    Example:
        >>> import torch
        >>> from aevb import VAE
        >>> from aevb.evaluation.ais import ais_rows
        >>> from aevb.evaluation.log_likelihood import importance_rows
        >>> _ = torch.manual_seed(0)
        >>> model, x = VAE(4, (8,), 2), torch.tensor([[1.0, 0.0, 1.0, 1.0]])
        >>> annealed = ais_rows(model, x, chains=32, temperatures=20)
        >>> sampled = importance_rows(model, x, samples=1000).log_likelihood
        >>> bool((annealed - sampled).abs() < 0.05)
        True
    """
    _check(chains, temperatures, leapfrogs)
    parts = []
    with evaluating(model):
        for start in range(0, len(x), ROWS):
            batch = x[start : start + ROWS]
            torch.manual_seed(counter_seed(seed, "ais", start))
            path = _Path(model, batch, leapfrogs)
            log_w = path.forward(chains, path.tuned(temperatures))
            parts.append(_log_mean_exp(log_w) + log_jacobian)
            if on_rows:
                on_rows(len(batch))
    return torch.cat(parts)


@torch.no_grad()
def sandwich(
    model: VAE,
    rows: int,
    *,
    chains: int = 16,
    temperatures: int = 100,
    leapfrogs: int = 10,
    seed: int = 0,
    on_rows: Callable[[int], None] | None = None,
) -> Sandwich:
    """Bound log p(x) from both sides on rows drawn from the model.

    Args:
        model: The VAE.
        rows: How many rows to draw.
        chains: Chains for each row.
        temperatures: T, the number of moves.
        leapfrogs: Leapfrog steps in each move.
        seed: Seeds the rows and the chains.
        on_rows: Called with the number of rows each time some are done.

    Raises:
        UsageError: A number is below 1.

    Example:
        >>> import torch
        >>> from aevb import VAE
        >>> from aevb.evaluation.ais import sandwich
        >>> _ = torch.manual_seed(0)
        >>> bounds = sandwich(VAE(4, (8,), 2), rows=20, temperatures=20)
        >>> gap = (bounds.upper - bounds.lower).mean()
        >>> bool(gap.abs() < 0.05)
        True
    """
    _check(chains, temperatures, leapfrogs)
    lower, upper = [], []
    with evaluating(model):
        for start in range(0, rows, ROWS):
            torch.manual_seed(counter_seed(seed, "sandwich", start))
            z = model.prior().sample(torch.Size((min(ROWS, rows - start),)))
            x = model.likelihood_given(z).sample()
            path = _Path(model, x, leapfrogs)
            schedule = path.tuned(temperatures)
            lower.append(_log_mean_exp(path.forward(chains, schedule)))
            upper.append(-_log_mean_exp(-path.backward(z.expand(chains, *z.shape), schedule)))
            if on_rows:
                on_rows(len(z))
    return Sandwich(torch.cat(lower), torch.cat(upper))


class _Path:
    """The path from q(z|x) to the posterior p(z|x) for given rows x: (B, D)."""

    def __init__(self, model: VAE, x: Tensor, leapfrogs: int) -> None:
        self.model, self.x, self.leapfrogs = model, x, leapfrogs
        self.q = model.posterior_given(x)
        self.scale = self.q.variance.sqrt()

    def forward(self, chains: int, schedule: _Schedule) -> Tensor:
        """Return the log of the product of the ratios, from q to the posterior: (chains, B)."""
        z = self.q.sample(torch.Size((chains,)))
        log_w = self._ratio(z) * schedule.b[1]
        for t, step in enumerate(schedule.steps[:-1], start=1):
            z = hmc_move(self._between(schedule.b[t]), z, step, self.leapfrogs).z
            log_w += self._ratio(z) * (schedule.b[t + 1] - schedule.b[t])
        return log_w

    def backward(self, z: Tensor, schedule: _Schedule) -> Tensor:
        """Return the log of the product from the posterior to q: (chains, B).

        z: (chains, B, L), exact draws of the posterior.
        """
        log_w = torch.zeros(z.shape[:-1], dtype=torch.float64, device=z.device)
        for t in range(len(schedule.steps), 0, -1):
            z = hmc_move(self._between(schedule.b[t]), z, schedule.steps[t - 1], self.leapfrogs).z
            log_w += self._ratio(z) * (schedule.b[t] - schedule.b[t - 1])
        return log_w

    def tuned(self, temperatures: int) -> _Schedule:
        """Adapt step sizes for each move and row on the way from q to the posterior; fix them."""
        b = _between_zero_and_one(temperatures).to(self.x.device)
        z = self.q.sample(torch.Size((TUNING_CHAINS,)))
        step, steps = torch.full_like(self.scale[:, :1], FIRST_STEP), []
        for i in range(20):  # Find the order of magnitude before the first move is recorded.
            acceptance = self._move(z, b[1], step).acceptance.mean(0)[:, None]
            step = adapted(step, acceptance, rate=1.0 / (1 + i / 5))
        for t in range(1, temperatures + 1):
            move = self._move(z, b[t], step)
            z, step = move.z, adapted(step, move.acceptance.mean(0)[:, None])
            steps.append(step * self.scale)
        return _Schedule(b, torch.stack(steps))

    def _move(self, z: Tensor, b: Tensor, step: Tensor) -> Move:
        return hmc_move(self._between(b), z, step * self.scale, self.leapfrogs)

    def _ends(self, z: Tensor) -> tuple[Tensor, Tensor]:
        """Return log q(z|x) and log p(x, z): (chains, B) each."""
        reconstruction, log_prior = self.model.log_joint(self.x, z)
        return self.q.log_prob(z), reconstruction + log_prior

    def _between(self, b: Tensor) -> Callable[[Tensor], Tensor]:
        def log_density(z: Tensor) -> Tensor:
            log_q, log_joint = self._ends(z)
            return (1 - b) * log_q + b * log_joint

        return log_density

    def _ratio(self, z: Tensor) -> Tensor:
        log_q, log_joint = self._ends(z)
        return log_joint.double() - log_q.double()


def _between_zero_and_one(temperatures: int, steepness: float = 4.0) -> Tensor:
    """Return b: (T + 1,), from 0 to 1.

    The values are closer together near both ends, where the densities change most (Wu et al. 2017).
    """
    s = torch.sigmoid(steepness * torch.linspace(-1, 1, temperatures + 1, dtype=torch.float64))
    return (s - s[0]) / (s[-1] - s[0])


def _log_mean_exp(log_w: Tensor) -> Tensor:
    """Return the log of the mean over the first axis: (K, B) -> (B,)."""
    return log_w.logsumexp(0) - math.log(len(log_w))


def _check(chains: int, temperatures: int, leapfrogs: int) -> None:
    for name, value in [
        ("chains", chains),
        ("temperatures", temperatures),
        ("leapfrogs", leapfrogs),
    ]:
        if value < 1:
            raise UsageError(f"{name} must be at least 1; got {value}")
