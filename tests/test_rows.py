"""Rows for a step: one contract and the same bits, in memory and from a file."""

import subprocess
import sys
import threading

import numpy as np
import pytest
import torch
from helpers import idx, refuses
from scipy.stats import chi2

import aevb
from aevb.config import Config
from aevb.datasets import load, readers, stored
from aevb.datasets.batches import epoch_batches
from aevb.datasets.draws import uniforms
from aevb.datasets.planning import plan
from aevb.datasets.rows import RowsInMemory, RowsStreamed, rows_of
from aevb.datasets.schema import Data
from aevb.errors import DataError
from aevb.evaluation.baseline import fit_baseline
from aevb.training.split import prepare

RNG = np.random.default_rng(0)
ALL_BYTES = np.stack(
    [np.arange(256), RNG.permutation(256), RNG.integers(0, 256, 256), np.arange(255, -1, -1)],
    axis=1,
)
GREY = ALL_BYTES.reshape(256, 2, 2)
CASES = {  # rows, likelihood, binarize, and whether they are kept as 8 bits
    "grey": (GREY.astype(np.uint8), "bernoulli", "none", True),
    "grey, int64": (GREY, "bernoulli", "none", True),
    "grey, standardised": (GREY.astype(np.uint8), "gaussian", "none", True),
    "grey, static": (GREY.astype(np.uint8), "bernoulli", "static", True),
    "grey, dynamic": (GREY.astype(np.uint8), "bernoulli", "dynamic", True),
    "grey, threshold": (GREY.astype(np.uint8), "bernoulli", "threshold", True),
    "levels": (ALL_BYTES.astype(np.int32), "discretized_logistic", "none", True),
    "counts": (1000 * ALL_BYTES.astype(np.int32), "poisson", "none", False),
    "small counts": (ALL_BYTES.astype(np.uint8), "poisson", "none", True),
    "tokens": (ALL_BYTES.astype(np.int32) // 3 * 7, "categorical", "none", False),
    "channels": (RNG.normal(size=(256, 2, 2)) * [1, 50], "auto", "none", False),
    "channels of bytes": (GREY.astype(np.int16) - [0, 3], "auto", "none", False),
    "columns of bytes": (ALL_BYTES.astype(np.int16), "gaussian", "none", True),
    "mixed columns of bytes": (ALL_BYTES.astype(np.int16), "mixed", "none", False),
    "bool": (ALL_BYTES > 99, "auto", "none", True),
    "bits as floats": ((ALL_BYTES > 99).astype(np.float32), "auto", "none", True),
    "unit": (RNG.random((256, 2, 2)).astype(np.float32), "bernoulli", "none", False),
    "unit, static": (RNG.random((256, 2, 2)), "bernoulli", "static", True),
    "table": (RNG.normal(5, 3, (256, 4)).astype(np.float32), "auto", "none", False),
    "float64": (1e9 + RNG.normal(size=(256, 4)), "auto", "none", False),
    "big-endian": (RNG.normal(size=(256, 4)).astype(">f4"), "auto", "none", False),
    "negative": (ALL_BYTES.astype(np.int16) - 128, "auto", "none", False),
    "one column": (RNG.normal(size=256), "auto", "none", False),
}


@pytest.fixture
def streamed(monkeypatch):
    monkeypatch.setattr(stored, "IN_MEMORY_BYTES", 0)


def small_chunks(monkeypatch):
    """Several chunks, blocks and gaps in data of a few kilobytes."""
    monkeypatch.setattr(stored, "CHUNK_VALUES", 100)
    monkeypatch.setattr(stored, "BLOCK", 512)
    monkeypatch.setattr(stored, "GAP", 16)


def both(rows, folder, monkeypatch):
    """The same rows in memory and in a file."""
    np.save(folder / "rows.npy", rows)
    in_memory = load(folder / "rows.npy")
    monkeypatch.setattr(stored, "IN_MEMORY_BYTES", 0)
    in_file = load(folder / "rows.npy")
    assert (in_memory.in_file, in_file.in_file) == (False, True)
    return in_memory, in_file


@pytest.mark.parametrize("place", [RowsInMemory, RowsStreamed])
@pytest.mark.parametrize("case", CASES)
def test_contract(case, place, tmp_path, monkeypatch):
    rows, likelihood, binarize, eight_bits = CASES[case]
    small_chunks(monkeypatch)
    in_memory, in_file = both(rows, tmp_path, monkeypatch)
    levels = dict.fromkeys(["categorical", "discretized_logistic"], "levels")
    forms = levels | {"bernoulli": "unit", "poisson": "counts", "mixed": "columns"}
    schema = plan(in_memory, likelihood, binarize, lambda name: forms.get(name, "real")).schema
    x = torch.from_numpy(schema.to_model(in_memory, seed=7))
    found = rows_of(in_memory if place is RowsInMemory else in_file, schema, seed=7)
    assert type(found) is place
    assert (len(found), found.shape) == (256, tuple(x.shape))
    for index in (
        torch.arange(256),
        torch.randperm(256),
        torch.tensor([3]),
        torch.tensor([9, 2, 2, 255]),
    ):
        taken = found.take(index)
        assert (taken.shape, taken.dtype) == (
            (len(index), x.shape[1]),
            torch.uint8 if eight_bits else torch.float32,
        )
        assert torch.equal(found.to_x(taken), x[index])
    indices = list(epoch_batches(256, 30, seed=1, epoch=0))
    batches = list(found.batches(iter(indices)))
    assert [
        torch.equal(found.to_x(batch), x[index])
        for batch, index in zip(batches, indices, strict=True)
    ] == [True] * 9
    assert list(map(len, found.split(100))) == [100, 100, 56]
    assert torch.equal(torch.cat(list(found.split(100))), x)
    assert torch.equal(found.head(5), x[:5])
    assert torch.equal(found.sample(999), x)
    some = found.sample(100)
    assert len(some.unique(dim=0)) <= len(some) == 100
    assert bool((some[:, None] == x).all(-1).any(-1).all())
    torch._dynamo.reset()  # or it counts the cases before as recompilations
    compiled = torch.compile(found.to_x, fullgraph=True, backend="eager")
    assert torch.equal(compiled(found.take(torch.arange(256))), x)


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_rows_that_must_not_be_written_to_are_taken_and_left_alone(dtype):
    rows = (ALL_BYTES > 99).astype(dtype)
    rows.flags.writeable = False
    data = Data(np.asfortranarray(rows), "rows")
    for each in (data, Data(rows, "rows")):
        kept = rows_of(each, plan(data).schema)
        assert torch.equal(kept.head(256), torch.from_numpy((ALL_BYTES > 99).astype(np.float32)))
        kept.take(torch.arange(9)).zero_()
        assert np.array_equal(each.rows, ALL_BYTES > 99)


def test_a_row_has_its_bits_whichever_rows_are_drawn_with_it():
    whole = uniforms(5, np.arange(1000), 784)
    assert np.array_equal(whole[[7, 999, 0]], uniforms(5, np.array([7, 999, 0]), 784))
    assert not np.array_equal(whole, uniforms(6, np.arange(1000), 784))
    assert 0 <= whole.min() < 1e-5
    assert 1 - 1e-5 < whole.max() < 1


def test_bits_are_uniform_and_unrelated():
    """Chi-square and correlations; each false alarm is one in a million."""
    numbers = np.stack([uniforms(seed, np.arange(5000), 64) for seed in (0, 1, 2**62)])
    for part in (
        numbers[0].ravel(),
        numbers[:, :, 0].ravel(),
        numbers[1, 7],
        numbers[0].ravel() * 4096 % 1,
    ):
        counts = np.bincount((part * 32).astype(int), minlength=32)
        assert ((counts - part.size / 32) ** 2 / (part.size / 32)).sum() < chi2.isf(1e-6, 31)
    z = (numbers.astype(float) - 0.5) * 12**0.5
    pairs = [
        z[0, :, 1:] * z[0, :, :-1],
        z[0, 1:] * z[0, :-1],
        z[0] * z[1],
        z[1] * z[2],
        z[0, 1:, 0] * z[0, :-1, -1],
    ]
    assert max(abs(pair.mean()) * pair.size**0.5 for pair in pairs) < 5.1


@pytest.mark.parametrize("case", CASES)
def test_what_is_decided_about_a_file_is_what_is_decided_in_memory(case, tmp_path, monkeypatch):
    rows, likelihood, binarize, _ = CASES[case]
    small_chunks(monkeypatch)
    settings = Config(likelihood=likelihood, binarize=binarize, seed=2)
    one, other = (prepare(data, settings) for data in both(rows, tmp_path, monkeypatch))
    assert other.train.in_file
    assert other.validation.in_file
    assert one.plan == other.plan
    assert one.rows_sha256() == other.rows_sha256()
    for a, b in ((one.train, other.train), (one.validation, other.validation)):
        assert (a.survey, a.values, a.white, a.shape) == (b.survey, b.values, b.white, b.shape)
        assert np.array_equal(a.rows, b.rows)
        assert np.array_equal(a.sample(20).rows, b.sample(20).rows)


def test_moments_do_not_suffer_from_chunks(monkeypatch):
    rows = 1e6 + RNG.normal(size=(999, 3))
    monkeypatch.setattr(stored, "CHUNK_VALUES", 30)
    for axis in (0, None):
        mean, std = stored.moments(rows, axis)
        assert mean == pytest.approx(rows.mean(axis), rel=1e-14)
        assert std == pytest.approx(rows.std(axis), rel=1e-8)
    x = torch.from_numpy(rows)
    monkeypatch.setattr("aevb.evaluation.baseline.CHUNK", 10)
    assert torch.allclose(fit_baseline(x, "real")[1], x.var(0, unbiased=False).log(), atol=1e-8)


@pytest.mark.parametrize(
    ("rows", "settings"),
    [
        (RNG.normal(5, 3, (300, 6)).astype(np.float32), {}),
        (RNG.normal(5, 3, (300, 6)), {"prior": "vamp"}),
        (
            RNG.integers(0, 256, (300, 4, 4)).astype(np.uint8),
            {"likelihood": "bernoulli", "binarize": "static"},
        ),
        (
            RNG.integers(0, 256, (300, 4, 4)).astype(np.uint8),
            {"likelihood": "bernoulli", "binarize": "dynamic"},
        ),
        (
            RNG.integers(0, 256, (300, 4, 4)).astype(np.uint8),
            {"likelihood": "discretized_logistic"},
        ),
    ],
    ids=["float32", "float64, vamp", "static", "dynamic", "levels"],
)
def test_a_model_trained_from_a_file_has_the_bits_of_one_trained_in_memory(
    rows, settings, tmp_path, monkeypatch
):
    small_chunks(monkeypatch)
    config = Config(hidden=(8,), latent_dim=2, epochs=2, batch_size=32, **settings)
    one, other = (aevb.fit(data, config) for data in both(rows, tmp_path, monkeypatch))
    for name, value in one.model.state_dict().items():
        assert torch.equal(value, other.model.state_dict()[name]), name
    assert torch.equal(one.baseline, other.baseline)
    assert one.history == other.history
    data = load(tmp_path / "rows.npy")
    assert data.in_file
    assert one.evaluate(Data(rows, "rows")) == other.evaluate(data)
    assert np.array_equal(one.encode(Data(rows, "rows"))[0], other.encode(data)[0])


def test_the_command_line_streams(tmp_path, streamed, monkeypatch, capsys):
    from aevb.commands.cli import main

    monkeypatch.chdir(tmp_path)
    np.save("big.npy", RNG.integers(0, 256, (200, 4, 4)).astype(np.uint8))
    for command in (
        "fit big.npy --out run --epochs 1 --hidden 8 --latent-dim 2 --quiet",
        "evaluate run --samples 2",
        "evaluate run big.npy --samples 2 --rows 50",
        "encode run big.npy -o codes.npy",
        "plot run",
    ):
        with pytest.raises(SystemExit) as stopped:
            main(command.split())
        assert stopped.value.code in (0, None), capsys.readouterr().err
    assert np.load("codes.npy").shape == (200, 2)


def test_idx_files_are_streamed_as_well(tmp_path, streamed):
    rows = np.arange(24.0).reshape(4, 3, 2)
    (tmp_path / "x.idx").write_bytes(idx(0x0E, (4, 3, 2), rows.astype(">f8").tobytes()))
    data = load(tmp_path / "x.idx")
    assert (data.in_file, data.rows.dtype) == (True, np.dtype("float64"))
    assert np.array_equal(data.rows, rows)
    whole = (tmp_path / "x.idx").read_bytes()
    (tmp_path / "x.idx").write_bytes(whole[:-1])
    refuses(DataError, ["announces 192 bytes", "holds 191"], load, tmp_path / "x.idx")


def test_what_cannot_be_read_row_by_row_is_loaded(tmp_path, streamed):
    np.save(tmp_path / "f.npy", np.asfortranarray(np.eye(3)))
    data = load(tmp_path / "f.npy")
    assert not data.in_file
    assert np.array_equal(data.rows, np.eye(3))
    np.save(tmp_path / "o.npy", np.array([{}], object), allow_pickle=True)
    refuses(DataError, ["never loaded"], load, tmp_path / "o.npy")


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        (lambda b: b[:-5], "expected 96 bytes got 91"),
        (lambda b: b[:9], "damaged or cut short"),
        (lambda b: b[:200], "damaged or cut short"),
        (lambda b: b + b"x", "it goes on after the last value"),
        (lambda b: b"\0" * 6 + b[6:], "damaged or cut short"),
        (lambda b: b.replace(b"(4, 3)", b"(4,-3)"), "damaged or cut short"),
    ],
)
def test_a_damaged_large_file_is_refused_like_a_small_one(damage, says, tmp_path, streamed):
    np.save(tmp_path / "x.npy", np.zeros((4, 3)))
    (tmp_path / "x.npy").write_bytes(damage((tmp_path / "x.npy").read_bytes()))
    assert "\n" not in refuses(DataError, ["x.npy", says], load, tmp_path / "x.npy")


