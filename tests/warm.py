"""Children of the checker that are forked from a process which has imported torch already.

A child of ``check_file`` imports torch, which takes ten times as long as judging. ``Warm`` starts
``python warm.py``, which imports torch once and then runs ``sandbox.parent.run`` for each request.
A fork takes the place of the fresh interpreter; the child is confined, watched and limited as ever.
Fresh interpreters are those of test_checker_sandbox.py, test_checker_confine.py and of the commands
that run in another process.
"""

from __future__ import annotations

import gc
import json
import os
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from aevb.checker.sandbox import parent
from aevb.checker.sandbox.confine import Limits
from aevb.checker.sandbox.endings import Ended


class Warm:
    """``run`` as in ``sandbox.parent``, with children that are forked by the other process."""

    def __enter__(self) -> Warm:
        self.process = subprocess.Popen(
            [sys.executable, __file__],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parent,
        )
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(60)
        self.process.stdout.close()

    def run(
        self,
        module: str,
        arguments: Sequence[str],
        limits: Limits | None = None,
        path: Sequence[str] = (),
    ) -> Ended:
        answer = self._asked(
            do="run",
            module=module,
            arguments=list(arguments),
            path=list(path),
            limits=asdict(limits or Limits()),
        )
        return Ended(**answer | {"refused": tuple(answer["refused"])})

    def judged(
        self, paths: Iterable[Path], seeds: Sequence[int] = (), rules: Path | None = None
    ) -> dict[str, tuple[str, list[str]]]:
        """Judge files in one process, unconfined: (verdict, classes) by file name.

        With seeds, take a single look with each seed: (verdict, classes) by "NAME SEED". With a
        folder of rules, these belong to the package.
        """
        files = list(map(str, paths))
        lines = self._asked(do="judge", paths=files, seeds=list(seeds), rules=str(rules or ""))
        assert isinstance(lines, list), lines
        return {line["file"]: (line["verdict"], line["classes"]) for line in lines}

    def _asked(self, **request: Any) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())


class Forked:
    """What ``sandbox.parent`` needs of ``subprocess.Popen``, for a fork of this process."""

    def __init__(
        self, command: list[str], *, cwd: str, env: dict[str, str], pass_fds: Any, **_: Any
    ) -> None:
        read, write = os.pipe()
        self.returncode: int | None = None
        sys.stdout.flush()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                _become(command, cwd, env, write, pass_fds)
            finally:
                os._exit(70)
        os.close(write)
        self.stdout = os.fdopen(read, "rb", 0)


def _become(
    command: list[str], cwd: str, env: dict[str, str], output: int, kept: Sequence[int]
) -> None:
    """Do what the fresh interpreter does: its folder, environment, files and first program."""
    os.setsid()
    os.chdir(cwd)
    os.environ.clear()
    os.environ.update(env)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for source, target in [(nothing, 0), (output, 1), (output, 2)]:
        os.dup2(source, target)
    first = 3
    for descriptor in (*sorted(kept), 2**16):
        os.closerange(first, descriptor)
        first = descriptor + 1
    tempfile.tempdir, sys.dont_write_bytecode = None, True
    signal.signal(signal.SIGINT, signal.default_int_handler)
    *_, boot, faults, channel = command
    sys.argv = ["-c", faults, channel]
    exec(boot, {"__name__": "__main__"})


def run(module: str, arguments: list[str], limits: dict[str, Any], path: list[str]) -> Any:
    return asdict(parent.run(module, arguments, Limits(**limits), path))


def judge(paths: list[str], seeds: list[int], rules: str) -> Any:
    """The lines that ``judging.main`` prints in a fork of this process, or why it failed."""
    import judging

    with tempfile.TemporaryFile("w+", encoding="utf-8") as file:
        pid = os.fork()
        if pid == 0:
            try:
                os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
                for descriptor in (1, 2):
                    os.dup2(file.fileno(), descriptor)
                judging.main(seeds, paths, rules)
                sys.stdout.flush()
                os._exit(0)
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(70)
        code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        file.seek(0)
        printed = file.read()
    if code:
        return f"{code}: {printed[-2000:]}"
    return [json.loads(line) for line in printed.splitlines() if line.startswith('{"file"')]


WANTED = (
    "judging",
    "aevb.checker.judge",
    "aevb.checker.program.program",
    "aevb.checker.program.replacing",
    "aevb.checker.program.source",
    "aevb.checker.session",
    "aevb.checker.steps.mapped",
    "torch._dynamo",
)
"""What children import, but not the modules that they run as programs.

Nothing may take a gradient here: a fork of a process that has taken one cannot take another.
"""


def main() -> None:
    """Answer requests, one a line, until there are no more."""
    os.environ.update(parent.VARIABLES)  # some are read when torch is imported
    for name in WANTED:
        __import__(name)
    own = vars(subprocess) | {"Popen": Forked}
    parent.subprocess = SimpleNamespace(**own)  # type: ignore[assignment]
    requests, answers = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    sys.path.remove(str(Path(__file__).parent))
    gc.freeze()
    for line in requests:
        request = json.loads(line)
        answer = {"run": run, "judge": judge}[request.pop("do")](**request)
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    main()
