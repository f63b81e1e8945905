"""What several commands do with a drill's folder: judge the file in it and remember what was found."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aevb.drill import account, failing, grading, hints, judge, state, watch, workspace
from aevb.drill.grading import WRONG, Finding, Grade
from aevb.drill.hints import Shown
from aevb.errors import AevbError

EPOCHS = 800
"""Of the experiment, which only the child process imports: it needs torch."""


def grade(folder: Path) -> Grade:
    """Judge the learner's file and remember it. Raises NotFoundError and DataError, as
    ``workspace.find_work`` does."""
    found = grading.grade(workspace.find_work(folder))
    with state.editing(folder) as now:
        now.grade = found.to_dict()
        now.met = sorted(
            {*now.met, *(finding.class_ for finding in found.findings if finding.verdict in WRONG)}
        )
    return found


def fresh_grade(folder: Path) -> Grade:
    """The last grade if the file is still the one that was judged, else a new one."""
    last = grading.from_dict(state.load(folder).grade)
    work = workspace.find_work(folder)
    return (
        last
        if last is not None and last.digest == grading.digest(work) and last.file == work.path.name
        else grade(folder)
    )


def hint(folder: Path, about: str | None) -> tuple[Finding, Shown]:
    """The next hint on a finding, or on one of the six checks that failed; it is noted. Raises
    UsageError if there is none."""
    graded = fresh_grade(folder)
    six = state.load(folder).six
    finding = hints.choose([*graded.findings, *failing.findings(six, graded)], about)
    with state.editing(folder) as now:
        return finding, hints.advance(now.hints, finding, graded.file, failing.diagnosis(six))


def run_six(folder: Path, on_epoch: Callable[[int, float], None] | None = None) -> dict[str, Any]:
    """Train the learner's model, run the six checks and remember both. "checks", or "error", is
    among the result's keys."""
    work = workspace.find_work(folder)
    result = judge.run_six(work, on_epoch=on_epoch)
    points = result.pop("points", None)
    if points is None:
        (folder / account.POINTS).unlink(missing_ok=True)
    else:
        workspace.write(folder / account.POINTS, account.points_text(points))
    kept = {"checks": [], "file": work.path.name, "digest": grading.digest(work), **result}
    with state.editing(folder) as now:
        now.six = kept
    return kept


def passed(result: dict[str, Any]) -> bool:
    """Whether all six checks passed."""
    return bool(result["checks"]) and all(check["passed"] for check in result["checks"])


def told(result: dict[str, Any]) -> list[str]:
    """The six checks in lines, or why there are none."""
    lines = [f"{result['file']}: the six checks"]
    if "error" in result:
        return [*lines, f"  FAILED     {result['error']}"]
    if result.get("losses"):
        lines.append(f"  trained    loss {result['losses'][0]:.3f} -> {result['losses'][1]:.3f}")
    return lines + [
        f"  {account.word(c):<10} {c['number']}. {c['name']}: {c['message']}"
        for c in result["checks"]
    ]


def changed_since(folder: Path) -> bool:
    """Whether the learner's file is no longer the one that was last judged, or checked."""
    now = state.load(folder)
    judged = [
        record["digest"]
        for record in (now.grade, now.six)
        if record is not None and "digest" in record
    ]
    with contextlib.suppress(AevbError):
        return any(digest != grading.digest(workspace.find_work(folder)) for digest in judged)
    return False


class View:
    """What ``watch`` shows: the state is read anew each time, the grade when the file was saved."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._state = state.load(folder)
        self._grade = grading.from_dict(self._state.grade)
        self._problem = ""
        self._judging = False

    def judge(self) -> Grade | None:
        """Judge what was saved; a file that is gone or half-written is said, and looked at again
        when it changes."""
        self._judging = True
        try:
            self._grade, self._problem = grade(self._folder), ""
        except AevbError as error:
            state.load(self._folder)  # if the drill itself is gone, watching is over
            self._grade, self._problem = None, str(error)
        finally:
            self._judging = False
        return self._grade

    def screen(self, width: int) -> str:
        """The screen as it is now."""
        with contextlib.suppress(AevbError):
            self._state = state.load(self._folder)
        shown = watch.screen(self._state, self._grade, self._judging, time.time(), width)
        return f"{shown}\n{self._problem}" if self._problem else shown
