"""Objectives: their figures and losses by formula, and their gradients against the bound's."""

import itertools
import math

import pytest
import torch
from helpers import refuses
from oracle import LinearGaussian, is_mean, parameters_without_gradient
from torch.distributions import Categorical, Independent, MixtureSameFamily, Normal

from aevb import ELBO, VAE, kl_divergence, vae_loss
from aevb.config import Config
from aevb.errors import UsageError
from aevb.evaluation.log_likelihood import importance_rows
from aevb.parts.likelihoods.gaussian import MOMENTUM, GaussianFixed, GaussianOptimal
from aevb.parts.objectives import OBJECTIVES
from aevb.parts.objectives.autoencoder import Autoencoder
from aevb.parts.objectives.elbo import SampledELBO
from aevb.parts.objectives.importance import IWAE, DReG, StickingTheLanding
from aevb.parts.objectives.monte_carlo_em import ACCEPTED, MonteCarloEM
from aevb.parts.objectives.score_function import ScoreFunction
from aevb.parts.objectives.wake_sleep import WakeSleep
from aevb.parts.posteriors import POSTERIORS
from aevb.parts.priors.mixture import MixtureOfGaussians
from aevb.parts.priors.standard_normal import StandardNormal
from aevb.parts.priors.vamp import VampPrior
from aevb.probability.distributions import draw

CASES = {
    "elbo": ELBO,
    "elbo_sampled": SampledELBO,
    "stl": StickingTheLanding,
    "iwae": IWAE,
    "dreg": DReG,
    "score_function": ScoreFunction,
    "wake_sleep": WakeSleep,
    "monte_carlo_em": MonteCarloEM,
    "autoencoder": Autoencoder,
}


@pytest.fixture
def model():
    return VAE(4, 16, 3).double()


@pytest.fixture
def x():
    return torch.randn(32, 4, dtype=torch.float64)


def on_the_same_noise(objective, model, x):
    torch.manual_seed(3)
    return objective(model, x)


def small_model(prior):
    """A VAE of linear parts with N(W z + b, 1/2), in float64; every gradient is far from 0."""
    model = VAE(3, (), 2, prior=prior).double()
    with torch.no_grad():
        for p in model.parameters():
            p.add_(0.3 * torch.randn_like(p))
    return model


PRIORS = {
    "standard_normal": lambda: StandardNormal(2),
    "mixture": lambda: MixtureOfGaussians(2, components=3),
    "vamp": lambda: VampPrior(2, components=3),
}


def log_weights_by_hand(model, x, eps):
    """log w of z = mu + sigma eps, with torch's distributions alone.

    x: (B, D), eps: (K, B, L) -> (K, B).
    """
    mu, logvar = model.encode(x)
    std = (0.5 * logvar).exp()
    z = mu + std * eps
    log_p = Normal(model.decode(z), model.likelihood.noise).log_prob(x).sum(-1)
    if isinstance(model.prior, StandardNormal):
        log_prior = Normal(0.0, 1.0).log_prob(z).sum(-1)
    else:
        centres = model.prior
        weights = Categorical(logits=centres.log_weights)
        parts = Independent(Normal(centres.mu, (0.5 * centres.logvar).exp()), 1)
        log_prior = MixtureSameFamily(weights, parts).log_prob(z)
    return log_p + log_prior - Normal(mu, std).log_prob(z).sum(-1)


def noise_of_the_objective(samples, x, latent_dim):
    """The eps that an objective draws in ``on_the_same_noise``."""
    torch.manual_seed(3)
    return torch.randn(samples, len(x), latent_dim, dtype=torch.float64)


def gradients(objective, model, x, draws):
    """One gradient of all P parameters for each of ``draws`` seeds: (draws, P)."""
    rows = []
    for seed in range(draws):
        torch.manual_seed(seed)
        parts = torch.autograd.grad(objective(model, x).loss, list(model.parameters()))
        rows.append(torch.cat([g.flatten() for g in parts]))
    return torch.stack(rows)


