"""Judge the file in a drill's folder and remember the result, as several commands do."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aevb.drill import account, failing, grading, hints, judge, state, watch, workspace
from aevb.drill.grading import WRONG, DrillFinding, Grade
from aevb.drill.hints import Shown
from aevb.errors import AevbError


def grade(folder: Path) -> Grade:
    """Grade the learner's file and remember the grade.

    Raises:
        NotFoundError: There is no file to grade.
        DataError: The only file is a notebook that cannot be read.
    """
    found = grading.grade(workspace.find_work(folder))
    with state.editing(folder) as now:
        now.grade = found.to_dict()
        now.met = sorted(
            {*now.met, *(finding.class_ for finding in found.findings if finding.verdict in WRONG)}
        )
    return found


def fresh_grade(folder: Path) -> Grade:
    """Return the last grade if the file has not changed since, and a new one otherwise."""
    last = grading.from_dict(state.load(folder).grade)
    work = workspace.find_work(folder)
    if last and (last.file, last.digest) == (work.path.name, grading.digest(work)):
        return last
    return grade(folder)


def hint(folder: Path, about: str | None) -> tuple[DrillFinding, Shown]:
    """Return the next hint on a finding or on a failed check, and remember that it was shown.

    Raises UsageError if there is nothing to give a hint on.
    """
    graded = fresh_grade(folder)
    six = state.load(folder).six
    finding = hints.choose([*graded.findings, *failing.findings(six, graded)], about)
    with state.editing(folder) as now:
        return finding, hints.advance(now.hints, finding, graded.file, failing.diagnosis(six))


def run_six(folder: Path, on_epoch: Callable[[int, float], None] | None = None) -> dict[str, Any]:
    """Train the learner's model, run the six checks and remember both.

    Returns:
        "file", "digest", "checks" and the rest of ``judge.run_six``'s result, without the points.
    """
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
    """Return the six checks in lines, or the reason why there are none."""
    lines = [f"{result['file']}: the six checks"]
    if "error" in result:
        return [*lines, account.row("FAILED", result["error"])]
    if result.get("losses"):
        first, last = result["losses"]
        lines.append(account.row("trained", f"loss {first:.3f} -> {last:.3f}"))
    return lines + [account.row(*check) for check in account.checks(result)]


def changed_since(folder: Path) -> bool:
    """Whether the learner's file has changed since it was last judged or checked."""
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
    """The screen of ``watch``.

    The state is read again for each screen. The file is judged again after each save.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._state = state.load(folder)
        self._grade = grading.from_dict(self._state.grade)
        self._problem = ""
        self._judging = False

    def judge(self) -> Grade | None:
        """Judge the saved file.

        If it is missing or half-written, the screen says so. It is judged again when it changes.
        """
        self._judging = True
        try:
            self._grade, self._problem = grade(self._folder), ""
        except AevbError as error:
            state.load(self._folder)  # raises if the drill itself is gone, which ends the watching
            self._grade, self._problem = None, str(error)
        finally:
            self._judging = False
        return self._grade

    def screen(self, width: int) -> str:
        """Return the screen as it is now."""
        with contextlib.suppress(AevbError):
            self._state = state.load(self._folder)
        shown = watch.screen(self._state, self._grade, self._judging, time.time(), width)
        return f"{shown}\n{self._problem}" if self._problem else shown
