"""Shared fixtures."""

import os
import signal
import threading

import pytest
import torch
from killing import Server
from warm import Warm

pytest_plugins = ["pytester"]
pytest.register_assert_rewrite("helpers", "oracle", "saves")  # they hold checks, not only makers

# Small matrices gain nothing from threads, and two busy ones on a shared machine can take ten times
# as long as one.
torch.set_num_threads(1)
torch.set_warn_always(True)  # or a warning fails only the test that happens to come first
os.environ.setdefault("OMP_NUM_THREADS", "1")  # for the subprocesses of the tests
# A shell starts what it puts in the background with Ctrl-C ignored, which the tests' own processes
# would inherit.
if (
    signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    and threading.current_thread() is threading.main_thread()
):
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(autouse=True)
def _same_noise_every_time():
    """Statistical tests below state how rarely they fail by chance; a fixed seed makes that never
    on a given machine."""
    torch.manual_seed(0)


@pytest.fixture(scope="session")
def server():
    """Starts processes that are killed."""
    with Server() as started:
        yield started


@pytest.fixture(scope="session")
def warm():
    """Starts confined children of the checker."""
    with Warm() as started:
        yield started


@pytest.fixture
def warm_children(warm, monkeypatch):
    """``check_file`` and the drill get children that start at once; warm.py says how."""
    from aevb.checker import examine
    from aevb.checker.sandbox import parent

    monkeypatch.setattr(parent, "run", warm.run)
    monkeypatch.setattr(examine, "run", warm.run)
