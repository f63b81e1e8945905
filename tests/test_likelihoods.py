"""Every likelihood through one contract, against sums and integrals.

These know nothing of a likelihood's formula.
"""

import copy
import math

import pytest
import torch
from helpers import (
    all_levels,
    check_likelihood_is_normalised,
    check_mean_of_a_likelihood,
    check_shapes_of_a_likelihood,
    every_value,
    refuses,
)
from oracle import all_bits, is_mean, parameters_without_gradient
from torch.distributions import Independent, Normal

from aevb.errors import DataError, UsageError
from aevb.parts.likelihoods import LIKELIHOODS
from aevb.parts.likelihoods.bernoulli import Bernoulli
from aevb.parts.likelihoods.counts import NegativeBinomial, Poisson
from aevb.parts.likelihoods.gaussian import (
    GaussianFixed,
    GaussianLearned,
    GaussianNetwork,
    GaussianOptimal,
    GaussianPerDimension,
)
from aevb.parts.likelihoods.levels import Categorical, DiscretizedLogistic


def with_raw(p, raw):
    """A learned log-variance is 10 times its parameter."""
    with torch.no_grad():
        p.raw.copy_(torch.tensor(raw))
    return p


def with_stored(p, variance):
    """In evaluation mode: the distribution of the stored variance."""
    p.variance.fill_(variance)
    p.batches.fill_(7)
    return p.eval()


def with_means(p, means):
    """Columns of these means; of a negative binomial also of the shapes 1.8."""
    p.log_scale.copy_(torch.tensor(means).log())
    return with_raw(p, [0.06] * len(means)) if isinstance(p, NegativeBinomial) else p


# A new likelihood is one line here: how to make it, on data of 1 to 3 dimensions, with noise other
# than at the start.
CASES = {
    "bernoulli": lambda: Bernoulli(3),
    "gaussian": lambda: GaussianFixed(2),
    "gaussian, variance 2": lambda: GaussianFixed(2, variance=2.0),
    "gaussian, learned": lambda: with_raw(GaussianLearned(2), 0.06),
    "gaussian, learned per dimension": lambda: with_raw(GaussianPerDimension(2), [-0.1, 0.08]),
    "gaussian, optimal": lambda: with_stored(GaussianOptimal(2), 0.7),
    "gaussian, network": lambda: GaussianNetwork(2),
    "categorical, 2 levels": lambda: Categorical(3, 2),
    "categorical, 3 levels": lambda: Categorical(2, 3),
    "categorical, 17 levels": lambda: Categorical(2, 17),
    "categorical, 256 levels": lambda: Categorical(1, 256),
    "logistic, 2 levels": lambda: DiscretizedLogistic(3, 2),
    "logistic, 3 levels": lambda: DiscretizedLogistic(2, 3),
    "logistic, 17 levels": lambda: DiscretizedLogistic(2, 17),
    "logistic, 256 levels": lambda: DiscretizedLogistic(1),
    "poisson": lambda: with_means(Poisson(2), [0.4, 3.0]),
    "negative binomial": lambda: with_means(NegativeBinomial(2), [0.4, 3.0]),
}
GAUSSIANS = [GaussianFixed, GaussianLearned, GaussianPerDimension, GaussianOptimal, GaussianNetwork]


@pytest.fixture(params=CASES)
def p(request):
    return CASES[request.param]().double()


@pytest.fixture
def h(p):
    # A logistic's scale is 1/10: means further off would leave levels that 20,000 draws may not
    # show.
    size = 0.1 if isinstance(p, DiscretizedLogistic) else 0.5
    return size * torch.randn(p.num_features, dtype=torch.float64)


def test_every_table_entry_has_a_case():
    made = {type(make()) for make in CASES.values()}
    # Rows of mixed columns have tests of their own.
    assert made == {LIKELIHOODS[name] for name in LIKELIHOODS if name != "mixed"}


def test_shapes_with_any_leading_dimensions(p):
    check_shapes_of_a_likelihood(p)


