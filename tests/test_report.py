"""Evaluations, against a model whose log p(x) is known, in the data's own units."""

import math
from dataclasses import replace
from functools import partial

import numpy as np
import pytest
import torch
from oracle import LinearGaussian
from torch.distributions import Normal

import aevb
from aevb.datasets import load
from aevb.datasets.schema import Data, Schema
from aevb.errors import UsageError
from aevb.evaluation.baseline import fit_baseline
from aevb.runs import report
from aevb.runs.run import Run

SMALL = aevb.Config(hidden=(16,), latent_dim=2, epochs=3, threads=1, validation="0.2")
QUICK = {"samples": 100}
FEW = np.arange(60)
"""Rows to evaluate where it does not matter how many they are: most of the time is theirs."""


def known_run(scale=1.0):
    """The linear-Gaussian model as a run on rows of ``scale`` times its numbers, and such rows."""
    torch.manual_seed(0)
    known = LinearGaussian()
    known.set_posterior(0.3, 1.5)
    schema = Schema("real", (4,), "float64", (0.0,) * 4, (scale,) * 4)
    run = Run(known.model.float(), aevb.Config(latent_dim=2), "gaussian_fixed", schema, "nowhere")
    rows = known.sample(300)
    run.baseline = fit_baseline(known.sample(500), "real")
    return known, run, Data((rows * scale).numpy(), "rows"), rows


def test_figures_of_a_model_that_is_known():
    known, run, data, rows = known_run()
    measured = report.evaluate(run, data, samples=2000)
    figures, truth = measured.figures, float(known.marginal.log_prob(rows).mean())
    assert figures["log_likelihood"].value == pytest.approx(truth, abs=0.01)
    assert figures["gap"].value == pytest.approx(
        known.gap(0.3, 1.5), abs=5 * figures["gap"].standard_error
    )
    assert figures["gap"].value == pytest.approx(
        figures["log_likelihood"].value - figures["bound"].value, abs=1e-9
    )
    assert figures["bits_per_dim"].value == pytest.approx(
        -figures["log_likelihood"].value / (4 * math.log(2))
    )
    assert figures["noise"].value == pytest.approx(math.sqrt(0.3))
    assert figures["active_units"].value == 2
    assert set(measured.per_row) == {"bound", "log_likelihood", "baseline"}
    assert {"classifier_accuracy", "energy_p_value", "recall"} <= set(figures)
    assert "memorised" not in figures
    # Draws from the model itself: a classifier does no better than chance but once in 1.7 million
    # times.
    assert (
        abs(figures["classifier_accuracy"].value - 0.5)
        < 5 * figures["classifier_accuracy"].standard_error
    )
    assert [finding.name for finding in measured.findings] == []


@pytest.fixture
def quick_annealing(monkeypatch):
    """A fifth of the temperatures; tests/test_ais.py says what their number does."""
    for name in ("ais_rows", "sandwich"):
        monkeypatch.setattr(report, name, partial(getattr(report, name), temperatures=20))


@pytest.mark.usefixtures("quick_annealing")
def test_densities_are_those_of_the_data_in_its_own_units(monkeypatch):
    monkeypatch.setattr(report, "MOST_ANNEALED", 3)
    figures = []
    for scale in (1.0, 1000.0):
        _, run, data, _ = known_run(scale)
        figures.append(report.evaluate(run, data, samples=50, ais=True).figures)
    moved = 4 * math.log(1000)
    for name in (
        "bound",
        "reconstruction",
        "log_likelihood",
        "baseline",
        "ais_log_likelihood",
        "ais_lower",
        "ais_upper",
    ):
        assert figures[0][name].value - figures[1][name].value == pytest.approx(moved, abs=1e-2), (
            name
        )
    for name in ("kl", "gap", "ais_gap", "mutual_information"):
        assert figures[0][name].value == pytest.approx(figures[1][name].value, abs=1e-2), name


@pytest.mark.usefixtures("quick_annealing")
def test_annealing_agrees_with_the_truth(monkeypatch):
    monkeypatch.setattr(report, "MOST_ANNEALED", 20)
    known, run, data, rows = known_run()
    figures = report.evaluate(run, data, samples=50, ais=True).figures
    assert figures["ais_log_likelihood"].value == pytest.approx(
        float(known.marginal.log_prob(rows[:20]).mean()), abs=0.1
    )
    assert figures["ais_log_likelihood"].details["rows"] == 20
    for name in ("ais_lower", "ais_upper", "ais_gap"):
        assert figures[name].details == {"rows_of_its_own": 20}
    assert figures["ais_lower"].value < figures["ais_upper"].value + 0.1


