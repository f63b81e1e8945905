"""The loop: it learns, it repeats itself bit for bit, it resumes, it stops, it refuses."""

import json
import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from helpers import hooks
from oracle import LinearGaussian
from torch import nn

import aevb
from aevb.config import Config
from aevb.datasets import load
from aevb.datasets.batches import split_rows
from aevb.datasets.schema import Data
from aevb.engine.optimisers import Adam
from aevb.errors import AevbError, DataError, DivergedError, OutputExistsError, UsageError
from aevb.evaluation.bound import elbo_rows
from aevb.storage import checkpoint
from aevb.training import fit as training
from aevb.training import loop, state
from aevb.training.split import prepare

SMALL = Config(hidden=(8,), latent_dim=2, epochs=4, batch_size=16, seed=3)


@pytest.fixture
def data():
    return Data(np.random.default_rng(0).normal(size=(90, 3)), "table", columns=("a", "b", "c"))


@pytest.fixture
def pictures():
    return Data(
        np.random.default_rng(0).integers(0, 256, (90, 4, 4)).astype(np.uint8),
        "pictures",
        white=255.0,
    )


def weights(run):
    return torch.cat([value.flatten() for value in run.model.state_dict().values()])


def lines_of(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def interrupt_after(epochs):
    """Callbacks that press Ctrl-C in the middle of the epoch after these."""

    def on_step(epoch, step, _):
        if epoch == epochs and step == 2:
            raise KeyboardInterrupt

    return hooks(on_step=on_step)


def test_reaches_the_best_bound_of_a_linear_gaussian_model():
    """Linear networks on data of such a model: the bound ends near the data's own mean log p(x),
    and never above."""
    known = LinearGaussian(data_dim=4, latent_dim=2, variance=0.5)
    torch.manual_seed(0)
    rows = known.sample(4000)
    x = rows.float()
    model = aevb.VAE(4, (), 2)
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(1500):
        optimizer.zero_grad()
        aevb.ELBO()(model, x[torch.randint(4000, (256,))]).loss.backward()
        optimizer.step()
    bound = float(elbo_rows(model, x, samples=8).bound.mean())
    best = float(known.marginal.log_prob(rows).mean())
    assert best - 0.03 < bound < best + 0.01


def test_same_seed_same_bits_other_seed_other_bits(data):
    first, again, other = (aevb.fit(data, replace(SMALL, seed=seed)) for seed in (3, 3, 4))
    assert torch.equal(weights(first), weights(again))
    assert first.history == again.history
    assert not torch.equal(weights(first), weights(other))


def test_noise_differs_between_steps_and_between_epochs(data):
    seeds = []
    aevb.fit(data, SMALL, callbacks=hooks(on_step=lambda *_: seeds.append(torch.initial_seed())))
    assert len(set(seeds)) == len(seeds) == 24


def test_global_generator_and_threads_are_left_alone(data):
    state, threads = torch.get_rng_state(), torch.get_num_threads()
    aevb.fit(data, replace(SMALL, threads=1))
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.get_num_threads() == threads


@pytest.mark.parametrize("optimizer", ["adam", "adagrad"])
@pytest.mark.parametrize("binarize", ["none", "static", "dynamic"])
def test_interrupted_and_resumed_is_bit_identical(
    pictures, tmp_path, monkeypatch, optimizer, binarize
):
    monkeypatch.setattr(state, "SAVE_SHARE", math.inf)  # save after every epoch
    config = replace(
        SMALL,
        optimizer=optimizer,
        likelihood="bernoulli",
        binarize=binarize,
        warmup_epochs=3,
        free_bits=0.1,
    )
    config = replace(config, decay=0.6)
    whole = aevb.fit(pictures, config, out=tmp_path / "whole")
    for stop in (0, 2, 3):  # three interruptions of one run, the first before anything is saved
        with pytest.raises(KeyboardInterrupt):
            aevb.fit(
                pictures,
                config,
                out=tmp_path / "cut",
                resume=stop > 0,
                callbacks=interrupt_after(stop),
            )
    resumed = aevb.fit(pictures, config, out=tmp_path / "cut", resume=True)
    assert torch.equal(weights(resumed), weights(whole))
    assert (tmp_path / "cut" / "metrics.jsonl").read_bytes() == (
        tmp_path / "whole" / "metrics.jsonl"
    ).read_bytes()
    states = [checkpoint.load_progress(tmp_path / name)[1] for name in ("cut", "whole")]
    assert states[0].keys() == states[1].keys()
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


class Seen(Exception):  # noqa: N818
    """Raised to stop a run before its first step."""


def begun_with(data, folder, **settings):
    """The weights with which a run begins that starts from the one in ``folder``, and what it says
    to begin afresh."""
    first, fresh = [], []

    def choose_engine(loop):
        first.append(loop.model.state_dict())
        raise Seen

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loop.Loop, "choose_engine", choose_engine)
        with pytest.raises(Seen):
            aevb.fit(
                data,
                replace(SMALL, **{"start": str(folder), "validation": "0", **settings}),
                callbacks=hooks(on_fresh=fresh.extend),
            )
    return first[0], fresh


