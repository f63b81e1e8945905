"""Provoke posterior collapse, and try each remedy against it.

    python benchmarks/collapse.py --out benchmarks/results/collapse.json

This takes minutes, for five settings and three seeds. The data are scikit-learn's digits, with 8
latent dimensions. Encoder and decoder have five layers of 64 ReLU units. They are so deep that z
reaches the output too late: the KL has removed its information by then. Each remedy changes one
thing. The results are written as JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path

import torch

import aevb
from aevb.datasets import load
from aevb.runs import report
from aevb.training.split import prepare

REMEDIES = {
    "none": {},
    "warm-up": {"warmup_epochs": 80},
    "free bits": {"free_bits": 0.25},
    "weaker decoder": {"decoder_hidden": (64,)},
    "skip connections": {"skip": True},
}
NAMES = ("log_likelihood", "bound", "kl", "active_units", "mutual_information")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=100)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    digits, results = load("digits"), {}
    for name, remedy in REMEDIES.items():
        results[name] = [
            measure(digits, seed, arguments.epochs, remedy) for seed in range(arguments.seeds)
        ]
        medians = {
            figure: round(statistics.median(run[figure] for run in results[name]), 3)
            for figure in NAMES
        }
        print(f"{name:<17}", medians, [run["warnings"] for run in results[name]], flush=True)
    arguments.out.write_text(json.dumps(results, indent=1))


def measure(
    digits: aevb.Data, seed: int, epochs: int, remedy: dict[str, object]
) -> dict[str, object]:
    """Train with one remedy, and return the figures on validation rows."""
    config = aevb.Config(
        latent_dim=8, hidden=(64,) * 5, epochs=epochs, seed=seed, threads=1, **remedy
    )
    run = aevb.fit(digits, config)
    measured = report.evaluate(run, prepare(digits, config).validation, samples=1000)
    figures = {name: measured.figures[name].value for name in NAMES}
    return figures | {
        "log_likelihood_error": measured.figures["log_likelihood"].standard_error,
        "warnings": [finding.name for finding in measured.findings],
    }


if __name__ == "__main__":
    main()
