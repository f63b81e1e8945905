"""Rows of which some cells are unknown, and weighted draws of these cells."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol, cast

import torch
from torch import Tensor

from aevb.datasets.schema import MOST_NUMBERS
from aevb.model import VAE
from aevb.probability.distributions import rsample_and_log_prob

Accept = Callable[[Tensor, Tensor], Tensor]
"""Which draws keep a condition: (x: (..., B, D), numbers of the B rows: (B,)) -> (..., B)."""

PRIOR_SHARE = 0.25
"""The share of the proposals of z that come from the prior."""
PAIRS = 16_384
"""At most this many draws go through the decoder at once."""


class CellDistribution(Protocol):
    """What p(x|z) must offer for rows with unknown cells, which are NaN.

    A cell that is known to be missing is infinity, if the model knows gaps in its column. With
    ``gaps`` that is an event with a probability. Without, every probability is that of a cell which
    is there, and nothing is said about missing ones.

    Example:
        >>> from aevb.evaluation.partial import CellDistribution
        >>> hasattr(CellDistribution, "complete")
        True
    """

    def log_prob(self, x: Tensor, *, gaps: bool = True) -> Tensor:
        """Return log p of the cells that are known: (..., D) -> (...), nats.

        Example:
            >>> import torch
            >>> from aevb.parts.likelihoods.mixed import Mixed
            >>> from aevb.probability.factors import Factor
            >>> likelihood = Mixed([Factor("a", "levels", values=(0.0, 1.0))], 0, 0)
            >>> p = likelihood(torch.zeros(2, likelihood.num_features))
            >>> p.log_prob(torch.zeros(2, 1)).exp().tolist()
            [0.5, 0.5]
        """

    def log_prob_of_columns(self, x: Tensor, *, gaps: bool = True) -> Tensor:
        """Return log p of each cell given those before it: (..., D) -> (..., D), nats.

        Example:
            >>> import torch
            >>> from aevb.parts.likelihoods.mixed import Mixed
            >>> from aevb.probability.factors import Factor
            >>> likelihood = Mixed([Factor("a", "levels", values=(0.0, 1.0))], 0, 0)
            >>> p = likelihood(torch.zeros(2, likelihood.num_features))
            >>> p.log_prob_of_columns(torch.zeros(2, 1)).shape
            torch.Size([2, 1])
        """

    def complete(self, x: Tensor, *, gaps: bool = True) -> tuple[Tensor, Tensor]:
        """Draw the unknown cells in their order: the whole rows, and log p of those known.

        Example:
            >>> import torch
            >>> from aevb.parts.likelihoods.mixed import Mixed
            >>> from aevb.probability.factors import Factor
            >>> likelihood = Mixed([Factor("a", "levels", values=(0.0, 1.0))], 0, 0)
            >>> p = likelihood(torch.zeros(2, likelihood.num_features))
            >>> filled, log_known = p.complete(torch.full((2, 1), torch.nan))
            >>> bool(filled.isfinite().all()), log_known.tolist()
            (True, [0.0, 0.0])
        """


class Partial(NamedTuple):
    """Rows with unknown cells, and what is known about these.

    Args:
        x: (B, D), NaN where a cell is unknown.
        gaps: Whether an unknown cell may turn out to be missing.
        accept: Which draws keep a further condition. None: all of them.
        rows: (B,), the numbers of the rows, which ``accept`` is given. None: 0 to B - 1.

    Example:
        >>> import torch
        >>> from aevb.evaluation.partial import Partial
        >>> Partial(torch.tensor([[1.0, torch.nan]])).take(torch.tensor([0, 0])).x.shape
        torch.Size([2, 2])
    """

    x: Tensor
    gaps: bool = True
    accept: Accept | None = None
    rows: Tensor | None = None

    def take(self, index: Tensor) -> Partial:
        """Return the rows of ``index``: (M,).

        Example:
            >>> import torch
            >>> from aevb.evaluation.partial import Partial
            >>> Partial(torch.zeros(3, 2)).take(torch.tensor([2])).numbers
            tensor([2])
        """
        return self._replace(x=self.x[index], rows=self.numbers[index])

    @property
    def numbers(self) -> Tensor:
        """The numbers of the rows: (B,)."""
        return torch.arange(len(self.x), device=self.x.device) if self.rows is None else self.rows

    def log_known(self, p: CellDistribution, x: Tensor) -> Tensor:
        """Return log p of what was known of completed rows: (..., B, D) -> (..., B).

        Example:
            >>> import torch
            >>> from aevb.evaluation.partial import Partial
            >>> from aevb.parts.likelihoods.mixed import Mixed
            >>> from aevb.probability.factors import Factor
            >>> likelihood = Mixed([Factor("a", "levels", values=(0.0, 1.0))], 0, 0)
            >>> p = likelihood(torch.zeros(2, likelihood.num_features))
            >>> Partial(torch.full((2, 1), torch.nan)).log_known(p, torch.zeros(2, 1)).tolist()
            [0.0, 0.0]
        """
        cells = p.log_prob_of_columns(x, gaps=self.gaps).double()
        return cells.masked_fill(self.x.isnan(), 0.0).sum(-1)

    def complete(self, p: CellDistribution, lead: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Draw the unknown cells from p: (*lead, B, D). Also log p of the known ones: (*lead, B).

        The latter is -inf for draws that break the condition.

        Example:
            >>> import torch
            >>> from aevb.evaluation.partial import Partial
            >>> from aevb.parts.likelihoods.mixed import Mixed
            >>> from aevb.probability.factors import Factor
            >>> likelihood = Mixed([Factor("a", "levels", values=(0.0, 1.0))], 0, 0)
            >>> p = likelihood(torch.zeros(5, 2, likelihood.num_features))
            >>> Partial(torch.full((2, 1), torch.nan)).complete(p, (5,))[0].shape
            torch.Size([5, 2, 1])
        """
        filled, log_known = p.complete(self.x.expand(*lead, *self.x.shape), gaps=self.gaps)
        log_known = log_known.double()
        if self.accept is not None:
            log_known = log_known.masked_fill(~self.accept(filled, self.numbers), -torch.inf)
        return filled, log_known.nan_to_num(-torch.inf, torch.inf, -torch.inf)


