"""The generators that the benchmark of tables compares with, and how it shows its results."""

import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def _benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "benchmarks")


@pytest.fixture
def people(tmp_path):
    """A table in which the city follows the income closely: the file, and its rows."""
    g = np.random.default_rng(0)
    income = np.exp(g.normal(10, 0.5, 600)).round(2)
    city = np.where(income + g.normal(0, 3000, 600) > np.median(income), "Bern", "Chur")
    rows = pd.DataFrame({"age": g.integers(18, 80, 600), "income": income, "city": city})
    rows.loc[::10, "city"] = "?"
    rows.loc[::7, "income"] = np.nan
    rows.to_csv(tmp_path / "people.csv", index=False)
    return tmp_path / "people.csv", rows


def drawn(peer, path, n=3000):
    module = __import__(f"peers.tables_{peer}", fromlist=["learn"])
    draw, _ = module.learn({"train": str(path), "seed": 0})
    rows = draw(n, 1)
    assert rows.equals(draw(n, 1))
    return rows


@pytest.mark.parametrize("peer", ["trees", "copula"])
def test_rows_have_the_types_values_and_dependence_of_the_table(peer, people):
    path, real = people
    made = drawn(peer, path)
    assert list(made) == list(real)
    assert made["age"].dtype == made["age"].astype(int).dtype
    for name in real:
        assert set(made[name].dropna()) <= set(real[name].dropna())
        assert abs(made[name].isna().mean() - real[name].isna().mean()) < 0.03
        shares = real[name].value_counts(normalize=True)
        if len(shares) < 10:
            apart = made[name].value_counts(normalize=True).sub(shares, fill_value=0)
            assert apart.abs().sum() / 2 < 0.04
    # Both see that the city goes with the income.
    means = made.groupby("city")["income"].mean()
    assert means["Bern"] > means["Chur"] + 3000


def test_normal_scores_are_standard_normal_and_keep_the_order():
    from peers.tables_copula import scores

    rows = np.column_stack([np.random.default_rng(1).exponential(size=500), np.zeros(500)])
    found = scores(rows, np.random.default_rng(0))
    assert np.abs(found.mean(0)).max() < 1e-9
    assert np.abs(found.std(0) - 1).max() < 0.02
    assert np.array_equal(np.argsort(found[:, 0]), np.argsort(rows[:, 0]))
    assert abs(np.corrcoef(found.T)[0, 1]) < 0.15  # ties have a random order


def test_an_order_is_carried_out_in_a_process_of_its_own(people, tmp_path, monkeypatch):
    path, _ = people
    from peers import tables_common, tables_trees

    out = tmp_path / "made.csv"
    order = {"train": str(path), "out": str(out), "rows": 50, "seed": 0, "threads": 1}
    monkeypatch.setattr(sys, "argv", ["trees", json.dumps(order)])
    tables_common.serve(tables_trees.learn)
    assert len(pd.read_csv(out)) == 50
    facts = json.loads(out.with_suffix(".json").read_text())
    assert facts["rows_per_second"] > 0
    assert facts["fit_seconds"] >= 0


def test_the_page_shows_each_generator_beside_real_rows():
    import tables

    figures = {"shape_error": [0.01, 0.001], "two_sample_score": [0.9, 0.01]}
    entry = {"fit_seconds": 3.2, "rows_per_second": 4000, "figures": figures}
    entries = {"aevb": entry, "aevb@1": entry, "trees": entry}
    results = {"sections": {"adult": {"entries": entries, "real": figures}}}
    lines = tables.page(results).splitlines()
    assert lines[0] == "| Adult | column shapes | two-sample score | fit, s | rows a second |"
    assert lines[2].startswith("| real rows | 0.010 | 0.900 |")
    assert lines[4] == "| aevb, no option, 1 thread | 0.010 | 0.900 | 3 | 4,000 |"
    text = tables.filled("a\n<!-- adult -->\nold\n<!-- /adult -->\nb\n", results)
    assert text.splitlines() == ["a", "<!-- adult -->", *lines, "<!-- /adult -->", "b"]


def test_a_mixture_scores_rows_in_the_units_of_the_table(tmp_path):
    from peers import tables_gmm

    g = np.random.default_rng(0)
    for name in ("train", "test"):
        pd.DataFrame(g.normal(5, 100, (2000, 2))).to_csv(tmp_path / f"{name}.csv", index=False)
    order = {name: str(tmp_path / f"{name}.csv") for name in ("train", "test")}
    _, report = tables_gmm.learn(order | {"seed": 0, "scores": str(tmp_path / "scores.npy")})
    assert report() == {"components": 1}
    entropy = np.log(2 * np.pi * np.e) + 2 * np.log(100)
    assert abs(np.load(tmp_path / "scores.npy").mean() + entropy) < 0.15


@pytest.fixture
def restored(monkeypatch):
    """Undo what an ablation does to the classes of aevb."""
    from aevb.parts.likelihoods.mixed import Mixed
    from aevb.probability.number_chain import NumberChain
    from aevb.runs import build

    monkeypatch.setattr(Mixed, "__init__", Mixed.__init__)
    monkeypatch.setattr(NumberChain, "_context", NumberChain._context)
    monkeypatch.setattr(build, "_model", build._model)


@pytest.mark.usefixtures("restored")
def test_without_the_chain_a_column_knows_nothing_of_the_others():
    import torch
    from peers.tables_aevb import without_chain

    from aevb.parts.likelihoods.mixed import Mixed
    from aevb.probability.factors import Factor

    without_chain()
    numbers = [Factor(name, "real", density=True, values=(0.0,)) for name in "cd"]
    names = [Factor(name, "levels", values=(0.0, 1.0, 2.0)) for name in "ab"]
    torch.manual_seed(0)
    model = Mixed([*names, *numbers], components=1, width=3).requires_grad_(False)
    for name, parameter in model.named_parameters():
        if name not in ("classes.inward", "classes.linear"):  # without a gradient they stay at 0
            parameter.copy_(0.3 * torch.randn_like(parameter))
    x = torch.tensor([[0.0, 1.0, 0.7, 0.4], [2.0, 0.0, -1.0, 0.0]])
    p = model(torch.randn(model.num_features))
    logs = p.log_prob_of_columns(x)
    for i in range(4):
        other = x[[1, 0]]
        other[:, i] = x[:, i]
        assert torch.allclose(p.log_prob_of_columns(other)[:, i], logs[:, i], atol=1e-5)
    assert logs[0].isfinite().all()
    filled, weight = model(torch.zeros(2, model.num_features)).complete(x)
    assert torch.equal(filled, x)
    alone = model(torch.zeros(2, model.num_features)).log_prob(x)
    assert torch.allclose(weight, alone, atol=1e-4)


@pytest.mark.usefixtures("restored")
def test_without_z_the_code_tells_the_decoder_nothing():
    import torch
    from peers.tables_aevb import without_z

    from aevb import Config
    from aevb.runs.build import build

    assert without_z() == {"free_bits": 0.0}
    model, _ = build(Config(hidden=(8,), latent_dim=2), "gaussian", (3,), steps_per_epoch=10)
    one, other = (model.decoder(torch.full((1, 2), value)) for value in (0.0, 9.0))
    assert torch.equal(one, other)
