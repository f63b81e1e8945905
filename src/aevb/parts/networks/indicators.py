"""One-hot indicators, for an encoder of data whose integers stand for categories."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Indicators(nn.Module):
    """Turn each number k / (levels - 1) into ``levels`` numbers: 1 at level k, 0 elsewhere.

    A number between two levels is shared between them in proportion. A gradient can therefore pass
    through inputs that are learned, such as those of a VampPrior.

    Example:
        >>> import torch
        >>> from aevb.parts.networks.indicators import Indicators
        >>> Indicators(levels=3)(torch.tensor([0.0, 0.5, 1.0])).tolist()
        [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0]
    """

    def __init__(self, levels: int) -> None:
        super().__init__()
        self.k: Tensor
        self.register_buffer("k", torch.arange(levels), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """Return the indicators of x: (..., D) -> (..., D * levels)."""
        distance = x.unsqueeze(-1) * (len(self.k) - 1) - self.k
        return (1 - distance.abs()).clamp(min=0).flatten(-2)
