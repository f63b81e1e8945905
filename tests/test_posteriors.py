"""The diagonal Gaussian posterior: its sample, its divergence, its bounds."""

import math

import pytest
import torch
from oracle import is_mean, parameters_without_gradient, square_grid
from torch.distributions import Independent, Normal

from aevb.posteriors import POSTERIORS
from aevb.posteriors.gaussian import (
    LOGVAR_MAX,
    LOGVAR_MIN,
    DiagonalGaussian,
    DiagonalNormal,
    kl_divergence,
    kl_per_dimension,
    reparameterize,
)

CASES = {"diagonal": lambda: DiagonalGaussian(num_features=6, latent_dim=2)}


@pytest.fixture(params=CASES)
def q(request):
    return CASES[request.param]().double()


def test_every_table_entry_has_a_case():
    assert {type(make()) for make in CASES.values()} == {POSTERIORS[name] for name in POSTERIORS}


def test_contract(q):
    """Shapes for any leading dimensions; normalised; samples fit log_prob; a gradient reaches every parameter."""
    h = torch.randn(3, 5, q.num_features, dtype=torch.float64)
    z = q(h).rsample((7,))
    assert z.shape == (7, 3, 5, 2)
    assert q(h).mean.shape == (3, 5, 2)
    assert q(h).log_prob(z).shape == (7, 3, 5)
    (z.square().sum() + z.exp().sum()).backward()
    assert parameters_without_gradient(q) == []

    one = q(h[0, 0])
    points, cell = square_grid(2, 12.0, 600)
    log_p = one.log_prob(points).detach()
    assert float(log_p.exp().sum() * cell) == pytest.approx(1.0, abs=1e-4)
    drawn = one.rsample((20_000,)).detach()
    assert is_mean(one.log_prob(drawn).detach(), float((log_p.exp() * log_p).nan_to_num().sum() * cell))


def test_density_is_that_of_torch():
    mu, logvar, z = torch.randn(3, 5, 4, dtype=torch.float64).unbind(0)
    expected = Independent(Normal(mu, (0.5 * logvar).exp()), 1)
    d = DiagonalNormal(mu, logvar)
    assert torch.allclose(d.log_prob(z), expected.log_prob(z))
    assert torch.equal(d.mean, mu)
    assert torch.allclose(d.variance, expected.variance)


def test_reparameterized_sample_has_the_right_moments():
    mu, logvar = torch.tensor([1.5]), torch.tensor([-0.7])
    z = reparameterize(mu.expand(100_000, 1), logvar.expand(100_000, 1))[:, 0]
    assert is_mean(z, 1.5)
    assert is_mean((z - 1.5) ** 2, math.exp(-0.7))
    assert is_mean((z - 1.5) ** 4, 3 * math.exp(-1.4))  # a Gaussian's kurtosis: a uniform's would be 1.8


def test_gradients_of_the_sample():
    """dz/dmu = 1 and dz/dlogvar = (z - mu) / 2."""
    mu, logvar = torch.randn(2, 50, 3, dtype=torch.float64, requires_grad=True).unbind(0)
    z = reparameterize(mu, logvar)
    dmu, dlogvar = torch.autograd.grad(z.sum(), (mu, logvar))
    assert torch.equal(dmu, torch.ones_like(dmu))
    assert torch.allclose(dlogvar, (z - mu) / 2)


def test_sample_collapses_to_the_mean():
    mu = torch.randn(50, 2)
    assert torch.allclose(reparameterize(mu, torch.full((50, 2), LOGVAR_MIN)), mu, atol=1e-4)


def test_kl_against_an_integral():
    mu, logvar = torch.tensor([[0.8, -1.2]], dtype=torch.float64), torch.tensor([[-0.5, 0.9]], dtype=torch.float64)
    points, cell = square_grid(2, 14.0, 700)
    log_q = DiagonalNormal(mu[0], logvar[0]).log_prob(points)
    log_p = DiagonalNormal(torch.zeros(2).double(), torch.zeros(2).double()).log_prob(points)
    assert float(kl_divergence(mu, logvar)) == pytest.approx(float((log_q.exp() * (log_q - log_p)).sum() * cell), abs=1e-6)


def test_kl_is_zero_at_the_prior_and_only_there():
    assert kl_divergence(torch.zeros(5, 3), torch.zeros(5, 3)).tolist() == [0.0] * 5
    assert bool((kl_divergence(torch.randn(1000, 3), torch.randn(1000, 3)) > 0).all())


def test_kl_sums_over_dimensions():
    mu, logvar = torch.randn(2, 6, 4).unbind(0)
    assert kl_per_dimension(mu, logvar).shape == (6, 4)
    assert torch.equal(kl_per_dimension(mu, logvar).sum(-1), kl_divergence(mu, logvar))


@pytest.mark.parametrize(("emitted", "kept"), [(1e4, LOGVAR_MAX), (-1e4, LOGVAR_MIN), (3.0, 3.0), (-29.9, -29.9)])
def test_emitted_logvar_is_bounded_and_the_identity_inside(emitted, kept):
    q = DiagonalGaussian(1, 1)
    with torch.no_grad():
        q.logvar.weight.zero_()
        q.logvar.bias.fill_(emitted)
    d = q(torch.ones(1, 1))
    assert d.logvar.item() == pytest.approx(kept)
    assert math.isfinite(float(kl_divergence(d.mu, d.logvar).detach()))
