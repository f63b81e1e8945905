"""The parent's side: it runs a stranger's program in a child process with limits.

The parent never runs a line of the program. The child is a fresh interpreter in its own session.
Its working directory, HOME and TMPDIR are an empty temporary folder, its standard input is empty,
and it gets few environment variables. Its prints are kept up to a limit. Its result comes
through a pipe as signed JSON. At the end the parent kills the child's process group and removes the
folder. ``confine.confine`` says what the child gives up before it runs the stranger's code.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import selectors
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

from aevb.checker.sandbox.confine import Limits, signed
from aevb.checker.sandbox.endings import Ended, Observed, ended
from aevb.errors import UsageError

RESULT_BYTES = 16 * 2**20
FOLDER_BYTES = 256 * 2**20
"""The most that the child's folder may hold; the parent looks twice a second."""
PIPE_READS = 32
"""The last reads of a pipe, 64 KiB each: more than it can hold, but not endless."""
PARTING_S = 2.0
"""How long a child may live after its result."""
BOOT = """
import json, os, sys
with os.fdopen(os.dup(int(sys.argv[1])), "rb") as file:
    orders = json.load(file)
sys.path[:] = orders.pop("path")
from aevb.checker.sandbox.confine import main
main(orders, int(sys.argv[1]), int(sys.argv[2]))
"""
KEPT_VARIABLES = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "KMP_DUPLICATE_LIB_OK")
VARIABLES = {
    "PATH": os.defpath,
    "LANG": "C.UTF-8",
    "MPLBACKEND": "Agg",
    "CUDA_VISIBLE_DEVICES": "",
    "TERM": "dumb",
    # torch.compile would start a C++ compiler; without Dynamo it leaves a model as it is.
    "TORCHDYNAMO_DISABLE": "1",
}
THREADS = "OMP_NUM_THREADS MKL_NUM_THREADS OPENBLAS_NUM_THREADS VECLIB_MAXIMUM_THREADS"
FOLDERS = "HOME TMPDIR TMP TEMP XDG_CACHE_HOME XDG_CONFIG_HOME MPLCONFIGDIR"


def run(
    module: str, arguments: Sequence[str], limits: Limits | None = None, path: Sequence[str] = ()
) -> Ended:
    """Run ``python -m module arguments`` in a child process.

    Args:
        module: a module that calls ``confine()`` and ``send(result)`` itself.
        arguments: those of the module.
        limits: the child's limits.
        path: folders to search for modules before all others.

    Returns:
        How the child ended, with its result if it has one.

    Raises:
        UsageError: on Windows.
    """
    if os.name != "posix":
        raise UsageError(
            f"the checker expected Linux or macOS; got {sys.platform}. On Windows, run it inside"
            " WSL."
        )
    limits = limits or Limits()
    folder = os.path.realpath(tempfile.mkdtemp(prefix="aevb-check-"))
    orders = {
        "module": module,
        "arguments": list(arguments),
        "limits": asdict(limits),
        "path": [*path, *_import_path()],
        "folder": folder,
        "parent": os.getpid(),
    }
    try:
        with tempfile.TemporaryFile() as faults, _Child(orders, limits, folder, faults) as child:
            child.watch()
        return ended(child.seen, limits)
    finally:
        # Python's own way to remove folders fails on a thousand of them, one in the other
        subprocess.run(["/bin/rm", "-rf", "--", folder], check=False, capture_output=True)