def test_a_file_that_is_cut_short_while_it_is_in_use_is_an_error(tmp_path, streamed):
    np.save(tmp_path / "x.npy", RNG.normal(size=(100, 3)))
    data = load(tmp_path / "x.npy")
    rows = rows_of(data, plan(data).schema)
    with (tmp_path / "x.npy").open("r+b") as file:
        file.truncate(1000)
    refuses(DataError, ["x.npy", "cut short while it was read"], rows.take, torch.tensor([99]))
    refuses(
        DataError,
        ["cut short while it was read"],
        list,
        rows.batches(iter(torch.arange(100).split(10))),
    )


@pytest.mark.parametrize("place", ["memory", "file"])
def test_the_first_value_that_is_not_a_number_is_named(place, tmp_path, monkeypatch):
    monkeypatch.setattr(stored, "CHUNK_VALUES", 100)
    rows = RNG.normal(size=(500, 3))
    rows[-1, 1:] = np.nan, np.inf
    np.save(tmp_path / "x.npy", rows)
    monkeypatch.setattr(stored, "IN_MEMORY_BYTES", 0 if place == "file" else 2**30)
    refuses(
        DataError,
        ["1 missing (NaN) and 1 infinite of 1500 values", "[499, 1]"],
        readers.read,
        str(tmp_path / "x.npy"),
    )


