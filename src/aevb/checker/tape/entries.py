"""Calls of torch on a tape: which of them draw noise, and what one is written down as."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from aevb.checker.places import Place
from aevb.checker.tape.values import tensors

Function = Callable[..., Any]

NORMAL = {torch.randn, torch.randn_like, torch.normal, Tensor.normal_}
UNIFORM = {torch.rand, torch.rand_like, Tensor.uniform_}
OTHER_RANDOM = {
    torch.bernoulli,
    Tensor.bernoulli_,
    torch.randint,
    torch.randint_like,
    torch.multinomial,
    Tensor.exponential_,
}
RANDOM = NORMAL | UNIFORM | OTHER_RANDOM
LIKE = {torch.randn_like, torch.rand_like, torch.randint_like, Tensor.normal_, Tensor.uniform_}
"""Of these the tensor that they are given says the shape alone: their noise stays unless it is to
be drawn anew."""
CUTS = {Tensor.detach, Tensor.detach_, torch.detach, torch.detach_, Tensor.data.__get__}  # type: ignore[attr-defined]
IN_PLACE_OPERATORS = {"__iadd__", "__isub__", "__imul__", "__itruediv__", "__idiv__", "__ipow__"}


@dataclass
class Entry:
    """One call. inputs, outputs: numbers of values. place: in the stranger's files, None if no line
    of them was running.

    functions: of the stranger's, that were running, the innermost first. kept: whether it ran once,
    before the step.
    """

    function: Function
    arguments: Any
    inputs: list[int]
    outputs: list[int]
    result: Any
    grad: bool
    place: Place | None
    functions: tuple[str, ...] = ()
    kept: bool = False

    @property
    def name(self) -> str:
        """The function's plain name: "linear", "add", "exp"."""
        return str(getattr(self.function, "__name__", "")).strip("_")

    @property
    def in_place(self) -> bool:
        """Whether the call changes its first argument."""
        name = str(getattr(self.function, "__name__", ""))
        return (
            (name.endswith("_") and not name.startswith("__"))
            or name == "__setitem__"
            or name in IN_PLACE_OPERATORS
        )


def drawn(
    entry: Entry, args: Any, kwargs: Any, draw: Any, transparent: bool, uniform: tuple[float, float]
) -> Tensor:
    """What a random function returns where its noise is handed in."""
    like = next(iter(tensors(entry.result)))
    eps: Tensor = draw(entry, torch.empty_like(like))
    if entry.function in UNIFORM:
        low, high = uniform
        eps = low + (high - low) * eps
    if entry.function is torch.normal:
        mean, std = (
            (*args, 0.0, 1.0)[:2]
            if len(args) > 1
            else (kwargs.get("mean", *args[:1]), kwargs.get("std", 1.0))
        )
        drawn: Tensor = mean + std * eps
        return drawn if transparent else drawn.detach()
    if entry.function is Tensor.normal_:
        mean, std = (
            kwargs.get("mean", (*args, 0.0)[1]),
            kwargs.get("std", (*args, 0.0, 1.0)[2] if len(args) > 2 else 1.0),
        )
        eps = mean + std * eps
    return eps
