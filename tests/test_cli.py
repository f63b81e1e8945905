"""The command line end to end: a user's data in; models, samples, codes and pictures out."""

import io
import itertools
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
from helpers import FIT, Result, aevb, check_figures, done, manifest, tree
from PIL import Image

from aevb.commands import cli, demo


def arrays(path):
    with np.load(path) as archive:
        return dict(archive)


@pytest.fixture(autouse=True)
def _a_place_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FORCE_COLOR", raising=False)  # makes rich take anything for a terminal


@pytest.fixture
def no_pictures(monkeypatch):
    """For tests of something else: drawing takes longer than these models take to train."""
    monkeypatch.setattr("aevb.runs.pictures.draw", lambda *_: [])
    monkeypatch.setattr("aevb.plots.save", lambda _, path: path)


@dataclass(frozen=True)
class Case:
    """A kind of data: what to fit, the shape and type of a row, and the pictures that a model of it
    allows."""

    data: str
    shape: tuple[int, ...]
    dtype: str
    options: str = ""
    columns: tuple[str, ...] = ()
    drawn: tuple[str, ...] = ("curves", "samples", "table", "latent")


PICTURES = ("curves", "samples", "latent", "reconstructions", "interpolations", "manifold")
CASES = {
    "folder": Case("faces", (8, 6), "uint8", "--resize 8x6", drawn=PICTURES),
    "csv": Case("table.csv", (3,), "float64", columns=("mass", "charge", "spin")),
    "npz": Case("archive.npz", (2,), "float64", drawn=("curves", "samples", "latent", "manifold")),
    "npy": Case("stack.npy", (6, 5), "float32", drawn=PICTURES),
}


def as_given(name, place):
    """The rows of a case as a reader other than ours sees them: (N, D), to compare generated ones
    with."""
    if name == "folder":
        return np.concatenate(
            [np.asarray(Image.open(p)).ravel() for p in (place / "faces").iterdir()]
        )[:, None]
    if name == "csv":
        return np.loadtxt(place / "table.csv", delimiter=",", skiprows=1)
    return (
        arrays(place / "archive.npz")["x"]
        if name == "npz"
        else np.load(place / "stack.npy").reshape(200, -1)
    )


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """The user's data, in a folder whose name has a space in it."""
    place = tmp_path_factory.mktemp("a place")
    g = np.random.default_rng(0)
    (place / "faces").mkdir()
    for i in range(200):
        height, width = g.integers(6, 20, 2)
        Image.fromarray(g.normal(120, 30, (height, width)).clip(0, 255).astype(np.uint8)).save(
            place / f"faces/{i}.png"
        )
    table = g.normal([1000, -3, 0.01], [50, 0.1, 0.001], (300, 3))
    pd.DataFrame(table, columns=CASES["csv"].columns).to_csv(place / "table.csv", index=False)
    np.savez(place / "archive.npz", x=g.normal(7, 2, (300, 2)))
    np.save(
        place / "stack.npy", (g.random((200, 6, 5)) < np.linspace(0.1, 0.9, 5)).astype(np.uint8)
    )
    return place


class Fitted(NamedTuple):
    name: str
    case: Case
    data: str
    run: Path
    report: dict


@pytest.fixture(scope="module", params=CASES)
def fitted(request, place):
    case = CASES[request.param]
    run, data = place / f"run {request.param}", shlex.quote(str(place / case.data))
    settings = (
        "--hidden 8 --latent-dim 2 --epochs 8 --learning-rate 0.02 --batch-size 32 --threads 1"
    )
    out = done(f"fit {data} --out '{run}' {case.options} {settings} --json")
    return Fitted(request.param, case, data, run, json.loads(out))


def test_fit_says_what_it_found_and_how_it_went(fitted):
    found = fitted.report["data"]
    rows = 300 if fitted.case.shape in ((3,), (2,)) else 200
    assert (found["rows"], tuple(found["shape"]), found["missing"]) == (rows, fitted.case.shape, 0)
    assert found["training_rows"] + found["validation_rows"] == rows
    assert found["likelihood"] == (
        {"npy": "bernoulli", "csv": "mixed"}.get(fitted.name, "gaussian")
    )
    assert tuple(found["columns"] or ()) == fitted.case.columns
    names = [
        prefix + name
        for prefix in ("", "validation_")
        for name in ("bound", "reconstruction", "kl")
    ]
    check_figures(fitted.report, names)
    assert fitted.report["validation_bound"]["standard_error"] > 0
    assert fitted.report["epochs"] == fitted.report["kept_epoch"] == 8


