"""A step made of single parts: the author's sampler and KL or loss, between our own layers.

A person named the parts with ``--map``; or the model could not be run, and the parts were found by
name.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from aevb.checker.program import vocabulary as words
from aevb.checker.program.calls import Outputs, call_model
from aevb.checker.program.making import Maker, bare_object, parameters_of
from aevb.checker.program.program import Program
from aevb.checker.program.source import unpacked_first
from aevb.checker.program.vocabulary import role_of
from aevb.checker.session import Session
from aevb.checker.tape.tape import tensors

Function = Callable[..., Any]


class UnknownNameError(Exception):
    """The program lacks a name that was given with ``--map``; the message is one sentence."""


def named(program: Program, models: list[tuple[str, nn.Module]], name: str) -> Function:
    """Find a function or method.

    Args:
        program: the program that defines it.
        models: objects whose methods the name may mean.
        name: such as "loss_fn", "reparameterize" or "VAE.reparameterize".

    Raises:
        UnknownNameError: the program has none of that name.
    """
    owner, _, last = name.rpartition(".")
    functions, classes = program.functions(), program.classes()
    if not owner and last in functions:
        return functions[last]
    for own, module in models:
        method = getattr(module, last, None) if owner in ("", own, type(module).__name__) else None
        if callable(method):
            return method  # type: ignore[no-any-return]
    if last in classes and not owner:
        return Maker(program).make(classes[last], parts=False)
    if callable(getattr(classes.get(owner), last, None)):
        return getattr(bare_object(classes[owner]), last)  # type: ignore[no-any-return]
    have = ", ".join([*functions, *classes]) or "nothing"
    raise UnknownNameError(
        f"--map names {name!r}, which the file does not define; it defines {have}"
    )


def alone(program: Program) -> dict[str, str]:
    """Find the program's sampler and its loss or KL by their names: role -> name.

    A loss is taken only if it calls the spread as the sampler does: a model that cannot be run may
    change the spread between the two.
    """
    functions = _functions_and_methods(program)
    heads = _with_heads(program, functions)
    sampler = _first(words.SAMPLER, heads, whole=False)
    if not sampler:
        loss = _first(words.LOSS, heads, whole=True)
        return {"loss": loss} if loss and only_a_loss(program) else {}
    spread = heads.pop(sampler)["raw"]
    alike = {name: roles for name, roles in heads.items() if roles["raw"] == spread}
    loss = _first(words.LOSS, alike, whole=True)
    if loss:
        return {"sampler": sampler, "loss": loss}
    two: dict[str, list[str]] = {
        name: [] for name in alike if len(parameters_of(functions[name])) == 2
    }
    kl = _first(words.KL, two, whole=False)
    return {"sampler": sampler, "kl": kl} if kl else {"sampler": sampler}


def _first(said: re.Pattern[str], found: Mapping[str, Collection[str]], *, whole: bool) -> str:
    """The first name that matches ``said``; whole: whether a reconstruction is a parameter."""
    own = (name for name, roles in found.items() if ("recon" in roles) == whole)
    return next(filter(said.search, own), "")


def _functions_and_methods(program: Program) -> dict[str, Function]:
    found = dict(program.functions())
    for name, kind in program.classes().items():
        for key, value in list(vars(kind).items()):
            method = inspect.isroutine(value) or isinstance(value, staticmethod)
            if method and not key.startswith("__"):
                found[f"{name}.{key}"] = getattr(bare_object(kind), key)
    return found


def _with_heads(program: Program, functions: dict[str, Function]) -> dict[str, dict[str, str]]:
    """The functions that take a mean and a spread: name -> role -> parameter."""
    found = {}
    for name, function in functions.items():
        roles = {role_of(p.name): _bare(p.name) for p in parameters_of(function)}
        if {"mean", "raw"} <= roles.keys():
            found[name] = roles
    for name in functions:  # those that take all outputs as one parameter
        outputs = unpacked_first(program.tree, name)
        roles = {role_of(one) or "recon": one.lower() for one in outputs}
        found |= {name: roles} if {"recon", "mean", "raw"} <= roles.keys() else {}
    return found


def _bare(name: str) -> str:
    return name.replace("_", "").lower()


def only_a_loss(program: Program) -> bool:
    """Whether no class of the program could be a model, since all are losses."""
    loss = nn.modules.loss._Loss
    own = program.classes().items()
    return all(words.LOSS.search(name) or issubclass(kind, loss) for name, kind in own)


def spread_of(function: Function) -> str:
    """The parameter that by its name is the spread; "" if there is none."""
    names = (p.name for p in parameters_of(function))
    return next((name for name in names if role_of(name) == "raw"), "")


@dataclass
class BetweenLayers:
    """A small VAE with the given sampler, and the given loss or a squared error plus the given KL.

    outputs: names of the model's outputs, if the loss takes them as one parameter.
    """

    session: Session
    sampler: Function | None = None
    kl: Function | None = None
    loss: Function | None = None
    outputs: Sequence[str] = ()

    def __call__(self) -> Any:
        """Return its loss on the batch."""
        rows = self.session.batch.x
        x = rows.reshape(len(rows), -1)
        width = x.shape[1]
        encoder, decoder = nn.Linear(width, 2 * words.LATENT), nn.Linear(words.LATENT, width)
        mu, raw = encoder(x).chunk(2, -1)
        z = self._sample(mu, raw)
        if self.loss is None:
            error = (decoder(z) - x).square().sum()
            return error if self.kl is None else error + _called(self.kl, mu, raw).sum()
        recon = torch.sigmoid(decoder(z)).reshape(rows.shape)
        if not self.outputs:
            pairs = [("recon", recon), ("mu", mu), ("logvar", raw)]
            return Outputs(self.session, pairs).give_to(self.loss)
        by_role = {"recon": recon, "mean": mu, "raw": raw, "z": z}
        given = [by_role.get(role_of(name) or "recon") for name in self.outputs]
        return self.loss(given, rows.clone())

    def _sample(self, mu: Tensor, raw: Tensor) -> Tensor:
        if self.sampler is None:
            half = 1.0 if self.session.unseen.reading == "log sigma" else 0.5
            return mu + torch.exp(half * raw) * torch.randn_like(raw)
        made = _called(self.sampler, mu, raw)
        if isinstance(made, Tensor):
            return made
        return next(one for one in made if isinstance(one, Tensor))


def _called(function: Function, mu: Tensor, raw: Tensor) -> Any:
    """Call the function on mean and spread: in the order of its names, else in this order."""
    named = inspect.signature(function).parameters.values()
    roles = [role_of(p.name) for p in named if p.default is p.empty][:2]
    return function(raw, mu) if roles == ["raw", "mean"] else function(mu, raw)


def before_a_decoder(session: Session, method: Function) -> Tensor | None:
    """Return a loss for a model's method that makes a sample and no reconstruction.

    It is the error of our own decoder, plus the KL if the method returns one; None if the method
    makes no sample or several.
    """
    batch = session.batch

    def outputs() -> list[Tensor]:
        made = tensors(call_model(batch, method))
        return [one for one in made if one.is_floating_point()]

    made = outputs()
    with session.unrecorded():
        again = outputs()
    drawn = [one for one, two in zip(made, again, strict=False) if not torch.equal(one, two)]
    codes = [one for one in drawn if one.ndim == 2 and len(one) == len(batch.x)]
    if len(codes) != 1:
        return None
    session.unseen.used = session.unseen.decodes_only = True
    x = batch.x.reshape(len(batch.x), -1)
    with session.unrecorded():
        decoder = nn.Linear(codes[0].shape[1], x.shape[1])
    error: Tensor = (decoder(codes[0]) - x).square().sum()
    return error + sum(one.sum() for one in made if _is_a_term(one))


def _is_a_term(made: Tensor) -> bool:
    return made.numel() == 1 and made.requires_grad
