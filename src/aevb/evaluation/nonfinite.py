"""Where a number that is not finite came from: the tensor, and the rows that brought it about."""

from __future__ import annotations

import torch
from torch import Tensor

from aevb.model import VAE
from aevb.probability.distributions import rsample_and_log_prob

MOST_NAMED = 5


@torch.no_grad()
def where_not_finite(model: VAE, x: Tensor, index: Tensor) -> str:
    """A phrase that names the first tensor, in the order of the computation, that holds NaN or an
    infinity.

    x: (B, D), the batch; index: (B,), the numbers of its rows among the training rows, counted from
    0.
    """
    for name, value in model.named_parameters():
        if not bool(torch.isfinite(value).all()):
            return f"parameter {name} is not finite"
    for name, values in _row_tensors(model, x):
        bad = ~torch.isfinite(values).reshape(len(x), -1).all(1)
        if bool(bad.any()):
            return f"{name} is not finite for {_named(index, bad)}"
    for name, parameter in model.named_parameters():
        if parameter.grad is not None and not bool(torch.isfinite(parameter.grad).all()):
            return f"the gradient of {name} is not finite; {_largest(x, index)}"
    return f"it does not happen again with other noise; {_largest(x, index)}"


def _row_tensors(model: VAE, x: Tensor) -> list[tuple[str, Tensor]]:
    """What is computed on the way to the bound, each (B, ...)."""
    features = model.encoder(x)
    z, log_q = rsample_and_log_prob(model.posterior(features), 1)
    return [
        ("x", x),
        ("the encoder's output", features),
        ("z", z[0]),
        ("log q(z|x)", log_q[0]),
        ("the decoder's output", model.decoder(z[0])),
        ("log p(x|z)", model.likelihood_given(z[0]).log_prob(x)),
        ("log p(z)", model.prior().log_prob(z[0])),
    ]


def _named(index: Tensor, bad: Tensor) -> str:
    rows = (index[bad.to(index.device)] + 1).tolist()
    shown = ", ".join(map(str, rows[:MOST_NAMED])) + (", ..." if len(rows) > MOST_NAMED else "")
    return (
        f"{len(rows)} of {len(bad)} rows of the batch, training"
        f" {'row' if len(rows) == 1 else 'rows'} {shown}"
    )


def _largest(x: Tensor, index: Tensor) -> str:
    row = int(x.abs().amax(1).argmax())
    return (
        f"the largest value of the batch, {float(x[row].abs().max()):.4g}, is in training row"
        f" {int(index[row]) + 1}"
    )
