"""Runs on mixed tables: recorded steps, one seed and one result, saves, and what is sampled."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch
from helpers import SMALL, mixed_table, same_weights, trained

import aevb
from aevb.datasets.tabular import families

MIXED = replace(SMALL, likelihood="mixed")


def samples(run):
    """Some rows that the run makes."""
    return run.sample(50, seed=1)


def test_traced_steps_with_hidden_units_have_the_bits_of_eager_ones(monkeypatch):
    monkeypatch.setattr(families, "LITTLE_DATA", 10)
    rows = mixed_table(64)
    eager, traced = (trained(rows, MIXED, mode, monkeypatch) for mode in ("eager", "traced"))
    assert eager.model.likelihood.numbers.width > 0
    assert eager.history == traced.history
    assert same_weights(eager, traced)


def test_one_seed_has_one_result_and_another_has_another():
    first, second = (aevb.fit(mixed_table(), MIXED) for _ in range(2))
    assert same_weights(first, second)
    assert first.history == second.history
    pd.testing.assert_frame_equal(samples(first), samples(second))
    assert not same_weights(first, aevb.fit(mixed_table(), replace(MIXED, seed=5)))


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "run"
    return aevb.fit(mixed_table(200), MIXED, out=folder), folder


def test_a_saved_run_makes_the_same_rows_and_gives_the_same_scores(saved):
    run, folder = saved
    again = aevb.load(folder)
    assert again.schema.families == run.schema.families
    assert same_weights(run, again)
    pd.testing.assert_frame_equal(samples(run), samples(again))
    x = torch.from_numpy(
        run.schema.families.numbers(
            np.array(run.schema.table.encode(mixed_table(40, seed=1), "rows"))
        )
    )
    z = torch.zeros(40, run.model.latent_dim)
    with torch.no_grad():
        one, other = (r.model.eval().likelihood_given(z).log_prob(x) for r in (run, again))
    assert torch.equal(one, other)


def test_samples_are_rows_like_those_of_the_table(saved):
    run, _ = saved
    table = mixed_table(200)
    made = run.sample(500, seed=2)
    assert made.dtypes.to_dict() == table.dtypes.to_dict()
    assert list(made) == list(table)
    for name in ("name", "grade", "again", "copy"):
        assert set(made[name].dropna()) <= set(table[name].dropna()) | {4}  # between 3 and 5
    for name in ("gain", "size", "heavy"):
        assert made[name].min() >= table[name].min()
        assert made[name].max() <= table[name].max()
    assert (made["copy"] == made["again"].map({"x": "p", "y": "q"})).all()
    assert (made["gain"] == made["gain"].round()).all()
    # The shares of missing cells and of the spike are within five standard errors.
    for share in (lambda t: t["name"].isna(), lambda t: t["size"].isna(), lambda t: t["gain"] == 0):
        assert abs(share(made).mean() - share(table).mean()) < 5 * 0.5 * (1 / 500 + 1 / 200) ** 0.5


def test_the_first_epoch_measures_the_first_values():
    table = mixed_table(200)
    config = replace(MIXED, epochs=None, steps=30, epoch_steps=3, validation="0.2", patience=9)
    first = aevb.fit(table, replace(config, learning_rate=1e-9, steps=3, patience=0))
    seen = []

    class Watch(aevb.Callbacks):
        def on_data(self, prepared):
            seen.clear()

        def on_epoch(self, record):
            seen.append(record)

    run = aevb.fit(table, config, callbacks=Watch())
    of_first = first.history[0]["validation_log_likelihood"]
    assert seen[0]["validation_log_likelihood"] == pytest.approx(of_first, abs=1e-5)
    assert seen[1]["validation_log_likelihood"] != pytest.approx(of_first, abs=1e-5)
    assert len(run.history) == 10
    short = aevb.fit(table, replace(config, steps=6)).history
    assert short[0]["validation_log_likelihood"] != pytest.approx(of_first, abs=1e-5)
