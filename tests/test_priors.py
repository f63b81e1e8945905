"""Priors: normalised, and samples fit log_prob."""

import pytest
import torch
from oracle import is_mean, square_grid

from aevb.priors import PRIORS
from aevb.priors.standard_normal import StandardNormal

CASES = {"standard_normal": lambda: StandardNormal(2)}


@pytest.fixture(params=CASES)
def p(request):
    return CASES[request.param]().double()


def test_every_table_entry_has_a_case():
    assert {type(make()) for make in CASES.values()} == {PRIORS[name] for name in PRIORS}


def test_contract(p):
    d = p()
    assert (d.batch_shape, d.event_shape) == ((), (2,))
    assert d.sample((5, 3)).shape == (5, 3, 2)
    points, cell = square_grid(2, 12.0, 600)
    log_p = d.log_prob(points).detach()
    assert float(log_p.exp().sum() * cell) == pytest.approx(1.0, abs=1e-4)
    assert is_mean(d.log_prob(d.sample((20_000,))).detach(), float((log_p.exp() * log_p).nan_to_num().sum() * cell))


def test_standard_normal_leaves_no_trace_in_a_saved_model():
    assert StandardNormal(3).state_dict() == {}
    assert StandardNormal(3).double()().sample().dtype == torch.float64
