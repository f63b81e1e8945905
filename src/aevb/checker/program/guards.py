"""Limits around a part of a stranger's program: how long it may take, and which command line it
sees."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aevb.checker.places import STRANGER


class OutOfTimeError(Exception):
    """A part of the program took longer than it was given."""


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Raise OutOfTimeError within, where that takes longer. On the main thread of a Unix process;
    elsewhere nothing."""

    def stop(*_: Any) -> None:
        raise OutOfTimeError(f"took longer than {seconds:g} s")

    try:
        before = signal.signal(signal.SIGALRM, stop)
    except (ValueError, AttributeError):  # not the main thread, or no such signal
        yield
        return
    began = time.monotonic()
    left, _ = signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        if left:  # of a limit around this one
            signal.setitimer(signal.ITIMER_REAL, max(0.01, left - (time.monotonic() - began)))


@contextmanager
def quiet_options() -> Iterator[None]:
    """Options that the command line would have to give get stand-ins; no program sees ours."""
    words, parse = sys.argv, argparse.ArgumentParser.parse_args
    add = argparse.ArgumentParser.add_argument

    def never_required(self: argparse.ArgumentParser, *names: Any, **settings: Any) -> Any:
        if names and str(names[0]).startswith("-"):
            settings.pop("required", None)
        else:
            settings.update(nargs="?")
        return add(self, *names, **settings)

    sys.argv = [STRANGER]
    argparse.ArgumentParser.add_argument = never_required  # type: ignore
    argparse.ArgumentParser.parse_args = lambda self, *_, **__: self.parse_known_args([])[0]  # type: ignore
    try:
        yield
    finally:
        sys.argv = words
        argparse.ArgumentParser.add_argument = add  # type: ignore[method-assign]
        argparse.ArgumentParser.parse_args = parse  # type: ignore[method-assign]
