"""Helpers for the checker's tests: programs to judge, and judging without the confined child.

``main`` judges files in one process, as the checker's child does, and prints a JSON line for each.
Tests of many programs let ``warm.Warm`` call it in a fork instead of calling ``report_of``, since a
stranger's program may change its process.
"""

from __future__ import annotations

import gc
import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo import mutants
from zoo.mutants import Mutant, apply

if TYPE_CHECKING:
    from aevb.checker.program.program import Program
    from aevb.checker.report import Report

HERE = Path(__file__).parent
PROGRAMS = HERE / "programs"
SHELF: dict[str, dict[str, Any]] = json.loads(
    (HERE / "wild" / "labels.json").read_text(encoding="utf-8")
)
"""The label of each program of the shelf."""

Edit = tuple[str, str]
"""Text that occurs exactly once in a program, and its replacement."""


def program(name: str, *edits: Edit, more: str = "") -> str:
    """The text of a file in tests/programs, with edits and with more lines at its end."""
    text = (PROGRAMS / f"{name}.py").read_text(encoding="utf-8")
    return apply(text, list(edits), name) + more


def put(folder: Path, name: str, *edits: Edit, more: str = "") -> Path:
    """The same text as a file of the folder."""
    path = folder / f"{Path(name).name}.py"
    path.write_text(program(name, *edits, more=more), encoding="utf-8")
    return path


def wrong(report: Report) -> list[str]:
    """The classes of the mistakes in a report."""
    return [one.class_ for one in report.findings if one.verdict in ("bug", "scale")]


def exact_cases() -> dict[str, Mutant | str]:
    """For each class of mistake, a program of which exactly that class must be said.

    It is one of the zoo, or else the name of a file of the shelf.
    """
    cases: dict[str, Mutant | str] = {}
    for mutant in mutants.all():
        cases.setdefault(mutant.class_, mutant)
    for name, label in SHELF.items():
        cases.setdefault(label["class"], name)
    return {name: case for name, case in cases.items() if name}


@contextmanager
def program_of(path: Path) -> Iterator[Program]:
    """The file as a program with its own session, which is undone afterwards."""
    from aevb.checker.program.program import Program
    from aevb.checker.program.replacing import patched
    from aevb.checker.program.source import read
    from aevb.checker.session import Session

    with patched(Session()) as session:
        gc.collect()
        gc.freeze()
        yield Program(read(path), session)


def report_of(path: Path, seed: int | None = None) -> Report:
    """The report of one file, judged in this process; with a seed, of a single look."""
    from aevb.checker.judge import judge, look

    with program_of(path) as checked:
        report = judge(checked) if seed is None else look(checked, seed)
        return report.placed(checked.source)


def main(seeds: list[int], paths: list[str], rules: str = "") -> None:
    """Print a line for each file and seed; rules: a folder of more rules."""
    import torch

    from aevb.checker import findings

    if rules:
        findings.__path__.append(rules)
        findings.load()
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    looks: list[tuple[str, int | None]] = [(f" {seed}", seed) for seed in seeds]
    for path in map(Path, paths):
        for name, seed in looks or [("", None)]:
            report = report_of(path, seed)
            found: dict[str, Any] = {
                "file": path.name + name,
                "verdict": report.verdict,
                "classes": [finding.class_ for finding in report.findings if finding.class_],
            }
            print(json.dumps(found), flush=True)
