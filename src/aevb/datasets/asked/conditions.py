"""Conditions on the cells of a row, such as sex=Female and age>=60.

A condition says which codes a column may have: values, a range, or a missing cell.
``condition_text`` reads them. They are checked on codes as a sample writes them: rounded, and
within the column's range.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from aevb.datasets.damage import in_quotes
from aevb.datasets.tabular.cells import LEVELLED, is_stepped
from aevb.datasets.tabular.columns import Column, Table, quoted
from aevb.errors import UsageError


@dataclass(frozen=True)
class Condition:
    """What one column of a row must be.

    Args:
        column: The column.
        text: The condition as the user wrote it, for messages.
        values: The codes that are allowed. None: all within the range.
        low: The lowest code that is allowed.
        high: The highest code that is allowed.
        excluded: Codes that are not allowed.
        missing: Whether the cell must be missing. If not, it must be there.

    Example:
        >>> import numpy as np
        >>> from aevb.datasets.tabular.columns import Column
        >>> from aevb.datasets.asked.conditions import Condition
        >>> age = Column("age", "integer", "int64", low=17.0, high=90.0)
        >>> old = Condition(age, "age>=60", low=60.0)
        >>> old.keeps(np.array([59.4, 59.6, np.nan]))
        array([False,  True, False])
        >>> old.single is None, Condition(age, "age=60", values=(60.0,)).single
        (True, 60.0)
    """

    column: Column
    text: str
    values: tuple[float, ...] | None = None
    low: float = -math.inf
    high: float = math.inf
    excluded: tuple[float, ...] = ()
    missing: bool = False

    @property
    def single(self) -> float | None:
        """The only code that is allowed, or None. NaN stands for a missing cell."""
        if self.missing:
            return math.nan
        return self.values[0] if self.values is not None and len(self.values) == 1 else None

    @property
    def is_of_density(self) -> bool:
        """Whether it is one value of a column of real numbers, which has no probability."""
        return self.column.kind == "real" and self.values is not None

    def keeps(self, codes: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Whether codes meet the condition: (N,) -> (N,), booleans."""
        written = settled(self.column, codes)
        gone = np.isnan(written)
        if self.missing:
            return gone
        kept = ~gone & (written >= self.low) & (written <= self.high)
        if self.values is not None:
            kept &= np.isin(written, self.values)
        return kept & ~np.isin(written, self.excluded) if self.excluded else kept