@pytest.mark.parametrize("posterior", ["diagonal", "full", "flow"])
def test_a_run_can_start_from_another_one(data, tmp_path, posterior):
    run = aevb.fit(data, SMALL, out=tmp_path / "first")
    found, fresh = begun_with(data, tmp_path / "first", posterior=posterior, seed=5)
    before = run.model.state_dict()
    assert all(torch.equal(found[name], value) for name, value in before.items())
    assert (found.keys() > before.keys()) == (posterior != "diagonal")
    assert fresh == (
        [] if posterior == "diagonal" else [f"posterior {posterior} but for its mean and variance"]
    )
    # A richer posterior begins as the Gaussian that it is richer than: the bound is where it was.
    config = replace(
        SMALL,
        start=str(tmp_path / "first"),
        posterior=posterior,
        learning_rate=1e-9,
        validation="0",
        epochs=1,
    )
    again = aevb.fit(data, config)
    old, new = (
        elbo_rows(each.model, each.tensor(data), samples=500).bound.mean() for each in (run, again)
    )
    assert abs(float(new - old)) < 0.05


def test_a_prior_that_is_there_is_kept_and_another_begins_from_the_rows(data, tmp_path):
    run = aevb.fit(
        data, replace(SMALL, prior="vamp", components=3, validation="0"), out=tmp_path / "first"
    )
    found, fresh = begun_with(data, tmp_path / "first", prior="vamp", components=3)
    assert all(torch.equal(found[name], value) for name, value in run.model.state_dict().items())
    assert fresh == []
    aevb.fit(data, replace(SMALL, validation="0"), out=tmp_path / "plain")
    rows = {tuple(row.round(decimals=4).tolist()) for row in run.tensor(data)}
    for folder in ("plain", "first"):  # no such prior, and one of another size
        other, fresh = begun_with(data, tmp_path / folder, prior="vamp", components=7)
        pseudo = next(
            value
            for name, value in other.items()
            if name.startswith("prior.") and value.shape == (7, 3)
        )
        assert all(tuple(row.round(decimals=4).tolist()) in rows for row in pseudo)
        assert fresh == ["prior vamp"]


FLOW = "posterior spline_flow but for its mean and variance"


@pytest.mark.parametrize(
    ("before", "now", "afresh"),
    [
        ({"prior": "mixture", "components": 10}, {"components": 20}, ["prior mixture"]),
        (
            {"prior": "mixture", "components": 10},
            {"prior": "flow", "components": None},
            ["prior flow"],
        ),
        (
            {"prior": "mixture", "components": 2},
            {"prior": "standard_normal", "components": None},
            [],
        ),
        ({"prior": "flow", "posterior": "full"}, {"prior": "vamp"}, ["prior vamp"]),
        ({"posterior": "flow"}, {"posterior": "spline_flow"}, [FLOW]),
        ({"posterior": "flow"}, {"posterior": "diagonal"}, []),
        ({}, {"likelihood": "gaussian_per_dimension"}, ["likelihood gaussian_per_dimension"]),
        ({"likelihood": "gaussian_optimal"}, {"likelihood": "gaussian"}, ["likelihood gaussian"]),
        (
            {},
            {"likelihood": "gaussian_fixed", "prior": "flow", "posterior": "spline_flow"},
            [FLOW, "prior flow", "likelihood"],
        ),
        ({}, {"decoder_hidden": (8,), "start": None}, []),
    ],
    ids=str,
)
def test_a_part_of_another_kind_begins_afresh_as_a_whole(data, tmp_path, before, now, afresh):
    """Whatever is said to begin afresh is as in a run without a start; encoder, decoder and all
    else are as they were."""
    run = aevb.fit(data, replace(SMALL, **before, validation="0", epochs=1), out=tmp_path / "first")
    now = {**before, **now}
    found, fresh = begun_with(data, tmp_path / "first", **{**now, "start": str(tmp_path / "first")})
    alone, _ = begun_with(data, None, **{**now, "start": None})
    assert [said.startswith(expected) for said, expected in zip(fresh, afresh, strict=True)] == [
        True
    ] * len(afresh)
    old = run.model.state_dict()
    for name, value in found.items():
        gaussian = name.startswith(("posterior.mu.", "posterior.logvar."))
        is_fresh = not gaussian and any(part.startswith(name.split(".")[0]) for part in fresh)
        assert torch.equal(value, alone[name] if is_fresh else old[name]), name


