"""How a child process ended, and the sentence that says so: what was expected, what happened, what
to do next."""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass, field
from typing import Any, Literal

from aevb.checker.sandbox.audit import INPUT
from aevb.checker.sandbox.child import Limits

How = Literal["done", "timeout", "cpu", "memory", "crashed", "exited", "forbidden"]
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


@dataclass(frozen=True)
class Ended:
    """``how`` the child ended; its ``result`` if it is ``done``; what it printed; a ``sentence``
    for people.

    ``refused``: a sentence for every kind of operation that was refused, in order; the program may
    have gone on without. ``sentence`` is empty if all went well; of a child that is done, it is the
    first of ``refused``.
    """

    how: How
    result: dict[str, Any] | None
    output: str
    sentence: str
    refused: tuple[str, ...] = ()


@dataclass
class Evidence:
    """What the parent has seen of a child. ``stopped``: why the parent ended it; ``line``: where it
    was, by its own stack."""

    result: dict[str, Any] | None = None
    notes: list[tuple[str, int | None]] = field(default_factory=list)
    last: dict[str, Any] | None = None
    tampered: bool = False
    stopped: Literal["wall", "disk", "flood"] | None = None
    code: int = 0
    cpu_s: float = 0.0
    line: int | None = None
    output: bytes = b""
    printed: int = 0

    def take(self, message: dict[str, Any]) -> None:
        """One message of the child."""
        if "result" in message:
            self.tampered |= self.result is not None
            self.result = message["result"]
        elif "refused" in message:
            self.notes.append((message["refused"], message["line"]))
        else:
            self.last = message


def ended(seen: Evidence, limits: Limits) -> Ended:
    """The evidence as one ending."""
    refused = tuple(_refusal(what, line) for what, line in seen.notes)
    how, sentence = _how(seen, limits, refused)
    return Ended(
        how, seen.result if how == "done" else None, _text(seen), _clean(sentence), refused
    )


def _how(seen: Evidence, limits: Limits, refused: tuple[str, ...]) -> tuple[How, str]:
    if seen.tampered:
        return (
            "forbidden",
            (
                "A check expects its own result alone; the program wrote into the channel of the"
                " result, so that nothing that came through it counts. Leave out code that writes"
                " to file descriptors or to the checker."
            ),
        )
    if seen.result is not None:
        return "done", refused[0] if refused else ""
    if seen.stopped is not None:
        return _stopped(seen, limits)
    if seen.last is not None:
        return _said(seen.last, limits)
    return _killed(seen, limits)


def _stopped(seen: Evidence, limits: Limits) -> tuple[How, str]:
    if seen.stopped == "wall":
        return (
            "timeout",
            (
                f"A check expects an end within {limits.wall_s:g} s; the program was still"
                f" running{_at(seen.line)} and was stopped. Look for a loop without an end, for"
                " waiting, or for training that a check does not need."
            ),
        )
    if seen.stopped == "disk":
        return (
            "forbidden",
            (
                "A check expects few and small files; the program was filling its temporary folder"
                " and was stopped. Leave out what it saves."
            ),
        )
    return (
        "forbidden",
        (
            "A check expects a result of a few kilobytes; the program filled the channel of the"
            " result and was stopped. Leave out code that writes to file descriptors."
        ),
    )


def _said(last: dict[str, Any], limits: Limits) -> tuple[How, str]:
    where, detail = _at(last["line"]), last["detail"]
    if last["ended"] == "memory":
        return "memory", _memory(limits, where)
    if last["ended"] == "exited":
        return (
            "exited",
            "A check expects a program to go on to its end; it ended itself with"
            f' sys.exit({detail}){where}. Put that call under `if __name__ == "__main__":` or leave'
            " it out.",
        )
    if last["ended"] == "silent":
        return (
            "exited",
            (
                "A check is expected to hand in a result; this one ended without. That is a fault"
                " of the checker: please report it."
            ),
        )
    if "refused_at_last" in last:
        return "forbidden", _refusal(last["refused_at_last"], last["line"])
    if last["ended"] == "forbidden" and detail.startswith("EOFError"):
        return "forbidden", _refusal(INPUT, last["line"])
    if last["ended"] == "forbidden":
        return (
            "forbidden",
            (
                "A check expects a program to stay within its own folder and process; the system"
                f" refused it something{where} ({detail}). Leave that out, or catch the error."
            ),
        )
    return (
        "crashed",
        (
            f"A check expects a program to run without an error; it got {detail}{where}. Put that"
            " right and check again."
        ),
    )


def _killed(seen: Evidence, limits: Limits) -> tuple[How, str]:
    """It left without a word: by a signal, or by ``os._exit``."""
    at = _at(seen.line)
    if seen.code == -signal.SIGXCPU or (
        seen.code == -signal.SIGKILL and seen.cpu_s >= limits.cpu_s
    ):
        return (
            "cpu",
            (
                f"A check expects less than {limits.cpu_s:g} s of processor time; the program used"
                f" them up{at} and was stopped. Look for a loop without an end, or for training"
                " that a check does not need."
            ),
        )
    if seen.code < 0:
        name = signal.strsignal(-seen.code) or f"signal {-seen.code}"
        return (
            "crashed",
            (
                "A check expects a program to run without an error; its process was ended by the"
                f" system ({name}){at}. Endless recursion, compiled code or a system short of"
                " memory do that."
            ),
        )
    return (
        "exited",
        (
            "A check expects a program to go on to its end; its process ended at once, with exit"
            f" code {seen.code} (os._exit). Leave that call out."
        ),
    )


def _memory(limits: Limits, where: str) -> str:
    return (
        f"A check expects less than {_bytes(limits.memory_bytes)} of memory; the program asked for"
        f" more{where}. Use smaller tensors, or a smaller batch."
    )


def _refusal(what: str, line: int | None) -> str:
    next_step = (
        "give the value in the program" if what == INPUT else "leave it out, or catch the error"
    )
    return _clean(
        f"The program tried to {what}{_at(line)}; the checker does not let it: {next_step}."
    )


def _at(line: int | None) -> str:
    return "" if line is None else f" (line {line})"


def _bytes(number: int) -> str:
    return f"{number / 2**30:.3g} GiB" if number >= 2**30 else f"{number / 2**20:.3g} MiB"


def _text(seen: Evidence) -> str:
    text = _CONTROL.sub("", seen.output.decode("utf-8", "replace"))
    cut = seen.printed - len(seen.output)
    return text if cut <= 0 else f"{text}\n[{cut} bytes more were printed and are left out]\n"


def _clean(text: str) -> str:
    """Without what would move a terminal's cursor or colour it; also on one line."""
    return _CONTROL.sub("", text.replace("\n", " "))
