"""Draw new rows of a table under conditions, such as sex=Female and age>=60."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aevb.datasets.asked.condition_table import codes_of_conditions
from aevb.datasets.asked.condition_text import read_conditions
from aevb.datasets.asked.conditions import Conditions, settled
from aevb.datasets.tabular.columns import Table
from aevb.datasets.tabular.frames import frame_kind, frame_of, to_pandas
from aevb.errors import DataError, UsageError
from aevb.evaluation.bound import evaluating
from aevb.evaluation.conditional import REPEATED, Pool, complete_rows, sample_given
from aevb.evaluation.partial import Accept, Partial, propose
from aevb.probability.seeds import counter_seed

if TYPE_CHECKING:
    from aevb.runs.run import Run

BLOCK = 20_000
"""At most this many rows are chosen from one pool of draws."""
LIMIT = 2**16
"""After so many draws, and ``LIMIT_OF_EACH`` for each row, rows may begin as copies."""
LIMIT_OF_EACH = 64
HOPELESS = 10.0
"""Below this effective sample size a condition is refused."""
TRIED = 4096
"""Rows of the model that tell how rare each condition is by itself."""
PROPOSALS = 32
"""Draws for each row of a table of conditions."""


class Answer(NamedTuple):
    """Rows under conditions, as codes, and how hard they were to find.

    Args:
        codes: (n, C), a code for each modelled column.
        effective: The effective sample size of all draws, which is at least 10.
        proposals: How many draws were made.
        repeated: The share of the rows that began as a copy of another and were moved apart.

    Example:
        >>> import numpy as np
        >>> from aevb.runs.given import Answer
        >>> Answer(np.zeros((100, 2)), 800.0, 1000, 0.0).said()
        'effective sample size 800 of 1,000 draws (80%)'
    """

    codes: NDArray[np.float64]
    effective: float
    proposals: int
    repeated: float

    def said(self) -> str:
        """Say how good the sample is, as a phrase."""
        share = f"{100 * self.effective / max(1, self.proposals):.2g}%"
        phrase = (
            f"effective sample size {self.effective:,.0f} of {self.proposals:,} draws ({share})"
        )
        if self.repeated > REPEATED:
            phrase += (
                f"; {100 * self.repeated:.2g}% of the rows began as copies of others, because so"
                " few draws meet the condition, and were moved apart"
            )
        return phrase


def require_cells(run: Run, what: str) -> Table:
    """Return the table of a run whose model takes missing cells.

    Args:
        run: The run.
        what: What it is needed for, to begin the message with.

    Raises:
        UsageError: The run is not of a table, or its likelihood does not take missing cells.

    Example:
        >>> import aevb
        >>> from aevb.runs.given import require_cells
        >>> run = aevb.fit("moons", aevb.Config(epochs=1, hidden=(8,), latent_dim=2))
        >>> require_cells(run, "--given")
        Traceback (most recent call last):
        aevb.errors.UsageError: --given is for tables; this run was trained on moons, which is \
none; give a run of a table
    """
    if run.schema.table is None:
        raise UsageError(
            f"{what} is for tables; this run was trained on {run.source}, which is none; give a run"
            " of a table"
        )
    if run.model.likelihood.form != "columns":
        raise UsageError(
            f"{what} needs a model that takes missing cells; this run has the likelihood"
            f" {run.likelihood}; use a run that was trained with --likelihood mixed"
        )
    return run.schema.table


def inward(run: Run, codes: NDArray[np.float64]) -> Tensor:
    """Turn codes of the modelled columns into the model's numbers: (N, C) -> (N, C)."""
    x = run.schema.numbers(codes, np.arange(len(codes)))
    return torch.as_tensor(x, dtype=_type_of(run), device=run.device)


def outward(run: Run, x: Tensor) -> NDArray[np.float64]:
    """Turn the model's numbers into codes of the modelled columns: (N, C) -> (N, C)."""
    return np.asarray(run.schema.to_data(x.cpu().numpy()), np.float64)


def _type_of(run: Run) -> torch.dtype:
    return next(run.model.parameters(), torch.empty(0)).dtype


def partial_of(run: Run, codes: NDArray[np.float64]) -> Partial:
    """Rows whose codes are fixed, but for NaN, where a cell is unknown: (N, C)."""
    x = inward(run, codes)
    return Partial(x.masked_fill(torch.as_tensor(np.isnan(codes), device=x.device), torch.nan))


