"""Shared fixtures."""

import os
import signal
import threading

import pytest
import torch

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
