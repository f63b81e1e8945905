"""Cells hidden from an encoder at random, so that it learns to do with a part of a row."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

SHARE = 0.3
"""The share of the rows of which cells are hidden."""


class HiddenCells(nn.Module):
    """Hide cells of some rows while a model is trained: x (..., D) -> x (..., D).

    A hidden cell is NaN, as a cell that is not known. In the rows that lose cells, the probability
    of it is drawn evenly from 0 to 1. Outside of training nothing is hidden. For any encoder the
    bound stays a bound, and q(z|x) can then be asked for rows with gaps.

    Example:
        >>> import torch
        >>> from aevb.parts.networks.hidden_cells import HiddenCells
        >>> hide, x = HiddenCells(), torch.zeros(1000, 10)
        >>> 0.1 < float(hide(x).isnan().float().mean()) < 0.2
        True
        >>> bool(hide.eval()(x).isnan().any())
        False
    """

    def forward(self, x: Tensor) -> Tensor:
        """x: (..., D) -> (..., D)."""
        if not self.training:
            return x
        row = x[..., :1]
        probability = torch.rand_like(row) * (torch.rand_like(row) < SHARE)
        return torch.where(torch.rand_like(x) < probability, math.nan, x)
