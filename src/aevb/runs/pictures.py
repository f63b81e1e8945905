"""The pictures of a run: whatever its data and its latent space allow, drawn into a folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from aevb import plots
from aevb.datasets.schema import Data
from aevb.runs.run import Run

MANIFOLD_SIDE = 15
NAMES = ("curves", "samples", "reconstructions", "interpolations", "manifold", "latent")
"""Names of all pictures that ``draw`` may make."""

MOST_COLUMNS = 5
"""A scatter matrix shows this many columns; more would be too small to read."""
MOST_DRAWN = 10_000
"""Rows of the data that pictures are made from."""


def draw(run: Run, folder: Path, data: Data | None = None) -> list[Path]:
    """Draw all pictures of a run and return their paths. data: rows to reconstruct and to place in
    the latent space."""
    return [plots.save(figure, folder / f"{name}.png") for name, figure in figures(run, data)]


def figures(run: Run, data: Data | None = None) -> Iterator[tuple[str, Figure]]:
    """(name, figure) of each picture that this run allows. Of ``data``, a fixed random subset of 10
    000 rows is seen."""
    data = None if data is None else data.sample(MOST_DRAWN)
    if run.history:
        yield "curves", plots.curves(run.history)
    if run.schema.is_picture:
        yield "samples", sample_figure(run, 100)
        yield from _picture_figures(run, data)
    elif data is not None:
        yield "samples", table_figure(run, data, len(data))
        if run.schema.data_dim == 2 and run.model.latent_dim == 2:
            yield (
                "manifold",
                plots.warped_grid(
                    data.rows[:2000], _decoded_grid_lines(run), column_names(run)[:2]
                ),
            )
    if data is not None and run.model.latent_dim >= 2:
        yield "latent", latent_figure(run, data)


def drawn_from(noise: bool) -> str:
    """What samples are, as a phrase to print."""
    return "drawn from p(x|z)" if noise else "means of p(x|z)"


def sample_figure(run: Run, n: int, *, seed: int = 0, noise: bool = False) -> Figure:
    """A sheet of n generated pictures: means of p(x|z), or draws from it if ``noise``."""
    columns = max(1, round(n**0.5))
    title = f"{n} samples, {drawn_from(noise)}, z ~ p(z)"
    return plots.grid(to_pictures(run, run.sample(n, seed=seed, noise=noise)), columns, title)


def table_figure(run: Run, data: Data, n: int, *, seed: int = 0, noise: bool = True) -> Figure:
    """n generated rows of a table beside the data: draws from p(x|z), since its means vary less
    than the data does."""
    generated = run.sample(n, seed=seed, noise=noise)
    real, made = (rows[:2000].reshape(min(2000, len(rows)), -1) for rows in (data.rows, generated))
    names, title = column_names(run), f"generated: {drawn_from(noise)}, z ~ p(z)"
    if real.shape[1] == 2:
        return plots.scatter(real, made, names, title)
    return plots.scatter_matrix(
        real[:, :MOST_COLUMNS], made[:, :MOST_COLUMNS], names[:MOST_COLUMNS], title
    )


def latent_figure(run: Run, data: Data) -> Figure:
    """Posterior means of the first 5000 rows in the two latent dimensions that carry most: whose
    means vary most."""
    shown = data.take(np.arange(min(5000, len(data))))
    codes, _ = run.encode(shown)
    first, second = np.sort(np.argsort(-codes.var(axis=0), kind="stable")[:2])
    return plots.latent_scatter(
        codes[:, [first, second]], shown.labels, (f"$z_{{{first + 1}}}$", f"$z_{{{second + 1}}}$")
    )


def to_pictures(run: Run, rows: NDArray[Any], like: Data | None = None) -> NDArray[Any]:
    """rows: (N, *shape) -> (N, H, W) or (N, H, W, 3) in [0, 1], black and white where the data has
    them."""
    schema = run.schema
    if schema.kind != "real":
        return plots.as_pictures(rows, 0.0, schema.white or 1.0)
    low, high = (float(rows.min()), float(rows.max())) if like is None else like.range
    return plots.as_pictures(rows, low, high)


def _picture_figures(run: Run, data: Data | None) -> Iterator[tuple[str, Figure]]:
    if data is not None:
        shown = data.take(np.arange(min(36, len(data))))
        yield (
            "reconstructions",
            plots.reconstructions(
                to_pictures(run, shown.rows[:], shown),
                to_pictures(run, run.reconstruct(shown), shown),
            ),
        )
        if len(data) >= 12:
            yield "interpolations", _interpolation_figure(run, data)
    if run.model.latent_dim == 2:
        z = _probability_grid(MANIFOLD_SIDE)
        # The first row of the picture is the top of the plane.
        points = np.stack(np.meshgrid(z, z[::-1]), axis=-1).reshape(-1, 2)
        yield "manifold", plots.manifold(to_pictures(run, run.decode(points)), z)


def _interpolation_figure(run: Run, data: Data, lines: int = 6, steps: int = 12) -> Figure:
    """From one row of the data to another, along a straight line between their posterior means."""
    ends, _ = run.encode(data.take(np.random.default_rng(0).permutation(len(data))[: 2 * lines]))
    weight = np.linspace(0, 1, steps)[None, :, None]
    z = ends[:lines, None] * (1 - weight) + ends[lines:, None] * weight
    pictures = to_pictures(run, run.decode(z.reshape(-1, z.shape[-1])))
    return plots.grid(pictures, steps, "straight lines between the codes of two given pictures")


def _probability_grid(n: int) -> NDArray[Any]:
    """n quantiles of N(0, 1) at equal steps of probability: (n,). The paper's figure 4 uses this
    map."""
    quantiles: NDArray[Any] = torch.special.ndtri(
        torch.linspace(0.5 / n, 1 - 0.5 / n, n, dtype=torch.float64)
    ).numpy()
    return quantiles


def _decoded_grid_lines(run: Run, lines: int = 20, points: int = 100) -> list[NDArray[Any]]:
    """Lines of constant z_1 and of constant z_2, at equal steps of prior probability, decoded:
    (points, 2) each."""
    along, fixed = _probability_grid(points), _probability_grid(lines)
    vertical = [np.stack([np.full(points, value), along], axis=1) for value in fixed]
    return [run.decode(line) for line in vertical + [line[:, ::-1].copy() for line in vertical]]


def column_names(run: Run) -> tuple[str, ...]:
    """Names of the D numbers of a row: a table's own, else column_1, column_2, ..., as of a table
    without a header."""
    return run.schema.columns or tuple(f"column_{i + 1}" for i in range(run.schema.data_dim))
