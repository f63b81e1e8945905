"""Numbers that are missing: what is known of the others is exact, and what is drawn follows it."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import stats
from torch.distributions import MultivariateNormal

import aevb
from aevb.parts.likelihoods.mixed import Mixed
from aevb.probability.factors import Factor
from aevb.probability.first_mixture import Mixture, expect, fitted
from aevb.probability.partly_known import Beliefs, Conditional, given_known
from aevb.probability.regressions import filled

FALSE_ALARM = 1e-6
"""How often each statistical test fails by chance."""
C, Y = 4, 2


def regressions(seed=0, rows=6):
    """Random regressions of C residuals in Y components, and a pattern of what is known."""
    g = torch.Generator().manual_seed(seed)
    slopes = torch.randn(Y, C, C, generator=g, dtype=torch.float64).tril(-1)
    offsets = torch.randn(rows, C, Y, generator=g, dtype=torch.float64)
    log_scales = 0.5 * torch.randn(rows, C, Y, generator=g, dtype=torch.float64)
    known = torch.rand(rows, C, generator=g) < 0.6
    known[0], known[1] = True, False
    residuals = torch.randn(rows, C, generator=g, dtype=torch.float64)
    return residuals, known, offsets, log_scales, slopes


def joint(offsets, log_scales, slopes):
    """The mean and the covariance of one row's residuals in one component, by their definition."""
    inverse = np.linalg.inv(np.eye(C) - slopes.numpy())
    root = inverse * log_scales.exp().numpy()
    return inverse @ offsets.numpy(), root @ root.T


def of_gaussian(mean, covariance, r, given, target):
    """The mean and variance of r[target] given r[given], by the textbook formula."""
    if not len(given):
        return mean[target], covariance[target, target]
    gain = covariance[target, given] @ np.linalg.inv(covariance[np.ix_(given, given)])
    centre = mean[target] + gain @ (r[given] - mean[given])
    return centre, covariance[target, target] - gain @ covariance[given, target]


def test_each_known_residual_is_that_of_the_joint_gaussian():
    residuals, known, offsets, log_scales, slopes = regressions()
    centres, logs = given_known(residuals, known, offsets, log_scales, slopes)
    for i in range(len(residuals)):
        for y in range(Y):
            mean, covariance = joint(offsets[i, :, y], log_scales[i, :, y], slopes[y])
            for c in known[i].nonzero()[:, 0].tolist():
                given = [e for e in range(c) if known[i, e]]
                right = of_gaussian(mean, covariance, residuals[i].numpy(), given, c)
                assert centres[i, c, y].item() == pytest.approx(right[0], abs=1e-9)
                assert math.exp(2 * logs[i, c, y]) == pytest.approx(right[1], rel=1e-9)


def test_one_after_another_is_the_same_as_all_at_once():
    residuals, known, offsets, log_scales, slopes = regressions(1)
    centres, logs = given_known(residuals, known, offsets, log_scales, slopes)
    beliefs = Beliefs(len(residuals), slopes, hidden=True)
    for c in range(C):
        centre, log_scale = beliefs.next(c, offsets[:, c], log_scales[:, c])
        here = known[:, c]
        torch.testing.assert_close(centre[here], centres[here, c])
        torch.testing.assert_close(log_scale[here], logs[here, c])
        beliefs.see(c, residuals[:, c], here)


def test_hidden_residuals_are_conditioned_on_all_known_ones():
    residuals, known, offsets, log_scales, slopes = regressions(2)
    found = Conditional(residuals, known, offsets, log_scales, slopes)
    for i in range(len(residuals)):
        given = known[i].nonzero()[:, 0].tolist()
        for y in range(Y):
            mean, covariance = joint(offsets[i, :, y], log_scales[i, :, y], slopes[y])
            for c in (~known[i]).nonzero()[:, 0].tolist():
                right = of_gaussian(mean, covariance, residuals[i].numpy(), given, c)
                assert found.means[i, y, c].item() == pytest.approx(right[0], abs=1e-9)
                assert found.covariance[i, y, c, c].item() == pytest.approx(right[1], rel=1e-9)
            if given:
                block = covariance[np.ix_(given, given)]
                r = residuals[i].numpy()[given]
                right = stats.multivariate_normal.logpdf(r, mean[given], block)
                constant = 0.5 * len(given) * math.log(2 * math.pi)
                assert found.log_prob[i, y].item() - constant == pytest.approx(right, abs=1e-9)


