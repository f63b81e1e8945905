"""The families of the columns of a table: found as planted, and codes come back from x."""

import warnings
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from generated_tables import frames
from hypothesis import HealthCheck, given, settings
from pydantic import TypeAdapter

from aevb.datasets.schema import Schema
from aevb.datasets.tabular.columns import Column
from aevb.datasets.tabular.families import Families, factor_of, find
from aevb.datasets.tabular.frames import data_of_frame
from aevb.datasets.tabular.rules import Rule
from aevb.errors import AevbError
from aevb.parts.likelihoods.mixed import Mixed
from aevb.probability.factors import Factor

REAL, WHOLE = Column("a", "real", "float64"), Column("a", "integer", "int64")
CENTS = Column("a", "real", "float64", decimals=2)


def of_frame(frame):
    """Codes, columns and families of a frame."""
    data = data_of_frame(frame, "a frame")
    columns = data.table.modelled
    return data.rows, columns, find(data.rows, columns)


def check_round_trip(codes, families):
    """Codes come back: exactly for levels and small whole numbers, else up to float32."""
    back = families.codes(families.numbers(codes))
    repaired = {rule.target for rule in families.repairs}
    for i, factor in enumerate(families.factors):
        was, found = codes[:, i], back[:, i]
        if i in repaired:
            continue
        assert np.array_equal(np.isnan(was), np.isnan(found)), factor
        was, found = was[~np.isnan(was)], found[~np.isnan(found)]
        if factor.has_levels:
            assert np.array_equal(was, found), factor
            continue
        with np.errstate(over="ignore"):
            size = np.abs(was - factor.shift) + factor.scale
        if factor.is_number:
            ok = np.abs(was - found) <= 1e-6 * size + 0.5 * factor.step * (size > 1e6 * factor.step)
            # Beyond what float32 holds, only the side is kept.
            assert bool((ok | (size > 1e30 * factor.scale)).all()), factor


def check_model(codes, families, rows=20):
    """A model of these families starts, scores and draws without a NaN."""
    torch.manual_seed(0)
    model = Mixed(families.factors, families.components, families.width, families.rows)
    x = torch.from_numpy(families.numbers(codes))
    model.initialise(x)
    h = torch.zeros(len(x), model.num_features)
    with torch.no_grad():
        assert bool(model(h).log_prob(x).isfinite().all())
        drawn = model(h[:rows]).sample()
        assert bool(model(h[:rows]).log_prob(drawn).isfinite().all())
        assert bool(model.independent_rows(model.independent(x), x).isfinite().all())
    made = families.codes(drawn.numpy())
    for i, factor in enumerate(families.factors):
        gone = np.isnan(made[:, i])
        assert factor.gaps or not gone.any()
        low, high = np.nanmin([*codes[:, i], np.inf]), np.nanmax([*codes[:, i], -np.inf])
        if low <= high and i not in [rule.target for rule in families.repairs]:
            slack = 1e-6 * high - 1e-6 * low + 1e-6 * factor.scale
            there = made[~gone, i]
            if factor.is_number or factor.family == "follows":
                assert bool(((there >= low - slack) & (there <= high + slack)).all()), factor
    return made


# -------------------------------------------------------------------------------------------------
# any table


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
@given(frames())
def test_random_tables_come_back_and_are_modelled(frame):
    try:
        data = data_of_frame(frame, "a frame")
    except AevbError:
        return
    codes, columns = data.rows, data.table.modelled
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        families = find(codes, columns)
        check_round_trip(codes, families)
    check_model(codes, families, 10)


