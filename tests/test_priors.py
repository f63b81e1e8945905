"""Every prior through one contract, and what each promises beyond it."""

import copy
import math

import pytest
import torch
from oracle import is_mean, parameters_without_gradient, square_grid
from torch.distributions import Categorical, MixtureSameFamily, MultivariateNormal

from aevb import VAE
from aevb.errors import UsageError
from aevb.parts.posteriors.flow import CouplingFlow
from aevb.parts.priors import PRIORS
from aevb.parts.priors.flow import FlowPrior
from aevb.parts.priors.flow_matching import FlowMatchingPrior
from aevb.parts.priors.mixture import MixtureOfFullGaussians, MixtureOfGaussians
from aevb.parts.priors.standard_normal import StandardNormal
from aevb.parts.priors.vamp import VampPrior


def away_from_its_start(p, size):
    """Every parameter moved at random, so that no zero hides a mistake; float64."""
    with torch.no_grad():
        for parameter in p.parameters():
            parameter.add_(size * torch.randn_like(parameter))
    return p.double()


def model_with_vamp(components=4, **parts):
    """A VAE on rows of 3 whose prior is a VampPrior over 2 latent dimensions, in float64."""
    return VAE(3, (8,), 2, activation="tanh", prior=VampPrior(2, components), **parts).double()


def vamp():
    model = model_with_vamp()
    away_from_its_start(model.prior, 1.0)
    return model.prior


CASES = {
    "standard_normal": lambda: StandardNormal(2).double(),
    "mixture": lambda: away_from_its_start(MixtureOfGaussians(2, 3), 0.5),
    "vamp": vamp,
    "flow": lambda: away_from_its_start(FlowPrior(2), 0.08),
    "full_mixture": lambda: away_from_its_start(MixtureOfFullGaussians(2, 3), 0.5),
    "flow_matching": lambda: away_from_its_start(FlowMatchingPrior(2), 0.05),
}
POINTS, DRAWS = {"flow_matching": 51}, {"flow_matching": 1000}
"""Fewer than 451 points on an axis, and than 20,000 draws, where a density takes long."""


@pytest.fixture(params=CASES)
def name(request):
    return request.param


@pytest.fixture
def p(name):
    return CASES[name]()


def test_every_table_entry_has_a_case():
    assert {type(make()) for make in CASES.values()} == {PRIORS[name] for name in PRIORS}


def test_shapes(p):
    d = p()
    assert (d.batch_shape, d.event_shape) == ((), (2,))
    assert d.sample().shape == (2,)
    z = d.sample((5, 3))
    assert z.shape == (5, 3, 2)
    assert z.dtype == torch.float64
    assert not z.requires_grad
    assert d.log_prob(z).shape == (5, 3)
    assert d.mean.shape == d.variance.shape == (2,)


def test_is_normalised_and_samples_fit_log_prob(p, name):
    """The density integrates to 1, and the samples have its entropy and its moments.

    Five standard errors: six comparisons for each of six priors fail by chance once in 45,000
    seeds.
    """
    d = p()
    points, cell = square_grid(2, 9.0, POINTS.get(name, 451))
    with torch.no_grad():
        log_p = torch.cat([d.log_prob(part) for part in points.split(20_000)])
        weight = log_p.exp() * cell
        assert float(weight.sum()) == pytest.approx(1.0, abs=1e-4)
        drawn = d.sample((DRAWS.get(name, 20_000),))
        assert is_mean(d.log_prob(drawn), float((weight * log_p).nan_to_num().sum()))
        for j in range(2):
            assert is_mean(drawn[:, j], float((weight * points[:, j]).sum()))
            assert is_mean(drawn[:, j].square(), float((weight * points[:, j].square()).sum()))
        assert is_mean(drawn.prod(-1), float((weight * points.prod(-1)).sum()))


def test_gradient_reaches_every_parameter_through_log_prob(p):
    z = torch.randn(
        50, 2, dtype=torch.float64, requires_grad=True
    )  # the standard normal has no parameters
    p().log_prob(z).sum().backward()
    assert parameters_without_gradient(p) == []


def test_gradient_reaches_z(p):
    z = torch.randn(20, 2, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda z: p().log_prob(z), (z,), fast_mode=True)


def test_survives_its_state_dict(p):
    """A changed copy is the original again once it has loaded what the original saved."""
    z = torch.randn(20, 2, dtype=torch.float64)
    other = away_from_its_start(copy.deepcopy(p), 0.3)
    if p.state_dict():
        assert not torch.equal(other().log_prob(z), p().log_prob(z))
    other.load_state_dict(p.state_dict())
    assert torch.equal(other().log_prob(z), p().log_prob(z))


def test_standard_normal_leaves_no_trace_in_a_saved_model():
    assert StandardNormal(3).state_dict() == {}
    assert StandardNormal(3).double()().sample().dtype == torch.float64


def test_standard_normal_is_that_of_its_formula():
    z = torch.randn(20, 3, dtype=torch.float64)
    expected = -0.5 * z.square().sum(-1) - 1.5 * math.log(2 * math.pi)
    assert torch.allclose(StandardNormal(3).double()().log_prob(z), expected)


