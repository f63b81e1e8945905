"""aevb sample: generate new rows."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from aevb.commands.help import unwrapped
from aevb.config import Whole, whole_number
from aevb.errors import DataError, NotFoundError, UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from aevb.datasets.tabular.columns import Table
    from aevb.runs.run import Run


@unwrapped
def sample(
    run: Path,
    /,
    *,
    n: Annotated[int | None, Parameter(name=("-n", "--number"), converter=whole_number)] = None,
    output: Annotated[Path, Parameter(name=("-o", "--output"))],
    noise: Annotated[bool, Parameter(negative=())] = False,
    mean: Annotated[bool, Parameter(negative=())] = False,
    given: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    given_file: str | None = None,
    seed: Whole = 0,
    quiet: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Draw z ~ p(z) and write new rows in the units of the data.

    The new rows are draws from p(x|z). For pictures they are means of p(x|z), unless the pixels are
    counts.

    Parameters
    ----------
    run
        The folder of a trained run.
    n
        How many rows to generate. The default is 100, or one for each row of --given-file.
    output
        .npy, .npz or .csv for the rows; for a table also .tsv, .parquet, .feather, .json, .jsonl
        or .xlsx; .png, .pdf or .svg for a sheet of pictures, or a scatter plot beside the data.
    noise
        Write draws from p(x|z), with its noise. This is the default, except for pictures.
    mean
        Write means of p(x|z). This is the default for pictures. Rows of a table then vary less than
        the data do.
    given
        A condition that every row must meet, for a table: "sex=Female", "age>=60", "age<30",
        "state in CA,NY", "sex!=Male", "income=*" (not missing), "income=" or "income=missing"
        (missing). It may be given several times; all of them are met.
    given_file
        A table of conditions: one new row for each of its rows, in the same order. Cells that are
        missing there, and columns that it does not have, are free.
    seed
        Seed of the draws. Another seed gives other samples.
    quiet
        Show no progress.
    """
    if n is not None and n < 1:
        raise UsageError(f"the number of samples must be at least 1; got {n}")
    if given or given_file:
        _sample_given(run, n, given, given_file, output, seed, noise or mean, quiet)
        return
    if noise and mean:
        raise UsageError(
            "--noise asks for draws from p(x|z), --mean for its means; give one of them"
        )
    _sample(run, 100 if n is None else n, output, seed, noise, mean)


def _sample(run: Path, n: int, output: Path, seed: int, noise: bool, mean: bool) -> None:
    """Write rows or pictures without conditions."""
    from aevb import files, plots
    from aevb.commands import terminal
    from aevb.runs.pictures import column_names, drawn_from, sample_figure, table_figure
    from aevb.storage import checkpoint
    from aevb.training.split import held_out

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


def _sample_given(
    run: Path,
    n: int | None,
    given: tuple[str, ...],
    given_file: str | None,
    output: Path,
    seed: int,
    noise_or_mean: bool,
    quiet: bool,
) -> None:
    """Write rows that meet conditions."""
    from aevb import files
    from aevb.commands import terminal
    from aevb.runs.given import require_cells, rows_given
    from aevb.storage import checkpoint

    if given and given_file:
        raise UsageError("--given and --given-file both give conditions; give one of them")
    if noise_or_mean:
        raise UsageError("rows under conditions are draws; leave --noise and --mean out")
    trained = checkpoint.load(run)
    files.check(output, also=files.TABLES)
    if files.is_picture(output):
        raise UsageError(
            f"rows under conditions are written as a table, such as samples.csv; got {output.name}"
        )
    terminal.note_unfinished(trained, run)
    table = require_cells(trained, "--given-file" if given_file else "--given")
    if given_file:
        _sample_each(trained, run, n, given_file, output, seed, quiet)
        return
    n = 100 if n is None else n
    with terminal.progress(quiet) as bar:
        task = bar.add_task("rows", total=n, terms="")
        found = rows_given(
            trained, n, given, seed=seed, on_rows=lambda done: bar.update(task, completed=done)
        )
    _write_table(table, found.codes, output)
    print(f"{n} samples of {run} given {', '.join(given)}; {found.said()} -> {output}")


def _sample_each(
    trained: Run, run: Path, n: int | None, given_file: str, output: Path, seed: int, quiet: bool
) -> None:
    """Write one row for each row of a table of conditions."""
    from aevb.commands import terminal
    from aevb.datasets import readers
    from aevb.runs.given import row_for_each

    if not readers.exists(given_file):
        raise NotFoundError(f"there is no file {given_file!r}. Check the path.")
    raw = readers.table_like(given_file, trained.schema)
    table = trained.schema.table
    if raw is None or table is None:
        raise DataError(f"{given_file} is no table; give a file of conditions such as rows.csv")
    if n is not None and n != len(raw.frame):
        raise UsageError(
            f"{given_file} has {len(raw.frame)} rows of conditions, one for each new row, and -n is"
            f" {n}; leave -n out"
        )
    with terminal.progress(quiet) as bar:
        task = bar.add_task("rows", total=len(raw.frame), terms="")
        found = row_for_each(
            trained, raw.frame, given_file, seed=seed, on_rows=lambda done: bar.advance(task, done)
        )
    _write_table(table, found.codes, output, found.aside)
    if found.poor:
        terminal.note(
            f"{found.poor} rows have an effective sample size below 10: their conditions are rare"
            " together, and the other cells are less certain"
        )
    print(f"{len(found.codes)} samples of {run}, one for each row of {given_file} -> {output}")


def _write_table(
    table: Table, rows: NDArray[Any], output: Path, aside: dict[str, Any] | None = None
) -> None:
    """Write rows in the units of the data as the table that the data was: columns and types.

    A file of arrays takes them only if all columns are numbers. Raises UsageError.
    """
    from aevb import files
    from aevb.datasets.tabular.tables import write_table

    frame = table.decode(rows, aside)
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
