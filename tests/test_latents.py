"""Figures about codes against closed forms: active units, mutual information, marginal KL."""

import math

import pytest
import torch
from oracle import LinearGaussian, is_mean
from torch.distributions import Normal

from aevb import VAE
from aevb.evaluation.latents import ACTIVE, latents
from aevb.parts.likelihoods.gaussian import GaussianFixed
from aevb.parts.posteriors.flow import CouplingFlow
from aevb.parts.priors.mixture import MixtureOfGaussians


def closed_forms(known, shift, stretch):
    """I(x; z) and KL(q(z) || p(z)) in the limit of many rows x ~ p(x).

    The exact posterior has covariance S, and its means have covariance I - S over x. Codes q(z|x)
    with mean m(x) + shift and covariance s S together make q(z) = N(shift, I - S + s S).
    """
    one = torch.eye(len(known.covariance)).double()
    narrow = stretch * known.covariance
    wide = one - known.covariance + narrow
    information = 0.5 * (wide.logdet() - narrow.logdet())
    marginal = 0.5 * ((wide - one).trace() + len(one) * shift**2 - wide.logdet())
    return float(information), float(marginal)


def set_weights(model, mu=None, logvar=None):
    """Set heads of the posterior to zero, and their biases to the given constants."""
    with torch.no_grad():
        for head, bias in ((model.posterior.mu, mu), (model.posterior.logvar, logvar)):
            if bias is not None:
                head.weight.zero_()
                head.bias.copy_(torch.as_tensor(bias, dtype=head.bias.dtype))


@pytest.mark.parametrize("correlated", [False, True], ids=["diagonal", "full"])
def test_mutual_information_at_the_exact_posterior_is_half_a_log_determinant(correlated):
    """I(x; z) = 1/2 log det(I + W'W / v), and q(z) is the prior.

    Five standard errors, of 0.015 nats, once in 1.7 million; the bias of 4,000 rows is about e^I /
    N = 0.001 nats.
    """
    known = LinearGaussian(correlated=correlated)
    found = latents(known.model, known.sample(4000)).figures
    expected = 0.5 * float(
        torch.linalg.slogdet(torch.eye(2).double() + known.w.T @ known.w / known.v).logabsdet
    )
    information, marginal = found["mutual_information"], found["marginal_kl"]
    assert information.standard_error < 0.02
    assert abs(information.value - expected) < 5 * information.standard_error
    # The error of a mean over rows knows nothing of the chance in the aggregate itself: 0.02 is
    # five times that, sqrt(I / N).
    assert abs(marginal.value) < 5 * marginal.standard_error + 0.01


@pytest.mark.parametrize("correlated", [False, True], ids=["diagonal", "full"])
@pytest.mark.parametrize(("shift", "stretch"), [(0.0, 1.0), (0.5, 1.0), (0.0, 2.0), (-1.0, 0.5)])
def test_information_and_marginal_kl_against_closed_forms_off_the_exact_posterior(
    shift, stretch, correlated
):
    """Two z-tests at five standard errors: by chance, they fail once in 800,000.

    0.02 nats are allowed for the chance and the bias of 3,000 rows.
    """
    known = LinearGaussian(correlated=correlated)
    known.set_posterior(shift, stretch)
    found = latents(known.model, known.sample(3000)).figures
    information, marginal = closed_forms(known, shift, stretch)
    for name, expected in [("mutual_information", information), ("marginal_kl", marginal)]:
        figure = found[name]
        assert figure.standard_error < 0.04
        assert abs(figure.value - expected) < 5 * figure.standard_error + 0.02, name


def test_the_two_sum_to_the_kl():
    """The two sum to the KL of the reported draws exactly.

    They sum to its closed form within five standard errors, except once in 1.7 million.
    """
    known = LinearGaussian()
    known.set_posterior(0.5, 1.5)
    x = known.sample(500)
    found = latents(known.model, x)
    total = found.figures["mutual_information"].value + found.figures["marginal_kl"].value
    mu, logvar = known.model.encode(x)
    log_ratio = (
        Normal(mu, (0.5 * logvar).exp()).log_prob(found.draws)
        - Normal(0.0, 1.0).log_prob(found.draws)
    ).sum(-1)
    assert total == pytest.approx(float(log_ratio.detach().mean()), abs=1e-9)
    kl = 0.5 * (mu**2 + logvar.exp() - 1 - logvar).sum(-1).detach()
    assert is_mean(log_ratio.detach() - kl, 0.0)


def test_the_two_sum_to_the_kl_against_the_models_own_prior():
    known = LinearGaussian()
    model = VAE(
        4, (), 2, likelihood=GaussianFixed(4), prior=MixtureOfGaussians(2, components=3)
    ).double()
    x = known.sample(300)
    found = latents(model, x)
    total = found.figures["mutual_information"].value + found.figures["marginal_kl"].value
    with torch.no_grad():
        expected = (
            model.posterior_given(x).log_prob(found.draws) - model.prior().log_prob(found.draws)
        ).mean()
    assert total == pytest.approx(float(expected), abs=1e-9)


def test_aggregate_by_brute_force():
    """Every pair of a draw and a row, by torch's own Normal; rows and draws of no round number."""
    known = LinearGaussian()
    x = known.sample(301)
    found = latents(known.model, x)
    mu, logvar = (t.detach() for t in known.model.encode(x))
    pairs = Normal(mu, (0.5 * logvar).exp()).log_prob(found.draws.unsqueeze(1)).sum(-1)
    log_aggregate = pairs.logsumexp(1) - math.log(301)
    information = pairs.diagonal() - log_aggregate
    assert found.figures["mutual_information"].value == pytest.approx(
        float(information.mean()), abs=1e-9
    )
    expected = float(information.std()) / math.sqrt(301)
    assert found.figures["mutual_information"].standard_error == pytest.approx(expected, rel=1e-9)
    marginal = log_aggregate - Normal(0.0, 1.0).log_prob(found.draws).sum(-1)
    assert found.figures["marginal_kl"].value == pytest.approx(float(marginal.mean()), abs=1e-9)


