"""aevb score: how likely each row is, and the terms of its bound."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from aevb.commands.help import unwrapped
from aevb.config import Whole
from aevb.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray


@unwrapped
def score(
    run: Path,
    data: str,
    /,
    *,
    output: Annotated[Path, Parameter(name=("-o", "--output"))],
    samples: Whole = 1000,
    seed: Whole = 0,
    device: Literal["auto", "cpu", "cuda"] = "cpu",
    quiet: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Write log p(x) of every row, in nats: the least likely rows are the odd ones.

    The columns are log_likelihood, effective_sample_size, bound, reconstruction, kl and baseline.
    Where effective_sample_size is below 10, log p(x) is unreliable. baseline is log p(x) of a model
    of independent columns. All densities are in the units of the data.

    Parameters
    ----------
    run
        The folder of a trained run.
    data
        A name, a file or a folder, in the form that the run was trained on.
    output
        .csv or .npz for all columns; .npy for log p(x) alone (N,); .png, .pdf or .svg for a
        histogram.
    samples
        Draws of z for each row, to estimate log p(x).
    seed
        Seed for the draws of z, and for the binarisation if there is one.
    device
        Where to compute.
    quiet
        Show no progress.
    """
    from aevb import files
    from aevb.commands import terminal
    from aevb.datasets import load_like
    from aevb.runs import report
    from aevb.storage import checkpoint

    if samples < 1:
        raise UsageError(f"samples must be at least 1; got {samples}. The default is 1000.")
    files.check(output)
    trained = checkpoint.load(run).to(device)
    terminal.note_unfinished(trained, run)
    rows = load_like(data, trained.schema)
    with terminal.progress(quiet) as bar:
        task = bar.add_task("log p(x)", total=len(rows), terms="")
        scores = trained.score(
            rows, samples=samples, seed=seed, on_rows=lambda n: bar.advance(task, n)
        )
    what = report.what_log_p_is(trained)
    if files.is_picture(output):
        _draw(scores, f"{data}: {len(rows)} rows; {what}", output)
    else:
        files.write(output, scores, list(scores))
    print(f"{len(rows)} rows of {data} scored by {what}, {samples} draws each -> {output}")


def _draw(scores: dict[str, NDArray[Any]], title: str, output: Path) -> None:
    """Draw a histogram of the scores."""
    from aevb import files, plots

    names = ("bound", "log_likelihood", "baseline")
    figure = plots.scores({name: scores[name] for name in names if name in scores}, title)
    files.whole(output, lambda part: plots.save(figure, part))
