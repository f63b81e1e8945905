"""Choose the columns that column_kinds.py asks about, by a fixed random seed.

    python benchmarks/column_kinds_choose.py --seed 1
    python benchmarks/column_kinds_choose.py --seed 2

The tables are those of the R packages a to l with 200 rows and 3 columns or more. Seed 1 chooses
from one half of them, seed 2 from the other half; tables of one name, or with mostly the same
columns, are in the same half. The same people may still be in both, under other names.

A column's stratum says how its cells look. It serves to spread the choice, and is no label. The
labels of these columns are in results/column_kinds_labels.csv (seed 1) and column_kinds_labels2.csv
(seed 2).
"""

from __future__ import annotations

import argparse
import csv
import random
import re
import sys
from collections import Counter
from typing import Any, NamedTuple

from column_kinds import frames

QUOTAS = {
    "real": 50,
    "many whole numbers": 28,
    "few whole numbers": 23,
    "a whole number each": 10,
    "two numbers": 16,
    "years": 7,
    "two texts": 18,
    "few texts": 18,
    "many texts": 10,
    "a text each": 6,
    "digits and marks": 8,
    "constant": 5,
    "empty": 1,
}
"""Columns of each stratum. Their sum is 200; a stratum that runs short is filled with others."""

ROWS, COLUMNS, PER_TABLE, PER_PACKAGE, ROW_NAMES = 200, 3, 3, 40, 5
NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)([eE][-+]?\d+)?$")
MARKED = re.compile(r"\d{4}[-/]\d|\d{1,2}[-/:]\d{1,2}|\d{4} ?[QW]|\d{4} [A-Z]")


class Column(NamedTuple):
    """One column of one table, by how it looks in the CSV file."""

    package: str
    table: str
    name: str
    stratum: str
    has_gaps: bool


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, choices=(1, 2), default=1)
    arguments = parser.parse_args()
    tables = {
        (package, table): frame
        for package, table, frame in frames("a-l")
        if len(frame) >= ROWS and frame.shape[1] >= COLUMNS
    }
    half = halves({key: list(frame.columns) for key, frame in tables.items()})[arguments.seed - 1]
    columns = [column for key in half for column in looks(key, tables[key])]
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["package", "table", "column"])
    writer.writerows(column[:3] for column in choose(columns, arguments.seed))


def halves(tables: dict[tuple[str, str], list[str]]) -> list[list[tuple[str, str]]]:
    """Divide the tables at random into two halves. Tables that are alike stay together.

    Alike are tables of one name, and tables that share most of their columns' names.
    """
    groups: list[list[tuple[str, str]]] = []
    for key in sorted(tables):
        near = [group for group in groups if any(_alike(key, other, tables) for other in group)]
        merged = [key, *(other for group in near for other in group)]
        groups = [group for group in groups if group not in near] + [merged]
    random.Random(0).shuffle(groups)
    parts: list[list[tuple[str, str]]] = [[], []]
    for group in groups:
        min(parts, key=len).extend(group)
    return [sorted(part) for part in parts]


def _alike(
    one: tuple[str, str], other: tuple[str, str], tables: dict[tuple[str, str], list[str]]
) -> bool:
    first, second = ({str(c).lower() for c in tables[key]} - {"rownames"} for key in (one, other))
    return one[1].lower() == other[1].lower() or len(first & second) > 0.6 * len(first | second)


def looks(key: tuple[str, str], frame: Any) -> list[Column]:
    """Return the columns of a table with their strata."""
    columns = []
    for place, name in enumerate(frame.columns):
        cells = frame.iloc[:, [place]].to_csv(index=False, header=False, lineterminator="\n")
        values = [row[0] if row else "" for row in csv.reader(cells.splitlines())]
        filled = [value for value in values if value]
        columns.append(Column(*key, str(name), stratum(filled), len(filled) < len(values)))
    return columns


def stratum(cells: list[str]) -> str:
    """Say how the filled cells of a column look."""
    different = Counter(cells)
    if len(different) < 2:
        return "constant" if different else "empty"
    if all(NUMBER.match(cell) for cell in different):
        return _stratum_of_numbers([float(cell) for cell in different], len(cells))
    sample = list(different)[:50]
    if sum(bool(MARKED.match(cell)) for cell in sample) > len(sample) / 2:
        return "digits and marks"
    if len(different) == 2:
        return "two texts"
    if len(different) >= 0.8 * len(cells):
        return "a text each"
    return "few texts" if len(different) <= 8 else "many texts"


def _stratum_of_numbers(different: list[float], cells: int) -> str:
    if len(different) == 2:
        return "two numbers"
    if any(number != int(number) for number in different):
        return "real"
    if min(different) >= 1700 and max(different) <= 2100:
        return "years"
    if len(different) == cells:
        return "a whole number each"
    return "few whole numbers" if len(different) <= 12 else "many whole numbers"


def choose(columns: list[Column], seed: int) -> list[Column]:
    """Return columns by the quotas, a quarter of each stratum with gaps where there are so many."""
    rng = random.Random(seed)
    chosen: list[Column] = []
    shuffled = rng.sample(columns, len(columns))
    # The scarce strata choose first, before their tables are used up.
    scarce = sorted(QUOTAS, key=lambda name: sum(c.stratum == name for c in columns))
    for name in scarce:
        there = [column for column in shuffled if column.stratum == name]
        gaps = [column for column in there if column.has_gaps]
        _take(chosen, gaps, max(1, QUOTAS[name] // 4))
        taken = sum(column.stratum == name for column in chosen)
        _take(chosen, there, QUOTAS[name] - taken)
    others = [column for column in shuffled if column.stratum != "real"]
    _take(chosen, others, sum(QUOTAS.values()) - len(chosen))
    return sorted(chosen)


def _take(chosen: list[Column], candidates: list[Column], count: int) -> None:
    """Add at most ``count`` of the candidates that no limit forbids."""
    for column in candidates:
        if count <= 0:
            return
        if column not in chosen and _is_allowed(column, chosen):
            chosen.append(column)
            count -= 1


def _is_allowed(column: Column, chosen: list[Column]) -> bool:
    in_table = sum(other[:2] == column[:2] for other in chosen)
    in_package = sum(other.package == column.package for other in chosen)
    if in_table >= PER_TABLE or in_package >= PER_PACKAGE:
        return False
    names = sum(other.name == "rownames" for other in chosen)
    return column.name != "rownames" or names < ROW_NAMES


if __name__ == "__main__":
    main()
