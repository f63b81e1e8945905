r"""Estimate log p(x) itself, by importance sampling from q(z|x).

    log p(x) ~ log 1/K sum_k w_k,     w_k = p(x, z_k) / q(z_k|x),     z_k ~ q(z|x)

The mean of the w_k is unbiased for p(x). Let ESS = (sum w)^2 / sum w^2 be the effective sample
size. The logarithm is too low by about 1 / (2 ESS) on average, and its standard deviation is about
sqrt(1/ESS - 1/K). If a few of the weights make up most of the sum, ESS is small: q(z|x) misses part
of p(z|x), and the estimate is not reliable. The figures include the ESS.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution

from aevb.datasets.draws import content_numbers
from aevb.datasets.schema import MOST_NUMBERS
from aevb.errors import UsageError
from aevb.evaluation.bound import Figure, evaluating, mean_figure
from aevb.model import VAE
from aevb.probability.distributions import rsample_and_log_prob
from aevb.probability.seeds import counter_seed

PAIRS = {"cpu": 4096, "cuda": 65_536}
"""Draws (rows times samples) that go through the decoder at once.

More would not fit into a processor's cache; fewer would leave most of a GPU idle.
"""
ROWS = 32
"""Rows that are estimated together. This is fixed, because the noise of a row depends on it."""
ALIGNED = 64
"""Bytes. torch reserves memory at multiples of this."""
RELIABLE = 10.0
"""Below this effective sample size, an estimate is too low by 1 / (2 * 10) = 0.05 nats or more."""


class Importance(NamedTuple):
    """Estimates of log p(x) for every row, with their effective sample sizes.

    Args:
        log_likelihood: (N,), nats.
        effective_sample_size: (N,), at most ``samples``.
        samples: K, the draws of z for each row.

    Example:
        >>> import torch
        >>> from aevb.evaluation.log_likelihood import Importance
        >>> estimate = Importance(torch.tensor([-2.0, -4.0]), torch.tensor([400.0, 5.0]), 500)
        >>> estimate.unreliable  # the second row
        0.5
        >>> estimate.figure().value
        -3.0
    """

    log_likelihood: Tensor
    effective_sample_size: Tensor
    samples: int

    @property
    def error(self) -> Tensor:
        """Standard deviation of each row's estimate over its draws: (N,), nats."""
        return (1 / self.effective_sample_size - 1 / self.samples).clamp(min=0).sqrt()

    @property
    def unreliable(self) -> float:
        """Fraction of the rows whose effective sample size is below 10."""
        return float((self.effective_sample_size < RELIABLE).double().mean())

    def figure(self) -> Figure:
        """Average over the rows.

        The standard error treats the rows as draws from the population. It includes the noise of
        the draws of z.

        Example:
            >>> import torch
            >>> from aevb.evaluation.log_likelihood import Importance
            >>> estimate = Importance(torch.tensor([-2.0, -4.0]), torch.tensor([400.0, 5.0]), 500)
            >>> figure = estimate.figure()
            >>> figure.value, figure.standard_error, figure.details["unreliable_rows"]
            (-3.0, 1.0, 0.5)
        """
        mean = mean_figure(self.log_likelihood)
        return mean._replace(
            details={
                "samples": self.samples,
                "effective_sample_size": float(self.effective_sample_size.median()),
                "sampling_error": float(self.error.square().sum().sqrt()) / len(self.error),
                "unreliable_rows": self.unreliable,
            }
        )


