"""Generated against real rows: answers known in closed form or by counting, and false alarms."""

import math
from statistics import NormalDist

import numpy as np
import pytest
from oracle import FIVE_SIGMA

from aevb.errors import DataError, UsageError
from aevb.evaluation import samples
from aevb.evaluation.bound import Figure
from aevb.evaluation.samples import (
    classifier_two_sample,
    compare,
    energy_distance,
    nearest_training_distance,
    precision_recall_density_coverage,
)


def gaussian(seed, n, d=1, mean=0.0):
    return np.random.default_rng(seed).normal(mean, 1, (n, d))


def is_mean(values, expected):
    """Within five standard errors: fails by chance once in a million for 100 values or more."""
    values = np.asarray(values)
    return abs(values.mean() - expected) <= FIVE_SIGMA * values.std(ddof=1) / math.sqrt(len(values))


# Classifier


def test_classifier_cannot_tell_a_distribution_from_itself():
    """The accuracy over 20 seeds and 2000 test rows, PCA included: 5 sigma, once in 1.7 million."""
    for d in (3, 120):
        values = [
            classifier_two_sample(gaussian(s, 100, d), gaussian(s + 1000, 100, d), s).value
            for s in range(20)
        ]
        assert abs(np.mean(values) - 0.5) < FIVE_SIGMA * 0.5 / math.sqrt(20 * 100)


@pytest.mark.parametrize("shift", [1.0, 2.0])
def test_classifier_nearly_reaches_bayes(shift):
    """The Bayes accuracy is Phi(shift / 2).

    The test allows 5 sigma above it, once in 3 million, and the 0.02 below it that the trees lose.
    """
    got = classifier_two_sample(gaussian(1, 2000), gaussian(2, 2000, mean=shift))
    bayes = NormalDist().cdf(shift / 2)
    assert (
        bayes - 0.02 - FIVE_SIGMA * got.standard_error
        < got.value
        < bayes + FIVE_SIGMA * got.standard_error
    )
    assert got.standard_error == pytest.approx(math.sqrt(got.value * (1 - got.value) / 2000))
    assert got.unit == "accuracy"


def test_classifier_sees_through_principal_components():
    """The means are 10 standard deviations apart in 120 columns.

    An error would be a chance below 1e-20.
    """
    got = classifier_two_sample(gaussian(1, 200, 120), gaussian(2, 200, 120, mean=10.0))
    assert got.value == 1.0
    assert got.standard_error == pytest.approx(
        math.sqrt(2 * 202) / 204 / math.sqrt(200)
    )  # two errors in 204, not 0


def test_classifier_takes_as_many_rows_of_each():
    """With 30 against 2000 rows, guessing the larger side would give 0.99.

    5 sigma of 30 test rows a seed, 20 seeds.
    """
    values = [
        classifier_two_sample(gaussian(s, 30), gaussian(s + 1000, 2000), s).value for s in range(20)
    ]
    assert abs(np.mean(values) - 0.5) < FIVE_SIGMA * 0.5 / math.sqrt(20 * 30)


@pytest.mark.parametrize("n", [20, 30, 45])
@pytest.mark.parametrize("kind", ["shift", "width", "one point in many columns", "many columns"])
def test_classifier_sees_plain_differences_in_few_rows(n, kind):
    """Nearly every row can be told; the mean of five seeds is taken.

    Boosted trees with leaves of 20 rows saw nothing: 0.5.
    """
    d = 256 if "many columns" in kind else 2
    mean = {"shift": 6.0, "many columns": 1.5}.get(kind, 0.0)
    width = {"width": 0.05, "one point in many columns": 0.0}.get(kind, 1.0)
    values = [
        classifier_two_sample(
            gaussian(seed, n, d), mean + width * gaussian(seed + 1000, n, d), seed
        ).value
        for seed in range(5)
    ]
    assert np.mean(values) > (0.75 if kind == "width" else 0.9)


def test_classifier_has_no_bias_in_few_rows():
    """5 sigma of 20 test rows a seed, 60 seeds."""
    values = [
        classifier_two_sample(gaussian(s, 20, 2), gaussian(s + 1000, 20, 2), s).value
        for s in range(60)
    ]
    assert abs(np.mean(values) - 0.5) < FIVE_SIGMA * 0.5 / math.sqrt(60 * 20)