def entries(model, prefix):
    """Which entries of ``gradients`` belong to parameters whose names start so."""
    return torch.cat(
        [torch.full((p.numel(),), name.startswith(prefix)) for name, p in model.named_parameters()]
    )


def furthest(values, expected=0.0):
    """The greatest distance of a column's mean from ``expected``, in standard errors. values: (N,
    P).

    At 100 values, 5 standard errors are exceeded by chance once in 400,000 for a column, once in
    10,000 for 40 of them.
    """
    error = values.std(0) / math.sqrt(len(values))
    return float(((values.mean(0) - expected).abs() / (error + 1e-9)).max())


def test_every_table_entry_has_a_case():
    assert set(CASES.values()) == {OBJECTIVES[name] for name in OBJECTIVES}


@pytest.mark.parametrize("make", CASES.values(), ids=CASES)
def test_contract(make, model, x):
    estimate = make()(model, x)
    assert estimate.loss.shape == ()
    assert all(value.shape == () and not value.requires_grad for value in estimate.log.values())
    assert {"bound", "reconstruction", "kl"} <= set(estimate.log)
    estimate.loss.backward()
    untrained = ["posterior.logvar.weight", "posterior.logvar.bias"] if make is Autoencoder else []
    assert parameters_without_gradient(model) == untrained


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
    assert torch.allclose(
        estimate.log["bound"], estimate.log["reconstruction"] - estimate.log["kl"]
    )


def test_more_samples_mean_less_noise_and_the_same_mean(model, x):
    one, many = (
        torch.stack([ELBO(samples=k)(model, x).log["reconstruction"] for _ in range(300)])
        for k in (1, 16)
    )
    assert is_mean(one - float(many.mean()), 0.0)
    assert float(many.var()) < float(one.var()) / 8  # 16 in expectation


@pytest.mark.parametrize("beta", [0.0, 0.5, 4.0])
def test_beta_weighs_the_kl_in_the_loss_and_not_in_the_report(model, x, beta):
    plain, weighted = (
        on_the_same_noise(ELBO(), model, x),
        on_the_same_noise(ELBO(beta=beta), model, x),
    )
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
    assert float(estimate.loss.detach()) == pytest.approx(
        floored - float(estimate.log["reconstruction"])
    )
    assert float(estimate.log["kl"]) == pytest.approx(float(per_dimension.detach().sum()))


def test_free_bits_of_a_sampled_kl_floor_all_dimensions_together(x):
    """Three latent dimensions at 50 nats each: a KL below 150 nats costs 150."""
    model = VAE(4, 16, 3, prior=MixtureOfGaussians(3, 2)).double()
    free, plain = (on_the_same_noise(ELBO(free_bits=bits), model, x) for bits in (50.0, 0.0))
    assert float(free.loss.detach()) == pytest.approx(150.0 - float(plain.log["reconstruction"]))


def test_free_bits_stop_the_gradient_of_the_kl_below_the_floor(model, x):
    """With the floor above every KL, the loss differs from that with beta = 0 by a constant."""
    gradients = []
    for objective in (ELBO(beta=0.0), ELBO(free_bits=100.0)):
        model.zero_grad()
        on_the_same_noise(objective, model, x).loss.backward()
        gradients.append([p.grad.clone() for p in model.parameters()])
    assert all(torch.allclose(a, b) for a, b in zip(*gradients, strict=True))


