"""Choose the likelihood that suits a data set, and the ``Schema`` that goes with it.

Both are decided from the training rows, and the reason is printed.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from aevb.datasets.checks import column_name
from aevb.datasets.schema import Data, Schema
from aevb.datasets.stored import moments
from aevb.errors import DataError, UsageError

MOST_LEVELS = 4096
"""Integers below this may be levels. Larger ones are amounts or identifiers."""


@dataclass(frozen=True)
class Plan:
    """The decisions about a data set.

    Args:
        likelihood: Its name.
        schema: How rows become the model's numbers.
        reason: The reason for the choice, as a phrase to print.

    Example:
        >>> import numpy as np
        >>> from aevb.datasets import Data
        >>> from aevb.datasets.planning import plan
        >>> chosen = plan(Data(np.array([[0, 1], [1, 1]]), source="bits"))
        >>> chosen.likelihood, chosen.reason, chosen.schema.values
        ('bernoulli', 'all values are 0 or 1', 'binary')
    """

    likelihood: str
    schema: Schema
    reason: str


@dataclass(frozen=True)
class Transform:
    """x = (row - shift) / scale, and a phrase that says so.

    levels: how many integers 0, 1, ... a value can take, for a likelihood over levels.
    """

    shift: tuple[float, ...]
    scale: tuple[float, ...]
    phrase: str = ""
    levels: int | None = None


def _usual_form(likelihood: str) -> str:
    return "unit" if likelihood == "bernoulli" else "real"


def plan(
    data: Data,
    likelihood: str = "auto",
    binarize: str = "none",
    form_of: Callable[[str], str] = _usual_form,
    whole: Data | None = None,
) -> Plan:
    """Choose the likelihood if it is ``auto``, and the transform that goes with it.

    Args:
        data: The training rows.
        likelihood: The name of a likelihood, or ``auto``.
        binarize: How grey levels become bits: a key of ``aevb.datasets.schema.BINARIZE``.
        form_of: Returns the ``form`` of x ("real", "unit", "levels") for a likelihood's name, as
            ``Likelihood`` documents it.
        whole: The data that ``data`` was split from. Levels are counted there, because a rare level
            may occur only in the held-out rows.

    Raises:
        UsageError: The binarisation makes no sense for these values.
        DataError: There is only one row, all values are the same, or a column of a table of real
            numbers is constant.

    Example:
        >>> from aevb.datasets import load
        >>> from aevb.datasets.planning import plan
        >>> chosen = plan(load("gmm"))
        >>> chosen.likelihood, chosen.reason
        ('gaussian', 'real values; standardised column by column')
        >>> chosen = plan(load("digits"))
        >>> chosen.likelihood, chosen.schema.scale
        ('bernoulli', (16.0,))
    """
    _require_variety(data)
    reason = "as asked for"
    if likelihood == "auto":
        likelihood, reason = _choose(data)
    form = form_of(likelihood)
    if binarize != "none" and (form != "unit" or data.values == "real"):
        raise UsageError(
            f"binarize {binarize!r} needs grey levels and likelihood bernoulli; got {data.values}"
            f" values and likelihood {likelihood}"
        )
    if form == "levels":
        transform = _to_levels(whole or data, likelihood)
    elif form == "unit":
        transform = _to_unit(data, binarize)
    else:
        transform = _standardisation(data)
    schema = _schema(data, transform, binarize)
    treatment = schema.treatment if form == "unit" else ""
    return Plan(likelihood, schema, "; ".join(filter(None, [reason, transform.phrase, treatment])))


def _require_variety(data: Data) -> None:
    if len(data) < 2:
        notes = " ".join(["", *data.notes])  # they may say why there are so few
        raise DataError(
            f"{data.source} has 1 row to learn from; a model needs at least 2, and usually"
            f" hundreds.{notes}"
        )
    if data.range[0] == data.range[1]:
        raise DataError(
            f"{data.source}: every value is {data.range[0]:g}; a model learns nothing from a"
            " constant. Is it the right file?"
        )


def _schema(data: Data, transform: Transform, binarize: str) -> Schema:
    return Schema(
        values=data.values,
        shape=data.shape,
        dtype=str(data.rows.dtype),
        shift=transform.shift,
        scale=transform.scale,
        columns=data.columns,
        white=data.white,
        binarize=binarize if data.values in ("grey", "unit") else "none",
        resize=data.resize,
        grey=data.grey,
        levels=transform.levels,
    )


def _choose(data: Data) -> tuple[str, str]:
    """Choose a likelihood from the values: its name, and the reason."""
    if data.values == "binary":
        return "bernoulli", "all values are 0 or 1"
    if not _may_be_grey(data):
        return "gaussian", "real values"
    white = data.white or 1.0
    extreme = (
        sum(int(((rows < 0.1 * white) | (rows > 0.9 * white)).sum()) for _, rows in data.chunks())
        / data.rows.size
    )
    share = f"{extreme:.0%} of the grey levels are nearly black or white"
    return ("bernoulli", share) if extreme >= 0.5 else ("gaussian", "only " + share)


def _may_be_grey(data: Data) -> bool:
    """Whether the values may be grey levels of a picture.

    Fractions near 0 and 1 are nearly black and white in a picture. In a table they are numbers like
    any others.
    """
    if data.values == "real" or data.columns is not None:
        return False
    return data.values == "grey" or data.rows.ndim != 2


def _to_unit(data: Data, binarize: str) -> Transform:
    """Bring grey levels to [0, 1]. Other values are in [0, 1] already."""
    needless = data.values == "binary" and binarize != "none"
    return Transform(
        (0.0,),
        (data.white if data.values == "grey" and data.white else 1.0,),
        f"binary already, so binarize {binarize} changes nothing" if needless else "",
    )


def _to_levels(data: Data, likelihood: str) -> Transform:
    """Bring the integers 0, 1, ... to [0, 1]. Raises DataError for other values."""
    low, high = data.range
    fractions = data.rows.dtype.kind == "f" and any(
        bool((rows != np.round(rows)).any()) for _, rows in data.chunks()
    )
    if fractions or low < 0:
        found = "fractions" if fractions else f"values from {low:.4g}"
        raise DataError(
            f"{likelihood} needs integers from 0; {data.source} has {found}. "
            "Use likelihood gaussian for amounts, or give each category a number from 0."
        )
    if high >= MOST_LEVELS:
        raise DataError(
            f"{likelihood} needs integers below {MOST_LEVELS}; {data.source} has values up to"
            f" {high:.6g}. Use likelihood gaussian."
        )
    levels = int(max(high, data.white or 0)) + 1
    return Transform((0.0,), (levels - 1.0,), f"the integers 0 to {levels - 1}", levels)


def _standardisation(data: Data) -> Transform:
    """Bring values to mean 0 and variance 1: each column of a table, or all pixels together.

    The pixels of a picture share one unit. Pixels that never change, as in a black border, are
    therefore allowed; a constant column of a table is not.
    """
    by_column = data.columns is not None or (data.rows.ndim == 2 and data.values == "real")
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        mean, std = moments(data.rows, 0 if by_column else None)
    if not (np.isfinite(mean).all() and np.isfinite(std).all()):
        raise DataError(
            f"{data.source}: values up to {max(map(abs, data.range)):.3g} cannot be standardised."
            " Give them in other units."
        )
    if by_column:
        # A standard deviation may be so small that division by it loses all differences.
        _refuse_constants(data, np.flatnonzero(std <= np.finfo(np.float64).tiny))
    shift, scale = tuple(mean.tolist()), tuple(std.tolist())
    how = "over all values" if len(scale) == 1 else "column by column"
    return Transform(shift, scale, f"standardised {how}")


def _refuse_constants(data: Data, constant: np.ndarray) -> None:
    """Raise DataError if any columns are constant. constant: their numbers, from 0."""
    if not constant.size:
        return
    names = ", ".join(column_name(data.columns, int(i)) for i in constant[:5])
    more = ", ..." if constant.size > 5 else ""
    raise DataError(
        f"{data.source}: {constant.size} of {math.prod(data.shape)} columns are constant"
        f" ({names}{more}); a model learns nothing from a constant. Remove them."
    )