def test_a_run_folder_holds_everything(fitted):
    run, drawn = fitted.run, {f"{name}.png" for name in fitted.case.drawn}
    for path in fitted.report["pictures"]:
        Image.open(path).verify()
    assert {Path(path).name for path in fitted.report["pictures"]} == drawn
    assert drawn <= {p.name for p in (run / "pictures").iterdir()}
    kinds = {p.name.split("-")[0] for p in run.iterdir()}
    assert kinds == {
        "config.toml",
        "metrics.jsonl",
        "manifest.json",
        "previous.json",
        "model",
        "baseline",
        "state",
        "pictures",
    }
    records = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert [record["epoch"] for record in records] == list(range(1, 9))
    for record in records:
        assert record["bound"] == pytest.approx(record["reconstruction"] - record["kl"], rel=1e-5)
        assert {"validation_bound", "validation_reconstruction", "validation_kl", "samples"} <= set(
            record
        )
    assert records[-1]["bound"] == fitted.report["bound"]["value"] > records[0]["bound"]
    assert {"config", "data_schema", "versions", "files", "sha256"} <= set(manifest(run))


def test_config_toml_repeats_the_run(fitted, no_pictures):
    done(f"fit --config '{fitted.run}/config.toml' --out again --quiet")
    assert manifest("again")["files"] == manifest(fitted.run)["files"]
    assert Path("again/metrics.jsonl").read_bytes() == (fitted.run / "metrics.jsonl").read_bytes()


def test_sample_returns_rows_of_the_data(fitted, place):
    case = fitted.case
    for form in ("npy", "npz", "csv", "png"):
        what = "means of" if fitted.name in ("folder", "npy") else "drawn from"
        assert f"200 samples of {fitted.run}, {what} p(x|z)" in done(
            f"sample '{fitted.run}' -n 200 -o rows.{form}"
        )
    rows = np.load("rows.npy")
    assert (rows.shape, str(rows.dtype)) == ((200, *case.shape), case.dtype)
    assert np.array_equal(arrays("rows.npz")["samples"], rows)
    table = pd.read_csv("rows.csv")
    assert tuple(table.columns) == (
        case.columns or tuple(f"column_{i + 1}" for i in range(np.prod(case.shape)))
    )
    assert np.allclose(table.to_numpy(), rows.reshape(200, -1), rtol=1e-5)
    assert len(np.asarray(Image.open("rows.png"))) > 100
    given = as_given(fitted.name, place)
    # Column by column for tables and the stack, over all pixels for pictures of mixed sizes.
    made = rows.reshape(-1, given.shape[1]).astype(float)
    assert np.all(np.abs(made.mean(0) - given.mean(0)) < 0.5 * given.std(0))
    if fitted.name == "npy":
        assert 0 < rows.min() < rows.max() < 1


def test_sampled_noise_has_the_spread_of_the_data(fitted, place):
    done(f"sample '{fitted.run}' -n 500 --noise -o rows.npy")
    rows, given = np.load("rows.npy"), as_given(fitted.name, place)
    spread = rows.reshape(-1, given.shape[1]).astype(float).std(0)
    assert np.all((spread > 0.5 * given.std(0)) & (spread < 1.7 * given.std(0)))
    if fitted.name == "npy":
        assert set(np.unique(rows)) == {0, 1}


def test_a_table_is_sampled_with_its_spread_and_pictures_by_their_means(fitted, place):
    """The default is one of two: draws for tables, whose means vary too little, means for pictures,
    whose draws are noise."""
    for option in ("", "--noise", "--mean"):
        done(f"sample '{fitted.run}' -n 2000 {option} -o 'rows{option}.npy'")
    rows, noise, mean = (np.load(f"rows{option}.npy") for option in ("", "--noise", "--mean"))
    table = fitted.name in ("csv", "npz")
    assert np.array_equal(rows, noise if table else mean)
    assert not np.array_equal(noise, mean)
    if table:
        given = as_given(fitted.name, place).std(0)
        assert np.all(mean.std(0) < 0.9 * noise.std(0))
        assert np.all(np.abs(noise.std(0) / given - 1) < np.abs(mean.std(0) / given - 1))
    result = aevb(f"sample '{fitted.run}' --noise --mean -o both.npy")
    assert (result.code, "give one of them" in result.err, Path("both.npy").exists()) == (
        2,
        True,
        False,
    )


