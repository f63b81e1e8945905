"""Recorded steps against the objective in Python: the same bits for every kind of model, and a way
out where there is none."""

import math
from dataclasses import replace
from itertools import chain

import pytest
import torch
from helpers import RUNS, SMALL, TABLE, hooks, trained

import aevb
from aevb.config import Config
from aevb.datasets.batches import Shard, epoch_batches
from aevb.datasets.rows import RowsInMemory
from aevb.engine import decisions
from aevb.engine import step as steps
from aevb.engine.decisions import Circumstances, Wishes, choose_mode, plan
from aevb.engine.optimisers import Adam
from aevb.engine.recording import Loss, flops, record
from aevb.engine.step import Engine, Step
from aevb.errors import DivergedError, UsageError
from aevb.runs.build import build
from aevb.training import loop


@pytest.mark.parametrize("name", RUNS)
def test_traced_steps_have_the_bits_of_eager_ones(name, monkeypatch):
    rows, settings = RUNS[name]
    recorded = []
    # Recording takes a second: a last batch of another size is recorded in a few cases alone.
    rows = rows if name in ("elbo", "dynamic", "categorical") else rows[:64]
    real = steps.record
    monkeypatch.setattr(
        steps, "record", lambda *a, **k: recorded.append(real(*a, **k)) or recorded[-1]
    )
    eager = trained(rows, replace(SMALL, **settings), "eager", monkeypatch)
    assert not recorded
    traced = trained(rows, replace(SMALL, **settings), "traced", monkeypatch)
    assert len(recorded) == 1 + (len(rows) % 32 > 0)  # whole batches, and the last one
    assert eager.history == traced.history
    other = traced.model.state_dict()
    assert all(torch.equal(value, other[key]) for key, value in eager.model.state_dict().items())


def make_step(mode="traced", precision="fp32", rows=16, likelihood="gaussian", **settings):
    torch.manual_seed(1)
    config = replace(SMALL, **settings)
    model, objective = build(config, likelihood, (4,), 10)
    update = Adam(model.parameters(), 0.01)
    return Step(model, objective, update, lambda x: x, Engine(mode, precision)), torch.from_numpy(
        TABLE[:rows]
    )


def test_parts_of_a_batch_add_up_to_the_whole_with_the_noise_of_their_rows():
    step, x = make_step(objective="iwae", samples=5)
    whole = step.gradients([x], 7, Shard(0, 16, 16)).flat()
    parts = []
    for rows, shard in [(x[:5], Shard(0, 5, 16, 5 / 16)), (x[5:], Shard(5, 11, 16, 11 / 16))]:
        other = make_step(objective="iwae", samples=5)[0]
        parts.append(other.gradients([rows], 7, shard).flat())
    for all_of_it, first, second in zip(whole, *parts, strict=True):
        torch.testing.assert_close(
            first * 5 / 16 + second * 11 / 16, all_of_it, rtol=2e-5, atol=1e-6
        )


def test_eager_parts_of_a_batch_do_not_all_have_the_same_noise():
    step, x = make_step("eager")
    same = torch.cat([x[:4], x[:4]])
    shards = [Shard(first, 4, 8, 0.5) for first in (0, 4)]
    one, two = (step.gradients([same[:4]], 7, shard).flat() for shard in shards)
    assert not all(torch.equal(a, b) for a, b in zip(one, two, strict=True))


def test_a_step_that_cannot_be_recorded_is_run_in_python(monkeypatch):
    step, x = make_step()
    real = type(step.loss.objective).forward

    def with_a_branch(objective, model, x):
        estimate = real(objective, model, x)
        assert estimate.loss > -1e9
        return estimate

    monkeypatch.setattr(type(step.loss.objective), "forward", with_a_branch)
    step([x], 3, Shard(0, 16, 16))
    assert step.engine.mode == "eager"
    assert "cannot be recorded" in step.engine.reason
    other, _ = make_step("eager")
    other([x], 3, Shard(0, 16, 16))
    assert all(
        torch.equal(a, b)
        for a, b in zip(step.loss.parameters(), other.loss.parameters(), strict=True)
    )


