"""Ctrl-C and SIGTERM leave at once and resumably; a number that is not finite is noticed in its
step and never saved."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import hooks
from killing import SMALL, seen

import aevb
from aevb.datasets.schema import Data
from aevb.errors import DivergedError
from aevb.storage import checkpoint
from aevb.training import loop, state

LATE = 60.0
"""Seconds from the signal to the end that only a command that does not leave would take.

That it leaves at once is shown by where it stopped, not by a clock: machines differ.
"""
LONG = [
    "--hidden",
    "8",
    "--latent-dim",
    "2",
    "--batch-size",
    "64",
    "--threads",
    "1",
    "--epochs",
    "30",
    "--seed",
    "5",
    "--quiet",
]


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    path = tmp_path_factory.mktemp("data") / "rows.npy"
    np.save(path, np.random.default_rng(0).normal(size=(3000, 4)).astype(np.float32))
    return str(path)


def wait_for(what, limit=300.0):
    until = time.monotonic() + limit
    while not what():
        assert time.monotonic() < until
        time.sleep(0.005)


def lines(folder):
    path = folder / "metrics.jsonl"
    return path.read_text().count("\n") if path.exists() else 0


def ended(server, pid, sent):
    """The exit code, and the seconds since the signal."""
    return server.wait(pid), time.monotonic() - sent


def in_an_interpreter(_server, arguments, said):
    """The command as a shell starts it: the id of its process, and what waits for its exit code."""
    # Ctrl-C is ignored in what some shells start in the background, and that is inherited.
    with said.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "aevb", *arguments],
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
            stderr=file,
        )
    return process.pid, process.wait


def in_a_fork(server, arguments, said):
    """The same without the seconds that a fresh interpreter takes."""
    pid = server.start("command", arguments=arguments, said=said)
    return pid, lambda: server.wait(pid)


@pytest.mark.parametrize(
    ("number", "code", "starter"),
    [(signal.SIGINT, 130, in_an_interpreter), (signal.SIGTERM, 143, in_a_fork)],
    ids=["Ctrl-C", "SIGTERM"],
)
def test_a_signal_ends_the_command_resumably(server, table, tmp_path, number, code, starter):
    # Epochs long enough that the signal comes in the middle of one.
    arguments = ["fit", table, *({"64": "8", "30": "6"}.get(word, word) for word in LONG)]
    pid, wait = starter(server, [*arguments, "--out", str(tmp_path / "cut")], tmp_path / "said")
    wait_for(lambda: lines(tmp_path / "cut") >= 2)
    time.sleep(0.1)
    sent, before = time.monotonic(), lines(tmp_path / "cut")
    os.kill(pid, number)
    assert wait() == code
    assert time.monotonic() - sent < LATE
    said = (tmp_path / "said").read_text()
    progress = checkpoint.read_progress(tmp_path / "cut")
    at = f"in epoch {progress.epoch + 1} of {aevb.load(tmp_path / 'cut').config.epochs}"
    assert (
        said.strip() == f"interrupted {at}. To continue: aevb fit --resume --out {tmp_path / 'cut'}"
    )
    assert before <= progress.epoch <= before + 1  # at once; one more if it ended meanwhile
    assert progress.step > 0
    assert (
        server.call(
            "command", arguments=["fit", "--resume", "--quiet", "--out", str(tmp_path / "cut")]
        )
        == 0
    )
    assert server.call("command", arguments=[*arguments, "--out", str(tmp_path / "whole")]) == 0
    assert seen(tmp_path / "cut") == seen(tmp_path / "whole")


@pytest.mark.parametrize("slow", ["record", "validate", "save"])
def test_a_signal_need_not_wait(server, table, tmp_path, slow):
    """While a step is recorded, while the validation rows are measured; and a second one does not
    break a save."""
    mark = tmp_path / "mark"
    arguments = ["fit", table, *LONG, "--out", str(tmp_path / "run"), "--validation", "0.5"]
    pid = server.start(
        "slow_command", arguments=arguments, slow=slow, mark=str(mark), said=tmp_path / "said"
    )
    wait_for(mark.exists)
    sent = time.monotonic()
    os.kill(pid, signal.SIGINT)
    if slow == "save":
        time.sleep(0.2)
        os.kill(pid, signal.SIGINT)
    code, seconds = ended(server, pid, sent)
    assert code == 130, (tmp_path / "said").read_text()
    assert seconds < LATE
    if slow != "record":
        assert checkpoint.read_progress(tmp_path / "run").epoch == (1 if slow == "save" else 0)
    resume = ["fit", "--resume", "--quiet", "--epochs", "2", "--out", str(tmp_path / "run")]
    assert server.call("command", arguments=resume, traced=True) == 0
    whole = [
        "2" if word == "30" else word.replace(str(tmp_path / "run"), str(tmp_path / "whole"))
        for word in arguments
    ]
    assert server.call("command", arguments=whole, traced=True) == 0
    assert seen(tmp_path / "run")[0] == seen(tmp_path / "whole")[0]


CONFIG = aevb.Config(
    **SMALL | {"hidden": (6,), "batch_size": 8, "validation": "0", "likelihood": "gaussian_fixed"}
)


def spoilt(at, value=3e19):
    """Rows of which one overflows when it is squared; they count as checked and standardised
    already."""
    rows = np.random.default_rng(0).normal(size=(80, 3)).astype(np.float32)
    rows[at, 1] = value
    return Data(rows, "table", columns=("a", "b", "c"))


def step_of(row, epoch=0):
    order = aevb.datasets.batches.epoch_batches(80, 8, CONFIG.seed, epoch)
    return next(i for i, index in enumerate(order, 1) if row in index)


ROW = next(row for row in range(80) if step_of(row) == 8)


@pytest.fixture
def as_they_are(monkeypatch):
    monkeypatch.setattr(loop, "rows_of", lambda data, *_: Plain(torch.from_numpy(data.rows)))


class Plain:
    """Rows in memory that are the model's numbers already."""

    def __init__(self, x):
        self.x = x

    def __len__(self):
        return len(self.x)

    def take(self, index):
        return self.x[index]

    def batches(self, indices):
        return map(self.take, indices)

    def split(self, size):
        return iter(self.x.split(size))

    def sample(self, n):
        return self.x[:n]

    def to_x(self, stored):
        return stored


