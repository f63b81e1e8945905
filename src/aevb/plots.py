"""Figures from arrays. Nothing here knows of a model; nothing touches matplotlib's global state."""

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

REAL, MADE, THIRD = "#3465a4", "#e07b00", "#4e9a06"
"""Colours: what was given, what the model made, anything else. Distinct in grey print and to the
colour-blind."""


def save(figure: Figure, path: Path) -> Path:
    """Write a figure; the format follows the name. Returns the path. Raises CannotWriteError."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=120)
    except OSError as error:
        raise CannotWriteError(f"{path} could not be written: {error.strerror or error}") from error
    return path


def png(figure: Figure) -> bytes:
    """A figure as the bytes of a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=120)
    return buffer.getvalue()


def as_pictures(rows: NDArray[Any], low: float, high: float) -> NDArray[Any]:
    """rows: (N, H, W), (N, H, W, C) or (N, C, H, W) -> (N, H, W) or (N, H, W, 3), low as 0 and high
    as 1."""
    if rows.ndim == 4 and rows.shape[-1] not in (1, 3, 4):
        rows = rows.transpose(0, 2, 3, 1)
    if rows.ndim == 4:
        rows = rows[..., 0] if rows.shape[-1] == 1 else rows[..., :3]
    return ((rows.astype(np.float64) - low) / ((high - low) or 1.0)).clip(0, 1)


