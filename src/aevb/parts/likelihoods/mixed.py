"""Rows of mixed columns: names, ordered levels, whole numbers, real numbers, and missing cells.

    log p(x|z) = log p(classes | z) + log p(numbers | classes, z)

The classes of a row are its levels, and for columns of numbers whether a cell is missing or holds a
spike. They form a chain of categorical variables (``aevb.probability.class_chain``). The numbers
are bent to be nearly Gaussian, and follow a mixture of Gaussians with full covariances around means
that z and the classes set (``aevb.probability.number_chain``). Every factor is normalised in the
units of the table: log p of a whole number, a level or a missing cell is that of a probability, log
p of a real number that of a density.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.distributions import Distribution

from aevb.errors import DataError
from aevb.interfaces import Likelihood
from aevb.probability.cells import Classes, buffers
from aevb.probability.class_chain import ClassChain
from aevb.probability.factors import Factor
from aevb.probability.first_numbers import first_values, single_mixtures
from aevb.probability.number_chain import NumberChain
from aevb.probability.unseen import Unseen

CLASS_PRIOR = 0.25
"""The standard deviation of the prior of the weights between classes."""


class Mixed(Likelihood):
    """One factor for each column, chained within the row. See the head of this module.

    Args:
        factors: The families of the columns, D of them.
        components: Gaussians in the mixture of the numbers.
        width: Hidden units of each column; 0: columns depend on each other in linear ways only.
        rows: How many rows the model is trained on. The prior of the weights is divided by it.

    Example:
        >>> import torch
        >>> from aevb.parts.likelihoods.mixed import Mixed
        >>> from aevb.probability.factors import Factor
        >>> name = Factor("name", "levels", values=(0.0, 1.0, 2.0))
        >>> size = Factor("size", "real", density=True)
        >>> likelihood = Mixed([name, size], components=1, width=0)
        >>> likelihood = likelihood.requires_grad_(False)
        >>> p = likelihood(torch.zeros(likelihood.num_features))
        >>> p.log_prob_of_columns(torch.tensor([2.0, 0.0])).exp()  # 1/3, and N(0; 0, 1)
        tensor([0.3333, 0.3989])
        >>> p.log_prob(torch.tensor([2.0, float("nan")])).exp()  # nothing is said of the size
        tensor(0.3333)
    """

    discrete = False
    form = "columns"
    number_index: Tensor
    spiked_places: Tensor
    spiked_classes: Tensor
    rule_index: Tensor
    all_index: Tensor
    log_rules: Tensor

    def __init__(
        self, factors: Sequence[Factor], components: int, width: int, rows: int = 1
    ) -> None:
        super().__init__()
        self.factors, self.rows = tuple(factors), rows
        self.find_classes = Classes(factors)
        self.class_columns = self.find_classes.columns
        self.number_columns = [i for i, factor in enumerate(factors) if factor.is_number]
        self.rule_columns = [i for i, f in enumerate(factors) if f.family == "follows"]
        self.classes = ClassChain([factors[i] for i in self.class_columns], width)
        numbers = [factors[i] for i in self.number_columns]
        self.numbers = NumberChain(numbers, self.classes.features.width, components, width)
        self.num_features = self.classes.num_features + self.numbers.num_features
        self.unseen = Unseen(factors, self.find_classes)
        of_class = [i for i in self.number_columns if i in self.class_columns]
        rules = [_log_rule(factors[i]) for i in self.rule_columns]
        buffers(
            self,
            number_index=self.number_columns,
            spiked_places=[self.number_columns.index(i) for i in of_class],
            spiked_classes=[self.class_columns.index(i) for i in of_class],
            rule_index=self.rule_columns,
            all_index=[*self.class_columns, *self.number_columns, *self.rule_columns],
            log_rules=torch.tensor(rules).reshape(-1, 2),
        )

    def forward(self, h: Tensor) -> Distribution:
        """Return p(x|z) for the features h: (..., num_features) -> a distribution over (D,)."""
        return MixedRows(self, h)

    def check(self, x: Tensor) -> None:
        """Raise DataError for a row without any cell. x: (N, D)."""
        if x.shape[-1] and bool(torch.isnan(x).all(-1).any()):
            raise DataError("a row has no cell that the model knows. Remove such rows.")

    def penalty(self) -> Tensor:
        """Minus the log of the weights' prior, divided by the number of training rows: ()."""
        return (self.classes.penalty() / CLASS_PRIOR**2 + self.numbers.penalty()) / self.rows

    @torch.no_grad()
    def initialise(self, x: Tensor) -> None:
        """Fit the first values to rows x: (N, D).

        Classes get their frequencies. The numbers get regressions on the classes, and a mixture of
        Gaussians by expectation maximisation.
        """
        classes = self.find_classes(x)
        self.classes.initialise(classes)
        if not self.number_columns:
            return
        features = self.classes.features(classes) * self.classes.features.plain.to(x.device)
        t = self._bent(x, classes)
        found = first_values(
            t,
            features.double().cpu().numpy(),
            self.numbers.components,
            fill=self.numbers.exact,
        )
        for name, value in found.items():
            getattr(self.numbers, name).copy_(torch.from_numpy(value))
        self.numbers.start_slopes.copy_(self.numbers.slopes)

    @torch.no_grad()
    def independent(self, x: Tensor) -> Tensor:
        """Fit independent columns to rows x: (N, D) -> parameters for ``independent_rows``."""
        classes = self.find_classes(x)
        parts = []
        for q, size in enumerate(self.classes.sizes):
            known = classes[:, q][classes[:, q] >= 0]
            counts = torch.bincount(known, minlength=size).double() + 0.5
            parts.append((counts / counts.sum()).log())
        if self.number_columns:
            mixtures = torch.from_numpy(single_mixtures(self._bent(x, classes)))
            parts.append(mixtures.flatten().to(x.device))
        return torch.cat(parts) if parts else x.new_zeros(0)

    @torch.no_grad()
    def independent_rows(self, parameters: Tensor, x: Tensor) -> Tensor:
        """Return log p(x) under independent columns: (N,), nats. x: (N, D)."""
        classes = self.find_classes(x)
        count = self.classes.num_logits
        logs = parameters[:count].to(x.dtype)
        of_class = logs[classes.clamp(min=0) + self.classes.starts]
        added, others = self.unseen(x, classes)
        if any(self.classes.has_gap):
            present = x.new_zeros(self.classes.columns)
            present[self.classes.gap_columns] = torch.log1p(-logs[self.classes.gap_logits].exp())
            of_class = torch.where(others, present, of_class)
        else:
            of_class = of_class.masked_fill(others, 0.0)
        total = (torch.where(classes >= 0, of_class, 0.0) + added).sum(-1)
        total = total + self.log_prob_of_rules(x).sum(-1)
        if self.number_columns:
            mixtures = parameters[count:].reshape(3, len(self.number_columns), -1)
            total = total + self.numbers.independent_rows(mixtures, self.cells_of(x, classes))
        found: Tensor = total
        return found

    def cells_of(self, x: Tensor, classes: Tensor) -> Tensor:
        """The columns of numbers: (..., C). Infinity for a spike, NaN for what is missing."""
        cells = x.index_select(-1, self.number_index)
        cells = torch.where(self.is_number(classes) & torch.isfinite(cells), cells, math.nan)
        of_class = classes.index_select(-1, self.spiked_classes)
        is_spike = (of_class > 0) & (of_class <= self.find_classes.spike_counts)
        spikes = cells.index_select(-1, self.spiked_places).masked_fill(is_spike, math.inf)
        return cells.index_copy(-1, self.spiked_places, spikes)

    def is_number(self, classes: Tensor) -> Tensor:
        """Which cells of the columns of numbers hold, or may hold, a number: (..., C)."""
        every = torch.ones(
            *classes.shape[:-1], len(self.number_columns), dtype=torch.bool, device=classes.device
        )
        of_class = classes.index_select(-1, self.spiked_classes) <= 0
        return every.index_copy(-1, self.spiked_places, of_class)

    def log_prob_of_rules(self, x: Tensor) -> Tensor:
        """Return log p of the cells that follow from others: x (..., D) -> (..., R), nats."""
        cells = x.index_select(-1, self.rule_index)
        logs = torch.where(cells == 0, self.log_rules[:, 0], self.log_rules[:, 1])
        found: Tensor = torch.where(torch.isfinite(cells), logs, 0.0)
        return found

    def _bent(self, x: Tensor, classes: Tensor) -> NDArray[np.float64]:
        """t of the columns of numbers: (N, C). Infinity for a spike, NaN for what is missing."""
        cells = self.cells_of(x, classes)
        t = torch.where(torch.isfinite(cells), self.numbers.bend(cells), cells)
        found: NDArray[np.float64] = t.cpu().numpy()
        return found


