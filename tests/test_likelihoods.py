"""Every likelihood through one contract, each against sums or integrals that know nothing of its formula."""

import math

import pytest
import torch
from oracle import all_bits, is_mean, square_grid

from aevb.errors import DataError, UsageError
from aevb.likelihoods import LIKELIHOODS
from aevb.likelihoods.bernoulli import Bernoulli
from aevb.likelihoods.gaussian import GaussianFixed


def every_value(discrete, h):
    """All possible rows (M, D) and the weight of each, 1 for a sum or a cell's volume for an integral."""
    return (all_bits(h.shape[-1]), 1.0) if discrete else square_grid(h.shape[-1], 12.0, 600)


# A new likelihood is one line here: how to make it, on data of 2 or 3 dimensions.
CASES = {
    "bernoulli": lambda: Bernoulli(3),
    "gaussian": lambda: GaussianFixed(2),
    "gaussian, variance 2": lambda: GaussianFixed(2, variance=2.0),
}


@pytest.fixture(params=CASES)
def p(request):
    return CASES[request.param]().double()


def test_every_table_entry_has_a_case():
    assert {type(make()) for make in CASES.values()} == {LIKELIHOODS[name] for name in LIKELIHOODS}


def test_shapes_with_any_leading_dimensions(p):
    for lead in [(), (5,), (3, 5)]:
        d = p(torch.randn(*lead, p.num_features, dtype=torch.float64))
        x = d.sample()
        assert d.batch_shape == lead
        assert x.shape == d.mean.shape == (*lead, *d.event_shape)
        assert d.log_prob(x).shape == lead


def test_is_normalised(p):
    h = torch.randn(p.num_features, dtype=torch.float64)
    x, weight = every_value(p.discrete, h)
    assert float(p(h).log_prob(x).exp().sum() * weight) == pytest.approx(1.0, abs=1e-4)


def test_mean_is_that_of_the_distribution(p):
    h = torch.randn(p.num_features, dtype=torch.float64)
    x, weight = every_value(p.discrete, h)
    mean = (p(h).log_prob(x).exp()[:, None] * x).sum(0) * weight
    assert torch.allclose(p(h).mean, mean, atol=1e-4)


def test_samples_fit_log_prob(p):
    """The mean log_prob of samples is minus the entropy, and their mean is the mean."""
    h = torch.randn(p.num_features, dtype=torch.float64)
    d = p(h)
    x, weight = every_value(p.discrete, h)
    log_p = d.log_prob(x)
    minus_entropy = float((log_p.exp() * log_p).nan_to_num().sum() * weight)
    drawn = d.sample((20_000,))
    assert is_mean(d.log_prob(drawn), minus_entropy)
    assert all(is_mean(drawn[:, j], float(d.mean[j])) for j in range(drawn.shape[1]))


def test_gradient_reaches_every_feature(p):
    h = torch.randn(64, p.num_features, dtype=torch.float64, requires_grad=True)
    p(h).log_prob(p(h).sample()).sum().backward()
    assert bool((h.grad.abs().sum(0) > 0).all())


def test_survives_its_state_dict(p):
    h = torch.randn(4, p.num_features, dtype=torch.float64)
    x = p(h).sample()
    before = p(h).log_prob(x)
    p.load_state_dict({name: value.clone() for name, value in p.state_dict().items()})
    assert torch.equal(p(h).log_prob(x), before)


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


def test_squared_error_is_a_gaussian_of_variance_one_half():
    x, h = torch.randn(7, 5, dtype=torch.float64), torch.randn(7, 5, dtype=torch.float64)
    expected = -((x - h) ** 2).sum(-1) - 2.5 * math.log(math.pi)
    assert torch.allclose(GaussianFixed(5).double()(h).log_prob(x), expected, rtol=1e-6)


@pytest.mark.parametrize(
    ("p", "x", "says"),
    [
        (Bernoulli(2), [[-0.42, 0.5], [2.82, 0.0]], r"\[0, 1\]; got \[-0.42, 2.82\].*gaussian"),
        (Bernoulli(2), [[math.nan, 0.5]], "got"),
        (GaussianFixed(2), [[math.inf, 0.5]], "finite"),
    ],
)
def test_values_outside_the_support_are_refused(p, x, says):
    with pytest.raises(DataError, match=says):
        p.check(torch.tensor(x))


@pytest.mark.parametrize("variance", [0.0, -1.0, math.nan, math.inf])
def test_a_variance_that_is_not_positive_is_refused(variance):
    with pytest.raises(UsageError, match="positive"):
        GaussianFixed(2, variance)
