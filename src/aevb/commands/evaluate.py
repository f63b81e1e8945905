"""aevb evaluate: figures with error bars, findings, and one page of pictures."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

from cyclopts import Parameter

from aevb.commands.help import unwrapped
from aevb.config import Whole
from aevb.errors import AevbError, CannotWriteError, UsageError

if TYPE_CHECKING:
    from aevb.datasets.schema import Data
    from aevb.runs.report import Evaluation
    from aevb.runs.run import Run
    from aevb.training.split import RunData


@unwrapped
def evaluate(
    run: Path,
    data: str | None = None,
    /,
    *,
    samples: Whole = 5000,
    rows: Whole = 1000,
    target: str = "",
    ais: Annotated[bool, Parameter(negative=())] = False,
    seed: Whole = 0,
    device: Literal["auto", "cpu", "cuda"] = "cpu",
    json: Annotated[bool, Parameter(negative=())] = False,
    quiet: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Measure a model: the bound and its terms, log p(x), the codes, the samples.

    Each figure has a unit and an error bar: +- is one standard error over rows. bound is the ELBO
    with weight 1 on the KL, whatever beta the model was trained with. log_likelihood is an
    importance-weighted estimate of log p(x). All densities are in the units of the data.

    For a table, samples are compared with its rows by column, by pair, by cell and by what can be
    learned from them. The same figure for held-out rows stands beside each.

    Parameters
    ----------
    run
        The folder of a trained run.
    data
        A name, a file or a folder. The default is the test split of the run's data, or else its
        validation rows.
    samples
        Draws of z for each row, to estimate log p(x).
    rows
        Use at most this many rows, drawn at random. The comparison of a table uses up to 50,000.
    target
        A column of a table. Trees learn from samples to predict it, and are tested on held-out
        rows, beside trees that learned from training rows.
    ais
        Also estimate log p(x) by annealed importance sampling, on 100 rows of the data, and between
        a lower and an upper bound on 100 rows drawn from the model. This takes minutes.
    seed
        Seed for the draws of z, for the choice of rows, and for the binarisation if there is one.
    json
        Print one JSON object and nothing else.
    device
        Where to compute.
    quiet
        Show no progress.
    """
    from aevb.commands import terminal
    from aevb.runs import report
    from aevb.storage import checkpoint

    _refuse_less("samples", samples, least=1, default=5000)
    _refuse_less("rows", rows, least=2, default=1000)
    trained = checkpoint.load(run).to(device)
    terminal.note_unfinished(trained, run)
    chosen = _rows_to_measure(trained, data, rows, seed)
    asked = {"samples": samples, "ais": ais, "seed": seed, "target": target}
    measured = _measure(trained, chosen, asked, quiet=quiet or json)
    likelihood, n = report.what_log_p_is(trained), len(chosen.rows)
    what = f"{chosen.name}: {n} of {len(chosen.all)} rows; {likelihood}"
    pictures = _draw(measured, what, chosen, run / "pictures")
    if json:
        about = {"run": str(run), "data": chosen.name, "rows": n, "likelihood": likelihood}
        found = _as_json(measured, trained)
        named = {"picture": pictures.get("evaluation"), "table_picture": pictures.get("table")}
        terminal.print_json(about | found | named)
    else:
        _print(measured, trained, what, pictures, annealed=ais)


def _refuse_less(name: str, value: int, *, least: int, default: int) -> None:
    """Raise UsageError for a number that is too small."""
    if value < least:
        raise UsageError(f"{name} must be at least {least}; got {value}. The default is {default}.")


class _Chosen(NamedTuple):
    """Rows to measure.

    name: a phrase for the rows. all: the rows that they were drawn from. training: the rows that
    the model was trained on, None if they are gone.
    """

    rows: Data
    name: str
    all: Data
    training: Data | None


def _print(
    measured: Evaluation,
    trained: Run,
    what: str,
    pictures: Mapping[str, str],
    *,
    annealed: bool,
) -> None:
    """Print the figures as text. what: a phrase for the measured rows."""
    from aevb.commands import terminal
    from aevb.runs import report

    print(what)
    terminal.print_table(terminal.figure_rows(measured.figures))
    for line in [*_table_lines(measured), *(f"left out   {it}" for it in measured.left_out)]:
        print(line)
    if annealed:
        print(
            "annealed   ais_log_likelihood on rows of the data; ais_lower and ais_upper on rows"
            " drawn from the model itself"
        )
    print(f"compared   {report.what_is_compared(trained)}")
    if told := report.verdict(measured):
        print(f"samples    {told}")
    terminal.print_findings(measured.findings)
    for picture in pictures.values():
        print(f"picture    {picture}")


