"""Draw a check: the sampler's deviation over its head, and the KL's gradient over the right one."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import NDArray

from aevb import plots
from aevb.checker.report import RIGHT, WORDS, Report

READINGS: dict[str, Callable[[NDArray[Any]], NDArray[Any]]] = {
    "exp(h / 2): h is logvar": lambda h: np.exp(h / 2),
    "exp(h): h is log sigma": lambda h: np.exp(h),
    "softplus(h)": lambda h: np.logaddexp(0, h),
    "h itself": lambda h: np.where(h > 0, h, np.nan),
}
STYLES = ("-", "--", "-.", ":")
HEADS = (
    ("mean", "by the mean", plots.REAL),
    ("deviation", "by the head of the deviation", plots.MADE),
)


def draw(report: Report, name: str) -> Figure:
    """Draw a report that has a fingerprint. name: that of the file or model."""
    figure = Figure(figsize=(10, 4.4), layout="constrained")
    left, right = figure.subplots(1, 2)
    _sampler(left, report.fingerprint)
    _kl(right, report.fingerprint)
    title, worst = f"{name}: {WORDS[report.verdict]}", report.findings[0]
    if worst.verdict != RIGHT:
        message = textwrap.fill(f"{worst.class_ or worst.check}: {worst.message}", 110)
        title = f"{title}\n{message}"
    figure.suptitle(title, fontsize=10)
    return figure


def _sampler(axes: Axes, found: dict[str, list[float]]) -> None:
    head, deviation = np.array(found["head"]), np.array(found["deviation"])
    line = np.linspace(head.min(), head.max(), 200) if len(head) else np.zeros(0)
    for (label, reading), style in zip(READINGS.items(), STYLES, strict=True):
        axes.plot(line, reading(line), style, color="0.6", linewidth=1, label=label)
    axes.scatter(head, deviation, s=12, color=plots.MADE, zorder=3, label="this sampler")
    if len(deviation):
        axes.set_ylim(0, 1.15 * max(deviation.max(), 1.0))
    axes.set_xlabel("h, what the head of the deviation gives")
    axes.set_ylabel("standard deviation of z")
    axes.set_title("sampler: on the line of its reading", fontsize=9)
    axes.legend(fontsize=7)


def _kl(axes: Axes, found: dict[str, list[float]]) -> None:
    if "factor" not in found:
        axes.set_axis_off()
        axes.text(0.5, 0.5, "no loss was found", ha="center")
        return
    for head, label, colour in HEADS:
        right, seen = found[f"right_{head}"], found[f"seen_{head}"]
        axes.scatter(right, seen, s=12, color=colour, label=label, zorder=3)
    reach = found["right_mean"] + found["right_deviation"]
    ends = (min(reach), max(reach)) if reach else (-1.0, 1.0)
    axes.plot(ends, ends, color="0.6", linewidth=1, label="right")
    axes.set_xlabel("gradient of the right KL")
    axes.set_ylabel(f"gradient of this loss's KL / {found['factor'][0]:.3g}")
    axes.set_title("KL: on the line, at any reduction and weight", fontsize=9)
    axes.legend(fontsize=7)
