"""A frame that a model is trained on, and its samples: the same columns, types and categories."""

import numpy as np
import pandas as pd
import pytest
from generated_tables import PLAIN, usual_frame

import aevb

QUICK = {"epochs": 1, "hidden": (8,), "seed": 0}


def lies_in(made, cells, name):
    """Whether drawn cells are of the types and in the range of those of the data."""
    drawn, present = made.dropna(), cells.dropna()
    if isinstance(cells.dtype, pd.CategoricalDtype):
        return made.dtype == cells.dtype
    if name == "identifier" or present.empty:
        return len(drawn) == len(made) or present.empty
    if drawn.empty:
        return True
    types = {str if isinstance(cell, str) else type(cell) for cell in present}
    same = str(cells.dtype) != "object" or {type(cell) for cell in drawn} <= types
    return same and present.min() <= drawn.min() and drawn.max() <= present.max()


@pytest.mark.parametrize("seed", range(3))
def test_samples_have_the_types_categories_and_ranges_of_a_frame(seed):
    frame = usual_frame(seed)
    made = aevb.fit(frame, **QUICK).sample(50)
    assert list(made.columns) == list(frame.columns)
    assert made.dtypes.astype(str).to_dict() == frame.dtypes.astype(str).to_dict()
    for name, cells in frame.items():
        assert lies_in(made[name], cells, name), name
        assert cells.isna().any() or made[name].notna().all(), name


def test_missing_cells_come_back_as_they_can_be_held():
    g = np.random.default_rng(3)
    whole = "float64 of whole numbers with gaps"
    names = [whole, "Int64", "boolean", "string", "category with unused levels", "datetime64[ns]"]
    frame = pd.DataFrame({name: PLAIN[name](g, 150) for name in names})
    made = aevb.fit(frame, **QUICK).sample(600)
    assert made.dtypes.astype(str).to_dict() == frame.dtypes.astype(str).to_dict()
    # The difference of two shares has a standard deviation of at most 0.045.
    assert (made.isna().mean() - frame.isna().mean()).abs().max() < 0.15
    present = made[whole].dropna()
    assert (present == present.round()).all()
