"""The likelihood ``mixed``: a row of any columns has a true probability, and draws follow it."""

import math
from dataclasses import replace
from itertools import product

import mpmath
import numpy as np
import pytest
import torch
from helpers import check_shapes_of_a_likelihood
from scipy import stats
from torch.distributions import MultivariateNormal

from aevb.parts.likelihoods.mixed import Mixed
from aevb.probability.cells import Bend
from aevb.probability.class_chain import CAP
from aevb.probability.factors import Factor
from aevb.probability.masses import log_mass

INF, NAN = math.inf, math.nan
FALSE_ALARM = 1e-6
"""How often each statistical test fails by chance."""


def level(k, **named):
    return Factor("level", "levels", values=tuple(map(float, range(k))), **named)


STEPS = {"values": (10.0, 20.0, 40.0, 50.0, 80.0), "step": 10.0, "unseen": 0.1, "ordered": True}
RARE = {
    "values": tuple(map(float, range(7))),
    "classes": (0, 2, 1, 2, 2, 2, 2),
    "shares": (0.0, *np.log([0.4]), 0.0, *np.log([0.3, 0.2, 0.09, 0.01])),
}
WHOLE = {"step": 1.0, "shift": 3.0, "scale": 4.0, "low": -400.0, "high": 400.0}
BENT = {"centre": 0.3, "bend": 2.0, "mean": 0.2, "spread": 0.4}
REPEATS = {
    "repeats": (*np.arange(-20.0, 20.0, 4.0), *np.arange(20.0, 95.0)),
    "repeat_rows": (*range(2, 80), 2, 2, 9, 9, 2, 2, 2),
    "repeat_logs": tuple(-0.1 * np.arange(85)),
    "repeat_share": 0.4,
}
FACTORS = {
    "bits": level(2),
    "names": level(5),
    "names with gaps": level(5, gaps=True),
    "many names": level(40, gaps=True),
    "rare names": Factor("rare", "levels", **RARE, gaps=True),
    "steps": Factor("steps", "levels", **STEPS),
    "steps with gaps": Factor("steps", "levels", **STEPS, gaps=True),
    "all steps": Factor("steps", "levels", values=(1.0, 2.0), step=1.0, unseen=0.2, gaps=True),
    "prices": Factor(
        "prices", "levels", values=(0.25, 0.5, 1.5), step=0.25, unseen=0.1, density=True
    ),
    "whole": Factor("whole", "integer", **WHOLE),
    "whole, bent": Factor("whole", "integer", **WHOLE | {"low": -2e4, "high": 2e4}, **BENT),
    "whole, fives": Factor("whole", "integer", **WHOLE | {"step": 5.0, "shift": 0.0}),
    "whole, spikes": Factor("whole", "integer", **WHOLE, values=(0.0, 3.0), gaps=True),
    "whole, bent, spikes": Factor("whole", "integer", **WHOLE, **BENT, values=(2.0, 9.0, 10.0)),
    "real": Factor("real", "real", density=True, scale=2.5, shift=1.0),
    "real, bent": Factor("real", "real", density=True, scale=2.5, **BENT),
    "real, gaps": Factor("real", "real", density=True, scale=2.5, gaps=True),
    "real, spikes": Factor("real", "real", density=True, values=(0.0, 1.0), **BENT),
    "real, spikes on a grid": Factor(
        "real", "real", density=True, values=(0.0, 2.5), step=0.5, scale=2.0, gaps=True
    ),
    "whole, repeats": Factor("whole", "integer", **WHOLE, **REPEATS),
    "whole, three repeats": Factor(
        "whole",
        "integer",
        **WHOLE,
        repeats=(1.0, 2.0, 6.0),
        repeat_rows=(2, 5, 3),
        repeat_share=0.4,
    ),
    "whole, bent, spikes, repeats": Factor(
        "whole", "integer", **WHOLE, **BENT, **REPEATS, values=(2.0, 9.0)
    ),
    "real, repeats on a grid": Factor(
        "real", "real", density=True, scale=2.5, step=0.5, **REPEATS, gaps=True
    ),
    "follows": Factor("follows", "follows", step=1.0, scale=6.0, gaps=True, unseen=0.1),
    "follows, real": Factor(
        "follows", "follows", density=True, step=0.5, scale=6.0, gaps=True, unseen=0.1
    ),
}