class _Child:
    """The process and its two pipes; leaving it kills the process group.

    ``seen`` holds the observations. ``faults`` is a file: the child reads its orders from it, and
    its faulthandler then writes to it.
    """

    def __init__(
        self, orders: dict[str, Any], limits: Limits, folder: str, faults: BinaryIO
    ) -> None:
        self.limits, self.folder, self.faults = limits, folder, faults
        self.seen = Observed()
        self.key = os.urandom(32)
        self.unread = bytearray()
        faults.write(json.dumps(orders | {"key": self.key.hex()}).encode())
        faults.seek(0)

    def __enter__(self) -> _Child:
        self.results, theirs = os.pipe()
        files = (self.faults.fileno(), theirs)
        self.started = time.monotonic()
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-B", "-X", "utf8", "-c", BOOT, *map(str, files)],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                cwd=self.folder,
                env=_environment(self.folder),
                pass_fds=files,
                start_new_session=True,
                bufsize=0,
            )
        except BaseException:
            os.close(self.results)
            raise
        finally:
            os.close(theirs)
        assert self.process.stdout is not None
        self.prints = self.process.stdout
        return self

    def __exit__(self, *_: object) -> None:
        # macOS raises PermissionError if only a zombie is left of the group
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self._reap(0)
        self._read_what_is_left()
        os.close(self.results)
        self.prints.close()

    def watch(self) -> None:
        """Read until the child has ended, or has to be stopped."""
        with selectors.DefaultSelector() as selector:
            for descriptor in (self.results, self.prints.fileno()):
                os.set_blocking(descriptor, False)
                selector.register(descriptor, selectors.EVENT_READ)
            deadline, next_look = self.started + self.limits.wall_s, self.started
            while self.seen.stopped is None and not self._has_ended():
                for key, _ in selector.select(0.05):
                    if self._read(key.fd) == b"":
                        selector.unregister(key.fd)
                now = time.monotonic()
                if self.seen.result is not None:
                    deadline = min(deadline, now + PARTING_S)
                if now > next_look:
                    next_look = now + 0.5
                    if _size(self.folder) > FOLDER_BYTES:
                        self.seen.stopped = "disk"
                if now > deadline:
                    self._ask_where()
                    self.seen.stopped = "wall"

    def _ask_where(self) -> None:
        """Let the child's faulthandler write its stack, even in the middle of a C call."""
        if self._has_ended():
            return
        os.kill(self.process.pid, signal.SIGUSR1)
        before = time.monotonic()
        while time.monotonic() < before + 0.3 and not self._fault_lines():
            time.sleep(0.01)

    def _fault_lines(self) -> list[int]:
        text = os.pread(self.faults.fileno(), 65536, 0)
        return [int(number) for number in re.findall(rb'File "<stranger>", line (\d+)', text)]

    def _has_ended(self) -> bool:
        """Whether the child has ended; if possible without reaping, which would free its number."""
        if hasattr(os, "waitid"):
            options = os.WEXITED | os.WNOHANG | os.WNOWAIT
            return os.waitid(os.P_PID, self.process.pid, options) is not None
        return self._reap(os.WNOHANG)

    def _reap(self, options: int) -> bool:
        if self.process.returncode is None:
            pid, status, usage = os.wait4(self.process.pid, options)
            if pid:
                self.process.returncode = self.seen.code = os.waitstatus_to_exitcode(status)
                self.seen.cpu_s = usage.ru_utime + usage.ru_stime
        return self.process.returncode is not None

    def _read_what_is_left(self) -> None:
        for descriptor in (self.results, self.prints.fileno()):
            for _ in range(PIPE_READS):
                if not self._read(descriptor):
                    break
        self.seen.line = next(iter(self._fault_lines()), None)

    def _read(self, descriptor: int) -> bytes | None:
        """Read the available bytes: empty at the end, None if there are none now."""
        try:
            data = os.read(descriptor, 65536)
        except BlockingIOError:
            return None
        if descriptor == self.results:
            self._take(data)
        else:
            room = self.limits.output_bytes - len(self.seen.output)
            self.seen.output += data[: max(room, 0)]
            self.seen.printed += len(data)
        return data

    def _take(self, data: bytes) -> None:
        self.unread += data
        *lines, self.unread = self.unread.split(b"\n") if b"\n" in data else [self.unread]
        for line in map(bytes, lines):
            message = self._verified(line)
            if message is None:
                self.seen.tampered, self.seen.stopped = True, "flood"
            else:
                self.seen.take(message)
        if len(self.unread) > RESULT_BYTES:
            self.seen.stopped = "flood"

    def _verified(self, line: bytes) -> dict[str, Any] | None:
        text = line.partition(b" ")[2]
        if not text.isascii() or signed(self.key, text.decode("ascii")) != line + b"\n":
            return None
        message = json.loads(text)
        return message if isinstance(message, dict) else None


def _import_path() -> list[str]:
    """This process's import path, without its working directory unless aevb is there."""
    home = str(Path(__file__).resolve().parents[3])
    here = os.path.realpath(".")
    whole = [str(Path(entry).absolute()) for entry in sys.path if entry]
    return [entry for entry in whole if os.path.realpath(entry) != here or here == home]


def _environment(folder: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    threads = dict.fromkeys(THREADS.split(), "1")
    return {**kept, **threads, **dict.fromkeys(FOLDERS.split(), folder), **VARIABLES}


def _size(folder: str) -> int:
    """The bytes under a folder, at least a block for each entry; the count stops at the limit."""
    total, folders = 0, [folder]
    while folders and total <= FOLDER_BYTES:
        # a folder may be gone by now, or too deep
        with contextlib.suppress(OSError), os.scandir(folders.pop()) as entries:
            for entry in entries:
                total += max(entry.stat(follow_symlinks=False).st_blocks * 512, 4096)
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
    return total