def test_one_row_of_data_against_several_codes(p):
    """x: (B, D) under features of (K, B, ...) is x repeated K times."""
    h = torch.randn(3, 5, p.num_features, dtype=torch.float64)
    x = p(h[0]).sample()
    each = torch.stack([p(h[k]).log_prob(x) for k in range(3)])
    assert torch.allclose(p(h).log_prob(x), each, rtol=1e-12)


def test_is_normalised(p, h):
    check_likelihood_is_normalised(p, h)


def test_mean_is_that_of_the_distribution(p, h):
    check_mean_of_a_likelihood(p, h)


def test_samples_fit_log_prob(p, h):
    """The mean log_prob of samples is minus the entropy, and their mean is the mean.

    Five standard errors, at most four comparisons a case: all 17 cases together fail by chance once
    in 25,000 seeds.
    """
    d = p(h)
    x, weight = every_value(p, h)
    log_p = d.log_prob(x).detach()
    minus_entropy = float((log_p.exp() * log_p).nan_to_num().sum() * weight)
    drawn = d.sample((20_000,))
    assert is_mean(d.log_prob(drawn).detach(), minus_entropy)
    assert all(is_mean(drawn[:, j], float(d.mean[j])) for j in range(drawn.shape[1]))


def test_samples_lie_in_the_support(p):
    d = p(3 * torch.randn(500, p.num_features, dtype=torch.float64))
    p.check(d.sample())
    p.check(d.sample().float())
    if p.discrete:
        k = d.sample() * (getattr(p, "levels", 2) - 1)
        assert torch.allclose(k, k.round(), atol=1e-9)


def test_gradient_reaches_every_feature_and_every_parameter(p):
    h = torch.randn(64, p.num_features, dtype=torch.float64, requires_grad=True)
    p(h).log_prob(p(h).sample()).sum().backward()
    assert bool((h.grad.abs().sum(0) > 0).all())
    assert parameters_without_gradient(p) == []


def test_gradients_match_finite_differences(p):
    """Of log_prob in the features and in the parameters of the likelihood."""
    h = torch.randn(4, p.num_features, dtype=torch.float64, requires_grad=True)
    x = p(h).sample()
    names, values = zip(*p.named_parameters(), strict=True) if list(p.parameters()) else ((), ())

    def log_p(h, *values):
        return torch.func.functional_call(p, dict(zip(names, values, strict=True)), (h,)).log_prob(
            x
        )

    assert torch.autograd.gradcheck(log_p, (h, *values), fast_mode=True)


@pytest.mark.parametrize("size", [50.0, 1e4])
def test_extreme_features_in_float32_give_finite_numbers(p, size):
    """For any output of the network, log_prob and its gradients are numbers.

    The features are all up, all down, or every second one up.
    """
    p = p.float()
    n = p.num_features
    signs = torch.stack(
        [torch.ones(n), -torch.ones(n), (-1.0) ** torch.arange(n), (-1.0) ** torch.arange(1, n + 1)]
    )
    h = (size * signs).requires_grad_()
    d = p(h)
    for level in (0.0, 1.0):
        log_p = d.log_prob(torch.full((4, *d.event_shape), level))
        log_p.sum().backward(retain_graph=True)
        assert bool(torch.isfinite(log_p).all())
        assert bool(torch.isfinite(h.grad).all())
        assert all(bool(torch.isfinite(parameter.grad).all()) for parameter in p.parameters())
    assert bool(torch.isfinite(d.mean).all())
    assert bool(torch.isfinite(d.sample()).all())


def test_float32_agrees_with_float64(p):
    """To 1e-5 of the value: no cancellation hides in a formula."""
    h = 2 * torch.randn(200, p.num_features)
    x = p(h.double()).sample().float()
    wide = p(h.double()).log_prob(x.double())
    narrow = p.float()(h).log_prob(x).double()
    assert torch.allclose(narrow, wide, rtol=1e-5, atol=2e-4)


