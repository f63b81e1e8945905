"""Missing cells given the others: exact conditional distributions, from a model that is known.

Tests at the level 0.05 are repeated 200 times; more than 22 alarms among them have the probability
0.0003 if the samples are right.
"""

import numpy as np
import pytest
import torch
from known_table import A_GRID, GRID, known_model, truth_given_c
from scipy import stats

from aevb.evaluation import conditional
from aevb.evaluation.conditional import complete_rows, move, sample_given
from aevb.evaluation.partial import (
    Partial,
    Weighted,
    chosen,
    effective_size,
    propose,
    systematic,
)

NAN, INF = float("nan"), float("inf")
MOST_ALARMS = 22
GIVEN_C = torch.tensor([[NAN, NAN, 1.0, NAN]], dtype=torch.float64)


def alarms(draw, truth, parts=10, size=2000):
    """How often tests of a, b and d at the level 0.05 reject, of 20 tests for each part of rows.

    draw: makes ``size`` rows from a seed.
    """
    steps = truth.sum((1, 2)).cumsum(0).numpy()
    cdf = lambda a: np.interp(a, A_GRID.numpy() + 0.025, steps)  # noqa: E731
    shares = [truth.sum((0, 2)).numpy(), truth.sum((0, 1)).numpy()]
    found = np.zeros(3)
    for seed in range(parts):
        for x in draw(seed).numpy().reshape(20, size // 20, 4):
            found[0] += stats.kstest(x[:, 0], cdf).pvalue < 0.05
            for i, (column, values) in enumerate([(1, (0, 1, 2)), (3, (0, 1, INF))]):
                counts = [(x[:, column] == value).sum() for value in values[: len(shares[i])]]
                found[i + 1] += stats.chisquare(counts, shares[i] * len(x)).pvalue < 0.05
    return found


def test_samples_under_a_condition_have_the_conditional_distribution():
    model = known_model()
    draw = lambda seed: sample_given(model, Partial(GIVEN_C), 2000, seed=seed).x  # noqa: E731
    assert (alarms(draw, truth_given_c(1.0)) <= MOST_ALARMS).all()


def test_a_wrong_distribution_raises_the_alarm():
    model = known_model()
    draw = lambda seed: sample_given(model, Partial(GIVEN_C), 2000, seed=seed).x  # noqa: E731
    assert (alarms(draw, truth_given_c(0.3), 1) > 5).any()


def test_without_gaps_no_cell_is_missing():
    model = known_model()
    partial = Partial(GIVEN_C, gaps=False)
    draw = lambda seed: sample_given(model, partial, 2000, seed=seed).x  # noqa: E731
    assert (alarms(draw, truth_given_c(1.0, gaps=False)) <= MOST_ALARMS).all()


def test_a_missing_cell_is_a_condition_like_any_other():
    gone = torch.tensor([[NAN, NAN, NAN, INF]], dtype=torch.float64)
    x = sample_given(known_model(), Partial(gone), 4000).x
    weight = torch.distributions.Normal(0.0, 1.0).log_prob(GRID).exp() * (GRID - 0.5).sigmoid()
    assert bool(x[:, 3].isinf().all())
    mean = float((weight * GRID).sum() / weight.sum())
    assert float(x[:, 0].mean()) == pytest.approx(mean, abs=4 * 1.2 / 4000**0.5)


def test_each_row_of_many_has_its_own_conditional_distribution():
    model = known_model()

    def draw(seed):
        rows = Partial(GIVEN_C.expand(300, 4))
        return next(complete_rows(model, rows, samples=50, seed=seed)).draw(1)[0]

    assert (alarms(draw, truth_given_c(1.0), size=300) <= MOST_ALARMS).all()


def test_rows_of_a_low_effective_size_get_more_draws_and_moves(monkeypatch):
    """With 4 draws for a row, nothing but further draws and moves can be right."""
    monkeypatch.setattr(conditional, "LOW", 100.0)
    model = known_model()

    def draw(seed):
        rows = Partial(GIVEN_C.expand(500, 4))
        return next(complete_rows(model, rows, samples=4, limit=40, seed=seed)).draw(1)[0]

    assert (alarms(draw, truth_given_c(1.0), size=500) <= MOST_ALARMS).all()


@pytest.mark.parametrize("gaps", [True, False])
def test_moves_keep_the_distribution(gaps):
    model, truth = known_model(), truth_given_c(1.0, gaps)
    partial = Partial(GIVEN_C, gaps)
    torch.manual_seed(0)
    drawn = propose(model, partial, 20_000)
    index = systematic(drawn.log_weight, 4000)
    x, z = (chosen(each, index) for each in (drawn.x, drawn.z))
    moved = move(model, partial, x, z, 8)
    assert float((moved[..., 0] == x[..., 0]).double().mean()) < 0.3
    found = alarms(lambda _: moved[:, 0], truth, 1, 4000)
    assert (found <= 5).all()  # more have the probability 0.0003


def test_a_range_is_never_left_and_its_share_is_known():
    old = lambda x, _: x[..., 0] >= 1.5  # noqa: E731
    nothing = torch.full((1, 4), NAN, dtype=torch.float64)
    pool = sample_given(known_model(), Partial(nothing, accept=old), 500)
    truth = 1 - stats.norm.cdf(1.5 / 1.36**0.5)
    assert len(pool.x) == 500
    assert float(pool.x[:, 0].min()) >= 1.5
    assert pool.probability == pytest.approx(truth, rel=0.15)
    assert pool.repeated == 0
    assert len(pool.x.unique(dim=0)) == 500


def test_an_impossible_condition_gives_no_rows():
    never = lambda x, _: x[..., 0] > 50  # noqa: E731
    pool = sample_given(known_model(), Partial(GIVEN_C, accept=never), 5, limit=2000, most=2000)
    assert (len(pool.x), pool.effective, pool.probability) == (0, 0.0, 0.0)
    rows = next(complete_rows(known_model(), Partial(GIVEN_C, accept=never), limit=2000))
    assert float(rows.effective) == 0
    assert float(rows.weight.sum()) == 0


def test_a_rare_condition_is_met_by_rows_that_differ():
    rare = lambda x, _: x[..., 0] > 3.8  # noqa: E731
    nothing = torch.full((1, 4), NAN, dtype=torch.float64)
    pool = sample_given(
        known_model(), Partial(nothing, accept=rare), 200, limit=20_000, most=20_000
    )
    assert pool.repeated > 0.3
    assert float(pool.x[:, 0].min()) > 3.8
    assert len(pool.x[:, 0].unique()) > 150


def test_one_seed_gives_one_result_and_leaves_the_generator_alone():
    model = known_model()
    torch.manual_seed(5)
    first = sample_given(model, Partial(GIVEN_C), 10, seed=1).x
    after = torch.rand(1)
    torch.manual_seed(5)
    assert torch.equal(after, torch.rand(1))
    assert torch.equal(first, sample_given(model, Partial(GIVEN_C), 10, seed=1).x)
    assert not torch.equal(first, sample_given(model, Partial(GIVEN_C), 10, seed=2).x)


def test_systematic_choice_takes_each_in_proportion():
    torch.manual_seed(0)
    weight = torch.tensor([[0.5, 0.0], [0.0, 1.0], [0.3, 0.0], [0.2, 0.0]])
    index = systematic(weight.log(), 10)
    counts = [(index[:, 0] == k).sum().item() for k in range(4)]
    assert counts == [5, 0, 3, 2]
    assert bool((index[:, 1] == 1).all())
    assert float(effective_size(weight.log())[1]) == pytest.approx(1.0)
    some = Weighted(torch.zeros(4, 2, 1), torch.zeros(4, 2, 1), weight.log())
    assert some.effective[0].item() == pytest.approx(1 / 0.38)
