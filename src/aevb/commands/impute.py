"""aevb impute: fill the missing cells of a table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from aevb.commands.help import unwrapped
from aevb.config import Whole
from aevb.errors import UsageError


@unwrapped
def impute(
    run: Path,
    data: str,
    /,
    *,
    output: Annotated[Path, Parameter(name=("-o", "--output"))],
    draws: Whole | None = None,
    method: Literal["mean", "draw"] | None = None,
    ignore: Annotated[tuple[str, ...], Parameter(negative=())] = (),
    samples: Whole = 50,
    seed: Whole = 0,
    device: Literal["auto", "cpu", "cuda"] = "cpu",
    quiet: Annotated[bool, Parameter(negative=())] = False,
) -> None:
    """Fill the missing cells of a table, given the other cells of each row.

    All other cells stay as they are; in a text file they keep their letters.

    Parameters
    ----------
    run
        The folder of a run that was trained on such a table.
    data
        A table in a file, with missing cells.
    output
        The filled table: .csv, .tsv, .txt, .parquet, .feather, .json, .jsonl or .xlsx.
    draws
        Write so many versions, with draws in the missing cells (multiple imputation). They stand
        one after the other, with the columns .imp (the version) and .id (the row) in front, as R's
        mice writes and reads them.
    method
        mean: the conditional mean of a number, the most likely level of a category. draw: one draw,
        which varies as real cells do. The default is mean, and draw with --draws.
    ignore
        Columns of the file that the model does not know, with commas between them. They stay as
        they are.
    samples
        Draws for each row, on which the mean rests. A row that needs more gets more.
    seed
        Seed of the draws.
    device
        Where to compute.
    quiet
        Show no progress.
    """
    from aevb import files
    from aevb.commands import terminal
    from aevb.datasets.asked.filling import read_gappy, write_filled
    from aevb.runs.given import require_cells
    from aevb.runs.impute import fill
    from aevb.storage import checkpoint

    files.check(output, also=files.TABLES)
    if output.suffix.lower() not in files.TABLES:
        raise UsageError(
            f"{output.name} holds no table; give a name that ends in {', '.join(files.TABLES)}"
        )
    trained = checkpoint.load(run).to(device)
    terminal.note_unfinished(trained, run)
    names = [name.strip() for each in ignore for name in each.split(",")]
    table = require_cells(trained, "impute")
    rows = read_gappy(data, trained.schema, names)
    for text in dict.fromkeys(rows.notes):
        terminal.note(f"note       {text}")
    with terminal.progress(quiet) as bar:
        task = bar.add_task("rows", total=len(rows.codes), terms="")
        filled = fill(
            trained,
            rows.codes,
            draws=draws,
            method=method or "",
            samples=samples,
            seed=seed,
            on_rows=lambda n: bar.advance(task, n),
        )
    write_filled(
        rows.source,
        rows.frame,
        table,
        filled.codes,
        filled.missing,
        output,
        numbered=draws is not None,
    )
    if filled.poor:
        terminal.note(
            f"{filled.poor} rows have an effective sample size below 10: their other cells are odd"
            " to the model, and what was filled in is less certain"
        )
    gaps = int(filled.missing.sum())
    versions = "" if draws is None else f", {draws} versions"
    rows_with = int(filled.missing.any(1).sum())
    print(f"{gaps} missing cells in {rows_with} rows of {data} filled{versions} -> {output}")
