"""Settings that are not given: what is decided from the rows, and how long a run trains."""

import json
from dataclasses import fields, replace

import numpy as np
import pytest
import torch
from helpers import aevb as command
from helpers import done, hooks

import aevb
from aevb.config import Config
from aevb.datasets.schema import Data
from aevb.errors import UsageError
from aevb.runs.automatic import DEFAULTS, FIXED, Defaults, Facts, planned_epochs, resumed, settled
from aevb.storage import checkpoint
from aevb.training import state

ROWS = Data(np.random.default_rng(0).normal(size=(90, 3)), "table", columns=("a", "b", "c"))
SMALL = Config(
    likelihood="gaussian", hidden=(8,), latent_dim=2, epochs=3, batch_size=16, seed=3, threads=1
)
"""81 rows in batches of 16: 6 steps a pass."""
FACTS = Facts(450, 4, "table", "mixed", (4,), held_out=50)
OPEN = {"network", "likelihood", "components", "decoder_hidden", "resize", "start", "threads"}
"""Settings that may stay open."""


NUMBERS = Defaults(
    latent_dim=(2, 16),
    hidden=((0, (128, 128)), (1001, (256, 256))),
    batch_size=((0, 64), (500, 128), (2000, 256), (10_000, 512)),
    learning_rate=((0, 1e-3), (1001, 2e-3)),
    decay=1.0,
    warmup=0.1,
    passes=35,
    fewest=((0, 3000), (10_000, 2400)),
    most=20_000,
)


@pytest.fixture
def numbers(monkeypatch):
    """Numbers of mixed tables that do not change when those of the package are tuned."""
    monkeypatch.setitem(DEFAULTS, "mixed", NUMBERS)


def weights(run):
    return torch.cat([value.flatten() for value in run.model.state_dict().values()])


def in_steps(steps, epoch_steps=None, **settings):
    return replace(SMALL, **{"epochs": None, "steps": steps, "epoch_steps": epoch_steps} | settings)


