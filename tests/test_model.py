"""The VAE against the linear-Gaussian model, whose log p(x) and posterior are known.

Also its methods, the errors that it raises, and the way it is built.
"""

import math

import pytest
import torch
from oracle import LinearGaussian, is_mean, parameters_without_gradient
from torch import nn
from torch.distributions import Independent, Normal

from aevb import VAE
from aevb.errors import DataError, UsageError
from aevb.interfaces import Posterior, Prior
from aevb.parts.likelihoods.bernoulli import Bernoulli
from aevb.parts.likelihoods.gaussian import GaussianFixed
from aevb.parts.likelihoods.levels import Categorical
from aevb.parts.networks.indicators import Indicators
from aevb.parts.posteriors.gaussian import DiagonalGaussian
from aevb.parts.priors.standard_normal import StandardNormal
from aevb.parts.priors.vamp import VampPrior


class PriorWithoutClosedForm(Prior):
    """N(0, I), but not as a class that the model knows a closed KL for."""

    def __init__(self, latent_dim):
        super().__init__()
        self.latent_dim = latent_dim

    def forward(self):
        return Independent(
            Normal(torch.zeros(self.latent_dim).double(), 1.0), 1, validate_args=False
        )


class NotDiagonal(Posterior):
    def __init__(self, num_features, latent_dim):
        super().__init__()
        self.num_features, self.head = num_features, nn.Linear(num_features, latent_dim)

    def forward(self, h):
        return Independent(Normal(self.head(h), 1.0), 1)


def test_sampled_elbo_is_log_p_for_every_draw_at_the_exact_posterior():
    """log p(x|z) + log p(z) - log q(z|x) is log p(x) for every z: the estimator has no variance."""
    known = LinearGaussian()
    known.model.prior = PriorWithoutClosedForm(2)
    x = known.sample(20)
    for samples in (1, 3):
        reconstruction, kl = known.model.elbo_terms(x, samples)
        assert kl.shape == (20, 1)
        assert torch.allclose(reconstruction - kl.sum(-1), known.marginal.log_prob(x), atol=1e-9)


@pytest.mark.parametrize(("shift", "stretch"), [(0.0, 1.0), (0.3, 1.0), (0.0, 2.0), (-0.2, 0.5)])
@pytest.mark.parametrize("closed", [True, False])
@pytest.mark.parametrize("correlated", [False, True], ids=["diagonal", "full"])
def test_elbo_is_log_p_minus_the_gap(shift, stretch, closed, correlated):
    known = LinearGaussian(correlated=correlated)
    known.set_posterior(shift, stretch)
    if not closed:
        known.model.prior = PriorWithoutClosedForm(2)
    x = known.sample(20_000)
    reconstruction, kl = known.model.elbo_terms(x)
    excess = (reconstruction - kl.sum(-1)).detach() - known.marginal.log_prob(x)
    assert is_mean(excess, -known.gap(shift, stretch))


def test_closed_kl_has_no_noise_where_the_sampled_one_has():
    """Estimator B of the paper against estimator A: the closed KL is the same for every draw."""
    known = LinearGaussian()
    known.set_posterior(shift=0.5)
    x = known.sample(1).expand(5000, -1)
    closed = known.model.elbo_terms(x)[1].sum(-1)
    known.model.prior = PriorWithoutClosedForm(2)
    sampled = known.model.elbo_terms(x)[1].sum(-1)
    assert float(closed.detach().std()) < 1e-12 < float(sampled.detach().std())
    assert is_mean(sampled.detach(), float(closed[0].detach()))


