"""Python's own guard: an audit hook (PEP 578) that refuses forbidden operations.

A refused operation raises ``RefusedError``, an ordinary PermissionError, so that a program that
does not need it can go on.
"""

from __future__ import annotations

import fcntl
import os
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from types import FrameType, TracebackType
from typing import Any

from aevb.checker.places import STRANGER, is_strangers

NETWORK = "open a network connection"
PROGRAM = "start another program"
PROCESS = "start another process"
LIBRARY = "call into a C library through ctypes"
LIMITS = "change the limits of its own process"
WATCH = "add an audit hook"
SIGNAL = "send a signal to another process"
INPUT = "ask for input from the keyboard"
OWN_CODE = "load compiled code that it wrote itself"

_EVENTS = {
    NETWORK: (
        "socket.__new__ socket.bind socket.connect socket.getaddrinfo socket.gethostbyaddr"
        " socket.gethostbyname socket.getnameinfo socket.sendmsg socket.sendto socket.sethostname"
        " urllib.Request http.client.connect ftplib.connect smtplib.connect poplib.connect"
        " imaplib.open telnetlib.Telnet.open nntplib.connect webbrowser.open"
    ),
    PROGRAM: "subprocess.Popen os.system os.exec os.posix_spawn os.spawn os.startfile pty.spawn",
    PROCESS: "os.fork os.forkpty",
    LIBRARY: (
        "ctypes.dlopen ctypes.dlsym ctypes.dlsym/handle ctypes.call_function ctypes.cdata"
        " ctypes.string_at ctypes.wstring_at"
    ),
    LIMITS: "resource.setrlimit resource.prlimit",
    WATCH: "sys.addaudithook",
    INPUT: "builtins.input",
    SIGNAL: "os.killpg",
}
_NEVER = {event: what for what, events in _EVENTS.items() for event in events.split()}

# event: (its verb, the positions of its paths, the position of the folder's descriptor)
_CHANGES: dict[str, tuple[str, tuple[int, ...], int | None]] = {
    "os.remove": ("remove", (0,), 1),
    "os.rmdir": ("remove", (0,), 1),
    "shutil.rmtree": ("remove", (0,), None),
    "os.rename": ("rename", (0, 1), None),
    "os.mkdir": ("make the folder", (0,), 2),
    "os.link": ("link", (0, 1), None),
    "os.symlink": ("make the link", (1,), 2),
    "os.truncate": ("write to", (0,), None),
    "os.utime": ("change", (0,), 3),
    "os.chmod": ("change the permissions of", (0,), 2),
    "os.chown": ("change the owner of", (0,), 3),
    "os.setxattr": ("change", (0,), None),
    "os.removexattr": ("change", (0,), None),
    "sqlite3.connect": ("write to", (0,), None),
}
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
_NO_FILE = {"", ":memory:", os.devnull}


class RefusedError(PermissionError):
    """An operation that a stranger's program may not do, and the line that tried it."""

    def __init__(self, what: str, line: int | None) -> None:
        super().__init__(f"the checker does not let a program {what}")
        self.what = what
        self.line = line


def _frames(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def line_of(frame: FrameType | None) -> int | None:
    """The innermost line of the stranger's file on a stack, else of a file beside it."""
    found = [(one.f_code.co_filename, one.f_lineno) for one in _frames(frame)]
    own = next((line for file, line in found if file == STRANGER), None)
    return own or next((line for file, line in found if is_strangers(file)), None)


def line_of_error(error: BaseException) -> int | None:
    """The innermost line of the stranger's file that an exception went through."""
    if isinstance(error, SyntaxError) and error.filename == STRANGER:
        return error.lineno
    line, step = None, error.__traceback__
    while isinstance(step, TracebackType):
        if step.tb_frame.f_code.co_filename == STRANGER:
            line = step.tb_lineno
        step = step.tb_next
    return line


def _by_an_import(frame: FrameType | None) -> bool:
    """Whether an import acts, not the program: matplotlib looks for fonts, for example."""
    for one in _frames(frame):
        if is_strangers(one.f_code.co_filename):
            return False
        if one.f_code.co_filename.startswith("<frozen importlib"):
            return True
    return False


def hook(
    folder: str, note: Callable[[str, int | None], None]
) -> Callable[[str, tuple[Any, ...]], None]:
    """Make an audit hook that lets a program write files under ``folder`` alone.

    The hook calls ``note`` with each refused operation and its line.
    """
    root = os.path.realpath(folder)
    # Event -> a function of its arguments that returns what to refuse, or None.
    rules: dict[str, Callable[[tuple[Any, ...]], str | None]] = {
        **{event: partial(_change, root, event) for event in _CHANGES},
        "open": partial(_open, root),
        "import": partial(_import, root),
        "os.kill": _kill,
    }

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        rule = rules.get(event)
        what = _NEVER.get(event) if rule is None else rule(arguments)
        if what is None:
            return
        frame = sys._getframe(1)
        line = line_of(frame)
        if not _by_an_import(frame):
            note(what, line)
        if what != INPUT:  # input ends in EOFError by itself
            raise RefusedError(what, line)

    return watch


def _open(root: str, arguments: tuple[Any, ...]) -> str | None:
    path = _outside(root, arguments[:1], follow=True) if arguments[2] & _WRITING else None
    return None if path is None else f"write outside its own folder ({path!r})"


def _change(root: str, event: str, arguments: tuple[Any, ...]) -> str | None:
    does, places, descriptor = _CHANGES[event]
    folder = None if descriptor is None else arguments[descriptor]
    path = _outside(root, [arguments[i] for i in places], folder)
    if path is None or (event == "os.mkdir" and os.path.lexists(path)):
        return None
    return f"{does} something outside its own folder ({path!r})"


def _kill(arguments: tuple[Any, ...]) -> str | None:
    return None if arguments[0] == os.getpid() else SIGNAL


def _import(root: str, arguments: tuple[Any, ...]) -> str | None:
    file = arguments[1]  # of a compiled module
    return OWN_CODE if isinstance(file, str) and _outside(root, [file]) is None else None


def _outside(
    root: str, paths: Iterable[object], folder: object = None, *, follow: bool = False
) -> str | None:
    """The first path that is not under ``root``; ``_real`` explains the other arguments."""
    for path in paths:
        if isinstance(path, int) or path is None:  # a descriptor that was opened before
            continue
        text = os.fsdecode(path)  # type: ignore[arg-type]
        if text in _NO_FILE:
            continue
        real = _real(text, folder, follow)
        if not real.startswith(root + os.sep):
            return real.replace("//", "/")
    return None


def _real(text: str, folder: object, follow: bool) -> str:
    """Resolve the links of a path, relative to the descriptor ``folder``.

    A link in the last part is kept unless ``follow``: to remove a link removes no other file.
    """
    base = "" if text.startswith(os.sep) else _path_of(folder)
    head, _, tail = text.rstrip(os.sep).rpartition(os.sep)
    if follow or tail in ("", ".", ".."):
        return os.path.realpath(f"{base}/{text}")
    return f"{os.path.realpath(f'{base}/{head}') if head or not base else base}/{tail}"


def _path_of(folder: object) -> str:
    """The folder where relative paths start: a descriptor's, or the working directory."""
    if not isinstance(folder, int) or folder < 0:
        return os.getcwd()  # noqa: PTH109 (fast: this runs for every file that is opened)
    if sys.platform == "darwin":
        return os.fsdecode(fcntl.fcntl(folder, fcntl.F_GETPATH, bytes(1024)).rstrip(b"\0"))
    return os.path.realpath(f"/proc/self/fd/{folder}")
