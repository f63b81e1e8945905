"""Figures about tables, against numbers counted by hand, closed forms and known false alarms."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from helpers import done, refuses
from scipy.stats import ks_2samp
from sklearn.metrics import r2_score, roc_auc_score

import aevb
from aevb.datasets.tabular.columns import Column
from aevb.datasets.tabular.frames import data_of_frame
from aevb.errors import UsageError
from aevb.evaluation import table_cells, table_models, table_shapes
from aevb.evaluation.associations import associations
from aevb.evaluation.bound import Figure
from aevb.evaluation.closest import closest_records, copies, gower
from aevb.evaluation.table_columns import DRAWS, is_number, share
from aevb.evaluation.tables import compare_tables
from aevb.runs import report, table_report
from aevb.runs.table_pictures import cut, page

A, B = Column("a", "real", "float64"), Column("b", "real", "float64")
CITY = Column("city", "category", "str", levels=("x", "y", "z"))
GRADE = Column("grade", "ordered", "int64", levels=(1, 2, 6))
NAN = math.nan


def columns_of(*rows):
    """Rows as an array of codes."""
    return np.array(rows, np.float64)


def mixed(n, seed=0, shift=0.0):
    """A table of a number, a whole number with gaps, a category that follows, and a date."""
    rng = np.random.default_rng(seed)
    size = rng.normal(shift, 1, n)
    whole = rng.poisson(3, n).astype(float)
    whole[rng.random(n) < 0.1] = NAN
    return pd.DataFrame(
        {
            "size": size.round(3),
            "count": pd.array(whole, "Float64").astype("Int64"),
            "side": np.where(size + rng.normal(0, 0.5, n) > 0, "right", "left"),
            "day": pd.Timestamp("2020-01-01") + pd.to_timedelta(rng.integers(0, 300, n), "D"),
        }
    )


@pytest.fixture(scope="module")
def three():
    """Codes of training rows, held-out rows and samples of one distribution, and the columns."""
    data = data_of_frame(mixed(400), "mixed")
    others = [data.table.encode(mixed(200, seed), "more") for seed in (1, 2)]
    return np.asarray(data.rows), *others, data.table.modelled


# -------------------------------------------------------------------------------------------------
# columns


def test_the_shape_of_numbers_is_kolmogorov_smirnov():
    rng = np.random.default_rng(0)
    real, made = rng.normal(size=(300, 1)), rng.normal(0.4, 2, size=(170, 1)).round(1)
    expected = ks_2samp(real[:, 0], made[:, 0]).statistic
    assert table_shapes.column_shapes(real, made, [A]).errors[0] == pytest.approx(expected)
    # Missing cells do not count, on either side.
    gaps = [np.concatenate([side, np.full((40, 1), NAN)]) for side in (real, made)]
    assert table_shapes.column_shapes(*gaps, [A]).errors[0] == pytest.approx(expected)


def test_the_shape_of_levels_is_total_variation_with_missing_as_a_level():
    real = columns_of([0], [0], [1], [NAN])
    made = columns_of([0], [2], [NAN], [NAN])
    # shares 1/2, 1/4, 0, 1/4 and 1/4, 0, 1/4, 1/2
    assert table_shapes.column_shapes(real, made, [CITY]).errors[0] == pytest.approx(0.5)


def test_a_side_without_cells_is_wrong_everywhere():
    gone = columns_of([NAN], [NAN])
    assert table_shapes.column_shapes(columns_of([1], [2]), gone, [A]).errors[0] == 1
    assert table_shapes.column_shapes(gone, gone, [A]).errors[0] == 0


def test_an_order_of_numbers_is_measured_as_numbers_and_of_words_as_levels():
    words = Column("w", "ordered", "str", levels=("low", "mid", "high"))
    assert (is_number(GRADE), is_number(words)) == (True, False)
    # 1 and 6 are three bins of width 0.5 from 1 to 6, but 1 and 2 are not neighbours.
    tops = columns_of([0, 0.0], [1, 1.0], [2, 2.0])
    assert associations(tops, [GRADE, A])[0, 1] == pytest.approx(
        np.corrcoef([1, 2, 6], [0, 1, 2])[0, 1]
    )


def test_trends_of_numbers_are_half_the_difference_of_their_correlations():
    rng = np.random.default_rng(0)
    real = rng.multivariate_normal([1e6, 0], [[1, 0.8], [0.8, 1]], 500)
    made = rng.multivariate_normal([1e6, 0], [[1, -0.3], [-0.3, 1]], 400)
    wanted = abs(np.corrcoef(real.T)[0, 1] - np.corrcoef(made.T)[0, 1]) / 2
    assert table_shapes.pair_trends(real, made, [A, B]).errors[0] == pytest.approx(wanted, rel=1e-6)
    real[:100, 0], made[:50, 1] = NAN, NAN  # rows that lack either are left out
    there = [side[~np.isnan(side).any(1)] for side in (real, made)]
    wanted = abs(np.corrcoef(there[0].T)[0, 1] - np.corrcoef(there[1].T)[0, 1]) / 2
    assert table_shapes.pair_trends(real, made, [A, B]).errors[0] == pytest.approx(wanted, rel=1e-6)


def test_trends_of_constant_columns():
    real, made = columns_of([1, 1], [2, 2], [3, 3]), columns_of([1, 5], [2, 5], [3, 5])
    assert table_shapes.pair_trends(real, made, [A, B]).errors.tolist() == [0.5]
    assert table_shapes.pair_trends(made, real, [A, B]).errors.tolist() == []


def test_trends_with_levels_count_combinations_in_ten_bins():
    # Bins of width 1 from 0 to 10: 9.5 and 10 share the last one, and 12 lies in it, too.
    real = columns_of([0, 0], [9.5, 0], [10, 1], [5, 1])
    made = columns_of([0.5, 0], [12, 0], [9.1, 1], [NAN, 1])
    assert table_shapes.pair_trends(real, made, [A, CITY]).errors.tolist() == [0.25]
    assert table_shapes.pair_trends(real[:, ::-1], made[:, ::-1], [CITY, A]).errors == [0.25]


def test_tables_of_many_levels_are_counted_by_what_occurs(monkeypatch):
    rng = np.random.default_rng(0)
    many = [Column(name, "category", "str", levels=tuple(map(str, range(50)))) for name in "ab"]
    real, made = rng.integers(0, 50, (2, 300, 2)).astype(float)
    whole = table_shapes.pair_trends(real, made, many).errors
    monkeypatch.setattr(table_shapes, "MOST_BINNED", 10)
    assert table_shapes.pair_trends(real, made, many).errors == pytest.approx(whole)


def test_of_many_pairs_a_fixed_choice_is_measured(monkeypatch):
    rows = np.random.default_rng(0).normal(size=(30, 6))
    columns = [Column(f"c{i}", "real", "float64") for i in range(6)]
    every = table_shapes.pair_trends(rows, rows[::2], columns)
    monkeypatch.setattr(table_shapes, "MOST_PAIRS", 4)
    some = table_shapes.pair_trends(rows, rows[::2], columns)
    assert len(some.errors) == 4
    of_all = dict(zip(every.names, every.errors, strict=True))
    assert some.errors == pytest.approx([of_all[name] for name in some.names])


def test_tails_in_closed_form():
    rows = np.linspace(-1, 1, 2001)[:, None]
    # Uniform: the median is 0, the spread 0.9, and the quantiles are those of twice as wide rows.
    far = np.arcsinh(2 * np.array([0.998, 0.98]) / 0.9) - np.arcsinh(np.array([0.998, 0.98]) / 0.9)
    assert table_shapes.tails(rows, 2 * rows, [A]).errors[0] == pytest.approx(far.mean(), rel=1e-6)
    assert table_shapes.tails(rows, rows, [CITY]).errors.tolist() == []


def test_spikes_are_single_numbers_in_more_than_a_twentieth_of_the_cells():
    real = columns_of(*[[0]] * 50, *[[7]] * 5, *[[i] for i in range(100, 145)])
    made = columns_of(*[[0]] * 70, *[[7]] * 30)
    found = table_shapes.spikes(real, made, [A])
    assert dict(zip(found.names, found.errors.round(9), strict=True)) == {("a = 0",): 0.2}


def test_error_bars_are_the_spread_over_new_rows():
    rng = np.random.default_rng(0)
    real, column = rng.normal(size=(2000, 1)), [A]
    over = [rng.normal(0.3, 1, size=(200, 1)) for _ in range(60)]
    found = [table_shapes.column_shapes(real, made, column, draws=DRAWS) for made in over]
    spread = np.std([each.mean for each in found])
    assert np.mean([each.standard_error for each in found]) == pytest.approx(spread, rel=0.35)


# -------------------------------------------------------------------------------------------------
# trees


def test_auc_is_that_of_sklearn_and_its_error_that_of_repetitions():
    rng = np.random.default_rng(0)
    areas, errors = [], []
    for _ in range(200):
        y = rng.random(150) < 0.3
        scores = (rng.normal(size=150) + y).round(1)  # with ties
        area, pulls = table_models.auc(scores, y)
        assert area == pytest.approx(roc_auc_score(y, scores))
        assert pulls.mean() == pytest.approx(0, abs=1e-9)
        areas.append(area)
        errors.append(pulls.std() / math.sqrt(150))
    assert np.mean(errors) == pytest.approx(np.std(areas), rel=0.15)


def test_r2_is_that_of_sklearn_and_its_error_that_of_repetitions():
    rng = np.random.default_rng(0)
    found = []
    for _ in range(300):
        y = rng.normal(size=200)
        guessed = y + rng.normal(0, 0.7, 200)
        found.append(table_models._explained(y, guessed))
        assert found[-1].value == pytest.approx(r2_score(y, guessed))
    values, errors = zip(*found, strict=True)
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.15)


def test_trees_tell_what_differs_and_seldom_what_does_not():
    rng, columns, far = np.random.default_rng(0), [A, CITY], []
    errors = []
    for _ in range(8):
        sides = np.column_stack([rng.normal(size=160), rng.integers(0, 3, 160)]).reshape(2, 80, 2)
        score = table_models.two_sample(*sides, columns)
        far.append((score.value - 0.5) / score.error)
        errors.append(score.error)
    # A copy in another fold would pull the area below 0.5; here no row has one.
    # Chi squared of 8 is above 26.1 once in 1000 times.
    assert np.square(far).sum() < 26.1
    # The variance of an area is (2 m + 1) / (12 m^2) with m rows a side, here in each fold.
    exact = math.sqrt((2 * 80 / 3 + 1) / (12 * (80 / 3) ** 2) / 3)
    assert 0.9 < np.mean(errors) / exact < 1.5
    made = sides[1].copy()
    made[:, 1] = np.argsort(np.argsort(made[:, 0])) // 27  # the margins stay; the relation does not
    assert table_models.two_sample(sides[0], made, columns).value > 0.7


def test_trees_predict_levels_and_numbers():
    rng = np.random.default_rng(0)
    x = rng.integers(0, 3, 600).astype(float)
    rows = np.column_stack([x, 10 * x + rng.normal(size=600), rng.normal(size=600)])
    columns = [CITY, A, B]
    assert table_models.efficacy(rows[:300], rows[300:], columns, 0).value > 0.99
    assert table_models.efficacy(rows[:300], rows[300:], columns, 1).value == pytest.approx(
        1 - 1 / (1 + 100 * x.var()), abs=0.01
    )
    assert abs(table_models.efficacy(rows[:300], rows[300:], columns, 2).value) < 0.35


def test_targets_that_cannot_be_learned():
    rng = np.random.default_rng(0)
    rows = np.column_stack([rng.integers(0, 3, 300), rng.normal(size=300)]).astype(float)
    one = rows.copy()
    one[:, 0] = 1.0
    gone = rows.copy()
    gone[:, 0] = NAN
    assert table_models.efficacy(one, rows, [CITY, A], 0) == (0.5, 0)
    assert table_models.efficacy(rows, one, [CITY, A], 0) is None
    assert table_models.efficacy(gone, rows, [CITY, A], 0) is None
    # Levels that the samples lack count as guessed at random.
    two = rows[:150][rows[:150, 0] < 2]
    found = table_models.efficacy(two, rows[150:], [CITY, A], 0)
    assert abs(found.value - 0.5) < 4 * found.error


# -------------------------------------------------------------------------------------------------
# cells


def test_impossible_cells_are_counted():
    real = columns_of([0, 0], [9, 1], [3, 0])
    made = columns_of([-1, 0], [9, 2], [2.5, NAN], [NAN, 1])
    assert table_cells.out_of_range(real, made, [A, CITY])[0] == pytest.approx(1 / 3)
    assert table_cells.never_seen(real, made, [A, CITY])[0] == pytest.approx(1 / 3)
    assert table_cells.not_whole(real, made, [A, CITY])[0] == pytest.approx(1 / 3)
    assert math.isnan(table_cells.not_whole(real + 0.5, made, [A, CITY])[0])
    assert table_cells.missing_difference(real, made)[0] == 0.25


class Same:
    """Column 1 equals column 0 where column 0 is above 0."""

    target = 1

    def predict(self, codes):
        return np.where(codes[:, 0] > 0, codes[:, 0], NAN)


def test_broken_rules_are_counted_where_the_rule_says_something():
    rows = columns_of([1, 1], [2, 3], [3, NAN], [0, 7], [NAN, 7])
    assert table_cells.broken_rules(rows, [Same()])[0] == pytest.approx(1 / 2)
    assert math.isnan(table_cells.broken_rules(rows, [])[0])


def test_the_error_of_a_share_is_that_of_repetitions():
    rng = np.random.default_rng(0)
    found = []
    for _ in range(400):
        often = rng.random(200) < 0.5  # the cells of a row go together
        hits = rng.binomial(4, np.where(often, 0.6, 0.1))
        found.append(share(hits, np.full(200, 4)))
    values, errors = zip(*found, strict=True)
    assert np.mean(errors) == pytest.approx(np.std(values), rel=0.15)
    assert share(np.zeros(100), np.ones(100)) == (0, pytest.approx(math.sqrt(2) / 100))


# -------------------------------------------------------------------------------------------------
# closest records


def test_the_distance_of_gower_by_hand():
    reference = columns_of([0, 0], [10, 1])
    rows = columns_of([4, 0], [NAN, 0], [30, NAN])
    others = columns_of([5, 1], [NAN, NAN])
    # to (5, y): 0.1 and 1; to two gaps: 1 and 1
    assert gower(rows[:1], others[:1], [A, CITY], reference)[0] == pytest.approx(1.1 / 2)
    # a gap equals a gap; from a cell that is there it is 1
    assert gower(rows, others, [A, CITY], reference) == pytest.approx([1.1 / 2, 1 / 2, 1 / 2])


def test_distances_do_not_depend_on_how_columns_are_taken(three):
    training, held_out, _, columns = three
    far = np.full((len(held_out), len(training)), 0.0)
    for i, column in enumerate(columns):
        one, other = held_out[:, i, None], training[None, :, i]
        gap = np.isnan(one) | np.isnan(other)
        both = np.isnan(one) & np.isnan(other)
        if is_number(column):
            each = np.abs(one - other) / np.ptp(training[~np.isnan(training[:, i]), i])
        else:
            each = (one != other).astype(float)
        far += np.where(gap, 1.0 - both, each)
    found = gower(held_out, training, columns)
    assert found == pytest.approx(far.min(1) / len(columns))


def test_copies_are_equal_in_every_cell():
    training = columns_of([0.0, NAN], [1, 2])
    rows = columns_of([-0.0, NAN], [1, 2], [1, NAN], [1, 2.0000001])
    assert copies(training, rows).tolist() == [True, True, False, False]


def test_nearer_to_training_is_a_half_without_copying_and_more_with_it(three):
    training, held_out, samples, columns = three
    fair = closest_records(training, held_out, samples, columns)["nearer_to_training"]
    assert abs(fair.value - 0.5) < 4 * fair.standard_error
    assert abs(fair.details["real"] - 0.5) < 4 * fair.details["real_error"]
    copied = closest_records(training, held_out, training[:200], columns)
    assert copied["nearer_to_training"].value > 0.58  # a quarter of the copies is searched
    everywhere = columns_of(*[[1.0, 1.0]] * 40)
    tied = closest_records(everywhere, everywhere, everywhere, [A, B])
    assert tied["nearer_to_training"].value == 0.5


# -------------------------------------------------------------------------------------------------
# all together


def test_samples_of_the_data_have_the_figures_of_real_rows(three):
    training, held_out, samples, columns = three
    parts = []
    found = compare_tables(
        training,
        held_out,
        samples,
        columns,
        target="side",
        rules=[Same()],
        on_part=lambda done, of: parts.append((done, of)),
    )
    assert parts == [(i, 5) for i in range(6)]
    assert set(found.figures) == {
        "shape_error", "trend_error", "tail_error", "two_sample_auc", "missing_difference",
        "out_of_range", "never_seen", "not_whole", "broken_rules", "closest_distance",
        "nearer_to_training", "copies", "efficacy", "spike_error",
    }  # fmt: skip
    for name, figure in found.figures.items():
        error = math.hypot(figure.standard_error, figure.details["real_error"])
        assert abs(figure.value - figure.details["real"]) < 5 * error, name
    assert list(found.missing) == ["count"]
    assert found.left_out == []


def test_what_is_wrong_with_samples_is_named(three):
    training, held_out, samples, columns = three
    wrong = samples.copy()
    wrong[:, 2] = wrong[::-1, 2]  # the side no longer follows from the size
    wrong[:, 3] += 100
    found = compare_tables(training, held_out, wrong, columns, target="side")
    figures = found.figures
    assert next(iter(found.worst["shape_error"])) == "day"
    assert next(iter(found.worst["trend_error"])) in ("size x side", "side x day")
    assert figures["efficacy"].value < 0.65 < 0.85 < figures["efficacy"].details["real"]
    assert figures["two_sample_auc"].value > 0.7


def test_without_training_rows_held_out_rows_take_their_place(three):
    _, held_out, samples, columns = three
    found = compare_tables(None, held_out, samples, columns, target="size")
    assert "copies" not in found.figures
    assert not any("real" in figure.details for figure in found.figures.values())
    assert "copies" in found.left_out[0]
    assert found.figures["efficacy"].unit == "R2"


def test_a_target_that_is_no_column_is_answered_with_the_nearest(three):
    training, held_out, samples, columns = three
    call = (compare_tables, training, held_out, samples, columns)
    refuses(UsageError, ["'sides'", "did you mean 'side'?"], *call, target="sides")
    refuses(UsageError, ["'zzz'", "give one of 'size', 'count'"], *call, target="zzz")


def test_associations_by_hand():
    rows = columns_of([0, 0, 1], [0, 0, 1], [1, 1, 5], [1, 1, 5])
    both = [CITY, Column("c2", "category", "str", levels=("x", "y")), A]
    assert associations(rows, both) == pytest.approx(np.ones((3, 3)))
    rows = columns_of([0, 0, 1], [0, 1, 5], [1, 0, 1], [1, 1, 5])
    assert associations(rows, both)[0, 1:] == pytest.approx([0, 0])
    assert math.isnan(associations(columns_of([0, 1], [0, 2], [0, 3]), [CITY, A])[0, 1])


# -------------------------------------------------------------------------------------------------
# pictures


@pytest.mark.parametrize("gone", [False, True])
def test_the_page_shows_every_column_the_worst_pairs_and_associations(three, gone):
    training, _, samples, columns = three
    made = samples.copy()
    if gone:
        made[:] = NAN
    figure = page(training, made, columns, "title")
    marginals, pairs, matrices = figure.subfigs
    titles = [axes.get_title(loc="left") for axes in marginals.axes if axes.axison]
    assert sorted(title.split()[0] for title in titles) == ["count", "day", "side", "size"]
    errors = [float(title.split()[-1]) for title in titles]
    assert errors == sorted(errors, reverse=True)
    assert [axes.get_title(loc="left") for axes in pairs.axes][1::2] == ["samples"] * 4
    assert [axes.get_title(loc="left") for axes in matrices.axes][:3] == [
        "data", "samples", "samples - data",
    ]  # fmt: skip
    figure.canvas.draw()


def test_pages_of_one_column_of_many_and_of_no_cells():
    rng = np.random.default_rng(0)
    one = page(rng.normal(size=(30, 1)), rng.normal(size=(30, 1)), [A])
    assert len(one.subfigs) == 1
    many = [Column(f"column number {i}", "real", "float64") for i in range(30)]
    figure = page(*rng.normal(size=(2, 30, 30)), many)
    assert sum(axes.axison for axes in figure.subfigs[0].axes) == 24
    assert "6 more columns" in figure.subfigs[0].texts[0].get_text()
    assert cut("n" * 40) == "n" * 15 + "…"


# -------------------------------------------------------------------------------------------------
# runs


@pytest.fixture(scope="module")
def run():
    numbers = mixed(300)[["size"]].assign(twice=lambda t: 2 * t["size"], flag=[0, 1] * 150)
    settings = aevb.Config(
        hidden=(8,), latent_dim=2, epochs=3, threads=1, validation="0.3", likelihood="gaussian"
    )
    return aevb.fit(numbers, settings), numbers


def test_a_run_on_a_table_is_compared_and_one_on_pictures_is_not(run):
    trained, numbers = run
    measured = report.evaluate(trained, numbers[:100], samples=5, target="twice")
    assert measured.table is not None
    assert [column.name for column in measured.table.columns] == ["size", "twice", "flag"]
    assert {"shape_error", "efficacy", "two_sample_auc"} <= set(measured.figures)
    assert "can be told from data, by two_sample_auc" in report.verdict(measured)
    refuses(UsageError, ["'twise'", "'twice'"], report.evaluate, trained, numbers, target="twise")
    pictures = aevb.fit("digits", aevb.Config(hidden=(4,), latent_dim=2, epochs=1, threads=1))
    refuses(UsageError, ["and digits is none"], report.evaluate, pictures, "digits", target="x")
    assert table_report.compare_run(pictures, "digits") is None
    assert table_report.compare_run(trained, numbers[:10]) is None


def test_rules_of_the_training_rows_are_found_and_named(run):
    trained, numbers = run

    found = table_report.compare_run(trained, numbers[:100], numbers)
    assert (len(found.real), len(found.made)) == (300, 300)  # for the picture
    assert found.figures["broken_rules"].details["real"] == 0
    (rule,) = found.worst["broken_rules"]
    assert rule in ("twice = 2 * size", "size = 0.5 * twice")
    assert found.worst["broken_rules"][rule] == found.figures["broken_rules"].value > 0.5


def test_samples_are_judged_as_a_person_gets_them(run):
    trained, _ = run
    made = table_report.sampled_codes(trained, 50, seed=4)
    frame = trained.sample(50, seed=4)
    assert (made == trained.schema.table.encode(frame, "the samples")).all()
    assert set(made[:, 2]) <= {0, 1}


def test_arrays_have_columns_too():
    rows = np.random.default_rng(0).integers(0, 30, (200, 2))
    settings = aevb.Config(hidden=(4,), latent_dim=1, epochs=1, threads=1, kind="table")
    trained = aevb.fit(rows, settings)
    assert [(c.name, c.kind) for c in table_report.columns_of(trained)] == [
        ("column_1", "integer"), ("column_2", "integer"),
    ]  # fmt: skip
    found = table_report.compare_run(trained, rows)
    assert found.figures["not_whole"].value == 0


def test_the_verdict_uses_what_was_measured():
    near, far = Figure(0.51, 0.02, "AUC"), Figure(0.7, 0.02, "AUC")
    assert report.verdict(report.Evaluation(9, figures={"two_sample_auc": near})).startswith(
        "cannot be told from data by these 9 rows: two_sample_auc 0.51"
    )
    assert report.verdict(report.Evaluation(9, figures={"two_sample_auc": far})) == (
        "can be told from data, by two_sample_auc 0.70, where chance is 0.5"
    )
    assert report.verdict(report.Evaluation(9)) == ""


def test_the_command_prints_figures_beside_those_of_real_rows(run, tmp_path, monkeypatch):
    trained, numbers = run
    numbers.to_csv(tmp_path / "t.csv", index=False)
    aevb.save(trained, tmp_path / "run")
    line = f"evaluate '{tmp_path}/run' '{tmp_path}/t.csv' --samples 5 --rows 40"
    found = json.loads(done(f"{line} --target flag --json"))
    assert found["efficacy"]["unit"] == "AUC"
    assert set(found["worst"]["shape_error"]) == {"size", "twice", "flag"}
    assert found["table_picture"].endswith("table.png")
    monkeypatch.setattr("aevb.commands.evaluate._draw", lambda *_: {})
    assert "worst      shape_error: " in done(line)
    assert (tmp_path / "run/pictures/table.png").read_bytes()[1:4] == b"PNG"
