"""Measure the kernels of a training step on a GPU, and the time between them.

    python benchmarks/gpu_profile.py --out benchmarks/results/gpu_profile.json

``busy`` is the time of all kernels of a step. If it is near the time of the step, the GPU never
waits for the program. The profiler slows the program down, so the time of the step is measured
without it. The results are written as JSON.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import time
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from harness import gpu_name
from peers.workloads import WORKLOADS, Workload, data_for
from torch.profiler import ProfilerActivity, profile

import aevb

STEPS = 300
LISTED = 8


class EnoughError(Exception):
    """All steps are measured."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", default=list(WORKLOADS), choices=list(WORKLOADS))
    parser.add_argument(
        "--compile", nargs="*", default=["auto", "on"], choices=["auto", "off", "on"]
    )
    parser.add_argument("--precision", nargs="*", default=["fp32"], choices=["fp32", "bf16"])
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    found: dict[str, Any] = {"gpu": gpu_name(), "workloads": {}}
    for name in options.only:
        for compile in options.compile:
            for precision in options.precision:
                what = f"{name}, {compile}, {precision}"
                found["workloads"][what] = measured = measure(WORKLOADS[name], compile, precision)
                print(
                    what,
                    {key: value for key, value in measured.items() if key != "kernels"},
                    flush=True,
                )
                options.out.write_text(json.dumps(found, indent=1) + "\n")


def measure(w: Workload, compile: str, precision: str) -> dict[str, Any]:
    """Measure the microseconds of a step and of its kernels.

    Args:
        w: The network and its data.
        compile: "auto", "off" or "on", as in ``aevb.Config``.
        precision: "fp32" or "bf16".
    """
    w = replace(w, epochs=-(-5 * STEPS // w.steps_per_epoch) + 2)
    facts: dict[str, Any] = {}
    profiler = profile(activities=[ProfilerActivity.CUDA])
    count, started = 0, 0.0

    class Watch(aevb.Callbacks):
        def on_start(self, engine: Any) -> None:
            facts.update(mode=engine.mode, reason=engine.reason)

        def on_step(self, *_: Any) -> None:
            nonlocal count, started
            count += 1
            if count in (STEPS, 3 * STEPS, 4 * STEPS):
                torch.cuda.synchronize()
            if count == STEPS:
                started = time.perf_counter()
            if count == 3 * STEPS:
                seconds = time.perf_counter() - started
                facts["microseconds"] = round(seconds / (2 * STEPS) * 1e6, 1)
                profiler.start()
            if count == 4 * STEPS:
                profiler.stop()
                raise EnoughError

    config = aevb.Config(
        likelihood="gaussian_fixed" if w.likelihood == "gaussian" else "bernoulli",
        network=w.network,
        hidden=w.hidden,
        latent_dim=w.latent_dim,
        activation=w.activation,
        batch_size=w.batch,
        epochs=max(w.epochs, 1000 // w.steps_per_epoch + 1),
        binarize="dynamic" if w.dynamic else "none",
        validation="0",
        device="cuda",
        compile=compile,
        precision=precision,
    )

    with contextlib.suppress(EnoughError):
        aevb.fit(data_for(w), config, callbacks=Watch())
    return facts | kernels(profiler)


def kernels(profiler: profile) -> dict[str, Any]:
    """Return how many kernels a step has, how long they take, and which ones take longest."""
    seconds: Counter[str] = Counter()
    calls: Counter[str] = Counter()
    for event in profiler.events():
        if event.device_type == torch.autograd.DeviceType.CUDA:
            seconds[event.name] += event.device_time
            calls[event.name] += 1
    return {
        "busy": round(sum(seconds.values()) / STEPS, 1),
        "kernels_per_step": round(sum(calls.values()) / STEPS, 1),
        "kernels": [
            [name[:90], round(calls[name] / STEPS, 2), round(total / STEPS, 2)]
            for name, total in seconds.most_common(LISTED)
        ],
    }


if __name__ == "__main__":
    main()
