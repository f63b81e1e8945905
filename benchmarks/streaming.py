"""Measure memory and time of training from a file that is larger than memory should be.

    python benchmarks/streaming.py --out benchmarks/results/streaming.json

This takes minutes, for 5 GB and 400 steps. Two processes train the same network, one from a large
file, the other on a part of it in memory. They take turns of a block of steps each, so that other
work on the machine slows both. The first step of each block is not timed.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from itertools import pairwise
from pathlib import Path

import numpy as np

COLUMNS, CHUNK = 784, 8192
SMALL_ROWS = 50_000
BLOCK = 50
"""Steps in one turn of a process."""


class EnoughError(Exception):
    """All steps are done."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path)
    parser.add_argument("--gigabytes", type=float, default=5.0)
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--binarize", default="none")
    parser.add_argument("--worker", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.worker:
        work(arguments.worker, arguments.binarize)
        return
    with tempfile.TemporaryDirectory() as folder:
        files = {"streamed": Path(folder) / "large.npy", "in_memory": Path(folder) / "small.npy"}
        write(files["streamed"], int(arguments.gigabytes * 1e9 / (4 * COLUMNS)))
        write(files["in_memory"], SMALL_ROWS)
        result = compare(files, arguments.steps, arguments.binarize)
    print(json.dumps(result, indent=1))
    if arguments.out:
        arguments.out.write_text(json.dumps(result, indent=1))


def write(path: Path, rows: int) -> None:
    """Write rows that look like pictures: smooth grey levels, mostly near black and white."""
    rng = np.random.default_rng(0)
    patterns = (
        rng.normal(size=(16, 28, 28)).cumsum(1).cumsum(2).reshape(16, COLUMNS).astype(np.float32)
    )
    patterns /= patterns.std(1, keepdims=True) * 4
    with path.open("wb") as file:
        header = {"descr": "<f4", "fortran_order": False, "shape": (rows, COLUMNS)}
        np.lib.format.write_array_header_1_0(file, header)
        for start in range(0, rows, CHUNK):
            codes = rng.normal(0, 2, (min(CHUNK, rows - start), 16)).astype(np.float32)
            file.write((1 / (1 + np.exp(-codes @ patterns))).tobytes())


def compare(files: dict[str, Path], steps: int, binarize: str) -> dict[str, object]:
    """Train on each file in a process of its own, in turns, and return the measurements.

    Args:
        files: By "streamed" and "in_memory".
        steps: Of each process.
        binarize: As in ``aevb.Config``.
    """
    command = [sys.executable, __file__, "--binarize", binarize, "--worker"]
    started = {
        name: subprocess.Popen(
            [*command, file], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        for name, file in files.items()
    }
    # Each worker writes its first line when it has done its first step.
    begun = {name: json.loads(worker.stdout.readline()) for name, worker in started.items()}
    seconds: dict[str, list[float]] = {name: [] for name in files}
    peak: dict[str, int] = {}
    for _ in range(max(1, steps // BLOCK)):
        for name, worker in started.items():
            print("go", file=worker.stdin, flush=True)
            block = json.loads(worker.stdout.readline())
            seconds[name] += block["seconds"]
            peak[name] = block["peak_bytes"]
    for worker in started.values():
        print("stop", file=worker.stdin, flush=True)
        worker.wait()
    median = {name: statistics.median(values) for name, values in seconds.items()}
    return {
        "file_bytes": {name: begun[name]["file_bytes"] for name in files},
        "seconds_before_the_first_step": {name: round(begun[name]["seconds"], 1) for name in files},
        "steps": {name: len(values) for name, values in seconds.items()},
        "peak_resident_bytes": peak,
        "median_milliseconds_per_step": {
            name: round(1000 * value, 3) for name, value in median.items()
        },
        "streamed_to_in_memory": round(median["streamed"] / median["in_memory"], 3),
        "settings": f"batches of 128, 784-500-20-500-784, one thread, binarize {binarize}",
    }


def work(path: Path, binarize: str) -> None:
    """Train on a file. After the first step and after each block, report and wait for the turn."""
    import torch

    import aevb
    from aevb.datasets import load

    torch.set_num_threads(1)
    times: list[float] = []
    started = time.perf_counter()

    def on_step() -> None:
        times.append(time.perf_counter())
        if len(times) > 1 and len(times) <= BLOCK:
            return
        if len(times) == 1:
            report = {"seconds": times[0] - started, "file_bytes": path.stat().st_size}
        else:
            taken = [after - before for before, after in pairwise(times)]
            report = {
                "seconds": taken,
                "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
            }
        print(json.dumps(report), flush=True)
        if sys.stdin.readline().strip() != "go":
            raise EnoughError
        times[:] = [time.perf_counter()]

    class Watch(aevb.Callbacks):
        def on_step(self, *_: object) -> None:
            on_step()

    config = aevb.Config(
        likelihood="bernoulli",
        binarize=binarize,
        hidden=(500,),
        latent_dim=20,
        batch_size=128,
        epochs=100,
    )
    try:
        aevb.fit(load(path), config, callbacks=Watch())
    except EnoughError:
        os._exit(0)


if __name__ == "__main__":
    main()
