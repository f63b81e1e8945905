"""Numbers that rows share: 19.99 in a column of prices, or round numbers in one of incomes."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from aevb.probability.cells import Bend, buffers, padded
from aevb.probability.class_chain import draw_index
from aevb.probability.factors import Factor
from aevb.probability.masses import log_mass
from aevb.probability.repeat_bins import bin_cuts

BEYOND = 100.0
"""The outer bins reach so far beyond the range, in standard deviations of the column."""
NEVER = -1e4
"""The log of a probability of nearly 0."""
SMALL = -80.0
"""exp of less is no normal number in single precision."""


class Repeats(nn.Module):
    """The numbers of one column that at least two training rows share.

        p(x) = (1 - s) f(x) + s F(bin of x) w(x) f(x) / sum_{v in bin of x} w(v) f(v)

    Here f is the density or mass of x, F the mass of a bin, and v are the repeated numbers. w(v) is
    how much more often v occurs than its neighbours: its training rows divided by the smooth
    density of the column there. So with probability s a number is a repeated one: its bin is drawn
    from f, and the number within the bin in proportion to w f. s is trained.

    Beyond the first and the last repeated number p is f, so that the tails keep their shape. A row
    that is trained on does not count itself: a number that only one other row has is then none that
    is repeated.

    Args:
        factor: The column, with its ``repeats``.
        bend: How its numbers are bent: that of the column alone.

    Example:
        >>> import torch
        >>> from aevb.probability.cells import Bend
        >>> from aevb.probability.factors import Factor
        >>> from aevb.probability.repeats import Repeats
        >>> repeated = {"repeats": (-1.0, 1.0), "repeat_rows": (2, 6), "repeat_share": 0.5}
        >>> prices = Factor("a", "integer", step=1.0, low=-9.0, high=9.0, **repeated)
        >>> repeats = Repeats(prices, Bend([prices])).eval()
        >>> logs, x, zero = torch.full((2, 1), -10.0), torch.tensor([1.0, 0.0]), torch.zeros(2, 1)
        >>> repeats(logs, x, zero, zero, torch.zeros(2)).exp().squeeze(-1)  # 0.87 * 0.5 * 6/8
        tensor([3.2492e-01, 2.2700e-05], grad_fn=<SqueezeBackward1>)
    """

    values: Tensor
    between: Tensor
    rows: Tensor
    log_smooth: Tensor
    bin_of: Tensor
    place: Tensor
    edges: Tensor
    middle: Tensor
    width: Tensor
    bin_t: Tensor
    bin_logs: Tensor
    is_empty: Tensor

    def __init__(self, factor: Factor, bend: Bend) -> None:
        super().__init__()
        codes = np.asarray(factor.repeats)
        rows = np.asarray(factor.repeat_rows, np.float64)
        cuts = bin_cuts(codes, rows)
        if not factor.values:
            # With spikes, whose cells are cut out of f, the bins must hold all numbers.
            half = 0.5 * factor.step
            cuts = np.array([codes[0] - half, *cuts, codes[-1] + half])
        bins = np.searchsorted(cuts, codes)
        self.step, self.is_whole = factor.step / factor.scale, factor.family == "integer"
        self.low, self.high = (
            (end - factor.shift) / factor.scale for end in (factor.low, factor.high)
        )
        self.bend = bend

        def bent(numbers: NDArray[np.float64]) -> Tensor:
            x = torch.from_numpy((numbers - factor.shift) / factor.scale)
            found: Tensor = bend(x[:, None])[:, 0]
            return found

        edges = bent(np.array([factor.low, *cuts, factor.high]))
        edges[0] -= BEYOND
        edges[-1] += BEYOND
        smooth = np.asarray(factor.repeat_logs or np.zeros(len(codes)))
        logs = np.log(rows) - smooth
        values, t = torch.from_numpy((codes - factor.shift) / factor.scale), bent(codes)
        of_bins = [bins == b for b in range(len(cuts) + 1)]
        buffers(
            self,
            values=values,
            between=0.5 * (values[1:] + values[:-1]),
            rows=torch.from_numpy(rows).float(),
            log_smooth=torch.from_numpy(smooth).float(),
            bin_of=bins.tolist(),
            place=[k for here in of_bins for k in range(int(here.sum()))],
            edges=edges[1:-1].clone(),
            middle=(0.5 * (edges[1:] + edges[:-1])).float(),
            width=edges.diff().float(),
            is_empty=torch.tensor([not here.any() for here in of_bins]),
            bin_t=padded([t[here].tolist() for here in of_bins], 0.0),
            bin_logs=padded([logs[here].tolist() for here in of_bins], NEVER),
        )
        self.logit = nn.Parameter(torch.logit(torch.tensor(factor.repeat_share)).float())

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
        bins, rows = self.bin_of[k], self.rows[k]
        same = (self.values[k] - x).abs() < 0.5 * self.step
        weights = self.bin_logs[bins].to(logs.dtype)  # (..., V) of V numbers in a bin
        own = torch.arange(weights.shape[-1], device=x.device) == self.place[k].unsqueeze(-1)
        if self.training:
            rows = torch.where(rows > 2, rows - 1.0, 0.0)
            left = rows.clamp(min=1.0).log() - self.log_smooth[k]
            left = torch.where(rows > 0, left, NEVER)
            weights = torch.where(own, left.unsqueeze(-1), weights)
        same = (same & (rows > 0)).unsqueeze(-1)
        rates = torch.exp(-log_scales)
        # (..., Y, V): log w(v) f(v), but for a constant.
        within = self._within(bins, weights, centres, rates)
        share = (within * own.unsqueeze(-2)).sum(-1) - _log_sum(within)
        middle, width = (part[bins].unsqueeze(-1) for part in (self.middle, self.width))
        mass = log_mass((middle - centres) * rates, width * rates)
        repeated = F.logsigmoid(self.logit) + share + mass - log_unit.unsqueeze(-1)
        t = self.bend(x.unsqueeze(-1))[..., 0]
        is_empty = self.is_empty[torch.bucketize(t, self.edges)].unsqueeze(-1)
        others = torch.where(is_empty, 0.0, F.logsigmoid(-self.logit)) + logs
        return torch.where(same, torch.logaddexp(others, repeated), others)

    def _within(self, bins: Tensor, weights: Tensor, centres: Tensor, rates: Tensor) -> Tensor:
        """The logs of w(v) f(v) of the numbers of a bin, but for a constant: (..., Y, V)."""
        t = self.bin_t[bins].to(weights.dtype).unsqueeze(-2)
        z = (t - centres.unsqueeze(-1)) * rates.unsqueeze(-1)
        return weights.unsqueeze(-2) - 0.5 * z.square()

    def draw(self, x: Tensor, centre: Tensor, scale: Tensor) -> Tensor:
        """Put repeated numbers in the place of some: (B,) -> (B,).

        Args:
            x: (B,), numbers drawn from f.
            centre: (B,), the mean of t.
            scale: (B,), the standard deviation of t.

        Example:
            >>> import torch
            >>> from aevb.probability.cells import Bend
            >>> from aevb.probability.factors import Factor
            >>> from aevb.probability.repeats import Repeats
            >>> repeated = {"repeats": (-9.0, 9.0), "repeat_rows": (2, 2), "repeat_share": 1.0}
            >>> always = Factor("a", "integer", step=1.0, low=-20.0, high=20.0, **repeated)
            >>> zero = torch.zeros(2)
            >>> Repeats(always, Bend([always])).draw(zero, zero + 8, zero + 0.1)
            tensor([9., 9.])
        """
        chosen = torch.rand_like(x) < torch.sigmoid(self.logit.to(x.dtype))
        centre, rate = centre[chosen].unsqueeze(-1), 1 / scale[chosen].unsqueeze(-1)
        t = centre[:, 0] + torch.randn_like(centre[:, 0]) / rate[:, 0]
        bins = torch.bucketize(t.to(self.edges.dtype), self.edges)
        weights = self.bin_logs[bins].to(centre.dtype)
        within = self._within(bins, weights, centre, rate)[:, 0]
        starts = torch.searchsorted(self.bin_of, bins)
        k = (starts + draw_index(within)[:, 0]).clamp(max=len(self.values) - 1)
        beyond = self.bend.back(t.unsqueeze(-1))[:, 0]
        if self.is_whole:
            beyond = self.low + torch.round((beyond - self.low) / self.step) * self.step
        beyond = beyond.clamp(self.low, self.high)
        drawn = torch.where(self.is_empty[bins], beyond, self.values[k])
        return x.masked_scatter(chosen, drawn.to(x.dtype))


def _log_sum(logs: Tensor) -> Tensor:
    """``logs.logsumexp(-1)`` without the exponentials of very small numbers, which are slow."""
    most = logs.detach().amax(-1, keepdim=True)
    return (logs - most).clamp(min=SMALL).exp().sum(-1).log() + most[..., 0]
