"""What the baselines of the paper make of MNIST with two latent dimensions, beside the ELBO:
`python benchmarks/baselines.py`.

Trains each objective with one network and one budget, and measures on test rows the bound and log
p(x): with two latent dimensions that is a sum over a grid, which reaches beyond the farthest code.
Writes results/baselines.json, and draws where the encoder puts the test rows and what the decoder
makes of draws from the prior: docs/figures/baselines.png. AEVB_DATA must name a folder that holds
mnist, or it is downloaded.
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
    """(run, seconds) of one objective."""
    config = aevb.Config(objective=name.split(",")[0], seed=SEED, **SETTINGS, **OBJECTIVES[name])
    started = time.perf_counter()
    return aevb.fit(load("mnist"), config), time.perf_counter() - started


def measured(run, seconds):
    """Figures on the first test rows."""
    test = load("mnist:test").take(np.arange(ROWS))
    x = run.tensor(test)
    bound = mean_figure(elbo_rows(run.model, x, samples=10, seed=SEED).bound)
    mu, _ = run.encode(test)
    # Where the encoder sends rows far from the prior, the decoder may have learned them there: the
    # grid goes as far.
    reach = float(np.linalg.norm(mu, axis=1).max()) + 4
    log_p = mean_figure(log_likelihood(run.model, x, WIDTH, reach))
    return {
        "reach": round(reach, 1),
        "bound": [bound.value, bound.standard_error],
        "log_p": [log_p.value, log_p.standard_error],
        "seconds": round(seconds, 1),
    }


def drawn(runs):
    """A column for each objective: codes of test rows over the prior's circles, and means of
    p(x|z), z ~ p(z)."""
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
    """Train, measure, write, draw."""
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