def sample_frame(run: Run, n: int | None, given: Any, *, seed: int = 0) -> Any:
    """Draw rows under conditions, as a frame of the library that the data came from.

    Args:
        run: A run of a table.
        n: How many rows, or None for a data frame of conditions.
        given: Conditions, or a data frame of them.
        seed: Seeds the draws.

    Raises:
        UsageError: ``n`` cannot be used, or a condition cannot be read or met.
        DataError: A data frame of conditions has a column or a cell that the model cannot have.
    """
    table = require_cells(run, "given")
    if frame_kind(given):
        found = row_for_each(run, given, seed=seed)
        if n is not None and n != len(found.codes):
            raise UsageError(
                f"the conditions have {len(found.codes)} rows, one for each new row, and n is {n};"
                " give no n"
            )
        return frame_of(found.codes, table, found.aside)
    if n is None or n < 1:
        raise UsageError(f"the number of samples must be at least 1; got {n}")
    return frame_of(rows_given(run, n, given, seed=seed).codes, table)


# -------------------------------------------------------------------------------------------------
# one set of conditions


def rows_given(
    run: Run,
    n: int,
    given: Any,
    *,
    seed: int = 0,
    on_rows: Callable[[int], None] | None = None,
) -> Answer:
    """Draw n rows that meet conditions.

    Args:
        run: A run of a table.
        n: How many rows.
        given: Conditions, as ``read_conditions`` takes them.
        seed: Seeds the draws.
        on_rows: Called with the number of rows that are done so far.

    Raises:
        UsageError: A condition cannot be read or met, or nearly no row meets all of them.
    """
    table = require_cells(run, "--given")
    conditions = read_conditions(table, given)
    partial = _partial(run, conditions)
    found, effective, proposals, repeated = [], 0.0, 0, 0.0
    for start in range(0, n, BLOCK):
        size = min(BLOCK, n - start)
        pool = sample_given(
            run.model,
            partial,
            size,
            limit=LIMIT + LIMIT_OF_EACH * size,
            seed=counter_seed(seed, "block", start),
            on_rows=None if on_rows is None else lambda done, at=start: on_rows(at + done),  # type: ignore[misc]
        )
        if pool.effective < HOPELESS:
            raise _too_rare(run, conditions, pool)
        codes = _with_fixed(conditions, outward(run, pool.x))
        assert conditions.keeps(codes).all()
        found.append(codes)
        effective, proposals = effective + pool.effective, proposals + pool.proposals
        repeated += pool.repeated * size / n
    return Answer(np.concatenate(found), effective, proposals, repeated)


def _partial(run: Run, conditions: Conditions) -> Partial:
    """The row that conditions fix, and what they say about its other cells."""
    codes = conditions.codes()
    x = inward(run, codes)
    fixed = np.zeros(codes.shape, bool)
    rest = []
    for part in conditions.parts:
        at = conditions.index(part)
        fixed[0, at] = part.single is not None and not follows(run, at)
        if not fixed[0, at]:
            rest.append(part)
    x = x.masked_fill(torch.as_tensor(~fixed, device=x.device), torch.nan)
    accept = _accept(run, Conditions(conditions.table, tuple(rest))) if rest else None
    return Partial(x, accept=accept)


def follows(run: Run, column: int) -> bool:
    """Whether a column of the model is a function of others, so that it cannot be fixed itself."""
    factors = getattr(run.model.likelihood, "factors", ())
    return bool(factors) and factors[column].family == "follows"


def _accept(run: Run, conditions: Conditions) -> Accept:
    def accept(x: Tensor, _: Tensor) -> Tensor:
        kept = conditions.keeps(outward(run, x.reshape(-1, x.shape[-1])))
        return torch.as_tensor(kept, device=x.device).reshape(x.shape[:-1])

    return accept


def _with_fixed(conditions: Conditions, codes: NDArray[np.float64]) -> NDArray[np.float64]:
    """Put the codes that conditions fix into rows, exactly as they were given."""
    for part in conditions.parts:
        if part.single is not None:
            codes[:, conditions.index(part)] = part.single
    return codes


