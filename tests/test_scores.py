"""Scores of single rows: the same to the last bit whatever else is scored, and right."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import PICTURES, RUNS, SMALL, TABLE
from oracle import LinearGaussian, is_mean
from torch.distributions import Normal

import aevb
from aevb.datasets.draws import content_numbers, uniforms
from aevb.errors import UsageError
from aevb.evaluation import log_likelihood
from aevb.evaluation.log_likelihood import score_rows
from aevb.probability.seeds import counter_seed

# One run for each kind of network, posterior, prior and likelihood. The objectives make no
# difference to a score.
KINDS = {
    **{
        name: RUNS[name]
        for name in (
            "elbo",
            "full",
            "full, dreg, vamp",
            "flow, stl",
            "spline flow",
            "mixture",
            "vamp",
            "flow prior",
            "gaussian_optimal",
            "gaussian_network",
            "bernoulli",
            "dynamic",
            "convolutions",
            "skip",
            "discretized_logistic",
            "categorical",
        )
    },
    "static": (PICTURES, {"likelihood": "bernoulli", "binarize": "static"}),
    "threshold": (PICTURES, {"likelihood": "bernoulli", "binarize": "threshold"}),
    "gaussian_fixed": (TABLE, {"likelihood": "gaussian_fixed"}),
    "gaussian_per_dimension": (TABLE, {"likelihood": "gaussian_per_dimension"}),
}
SAMPLES = 7


def made(kind):
    rows, settings = KINDS[kind]
    return rows[:40], aevb.fit(rows, replace(SMALL, epochs=1, **settings))


def check_same_bits(scores, others, index):
    """The scores of rows ``index`` are those of ``others``, in every column."""
    for name, values in scores.items():
        assert np.array_equal(values[index], others[name]), name
        assert np.isfinite(values).all(), name


@pytest.mark.parametrize("kind", KINDS)
def test_a_row_has_the_same_score_alone_among_others_in_any_order_and_twice(kind, monkeypatch):
    """Several passes of draws for each row, and several groups of rows."""
    monkeypatch.setattr(log_likelihood, "PAIRS", {"cpu": 3})
    monkeypatch.setattr(log_likelihood, "ROWS", 16)
    rows, run = made(kind)
    scores = run.score(rows, samples=SAMPLES)
    order = np.random.default_rng(0).permutation(len(rows))
    twice = np.array([5, 39, 5, 0, 5])
    for index in (order, order[:17], order[:3], twice, np.array([8])):
        check_same_bits(scores, run.score(rows[index], samples=SAMPLES), index)


def test_a_saved_model_gives_the_same_bits(tmp_path):
    """The parameters of a model lie elsewhere in memory after its training than after loading."""
    rows, run = made("vamp")
    aevb.save(run, tmp_path / "run")
    again = aevb.load(tmp_path / "run").score(rows, samples=40)
    check_same_bits(run.score(rows, samples=40), again, np.arange(len(rows)))


def test_wide_rows_and_many_draws_have_the_same_bits():
    """Here products of matrices are large enough to be cut into blocks."""
    torch.manual_seed(0)
    model, x = aevb.VAE(300, (64,), 9), torch.randn(5, 300)
    scores = score_rows(model, x, samples=600)
    for i in range(5):
        alone = score_rows(model, x[i : i + 1], samples=600)
        assert [torch.equal(all_[i], one[0]) for all_, one in zip(scores, alone, strict=True)] == (
            [True] * 4
        )


def test_the_form_of_the_file_does_not_matter(tmp_path):
    rows, run = made("dynamic")
    np.save(tmp_path / "one.npy", rows[8:9])
    scores = run.score(rows, samples=SAMPLES)
    check_same_bits(scores, run.score(tmp_path / "one.npy", samples=SAMPLES), [8])
    check_same_bits(scores, run.score(rows[8:9].astype(np.float64), samples=SAMPLES), [8])


def test_the_seed_decides_and_nothing_else_is_touched():
    run = made("dynamic")[1]
    state = torch.get_rng_state()
    first = run.score(PICTURES[:3], samples=SAMPLES, seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    torch.randn(7)
    check_same_bits(first, run.score(PICTURES[:3], samples=SAMPLES, seed=1), slice(None))
    other = run.score(PICTURES[:3], samples=SAMPLES, seed=2)
    assert not np.isclose(first["log_likelihood"], other["log_likelihood"], rtol=1e-9).any()
    assert not np.isclose(first["baseline"], other["baseline"], rtol=1e-9).any()  # other bits


def test_two_rows_that_hardly_differ_have_unrelated_noise():
    """A row and a copy moved by 1e-6: with the same noise their weights would hardly differ."""
    known = LinearGaussian()
    known.set_posterior(0.3, 1.5)
    x = known.sample(1)
    found = score_rows(known.model, torch.cat([x, x + 1e-6]), samples=10).log_likelihood
    assert abs(float(found[0] - found[1])) > 1e-3


def test_numbers_of_rows_depend_on_what_is_in_them():
    rows = np.random.default_rng(0).normal(size=(100, 3)).astype(np.float32)
    numbers = content_numbers(rows)
    assert len(np.unique(numbers)) == 100
    assert np.array_equal(content_numbers(rows[::-1]), numbers[::-1])
    assert np.array_equal(content_numbers(np.asfortranarray(rows)), numbers)
    zeros = np.zeros((1, 2), np.float32)
    assert content_numbers(zeros) == content_numbers(-zeros)
    # Another version must not change the scores: blake2b of the bytes of these two numbers.
    assert content_numbers(np.float32([[1.0, 2.0]])).tolist() == [7373934272132878346]


def test_bits_by_content_have_their_probabilities():
    """P(1) is the grey level: 4,000 different rows, five standard errors."""
    x = np.random.default_rng(0).uniform(0.29, 0.31, size=(4000, 5)).astype(np.float32)
    bits = torch.from_numpy((uniforms(0, content_numbers(x), 5) < x).astype(np.float64))
    for column in bits.T:
        assert is_mean(column, 0.3)
    assert abs(np.corrcoef(bits.T.numpy())[np.triu_indices(5, 1)]).max() < 5 / np.sqrt(4000)


# -------------------------------------------------------------------------------------------------
# the numbers are right


@pytest.mark.parametrize("correlated", [False, True], ids=["diagonal", "full"])
def test_scores_find_the_truth(correlated):
    """Each row within six of its errors; the terms of the bound on average within five."""
    known = LinearGaussian(correlated=correlated)
    known.set_posterior(0.3, 1.5)
    x, samples = known.sample(200), 2000
    rows = score_rows(known.model, x, samples=samples)
    wrong = rows.log_likelihood - known.marginal.log_prob(x)
    error = (1 / rows.effective_sample_size - 1 / samples).sqrt()
    assert bool((wrong.abs() < 6 * error).all())
    gap = known.gap(0.3, 1.5)
    assert is_mean(known.marginal.log_prob(x) - rows.bound, gap)
    if not correlated:
        closed = known.model.elbo_terms(x, 1)[1].sum(-1)
        assert is_mean(rows.kl - closed.detach(), 0.0)


@pytest.mark.parametrize("samples", [1, 2, 9, 10])
def test_formulas_against_direct_computation_on_the_same_noise(samples, monkeypatch):
    monkeypatch.setattr(log_likelihood, "PAIRS", {"cpu": 4})
    known = LinearGaussian()
    known.set_posterior(0.3, 1.5)
    x = known.sample(3)
    rows = score_rows(known.model, x, samples=samples, seed=4, log_jacobian=-2.0)
    numbers = content_numbers(x.numpy())
    for i in range(3):
        torch.manual_seed(counter_seed(4, "score", int(numbers[i])))
        sizes = [min(4, samples - done) for done in range(0, samples, 4)]
        eps = torch.cat([torch.randn(k, 1, 2, dtype=torch.float64) for k in sizes])[:, 0]
        mu, logvar = known.model.encode(x[i])
        std = (0.5 * logvar).exp()
        z = mu + std * eps
        log_x = Normal(known.model.decode(z), known.model.likelihood.noise).log_prob(x[i]).sum(-1)
        kl = (Normal(mu, std).log_prob(z) - Normal(0.0, 1.0).log_prob(z)).sum(-1)
        w = (log_x - kl - 2.0).exp()
        expected = (w.mean().log(), w.sum() ** 2 / w.square().sum(), log_x.mean() - 2.0, kl.mean())
        for got, value in zip(rows, expected, strict=True):
            assert float(got[i]) == pytest.approx(float(value.detach()), rel=1e-9)


@pytest.mark.parametrize("kind", ["elbo", "flow, stl", "convolutions"])
@pytest.mark.parametrize("samples", [1, 2, 50])
def test_the_bound_is_never_above_log_p(kind, samples):
    """Jensen's inequality holds for the draws themselves, so for every row and any number."""
    rows, run = made(kind)
    scores = run.score(rows, samples=samples)
    assert (scores["bound"] <= scores["log_likelihood"]).all()
    assert np.array_equal(scores["bound"], scores["reconstruction"] - scores["kl"])
    if samples == 1:
        assert np.allclose(scores["bound"], scores["log_likelihood"], rtol=1e-12)
    else:
        assert (scores["bound"] < scores["log_likelihood"]).mean() > 0.9


