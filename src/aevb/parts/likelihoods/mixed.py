"""Rows of mixed columns: names, ordered levels, whole numbers, real numbers, and missing cells."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.distributions import Distribution

from aevb.errors import DataError
from aevb.interfaces import Likelihood
from aevb.probability.cells import Classes
from aevb.probability.class_chain import ClassChain
from aevb.probability.factors import Factor
from aevb.probability.first_numbers import first_values
from aevb.probability.number_chain import NumberChain
from aevb.probability.unseen import Unseen


class Mixed(Likelihood):
    discrete = False
    form = "columns"

    def __init__(self, factors: Sequence[Factor], components: int, width: int) -> None:
        super().__init__()
        self.factors = tuple(factors)
        self.find_classes = Classes(factors)
        self.class_columns = self.find_classes.columns
        self.number_columns = [i for i, factor in enumerate(factors) if factor.is_number]
        self.classes = ClassChain([factors[i] for i in self.class_columns], width)
        numbers = [factors[i] for i in self.number_columns]
        self.numbers = NumberChain(numbers, self.classes.features.width, components, width)
        self.num_features = self.classes.num_features + self.numbers.num_features
        self.unseen = Unseen(factors, self.find_classes)

    def forward(self, h: Tensor) -> Distribution:
        return MixedRows(self, h)

    def check(self, x: Tensor) -> None:
        pass

    def penalty(self) -> Tensor:
        return self.classes.penalty() + self.numbers.penalty()

    @torch.no_grad()
    def initialise(self, x: Tensor) -> None:
        classes = self.find_classes(x)
        self.classes.initialise(classes)
        if not self.number_columns:
            return
        features = self.classes.features(classes) * self.classes.features.plain
        cells = x[:, self.number_columns]
        of_number = self.is_number(classes)
        t = torch.where(torch.isfinite(cells) & of_number, self.numbers.bend(cells), math.nan)
        found = first_values(t.double().numpy(), features.double().numpy(), self.numbers.components)
        for name, value in found.items():
            getattr(self.numbers, name).copy_(torch.from_numpy(value))
        self.numbers.start_slopes.copy_(self.numbers.slopes)

    def is_number(self, classes: Tensor) -> Tensor:
        """Which cells of the columns of numbers hold a number that is no spike: (..., C)."""
        parts = []
        for i in self.number_columns:
            if i in self.class_columns:
                parts.append(classes[..., self.class_columns.index(i)] <= 0)
            else:
                parts.append(classes.new_ones(classes.shape[:-1], dtype=torch.bool))
        return torch.stack(parts, -1)


class MixedRows(Distribution):
    arg_constraints = {}  # noqa: RUF012  (torch's own convention)

    def __init__(self, likelihood: Mixed, h: Tensor) -> None:
        self.likelihood = likelihood
        count = likelihood.classes.num_features
        self.h = h
        self.class_context, self.number_context = h[..., :count], h[..., count:]
        super().__init__(h.shape[:-1], torch.Size((len(likelihood.factors),)), validate_args=False)

    def log_prob(self, value: Tensor, *, gaps: bool = True) -> Tensor:
        return self.log_prob_of_columns(value, gaps=gaps).sum(-1)

    def log_prob_of_columns(self, x: Tensor, *, gaps: bool = True) -> Tensor:
        model = self.likelihood
        shape = torch.broadcast_shapes(self.h.shape[:-1], x.shape[:-1])
        found = x.new_zeros(*shape, len(model.factors))
        classes = model.find_classes(x)
        features = model.classes.features(classes)
        if model.class_columns:
            logs = model.classes.log_prob(self.class_context, classes, features, gaps=gaps)
            logs = logs + model.unseen(x, logs.detach())
            found = found.index_add(-1, _index(model.class_columns, x), logs.expand(*shape, -1))
        if model.number_columns:
            cells = x[..., model.number_columns]
            cells = torch.where(model.is_number(classes), cells, math.nan)
            logs = model.numbers.log_prob(self.number_context, cells, features)
            found = found.index_add(-1, _index(model.number_columns, x), logs.expand(*shape, -1))
        return found

    def sample(self, sample_shape=torch.Size()) -> Tensor:
        h = self.h.expand(*sample_shape, *self.h.shape)
        empty = h.new_full((*h.shape[:-1], len(self.likelihood.factors)), math.nan)
        return MixedRows(self.likelihood, h).complete(empty)[0]

    @property
    def mean(self) -> Tensor:
        empty = self.h.new_full((*self.h.shape[:-1], len(self.likelihood.factors)), math.nan)
        return self.complete(empty, gaps=False, likely=True)[0]

    @torch.no_grad()
    def complete(self, x: Tensor, *, gaps: bool = True, likely: bool = False) -> tuple[Tensor, Tensor]:
        model = self.likelihood
        shape = self.h.shape[:-1]
        x = x.expand(*shape, -1).reshape(-1, x.shape[-1])
        class_context = self.class_context.reshape(len(x), -1)
        number_context = self.number_context.reshape(len(x), -1)
        classes = model.find_classes(x)
        drawn, log_prob = model.classes.complete(class_context, classes, gaps=gaps, likely=likely)
        features = model.classes.features(drawn)
        cells = x[:, model.number_columns]
        wanted = model.is_number(drawn)
        cells = torch.where(wanted, cells, math.nan)
        numbers, more = model.numbers.complete(number_context, cells, wanted, features, likely=likely)
        filled = x.clone()
        for c, i in enumerate(model.number_columns):
            filled[:, i] = torch.where(wanted[:, c], numbers[:, c], filled[:, i])
        was_known = ~torch.isnan(x)
        for q, i in enumerate(model.class_columns):
            value = model.unseen.draw(i, drawn[:, q], filled[:, i])
            filled[:, i] = torch.where(was_known[:, i], filled[:, i], value)
        extra = model.unseen(x, torch.zeros_like(classes, dtype=x.dtype)).sum(-1)
        total = log_prob + more + extra
        return filled.reshape(*shape, -1), total.reshape(shape)


def _index(columns: Sequence[int], x: Tensor) -> Tensor:
    return torch.tensor(list(columns), device=x.device)