def settled(column: Column, codes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return codes as the cells that they become have them: rounded, and within the range.

    Example:
        >>> import numpy as np
        >>> from aevb.datasets.tabular.columns import Column
        >>> from aevb.datasets.asked.conditions import settled
        >>> settled(Column("age", "integer", "int64", low=17.0, high=90.0), np.array([30.4, 95.0]))
        array([30., 90.])
    """
    codes = np.asarray(codes, np.float64)
    if column.low is not None and column.high is not None:
        codes = codes.clip(column.low, column.high)
    if column.kind in LEVELLED:
        return np.rint(codes).clip(0, len(column.levels) - 1)
    if column.kind == "integer" or column.unit != 1 or column.base or is_stepped(column):
        return np.rint(codes)
    return codes if column.decimals is None else codes.round(column.decimals)


@dataclass(frozen=True)
class Conditions:
    """All conditions on a row: at most one for each modelled column.

    Args:
        table: The columns.
        parts: The conditions, in the order in which they were given.

    Example:
        >>> import numpy as np
        >>> from aevb.datasets.tabular.columns import Column, Table
        >>> from aevb.datasets.asked.conditions import Condition, Conditions
        >>> table = Table((Column("age", "integer", "int64"), Column("x", "real", "float64")))
        >>> given = Conditions(table, (Condition(table.columns[0], "age>=60", low=60.0),))
        >>> given.keeps(np.array([[61.0, 0.5], [59.0, 0.5]]))
        array([ True, False])
        >>> given.codes()
        array([[nan, nan]])
    """

    table: Table
    parts: tuple[Condition, ...]

    def __str__(self) -> str:
        return ", ".join(part.text for part in self.parts)

    def index(self, part: Condition) -> int:
        """The number of a condition's column among the modelled ones."""
        return self.table.modelled.index(part.column)

    def codes(self) -> NDArray[np.float64]:
        """The codes that the conditions fix, NaN for all others: (1, C)."""
        row = np.full((1, len(self.table.modelled)), np.nan)
        for part in self.parts:
            if part.single is not None:
                row[0, self.index(part)] = part.single
        return row

    def keeps(self, codes: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Whether rows of codes meet all conditions: (N, C) -> (N,), booleans."""
        kept = np.ones(len(codes), bool)
        for part in self.parts:
            kept &= part.keeps(codes[:, self.index(part)])
        return kept


def together(table: Table, conditions: Sequence[Condition]) -> Conditions:
    """Put conditions together; those on one column become one.

    Raises:
        UsageError: Two of them contradict each other.

    Example:
        >>> from aevb.datasets.tabular.columns import Column, Table
        >>> from aevb.datasets.asked.conditions import Condition, together
        >>> age = Column("age", "integer", "int64", low=17.0, high=90.0)
        >>> parts = [Condition(age, "age>=60", low=60.0), Condition(age, "age<30", high=29.0)]
        >>> together(Table((age,)), parts)
        Traceback (most recent call last):
        aevb.errors.UsageError: no row can have both age>=60 and age<30; give one of them alone
    """
    found: dict[str, Condition] = {}
    for part in conditions:
        if not part.column.is_modelled:  # a constant, which every row has
            continue
        before = found.get(part.column.name)
        found[part.column.name] = part if before is None else _both(before, part)
    return Conditions(table, tuple(found.values()))


def _both(a: Condition, b: Condition) -> Condition:
    """Return one condition for two on the same column."""
    low, high = max(a.low, b.low), min(a.high, b.high)
    lists = [each.values for each in (a, b) if each.values is not None]
    values: tuple[float, ...] | None = None
    if lists:
        both = Condition(a.column, "", None, low, high, (*a.excluded, *b.excluded))
        values = tuple(v for v in lists[0] if v in lists[-1] and both.keeps(np.array([v]))[0])
    contradict = values == () or low > high or a.missing != b.missing
    if contradict:
        raise UsageError(f"no row can have both {a.text} and {b.text}; give one of them alone")
    return Condition(
        a.column, f"{a.text}, {b.text}", values, low, high, (*a.excluded, *b.excluded), a.missing
    )


def check_possible(condition: Condition) -> Condition:
    """Return a condition whose values and range are brought to those that a cell can have.

    Raises:
        UsageError: No cell of the column can meet the condition. The message names the nearest.

    Example:
        >>> from aevb.datasets.tabular.columns import Column
        >>> from aevb.datasets.asked.conditions import Condition, check_possible
        >>> age = Column("age", "integer", "int64", low=17.0, high=90.0)
        >>> check_possible(Condition(age, "age>=120", low=120.0))
        Traceback (most recent call last):
        aevb.errors.UsageError: no row can have age>=120: column 'age' goes from 17 to 90 in the \
training rows; give a condition within that range
    """
    column = condition.column
    if condition.missing:
        return condition
    for value in condition.values or ():
        _require_value(condition, value)
    if column.kind == "integer" or column.unit != 1 or column.base or is_stepped(column):
        condition = replace(
            condition, low=_whole(condition.low, 1), high=_whole(condition.high, -1)
        )
    if _is_empty(condition):
        raise UsageError(
            f"no row can have {condition.text}: column {in_quotes(column.name)} goes from"
            f" {shown(column, column.low or 0.0)} to {shown(column, column.high or 0.0)} in the"
            " training rows; give a condition within that range"
        )
    return condition


def _is_empty(condition: Condition) -> bool:
    """Whether no number of the column is within the range."""
    low, high = condition.column.low, condition.column.high
    if low is None or high is None:
        return False
    return condition.low > min(high, condition.high) or condition.high < low


def _whole(code: float, side: int) -> float:
    """The nearest whole number above (side 1) or below (side -1)."""
    if not math.isfinite(code):
        return code
    return float(math.ceil(code) if side > 0 else math.floor(code))


def _require_value(condition: Condition, value: float) -> None:
    """Raise UsageError unless some cell can have the code ``value``."""
    column = condition.column
    nearest = float(settled(column, np.array([value]))[0])
    if nearest == value or math.isclose(nearest, value, rel_tol=1e-12):
        return
    low, high = column.low, column.high
    if low is not None and high is not None and not low <= value <= high:
        reason = f"goes from {shown(column, low)} to {shown(column, high)} in the training rows"
    elif column.kind == "integer":
        reason = "holds whole numbers"
    elif column.decimals is not None and not is_stepped(column):
        reason = f"has {column.decimals} decimal" + "s" * (column.decimals != 1)
    else:
        reason = "has no such value"
    raise UsageError(
        f"no row can have {condition.text}: column {in_quotes(column.name)} {reason}; the nearest"
        f" value is {shown(column, nearest)}, so give {column.name}={shown(column, nearest)}"
    )


def shown(column: Column, code: float) -> str:
    """Write a code as the cell that it becomes.

    Example:
        >>> from aevb.datasets.tabular.columns import Column
        >>> from aevb.datasets.asked.conditions import shown
        >>> shown(Column("sex", "category", "str", levels=("female", "male")), 1.0)
        'male'
    """
    from aevb.datasets.tabular.text import write

    cells = column.decode(np.array([code]))
    return str(write(cells, column.written).iloc[0])


def known_levels(column: Column) -> str:
    """List the levels of a column for a message.

    Example:
        >>> from aevb.datasets.tabular.columns import Column
        >>> from aevb.datasets.asked.conditions import known_levels
        >>> known_levels(Column("sex", "category", "str", levels=("female", "male")))
        "'female', 'male'"
    """
    return quoted([str(level) for level in column.levels])
