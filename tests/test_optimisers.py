"""The fused optimisers against torch.optim, which spells them out, and what they leave alone."""

import pytest
import torch

from aevb.engine.optimisers import FEW_NUMBERS, Adagrad, Adam, join

PAIRS = {"adam": (Adam, torch.optim.Adam), "adagrad": (Adagrad, torch.optim.Adagrad)}


def parameters():
    return [torch.randn(5, 3), torch.randn(7), torch.randn(())]


@pytest.mark.parametrize("name", PAIRS)
def test_twenty_steps_are_those_of_torch_optim(name):
    ours, theirs = PAIRS[name]
    mine = parameters()
    other = [torch.nn.Parameter(value.clone()) for value in mine]
    update, optimizer = ours(mine, 0.01), theirs(other, lr=0.01, foreach=False)
    for step in range(20):
        rate = 0.01 / (1 + step)
        update.set_rate(rate)
        optimizer.param_groups[0]["lr"] = rate
        gradients = [torch.randn_like(value) for value in mine]
        for parameter, gradient in zip(other, gradients, strict=True):
            parameter.grad = gradient.clone()
        update(gradients, torch.tensor(0.0))
        optimizer.step()
    for a, b in zip(mine, other, strict=True):
        torch.testing.assert_close(a, b.detach(), rtol=1e-6, atol=1e-6)
    for i, state in enumerate(optimizer.state.values()):
        for key, value in state.items():
            torch.testing.assert_close(
                update.state_dict()[f"{i}.{key}"], value, rtol=1e-6, atol=1e-6
            )


@pytest.mark.parametrize("name", PAIRS)
def test_a_bad_step_changes_nothing(name):
    values = parameters()
    update = PAIRS[name][0](values, 0.01)
    update([torch.ones_like(value) for value in values], torch.tensor(0.0))
    before = [value.clone() for value in (*values, *update.state_dict().values())]
    update([torch.full_like(value, torch.nan) for value in values], torch.tensor(1.0))
    assert all(
        torch.equal(a, b)
        for a, b in zip(before, (*values, *update.state_dict().values()), strict=True)
    )


@pytest.mark.parametrize("name", PAIRS)
def test_the_state_goes_on_in_another_object(name):
    values = parameters()
    update = PAIRS[name][0](values, 0.01)
    gradients = [torch.randn_like(value) for value in values]
    update(gradients, torch.tensor(0.0))
    saved = {key: value.clone() for key, value in update.state_dict().items()}
    again = PAIRS[name][0]([value.clone() for value in values], 0.01)
    again.load_state_dict(saved)
    for each in (update, again):
        each(gradients, torch.tensor(0.0))
    assert all(torch.equal(a, b) for a, b in zip(update.parameters, again.parameters, strict=True))


@pytest.mark.parametrize("name", PAIRS)
def test_joined_parameters_move_as_separate_ones_do(name):
    separate = parameters()
    joined = [value.clone() for value in separate]
    flat = join(joined)
    one, other = PAIRS[name][0](separate, 0.01), PAIRS[name][0](joined, 0.01, flat)
    for _ in range(20):
        gradients = [torch.randn_like(value) for value in separate]
        one(gradients, torch.tensor(0.0))
        other([torch.cat([gradient.reshape(-1) for gradient in gradients])], torch.tensor(0.0))
    for a, b in zip(separate, joined, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)
    for key, value in one.state_dict().items():
        torch.testing.assert_close(other.state_dict()[key], value, rtol=1e-6, atol=1e-7)


def test_join_keeps_values_and_parameters():
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.Linear(2, 1))
    before, owned = (
        {name: value.clone() for name, value in model.state_dict().items()},
        list(model.parameters()),
    )
    flat = join(model.parameters())
    assert all(a is b for a, b in zip(owned, model.parameters(), strict=True))
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    flat.zero_()  # the model's own, not a copy
    assert all(not value.any() for value in model.parameters())


@pytest.mark.parametrize(
    ("width", "is_joined"), [(FEW_NUMBERS["cpu"] - 1, True), (FEW_NUMBERS["cpu"], False)]
)
def test_only_small_models_are_joined(width, is_joined):
    update = Adam.of_model(torch.nn.Linear(width, 1), 0.01)  # and a bias
    assert (update.flat is not None) is is_joined
    assert set(update.state_dict()) == {
        f"{i}.{part}" for i in (0, 1) for part in ("exp_avg", "exp_avg_sq", "step")
    }