class Weighted(NamedTuple):
    """Draws with their weights.

    Args:
        x: (K, B, D), the rows without gaps.
        z: (K, B, L), their codes.
        log_weight: (K, B), float64. -inf for a draw that breaks the condition.

    Example:
        >>> import torch
        >>> from aevb.evaluation.partial import Weighted
        >>> log_weight = torch.tensor([[0.0], [0.0], [-torch.inf]])
        >>> Weighted(torch.zeros(3, 1, 2), torch.zeros(3, 1, 2), log_weight).effective
        tensor([2.])
    """

    x: Tensor
    z: Tensor
    log_weight: Tensor

    @property
    def effective(self) -> Tensor:
        """The effective sample size of each row: (B,)."""
        return effective_size(self.log_weight)


def effective_size(log_weight: Tensor) -> Tensor:
    """Return the effective sample size along the first axis: (K, ...) -> (...). 0 if none counts.

    Example:
        >>> import torch
        >>> from aevb.evaluation.partial import effective_size
        >>> effective_size(torch.tensor([0.0, 0.0, 0.0, -torch.inf]))
        tensor(3.)
    """
    return (2 * log_weight.logsumexp(0) - (2 * log_weight).logsumexp(0)).exp().nan_to_num(0.0)


def systematic(log_weight: Tensor, n: int) -> Tensor:
    """Choose n of K draws for each row in proportion to their weights: (K, B) -> (n, B).

    A draw is chosen floor or ceil of n times its weight times. So none is chosen twice if no weight
    is above 1 / n, and the chosen ones are then as good as independent.

    Example:
        >>> import torch
        >>> from aevb.evaluation.partial import systematic
        >>> chosen = systematic(torch.tensor([[0.5], [-torch.inf], [0.5]]).log(), 2)
        >>> sorted(systematic(torch.tensor([0.5, 0.0, 0.5]).log()[:, None], 2)[:, 0].tolist())
        [0, 2]
    """
    k, b = log_weight.shape
    # The order is random, so that neighbours among the draws are not chosen in turn.
    order = torch.rand(k, b, device=log_weight.device).argsort(0)
    total = log_weight.logsumexp(0, keepdim=True)
    weight = (log_weight - total).exp().nan_to_num(0.0).double().gather(0, order)
    reached = weight.cumsum(0)
    reached = reached / reached[-1:].clamp(min=1e-300)
    start = torch.rand(1, b, device=weight.device, dtype=torch.float64)
    steps = torch.arange(n, device=weight.device, dtype=torch.float64)[:, None]
    points = (steps + start) / n
    # A point on a border belongs to the draw after it, which has a weight above 0.
    found = torch.searchsorted(reached.T.contiguous(), points.T.contiguous(), right=True).T
    last = k - 1 - (weight > 0).flip(0).int().argmax(0, keepdim=True)
    shuffled = torch.rand(n, b, device=weight.device).argsort(0)
    return order.gather(0, torch.minimum(found, last)).gather(0, shuffled)


