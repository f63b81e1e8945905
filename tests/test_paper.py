"""The paper's experiments: gradients, protocol, numbers, and resuming after a stop."""

import itertools
import json
import math
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace

import numpy as np
import pytest
import torch
from oracle import is_mean

from aevb.commands import cli
from aevb.errors import DataError, OutputExistsError, UsageError
from aevb.paper import figures, marginal, numbers, page, recipes, running, trial, variance
from aevb.paper.full_vb import FullVBTraining
from aevb.paper.lean import LeanGradient, paper_model
from aevb.paper.mcem import ACCEPTED, EMTraining
from aevb.paper.quadrature import log_likelihood
from aevb.paper.trial import BATCH, STILL, Training, Trial, TrialRows, grid
from aevb.paper.wake_sleep import WakeSleepTraining
from aevb.parts.objectives.elbo import ELBO
from aevb.parts.objectives.wake_sleep import WakeSleep
from aevb.parts.posteriors.gaussian import kl_divergence
from aevb.probability.distributions import DiagonalNormal
from aevb.probability.hmc import Move

SMALL = Trial("mnist", "aevb", 2, 5, 300, lr=0.02, std=0.1)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.fixture(params=[True, False], ids=["bernoulli", "gaussian"])
def model(request):
    return paper_model(12, 7, 3, bernoulli=request.param, std=0.4, generator=seeded()).double()


@pytest.fixture
def rows():
    """300 + 100 rows of 12 pixels with two kinds among them."""
    kind = torch.rand(400, 1, generator=seeded()) < 0.5
    grey = torch.where(kind, 230, 20) * torch.rand(400, 12, generator=seeded(1)) ** 0.3
    grey[:, 0] = 0  # a pixel that is always black, as in MNIST's corners
    return TrialRows(grey[:300].to(torch.uint8), grey[300:].to(torch.uint8), 255.0)


@pytest.fixture
def small_data(rows, monkeypatch):
    """In place of MNIST and Frey Face."""
    for module in (trial, running, figures):
        monkeypatch.setattr(module, "load_rows", lambda *_: rows)
    return rows


def draws(monkeypatch, *values):
    """Hand out these normals, whoever asks."""
    left = list(values)
    monkeypatch.setattr(torch, "randn", lambda *_, **__: left.pop(0))


