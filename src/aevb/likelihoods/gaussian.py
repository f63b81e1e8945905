r"""Gaussian likelihoods for real data.

    log p(x|z) = -D/2 log(2 pi v) - |x - h|^2 / (2 v)

With v = 1/2 this is -|x - h|^2 - (D/2) log(pi): the sum of squared errors, which many VAEs (and `vae_loss`) use as their
reconstruction term, is the negative log-density of a Gaussian of variance 1/2 up to the constant (D/2) log(pi). That
variance is an assumption about the data's noise, and with data on another scale it is another assumption.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import Distribution, Independent, Normal

from aevb.errors import DataError, UsageError
from aevb.interfaces import Likelihood


class GaussianFixed(Likelihood):
    """D independent Gaussians with one variance that is not learned.

    ``data_dim``: D. ``variance``: v, in squared units of the model's data; the default 1/2 makes the objective the sum
    of squared errors. Raises UsageError unless it is positive.
    """

    discrete = False

    def __init__(self, data_dim: int, variance: float = 0.5) -> None:
        super().__init__()
        if not (variance > 0 and math.isfinite(variance)):
            raise UsageError(f"the variance of a Gaussian must be positive; got {variance}")
        self.num_features = data_dim
        self.std: Tensor
        # A buffer follows the model to its device and into the saved file.
        self.register_buffer("std", torch.tensor(math.sqrt(variance)))

    def forward(self, h: Tensor) -> Distribution:
        """h: (..., D), the means -> distribution over (D,)."""
        return Independent(Normal(h, self.std, validate_args=False), 1, validate_args=False)

    def check(self, x: Tensor) -> None:
        """x: (N, D). Raises DataError unless every value is finite."""
        if not bool(torch.isfinite(x).all()):
            raise DataError("gaussian needs finite x; got NaN or infinite values. Remove those rows or fill them in.")