@pytest.mark.parametrize(
    "arguments",
    [{"beta": -1.0}, {"warmup_steps": -1}, {"free_bits": -0.1}, {"samples": 0}, {"beta": math.nan}],
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
    assert float((loss + 2 * math.log(math.pi)).detach()) == pytest.approx(
        float(estimate.loss.detach()), rel=1e-6
    )
    assert torch.allclose(loss, error + kl)
    assert torch.allclose(kl, kl_divergence(mu, logvar).mean())
    assert torch.allclose(error, ((recon - x) ** 2).sum(1).mean())


def test_vae_loss_refuses_to_broadcast():
    with pytest.raises(ValueError, match=r"one shape; got \(8, 1\) and \(8, 2\)"):
        vae_loss(torch.zeros(8, 1), torch.zeros(8, 2), torch.zeros(8, 2), torch.zeros(8, 2))


def test_elbo_and_importance_bounds_are_in_order_below_log_p():
    """Each of the three steps is at least five standard errors tall.

    By chance, one of them fails once in a million.
    """
    known = LinearGaussian()
    known.set_posterior(0.3, 1.5)
    x = known.sample(200)
    name = "importance_bound"
    steps = [
        torch.stack([ELBO()(known.model, x).log["bound"] for _ in range(100)]),
        *(
            torch.stack([IWAE(samples=k)(known.model, x).log[name] for _ in range(100)])
            for k in (5, 50)
        ),
        known.marginal.log_prob(x).mean().expand(100),
    ]
    for lower, upper in itertools.pairwise(steps):
        rise = upper - lower
        assert float(rise.mean()) > 5 * float(rise.std()) / 10
    assert float(steps[3][0] - steps[2].mean()) < 0.05


@pytest.mark.parametrize("make", [IWAE, DReG])
def test_importance_bound_is_the_bound_and_not_the_surrogate(make):
    known = LinearGaussian()
    known.set_posterior(0.3, 1.5)
    x = known.sample(20)
    estimate = on_the_same_noise(make(samples=7), known.model, x)
    log_w = log_weights_by_hand(known.model, x, noise_of_the_objective(7, x, 2)).detach()
    bound = float((log_w.logsumexp(0) - math.log(7)).mean())
    surrogate = float((log_w.softmax(0) * log_w).sum(0).mean())
    assert float(estimate.log["importance_bound"]) == pytest.approx(bound, abs=1e-6)
    assert float(estimate.log["bound"]) == pytest.approx(float(log_w.mean()), abs=1e-9)
    assert float(-estimate.loss.detach()) == pytest.approx(surrogate, abs=1e-9)
    assert surrogate > bound + 0.1  # or the test could not tell one from the other


def test_importance_bound_is_what_evaluation_reports():
    """Both are means of 3,000 draws of one bound; at five standard errors, 1 in 1.7 million."""
    known = LinearGaussian()
    known.set_posterior(0.3, 1.5)
    x = known.sample(30)
    trained = torch.stack(
        [IWAE(samples=5)(known.model, x).log["importance_bound"] for _ in range(100)]
    )
    evaluated = torch.stack(
        [
            importance_rows(known.model, x, samples=5, seed=i).log_likelihood.mean()
            for i in range(100)
        ]
    )
    assert is_mean(trained - evaluated, 0.0)


@pytest.mark.parametrize("prior", ["standard_normal", "mixture"])
def test_iwae_gradient_is_that_of_the_bound_on_the_same_noise(prior):
    """Against autograd through the log of the mean weight, and against finite differences."""
    model = small_model(PRIORS[prior]())
    x = torch.randn(4, 3, dtype=torch.float64)
    eps = noise_of_the_objective(5, x, 2)
    parameters = list(model.parameters())

    def minus_bound():
        return -(log_weights_by_hand(model, x, eps).logsumexp(0) - math.log(5)).mean()

    given = torch.autograd.grad(on_the_same_noise(IWAE(samples=5), model, x).loss, parameters)
    through = torch.autograd.grad(minus_bound(), parameters)
    for (name, p), a, b in zip(model.named_parameters(), given, through, strict=True):
        assert torch.allclose(a, b, rtol=1e-9, atol=1e-12), name
        flat, a = p.detach().view(-1), a.flatten()
        for i in range(p.numel()):
            with torch.no_grad():
                middle = float(flat[i])
                flat[i] = middle + 1e-5
                above = float(minus_bound())
                flat[i] = middle - 1e-5
                below = float(minus_bound())
                flat[i] = middle
            assert float(a[i]) == pytest.approx((above - below) / 2e-5, rel=1e-5, abs=1e-8), name


@pytest.mark.parametrize("make", [StickingTheLanding, DReG])
def test_path_gradient_vanishes_for_every_sample_where_q_is_exact(make):
    known = LinearGaussian()
    x = known.sample(10)
    parameters = list(known.model.posterior.parameters())
    for _ in range(20):
        for g in torch.autograd.grad(make(samples=2)(known.model, x).loss, parameters):
            assert float(g.abs().max()) < 1e-10


@pytest.mark.parametrize(
    "make", [lambda: ELBO(samples=2), lambda: IWAE(samples=2)], ids=["elbo", "iwae"]
)
def test_the_gradients_of_the_others_do_not(make):
    known = LinearGaussian()
    x = known.sample(10)
    parameters = list(known.model.posterior.parameters())
    for g in torch.autograd.grad(make()(known.model, x).loss, parameters):
        assert float(g.abs().max()) > 1e-3


PAIRS = {
    "stl": (StickingTheLanding(samples=2), ELBO(samples=2)),
    "stl_beta": (StickingTheLanding(beta=0.4, samples=2), ELBO(beta=0.4, samples=2)),
    "dreg": (DReG(samples=4), IWAE(samples=4)),
}


@pytest.mark.parametrize(
    ("pair", "prior"), [*itertools.product(["stl", "dreg"], PRIORS), ("stl_beta", "mixture")]
)
def test_mean_gradient_is_that_of_the_plain_estimator(pair, prior):
    """With a VampPrior, a part of the encoder's gradient goes through the prior, and must stay."""
    model = small_model(PRIORS[prior]())
    x = torch.randn(6, 3, dtype=torch.float64).repeat(60, 1)
    new, plain = (gradients(objective, model, x, 100) for objective in PAIRS[pair])
    assert furthest(new - plain) < 5
    for part in ("posterior", "decoder", *(["prior"] if prior != "standard_normal" else [])):
        assert (
            furthest(plain[:, entries(model, part)]) > 15
        )  # there is a gradient to be wrong about


@pytest.mark.parametrize("prior", ["standard_normal", "mixture"])
def test_decoder_and_prior_gradients_of_dreg_are_those_of_iwae_on_the_same_noise(prior):
    model = small_model(PRIORS[prior]())
    x = torch.randn(6, 3, dtype=torch.float64)
    dreg, iwae = (gradients(make(samples=4), model, x, 5) for make in (DReG, IWAE))
    posterior = entries(model, "posterior")
    assert torch.allclose(dreg[:, ~posterior], iwae[:, ~posterior], rtol=1e-10, atol=1e-12)
    assert not torch.allclose(dreg[:, posterior], iwae[:, posterior], rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("samples", [5, 50])
def test_dreg_has_less_noise_than_iwae_in_the_encoder(samples):
    known = LinearGaussian()
    known.set_posterior(0.1, 1.2)
    x = known.sample(10)
    posterior = entries(known.model, "posterior")
    dreg, iwae = (
        gradients(make(samples=samples), known.model, x, 100)[:, posterior].var(0).sum()
        for make in (DReG, IWAE)
    )
    assert float(dreg) < float(iwae) / 2


def test_stl_has_less_noise_than_the_elbo_near_the_exact_posterior():
    known = LinearGaussian()
    known.set_posterior(0.05, 1.1)
    x = known.sample(10)
    posterior = entries(known.model, "posterior")
    stl, elbo = (
        gradients(make(), known.model, x, 100)[:, posterior].var(0).sum()
        for make in (StickingTheLanding, ELBO)
    )
    assert float(stl) < float(elbo) / 4


def test_mean_gradient_of_dreg_is_that_of_iwae_for_a_flow():
    """A flow may read its parameters late, when its density is evaluated; a Gaussian does not.

    Of about 40 means of 60 values, one lies five standard errors off by chance once in 5,000.
    """
    model = VAE(3, (), 2, posterior=POSTERIORS["flow"](3, 2)).double()
    with torch.no_grad():
        for p in model.posterior.flow.parameters():
            p.mul_(2.0)
    # The parameters of all networks of the flow are too many for a test each: the last biases stand
    # for them.
    x = torch.randn(6, 3, dtype=torch.float64).repeat(10, 1)
    watched = [
        (name, p)
        for name, p in model.named_parameters()
        if not name.startswith("posterior.flow") or p.numel() == 4
    ]
    means = []
    for make in (DReG, IWAE):
        rows = []
        for seed in range(60):
            torch.manual_seed(seed)
            parts = torch.autograd.grad(make(samples=4)(model, x).loss, [p for _, p in watched])
            rows.append(torch.cat([g.flatten() for g in parts]))
        means.append(torch.stack(rows))
    assert furthest(means[1]) > 15
    assert furthest(means[0] - means[1]) < 5


@pytest.mark.parametrize("name", POSTERIORS)
def test_frozen_posterior_is_a_constant_of_its_parameters_but_not_of_z(name):
    model = VAE(3, 4, 2, posterior=POSTERIORS[name](4, 2)).double()
    x, z = (
        torch.randn(5, 3, dtype=torch.float64),
        torch.randn(7, 5, 2, dtype=torch.float64, requires_grad=True),
    )
    q, frozen = model.posterior_and_frozen(x)
    free, fixed = q.log_prob(z), frozen.log_prob(z)
    assert torch.equal(free, fixed)
    (a,), (b,) = (torch.autograd.grad(value.sum(), z, retain_graph=True) for value in (free, fixed))
    assert torch.allclose(a, b)
    parameters = [*model.encoder.parameters(), *model.posterior.parameters()]
    moved = torch.autograd.grad(fixed.sum(), parameters, retain_graph=True, allow_unused=True)
    assert all(g is None or not bool(g.any()) for g in moved)
    assert any(
        g is not None for g in torch.autograd.grad(free.sum(), parameters, allow_unused=True)
    )


def test_stl_reports_the_bound_unweighted_and_weighs_the_loss(model, x):
    plain, weighted = (
        on_the_same_noise(StickingTheLanding(beta=b, samples=3), model, x) for b in (1.0, 0.2)
    )
    log_w = log_weights_by_hand(model, x, noise_of_the_objective(3, x, 3)).detach()
    assert float(plain.log["bound"]) == pytest.approx(float(log_w.mean()))
    assert plain.log == weighted.log
    assert torch.allclose(plain.loss, -plain.log["bound"])
    assert torch.allclose(weighted.loss, 0.2 * plain.log["kl"] - plain.log["reconstruction"])


@pytest.mark.parametrize("make", CASES.values(), ids=CASES)
def test_bound_is_reconstruction_minus_kl(make, model, x):
    log = make()(model, x).log
    assert torch.allclose(log["bound"], log["reconstruction"] - log["kl"])


@pytest.mark.parametrize("name", ["iwae", "dreg"])
@pytest.mark.parametrize(
    ("samples", "advice"),
    [(1, "use objective elbo"), (0, "for example samples 5"), (-3, "for example")],
)
def test_importance_objectives_refuse_fewer_than_two_samples(name, samples, advice):
    refuses(
        UsageError,
        [f"{name} needs at least 2 samples", f"got {samples}", advice],
        OBJECTIVES[name],
        samples=samples,
    )


@pytest.mark.parametrize("arguments", [{"samples": 0}, {"beta": -0.5}, {"beta": math.nan}])
def test_stl_refuses_values_out_of_range(arguments):
    refuses(
        UsageError,
        ["stl needs samples of at least 1", "beta of at least 0"],
        StickingTheLanding,
        **arguments,
    )


def test_wake_is_the_bounds_gradient_for_the_decoder_and_sleep_is_not_for_the_encoder():
    """Sleep lowers KL(p(z|x) || q(z|x)) on dreams, not the bound's KL(q || p) on data.

    This is the bias of wake-sleep.
    """
    model = small_model(StandardNormal(2))
    x = torch.randn(8, 3, dtype=torch.float64)
    wake_sleep, elbo = (gradients(make(), model, x, 400) for make in (WakeSleep, ELBO))
    decoder, encoder = entries(model, "decoder"), entries(model, "posterior")
    expected = elbo.mean(0)
    assert furthest(wake_sleep[:, decoder], expected[decoder]) < 7  # both sides are means of draws
    assert furthest(wake_sleep[:, encoder], expected[encoder]) > 20


def test_sleep_is_at_rest_at_the_exact_posterior():
    known = LinearGaussian()
    known.set_posterior()
    found = gradients(WakeSleep(), known.model, known.sample(200), 400)
    assert furthest(found[:, entries(known.model, "posterior")]) < 6


def test_wake_sleep_needs_a_sample():
    refuses(UsageError, ["at least 1 sample", "got 0"], WakeSleep, samples=0)


def exact_bound(model, x):
    """The ELBO of ``small_model`` in closed form, summed over rows.

    p(x|z) = N(W z + b, v) and q are Gaussian.
    """
    mu, logvar = model.encode(x)
    w, b, v = model.decoder[0].weight, model.decoder[0].bias, float(model.likelihood.noise) ** 2
    error = (x - mu @ w.T - b).square().sum(-1) + (logvar.exp() * w.square().sum(0)).sum(-1)
    return -0.5 * (error / v + x.shape[1] * math.log(2 * math.pi * v)) - kl_divergence(mu, logvar)


UNBIASED = {
    "elbo": ELBO,
    "elbo_sampled": SampledELBO,
    "elbo_sampled, 3": lambda: SampledELBO(3),
    "score function": ScoreFunction,
    "score function, 3, no baseline": lambda: ScoreFunction(3, baseline=False),
    "score function, 2": lambda: ScoreFunction(2),
    "score function, 5": lambda: ScoreFunction(5),
}


@pytest.mark.parametrize("make", UNBIASED.values(), ids=UNBIASED)
def test_the_gradient_of_the_bound_is_that_of_its_closed_form(make):
    model = small_model(StandardNormal(2))
    x = torch.randn(8, 3, dtype=torch.float64)
    exact = torch.autograd.grad(-exact_bound(model, x).mean(), list(model.parameters()))
    found = gradients(make(), model, x, 2000)
    # 23 columns: 5.5 standard errors are exceeded by chance once in a million times.
    assert furthest(found, torch.cat([g.flatten() for g in exact])) < 5.5


def test_score_function_varies_more_and_its_baseline_takes_most_of_that_away():
    model = small_model(StandardNormal(2))
    x = torch.randn(8, 3, dtype=torch.float64)
    encoder = entries(model, "posterior")
    path, plain, baseline = (
        float(gradients(objective, model, x, 500)[:, encoder].var(0).sum())
        for objective in (ELBO(samples=5), ScoreFunction(5, baseline=False), ScoreFunction(5))
    )
    assert plain > 3 * baseline > 6 * path


def test_at_the_exact_posterior_the_baseline_leaves_nothing_to_vary():
    """There log p(x, z) - log q(z|x) = log p(x) whatever z is."""
    known = LinearGaussian()
    known.set_posterior()
    x = known.sample(20)
    encoder = entries(known.model, "posterior")
    assert float(gradients(ScoreFunction(4), known.model, x, 20)[:, encoder].abs().max()) < 1e-10
    assert (
        float(
            gradients(ScoreFunction(4, baseline=False), known.model, x, 20)[:, encoder].abs().max()
        )
        > 0.01
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"samples": 0}, "at least 1 sample"),
        ({"samples": 1, "baseline": True}, "at least 2 samples"),
    ],
)
def test_score_function_needs_samples(arguments, said):
    refuses(UsageError, [said, f"got {arguments['samples']}"], ScoreFunction, **arguments)


