"""The size of a run is computed before its model is made: weights exactly, memory about."""

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from helpers import aevb, refuses
from PIL import Image

from aevb import Config, memory
from aevb.datasets import Schema
from aevb.errors import UsageError
from aevb.memory import Free
from aevb.runs.build import build, settle_network
from aevb.runs.sizes import Size, refuse_too_large, size_of
from aevb.storage import checkpoint
from aevb.training.fit import fit

ROWS = np.random.default_rng(0).integers(0, 256, (6, 64, 64), dtype=np.uint8)
SHAPES = {"mlp": [(9, 7, 3), (5,)], "conv": [(9, 7, 3), (3, 10, 7), (5, 6), (8, 3, 4)]}
LIKELIHOODS = ("bernoulli", "gaussian_per_dimension", "gaussian_network", "categorical")
PARTS = [
    {},
    {"prior": "vamp", "components": 3},
    {"prior": "flow"},
    {"posterior": "full"},
    {"posterior": "spline_flow"},
    {"skip": True, "decoder_hidden": (7, 6, 5)},
]


def schema_of(shape):
    return Schema("grey", shape, "uint8", (0.0,), (3.0,), white=3.0, levels=4)


@pytest.mark.parametrize("network", SHAPES)
def test_the_number_of_weights_is_that_of_the_model(network):
    for shape, likelihood, parts in product(SHAPES[network], LIKELIHOODS, PARTS):
        config = Config(network=network, hidden=(6, 5), latent_dim=3, **parts)
        model, _ = build(config, likelihood, shape, 10, 4)
        there = sum(weight.numel() for weight in model.parameters())
        size = size_of(config, likelihood, schema_of(shape), rows=10)
        assert size.weights == there, (shape, likelihood, parts)


def test_the_memory_grows_with_what_needs_it():
    config, schema = Config(hidden=(50,), network="mlp"), schema_of((30, 30))
    few = {"rows": 500, "held_out": 10}
    small = size_of(config, "gaussian", schema, **few)
    for more in ({"hidden": (80,)}, {"batch_size": 400}, {"samples": 9, "objective": "iwae"}):
        assert size_of(replace(config, **more), "gaussian", schema, **few).memory > small.memory
    assert size_of(config, "gaussian", schema, rows=50_000, held_out=10).memory > small.memory
    wide = replace(config, hidden=(5000,))
    saved, not_saved = (
        size_of(wide, "gaussian", schema, **few, saves=saves).memory for saves in (True, False)
    )
    assert saved > not_saved
    # at least the weights, their gradients, two moments, and a copy of weights and moments
    assert small.memory > 4 * small.weights * (1 + 1 + 2 + 3)


@pytest.mark.parametrize(
    ("shape", "kind", "network"),
    [
        ((64, 64), "", "conv"), ((64, 64, 3), "pictures", "conv"), ((3, 70, 65), "", "conv"),
        ((33, 200, 4), "", "conv"), ((63, 64), "", "mlp"), ((28, 28), "pictures", "mlp"),
        ((5000,), "", "mlp"), ((64, 64), "series", "mlp"), ((64, 64, 7), "", "mlp"),
    ],
)  # fmt: skip
def test_the_network_follows_from_the_pictures_unless_it_is_named(shape, kind, network):
    config, why = settle_network(Config(), shape, kind)
    assert config.network == network
    assert config.hidden == {"conv": (32, 64), "mlp": (500, 500)}[network]
    assert why.startswith("for ")
    named = Config(network="mlp", hidden=(8,))
    assert settle_network(named, shape, kind) == (named, "as asked for")
    assert settle_network(Config(hidden=(8,)), shape, kind)[0].hidden == (8,)


@pytest.mark.parametrize("shape", [(65, 64, 4), (1, 64, 67), (70, 71), (3, 64, 65)])
def test_the_default_network_takes_pictures_of_all_forms_and_every_likelihood(shape):
    for likelihood in LIKELIHOODS:
        model, _ = build(Config(hidden=(2, 3), latent_dim=2), likelihood, shape, 10, 4)
        assert type(model.encoder).__name__ == "ConvEncoder"


def test_a_run_holds_the_network_that_was_chosen_and_goes_on_with_it(tmp_path):
    config = Config(hidden=(2, 2), latent_dim=2, epochs=1, threads=1, validation="0")
    run = fit(ROWS, config, out=tmp_path / "run")
    assert run.config.network == "conv"
    assert checkpoint.load(tmp_path / "run").config == run.config
    longer = fit(ROWS, replace(config, epochs=2), out=tmp_path / "run", resume=True)
    assert (longer.trained, longer.config.network) == (2, "conv")


