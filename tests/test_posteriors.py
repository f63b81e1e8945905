"""Every posterior through one contract, and the distributions that they return."""

import math

import pytest
import torch
from oracle import is_mean, parameters_without_gradient, square_grid
from torch.autograd.functional import jacobian
from torch.distributions import (
    Categorical,
    Independent,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
)

from aevb import VAE
from aevb.parts.posteriors import POSTERIORS
from aevb.parts.posteriors.flow import CouplingFlow, SplineFlow
from aevb.parts.posteriors.gaussian import (
    DiagonalGaussian,
    FullGaussian,
    kl_divergence,
    kl_per_dimension,
)
from aevb.probability.distributions import (
    LOGVAR_MAX,
    LOGVAR_MIN,
    DiagonalNormal,
    NormalMixture,
    reparameterize,
    rsample_and_log_prob,
)

WIDTH = 6
FLOWS = [CouplingFlow, SplineFlow]


def bent(q, size=0.15):
    """Moved far from the identity, where a flow starts, and with more gain than in training."""
    q = q.double()
    for module in q.modules():
        if hasattr(module, "gain"):
            module.gain = 0.1
    with torch.no_grad():
        for name, parameter in q.named_parameters():
            if name.startswith(("flow", "lower")):
                parameter.mul_(1.5).add_(size * torch.randn_like(parameter))
    return q


CASES = {
    "diagonal": lambda: DiagonalGaussian(WIDTH, 2).double(),
    "full": lambda: bent(FullGaussian(WIDTH, 2), 1.0),
    "flow": lambda: bent(CouplingFlow(WIDTH, 2), 0.1),  # no narrower than a grid can see
    "spline_flow": lambda: bent(SplineFlow(WIDTH, 2), 0.05),
}


def features(*lead):
    return torch.randn(*lead, WIDTH, dtype=torch.float64)


@pytest.fixture(params=CASES)
def q(request):
    return CASES[request.param]()


@pytest.fixture(params=[(kind, latent_dim) for kind in FLOWS for latent_dim in (1, 2, 5)], ids=str)
def flow(request):
    """In 1, 2 and 5 dimensions, of both kinds, bent."""
    kind, latent_dim = request.param
    return bent(kind(WIDTH, latent_dim))


def test_every_table_entry_has_a_case():
    assert {type(make()) for make in CASES.values()} == {POSTERIORS[name] for name in POSTERIORS}


def test_contract(q):
    """Any leading dimensions; a gradient reaches every parameter, by samples and by the density."""
    h = features(3, 5)
    d = q(h)
    z = d.rsample((7,))
    assert (d.batch_shape, d.event_shape) == ((3, 5), (2,))
    assert z.shape == (7, 3, 5, 2)
    assert d.mean.shape == d.variance.shape == (3, 5, 2)
    assert d.log_prob(z).shape == (7, 3, 5)
    assert q(h[0, 0]).rsample().shape == (2,)
    assert q(h[0, 0]).log_prob(z[0, 0, 0]).shape == ()
    (z.square().sum() + z.exp().sum()).backward()
    assert parameters_without_gradient(q) == []
    q.zero_grad()
    q(h).log_prob(z.detach()).sum().backward()
    assert parameters_without_gradient(q) == []


def test_is_normalised_and_samples_fit_log_prob(q):
    """The density integrates to 1, and the samples have its entropy and its moments.

    Five standard errors: six comparisons for each of four posteriors fail by chance once in 70,000
    seeds.
    """
    d = q(features())
    points, cell = square_grid(2, 9.0, 451)
    with torch.no_grad():
        log_p = torch.cat([d.log_prob(part) for part in points.split(20_000)])
        p = log_p.exp() * cell
        assert float(p.sum()) == pytest.approx(1.0, abs=1e-4)
        drawn = d.rsample((20_000,))
        assert is_mean(d.log_prob(drawn), float((p * log_p).nan_to_num().sum()))
        for j in range(2):
            assert is_mean(drawn[:, j], float((p * points[:, j]).sum()))
            assert is_mean(drawn[:, j].square(), float((p * points[:, j].square()).sum()))
        assert is_mean(drawn.prod(-1), float((p * points.prod(-1)).sum()))


