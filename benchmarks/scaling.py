"""Measure the time of a step in one and two processes, and predict it for many.

    python benchmarks/scaling.py --out benchmarks/results/scaling.json

This takes about a minute. The network is 784-500-20 on random bits, with one thread per process.
Rounds of one process and of two processes take turns, and each ratio is one of medians. So other
work on the machine slows both. The results are written as JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import statistics
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch

import aevb
from aevb.config import Config
from aevb.datasets.schema import Data
from aevb.engine import decisions
from aevb.runs.build import build

NETWORK = {
    "hidden": (500,),
    "latent_dim": 20,
    "likelihood": "bernoulli",
    "validation": "0",
    "threads": 1,
    "epochs": 2,
}
BANDWIDTH, LATENCY = 1.25e9, 30e-6
"""Assumptions about the network between nodes: 10 Gbit/s, in bytes per second, and 30 microseconds
for each message."""
STEPS = 30


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--member", type=int, help="batch size; one process of a group")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    if arguments.member:
        member(arguments.member, arguments.out)
        return
    seconds: dict[str, list[float]] = {}
    for _ in range(arguments.rounds):
        for batch in (100, 512):
            for world in (1, 2):
                seconds.setdefault(f"{batch}/{world}", []).append(
                    group(batch, world, arguments.out)
                )
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    model, _ = build(Config(**NETWORK), "bernoulli", (784,), 1)
    parameters = sum(p.numel() for p in model.parameters())
    results = {
        "command": (
            f"python benchmarks/scaling.py --rounds {arguments.rounds} --out"
            " benchmarks/results/scaling.json"
        ),
        "milliseconds_a_step": {name: round(1e3 * value, 3) for name, value in medians.items()},
        "two_over_one": {
            str(b): round(medians[f"{b}/2"] / medians[f"{b}/1"], 3) for b in (100, 512)
        },
        "parameters": parameters,
        "model": predicted(medians, parameters),
    }
    arguments.out.write_text(json.dumps(results, indent=1) + "\n")
    print(json.dumps(results["milliseconds_a_step"]), json.dumps(results["two_over_one"]))


def group(batch: int, world: int, out: Path) -> float:
    """Return the median seconds of a step in ``world`` processes, measured by the first of them.

    batch: rows of each step. out: a file beside which the processes write.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = {
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(free.getsockname()[1]),
            "WORLD_SIZE": str(world),
        }
    part = out.with_suffix(".part")
    command = [sys.executable, __file__, "--member", str(batch), "--out", str(part)]
    ranks = [
        os.environ | address | {"RANK": str(rank), "LOCAL_RANK": str(rank), "OMP_NUM_THREADS": "1"}
        for rank in range(world)
    ]
    members = [subprocess.Popen(command, env=environment) for environment in ranks]
    codes = [process.wait() for process in members]
    if any(codes):
        sys.exit("a process failed")
    found = float(part.read_text())
    part.unlink()
    return found


def member(batch: int, out: Path) -> None:
    rows = np.random.default_rng(0).integers(0, 2, (batch * STEPS, 784)).astype(np.uint8)
    decisions.FEW_STEPS = 0  # recorded, as the steps of a longer run would be
    times: list[float] = []

    class Watch(aevb.Callbacks):
        def on_step(self, *_: object) -> None:
            times.append(time.perf_counter())

    aevb.fit(Data(rows, "bits"), Config(**NETWORK, batch_size=batch), callbacks=Watch())
    if os.environ["RANK"] == "0":
        seconds = statistics.median(after - before for before, after in pairwise(times[STEPS:]))
        out.write_text(str(seconds))


def predicted(medians: dict[str, float], parameters: int) -> dict[str, object]:
    """Predict step(W) = compute(B / W) + all-reduce + noise(B), in milliseconds.

    compute is a line through the times of the two batch sizes.
    """
    a_row = (medians["512/1"] - medians["100/1"]) / 412
    fixed = medians["100/1"] - 100 * a_row
    generator = torch.Generator().manual_seed(0)
    started = time.perf_counter()
    for _ in range(100):
        torch.randn(512, 20, generator=generator)
    a_row_of_noise = (time.perf_counter() - started) / 51200
    table = []
    for batch in (512, 4096, 32768):
        for world in (1, 2, 8, 64):
            parts = {
                "compute": fixed + a_row * batch / world,
                "all_reduce": 2 * (world - 1) * (4 * parameters / BANDWIDTH / world + LATENCY),
                # compute already contains the noise of the process's own rows.
                "noise": a_row_of_noise * batch * (1 - 1 / world),
            }
            total = sum(parts.values())
            milliseconds = {
                name: round(1e3 * value, 3) for name, value in (parts | {"step": total}).items()
            }
            table.append({"batch": batch, "processes": world} | milliseconds)
            table[-1]["speed_up"] = round((fixed + a_row * batch) / total, 2)
    return {
        "fixed_ms": round(1e3 * fixed, 4),
        "row_ms": round(1e3 * a_row, 5),
        "noise_row_ms": round(1e3 * a_row_of_noise, 6),
        "bandwidth_bytes_a_second": BANDWIDTH,
        "latency_seconds": LATENCY,
        "table": table,
    }


if __name__ == "__main__":
    main()
