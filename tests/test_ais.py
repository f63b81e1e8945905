"""Annealed importance sampling: unbiased with poor settings, close with good ones."""

import math

import pytest
import torch
from oracle import LinearGaussian, is_mean

from aevb import VAE
from aevb.errors import UsageError
from aevb.evaluation import ais
from aevb.evaluation.ais import Sandwich, ais_rows, sandwich
from aevb.evaluation.bound import mean_figure
from aevb.parts.priors.mixture import MixtureOfGaussians
from aevb.probability.seeds import counter_seed

FAST = {"temperatures": 10, "leapfrogs": 3}
POOR = {"chains": 1, "temperatures": 3, "leapfrogs": 1}


CORRELATED = pytest.mark.parametrize("correlated", [False, True], ids=["diagonal", "full"])


def off(shift=0.3, stretch=1.5, *, correlated=False):
    known = LinearGaussian(correlated=correlated)
    known.set_posterior(shift, stretch)
    return known


def rows_of_the_sandwich(model, rows, seed=0):
    """The rows that ``sandwich`` draws from the model: the same seeds, the same order."""
    with torch.no_grad(), torch.random.fork_rng():
        parts = []
        for start in range(0, rows, ais.ROWS):
            torch.manual_seed(counter_seed(seed, "sandwich", start))
            z = model.prior().sample((min(ais.ROWS, rows - start),))
            parts.append(model.likelihood_given(z).sample())
    return torch.cat(parts)


@pytest.mark.parametrize(
    ("correlated", "chains", "greatest"),
    [(False, 16, 0.15), (True, 64, 0.2)],
    ids=["diagonal", "full"],
)
def test_good_settings_find_the_truth(correlated, chains, greatest):
    """A posterior with a correlation of 0.8 is hard for steps of one size in all directions."""
    known = off(correlated=correlated)
    x = known.sample(40)
    wrong = ais_rows(
        known.model, x, chains=chains, temperatures=50, leapfrogs=5
    ) - known.marginal.log_prob(x)
    assert abs(float(wrong.mean())) < 0.02
    assert float(wrong.abs().max()) < greatest


def test_far_from_the_posterior_it_is_better_than_importance_sampling_with_as_many_draws():
    known = off(2.0, 1.0)
    x = known.sample(40)
    truth = known.marginal.log_prob(x)
    annealed = ais_rows(known.model, x, chains=8, temperatures=100, leapfrogs=5) - truth
    single = ais_rows(known.model, x, chains=8, temperatures=1, leapfrogs=1) - truth
    assert abs(float(annealed.mean())) < 0.1
    assert float(single.mean()) < -2.0


@CORRELATED
@pytest.mark.parametrize("temperatures", [1, 2, 3, 8])
def test_estimate_of_p_is_unbiased_with_poor_settings(temperatures, monkeypatch, correlated):
    """The mean of exp(log w - log p) is 1 within five standard errors, but once in 1.7 million.

    q is wider than the posterior. So the first weights are bounded, and the standard error is
    finite.
    """
    monkeypatch.setattr(ais, "ROWS", 10_000)  # all rows in one pass: faster
    known = off(0.3, 1.5, correlated=correlated)
    x = known.sample(10_000)
    settings = {**POOR, "temperatures": temperatures}
    ratio = (ais_rows(known.model, x, **settings) - known.marginal.log_prob(x)).exp()
    assert is_mean(ratio, 1.0)
    assert 0.05 < float(ratio.std()) < 3  # a weight that is always 1 would prove nothing


def test_chains_are_averaged_as_weights(monkeypatch):
    """Four chains: unbiased still, and with a quarter of the variance."""
    monkeypatch.setattr(ais, "ROWS", 2000)
    known = off(0.3, 1.5)
    x = known.sample(1).expand(2000, 4)
    truth = known.marginal.log_prob(x[0])
    one, four = ((ais_rows(known.model, x, **{**POOR, "chains": c}) - truth).exp() for c in (1, 4))
    assert is_mean(four, 1.0)
    assert 3 < float(one.var() / four.var()) < 5.3


@CORRELATED
def test_at_the_exact_posterior_every_row_is_exact(correlated):
    known = LinearGaussian(correlated=correlated)
    x = known.sample(70)  # more than one pass
    for settings in (POOR, {"chains": 3, "temperatures": 1, "leapfrogs": 1}, {"chains": 3, **FAST}):
        assert torch.allclose(
            ais_rows(known.model, x, **settings), known.marginal.log_prob(x), rtol=0, atol=1e-9
        )


