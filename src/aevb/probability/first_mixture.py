"""A mixture of Gaussians for few rows: shrunk covariances, missing numbers, chosen by folds."""

from __future__ import annotations

import warnings
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aevb.probability.masses import LOG_SQRT_2PI
from aevb.probability.regressions import filled

COUNTS = (1, 2, 3, 4, 6, 10)
"""How many Gaussians are tried."""
ROWS_EACH = 12
"""A Gaussian has at least so many rows on average."""
TIES = (0.5, 3.0, 1000.0)
"""How strongly covariances are drawn to their mean: the weight of the mean, in rows per column."""
SHRINKS = (0.0, 0.03, 0.1, 0.25)
"""How far covariances are drawn to their diagonals."""
FOLDS = 4
STEPS, MORE = 20, 6
"""Steps of expectation maximisation: from the beginning, and when a setting changes a little."""
FLOOR = 1e-5
"""Added to the variances, so that no Gaussian shrinks to a point."""
MOST_SPREAD = 2.0
"""Variances grow at most by this factor to be right for new rows."""

Array = NDArray[np.float64]


class Mixture(NamedTuple):
    """A mixture of Gaussians.

    Args:
        weights: (K,).
        means: (K, D).
        covariances: (K, D, D).

    Example:
        >>> import numpy as np, torch
        >>> from aevb.probability.first_mixture import Mixture
        >>> both = torch.tensor([[[1.0, 0.5], [0.5, 1.0]]])
        >>> slopes, _, log_scales = Mixture(torch.ones(1), torch.zeros(1, 2), both).regressions()
        >>> slopes[0, 1, 0].round(3).item(), np.exp(2 * log_scales[0])  # 1 - 0.5^2
        (0.5, array([1.  , 0.75], dtype=float32))
    """

    weights: Tensor
    means: Tensor
    covariances: Tensor

    def scaled(self, factor: float) -> Mixture:
        """The same mixture with standard deviations that are ``factor`` times as large.

        Example:
            >>> import torch
            >>> from aevb.probability.first_mixture import Mixture
            >>> one = Mixture(torch.ones(1), torch.zeros(1, 1), torch.ones(1, 1, 1))
            >>> one.scaled(3.0).covariances.item()
            9.0
        """
        return self._replace(covariances=self.covariances * factor**2)

    def regressions(self) -> tuple[Array, Array, Array]:
        """Regressions of each number on those before it, for each Gaussian.

        Returns slopes (K, D, D), constants (K, D) and logs of the standard deviations of what is
        left (K, D).

        Example:
            >>> import torch
            >>> from aevb.probability.first_mixture import Mixture
            >>> both = torch.tensor([[[1.0, 0.5], [0.5, 1.0]]])
            >>> slopes, _, _ = Mixture(torch.ones(1), torch.zeros(1, 2), both).regressions()
            >>> slopes[0, 1, 0].round(3).item()
            0.5
        """
        lower = torch.linalg.cholesky(self.covariances)
        scales = lower.diagonal(dim1=-2, dim2=-1)
        # x = a + B x + s noise has the covariance L L', where L = (1 - B)^-1 s.
        unit = torch.eye(lower.shape[-1], dtype=lower.dtype)
        back = torch.linalg.solve_triangular(lower, unit.expand_as(lower), upper=False)
        back = scales.unsqueeze(-1) * back
        constants = (back @ self.means.unsqueeze(-1)).squeeze(-1)
        return (unit - back).numpy(), constants.numpy(), scales.log().numpy()


class Moments(NamedTuple):
    """What an expectation step finds of N rows: see ``expect``.

    Args:
        log_prob: (N, K), the log density of the known numbers, with the Gaussian's weight.
        distance: (N, K), their squared distance from its mean.
        filled: (N, K, D), the rows with conditional means.
        spread: (N, K, D, D), the conditional covariances. None: all numbers are known.

    Example:
        >>> import torch
        >>> from aevb.probability.first_mixture import Mixture, expect
        >>> one = Mixture(torch.ones(1), torch.zeros(1, 1), torch.ones(1, 1, 1))
        >>> expect(one, torch.tensor([[2.0]])).distance
        tensor([[4.]])
    """

    log_prob: Tensor
    distance: Tensor
    filled: Tensor
    spread: Tensor | None


