"""A new prior for a trained model: it fits, the bound rises, and nothing else changes."""

import numpy as np
import pytest
import torch
from helpers import refuses
from oracle import FIVE_SIGMA, LinearGaussian
from sklearn import mixture
from torch.distributions import MultivariateNormal, Normal

import aevb
from aevb.config import Config
from aevb.datasets.schema import Data, Schema
from aevb.datasets.synthetic import nearest_center_dist
from aevb.errors import DataError, UsageError
from aevb.evaluation.bound import mean_figure
from aevb.runs.code_priors import Codes, fit_mixture, one_thread
from aevb.runs.refit import FITS, refit_prior
from aevb.runs.run import Run
from aevb.storage import checkpoint


@pytest.fixture(autouse=True)
def _short_flow(monkeypatch):
    monkeypatch.setattr("aevb.runs.refit.STEPS", 60)


@pytest.fixture(scope="module")
def rows():
    return aevb.datasets.load("gmm")


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


def linear_run(shift=0.0):
    known = LinearGaussian()
    known.set_posterior(shift)
    schema = Schema(values="real", shape=(4,), dtype="float64", shift=(0.0,), scale=(1.0,))
    return known, Run(
        known.model.float().eval(), Config(latent_dim=2), "gaussian_fixed", schema, "oracle"
    )


def weights(model, prior=True):
    return {
        name: value.clone()
        for name, value in model.state_dict().items()
        if prior or not name.startswith("prior.")
    }


def same(a, b):
    return a.keys() == b.keys() and all(torch.equal(a[name], b[name]) for name in a)


@pytest.mark.parametrize("name", FITS)
def test_codes_of_an_exact_model_give_its_prior_back(name):
    """The aggregate posterior of the rows of a model with an exact q(z|x) is N(0, I)."""
    known, exact = linear_run()
    fitted = refit_prior(
        exact,
        Data(known.sample(5000).numpy(), "rows"),
        name,
        components=1 if name == "mixture" else None,
    )
    z = torch.randn(4000, 2)
    with torch.no_grad():
        difference = fitted.model.prior().log_prob(z) - Normal(0, 1).log_prob(z).sum(-1)
    # Minus the KL divergence of the fit: some (4 + few) / (2 * 5000) nats for a Gaussian.
    assert abs(float(difference.mean())) < (0.003 if name == "mixture" else 0.05)


def test_codes_that_are_moved_move_the_prior():
    known, moved = linear_run(shift=2.0)
    fitted = refit_prior(moved, Data(known.sample(5000).numpy(), "rows"), components=1)
    prior = fitted.model.prior
    assert (fitted.config.prior, fitted.config.components) == ("mixture", 1)
    assert torch.allclose(prior.mu, torch.tensor(2.0), atol=FIVE_SIGMA / 5000**0.5)
    assert torch.allclose(prior.logvar, torch.tensor(0.0), atol=FIVE_SIGMA * (2 / 5000) ** 0.5)


def test_the_mixture_is_the_one_that_scikit_learn_found(run, rows, monkeypatch):
    seen = []

    class Spy(mixture.GaussianMixture):
        def fit(self, codes):
            seen.append((self, codes))
            return super().fit(codes)

    monkeypatch.setattr(mixture, "GaussianMixture", Spy)
    fitted = refit_prior(run, rows, components=4)
    (found, codes), points = seen[-1], np.random.default_rng(0).normal(size=(200, 2))
    assert codes.shape == (20_000, 2)  # ten draws a row
    assert {each.n_components for each, _ in seen} == {4}
    assert {each.covariance_type for each, _ in seen} == {"diag", "full"}
    with torch.no_grad():
        log_p = fitted.model.prior().log_prob(torch.from_numpy(points).float())
    assert np.allclose(log_p, found.score_samples(points), atol=2e-3, rtol=1e-4)
    assert fitted.model.prior.mu.shape == (4, 2)


