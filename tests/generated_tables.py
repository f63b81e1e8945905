"""Random tables: columns of all types, with and without gaps, with names of any type."""

import datetime
import decimal

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


def _days(g, n):
    days = pd.Timestamp("2020-01-31") + pd.to_timedelta(g.integers(0, 900, n), "D")
    return pd.Series(pd.to_datetime(_gaps(g, days, (None, pd.NaT))))


def _gaps(g, cells, marks=(None,)):
    """Some of the cells are missing, each as one of the marks."""
    return [marks[g.integers(len(marks))] if g.random() < 0.2 else cell for cell in cells]


MIXED_GAPS = (None, np.nan, pd.NA)
PLAIN = {
    "int64": lambda g, n: pd.Series(g.integers(-50, 10**6, n)),
    "int8": lambda g, n: pd.Series(g.integers(-100, 100, n), dtype="int8"),
    "bool": lambda g, n: pd.Series(g.random(n) < 0.4),
    "float64": lambda g, n: pd.Series(g.normal(size=n).round(2)),
    "float32": lambda g, n: pd.Series(g.lognormal(size=n), dtype="float32"),
    "float64 of whole numbers with gaps": lambda g, n: pd.Series(
        _gaps(g, g.integers(0, 90, n).astype(float))
    ),
    "Int64": lambda g, n: pd.Series(_gaps(g, g.integers(0, 90, n), (None, pd.NA)), dtype="Int64"),
    "UInt16": lambda g, n: pd.Series(_gaps(g, g.integers(0, 9, n)), dtype="UInt16"),
    "Float64": lambda g, n: pd.Series(_gaps(g, g.normal(size=n)), dtype="Float64"),
    "boolean": lambda g, n: pd.Series(_gaps(g, g.random(n) < 0.4), dtype="boolean"),
    "string": lambda g, n: pd.Series(
        _gaps(g, g.choice(["red", "green", "blue"], n), MIXED_GAPS), dtype="string"
    ),
    "str": lambda g, n: pd.Series(_gaps(g, g.choice(["yes", "no"], n), MIXED_GAPS)),
    "object": lambda g, n: pd.Series(
        _gaps(g, g.choice(["low", "medium", "high"], n), MIXED_GAPS), dtype=object
    ),
    "object of numbers": lambda g, n: pd.Series(
        _gaps(g, g.integers(0, 500, n).tolist(), MIXED_GAPS), dtype=object
    ),
    "object of booleans": lambda g, n: pd.Series(
        _gaps(g, (g.random(n) < 0.5).tolist(), MIXED_GAPS), dtype=object
    ),
    "category with unused levels": lambda g, n: pd.Series(
        pd.Categorical(_gaps(g, g.choice(["a", "c"], n), MIXED_GAPS), categories=["d", "c", "a"])
    ),
    "ordered category of numbers": lambda g, n: pd.Series(
        pd.Categorical(_gaps(g, g.choice([1, 5], n)), categories=[5, 3, 1], ordered=True)
    ),
    "datetime64[ns]": lambda g, n: _days(g, n).astype("datetime64[ns]"),
    "datetime64[s, UTC]": lambda g, n: pd.Series(
        pd.Timestamp("2020-01-31", tz="UTC") + pd.to_timedelta(g.integers(0, 10**7, n), "s")
    ).astype("datetime64[s, UTC]"),
    "timedelta64[us]": lambda g, n: pd.Series(
        pd.to_timedelta(_gaps(g, g.integers(0, 5000, n).astype(float)), unit="s")
    ).astype("timedelta64[us]"),
    "date": lambda g, n: pd.Series(
        _gaps(g, [datetime.date(2021, 1, 1 + int(k)) for k in g.integers(0, 28, n)]), dtype=object
    ),
    "decimal": lambda g, n: pd.Series(
        _gaps(g, [decimal.Decimal(int(k)) / 100 for k in g.integers(0, 9999, n)]), dtype=object
    ),
    "constant": lambda g, n: pd.Series(["EUR"] * n),
    "nothing": lambda g, n: pd.Series([None] * n, dtype="Int64"),
    "identifier": lambda g, n: pd.Series([f"p{k:05d}" for k in range(n)]),
}  # fmt: skip
"""Columns as people have them, by what they are: a function of a generator and a number of rows."""


def usual_frame(seed, rows=60):
    """A frame of some of the columns in ``PLAIN``, at least one of them without gaps."""
    g = np.random.default_rng(seed)
    names = [*g.permutation(list(PLAIN))[: g.integers(2, 9)], "float64"]
    return pd.DataFrame({name: PLAIN[name](g, rows) for name in dict.fromkeys(names)})
