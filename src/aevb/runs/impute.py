"""Fill the missing cells of a table: ``run.impute`` and ``aevb impute``."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aevb.datasets.asked.filling import filled_frame, read_gappy, versions_frame
from aevb.datasets.tabular.cells import LEVELLED
from aevb.datasets.tabular.columns import Table
from aevb.datasets.tabular.frames import frame_like
from aevb.errors import UsageError
from aevb.evaluation.conditional import Completed, complete_rows
from aevb.evaluation.partial import Partial
from aevb.runs.given import HOPELESS, inward, outward, require_cells

if TYPE_CHECKING:
    from aevb.runs.run import Run

METHODS = ("mean", "draw")
"""Fill a cell with its conditional mean (its mode, for levels), or with a draw."""
PROPOSALS = 50
"""Draws for each row, at least."""


def impute(
    run: Run, data: Any, *, draws: int | None = None, method: str = "", seed: int = 0
) -> Any:
    """Fill the missing cells of a table. See ``Run.impute``."""
    table = require_cells(run, "impute")
    rows = read_gappy(data, run.schema)
    filled = fill(run, rows.codes, draws=draws, method=method, seed=seed)
    frames = [filled_frame(rows.frame, table, codes, filled.missing) for codes in filled.codes]
    return frame_like(frames[0] if draws is None else versions_frame(frames), rows.library)


class Filled(NamedTuple):
    """The codes of rows whose missing cells are filled.

    Args:
        codes: (M, N, C): M versions of N rows.
        missing: (N, C), the cells that were missing.
        poor: How many of the rows are based on an effective sample size below 10.

    Example:
        >>> import numpy as np
        >>> from aevb.runs.impute import Filled
        >>> Filled(np.zeros((5, 3, 2)), np.zeros((3, 2), bool), 0).codes.shape
        (5, 3, 2)
    """

    codes: NDArray[np.float64]
    missing: NDArray[np.bool_]
    poor: int


def fill(
    run: Run,
    codes: NDArray[np.float64],
    *,
    draws: int | None = None,
    method: str = "",
    samples: int = PROPOSALS,
    seed: int = 0,
    on_rows: Callable[[int], None] | None = None,
) -> Filled:
    """Fill the missing cells of rows, given their other cells.

    Args:
        run: A run of a table.
        codes: (N, C), NaN for a missing cell.
        draws: M, how many versions to draw. None: one version.
        method: A name in ``METHODS``. "": "draw" if ``draws`` are given, else "mean".
        samples: Draws of (z, missing cells) for each row; at least four times ``draws`` are made.
        seed: Seeds the draws.
        on_rows: Called with the number of rows each time some are done.

    Raises:
        UsageError: The run does not take missing cells, or an argument cannot be used.
    """
    table = require_cells(run, "impute")
    method = _method(draws, method)
    if samples < 1:
        raise UsageError(f"samples must be at least 1; got {samples}. The default is {PROPOSALS}.")
    versions = draws or 1
    missing = np.isnan(codes)
    found = np.repeat(codes[None], versions, 0)
    gappy = np.flatnonzero(missing.any(1))
    if on_rows:
        on_rows(len(codes) - len(gappy))
    rows, back, counts = _distinct(codes[gappy], method)
    members = np.argsort(back, kind="stable")
    ends = np.cumsum(counts)
    poor = 0
    partial = _partial(run, rows)
    for done in complete_rows(run.model, partial, samples=max(samples, 4 * versions), seed=seed):
        at = done.rows.cpu().numpy()
        # No draw of a row whose known cells are impossible has a weight: then all count alike.
        lost = done.effective == 0
        done = done._replace(weight=done.weight.masked_fill(lost, 1 / len(done.weight)))
        values = _means(run, table, done)[None] if method == "mean" else _draws(run, done, versions)
        poor += int(((done.effective < HOPELESS).cpu().numpy() * counts[at]).sum())
        lines = np.concatenate([members[ends[i] - counts[i] : ends[i]] for i in at])
        found[:, gappy[lines]] = np.repeat(values, counts[at], axis=1)
        if on_rows:
            on_rows(len(lines))
    return Filled(np.where(missing, found, codes), missing, poor)


def _method(draws: int | None, method: str) -> str:
    if draws is not None and draws < 1:
        raise UsageError(f"draws must be at least 1; got {draws}. Give 5, for example.")
    if method not in ("", *METHODS):
        raise UsageError(f"method must be mean or draw; got {method!r}. The default is mean.")
    if method == "mean" and draws is not None:
        raise UsageError("draws are of the method draw; give draws or the method mean, not both")
    return method or ("mean" if draws is None else "draw")


def _distinct(
    codes: NDArray[np.float64], method: str
) -> tuple[NDArray[np.float64], NDArray[np.intp], NDArray[np.intp]]:
    """The distinct rows, the number of each row among them, and how often each one occurs.

    Equal rows have equal means, but draws of their own.
    """
    if method == "draw" or not len(codes):
        everyone = np.arange(len(codes))
        return codes, everyone, np.ones(len(codes), np.intp)
    filled = np.where(np.isnan(codes), np.inf, codes)
    _, first, back, counts = np.unique(
        filled, axis=0, return_index=True, return_inverse=True, return_counts=True
    )
    return codes[first], back.ravel(), counts


def _partial(run: Run, codes: NDArray[np.float64]) -> Partial:
    """Rows with unknown cells, none of which turns out to be missing."""
    import torch

    x = inward(run, codes)
    missing = torch.as_tensor(np.isnan(codes), device=x.device)
    return Partial(x.masked_fill(missing, torch.nan), gaps=False)


def _draws(run: Run, done: Completed, versions: int) -> NDArray[np.float64]:
    """M completions of each row as codes: (M, B, C)."""
    x = done.draw(versions)
    return outward(run, x.flatten(0, 1)).reshape(x.shape)


def _means(run: Run, table: Table, done: Completed) -> NDArray[np.float64]:
    """The means of the completions of each row as codes, or the modes of levels: (B, C)."""
    codes = outward(run, done.x.flatten(0, 1)).reshape(done.x.shape)
    weight = done.weight.cpu().numpy()
    found: NDArray[np.float64] = np.einsum("kb,kbc->bc", weight, np.nan_to_num(codes))
    rows = np.arange(codes.shape[1])
    for i, column in enumerate(table.modelled):
        if column.kind in LEVELLED:
            shares = np.zeros((codes.shape[1], len(column.levels)))
            levels = np.nan_to_num(codes[:, :, i]).round().astype(np.intp)
            for level, part in zip(levels, weight, strict=True):
                np.add.at(shares, (rows, level), part)
            found[:, i] = shares.argmax(1)
    return found
