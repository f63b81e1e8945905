"""The child's side: what a process gives up before a stranger's program, and how it reports.

``sandbox.parent.run`` starts a module in a child process. That module imports what it needs, calls
``confine()``, runs the stranger's code, compiled under the file name ``audit.STRANGER``, and hands
in its result with ``send``. An exception that leaves the module ends the process with a note of its
kind and line. Nothing here imports torch.
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
    "memory", "processor time", "file size", "no core files", "number of processes", "audit hook",
    "no new privileges", "ends with its parent", "system calls", "files (Landlock)",
)  # fmt: skip
"""Everything that ``confine`` can give up; the system decides how much of it."""
FILE_BYTES = 64 * 2**20
NOTES = 8
"""How many refused operations are reported: endless attempts must not fill the channel."""
FORGE = "write the checker's own result"


@dataclass(frozen=True)
class Limits:
    """What a child process may use.

    wall_s: seconds from its start. cpu_s: processor seconds after ``confine``, rounded up to a
    whole one. memory_bytes: address space beyond that at ``confine``. output_bytes: how much of
    its prints is kept.
    """

    wall_s: float = 60.0
    cpu_s: float = 60.0
    memory_bytes: int = 4 * 2**30
    output_bytes: int = 64 * 2**10


class _Channel:
    """The pipe to the parent, one signed line for each message.

    The key of the signatures came with the orders, so the parent knows what others wrote.
    """

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
    """One line of the pipe: the HMAC-SHA256 of the text in hexadecimal, a space, the text."""
    body = text.encode("ascii")
    return hmac.new(key, body, hashlib.sha256).hexdigest().encode() + b" " + body + b"\n"


class _State:
    """This process, once ``main`` has read the parent's orders."""

    channel: _Channel | None = None
    limits = Limits()
    folder = ""
    faults = -1
    layers: tuple[str, ...] = ()


def send(result: dict[str, Any]) -> None:
    """Hand in the result, once; TypeError if it is not JSON.

    A stranger's code anywhere on the stack is refused, and so is every thread but the first.
    """
    if _State.channel is None:
        raise RuntimeError(
            "send expected a process started by sandbox.parent.run; got another. Start it with run."
        )
    _State.channel.result(result)


def confine(limits: Limits | None = None) -> list[str]:
    """Give up, for good, what a stranger's program must not have.

    Returns the names of the layers that took effect, of ``LAYERS``.
    """
    channel = _State.channel
    note: Callable[[str, int | None], None] = channel.note if channel else lambda *_: None
    folder = _State.folder or str(Path.cwd())
    sys.dont_write_bytecode = True
    sys.stdout.flush()
    active = {*_State.layers, *_limit(limits or _State.limits)}
    if kernel.forbid_new_privileges():
        active.add("no new privileges")
        if kernel.restrict_writing(folder):
            active.add("files (Landlock)")
        if kernel.filter_calls([channel.descriptor, _State.faults] if channel else []):
            active.add("system calls")
    if "system calls" not in active:
        _refuse_fork_exec(note)
        if _lowered(resource.RLIMIT_NPROC, 0):
            active.add("number of processes")
    sys.addaudithook(hook(folder, note))
    active.add("audit hook")
    return [layer for layer in LAYERS if layer in active]


def _limit(limits: Limits) -> list[str]:
    """Lower the limits of the system; returns the names of those that took effect."""
    usage, used = resource.getrusage(resource.RUSAGE_SELF), _address_space()
    cpu_s = usage.ru_utime + usage.ru_stime + limits.cpu_s
    wanted = {
        "processor time": (resource.RLIMIT_CPU, math.ceil(cpu_s)),
        "file size": (resource.RLIMIT_FSIZE, FILE_BYTES),
        "no core files": (resource.RLIMIT_CORE, 0),
    }
    if used:
        wanted["memory"] = (resource.RLIMIT_AS, used + limits.memory_bytes)
    return [name for name, (kind, value) in wanted.items() if _lowered(kind, value)]


def _lowered(kind: int, value: int) -> bool:
    """Set a limit for good, unless a lower one stands.

    The hard limit of the processor time is a second later, so that the signals tell the two apart.
    """
    hard = resource.getrlimit(kind)[1]
    ceiling = value + 1 if kind == resource.RLIMIT_CPU else value
    if hard != resource.RLIM_INFINITY:
        ceiling = min(hard, ceiling)
    try:
        resource.setrlimit(kind, (min(value, ceiling), ceiling))
    except (ValueError, OSError):
        return False
    return True


def _address_space() -> int:
    """Bytes of address space in use; 0 on macOS, which neither says nor limits them."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except OSError:
        return 0


def _refuse_fork_exec(note: Callable[[str, int | None], None]) -> None:
    """Close the one way to a new process that has no audit event, where the kernel cannot."""
    import _posixsubprocess

    def fork_exec(*_: Any, **__: Any) -> NoReturn:
        line = line_of(sys._getframe(1))
        note(PROCESS, line)
        raise RefusedError(PROCESS, line)

    _posixsubprocess.fork_exec = fork_exec


def main(orders: dict[str, Any], faults: int, channel: int) -> NoReturn:
    """Run the module that the parent named, then end the process whatever else runs in it.

    Args:
        orders: the parent's, from ``parent._Child``.
        faults: descriptor of the file where faulthandler writes the stack.
        channel: descriptor of the pipe to the parent.
    """
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
        if not _State.channel.sent:
            _State.channel.write({"ended": "silent", "line": None, "detail": ""})
    except BaseException as error:
        code = 1
        _last_words(_State.channel, error)
    with contextlib.suppress(BaseException):
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(code)


def _out_of_the_way(descriptor: int) -> int:
    """Move a file to a high number, which a loop over the first descriptors does not meet."""
    most = min(resource.getrlimit(resource.RLIMIT_NOFILE)[0], 1024)
    number = random.SystemRandom().randrange(most // 2, most - 16)
    moved = fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, number)
    os.close(descriptor)
    return moved


def _last_words(channel: _Channel, error: BaseException) -> None:
    """Report the exception that ended the program."""
    refused = _refused(error)
    kind = _kind(error, channel)
    message = {"ended": kind, "line": line_of_error(error), "detail": type(error).__name__}
    if kind == "memory":  # let go of what fills it
        error.__traceback__ = error.__context__ = error.__cause__ = None
    with contextlib.suppress(Exception):
        text = f"{type(error).__name__}: {error}"[:500]
        message["detail"] = repr(error.code) if isinstance(error, SystemExit) else text
    if kind == "crashed":
        with contextlib.suppress(Exception):
            traceback.print_exception(error)
    if refused is not None:
        message |= {"refused_at_last": refused.what, "line": refused.line}
    with contextlib.suppress(OSError):
        channel.write(message)


def _kind(error: BaseException, channel: _Channel) -> str:
    if isinstance(error, SystemExit):
        return "exited"
    by_torch = isinstance(error, RuntimeError) and "allocate memory" in str(error)
    if isinstance(error, MemoryError) or by_torch:
        return "memory"
    no_input = isinstance(error, EOFError) and INPUT in channel.notes
    refused = isinstance(error, PermissionError) or _refused(error) is not None
    return "forbidden" if refused or no_input else "crashed"


def _refused(error: BaseException | None) -> RefusedError | None:
    """Find the refusal that an exception is, or was raised from."""
    for _ in range(20):
        if error is None or isinstance(error, RefusedError):
            return error
        error = error.__cause__ or error.__context__
    return None
