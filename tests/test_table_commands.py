"""What people do with a table on the command line: conditions, filled cells, odd columns."""

import numpy as np
import pandas as pd
import pytest
from helpers import aevb, done

N = 240


def people():
    rng = np.random.default_rng(0)
    age = rng.integers(18, 80, N)
    sex = rng.choice(["Female", "Male"], N)
    height = np.round(np.where(sex == "Male", 178, 165) + rng.normal(0, 6, N), 1)
    income = np.where(rng.random(N) < 0.2, np.nan, np.round(np.exp(9 + 0.02 * age), 2))
    grade = np.where(age < 30, "low", np.where(age < 55, "mid", "high"))
    return pd.DataFrame(
        {
            "id": [f"p{i}" for i in range(N)],
            "age": age,
            "sex": sex,
            "height": height,
            "income": income,
            "grade": grade,
            "rank": pd.Series(grade).map({"low": 1, "mid": 2, "high": 3}),
        }
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a run of a table, and the table with more cells removed."""
    folder = tmp_path_factory.mktemp("tables")
    frame = people()
    frame.to_csv(folder / "t.csv", index=False)
    gone = np.random.default_rng(1).random((N, 3)) < 0.2
    for i, name in enumerate(["age", "sex", "height"]):
        frame[name] = frame[name].astype(object).mask(gone[:, i])
    frame.head(40).to_csv(folder / "holes.csv", index=False)
    options = "--epochs 3 --hidden 16 --latent-dim 2 --threads 1 --likelihood mixed"
    aevb(f"fit {folder}/t.csv --out {folder}/run {options}")
    return folder


def test_rows_that_meet_conditions(folder):
    given = '--given "sex=Female" --given "age>=60" --given "income=*"'
    out = done(f"sample {folder}/run -n 30 {given} -o {folder}/new.csv")
    frame = pd.read_csv(folder / "new.csv")
    assert "given sex=Female, age>=60, income=*; effective sample size" in out
    assert len(frame) == 30
    assert set(frame.sex) == {"Female"}
    assert frame.age.min() >= 60
    assert frame.income.notna().all()
    assert list(frame.columns) == list(people().columns)


def test_conditions_on_columns_that_follow_from_others(folder):
    done(f'sample {folder}/run -n 20 --given "rank=2" -o {folder}/rank.csv')
    frame = pd.read_csv(folder / "rank.csv")
    assert set(frame["rank"]) == {2}
    done(f'sample {folder}/run -n 20 --given "income=" -o {folder}/gone.csv')
    assert pd.read_csv(folder / "gone.csv").income.isna().all()


def test_one_row_for_each_row_of_a_file(folder):
    wanted = "rank,sex,id\n1,Male,x1\n,Female,x2\n3,,x3\n"
    (folder / "wanted.csv").write_text(wanted)
    done(f"sample {folder}/run --given-file {folder}/wanted.csv -o {folder}/each.csv")
    frame = pd.read_csv(folder / "each.csv")
    assert frame.id.tolist() == ["x1", "x2", "x3"]
    assert frame.sex.tolist()[:2] == ["Male", "Female"]
    assert frame["rank"].tolist()[::2] == [1, 3]


def test_missing_cells_are_filled_and_all_others_keep_their_letters(folder):
    done(f"impute {folder}/run {folder}/holes.csv -o {folder}/full.csv")
    before, after = ((folder / name).read_text().splitlines() for name in ("holes.csv", "full.csv"))
    assert len(before) == len(after)
    for line, full in zip(before, after, strict=True):
        pairs = list(zip(line.split(","), full.split(","), strict=True))
        assert all(cell in ("", whole) for cell, whole in pairs)
        assert all(whole for _, whole in pairs)
    assert pd.read_csv(folder / "full.csv").age.dtype.kind in "if"


def test_several_versions_are_written(folder):
    out = done(f"impute {folder}/run {folder}/holes.csv --draws 3 -o {folder}/three.csv")
    frame = pd.read_csv(folder / "three.csv")
    assert "3 versions" in out
    assert list(frame.columns[:2]) == [".imp", ".id"]
    assert len(frame) == 120


def test_scores_name_the_odd_column(folder):
    done(f"score {folder}/run {folder}/holes.csv --samples 20 -o {folder}/scores.csv")
    frame = pd.read_csv(folder / "scores.csv")
    parts = frame.filter(like="contribution_")
    assert [name.removeprefix("contribution_") for name in parts] == list(people().columns[1:])
    assert np.allclose(parts.sum(axis=1), frame.log_likelihood)
    assert set(frame.oddest) <= set(people().columns[1:])
    done(f"score {folder}/run {folder}/holes.csv --samples 20 --rows-only -o {folder}/few.csv")
    few = pd.read_csv(folder / "few.csv")
    assert "oddest" not in few.columns
    assert (few.log_likelihood == frame.log_likelihood).all()


def test_rows_with_missing_cells_have_codes(folder):
    done(f"encode {folder}/run {folder}/holes.csv -o {folder}/codes.npz")
    assert np.isfinite(np.load(folder / "codes.npz")["mu"]).all()


@pytest.mark.parametrize(
    ("line", "code", "part"),
    [
        ('sample run --given "sex=Dog" -o x.csv', 2, "the model knows 'Female', 'Male'"),
        ('sample run --given "age>=300" -o x.csv', 2, "goes from 18 to 79"),
        ('sample run --given "age>=60" -o holes.csv', 73, "exists already"),
        ('sample run --given "age>=60" -o x.png', 2, "written as a table"),
        ('sample run --given "age>=60" --given-file w.csv -o x.csv', 2, "one of them"),
        ('sample run --given "age>=60" --mean -o x.csv', 2, "leave --noise and --mean out"),
        ("sample run --given-file nowhere.csv -o x.csv", 66, "no file"),
        ("sample run --given-file t.csv -n 3 -o x.csv", 2, "240 rows"),
        ("sample run -n 0 -o x.csv", 2, "at least 1"),
        ("impute run t.csv -o x.npy", 2, "holds no table"),
        ("impute run holes.csv -o t.csv", 73, "exists already"),
        ("impute run nowhere.csv -o x.csv", 66, "no file"),
        ("impute run t.csv --draws 0 -o x.csv", 2, "at least 1"),
        ("impute run t.csv --method mean --draws 2 -o x.csv", 2, "not both"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_line(line, code, part, folder, monkeypatch):
    monkeypatch.chdir(folder)
    result = aevb(line)
    assert (result.code, result.out) == (code, "")
    assert part in result.err
    assert result.err.count("\n") == 1
    assert not list(folder.glob("x.*"))