def test_classifier_picks_rows_by_chance():
    """The rows are in order.

    If the first half taught and the second half tested, the test would lie outside what was
    learned.
    """
    real = np.linspace(0, 1, 400)[:, None]
    generated = np.concatenate([real[:200] + 5, real[200:]])  # half of it is impossible
    # Bayes: of the generated rows half are told for sure, real ones too below 0.5; the rest is a
    # coin: 0.75.
    assert abs(classifier_two_sample(real, generated).value - 0.75) < FIVE_SIGMA * 0.5 / math.sqrt(
        400
    )


# Energy distance


def mean_absolute_normal(mean, variance):
    """E|N(mean, variance)|."""
    sd = math.sqrt(variance)
    return sd * math.sqrt(2 / math.pi) * math.exp(-(mean**2) / (2 * variance)) + mean * (
        1 - 2 * NormalDist().cdf(-mean / sd)
    )


@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_energy_distance_is_unbiased(shift):
    """Against the closed form for N(0, 1) and N(shift, 1), 200 times 40 and 25 rows.

    The units are random, and are undone.
    """
    values = []
    for seed in range(200):
        real, made = gaussian(seed, 40), gaussian(seed + 1000, 25, mean=shift)
        values.append(energy_distance(real, made, permutations=1)[0].value * real.std())
    assert is_mean(values, 2 * mean_absolute_normal(shift, 2) - 2 * mean_absolute_normal(0, 2))


def test_energy_distance_against_every_pair():
    real, made = gaussian(1, 22, 3) * [1, 5, 0.1], gaussian(2, 31, 3, mean=0.5)
    a, b = real / real.std(0), made / real.std(0)

    def mean(one, other):
        return np.mean(
            [
                math.dist(x, y)
                for i, x in enumerate(one)
                for j, y in enumerate(other)
                if one is not other or i != j
            ]
        )

    got, _ = energy_distance(real, made)
    assert got.value == pytest.approx(2 * mean(a, b) - mean(a, a) - mean(b, b), rel=1e-9)
    assert got.unit == "standard deviations"


def test_false_alarms_of_the_permutation_test():
    """p <= 0.05 in 5 % of 200 seeds: in 1 to 22 of them, except once in 4,400.

    The sides are unequal, and p has steps of 0.01.
    """
    p = np.array(
        [
            energy_distance(gaussian(s, 30, 2), gaussian(s + 1000, 20, 2), s, 99)[1]
            for s in range(200)
        ]
    )
    assert 1 <= (p <= 0.05).sum() <= 22
    # Uniform on (0, 1]: the mean of 200 lies within 5 sigma, sigma = 1 / sqrt(12 * 200).
    assert abs(p.mean() - 0.505) < FIVE_SIGMA / math.sqrt(12 * 200)


def test_permutation_test_sees_a_shift():
    assert (
        energy_distance(gaussian(1, 100), gaussian(2, 100, mean=1.0), permutations=99)[1] == 0.01
    )  # 7 sigma apart


@pytest.mark.parametrize("shift", [0.0, 1.0])
def test_error_bar_of_the_energy_covers(shift):
    """95 % intervals, 200 times: fewer than 176 of them cover only once in 38,000.

    Without a shift they are too wide.
    """
    truth = 2 * mean_absolute_normal(shift, 2) - 2 * mean_absolute_normal(0, 2)
    covered, widths = 0, []
    for seed in range(200):
        real = gaussian(seed, 100)
        got, _ = energy_distance(real, gaussian(seed + 1000, 100, mean=shift), seed, 50)
        covered += abs(got.value * real.std() - truth) < 1.96 * got.standard_error * real.std()
        widths.append(got.standard_error)
    assert covered >= 176
    assert np.mean(widths) < (0.2 if shift else 0.035)  # as simulated: 0.15 and 0.025


def test_energy_takes_a_random_thousand_rows():
    """The rows are sorted, and the first thousand lie far off.

    The mean of a random subset is that of all rows, within 5 sigma.
    """
    real, made = np.sort(gaussian(1, 3000), axis=0), np.sort(gaussian(2, 1500), axis=0)
    got, _ = energy_distance(real, made, permutations=1)
    assert abs(got.value) < FIVE_SIGMA * 0.005  # the first thousand rows of each would be 0.5
    assert energy_distance(real, made, permutations=1)[0] == got
    assert energy_distance(real, made, seed=1, permutations=1)[0].value != got.value


# Precision, recall, density, coverage


