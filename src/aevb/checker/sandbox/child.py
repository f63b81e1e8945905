"""The child's side of the sandbox: what a process gives up before it runs a stranger's program, and
how it reports.

A module that ``sandbox.run`` starts imports what it needs, calls ``confine()``, runs the stranger's
code, compiled under the file name ``watching.STRANGER``, and hands back its findings with ``send``.
An exception that it lets through ends it with a note of its kind and line. Nothing here imports
torch.
"""

from __future__ import annotations

import contextlib
import faulthandler
import fcntl
import hashlib
import hmac
import json
import math
import os
import random
import resource
import runpy
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from aevb.checker.sandbox import kernel
from aevb.checker.sandbox.audit import INPUT, PROCESS, RefusedError, hook, line_of, line_of_error

LAYERS = (
    "memory", "processor time", "file size", "no core files", "number of processes", "audit hook", "no new privileges",
    "ends with its parent", "system calls", "files (Landlock)",
)  # fmt: skip
"""All that ``confine`` can put on; which of it is there depends on the system."""
FILE_BYTES = 64 * 2**20
NOTES = 8
"""Refused operations that are reported; a program that tries again and again must not fill the
channel."""
FORGE = "write the checker's own result"


@dataclass(frozen=True)
class Limits:
    """What a child process may use.

    ``wall_s``: seconds from its start. ``cpu_s``: processor seconds after ``confine``, rounded up
    to a whole one. ``memory_bytes``: address space beyond what it has at ``confine``.
    ``output_bytes``: how much of its prints is kept.
    """

    wall_s: float = 60.0
    cpu_s: float = 60.0
    memory_bytes: int = 4 * 2**30
    output_bytes: int = 64 * 2**10


class _Channel:
    """One line a message, each signed with a key that came with the orders: chance writing to the
    pipe is recognised."""

    def __init__(self, descriptor: int, key: bytes) -> None:
        self.descriptor = descriptor
        self.key = key
        self.notes: dict[str, int | None] = {}
        self.sent = False
        self.lock = threading.RLock()

    def write(self, message: dict[str, Any]) -> None:
        line = memoryview(signed(self.key, json.dumps(message)))
        with self.lock:
            while line:
                line = line[os.write(self.descriptor, line) :]

    def result(self, result: dict[str, Any]) -> None:
        line = line_of(sys._getframe(1))
        if line is not None or threading.current_thread() is not threading.main_thread():
            self.note(FORGE, line)
            raise RefusedError(FORGE, line)
        self.write({"result": result})
        self.sent = True

    def note(self, what: str, line: int | None) -> None:
        what = what[:300]
        if what not in self.notes and len(self.notes) < NOTES:
            self.notes[what] = line
            with contextlib.suppress(OSError):
                self.write({"refused": what, "line": line})


def signed(key: bytes, text: str) -> bytes:
    """A message as it goes through the pipe: its signature (HMAC-SHA256), a space, JSON without a
    line break, a line break."""
    body = text.encode("ascii")
    return hmac.new(key, body, hashlib.sha256).hexdigest().encode() + b" " + body + b"\n"


class _State:
    channel: _Channel | None = None
    limits = Limits()
    folder = ""
    faults = -1
    layers: tuple[str, ...] = ()


def send(result: dict[str, Any]) -> None:
    """Hand back the result, once. Refused to a stranger's code, from the stack, and to threads;
    TypeError if it is not JSON."""
    channel = _State.channel
    if channel is None:
        raise RuntimeError(
            "send expected a process started by sandbox.parent.run; got another. Start it with run."
        )
    channel.result(result)


def confine(limits: Limits | None = None) -> list[str]:
    """Give up, for good, what a stranger's program must not have; the names of the layers that are
    active, of ``LAYERS``."""
    limits = limits or _State.limits
    channel = _State.channel
    folder = _State.folder or str(Path.cwd())
    sys.dont_write_bytecode = True
    sys.stdout.flush()
    active = {*_State.layers, *_limit(limits)}
    if kernel.forbid_new_privileges():
        active.add("no new privileges")
        descriptors = [channel.descriptor, _State.faults] if channel else []
        if kernel.restrict_writing(folder):
            active.add("files (Landlock)")
        if kernel.filter_calls(descriptors):
            active.add("system calls")
    note: Callable[[str, int | None], None] = channel.note if channel else lambda *_: None
    if "system calls" not in active:
        _without_a_filter(note)
        if _lowered(resource.RLIMIT_NPROC, 0):
            active.add("number of processes")
    sys.addaudithook(hook(folder, note))
    active.add("audit hook")
    return [layer for layer in LAYERS if layer in active]