def test_gradients_match_finite_differences():
    """In float64, on fixed noise, for every parameter of encoder, posterior and decoder."""
    model = VAE(3, (5,), 2, activation="tanh").double()
    x = torch.randn(4, 3, dtype=torch.float64)

    def bound():
        torch.manual_seed(1)
        reconstruction, kl = model.elbo_terms(x)
        return (reconstruction - kl.sum(-1)).mean()

    bound().backward()
    assert parameters_without_gradient(model) == []
    for parameter in model.parameters():
        flat, gradient = parameter.data.view(-1), parameter.grad.view(-1)
        for i in range(0, len(flat), max(1, len(flat) // 3)):
            kept, step = float(flat[i]), 1e-6
            with torch.no_grad():
                flat[i] = kept + step
                up = float(bound())
                flat[i] = kept - step
                down = float(bound())
                flat[i] = kept
            assert float(gradient[i]) == pytest.approx((up - down) / (2 * step), rel=1e-5, abs=1e-8)


def test_default_network_is_the_tutorials():
    """Layers, sizes and the order in which initial weights are drawn."""
    torch.manual_seed(0)
    shapes = [(64, 2), (64, 64), (2, 64), (2, 64), (64, 2), (64, 64), (2, 64)]
    by_hand = [nn.Linear(columns, rows) for rows, columns in shapes]
    torch.manual_seed(0)
    model = VAE()
    weights = [p for p in model.parameters() if p.ndim == 2]
    assert [tuple(w.shape) for w in weights] == shapes
    assert all(torch.equal(w, layer.weight) for w, layer in zip(weights, by_hand, strict=True))


def test_face():
    model = VAE(data_dim=5, hidden=(16, 8), latent_dim=3, activation="silu")
    x = torch.randn(7, 5)
    mu, logvar = model.encode(x)
    z = model.reparameterize(mu, logvar)
    recon, mu2, _ = model(x)
    assert mu.shape == logvar.shape == z.shape == (7, 3)
    assert recon.shape == model.decode(z).shape == x.shape
    assert torch.equal(mu, mu2)
    assert model.sample(4).shape == (4, 5)
    assert torch.equal(model.reconstruct(x), model.decode(mu))
    assert [layer.out_features for layer in model.decoder if isinstance(layer, nn.Linear)] == [
        8,
        16,
        5,
    ]


def test_bernoulli_decodes_to_probabilities_and_samples_to_bits():
    model = VAE(6, 8, 2, likelihood=Bernoulli(6))
    assert bool(((model.sample(50) > 0) & (model.sample(50) < 1)).all())
    assert set(model.sample(50, noise=True).unique().tolist()) == {0.0, 1.0}


def test_samples_have_the_models_marginal():
    """With noise, the covariance is W W' + v I; without, W W'."""
    known = LinearGaussian()
    noisy = known.model.sample(50_000, noise=True)
    for i in range(4):
        for j in range(i + 1):
            product = (noisy[:, i] - known.b[i]) * (noisy[:, j] - known.b[j])
            assert is_mean(product, float(known.marginal.covariance_matrix[i, j]))
    means = known.model.sample(50_000)
    assert is_mean((means[:, 0] - known.b[0]) ** 2, float((known.w @ known.w.T)[0, 0]))


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ({"latent_dim": 0}, "latent_dim must be an integer of at least 1; got 0"),
        ({"data_dim": -1}, "data_dim"),
        ({"data_dim": 2.0}, "data_dim must be an integer of at least 1; got 2.0"),
        ({"latent_dim": 2.5}, "latent_dim must be an integer"),
        ({"hidden": 64.0}, "hidden"),
        ({"hidden": (8, 8.0)}, "hidden must be an integer of at least 1; got 8.0"),
        ({"hidden": (8, 0)}, "hidden"),
        ({"activation": "rleu"}, "Did you mean 'relu'"),
    ],
)
def test_bad_sizes_and_names_are_refused(arguments, says):
    with pytest.raises(UsageError, match=says):
        VAE(**arguments)


def test_rows_of_another_width_are_refused():
    with pytest.raises(
        DataError, match=r"rows of 784 numbers.*got shape \(2, 1, 28, 28\).*flatten"
    ):
        VAE(784, 8, 2)(torch.zeros(2, 1, 28, 28))


