"""Rules between the columns of a table: what is planted is found exactly, and nothing else."""

import json
from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from pydantic import TypeAdapter

from aevb.datasets.tabular.columns import Column
from aevb.datasets.tabular.frames import data_of_frame
from aevb.datasets.tabular.rules import RULE_KINDS, Rule, find_rules
from aevb.datasets.tabular.rules.evidence import of_map, of_steps
from aevb.datasets.tabular.rules.rule import circular

STORED = TypeAdapter(tuple[Rule, ...])
KINDS = ("real", "integer", "boolean", "category", "ordered", "date")


def rules_of(frame):
    """The codes of a frame, its columns, and its rules."""
    data = data_of_frame(frame, "a frame")
    columns = data.table.modelled
    return data.rows, columns, find_rules(data.rows, columns)


def described(frame):
    codes, columns, rules = rules_of(frame)
    assert [rule.describe(columns) for rule in rules if not rule.holds(codes).all()] == []
    return sorted(rule.describe(columns) for rule in rules)


def noise(rng, n):
    """Columns that follow from nothing."""
    return {
        "weight": rng.normal(80, 10, n),
        "count": rng.integers(0, 400, n),
        "colour": rng.choice(["red", "green", "blue"], n, p=[0.7, 0.2, 0.1]),
        "member": rng.random(n) < 0.05,
    }


def planted(n, seed=0):
    """A table with a rule of every kind, and the rules in plain English."""
    rng = np.random.default_rng(seed)
    city = rng.integers(0, 40, n)
    size, shape = rng.integers(0, 4, (2, n))
    net, tax = rng.gamma(2, 100, (2, n)).round(2)
    inch, begun = rng.integers(48, 90, n), rng.integers(0, 3000, n)
    age, hired = rng.integers(18, 80, n), rng.integers(1990, 2024, n)
    days = rng.integers(1, 60, n)
    price = np.array([[1.5, 2, 2.5, 3], [2, 2.5, 3, 1.5], [3, 3, 2, 2], [1.5, 2, 1.5, 2]])
    begin = pd.Timestamp("2010-01-01") + pd.to_timedelta(begun, "D")
    frame = pd.DataFrame(
        {
            **noise(rng, n),
            "city": [f"town {i:02d}" for i in city],
            "land": [f"land {i % 7}" for i in city],
            "size": [f"size {i}" for i in size],
            "shape": [f"shape {i}" for i in shape],
            "price": price[size, shape],
            "net": net,
            "tax": tax,
            "total": (net + tax).round(2),
            "inch": inch,
            "cm": (2.54 * inch).round(1),
            "age": age,
            "group": pd.cut(age, [0, 29, 49, 64, 99], labels=["young", "mid", "late", "old"]),
            "hired": hired,
            "born": hired - age,
            "start": begin,
            "days": days,
            "end": begin + pd.to_timedelta(days, "D"),
        }
    )
    rules = [
        "cm = 2.54 * inch, rounded",
        "end follows from start and days",
        "group follows from age",
        "hired = age + born",
        "land follows from city",
        "price follows from size and shape",
        "total = net + tax",
    ]
    return frame, rules


# -------------------------------------------------------------------------------------------------
# what is there is found


@pytest.mark.parametrize("n", [400, 5000])
def test_planted_rules_of_every_kind_are_found_and_give_the_codes_back(n):
    frame, expected = planted(n)
    codes, columns, rules = rules_of(frame)
    assert sorted(rule.describe(columns) for rule in rules) == expected
    assert {rule.kind for rule in rules} == set(RULE_KINDS)
    for rule in rules:
        np.testing.assert_allclose(rule.predict(codes), codes[:, rule.target], rtol=1e-12)
        assert rule.exact_gaps
        assert rule.holds(codes).all()


def test_a_rule_decodes_to_the_very_cells_of_the_table():
    frame, _ = planted(500)
    data = data_of_frame(frame, "a frame")
    codes = data.rows.copy()
    for rule in find_rules(data.rows, data.table.modelled):
        codes[:, rule.target] = np.nan
        codes[:, rule.target] = rule.predict(codes)
    pd.testing.assert_frame_equal(data.table.decode(codes), frame)


