"""How the program's running statement uses the result of its call, read from its bytecode."""

from __future__ import annotations

import dis
import sys
from collections.abc import Iterator
from types import FrameType
from typing import Any

from aevb.checker.places import is_strangers


def strangers_frames() -> Iterator[FrameType]:
    """The program's frames on the stack, the innermost first."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if is_strangers(frame.f_code.co_filename):
            yield frame
        frame = frame.f_back


def unpacked() -> int:
    """The number of names into which the running statement unpacks its call's result, or 0."""
    found = _unpacking()
    return int(found[0].argval) if found else 0


def stored() -> list[str]:
    """The names into which the running statement unpacks its call's result."""
    found = _unpacking()
    names: list[str] = []
    for one in found[1:]:
        if one.opname.startswith("STORE"):
            names += one.argval if isinstance(one.argval, tuple) else [str(one.argval)]
        elif not one.opname.startswith("LOAD"):
            break
    return names[: int(found[0].argval)] if found else []


def _unpacking() -> list[dis.Instruction]:
    """The instruction that unpacks the result of the running call, and those after it."""
    for frame in strangers_frames():
        # The frame's current instruction is the call, or the unpacking that iterates an object.
        left = [one for one in dis.get_instructions(frame.f_code) if one.offset >= frame.f_lasti]
        for place, one in enumerate(left[:2]):
            if one.opname == "UNPACK_SEQUENCE":
                return left[place:]
        if not any(one.opname == "RETURN_VALUE" for one in left[:2]):
            return []
        # After ``return self.encoder(x)``, the caller decides.
    return []


class Pair(list[Any]):
    """Rows and labels; unpacked into more than two names, the others get the labels too."""

    def __iter__(self) -> Iterator[Any]:
        yield from super().__iter__()
        for _ in range(unpacked() - len(self)):
            yield self[-1].clone()