def exact_deviation(p, h):
    """Standard deviation of x given the features h, (D,), by summing or integrating."""
    x, weight = every_value(p, h)
    return ((p(h).log_prob(x).exp()[:, None] * (x - p(h).mean).square()).sum(0) * weight).sqrt()


def test_noise_is_the_deviation_of_samples_from_their_mean(p):
    """It is the same at every z; where ``noise`` is None, it differs from z to z.

    Five standard errors, 12 comparisons.
    """
    h = torch.randn(2, p.num_features, dtype=torch.float64)
    first, second = exact_deviation(p, h[0]), exact_deviation(p, h[1])
    if p.noise is None:
        assert not torch.allclose(first, second, rtol=1e-3)
        return
    assert p.noise.shape in [(), first.shape]
    assert not p.noise.requires_grad
    assert torch.allclose(first, p.noise.expand_as(first), atol=1e-4)
    assert torch.allclose(second, p.noise.expand_as(first), atol=1e-4)
    square = (p(h[0]).sample((20_000,)) - p(h[0]).mean).square()
    assert all(
        is_mean(square[:, j], float(p.noise.expand_as(first)[j]) ** 2) for j in range(len(first))
    )


def test_survives_its_state_dict(p):
    """A changed copy is the original again once it has loaded what the original saved."""
    h = torch.randn(4, p.num_features, dtype=torch.float64)
    x = p(h).sample()
    other = copy.deepcopy(p)
    for value in [*other.parameters(), *other.buffers()]:
        value.data.add_(1.0)
    if p.state_dict():
        assert not torch.equal(other(h).log_prob(x), p(h).log_prob(x))
    other.load_state_dict(p.state_dict())
    assert torch.equal(other(h).log_prob(x), p(h).log_prob(x))


# -------------------------------------------------------------------------------------------------
# Bernoulli


def test_bernoulli_on_extreme_logits_is_exact():
    """log sigmoid(-200) is -200, where log(1 - sigmoid(200)) would be minus infinity."""
    log_p = Bernoulli(1)(torch.tensor([200.0])).log_prob(torch.tensor([[0.0], [1.0]]))
    assert log_p.tolist() == [-200.0, 0.0]


def test_bernoulli_of_a_grey_level_is_the_expectation_over_its_binarisation():
    h, grey = torch.randn(6, dtype=torch.float64), torch.rand(6, dtype=torch.float64)
    bits = all_bits(6)
    weight = torch.where(bits == 1, grey, 1 - grey).prod(-1)
    expected = (weight * Bernoulli(6)(h).log_prob(bits)).sum()
    assert torch.allclose(Bernoulli(6)(h).log_prob(grey), expected, rtol=1e-12)


# -------------------------------------------------------------------------------------------------
# Gaussians


def test_squared_error_is_a_gaussian_of_variance_one_half():
    x, h = torch.randn(7, 5, dtype=torch.float64), torch.randn(7, 5, dtype=torch.float64)
    expected = -((x - h) ** 2).sum(-1) - 2.5 * math.log(math.pi)
    assert torch.allclose(GaussianFixed(5).double()(h).log_prob(x), expected, rtol=1e-6)


def test_gaussians_are_those_of_torch():
    x, h, raw = (
        torch.randn(7, 5).double(),
        torch.randn(7, 5).double(),
        0.2 * torch.randn(5).double(),
    )
    one = with_raw(GaussianLearned(5).double(), float(raw[0]))(h)
    each = with_raw(GaussianPerDimension(5).double(), raw.tolist())(h)
    emitted = torch.randn(7, 5).double()
    network = GaussianNetwork(5).double()(torch.cat([h, emitted], -1))
    for d, sd in [
        (one, (5 * raw[0]).exp()),
        (each, (5 * raw).exp()),
        (network, (0.5 * emitted).exp()),
    ]:
        expected = Independent(Normal(h, sd.expand_as(h)), 1)
        assert torch.allclose(d.log_prob(x), expected.log_prob(x))
        assert torch.allclose(d.variance, expected.variance)


