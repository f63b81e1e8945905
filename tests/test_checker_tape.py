"""The checker's tape: it plays a recorded step again, and finds the parts of a VAE on it."""

import torch
from small_vae import Small
from torch import Tensor, nn

from aevb.checker.evidence.readings import READINGS
from aevb.checker.tape.parts import find
from aevb.checker.tape.tape import Tape


def taped(model: nn.Module, x: Tensor) -> tuple[Tape, Tensor]:
    tape = Tape(files=(__file__,))
    with tape:
        loss = model(x)["loss"]
    return tape, loss


def test_that_a_tape_replays_what_was_recorded() -> None:
    x = torch.rand(7, 6)
    tape, loss = taped(Small(), x)
    again = tape.play({tape.number(x): x}, [tape.number(loss)])[tape.number(loss)]
    assert torch.equal(again, loss)
    other = tape.play({tape.number(x): 2 * x}, [tape.number(loss)])[tape.number(loss)]
    assert not torch.equal(other, loss)


def test_that_heads_are_found_element_by_element() -> None:
    tape, _ = taped(Small(), torch.rand(7, 6))
    (parts,) = find(tape)
    assert parts.n == 21
    # enc's output is (7, 6): the first three columns are the means of z's three, the last three its
    # deviations.
    columns = torch.arange(42).reshape(7, 6)
    assert torch.equal(parts.mean[:, 1], columns[:, :3].reshape(-1))
    assert torch.equal(parts.raw[:, 1], columns[:, 3:].reshape(-1))


def test_that_an_operation_in_place_does_not_change_what_came_before() -> None:
    tape = Tape(files=(__file__,))
    x = torch.tensor([1.0, 2.0])
    with tape:
        y = x * 3
        z = y * 1.0
        y.exp_()
        total = (y + z).sum()
    first = tape.play({tape.number(x): x}, [tape.number(total)])
    second = tape.play({tape.number(x): x}, [tape.number(total)])
    assert torch.equal(first[tape.number(total)], total)
    assert torch.equal(second[tape.number(total)], total)


def test_that_readings_differ() -> None:
    r = torch.linspace(-1.7, 1.7, 9, dtype=torch.float64)
    values = [reading(r) for reading in READINGS.values()]
    assert all(
        not torch.allclose(a, b, equal_nan=True) for i, a in enumerate(values) for b in values[:i]
    )
