"""Estimate the evidence lower bound (ELBO) on given rows, split into its terms.

Means over rows are reported as ``Figure``: a value with its standard error and unit.
"""

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
    """A number with its error bar and unit.

    Args:
        value: The number.
        standard_error: That of a mean over rows. It is NaN if it is not known, as for one row.
        unit: For example "nats".
        details: More numbers about the estimate, by name: how many samples were drawn, the
            effective sample size, ...

    Example:
        >>> from aevb.evaluation.bound import Figure
        >>> figure = Figure(-1.5, 0.1)
        >>> f"{figure.value} +- {figure.standard_error} {figure.unit}"
        '-1.5 +- 0.1 nats'
    """

    value: float
    standard_error: float
    unit: str = "nats"
    details: Mapping[str, float] = MappingProxyType({})


class RowTerms(NamedTuple):
    """The terms of the bound for every row, in nats.

    Args:
        reconstruction: (N,), the mean of log p(x|z) over the draws of z.
        kl: (N, L), KL(q(z|x) || p(z)) of each latent dimension, or (N, 1), that of all together.

    Example:
        >>> import torch
        >>> from aevb.evaluation.bound import RowTerms
        >>> RowTerms(torch.tensor([-3.0]), torch.tensor([[0.5, 1.0]])).bound
        tensor([-4.5000])
    """

    reconstruction: Tensor
    kl: Tensor

    @property
    def bound(self) -> Tensor:
        """The bound of every row: (N,), nats."""
        return self.reconstruction - self.kl.sum(-1)


@contextmanager
def evaluating(model: VAE) -> Iterator[None]:
    """Put the model into evaluation mode for a ``with`` block, with exact float32 convolutions.

    torch's global generator may be seeded inside the block. At the end, the mode and the generator
    are as they were before.

    Example:
        >>> import torch
        >>> from aevb import VAE
        >>> from aevb.evaluation.bound import evaluating
        >>> model = VAE(4, (8,), 2)
        >>> with evaluating(model):
        ...     inside = model.training
        >>> inside, model.training
        (False, True)
    """
    # By default, torch lets a GPU round the inputs of convolutions to 10 bits.
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
    """Estimate the terms of the ELBO for every row.

    The KL has weight 1, whatever beta the model was trained with. The result depends on ``seed``,
    and not on torch's global generator, which is left unchanged.

    Args:
        model: The VAE.
        x: (N, D), or ``Rows``, which become x one batch at a time.
        samples: Draws of z for each row.
        seed: Seeds the draws.
        log_jacobian: Nats that are added to the reconstruction. ``Schema.log_jacobian`` turns the
            density of x into that of the data.
        batch_size: How many draws go through the network together.

    Example:
        >>> import torch
        >>> from aevb import VAE
        >>> from aevb.evaluation.bound import elbo_rows
        >>> model, x = VAE(4, (8,), 2), torch.ones(5, 4)
        >>> terms = elbo_rows(model, x, samples=10)
        >>> terms.reconstruction.shape, terms.kl.shape, terms.bound.shape
        (torch.Size([5]), torch.Size([5, 2]), torch.Size([5]))
        >>> bool((elbo_rows(model, x, samples=10).bound == terms.bound).all())
        True
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
    """Average the terms over the rows: ``bound``, ``reconstruction`` and ``kl``, in nats.

    The standard errors treat the rows as draws from the population. They include the noise of z.

    Raises:
        DataError: The bound is not finite.

    Example:
        >>> import torch
        >>> from aevb.evaluation.bound import RowTerms, summarise
        >>> terms = RowTerms(torch.tensor([-3.0, -5.0]), torch.tensor([[1.0], [1.0]]))
        >>> figures = summarise(terms)
        >>> figures["bound"].value, figures["bound"].standard_error, figures["kl"].value
        (-5.0, 1.0, 1.0)
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
    """Return the mean and its standard error. values: (N,), nats.

    Example:
        >>> import torch
        >>> from aevb.evaluation.bound import mean_figure
        >>> mean_figure(torch.tensor([1.0, 3.0]))[:3]
        (2.0, 1.0, 'nats')
    """
    values = values.double()
    return Figure(
        float(values.mean()),
        float(values.std() / math.sqrt(len(values))) if len(values) > 1 else math.nan,
    )
