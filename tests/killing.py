"""Runs in processes that are killed: a server that has imported aevb forks one process for each, in
milliseconds.

``python killing.py`` is the server: one request a line on stdin, one answer a line on stdout. It
trains nothing itself, for a process that has taken a gradient can no longer be forked and take one.
``Server`` talks to it.
"""

import gc
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path

import numpy as np

NEVER = {"files": [], "at": 0}


SMALL = {"hidden": [6], "latent_dim": 2, "epochs": 3, "batch_size": 24, "seed": 3, "threads": 1,
         "likelihood": "gaussian"}  # fmt: skip
BITS = {"likelihood": "bernoulli", "binarize": "dynamic"}


def case(kind="table", traced=False, always_save=True, **settings):
    return {"kind": kind, "config": SMALL | settings, "traced": traced, "always_save": always_save}


CASES = {
    "dynamic": case("pictures", **BITS, save_every=1, batch_size=20),
    "dynamic, traced": case("pictures", True, **BITS, save_every=3),
    "running variance": case(likelihood="gaussian_optimal", save_every=3, batch_size=20),
    "running variance, traced, few saves": case(
        "table", True, False, likelihood="gaussian_optimal", save_every=0
    ),
    "warm-up and patience": case(
        warmup_epochs=2, patience=2, epochs=6, learning_rate=0.05, save_every=1
    ),
    "epochs of steps": case(
        epochs=None, steps=15, epoch_steps=4, patience=9, decay=1.0, warmup_epochs=1, save_every=1
    ),
    "mixed rows with gaps": case("mixed", likelihood="mixed", save_every=1, batch_size=20),
    "adagrad": case(optimizer="adagrad", learning_rate=0.05, save_every=1, batch_size=20),
    "plain": case(),
}
"""Small runs by name: what ``train`` takes. Those that are replayed have batches of one size: each
size is recorded."""


def chain(server, name, folder, kills):
    """A run that is resumed after each of ``kills``, then to its end. Returns how many of them
    struck."""
    struck = 0
    for kill in kills:
        code = server.call("train", **CASES[name], out=str(folder), kill=kill)
        assert code in (0, -signal.SIGKILL), code
        struck += code != 0
    assert server.call("train", **CASES[name], out=str(folder)) == 0
    return struck


def seen(folder):
    """All that a run leaves and that must not depend on how often it was resumed."""
    manifest = json.loads((folder / "manifest.json").read_text())
    assert sorted(path.name for path in folder.glob(".*")) == [], "halves of files"
    files = {
        entry["file"]: (folder / entry["file"]).read_bytes() for entry in manifest["files"].values()
    }
    # generation counts the saves, and the checksum is of the whole.
    rest = {key: value for key, value in manifest.items() if key not in ("generation", "sha256")}
    return (
        files,
        rest,
        (folder / "metrics.jsonl").read_bytes(),
        (folder / "config.toml").read_bytes(),
    )


