"""A stranger's program in its child process: how it ends, with which sentence, what it leaves."""

import os
import signal
import subprocess
import sys
import time

import pytest
from judging import program
from sandboxed import (
    FILTERED,
    HERE,
    SMALL,
    group_lives,
    hostile,
    lives_on,
    nothing_left_behind,  # noqa: F401  (a fixture)
    parts,
)

from aevb.checker.sandbox import endings, parent
from aevb.checker.sandbox.audit import line_of_error
from aevb.checker.sandbox.parent import Limits, run

pytestmark = pytest.mark.usefixtures("nothing_left_behind")

ENDINGS = {
    "endless loop": (
        "x = 1\nwhile True: pass",
        "cpu",
        "processor time; the program used them up (line 2)",
    ),
    "endless loop, deaf": (
        "import signal\nsignal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile True: pass",
        "cpu",
        "used them up",
    ),
    "waiting": ("import time\n\ntime.sleep(1000)", "timeout", "still running (line 3)"),
    "stopped": (
        "import os, signal\nos.kill(os.getpid(), signal.SIGSTOP)",
        "timeout",
        "still running",
    ),
    "20 GB": (
        "\nb = bytearray(20 * 2**30)",
        "memory",
        "less than 300 MiB of memory; the program asked for more (line 2)",
    ),
    "growing list": (
        "b = []\nwhile True: b.append(bytes(2**20))",
        "memory",
        "asked for more (line 2)",
    ),
    "input": (
        "name = input('your name? ')",
        "forbidden",
        "tried to ask for input from the keyboard (line 1)",
    ),
    "sys.exit": ("import sys\nsys.exit(3)", "exited", "sys.exit(3) (line 2)"),
    "sys.exit with a text": ("raise SystemExit('bye\\x1b[2J')", "exited", "'bye"),
    "os._exit": ("import os\nos._exit(0)", "exited", "exit code 0 (os._exit)"),
    "killed itself": ("import os\nos.kill(os.getpid(), 9)", "crashed", "Killed"),
    "abort": ("import os\n\nos.abort()", "crashed", "Aborted) (line 3)"),
    "exception": (
        "def f():\n    return 1 / 0\nf()",
        "crashed",
        "ZeroDivisionError: division by zero (line 2)",
    ),
    "recursion": ("def f(): return f()\nf()", "crashed", "RecursionError"),
    "fork bomb": (
        "import os\nwhile True: os.fork()",
        "forbidden",
        "start another process (line 2)",
    ),
    "program": (
        "import subprocess\nsubprocess.run(['ls'])",
        "forbidden",
        "start another program (line 2)",
    ),
    "shell": ("import os\nos.system('ls')", "forbidden", "start another program (line 2)"),
    "exec": (
        "import os\nos.execv('/bin/ls', ['ls'])",
        "forbidden",
        "start another program (line 2)",
    ),
    "socket": (
        "import socket\n\nsocket.socket()",
        "forbidden",
        "open a network connection (line 3)",
    ),
    "urllib": (
        "import urllib.request as r\nr.urlopen('http://127.0.0.1:9/')",
        "forbidden",
        "open a network connection (line 2)",
    ),
    "wrapped": (
        (
            "import socket\ntry:\n    socket.socket()\nexcept OSError as e:\n    raise"
            " RuntimeError('no data') from e"
        ),
        "forbidden",
        "open a network connection (line 3)",
    ),
    "kill the parent": (
        "import os\nos.kill(os.getppid(), 9)",
        "forbidden",
        "a signal to another process (line 2)",
    ),
    "kill all": ("import os\nos.kill(-1, 9)", "forbidden", "a signal to another process (line 2)"),
    "limits": (
        "import resource as r\nr.setrlimit(r.RLIMIT_CPU, (99, 99))",
        "forbidden",
        "limits of its own process (line 2)",
    ),
    "ctypes": (
        "import ctypes\nctypes.string_at(0)",
        "forbidden",
        "C library through ctypes (line 2)",
    ),
    "forging": (
        "from aevb.checker.sandbox.confine import send\nsend({'verdict': 'right'})",
        "forbidden",
        "write the checker's own result (line 2)",
    ),
}
BRIEF = {"cpu": {"cpu_s": 0.1}, "timeout": {"wall_s": 3.0}, "stopped": {"wall_s": 0.5}}


@pytest.mark.parametrize("name", ENDINGS)
def test_each_ending_has_its_kind_and_its_sentence(name):
    text, how, words = ENDINGS[name]
    end = hostile(text, limits=Limits(**{**vars(SMALL), **BRIEF.get(name, BRIEF.get(how, {}))}))
    assert (end.how, end.result) == (how, None), end
    assert words in parts(end.sentence)


def test_a_good_program_comes_back_with_its_result_and_without_a_sentence():
    end = hostile(
        "answer = {'number': 1.5, 'text': 'grüße', 'nothing': float('inf')}\nprint('seen')"
    )
    assert end.how == "done"
    assert end.result["answer"] == {"number": 1.5, "text": "grüße", "nothing": float("inf")}
    assert (end.output, end.sentence, end.refused) == ("seen\n", "", ())


def test_a_million_lines_neither_fill_nor_slow_anything():
    end = hostile("for i in range(1_000_000): print('line', i)\nanswer = i")
    assert (end.how, end.result["answer"]) == ("done", 999_999)
    assert end.output.startswith("line 0\nline 1\n")
    assert len(end.output) < 2_100
    assert "bytes more were printed and are left out" in end.output


def test_what_is_printed_cannot_move_the_readers_cursor():
    assert hostile("print('\\x1b[2J\\x9b1mred\\r\\n\\tnext')").output == "[2J1mred\n\tnext\n"