def test_the_seed_decides_the_samples(fitted):
    for name, seed in [("a", 3), ("b", 3), ("c", 4)]:
        done(f"sample '{fitted.run}' -n 50 --seed {seed} -o {name}.npy")
    a, b, c = (np.load(f"{name}.npy") for name in "abc")
    assert np.array_equal(a, b)
    assert not np.array_equal(a, c)


def test_encode_writes_the_same_codes_in_every_form(fitted, monkeypatch):
    for form in ("npy", "npz", "csv", "png"):
        assert "codes" in done(f"encode '{fitted.run}' {fitted.data} -o codes.{form}")
    mu, both, table = np.load("codes.npy"), arrays("codes.npz"), pd.read_csv("codes.csv")
    assert mu.shape == (fitted.report["data"]["rows"], 2)
    assert mu.std() > 0.1
    assert np.array_equal(both["mu"], mu)
    files = ["file"] if "names" in both else []
    assert list(table.columns) == ["row", *files, "mu_1", "mu_2", "logvar_1", "logvar_2"]
    assert table["row"].tolist() == both["row"].tolist() == list(range(1, len(mu) + 1))
    codes = table.iloc[:, -4:].to_numpy()
    assert np.allclose(codes, np.hstack([mu, both["logvar"]]), atol=1e-5)
    Image.open("codes.png").verify()
    # The codes are those that the bound is made of: evaluate's KL follows from them in closed form.
    monkeypatch.setattr("aevb.plots.save", lambda _, path: path)
    kl = 0.5 * (mu**2 + np.exp(both["logvar"]) - 1 - both["logvar"]).sum(1).mean()
    report = json.loads(done(f"evaluate '{fitted.run}' {fitted.data} --json"))
    assert report["kl"]["value"] == pytest.approx(kl, rel=1e-4)


def test_score_writes_what_evaluate_estimates(fitted):
    """The draws are others, so the means of the rows agree to within five standard errors."""
    for form in ("npy", "npz", "csv", "png"):
        assert "200 draws each" in done(
            f"score '{fitted.run}' {fitted.data} -o scores.{form} --samples 200 --rows-only"
        )
    found, table = arrays("scores.npz"), pd.read_csv("scores.csv")
    table = table.rename(columns={"file": "names"})
    assert list(table.columns) == list(found)
    figures = [name for name in found if name != "names"]
    assert np.allclose(table[figures], np.stack([found[name] for name in figures], axis=1))
    assert np.array_equal(np.load("scores.npy"), found["log_likelihood"])
    Image.open("scores.png").verify()
    report = json.loads(done(f"evaluate '{fitted.run}' {fitted.data} --samples 200 --json"))
    for name in ("log_likelihood", "bound", "reconstruction", "kl", "baseline"):
        apart = abs(found[name].mean() - report[name]["value"])
        assert apart < 5 * report["bound"]["standard_error"], name
    assert found["baseline"].mean() == pytest.approx(report["baseline"]["value"], rel=1e-6)
    median = report["log_likelihood"]["effective_sample_size"]
    assert np.median(found["effective_sample_size"]) == pytest.approx(median, rel=0.1)


def test_evaluate_prints_figures_for_people_and_for_programs(fitted, monkeypatch):
    report = json.loads(done(f"evaluate '{fitted.run}' {fitted.data} --json"))
    names = (
        "bound",
        "reconstruction",
        "kl",
        "log_likelihood",
        "gap",
        "bits_per_dim",
        "baseline",
        "mutual_information",
    )
    check_figures(report, names)
    value = {name: report[name]["value"] for name in names}
    assert value["bound"] == pytest.approx(value["reconstruction"] - value["kl"])
    assert value["gap"] == pytest.approx(value["log_likelihood"] - value["bound"])
    assert value["bits_per_dim"] == pytest.approx(
        -value["log_likelihood"] / np.log(2) / np.prod(fitted.case.shape)
    )
    assert report["log_likelihood"]["samples"] == 5000
    assert 1 <= report["log_likelihood"]["effective_sample_size"] <= 5000
    Image.open(report["picture"]).verify()
    monkeypatch.setattr("aevb.plots.save", lambda _, path: path)
    text = done(f"evaluate '{fitted.run}' {fitted.data}")
    for name in names:
        printed = re.search(
            rf"^{name} +(\S+) +\+- (\S+) +{report[name]['unit']}(;.*)?$", text, re.MULTILINE
        )
        assert float(printed[1]) == pytest.approx(value[name], abs=1e-4)
        assert float(printed[2]) == pytest.approx(report[name]["standard_error"], abs=1e-4)


