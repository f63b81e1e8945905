"""Measure how fast aevb trains, beside a plain torch loop, pythae, JAX and a floor.

    make bench
    python benchmarks/speed.py --out benchmarks/results/speed.json
    python benchmarks/speed.py --only tutorial mnist-100 --peers aevb plain --quick --out quick.json

The first makes the environments and measures all. The second measures all on a quiet machine.

Every peer runs in its own process and its own environment. All processes of a workload are started
and warmed up before the first one is measured. Then they take turns of one burst of steps each, so
that other work on the machine slows all of them. The times belong to one run on one machine; only
the ratios carry over to others. The results are written as JSON. docs/performance.md says more.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from harness import (
    Contender,
    Worker,
    WorkerError,
    compared,
    gpu_rates,
    machine,
    rotated,
    significant,
    summary,
    take_turns,
)
from peers.workloads import CURVES, WORKLOADS, Workload, mnist_file, parameter_count, step_flops

ROOT = Path(__file__).parents[1]
PEERS: dict[str, dict[str, Any]] = {
    "aevb": {},
    "aevb-fp32": {"precision": "fp32"},
    "plain": {},
    "pythae": {},
    "jax": {},
    "floor": {},
    "aevb-eager": {"compile": "off"},
    "aevb-compiled": {"compile": "on"},
    "aevb-bf16": {"precision": "bf16"},
}
"""Options of each peer's worker. Peers that are not in USUAL are measured only on request."""
USUAL = ("aevb", "aevb-fp32", "plain", "pythae", "jax", "floor")
OWN_ENVIRONMENT = ("pythae", "jax")
OTHERS = ("whole", "importance", "curves")
IMPORTANCE_ROWS = 32
GPU_BURST = 2
"""Factor of the steps in a turn on a GPU, where a step takes less time."""


def main() -> None:
    options = arguments()
    results = json.loads(options.out.read_text()) if options.out.exists() else {}
    here = machine(options.device)
    if results.get("machine") != here:
        results = {"machine": here}
    if options.device == "cuda":
        results["rates"] = gpu_rates()
    started = time.perf_counter()
    for name in options.only:
        print(f"{name} ({time.perf_counter() - started:.0f} s so far)", flush=True)
        skipped: dict[str, str] = {}
        section = {
            "command": command(options),
            "date": time.strftime("%Y-%m-%d"),
            "quick": options.quick,
            "load_before": round(os.getloadavg()[0], 2),
            **MEASURE.get(name, measure_workload)(name, options, skipped),
            "skipped": skipped,
        }
        results.setdefault("sections", {})[name] = section
        options.out.parent.mkdir(parents=True, exist_ok=True)
        options.out.write_text(json.dumps(results, indent=1) + "\n")


def arguments() -> argparse.Namespace:
    names = [*WORKLOADS, *OTHERS]
    cores = machine()["cores"]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--only", nargs="*", default=names, choices=names, metavar="NAME", help=", ".join(names)
    )
    parser.add_argument(
        "--peers",
        nargs="*",
        default=list(USUAL),
        choices=list(PEERS),
        metavar="PEER",
        help=", ".join(PEERS),
    )
    parser.add_argument(
        "--rounds", type=int, help="turns of each worker; 9 by default, 2 with --quick"
    )
    parser.add_argument(
        "--threads",
        type=int,
        nargs="*",
        help="of the torch-based peers, best of these; 1 and all cores by default",
    )
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument(
        "--quick", action="store_true", help="see that everything works; the figures mean little"
    )
    parser.add_argument(
        "--python",
        nargs="*",
        default=[],
        metavar="PEER=PATH",
        help="interpreters; .venv-PEER/bin/python by default",
    )
    parser.add_argument(
        "--out",
        type=Path,
        required=True,
        help="sections measured now replace those of the same machine there",
    )
    options = parser.parse_args()
    if options.device == "cuda":
        options.threads = options.threads or [1]  # threads hardly matter on a GPU
    options.rounds = options.rounds or (2 if options.quick else 9)
    options.threads = options.threads or ([1] if options.quick else sorted({1, cores}))
    options.python = dict(item.split("=", 1) for item in options.python)
    return options


