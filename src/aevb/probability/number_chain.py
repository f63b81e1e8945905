"""A chain of numbers: a mixture of correlated Gaussians around means that a context sets."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aevb.probability.cells import Bend, NumberFeatures, buffers, spikes_of
from aevb.probability.class_chain import draw_index
from aevb.probability.factors import Factor
from aevb.probability.masses import LOG_SQRT_2PI, log_mass
from aevb.probability.partly_known import Beliefs, Conditional, apart_from, given_known
from aevb.probability.repeats import NEVER, Repeats

LEAST, MOST = -7.0, 3.0
"""Bounds of the log of a standard deviation, where the column has a standard deviation of 1."""
BEND = 1.5
"""How far the context may move the log of a standard deviation."""
MOST_WORK = 300_000
"""Gaussians times columns^3, up to which numbers that are not known are integrated over. With
hidden units there are more rows in a batch, so it is a thirtieth."""


class NumberChain(nn.Module):
    """Numbers t_1, ..., t_C given a context and the features of the row's classes.

        r_c = t_c - m_c
        p(r) = sum_y w_y prod_c N(r_c; a_yc + sum_{e < c} B_yce r_e, s_yc^2)

    So the residuals r follow a mixture of Gaussians with full covariances: B_y holds the
    coefficients of the regressions of each number on those before it. The context and the classes
    set m, w and a factor of s. With ``width`` hidden units a column, m, a and s also depend on the
    numbers before in a way that is not linear; there, a number that is not known has features of 0.

    A number that is missing (NaN) is still there, but not seen: log p of the others is integrated
    over it (``exact``). With so many columns and Gaussians that this would be slow, it has r = 0.
    A cell that holds a spike (infinity) is no number: it has r = 0, and its class says the rest.

    A whole number has the mass of the cell around it. The cells of spikes are cut out of each
    Gaussian, because a spike has a probability of its own. In columns where rows share numbers,
    each Gaussian is mixed with these (``aevb.probability.repeats``).

    Args:
        factors: The columns of numbers, C of them.
        class_features: P, the features of the row's classes.
        components: Y.
        width: Hidden units of each column; 0: no hidden layer.

    Attributes:
        num_features: How many numbers the context has.
        exact: Whether log p is integrated over the numbers that are not known.

    Example:
        >>> import torch
        >>> from aevb.probability.factors import Factor
        >>> from aevb.probability.number_chain import NumberChain
        >>> size, dice = Factor("a", "real"), Factor("b", "integer", step=1.0)
        >>> chain = NumberChain([size, dice], class_features=0, components=1, width=0)
        >>> h, cells = torch.zeros(chain.num_features), torch.tensor([0.0, 1.0])
        >>> chain.log_prob(h, cells, torch.zeros(0)).exp()  # N(0; 0, 1), and its mass in (0.5, 1.5)
        tensor([0.3989, 0.2417], grad_fn=<ExpBackward0>)
    """

    whole_index: Tensor
    half_step: Tensor
    is_real: Tensor
    in_mask: Tensor
    lower: Tensor
    log_unit: Tensor
    start_slopes: Tensor
    cut_columns: Tensor
    cut_owners: Tensor
    cut_middle: Tensor
    cut_width: Tensor

    def __init__(
        self, factors: Sequence[Factor], class_features: int, components: int, width: int
    ) -> None:
        super().__init__()
        self.columns, self.components, self.width = len(factors), components, width
        columns, self.factors = self.columns, tuple(factors)
        self.exact = components * columns**3 <= (MOST_WORK if width == 0 else MOST_WORK // 30)
        self.may_miss = any(factor.gaps for factor in factors)
        self.has_spikes = any(factor.values for factor in factors)
        self.bend = Bend(factors)
        self.features = NumberFeatures(columns) if width else NumberFeatures(columns, 0)
        self.class_features = class_features
        self.num_features = 2 * columns + components + columns * width
        self.whole = [c for c, f in enumerate(factors) if f.family == "integer"]
        buffers(self, **self._constants())
        buffers(self, **self._cuts())
        repeated = [c for c, factor in enumerate(factors) if factor.repeats]
        self.repeats = nn.ModuleDict(
            {str(c): Repeats(factors[c], Bend([factors[c]])) for c in repeated}
        )
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

    def _constants(self) -> dict[str, Tensor]:
        """What the columns are like: their steps and units, and who depends on whom."""
        columns, factors = self.columns, self.factors
        half = [0.5 * (factors[c].step or 1.0) / factors[c].scale for c in self.whole]
        # A density is one per unit of the column; x counts in units of its scale.
        units = [0.0 if c in self.whole else -math.log(f.scale) for c, f in enumerate(factors)]
        of_unit = torch.arange(columns).repeat_interleave(self.width)
        earlier = (self.features.owner[:, None] < of_unit).float()
        return {
            "whole_index": torch.tensor(self.whole).long(),
            "half_step": torch.tensor(half, dtype=torch.float64),
            "is_real": torch.tensor([c not in self.whole for c in range(columns)]).bool(),
            "in_mask": torch.cat([torch.ones(self.class_features, len(of_unit)), earlier]),
            "lower": torch.ones(columns, columns).tril(-1),
            "log_unit": torch.tensor(units, dtype=torch.float32),
            "start_slopes": torch.zeros(self.components, columns, columns),
        }

    def _cuts(self) -> dict[str, Tensor]:
        """The cells of the spikes among whole numbers: middles and widths of t, by column."""
        places = [k for k, c in enumerate(self.whole) for _ in self.factors[c].values]
        found = [spikes_of(self.factors[c]) for c in self.whole]
        spikes = torch.cat([*found, torch.zeros(0)])
        owners = torch.tensor(places).long()
        columns = torch.tensor(self.whole).long()[owners]
        middles, widths = self.bend.cell(spikes, self.half_step[owners], columns)
        self.cuts = [
            [k for k, place in enumerate(places) if self.whole[place] == c]
            for c in range(self.columns)
        ]
        return {
            "cut_columns": columns,
            "cut_owners": (owners[:, None] == torch.arange(len(self.whole))).float(),
            "cut_middle": middles,
            "cut_width": widths,
        }

    def penalty(self) -> Tensor:
        """Minus the log of the weights' prior: (). Slopes have theirs around their first values.

        Example:
            >>> from aevb.probability.factors import Factor
            >>> from aevb.probability.number_chain import NumberChain
            >>> NumberChain([Factor("a", "real")], 0, components=1, width=0).penalty().item()
            0.0
        """
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

    def _terms(
        self, h: Tensor, cells: Tensor, features: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """t and m (..., C), log w (..., Y), a and log s (..., C, Y). t is of 0 where unknown."""
        means, gates, scales, inputs = self._context(h, features)
        known = torch.isfinite(cells)
        t = self.bend(torch.where(known, cells, 0.0)).to(h.dtype)
        offsets = self.offsets.T
        if self.width:
            seen = torch.where(known, t, math.nan)
            pairs = torch.cat([features, self.features(seen)], -1)
            hidden = F.silu(pairs @ (self.inward * self.in_mask) + inputs)
            hidden = hidden.unflatten(-1, (self.columns, self.width))
            shifts = torch.einsum("...cw,cwo->...co", hidden, self.outward)
            means, scales = means + shifts[..., 0], scales + shifts[..., 1]
            offsets = offsets + shifts[..., 2:]
        return t, means, gates, offsets, bounded(self.log_scales.T, scales)

    def log_prob(self, h: Tensor, cells: Tensor, features: Tensor) -> Tensor:
        """Return log p of each number given those before it: (..., C); 0 where it is not known.

        Args:
            h: (..., num_features), the context.
            cells: (..., C), the numbers x; infinite for a spike, NaN for what is missing.
            features: (..., P), those of the classes.

        Example:
            >>> import torch
            >>> from aevb.probability.factors import Factor
            >>> from aevb.probability.number_chain import NumberChain
            >>> chain = NumberChain([Factor("a", "real")], 0, components=1, width=0)
            >>> nan, h = float("nan"), torch.zeros(chain.num_features)
            >>> chain.log_prob(h, torch.tensor([[2.0], [nan]]), torch.zeros(2, 0)).tolist()
            [[-2.918938636779785], [0.0]]
        """
        known = torch.isfinite(cells)
        x = torch.where(known, cells, 0.0)
        t, means, gates, offsets, log_scales = self._terms(h, cells, features)
        residuals = torch.where(known, t - means, 0.0)
        missing = torch.isnan(cells)
        if self.exact and (self.may_miss if self.training else bool(missing.any())):
            spikes = torch.isinf(cells) if self.has_spikes else None
            chain = apart_from(spikes, offsets, log_scales, self.slopes * self.lower)
            moves, log_scales = given_known(residuals, ~missing, *chain)
        else:
            slopes = (self.slopes * self.lower).transpose(0, 1).flatten(0, 1)  # (C Y, C)
            moves = (residuals @ slopes.T).unflatten(-1, (self.columns, self.components)) + offsets
        logs = self._log_components(x, t, means.unsqueeze(-1) + moves, log_scales)
        logs = torch.where(known.unsqueeze(-1), logs, 0.0)
        before = gates.unsqueeze(-2) + logs.cumsum(-2) - logs
        found = torch.logsumexp(F.log_softmax(before, -1) + logs, -1)
        return torch.where(known, found + self._log_units(x).to(h.dtype), 0.0)

    def _log_units(self, x: Tensor) -> Tensor:
        """What turns the log of a density of t into that of the column's own unit: (..., C)."""
        return torch.where(self.is_real, self.bend.log_slope(x) + self.log_unit, 0.0)

    def _log_components(self, x: Tensor, t: Tensor, centres: Tensor, log_scales: Tensor) -> Tensor:
        """Log density of t, or log mass of a whole number, for each component: (..., C, Y).

        x, t: (..., C). centres, log_scales: (..., C, Y), of t.
        """
        centres, log_scales = torch.broadcast_tensors(centres, log_scales)
        z = (t.unsqueeze(-1) - centres) * torch.exp(-log_scales)
        logs = -0.5 * z.square() - log_scales - LOG_SQRT_2PI
        if self.whole:
            mass = self._log_whole(x, centres, log_scales)
            every = len(self.whole) == self.columns
            logs = mass if every else logs.index_copy(-2, self.whole_index, mass)
        if not self.repeats:
            return logs
        columns = list(logs.unbind(-2))
        for name, repeats in self.repeats.items():
            c = int(name)
            unit = self._log_step(c, x[..., c])
            columns[c] = repeats(
                columns[c], x[..., c], centres[..., c, :], log_scales[..., c, :], unit
            )
        return torch.stack(columns, -2)

    def _log_step(self, c: int, x: Tensor) -> Tensor:
        """What turns the log of a density of t into that of the mass of one step: (...)."""
        factor = self.factors[c]
        if c in self.whole:
            return torch.zeros_like(x)
        slope = self.bend.log_slope(x.unsqueeze(-1), slice(c, c + 1))[..., 0]
        return (slope + math.log(factor.step / factor.scale)).to(x.dtype)

    def _log_whole(self, x: Tensor, centres: Tensor, log_scales: Tensor) -> Tensor:
        """Log mass of the columns of whole numbers: (..., W, Y)."""
        whole = self.whole_index
        mass = self._log_masses(
            self.bend.cell(x.index_select(-1, whole), self.half_step, whole),
            centres.index_select(-2, whole),
            log_scales.index_select(-2, whole),
        )
        if not len(self.cut_columns):
            return mass
        cut = self._log_masses(
            (self.cut_middle, self.cut_width),
            centres.index_select(-2, self.cut_columns),
            log_scales.index_select(-2, self.cut_columns),
        )
        shares = torch.einsum("...sy,sc->...cy", cut.exp(), self.cut_owners.to(cut.dtype))
        return mass - torch.log1p(-shares.clamp(max=1 - 1e-6))

    def _log_masses(
        self, cells: tuple[Tensor, Tensor], centres: Tensor, log_scales: Tensor
    ) -> Tensor:
        """Log mass of cells of t under Gaussians (..., W, Y): (..., W, Y).

        cells: their middles and their widths, (..., W) each.
        """
        rates = torch.exp(-log_scales)
        middle, width = (part.to(centres.dtype).unsqueeze(-1) for part in cells)
        return log_mass((middle - centres) * rates, width * rates)

    @torch.no_grad()
    def independent_rows(self, mixtures: Tensor, cells: Tensor) -> Tensor:
        """Return log p of rows under a mixture of Gaussians for each column: (N,).

        Args:
            mixtures: (3, C, K), logs of the weights, means, and logs of the standard deviations of
                t.
            cells: (N, C).

        Example:
            >>> import torch
            >>> from aevb.probability.factors import Factor
            >>> from aevb.probability.number_chain import NumberChain
            >>> chain = NumberChain([Factor("a", "real")], 0, components=1, width=0)
            >>> chain.independent_rows(torch.zeros(3, 1, 1), torch.tensor([[0.0]])).exp()
            tensor([0.3989])
        """
        known = torch.isfinite(cells)
        x = torch.where(known, cells, 0.0)
        weights, means, log_scales = mixtures.to(x.dtype)
        logs = self._log_components(x, self.bend(x).to(x.dtype), means, log_scales)
        found = (logs + weights).logsumexp(-1) + self._log_units(x).to(x.dtype)
        return torch.where(known, found, 0.0).sum(-1)

    @torch.no_grad()
    def complete(
        self, h: Tensor, cells: Tensor, wanted: Tensor, features: Tensor, *, likely: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Draw the numbers that are wanted and not known, in order.

        They are drawn within the range of the training rows. If the chain is ``exact``, all known
        numbers count when one is drawn; otherwise those before it.

        Args:
            h: (B, num_features), the context.
            cells: (B, C), the numbers x; infinite for a spike, NaN for what is missing.
            wanted: (B, C), which cells must hold a number in the end.
            features: (B, P), those of the classes.
            likely: Take means in place of draws.

        Returns:
            The numbers (B, C), and the logs of the weights of importance sampling: (B,). They are
            log p of all numbers minus that of the draws. If no number is drawn, or those known come
            first, they are log p of those that were known.

        Example:
            >>> import torch
            >>> from aevb.probability.factors import Factor
            >>> from aevb.probability.number_chain import NumberChain
            >>> dice = Factor("a", "integer", step=1.0, low=-1.0, high=1.0)
            >>> chain = NumberChain([dice], 0, components=1, width=0)
            >>> h, cells = torch.zeros(100, chain.num_features), torch.full((100, 1), torch.nan)
            >>> drawn, _ = chain.complete(h, cells, cells.isnan(), torch.zeros(100, 0))
            >>> sorted(set(drawn[:, 0].tolist()))
            [-1.0, 0.0, 1.0]
        """
        known, cells = torch.isfinite(cells), cells.clone()
        if self.exact and not likely and bool(known.any()) and bool((wanted & ~known).any()):
            return self._complete_given(h, cells, wanted, features)
        means, running, scales, inputs = self._context(h, features)
        present, spikes = known | wanted, torch.isinf(cells)
        is_hidden = self.exact and not bool((present | spikes).all())
        residuals = Beliefs(len(h), self.slopes * self.lower, is_hidden)
        seen = torch.full_like(means, math.nan)
        inward = self.inward * self.in_mask
        extra = h.new_zeros(len(h))
        if is_free := not likely and not bool(known.any()):
            # Nothing tells the Gaussians apart: choose one for the whole row.
            running = torch.full_like(running, NEVER).scatter(1, draw_index(running), 0.0)
        for c in range(self.columns):
            mean, scale, offsets = means[:, c], scales[:, c], self.offsets[:, c]
            if self.width:
                units = slice(c * self.width, (c + 1) * self.width)
                pairs = torch.cat([features, self.features(seen)], -1)
                hidden = F.silu(pairs @ inward[:, units] + inputs[:, units])
                shifts = hidden @ self.outward[c]
                mean, scale = mean + shifts[:, 0], scale + shifts[:, 1]
                offsets = offsets + shifts[:, 2:]
            moves, log_scales = residuals.next(c, offsets, bounded(self.log_scales[:, c], scale))
            centres = mean.unsqueeze(-1) + moves
            known, there = torch.isfinite(cells[:, c]), present[:, c]
            if not bool(known.all()):
                drawn = self._draw(c, centres, log_scales, running, likely)
                cells[:, c] = torch.where(there & ~known, drawn, cells[:, c])
            x = torch.where(there, cells[:, c], 0.0)
            if is_free:
                t = self.bend(x.unsqueeze(-1), slice(c, c + 1))[:, 0].to(h.dtype)
            else:
                t, logs, unit = self._one_column(c, x, centres, log_scales)
                logs = torch.where(there.unsqueeze(-1), logs, 0.0)
                of_known = torch.logsumexp(F.log_softmax(running, -1) + logs, -1) + unit
                extra = extra + torch.where(known, of_known, 0.0)
                running = running + logs
            residuals.see(c, torch.where(there, t - mean, 0.0), there, there | spikes[:, c])
            seen[:, c] = torch.where(there, t, math.nan)
        return cells, extra

    def _complete_given(
        self, h: Tensor, cells: Tensor, wanted: Tensor, features: Tensor
    ) -> tuple[Tensor, Tensor]:
        """``complete``, where each number is drawn given all that are known.

        Without hidden units and whole numbers this is exact: the weights are log p of what is
        known, whatever is drawn.
        """
        known, spikes, cells = torch.isfinite(cells), torch.isinf(cells), cells.clone()
        t, means, gates, offsets, log_scales = self._terms(h, cells, features)
        chain = apart_from(spikes, offsets, log_scales, self.slopes * self.lower)
        rest = Conditional(torch.where(spikes, 0.0, t - means), known | spikes, *chain)
        running = gates + rest.log_prob.to(gates.dtype)
        log_drawn = h.new_zeros(len(h))
        for c in range(self.columns):
            draw = wanted[:, c] & ~known[:, c]
            if not bool(draw.any()):
                continue
            centres = means[:, c : c + 1] + rest.means[..., c].to(h.dtype)
            variance = rest.covariance[..., c, c].clamp(min=1e-12)
            log_scales = (0.5 * variance.log()).to(h.dtype)
            drawn = self._draw(c, centres, log_scales, running, likely=False)
            cells[:, c] = torch.where(draw, drawn, cells[:, c])
            t, logs, unit = self._one_column(c, drawn, centres, log_scales)
            of_drawn = torch.logsumexp(F.log_softmax(running, -1) + logs, -1) + unit
            log_drawn = log_drawn + torch.where(draw, of_drawn, 0.0)
            running = running + torch.where(draw.unsqueeze(-1), logs, 0.0)
            rest.see(c, t - means[:, c], draw)
        return cells, self.log_prob(h, cells, features).sum(-1) - log_drawn

    def _one_column(
        self, c: int, x: Tensor, centres: Tensor, log_scales: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """t (B,), ``_log_components`` (B, Y) and ``_log_units`` (B,) of one column."""
        at, cells = slice(c, c + 1), x.unsqueeze(-1)
        t = self.bend(cells, at)[:, 0].to(centres.dtype)
        if c in self.whole:
            logs, unit = self._log_whole_of(c, cells, centres, log_scales), torch.zeros_like(t)
        else:
            z = (t.unsqueeze(-1) - centres) * torch.exp(-log_scales)
            logs = -0.5 * z.square() - log_scales - LOG_SQRT_2PI
            unit = (self.bend.log_slope(cells, at)[:, 0] + self.log_unit[c]).to(t.dtype)
        if str(c) in self.repeats:
            logs = self.repeats[str(c)](logs, x, centres, log_scales, self._log_step(c, x))
        return t, logs, unit

    def _log_whole_of(self, c: int, x: Tensor, centres: Tensor, log_scales: Tensor) -> Tensor:
        """``_log_whole`` of one column: x (B, 1), centres (B, Y) -> (B, Y)."""
        place = self.whole.index(c)
        here = self.bend.cell(x, self.half_step[place : place + 1], slice(c, c + 1))
        ends = (self.cut_middle[self.cuts[c]], self.cut_width[self.cuts[c]])
        centres, log_scales = centres.unsqueeze(-2), log_scales.unsqueeze(-2)
        shares = self._log_masses(ends, centres, log_scales).exp().sum(-2)
        logs = self._log_masses(here, centres, log_scales)[:, 0]
        return logs - torch.log1p(-shares.clamp(max=1 - 1e-6))

    def _draw(
        self, c: int, centres: Tensor, log_scales: Tensor, running: Tensor, likely: bool
    ) -> Tensor:
        """Draw x of one column, within the range of the training rows: (B,)."""
        factor = self.factors[c]
        low, high = ((end - factor.shift) / factor.scale for end in (factor.low, factor.high))
        if likely:
            t = (torch.softmax(running, -1) * centres).sum(-1).double()
        else:
            y = draw_index(running)
            centre = centres.gather(1, y)[:, 0].double()
            scale = log_scales.gather(1, y)[:, 0].double().exp()
            t = centre + scale * self._standard_draw(c, centre, scale, (low, high))
        x = self.bend.back(t.unsqueeze(-1), slice(c, c + 1))[:, 0]
        if c in self.whole:
            step = (factor.step or 1.0) / factor.scale
            x = low + torch.round((x - low) / step) * step
        x = x.clamp(low, high)
        if str(c) in self.repeats and not likely:
            x = cast(Repeats, self.repeats[str(c)]).draw(x, centre, scale)
        return x.to(centres.dtype)

    def _standard_draw(
        self, c: int, centre: Tensor, scale: Tensor, limits: tuple[float, float]
    ) -> Tensor:
        """Draw from N(0, 1), so that t lies within the range and in no cell of a spike: (B,)."""
        step = (self.factors[c].step or 1.0) / self.factors[c].scale
        half = 0.5 * step if c in self.whole else 0.0
        ends = centre.new_tensor([[limits[0] - half], [limits[1] + half]])
        bent = self.bend(ends, slice(c, c + 1))[:, 0]
        below, above = (torch.special.ndtr((end - centre) / scale) for end in bent)
        # Take the cells of spikes out of the range, draw from what is left, and put them back.
        cuts = []
        for k in self.cuts[c]:
            cut = (self.cut_middle[k] + side * self.cut_width[k] for side in (-0.5, 0.5))
            start, end = (torch.special.ndtr((t - centre) / scale) for t in cut)
            start, end = (torch.minimum(torch.maximum(p, below), above) for p in (start, end))
            cuts.append((start, end - start))
        left = above - below - sum(size for _, size in cuts)
        u = below + left.clamp(min=0.0) * torch.rand_like(centre)
        for start, size in cuts:
            u = torch.where(u >= start, u + size, u)
        drawn: Tensor = torch.special.ndtri(u.clamp(1e-12, 1 - 1e-12))
        return drawn


def bounded(log_scales: Tensor, scales: Tensor) -> Tensor:
    """Logs of standard deviations (C, Y) that the context moves by (..., C): (..., C, Y).

    Example:
        >>> import torch
        >>> from aevb.probability.number_chain import bounded
        >>> bounded(torch.tensor([[0.0], [-9.0]]), torch.tensor([100.0, 0.0])).tolist()
        [[1.5], [-7.0]]
    """
    return (log_scales + BEND * torch.tanh(scales / BEND).unsqueeze(-1)).clamp(LEAST, MOST)
