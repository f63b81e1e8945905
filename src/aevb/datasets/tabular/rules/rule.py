"""``Rule``: a column of a table whose cells follow exactly from other columns.

A level may follow from another level (a country's continent), a level from a range of a number (a
group of ages), and a number from numbers (a total from its parts, centimetres from inches).
A rule works on the codes of the modelled columns, as ``Table.encode`` makes them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from aevb.datasets.tabular.columns import Column

RULE_KINDS = {
    "map": "each level of the sources, or pair of levels, has one value",
    "steps": "each range of the source has one value",
    "linear": "a sum of multiples of the sources, rounded as the column is",
}
"""The kinds of rules, and what each one means."""


@dataclass(frozen=True)
class Rule:
    """A column whose codes are a fixed function of the codes of other columns.

    Args:
        target: The number of the column that follows, among the modelled columns.
        sources: The numbers of the columns that it follows from.
        kind: A name in ``RULE_KINDS``.
        exact_gaps: Whether the target is missing exactly where a source is.
        keys: For "map": the codes of the sources, in ascending order.
        values: For "map": the code of the target for each key. For "steps": its code below the
            first cut, between the first and the second, and so on.
        cuts: For "steps": where the code of the target changes, ascending.
        intercept: For "linear": see ``coefficients``.
        coefficients: For "linear": target = intercept + sum of coefficient * source.
        decimals: For "linear": to how many decimals that is rounded. None: it is not.
        tolerance: Two codes of the target that differ by no more than this are the same cell.

    Example:
        >>> import numpy as np
        >>> from aevb.datasets.tabular.columns import Column
        >>> from aevb.datasets.tabular.rules.rule import Rule
        >>> net, tax, total = (Column(n, "real", "float64") for n in ("net", "tax", "total"))
        >>> rule = Rule(2, (0, 1), "linear", coefficients=(1.0, 1.0), decimals=2)
        >>> rule.describe([net, tax, total])
        'total = net + tax'
        >>> rule.predict(np.array([[10.0, 1.9, np.nan], [np.nan, 1.9, 11.9]]))
        array([11.9,  nan])
    """

    target: int
    sources: tuple[int, ...]
    kind: str
    exact_gaps: bool = True
    keys: tuple[tuple[float, ...], ...] = ()
    values: tuple[float, ...] = ()
    cuts: tuple[float, ...] = ()
    intercept: float = 0.0
    coefficients: tuple[float, ...] = ()
    decimals: int | None = None
    tolerance: float = 1e-6

    def predict(self, codes: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the code of the target in each row: (N,).

        It is NaN where a source is missing, and where a map does not know the levels.

        Args:
            codes: (N, C), the codes of all modelled columns. The target's own are not used.

        Example:
            >>> import numpy as np
            >>> from aevb.datasets.tabular.rules.rule import Rule
            >>> adult = Rule(1, (0,), "steps", values=(0.0, 1.0), cuts=(17.5,))
            >>> adult.predict(np.array([[12.0, 0.0], [40.0, 0.0], [np.nan, 0.0]]))
            array([ 0.,  1., nan])
        """
        given = codes[:, list(self.sources)]
        gone: NDArray[np.bool_] = np.logical_or.reduce(np.isnan(given), axis=1)
        if self.kind == "map":
            made = self._looked_up(given, gone)
        elif self.kind == "steps":
            made = np.array(self.values)[np.searchsorted(self.cuts, given[:, 0], side="right")]
        else:
            made = self._sum(given)
        made[gone] = np.nan
        return made

    def _sum(self, given: NDArray[np.float64]) -> NDArray[np.float64]:
        # Term by term, so that a row gives the same bits in any batch.
        made = np.full(len(given), self.intercept)
        for coefficient, column in zip(self.coefficients, given.T, strict=True):
            made += coefficient * column
        return made if self.decimals is None else made.round(self.decimals)

    def _looked_up(
        self, given: NDArray[np.float64], gone: NDArray[np.bool_]
    ) -> NDArray[np.float64]:
        keys = np.array(self.keys)
        place = np.zeros(len(given), np.int64)
        wide = np.zeros(len(keys), np.int64)
        known = ~gone
        for column, key in zip(given.T, keys.T, strict=True):
            levels = np.unique(key)
            found = np.searchsorted(levels, column).clip(0, len(levels) - 1)
            known &= levels[found] == column
            place = place * len(levels) + found
            wide = wide * len(levels) + np.searchsorted(levels, key)
        # The keys are sorted, and so are their numbers.
        at = np.searchsorted(wide, place).clip(0, len(wide) - 1)
        known &= wide[at] == place
        return np.where(known, np.array(self.values)[at], np.nan)

    def holds(self, codes: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Whether each row keeps the rule: (N,). A row with a cell missing keeps it.

        A row whose levels the map does not know keeps it, too.

        Args:
            codes: (N, C), the codes of all modelled columns.

        Example:
            >>> import numpy as np
            >>> from aevb.datasets.tabular.rules.rule import Rule
            >>> same = Rule(1, (0,), "linear", coefficients=(1.0,), decimals=0)
            >>> same.holds(np.array([[1.0, 1.0], [1.0, 2.0], [np.nan, 2.0]]))
            array([ True, False,  True])
        """
        apart = np.abs(self.predict(codes) - codes[:, self.target])
        kept: NDArray[np.bool_] = ~(apart > self.tolerance)
        return kept

    def describe(self, columns: Sequence[Column]) -> str:
        """Say the rule in one line of plain English.

        Args:
            columns: The modelled columns.

        Example:
            >>> from aevb.datasets.tabular.columns import Column
            >>> from aevb.datasets.tabular.rules.rule import Rule
            >>> country, continent = (Column(n, "category", "str") for n in ("city", "country"))
            >>> Rule(1, (0,), "map", keys=((0.0,),), values=(1.0,)).describe([country, continent])
            'country follows from city'
        """
        target, sources = columns[self.target], [columns[i] for i in self.sources]
        all_plain = all(
            column.kind != "date" and (column.base, column.unit) == (0, 1)
            for column in (target, *sources)
        )
        if self.kind == "linear" and all_plain:
            text = self._formula([column.name for column in sources])
            return f"{target.name} = {text}{', rounded' if self._rounds(sources) else ''}"
        return f"{target.name} follows from {' and '.join(column.name for column in sources)}"

    def _formula(self, names: Sequence[str]) -> str:
        """Write the sum of a linear rule. names: the names of the sources."""
        terms = [
            _term(coefficient, name)
            for coefficient, name in zip(self.coefficients, names, strict=True)
        ]
        if self.intercept:
            terms.append(("-" if self.intercept < 0 else "+", f"{abs(self.intercept):.10g}"))
        (sign, amount), *others = terms
        return " ".join([amount if sign == "+" else f"-{amount}", *map(" ".join, others)])

    def _rounds(self, sources: Sequence[Column]) -> bool:
        """Whether the sum may have more decimals than the target."""
        pairs = zip(self.coefficients, sources, strict=True)
        places = [_places(size * 10.0 ** -(column.decimals or 0)) for size, column in pairs]
        return self.decimals is not None and max(places) > self.decimals


def _places(number: float) -> int:
    """Count the decimals of a number, up to ten digits."""
    return len(f"{number:.10g}".partition(".")[2])


def _term(coefficient: float, name: str) -> tuple[str, str]:
    size = abs(coefficient)
    return "-" if coefficient < 0 else "+", name if size == 1 else f"{size:.10g} * {name}"


def circular(rules: Iterable[Rule], target: int, sources: Iterable[int]) -> bool:
    """Whether a source follows from the target already, through any number of rules.

    Example:
        >>> from aevb.datasets.tabular.rules.rule import Rule, circular
        >>> rules = [Rule(1, (0,), "map"), Rule(2, (1,), "map")]
        >>> circular(rules, 0, (2,)), circular(rules, 3, (2,))
        (True, False)
    """
    sources_of = {rule.target: rule.sources for rule in rules}
    todo, seen = list(sources), set[int]()
    while todo:
        column = todo.pop()
        if column == target:
            return True
        if column not in seen:
            seen.add(column)
            todo += sources_of.get(column, ())
    return False


def exact_gaps(codes: NDArray[np.float64], target: int, sources: Sequence[int]) -> bool:
    """Whether the target is missing exactly where a source is. codes: (N, C).

    Example:
        >>> import numpy as np
        >>> from aevb.datasets.tabular.rules.rule import exact_gaps
        >>> exact_gaps(np.array([[1.0, np.nan], [1.0, 1.0]]), 1, (0,))
        False
    """
    gone = np.isnan(codes[:, sources[0]])
    for source in sources[1:]:
        gone |= np.isnan(codes[:, source])
    return bool((gone == np.isnan(codes[:, target])).all())


def tolerance_of(column: Column, size: float) -> float:
    """Half of the smallest difference between two cells of a column, in its codes.

    size: The usual size of its codes, for columns whose decimals are not known.

    Example:
        >>> from aevb.datasets.tabular.columns import Column
        >>> from aevb.datasets.tabular.rules.rule import tolerance_of
        >>> tolerance_of(Column("price", "real", "float64", decimals=2), 900.0)
        0.005
    """
    if column.kind != "real":
        return 0.5
    if column.decimals is None:
        return size * (1e-6 if "32" in column.dtype.lower() else 1e-9)
    return float(0.5 * 10.0**-column.decimals)
