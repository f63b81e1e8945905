"""Draw the pictures of a run. Its data and its latent space decide which there are."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure
from numpy.typing import NDArray

from aevb import plots
from aevb.datasets.kinds import like
from aevb.datasets.schema import Data
from aevb.evaluation.table_columns import is_number
from aevb.runs.run import Run
from aevb.runs.table_pictures import page
from aevb.runs.table_report import codes_of, columns_of, sampled_codes

NAMES = ("curves", "samples", "table", "reconstructions", "interpolations", "manifold", "latent")
"""Names of all pictures that ``draw`` may make."""

MANIFOLD_SIDE = 15
"""Pictures along each side of the manifold."""
MOST_COLUMNS = 5
"""A scatter matrix shows this many columns. More would be too small to read."""
MOST_DRAWN = 10_000
"""Pictures are made from at most this many rows of the data."""
MOST_POINTS = 2000
"""A scatter plot of rows shows at most this many."""
MOST_CODES = 5000
"""A scatter plot of codes shows at most this many."""


def draw(run: Run, folder: Path, data: Data | None = None) -> list[Path]:
    """Draw all pictures of a run into a folder, and return their paths.

    Args:
        run: The trained model.
        folder: Where the PNG files go. It is made if there is none.
        data: Rows to reconstruct and to place in the latent space.

    Example:
        >>> import aevb
        >>> from pathlib import Path
        >>> from aevb.datasets import load
        >>> from aevb.runs.pictures import draw
        >>> run = aevb.fit("gmm", aevb.Config(epochs=2, hidden=(8,), latent_dim=2))
        >>> [path.name for path in draw(run, Path("pictures"), load("gmm:test"))]
        ['curves.png', 'samples.png', 'manifold.png', 'latent.png']
    """
    return [plots.save(figure, folder / f"{name}.png") for name, figure in figures(run, data)]


def figures(run: Run, data: Data | None = None) -> Iterator[tuple[str, Figure]]:
    """Yield (name, figure) of each picture that this run allows.

    A fixed random subset of at most 10,000 rows of ``data`` is used.

    Example:
        >>> import aevb
        >>> from aevb.runs.pictures import figures
        >>> run = aevb.fit("digits", aevb.Config(epochs=1, hidden=(8,), latent_dim=2))
        >>> [name for name, _ in figures(run)]
        ['curves', 'samples', 'manifold']
    """
    data = None if data is None else like(data.sample(MOST_DRAWN), run.schema)
    if run.history:
        yield "curves", plots.curves(run.history)
    if run.schema.is_picture:
        yield "samples", sample_figure(run, 100)
        yield from _picture_figures(run, data)
    elif data is not None:
        yield "samples", table_figure(run, data, len(data))
        if run.schema.table is not None:
            yield "table", comparison_figure(run, data)
        if run.schema.data_dim == 2 and run.model.latent_dim == 2:
            rows, lines = data.rows[:MOST_POINTS], _decoded_grid_lines(run)
            yield "manifold", plots.warped_grid(rows, lines, column_names(run)[:2])
    if data is not None and run.model.latent_dim >= 2:
        yield "latent", latent_figure(run, data)


def drawn_from(noise: bool) -> str:
    """Say in a phrase whether samples are draws from p(x|z) or its means.

    Example:
        >>> from aevb.runs.pictures import drawn_from
        >>> drawn_from(noise=False)
        'means of p(x|z)'
    """
    return "drawn from p(x|z)" if noise else "means of p(x|z)"


def sample_figure(run: Run, n: int, *, seed: int = 0, noise: bool = False) -> Figure:
    """Draw a sheet of n generated pictures.

    Args:
        run: A model of pictures.
        n: How many pictures.
        seed: Seeds the samples.
        noise: True for draws from p(x|z), False for its means.

    Example:
        >>> import aevb
        >>> from aevb.runs.pictures import sample_figure
        >>> run = aevb.fit("digits", aevb.Config(epochs=1, hidden=(8,), latent_dim=2))
        >>> sample_figure(run, 9).axes[0].get_title()
        '9 samples, means of p(x|z), z ~ p(z)'
    """
    columns = max(1, round(n**0.5))
    title = f"{n} samples, {drawn_from(noise)}, z ~ p(z)"
    return plots.grid(to_pictures(run, run.sample(n, seed=seed, noise=noise)), columns, title)


def table_figure(run: Run, data: Data, n: int, *, seed: int = 0, noise: bool = True) -> Figure:
    """Draw n generated rows of a table with rows of the data.

    Args:
        run: A model of a table.
        data: Rows of the data. Columns of numbers are shown, without rows that have a missing one.
        n: How many rows to generate.
        seed: Seeds the samples.
        noise: True for draws from p(x|z), False for its means, which vary less than the data.

    Example:
        >>> import aevb
        >>> from aevb.datasets import load
        >>> from aevb.runs.pictures import table_figure
        >>> run = aevb.fit("gmm", aevb.Config(epochs=1, hidden=(8,), latent_dim=2))
        >>> [axes.get_title() for axes in table_figure(run, load("gmm"), 500).axes]
        ['data (2000 points)', 'generated (500 points)']
    """
    # Numbers are shown as a person gets them: rounded, and in the range of the column.
    generated = sampled_codes(run, n, seed=seed, noise=noise)
    given = like(data, run.schema).rows[:MOST_DRAWN].reshape(-1, generated.shape[1])
    shown = _scattered(run, generated.shape[1])
    real, made = (_complete(rows[:, shown])[:MOST_POINTS] for rows in (given, generated))
    names, title = _learned_names(run), f"generated: {drawn_from(noise)}, z ~ p(z)"
    names = tuple(names[i] for i in shown)
    if real.shape[1] == 2:
        return plots.scatter(real, made, names, title)
    return plots.scatter_matrix(real, made, names, title)


def _scattered(run: Run, count: int) -> list[int]:
    """Choose columns to draw as points: numbers if there are any, since levels have no distance."""
    numbers = [i for i, column in enumerate(columns_of(run)) if is_number(column)]
    return (numbers or list(range(count)))[:MOST_COLUMNS]


def _complete(rows: NDArray[Any]) -> NDArray[Any]:
    """Return the rows without a missing cell, or zeros if there are none."""
    kept = rows[~np.isnan(rows.astype(np.float64)).any(1)]
    return kept if len(kept) else np.zeros((1, rows.shape[1]))


def comparison_figure(run: Run, data: Data, *, seed: int = 0) -> Figure:
    """Draw the page of ``aevb.runs.table_pictures`` for rows of a table and as many samples.

    Args:
        run: A model of a table.
        data: Rows of the data.
        seed: Seeds the samples.

    Example:
        >>> import aevb
        >>> from aevb.datasets import load
        >>> from aevb.runs.pictures import comparison_figure
        >>> run = aevb.fit("gmm", aevb.Config(epochs=1, hidden=(8,), latent_dim=2))
        >>> len(comparison_figure(run, load("gmm")).subfigs)
        3
    """
    real = codes_of(run, data)
    made = sampled_codes(run, len(real), seed=seed)
    title = f"{len(made)} samples beside {len(real)} rows of the data"
    return page(real, made, columns_of(run), title)


def latent_figure(run: Run, data: Data) -> Figure:
    """Draw the posterior means of rows in two latent dimensions: those whose means vary most.

    Example:
        >>> import aevb
        >>> from aevb.datasets import load
        >>> from aevb.runs.pictures import latent_figure
        >>> run = aevb.fit("gmm", aevb.Config(epochs=1, hidden=(8,), latent_dim=2))
        >>> latent_figure(run, load("gmm")).axes[0].get_xlabel()
        '$z_{1}$'
    """
    shown = data.take(np.arange(min(MOST_CODES, len(data))))
    codes, _ = run.encode(shown)
    first, second = np.sort(np.argsort(-codes.var(axis=0), kind="stable")[:2])
    return plots.latent_scatter(
        codes[:, [first, second]], shown.labels, (f"$z_{{{first + 1}}}$", f"$z_{{{second + 1}}}$")
    )


def to_pictures(run: Run, rows: NDArray[Any], like: Data | None = None) -> NDArray[Any]:
    """Turn rows into pictures (N, H, W) or (N, H, W, 3) in [0, 1].

    Black and white are those of the data. If the data are real numbers or counts, the smallest and
    the largest value of ``like`` are black and white, or those of the rows without ``like``.

    Args:
        run: The model that the rows belong to.
        rows: (N, *shape).
        like: Rows of the data.

    Example:
        >>> import aevb
        >>> from aevb.runs.pictures import to_pictures
        >>> run = aevb.fit("digits", aevb.Config(epochs=1, hidden=(8,), latent_dim=2))
        >>> pictures = to_pictures(run, run.sample(4))
        >>> pictures.shape, bool(pictures.min() >= 0 and pictures.max() <= 1)
        ((4, 8, 8), True)
    """
    schema = run.schema
    if schema.values not in ("real", "counts"):
        return plots.as_pictures(rows, 0.0, schema.white or 1.0)
    low, high = (float(rows.min()), float(rows.max())) if like is None else like.range
    return plots.as_pictures(rows, low, high)


def _picture_figures(run: Run, data: Data | None) -> Iterator[tuple[str, Figure]]:
    if data is not None:
        shown = data.take(np.arange(min(36, len(data))))
        originals = to_pictures(run, shown.rows[:], shown)
        rebuilt = to_pictures(run, run.reconstruct(shown), shown)
        yield "reconstructions", plots.reconstructions(originals, rebuilt)
        if len(data) >= 12:
            yield "interpolations", _interpolation_figure(run, data)
    if run.model.latent_dim == 2:
        z = _probability_grid(MANIFOLD_SIDE)
        # The first row of pictures is at the top, where z_2 is largest.
        points = np.stack(np.meshgrid(z, z[::-1]), axis=-1).reshape(-1, 2)
        yield "manifold", plots.manifold(to_pictures(run, run.decode(points)), z)


def _interpolation_figure(run: Run, data: Data, lines: int = 6, steps: int = 12) -> Figure:
    """Draw straight lines between the posterior means of two rows, decoded along the way."""
    ends, _ = run.encode(data.take(np.random.default_rng(0).permutation(len(data))[: 2 * lines]))
    weight = np.linspace(0, 1, steps)[None, :, None]
    z = ends[:lines, None] * (1 - weight) + ends[lines:, None] * weight
    pictures = to_pictures(run, run.decode(z.reshape(-1, z.shape[-1])))
    return plots.grid(pictures, steps, "straight lines between the codes of two given pictures")


def _probability_grid(n: int) -> NDArray[Any]:
    """Return n quantiles of N(0, 1) at equal steps of probability: (n,).

    Figure 4 of the paper (Kingma & Welling 2013) uses these.
    """
    quantiles: NDArray[Any] = torch.special.ndtri(
        torch.linspace(0.5 / n, 1 - 0.5 / n, n, dtype=torch.float64)
    ).numpy()
    return quantiles


def _decoded_grid_lines(run: Run, lines: int = 20, points: int = 100) -> list[NDArray[Any]]:
    """Decode lines of constant z_1 and of constant z_2: (points, 2) each.

    The lines, and the points on them, are at equal steps of prior probability.
    """
    along, fixed = _probability_grid(points), _probability_grid(lines)
    vertical = [np.stack([np.full(points, value), along], axis=1) for value in fixed]
    both = vertical + [line[:, ::-1].copy() for line in vertical]
    return [run.schema.to_data(run.decode_x(line).cpu().numpy()) for line in both]


def column_names(run: Run) -> tuple[str, ...]:
    """Name the numbers of a row of the user. Without names they are column_1, column_2, ...

    Example:
        >>> import aevb
        >>> from aevb.runs.pictures import column_names
        >>> column_names(aevb.fit("gmm", aevb.Config(epochs=1, hidden=(8,), latent_dim=2)))
        ('x', 'y')
    """
    form = run.schema.form
    numbers = run.schema.data_dim if form is None else math.prod(form.shape)
    return run.schema.columns or tuple(f"column_{i + 1}" for i in range(numbers))


def _learned_names(run: Run) -> tuple[str, ...]:
    """Name the D numbers of a row that the model learns."""
    names, form = column_names(run), run.schema.form
    if form is None:
        return names
    if form.one_hot:
        return tuple(f"position_{i + 1}" for i in range(run.schema.data_dim))
    return tuple(names[i] for i in form.kept)