def random_model(factors, components=3, width=4, seed=0, dtype=torch.float64, size=0.3):
    """A likelihood with random weights, and features for it."""
    torch.manual_seed(seed)
    wide = [replace(f, low=-1e5, high=1e5) if f.is_number else f for f in factors]
    model = Mixed(wide, components if any(f.is_number for f in factors) else 0, width, rows=10)
    for parameter in model.parameters():
        parameter.data.normal_(0, size)
    # In training a row does not count itself among those that share its numbers.
    return model.to(dtype).eval(), size * torch.randn(model.num_features).to(dtype)


def values_of(factor, fine=4000):
    """All x that a column can have, and the weight of each: 1, or the volume of its cell."""
    if factor.has_levels:
        k, between, most = len(factor.values), factor.num_unseen, 30_000
        x = [*range(k)]
        if factor.step:
            x += [k + (i + 0.5) / between for i in range(between)]
            x += [*range(-most, 0), *range(k + 1, k + 1 + most)]
        weight = factor.step if factor.density else 1.0
        x, weights = np.array(x, np.float64), np.full(len(x), weight)
    elif factor.family == "follows":
        # It keeps the rule, or is off by one of the other values of its range.
        steps = round(factor.scale / factor.step)
        weight = factor.step if factor.density else 1.0
        x = np.arange(steps + 1) * factor.step / factor.scale
        return x, np.full(len(x), weight)
    elif factor.family == "integer":
        codes = factor.low + factor.step * np.arange(
            round((factor.high - factor.low) / factor.step)
        )
        x = factor.numbers(codes).astype(np.float32).astype(np.float64)
        weights = np.ones(len(x))
    else:
        t = np.linspace(-40, 40, fine * 8 + 1) + 1e-4
        u = t * factor.spread + factor.mean
        size = np.cosh(u * factor.bend) if factor.bend else 1.0
        x = (np.sinh(u * factor.bend) / factor.bend if factor.bend else u) + factor.centre
        weights = (t[1] - t[0]) * factor.spread * size * factor.scale
        spikes = factor.numbers(np.array(factor.values)).astype(np.float32)
        x = np.append(x, spikes)
        weights = np.append(
            np.broadcast_to(weights, t.shape), np.full(len(spikes), factor.step or 1.0)
        )
    if factor.gaps:
        x, weights = np.append(x, INF), np.append(weights, 1.0)
    return x, weights


# -------------------------------------------------------------------------------------------------
# probabilities


@pytest.mark.parametrize("name", FACTORS)
@pytest.mark.parametrize("seed", [0, 1])
def test_every_family_adds_up_to_1(name, seed):
    factor = FACTORS[name]
    model, h = random_model([factor], seed=seed)
    x, weights = (torch.from_numpy(np.ascontiguousarray(part)) for part in values_of(factor))
    with torch.no_grad():
        whole = (model(h).log_prob(x[:, None]).exp() * weights).sum()
        there = x.isfinite()
        present = (model(h).log_prob(x[:, None], gaps=False).exp() * weights)[there].sum()
    # 60,000 numbers beyond the levels leave out less than 2e-5.
    assert float(whole) == pytest.approx(1.0, abs=2e-5)
    assert float(present) == pytest.approx(1.0, abs=2e-5)


SMALL_WHOLE = replace(FACTORS["whole, spikes"], low=-60.0, high=60.0)
SMALL_BENT = {**BENT, "bend": 1.0, "step": 1.0, "low": -150.0, "high": 150.0}
ROWS = {
    "classes and a whole number": [level(3, gaps=True), SMALL_WHOLE, level(2)],
    "classes and a real number": [FACTORS["real, spikes"], level(3), level(2, gaps=True)],
    "steps, names and a rule": [FACTORS["follows"], level(3), level(2, gaps=True)],
    "two whole numbers": [SMALL_WHOLE, Factor("bent", "integer", **SMALL_BENT, values=(2.0,))],
}