@torch.no_grad()
def importance_rows(
    model: VAE,
    x: Tensor,
    *,
    samples: int = 5000,
    seed: int = 0,
    first: int = 0,
    log_jacobian: float = 0.0,
    on_rows: Callable[[int], None] | None = None,
) -> Importance:
    """Estimate log p(x) of every row by importance sampling.

    The result depends on ``seed``, and not on torch's global generator.

    Args:
        model: The VAE.
        x: (N, D).
        samples: K, the draws of z for each row.
        seed: Seeds the draws.
        first: The number of the first row of x in the data, if x is a part of the data.
        log_jacobian: Nats that are added to turn the density of x into that of the data.
        on_rows: Called with the number of rows each time some are done.

    Raises:
        UsageError: ``samples`` is below 1.

    Example:
        >>> import torch
        >>> from aevb import VAE
        >>> from aevb.evaluation.bound import elbo_rows
        >>> from aevb.evaluation.log_likelihood import importance_rows
        >>> _ = torch.manual_seed(0)
        >>> model, x = VAE(4, (8,), 2), torch.ones(5, 4)
        >>> estimate = importance_rows(model, x, samples=1000)
        >>> estimate.log_likelihood.shape, estimate.unreliable
        (torch.Size([5]), 0.0)
        >>> bound = elbo_rows(model, x, samples=1000).bound
        >>> bool((estimate.log_likelihood > bound).all())
        True
    """
    _check_samples(samples)
    values, sizes = [], []
    with evaluating(model):
        for start in range(0, len(x), ROWS):
            torch.manual_seed(counter_seed(seed, "importance", first + start))
            log_sum, log_square_sum = _weigh(model, x[start : start + ROWS], samples)
            values.append(log_sum - math.log(samples) + log_jacobian)
            sizes.append((2 * log_sum - log_square_sum).exp())
            if on_rows:
                on_rows(len(log_sum))
    return Importance(torch.cat(values), torch.cat(sizes), samples)


def _check_samples(samples: int) -> None:
    if samples < 1:
        raise UsageError(f"samples must be at least 1; got {samples}")


