"""Choose the likelihood that suits a data set, and the ``Schema`` that goes with it.

Both are decided from the training rows, and the reason is printed.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from aevb.datasets.checks import (
    column_name,
    refuse_narrow,
    require_complete,
)
from aevb.datasets.counts import count_likelihood, require_counts
from aevb.datasets.form import limits_of, vocabulary_of
from aevb.datasets.kinds import with_kind
from aevb.datasets.looks import channel_moments, first_fraction
from aevb.datasets.schema import Data, Schema
from aevb.datasets.stored import moments
from aevb.datasets.tabular.columns import Column, options, quoted
from aevb.datasets.tabular.families import Families, find
from aevb.datasets.tabular.number_kinds import decimals_of
from aevb.errors import DataError, UsageError

MANY = 256
"""Tables of more columns, all of them numbers without gaps, have one likelihood for all columns."""
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

    levels: how many integers 0, 1, ... a value can take, for a likelihood over levels. vocabulary:
    the tokens that occur. values: what the values are, if they are not what they look like.
    """

    shift: tuple[float, ...]
    scale: tuple[float, ...]
    phrase: str = ""
    levels: int | None = None
    vocabulary: tuple[int, ...] | None = None
    values: str | None = None


def _usual_form(likelihood: str) -> str:
    return {"bernoulli": "unit", "mixed": "columns"}.get(likelihood, "real")


