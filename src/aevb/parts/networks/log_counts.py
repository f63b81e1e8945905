"""Logarithms of counts, for an encoder whose rows are counts up to millions."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEAST_SPREAD = 0.05
"""The smallest spread of a column. A column that is nearly always 0 is not enlarged beyond it."""


class LogCounts(nn.Module):
    """Turn each count k into (log(1 + k) - centre) / spread, with a centre and a spread by column.

    Centre and spread are the mean and the standard deviation of log(1 + k) over the rows that
    ``initialise`` sees. Before, they are 0 and 1. Below 0, k itself takes the place of log(1 + k),
    so that the inputs that a VampPrior learns have a gradient everywhere.

    Args:
        data_dim: D.

    Example:
        >>> import torch
        >>> from aevb.parts.networks.log_counts import LogCounts
        >>> front = LogCounts(1)
        >>> front.initialise(torch.tensor([[0.0], [1000.0]]))
        >>> front(torch.tensor([[0.0], [1000.0]])).tolist()
        [[-1.0], [1.0]]
    """

    def __init__(self, data_dim: int) -> None:
        super().__init__()
        self.centre: Tensor
        self.spread: Tensor
        self.register_buffer("centre", torch.zeros(data_dim))
        self.register_buffer("spread", torch.ones(data_dim))

    @torch.no_grad()
    def initialise(self, x: Tensor) -> None:
        """Set centre and spread from some training rows x: (N, D)."""
        logs = x.double().log1p()
        self.centre.copy_(logs.mean(0))
        self.spread.copy_(logs.std(0, unbiased=False).clamp(min=LEAST_SPREAD))

    def forward(self, x: Tensor) -> Tensor:
        """Return the logarithms of x: (..., D) -> (..., D)."""
        above = F.relu(x)
        return (above.log1p() + (x - above) - self.centre) / self.spread