def test_a_stopped_reader_leaves_nothing_behind(tmp_path, monkeypatch):
    _, in_file = both(RNG.normal(size=(100, 3)), tmp_path, monkeypatch)
    batches = rows_of(in_file, plan(in_file).schema).batches(iter(torch.arange(100).split(10)))
    next(batches)
    batches.close()
    assert [thread.name for thread in threading.enumerate() if thread.name.startswith("rows")] == []


TRAIN = """
import resource, sys
import numpy as np
import aevb
from aevb.datasets.batches import epoch_batches
from aevb.training import loop as training
from aevb.datasets import load, stored

training.epoch_batches = lambda *settings: list(epoch_batches(*settings))[:30]
config = aevb.Config(hidden=(16,), latent_dim=2, epochs=1, batch_size=100)
# The memory that any training takes.
aevb.fit(np.random.default_rng(0).normal(size=(500, 784)).astype(np.float32), config)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
stored.IN_MEMORY_BYTES = 2**20
training.steps_per_epoch = lambda *settings: 30
aevb.fit(load(sys.argv[1]), config)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024)
"""


def test_training_from_a_large_file_takes_little_memory(tmp_path):
    """ru_maxrss is in KiB on Linux."""
    if sys.platform != "linux":
        pytest.skip("peak memory is measured in other units here")
    path = tmp_path / "big.npy"
    rows = np.lib.format.open_memmap(
        path, "w+", np.float32, (100_000, 784)
    )  # 314 MB, most of which are holes
    rows[::1000] = np.random.default_rng(0).normal(size=(100, 784))
    rows.flush()
    del rows
    done = subprocess.run(
        [sys.executable, "-c", TRAIN, path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 150e6 < path.stat().st_size / 2