def plan(
    data: Data,
    likelihood: str = "auto",
    binarize: str = "none",
    form_of: Callable[[str], str] = _usual_form,
    whole: Data | None = None,
    arrays: bool = False,
) -> Plan:
    """Choose the likelihood if it is ``auto``, and the transform that goes with it.

    Args:
        data: The training rows.
        likelihood: The name of a likelihood, or ``auto``.
        binarize: How grey levels become bits: a key of ``aevb.datasets.schema.BINARIZE``.
        form_of: Returns the ``form`` of x ("real", "unit", "levels", "counts") for a likelihood's
            name, as ``Likelihood`` documents it.
        whole: The data that ``data`` was split from. Levels are counted there, because a rare level
            may occur only in the held-out rows.
        arrays: Whether arrays without names of columns are modelled column by column, too.

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
    data = with_kind(data, "auto", likelihood, binarize)
    reason = "as asked for"
    if likelihood == "auto":
        likelihood, reason = _choose(data, arrays)
    form = form_of(likelihood)
    _require_variety(data)
    if binarize != "none" and (form != "unit" or data.values == "real"):
        raise UsageError(
            f"binarize {binarize!r} needs grey levels and likelihood bernoulli; got {data.values}"
            f" values and likelihood {likelihood}"
        )
    if form == "columns":
        return _of_columns(data, likelihood, reason)
    _require_numbers_in_columns(data, likelihood)
    transform = _transform(data, whole or data, likelihood, form, binarize)
    schema = _schema(data, whole or data, transform, binarize)
    treatment = schema.treatment if form == "unit" else ""
    return Plan(likelihood, schema, "; ".join(filter(None, [reason, transform.phrase, treatment])))


def _of_columns(data: Data, likelihood: str, reason: str) -> Plan:
    """The plan for a likelihood that models each column by its family."""
    if data.kind != "table":
        raise UsageError(
            f"likelihood {likelihood} is for tables; {data.source} holds {data.kind}. Leave the"
            " likelihood out, or give --kind table."
        )
    _require_rows(data)
    codes = np.concatenate([np.asarray(rows, np.float64) for _, rows in data.chunks()])
    columns = columns_of(data)
    families = find(codes, columns)
    schema = replace(
        _schema(data, data, Transform((0.0,), (1.0,)), "none"), families=families, limits=()
    )
    phrases = [reason, *_kept(families, columns), *_pooled(families, columns)]
    return Plan(likelihood, schema, "; ".join(phrases))


def _kept(families: Families, columns: Sequence[Column]) -> list[str]:
    """Phrases that name the rules."""
    rules = [rule.describe(columns) for rule in (*families.rules, *families.repairs)]
    more = f", and {len(rules) - 3} more" if len(rules) > 3 else ""
    return [f"kept as rules: {', '.join(rules[:3])}{more}"] if rules else []


def _pooled(families: Families, columns: Sequence[Column]) -> list[str]:
    """A phrase that names the columns whose rare levels share a class."""
    found = [
        (column.name, len(set(factor.classes)) - 1)
        for factor, column in zip(families.factors, columns, strict=True)
        if factor.classes
    ]
    if not found:
        return []
    names = quoted([name for name, _ in found], 3)
    return [f"all but the {found[0][1]} most frequent levels of {names} share one class"]


def columns_of(data: Data) -> tuple[Column, ...]:
    """The modelled columns of a table, or columns of numbers for an array without names.

    Example:
        >>> import numpy as np
        >>> from aevb.datasets import Data
        >>> from aevb.datasets.planning import columns_of
        >>> [(c.name, c.kind) for c in columns_of(Data(np.array([[1.0, 2.5]]), source="mine"))]
        [('column_1', 'integer'), ('column_2', 'real')]
    """
    if data.table is not None:
        return data.table.modelled
    import pandas as pd

    found = []
    for i in range(math.prod(data.shape)):
        cells = np.concatenate([rows.reshape(len(rows), -1)[:, i] for _, rows in data.chunks()])
        whole = bool((cells == np.rint(cells)).all())
        decimals = 0 if whole else decimals_of(pd.Series(cells.astype(np.float64)))
        kind = "integer" if whole else "real"
        name = column_name(data.columns, i)
        found.append(Column(name, kind, str(cells.dtype), decimals=decimals))
    return tuple(found)


def _transform(data: Data, whole: Data, likelihood: str, form: str, binarize: str) -> Transform:
    """Choose how rows become x of the form that the likelihood takes."""
    if data.kind == "tokens":
        return _to_tokens(whole, likelihood)
    if form == "levels":
        return _to_levels(whole, likelihood)
    if form == "counts":
        return _to_counts(whole, likelihood)
    if form == "unit":
        return _to_unit(data, likelihood, binarize)
    return _standardisation(data, whole)


def _require_variety(data: Data) -> None:
    _require_rows(data)
    if data.range[0] == data.range[1]:
        raise DataError(
            f"{data.source}: every value is {data.range[0]:g}; a model learns nothing from a"
            " constant. Is it the right file?"
        )


def _require_rows(data: Data) -> None:
    if len(data) < 2:
        notes = " ".join(["", *data.notes])  # they may say why there are so few
        raise DataError(
            f"{data.source} has 1 row to learn from; a model needs at least 2, and usually"
            f" hundreds.{notes}"
        )


def _require_numbers_in_columns(data: Data, likelihood: str) -> None:
    """Refuse columns that only the likelihood mixed models: names, and missing cells."""
    if data.table is None:
        return
    columns = [c for c in data.table.modelled if c.kind == "category" and len(c.levels) > 2]
    if not columns:
        require_complete(data, f"likelihood {likelihood}", "Leave the likelihood out")
        return
    names = [column.name for column in columns]
    ways = ["Leave the likelihood out"]
    if len(columns) < len(data.table.modelled):
        where = "columns" if len(names) > 1 else "column"
        ways.append(f"leave the {where} out with {options(names, 'ignore')}")
    # A column of pandas's type category holds no amounts, even if its levels are numbers.
    if codes := [c.name for c in columns if _is_of_numbers(c)]:
        ways.append(f"say that they are amounts with {options(codes[:1], 'integer')}")
    raise DataError(
        f"{data.source}: likelihood {likelihood} needs complete columns of numbers; the cells of"
        f" {quoted(names)} are names without an order. {', or '.join(ways)}."
    )


def _is_of_numbers(column: Column) -> bool:
    return column.dtype != "category" and not isinstance(column.levels[0], str)


def _schema(data: Data, whole: Data, transform: Transform, binarize: str) -> Schema:
    values = transform.values or data.values
    # Named columns know their limits themselves. Means of bits and of levels may be fractions.
    bare = data.kind == "table" and data.table is None
    has_limits = bare and values not in ("binary", "counts") and transform.levels is None
    return Schema(
        values=values,
        shape=data.shape,
        dtype=str(data.rows.dtype),
        shift=transform.shift,
        scale=transform.scale,
        columns=data.columns,
        white=None if values == "counts" else data.white,
        kind=data.kind,
        form=data.form,
        vocabulary=transform.vocabulary,
        binarize=binarize if values in ("grey", "unit") else "none",
        resize=data.resize,
        grey=data.grey,
        levels=transform.levels,
        table=data.table,
        limits=limits_of(whole.chunks(), whole.rows.dtype) if has_limits else (),
    )


def _choose(data: Data, arrays: bool) -> tuple[str, str]:
    """Choose a likelihood from kind and values: its name, and the reason."""
    if data.kind == "tokens":
        return "categorical", "tokens have no order"
    if data.kind == "counts":
        return count_likelihood(data)
    if data.kind == "table" and _suits_mixed(data, arrays):
        return "mixed", "each column by its own family"
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


def _suits_mixed(data: Data, arrays: bool) -> bool:
    """Whether the columns of a table are modelled one by one.

    Many columns of one unit, such as bits or genes, have cheaper likelihoods. Columns of names and
    missing cells have no other.
    """
    wide = math.prod(data.shape) > MANY
    if data.table is None:
        return arrays and not wide and data.values != "binary" and len(data.shape) == 1
    special = any(column.kind in ("category", "ordered", "date") for column in data.table.modelled)
    return special or math.isnan(data.survey.low) or not wide


def _may_be_grey(data: Data) -> bool:
    """Whether the values may be grey levels of a picture.

    Fractions near 0 and 1 are nearly black and white in a picture. In a table they are numbers like
    any others.
    """
    return data.kind == "pictures" and data.values in ("grey", "unit")


def _to_unit(data: Data, likelihood: str, binarize: str) -> Transform:
    """Bring grey levels to [0, 1]. Other values are in [0, 1] already.

    The likelihood itself refuses real numbers. But whole numbers of a table may be grey levels.
    """
    low, high = data.range
    if data.kind == "table" and low >= 0 and high > 1 and first_fraction(data) is None:
        raise DataError(
            f"{likelihood} needs x in [0, 1]; got [{low:.4g}, {high:.4g}] in {data.source}. Give"
            ' --kind pictures if these are grey levels (in Python, kind="pictures"), or use'
            " likelihood gaussian."
        )
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


def _to_tokens(data: Data, likelihood: str) -> Transform:
    """Number the tokens that occur. Raises UsageError for a likelihood that needs an order."""
    if likelihood != "categorical":
        raise UsageError(
            f"tokens need likelihood categorical; got {likelihood}. Leave the likelihood out, or"
            " give --kind table if these are numbers"
        )
    vocabulary = vocabulary_of((rows for _, rows in data.chunks()), data.source)
    levels = len(vocabulary)
    phrase = f"{levels} tokens, from {vocabulary[0]} to {vocabulary[-1]}"
    return Transform((0.0,), (levels - 1.0,), phrase, levels, vocabulary)


def _to_counts(data: Data, likelihood: str) -> Transform:
    """Keep counts as they are. Raises DataError for other values."""
    require_counts(data, likelihood)
    low, high = data.range
    return Transform((0.0,), (1.0,), f"counts from {low:.0f} to {high:.0f}", values="counts")


def _standardisation(data: Data, whole: Data) -> Transform:
    """Bring values to mean 0 and variance 1: by column, by channel, or all pixels together.

    The pixels of a picture share one unit. Pixels that never change, as in a black border, are
    therefore allowed; a constant column of a table is not, unless it changes among rows held out.
    """
    by_column = data.kind == "table" and (data.columns is not None or data.values != "binary")
    with np.errstate(over="ignore", under="ignore", invalid="ignore"):
        if data.channel_axis is not None:
            mean, std = _of_channels(data, data.channel_axis)
        else:
            mean, std = moments(data.rows, 0 if by_column else None)
    if not (np.isfinite(mean).all() and np.isfinite(std).all()):
        raise DataError(
            f"{data.source}: values up to {max(map(abs, data.range)):.3g} cannot be standardised."
            " Give them in other units."
        )
    if by_column:
        mean, std = _of_whole_where_constant(mean, std, whole)
    constant = np.empty(0, np.intp)
    if data.channel_axis is None:
        constant = refuse_narrow(data.rows, mean, std, data.columns, data.source)
    if by_column:
        # A standard deviation may be so small that division by it loses all differences.
        tiny = np.flatnonzero(std <= np.finfo(np.float64).tiny)
        _refuse_constants(data, np.union1d(constant, tiny))
    shift, scale = tuple(mean.tolist()), tuple(std.tolist())
    if data.channel_axis is not None:
        how = f"channel by channel ({data.shape[data.channel_axis]} of them)"
    else:
        how = "over all values" if len(scale) == 1 else "column by column"
    return Transform(shift, scale, f"standardised {how}")


def _of_whole_where_constant(
    mean: NDArray[np.float64], std: NDArray[np.float64], whole: Data
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Take mean and deviation from all rows for a column that is constant in the training rows."""
    constant = std <= np.finfo(np.float64).tiny
    if not constant.any():
        return mean, std
    mean_of_all, std_of_all = moments(whole.rows, 0)
    return np.where(constant, mean_of_all, mean), np.where(constant, std_of_all, std)


def _of_channels(data: Data, axis: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation of each channel: (C,) for channels on the last axis, else (D,).

    A channel that never changes is only shifted to 0.
    """
    mean, std = channel_moments(data, axis)
    std = np.where(std <= np.finfo(np.float64).tiny, 1.0, std)
    if axis == len(data.shape) - 1:
        return mean, std
    along = [-1 if i == axis else 1 for i in range(len(data.shape))]
    wide = (np.broadcast_to(each.reshape(along), data.shape).ravel() for each in (mean, std))
    return next(wide), next(wide)


def _refuse_constants(data: Data, constant: np.ndarray) -> None:
    """Raise DataError if any columns are constant. constant: their numbers, from 0."""
    if not constant.size:
        return
    names = ", ".join(column_name(data.columns, int(i)) for i in constant[:5])
    more = ", ..." if constant.size > 5 else ""
    one = constant.size == 1
    raise DataError(
        f"{data.source}: {constant.size} of {math.prod(data.shape)} columns"
        f" {'is' if one else 'are'} constant ({names}{more}); a model learns nothing from a"
        f" constant. Remove {'it' if one else 'them'}."
    )
