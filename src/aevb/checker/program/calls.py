"""Arguments for a stranger's functions, chosen by names of parameters and by shapes of tensors."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aevb.checker.places import is_strangers
from aevb.checker.program import source as syntax
from aevb.checker.program import vocabulary as words
from aevb.checker.program.making import Maker, bare_object, models, parameters_of
from aevb.checker.program.program import Program
from aevb.checker.program.stand_ins import FakeLoader, FakeOptimizer, OfASession, StandIn
from aevb.checker.program.vocabulary import role_of
from aevb.checker.session import Batch, Session
from aevb.checker.tape.returned import flat_outputs

Function = Callable[..., Any]
Pairs = list[tuple[str, Any]]
Parameters = Sequence[inspect.Parameter]
HEADS = {"mean", "raw"}
MOST_WEIGHTS = 4
"""The most weights that a loss may look for in its ``**kwargs``."""


class HandedOver(OfASession):
    """Our stand-in for a criterion that a caller would pass; it is not judged."""

    def __call__(self, output: Tensor, target: Tensor, *_: Any, **__: Any) -> Tensor:
        """Return the sum of squares."""
        self.__session__.error_is_ours = True
        return F.mse_loss(output, target, reduction="sum")


def _number(session: Session, name: str, table: words.Meanings, default: Any) -> Any:
    """The table's value for a name, with our own criterion for HANDED_OVER."""
    found = words.meaning(name.lower(), table, default)
    return session.make(HandedOver) if found is words.HANDED_OVER else found


def number_for(session: Session, name: str) -> Any:
    """Return the value for a parameter that is no output: a weight, an epoch, else labels."""
    found = _number(session, name, words.NUMBERS, session.batch.y)
    return found.clone() if found is session.batch.y else found


def rest_of(session: Session, parameters: Parameters) -> list[Any]:
    """Return the batch, or a value chosen by name, for each of the parameters."""
    x = session.batch.x
    return [
        x.clone() if role_of(p.name) == "x" else number_for(session, p.name) for p in parameters
    ]


def for_function(program: Program, function: Function) -> dict[str, Any]:
    """Return arguments for a function that trains, as the program would pass them."""
    out: dict[str, Any] = {}
    for parameter in parameters_of(function):
        name, given = parameter.name, parameter.default not in (parameter.empty, None)
        if given and not re.search("epoch|step", name):
            continue
        with program.session.unrecorded():
            value = _argument(program, function.__name__, len(out), name)
        spare = parameter.default is not parameter.empty and not words.OPTIMISER.search(name)
        if spare and isinstance(value, StandIn):
            continue  # an optimiser is passed: some functions only train if they get one
        out[name] = value
    return out


def _argument(program: Program, function: str, place: int, name: str) -> Any:
    """The argument for one parameter of a function that trains."""
    session, tree = program.session, program.tree
    if name in syntax.looped_over(tree, function):
        return session.make(FakeLoader)
    value = program.get(name)
    if _says_nothing(value):
        given = _as_called(program, function, place, name)
        value = value if given is None else given
    if type(value) is session.bound(StandIn) and name in syntax.batches_of(tree, function):
        return session.make(FakeLoader)
    if isinstance(value, StandIn) and words.DATA_PARAMETER.fullmatch(name.lower()):
        return session.batch.x.clone()
    table = words.NUMBERS[:4] + words.SIZES
    return _number(session, name, table, value) if _says_nothing(value) else value


def _says_nothing(value: Any) -> bool:
    return isinstance(value, StandIn) and not isinstance(value, FakeOptimizer)


def _as_called(program: Program, function: str, place: int, name: str) -> Any:
    """The argument that the program itself passes to its function, if it can be evaluated."""
    for call in (
        one for one in syntax.calls(program.tree) if syntax.last_name(one.func) == function
    ):
        given = syntax.argument(call, place, name)
        if given is not None and not isinstance(given, ast.Starred):
            try:
                return program.evaluate(given)
            except Exception as error:
                program.not_made(f"the argument {name}", error, call)
    return None


def _adjacency(batch: Batch, name: str, _: nn.Module) -> Any:
    return torch.eye(len(batch.x)) if re.search("^adj|_adj$|^a_hat$", name) else None


def _lengths(batch: Batch, name: str, _: nn.Module) -> Any:
    if not re.search("len(gth)?s?$|lens?_|lengths?_", name):
        return None
    length = batch.x.shape[1] if batch.x.ndim > 1 else 1
    one = re.search("seq_?len|max_?len|out_?len", name)
    return length if one else torch.full((len(batch.x),), length)


