"""Compare objectives, posteriors and priors on fixed-binarised MNIST under one budget.

An hour, and then a short try:

    python benchmarks/binarized_mnist.py \\
        --runs runs/binarized --out benchmarks/results/binarized_mnist.json
    python benchmarks/binarized_mnist.py \\
        --runs runs/quick --out quick.json --only elbo iwae-5 --epochs 1 --ais

The network is 784-200-200-50 with ReLU and a Bernoulli likelihood. Adam's step size of 1e-3 falls
to 0 over the last quarter. Minibatches have 100 rows. Products are in fp32 by torch's kernels. All
models of a seed see the rows in the same order. The models in LATE are the ELBO's model for three
quarters of the epochs; they get their posterior when the step size begins to fall. log p(x) is
estimated on the same test rows with 5000 importance samples each, so differences between models are
paired. The results are written as JSON. A second call continues: it finds trained models in --runs
and measurements in --out.
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
from aevb.datasets import load
from aevb.datasets.batches import split_rows
from aevb.engine.step import Engine
from aevb.evaluation.ais import ais_rows
from aevb.evaluation.bound import mean_figure
from aevb.evaluation.latents import latents
from aevb.evaluation.log_likelihood import importance_rows
from aevb.probability.flows import _Gain

SETTINGS = {
    "elbo": {},
    "late full": {"posterior": "full"},
    "late flow": {"posterior": "flow"},
    "iwae-5": {"objective": "iwae", "samples": 5},
    "vamp": {"prior": "vamp", "components": 500},
    "iwae-50": {"objective": "iwae", "samples": 50},
    "dreg-5": {"objective": "dreg", "samples": 5},
    "stl": {"objective": "stl"},
    "flow": {"posterior": "flow"},
    "full": {"posterior": "full"},
}
BEGINNING = "beginning"
LATE = ("late full", "late flow")
DECAY = 0.25
AGAIN = ("elbo", *LATE)
"""Models that are also trained from other seeds, and there measured by the bound alone.

