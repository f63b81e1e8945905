"""The fused optimisers against torch.optim, which spells them out, and what they leave alone."""

import pytest
import torch

from aevb.updates import Adagrad, Adam

PAIRS = {"adam": (Adam, torch.optim.Adam), "adagrad": (Adagrad, torch.optim.Adagrad)}


def parameters():
    return [torch.randn(5, 3), torch.randn(7), torch.randn(())]


@pytest.mark.parametrize("name", PAIRS)
def test_twenty_steps_are_those_of_torch_optim(name):
    ours, theirs = PAIRS[name]
    mine = parameters()
    other = [torch.nn.Parameter(value.clone()) for value in mine]
    update, optimizer = ours(mine, 0.01), theirs(other, lr=0.01, foreach=False)
    for _ in range(20):
        gradients = [torch.randn_like(value) for value in mine]
        for parameter, gradient in zip(other, gradients, strict=True):
            parameter.grad = gradient.clone()
        update(gradients, torch.tensor(0.0))
        optimizer.step()
    for a, b in zip(mine, other, strict=True):
        torch.testing.assert_close(a, b.detach(), rtol=1e-6, atol=1e-6)
    for i, state in enumerate(optimizer.state.values()):
        for key, value in state.items():
            torch.testing.assert_close(update.state_dict()[f"{i}.{key}"], value, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("name", PAIRS)
def test_a_bad_step_changes_nothing(name):
    values = parameters()
    update = PAIRS[name][0](values, 0.01)
    update([torch.ones_like(value) for value in values], torch.tensor(0.0))
    before = [value.clone() for value in (*values, *update.state_dict().values())]
    update([torch.full_like(value, torch.nan) for value in values], torch.tensor(1.0))
    assert all(torch.equal(a, b) for a, b in zip(before, (*values, *update.state_dict().values()), strict=True))


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