def gaussian_model(missing=True):
    """A likelihood of three correlated real columns without z, and its joint distribution."""
    factors = [Factor(name, "real", density=True, gaps=missing) for name in "abc"]
    factors = [Factor(f.name, f.family, density=True, low=-99.0, high=99.0) for f in factors]
    model = Mixed(factors, 1, 0).double().eval()
    slopes = torch.tensor([[0.0, 0.0, 0.0], [0.8, 0.0, 0.0], [-0.5, 1.2, 0.0]]).double()
    logs = torch.tensor([0.1, -0.4, -1.0]).double()
    model.numbers.slopes.data[0], model.numbers.log_scales.data[0] = slopes, logs
    inverse = torch.linalg.inv(torch.eye(3).double() - slopes)
    root = inverse * logs.exp()
    return model.requires_grad_(False), root @ root.T


def test_log_p_of_what_is_known_is_that_of_the_marginal():
    model, covariance = gaussian_model()
    x = torch.randn(50, 3, dtype=torch.float64) * 2
    h = torch.zeros(model.num_features, dtype=torch.float64)
    for known in ([0], [1], [2], [0, 2], [1, 2], [0, 1, 2]):
        rows = torch.full_like(x, math.nan)
        rows[:, known] = x[:, known]
        block = covariance[known][:, known]
        right = MultivariateNormal(torch.zeros(len(known)).double(), block).log_prob(x[:, known])
        torch.testing.assert_close(model(h).log_prob(rows), right, rtol=0, atol=1e-6)


def test_numbers_are_drawn_given_all_that_are_known_and_weights_are_exact():
    model, covariance = gaussian_model()
    n = 20_000
    x = torch.tensor([math.nan, 1.0, -2.0]).double().expand(n, 3)
    h = torch.zeros(n, model.num_features, dtype=torch.float64)
    drawn, log_weight = model(h).complete(x)
    right = model(h[0]).log_prob(x[:1])
    # No draw is worth more than another: each has the weight p(known).
    torch.testing.assert_close(log_weight, right.expand(n), rtol=0, atol=1e-6)
    given = covariance.numpy()[np.ix_([1, 2], [1, 2])]
    gain = covariance.numpy()[0, [1, 2]] @ np.linalg.inv(given)
    spread = math.sqrt(covariance[0, 0] - gain @ covariance.numpy()[[1, 2], 0])
    p = stats.kstest(drawn[:, 0], stats.norm(gain @ [1.0, -2.0], spread).cdf).pvalue
    assert p > FALSE_ALARM


def test_mixtures_fill_and_score_as_their_definition_says():
    rng = np.random.default_rng(0)
    roots = rng.normal(size=(2, 3, 3))
    covariances = roots @ roots.transpose(0, 2, 1) + np.eye(3)
    means, weights = rng.normal(size=(2, 3)), np.array([0.3, 0.7])
    mixture = Mixture(*(torch.from_numpy(part) for part in (weights, means, covariances)))
    x = rng.normal(size=(5, 3))
    x[1, 0] = x[2, 1] = x[3, 0] = x[3, 2] = np.nan
    found = expect(mixture, torch.from_numpy(x))
    for i, row in enumerate(x):
        known = np.isfinite(row).nonzero()[0]
        for k in range(2):
            block = covariances[k][np.ix_(known, known)]
            right = stats.multivariate_normal.logpdf(row[known], means[k, known], block)
            assert found.log_prob[i, k].item() == pytest.approx(right + math.log(weights[k]))
            for c in np.isnan(row).nonzero()[0]:
                centre, variance = of_gaussian(means[k], covariances[k], row, known, c)
                assert found.filled[i, k, c].item() == pytest.approx(centre)
                assert found.spread[i, k, c, c].item() == pytest.approx(variance)


def test_regressions_of_a_mixture_have_its_covariance():
    rng = np.random.default_rng(1)
    found = fitted(rng.normal(size=(200, 3)) @ rng.normal(size=(3, 3)), 2)
    slopes, constants, logs = found.regressions()
    inverse = np.linalg.inv(np.eye(3) - slopes)
    root = inverse * np.exp(logs)[:, None, :]
    np.testing.assert_allclose(root @ root.transpose(0, 2, 1), found.covariances, atol=1e-9)
    means = (inverse @ constants[..., None])[..., 0]
    np.testing.assert_allclose(means, found.means, atol=1e-9)