def test_torch_can_be_imported_before_and_its_memory_is_limited(tmp_path):
    limits = Limits(memory_bytes=2**30)
    end = hostile(program("sandbox/torch_memory"), "torch", limits=limits, outside=tmp_path)
    assert (end.how, end.refused) == ("memory", ())
    assert not FILTERED or not (tmp_path / "w.pt").exists()
    assert "less than 1 GiB of memory; the program asked for more (line 10)" in parts(end.sentence)


def test_a_crash_in_compiled_code_is_told_with_its_line():
    end = hostile("import ctypes\n\nctypes.string_at(0)", "unconfined")
    assert end.how == "crashed"
    assert "Segmentation fault) (line 3)" in parts(end.sentence)


def test_endless_recursion_without_pythons_own_limit_is_contained():
    end = hostile(
        "import sys\nsys.setrecursionlimit(10**9)\ndef f(): return f()\nf()",
        limits=Limits(cpu_s=1, memory_bytes=50 * 2**20),
    )
    assert end.how in ("memory", "crashed", "cpu")
    parts(end.sentence)


def test_a_background_thread_does_not_keep_the_child_alive():
    started = time.monotonic()
    end = hostile("""
        import threading, time
        threading.Thread(target=time.sleep, args=(1000,)).start()
        def spin():
            while True: print('x')
        threading.Thread(target=spin).start()
        """)
    assert end.how == "done"
    assert time.monotonic() - started < SMALL.wall_s  # or it would have been a time-out


def test_a_child_that_has_handed_in_its_result_is_not_waited_for_long(monkeypatch):
    monkeypatch.setattr(parent, "PARTING_S", 0.1)
    started = time.monotonic()
    end = hostile(
        """
        import sys, time
        class Slow:
            def flush(self): time.sleep(1000)
        sys.stderr = Slow()
        """,
        limits=Limits(wall_s=100),
    )
    assert end.how == "done"
    assert time.monotonic() - started < 50


def test_a_process_that_got_away_before_is_killed_with_the_group():
    end = hostile(
        "import os, time\nanswer = os.getpgrp()\nif not os.fork(): time.sleep(1000)", "unconfined"
    )
    assert end.how == "done"
    assert not lives_on(end.result["answer"])


def test_a_check_without_a_result_is_the_checkers_fault():
    end = hostile("", "silent")
    assert end.how == "exited"
    assert "fault of the checker" in parts(end.sentence)


def test_a_large_file_and_many_files_are_stopped(monkeypatch):
    end = hostile("with open('big', 'wb') as file:\n    while True: file.write(bytes(2**20))")
    assert (end.how, "File too large" in end.sentence) == ("crashed", True)
    monkeypatch.setattr(parent, "FOLDER_BYTES", 2**20)
    end = hostile("i = 0\nwhile True:\n    open(f'{i}', 'w').close()\n    i += 1")
    assert end.how == "forbidden"
    assert "filling its temporary folder" in parts(end.sentence)


def test_folders_thousands_deep_are_looked_through_and_removed():
    end = hostile("import os\nfor _ in range(1_500):\n    os.mkdir('d')\n    os.chdir('d')")
    assert end.how == "done"


def test_the_child_sees_neither_our_folder_nor_our_environment(tmp_path, monkeypatch):
    (tmp_path / "colorsys.py").write_text("raise RuntimeError('a module of the working directory')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setenv("MY_SECRET", "x")
    typed, ours = os.pipe()
    os.write(ours, b"typed by the user\n")
    before = os.dup(0)
    os.dup2(typed, 0)
    end = hostile(program("sandbox/surroundings"))
    os.dup2(before, 0)
    for descriptor in (typed, ours, before):
        os.close(descriptor)
    assert end.how == "done", end
    *seen, descriptors = end.result["answer"]
    assert seen == [False, "", [], 1, True]
    assert (
        len([number for number in descriptors if number > 2]) <= 3
    )  # the channel, the stack's file, and that of listdir


PARENT = """
import sys
from aevb.checker.sandbox.parent import Limits, run
program = "import os\\nopen('pid', 'w').write(str(os.getpid()))\\nwhile True: pass"
run("hostile", [program, ""], Limits(cpu_s=30), path=[sys.argv[1]])
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_the_child_ends_with_its_parent(number, tmp_path):
    if number == signal.SIGKILL and sys.platform != "linux":
        pytest.skip("only Linux tells a child of its parent's end")
    folder = tmp_path / "parents"
    folder.mkdir()
    parent = subprocess.Popen(
        [sys.executable, "-c", PARENT, HERE],
        env={**os.environ, "TMPDIR": str(folder)},
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 30
    while (
        not (pids := [text for file in folder.glob("*/pid") if (text := file.read_text())])
        and time.monotonic() < deadline
    ):
        time.sleep(0.02)
    group = int(pids[0])
    assert group_lives(group)
    parent.send_signal(number)
    _, errors = parent.communicate(timeout=30)
    assert not lives_on(group)
    if number == signal.SIGINT:
        assert "KeyboardInterrupt" in errors
        assert list(folder.iterdir()) == []


def test_windows_is_told_what_to_do(monkeypatch):
    monkeypatch.setattr(parent.os, "name", "nt")
    with pytest.raises(ValueError, match="expected Linux or macOS"):
        run("hostile", [""])


def test_the_line_of_a_syntax_error_is_the_strangers():
    with pytest.raises(SyntaxError) as caught:
        compile("x = 1\ny = (", "<stranger>", "exec")
    assert line_of_error(caught.value) == 2


def test_a_kill_by_the_system_is_not_taken_for_the_limit():
    end = endings.ended(endings.Observed(code=-signal.SIGKILL, cpu_s=1.0), Limits(cpu_s=60))
    assert end.how == "crashed"
    assert "short of memory" in parts(end.sentence)
