"""A run killed with SIGKILL at any instant and resumed ends in the bits of one that never was."""

import json
import random
import zlib

import pytest
import torch
from killing import CASES, chain, seen
from saves import bits

from aevb.storage import checkpoint

KILLS = 5
"""Of each of six cases: one in each of the stages below. ``make soak`` kills a thousand times.

Of a defect in a tenth of all instants, 30 kills tell with a probability of 96%.
"""


@pytest.fixture(scope="module")
def whole(server, tmp_path_factory):
    """Case -> what a run leaves that was not killed, and the events of it."""
    found = {}

    def run(name):
        if name not in found:
            folder = tmp_path_factory.mktemp("whole")
            assert (
                server.call(
                    "train", **CASES[name], out=str(folder / "run"), log=str(folder / "log")
                )
                == 0
            )
            found[name] = seen(folder / "run"), json.loads((folder / "log").read_text())
        return found[name]

    return run


STAGES = {
    "inside a step": ["optimisers", "step", "recording", "batches", "rows"],
    "between step and save": ["loop", "state"],
    "inside a save": ["saves", "files", "pathlib"],
    "at the end of an epoch": ["run_folder", "checkpoint"],
    "anywhere": [],
}


@pytest.mark.parametrize("name", list(CASES)[:-1])
def test_killed_and_resumed_is_bit_identical(server, whole, tmp_path, name):
    expected, events = whole(name)
    rng, kills, chains = random.Random(zlib.crc32(name.encode())), 0, 0
    stages = [*STAGES.values()] * KILLS
    while kills < KILLS:
        planned = []
        for files in stages[
            kills : min(kills + 1 + chains % 4, KILLS)
        ]:  # up to four in a row: killed, resumed and killed
            total = sum(not files or event.split()[0] in files for event in events)
            planned.append({"files": files, "at": rng.randrange(1, max(2, total // 2))})
        died = chain(server, name, tmp_path / str(chains), planned)
        assert seen(tmp_path / str(chains)) == expected, planned
        kills, chains = kills + died, chains + 1
        assert chains < 3 * KILLS


TURNS = (
    "optimisers return Update.__call__",
    "state call TrainingState.save",
    "run_folder call start",
    "run_folder call append_metrics",
    "run_folder return append_metrics",
    "pathlib line _write_bytes_in_two",
    "pathlib call Path.replace",
    "pathlib return Path.replace",
    "pathlib return Path.unlink",
    "saves call publish",
    "saves call _prune",
)
"""What an end of a step, of an epoch and a save consist of."""


def test_killed_at_the_turns_of_a_save_and_of_an_epoch(server, whole, tmp_path):
    name = "dynamic"
    expected, events = whole(name)
    for number, event in enumerate(TURNS):
        places = [i for i, each in enumerate(events, 1) if each == event]
        assert places, event
        at = places[len(places) // 2]
        assert chain(server, name, tmp_path / str(number), [{"files": [], "at": at}]) == 1, event
        assert seen(tmp_path / str(number)) == expected, event


def test_a_kill_before_the_first_file_is_whole_leaves_nothing_in_the_way(server, whole, tmp_path):
    expected, events = whole("dynamic")
    first = next(i for i, each in enumerate(events, 1) if each == "pathlib call Path.replace")
    assert chain(server, "dynamic", tmp_path / "run", [{"files": [], "at": first}]) == 1
    assert seen(tmp_path / "run") == expected


def test_the_comparison_notices_one_bit(whole, server, tmp_path):
    expected, _ = whole("dynamic")
    assert server.call("train", **CASES["dynamic"], out=str(tmp_path / "run")) == 0
    assert seen(tmp_path / "run") == expected
    metrics = tmp_path / "run" / "metrics.jsonl"
    metrics.write_text(metrics.read_text().replace("1", "2", 1))
    assert seen(tmp_path / "run") != expected
    state = checkpoint.load_progress(tmp_path / "run")[1]
    changed = {name: value.clone() for name, value in state.items()}
    first = next(iter(changed.values())).view(-1)
    first[0] = torch.nextafter(first[0], torch.tensor(torch.inf))
    assert bits(changed) != bits(state)