def test_clusters_are_found_in_few_rows_with_holes():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(240, 5)) + 3 * rng.normal(size=(3, 5))[rng.integers(0, 3, 240)]
    x[rng.random(x.shape) < 0.2] = np.nan
    assert len(fitted(x).weights) == 3
    assert len(fitted(rng.normal(size=(240, 5))).weights) == 1


def test_filled_cells_keep_variances_and_correlations():
    rng = np.random.default_rng(0)
    x = rng.multivariate_normal([0, 0, 0], [[1, 0.8, 0.3], [0.8, 1, 0.5], [0.3, 0.5, 1]], 2000)
    holes = x.copy()
    holes[rng.random(x.shape) < 0.3] = np.nan
    np.testing.assert_allclose(np.cov(filled(holes).T), np.cov(x.T), atol=0.1)


def test_training_on_holes_reaches_the_log_p_of_the_linear_gaussian_model():
    rng = np.random.default_rng(0)
    loadings = rng.normal(size=(6, 2))
    covariance = loadings @ loadings.T + 0.3 * np.eye(6)
    x = rng.multivariate_normal(np.zeros(6), covariance, 5000)
    x[rng.random(x.shape) < 0.3] = np.nan
    x = x[np.isfinite(x).any(1)]
    train, test = x[:4000], x[4000:]
    run = aevb.fit(pd.DataFrame(train, columns=list("abcdef")), steps=300)
    right, found = [], []
    p_known = np.isfinite(test).mean()
    for row in test:
        known = np.isfinite(row).nonzero()[0]
        block = covariance[np.ix_(known, known)]
        right.append(stats.multivariate_normal.logpdf(row[known], np.zeros(len(known)), block))
    scores = run.score(pd.DataFrame(test, columns=list("abcdef")))
    found = np.asarray(scores["log_likelihood"])
    # Which cells are missing is a part of a row: known and missing ones are independent here.
    missing = np.isnan(test)
    right = np.array(right) + np.where(missing, math.log(0.3), math.log(0.7)).sum(1)
    assert 0.65 < p_known < 0.75
    difference = found - right
    error = difference.std() / math.sqrt(len(difference))
    assert abs(difference.mean()) < 0.08 + 5 * error


def chain_with_a_spike(missing):
    """Columns a, b, c that depend on each other; b may be exactly 0. missing: a may be, too."""
    factors = [
        Factor("a", "real", density=True, gaps=missing, low=-99.0, high=99.0),
        Factor("b", "real", density=True, values=(0.0,), low=-99.0, high=99.0),
        Factor("c", "real", density=True, low=-99.0, high=99.0),
    ]
    model = Mixed(factors, 2, 0).double().eval()
    g = torch.Generator().manual_seed(3)
    for weights in model.numbers.parameters():
        weights.data = 0.7 * torch.randn(weights.shape, generator=g, dtype=torch.float64)
    return model.requires_grad_(False)(torch.zeros(1, model.num_features, dtype=torch.float64))


def test_a_spike_says_nothing_of_a_number_that_is_not_known():
    p = chain_with_a_spike(missing=False)
    a = torch.linspace(-30, 30, 60_001, dtype=torch.float64)
    rows = torch.stack([a, torch.zeros_like(a), torch.full_like(a, 0.8)], -1)
    right = torch.trapezoid(p.log_prob(rows).exp(), a)
    known = torch.tensor([[math.nan, 0.0, 0.8]], dtype=torch.float64)
    assert p.log_prob(known).exp().item() == pytest.approx(right.item(), rel=1e-6)


@pytest.mark.parametrize("a", [math.inf, math.nan], ids=["missing", "not known"])
def test_completing_a_row_with_a_spike_scores_it(a):
    p = chain_with_a_spike(missing=math.isinf(a))
    row = torch.tensor([[a, 0.0, 0.8]], dtype=torch.float64)
    torch.testing.assert_close(p.complete(row)[1], p.log_prob(row), rtol=1e-9, atol=1e-9)
