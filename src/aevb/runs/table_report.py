"""Generated rows of a run on a table, as codes, and their comparison with its data."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aevb.datasets.given import given
from aevb.datasets.kinds import like
from aevb.datasets.schema import Data
from aevb.datasets.tabular.columns import Column
from aevb.datasets.tabular.rules import find_rules
from aevb.errors import UsageError
from aevb.evaluation.sides import FEWEST_ROWS
from aevb.evaluation.table_cells import Rule
from aevb.evaluation.tables import MOST_ROWS, TableComparison, column_number, compare_tables
from aevb.probability.seeds import counter_seed
from aevb.runs.run import Run, Source

Floats = NDArray[np.float64]

MOST_COLUMNS = 300
"""A table of more columns is not compared column by column and pair by pair."""


def columns_of(run: Run) -> list[Column]:
    """The columns of a run's rows, or [] if these are no table.

    The columns of an array without names are column_1, column_2, ...

    Example:
        >>> import aevb
        >>> from aevb.runs.table_report import columns_of
        >>> run = aevb.fit("gmm", aevb.Config(epochs=1, hidden=(8,), latent_dim=2))
        >>> [(column.name, column.kind) for column in columns_of(run)]
        [('x', 'real'), ('y', 'real')]
    """
    schema = run.schema
    if schema.table is not None:
        found = list(schema.table.modelled)
    elif schema.kind == "table" and len(schema.shape) == 1:
        found = [_bare(run, i) for i in range(schema.data_dim)]
    else:
        found = []
    return found if len(found) <= MOST_COLUMNS else []


def _bare(run: Run, number: int) -> Column:
    """Describe a column of an array."""
    schema = run.schema
    kept = schema.form.kept if schema.form is not None else ()
    names, place = schema.columns, kept[number] if kept else number
    name = names[place] if names else f"column_{place + 1}"
    if schema.values == "binary":
        return Column(name, "boolean", schema.dtype, levels=(0, 1))
    whole = bool(schema.limits) or np.dtype(schema.dtype).kind in "iu"
    return Column(name, "integer" if whole else "real", schema.dtype)


def codes_of(run: Run, data: Source) -> Floats:
    """Return rows of the data as codes: (N, C). Of many rows, a fixed random subset is taken.

    Args:
        run: A run whose rows are a table.
        data: ``Data``, an array or a frame, the name of a data set, or a path.

    Raises:
        DataError: The rows do not have the form of the training rows.

    Example:
        >>> import aevb
        >>> from aevb.runs.table_report import codes_of
        >>> run = aevb.fit("gmm", aevb.Config(epochs=1, hidden=(8,), latent_dim=2))
        >>> codes_of(run, "gmm:test").shape
        (2000, 2)
    """
    rows = like(given(data, like=run.schema), run.schema).sample(MOST_ROWS)
    run.schema.require(rows)
    return _flat(rows.rows[:])


def sampled_codes(run: Run, n: int, *, seed: int = 0, noise: bool | None = None) -> Floats:
    """Draw n rows as a person gets them, in codes: rounded, and within the range of the column.

    Arguments are those of ``Run.sample``, which draws the same rows.

    Example:
        >>> import aevb
        >>> from aevb.runs.table_report import sampled_codes
        >>> run = aevb.fit("gmm", aevb.Config(epochs=1, hidden=(8,), latent_dim=2))
        >>> sampled_codes(run, 5).shape
        (5, 2)
    """
    table = run.schema.table
    if table is None:
        rows = Data(run.sample(n, seed=seed, noise=noise), "the samples")
        return _flat(run.schema.fitted(rows).rows[:])
    drawn = run.schema.to_data(run.sample_x(n, seed=seed, noise=noise).cpu().numpy())
    return table.encode(table.decode(drawn), "the samples")


def _flat(rows: Any) -> Floats:
    found: Floats = np.asarray(rows).reshape(len(rows), -1).astype(np.float64)
    return found


def has_distances(run: Run, *sides: Floats) -> bool:
    """Whether the Euclidean distance of two rows, in the model's numbers, means something.

    It does not if a column has names without an order, or if a cell is missing.

    Example:
        >>> import aevb, numpy as np
        >>> from aevb.runs.table_report import has_distances
        >>> run = aevb.fit("gmm", aevb.Config(epochs=1, hidden=(8,), latent_dim=2))
        >>> has_distances(run, np.ones((5, 2))), has_distances(run, np.array([[1.0, np.nan]]))
        (True, False)
    """
    table = run.schema.table
    names = table is not None and any(column.kind == "category" for column in table.modelled)
    return not names and all(bool(np.isfinite(side).all()) for side in sides)


def require_target(run: Run, target: str) -> None:
    """Raise UsageError unless ``target`` is a column of the run's table.

    Example:
        >>> import aevb
        >>> from aevb.runs.table_report import require_target
        >>> run = aevb.fit("gmm", aevb.Config(epochs=1, hidden=(8,), latent_dim=2))
        >>> require_target(run, "y")
        >>> require_target(run, "yy")
        Traceback (most recent call last):
        aevb.errors.UsageError: the target must be a modelled column of the table; got 'yy'; did \
you mean 'y'?
    """
    columns = columns_of(run)
    if not columns:
        raise UsageError(
            f"a target needs a table of at most {MOST_COLUMNS} columns, and {run.source} is none;"
            " leave the target out"
        )
    column_number(columns, target)


def compare_run(
    run: Run,
    held_out: Source,
    training: Source | None = None,
    *,
    target: str = "",
    seed: int = 0,
    noise: bool | None = None,
    rules: Sequence[Rule] | None = None,
    on_part: Callable[[int, int], None] | None = None,
) -> TableComparison | None:
    """Compare samples of a run on a table with its rows, as ``compare_tables`` does.

    As many samples as held-out rows are drawn, or as training rows if these are more and there is a
    target to learn.

    Args:
        run: The trained model.
        held_out: Rows that it was not trained on. At most 50,000 are used.
        training: Its training rows, if they are at hand. At most 50,000 are used.
        target: The name of a column that a model shall predict.
        seed: Seeds everything that is drawn.
        noise: See ``Run.sample``.
        rules: Dependencies between the modelled columns. Default: those that are found in the
            training rows.
        on_part: Called with (done, of) as the parts proceed.

    Returns:
        None if the rows are no table, or are fewer than 20.

    Raises:
        DataError: The rows do not have the form of the training rows.
        UsageError: There is no such column as ``target``.

    Example:
        >>> import aevb
        >>> from aevb.datasets import load
        >>> from aevb.runs.table_report import compare_run
        >>> run = aevb.fit("gmm", aevb.Config(epochs=1, hidden=(8,), latent_dim=2))
        >>> compare_run(run, load("gmm:test"), load("gmm")).figures["shape_error"].unit
        'fraction'
    """
    if target:
        require_target(run, target)
    columns = columns_of(run)
    if not columns:
        return None
    kept = codes_of(run, held_out)
    seen = None if training is None else codes_of(run, training)
    if min(len(kept), len(kept) if seen is None else len(seen)) < FEWEST_ROWS:
        return None
    if rules is None:
        rules = () if seen is None else find_rules(seen, columns)
    most = len(kept) if seen is None else max(len(kept), len(seen))
    made = sampled_codes(run, most, seed=counter_seed(seed, "table"), noise=noise)
    judged = made if target else made[: len(kept)]
    found = compare_tables(
        seen, kept, judged, columns, target=target, rules=rules, seed=seed, on_part=on_part
    )
    # A picture of few samples would show their chance.
    return replace(found, made=made)
