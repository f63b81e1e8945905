"""Objectives, a flow posterior and a VampPrior on fixed-binarised MNIST, under one budget. Writes the results as JSON.

    python benchmarks/binarized_mnist.py --out benchmarks/results/binarized_mnist.json            all, about an hour on one core
    python benchmarks/binarized_mnist.py --only elbo iwae-5 --epochs 1 --out quick.json

784-200-200-50 with ReLU, Bernoulli likelihood, Adam 1e-3, minibatches of 100, the same seed and order of rows for all. log p(x)
is estimated on the same test rows with 5000 importance samples each, so that differences between models are paired.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
import torch

import aevb
from aevb.batches import split_rows
from aevb.datasets import load
from aevb.evaluation.latents import latents
from aevb.evaluation.log_likelihood import importance_rows

SETTINGS = {
    "elbo": {},
    "iwae-5": {"objective": "iwae", "samples": 5},
    "iwae-50": {"objective": "iwae", "samples": 50},
    "dreg-5": {"objective": "dreg", "samples": 5},
    "flow": {"posterior": "flow"},
    "vamp": {"prior": "vamp", "components": 500},
    "stl": {"objective": "stl"},
    "flow, stl": {"posterior": "flow", "objective": "stl"},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", default=list(SETTINGS), choices=list(SETTINGS))
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--samples", type=int, default=5000)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--runs", type=Path, help="keep the trained models in this folder")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    results = json.loads(arguments.out.read_text()) if arguments.out.exists() else {}
    for name in arguments.only:
        results[name] = measure(name, arguments)
        arguments.out.write_text(json.dumps(results, indent=1))


def measure(name: str, arguments: argparse.Namespace) -> dict[str, object]:
    config = aevb.Config(
        likelihood="bernoulli",
        hidden=(200, 200),
        activation="relu",
        latent_dim=50,
        batch_size=100,
        epochs=arguments.epochs,
        validation="0",
        threads=1,
        **SETTINGS[name],
    )
    started = time.perf_counter()

    def say(record: dict[str, float]) -> None:
        print(name, record["epoch"], f"{record['bound']:.2f}", f"{time.perf_counter() - started:.0f} s", flush=True)

    out = arguments.runs and arguments.runs / name
    run = aevb.fit(load("mnist_binarized"), config, out=out, on_epoch=say)
    seconds = time.perf_counter() - started
    test = load("mnist_binarized:test")
    chosen = split_rows(len(test), arguments.rows / len(test), seed=0)[1].numpy()
    x = run.tensor(test.take(np.sort(chosen)))
    estimate = importance_rows(run.model, x, samples=arguments.samples)
    bound = run.evaluate(test)["bound"]
    codes = latents(run.model, x).figures
    figure = estimate.figure()
    result = {
        "epochs": arguments.epochs,
        "rows": len(x),
        "samples": arguments.samples,
        "log_likelihood": figure.value,
        "standard_error": figure.standard_error,
        **figure.details,
        "bound_10000_rows": bound.value,
        "bound_standard_error": bound.standard_error,
        "active_units": codes["active_units"].value,
        "mutual_information": codes["mutual_information"].value,
        "training_seconds": round(seconds),
        "log_likelihood_rows": [round(float(value), 3) for value in estimate.log_likelihood],
    }
    assert math.isfinite(figure.value)
    print(name, {key: value for key, value in result.items() if key != "log_likelihood_rows"}, flush=True)
    return result


if __name__ == "__main__":
    main()
