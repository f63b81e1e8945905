"""A chain of numbers: a mixture of correlated Gaussians around means that a context sets."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aevb.probability.cells import Bend, NumberFeatures
from aevb.probability.factors import Factor

LEAST, MOST = -7.0, 3.0
"""Bounds of the log of a standard deviation, where the column has a standard deviation of 1."""
BEND = 1.5
"""How far the context may move the log of a standard deviation."""
LOG_SQRT_2PI = 0.5 * math.log(2 * math.pi)


class NumberChain(nn.Module):
    """Numbers t_1, ..., t_C given a context and the features of the row's classes.

        r_c = t_c - m_c
        p(r) = sum_y w_y prod_c N(r_c; a_yc + sum_{e < c} B_yce r_e, s_yc^2)

    So the residuals r follow a mixture of Gaussians with full covariances: B_y holds the
    coefficients of the regressions of each number on those before it. The context and the classes
    set m, w and a factor of s. With ``width`` hidden units a column, m, a and s also depend on the
    numbers before in a way that is not linear. A number that is not known has r = 0 there.

    Args:
        factors: The columns of numbers, C of them.
        class_features: P, the features of the row's classes.
        components: Y.
        width: Hidden units of each column; 0: no hidden layer.

    Attributes:
        num_features: How many numbers the context has.
    """

    half_step: Tensor
    whole: Tensor
    in_mask: Tensor
    lower: Tensor
    log_unit: Tensor
    limits: Tensor
    start_slopes: Tensor

    def __init__(
        self, factors: Sequence[Factor], class_features: int, components: int, width: int
    ) -> None:
        super().__init__()
        self.columns, self.components, self.width = len(factors), components, width
        columns = self.columns
        self.bend = Bend(factors)
        self.features = NumberFeatures(columns) if width else NumberFeatures(columns, 0)
        self.class_features = class_features
        self.num_features = 2 * columns + components + columns * width
        whole = [factor.family == "integer" for factor in factors]
        half = [0.5 * factor.step / factor.scale for factor in factors]
        # A density is one per unit of the column; x counts in units of its scale.
        units = [
            0.0 if factor.family == "integer" else -math.log(factor.scale) for factor in factors
        ]
        limits = [((f.low - f.shift) / f.scale, (f.high - f.shift) / f.scale) for f in factors]
        of_unit = torch.arange(columns).repeat_interleave(width)
        earlier = (self.features.owner[:, None] < of_unit).float()
        tensors = {
            "half_step": torch.tensor(half, dtype=torch.float64),
            "whole": torch.tensor(whole, dtype=torch.bool),
            "in_mask": torch.cat([torch.ones(class_features, columns * width), earlier]),
            "lower": torch.ones(columns, columns).tril(-1),
            "log_unit": torch.tensor(units, dtype=torch.float32),
            "limits": torch.tensor(limits, dtype=torch.float64).reshape(columns, 2),
            "start_slopes": torch.zeros(components, columns, columns),
        }
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor)
        self.any_whole = any(whole)
        self.log_weights = nn.Parameter(torch.zeros(components))
        self.offsets = nn.Parameter(torch.zeros(components, columns))
        self.log_scales = nn.Parameter(torch.zeros(components, columns))
        self.slopes = nn.Parameter(torch.zeros(components, columns, columns))
        self.means = nn.Parameter(torch.zeros(class_features, columns))
        self.gates = nn.Parameter(torch.zeros(class_features, components))
        inputs = class_features + self.features.width
        bound = 1 / math.sqrt(max(inputs, 1))
        self.inward = nn.Parameter(torch.empty(inputs, columns * width).uniform_(-bound, bound))
        self.outward = nn.Parameter(torch.zeros(columns, width, 2 + components))

    def penalty(self) -> Tensor:
        """Minus the log of the weights' prior: (). Slopes have theirs around their first values."""
        total = 0.5 * (self.means.square().sum() + self.gates.square().sum())
        moved = (self.slopes - self.start_slopes) * self.lower
        total = total + 0.5 * 100.0 * moved.square().sum()
        if self.width:
            total = total + 0.5 * (self.inward * self.in_mask).square().sum()
            total = total + 0.5 * self.outward.square().sum()
        return total

    def _context(self, h: Tensor, features: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """m (..., C) and log w (..., Y) without the hidden layer, scales (..., C), and inputs."""
        columns, components = self.columns, self.components
        means, scales, gates, inputs = h.split(
            [columns, columns, components, columns * self.width], -1
        )
        gates = F.log_softmax(gates + features @ self.gates + self.log_weights, -1)
        return means + features @ self.means, gates, scales, inputs

    def log_prob(self, h: Tensor, cells: Tensor, features: Tensor) -> Tensor:
        """Return log p of each number given those before it: (..., C); 0 where it is not known.

        Args:
            h: (..., num_features), the context.
            cells: (..., C), the numbers x; NaN or infinite where there is none.
            features: (..., P), those of the classes.
        """
        means, gates, scales, inputs = self._context(h, features)
        known = torch.isfinite(cells)
        x = torch.where(known, cells, 0.0)
        t = self.bend(x)
        offsets = self.offsets.T
        if self.width:
            seen = torch.where(known, t.float(), math.nan)
            pairs = torch.cat([features, self.features(seen)], -1)
            hidden = F.silu(pairs @ (self.inward * self.in_mask) + inputs)
            hidden = hidden.unflatten(-1, (self.columns, self.width))
            shifts = torch.einsum("...cw,cwo->...co", hidden, self.outward)
            means, scales = means + shifts[..., 0], scales + shifts[..., 1]
            offsets = offsets + shifts[..., 2:]
        residuals = torch.where(known, t.float() - means, 0.0)
        slopes = (self.slopes * self.lower).transpose(0, 1).flatten(0, 1)  # (C Y, C)
        centres = (residuals @ slopes.T).unflatten(-1, (self.columns, self.components)) + offsets
        logs = self.log_components(x, t, means, centres, scales)
        logs = torch.where(known.unsqueeze(-1), logs, 0.0)
        running = torch.cat([gates.unsqueeze(-2), logs], -2).cumsum(-2).logsumexp(-1)
        found = running[..., 1:] - running[..., :-1]
        units = self.bend.log_slope(x).float() + self.log_unit
        return torch.where(known, found + torch.where(self.whole, 0.0, units), 0.0)

    def log_components(
        self, x: Tensor, t: Tensor, means: Tensor, centres: Tensor, scales: Tensor
    ) -> Tensor:
        """Return the log density of t, or the log mass of a whole number, for each component.

        x, t, means, scales: (..., C). centres: (..., C, Y), of the residuals. -> (..., C, Y).
        """
        log_scales = self.log_scales.T + BEND * torch.tanh(scales / BEND).unsqueeze(-1)
        log_scales = log_scales.clamp(LEAST, MOST)
        z = (t.float() - means).unsqueeze(-1) - centres
        density = -0.5 * (z * torch.exp(-log_scales)).square() - log_scales - LOG_SQRT_2PI
        if not self.any_whole:
            return density
        double = (means.unsqueeze(-1) + centres).double(), torch.exp(-log_scales).double()
        upper, lower = (
            (self.bend(x.double() + side * self.half_step).unsqueeze(-1) - double[0]) * double[1]
            for side in (1.0, -1.0)
        )
        mass = log_difference(upper, lower).float()
        return torch.where(self.whole.unsqueeze(-1), mass, density)

    @torch.no_grad()
    def independent_rows(self, mixtures: Tensor, cells: Tensor) -> Tensor:
        """Return log p of cells (N, C) under a mixture of Gaussians for each column: (N,).

        mixtures: (3, C, K), logs of the weights, means, and logs of the standard deviations of t.
        """
        known = torch.isfinite(cells)
        x = torch.where(known, cells, 0.0)
        t, (weights, means, log_scales) = self.bend(x), mixtures.to(x.dtype)
        z = (t.float().unsqueeze(-1) - means) * torch.exp(-log_scales)
        logs = -0.5 * z.square() - log_scales - LOG_SQRT_2PI
        units = self.bend.log_slope(x).float() + self.log_unit
        logs = logs + torch.where(self.whole, 0.0, units).unsqueeze(-1)
        if self.any_whole:
            ends = [self.bend(x.double() + s * self.half_step).unsqueeze(-1) for s in (1.0, -1.0)]
            upper, lower = ((end - means) * torch.exp(-log_scales).double() for end in ends)
            mass = log_difference(upper, lower).float()
            logs = torch.where(self.whole.unsqueeze(-1), mass, logs)
        return torch.where(known, (logs + weights).logsumexp(-1), 0.0).sum(-1)

    @torch.no_grad()
    def complete(
        self, h: Tensor, cells: Tensor, wanted: Tensor, features: Tensor, *, likely: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Draw the numbers that are wanted and not known, in order.

        Args:
            h: (B, num_features), the context.
            cells: (B, C), the numbers x.
            wanted: (B, C), which cells must hold a number in the end.
            features: (B, P), those of the classes.
            likely: Take means in place of draws.

        Returns:
            The numbers (B, C), and log p of those that were known: (B,).
        """
        means, running, scales, inputs = self._context(h, features)
        cells = cells.clone()
        residuals = torch.zeros_like(means)
        seen = torch.full_like(means, math.nan)
        slopes = self.slopes * self.lower
        inward = self.inward * self.in_mask
        before = running.logsumexp(-1)
        extra = h.new_zeros(len(h))
        for c in range(self.columns):
            mean, scale, offsets = means[:, c], scales[:, c], self.offsets[:, c]
            if self.width:
                units = slice(c * self.width, (c + 1) * self.width)
                pairs = torch.cat([features, self.features(seen)], -1)
                hidden = F.silu(pairs @ inward[:, units] + inputs[:, units])
                shifts = hidden @ self.outward[c]
                mean, scale = mean + shifts[:, 0], scale + shifts[:, 1]
                offsets = offsets + shifts[:, 2:]
            centres = residuals @ slopes[:, c].T + offsets
            known = torch.isfinite(cells[:, c])
            new = wanted[:, c] & ~known
            log_scales = self.log_scales[:, c] + BEND * torch.tanh(scale / BEND).unsqueeze(-1)
            log_scales = log_scales.clamp(LEAST, MOST)
            drawn = self._draw(c, mean, centres, log_scales, running, likely)
            cells[:, c] = torch.where(new, drawn, cells[:, c])
            there = known | new
            x = torch.where(there, cells[:, c], 0.0)
            logs, t, unit = self._component_logs(c, x, mean, centres, log_scales)
            running = running + torch.where(there.unsqueeze(-1), logs, 0.0)
            residuals[:, c] = torch.where(there, t - mean, 0.0)
            seen[:, c] = torch.where(there, t, math.nan)
            after = running.logsumexp(-1)
            extra = extra + torch.where(known, after - before + unit, 0.0)
            before = after
        return cells, extra

    def _one(self, c: int, name: str) -> Tensor:
        found: Tensor = getattr(self.bend, name)[c]
        return found

    def _component_logs(
        self, c: int, x: Tensor, mean: Tensor, centres: Tensor, log_scales: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """As ``log_components`` for one column: (B, Y), with t and the log of its unit: (B,)."""
        t = self._bent(c, x)
        rate = torch.exp(-log_scales)
        if bool(self.whole[c]):
            centre, rate = (mean.unsqueeze(-1) + centres).double(), rate.double()
            edges = [self._bent(c, x.double() + s * self.half_step[c]) for s in (1.0, -1.0)]
            upper, lower = ((edge.unsqueeze(-1) - centre) * rate for edge in edges)
            return log_difference(upper, lower).float(), t.float(), torch.zeros_like(mean)
        z = (t.float() - mean).unsqueeze(-1) - centres
        logs = -0.5 * (z * rate).square() - log_scales - LOG_SQRT_2PI
        u = (x.double() - self._one(c, "centre")) * self._one(c, "bend")
        unit = (-0.5 * u.square().log1p() - self._one(c, "spread").log()).float() + self.log_unit[c]
        return logs, t.float(), unit

    def _bent(self, c: int, x: Tensor) -> Tensor:
        u, bend = x.double() - self._one(c, "centre"), self._one(c, "bend")
        bent = torch.asinh(u * bend) / bend if bool(bend > 0) else u
        return (bent - self._one(c, "mean")) / self._one(c, "spread")

    def _back(self, c: int, t: Tensor) -> Tensor:
        bent = t * self._one(c, "spread") + self._one(c, "mean")
        bend = self._one(c, "bend")
        u = torch.sinh((bent * bend).clamp(-80, 80)) / bend if bool(bend > 0) else bent
        return u + self._one(c, "centre")

    def _draw(
        self,
        c: int,
        mean: Tensor,
        centres: Tensor,
        log_scales: Tensor,
        running: Tensor,
        likely: bool,
    ) -> Tensor:
        """Draw x of one column, within the range of the training rows: (B,)."""
        low, high = self.limits[c]
        if likely:
            shares = torch.softmax(running, -1)
            t = (mean + (shares * centres).sum(-1)).double()
        else:
            y = draw_index(running)
            centre = (mean + centres.gather(1, y)[:, 0]).double()
            scale = log_scales.gather(1, y)[:, 0].double().exp()
            ends = [
                self._bent(c, end) for end in (low - self.half_step[c], high + self.half_step[c])
            ]
            a, b = (torch.special.ndtr((end - centre) / scale) for end in ends)
            u = a + (b - a) * torch.rand_like(centre)
            t = centre + scale * torch.special.ndtri(u.clamp(1e-12, 1 - 1e-12))
        x = self._back(c, t)
        if bool(self.whole[c]):
            step = 2 * self.half_step[c]
            x = low + torch.round((x - low) / step) * step
        return x.clamp(low, high).float()


def draw_index(logs: Tensor) -> Tensor:
    """Draw one index a row in proportion to the exponentials: (B, Y) -> (B, 1)."""
    shares = torch.softmax(logs, -1).cumsum(-1)
    return (
        (shares < torch.rand_like(shares[:, :1]))
        .sum(-1, keepdim=True)
        .clamp(max=logs.shape[-1] - 1)
    )


def log_difference(upper: Tensor, lower: Tensor) -> Tensor:
    """Return log(Phi(upper) - Phi(lower)) for upper > lower, in double precision.

    Far from 0 the difference is below the smallest number. Its log then comes from the density.
    """
    # On the side of small tails no digits are lost.
    flip = (upper + lower) > 0
    a = torch.where(flip, -lower, upper)
    b = torch.where(flip, -upper, lower)
    width = (a - b).clamp(min=1e-300)
    middle = 0.5 * (a + b)
    narrow = width < 1e-6
    of_density = -0.5 * middle.square() - LOG_SQRT_2PI + torch.log(width)
    # Far in the tail the mass of a wide cell lies at its nearer edge.
    of_tail = -0.5 * a.square() - LOG_SQRT_2PI - torch.log(a.abs().clamp(min=1.0))
    approximate = torch.where(narrow, of_density, of_tail)
    mass = 0.5 * (torch.erfc(-a / math.sqrt(2)) - torch.erfc(-b / math.sqrt(2)))
    # For cells that are narrow the density in the middle is exact to the square of the width.
    exact = (mass > 1e-280) & ~narrow
    return torch.where(exact, torch.log(torch.where(exact, mass, 1.0)), approximate)