def expect(mixture: Mixture, x: Tensor) -> Moments:
    """Score rows and fill what is not known, under each Gaussian.

    Args:
        mixture: K Gaussians.
        x: (N, D), NaN where a number is not known.

    Returns:
        The log density of the known numbers with the weight of the Gaussian (N, K), their squared
        distances from its mean (N, K), the rows with conditional means (N, K, D), and the
        conditional covariances (N, K, D, D), None if all numbers are known.

    Example:
        >>> import torch
        >>> from aevb.probability.first_mixture import Mixture, expect
        >>> both = torch.tensor([[[1.0, 0.5], [0.5, 1.0]]]).double()
        >>> one = Mixture(torch.ones(1).double(), torch.zeros(1, 2).double(), both)
        >>> found = expect(one, torch.tensor([[2.0, float("nan")]]).double())
        >>> found.filled[0, 0], found.spread[0, 0, 1, 1]  # 0.5 * 2, and 1 - 0.5^2
        (tensor([2., 1.], dtype=torch.float64), tensor(0.7500, dtype=torch.float64))
    """
    known = torch.isfinite(x)
    d = torch.where(known, x, 0.0).unsqueeze(1) - mixture.means
    covariances, unit = mixture.covariances, torch.eye(x.shape[1], dtype=x.dtype)
    if bool(known.all()):
        lower = torch.linalg.cholesky(covariances)
        noise = torch.linalg.solve_triangular(lower, d.permute(1, 2, 0), upper=False)
        distance, filled, spread = noise.square().sum(1).T, x.unsqueeze(1).expand_as(d), None
    else:
        here = known.unsqueeze(1)
        both = here.unsqueeze(-1) & here.unsqueeze(-2)
        lower = torch.linalg.cholesky(torch.where(both, covariances, unit))
        d = torch.where(here, d, 0.0)
        # Regressions of all numbers on the known ones.
        to_known = torch.where(here.unsqueeze(-1), covariances, 0.0)
        half = torch.linalg.solve_triangular(lower, to_known, upper=False)
        noise = torch.linalg.solve_triangular(lower, d.unsqueeze(-1), upper=False)
        distance = noise.square().sum((-2, -1))
        guess = mixture.means + (half.mT @ noise).squeeze(-1)
        filled = torch.where(here, x.unsqueeze(1), guess)
        gone = ~here.unsqueeze(-1) & ~here.unsqueeze(-2)
        spread = torch.where(gone, covariances - half.mT @ half, 0.0)
    log_det = lower.diagonal(dim1=-2, dim2=-1).log().sum(-1)
    counts = known.sum(1, keepdim=True)
    log_prob = mixture.weights.log() - 0.5 * distance - log_det - LOG_SQRT_2PI * counts
    return Moments(log_prob, distance, filled, spread)


def maximise(x: Moments, tie: float, shrink: float) -> Mixture:
    """The Gaussians that suit the moments, with shrunk covariances.

    tie: how strongly covariances are drawn to their mean, as in ``TIES``. shrink: as in
    ``SHRINKS``.

    Example:
        >>> import torch
        >>> from aevb.probability.first_mixture import Mixture, expect, maximise
        >>> one = Mixture(torch.ones(1).double(), torch.zeros(1, 1).double(), torch.eye(1)[None])
        >>> rows = torch.tensor([[1.0], [3.0]]).double()
        >>> round(maximise(expect(one, rows), tie=0.0, shrink=0.0).means.item(), 3)
        2.0
    """
    shares = torch.softmax(x.log_prob, 1)
    rows, columns = shares.sum(0) + 1e-6, x.filled.shape[-1]
    means = torch.einsum("nk,nkd->kd", shares, x.filled) / rows[:, None]
    d = x.filled - means
    sums = torch.einsum("nkd,nke->kde", shares.unsqueeze(-1) * d, d)
    if x.spread is not None:
        sums = sums + torch.einsum("nk,nkde->kde", shares, x.spread)
    pooled, weight = sums.sum(0) / rows.sum(), tie * columns
    covariances = (sums + weight * pooled) / (rows + weight)[:, None, None]
    diagonal = torch.diag_embed(covariances.diagonal(dim1=-2, dim2=-1))
    covariances = torch.lerp(covariances, diagonal, shrink)
    covariances = covariances + FLOOR * torch.eye(columns, dtype=covariances.dtype)
    return Mixture(rows / rows.sum(), means, covariances)


