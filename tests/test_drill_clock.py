"""The clock over restarts, overruns and system clocks that are set back; and the state's file."""

import contextlib
import json
import math

import pytest
from helpers import refuses

from aevb.drill import clock, state
from aevb.drill.blocks import BLOCKS
from aevb.drill.clock import Event, move, read
from aevb.errors import DataError, NotFoundError, UsageError


def events(*pairs):
    return [Event(at, what) for at, what in pairs]


def test_the_blocks_are_those_of_the_tutorial():
    assert [(block.name, block.minutes, block.shown) for block in BLOCKS] == [
        ("read", 12, "12 minutes"),
        ("explain", 5, "5 minutes"),
        ("implement", 16, "16 minutes"),
        ("sanity", 7, "5 to 7 minutes"),
    ]
    assert sum(block.minutes for block in BLOCKS) == 40


def test_time_goes_to_the_block_that_it_was_spent_in():
    told = events(
        (100, "start"),
        (160, "next"),
        (200, "pause"),
        (1000, "resume"),
        (1010, "back"),
        (1015, "next"),
        (1020, "next"),
    )
    standing = read(told, 1100)
    assert standing.index == 2
    assert standing.seconds == (60 + 5, 40 + 10 + 5, 80, 0)
    assert standing.left == 16 * 60 - 80


def test_overrun_counts_on_and_stops_nobody():
    standing = read(events((0, "start")), 12 * 60 + 90)
    assert (standing.index, standing.seconds[0], standing.left) == (0, 810, -90)
    assert "1:30 over, which stops nobody" in clock.told(standing, untimed=False)
    assert ":" not in clock.told(standing, untimed=True).split(")")[1]


def test_nothing_advances_by_itself_and_the_end_stops_the_clock():
    log = events((0, "start"))
    for n in range(4):
        assert move(log, "next", 10 * (n + 1)).index == n + 1
    assert read(log, 10**9).seconds == (10, 10, 10, 10)
    assert read(log, 10**9).over
    assert move(log, "back", 50).index == 3  # one may come back
    assert read(log, 57).seconds == (10, 10, 10, 17)


def test_a_clock_that_is_set_back_stands_still():
    log = events((1000, "start"))
    assert read(log, 900).seconds[0] == 0
    move(log, "next", 900)
    assert log[-1].at == 1000  # events stay in order, so no time is counted twice
    assert read(log, 1030).seconds == (0, 30, 0, 0)


@pytest.mark.parametrize(
    ("before", "what", "part"),
    [
        (["start"], "back", "first block"),
        (["start"], "resume", "not paused"),
        (["start", "pause"], "pause", "paused already"),
        (["start", *["next"] * 4], "next", "over"),
        (["start", *["next"] * 4], "pause", "over"),
    ],
)
def test_moves_that_would_do_nothing_are_refused(before, what, part):
    log = [Event(at, name) for at, name in enumerate(before)]
    with pytest.raises(UsageError, match=part):
        move(log, what, 100)
    assert len(log) == len(before)


def test_the_state_survives_a_restart(tmp_path):
    full = state.State(
        events=events((1.5, "start"), (2.5, "next")),
        interview={"kl": {"marks": [True, False], "answers": ["it regularises"]}},
        hints={"noise-uniform": 3},
        grade={"verdict": "bug", "file": "vae.py", "digest": "0", "findings": []},
        met=["noise-uniform"],
        six={
            "file": "vae.py",
            "checks": [{"number": 1, "name": "n", "passed": True, "message": "m"}],
        },
        solution_seen=7.0,
    )
    state.save(tmp_path, full)
    assert state.load(tmp_path) == full
    with state.editing(tmp_path) as now:
        now.untimed = True
    assert state.load(tmp_path).untimed
    with contextlib.suppress(RuntimeError), state.editing(tmp_path) as now:
        now.untimed = False
        raise RuntimeError
    assert state.load(tmp_path).untimed  # what ends badly is not written


def damaged(**changes):
    good = {
        "aevb_drill": 1,
        "untimed": False,
        "events": [{"at": 1, "what": "start"}],
        "interview": {},
        "hints": {},
    }
    good |= {"grade": None, "met": [], "six": None, "solution_seen": None}
    return json.dumps({k: v for k, v in (good | changes).items() if v != "absent"})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        "[" * 100_000,
        damaged(aevb_drill=2),
        damaged(untimed="no"),
        damaged(untimed="absent"),
        damaged(more=1),
        damaged(events=[]),
        damaged(events=[{"at": 1, "what": "next"}]),
        damaged(events=[{"at": 1, "what": "start"}, {"at": 1, "what": "jump"}]),
        damaged(events=[{"at": math.inf, "what": "start"}]),
        damaged(events=[{"at": True, "what": "start"}]),
        damaged(events={"at": 1}),
        damaged(interview={"kl": {"marks": ["yes"], "answers": []}}),
        damaged(interview={"kl": [True]}),
        damaged(hints={"kl-sign": 5}),
        damaged(hints={"kl-sign": True}),
        damaged(grade={"verdict": "bug"}),
        damaged(grade={"verdict": "bug", "file": "vae.py", "findings": [{"class": 1}]}),
        damaged(six={"file": "vae.py", "checks": [{}]}),
        damaged(met=[1]),
        damaged(solution_seen="yes"),
    ],
)
def test_a_damaged_state_is_refused_in_a_sentence(text, tmp_path):
    (tmp_path / state.NAME).write_text(text)
    refuses(DataError, ["drill.json", "aevb drill reset"], state.load, tmp_path)


def test_no_drill(tmp_path):
    with pytest.raises(NotFoundError, match="aevb drill start"):
        state.load(tmp_path)
    (tmp_path / state.NAME).write_bytes(b"\xff\xfe{")
    with pytest.raises(DataError):
        state.load(tmp_path)
