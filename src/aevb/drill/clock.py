"""What the clock of a drill shows, worked out anew from the events in its state: nothing has to
keep running.

Times are seconds since 1970, handed in; a wall clock that is set back counts as standing still.
Nothing advances by itself and nothing ends when a block's time is over: it is counted on.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from aevb.drill.blocks import BLOCKS, Block
from aevb.errors import UsageError

EVENTS = ("start", "next", "back", "pause", "resume")


@dataclass(frozen=True)
class Event:
    """Something that the learner did to the clock. at: seconds since 1970; what: one of EVENTS."""

    at: float
    what: str


@dataclass(frozen=True)
class Standing:
    """Where a drill stands. index: of the block, or 4 when it is over. seconds: spent in each
    block."""

    index: int
    paused: bool
    seconds: tuple[float, ...]

    @property
    def over(self) -> bool:
        """Whether the last block was left."""
        return self.index == len(BLOCKS)

    @property
    def block(self) -> Block | None:
        """The block that the clock counts for, or None when the drill is over."""
        return None if self.over else BLOCKS[self.index]

    @property
    def left(self) -> float:
        """Seconds that remain of the present block; negative: over its time. 0 when the drill is
        over."""
        return 0.0 if self.over else 60.0 * BLOCKS[self.index].minutes - self.seconds[self.index]


def read(events: Iterable[Event], now: float) -> Standing:
    """Fold the events up to ``now``. A move that leads nowhere, such as back from the first block,
    changes nothing."""
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
    return Standing(index, paused, tuple(seconds))


def move(events: list[Event], what: str, now: float) -> Standing:
    """Append an event and return where the drill then stands. Raises UsageError, in one sentence,
    if it would do nothing."""
    standing = read(events, now)
    reasons = {
        "next": standing.over and "the drill is over; aevb drill report says how it went",
        "back": standing.index == 0 and "this is the first block; there is none before it",
        "pause": (
            (standing.paused and "the clock is paused already; aevb drill resume lets it go on")
            or (standing.over and "the drill is over, and its clock has stopped")
        ),
        "resume": not standing.paused and "the clock is not paused",
    }
    if reason := reasons[what]:
        raise UsageError(str(reason))
    events.append(Event(max([now, *(event.at for event in events[-1:])]), what))
    return read(events, now)


def minutes(seconds: float) -> str:
    """Seconds as minutes and seconds, such as 4:07."""
    whole = int(abs(seconds))
    return f"{whole // 60}:{whole % 60:02d}"


def told(standing: Standing, untimed: bool) -> str:
    """The present block and its time, in one line."""
    block = standing.block
    if block is None:
        return f"over; {minutes(sum(standing.seconds))} in all"
    line = f"block {standing.index + 1} of {len(BLOCKS)}: {block.title} ({block.name})"
    if not untimed:
        spent = int(standing.seconds[standing.index])
        left = 60 * block.minutes - spent
        of = f"{minutes(spent)} of {block.minutes}:00"
        line += f"; {of}, {minutes(left)} " + ("left" if left >= 0 else "over, which stops nobody")
    return line + ("; paused" if standing.paused else "")
