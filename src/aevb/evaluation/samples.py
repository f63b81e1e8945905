"""Measure how well generated rows match real ones, by several figures.

Rows are flattened: arrays of shape (N, D), of any numeric type. First, both sides are brought to
common units: the mean of the real rows is subtracted from each column, and the column is divided by
their standard deviation. Lengths are therefore Euclidean, in standard deviations of a column. A
column that is constant in the real rows is centred and keeps its unit. A column that is nearly
constant weighs heavily, since a small difference is many standard deviations.

The pixels of a picture share one unit. With ``one_unit``, all columns are divided by the same
number, the root of the mean of their variances. So a pixel that hardly ever changes, as at the
border, weighs little.

The measures are a classifier, the energy distance, precision, recall, density and coverage, and the
distance to the training rows. ``compare`` returns all of them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.spatial.distance import cdist, pdist, squareform
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.neighbors import NearestNeighbors

from aevb.errors import UsageError
from aevb.evaluation.bound import Figure
from aevb.evaluation.sides import Array, checked, common_units

MOST_COLUMNS = 100
"""With more columns, boosted trees see principal components, since the time of boosting is
proportional to the number of columns."""
COMPONENTS = 50
"""The number of principal components that boosted trees see."""
MOST_ROWS = 1000
"""Rows of each side in the energy distance, which needs all pairs."""
BLOCK = 1000
"""The distances of this many rows are in memory at a time."""
LENGTH = "standard deviations"
"""The unit of a length."""
PERMUTATIONS = 200
"""Random splits in the permutation test."""
FEWEST_BOOSTED = 200
"""With fewer rows a side, the classifier is a random forest on the columns themselves.

