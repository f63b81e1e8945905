"""A learner's code is run safely, whatever it does, and its saves are noticed."""

import os

import pytest

from aevb.drill import judge, session, state, watch, workspace
from aevb.drill.grading import DrillFinding, Grade
from aevb.drill.workspace import Work

ESCAPES = (
    "import os, time\nif os.fork() == 0:\n    os.setsid()\n    time.sleep(6)\n   "
    " os._exit(0)\nwhile True: pass"
)
"""Code with a child process that leaves the killed group and holds the streams open."""


@pytest.mark.parametrize(
    ("source", "part"),
    [
        ("x = (", "has a syntax error in line 1"),
        ("import no_such_package", "imports 'no_such_package', which is not installed"),
        ("import sys\nsys.exit(0)", "calls sys.exit"),
        ("import os\nos._exit(0)", "ended the process"),
        ("while True: pass", "ran for more than 3 seconds"),
        ("x = bytearray(20 * 2**30)", "8 GiB of memory"),
        ("input()", "EOFError"),
        ("raise KeyboardInterrupt", "KeyboardInterrupt"),
        ("x = 1 / 0", "raises ZeroDivisionError: division by zero"),
        ("x = 1", "there is no VAE in it"),
        ("import os\nos.write(1, b'no json\\n' * 100_000)\nx = 1", "there is no VAE in it"),
        (ESCAPES, "ran for more than 3 seconds"),
        (
            "import os\nif os.fork() == 0:\n    while True: pass\nwhile True: pass",
            "ran for more than 3 seconds",
        ),
    ],
)
def test_code_that_misbehaves_ends_in_one_sentence(source, part, tmp_path):
    (tmp_path / "vae.py").write_text(source)
    result = judge.run_six(Work(tmp_path / "vae.py", source, False), seconds=3.0)
    assert part in result["error"]
    assert "\n" not in result["error"]
    assert len(result["printed"]) <= judge.KEPT
    assert "vae.py" in result["error"]


def test_a_run_is_remembered_and_its_points_kept(tmp_path):
    """The stub cannot be trained, and each check says so."""
    workspace.start(tmp_path / "d", untimed=True, now=0.0)
    result = session.run_six(tmp_path / "d")
    assert [check["passed"] for check in result["checks"]] == [False] * 6
    assert all("not written yet" in check["message"] for check in result["checks"])
    kept = state.load(tmp_path / "d").six
    assert kept is not None
    assert kept["checks"] == result["checks"]
    assert not (tmp_path / "d" / "points.csv").exists()
    assert not session.passed(result)
    assert session.told(result)[1].startswith("  FAILED     1.")


def save(path, text, at):
    path.write_text(text)
    os.utime(path, ns=(at, at))


def test_a_save_is_seen_once_and_only_when_it_stands_still(tmp_path):
    path, watcher = tmp_path / "vae.py", watch.Watcher(tmp_path)
    save(path, "a", 1)
    assert [watcher.changed() for _ in range(4)] == [False, True, False, False]
    save(path, "b", 2)
    assert not watcher.changed()  # it may still be written to
    save(path, "bc", 3)
    assert not watcher.changed()
    assert [watcher.changed() for _ in range(3)] == [True, False, False]
    save(path, "bc", 4)  # saved again, but the same
    assert not any(watcher.changed() for _ in range(30))


def test_a_save_that_the_stamps_hide_is_seen_by_its_content(tmp_path):
    path, watcher = tmp_path / "vae.py", watch.Watcher(tmp_path)
    save(path, "old", 1)
    assert [watcher.changed() for _ in range(2)] == [False, True]
    save(path, "new", 1)
    assert sum(watcher.changed() for _ in range(3 * watch.READ_EVERY)) == 1


def test_a_file_that_goes_and_comes_back_is_seen(tmp_path):
    path, watcher = tmp_path / "vae.py", watch.Watcher(tmp_path)
    save(path, "a", 1)
    assert any(watcher.changed() for _ in range(3))
    path.unlink()
    assert any(watcher.changed() for _ in range(3))
    save(path, "a", 1)
    assert any(watcher.changed() for _ in range(3))


def test_the_loop_judges_what_was_saved(tmp_path):
    save(tmp_path / "vae.py", "a", 1)
    judged, looks = [], iter(range(5))
    watch.loop(
        watch.Watcher(tmp_path),
        lambda: judged.append(1),
        lambda seconds: None,
        lambda: next(looks, None) is not None,
    )
    assert judged == [1]


def test_the_view_says_what_it_cannot_judge_and_goes_on(tmp_path, monkeypatch):
    workspace.start(tmp_path / "d", untimed=False, now=0.0)
    view = session.View(tmp_path / "d")
    (tmp_path / "d" / "vae.py").unlink()
    (tmp_path / "d" / "vae_mock.ipynb").unlink()
    assert view.judge() is None
    assert "vae.py is gone" in view.screen(100)
    finding = DrillFinding("kl-sign", "bug", "line 3: " * 30)
    monkeypatch.setattr(session, "grade", lambda folder: Grade("bug", "vae.py", "0", [finding]))
    view.judge()
    shown = view.screen(100)
    assert "kl-sign" in shown
    assert "gone" not in shown
    assert max(map(len, shown.splitlines())) <= 100


def test_the_screen_tells_time_and_findings():
    now = state.State(
        events=[state.Event(0, "start"), state.Event(0, "next"), state.Event(0, "next")]
    )
    shown = watch.screen(now, None, False, 17 * 60)
    assert "1:00 over, which stops nobody" in shown
    assert "nothing was judged yet" in shown
    assert "judging" in watch.screen(now, None, True, 0)