@pytest.mark.parametrize(
    ("kind", "over"), [(GaussianLearned, (0, 1)), (GaussianPerDimension, (0,))]
)
@pytest.mark.parametrize("scale", [0.01, 1.0, 30.0])
def test_learned_variance_goes_to_the_mean_squared_error(kind, over, scale):
    """With fixed means, the best variance is the mean squared error, of all or of each column."""
    h = torch.randn(300, 3, dtype=torch.float64)
    x = h + scale * torch.tensor([0.3, 1.0, 2.0]) * torch.randn(300, 3, dtype=torch.float64)
    p = kind(3).double()
    optimiser = torch.optim.LBFGS(p.parameters(), max_iter=200, line_search_fn="strong_wolfe")

    def loss():
        optimiser.zero_grad()
        value = -p(h).log_prob(x).mean()
        value.backward()
        return value

    for _ in range(5):
        optimiser.step(loss)
    assert torch.allclose(p.noise.square(), (x - h).square().mean(over), rtol=1e-4)


@pytest.mark.parametrize("kind", [GaussianLearned, GaussianPerDimension])
def test_noise_of_a_tenth_is_found_in_600_small_steps(kind):
    """Adam, at a learning rate of 1e-3, starts from 1.

    If the log-variance were the parameter itself, it would take 4,600 steps.
    """
    h = torch.randn(100, 2)
    x = h + 0.1 * torch.randn(100, 2)
    p = kind(2)
    optimiser = torch.optim.Adam(p.parameters(), lr=1e-3)
    for _ in range(600):
        optimiser.zero_grad()
        (-p(h).log_prob(x).mean()).backward()
        optimiser.step()
    assert torch.allclose(p.noise, (x - h).square().mean(0).sqrt().mean(), rtol=0.2)


def test_the_least_noise_is_bounded():
    """A decoder that repeats the rows exactly cannot have infinite density."""
    x = torch.randn(5, 2)
    repeat = torch.cat([x, torch.full((5, 2), -1e9)], -1)
    for d in [
        with_raw(GaussianLearned(2), -1e9)(x),
        with_raw(GaussianPerDimension(2), [-1e9] * 2)(x),
        GaussianNetwork(2)(repeat),
    ]:
        assert torch.allclose(d.log_prob(x), torch.tensor(20.0 - math.log(2 * math.pi)))


def optimal_batch(rows=6, dims=4):
    x = torch.randn(rows, dims, dtype=torch.float64)
    h = (x + 0.3 * torch.randn(rows, dims, dtype=torch.float64)).requires_grad_()
    return x, h, (x - h).square().mean()


def test_optimal_variance_is_that_of_the_batch_in_training():
    p = GaussianOptimal(4).double().train()
    x, h, mse = optimal_batch()
    expected = Independent(Normal(h, mse.sqrt()), 1).log_prob(x)
    log_p = p(h).log_prob(x)
    assert torch.allclose(log_p, expected)
    # The best: a Gaussian of any other variance is worse on average.
    for factor in (0.9, 1.1):
        assert log_p.mean() > Independent(Normal(h, (factor * mse).sqrt()), 1).log_prob(x).mean()


def test_gradient_with_the_optimal_variance_is_that_of_half_d_log_mse():
    p = GaussianOptimal(4).double().train()
    x, h, mse = optimal_batch()
    (given,) = torch.autograd.grad(p(h).log_prob(x).mean(), h)
    (expected,) = torch.autograd.grad(-0.5 * 4 * mse.log(), h)
    assert torch.allclose(given, expected, rtol=1e-10)


def test_optimal_variance_of_several_codes_is_one_number():
    """h: (K, B, D) against x: (B, D): the mean over codes, rows and dimensions."""
    p = GaussianOptimal(4).double().train()
    x, h = torch.randn(6, 4).double(), torch.randn(3, 6, 4).double()
    log_p = p(h).log_prob(x)
    assert log_p.shape == (3, 6)
    assert torch.allclose(p.variance, (x - h).square().mean())
    assert torch.allclose(log_p, Independent(Normal(h, p.variance.sqrt()), 1).log_prob(x))


