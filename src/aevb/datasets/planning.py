"""Which likelihood suits the rows, and which transform goes with it: decided from the training
rows, and said."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from aevb.datasets.schema import Data, Schema, column_name
from aevb.datasets.stored import moments
from aevb.errors import DataError, UsageError

MOST_LEVELS = 4096
"""Integers up to here may be levels; beyond, they are amounts or names of rows."""


@dataclass(frozen=True)
class Plan:
    """What was decided about a data set: ``likelihood`` by name, the ``schema``, and ``reason``, a
    phrase to print."""

    likelihood: str
    schema: Schema
    reason: str


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

    form_of: from the name of a likelihood to the ``form`` of its x, as ``Likelihood`` documents it.
    whole: what ``data`` was split from; levels are counted there, since a rare one may by chance be
    in the rows held out alone. Raises UsageError for a binarisation that makes no sense here,
    DataError for a single row, for values that are all the same, and for constant columns of a
    table of real numbers.
    """
    if len(data) < 2:
        raise DataError(
            f"{data.source} has 1 row to learn from; a model needs at least 2, and usually"
            " hundreds."
        )
    if data.range[0] == data.range[1]:
        raise DataError(
            f"{data.source}: every value is {data.range[0]:g}; a constant has nothing to learn. The"
            " right file?"
        )
    kind = data.kind
    reason = "as asked for"
    if likelihood == "auto":
        likelihood, reason = _choose(data, kind)
    form = form_of(likelihood)
    if binarize != "none" and (form != "unit" or kind == "real"):
        raise UsageError(
            f"binarize {binarize!r} needs grey levels and likelihood bernoulli; got {kind} values"
            f" and likelihood {likelihood}"
        )
    shift: tuple[float, ...]
    scale: tuple[float, ...]
    levels = None
    if form == "levels":
        levels = _levels(whole or data, likelihood)
        shift, scale = (0.0,), (levels - 1.0,)
        reason += f"; the integers 0 to {levels - 1}"
    elif form == "unit":
        shift, scale = (0.0,), (data.white if kind == "grey" and data.white else 1.0,)
        if kind == "binary" and binarize != "none":
            reason += f"; binary already, so binarize {binarize} changes nothing"
    else:
        shift, scale = _standardisation(data, kind)
        reason += "; standardised " + ("as a whole" if len(scale) == 1 else "column by column")
    schema = Schema(
        kind=kind,
        shape=data.shape,
        dtype=str(data.rows.dtype),
        shift=shift,
        scale=scale,
        columns=data.columns,
        white=data.white,
        binarize=binarize if kind in ("grey", "unit") else "none",
        resize=data.resize,
        grey=data.grey,
        levels=levels,
    )
    if form == "unit" and schema.treatment:
        reason += f"; {schema.treatment}"
    return Plan(likelihood, schema, reason)


def _choose(data: Data, kind: str) -> tuple[str, str]:
    if kind == "binary":
        return "bernoulli", "all values are 0 or 1"
    # Fractions near 0 and 1 are nearly black and white in a picture; in a table they are numbers
    # like any others.
    if kind == "real" or data.columns is not None or (kind == "unit" and data.rows.ndim == 2):
        return "gaussian", "real values"
    white = data.white or 1.0
    extreme = (
        sum(int(((rows < 0.1 * white) | (rows > 0.9 * white)).sum()) for _, rows in data.chunks())
        / data.rows.size
    )
    what = f"{extreme:.0%} of the grey levels are nearly black or white"
    return ("bernoulli", what) if extreme >= 0.5 else ("gaussian", "only " + what)


def _levels(data: Data, likelihood: str) -> int:
    """How many integers 0, 1, ... the values can be. Raises DataError if they are no such integers."""
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
    return int(max(high, data.white or 0)) + 1


def _standardisation(data: Data, kind: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Shift and scale to mean 0 and variance 1: column by column for a table, as a whole for
    pictures.

    A picture's pixels share one unit, and some never change (a black border), which is no defect.
    """
    as_table = data.columns is not None or (data.rows.ndim == 2 and kind == "real")
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        mean, std = moments(data.rows, 0 if as_table else None)
    if not (np.isfinite(mean).all() and np.isfinite(std).all()):
        raise DataError(
            f"{data.source}: values up to {max(map(abs, data.range)):.3g} cannot be standardised."
            " Give them in other units."
        )
    # A standard deviation of 0, or so small that dividing by it leaves nothing of the differences.
    constant = np.flatnonzero(std <= np.finfo(np.float64).tiny) if as_table else np.empty(0)
    if constant.size:
        names = ", ".join(column_name(data.columns, int(i)) for i in constant[:5]) + (
            ", ..." if constant.size > 5 else ""
        )
        raise DataError(
            f"{data.source}: {constant.size} of {len(std)} columns are constant ({names}); "
            "a constant has nothing to learn. Remove them."
        )
    return tuple(mean.tolist()), tuple(std.tolist())