@pytest.mark.parametrize(
    ("settings", "parts"),
    [
        ({"hidden": (9,)}, r"has hidden \(8,\), this one \(9,\); give this one the same"),
        ({"hidden": (8, 8)}, r"has hidden \(8,\), this one \(8, 8\)"),
        ({"hidden": (8, 8), "decoder_hidden": (8,)}, r"has hidden \(8,\), this one \(8, 8\)"),
        ({"decoder_hidden": (8, 8)}, r"has decoder_hidden \(8,\), this one \(8, 8\)"),
        ({"latent_dim": 5}, "has latent_dim 2, this one 5"),
        ({"activation": "tanh"}, "has activation relu, this one tanh"),
        ({"skip": True}, "has skip False, this one True"),
        ({"likelihood": "bernoulli"}, "has likelihood gaussian, this one bernoulli"),
        ({"likelihood": "gaussian_network"}, "has likelihood gaussian, this one gaussian_network"),
        ({"start": "nowhere"}, "nowhere"),
    ],
)
def test_a_start_that_does_not_fit_is_refused(tmp_path, settings, parts):
    bits = Data(
        np.random.default_rng(0).integers(0, 2, size=(90, 3)).astype(float),
        "table",
        columns=("a", "b", "c"),
    )
    first = replace(SMALL, likelihood="gaussian", epochs=1)
    aevb.fit(bits, first, out=tmp_path / "first")
    with pytest.raises(AevbError, match=parts):
        aevb.fit(
            bits,
            replace(first, **{"start": str(tmp_path / "first"), **settings}),
            out=tmp_path / "second",
        )
    assert not (tmp_path / "second").exists()


def test_a_start_on_other_data_is_refused(data, pictures, tmp_path):
    aevb.fit(data, SMALL, out=tmp_path / "first")
    with pytest.raises(UsageError, match=r"rows of shape \(3,\), this one \(2,\)"):
        aevb.fit(
            Data(data.rows[:, :2], "table", columns=("a", "b")),
            replace(SMALL, start=str(tmp_path / "first")),
        )
    aevb.fit(pictures, SMALL, out=tmp_path / "pictures")
    with pytest.raises(UsageError, match="has network mlp, this one conv"):
        aevb.fit(pictures, replace(SMALL, network="conv", start=str(tmp_path / "pictures")))
    levels = np.random.default_rng(0).integers(0, 3, size=(90, 2))
    config = replace(SMALL, likelihood="discretized_logistic")
    aevb.fit(levels, config, out=tmp_path / "levels")
    with pytest.raises(UsageError, match="has levels 3, this one 2"):
        aevb.fit(levels.clip(max=1), replace(config, start=str(tmp_path / "levels")))
    # Two levels of two columns: the features are as many, and mean something else.
    with pytest.raises(
        UsageError, match="has likelihood discretized_logistic, this one categorical"
    ):
        aevb.fit(
            levels.clip(max=1),
            replace(SMALL, likelihood="categorical", start=str(tmp_path / "levels")),
        )


def test_a_run_that_started_from_another_is_resumed_without_it(data, tmp_path):
    """That one may be gone by then, and need not be named; another one is refused."""
    aevb.fit(data, SMALL, out=tmp_path / "first")
    start = str(tmp_path / "first")
    config = replace(SMALL, start=start, posterior="full", prior="vamp", components=3)
    whole = aevb.fit(data, config, out=tmp_path / "whole")
    for name in ("cut", "again"):
        with pytest.raises(KeyboardInterrupt):
            aevb.fit(data, config, out=tmp_path / name, callbacks=interrupt_after(2))
    (tmp_path / "first").rename(tmp_path / "second")
    with pytest.raises(UsageError, match=r"started with start .*first \(now .*second\)"):
        aevb.fit(
            data, replace(config, start=str(tmp_path / "second")), out=tmp_path / "cut", resume=True
        )
    for name, named in (("cut", start), ("again", None)):
        resumed = aevb.fit(data, replace(config, start=named), out=tmp_path / name, resume=True)
        assert torch.equal(weights(resumed), weights(whole))
        assert checkpoint.load(tmp_path / name).config.start == start
        assert f'start = "{start}"' in (tmp_path / name / "config.toml").read_text()


def test_where_a_run_starts_is_kept_as_an_absolute_path(data, tmp_path, monkeypatch):
    aevb.fit(data, replace(SMALL, epochs=1), out=tmp_path / "first")
    monkeypatch.chdir(tmp_path)
    config = replace(SMALL, start="first", epochs=1)
    assert aevb.fit(data, config, out=tmp_path / "run").config.start == str(tmp_path / "first")
    assert (
        len(aevb.fit(data, replace(config, epochs=2), out=tmp_path / "run", resume=True).history)
        == 2
    )