def test_elbo_sampled_needs_a_sample():
    refuses(UsageError, ["at least 1 sample", "got 0"], SampledELBO, samples=0)


def test_autoencoder_is_the_density_at_the_mean_and_its_optimum_is_that_of_principal_components():
    """If all parts are linear, the least error is the variance outside the first components.

    The source is Baldi & Hornik 1989.
    """
    known = LinearGaussian()
    x = known.sample(300)
    objective = Autoencoder()
    optimiser = torch.optim.LBFGS(
        known.model.parameters(), max_iter=500, line_search_fn="strong_wolfe"
    )

    def closure():
        optimiser.zero_grad()
        loss = objective(known.model, x).loss
        loss.backward()
        return loss

    optimiser.step(closure)
    eigenvalues = torch.linalg.eigvalsh(x.T.cov(correction=0))
    v = known.v
    best = -0.5 * float(eigenvalues[:-2].sum()) / v - 2 * math.log(2 * math.pi * v)
    assert math.isclose(float(objective(known.model, x).log["fidelity"]), best, abs_tol=1e-6)


def most_likely(x, latent_dim, v):
    """Mean log p(x) of probabilistic PCA with the noise v, at its maximum over W and b.

    The source is Tipping & Bishop 1999.
    """
    values, vectors = torch.linalg.eigh(x.T.cov(correction=0))
    kept = vectors[:, -latent_dim:]
    w = kept * (values[-latent_dim:] - v).clamp(min=0).sqrt()
    covariance = w @ w.T + v * torch.eye(x.shape[1], dtype=x.dtype)
    return float(torch.distributions.MultivariateNormal(x.mean(0), covariance).log_prob(x).mean())


