"""Decide below which log p(x) a row is odd, from rows that the model was not trained on.

A row is odd if its log p(x) is lower than that of nearly all rows held out from training. There are
three ways to say how low: a share of the held-out rows, the far-out fence of a box plot (Tukey
1977, "Exploratory Data Analysis"), or a number of nats.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aevb.errors import UsageError

FEWEST_FOR_FENCE = 20
"""Quartiles of fewer rows say too little about where the far-out fence should be."""
REACH = 3.0
"""The far-out fence is this many interquartile ranges below the first quartile."""


class Rule(NamedTuple):
    """How a threshold is chosen. ``read_rule`` makes one.

    Args:
        share: The share of the rows like those held out that may count as odd, for a rule by share.
        nats: The threshold itself, if it was given. With neither, the rule is the far-out fence.

    Example:
        >>> from aevb.evaluation.threshold import Rule
        >>> Rule(share=0.01).needs_rows, Rule(nats=-12.5).needs_rows, Rule().needs_rows
        (True, False, True)
    """

    share: float | None = None
    nats: float | None = None

    @property
    def needs_rows(self) -> bool:
        """Whether the threshold depends on held-out rows."""
        return self.nats is None


def read_rule(text: str) -> Rule:
    """Read a rule: a share such as ``0.01`` or ``1%``, ``auto``, or nats as ``-12.5`` or ``3nats``.

    A number from 0 to 1 is a share. A negative number can only be nats. Other numbers could mean
    per cent or nats, so they need their unit.

    Raises:
        UsageError: The text is none of these.

    Example:
        >>> from aevb.evaluation.threshold import read_rule
        >>> read_rule("1%").share, read_rule("-12.5").nats, read_rule("auto")
        (0.01, -12.5, Rule(share=None, nats=None))
        >>> read_rule("5")
        Traceback (most recent call last):
        aevb.errors.UsageError: threshold 5 may mean 5% of the rows or 5 nats; give 5% or 5nats
    """
    plain = text.strip().lower()
    if plain == "auto":
        return Rule()
    unit = next((unit for unit in ("%", "nats") if plain.endswith(unit)), "")
    number = _number(plain.removesuffix(unit))
    if number is None:
        raise UsageError(
            f"threshold must be a share of rows such as 0.01, or auto, or nats such as -12.5; got"
            f" {text!r}"
        )
    if unit == "nats" or (not unit and number < 0):
        return Rule(nats=number)
    if not unit and number >= 1:
        raise UsageError(
            f"threshold {number:g} may mean {number:g}% of the rows or {number:g} nats; give"
            f" {number:g}% or {number:g}nats"
        )
    share = number / 100 if unit else number
    if not 0 < share < 1:
        raise UsageError(
            f"threshold must be a share of rows between 0 and 1, such as 0.01; got {text!r}"
        )
    return Rule(share=share)


def _number(text: str) -> float | None:
    """Return the finite number that a text stands for, or None."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def threshold(rule: Rule, log_p: NDArray[Any]) -> float:
    """Return the log p(x) below which a row is odd.

    By share, the threshold is the k-th lowest of the n held-out values, k = floor(share (n + 1)). A
    new row that comes from where these rows came from is then odd with probability k / (n + 1) at
    most: the n + 1 rows can be in any order, all equally likely. So on average the share is kept
    for any n and any model.

    Args:
        rule: How to choose it.
        log_p: (n,), log p(x) of rows held out from training, nats.

    Raises:
        UsageError: There are too few rows for this rule.

    Example:
        >>> import numpy as np
        >>> from aevb.evaluation.threshold import Rule, threshold
        >>> log_p = -np.arange(1.0, 100.0)  # -1, -2, ..., -99
        >>> threshold(Rule(share=0.05), log_p), threshold(Rule(), log_p)
        (-95.0, -221.5)
    """
    if rule.nats is not None:
        return rule.nats
    # A row whose log p(x) could not be computed is odder than any other.
    ordered = np.sort(np.where(np.isnan(log_p), -np.inf, log_p))
    if rule.share is None:
        return _far_out_fence(ordered)
    k = math.floor(rule.share * (len(ordered) + 1) + 1e-9)
    if k < 1:
        least = math.ceil(1e4 / (len(ordered) + 1)) / 1e4
        raise UsageError(
            f"a threshold by a share of {rule.share:g} needs {math.ceil(1 / rule.share) - 1} rows"
            f" held out from training, and there are {len(ordered)}; give a share of at least"
            f" {least:g}, or nats such as --threshold=-12.5"
        )
    return float(ordered[k - 1])


def _far_out_fence(ordered: NDArray[Any]) -> float:
    if len(ordered) < FEWEST_FOR_FENCE:
        raise UsageError(
            f"threshold auto needs {FEWEST_FOR_FENCE} rows held out from training, and there are"
            f" {len(ordered)}; give nats such as --threshold=-12.5"
        )
    finite = ordered[np.isfinite(ordered)]
    if not len(finite):
        return -math.inf
    first, third = np.quantile(finite, (0.25, 0.75))
    return float(first - REACH * (third - first))


def is_odd(log_p: NDArray[Any], below: float) -> NDArray[np.bool_]:
    """Whether each row is odd: (N,) -> (N,). A row whose log p(x) is not a number is odd.

    Example:
        >>> import numpy as np
        >>> from aevb.evaluation.threshold import is_odd
        >>> is_odd(np.array([-3.0, -13.0, np.nan]), below=-12.5).tolist()
        [False, True, True]
    """
    return ~(np.asarray(log_p) >= below)