def tile(pictures: NDArray[Any], columns: int, gap: int = 1) -> NDArray[Any]:
    """pictures: (N, H, W) or (N, H, W, 3), in [0, 1] -> one picture, row by row, with white gaps."""
    n, height, width = pictures.shape[:3]
    rows = math.ceil(n / columns)
    sheet = np.ones(
        (rows * (height + gap) - gap, columns * (width + gap) - gap, *pictures.shape[3:])
    )
    for i, picture in enumerate(pictures):
        top, left = (i // columns) * (height + gap), (i % columns) * (width + gap)
        sheet[top : top + height, left : left + width] = picture
    return sheet


def grid(pictures: NDArray[Any], columns: int, title: str, *, gap: int = 1) -> Figure:
    """A sheet of pictures. pictures: (N, H, W) or (N, H, W, 3), in [0, 1]."""
    sheet = tile(pictures, columns, gap)
    height, width = sheet.shape[:2]
    inches = 6.0
    figure = Figure(figsize=(inches, inches * height / width + 0.5), layout="constrained")
    axes = figure.add_subplot()
    _show(axes, sheet)
    axes.set_title(title, fontsize=10)
    return figure


def reconstructions(originals: NDArray[Any], rebuilt: NDArray[Any]) -> Figure:
    """Each picture above its reconstruction. Both: (N, H, W) or (N, H, W, 3), in [0, 1]."""
    pairs = np.stack([originals, rebuilt], axis=1)
    columns = min(12, len(pairs))
    blocks = [
        pairs[start : start + columns].swapaxes(0, 1) for start in range(0, len(pairs), columns)
    ]
    blocks = [block for block in blocks if block.shape[1] == columns]
    sheet = np.concatenate([block.reshape(-1, *originals.shape[1:]) for block in blocks])
    return grid(sheet, columns, "above: given; below: its reconstruction from the mean of q(z|x)")


def manifold(pictures: NDArray[Any], z: NDArray[Any]) -> Figure:
    """Decoded points of a square grid in the latent plane. pictures: (n * n, H, W[, 3]); z: (n,),
    coordinates of the grid."""
    n = len(z)
    sheet = tile(pictures, n, gap=1 if min(pictures.shape[1:3]) < 16 else 0)
    figure = Figure(figsize=(6, 6 * sheet.shape[0] / sheet.shape[1] + 0.4), layout="constrained")
    axes = figure.add_subplot()
    _show(axes, sheet)
    ticks = np.linspace(0, n - 1, 5).round().astype(int)
    axes.set_xticks((ticks + 0.5) * sheet.shape[1] / n - 0.5, [f"{z[i]:.1f}" for i in ticks])
    axes.set_yticks(
        (ticks + 0.5) * sheet.shape[0] / n - 0.5, [f"{z[n - 1 - i]:.1f}" for i in ticks]
    )
    axes.set_xlabel("$z_1$")
    axes.set_ylabel("$z_2$")
    axes.set_title("means of p(x|z) at equal steps of prior probability", fontsize=10)
    return figure


def warped_grid(
    real: NDArray[Any], lines: Sequence[NDArray[Any]], columns: Sequence[str]
) -> Figure:
    """Data in the plane under the image of a latent grid. real: (N, 2); lines: polygons (M, 2),
    decoded."""
    figure, axes = _plane(columns)
    axes.scatter(real[:, 0], real[:, 1], s=4, color=REAL, alpha=0.4, linewidths=0, label="data")
    for i, line in enumerate(lines):
        axes.plot(
            line[:, 0],
            line[:, 1],
            color=MADE,
            linewidth=0.7,
            label="decoded latent grid" if i == 0 else None,
        )
    axes.legend(loc="upper right", fontsize=8)
    return figure


def scatter(
    real: NDArray[Any],
    generated: NDArray[Any],
    columns: Sequence[str] = ("x", "y"),
    title: str = "",
) -> Figure:
    """Real and generated points, side by side on one scale. Both: (N, 2)."""
    figure = Figure(figsize=(8, 4.2), layout="constrained")
    left, right = figure.subplots(1, 2, sharex=True, sharey=True)
    for axes, points, colour, name in [
        (left, real, REAL, "data"),
        (right, generated, MADE, "generated"),
    ]:
        axes.scatter(points[:, 0], points[:, 1], s=5, color=colour, alpha=0.5, linewidths=0)
        axes.set_title(f"{name} ({len(points)} points)", fontsize=10)
        axes.set_xlabel(columns[0])
    left.set_ylabel(columns[1])
    if title:
        figure.suptitle(title, fontsize=10)
    return figure


def scatter_matrix(
    real: NDArray[Any], generated: NDArray[Any], columns: Sequence[str], title: str = ""
) -> Figure:
    """Every pair of columns of a table, data and generated rows on top of each other. Both: (N, D),
    D small."""
    d = real.shape[1]
    figure = Figure(figsize=(2.2 * d + 0.6, 2.2 * d), layout="constrained")
    cells = figure.subplots(d, d, squeeze=False)
    for i in range(d):
        for j in range(d):
            axes = cells[i][j]
            if i == j:
                edges = np.histogram_bin_edges(
                    np.concatenate([real[:, i], generated[:, i]]).astype(np.float64), bins=30
                )
                axes.hist(real[:, i], edges, density=True, color=REAL, alpha=0.5, label="data")
                axes.hist(
                    generated[:, i], edges, density=True, color=MADE, alpha=0.5, label="generated"
                )
                axes.set_yticks([])
            else:
                axes.scatter(real[:, j], real[:, i], s=3, color=REAL, alpha=0.3, linewidths=0)
                axes.scatter(
                    generated[:, j], generated[:, i], s=3, color=MADE, alpha=0.3, linewidths=0
                )
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
    """The bound and its two terms over the epochs. history: one record an epoch, as in
    metrics.jsonl."""
    figure = Figure(figsize=(10, 3.4), layout="constrained")
    panels = figure.subplots(1, 3)
    epochs = [record["epoch"] for record in history]
    for axes, name in zip(panels, ("bound", "reconstruction", "kl"), strict=True):
        marker = "o" if len(epochs) < 3 else None
        axes.plot(
            epochs,
            [record[name] for record in history],
            color=REAL,
            marker=marker,
            label="training",
        )
        if f"validation_{name}" in history[-1]:
            held_out = [record.get(f"validation_{name}", math.nan) for record in history]
            axes.plot(epochs, held_out, color=MADE, marker=marker, label="validation")
        axes.set_title(
            {"bound": "bound = reconstruction - KL", "kl": "KL"}.get(name, name), fontsize=10
        )
        axes.set_xlabel("epoch")
        _ignore_the_start(axes, [line.get_ydata() for line in axes.lines])
    panels[0].set_ylabel("nats per row")
    panels[0].legend(fontsize=8)
    return figure


def latent_scatter(
    codes: NDArray[Any], labels: NDArray[Any] | None, names: tuple[str, str] = ("$z_1$", "$z_2$")
) -> Figure:
    """Posterior means in two latent dimensions. codes: (N, 2); labels: (N,), colours, or None."""
    figure, axes = _plane(names)
    if labels is None:
        axes.scatter(codes[:, 0], codes[:, 1], s=6, color=REAL, alpha=0.7, linewidths=0)
    else:
        points = axes.scatter(
            codes[:, 0], codes[:, 1], s=6, c=labels, cmap="tab10", alpha=0.7, linewidths=0
        )
        figure.colorbar(points, ax=axes, label="label")
    for radius in (1, 2, 3):  # where the prior is
        angle = np.linspace(0, 2 * math.pi, 100)
        axes.plot(
            radius * np.cos(angle), radius * np.sin(angle), color="0.7", linewidth=0.6, zorder=0
        )
    axes.set_title("means of q(z|x); circles: 1, 2, 3 standard deviations of N(0, I)", fontsize=9)
    return figure


def evaluation(
    per_row: Mapping[str, NDArray[Any]],
    kl: NDArray[Any] | None,
    codes: NDArray[Any],
    prior: NDArray[Any],
    real: NDArray[Any],
    generated: NDArray[Any],
    title: str = "",
) -> Figure:
    """One page about a model: log p(x) of the rows, KL by dimension, codes on the prior, generated
    rows on real ones.

    per_row: name -> (N,), nats, "bound" among them. kl: (L,), nats, or None. codes, prior: (N, L),
    draws from the aggregate posterior and from p(z). real, generated: (M, D), shown on the two
    principal axes of the real rows.
    """
    figure = Figure(figsize=(9.5, 7.6), layout="constrained")
    (rows, dimensions), (latent, data) = figure.subplots(2, 2)
    _histogram(rows, per_row)
    _kl_bars(dimensions, kl, codes.shape[1])
    _cloud(
        latent,
        (prior, "draws from p(z)", MADE),
        (codes, "codes: draws from q(z|x)", REAL),
        _widest(codes),
        "z",
    )
    latent.set_title("where codes lie and where samples come from", fontsize=9)
    if len(real):
        centre = real.mean(0)
        axes = np.linalg.svd(real - centre, full_matrices=False)[2][:2].T
        cloud = (generated - centre) @ axes, "generated", MADE
        _cloud(
            data,
            ((real - centre) @ axes, "data", REAL),
            cloud,
            (0, axes.shape[1] - 1),
            "principal axis ",
        )
        data.set_title("real and generated rows", fontsize=9)
    figure.suptitle(title, fontsize=10)
    return figure


def scores(per_row: Mapping[str, NDArray[Any]], title: str = "") -> Figure:
    """How many rows are how likely. per_row: name -> (N,), nats."""
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    _histogram(figure.subplots(), per_row)
    figure.suptitle(title, fontsize=9)
    return figure


def _histogram(axes: Axes, per_row: Mapping[str, NDArray[Any]]) -> None:
    low = min(np.quantile(values, 0.005) for values in per_row.values())
    edges = np.linspace(low, max(values.max() for values in per_row.values()), 60).tolist()
    for (name, values), colour in zip(per_row.items(), (REAL, MADE, THIRD), strict=False):
        label = f"{name.replace('_', ' ')}: mean {values.mean():.2f}"
        axes.hist(values, edges, histtype="step", linewidth=1.4, color=colour, label=label)
    axes.set_xlabel("log p(x), or its bound, of one row (nats)")
    axes.set_ylabel("rows")
    axes.legend(fontsize=7, loc="upper left")


def _kl_bars(axes: Axes, kl: NDArray[Any] | None, latent_dim: int) -> None:
    axes.set_title("KL(q(z|x) || p(z)) by dimension", fontsize=9)
    if kl is None:
        axes.text(
            0.5,
            0.5,
            "no closed form for this posterior and prior",
            ha="center",
            transform=axes.transAxes,
            fontsize=8,
        )
        axes.set_axis_off()
        return
    axes.bar(np.arange(1, latent_dim + 1), np.sort(kl)[::-1], color=REAL)
    axes.set_xlim(0.5, latent_dim + 0.5)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_xlabel("latent dimensions, largest first")
    axes.set_ylabel("nats")


def _widest(codes: NDArray[Any]) -> tuple[int, int]:
    """The two dimensions in which the codes vary most, or 0 twice if there is one only."""
    order = np.argsort(-codes.var(0), kind="stable")
    return int(order[0]), int(order[min(1, len(order) - 1)])


def _cloud(
    axes: Axes,
    below: tuple[NDArray[Any], str, str],
    above: tuple[NDArray[Any], str, str],
    columns: tuple[int, int],
    name: str,
) -> None:
    """Two sets of points on top of each other, in two of their columns; in one dimension, two
    histograms."""
    first, second = columns
    for points, label, colour in (below, above):
        if first == second:
            axes.hist(
                points[:, first], 60, density=True, histtype="step", color=colour, label=label
            )
        else:
            axes.scatter(
                points[:, first],
                points[:, second],
                s=4,
                color=colour,
                alpha=0.4,
                linewidths=0,
                label=label,
            )
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


def _show(axes: Axes, sheet: NDArray[Any]) -> None:
    axes.imshow(sheet, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _ignore_the_start(axes: Axes, lines: Sequence[Any]) -> None:
    """Scale to the last nine tenths of the curves: the first epochs would flatten the rest into a
    line."""
    tails = np.concatenate([np.asarray(line, float)[len(line) // 10 :] for line in lines])
    tails = tails[np.isfinite(tails)]
    if len(tails) > 1 and tails.max() > tails.min():
        margin = 0.05 * (tails.max() - tails.min())
        axes.set_ylim(tails.min() - margin, tails.max() + margin)
