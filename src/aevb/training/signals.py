"""Ctrl-C and SIGTERM during training.

A signal takes effect at once, except during a step or a save: then it waits until that is done.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType, TracebackType


class Interrupts:
    """A context in which signals wait for the end of ``held``. Elsewhere they act at once.

    Python lets only the main thread handle signals. In other threads this context does nothing.
    """

    SIGNALS = (signal.SIGINT, signal.SIGTERM)

    def __init__(self) -> None:
        self._holding = 0
        self._waiting: list[int] = []
        self._before: dict[int, object] = {}

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is threading.main_thread():
            self._before = {number: signal.signal(number, self._arrived) for number in self.SIGNALS}
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)  # type: ignore[arg-type]
        self._before = {}

    @contextmanager
    def held(self) -> Iterator[None]:
        """Hold signals back during a step or a save, which must not be interrupted."""
        self.hold()
        try:
            yield
        finally:
            self.release()

    def hold(self) -> None:
        """Start to hold signals back. Each step calls this, since it is faster than ``held``."""
        self._holding += 1

    def release(self) -> None:
        """Stop holding signals back, and deliver the last signal that arrived meanwhile."""
        self._holding -= 1
        if self._waiting and not self._holding:
            number = self._waiting.pop()
            self._waiting.clear()
            self._deliver(number, None)

    def _arrived(self, number: int, frame: FrameType | None) -> None:
        if self._holding:
            self._waiting.append(number)
        else:
            self._deliver(number, frame)

    def _deliver(self, number: int, frame: FrameType | None) -> None:
        before = self._before.get(number)
        if callable(before):
            before(number, frame)
        # Python's own answer to SIGTERM would end the process without a save.
        elif before == signal.SIG_DFL:
            raise KeyboardInterrupt
