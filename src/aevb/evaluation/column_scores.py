"""Say how much each cell of a row adds to log p(x), and which cell is the odd one.

What a cell c is worth is d_c = log p(x_c | all other cells) = log p(x) - log p(x without c). The
d_c of a row do not add up to log p(x), since dependent cells share what they say. So each column's
contribution is d_c plus an equal part of the rest; the contributions add up to log p(x) exactly.

Whether d_c is low depends on the column: a real number in fine units always has a low density. So
d_c is compared with its median in rows that the model itself draws. The oddest cell is the one that
lies furthest below.

A density depends on the unit of its column, and a probability does not. Where a column holds both,
such as an amount that is often exactly 0, log p says little about which of them is odd.
``cell_units`` turns each density into one per spread of the column, for all that compares cells.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.distributions import Distribution

from aevb.datasets.draws import content_numbers
from aevb.evaluation.bound import evaluating
from aevb.evaluation.log_likelihood import ROWS, aligned, seed_draws
from aevb.evaluation.partial import Partial
from aevb.model import VAE
from aevb.probability.cells import Classes
from aevb.probability.distributions import rsample_and_log_prob
from aevb.probability.factors import Factor
from aevb.probability.repeat_bins import popularity
from aevb.probability.seeds import counter_seed

DRAWS, LEAST = 64, 3
"""Draws of z for each row, and the fewest from each part of the mixture: q(z|x), q(z|x) without
each cell, and the prior."""
ENTROPY = 0.5 * math.log(2 * math.pi * math.e)
"""The entropy of a Gaussian with a standard deviation of 1, in nats."""


@torch.no_grad()
def cell_scores(
    model: VAE,
    x: Tensor,
    *,
    discrete: Tensor | None = None,
    draws: int = 0,
    seed: int = 0,
    on_rows: Callable[[int], None] | None = None,
) -> Tensor:
    """Estimate d_c = log p(x_c | all other cells of the row) for every cell: (N, C), nats.

    A row's result is a function of the row, the model, ``draws`` and ``seed``, to the last bit. A
    cell of which nothing is known has the score 0.

    Args:
        model: The VAE. Its p(x|z) is a ``CellDistribution``.
        x: (N, C), NaN where nothing is known.
        discrete: (C,), the columns whose values have probabilities and not densities. Where this is
            known, fewer draws are needed. Default: none of them.
        draws: Draws of z from each part of the mixture that proposes them. 0: as many as make 64
            in all, and at least 3.
        seed: Seeds the draws, together with the values in the row.
        on_rows: Called with the number of rows each time some are done.

    Example:
        >>> import aevb, pandas as pd, torch
        >>> frame = pd.DataFrame({"a": [1, 4, 2, 7] * 30, "b": ["u", "v", "v", "w"] * 30})
        >>> run = aevb.fit(frame, aevb.Config(epochs=1, hidden=(8,), latent_dim=1))
        >>> from aevb.evaluation.column_scores import cell_scores
        >>> cell_scores(run.model, run.tensor(frame.head(3))).shape
        torch.Size([3, 2])
    """
    found = []
    model = aligned(model)
    draws = draws or max(LEAST, math.ceil(DRAWS / (x.shape[1] + 2)))
    if discrete is None:
        discrete = torch.zeros(x.shape[1], dtype=torch.bool)
    with evaluating(model):
        prior = model.prior()
        for i, number in enumerate(content_numbers(x.cpu().numpy())):
            seed_draws(counter_seed(seed, "cells", int(number)), x.device)
            found.append(_cells_of_row(model, prior, x[i : i + 1].clone(), discrete, draws))
            if on_rows and (i % ROWS == ROWS - 1 or i == len(x) - 1):
                on_rows(i % ROWS + 1)
    return torch.stack(found) if found else x.new_zeros(x.shape, dtype=torch.float64)


def _cells_of_row(
    model: VAE, prior: Distribution, row: Tensor, discrete: Tensor, draws: int
) -> Tensor:
    """d_c of one row: (1, C) -> (C,).

    One set of codes serves all of the terms. Their proposals are a mixture of q(z|x), of q(z|x)
    without each of the cells, and of the prior, so that no term lacks codes: where the cell c is
    odd, q(z|x) may lie far from the codes of the row without it.
    """
    columns = row.shape[1]
    without = row.expand(columns, columns).clone()
    without.fill_diagonal_(torch.nan)
    rows = torch.cat([row, without])
    q = model.posterior_given(rows)
    z = torch.cat([rsample_and_log_prob(q, draws)[0].flatten(0, 1), prior.sample((draws,))])
    log_q = q.log_prob(z[:, None].expand(-1, len(rows), -1)).double()
    log_prior = prior.log_prob(z).double()
    log_r = torch.cat([log_q, log_prior[:, None]], 1).logsumexp(1) - math.log(len(rows) + 1)
    features = model.decoder(z)[:, None]
    p = model.likelihood(features.expand(-1, len(rows), -1))
    filled, log_p = Partial(rows).complete(p, (len(z),))
    log_p = torch.cat([log_p[:, :1], _with_own_value(row, filled, log_p, discrete)], 1)
    log_x = (log_p + (log_prior - log_r)[:, None]).logsumexp(0)
    return (log_x[0] - log_x[1:]).nan_to_num(0.0).masked_fill(row[0].isnan(), 0.0)


def _with_own_value(row: Tensor, filled: Tensor, log_p: Tensor, discrete: Tensor) -> Tensor:
    """log p(x without c|z) for each cell c: (K, C).

    It is a sum over the values of c. The term of the value that the row has is known exactly, and
    is often nearly all of it; draws of c estimate the rest.

    row: (1, C). filled: (K, 1 + C, C), first the row, then completions of it without each cell.
    log_p: (K, 1 + C), log p of what is known of them.
    """
    drawn = filled[:, 1:].diagonal(dim1=1, dim2=2)
    exact = (discrete.to(row.device) | row[0].isinf()) & ~row[0].isnan()
    others = log_p[:, 1:].masked_fill(exact & (drawn == row), -torch.inf)
    return torch.where(exact, torch.logaddexp(others, log_p[:, :1]), others)


def contributions(log_likelihood: Tensor, cells: Tensor, known: Tensor | None = None) -> Tensor:
    """Share log p(x) among the columns, by d_c. Each row adds up to its log p(x).

    Args:
        log_likelihood: (N,), log p(x).
        cells: (N, C), d_c.
        known: (N, C), the cells of which something is known. The others get 0. Default: all.

    Returns:
        (N, C), nats.

    Example:
        >>> import torch
        >>> from aevb.evaluation.column_scores import contributions
        >>> contributions(torch.tensor([-5.0]), torch.tensor([[-4.0, -2.0]]))
        tensor([[-3.5000, -1.5000]])
    """
    counts = torch.ones_like(cells) if known is None else known.to(cells.dtype)
    rest = (log_likelihood - cells.sum(-1)) / counts.sum(-1).clamp(min=1)
    return cells + rest[:, None] * counts


def oddness(cells: Tensor, ordinary: Tensor) -> Tensor:
    """How far each cell is below what is usual for its column.

    Args:
        cells: (N, C), d_c.
        ordinary: (M, C), d_c of ordinary rows. NaN where nothing is known of a cell.

    Returns:
        The median of the column minus d_c: (N, C), nats.

    Example:
        >>> import torch
        >>> from aevb.evaluation.column_scores import oddness
        >>> ordinary = torch.tensor([[-1.0, -9.0], [-2.0, -8.0], [-3.0, -7.0]])
        >>> oddness(torch.tensor([[-5.0, -8.5]]), ordinary)
        tensor([[3.0000, 0.5000]])
    """
    return ordinary.nanquantile(0.5, dim=0).nan_to_num(0.0) - cells


def cell_units(factors: Sequence[Factor], x: Tensor) -> Tensor:
    """What makes log p of each cell comparable with that of others, by addition: (N, C), nats.

    A number counts by its density per spread of its column, so that a typical one has about 0; that
    many rows share it (``aevb.probability.repeats``) does not count. All
    that has a probability counts by it. The special values of a column of numbers are taken
    together: one of five is not odd because there are five.

    Args:
        factors: The families of the columns, C of them.
        x: (N, C), the model's numbers. Infinity for a missing cell, NaN if nothing is known.

    Example:
        >>> import torch
        >>> from aevb.evaluation.column_scores import cell_units
        >>> from aevb.probability.factors import Factor
        >>> pay = Factor("pay", "real", values=(0.0,), scale=1000.0, density=True, cell=0.01)
        >>> cell_units([pay], torch.tensor([[0.0], [1.5]])).tolist()  # log 0.01; log 1000 + 1.42
        [[-4.605...], [8.326...]]
    """
    find = Classes(factors)
    classes, units = find(x.cpu()), torch.zeros(x.shape, dtype=torch.float64)
    for i, factor in enumerate(factors):
        units[:, i] = -factor.log_unit
        if not factor.is_number:
            continue
        step = (factor.step or 1.0) if factor.family == "integer" else 1.0
        # In this order no product overflows.
        of_spike = units[:, i] + math.log(max(len(factor.values), 1))
        units[:, i] = math.log(factor.spread) + math.log(factor.scale) - math.log(step) + ENTROPY
        if factor.repeats:
            codes = np.nan_to_num(factor.codes(x[:, i].cpu().numpy()))
            units[:, i] -= torch.from_numpy(popularity(factor, codes))
        if i in find.columns:
            is_spike = classes[:, find.columns.index(i)] > 0
            units[:, i] = torch.where(is_spike, of_spike, units[:, i])
    return units.masked_fill(~x.cpu().isfinite(), 0.0)
