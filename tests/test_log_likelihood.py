"""log p(x) by importance sampling: right, with honest errors, and without side effects."""

import math

import pytest
import torch
from oracle import LinearGaussian, is_mean
from torch.distributions import Normal

from aevb.errors import UsageError
from aevb.evaluation import log_likelihood
from aevb.evaluation.log_likelihood import PAIRS, ROWS, Importance, importance_rows
from aevb.probability.seeds import counter_seed

CORRELATED = pytest.mark.parametrize("correlated", [False, True], ids=["diagonal", "full"])


def off(shift=0.3, stretch=1.5, *, correlated=False):
    known = LinearGaussian(correlated=correlated)
    known.set_posterior(shift, stretch)
    return known


def log_weights_by_hand(model, x, samples, seed):
    """Compute the weights of ``importance_rows`` from torch's distributions: (K, N)."""
    columns = []
    for start in range(0, len(x), ROWS):
        rows = x[start : start + ROWS]
        torch.manual_seed(counter_seed(seed, "importance", start))
        chunk = max(1, PAIRS["cpu"] // len(rows))
        sizes = [min(chunk, samples - done) for done in range(0, samples, chunk)]
        eps = torch.cat(
            [torch.randn(k, len(rows), model.latent_dim, dtype=torch.float64) for k in sizes]
        )
        mu, logvar = model.encode(rows)
        std = (0.5 * logvar).exp()
        z = mu + std * eps
        log_p = Normal(model.decode(z), model.likelihood.noise).log_prob(rows).sum(-1) + Normal(
            0.0, 1.0
        ).log_prob(z).sum(-1)
        columns.append((log_p - Normal(mu, std).log_prob(z).sum(-1)).detach())
    return torch.cat(columns, dim=1)


@CORRELATED
def test_many_samples_find_the_truth(correlated):
    """Each row is within six of its errors: once in 2.5 million, one of 200 rows is not.

    Their mean is within 0.02 nats, which are 14 errors.
    """
    known = off(correlated=correlated)
    x = known.sample(200)
    rows = importance_rows(known.model, x, samples=5000)
    wrong = rows.log_likelihood - known.marginal.log_prob(x)
    assert abs(float(wrong.mean())) < 0.02
    assert bool((wrong.abs() < 6 * rows.error).all())
    assert float(rows.error.max()) < 0.1
    assert is_mean(wrong, -float(rows.error.square().mean()) / 2)


@CORRELATED
def test_few_samples_are_low_by_the_documented_amount(monkeypatch, correlated):
    """Low by about 1/(2 ESS) - 1/(2 K) on average, to first order: within 30 % of it at K = 30.

    30 % are more than five standard errors of it, so that chance fails this less than once in a
    million.
    """
    monkeypatch.setattr(log_likelihood, "ROWS", 2000)  # faster
    known = off(correlated=correlated)
    x = known.sample(60_000)
    rows = importance_rows(known.model, x, samples=30)
    low = known.marginal.log_prob(x) - rows.log_likelihood
    predicted = float(rows.error.square().mean()) / 2
    assert 0.3 * predicted > 5 * float(low.std()) / math.sqrt(len(low))
    assert float(low.mean()) == pytest.approx(predicted, rel=0.3)


# 4096 // 32 = 128 draws of 32 rows share a pass, 4096 draws of one row.
@pytest.mark.parametrize("samples", [1, 2, 127, 128, 129, 300])
@pytest.mark.parametrize("n", [1, 31, 32, 33, 70])
def test_at_the_exact_posterior_every_row_is_exact_for_any_number_of_rows_and_samples(n, samples):
    """Every weight is p(x): a draw too many or too few, or one of another row, would show."""
    known = LinearGaussian()
    x = known.sample(n)
    rows = importance_rows(known.model, x, samples=samples)
    assert torch.allclose(rows.log_likelihood, known.marginal.log_prob(x), rtol=0, atol=1e-9)
    assert torch.allclose(
        rows.effective_sample_size, torch.full((n,), float(samples)).double(), rtol=1e-9
    )
    assert float(rows.error.max()) < 1e-4
    assert rows.samples == samples


@CORRELATED
def test_one_row_of_more_draws_than_share_a_pass(correlated):
    known = LinearGaussian(correlated=correlated)
    x = known.sample(1)
    rows = importance_rows(known.model, x, samples=PAIRS["cpu"] + 1)
    assert torch.allclose(rows.log_likelihood, known.marginal.log_prob(x), rtol=0, atol=1e-9)


@pytest.mark.parametrize(("n", "samples"), [(5, 40), (33, 130), (70, 257)])
def test_formulas_against_direct_computation_on_the_same_noise(n, samples):
    known = off()
    x = known.sample(n)
    rows = importance_rows(known.model, x, samples=samples, seed=4)
    w = log_weights_by_hand(known.model, x, samples, seed=4).exp()
    assert torch.allclose(rows.log_likelihood, w.mean(0).log(), rtol=1e-9)
    assert torch.allclose(rows.effective_sample_size, w.sum(0) ** 2 / w.square().sum(0), rtol=1e-9)
    # The error is the coefficient of variation of the weights over the root of K: by the delta
    # method, that of the log.
    assert torch.allclose(
        rows.error, w.std(0, unbiased=False) / w.mean(0) / math.sqrt(samples), rtol=1e-6
    )


def test_error_of_a_row_is_calibrated():
    """The standard deviation of the z-scores of 5,000 rows is 1.

    Six standard errors (0.01) and the next order are allowed.
    """
    known = off(0.1, 1.3)
    x = known.sample(5000)
    rows = importance_rows(known.model, x, samples=200)
    z = (rows.log_likelihood - known.marginal.log_prob(x)) / rows.error
    assert 0.93 < float(z.std()) < 1.07
    assert abs(float(z.mean())) < 0.2  # low by half an error, an error being about 0.05
    assert 0.93 < float((z.abs() < 1.96).double().mean()) < 0.97


def test_sampling_error_covers_the_truth_of_these_rows():
    """A 95 % interval: 180 to 198 of 200 repetitions, but once in 500 by chance alone."""
    known = off(0.1, 1.3)
    x = known.sample(20)
    truth = float(known.marginal.log_prob(x).mean())
    covered = 0
    for seed in range(200):
        figure = importance_rows(known.model, x, samples=150, seed=seed).figure()
        covered += abs(figure.value - truth) < 1.96 * figure.details["sampling_error"]
    assert 180 <= covered <= 198


def test_standard_error_covers_the_truth_of_the_population():
    """As above. The estimates are low by 0.002 nats, a hundredth of an interval."""
    known = off(0.1, 1.3)
    truth = -float(known.marginal.entropy())
    covered = 0
    for seed in range(200):
        figure = importance_rows(known.model, known.sample(60), samples=60, seed=seed).figure()
        covered += abs(figure.value - truth) < 1.96 * figure.standard_error
    assert 180 <= covered <= 198


def test_figure_by_hand():
    rows = Importance(torch.tensor([-1.0, -2.0, -6.0]), torch.tensor([5.0, 10.0, 20.0]), samples=20)
    figure = rows.figure()
    assert figure.value == pytest.approx(-3.0)
    assert figure.standard_error == pytest.approx(math.sqrt(7.0 / 3))  # deviations 2, 1, -3
    assert figure.unit == "nats"
    assert rows.error.tolist() == pytest.approx([math.sqrt(0.15), math.sqrt(0.05), 0.0])
    assert dict(figure.details) == pytest.approx(
        {
            "samples": 20,
            "effective_sample_size": 10.0,
            "sampling_error": math.sqrt(0.2) / 3,
            "unreliable_rows": 1 / 3,
        }
    )


def test_more_effective_samples_than_samples_by_rounding_are_no_nan():
    assert Importance(torch.zeros(1), torch.tensor([20.0001]), samples=20).error.tolist() == [0.0]


def test_a_posterior_far_too_narrow_is_told():
    narrow, exact = off(0.0, 0.001), LinearGaussian()
    x = exact.sample(100)
    assert importance_rows(narrow.model, x, samples=50).unreliable > 0.5
    assert importance_rows(exact.model, x, samples=200).unreliable == 0.0
    shifted = off(3.0, 1.0)
    assert importance_rows(shifted.model, x, samples=200).unreliable == 1.0


def test_jacobian_moves_every_row_and_nothing_else():
    known = off()
    x = known.sample(40)
    plain, moved = (
        importance_rows(known.model, x, samples=20, log_jacobian=j) for j in (0.0, -2.5)
    )
    assert torch.allclose(moved.log_likelihood, plain.log_likelihood - 2.5)
    assert torch.equal(moved.effective_sample_size, plain.effective_sample_size)


def test_depends_on_its_seed_alone_and_leaves_everything_as_it_was():
    known = off()
    known.model.train()
    x = known.sample(40)
    state = torch.get_rng_state()
    first = importance_rows(known.model, x, samples=20, seed=1).log_likelihood
    assert torch.equal(torch.get_rng_state(), state)
    assert known.model.training
    torch.randn(7)
    assert torch.equal(first, importance_rows(known.model, x, samples=20, seed=1).log_likelihood)
    assert not torch.equal(
        first, importance_rows(known.model, x, samples=20, seed=2).log_likelihood
    )
    assert not first.requires_grad
    known.model.eval()
    importance_rows(known.model, x, samples=20)
    assert not known.model.training


def test_passes_of_rows_have_noise_of_their_own():
    """Two copies of one row, 32 apart, are two estimates."""
    known = off()
    x = known.sample(1).expand(2 * ROWS, 4)
    values = importance_rows(known.model, x, samples=10).log_likelihood
    assert len(values.unique()) == 2 * ROWS


def test_rows_before_are_the_same_whatever_comes_after():
    known = off()
    x = known.sample(3 * ROWS)
    every, some = (
        importance_rows(known.model, rows, samples=10).log_likelihood for rows in (x, x[: 2 * ROWS])
    )
    assert torch.equal(every[: 2 * ROWS], some)


def test_parts_of_the_rows_have_the_noise_of_the_whole():
    known = off()
    x = known.sample(3 * ROWS - 5)
    whole = importance_rows(known.model, x, samples=20).log_likelihood
    parts = [
        importance_rows(known.model, x[:ROWS], samples=20),
        importance_rows(known.model, x[ROWS:], samples=20, first=ROWS),
    ]
    assert torch.equal(torch.cat([part.log_likelihood for part in parts]), whole)
    assert not torch.equal(
        importance_rows(known.model, x[ROWS:], samples=20).log_likelihood, whole[ROWS:]
    )


def test_progress_counts_rows():
    known = off()
    seen = []
    importance_rows(known.model, known.sample(70), samples=3, on_rows=seen.append)
    assert seen == [32, 32, 6]


@pytest.mark.parametrize("samples", [0, -1])
def test_no_samples_are_refused(samples):
    known = off()
    with pytest.raises(UsageError, match=f"samples must be at least 1; got {samples}"):
        importance_rows(known.model, known.sample(3), samples=samples)


def test_weights_far_from_one_do_not_overflow():
    """log p(x) is near -3,000, in float32.

    The sum of squared weights is below the smallest number; the logarithm of that sum is not.
    """
    known = LinearGaussian()
    known.set_posterior(0.1, 1.3)
    model = known.model.float()
    x = known.sample(10).float() + 40
    rows = importance_rows(model, x, samples=50)
    assert rows.log_likelihood.dtype == torch.float64
    assert bool(torch.isfinite(rows.log_likelihood).all())
    assert float(rows.log_likelihood.max()) < -750
    assert bool(((rows.effective_sample_size >= 1) & (rows.effective_sample_size <= 50.001)).all())