def grid(factors, fine=400):
    """All rows there can be, and the weight of each."""
    parts = [values_of(factor, fine) for factor in factors]
    x = np.array(list(product(*(x for x, _ in parts))))
    weights = np.array(list(product(*(weights for _, weights in parts))))
    return torch.from_numpy(x), torch.from_numpy(weights.prod(1))


@pytest.mark.parametrize("name", ROWS)
def test_all_rows_add_up_to_1(name):
    model, h = random_model(ROWS[name])
    x, weights = grid(ROWS[name])
    with torch.no_grad():
        total = (model(h).log_prob(x).exp() * weights).sum()
    assert float(total) == pytest.approx(1.0, abs=1e-5)


def test_in_training_a_row_does_not_count_itself():
    factor = replace(
        FACTORS["whole, repeats"], repeats=(4.0, 5.0, 6.0), repeat_rows=(2, 3, 5), repeat_logs=()
    )
    fewer = replace(factor, repeat_rows=(2, 2, 5))  # without one row of 5
    models = [Mixed([f], 1, 0).train(f is factor) for f in (factor, fewer)]
    x = torch.from_numpy(factor.numbers(np.array([[4.0], [5.0]]))).float()
    h = torch.zeros(models[0].num_features)
    with torch.no_grad():
        trained, without = (model(h).log_prob(x) for model in models)
        smooth = Mixed([FACTORS["whole"]], 1, 0)(h).log_prob(x[0])
    torch.testing.assert_close(trained[1], without[1])
    # A number that one other row has is none that is repeated.
    torch.testing.assert_close(trained[0], smooth + math.log(1 - factor.repeat_share))


ALL = [
    *(FACTORS[name] for name in ("follows", "real, spikes on a grid", "steps with gaps")),
    *(FACTORS[name] for name in ("rare names", "whole, bent, spikes", "names", "real, bent")),
    *(FACTORS[name] for name in ("many names", "whole", "prices")),
]


def all_kinds_of_cells(n=200, dtype=torch.float64):
    """Rows of ``ALL``: seen and unseen numbers, spikes, missing cells and cells off their rule."""
    rng = np.random.default_rng(0)
    columns = []
    for factor in ALL:
        x, _ = values_of(factor, 200)
        size = np.abs(np.where(np.isfinite(x), x, 0.0))
        p = 1.0 / (1.0 + size) ** 2
        chosen = rng.choice(x, n, p=p / p.sum())
        spikes = factor.numbers(np.array(factor.values)) if factor.is_number else np.zeros(0)
        if len(spikes):
            chosen = np.where(rng.random(n) < 0.3, rng.choice(spikes, n), chosen)
        columns.append(chosen.astype(np.float32))
    return torch.from_numpy(np.column_stack(columns)).to(dtype)


def test_the_columns_add_up_to_the_row_in_any_batch_shape():
    model, _ = random_model(ALL)
    x = all_kinds_of_cells(40)
    x[torch.rand_like(x) < 0.2] = NAN
    h = 0.3 * torch.randn(3, 40, model.num_features, dtype=torch.float64)
    for gaps in (True, False):
        rows, columns = model(h).log_prob(x, gaps=gaps), model(h).log_prob_of_columns(x, gaps=gaps)
        assert rows.shape == (3, 40)
        assert columns.shape == (3, 40, len(ALL))
        torch.testing.assert_close(columns.sum(-1), rows)
        one = model(h[1, 7]).log_prob_of_columns(x[7], gaps=gaps)
        torch.testing.assert_close(one, columns[1, 7])
        assert bool((columns.detach()[:, x.isnan()] == 0).all())


def test_shapes_of_mixed_rows():
    check_shapes_of_a_likelihood(random_model(ALL)[0])


@pytest.mark.parametrize("gaps", [True, False])
@pytest.mark.parametrize("width", [0, 4])
def test_completing_rows_without_a_gap_scores_them(gaps, width):
    model, _ = random_model(ALL, width=width)
    x = all_kinds_of_cells()
    h = 0.3 * torch.randn(2, len(x), model.num_features, dtype=torch.float64)
    filled, log_p = model(h).complete(x, gaps=gaps)
    assert torch.equal(filled, x.expand_as(filled))
    torch.testing.assert_close(log_p, model(h).log_prob(x, gaps=gaps).detach())