def _limit(limits: Limits) -> list[str]:
    used = time_used()
    wanted = {
        "memory": (
            resource.RLIMIT_AS,
            _address_space() + limits.memory_bytes if _address_space() else None,
        ),
        "processor time": (resource.RLIMIT_CPU, math.ceil(used + limits.cpu_s)),
        "file size": (resource.RLIMIT_FSIZE, FILE_BYTES),
        "no core files": (resource.RLIMIT_CORE, 0),
    }
    return [
        name
        for name, (kind, value) in wanted.items()
        if value is not None and _lowered(kind, value)
    ]


def _lowered(kind: int, value: int) -> bool:
    """Set a limit, the hard one as well, unless a lower one stands; of processor time a second
    later, to tell the two."""
    hard = resource.getrlimit(kind)[1]
    spare = 1 if kind == resource.RLIMIT_CPU else 0
    ceiling = value + spare if hard == resource.RLIM_INFINITY else min(hard, value + spare)
    try:
        resource.setrlimit(kind, (min(value, ceiling), ceiling))
    except (ValueError, OSError):
        return False
    return True


def time_used() -> float:
    """Processor seconds of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _address_space() -> int:
    """Bytes of address space in use, or 0 where the system does not say (macOS, which keeps no such
    limit either)."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except OSError:
        return 0


def _without_a_filter(note: Callable[[str, int | None], None]) -> None:
    """Where the kernel cannot refuse it: the one way to a new process that has no audit event."""
    import _posixsubprocess

    def fork_exec(*_: Any, **__: Any) -> NoReturn:
        line = line_of(sys._getframe(1))
        note(PROCESS, line)
        raise RefusedError(PROCESS, line)

    _posixsubprocess.fork_exec = fork_exec


def main(orders: dict[str, Any], faults: int, channel: int) -> NoReturn:
    """Run the module that the parent named, and end the process at once when it is through,
    whatever else still runs in it."""
    os.ftruncate(faults, 0)
    os.lseek(faults, 0, os.SEEK_SET)
    _State.faults, pipe = _out_of_the_way(faults), _out_of_the_way(channel)
    _State.channel = _Channel(pipe, bytes.fromhex(orders.pop("key")))
    _State.limits, _State.folder = Limits(**orders["limits"]), orders["folder"]
    if kernel.die_with(orders["parent"]):
        _State.layers = ("ends with its parent",)
    faulthandler.enable(_State.faults, all_threads=False)
    faulthandler.register(signal.SIGUSR1, _State.faults, all_threads=False)
    faulthandler.register(signal.SIGXCPU, _State.faults, all_threads=False, chain=True)
    sys.argv = [orders["module"], *orders["arguments"]]
    code = 0
    try:
        runpy.run_module(orders["module"], run_name="__main__", alter_sys=True)
    except BaseException as error:
        code = 1
        _last_words(error)
    else:
        if not _State.channel.sent:
            _State.channel.write({"ended": "silent", "line": None, "detail": ""})
    with contextlib.suppress(BaseException):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def _out_of_the_way(descriptor: int) -> int:
    """The same file under a high number, which a loop over the first descriptors does not meet."""
    most = min(resource.getrlimit(resource.RLIMIT_NOFILE)[0], 1024)
    moved = fcntl.fcntl(
        descriptor, fcntl.F_DUPFD_CLOEXEC, random.SystemRandom().randrange(most // 2, most - 16)
    )
    os.close(descriptor)
    return moved


def _last_words(error: BaseException) -> None:
    kind, line = _kind(error), line_of_error(error)
    detail, refused = type(error).__name__, _refused(error)
    if kind == "memory":
        error.__traceback__ = error.__context__ = error.__cause__ = (
            None  # what it holds is what there is too much of
        )
    with contextlib.suppress(Exception):
        detail = repr(error.code) if isinstance(error, SystemExit) else f"{detail}: {error}"[:500]
    if kind == "crashed":
        with contextlib.suppress(Exception):
            traceback.print_exception(error)
    message = {"ended": kind, "line": line, "detail": detail}
    if refused is not None:
        message |= {"refused_at_last": refused.what, "line": refused.line}
    with contextlib.suppress(OSError):
        if _State.channel is not None:
            _State.channel.write(message)


def _kind(error: BaseException) -> str:
    if isinstance(error, SystemExit):
        return "exited"
    if isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and "allocate memory" in str(error)
    ):
        return "memory"
    asked = _State.channel is not None and INPUT in _State.channel.notes
    if (
        _refused(error)
        or isinstance(error, PermissionError)
        or (isinstance(error, EOFError) and asked)
    ):
        return "forbidden"
    return "crashed"


def _refused(error: BaseException | None) -> RefusedError | None:
    """The refusal that an exception is, or was raised from."""
    for _ in range(20):
        if error is None or isinstance(error, RefusedError):
            return error
        error = error.__cause__ or error.__context__
    return None
