"""How a child process ended: one word for the code, one sentence for people.

Every sentence says what a check expects, what happened, and what to do next.
"""

from __future__ import annotations

import re
import signal
from dataclasses import dataclass, field
from typing import Any, Literal

from aevb.checker.sandbox.audit import INPUT
from aevb.checker.sandbox.confine import Limits

How = Literal["done", "timeout", "cpu", "memory", "crashed", "exited", "forbidden"]
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")

_ENDINGS: dict[str, tuple[How, str]] = {
    "tampered": (
        "forbidden",
        "A check expects its own result alone; the program wrote into the channel of the result, so"
        " that nothing that came through it counts. Leave out code that writes to file descriptors"
        " or to the checker.",
    ),
    "wall": (
        "timeout",
        "A check expects an end within {wall:g} s; the program was still running{at} and was"
        " stopped. Look for a loop without an end, for waiting, or for training that a check does"
        " not need.",
    ),
    "disk": (
        "forbidden",
        "A check expects few and small files; the program was filling its temporary folder and was"
        " stopped. Leave out what it saves.",
    ),
    "flood": (
        "forbidden",
        "A check expects a result of a few kilobytes; the program filled the channel of the result"
        " and was stopped. Leave out code that writes to file descriptors.",
    ),
    "memory": (
        "memory",
        "A check expects less than {memory} of memory; the program asked for more{at}. Use smaller"
        " tensors, or a smaller batch.",
    ),
    "exited": (
        "exited",
        "A check expects a program to go on to its end; it ended itself with"
        ' sys.exit({detail}){at}. Put that call under `if __name__ == "__main__":` or leave it'
        " out.",
    ),
    "silent": (
        "exited",
        "A check is expected to hand in a result; this one ended without. That is a fault of the"
        " checker: please report it.",
    ),
    "forbidden": (
        "forbidden",
        "A check expects a program to stay within its own folder and process; the system refused it"
        " something{at} ({detail}). Leave that out, or catch the error.",
    ),
    "crashed": (
        "crashed",
        "A check expects a program to run without an error; it got {detail}{at}. Put that right and"
        " check again.",
    ),
    "cpu": (
        "cpu",
        "A check expects less than {cpu:g} s of processor time; the program used them up{at} and"
        " was stopped. Look for a loop without an end, or for training that a check does not need.",
    ),
    "signal": (
        "crashed",
        "A check expects a program to run without an error; its process was ended by the system"
        " ({signal}){at}. Endless recursion, compiled code or a system short of memory do that.",
    ),
    "os._exit": (
        "exited",
        "A check expects a program to go on to its end; its process ended at once, with exit code"
        " {code} (os._exit). Leave that call out.",
    ),
}


@dataclass(frozen=True)
class Ended:
    """The end of a child process.

    how: one word. result: the child's result if it is "done", else None. output: its prints.
    sentence: the end for people: for a child that is "done", the first of ``refused`` or "".
    refused: a sentence for each kind of operation that was refused, in order.
    """

    how: How
    result: dict[str, Any] | None
    output: str
    sentence: str
    refused: tuple[str, ...] = ()


@dataclass
class Observed:
    """The parent's observations of a child.

    result, notes, last: the child's messages: its result, each refused operation with its line, and
    why it ended. tampered: whether anybody else wrote into their channel. stopped: why the parent
    stopped the child. code, cpu_s: exit code and processor time. line: the line in the child's own
    dump of its stack. output, printed: the prints that were kept, and the size of all prints.
    """

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
        """Keep one message of the child; a second result counts as tampering."""
        if "result" in message:
            self.tampered |= self.result is not None
            self.result = message["result"]
        elif "refused" in message:
            self.notes.append((message["refused"], message["line"]))
        else:
            self.last = message


def ended(seen: Observed, limits: Limits) -> Ended:
    """Say how the child ended."""
    refused = tuple(_refusal(what, line) for what, line in seen.notes)
    if seen.result is not None and not seen.tampered:
        return Ended("done", seen.result, _prints(seen), refused[0] if refused else "", refused)
    how, sentence = _how(seen, limits)
    return Ended(how, None, _prints(seen), sentence, refused)


def _how(seen: Observed, limits: Limits) -> tuple[How, str]:
    cause, line, detail = _cause(seen, limits), seen.line, ""
    if not cause and seen.last:
        cause, line, detail = (seen.last[name] for name in ("ended", "line", "detail"))
        what = seen.last.get("refused_at_last", INPUT if detail.startswith("EOFError") else "")
        if cause == "forbidden" and what:
            return "forbidden", _refusal(what, line)
    how, sentence = _ENDINGS.get(cause, _ENDINGS["crashed"])
    values = {
        "at": _at(line),
        "detail": detail,
        "wall": limits.wall_s,
        "cpu": limits.cpu_s,
        "memory": _bytes(limits.memory_bytes),
        "code": seen.code,
        "signal": "" if seen.code >= 0 else signal.strsignal(-seen.code) or f"signal {-seen.code}",
    }
    return how, _clean(sentence.format(**values))


def _cause(seen: Observed, limits: Limits) -> str:
    """The row of ``_ENDINGS``, or "" if the child itself said why it ended."""
    if seen.tampered:
        return "tampered"
    if seen.stopped or seen.last:
        return seen.stopped or ""
    used_up = seen.code == -signal.SIGKILL and seen.cpu_s >= limits.cpu_s
    if seen.code == -signal.SIGXCPU or used_up:
        return "cpu"
    return "signal" if seen.code < 0 else "os._exit"


def _refusal(what: str, line: int | None) -> str:
    advice = (
        "give the value in the program" if what == INPUT else "leave it out, or catch the error"
    )
    return _clean(f"The program tried to {what}{_at(line)}; the checker does not let it: {advice}.")


def _at(line: int | None) -> str:
    return "" if line is None else f" (line {line})"


def _bytes(number: int) -> str:
    return f"{number / 2**30:.3g} GiB" if number >= 2**30 else f"{number / 2**20:.3g} MiB"


def _prints(seen: Observed) -> str:
    text = _CONTROL.sub("", seen.output.decode("utf-8", "replace"))
    cut = seen.printed - len(seen.output)
    return text if cut <= 0 else f"{text}\n[{cut} bytes more were printed and are left out]\n"


def _clean(text: str) -> str:
    """The text in one line, without characters that control a terminal."""
    return _CONTROL.sub("", text.replace("\n", " "))
