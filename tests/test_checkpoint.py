"""Saved runs: they come back bit for bit, no damage passes unseen, and a failed save leaves the old
run whole."""

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from helpers import SAVED, make_run, same_weights

from aevb.errors import DataError, NotFoundError, OutputExistsError
from aevb.storage import checkpoint, saves
from aevb.storage.checkpoint import Progress
from aevb.storage.saves import MANIFEST


def test_comes_back_as_it_was(tmp_path):
    run = make_run()
    checkpoint.save(run, tmp_path / "deep" / "run", progress=Progress(epoch=2, best_bound=-1.5))
    back = checkpoint.load(tmp_path / "deep" / "run")
    assert same_weights(run, back)
    assert (back.config, back.schema, back.likelihood, back.source) == (
        run.config,
        run.schema,
        "gaussian",
        "somewhere.csv",
    )
    assert not back.model.training


def test_state_and_progress_come_back(tmp_path):
    state = {"optimizer.0.exp_avg": torch.randn(4), "optimizer.0.step": torch.tensor(7.0)}
    checkpoint.save(make_run(), tmp_path, progress=Progress(5, 4, -2.25, step=1), state=state)
    progress, back = checkpoint.load_progress(tmp_path)
    assert progress == Progress(5, 4, -2.25, step=1)
    assert back.keys() == state.keys()
    assert all(torch.equal(back[name], state[name]) for name in state)


def test_another_run_is_not_saved_over_unless_asked_to(tmp_path):
    """A run that was trained there can be continued; a save by hand would have taken that away,
    without a word."""
    first, second = make_run(0), make_run(1)
    checkpoint.save(first, tmp_path, state={"a": torch.zeros(1)})
    (tmp_path / "config.toml").write_text("epochs = 3\n")
    (tmp_path / "metrics.jsonl").write_text(
        '{"epoch": 1, "bound": -1, "reconstruction": -1, "kl": 0}\n'
    )
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(OutputExistsError, match=r"already holds a run.*overwrite=True"):
        checkpoint.save(second, tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before
    checkpoint.save(second, tmp_path, overwrite=True)
    back = checkpoint.load(tmp_path)
    assert same_weights(back, second)
    assert back.history == []  # not that of the run before
    assert not (tmp_path / "config.toml").exists()
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "config.toml").write_text("epochs = 3\n")  # killed before its first save
    with pytest.raises(OutputExistsError):
        checkpoint.save(second, tmp_path / "begun")
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "notes.txt").write_text("mine")
    checkpoint.save(second, tmp_path / "notes")


def test_saving_again_replaces_and_leaves_no_litter(tmp_path):
    checkpoint.save(make_run(0), tmp_path, state={"a": torch.zeros(1)})
    second = make_run(1)
    (tmp_path / ".model-0123456789ab.part.safetensors").write_bytes(b"half")  # as kill -9 leaves it
    checkpoint.save(second, tmp_path, overwrite=True)
    assert same_weights(checkpoint.load(tmp_path), second)
    assert sorted(path.suffix for path in tmp_path.iterdir()) == [".json", ".safetensors"]
    with pytest.raises(DataError, match="not continued"):
        checkpoint.load_progress(tmp_path)


def test_loading_leaves_the_generator_alone(tmp_path):
    checkpoint.save(make_run(), tmp_path)
    state = torch.get_rng_state()
    checkpoint.load(tmp_path)
    assert torch.equal(torch.get_rng_state(), state)


