"""What each cell adds to log p(x): against exact values, and with planted faults."""

import math

import numpy as np
import pandas as pd
import pytest
import torch
from known_table import KnownRows, known_model, known_run, log_density

import aevb
from aevb.evaluation.column_scores import cell_scores, cell_units, contributions, oddness
from aevb.probability.factors import Factor

INF, NAN = float("inf"), float("nan")


def rows_of_the_model(n, seed=0):
    torch.manual_seed(seed)
    z = torch.randn(n, 1, dtype=torch.float64)
    return KnownRows(z).sample()


def exact_cells(x):
    """log p(x_c | the other cells) by adding up all values of the cell: (N, 4)."""
    grid = torch.linspace(-8, 8, 321, dtype=torch.float64)
    width = float(grid[1] - grid[0])
    values = [
        (grid, width),
        (torch.arange(3.0), 1.0),
        (grid, width),
        (torch.tensor([0, 1, INF]), 1),
    ]
    found = []
    for column, (cells, size) in enumerate(values):
        others = x[:, None].repeat(1, len(cells), 1)
        others[..., column] = cells.double()
        found.append(log_density(x) - log_density(others).logsumexp(1) - np.log(size))
    return torch.stack(found, 1)


def test_the_score_of_a_cell_is_its_log_density_given_all_others():
    x = rows_of_the_model(12)
    exact = exact_cells(x)
    for discrete in (None, torch.tensor([False, True, False, True])):
        wrong = cell_scores(known_model(), x, discrete=discrete, draws=300) - exact
        assert float(wrong.abs().max()) < 0.25
        assert float(wrong.abs().mean()) < 0.05
    few = cell_scores(known_model(), x, discrete=discrete) - exact
    assert float(few[:, [1, 3]].abs().mean()) < 0.15
    assert float(few.abs().mean()) < 0.4


def test_contributions_add_up_to_the_score():
    run = known_run()
    x = rows_of_the_model(6)
    scores = run.score(run.rows(x), samples=50, columns=True)
    sums = scores["contributions"].sum(1)
    assert np.allclose(sums, scores["log_likelihood"], rtol=0, atol=1e-9)
    assert scores["contributions"].shape == (6, 4)
    assert set(scores["oddest"]) <= {"a", "b name", "c", "d"}


def test_a_row_has_the_same_scores_alone_and_among_others():
    model, x = known_model(), rows_of_the_model(5)
    every, alone = cell_scores(model, x), cell_scores(model, x[3:4])
    assert torch.equal(every[3:4], alone)
    assert not torch.equal(every, cell_scores(model, x, seed=1))


def test_a_cell_of_which_nothing_is_known_adds_nothing():
    x = rows_of_the_model(2)
    x[0, 1] = NAN
    cells = cell_scores(known_model(), x)
    assert float(cells[0, 1]) == pytest.approx(0.0, abs=1e-9)


def test_planted_faults_are_named():
    """A cell moved by six of its conditional standard deviations is the oddest one."""
    model, x = known_model(), rows_of_the_model(60, seed=1)
    ordinary = cell_scores(model, rows_of_the_model(128, seed=2))
    columns = torch.arange(60) % 2 * 2  # a or c
    x[torch.arange(60), columns] += torch.where(torch.rand(60) < 0.5, -6.0, 6.0).double()
    named = oddness(cell_scores(model, x), ordinary).argmax(1)
    assert float((named == columns).double().mean()) >= 0.9


def test_contributions_share_the_rest_equally():
    cells = torch.tensor([[-1.0, -2.0, -3.0]])
    found = contributions(torch.tensor([-9.0]), cells)
    assert torch.allclose(found, torch.tensor([[-2.0, -3.0, -4.0]]))
    known = torch.tensor([[True, True, False]])
    found = contributions(torch.tensor([-9.0]), torch.tensor([[-1.0, -2.0, 0.0]]), known)
    assert torch.allclose(found, torch.tensor([[-4.0, -5.0, 0.0]]))


def test_units_of_the_table_do_not_change_what_a_cell_is_worth():
    """An amount in cents has a density 100 times lower, and spikes of the same probability."""
    x = torch.tensor([[0.0], [0.7], [INF], [NAN]])
    found = []
    for unit in (1.0, 100.0):
        euros = Factor(
            "a", "real", values=(0.0,), scale=2 * unit, density=True, cell=0.01 * unit, gaps=True
        )
        # log p of a spike, of a number and of a gap, that have the same probabilities in any unit
        log_p = torch.tensor([[-1.0 + euros.log_unit], [-2.0 - math.log(unit)], [-3.0], [0.0]])
        found.append(log_p + cell_units([euros], x))
    assert torch.allclose(found[0], found[1])
    assert found[0][:, 0].tolist() == pytest.approx([-1.0, -2.0 + math.log(2) + 1.4189385, -3, 0])


def test_a_typical_number_is_worth_nothing_in_any_family():
    x = torch.tensor([[0.3], [-1.2]])
    for step in (0.5, 1.0):
        whole = Factor("a", "integer", step=step, scale=50.0, spread=1.5)
        mass = -math.log(75.0 / step) - 0.5 * math.log(2 * math.pi * math.e)
        assert (cell_units([whole], x) + mass).abs().max() < 1e-9
    many = Factor("a", "integer", values=(0.0, 4.0, 8.0), step=1.0)
    assert cell_units([many], torch.tensor([[4.0]])).item() == pytest.approx(math.log(3))


def test_oddness_finds_what_log_p_hides_behind_a_spike():
    """Amounts are often exactly 0. Their densities are low, yet ordinary amounts are not odd."""
    rng = np.random.default_rng(0)
    paid = rng.random(400) < 0.5
    frame = pd.DataFrame({"amount": np.where(paid, rng.normal(5e4, 1e4, 400), 0.0)})
    frame["b"] = rng.normal(size=400)
    run = aevb.fit(frame, steps=20)
    odd = pd.DataFrame({"amount": [0.0] * 40, "b": [3.5] * 40})
    scores = run.score(pd.concat([frame[paid][:100], odd]), samples=20)
    assert scores["oddness"][100:].min() > np.quantile(scores["oddness"][:100], 0.95)
    assert (scores["log_likelihood"][100:] > np.median(scores["log_likelihood"][:100])).any()
    assert np.isfinite(scores["oddness"]).all()
