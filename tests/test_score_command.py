"""aevb score: which row is which, which rows are odd, and what it refuses."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from helpers import aevb, done
from PIL import Image

from aevb import files
from aevb.commands.columns import Columns
from aevb.datasets import load
from aevb.datasets.schema import Data
from aevb.errors import UsageError
from aevb.evaluation.threshold import Rule, is_odd, read_rule, threshold

RNG = np.random.default_rng(0)
MIX = RNG.normal(size=(2, 4))
COLUMNS = list("abcd")
FEW = "--samples 20 --quiet"


def arrays(path):
    with np.load(path) as archive:
        return dict(archive)


def rows_of(n):
    """Rows of one source: two numbers behind four columns, and some noise."""
    made = RNG.normal(size=(n, 2)) @ MIX + 0.3 * RNG.normal(size=(n, 4))
    return pd.DataFrame(made, columns=COLUMNS)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a run, its data, and rows that it has not seen. Some rows have names."""
    folder = tmp_path_factory.mktemp("score")
    rows_of(1000).to_csv(folder / "train.csv", index=False)
    fresh = rows_of(500)
    fresh.to_csv(folder / "fresh.csv", index=False)
    planted = fresh.copy()
    planted.loc[[3, 250], "a"] += 30
    planted.insert(0, "who", [f"person {i}, x" for i in range(500)])
    planted.to_csv(folder / "planted.csv", index=False)
    done(
        f"fit '{folder}/train.csv' --out '{folder}/run' --hidden 16 --latent-dim 2 --epochs 8"
        " --batch-size 50 --threads 1 --validation 0.5 --quiet"
    )
    return folder


@pytest.fixture(autouse=True)
def _there(place, monkeypatch, tmp_path):
    """Outputs go into a folder of the test; the run and its rows lie beside it."""
    monkeypatch.chdir(tmp_path)
    for path in place.iterdir():
        (tmp_path / path.name).symlink_to(path)


# -------------------------------------------------------------------------------------------------
# which rows are odd


def test_a_share_keeps_its_rate_on_fresh_rows_of_the_same_source(place):
    """500 held-out and 500 fresh rows: 10 % odd, give or take five deviations of 1.9 %."""
    said = done(f"score run fresh.csv -o scores.csv --threshold 0.1 {FEW}").splitlines()
    table = pd.read_csv("scores.csv")
    assert table["odd"].dtype == bool
    assert 0.005 < table["odd"].mean() < 0.195
    assert said[1].startswith(f"{table['odd'].sum()} of 500 rows are odd: log p(x) below ")
    rows = f"the validation rows of {(place / 'train.csv').resolve()}"
    assert said[1].endswith(f"nats, the lowest 10% of 500 rows, {rows}")
    below = float(said[1].split("below ")[1].split()[0])
    assert abs(table["log_likelihood"][table["odd"]].max() - below) < 1
    assert (table["log_likelihood"][table["odd"]] < below + 1e-4).all()
    assert (table["log_likelihood"][~table["odd"]] > below - 1e-4).all()


def test_planted_rows_are_found_and_named_beside_a_picture():
    line = f"score run planted.csv -o odd.csv --threshold auto --ignore who --picture odd.png {FEW}"
    assert "the far-out fence of 500 rows" in done(line)
    table = pd.read_csv("odd.csv")
    assert table["odd"][[3, 250]].all()
    assert table["odd"].mean() < 0.05
    assert set(table["row"][table["log_likelihood"].nsmallest(2).index]) == {4, 251}
    Image.open("odd.png").verify()


@pytest.mark.parametrize("command", ["score", "encode"])
def test_notes_on_new_rows_are_printed_once(command):
    rows_of(3)[COLUMNS[::-1]].to_csv("turned.csv", index=False)
    code, _, err = aevb(f"{command} run turned.csv -o new.csv {FEW if command == 'score' else ''}")
    assert (code, err.count("note       its columns have another order than in training")) == (0, 1)


@pytest.mark.parametrize("given", ["=-12.5", " -12.5", " -12.5nats", "=-12.5nats"])
def test_nats_are_taken_as_they_are_even_without_the_data(given, place):
    shutil.copytree(place / "run", "alone")
    said = done(f"score alone planted.csv -o s.npz --ignore who --threshold{given} --samples 1")
    found = arrays("s.npz")
    assert np.array_equal(found["odd"], found["log_likelihood"] < -12.5)
    assert "rows are odd: log p(x) below -12.5000 nats, as given" in said
    assert 2 <= found["odd"].sum() < 50


