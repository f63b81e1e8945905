"""One page of pictures about samples of a table: each column, the worst pairs, the associations."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure
from numpy.typing import NDArray

from aevb.datasets.tabular.columns import Column
from aevb.evaluation.associations import associations
from aevb.evaluation.table_columns import is_number, places, sizes
from aevb.evaluation.table_shapes import Measured, column_shapes, pair_trends
from aevb.plots import MADE, REAL

Array = NDArray[Any]

MOST_COLUMNS = 24
"""So many columns are shown, those with the largest errors."""
ACROSS = 4
"""Columns side by side."""
MOST_PAIRS = 4
"""So many pairs are shown, those with the largest errors."""
WIDTH = 13.0
LINE, PAIR = 1.9, 2.5
"""Inches: the width of the page, the height of a line of columns, and that of a line of pairs."""
MOST_LEVELS = 8
"""So many levels of a category have bars of their own; the others share one."""
LONGEST = 16
"""Longer names are cut."""
BINS = 40
"""A histogram has at most so many bins."""
MOST_POINTS = 2000
"""A scatter plot shows at most so many rows."""
MOST_ROWS = 20_000
"""Pictures are made from at most so many rows of a side."""


def page(real: Array, made: Array, columns: Sequence[Column], title: str = "") -> Figure:
    """Draw samples of a table over its rows.

    Three parts: the distribution of each column, at most 24, those first that differ most; the four
    pairs that differ most, rows of the data beside samples; and the associations of all pairs.

    Args:
        real: (N, C), codes of rows of the data.
        made: (M, C), codes of samples.
        columns: C columns.
        title: Text above the figure.

    Example:
        >>> import numpy as np
        >>> from aevb.datasets.tabular.columns import Column
        >>> from aevb.runs.table_pictures import page
        >>> real, made = np.random.default_rng(0).normal(size=(2, 50, 2))
        >>> figure = page(real, made, [Column(name, "real", "float64") for name in "ab"])
        >>> len(figure.subfigs)
        3
    """
    real, made = _at_most(real), _at_most(made)
    shapes = column_shapes(real, made, columns)
    shown = np.argsort(-shapes.errors, kind="stable")[:MOST_COLUMNS].tolist()
    pairs = pair_trends(real, made, columns)
    heights = [
        0.7 + LINE * math.ceil(len(shown) / ACROSS),
        (0.6 + PAIR * _lines_of(pairs)) * (len(pairs.errors) > 0),
        4.9 * (len(columns) > 1),
    ]
    kept = [height for height in heights if height]
    # Names are cut, so that fixed margins are wide enough. A layout that measures all texts would
    # take three times as long.
    figure = Figure(figsize=(WIDTH, sum(kept)))
    parts = iter(figure.subfigures(len(kept), 1, height_ratios=kept, squeeze=False).ravel())
    _columns(next(parts), real, made, columns, shown, shapes)
    if heights[1]:
        _pairs(next(parts), real, made, columns, pairs)
    if heights[2]:
        kept_order = sorted(shown)
        _associations(next(parts), real, made, [columns[i] for i in kept_order], kept_order)
    figure.suptitle(title, fontsize=11, y=1 - 0.1 / sum(kept), va="top")
    return figure


def _cells(
    part: SubFigure, down: int, across: int, head: float, gap: float, **more: float
) -> Array:
    """Return the axes of a part, row by row: (down * across,).

    head: inches above them. gap: inches between two lines of them, and below the last.
    """
    height = part.bbox.height / part.figure.dpi
    each = max((height - head - down * gap) / down, 0.1)
    margins = {"left": 0.085, "right": 0.985, "wspace": 0.4} | more
    found: Array = part.subplots(
        down,
        across,
        squeeze=False,
        gridspec_kw={
            "top": 1 - head / height,
            "bottom": gap / height,
            "hspace": gap / each,
            **margins,
        },
    ).ravel()
    return found


def _head(part: SubFigure, text: str, below: float) -> None:
    """Write the heading of a part, some inches below its upper end."""
    height = part.bbox.height / part.figure.dpi
    part.text(0.01, 1 - below / height, text, fontsize=10, ha="left", va="top")


def _at_most(rows: Array) -> Array:
    if len(rows) <= MOST_ROWS:
        return rows
    return rows[np.random.default_rng(0).choice(len(rows), MOST_ROWS, replace=False)]


def _lines_of(pairs: Measured) -> int:
    """How many lines of two pairs there are."""
    return math.ceil(min(len(pairs.errors), MOST_PAIRS) / 2)


def cut(name: str, most: int = LONGEST) -> str:
    """Shorten a name to fit beside a picture. "$" would begin a formula, so it is written as such.

    Example:
        >>> from aevb.runs.table_pictures import cut
        >>> cut("Married-civ-spouse", 10), cut("pay in $")
        ('Married-c…', 'pay in \\\\$')
    """
    shown = name if len(name) <= most else name[: most - 1] + "…"
    return "".join(c if c.isprintable() else "?" for c in shown).replace("$", r"\$")


# -------------------------------------------------------------------------------------------------
# columns


def _columns(
    part: SubFigure,
    real: Array,
    made: Array,
    columns: Sequence[Column],
    shown: Sequence[int],
    shapes: Measured,
) -> None:
    """Draw the distribution of each column that is shown."""
    hidden = len(columns) - len(shown)
    more = f"; {hidden} more columns, with smaller errors, are not shown" if hidden else ""
    _head(part, f"columns, largest error first{more}", 0.35)
    cells = _cells(part, math.ceil(len(shown) / ACROSS), ACROSS, 0.8, 0.5)
    for axes, i in zip(cells, shown, strict=False):
        draw = _histogram if is_number(columns[i]) else _bars
        draw(axes, real[:, i], made[:, i], columns[i])
        axes.set_title(
            f"{cut(columns[i].name, 26)}  error {shapes.errors[i]:.3f}", fontsize=8, loc="left"
        )
        axes.tick_params(labelsize=6.5)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    for axes in cells[len(shown) :]:
        axes.set_axis_off()
    handles = [
        cells[0].plot([], [], color=colour, linewidth=5, alpha=alpha)[0]
        for colour, alpha in ((REAL, 0.45), (MADE, 1.0))
    ]
    part.legend(handles, ("data", "samples"), loc="upper right", ncols=2, fontsize=8, frameon=False)


def _histogram(axes: Axes, real: Array, made: Array, column: Column) -> None:
    """Draw two histograms of numbers. What lies outside the range of nearly all is in the ends."""
    real, made = (sizes(side[:, None], [column])[:, 0] for side in (real, made))
    gaps = [float(np.isnan(side).mean()) for side in (real, made)]
    real, made = real[~np.isnan(real)], made[~np.isnan(made)]
    edges = _edges(real, made, whole=column.kind == "integer")
    shares = [_shares(side, edges) for side in (real, made)]
    axes.stairs(shares[0], edges, fill=True, color=REAL, alpha=0.45)
    axes.stairs(shares[1], edges, color=MADE, linewidth=1.3)
    if max(share.max(initial=0) for share in shares) > 0.5:
        axes.set_yscale("log")  # else one spike would hide all the rest
    axes.set_ylabel("share", fontsize=6.5)
    if column.kind == "date":
        axes.set_xticks([edges[0], edges[-1]], _ends_as_text(column, edges))
        _inside(axes)
    if max(gaps) > 0:
        axes.text(
            0.98,
            0.96,
            f"missing {100 * gaps[0]:.1f} %\nof samples {100 * gaps[1]:.1f} %",
            transform=axes.transAxes,
            ha="right",
            va="top",
            fontsize=6.5,
        )


def _edges(real: Array, made: Array, *, whole: bool) -> Array:
    """Return the edges of the bins: one for each whole number if these are few."""
    both = real if len(real) else made if len(made) else np.zeros(1)
    low, high = np.quantile(both, (0.001, 0.999))
    if whole and high - low < BINS:
        return np.arange(math.floor(low), math.ceil(high) + 2) - 0.5
    if whole:  # each bin has as many whole numbers as any other, or some would stand out
        step = math.ceil((high - low + 1) / BINS)
        return np.arange(math.floor(low), math.ceil(high) + step + 1, step) - 0.5
    if high <= low:
        low, high = low - 0.5, high + 0.5
    return np.linspace(low, high, max(8, min(BINS, round(len(both) ** 0.5))) + 1)


def _shares(values: Array, edges: Array) -> Array:
    inside = values.clip(np.nextafter(edges[0], edges[1]), np.nextafter(edges[-1], edges[0]))
    found: Array = np.histogram(inside, edges)[0] / max(len(values), 1)
    return found


def _ends_as_text(column: Column, edges: Array) -> list[str]:
    return [cut(date_text(cell), 19) for cell in column.decode(edges[[0, -1]])]


def _inside(axes: Axes) -> None:
    """Keep the first and the last name of the x axis within the picture."""
    names = axes.get_xticklabels()
    names[0].set_horizontalalignment("left")
    names[-1].set_horizontalalignment("right")


def date_text(cell: Any) -> str:
    """Write a date, with its time unless that is midnight.

    Example:
        >>> import pandas as pd
        >>> from aevb.runs.table_pictures import date_text
        >>> date_text(pd.Timestamp("2020-12-31")), date_text(pd.Timestamp("2020-12-31 08:30"))
        ('2020-12-31', '2020-12-31 08:30:00')
    """
    return str(cell).removesuffix(" 00:00:00")


def _bars(axes: Axes, real: Array, made: Array, column: Column) -> None:
    """Draw the shares of the levels as pairs of bars, the most frequent above."""
    names, shares = _level_shares(real, made, column)
    at = np.arange(len(names))
    axes.barh(at - 0.2, shares[0], 0.4, color=REAL, alpha=0.45)
    axes.barh(at + 0.2, shares[1], 0.4, color=MADE)
    axes.set_yticks(at, [cut(name) for name in names])
    axes.invert_yaxis()


def _level_shares(real: Array, made: Array, column: Column) -> tuple[list[str], list[Array]]:
    """Return the names of what is shown, and the shares of both sides."""
    groups, names = _groups(real, column, MOST_LEVELS)
    found = [
        np.bincount(groups(side), minlength=len(names)) / max(len(side), 1) for side in (real, made)
    ]
    shown = [i for i in range(len(names)) if found[0][i] > 0 or found[1][i] > 0]
    return [names[i] for i in shown], [share[shown] for share in found]


class _Groups(NamedTuple):
    """Puts each level into a group: one of the most frequent, the others, or the missing cells."""

    of_place: Array

    def __call__(self, codes: Array) -> Array:
        last = len(self.of_place) - 1
        found: Array = self.of_place[np.minimum(places(codes, last), last)]
        return found


def _groups(real: Array, column: Column, most: int) -> tuple[_Groups, list[str]]:
    """Choose the levels that are shown, in the order of an ordered column, else of their shares."""
    count = len(column.levels)
    shares = np.bincount(places(real, count), minlength=count + 1)[:count]
    kept = np.argsort(-shares, kind="stable")[:most]
    if column.kind != "category":
        kept = np.sort(kept)
    of_place = np.full(count + 1, len(kept))
    of_place[kept], of_place[count] = np.arange(len(kept)), len(kept) + 1
    names = [str(column.levels[i]) for i in kept]
    rest = [str(column.levels[i]) for i in range(count) if i not in kept]
    others = rest[0] if len(rest) == 1 else f"{len(rest)} others"
    return _Groups(of_place), [*names, others, "missing"]


# -------------------------------------------------------------------------------------------------
# pairs


def _pairs(
    part: SubFigure, real: Array, made: Array, columns: Sequence[Column], pairs: Measured
) -> None:
    """Draw the pairs that differ most: points of numbers, shares of levels."""
    _head(part, "pairs, largest error first", 0.05)
    at = {column.name: i for i, column in enumerate(columns)}
    order = np.argsort(-pairs.errors, kind="stable")[:MOST_PAIRS]
    cells = _cells(part, _lines_of(pairs), 4, 0.5, 0.9, wspace=0.3)
    for axes in cells[1::2]:  # the samples stand close to the data that they belong to
        box = axes.get_position()
        axes.set_position((box.x0 - 0.035, box.y0, box.width, box.height))
    for place, which in enumerate(order):
        i, j = (at[name] for name in pairs.names[which])
        # Two columns of levels, or points: the order is given. A number lies along the x axis.
        if is_number(columns[j]) and not is_number(columns[i]):
            i, j = j, i
        axes = cells[2 * place], cells[2 * place + 1]
        sides = [sizes(side[:, [i, j]], [columns[i], columns[j]]) for side in (real, made)]
        if is_number(columns[j]):
            _points(axes, sides)
        else:
            _shades(axes, sides, columns[i], columns[j])
        axes[0].set_title(f"data   error {pairs.errors[which]:.3f}", fontsize=8, loc="left")
        axes[1].set_title("samples", fontsize=8, loc="left")
        axes[0].set_ylabel(cut(columns[j].name, 20), fontsize=7)
        axes[1].set_yticklabels([])
        for each in axes:
            each.set_xlabel(cut(columns[i].name, 26), fontsize=7)
            each.tick_params(labelsize=6)
    for axes in cells[2 * len(order) :]:
        axes.set_axis_off()


def _points(axes: Sequence[Axes], sides: Sequence[Array]) -> None:
    """Draw two columns of numbers as points, both sides in the range of nearly all real rows."""
    real = sides[0][~np.isnan(sides[0]).any(1)]
    ends = np.quantile(real, (0.001, 0.999), axis=0) if len(real) else np.array([[0, 0], [1, 1]])
    margin = 0.05 * np.maximum(ends[1] - ends[0], 1e-9)
    for each, rows, colour in zip(axes, sides, (REAL, MADE), strict=True):
        shown = rows[:MOST_POINTS]
        each.scatter(shown[:, 0], shown[:, 1], s=3, alpha=0.35, linewidths=0, color=colour)
        each.set_xlim(ends[0, 0] - margin[0], ends[1, 0] + margin[0])
        each.set_ylim(ends[0, 1] - margin[1], ends[1, 1] + margin[1])
        each.locator_params(nbins=5)


def _shades(axes: Sequence[Axes], sides: Sequence[Array], along: Column, across: Column) -> None:
    """Draw the shares of the combinations of two columns as shades; the second one has levels."""
    down, names = _groups(sides[0][:, 1], across, MOST_LEVELS)
    right, labels = _steps(sides[0][:, 0], sides[1][:, 0], along)
    counts = [
        np.bincount(down(rows[:, 1]) * len(labels) + right(rows[:, 0]), minlength=size) / len(rows)
        for size, rows in ((len(names) * len(labels), rows) for rows in sides)
    ]
    # The root, so that rare combinations can be seen beside frequent ones.
    tables = np.sqrt(counts).reshape(2, len(names), len(labels))
    lines, steps = (np.flatnonzero(tables.any(other)) for other in ((0, 2), (0, 1)))
    tables = tables[:, lines][:, :, steps]
    number = is_number(along)
    ticks = _few(len(steps)) if number else list(range(len(steps)))
    shown = [cut(labels[steps[i]], 12) for i in ticks]
    for each, table in zip(axes, tables, strict=True):
        each.imshow(
            table, cmap="Blues", vmin=0, vmax=tables.max(), aspect="auto", interpolation="nearest"
        )
        each.set_yticks(range(len(lines)), [cut(names[i], 14) for i in lines])
        each.set_xticks(
            ticks, shown, rotation=0 if number else 40, ha="center" if number else "right"
        )
        if number and len(ticks) > 1:
            _inside(each)


def _short(number: float) -> str:
    return f"{number:,.0f}" if 1e4 <= abs(number) < 1e8 else f"{number:.4g}"


def _few(count: int) -> list[int]:
    return sorted({0, count // 2, count - 1})


def _steps(real: Array, made: Array, column: Column) -> tuple[Any, list[str]]:
    """Return what puts the codes of a column along the x axis, and the names of the places."""
    if not is_number(column):
        return _groups(real, column, MOST_LEVELS)
    edges = _edges(real[~np.isnan(real)], made[~np.isnan(made)], whole=column.kind == "integer")
    edges = edges[:: max(1, len(edges) // 20)]
    whole = column.kind == "integer"
    middles = np.ceil(edges[:-1]) + 0.0 if whole else (edges[:-1] + edges[1:]) / 2
    if column.kind == "date":
        names = [str(cell)[:10] for cell in column.decode(middles)]
    else:
        names = [_short(middle) for middle in middles]

    def step(codes: Array) -> Array:
        found = np.digitize(np.nan_to_num(codes), edges[1:-1])
        return np.where(np.isnan(codes), len(middles), found)

    return step, [*names, "missing"]


# -------------------------------------------------------------------------------------------------
# associations


def _associations(
    part: SubFigure, real: Array, made: Array, columns: Sequence[Column], shown: Sequence[int]
) -> None:
    """Draw the associations of the columns in the data, in the samples, and their difference."""
    what = "correlation of numbers, Cramér's V of categories, correlation ratio of one of each"
    _head(part, f"associations: {what}", 0.05)
    found = [associations(rows[:, shown], columns) for rows in (real, made)]
    difference = found[1] - found[0]
    most = float(np.nanmax(np.abs(difference), initial=0.05))
    names = [cut(column.name, 14) for column in columns]
    small = 7 if len(names) <= 16 else 5.5
    three = zip(
        _cells(part, 1, 3, 0.55, 1.0, wspace=0.12),
        (*found, difference),
        ("data", "samples", "samples - data"),
        (1.0, 1.0, most),
        strict=True,
    )
    for axes, table, name, limit in three:
        image = axes.imshow(table, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
        axes.set_title(name, fontsize=8, loc="left")
        axes.set_xticks(range(len(names)), names, rotation=90, fontsize=small)
        axes.set_yticks(range(len(names)), names if name == "data" else [], fontsize=small)
        bar = part.colorbar(image, ax=axes, shrink=0.7, pad=0.02)
        bar.ax.tick_params(labelsize=6)
