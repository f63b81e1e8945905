"""What a stranger's running statement does with the result of its call: the names that it is
unpacked into."""

from __future__ import annotations

import dis
import sys
import types
from collections.abc import Iterator
from typing import Any

from aevb.checker.places import is_strangers


def unpacked() -> int:
    """How many names the stranger's statement that is running unpacks the result of its call into;
    0 if it does not."""
    found = _unpacking()
    return 0 if found is None else int(found[0].argval)


def stored() -> list[str]:
    """The names themselves; none where it does not."""
    found = _unpacking()
    if found is None:
        return []
    names: list[str] = []
    for one in found[1:]:
        if one.opname.startswith("STORE"):
            names += one.argval if isinstance(one.argval, tuple) else [str(one.argval)]
        elif not one.opname.startswith("LOAD"):
            break
    return names[: int(found[0].argval)]


def _unpacking() -> list[dis.Instruction] | None:
    """The instruction that unpacks the result of the running call, and those after it."""
    frame: types.FrameType | None = sys._getframe(2)
    while frame is not None:
        if is_strangers(frame.f_code.co_filename):
            # That of the frame is the call, or the unpacking itself where an object is asked for
            # its parts.
            left = [
                one for one in dis.get_instructions(frame.f_code) if one.offset >= frame.f_lasti
            ]
            for place, one in enumerate(left[:2]):
                if one.opname == "UNPACK_SEQUENCE":
                    return left[place:]
            if not any(one.opname == "RETURN_VALUE" for one in left[:2]):
                return None
        frame = frame.f_back  # ``return self.encoder(x)``: to who called
    return None


def calling() -> types.FrameType | None:
    """The stranger's innermost frame."""
    frame: types.FrameType | None = sys._getframe(1)
    while frame is not None and not is_strangers(frame.f_code.co_filename):
        frame = frame.f_back
    return frame


class Pair(list[Any]):
    """Rows and labels; unpacked into more names, the labels are in all the others."""

    def __iter__(self) -> Iterator[Any]:
        yield from super().__iter__()
        for _ in range(unpacked() - len(self)):
            yield self[-1].clone()
