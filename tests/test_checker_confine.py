"""What a stranger's program cannot do, by which layer, and what it still can."""

import json
import os
import signal
from pathlib import Path

import pytest
from judging import program
from sandboxed import FILTERED, hostile, needs_filter, nothing_left_behind, parts  # noqa: F401

from aevb.checker.sandbox import kernel
from aevb.checker.sandbox.confine import LAYERS, signed

pytestmark = pytest.mark.usefixtures("nothing_left_behind")


@needs_filter
def test_every_layer_is_there_on_linux_and_only_known_ones():
    layers = hostile("").result["layers"]
    assert set(layers) <= set(LAYERS)
    assert set(LAYERS) - set(layers) <= {
        "number of processes",
        "files (Landlock)",
    }  # the first: the filter does it better


def test_refused_operations_are_exceptions_that_a_program_may_catch(tmp_path):
    end = hostile(program("sandbox/refused_operations"), outside=tmp_path)
    assert end.how == "done"
    assert len(end.result["answer"]) == 14
    assert end.sentence == end.refused[0]
    assert "open a network connection (line 6)" in parts(end.sentence)
    assert any("outside its own folder" in parts(sentence) for sentence in end.refused)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["children"]


def test_the_home_folder_is_a_temporary_one_and_the_real_one_is_closed():
    text = program("sandbox/home_folder")
    end = hostile(text)
    assert (end.how, "write outside its own folder" in end.sentence) == ("forbidden", True)
    home, temporary, here, real, names = hostile(
        program("sandbox/home_folder", ("open(", "print("))
    ).result["answer"]
    assert home == temporary == here != real
    assert names == ["mine.txt"]
    assert not Path(real, ".aevb-check-test").exists()


def test_what_programs_do_without_harm_works_when_confined():
    end = hostile(program("sandbox/harmless"))
    assert (end.how, end.refused) == ("done", ())
    assert end.result["answer"] == [1]


@pytest.mark.parametrize("word", ["no-kernel", "no-hook"])
def test_hook_and_kernel_each_hold_alone(word, tmp_path):
    if word == "no-hook" and not FILTERED:
        pytest.skip("needs the filters of Linux")
    end = hostile(program("sandbox/everything_refused"), word, outside=tmp_path)
    assert end.how == "done", end
    assert {name: seen for name, seen in end.result["answer"].items() if seen is not True} == {}
    assert ("system calls" in end.result["layers"]) == (word == "no-hook")


@needs_filter
def test_a_program_that_disarms_the_hook_still_meets_the_kernel(tmp_path):
    end = hostile(program("sandbox/hook_disarmed"), outside=tmp_path)
    assert end.how == "done", end
    assert (
        end.result["answer"] == ["PermissionError"] * 4
    )  # the kernel's, no longer the hook's RefusedError


@needs_filter
def test_the_kernel_refuses_what_has_no_audit_event():
    end = hostile(program("sandbox/without_audit_event"))
    assert end.how == "done", end
    assert end.result["answer"] == []


def test_compiled_code_that_the_program_brings_along_is_not_loaded():
    end = hostile(program("sandbox/own_compiled_code"))
    assert end.how == "forbidden", end
    assert "load compiled code that it wrote itself (line 7)" in parts(end.sentence)


@needs_filter
def test_closing_every_descriptor_does_not_lose_the_result():
    end = hostile(program("sandbox/descriptors_closed"))
    assert (end.how, end.result["answer"]) == ("done", "still here")


@pytest.mark.parametrize(
    "text", [b"junk", b"junk\n", b'{"result": {"answer": 1}}\n', signed(b"guess", '{"result": {}}')]
)
def test_what_a_stranger_writes_into_the_channel_never_counts(text):
    end = hostile(f"""
        import os
        for number in range(3, 1_100):
            try: os.write(number, {text!r})
            except OSError: pass
        """)
    assert (end.how, end.result) == ("forbidden", None)
    assert "wrote into the channel of the result" in parts(end.sentence)


def test_flooding_the_channel_ends_the_child():
    end = hostile(program("sandbox/channel_flooded"))
    assert end.how == "forbidden"
    assert "channel of the result" in parts(end.sentence)


@pytest.mark.parametrize(
    "text",
    [
        (
            "import threading, aevb.checker.sandbox.confine as c\n"
            "t = threading.Thread(target=c.send, args=({},)); t.start(); t.join()"
        ),
        (
            "import atexit, aevb.checker.sandbox.confine as c, sys\natexit.register(c.send,"
            " {})\nsys.exit()"
        ),
    ],
)
def test_a_result_is_taken_from_the_checkers_own_code_alone(text):
    end = hostile(text, "silent")
    assert end.how in ("exited", "done")
    assert end.result is None


def test_a_second_result_makes_both_void():
    end = hostile("""
        import aevb.checker.sandbox.confine as c
        c._State.channel.write({'result': {'answer': 'forged'}})
        """)
    assert (end.how, end.result) == ("forbidden", None)