@CORRELATED
def test_sandwich_at_the_exact_posterior_is_exact(correlated):
    known = LinearGaussian(correlated=correlated)
    bounds = sandwich(known.model, 70, **POOR)
    truth = known.marginal.log_prob(rows_of_the_sandwich(known.model, 70))
    assert torch.allclose(bounds.lower, truth, rtol=0, atol=1e-9)
    assert torch.allclose(bounds.upper, truth, rtol=0, atol=1e-9)


@CORRELATED
@pytest.mark.parametrize("temperatures", [1, 3, 8])
def test_backward_estimate_of_one_over_p_is_unbiased(temperatures, monkeypatch, correlated):
    """The means of exp(log p - upper) and of exp(lower - log p) of single chains are 1, as above.

    q is a little wider than the posterior, so that the weights p/q and their inverses have a
    variance.
    """
    monkeypatch.setattr(ais, "ROWS", 10_000)
    known = off(0.2, 1.2, correlated=correlated)
    bounds = sandwich(known.model, 10_000, **{**POOR, "temperatures": temperatures})
    truth = known.marginal.log_prob(rows_of_the_sandwich(known.model, 10_000))
    for ratio in ((truth - bounds.upper).exp(), (bounds.lower - truth).exp()):
        assert is_mean(ratio, 1.0)
        assert float(ratio.std()) > 0.05


def test_backward_chains_are_averaged_as_inverse_weights(monkeypatch):
    """Several chains from one exact draw: the mean of exp(log p - upper) is 1, with less variance.

    By chance, this fails once in 1.7 million.
    """
    monkeypatch.setattr(ais, "ROWS", 10_000)
    known = off(0.2, 1.2)
    truth = known.marginal.log_prob(rows_of_the_sandwich(known.model, 10_000))
    one, six = (
        (truth - sandwich(known.model, 10_000, **{**POOR, "chains": c}).upper).exp() for c in (1, 6)
    )
    assert is_mean(six, 1.0)
    assert 1.5 < float(one.var() / six.var()) < 8


def test_truth_is_between_the_bounds_and_the_gap_shrinks_with_temperatures(monkeypatch):
    """With poor settings, the mean of each bound is on its side by five standard errors.

    With better settings, both are near the truth.
    """
    monkeypatch.setattr(ais, "ROWS", 2000)
    known = off(0.4, 1.6)
    truth = known.marginal.log_prob(rows_of_the_sandwich(known.model, 2000))
    gaps = []
    for temperatures in (2, 8, 30):
        bounds = sandwich(known.model, 2000, chains=2, temperatures=temperatures, leapfrogs=2)
        below, above = truth - bounds.lower, bounds.upper - truth
        for side in (below, above):
            assert float(side.mean()) > (5 if temperatures < 30 else 0) * float(
                side.std()
            ) / math.sqrt(2000)
        gaps.append(float((bounds.upper - bounds.lower).mean()))
    assert gaps[0] > 1.5 * gaps[1] > 3 * gaps[2] > 0
    assert gaps[2] < 0.1


def test_sandwich_of_a_model_whose_prior_is_no_gaussian(monkeypatch):
    """The prior is a mixture of two far components.

    log p(x) is a sum over the components, known in closed form.
    """
    monkeypatch.setattr(ais, "ROWS", 4000)
    known = LinearGaussian()
    prior = MixtureOfGaussians(2, components=2).double()
    with torch.no_grad():
        prior.mu.copy_(torch.tensor([[-1.0, 0.5], [1.0, -0.5]]))
        prior.logvar.fill_(math.log(0.5))
        prior.log_weights.copy_(torch.tensor([0.7, 0.3]).log())
    model = VAE(4, (), 2, likelihood=known.model.likelihood, prior=prior).double()
    model.load_state_dict(known.model.state_dict(), strict=False)
    bounds = sandwich(model, 4000, chains=1, temperatures=4, leapfrogs=2)
    x = rows_of_the_sandwich(model, 4000)
    covariance = 0.5 * known.w @ known.w.T + known.v * torch.eye(4, dtype=torch.float64)
    parts = [
        torch.distributions.MultivariateNormal(
            known.b + known.w @ mu, covariance, validate_args=False
        ).log_prob(x)
        for mu in prior.mu.detach()
    ]
    truth = torch.logsumexp(torch.stack(parts) + prior.log_weights.detach()[:, None], 0)
    assert is_mean((bounds.lower - truth).exp(), 1.0)
    assert is_mean((truth - bounds.upper).exp(), 1.0)
    assert float((bounds.upper - bounds.lower).mean()) > 0


