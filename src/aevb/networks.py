"""Network bodies: tensors in, features out. They know nothing of probability."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from aevb.registry import Table

if TYPE_CHECKING:
    from torch import nn

ACTIVATIONS = Table(
    "activation",
    {
        "relu": "torch.nn:ReLU",
        "tanh": "torch.nn:Tanh",
        "silu": "torch.nn:SiLU",
        "gelu": "torch.nn:GELU",
    },
)

NETWORKS = Table("network", {"mlp": "aevb.networks:mlp"})


def mlp(in_features: int, hidden: Sequence[int], out_features: int | None = None, activation: str = "relu") -> nn.Sequential:
    """Fully connected layers: (..., in_features) -> (..., out_features).

    Each width in ``hidden`` is a linear layer followed by the activation; ``out_features`` adds a last linear layer
    without one. With neither, the identity. Raises UsageError for an unknown activation.
    """
    from torch import nn  # here, so that the names in ACTIVATIONS can be listed without torch

    layers: list[nn.Module] = []
    for width in hidden:
        layers += [nn.Linear(in_features, width), ACTIVATIONS[activation]()]
        in_features = width
    if out_features is not None:
        layers.append(nn.Linear(in_features, out_features))
    return nn.Sequential(*layers)
