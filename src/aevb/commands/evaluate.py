"""aevb evaluate: figures with error bars, findings, and one page of pictures."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from aevb.config import Whole
from aevb.errors import AevbError, CannotWriteError, UsageError

if TYPE_CHECKING:
    from aevb.datasets.schema import Data
    from aevb.runs.report import Evaluation
    from aevb.runs.run import Run


def evaluate(
    run: Path,
    data: str | None = None,
    /,
    *,
    samples: Whole = 5000,
    rows: Whole = 1000,
    ais: Annotated[bool, Parameter(negative=())] = False,
    seed: Whole = 0,
    device: Literal["auto", "cpu", "cuda"] = "cpu",
    json: Annotated[bool, Parameter(negative=())] = False,
    quiet: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Measure a model: the bound and its terms, log p(x), the codes, the samples. Everything has a
    unit and an error bar.

    bound: the ELBO, at weight 1 of the KL whatever beta the model was trained with. log_likelihood:
    an importance-weighted estimate of log p(x). Densities are those of the data in its own units;
    +- is one standard error over rows.

    Parameters
    ----------
    run
        The folder of a trained run.
    data
        A name, a file or a folder. By default the test split of the run's data, else its validation
        rows.
    samples
        Draws of z a row for log p(x).
    rows
        Use at most this many rows, drawn at random.
    ais
        Annealed importance sampling too, on 100 rows, and between bounds on 100 rows of the model's
        own: minutes.
    seed
        Of the draws of z, of the rows, and of the binarisation where there is one.
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

    for name, value, least, default in [("samples", samples, 1, 5000), ("rows", rows, 2, 1000)]:
        if value < least:
            raise UsageError(
                f"{name} must be at least {least}; got {value}. The default is {default}."
            )
    trained = checkpoint.load(run).to(device)
    terminal.note_unfinished(trained, run)
    found, name, total = _rows_to_measure(trained, data, rows, seed)
    measured = _measure(trained, found, samples=samples, ais=ais, seed=seed, quiet=quiet or json)
    what = f"{name}: {len(found)} of {total} rows; {report.what_log_p_is(trained)}"
    picture = _draw(measured, what, run / "pictures" / "evaluation.png")
    if json:
        about: dict[str, Any] = {
            "run": str(run),
            "data": name,
            "rows": len(found),
            "likelihood": report.what_log_p_is(trained),
        }
        terminal.print_json(
            about | _as_json(measured, trained) | {"picture": picture and str(picture)}
        )
        return
    _print(measured, trained, what, picture, annealed=ais)


def _print(
    measured: Evaluation, trained: Run, what: str, picture: Path | None, *, annealed: bool
) -> None:
    from aevb.commands import terminal
    from aevb.runs import report

    print(what)
    terminal.print_table(terminal.figure_rows(measured.figures))
    for line in measured.left_out:
        print(f"left out   {line}")
    if annealed:
        print(
            "annealed   ais_log_likelihood on rows of the data; ais_lower and ais_upper on rows"
            " drawn from the model itself"
        )
    print(f"compared   {report.what_is_compared(trained)}")
    if told := report.verdict(measured):
        print(f"samples    {told}")
    terminal.print_findings(measured.findings)
    if picture:
        print(f"picture    {picture}")


def _rows_to_measure(trained: Run, data: str | None, rows: int, seed: int) -> tuple[Data, str, int]:
    """The rows, what they are, and of how many they were drawn."""
    from aevb.datasets import load_like
    from aevb.datasets.batches import split_rows
    from aevb.probability.seeds import counter_seed
    from aevb.training.split import held_out

    found, name = held_out(trained) if data is None else (load_like(data, trained.schema), data)
    total = len(found)
    if rows < total:
        found = found.take(split_rows(total, rows / total, counter_seed(seed, "rows"))[1].numpy())
    return found, name, total


def _measure(
    trained: Run, found: Data, *, samples: int, ais: bool, seed: int, quiet: bool
) -> Evaluation:
    """Measure under a progress bar for each long part."""
    from aevb.commands import terminal
    from aevb.runs import report

    with terminal.progress(quiet) as bar:
        tasks: dict[str, Any] = {}

        def on_part(part: str, done: int, of: int) -> None:
            if part not in tasks:
                tasks[part] = bar.add_task(part, total=of, terms="")
            bar.update(tasks[part], completed=done)

        training = _training_rows(trained)
        return report.evaluate(
            trained, found, training=training, samples=samples, ais=ais, seed=seed, on_part=on_part
        )


def _as_json(measured: Evaluation, trained: Run) -> dict[str, Any]:
    from aevb.commands import terminal
    from aevb.runs import report

    kl = measured.kl_per_dimension
    return {
        **terminal.figures_json(measured.figures),
        "kl_per_dimension": None if kl is None else {"values": kl.tolist(), "unit": "nats"},
        "compared": report.what_is_compared(trained),
        "left_out": measured.left_out,
        "samples": report.verdict(measured),
        "warnings": [finding._asdict() for finding in measured.findings],
    }


def _training_rows(run: Run) -> Data | None:
    """The rows that the model was trained on, or None where they are gone: only the search for
    copies needs them."""
    from aevb.training.split import load_data, prepare

    try:
        return prepare(load_data(run.source, run.config), run.config).train
    except AevbError:
        return None


def _draw(measured: Evaluation, title: str, path: Path) -> Path | None:
    from aevb import plots
    from aevb.commands import terminal

    figure = plots.evaluation(
        measured.per_row,
        measured.kl_per_dimension,
        measured.codes,
        measured.prior,
        measured.real,
        measured.generated,
        title,
    )
    try:
        return plots.save(figure, path)
    except CannotWriteError as error:  # the figures are worth more than their picture
        terminal.note(f"without a picture: {error}")
        return None
