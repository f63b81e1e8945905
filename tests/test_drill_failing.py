"""A failed check has hints with its numbers, until the file changes."""

import json

import pytest

from aevb.drill import failing, grading, hints, program, rubric, session, state, workspace
from aevb.drill.grading import DrillFinding, Grade
from aevb.drill.hint_texts import HINTS
from aevb.drill.workspace import Work
from aevb.errors import UsageError

RIGHT = Grade("right", "vae.py", "d", [DrillFinding("gradient", "right", "dz/dmu = 1")])
SEEN = {"error": 0.36, "kl": 1.24, "low": -2.25, "high": 2.19}


def six(failed, message="saw 1.0", **more):
    checks = [
        {"number": n, "name": f"name {n}", "passed": n not in failed, "message": message}
        for n in range(1, 7)
    ]
    return {
        "file": "vae.py",
        "digest": "d",
        "checks": checks,
        "losses": [4.19, 3.0],
        "seen": SEEN,
    } | more


def names(run, grade=RIGHT):
    return [finding.class_ for finding in failing.findings(run, grade)]


def test_each_failed_check_is_a_finding_the_first_to_mend_first():
    for number in range(1, 7):
        assert names(six({number})) == [f"check-{number}"]
    assert names(six(range(1, 7))) == [
        "check-3",
        "check-1",
        "check-6",
        "check-2",
        "check-5",
        "check-4",
    ]
    assert names(six({4, 5}, "there is no trained model: RuntimeError: sizes")) == [
        "training-stopped"
    ]
    assert names(
        {"file": "vae.py", "digest": "d", "checks": [], "error": "vae.py raises EOFError"}
    ) == ["six-error"]


def test_a_check_of_another_file_or_of_half_a_file_is_none():
    assert names(None) == names(six(())) == []
    assert names(six({4}, digest="older")) == names(six({4}, file="vae_mock.ipynb")) == []
    assert names(six({4}), Grade("unfinished", "vae.py", "d")) == []


@pytest.mark.parametrize(
    ("change", "part"),
    [
        ({"losses": [4.0, float("nan")]}, "no number"),
        ({"losses": [4.0, 3.99]}, "hardly moved"),
        ({"seen": SEEN | {"kl": 0.01, "error": 2.6}}, "z carries nothing"),
        ({"seen": SEEN | {"kl": 0.01, "error": 0.0}}, "around z"),
        ({"seen": SEEN | {"kl": 9.0, "error": 0.05}}, "nothing holds the codes"),
        ({"seen": SEEN | {"low": 0.0, "high": 1.0}}, "something limits it"),
        ({"seen": SEEN}, "no number stands out"),
        ({"seen": {}}, "in this order"),
        ({"seen": {}, "losses": None}, "in this order"),
    ],
)
def test_numbers_say_the_cause(change, part):
    told = failing.diagnosis(six({4}) | change)
    assert part in told
    assert "(1.24)" in told or not change.get("seen", SEEN) or "losses" in change


def test_checks_have_four_hints_each_and_the_place_is_what_was_seen():
    for name in (one for one in HINTS if one and not one.endswith("-")):
        used = {}
        finding = DrillFinding(name, failing.FAILED, "saw 1.0")
        shown = [
            hints.advance(used, finding, "vae.py", "the KL ended at 9.00 nats").text
            for _ in range(4)
        ]
        assert len(set(shown)) == 4
        assert "{" not in "".join(shown)
        assert ("9.00" in shown[2]) == (name in ("check-4", "check-5")), name
        assert hints.find(name) is not HINTS[""]


def test_a_bug_comes_before_a_check_and_a_check_before_what_could_not_be_judged():
    failed, lost = (
        DrillFinding("check-4", failing.FAILED, "m"),
        DrillFinding("parts", "cannot_judge", "m"),
    )
    late, bug, weight = (
        DrillFinding(name, verdict, "m")
        for name, verdict in [("u", "unfinished"), ("b", "bug"), ("w", "scale")]
    )
    assert hints.choose([late, lost, failed, bug, weight], None) is bug
    assert hints.choose([weight, bug, failed], None) is weight
    assert hints.choose([late, lost, failed], None) is failed
    assert hints.choose([late, lost], None) is lost
    assert hints.choose([bug, failed], "check-4") is failed


def test_a_right_file_whose_check_failed_has_a_hint_until_it_changes(tmp_path, monkeypatch):
    """The checker finds nothing, but checks 4 and 5 fail."""
    workspace.start(tmp_path / "d", untimed=True, now=0.0)
    (tmp_path / "d" / "vae.py").write_text("x = 1\n")
    digest = grading.digest(workspace.find_work(tmp_path / "d"))
    monkeypatch.setattr(
        grading, "grade", lambda work: Grade("right", "vae.py", grading.digest(work))
    )
    with state.editing(tmp_path / "d") as now:
        now.six = six({4, 5}, digest=digest)
    finding, shown = session.hint(tmp_path / "d", None)
    assert (finding.class_, shown.stage) == ("check-5", 1)
    assert session.hint(tmp_path / "d", None)[1].stage == 2
    assert session.hint(tmp_path / "d", "check-4")[0].class_ == "check-4"
    assert state.load(tmp_path / "d").hints == {"check-5": 2, "check-4": 1}
    (tmp_path / "d" / "vae.py").write_text("x = 2\n")
    with pytest.raises(UsageError, match="--six"):
        session.hint(tmp_path / "d", None)


def test_what_the_checker_says_to_users_of_its_options_is_left_out():
    assert (
        program.told("no loss was found to judge the KL by; name it with --map loss=...")
        == "no loss was found to judge the KL by"
    )
    told = program.told(
        "not made of the heads; name them with --map; looked at alone: the loop in line 67"
    )
    assert told == "not made of the heads; looked at alone: the training loop"


def test_lines_of_the_drills_own_training_are_not_the_learners(tmp_path):
    (tmp_path / "o").mkdir()
    work = Work(tmp_path / "vae.py", "a = 1\nb = 2\n", False)
    written = program.put(work, tmp_path / "o").read_text()
    assert written.startswith("a = 1\nb = 2\n")
    assert [program.is_the_learners(line, work) for line in (None, 1, 2, 3)] == [
        False,
        True,
        True,
        False,
    ]


def test_a_state_with_numbers_that_are_none_is_damaged():
    good = six({4})
    assert state._is_six(good)
    assert state._is_six(json.loads(json.dumps(good | {"losses": [1.0, float("inf")]})))
    assert not state._is_six(good | {"seen": {"kl": "much"}})
    assert not state._is_six(good | {"losses": 3})


def test_a_check_that_saw_no_gradient_raises_the_red_flag():
    def raised(message):
        return rubric.flags(state.State(six=six({1}, message)))[0].state

    assert raised("no gradient reaches logvar") == "raised"
    assert raised("encode is not written yet") == "none"
