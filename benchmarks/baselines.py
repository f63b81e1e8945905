"""Compare the paper's baselines with the ELBO on MNIST with two latent dimensions.

    python benchmarks/baselines.py

Each objective trains the same network with the same budget. The bound and log p(x) are measured on
test rows. With two latent dimensions, log p(x) is a sum over a grid, which reaches beyond the
farthest code. The results are written to results/baselines.json. The picture
docs/figures/baselines.png shows the codes of test rows, and decoded draws from the prior. AEVB_DATA
must name a folder with MNIST, or else it is downloaded.
"""

import json
import time
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure
from matplotlib.patches import Circle

import aevb
from aevb import plots
from aevb.datasets import load
from aevb.evaluation.bound import elbo_rows, mean_figure
from aevb.paper.quadrature import log_likelihood

ROOT = Path(__file__).parents[1]
SETTINGS = {
    "likelihood": "bernoulli",
    "hidden": (200,),
    "activation": "tanh",
    "latent_dim": 2,
    "batch_size": 100,
    "epochs": 10,
    "validation": "0",
    "threads": 1,
}
OBJECTIVES = {
    "elbo": {},
    "elbo_sampled": {},
    "score_function": {"samples": 1},
    "score_function, 5 samples": {"samples": 5},
    "wake_sleep": {},
    "monte_carlo_em": {},
    "autoencoder": {},
}
DRAWN = ("elbo", "wake_sleep", "monte_carlo_em", "autoencoder")
ROWS = 1000
WIDTH = 0.05
SEED = 0


def trained(name):
    """Train with one objective, and return the run and the seconds it took."""
    config = aevb.Config(objective=name.split(",")[0], seed=SEED, **SETTINGS, **OBJECTIVES[name])
    started = time.perf_counter()
    return aevb.fit(load("mnist"), config), time.perf_counter() - started


def measured(run, seconds):
    """Return the figures of a run on the first test rows."""
    test = load("mnist:test").take(np.arange(ROWS))
    x = run.tensor(test)
    bound = mean_figure(elbo_rows(run.model, x, samples=10, seed=SEED).bound)
    mu, _ = run.encode(test)
    # The encoder may send rows far from the prior, and the decoder may have learned them there. So
    # the grid goes as far.
    reach = float(np.linalg.norm(mu, axis=1).max()) + 4
    log_p = mean_figure(log_likelihood(run.model, x, WIDTH, reach))
    return {
        "reach": round(reach, 1),
        "bound": [bound.value, bound.standard_error],
        "log_p": [log_p.value, log_p.standard_error],
        "seconds": round(seconds, 1),
    }


def drawn(runs):
    """Draw a column for each objective: codes of test rows, and means of p(x|z) for z ~ p(z).

    Circles show one and two standard deviations of the prior.
    """
    test = load("mnist:test").take(np.arange(2000))
    figure = Figure(figsize=(3.1 * len(runs), 6.4), layout="constrained")
    columns = figure.subplots(2, len(runs)).T
    for (codes, sheet), (name, run) in zip(columns, runs.items(), strict=True):
        mu, _ = run.encode(test)
        codes.scatter(mu[:, 0], mu[:, 1], s=3, c=test.labels, cmap="tab10", linewidths=0)
        for radius in (1, 2):
            codes.add_patch(Circle((0, 0), radius, fill=False, color="0.3", linewidth=0.8))
        codes.set_aspect("equal", "datalim")
        codes.set_title(name, fontsize=10)
        torch.manual_seed(SEED)
        pictures = run.model.sample(64).reshape(-1, 28, 28).numpy()
        sheet.imshow(plots.tile(pictures, 8), cmap="gray", vmin=0, vmax=1)
        sheet.set_axis_off()
    return figure


def main():
    """Train with each objective, measure, write the results and draw the picture."""
    runs, found = {}, {}
    for name in OBJECTIVES:
        run, seconds = trained(name)
        found[name] = measured(run, seconds)
        print(name, found[name], flush=True)
        if name in DRAWN:
            runs[name] = run
    result = {
        "command": "python benchmarks/baselines.py",
        "rows": ROWS,
        "seed": SEED,
        "settings": SETTINGS,
        "objectives": found,
    }
    (ROOT / "benchmarks" / "results" / "baselines.json").write_text(
        json.dumps(result, indent=1) + "\n"
    )
    print(plots.save(drawn(runs), ROOT / "docs" / "figures" / "baselines.png"))


if __name__ == "__main__":
    main()