HARD = {
    "a gap in all rows": (np.full(30, np.nan), REAL),
    "one cell": (np.array([7.25, *[np.nan] * 29]), REAL),
    "one whole number": (np.array([7.0, *[np.nan] * 29]), WHOLE),
    "two rows": (np.array([1.5, 2.5]), REAL),
    "two whole rows": (np.array([3.0, 900.0]), WHOLE),
    "huge": (np.linspace(-1e300, 1e300, 50), REAL),
    "as large as can be": (np.linspace(-1, 1, 50) * 1.7e308, REAL),
    "one huge": (np.array([*np.linspace(0, 1, 60), 1e300]), REAL),
    "one huge whole": (np.array([*np.arange(60.0), 2.0**62]), WHOLE),
    "tiny": (np.linspace(1e-12, 2e-12, 50), REAL),
    "tiny steps upon a large number": (1e6 + np.linspace(0, 1e-8, 50), REAL),
    "denormal": (np.linspace(0, 1e-310, 50), REAL),
    "nanoseconds": (1.7e18 + 1e9 * np.arange(50.0) ** 2, Column("a", "date", "datetime64[ns]")),
    "constant": (np.full(30, 4.0), WHOLE),
    "constant, with gaps": (np.array([4.0, np.nan] * 15), REAL),
    "constant name": (np.zeros(30), Column("a", "category", "str", levels=("x", "y"))),
    "no name": (np.full(30, np.nan), Column("a", "category", "str", levels=("x", "y"))),
    "almost constant": (np.array([*np.zeros(95), 1, 2, 3, 4, 5.5]), REAL),
    "whole numbers of any size": (np.array([*(-(3.0 ** np.arange(38))), 0, 2.0**63]), WHOLE),
}


@pytest.mark.parametrize("name", HARD)
@pytest.mark.parametrize("beside", [False, True])
def test_hard_columns_are_modelled(name, beside):
    codes, column = HARD[name]
    table, columns = codes[:, None], [column]
    if beside:
        others = np.random.default_rng(0).normal(size=len(codes))
        table = np.column_stack([codes, others, np.arange(len(codes)) % 2])
        columns += [REAL, Column("b", "boolean", "bool")]
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)
        families = find(table, columns)
        check_round_trip(table, families)
    check_model(table, families)


@pytest.mark.parametrize("name", HARD)
def test_rows_far_from_the_training_rows_have_a_finite_score(name):
    codes, column = HARD[name]
    families = find(codes[:, None], [column])
    top = 1.0 if column.kind == "category" else 1e308
    others = np.array([[0.0], [top], [-top if top > 1 else 0.0], [1.0]])
    model = Mixed(families.factors, families.components, families.width, families.rows)
    x = torch.from_numpy(families.numbers(others))
    with torch.no_grad():
        assert bool(model(torch.zeros(4, model.num_features)).log_prob(x).isfinite().all())


# -------------------------------------------------------------------------------------------------
# what is planted is found


def factor(values, column=REAL):
    return factor_of(np.asarray(values, np.float64), column)


def test_bends_are_found_where_they_are():
    rng = np.random.default_rng(0)
    for seed in range(5):
        rng = np.random.default_rng(seed)
        assert factor(rng.normal(5, 3, 3000)).bend == 0
        found = factor(np.exp(rng.normal(8, 1.5, 3000)))
        assert found.bend > 0
        x = found.numbers(np.exp(rng.normal(8, 1.5, 3000))) - found.centre
        t = np.arcsinh(x * found.bend)
        t = (t - t.mean()) / t.std()
        assert abs((t**3).mean()) < 0.3  # it was above 10
        assert factor(rng.standard_t(1.5, 3000)).bend > 0


def test_spikes_are_found_where_they_are():
    rng = np.random.default_rng(0)
    gain = np.where(rng.random(5000) < 0.92, 0.0, np.exp(rng.normal(8, 1, 5000)))
    assert factor(gain).values == (0.0,)
    assert factor(gain.round(), WHOLE).values == (0.0,)
    hours = np.where(rng.random(5000) < 0.3, 40.0, rng.normal(40, 400, 5000).round())
    assert factor(np.where(rng.random(5000) < 0.1, 99_999, hours), WHOLE).values == (40.0, 99_999.0)
    assert factor(rng.normal(size=5000)).values == ()
    assert factor(rng.poisson(10_000, 5000), WHOLE).values == ()
    # Rounded numbers repeat, and no one of them stands out.
    assert factor(rng.normal(0, 1, 5000).round(2), CENTS).values == ()


def test_spikes_come_back_exactly_from_single_precision():
    """x of a spike is not exact, and the decimals of the column are finer than its error."""
    rng = np.random.default_rng(0)
    income = np.where(rng.random(400) < 0.6, 0.0, rng.lognormal(8, 1, 400).round(5))
    factor = factor_of(income, Column("a", "real", "float64", decimals=5))
    x = factor.numbers(income).astype(np.float32)
    assert factor.values == (0.0,)
    assert np.array_equal(factor.codes(x) == 0.0, income == 0.0)