def _table_lines(measured: Evaluation) -> list[str]:
    """What a person reads about a table below its figures: the worst, and what was used."""
    table = measured.table
    if table is None:
        return []
    lines = []
    for name, errors in table.worst.items():
        listed = ", ".join(f"{key[:60]} {error:.4f}" for key, error in list(errors.items())[:3])
        lines.append(f"worst      {name}: {listed}")
    if table.missing:
        gaps = sorted(table.missing.items(), key=lambda item: -abs(item[1][0] - item[1][1]))[:3]
        listed = ", ".join(
            f"{key[:60]} {100 * made:.1f} % (real rows {100 * real:.1f} %)"
            for key, (real, made) in gaps
        )
        lines.append(f"missing    {listed}")
    return [*lines, *(f"note       {note}" for note in table.notes)]


def _rows_to_measure(trained: Run, data: str | None, rows: int, seed: int) -> _Chosen:
    """Choose the rows, at most ``rows`` of them, drawn at random. The run's data are loaded once.

    Only the search for copies of training rows needs the training rows. So if they are gone, other
    rows given as ``data`` can still be measured.
    """
    from aevb.datasets import load_like
    from aevb.datasets.batches import split_rows
    from aevb.probability.seeds import counter_seed
    from aevb.training.split import RunData

    own: RunData | None = None
    try:
        own = RunData(trained)
    except AevbError:
        if data is None:
            raise
    if data is not None:
        found, name = load_like(data, trained.schema), data
    else:
        assert own is not None
        found, name = own.held_out()
    total, kept = len(found), found
    if rows < total:
        kept = found.take(split_rows(total, rows / total, counter_seed(seed, "rows"))[1].numpy())
    return _Chosen(kept, name, found, _training_rows(own))


def _training_rows(own: RunData | None) -> Data | None:
    """The rows that the model was trained on, or None if they are gone."""
    try:
        return own.prepared.train if own else None
    except AevbError:
        return None


def _measure(trained: Run, chosen: _Chosen, asked: Mapping[str, Any], *, quiet: bool) -> Evaluation:
    """Measure, with a progress bar for each long part. asked: options of ``report.evaluate``."""
    from aevb.commands import terminal
    from aevb.runs import report

    with terminal.progress(quiet) as bar:
        tasks: dict[str, Any] = {}

        def on_part(part: str, done: int, of: int) -> None:
            if part not in tasks:
                tasks[part] = bar.add_task(part, total=of, terms="")
            bar.update(tasks[part], completed=done)

        return report.evaluate(
            trained,
            chosen.rows,
            training=chosen.training,
            held_out=chosen.all,
            on_part=on_part,
            **asked,
        )


def _as_json(measured: Evaluation, trained: Run) -> dict[str, Any]:
    """The figures and findings as plain values."""
    from aevb.commands import terminal
    from aevb.runs import report

    kl = measured.kl_per_dimension
    return {
        **terminal.figures_json(measured.figures),
        "kl_per_dimension": None if kl is None else {"values": kl.tolist(), "unit": "nats"},
        "compared": report.what_is_compared(trained),
        "left_out": measured.left_out,
        **_table_json(measured),
        "samples": report.verdict(measured),
        "warnings": [finding._asdict() for finding in measured.findings],
    }


def _table_json(measured: Evaluation) -> dict[str, Any]:
    """What is known of a table beside its figures."""
    table = measured.table
    if table is None:
        return {}
    missing = {
        name: {"samples": made, "real": real} for name, (real, made) in table.missing.items()
    }
    return {"worst": table.worst, "missing_cells": missing, "notes": table.notes}


def _draw(measured: Evaluation, title: str, chosen: _Chosen, folder: Path) -> dict[str, str]:
    """Draw the pages of pictures. Returns the paths of those that could be written, by name."""
    from aevb import plots
    from aevb.commands import terminal

    figures = {
        "evaluation": plots.evaluation(
            measured.per_row,
            measured.kl_per_dimension,
            measured.codes,
            measured.prior,
            measured.real,
            measured.generated,
            title,
        )
    }
    if (table := measured.table) is not None:
        from aevb.runs.table_pictures import page

        which = "rows of the data" if chosen.training is None else "training rows"
        words = f"{len(table.made)} samples beside {len(table.real)} {which}"
        figures["table"] = page(table.real, table.made, table.columns, words)
    written = {}
    for name, figure in figures.items():
        try:
            written[name] = str(plots.save(figure, folder / f"{name}.png"))
        except CannotWriteError as error:  # print the figures even without their picture
            terminal.note(f"without a picture: {error}")
    return written
