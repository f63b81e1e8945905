"""The cells of mixed rows: classes, bent numbers, and features of both."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from aevb.probability.factors import Factor

FEW_CLASSES = 32
"""Columns of more classes get an embedding in place of one feature for each class."""
EMBEDDING = 16
"""The width of an embedding."""
HINGES = 8
"""Learned nonlinear features of each column of numbers."""
NO_SPIKE = 3e38
"""In place of a spike that a column does not have. A finite number, as all that a run saves."""
FARTHEST = 6.0
"""Features of standardised numbers stay within this distance of 0: no outlier drowns the rest."""


class Classes(nn.Module):
    """The classes of the columns that have a discrete part: x (..., D) -> (..., Q).

    Q is the number of such columns. A class of -1 stands for a cell that is not known.

    Args:
        factors: All columns.

    Example:
        >>> import torch
        >>> from aevb.probability.cells import Classes
        >>> from aevb.probability.factors import Factor
        >>> level = Factor("a", "levels", values=(0.0, 1.0), gaps=True)
        >>> spiked = Factor("b", "real", values=(0.0,))
        >>> inf, nan = float("inf"), float("nan")
        >>> x = torch.tensor([[1.0, 0.0], [inf, 2.5], [nan, nan]])
        >>> Classes([level, spiked])(x).tolist()
        [[1, 1], [2, 0], [-1, -1]]
    """

    level_columns: Tensor
    level_count: Tensor
    level_class: Tensor
    level_share: Tensor
    spiked_columns: Tensor
    spikes: Tensor
    missing: Tensor
    back: Tensor

    def __init__(self, factors: Sequence[Factor]) -> None:
        super().__init__()
        self.columns = [i for i, factor in enumerate(factors) if factor.num_classes]
        levels = [i for i in self.columns if factors[i].family == "levels"]
        spiked = [i for i in self.columns if factors[i].is_number]
        self.levels, self.spiked = levels, spiked
        most = max((len(factors[i].values) for i in levels), default=1)
        level_class = torch.zeros(len(levels), most, dtype=torch.long)
        level_share = torch.zeros(len(levels), most)
        for row, i in enumerate(levels):
            count = len(factors[i].values)
            level_class[row, :count] = torch.tensor(factors[i].classes or tuple(range(count)))
            level_share[row, :count] = torch.tensor(factors[i].shares or (0.0,) * count)
        most = max((len(factors[i].values) for i in spiked), default=0)
        spikes = torch.full((len(spiked), most), NO_SPIKE)
        for row, i in enumerate(spiked):
            spikes[row, : len(factors[i].values)] = spikes_of(factors[i])
        order = [self.columns.index(i) for i in [*levels, *spiked]]
        # Without gaps, no cell is infinite; the class is then never used.
        missing = [factors[i].num_classes - 1 for i in self.columns]
        tensors = {
            "level_columns": torch.tensor(levels, dtype=torch.long),
            "level_count": torch.tensor([len(factors[i].values) for i in levels]).long(),
            "level_class": level_class,
            "level_share": level_share,
            "spiked_columns": torch.tensor(spiked, dtype=torch.long),
            "spikes": spikes,
            "missing": torch.tensor(missing, dtype=torch.long),
            "back": torch.tensor(np.argsort(order), dtype=torch.long),
        }
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor)
        self.gaps = any(factor.gaps for factor in factors)

    def forward(self, x: Tensor) -> Tensor:
        """x: (..., D) -> (..., Q), integers."""
        parts = []
        if self.levels:
            parts.append(self.level_class[self.rows, self.level_of(x)])
        if self.spiked:
            cells = x.index_select(-1, self.spiked_columns).unsqueeze(-1)
            on = cells == self.spikes
            number = torch.arange(1, self.spikes.shape[1] + 1, device=x.device)
            parts.append((on * number).sum(-1))
        if not parts:
            return x.new_zeros(*x.shape[:-1], 0, dtype=torch.long)
        found = torch.cat(parts, -1).index_select(-1, self.back)
        cells = x.index_select(-1, torch.tensor(self.columns, device=x.device))
        found = torch.where(torch.isinf(cells), self.missing, found)
        return torch.where(torch.isnan(cells), -1, found)

    @property
    def rows(self) -> Tensor:
        """The number of each column of levels: (levels,)."""
        return torch.arange(len(self.levels), device=self.level_columns.device)

    def level_of(self, x: Tensor) -> Tensor:
        """The nearest level of each column of levels: (..., levels), integers."""
        cells = x.index_select(-1, self.level_columns)
        k = torch.where(torch.isfinite(cells), cells, 0.0).round().long().clamp(min=0)
        return torch.minimum(k, self.level_count - 1)


def spikes_of(factor: Factor) -> Tensor:
    """The spikes of a column of numbers as x, in single precision: (A,)."""
    return torch.tensor((np.asarray(factor.values) - factor.shift) / factor.scale).float()


def scores_of(factor: Factor) -> list[float]:
    """Scores of levels with an order, with mean 0 and variance 1: one for each class.

    A missing cell, the last class of a column with gaps, has the score 0.
    """
    values = np.asarray(factor.values) if factor.step else np.arange(float(len(factor.values)))
    spread = float(values.std()) or 1.0
    scores = (values - values.mean()) / spread
    return [*scores.tolist(), *([0.0] if factor.gaps else [])]


class ClassFeatures(nn.Module):
    """Features of classes: (..., Q) integers -> (..., P).

    They are an indicator for each class, or an embedding where there are many; and a score where
    the levels have an order. A class that is not known (-1) has features of 0.

    Args:
        factors: The columns that have classes, Q of them.
    """

    column: Tensor
    class_of: Tensor
    score_columns: Tensor
    scores: Tensor

    def __init__(self, factors: Sequence[Factor]) -> None:
        super().__init__()
        sizes = [factor.num_classes for factor in factors]
        few = [q for q, size in enumerate(sizes) if size <= FEW_CLASSES]
        self.many = [q for q, size in enumerate(sizes) if size > FEW_CLASSES]
        scored = [q for q, factor in enumerate(factors) if factor.ordered]
        self.embeddings = nn.ModuleList(nn.Embedding(sizes[q], EMBEDDING) for q in self.many)
        indicators = [(q, k) for q in few for k in range(sizes[q])]
        most = max((sizes[q] for q in scored), default=1)
        scores = torch.zeros(len(scored), most)
        for row, q in enumerate(scored):
            scores[row, : sizes[q]] = torch.tensor(scores_of(factors[q]))
        self.register_buffer("column", torch.tensor([q for q, _ in indicators]).long())
        self.register_buffer("class_of", torch.tensor([k for _, k in indicators]).long())
        self.register_buffer("score_columns", torch.tensor(scored).long())
        self.register_buffer("scores", scores)
        # The column that each feature belongs to, and whether it is simple enough for a regression.
        owners = (
            [q for q, _ in indicators] + scored + [q for q in self.many for _ in range(EMBEDDING)]
        )
        self.owner = torch.tensor(owners).long()
        self.plain = torch.arange(len(owners)) < len(indicators) + len(scored)
        self.width = len(owners)

    def forward(self, classes: Tensor) -> Tensor:
        """classes: (..., Q) -> (..., P)."""
        parts = [(classes.index_select(-1, self.column) == self.class_of).to(self.scores.dtype)]
        if len(self.score_columns):
            k = classes.index_select(-1, self.score_columns)
            rows = torch.arange(len(self.score_columns), device=k.device)
            parts.append(torch.where(k >= 0, self.scores[rows, k.clamp(min=0)], 0.0))
        for q, embedding in zip(self.many, self.embeddings, strict=True):
            k = classes[..., q]
            parts.append(embedding(k.clamp(min=0)) * (k >= 0).unsqueeze(-1))
        return torch.cat(parts, -1)


class Bend(nn.Module):
    """Columns of numbers, bent and standardised: x (..., C) -> t (..., C), in double precision.

    Args:
        factors: The columns of numbers, C of them.

    Example:
        >>> import torch
        >>> from aevb.probability.cells import Bend
        >>> from aevb.probability.factors import Factor
        >>> bend = Bend([Factor("a", "real", centre=1.0, bend=2.0, spread=0.5)])
        >>> x = torch.tensor([[1.0], [100.0]])
        >>> bend.back(bend(x)).tolist()
        [[1.0], [100.0]]
    """

    centre: Tensor
    bend: Tensor
    mean: Tensor
    spread: Tensor

    def __init__(self, factors: Sequence[Factor]) -> None:
        super().__init__()
        for name in ("centre", "bend", "mean", "spread"):
            values = [getattr(factor, name) for factor in factors]
            self.register_buffer(name, torch.tensor(values, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        """x: (..., C) -> t: (..., C)."""
        u = x.double() - self.centre
        bent = torch.asinh(u * self.bend) / self.bend.clamp(min=1e-12)
        return (torch.where(self.bend > 0, bent, u) - self.mean) / self.spread

    def log_slope(self, x: Tensor) -> Tensor:
        """Return log dt/dx at x: (..., C) -> (..., C)."""
        u = (x.double() - self.centre) * self.bend
        return -0.5 * u.square().log1p() - self.spread.log()

    def back(self, t: Tensor) -> Tensor:
        """t: (..., C) -> x: (..., C)."""
        bent = t.double() * self.spread + self.mean
        # sinh(80) is far beyond any number of single precision that matters.
        u = torch.sinh((bent * self.bend).clamp(-80, 80)) / self.bend.clamp(min=1e-12)
        return torch.where(self.bend > 0, u, bent) + self.centre


class NumberFeatures(nn.Module):
    """Features of bent numbers t: (..., C) -> (..., C (1 + H)): t itself and H learned hinges.

    A number that is not known (not finite) has features of 0.

    Args:
        columns: C.
        hinges: H.
    """

    def __init__(self, columns: int, hinges: int = HINGES) -> None:
        super().__init__()
        self.hinges = hinges
        self.slope = nn.Parameter(torch.full((columns, hinges), 2.0))
        offsets = -2.0 * torch.linspace(-1.75, 1.75, hinges) if hinges else torch.zeros(0)
        self.offset = nn.Parameter(offsets.expand(columns, hinges).clone())
        self.owner = torch.arange(columns).repeat(1 + hinges)
        self.width = columns * (1 + hinges)

    def forward(self, t: Tensor) -> Tensor:
        """t: (..., C) -> (..., C (1 + H)): first all t, then hinge by hinge."""
        known = torch.isfinite(t)
        t = torch.where(known, t, 0.0).clamp(-FARTHEST, FARTHEST)
        if not self.hinges:
            return t
        bent = torch.tanh(t.unsqueeze(-2) * self.slope.T + self.offset.T) * known.unsqueeze(-2)
        return torch.cat([t, bent.flatten(-2)], -1)


class CellFeatures(nn.Module):
    """Features of whole rows for an encoder: x (..., D) -> (..., P).

    Args:
        factors: The columns.
        hinges: Learned nonlinear features of each column of numbers.

    Example:
        >>> import torch
        >>> from aevb.probability.cells import CellFeatures
        >>> from aevb.probability.factors import Factor
        >>> front = CellFeatures([Factor("a", "levels", values=(0.0, 1.0)), Factor("b", "real")])
        >>> front(torch.tensor([[1.0, float("nan")]])).tolist()[0][:3]
        [0.0, 1.0, 0.0]
    """

    number_columns: Tensor

    def __init__(self, factors: Sequence[Factor], hinges: int = HINGES) -> None:
        super().__init__()
        self.classes = Classes(factors)
        self.class_features = ClassFeatures([factors[i] for i in self.classes.columns])
        numbers = [i for i, factor in enumerate(factors) if factor.is_number]
        self.register_buffer("number_columns", torch.tensor(numbers).long())
        self.bend = Bend([factors[i] for i in numbers])
        self.number_features = NumberFeatures(len(numbers), hinges)
        # Which numbers are there: without gaps and hidden cells, all are.
        self.width = self.class_features.width + self.number_features.width + len(numbers)

    def forward(self, x: Tensor) -> Tensor:
        """x: (..., D) -> (..., P)."""
        cells = x.index_select(-1, self.number_columns)
        t = self.bend(cells).to(x.dtype)
        there = torch.isfinite(cells).to(x.dtype) - 1.0
        return torch.cat([self.class_features(self.classes(x)), self.number_features(t), there], -1)


def indicators(classes: Tensor, count: int) -> Tensor:
    """One indicator for each class: (...) integers -> (..., count); all 0 for a class of -1."""
    return F.one_hot(classes.clamp(min=0), count) * (classes >= 0).unsqueeze(-1)