def test_encode_says_when_there_is_no_mu_and_logvar():
    with pytest.raises(UsageError, match="posterior_given"):
        VAE(2, 8, 2, posterior=NotDiagonal(8, 2)).encode(torch.zeros(3, 2))


class WithoutReparameterization(Posterior):
    """Samples, but no gradient through them."""

    def __init__(self, num_features, latent_dim):
        super().__init__()
        self.num_features, self.head = num_features, nn.Linear(num_features, latent_dim)

    def forward(self, h):
        return Independent(torch.distributions.Bernoulli(logits=self.head(h)), 1)


@pytest.mark.parametrize(
    ("part", "arguments"),
    [
        ("likelihood", {"likelihood": GaussianFixed(1)}),
        ("likelihood", {"likelihood": GaussianFixed(6)}),
        ("encoder", {"encoder": nn.Linear(5, 7)}),
        ("encoder", {"encoder": nn.Linear(4, 8)}),
        (
            "encoder",
            {"encoder": nn.Sequential()},
        ),  # empty: passes 5 numbers on where the posterior takes 8
        ("posterior", {"posterior": DiagonalGaussian(8, 2)}),
        ("posterior", {"posterior": WithoutReparameterization(8, 3)}),
        ("encoder", {"posterior": DiagonalGaussian(7, 3)}),
        ("decoder", {"decoder": nn.Linear(3, 4)}),
        ("decoder", {"decoder": nn.Linear(2, 5)}),
        ("decoder", {"decoder": nn.Sequential()}),
        ("prior", {"prior": StandardNormal(2)}),
        ("prior", {"prior": StandardNormal(4)}),
    ],
)
def test_a_part_that_does_not_fit_is_named(part, arguments):
    """When the model is built, not when the first batch comes."""
    with pytest.raises(UsageError, match=f"^the {part} "):
        VAE(5, 8, 3, **arguments)


def test_parts_of_ones_own_are_used_as_they_are():
    """An empty nn.Sequential is false as a truth value, but it is a network: the identity."""
    encoder, decoder = nn.Sequential(), nn.Sequential()
    model = VAE(4, 8, 4, encoder=encoder, decoder=decoder, posterior=DiagonalGaussian(4, 4))
    assert model.encoder is encoder
    assert model.decoder is decoder
    z = torch.randn(3, 4)
    assert torch.equal(model.decode(z), z)


def test_building_draws_the_initial_weights_and_nothing_else():
    """The check of the parts draws from posterior and prior, but not with the user's generator."""
    torch.manual_seed(0)
    for columns, rows in [(2, 64), (64, 64), (64, 2), (64, 2), (2, 64), (64, 64), (64, 2)]:
        nn.Linear(columns, rows)
    expected = torch.get_rng_state()
    torch.manual_seed(0)
    VAE()
    assert torch.equal(torch.get_rng_state(), expected)


def test_building_leaves_parts_as_they_were():
    """No batch statistic moves, no gradient appears, and each part keeps its mode."""
    normalised = nn.BatchNorm1d(8)
    encoder = nn.Sequential(nn.Linear(4, 8), normalised, nn.Dropout(0.5).eval())
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    VAE(4, 8, 2, encoder=encoder, prior=VampPrior(2, 3))
    assert all(torch.equal(value, before[name]) for name, value in encoder.state_dict().items())
    assert int(normalised.num_batches_tracked) == 0
    assert [module.training for module in encoder] == [True, True, False]
    assert all(p.grad is None for p in encoder.parameters())


