"""Watch the learner's files and judge them after each save.

The watcher looks at the files twice a second. It does not use the system's notifications, since
some disks, such as network disks and those of WSL, do not send them. Each look compares the times
and sizes of the files. Every tenth look also compares their contents, since some disks store times
in whole seconds.
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
    """Notices when a folder's files have changed.

    A change counts once the files stay the same for one look, since editors write in several steps.
    """

    def __init__(self, folder: Path) -> None:
        self._paths = (folder / FILE, folder / NOTEBOOK)
        self._looks = 0
        self._stamps: Sequence[object] = ()
        self._content = ""
        self._judged = ""

    def changed(self) -> bool:
        """Look once, and return whether there is new content to judge.

        The content must be the same as at the last look. The first content counts as new.
        """
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
    """Look, judge what has changed, and sleep, again and again.

    Args:
        watcher: Watches the learner's folder.
        judge: Called after each change.
        sleep: Called with INTERVAL between two looks.
        go_on: The loop ends when this returns False. Ctrl-C ends it as well.
    """
    while go_on():
        if watcher.changed():
            judge()
        sleep(INTERVAL)


def screen(state: State, grade: Grade | None, judging: bool, now: float, width: int = 100) -> str:
    """Return the learner's screen: block and time, then the last grade.

    Args:
        state: The state of the drill.
        grade: The last grade, or None.
        judging: Whether the file is being judged at the moment.
        now: Seconds since 1970.
        width: The width of the terminal, in characters.
    """
    reading = clock.read(state.events, now)
    lines = [clock.told(reading, state.untimed)]
    if reading.block is not None:
        lines += [f"  {line}" for line in reading.block.do]
    news = textwrap.wrap("judging the saved file ...", width) if judging else told(grade, width)
    return "\n".join([*lines, "", *news])


def told(grade: Grade | None, width: int = 0) -> list[str]:
    """Return a grade in lines: the verdict, then each finding with its name.

    width: longer lines are wrapped; 0 leaves them as they are.
    """
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