def test_evaluate_takes_the_held_out_rows_by_default(fitted, no_pictures):
    report = json.loads(done(f"evaluate '{fitted.run}' --json"))
    assert report["rows"] == fitted.report["data"]["validation_rows"]
    # The same rows and weights as after the last epoch; only the noise of z differs.
    assert report["bound"]["value"] == pytest.approx(
        fitted.report["validation_bound"]["value"], rel=0.02, abs=0.05
    )
    fewer = [
        json.loads(done(f"evaluate '{fitted.run}' --rows 10 --seed {seed} --json"))
        for seed in (0, 0, 1)
    ]
    assert fewer[0] == fewer[1]
    assert fewer[0]["rows"] == 10
    assert fewer[0]["bound"] != fewer[2]["bound"]


def test_figures_are_in_the_units_of_the_data(place, no_pictures):
    """A density of rows in grams is 1000 times less than one of rows in kilograms, per column."""
    table = pd.read_csv(place / "table.csv")
    (table * 1000).to_csv("grams.csv", index=False)
    table.to_csv("kilograms.csv", index=False)
    bound = []
    for unit in ("kilograms", "grams"):
        done(f"fit {unit}.csv --out {unit} {FIT} --quiet")
        bound.append(json.loads(done(f"evaluate {unit} --json"))["bound"]["value"])
        done(f"sample {unit} -o {unit}.npy")
    assert bound[0] - bound[1] == pytest.approx(3 * np.log(1000), abs=1e-3)
    assert np.allclose(np.load("grams.npy"), 1000 * np.load("kilograms.npy"), rtol=1e-4)


def test_plot_draws_whatever_the_model_allows(fitted, monkeypatch):
    folder, option = Path("drawn"), "-o drawn"
    if fitted.name == "folder":  # by default, the run's own pictures anew
        folder, option = fitted.run / "pictures", ""
        shutil.rmtree(folder)
    elif fitted.name != "npz":  # fit has drawn the same pictures before
        monkeypatch.setattr("aevb.plots.save", lambda _, path: path)
    listed = [Path(line) for line in done(f"plot '{fitted.run}' {option}").splitlines()]
    assert sorted(listed) == sorted(folder / f"{name}.png" for name in fitted.case.drawn)
    for path in listed if fitted.name in ("folder", "npz") else []:
        Image.open(path).verify()


def test_quiet_prints_nothing(no_pictures):
    assert aevb(f"fit gmm --out run {FIT} --quiet") == (0, "", "")


def test_fit_prints_results_on_stdout(no_pictures):
    text = done(f"fit gmm --out run {FIT}")
    for piece in (
        "2000 rows of 2",
        "columns     x, y",
        "gaussian (real values",
        "1800 for training",
        "2 epochs",
        "aevb sample run -n 100 -o samples.csv",
    ):
        assert piece in text
    assert not re.search(
        "missing|^range", text, re.MULTILINE
    )  # one range for columns of several units would say nothing
    text = done(f"fit digits --out digits {FIT}")
    assert "range       0 to 16\n" in text
    assert "aevb sample digits -n 100 -o samples.png" in text


def test_few_steps_are_told_with_how_to_go_on(no_pictures):
    """1800 rows in batches of 256 are 8 steps an epoch, 16 in all; 125 epochs make a thousand."""
    text = done(f"fit gmm --out run {FIT}")
    assert "note       only 16 steps in all" in text
    assert "aevb fit --resume --out run --epochs 125\n" in text
    text = aevb("fit --resume --out run --epochs 125 --threads 1").out
    assert "note  " not in text
    assert "984 steps, in" in text


