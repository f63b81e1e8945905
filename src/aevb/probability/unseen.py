"""What the class of a cell leaves open: which of several rare levels, or which unseen number."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from aevb.probability.cells import Classes, spikes_of
from aevb.probability.factors import Factor


class Unseen(nn.Module):
    """Log p of a cell of levels given its class, added to the log p of the class.

    A level has its share of the class. A number that no training row has takes the place of the
    class: half of the probability ``Factor.unseen`` is spread evenly between the levels, the rest
    falls off geometrically outside.
    """

    log_seen: Tensor
    log_unseen: Tensor
    log_between: Tensor
    log_outside: Tensor
    tail: Tensor
    log_unit: Tensor
    place: Tensor
    spike_unit: Tensor
    spiked_place: Tensor

    def __init__(self, factors: Sequence[Factor], classes: Classes) -> None:
        super().__init__()
        self.factors, self.find = tuple(factors), classes
        levels = [factors[i] for i in classes.levels]
        counts = [len(factor.unseen_values()) for factor in levels]
        unseen = [factor.unseen if factor.step else 0.0 for factor in levels]
        # Without numbers between the levels, all unseen ones are outside.
        inside = [0.5 if count else 0.0 for count in counts]
        values = {
            "log_seen": [math.log1p(-u) for u in unseen],
            "log_unseen": [math.log(u) if u else -1e4 for u in unseen],
            "log_between": [
                math.log(s / n) if n else -1e4 for s, n in zip(inside, counts, strict=True)
            ],
            "log_outside": [math.log(0.5 * (1 - s)) for s in inside],
            "tail": [max(2.0, len(factor.values) / 4) for factor in levels],
            "log_unit": [-math.log(f.step) if f.density and f.step else 0.0 for f in levels],
        }
        for name, value in values.items():
            self.register_buffer(name, torch.tensor(value, dtype=torch.float32))
        place = [classes.columns.index(i) for i in classes.levels]
        self.register_buffer("place", torch.tensor(place).long())
        spiked = [factors[i] for i in classes.spiked]
        units = torch.tensor([-math.log(f.step) if f.density and f.step else 0.0 for f in spiked])
        self.register_buffer("spike_unit", units.float())
        places = [classes.columns.index(i) for i in classes.spiked]
        self.register_buffer("spiked_place", torch.tensor(places).long())

    def forward(self, x: Tensor, logs: Tensor) -> Tensor:
        """Return what is to be added to the logs of the classes: x (..., D) -> (..., Q).

        logs: (..., Q), the log p of the classes. For an unseen number they are taken away again.
        """
        added = torch.zeros_like(logs)
        if self.find.levels:
            cells = x.index_select(-1, self.find.level_columns)
            known = torch.isfinite(cells)
            cell = torch.where(known, cells, 0.0)
            count = self.find.level_count.to(x.dtype)
            seen = (cell > -0.5) & (cell < count - 0.25)
            level = self.find.level_of(x)
            of_seen = self.find.level_share[self.find.rows, level] + self.log_seen
            beyond = torch.where(cell < 0, -cell, cell - count).clamp(min=1.0).floor()
            between = (cell >= count - 0.25) & (cell < count + 1)
            fall = torch.log(-torch.expm1(-1 / self.tail)) - (beyond - 1) / self.tail
            of_unseen = self.log_unseen + torch.where(
                between, self.log_between, self.log_outside + fall
            )
            of_class = logs.index_select(-1, self.place)
            found = torch.where(seen, of_seen, of_unseen - of_class) + self.log_unit
            added = added.index_add(
                -1, self.place, torch.where(known, found, 0.0).expand_as(of_class)
            )
        if self.find.spiked:
            cells = x.index_select(-1, self.find.spiked_columns)
            on = (cells.unsqueeze(-1) == self.find.spikes).any(-1)
            of_class = logs.index_select(-1, self.spiked_place)
            found = torch.where(on, self.spike_unit, 0.0).expand_as(of_class)
            added = added.index_add(-1, self.spiked_place, found)
        return added

    def draw(self, column: int, classes: Tensor, numbers: Tensor) -> Tensor:
        """Turn drawn classes into cells x: (B,) each. numbers: the drawn numbers of the column."""
        factor = self.factors[column]
        gone = (
            classes == factor.num_classes - 1 if factor.gaps else torch.zeros_like(classes).bool()
        )
        if factor.is_number:
            cells = numbers
            if factor.values:
                spikes = spikes_of(factor).to(numbers.device)
                index = (classes - 1).clamp(0, len(spikes) - 1)
                cells = torch.where(classes > 0, spikes[index], numbers)
        else:
            cells = self._levels(factor, classes).to(numbers.dtype)
        return torch.where(gone, math.inf, cells)

    def _levels(self, factor: Factor, classes: Tensor) -> Tensor:
        """Draw the level of each class, or rarely an unseen number between the levels."""
        if factor.classes:
            of_level = torch.tensor(factor.classes, device=classes.device)
            shares = torch.tensor(factor.shares, device=classes.device).exp()
            table = torch.zeros(int(of_level.max()) + 1, len(of_level), device=classes.device)
            table[of_level, torch.arange(len(of_level))] = shares.float()
            ends = table.cumsum(1)[classes.clamp(0, len(table) - 1)]
            return (ends < torch.rand(len(classes), 1) * ends[:, -1:]).sum(1).to(torch.float32)
        cells = classes.to(torch.float32)
        if len(factor.unseen_values()):
            u = torch.rand(len(classes), device=classes.device)
            rare = torch.rand(len(classes), device=classes.device) < 0.5 * factor.unseen
            cells = torch.where(rare, len(factor.values) + u, cells)
        return cells