@torch.no_grad()
def marginal_of(model, x):
    """Mean log p(x) of a model whose decoder is linear."""
    w, b, v = model.decoder[0].weight, model.decoder[0].bias, float(model.likelihood.noise) ** 2
    covariance = w @ w.T + v * torch.eye(x.shape[1], dtype=x.dtype)
    return float(torch.distributions.MultivariateNormal(b, covariance).log_prob(x).mean())


def test_monte_carlo_em_reaches_the_maximum_of_the_likelihood():
    known = LinearGaussian()
    x = known.sample(400)
    model = known.model
    torch.manual_seed(1)
    with torch.no_grad():
        for p in model.decoder.parameters():
            p.copy_(torch.randn_like(p))
    best, before = most_likely(x, 2, known.v), marginal_of(model, x)
    objective = MonteCarloEM()
    optimiser = torch.optim.Adam(model.decoder.parameters())
    acceptances, found = [], []
    for step in range(1500):
        for group in optimiser.param_groups:
            group["lr"] = 0.03 * (1 - step / 1500)
        optimiser.zero_grad()
        estimate = objective(model, x)
        estimate.loss.backward()
        optimiser.step()
        if step % objective.updates == 0 and step >= 1000:
            acceptances.append(float(estimate.log["acceptance"]))
    found = marginal_of(model, x)
    assert before < best - 1
    assert best - 0.01 < found < best + 1e-9
    assert abs(sum(acceptances) / len(acceptances) - ACCEPTED) < 0.02


