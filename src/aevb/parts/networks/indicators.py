"""Levels as indicators: what an encoder needs to see where integers are names and not amounts."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Indicators(nn.Module):
    """x: (..., D) of numbers k / (levels - 1) -> (..., D * levels): 1 at level k, 0 elsewhere.

    Linear between levels, so that a gradient passes through inputs that are learned (those of a
    VampPrior).
    """

    def __init__(self, levels: int) -> None:
        super().__init__()
        self.k: Tensor
        self.register_buffer("k", torch.arange(levels), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """x: (..., D) -> (..., D * levels)."""
        distance = x.unsqueeze(-1) * (len(self.k) - 1) - self.k
        return (1 - distance.abs()).clamp(min=0).flatten(-2)
