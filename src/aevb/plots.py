"""Draw figures from arrays.

Nothing here knows about a model, and nothing touches matplotlib's global state.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import NDArray

from aevb.errors import CannotWriteError

Array = NDArray[Any]
REAL, MADE, THIRD = "#3465a4", "#e07b00", "#4e9a06"
"""Colours for given rows, for rows that the model made, and for anything else.

They can also be told apart in grey print and by colour-blind readers.
"""


def save(figure: Figure, path: Path) -> Path:
    """Write a figure in the format that the ending of the name gives, and return the path.

    Raises:
        CannotWriteError: The file could not be written.

    Example:
        >>> import numpy as np
        >>> from pathlib import Path
        >>> from aevb import plots
        >>> figure = plots.grid(np.zeros((4, 8, 8)), 2, "four black squares")
        >>> plots.save(figure, Path("squares.png")).exists()
        True
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=120)
    except OSError as error:
        raise CannotWriteError(f"{path} could not be written: {error.strerror or error}") from error
    return path


def png(figure: Figure) -> bytes:
    """Return a figure as the bytes of a PNG file.

    Example:
        >>> import numpy as np
        >>> from aevb import plots
        >>> plots.png(plots.grid(np.zeros((1, 8, 8)), 1, ""))[1:4]
        b'PNG'
    """
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()


def as_pictures(rows: Array, low: float, high: float) -> Array:
    """Turn rows into pictures (N, H, W) or (N, H, W, 3) in [0, 1].

    Args:
        rows: (N, H, W), (N, H, W, C) or (N, C, H, W).
        low: The value of black, which becomes 0.
        high: The value of white, which becomes 1.

    Example:
        >>> import numpy as np
        >>> from aevb.plots import as_pictures
        >>> as_pictures(np.array([[[0, 51, 255]]]), 0, 255)
        array([[[0. , 0.2, 1. ]]])
        >>> as_pictures(np.zeros((5, 3, 8, 6)), 0, 1).shape
        (5, 8, 6, 3)
    """
    if rows.ndim == 4 and rows.shape[-1] not in (1, 3, 4):
        rows = rows.transpose(0, 2, 3, 1)
    if rows.ndim == 4:
        rows = rows[..., 0] if rows.shape[-1] == 1 else rows[..., :3]
    return ((rows.astype(np.float64) - low) / ((high - low) or 1.0)).clip(0, 1)


