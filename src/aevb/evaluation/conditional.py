r"""Draw the missing cells of a row, given the others: p(x_free, z | x_fixed).

The row's code z is proposed from q(z|x_fixed), whose encoder was trained with cells hidden, and
from the prior p(z); r(z) is the mixture of both. ``complete`` of p(x|z) then draws the free cells
in their order, and knows how likely the fixed cells are along the way. So the draw k has the weight

    w_k = p(z_k) / r(z_k) * p(x_fixed | z_k, the free cells of draw k),

and draws that are chosen in proportion to their weights follow p(x_free, z | x_fixed), the better
the more draws there are. A share of the prior in r bounds the weights. A further condition on free
cells, such as a range, gives the weight 0 to draws that break it.

The effective sample size ESS = (sum w)^2 / sum w^2 says how many of the draws count.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from aevb.evaluation.bound import evaluating
from aevb.evaluation.partial import (
    PRIOR_SHARE,
    Partial,
    Weighted,
    cells_given,
    chosen,
    effective_size,
    equal,
    most_at_once,
    propose,
    systematic,
)
from aevb.model import VAE
from aevb.probability.distributions import rsample_and_log_prob
from aevb.probability.seeds import counter_seed

LOW = 10.0
"""A row whose effective sample size is below this gets more draws."""
GROWTH = 8
"""A row of a low effective sample size gets this many times more draws in each further round."""
MOST_PROPOSALS = 20_000
"""At most about this many draws are made for one row."""
SEEDS = 50.0
"""Rows that meet a rare condition begin with at least this many effective draws, if possible."""
ROUNDS = 10
"""Rounds of moves for completions of a low effective sample size."""
TRIES = 8
"""Proposals in each half of a move."""
REPEATED = 0.01
"""A pool of draws is large enough if at most this share of the rows taken from it are repeated."""


class Pool(NamedTuple):
    """Rows that meet one condition, and how hard they were to find.

    Args:
        x: (n, D), or (0, D) if no draw met the condition.
        effective: The effective sample size of all draws.
        proposals: How many draws were made.
        probability: The mean weight. If no number was fixed, it estimates how likely a row of the
            model meets the condition.
        repeated: The share of the n rows that repeat another one, as far as draws alone go.

    Example:
        >>> import torch
        >>> from aevb.evaluation.conditional import Pool
        >>> Pool(torch.zeros(2, 3), 50.0, 100, 0.5, 0.0).share
        0.5
    """

    x: Tensor
    effective: float
    proposals: int
    probability: float
    repeated: float

    @property
    def share(self) -> float:
        """The effective sample size as a share of the draws."""
        return self.effective / max(1, self.proposals)


class Completed(NamedTuple):
    """The completions of some rows.

    Args:
        rows: (B,), the numbers of the rows.
        x: (K, B, D), completions without gaps.
        weight: (K, B), their weights; each row's sum is 1, or 0 if no draw met its condition.
        effective: (B,), the effective sample size that was reached for each row.
        seed: Seeds the choice of draws.

    Example:
        >>> import torch
        >>> from aevb.evaluation.conditional import Completed
        >>> half = torch.full((2, 1), 0.5)
        >>> Completed(torch.arange(1), torch.zeros(2, 1, 3), half, 2 * half[0]).draw(5).shape
        torch.Size([5, 1, 3])
    """

    rows: Tensor
    x: Tensor
    weight: Tensor
    effective: Tensor
    seed: int = 0

    def draw(self, n: int) -> Tensor:
        """Choose n completions of each row in proportion to their weights: (n, B, D).

        Example:
            >>> import torch
            >>> from aevb.evaluation.conditional import Completed
            >>> one = torch.ones(1, 1)
            >>> Completed(torch.arange(1), torch.zeros(1, 1, 3), one, one[0]).draw(5).shape
            torch.Size([5, 1, 3])
        """
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            return chosen(self.x, systematic(self.weight.log(), n))


# -------------------------------------------------------------------------------------------------
# many rows that meet one condition


@torch.no_grad()
def sample_given(
    model: VAE,
    partial: Partial,
    n: int,
    *,
    limit: int = 2**16,
    most: int = 2**19,
    seed: int = 0,
    on_rows: Callable[[int], None] | None = None,
) -> Pool:
    """Draw n rows that have the fixed cells of x and meet a further condition.

    Draws are made until the n rows can be chosen among them nearly without repetition. After
    ``limit`` draws, an effective sample size of ``SEEDS`` is enough; after ``most``, any. If some
    rows are repeated then, they are moved apart by a Markov chain that keeps the conditional
    distribution.

    Args:
        model: The VAE. Its p(x|z) is a ``CellDistribution``.
        partial: One row.
        n: How many rows.
        limit: After about this many draws, ``SEEDS`` effective ones are enough.
        most: At most about this many draws are made.
        seed: Seeds the draws.
        on_rows: Called after each part of the work with the number of rows that are likely done.

    Example:
        >>> import aevb, pandas as pd, torch
        >>> frame = pd.DataFrame({"a": [1, 4, 2, 7] * 30, "b": ["u", "v", "v", "w"] * 30})
        >>> run = aevb.fit(frame, aevb.Config(epochs=1, hidden=(8,), latent_dim=1))
        >>> from aevb.evaluation.conditional import sample_given
        >>> from aevb.evaluation.partial import Partial
        >>> pool = sample_given(run.model, Partial(torch.tensor([[2.0, torch.nan]])), 20)
        >>> pool.x.shape, bool((pool.x[:, 0] == 2).all()), 0 < pool.share <= 1
        (torch.Size([20, 2]), True, True)
    """
    pool = Weighted(partial.x[:, None][:0], partial.x[:, None][:0], partial.x[:0, :1].double())
    proposals, enough = 0, 0.0
    with evaluating(model):
        torch.manual_seed(counter_seed(seed, "given"))
        while enough < 1 and proposals < (last := _last(pool, limit, most)):
            wanted = min(max(256, 2 * n, proposals), last - proposals)
            parts = [] if not proposals else [pool]
            for size in _sizes(wanted, most_at_once(model)):
                drawn = propose(model, partial, size)
                counts = drawn.log_weight[:, 0] > -torch.inf
                parts.append(Weighted(*(each[counts] for each in drawn)))
            pool = Weighted(*(torch.cat(each) for each in zip(*parts, strict=True)))
            proposals += wanted
            enough = _done(pool.log_weight, n)
            if on_rows:
                on_rows(min(n, int(n * enough)))
        rows, repeated = _take(model, partial, pool, n)
    total = float(pool.log_weight.logsumexp(0)) if len(pool.x) else -math.inf
    return Pool(
        rows,
        float(pool.effective) if len(pool.x) else 0.0,
        proposals,
        math.exp(min(700.0, total)) / proposals,
        repeated,
    )


def _last(pool: Weighted, limit: int, most: int) -> int:
    """After how many draws the search ends."""
    return limit if float(pool.effective.sum()) >= SEEDS else max(limit, most)


def _sizes(total: int, most: int) -> list[int]:
    return [min(most, total - start) for start in range(0, total, most)]


def _done(log_weight: Tensor, n: int) -> float:
    """How far a pool of draws (K, 1) is towards n rows nearly without repetition; 1: done."""
    if not len(log_weight):
        return 0.0
    repeated = _repeated(log_weight, n)
    if repeated > REPEATED:
        return min(0.99, 1 - repeated)
    return min(1.0, float(effective_size(log_weight)) / (2 * n))


def _repeated(log_weight: Tensor, n: int) -> float:
    """The expected share of n rows from a pool of draws (K, 1) that repeat another one."""
    weight = (log_weight - log_weight.logsumexp(0)).exp()
    return float((n * weight - 1).clamp(min=0).sum()) / n


def _take(model: VAE, partial: Partial, pool: Weighted, n: int) -> tuple[Tensor, float]:
    """Choose n rows of a pool, and move those apart that are repeated: (n, D), and their share."""
    if not len(pool.x):
        return pool.x[:, 0], 0.0
    repeated = _repeated(pool.log_weight, n)
    x, z = equal(pool, n)
    if repeated > REPEATED:
        size = max(1, most_at_once(model) // TRIES)
        pairs = zip(x.split(size), z.split(size), strict=True)
        x = torch.cat([move(model, partial, xs, zs) for xs, zs in pairs])
    return x[:, 0], repeated


# -------------------------------------------------------------------------------------------------
# every row by its own condition


@torch.no_grad()
def complete_rows(
    model: VAE,
    partial: Partial,
    *,
    samples: int = 50,
    limit: int = MOST_PROPOSALS,
    seed: int = 0,
) -> Iterator[Completed]:
    """Complete every row, part after part.

    A row whose effective sample size is low gets more draws, up to ``limit``. If that is not
    enough, its completions are moved by a Markov chain that keeps the conditional distribution:
    encode the completed row, draw z, draw the unknown cells again.

    Args:
        model: The VAE. Its p(x|z) is a ``CellDistribution``.
        partial: N rows.
        samples: K, the draws for each row.
        limit: At most about this many draws are made for a row.
        seed: Seeds the draws.

    Example:
        >>> import aevb, pandas as pd, torch
        >>> frame = pd.DataFrame({"a": [1, 4, 2, 7] * 30, "b": ["u", "v", "v", "w"] * 30})
        >>> run = aevb.fit(frame, aevb.Config(epochs=1, hidden=(8,), latent_dim=1))
        >>> from aevb.evaluation.conditional import complete_rows
        >>> from aevb.evaluation.partial import Partial
        >>> partial = Partial(torch.tensor([[2.0, torch.nan], [torch.nan, 1.0]]))
        >>> done = next(complete_rows(run.model, partial, samples=40))
        >>> done.x.shape, done.weight.sum(0).round().tolist()
        (torch.Size([40, 2, 2]), [1.0, 1.0])
    """
    size = max(1, most_at_once(model) // samples)
    for start in range(0, len(partial.x), size):
        rows = torch.arange(start, min(start + size, len(partial.x)), device=partial.x.device)
        with evaluating(model):
            torch.manual_seed(counter_seed(seed, "complete", start))
            found = _complete(model, partial.take(rows), samples, limit)
        yield found._replace(rows=rows, seed=counter_seed(seed, "choice", start))


def _complete(model: VAE, partial: Partial, samples: int, limit: int) -> Completed:
    drawn = propose(model, partial, samples)
    effective = drawn.effective
    weight = (drawn.log_weight - drawn.log_weight.logsumexp(0)).exp().nan_to_num(0.0)
    found = drawn.x.clone()
    hard = (effective < min(LOW, samples / 2)).nonzero()[:, 0]
    if len(hard):
        reservoir = _Reservoir(Weighted(*(each[:, hard] for each in drawn)))
        _draw_more(model, partial.take(hard), reservoir, limit)
        found[:, hard], effective[hard] = reservoir.x, reservoir.effective
        weight[:, hard] = (reservoir.effective > 0).double() / samples
    return Completed(partial.numbers, found, weight, effective)


class _Reservoir:
    """K completions of equal weight for each of B rows, of any number of weighted draws.

    A new part of the draws takes the place of a completion with the probability that the part has
    of all weights so far.
    """

    def __init__(self, drawn: Weighted) -> None:
        self.samples = drawn.x.shape[0]
        self.x, self.z = equal(drawn, self.samples)
        self.log_sum = drawn.log_weight.logsumexp(0)
        self.log_squares = (2 * drawn.log_weight).logsumexp(0)

    @property
    def effective(self) -> Tensor:
        """The effective sample size of all draws: (B,)."""
        return (2 * self.log_sum - self.log_squares).exp().nan_to_num(0.0)

    def add(self, drawn: Weighted, rows: Tensor) -> None:
        """Add draws for the rows of the numbers ``rows``: (M,)."""
        of_new = drawn.log_weight.logsumexp(0)
        self.log_sum[rows] = torch.logaddexp(self.log_sum[rows], of_new)
        squares = (2 * drawn.log_weight).logsumexp(0)
        self.log_squares[rows] = torch.logaddexp(self.log_squares[rows], squares)
        share = (of_new - self.log_sum[rows]).exp().nan_to_num(0.0)
        x, z = equal(drawn, self.samples)
        takes = (torch.rand(self.samples, len(rows), device=x.device) < share)[..., None]
        self.x[:, rows] = torch.where(takes, x, self.x[:, rows])
        self.z[:, rows] = torch.where(takes, z, self.z[:, rows])


def _draw_more(model: VAE, partial: Partial, reservoir: _Reservoir, limit: int) -> None:
    """Draw more for rows of a low effective sample size; at the end, move what stays low."""
    made = reservoir.samples
    low = torch.arange(len(partial.x), device=partial.x.device)
    while len(low) and made < limit:
        wanted = min(GROWTH * made, limit)
        for size in _sizes(wanted, most_at_once(model)):
            for part in low.split(max(1, most_at_once(model) // size)):
                reservoir.add(propose(model, partial.take(part), size), part)
        made += wanted
        low = (reservoir.effective < LOW).nonzero()[:, 0]
    stuck = low[reservoir.effective[low] > 0]
    size = max(1, most_at_once(model) // (TRIES * reservoir.samples))
    for part in stuck.split(size) if len(stuck) else ():
        x, z = reservoir.x[:, part], reservoir.z[:, part]
        reservoir.x[:, part] = move(model, partial.take(part), x, z)


# -------------------------------------------------------------------------------------------------
# moves


@torch.no_grad()
def move(model: VAE, partial: Partial, x: Tensor, z: Tensor, rounds: int = ROUNDS) -> Tensor:
    """Move completions by a Markov chain that keeps p(x_free, z | x_fixed): (M, B, D).

    A round has two halves. The first draws new codes from q(z|x) of the completed row and chooses
    one of them, or the old one, in proportion to p(x, z) / r(z). The second draws some of the
    unknown cells again for that code, and chooses in the same way among new and old ones.

    Args:
        model: The VAE. Its p(x|z) is a ``CellDistribution``.
        partial: B rows.
        x: (M, B, D), M completions of each row, all of which meet the condition.
        z: (M, B, L), their codes.
        rounds: How many rounds.

    Example:
        >>> import aevb, pandas as pd, torch
        >>> frame = pd.DataFrame({"a": [1, 4, 2, 7] * 30, "b": ["u", "v", "v", "w"] * 30})
        >>> run = aevb.fit(frame, aevb.Config(epochs=1, hidden=(8,), latent_dim=1))
        >>> from aevb.evaluation.conditional import move
        >>> from aevb.evaluation.partial import Partial, propose
        >>> partial = Partial(torch.tensor([[2.0, torch.nan]]))
        >>> drawn = propose(run.model, partial, 10)
        >>> move(run.model, partial, drawn.x, drawn.z, rounds=2).shape
        torch.Size([10, 1, 2])
    """
    for _ in range(rounds):
        z = _move_codes(model, partial, x, z)
        x = _move_cells(model, partial, x, z)
    return x


def _move_codes(model: VAE, partial: Partial, x: Tensor, z: Tensor) -> Tensor:
    """The first half of a move: new codes (M, B, L) for whole rows (M, B, D)."""
    prior, q = model.prior(), model.posterior_given(x)
    of_q = rsample_and_log_prob(q, TRIES)[0]
    of_prior = prior.sample(torch.Size(of_q.shape[:-1]))
    from_prior = torch.rand(of_q.shape[:-1], device=z.device) < PRIOR_SHARE
    tried = torch.cat([z[None], torch.where(from_prior[..., None], of_prior, of_q)])
    log_p, log_q = prior.log_prob(tried).double(), q.log_prob(tried).double()
    log_r = torch.logaddexp(log_p + math.log(PRIOR_SHARE), log_q + math.log1p(-PRIOR_SHARE))
    p = cells_given(model, tried)
    log_x = p.log_prob(x.expand(TRIES + 1, *x.shape), gaps=partial.gaps)
    return _one_of(tried, log_x.double() + log_p - log_r)


def _move_cells(model: VAE, partial: Partial, x: Tensor, z: Tensor) -> Tensor:
    """The second half of a move: new cells for the codes (M, B, L). Returns (M, B, D).

    Each completion draws some of its unknown cells again, chosen at random, and keeps the others
    for now. Where the known cells are rare, all new cells at once would hardly ever fit.
    """
    share = torch.rand(*x.shape[:-1], 1, device=x.device)
    again = partial.x.isnan() & (torch.rand(x.shape, device=x.device) < share)
    kept = partial._replace(x=x.masked_fill(again, torch.nan), rows=partial.numbers)
    log_old = kept.log_known(cells_given(model, z), x)
    p = cells_given(model, z.expand(TRIES, *z.shape))
    filled, log_new = kept.complete(p, (TRIES,))
    return _one_of(torch.cat([x[None], filled]), torch.cat([log_old[None], log_new]))


def _one_of(tried: Tensor, log_weight: Tensor) -> Tensor:
    """Choose one of T values in proportion to its weight: (T, M, B, D), (T, M, B) -> (M, B, D)."""
    noise = -(-torch.rand_like(log_weight).clamp(min=1e-300).log()).log()
    index = (log_weight.nan_to_num(-torch.inf, torch.inf, -torch.inf) + noise).argmax(0)
    where: Any = index[None, ..., None].expand(1, *index.shape, tried.shape[-1])
    return tried.gather(0, where)[0]