@pytest.mark.parametrize("gaps", [True, False])
def test_weights_of_completed_rows_are_those_of_the_known_cells(gaps):
    """Their mean is the exact probability, up to chance."""
    factors = [level(3, gaps=True), level(4), SMALL_WHOLE, FACTORS["real, gaps"]]
    model, h = random_model(factors)
    known = [torch.tensor([NAN, 2.0, NAN, 0.5]), torch.tensor([1.0, NAN, 0.25, NAN])]
    known += [torch.tensor([1.0, NAN, -0.75, 0.1]), torch.tensor([NAN, NAN, NAN, -1.0])]
    n = 15_000
    for x in (x.double() for x in known):
        unknown = x.isnan()
        open_columns = [factors[i] for i in range(4) if unknown[i]]
        # What is unknown is added up, and a missing cell is none of the values without gaps.
        cells, weights = grid(open_columns, 100)
        rows = x.expand(len(cells), 4).clone()
        rows[:, unknown] = cells
        use = rows.isfinite().all(1) | gaps
        with torch.no_grad():
            log_p = model(h).log_prob(rows[use], gaps=gaps)
        exact = float((log_p.exp() * weights[use]).sum())
        _, log_weight = model(h.expand(n, -1)).complete(x.expand(n, 4), gaps=gaps)
        weight = log_weight.exp() / exact
        error = float(weight.std()) / math.sqrt(n)
        limit = stats.norm.isf(FALSE_ALARM / 16)
        assert abs(float(weight.mean()) - 1) < limit * error + 1e-6, x


def test_samples_are_as_frequent_as_they_are_likely():
    factors = [level(3, gaps=True), SMALL_WHOLE, Factor("rare", "levels", **RARE)]
    model, h = random_model(factors, size=0.1)
    x, _ = grid(factors)
    n = 60_000
    with torch.no_grad():
        expected = model(h).log_prob(x).exp().numpy() * n
    drawn = model(h).sample((n,))
    index = {tuple(row): i for i, row in enumerate(x.tolist())}
    found = np.bincount([index[tuple(row)] for row in drawn.tolist()], minlength=len(x))
    often = expected >= 8
    found = np.append(found[often], found[~often].sum())
    expected = np.append(expected[often], expected[~often].sum())
    statistic = ((found - expected) ** 2 / expected).sum()
    assert often.sum() > 100
    assert stats.chi2.sf(statistic, len(found) - 1) > FALSE_ALARM


def test_numbers_of_a_row_come_from_the_same_gaussian():
    factors = [Factor(name, "integer", step=1.0, low=-9.0, high=9.0) for name in "ab"]
    model, h = random_model(factors, components=2, width=0, size=0.1)
    # Two clusters, (low, low) and (high, high), and no other dependence.
    model.numbers.slopes.data.zero_()
    model.numbers.log_scales.data.zero_()
    model.numbers.offsets.data.copy_(torch.tensor([[-3.0, -3.0], [3.0, 3.0]]))
    drawn = model(h).sample((20_000,))
    low = drawn < drawn.mean(0)
    assert (low[:, 0] == low[:, 1]).double().mean() > 0.9
    x, _ = grid(factors)
    with torch.no_grad():
        expected = model(h).log_prob(x).exp().numpy() * len(drawn)
    found = (x[:, None] == drawn[None]).all(-1).sum(1).numpy()
    often = expected >= 8
    statistic = ((found - expected) ** 2 / expected)[often].sum()
    assert stats.chi2.sf(statistic, int(often.sum())) > FALSE_ALARM


REPEATED = ("whole, repeats", "whole, three repeats", "whole, bent, spikes, repeats")


