"""aevb encode: rows to latent codes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
from cyclopts import Parameter

from aevb.commands.columns import Columns
from aevb.commands.help import unwrapped
from aevb.errors import UsageError


@unwrapped
def encode(
    run: Path,
    data: str,
    /,
    *,
    output: Annotated[Path, Parameter(name=("-o", "--output"))],
    ignore: Annotated[tuple[str, ...], Parameter(negative=())] = (),
) -> None:
    """Write the mean and the log-variance of q(z|x) for every row.

    The same rows give the same codes. The first columns say which row it is: its number, counted
    from 1, and its name if the data has one.

    Parameters
    ----------
    run
        The folder of a trained run.
    data
        A name, a file or a folder, in the form that the run was trained on.
    output
        .npy for the means (N, L); .npz for mu and logvar, with the labels of the rows if there are
        any; .csv for mu and logvar, side by side; .png, .pdf or .svg for a scatter plot.
    ignore
        Columns of the file that the model does not know, with commas between them.
    """
    from aevb import files, plots
    from aevb.commands import terminal
    from aevb.datasets import load_like
    from aevb.runs.pictures import latent_figure
    from aevb.storage import checkpoint

    files.check(output)
    trained = checkpoint.load(run)
    terminal.note_unfinished(trained, run)
    rows = load_like(data, trained.schema, ignore=ignore)
    terminal.note_data(rows)
    if files.is_picture(output):
        if trained.model.latent_dim < 2:
            raise UsageError(
                f"a scatter plot needs two latent dimensions; {run} has {trained.model.latent_dim}"
            )
        figure = latent_figure(trained, rows)
        files.whole(output, lambda part: plots.save(figure, part))
    else:
        mu, logvar = trained.encode(rows)
        table = Columns(rows)
        for name, array in (("mu", mu), ("logvar", logvar)):
            table.add(name, array, [f"{name}_{i + 1}" for i in range(mu.shape[1])])
        if rows.labels is not None and output.suffix.lower() == ".npz":
            table.add("labels", np.asarray(rows.labels))
        table.write(output, main="mu")
    print(f"{len(rows)} codes of {data} -> {output}")
