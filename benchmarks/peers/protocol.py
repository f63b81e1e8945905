"""The worker's side of the protocol: train one burst of steps, answer, and wait for an order.

Each line is one JSON object. The parent writes {"steps": n} or {"close": true}. The worker answers
each order; it writes its first line after its first step. It waits in a blocking read, so a waiting
worker takes no CPU time. It reports the CPU time of each wait as a proof.
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
    """The orders of the parent. ``whole``: there are none, and the run goes from start to end."""

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
        # Libraries may print to standard output, so the answers get their own channel.
        self._answers = os.fdopen(os.dup(1), "w")
        os.dup2(2, 1)
        self._left, self._loss = 1, None
        self._started, self._idle_since, self._idle = time.perf_counter(), 0.0, 0.0

    def step(self, loss: Any) -> None:
        """Count one step. At the end of a burst, answer and wait for an order.

        loss: as for ``answer``. Raises FinishedError if the parent wants no more steps.
        """
        if self.whole:
            return
        self._left -= 1
        if self._left == 0:
            self.answer(loss)
            self.order()

    def order(self) -> int:
        """Wait for an order and return its steps. Raises FinishedError if there are no more."""
        order = json.loads(sys.stdin.readline() or '{"close": true}')
        if "steps" not in order:
            raise FinishedError
        self._left = order["steps"]
        self._idle = time.process_time() - self._idle_since
        self._started = time.perf_counter()
        return self._left

    def answer(self, loss: Any) -> None:
        """Report how long the burst took.

        loss: of its last step, as anything that float() accepts, or as a function that returns it.
        """
        loss = float(loss() if callable(loss) else loss)  # this waits until a GPU is done
        seconds = time.perf_counter() - self._started
        self.say(seconds=seconds, idle_cpu=self._idle, loss=loss, peak_mb=peak_mb())
        self._idle_since = time.process_time()

    def train(self, run: Callable[[], Any], facts: Callable[[], dict[str, Any]]) -> None:
        """Train, then report the facts.

        Args:
            run: Trains until its end, or until FinishedError. In a whole run it returns a loss.
            facts: Called afterwards.
        """
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
    """Return the largest resident memory of this process so far, in MB."""
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / 1024 if sys.platform == "linux" else most / 1024**2
