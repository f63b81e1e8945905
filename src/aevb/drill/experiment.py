"""The tutorial's experiment: train a VAE on three clusters in the plane and generate new points.

Data, network, optimiser, seeds and order of random draws are those of the tutorial's own script.
So the results are the same: the loss falls from 4.190 to 1.577, and 0.887 (0.8865) of the generated
points lie within 1.0 of a centre. The tutorial's text says 0.888. The mean distance to the nearest
centre is 0.331 or 0.333, depending on the processor instructions behind the matrix products.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from aevb.datasets.synthetic import make_gmm, nearest_center_dist
from aevb.drill.tutorial import EPOCHS, WITHIN
from aevb.model import VAE
from aevb.parts.objectives.elbo import vae_loss

BATCH_SIZE = 256


@dataclass(frozen=True)
class Outcome:
    """A trained model, its data and its generated points.

    data, generated: (2000, 2). losses: the mean loss of each epoch, without the constant log(pi).
    """

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
    """Run the experiment on one thread.

    Args:
        epochs: How many epochs to train.
        on_epoch: Called after each epoch with its number, counted from 1, and its mean loss.
        make_model: A VAE class with the tutorial's interface, for instance a learner's own.
        loss: Its loss: (recon, x, mu, logvar) -> loss, reconstruction, kl.

    Raises:
        ValueError: The model or the loss does not have the tutorial's interface.
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
    """Return the three values of a learner's function.

    Raises ValueError with the function's name if they are not a tuple or list of three.
    """
    count = len(values) if isinstance(values, tuple | list) else 1
    if count != 3:
        raise ValueError(f"{function} does not return three values, {names}, but {count}")
    return values[0], values[1], values[2]
