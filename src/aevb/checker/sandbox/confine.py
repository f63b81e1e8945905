"""The child's side: a process gives up rights before a stranger's code runs, and sends a result.

``sandbox.parent.run`` starts a module in a child process. That module does its imports, calls
``confine()``, runs the stranger's code, which is compiled under the file name
``places.STRANGER``, and sends its result with ``send``. If an exception leaves the module, its kind
and line are sent to the parent. Nothing here imports torch.
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
"""All layers of protection; the system decides which of them take effect."""
FILE_BYTES = 64 * 2**20
NOTES = 8
"""The most refused operations to report, so that endless attempts do not fill the channel."""
FORGE = "write the checker's own result"


@dataclass(frozen=True)
class Limits:
    """Limits of a child process.

    wall_s: seconds from its start. cpu_s: processor seconds after ``confine``, rounded up to a
    whole one. memory_bytes: address space beyond that at ``confine``. output_bytes: the part of its
    prints that is kept.
    """

    wall_s: float = 60.0
    cpu_s: float = 60.0
    memory_bytes: int = 4 * 2**30
    output_bytes: int = 64 * 2**10


class _Channel:
    """The pipe to the parent, one signed line for each message.

    The parent sends the key of the signatures, and so recognises lines that others wrote.
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
    """The state of this process, set by ``main`` from the parent's orders."""

    channel: _Channel | None = None
    limits = Limits()
    folder = ""
    faults = -1
    layers: tuple[str, ...] = ()


def send(result: dict[str, Any]) -> None:
    """Send the result, once; TypeError if it is not JSON.

    The call is refused from a stranger's code and from every thread but the first.
    """
    if _State.channel is None:
        raise RuntimeError(
            "send expected a process started by sandbox.parent.run; got another. Start it with run."
        )
    _State.channel.result(result)


def confine(limits: Limits | None = None) -> list[str]:
    """Give up, for good, all rights that a stranger's program must not have.

    Returns the names in ``LAYERS`` of those that took effect.
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
    """Lower the system's limits for this process; return the names of those that took effect."""
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
    """Set a limit for good, unless there is a lower one.

    The hard limit on processor time is a second later, so that its signal differs from the soft
    one's.
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
    """Bytes of address space in use; 0 on macOS, which neither reports nor limits them."""
    try:
        return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    except OSError:
        return 0


def _refuse_fork_exec(note: Callable[[str, int | None], None]) -> None:
    """Close the only way to a new process that has no audit event, if the kernel does not."""
    import _posixsubprocess

    def fork_exec(*_: Any, **__: Any) -> NoReturn:
        line = line_of(sys._getframe(1))
        note(PROCESS, line)
        raise RefusedError(PROCESS, line)

    _posixsubprocess.fork_exec = fork_exec


def main(orders: dict[str, Any], faults: int, channel: int) -> NoReturn:
    """Run the module that the parent named, then end the process with all its threads.

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
    """Move a file to a high descriptor, which a loop over the first ones does not reach."""
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
    if kind == "memory":  # free the objects that fill it
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
    """The refusal in an exception's chain of causes, if there is one."""
    for _ in range(20):
        if error is None or isinstance(error, RefusedError):
            return error
        error = error.__cause__ or error.__context__
    return None