def test_draws_and_means_are_those_of_q():
    """z-tests of two dimensions' residuals, of mean 0 and variance 1: once in 400,000."""
    known = LinearGaussian()
    x = known.sample(1000)
    found = latents(known.model, x)
    mu, logvar = (t.detach() for t in known.model.encode(x))
    assert torch.equal(found.means, mu)
    eps = (found.draws - mu) * (-0.5 * logvar).exp()
    for column in eps.T:
        assert is_mean(column, 0.0)
        assert is_mean(column.square(), 1.0)


@pytest.mark.parametrize("n", [2, 50])
def test_codes_that_never_meet_tell_their_row_and_no_more_than_its_number(n):
    """Information log N, the greatest that N rows allow."""
    model = VAE(1, (), 1).double()
    set_weights(model, logvar=[-10.0])
    with torch.no_grad():
        model.posterior.mu.weight.fill_(1.0)
    figure = latents(model, torch.arange(n).double()[:, None]).figures["mutual_information"]
    assert figure.value == pytest.approx(math.log(n), abs=1e-9)
    assert figure.details["at_most"] == pytest.approx(math.log(n))


def test_a_collapsed_model_carries_nothing():
    model = VAE(3, 8, 2).double()
    set_weights(model, mu=[0.0, 0.0], logvar=[0.0, 0.0])
    found = latents(model, torch.randn(200, 3, dtype=torch.float64))
    assert found.figures["active_units"].value == 0
    assert found.active.tolist() == [False, False]
    assert found.figures["mutual_information"].value == pytest.approx(0.0, abs=1e-12)
    assert found.figures["marginal_kl"].value == pytest.approx(0.0, abs=1e-12)


def test_codes_at_one_place_off_the_prior_carry_nothing_but_distance():
    """KL(N(1, 1) || N(0, 1)) = 1/2 in each of two dimensions, within five standard errors.

    By chance, this fails once in 1.7 million.
    """
    model = VAE(3, 8, 2).double()
    set_weights(model, mu=[1.0, 1.0], logvar=[0.0, 0.0])
    found = latents(model, torch.randn(500, 3, dtype=torch.float64)).figures
    assert found["mutual_information"].value == pytest.approx(0.0, abs=1e-12)
    assert abs(found["marginal_kl"].value - 1.0) < 5 * found["marginal_kl"].standard_error


def test_a_dimension_switched_off_is_not_active():
    known = LinearGaussian()
    with torch.no_grad():
        known.model.posterior.mu.weight[0].zero_()
        known.model.posterior.mu.bias[0] = 7.0  # a constant, however great, says nothing
    found = latents(known.model, known.sample(300))
    assert found.active.tolist() == [False, True]
    assert found.figures["active_units"].value == 1
    assert found.figures["active_units"].unit == "of 2 latent dimensions"


@pytest.mark.parametrize(("factor", "active"), [(0.98, False), (1.02, True)])
def test_active_means_a_variance_of_the_means_above_the_threshold(factor, active):
    model = VAE(1, (), 1).double()
    x = torch.randn(100, 1, dtype=torch.float64)
    with torch.no_grad():
        model.posterior.mu.weight.fill_(math.sqrt(ACTIVE * factor / float(x.var())))
    assert ACTIVE == 0.01
    assert latents(model, x).active.tolist() == [active]


def test_one_row_has_no_active_units_and_no_information():
    known = LinearGaussian()
    found = latents(known.model, known.sample(1))
    assert found.active.tolist() == [False, False]
    assert found.figures["mutual_information"].value == pytest.approx(0.0, abs=1e-12)
    assert math.isnan(found.figures["mutual_information"].standard_error)


@pytest.mark.parametrize("n", [5, 300])
def test_a_flow_that_bends_nothing_gives_the_figures_of_the_gaussian(n):
    """The code for any posterior agrees with the code for Gaussians.

    The rows take several passes, and the last one is smaller.
    """
    known = LinearGaussian()
    known.set_posterior(0.4, 1.3)
    flow = VAE(4, (), 2, likelihood=GaussianFixed(4), posterior=CouplingFlow(4, 2)).double()
    with torch.no_grad():
        for p in flow.posterior.flow.parameters():
            p.zero_()
    flow.posterior.load_state_dict(known.model.posterior.state_dict(), strict=False)
    x = known.sample(n)
    one, other = latents(known.model, x, seed=2), latents(flow, x, seed=2)
    assert torch.allclose(one.draws, other.draws)
    assert torch.allclose(one.means, other.means)
    assert torch.equal(one.active, other.active)
    for name in ("mutual_information", "marginal_kl"):
        assert one.figures[name].value == pytest.approx(other.figures[name].value, abs=1e-9)
        assert one.figures[name].standard_error == pytest.approx(
            other.figures[name].standard_error, abs=1e-9
        )


def test_depends_on_its_seed_alone_and_leaves_everything_as_it_was():
    known = LinearGaussian()
    known.model.train()
    x = known.sample(20)
    state = torch.get_rng_state()
    first = latents(known.model, x, seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert known.model.training
    torch.randn(7)
    assert torch.equal(first.draws, latents(known.model, x, seed=1).draws)
    assert not torch.equal(first.draws, latents(known.model, x, seed=2).draws)
    assert not first.draws.requires_grad