Whether they differ should not depend on one seed.
"""
AIS = ("elbo",)
AIS_ROWS = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", nargs="*", default=list(SETTINGS), choices=list(SETTINGS))
    parser.add_argument(
        "--again", nargs="*", default=list(AGAIN), choices=list(SETTINGS), help="from all seeds"
    )
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--ais", nargs="*", default=list(AIS), choices=list(SETTINGS))
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--samples", type=int, default=5000)
    parser.add_argument(
        "--runs", type=Path, required=True, help="the trained models are kept in this folder"
    )
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    results = json.loads(arguments.out.read_text()) if arguments.out.exists() else {}
    again = [(name, seed) for seed in range(1, arguments.seeds) for name in arguments.again]
    for name, seed in [*((name, 0) for name in arguments.only), *again]:
        key = f"{name}, seed {seed}"
        if key not in results:
            results[key] = measure(name, seed, arguments)
        if seed == 0 and name in arguments.ais and "ais" not in results[key]:
            results[key]["ais"] = measure_again(name, arguments)
        write(results, arguments.out)
    compare(results, arguments.runs)
    write(results, arguments.out)


def train(
    name: str, seed: int, arguments: argparse.Namespace
) -> tuple[aevb.Run, dict[str, object]]:
    """Train a model, or load it if it was trained before.

    Args:
        name: One of SETTINGS, or BEGINNING.
        seed: Of the initial parameters, the rows' order and the noise.
        arguments: Of the command line.

    Returns:
        The run, and facts about its training, which are empty for a loaded run.
    """
    config = config_of(name, seed, arguments)
    started, how = time.perf_counter(), {}

    def say(record: dict[str, float]) -> None:
        seconds = how["training_seconds"] = round(time.perf_counter() - started)
        print(name, seed, record["epoch"], f"{record['bound']:.2f} {seconds} s", flush=True)

    class Watch(aevb.Callbacks):
        def on_start(self, engine: Engine) -> None:
            how["steps"] = engine.mode

        def on_epoch(self, record: dict[str, float]) -> None:
            say(record)

    out = folder(arguments.runs, name, seed)
    run = aevb.fit(
        load("mnist_binarized"),
        config,
        out=out,
        resume=out.exists(),
        callbacks=Watch(),
    )
    return run, how


def config_of(name: str, seed: int, arguments: argparse.Namespace) -> aevb.Config:
    """Return the settings of a model. The beginning that a model of LATE needs is trained first."""
    settings: dict[str, object] = {
        "epochs": arguments.epochs,
        "decay": DECAY,
        **SETTINGS.get(name, {}),
    }
    if name == BEGINNING:
        settings = {"epochs": round((1 - DECAY) * arguments.epochs)}
    elif name in LATE:
        train(BEGINNING, seed, arguments)
        start = str(folder(arguments.runs, BEGINNING, seed))
        settings |= {"epochs": round(DECAY * arguments.epochs), "decay": 1.0, "start": start}
    return aevb.Config(
        likelihood="bernoulli",
        hidden=(200, 200),
        activation="relu",
        latent_dim=50,
        batch_size=100,
        validation="0",
        seed=seed,
        threads=1,
        precision="fp32",
        kernels="torch",
        **settings,
    )


def test_rows(rows: int) -> aevb.Data:
    """Return some test rows, the same for all models."""
    test = load("mnist_binarized:test")
    return test.take(np.sort(split_rows(len(test), rows / len(test), seed=0)[1].numpy()))


def measure(name: str, seed: int, arguments: argparse.Namespace) -> dict[str, object]:
    """Train a model and return its figures. The arguments are those of ``train``."""
    run, how = train(name, seed, arguments)
    bound = run.evaluate(load("mnist_binarized:test"))["bound"]
    result = {
        "epochs": arguments.epochs,
        **how,
        "bound_10000_rows": bound.value,
        "bound_standard_error": bound.standard_error,
    }
    if seed == 0:
        result |= importance(run, arguments)
    print(
        name,
        seed,
        {key: value for key, value in result.items() if key != "log_likelihood_rows"},
        flush=True,
    )
    return result


def importance(run: aevb.Run, arguments: argparse.Namespace) -> dict[str, object]:
    x = run.tensor(test_rows(arguments.rows))
    estimate = importance_rows(run.model, x, samples=arguments.samples)
    codes, figure = latents(run.model, x).figures, estimate.figure()
    assert math.isfinite(figure.value)
    return {
        "rows": len(x),
        "samples": arguments.samples,
        "log_likelihood": figure.value,
        "standard_error": figure.standard_error,
        **figure.details,
        "active_units": codes["active_units"].value,
        "mutual_information": codes["mutual_information"].value,
        "log_likelihood_rows": [round(float(value), 2) for value in estimate.log_likelihood],
    }


def measure_again(name: str, arguments: argparse.Namespace) -> dict[str, object]:
    """Measure how far importance sampling is too low, on fewer rows.

    It is compared with ten times the draws, and with annealed importance sampling.
    """
    run, _ = train(name, 0, arguments)
    chosen = test_rows(arguments.rows)
    x = run.tensor(chosen.take(np.arange(0, len(chosen), max(1, len(chosen) // AIS_ROWS))))
    few = importance_rows(run.model, x, samples=arguments.samples).log_likelihood
    many = importance_rows(run.model, x, samples=10 * arguments.samples, seed=1)
    annealed = ais_rows(run.model, x)
    figures = {"importance": few, "ten times the draws": many.log_likelihood, "ais": annealed}
    result = {key: mean_figure(rows).value for key, rows in figures.items()}
    for key in ("ten times the draws", "ais"):
        gain = mean_figure(figures[key] - few)
        result[f"{key}, more"] = [gain.value, gain.standard_error]
    print(name, result, flush=True)
    return {
        "rows": len(x),
        **result,
        "effective_sample_size, ten times the draws": (
            many.figure().details["effective_sample_size"]
        ),
    }


def compare(results: dict[str, dict[str, object]], runs: Path) -> None:
    """Add to the results how much better each model is than the ELBO's model of the same seed.

    log p(x), and the bound on all rows, are compared row by row.
    """
    bounds: dict[str, torch.Tensor] = {}
    for key, result in results.items():
        name, seed = key.split(", seed ")
        run, test = aevb.load(folder(runs, name, int(seed))), load("mnist_binarized:test")
        bounds[key] = run.elbo_rows(test, samples=4).bound
        if run.config.posterior == "flow":
            result["bound_without_flow"] = straightened(run).evaluate(test)["bound"].value
        plain = f"elbo, seed {seed}"
        if name == "elbo" or plain not in bounds:
            continue
        gains = {"bound_better_than_elbo": bounds[key] - bounds[plain]}
        if "log_likelihood_rows" in result:
            log_p = [torch.tensor(results[each]["log_likelihood_rows"]) for each in (key, plain)]
            gains["better_than_elbo"] = log_p[0] - log_p[1]
        figures = {gain: mean_figure(rows) for gain, rows in gains.items()}
        result |= {
            gain: [round(figure.value, 3), round(figure.standard_error, 3)]
            for gain, figure in figures.items()
        }
        print(key, {gain: result[gain] for gain in gains})


def straightened(run: aevb.Run) -> aevb.Run:
    """Turn the flow of a run's posterior into the identity, which leaves a diagonal Gaussian."""
    for module in run.model.posterior.modules():
        if isinstance(module, _Gain):
            module.gain = 0.0
    return run


def folder(runs: Path, name: str, seed: int) -> Path:
    """Return the folder of a trained model in the folder of all models."""
    return runs / f"{name.replace(', ', '-')}-{seed}"


def write(results: dict[str, dict[str, object]], path: Path) -> None:
    """Write the results: a line for each figure, and one for the rows of each model."""
    text = ",\n".join(
        f"{json.dumps(key)}: {{\n"
        + ",\n".join(f" {json.dumps(k)}: {json.dumps(v)}" for k, v in result.items())
        + "\n}"
        for key, result in results.items()
    )
    path.write_text(f"{{\n{text}\n}}\n")


if __name__ == "__main__":
    main()
