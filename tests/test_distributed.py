"""Two processes train the model that one would, and a group that loses one of them can be started
again."""

import json
import os
import random
import re
import signal
import socket
import subprocess
import sys

import numpy as np
import pytest
from killing import SMALL, seen

from aevb.storage import checkpoint

CASES = {
    "odd batches": ("table", {"batch_size": 15, "epochs": 2}),
    "a last batch of one row": (
        "table",
        {"batch_size": 71, "epochs": 3},
    ),  # of 72: fewer rows than processes
    "several samples": (
        "table",
        {"objective": "iwae", "samples": 3, "batch_size": 25, "epochs": 2},
    ),
    "dynamic": (
        "pictures",
        {"likelihood": "bernoulli", "binarize": "dynamic", "batch_size": 21, "epochs": 2},
    ),
}


def port():
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return str(free.getsockname()[1])


def start(server, kind, settings, out, world=2, kills=(None, None)):
    """The ids of the processes of a group. kills: for each, after how many events it kills itself;
    None: never."""
    ids, address = [], {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port(), "WORLD_SIZE": str(world)}
    for rank in range(world):
        environment = address | {"RANK": str(rank), "LOCAL_RANK": str(rank)}
        named = {
            "kind": kind,
            "config": SMALL | settings,
            "out": str(out),
            "traced": True,
            "final": f"{out}-{rank}.json",
        }
        if kills[rank]:
            named["kill"] = {"files": ["optimisers", "state"], "at": kills[rank]}
        ids.append(
            server.start("member", said=f"{out}-{rank}.txt", environment=environment, **named)
        )
    return ids


def run(server, *arguments, **named):
    return [server.wait(pid) for pid in start(server, *arguments, **named)]


def curve(folder):
    records = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    return np.array(
        [[value for name, value in record.items() if name != "samples"] for record in records]
    )


@pytest.mark.parametrize("name", CASES)
def test_two_processes_equal_one(server, tmp_path, name):
    kind, settings = CASES[name]
    assert run(server, kind, settings, tmp_path / "two") == [0, 0]
    assert run(server, kind, settings, tmp_path / "one", world=1) == [0]
    np.testing.assert_allclose(
        curve(tmp_path / "two"), curve(tmp_path / "one"), rtol=1e-5, atol=1e-6
    )
    finals = [json.loads((tmp_path / f"two-{rank}.json").read_text()) for rank in range(2)]
    assert finals[0]["weights"] == finals[1]["weights"]
    assert [final["wrote"] for final in finals] == [True, False]


def test_a_run_goes_on_with_another_number_of_processes(server, tmp_path):
    settings = {"batch_size": 24, "epochs": 2}
    assert run(server, "table", settings, tmp_path / "whole", world=1) == [0]
    for first, second in [(1, 2), (2, 1)]:
        out = tmp_path / f"from-{first}"
        assert run(server, "table", settings | {"epochs": 1}, out, world=first) == [0] * first
        assert run(server, "table", settings, out, world=second) == [0] * second
        assert checkpoint.read_progress(out).engine["world"] == second
        np.testing.assert_allclose(curve(out), curve(tmp_path / "whole"), rtol=1e-4, atol=1e-6)


TORCHS_OWN = re.compile(r"\[[EW]\d{4} [\d:.]+ \w+\.cpp:\d+\] ")
"""How a line begins that torch writes to stderr by itself, past Python, if a process is lost while
the group still connects."""


def test_a_lost_process_ends_the_group_and_the_next_one_goes_on(server, tmp_path):
    settings, rng, struck = {"batch_size": 24, "epochs": 4, "save_every": 1}, random.Random(0), 0
    assert run(server, "table", settings, tmp_path / "whole") == [0, 0]
    for attempt in range(4):
        out = tmp_path / str(attempt)
        for dies in ((0, 1, 0), (1, 0, 1), (0, 1), (1, 0))[attempt]:
            kills = [None, None]
            kills[dies] = rng.randrange(2, 110 if dies == 0 else 40)
            ids = start(server, "table", settings, out, kills=kills)
            assert server.wait(ids[dies]) == -signal.SIGKILL
            assert server.wait(ids[1 - dies], limit=20.0) == 75
            said = (tmp_path / f"{attempt}-{1 - dies}.txt").read_text().splitlines()
            (ours,) = [line for line in said if not TORCHS_OWN.match(line)]
            assert ours.startswith("aevb: another process of the group was lost.")
            assert not any(server.is_alive(pid) for pid in ids)
            struck += 1
        assert run(server, "table", settings, out) == [0, 0]
        assert seen(out) == seen(tmp_path / "whole")
    assert struck == 10


@pytest.mark.parametrize(
    "coupled", [{"free_bits": 0.1}, {"likelihood": "gaussian_optimal"}], ids=["bits", "optimal"]
)
def test_what_looks_at_a_whole_batch_is_refused(server, tmp_path, coupled):
    assert run(server, "table", coupled, tmp_path / "run") == [2, 2]
    said = (tmp_path / "run-0.txt").read_text()
    assert said.startswith("aevb: ")
    assert "trains in one process, not in 2" in said
    assert said.count("\n") == 1
    assert not (tmp_path / "run").exists()


def test_torchrun(server, tmp_path):
    np.save(
        tmp_path / "rows.npy", np.random.default_rng(0).normal(size=(200, 3)).astype(np.float32)
    )
    options = [
        "--hidden",
        "6",
        "--latent-dim",
        "2",
        "--epochs",
        "2",
        "--batch-size",
        "50",
        "--threads",
        "1",
    ]
    words = ["fit", str(tmp_path / "rows.npy"), *options, "--out"]
    torchrun = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--nproc-per-node",
        "2",
        "--master-port",
        port(),
        "-m",
        "aevb",
    ]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [*torchrun, *words, str(tmp_path / "two")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("trained ") == 1
    assert "2 processes with 1 thread each" in done.stdout
    assert server.call("command", arguments=[*words, str(tmp_path / "one")]) == 0
    np.testing.assert_allclose(curve(tmp_path / "two"), curve(tmp_path / "one"), rtol=1e-5)
