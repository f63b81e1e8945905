"""Judge rows of a table by models: can trees tell them from real rows, and learn from them?

The models are scikit-learn's boosted trees, on codes. They take missing cells as they are.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from scipy.stats import rankdata
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.model_selection import StratifiedKFold

from aevb.datasets.tabular.columns import Column
from aevb.evaluation.bound import Figure
from aevb.evaluation.table_columns import Array, Floats, is_number, sizes

FOLDS = 3
"""The trees are tested on one part of the rows after another, and learn from the others."""
MOST_BOOSTED = 10_000
"""Trees learn from at most so many rows of a side."""
MOST_CELLS = 1_000_000
"""They learn from at most so many cells of a side, but not from fewer than LEAST rows for that."""
LEAST = 500
FEW = 500
"""Fewer rows are learned in fewer steps."""
MOST_LEVELS = 250
"""A category of more levels is taken as a number: the trees allow no more than 255."""


class Score(NamedTuple):
    """How well a model predicts, with the standard error over the rows that it was tested on.

    Example:
        >>> from aevb.evaluation.table_models import Score
        >>> Score(0.91, 0.002).value
        0.91
    """

    value: float
    error: float


def most_rows(columns: int) -> int:
    """How many rows of a side trees learn from at most.

    Example:
        >>> from aevb.evaluation.table_models import most_rows
        >>> most_rows(15), most_rows(1000)
        (10000, 1000)
    """
    return min(MOST_BOOSTED, max(LEAST, MOST_CELLS // max(columns, 1)))


def _trees(columns: Sequence[Column], rows: int, seed: int, *, classes: bool = True) -> Any:
    """Return boosted trees for these columns. Few rows need smaller leaves and fewer trees."""
    kind = HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor
    names = [not is_number(column) and len(column.levels) <= MOST_LEVELS for column in columns]
    return kind(
        max_iter=100 if rows >= FEW else 40,
        min_samples_leaf=min(20, max(2, rows // 20)),
        early_stopping=False,
        categorical_features=names if any(names) else None,
        random_state=seed,
    )


def auc(scores: Array, positive: Array) -> tuple[float, Floats]:
    """Return the area under the ROC curve, and how much each row pulls it up: (N,), mean 0.

    The area is the probability that a positive row has a higher score than a negative one, where a
    tie counts half. Its standard error is the deviation of the pulls divided by the root of N
    (DeLong et al. 1988).

    Args:
        scores: (N,).
        positive: (N,), which rows are positive; both kinds must occur.

    Example:
        >>> import numpy as np
        >>> from aevb.evaluation.table_models import auc
        >>> auc(np.array([1.0, 2, 3, 4]), np.array([False, True, False, True]))[0]
        0.75
    """
    positive = np.asarray(positive, bool)
    ranks = rankdata(scores)
    above, below = int(positive.sum()), int((~positive).sum())
    won = np.empty(len(scores))  # the share of the other kind that a row is on the right side of
    won[positive] = (ranks[positive] - rankdata(scores[positive])) / below
    won[~positive] = 1 - (ranks[~positive] - rankdata(scores[~positive])) / above
    area = float(won[positive].mean())
    rows = np.where(positive, len(scores) / above, len(scores) / below)
    return area, (won - area) * rows


def _error(pulls: Floats) -> float:
    return float(pulls.std()) / math.sqrt(len(pulls))


def two_sample(real: Array, made: Array, columns: Sequence[Column], seed: int = 0) -> Score:
    """Train trees to tell made rows from real ones, and return the area under their ROC curve.

    The area is 0.5 if the trees cannot tell them, and 1 if they always can. It is the mean over
    three folds, each tested by trees that learned from the other two. Rows that occur on both sides
    make it smaller, even below 0.5: a copy in another fold has the other label.

    Args:
        real: (N, C), codes.
        made: (M, C), codes. As many rows are drawn from both sides, at most 10,000 and fewer with
            more than 100 columns.
        columns: C columns.
        seed: Seeds the choice of rows, the folds and the trees.

    Example:
        >>> import numpy as np
        >>> from aevb.datasets.tabular.columns import Column
        >>> from aevb.evaluation.table_models import two_sample
        >>> real, made = np.random.default_rng(0).normal(size=(2, 60, 1))
        >>> two_sample(real, made + 5, [Column("a", "real", "float64")]).value > 0.95
        True
    """
    rng = np.random.default_rng(seed)
    n = min(len(real), len(made), most_rows(len(columns)))
    sides = [rows[rng.permutation(len(rows))[:n]] for rows in (real, made)]
    x, y = np.concatenate(sides), np.repeat([0, 1], n)
    areas, variance = [], 0.0
    folds = StratifiedKFold(FOLDS, shuffle=True, random_state=seed)
    for learn, test in folds.split(x, y):
        trees = _trees(columns, len(learn), seed).fit(_limited(x[learn], columns), y[learn])
        scores = trees.predict_proba(_limited(x[test], columns))[:, 1]
        area, pulls = auc(scores, y[test] == 1)
        areas.append(area)
        variance += _error(pulls) ** 2
    # The trees of the folds differ too, which the errors over rows do not see.
    error = max(math.sqrt(variance) / FOLDS, float(np.std(areas, ddof=1)) / math.sqrt(FOLDS))
    return Score(float(np.mean(areas)), error)


def _limited(rows: Array, columns: Sequence[Column]) -> Floats:
    """Return codes as trees take them. A level that the column does not know is missing."""
    found = sizes(rows, columns)
    for i, column in enumerate(columns):
        if not is_number(column):
            found[found[:, i] >= len(column.levels), i] = np.nan
    return found


def efficacy(
    learn: Array, test: Array, columns: Sequence[Column], target: int, seed: int = 0
) -> Score | None:
    """Train trees to predict one column from the others, and test them on other rows.

    The score of a column of levels is the area under the ROC curve; with more than two levels it is
    the mean over levels, each against the rest. That of a column of numbers is R2, the share of the
    variance that is explained. Rows without the target are left out.

    Args:
        learn: (N, C), codes of the rows to learn from. At most 10,000 are used, fewer with more
            than 100 columns.
        test: (M, C), codes of real rows.
        columns: C columns.
        target: The number of the column to predict.
        seed: Seeds the choice of rows and the trees.

    Returns:
        None if the rows to test have only one value of the target, or none to learn from has one.

    Example:
        >>> import numpy as np
        >>> from aevb.datasets.tabular.columns import Column
        >>> from aevb.evaluation.table_models import efficacy
        >>> rows = np.random.default_rng(0).normal(size=(400, 1)) + np.zeros(2)  # two equal columns
        >>> columns = [Column(name, "real", "float64") for name in "ab"]
        >>> efficacy(rows[:200], rows[200:], columns, target=1).value > 0.9
        True
    """
    others = [i for i in range(len(columns)) if i != target]
    learn, test = _with_cell(learn, target), _with_cell(test, target)
    if not len(learn) or not others or len(np.unique(test[:, target])) < 2:
        return None
    kept = np.random.default_rng(seed).permutation(len(learn))[: most_rows(len(columns))]
    names = [columns[i] for i in others]
    x, x_test = (_limited(rows[:, others], names) for rows in (learn[kept], test))
    y, y_test = (sizes(rows, columns)[:, target] for rows in (learn[kept], test))
    classes = not is_number(columns[target])
    if classes and len(np.unique(y)) < 2:  # nothing to learn: one guess for all rows
        return Score(0.5, 0.0)
    trees = _trees(names, len(y), seed, classes=classes).fit(x, y)
    if not classes:
        return _explained(y_test, trees.predict(x_test))
    return _mean_auc(y_test, trees.predict_proba(x_test), trees.classes_)


def _with_cell(rows: Array, column: int) -> Array:
    """Return the rows whose cell in this column is not missing."""
    return rows[~np.isnan(rows[:, column])]


def _mean_auc(y: Floats, guessed: Floats, levels: Floats) -> Score:
    """Return the mean over the levels of y of the area for this level against the rest.

    A level that the trees do not know has the same score in all rows, so its area is 0.5.

    Args:
        y: (N,), at least two levels.
        guessed: (N, K), the probability of each level that the trees know.
        levels: (K,), these levels.
    """
    scores = dict(zip(levels.tolist(), guessed.T, strict=True))
    same = np.zeros(len(y))
    found = [auc(scores.get(level, same), y == level) for level in np.unique(y).tolist()]
    pulls = np.mean([pulls for _, pulls in found], axis=0)
    return Score(float(np.mean([area for area, _ in found])), _error(pulls))


def _explained(y: Floats, guessed: Floats) -> Score:
    """Return R2, and its standard error by the delta method."""
    wrong, around = np.square(y - guessed), np.square(y - y.mean())
    ratio = float(wrong.mean() / around.mean())
    pulls = (ratio * around - wrong) / around.mean()
    return Score(1 - ratio, _error(pulls))


def compared(score: Score, real: Score | None, unit: str) -> Figure:
    """Make a figure of a score, with that of real rows as details where there is one.

    Example:
        >>> from aevb.evaluation.table_models import Score, compared
        >>> compared(Score(0.6, 0.01), Score(0.5, 0.01), "AUC").details["real"]
        0.5
    """
    details = {} if real is None else {"real": real.value, "real_error": real.error}
    return Figure(score.value, score.error, unit, details)