class Server:
    """start: a process that runs a function of this file; wait: its exit code, negative for a
    signal."""

    def __enter__(self):
        command = [sys.executable, __file__]
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        assert self.process.wait(60) == 0
        self.process.stdout.close()

    def ask(self, **request):
        self.process.stdin.write(json.dumps(request) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def start(self, what, said=os.devnull, environment=None, **named):
        """The id of a process that calls ``what(**named)``. said: where its stderr goes."""
        return self.ask(
            do="start", what=what, said=str(said), environment=environment or {}, named=named
        )

    def wait(self, pid, kill_after=None, limit=600.0):
        """Its exit code; 'late' if it does not end within ``limit`` seconds. kill_after: SIGKILL
        after so many seconds."""
        return self.ask(do="wait", pid=pid, kill_after=kill_after, limit=limit)

    def call(self, what, kill_after=None, **named):
        return self.wait(self.start(what, **named), kill_after)

    def is_alive(self, pid):
        return self.ask(do="is_alive", pid=pid)


def rows(kind):
    """Small training data by name."""
    from aevb.datasets.schema import Data

    rng = np.random.default_rng(0)
    if kind == "pictures":
        return Data(rng.integers(0, 256, (80, 4, 4)).astype(np.uint8), "pictures", white=255.0)
    if kind == "mixed":
        import pandas as pd

        from aevb.datasets.tabular.frames import data_of_frame

        size = np.where(rng.random(80) < 0.2, np.nan, rng.normal(size=80))
        names, numbers = rng.choice(["x", "y", None], 80), rng.poisson(200, 80)
        return data_of_frame(pd.DataFrame({"a": size, "b": names, "c": numbers}), "table")
    return Data(rng.normal(size=(80, 3)), "table", columns=("a", "b", "c"))


def train(kind, config, out, kill=NEVER, always_save=True, traced=False, log=None):
    """A run to its end, taken up where it is. kill: at which event, ``Events`` says. log: a file
    for the events' names."""
    import math

    import torch

    from aevb import Config, fit
    from aevb.engine import decisions
    from aevb.training import state

    torch.set_num_threads(1)
    if always_save:
        state.SAVE_SHARE = math.inf
    decisions.FEW_STEPS = 0 if traced else 10**9
    data = rows(kind)
    events = Events(kill, log)
    with events:
        return fit(
            data, Config(**{**config, "hidden": tuple(config["hidden"])}), out=out, resume=True
        )


def command(arguments, kill=NEVER, traced=None):
    """The command line, with its exit code."""
    import math

    import torch

    from aevb.commands import cli
    from aevb.engine import decisions
    from aevb.training import state

    torch.set_num_threads(1)
    state.SAVE_SHARE = math.inf
    if traced:
        decisions.FEW_STEPS = 0
    with Events(kill):
        cli.main(arguments)


def member(out, final, **named):
    """One process of a group, with the sentence and the exit code of the command line. final: what
    it ended with, as JSON."""
    import hashlib

    from aevb.errors import AevbError
    from aevb.storage import checkpoint

    saved = []
    real = checkpoint.save
    checkpoint.save = lambda *positional, **options: (
        saved.append(True),
        real(*positional, **options),
    )
    try:
        run = train(out=out, **named)
    except AevbError as error:
        print(f"aevb: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    digest = hashlib.sha256(
        b"".join(value.numpy().tobytes() for value in run.model.state_dict().values())
    ).hexdigest()
    Path(final).write_text(json.dumps({"weights": digest, "wrote": bool(saved)}))


def slow_command(arguments, slow, mark):
    """The command line, where what is named takes a minute (a save: half a second), and leaves a
    mark when it begins."""
    from aevb.engine import step
    from aevb.storage import checkpoint
    from aevb.training import loop

    home, name, seconds = {
        "record": (step, "record", 60.0),
        "validate": (loop, "elbo_rows", 60.0),
        "save": (checkpoint, "save", 0.5),
    }[slow]
    real = getattr(home, name)

    def slowly(*positional, **named):
        Path(mark).touch()
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            time.sleep(0.01)
        return real(*positional, **named)

    setattr(home, name, slowly)
    command(arguments, traced=True)


class Events:
    """Counts what happens in aevb and in the file system: every call, every line and every return.

    files: of which files of aevb, by stem, all if empty; "pathlib" is the file system. at: the
    event, from 1, at which the process kills itself; 0 is never.
    """

    def __init__(self, kill, log=None):
        self.files, self.at = frozenset(kill["files"]), kill["at"]
        self.count, self.log, self.names, self.stems = 0, log, [], {}

    def __enter__(self):
        Path.write_bytes = _write_bytes_in_two
        os.fsync = lambda _: (
            None
        )  # what a process wrote survives its kill; waiting for a disk takes most of a small run
        if self.at or self.log:
            sys.settrace(self.enter)

    def __exit__(self, *_):
        sys.settrace(None)
        if self.log:
            Path(self.log).write_text(json.dumps(self.names))

    def enter(self, frame, kind, argument):
        code = frame.f_code
        stem = self.stems.get(code)
        if stem is None:
            path = Path(code.co_filename)
            ours = (
                "aevb" in path.parts
                or path.stem == "pathlib"
                or code is _write_bytes_in_two.__code__
            )
            self.stems[code] = stem = path.stem.replace("killing", "pathlib") if ours else ""
            if self.files and stem not in self.files:
                self.stems[code] = stem = ""
        return self.see(frame, kind, argument) if stem else None

    def see(self, frame, kind, argument):
        self.count += 1
        if self.log:
            self.names.append(f"{self.stems[frame.f_code]} {kind} {frame.f_code.co_qualname}")
        if self.count == self.at:
            os.kill(os.getpid(), signal.SIGKILL)
        return self.see


def _write_bytes_in_two(path, content):
    """A kill may find half of a file written."""
    with path.open("wb") as file:
        file.write(content[: len(content) // 2])
        file.flush()
        file.write(content[len(content) // 2 :])


def _start(request):
    pid = os.fork()
    if pid:
        return pid
    code = 70
    try:
        os.setsid()  # as a process of its own, whose children could be found
        os.environ.update(request["environment"])
        said = os.open(request["said"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
        os.dup2(said, 2)
        os.dup2(said, 1)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        globals()[request["what"]](**request["named"])
        code = 0
    except SystemExit as end:
        code = end.code or 0
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)


def _wait(request):
    until = time.monotonic() + request["limit"]
    if request["kill_after"] is not None:
        time.sleep(request["kill_after"])
        os.kill(
            request["pid"], signal.SIGKILL
        )  # nobody else waits for it: it is there, if only as a zombie
    while True:
        pid, status = os.waitpid(request["pid"], os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > until:
            os.kill(request["pid"], signal.SIGKILL)
            os.waitpid(request["pid"], 0)
            return "late"
        time.sleep(0.002)


def _is_alive(request):
    try:
        return "State:\tZ" not in Path(f"/proc/{request['pid']}/status").read_text()
    except OSError:
        return False


WANTED = (
    "commands.cli",
    "commands.fit",
    "commands.terminal",
    "parts.likelihoods.bernoulli",
    "parts.likelihoods.gaussian",
    "parts.networks.mlp",
    "parts.objectives.elbo",
    "parts.objectives.importance",
    "parts.posteriors.gaussian",
    "parts.priors.standard_normal",
    "runs.pictures",
    "runs.report",
    "training.fit",
)
"""Modules of aevb that the server imports, so that its children need not."""


def serve():
    for module in (*(f"aevb.{name}" for name in WANTED), "torch._dynamo", "torch.distributed"):
        __import__(module)
    doing = {"start": _start, "wait": _wait, "is_alive": _is_alive}
    gc.freeze()  # or the children copy what the collector touches
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(doing[request["do"]](request)), flush=True)


if __name__ == "__main__":
    serve()