@pytest.mark.parametrize("mode", ["eager", "traced"])
def test_after_a_number_that_is_not_finite_nothing_changes_any_more(mode):
    step, x = make_step(mode)
    whole = Shard(0, 16, 16)
    assert float(step([x], 1, whole).bad) == 0
    before = [value.detach().clone() for value in step.loss.parameters()]
    spoilt = x.clone()
    spoilt[3, 1] = math.inf
    for rows, failures in [(spoilt, 1), (x, 2), (x, 3)]:
        assert float(step([rows], 2, whole).bad) == 1
        assert float(step.failures) == failures
    assert all(torch.equal(a, b) for a, b in zip(before, step.loss.parameters(), strict=True))


@pytest.mark.parametrize("lag", [1, 4, 50])
def test_a_check_that_lags_behind_still_names_the_step(monkeypatch, lag):
    """As on a GPU, where asking at every step would mean waiting for it."""
    monkeypatch.setattr(loop, "CHECK_EVERY", {"cpu": lag})
    real = RowsInMemory.take

    def spoilt(rows, index):
        x = real(rows, index)
        x[index == 11] = 3e19  # its square overflows
        return x

    monkeypatch.setattr(RowsInMemory, "take", spoilt)
    order = list(epoch_batches(72, 8, 0, 0))
    step = next(i for i, index in enumerate(order, 1) if 11 in index)
    config = replace(SMALL, batch_size=8, likelihood="gaussian_fixed")
    with pytest.raises(DivergedError, match=rf"epoch 1, step {step} .*training row 12"):
        aevb.fit(TABLE, config)


def test_bfloat16_rounds_the_factors_of_products_and_nothing_else():
    model, objective = build(replace(SMALL, hidden=(64,)), "gaussian", (4,), 10)
    loss, x = Loss(model, objective), torch.from_numpy(TABLE)
    graph = record(loss, [x], lambda x: x, bf16=True).graph
    products = [
        node
        for node in graph.graph.nodes
        if node.target in (torch.ops.aten.mm.default, torch.ops.aten.addmm.default)
    ]
    assert len(products) > 10
    copies = [node for node in graph.graph.nodes if node.target is torch.ops.aten._to_copy.default]
    for node in products:
        assert all(argument in copies for argument in node.args)
        assert all(user in copies for user in node.users)
    shard = Shard(0, 72, 72)
    exact, rounded = (
        Step(
            model,
            objective,
            Adam(model.parameters(), 0.0),
            lambda x: x,
            Engine("traced", precision),
        ).gradients([x], 5, shard)
        for precision in ("fp32", "bf16")
    )
    assert all(value.dtype == torch.float32 for value in rounded.flat())
    assert 0 < abs(float(rounded.log[0] / exact.log[0]) - 1) < 2e-2


def test_onednn_multiplies_as_torch_does():
    model, objective = build(replace(SMALL, hidden=(64,)), "gaussian", (4,), 10)
    loss, x = Loss(model, objective), torch.from_numpy(TABLE)
    nodes = record(loss, [x], lambda x: x, kernels="onednn").graph.graph.nodes
    assert sum(node.target is torch.ops.aevb.product.default for node in nodes) > 10
    assert not any(
        node.target in (torch.ops.aten.mm.default, torch.ops.aten.addmm.default) for node in nodes
    )
    update, shard = Adam(model.parameters(), 0.0), Shard(0, 72, 72)
    own, other = (
        Step(model, objective, update, lambda x: x, Engine("traced", kernels=kernels))
        .gradients([x], 5, shard)
        .flat()
        for kernels in ("torch", "onednn")
    )
    for a, b in zip(own, other, strict=True):
        torch.testing.assert_close(b, a, rtol=1e-5, atol=1e-5)


def ways_of(monkeypatch, mode, *, known=True, **settings):
    """What a plan has to choose from: (precision, kernels) of each way, and the threads of the
    first."""
    found = []
    monkeypatch.setattr(decisions, "LITTLE_WORK", 1)
    monkeypatch.setattr(
        decisions, "fastest", lambda step, inputs, ways: found.extend(ways) or ways[0][0]
    )
    monkeypatch.setattr(decisions.torch, "get_num_threads", lambda: 2)
    step, x = make_step()
    monkeypatch.setattr(decisions, "choose_mode", lambda *_, **__: (mode, "asked for"))
    wishes = Wishes(**{"kernels": "fastest"} | settings)
    plan(step, [x], wishes, Circumstances(10_000, bf16_is_free=known))
    return [(way[0].precision, way[0].kernels) for way in found], (
        [engine.threads for engine in found[0]] if found else []
    )