def test_log_joint_by_hand():
    """log N(x; W z + b, v I) and log N(z; 0, I), for several z of each row."""
    known = LinearGaussian()
    x, z = known.sample(5), torch.randn(3, 5, 2, dtype=torch.float64)
    log_likelihood, log_prior = known.model.log_joint(x, z)
    error = x - (z @ known.w.T + known.b)
    by_hand = -0.5 * error.square().sum(-1) / known.v - 2 * math.log(2 * math.pi * known.v)
    assert log_likelihood.shape == log_prior.shape == (3, 5)
    assert torch.allclose(log_likelihood, by_hand)
    assert torch.allclose(log_prior, -0.5 * z.square().sum(-1) - math.log(2 * math.pi))


def test_log_weights_are_log_p_at_the_exact_posterior():
    known = LinearGaussian()
    x = known.sample(20)
    weights = known.model.log_weights(x, 7)
    assert weights.shape == (7, 20)
    assert torch.allclose(weights, known.marginal.log_prob(x).expand(7, -1), atol=1e-9)


def test_log_weights_average_to_the_bound_and_their_exponentials_to_p():
    """For an inexact posterior: the mean is log p minus the gap, and the mean weight is p.

    Five standard errors, ten comparisons: once in 170,000 seeds.
    """
    known = LinearGaussian()
    known.set_posterior(shift=0.2, stretch=1.5)
    x = known.sample(5)
    excess = (known.model.log_weights(x, 20_000) - known.marginal.log_prob(x)).detach()
    for row in excess.T:
        assert is_mean(row, -known.gap(0.2, 1.5))
        assert is_mean(row.exp(), 1.0)


def test_elbo_terms_and_log_weights_are_of_the_same_draws():
    """Without a closed KL, the same noise gives the same numbers in both.

    reconstruction - kl is then the mean of the log-weights.
    """
    known = LinearGaussian()
    known.set_posterior(shift=0.2, stretch=1.5)
    known.model.prior = PriorWithoutClosedForm(2)
    x = known.sample(5)
    torch.manual_seed(3)
    reconstruction, kl = known.model.elbo_terms(x, 4)
    torch.manual_seed(3)
    assert torch.allclose(reconstruction - kl.sum(-1), known.model.log_weights(x, 4).mean(0))


@pytest.mark.parametrize("levels", [2, 3, 17, 256])
def test_indicators_are_one_hot_at_integers(levels):
    """Numbers d * levels to (d + 1) * levels - 1 belong to dimension d, for float32 rows too."""
    k = torch.randint(levels, (50, 3))
    given = Indicators(levels)(k.float() / (levels - 1))
    expected = nn.functional.one_hot(k, levels).flatten(-2)
    assert given.shape == (50, 3 * levels)
    assert torch.allclose(given, expected.float(), atol=1e-4)


def test_indicators_between_integers_are_shared_and_carry_a_gradient():
    x = torch.tensor([[0.25 / 3, 2.5 / 3]], dtype=torch.float64, requires_grad=True)
    given = Indicators(4)(x)
    assert torch.allclose(
        given, torch.tensor([[0.75, 0.25, 0, 0, 0, 0, 0.5, 0.5]], dtype=torch.float64)
    )
    (gradient,) = torch.autograd.grad(given[0, 1], x)
    assert torch.allclose(gradient, torch.tensor([[3.0, 0.0]], dtype=torch.float64))
    assert Indicators(4).state_dict() == {}


def test_a_model_of_names_sees_indicators_and_gives_levels():
    """A VampPrior is part of it, because its inputs need the gradient between integers."""
    encoder = nn.Sequential(Indicators(5), nn.Linear(15, 8), nn.Tanh())
    model = VAE(3, 8, 2, likelihood=Categorical(3, 5), encoder=encoder, prior=VampPrior(2, 4))
    x = torch.randint(5, (20, 3)) / 4
    model.prior.initialise(x)
    with torch.no_grad():
        model.prior.inputs.mul_(0.9).add_(0.03)
    reconstruction, kl = model.elbo_terms(x)
    (kl.sum() - reconstruction.sum()).backward()
    assert parameters_without_gradient(model) == []
    model.likelihood.check(model.sample(50, noise=True))
