"""A step put together from the parts that a person named with ``--map``: the author's sampler and KL between layers of ours."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from aevb.checker import arguments as by_name
from aevb.checker.program import Program
from aevb.checker.stand_ins import Batch

LATENT = 5


class UnknownNameError(Exception):
    """A name given with ``--map`` that the program does not have; the message is one sentence."""


def named(program: Program, models: list[tuple[str, nn.Module]], name: str) -> Callable[..., Any]:
    """The function or method called ``name``: "loss_fn", "reparameterize" or "VAE.reparameterize"."""
    owner, _, last = name.rpartition(".")
    functions = program.functions()
    if not owner and last in functions:
        return functions[last]
    for own, module in models:
        if owner in ("", own, type(module).__name__):
            method = getattr(module, last, None)
            if callable(method):
                return method  # type: ignore[no-any-return]
    kind = program.classes().get(last)
    if kind is not None and not owner:
        return by_name.construct(kind)
    have = ", ".join([*functions, *program.classes()]) or "nothing"
    raise UnknownNameError(f"--map names {name!r}, which the file does not define; it defines {have}")


def between_layers(sampler: Callable[..., Any] | None, kl: Callable[..., Any] | None) -> Any:
    """The squared error of a small VAE with the given sampler, plus the given KL."""
    width = Batch.x[0].numel()
    encoder, decoder = nn.Linear(width, 2 * LATENT), nn.Linear(LATENT, width)
    x = Batch.x.reshape(len(Batch.x), width)
    mu, raw = encoder(x).chunk(2, -1)
    z = _called(sampler, mu, raw) if sampler is not None else mu + torch.exp(0.5 * raw) * torch.randn_like(raw)
    z = z if isinstance(z, Tensor) else next(one for one in z if isinstance(one, Tensor))
    loss = (decoder(z) - x).square().sum()
    return loss if kl is None else loss + _called(kl, mu, raw).sum()


def _called(function: Callable[..., Any], mu: Tensor, raw: Tensor) -> Any:
    """With mean and spread where their names say so, else in this order."""
    parameters = [p for p in inspect.signature(function).parameters.values() if p.default is p.empty]
    roles = [by_name.role_of(p.name) for p in parameters[:2]]
    return function(raw, mu) if roles == ["raw", "mean"] else function(mu, raw)
