"""The VAE against the linear-Gaussian model, whose log p(x) and posterior are known, and its face to the user."""

import pytest
import torch
from oracle import LinearGaussian, is_mean, parameters_without_gradient
from torch import nn
from torch.distributions import Independent, Normal

from aevb import VAE
from aevb.errors import DataError, UsageError
from aevb.interfaces import Posterior, Prior
from aevb.likelihoods.bernoulli import Bernoulli


class PriorWithoutClosedForm(Prior):
    """N(0, I), but not as a class that the model knows a closed KL for."""

    def __init__(self, latent_dim):
        super().__init__()
        self.latent_dim = latent_dim

    def forward(self):
        return Independent(Normal(torch.zeros(self.latent_dim).double(), 1.0), 1, validate_args=False)


class NotDiagonal(Posterior):
    def __init__(self, num_features, latent_dim):
        super().__init__()
        self.num_features, self.head = num_features, nn.Linear(num_features, latent_dim)

    def forward(self, h):
        return Independent(Normal(self.head(h), 1.0), 1)


def test_sampled_elbo_is_log_p_for_every_draw_at_the_exact_posterior():
    """log p(x|z) + log p(z) - log q(z|x) = log p(x) whatever z: the sampled estimator has no variance here."""
    known = LinearGaussian()
    known.model.prior = PriorWithoutClosedForm(2)
    x = known.sample(20)
    for samples in (1, 3):
        reconstruction, kl = known.model.elbo_terms(x, samples)
        assert kl.shape == (20, 1)
        assert torch.allclose(reconstruction - kl.sum(-1), known.marginal.log_prob(x), atol=1e-9)


@pytest.mark.parametrize(("shift", "stretch"), [(0.0, 1.0), (0.3, 1.0), (0.0, 2.0), (-0.2, 0.5)])
@pytest.mark.parametrize("closed", [True, False])
def test_elbo_is_log_p_minus_the_gap(shift, stretch, closed):
    known = LinearGaussian()
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
    assert [layer.out_features for layer in model.decoder if isinstance(layer, nn.Linear)] == [8, 16, 5]


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
        ({"latent_dim": 0}, "latent_dim must be at least 1; got 0"),
        ({"data_dim": -1}, "data_dim"),
        ({"hidden": (8, 0)}, "hidden"),
        ({"activation": "rleu"}, "Did you mean 'relu'"),
    ],
)
def test_bad_sizes_and_names_are_refused(arguments, says):
    with pytest.raises(UsageError, match=says):
        VAE(**arguments)


def test_rows_of_another_width_are_refused():
    with pytest.raises(DataError, match=r"rows of 784 numbers.*got shape \(2, 1, 28, 28\).*flatten"):
        VAE(784, 8, 2)(torch.zeros(2, 1, 28, 28))


def test_encode_says_when_there_is_no_mu_and_logvar():
    with pytest.raises(UsageError, match="posterior_given"):
        VAE(2, 8, 2, posterior=NotDiagonal(8, 2)).encode(torch.zeros(3, 2))
