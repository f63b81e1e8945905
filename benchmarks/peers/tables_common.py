"""What the generators of tables have in common: the order, the codes of a table, and the clock.

A generator is a program that reads one order, learns from a CSV file, and writes as many rows as
are wanted to another. It runs in its own environment, so this module needs numpy and pandas alone.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

GAP = "?"
"""How a missing name is written in the tables of this benchmark."""

Floats = NDArray[np.float64]


class Codes:
    """A table as numbers: (N, C). A name is its place in the order of how often names occur.

    A missing name is a name like others. A missing number is NaN.

    Args:
        frame: The table.
    """

    def __init__(self, frame: pd.DataFrame) -> None:
        self.frame = frame
        self.is_name = [not pd.api.types.is_numeric_dtype(frame[c]) for c in frame]
        self.levels = {
            c: frame[c].fillna(GAP).value_counts().index
            for c, is_name in zip(frame, self.is_name, strict=True)
            if is_name
        }
        columns = [
            self.levels[c].get_indexer(frame[c].fillna(GAP)) if c in self.levels else frame[c]
            for c in frame
        ]
        self.rows: Floats = np.column_stack([np.asarray(c, np.float64) for c in columns])

    def table(self, rows: Floats) -> pd.DataFrame:
        """Return codes (N, C) as a table with the types of the one that was read."""
        columns = {}
        for i, c in enumerate(self.frame):
            if c in self.levels:
                columns[c] = self.levels[c][rows[:, i].astype(int)]
            else:
                columns[c] = rows[:, i].astype(self.frame[c].dtype)
        return pd.DataFrame(columns)


def read(path: str) -> pd.DataFrame:
    """Read a table of the benchmark. A missing name is the name ``GAP``."""
    return pd.read_csv(path)


def write(frame: pd.DataFrame, path: str) -> None:
    """Write a table."""
    frame.to_csv(path, index=False)


Generator = Callable[[int, int], pd.DataFrame]
"""Draw rows: (how many, seed) -> a table."""


Report = Callable[[], dict[str, Any]]
"""Say more about what was learned. Its time does not count."""
Learned = tuple[Generator, Report]


def serve(learn: Callable[[dict[str, Any]], Learned]) -> None:
    """Carry out the order in the program's first argument, and write facts beside the rows.

    The order has ``train``, ``out``, ``rows``, ``seed``, ``threads`` and the generator's own
    options. The facts have the seconds of learning, with the reading of the file and without the
    start of Python, the rows drawn a second, and the most memory in MB.

    Args:
        learn: Takes the order and returns what draws rows, and what says more facts.
    """
    order = json.loads(sys.argv[1])
    began = time.perf_counter()
    draw, report = learn(order)
    facts: dict[str, Any] = {"fit_seconds": round(time.perf_counter() - began, 2)}
    if order["rows"]:
        draw(100, 1)  # what is done at the first draw only does not count
        began = time.perf_counter()
        rows = draw(order["rows"], order["seed"])
        facts["rows_per_second"] = round(len(rows) / (time.perf_counter() - began))
        write(rows, order["out"])
    facts["peak_mb"] = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
    Path(order["out"]).with_suffix(".json").write_text(json.dumps(facts | report()))
