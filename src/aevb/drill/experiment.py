"""The tutorial's experiment: a VAE of three Gaussian clusters in the plane, trained and then asked
for new points.

Same data, network, optimiser, seeds and order of random draws as the tutorial's own script, so that
it ends on the same figures: loss 4.190 -> 1.577, and 0.887 (0.8865) of the generated points within
1.0 of a centre, for which the tutorial's text has 0.888. Their mean distance to the nearest centre
is 0.331 or 0.333, depending on the instructions that the processor's matrix products use.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from aevb.datasets.synthetic import make_gmm, nearest_center_dist
from aevb.model import VAE
from aevb.parts.objectives.elbo import vae_loss

EPOCHS = 800
BATCH_SIZE = 256
WITHIN = 1.0
"""A generated point counts as data-like within this distance of a centre."""


@dataclass(frozen=True)
class Outcome:
    """model: trained. data, generated: (2000, 2). losses: mean loss of each epoch, without the
    constant log(pi)."""

    model: Any
    data: Tensor
    generated: Tensor
    losses: list[float]

    @property
    def mean_distance(self) -> float:
        """Mean distance of a generated point to the nearest centre."""
        return float(nearest_center_dist(self.generated).mean())

    @property
    def fraction_within(self) -> float:
        """Fraction of the generated points within 1.0 of a centre."""
        return float((nearest_center_dist(self.generated) < WITHIN).float().mean())


def train(
    epochs: int = EPOCHS,
    on_epoch: Callable[[int, float], None] | None = None,
    make_model: Callable[..., Any] = VAE,
    loss: Callable[..., Any] = vae_loss,
) -> Outcome:
    """Run the experiment on one thread. on_epoch(epoch, loss) is called after each epoch, counted
    from 1.

    make_model, loss: a VAE class and its loss, of the tutorial's interface; a learner's own, for
    instance.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng():
            torch.manual_seed(0)
            data = make_gmm(2000)
            model = make_model(data_dim=2, hidden=64, latent_dim=2)
            losses = _fit(model, data, epochs, loss, on_epoch)
            z = torch.randn(2000, model.latent_dim, generator=torch.Generator().manual_seed(123))
            with torch.no_grad():
                generated = model.decode(z)
    finally:
        torch.set_num_threads(threads)
    return Outcome(model, data, generated, losses)


def _fit(
    model: Any,
    data: Tensor,
    epochs: int,
    loss_of: Callable[..., Any],
    on_epoch: Callable[[int, float], None] | None,
) -> list[float]:
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    losses = []
    for epoch in range(epochs):
        total = 0.0
        for index in torch.randperm(len(data)).split(BATCH_SIZE):
            batch = data[index]
            recon, mu, logvar = _three(model(batch), "forward", "reconstruction, mu, logvar")
            loss, _, _ = _three(
                loss_of(recon, batch, mu, logvar), "vae_loss", "loss, reconstruction, kl"
            )
            if loss.ndim:
                raise ValueError(
                    f"the loss has the shape {tuple(loss.shape)}; it is one number, a mean over"
                    " rows"
                )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            total += loss.item() * len(batch)
        losses.append(total / len(data))
        if on_epoch:
            on_epoch(epoch + 1, losses[-1])
    return losses


def _three(values: Any, function: str, names: str) -> tuple[Any, Any, Any]:
    """What a learner's function returned. Raises ValueError with its name if it is no tuple, or
    list, of three."""
    count = len(values) if isinstance(values, tuple | list) else 1
    if count != 3:
        raise ValueError(f"{function} does not return three values, {names}, but {count}")
    return values[0], values[1], values[2]