@pytest.mark.parametrize("name", FITS)
def test_the_bound_on_held_out_rows_rises_and_only_the_prior_changes(run, rows, name):
    held_out, before = aevb.datasets.load("gmm:test"), weights(run.model)
    prior, config = run.model.prior, run.config
    fitted = refit_prior(run, rows, name)
    gain = fitted.elbo_rows(held_out, samples=4).bound - run.elbo_rows(held_out, samples=4).bound
    figure = mean_figure(gain)
    assert figure.value > FIVE_SIGMA * figure.standard_error
    assert figure.value > 0.5
    assert same(weights(fitted.model, prior=False), weights(run.model, prior=False))
    assert same(weights(run.model), before)
    assert run.model.prior is prior
    assert run.config == config
    assert run.config.prior == "standard_normal"
    shared = {id(p) for p in run.model.parameters()} & {id(p) for p in fitted.model.parameters()}
    assert shared == set()
    names = ("mixture", "full_mixture") if name == "mixture" else (name,)
    assert fitted.config.prior in names
    assert (fitted.schema, fitted.source, fitted.likelihood) == (
        run.schema,
        run.source,
        run.likelihood,
    )
    assert not fitted.model.training
    assert np.array_equal(fitted.encode(held_out)[0], run.encode(held_out)[0])
    assert np.array_equal(fitted.reconstruct(held_out), run.reconstruct(held_out))


def test_samples_no_longer_fall_between_the_clusters(run, rows):
    def astray(made):
        points = torch.from_numpy(made.sample(1000)).float()
        return float((nearest_center_dist(points) > 0.6).float().mean())

    assert astray(refit_prior(run, rows)) < 0.5 * astray(run)


@pytest.mark.parametrize(
    ("name", "components"),
    [("mixture", None), ("mixture", 3), ("flow", None), ("flow_matching", None)],
)
def test_saved_and_loaded_it_is_the_same(run, rows, name, components, tmp_path):
    fitted = refit_prior(run, rows, name, components=components)
    checkpoint.save(fitted, tmp_path / "run")
    loaded = checkpoint.load(tmp_path / "run")
    assert same(weights(loaded.model), weights(fitted.model))
    assert type(loaded.model.prior) is type(fitted.model.prior)
    assert loaded.evaluate(rows) == fitted.evaluate(rows)
    assert np.array_equal(loaded.sample(20), fitted.sample(20))
    assert torch.equal(loaded.baseline, run.baseline)
    with pytest.raises(DataError, match="can be used but not continued"):
        checkpoint.load_progress(tmp_path / "run")


@pytest.mark.parametrize("name", FITS)
def test_the_seed_decides_and_the_global_generator_is_left_alone(run, rows, name, monkeypatch):
    monkeypatch.setattr("aevb.runs.refit.STEPS", 10)
    state, few = torch.get_rng_state(), rows.take(np.arange(300))
    first, again, other = (
        weights(refit_prior(run, few, name, seed=seed).model) for seed in (3, 3, 4)
    )
    assert torch.equal(torch.get_rng_state(), state)
    assert same(first, again)
    assert not same(first, other)


@pytest.mark.parametrize("name", ["flow", "flow_matching"])
def test_a_flow_tells_of_every_step_and_learns_from_them(run, rows, name):
    steps = []
    placed_and_trained = refit_prior(run, rows, name, on_step=steps.append)
    assert steps == list(range(1, 61))
    assert all(
        not p.requires_grad or p.grad is None or bool(torch.isfinite(p.grad).all())
        for p in run.model.parameters()
    )
    assert all(
        p.grad is None
        for name, p in placed_and_trained.model.named_parameters()
        if not name.startswith("prior.")
    )