def test_baseline_is_the_independent_columns_of_the_training_rows():
    data = load("gmm")
    run = aevb.fit(data, replace(SMALL, validation="0"))
    test = load("gmm:test").take(FEW)
    mean, std = (torch.from_numpy(f(data.rows.astype(float), axis=0)) for f in (np.mean, np.std))
    expected = Normal(mean, std).log_prob(torch.from_numpy(test.rows.astype(float))).sum(1).mean()
    assert report.evaluate(run, test, **QUICK).figures["baseline"].value == pytest.approx(
        float(expected), abs=1e-4
    )


def test_baseline_of_categories_is_their_smoothed_frequencies():
    """Three columns of four values, drawn with unequal chances.

    Every factor is (count + 1) / (N + 4).
    """
    rng = np.random.default_rng(0)
    train, test = (rng.choice(4, (n, 3), p=(0.6, 0.25, 0.1, 0.05)) for n in (200, 80))
    train[0] = 0, 1, 3  # all values are there, whatever the seed
    run = aevb.fit(Data(train, "rows"), replace(SMALL, likelihood="categorical", validation="0"))
    frequencies = np.stack(
        [(np.bincount(column, minlength=4) + 1) / (200 + 4) for column in train.T]
    )
    expected = np.log(np.take_along_axis(frequencies, test.T, 1)).sum(0)
    measured = report.evaluate(run, Data(test, "rows"), **QUICK)
    assert measured.figures["baseline"].value == pytest.approx(expected.mean())
    assert measured.figures["baseline"].standard_error == pytest.approx(
        expected.std(ddof=1) / math.sqrt(80)
    )
    assert measured.per_row["baseline"] == pytest.approx(expected)
    assert "bits_per_dim" in measured.figures


def test_a_model_that_learned_its_rows_by_heart_is_told_in_evaluation():
    """Independent noise: what is learned of 40 rows of it is worth nothing on others."""
    rng = np.random.default_rng(0)
    train, test = (Data(rng.normal(size=(n, 10)), "rows") for n in (40, 200))
    run = aevb.fit(
        train,
        replace(SMALL, hidden=(64,), latent_dim=5, epochs=300, learning_rate=0.01, validation="0"),
    )
    found = {
        finding.name: finding.message for finding in report.evaluate(run, test, **QUICK).findings
    }
    assert "overfitting" in found
    trained, held_out = run.history[-1]["bound"], run.evaluate(test)["bound"].value
    assert trained - held_out > 1
    assert f"bound {trained:.2f} on training rows" in found["overfitting"]
    again = report.evaluate(run, train, **QUICK).findings
    assert "overfitting" not in [finding.name for finding in again]


def test_a_log_likelihood_that_rests_on_a_few_draws_is_told_in_evaluation():
    """q(z|x) is far from the posterior, and a hundredth as wide: one draw outweighs all others."""
    known, run, data, rows = known_run()
    well = report.evaluate(run, data, **QUICK)
    assert "unreliable_log_likelihood" not in [finding.name for finding in well.findings]
    q = run.model.posterior
    with torch.no_grad():
        q.mu.bias += 3
        q.logvar.bias -= math.log(100)
    measured = report.evaluate(run, data, **QUICK)
    figure, found = (
        measured.figures["log_likelihood"],
        {each.name: each.message for each in measured.findings},
    )
    assert figure.details["unreliable_rows"] > 0.7
    assert figure.details["effective_sample_size"] < 10
    assert found["unreliable_log_likelihood"].startswith(
        f"unreliable log likelihood: {figure.details['unreliable_rows']:.0%} of the rows rest on"
        " fewer than 10"
    )
    assert figure.value < float(known.marginal.log_prob(rows).mean()) - 1  # and so it is: too low


