"""Every part that the command line offers, through fit, sample, evaluate and refit on one small
data set."""

import json
import re
from functools import partial

import numpy as np
import pytest
from helpers import aevb, check_figures, done, manifest, tree
from PIL import Image

from aevb.evaluation import ais

FIT = "--hidden 16 --latent-dim 2 --epochs 1 --threads 1"
MODELS = {
    "--likelihood discretized_logistic": {"likelihood": "discretized_logistic"},
    "--likelihood categorical": {"likelihood": "categorical"},
    "--likelihood poisson": {"likelihood": "poisson"},
    "--likelihood negative_binomial": {"likelihood": "negative_binomial"},
    "--likelihood gaussian_optimal": {"likelihood": "gaussian_optimal"},
    "--likelihood gaussian_network": {"likelihood": "gaussian_network"},
    "--likelihood gaussian_per_dimension": {"likelihood": "gaussian_per_dimension"},
    "--posterior full --decay 0.5": {"posterior": "full", "decay": 0.5},
    "--posterior flow": {"posterior": "flow"},
    "--posterior spline_flow": {"posterior": "spline_flow"},
    "--prior mixture --components 3": {"prior": "mixture", "components": 3},
    "--prior vamp --components 5": {"prior": "vamp", "components": 5},
    "--prior flow": {"prior": "flow", "components": None},
    "--prior full_mixture --components 3": {"prior": "full_mixture", "components": 3},
    "--network conv --hidden 4,8": {"network": "conv", "hidden": [4, 8]},
    "--objective iwae --samples 3": {"objective": "iwae", "samples": 3},
    "--objective dreg --samples 3": {"objective": "dreg", "samples": 3},
    "--objective stl": {"objective": "stl"},
    "--skip": {"skip": True},
    "--decoder-hidden 8": {"decoder_hidden": [8]},
}
DRAWN = ("--likelihood discretized_logistic", "--posterior flow", "--network conv --hidden 4,8")
"""Whose page is drawn: that takes longer than all the rest."""
LEVELS = ("discretized_logistic", "categorical")
COUNTS = ("poisson", "negative_binomial")


@pytest.fixture(autouse=True)
def _a_place_of_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FORCE_COLOR", raising=False)
    monkeypatch.setattr("aevb.runs.pictures.draw", lambda *_: [])


@pytest.fixture
def no_page(monkeypatch):
    monkeypatch.setattr("aevb.plots.save", lambda _, path: path)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A model of the default parts."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("aevb.runs.pictures.draw", lambda *_: [])
        path = tmp_path_factory.mktemp("place") / "run"
        done(f"fit digits --out {path} {FIT} --quiet")
        return path


def fit(options):
    settings = FIT.replace("--hidden 16 ", "") if "--hidden" in options.split() else FIT
    return json.loads(done(f"fit digits --out run {settings} {options} --json"))


def evaluate(path, options=""):
    return json.loads(done(f"evaluate {path} --samples 20 --rows 30 {options} --json"))


def check_report(report):
    check_figures(
        report,
        ("bound", "reconstruction", "kl", "log_likelihood", "mutual_information", "baseline"),
    )
    figures = {
        name: figure
        for name, figure in report.items()
        if isinstance(figure, dict) and "standard_error" in figure
    }
    assert "active_units" in figures
    for name, figure in figures.items():
        assert isinstance(figure["unit"], str), name
        assert np.isfinite(figure["value"]), name
        assert figure["standard_error"] is None or figure["standard_error"] >= 0, name
    for name in ("bound", "reconstruction", "kl", "log_likelihood", "baseline"):
        assert figures[name]["standard_error"] > 0
    assert 0 <= figures["active_units"]["value"] <= 2
    assert figures["log_likelihood"]["samples"] == 20
    assert 1 <= figures["log_likelihood"]["effective_sample_size"] <= 20
    value = {name: figure["value"] for name, figure in figures.items()}
    assert value["bound"] == pytest.approx(value["reconstruction"] - value["kl"])
    assert value["gap"] == pytest.approx(value["log_likelihood"] - value["bound"])
    assert report["rows"] == 30


@pytest.mark.parametrize(("options", "settings"), MODELS.items(), ids=MODELS)
def test_every_part_is_trained_sampled_and_measured(options, settings, monkeypatch):
    if options not in DRAWN:
        monkeypatch.setattr("aevb.plots.save", lambda _, path: path)
    report = fit(options)
    check_figures(report, ("bound", "reconstruction", "kl", "validation_bound", "baseline"))
    assert isinstance(report["warnings"], list)
    assert all(warning["message"] for warning in report["warnings"])
    saved = manifest("run")["config"]
    assert {name: saved[name] for name in settings} == settings
    expected = settings.get(
        "likelihood", "bernoulli"
    )  # most of the grey levels of digits are nearly black or white
    assert (report["data"]["likelihood"], manifest("run")["likelihood"]) == (expected, expected)
    for noise in ("--mean", "", "--noise"):
        done(f"sample run -n 7 -o x{noise}.npy {noise}")
        x = np.load(f"x{noise}.npy")
        assert x.shape == (7, 8, 8)
        assert np.isfinite(x).all()
    if expected in COUNTS:
        assert np.array_equal(np.load("x.npy"), np.round(np.load("x.npy")))
        assert not np.array_equal(np.load("x--mean.npy"), np.round(np.load("x--mean.npy")))
    if expected in LEVELS:
        assert np.array_equal(x, np.round(x))
        assert x.min() >= 0
        assert x.max() <= 16
        assert len(np.unique(x)) > 5
    measured = evaluate("run")
    check_report(measured)
    assert expected in measured["likelihood"]
    kind = dict.fromkeys(LEVELS + COUNTS, "probability") | {"bernoulli": "on grey levels"}
    assert kind.get(expected, "density") in measured["likelihood"]
    assert measured["picture"] == "run/pictures/evaluation.png"
    if options in DRAWN:
        Image.open(measured["picture"]).verify()