@pytest.mark.parametrize(("posterior", "prior"), [("spline_flow", "vamp"), ("diagonal", "flow")])
def test_any_posterior_and_any_prior_before_will_do(posterior, prior, tmp_path, monkeypatch):
    monkeypatch.setattr("aevb.runs.refit.STEPS", 10)
    rows = Data(np.random.default_rng(0).normal(size=(60, 3)), "table")
    components = 4 if prior == "vamp" else None
    config = Config(
        hidden=(8,), latent_dim=2, epochs=1, posterior=posterior, prior=prior, components=components
    )
    before = aevb.fit(rows, config)
    fitted = refit_prior(before, rows, components=2)
    assert fitted.config.components == 2
    checkpoint.save(fitted, tmp_path / "run")
    assert checkpoint.load(tmp_path / "run").evaluate(rows) == fitted.evaluate(rows)
    assert refit_prior(before, rows, "flow").config.components is None


@pytest.mark.parametrize(
    ("name", "components", "says"),
    [
        ("vamp", None, "mixture, flow or flow_matching; got 'vamp'"),
        ("standard_normal", None, "mixture, flow or"),
        ("flow", 3, "for the prior mixture; got 3 for flow"),
        ("flow_matching", 3, "for the prior mixture; got 3 for flow_matching"),
        ("mixture", 0, "at least 1"),
        ("mixture", -2, "at least 1"),
    ],
)
def test_what_cannot_be_fitted_is_refused(run, rows, name, components, says):
    with pytest.raises(UsageError, match=says):
        refit_prior(run, rows, name, components=components)


def test_more_components_than_codes_are_refused(run, rows):
    few = rows.take(np.arange(2))
    assert refit_prior(run, few, components=2).model.prior.mu.shape == (2, 2)
    with pytest.raises(
        DataError, match=r"21 components need as many codes at least; there are 20\. Use fewer"
    ):
        refit_prior(run, few, components=21)


def test_rows_of_another_form_are_refused(run):
    with pytest.raises(DataError, match=r"rows of shape \(2,\)"):
        refit_prior(run, Data(np.zeros((9, 3)), "new"))


# -------------------------------------------------------------------------------------------------
# which mixture


def codes_of(z):
    """Codes that were drawn once from each of the rows."""
    return Codes(z.float().unsqueeze(0), torch.zeros(1, len(z)))


def mixture_of(z, components=None):
    with one_thread(0), torch.no_grad():
        return fit_mixture(codes_of(z), components, 0)


def test_one_correlated_gaussian_gets_one_full_component():
    z = MultivariateNormal(torch.zeros(2), torch.tensor([[1.0, 0.9], [0.9, 1.0]])).sample((2000,))
    found = mixture_of(z)
    assert (found.name, found.components) == ("full_mixture", 1)


def test_independent_dimensions_get_diagonal_components():
    found = mixture_of(torch.randn(2000, 3))
    assert (found.name, found.components) == ("mixture", 1)


def test_a_curve_gets_many_components():
    angle = 2 * torch.pi * torch.rand(3000)
    z = torch.stack([angle.cos(), angle.sin()], 1) + 0.05 * torch.randn(3000, 2)
    assert mixture_of(z).components >= 20


@pytest.mark.parametrize("rows", [2, 3, 20])
def test_few_codes_get_a_mixture_too(rows):
    found = mixture_of(torch.randn(rows, 2), components=1)
    assert found.components == 1
    assert bool(torch.isfinite(found.prior().log_prob(torch.zeros(2))))


def test_draws_of_one_row_are_held_out_together():
    """Else every component could sit on a row, and be praised for the row's other draws."""
    rows = torch.randn(60, 2)
    z = rows + 0.001 * torch.randn(10, 60, 2)
    with one_thread(0), torch.no_grad():
        found = fit_mixture(Codes(z, torch.zeros(10, 60)), None, 0)
    assert found.components == 1


def test_flow_matching_is_refused_as_a_prior_to_train(rows, tmp_path):
    message = refuses(
        UsageError,
        ["flow_matching", "too slow for training", "aevb refit RUN --out RUN2 --prior flow_match"],
        aevb.fit,
        rows,
        prior="flow_matching",
        out=tmp_path / "run",
    )
    assert "\n" not in message
    assert not (tmp_path / "run").exists()
