"""Findings: each on both sides of its edge, under its fixed name, in order."""

import math
import re

import pytest

from aevb.evaluation.diagnosis import Facts, Watch, diagnose, facts_of_record

GOOD = Facts(
    bound=-100.0,
    bound_error=0.5,
    kl=5.0,
    active_units=2,
    latent_dim=2,
    baseline=-150.0,
    margin_error=0.5,
    training_bound=-99.0,
    training_error=0.5,
    noise=(0.3, 0.8),
    unreliable=0.0,
)
ORDER = [
    "not_a_generative_model",
    "posterior_collapse",
    "worse_than_baseline",
    "vanishing_variance",
    "exploding_variance",
    "overfitting",
    "unreliable_log_likelihood",
    "information_ceiling",
]


def names(facts):
    return [finding.name for finding in diagnose(facts)]


def changed(**facts):
    return names(GOOD._replace(**facts))


def test_nothing_is_wrong_with_a_good_model():
    assert diagnose(GOOD) == []


def test_what_is_not_known_is_not_wrong():
    assert diagnose(Facts(bound=-100.0, bound_error=0.5, kl=5.0)) == []


# (what is changed in a good model, the finding that appears or None). Numbers are exact in binary
# where edges are met.
EDGES = {
    "kl at the edge": ({"kl": 0.1}, None),
    "kl below": ({"kl": math.nextafter(0.1, 0)}, "posterior_collapse"),
    "kl below, one unit active": ({"kl": 0.05, "active_units": 1}, "posterior_collapse"),
    "kl below, units not known": ({"kl": 0.05, "active_units": None}, "posterior_collapse"),
    "no unit active": ({"active_units": 0, "kl": 0.5}, "posterior_collapse"),
    "no unit active, KL at the edge": ({"active_units": 0, "kl": 1.0}, None),
    "no unit active among codes that carry 446 nats": (
        {"active_units": 0, "kl": 446.0, "rows": 1000},
        None,
    ),
    "no unit active, of too few rows": ({"active_units": 0, "kl": 0.5, "rows": 19}, None),
    "no unit active, of enough rows": (
        {"active_units": 0, "kl": 0.5, "rows": 20},
        "posterior_collapse",
    ),
    "kl below, one row": ({"active_units": 0, "kl": 0.05, "rows": 1}, "posterior_collapse"),
    "information at the edge": (
        {"information": 0.9 * math.log(20), "rows": 20},
        "information_ceiling",
    ),
    "information below": ({"information": 0.9 * math.log(20) - 1e-9, "rows": 20}, None),
    "information, rows not known": ({"information": 50.0, "rows": None}, None),
    "one unit active": ({"active_units": 1}, None),
    "units not known": ({"active_units": None}, None),
    "bound equal to the baseline": ({"baseline": -100.0}, None),
    "below by less than three errors": ({"baseline": -98.5625, "margin_error": 0.5}, None),
    "below by three errors": ({"baseline": -98.5, "margin_error": 0.5}, "worse_than_baseline"),
    "below by no more than a small KL": (
        {"baseline": -99.75, "kl": 0.25, "margin_error": 0.01},
        None,
    ),
    "below by more than a small KL": (
        {"baseline": -99.5, "kl": 0.25, "margin_error": 0.01},
        "worse_than_baseline",
    ),
    "below by less than a large KL": (
        {"baseline": -99.5, "kl": 0.75, "margin_error": 0.01},
        "worse_than_baseline",
    ),
    "above by three errors": ({"baseline": -101.5, "margin_error": 0.5}, None),
    "below, error not known": ({"baseline": -99.9375, "margin_error": None}, "worse_than_baseline"),
    "an autoencoder": ({"fidelity": -90.0}, "not_a_generative_model"),
    "an autoencoder, below the baseline": (
        {"fidelity": -90.0, "baseline": -50.0},
        "not_a_generative_model",
    ),
    "noise at the lower edge": ({"noise": (1e-3, 0.5)}, None),
    "noise below": ({"noise": (0.9e-3, 0.5)}, "vanishing_variance"),
    "noise at the upper edge": ({"noise": (0.5, 2.0)}, None),
    "noise above": ({"noise": (0.5, 2.0625)}, "exploding_variance"),
    # a gap of more than three errors, 5 % of the bound and half a nat
    "gap of all three": ({"training_bound": -94.0}, "overfitting"),
    "gap of 5 % at the edge": ({"training_bound": -95.0}, None),
    "gap within three errors": ({"training_bound": -94.0, "training_error": 2.0}, None),
    "gap of three errors": (
        {"training_bound": -92.5, "bound_error": 1.5, "training_error": 2.0},
        None,
    ),
    "gap above three errors": (
        {"training_bound": -92.4375, "bound_error": 1.5, "training_error": 2.0},
        "overfitting",
    ),
    "gap of half a nat": (
        {
            "bound": -2.0,
            "training_bound": -1.5,
            "bound_error": 0.0,
            "training_error": 0.0,
            "baseline": -9.0,
        },
        None,
    ),
    "gap above half a nat": (
        {
            "bound": -2.0,
            "training_bound": -1.4375,
            "bound_error": 0.0,
            "training_error": 0.0,
            "baseline": -9.0,
        },
        "overfitting",
    ),
    "training rows fit worse": ({"training_bound": -200.0}, None),
    "positive bound, gap": ({"bound": 100.0, "training_bound": 106.0}, "overfitting"),
    "positive bound, no gap": ({"bound": 100.0, "training_bound": 104.0}, None),
    "unreliable at the edge": ({"unreliable": 0.05}, None),
    "unreliable above": ({"unreliable": 0.0625}, "unreliable_log_likelihood"),
}


