"""The output of commands: results on stdout, progress and notes on stderr."""

from __future__ import annotations

import json
import math
import sys
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from aevb.memory import in_words

if TYPE_CHECKING:
    from pathlib import Path

    from rich.progress import Progress

    from aevb.datasets.schema import Data
    from aevb.datasets.tabular.columns import Table
    from aevb.evaluation.bound import Figure
    from aevb.evaluation.diagnosis import Diagnosis
    from aevb.runs.run import Run
    from aevb.training.split import Prepared


MOST_COLUMNS = 30
"""At most this many columns of a table are described, one on a line."""
NOUNS = {
    "table": "rows of {}",
    "pictures": "pictures of {}",
    "series": "series of {}",
    "counts": "rows of {} counts",
    "tokens": "rows of {} tokens",
}
"""What the rows of each kind of data are called, with a place for their shape."""
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


def note_data(data: Data) -> None:
    """Print on stderr what the user must read about rows, each sentence once."""
    for text in dict.fromkeys(data.notes):
        note(f"note       {text}")


def note_unfinished(run: Run, folder: Path) -> None:
    """Note on stderr if a run was interrupted, since its model is not fully trained."""
    from aevb.runs.automatic import planned_epochs

    if run.is_unfinished and (folder / "config.toml").is_file():
        note(
            f"trained {run.trained} of {planned_epochs(run.config)} epochs; `aevb fit --resume"
            f" --out {folder}` goes on"
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
    low, high = data.range
    return {
        "source": data.source,
        "kind": data.kind,
        "kind_reason": data.reason,
        "rows": len(data),
        "training_rows": len(prepared.train),
        "validation_rows": 0 if held_out is None else len(held_out),
        "shape": list(data.shape),
        "type": str(data.rows.dtype),
        # A number is no limit where cells are missing, and JSON has no NaN.
        "range": None if math.isnan(low) else [low, high],
        "missing": sum(column.missing for column in data.table.modelled) if data.table else 0,
        "columns": list(data.columns) if data.columns else None,
        "column_kinds": _column_facts(data.table),
        "notes": list(data.notes),
        "likelihood": plan.likelihood,
        "reason": plan.reason,
        "size": None if prepared.size is None else asdict(prepared.size),
        "decisions": prepared.reasons,
    }


def _column_facts(table: Table | None) -> list[dict[str, Any]]:
    """What is known of each column: name, kind, reason, and how many cells are missing."""
    columns = table.columns if table else ()
    return [
        {"name": c.name, "kind": c.kind, "reason": c.reason, "missing": c.missing} for c in columns
    ]


def print_description(found: Mapping[str, Any]) -> None:
    """Print the result of ``describe`` as text."""
    shape = " x ".join(map(str, found["shape"]))
    train, held_out = found["training_rows"], found["validation_rows"]
    why = f": {found['kind_reason']}" if found["kind_reason"] else ""
    what = f"{found['rows']} {NOUNS[found['kind']].format(shape)} ({found['type']}){why}"
    rows = [("data", f"{found['source']}: {what}")]
    columns = found["columns"] or []
    if found["column_kinds"]:
        rows.extend(_column_lines(found["column_kinds"]))
    elif columns:
        rows.append(("columns", _first_names(columns)))
    rows.append(("split", f"{train} for training, {held_out} for validation"))
    # Columns have units of their own: one range for all says nothing.
    if found["range"] and (len(columns) < 2 or found["kind"] != "table"):
        rows.append(("range", f"{found['range'][0]:.6g} to {found['range'][1]:.6g}"))
    rows.append(("likelihood", f"{found['likelihood']} ({found['reason']})"))
    if size := found["size"]:
        widths = ",".join(map(str, size["hidden"]))
        rows.append(("network", f"{size['network']} of {widths} ({size['reason']})"))
        needs = f"{size['weights']:,} weights; about {in_words(size['memory'])} of memory"
        rows.append(("size", needs))
    rows.extend(found["decisions"].items())
    print_table([*rows, *(("note", text) for text in found["notes"])])


def _column_lines(columns: Sequence[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """A line for each column: its name, its kind, and why."""
    shown = columns[:MOST_COLUMNS]
    width = min(24, max(len(column["name"]) for column in shown))
    lines = [
        f"{column['name']:{width}}  {column['kind']:10}  {column['reason']}{_gaps(column)}"
        for column in shown
    ]
    if len(columns) > len(shown):
        kinds = Counter(column["kind"] for column in columns[MOST_COLUMNS:])
        rest = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
        lines.append(f"and {len(columns) - MOST_COLUMNS} more: {rest}")
    return [("columns" if i == 0 else "", line) for i, line in enumerate(lines)]


def _gaps(column: Mapping[str, Any]) -> str:
    """How many cells of a column are missing, unless the reason says that all are."""
    if not column["missing"] or column["kind"] == "constant":
        return ""
    return f"; {column['missing']} {'cell' if column['missing'] == 1 else 'cells'} missing"


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
            "; ".join([figure.unit, *_beside(figure)]),
        )
        for name, figure in figures.items()
    ]


def _beside(figure: Figure) -> list[str]:
    """The details of a figure as phrases. Two of them are the same figure for real rows."""
    rest = {key: value for key, value in figure.details.items() if not key.startswith("real")}
    phrases = [_detail(key, value) for key, value in rest.items()]
    if "real" in figure.details:
        error = figure.details["real_error"]
        phrases.insert(0, f"real rows {figure.details['real']:.4f} +- {error:.4f}")
    return phrases


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