def test_values_of_unknown_decimals_have_the_density_of_a_small_cell():
    """Half of the rows at each of two values: p of a value is 1/2, spread over a cell."""
    values = np.array([-1 / 3, 2 / 3])
    factor = factor_of(np.repeat(values, 200), REAL)
    assert (factor.family, factor.step, factor.density) == ("levels", 0.0, True)
    assert factor.cell == pytest.approx(1e-3 * np.sqrt(2 * np.pi) / 1.35)  # the quartiles' spread
    assert factor.log_unit == pytest.approx(-np.log(factor.cell))
    model = Mixed([factor], 0, 0)
    codes = np.repeat(values, 200)[:, None]
    x = torch.from_numpy(Families((factor,)).numbers(codes))
    model.initialise(x)
    log_p = model(torch.zeros(len(x), model.num_features)).log_prob(x)
    assert log_p.mean().item() == pytest.approx(np.log(0.5 / factor.cell), abs=0.01)
    # Cells of close values do not overlap.
    close = factor_of(np.repeat([0.0, 1e-7, 1 / 3], 200), REAL)
    assert close.cell == pytest.approx(1e-7)


def test_a_gap_that_only_held_out_rows_have_has_a_place():
    column = replace(REAL, missing=1)
    assert factor_of(np.linspace(0, 1 / 3, 50), column).gaps
    assert not factor_of(np.linspace(0, 1 / 3, 50), REAL).gaps


def test_steps_are_found_where_they_are():
    rng = np.random.default_rng(0)
    quarters = rng.integers(0, 3000, 4000) * 0.25
    assert factor(quarters, CENTS).step == 0.25
    assert factor(rng.integers(0, 3000, 4000) * 0.01, CENTS).step == pytest.approx(0.01)
    assert factor(rng.integers(0, 3000, 4000) * 50.0, WHOLE).step == 50.0
    assert factor(rng.normal(size=4000)).step == 0.0
    found = factor(quarters, CENTS)
    near = found.numbers(quarters) + rng.normal(size=4000) * 0.1 * 0.25 / found.scale
    assert np.array_equal(found.codes(near), quarters)


def test_few_values_are_levels_with_room_for_others():
    values = np.repeat([1.0, 2.0, 3.0, 5.0, 9.0], [400, 300, 200, 99, 1])
    found = factor(values, WHOLE)
    assert (found.family, found.values) == ("levels", (1.0, 2.0, 3.0, 5.0, 9.0))
    assert found.unseen == pytest.approx(1.5 / 1001)  # one value occurs once
    assert found.num_unseen == 4
    # 4 and 8 are between, 0 and 11 outside.
    others = np.array([4.0, 8.0, 0.0, 11.0, 1e6, 9.0])
    x = found.numbers(others)
    assert np.array_equal(found.codes(x), others)
    assert x.tolist() == [5.125, 5.875, -1.0, 7.0, 999_996.0, 4.0]


def test_rare_names_share_a_class_and_keep_their_shares():
    rows = np.repeat(np.arange(1000.0), [500, 400, 300, *[3] * 300, *[1] * 697])
    column = Column("a", "category", "str", levels=tuple(map(str, range(1000))))
    found = factor(rows, column)
    assert found.num_classes == 256
    rare = np.array(found.classes) == 255
    assert np.exp(np.array(found.shares)[rare]).sum() == pytest.approx(1.0)
    model = Mixed([found], 0, 0)
    model.initialise(torch.from_numpy(found.numbers(rows)[:, None]).float())
    h = torch.zeros(20_000, model.num_features)
    with torch.no_grad():
        p = model(h[:1000]).log_prob(torch.arange(1000.0)[:, None]).exp()
    assert float(p.sum()) == pytest.approx(1.0, abs=1e-4)
    drawn = np.bincount(model(h).sample()[:, 0].long(), minlength=1000) / 20_000
    # Twelve standard errors of the difference between both, for many names at once.
    apart = np.abs(drawn - p.numpy())
    assert apart.max() < 12 * np.sqrt(p.numpy().max() / 20_000)
    assert drawn[np.flatnonzero(rare)].sum() == pytest.approx(float(p[rare].sum()), abs=0.03)


# -------------------------------------------------------------------------------------------------
# rules


