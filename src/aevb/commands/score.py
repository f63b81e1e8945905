"""aevb score: how likely each row is, which rows are odd, and the terms of the bound."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, NamedTuple

import numpy as np
from cyclopts import Parameter

from aevb.commands.columns import Columns
from aevb.commands.help import unwrapped
from aevb.config import Whole
from aevb.errors import DataError, NotFoundError, UsageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from aevb.datasets.schema import Data
    from aevb.evaluation.threshold import Rule
    from aevb.runs.run import Run

    Scorer = Callable[[str, Data], dict[str, NDArray[Any]]]

MOST_HELD_OUT = 2000
"""At most this many held-out rows are scored to find the threshold."""


@unwrapped
def score(
    run: Path,
    data: str,
    /,
    *,
    output: Annotated[Path, Parameter(name=("-o", "--output"))],
    threshold: Annotated[str | None, Parameter(allow_leading_hyphen=True)] = None,
    ignore: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    rows_only: Annotated[bool, Parameter(negative=())] = False,
    picture: Path | None = None,
    samples: Whole = 1000,
    seed: Whole = 0,
    device: Literal["auto", "cpu", "cuda"] = "cpu",
    quiet: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Write log p(x) of every row, in nats: the least likely rows are the odd ones.

    The columns are row (counted from 1), the name of the row if the data has one, log_likelihood,
    effective_sample_size, bound, reconstruction, kl and baseline. Where effective_sample_size is
    below 10, log p(x) is unreliable. baseline is log p(x) of a model of independent columns. All
    densities are in the units of the data. A row gets the same scores alone and among others.

    For a table, oddness ranks odd rows best, the highest first: it is minus log p(x) with each
    number counted in spreads of its own column, so that it compares with what has a probability.

    For a table whose model takes missing cells, oddest names the column that makes the row odd most
    of all, and contribution_NAME says how much each column adds; they add up to log_likelihood.

    Parameters
    ----------
    run
        The folder of a trained run.
    data
        A name, a file or a folder, in the form that the run was trained on.
    output
        .csv or .npz for all columns; .npy for log p(x) alone (N,); .png, .pdf or .svg for a
        histogram.
    threshold
        Add a column odd, True where log p(x) is below a threshold. SHARE, such as 0.01: about this
        share of rows like those held out from training are odd. auto: the far-out fence of the
        held-out rows, three interquartile ranges below their first quartile. A number of nats,
        such as --threshold=-12.5, is the threshold itself.
    ignore
        Columns of the file that the model does not know, with commas between them.
    rows_only
        Do not say what each column adds; that takes about half of the time.
    picture
        Also draw the histogram, into a .png, .pdf or .svg.
    samples
        Draws of z for each row, to estimate log p(x).
    seed
        Seed for the draws of z, for the binarisation if there is one, and for the choice of
        held-out rows.
    device
        Where to compute.
    quiet
        Show no progress.
    """
    from aevb import files
    from aevb.commands import terminal
    from aevb.datasets import load_like
    from aevb.evaluation.threshold import is_odd, read_rule
    from aevb.runs import report
    from aevb.storage import checkpoint

    if samples < 1:
        raise UsageError(f"samples must be at least 1; got {samples}. The default is 1000.")
    rule = None if threshold is None else read_rule(threshold)
    files.check(output)
    _check_picture(picture, output)
    trained = checkpoint.load(run).to(device)
    terminal.note_unfinished(trained, run)
    rows = load_like(data, trained.schema, ignore=ignore)
    terminal.note_data(rows)
    columns = not rows_only and _takes_gaps(trained)
    with terminal.progress(quiet) as bar:

        def scores_of(name: str, these: Data, columns: bool = False) -> dict[str, NDArray[Any]]:
            task = bar.add_task(name, total=len(these), terms="")
            return trained.score(
                these,
                samples=samples,
                seed=seed,
                columns=columns,
                on_rows=lambda n: bar.advance(task, n),
            )

        limit = _limit(rule, trained, scores_of, seed) if rule else None
        scores = scores_of("log p(x)", rows, columns)
    what = report.what_log_p_is(trained)
    title = f"{data}: {len(rows)} rows; {what}"
    odd = is_odd(scores["log_likelihood"], limit.below) if limit else None
    for path in filter(None, (output, picture)):
        if files.is_picture(path):
            _draw(scores, title, limit.below if limit else math.nan, path)
        else:
            _write(rows, scores, odd, path)
    print(f"{len(rows)} rows of {data} scored by {what}, {samples} draws each -> {output}")
    if limit and odd is not None:
        print(f"{odd.sum()} of {len(rows)} rows are odd: {limit}")