def test_the_kind_of_each_column_is_told(no_pictures):
    g = np.random.default_rng(0)
    table = {
        "age": g.integers(18, 90, 300),
        "smokes": g.integers(0, 2, 300),
        "height": g.normal(170, 9, 300),
    }
    pd.DataFrame(table).to_csv("mixed.csv", index=False)
    lines = done(f"fit mixed.csv --out run {FIT}").splitlines()
    assert "integer     whole numbers from 18 to 89" in lines[1]
    assert "boolean" in lines[2]
    assert "real" in lines[3]
    told = json.loads(done(f"fit mixed.csv --out other --column smokes=real {FIT} --json"))
    kinds = {column["name"]: column["kind"] for column in told["data"]["column_kinds"]}
    assert kinds == {"age": "integer", "smokes": "real", "height": "real"}


def test_with_patience_the_figures_are_those_of_the_epoch_that_was_kept(no_pictures):
    options = "--hidden 8 --latent-dim 2 --learning-rate 0.05 --epochs 200 --patience 3 --threads 1"
    report = json.loads(done(f"fit gmm --out run {options} --json"))
    records = [json.loads(line) for line in Path("run/metrics.jsonl").read_text().splitlines()]
    best = max(records, key=lambda record: record["validation_bound"])
    assert (
        (report["epochs"], report["kept_epoch"])
        == (len(records), best["epoch"])
        == (len(records), len(records) - 3)
    )
    for name in ("bound", "kl", "validation_bound", "validation_reconstruction"):
        assert report[name]["value"] == best[name] != records[-1][name]
    n, kept = len(records), best["epoch"]
    assert (report["stopped_by_patience"], report["steps"]) == (
        True,
        15 * n,
    )  # 1800 rows in batches of 128
    text = done("fit --resume --out run")
    assert (
        f"trained    nothing: {n} epochs were done before, then stopped by patience, kept epoch"
        f" {kept}\n" in text
    )
    text = done(f"fit gmm --out again {options}")
    assert re.search(
        rf"trained +{n} epochs, {15 * n} steps, in [0-9.]+ s; stopped by patience before 200, kept"
        rf" epoch {kept}\n",
        text,
    )
    assert f"validation bound {best['validation_bound']:.2f} nats" in text


def test_progress_shows_the_terms_apart_on_a_terminal(monkeypatch, no_pictures):
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "160")
    result = aevb(f"fit gmm --out run {FIT}")
    assert re.search(
        r"epoch 2 .*bound.*reconstruction.*KL.*validation",
        re.sub(r"\x1b\[[0-9;?]*\w", "", result.err),
    )
    assert "KL" in result.out
    assert aevb(f"fit gmm --out quiet {FIT} --quiet") == (0, "", "")
    assert aevb(f"fit gmm --out json {FIT} --json").err == ""


def test_no_arguments_show_the_commands():
    text = done("")
    assert all(f" {name} " in text for name in cli.COMMANDS)


@pytest.mark.parametrize("command", cli.COMMANDS)
def test_help_has_one_form_of_flags_and_no_broken_sentences(command):
    """No --no-quick beside --quick; and what is said of an option is one line of source, since its
    breaks are kept."""
    text = done(f"{command} --help")
    assert "--no-" not in text
    import importlib
    import inspect

    function = getattr(importlib.import_module(f"aevb.commands.{command}"), command)
    said = inspect.getdoc(function) if callable(function) else ""
    parameters = (said or "").partition("Parameters\n----------\n")[2].splitlines()
    assert not [
        line
        for line, after in itertools.pairwise(parameters)
        if line.startswith(" ") and after.startswith(" ")
    ]


def settings(run):
    return manifest(run)["config"]


def test_the_command_line_goes_before_the_file_and_the_file_before_the_defaults(no_pictures):
    Path("my.toml").write_text(
        'data = "gmm"\nhidden = [8, 9]\nlatent_dim = 3\nepochs = 7\nvalidation = 0.2\nseed = 5\n'
    )
    done("fit --config my.toml --out run --epochs 1 --latent-dim 2 --quiet")
    got = settings("run")
    assert (got["epochs"], got["latent_dim"], got["hidden"], got["seed"]) == (1, 2, [8, 9], 5)
    assert (got["validation"], got["batch_size"]) == ("0.2", 128)


