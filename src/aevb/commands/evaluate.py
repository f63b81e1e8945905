"""aevb evaluate: figures with error bars, findings, and one page of pictures."""

from __future__ import annotations

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
        Use at most this many rows, drawn at random.
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
    measured = _measure(trained, chosen, samples=samples, ais=ais, seed=seed, quiet=quiet or json)
    likelihood, n = report.what_log_p_is(trained), len(chosen.rows)
    what = f"{chosen.name}: {n} of {chosen.total} rows; {likelihood}"
    picture = _draw(measured, what, run / "pictures" / "evaluation.png")
    if json:
        about = {"run": str(run), "data": chosen.name, "rows": n, "likelihood": likelihood}
        found = _as_json(measured, trained)
        terminal.print_json(about | found | {"picture": picture and str(picture)})
    else:
        _print(measured, trained, what, picture, annealed=ais)


def _refuse_less(name: str, value: int, *, least: int, default: int) -> None:
    """Raise UsageError for a number that is too small."""
    if value < least:
        raise UsageError(f"{name} must be at least {least}; got {value}. The default is {default}.")


class _Chosen(NamedTuple):
    """Rows to measure.

    name: a phrase for the rows. total: how many rows they were drawn from. training: the rows that
    the model was trained on, None if they are gone.
    """

    rows: Data
    name: str
    total: int
    training: Data | None


def _print(
    measured: Evaluation, trained: Run, what: str, picture: Path | None, *, annealed: bool
) -> None:
    """Print the figures as text. what: a phrase for the measured rows."""
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
    total = len(found)
    if rows < total:
        found = found.take(split_rows(total, rows / total, counter_seed(seed, "rows"))[1].numpy())
    return _Chosen(found, name, total, _training_rows(own))


def _training_rows(own: RunData | None) -> Data | None:
    """The rows that the model was trained on, or None if they are gone."""
    try:
        return own.prepared.train if own else None
    except AevbError:
        return None


def _measure(
    trained: Run, chosen: _Chosen, *, samples: int, ais: bool, seed: int, quiet: bool
) -> Evaluation:
    """Measure, with a progress bar for each long part."""
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
            samples=samples,
            ais=ais,
            seed=seed,
            on_part=on_part,
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
        "samples": report.verdict(measured),
        "warnings": [finding._asdict() for finding in measured.findings],
    }


def _draw(measured: Evaluation, title: str, path: Path) -> Path | None:
    """Draw the page of pictures. Returns None if it cannot be written."""
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
    except CannotWriteError as error:  # print the figures even without their picture
        terminal.note(f"without a picture: {error}")
        return None
