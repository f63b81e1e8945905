"""The networks of the workloads in plain torch, with the same layers as aevb's."""

from __future__ import annotations

import math
from itertools import pairwise

from torch import Tensor, nn

from peers.workloads import Workload

ACTIVATIONS = {"relu": nn.ReLU, "tanh": nn.Tanh}


class Encoder(nn.Module):
    """x -> mu, logvar: (B, L) each."""

    def __init__(self, w: Workload) -> None:
        super().__init__()
        act, layers = ACTIVATIONS[w.activation], []
        if w.network == "mlp":
            for a, b in zip([w.data_dim, *w.hidden], w.hidden, strict=False):
                layers += [nn.Linear(a, b), act()]
            features = w.hidden[-1]
        else:
            for a, b in zip([w.planes[0], *w.hidden], w.hidden, strict=False):
                layers += [nn.Conv2d(a, b, 3, stride=2, padding=1), act()]
            layers.append(nn.Flatten())
            features = w.hidden[-1] * math.prod(w.sizes[-1])
        self.body = nn.Sequential(*layers)
        self.mu, self.logvar = nn.Linear(features, w.latent_dim), nn.Linear(features, w.latent_dim)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h = self.body(x)
        return self.mu(h), self.logvar(h)


def decoder(w: Workload) -> nn.Sequential:
    """Return a decoder: z, (B, L) -> logits or means in the shape of x."""
    act, layers = ACTIVATIONS[w.activation], []
    if w.network == "mlp":
        widths = [w.latent_dim, *w.hidden[::-1]]
        for a, b in pairwise(widths):
            layers += [nn.Linear(a, b), act()]
        return nn.Sequential(*layers, nn.Linear(widths[-1], w.data_dim))
    smallest, *larger = w.sizes[::-1]
    channels = [*w.hidden[::-1], w.planes[0]]
    layers = [
        nn.Linear(w.latent_dim, channels[0] * math.prod(smallest)),
        nn.Unflatten(-1, (channels[0], *smallest)),
    ]
    for a, b, size in zip(channels, channels[1:], larger, strict=False):
        layers += [act(), nn.Upsample(size=size), nn.Conv2d(a, b, 3, padding=1)]
    return nn.Sequential(*layers)


def count(model: nn.Module) -> int:
    """Return the number of parameters."""
    return sum(p.numel() for p in model.parameters())
