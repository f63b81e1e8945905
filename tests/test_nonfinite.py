"""A number that is not finite is traced to the first tensor that holds one, and to the rows."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

import aevb
from aevb import VAE
from aevb.datasets import load
from aevb.errors import DivergedError
from aevb.evaluation.nonfinite import where_not_finite
from aevb.storage import checkpoint
from aevb.training import loop

SMALL = aevb.Config(hidden=(8,), latent_dim=2, epochs=4, threads=1, batch_size=500)
INDEX = torch.tensor([40, 41, 42])


class Spoils(nn.Module):
    """A linear layer whose output is not finite for large rows."""

    def __init__(self, before, after):
        super().__init__()
        self.linear = nn.Linear(before, after)

    def forward(self, x):
        return self.linear(x) + torch.where(x.abs().amax(-1, keepdim=True) > 100, math.nan, 0.0)


def test_rows_are_counted_from_one():
    x = torch.ones(3, 2)
    x[1, 0] = math.inf
    assert (
        where_not_finite(VAE(), x, INDEX)
        == "x is not finite for 1 of 3 rows of the batch, training row 42"
    )


def test_the_first_tensor_is_named():
    x = torch.ones(3, 2)
    x[[0, 2]] = 1e4
    said = where_not_finite(VAE(encoder=Spoils(2, 64)), x, INDEX)
    assert (
        said
        == "the encoder's output is not finite for 2 of 3 rows of the batch, training rows 41, 43"
    )


def test_a_parameter_is_named():
    model = VAE()
    with torch.no_grad():
        model.decoder[0].weight[0] = math.nan
    assert (
        where_not_finite(model, torch.ones(3, 2), INDEX)
        == "parameter decoder.0.weight is not finite"
    )


def test_a_gradient_is_named_with_the_largest_row():
    model, x = VAE(), torch.ones(3, 2)
    x[2, 1] = -7.0
    model.posterior.mu.bias.grad = torch.full((2,), math.nan)
    said = where_not_finite(model, x, INDEX)
    assert said.startswith(
        "the gradient of posterior.mu.bias is not finite; the largest value of the batch, 7, is in"
        " training row 43"
    )


@pytest.fixture
def spoilt_in_epoch_3(monkeypatch):
    """Gradients that are not finite in the second step of the third epoch."""
    real, calls = loop.Loop.train_step, []

    def step(loop, epoch, number, *arguments):
        if (epoch, number) == (2, 1) and not calls:
            calls.append(1)
            handle = next(loop.model.parameters()).register_hook(
                lambda gradient: gradient * math.nan
            )
            try:
                return real(loop, epoch, number, *arguments)
            finally:
                handle.remove()
        return real(loop, epoch, number, *arguments)

    monkeypatch.setattr(loop.Loop, "train_step", step)


def test_the_last_good_epoch_is_restored_and_saved(tmp_path, spoilt_in_epoch_3):
    data, out = load("gmm"), tmp_path / "run"
    two = aevb.fit(data, replace(SMALL, epochs=2))
    with pytest.raises(
        DivergedError, match=r"epoch 3, step 2 .*gradient of encoder.*epoch 2 are back and saved"
    ) as caught:
        aevb.fit(data, SMALL, out=out)
    for run in (caught.value.run, checkpoint.load(out)):
        assert run.kept_epoch == 2
        assert len(run.history) == 2
        weights = run.model.state_dict()
        assert all(
            torch.equal(value, weights[name]) for name, value in two.model.state_dict().items()
        )
    resumed = aevb.fit(data, replace(SMALL, learning_rate=1e-4), out=out, resume=True)
    assert [record["epoch"] for record in resumed.history] == [1, 2, 3, 4]


def test_without_a_folder_the_error_carries_the_run(spoilt_in_epoch_3):
    with pytest.raises(DivergedError, match="the error's run has the weights of epoch 2") as caught:
        aevb.fit(load("gmm"), SMALL)
    assert all(bool(torch.isfinite(value).all()) for value in caught.value.run.model.parameters())
