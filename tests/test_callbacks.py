"""Callbacks: every hook is called when it should be, and a run can be watched, stopped and read
without further work."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import hooks

import aevb
from aevb import Callbacks, Config
from aevb.commands import cli
from aevb.datasets import readers
from aevb.datasets.schema import Data
from aevb.storage import checkpoint
from aevb.training.callbacks import watches_steps
from aevb.training.loop import Loop

SMALL = Config(hidden=(8,), latent_dim=2, epochs=3, batch_size=32, seed=3, threads=1)
NAMES = ("on_data", "on_fresh", "on_resume", "on_start", "on_step", "on_epoch", "on_end")
FIT = "--hidden 8 --latent-dim 2 --epochs 2 --threads 1"


@pytest.fixture
def data():
    return Data(np.random.default_rng(0).normal(size=(90, 3)), "table", columns=("a", "b", "c"))


class Listed(Callbacks):
    """Notes every call: the hook's name and its arguments."""

    def __init__(self):
        self.calls = []

    def names(self):
        return [name for name, *_ in self.calls]

    def arguments(self, hook):
        return [arguments for name, *arguments in self.calls if name == hook]


for hook in NAMES:

    def note(self, *arguments, hook=hook):
        self.calls.append((hook, *arguments))

    setattr(Listed, hook, note)


def weights(run):
    return torch.cat([value.flatten() for value in run.model.state_dict().values()])


def test_hooks_are_called_in_order_with_what_they_promise(data):
    listed = Listed()
    run = aevb.fit(data, SMALL, callbacks=listed)
    epoch = ["on_step"] * 3 + ["on_epoch"]  # 81 rows in batches of 32
    assert listed.names() == ["on_data", "on_start", *epoch * 3, "on_end"]
    ((prepared,),) = listed.arguments("on_data")
    assert prepared.data.rows is data.rows
    assert (len(prepared.train), len(prepared.validation)) == (81, 9)
    assert listed.arguments("on_start")[0][0].mode == "eager"
    steps = listed.arguments("on_step")
    assert [(epoch, step) for epoch, step, _ in steps] == [
        (e, s) for e in range(3) for s in (1, 2, 3)
    ]
    assert set(steps[0][2]) == {"bound", "reconstruction", "kl"}
    assert len({float(log["bound"]) for _, _, log in steps}) == 9  # each a copy
    assert [record for (record,) in listed.arguments("on_epoch")] == run.history
    assert listed.arguments("on_end") == [[run]]


def test_a_resumed_run_and_a_started_one_say_so(data, tmp_path):
    first = aevb.fit(data, SMALL, out=tmp_path / "first")
    listed = Listed()
    aevb.fit(data, replace(SMALL, epochs=4), out=tmp_path / "first", resume=True, callbacks=listed)
    assert listed.names()[:3] == ["on_data", "on_resume", "on_start"]
    ((saved,),) = listed.arguments("on_resume")
    assert (saved.progress.epoch, saved.run.config.epochs) == (3, 3)
    assert torch.equal(weights(saved.run), weights(first))
    listed = Listed()
    start = replace(SMALL, start=str(tmp_path / "first"), prior="vamp", components=3)
    aevb.fit(data, start, callbacks=listed)
    assert listed.names()[:3] == ["on_data", "on_fresh", "on_start"]
    assert listed.arguments("on_fresh") == [[["prior vamp"]]]


def test_a_hook_can_end_the_run_which_is_saved_and_can_be_resumed(data, tmp_path):
    whole = aevb.fit(data, SMALL)
    stop = hooks(on_epoch=lambda record: record["epoch"] == 2)
    run = aevb.fit(data, SMALL, out=tmp_path / "run", callbacks=stop)
    assert (run.trained, len(run.history), run.is_unfinished) == (2, 2, True)
    assert not run.model.training
    assert checkpoint.read_progress(tmp_path / "run").epoch == 2
    resumed = aevb.fit(data, SMALL, out=tmp_path / "run", resume=True)
    assert torch.equal(weights(resumed), weights(whole))
    never = hooks(on_epoch=lambda record: record)  # not True
    assert aevb.fit(data, SMALL, callbacks=never).trained == 3


