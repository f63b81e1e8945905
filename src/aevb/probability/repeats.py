"""Numbers that rows share: 19.99 in a column of prices, or round numbers in one of incomes."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from aevb.probability.cells import Bend, buffers
from aevb.probability.factors import Factor
from aevb.probability.masses import log_mass

VALUES_PER_BIN, MOST_BINS = 20, 64
"""The range of a column is cut into bins of so many repeated values, but not into more bins."""
BEYOND = 100.0
"""The outer bins reach so far beyond the range, in standard deviations of the column."""


class Repeats(nn.Module):
    """The numbers of one column that at least two training rows share.

        p(x) = (1 - s) f(x) + s F(bin of x) n(x) / n(bin of x)

    Here f is the density or mass of x, F the mass of a bin, and n counts the training rows with
    repeated numbers. So a number comes from the repeated ones with probability s, and they keep
    their place: the bin is drawn from f, and the number within the bin by its rows. s is trained.
    A row that is trained on does not count itself: a number that only one other row has is then
    none that is repeated.

    Args:
        factor: The column. ``repeats``, ``repeat_rows`` and ``repeat_share`` are used.
        bend: How its numbers are bent: that of the column alone.

    Example:
        >>> import torch
        >>> from aevb.probability.cells import Bend
        >>> from aevb.probability.factors import Factor
        >>> from aevb.probability.repeats import Repeats
        >>> prices = Factor(
        ...     "a", "integer", step=1.0, repeats=(1.0, 9.0), repeat_rows=(2, 6), repeat_share=0.5
        ... )
        >>> repeats = Repeats(prices, Bend([prices])).eval()
        >>> logs, x, zero = torch.full((2, 1), -10.0), torch.tensor([9.0, 8.0]), torch.zeros(2, 1)
        >>> repeats(logs, x, zero, zero, torch.zeros(2)).exp().squeeze(-1)  # 0.5 * 6 / 8, and 0
        tensor([3.7502e-01, 2.2700e-05], grad_fn=<SqueezeBackward1>)
    """

    values: Tensor
    between: Tensor
    rows: Tensor
    before: Tensor
    bin_of: Tensor
    bin_rows: Tensor
    bin_starts: Tensor
    edges: Tensor
    middle: Tensor
    width: Tensor

    def __init__(self, factor: Factor, bend: Bend) -> None:
        super().__init__()
        codes = np.asarray(factor.repeats)
        rows = np.asarray(factor.repeat_rows, np.float64)
        cuts = bin_cuts(codes, rows)
        bins = np.searchsorted(cuts, codes)
        values = torch.from_numpy((codes - factor.shift) / factor.scale)
        ends = np.array([factor.low, *cuts, factor.high])
        edges = bend(torch.from_numpy((ends - factor.shift) / factor.scale)[:, None])[:, 0]
        edges[0] -= BEYOND
        edges[-1] += BEYOND
        self.half = 0.5 * factor.step / factor.scale
        bin_rows = np.bincount(bins, rows)
        buffers(
            self,
            values=values,
            between=0.5 * (values[1:] + values[:-1]),
            rows=torch.from_numpy(rows).float(),
            before=torch.from_numpy(np.cumsum(rows)),
            bin_of=bins.tolist(),
            bin_rows=torch.from_numpy(bin_rows).float(),
            bin_starts=torch.from_numpy(np.cumsum(bin_rows) - bin_rows),
            edges=edges[1:-1].clone(),
            middle=(0.5 * (edges[1:] + edges[:-1])).float(),
            width=edges.diff().float(),
        )
        share = torch.tensor(factor.repeat_share)
        self.logit = nn.Parameter(torch.logit(share.float()))

    def forward(
        self, logs: Tensor, x: Tensor, centres: Tensor, log_scales: Tensor, log_unit: Tensor
    ) -> Tensor:
        """Return log p of x for each Gaussian: (..., Y).

        Args:
            logs: (..., Y), log f(x): of a mass, or of a density of t.
            x: (...), the numbers.
            centres: (..., Y), the means of t.
            log_scales: (..., Y), the logs of the standard deviations of t.
            log_unit: (...), what turns log f(x) into the log of a mass.
        """
        k = torch.bucketize(x.double(), self.between)
        same = (self.values[k] - x).abs() < self.half
        rows, of_bin = self.rows[k], self.bin_of[k]
        total = self.bin_rows[of_bin]
        if self.training:
            rows, total = torch.where(rows > 2, rows - 1.0, 0.0), total - 1.0
        same = same & (rows > 0)
        log_share = torch.log(torch.where(same, rows, 1.0) / total.clamp(min=1.0)) - log_unit
        rates = torch.exp(-log_scales)
        middle, width = (part[of_bin].unsqueeze(-1) for part in (self.middle, self.width))
        mass = log_mass((middle - centres) * rates, width * rates)
        repeated = F.logsigmoid(self.logit) + log_share.unsqueeze(-1).to(mass.dtype) + mass
        others = F.logsigmoid(-self.logit) + logs
        return torch.where(same.unsqueeze(-1), torch.logaddexp(others, repeated), others)

    def draw(self, x: Tensor, t: Tensor) -> Tensor:
        """Put repeated numbers in the place of some: (B,) -> (B,), in double precision.

        Args:
            x: (B,), numbers drawn from f.
            t: (B,), bent numbers drawn from f, that name the bins.

        Example:
            >>> import torch
            >>> from aevb.probability.cells import Bend
            >>> from aevb.probability.factors import Factor
            >>> from aevb.probability.repeats import Repeats
            >>> always = Factor(
            ...     "a", "integer", step=1.0, repeats=(5.0,), repeat_rows=(2,), repeat_share=1.0
            ... )
            >>> Repeats(always, Bend([always])).draw(torch.zeros(2), torch.zeros(2))
            tensor([5., 5.], dtype=torch.float64)
        """
        bins = torch.bucketize(t.double(), self.edges)
        u = torch.rand_like(t, dtype=torch.float64)
        at = self.bin_starts[bins] + u * self.bin_rows[bins]
        k = torch.bucketize(at, self.before, right=True).clamp(max=len(self.values) - 1)
        chosen = torch.rand_like(t, dtype=torch.float64) < torch.sigmoid(self.logit.double())
        return torch.where(chosen, self.values[k], x.double())


def bin_cuts(codes: NDArray[np.float64], rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Where the bins of repeated numbers end, but for the last: halfway between two numbers.

    codes: (V,), ascending. rows: (V,). The bins have about as many rows each.

    Example:
        >>> import numpy as np
        >>> from aevb.probability.repeats import bin_cuts
        >>> bin_cuts(np.arange(40.0), np.full(40, 2.0))
        array([19.5])
    """
    bins = min(MOST_BINS, max(len(codes) // VALUES_PER_BIN, 1))
    wanted = rows.sum() * np.arange(1, bins) / bins
    last = np.unique(np.searchsorted(np.cumsum(rows), wanted))
    last = last[last < len(codes) - 1]
    found: NDArray[np.float64] = 0.5 * (codes[last] + codes[last + 1])
    return found
