"""The same code on a GPU: its steps as graphs, exact resumption, figures that agree with the
processor's."""

import dataclasses
from dataclasses import replace

import pytest
import torch
from helpers import PICTURES, RUNS, SMALL, TABLE, hooks, trained

import aevb
from aevb.datasets.batches import Shard
from aevb.datasets.given import given
from aevb.engine import step as steps
from aevb.engine.optimisers import Adam
from aevb.engine.step import Engine, Step
from aevb.errors import DivergedError
from aevb.evaluation.ais import ais_rows
from aevb.evaluation.bound import elbo_rows
from aevb.evaluation.log_likelihood import importance_rows
from aevb.paper.quadrature import log_likelihood
from aevb.paper.recipes import ScheduledTrial
from aevb.paper.running import load, open_training
from aevb.paper.trial import Trial, TrialRows
from aevb.runs import report
from aevb.runs.build import build
from aevb.runs.refit import refit_prior

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")

WAYS = RUNS | {
    "large": (
        PICTURES,
        {"likelihood": "bernoulli", "hidden": (1500,)},
    ),  # whose parameters are not joined
    "wake-sleep": (TABLE, {"objective": "wake_sleep"}),
    "decay": (TABLE, {"decay": 0.7, "learning_rate": 0.02}),
}


def config(way, **options):
    return replace(SMALL, **WAYS[way][1], device="cuda", **options)


def weights(run):
    return {name: value.cpu() for name, value in run.model.state_dict().items()}


def assert_same(one, other):
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


@pytest.mark.parametrize("way", WAYS)
def test_graphs_do_what_eager_steps_do(way, monkeypatch):
    """Not to the last bit: a kernel for a sum may be another. Few steps, before rounding has had
    time to grow."""
    eager, graphs = (
        trained(WAYS[way][0], config(way), mode, monkeypatch) for mode in ("eager", "traced")
    )
    for name, value in weights(eager).items():
        torch.testing.assert_close(
            weights(graphs)[name], value, rtol=1e-3, atol=1e-4, msg=lambda m, n=name: f"{n}: {m}"
        )


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("mode", ["eager", "traced"])
def test_the_same_seed_gives_the_same_bits(way, mode, monkeypatch):
    one, other = (trained(WAYS[way][0], config(way), mode, monkeypatch) for _ in range(2))
    assert_same(weights(one), weights(other))
    assert one.history == other.history


@pytest.mark.parametrize("way", WAYS)
def test_interrupted_and_resumed_is_bit_identical(way, tmp_path, monkeypatch):
    whole = trained(WAYS[way][0], config(way), "traced", monkeypatch)

    def stop(epoch, step, log):
        if (epoch, step) == (1, 1):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        aevb.fit(WAYS[way][0], config(way), out=tmp_path / "run", callbacks=hooks(on_step=stop))
    again = aevb.fit(WAYS[way][0], config(way), out=tmp_path / "run", resume=True)
    assert_same(weights(again), weights(whole))
    assert again.history == whole.history


def test_steps_are_captured(monkeypatch):
    made = []

    class Spy(steps.Captured):
        def __init__(self, *args):
            super().__init__(*args)
            made.append(self)

    monkeypatch.setattr(steps, "Captured", Spy)
    trained(TABLE, config("elbo"), "traced", monkeypatch)
    assert len(made) == 2  # whole batches, and the last one


@pytest.mark.parametrize("way", ["elbo", "bernoulli", "convolutions"])
def test_compiled_steps(way, monkeypatch):
    eager, compiled = (
        trained(WAYS[way][0], config(way), mode, monkeypatch) for mode in ("eager", "compiled")
    )
    for name, value in weights(eager).items():
        torch.testing.assert_close(
            weights(compiled)[name], value, rtol=1e-2, atol=1e-3, msg=lambda m, n=name: f"{n}: {m}"
        )


def test_a_number_that_is_not_finite_is_noticed_and_never_kept(tmp_path, monkeypatch):
    with pytest.raises(DivergedError, match="step"):
        trained(TABLE, config("elbo", learning_rate=1e30, epochs=3), "traced", monkeypatch)


def test_evaluation_agrees_with_the_processors(tmp_path):
    run = aevb.fit(TABLE, config("elbo"), out=tmp_path / "run")
    on_cpu = aevb.load(tmp_path / "run")
    x = run.tensor(TABLE)
    assert x.is_cuda
    assert not on_cpu.tensor(TABLE).is_cuda
    for estimate in (
        lambda run: importance_rows(run.model, run.tensor(TABLE), samples=5000).log_likelihood,
        lambda run: elbo_rows(run.model, run.tensor(TABLE), samples=2000).bound,
        lambda run: ais_rows(run.model, run.tensor(TABLE)),
    ):
        gpu, cpu = estimate(run).double().cpu().mean(), estimate(on_cpu).double().mean()
        torch.testing.assert_close(gpu, cpu, rtol=0, atol=0.03)