def test_every_flipped_bit_is_noticed(tmp_path):
    checkpoint.save(make_run(), tmp_path, state={"a": torch.randn(3)})
    for path in tmp_path.iterdir():
        whole = path.read_bytes()
        load = checkpoint.load_progress if path.name.startswith("state") else checkpoint.load
        positions = torch.randperm(8 * len(whole))[:150].tolist()
        for position in positions:
            damaged = bytearray(whole)
            damaged[position // 8] ^= 1 << position % 8
            path.write_bytes(damaged)
            with pytest.raises(DataError):
                load(tmp_path)
        path.write_bytes(whole)
    checkpoint.load(tmp_path)


def test_every_truncation_is_noticed(tmp_path):
    checkpoint.save(make_run(), tmp_path)
    for path in tmp_path.iterdir():
        whole = path.read_bytes()
        for length in [0, 1, 7, len(whole) // 2, len(whole) - 1]:
            path.write_bytes(whole[:length])
            with pytest.raises(DataError):
                checkpoint.load(tmp_path)
        path.write_bytes(whole)


@pytest.mark.parametrize(
    "edit",
    [
        lambda m: m["config"].update(latent_dim=3),
        lambda m: m["data_schema"].update(shift=[0, 0, 0]),
        lambda m: m["files"]["model"].update(sha256="0" * 64),
        lambda m: m["progress"].update(epoch=99),
        lambda m: m.pop("sha256"),
        lambda m: m.update(extra=1),
    ],
)
def test_an_edited_manifest_is_noticed(tmp_path, edit):
    checkpoint.save(make_run(), tmp_path)
    manifest = json.loads((tmp_path / MANIFEST).read_text())
    edit(manifest)
    (tmp_path / MANIFEST).write_text(json.dumps(manifest))
    with pytest.raises(DataError, match="manifest"):
        checkpoint.load(tmp_path)


@pytest.mark.parametrize("content", ["", "[]", "3", "null", "{", '{"sha256": "x"}', "\x00\xff"])
def test_a_manifest_that_is_none_is_refused(tmp_path, content):
    (tmp_path / MANIFEST).write_text(content, encoding="latin-1")
    with pytest.raises(DataError, match="damaged"):
        checkpoint.load(tmp_path)


def sign(path, edit):
    """Change a manifest as another program could: with a SHA-256 that fits."""
    body = json.loads(path.read_text())
    del body["sha256"]
    edit(body)
    path.write_text(json.dumps(body | {"sha256": saves._digest(body)}, indent=1) + "\n")


def test_a_format_of_the_future_is_refused_rather_than_replaced_by_an_older_save(tmp_path):
    for seed in (0, 1):
        checkpoint.save(make_run(seed), tmp_path, state={"a": torch.zeros(1)})
    sign(tmp_path / MANIFEST, lambda body: body.update(format=3, more="than we know"))
    with pytest.raises(DataError, match="format 3, this version of aevb reads formats 1 and 2"):
        checkpoint.load(tmp_path)


def test_a_run_of_format_1_loads_and_continues(tmp_path):
    """As it was written before saves were numbered: no number, one manifest, other progress.

    Its progress had a number of threads, which the engine replaced and nobody reads."""
    run = make_run()
    checkpoint.save(run, tmp_path, progress=Progress(epoch=2), state={"a": torch.ones(1)})

    def age(body):
        del body["generation"]
        body["format"] = 1
        kept = {name: body["progress"][name] for name in ("epoch", "best_epoch", "best_bound")}
        body["progress"] = kept | {"threads": 2}

    sign(tmp_path / MANIFEST, age)
    (tmp_path / MANIFEST).write_text((tmp_path / MANIFEST).read_text().rstrip())
    assert same_weights(checkpoint.load(tmp_path), run)
    assert checkpoint.load_progress(tmp_path)[0] == Progress(epoch=2)
    old = (tmp_path / MANIFEST).read_bytes()
    (tmp_path / MANIFEST).write_bytes(old.replace(b'"epoch": 2', b'"epoch": 3'))
    with pytest.raises(DataError, match="SHA-256 differs"):
        checkpoint.load(tmp_path)
    (tmp_path / MANIFEST).write_bytes(old)
    checkpoint.save(make_run(1), tmp_path, progress=Progress(epoch=3), state={"a": torch.ones(1)})
    assert (tmp_path / "previous.json").read_bytes() == old
    assert checkpoint.read_progress(tmp_path) == Progress(epoch=3)


def test_progress_survives_to_the_bit(tmp_path):
    totals = {
        "bound": 0.1 + 0.2,
        "kl": 5e-324,
        "reconstruction": -1.7976931348623157e308,
        "third": 1 / 3,
        "zero": -0.0,
    }
    totals |= {"overflowed": math.inf}
    engine = {
        "mode": "compiled",
        "threads": 2,
        "precision": "bf16",
        "world_size": 1,
        "learning_rate": 1e-3,
    }
    progress = Progress(epoch=3, step=17, totals=totals, engine=engine, best_bound=-1 / 3)
    checkpoint.save(make_run(), tmp_path, progress=progress, state={"a": torch.zeros(1)})
    back = checkpoint.read_progress(tmp_path)
    assert back == progress
    assert [math.copysign(1, value) for value in back.totals.values()] == [
        math.copysign(1, value) for value in totals.values()
    ]
    assert {type(value) for value in back.totals.values()} == {float}
    assert [type(value) for value in back.engine.values()] == [
        type(value) for value in engine.values()
    ]


def test_swapped_and_missing_weights_are_noticed(tmp_path):
    for seed in (0, 1):
        checkpoint.save(make_run(seed), tmp_path / str(seed))
    files = [next((tmp_path / str(seed)).glob("model-*")) for seed in (0, 1)]
    files[0].write_bytes(files[1].read_bytes())
    with pytest.raises(DataError, match="SHA-256"):
        checkpoint.load(tmp_path / "0")
    files[1].unlink()
    with pytest.raises(DataError, match="missing"):
        checkpoint.load(tmp_path / "1")


def test_a_manifest_cannot_point_outside_its_folder(tmp_path):
    checkpoint.save(make_run(), tmp_path / "run")
    next((tmp_path / "run").glob("model-*")).rename(tmp_path / "model-elsewhere.safetensors")
    sign(
        tmp_path / "run" / MANIFEST,
        lambda body: body["files"]["model"].update(file="../model-elsewhere.safetensors"),
    )
    with pytest.raises(DataError, match="missing"):
        checkpoint.load(tmp_path / "run")


@pytest.mark.parametrize(("make", "says"), [(False, "does not exist"), (True, "no manifest.json")])
def test_no_run_is_said_to_be_none(tmp_path, make, says):
    folder = tmp_path / "run"
    if make:
        folder.mkdir()
    with pytest.raises(NotFoundError, match=says):
        checkpoint.load(folder)


@pytest.mark.skipif(sys.platform == "win32", reason="needs POSIX file size limits")
def test_a_real_limit_on_file_size_keeps_the_old_run(tmp_path):
    """The same with the operating system's own refusal instead of ours: files over 512 bytes cannot
    be written."""
    checkpoint.save(make_run(0), tmp_path)
    code = f"""
import resource, signal, sys
sys.path.insert(0, {str(Path(__file__).parent)!r})
from helpers import make_run
from aevb.storage import checkpoint
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (512, 512))
try:
    checkpoint.save(make_run(1), {str(tmp_path)!r}, overwrite=True)
except checkpoint.CannotWriteError as error:
    sys.exit(42 if "File too large" in str(error) else 1)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 42
    assert same_weights(checkpoint.load(tmp_path), make_run(0))


def test_weights_that_do_not_fit_the_settings_are_refused(tmp_path):
    run = make_run()
    run.config = replace(SAVED, latent_dim=3)
    checkpoint.save(run, tmp_path)
    with pytest.raises(DataError, match="do not fit"):
        checkpoint.load(tmp_path)


def test_metrics_cut_short_are_read_up_to_there(tmp_path):
    records = [{"epoch": e, "bound": -1.5, "reconstruction": -1.0, "kl": 0.5} for e in (1, 2)]
    lines = "".join(json.dumps(record) + "\n" for record in records)
    for damage in ('{"epo', '{"epoch": 3}', "3", "\x00"):
        (tmp_path / "metrics.jsonl").write_text(lines + damage)
        assert checkpoint.read_metrics(tmp_path) == records