def linked(n=400):
    """Columns that follow from others, with and without gaps of their own."""
    rng = np.random.default_rng(0)
    city = rng.choice(["Rome", "Milan", "Paris", "Lyon", "Berlin"], n)
    land = pd.Series(city).map(
        {"Rome": "Italy", "Milan": "Italy", "Paris": "France", "Lyon": "France", "Berlin": "D"}
    )
    net, tax = rng.normal(100, 30, n).round(2), rng.normal(20, 4, n).round(2)
    inches = pd.Series(rng.normal(67, 4, n).round(1))
    cm = (inches * 2.54).round(2)
    return pd.DataFrame(
        {
            "city": city,
            "land": land,
            "net": net,
            "tax": tax,
            "total": (net + tax).round(2),
            "inches": inches,
            "cm": cm.mask(rng.random(n) < 0.2),
        }
    )


def test_rules_hold_in_what_is_made_and_repairs_are_made():
    codes, columns, families = of_frame(linked())
    names = [column.name for column in columns]
    assert {names[rule.target] for rule in families.rules} >= {"total"}
    assert {names[rule.target] for rule in families.repairs} & {"inches", "cm"}
    check_round_trip(codes, families)
    made = check_model(codes, families, 400)
    for rule in (*families.rules, *families.repairs):
        assert rule.holds(made).all(), rule.describe(columns)
    gone = np.isnan(made[:, names.index("cm")]).mean()
    assert 0.1 < gone < 0.3


def test_a_cell_that_breaks_its_rule_comes_back_and_costs():
    codes, columns, families = of_frame(linked())
    total = families.rules[-1].target
    rule = next(rule for rule in families.rules if columns[rule.target].name == "total")
    total = rule.target
    broken = codes.copy()
    broken[3, total] = families.factors[total].low
    x = families.numbers(broken)
    assert x[3, total] != 0
    assert (x[np.arange(len(x)) != 3, total] == 0).all()
    np.testing.assert_allclose(families.codes(x)[:, total], broken[:, total], rtol=1e-5)
    model = Mixed(families.factors, families.components, families.width, families.rows)
    with torch.no_grad():
        h = torch.zeros(len(x), model.num_features)
        logs = model(h).log_prob_of_columns(torch.from_numpy(x))[:, total]
    assert float(logs[3]) < float(logs[2]) - 5


def test_rules_upon_a_repaired_column_hold():
    """A repair comes before the rules that need its target."""
    rng = np.random.default_rng(0)
    a = rng.normal(50, 10, 300).round(1)
    b = np.where(rng.random(300) < 0.2, np.nan, (2 * a).round(1))
    columns = [Column(name, "real", "float64", decimals=1) for name in "abc"]
    codes = np.column_stack([a, b, (b + 1).round(1)])
    families = find(codes, columns)
    made = check_model(codes, families, 200)
    for rule in (*families.rules, *families.repairs):
        assert rule.holds(made).all()


def test_a_rule_sees_its_source_as_it_was_repaired():
    plus_one = {"kind": "linear", "intercept": 1.0, "coefficients": (1.0,)}
    factors = (
        Factor("a", "real", low=0.0, high=9.0),
        Factor("b", "real", low=0.0, high=9.0),
        Factor("c", "follows", low=0.0, high=9.0, gaps=True, unseen=0.1),
    )
    rules = (Rule(2, (1,), **plus_one),)
    families = Families(factors, rules, (Rule(1, (0,), **plus_one, exact_gaps=False),))
    assert families.codes(np.array([[1.0, 5.0, 0.0]])).tolist() == [[1.0, 2.0, 3.0]]


# -------------------------------------------------------------------------------------------------
# saves


def test_families_are_saved_with_the_schema():
    codes, _, families = of_frame(linked())
    stored = TypeAdapter(Schema)
    schema = Schema(
        "real", (codes.shape[1],), "float64", (0.0,), (1.0,), kind="table", families=families
    )
    again = stored.validate_json(stored.dump_json(schema)).families
    assert isinstance(again, Families)
    assert again == families
    assert all(isinstance(each, Factor) for each in again.factors)
    x = families.numbers(codes)
    assert np.array_equal(again.numbers(codes), x, equal_nan=True)
    assert np.array_equal(again.codes(x), families.codes(x), equal_nan=True)
