"""What the tests of the sandbox share: they run a text as a stranger's program in a child.

They also see to it that nothing of it stays.
"""

import platform
import subprocess
import sys
import tempfile
import textwrap
import time
from pathlib import Path

import pytest

from aevb.checker.sandbox.parent import Limits, run

HERE = str(Path(__file__).parent)
SMALL = Limits(wall_s=20.0, cpu_s=10.0, memory_bytes=300 * 2**20, output_bytes=2_000)
FILTERED = sys.platform == "linux" and platform.machine() in ("x86_64", "aarch64")
needs_filter = pytest.mark.skipif(
    not FILTERED, reason="needs the filters of Linux on x86_64 or aarch64"
)


@pytest.fixture
def nothing_left_behind(tmp_path, monkeypatch):
    """Give children their folders here; afterwards no folder and no process of theirs is left."""
    folder, started = tmp_path / "children", []
    folder.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(folder))

    class Recorded(subprocess.Popen):
        def __init__(self, *arguments, **options):
            super().__init__(*arguments, **options)
            started.append(self)

    monkeypatch.setattr(subprocess, "Popen", Recorded)
    yield
    assert list(folder.iterdir()) == []
    assert all(process.returncode is not None for process in started)
    assert not any(lives_on(process.pid) for process in started)


def lives_on(group, seconds=10.0):
    """Whether a process of a group that was killed just now lives on.

    The child of a killed parent is init's to reap, which takes a moment.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and (alive := group_lives(group)):
        time.sleep(0.02)
    return alive


def group_lives(group):
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            _, _, fields = status.read_text().rpartition(")")
        except OSError:
            continue
        state, _, owner = fields.split()[:3]
        if int(owner) == group and state != "Z":
            return True
    return False


def hostile(program, *words, limits=SMALL, outside=""):
    """Run a program in a child, after ``words`` for tests/hostile.py; it knows ``outside``."""
    arguments = [textwrap.dedent(program), str(outside), *words]
    return run("hostile", arguments, limits, path=[HERE])


def parts(sentence):
    """Expected, got, next step: one text without what moves a terminal's cursor."""
    assert sentence.isprintable()
    assert sentence.endswith(".")
    return sentence