def test_noise_that_depends_on_z_is_told_as_its_root_mean_square():
    """The variances of two columns are a quarter and four times the data's.

    Then they vary with z, and then they are nearly 0.
    """
    rng = np.random.default_rng(0)
    data = Data(rng.normal(size=(300, 2)) * (100, 1), "rows")
    run = aevb.fit(
        data, replace(SMALL, likelihood="gaussian_network", hidden=(4,), latent_dim=1, epochs=1)
    )
    last = run.model.decoder[-1]
    with torch.no_grad():
        last.weight.zero_()
        last.bias.copy_(torch.tensor([0.0, 0.0, math.log(0.25), math.log(4.0)]))
    figure = report.evaluate(run, data, **QUICK).figures["noise"]
    assert (figure.details["least"], figure.details["greatest"]) == pytest.approx((0.5, 2.0))
    assert figure.value == pytest.approx(math.sqrt((0.25 + 4) / 2))
    with torch.no_grad():
        last.weight[2:] = 0.3
    p = run.model.likelihood_given(
        torch.from_numpy(report.evaluate(run, data, **QUICK).codes).float()
    )
    expected = sorted(p.variance.mean(0).sqrt().tolist())
    figure = report.evaluate(run, data, **QUICK).figures["noise"]
    assert (figure.details["least"], figure.details["greatest"]) == pytest.approx(
        tuple(expected), rel=1e-5
    )
    with torch.no_grad():
        last.weight.zero_()
        last.bias[3] = math.log(1e-4**2)
    for findings in (
        report.evaluate(run, data, **QUICK).findings,
        report.after_training(run, data)[1],
    ):
        assert "vanishing_variance" in [finding.name for finding in findings]
    binary = aevb.fit(load("digits"), replace(SMALL, likelihood="bernoulli", epochs=1))
    assert "noise" not in report.evaluate(binary, load("digits").take(FEW), **QUICK).figures


def test_a_weight_of_the_kl_is_left_out_of_the_bound():
    """The same weights, said to be trained with another beta, have the same bound."""
    run = aevb.fit(load("gmm"), SMALL)
    plain, weighted = (
        report.evaluate(
            replace(run, config=replace(SMALL, beta=beta)), load("gmm:test").take(FEW), **QUICK
        ).figures
        for beta in (1.0, 9.0)
    )
    assert plain == weighted


def test_the_seed_decides_and_the_generator_is_left_alone():
    run, test = aevb.fit(load("gmm"), SMALL), load("gmm:test").take(FEW)
    state = torch.get_rng_state()
    first, again, other = (
        report.evaluate(run, test, seed=seed, **QUICK).figures for seed in (0, 0, 1)
    )
    assert torch.equal(torch.get_rng_state(), state)
    assert str(first) == str(again)
    assert first["log_likelihood"] != other["log_likelihood"]


def test_memorised_rows_need_the_training_rows():
    run = aevb.fit(load("gmm"), SMALL)
    test = load("gmm:test").take(FEW)
    figures = report.evaluate(run, test, training=load("gmm"), **QUICK).figures
    assert {"memorised", "distance_to_training"} <= set(figures)


def test_a_border_that_hardly_changes_does_not_outweigh_a_picture():
    """There is one grain of dust on a border of 28 pixels.

    In the border's own units, that of a sample was thousands of deviations away.
    """
    rng = np.random.default_rng(0)
    rows = np.zeros((300, 8, 8), np.uint8)
    rows[:, 1:7, 1:7] = rng.integers(0, 256, (300, 6, 6))
    rows[0, 0, :] = 1
    run = aevb.fit(Data(rows, "pictures"), replace(SMALL, likelihood="gaussian", epochs=1))
    figures = report.evaluate(
        run, Data(rows, "pictures"), training=Data(rows, "pictures"), **QUICK
    ).figures
    assert (
        figures["distance_to_training"].value < 20
    )  # two pictures are sqrt(2 * 64) = 11 apart on average
    assert figures["energy_distance"].value < 20


def test_kl_by_dimension_is_given_where_it_has_a_closed_form():
    runs = [
        aevb.fit(load("gmm"), replace(SMALL, **change))
        for change in ({}, {"prior": "mixture"}, {"posterior": "flow"})
    ]
    found = [report.evaluate(run, load("gmm:test").take(FEW), **QUICK) for run in runs]
    assert [each.kl_per_dimension is None for each in found] == [False, True, True]
    assert found[0].kl_per_dimension.sum() == pytest.approx(found[0].figures["kl"].value, rel=1e-5)