def _takes_gaps(trained: Run) -> bool:
    return trained.schema.table is not None and trained.model.likelihood.form == "columns"


def _check_picture(picture: Path | None, output: Path) -> None:
    """Raise an error unless the picture beside the output can be written."""
    from aevb import files

    if picture is None:
        return
    files.check(picture)
    if not files.is_picture(picture):
        raise UsageError(
            f"--picture draws; expected a name that ends in .png, .pdf or .svg; got {picture.name}"
        )
    if picture == output:
        raise UsageError(f"-o and --picture both name {output}; give them different names")


class _Limit(NamedTuple):
    """A threshold in nats, and a phrase that says where it comes from."""

    below: float
    origin: str

    def __str__(self) -> str:
        return f"log p(x) below {self.below:.4f} nats, {self.origin}"


def _limit(rule: Rule, trained: Run, score_rows: Scorer, seed: int) -> _Limit:
    """Find the threshold. Held-out rows are scored if the rule needs them."""
    from aevb.commands import terminal
    from aevb.evaluation.threshold import threshold

    if not rule.needs_rows:
        return _Limit(threshold(rule, np.empty(0)), "as given")
    try:
        data, name = _held_out(trained, seed)
        scores = score_rows("held-out rows", data)
    except (DataError, NotFoundError) as error:
        raise type(error)(
            "--threshold by a share or auto needs the data of the run, and they cannot be used"
            f" ({str(error).rstrip('.')}); bring them back, or give nats, such as --threshold=-12.5"
        ) from error
    if name.startswith("the training rows"):
        terminal.note(
            "the run kept no rows apart, so the threshold comes from the rows that it was trained"
            " on, and other rows are odd more often; train with --validation 0.1 to prevent that"
        )
    below = threshold(rule, scores["log_likelihood"])
    what = f"the lowest {100 * rule.share:g}%" if rule.share else "the far-out fence"
    return _Limit(below, f"{what} of {len(data)} rows, {name}")


def _held_out(trained: Run, seed: int) -> tuple[Data, str]:
    """Choose at most ``MOST_HELD_OUT`` held-out rows, and return them with a phrase for them."""
    from aevb.datasets.batches import split_rows
    from aevb.probability.seeds import counter_seed
    from aevb.training.split import held_out

    data, name = held_out(trained)
    if len(data) > MOST_HELD_OUT:
        share = MOST_HELD_OUT / len(data)
        _, chosen = split_rows(len(data), share, counter_seed(seed, "threshold"))
        data = data.take(chosen.numpy())
    return data, name


def _write(
    rows: Data, scores: dict[str, NDArray[Any]], odd: NDArray[np.bool_] | None, path: Path
) -> None:
    """Write the scores with the columns that say which row each belongs to."""
    table = Columns(rows)
    for name, values in scores.items():
        several = values.ndim > 1 and rows.columns
        table.add(
            name, values, [f"contribution_{each}" for each in rows.columns or ()] if several else ()
        )
    if odd is not None:
        table.add("odd", odd)
    table.write(path, main="log_likelihood")


def _draw(scores: dict[str, NDArray[Any]], title: str, threshold: float, path: Path) -> None:
    """Draw a histogram of the scores."""
    from aevb import files, plots

    names = ("bound", "log_likelihood", "baseline")
    shown = {name: scores[name] for name in names if name in scores}
    figure = plots.scores(shown, title, threshold)
    files.whole(path, lambda part: plots.save(figure, part))