@pytest.mark.parametrize("name", ["real", "real, bent", "whole", "whole, bent, spikes", *REPEATED])
def test_drawn_numbers_have_the_right_distribution(name):
    factor = FACTORS[name]
    model, h = random_model([factor], seed=3)
    x, weights = values_of(factor)
    order = np.argsort(x)
    with torch.no_grad():
        p = model(h).log_prob(torch.from_numpy(x[order, None])).exp().numpy() * weights[order]
    n = 20_000
    drawn = np.sort(model(h).sample((n,))[:, 0].numpy())
    reached = np.append(0.0, p.cumsum())
    # Kolmogorov's test; for whole numbers it errs less often than stated.
    cells = np.searchsorted(x[order], drawn, side="right")
    apart = np.abs(reached[cells] - np.searchsorted(drawn, drawn, side="right") / n).max()
    assert apart < stats.kstwo.isf(FALSE_ALARM, n) + 2e-4
    mean, spread = (p * x[order]).sum(), math.sqrt((p * x[order] ** 2).sum())
    assert drawn.mean() == pytest.approx(mean, abs=5 * spread / math.sqrt(n))


def test_what_is_drawn_stays_within_the_range_and_off_the_cells_of_spikes():
    factor = replace(FACTORS["whole, bent, spikes"], low=-3.0, high=12.0)
    model = Mixed([factor], 2, 0)
    h = torch.zeros(5000, model.num_features)
    h[:, model.classes.num_features + 1] = 9.0  # wide
    h[:500, model.classes.num_features] = 1e4  # far above the range
    codes = factor.codes(model(h).sample()[:, 0].numpy())
    assert set(codes) == set(range(-3, 13))
    numbers = torch.full((5000, 1), NAN)
    drawn, _ = model.numbers.complete(
        h[:, model.classes.num_features :], numbers, numbers.isnan(), torch.zeros(5000, 4)
    )
    assert set(factor.codes(drawn[:, 0].numpy())) == set(range(-3, 13)) - {2, 9, 10}


def test_the_likely_row_has_the_likely_levels():
    model, h = random_model([level(5, gaps=True), FACTORS["real"]], width=0)
    x = torch.cat([torch.arange(5.0, dtype=torch.float64)[:, None], torch.zeros(5, 1)], 1)
    with torch.no_grad():
        best = model(h).log_prob_of_columns(x)[:, 0].argmax()
    mean = model(h).mean
    assert int(mean[0]) == int(best)
    assert bool(mean.isfinite().all())


# -------------------------------------------------------------------------------------------------
# digits


def log_mass_60(middle, width):
    with mpmath.workdps(60):
        a, b = (mpmath.mpf(middle) + s * mpmath.mpf(width) / 2 for s in (-1, 1))
        ends = [mpmath.erfc(end / mpmath.sqrt(2)) for end in (abs(a), abs(b))]
        inside = 2 - sum(ends) if a < 0 < b else abs(ends[0] - ends[1])
        return float(mpmath.log(inside / 2))


@pytest.mark.parametrize(("dtype", "error"), [(torch.float64, 5e-6), (torch.float32, 1e-5)])
def test_log_masses_have_their_digits_near_and_far(dtype, error):
    middles = [0.0, 0.3, -1.0, 3.0, -7.0, 9.0, 10.9, -11.5, 13.0, 37.0, -40.0, 1e3, 1e4]
    widths = [1e-30, 1e-9, 1e-4, 0.0199, 0.0201, 0.1, 1.0, 5.0, 25.0, 70.0]
    pairs = torch.tensor(list(product(middles, widths)), dtype=dtype)
    right = [log_mass_60(*pair) for pair in pairs.tolist()]
    leaves = pairs.clone().requires_grad_()
    found = log_mass(leaves[:, 0], leaves[:, 1])
    torch.testing.assert_close(found.double(), torch.tensor(right).double(), rtol=error, atol=error)
    assert bool(torch.autograd.grad(found.sum(), leaves)[0].isfinite().all())


