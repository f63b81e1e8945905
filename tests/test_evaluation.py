"""The evaluated bound: right, with error bars that cover, and without side effects."""

import math

import pytest
import torch
from oracle import LinearGaussian, is_mean

from aevb.errors import DataError
from aevb.evaluation.bound import RowTerms, elbo_rows, mean_figure, summarise


def test_bound_is_log_p_minus_the_gap():
    known = LinearGaussian()
    known.set_posterior(0.3, 1.5)
    x = known.sample(4000)
    rows = elbo_rows(known.model, x, samples=4)
    assert is_mean(rows.bound - known.marginal.log_prob(x), -known.gap(0.3, 1.5))


def test_error_bars_cover():
    """A 95 % interval misses the truth in 5 % of repetitions.

    The share of 200 repetitions lies within 0.90 and 0.99, except once in 640.
    """
    known = LinearGaussian()
    truth = -float(known.marginal.entropy()) - known.gap(0.3, 1.5)
    known.set_posterior(0.3, 1.5)
    covered = 0
    for seed in range(200):
        bound = summarise(elbo_rows(known.model, known.sample(100), seed=seed))["bound"]
        covered += abs(bound.value - truth) < 1.96 * bound.standard_error
    assert 180 <= covered <= 198


def test_figures_and_units():
    rows = RowTerms(
        torch.tensor([-3.0, -5.0, -4.0]), torch.tensor([[1.0, 1.0], [0.0, 1.0], [1.0, 2.0]])
    )
    figures = summarise(rows)
    assert figures["bound"].value == pytest.approx(-6.0)
    assert figures["bound"].standard_error == pytest.approx(math.sqrt(1 / 3))  # bounds -5, -6, -7
    assert figures["reconstruction"].value == pytest.approx(-4.0)
    assert figures["kl"].value == pytest.approx(2.0)
    assert [f.unit for f in figures.values()] == ["nats", "nats", "nats"]


def test_jacobian_moves_reconstruction_and_bound_alone():
    known = LinearGaussian()
    x = known.sample(50)
    plain, moved = (elbo_rows(known.model, x, log_jacobian=j) for j in (0.0, -2.5))
    assert torch.allclose(moved.reconstruction, plain.reconstruction - 2.5)
    assert torch.equal(moved.kl, plain.kl)


def test_depends_on_its_seed_alone_and_leaves_everything_as_it_was():
    known = LinearGaussian()
    known.model.train()
    x = known.sample(50)
    state = torch.get_rng_state()
    first = elbo_rows(known.model, x, seed=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert known.model.training
    torch.randn(7)
    assert torch.equal(first.bound, elbo_rows(known.model, x, seed=1).bound)
    assert not torch.equal(first.bound, elbo_rows(known.model, x, seed=2).bound)
    assert not first.bound.requires_grad


def test_batches_cover_every_row():
    known = LinearGaussian()
    x = known.sample(11)
    rows = elbo_rows(known.model, x, batch_size=4)
    assert rows.bound.shape == (11,)
    assert torch.equal(rows.kl, known.model.elbo_terms(x)[1].detach())


def test_one_row_has_no_standard_error():
    assert math.isnan(mean_figure(torch.tensor([1.0])).standard_error)


def test_bound_that_is_not_finite_is_refused():
    with pytest.raises(DataError, match="bound is nan"):
        summarise(RowTerms(torch.tensor([math.nan, 1.0]), torch.zeros(2, 1)))