@pytest.mark.parametrize(
    ("binarize", "draws"), [("none", False), ("dynamic", True), ("static", True)]
)
def test_grey_levels_as_bernoulli_targets_are_compared_by_means(binarize, draws):
    run = aevb.fit(
        load("digits"), replace(SMALL, likelihood="bernoulli", binarize=binarize, epochs=1)
    )
    assert report.draws_are_data(run) == draws
    assert ("means" in report.what_is_compared(run)) == (not draws)
    word = {"none": "kept as targets", "dynamic": "anew at every step", "static": "binarised once"}[
        binarize
    ]
    assert word in report.what_log_p_is(run)


def test_a_collapsed_model_is_told_after_training_and_in_evaluation():
    data = load("digits")
    run = aevb.fit(data, replace(SMALL, beta=1000.0, likelihood="bernoulli"))
    baseline, findings = report.after_training(run, data)
    assert "posterior_collapse" in [finding.name for finding in findings]
    assert baseline.value == pytest.approx(float(run.baseline_rows(run.tensor(data)).mean()))
    measured = report.evaluate(run, data.take(np.arange(300)), **QUICK)
    assert "posterior_collapse" in [finding.name for finding in measured.findings]
    assert measured.figures["active_units"].value == 0


def test_a_model_below_its_baseline_is_told_after_training_as_in_evaluation():
    """The rows have very different norms, so the bound's own error bar is wide.

    Row by row, the model is a little worse.
    """
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(300, 6)) * rng.exponential(size=(300, 1)) * 5
    data = Data(rows, "rows")
    run = aevb.fit(
        data, replace(SMALL, likelihood="gaussian", epochs=1, learning_rate=1e-6, validation="0.3")
    )
    held_out = aevb.training.split.prepare(data, run.config).validation
    baseline, told = report.after_training(run, held_out)
    measured = report.evaluate(run, held_out, **QUICK)
    assert measured.figures["bound"].value == pytest.approx(
        run.kept_record["validation_bound"], abs=1e-4
    )
    margin = baseline.value - measured.figures["bound"].value
    assert 0 < margin < 3 * measured.figures["bound"].standard_error  # what was asked for before
    for findings in (told, measured.findings):
        assert "worse_than_baseline" in [finding.name for finding in findings]


def test_information_at_the_ceiling_of_few_rows_is_told():
    """q(z|x) is nearly a point for each row, so I(x; z) is all of log N.

    The rest of the information counts as marginal_kl.
    """
    _, run, data, _ = known_run()
    with torch.no_grad():
        run.model.posterior.logvar.bias -= 20
    measured = report.evaluate(run, data.take(np.arange(100)), **QUICK)
    figures = measured.figures
    assert figures["mutual_information"].value == pytest.approx(math.log(100), abs=1e-3)
    assert figures["marginal_kl"].details == {"at_most": figures["marginal_kl"].value}
    assert "information_ceiling" in [finding.name for finding in measured.findings]
    _, run, data, _ = known_run()
    measured = report.evaluate(run, data, **QUICK)
    assert measured.figures["marginal_kl"].details == {}


def test_grey_levels_as_bernoulli_targets_have_no_code_length():
    settings = replace(SMALL, likelihood="bernoulli", epochs=1)
    for binarize, known in (("none", False), ("threshold", True)):
        run = aevb.fit("digits", replace(settings, binarize=binarize))
        assert (
            "bits_per_dim"
            in report.evaluate(run, load("digits").take(np.arange(50)), **QUICK).figures
        ) == known


def test_what_is_left_out_is_said_and_whether_samples_can_be_told():
    _, run, data, _ = known_run()
    few = report.evaluate(run, data.take(np.arange(19)), **QUICK)
    assert few.left_out == [
        "samples were not compared with data: that needs 20 rows, and there are 19"
    ]
    assert report.verdict(few) == ""
    all_rows = report.evaluate(run, data, training=data.take(np.arange(5)), **QUICK)
    assert all_rows.left_out == [
        "copies of training rows were not looked for: these are 5, of 20 that are needed"
    ]
    assert report.verdict(all_rows).startswith(
        "cannot be told from data by these 300 rows: classifier_accuracy 0."
    )
    assert report.evaluate(run, data, training=data, **QUICK).left_out == []
    far = report.evaluate(run, Data(data.rows + 9, "rows"), **QUICK)
    assert (
        report.verdict(far)
        == "can be told from data, by classifier_accuracy 1.00, where chance is 0.5, and"
        " energy_p_value 0.005"
    )


def test_no_draws_are_refused():
    with pytest.raises(UsageError, match="samples must be at least 1; got 0"):
        report.evaluate(known_run()[1], known_run()[2], samples=0)
