"""Find the columns of a table whose cells follow exactly from other columns.

A level may follow from another level (a country's continent), a level from a range of a number (a
group of ages), and a number from numbers (a total from its parts, centimetres from inches).

A rule is taken only if it holds in every row, and if chance cannot explain that: ``evidence.py``
states the criterion and how often it errs.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from aevb.datasets.tabular.columns import Column
from aevb.datasets.tabular.rules.levels import Facts
from aevb.datasets.tabular.rules.pairs import pair_rules
from aevb.datasets.tabular.rules.rule import RULE_KINDS, Rule
from aevb.datasets.tabular.rules.singles import single_rules
from aevb.datasets.tabular.rules.sums import sum_rules

__all__ = ["RULE_KINDS", "Rule", "find_rules"]


def find_rules(codes: NDArray[np.float64], columns: Sequence[Column]) -> tuple[Rule, ...]:
    """Find the columns that follow exactly from others.

    Each column follows by one rule at most, and never from itself through other rules. The rules
    stand in an order in which the sources of a rule are known before it.

    Args:
        codes: (N, C), the codes of the modelled columns, NaN for a missing cell.
        columns: The C modelled columns.

    Example:
        >>> import numpy as np
        >>> from aevb.datasets.tabular.columns import Column
        >>> from aevb.datasets.tabular.rules import find_rules
        >>> a, b = np.random.default_rng(0).integers(0, 50, (2, 200)).astype(float)
        >>> columns = [Column(name, "integer", "int64") for name in ("a", "b", "both")]
        >>> rules = find_rules(np.column_stack([a, b, a + b]), columns)
        >>> [rule.describe(columns) for rule in rules]
        ['both = a + b']
    """
    if min(codes.shape) < 2:
        return ()
    found = sum_rules(codes, columns)
    facts = Facts.of(codes, columns)
    found += single_rules(facts, found)
    found += pair_rules(facts, found)
    return _in_order(found)


def _in_order(rules: Sequence[Rule]) -> tuple[Rule, ...]:
    """Bring the rules into an order in which no rule needs the target of a later one."""
    left = sorted(rules, key=lambda rule: rule.target)
    ordered: list[Rule] = []
    while left:
        waiting = {rule.target for rule in left}
        ready = [rule for rule in left if not waiting & set(rule.sources)]
        ordered += ready
        left = [rule for rule in left if rule not in ready]
    return tuple(ordered)
