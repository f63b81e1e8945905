"""Pictures of the results: curves over the paper's curves, manifolds, and sheets of samples."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter
from numpy.typing import NDArray

from aevb import plots
from aevb.model import VAE
from aevb.paper import numbers
from aevb.paper.trial import Trial

COLOURS = {"aevb": plots.REAL, "wake_sleep": plots.MADE, "mcem": plots.THIRD, "full_vb": plots.MADE}
ADAM = {"aevb": "#a40000", "wake_sleep": "#75507b"}
NAMES = {"aevb": "AEVB", "wake_sleep": "wake-sleep", "mcem": "Monte-Carlo EM", "full_vb": "full VB"}
SHAPES = {"mnist": (28, 28), "frey": (28, 20)}
SIDE = 15
"""Pictures along a side of a manifold."""

Content = TypeVar("Content")


def figure2(
    records: Sequence[dict[str, Any]], latents: Sequence[int], constant: float | None = None
) -> Figure:
    """Draw the bound against the samples seen, with a panel for each latent size.

    Args:
        records: The records of the trials.
        latents: The latent sizes.
        constant: The test log-density of a model without z. It is drawn instead of the paper's
            curves.
    """
    figure = Figure(figsize=(3.1 * len(latents), 3.4), layout="constrained")
    for axes, latent in _panels(figure, latents):
        for record in records:
            if record["trial"]["latent_dim"] == latent and _is_main(record["trial"]):
                _curve(axes, record, "bound")
        if constant is not None:
            axes.axhline(constant, color="0.4", linewidth=0.8, label="constant Gaussian")
        else:
            _paper(axes, numbers.FIGURE2, latent)
        _scale(axes)
        axes.set_title(f"{latent} latent dimensions", fontsize=9)
    _legend(figure, "bound, nats per row")
    return figure


def figure3(records: Sequence[dict[str, Any]]) -> Figure:
    """Draw log p(x) against the samples seen, with a panel for each size of the training set."""
    sizes = sorted({record["trial"]["rows"] for record in records})
    figure = Figure(figsize=(5.6 * len(sizes), 4.4), layout="constrained")
    for axes, rows in _panels(figure, sizes):
        for record in records:
            if record["trial"]["rows"] == rows:
                _curve(axes, record, "log_p")
        _paper(axes, numbers.FIGURE3, rows)
        _scale(axes)
        axes.set_title(f"{rows:,} training rows", fontsize=9)
    _legend(figure, "log p(x), nats per row")
    return figure


def full_vb(records: Sequence[dict[str, Any]]) -> Figure:
    """Draw the bounds against the samples seen, for AEVB and for full variational Bayes."""
    figure = Figure(figsize=(6.4, 4.2), layout="constrained")
    axes = figure.subplots()
    for record in records:
        method = record["trial"]["method"]
        kind = "drawn" if method == "full_vb" else "bound"
        lines = [(f"test_{kind}", "-", "test"), (f"train_{kind}", "--", "train")]
        if kind == "drawn":
            lines.append(("evidence", ":", "evidence / rows"))
        for name, style, split in lines:
            label = f"{NAMES[method]}, {split}"
            _line(axes, record, name, style, color=COLOURS[method], label=label)
    _scale(axes)
    _legend(figure, "bound, nats per row")
    return figure


def manifold(model: VAE, data: str) -> Figure:
    """Draw the means of p(x|z) over a latent plane, at equal steps of prior probability."""
    z = torch.special.ndtri(
        torch.linspace(0.5 / SIDE, 1 - 0.5 / SIDE, SIDE, dtype=torch.float64)
    ).numpy()
    # The first row of pictures is at the top, where the second latent dimension is greatest.
    points = np.stack(np.meshgrid(z, z[::-1]), axis=-1).reshape(-1, 2)
    return plots.manifold(_pictures(model, torch.from_numpy(points).float(), data), z)


def samples(models: Iterable[tuple[str, VAE]], data: str, side: int = 8) -> Figure:
    """Draw the means of p(x|z) at draws of z from the prior, as one sheet for each model.

    Args:
        models: Names and models.
        data: "mnist" or "frey", which gives the shape of the pictures.
        side: Pictures along a side of a sheet.
    """
    models = list(models)
    height, width = SHAPES[data]
    figure = Figure(figsize=(3.0 * len(models), 3.0 * height / width + 0.3), layout="constrained")
    for axes, (name, model) in _panels(figure, models):
        z = torch.randn(side * side, model.latent_dim, generator=torch.Generator().manual_seed(0))
        sheet = plots.tile(_pictures(model, z, data), side)
        axes.imshow(sheet, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        axes.set_axis_off()
        axes.set_title(name, fontsize=9)
    return figure


def variances(measured: Sequence[dict[str, Any]]) -> Figure:
    """Draw the variance of the encoder's gradient against the latent size.

    There is a panel for each group of parameters. Bars are two standard errors.
    """
    latents = [record["latent_dim"] for record in measured]
    groups = list(next(iter(measured[0]["variance"].values())))
    figure = Figure(figsize=(3.2 * len(groups), 3.4), layout="constrained")
    for axes, group in _panels(figure, groups, sharey=True):
        for estimator, marker in zip(measured[0]["variance"], "osv^", strict=True):
            value, error = np.array([record["variance"][estimator][group] for record in measured]).T
            axes.errorbar(
                latents,
                value,
                2 * error,
                marker=marker,
                markersize=4,
                linewidth=1,
                capsize=2,
                label=estimator,
            )
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.set_xticks(latents, [str(n) for n in latents])
        axes.minorticks_off()
        axes.set_xlabel("latent dimensions", fontsize=8)
        axes.set_title(group, fontsize=9)
    _legend(figure, "variance of the gradient, summed over parameters")
    return figure


def _panels(
    figure: Figure, contents: Sequence[Content], *, sharey: bool = False
) -> Iterator[tuple[Axes, Content]]:
    """Divide a figure into panels side by side, one for each of the contents."""
    row = figure.subplots(1, len(contents), squeeze=False, sharey=sharey)[0]
    return zip(row, contents, strict=True)


@torch.no_grad()
def _pictures(model: VAE, z: torch.Tensor, data: str) -> NDArray[Any]:
    pictures: NDArray[Any] = model.decode(z).reshape(-1, *SHAPES[data]).clamp(0, 1).numpy()
    return pictures


def _is_main(trial: dict[str, Any]) -> bool:
    """Whether a trial follows the paper's protocol, except perhaps for its optimiser."""
    usual_start = trial["std"] == Trial.std or trial["data"] == "frey"
    return bool(trial["targets"] == "grey" and usual_start)


