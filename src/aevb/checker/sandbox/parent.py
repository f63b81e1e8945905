"""A stranger's program in a child process with limits: the parent's side, which never runs a line
of it.

The child is a fresh interpreter in its own session, with an empty temporary folder as its working
directory, HOME and TMPDIR, nothing on its standard input and next to nothing in its environment.
What it prints is kept up to a limit and the rest thrown away. Its result comes back through a pipe
of its own, as signed JSON. At the end everything in its process group is killed and its folder
removed. What the child gives up before it runs the stranger's code stands in ``confine``.
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
from types import TracebackType
from typing import Any, BinaryIO

from aevb.checker.sandbox.child import Limits, signed
from aevb.checker.sandbox.endings import Ended, Evidence, ended
from aevb.errors import UsageError

RESULT_BYTES = 16 * 2**20
FOLDER_BYTES = 256 * 2**20
"""What the child's folder may hold; looked at twice a second."""
PIPE_READS = 32
"""More than a pipe can hold (1 MiB, by 64 KiB): what is left is read, what a process that got away
goes on writing is not."""
PARTING_S = 2.0
"""How long a child that has handed in its result may take to end by itself."""
KEPT_VARIABLES = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "KMP_DUPLICATE_LIB_OK")
BOOT = """
import json, os, sys
with os.fdopen(os.dup(int(sys.argv[1])), "rb") as file:
    orders = json.load(file)
sys.path[:] = orders.pop("path")
from aevb.checker.sandbox.child import main
main(orders, int(sys.argv[1]), int(sys.argv[2]))
"""


def run(
    module: str, arguments: Sequence[str], limits: Limits | None = None, path: Sequence[str] = ()
) -> Ended:
    """Run ``python -m module arguments`` as described above; ``path``: folders to search for
    modules before all others.

    The module calls ``confine.confine()`` and ``confine.send(result)`` itself. Raises UsageError on
    Windows.
    """
    if os.name != "posix":
        raise UsageError(
            f"the checker expected Linux or macOS; got {sys.platform}. On Windows, run it inside"
            " WSL."
        )
    limits = limits or Limits()
    folder = os.path.realpath(tempfile.mkdtemp(prefix="aevb-check-"))
    try:
        with (
            tempfile.TemporaryFile() as faults,
            _Child(module, arguments, limits, path, folder, faults) as child,
        ):
            child.watch()
        return ended(child.evidence, limits)
    finally:
        _remove(folder)