def test_rows_of_another_source_can_validate(no_pictures):
    report = json.loads(done(f"fit gmm --out run {FIT} --validation gmm:test --json"))
    assert (report["data"]["training_rows"], report["data"]["validation_rows"]) == (2000, 2000)


@pytest.mark.parametrize("data", ["gmm", "digits --binarize dynamic --likelihood bernoulli"])
def test_resumed_ends_in_the_same_bits(data, no_pictures):
    done(f"fit {data} --out straight {FIT} --epochs 4 --quiet".replace("--epochs 2", ""))
    done(f"fit {data} --out run {FIT} --quiet")
    done("fit --resume --out run --epochs 4 --quiet")
    assert manifest("run")["files"] == manifest("straight")["files"]
    assert Path("run/metrics.jsonl").read_bytes() == Path("straight/metrics.jsonl").read_bytes()
    assert settings("run")["epochs"] == 4
    done("fit --resume --out run --quiet")  # nothing is left to do
    assert manifest("run")["files"] == manifest("straight")["files"]


def test_a_run_starts_from_another_one(no_pictures):
    done(f"fit gmm --out first {FIT} --quiet")
    said = aevb(f"fit gmm --out second --start first --posterior full --prior mixture {FIT}")
    fresh = (
        "begun with first; begun afresh: posterior full but for its mean and variance, prior"
        " mixture\n"
    )
    assert (said.code, said.err) == (0, fresh)
    done(f"fit gmm --out same --start first {FIT}")
    done(f"fit gmm --out quiet --start first --prior mixture {FIT} --quiet")
    assert settings("second")["start"] == str(Path("first").absolute())
    done("fit --resume --out second --epochs 3 --quiet")
    for wrong, code in (
        (f"--start nowhere {FIT}", 66),
        (f"--start '' {FIT}", 2),
        (f"--start first {FIT.replace('--hidden 8', '--hidden 9')}", 2),
    ):
        result = aevb(f"fit gmm --out third {wrong}")
        assert (result.code, result.err.count("\n")) == (code, 1)
        assert not Path("third").exists()


def test_changed_settings_are_refused_on_resuming(no_pictures):
    done(f"fit gmm --out run {FIT} --quiet")
    Path("other.toml").write_text("hidden = [8, 8]\n")
    before = tree(".")
    for change, says in [
        ("--beta 2", "beta 1.0 (now 2.0)"),
        ("--seed 1", "seed 0 (now 1)"),
        ("--config other.toml", "hidden (8,) (now (8, 8))"),
        ("--epochs 4 --latent-dim 3", "latent_dim 2 (now 3)"),
    ]:
        code, _, err = aevb(f"fit --resume --out run {change} --quiet")
        assert (code, says in err, err.count("\n")) == (2, True, 1), err
    assert aevb("fit moons --resume --out run --quiet").code == 2
    assert tree(".") == before


def test_a_run_is_not_made_shorter_than_it_is_and_not_silently_than_was_planned(no_pictures):
    """--epochs is the length of the whole run; somebody who means "two more" must not lose what was
    planned."""
    done(f"fit gmm --out run {FIT} --quiet".replace("--epochs 2", "--epochs 3"))
    before = tree(".")
    code, _, err = aevb("fit --resume --out run --epochs 2")
    assert (code, err.count("\n")) == (2, 1), err
    for piece in ("at least the 3 that it has begun, of 3", "got 2", "Leave it out to go on to 3"):
        assert piece in err
    assert tree(".") == before
    done("fit --resume --out run --epochs 3 --quiet")


def test_a_plan_that_is_shortened_is_said(no_pictures, monkeypatch):
    from aevb.training import loop

    summarise, epochs = loop.summarise, []

    def interrupted(*arguments):
        epochs.append(1)
        if len(epochs) == 3:
            signal.raise_signal(signal.SIGINT)
        return summarise(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "summarise", interrupted)
        aevb(f"fit gmm --out run {FIT} --quiet".replace("--epochs 2", "--epochs 9"))
    assert manifest("run")["progress"]["epoch"] == 2
    assert aevb("fit --resume --out run --epochs 1 --quiet").code == 2
    code, out, err = aevb("fit --resume --out run --epochs 4")
    assert (code, err) == (0, "the run was planned for 9 epochs and will now end after 4\n")
    assert re.search(r"trained +2 epochs, \d+ steps, in [0-9.]+ s: from epoch 3 to 4\n", out)
    assert "trained    nothing: 4 epochs were done before, as planned\n" in done(
        "fit --resume --out run"
    )
    done("sample run -n 3 -o whole.csv")


