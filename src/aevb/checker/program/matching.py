"""What goes where in the call of a stranger's loss: by the names of its parameters, else by shape
and order."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor

from aevb.checker.program.names import role_of
from aevb.checker.session import Batch, Session


class HandedOver:
    """A criterion that a caller would give: its form and its reduction are ours, and nothing is
    said of them."""

    __session__: ClassVar[Session]

    def __call__(self, output: Tensor, target: Tensor, *_: Any, **__: Any) -> Tensor:
        """The sum of squares."""
        self.__session__.error_is_ours = True
        return F.mse_loss(output, target, reduction="sum")


NUMBERS: list[tuple[str, Any]] = [
    (r"beta|weight|lambda|alpha|gamma|coef|anneal|_scale$|factor", 1.0),
    (r"_(idx|index)$", 0),
    (r"^(fn|func|callback)$|perceptual_?(fn|net|loss)", None),
    (r"criterion|loss_?f(n|unc)|reconstruction_function|^(bce|mse)(_?loss)?$", HandedOver),
    (r"epoch|step|iter", 1_000),
    (r"kwargs", None),
]
ASKED_FOR = 0.37
"""The value of a weight that the program takes from outside: no number of rows or dimensions."""


def parameters_of(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """Its parameters, without ``*args`` and ``**kwargs``."""
    return [
        p
        for p in inspect.signature(function).parameters.values()
        if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)
    ]


def loss_of(session: Session, loss: Callable[..., Any], pairs: list[tuple[str, Any]]) -> Any:
    """The loss of (name or "", value) pairs that a model returned."""
    required = [p for p in parameters_of(loss) if p.default is p.empty]
    settings: dict[str, float] = {}
    as_given = False
    while True:
        try:
            matched = _matched(session, required, pairs, as_given)
            return loss(**matched, **settings) if required else loss(*_spread(session.batch, pairs), **settings)
        except (IndexError, ValueError):  # of a loss that flattens the picture itself, by its sides
            if as_given or not required or session.batch.x.ndim < 3:
                raise
            as_given = True
        except KeyError as error:  # a weight that the loss looks for among its **kwargs
            key = error.args[0] if error.args else None
            if not isinstance(key, str) or key in settings or len(settings) > 3:
                raise
            settings[key] = ASKED_FOR


def rest_of(session: Session, parameters: list[inspect.Parameter]) -> list[Any]:
    """The batch, or what a name says, for each of the parameters."""
    return [
        session.batch.x.clone() if role_of(p.name) == "x" else number_for(session, p.name)
        for p in parameters
    ]


def number_for(session: Session, name: str) -> Any:
    """What a parameter that is no output of the model gets: a weight, an epoch, else labels."""
    found = next((v for pattern, v in NUMBERS if re.search(pattern, name.lower())), session.batch.y)
    return value_of(session, found)


def value_of(session: Session, value: Any) -> Any:
    """What a table of values means in this session."""
    if value is HandedOver:
        return session.make(HandedOver)
    return value.clone() if isinstance(value, Tensor) else value


def _spread(batch: Batch, pairs: list[tuple[str, Any]]) -> list[Any]:
    """For ``loss(*args)``: the outputs as they come where the input is among them, else the input
    after the first."""
    values = [value for _, value in pairs]
    if any(
        isinstance(v, Tensor) and v.shape == batch.x.shape and torch.equal(v, batch.x)
        for v in values
    ):
        return values
    return [values[0], batch.x.clone(), *(v for v in values[1:] if v is not None)]


def _matched(
    session: Session, parameters: list[inspect.Parameter], pairs: list[tuple[str, Any]], as_given: bool
) -> dict[str, Any]:
    """Values for the parameters: by the outputs' own names, else in the order reconstruction, mean,
    spread.

    as_given: with the batch in its own shape, else in that of the reconstruction.
    """
    recons, x = _compared(session.batch, [value for _, value in pairs if isinstance(value, Tensor)])
    if not recons:
        recons, x = _of_another_width(pairs, x)
    roles = _roles(pairs, recons, x)
    if as_given:
        roles["x"] = x
    names = [parameter.name for parameter in parameters]
    own = [role_of(name) for name in names]
    # One name that says nothing, beside those that do: the reconstruction or what it is held
    # against.
    left = "recon" if "x" in own else "x"
    known = (
        {names[own.index("")]: left}
        if own.count("") == 1 and left not in own and {"mean", "raw"} <= set(own)
        else {}
    )
    values = {}
    for place, name in enumerate(names):
        role = known.get(name) or role_of(name)
        if role == "x" and any(role_of(earlier) == "x" for earlier in names[:place]):
            role = "recon"
        value = recons.pop(0) if role == "recon" and len(recons) > 1 else roles.get(role)
        if value is None and any(
            name in other and other != name and role_of(other) == "recon" for other in names
        ):
            value = roles["x"]  # what recon_{name} is held against
        values[name] = number_for(session, name) if value is None else value
    return values


def _compared(batch: Batch, outputs: list[Tensor]) -> tuple[list[Tensor], Tensor]:
    """What may be reconstructions among a model's outputs, and the batch; of other channels, one
    that has theirs."""
    x = batch.x.clone()
    recons = [v for v in outputs if v.numel() == x.numel()]
    if not recons and not x.is_floating_point():  # of tokens, numbers for each of the words
        recons = [v for v in outputs if v.ndim == x.ndim + 1 and v.shape[: x.ndim] == x.shape]
    if not recons and outputs and outputs[0].ndim == x.ndim > 2:
        recons, x = outputs[:1], outputs[0].detach().clone().uniform_(0.02, 0.98)
    return recons, x


def _of_another_width(pairs: list[tuple[str, Any]], x: Tensor) -> tuple[list[Tensor], Tensor]:
    """The one output that is no head by its name, of a model that makes other columns than it gets;
    and columns like it."""
    names = [role_of(name) if name else "" for name, _ in pairs]
    left = [
        v
        for role, (_, v) in zip(names, pairs, strict=True)
        if role in ("", "recon") and isinstance(v, Tensor)
    ]
    if (
        {"mean", "raw"} <= set(names)
        and len(left) == 1
        and left[0].ndim == x.ndim == 2
        and len(left[0]) == len(x)
    ):
        return left, torch.empty_like(left[0]).uniform_(0.02, 0.98)
    return [], x


def _roles(pairs: list[tuple[str, Any]], recons: list[Tensor], x: Tensor) -> dict[str, Any]:
    """Role -> what plays it."""
    left = [(role_of(name) if name else "", value) for name, value in pairs]
    recon = recons[0] if recons else None
    roles: dict[str, Any] = {"x": x, "recon": recon}
    others = [
        value for role, value in left if value is not recon and value is not None and role != "kl"
    ]
    heads = [
        v for v in others if isinstance(v, Tensor) and v.ndim > 0 and v.numel() < 4 * x.numel()
    ]
    for role, value in left:
        if role in ("mean", "raw", "z", "q", "kl"):
            roles.setdefault(role, value)
    if len(heads) >= 2 and not {"mean", "raw"} <= roles.keys():
        if len(heads) == 3:
            roles.setdefault("z", heads[0] if "z" not in roles else roles["z"])
        roles.setdefault("mean", heads[-2])
        roles.setdefault("raw", heads[-1])
    roles.setdefault("q", next((v for v in others if not isinstance(v, Tensor)), None))
    if recon is not None and recon.shape != x.shape:
        roles["x"] = x.reshape(recon.shape) if recon.numel() == x.numel() else x
    return roles
