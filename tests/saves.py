"""Numbered saves of one tiny run, and what is seen of them by every way of loading; for the tests
of checkpoints."""

import warnings
from functools import cache

import torch
from helpers import make_run

from aevb.storage import checkpoint
from aevb.storage.checkpoint import Progress


@cache
def parts(number):
    """The run, progress and state of save ``number``: every save has other weights, and all have
    one baseline."""
    run = make_run(number)
    run.baseline = torch.arange(6.0)
    state = {
        "current.weight": torch.randn(5) + number,
        "optimizer.0.step": torch.tensor(float(number)),
    }
    return (
        run,
        Progress(epoch=number, step=7 * number, totals={"kl": number / 3}, engine={"threads": 1}),
        state,
    )


def save(number, folder):
    run, progress, state = parts(number)
    checkpoint.save(run, folder, progress=progress, state=state)


def bits(tensors):
    return {
        name: (tensor.dtype, tuple(tensor.shape), tensor.numpy().tobytes())
        for name, tensor in tensors.items()
    }


def _everything(run, progress, state):
    model = bits(run.model.state_dict() | {"baseline": run.baseline})
    return progress, model, bits(state), run.config, run.schema, run.source


def expected(number):
    run, progress, state = parts(number)
    return _everything(run, progress, state)


def seen(folder):
    """The number of the save that all ways of loading agree on, and the one warning that they gave
    or None."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        whole = checkpoint.load_to_continue(folder)
        progress, state = checkpoint.load_progress(folder)
        apart = checkpoint.load(folder), checkpoint.read_progress(folder), state
    found = _everything(*whole)
    assert found == _everything(*apart), "a mixture of saves"
    assert found[0] == progress
    assert found == expected(progress.epoch), "what was loaded is none of the saves"
    assert len(caught) in (0, 4)
    said = {(each.category.__name__, str(each.message)) for each in caught}
    assert len(said) <= 1
    assert {category for category, _ in said} <= {"DamagedCheckpointWarning"}
    return progress.epoch, next((message for _, message in said), None)