def test_optimal_variance_is_stored_exactly_at_first_and_then_averaged():
    """The stored value is the plain mean for up to 10 batches, and then a running average.

    The newest batch weighs 10 % in it.
    """
    p = GaussianOptimal(2).double().train()
    errors = []
    for n in range(1, 41):
        x, h = torch.randn(3, 2).double(), torch.randn(3, 2).double()
        errors.append((x - h).square().mean())
        p(h).log_prob(x)
        if n <= 10:
            assert torch.allclose(p.variance, torch.stack(errors).mean(), rtol=1e-10), n
    expected = torch.stack(errors[:10]).mean()
    for error in errors[10:]:
        expected = 0.9 * expected + 0.1 * error
    assert torch.allclose(p.variance, expected, rtol=1e-10)
    assert torch.allclose(p.noise, expected.sqrt())
    assert int(p.batches) == 40


def test_optimal_variance_stays_as_it_is_in_evaluation_and_while_sampling():
    p = with_stored(GaussianOptimal(2), 0.7).double()
    before = {name: value.clone() for name, value in p.state_dict().items()}
    x, h = torch.randn(3, 2).double(), torch.randn(3, 2).double()
    assert torch.allclose(
        p(h).log_prob(x), Independent(Normal(h, before["variance"].sqrt()), 1).log_prob(x)
    )
    p.train()
    p(h).sample()
    _ = p(h).mean, p.noise
    with torch.no_grad():  # what is only reported is of the model as it is
        assert torch.allclose(
            p(h).log_prob(x), Independent(Normal(h, before["variance"].sqrt()), 1).log_prob(x)
        )
    assert all(torch.equal(value, before[name]) for name, value in p.state_dict().items())
    p(h).log_prob(x)
    assert not torch.equal(p.variance, before["variance"])


def test_optimal_variance_of_a_perfect_batch_is_finite():
    p = GaussianOptimal(2).train()
    h = torch.randn(3, 2, requires_grad=True)
    log_p = p(h).log_prob(h.detach())
    log_p.sum().backward()
    assert bool(torch.isfinite(log_p).all() & torch.isfinite(h.grad).all())
    assert bool(torch.isfinite(p.eval()(h).log_prob(h)).all())


# -------------------------------------------------------------------------------------------------
# levels


def test_logistic_at_the_bounds_of_its_scale():
    """The narrowest is one level. The widest is the first and the last, with one half each."""
    p, x = DiscretizedLogistic(1, 256), torch.linspace(0, 1, 256).unsqueeze(-1)
    narrow, wide = (
        p(torch.tensor([100 / 255 - 0.5, log_scale])).log_prob(x).exp()
        for log_scale in (-50.0, 50.0)
    )
    assert float(narrow[100]) == pytest.approx(1, abs=1e-6)
    assert float(wide[0]) == pytest.approx(0.5, abs=2e-4)
    assert float(wide[-1]) == pytest.approx(0.5, abs=2e-4)
    assert float(wide[1:-1].max()) < 1e-6


@pytest.mark.parametrize("levels", [2, 3, 17, 256])
def test_logistic_is_the_difference_of_two_sigmoids(levels):
    """The naive formula is exact in float64 where neither sigmoid is near 1.

    Here the means lie within the levels, and the scales are not small.
    """
    dims = 5
    mean = torch.rand(40, dims, dtype=torch.float64) - 0.5
    log_scale = 1.5 * torch.randn(40, dims, dtype=torch.float64).clamp(-0.5, 1)
    d = DiscretizedLogistic(dims, levels).double()(torch.cat([mean, log_scale], -1))
    x = torch.randint(levels, (40, dims)).double() / (levels - 1)
    m, s, w = mean + 0.5, (log_scale - 2.3).exp(), 0.5 / (levels - 1)
    upper = torch.where(x > 1 - w, 1.0, torch.sigmoid((x + w - m) / s))
    lower = torch.where(x < w, 0.0, torch.sigmoid((x - w - m) / s))
    assert torch.allclose(d.log_prob(x), (upper - lower).log().sum(-1), rtol=1e-7, atol=1e-7)


