"""Rows under conditions and filled cells, through a run: nothing given is ever changed."""

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import refuses
from known_table import A_GRID, known_run, truth_given_c

import aevb
from aevb.errors import DataError, NotFoundError, UsageError
from aevb.runs.given import row_for_each, rows_given
from aevb.runs.impute import fill

RUN = known_run()


def holes(n=200, share=0.3, seed=0):
    """Rows of the model with cells removed at random, and the whole rows."""
    whole = RUN.sample(n, seed=seed, noise=True)
    names = ["a", "b name", "c", "d"]
    gone = np.random.default_rng(seed).random((n, 4)) < share
    return whole.assign(
        **{name: whole[name].mask(gone[:, i]) for i, name in enumerate(names)}
    ), whole


CONDITIONS = {
    "a=1.5": lambda f: f.a == 1.5,
    "a>=0.5": lambda f: f.a >= 0.5,
    "a<-1": lambda f: f.a < -1,
    "b name=v": lambda f: f["b name"] == "v",
    "b name in u,w": lambda f: f["b name"].isin(["u", "w"]),
    "b name!=u": lambda f: f["b name"] != "u",
    "d=yes": lambda f: f.d == "yes",
    "d=": lambda f: f.d.isna(),
    "d=*": lambda f: f.d.notna(),
    "c>0.25": lambda f: f.c > 0.25,
    "k=x": lambda f: f.k == "x",
}


@pytest.mark.parametrize("seed", range(12))
def test_samples_never_break_their_conditions(seed):
    rng = np.random.default_rng(seed)
    texts = list(rng.choice(list(CONDITIONS), 3, replace=False))
    columns = [text[0] for text in texts]
    assume = len(set(columns)) == 3
    rows = RUN.sample(60, given=texts if assume else texts[:1], seed=seed)
    texts = texts if assume else texts[:1]
    assert len(rows) == 60
    assert list(rows.columns) == ["id", "a", "b name", "k", "c", "d"]
    for text in texts:
        assert CONDITIONS[text](rows).all(), text


def test_the_effective_sample_size_is_told():
    found = rows_given(RUN, 50, {"b name": "v"})
    assert found.effective > 100
    assert found.proposals >= found.effective
    assert found.said().startswith("effective sample size ")


def test_rare_conditions_are_refused_with_the_one_to_loosen():
    refuses(
        UsageError,
        ["a>=6", "b name=u", "rarest alone is a>=6", "fewer than 1 in 4,096", "Loosen"],
        RUN.sample,
        5,
        given=["a>=6", "b name=u"],
    )


@pytest.mark.parametrize("n", [0, None, -1])
def test_a_number_of_rows_is_needed(n):
    with pytest.raises(UsageError, match="at least 1"):
        RUN.sample(n, given="a>=0")


def test_a_table_of_conditions_gives_one_row_each():
    asked = pd.DataFrame({"c": [1.0, None, -1.0, 1.0], "d": ["yes", None, None, "no"]})
    rows = RUN.sample(given=asked)
    assert (rows.c[asked.c.notna()] == asked.c.dropna()).all()
    assert (rows.d[asked.d.notna()] == asked.d.dropna()).all()
    assert len(rows) == 4
    named = RUN.sample(given=asked.assign(id=["p", "q", "r", "s"]))
    assert named.id.tolist() == ["p", "q", "r", "s"]


def test_a_table_of_conditions_has_the_conditional_distribution():
    """The mean of a within four standard errors of the exact one."""
    n = 3000
    rows = RUN.sample(given=pd.DataFrame({"c": [1.0] * n}))
    p = truth_given_c(1.0).sum((1, 2))
    mean = float((p * A_GRID).sum())
    spread = float((p * (A_GRID - mean) ** 2).sum()) ** 0.5
    assert rows.a.mean() == pytest.approx(mean, abs=4 * spread / n**0.5)


@pytest.mark.parametrize(
    ("frame", "parts"),
    [
        ({"c": [1.0], "q": [3]}, ["no column 'q'", "'b name'"]),
        ({"b name": ["u", "z"]}, ["'z'", "row 2", "'u', 'v', 'w'"]),
        ({"c": [1.0, 50.0]}, ["50", "row 2", "-9", "nearest value is 9"]),
        ({"c": []}, ["no rows of conditions"]),
    ],
)
def test_a_table_of_impossible_conditions_is_refused(frame, parts):
    refuses(DataError, parts, row_for_each, RUN, pd.DataFrame(frame))


def test_a_number_of_rows_that_differs_from_the_table_is_refused():
    refuses(UsageError, ["2 rows"], RUN.sample, 3, given=pd.DataFrame({"c": [1.0, 2.0]}))


def test_conditions_need_a_table_and_a_model_that_takes_gaps():
    moons = aevb.fit("moons", aevb.Config(epochs=1, hidden=(8,), latent_dim=2))
    refuses(UsageError, ["for tables", "moons"], moons.sample, 3, given="a=1")
    refuses(UsageError, ["for tables"], moons.impute, "x.csv")
    refuses(UsageError, ["for tables"], moons.score, "moons", columns=True)


