"""Random tables: columns of all types, with and without gaps, with names of any type."""

import datetime

import numpy as np
import pandas as pd
from hypothesis import strategies as st

N = 40
"""Rows of each table."""

FLOATS = st.floats(allow_nan=False, allow_infinity=False)
TEXT = st.text(st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=0, max_size=8)
DATES = st.datetimes(datetime.datetime(1700, 1, 1), datetime.datetime(2250, 1, 1))
CELLS = {
    "float64": FLOATS,
    "float32": st.floats(width=32, allow_nan=False, allow_infinity=False),
    "int64": st.integers(-(2**63), 2**63 - 1),
    "int8": st.integers(-128, 127),
    "uint64": st.integers(0, 2**64 - 1),
    "bool": st.booleans(),
    "Int64": st.integers(-(2**63), 2**63 - 1),
    "Float64": FLOATS,
    "boolean": st.booleans(),
    "str": TEXT,
    "object": TEXT,
    "string": TEXT,
    "category": TEXT,
    "datetime64[us]": DATES,
    "datetime64[s]": DATES.map(lambda d: d.replace(microsecond=0)),
    "datetime64[ns, Europe/Berlin]": DATES.map(lambda d: d.replace(microsecond=0)),
    "timedelta64[us]": st.timedeltas(datetime.timedelta(days=-900), datetime.timedelta(days=900)),
    "date": DATES.map(lambda d: d.date()),
    "time": st.times(),
    "decimal": st.decimals(-(10**6), 10**6, places=2),
    "mixed": st.one_of(TEXT, st.integers(0, 9)),
    "list": st.lists(st.integers(0, 2)),
}
WITHOUT_GAPS = {"int64", "int8", "uint64", "bool"}
OBJECTS = {"date", "time", "decimal", "mixed", "list"}


@st.composite
def columns(draw):
    """One column: its type, few or many values, with or without gaps."""
    dtype = draw(st.sampled_from(sorted(CELLS)))
    pool = draw(st.lists(CELLS[dtype], min_size=1, max_size=draw(st.sampled_from([1, 3, N]))))
    cells = draw(st.lists(st.sampled_from(pool), min_size=N, max_size=N))
    if dtype not in WITHOUT_GAPS and draw(st.booleans()):
        gone = draw(st.lists(st.booleans(), min_size=N, max_size=N))
        cells = [None if no else cell for cell, no in zip(cells, gone, strict=True)]
    return pd.Series(cells, dtype="object" if dtype in OBJECTS else dtype)


@st.composite
def frames(draw):
    """A table with names of any type, some of them odd."""
    found = draw(st.lists(columns(), min_size=1, max_size=4))
    label = st.one_of(TEXT, st.integers(0, 3), st.tuples(TEXT, st.integers(0, 3)))
    labels = draw(st.lists(label, min_size=len(found), max_size=len(found)))
    frame = pd.concat([each.rename(None) for each in found], axis=1, ignore_index=True)
    frame.columns = pd.Index(labels, tupleize_cols=False)
    return frame.assign(known=np.arange(N) % 7 + 0.5)