@pytest.mark.parametrize("lag", [1, 50])
@pytest.mark.parametrize("save_every", [0, 1, 3])
def test_a_bad_batch_is_named_and_nothing_of_it_is_saved(
    as_they_are, monkeypatch, tmp_path, lag, save_every
):
    monkeypatch.setattr(loop, "CHECK_EVERY", {"cpu": lag})
    step = step_of(ROW)
    loops, config = [], replace(CONFIG, save_every=save_every)
    monkeypatch.setattr(loop.Loop, "choose_engine", watch(loop.Loop.choose_engine, loops))
    with pytest.raises(DivergedError) as caught:
        aevb.fit(spoilt(ROW), config, out=tmp_path / "run")
    for piece in (
        f"epoch 1, step {step} (log p(x|z) is not finite for 1 of 8 rows",
        f"training row {ROW + 1}",
    ):
        assert piece in str(caught.value)
    good = steps_without(spoilt(ROW, 0.0), step - 1)
    assert all(
        torch.equal(value, good[name]) for name, value in loops[0].model.state_dict().items()
    )
    assert checkpoint.exists(tmp_path / "run") == bool(save_every)
    if save_every:
        progress, tensors = checkpoint.load_progress(tmp_path / "run")
        saved = (step - 1) // save_every * save_every
        assert (progress.epoch, progress.step) == (0, saved)
        assert f"the last save is that of epoch 1, step {saved}" in str(caught.value)
        assert all(bool(torch.isfinite(value).all()) for value in tensors.values())
        assert all(map(np.isfinite, progress.totals.values()))


def watch(real, seen_by):
    return lambda loop: (seen_by.append(loop), real(loop))[1]


def steps_without(data, steps):
    """The weights after so many steps of epoch 1 on rows of which none is bad."""
    found = {}

    def on_step(epoch, step, _):
        if (epoch, step) == (0, steps):
            found.update(
                {name: value.clone() for name, value in loops[0].model.state_dict().items()}
            )

    loops = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop.Loop, "choose_engine", watch(loop.Loop.choose_engine, loops))
        aevb.fit(data, replace(CONFIG, epochs=1), callbacks=hooks(on_step=on_step))
    return found


def test_an_interruption_before_a_bad_step_is_noticed_does_not_save_it(
    as_they_are, monkeypatch, tmp_path
):
    monkeypatch.setattr(loop, "CHECK_EVERY", {"cpu": 50})

    def interrupt(epoch, step, _):
        if step == step_of(ROW):
            raise KeyboardInterrupt

    config, presses = replace(CONFIG, save_every=3), hooks(on_step=interrupt)
    with pytest.raises(KeyboardInterrupt):
        aevb.fit(spoilt(ROW), config, out=tmp_path / "run", callbacks=presses)
    assert checkpoint.read_progress(tmp_path / "run").step == 6
    with pytest.raises(DivergedError, match=f"epoch 1, step {step_of(ROW)} "):
        aevb.fit(spoilt(ROW), config, out=tmp_path / "run", resume=True)


@pytest.mark.parametrize("save_every", [0, 1])
def test_a_moment_that_overflows_is_noticed(as_they_are, monkeypatch, tmp_path, save_every):
    """It holds the square of a gradient that is finite; the weights would stand still for ever
    after."""
    real = state.TrainingState.finish_step

    def overflow(self, *arguments):
        real(self, *arguments)
        if self.step == 5:
            self.update.state["exp_avg_sq"][0].view(-1)[0] = np.inf

    monkeypatch.setattr(state.TrainingState, "finish_step", overflow)
    with pytest.raises(DivergedError, match="weights or moments that are not finite"):
        aevb.fit(spoilt(ROW, 0.0), replace(CONFIG, save_every=save_every), out=tmp_path / "run")
    if save_every:
        tensors = checkpoint.load_progress(tmp_path / "run")[1]
        assert all(bool(torch.isfinite(value).all()) for value in tensors.values())
