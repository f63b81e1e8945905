"""A worker's side of the conversation: it trains, and stops after each burst of steps until it is
told to go on.

One JSON object a line. The parent writes {"steps": n} or {"close": true}; the worker answers each
order, and speaks first when its first step is done. Waiting is a blocking read: a worker that is
not at work takes no processor time, and says so.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

from peers.workloads import Workload


class FinishedError(Exception):
    """The parent wants no more steps."""


class Turns:
    """The orders of the parent. ``whole``: there are none, the run goes from start to end at once."""

    def __init__(self) -> None:
        spec = json.loads(sys.argv[1])
        fields = {
            name: tuple(v) if isinstance(v, list) else v for name, v in spec.pop("workload").items()
        }
        self.workload = Workload(**fields)
        self.threads: int | None = spec.pop("threads")
        self.device: str = spec.pop("device")
        self.whole: bool = spec.pop("whole")
        self.options: dict[str, Any] = spec
        # Libraries print to standard output as they please; the answers keep a channel of their
        # own.
        self._answers = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)
        self._left, self._loss = 1, None
        self._started, self._idle_since, self._idle = time.perf_counter(), 0.0, 0.0

    def step(self, loss: Any) -> None:
        """Count one step; at the end of a burst, answer and wait. loss: as of ``answer``. Raises
        FinishedError."""
        if self.whole:
            return
        self._left -= 1
        if self._left == 0:
            self.answer(loss)
            self.order()

    def order(self) -> int:
        """Wait for an order: how many steps. Raises FinishedError."""
        order = json.loads(sys.stdin.readline() or '{"close": true}')
        if "steps" not in order:
            raise FinishedError
        self._left = order["steps"]
        self._idle = time.process_time() - self._idle_since
        self._started = time.perf_counter()
        return self._left

    def answer(self, loss: Any) -> None:
        """Say how long the burst took. loss: of its last step, whatever float() makes one of, or a
        function that returns it."""
        loss = float(loss() if callable(loss) else loss)  # which waits for a GPU to be done
        seconds = time.perf_counter() - self._started
        self.say(seconds=seconds, idle_cpu=self._idle, loss=loss, peak_mb=peak_mb())
        self._idle_since = time.process_time()

    def train(self, run: Callable[[], Any], facts: Callable[[], dict[str, Any]]) -> None:
        """Call ``run`` until it ends or no more steps are wanted, then tell the facts. In a whole
        run it returns a loss."""
        try:
            loss = run()
        except FinishedError:
            loss = None
        if loss is None and self.whole:
            raise RuntimeError("a whole run must return its loss")
        self.say(**facts(), peak_mb=peak_mb(), **({"loss": float(loss)} if self.whole else {}))

    def say(self, **message: Any) -> None:
        """Write one line to the parent."""
        print(json.dumps(message, default=str), file=self._answers, flush=True)


def peak_mb() -> float:
    """Largest resident memory of this process so far."""
    return (
        resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        / (1 if sys.platform == "linux" else 1024)
        / 1024
    )