def begin(x: Tensor, count: int) -> Mixture:
    """A mixture around the centres of k-means.

    Example:
        >>> import torch
        >>> from aevb.probability.first_mixture import begin
        >>> begin(torch.tensor([[0.0], [0.1], [9.0], [9.1]]).double(), 2).means.sort(0).values
        tensor([[0.0500],
                [9.0500]], dtype=torch.float64)
    """
    from sklearn.cluster import KMeans

    rows = torch.nan_to_num(x, nan=0.0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # equal rows may leave a centre without any
        found = KMeans(count, n_init=3, random_state=0).fit(rows.numpy())
    means = torch.from_numpy(found.cluster_centers_).double()
    shares = torch.from_numpy(np.bincount(found.labels_, minlength=count) / len(x)).clamp(min=1e-3)
    within = (rows - means[torch.from_numpy(found.labels_).long()]).square().mean(0) + 0.05
    return Mixture(shares, means, torch.diag(within).expand(count, -1, -1).clone())


def climb(x: Tensor, mixture: Mixture, tie: float, shrink: float, steps: int) -> Mixture:
    """Take steps of expectation maximisation on rows x (N, D), NaN where not known.

    Example:
        >>> import torch
        >>> from aevb.probability.first_mixture import begin, climb
        >>> x = torch.tensor([[0.0], [1.0], [9.0], [10.0]]).double()
        >>> found = climb(x, begin(x, 2), tie=0.0, shrink=0.0, steps=5)
        >>> [round(mean, 2) for mean in sorted(found.means.flatten().tolist())]
        [0.5, 9.5]
    """
    for _ in range(steps):
        mixture = maximise(expect(mixture, x), tie, shrink)
    return mixture


def fitted(t: Array, count: int = 0) -> Mixture:
    """Fit a mixture of Gaussians to rows t (N, D), NaN where a number is not known.

    How many Gaussians there are (unless ``count`` says it) and how much they are shrunk is chosen
    by the log density of rows that a fold leaves out. These rows also say by how much the variances
    must grow to be right for new rows.

    Example:
        >>> import numpy as np
        >>> from aevb.probability.first_mixture import fitted
        >>> rng = np.random.default_rng(0)
        >>> rows = rng.normal(size=(150, 3)) + 4 * rng.integers(0, 2, (150, 1))
        >>> len(fitted(rows).weights)
        2
    """
    x, full = torch.from_numpy(t).double(), torch.from_numpy(filled(t)).double()
    fold = torch.from_numpy(np.random.default_rng(0).permutation(len(x)) % FOLDS)
    # A left-out row counts by what is known of it.
    parts = [(full[fold != f], x[fold == f]) for f in range(FOLDS)]
    best, chosen, spread = -np.inf, (max(count, 1), TIES[1], SHRINKS[2]), 1.0
    worse = 0
    for k in [count] if count else COUNTS:
        if worse == 2 or (not count and k > max(1, len(x) / ROWS_EACH)):
            break
        score, setting, ratio = _best_setting(parts, k)
        worse = 0 if score > best else worse + 1
        if score > best:
            best, chosen, spread = score, (k, *setting), ratio
    count, tie, shrink = chosen
    found = climb(full, begin(full, count), tie, shrink, STEPS)
    if not np.isfinite(t).all():
        found = climb(x, found, tie, shrink, STEPS)
    return found._replace(covariances=found.covariances * spread)


def _best_setting(
    parts: list[tuple[Tensor, Tensor]], count: int
) -> tuple[float, tuple[float, float], float]:
    """The best mean log density of left-out rows, how it is reached, and the variances' growth."""
    starts = [climb(rest, begin(rest, count), 3.0, 0.1, STEPS) for rest, _ in parts]
    best: tuple[float, tuple[float, float], float] = (-np.inf, (3.0, 0.1), 1.0)

    def try_(tie: float, shrink: float) -> None:
        nonlocal best
        found = [
            climb(rest, one, tie, shrink, MORE)
            for (rest, _), one in zip(parts, starts, strict=True)
        ]
        score, ratio = _left_out(parts, found)
        if score > best[0]:
            best = score, (tie, shrink), ratio

    for shrink in SHRINKS:
        try_(3.0, shrink)
    for tie in TIES if count > 1 else ():
        try_(tie, best[1][1])
    return best


def _left_out(parts: list[tuple[Tensor, Tensor]], found: list[Mixture]) -> tuple[float, float]:
    """The mean log density of left-out rows, and their squared distance per number."""
    total, distance, numbers, rows = 0.0, 0.0, 0.0, 0
    for (_, out), mixture in zip(parts, found, strict=True):
        moments = expect(mixture, out)
        total += float(moments.log_prob.logsumexp(1).sum())
        shares = torch.softmax(moments.log_prob, 1)
        # A few outliers must not widen all: each counts as at most so far.
        known = torch.isfinite(out).sum(1, keepdim=True)
        distance += float((shares * torch.minimum(moments.distance, 9.0 * known)).sum())
        numbers += float(known.sum())
        rows += len(out)
    ratio = min(max(distance / max(numbers, 1.0), 1.0), MOST_SPREAD)
    # What the rows would score with variances that are right for them.
    gain = 0.5 * (distance - distance / ratio - numbers * np.log(ratio))
    return (total + gain) / max(rows, 1), ratio