@pytest.mark.parametrize("kind", [MixtureOfGaussians, MixtureOfFullGaussians, VampPrior])
@pytest.mark.parametrize("components", [0, -3])
def test_fewer_than_one_component_is_refused(kind, components):
    with pytest.raises(UsageError, match=f"at least 1; got {components}"):
        kind(2, components)


def test_a_mixture_of_one_component_is_a_gaussian():
    p = MixtureOfGaussians(3, 1).double()
    with torch.no_grad():
        p.mu.zero_()
    z = torch.randn(20, 3, dtype=torch.float64)
    assert torch.allclose(p().log_prob(z), StandardNormal(3).double()().log_prob(z))


def full_mixture():
    """Three narrow Gaussians with strong correlations, far from 0, as torch has them too."""
    g = torch.Generator().manual_seed(4)
    factors = torch.randn(3, 4, 4, generator=g, dtype=torch.float64)
    covariances = 1e-4 * factors @ factors.mT + 1e-8 * torch.eye(4, dtype=torch.float64)
    p = MixtureOfFullGaussians(4, 3).double()
    p.take(covariances)
    with torch.no_grad():
        p.mu.copy_(50 + torch.randn(3, 4, generator=g, dtype=torch.float64))
        p.log_weights.copy_(torch.tensor([0.2, 0.5, 0.3]).log())
    known = MixtureSameFamily(
        Categorical(torch.tensor([0.2, 0.5, 0.3], dtype=torch.float64)),
        MultivariateNormal(p.mu.detach(), covariances),
    )
    return p, known


def test_a_mixture_of_full_gaussians_is_that_of_torch():
    p, known = full_mixture()
    z = known.sample((50,))
    assert torch.allclose(p().log_prob(z), known.log_prob(z), atol=1e-6)
    assert torch.allclose(p().mean, known.mean)
    assert torch.allclose(p().variance, known.variance, atol=1e-6)
    far = p().log_prob(z + 1.0)
    assert torch.allclose(far, known.log_prob(z + 1.0), rtol=1e-5)
    assert p().log_prob(z.float()).dtype == torch.float32
    assert p().log_prob(z[:0]).shape == (0,)


def test_draws_of_a_mixture_of_full_gaussians_have_its_density():
    p, known = full_mixture()
    drawn, truth = p().sample((100, 50)), known.sample((5000,))
    assert drawn.shape == (100, 50, 4)
    values, wanted = known.log_prob(drawn).flatten(), known.log_prob(truth)
    error = math.hypot(float(values.std()), float(wanted.std())) / math.sqrt(5000)
    assert abs(float(values.mean() - wanted.mean())) < 5 * error


# -------------------------------------------------------------------------------------------------
# VampPrior


@pytest.mark.parametrize("posterior", [None, lambda: CouplingFlow(8, 2)], ids=["diagonal", "flow"])
def test_vamp_is_the_average_of_the_posteriors_of_its_inputs(posterior):
    """p(z) = 1/C sum_c q(z | u_c), one component at a time."""
    model = model_with_vamp(components=4, posterior=posterior and posterior())
    away_from_its_start(model.prior, 1.0)
    z = torch.randn(20, 2, dtype=torch.float64)
    each = torch.stack([model.posterior_given(u).log_prob(z).exp() for u in model.prior.inputs])
    assert torch.allclose(model.prior().log_prob(z).exp(), each.mean(0), rtol=1e-8)
    assert model.prior().sample((5, 3)).shape == (5, 3, 2)
    # And its samples are those of a component taken at random: five standard errors, four
    # comparisons.
    drawn = model.prior().sample((20_000,)).detach()
    expected = torch.cat([model.posterior_given(u).sample((20_000,)) for u in model.prior.inputs])
    for j in range(2):
        assert is_mean(drawn[:, j], float(expected[:, j].mean()), sigmas=6)
        assert is_mean(drawn[:, j].square(), float(expected[:, j].square().mean()), sigmas=6)


def test_gradient_of_a_vamp_reaches_encoder_posterior_and_inputs():
    model = model_with_vamp()
    model.prior().log_prob(torch.randn(20, 2, dtype=torch.float64)).sum().backward()
    for part in (model.encoder, model.posterior, model.prior):
        assert parameters_without_gradient(part) == []
    assert bool((model.prior.inputs.grad.abs().sum(-1) > 0).all())
    assert all(p.grad is None for p in model.decoder.parameters())


def test_the_inputs_of_a_vamp_are_parameters_of_the_model_once():
    model = model_with_vamp(components=7)
    named = dict(model.named_parameters())
    assert named["prior.inputs"].shape == (7, 3)
    assert not any(name.startswith("prior") and name != "prior.inputs" for name in named)
    saved = [name for name in model.state_dict() if name.startswith("prior")]
    assert saved == ["prior.inputs"]