def _as_wide_as_said(batch: Batch, name: str, module: nn.Module) -> Any:
    """Numbers with the width that an attribute of the model gives: ``action``, ``action_dim``."""
    forms = ("{}_dim", "{}_size", "dim_{}", "n_{}", "num_{}", "{}_features")
    said = (getattr(module, form.format(name), None) for form in forms)
    width = next((int(one) for one in said if isinstance(one, int) and one > 1), 0)
    fits = width and batch.y.ndim < 2 and not words.LABELS.search(name)
    return torch.rand(len(batch.x), width) if fits else None


def _mask(batch: Batch, name: str, _: nn.Module) -> Any:
    return torch.ones_like(batch.x) if "mask" in name else None


BESIDES = (_adjacency, _lengths, _as_wide_as_said, _mask)
"""Makers of a model's further inputs; each returns None if the name is of another kind."""


def _besides(batch: Batch, name: str, module: nn.Module) -> Any:
    found = (way(batch, name.lower(), module) for way in BESIDES)
    return next((one for one in found if one is not None), batch.y)


def call_model(batch: Batch, target: Callable[..., Any]) -> Any:
    """Call a module, or a method of one, on a batch; its errors are passed on.

    Further parameters get labels, as numbers or one-hot, or a value chosen by name.
    """
    module: Any = getattr(target, "__self__", target)
    named = parameters_of(target.forward if isinstance(target, nn.Module) else target)
    failures: list[Exception] = []
    for labels in (batch.y, F.one_hot(batch.y.long().reshape(-1), 10).float()):
        values, own = [batch.x.clone()], Batch(batch.x, labels)
        values += [_besides(own, p.name, module) for p in named[1:] if p.default is p.empty]
        if not named and failures:  # forward(*inputs)
            values.append(batch.y)
        try:
            return target(*values)
        except NameError:
            raise
        except Exception as error:
            failures.append(error)
    try:
        return target({"data": batch.x.clone()})
    except Exception:
        raise _both(failures if named else failures[::-1]) from None


def _both(failures: list[Exception]) -> Exception:
    """The first failure, with the message of the second: either may give the expected size."""
    first, second = failures
    if str(second) == str(first):
        return first
    return type(first)(f"{first}; with labels one-hot: {second}")


def loss_functions(program: Program, module: nn.Module) -> list[tuple[str, Function]]:
    """Functions and methods named like the whole loss; those that others of them call come last.

    Functions that the program calls with changed outputs of the model are left out, such as
    ``kl_loss(mu, torch.exp(logvar / 2))``: they cannot be judged alone.
    """
    found = {name: (name.rpartition(".")[2], loss) for name, loss in _losses(program, module)}
    own = {last for last, _ in found.values()}
    scopes = [(last, scope) for last in own for scope in syntax.functions(program.tree, last)]
    within = {name for last, scope in scopes for name in syntax.called_names(scope) - {last}}
    plain = [
        (name, loss)
        for name, (last, loss) in found.items()
        if not syntax.given_changed(program.tree, last, _spread_place(loss))
    ]
    return sorted(plain, key=lambda pair: found[pair[0]][0] in within)


def _spread_place(function: Function) -> tuple[int, str]:
    """Place and name of the parameter that is the spread; (-1, "") if there is none."""
    names = [p.name for p in parameters_of(function)]
    spreads = (pair for pair in enumerate(names) if role_of(pair[1]) == "raw")
    return next(spreads, (-1, ""))


def _losses(program: Program, module: nn.Module) -> Iterator[tuple[str, Function]]:
    """Methods of the model, then functions, methods of plain classes and loss modules."""
    for name in filter(words.LOSS.search, dir(type(module))):
        code = getattr(getattr(type(module), name, None), "__code__", None)
        if code is not None and is_strangers(code.co_filename):
            yield f"{type(module).__name__}.{name}", getattr(module, name)
    yield from (pair for pair in program.functions().items() if words.LOSS.search(pair[0]))
    for owner, kind in program.plain_classes().items():
        for name in [n for n in vars(kind) if words.LOSS.search(n)]:
            if inspect.isroutine(vars(kind)[name]):
                yield f"{owner}.{name}", getattr(bare_object(kind), name)
    yield from _loss_modules(program, module)


def _loss_modules(program: Program, module: nn.Module) -> Iterator[tuple[str, Function]]:
    for name, own in program.classes().items():
        if words.LOSS.search(name) and not isinstance(module, own):
            try:
                yield name, Maker(program).make(own, parts=False).forward
            except Exception as error:
                program.not_made(name, error)


def with_parts(program: Program, loss: Function) -> Callable[[], Any] | None:
    """The call of a loss of networks, ``elbo(x, encoder, decoder)``; None unless two are found."""
    parts: dict[str, nn.Module] = {}
    for name in (parameter.name for parameter in parameters_of(loss)):
        word = words.PART.fullmatch(name.lower())
        for _, module in models(program) if word else ():
            if word and word[1] in type(module).__name__.lower():
                parts.setdefault(name, module)
    if len(parts) < 2:
        return None
    rest = [p for p in parameters_of(loss, required=True) if p.name not in parts]
    names = [p.name for p in rest]
    return lambda: loss(**parts, **dict(zip(names, rest_of(program.session, rest), strict=True)))