def test_recorded_steps_may_change_kernels_and_where_that_is_known_to_be_free_precision(
    monkeypatch,
):
    plain, onednn, rounded = ("fp32", "torch"), ("fp32", "onednn"), ("bf16", "torch")
    monkeypatch.setattr(decisions, "SOME_WORK", 0)
    assert ways_of(monkeypatch, "compiled") == ([plain, onednn, rounded], [1, 2])
    assert ways_of(monkeypatch, "compiled", known=False) == ([plain, onednn], [1, 2])
    assert ways_of(monkeypatch, "compiled", precision="fp32", threads=2) == ([plain, onednn], [2])
    assert ways_of(monkeypatch, "compiled", precision="bf16") == ([rounded], [1, 2])
    assert ways_of(monkeypatch, "traced") == ([plain, onednn, rounded], [1, 2])
    for kernels in ("auto", "torch", "onednn"):  # nothing is measured unless that is asked for
        assert ways_of(monkeypatch, "compiled", kernels=kernels) == ([], [])
    monkeypatch.setattr(decisions, "SOME_WORK", 1e9)  # the run has less
    assert ways_of(monkeypatch, "traced") == ([plain], [1, 2])
    assert ways_of(monkeypatch, "eager") == ([], [])


@pytest.mark.parametrize(
    ("milliseconds", "winner"),
    [
        ((9, 6, 6, 5.9, 5.8), (2, "torch", "fp32")),
        ((9, 6, 6, 5, 4.8), (2, "onednn", "fp32")),
        ((3, 6, 6, 5, 2), (1, "torch", "bf16")),
    ],
)
def test_other_kernels_and_bf16_have_to_be_faster_by_a_good_deal(monkeypatch, milliseconds, winner):
    plain = Engine("compiled", threads=1)
    ways = [
        [plain, replace(plain, threads=2)],
        [replace(plain, kernels="onednn", threads=n) for n in (1, 2)],
    ]
    ways += [[replace(plain, precision="bf16")]]
    cost = {
        (e.threads, e.kernels, e.precision): ms
        for e, ms in zip(chain(*ways), milliseconds, strict=True)
    }
    clock, threads = [0.0], [0]

    def gradients(step, *_):
        clock[0] += cost[(threads[0], step.engine.kernels, step.engine.precision)]

    monkeypatch.setattr(decisions.time, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(decisions.torch, "set_num_threads", lambda n: threads.__setitem__(0, n))
    monkeypatch.setattr(Step, "gradients", gradients)
    step, x = make_step()
    best = decisions.fastest(step, [x], ways)
    assert (best.threads, best.kernels, best.precision) == winner


@pytest.mark.parametrize(
    ("has_bf16", "onednn", "known", "chosen"),
    [
        (True, True, True, ("bf16", "torch")),
        (True, True, False, ("fp32", "onednn")),
        (False, True, True, ("fp32", "onednn")),
        (False, False, True, ("fp32", "torch")),
    ],
)
def test_the_processor_decides_kernels_and_precision_of_a_long_run(
    monkeypatch, has_bf16, onednn, known, chosen
):
    monkeypatch.setattr(decisions, "LITTLE_WORK", 1)
    monkeypatch.setattr(decisions, "SOME_WORK", 0)
    monkeypatch.setattr(decisions.processor, "multiplies_bf16", lambda: has_bf16)
    monkeypatch.setattr(decisions.processor, "is_faster_with_onednn", lambda: onednn)
    step, x = make_step()
    found = plan(step, [x], Wishes(), Circumstances(10_000, bf16_is_free=known))
    assert (found.precision, found.kernels) == chosen
    found = plan(step, [x], Wishes(precision="fp32", kernels="torch"), Circumstances(10_000))
    assert (found.precision, found.kernels) == ("fp32", "torch")
    monkeypatch.setattr(decisions, "SOME_WORK", 1e12)  # the run has less
    found = plan(step, [x], Wishes(), Circumstances(10_000, bf16_is_free=known))
    assert (found.precision, found.kernels) == ("fp32", "torch")


def test_a_step_gets_a_thread_for_each_share_of_its_work():
    work = decisions.LITTLE_WORK
    assert [decisions.threads_for(n * work, 4) for n in (0.5, 1, 1.9, 2, 3.5, 9)] == [
        1,
        1,
        1,
        2,
        3,
        4,
    ]


def test_a_clock_that_runs_otherwise_changes_no_bit(monkeypatch):
    """The clock favours one thread and torch's kernels first, then the others."""
    monkeypatch.setattr(decisions, "FEW_STEPS", 0)
    monkeypatch.setattr(decisions, "LITTLE_WORK", 1)
    monkeypatch.setattr(decisions, "SOME_WORK", 0)
    found = []
    torch.set_num_threads(2)
    try:
        for favoured in (0, -1):
            monkeypatch.setattr(decisions, "fastest", lambda _, __, ways, i=favoured: ways[i][i])
            run = aevb.fit(TABLE, replace(SMALL, threads=None))
            found.append(torch.cat([value.flatten() for value in run.model.state_dict().values()]))
    finally:
        torch.set_num_threads(1)
    assert torch.equal(*found)


def test_a_resumed_run_keeps_its_kernels_and_precision():
    before = Engine("compiled", "bf16", "onednn", 2, 1, "long")
    step, x = make_step()
    run = Circumstances(10_000, before=before)
    assert plan(step, [x], Wishes(), run) == before
    assert plan(step, [x], Wishes(precision="fp32"), run) == replace(before, precision="fp32")
    assert plan(step, [x], Wishes(compile="off", threads=1), run).threads == 1
    assert plan(step, [x], Wishes(compile="off"), run).mode == "eager"


def test_flops_are_those_of_the_products():
    """784-500-20 at batch 100, by hand: two operations per weight and row, forward, for the weight,
    for the input."""
    model, objective = build(Config(hidden=(500,), latent_dim=20), "bernoulli", (784,), 10)
    encoder, heads, decoder, output = 784 * 500, 2 * 500 * 20, 20 * 500, 500 * 784
    by_hand = 2 * 100 * (2 * encoder + 3 * (heads + decoder + output))
    assert flops(Loss(model, objective), torch.rand(100, 784)) == by_hand


def test_how_a_run_is_executed_depends_on_its_size():
    def chosen(compile, steps, work, **other):
        return choose_mode(compile, steps, lambda: work, **other)[0]

    assert chosen("auto", 500, 1e6) == "eager"
    assert chosen("auto", 100, 1e6, world=2) == "traced"
    assert chosen("auto", 6400, 2e7) == "traced"
    assert chosen("auto", 100_000, 4e8) == "compiled"
    assert chosen("on", 1, 1.0) == "compiled"
    assert chosen("off", 10**9, 1e9) == "eager"
    assert choose_mode("auto", 100, lambda: pytest.fail("counted for nothing"))[0] == "eager"


def test_small_steps_take_one_thread(monkeypatch):
    torch.set_num_threads(2)
    try:
        monkeypatch.setattr(decisions, "FEW_STEPS", 0)
        monkeypatch.setattr(decisions.time, "perf_counter", lambda: pytest.fail("measured"))
        found = []
        aevb.fit(TABLE, replace(SMALL, threads=None), callbacks=hooks(on_start=found.append))
        assert found[0].threads == 1
        assert torch.get_num_threads() == 2
        monkeypatch.undo()
        monkeypatch.setattr(decisions, "FEW_STEPS", 0)
        monkeypatch.setattr(decisions, "LITTLE_WORK", 1)
        aevb.fit(TABLE, replace(SMALL, threads=None), callbacks=hooks(on_start=found.append))
        assert found[1].threads == 2
    finally:
        torch.set_num_threads(1)


def test_measuring_leaves_the_model_as_it_was(monkeypatch):
    torch.set_num_threads(2)
    try:
        monkeypatch.setattr(decisions, "LITTLE_WORK", 0)
        step, x = make_step(likelihood="gaussian_optimal")  # a step changes its buffers
        before = {key: value.clone() for key, value in step.loss.state_dict().items()}
        engine = plan(step, [x], Wishes(kernels="fastest"), Circumstances(10_000))
        assert engine.threads in (1, 2)
        assert all(torch.equal(value, before[key]) for key, value in step.loss.state_dict().items())
    finally:
        torch.set_num_threads(1)


@pytest.mark.parametrize(
    ("setting", "value"),
    [("precision", "fp8"), ("kernels", "mkl"), ("compile", "maybe"), ("save_every", -1)],
)
def test_settings_that_do_not_exist(setting, value):
    with pytest.raises(UsageError, match=setting):
        replace(SMALL, **{setting: value})
