"""Judge files in one process, as the checker's child does: ``python -m judging SEEDS FILE...``
prints a JSON line for each.

Not in the tests' own process: the stand-ins for packages and devices stay for the rest of it.
"""

import gc
import json
import subprocess
import sys
import warnings
from collections.abc import Iterable
from pathlib import Path


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


def main(seeds: int, paths: list[str]) -> None:
    """Print a line for each file."""
    import torch

    from aevb.checker.judge import judge, look
    from aevb.checker.program import replacing
    from aevb.checker.program.program import Program
    from aevb.checker.program.source import read
    from aevb.checker.steps import numpy_noise

    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    replacing.install()
    numpy_noise.install()
    for path in map(Path, paths):
        gc.collect()
        gc.freeze()
        if not seeds:
            reports = {path.name: judge(Program(read(path)))}
        else:
            reports = {
                f"{path.name} {seed}": look(Program(read(path)), seed) for seed in range(seeds)
            }
        for name, report in reports.items():
            classes = [finding.class_ for finding in report.findings if finding.class_]
            print(
                json.dumps({"file": name, "verdict": report.verdict, "classes": classes}),
                flush=True,
            )


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