@dataclass
class LossCall:
    """A loss to call on a model's outputs for the batch. tree: the program."""

    session: Session
    loss: Function
    module: nn.Module
    tree: ast.AST

    @cached_property
    def required(self) -> list[inspect.Parameter]:
        """Parameters without a default."""
        return parameters_of(self.loss, required=True)

    @cached_property
    def made(self) -> Any:
        """The model's outputs."""
        return call_model(self.session.batch, self.module)

    def call(self) -> Any:
        """Call the loss by the first convention that fits."""
        for convention in CONVENTIONS:
            given = convention(self)
            if given is not None:
                return given()
        return Outputs(self.session, self.pairs()).give_to(self.loss)

    def pairs(self) -> Pairs:
        """(name or "", value) for the model's outputs, and for a KL that it keeps."""
        pairs, names = flat_outputs(self.made), self._returned()
        if len(names) == len(pairs) and not any(name for name, _ in pairs):
            told = [name if role_of(name) in HEADS | {"z"} else "" for name in names]
            pairs = [(name, value) for name, (_, value) in zip(told, pairs, strict=True)]
        kept = [pair for part in self.module.modules() for pair in vars(part).items()]
        return [*pairs, *[("kl", value) for name, value in kept if _is_kl(name, value)][:1]]

    def _returned(self) -> list[str]:
        """The names of the outputs in ``forward`` of the model's class or of a base class."""
        lineage = (syntax.returned(self.tree, kind.__name__) for kind in type(self.module).__mro__)
        return next(filter(None, lineage), [])


def _is_kl(name: str, value: Any) -> bool:
    return bool(words.KL.search(name)) and isinstance(value, Tensor)


def _of_the_model(one: LossCall) -> Callable[[], Any] | None:
    """``loss(model, x)``"""
    if not one.required or not words.MODEL.search(one.required[0].name):
        return None
    return lambda: one.loss(one.module, *rest_of(one.session, one.required[1:]))


def _of_rows(one: LossCall) -> Callable[[], Any] | None:
    """``loss(x)``: the loss calls the model itself."""
    roles = [role_of(p.name) for p in one.required]
    rows = roles[:1] in (["x"], [""]) and not {"x", "recon", *HEADS} & set(roles[1:])
    if not rows or hasattr(one.loss, "__wrapped__") or words.OUTPUTS.search(one.required[0].name):
        return None
    x = one.session.batch.x
    return lambda: one.loss(x.clone(), *rest_of(one.session, one.required[1:]))


def _of_all_in_one(one: LossCall) -> Callable[[], Any] | None:
    """``loss(outputs, x)``"""
    whole = [p.name for p in one.required if _takes_all(p)]
    heads = any(role_of(p.name) in HEADS for p in one.required)
    if len(whole) != 1 or heads or isinstance(one.made, Tensor):
        return None
    rest = [p for p in one.required if p.name != whole[0]]
    names, given = [p.name for p in rest], rest_of(one.session, rest)
    if names and "x" not in map(role_of, names):
        given[0] = one.session.batch.x.clone()
    return lambda: one.loss(**{whole[0]: one.made}, **dict(zip(names, given, strict=True)))


def _takes_all(parameter: inspect.Parameter) -> bool:
    told = "dict" in str(parameter.annotation).lower()
    return told or bool(words.OUTPUTS.search(parameter.name))


CONVENTIONS = (_of_the_model, _of_rows, _of_all_in_one)
"""Conventions for calling a loss; each returns None if it does not fit.

If none fits, outputs are matched with parameters one by one.
"""


class Outputs:
    """The outputs of a model, (name or "", value) each, to pass to a loss one by one."""

    def __init__(self, session: Session, pairs: Pairs) -> None:
        self.session, self.pairs = session, pairs

    def give_to(self, loss: Function) -> Any:
        """Call ``loss(recon, x, mu, logvar)``, in any order, or ``loss(*outputs)``."""
        required, batch = parameters_of(loss, required=True), self.session.batch
        settings: dict[str, float] = {}
        as_given = False
        while True:
            try:
                if not required:
                    return loss(*self._in_order(), **settings)
                roles = Matching(self.session, self.pairs, as_given)
                return loss(**roles.of(required), **settings)
            except (IndexError, ValueError):  # of a loss that flattens the picture, by its sides
                if as_given or not required or batch.x.ndim < 3:
                    raise
                as_given = True
            except KeyError as error:  # a weight that the loss looks for among its **kwargs
                key = error.args[0] if error.args else None
                if not isinstance(key, str) or key in settings or len(settings) >= MOST_WEIGHTS:
                    raise
                settings[key] = words.ASKED_FOR

    def _in_order(self) -> list[Any]:
        """The outputs in order, with the input after the first if it is not among them."""
        x, values = self.session.batch.x, [value for _, value in self.pairs]
        same = (v for v in values if isinstance(v, Tensor) and v.shape == x.shape)
        if any(torch.equal(value, x) for value in same):
            return values
        return [values[0], x.clone(), *(v for v in values[1:] if v is not None)]