def test_the_step_size_falls_along_a_line_at_the_end(data, monkeypatch):
    """By hand, of 16 steps with a decay of one half: the last is an eighth of the first, and none
    is 0."""
    config = replace(SMALL, batch_size=16, epochs=4, validation="0", learning_rate=0.8, decay=0.5)
    rates = []
    monkeypatch.setattr(Adam, "set_rate", lambda _, rate: rates.append(rate))
    aevb.fit(data.take(np.arange(64)), config)
    assert rates == pytest.approx([0.8] * 9 + [0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1])
    rates.clear()
    aevb.fit(data.take(np.arange(64)), replace(config, decay=0.0))
    assert rates == [0.8] * 16


def test_resuming_drops_metrics_of_epochs_that_were_not_saved(data, tmp_path):
    aevb.fit(data, SMALL, out=tmp_path / "run")
    with (tmp_path / "run" / "metrics.jsonl").open("a") as file:
        file.write('{"epoch": 5}\n{"epo')
    aevb.fit(data, replace(SMALL, epochs=6), out=tmp_path / "run", resume=True)
    assert [record["epoch"] for record in lines_of(tmp_path / "run")] == [1, 2, 3, 4, 5, 6]


def test_more_epochs_than_before_continue_the_same_run(data, tmp_path):
    aevb.fit(data, SMALL, out=tmp_path / "run")
    longer = replace(SMALL, epochs=7)
    assert torch.equal(
        weights(aevb.fit(data, longer, out=tmp_path / "run", resume=True)),
        weights(aevb.fit(data, longer)),
    )


def test_resuming_with_other_settings_is_refused(data, tmp_path):
    aevb.fit(data, SMALL, out=tmp_path / "run")
    with pytest.raises(UsageError, match=r"beta 1.0 \(now 2.0\)"):
        aevb.fit(data, replace(SMALL, beta=2.0), out=tmp_path / "run", resume=True)


@pytest.mark.parametrize("content", ["file", "folder"])
def test_what_is_there_is_not_overwritten(data, tmp_path, content):
    target = tmp_path / "run"
    if content == "file":
        target.write_text("mine")
    else:
        target.mkdir()
        (target / "notes.txt").write_text("mine")
    with pytest.raises(OutputExistsError, match="already holds something"):
        aevb.fit(data, SMALL, out=target)
    assert (target if content == "file" else target / "notes.txt").read_text() == "mine"