def test_error_bars_over_rows_cover(monkeypatch):
    """A 95 % interval covers in 180 to 198 of 200 repetitions, except once in 500.

    All repetitions run in one pass.
    """
    monkeypatch.setattr(ais, "ROWS", 200 * 50)
    known = off()
    truth = -float(known.marginal.entropy())
    values = ais_rows(
        known.model, known.sample(200 * 50), chains=2, temperatures=6, leapfrogs=2
    ).reshape(200, 50)
    figures = [mean_figure(row) for row in values]
    assert 180 <= sum(abs(f.value - truth) < 1.96 * f.standard_error for f in figures) <= 198


def test_figures_of_a_sandwich_by_hand():
    bounds = Sandwich(torch.tensor([-3.0, -5.0, -4.0]), torch.tensor([-2.0, -5.0, -2.0]))
    figures = bounds.figures(log_jacobian=1.0)
    assert list(figures) == ["ais_lower", "ais_upper", "ais_gap"]
    assert [f.value for f in figures.values()] == pytest.approx([-3.0, -2.0, 1.0])
    expected = [math.sqrt(1 / 3), 1.0, math.sqrt(1 / 3)]
    assert [f.standard_error for f in figures.values()] == pytest.approx(expected)


def test_jacobian_moves_every_row():
    known = off()
    x = known.sample(10)
    plain, moved = (ais_rows(known.model, x, **POOR, log_jacobian=j) for j in (0.0, -2.5))
    assert torch.allclose(moved, plain - 2.5)


@pytest.mark.parametrize("rows", [1, 64, 65])
def test_rows_and_progress(rows):
    known = off()
    seen, simulated = [], []
    assert ais_rows(known.model, known.sample(rows), **POOR, on_rows=seen.append).shape == (rows,)
    bounds = sandwich(known.model, rows, **POOR, on_rows=simulated.append)
    assert bounds.lower.shape == bounds.upper.shape == (rows,)
    assert seen == simulated == ([64, 1] if rows == 65 else [rows])


def test_depends_on_its_seed_alone_and_leaves_everything_as_it_was():
    known = off()
    known.model.train()
    x = known.sample(5)

    def run(seed):
        bounds = sandwich(known.model, 5, **POOR, seed=seed)
        return torch.cat([ais_rows(known.model, x, **POOR, seed=seed), bounds.lower, bounds.upper])

    state = torch.get_rng_state()
    first = run(1)
    assert torch.equal(torch.get_rng_state(), state)
    assert known.model.training
    assert all(p.grad is None for p in known.model.parameters())
    torch.randn(7)
    assert torch.equal(first, run(1))
    assert not bool((first == run(2)).any())
    assert not first.requires_grad


def test_single_precision_is_enough():
    known = off()
    x = known.sample(40)
    truth = known.marginal.log_prob(x)
    values = ais_rows(known.model.float(), x.float(), chains=8, temperatures=30, leapfrogs=4)
    assert values.dtype == torch.float64
    assert float((values - truth).mean()) == pytest.approx(0.0, abs=0.05)


@pytest.mark.parametrize("name", ["chains", "temperatures", "leapfrogs"])
def test_numbers_below_one_are_refused(name):
    known = off()
    settings = {**POOR, name: 0}
    with pytest.raises(UsageError, match=f"{name} must be at least 1; got 0"):
        ais_rows(known.model, known.sample(2), **settings)
    with pytest.raises(UsageError, match=f"{name} must be at least 1; got 0"):
        sandwich(known.model, 2, **settings)


def test_temperatures_rise_from_zero_to_one_and_are_dense_at_the_ends():
    for temperatures in (1, 2, 7, 100):
        b = ais._between_zero_and_one(temperatures)
        assert len(b) == temperatures + 1
        assert b[0] == 0
        assert b[-1] == 1
        assert bool((b.diff() > 0).all())
        assert torch.allclose(b + b.flip(0), torch.ones_like(b))
    assert b[1] < 0.004
