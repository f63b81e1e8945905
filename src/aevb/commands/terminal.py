"""What commands print: results on stdout, progress and notes on stderr."""

from __future__ import annotations

import json
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

    from rich.progress import Progress

    from aevb.datasets.planning import Plan
    from aevb.datasets.schema import Data
    from aevb.evaluation.bound import Figure
    from aevb.evaluation.diagnosis import Diagnosis
    from aevb.runs.run import Run


FEW_VALUES = 10


def print_json(value: Mapping[str, Any]) -> None:
    """One object on stdout. Numbers that are not finite become null: JSON has no word for them."""
    print(json.dumps(_finite(value), indent=1))


def print_table(rows: Iterable[Sequence[str]], header: Sequence[str] = ()) -> None:
    """Aligned columns on stdout, plain text: it may be read by a program as well."""
    rows = [tuple(row) for row in rows]
    widths = [
        max(len(cell) for cell in column)
        for column in zip(*([tuple(header)] if header else []), *rows, strict=True)
    ]
    if header:
        print(
            "  ".join(
                cell.ljust(width) for cell, width in zip(header, widths, strict=True)
            ).rstrip()
        )
    for row in rows:
        print(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        )


def note(text: str) -> None:
    """A line on stderr."""
    print(text, file=sys.stderr)


def note_unfinished(run: Run, folder: Path) -> None:
    """A line on stderr where the training of a run was cut short: its figures are those of a model
    half trained."""
    if run.is_unfinished and (folder / "config.toml").is_file():
        note(
            f"trained {run.trained} of {run.config.epochs} epochs; `aevb fit --resume --out"
            f" {folder}` goes on"
        )


def progress(quiet: bool = False) -> Progress:
    """A progress bar on stderr, silent if ``quiet`` or unless that is a terminal.

    Tasks carry a field ``terms``, shown behind the bar.
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
    """A line with a spinner on stderr while the block runs; silent if ``quiet`` or unless that is a
    terminal."""
    from rich.console import Console

    console = Console(stderr=True)
    if quiet or not console.is_terminal:
        yield
        return
    with console.status(text):
        yield


@contextmanager
def live(text: Callable[[int], str]) -> Iterator[None]:
    """Show ``text(width)`` on stdout and renew it twice a second while the block runs. Only for a
    terminal."""
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    console = Console()
    with Live(
        get_renderable=lambda: Text(text(console.width)), console=console, refresh_per_second=2
    ):
        yield


def describe(data: Data, plan: Plan, training_rows: int, validation_rows: int) -> dict[str, Any]:
    """What was found in the data and what was decided, as plain values."""
    low, high = data.range
    return {
        "source": data.source,
        "rows": len(data),
        "training_rows": training_rows,
        "validation_rows": validation_rows,
        "shape": list(data.shape),
        "type": str(data.rows.dtype),
        "range": [low, high],
        "missing": 0,  # data with missing cells was refused when it was read
        "columns": list(data.columns) if data.columns else None,
        "few_values": (
            few_valued(data) if plan.schema.kind == "real" and plan.schema.levels is None else []
        ),
        "likelihood": plan.likelihood,
        "reason": plan.reason,
    }


def few_valued(data: Data) -> list[str]:
    """Names of a table's columns that hold at most ``FEW_VALUES`` integers, many times each: they
    may well be categories.

    Not those of two neighbours, like 0 and 1, which say the same either way.
    """
    if not data.columns or data.in_file:
        return []
    rows = np.asarray(data.rows)
    found = []
    for name, column in zip(data.columns, rows.T, strict=True):
        values = np.unique(column)
        if (
            values[-1] - values[0] != 1
            and len(values) <= min(FEW_VALUES, len(rows) / 5)
            and bool((values == np.round(values)).all())
        ):
            found.append(name)
    return found


def print_description(found: Mapping[str, Any]) -> None:
    """The dictionary of ``describe``, for people."""
    shape = " x ".join(map(str, found["shape"]))
    rows = [
        ("data", f"{found['source']}: {found['rows']} rows of {shape} ({found['type']})"),
        (
            "split",
            f"{found['training_rows']} for training, {found['validation_rows']} for validation",
        ),
        ("range", f"{found['range'][0]:.6g} to {found['range'][1]:.6g}"),
        ("likelihood", f"{found['likelihood']} ({found['reason']})"),
    ]
    if found["columns"]:
        if len(found["columns"]) > 1:  # of several units, one range says nothing
            rows.pop(2)
        shown = ", ".join(found["columns"][:8]) + (", ..." if len(found["columns"]) > 8 else "")
        rows.insert(1, ("columns", shown))
    print_table(rows)
    if found["few_values"]:
        names = ", ".join(found["few_values"][:8]) + (
            ", ..." if len(found["few_values"]) > 8 else ""
        )
        what = (
            f"{names}: only a few integers, treated as numbers. Categories? Give each its own"
            " column of 0 and 1"
        )
        print(f"note        {what}, or, if all columns are such, --likelihood categorical.")


def figure_rows(figures: Mapping[str, Figure]) -> list[tuple[str, str, str, str]]:
    """Name, value, standard error, and unit with details of each figure, for ``print_table``."""
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
    shown = (
        f"{100 * value:.3g}%" if name == "unreliable_rows" else f"{value:.4g}"
    )  # a share, not a count
    return f"{name.replace('_', ' ')} {shown}"


def figures_json(figures: Mapping[str, Figure]) -> dict[str, Any]:
    """Each figure as {"value", "standard_error", "unit"} and its details."""
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
    """A line for each, on stdout: it belongs to the result."""
    for finding in findings:
        print(f"warning    {finding.message}")


def _finite(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