def test_what_monte_carlo_em_teaches_the_decoder_does_not_depend_on_the_encoder():
    known = LinearGaussian()
    x = known.sample(50)
    found = []
    for stretch in (1.0, 30.0):
        known.set_posterior(shift=stretch, stretch=stretch)
        found.append(
            gradients(MonteCarloEM(), known.model, x, 3)[:, entries(known.model, "decoder")]
        )
    assert torch.equal(*found)


def test_a_chain_moves_once_for_so_many_updates_and_only_for_selected_rows(model, x):
    objective = MonteCarloEM(updates=3).double()
    objective.begin(100, 3)
    index = torch.arange(40, 72)
    objective.select(index)
    seen, acceptances, sizes = [], [], [float(objective.step_size)]
    for _ in range(5):
        acceptances.append(float(objective(model, x).log["acceptance"]))
        seen.append(objective.chains.clone())
        sizes.append(float(objective.step_size))
    others = torch.ones(100, dtype=torch.bool)
    others[index] = False
    assert all(torch.equal(one[others], seen[0][others]) for one in seen)
    assert [not torch.equal(a, b) for a, b in itertools.pairwise(seen)] == [
        False,
        False,
        True,
        False,
    ]
    # The acceptance is that of the moves, which the step size remembers too; between them it is
    # that of the last ones.
    first, second = (ACCEPTED + math.log(sizes[i + 1] / sizes[i]) / 0.3 for i in (0, 3))
    assert acceptances == pytest.approx([first] * 3 + [second] * 2)
    assert abs(first - second) > 1e-6


