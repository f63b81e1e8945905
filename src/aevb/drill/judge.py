"""Run the six checks on a learner's file in a child process. Imports no torch."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from aevb.drill.workspace import Work, write

SECONDS = 120.0
"""Time limit of one run. The 800 epochs of a right solution take about 15 seconds."""
KEPT = 2000
"""How many characters of the learner's own output are kept."""


def run_six(
    work: Work, *, seconds: float = SECONDS, on_epoch: Callable[[int, float], None] | None = None
) -> dict[str, Any]:
    """Run ``python -m aevb.drill.six`` on a learner's file.

    Args:
        work: The learner's file or notebook.
        seconds: The time limit.
        on_epoch: Called after each epoch of training with its number and its loss.

    Returns:
        A dictionary with "checks", "losses", "points" and "seen", or else with "error"; and always
        with "printed", the beginning of the output of the learner's code.
    """
    if work.path.suffix == ".py":
        return _run(work.path, work.path.name, seconds, on_epoch)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"{work.path.stem}.py"
        write(path, work.source)
        return _run(path, work.path.name, seconds, on_epoch)


def _run(
    path: Path, name: str, seconds: float, on_epoch: Callable[[int, float], None] | None
) -> dict[str, Any]:
    child = subprocess.Popen(
        [sys.executable, "-m", "aevb.drill.six", str(path.resolve())],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
        env=os.environ | {"MPLBACKEND": "Agg"},
    )
    result: dict[str, Any] = {}
    printed: list[str] = []
    answers = threading.Thread(
        target=lambda: result.update(_result(child.stdout, on_epoch)), daemon=True
    )
    chatter = threading.Thread(target=_keep_the_start, args=(child.stderr, printed), daemon=True)
    try:
        chatter.start()
        answers.start()
        answers.join(seconds)
        timed_out = answers.is_alive()
    finally:
        _kill(child)  # and every process that the code has started
        child.wait()
        for thread in (answers, chatter):
            thread.join(1.0)  # not longer, since a process that escaped may hold the stream open
    if not result:
        limit = f"ran for more than {seconds:.0f} seconds and was stopped"
        result = {"error": f"{name} {limit if timed_out else 'ended the process that ran it'}"}
    return {**result, "printed": "".join(printed)}


def _result(
    stream: IO[str] | None, on_epoch: Callable[[int, float], None] | None
) -> dict[str, Any]:
    """Read messages up to the result, close the stream and return the result, {} if none comes."""
    assert stream is not None
    with stream:
        for line in stream:
            try:
                message = json.loads(line)
            except ValueError:
                return {}
            if "epoch" not in message:
                return dict(message)
            if on_epoch is not None:
                on_epoch(message["epoch"], message["loss"])
    return {}


def _keep_the_start(stream: IO[str] | None, kept: list[str]) -> None:
    """Keep the first characters of a stream and close it.

    The stream is read to its end, so that its writer never has to wait.
    """
    assert stream is not None
    left = KEPT
    with contextlib.suppress(ValueError, OSError), stream:
        while text := stream.read(4096):
            kept.append(text[:left])
            left -= len(kept[-1])


def _kill(child: subprocess.Popen[str]) -> None:
    with contextlib.suppress(OSError):
        if hasattr(os, "killpg"):
            os.killpg(child.pid, signal.SIGKILL)
        else:
            child.kill()
