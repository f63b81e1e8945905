"""The trivial model of independent columns: its formulas, and that it is a distribution."""

import itertools
import math

import pytest
import torch
from helpers import refuses
from oracle import all_bits, square_grid
from torch.distributions import Bernoulli, Categorical, Normal

from aevb.errors import UsageError
from aevb.evaluation.baseline import FLOOR, baseline_rows, fit_baseline


def test_real_columns_are_gaussians_of_the_training_moments():
    x, new = torch.randn(50, 3) * torch.tensor([0.5, 1.0, 3.0]) + 2, torch.randn(20, 3)
    parameters = fit_baseline(x, "real")
    d = Normal(x.double().mean(0), x.double().std(0, unbiased=False))
    assert parameters.shape == (2, 3)
    assert torch.allclose(baseline_rows(parameters, new, "real"), d.log_prob(new.double()).sum(-1))


def test_real_by_hand():
    parameters = fit_baseline(torch.tensor([[1.0, 0.0], [3.0, 4.0]]), "real")
    assert parameters[0].tolist() == [2.0, 2.0]
    assert parameters[1].tolist() == pytest.approx([0.0, math.log(4.0)])
    found = baseline_rows(parameters, torch.tensor([[3.0, 2.0]]), "real")
    assert float(found) == pytest.approx(-0.5 - math.log(2) - math.log(2 * math.pi))


def test_real_maximises_the_likelihood_of_its_rows():
    """No other mean or variance makes the training rows more likely: the derivatives vanish."""
    x = torch.randn(40, 3, dtype=torch.float64) * 2 + 1
    parameters = fit_baseline(x, "real").requires_grad_()
    (gradient,) = torch.autograd.grad(baseline_rows(parameters, x, "real").sum(), parameters)
    assert float(gradient.abs().max()) < 1e-9


def test_real_is_normalised():
    parameters = fit_baseline(torch.randn(30, 2, dtype=torch.float64), "real")
    points, cell = square_grid(2, 12.0, 400)
    assert float(baseline_rows(parameters, points, "real").exp().sum() * cell) == pytest.approx(
        1.0, abs=1e-6
    )


def test_a_constant_column_is_worth_a_limited_number_of_nats():
    """Its variance is a ten-thousandth of the average.

    So it gains log(100) nats and a constant on the others.
    """
    x = torch.randn(1000, 4, dtype=torch.float64)
    x[:, 0] = 0.3
    parameters = fit_baseline(x, "real")
    variance = x.var(0, unbiased=False)
    assert float(parameters[1, 0]) == pytest.approx(math.log(FLOOR * float(variance.mean())))
    assert torch.allclose(parameters[1, 1:], variance[1:].log())
    assert bool(torch.isfinite(baseline_rows(parameters, x, "real")).all())


def test_numbers_in_the_unit_interval_are_bernoulli_with_one_count_added_to_each_side():
    x = torch.tensor([[1.0, 0.0, 0.5], [1.0, 0.0, 1.0], [0.0, 0.0, 0.25]])
    parameters = fit_baseline(x, "unit")
    assert parameters.tolist() == [pytest.approx([3 / 5, 1 / 5, 2.75 / 5])]
    bits = all_bits(3)
    expected = Bernoulli(parameters[0]).log_prob(bits).sum(-1)
    assert torch.allclose(baseline_rows(parameters, bits, "unit"), expected)
    assert float(baseline_rows(parameters, bits, "unit").exp().sum()) == pytest.approx(
        1.0, abs=1e-12
    )


def test_grey_values_are_weighed_between_the_two_ends():
    parameters = torch.tensor([[0.2]])
    found = baseline_rows(parameters, torch.tensor([[0.3]]), "unit")
    assert float(found) == pytest.approx(0.3 * math.log(0.2) + 0.7 * math.log(0.8))


def test_levels_have_their_frequencies_with_one_count_added():
    k = torch.tensor([[0, 2], [0, 1], [3, 2], [0, 2]])
    parameters = fit_baseline(k / 3, "levels", 4)
    assert parameters.shape == (4, 2)
    assert torch.allclose(
        parameters.exp(), torch.tensor([[4, 1], [1, 2], [1, 4], [2, 1]]).double() / 8
    )
    cells = torch.tensor(list(itertools.product(range(4), repeat=2)))
    expected = sum(Categorical(logits=parameters[:, j]).log_prob(cells[:, j]) for j in range(2))
    found = baseline_rows(parameters, cells / 3, "levels")
    assert torch.allclose(found, expected)
    assert float(found.exp().sum()) == pytest.approx(1.0, abs=1e-12)


@pytest.mark.parametrize("levels", [2, 3, 7, 100, 256])
def test_levels_survive_the_trip_through_single_precision(levels):
    k = torch.arange(levels)[:, None].repeat(1, 2)
    k = torch.cat([k, k[:1]])  # level 0 once more than the others
    parameters = fit_baseline(k.float() / (levels - 1), "levels", levels)
    counts = (parameters.exp() * (2 * levels + 1)).round()
    assert counts.tolist() == [[3.0, 3.0], *[[2.0, 2.0]] * (levels - 1)]


@pytest.mark.parametrize(
    ("form", "levels", "train", "unseen"),
    [
        ("unit", None, torch.zeros(10, 2), torch.ones(1, 2)),
        ("levels", 5, torch.zeros(10, 2), torch.ones(1, 2)),
        ("counts", None, torch.zeros(10, 2), torch.ones(1, 2)),
    ],
)
def test_what_training_rows_lack_is_not_impossible(form, levels, train, unseen):
    parameters = fit_baseline(train, form, levels)
    probability = {"unit": 1 / 12, "levels": 1 / 15, "counts": 0.05 * math.exp(-0.05)}[form]
    assert float(baseline_rows(parameters, unseen, form)) == pytest.approx(
        2 * math.log(probability), rel=1e-6
    )


def test_two_levels_are_bits():
    x = (torch.rand(30, 3) < 0.3).float()
    bits, levels = fit_baseline(x, "unit"), fit_baseline(x, "levels", 2)
    new = all_bits(3)
    assert torch.allclose(baseline_rows(bits, new, "unit"), baseline_rows(levels, new, "levels"))


@pytest.mark.parametrize(("form", "levels"), [("words", None), ("levels", None)])
def test_a_form_without_baseline_is_refused(form, levels):
    refuses(
        UsageError,
        [f"no baseline for data of form {form!r}"],
        fit_baseline,
        torch.zeros(2, 2),
        form,
        levels,
    )