def tile(pictures: Array, columns: int, gap: int = 1) -> Array:
    """Arrange pictures in one large picture, row by row, with white gaps.

    Args:
        pictures: (N, H, W) or (N, H, W, 3), in [0, 1].
        columns: Pictures in each row.
        gap: Width of the gaps in pixels.

    Example:
        >>> import numpy as np
        >>> from aevb.plots import tile
        >>> tile(np.zeros((3, 1, 1)), columns=2)
        array([[0., 1., 0.],
               [1., 1., 1.],
               [0., 1., 1.]])
    """
    n, height, width = pictures.shape[:3]
    rows = math.ceil(n / columns)
    size = rows * (height + gap) - gap, columns * (width + gap) - gap
    sheet = np.ones((*size, *pictures.shape[3:]))
    for i, picture in enumerate(pictures):
        top, left = (i // columns) * (height + gap), (i % columns) * (width + gap)
        sheet[top : top + height, left : left + width] = picture
    return sheet


def grid(pictures: Array, columns: int, title: str, *, gap: int = 1) -> Figure:
    """Draw a sheet of pictures.

    Args:
        pictures: (N, H, W) or (N, H, W, 3), in [0, 1].
        columns: Pictures in each row.
        title: Text above the figure.
        gap: Width of the gaps in pixels.

    Example:
        >>> import numpy as np
        >>> from aevb.plots import grid
        >>> grid(np.zeros((4, 8, 8)), 2, "four").axes[0].get_title()
        'four'
    """
    sheet = tile(pictures, columns, gap)
    height, width = sheet.shape[:2]
    figure = Figure(figsize=(6, 6 * height / width + 0.5), layout="constrained")
    axes = figure.add_subplot()
    _show(axes, sheet)
    axes.set_title(title, fontsize=10)
    return figure


def reconstructions(originals: Array, rebuilt: Array) -> Figure:
    """Draw each picture above its reconstruction. Both: (N, H, W) or (N, H, W, 3), in [0, 1].

    Example:
        >>> import numpy as np
        >>> from aevb.plots import reconstructions
        >>> pictures = np.zeros((4, 8, 8))
        >>> reconstructions(pictures, pictures).axes[0].get_title()
        'above: given; below: its reconstruction from the mean of q(z|x)'
    """
    pairs = np.stack([originals, rebuilt], axis=1)
    columns = min(12, len(pairs))
    starts = range(0, len(pairs), columns)
    blocks = [pairs[start : start + columns].swapaxes(0, 1) for start in starts]
    blocks = [block for block in blocks if block.shape[1] == columns]
    sheet = np.concatenate([block.reshape(-1, *originals.shape[1:]) for block in blocks])
    return grid(sheet, columns, "above: given; below: its reconstruction from the mean of q(z|x)")


def manifold(pictures: Array, z: Array) -> Figure:
    """Draw the decoded points of a square grid in the latent plane.

    Args:
        pictures: (n * n, H, W) or (n * n, H, W, 3), in [0, 1]. The first row has the largest z_2.
        z: (n,), the coordinates of the grid along each axis.

    Example:
        >>> import numpy as np
        >>> from aevb.plots import manifold
        >>> manifold(np.zeros((9, 8, 8)), np.array([-1.0, 0.0, 1.0])).axes[0].get_xlabel()
        '$z_1$'
    """
    n = len(z)
    sheet = tile(pictures, n, gap=1 if min(pictures.shape[1:3]) < 16 else 0)
    figure = Figure(figsize=(6, 6 * sheet.shape[0] / sheet.shape[1] + 0.4), layout="constrained")
    axes = figure.add_subplot()
    _show(axes, sheet)
    ticks = np.linspace(0, n - 1, 5).round().astype(int)
    height, width = sheet.shape[:2]
    axes.set_xticks((ticks + 0.5) * width / n - 0.5, [f"{z[i]:.1f}" for i in ticks])
    axes.set_yticks((ticks + 0.5) * height / n - 0.5, [f"{z[n - 1 - i]:.1f}" for i in ticks])
    axes.set_xlabel("$z_1$")
    axes.set_ylabel("$z_2$")
    axes.set_title("means of p(x|z) at equal steps of prior probability", fontsize=10)
    return figure


def warped_grid(real: Array, lines: Sequence[Array], columns: Sequence[str]) -> Figure:
    """Draw data in the plane, with the decoded lines of a latent grid on top.

    Args:
        real: (N, 2).
        lines: The decoded points of each line: (M, 2) each.
        columns: The names of the two axes.

    Example:
        >>> import numpy as np
        >>> from aevb.plots import warped_grid
        >>> figure = warped_grid(np.zeros((5, 2)), [np.ones((3, 2))], ("x", "y"))
        >>> [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
        ['data', 'decoded latent grid']
    """
    figure, axes = _plane(columns)
    axes.scatter(real[:, 0], real[:, 1], s=4, color=REAL, alpha=0.4, linewidths=0, label="data")
    for i, line in enumerate(lines):
        label = "decoded latent grid" if i == 0 else None
        axes.plot(line[:, 0], line[:, 1], color=MADE, linewidth=0.7, label=label)
    axes.legend(loc="upper right", fontsize=8)
    return figure


def scatter(
    real: Array, generated: Array, columns: Sequence[str] = ("x", "y"), title: str = ""
) -> Figure:
    """Draw real and generated points side by side on one scale.

    Args:
        real: (N, 2).
        generated: (M, 2).
        columns: The names of the two axes.
        title: Text above the figure.

    Example:
        >>> import numpy as np
        >>> from aevb.plots import scatter
        >>> [axes.get_title() for axes in scatter(np.zeros((5, 2)), np.ones((3, 2))).axes]
        ['data (5 points)', 'generated (3 points)']
    """
    figure = Figure(figsize=(8, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2, sharex=True, sharey=True)
    sides = (left, real, REAL, "data"), (right, generated, MADE, "generated")
    for axes, points, colour, name in sides:
        axes.scatter(points[:, 0], points[:, 1], s=5, color=colour, alpha=0.5, linewidths=0)
        axes.set_title(f"{name} ({len(points)} points)", fontsize=10)
        axes.set_xlabel(columns[0])
    left.set_ylabel(columns[1])
    if title:
        figure.suptitle(title, fontsize=10)
    return figure


def scatter_matrix(
    real: Array, generated: Array, columns: Sequence[str], title: str = ""
) -> Figure:
    """Draw every pair of columns of a table, with generated rows on top of the data.

    Args:
        real: (N, D), with small D.
        generated: (M, D).
        columns: The names of the columns.
        title: Text above the figure.

    Example:
        >>> import numpy as np
        >>> from aevb.plots import scatter_matrix
        >>> rng = np.random.default_rng(0)
        >>> len(scatter_matrix(*rng.normal(size=(2, 50, 3)), columns=("a", "b", "c")).axes)
        9
    """
    d = real.shape[1]
    figure = Figure(figsize=(2.2 * d + 0.6, 2.2 * d), layout="constrained")
    cells = figure.subplots(d, d, squeeze=False)
    sides = (real, REAL, "data"), (generated, MADE, "generated")
    for i in range(d):
        edges = np.histogram_bin_edges(
            np.concatenate([real[:, i], generated[:, i]]).astype(np.float64), bins=30
        )
        for j in range(d):
            axes = cells[i][j]
            for rows, colour, name in sides:
                if i == j:
                    axes.hist(rows[:, i], edges, density=True, color=colour, alpha=0.5, label=name)
                    axes.set_yticks([])
                else:
                    axes.scatter(rows[:, j], rows[:, i], s=3, color=colour, alpha=0.3, linewidths=0)
            if i == d - 1:
                axes.set_xlabel(columns[j], fontsize=8)
            if j == 0:
                axes.set_ylabel(columns[i], fontsize=8)
            axes.tick_params(labelsize=6)
    cells[0][0].legend(fontsize=7)
    if title:
        figure.suptitle(title, fontsize=10 if d > 1 else 6)
    return figure


def curves(history: Sequence[Mapping[str, Any]]) -> Figure:
    """Draw the bound and its two terms over the epochs.

    history: one record for each epoch, as in metrics.jsonl.

    Example:
        >>> from aevb.plots import curves
        >>> record = {"bound": -3.0, "reconstruction": -2.0, "kl": 1.0}
        >>> figure = curves([record | {"epoch": 1}, record | {"epoch": 2}])
        >>> [axes.get_title() for axes in figure.axes]
        ['bound = reconstruction - KL', 'reconstruction', 'KL']
    """
    figure = Figure(figsize=(10, 3.4), layout="constrained")
    panels = figure.subplots(1, 3)
    epochs = [record["epoch"] for record in history]
    for axes, name in zip(panels, ("bound", "reconstruction", "kl"), strict=True):
        marker = "o" if len(epochs) < 3 else None
        values = [record[name] for record in history]
        axes.plot(epochs, values, color=REAL, marker=marker, label="training")
        if f"validation_{name}" in history[-1]:
            held_out = [record.get(f"validation_{name}", math.nan) for record in history]
            axes.plot(epochs, held_out, color=MADE, marker=marker, label="validation")
        titles = {"bound": "bound = reconstruction - KL", "kl": "KL"}
        axes.set_title(titles.get(name, name), fontsize=10)
        axes.set_xlabel("epoch")
        _ignore_the_start(axes, [line.get_ydata() for line in axes.lines])
    panels[0].set_ylabel("nats per row")
    panels[0].legend(fontsize=8)
    return figure


def latent_scatter(
    codes: Array, labels: Array | None, names: tuple[str, str] = ("$z_1$", "$z_2$")
) -> Figure:
    """Draw posterior means in two latent dimensions.

    Args:
        codes: (N, 2).
        labels: (N,), one number or name for each code, which gives its colour; or None.
        names: The names of the two axes.

    Example:
        >>> import numpy as np
        >>> from aevb.plots import latent_scatter
        >>> latent_scatter(np.zeros((5, 2)), None).axes[0].get_ylabel()
        '$z_2$'
    """
    figure, axes = _plane(names)
    style: dict[str, Any] = {"s": 6, "alpha": 0.7, "linewidths": 0}
    if labels is None:
        axes.scatter(codes[:, 0], codes[:, 1], color=REAL, **style)
    else:
        kinds, numbers = np.unique(labels, return_inverse=True)
        colours = labels if labels.dtype.kind in "buif" else numbers
        points = axes.scatter(codes[:, 0], codes[:, 1], c=colours, cmap="tab10", **style)
        bar = figure.colorbar(points, ax=axes, label="label")
        if colours is numbers and len(kinds) <= 20:  # more would not fit beside the picture
            bar.set_ticks(range(len(kinds)), labels=kinds.tolist())
    for radius in (1, 2, 3):  # These circles show the prior N(0, I).
        angle = np.linspace(0, 2 * math.pi, 100)
        x, y = radius * np.cos(angle), radius * np.sin(angle)
        axes.plot(x, y, color="0.7", linewidth=0.6, zorder=0)
    axes.set_title("means of q(z|x); circles: 1, 2, 3 standard deviations of N(0, I)", fontsize=9)
    return figure


def evaluation(
    per_row: Mapping[str, Array],
    kl: Array | None,
    codes: Array,
    prior: Array,
    real: Array,
    generated: Array,
    title: str = "",
) -> Figure:
    """Draw one page of four plots about a model.

    The plots show log p(x) of the rows, the KL of each dimension, the codes with draws from the
    prior, and the real rows with generated ones.

    Args:
        per_row: (N,) each, nats, by name. One is called "bound".
        kl: (L,), nats, or None.
        codes: (N, L), draws from the aggregate posterior.
        prior: (N, L), draws from p(z).
        real: (M, D), shown on their two principal axes.
        generated: (M, D), shown on the same axes.
        title: Text above the figure.

    Example:
        >>> import numpy as np
        >>> from aevb.plots import evaluation
        >>> rng = np.random.default_rng(0)
        >>> codes, prior, real, made = rng.normal(size=(4, 50, 3))
        >>> bound = -(real**2).sum(1)
        >>> len(evaluation({"bound": bound}, np.ones(3), codes, prior, real, made).axes)
        4
    """
    figure = Figure(figsize=(9.5, 7.6), layout="constrained")
    (rows, dimensions), (latent, data) = figure.subplots(2, 2)
    _histogram(rows, per_row)
    _kl_bars(dimensions, kl, codes.shape[1])
    points = (prior, "draws from p(z)", MADE), (codes, "codes: draws from q(z|x)", REAL)
    _cloud(latent, *points, _widest(codes), "z")
    latent.set_title("where codes lie and where samples come from", fontsize=9)
    if len(real):
        centre = real.mean(0)
        axes = np.linalg.svd(real - centre, full_matrices=False)[2][:2].T
        below = (real - centre) @ axes, "data", REAL
        above = (generated - centre) @ axes, "generated", MADE
        _cloud(data, below, above, (0, axes.shape[1] - 1), "principal axis ")
        data.set_title("real and generated rows", fontsize=9)
    figure.suptitle(title, fontsize=10)
    return figure


def scores(per_row: Mapping[str, Array], title: str = "", threshold: float = math.nan) -> Figure:
    """Draw histograms of the log-likelihoods of the rows. per_row: (N,) each, nats, by name.

    threshold: nats below which a row is odd; it is drawn if it is a finite number.

    Example:
        >>> import numpy as np
        >>> from aevb.plots import scores
        >>> scores({"bound": np.linspace(-3, -1, 50)}, threshold=-2.5).axes[0].get_ylabel()
        'rows'
    """
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    _histogram(figure.subplots(), per_row, threshold)
    figure.suptitle(title, fontsize=9)
    return figure


def _histogram(axes: Axes, per_row: Mapping[str, Array], threshold: float = math.nan) -> None:
    finite = {name: values[np.isfinite(values)] for name, values in per_row.items()}
    marks = [threshold] if math.isfinite(threshold) else []
    ends = [np.quantile(values, (0.005, 1)) for values in finite.values() if len(values)]
    low, *_, high = np.sort([*np.ravel(ends), *marks, *([] if ends else [0.0, 1.0])])
    edges = np.linspace(low, high, 60).tolist()
    for (name, values), colour in zip(finite.items(), (REAL, MADE, THIRD), strict=False):
        label = f"{name.replace('_', ' ')}: mean {per_row[name].mean():.2f}"
        if lower := int((per_row[name] < low).sum()):
            label += f"; {lower} more below {low:.2f}"
        axes.hist(values, edges, histtype="step", linewidth=1.4, color=colour, label=label)
    for mark in marks:
        axes.axvline(mark, color="0.3", linestyle="--", linewidth=1, label=f"odd below {mark:.2f}")
    axes.set(xlabel="log p(x), or its bound, of one row (nats)", ylabel="rows")
    axes.legend(fontsize=7, loc="upper left")


def _kl_bars(axes: Axes, kl: Array | None, latent_dim: int) -> None:
    axes.set_title("KL(q(z|x) || p(z)) by dimension", fontsize=9)
    if kl is None:
        note = "no KL by dimension for this posterior and prior"
        axes.text(0.5, 0.5, note, ha="center", transform=axes.transAxes, fontsize=8)
        axes.set_axis_off()
        return
    axes.bar(np.arange(1, latent_dim + 1), np.sort(kl)[::-1], color=REAL)
    axes.set_xlim(0.5, latent_dim + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("latent dimensions, largest first")
    axes.set_ylabel("nats")


def _widest(codes: Array) -> tuple[int, int]:
    """Return the two dimensions in which the codes vary most, or (0, 0) if there is only one."""
    order = np.argsort(-codes.var(0), kind="stable")
    return int(order[0]), int(order[min(1, len(order) - 1)])


def _cloud(
    axes: Axes,
    below: tuple[Array, str, str],
    above: tuple[Array, str, str],
    columns: tuple[int, int],
    name: str,
) -> None:
    """Draw two sets of points (N, L), with label and colour, or histograms of one column."""
    first, second = columns
    for points, label, colour in (below, above):
        style: dict[str, Any] = {"color": colour, "label": label}
        if first == second:
            axes.hist(points[:, first], 60, density=True, histtype="step", **style)
        else:
            axes.scatter(points[:, first], points[:, second], s=4, alpha=0.4, linewidths=0, **style)
    axes.set_xlabel(f"{name}{first + 1}")
    if first != second:
        axes.set_ylabel(f"{name}{second + 1}")
    axes.legend(fontsize=7, markerscale=2)


def _plane(names: Sequence[str]) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(5.6, 5), layout="constrained")
    axes = figure.add_subplot()
    axes.set_aspect("equal", adjustable="datalim")
    axes.set_xlabel(names[0])
    axes.set_ylabel(names[1])
    return figure, axes


def _show(axes: Axes, sheet: Array) -> None:
    axes.imshow(sheet, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _ignore_the_start(axes: Axes, lines: Sequence[Any]) -> None:
    """Fit the axis to the last nine tenths of the curves: the start would flatten the rest."""
    tails = np.concatenate([np.asarray(line, float)[len(line) // 10 :] for line in lines])
    tails = tails[np.isfinite(tails)]
    if len(tails) > 1 and tails.max() > tails.min():
        margin = 0.05 * (tails.max() - tails.min())
        axes.set_ylim(tails.min() - margin, tails.max() + margin)