def test_an_older_run_keeps_its_network_when_it_is_resumed(tmp_path):
    config = Config(hidden=(3,), latent_dim=2, epochs=1, threads=1, validation="0")
    fit(ROWS, replace(config, network="mlp"), out=tmp_path / "run")
    longer = fit(ROWS, replace(config, epochs=2), out=tmp_path / "run", resume=True)
    assert (longer.trained, longer.config.network) == (2, "mlp")


def test_every_change_that_a_refusal_names_fits():
    config = Config(network="mlp")
    schema = schema_of((512, 512, 3))

    def smaller(**change):
        changed = replace(config, **change)
        sides = changed.picture_size()
        shape = schema.shape if sides is None else (*sides, 3)
        return size_of(changed, "gaussian", replace(schema, shape=shape), rows=300)

    for gigabytes in (30, 14, 5, 1, 0.2):
        free = Free(int(gigabytes * 1e9), "on this machine")
        says = refuses(
            UsageError, ["787,750,473 weights", free.of], refuse_too_large,
            smaller(), free, smaller, config, folder=True,
        )  # fmt: skip
        for option in says.partition("; try ")[2].replace(" or ", ", ").split(", "):
            words = option.split()
            change = dict(zip(words[::2], words[1::2], strict=True))
            change = {name[2:].replace("-", "_"): value for name, value in change.items()}
            if "hidden" in change:
                change["hidden"] = tuple(map(int, change["hidden"].split(",")))
            elif change.get("network") == "conv":
                change["hidden"] = None
            if "batch_size" in change:
                change["batch_size"] = int(change["batch_size"])
            assert smaller(**change).memory < free.bytes, option


def test_a_run_that_does_not_fit_is_refused_before_anything_is_written(tmp_path, monkeypatch):
    (tmp_path / "photos").mkdir()
    for i, row in enumerate(ROWS):
        Image.fromarray(row).save(tmp_path / "photos" / f"{i}.png")
    monkeypatch.setattr(memory, "free", lambda: Free(20_000_000, "on this machine"))
    command = f"fit {tmp_path / 'photos'} --out {tmp_path / 'run'} --epochs 1 --threads 1"
    result = aevb(command)
    assert result.code == 2
    assert "network     conv of 32,64 (for pictures of 64x64 pixels or more)" in result.out
    assert "weights; about" in result.out
    option = result.err.partition("try ")[2].strip().split(", ")[0].split(" or ")[0]
    assert not (tmp_path / "run").exists()
    assert aevb(f"{command} --quiet {option}").code == 0, option


def test_a_full_memory_is_told_without_a_traceback(monkeypatch):
    from aevb.training import sizing

    size = Size("mlp", (8,), "", 1000, 1_000_000)
    for error in (MemoryError(), RuntimeError("[enforce fail] can't allocate memory: 3 bytes")):
        told = pytest.raises(UsageError, match=r"1,000 weights.*--batch-size")
        with told, sizing.memory_errors_told(size):
            raise error
    with pytest.raises(RuntimeError, match="another"), sizing.memory_errors_told(size):
        raise RuntimeError("another")


# -------------------------------------------------------------------------------------------------
# the memory that is left


def test_the_smallest_limit_counts(tmp_path):
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:    2000 kB\n")
    assert [*memory._of_machine(tmp_path / "meminfo")] == [Free(2_048_000, "on this machine")]
    groups = tmp_path / "groups"
    (groups / "a" / "b").mkdir(parents=True)
    (groups / "a" / "memory.max").write_text("5000\n")
    (groups / "a" / "memory.current").write_text("3000\n")
    (groups / "a" / "memory.stat").write_text("anon 1\ninactive_file 500\n")
    (groups / "a" / "b" / "memory.max").write_text("max\n")
    (tmp_path / "cgroup").write_text("0::/a/b\n")
    found = [*memory._of_groups(tmp_path / "cgroup", groups)]
    assert found == [Free(2500, "in this container")]
    old = groups / "memory"
    old.mkdir()
    (old / "memory.limit_in_bytes").write_text("700\n")
    (old / "memory.usage_in_bytes").write_text("100\n")
    (tmp_path / "cgroup").write_text("4:cpu:/x\n3:memory:/docker/x\n")
    assert [*memory._of_groups(tmp_path / "cgroup", groups)] == [Free(600, "in this container")]
    assert memory.free().bytes > 0