def _curve(axes: Axes, record: dict[str, Any], quantity: str) -> None:
    """Draw the test curve and the training curve of a trial."""
    trial = record["trial"]
    adam = trial["optimiser"] == "adam"
    colour = (ADAM if adam else COLOURS)[trial["method"]]
    for split, style in (("test", "-"), ("train", "--")):
        label = f"{NAMES[trial['method']]}, {'Adam, ' if adam else ''}{split}"
        _line(axes, record, f"{split}_{quantity}", style, color=colour, label=label)


def _line(
    axes: Axes, record: dict[str, Any], name: str, style: str, *, color: str, label: str
) -> None:
    """Draw one figure of a trial against the samples seen."""
    points = [(point["samples"], point[name]) for point in record["curve"]]
    axes.plot(*zip(*points, strict=True), style, color=color, linewidth=1.3, label=label)


def _paper(axes: Axes, curves: numbers.Curves, size: int) -> None:
    """Draw the paper's curves of one size, broad and pale, under ours."""
    for (of, method, split), curve in curves.items():
        if of == size:
            axes.plot(
                *zip(*curve, strict=True),
                linestyle="-" if split == "test" else (0, (2, 1)),
                color=COLOURS[method],
                alpha=0.3,
                linewidth=4,
                zorder=0,
                label=f"paper: {NAMES[method]}, {split}",
            )


def _scale(axes: Axes) -> None:
    """Scale both axes.

    The horizontal axis goes as far as our curves, and at least to a million samples. The steep rise
    of the first points, and curves of trials that failed, are cut off.
    """
    lines = [
        (
            str(line.get_label()),
            np.asarray(line.get_xdata(), float),
            np.asarray(line.get_ydata(), float),
        )
        for line in axes.lines
    ]
    own = [(x, y) for label, x, y in lines if not label.startswith("paper")]
    last = max(1e6, *(1.2 * float(x.max()) for x, _ in own)) if own else 1e8
    seen = [y[x <= last] for _, x, y in lines]
    top = max(float(y.max()) for y in seen if len(y))
    low = min(float(np.median(y)) for _, y in own) if own else -200.0
    low = max(low, top - 0.7 * abs(top))
    axes.set_xscale("log")
    axes.set_xlim(1e5, last)
    axes.set_ylim(low - 0.6 * (top - low), top + 0.1 * (top - low))
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.set_xlabel("training samples seen", fontsize=8)
    axes.tick_params(labelsize=7)


def _legend(figure: Figure, label: str) -> None:
    """Label the first panel's axis, and add one legend for all panels."""
    figure.axes[0].set_ylabel(label, fontsize=8)
    found: dict[str, Any] = {}
    for axes in figure.axes:
        for handle, name in zip(*axes.get_legend_handles_labels(), strict=True):
            found.setdefault(name, handle)
    columns = max(2, int(figure.get_figwidth() // 2.3))
    figure.legend(
        found.values(), found.keys(), loc="outside lower center", ncols=columns, fontsize=7
    )