@torch.no_grad()
def propose(model: VAE, partial: Partial, samples: int) -> Weighted:
    """Draw completions of some rows, and weigh them. Uses torch's global generator.

    Args:
        model: The VAE. Its p(x|z) is a ``CellDistribution``.
        partial: B rows.
        samples: K, the draws for each row.

    Example:
        >>> import aevb, pandas as pd, torch
        >>> frame = pd.DataFrame({"a": [1, 4, 2, 7] * 30, "b": ["u", "v", "v", "w"] * 30})
        >>> run = aevb.fit(frame, aevb.Config(epochs=1, hidden=(8,), latent_dim=1))
        >>> from aevb.evaluation.partial import Partial, propose
        >>> drawn = propose(run.model, Partial(torch.tensor([[2.0, torch.nan]])), 10)
        >>> drawn.x.shape, drawn.log_weight.shape
        (torch.Size([10, 1, 2]), torch.Size([10, 1]))
    """
    z, log_ratio = _codes(model, partial.x, samples)
    filled, log_known = partial.complete(cells_given(model, z), (samples,))
    return Weighted(
        filled, z, (log_ratio + log_known).nan_to_num(-torch.inf, torch.inf, -torch.inf)
    )


def cells_given(model: VAE, z: Tensor) -> CellDistribution:
    """Return p(x|z) as a distribution over cells that may be missing.

    Example:
        >>> import torch
        >>> from aevb import VAE
        >>> from aevb.evaluation.partial import cells_given
        >>> cells_given(VAE(data_dim=3, latent_dim=2), torch.zeros(5, 2)).batch_shape
        torch.Size([5])
    """
    return cast("CellDistribution", model.likelihood_given(z))


def _codes(model: VAE, x: Tensor, samples: int) -> tuple[Tensor, Tensor]:
    """Draw z: (K, B, L) from the mixture r of q(z|x) and p(z); also log p(z) - log r(z): (K, B)."""
    prior = model.prior()
    # Without a fixed cell, q(z|x) has nothing to say.
    share = 1.0 if bool(x.isnan().all()) else PRIOR_SHARE
    of_prior = min(samples, math.ceil(share * samples))
    parts = [prior.sample(torch.Size((of_prior, len(x))))]
    if of_prior == samples:
        return parts[0], torch.zeros(parts[0].shape[:2], dtype=torch.float64, device=x.device)
    q = model.posterior_given(x)
    parts.append(rsample_and_log_prob(q, samples - of_prior)[0])
    z = torch.cat(parts)
    log_p, log_q = prior.log_prob(z).double(), q.log_prob(z).double()
    log_r = torch.logaddexp(
        log_p + math.log(of_prior / samples), log_q + math.log1p(-of_prior / samples)
    )
    return z, log_p - log_r


def most_at_once(model: VAE) -> int:
    """How many draws may go through the decoder at once.

    Example:
        >>> from aevb import VAE
        >>> from aevb.evaluation.partial import most_at_once
        >>> most_at_once(VAE(data_dim=3)) > 1000
        True
    """
    return max(1, min(PAIRS, MOST_NUMBERS // model.likelihood.num_features))


def chosen(values: Tensor, index: Tensor) -> Tensor:
    """Take values[index[i, b], b]: (K, B, D), (n, B) -> (n, B, D).

    Example:
        >>> import torch
        >>> from aevb.evaluation.partial import chosen
        >>> values = torch.tensor([[[1.0]], [[2.0]]])
        >>> chosen(values, torch.tensor([[1], [1], [0]])).flatten().tolist()
        [2.0, 2.0, 1.0]
    """
    return values.gather(0, index[..., None].expand(*index.shape, values.shape[-1]))


def equal(drawn: Weighted, n: int) -> tuple[Tensor, Tensor]:
    """Choose n draws of each row so that they have equal weights: x (n, B, D) and z (n, B, L).

    Example:
        >>> import torch
        >>> from aevb.evaluation.partial import Weighted, equal
        >>> log_weight = torch.tensor([[0.0], [-torch.inf]])
        >>> drawn = Weighted(torch.arange(2.0).reshape(2, 1, 1), torch.zeros(2, 1, 1), log_weight)
        >>> equal(drawn, 3)[0].flatten().tolist()
        [0.0, 0.0, 0.0]
    """
    index = systematic(drawn.log_weight, n)
    return chosen(drawn.x, index), chosen(drawn.z, index)
