"""How well generated rows match real ones, on rows as vectors. No single number tells it all, so
here are several.

Rows are flattened: arrays of shape (N, D), of any numeric type. Before anything is measured, both
sides are brought to common units: each column minus the real rows' mean, divided by their standard
deviation. Lengths are therefore Euclidean, in standard deviations of a column. A column that is
constant in the real rows is centred and keeps its own unit; one that is nearly constant weighs
heavily, since a small departure is many standard deviations.

The pixels of a picture are not of different kinds: with ``one_unit`` all columns are divided by the
same number, the root of the mean of their variances. A pixel of the border that hardly ever changes
then weighs as little as it looks.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.distance import cdist, pdist, squareform
from sklearn.decomposition import PCA
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.neighbors import NearestNeighbors

from aevb.errors import DataError, UsageError
from aevb.evaluation.bound import Figure

Rows = NDArray[Any]

FEWEST_ROWS = 20
MOST_COLUMNS = 100
"""With more columns than this the classifier sees principal components: boosting takes time in
proportion to them."""
COMPONENTS = 50
MOST_ROWS = 1000
"""Rows of each side in the energy distance, which needs all pairs."""
BLOCK = 1000
"""Rows whose distances are held in memory at a time."""
LENGTH = "standard deviations"
FEWEST_BOOSTED = 200
"""With fewer rows a side the classifier is a random forest on the columns themselves. Boosted trees
want 20 rows in a leaf, so that of 30 rows they split nothing and call all alike; and principal
components of a few rows in many columns are those of these rows: all others, real or not, lie near
the centre."""


def compare(
    real: Rows,
    generated: Rows,
    training: Rows | None = None,
    seed: int = 0,
    *,
    one_unit: bool = False,
) -> dict[str, Figure]:
    """Every measure of this module, for a table.

    real: (N, D), rows that the model was not trained on; generated: (M, D), of which and of
    ``real`` the first min(N, M) are used; training: (T, D), the rows that the model was trained on,
    or None: then what tells of copying is left out, and with it ``training_rows_score``, what as
    many training rows in place of generated ones come to: as much as can be hoped for. one_unit: as
    the module says. Keys: classifier_accuracy, energy_distance, energy_p_value (with its Monte
    Carlo error), and those of ``precision_recall_density_coverage`` and
    ``nearest_training_distance``. Raises DataError.
    """
    real, generated = _checked(real=real, generated=generated)
    n = min(len(real), len(generated))
    real, generated = real[:n], generated[:n]
    permutations = 200
    energy, p_value = energy_distance(real, generated, seed, permutations, one_unit=one_unit)
    figures = {
        "classifier_accuracy": classifier_two_sample(real, generated, seed, one_unit=one_unit),
        "energy_distance": energy,
        "energy_p_value": Figure(
            p_value, math.sqrt(p_value * (1 - p_value) / permutations), "probability"
        ),
        **precision_recall_density_coverage(real, generated, one_unit=one_unit),
    }
    if training is not None:
        figures |= nearest_training_distance(generated, training, real, one_unit=one_unit)
        if len(training) >= n:
            chosen = training[np.random.default_rng(seed).choice(len(training), n, replace=False)]
            for name, figure in precision_recall_density_coverage(
                real, chosen, one_unit=one_unit
            ).items():
                figures[name] = figures[name]._replace(
                    details={"training_rows_score": figure.value}
                )
    return figures


def classifier_two_sample(
    real: Rows, generated: Rows, seed: int = 0, *, one_unit: bool = False
) -> Figure:
    """Test accuracy of a classifier that tells generated rows from real ones (Lopez-Paz & Oquab
    2017).

    real: (N, D); generated: (M, D). 0.5: it cannot tell them apart; 1: always. It is a lower bound
    on how different they are: another classifier may see more. n = min(N, M) rows of each, drawn by
    ``seed``, are halved: trees learn from one half (its real rows give the units), the other is the
    test. They are a random forest below 200 rows a side, else boosted, and with more than 100
    columns these see the first 50 principal components of the half they learn from, so that a
    difference outside those goes unseen. From few rows they learn little: of 30 a side they see
    plain differences alone. The standard error is that of a binomial proportion, never 0. Raises
    DataError.
    """
    real, generated = _checked(real=real, generated=generated)
    rng = np.random.default_rng(seed)
    n = min(len(real), len(generated))
    real, generated = (rows[rng.permutation(len(rows))[:n]] for rows in (real, generated))
    half = n // 2
    # Units from the half that is learned from: the test rows must not have had a say in anything.
    learn_real, *rest = _common_units(
        real[:half], generated[:half], real[half:], generated[half:], one_unit=one_unit
    )
    learn, test = np.concatenate([learn_real, rest[0]]), np.concatenate(rest[1:])
    if n >= FEWEST_BOOSTED and learn.shape[1] > MOST_COLUMNS:
        pca = PCA(min(COMPONENTS, len(learn)), svd_solver="randomized", random_state=seed)
        with np.errstate(invalid="ignore"):  # rows all the same explain 0 of 0 variance
            pca.fit(learn)
        learn, test = pca.transform(learn), pca.transform(test)
    if n < FEWEST_BOOSTED:
        varying = np.ptp(learn, axis=0) > 0
        learn, test = (side[:, varying] if varying.any() else side for side in (learn, test))
        trees: Any = RandomForestClassifier(100, random_state=seed)
    else:
        trees = HistGradientBoostingClassifier(early_stopping=False, random_state=seed)
    trees.fit(learn, np.repeat([0, 1], half))
    right = trees.predict(test) == np.repeat([0, 1], n - half)
    return _fraction(right, "accuracy")


def energy_distance(
    real: Rows, generated: Rows, seed: int = 0, permutations: int = 200, *, one_unit: bool = False
) -> tuple[Figure, float]:
    """Energy distance 2 E|X-Y| - E|X-X'| - E|Y-Y'| (Szekely & Rizzo 2013) and the p-value of "both are the same".

    real: (N, D); generated: (M, D); of each at most 1000 rows, a subset drawn by ``seed``. This is
    the squared distance, in standard deviations, as a U-statistic: unbiased, and so negative about
    half of the time if both are the same. The p-value is that of a permutation test, (1 +
    #{permuted >= observed}) / (1 + permutations). The standard error is the larger of two: that of
    the mean over rows (first-order projection), which vanishes if both are the same, and the
    standard deviation of the permuted values, which is what is left then; it is some half too large
    near 0, so judge that case by the p-value. Raises DataError, UsageError.
    """
    real, generated = _checked(real=real, generated=generated)
    if permutations < 1:
        raise UsageError(
            f"permutations must be at least 1; got {permutations}; 200 is a good number"
        )
    rng = np.random.default_rng(seed)
    real, generated = _common_units(_subset(real, rng), _subset(generated, rng), one_unit=one_unit)
    n, m = len(real), len(generated)
    distances = squareform(pdist(np.concatenate([real, generated])))
    # Column 0 is the split that was observed, each other column a random one.
    first = np.zeros((n + m, permutations + 1))
    first[:n, 0] = 1
    for column in range(1, permutations + 1):
        first[rng.permutation(n + m)[:n], column] = 1
    values = _energies(distances, first)
    rounding = (
        1e-12 * distances.mean()
    )  # splits of duplicated rows tie, if it were not for the order of the sums
    p_value = (1 + int((values[1:] >= values[0] - rounding).sum())) / (1 + permutations)
    null = math.sqrt(float(np.mean(values[1:] ** 2)))  # the mean over all splits is exactly 0
    return Figure(float(values[0]), max(null, _projected_error(distances, n)), LENGTH), p_value


def precision_recall_density_coverage(
    real: Rows, generated: Rows, k: int = 5, *, one_unit: bool = False
) -> dict[str, Figure]:
    """Are generated rows plausible, and is all of the data there? In balls around rows, out to the
    k-th nearest of its side.

    real: (N, D); generated: (M, D). ``precision``: fraction of generated rows in the ball of some
    real row; ``recall``: fraction of real rows in the ball of some generated row (Kynkaanniemi et
    al. 2019). ``density``: number of real balls that hold a generated row, divided by k, 1 if both
    are the same, and may exceed it; ``coverage``: fraction of real balls that hold a generated row,
    about 1 - 2**-k if both are the same and N = M (Naeem et al. 2020). Precision and recall are
    near 1 then in few columns, but not in many: 0.65 for a Gaussian in 784; ``compare`` gives that
    of real rows too. A row on the rim is inside, so that duplicated rows are near. Standard errors
    over the rows counted, the balls given. All pairs are measured, in time N M D: a second for 1000
    x 784 on either side. Raises DataError, UsageError.
    """
    real, generated = _checked(real=real, generated=generated)
    if not 1 <= k < min(len(real), len(generated)):
        raise UsageError(
            f"k must lie within 1 and {min(len(real), len(generated)) - 1}, rows a side less one;"
            f" got {k}; try 5"
        )
    real, generated = _common_units(real, generated, one_unit=one_unit)
    # A row's nearest is itself, at place 0. The margin lets a row on the rim be inside whichever
    # way its distance rounds.
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
    generated: Rows, training: Rows, held_out: Rows, *, one_unit: bool = False
) -> dict[str, Figure]:
    """Does the model copy its training rows? Distances to the nearest of them, of generated and of
    held-out rows.

    generated: (M, D); training: (T, D), which gives the units; held_out: (N, D), real rows that the
    model never saw. ``distance_to_training`` and ``held_out_distance_to_training``: means over
    rows, in standard deviations. ``memorised``: fraction of generated rows nearer to a training row
    than 1 % of held-out rows are; about 0.01 for a model that draws from the data's distribution (1
    / (N + 1) if N < 99), near 1 for one that copies. Blurred rows, such as means of p(x|z), are
    near to training rows without being copies: look at them. If over 1 % of held-out rows equal a
    training row, as in tables of few categories, nothing can be nearer, and it is 0. Its standard
    error holds the scatter of the generated rows and that of the 1 %. Raises DataError.
    """
    generated, training, held_out = _checked(
        generated=generated, training=training, held_out=held_out
    )
    training, generated, held_out = _common_units(training, generated, held_out, one_unit=one_unit)
    tree = NearestNeighbors(n_neighbors=1).fit(training)
    made, kept = (tree.kneighbors(rows)[0][:, 0] for rows in (generated, held_out))
    share = 0.01
    # Weibull's is the quantile below which a new row falls with probability ``share`` on average,
    # whatever N is.
    memorised = _fraction(made < np.quantile(kept, share, method="weibull"))
    error = math.hypot(memorised.standard_error, math.sqrt(share * (1 - share) / len(kept)))
    return {
        "distance_to_training": _mean(made, LENGTH),
        "held_out_distance_to_training": _mean(kept, LENGTH),
        "memorised": memorised._replace(standard_error=error),
    }


def _checked(**sides: Rows) -> list[Rows]:
    """The sides as (N, D) of float64. Raises DataError for those that cannot be compared."""
    rows = {name: np.asarray(side, dtype=np.float64) for name, side in sides.items()}
    for name, side in rows.items():
        if side.ndim != 2 or side.shape[1] == 0:
            raise DataError(
                f"the {name} rows need the shape (N, D), D at least 1; got {side.shape}; flatten"
                " each row first"
            )
    if len({side.shape[1] for side in rows.values()}) > 1:
        found = ", ".join(f"{side.shape[1]} {name}" for name, side in rows.items())
        raise DataError(
            f"both sides need the same number of columns; got {found}; take the same columns in the"
            " same order"
        )
    if min(len(side) for side in rows.values()) < FEWEST_ROWS:
        found = " and ".join(f"{len(side)} {name}" for name, side in rows.items())
        raise DataError(
            f"needs at least {FEWEST_ROWS} rows a side; got {found}; give or generate more rows"
        )
    for name, side in rows.items():
        bad = int((~np.isfinite(side)).any(1).sum())
        if bad:
            raise DataError(
                f"the {name} rows must be finite; got NaN or infinity in {bad} of {len(side)};"
                " leave those out"
            )
    return list(rows.values())


def _common_units(reference: Rows, *others: Rows, one_unit: bool = False) -> list[Rows]:
    """All sides, with the columns of ``reference``, real rows, at mean 0 and standard deviation 1,
    or 0 if constant.

    With ``one_unit``, at mean 0 and a variance of 1 on average over the columns.
    """
    centre, scale = reference.mean(0), reference.std(0)
    if one_unit:
        scale = np.full_like(scale, math.sqrt(float((scale**2).mean())))
        return [
            (rows - centre) / (scale if np.ptp(reference, axis=0).any() else 1.0)
            for rows in (reference, *others)
        ]
    # The deviation of a constant is not always exactly 0, its range is.
    scale = np.where((np.ptp(reference, axis=0) > 0) & (scale > 0), scale, 1.0)
    return [(rows - centre) / scale for rows in (reference, *others)]


def _subset(rows: Rows, rng: np.random.Generator) -> Rows:
    """At most MOST_ROWS of the rows, all of them in their order or a random choice."""
    return rows if len(rows) <= MOST_ROWS else rows[rng.choice(len(rows), MOST_ROWS, replace=False)]


def _energies(distances: Rows, first: Rows) -> Rows:
    """The U-statistic of each split of the rows in two. distances: (N, N); first: (N, P), 1: in the
    first part. -> (P,)."""
    n = first[:, 0].sum()
    m = len(first) - n
    within_first = (first * (distances @ first)).sum(0)  # every pair twice
    between = first.T @ distances.sum(1) - within_first  # every pair once
    within_second = distances.sum() - within_first - 2 * between
    energies: Rows = (
        2 * between / (n * m) - within_first / (n * (n - 1)) - within_second / (m * (m - 1))
    )
    return energies


def _projected_error(distances: Rows, n: int) -> float:
    """Standard error of the energy from what each row adds to it. distances: (N, N), the first n
    rows being one side."""
    m = len(distances) - n
    to_first, to_second = distances[:, :n].sum(1), distances[:, n:].sum(1)
    of_first = 2 * (to_second[:n] / m - to_first[:n] / (n - 1))
    of_second = 2 * (to_first[n:] / n - to_second[n:] / (m - 1))
    return math.sqrt(float(of_first.var(ddof=1) / n + of_second.var(ddof=1) / m))


def _by_rows(rows: Rows, to: Rows, reduce: Callable[[Rows], Rows]) -> Rows:
    """``reduce`` of the distances (B, M) of each block of rows (N, D) to all of ``to`` (M, D),
    concatenated: (N,).

    ``cdist`` subtracts before it squares, so that equal rows are at distance 0, in whatever block.
    """
    return np.concatenate(
        [reduce(cdist(rows[start : start + BLOCK], to)) for start in range(0, len(rows), BLOCK)]
    )


def _fraction(hits: Rows, unit: str = "fraction") -> Figure:
    """Share of True with its binomial error. hits: (N,). The error is that of two counts at least
    on either side.

    None in N is no proof of a share of 0; the two counts are those of Agresti and Coull's interval.
    """
    n, share = len(hits), float(hits.mean())
    guarded = min(max(share, 2 / (n + 4)), 1 - 2 / (n + 4))
    return Figure(share, math.sqrt(guarded * (1 - guarded) / n), unit)


def _mean(values: Rows, unit: str) -> Figure:
    """Mean over rows and its standard error. values: (N,)."""
    return Figure(float(values.mean()), float(values.std(ddof=1)) / math.sqrt(len(values)), unit)
