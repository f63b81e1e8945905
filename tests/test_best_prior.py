"""The choice of a prior: right where the truth is known, honest, and the same for the same seed."""

import numpy as np
import pytest
import torch
from oracle import LinearGaussian

import aevb
from aevb.config import Config
from aevb.datasets.schema import Data, Schema
from aevb.evaluation.bound import mean_figure
from aevb.parts.priors.flow import FlowPrior
from aevb.parts.priors.flow_matching import FlowMatchingPrior
from aevb.parts.priors.mixture import MixtureOfGaussians
from aevb.runs import best_prior as choosing
from aevb.runs.best_prior import best_prior
from aevb.runs.code_priors import Fitted
from aevb.runs.run import Run
from aevb.storage import checkpoint


@pytest.fixture(scope="module")
def rows():
    return aevb.datasets.load("gmm")


@pytest.fixture(scope="module")
def held_out():
    return aevb.datasets.load("gmm:test").take(np.arange(500))


@pytest.fixture(scope="module")
def run(rows):
    """Trained with N(0, I) on three clusters: the prior has mass between their codes."""
    config = Config(
        likelihood="gaussian",
        hidden=(32,),
        latent_dim=2,
        epochs=12,
        batch_size=64,
        learning_rate=0.01,
        warmup_epochs=4,
    )
    return aevb.fit(rows, config)


@pytest.fixture(autouse=True)
def _few_steps(monkeypatch):
    monkeypatch.setattr("aevb.runs.code_priors.SIZES", (1, 5))
    monkeypatch.setattr(choosing, "FLOW_STEPS", (15, 15))
    monkeypatch.setattr(choosing, "MATCHING_STEPS", (30, 30))
    monkeypatch.setattr(choosing, "MOST_FITTED", 4000)
    monkeypatch.setattr(choosing, "MOST_MEASURED", 2000)


def linear_run(shift=0.0):
    """A model whose posterior is exact, so that its codes have the distribution N(0, I)."""
    known = LinearGaussian()
    known.set_posterior(shift)
    schema = Schema(values="real", shape=(4,), dtype="float64", shift=(0.0,), scale=(1.0,))
    model = known.model.float().eval()
    return known, Run(model, Config(latent_dim=2), "gaussian_fixed", schema, "oracle")


def drawn(known, n):
    return Data(known.sample(n).numpy(), "rows")


def weights(a_run):
    return {name: value.clone() for name, value in a_run.model.state_dict().items()}


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


def test_three_clusters_get_a_mixture_and_the_gain_is_that_of_the_bound(run, rows, held_out):
    before, prior, history = weights(run), run.model.prior, list(run.history)
    shares = []
    better, choice = best_prior(run, rows, held_out, seed=0, on_step=shares.append)
    assert choice.name in ("mixture", "full_mixture")
    assert better.config.prior == choice.name
    assert better.config.components == choice.components >= 3
    assert set(choice.densities) == {"present", choice.name, "flow", "flow_matching"}
    gain = choice.gains[choice.name]
    bounds = [each.elbo_rows(held_out, samples=8).bound for each in (run, better)]
    measured = mean_figure(bounds[1] - bounds[0])
    assert gain.value > 0.3
    error = np.hypot(gain.standard_error, measured.standard_error)
    assert abs(gain.value - measured.value) < 5 * error
    means = [choice.densities[name].value for name in (choice.name, "present")]
    assert gain.value == pytest.approx(means[0] - means[1])
    assert f"{gain.value:.2f} nats a row better than N(0, I) on validation rows" in choice.reason
    assert choice.reason.startswith(f"prior mixture of {choice.components} ")
    # The model that was trained is as it was, and what is known of its training stays.
    assert same(weights(run), before)
    assert run.model.prior is prior
    assert run.config.prior == "standard_normal"
    assert (better.history, better.trained) == (history, run.trained)
    assert better.kept_epoch == run.kept_epoch == 12
    assert shares == sorted(shares)
    assert shares[-1] == 1.0


def test_one_seed_gives_one_result_to_the_last_bit(run, rows, held_out):
    state, few = torch.get_rng_state(), rows.take(np.arange(600))
    (first, one), (again, two) = (best_prior(run, few, held_out, seed=3) for _ in range(2))
    assert torch.equal(torch.get_rng_state(), state)
    assert one == two
    assert same(weights(first), weights(again))
    _, three = best_prior(run, few, held_out, seed=4)
    assert three.densities != one.densities


def test_saved_and_loaded_the_choice_stays(run, rows, held_out, tmp_path):
    better, _ = best_prior(run, rows.take(np.arange(300)), held_out, seed=0)
    checkpoint.save(better, tmp_path / "run")
    loaded = checkpoint.load(tmp_path / "run")
    assert loaded.config == better.config
    assert same(weights(loaded), weights(better))
    assert np.array_equal(loaded.sample(9), better.sample(9))