def command(options: argparse.Namespace) -> str:
    """Return the command for the same measurement elsewhere.

    This machine's paths of interpreters and results are left out.
    """
    parts = ["python", "benchmarks/speed.py"]
    if options.only != [*WORKLOADS, *OTHERS]:
        parts += ["--only", *options.only]
    if options.peers != list(USUAL):
        parts += ["--peers", *options.peers]
    parts += ["--rounds", str(options.rounds), "--threads", *map(str, options.threads)]
    parts += ["--device", options.device] if options.device != "cpu" else []
    return shlex.join([*parts, *(["--quick"] if options.quick else []), "--out", options.out.name])


def contenders(
    options: argparse.Namespace, skipped: dict[str, str], but: tuple[str, ...] = ()
) -> list[Contender]:
    """Return a contender for each peer and number of threads.

    Args:
        options: Of the command line.
        skipped: Gets the reason for each peer without an environment.
        but: Peers to leave out.
    """
    found = []
    for peer in options.peers:
        own = f"{ROOT}/.venv-{peer}/bin/python"
        python = options.python.get(peer, own if peer in OWN_ENVIRONMENT else sys.executable)
        if peer in but:
            continue
        if not Path(python).exists():
            skipped[peer] = (
                f"no interpreter for {peer}: `make .venv-{peer}/.ready` makes its environment"
            )
            print(f"  skipped: {skipped[peer]}", flush=True)
            continue
        threads = [None] if peer == "jax" else options.threads
        found += [
            Contender(peer, peer.partition("-")[0], python, n, PEERS[peer], options.device)
            for n in threads
        ]
    return found