def full(latent_dim, *lead):
    """A Gaussian with correlations, and torch's own with the same covariance."""
    d = bent(FullGaussian(WIDTH, latent_dim), 1.0)(features(*lead))
    factor = torch.exp(0.5 * d.logvar).unsqueeze(-1) * (
        d.lower + torch.eye(latent_dim, dtype=torch.float64)
    )
    return d, MultivariateNormal(d.mu, scale_tril=factor)


@pytest.mark.parametrize("latent_dim", [1, 2, 5])
def test_a_full_gaussian_is_torchs(latent_dim):
    d, known = full(latent_dim, 3, 4)
    z = known.sample((6,))
    assert latent_dim == 1 or float(d.lower.detach().abs().mean()) > 0.1
    torch.testing.assert_close(d.log_prob(z), known.log_prob(z))
    torch.testing.assert_close(d.log_prob(z[0, 0, 0]), known.log_prob(z[0, 0, 0]))
    torch.testing.assert_close(d.log_prob(z.unsqueeze(1)), known.log_prob(z.unsqueeze(1)))
    torch.testing.assert_close(d.variance, known.variance)
    standard = MultivariateNormal(
        torch.zeros(latent_dim, dtype=torch.float64), torch.eye(latent_dim, dtype=torch.float64)
    )
    torch.testing.assert_close(
        d.kl_to_standard_normal(), torch.distributions.kl_divergence(known, standard)
    )
    drawn, log_p = d.rsample_and_log_prob((8, 2))
    torch.testing.assert_close(log_p, known.log_prob(drawn))


def test_the_covariance_of_draws_of_a_full_gaussian():
    """For 100,000 draws, 15 comparisons at five standard errors fail by chance once in 100,000."""
    d, known = full(5)
    with torch.no_grad():
        away = d.rsample((100_000,)) - d.mu
        for i in range(5):
            for j in range(i + 1):
                assert is_mean(away[:, i] * away[:, j], float(known.covariance_matrix[i, j]))


def test_a_full_gaussian_starts_as_a_diagonal_one_and_the_elbo_has_its_kl_in_closed_form():
    posterior = FullGaussian(6, 3)
    model = VAE(5, (6,), 3, posterior=posterior).double()
    x = torch.randn(4, 5, dtype=torch.float64)
    q = model.posterior_given(x)
    assert not q.lower.any()
    torch.testing.assert_close(model.elbo_terms(x)[1].sum(-1), kl_divergence(q.mu, q.logvar))
    with torch.no_grad():
        posterior.lower_weight.normal_()
    q = model.posterior_given(x)
    torch.testing.assert_close(model.elbo_terms(x, 7)[1], q.kl_to_standard_normal().unsqueeze(-1))


def test_rows_do_not_see_each_other(q):
    """The density of a row is that of the row alone."""
    h, z = features(4), torch.randn(4, 2, dtype=torch.float64)
    assert torch.allclose(
        q(h).log_prob(z), torch.stack([q(h[i]).log_prob(z[i]) for i in range(4)]), rtol=1e-10
    )


def test_drawing_with_the_density_agrees_with_the_density_of_the_draw(q):
    d = q(features(4))
    z, log_q = rsample_and_log_prob(d, 3)
    assert (z.shape, log_q.shape) == ((3, 4, 2), (3, 4))
    assert torch.allclose(log_q, d.log_prob(z), atol=1e-6)


