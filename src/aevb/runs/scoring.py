"""Score the rows of a run: log p(x) of each row, and what each column adds to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aevb.datasets.draws import content_numbers, uniforms
from aevb.evaluation.column_scores import cell_scores, cell_units, contributions, oddness
from aevb.evaluation.log_likelihood import RowScores, score_rows
from aevb.parts.likelihoods.mixed import Mixed
from aevb.probability.seeds import counter_seed
from aevb.runs.given import require_cells

if TYPE_CHECKING:
    from aevb.runs.run import Run, Source

PART = 2048
"""Rows that become the model's numbers at once. It changes no result."""
ORDINARY = 128
"""Rows that the model draws, to see what the score of a cell is like in an ordinary row."""
ODDNESS = "oddness"
"""The name of the array that ranks rows by how odd they are."""
CONTRIBUTIONS, ODDEST = "contributions", "oddest"
"""The names of the arrays that say which columns make a row odd."""


def score(
    run: Run,
    data: Source,
    *,
    samples: int = 1000,
    seed: int = 0,
    columns: bool = False,
    on_rows: Callable[[int], None] | None = None,
) -> dict[str, NDArray[Any]]:
    """Measure how likely each row is. See ``Run.score``."""
    if columns:
        require_cells(run, "the contribution of each column")
    found: list[tuple[RowScores, Tensor | None, Tensor | None]] = []
    units: list[Tensor] = []
    likelihood = run.model.likelihood
    for x in parts_by_content(run, data, seed):
        scores = score_rows(
            run.model,
            x,
            samples=samples,
            seed=seed,
            log_jacobian=run.log_jacobian,
            on_rows=on_rows,
        )
        cells = _cells(run, x, seed) if columns else None
        if isinstance(likelihood, Mixed):
            units.append(cell_units(likelihood.factors, x))
        found.append((scores, _baseline_row_by_row(run, x), cells))
    result = _joined([scores for scores, _, _ in found], [each for _, each, _ in found])
    if units:
        result[ODDNESS] = -(result["log_likelihood"] + torch.cat(units).sum(1).numpy())
    if columns:
        of_cells = [each for *_, each in found if each is not None]
        result |= _of_columns(run, result["log_likelihood"], of_cells, units, seed)
    return result


def _joined(
    scores: Sequence[RowScores], baselines: Sequence[Tensor | None]
) -> dict[str, NDArray[Any]]:
    """Put the scores of all parts into arrays by name: (N,) each."""
    names = ("log_likelihood", "effective_sample_size", "bound", "reconstruction", "kl")
    parts = {name: [getattr(each, name) for each in scores] for name in names}
    parts["baseline"] = [each for each in baselines if each is not None]
    return {name: torch.cat(each).double().cpu().numpy() for name, each in parts.items() if each}


def parts_by_content(run: Run, data: Source, seed: int) -> Iterator[Tensor]:
    """Yield x of all rows in parts. Random bits depend on what is in a row, not on its number.

    So a row becomes the same bits alone and among others.
    """
    at_random = run.schema.binarize in ("static", "dynamic")
    rows = run.stored(data, seed, binarize="none" if at_random else "")
    for x in rows.split(PART):
        if at_random:
            numbers = content_numbers(x.cpu().numpy())
            u = torch.from_numpy(uniforms(counter_seed(seed, "binarize"), numbers, x.shape[1]))
            x = (u.to(x) < x).to(x.dtype)
        yield x


def _cells(run: Run, x: Tensor, seed: int) -> Tensor:
    """d_c of each cell: (N, C), NaN where nothing is known of the cell."""
    modelled = run.schema.table.modelled if run.schema.table else ()
    discrete = torch.tensor([column.kind != "real" for column in modelled])
    found = cell_scores(run.model, x, discrete=discrete, seed=seed)
    return found.masked_fill(x.isnan(), torch.nan)


def _of_columns(
    run: Run,
    log_likelihood: NDArray[Any],
    parts: Sequence[Tensor],
    units: Sequence[Tensor],
    seed: int,
) -> dict[str, NDArray[Any]]:
    """The contributions of the columns (N, C), and the name of each row's oddest column (N,)."""
    cells = torch.cat(list(parts)).cpu()
    x = run.sample_x(ORDINARY, seed=seed)
    ordinary = _cells(run, x, seed).cpu()
    known = ~cells.isnan()
    cells = cells.nan_to_num(0.0)
    comparable = cells
    if units and isinstance(run.model.likelihood, Mixed):
        comparable = cells + torch.cat(list(units))
        ordinary = ordinary + cell_units(run.model.likelihood.factors, x)
    oddest = oddness(comparable, ordinary).masked_fill(~known, -torch.inf).argmax(1).numpy()
    names = np.array(run.schema.columns, dtype=np.str_)
    return {
        CONTRIBUTIONS: contributions(torch.as_tensor(log_likelihood), cells, known).numpy(),
        ODDEST: names[oddest],
    }


def _baseline_row_by_row(run: Run, x: Tensor) -> Tensor | None:
    """Return ``baseline_rows``. Sums over several rows at once may round differently."""
    if run.baseline is None:
        return None
    rows = (run.baseline_rows(row) for row in x.split(1))
    return torch.cat([row for row in rows if row is not None])