class _Child:
    """The process, its two pipes and what has come out of them; left, nothing of its process group
    is alive."""

    def __init__(
        self,
        module: str,
        arguments: Sequence[str],
        limits: Limits,
        path: Sequence[str],
        folder: str,
        faults: BinaryIO,
    ) -> None:
        self.limits, self.folder, self.faults = limits, folder, faults
        self.evidence = Evidence()
        self.key = os.urandom(32)
        self.unread = bytearray()
        orders = {
            "module": module, "arguments": list(arguments), "limits": asdict(limits), "path": [*path, *_import_path()],
            "folder": folder, "parent": os.getpid(), "key": self.key.hex(),
        }  # fmt: skip
        faults.write(json.dumps(orders).encode())
        faults.seek(0)

    def __enter__(self) -> _Child:
        self.results, theirs = os.pipe()
        self.started = time.monotonic()
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-B", "-X", "utf8", "-c", BOOT, str(self.faults.fileno()), str(theirs)],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=self.folder,
                env=_environment(self.folder), pass_fds=(self.faults.fileno(), theirs), start_new_session=True, bufsize=0,
            )  # fmt: skip
        except BaseException:
            os.close(self.results)
            raise
        finally:
            os.close(theirs)
        assert self.process.stdout is not None
        self.prints = self.process.stdout
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # macOS says the second of a group of which only a zombie is left
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self._reap(0)
        self._read_what_is_left()
        os.close(self.results)
        self.prints.close()

    def watch(self) -> None:
        """Read until the child has ended, or must be."""
        with selectors.DefaultSelector() as selector:
            for descriptor in (self.results, self.prints.fileno()):
                os.set_blocking(descriptor, False)
                selector.register(descriptor, selectors.EVENT_READ)
            deadline, next_look = self.started + self.limits.wall_s, self.started
            while self.evidence.stopped is None and not self._has_ended():
                for key, _ in selector.select(0.05):
                    if self._read(key.fd) == b"":
                        selector.unregister(key.fd)
                now = time.monotonic()
                if self.evidence.result is not None:
                    deadline = min(deadline, now + PARTING_S)
                if now > next_look:
                    next_look = now + 0.5
                    if _size(self.folder) > FOLDER_BYTES:
                        self.evidence.stopped = "disk"
                if now > deadline:
                    self._ask_where()
                    self.evidence.stopped = "wall"

    def _ask_where(self) -> None:
        """Have the child's faulthandler write its stack, which works in the middle of a C call too."""
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
        """Its number stays taken, where the system can do that, until the group of that number has
        been killed."""
        if hasattr(os, "waitid"):
            return (
                os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT)
                is not None
            )
        return self._reap(os.WNOHANG)

    def _reap(self, options: int) -> bool:
        if self.process.returncode is None:
            pid, status, usage = os.wait4(self.process.pid, options)
            if pid:
                self.process.returncode = self.evidence.code = os.waitstatus_to_exitcode(status)
                self.evidence.cpu_s = usage.ru_utime + usage.ru_stime
        return self.process.returncode is not None

    def _read_what_is_left(self) -> None:
        for descriptor in (self.results, self.prints.fileno()):
            for _ in range(PIPE_READS):
                if not self._read(descriptor):
                    break
        lines = self._fault_lines()
        self.evidence.line = lines[0] if lines else None

    def _read(self, descriptor: int) -> bytes | None:
        """Take what is there: empty at the end, None if there is nothing now."""
        try:
            data = os.read(descriptor, 65536)
        except BlockingIOError:
            return None
        if descriptor == self.results:
            self._take(data)
        else:
            room = self.limits.output_bytes - len(self.evidence.output)
            self.evidence.output += data[: max(room, 0)]
            self.evidence.printed += len(data)
        return data

    def _take(self, data: bytes) -> None:
        self.unread += data
        *lines, rest = self.unread.split(b"\n") if b"\n" in data else [self.unread]
        self.unread = rest
        for line in map(bytes, lines):
            message = self._verified(line)
            if message is None:
                self.evidence.tampered, self.evidence.stopped = True, "flood"
            else:
                self.evidence.take(message)
        if len(self.unread) > RESULT_BYTES:
            self.evidence.stopped = "flood"

    def _verified(self, line: bytes) -> dict[str, Any] | None:
        text = line.partition(b" ")[2]
        if not text.isascii() or signed(self.key, text.decode("ascii")) != line + b"\n":
            return None
        message = json.loads(text)
        return message if isinstance(message, dict) else None


def _import_path() -> list[str]:
    """Where this process finds its modules, but not the folder that it happens to be in, unless
    aevb is there."""
    home = str(Path(__file__).resolve().parents[3])
    here = os.path.realpath(".")
    whole = [str(Path(entry).absolute()) for entry in sys.path if entry]
    return [entry for entry in whole if os.path.realpath(entry) != here or here == home]


def _environment(folder: str) -> dict[str, str]:
    kept = {name: os.environ[name] for name in KEPT_VARIABLES if name in os.environ}
    threads = dict.fromkeys(
        ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "VECLIB_MAXIMUM_THREADS"),
        "1",
    )
    folders = dict.fromkeys(
        ("HOME", "TMPDIR", "TMP", "TEMP", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "MPLCONFIGDIR"),
        folder,
    )
    rest = {
        "PATH": os.defpath,
        "LANG": "C.UTF-8",
        "MPLBACKEND": "Agg",
        "CUDA_VISIBLE_DEVICES": "",
        "TERM": "dumb",
    }
    # torch.compile would start a C++ compiler; without Dynamo it leaves a model as it is.
    rest["TORCHDYNAMO_DISABLE"] = "1"
    return {**kept, **threads, **folders, **rest}


def _size(folder: str) -> int:
    """Bytes on disk under a folder, of each entry at least a block; no further once that is too
    much."""
    total, folders = 0, [folder]
    while folders and total <= FOLDER_BYTES:
        with (
            contextlib.suppress(OSError),
            os.scandir(folders.pop()) as entries,
        ):  # removed meanwhile, or too deep
            for entry in entries:
                total += max(entry.stat(follow_symlinks=False).st_blocks * 512, 4096)
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
    return total


def _remove(folder: str) -> None:
    """By ``rm``, since Python's own way fails on folders within folders, a thousand deep."""
    subprocess.run(["/bin/rm", "-rf", "--", folder], check=False, capture_output=True)