def test_at_the_exact_posterior_bound_and_log_p_are_equal_and_rounding_does_not_part_them():
    known = LinearGaussian()
    x = known.sample(50)
    rows = score_rows(known.model, x, samples=30)
    assert bool((rows.bound <= rows.log_likelihood).all())
    assert torch.allclose(rows.bound, known.marginal.log_prob(x), rtol=0, atol=1e-9)
    assert torch.allclose(rows.effective_sample_size, torch.full((50,), 30.0).double())


def test_a_row_beyond_all_numbers_scores_lowest_and_has_no_draws():
    torch.manual_seed(0)
    model = aevb.VAE(3, 8, 2)
    rows = score_rows(model, torch.tensor([[1e30, 0.0, 0.0], [0.0, 0.0, 0.0]]), samples=5)
    assert not float(rows.log_likelihood[0]) > -1e30
    assert float(rows.effective_sample_size[0]) == 0.0
    assert bool(torch.isfinite(rows.log_likelihood[1]))


def test_progress_counts_rows():
    known, seen = LinearGaussian(), []
    score_rows(known.model, known.sample(70), samples=1, on_rows=seen.append)
    assert seen == [32, 32, 6]


@pytest.mark.parametrize("samples", [0, -1])
def test_no_samples_are_refused(samples):
    with pytest.raises(UsageError, match=f"samples must be at least 1; got {samples}"):
        score_rows(LinearGaussian().model, torch.zeros(1, 4), samples=samples)
