"""Multi-layer perceptrons: for rows of any shape, whose layout they do not see."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import final

import torch
from torch import Tensor, nn

from aevb.parts.networks import ACTIVATIONS


def mlp(
    in_features: int,
    hidden: Sequence[int],
    out_features: int | None = None,
    activation: str = "relu",
) -> nn.Sequential:
    """Fully connected layers: (..., in_features) -> (..., out_features).

    Each width in ``hidden`` is a linear layer followed by the activation; ``out_features`` adds a
    last linear layer without one. With neither, the identity. Raises UsageError for an unknown
    activation.
    """
    layers: list[nn.Module] = []
    for width in hidden:
        layers += [nn.Linear(in_features, width), ACTIVATIONS[activation]()]
        in_features = width
    if out_features is not None:
        layers.append(nn.Linear(in_features, out_features))
    return nn.Sequential(*layers)


class SkipMLP(nn.Module):
    """As ``mlp``, but every layer after the first takes [h, z], not h alone: (..., L) -> (...,
    out_features)."""

    def __init__(
        self, latent_dim: int, hidden: Sequence[int], out_features: int, activation: str = "relu"
    ) -> None:
        super().__init__()
        widths = [*hidden, out_features]
        self.activation: nn.Module = ACTIVATIONS[activation]()
        self.first = nn.Linear(latent_dim, widths[0])
        self.rest = nn.ModuleList(
            nn.Linear(before + latent_dim, after) for before, after in pairwise(widths)
        )

    def forward(self, z: Tensor) -> Tensor:
        """z: (..., L) -> (..., out_features)."""
        h: Tensor = self.first(z)
        for layer in self.rest:
            h = layer(torch.cat([self.activation(h), z], -1))
        return h


@final
class MLP:
    """Fully connected bodies; ``hidden`` holds the widths of their layers."""

    @staticmethod
    def encoder(
        shape: tuple[int, ...], hidden: Sequence[int], activation: str
    ) -> tuple[nn.Module, int]:
        """Return the module (..., D) -> (..., F), and F: the last width, or D if there is none."""
        data_dim = math.prod(shape)
        return mlp(data_dim, hidden, activation=activation), hidden[-1] if hidden else data_dim

    @staticmethod
    def decoder(
        latent_dim: int,
        hidden: Sequence[int],
        shape: tuple[int, ...],
        num_features: int,
        activation: str,
        skip: bool = False,
    ) -> nn.Module:
        """Return the module (..., L) -> (..., num_features). ``shape`` makes no difference: the
        last layer sees no layout."""
        del shape
        return (SkipMLP if skip else mlp)(latent_dim, hidden, num_features, activation)