def test_bad_data_leaves_no_folder(tmp_path):
    constant = Data(np.array([[1.0, 5.0], [2.0, 5.0], [3.0, 5.0]]), "table", columns=("a", "b"))
    with pytest.raises(DataError, match=r"constant \('b'\)"):
        aevb.fit(constant, SMALL, out=tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


def test_records_have_the_terms_apart(data, tmp_path):
    run = aevb.fit(data, SMALL, out=tmp_path / "run")
    lines = lines_of(tmp_path / "run")
    assert lines == run.history
    for record in lines:
        for prefix in ("", "validation_"):
            terms = record[f"{prefix}reconstruction"] - record[f"{prefix}kl"]
            assert record[f"{prefix}bound"] == pytest.approx(terms, rel=1e-5)
    assert [record["samples"] for record in lines] == [
        81,
        162,
        243,
        324,
    ]  # 90 rows less 9 held out; none dropped


def test_reported_density_is_that_of_the_datas_own_units(data):
    """The same data in other units: log p changes by minus the log of the unit, and nothing else
    does."""
    scaled = Data(data.rows * 1000.0, "table", columns=data.columns)
    first, second = aevb.fit(data, SMALL), aevb.fit(scaled, SMALL)
    for a, b in zip(first.history, second.history, strict=True):
        assert a["bound"] - b["bound"] == pytest.approx(3 * math.log(1000), abs=1e-3)
        assert a["kl"] == pytest.approx(b["kl"], abs=1e-3)


def test_training_metrics_weigh_every_row_alike(data):
    """With a learning rate of almost zero, the epoch's figures are the plain mean over rows; the
    last batch is smaller."""
    run = aevb.fit(
        data,
        replace(SMALL, learning_rate=1e-12, epochs=1, batch_size=50, validation="0", samples=400),
    )
    figures = run.evaluate(data, samples=400)
    assert run.history[0]["kl"] == pytest.approx(figures["kl"].value, rel=1e-5)
    assert run.history[0]["reconstruction"] == pytest.approx(
        figures["reconstruction"].value, abs=0.05
    )


def test_early_stopping_keeps_the_best(data, tmp_path):
    config = replace(SMALL, epochs=200, patience=5, learning_rate=0.05, hidden=(64,))
    run = aevb.fit(data, config, out=tmp_path / "run")
    bounds = [record["validation_bound"] for record in run.history]
    best = max(bounds)
    assert len(bounds) < 200
    assert len(bounds) - 1 - bounds.index(best) == 5
    loaded = checkpoint.load(tmp_path / "run")
    assert torch.equal(weights(loaded), weights(run))
    validation = prepare(data, config).validation
    # Validation noise is the same at every epoch, so the kept weights give the best epoch's figure
    # again.
    again = elbo_rows(
        run.model,
        run.tensor(validation),
        seed=loop.counter_seed(config.seed, "evaluate"),
        log_jacobian=run.log_jacobian,
    )
    assert float(again.bound.mean()) == pytest.approx(best, abs=1e-5)
    resumed = aevb.fit(data, config, out=tmp_path / "run", resume=True)
    assert torch.equal(weights(resumed), weights(run))
    assert len(resumed.history) == len(run.history)


def test_early_stopping_resumes_bit_identically(data, tmp_path, monkeypatch):
    monkeypatch.setattr(state, "SAVE_SHARE", math.inf)
    config = replace(SMALL, epochs=12, patience=3, learning_rate=0.05)
    whole = aevb.fit(data, config)
    with pytest.raises(KeyboardInterrupt):
        aevb.fit(data, config, out=tmp_path / "run", callbacks=interrupt_after(3))
    assert torch.equal(
        weights(aevb.fit(data, config, out=tmp_path / "run", resume=True)), weights(whole)
    )


def test_without_patience_the_last_weights_are_kept(data):
    run = aevb.fit(data, replace(SMALL, epochs=30, learning_rate=0.05))
    bounds = [record["validation_bound"] for record in run.history]
    assert any(b < a for a, b in pairwise(bounds))
    assert len(bounds) == 30


def test_changed_data_are_not_continued_on(data, tmp_path):
    aevb.fit(data, SMALL, out=tmp_path / "run")
    with pytest.raises(DataError, match="table has changed since the run began"):
        aevb.fit(
            Data(data.rows + 0.5, "table", columns=data.columns),
            SMALL,
            out=tmp_path / "run",
            resume=True,
        )


@pytest.mark.parametrize("part", ["train", "validation"])
def test_changed_rows_of_one_form_are_not_continued_on(tmp_path, part):
    """Under Bernoulli likelihoods the schema says nothing of the rows: only their digest does."""
    bits = np.random.default_rng(0).integers(0, 2, (90, 4)).astype(np.uint8)
    aevb.fit(Data(bits, "bits"), SMALL, out=tmp_path / "run")
    aevb.fit(Data(bits.copy(), "bits"), replace(SMALL, epochs=5), out=tmp_path / "run", resume=True)
    kept, apart = split_rows(90, 0.1, SMALL.seed)
    bits[(kept if part == "train" else apart)[0], 2] ^= 1
    with pytest.raises(DataError, match="bits has changed since the run began"):
        aevb.fit(Data(bits, "bits"), replace(SMALL, epochs=6), out=tmp_path / "run", resume=True)


def test_resuming_where_there_is_no_run_starts_one_but_not_over_other_things(data, tmp_path):
    assert len(aevb.fit(data, SMALL, out=tmp_path / "new", resume=True).history) == 4
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    with pytest.raises(OutputExistsError):
        aevb.fit(data, SMALL, out=tmp_path / "other", resume=True)


def test_patience_asked_for_later_looks_for_the_best_from_then_on(data, tmp_path):
    config = replace(SMALL, learning_rate=0.05, epochs=10)
    aevb.fit(data, config, out=tmp_path / "run")
    run = aevb.fit(data, replace(config, epochs=200, patience=4), out=tmp_path / "run", resume=True)
    later = [record["validation_bound"] for record in run.history[10:]]
    assert len(later) - 1 - later.index(max(later)) == 4


def test_weights_that_are_not_finite_are_never_saved(data, tmp_path, monkeypatch):
    """A gradient that overflows in the last step of an epoch leaves a finite loss behind it."""

    def spoil(loop, *arguments):
        with torch.no_grad():
            next(loop.model.parameters())[0] = math.nan
        return {}

    monkeypatch.setattr(loop.Loop, "train_step", spoil)
    with pytest.raises(
        DivergedError, match="weights or moments that are not finite at the end of epoch 1"
    ):
        aevb.fit(data, replace(SMALL, validation="0"), out=tmp_path / "run")
    assert not checkpoint.exists(tmp_path / "run")


def test_a_loss_that_is_not_finite_stops_the_run_and_spares_what_was_saved(data, tmp_path):
    aevb.fit(data, SMALL, out=tmp_path / "run")
    before = (tmp_path / "run" / "manifest.json").read_bytes()
    with pytest.raises(DivergedError, match=r"epoch 1.*smaller learning rate than 1e\+30"):
        aevb.fit(data, replace(SMALL, learning_rate=1e30), out=tmp_path / "other")
    assert (tmp_path / "run" / "manifest.json").read_bytes() == before


def test_warm_up_follows_the_steps(data, monkeypatch):
    seen = []
    real = loop.Loop.train_step

    def spy(loop, *arguments):
        log = real(loop, *arguments)
        seen.append(float(loop.objective.kl_weight))
        return log

    monkeypatch.setattr(loop.Loop, "train_step", spy)
    aevb.fit(data, replace(SMALL, beta=2.0, warmup_epochs=2))  # 6 steps an epoch
    assert seen == pytest.approx([2.0 * min(1.0, step / 12) for step in range(24)])


def test_validation_uses_weight_one_whatever_beta(data):
    run = aevb.fit(data, replace(SMALL, beta=10.0))
    record = run.history[-1]
    assert record["validation_bound"] == pytest.approx(
        record["validation_reconstruction"] - record["validation_kl"], rel=1e-5
    )


def test_bernoulli_on_real_data_is_refused(data):
    with pytest.raises(DataError, match=r"bernoulli needs x in \[0, 1\]"):
        aevb.fit(data, replace(SMALL, likelihood="bernoulli"))


def test_cuda_without_cuda_is_refused(data):
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device here")
    with pytest.raises(UsageError, match="no CUDA device"):
        aevb.fit(data, replace(SMALL, device="cuda"))


def test_every_parameter_moves(data):
    start = aevb.fit(data, replace(SMALL, epochs=1, learning_rate=1e-30))
    end = aevb.fit(data, SMALL)
    pairs = zip(start.model.parameters(), end.model.parameters(), strict=True)
    assert all(not torch.equal(a, b) for a, b in pairs)
    assert isinstance(end.model, nn.Module)


@pytest.mark.parametrize(
    "change",
    [
        {"likelihood": "gaussian_optimal", "prior": "vamp", "components": 4},
        {
            "likelihood": "discretized_logistic",
            "posterior": "flow",
            "objective": "dreg",
            "samples": 2,
        },
        {
            "likelihood": "categorical",
            "prior": "flow",
            "posterior": "spline_flow",
            "objective": "stl",
        },
        {
            "likelihood": "gaussian_network",
            "prior": "mixture",
            "components": 3,
            "objective": "iwae",
            "samples": 2,
        },
        {"network": "conv", "hidden": (2, 3), "skip": True, "likelihood": "gaussian_per_dimension"},
        {"likelihood": "negative_binomial"},
        {"likelihood": "bernoulli", "objective": "monte_carlo_em"},
        {"likelihood": "bernoulli", "objective": "score_function", "samples": 3},
    ],
    ids=lambda change: " ".join(map(str, change.values())),
)
def test_every_kind_of_part_resumes_to_the_same_bits(change, tmp_path):
    """Running averages, pseudo-inputs, flows' masks, chains: everything that a part remembers is
    saved."""
    digits = load("digits").take(np.arange(150))
    settings = replace(
        aevb.Config(hidden=(6,), latent_dim=2, epochs=2, threads=1, batch_size=50), **change
    )
    whole = aevb.fit(digits, settings)
    aevb.fit(digits, replace(settings, epochs=1), out=tmp_path / "run")
    aevb.fit(digits, settings, out=tmp_path / "run", resume=True)
    resumed = aevb.load(tmp_path / "run").model.state_dict()
    assert all(
        torch.equal(value, resumed[name]) for name, value in whole.model.state_dict().items()
    )


def test_pseudo_inputs_start_from_training_rows():
    run = aevb.fit(
        load("gmm"),
        aevb.Config(
            hidden=(6,), latent_dim=2, epochs=1, prior="vamp", components=3, learning_rate=1e-12
        ),
    )
    rows = run.tensor(load("gmm"))
    # a product of matrices loses half of the digits of a small distance
    exactly = "donot_use_mm_for_euclid_dist"
    distances = torch.cdist(run.model.prior.inputs.detach(), rows, compute_mode=exactly)
    assert float(distances.min(1).values.max()) < 1e-5


def test_the_optimal_variance_is_stored_with_the_model(data, tmp_path):
    run = aevb.fit(data, replace(SMALL, likelihood="gaussian_optimal"), out=tmp_path / "run")
    stored = checkpoint.load(tmp_path / "run").model.state_dict()
    assert float(stored["likelihood.batches"]) == 24  # 6 steps in each of 4 epochs
    assert 0 < float(stored["likelihood.variance"]) < 2
    assert run.history[-1]["noise"] == pytest.approx(
        float(stored["likelihood.variance"]) ** 0.5, rel=1e-6
    )


def test_a_noise_that_depends_on_z_is_recorded(data, pictures):
    """The root of its mean square over rows and columns, at draws of z, as of the saved model;
    other likelihoods have none."""
    data = Data(
        data.rows[:, [0, 0, 1]], "table", columns=("a", "a again", "b")
    )  # two columns can be told from z, one less so
    config = replace(
        SMALL,
        likelihood="gaussian_network",
        validation="0",
        epochs=40,
        learning_rate=0.01,
        latent_dim=1,
    )
    run = aevb.fit(data, config)
    x = run.tensor(data)
    with torch.no_grad():
        variances = run.model.likelihood_given(run.model.posterior_given(x).sample((200,))).variance
    assert abs(float(variances.sqrt().mean() / variances.mean().sqrt()) - 1) > 0.06
    assert run.history[-1]["noise"] == pytest.approx(float(variances.mean().sqrt()), rel=0.03)
    assert aevb.fit(data, config).history == run.history
    assert (
        "noise"
        not in aevb.fit(pictures, replace(SMALL, likelihood="discretized_logistic")).history[-1]
    )


@pytest.mark.parametrize("objective", ["elbo", "autoencoder", "wake_sleep"])
def test_the_stored_variance_is_the_error_at_the_codes_that_were_trained(objective):
    """On 8 columns of 2 factors and noise: within 5% of the mean squared error of the saved model
    (3% was seen)."""
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(600, 2)) @ rng.normal(size=(2, 8)) + 0.3 * rng.normal(size=(600, 8))
    settings = {
        "hidden": (32,),
        "batch_size": 100,
        "learning_rate": 5e-3,
        "validation": "0",
        "likelihood": "gaussian_optimal",
    }
    run = aevb.fit(rows, replace(SMALL, epochs=40, objective=objective, **settings))
    x = run.tensor(rows)
    with torch.no_grad():
        torch.manual_seed(0)
        q = run.model.posterior_given(x)
        z = q.mean if objective == "autoencoder" else q.sample((20,))
        error = float((run.model.decode(z) - x).square().mean())
    assert 0.03 < error < 0.5
    assert float(run.model.likelihood.variance) == pytest.approx(error, rel=0.05)


