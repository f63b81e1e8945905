"""log p(x) by aevb's importance sampling, or only the products it needs, for comparison.

One step is one group of rows.
"""

from __future__ import annotations

from itertools import pairwise

import torch

import aevb
from aevb.evaluation.log_likelihood import PAIRS, importance_rows
from peers.protocol import Turns, peak_mb
from peers.workloads import data_for


def main() -> None:
    turns = Turns()
    w, samples = turns.workload, turns.options["samples"]
    torch.set_num_threads(turns.threads)
    if turns.options["task"] == "products":
        bare_products(turns, samples)
        return
    # The values of the weights hardly matter for the time, so a short training is enough.
    rows = data_for(w)
    config = aevb.Config(
        likelihood="bernoulli",
        hidden=w.hidden,
        latent_dim=w.latent_dim,
        activation=w.activation,
        epochs=1,
        validation="0",
        device=turns.device,
    )
    run = aevb.fit(rows[:1000], config)
    torch.set_num_threads(turns.threads)
    x, before = run.tensor(rows[-w.batch :]), peak_mb()

    def work() -> None:
        while True:
            estimate = importance_rows(run.model, x, samples=samples)
            turns.step(-estimate.log_likelihood.mean())

    turns.train(
        work,
        lambda: {
            "peak_mb_before": before,
            "versions": {"aevb": aevb.__version__, "torch": torch.__version__},
        },
    )


@torch.no_grad()
def bare_products(turns: Turns, samples: int) -> None:
    """Compute the decoder's products for as many draws, into existing outputs of the same size."""
    w = turns.workload
    widths = [w.latent_dim, *w.hidden[::-1], w.data_dim]
    torch.set_default_device(turns.device)
    pairs = PAIRS[turns.device]
    weights = [torch.randn(b, a) for a, b in pairwise(widths)]
    sheets = [torch.randn(pairs, width) for width in widths]
    left_over = torch.zeros(())

    def work() -> None:
        while True:
            for _ in range(-(-w.batch * samples // pairs)):
                for x, weight, out in zip(sheets, weights, sheets[1:], strict=False):
                    torch.mm(x, weight.t(), out=out)
            turns.step(left_over)

    turns.train(work, lambda: {"versions": {"torch": torch.__version__}})


if __name__ == "__main__":
    main()