def _weigh(model: VAE, x: Tensor, samples: int) -> tuple[Tensor, Tensor]:
    """Return the logs of the sum of the weights and of their squares: (B,) each, in float64."""
    q = model.posterior_given(x)
    log_sum = torch.full((len(x),), -torch.inf, dtype=torch.float64, device=x.device)
    log_square_sum = log_sum.clone()
    chunk = max(1, PAIRS.get(x.device.type, PAIRS["cpu"]) // len(x))
    for done in range(0, samples, chunk):
        z, log_q = rsample_and_log_prob(q, min(chunk, samples - done))
        log_p, log_prior = model.log_joint(x, z)
        log_w = log_p.double() + log_prior.double() - log_q.double()
        log_sum = torch.logaddexp(log_sum, log_w.logsumexp(0))
        log_square_sum = torch.logaddexp(log_square_sum, (2 * log_w).logsumexp(0))
    return log_sum, log_square_sum


class RowScores(NamedTuple):
    """What ``score_rows`` finds for every row, all from the same draws of z.

    Args:
        log_likelihood: (N,), log p(x) by importance sampling, nats. It is at least ``bound``.
        effective_sample_size: (N,), that of ``log_likelihood``.
        reconstruction: (N,), the mean of log p(x|z) over the draws, nats.
        kl: (N,), the mean of log q(z|x) - log p(z) over the draws, nats. It is an estimate, so it
            can be slightly below 0.

    Example:
        >>> import torch
        >>> from aevb.evaluation.log_likelihood import RowScores
        >>> one = torch.ones(1)
        >>> RowScores(-3 * one, 90 * one, reconstruction=-2 * one, kl=1.5 * one).bound
        tensor([-3.5000])
    """

    log_likelihood: Tensor
    effective_sample_size: Tensor
    reconstruction: Tensor
    kl: Tensor

    @property
    def bound(self) -> Tensor:
        """reconstruction - kl, the mean of the log-weights: (N,), nats."""
        return self.reconstruction - self.kl


@torch.no_grad()
def score_rows(
    model: VAE,
    x: Tensor,
    *,
    samples: int = 1000,
    seed: int = 0,
    log_jacobian: float = 0.0,
    on_rows: Callable[[int], None] | None = None,
) -> RowScores:
    """Estimate log p(x) and the terms of its bound for every row, each row by itself.

    A row's result is a function of the row, the model, ``samples`` and ``seed``. The other rows do
    not matter, nor do their order and their number: not even the last bit changes. (Another
    machine, or another number of threads, may round differently.)

    Args:
        model: The VAE.
        x: (N, D).
        samples: K, the draws of z for each row.
        seed: Seeds the draws, together with the values in the row.
        log_jacobian: Nats that are added to turn the density of x into that of the data.
        on_rows: Called with the number of rows each time some are done.

    Raises:
        UsageError: ``samples`` is below 1.

    Example:
        >>> import torch
        >>> from aevb import VAE
        >>> from aevb.evaluation.log_likelihood import score_rows
        >>> model, x = VAE(4, (8,), 2), torch.randn(5, 4)
        >>> every, alone = score_rows(model, x, samples=100), score_rows(model, x[3:4], samples=100)
        >>> torch.equal(every.log_likelihood[3:4], alone.log_likelihood)
        True
        >>> bool((every.bound <= every.log_likelihood).all())
        True
    """
    _check_samples(samples)
    found = []
    model = aligned(model)
    with evaluating(model):
        prior = model.prior()
        numbers = content_numbers(x.cpu().numpy())
        for i, number in enumerate(numbers):
            seed_draws(counter_seed(seed, "score", int(number)), x.device)
            # A copy of its own: a product of matrices may round differently at another address.
            found.append(_score(model, prior, x[i : i + 1].clone(), samples))
            if on_rows and (i % ROWS == ROWS - 1 or i == len(x) - 1):
                on_rows(i % ROWS + 1)
    columns = torch.stack(found).T if found else x.new_zeros(4, 0, dtype=torch.float64)
    log_likelihood, size, reconstruction, kl = columns
    reconstruction = reconstruction + log_jacobian
    # The mean of the weights is never below their geometric mean, but both have been rounded.
    log_likelihood = torch.maximum(log_likelihood + log_jacobian, reconstruction - kl)
    # If no draw has a weight above 0, the share of each draw is 0 / 0.
    return RowScores(log_likelihood, size.nan_to_num(0.0), reconstruction, kl)


def aligned(model: VAE) -> VAE:
    """Return the model, or a copy of it if a parameter does not start at a round address.

    Training keeps the parameters of a small model in one tensor, and there they start anywhere. A
    product with such a parameter may round differently from one with the parameter of a model that
    was loaded, so the scores would depend on where the model came from.

    Example:
        >>> from aevb import VAE
        >>> from aevb.evaluation.log_likelihood import aligned
        >>> aligned(VAE(data_dim=3)).data_dim
        3
    """
    tensors = (*model.parameters(), *model.buffers())
    return copy.deepcopy(model) if any(each.data_ptr() % ALIGNED for each in tensors) else model


def seed_draws(seed: int, device: torch.device) -> None:
    """Seed the global generators that draws on ``device`` may use.

    ``torch.manual_seed`` would seed those of all devices, which takes longer than a small network.

    Example:
        >>> import torch
        >>> from aevb.evaluation.log_likelihood import seed_draws
        >>> with torch.random.fork_rng():
        ...     seed_draws(3, torch.device("cpu"))
        ...     torch.initial_seed()
        3
    """
    torch.default_generator.manual_seed(seed)
    if device.type == "cuda":
        index = torch.cuda.current_device() if device.index is None else device.index
        torch.cuda.default_generators[index].manual_seed(seed)


def _score(model: VAE, prior: Distribution, row: Tensor, samples: int) -> Tensor:
    """Return log p(x), the effective sample size, E log p(x|z) and KL of one row: (4,), float64.

    row: (1, D).
    """
    q = model.posterior_given(row)
    # Draws that share a pass: few enough that long rows fit into memory.
    most = min(
        PAIRS.get(row.device.type, PAIRS["cpu"]), MOST_NUMBERS // model.likelihood.num_features
    )
    reconstructions, divergences = [], []
    for done in range(0, samples, max(1, most)):
        z, log_q = rsample_and_log_prob(q, min(max(1, most), samples - done))
        reconstructions.append(model.likelihood_given(z).log_prob(row)[:, 0].double())
        divergences.append(log_q[:, 0].double() - prior.log_prob(z)[:, 0].double())
    reconstruction, divergence = torch.cat(reconstructions), torch.cat(divergences)
    log_w = reconstruction - divergence
    log_sum = log_w.logsumexp(0)
    return torch.stack(
        [
            log_sum - math.log(samples),
            1 / (log_w - log_sum).exp().square().sum(),
            reconstruction.mean(),
            divergence.mean(),
        ]
    )