Boosted trees need 20 rows in a leaf, so they cannot split 30 rows at all. The principal components
of a few rows in many columns are no remedy, because they describe only these rows: all other rows,
real or not, lie near the centre.
"""
COPY_SHARE = 0.01
"""A generated row counts as memorised if it is nearer to a training row than all but this share of
the held-out rows."""


def compare(
    real: Array,
    generated: Array,
    training: Array | None = None,
    seed: int = 0,
    *,
    one_unit: bool = False,
) -> dict[str, Figure]:
    """Compute every measure of this module.

    Args:
        real: (N, D), rows that the model was not trained on.
        generated: (M, D). The first min(N, M) rows of ``real`` and ``generated`` are used.
        training: (T, D), the rows that the model was trained on. They give the figures about
            copies, and the detail ``training_rows_score``. This is the score of as many training
            rows in place of the generated ones: the best score that one can expect.
        seed: Seeds the measures that draw at random.
        one_unit: Whether all columns share one unit, as the module explains.

    Returns:
        classifier_accuracy, energy_distance, energy_p_value (with its Monte Carlo error), and the
        keys of ``precision_recall_density_coverage`` and ``nearest_training_distance``.

    Raises:
        DataError: The sides cannot be compared.

    Example:
        >>> import numpy as np
        >>> from aevb.evaluation.samples import compare
        >>> rng = np.random.default_rng(0)
        >>> real, far = rng.normal(size=(100, 2)), rng.normal(size=(100, 2)) + 5
        >>> figures = compare(real, far)
        >>> figures["classifier_accuracy"].value > 0.95, figures["energy_p_value"].value < 0.01
        (True, True)
        >>> figures["precision"].value, figures["recall"].value
        (0.0, 0.0)
    """
    real, generated = checked(real=real, generated=generated)
    n = min(len(real), len(generated))
    real, generated = real[:n], generated[:n]
    energy, p_value = energy_distance(real, generated, seed, PERMUTATIONS, one_unit=one_unit)
    p_error = math.sqrt(p_value * (1 - p_value) / PERMUTATIONS)
    figures = {
        "classifier_accuracy": classifier_two_sample(real, generated, seed, one_unit=one_unit),
        "energy_distance": energy,
        "energy_p_value": Figure(p_value, p_error, "probability"),
        **precision_recall_density_coverage(real, generated, one_unit=one_unit),
    }
    if training is not None:
        figures |= nearest_training_distance(generated, training, real, one_unit=one_unit)
        if len(training) >= n:
            chosen = training[np.random.default_rng(seed).choice(len(training), n, replace=False)]
            best = precision_recall_density_coverage(real, chosen, one_unit=one_unit)
            for name, figure in best.items():
                details = {"training_rows_score": figure.value}
                figures[name] = figures[name]._replace(details=details)
    return figures


def classifier_two_sample(
    real: Array, generated: Array, seed: int = 0, *, one_unit: bool = False
) -> Figure:
    """Train a classifier to tell generated rows from real ones, and return its test accuracy.

    An accuracy of 0.5 means that it cannot tell them apart, and 1 that it always can. This is a
    lower bound on their difference: another classifier may see more (Lopez-Paz & Oquab 2017).

    n = min(N, M) rows of each side are drawn and halved. Trees learn from one half, whose real rows
    give the units, and are tested on the other half. The trees are a random forest below 200 rows a
    side, and boosted otherwise. With more than 100 columns, boosted trees see the first 50
    principal components of the half that they learn from, and miss differences outside those. Few
    rows teach little: with 30 rows a side, the trees find only obvious differences.

    The standard error is that of a binomial proportion, with a correction that keeps it above 0.

    Args:
        real: (N, D).
        generated: (M, D).
        seed: Seeds the draw of the rows and the trees.
        one_unit: Whether all columns share one unit, as the module explains.

    Raises:
        DataError: The sides cannot be compared.

    Example:
        >>> import numpy as np
        >>> from aevb.evaluation.samples import classifier_two_sample
        >>> rng = np.random.default_rng(0)
        >>> one, other = rng.normal(size=(2, 100, 2))
        >>> classifier_two_sample(one, other).value < 0.65  # the same distribution
        True
        >>> classifier_two_sample(one, other + 5).value > 0.95
        True
    """
    real, generated = checked(real=real, generated=generated)
    rng = np.random.default_rng(seed)
    n = min(len(real), len(generated))
    real, generated = (rows[rng.permutation(len(rows))[:n]] for rows in (real, generated))
    half = n // 2
    # The units come from the half that is learned from: the test rows must not affect anything.
    learn_real, *rest = common_units(
        real[:half], generated[:half], real[half:], generated[half:], one_unit=one_unit
    )
    learn, test = np.concatenate([learn_real, rest[0]]), np.concatenate(rest[1:])
    trees: Any
    if n < FEWEST_BOOSTED:
        learn, test = _varying_columns(learn, test)
        trees = RandomForestClassifier(100, random_state=seed)
    else:
        learn, test = _few_columns(learn, test, seed)
        trees = HistGradientBoostingClassifier(early_stopping=False, random_state=seed)
    trees.fit(learn, np.repeat([0, 1], half))
    right = trees.predict(test) == np.repeat([0, 1], n - half)
    return _fraction(right, "accuracy")


def _varying_columns(learn: Array, test: Array) -> tuple[Array, Array]:
    """Leave out the columns that are constant in ``learn``, unless all are."""
    varying = np.ptp(learn, axis=0) > 0
    return (learn[:, varying], test[:, varying]) if varying.any() else (learn, test)


def _few_columns(learn: Array, test: Array, seed: int) -> tuple[Array, Array]:
    """Reduce many columns to the first principal components of ``learn``."""
    if learn.shape[1] <= MOST_COLUMNS:
        return learn, test
    pca = PCA(min(COMPONENTS, len(learn)), svd_solver="randomized", random_state=seed)
    with np.errstate(invalid="ignore"):  # If all rows are equal, they explain 0 of 0 variance.
        pca.fit(learn)
    return pca.transform(learn), pca.transform(test)


def energy_distance(
    real: Array,
    generated: Array,
    seed: int = 0,
    permutations: int = PERMUTATIONS,
    *,
    one_unit: bool = False,
) -> tuple[Figure, float]:
    """Compute the energy distance and the p-value of "both sides have the same distribution".

    The distance is 2 E|X-Y| - E|X-X'| - E|Y-Y'| (Szekely & Rizzo 2013), in standard deviations.
    This is the squared distance as a U-statistic: it is unbiased, and so it is negative about half
    of the time if both sides have the same distribution. The p-value is that of a permutation test,
    (1 + #{permuted >= observed}) / (1 + permutations).

    The standard error is the larger of two. One is that of the mean over rows (first-order
    projection), which vanishes if both sides have the same distribution. The other is the standard
    deviation of the permuted values, which does not vanish. Near a distance of 0, the larger of the
    two is too large by about one half, so use the p-value there.

    Args:
        real: (N, D). At most 1000 rows of each side are used, a random subset.
        generated: (M, D).
        seed: Seeds the subsets and the permutations.
        permutations: How many random splits the test makes.
        one_unit: Whether all columns share one unit, as the module explains.

    Returns:
        The distance, and the p-value.

    Raises:
        DataError: The sides cannot be compared.
        UsageError: ``permutations`` is below 1.

    Example:
        >>> import numpy as np
        >>> from aevb.evaluation.samples import energy_distance
        >>> rng = np.random.default_rng(0)
        >>> one, other = rng.normal(size=(2, 100, 2))
        >>> distance, p_value = energy_distance(one, other)
        >>> abs(distance.value) < 3 * distance.standard_error, p_value > 0.01
        (True, True)
        >>> distance, p_value = energy_distance(one, other + 5)
        >>> distance.value > 1, round(p_value, 3)
        (True, 0.005)
    """
    real, generated = checked(real=real, generated=generated)
    if permutations < 1:
        raise UsageError(
            f"permutations must be at least 1; got {permutations}; 200 is a good number"
        )
    rng = np.random.default_rng(seed)
    real, generated = common_units(_subset(real, rng), _subset(generated, rng), one_unit=one_unit)
    n, m = len(real), len(generated)
    distances = squareform(pdist(np.concatenate([real, generated])))
    # Column 0 is the observed split; each other column is a random one.
    first = np.zeros((n + m, permutations + 1))
    first[:n, 0] = 1
    for column in range(1, permutations + 1):
        first[rng.permutation(n + m)[:n], column] = 1
    values = _energies(distances, first)
    # With duplicated rows, splits have equal energies, up to the rounding of their sums.
    rounding = 1e-12 * distances.mean()
    p_value = (1 + int((values[1:] >= values[0] - rounding).sum())) / (1 + permutations)
    null = math.sqrt(float(np.mean(values[1:] ** 2)))  # The mean over all splits is exactly 0.
    return Figure(float(values[0]), max(null, _projected_error(distances, n)), LENGTH), p_value


def precision_recall_density_coverage(
    real: Array, generated: Array, k: int = 5, *, one_unit: bool = False
) -> dict[str, Figure]:
    """Measure whether generated rows are plausible, and whether they cover all of the data.

    Each row has a ball around it that reaches to the k-th nearest row of its own side.

    * ``precision``: the share of generated rows inside the ball of a real row.
    * ``recall``: the share of real rows inside the ball of a generated row (both Kynkaanniemi et
      al. 2019).
    * ``density``: the mean number of real balls that hold a generated row, divided by k. It is 1 if
      both sides have the same distribution, and may exceed 1.
    * ``coverage``: the share of real balls that hold a generated row. It is about 1 - 2**-k if both
      sides have the same distribution and N = M (both Naeem et al. 2020).

    If both sides have the same distribution, precision and recall are near 1 in few columns, but
    lower in many: 0.65 for a Gaussian in 784 columns. For comparison, ``compare`` gives the score
    of training rows. A row on the rim of a ball counts as inside, so that a row counts as near its
    own copy. The standard errors hold for fixed balls: they cover only the rows that are counted.

    All pairs are measured. The time grows as N M D: one second for 1000 rows of 784 on either side.

    Args:
        real: (N, D).
        generated: (M, D).
        k: A ball reaches to the k-th nearest row.
        one_unit: Whether all columns share one unit, as the module explains.

    Raises:
        DataError: The sides cannot be compared.
        UsageError: There are not more than ``k`` rows a side, or ``k`` is below 1.

    Example:
        >>> import numpy as np
        >>> from aevb.evaluation.samples import precision_recall_density_coverage
        >>> rng = np.random.default_rng(0)
        >>> real, generated = rng.normal(size=(2, 500, 2))
        >>> figures = precision_recall_density_coverage(real, generated)
        >>> {name: round(figure.value, 1) for name, figure in figures.items()}
        {'precision': 1.0, 'recall': 1.0, 'density': 1.0, 'coverage': 1.0}
    """
    real, generated = checked(real=real, generated=generated)
    if not 1 <= k < min(len(real), len(generated)):
        raise UsageError(
            f"k must lie within 1 and {min(len(real), len(generated)) - 1}, rows a side less one;"
            f" got {k}; try 5"
        )
    real, generated = common_units(real, generated, one_unit=one_unit)
    # The nearest row of a row is the row itself, at place 0. With the small margin, a row on the
    # rim is inside for any rounding of its distance.
    real_radii, generated_radii = (
        _by_rows(rows, rows, lambda d: np.partition(d, k)[:, k] * (1 + 1e-9))
        for rows in (real, generated)
    )
    real_balls = _by_rows(generated, real, lambda d: (d <= real_radii).sum(1))
    generated_balls = _by_rows(real, generated, lambda d: (d <= generated_radii).sum(1))
    nearest = _by_rows(real, generated, lambda d: d.min(1))
    return {
        "precision": _fraction(real_balls > 0),
        "recall": _fraction(generated_balls > 0),
        "density": _mean(real_balls / k, "fraction"),
        "coverage": _fraction(nearest <= real_radii),
    }


def nearest_training_distance(
    generated: Array, training: Array, held_out: Array, *, one_unit: bool = False
) -> dict[str, Figure]:
    """Measure whether the model copies its training rows.

    Each generated row and each held-out row has a distance to the nearest training row.

    * ``distance_to_training`` and ``held_out_distance_to_training``: the means over rows, in
      standard deviations.
    * ``memorised``: the share of generated rows that are nearer to a training row than 99 % of the
      held-out rows are. It is about 0.01 for a model that draws from the data's distribution
      (1 / (N + 1) if N < 99), and near 1 for one that copies.

    Blurred rows, such as means of p(x|z), are near training rows without being copies, so look at
    them. If more than 1 % of the held-out rows equal a training row, as in tables of few
    categories, no generated row can be nearer, and ``memorised`` is 0. Its standard error includes
    the sampling errors of the generated rows and of the 1 % quantile.

    Args:
        generated: (M, D).
        training: (T, D). These rows give the units.
        held_out: (N, D), real rows that the model never saw.
        one_unit: Whether all columns share one unit, as the module explains.

    Raises:
        DataError: The sides cannot be compared.

    Example:
        >>> import numpy as np
        >>> from aevb.evaluation.samples import nearest_training_distance
        >>> rng = np.random.default_rng(0)
        >>> training, held_out = rng.normal(size=(2, 200, 2))
        >>> copies = nearest_training_distance(training[:50], training, held_out)
        >>> copies["memorised"].value, copies["distance_to_training"].value
        (1.0, 0.0)
    """
    generated, training, held_out = checked(
        generated=generated, training=training, held_out=held_out
    )
    training, generated, held_out = common_units(training, generated, held_out, one_unit=one_unit)
    tree = NearestNeighbors(n_neighbors=1).fit(training)
    made, kept = (tree.kneighbors(rows)[0][:, 0] for rows in (generated, held_out))
    # By Weibull's quantile, a new row falls below it with probability COPY_SHARE, for any N.
    memorised = _fraction(made < np.quantile(kept, COPY_SHARE, method="weibull"))
    error = math.hypot(
        memorised.standard_error, math.sqrt(COPY_SHARE * (1 - COPY_SHARE) / len(kept))
    )
    return {
        "distance_to_training": _mean(made, LENGTH),
        "held_out_distance_to_training": _mean(kept, LENGTH),
        "memorised": memorised._replace(standard_error=error),
    }


def _subset(rows: Array, rng: np.random.Generator) -> Array:
    """Return all rows in their order, or a random choice of MOST_ROWS."""
    return rows if len(rows) <= MOST_ROWS else rows[rng.choice(len(rows), MOST_ROWS, replace=False)]


def _energies(distances: Array, first: Array) -> Array:
    """Compute the U-statistic of each split of the rows into two parts: (P,).

    Args:
        distances: (N, N), of all pairs of rows.
        first: (N, P), 1 if a row is in the first part of a split, else 0.
    """
    n = first[:, 0].sum()
    m = len(first) - n
    within_first = (first * (distances @ first)).sum(0)  # counts every pair twice
    between = first.T @ distances.sum(1) - within_first  # counts every pair once
    within_second = distances.sum() - within_first - 2 * between
    energies: Array = (
        2 * between / (n * m) - within_first / (n * (n - 1)) - within_second / (m * (m - 1))
    )
    return energies


def _projected_error(distances: Array, n: int) -> float:
    """Return the standard error of the energy from the contribution of each row.

    distances: (N, N), of all pairs of rows; the first n rows are one side.
    """
    m = len(distances) - n
    to_first, to_second = distances[:, :n].sum(1), distances[:, n:].sum(1)
    of_first = 2 * (to_second[:n] / m - to_first[:n] / (n - 1))
    of_second = 2 * (to_first[n:] / n - to_second[n:] / (m - 1))
    return math.sqrt(float(of_first.var(ddof=1) / n + of_second.var(ddof=1) / m))


def _by_rows(rows: Array, to: Array, reduce: Callable[[Array], Array]) -> Array:
    """Reduce the distances of every row to all rows of ``to``, block by block: (N,).

    ``cdist`` subtracts before it squares, so the distance of equal rows is 0 in any block.

    Args:
        rows: (N, D).
        to: (M, D).
        reduce: Turns the distances of a block (B, M) into one number for each row (B,).
    """
    return np.concatenate(
        [reduce(cdist(rows[start : start + BLOCK], to)) for start in range(0, len(rows), BLOCK)]
    )


def _fraction(hits: Array, unit: str = "fraction") -> Figure:
    """Return the share of True with its binomial error. hits: (N,).

    The error assumes at least two counts on either side, as Agresti and Coull's interval does: no
    hit in N rows does not prove a share of 0.
    """
    n, share = len(hits), float(hits.mean())
    guarded = min(max(share, 2 / (n + 4)), 1 - 2 / (n + 4))
    return Figure(share, math.sqrt(guarded * (1 - guarded) / n), unit)


def _mean(values: Array, unit: str) -> Figure:
    """Return the mean over rows and its standard error. values: (N,)."""
    return Figure(float(values.mean()), float(values.std(ddof=1)) / math.sqrt(len(values)), unit)