@pytest.mark.parametrize("levels", [2, 3, 17, 256])
def test_logistic_is_the_integral_of_the_density_over_each_cell(levels):
    """Simpson's rule on the logistic density 1 / (4 s cosh^2((t - m) / 2s)).

    The outermost cells are integrated far into the tails.
    """
    h = torch.tensor([0.13, 0.4], dtype=torch.float64)
    m, s, w = 0.63, math.exp(0.4 - 2.3), 0.5 / (levels - 1)
    x = torch.arange(levels, dtype=torch.float64) / (levels - 1)
    low = torch.where(x < w, m - 40 * s, x - w)
    high = torch.where(x > 1 - w, m + 40 * s, x + w)
    t = torch.linspace(0, 1, 2001, dtype=torch.float64)[:, None] * (high - low) + low
    density = 1 / (4 * s * torch.cosh((t - m) / (2 * s)).square())
    simpson = torch.ones(2001, 1, dtype=torch.float64)
    simpson[1:-1:2], simpson[2:-1:2] = 4, 2
    cells = (simpson * density).sum(0) * (high - low) / 2000 / 3
    assert torch.allclose(
        DiscretizedLogistic(1, levels).double()(h).log_prob(x[:, None]), cells.log(), atol=1e-7
    )


def test_logistic_of_features_zero_is_mid_grey_with_a_scale_of_a_tenth():
    d = DiscretizedLogistic(1).double()(torch.zeros(2, dtype=torch.float64))
    assert d.mean.item() == pytest.approx(0.5)
    below = float(d.log_prob(all_levels(1, 256)[:102]).exp().sum())  # the cells up to 101.5 / 255
    assert below == pytest.approx(
        1 / (1 + math.exp((0.5 - 101.5 / 255) / 0.1)), rel=1e-2
    )  # exp(-2.3) is 0.1003


def test_logistic_far_away_is_finite_and_linear_in_the_distance():
    """In float32 a difference of sigmoids would be 0 there.

    Far out, log P falls by 1 for each scale of distance.
    """
    p = DiscretizedLogistic(1)
    x = torch.tensor([[0.5]])  # 127.5 / 255 lies on the edge of two cells; any inner value will do
    h = torch.tensor([[100.0, 0.0], [200.0, 0.0]], requires_grad=True)
    near, far = p(h).log_prob(x)
    assert float((near - far).detach()) == pytest.approx(100 / math.exp(-2.3), rel=1e-4)
    (gradient,) = torch.autograd.grad(near, h)
    assert float(gradient[0, 0]) == pytest.approx(-math.exp(2.3), rel=1e-4)


def test_logistic_of_two_levels_is_a_bernoulli():
    mean, log_scale = torch.randn(2, 30, 4, dtype=torch.float64).unbind(0)
    d = DiscretizedLogistic(4, 2).double()(torch.cat([mean, log_scale], -1))
    expected = Bernoulli(4)(mean * torch.exp(2.3 - log_scale))
    x = torch.randint(2, (30, 4)).double()
    assert torch.allclose(d.log_prob(x), expected.log_prob(x))
    assert torch.allclose(d.mean, expected.mean)


def test_logistic_of_the_least_scale_is_certain_and_of_the_largest_falls_to_the_ends():
    """At either bound of the scale, the probabilities still sum to 1 in float32."""
    x = all_levels(1, 256).float()
    certain, vague = (
        DiscretizedLogistic(1)(torch.tensor([[100 / 255 - 0.5, -1e4], [0.0, 1e4]]))
        .log_prob(x[:, None])
        .exp()
        .T
    )
    assert float(certain[100]) == pytest.approx(1.0, abs=1e-4)
    assert float(certain.sum()) == pytest.approx(1.0, abs=1e-4)
    assert float(vague.sum()) == pytest.approx(1.0, abs=1e-4)