def test_without_its_data_a_share_says_what_to_do_and_that_works(place):
    (place / "train.csv").rename(place / "gone.csv")
    try:
        code, out, err = aevb(f"score run fresh.csv -o s.csv --threshold 0.1 {FEW}")
        assert (code, out) == (66, "")
        assert "train.csv" in err
        assert err.count("\n") == 1
        advice = err.split("such as ")[1].strip()
        done(f"score run fresh.csv -o s.csv {advice} {FEW}")
    finally:
        (place / "gone.csv").rename(place / "train.csv")


def test_rows_that_were_trained_on_are_said_to_be_such():
    done(
        "fit train.csv --out kept --hidden 4 --latent-dim 1 --epochs 1 --threads 1 --validation 0"
        " --quiet"
    )
    code, out, err = aevb("score kept fresh.csv -o s.csv --threshold auto --samples 2 --quiet")
    assert code == 0
    assert "the training rows of" in out
    assert "other rows are odd more often" in err


def test_the_share_of_a_threshold_is_exact_on_average():
    """k / (n + 1) of new rows are odd: 4,000 sets of held-out rows, five standard errors."""
    rng = np.random.default_rng(1)
    for n, share, k in ((99, 0.05, 5), (20, 0.1, 2), (100, 0.29, 29), (19, 0.05, 1)):
        values = rng.standard_cauchy(size=(4000, n + 1))
        odd = [bool(is_odd(v[-1], threshold(Rule(share=share), v[:-1]))) for v in values]
        rate = k / (n + 1)
        assert abs(np.mean(odd) - rate) < 5 * np.sqrt(rate * (1 - rate) / 4000)


def test_the_fence_by_hand_and_values_that_are_no_numbers():
    values = np.arange(101.0)  # quartiles 25 and 75
    assert threshold(Rule(), values) == 25 - 3 * 50
    assert threshold(Rule(), np.append(values, [np.nan, -np.inf])) == 25 - 3 * 50
    assert threshold(Rule(share=0.5), np.array([np.nan, 1.0, 2.0])) == 1.0
    assert threshold(Rule(), np.full(20, np.nan)) == -np.inf
    assert is_odd(np.array([-np.inf, np.nan, 0.0]), -1.0).tolist() == [True, True, False]


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        ("auto", Rule()),
        ("AUTO", Rule()),
        ("0.01", Rule(share=0.01)),
        ("1%", Rule(share=0.01)),
        ("-12.5", Rule(nats=-12.5)),
        ("-0.5", Rule(nats=-0.5)),
        ("5nats", Rule(nats=5.0)),
        ("0.5 nats", Rule(nats=0.5)),
    ],
)
def test_rules_are_read(text, rule):
    assert read_rule(text) == rule


@pytest.mark.parametrize("text", ["", "x", "nan", "inf", "1e400", "5", "1", "0", "100%", "0%", "-"])
def test_what_is_no_rule_is_refused(text):
    with pytest.raises(UsageError, match=r"threshold .*"):
        read_rule(text)


def test_too_few_rows_are_refused_with_a_share_that_works():
    for n in (1, 19, 64, 1999):
        values = np.arange(float(n))
        with pytest.raises(UsageError, match=f"there are {n}") as caught:
            threshold(Rule(share=0.0004), values)
        least = float(str(caught.value).split("at least ")[1].split(",")[0])
        assert threshold(Rule(share=least), values) == 0.0
    with pytest.raises(UsageError, match="needs 20 rows"):
        threshold(Rule(), np.arange(19.0))


# -------------------------------------------------------------------------------------------------
# which row is which

NAMES = np.array(
    ["cat/1.png", 'a "b", c', "line\nbreak", "car\rriage", "\u00e9\u4e2d", "bad \udcff"]
)


def named(data, names, names_of):
    object.__setattr__(data, "names", names)
    object.__setattr__(data, "names_of", names_of)
    return data