def decide(instructions, machine, number, *arguments):
    """The answer of a filter to one system call: the part of the kernel's BPF machine in use."""
    words = {kernel.NUMBER: number, kernel.ARCHITECTURE: machine}
    for i, value in enumerate(arguments):
        words[16 + 8 * i], words[20 + 8 * i] = value & 0xFFFFFFFF, value >> 32 & 0xFFFFFFFF
    place, loaded = 0, 0
    while True:
        code, if_true, if_false, value = instructions[place]
        place += 1
        if code == kernel.RETURN:
            return value
        if code == kernel.LOAD:
            loaded = words.get(value, 0)
        else:
            tests = {
                kernel.EQUAL: loaded == value,
                kernel.AT_LEAST: loaded >= value,
                kernel.ANY_BIT: bool(loaded & value),
            }
            place += if_true if tests[code] else if_false


@pytest.mark.parametrize("name", kernel.MACHINES)
def test_the_filter_of_each_processor_decides_as_meant(name):
    machine, column = kernel.MACHINES[name]
    instructions = kernel._filter(machine, column, [700, 800])

    def answer(numbers, *arguments):
        return decide(instructions, machine, numbers[column], *arguments)

    assert len(instructions) < 4096  # the kernel's own limit
    assert all(
        answer(numbers) == kernel.REFUSE
        for numbers in kernel.REFUSED.values()
        if numbers[column] >= 0
    )
    assert all(
        answer(numbers) == kernel.IGNORE
        for numbers in kernel.WITHOUT_EFFECT.values()
        if numbers[column] >= 0
    )
    assert all(answer(numbers) == kernel.UNKNOWN for numbers in kernel.UNREADABLE.values())
    assert answer(kernel.CLONE, 0x3D0F00) == kernel.ALLOW  # the flags of a thread
    assert (
        answer(kernel.CLONE, signal.SIGCHLD)
        == answer(kernel.CLONE, 0x4100 | signal.SIGCHLD)
        == kernel.REFUSE
    )
    assert answer(kernel.PRLIMIT, 0, 7, 0, 4096) == kernel.ALLOW
    assert (
        answer(kernel.PRLIMIT, 0, 7, 4096, 0)
        == answer(kernel.PRLIMIT, 0, 7, 1 << 40, 0)
        == kernel.REFUSE
    )
    for numbers in kernel.TO_A_PROCESS.values():
        assert answer(numbers, os.getpid()) == kernel.ALLOW
        assert (
            answer(numbers, os.getppid())
            == answer(numbers, 0)
            == answer(numbers, 2**32 - 1)
            == kernel.REFUSE
        )
    for *numbers, place in kernel.TO_A_DESCRIPTOR.values():
        if numbers[column] >= 0:
            for descriptor in (700, 800, 5):
                values = [descriptor if i == place else 6 for i in range(3)]
                assert answer(numbers, *values) == (
                    kernel.ALLOW if descriptor == 5 else kernel.REFUSE
                )
    for harmless in (
        {"x86_64": 0, "aarch64": 63},
        {"x86_64": 9, "aarch64": 222},
        {"x86_64": 257, "aarch64": 56},
    ):
        assert decide(instructions, machine, harmless[name]) == kernel.ALLOW  # read, mmap, openat
    assert decide(instructions, machine + 1, 0) == kernel.KILL
    assert decide(instructions, machine, 0x40000000 | 41) == kernel.REFUSE


def test_the_system_calls_are_those_of_the_kernels_own_table():
    """For this machine's processor, where the kernel's headers are installed."""
    header = Path("/usr/include/x86_64-linux-gnu/asm/unistd_64.h")
    if not header.exists():
        pytest.skip("no kernel headers")
    known = {
        words[1][5:]: int(words[2])
        for line in header.read_text().splitlines()
        if len(words := line.split()) == 3
    }
    ours = {
        **kernel.REFUSED,
        **kernel.WITHOUT_EFFECT,
        **kernel.UNREADABLE,
        **kernel.TO_A_PROCESS,
        **kernel.TO_A_DESCRIPTOR,
        "clone": kernel.CLONE,
    }
    assert {name: numbers[0] for name, numbers in ours.items() if name in known} == {
        n: known[n] for n in ours if n in known
    }


def test_what_an_imported_module_is_refused_is_not_laid_to_the_program():
    act = "import os\\ntry: os.fork()\\nexcept OSError: refused = True"
    end = hostile(f"""
        import sys
        open('restless.py', 'w').write('{act}')
        sys.path.insert(0, '.')
        import restless
        answer = restless.refused
        """)
    assert end.how == "done", end
    assert (end.result["answer"], end.refused, end.sentence) == (True, (), "")


def test_a_refused_operation_is_told_once():
    end = hostile(
        "import os\nfor _ in range(10_000):\n    try: os.fork()\n    except OSError: pass"
    )
    assert end.how == "done"
    assert len(end.refused) == 1


def test_messages_are_signed():
    line = signed(b"key", json.dumps({"a": "ü\n"}))
    assert line.count(b"\n") == 1
    assert line != signed(b"other", json.dumps({"a": "ü\n"}))
