"""Start worker processes, let them take turns, and summarise their times.

This module is about measuring. The workers in ``peers`` hold what is measured.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from peers.workloads import Workload

HERE = Path(__file__).parent


class WorkerError(Exception):
    """A worker ended too early."""


@dataclass(frozen=True)
class Contender:
    """One line of a comparison.

    Attributes:
        peer: Its name.
        module: The module in ``peers`` that runs it.
        python: The interpreter of its environment.
        threads: How many, or None if it chooses itself.
        options: For the worker.
        device: "cpu" or "cuda".
    """

    peer: str
    module: str
    python: str
    threads: int | None
    options: dict[str, Any] = field(default_factory=dict)
    device: str = "cpu"

    @property
    def name(self) -> str:
        """``peer``, or ``peer@threads``."""
        return self.peer if self.threads is None else f"{self.peer}@{self.threads}"

    def environment(self) -> dict[str, str]:
        """Return the environment variables of the process.

        They are the same for all contenders except for the number of threads. Packages of another
        environment are kept out.
        """
        env = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("OMP_", "MKL_", "KMP_", "XLA_"))
        }
        if self.python != sys.executable:
            env.pop("PYTHONPATH", None)
        if self.threads is not None:
            env |= dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS"), str(self.threads))
        if self.device == "cpu":
            env |= {"CUDA_VISIBLE_DEVICES": "", "JAX_PLATFORMS": "cpu"}
        return env


class Worker:
    """A process that answers orders. The constructor returns when the first step is done."""

    def __init__(self, contender: Contender, workload: Workload, whole: bool = False) -> None:
        self.contender, self.messages = contender, tempfile.TemporaryFile("w+")  # noqa: SIM115
        spec = {
            "workload": asdict(workload),
            "threads": contender.threads,
            "device": contender.device,
            "whole": whole,
            **contender.options,
        }
        self.started = time.perf_counter()
        self.process = subprocess.Popen(
            [contender.python, "-m", f"peers.{contender.module}", json.dumps(spec)],
            cwd=HERE,
            env=contender.environment(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.messages,
            text=True,
        )
        self.first = self.hear()
        self.first_step_seconds = time.perf_counter() - self.started

    def hear(self) -> dict[str, Any]:
        """Return the next answer.

        Raises WorkerError with the worker's last message if the process has ended.
        """
        line = self.process.stdout.readline()
        if line:
            return json.loads(line)
        self.process.wait()
        self.messages.seek(0)
        lines = [text for text in self.messages.read().splitlines() if text.strip()]
        self.end()
        raise WorkerError(
            f"{self.contender.name}:"
            f" {lines[-1] if lines else f'exit code {self.process.returncode}'}"
        )

    def tell(self, **order: Any) -> dict[str, Any]:
        """Give an order and wait for the answer."""
        try:
            self.process.stdin.write(json.dumps(order) + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass
        return self.hear()

    def close(self) -> dict[str, Any]:
        """End the worker, and return its facts."""
        facts = self.tell(close=True)
        self.end()
        return facts

    def end(self) -> None:
        """End the process, whatever it is doing. A second call does nothing."""
        if self.process.poll() is None:
            self.process.stdin.close()
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        self.messages.close()


def rotated(items: list[Any], by: int) -> list[Any]:
    """Return the items in the same order, starting with the one at index ``by``."""
    by %= max(1, len(items))
    return items[by:] + items[:by]


@contextmanager
def started(
    contenders: list[Contender], workload: Workload, skipped: dict[str, str]
) -> Iterator[list[Worker]]:
    """Start the workers, and end them after the ``with`` block.

    Workers on a GPU start all at once.

    Args:
        contenders: One for each worker.
        workload: The network and its data.
        skipped: Gets the reason for each worker that cannot start.
    """

    def start(contender: Contender) -> Worker | None:
        try:
            return Worker(contender, workload)
        except (WorkerError, OSError) as error:
            skipped[f"{workload.name} {contender.name}"] = str(error)
            print(f"  skipped: {error}", flush=True)
            return None

    at_once = len(contenders) if any(contender.device == "cuda" for contender in contenders) else 1
    with ExitStack() as stack, ThreadPoolExecutor(at_once) as starters:
        workers = [worker for worker in starters.map(start, contenders) if worker]
        for worker in workers:
            stack.callback(worker.end)
        yield workers


def take_turns(
    contenders: list[Contender],
    workload: Workload,
    rounds: int,
    skipped: dict[str, str],
    warm_up: int = 2,
) -> dict[str, Any]:
    """Measure the seconds per step of all contenders, in turns.

    Each round starts with the next contender.

    Args:
        contenders: One for each worker.
        workload: The network and its data.
        rounds: Turns of each worker.
        skipped: Gets the reason for each worker that cannot start.
        warm_up: Bursts of each worker before the first round.

    Returns:
        An entry for each contender, by name.
    """
    entries: dict[str, Any] = {}
    with started(contenders, workload, skipped) as workers:
        for _ in range(warm_up):
            for worker in workers:
                worker.tell(steps=workload.burst)
        answers: dict[str, list[dict[str, float]]] = {
            worker.contender.name: [] for worker in workers
        }
        for turn in range(rounds):
            for worker in rotated(workers, turn):
                answers[worker.contender.name].append(worker.tell(steps=workload.burst))
        for worker in workers:
            said, name = answers[worker.contender.name], worker.contender.name
            peak = said[-1]["peak_mb"]  # gathering the facts needs memory too, so take it now
            facts = worker.close()
            entries[name] = {
                "peer": worker.contender.peer,
                "threads": worker.contender.threads,
                **summary([answer["seconds"] / workload.burst for answer in said]),
                "first_step_seconds": round(worker.first_step_seconds, 4),
                "idle_cpu_seconds": round(max(answer["idle_cpu"] for answer in said), 4),
                "loss": said[-1]["loss"],
                **facts,
                "peak_mb": round(peak, 1),
            }
    return entries


def summary(seconds: list[float]) -> dict[str, Any]:
    """Return the median, the quartiles and all values."""
    if len(seconds) > 1:
        low, median, high = statistics.quantiles(seconds, n=4, method="inclusive")
    else:
        low = median = high = seconds[0]
    return {
        "median": significant(median),
        "quartiles": [significant(low), significant(high)],
        "rounds": [*map(significant, seconds)],
    }


def significant(value: float) -> float:
    """Round to four significant digits, since more would be noise."""
    return float(f"{value:.4g}")


def compared(entries: dict[str, Any], reference: str = "aevb") -> dict[str, Any]:
    """Add the best number of threads of each peer, and the ratios to a reference.

    The ratios are of medians, and of each round.
    """
    best: dict[str, str] = {}
    for name, entry in entries.items():
        other = best.get(entry["peer"])
        if other is None or entry["median"] < entries[other]["median"]:
            best[entry["peer"]] = name
    ratios = {}
    if reference in best:
        base = entries[best[reference]]
        for peer, name in best.items():
            entry = entries[name]
            ratios[peer] = {
                "of_medians": significant(entry["median"] / base["median"]),
                "by_round": [
                    significant(a / b) for a, b in zip(entry["rounds"], base["rounds"], strict=True)
                ],
            }
    return {"entries": entries, "best": best, "ratios": ratios}


def machine(device: str = "cpu") -> dict[str, Any]:
    """Describe the machine."""
    model, flags = platform.processor() or platform.machine(), set()
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text().splitlines():
            name, _, value = line.partition(":")
            model = value.strip() if name.strip() == "model name" else model
            flags |= set(value.split()) if name.strip() == "flags" else set()
    wanted = ("avx2", "avx512f", "avx512_bf16", "amx_bf16", "amx_int8")
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return {
        "cpu": model,
        "cores": (
            len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        ),
        "instruction_sets": [name for name in wanted if name in flags],
        "memory_gb": round(memory, 1),
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        **({"gpu": gpu_name()} if device == "cuda" else {}),
    }


def gpu_name() -> str:
    """Return the name of the GPU."""
    import torch

    return torch.cuda.get_device_name()


def gpu_rates() -> dict[str, Any]:
    """Measure the speed of the GPU.

    Returns TFLOP/s of large products in float32 and bfloat16, and GB/s of a copy, which counts both
    reading and writing.
    """
    import torch

    def median(work: Callable[[], object]) -> float:
        seconds = []
        for _ in range(13):
            torch.cuda.synchronize()
            started = time.perf_counter()
            work()
            torch.cuda.synchronize()
            seconds.append(time.perf_counter() - started)
        return statistics.median(seconds[3:])

    x = torch.randn(8192, 8192, device="cuda")
    rates = {
        name: significant(2 * 8192**3 / median(partial(torch.mm, y, y)) / 1e12)
        for name, y in {"fp32": x, "bf16": x.bfloat16()}.items()
    }
    big = torch.randn(2**28, device="cuda")
    copied = 2 * big.nbytes / median(big.clone) / 1e9
    return {"tflops_per_second": rates, "copy_gb_per_second": significant(copied)}