@pytest.mark.parametrize("command", ["score", "encode"])
def test_names_stand_beside_the_numbers(command, monkeypatch):
    data = load("fresh.csv").take(np.arange(6))
    object.__setattr__(data, "labels", np.array([1, 1, 0, 0, 2, 2]))
    monkeypatch.setattr(
        "aevb.datasets.load_like", lambda *_, **__: named(data, NAMES.astype(object), "file")
    )
    for form in ("csv", "npz", "npy"):
        done(f"{command} run six -o out.{form}" + (" --samples 2" if command == "score" else ""))
    table, found = pd.read_csv("out.csv"), arrays("out.npz")
    first = "log_likelihood" if command == "score" else "mu"
    assert list(table.columns[:2]) == ["row", "file"]
    assert list(found)[:3] == ["row", "names", first]
    assert table["row"].tolist() == found["row"].tolist() == [1, 2, 3, 4, 5, 6]
    assert table["file"].tolist() == [*NAMES[:5], "bad \\udcff"]
    assert found["names"].dtype.kind == "U"
    assert np.array_equal(found["names"], NAMES)
    assert ("labels" in found) == (command == "encode")
    assert np.array_equal(np.load("out.npy"), found[first])


def test_without_names_the_row_is_the_name():
    done(f"score run fresh.csv -o s.csv --rows-only {FEW}")
    table = pd.read_csv("s.csv")
    names = ["log_likelihood", "effective_sample_size", "bound", "reconstruction", "kl", "baseline"]
    assert list(table.columns) == ["row", *names, "oddness"]
    assert table["row"].tolist() == list(range(1, 501))
    assert (table["bound"] <= table["log_likelihood"]).all()


def test_a_column_of_the_data_may_be_called_row():
    table = Columns(named(Data(np.zeros((2, 1)), "mine"), np.array(["x", "y"]), "row"))
    table.add("z", np.zeros(2))

    table.write(Path("out.csv"), main="z")
    assert Path("out.csv").read_text().split() == ["row,row_of_data,z", "1,x,0.0", "2,y,0.0"]


def test_one_row_of_a_file_scores_as_it_does_among_others():
    pd.read_csv("fresh.csv").iloc[[7]].to_csv("one.csv", index=False)
    for name in ("fresh", "one"):
        done(f"score run {name}.csv -o {name}_scores.npz {FEW}")
    every, one = arrays("fresh_scores.npz"), arrays("one_scores.npz")
    for name in ("log_likelihood", "bound", "kl", "baseline", "effective_sample_size"):
        assert every[name][7] == one[name][0], name


# -------------------------------------------------------------------------------------------------
# what it refuses


@pytest.mark.parametrize("given", ["who", "who,b2", "who --ignore b2", "'b2, who'"])
def test_columns_are_left_out(given):
    table = pd.read_csv("planted.csv", nrows=5)
    table.insert(3, "b2", 1.0)
    table.to_csv("more.csv" if "b2" in given else "same.csv", index=False)
    table.drop(columns=["who", "b2"]).to_csv("plain.csv", index=False)
    if "b2" not in given:
        table.drop(columns="b2").to_csv("same.csv", index=False)
    source_ = "more.csv" if "b2" in given else "same.csv"
    for name, more in ((source_, f"--ignore {given}"), ("plain.csv", "")):
        done(f"score run {name} -o {name}.npz {more} {FEW}")
        done(f"encode run {name} -o {name}.csv {more}")
    got, expected = arrays(f"{source_}.npz"), arrays("plain.csv.npz")
    assert np.array_equal(got["log_likelihood"], expected["log_likelihood"])


@pytest.mark.parametrize(
    ("line", "code", "says"),
    [
        ("fresh.csv -o s.csv --threshold 5", 2, "give 5% or 5nats"),
        ("fresh.csv -o s.csv --threshold maybe", 2, "got 'maybe'"),
        (
            "fresh.csv -o s.csv --threshold 0.0001",
            2,
            "there are 500; give a share of at least 0.00",
        ),
        ("fresh.csv -o s.csv --ignore who", 2, "no column 'who'"),
        ("moons -o s.csv --ignore x", 2, "do not give --ignore x"),
        ("nowhere.csv -o s.csv --ignore x", 66, "no file or folder 'nowhere.csv'"),
        ("planted.csv -o s.csv --ignore who,a", 65, "column 'a' is missing"),
        ("fresh.csv -o s.csv --picture s.csv", 2, ".png, .pdf or .svg; got s.csv"),
        ("fresh.csv -o s.png --picture s.png", 2, "give them different names"),
        ("fresh.csv -o s.csv --picture nowhere/s.png", 74, "no folder nowhere"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line_and_nothing_is_written(line, code, says):
    found = aevb(f"score run {line} {FEW}")
    assert (found.code, found.out) == (code, "")
    assert says in found.err
    assert found.err.count("\n") == 1
    assert not [path for path in files.ARRAYS + files.PICTURES if Path(f"s{path}").exists()]