def test_what_a_run_on_a_gpu_can_be_asked(tmp_path):
    trained = aevb.fit(TABLE, config("elbo"), out=tmp_path / "run")
    run = aevb.load(tmp_path / "run").to("cuda")
    assert run.device == trained.device
    assert run.score(TABLE, samples=20)["baseline"].shape == (len(TABLE),)
    assert report.evaluate(run, TABLE, samples=50).figures["bound"].value < 0
    assert run.sample(10).shape == (10, 4)
    assert refit_prior(run, given(TABLE, "a table"), "mixture").sample(3).shape == (3, 4)


TRIALS = {
    "aevb": Trial("mnist", "aevb", 3, 20, 1000, lr=0.02),
    "wake_sleep": Trial("mnist", "wake_sleep", 3, 20, 1000, lr=0.02, logvar=0.1),
    "mcem": Trial("mnist", "mcem", 3, 20, 1000, lr=0.02),
    "full_vb": Trial("mnist", "full_vb", 3, 20, 1000, "adam", lr=1e-3),
    "binary": Trial("mnist", "aevb", 3, 20, 1000, lr=0.02, targets="binary"),
}


def rows(device):
    g = torch.Generator().manual_seed(0)
    grey = torch.randint(0, 256, (1200, 30), generator=g, dtype=torch.uint8)
    return TrialRows(grey[:1000].to(device), grey[1000:].to(device), 255.0)


@pytest.mark.parametrize("name", TRIALS)
def test_a_trial_of_the_paper_goes_on_bit_by_bit(name, tmp_path):
    trial, points = TRIALS[name], [30_000, 60_000]
    plan = ScheduledTrial(trial, points[-1])
    whole = open_training(trial, plan, rows("cuda"), tmp_path / "whole")
    whole.advance(points)
    for point in points:
        parted = open_training(trial, plan, rows("cuda"), tmp_path / "parted")
        parted.advance([point])
    one, other = dict(whole.model.state_dict()), dict(parted.model.state_dict())
    assert_same({k: v.cpu() for k, v in one.items()}, {k: v.cpu() for k, v in other.items()})
    drop = {"seconds"}
    assert [{k: v for k, v in p.items() if k not in drop} for p in whole.curve] == [
        {k: v for k, v in p.items() if k not in drop} for p in parted.curve
    ]


@pytest.mark.parametrize("name", TRIALS)
def test_a_trial_of_the_paper_ends_where_the_processors_does(name, tmp_path):
    """Other noise, so near alone: the figures of this easy task differ by less than what training
    changes in them."""
    ends = []
    for device in ("cpu", "cuda"):
        training = open_training(
            TRIALS[name], ScheduledTrial(TRIALS[name], 100_000), rows(device), tmp_path / device
        )
        training.advance([10_000, 100_000])
        ends.append([point.get("test_bound", 0.0) for point in training.curve])
    (start, cpu), (_, gpu) = ends
    assert abs(gpu - cpu) < 0.2 + 0.2 * abs(cpu - start), ends


def test_quadrature_agrees_with_the_processors(tmp_path):
    trial = TRIALS["aevb"]
    training = open_training(trial, ScheduledTrial(trial, 20_000), rows("cuda"), tmp_path)
    training.advance([20_000])
    model, x = training.model, rows("cuda").test[:50] / 255.0
    on_gpu = log_likelihood(model, x).cpu()
    again = load({"trial": dataclasses.asdict(trial)}, rows("cpu"), tmp_path)
    torch.testing.assert_close(on_gpu, log_likelihood(again, x.cpu()), rtol=1e-5, atol=1e-3)


def test_shards_draw_their_own_rows_of_the_noise():
    """What a group of processes on GPUs rests on."""
    x = torch.rand(16, 4, device="cuda")

    def gradients(rows, shard):
        torch.manual_seed(1)
        model, objective = build(replace(SMALL, objective="iwae", samples=5), "gaussian", (4,), 10)
        model.cuda()
        step = Step(
            model, objective.cuda(), Adam(model.parameters(), 0.01), lambda x: x, Engine("traced")
        )
        return step.gradients([rows], 7, shard)

    whole = gradients(x, Shard(0, 16, 16)).flat()
    parts = (
        gradients(x[:5], Shard(0, 5, 16, 5 / 16)).flat(),
        gradients(x[5:], Shard(5, 11, 16, 11 / 16)).flat(),
    )
    for all_of_it, first, second in zip(whole, *parts, strict=True):
        torch.testing.assert_close(
            first * 5 / 16 + second * 11 / 16, all_of_it, rtol=1e-4, atol=1e-5
        )