def test_categorical_gives_each_level_its_softmax():
    """Level by level: feature k * D + j is the logit of level k in dimension j."""
    h = torch.randn(3 * 2, dtype=torch.float64)
    d = Categorical(2, 3).double()(h)
    for first in range(3):
        for second in range(3):
            log_p = d.log_prob(torch.tensor([first / 2, second / 2], dtype=torch.float64))
            expected = h[0::2].log_softmax(-1)[first] + h[1::2].log_softmax(-1)[second]
            assert float(log_p) == pytest.approx(float(expected))


def test_categorical_of_two_levels_is_a_bernoulli():
    h = torch.randn(30, 2, 4, dtype=torch.float64)
    x = torch.randint(2, (30, 4)).double()
    d, expected = Categorical(4, 2)(h.flatten(1)), Bernoulli(4)(h[:, 1] - h[:, 0])
    assert torch.allclose(d.log_prob(x), expected.log_prob(x))


@pytest.mark.parametrize("levels", [50, 99, 256])
def test_levels_read_from_float32_are_the_integers_that_were_written(levels):
    """k / 49 in float32, times 49, is not always k: rounding, not truncation."""
    p = Categorical(1, levels)
    k = torch.arange(levels)
    x = (k.float() / (levels - 1))[:, None]
    p.check(x)
    h = torch.randn(levels)
    assert torch.allclose(p(h).log_prob(x), h.log_softmax(0)[k], atol=1e-6)


@pytest.mark.parametrize("kind", [Categorical, DiscretizedLogistic])
def test_fewer_than_two_levels_are_refused(kind):
    with pytest.raises(UsageError, match="at least 2 of them; got 1"):
        kind(3, 1)


# -------------------------------------------------------------------------------------------------
# support

LEVELS = [kind(2, levels) for kind in (Categorical, DiscretizedLogistic) for levels in (2, 17, 256)]


@pytest.mark.parametrize(
    ("p", "x", "says"),
    [
        (Bernoulli(2), [[-0.42, 0.5], [2.82, 0.0]], ["[0, 1]; got [-0.42, 2.82]", "gaussian"]),
        (Bernoulli(2), [[math.nan, 0.5]], ["got"]),
        *(
            (kind(2), [[value, 0.5]], ["finite", "Remove"])
            for kind in GAUSSIANS
            for value in (math.inf, -math.inf, math.nan)
        ),
        *(
            (p, [[0.3 / (p.levels - 1), 1.0]], ["integers", "fractions such as 0.3", "gaussian"])
            for p in LEVELS
        ),
        *(
            (p, [[0.0, p.levels / (p.levels - 1)]], [f"0 to {p.levels - 1}; got 0 to {p.levels}"])
            for p in LEVELS
        ),
        *((p, [[0.0, -1 / (p.levels - 1)]], [f"0 to {p.levels - 1}; got -1 to 0"]) for p in LEVELS),
    ],
)
def test_values_outside_the_support_are_refused(p, x, says):
    refuses(DataError, says, p.check, torch.tensor(x))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("p", LEVELS[:1] + LEVELS[-1:])
def test_levels_that_are_not_numbers_are_refused(p, value):
    refuses(DataError, [], p.check, torch.tensor([[0.0, value]]))


@pytest.mark.parametrize("p", LEVELS)
def test_every_level_is_accepted(p):
    p.check(all_levels(1, p.levels).float().expand(-1, 2))


@pytest.mark.parametrize("variance", [0.0, -1.0, math.nan, math.inf])
def test_a_variance_that_is_not_positive_is_refused(variance):
    with pytest.raises(UsageError, match="positive"):
        GaussianFixed(2, variance)