def _too_rare(run: Run, conditions: Conditions, pool: Pool) -> UsageError:
    """The error for conditions that nearly no row meets: how rare they are, and what to loosen."""
    rarest, share = _rarest(run, conditions)
    several = len(conditions.parts) > 1
    how = (
        f"not one of {pool.proposals:,} rows drawn by the model has"
        if pool.effective == 0
        else f"the model's rows hardly ever have (about {pool.probability:.1g} of them)"
        if not any(part.is_of_density for part in conditions.parts)
        else f"{pool.proposals:,} draws are worth only {pool.effective:.1f} rows that have"
    )
    alone = f"fewer than 1 in {TRIED:,}" if share == 0 else f"{100 * share:.2g}%"
    what = (
        f"; the rarest alone is {rarest}, which {alone} of its rows have. Loosen it or leave it out"
        if several
        else ". Loosen it, for example to a wider range"
    )
    return UsageError(f"{how} {conditions}{what}.")


@torch.no_grad()
def _rarest(run: Run, conditions: Conditions) -> tuple[str, float]:
    """The condition that the fewest rows of the model meet, and their share."""
    free = torch.full((1, len(conditions.table.modelled)), torch.nan, dtype=_type_of(run))
    with evaluating(run.model):
        torch.manual_seed(counter_seed(0, "rare"))
        codes = outward(run, propose(run.model, Partial(free.to(run.device)), TRIED).x[:, 0])
    parts = [part for part in conditions.parts if not part.is_of_density] or conditions.parts
    shares = [float(part.keeps(codes[:, conditions.index(part)]).mean()) for part in parts]
    least = int(np.argmin(shares))
    return parts[least].text, shares[least]


# -------------------------------------------------------------------------------------------------
# a table of conditions


class Each(NamedTuple):
    """One row for each row of a table of conditions.

    Args:
        codes: (N, C).
        aside: The identifiers of the table of conditions, if it has any.
        poor: How many rows are based on an effective sample size below 10.
    """

    codes: NDArray[np.float64]
    aside: dict[str, Any]
    poor: int


def row_for_each(
    run: Run,
    given: Any,
    source: str = "the conditions",
    *,
    seed: int = 0,
    on_rows: Callable[[int], None] | None = None,
) -> Each:
    """Draw one row for each row of a table of conditions, in the same order.

    A cell that is missing there, or whose column is absent, is free.

    Args:
        run: A run of a table.
        given: A frame with some of the columns of the table.
        source: The name of the conditions, for messages.
        seed: Seeds the draws.
        on_rows: Called with the number of rows that were done since the last call.

    Raises:
        DataError: A column or a cell is not known to the model, or no row can meet a condition.
    """
    table = require_cells(run, "--given-file")
    frame = to_pandas(given)
    codes = codes_of_conditions(table, frame, source)
    partial = partial_of(run, codes)
    following = [i for i in range(codes.shape[1]) if follows(run, i)]
    if following:
        partial = _following(run, partial, codes, following)
    found = np.empty_like(codes)
    poor = 0
    for done in complete_rows(run.model, partial, samples=PROPOSALS, seed=seed):
        rows = done.rows.cpu().numpy()
        reached = done.effective.cpu().numpy()
        if (reached == 0).any():
            row = int(rows[reached == 0][0]) + 1
            raise DataError(
                f"{source}: no row that the model draws meets the conditions of row {row}; leave"
                " some of its cells empty"
            )
        poor += int((reached < HOPELESS).sum())
        found[rows] = outward(run, done.draw(1)[0])
        if on_rows:
            on_rows(len(rows))
    found = np.where(np.isnan(codes), found, codes)
    return Each(found, table.aside(frame), poor)


def _following(
    run: Run, partial: Partial, codes: NDArray[np.float64], columns: list[int]
) -> Partial:
    """Leave the cells open that follow from others, and accept only draws that agree with them."""
    x = partial.x.clone()
    x[:, columns] = torch.nan
    wanted = codes[:, columns]
    modelled = run.schema.table.modelled if run.schema.table else ()

    def accept(x: Tensor, rows: Tensor) -> Tensor:
        drawn = outward(run, x.reshape(-1, x.shape[-1]))[:, columns].reshape(*x.shape[:-1], -1)
        asked = wanted[rows.cpu().numpy()]
        kept = np.ones(x.shape[:-1], bool)
        for i, column in enumerate(columns):
            got = settled(modelled[column], drawn[..., i])
            kept &= np.isnan(asked[:, i]) | (got == asked[:, i])
        return torch.as_tensor(kept, device=x.device)

    return partial._replace(x=x, accept=accept)
