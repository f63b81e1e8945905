"""One page of what came out: a table for each experiment, beside the paper's numbers, and the
pictures."""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from aevb.files import whole
from aevb.paper import numbers
from aevb.paper.drawing import NAMES
from aevb.paper.running import Place, read

SUFFIXES = ("", "_mnist", "_frey")
"""Of the names of an experiment's pictures."""
EXTRAS = ("_constant", "_three_ways", "_measured")
"""Of the names of results that an experiment has besides its own."""
MARKS = (1_000_000, 3_000_000, 10_000_000)
"""Samples at which a trial has a line, besides where it stands."""
HEAD = ("trial", "samples", "test", "paper", "difference", "train", "paper", "minutes")
UNIT = (
    "Nats per row, larger is better; +- is one standard error over rows; minutes of training,"
    " beside whatever else ran."
)


def write_page(place: Place, length: str, names: Sequence[str]) -> Path:
    """Write the page, from the result files that are there, and return its path."""
    lines = [
        "# Auto-Encoding Variational Bayes, run again",
        "",
        f"`aevb reproduce all --{length}`. {UNIT}",
    ]
    for name in names:
        for part in (name, *(f"{name}{extra}" for extra in EXTRAS)):
            file = place.results / f"paper_{part}_{length}.json"
            if file.is_file():
                lines += [
                    "",
                    f"## {part.replace('_', ', ')}",
                    "",
                    *TABLES.get(part, table)(read(file)),
                ]
        lines += ["", *_pictures(place, name, length)]
    path = place.results / f"paper_{length}.md"
    whole(path, lambda part: part.write_text("\n".join(lines) + "\n", encoding="utf-8"))
    return path


def table(records: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Lines of a table: each trial at the marks and where it stands, beside the paper at as many
    samples."""
    yield f"| {' | '.join(HEAD)} |"
    yield "|---" * len(HEAD) + "|"
    seen: set[str] = set()
    for record in records:
        curve = record["curve"]
        for point in [p for p in curve if p["samples"] in MARKS or p is curve[-1]]:
            line = f"| {' | '.join(_cells(record['trial'], point))} |"
            if line not in seen:  # a trial may stand in two plans, one of which goes on for longer
                yield line
            seen.add(line)


def three_ways(records: Sequence[dict[str, Any]]) -> Iterator[str]:
    """log p(x) of some training and test rows by each way, and how far single rows are from
    quadrature."""
    ways = {
        "quadrature": "quadrature",
        "reciprocal": "reciprocal",
        "fitted_importance": "importance, fitted",
        "importance": "importance, encoder",
    }
    heads = [*ways.values(), *(f"one row off, {name}" for name in list(ways.values())[1:])]
    yield f"| trial | rows | {' | '.join(heads)} |"
    yield "|---" * (2 + len(heads)) + "|"
    for record in records:
        for split in ("train", "test"):
            values = [record.get(f"{split}_{way}", math.nan) for way in ways]
            errors = [record.get(f"{split}_{way}_row_error", math.nan) for way in list(ways)[1:]]
            cells = ["" if math.isnan(value) else f"{value:.2f}" for value in values + errors]
            yield f"| {record['name']} | {split} | {' | '.join(cells)} |"


def variances(records: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Estimator B's variance by group of parameters, and that of the others as multiples of it; +-
    is one standard error."""
    groups = list(next(iter(records[0]["variance"].values())))
    yield f"| latent dimensions | estimator | {' | '.join(groups)} |"
    yield "|---" * (2 + len(groups)) + "|"
    for record in records:
        first = next(iter(record["variance"]))
        rows = {
            first: record["variance"][first],
            **{f"{name}, over B": own for name, own in record["ratio_to_B"].items()},
        }
        for name, found in rows.items():
            cells = [
                f"{value:.3g} +- {error:.2g}" for value, error in (found[group] for group in groups)
            ]
            yield f"| {record['latent_dim']} | {name} | {' | '.join(cells)} |"


def full_vb(records: Sequence[dict[str, Any]]) -> Iterator[str]:
    """Bounds with and without a posterior over the decoder's parameters: in its means, over its
    draws, on the evidence."""
    yield (
        "| method | samples | test | train | test, weights drawn | train, weights drawn | evidence"
        " / rows |"
    )
    yield "|---" * 7 + "|"
    for record in records:
        for point in [
            p for p in record["curve"] if p["samples"] in MARKS or p is record["curve"][-1]
        ]:
            drawn = [
                _number(point.get(name, math.nan))
                for name in ("test_drawn", "train_drawn", "evidence")
            ]
            test = f"{point['test_bound']:.1f} +- {point['test_se']:.1f}"
            cells = [
                NAMES[record["trial"]["method"]],
                f"{point['samples']:.3g}",
                test,
                _number(point["train_bound"]),
                *drawn,
            ]
            yield f"| {' | '.join(cells)} |"


def constant(records: Sequence[dict[str, Any]]) -> Iterator[str]:
    """What a model without z makes of Frey Face."""
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
"""Experiments with a table of their own."""


def described(trial: dict[str, Any]) -> str:
    """A trial in a few words: the method, and what the heading does not say."""
    words = [NAMES[trial["method"]], f"{trial['latent_dim']} latent", f"{trial['rows']:,} rows"]
    words += [f"{trial['optimiser'].capitalize()} {trial['lr']:g}", f"std {trial['std']:g}"]
    words += ["binarised targets"] if trial["targets"] == "binary" else []
    words += ["slow log-variances"] if trial.get("logvar", 1.0) != 1.0 else []
    return ", ".join(words + ([f"seed {trial['seed']}"] if trial["seed"] else []))


def papers(trial: dict[str, Any], quantity: str, split: str, samples: float) -> float:
    """The paper's figure at as many samples; NaN where it has none."""
    size, curves = (
        (trial["rows"], numbers.FIGURE3)
        if quantity == "log_p"
        else (trial["latent_dim"], numbers.FIGURE2)
    )
    curve = curves.get((size, trial["method"], split), []) if trial["data"] == "mnist" else []
    return numbers.at(curve, samples)


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


def _number(value: float) -> str:
    return "" if math.isnan(value) else f"{value:.1f}"


def _pictures(place: Place, name: str, length: str) -> Iterator[str]:
    folder = os.path.relpath(place.pictures, place.results)
    for suffix in SUFFIXES:
        file = f"paper_{name}{suffix}_{length}.png"
        if (place.pictures / file).is_file():
            yield f"![{name}]({Path(folder) / file})"
