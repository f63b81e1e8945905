"""Judge files in one process, as the checker's child does: ``python -m judging SEEDS FILE...``
prints a JSON line for each.

Not in the tests' own process: a stranger's program may change whatever it likes in its own.
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
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aevb.checker.program.program import Program
    from aevb.checker.report import Report


def judged(paths: Iterable[Path], seeds: int = 0) -> dict[str, tuple[str, list[str]]]:
    """(verdict, classes) by file name; with seeds, that of one look with each seed: "NAME SEED" by
    (verdict, classes)."""
    command = [sys.executable, "-m", "judging", str(seeds), *map(str, paths)]
    done = subprocess.run(
        command, cwd=Path(__file__).parent, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"file"')]
    return {line["file"]: (line["verdict"], line["classes"]) for line in lines}


@contextmanager
def program_of(path: Path) -> Iterator[Program]:
    """The file as a program with a session of its own, which is undone afterwards."""
    from aevb.checker.program.program import Program
    from aevb.checker.program.replacing import patched
    from aevb.checker.program.source import read
    from aevb.checker.session import Session

    with patched(Session()) as session:
        gc.collect()
        gc.freeze()
        yield Program(read(path), session)


def report_of(path: Path) -> Report:
    """The report of one file, judged in this process."""
    from aevb.checker.judge import judge

    with program_of(path) as program:
        return judge(program).placed(program.source)


def seen_with(path: Path, seed: int) -> Report:
    """The report of one look at the file."""
    from aevb.checker.judge import look

    with program_of(path) as program:
        return look(program, seed)


def main(seeds: int, paths: list[str]) -> None:
    """Print a line for each file."""
    import torch

    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    for path in map(Path, paths):
        reports = {f"{path.name} {seed}": seen_with(path, seed) for seed in range(seeds)}
        reports = reports or {path.name: report_of(path)}
        for name, report in reports.items():
            classes = [finding.class_ for finding in report.findings if finding.class_]
            print(
                json.dumps({"file": name, "verdict": report.verdict, "classes": classes}),
                flush=True,
            )


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