def test_rules_come_in_an_order_in_which_sources_are_known():
    rng = np.random.default_rng(1)
    street = rng.integers(0, 600, 6000)
    codes = np.column_stack([street // 120, street // 4, street]).astype(float)
    columns = [Column(name, "category", "str") for name in ("land", "city", "street")]
    rules = find_rules(codes, columns)
    assert [rule.describe(columns) for rule in rules] == [
        "city follows from street",
        "land follows from city",
    ]
    assert not any(circular(rules, rule.target, rule.sources) for rule in rules)


def test_of_two_columns_that_determine_each_other_text_is_the_source():
    number = np.random.default_rng(2).integers(1, 9, 300)
    text = [f"grade {n}" for n in number]
    assert described(pd.DataFrame({"n": number, "text": text})) == ["n follows from text"]
    assert described(pd.DataFrame({"text": text, "n": number})) == ["n follows from text"]


def test_copies_and_changes_of_unit_follow_from_one_column():
    celsius = np.random.default_rng(3).normal(15, 8, 200).round(1)
    frame = pd.DataFrame({"c": celsius, "f": (1.8 * celsius + 32).round(2), "again": celsius})
    assert described(frame) == ["again = c", "f = 1.8 * c + 32"]


def test_a_total_of_parts_is_one_rule_though_other_totals_are_there():
    rng = np.random.default_rng(4)
    parts = pd.DataFrame(rng.integers(0, 90, (300, 5)), columns=list("abcde"))
    parts["ab"] = parts.a + parts.b
    parts["all"] = parts[list("abcde")].sum(axis=1)
    found = described(parts)
    assert found == ["ab = a + b", "all = c + d + e + ab"] or found == [
        "ab = a + b",
        "all = a + b + c + d + e",
    ]


def test_ranges_at_both_ends_and_zero_apart_are_steps():
    rng = np.random.default_rng(5)
    value, hours = rng.normal(0, 1, 900), np.where(rng.random(900) < 0.3, 0, rng.normal(40, 5, 900))
    frame = pd.DataFrame({"value": value, "odd": abs(value) > 1.5, "hours": hours})
    frame["works"] = frame.hours > 0
    assert described(frame) == ["odd follows from value", "works follows from hours"]


# -------------------------------------------------------------------------------------------------
# what is not there is not found


def any_column(rng, n):
    """A column of any kind, with many or few values, and its codes."""
    kind = KINDS[rng.integers(len(KINDS))]
    levels = 2 if kind == "boolean" else int(rng.integers(2, 30))
    codes = rng.choice(levels, n, p=rng.dirichlet(np.full(levels, rng.uniform(0.1, 3))))
    if kind in ("real", "integer", "date"):
        wide = rng.lognormal(rng.uniform(0, 8), rng.uniform(0.1, 2), n).round(rng.integers(3))
        codes = [codes, wide, np.arange(n)][rng.integers(3)]
        codes = codes if kind == "real" else np.round(codes)
    codes = codes.astype(float)
    if rng.random() < 0.3:
        codes[rng.random(n) < rng.uniform(0, 0.5)] = np.nan
    return Column("x", kind, "float64", decimals=2 if kind == "real" else 0), codes


def random_table(rng, most=5000):
    n = int(np.exp(rng.uniform(np.log(20), np.log(most))))
    found = [any_column(rng, n) for _ in range(rng.integers(2, 16))]
    columns, codes = zip(*found, strict=True)
    # An identifier is never in the model twice.
    counts = [i for i, c in enumerate(codes) if (np.diff(c[~np.isnan(c)]) >= 1).all()]
    kept = [i for i in range(len(codes)) if i not in counts[1:]]
    return np.column_stack([codes[i] for i in kept]), [columns[i] for i in kept]


def test_independent_columns_have_no_rules():
    rng = np.random.default_rng(0)
    for _ in range(40):
        assert find_rules(*random_table(rng, most=2000)) == ()


def test_a_rule_that_one_cell_in_ten_breaks_is_none():
    rng = np.random.default_rng(1)
    data = data_of_frame(planted(3000)[0], "a frame")
    for n in np.geomspace(100, 3000, 12).astype(int):
        codes = data.take(np.sort(rng.choice(3000, n, replace=False))).rows.copy()
        for column in codes.T:
            wrong = rng.random(n) < 0.1
            column[wrong] = rng.permutation(column)[wrong]
        assert find_rules(codes, data.table.modelled) == ()


def test_numbers_that_hardly_repeat_determine_nothing():
    rng = np.random.default_rng(2)
    serial = rng.integers(0, 10**6, 2000)
    frame = pd.DataFrame({"serial": serial, **noise(rng, 2000)})
    assert described(frame) == []


def test_evidence_counts_persons_and_not_their_rows():
    rng = np.random.default_rng(3)
    person = np.repeat(np.arange(90), 12)
    sex = rng.integers(0, 2, 90)
    # Only persons of one sex share a height, by luck.
    height = rng.permutation(90) / 2 + 140
    height[:4] = height[4:8] = 190.5
    sex[:8] = 1
    frame = pd.DataFrame({"person": [f"p{i}" for i in person], "day": np.tile(np.arange(12), 90)})
    frame["height"] = height[person]
    frame["sex"] = np.array(["f", "m"])[sex][person]
    assert described(frame) == ["height follows from person", "sex follows from person"]


def test_separate_clusters_are_no_limits_that_were_set():
    rng = np.random.default_rng(4)
    age = np.repeat([3, 5, 10, 15, 20, 25], 30)
    frame = pd.DataFrame({"age": age, "height": (2.6 * age + rng.normal(0, 0.4, 180)).round(2)})
    assert described(frame) == []


def test_sums_that_agree_only_in_nearly_all_digits_are_no_rules():
    rng = np.random.default_rng(5)
    a, b = rng.normal(0, 100, (2, 500)).round(1)
    total = (a + b + rng.choice([0, 0.1], 500)).round(1)
    assert described(pd.DataFrame({"a": a, "b": b, "total": total})) == []


def test_the_bound_on_chance_is_one():
    """Among all arrangements of a target, those that keep some rule are as rare as is said."""
    groups = np.array([0, 0, 1, 1, 2, 2])
    target = np.array([0.0, 0.0, 0.0, 0.0, 1.0, 1.0])
    orders = set(permutations(target.tolist()))
    kept = [o for o in orders if all(len({o[i], o[i + 1]}) == 1 for i in (0, 2, 4))]
    assert len(kept) / len(orders) <= 2 ** -of_map(groups, target).bits
    stepped = [o for o in orders if sum(np.diff(o) != 0) <= 1]
    bits = of_steps(1, 6, np.array([4, 2])).bits
    assert len(stepped) / len(orders) <= 2**-bits


# -------------------------------------------------------------------------------------------------
# missing cells, JSON, and tables that hold little


def test_missing_cells_are_left_out_and_gaps_are_compared():
    frame, expected = planted(800)
    rng = np.random.default_rng(6)
    frame.loc[rng.random(800) < 0.2, ["city", "land"]] = None
    frame.loc[rng.random(800) < 0.2, "total"] = np.nan
    frame.loc[rng.random(800) < 0.2, "size"] = None
    codes, columns, rules = rules_of(frame)
    named = {rule.describe(columns): rule for rule in rules}
    assert sorted(named) == expected
    exact = {text for text, rule in named.items() if rule.exact_gaps}
    assert set(expected) - exact == {"total = net + tax", "price follows from size and shape"}
    for rule in rules:
        made, there = rule.predict(codes), ~np.isnan(codes[:, rule.sources]).any(axis=1)
        assert (np.isnan(made) == ~there).all()
        assert rule.holds(codes).all()


def test_levels_that_a_map_does_not_know_give_nan_and_break_no_rule():
    rule = Rule(2, (0, 1), "map", keys=((0.0, 1.0), (2.0, 0.0)), values=(5.0, 6.0))
    codes = np.array([[0, 1, 5], [2, 0, 0], [0, 0, 0], [1, 1, 0], [9, 9, 0], [np.nan, 1, 5.0]])
    np.testing.assert_array_equal(rule.predict(codes), [5, 6, *[np.nan] * 4])
    assert rule.holds(codes).tolist() == [True, False, True, True, True, True]


def test_rules_come_back_from_json_as_they_were():
    frame, _ = planted(400)
    rules = rules_of(frame)[2]
    assert STORED.validate_json(json.dumps(STORED.dump_python(rules, mode="json"))) == rules


@pytest.mark.parametrize(
    "codes",
    [
        np.empty((0, 2)),
        np.ones((1, 2)),
        np.ones((50, 1)),
        np.full((300, 3), np.nan),
        np.ones((300, 3)),
        np.column_stack([np.arange(300) % 2, np.ones(300), np.full(300, np.nan)]),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_tables_that_hold_little_have_no_rules(codes, kind):
    columns = [Column(str(i), kind, "float64") for i in range(codes.shape[1])]
    assert find_rules(codes, columns) == ()