def _log_rule(factor: Factor) -> tuple[float, float]:
    """Log p of a cell that keeps its rule, and of one that breaks it.

    The latter is any other value within the range.
    """
    if factor.density:
        others = factor.scale
    elif factor.step:
        others = max(factor.scale / factor.step, 1.0)
    else:
        others = max(len(factor.values) - 1.0, 1.0)
    kept = math.log1p(-factor.unseen) + factor.log_unit
    return kept, math.log(factor.unseen) - math.log(others)


class MixedRows(Distribution):
    """p(x|z) of rows of mixed columns. ``Mixed`` makes it.

    In x, NaN stands for a cell that is not known, and infinity for a cell that is missing in the
    table. Nothing is said about a cell that is not known: log p is that of the others.

    Args:
        likelihood: Its parameters.
        h: (..., num_features), the decoder's features.
    """

    arg_constraints = {}  # noqa: RUF012  (torch's own convention)

    def __init__(self, likelihood: Mixed, h: Tensor) -> None:
        self.likelihood, self.h = likelihood, h
        count = likelihood.classes.num_features
        self.class_context, self.number_context = h[..., :count], h[..., count:]
        event = torch.Size((len(likelihood.factors),))
        super().__init__(h.shape[:-1], event, validate_args=False)

    def log_prob(self, value: Tensor, *, gaps: bool = True) -> Tensor:
        """Return log p(x|z): x (..., D) -> (...), nats. See ``log_prob_of_columns``."""
        total = self.h.new_zeros(self.h.shape[:-1])
        for logs in self._parts(value, gaps):
            total = total + logs.sum(-1)
        return total

    def log_prob_of_columns(self, x: Tensor, *, gaps: bool = True) -> Tensor:
        """Return log p of each column given those before it in the chain: (..., D), nats.

        They add up to log p(x|z). In the chain, columns with levels come before numbers.

        Args:
            x: (..., D).
            gaps: Whether missing is an event with a probability. Otherwise log p is that of the
                cells that are there.
        """
        shape = np.broadcast_shapes(self.h.shape[:-1], x.shape[:-1])
        parts = torch.cat([logs.expand(*shape, -1) for logs in self._parts(x, gaps)], -1)
        found = parts.new_zeros(*shape, len(self.likelihood.factors))
        return found.index_add(-1, self.likelihood.all_index, parts)

    def _parts(self, x: Tensor, gaps: bool) -> list[Tensor]:
        """Log p of the classes (..., Q), of the numbers (..., C) and of the rules (..., R)."""
        model = self.likelihood
        classes = model.find_classes(x)
        features = model.classes.features(classes)
        found = []
        if model.class_columns:
            added, others = model.unseen(x, classes)
            found.append(
                added
                + model.classes.log_prob(
                    self.class_context, classes, features, gaps=gaps, others=others
                )
            )
        if model.number_columns:
            cells = model.cells_of(x, classes)
            found.append(model.numbers.log_prob(self.number_context, cells, features))
        if model.rule_columns:
            found.append(model.log_prob_of_rules(x))
        return found

    def sample(self, sample_shape: torch.Size | tuple[int, ...] = ()) -> Tensor:  # type: ignore[override]
        """Draw rows: (*sample_shape, ..., D). A missing cell is infinity."""
        h = self.h.expand(*sample_shape, *self.h.shape)
        empty = h.new_full((*h.shape[:-1], len(self.likelihood.factors)), math.nan)
        return MixedRows(self.likelihood, h).complete(empty)[0]

    @property
    def mean(self) -> Tensor:
        """The most likely levels and the mean of the bent numbers, column by column: (..., D)."""
        empty = self.h.new_full((*self.h.shape[:-1], len(self.likelihood.factors)), math.nan)
        return self.complete(empty, gaps=False, likely=True)[0]

    @torch.no_grad()
    def complete(
        self, x: Tensor, *, gaps: bool = True, likely: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Draw the cells that are not known, in the order of the chain.

        Args:
            x: (..., D), NaN where a cell is to be drawn.
            gaps: Whether a drawn cell may be missing. Otherwise log p is that of the cells that are
                there, as in ``log_prob``.
            likely: Take the most likely level and the mean in place of draws.

        Returns:
            The rows (..., D), and log p of the cells that were known, given z and the cells drawn
            before each: (...), nats. Their exponentials are the weights of importance sampling.
        """
        model, shape = self.likelihood, self.h.shape[:-1]
        x = x.expand(*shape, -1).reshape(-1, x.shape[-1])
        class_context = self.class_context.reshape(len(x), -1)
        number_context = self.number_context.reshape(len(x), -1)
        classes = model.find_classes(x)
        added, others = model.unseen(x, classes)
        log_prob = added.sum(-1) + model.log_prob_of_rules(x).sum(-1)
        drawn, more = model.classes.complete(
            class_context, classes, gaps=gaps, likely=likely, others=others
        )
        log_prob = log_prob + more
        cells = model.cells_of(x, drawn)
        if model.number_columns:
            features, wanted = model.classes.features(drawn), model.is_number(drawn)
            cells, more = model.numbers.complete(
                number_context, cells, wanted, features, likely=likely
            )
            log_prob = log_prob + more
        filled = self._filled(x, drawn, cells)
        return filled.reshape(*shape, -1), log_prob.reshape(shape)

    def _filled(self, x: Tensor, classes: Tensor, cells: Tensor) -> Tensor:
        """Put drawn classes (B, Q) and numbers (B, C) into the unknown cells of x: (B, D)."""
        model, filled = self.likelihood, x.clone()
        for c, i in enumerate(model.number_columns):
            filled[:, i] = cells[:, c]
        for q, i in enumerate(model.class_columns):
            filled[:, i] = model.unseen.draw(i, classes[:, q], filled[:, i])
        for i in model.rule_columns:
            filled[:, i] = 0.0
        return torch.where(torch.isnan(x), filled, x)
