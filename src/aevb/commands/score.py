"""aevb score: how likely each row is, and the terms of its bound."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from aevb.config import Whole
from aevb.errors import UsageError


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

    With it, in this order: effective_sample_size, where below 10 log p(x) cannot be relied on;
    bound, reconstruction and kl; baseline, log p of the columns each by itself. Densities are those
    of the data in its own units.

    Parameters
    ----------
    run
        The folder of a trained run.
    data
        A name, a file or a folder, in the form that the run was trained on.
    output
        .csv or .npz for all of it; .npy for log p(x) alone (N,); .png, .pdf or .svg for a
        histogram.
    samples
        Draws of z a row for log p(x).
    seed
        Of the draws of z, and of the binarisation where there is one.
    device
        Where to compute.
    quiet
        Show no progress.
    """
    from aevb import files, plots
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
        shown = [name for name in ("bound", "log_likelihood", "baseline") if name in scores]
        figure = plots.scores(
            {name: scores[name] for name in shown}, f"{data}: {len(rows)} rows; {what}"
        )
        files.whole(output, lambda part: plots.save(figure, part))
    else:
        files.write(output, scores, list(scores))
    print(f"{len(rows)} rows of {data} scored by {what}, {samples} draws each -> {output}")