def test_changed_data_is_refused_on_resuming(place, no_pictures):
    """Other rows mean another transform: the weights would go on as if columns had changed their
    units."""
    table = pd.read_csv(place / "table.csv")
    table.to_csv("table.csv", index=False)
    done(f"fit table.csv --out run {FIT} --quiet")
    for change in (table * [100, 1, 1], table.iloc[:, :2]):
        change.to_csv("table.csv", index=False)
        before = tree(".")
        code, _, err = aevb("fit --resume --out run --epochs 3 --quiet")
        assert (code in (2, 65), err.count("\n")) == (True, 1), (code, err)
        assert tree(".") == before


def test_resuming_on_another_number_of_threads_is_said(no_pictures):
    done(f"fit gmm --out run {FIT} --quiet")
    code, out, err = aevb("fit --resume --out run --epochs 3 --threads 2 --json")
    assert (code, json.loads(out)["epochs"], err.count("\n")) == (0, 3, 1)
    assert "trained with --threads 1 so far and goes on with 2" in err
    done("fit --resume --out run --epochs 4 --json --threads 2")


def python(code, *arguments, **options):
    options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True} | options
    return subprocess.Popen([sys.executable, "-c", code, *arguments], **options)


def test_torch_is_imported_only_to_work():
    """Help, version and errors of usage answer at once."""
    code = """
import io, json, sys
from contextlib import redirect_stderr, redirect_stdout
import aevb
assert "torch" not in sys.modules, "import aevb"
from aevb.commands.cli import main
for line, expected in json.loads(sys.argv[1]):
    with redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        try: main(line.split())
        except SystemExit as exit_: code = exit_.code
    assert code == expected, (line, code)
    assert "torch" not in sys.modules, line
"""
    lines = [
        ("--help", 0),
        ("--version", 0),
        ("fit --help", 0),
        ("demo --help", 0),
        ("", 0),
        ("evaluate -h", 0),
    ]
    wrong = [
        "fti",
        "fit gmm",
        "sample",
        "fit gmm --out r --bta 2",
        "fit gmm --out r --likelihood gausian",
        "plot",
    ]
    wrong += [
        "fit gmm --out r --latent-dim 0",
        "fit gmm --out r --epochs x",
        "fit gmm --out r --hidden 5,x",
        "demo more",
    ]
    process = python(code, json.dumps(lines + [(line, 2) for line in wrong]))
    assert (process.communicate()[1], process.returncode) == ("", 0)


def check_continues(run, result, code):
    """An interrupted run says how to continue, and does so to the bits of a run that was left
    alone."""
    now, planned = manifest(run)["progress"]["epoch"], manifest(run)["config"]["epochs"]
    assert result == (
        code,
        "",
        (
            f"interrupted in epoch {now + 1} of {planned}. To continue: aevb fit --resume --out"
            f" {run}\n"
        ),
    )
    used = aevb(f"sample {run} -n 3 -o half.csv")
    assert (used.code, used.err) == (
        0,
        f"trained {now} of {planned} epochs; `aevb fit --resume --out {run}` goes on\n",
    )
    epochs = now + 2
    done(f"fit --resume --out {run} --epochs {epochs} --quiet")
    done(f"fit gmm --out straight {FIT} --quiet".replace("--epochs 2", f"--epochs {epochs}"))
    assert manifest(run)["files"] == manifest("straight")["files"]
    assert len(Path(run, "metrics.jsonl").read_text().splitlines()) == epochs


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_continues(number, code, no_pictures, monkeypatch):
    from aevb.training import loop

    epochs, summarise = [], loop.summarise

    def interrupted(*arguments):
        epochs.append(len(epochs) + 1)
        if len(epochs) == 3:
            signal.raise_signal(number)
        return summarise(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "summarise", interrupted)
        result = aevb(f"fit gmm --out run {FIT} --quiet".replace("--epochs 2", "--epochs 9"))
    assert 1 <= manifest("run")["progress"]["epoch"] < 3
    check_continues("run", result, code)


