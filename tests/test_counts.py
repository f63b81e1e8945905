"""Counts: the formulas, training at any rate, and the choice between the two likelihoods."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import SMALL, refuses
from scipy import stats

import aevb
from aevb.datasets.counts import count_likelihood
from aevb.datasets.planning import plan
from aevb.datasets.schema import Data
from aevb.errors import DataError
from aevb.evaluation.baseline import baseline_rows, fit_baseline
from aevb.parts.likelihoods.counts import NegativeBinomial, Poisson
from aevb.parts.networks.log_counts import LogCounts
from aevb.probability.counts import MOST, NegativeBinomialCounts, PoissonCounts

KINDS = ["poisson", "negative_binomial"]
MEANS = [1e-6, 0.01, 1.0, 1e3, 1e6]
SHAPES = [0.01, 1.0, 100.0, 1e6]
COUNTS = torch.tensor([[0.0], [1.0], [2.0], [70.0], [1000.0], [999_000.0], [1_100_000.0]])


def drawn(seed, shape=None, n=500):
    """Counts of two factors in 12 columns, whose means go from 0.05 to 1000: (n, 12)."""
    draws = np.random.default_rng(seed)
    weights = np.random.default_rng(99).normal(0, 0.8, (2, 12))
    mean = np.geomspace(0.05, 1000, 12) * np.exp(draws.normal(size=(n, 2)) @ weights)
    return draws.poisson(mean if shape is None else draws.gamma(shape, mean / shape))


# -------------------------------------------------------------------------------------------------
# formulas


@pytest.mark.parametrize("mean", MEANS)
def test_poisson_agrees_with_scipy(mean):
    found = PoissonCounts(torch.full((1,), mean, dtype=torch.float64).log()).log_prob(COUNTS)
    expected = stats.poisson.logpmf(COUNTS[:, 0].numpy(), mean)
    assert found.tolist() == pytest.approx(expected, rel=1e-9, abs=1e-6)


@pytest.mark.parametrize("mean", MEANS)
@pytest.mark.parametrize("shape", SHAPES)
def test_negative_binomial_agrees_with_scipy(mean, shape):
    of = torch.tensor([mean, shape], dtype=torch.float64).log()
    found = NegativeBinomialCounts(of[:1], of[1:]).log_prob(COUNTS)
    expected = stats.nbinom.logpmf(COUNTS[:, 0].numpy(), shape, shape / (shape + mean))
    # scipy rounds r / (r + m) to a double before it takes 1 minus that.
    rounding = float(COUNTS.max()) * 2e-16 * (shape + mean) / mean
    assert found.tolist() == pytest.approx(expected, rel=1e-8, abs=1e-5 + rounding)


@pytest.mark.parametrize("mean", [0.01, 1.0, 1e3, 1e6])
def test_negative_binomial_of_the_largest_shape_is_a_poisson(mean):
    """By less than m / (2 r) at counts within a few standard deviations, plus rounding."""
    log_mean = torch.full((1,), mean, dtype=torch.float64).log()
    k = (mean + math.sqrt(mean) * torch.arange(-2, 3)[:, None]).round().clamp(min=0)
    shape = torch.full((1,), 20.0, dtype=torch.float64)
    limit = NegativeBinomialCounts(log_mean, shape).log_prob(k)
    apart = (limit - PoissonCounts(log_mean).log_prob(k)).abs()
    assert float(apart.max()) < 5 * mean / math.exp(20) + 1e-5


@pytest.mark.parametrize("kind", [Poisson, NegativeBinomial])
def test_float32_features_give_the_probabilities_of_a_million(kind):
    """The sum over columns is taken in double precision; only the result is rounded."""
    p, x = kind(3), torch.tensor([[1_000_500.0, 999_000.0, 1_000_000.0]])
    p.initialise(x)
    assert p(torch.zeros(1, 3)).log_prob(x).dtype == torch.float32
    with torch.no_grad():
        exact = float(copied_in_double(p)(torch.zeros(1, 3).double()).log_prob(x.double()))
        assert float(p(torch.zeros(1, 3)).log_prob(x)) == pytest.approx(exact, rel=1e-6)


def copied_in_double(p):
    wide = type(p)(p.num_features).double()
    wide.load_state_dict(p.state_dict())
    return wide


@pytest.mark.parametrize("mean", [0.02, 3.0, 2000.0])
@pytest.mark.parametrize("shape", [None, 0.5, 20.0])
def test_draws_have_the_mean_and_the_variance(mean, shape):
    """Five standard errors each; all nine cases fail by chance once in 90,000 seeds."""
    log_mean = torch.full((1,), mean, dtype=torch.float64).log()
    of_shape = None if shape is None else torch.full((1,), shape, dtype=torch.float64).log()
    p = PoissonCounts(log_mean) if shape is None else NegativeBinomialCounts(log_mean, of_shape)
    torch.manual_seed(3)
    k = p.sample((100_000,))[:, 0]
    variance = float(p.variance)
    assert variance == pytest.approx(mean + (0 if shape is None else mean**2 / shape))
    squares = (k - mean).square()
    for values, truth in ((k, mean), (squares, variance)):
        assert abs(float(values.mean()) - truth) < 5 * float(values.std()) / math.sqrt(len(k))


def test_draws_stop_at_the_largest_integer_of_float32():
    k = NegativeBinomialCounts(torch.tensor([16.0]), torch.tensor([-2.0])).sample((1000,))
    assert float(k.max()) == MOST
    NegativeBinomial(1).check(k)


# -------------------------------------------------------------------------------------------------
# a fresh model


@pytest.mark.parametrize("kind", [Poisson, NegativeBinomial])
def test_a_fresh_network_starts_at_the_means_of_the_columns(kind):
    x = torch.as_tensor(drawn(0), dtype=torch.float32)
    p = kind(12)
    p.initialise(x)
    assert p(torch.zeros(12)).mean.tolist() == pytest.approx((x.mean(0) + 0.5 / 500).tolist())


def test_a_column_of_zeros_has_a_small_mean():
    p = Poisson(1)
    p.initialise(torch.zeros(50, 1))
    assert float(p(torch.zeros(1)).mean) == pytest.approx(0.01)


def test_the_shape_starts_at_the_one_of_the_moments():
    k = torch.as_tensor(np.random.default_rng(1).negative_binomial(3, 0.1, (20_000, 2))).float()
    p = NegativeBinomial(2)
    p.initialise(k)
    assert p.shape.tolist() == pytest.approx([3.0, 3.0], rel=0.1)


def test_logarithms_of_counts_have_mean_0_and_deviation_1():
    x = torch.as_tensor(drawn(0), dtype=torch.float32)
    front = LogCounts(12)
    front.initialise(x)
    logs = front(x)
    assert torch.allclose(logs.mean(0), torch.zeros(12), atol=1e-5)
    assert torch.allclose(logs.std(0, unbiased=False), torch.ones(12), atol=1e-4)


def test_logarithms_below_zero_have_a_gradient():
    """A VampPrior may move its inputs there."""
    x = torch.tensor([-3.0, 0.0, 3.0], requires_grad=True)
    LogCounts(3)(x).sum().backward()
    assert x.grad.tolist() == pytest.approx([1.0, 1.0, 0.25])


# -------------------------------------------------------------------------------------------------
# training


SHORT = replace(SMALL, hidden=(32,), batch_size=50, epochs=40, learning_rate=5e-3)


def test_training_recovers_means_and_shapes():
    """Independent columns: the relative error of a mean of N rows is sqrt((1/m + 1/r) / N)."""
    draws = np.random.default_rng(2)
    mean, shape = np.array([0.3, 5.0, 40.0, 900.0]), np.array([1.0, 0.5, 8.0, 3.0])
    x = draws.poisson(draws.gamma(shape, mean / shape, (1000, 4)))
    run = aevb.fit(x, replace(SHORT, likelihood="negative_binomial", epochs=25))
    found = np.log(run.sample(4000, noise=False).mean(0) / mean)
    assert (np.abs(found) < 6 * np.sqrt((1 / mean + 1 / shape) / 1000) + 0.05).all()
    learned = np.log(run.model.likelihood.shape.detach().numpy() / shape)
    assert (np.abs(learned) < 0.4).all()
    # No model has a higher log p on average than the truth: its distance is a KL divergence.
    new = draws.poisson(draws.gamma(shape, mean / shape, (500, 4)))
    truth = stats.nbinom.logpmf(new, shape, shape / (shape + mean)).sum(1)
    lost = truth - run.score(new, samples=50)["log_likelihood"]
    assert lost.mean() > -5 * lost.std() / math.sqrt(500)
    assert lost.mean() < 0.15


@pytest.mark.parametrize("kind", KINDS)
def test_a_bound_lies_below_log_p_and_z_is_worth_something(kind, runs):
    """On average over 300 new rows. Independent columns know nothing of the two factors."""
    run, new = runs[kind], drawn(8, None if kind == "poisson" else 4.0, 300)
    scores = run.score(new, samples=200)
    assert scores["bound"].mean() < scores["log_likelihood"].mean()
    assert scores["log_likelihood"].mean() > scores["baseline"].mean() + 2


@pytest.fixture(scope="module")
def runs():
    """A model of each kind, of 500 rows that this kind suits."""
    shapes = {"poisson": None, "negative_binomial": 4.0}
    return {
        kind: aevb.fit(drawn(7, shape), replace(SHORT, likelihood=kind))
        for kind, shape in shapes.items()
    }


def test_counts_are_better_described_than_by_a_gaussian(runs):
    """By at least 3 nats a row. A Gaussian's density is integrated over the cell of each count.
    Both are then probabilities of the same integers, and their bounds can be compared.
    """
    gaussian = aevb.fit(drawn(7, 4.0), replace(SHORT, likelihood="gaussian_per_dimension"))
    new, schema = drawn(8, 4.0, 300), gaussian.schema
    torch.manual_seed(0)
    with torch.no_grad():
        q = gaussian.model.posterior_given(gaussian.tensor(new))
        p = gaussian.model.likelihood_given(q.sample())
        mean = schema.to_data(p.mean.numpy())
    spread = np.exp(0.5 * gaussian.model.likelihood.logvar().detach().numpy()) * schema.scale
    # A difference in the nearer tail keeps its digits.
    ends = [(-np.abs(new - mean) + side) / spread for side in (0.5, -0.5)]
    cells = np.log(np.maximum(stats.norm.cdf(ends[0]) - stats.norm.cdf(ends[1]), 1e-300)).sum(1)
    bound = cells.mean() - float(gaussian.elbo_rows(new).kl.sum(-1).mean())
    assert float(runs["negative_binomial"].elbo_rows(new).bound.mean()) > bound + 3


def test_draws_are_counts_in_the_type_of_the_data(runs):
    run = runs["negative_binomial"]
    assert run.sample(50).dtype == np.int64
    assert run.sample(50, noise=False).dtype == np.float64
    spikes = np.random.default_rng(0).poisson(2.0, (100, 6, 5)).astype(np.uint8)
    of_pictures = aevb.fit(spikes, replace(SMALL, likelihood="poisson"))
    assert of_pictures.schema.kind == "counts"
    assert of_pictures.sample(20).dtype == np.uint8
    assert of_pictures.reconstruct(spikes).dtype == np.float32


def test_a_run_keeps_its_scales(runs, tmp_path):
    from aevb.storage import checkpoint

    run = aevb.fit(drawn(7), replace(SMALL, likelihood="negative_binomial"), out=tmp_path / "run")
    again, x = checkpoint.load(tmp_path / "run"), drawn(8, n=40)
    assert np.array_equal(again.score(x, samples=5)["bound"], run.score(x, samples=5)["bound"])
    started = replace(SMALL, likelihood="negative_binomial", start=str(tmp_path / "run"), epochs=1)
    other = aevb.fit(drawn(9) * 3, started)  # the decoder's numbers mean what they meant there
    assert torch.equal(other.model.likelihood.log_scale, run.model.likelihood.log_scale)
    assert torch.equal(other.model.encoder[0].centre, run.model.encoder[0].centre)


# -------------------------------------------------------------------------------------------------
# the baseline


def test_the_baseline_has_the_highest_likelihood():
    """Neither another mean nor another shape is better, unless it is a Poisson."""
    x = torch.as_tensor(drawn(4, 2.0)).float()[:, 4:]
    found = fit_baseline(x, "counts")
    best = baseline_rows(found, x, "counts").sum()
    for step in (0.02, -0.02):
        for row in (0, 1):
            other = found.clone()
            other[row] += step
            assert float(baseline_rows(other, x, "counts").sum()) < float(best)


@pytest.mark.parametrize("shape", [0.5, 4.0])
def test_the_baseline_recovers_the_shape(shape):
    x = np.random.default_rng(5).negative_binomial(shape, shape / (shape + 20), (20_000, 2))
    found = fit_baseline(torch.as_tensor(x).float(), "counts").exp()
    assert found[0].tolist() == pytest.approx([20, 20], rel=0.1)
    assert found[1].tolist() == pytest.approx([shape, shape], rel=0.1)


def test_the_baseline_of_long_rows_sees_part_of_them(monkeypatch):
    x = np.random.default_rng(5).negative_binomial(2, 0.1, (4000, 2))
    monkeypatch.setattr("aevb.evaluation.baseline.MOST_NUMBERS", 2000)
    found = fit_baseline(torch.as_tensor(x).float(), "counts")
    assert found[0].tolist() == pytest.approx(np.log(x.mean(0)), abs=1e-3)
    assert found[1].tolist() == pytest.approx([math.log(2)] * 2, abs=0.3)


def test_the_baseline_of_poisson_columns_is_a_poisson():
    x = torch.as_tensor(np.random.default_rng(6).poisson([0.3, 30.0], (2000, 2))).float()
    found = baseline_rows(fit_baseline(x, "counts"), x, "counts").mean()
    expected = PoissonCounts(x.double().mean(0).log()).log_prob(x.double()).mean()
    assert -1e-5 < float(found - expected) < 2e-3


# -------------------------------------------------------------------------------------------------
# at the door


def planned(rows, likelihood="poisson"):
    return plan(Data(np.array(rows), "here"), likelihood, form_of=lambda _: "counts")


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([[0.5, 1.0], [2.0, 0.0]], "counts 0, 1, 2, ...; here has fractions such as 0.5"),
        ([[-1, 1], [2, 0]], "counts are whole numbers from 0; here has -1 at row 1, column 1"),
        ([[2**24 + 2, 1], [2, 0]], "up to 16777216, beyond which float32 lacks integers"),
    ],
)
def test_what_is_no_count_is_refused(rows, says):
    said = refuses(DataError, [says], planned, rows)
    assert "Use likelihood gaussian" in said or "give --kind table" in said


@pytest.mark.parametrize("dtype", [np.uint8, np.int16, np.uint64, np.float32, np.float64])
@pytest.mark.parametrize("shape", [(5,), (3, 4)])
def test_counts_survive_the_way_to_the_model_and_back(dtype, shape):
    rows = np.random.default_rng(0).integers(0, 200, (20, *shape)).astype(dtype)
    decided = planned(rows)
    assert (decided.schema.kind, decided.schema.white) == ("counts", None)
    x = decided.schema.to_model(Data(rows, "here"))
    assert np.array_equal(x, rows.reshape(20, -1))
    back = decided.schema.to_data(x)
    assert back.dtype == (dtype if np.dtype(dtype).kind in "ui" else np.int64)
    assert np.array_equal(back, rows)


def test_a_draw_beyond_the_type_of_the_data_is_not_cut():
    schema = planned(np.array([[1, 200], [3, 4]], np.uint8)).schema
    assert schema.to_data(np.array([[7.0, 300.0]])).tolist() == [[7, 300]]


def test_means_of_counts_are_not_rounded():
    schema = planned([[1, 200], [3, 4]]).schema
    assert schema.to_data(np.array([[0.0004, 300.0]])).tolist() == [[0.0004, 300.0]]


def test_new_rows_may_have_larger_counts(runs):
    scores = runs["poisson"].score(drawn(8, n=5) * 2, samples=5)
    assert np.isfinite(scores["log_likelihood"]).all()


@pytest.mark.parametrize(("value", "says"), [(-1.0, "got -1 to"), (0.5, "such as 0.5")])
def test_new_rows_that_are_no_counts_are_refused(runs, value, says):
    rows = drawn(8, n=5).astype(np.float64)
    rows[2, 3] = value
    refuses(DataError, ["needs counts", says], runs["poisson"].score, rows)


# -------------------------------------------------------------------------------------------------
# the choice


def test_poisson_columns_are_told_from_others():
    """A threshold of five standard errors: 40 tables of 20 columns give no false alarm."""
    draws = np.random.default_rng(10)
    for _ in range(40):
        rows = draws.poisson(np.geomspace(0.05, 1000, 20), (300, 20))
        assert count_likelihood(Data(rows, "here"))[0] == "poisson"


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        (drawn(11), "times their mean"),
        (drawn(11, 2.0), "times their mean"),
    ],
    ids=["rates that vary", "rates that vary beyond z"],
)
def test_varying_columns_get_a_negative_binomial(rows, says):
    name, reason = count_likelihood(Data(rows, "here"))
    assert (name, says in reason) == ("negative_binomial", True)


def test_one_column_of_many_is_enough():
    rows = np.random.default_rng(12).poisson(5.0, (200, 400))
    rows[:, 7] = np.random.default_rng(13).poisson(5 * np.random.default_rng(14).gamma(2, 0.5, 200))
    assert count_likelihood(Data(rows, "here")) == (
        "negative_binomial",
        "counts whose variance exceeds their mean in some columns",
    )


def test_counts_of_zero_and_rows_in_pictures_do_no_harm():
    assert count_likelihood(Data(np.zeros((5, 3), int), "here"))[0] == "poisson"
    assert count_likelihood(Data(np.eye(4, dtype=int), "here"))[0] == "poisson"
    spikes = np.random.default_rng(0).poisson(2.0, (100, 6, 5))
    assert count_likelihood(Data(spikes, "here"))[0] == "poisson"
