"""A step put together from parts alone: the author's sampler and KL or loss between layers of ours.

The parts are those that a person named with ``--map``; or, of a program whose model could not be
run, those that go by a name.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from aevb.checker.program import calls as by_name
from aevb.checker.program.making import LATENT, bare_object, construct
from aevb.checker.program.program import Program
from aevb.checker.program.source import unpacked_first
from aevb.checker.session import Session
from aevb.checker.tape.tape import tensors

SAMPLER = re.compile(r"re_?param|sampl|latent|noise|draw", re.IGNORECASE)


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
        return construct(program, kind)
    method = getattr(program.classes().get(owner), last, None)
    if callable(method):
        return getattr(bare_object(program.classes()[owner]), last)  # type: ignore[no-any-return]
    have = ", ".join([*functions, *program.classes()]) or "nothing"
    raise UnknownNameError(
        f"--map names {name!r}, which the file does not define; it defines {have}"
    )


def alone(program: Program) -> dict[str, str]:
    """Role -> name of the functions and methods that are the program's sampler and its loss or KL,
    by what they are called.

    A loss is taken only where its parameters and the sampler's call the spread alike: what a model
    that cannot be run does between the two is not known.
    """
    functions = dict(program.functions())
    for name, kind in program.classes().items():
        methods = {
            key: value
            for key, value in vars(kind).items()
            if inspect.isroutine(value) or isinstance(value, staticmethod)
        }
        functions |= {
            f"{name}.{key}": getattr(bare_object(kind), key)
            for key in methods
            if not key.startswith("__")
        }
    heads = {
        name: by_role
        for name, one in functions.items()
        if {"mean", "raw"} <= (by_role := _by_role(one)).keys()
    }
    for name in functions:  # of all outputs in one
        roles = {
            by_name.role_of(one) or "recon": one.lower()
            for one in unpacked_first(program.source.tree, name)
        }
        heads |= {name: roles} if {"recon", "mean", "raw"} <= roles.keys() else {}
    sampler = next(
        (n for n, roles in heads.items() if SAMPLER.search(n) and "recon" not in roles), None
    )
    if sampler is None:
        whole = next(
            (n for n, roles in heads.items() if by_name.LOSS.search(n) and "recon" in roles), None
        )
        return {"loss": whole} if whole and only_a_loss(program) else {}
    out = {"sampler": sampler}
    alike = [
        n for n, roles in heads.items() if n != sampler and roles["raw"] == heads[sampler]["raw"]
    ]
    loss = next((n for n in alike if by_name.LOSS.search(n) and "recon" in heads[n]), None)
    kl = next(
        (
            n
            for n in alike
            if by_name.KL.search(n) and len(by_name.parameters_of(functions[n])) == 2
        ),
        None,
    )
    return out | ({"loss": loss} if loss else {"kl": kl} if kl else {})


def only_a_loss(program: Program) -> bool:
    """Whether the program has no module that could be a model: what it imports it from is
    elsewhere."""
    return all(
        by_name.LOSS.search(name) or issubclass(kind, nn.modules.loss._Loss)
        for name, kind in program.classes().items()
    )


def _by_role(function: Callable[..., Any]) -> dict[str, str]:
    """Role -> the parameter that plays it, without underscores."""
    return {
        by_name.role_of(p.name): p.name.replace("_", "").lower()
        for p in by_name.parameters_of(function)
    }


def spread_of(function: Callable[..., Any]) -> str:
    """The parameter that the deviation is made of; "" if none sounds like it."""
    return next(
        (p.name for p in by_name.parameters_of(function) if by_name.role_of(p.name) == "raw"), ""
    )


def between_layers(
    session: Session,
    sampler: Callable[..., Any] | None = None,
    kl: Callable[..., Any] | None = None,
    loss: Callable[..., Any] | None = None,
    outputs: Sequence[str] = (),
) -> Any:
    """The loss of a small VAE with the given sampler: the given one, else the squared error plus
    the given KL.

    outputs: names of all that a model returns, if the loss takes that in one.
    """
    rows = session.batch.x
    width = rows[0].numel()
    encoder, decoder = nn.Linear(width, 2 * LATENT), nn.Linear(LATENT, width)
    x = rows.reshape(len(rows), width)
    mu, raw = encoder(x).chunk(2, -1)
    half = 1.0 if session.unseen.reading == "log sigma" else 0.5
    z = (
        _called(sampler, mu, raw)
        if sampler is not None
        else mu + torch.exp(half * raw) * torch.randn_like(raw)
    )
    z = z if isinstance(z, Tensor) else next(one for one in z if isinstance(one, Tensor))
    if loss is not None:
        recon = torch.sigmoid(decoder(z)).reshape(rows.shape)
        if outputs:
            by_role = {"recon": recon, "mean": mu, "raw": raw, "z": z}
            return loss(
                [by_role.get(by_name.role_of(name) or "recon") for name in outputs], rows.clone()
            )
        return by_name.loss_of(session, loss, [("recon", recon), ("mu", mu), ("logvar", raw)])
    error = (decoder(z) - x).square().sum()
    return error if kl is None else error + _called(kl, mu, raw).sum()


def _called(function: Callable[..., Any], mu: Tensor, raw: Tensor) -> Any:
    """With mean and spread where their names say so, else in this order."""
    parameters = [
        p for p in inspect.signature(function).parameters.values() if p.default is p.empty
    ]
    roles = [by_name.role_of(p.name) for p in parameters[:2]]
    return function(raw, mu) if roles == ["raw", "mean"] else function(mu, raw)


def before_a_decoder(session: Session, module: nn.Module, method: str) -> Tensor | None:
    """The loss of a module that makes a sample and no reconstruction: our decoder's error, and the
    KL if it returns that."""
    made = [one for one in tensors(by_name.call_model(session.batch, module, method)) if one.is_floating_point()]
    with session.unrecorded():
        again = [
            one for one in tensors(by_name.call_model(session.batch, module, method)) if one.is_floating_point()
        ]
    drawn = [not torch.equal(one, other) for one, other in zip(made, again, strict=False)]
    codes = [
        one
        for one, new in zip(made, drawn, strict=False)
        if new and one.ndim == 2 and len(one) == len(session.batch.x)
    ]
    if len(codes) != 1:
        return None
    session.unseen.used = session.unseen.decodes_only = True
    x = session.batch.x.reshape(len(session.batch.x), -1)
    with session.unrecorded():
        decoder = nn.Linear(codes[0].shape[1], x.shape[1])
    error: Tensor = (decoder(codes[0]) - x).square().sum()
    return error + sum(one.sum() for one in made if one.numel() == 1 and one.requires_grad)