# -------------------------------------------------------------------------------------------------
# filling


@pytest.mark.parametrize("options", [{}, {"method": "draw"}], ids=["mean", "draw"])
def test_every_missing_cell_is_filled_and_no_other_is_touched(options):
    frame, _ = holes()
    full = RUN.impute(frame, **options)
    assert list(full.columns) == list(frame.columns)
    assert full.dtypes.equals(frame.dtypes)
    assert int(full.isna().sum().sum()) == 0
    there = frame.notna()
    assert (full[there].astype(object).fillna(0) == frame.astype(object).fillna(0)).all().all()
    assert (full.a.round(3) == full.a).all()


def test_conditional_means_and_modes_are_right():
    frame = pd.DataFrame({"a": [np.nan] * 40, "b name": [None] * 40, "c": 1.0, "d": "yes"})
    p = truth_given_c(1.0, gaps=False)[..., 1]
    p = p / p.sum()
    mean = float((p.sum(1) * A_GRID).sum())
    codes = fill(RUN, RUN.schema.table.encode(frame, "it"), samples=4000).codes[0]
    assert len(np.unique(codes, axis=0)) == 1  # equal rows have equal means
    assert codes[0, 0] == pytest.approx(mean, abs=0.06)
    assert codes[0, 1] == int(p.sum(0).argmax())
    assert RUN.impute(frame).a.nunique() == 1


def test_several_draws_are_in_the_long_form_of_mice():
    frame, _ = holes(30)
    long = RUN.impute(frame, draws=5)
    assert list(long.columns) == [".imp", ".id", *frame.columns]
    assert long[".imp"].tolist() == [m for m in range(1, 6) for _ in range(30)]
    assert long[".id"].tolist() == list(range(1, 31)) * 5
    assert int(long.isna().sum().sum()) == 0
    values = long.a.to_numpy().reshape(5, 30)
    gone = frame.a.isna().to_numpy()
    assert (values[:, ~gone] == values[0, ~gone]).all()
    assert (values[:, gone].std(0) > 0).all()


def test_intervals_of_draws_cover_what_was_removed():
    """From the 5 % to the 95 % quantile of 40 draws: 0.856 is expected, with an error of 0.018."""
    whole = RUN.sample(2000, seed=3, given="d=*")
    gone = np.random.default_rng(3).random((2000, 2)) < 0.3
    frame = whole.assign(a=whole.a.mask(gone[:, 0]), c=whole.c.mask(gone[:, 1]))
    draws = RUN.impute(frame, draws=40).a.to_numpy().reshape(40, -1)[:, gone[:, 0]]
    low, high = np.quantile(draws, [0.05, 0.95], axis=0)
    removed = whole.a[gone[:, 0]]
    assert ((low <= removed) & (removed <= high)).mean() == pytest.approx(0.856, abs=0.054)


def test_equal_rows_get_draws_of_their_own():
    frame = pd.DataFrame({"a": [np.nan] * 20, "b name": "u", "c": 1.0, "d": "yes"})
    assert RUN.impute(frame, method="draw").a.nunique() > 15


def test_a_row_that_the_model_finds_impossible_is_filled_all_the_same():
    frame = pd.DataFrame({"a": [9.0], "b name": [None], "c": [-9.0], "d": ["no"]})
    assert RUN.impute(frame)["b name"].notna().all()


def test_rows_without_gaps_are_handed_back():
    _, whole = holes(10)
    whole = whole.dropna()
    assert RUN.impute(whole).equals(whole)


def test_progress_counts_every_row():
    frame, _ = holes(50)
    codes = RUN.schema.table.encode(frame, "it")
    done = []
    fill(RUN, codes, on_rows=done.append)
    assert sum(done) == 50


def test_one_seed_fills_alike():
    frame, _ = holes(30)
    torch.manual_seed(1)
    first = RUN.impute(frame, method="draw", seed=4)
    assert first.equals(RUN.impute(frame, method="draw", seed=4))
    assert not first.equals(RUN.impute(frame, method="draw", seed=5))


@pytest.mark.parametrize(
    ("options", "part"),
    [
        ({"draws": 0}, "draws must be at least 1"),
        ({"method": "median"}, "mean or draw"),
        ({"method": "mean", "draws": 3}, "not both"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, part):
    with pytest.raises(UsageError, match=part):
        RUN.impute(holes(5)[0], **options)


def test_rows_of_another_form_are_refused():
    refuses(DataError, ["'c', 'd' are missing"], RUN.impute, pd.DataFrame({"a": [1.0]}))
    refuses(NotFoundError, ["no file 'nowhere.csv'"], RUN.impute, "nowhere.csv")
    refuses(DataError, ["data frame"], RUN.impute, 3)