def test_steps_that_nobody_watches_cost_no_call(data, monkeypatch):
    assert not watches_steps(Callbacks())
    assert watches_steps(Listed())
    assert watches_steps(hooks(on_step=lambda *_: None))
    monkeypatch.setattr(Callbacks, "on_step", lambda *_: pytest.fail("called"))
    aevb.fit(data, SMALL)


class Reads:
    """Notes each tensor file that is read, and how many bytes each digest is of."""

    def __init__(self, monkeypatch):
        self.names, self.hashed = [], []
        read, sha256 = Path.read_bytes, hashlib.sha256

        def read_bytes(path):
            self.names += [path.name] if path.suffix == ".safetensors" else []
            return read(path)

        def counted(content=b""):
            self.hashed.append(len(content))
            return sha256(content)

        monkeypatch.setattr(Path, "read_bytes", read_bytes)
        monkeypatch.setattr("aevb.storage.saves.hashlib.sha256", counted)


def newest(run):
    """The tensor files of a run's newest save, and how long each is."""
    entries = json.loads((run / "manifest.json").read_text())["files"].values()
    return {entry["file"]: (run / entry["file"]).stat().st_size for entry in entries}


class Stop(Exception):  # noqa: N818
    """Ends a run before its first step."""


def stop(*_):
    raise Stop


def test_a_resumed_run_reads_and_hashes_each_file_of_its_save_once(data, tmp_path, monkeypatch):
    aevb.fit(data, SMALL, out=tmp_path / "run")
    sizes = newest(tmp_path / "run")
    reads = Reads(monkeypatch)
    with pytest.raises(Stop):
        aevb.fit(data, SMALL, out=tmp_path / "run", resume=True, callbacks=hooks(on_start=stop))
    assert sorted(reads.names) == sorted(sizes)
    assert [reads.hashed.count(size) for size in sizes.values()] == [1, 1, 1]


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """Runs a command line. Returns its exit code."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("aevb.runs.pictures.draw", lambda *_: [])
    monkeypatch.setattr("aevb.plots.save", lambda _, path: path)

    def run(line):
        with pytest.raises(SystemExit) as end:
            cli.main(line.split())
        return end.value.code

    return run


def test_the_command_that_resumes_reads_each_file_of_the_save_once(command, monkeypatch):
    assert command(f"fit gmm --out run {FIT}") == 0
    names = list(newest(Path("run")))
    reads = Reads(monkeypatch)
    monkeypatch.setattr(Loop, "run_epochs", stop)
    assert command("fit --resume --out run --epochs 3") == 70  # stopped here, before any save
    assert sorted(reads.names) == sorted(names)


def test_every_command_loads_its_data_once(command, data, monkeypatch):
    loaded, real = [], readers.read
    monkeypatch.setattr(
        readers, "read", lambda path, **o: (loaded.append(path), real(path, **o))[1]
    )
    np.save("rows.npy", data.rows)
    np.save("others.npy", data.rows[:30])
    assert command(f"fit rows.npy --out run {FIT}") == 0
    assert [Path(path).name for path in loaded] == ["rows.npy"]
    for line, names in [
        ("evaluate run --samples 10 --quiet", ["rows.npy"]),
        ("evaluate run others.npy --samples 10 --quiet", ["rows.npy", "others.npy"]),
        ("fit --resume --out run --epochs 3", ["rows.npy"]),
        ("refit run --out other --components 2", ["rows.npy"]),
    ]:
        loaded.clear()
        assert command(line) == 0
        assert [Path(path).name for path in loaded] == names, line


def test_modules_can_be_reached_from_the_package():
    from aevb import checker, report

    assert aevb.report is report
    assert callable(report.evaluate)
    assert aevb.checker is checker
    assert callable(aevb.checker.check)
