"""Multi-layer perceptrons, which take rows of any shape as flat vectors."""

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
    """Make fully connected layers: (..., in_features) -> (..., out_features).

    Args:
        in_features: width of the input.
        hidden: widths of the hidden layers. The activation follows each of them.
        out_features: width of a last linear layer without activation. None: no such layer.
        activation: a name in ``ACTIVATIONS``.

    Returns:
        The layers. They are the identity if ``hidden`` is empty and ``out_features`` is None.

    Raises:
        UsageError: the activation is unknown.

    Example:
        >>> import torch
        >>> from aevb.parts.networks.mlp import mlp
        >>> mlp(3, (8, 8), 2, "tanh")(torch.zeros(5, 3)).shape
        torch.Size([5, 2])
    """
    layers: list[nn.Module] = []
    for width in hidden:
        layers += [nn.Linear(in_features, width), ACTIVATIONS[activation]()]
        in_features = width
    if out_features is not None:
        layers.append(nn.Linear(in_features, out_features))
    return nn.Sequential(*layers)


class SkipMLP(nn.Module):
    """A perceptron that feeds z into every layer: (..., L) -> (..., out_features).

    Every layer after the first takes [h, z], where h is the output of the layer before.

    Args:
        latent_dim: L.
        hidden: widths of the hidden layers.
        out_features: width of the output.
        activation: a name in ``ACTIVATIONS``.

    Example:
        >>> import torch
        >>> from aevb.parts.networks.mlp import SkipMLP
        >>> network = SkipMLP(2, (8,), 3)
        >>> network(torch.zeros(5, 2)).shape, network.rest[0].in_features
        (torch.Size([5, 3]), 10)
    """

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
        """Map z to features: (..., L) -> (..., out_features)."""
        h: Tensor = self.first(z)
        for layer in self.rest:
            h = layer(torch.cat([self.activation(h), z], -1))
        return h


@final
class MLP:
    """The fully connected network ``mlp``; ``hidden`` holds the widths of its layers.

    Example:
        >>> import torch
        >>> from aevb.parts.networks.mlp import MLP
        >>> encoder, features = MLP.encoder((2, 3), (8, 7), "relu")
        >>> features, encoder(torch.zeros(5, 6)).shape
        (7, torch.Size([5, 7]))
    """

    @staticmethod
    def encoder(
        shape: tuple[int, ...], hidden: Sequence[int], activation: str
    ) -> tuple[nn.Module, int]:
        """Make the encoder's network.

        Args:
            shape: of one row.
            hidden: widths of the layers.
            activation: a name in ``ACTIVATIONS``.

        Returns:
            The module (..., D) -> (..., F), and F: the last width, or D if there is none.

        Example:
            >>> from aevb.parts.networks.mlp import MLP
            >>> MLP.encoder((5,), (), "relu")[1]
            5
        """
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
        """Make the decoder's network: (..., L) -> (..., num_features).

        Args:
            latent_dim: L.
            hidden: widths of the layers, from z outwards.
            shape: of one row; it makes no difference here.
            num_features: width of the output.
            activation: a name in ``ACTIVATIONS``.
            skip: feed z into every layer again.

        Example:
            >>> import torch
            >>> from aevb.parts.networks.mlp import MLP
            >>> MLP.decoder(2, (7, 8), (5,), 10, "relu")(torch.zeros(4, 2)).shape
            torch.Size([4, 10])
        """
        del shape
        return (SkipMLP if skip else mlp)(latent_dim, hidden, num_features, activation)
