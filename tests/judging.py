"""Helpers for the checker's tests: programs to judge, and judging without the confined child.

``python -m judging SEEDS FILE...`` judges files in one process, as the checker's child does, and
prints a JSON line for each. Tests of many programs start it instead of calling ``report_of``, since
a stranger's program may change its process.
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.mutants import apply

if TYPE_CHECKING:
    from aevb.checker.program.program import Program
    from aevb.checker.report import Report

PROGRAMS = Path(__file__).parent / "programs"

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


def judged(paths: Iterable[Path], seeds: int = 0) -> dict[str, tuple[str, list[str]]]:
    """Judge files in one other process: (verdict, classes) by file name.

    With seeds, take a single look with each seed: (verdict, classes) by "NAME SEED".
    """
    command = [sys.executable, "-m", "judging", str(seeds), *map(str, paths)]
    done = subprocess.run(
        command, cwd=Path(__file__).parent, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"file"')]
    return {line["file"]: (line["verdict"], line["classes"]) for line in lines}


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


def main(seeds: int, paths: list[str]) -> None:
    """Print a line for each file and seed."""
    import torch

    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    looks: list[tuple[str, int | None]] = [(f" {seed}", seed) for seed in range(seeds)]
    for path in map(Path, paths):
        for name, seed in looks or [("", None)]:
            report = report_of(path, seed)
            found: dict[str, Any] = {
                "file": path.name + name,
                "verdict": report.verdict,
                "classes": [finding.class_ for finding in report.findings if finding.class_],
            }
            print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
