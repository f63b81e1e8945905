"""How surely a rule between columns is more than chance.

Let the target's cells be shuffled among the rows. All n! / (n_1! ... n_V!) arrangements of its V
values are then equally likely. A rule with G free choices, such as a map from G levels, makes V^G
of them at most. So chance finds such a rule with a probability of at most

    V^G / (n! / (n_1! ... n_V!)) = 2^-bits.

``find_rules`` takes a rule if its bits are ``BITS`` more than log2 of the number of rules that were
tried: a table of independent columns then yields any rule with a probability below 2^-20, one in a
million. This bound needs no assumption on the columns. A source that is nearly a name of the row
has as many choices as rows, so it proves nothing.

The bound says nothing about columns that depend on each other with few exceptions. So a rule must
also be confirmed by ``CONFIRMED`` rows, of which ``RARE`` are not the target's most frequent value.
A dependence that fails in one row of ten passes all of 50 rows with a probability of 0.005.
"""

from __future__ import annotations

from math import lgamma, log, log2
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

BITS = 20.0
"""A rule is accepted if chance finds it with a probability below 2 to the minus this."""
CONFIRMED = 50
"""So many rows must keep a rule that could break it."""
RARE = 20
"""So many of them must not have the most frequent value of the target."""


class Evidence(NamedTuple):
    """What speaks for a rule.

    Args:
        bits: Chance finds the rule with a probability of at most 2^-bits.
        confirmed: How many rows keep the rule that could break it.
        rare: How many of them do not have the most frequent value.
    """

    bits: float
    confirmed: int
    rare: int

    def convinces(self, tried: int) -> bool:
        """Whether the rule is more than chance, if so many rules were tried.

        Example:
            >>> from aevb.datasets.tabular.rules.evidence import Evidence
            >>> Evidence(40.0, 90, 30).convinces(tried=100), Evidence(40.0, 90, 2).convinces(100)
            (True, False)
        """
        sure = self.bits >= BITS + log2(max(1, tried))
        return sure and self.confirmed >= CONFIRMED and self.rare >= RARE


def arrangements(counts: NDArray[np.int64]) -> float:
    """Return log2 of n! / (n_1! ... n_V!). counts: (V,).

    Example:
        >>> import numpy as np
        >>> from aevb.datasets.tabular.rules.evidence import arrangements
        >>> round(2 ** arrangements(np.array([2, 1, 1])))
        12
    """
    return (lgamma(counts.sum() + 1) - sum(lgamma(n + 1) for n in counts.tolist())) / log(2)


def of_map(groups: NDArray[np.signedinteger], target: NDArray[np.float64]) -> Evidence:
    """What speaks for a map that holds.

    Args:
        groups: (N,), the number of the source's level in each row.
        target: (N,), the codes of the target.

    Example:
        >>> import numpy as np
        >>> from aevb.datasets.tabular.rules.evidence import of_map
        >>> level = np.arange(200) % 4
        >>> found = of_map(level, level % 2.0)
        >>> round(found.bits), found.confirmed, found.rare
        (192, 196, 98)
        >>> of_map(np.arange(200), level % 2.0).confirmed
        0
    """
    if not len(target):
        return Evidence(0.0, 0, 0)
    first = np.unique(groups, return_index=True)[1]
    values, numbers, counts = np.unique(target, return_inverse=True, return_counts=True)
    rare = numbers != counts.argmax()
    return Evidence(
        arrangements(counts) - len(first) * log2(len(values)),
        len(target) - len(first),
        int(rare.sum() - rare[first].sum()),
    )


def of_steps(changes: int, places: int, counts: NDArray[np.int64]) -> Evidence:
    """What speaks for a rule of steps that holds.

    Args:
        changes: How often the target changes along the source.
        places: How many different values the source has, so that it can change between them.
        counts: (V,), how often each value of the target occurs.

    Example:
        >>> import numpy as np
        >>> from aevb.datasets.tabular.rules.evidence import of_steps
        >>> of_steps(1, 100, np.array([60, 40])).bits > 80
        True
    """
    ways = (lgamma(places) - lgamma(changes + 1) - lgamma(places - changes)) / log(2)
    cost = ways + (changes + 1) * log2(len(counts)) + log2(changes + 1)
    rows, most = int(counts.sum()), int(counts.max())
    return Evidence(arrangements(counts) - cost, rows - changes - 1, rows - most - changes)


def of_pair(
    first: NDArray[np.signedinteger], second: NDArray[np.signedinteger], target: NDArray[np.float64]
) -> Evidence:
    """What the second source adds, if a map from both holds: evidence within levels of the first.

    The target is shuffled within the levels of the first source alone. So a target that nearly
    follows from the first source lends no evidence to the second.

    Args:
        first: (N,), the number of the first source's level.
        second: (N,), the number of the second source's level.
        target: (N,), the codes of the target.

    Example:
        >>> import numpy as np
        >>> from aevb.datasets.tabular.rules.evidence import of_pair
        >>> a, b = np.arange(400) % 2, np.arange(400) // 2 % 2
        >>> of_pair(a, b, (a ^ b) * 1.0).convinces(3), of_pair(a, b, a * 1.0).convinces(3)
        (True, False)
    """
    order = np.argsort(first, kind="stable")
    ends = np.flatnonzero(np.diff(first[order])) + 1
    parts = [
        of_map(second[rows], target[rows])
        for rows in np.split(order, ends)
        if (target[rows] != target[rows[0]]).any()
    ]
    return Evidence(
        sum(part.bits for part in parts),
        sum(part.confirmed for part in parts),
        sum(part.rare for part in parts),
    )
