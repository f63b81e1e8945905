"""Sequential trees, as R's package synthpop draws rows; this is a program of our own.

The first column is drawn from its values. Each other column has a tree that predicts it from the
columns before it, and a new cell is a value of a random training row in the leaf that the new row
falls into. So all values, levels and ranges are those of the training rows. The leaves have at
least 5 rows, as in synthpop. Names are split by how often they occur.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from peers.tables_common import Codes, Floats, Learned, read, serve

LEAF = 5
"""Training rows in a leaf, at least."""


class Column:
    """One column given those before it.

    Args:
        before: (N, K), the codes of the columns before.
        values: (N,), those of the column.
        is_name: Whether it holds names.
        seed: Seeds the order in which splits are tried.
    """

    def __init__(self, before: Floats, values: Floats, is_name: bool, seed: int) -> None:
        kind = DecisionTreeClassifier if is_name else DecisionTreeRegressor
        self.tree, leaves = None, np.zeros(len(values), int)
        if before.shape[1]:
            low = np.nanmin(values) - 1.0  # stands for a missing number
            self.tree = kind(min_samples_leaf=LEAF, random_state=seed)
            self.tree.fit(before, np.nan_to_num(values, nan=low))
            leaves = self.tree.apply(before)
        order = np.argsort(leaves, kind="stable")
        self.values = values[order]
        # From where on the values of a leaf stand, and how many there are.
        self.starts = np.searchsorted(leaves[order], np.arange(leaves.max() + 2))

    def draw(self, before: Floats, rng: np.random.Generator) -> Floats:
        """Draw a cell for each row: (M, K) -> (M,)."""
        leaves = np.zeros(len(before), int) if self.tree is None else self.tree.apply(before)
        start, end = self.starts[leaves], self.starts[leaves + 1]
        found: Floats = self.values[start + (rng.random(len(before)) * (end - start)).astype(int)]
        return found


def learn(order: dict[str, Any]) -> Learned:
    codes = Codes(read(order["train"]))
    rows = codes.rows
    columns = [
        Column(rows[:, :i], rows[:, i], is_name, order["seed"])
        for i, is_name in enumerate(codes.is_name)
    ]

    def draw(n: int, seed: int) -> pd.DataFrame:
        rng, made = np.random.default_rng(seed), np.empty((n, len(columns)))
        for i, column in enumerate(columns):
            made[:, i] = column.draw(made[:, :i], rng)
        return codes.table(made)

    return draw, dict


if __name__ == "__main__":
    serve(learn)
