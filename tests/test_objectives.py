"""The ELBO as a loss: what it reports, and beta, warm-up and free bits by their formulas."""

import math

import pytest
import torch
from oracle import LinearGaussian, is_mean, parameters_without_gradient

from aevb import ELBO, VAE, kl_divergence, vae_loss
from aevb.errors import UsageError
from aevb.objectives import OBJECTIVES

CASES = {"elbo": ELBO}


@pytest.fixture
def model():
    return VAE(4, 16, 3).double()


@pytest.fixture
def x():
    return torch.randn(32, 4, dtype=torch.float64)


def on_the_same_noise(objective, model, x):
    torch.manual_seed(3)
    return objective(model, x)


def test_every_table_entry_has_a_case():
    assert set(CASES.values()) == {OBJECTIVES[name] for name in OBJECTIVES}


@pytest.mark.parametrize("make", CASES.values(), ids=CASES)
def test_contract(make, model, x):
    estimate = make()(model, x)
    assert estimate.loss.shape == ()
    assert all(value.shape == () and not value.requires_grad for value in estimate.log.values())
    assert {"bound", "reconstruction", "kl"} <= set(estimate.log)
    estimate.loss.backward()
    assert parameters_without_gradient(model) == []


@pytest.mark.parametrize("make", CASES.values(), ids=CASES)
def test_bound_is_below_log_p_on_the_linear_gaussian_model(make):
    known = LinearGaussian()
    known.set_posterior(shift=0.3, stretch=1.5)
    x = known.sample(200)
    bounds = torch.stack([make()(known.model, x).log["bound"] for _ in range(200)])
    expected = float(known.marginal.log_prob(x).mean())
    assert is_mean(bounds, expected - known.gap(0.3, 1.5))


def test_loss_is_minus_the_bound_by_default(model, x):
    estimate = ELBO()(model, x)
    assert torch.allclose(estimate.loss, -estimate.log["bound"])
    assert torch.allclose(estimate.log["bound"], estimate.log["reconstruction"] - estimate.log["kl"])


def test_more_samples_mean_less_noise_and_the_same_mean(model, x):
    one, many = (torch.stack([ELBO(samples=k)(model, x).log["reconstruction"] for _ in range(300)]) for k in (1, 16))
    assert is_mean(one - float(many.mean()), 0.0)
    assert float(many.var()) < float(one.var()) / 8  # 16 in expectation


@pytest.mark.parametrize("beta", [0.0, 0.5, 4.0])
def test_beta_weighs_the_kl_in_the_loss_and_not_in_the_report(model, x, beta):
    plain, weighted = on_the_same_noise(ELBO(), model, x), on_the_same_noise(ELBO(beta=beta), model, x)
    assert torch.allclose(weighted.loss, beta * plain.log["kl"] - plain.log["reconstruction"])
    assert weighted.log == plain.log


def test_warm_up_is_linear_in_the_step_and_then_stops():
    objective = ELBO(beta=2.0, warmup_steps=10)
    weights = []
    for step in [0, 1, 5, 9, 10, 1000, 5]:  # back to 5: it remembers nothing
        objective.schedule(step)
        weights.append(objective.kl_weight.item())
    assert weights == pytest.approx([0.0, 0.2, 1.0, 1.8, 2.0, 2.0, 1.0])


def test_without_warm_up_the_weight_is_beta_from_the_first_step():
    assert ELBO(beta=0.7).kl_weight.item() == pytest.approx(0.7)


@pytest.mark.parametrize("free_bits", [0.05, 0.5, 100.0])
def test_free_bits_floor_each_dimension_averaged_over_the_batch(model, x, free_bits):
    mu, logvar = model.encode(x)
    per_dimension = (0.5 * (mu**2 + logvar.exp() - 1 - logvar)).mean(0)
    floored = sum(max(free_bits, float(kl)) for kl in per_dimension.detach())
    estimate = on_the_same_noise(ELBO(free_bits=free_bits), model, x)
    assert float(estimate.loss.detach()) == pytest.approx(floored - float(estimate.log["reconstruction"]))
    assert float(estimate.log["kl"]) == pytest.approx(float(per_dimension.detach().sum()))


def test_free_bits_stop_the_gradient_of_the_kl_below_the_floor(model, x):
    """With the floor above every dimension's KL, the loss differs from that with beta = 0 by a constant."""
    gradients = []
    for objective in (ELBO(beta=0.0), ELBO(free_bits=100.0)):
        model.zero_grad()
        on_the_same_noise(objective, model, x).loss.backward()
        gradients.append([p.grad.clone() for p in model.parameters()])
    assert all(torch.allclose(a, b) for a, b in zip(*gradients, strict=True))


@pytest.mark.parametrize(
    "arguments", [{"beta": -1.0}, {"warmup_steps": -1}, {"free_bits": -0.1}, {"samples": 0}, {"beta": math.nan}]
)
def test_values_out_of_range_are_refused(arguments):
    with pytest.raises(UsageError, match=f"{next(iter(arguments))} must be at least"):
        ELBO(**arguments)


def test_vae_loss_is_minus_the_elbo_up_to_its_constant(model, x):
    """loss + (D/2) log(pi) is the ELBO's loss with a decoder of variance 1/2."""
    estimate = on_the_same_noise(ELBO(), model, x)
    torch.manual_seed(3)
    mu, logvar = model.encode(x)
    # One draw per row, drawn in the shape in which the objective draws it.
    recon = model.decode(model.reparameterize(mu.expand(1, -1, -1), logvar.expand(1, -1, -1))[0])
    loss, error, kl = vae_loss(recon, x, mu, logvar)
    assert float((loss + 2 * math.log(math.pi)).detach()) == pytest.approx(float(estimate.loss.detach()), rel=1e-6)
    assert torch.allclose(loss, error + kl)
    assert torch.allclose(kl, kl_divergence(mu, logvar).mean())
    assert torch.allclose(error, ((recon - x) ** 2).sum(1).mean())


def test_vae_loss_refuses_to_broadcast():
    with pytest.raises(ValueError, match=r"one shape; got \(8, 1\) and \(8, 2\)"):
        vae_loss(torch.zeros(8, 1), torch.zeros(8, 2), torch.zeros(8, 2), torch.zeros(8, 2))
