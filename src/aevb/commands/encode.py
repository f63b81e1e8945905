"""aevb encode: rows to latent codes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from aevb.commands.help import unwrapped
from aevb.errors import UsageError


@unwrapped
def encode(
    run: Path, data: str, /, *, output: Annotated[Path, Parameter(name=("-o", "--output"))]
) -> None:
    """Write the mean and the log-variance of q(z|x) for every row.

    The same rows give the same codes.

    Parameters
    ----------
    run
        The folder of a trained run.
    data
        A name, a file or a folder, in the form that the run was trained on.
    output
        .npy for the means (N, L); .npz for mu and logvar; .csv for both, side by side; .png, .pdf
        or .svg for a scatter plot.
    """
    from aevb import files, plots
    from aevb.commands import terminal
    from aevb.datasets import load_like
    from aevb.runs.pictures import latent_figure
    from aevb.storage import checkpoint

    files.check(output)
    trained = checkpoint.load(run)
    terminal.note_unfinished(trained, run)
    rows = load_like(data, trained.schema)
    if files.is_picture(output):
        if trained.model.latent_dim < 2:
            raise UsageError(
                f"a scatter plot needs two latent dimensions; {run} has {trained.model.latent_dim}"
            )
        figure = latent_figure(trained, rows)
        files.whole(output, lambda part: plots.save(figure, part))
    else:
        mu, logvar = trained.encode(rows)
        columns = [f"{name}_{i + 1}" for name in ("mu", "logvar") for i in range(mu.shape[1])]
        files.write(output, {"mu": mu, "logvar": logvar}, columns)
    print(f"{len(rows)} codes of {data} -> {output}")
