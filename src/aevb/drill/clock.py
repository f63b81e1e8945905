"""The clock of a drill, computed from the recorded events, so that no process has to keep running.

Times are seconds since 1970, passed in by the caller. If the system clock is set back, no time
passes until it has caught up. No block ends by itself: the clock counts on after its planned time.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from aevb.drill.blocks import BLOCKS, Block
from aevb.errors import UsageError

EVENTS = ("start", "next", "back", "pause", "resume")


@dataclass(frozen=True)
class Event:
    """One action of the learner. at: seconds since 1970; what: one of EVENTS."""

    at: float
    what: str


@dataclass(frozen=True)
class Reading:
    """What the clock shows at one moment.

    index: the number of the present block, from 0, or 4 when the drill is over. seconds: the time
    spent in each block.
    """

    index: int
    paused: bool
    seconds: tuple[float, ...]

    @property
    def over(self) -> bool:
        """Whether the learner has left the last block."""
        return self.index == len(BLOCKS)

    @property
    def block(self) -> Block | None:
        """The present block, or None when the drill is over."""
        return None if self.over else BLOCKS[self.index]

    @property
    def left(self) -> float:
        """Seconds left in the present block: negative after its planned time, 0 after the drill."""
        return 0.0 if self.over else 60.0 * BLOCKS[self.index].minutes - self.seconds[self.index]


def read(events: Iterable[Event], now: float) -> Reading:
    """Compute what the clock shows at ``now``.

    An impossible move, such as back from the first block, changes nothing.
    """
    index, paused, since = 0, False, None
    seconds = [0.0] * len(BLOCKS)
    for at, what in [*((event.at, event.what) for event in events), (now, "")]:
        if since is not None and not paused and index < len(BLOCKS):
            seconds[index] += max(0.0, at - since)
        since = at if since is None else max(since, at)
        if what in ("next", "back"):
            index = min(max(index + (1 if what == "next" else -1), 0), len(BLOCKS))
        elif what in ("pause", "resume"):
            paused = what == "pause"
    return Reading(index, paused, tuple(seconds))


def move(events: list[Event], what: str, now: float) -> Reading:
    """Append an event and return the clock's new reading.

    Args:
        events: The events so far. The new one is appended.
        what: One of EVENTS except "start".
        now: Seconds since 1970.

    Raises:
        UsageError: The event would change nothing.
    """
    if reason := _objection(what, read(events, now)):
        raise UsageError(reason)
    events.append(Event(max([now, *(event.at for event in events[-1:])]), what))
    return read(events, now)


def _objection(what: str, reading: Reading) -> str:
    """Return why an event would change nothing, or "" if it would change something."""
    objections = {
        "next": [(reading.over, "the drill is over; aevb drill report says how it went")],
        "back": [(reading.index == 0, "this is the first block; there is none before it")],
        "pause": [
            (reading.paused, "the clock is paused already; aevb drill resume lets it go on"),
            (reading.over, "the drill is over, and its clock has stopped"),
        ],
        "resume": [(not reading.paused, "the clock is not paused")],
    }
    return next((reason for applies, reason in objections[what] if applies), "")


def minutes(seconds: float) -> str:
    """Return seconds as minutes and seconds, such as 4:07."""
    whole = int(abs(seconds))
    return f"{whole // 60}:{whole % 60:02d}"


def told(reading: Reading, untimed: bool) -> str:
    """Return the present block and its time in one line."""
    block = reading.block
    if block is None:
        return f"over; {minutes(sum(reading.seconds))} in all"
    line = f"block {reading.index + 1} of {len(BLOCKS)}: {block.title} ({block.name})"
    if not untimed:
        spent = int(reading.seconds[reading.index])
        left = 60 * block.minutes - spent
        line += f"; {minutes(spent)} of {block.minutes}:00, {minutes(left)} "
        line += "left" if left >= 0 else "over, which stops nobody"
    return line + ("; paused" if reading.paused else "")