def naive(real, made, k):
    real, made = (real - real.mean(0)) / real.std(0), (made - real.mean(0)) / real.std(0)

    def radius(rows, i):
        return sorted(math.dist(rows[i], rows[j]) for j in range(len(rows)) if j != i)[k - 1]

    of_real, of_made = ([radius(rows, i) for i in range(len(rows))] for rows in (real, made))
    in_real = [[math.dist(y, x) <= r for x, r in zip(real, of_real, strict=True)] for y in made]
    in_made = [[math.dist(x, y) <= r for y, r in zip(made, of_made, strict=True)] for x in real]
    return {
        "precision": np.mean([any(row) for row in in_real]),
        "recall": np.mean([any(row) for row in in_made]),
        "density": np.mean([sum(row) / k for row in in_real]),
        "coverage": np.mean([any(column) for column in zip(*in_real, strict=True)]),
    }


@pytest.mark.parametrize("k", [1, 3, 19])
def test_against_a_naive_count(k, monkeypatch):
    real, made = gaussian(1, 45, 3) * [1, 10, 0.1], gaussian(2, 33, 3, mean=0.3) * [1, 10, 0.1]
    expected = naive(real, made, k)
    assert {
        name: f.value for name, f in precision_recall_density_coverage(real, made, k).items()
    } == pytest.approx(expected)
    monkeypatch.setattr(samples, "BLOCK", 7)
    assert {
        name: f.value for name, f in precision_recall_density_coverage(real, made, k).items()
    } == pytest.approx(expected)


def test_identical_rows():
    rows = gaussian(1, 50, 2)
    got = precision_recall_density_coverage(rows, rows[::-1], k=5)
    assert [got[name].value for name in ("precision", "recall", "coverage")] == [1, 1, 1]
    assert got["density"].value == pytest.approx(6 / 5)  # itself, and k others, the last on the rim
    assert [f.unit for f in got.values()] == ["fraction"] * 4


def test_far_apart():
    got = precision_recall_density_coverage(gaussian(1, 50, 2), gaussian(2, 50, 2, mean=100.0))
    assert [f.value for f in got.values()] == [0, 0, 0, 0]
    assert got["precision"].standard_error > 0


@pytest.mark.parametrize(
    ("at", "density", "coverage", "recall"), [(5.5, 2, 2 / 20, 0), (5.0, 3, 3 / 20, 1 / 20)]
)
def test_counted_by_hand(at, density, coverage, recall):
    """Real rows at 0, 1, ... 19 and k = 1: balls of radius 1.

    The generated rows are 20 times the same point: balls of radius 0.
    """
    got = precision_recall_density_coverage(np.arange(20.0)[:, None], np.full((20, 1), at), k=1)
    assert {name: f.value for name, f in got.items()} == pytest.approx(
        {"precision": 1, "recall": recall, "density": density, "coverage": coverage}
    )


def test_same_distribution():
    """Over 100 sets: density has mean 1, coverage 1 - (N-1)...(N-k) / ((2N-1)...(2N-k)).

    This is so because the ranks are exchangeable.
    """
    n, k = 60, 3
    got = [
        precision_recall_density_coverage(gaussian(s, n), gaussian(s + 1000, n), k)
        for s in range(100)
    ]
    assert is_mean([g["density"].value for g in got], 1)
    expected = 1 - math.prod((n - i) / (2 * n - i) for i in range(1, k + 1))
    assert is_mean([g["coverage"].value for g in got], expected)


def test_dropped_mode_lowers_recall_and_coverage_alone():
    """Two modes are 20 apart, and one is generated: 200 of 400 real rows are out of reach.

    5 sigma of a precision near 0.99 is 0.035.
    """
    real = np.concatenate([gaussian(1, 200, 2, -10), gaussian(2, 200, 2, 10)])
    got = {
        name: f.value
        for name, f in precision_recall_density_coverage(real, gaussian(3, 400, 2, 10)).items()
    }
    assert got["precision"] > 0.95
    assert 0.45 < got["recall"] <= 0.5
    assert 0.45 < got["coverage"] <= 0.5
    assert got["density"] > 0.8


def test_invented_mode_lowers_precision_alone():
    made = np.concatenate([gaussian(1, 200, 2, -10), gaussian(2, 200, 2, 10)])
    got = {
        name: f.value
        for name, f in precision_recall_density_coverage(gaussian(3, 400, 2, 10), made).items()
    }
    assert 0.45 < got["precision"] <= 0.5
    assert got["recall"] > 0.95
    assert (
        got["coverage"] > 0.8
    )  # half as many rows there: 1 - (2/3)**5 = 0.87, less 5 sigma of 0.017 would be 0.78