def test_a_terminated_process_continues(no_pictures):
    arguments = FIT.replace("--epochs 2", "--epochs 100000").split()
    process = python(
        "from aevb.commands.cli import main; main()",
        "fit",
        "gmm",
        "--out",
        "run",
        "--quiet",
        *arguments,
    )
    metrics, deadline = Path("run/metrics.jsonl"), time.monotonic() + 300
    while not metrics.exists() or metrics.read_text().count("\n") < 3:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.02)
    process.terminate()
    out, err = process.communicate(timeout=30)
    check_continues("run", Result(process.returncode, out, err), 143)


def test_a_reader_that_leaves_is_no_defect():
    read, write = os.pipe()
    os.close(read)
    code = (
        "from aevb.commands import cli; "
        "cli.make_app = lambda: lambda *_, **__: print('x' * 100_000); cli.main()"
    )
    process = python(code, stdout=write)
    os.close(write)
    assert (process.communicate()[1], process.returncode) == ("", 74)


def test_help_that_nobody_reads_is_no_defect():
    read, write = os.pipe()
    os.close(read)
    process = python("from aevb.commands.cli import main; main(['--help'])", stdout=write)
    os.close(write)
    assert (process.communicate()[1], process.returncode) == ("", 74)


CHECKS = [
    "reparameterization is differentiable",
    "closed-form KL is correct",
    "shapes line up",
    "prior samples decode to data-like points",
    "loss decreases over training",
    "z collapses to mu as logvar -> -inf",
]


@pytest.fixture
def short_demo(monkeypatch):
    from aevb.drill import experiment

    monkeypatch.setattr(experiment, "train", partial(experiment.train, 3))
    monkeypatch.setattr(demo, "DIGITS", replace(demo.DIGITS, hidden=(8,), epochs=2))


def test_demo_reports_figures_checks_and_pictures(short_demo):
    code, out, err = aevb("demo --out shown --json")
    assert (code, err) == (1, "")  # three epochs halve no loss
    report = json.loads(out)
    assert json.loads(Path("shown/demo.json").read_text()) == report
    assert [check["name"] for check in report["checks"]] == CHECKS
    assert [check["number"] for check in report["checks"] if not check["passed"]] == [4, 5]
    assert report["loss_last"] < report["loss_first"] < 10
    assert 0 <= report["fraction_within"] <= 1
    assert report["mean_distance"] > 0
    check_figures(report, ["digits_validation_bound"])
    for path in report["pictures"]:
        Image.open(path).verify()
    names = {Path(path).stem for path in report["pictures"]}
    assert {"clusters", "samples", "manifold", "reconstructions"} <= names
    done("sample shown/digits -n 4 -o digits.npy")
    assert np.load("digits.npy").shape == (4, 8, 8)


def test_a_second_demo_replaces_the_first_and_nothing_else(short_demo, no_pictures):
    text = [aevb("demo").out]
    for name in ("notes.txt", "digits/stale.png"):
        Path("aevb-demo", name).write_text("mine")
    text.append(aevb("demo").out)
    assert text[0] == text[1]
    assert all(f"check {number + 1}: {name}" in text[0] for number, name in enumerate(CHECKS))
    assert Path("aevb-demo/notes.txt").read_text() == "mine"
    assert not Path("aevb-demo/digits/stale.png").exists()


@pytest.mark.parametrize(
    "make", ["mkdir mine; touch mine/thesis.txt", "touch mine", "mkdir -p mine/digits"]
)
def test_demo_leaves_what_is_not_a_demo_alone(make, short_demo):
    subprocess.run(make, shell=True, check=True)
    before = tree(".")
    code, _, err = aevb("demo --out mine")
    assert (code, err.startswith("aevb: mine holds"), err.count("\n")) == (73, True, 1)
    assert tree(".") == before


def test_a_table_may_come_from_standard_input(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    table = "a,b\n" + "".join(f"{i},{i % 7 + 0.5}\n" for i in range(40))
    for line in (
        "fit - --out run --epochs 1 --hidden 4 --latent-dim 1 --quiet",
        "score run - -o s.csv --samples 2 --quiet",
        "encode run - -o z.npy",
    ):
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(table.encode())))
        done(line)
    assert np.load("z.npy").shape == (40, 1)
    assert aevb("sample run -o -").code == 2