def test_codes_that_follow_the_prior_keep_it():
    """No fitted prior can be better; ten seeds, and none is taken."""
    known, exact = linear_run()
    for seed in range(10):
        torch.manual_seed(seed)
        chosen, choice = best_prior(exact, drawn(known, 300), drawn(known, 100), seed=seed)
        assert chosen is exact
        assert choice.name == "standard_normal"
    assert choice.reason == "prior N(0, I): no fitted prior is clearly better on validation rows"


def test_codes_that_are_moved_get_a_gaussian_where_they_are():
    known, moved = linear_run(shift=2.0)
    chosen, choice = best_prior(moved, drawn(known, 400), None, seed=0)
    assert (choice.name, choice.components) == ("mixture", 1)
    # KL(N(2, I) || N(0, I)) in two dimensions is 4 nats.
    assert choice.gains["mixture"].value == pytest.approx(4.0, abs=0.6)
    assert "mixture of 1 Gaussian: " in choice.reason
    assert choice.reason.endswith("on held-out training rows")
    assert torch.allclose(chosen.model.prior().mean, torch.tensor(2.0), atol=0.3)


def test_idle_codes_keep_the_prior_and_nothing_is_fitted(monkeypatch):
    known, idle = linear_run()
    with torch.no_grad():
        for parameter in idle.model.posterior.parameters():
            parameter.zero_()
    monkeypatch.setattr(choosing, "_candidates", lambda *_: pytest.fail("something was fitted"))
    chosen, choice = best_prior(idle, drawn(known, 300), drawn(known, 100), seed=0)
    assert chosen is idle
    assert choice.reason == "prior N(0, I): the codes are idle, at 0.00 nats a row"


@pytest.mark.parametrize("count", [1, 9])
def test_too_few_rows_keep_the_prior(count):
    known, moved = linear_run(shift=2.0)
    chosen, choice = best_prior(moved, drawn(known, count), drawn(known, 100), seed=0)
    assert chosen is moved
    assert f"{count} rows are too few to fit another" in choice.reason


def test_one_validation_row_decides_nothing():
    known, moved = linear_run(shift=2.0)
    assert best_prior(moved, drawn(known, 300), drawn(known, 1), seed=0)[0] is moved


def test_a_prior_that_was_trained_is_compared_with_its_like(rows, held_out):
    config = Config(
        likelihood="gaussian",
        hidden=(16,),
        latent_dim=2,
        epochs=1,
        prior="mixture",
        components=2,
    )
    before = aevb.fit(rows, config)
    chosen, choice = best_prior(before, rows, held_out, seed=0)
    assert "present" in choice.densities
    assert {"flow", "flow_matching"} < set(choice.densities)
    assert chosen.config.prior == choice.name
    if chosen is not before:
        assert "better than mixture of 2 Gaussians on" in choice.reason


# -------------------------------------------------------------------------------------------------
# the rule, with figures that are made up


def decided(run, noise=0.0, **means):
    """The prior that is taken if E_q[log p(z)] has these means over 400 rows."""
    made = {
        "mixture": Fitted(MixtureOfGaussians(2, 3), "mixture", 3),
        "flow": Fitted(FlowPrior(2), "flow"),
        "flow_matching": Fitted(FlowMatchingPrior(2), "flow_matching"),
    }
    g = torch.Generator().manual_seed(0)
    rows = torch.randn(400, generator=g).double()
    densities = {"present": rows}
    for name, mean in means.items():
        own = torch.randn(400, generator=g).double()
        densities[name] = rows + mean + noise * (own - own.mean())
    fitted = [made[name] for name in means]
    return choosing._decide(run, fitted, densities, "validation rows")[1].name


@pytest.mark.parametrize(
    ("means", "taken"),
    [
        ({"mixture": 0.01}, "standard_normal"),
        ({"mixture": 0.03}, "mixture"),
        ({"mixture": -1.0}, "standard_normal"),
        ({"mixture": 0.1, "flow": 0.2}, "flow"),
        ({"mixture": 0.1, "flow": 0.05, "flow_matching": 0.115}, "mixture"),
        ({"mixture": 0.1, "flow": 0.15, "flow_matching": 0.18}, "flow_matching"),
        ({"mixture": -1.0, "flow": -1.0, "flow_matching": 0.03}, "flow_matching"),
    ],
)
def test_a_prior_must_win_by_the_margin(run, means, taken):
    assert decided(run, **means) == taken


def test_a_prior_must_win_by_its_standard_error(run):
    """The paired standard error is noise / sqrt(400)."""
    assert decided(run, noise=4.0, mixture=0.15) == "standard_normal"
    assert decided(run, noise=4.0, mixture=0.25) == "mixture"


def test_a_density_that_is_not_a_number_never_wins(run):
    assert decided(run, mixture=float("nan")) == "standard_normal"