# Copies of training rows


def test_fresh_draws_are_not_memorised():
    """The mean is 0.01 over 200 sets of 199 held-out rows.

    Their 1st percentile is their second smallest distance.
    """
    got = [
        nearest_training_distance(gaussian(s, 100), gaussian(s + 1000, 50), gaussian(s + 2000, 199))
        for s in range(200)
    ]
    assert is_mean([g["memorised"].value for g in got], 0.01)
    scatter = np.std([g["memorised"].value for g in got])
    assert (
        scatter < np.mean([g["memorised"].standard_error for g in got]) < 2 * scatter
    )  # guarded, so on the large side
    assert is_mean(
        [g["distance_to_training"].value - g["held_out_distance_to_training"].value for g in got], 0
    )


def test_copies_are_memorised():
    """Copies in two columns, with noise far below the gaps between rows."""
    training, held_out = gaussian(1, 300, 2), gaussian(2, 300, 2)
    copies = training[:100] + 1e-6 * gaussian(3, 100, 2)
    got = nearest_training_distance(copies, training, held_out)
    assert got["memorised"].value == 1
    assert 0 < got["distance_to_training"].value < 1e-5 < got["held_out_distance_to_training"].value
    mixed = nearest_training_distance(
        np.concatenate([copies, gaussian(4, 100, 2)]), training, held_out
    )
    assert 0.5 <= mixed["memorised"].value < 0.6


def test_distances_by_hand():
    """Training rows at 0, 1, ... 19. The unit is their deviation, sqrt((20**2 - 1) / 12)."""
    training = np.arange(20.0)[:, None]
    got = nearest_training_distance(np.tile(training[::4] + 0.25, (4, 1)), training, training - 0.5)
    unit = math.sqrt(399 / 12)
    assert got["distance_to_training"].value == pytest.approx(0.25 / unit)
    assert got["held_out_distance_to_training"].value == pytest.approx(0.5 / unit)
    assert got["distance_to_training"].unit == "standard deviations"
    assert got["memorised"].value == 1
    # Two errors in 24 at least, for 20 generated rows, and the scatter of 1 % of 20 held-out ones.
    assert got["memorised"].standard_error == pytest.approx(
        math.sqrt(2 * 22 / 24**2 / 20 + 0.01 * 0.99 / 20)
    )
    assert (
        nearest_training_distance(training - 0.5, training, training + 0.25)["memorised"].value == 0
    )


def test_error_of_a_mean_distance_covers():
    """The training rows are fixed.

    95 % intervals cover the mean of 20,000 draws 176 to 199 times in 200, except once in 16,000.
    """
    training, held_out = gaussian(1, 30), gaussian(2, 20)
    truth = nearest_training_distance(gaussian(3, 20_000), training, held_out)[
        "distance_to_training"
    ].value
    got = [
        nearest_training_distance(gaussian(s, 300), training, held_out)["distance_to_training"]
        for s in range(10, 210)
    ]
    covered = sum(abs(g.value - truth) < 1.96 * g.standard_error for g in got)
    assert 176 <= covered <= 199


# All of them


def test_compare_holds_every_measure():
    real, made, training = gaussian(1, 70, 3), gaussian(2, 60, 3, mean=0.2), gaussian(3, 200, 3)
    got = compare(real, made, training, seed=4)
    energy, p = energy_distance(real[:60], made, seed=4)
    assert [bool(figure.details) for figure in got.values()] == [False] * 3 + [True] * 4 + [
        False
    ] * 3
    assert {name: figure._replace(details={}) for name, figure in got.items()} == {
        "classifier_accuracy": classifier_two_sample(real[:60], made, seed=4),
        "energy_distance": energy,
        "energy_p_value": Figure(p, math.sqrt(p * (1 - p) / 200), "probability"),
        **precision_recall_density_coverage(real[:60], made),
        **nearest_training_distance(made, training, real[:60]),
    }
    assert list(got)[-3:] == ["distance_to_training", "held_out_distance_to_training", "memorised"]
    assert list(compare(real, made, None)) == list(got)[:-3]
    assert (
        compare(real, np.concatenate([made, gaussian(5, 40, 3)])[:70], training)["precision"]
        != got["precision"]
    )