def test_gradients_are_those_of_finite_differences():
    model, _ = random_model(ALL)
    x = all_kinds_of_cells(12)
    x[torch.rand_like(x) < 0.2] = NAN
    h = (0.3 * torch.randn(12, model.num_features, dtype=torch.float64)).requires_grad_()
    parameters = [h, *model.parameters()]

    def loss():
        return model(h).log_prob(x).sum() + model.penalty()

    found = torch.autograd.grad(loss(), parameters)
    for seed in range(3):
        torch.manual_seed(seed)
        way = [torch.randn_like(parameter) for parameter in parameters]
        slope = sum(float((a * b).sum()) for a, b in zip(found, way, strict=True))
        ends = []
        for side in (1e-6, -2e-6):
            for parameter, move in zip(parameters, way, strict=True):
                parameter.data += side * move
            ends.append(float(loss().detach()))
        for parameter, move in zip(parameters, way, strict=True):
            parameter.data += 1e-6 * move
        assert (ends[0] - ends[1]) / 2e-6 == pytest.approx(slope, rel=1e-4, abs=1e-3)


@pytest.mark.parametrize("name", FACTORS)
@pytest.mark.parametrize("width", [0, 4])
def test_no_cell_gives_a_nan(name, width):
    """Nor does a number that is far outside of the range, or a feature that is huge."""
    factors = [level(2), FACTORS[name], FACTORS["real"]]
    model, h = random_model(factors, width=width, dtype=torch.float32)
    cells = [0.0, NAN, INF, 1e30, -1e30, 1e6, 0.4]
    x = torch.tensor([[k, cell, other] for k in (0.0, NAN) for cell in cells for other in cells])
    x = x[~((x[:, 2] == INF) | x.isnan().all(1))]
    for size in (1.0, 1e4):
        features = (size * h).repeat(len(x), 1).requires_grad_()
        log_p = model(features).log_prob(x)
        leaves = [features, *model.parameters()]
        gradients = torch.autograd.grad(log_p.sum() * 1e-3, leaves, allow_unused=True)
        assert bool(log_p.isfinite().all())
        assert all(bool(g.isfinite().all()) for g in gradients if g is not None)
        columns = model(features).log_prob_of_columns(x)
        assert bool(columns.isfinite().all())
        filled, weight = model(features.detach()).complete(x)
        assert not bool(filled.isnan().any())
        assert bool(weight.isfinite().all())


