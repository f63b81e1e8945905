"""The output of commands: results on stdout, progress and notes on stderr."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from aevb.memory import in_words

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray
    from rich.progress import Progress

    from aevb.datasets.schema import Data
    from aevb.evaluation.bound import Figure
    from aevb.evaluation.diagnosis import Diagnosis
    from aevb.runs.run import Run
    from aevb.training.split import Prepared


FEW_VALUES = 10
"""A column with at most this many different values may hold categories."""
MOST_NAMED = 8
"""At most this many names of columns are printed."""


def print_json(value: Mapping[str, Any]) -> None:
    """Print one object on stdout. JSON has only null for numbers that are not finite."""
    print(json.dumps(_finite(value), indent=1))


def print_table(rows: Iterable[Sequence[str]], header: Sequence[str] = ()) -> None:
    """Print aligned columns on stdout, as plain text that programs can read as well."""
    lines = [tuple(row) for row in ([header] if header else []) + list(rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
        print("  ".join(cells).rstrip())


def note(text: str) -> None:
    """Print a line on stderr."""
    print(text, file=sys.stderr)


def note_unfinished(run: Run, folder: Path) -> None:
    """Note on stderr if a run was interrupted, since its model is not fully trained."""
    if run.is_unfinished and (folder / "config.toml").is_file():
        note(
            f"trained {run.trained} of {run.config.epochs} epochs; `aevb fit --resume --out"
            f" {folder}` goes on"
        )


def progress(quiet: bool = False) -> Progress:
    """A progress bar on stderr. It is disabled if ``quiet``, or if stderr is no terminal.

    The field ``terms`` of a task is shown behind its bar.
    """
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = [
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    ]
    console = Console(stderr=True)
    return Progress(
        *columns,
        TextColumn("{task.fields[terms]}"),
        console=console,
        disable=quiet or not console.is_terminal,
    )


@contextmanager
def waiting(text: str, quiet: bool = False) -> Iterator[None]:
    """Show a line with a spinner on stderr while the block runs.

    Nothing is shown if ``quiet``, or if stderr is no terminal.
    """
    from rich.console import Console

    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield
        return
    with console.status(text):
        yield


@contextmanager
def live(text: Callable[[int], str]) -> Iterator[None]:
    """Show ``text(width)`` on a terminal while the block runs, and renew it twice a second."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console()
    with Live(
        get_renderable=lambda: Text(text(console.width)), console=console, refresh_per_second=2
    ):
        yield


def describe(prepared: Prepared) -> dict[str, Any]:
    """The properties of the data, and the choice of the likelihood, as plain values."""
    data, plan, held_out = prepared.data, prepared.plan, prepared.validation
    is_continuous = plan.schema.values == "real" and plan.schema.levels is None
    low, high = data.range
    return {
        "source": data.source,
        "rows": len(data),
        "training_rows": len(prepared.train),
        "validation_rows": 0 if held_out is None else len(held_out),
        "shape": list(data.shape),
        "type": str(data.rows.dtype),
        "range": [low, high],
        "missing": 0,  # data with missing cells are refused when they are read
        "columns": list(data.columns) if data.columns else None,
        "few_values": few_valued(data) if is_continuous else [],
        "likelihood": plan.likelihood,
        "reason": plan.reason,
        "size": None if prepared.size is None else asdict(prepared.size),
        "notes": list(data.notes),
    }


def few_valued(data: Data) -> list[str]:
    """Names of a table's columns that may hold categories.

    Such a column holds at most ``FEW_VALUES`` different integers, many times each. A column of just
    two neighbouring integers, such as 0 and 1, does not count: it is good as numbers too.
    """
    if not data.columns or data.in_file:
        return []
    rows = np.asarray(data.rows)
    columns = zip(data.columns, rows.T, strict=True)
    return [name for name, column in columns if _may_be_categories(column)]


def _may_be_categories(column: NDArray[Any]) -> bool:
    """Whether a column (N,) holds few integers, many times each, but not two neighbours only."""
    values = np.unique(column)
    is_few = len(values) <= min(FEW_VALUES, len(column) / 5)
    return is_few and values[-1] - values[0] != 1 and bool((values == np.round(values)).all())


def print_description(found: Mapping[str, Any]) -> None:
    """Print the result of ``describe`` as text."""
    shape = " x ".join(map(str, found["shape"]))
    train, held_out = found["training_rows"], found["validation_rows"]
    rows = [("data", f"{found['source']}: {found['rows']} rows of {shape} ({found['type']})")]
    columns = found["columns"] or []
    if columns:
        rows.append(("columns", _first_names(columns)))
    rows.append(("split", f"{train} for training, {held_out} for validation"))
    if len(columns) < 2:  # columns have units of their own: one range for all says nothing
        rows.append(("range", f"{found['range'][0]:.6g} to {found['range'][1]:.6g}"))
    rows.append(("likelihood", f"{found['likelihood']} ({found['reason']})"))
    if size := found["size"]:
        widths = ",".join(map(str, size["hidden"]))
        rows.append(("network", f"{size['network']} of {widths} ({size['reason']})"))
        needs = f"{size['weights']:,} weights; about {in_words(size['memory'])} of memory"
        rows.append(("size", needs))
    print_table([*rows, *(("note", text) for text in found["notes"])])
    if found["few_values"]:
        print(
            f"note        {_first_names(found['few_values'])}: only a few integers, treated as"
            " numbers. Categories? Give each its own column of 0 and 1, or, if all columns are"
            " such, --likelihood categorical."
        )


def _first_names(names: Sequence[str]) -> str:
    """The first names of a list, as one line."""
    return ", ".join(names[:MOST_NAMED]) + (", ..." if len(names) > MOST_NAMED else "")


def figure_rows(figures: Mapping[str, Figure]) -> list[tuple[str, str, str, str]]:
    """Name, value, standard error and unit of each figure, with details, for ``print_table``."""
    return [
        (
            name,
            f"{figure.value:.4f}",
            "" if math.isnan(figure.standard_error) else f"+- {figure.standard_error:.4f}",
            "; ".join(
                [figure.unit, *(_detail(key, value) for key, value in figure.details.items())]
            ),
        )
        for name, figure in figures.items()
    ]


def _detail(name: str, value: float) -> str:
    is_share = name == "unreliable_rows"
    shown = f"{100 * value:.3g}%" if is_share else f"{value:.4g}"
    return f"{name.replace('_', ' ')} {shown}"


def figures_json(figures: Mapping[str, Figure]) -> dict[str, Any]:
    """Each figure by name: value, standard error, unit, and its details."""
    return {
        name: {
            "value": figure.value,
            "standard_error": figure.standard_error,
            "unit": figure.unit,
            **figure.details,
        }
        for name, figure in figures.items()
    }


def print_findings(findings: Iterable[Diagnosis]) -> None:
    """Print each finding as a line on stdout, since findings belong to the result."""
    for finding in findings:
        print(f"warning    {finding.message}")


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
