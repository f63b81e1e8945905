"""The labels of the benchmark of column kinds are well formed, and it counts as the hand does."""

from pathlib import Path

import pytest

from aevb.errors import DataError, DivergedError

ROOT = Path(__file__).parents[1]


@pytest.fixture
def column_kinds(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    import column_kinds as module

    return module


def test_the_two_sets_of_labels_share_no_table(column_kinds):
    tables = []
    for path in column_kinds.LABELS.values():
        labels = column_kinds.read_labels(path)
        assert len({label[:3] for label in labels}) == len(labels) == 200
        assert all(label.why and len(set(label.accept)) == len(label.accept) for label in labels)
        tables.append({label[:2] for label in labels})
    assert not tables[0] & tables[1]


def test_shares_and_misses_are_those_counted_by_hand(column_kinds):
    labels = [
        column_kinds.Label("p", "t", "a", ("real",), "a size"),
        column_kinds.Label("p", "t", "b", ("boolean", "integer"), "a flag"),
        column_kinds.Label("p", "t", "c", ("category",), "a name"),
        column_kinds.Label("p", "u", "d", ("date",), "a day"),
        column_kinds.Label("q", "v", "e", ("real",), "a table that is not there"),
    ]
    kinds = {"a": ("real", ""), "b": ("integer", ""), "c": ("real", "all cells are numbers")}
    answers = {
        ("p", "t"): column_kinds.Answer(kinds),
        ("p", "u"): column_kinds.Answer(refusal="u.csv is empty."),
    }
    found = column_kinds.compare(labels, answers, answers)
    assert (found["columns"], found["absent"], found["not_loaded"]) == (4, 1, 1)
    assert (found["aevb"]["accepted"], found["aevb"]["best"], found["aevb"]["of"]) == (2, 1, 4)
    assert [(miss["column"], miss["kind"]) for miss in found["misses"]] == [
        ("p/t/c", "real"),
        ("p/u/d", "refused"),
    ]
    assert {"best": "category", "got": "real", "columns": 1} in found["wrong"]
    # No success in n trials: the end is z^2 / (n + z^2).
    assert column_kinds.interval(0, 200) == [0, round(1.96**2 / (200 + 1.96**2), 3)]
    counted = column_kinds.survey(answers)
    assert (counted["tables"], counted["loaded"], counted["refused"]) == (2, 1, 1)


@pytest.mark.parametrize(
    ("error", "refusal"),
    [
        (DataError("/there/t.csv is empty."), "t.csv is empty."),
        (DivergedError("the loss is not finite"), ""),
        (KeyError("x"), ""),
    ],
)
def test_only_a_sentence_for_the_user_is_a_refusal(column_kinds, error, refusal):
    def judge(path):
        raise error

    found = column_kinds.answer(judge, Path("/there/t.csv"))
    assert found.refusal == refusal
    assert bool(found.crash) == (not refusal)
    assert not found.kinds
