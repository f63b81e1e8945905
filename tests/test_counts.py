"""Counts: the formulas, training at any rate, and the choice between the two likelihoods."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import SMALL, refuses, trained
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


def drawn(seed, shape=None, n=700):
    """Counts of two factors in 12 columns, whose means go from 0.05 to 1000: (n, 12)."""
    draws = np.random.default_rng(seed)
    weights = np.random.default_rng(99).normal(0, 0.5, (2, 12))
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
    exact = copied_in_double(p)(torch.zeros(1, 3).double()).log_prob(x.double())
    assert float(p(torch.zeros(1, 3)).log_prob(x)) == pytest.approx(float(exact), abs=1e-4)


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
    assert p(torch.zeros(12)).mean.tolist() == pytest.approx((x.mean(0) + 0.5 / 700).tolist())


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
    assert x.grad.tolist() == pytest.approx([0.25, 1.0, 0.25])


# -------------------------------------------------------------------------------------------------
# training


SHORT = replace(SMALL, hidden=(32,), batch_size=64, epochs=60, learning_rate=3e-3)


def test_training_recovers_means_and_shapes():
    """Independent columns: a mean is known to 1/sqrt(N) of itself times sqrt(1/m + 1/r)."""
    draws = np.random.default_rng(2)
    mean, shape = np.array([0.3, 5.0, 40.0, 900.0]), np.array([1.0, 0.5, 8.0, 3.0])
    x = draws.poisson(draws.gamma(shape, mean / shape, (2000, 4)))
    run = aevb.fit(x, replace(SHORT, likelihood="negative_binomial", epochs=25))
    found = np.log(run.sample(4000, noise=False).mean(0) / mean)
    assert (np.abs(found) < 6 * np.sqrt((1 / mean + 1 / shape) / 2000) + 0.05).all()
    learned = np.log(run.model.likelihood.shape.detach().numpy() / shape)
    assert (np.abs(learned) < 0.4).all()
