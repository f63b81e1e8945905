"""aevb sample: generate new rows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from aevb.commands.help import unwrapped
from aevb.config import Whole, whole_number
from aevb.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aevb.datasets.tabular.columns import Table


@unwrapped
def sample(
    run: Path,
    /,
    *,
    n: Annotated[int, Parameter(name=("-n", "--number"), converter=whole_number)] = 100,
    output: Annotated[Path, Parameter(name=("-o", "--output"))],
    noise: Annotated[bool, Parameter(negative=())] = False,
    mean: Annotated[bool, Parameter(negative=())] = False,
    seed: Whole = 0,
) -> None:
    """Draw z ~ p(z) and write new rows in the units of the data.

    The new rows are draws from p(x|z). For pictures they are means of p(x|z), unless the pixels are
    counts.

    Parameters
    ----------
    run
        The folder of a trained run.
    n
        How many rows to generate.
    output
        .npy, .npz or .csv for the rows; for a table also .tsv, .parquet, .feather, .json, .jsonl
        or .xlsx; .png, .pdf or .svg for a sheet of pictures, or a scatter plot beside the data.
    noise
        Write draws from p(x|z), with its noise. This is the default, except for pictures.
    mean
        Write means of p(x|z). This is the default for pictures. Rows of a table then vary less than
        the data do.
    seed
        Seed of the draws. Another seed gives other samples.
    """
    from aevb import files, plots
    from aevb.commands import terminal
    from aevb.runs.pictures import column_names, drawn_from, sample_figure, table_figure
    from aevb.storage import checkpoint
    from aevb.training.split import held_out

    if n < 1:
        raise UsageError(f"the number of samples must be at least 1; got {n}")
    if noise and mean:
        raise UsageError(
            "--noise asks for draws from p(x|z), --mean for its means; give one of them"
        )
    trained = checkpoint.load(run)
    files.check(output, also=files.TABLES if trained.schema.table else ())
    terminal.note_unfinished(trained, run)
    noise = noise or (trained.schema.is_drawn and not mean)
    if not files.is_picture(output) and trained.schema.table is not None:
        drawn = trained.schema.to_data(trained.sample_x(n, seed=seed, noise=noise).cpu().numpy())
        _write_table(trained.schema.table, drawn, output)
    elif not files.is_picture(output):
        files.write(
            output, {"samples": trained.sample(n, seed=seed, noise=noise)}, column_names(trained)
        )
    elif trained.schema.is_picture:
        figure = sample_figure(trained, n, seed=seed, noise=noise)
        files.whole(output, lambda part: plots.save(figure, part))
    else:
        figure = table_figure(trained, held_out(trained)[0], n, seed=seed, noise=noise)
        files.whole(output, lambda part: plots.save(figure, part))
    print(f"{n} samples of {run}, {drawn_from(noise)} -> {output}")


def _write_table(table: Table, rows: NDArray[Any], output: Path) -> None:
    """Write rows in the units of the data as the table that the data was: columns and types.

    A file of arrays takes them only if all columns are numbers. Raises UsageError.
    """
    from aevb import files
    from aevb.datasets.tabular.tables import write_table

    frame = table.decode(rows)
    if output.suffix.lower() in files.TABLES:
        write_table(frame, {column.name: column.written for column in table.given}, output)
        return
    text = [str(name) for name, dtype in frame.dtypes.items() if dtype.kind not in "iufb"]
    if text:
        raise UsageError(
            f"{output.name} holds numbers alone, and the column {text[0]!r} holds others; write a"
            " table, such as samples.csv or samples.parquet"
        )
    files.write(output, {"samples": frame.to_numpy(float)}, ())