def test_training_rows_beside_generated_ones_say_what_can_be_hoped_for():
    """In 200 columns, even real rows leave the balls around real rows.

    These are shares of 300, so that 0.15 is five standard errors.
    """
    real, made, training = (gaussian(seed, 300, 200) for seed in (1, 2, 3))
    got = compare(real, made, training)
    for name, figure in precision_recall_density_coverage(real, training).items():
        # As many training rows as generated ones: all of them, in another order.
        assert got[name].details["training_rows_score"] == pytest.approx(figure.value)
    for name in ("precision", "recall"):
        assert got[name].value < 0.9
        assert got[name].details["training_rows_score"] == pytest.approx(got[name].value, abs=0.15)
    off = compare(real, made + 3, training)["precision"]
    assert off.value < 0.1 < off.details["training_rows_score"]
    assert off.details == got["precision"].details
    many = compare(real, made, gaussian(4, 3000, 200), seed=1)
    assert many["recall"].details["training_rows_score"] == pytest.approx(
        many["recall"].value, abs=0.15
    )
    assert compare(real, made, training[:299])["precision"].details == {}


def test_columns_may_be_in_any_unit():
    real, made, training = gaussian(1, 100, 3), gaussian(2, 100, 3, mean=0.3), gaussian(3, 150, 3)
    scale, shift = np.array([1000.0, 0.001, 3.0]), np.array([-50.0, 7.0, 0.0])
    moved = compare(real * scale + shift, made * scale + shift, training * scale + shift)
    for name, figure in compare(real, made, training).items():
        assert moved[name].value == pytest.approx(figure.value, rel=1e-6), name
        assert moved[name].standard_error == pytest.approx(figure.standard_error, rel=1e-6), name


def test_a_nearly_constant_pixel_counts_as_little_as_it_looks():
    """Rows at 0, 1, ... 19, and a pixel that is 1e-6 once.

    Both have one unit, the root of the mean of their variances.
    """
    training = np.column_stack([np.arange(20.0), [1e-6] + 19 * [0.0]])
    made, held_out = training + np.array([0, 2]), training + np.array([0.25, 0])
    unit = math.sqrt(399 / 12 / 2)
    got = compare(held_out, made, training, one_unit=True)
    assert got["distance_to_training"].value == pytest.approx(2 / unit, rel=1e-5)
    assert got["held_out_distance_to_training"].value == pytest.approx(0.25 / unit, rel=1e-5)
    assert got["precision"].value == 1
    # In units of its own, that pixel is all there is: 2 is 9.2 million standard deviations.
    apart = compare(held_out, made, training)
    assert apart["distance_to_training"].value == pytest.approx(
        2 / (1e-6 * math.sqrt(19 / 400)), rel=1e-5
    )
    assert apart["precision"].value == 0


def test_one_unit_is_that_of_the_columns_where_they_are_alike():
    """Columns of one variance are divided by the same number either way."""
    real, made = gaussian(1, 60, 3), gaussian(2, 60, 3)
    real = (real - real.mean(0)) / real.std(0)
    for function in (
        classifier_two_sample,
        lambda *sides, **unit: energy_distance(*sides, **unit)[0],
    ):
        assert function(real, made, one_unit=True).value == pytest.approx(
            function(real, made).value, rel=1e-9
        )
    for name, figure in precision_recall_density_coverage(real, made, one_unit=True).items():
        assert figure.value == pytest.approx(
            precision_recall_density_coverage(real, made)[name].value
        )
    same = np.ones((40, 3))
    assert compare(same, same, same, one_unit=True)["precision"].value == 1
    assert energy_distance(real * 100, made * 100, one_unit=True)[0].value == pytest.approx(
        energy_distance(real, made, one_unit=True)[0].value
    )


def test_constant_columns():
    """By rounding, 0.1 has a standard deviation of 1e-17.

    If both sides are equal it changes nothing, else it counts as it is.
    """
    real, made = gaussian(1, 100, 2), gaussian(2, 100, 2)

    def with_column(rows, value):
        return np.column_stack([rows, np.full(len(rows), value)])

    plain = compare(real, made, real)
    got = compare(with_column(real, 0.1), with_column(made, 0.1), with_column(real, 0.1))
    for name in plain:
        assert got[name].value == pytest.approx(plain[name].value, rel=1e-9), name
    off = compare(with_column(real, 0.1), with_column(made, 30.1), with_column(real, 0.1))
    assert off["distance_to_training"].value == pytest.approx(30, abs=0.1)
    assert off["precision"].value == 0
    assert off["classifier_accuracy"].value == 1