def optimal_model():
    """A VAE in training mode that learns its noise; it has stored 0.3 from 50 batches."""
    model = VAE(4, 16, 3, likelihood=GaussianOptimal(4)).double().train()
    model.likelihood.variance.fill_(0.3)
    model.likelihood.batches.fill_(50)
    return model


def codes_in_use(name, objective, model, x):
    """z at which p learns, of the step that was taken on seed 3: (..., B, L)."""
    if name == "monte_carlo_em":
        return objective.chains
    q = model.posterior_given(x)
    if name == "autoencoder":
        return q.mean
    torch.manual_seed(3)
    return draw(q, (objective.samples,))


@pytest.mark.parametrize("name", [name for name in CASES if name not in ("iwae", "dreg")])
def test_the_optimal_variance_is_that_of_the_codes_at_which_p_learns(name, x):
    """One evaluation in a step changes the stored variance.

    Moves of chains do not change it, and figures that are only reported do not.
    """
    model, objective = optimal_model(), CASES[name]()
    on_the_same_noise(objective, model, x)
    with torch.no_grad():
        error = float((model.decode(codes_in_use(name, objective, model, x)) - x).square().mean())
    assert float(model.likelihood.batches) == 51
    assert float(model.likelihood.variance) == pytest.approx(
        0.3 + MOMENTUM * (error - 0.3), rel=1e-9
    )


def test_chains_move_towards_one_density_under_the_optimal_variance(x):
    """That with the stored variance: the same moves as under a Gaussian in which it is fixed."""
    model, objective = optimal_model(), MonteCarloEM()
    other = VAE(4, 16, 3, likelihood=GaussianFixed(4, 0.3)).double().train()
    other.load_state_dict(
        {**model.state_dict(), "likelihood.log_variance": torch.tensor(0.3).double().log()},
        strict=False,
    )
    reference = MonteCarloEM()
    on_the_same_noise(objective, model, x)
    on_the_same_noise(reference, other, x)
    assert float(objective.chains.std()) > 0.5
    torch.testing.assert_close(objective.chains, reference.chains)
    assert all(module.training for module in model.modules())


def test_monte_carlo_em_refuses(model, x):
    refuses(UsageError, ["at least 1 update", "got 0"], MonteCarloEM, updates=0)
    objective = MonteCarloEM()
    objective.begin(5, 3)
    refuses(UsageError, ["chains for 5 rows", "got 32 rows", "begin(N, L)"], objective, model, x)


def test_patience_is_refused_where_nothing_trains_the_bound():
    refuses(UsageError, ["autoencoder", "patience"], Config, objective="autoencoder", patience=3)