def test_the_frozen_copy_is_the_same_density_without_gradients_to_parameters(q):
    """A gradient to z it has still, and the same one."""
    model = VAE(4, (WIDTH,), 2, posterior=q.float()).double()
    x = torch.randn(5, 4, dtype=torch.float64)
    live, frozen = model.posterior_and_frozen(x)
    z = live.rsample((3,)).detach().requires_grad_()
    assert torch.equal(frozen.log_prob(z), live.log_prob(z))
    (through_frozen,) = torch.autograd.grad(frozen.log_prob(z).sum(), z)
    (through_live,) = torch.autograd.grad(live.log_prob(z).sum(), z)
    assert torch.equal(through_frozen, through_live)
    assert bool((through_frozen != 0).all())
    frozen.log_prob(z).sum().backward()
    assert all(p.grad is None for p in model.parameters())
    live.log_prob(z).sum().backward()
    assert (
        parameters_without_gradient(model.encoder) + parameters_without_gradient(model.posterior)
        == []
    )


# -------------------------------------------------------------------------------------------------
# the flows


def test_a_flow_can_be_inverted(flow):
    d, eps = flow(features(50)), torch.randn(50, flow.mu.out_features, dtype=torch.float64)
    u = d.transform.inv(eps)
    assert not torch.allclose(u, eps, atol=0.05)  # this flow does something
    assert torch.allclose(d.transform(u), eps, atol=1e-6)
    assert torch.allclose(d.transform.inv(d.transform(eps)), eps, atol=1e-6)


def test_a_flow_can_be_inverted_outside_the_splines(flow):
    d, eps = flow(features(50)), 20 * torch.randn(50, flow.mu.out_features, dtype=torch.float64)
    assert torch.allclose(d.transform(d.transform.inv(eps)), eps, atol=1e-6)


def test_density_of_a_flow_is_that_of_the_numerical_jacobian_of_its_sampling(flow):
    """log q(z) = log N(eps; 0, I) - log |dz / d eps|, where ``rsample`` itself maps noise to z."""
    latent_dim = flow.mu.out_features
    d = flow(features())

    def sample_from(eps):
        return d.mu + (0.5 * d.logvar).exp() * d.transform.inv(eps)

    for seed in range(5):
        torch.manual_seed(seed)
        z = d.rsample()
        torch.manual_seed(seed)
        eps = torch.randn(latent_dim, dtype=torch.float64)
        assert torch.allclose(sample_from(eps), z, atol=1e-12)  # so the map is that of rsample
        by_hand = (
            Normal(0.0, 1.0).log_prob(eps).sum()
            - torch.linalg.slogdet(jacobian(sample_from, eps)).logabsdet
        )
        assert torch.allclose(d.log_prob(z), by_hand, atol=1e-6)


def test_jacobian_of_a_flow_against_finite_differences(flow):
    """The same determinant without autograd."""
    d, step = flow(features()), 1e-6
    eps = torch.randn(flow.mu.out_features, dtype=torch.float64)
    shifts = step * torch.eye(len(eps), dtype=torch.float64)
    columns = (d.transform.inv(eps + shifts) - d.transform.inv(eps - shifts)) / (2 * step)
    expected = torch.linalg.slogdet(columns).logabsdet
    assert torch.allclose(d.transform.inv.call_and_ladj(eps)[1], expected, atol=1e-5)


def test_one_pass_for_draw_and_density(flow):
    """``rsample_and_log_prob`` saves the way back; the number and its gradient are the same."""
    d = flow(features(4))
    z, log_q = d.rsample_and_log_prob((3,))
    assert (z.shape, log_q.shape) == ((3, 4, flow.mu.out_features), (3, 4))
    assert torch.allclose(log_q, d.log_prob(z), atol=1e-6)
    one_pass = torch.autograd.grad(
        log_q.sum(), list(flow.parameters()), retain_graph=True, allow_unused=True
    )
    both_ways = torch.autograd.grad(d.log_prob(z).sum(), list(flow.parameters()), allow_unused=True)
    for first, second in zip(one_pass, both_ways, strict=True):
        first, second = (torch.zeros(()) if g is None else g for g in (first, second))
        assert torch.allclose(
            first.double(), second.double(), atol=1e-5 * (1 + float(second.abs().max()))
        )


