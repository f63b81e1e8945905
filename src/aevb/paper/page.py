"""The page of results: a table for each experiment, beside the paper's numbers, and pictures."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from aevb.files import whole
from aevb.paper import numbers
from aevb.paper.drawing import NAMES
from aevb.paper.running import Place, read

SUFFIXES = ("", "_mnist", "_frey")
"""Ends of the names of an experiment's pictures."""
EXTRAS = ("_constant", "_three_ways", "_measured")
"""Ends of the names of an experiment's further results."""
MARKS = (1_000_000, 3_000_000, 10_000_000)
"""Besides its last point, a trial has a line in the table at these numbers of samples."""
HEAD = ("trial", "samples", "test", "paper", "difference", "train", "paper", "minutes")
UNIT = (
    "Nats per row, larger is better; +- is one standard error over rows; minutes of training,"
    " beside whatever else ran."
)
WAYS = {
    "quadrature": "quadrature",
    "reciprocal": "reciprocal",
    "fitted_importance": "importance, fitted",
    "importance": "importance, encoder",
}
"""Ways to estimate log p(x) -> their names in the table. The others are compared with the first."""


def write_page(place: Place, length: str, names: Sequence[str]) -> Path:
    """Write the page from the result files that exist, and return its path.

    Args:
        place: Where to read and write.
        length: "full" or "quick".
        names: The names of the experiments.
    """
    lines = [
        "# Auto-Encoding Variational Bayes, run again",
        "",
        f"`aevb reproduce all --{length}`. {UNIT}",
    ]
    for name in names:
        for part in (name, *(f"{name}{extra}" for extra in EXTRAS)):
            file = place.results / f"paper_{part}_{length}.json"
            if file.is_file():
                lines += ["", f"## {part.replace('_', ', ')}", ""]
                lines += TABLES.get(part, table)(read(file))
        lines += ["", *_pictures(place, name, length)]
    path = place.results / f"paper_{length}.md"
    whole(path, lambda part: part.write_text("\n".join(lines) + "\n", encoding="utf-8"))
    return path


def table(records: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield a table of trials, at the marks and at their last points, beside the paper."""
    yield from _head(HEAD)
    seen: set[str] = set()
    for record in records:
        for point in _marked(record["curve"]):
            line = _row(_cells(record["trial"], point))
            if line not in seen:  # a trial may be scheduled twice, once for longer
                yield line
            seen.add(line)


def three_ways(records: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield a table of log p(x) by each way, with the root mean square error of single rows."""
    others = list(WAYS)[1:]
    errors = [f"one row off, {WAYS[way]}" for way in others]
    yield from _head(("trial", "rows", *WAYS.values(), *errors))
    names = [*WAYS, *(f"{way}_row_error" for way in others)]
    for record in records:
        for split in ("train", "test"):
            values = (record.get(f"{split}_{name}", math.nan) for name in names)
            yield _row([record["name"], split, *(_number(value, 2) for value in values)])


def variances(records: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield a table of variances, by group of parameters; +- is one standard error.

    The variances of the other estimators are given as multiples of estimator B's.
    """
    groups = list(next(iter(records[0]["variance"].values())))
    yield from _head(("latent dimensions", "estimator", *groups))
    for record in records:
        first = next(iter(record["variance"]))
        rows = {first: record["variance"][first]}
        rows |= {f"{name}, over B": own for name, own in record["ratio_to_B"].items()}
        for name, found in rows.items():
            pairs = (found[group] for group in groups)
            cells = [f"{value:.3g} +- {error:.2g}" for value, error in pairs]
            yield _row([str(record["latent_dim"]), name, *cells])


def full_vb(records: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield a table of bounds: at the mean weights, over draws of the weights, on the evidence."""
    drawn = {
        "test_drawn": "test, weights drawn",
        "train_drawn": "train, weights drawn",
        "evidence": "evidence / rows",
    }
    yield from _head(("method", "samples", "test", "train", *drawn.values()))
    for record in records:
        for point in _marked(record["curve"]):
            yield _row(
                [
                    NAMES[record["trial"]["method"]],
                    f"{point['samples']:.3g}",
                    f"{point['test_bound']:.1f} +- {point['test_se']:.1f}",
                    _number(point["train_bound"]),
                    *(_number(point.get(name, math.nan)) for name in drawn),
                ]
            )


def constant(records: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Yield a sentence with the log-density of Frey Face under a model without z."""
    yield (
        f"A mean and a variance for each pixel, without z: {records[0]['test_log_density']:.1f}"
        " nats a test row."
    )


TABLES = {
    "figure2_frey_constant": constant,
    "figure3_three_ways": three_ways,
    "figure3_step_three_ways": three_ways,
    "variance_measured": variances,
    "full_vb": full_vb,
}
"""Results that are not shown by ``table``, with the functions that show them."""


def described(trial: dict[str, Any]) -> str:
    """Return a short description of a trial: its method and settings."""
    words = [
        NAMES[trial["method"]],
        f"{trial['latent_dim']} latent",
        f"{trial['rows']:,} rows",
        f"{trial['optimiser'].capitalize()} {trial['lr']:g}",
        f"std {trial['std']:g}",
    ]
    if trial["targets"] == "binary":
        words.append("binarised targets")
    if trial.get("logvar", 1.0) != 1.0:
        words.append("slow log-variances")
    if trial["seed"]:
        words.append(f"seed {trial['seed']}")
    return ", ".join(words)


def papers(trial: dict[str, Any], quantity: str, split: str, samples: float) -> float:
    """Return the paper's figure for a trial; NaN if it has none.

    Args:
        trial: The settings of the trial, as its record holds them.
        quantity: "bound" or "log_p".
        split: "train" or "test".
        samples: Training samples seen.
    """
    by_rows = quantity == "log_p"
    size, curves = (
        (trial["rows"], numbers.FIGURE3) if by_rows else (trial["latent_dim"], numbers.FIGURE2)
    )
    curve = curves.get((size, trial["method"], split), []) if trial["data"] == "mnist" else []
    return numbers.at(curve, samples)


def _marked(curve: list[dict[str, float]]) -> list[dict[str, float]]:
    """Return the points of a curve that have a line in a table."""
    return [point for point in curve if point["samples"] in MARKS or point is curve[-1]]


def _head(cells: Sequence[str]) -> Iterator[str]:
    yield _row(cells)
    yield "|---" * len(cells) + "|"


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cells(trial: dict[str, Any], point: dict[str, float]) -> list[str]:
    quantity = "log_p" if "test_log_p" in point else "bound"
    ours = point[f"test_{quantity}"]
    test, train = (papers(trial, quantity, split, point["samples"]) for split in ("test", "train"))
    return [
        described(trial),
        f"{point['samples']:.3g}",
        f"{ours:.2f} +- {point['test_se']:.2f}",
        _number(test),
        "" if math.isnan(test) else f"{ours - test:+.1f}",
        f"{point[f'train_{quantity}']:.2f}",
        _number(train),
        f"{point['seconds'] / 60:.1f}",
    ]


def _number(value: float, digits: int = 1) -> str:
    """Return a number with ``digits`` digits after the point, or "" for NaN."""
    return "" if math.isnan(value) else f"{value:.{digits}f}"


def _pictures(place: Place, name: str, length: str) -> Iterator[str]:
    folder = os.path.relpath(place.pictures, place.results)
    for suffix in SUFFIXES:
        file = f"paper_{name}{suffix}_{length}.png"
        if (place.pictures / file).is_file():
            yield f"![{name}]({Path(folder) / file})"