def spoil_at(monkeypatch, epoch, step, seen=None):
    """Make the training rows of one step so large that their loss is infinite, that once."""
    real = loop.Loop.train_step

    def train_step(loop, *arguments):
        if seen is not None:
            seen.append(loop)
        if arguments[:2] == (epoch, step):
            arguments = (*arguments[:-1], arguments[-1] * 1e30)
        return real(loop, *arguments)

    monkeypatch.setattr(loop.Loop, "train_step", train_step)


def test_after_divergence_weights_moments_and_stored_variance_are_back_and_training_goes_on(
    data, tmp_path, monkeypatch
):
    config = replace(SMALL, likelihood="gaussian_optimal")
    two = aevb.fit(data, replace(config, epochs=2), out=tmp_path / "two")
    with monkeypatch.context() as patch:
        spoil_at(patch, 2, 3)
        with pytest.raises(DivergedError) as caught:
            aevb.fit(data, config, out=tmp_path / "run")
    message = str(caught.value)
    for piece in (
        "epoch 3, step 4",
        "not finite for 16 of 16 rows",
        "smaller learning rate than 0.001",
        "epoch 2 are back",
    ):
        assert piece in message
    run, loaded = caught.value.run, checkpoint.load(tmp_path / "run")
    assert torch.equal(weights(run), weights(two))
    assert torch.equal(weights(loaded), weights(two))
    states = [checkpoint.load_progress(tmp_path / name)[1] for name in ("run", "two")]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[1])
    assert run.history == two.history == loaded.history
    assert run.kept_epoch == loaded.kept_epoch == 2
    assert run.evaluate(data) == two.evaluate(data)
    assert not run.model.training
    # The advice can be followed: another learning rate, or the same one, from there on.
    assert torch.equal(
        weights(aevb.fit(data, config, out=tmp_path / "two", resume=True)),
        weights(aevb.fit(data, config)),
    )
    slower = aevb.fit(data, replace(config, learning_rate=1e-5), out=tmp_path / "run", resume=True)
    assert [record["epoch"] for record in slower.history] == [1, 2, 3, 4]
    moved = [a - b for a, b in zip(slower.model.parameters(), two.model.parameters(), strict=True)]
    assert 0 < max(float(change.detach().abs().max()) for change in moved) < 1e-3
    assert checkpoint.load(tmp_path / "run").config.learning_rate == 1e-5