def test_gradient_reaches_every_parameter_of_a_flow(flow):
    d = flow(features(20))
    d.log_prob(torch.randn(20, flow.mu.out_features, dtype=torch.float64)).sum().backward()
    assert parameters_without_gradient(flow) == []


@pytest.mark.parametrize("kind", FLOWS)
@pytest.mark.parametrize("latent_dim", [1, 2, 5])
def test_a_flow_starts_near_the_diagonal_gaussian(kind, latent_dim):
    """The KL from a fresh flow to the Gaussian of its mu and logvar, for each dimension.

    A bent flow is far from that Gaussian.
    """

    def kl_to_gaussian(q):
        with torch.no_grad():
            d = q(features(100))
            z, log_q = rsample_and_log_prob(d, 50)
            return float((log_q - DiagonalNormal(d.mu, d.logvar).log_prob(z)).mean()) / latent_dim

    fresh, far = kind(WIDTH, latent_dim).double(), bent(kind(WIDTH, latent_dim))
    assert abs(kl_to_gaussian(fresh)) < 0.001
    assert kl_to_gaussian(far) > 0.01


def test_a_flow_depends_on_x_beyond_its_mean_and_scale(flow):
    """mu and sigma held the same, two rows still have two laws."""
    with torch.no_grad():
        flow.mu.weight.zero_()
        flow.logvar.weight.zero_()
    z = torch.randn(50, 1, flow.mu.out_features, dtype=torch.float64)
    first, second = flow(features(2)).log_prob(z).T
    assert float((first - second).abs().detach().mean()) > 0.05


def third_difference(d):
    """Zero for a Gaussian, whose log-density is a parabola."""
    log_p = d.log_prob(torch.linspace(-1, 1, 9, dtype=torch.float64)[:, None]).detach()
    return float(log_p.diff(n=3).abs().max())


def test_in_one_dimension_affine_couplings_are_a_gaussian_and_splines_are_not():
    assert third_difference(bent(CouplingFlow(WIDTH, 1))(features())) < 1e-10
    assert third_difference(bent(SplineFlow(WIDTH, 1))(features())) > 1e-3


@pytest.mark.parametrize("kind", FLOWS)
def test_a_flow_is_no_gaussian_in_two_dimensions(kind):
    """A Gaussian's log-density is a parabola along any line."""
    d = bent(kind(WIDTH, 2))(features())
    t = torch.linspace(-1, 1, 9, dtype=torch.float64)[:, None] * torch.tensor(
        [1.0, 1.0], dtype=torch.float64
    )
    assert float(d.log_prob(t).detach().diff(n=3).abs().max()) > 1e-3


def test_moments_of_a_flow_are_those_of_its_samples_and_always_the_same(flow):
    """512 fixed draws against 20,000 fresh ones, at six standard errors of the 512.

    By chance, one of the 96 numbers fails once in 100,000.
    """
    with torch.no_grad():
        d = flow(features(3))
        mean, variance = d.mean, d.variance
        torch.manual_seed(1234)
        assert torch.equal(d.mean, mean)
        assert torch.equal(d.variance, variance)
        before = torch.get_rng_state()
        _ = d.mean, d.variance
        assert torch.equal(
            torch.get_rng_state(), before
        )  # fixed draws leave the user's generator alone
        drawn = d.rsample((20_000,))
        assert bool(((mean - drawn.mean(0)).abs() < 6 * drawn.std(0) / math.sqrt(512)).all())
        square = (drawn - drawn.mean(0)).square()
        # Half the draws mirror the other half: for a square they count as 256.
        assert bool(((variance - square.mean(0)).abs() < 6 * square.std(0) / math.sqrt(256)).all())


def test_mean_of_a_fresh_flow_is_nearly_exact():
    """Mirror images: what is odd in the noise cancels."""
    d = SplineFlow(WIDTH, 3).double()(features(4))
    assert torch.allclose(d.mean, d.mu, atol=0.1)


