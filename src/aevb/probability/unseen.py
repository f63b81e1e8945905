"""What the class of a cell leaves open: which of several rare levels, or which unseen number."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn

from aevb.probability.cells import Classes, buffers, padded, spikes_of
from aevb.probability.factors import Factor

NEVER = -1e4
"""The log of a probability of nearly 0."""


class Unseen(nn.Module):
    """Log p of a cell of levels given its class, added to the log p of the class.

    A level has its share of the class. A number that no training row has takes the place of all
    classes: half of the probability ``Factor.unseen`` is spread evenly between the levels, the rest
    falls off outside, as 1 / n^2 in the n-th step. A number off the grid of the levels that has no
    place of its own counts as the first one outside.

    Args:
        factors: All columns.
        classes: Their classes.

    Example:
        >>> import torch
        >>> from aevb.probability.cells import Classes
        >>> from aevb.probability.factors import Factor
        >>> from aevb.probability.unseen import Unseen
        >>> dice = [Factor("a", "levels", values=(1.0, 2.0, 4.0), step=1.0, unseen=0.1)]
        >>> find, x = Classes(dice), torch.tensor([[0.0], [3.5], [4.0]])
        >>> added, others = Unseen(dice, find)(x, find(x))
        >>> added[:, 0].exp(), others[:, 0]  # 1 is seen; 3 is between; 5 is outside
        (tensor([0.9000, 0.0500, 0.0083]), tensor([False,  True,  True]))
    """

    columns: Tensor
    places: Tensor
    rows: Tensor
    closed: Tensor
    counts: Tensor
    log_seen: Tensor
    shares: Tensor
    log_between: Tensor
    log_outside: Tensor
    tail: Tensor
    spike_units: Tensor
    spiked: Tensor
    spike_places: Tensor

    def __init__(self, factors: Sequence[Factor], classes: Classes) -> None:
        super().__init__()
        self.factors = tuple(factors)
        self.q = len(classes.columns)
        # Most columns of names have nothing to add.
        self.open = [i for i in classes.levels if _is_open(factors[i])]
        self.units = [i for i in classes.spiked if factors[i].log_unit]
        levels = [factors[i] for i in self.open]
        shares = padded([factor.shares or (0.0,) for factor in levels], 0.0)
        self.shared = shares.shape[-1] > 1
        place = dict(zip(classes.columns, range(self.q), strict=True))
        values = torch.tensor([_log_parts(factor) for factor in levels]).reshape(-1, 5)
        buffers(
            self,
            columns=self.open,
            places=[place[i] for i in self.open],
            rows=range(len(self.open)),
            spiked=self.units,
            spike_places=[place[i] for i in self.units],
            spike_units=torch.tensor([factors[i].log_unit for i in self.units]),
            shares=shares,
            counts=values[:, 0],
            log_seen=values[:, 1],
            log_between=values[:, 2],
            log_outside=values[:, 3],
            tail=values[:, 4],
            closed=values[:, 3] == NEVER,  # names are never unseen
        )

    def forward(self, x: Tensor, classes: Tensor) -> tuple[Tensor, Tensor]:
        """Return what is to be added to the logs of the classes, and where the number is unseen.

        x: (..., D), and its classes: (..., Q) -> (..., Q) and (..., Q). Where the number is unseen,
        it is added to the log p of any class but missing, in place of that of one class.
        """
        lead = (*x.shape[:-1], self.q)
        added, others = x.new_zeros(lead), torch.zeros(lead, dtype=torch.bool, device=x.device)
        if self.open:
            cells = x.index_select(-1, self.columns)
            known = torch.isfinite(cells)
            cell = torch.where(known, cells, 0.0)
            seen = ((cell > -0.5) & (cell < self.counts - 0.25)) | self.closed
            of_seen = self.log_seen
            if self.shared:
                k = torch.minimum(cell.round().clamp(min=0.0), self.counts - 1.0).long()
                of_seen = of_seen + self.shares[self.rows, k.clamp(max=self.shares.shape[1] - 1)]
            beyond = torch.where(cell < 0, -cell, cell - self.counts).clamp(min=1.0)
            # 1 / (m (m + 1)) for m = n, n + 1, ... adds up to 1 / n.
            fall = torch.log(beyond + self.tail - 1) + torch.log(beyond + self.tail)
            outside = self.log_outside - fall
            between = (cell >= self.counts - 0.25) & (cell < self.counts + 1)
            found = torch.where(seen, of_seen, torch.where(between, self.log_between, outside))
            added = added.index_copy(-1, self.places, torch.where(known, found, 0.0).to(x.dtype))
            others = others.index_copy(-1, self.places, known & ~seen)
        if self.units:
            on = (classes.index_select(-1, self.spike_places) > 0) & torch.isfinite(
                x.index_select(-1, self.spiked)
            )
            added = added.index_copy(
                -1, self.spike_places, torch.where(on, self.spike_units, 0.0).to(x.dtype)
            )
        return added, others

    def draw(self, column: int, classes: Tensor, numbers: Tensor) -> Tensor:
        """Turn drawn classes into cells x.

        Args:
            column: Its number among all columns.
            classes: (B,).
            numbers: (B,), the drawn numbers of the column.

        Example:
            >>> import torch
            >>> from aevb.probability.cells import Classes
            >>> from aevb.probability.factors import Factor
            >>> from aevb.probability.unseen import Unseen
            >>> spiked = [Factor("a", "real", values=(0.0,), gaps=True)]
            >>> unseen = Unseen(spiked, Classes(spiked))
            >>> unseen.draw(0, torch.tensor([0, 1, 2]), torch.tensor([7.0, 8.0, 9.0]))
            tensor([7., 0., inf])
        """
        factor = self.factors[column]
        cells = numbers
        if factor.has_levels:
            cells = self._levels(factor, classes).to(numbers.dtype)
        elif factor.values:
            spikes = spikes_of(factor).to(numbers)
            cells = torch.where(classes > 0, spikes[(classes - 1).clamp(0, len(spikes) - 1)], cells)
        return (
            torch.where(classes == factor.num_classes - 1, math.inf, cells)
            if factor.gaps
            else cells
        )

    def _levels(self, factor: Factor, classes: Tensor) -> Tensor:
        """Draw the level of each class, or rarely an unseen number between the levels."""
        if factor.classes:
            # The levels, class by class; those of one class fill an interval of length 1.
            order = np.argsort(factor.classes, kind="stable")
            shares = np.exp(np.asarray(factor.shares or np.zeros(len(order))))[order]
            ends = torch.from_numpy(shares.cumsum()).to(classes.device)
            u = classes.double() + torch.rand_like(classes, dtype=torch.float64)
            k = torch.searchsorted(ends, u, right=True).clamp(max=len(order) - 1)
            return torch.from_numpy(order).to(classes.device)[k]
        cells = classes.to(torch.float32)
        if factor.step and factor.unseen and len(factor.unseen_values()):
            u, rare = torch.rand_like(cells), torch.rand_like(cells) < 0.5 * factor.unseen
            cells = torch.where(rare, len(factor.values) + u * 0.999999, cells)
        return cells


def _is_open(factor: Factor) -> bool:
    return bool(factor.step or factor.shares or factor.log_unit)


def _log_parts(factor: Factor) -> tuple[float, float, float, float, float]:
    """The number of levels; the logs that are added for a level, for one unseen number between
    levels, and, as a factor, for those outside; and where the latter begin to fall."""
    levels, tail = float(len(factor.values)), max(2.0, len(factor.values) / 4)
    seen = math.log1p(-factor.unseen) + factor.log_unit
    if not (factor.step and factor.unseen):
        return levels, seen, NEVER, NEVER, tail
    count = factor.num_unseen
    # Without numbers between the levels, all unseen ones are outside: half of them on each side.
    outside = math.log(factor.unseen * (0.25 if count else 0.5) * tail) + factor.log_unit
    first = outside - math.log(tail * (tail + 1))
    between = math.log(0.5 * factor.unseen / count) + factor.log_unit if count else first
    return levels, seen, between, outside, tail