@pytest.mark.parametrize(
    "options", ["--prior vamp --components 5 --posterior flow", "--likelihood categorical"]
)
def test_the_seed_decides_what_evaluate_says(options, no_page):
    fit(options)
    first, again, other = (evaluate("run", f"--seed {seed}") for seed in (0, 0, 1))
    assert first == again
    assert first["bound"]["value"] != other["bound"]["value"]
    assert first["log_likelihood"]["value"] != other["log_likelihood"]["value"]


def test_annealing_adds_its_figures(run, no_page, monkeypatch):
    monkeypatch.setattr("aevb.runs.report.MOST_ANNEALED", 4)
    for name in ("ais_rows", "sandwich"):
        monkeypatch.setattr(
            f"aevb.runs.report.{name}", partial(getattr(ais, name), temperatures=5, leapfrogs=2)
        )
    plain, annealed = evaluate(run), evaluate(run, "--ais")
    check_report(annealed)
    added = {"ais_log_likelihood", "ais_lower", "ais_upper", "ais_gap"}
    assert annealed.keys() - plain.keys() == added
    assert annealed["ais_log_likelihood"]["rows"] == 4
    check_figures(annealed, sorted(added))
    value = {name: annealed[name]["value"] for name in added}
    assert value["ais_gap"] == pytest.approx(value["ais_upper"] - value["ais_lower"])
    assert {name: plain[name] for name in ("bound", "log_likelihood")} == {
        name: annealed[name] for name in ("bound", "log_likelihood")
    }


@pytest.mark.parametrize(
    ("options", "prior", "components"),
    [
        ("--prior mixture --components 3", "mixture", 3),
        ("--prior flow", "flow", None),
        ("--prior flow_matching", "flow_matching", None),
    ],
)
def test_a_refitted_run_is_a_run(run, options, prior, components, no_page, monkeypatch):
    monkeypatch.setattr("aevb.runs.refit.STEPS", 20)
    before = tree(run)
    text = done(f"refit {run} --out again {options}")
    printed = re.search(
        r"^bound +(\S+) -> (\S+) nats per row, on the validation rows$", text, re.MULTILINE
    )
    assert np.isfinite([float(printed[1]), float(printed[2])]).all()
    assert tree(run) == before
    saved, old = manifest("again")["config"], manifest(run)["config"]
    assert saved["prior"].removeprefix("full_") == prior
    assert saved == old | {"prior": saved["prior"], "components": components}
    assert text.startswith("prior      ")
    measured = evaluate("again")
    check_report(measured)
    reconstruction = evaluate(run)["reconstruction"]["value"]
    assert measured["reconstruction"]["value"] == pytest.approx(
        reconstruction, rel=1e-5
    )  # only the prior is another
    done("sample again -n 7 -o x.npy")
    assert np.load("x.npy").shape == (7, 8, 8)
    done(f"refit {run} --out third {options}")
    assert manifest("third")["files"] == manifest("again")["files"]


def test_a_refitted_mixture_raises_the_bound(run):
    text = done(f"refit {run} --out again")
    before, after = map(float, re.search(r"bound +(\S+) -> (\S+) nats", text).groups())
    assert after > before
    assert manifest("again")["config"]["prior"] in ("mixture", "full_mixture")


def test_refit_says_how_digits_were_binarised():
    done(f"fit digits --out run {FIT} --quiet --likelihood bernoulli --binarize static")
    assert (
        "log p      bernoulli on grey levels binarised once at random, P(1) = grey level\n"
        in done("refit run --out again")
    )


def test_refit_asks_whether_it_can_write_before_it_fits(run, monkeypatch, tmp_path):
    monkeypatch.setattr(
        "aevb.runs.refit.refit_prior", lambda *_, **__: pytest.fail("it was fitted first")
    )
    (tmp_path / "file").write_text("")
    before = tree(tmp_path)
    refused = aevb(f"refit {run} --out file/again")
    assert (refused.code, refused.err.count("\n")) == (74, 1)
    assert "file/again could not be written" in refused.err
    assert tree(tmp_path) == before


def test_a_refit_that_comes_to_nothing_leaves_nothing(run, monkeypatch, tmp_path):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("aevb.runs.refit.refit_prior", interrupted)
    assert aevb(f"refit {run} --out new/again").code == 130
    assert tree(tmp_path) == {}


def test_evaluate_says_how_digits_were_binarised(no_page):
    report = fit("--likelihood bernoulli --binarize dynamic")
    assert report["data"]["likelihood"] == "bernoulli"
    says = "bernoulli on grey levels "
    text = done("evaluate run --samples 20 --rows 30")
    assert says in text
    assert "binari" in text.partition(says)[2].partition("\n")[0]
    measured = evaluate("run")
    check_report(measured)
    assert says in measured["likelihood"]
    done("sample run -n 7 --noise -o x.npy")
    assert set(np.unique(np.load("x.npy"))) <= {0, 16}
