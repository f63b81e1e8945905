"""Look at the learner's files again and again, and judge them when they were saved.

Looking, rather than being told by the system, works on every disk: WSL's, a network's, a cloud's.
The stamps of a file are looked at each time; every tenth time its content is, too, since some disks
keep stamps to the second.
"""

from __future__ import annotations

import hashlib
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path

from aevb.drill import clock
from aevb.drill.grading import Grade
from aevb.drill.state import State
from aevb.drill.workspace import FILE, NOTEBOOK

INTERVAL = 0.5
"""Seconds between two looks."""
READ_EVERY = 10


class Watcher:
    """Tells when the files of a folder have changed and then stood still for one look: editors
    write in several steps."""

    def __init__(self, folder: Path) -> None:
        self._paths = (folder / FILE, folder / NOTEBOOK)
        self._looks = 0
        self._stamps: Sequence[object] = ()
        self._content = ""
        self._judged = ""

    def changed(self) -> bool:
        """Look once. True the first time, and whenever there is new content that has stood still
        since the last look."""
        stamps = [_stamp(path) for path in self._paths]
        self._looks += 1
        steady = stamps == self._stamps
        if not steady or not self._content or self._looks % READ_EVERY == 0:
            content = "".join(_digest(path) for path in self._paths)
            steady = steady and content == self._content
            self._content = content
        self._stamps = stamps
        if not steady or self._content == self._judged:
            return False
        self._judged = self._content
        return True


def _stamp(path: Path) -> object:
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return "-"


def loop(
    watcher: Watcher,
    judge: Callable[[], None],
    sleep: Callable[[float], None],
    go_on: Callable[[], bool] = lambda: True,
) -> None:
    """Look, judge what has changed, sleep, until ``go_on`` says no or Ctrl-C ends it."""
    while go_on():
        if watcher.changed():
            judge()
        sleep(INTERVAL)


def screen(state: State, grade: Grade | None, judging: bool, now: float, width: int = 100) -> str:
    """What the learner sees: block and time, then one line for each finding."""
    standing = clock.read(state.events, now)
    lines = [clock.told(standing, state.untimed)]
    if standing.block is not None:
        lines += [f"  {line}" for line in standing.block.do]
    lines.append("")
    lines += (
        [*textwrap.wrap("judging what was saved ...", width)] if judging else told(grade, width)
    )
    return "\n".join(lines)


def told(grade: Grade | None, width: int = 0) -> list[str]:
    """A grade in lines: the verdict, then each finding with its name."""
    if grade is None:
        return ["nothing was judged yet"]
    lines = [f"{grade.file}: {VERDICTS[grade.verdict]}"]
    for finding in grade.findings:
        line = f"  {finding.verdict:<10} {finding.class_}: {finding.message}"
        lines += textwrap.wrap(line, width, subsequent_indent=" " * 13) if width else [line]
    return lines


VERDICTS = {
    "right": "right",
    "unusual": "right, if unusual",
    "bug": "wrong",
    "scale": "a term of the loss has a weight that is not 1",
    "cannot_judge": "the checker could not judge it",
    "unfinished": "not finished",
}