@pytest.mark.parametrize("case", EDGES)
def test_edges(case):
    change, expected = EDGES[case]
    assert changed(**change) == ([] if expected is None else [expected])


def test_every_finding_has_a_case_on_both_sides():
    assert {expected for _, expected in EDGES.values()} == {*ORDER, None}


def everything():
    return GOOD._replace(
        kl=0.01,
        active_units=0,
        baseline=-50.0,
        training_bound=-60.0,
        noise=(1e-5, 10.0),
        unreliable=0.5,
    )._replace(information=3.0, rows=21)


def test_several_at_once_come_in_order_worst_first():
    assert names(everything()) == ORDER[1:]
    # Of an autoencoder, a bad bound says nothing more.
    assert names(everything()._replace(fidelity=-40.0)) == [
        name for name in ORDER if name != "worse_than_baseline"
    ]


def test_any_two_are_independent_of_the_others():
    assert changed(unreliable=0.5, baseline=-50.0) == [
        "worse_than_baseline",
        "unreliable_log_likelihood",
    ]
    assert changed(training_bound=-60.0, noise=(1e-5, 0.5)) == ["vanishing_variance", "overfitting"]


def test_a_bound_that_is_not_a_number_is_no_praise():
    """Comparisons with NaN are false. None may read a NaN as health, and none may raise."""
    assert "posterior_collapse" in changed(kl=math.nan)


def test_messages_say_what_was_seen_and_what_to_do():
    messages = {finding.name: finding.message for finding in diagnose(everything())}
    assert "KL 0.010 nats, 0 of 2 latent dimensions active" in messages["posterior_collapse"]
    assert (
        "bound -100.00, columns each by themselves -50.00 nats" in messages["worse_than_baseline"]
    )
    assert "noise 1e-05" in messages["vanishing_variance"]
    assert "noise 10 times" in messages["exploding_variance"]
    assert "-60.00 on training rows, -100.00 on held-out rows" in messages["overfitting"]
    assert "50% of the rows" in messages["unreliable_log_likelihood"]
    assert (
        "3.00 nats, and 21 rows allow no more than log 21 = 3.04" in messages["information_ceiling"]
    )
    one = diagnose(
        Facts(bound=-9.0, bound_error=1.0, kl=0.01, active_units=0, latent_dim=2, rows=1)
    )[0].message
    assert "active" not in one
    for message in messages.values():
        assert re.search(r"\b(Try|Use|Train|Stop) ", message), message
    (finding,) = diagnose(GOOD._replace(kl=0.01, active_units=None))
    assert "KL 0.010 nats: the decoder ignores z" in finding.message


def test_facts_of_a_record():
    assert facts_of_record({"bound": -3.0, "kl": 1.0}) is None
    record = {
        "bound": -3.0,
        "validation_bound": -4.0,
        "validation_kl": 1.5,
        "validation_standard_error": 0.25,
    }
    assert facts_of_record(record) == Facts(
        bound=-4.0, bound_error=0.25, kl=1.5, training_bound=-3.0
    )
    del record["validation_standard_error"]
    assert facts_of_record(record) == Facts(
        bound=-4.0, bound_error=0.0, kl=1.5, training_bound=-3.0
    )
    assert facts_of_record({**record, "noise": 1e-4}).noise == (1e-4, 1e-4)


def record(epoch, **figures):
    return {
        "epoch": epoch,
        "bound": -3.0,
        "validation_bound": -3.0,
        "validation_kl": 5.0,
        **figures,
    }


# The first epoch told: after a quarter of the epochs and the warm-up, never before the fifth.
@pytest.mark.parametrize(
    ("epochs", "warmup_epochs", "first"),
    [(10, 0, 5), (20, 0, 5), (100, 0, 25), (100, 40, 41), (5, 4.5, 6)],
)
def test_a_watch_waits_and_then_tells_each_finding_once(epochs, warmup_epochs, first):
    watch = Watch(epochs, warmup_epochs)
    told = [
        [f.name for f in watch.new(record(epoch, validation_kl=0.01))] for epoch in range(first + 3)
    ]
    assert told == [[]] * first + [["posterior_collapse"]] + [[]] * 2
    both = watch.new(record(first + 4, validation_kl=0.01, noise=1e-4))
    assert [f.name for f in both] == ["vanishing_variance"]


def test_a_watch_without_validation_rows_says_nothing():
    assert Watch(10, 0).new({"epoch": 9, "bound": -3.0, "kl": 0.0}) == []


def test_a_watch_of_a_good_model_says_nothing():
    assert [Watch(10, 0).new(record(epoch)) for epoch in range(10)] == [[]] * 10