def test_an_outlier_leaves_the_other_columns_their_digits():
    """The columns before and after it: a mixture must not lose them in a large sum."""
    factors = [FACTORS["real"], FACTORS["real"], FACTORS["whole"]]
    found = {}
    for dtype in (torch.float32, torch.float64):
        model, h = random_model(factors, dtype=dtype)
        x = torch.tensor([[0.3, 1e7, 0.5]], dtype=dtype)
        found[dtype] = model(h).log_prob_of_columns(x).detach()[0].double()
    one, other = found.values()
    torch.testing.assert_close(one[0], other[0], rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(one[1], other[1], rtol=1e-5, atol=1e-5)
    assert abs(float(one[2] - other[2])) < 1e-3 * max(1.0, abs(float(other[2])))


def test_the_logits_are_held():
    model, _ = random_model([level(3), level(4, gaps=True)], dtype=torch.float32)
    h = torch.randn(50, model.num_features) * 1e6
    x = torch.tensor([[0.0, 1.0], [2.0, INF]]).repeat(25, 1)
    columns = model(h).log_prob_of_columns(x).detach()
    assert float(columns.min()) >= -2 * CAP - math.log(5) - 1e-4
    assert float(columns.max()) <= 1e-6


def test_single_precision_agrees_with_double():
    x, found = all_kinds_of_cells(500), {}
    for dtype in (torch.float32, torch.float64):
        model, h = random_model(ALL)
        found[dtype] = model.to(dtype)(h.to(dtype)).log_prob_of_columns(x.to(dtype)).detach()
    torch.testing.assert_close(
        found[torch.float32].double(), found[torch.float64], rtol=3e-5, atol=3e-4
    )


TABLES = {
    "one column": [FACTORS["names with gaps"]],
    "no numbers": [FACTORS["names"], FACTORS["steps with gaps"]],
    "no classes": [FACTORS["real"], FACTORS["whole, bent"]],
    "one number": [FACTORS["real"]],
    "a rule and its source": [FACTORS["follows"], FACTORS["whole"]],
    "a rule and a name": [FACTORS["names"], FACTORS["follows, real"]],
}


@pytest.mark.parametrize("name", TABLES)
@pytest.mark.parametrize("rows", [1, 2, 40])
def test_small_tables_are_started_scored_and_drawn(name, rows):
    torch.manual_seed(0)
    factors = TABLES[name]
    numbers = any(factor.is_number for factor in factors)
    model = Mixed(factors, 2 if numbers else 0, 4, rows=rows)
    x = torch.zeros(rows, len(factors))
    model.initialise(x)
    h = torch.zeros(rows, model.num_features)
    for drawn in (model(h).sample(), model(h).mean):
        assert drawn.shape == x.shape
        assert not bool(drawn.isnan().any())
        assert bool(model(h).log_prob(drawn).isfinite().all())
    baseline = model.independent(x)
    assert bool(model.independent_rows(baseline, x).isfinite().all())
    assert bool(model.penalty().isfinite())


def test_independent_columns_add_up_to_1():
    for name in ("steps with gaps", "rare names", "whole, spikes", "real, spikes", "real, bent"):
        factor = FACTORS[name]
        model, h = random_model([factor], dtype=torch.float64)
        parameters = model.independent(model(h).sample((300,)))
        x, weights = (torch.from_numpy(np.ascontiguousarray(part)) for part in values_of(factor))
        total = (model.independent_rows(parameters, x[:, None]).exp() * weights).sum()
        assert float(total) == pytest.approx(1.0, abs=1e-5), name


# -------------------------------------------------------------------------------------------------
# first values


def started(x, components):
    columns = x.shape[1]
    factors = [
        Factor(f"c{i}", "real", density=True, mean=float(m), spread=float(s), low=-50.0, high=50.0)
        for i, (m, s) in enumerate(zip(x.mean(0), x.std(0), strict=True))
    ]
    model = Mixed(factors, components, 0, rows=len(x))
    model.initialise(torch.from_numpy(x).float())
    return model, torch.zeros(model.num_features), columns


def test_first_values_reach_the_entropy_of_correlated_gaussians():
    rng = np.random.default_rng(0)
    shape = rng.normal(size=(5, 5))
    covariance = shape @ shape.T + 0.05 * np.eye(5)
    truth = MultivariateNormal(torch.zeros(5).double(), torch.from_numpy(covariance))
    train, test = (rng.multivariate_normal(np.zeros(5), covariance, n) for n in (2000, 20_000))
    from aevb.probability.first_numbers import components_for

    model, h, _ = started(train, components_for((train - train.mean(0)) / train.std(0)))
    with torch.no_grad():
        reached = float(model(h).log_prob(torch.from_numpy(test).float()).mean())
    assert float(truth.log_prob(torch.from_numpy(test)).mean()) - reached < 0.05


def test_first_values_are_as_good_as_a_mixture_of_full_gaussians():
    from sklearn.mixture import GaussianMixture

    from aevb.probability.first_numbers import components_for

    rng = np.random.default_rng(1)
    parts = []
    for centre in ([-3, 0, 2], [3, 1, 0], [0, -4, -2]):
        shape = rng.normal(size=(3, 3))
        parts.append(rng.multivariate_normal(centre, shape @ shape.T + 0.1 * np.eye(3), 1000))
    rows = rng.permutation(np.concatenate(parts))
    train, test = rows[:1500], rows[1500:]
    t = (train - train.mean(0)) / train.std(0)
    components = components_for(t)
    assert components == 4  # and one for outliers
    peer = GaussianMixture(3, random_state=0).fit(train).score_samples(test)
    model, h, _ = started(train, components)
    with torch.no_grad():
        found = model(h).log_prob(torch.from_numpy(test).float()).numpy()
    assert (peer - found).mean() < 0.04


def test_a_cell_far_smaller_than_its_number_keeps_its_width():
    bend = Bend([Factor("a", "integer"), Factor("b", "integer", bend=2.0)])
    x, half = torch.tensor([1e6, 1e6]).double(), torch.tensor([1e-14, 1e-14]).double()
    middle, width = bend.cell(x, half)
    torch.testing.assert_close(middle, bend(x))
    slope = torch.tensor([1.0, (1 + 4e12) ** -0.5]).double()
    torch.testing.assert_close(width, 2e-14 * slope, rtol=1e-6, atol=0.0)