def test_a_flow_in_float32_agrees_with_float64(flow):
    h, z = features(50), torch.randn(50, flow.mu.out_features, dtype=torch.float64)
    wide = flow(h).log_prob(z)
    narrow = flow.float()(h.float()).log_prob(z.float()).double()
    assert torch.allclose(narrow, wide, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("kind", FLOWS)
def test_extreme_features_leave_a_flow_finite(kind):
    q = kind(WIDTH, 2)
    h = torch.stack([torch.full((WIDTH,), 1e3), torch.full((WIDTH,), -1e3)]).requires_grad_()
    z, log_q = rsample_and_log_prob(q(h), 20)
    (log_q.sum() + z.sum()).backward()
    assert bool(
        torch.isfinite(z).all() & torch.isfinite(log_q).all() & torch.isfinite(h.grad).all()
    )


def test_a_flow_fits_a_law_that_no_gaussian_has():
    """Two modes at +-2: the fitted spline's KL is less than half of the best Gaussian's."""
    q = SplineFlow(1, 1)
    optimiser = torch.optim.Adam(q.parameters(), lr=1e-2)
    h = torch.zeros(1)

    def two_modes(n):
        return 2 * torch.randint(2, (n, 1)) * 2 - 2 + 0.5 * torch.randn(n, 1)

    for _ in range(100):
        optimiser.zero_grad()
        (-q(h).log_prob(two_modes(256)).mean()).backward()
        optimiser.step()
    z = two_modes(5000)
    truth = MixtureSameFamily(
        Categorical(torch.ones(2)), Normal(torch.tensor([-2.0, 2.0]), 0.5)
    ).log_prob(z[:, 0])
    gaussian = Normal(z.mean(), z.std()).log_prob(z[:, 0])
    kl_flow, kl_gaussian = (
        float((truth - q(h).log_prob(z)).mean().detach()),
        float((truth - gaussian).mean()),
    )
    assert kl_flow < 0.5 * kl_gaussian


# -------------------------------------------------------------------------------------------------
# the distributions


def mixture(components=4, latent_dim=3, spread=1.0, logvar=0.0):
    """Ours and torch's, of the same random weights, means and variances, in float64."""
    log_weights = torch.randn(components).double()
    mu = spread * torch.randn(components, latent_dim).double()
    logvar = logvar + 0.5 * torch.randn(components, latent_dim).double()
    parts = Independent(Normal(mu, (0.5 * logvar).exp()), 1)
    return NormalMixture(log_weights, mu, logvar), MixtureSameFamily(
        Categorical(logits=log_weights), parts
    )


def test_mixture_is_that_of_torch():
    ours, torchs = mixture()
    z = 3 * torch.randn(5, 7, 3).double()
    assert (ours.batch_shape, ours.event_shape) == ((), (3,))
    assert torch.allclose(ours.log_prob(z), torchs.log_prob(z), rtol=1e-10)
    assert ours.log_prob(z[0, 0]).shape == ()
    assert torch.allclose(ours.mean, torchs.mean)
    assert torch.allclose(ours.variance, torchs.variance)


def test_samples_of_a_mixture_have_its_moments():
    """Five standard errors, 13 comparisons: once in 130,000 seeds."""
    ours, torchs = mixture()
    z = ours.sample((20_000,))
    assert ours.sample().shape == (3,)
    assert ours.sample((2, 5)).shape == (2, 5, 3)
    for j in range(3):
        assert is_mean(z[:, j], float(torchs.mean[j]))
        assert is_mean((z[:, j] - torchs.mean[j]).square(), float(torchs.variance[j]))
    # Which component a sample comes from: far apart, the nearest mean tells.
    apart = NormalMixture(
        ours.log_weights, 100 * torch.arange(4).double()[:, None].expand(4, 3), ours.logvar
    )
    component = (apart.sample((20_000,))[:, 0] / 100).round()
    for c in range(4):
        assert is_mean((component == c).double(), float(torchs.mixture_distribution.probs[c]))
    log_p = torchs.log_prob(torchs.sample((50_000,)))
    difference = torch.cat([ours.log_prob(z), 2 * log_p.mean() - log_p])
    assert abs(float(ours.log_prob(z).mean() - log_p.mean())) < 5 * float(
        difference.std()
    ) * math.sqrt(1 / 20_000 + 1 / 50_000)


@pytest.mark.parametrize("logvar", [-8.0, -14.0, -20.0, -30.0])
def test_narrow_components_of_a_mixture_in_float32_keep_their_precision(logvar):
    """|z - mu|^2 / v from an expansion of the square would have no digit left, done in float32.

    What float32 is given, rounded z, mu and logvar, is the question; the answer is then good to
    1e-5 of it.
    """
    ours, _ = mixture(logvar=logvar)
    mu, logvars, weights = ours.mu.float(), ours.logvar.float(), ours.log_weights.float()
    z = (mu + 3 * (0.5 * logvars).exp() * torch.randn(100, 4, 3)).flatten(0, 1)
    narrow = NormalMixture(weights, mu, logvars).log_prob(z)
    parts = Independent(Normal(mu.double(), (0.5 * logvars.double()).exp()), 1)
    expected = MixtureSameFamily(Categorical(logits=weights.double()), parts).log_prob(z.double())
    assert narrow.dtype == torch.float32
    assert torch.allclose(narrow.double(), expected, rtol=1e-5, atol=1e-5)


def test_mixture_far_from_all_components_is_finite():
    ours, torchs = mixture()
    z = torch.full((1, 3), 1e4, dtype=torch.float64)
    assert torch.allclose(ours.log_prob(z), torchs.log_prob(z), rtol=1e-10)
    assert bool(
        torch.isfinite(
            NormalMixture(ours.log_weights.float(), ours.mu.float(), ours.logvar.float()).log_prob(
                z.float()
            )
        )
    )


def test_gradients_of_a_mixture_match_finite_differences():
    ours, _ = mixture()
    z = torch.randn(5, 3, dtype=torch.float64, requires_grad=True)
    inputs = [value.clone().requires_grad_() for value in (ours.log_weights, ours.mu, ours.logvar)]
    assert torch.autograd.gradcheck(
        lambda z, *parts: NormalMixture(*parts).log_prob(z), (z, *inputs)
    )


def test_density_is_that_of_torch():
    mu, logvar, z = torch.randn(3, 5, 4, dtype=torch.float64).unbind(0)
    expected = Independent(Normal(mu, (0.5 * logvar).exp()), 1)
    d = DiagonalNormal(mu, logvar)
    assert torch.allclose(d.log_prob(z), expected.log_prob(z))
    assert torch.equal(d.mean, mu)
    assert torch.allclose(d.variance, expected.variance)


@pytest.mark.parametrize("shape", [(), (4,), (5, 4)])
def test_a_variance_that_broadcasts_is_that_of_every_row(shape):
    """As the Gaussian likelihoods have it: one number, or one for each dimension."""
    mu, z, logvar = (
        torch.randn(5, 4).double(),
        torch.randn(3, 5, 4).double(),
        torch.randn(shape).double(),
    )
    d, expected = (
        DiagonalNormal(mu, logvar),
        Independent(Normal(mu, (0.5 * logvar).exp().expand(5, 4)), 1),
    )
    assert torch.allclose(d.log_prob(z), expected.log_prob(z))
    assert torch.allclose(d.variance, expected.variance)
    assert d.sample((3,)).shape == (3, 5, 4)


def test_reparameterized_sample_has_the_right_moments():
    mu, logvar = torch.tensor([1.5]), torch.tensor([-0.7])
    z = reparameterize(mu.expand(100_000, 1), logvar.expand(100_000, 1))[:, 0]
    assert is_mean(z, 1.5)
    assert is_mean((z - 1.5) ** 2, math.exp(-0.7))
    assert is_mean(
        (z - 1.5) ** 4, 3 * math.exp(-1.4)
    )  # a Gaussian's kurtosis: a uniform's would be 1.8


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


# -------------------------------------------------------------------------------------------------
# the KL divergence


def test_kl_against_an_integral():
    mu, logvar = (
        torch.tensor([[0.8, -1.2]], dtype=torch.float64),
        torch.tensor([[-0.5, 0.9]], dtype=torch.float64),
    )
    points, cell = square_grid(2, 14.0, 700)
    log_q = DiagonalNormal(mu[0], logvar[0]).log_prob(points)
    log_p = DiagonalNormal(torch.zeros(2).double(), torch.zeros(2).double()).log_prob(points)
    assert float(kl_divergence(mu, logvar)) == pytest.approx(
        float((log_q.exp() * (log_q - log_p)).sum() * cell), abs=1e-6
    )


def test_kl_is_zero_at_the_prior_and_only_there():
    assert kl_divergence(torch.zeros(5, 3), torch.zeros(5, 3)).tolist() == [0.0] * 5
    assert bool((kl_divergence(torch.randn(1000, 3), torch.randn(1000, 3)) > 0).all())


def test_kl_sums_over_dimensions():
    mu, logvar = torch.randn(2, 6, 4).unbind(0)
    assert kl_per_dimension(mu, logvar).shape == (6, 4)
    assert torch.equal(kl_per_dimension(mu, logvar).sum(-1), kl_divergence(mu, logvar))


@pytest.mark.parametrize("kind", [DiagonalGaussian, FullGaussian, *FLOWS])
@pytest.mark.parametrize(
    ("emitted", "kept"), [(1e4, LOGVAR_MAX), (-1e4, LOGVAR_MIN), (3.0, 3.0), (-29.9, -29.9)]
)
def test_emitted_logvar_is_bounded_and_the_identity_inside(kind, emitted, kept):
    q = kind(1, 1)
    with torch.no_grad():
        q.logvar.weight.zero_()
        q.logvar.bias.fill_(emitted)
    d = q(torch.ones(1, 1))
    assert d.logvar.item() == pytest.approx(kept)
    assert math.isfinite(float(kl_divergence(d.mu, d.logvar).detach()))


@pytest.mark.parametrize("name", ["flow", "spline_flow"])
def test_the_kl_of_a_flow_is_that_of_its_samples_with_less_noise(name):
    """The KL is that of the straight Gaussian plus a part that the flow adds.

    It has the mean of the sampled KL, and no noise while the flow is straight.
    """
    torch.manual_seed(3)
    posterior = POSTERIORS[name](6, 3)
    model = VAE(5, (6,), 3, posterior=posterior).double()
    x = torch.randn(4, 5, dtype=torch.float64)
    with torch.no_grad():
        for value in posterior.flow.parameters():
            value.copy_(torch.randn_like(value) * 0.4)
        q = model.posterior_given(x)
        z, log_q = q.rsample_and_log_prob((20_000,))
        torch.testing.assert_close(log_q, q.log_prob(z), rtol=1e-6, atol=1e-6)
        sampled = log_q - model.prior().log_prob(z)
        ours = model.elbo_terms(x.repeat(2000, 1))[1][:, 0].reshape(2000, 4)
        error = (sampled.var(0) / 20_000 + ours.var(0) / 2000).sqrt()
        assert (
            ((sampled.mean(0) - ours.mean(0)) / error).abs() < 5
        ).all()  # fails by chance once in 400,000
        for value in posterior.flow.parameters():
            value.zero_()
        if name == "flow":
            once, again = model.elbo_terms(x)[1], model.elbo_terms(x)[1]
            torch.testing.assert_close(once, again, rtol=1e-12, atol=1e-12)
            exact = kl_divergence(model.posterior_given(x).mu, model.posterior_given(x).logvar)
            torch.testing.assert_close(once[:, 0], exact, rtol=1e-12, atol=1e-12)
