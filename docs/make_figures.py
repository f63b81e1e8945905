"""Make the pictures of README.md and docs/: `make docs-figures`.

The overview trains the tutorial's experiment and the demonstration's digits again. The MNIST
pictures are drawn from the run in runs/mnist, if it exists (docs/reproduction.md has its command).
Otherwise they stay as they are.
"""

import json
import tempfile
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

import aevb
from aevb import plots
from aevb.checker import check_file, picture
from aevb.commands.demo import DIGITS
from aevb.datasets import load
from aevb.drill import experiment
from aevb.runs import pictures
from aevb.storage import checkpoint

ROOT = Path(__file__).parents[1]
FIGURES = ROOT / "docs" / "figures"
RESULTS = ROOT / "benchmarks" / "results"
MNIST_COMMAND = (
    "aevb fit mnist --out runs/mnist --likelihood bernoulli --hidden 500 --activation tanh"
    " --latent-dim 20 --batch-size 100 --epochs 50 --validation mnist:test --threads 1"
)
PAPER = {"aevb": [(3e6, -112.4), (1e7, -104.8)]}
"""Test bound with 20 latent dimensions: (samples, nats), read off the paper's figure 2."""


def overview() -> Figure:
    """Draw three panels: the tutorial's data, its VAE's points, and the manifold of the digits."""
    outcome = experiment.train()
    run = aevb.fit(load("digits"), DIGITS)
    figure = Figure(figsize=(11, 3.6), layout="constrained")
    data, made, manifold = figure.subplots(1, 3, width_ratios=[1, 1, 0.9])
    for axes, points, colour, title in [
        (data, outcome.data.numpy(), plots.REAL, "data: 2000 points in three clusters"),
        (made, outcome.generated.numpy(), plots.MADE, "generated: z ~ N(0, I), decoded"),
    ]:
        axes.scatter(points[:, 0], points[:, 1], s=4, color=colour, alpha=0.5, linewidths=0)
        axes.set(xlim=(-2.7, 2.7), ylim=(-0.8, 2.8), title=title)
    z = pictures._probability_grid(11)
    digits = run.decode(np.stack(np.meshgrid(z, z[::-1]), axis=-1).reshape(-1, 2))
    sheet = plots.tile(pictures.to_pictures(run, digits), columns=11, gap=0)
    manifold.imshow(sheet, cmap="gray", vmin=0, vmax=1, interpolation="bicubic")
    manifold.set(xticks=[], yticks=[], title="handwritten digits over the latent plane")
    for axes in (data, made, manifold):
        axes.title.set_fontsize(10)
    return figure


def mnist_curve(history: list[dict[str, float]]) -> Figure:
    """Draw the bounds against the number of samples seen, beside the paper's points."""
    figure = Figure(figsize=(6, 3.8), layout="constrained")
    axes = figure.add_subplot()
    samples = [record["samples"] for record in history]
    for name, colour, split in [
        ("bound", plots.REAL, "training"),
        ("validation_bound", plots.MADE, "test"),
    ]:
        bounds = [record[name] for record in history]
        axes.plot(samples, bounds, color=colour, label=f"aevb, {split} (Adam)")
    axes.plot(*zip(*PAPER["aevb"], strict=True), "x", color="0.3", label="paper, test (Adagrad)")
    axes.set(
        xscale="log",
        ylim=(-130, -99),
        xlabel="training samples seen",
        ylabel="bound (nats per picture)",
    )
    axes.legend(fontsize=8, loc="lower right")
    axes.grid(color="0.9")
    return figure


def main() -> None:
    """Draw all pictures that can be drawn here."""
    print(plots.save(overview(), FIGURES / "overview.png"))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "vae.py"
        right = (ROOT / "src" / "aevb" / "drill" / "material" / "solution.py").read_text()
        file.write_text(right.replace("torch.exp(0.5 * logvar)", "torch.exp(logvar)"))
        print(plots.save(picture.draw(check_file(file), file.name), FIGURES / "check.png"))
    run_folder = ROOT / "runs" / "mnist"
    if checkpoint.exists(run_folder):
        run = checkpoint.load(run_folder)
        result = {"command": MNIST_COMMAND, "config": run.config.to_dict(), "history": run.history}
        (RESULTS / "mnist_adam.json").write_text(json.dumps(result, indent=1) + "\n")
        print(plots.save(mnist_curve(run.history), FIGURES / "mnist_curve.png"))
        print(plots.save(pictures.sample_figure(run, 100), FIGURES / "mnist_samples.png"))


if __name__ == "__main__":
    main()
