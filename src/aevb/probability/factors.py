"""``Factor``: the family of one column of a table, and how its codes become the model's numbers.

A code is a float64: a number itself, or the number of a level (see ``datasets.tabular.columns``).
The model's number x of a cell is

    levels    k for the k-th value of the column. A number that no training row has lies outside
              0 ... K-1: between K and K+1 if it is inside the range, else beyond by its distance.
    numbers   (code - shift) / scale.
    follows   0 for a cell that keeps its rule, else how far it is off in units of the scale.
    missing   infinity. NaN stands for a cell that is not known: nothing is said about it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

FAMILIES = {
    "levels": "a probability for each value",
    "real": "a mixture of Gaussians, with spikes",
    "integer": "a mixture of discretised Gaussians, with spikes",
    "follows": "a function of other columns",
}
"""The families of columns, and what each one means."""
MOST_UNSEEN = 50_000
"""Numbers between the levels are drawn only if there are at most so many of them: x holds the
number of the level and the place between in single precision."""
FARTHEST = 1e30
"""x is never farther from 0, and so fits into single precision."""


@dataclass(frozen=True)
class Factor:
    """The family of one column. ``aevb.datasets.tabular.families.find`` makes it.

    Args:
        name: The column's name.
        family: A name in ``FAMILIES``.
        values: The codes of the levels in ascending order, or those of the spikes of numbers.
        classes: The class of each level. Rare levels share one class. (): each has its own.
        shares: The logs of the shares of the levels within their class. (): all are 0.
        ordered: Whether the order of the levels means something.
        step: The distance of neighbouring values in the units of the codes; 0 if it is not known.
        density: Whether log p is the log of a density, per unit of the codes.
        cell: The width of the cell that one value of a density stands for. 0: ``step``.
        shift: x = (code - shift) / scale.
        scale: x = (code - shift) / scale.
        centre: Numbers are bent to asinh(bend (x - centre)) / bend before they are modelled.
        bend: 0: x - centre, without a bend.
        mean: What is bent is standardised with this mean.
        spread: What is bent is standardised with this standard deviation.
        low: The smallest code of the training rows.
        high: The largest code of the training rows.
        gaps: Whether cells of the column may be missing. Missing is then an event with a
            probability. Otherwise nothing is said about a missing cell.
        repeats: Numbers that at least two training rows share, ascending. (): they are not told
            apart from others.
        repeat_rows: How many training rows have each of them.
        repeat_logs: The logs of the smooth density around them, after bending. (): all are 0.
        repeat_share: The probability that a number is one of them on purpose, as first estimated.
        unseen: The probability of a number that no training row has; for "follows", that of a
            cell that breaks the rule.

    Example:
        >>> import numpy as np
        >>> from aevb.probability.factors import Factor
        >>> grade = Factor("grade", "levels", values=(10.0, 20.0, 40.0), step=10.0, unseen=0.01)
        >>> x = grade.numbers(np.array([20.0, 40.0, np.nan, 30.0, 60.0, 0.0]))
        >>> x
        array([ 1. ,  2. ,  nan,  3.5,  5. , -1. ])
        >>> grade.codes(x)
        array([20., 40., nan, 30., 60.,  0.])
    """

    name: str
    family: str
    values: tuple[float, ...] = ()
    classes: tuple[int, ...] = ()
    shares: tuple[float, ...] = ()
    ordered: bool = False
    step: float = 0.0
    density: bool = False
    cell: float = 0.0
    shift: float = 0.0
    scale: float = 1.0
    centre: float = 0.0
    bend: float = 0.0
    mean: float = 0.0
    spread: float = 1.0
    low: float = 0.0
    high: float = 0.0
    gaps: bool = False
    unseen: float = 0.0
    repeats: tuple[float, ...] = ()
    repeat_rows: tuple[int, ...] = ()
    repeat_logs: tuple[float, ...] = ()
    repeat_share: float = 0.0

    @property
    def is_number(self) -> bool:
        """Whether the column has a density or mass over all numbers."""
        return self.family in ("real", "integer")

    @property
    def has_levels(self) -> bool:
        """Whether x is the number of a level."""
        return self.family == "levels"

    @property
    def log_unit(self) -> float:
        """What is added to the log p of one value, so that it becomes that of a density.

        A real number stands for a cell around it, and its probability is spread evenly there.

        Example:
            >>> from aevb.probability.factors import Factor
            >>> Factor("price", "real", step=0.5, density=True).log_unit  # log 2
            0.6931471805599453
        """
        width = self.cell or self.step
        return -math.log(width) if self.density and width else 0.0

    @property
    def num_classes(self) -> int:
        """How many classes the column's discrete part has; 0 if it has no such part.

        Levels have their classes. Numbers with spikes have a class for all other numbers, the
        first, and one for each spike. A column with gaps has one more class: missing.
        """
        if self.family == "follows":
            return 0
        if self.family == "levels":
            return (max(self.classes) + 1 if self.classes else len(self.values)) + self.gaps
        return 1 + len(self.values) + self.gaps if self.values or self.gaps else 0

    def numbers(self, codes: NDArray[Any]) -> NDArray[np.float64]:
        """Turn codes (N,) into the model's numbers (N,).

        Example:
            >>> import numpy as np
            >>> from aevb.probability.factors import Factor
            >>> Factor("a", "real", shift=100.0, scale=50.0, gaps=True).numbers([150.0, np.nan])
            array([ 1., inf])
        """
        codes = np.asarray(codes, np.float64)
        known = ~np.isnan(codes)
        x = np.full(codes.shape, np.inf if self.gaps else np.nan)
        cells = codes[known]
        with np.errstate(over="ignore"):
            found = self._index(cells) if self.has_levels else (cells - self.shift) / self.scale
        x[known] = found.clip(-FARTHEST, FARTHEST)
        return x

    def codes(self, x: NDArray[Any]) -> NDArray[np.float64]:
        """Turn the model's numbers (N,) into codes (N,). Numbers that are not finite become NaN.

        Example:
            >>> from aevb.probability.factors import Factor
            >>> Factor("a", "real", step=0.5, high=10.0).codes([1.3, float("inf")])
            array([1.5, nan])
        """
        x = np.asarray(x, np.float64)
        known = np.isfinite(x)
        codes = np.full(x.shape, np.nan)
        codes[known] = self._value(x[known]) if self.has_levels else self._number(x[known])
        return codes

    def unseen_values(self) -> NDArray[np.float64]:
        """Return the numbers between the first and the last level that no training row has: (U,).

        Empty if the levels are no numbers, or if there are too many.

        Example:
            >>> from aevb.probability.factors import Factor
            >>> Factor("a", "levels", values=(1.0, 2.0, 5.0), step=1.0).unseen_values()
            array([3., 4.])
        """
        if not self.step or not self.values:
            return np.empty(0)
        low = self.values[0]
        count = self._num_steps
        if count > MOST_UNSEEN:
            return np.empty(0)
        seen = np.rint((np.asarray(self.values) - low) / self.step).astype(np.intp)
        between: NDArray[np.float64] = low + self.step * np.delete(np.arange(count + 1.0), seen)
        return between

    @property
    def num_unseen(self) -> int:
        """How many numbers between the first and the last level no training row has.

        Example:
            >>> from aevb.probability.factors import Factor
            >>> Factor("a", "levels", values=(1.0, 2.0, 5.0), step=1.0).num_unseen
            2
        """
        return max(self._num_steps + 1 - len(self.values), 0) if self.step and self.values else 0

    @property
    def _num_steps(self) -> int:
        return round((self.values[-1] - self.values[0]) / self.step)

    def _index(self, codes: NDArray[np.float64]) -> NDArray[np.float64]:
        """The number of the level of each code. See the head of this module for other numbers."""
        values = np.asarray(self.values)
        above = np.searchsorted(values, codes).clip(0, len(values) - 1)
        below = (above - 1).clip(0)
        lower = np.abs(values[below] - codes) < np.abs(values[above] - codes)
        nearest = np.where(lower, below, above)
        off = np.abs(values[nearest] - codes) > 1e-6 * self.step
        if not (self.step and off.any()):
            return nearest.astype(np.float64)
        between = self.unseen_values()
        place = (np.searchsorted(between, codes - self.step / 4) + 0.5) / max(len(between), 1)
        beyond = np.maximum(np.rint((codes - values[-1]) / self.step), 1.0)
        before = np.minimum(np.rint((codes - values[0]) / self.step), -1.0)
        inside = (codes > values[0]) & (codes < values[-1])
        outside = np.where(codes > values[-1], len(values) + beyond, before)
        return np.where(off, np.where(inside, len(values) + place, outside), nearest)

    def _value(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        """The reverse of ``_index``."""
        values, count = np.asarray(self.values), len(self.values)
        seen = values[np.clip(np.rint(x), 0, count - 1).astype(np.intp)]
        if not self.step:
            return seen
        between = self.unseen_values()
        k = np.floor(np.clip(x - count, 0, 1 - 1e-9) * max(len(between), 1)).astype(np.intp)
        inside = between[k] if len(between) else seen
        above = values[-1] + self.step * np.floor(x - count)
        below = values[0] + self.step * np.rint(x)
        found = np.where(x >= count, np.where(x < count + 1, inside, above), seen)
        return np.where(x <= -0.5, below, found)

    def _number(self, x: NDArray[np.float64]) -> NDArray[np.float64]:
        codes = x * self.scale + self.shift
        if self.step and (self.high - self.low) / self.step < 2**52:
            codes = self.low + np.rint((codes - self.low) / self.step) * self.step
        # x has single precision: a spike would be off by a few steps.
        for value in self.values:
            codes[np.float32(x) == np.float32((value - self.shift) / self.scale)] = value
        return codes