@pytest.mark.parametrize("likelihood", ["mixed", "gaussian", "bernoulli"])
@pytest.mark.parametrize("rows", [1, 7, 112, 450, 5000, 32_000, 10**6])
@pytest.mark.parametrize("columns", [1, 14, 784])
def test_everything_is_decided_and_deciding_again_changes_nothing(likelihood, rows, columns):
    facts = Facts(rows, columns, "table", likelihood, (columns,), held_out=rows // 9)
    config, reasons = settled(Config(), facts)
    left = {field.name for field in fields(config) if getattr(config, field.name) is None}
    assert left <= OPEN | {"epochs", "minutes"}
    assert settled(config, facts)[0] == config == settled(Config(), facts)[0]
    assert config.steps % config.epoch_steps == 0
    assert 1 <= planned_epochs(config) <= 60
    assert all("\n" not in reason for reason in reasons.values())
    # Validation takes at most a tenth of the time, if a row costs three times as much in a step.
    validated = planned_epochs(config) * facts.held_out
    assert validated <= 1.1 * 0.1 * 3 * config.steps * config.batch_size


@pytest.mark.usefixtures("numbers")
def test_tables_get_a_latent_space_and_steps_that_suit_them():
    config, reasons = settled(Config(), FACTS)
    assert (config.latent_dim, config.hidden, config.batch_size) == (4, (128, 128), 64)
    assert (config.steps, config.epoch_steps, config.decay) == (3000, 50, 1.0)
    assert config.warmup_epochs * config.epoch_steps == pytest.approx(0.1 * config.steps)
    assert reasons["training"] == "3,000 steps of 64 rows, for 450 rows"
    assert settled(Config(), FACTS._replace(columns=1))[0].latent_dim == 2
    assert settled(Config(), FACTS._replace(columns=90))[0].latent_dim == 16
    adult = settled(Config(), FACTS._replace(rows=32_000, held_out=3500))[0]
    assert adult.batch_size == 512
    assert 35 * 63 <= adult.steps < 2500
    million = settled(Config(), FACTS._replace(rows=10**6, held_out=10**5))[0]
    assert million.steps == pytest.approx(NUMBERS.most, rel=0.05)


@pytest.mark.usefixtures("numbers")
def test_what_is_given_stays_and_decides_the_rest():
    config, reasons = settled(Config(batch_size=32, decay=0.25, latent_dim=7), FACTS)
    assert (config.batch_size, config.decay, config.latent_dim) == (32, 0.25, 7)
    assert "latent" not in reasons
    assert reasons["step size"] == "0.001, falling to 0 in the last 25% of the run"
    # No run stops before its step size has begun to fall.
    assert config.patience == 45
    config, reasons = settled(Config(steps=500), FACTS)
    assert (config.steps, planned_epochs(config)) == (500, 56)
    config, _ = settled(Config(steps=10, epoch_steps=4, batch_size=9), FACTS)
    assert (config.steps, planned_epochs(config)) == (10, 3)


@pytest.mark.usefixtures("numbers")
def test_epochs_fix_what_is_not_given_but_for_the_sizes_of_mixed_tables():
    config, reasons = settled(Config(epochs=7), FACTS._replace(likelihood="gaussian"))
    assert config == replace(
        Config(), **FIXED | {"epochs": 7, "network": "mlp", "hidden": (500, 500)}
    )
    assert list(reasons) == ["network"]
    config, _ = settled(Config(epochs=7), FACTS)
    sizes = {"network": "mlp", "hidden": (128, 128), "latent_dim": 4}
    assert config == replace(Config(), **FIXED | {"epochs": 7} | sizes)


@pytest.mark.parametrize(
    ("facts", "settings"),
    [({"held_out": 0}, {"validation": "0"}), ({}, {"objective": "autoencoder"})],
)
def test_without_a_validation_bound_nothing_waits_for_it(facts, settings):
    assert settled(Config(**settings), FACTS._replace(**facts))[0].patience == 0


def test_a_run_that_begins_with_trained_weights_has_no_warmup():
    assert settled(Config(start="runs/first"), FACTS)[0].warmup_epochs == 0
    assert settled(Config(objective="wake_sleep"), FACTS)[0].warmup_epochs == 0


def test_a_likelihood_may_demand_its_network():
    config, reasons = settled(Config(), FACTS._replace(network="conv"))
    assert (config.network, reasons["network"]) == ("conv", "for mixed")
    assert settled(Config(network="mlp"), FACTS._replace(network="conv"))[0].network == "mlp"


def test_two_lengths_contradict_each_other():
    with pytest.raises(
        UsageError, match=r"epochs 3 and steps 5\. Leave epochs out, or leave steps"
    ):
        Config(epochs=3, steps=5)
    for name in ("steps", "epoch_steps"):
        with pytest.raises(UsageError, match=f"{name} must be at least 1; got 0"):
            Config(**{name: 0})
    with pytest.raises(UsageError, match="minutes must be positive"):
        Config(minutes=0)
    with pytest.raises(UsageError, match="not decided yet"):
        planned_epochs(Config())


@pytest.mark.parametrize("epoch_steps", [1, 4, 6, 7, 18, 50])
@pytest.mark.parametrize("settings", [{}, {"decay": 0.5, "warmup_epochs": 0.0}])
def test_the_weights_do_not_depend_on_where_epochs_begin(epoch_steps, settings):
    whole = aevb.fit(ROWS, SMALL, **settings)
    run = aevb.fit(ROWS, in_steps(18, epoch_steps, patience=0, decay=0.0, learning_rate=1e-3,
                                  warmup_epochs=0.0), **settings)  # fmt: skip
    assert torch.equal(weights(run), weights(whole))
    assert (run.steps, run.trained) == (18, len(run.history)) == (18, -(-18 // epoch_steps))
    assert run.history[-1]["samples"] == whole.history[-1]["samples"] == 3 * 81
    assert not run.is_unfinished
    if epoch_steps == 6:
        assert run.history == whole.history


def test_figures_of_an_epoch_are_averages_over_the_rows_that_it_saw():
    logs = []
    watch = hooks(on_step=lambda epoch, step, log: logs.append((epoch, step, float(log["bound"]))))
    run = aevb.fit(ROWS, in_steps(18, 5), callbacks=watch)
    rows = ([16] * 5 + [1]) * 3  # the last batch of a pass has one row
    assert [(epoch, step) for epoch, step, _ in logs] == [
        (e, s) for e, n in enumerate([5, 5, 5, 3]) for s in range(1, n + 1)
    ]
    for record, first in zip(run.history, (0, 5, 10, 15), strict=True):
        part = slice(first, first + 5)
        mean = np.average([bound for *_, bound in logs[part]], weights=rows[part])
        assert record["bound"] == pytest.approx(mean + run.log_jacobian, abs=1e-5)


def test_a_run_that_goes_on_for_longer_ends_as_one_that_was_planned_so(tmp_path):
    settings = {"decay": 0.0, "warmup_epochs": 0.5, "patience": 0}
    whole = aevb.fit(ROWS, in_steps(20, 7, **settings))
    aevb.fit(ROWS, in_steps(11, 7, **settings), out=tmp_path / "run")
    run = aevb.fit(ROWS, in_steps(20, **settings), out=tmp_path / "run", resume=True)
    assert torch.equal(weights(run), weights(whole))
    # The epoch that the first end cut short stays short.
    assert [record["samples"] for record in run.history] == [97, 161, 243, 275]
    again = aevb.load(tmp_path / "run")
    assert (again.steps, again.is_unfinished) == (20, False)


def test_a_resumed_run_keeps_what_was_decided(tmp_path, monkeypatch):
    asked = Config(likelihood="gaussian", hidden=(8,), steps=8, threads=1)
    first = aevb.fit(ROWS, asked, out=tmp_path / "run")
    assert first.config.batch_size == DEFAULTS["table"].batch_size[0][1]
    other = replace(DEFAULTS["table"], batch_size=((0, 7),), latent_dim=(5, 5), decay=0.1)
    monkeypatch.setitem(DEFAULTS, "table", other)
    run = aevb.fit(ROWS, asked, steps=10, out=tmp_path / "run", resume=True)
    assert run.config == replace(first.config, steps=10)
    by_epochs = aevb.fit(ROWS, asked, epochs=14, out=tmp_path / "run", resume=True)
    assert (by_epochs.config.epoch_steps, by_epochs.config.batch_size) == (1, 64)
    assert by_epochs.trained == 14


def test_a_run_of_passes_goes_on_in_passes(tmp_path):
    aevb.fit(ROWS, SMALL, out=tmp_path / "run")
    with pytest.raises(UsageError, match=r"3 in all; got steps 50\. Give epochs"):
        aevb.fit(ROWS, in_steps(50), out=tmp_path / "run", resume=True)
    assert aevb.fit(ROWS, SMALL, epochs=4, out=tmp_path / "run", resume=True).trained == 4


def test_a_run_does_not_end_before_the_step_that_it_has_begun(tmp_path):
    aevb.fit(ROWS, in_steps(8), out=tmp_path / "run")
    with pytest.raises(UsageError, match=r"--steps is .* at least the 8 that it has begun, of 8"):
        aevb.fit(ROWS, in_steps(5), out=tmp_path / "run", resume=True)


def test_a_save_of_an_older_version_has_no_count_of_steps(tmp_path):
    aevb.fit(ROWS, SMALL, out=tmp_path / "run")
    found = checkpoint.load_to_continue(tmp_path / "run")
    assert found.progress.steps == 18
    checkpoint.save(
        found.run, tmp_path / "run", progress=replace(found.progress, steps=0), state=found.state
    )
    run = aevb.fit(ROWS, SMALL, epochs=5, out=tmp_path / "run", resume=True)
    assert run.steps == 30
    assert torch.equal(weights(run), weights(aevb.fit(ROWS, SMALL, epochs=5)))


class Clock:
    """Time that goes on by one second at every step."""

    def __init__(self, monkeypatch):
        self.now = 0.0
        monkeypatch.setattr(state.time, "monotonic", lambda: self.now)

    def tick(self, *_):
        self.now += 1


def test_minutes_end_a_run_and_its_step_size_falls_in_time(monkeypatch, tmp_path):
    clock, rates = Clock(monkeypatch), []
    given = in_steps(1000, 5, minutes=12.5 / 60, decay=1.0, learning_rate=0.1)
    monkeypatch.setattr(
        "aevb.engine.optimisers.Update.set_rate", lambda self, rate: rates.append(rate)
    )
    run = aevb.fit(ROWS, given, out=tmp_path / "run", callbacks=hooks(on_step=clock.tick))
    # The thirteenth step ends after the time, in the middle of an epoch.
    assert (run.steps, run.trained, run.history[-1]["samples"]) == (13, 3, 2 * 81 + 16)
    assert run.ended == "time"
    assert not run.is_unfinished
    assert rates == pytest.approx([0.1 * (1 - second / 12.5) for second in range(13)])
    loaded = aevb.load(tmp_path / "run")
    assert (loaded.seconds, loaded.ended) == (13, "time")
    assert aevb.fit(ROWS, given, out=tmp_path / "run", resume=True).steps == 13
    longer = replace(given, minutes=20 / 60)
    watch = hooks(on_step=clock.tick)
    assert aevb.fit(ROWS, longer, out=tmp_path / "run", resume=True, callbacks=watch).steps == 20


def test_a_run_that_is_done_before_its_time_is_up_is_that_of_its_steps(monkeypatch):
    Clock(monkeypatch)
    bounded = aevb.fit(ROWS, in_steps(18, 6, minutes=1.0, decay=0.5))
    assert torch.equal(weights(bounded), weights(aevb.fit(ROWS, in_steps(18, 6, decay=0.5))))
    assert bounded.ended == "planned"


def test_the_best_weights_are_kept_with_no_setting():
    run = aevb.fit(
        ROWS, likelihood="gaussian", hidden=(8,), steps=40, learning_rate=0.05, threads=1
    )
    best = max(run.history, key=lambda record: record["validation_bound"])
    assert run.kept_epoch == best["epoch"]


def test_one_command_ends_in_the_same_bits_twice(tmp_path):
    np.savetxt(tmp_path / "rows.csv", ROWS.rows, delimiter=",", header="a,b,c", comments="")
    line = f"fit {tmp_path / 'rows.csv'} --steps 30 --seed 3 --likelihood gaussian --quiet"
    for name in ("one", "two"):
        done(f"{line} --out {tmp_path / name}")
    one, two = (tmp_path / name for name in ("one", "two"))
    assert (
        json.loads((one / "manifest.json").read_text())["files"]
        == json.loads((two / "manifest.json").read_text())["files"]
    )
    assert (one / "metrics.jsonl").read_bytes() == (two / "metrics.jsonl").read_bytes()


def test_the_command_says_what_was_decided_and_continues_in_either_unit(tmp_path):
    np.savetxt(tmp_path / "rows.csv", ROWS.rows, delimiter=",", header="a,b,c", comments="")
    out = tmp_path / "run"
    said = command(
        f"fit {tmp_path / 'rows.csv'} --out {out} --steps 6 --likelihood gaussian --threads 1"
    ).out
    assert "6 steps of 64 rows, for 81 rows" in said
    assert "falling to 0 over the whole run" in said
    assert f"--resume --out {out} --steps 1000" in said
    report = json.loads(done(f"fit --resume --out {out} --steps 8 --json"))
    assert (report["steps"], report["steps_in_all"], report["epochs"]) == (2, 8, 8)
    report = json.loads(done(f"fit --resume --out {out} --epochs 9 --json"))
    assert (report["steps"], report["steps_in_all"], report["stopped_by_time"]) == (1, 9, False)


def test_settings_of_the_run_so_far_fill_what_is_not_asked_for():
    saved = settled(Config(), FACTS)[0]
    assert resumed(Config(), saved) == saved
    assert resumed(Config(batch_size=9), saved).batch_size == 9