def sized(w: Workload, options: argparse.Namespace, rounds: int) -> Workload:
    """Return the workload in the size for this run.

    Args:
        w: The workload.
        options: Of the command line. --quick makes it small.
        rounds: Turns for which it must be long enough.
    """
    if options.device == "cuda":
        w = replace(w, burst=GPU_BURST * w.burst)
    if options.quick:
        w = replace(w, rows=min(w.rows, 2000), burst=max(1, w.burst // 10))
    needed = 1 + (rounds + 3) * w.burst
    return replace(w, epochs=max(w.epochs, -(-needed // w.steps_per_epoch)))


def measure_workload(
    name: str, options: argparse.Namespace, skipped: dict[str, str]
) -> dict[str, Any]:
    """Measure the time per step of all peers on one workload.

    This and the other measuring functions take the same arguments.

    Args:
        name: Of the section.
        options: Of the command line.
        skipped: Gets the reason for each peer that could not be measured.

    Returns:
        The section for the results.
    """
    w = sized(WORKLOADS[name], options, options.rounds)
    entries = take_turns(
        contenders(options, skipped), w, options.rounds, skipped, warm_up=1 if options.quick else 2
    )
    result = compared(entries)
    counts = {entry["parameters"] for entry in entries.values()}
    if not counts <= {parameter_count(w)}:
        raise SystemExit(
            f"{name}: the networks differ: {counts} parameters, expected {parameter_count(w)}"
        )
    print(f"  {parameter_count(w)} parameters each; data: {data_of(w)}", flush=True)
    for peer, best in result["best"].items():
        ratio = result["ratios"].get(peer, {}).get("of_medians")
        print(
            f"  {best:<16}{entries[best]['median'] * 1e3:10.3f} ms a"
            f" step{'' if ratio is None else f'{ratio:8.2f} x aevb'}",
            flush=True,
        )
    return {
        "parameters": parameter_count(w),
        "step_flops": step_flops(w),
        "data": data_of(w),
        "rows": w.rows,
        "batch": w.batch,
        "epochs": w.epochs,
        "burst": w.burst,
        **result,
    }


def data_of(w: Workload) -> str:
    """Say what the rows are."""
    if w.source == "mnist" and mnist_file():
        return "MNIST"
    return "mixture of three Gaussians" if w.source == "gmm" else "synthetic 8-bit pictures"


def measure_whole(
    _name: str, options: argparse.Namespace, skipped: dict[str, str]
) -> dict[str, Any]:
    """Measure whole processes that run the tutorial's 800 epochs (8 with --quick)."""
    w = WORKLOADS["tutorial"]
    w = replace(w, epochs=8) if options.quick else w
    rounds = min(options.rounds, 5)
    # aevb trains so small a network in fp32 anyway.
    lines = contenders(options, skipped, but=("floor", "aevb-fp32"))
    seconds: dict[str, list[float]] = {line.name: [] for line in lines}
    facts: dict[str, dict[str, Any]] = {}
    for turn in range(rounds):
        for line in rotated(lines, turn):
            if line.name in skipped:
                continue
            try:
                worker = Worker(line, w, whole=True)
            except WorkerError as error:
                skipped[line.name] = str(error)
                continue
            worker.process.wait()
            seconds[line.name].append(time.perf_counter() - worker.started)
            facts[line.name] = worker.first
            worker.end()
    entries = {
        line.name: {
            "peer": line.peer,
            "threads": line.threads,
            **summary(seconds[line.name]),
            **facts[line.name],
        }
        for line in lines
        if line.name not in skipped
    }
    for name, entry in entries.items():
        print(f"  {name:<16}{entry['median']:8.2f} s, loss {entry['loss']:.3f}", flush=True)
    return {
        "workload": w.name,
        "epochs": w.epochs,
        "steps": w.epochs * w.steps_per_epoch,
        **compared(entries),
    }


def measure_importance(
    _name: str, options: argparse.Namespace, skipped: dict[str, str]
) -> dict[str, Any]:
    """Measure the rows per second of log p(x) with 5000 draws, beside the decoder's products."""
    samples, rows = (500, 8) if options.quick else (5000, IMPORTANCE_ROWS)
    w = replace(
        WORKLOADS["mnist-100"], batch=rows, burst=GPU_BURST if options.device == "cuda" else 1
    )
    lines = [
        Contender(
            peer,
            "importance",
            sys.executable,
            n,
            {"samples": samples, "task": peer},
            options.device,
        )
        for peer in ("importance", "products")
        for n in options.threads
    ]
    result = compared(
        take_turns(lines, w, min(options.rounds, 5), skipped, warm_up=1), reference="products"
    )
    flops = 2 * samples * (w.latent_dim * w.hidden[0] + w.hidden[0] * w.data_dim)
    for name, entry in result["entries"].items():
        entry["rows_per_second"] = significant(rows / entry["median"])
        entry["gflops_per_second"] = significant(rows * flops / entry["median"] / 1e9)
        print(
            f"  {name:<16}{entry['rows_per_second']:8.2f} rows/s {entry['gflops_per_second']:8.1f}"
            " GFLOP/s",
            flush=True,
        )
    return {"samples": samples, "rows": rows, "flops_per_row": flops, "data": data_of(w), **result}


def measure_curves(
    _name: str, options: argparse.Namespace, skipped: dict[str, str]
) -> dict[str, Any]:
    """Measure the time per step against rows, width and latent size, with one thread."""
    options = argparse.Namespace(**vars(options) | {"threads": [1]})
    rounds = min(options.rounds, 5)
    lines = [
        line
        for line in contenders(options, skipped, but=("pythae", "jax"))
        if line.peer in ("aevb", "plain", "floor")
    ]
    curves: dict[str, Any] = {}
    for quantity, points in CURVES.items():
        curves[quantity] = []
        for value, w in list(points.items())[: 2 if options.quick else None]:
            entries = take_turns(lines, sized(w, options, rounds), rounds, skipped, warm_up=1)
            kept = {
                entry["peer"]: {key: entry[key] for key in ("median", "quartiles", "peak_mb")}
                for entry in entries.values()
            }
            curves[quantity].append({"value": value, "step_flops": step_flops(w), "peers": kept})
            times = (f"{peer} {one['median'] * 1e3:.2f} ms" for peer, one in kept.items())
            print(f"  {w.name}: {', '.join(times)}", flush=True)
    return {"threads": 1, "base": "784-500-20, batch 100", "rounds": rounds, "curves": curves}


MEASURE: dict[str, Callable[[str, argparse.Namespace, dict[str, str]], dict[str, Any]]] = {
    "whole": measure_whole,
    "importance": measure_importance,
    "curves": measure_curves,
}


if __name__ == "__main__":
    main()
