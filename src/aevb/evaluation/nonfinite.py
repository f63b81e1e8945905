"""Find the first tensor that holds a NaN or an infinity, and the rows that caused it."""

from __future__ import annotations

import torch
from torch import Tensor

from aevb.model import VAE
from aevb.probability.distributions import rsample_and_log_prob

MOST_NAMED = 5
"""A message names at most this many rows."""


@torch.no_grad()
def where_not_finite(model: VAE, x: Tensor, index: Tensor) -> str:
    """Name the first tensor, in the order of the computation, that holds NaN or an infinity.

    Args:
        model: The VAE, after the step that failed.
        x: (B, D), the batch of that step.
        index: (B,), the numbers of its rows among the training rows, from 0.

    Returns:
        A phrase for a message. It counts rows from 1.

    Example:
        >>> import torch
        >>> from aevb import VAE
        >>> from aevb.evaluation.nonfinite import where_not_finite
        >>> x = torch.zeros(3, 4)
        >>> x[1, 2] = float("nan")
        >>> where_not_finite(VAE(4, (8,), 2), x, torch.tensor([10, 20, 30]))
        'x is not finite for 1 of 3 rows of the batch, training row 21'
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
    return f"all tensors are finite with other noise; {_largest(x, index)}"


def _row_tensors(model: VAE, x: Tensor) -> list[tuple[str, Tensor]]:
    """Compute the tensors on the way to the bound, by name: (B, ...) each."""
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