def test_a_resumed_run_that_diverges_at_once_keeps_what_was_saved(data, tmp_path, monkeypatch):
    two = aevb.fit(data, replace(SMALL, epochs=2), out=tmp_path / "run")
    before = (tmp_path / "run" / "manifest.json").read_bytes()
    spoil_at(monkeypatch, 2, 1)
    with pytest.raises(
        DivergedError, match="what was saved before is unchanged, the weights of epoch 2"
    ) as caught:
        aevb.fit(data, replace(SMALL, learning_rate=0.1), out=tmp_path / "run", resume=True)
    assert (tmp_path / "run" / "manifest.json").read_bytes() == before
    assert torch.equal(weights(caught.value.run), weights(two))
    assert caught.value.run.kept_epoch == 2


def test_divergence_with_patience_leaves_the_best_weights(data, monkeypatch):
    config = replace(SMALL, learning_rate=0.2, patience=50, epochs=12)
    spoil_at(monkeypatch, 11, 2)
    with pytest.raises(DivergedError) as caught:
        aevb.fit(data, config)
    monkeypatch.undo()
    run, bounds = (
        caught.value.run,
        [record["validation_bound"] for record in caught.value.run.history],
    )
    best = bounds.index(max(bounds)) + 1
    assert best < len(bounds) == 11
    assert run.kept_epoch == best
    assert torch.equal(weights(run), weights(aevb.fit(data, replace(config, epochs=best))))


