"""Codes of a trained model, and the priors that are fitted to them.

All fits run on the CPU in one thread, so that a seed decides the result to the last bit.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from aevb.errors import DataError
from aevb.interfaces import Prior
from aevb.parts.priors.flow import FlowPrior
from aevb.parts.priors.flow_matching import FlowMatchingPrior
from aevb.parts.priors.mixture import MixtureOfFullGaussians, MixtureOfGaussians
from aevb.probability.velocity import matching_loss
from aevb.runs.run import CHUNK, Run, Source

MOST_CODES = 50_000
"""A prior is fitted to at most this many codes."""
MOST_DRAWS = 10
"""Codes of one row, at most."""
HELD_OUT = 0.2
"""Share of the rows whose codes choose between fits."""
SIZES = (1, 5, 20, 60)
"""Numbers of components that are tried."""
ROWS_EACH = 10
"""A number of components is tried if there are this many rows for each."""
FEW_ROWS, FOLDS = 1000, 3
"""With no more rows than this, every row is held out once, in so many folds."""
CHOOSING = 6000
"""Codes to which a mixture is fitted in order to choose one; the chosen one is fitted to all."""
FIRST_ITERATIONS, ITERATIONS = 20, 10
"""Steps of expectation maximisation: to choose a mixture, and then from the chosen one on."""
LEAST_GAIN = 0.005
"""Nats of a held-out code by which more components must be better."""
FLOW_BATCH, BATCH = 256, 512
"""Codes in each step that fits a flow, and a velocity."""
RATE = 0.01
"""Their step size, which rises to this in 20 steps and then falls to 0 along a cosine."""
LOOKS = 5
"""How many times such a fit is measured on held-out codes; the best weights are kept."""


@dataclass(frozen=True)
class Codes:
    """Draws from q(z|x) of some rows, on the CPU.

    Args:
        z: (K, N, L), K draws of each of N rows.
        log_q: (K, N), log q(z|x) of each draw, nats.

    Example:
        >>> import torch
        >>> from aevb.runs.code_priors import Codes
        >>> codes = Codes(torch.zeros(3, 10, 2), torch.zeros(3, 10))
        >>> codes.of(torch.arange(4)).shape
        torch.Size([12, 2])
    """

    z: Tensor
    log_q: Tensor

    @property
    def rows(self) -> int:
        """N, the number of rows."""
        return self.z.shape[1]

    def of(self, rows: Tensor) -> Tensor:
        """Return the codes of some rows: (n,) -> (K n, L).

        Example:
            >>> import torch
            >>> from aevb.runs.code_priors import Codes
            >>> z = torch.tensor([[[1.0], [2.0]]])
            >>> Codes(z, torch.zeros(1, 2)).of(torch.tensor([1])).tolist()
            [[2.0]]
        """
        return self.z[:, rows].flatten(0, 1)

    def split(self) -> tuple[Tensor, Tensor]:
        """Return two parts of the rows at random, from torch's generator; the second is held out.

        The second is empty if there are fewer than 5 rows.

        Example:
            >>> import torch
            >>> from aevb.runs.code_priors import Codes
            >>> [len(part) for part in Codes(torch.zeros(3, 10, 2), torch.zeros(3, 10)).split()]
            [8, 2]
        """
        order = torch.randperm(self.rows)
        held_out = int(HELD_OUT * self.rows)
        return order[held_out:], order[:held_out]


class Fitted(NamedTuple):
    """A prior that was fitted to codes, with the settings that stand for it in a ``Config``.

    Example:
        >>> from aevb.parts.priors.flow import FlowPrior
        >>> from aevb.runs.code_priors import Fitted
        >>> Fitted(FlowPrior(2), "flow").components is None
        True
    """

    prior: Prior
    name: str
    components: int | None = None


@contextmanager
def one_thread(seed: int) -> Iterator[None]:
    """Run a ``with`` block on one thread, with torch's generator seeded, and restore both.

    A sum over several threads may round differently each time.

    Example:
        >>> import torch
        >>> from aevb.runs.code_priors import one_thread
        >>> with one_thread(seed=0):
        ...     threads = torch.get_num_threads()
        >>> threads
        1
    """
    from threadpoolctl import threadpool_limits

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        with torch.random.fork_rng(), threadpool_limits(1), warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="sklearn")  # EM need not end
            torch.manual_seed(seed)
            yield
    finally:
        torch.set_num_threads(threads)


@torch.no_grad()
def draw_codes(run: Run, data: Source, most: int, draws: tuple[int, int]) -> Codes:
    """Draw codes from q(z|x) of the rows of ``data``.

    Args:
        run: The trained model.
        data: Rows. If there are more than ``most``, a fixed subset of them is used.
        most: Codes to draw, about.
        draws: The least and the greatest number of draws for each row.

    Example:
        >>> import aevb
        >>> from aevb.runs.code_priors import draw_codes
        >>> run = aevb.fit("moons", aevb.Config(epochs=1, hidden=(8,), latent_dim=2))
        >>> draw_codes(run, "moons", most=5000, draws=(1, 10)).z.shape
        torch.Size([2, 2000, 2])
    """
    x = run.stored(data).sample(most // draws[0])
    k = torch.Size((max(draws[0], min(draws[1], most // len(x))),))
    z, log_q = [], []
    for part in x.split(CHUNK):
        q = run.model.posterior_given(part)
        drawn = q.sample(k)
        z.append(drawn.cpu())
        log_q.append(q.log_prob(drawn).cpu())
    return Codes(torch.cat(z, 1), torch.cat(log_q, 1))


# -------------------------------------------------------------------------------------------------
# mixtures


@torch.no_grad()
def fit_mixture(codes: Codes, components: int | None, seed: int) -> Fitted:
    """Fit a mixture of Gaussians by expectation maximisation.

    Their covariances, diagonal or full, and their number, if it is None, are those with the
    highest density of held-out codes.

    Raises:
        DataError: There are fewer codes than components.

    Example:
        >>> import torch
        >>> from aevb.runs.code_priors import Codes, fit_mixture
        >>> _ = torch.manual_seed(0)
        >>> sides = torch.tensor([-4.0, 4.0]).repeat(100).unsqueeze(-1)
        >>> fitted = fit_mixture(Codes(sides + torch.randn(3, 200, 1), torch.zeros(3, 200)), 2, 0)
        >>> fitted.name, [round(abs(mean)) for mean in fitted.prior.mu.flatten().tolist()]
        ('mixture', [4, 4])
    """
    every = torch.arange(codes.rows)
    if components is not None and codes.of(every).shape[0] < components:
        raise DataError(
            f"{components} components need as many codes at least; there are"
            f" {len(codes.of(every))}. Use fewer components."
        )
    choice = _chosen(codes, components, seed)
    kind, size = choice.kind, choice.size
    found = _em(codes.of(every), kind, size, seed, ITERATIONS, choice.start)
    dims = codes.z.shape[-1]
    covariances = torch.from_numpy(found.covariances_)
    prior: MixtureOfGaussians | MixtureOfFullGaussians
    if kind == "full":
        prior = MixtureOfFullGaussians(dims, size)
        prior.take(covariances)
    else:
        prior = MixtureOfGaussians(dims, size)
        prior.logvar.copy_(covariances.log())
    prior.log_weights.copy_(torch.from_numpy(found.weights_).log())
    prior.mu.copy_(torch.from_numpy(found.means_))
    return Fitted(prior, "full_mixture" if kind == "full" else "mixture", size)


class _Choice(NamedTuple):
    """The kind of covariances, "diag" or "full", the number of components, and where EM begins."""

    kind: str
    size: int
    start: Any = None


def _chosen(codes: Codes, components: int | None, seed: int) -> _Choice:
    folds = _folds(codes)
    best, choice = -math.inf, _Choice("diag", components or 1)
    for kind in ("diag", "full") if codes.z.shape[-1] > 1 else ("diag",):
        before = -math.inf
        for size in _sizes(codes.rows, components):
            value, fitted = _held_out(folds, kind, size, seed)
            if value > best + LEAST_GAIN:
                best, choice = value, _Choice(kind, size, fitted)
            if value <= before + LEAST_GAIN:
                break  # still more components will not do better
            before = value
    return choice


def _sizes(rows: int, components: int | None) -> tuple[int, ...]:
    if components is not None:
        return (components,)
    return tuple(size for size in SIZES if size == 1 or size * ROWS_EACH <= rows)


def _folds(codes: Codes) -> list[tuple[Tensor, Tensor]]:
    """Return pairs of codes: to fit, and held out. There is none if there are too few rows."""
    if codes.rows > FEW_ROWS:
        fitted, held_out = map(codes.of, codes.split())
        return [(fitted[torch.randperm(len(fitted))[:CHOOSING]], held_out[:CHOOSING])]
    if codes.rows < FOLDS:
        return []
    parts = torch.randperm(codes.rows).chunk(FOLDS)
    pairs = [(torch.cat([*parts[:i], *parts[i + 1 :]]), parts[i]) for i in range(len(parts))]
    return [(codes.of(rest), codes.of(part)) for rest, part in pairs]


def _held_out(
    folds: list[tuple[Tensor, Tensor]], kind: str, size: int, seed: int
) -> tuple[float, Any]:
    """Return the mean log-density of held-out codes, in nats, and the mixture of the last fold.

    The density is -inf if it cannot be measured.
    """
    if not folds or any(len(fitted) < size for fitted, _ in folds):
        return -math.inf, None
    total, found = 0.0, None
    for fitted, held_out in folds:
        found = _em(fitted, kind, size, seed, FIRST_ITERATIONS)
        total += float(found.score(held_out.double().numpy())) * len(held_out)
    return total / sum(len(held_out) for _, held_out in folds), found


def _em(codes: Tensor, kind: str, size: int, seed: int, iterations: int, start: Any = None) -> Any:
    """Fit a mixture by expectation maximisation, from another mixture if there is one."""
    from sklearn.mixture import GaussianMixture

    mixture = GaussianMixture(size, covariance_type=kind, max_iter=iterations, random_state=seed)
    if start is not None:
        mixture.set_params(
            weights_init=start.weights_,
            means_init=start.means_,
            precisions_init=start.precisions_,
            init_params="random_from_data",
        )
    return mixture.fit(codes.double().numpy())


# -------------------------------------------------------------------------------------------------
# flow, flow matching


def fit_flow(codes: Codes, steps: int, on_step: Callable[[int], None] | None = None) -> Fitted:
    """Fit spline couplings by maximum likelihood, with torch's generator.

    Args:
        codes: The codes.
        steps: Optimiser steps.
        on_step: Called with n after step n.

    Example:
        >>> import torch
        >>> from aevb.runs.code_priors import Codes, fit_flow
        >>> codes = Codes(5 + torch.randn(1, 500, 2), torch.zeros(1, 500))
        >>> fit_flow(codes, steps=3).prior.mu.shape
        torch.Size([2])
    """
    prior = FlowPrior(codes.z.shape[-1])
    prior.place(codes.of(torch.arange(codes.rows)))

    def loss(z: Tensor) -> Tensor:
        log_p: Tensor = prior().log_prob(z)
        return -log_p.mean()

    _train(prior, loss, codes, steps, on_step, FLOW_BATCH)
    return Fitted(prior, "flow")


def fit_flow_matching(
    codes: Codes, steps: int, on_step: Callable[[int], None] | None = None
) -> Fitted:
    """Fit a velocity by flow matching, with torch's generator.

    Args:
        codes: The codes.
        steps: Optimiser steps.
        on_step: Called with n after step n.

    Example:
        >>> import torch
        >>> from aevb.runs.code_priors import Codes, fit_flow_matching
        >>> codes = Codes(5 + torch.randn(1, 500, 2), torch.zeros(1, 500))
        >>> fit_flow_matching(codes, steps=3).prior.mu.shape
        torch.Size([2])
    """
    prior = FlowMatchingPrior(codes.z.shape[-1])
    plain = prior.place(codes.of(torch.arange(codes.rows))).reshape(codes.z.shape)

    def loss(u: Tensor) -> Tensor:
        return matching_loss(prior.velocity, u)

    _train(prior, loss, Codes(plain, codes.log_q), steps, on_step, BATCH)
    return Fitted(prior, "flow_matching")


def _train(
    prior: nn.Module,
    loss: Callable[[Tensor], Tensor],
    codes: Codes,
    steps: int,
    on_step: Callable[[int], None] | None,
    batch: int,
) -> None:
    """Minimise a loss over codes, and keep the weights with the least loss of held-out codes."""
    fitted, held_out = map(codes.of, codes.split())
    held_out = held_out[torch.randperm(len(held_out))[:CHOOSING]]
    optimizer = torch.optim.Adam(prior.parameters(), lr=RATE, betas=(0.9, 0.99))
    best, kept = math.inf, None
    for step in range(1, steps + 1):
        share = min(1.0, step / 20) * 0.5 * (1 + math.cos(math.pi * (step - 1) / steps))
        optimizer.param_groups[0]["lr"] = RATE * share
        with torch.enable_grad():
            value = loss(fitted[torch.randint(len(fitted), (batch,))])
            optimizer.zero_grad()
            value.backward()
        optimizer.step()
        if len(held_out) and (step % max(1, steps // LOOKS) == 0 or step == steps):
            found = _with_fixed_noise(loss, held_out)
            if found < best:
                best, kept = found, {k: v.clone() for k, v in prior.state_dict().items()}
        if on_step:
            on_step(step)
    if kept is not None:
        prior.load_state_dict(kept)
    prior.zero_grad()


@torch.no_grad()
def _with_fixed_noise(loss: Callable[[Tensor], Tensor], codes: Tensor) -> float:
    """Return a loss that can be compared: its noise is the same at each call."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return float(loss(codes))