class Matching:
    """The outputs of a model by their roles.

    Names give the roles, else the order reconstruction, mean, spread. as_given: whether the batch
    keeps its own shape; else it takes that of the reconstruction.
    """

    def __init__(self, session: Session, pairs: Pairs, as_given: bool) -> None:
        self.session = session
        self.own = [(role_of(name) if name else "", value) for name, value in pairs]
        self.recons, self.x = self._compared([v for _, v in pairs if isinstance(v, Tensor)])
        if not self.recons:
            self._of_another_width()
        self.roles = self._roles()
        if as_given:
            self.roles["x"] = self.x

    def of(self, parameters: Parameters) -> dict[str, Any]:
        """Return values for the parameters."""
        names = [parameter.name for parameter in parameters]
        roles = _roles_of(names)
        values = {}
        for name, role in zip(names, roles, strict=True):
            several = role == "recon" and len(self.recons) > 1
            value = self.recons.pop(0) if several else self.roles.get(role)
            if value is None and _is_compared(name, names):
                value = self.roles["x"]
            values[name] = number_for(self.session, name) if value is None else value
        return values

    def _compared(self, outputs: list[Tensor]) -> tuple[list[Tensor], Tensor]:
        """Possible reconstructions, and the batch or a random one with their channels."""
        x = self.session.batch.x.clone()
        recons = [v for v in outputs if v.numel() == x.numel()]
        if not recons and not x.is_floating_point():  # for each token, a number for each word
            wide = (v for v in outputs if v.ndim == x.ndim + 1)
            recons = [v for v in wide if v.shape[: x.ndim] == x.shape]
        if not recons and outputs and outputs[0].ndim == x.ndim > 2:
            recons, x = outputs[:1], outputs[0].detach().clone().uniform_(0.02, 0.98)
        return recons, x

    def _of_another_width(self) -> None:
        """Take the only output that is no head, from a model whose output has another width."""
        left = [v for role, v in self.own if role in ("", "recon") and isinstance(v, Tensor)]
        if not {role for role, _ in self.own} >= HEADS or len(left) != 1:
            return
        if left[0].ndim == self.x.ndim == 2 and len(left[0]) == len(self.x):
            self.recons, self.x = left, torch.empty_like(left[0]).uniform_(0.02, 0.98)

    def _roles(self) -> dict[str, Any]:
        """Role -> value."""
        recon = self.recons[0] if self.recons else None
        roles: dict[str, Any] = {"x": _shaped_like(self.x, recon), "recon": recon}
        for role, value in self.own:
            if role in (*HEADS, "z", "q", "kl"):
                roles.setdefault(role, value)
        others = [v for role, v in self.own if role != "kl" and v is not recon and v is not None]
        if not roles.keys() >= HEADS:
            for role, value in self._heads(others).items():
                roles.setdefault(role, value)
        roles.setdefault("q", next((v for v in others if not isinstance(v, Tensor)), None))
        return roles

    def _heads(self, others: list[Any]) -> dict[str, Any]:
        """The last two possible heads, and the sample before them if there are three."""
        of_rows = (v for v in others if isinstance(v, Tensor) and v.ndim > 0)
        found = [v for v in of_rows if v.numel() < 4 * self.x.numel()]
        if len(found) < 2:
            return {}
        sample = {"z": found[0]} if len(found) == 3 else {}
        return sample | {"mean": found[-2], "raw": found[-1]}


def _shaped_like(x: Tensor, recon: Tensor | None) -> Tensor:
    return x if recon is None or recon.numel() != x.numel() else x.reshape(recon.shape)


def _roles_of(names: list[str]) -> list[str]:
    """The roles of a loss's parameters.

    With both heads, a single name without a role is the reconstruction or the batch, whichever is
    missing. A second batch is the reconstruction.
    """
    roles = [role_of(name) for name in names]
    left = "recon" if "x" in roles else "x"
    if roles.count("") == 1 and left not in roles and set(roles) >= HEADS:
        roles[roles.index("")] = left
    own = [role_of(name) for name in names]
    return [
        "recon" if role == "x" and "x" in own[:place] else role for place, role in enumerate(roles)
    ]


def _is_compared(name: str, names: list[str]) -> bool:
    """Whether another parameter is the reconstruction of this one, as ``recon_{name}``."""
    longer = (other for other in names if name in other and other != name)
    return any(role_of(other) == "recon" for other in longer)