def scripted(monkeypatch, log_likelihoods):
    """Let the validation rows have log p as given, epoch by epoch: (N,) each."""
    epochs = iter(log_likelihoods)
    monkeypatch.setattr(
        loop.Loop, "validation_log_likelihoods", lambda _: torch.tensor(next(epochs)).double()
    )


BEST, AS_GOOD, WORSE = [0.0, 0.0, 0.0, 0.0], [1.0, -1.2, 1.0, -1.2], [-0.1, -0.3, -0.1, -0.3]


def test_the_longest_trained_of_equally_good_weights_are_kept(data, monkeypatch, tmp_path):
    config = replace(SMALL, patience=9)
    scripted(monkeypatch, [BEST, AS_GOOD, WORSE, WORSE])
    run = aevb.fit(data, replace(config, epochs=4), out=tmp_path / "run")
    assert run.kept_epoch == 2
    assert run.history[1]["validation_log_likelihood"] == pytest.approx(-0.1)
    scripted(monkeypatch, [WORSE, AS_GOOD, WORSE])
    # A continued run compares with the same rows as before, those of epoch 1.
    longer = aevb.fit(data, replace(config, epochs=7), out=tmp_path / "run", resume=True)
    assert longer.kept_epoch == checkpoint.load(tmp_path / "run").kept_epoch == 6


@pytest.mark.parametrize("epoch", [0, 2])
def test_no_step_is_taken_on_a_loss_that_is_not_finite(data, monkeypatch, epoch):
    seen = []
    spoil_at(monkeypatch, epoch, 2, seen)
    with pytest.raises(DivergedError) as caught:
        aevb.fit(data, SMALL)
    assert all(bool(torch.isfinite(p).all()) for p in seen[0].model.parameters())
    assert (caught.value.run is None) == (epoch == 0)
    assert ("nothing was saved" in str(caught.value)) == (epoch == 0)


def test_the_row_that_is_to_blame_is_named(data, monkeypatch):
    prepared = prepare(data, SMALL)
    rows = prepared.train.rows.copy()
    rows[40, 1] = 1e30  # as if it had come in after the transform was decided
    spoilt = replace(prepared, train=Data(rows, "table", columns=data.columns))
    monkeypatch.setattr(training, "prepare", lambda *_: spoilt)
    with pytest.raises(DivergedError, match=r"for 1 of 16 rows of the batch, training row 41\b"):
        aevb.fit(data, SMALL)


def test_a_level_that_only_a_held_out_row_has_is_a_level():
    """What values there can be is no statistic: a split by chance must not decide whether the data
    can be learned from."""
    rows = np.random.default_rng(0).integers(0, 3, (90, 2))
    rows[split_rows(90, 0.1, SMALL.seed)[1][0], 1] = 5
    run = aevb.fit(Data(rows, "levels"), replace(SMALL, likelihood="categorical", epochs=1))
    assert run.schema.vocabulary == (0, 1, 2, 5)
    assert math.isfinite(run.history[0]["validation_bound"])
    assert np.isin(run.sample(50, noise=True), (0, 1, 2, 5)).all()
