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
FARTHEST_FEATURE = 6.0
"""Features of standardised numbers stay within this distance of 0: no outlier drowns the rest."""
FARTHEST = 1e6
"""Bent numbers count as if they were no farther from 0: their squares stay finite."""
LEAST_WIDTH = 1e-37
"""No cell of a whole number has a smaller width: its logarithm stays finite."""
ALL = slice(None)
"""All columns."""


class Classes(nn.Module):
    """The classes of the columns that have a discrete part: x (..., D) -> (..., Q).

    Q is the number of such columns. A class of -1 stands for a cell that is not known.

    Args:
        factors: All columns.

    Attributes:
        columns: The numbers of the Q columns.
        levels: The numbers of the columns with levels.
        spiked: The numbers of the columns of numbers that have a discrete part.

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

    column_index: Tensor
    level_columns: Tensor
    level_rows: Tensor
    level_last: Tensor
    level_class: Tensor
    spiked_columns: Tensor
    spikes: Tensor
    spike_classes: Tensor
    spike_counts: Tensor
    missing: Tensor
    back: Tensor

    def __init__(self, factors: Sequence[Factor]) -> None:
        super().__init__()
        self.columns = [i for i, factor in enumerate(factors) if factor.num_classes]
        self.levels = [i for i in self.columns if factors[i].has_levels]
        self.spiked = [i for i in self.columns if factors[i].is_number]
        level_class = padded([_classes_of(factors[i]) for i in self.levels], 0.0).long()
        # Where no class is shared by levels, a level is its class.
        self.shared = any(factor.classes for factor in factors)
        spikes = padded([spikes_of(factors[i]).tolist() for i in self.spiked], NO_SPIKE)
        counts = torch.tensor([len(factor.values) for factor in factors])
        buffers(
            self,
            column_index=self.columns,
            level_columns=self.levels,
            level_rows=range(len(self.levels)),
            level_last=counts[self.levels].float() - 1.0,
            level_class=level_class,
            spiked_columns=self.spiked,
            spikes=spikes,
            spike_classes=range(1, spikes.shape[1] + 1),
            spike_counts=counts[self.spiked],
            missing=[_missing_class(factors[i]) for i in self.columns],
            back=np.argsort([*self.levels, *self.spiked]).tolist(),
        )

    def forward(self, x: Tensor) -> Tensor:
        """x: (..., D) -> (..., Q), integers."""
        parts = []
        if self.levels:
            k = self.level_of(x.index_select(-1, self.level_columns))
            parts.append(self.level_class[self.level_rows, k] if self.shared else k)
        if self.spiked:
            on = x.index_select(-1, self.spiked_columns).unsqueeze(-1) == self.spikes.to(x.dtype)
            parts.append((on * self.spike_classes).sum(-1))
        if not parts:
            return torch.zeros(*x.shape[:-1], 0, dtype=torch.long, device=x.device)
        found = parts[0]
        if len(parts) == 2:
            found = torch.cat(parts, -1).index_select(-1, self.back)
        cells = x.index_select(-1, self.column_index)
        found = torch.where(torch.isinf(cells), self.missing, found)
        return torch.where(torch.isnan(cells), -1, found)

    def level_of(self, cells: Tensor) -> Tensor:
        """The nearest level of each cell of the columns of levels, as integers.

        Args:
            cells: (..., levels), the columns of levels of x.

        Example:
            >>> import torch
            >>> from aevb.probability.cells import Classes
            >>> from aevb.probability.factors import Factor
            >>> grades = Classes([Factor("a", "levels", values=(1.0, 2.0), step=1.0)])
            >>> grades.level_of(torch.tensor([[-3.0], [1.0], [7.0]])).tolist()
            [[0], [1], [1]]
        """
        k = torch.where(torch.isfinite(cells), cells, 0.0).round()
        return torch.minimum(k.clamp(min=0.0), self.level_last.to(k.dtype)).long()


def _classes_of(factor: Factor) -> Sequence[float]:
    return factor.classes or range(len(factor.values))


def _missing_class(factor: Factor) -> int:
    return factor.num_classes - 1 if factor.gaps else -1


def buffers(module: nn.Module, **values: Tensor | Sequence[int]) -> None:
    """Give a module buffers by name: tensors, or sequences of integers for indices.

    Example:
        >>> from torch import nn
        >>> from aevb.probability.cells import buffers
        >>> module = nn.Module()
        >>> buffers(module, order=[2, 0, 1])
        >>> module.order
        tensor([2, 0, 1])
    """
    for name, value in values.items():
        tensor = value if isinstance(value, Tensor) else torch.tensor(list(value)).long()
        module.register_buffer(name, tensor)


def padded(rows: Sequence[Sequence[float]], fill: float) -> Tensor:
    """Put rows of different lengths into one tensor: (rows, longest).

    Example:
        >>> from aevb.probability.cells import padded
        >>> padded([[1.0, 2.0], [3.0]], 0.0)
        tensor([[1., 2.],
                [3., 0.]])
    """
    found = torch.full((len(rows), max(map(len, rows), default=0)), fill)
    for row, values in enumerate(rows):
        found[row, : len(values)] = torch.tensor(values)
    return found


def spikes_of(factor: Factor) -> Tensor:
    """The spikes of a column of numbers as x, in single precision: (A,).

    Example:
        >>> from aevb.probability.cells import spikes_of
        >>> from aevb.probability.factors import Factor
        >>> spikes_of(Factor("a", "real", values=(0.0, 10.0), shift=5.0, scale=2.0))
        tensor([-2.5000,  2.5000])
    """
    return torch.tensor((np.asarray(factor.values) - factor.shift) / factor.scale).float()


def scores_of(factor: Factor) -> list[float]:
    """Scores of levels with an order, with mean 0 and variance 1: one for each class.

    A missing cell, the last class of a column with gaps, has the score 0.

    Example:
        >>> from aevb.probability.cells import scores_of
        >>> from aevb.probability.factors import Factor
        >>> scores_of(Factor("a", "levels", values=(1.0, 3.0), step=1.0, gaps=True))
        [-1.0, 1.0, 0.0]
    """
    values = np.asarray(factor.values) if factor.step else np.arange(float(len(factor.values)))
    # Squares of huge numbers overflow.
    values = values / 2.0 ** np.ceil(np.log2(max(float(np.abs(values).max()), 1e-300)))
    spread = float(values.std()) or 1.0
    scores = (values - values.mean()) / spread
    return [*scores.tolist(), *([0.0] if factor.gaps else [])]


class ClassFeatures(nn.Module):
    """Features of classes: (..., Q) integers -> (..., P).

    They are an indicator for each class, or an embedding where there are many; and a score where
    the levels have an order. A class that is not known (-1) has features of 0.

    Args:
        factors: The columns that have classes, Q of them.

    Attributes:
        width: P.
        owner: (P,), the column that each feature belongs to.
        plain: (P,), whether a feature is simple enough for a regression.
        order: (P,), the features in the order of the columns.
        ends: Where the features of each column begin in that order, and P: Q + 1 numbers.

    Example:
        >>> import torch
        >>> from aevb.probability.cells import ClassFeatures
        >>> from aevb.probability.factors import Factor
        >>> grade = Factor("a", "levels", values=(0.0, 1.0), ordered=True)
        >>> ClassFeatures([grade])(torch.tensor([[1], [-1]])).tolist()
        [[0.0, 1.0, 1.0], [0.0, 0.0, 0.0]]
    """

    column: Tensor
    class_of: Tensor
    score_columns: Tensor
    score_rows: Tensor
    scores: Tensor
    many_columns: Tensor
    many_starts: Tensor
    order: Tensor

    def __init__(self, factors: Sequence[Factor]) -> None:
        super().__init__()
        self.sizes = [factor.num_classes for factor in factors]
        self.many = [q for q, size in enumerate(self.sizes) if size > FEW_CLASSES]
        self.scored = [q for q, factor in enumerate(factors) if factor.ordered]
        self.starts = np.cumsum([0, *(self.sizes[q] for q in self.many)]).tolist()
        self.embedding = nn.Embedding(self.starts[-1], EMBEDDING) if self.many else nn.Identity()
        indicators = _indicators(self.sizes)
        simple = [*indicators[:, 0].tolist(), *self.scored]
        owners = [*simple, *np.repeat(self.many, EMBEDDING).tolist()]
        buffers(
            self,
            column=indicators[:, 0],
            class_of=indicators[:, 1],
            score_columns=self.scored,
            score_rows=range(len(self.scored)),
            scores=padded([scores_of(factors[q]) for q in self.scored], 0.0),
            many_columns=self.many,
            many_starts=self.starts[:-1],
            order=np.argsort(owners, kind="stable").tolist(),
        )
        self.owner = torch.tensor(owners).long()
        self.plain = torch.arange(len(owners)) < len(simple)
        self.width = len(owners)
        self.ends = [0, *np.cumsum(np.bincount(self.owner, minlength=len(factors))).tolist()]

    def forward(self, classes: Tensor) -> Tensor:
        """classes: (..., Q) -> (..., P): indicators, scores and embeddings."""
        parts = [(classes.index_select(-1, self.column) == self.class_of).to(self.scores.dtype)]
        if self.scored:
            k = classes.index_select(-1, self.score_columns)
            parts.append(torch.where(k >= 0, self.scores[self.score_rows, k.clamp(min=0)], 0.0))
        if self.many:
            k = classes.index_select(-1, self.many_columns)
            found = self.embedding(k.clamp(min=0) + self.many_starts) * (k >= 0).unsqueeze(-1)
            parts.append(found.flatten(-2))
        return torch.cat(parts, -1)

    def of_column(self, q: int, classes: Tensor) -> Tensor:
        """The features of one column, in the order ``order``: (B,) integers -> (B, P of it).

        Example:
            >>> import torch
            >>> from aevb.probability.cells import ClassFeatures
            >>> from aevb.probability.factors import Factor
            >>> coins = [Factor(name, "levels", values=(0.0, 1.0)) for name in "ab"]
            >>> ClassFeatures(coins).of_column(1, torch.tensor([1, 0])).tolist()
            [[0.0, 1.0], [1.0, 0.0]]
        """
        known, k = (classes >= 0).unsqueeze(-1), classes.clamp(min=0)
        parts = []
        if q not in self.many:
            parts.append(F.one_hot(k, self.sizes[q]).to(self.scores.dtype))
        if q in self.scored:
            parts.append(self.scores[self.scored.index(q)][k].unsqueeze(-1))
        if q in self.many:
            parts.append(self.embedding(k + self.starts[self.many.index(q)]))
        return torch.cat(parts, -1) * known


def _indicators(sizes: Sequence[int]) -> Tensor:
    """The column and the class of each indicator: (I, 2)."""
    few = [(q, k) for q, size in enumerate(sizes) if size <= FEW_CLASSES for k in range(size)]
    return torch.tensor(few).long().reshape(-1, 2)


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
        >>> bend.back(bend(x)).float().tolist()
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

    def forward(self, x: Tensor, at: Tensor | slice = ALL) -> Tensor:
        """x: (..., C) -> t: (..., C). at: which of the columns x holds, if it does not hold all."""
        centre, bend, mean, spread = self._of(at)
        u = x.double() - centre
        bent = torch.asinh(u * bend) / bend.clamp(min=1e-12)
        return ((torch.where(bend > 0, bent, u) - mean) / spread).clamp(-FARTHEST, FARTHEST)

    def log_slope(self, x: Tensor, at: Tensor | slice = ALL) -> Tensor:
        """Return log dt/dx at x: (..., C) -> (..., C).

        Example:
            >>> import torch
            >>> from aevb.probability.cells import Bend
            >>> from aevb.probability.factors import Factor
            >>> slope = Bend([Factor("a", "real", bend=1.0)]).log_slope(torch.tensor([[3.0]]))
            >>> round(slope.exp().item() ** -2)  # 1 + 3**2
            10
        """
        centre, bend, _, spread = self._of(at)
        return -0.5 * ((x.double() - centre) * bend).square().log1p() - spread.log()

    def cell(self, x: Tensor, half: Tensor, at: Tensor | slice = ALL) -> tuple[Tensor, Tensor]:
        """Return the middle and the width of t between x - half and x + half: (..., C) each.

        Args:
            x: (..., C).
            half: (C,).
            at: Which of the columns x holds, if it does not hold all.

        Example:
            >>> import torch
            >>> from aevb.probability.cells import Bend
            >>> from aevb.probability.factors import Factor
            >>> bend = Bend([Factor("a", "integer", spread=2.0)])
            >>> bend.cell(torch.tensor([6.0]), torch.tensor([0.5]))
            (tensor([3.], dtype=torch.float64), tensor([0.5000], dtype=torch.float64))
        """
        ends = [self(x.double() + side * half, at) for side in (1.0, -1.0)]
        # The difference of the ends loses the digits of a small cell; the slope does not.
        centre, bend, _, _ = self._of(at)
        size = torch.sqrt(1.0 + ((x.double() - centre) * bend).square())
        slope = torch.exp(self.log_slope(x, at)) * 2.0 * half
        width = torch.where(half * bend < 1e-3 * size, slope, ends[0] - ends[1])
        return 0.5 * (ends[0] + ends[1]), width.clamp(LEAST_WIDTH, FARTHEST)

    def back(self, t: Tensor, at: Tensor | slice = ALL) -> Tensor:
        """t: (..., C) -> x: (..., C).

        Example:
            >>> import torch
            >>> from aevb.probability.cells import Bend
            >>> from aevb.probability.factors import Factor
            >>> Bend([Factor("a", "real", mean=3.0, spread=2.0)]).back(torch.tensor([[1.0]]))
            tensor([[5.]], dtype=torch.float64)
        """
        centre, bend, mean, spread = self._of(at)
        bent = t.double() * spread + mean
        # sinh(80) is far beyond any number of single precision that matters.
        u = torch.sinh((bent * bend).clamp(-80, 80)) / bend.clamp(min=1e-12)
        return torch.where(bend > 0, u, bent) + centre

    def _of(self, at: Tensor | slice) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return self.centre[at], self.bend[at], self.mean[at], self.spread[at]


class NumberFeatures(nn.Module):
    """Features of bent numbers t: (..., C) -> (..., C (1 + H)): t itself and H learned hinges.

    A number that is not known (not finite) has features of 0.

    Args:
        columns: C.
        hinges: H.

    Attributes:
        width: C (1 + H).
        owner: (width,), the column that each feature belongs to.

    Example:
        >>> import torch
        >>> from aevb.probability.cells import NumberFeatures
        >>> NumberFeatures(1, hinges=2)(torch.tensor([[0.5], [float("nan")]])).shape
        torch.Size([2, 3])
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
        t = torch.where(known, t, 0.0).clamp(-FARTHEST_FEATURE, FARTHEST_FEATURE)
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
        # The last features say which numbers are there: without gaps and hidden cells, all are.
        self.width = self.class_features.width + self.number_features.width + len(numbers)

    def forward(self, x: Tensor) -> Tensor:
        """x: (..., D) -> (..., P)."""
        cells = x.index_select(-1, self.number_columns)
        t = self.bend(cells).to(x.dtype)
        there = torch.isfinite(cells).to(x.dtype) - 1.0
        return torch.cat([self.class_features(self.classes(x)), self.number_features(t), there], -1)
