"""Learn the tutorial's three clusters to within a few hundredths of a nat of the best possible.

    python benchmarks/tutorial_mixture.py \\
        --out benchmarks/results/tutorial_mixture.json --picture docs/figures/clusters.png

The density of the data is known. So KL(data || model) = E[log p_data - log p_model] can be
measured, here on 20,000 new points. log p_model comes from importance sampling, and quadrature over
the latent plane confirms it. The results are written as JSON and as a picture.
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

import aevb
from aevb.datasets import load
from aevb.datasets.schema import Data
from aevb.datasets.synthetic import CENTERS, make_gmm, nearest_center_dist
from aevb.drill import experiment
from aevb.evaluation.bound import mean_figure
from aevb.evaluation.log_likelihood import importance_rows
from aevb.evaluation.samples import classifier_two_sample

NOISE = 0.15
RECIPES = {
    "the tutorial's": {"likelihood": "gaussian_fixed"},
    "learned noise": {},
    "learned noise and prior": {"prior": "mixture", "objective": "stl"},
}


def log_p_data(x: torch.Tensor) -> torch.Tensor:
    """Return the log density of the mixture behind the data: (N,), nats. x: (N, 2)."""
    square = torch.cdist(x.double(), CENTERS.double()).square()
    return (
        torch.logsumexp(-square / (2 * NOISE**2), 1)
        - math.log(3)
        - math.log(2 * math.pi * NOISE**2)
    )


@torch.no_grad()
def by_quadrature(
    run: aevb.Run, x: torch.Tensor, reach: float = 7.0, points: int = 601
) -> torch.Tensor:
    """Return log p(x) by a sum over a grid of the latent plane, in float64: (N,), nats.

    Args:
        run: A run with two latent dimensions.
        x: The rows as the model sees them, (N, 2).
        reach: How far the grid goes on each side.
        points: Points along each side of the grid.
    """
    model = run.model.double()
    axis = torch.linspace(-reach, reach, points, dtype=torch.float64)
    z = torch.cartesian_prod(axis, axis)
    cell = 2 * math.log(float(axis[1] - axis[0]))
    log_prior = model.prior().log_prob(z)
    means = model.decode(z)
    logvar = 2 * model.likelihood.noise.double().log()
    constant = logvar + math.log(2 * math.pi)
    log_p = []
    for row in x.double():
        squares = ((means - row).square() * (-logvar).exp() + constant).sum(1)
        log_p.append(torch.logsumexp(log_prior + cell - 0.5 * squares, 0))
    run.model.float()
    return torch.stack(log_p) + run.log_jacobian


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--picture", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--epochs", type=int, default=800)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    fresh = make_gmm(20_000, seed=123)
    best = mean_figure(log_p_data(fresh))
    results: dict[str, object] = {
        "best_possible": best.value,
        "standard_error": best.standard_error,
    }
    results["distance_of_data"] = float(nearest_center_dist(fresh).mean())
    panels = [("data", make_gmm(2000).numpy())]
    outcome = experiment.train(arguments.epochs)
    panels.append(("the tutorial's script: means of p(x|z)", outcome.generated.numpy()))
    for name, recipe in RECIPES.items():
        for seed in range(arguments.seeds):
            measured, generated = measure(recipe, seed, arguments.epochs, fresh)
            results[f"{name}, seed {seed}"] = measured
            print(name, seed, measured, flush=True)
            if seed == 0:
                panels.append((f"{name}: draws from p(x|z)", generated[:2000]))
    arguments.out.write_text(json.dumps(results, indent=1))
    draw(panels, arguments.picture)


def measure(
    recipe: dict[str, str], seed: int, epochs: int, fresh: torch.Tensor
) -> tuple[dict[str, object], np.ndarray]:
    """Train a recipe, and return its figures and 20,000 generated points, (20000, 2).

    Args:
        recipe: Settings that differ from the others.
        seed: Of the training.
        epochs: How long to train.
        fresh: New points of the data's distribution, (N, 2).
    """
    config = aevb.Config(
        hidden=(64, 64),
        latent_dim=2,
        batch_size=256,
        epochs=epochs,
        validation="0",
        threads=1,
        seed=seed,
        **{"likelihood": "gaussian", **recipe},
    )
    run = aevb.fit(load("gmm"), config)
    x = run.tensor(Data(fresh.numpy(), "fresh points", columns=("x", "y")))
    log_p = importance_rows(run.model, x, samples=500, log_jacobian=run.log_jacobian).log_likelihood
    divergence = mean_figure(log_p_data(fresh) - log_p)
    generated = np.asarray(run.sample(20_000, seed=1, noise=True), dtype=np.float64)
    points = torch.from_numpy(generated).float()
    accuracy = classifier_two_sample(fresh.double().numpy()[:5000], generated[:5000])
    shares = torch.cdist(points, CENTERS).argmin(1).bincount(minlength=3) / len(points)
    training = torch.cdist(make_gmm(2000), CENTERS).argmin(1).bincount(minlength=3) / 2000
    return {
        "log_likelihood": float(log_p.mean()),
        "kl_from_data": divergence.value,
        "kl_error": divergence.standard_error,
        "quadrature_minus_importance": float((by_quadrature(run, x[:100]) - log_p[:100]).mean()),
        "mean_distance": float(nearest_center_dist(points).mean()),
        "within_1": float((nearest_center_dist(points) < 1).float().mean()),
        "largest_difference_of_shares": float((shares - training).abs().max()),
        "classifier_accuracy": accuracy.value,
        "classifier_error": accuracy.standard_error,
        "noise": run.model.likelihood.noise.item(),
    }, generated


def draw(panels: list[tuple[str, np.ndarray]], path: Path) -> None:
    figure = Figure(figsize=(3.1 * len(panels), 3.3), layout="constrained")
    row = figure.subplots(1, len(panels), sharex=True, sharey=True)
    for i, (axes, (title, points)) in enumerate(zip(row, panels, strict=True)):
        axes.scatter(
            points[:, 0],
            points[:, 1],
            s=3,
            alpha=0.5,
            linewidths=0,
            color="#e07b00" if i else "#3465a4",
        )
        axes.set_title(title, fontsize=8)
        axes.set_xlim(-3.2, 3.2)
        axes.set_ylim(-1.4, 3.2)
    figure.savefig(path, dpi=110)


if __name__ == "__main__":
    main()
