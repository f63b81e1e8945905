"""The evidence lower bound on given rows, split into its terms, with standard errors over the rows."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor

from aevb.datasets.rows import Rows
from aevb.errors import DataError
from aevb.model import VAE


class Figure(NamedTuple):
    """A number with its error bar and unit. ``standard_error``: of a mean over rows; NaN where one
    row gives none.

    ``details``: what else is known of how it came about, by name (the number of samples, the
    effective sample size, ...).
    """

    value: float
    standard_error: float
    unit: str = "nats"
    details: Mapping[str, float] = MappingProxyType({})


class RowTerms(NamedTuple):
    """The terms of the bound, row by row, in nats: reconstruction (N,) and kl (N, L), or (N, 1) if
    it was sampled."""

    reconstruction: Tensor
    kl: Tensor

    @property
    def bound(self) -> Tensor:
        """(N,)."""
        return self.reconstruction - self.kl.sum(-1)


@contextmanager
def evaluating(model: VAE) -> Iterator[None]:
    """Evaluation mode, all of float32 in convolutions, and a random generator to seed at will; then
    all is as it was."""
    # A GPU's convolutions would round their inputs to 10 bits, as torch has it unless it is told
    # otherwise.
    exact = torch.backends.cudnn.flags(enabled=True, deterministic=True, allow_tf32=False)
    with model.in_evaluation(), torch.random.fork_rng(), exact:
        yield


@torch.no_grad()
def elbo_rows(
    model: VAE,
    x: Tensor | Rows,
    *,
    samples: int = 1,
    seed: int = 0,
    log_jacobian: float = 0.0,
    batch_size: int = 1024,
) -> RowTerms:
    """The ELBO's terms for every row. x: (N, D), or rows that become x a batch at a time. The KL
    has weight 1, whatever beta the model was trained with.

    samples: draws of z per row. log_jacobian: nats, added to the reconstruction to turn a density
    of x into one of the data (see ``Schema``). The result depends on ``seed``, not on torch's
    global generator, which is left as it was.
    """
    with evaluating(model):
        torch.manual_seed(seed)
        parts = [
            model.elbo_terms(batch, samples) for batch in x.split(max(1, batch_size // samples))
        ]
    return RowTerms(
        torch.cat([r for r, _ in parts]) + log_jacobian, torch.cat([kl for _, kl in parts])
    )


def summarise(rows: RowTerms) -> dict[str, Figure]:
    """Means over the rows: ``bound``, ``reconstruction`` and ``kl`` in nats.

    The standard error is that of a mean over rows drawn from the population, the noise of z
    included. Raises DataError for a bound that is not finite.
    """
    figures = {
        "bound": mean_figure(rows.bound),
        "reconstruction": mean_figure(rows.reconstruction),
        "kl": mean_figure(rows.kl.sum(-1)),
    }
    if not math.isfinite(figures["bound"].value):
        raise DataError(
            f"the bound is {figures['bound'].value}: the model or the rows hold values that are not"
            " finite"
        )
    return figures


def mean_figure(values: Tensor) -> Figure:
    """Mean and standard error. values: (N,), nats."""
    values = values.double()
    return Figure(
        float(values.mean()),
        float(values.std() / math.sqrt(len(values))) if len(values) > 1 else math.nan,
    )