@pytest.mark.parametrize("rows", [3, 500])
def test_a_vamp_starts_from_rows_of_the_data(rows):
    """Fewer rows than components too; not always the same rows."""
    model = model_with_vamp(components=10)
    x = torch.randn(rows, 3, dtype=torch.float64)
    model.prior.initialise(x)
    first = model.prior.inputs.detach().clone()
    assert bool((first[:, None] == x).all(-1).any(-1).all())
    assert len(first.unique(dim=0)) > 1
    assert model.prior.inputs.requires_grad
    model.prior.initialise(x)
    assert not torch.equal(first, model.prior.inputs)


def test_rows_for_a_vamp_are_drawn_with_torchs_generator():
    model, x = model_with_vamp(components=10), torch.randn(100, 3, dtype=torch.float64)
    torch.manual_seed(5)
    model.prior.initialise(x)
    first = model.prior.inputs.detach().clone()
    torch.manual_seed(5)
    model.prior.initialise(x)
    assert torch.equal(first, model.prior.inputs)


def test_a_copied_model_asks_its_own_encoder():
    model = model_with_vamp()
    other = copy.deepcopy(model)
    z = torch.randn(20, 2, dtype=torch.float64)
    before = model.prior().log_prob(z)
    assert torch.equal(other.prior().log_prob(z), before)
    away_from_its_start(other.encoder, 1.0)
    assert torch.equal(model.prior().log_prob(z), before)
    assert not torch.allclose(other.prior().log_prob(z), before)
    away_from_its_start(model.encoder, 1.0)
    assert not torch.allclose(model.prior().log_prob(z), before)


def test_a_loaded_model_with_a_vamp_is_the_saved_one():
    model, other = model_with_vamp(), model_with_vamp()
    other.load_state_dict(model.state_dict())
    z = torch.randn(20, 2, dtype=torch.float64)
    assert torch.equal(other.prior().log_prob(z), model.prior().log_prob(z))


def test_a_vamp_without_a_model_is_refused():
    with pytest.raises(UsageError, match="give it to a VAE"):
        VampPrior(2)()


# -------------------------------------------------------------------------------------------------
# FlowPrior


@pytest.mark.parametrize("latent_dim", [1, 2, 5])
def test_a_flow_prior_starts_near_the_standard_normal(latent_dim):
    """KL from it, per dimension, in nats."""
    d = FlowPrior(latent_dim).double()()
    z = d.sample((5000,))
    gap = (d.log_prob(z) - StandardNormal(latent_dim).double()().log_prob(z)).mean()
    assert abs(float(gap.detach())) / latent_dim < 0.01


def test_placing_a_flow_prior_gives_it_the_mean_and_variance_of_the_codes():
    p = FlowPrior(2).double()
    codes = torch.tensor([3.0, -100.0]) + torch.tensor([0.01, 20.0]) * torch.randn(1000, 2)
    p.place(codes)
    assert torch.allclose(p.mu, codes.double().mean(0))
    assert torch.allclose(p.logvar.exp(), codes.double().var(0), rtol=1e-5)
    assert p.mu.requires_grad
    d = p()
    # The flow is near the identity still, so the law's own moments are close to those; exp(0.1)
    # either way.
    assert bool(((d.mean - p.mu).abs() < 0.3 * codes.std(0)).all())
    assert bool(((d.variance.sqrt() / codes.std(0)).log().abs() < 0.2).all())


def test_placing_a_flow_prior_on_a_collapsed_dimension_is_finite():
    p = FlowPrior(2)
    p.place(torch.cat([torch.randn(50, 1), torch.zeros(50, 1)], 1))
    assert bool(torch.isfinite(p.logvar).all())
    assert bool(torch.isfinite(p().log_prob(p().sample((10,)))).all())


# -------------------------------------------------------------------------------------------------
# FlowMatchingPrior


@pytest.mark.parametrize("latent_dim", [1, 2, 5])
def test_flow_matching_starts_as_the_standard_normal(latent_dim):
    p, z = FlowMatchingPrior(latent_dim).double(), torch.randn(20, latent_dim).double()
    assert torch.allclose(p().log_prob(z), StandardNormal(latent_dim).double()().log_prob(z))


def test_placed_flow_matching_is_the_gaussian_of_the_codes():
    codes = torch.randn(500, 3) @ torch.tensor([[1.0, 2, 0], [0, 0.5, 3], [0, 0, 1]]) + 7
    p = FlowMatchingPrior(3)
    plain = p.place(codes)
    assert torch.allclose(plain.mean(0), torch.zeros(3), atol=1e-5)
    assert torch.allclose(plain.T @ plain / 500, torch.eye(3), atol=1e-3)
    known = MultivariateNormal(codes.mean(0), torch.cov(codes.T, correction=0))
    assert torch.allclose(p().log_prob(codes), known.log_prob(codes), atol=0.01)
    assert set(p.state_dict()) >= {"mu", "factor"}


def test_placing_flow_matching_on_a_collapsed_dimension_is_finite():
    p = FlowMatchingPrior(2)
    plain = p.place(torch.cat([torch.randn(50, 1), torch.zeros(50, 1)], 1))
    assert bool(torch.isfinite(plain).all())
    assert bool(torch.isfinite(p().log_prob(p().sample((10,)))).all())