def compare(found, model, loss):
    for a, b in zip(found, torch.autograd.grad(loss, list(model.parameters())), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


# The hand-written gradients are those of the package's own objectives.


def test_the_gradient_of_the_bound_is_that_of_the_objective(model, monkeypatch):
    x, eps = torch.rand(5, 12, dtype=torch.double), torch.randn(5, 3, dtype=torch.double)
    draws(monkeypatch, eps)
    found = LeanGradient(model, seeded()).aevb(x)
    monkeypatch.setattr(
        DiagonalNormal, "rsample", lambda q, _: (q.mu + torch.exp(q.logvar / 2) * eps).unsqueeze(0)
    )
    compare(found, model, 5 * ELBO()(model, x).loss)


def test_the_gradient_of_wake_sleep_is_that_of_the_objective(model, monkeypatch):
    x, noise = torch.rand(5, 12, dtype=torch.double), torch.randn(5, 12, dtype=torch.double)
    eps, z = torch.randn(2, 5, 3, dtype=torch.double)
    lean, dreams = LeanGradient(model, seeded()), []
    draw = lean._draw
    lean._draw = lambda a: dreams.append(draw(a)) or dreams[-1]
    draws(monkeypatch, eps, z, noise)
    found = lean.wake_sleep(x)
    if not lean.bernoulli:
        mean, logvar = model.decoder(z).chunk(2, -1)
        torch.testing.assert_close(dreams[0], mean.sigmoid() + torch.exp(logvar / 2) * noise)
    monkeypatch.setattr(
        "aevb.parts.objectives.wake_sleep.draw",
        lambda q, _: (q.mu + torch.exp(q.logvar / 2) * eps).unsqueeze(0),
    )
    monkeypatch.setattr(
        type(model), "sample_joint", lambda *_: (z.unsqueeze(0), dreams[0].unsqueeze(0))
    )
    compare(found, model, 5 * WakeSleep()(model, x).loss)


def test_a_bernoulli_dream_has_the_decoders_mean():
    """20,000 draws of 12 pixels: each mean within 5 standard errors, a false alarm in 1 of 100,000
    runs."""
    model = paper_model(12, 7, 3, bernoulli=True, std=1.0, generator=seeded())
    logits = model.decoder(torch.randn(1, 3, generator=seeded(2))).detach()
    x = LeanGradient(model, seeded(3))._draw(logits.expand(20_000, 12).clone())
    assert set(x.unique().tolist()) == {0.0, 1.0}
    p = logits.sigmoid().squeeze()
    assert ((x.mean(0) - p).abs() < 5 * (p * (1 - p) / 20_000).sqrt()).all()


def test_what_monte_carlo_em_uses_is_the_joint_density_and_its_gradient():
    model = paper_model(12, 7, 3, bernoulli=True, std=0.4, generator=seeded()).double()
    x, z = (
        torch.rand(5, 12, dtype=torch.double),
        torch.randn(5, 3, dtype=torch.double, requires_grad=True),
    )
    lean = LeanGradient(model, seeded())
    reconstruction, prior = model.log_joint(x, z)
    constant = 1.5 * math.log(2 * math.pi)
    torch.testing.assert_close(
        lean.log_joint(x, z.detach()), (reconstruction + prior).detach() + constant
    )
    torch.testing.assert_close(
        lean.force(x, z.detach()), torch.autograd.grad((reconstruction + prior).sum(), z)[0]
    )
    found, parameters = lean.decoder(x, z.detach()), list(model.parameters())
    expected = torch.autograd.grad(
        -model.log_joint(x, z.detach())[0].sum(), parameters, allow_unused=True
    )
    assert sum(gradient is not None for gradient in expected) == 4
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(
            a, torch.zeros_like(a) if b is None else b, rtol=1e-9, atol=1e-12
        )


# The protocol.


def test_adagrad_only_adds_up_for_the_first_minibatches(rows, tmp_path):
    training = Training(SMALL, rows, tmp_path)
    before = [p.clone() for p in training.gradient.parameters]
    training.gradient.generator = seeded()
    for step in range(STILL):
        training._move(training.gradient.aevb(rows.batch(torch.arange(BATCH))), step, BATCH)
    assert all(torch.equal(a, b) for a, b in zip(before, training.gradient.parameters, strict=True))
    sums = [
        value.clone()
        for name, value in training.update.state_dict().items()
        if name.endswith("sum")
    ]
    assert all((value > 0).all() for value, p in zip(sums, before, strict=True) if p.ndim == 1)
    gradients = [g.clone() for g in training.gradient.aevb(rows.batch(torch.arange(BATCH)))]
    training._move([g.clone() for g in gradients], STILL, BATCH)
    bias = next(i for i, p in enumerate(before) if p.ndim == 1)
    expected = before[bias] - 0.02 * gradients[bias] / (
        (sums[bias] + gradients[bias] ** 2).sqrt() + 1e-10
    )
    torch.testing.assert_close(training.gradient.parameters[bias], expected)


def test_the_prior_pulls_weights_not_biases(rows, tmp_path):
    """With gradients of zero what is left is the minibatch's part of the prior: w / sqrt(w^2) in
    Adagrad's first step."""
    training = Training(replace(SMALL, std=0.5), rows, tmp_path)
    before = [p.clone() for p in training.gradient.parameters]
    zeros = [torch.zeros_like(p) for p in before]
    training._move(zeros, STILL, BATCH)
    for p, old, gradient in zip(training.gradient.parameters, before, zeros, strict=True):
        if p.ndim == 2:
            torch.testing.assert_close(gradient, old * BATCH / 300)
            torch.testing.assert_close(p, old - 0.02 * old.sign(), rtol=1e-4, atol=1e-5)
        else:
            assert torch.equal(p, old)


def test_adam_moves_from_the_first_minibatch(rows, tmp_path):
    training = Training(replace(SMALL, optimiser="adam", lr=1e-3), rows, tmp_path)
    before = training.gradient.parameters[1].clone()
    training._move(training.gradient.aevb(rows.batch(torch.arange(BATCH))), 0, BATCH)
    torch.testing.assert_close(
        (training.gradient.parameters[1] - before).abs(),
        torch.full_like(before, 1e-3),
        rtol=1e-3,
        atol=0,
    )


def test_a_slow_log_variance_head_starts_at_zero_and_moves_at_a_tenth(rows, tmp_path):
    """Adagrad's first two steps agree with autograd through logvar = c W h + b, prior on W."""
    training = WakeSleepTraining(replace(SMALL, method="wake_sleep", logvar=0.1), rows, tmp_path)
    layer = training.model.posterior.logvar
    assert not layer.weight.any()
    assert not layer.bias.any()
    w, total = torch.zeros_like(layer.weight), torch.zeros_like(layer.weight)
    for step in (STILL, STILL + 1):
        gradients = [
            torch.randn(p.shape, generator=seeded(i))
            for i, p in enumerate(training.gradient.parameters)
        ]
        i = next(i for i, p in enumerate(training.model.parameters()) if p is layer.weight)
        by_w = (
            0.1 * gradients[i] + w * BATCH / 300
        )  # the chain rule, and a minibatch's part of the prior
        total += by_w.square()
        w -= 0.02 * by_w / total.sqrt()
        training._move(gradients, step, BATCH)
        torch.testing.assert_close(layer.weight.detach(), 0.1 * w)
        torch.testing.assert_close(training.head, w)


def test_a_head_of_factor_one_is_plain_wake_sleep(rows, tmp_path):
    """Bit for bit what training without a head of its own makes."""
    plain, own = (
        kind(replace(SMALL, method="wake_sleep"), rows, tmp_path / "a")
        for kind in (Training, WakeSleepTraining)
    )
    for training in (plain, own):
        training.gradient.generator = seeded()
        training._train(0, 300 * BATCH)
    assert all(
        torch.equal(a, b)
        for a, b in zip(plain.gradient.parameters, own.gradient.parameters, strict=True)
    )


def test_an_epoch_sees_every_row_once(rows, tmp_path, monkeypatch):
    training, seen = Training(SMALL, rows, tmp_path), []
    monkeypatch.setattr(
        TrialRows, "batch", lambda _, index: seen.append(index) or rows.train[index] / 255.0
    )
    training._train(0, 200)
    training._train(200, 600)
    assert (
        sorted(torch.cat(seen[:3]).tolist())
        == sorted(torch.cat(seen[3:]).tolist())
        == list(range(300))
    )
    assert not torch.equal(torch.cat(seen[:3]), torch.cat(seen[3:]))


def test_binarised_targets_are_zeros_and_ones_with_the_grey_level_as_mean(rows, tmp_path):
    training = Training(replace(SMALL, targets="binary"), rows, tmp_path)
    training.gradient.generator = seeded()
    x = torch.full((200, 500), 0.3)
    targets = training._targets(x)
    assert set(targets.unique().tolist()) == {0.0, 1.0}
    assert abs(float(targets.mean()) - 0.3) < 5 * math.sqrt(0.21 / 100_000)  # 5 standard errors


@pytest.mark.parametrize("method", ["aevb", "wake_sleep", "mcem"])
def test_training_raises_log_p(rows, tmp_path, method):
    """On rows of two kinds it learns more than their mean: about 12 x 0.15 nats in this design."""
    scheduled = recipes.ScheduledTrial(replace(SMALL, method=method, lr=0.1), 300_000, log_p=True)
    training = running.open_training(scheduled.trial, scheduled, rows, tmp_path)
    start = float(log_likelihood(training.model, rows.test / 255.0).mean())
    training.advance([60_000])
    mean = (rows.train / 255.0).mean(0).clamp(1e-3, 1 - 1e-3)
    x = rows.test / 255.0
    alone = float((x * mean.log() + (1 - x) * (1 - mean).log()).sum(1).mean())
    assert training.curve[0]["test_log_p"] > max(start, alone) + 0.3


def test_the_em_step_size_is_tuned_to_its_acceptance(rows, tmp_path):
    training = EMTraining(replace(SMALL, method="mcem"), rows, tmp_path, lambda *_: {"train": 0.0})
    training.advance([300_000])
    training.gradient.generator = seeded()
    accepted = [float(training._sample(torch.arange(300)).mean()) for _ in range(20)]
    assert abs(np.mean(accepted) - ACCEPTED) < 0.05


def test_a_grid_of_points_is_of_whole_minibatches():
    assert grid(1_000_000)[:3] == [100_000, 125_900, 158_500]
    assert grid(10_000_000)[-1] == 10_000_000
    assert len(grid(10_000_000)) == 21
    assert grid(100_000) == [100_000]
    assert all(p % BATCH == 0 for p in grid(3_000_000))
    assert set(grid(3_000_000)[:-1]) < set(grid(10_000_000)), (
        "a longer run goes on from a shorter one"
    )


# log p(x).


def test_quadrature_agrees_with_draws_from_the_prior_and_with_itself():
    model = paper_model(12, 7, 3, bernoulli=True, std=1.0, generator=seeded())
    x = (torch.rand(10, 12, generator=seeded(1)) < 0.5).float()
    exact = log_likelihood(model, x, 0.15)
    torch.testing.assert_close(exact, log_likelihood(model, x, 0.3), rtol=0, atol=1e-3)
    p = (
        model.likelihood_given(torch.randn(100_000, 1, 3, generator=seeded(2)))
        .log_prob(x)
        .detach()
        .double()
        .exp()
    )
    assert (
        (exact.exp() - p.mean(0)).abs() < 5 * p.std(0) / math.sqrt(100_000)
    ).all()  # false alarms: 6 in a million


def test_quadrature_is_exact_where_z_has_no_effect():
    model = paper_model(12, 7, 3, bernoulli=True, std=0.0, generator=seeded())
    torch.testing.assert_close(
        log_likelihood(model, torch.rand(2, 12)),
        torch.full((2,), -12 * math.log(2)).double(),
        rtol=1e-4,
        atol=0,
    )


def test_four_ways_to_log_p_agree(rows, monkeypatch):
    """Within the half nat that the paper's estimator needs, and importance sampling far closer."""
    monkeypatch.setattr(marginal, "BURN_IN", 40)
    monkeypatch.setattr(marginal, "DRAWS", 40)
    model = paper_model(12, 7, 2, bernoulli=True, std=0.7, generator=seeded())
    for p in model.posterior.parameters():
        p.data.zero_()  # q(z|x) = p(z), which covers any posterior
    found = marginal.comparison(
        model, TrialRows(rows.train[:8], rows.test, 255.0), 8, encoder=True, width=0.2
    )
    judge = found["test_quadrature"]
    assert found["test_wider_grid"] == pytest.approx(judge, abs=1e-3)
    assert found["test_importance"] == pytest.approx(judge, abs=0.1)
    assert found["test_fitted_importance"] == pytest.approx(judge, abs=0.03)
    assert found["test_reciprocal"] == pytest.approx(judge, abs=0.5)
    assert found["test_reciprocal_row_error"] > found["test_wider_grid_row_error"]


def test_a_fitted_proposal_needs_no_encoder(rows, monkeypatch):
    """An encoder that is sure of the wrong place ruins importance sampling; chains find the
    posterior without it."""
    monkeypatch.setattr(marginal, "BURN_IN", 40)
    monkeypatch.setattr(marginal, "DRAWS", 40)
    model = paper_model(12, 7, 2, bernoulli=True, std=0.7, generator=seeded())
    for p in model.posterior.parameters():
        p.data.zero_()
    model.posterior.mu.bias.data.fill_(5.0)
    model.posterior.logvar.bias.data.fill_(-8.0)  # a standard deviation of 0.02
    found = marginal.comparison(
        model, TrialRows(rows.train[:8], rows.test, 255.0), 8, encoder=True, width=0.2
    )
    assert abs(found["test_importance"] - found["test_quadrature"]) > 2
    assert (
        found["test_fitted_importance_row_error"] < 0.06
    )  # of 5,000 draws; five standard errors of a row


def test_the_papers_estimator_is_unbiased_for_1_over_p_of_x(monkeypatch):
    """With independent draws of a known posterior in place of chains: 1 / estimate has the mean 1 /
    p(x), and little spread.

    z has no effect: p(z|x) = N(0, I), p(x) = 2^-12. Five standard errors of 500 rows are 0.005:
    a false alarm in 1.7 million seeds.
    """
    monkeypatch.setattr(
        marginal, "hmc_move", lambda _, z, __: Move(torch.randn_like(z), torch.ones(len(z)))
    )
    model = paper_model(12, 7, 2, bernoulli=True, std=0.0, generator=seeded())
    found = marginal.reciprocal(model, torch.rand(500, 12, generator=seeded()))
    shares = torch.exp(-12 * math.log(2) - found)
    assert is_mean(shares, 1.0)
    assert (
        float(shares.std()) < 0.05
    )  # the fit leaves 2%: a Gaussian of another width or place would leave far more


def test_chains_mix_where_the_posterior_is_the_prior():
    """Moves of one length may return to their start on N(0, I): 1 / estimate was then 3 to 22 times
    1 / p(x), in the mean.

    z has no effect: p(x) = 2^-12. The fit and 100 draws that are not independent leave some spread.
    """
    model = paper_model(12, 7, 2, bernoulli=True, std=0.0, generator=seeded())
    found = marginal.reciprocal(model, torch.rand(500, 12, generator=seeded()))
    shares = torch.exp(-12 * math.log(2) - found)
    assert float(shares.mean()) == pytest.approx(1.0, abs=0.05)
    assert float(shares.std()) < 0.2


def test_the_constant_gaussian_is_the_density_of_each_pixel():
    train, test = torch.rand(500, 4, generator=seeded()), torch.rand(50, 4, generator=seeded(1))
    expected = torch.distributions.Normal(train.mean(0), train.std(0)).log_prob(test).sum(1).mean()
    assert figures.constant_gaussian(train, test) == pytest.approx(float(expected), abs=1e-4)


def test_four_estimators_have_one_mean(rows):
    """The gradient of mu's bias, averaged over 20,000 draws: z-tests at 5 standard errors against
    estimator B."""
    model = paper_model(12, 7, 2, bernoulli=True, std=0.5, generator=seeded()).double()
    lean, x = LeanGradient(model, seeded()), (rows.train[:1] / 255.0).double().expand(20_000, 12)
    eps = torch.randn(20_000, 2, generator=seeded(1), dtype=torch.double)
    seen = {}
    lean.encoder_gradient = lambda _, __, dmu, dlogvar: seen.update(
        now=torch.cat([dmu, dlogvar], 1)
    )
    for estimator in variance.ESTIMATORS:
        variance.one_gradient(lean, x, eps, torch.tensor(-8.0), estimator)
        seen[estimator] = seen["now"]
    # By their definition: another baseline is another multiple of the score, whose mean is 0.
    _, mu, logvar = lean.encode(x)
    score = torch.cat([eps * torch.exp(-0.5 * logvar), 0.5 * (eps.square() - 1)], 1)
    torch.testing.assert_close(seen["score with baseline"], seen["score"] - 8.0 * score)
    log_p = model.likelihood_given(mu + eps * torch.exp(0.5 * logvar)).log_prob(x)
    log_ratio = -0.5 * (mu + eps * torch.exp(0.5 * logvar)).square().sum(1) + 0.5 * (
        logvar + eps.square()
    ).sum(1)
    torch.testing.assert_close(seen["score"], -(log_p + log_ratio).unsqueeze(1) * score)
    b = seen["reparameterised, B"]
    for estimator in variance.ESTIMATORS[1:]:
        difference = seen[estimator] - b
        assert (difference.mean(0).abs() < 5 * difference.std(0) / math.sqrt(20_000)).all(), (
            estimator
        )
    assert (seen["score"].var(0) > seen["score with baseline"].var(0)).all()
    assert (seen["score with baseline"].var(0) > b.var(0)).all()


def test_the_variance_of_a_group_is_that_of_its_parameters(rows):
    """Against the variance of 400 gradients, parameter by parameter; both have errors of a few per
    cent."""
    model = paper_model(12, 7, 2, bernoulli=True, std=0.5, generator=seeded())
    found = variance.gradient_variance(model, rows, 400)
    lean, x = LeanGradient(model, seeded(5)), rows.batch(torch.arange(BATCH))
    gradients = []
    for _ in range(400):
        variance.one_gradient(
            lean, x, torch.randn(BATCH, 2, generator=lean.generator), torch.zeros(BATCH), "score"
        )
        gradients.append(torch.cat([lean.layers[1].d_weight.flatten(), lean.layers[1].d_bias]))
    value, error = found.of("score")["mu"]
    assert abs(value - float(torch.stack(gradients).var(0).sum())) < 8 * error
    assert set(found.blocks) == set(variance.ESTIMATORS)
    total = sum(found.of("score")[name][0] for name in variance.GROUPS)
    assert found.of("score")[variance.ALL][0] == pytest.approx(total)


def test_the_variance_of_three_gradients_is_unbiased(rows, monkeypatch):
    """In closed form: entries of 1, 2 and 6 have a variance of 7 each, whatever estimator and
    group; so of all blocks."""
    model = paper_model(12, 7, 2, bernoulli=True, std=0.5, generator=seeded())
    values = itertools.cycle([1.0, 2.0, 6.0])

    def one_gradient(lean, *_):
        value = next(values)
        for layer in lean.layers:
            layer.d_weight.fill_(value)
            layer.d_bias.fill_(value)

    monkeypatch.setattr(variance, "one_gradient", one_gradient)
    found = variance.gradient_variance(model, rows, 3 * variance.BLOCKS).of("score")
    sizes = {"hidden layer": 12 * 7 + 7, "mu": 7 * 2 + 2, "logvar": 7 * 2 + 2}
    for name, size in {**sizes, variance.ALL: sum(sizes.values())}.items():
        assert found[name] == pytest.approx((7.0 * size, 0.0), rel=1e-5, abs=1e-3)


def test_the_baseline_of_a_row_is_its_mean_weight(rows):
    """That of OTHERS draws, against that of 500: six standard errors, in each of 100 rows."""
    model = paper_model(12, 7, 2, bernoulli=True, std=0.5, generator=seeded())
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(variance, "_block", lambda *given: seen.append(given[3]) or [0.0] * 3)
        variance.gradient_variance(model, rows, variance.BLOCKS)
    lean, x = LeanGradient(model, seeded()), rows.batch(torch.arange(BATCH))
    with torch.no_grad():
        weights = torch.stack(
            [variance._log_weight(lean, x, torch.randn(BATCH, 2))[0] for _ in range(500)]
        )
    error = weights.std(0) * math.sqrt(1 / variance.OTHERS + 1 / 500)
    assert float(((seen[0] - weights.mean(0)) / error).abs().max()) < 6


def test_errors_of_variances_and_of_their_ratios_are_the_spread_over_repetitions():
    """3,000 sets of blocks of correlated numbers: mean square error against variance, which is
    known to 3%."""
    g = seeded()
    values, ratios = [], []
    for _ in range(3000):
        common = torch.randn(
            variance.BLOCKS, len(variance.GROUPS) + 1, generator=g, dtype=torch.double
        )
        own = torch.randn(common.shape, generator=g, dtype=torch.double)
        found = variance.Variances({"a": 6 + 0.2 * common + 0.1 * own, "b": 3 + 0.2 * common})
        values.append(found.of("a")["mu"])
        ratios.append(found.ratio("a", "b")["mu"])
    for pairs, expected in ((values, 6.0), (ratios, 2.0)):
        value, error = torch.tensor(pairs, dtype=torch.double).unbind(1)
        assert float(value.mean()) == pytest.approx(expected, rel=0.01)
        assert float(error.square().mean() / value.var()) == pytest.approx(1.0, abs=0.15)


def test_ratios_come_from_the_same_draws(rows):
    """An estimator against itself has no error at all; A against B has less than their own errors
    would leave."""
    model = paper_model(12, 7, 2, bernoulli=True, std=0.5, generator=seeded())
    found = variance.gradient_variance(model, rows, 200)
    b, a = variance.ESTIMATORS[:2]
    assert found.ratio(b, b)["mu"] == (1.0, 0.0)
    ratio, error = found.ratio(a, b)[variance.ALL]
    own = math.hypot(
        *(found.of(name)[variance.ALL][1] / found.of(name)[variance.ALL][0] for name in (a, b))
    )
    assert 0 < error < ratio * own


# Full variational Bayes.


@pytest.fixture
def bayes(rows, tmp_path):
    return FullVBTraining(
        replace(SMALL, method="full_vb", optimiser="adam", lr=0.01), rows, tmp_path
    )


def test_full_vb_follows_the_gradient_of_its_bound(bayes, rows, monkeypatch):
    """Against autograd through theta = m + s zeta, of minus a minibatch's share of the bound on log
    p(X)."""
    x, model = rows.batch(torch.arange(BATCH)), bayes.model
    seen = {}
    monkeypatch.setattr(
        type(bayes.update), "__call__", lambda _, gradients, bad: seen.update(moved=list(gradients))
    )
    zetas = [torch.randn(m.shape, generator=seeded(4 + i)) for i, m in enumerate(bayes.means)]
    eps = torch.randn(BATCH, 2, generator=seeded(9))
    draws(monkeypatch, *zetas, eps)
    bayes._move([g.clone() for g in bayes._step(x)], 0, BATCH)
    means, logvars = (
        [value.clone().requires_grad_() for value in own] for own in (bayes.means, bayes.logvars)
    )
    theta = [m + torch.exp(s / 2) * z for m, s, z in zip(means, logvars, zetas, strict=True)]
    names = [name for name, _ in model.decoder.named_parameters()]
    mu, logvar = model.encode(x)
    features = torch.func.functional_call(
        model.decoder, dict(zip(names, theta, strict=True)), mu + torch.exp(logvar / 2) * eps
    )
    bound = (model.likelihood(features).log_prob(x) - kl_divergence(mu, logvar)).sum()
    share = BATCH / len(rows.train)
    pairs = zip(means, logvars, strict=True)
    kl = sum(kl_divergence(m.reshape(1, -1), s.reshape(1, -1)).sum() for m, s in pairs)
    encoder = [p for name, p in model.named_parameters() if not name.startswith("decoder")]
    prior = sum(0.5 * share * p.square().sum() for p in encoder if p.ndim == 2)
    expected = torch.autograd.grad(share * kl + prior - bound, [*encoder, *means, *logvars])
    assert len(seen["moved"]) == len(expected) == 6 + 4 + 4
    for a, b in zip(seen["moved"], expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


def test_the_bound_on_the_evidence_lies_below_it_and_near(tmp_path):
    """One pixel, white in 70 of 100 rows: log p(X) by 400,000 draws of theta from its prior and
    quadrature over z."""
    white = torch.arange(100).unsqueeze(1) < 70
    rows = TrialRows((255 * white).to(torch.uint8), (255 * white).to(torch.uint8), 255.0)
    trained = FullVBTraining(
        Trial("mnist", "full_vb", 1, 1, 100, optimiser="adam", lr=0.02, std=0.1),
        rows,
        tmp_path,
        lambda *_: {},
    )
    trained.advance([200_000])
    z, weights = np.polynomial.hermite_e.hermegauss(25)
    v1, c1, v2, c2 = torch.randn(4, 400_000, 1, generator=seeded(), dtype=torch.float64)
    p = torch.sigmoid(v2 * torch.tanh(v1 * torch.from_numpy(z) + c1) + c2) @ torch.from_numpy(
        weights / weights.sum()
    )
    log_evidence = float(torch.logsumexp(70 * p.log() + 30 * (1 - p).log(), 0) - math.log(len(p)))
    bound = 100 * trained.curve[-1]["evidence"]
    assert (
        log_evidence - 2.0 < bound < log_evidence + 0.2
    )  # the latter for the draws of z and theta in the bound


# Going on after a stop, and what is written.


@pytest.mark.parametrize(
    "method", ["aevb", "wake_sleep", "wake_sleep, slow head", "mcem", "full_vb"]
)
def test_a_resumed_trial_ends_in_the_same_bits(rows, tmp_path, method):
    method, slow = method.removesuffix(", slow head"), "slow" in method
    scheduled = recipes.ScheduledTrial(
        replace(SMALL, method=method, logvar=0.1 if slow else 1.0), 6000, log_p=method == "mcem"
    )
    whole = running.open_training(scheduled.trial, scheduled, rows, tmp_path / "a")
    whole.advance([1500, 3000, 6000])
    for points in ([1500], [1500, 3000, 6000]):  # the second opens the file of the first
        part = running.open_training(scheduled.trial, scheduled, rows, tmp_path / "b")
        part.advance(points)
    for a, b in zip(whole.gradient.parameters, part.gradient.parameters, strict=True):
        assert torch.equal(a, b)
    assert all(
        torch.equal(value, part.update.state_dict()[name])
        for name, value in whole.update.state_dict().items()
    )
    assert [{**p, "seconds": 0} for p in whole.curve] == [{**p, "seconds": 0} for p in part.curve]


KILLED = """
import sys, numpy as np, torch
from pathlib import Path
from aevb.paper.trial import Training, Trial, TrialRows
torch.set_num_threads(1)
rows = TrialRows(*(torch.from_numpy(part) for part in np.load(sys.argv[1]).values()), 255.0)
training = Training(Trial("mnist", "aevb", 2, 5, 300, lr=0.02, std=0.1), rows, Path(sys.argv[2]))
training.advance(range(300, 30_000_000, 300))
"""


def test_a_trial_killed_in_the_midst_goes_on_in_the_same_bits(rows, tmp_path):
    """SIGKILL to a process that trains, once it has kept something; then on from there, and from
    nothing, to one point."""
    np.savez(tmp_path / "rows.npz", train=rows.train.numpy(), test=rows.test.numpy())
    process = subprocess.Popen(
        [sys.executable, "-c", KILLED, str(tmp_path / "rows.npz"), str(tmp_path / "killed")]
    )
    kept = tmp_path / "killed" / f"{SMALL.name}.npz"
    while not kept.is_file():
        assert process.poll() is None
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL
    killed, whole = (Training(SMALL, rows, tmp_path / folder) for folder in ("killed", "whole"))
    assert 0 < killed.samples < 30_000_000 - 300
    points = range(300, killed.samples + 3000, 300)
    for training in (killed, whole):
        training.advance(points)
    assert all(
        torch.equal(a, b)
        for a, b in zip(killed.gradient.parameters, whole.gradient.parameters, strict=True)
    )
    assert [{**p, "seconds": 0} for p in killed.curve] == [{**p, "seconds": 0} for p in whole.curve]


def test_a_damaged_state_is_named(rows, tmp_path):
    (tmp_path / f"{SMALL.name}.npz").write_bytes(b"PK but no more")
    with pytest.raises(DataError, match="begin this trial anew"):
        Training(SMALL, rows, tmp_path)


@pytest.fixture
def place(tmp_path):
    return running.Place(tmp_path / "trials", tmp_path, tmp_path, resume=False, say=lambda _: None)


def test_one_step_size_is_chosen_for_all_sizes_on_training_rows(small_data, place, monkeypatch):
    """The best mean, not the best of the size at hand; trials of another method have no say."""
    values = {
        (2, 0.01): -4.0,
        (3, 0.01): -7.0,
        (2, 0.02): -5.0,
        (3, 0.02): -5.0,
        (2, 0.1): -1.0,
        (3, 0.1): -math.inf,
    }

    def measured(training, until):
        value = values[training.trial.latent_dim, training.trial.lr]
        training.curve.append(
            {
                "samples": until,
                "seconds": 0.0,
                "train_bound": value,
                "test_bound": 0.0,
                "test_se": 0.0,
            }
        )

    monkeypatch.setattr(Training, "advance", lambda self, points: measured(self, points[-1]))
    schedule = [recipes.ScheduledTrial(replace(SMALL, lr=0.0, latent_dim=n), 600) for n in (2, 3)]
    others = [
        recipes.ScheduledTrial(replace(SMALL, lr=0.0, latent_dim=99, method="wake_sleep"), 600)
    ]
    trial, found = running.chosen(schedule[0], schedule + others, small_data, place)
    assert (trial.lr, trial.latent_dim) == (0.02, 2)
    assert found == {"0.01": -5.5, "0.02": -5.0, "0.1": -math.inf}


def test_every_figure_is_written_and_resumed(small_data, place, monkeypatch):
    monkeypatch.setattr("aevb.paper.drawing.SHAPES", {"mnist": (3, 4), "frey": (3, 4)})
    monkeypatch.setattr("aevb.paper.drawing.SIDE", 2)
    monkeypatch.setattr(marginal, "comparison", lambda *_, **__: {})
    monkeypatch.setattr(
        "aevb.paper.running.log_likelihoods",
        lambda *_: {"train_log_p": -9.0, "test_log_p": -8.0, "test_se": 1.0},
    )
    monkeypatch.setattr(running, "CHOICE", 300)
    short = {
        name: (lambda *a, r=r: [p._replace(until=1500, trial=shrunk(p.trial)) for p in r(*a)], d)
        for name, (r, d) in figures.EXPERIMENTS.items()
        if name
        in (
            "figure2_mnist",
            "figure2_tried",
            "figure3",
            "figure3_step",
            "figure4",
            "variance",
            "full_vb",
        )
    }
    monkeypatch.setattr(
        recipes.ScheduledTrial, "points", property(lambda scheduled: [scheduled.until])
    )
    monkeypatch.setattr(figures, "EXPERIMENTS", short)
    written = list(figures.reproduce("all", False, 1, place))
    assert all(path.is_file() for path in written)
    text = written[-1].read_text()
    assert text.count("![") == 6
    with pytest.raises(UsageError, match="figure3_step has no quick form; give --full"):
        next(figures.reproduce("figure3_step", False, 1, place))
    for name in ("figure2_tried", "figure3_step"):  # which have no quick form
        assert not any(name in path.name for path in written)
        suffixes = (
            [".json", ".png", ".md"] if name == "figure3_step" else [".json", ".md"]
        )  # a table says it better
        assert [path.suffix for path in figures.reproduce(name, True, 1, place)] == suffixes
    assert all(
        (place.results / line.split("](")[1].rstrip(")")).is_file()
        for line in text.splitlines()
        if line[:2] == "!["
    )
    records = running.read(place.result.__self__.results / "paper_figure3_quick.json")
    assert {record["trial"]["method"] for record in records} == {"aevb", "wake_sleep", "mcem"}
    with pytest.raises(OutputExistsError, match="--resume"):
        next(figures.reproduce("figure3", False, 1, place))
    monkeypatch.setattr(Training, "_train", None)  # nothing is trained twice
    again = list(figures.reproduce("all", False, 1, replace(place, resume=True)))
    assert again == written


def shrunk(trial):
    return replace(trial, hidden=trial.hidden // 50, rows=300)


# The paper's numbers.


def test_the_papers_numbers_agree_with_each_other():
    """The list at 3 million samples is the curves at that place; AEVB is above wake-sleep there, as
    the paper says."""
    for method, values in numbers.AT_3E6.items():
        for latent, value in values.items():
            assert numbers.at(numbers.FIGURE2[latent, method, "test"], 3e6) == pytest.approx(
                value, abs=0.25
            )
    assert all(numbers.AT_3E6["aevb"][n] > numbers.AT_3E6["wake_sleep"][n] for n in recipes.LATENTS)
    for curve in [*numbers.FIGURE2.values(), *numbers.FIGURE3.values()]:
        samples = [x for x, _ in curve]
        assert samples == sorted(set(samples))
        assert all(-250 < y < -90 for _, y in curve)


def test_between_two_points_the_logarithm_of_the_samples_counts():
    assert numbers.at([(1e5, -200.0), (1e7, -100.0)], 1e6) == pytest.approx(-150.0)
    assert math.isnan(numbers.at([(1e5, -200.0), (1e7, -100.0)], 2e7))


def test_a_table_has_the_papers_figure_beside_ours():
    run = asdict(Trial("mnist", "aevb", 20, 500, 50_000, lr=0.02, std=0.1))
    del run["logvar"]  # as in the records of earlier versions
    figures = {"train_bound": -1.0, "test_bound": -120.2, "test_se": 0.5, "seconds": 90.0}
    curve = [{"samples": samples, **figures} for samples in (100_000, 1_000_000, 1_259_000)]
    lines = list(page.table([{"trial": run, "curve": curve}]))
    assert len(lines) == 4  # a head of two, the mark of a million, and where the trial stands
    assert "| 1e+06 | -120.20 +- 0.50 | -124.2 | +4.0 | -1.00 | -126.3 | 1.5 |" in lines[2]


# Bad input.


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["figure9"], 2),
        ([], 2),
        (["figure2", "--quick", "--full"], 2),
        (["figure2", "--seeds", "0"], 2),
        (["figure2", "--threads", "0"], 2),
        (["figure2", "--seeds", "many"], 2),
    ],
)
def test_bad_arguments(words, code, capsys):
    with pytest.raises(SystemExit) as end:
        cli.main(["reproduce", *words])
    assert end.value.code == code
    assert capsys.readouterr().err.startswith("aevb: ")


def test_rows_must_fill_minibatches_and_data_must_be_known(rows, tmp_path):
    with pytest.raises(UsageError, match="multiple of 100"):
        Training(SMALL, TrialRows(rows.train[:250], rows.test, 255.0), tmp_path)
    with pytest.raises(UsageError, match="expected mnist or frey"):
        trial.load_rows("cifar", 100)


def test_a_result_file_is_json_with_versions(small_data, place):
    running.run([recipes.ScheduledTrial(replace(SMALL, data="mnist"), 300)], place, "x")
    stored = json.loads((place.results / "paper_x.json").read_text())
    assert stored["made_with"]["torch"] == torch.__version__
    assert [point["samples"] for point in stored["trials"][0]["curve"]] == [300]