@pytest.mark.parametrize("columns", [2, 120])
def test_rows_all_the_same(columns):
    got = compare(np.ones((40, columns)), np.ones((40, columns)), np.ones((40, columns)))
    values = {name: f.value for name, f in got.items()}
    assert values["energy_p_value"] == values["precision"] == values["coverage"] == 1
    assert values["classifier_accuracy"] == 0.5
    assert values["energy_distance"] == values["memorised"] == 0


def test_duplicates_tie():
    """The rows have few values, so that many splits tie with the observed one.

    They count against it, in whatever order the sums are taken.
    """
    real = np.tile([[0.1, 0.2], [0.3, 0.7]], (20, 1))
    assert energy_distance(real, real[::-1], permutations=50)[1] > 0.9
    for outlier in (0.1, 0.7, 1.3):  # one row in 40 is different: every split has the same energy
        same, one = np.zeros((20, 3)), np.zeros((20, 3))
        one[0] = outlier, 0.3, 0.9
        assert energy_distance(one, same)[1] == 1
    got = precision_recall_density_coverage(real, real)
    assert got["precision"].value == got["recall"].value == got["coverage"].value == 1


def test_depends_on_its_arguments_alone():
    real, made, training = gaussian(1, 60, 101), gaussian(2, 60, 101), gaussian(3, 60, 101)
    copies = [rows.copy() for rows in (real, made, training)]
    state = np.random.get_state()[1].copy()
    first = compare(real, made, training, seed=1)
    assert np.array_equal(np.random.get_state()[1], state)
    np.random.seed(5)
    assert compare(real, made, training, seed=1) == first
    assert all(np.array_equal(a, b) for a, b in zip(copies, (real, made, training), strict=True))
    assert energy_distance(real, made, seed=2)[1] != first["energy_p_value"].value
    assert len({classifier_two_sample(real, made, seed).value for seed in range(5)}) > 1


def test_any_numeric_type():
    rng = np.random.default_rng(0)
    real, made = (rng.integers(0, 2, (50, 4)) for _ in range(2))
    assert compare(real.astype(bool), made.astype(np.uint8)) == compare(
        real.astype(np.float32), made.astype(np.float64)
    )


# Bad input


def with_bad(value):
    rows = gaussian(2, 30, 2)
    rows[3, 1] = value
    return rows


@pytest.mark.parametrize(
    "function", [compare, classifier_two_sample, energy_distance, precision_recall_density_coverage]
)
@pytest.mark.parametrize(
    ("made", "message"),
    [
        (gaussian(2, 19, 2), "needs at least 20 rows a side; got 30 real and 19 generated"),
        (gaussian(2, 30, 3), "same number of columns; got 2 real, 3 generated"),
        (with_bad(np.nan), "generated rows must be finite; got NaN or infinity in 1 of 30"),
        (with_bad(np.inf), "must be finite"),
        (np.zeros((30, 2, 2)), r"shape \(N, D\)"),
        (np.zeros(30), r"shape \(N, D\)"),
    ],
)
def test_rows_that_cannot_be_compared(function, made, message):
    with pytest.raises(DataError, match=message):
        function(gaussian(1, 30, 2), made)


def test_training_rows_that_cannot_be_compared():
    good = gaussian(1, 30, 2)
    with pytest.raises(
        DataError, match="at least 20 rows a side; got 30 generated and 5 training and 30 held_out"
    ):
        nearest_training_distance(good, good[:5], good)
    with pytest.raises(DataError, match="held_out rows must be finite"):
        nearest_training_distance(good, good, with_bad(-np.inf))
    with pytest.raises(DataError, match="same number of columns"):
        compare(good, good, good[:, :1])


def test_numbers_out_of_range():
    good = gaussian(1, 30, 2)
    for k in (0, 30):
        with pytest.raises(UsageError, match="k must lie within 1 and 29"):
            precision_recall_density_coverage(good, good, k)
    with pytest.raises(UsageError, match="permutations must be at least 1; got 0"):
        energy_distance(good, good, permutations=0)


def test_twenty_rows_are_enough():
    figures = compare(gaussian(1, 20, 2), gaussian(2, 20, 2), gaussian(3, 20, 2))
    assert all(math.isfinite(f.value) and math.isfinite(f.standard_error) for f in figures.values())
