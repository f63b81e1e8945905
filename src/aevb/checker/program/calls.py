"""What to call a stranger's functions with: by the names of their parameters, and by what a tensor
is."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aevb.checker.places import is_strangers
from aevb.checker.program.callers import batches_of, called_in, given_changed
from aevb.checker.program.making import PART, bare_object, construct
from aevb.checker.program.matching import ASKED_FOR as ASKED_FOR
from aevb.checker.program.matching import NUMBERS, rest_of, value_of
from aevb.checker.program.matching import loss_of as loss_of
from aevb.checker.program.matching import parameters_of as parameters_of
from aevb.checker.program.names import role_of as role_of
from aevb.checker.program.program import Program
from aevb.checker.program.shapes import data_range
from aevb.checker.program.source import calls, last_name, looped_over, returned
from aevb.checker.program.stand_ins import FakeLoader, FakeOptimizer, StandIn
from aevb.checker.program.vocabulary import SIZES
from aevb.checker.session import Batch, Session
from aevb.checker.tape.returned import flat_outputs

ROWS_OF_DATA = r"x|xs|rows|records|x_?train|features?|data|train_?data|inputs?|train_?x|dataset|samples|embeddings"
LABELS = re.compile(r"^y$|label|class|target|digit")
"""What a model calls the numbers of classes."""
OUTPUTS = re.compile(
    r"^(model_?)?(out|outs|outputs?|res|results?|ret|preds?|forward_ret)$|_outputs?$"
)
"""What a loss calls all that a model returned."""


def rows(program: Program, count: int, shape: tuple[int, ...], numbers: str = "") -> Tensor:
    """A batch of random rows in the range of the program's data. numbers: "tokens", small whole
    ones; "double"; else float."""
    if numbers == "tokens":
        return torch.randint(0, 10, (count, *shape[:1]))
    uniform = 0.02 + 0.96 * torch.rand(
        count, *shape, dtype=torch.double if numbers == "double" else torch.float
    )
    kind = data_range(program)
    if kind == "symmetric":
        return 2 * uniform - 1
    if kind == "bytes":
        return (255 * uniform).round()
    return torch.randn_like(uniform) * 1.3 if kind == "real" else uniform


def for_function(program: Program, function: Callable[..., Any]) -> dict[str, Any]:
    """Arguments for a function that trains: its model, loaders and the rest by name, as the program
    would have them."""
    out: dict[str, Any] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if parameter.default not in (parameter.empty, None) and not re.search(r"epoch|step", name):
            continue
        with program.session.unrecorded():
            value = (
                program.session.make(FakeLoader)
                if name in looped_over(program.source.tree, function.__name__)
                else program.get(name)
            )
            if isinstance(value, StandIn) and not isinstance(value, FakeOptimizer):
                given = _as_called(program, function.__name__, len(out), name)
                value = value if given is None else given
            if type(value) is program.session.bound(StandIn) and name in batches_of(
                program.source.tree, function.__name__
            ):
                value = program.session.make(FakeLoader)
            if isinstance(value, StandIn) and re.fullmatch(ROWS_OF_DATA, name.lower()):
                value = program.session.batch.x.clone()
            if isinstance(value, StandIn) and not isinstance(value, FakeOptimizer):
                value = next(
                    (v for pattern, v in NUMBERS[:4] + SIZES if re.search(pattern, name.lower())),
                    value,
                )
                value = value_of(program.session, value)
        if (
            isinstance(value, StandIn)
            and parameter.default is not parameter.empty
            and not re.search("^opt|optim", name)
        ):
            continue  # but a function that trains only where it is given an optimiser is given one
        out[name] = value
    return out


def _as_called(program: Program, function: str, place: int, name: str) -> Any:
    """The argument that the program itself gives to its function, if it can be had."""
    for call in calls(program.source.tree):
        if last_name(call.func) != function:
            continue
        named = next((k.value for k in call.keywords if k.arg == name), None)
        given = named if named is not None else call.args[place] if place < len(call.args) else None
        if given is None or isinstance(given, ast.Starred):
            continue
        try:
            return program.evaluate(given)
        except Exception as error:
            program.trace.append(
                f"line {call.lineno}: the argument {name} could not be made:"
                f" {type(error).__name__}: {error}"
            )
    return None


def _further(batch: Batch, name: str, labels: Tensor, module: nn.Module) -> Any:
    """What a model gets besides the batch: a graph's adjacency, lengths of sequences, a mask,
    numbers as wide as its attribute says that they are (``action``, ``action_dim``); else labels.
    """
    name = name.lower()
    if re.search(r"^adj|_adj$|^a_hat$", name):
        return torch.eye(len(batch.x))
    if re.search(r"len(gth)?s?$|lens?_|lengths?_", name):
        length = batch.x.shape[1] if batch.x.ndim > 1 else 1
        return (
            length
            if re.search(r"seq_?len|max_?len|out_?len", name)
            else torch.full((len(batch.x),), length)
        )
    said = (
        getattr(module, form.format(name), None)
        for form in ("{}_dim", "{}_size", "dim_{}", "n_{}", "num_{}", "{}_features")
    )
    width = next((int(one) for one in said if isinstance(one, int) and one > 1), 0)
    if width and labels.ndim < 2 and not LABELS.search(name):
        return torch.rand(len(batch.x), width)
    return torch.ones_like(batch.x) if "mask" in name else labels


def call_model(batch: Batch, module: nn.Module, method: str = "forward") -> Any:
    """The module on the batch; further parameters get labels, or what their names say."""
    target = module if method == "forward" else getattr(module, method)
    parameters = list(inspect.signature(getattr(module, method)).parameters.values())
    failures: list[Exception] = []
    named = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    for labels in (batch.y, F.one_hot(batch.y.long().reshape(-1), 10).float()):
        values = [batch.x.clone()]
        if named:
            values += [_further(batch, p.name, labels, module) for p in named[1:] if p.default is p.empty]
        elif failures or labels is not batch.y:  # forward(*inputs)
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
    """The first failure, with what the second says if that is something else: either may tell the
    size that was wanted."""
    first, second = failures
    return (
        first
        if str(second) == str(first)
        else type(first)(f"{first}; with labels one-hot: {second}")
    )


LOSS = re.compile(r"loss|elbo|criterion|objective|nll|free_energy|cost", re.IGNORECASE)
KL = re.compile(r"kl|divergence|latent_loss|regulari", re.IGNORECASE)


def loss_functions(program: Program, module: nn.Module) -> list[tuple[str, Callable[..., Any]]]:
    """Functions and methods that sound like the whole loss, those last that another of them calls.

    Not one that the program gives something else than what the model returns, ``kl_loss(mu,
    torch.exp(logvar / 2))``: by itself it says nothing.
    """
    tree = program.source.tree
    found = list(_loss_functions(program, module))
    names = {name.rpartition(".")[2] for name, _ in found}
    within = {call for name in names for call in called_in(tree, name)}
    plain = [
        pair
        for pair in found
        if not given_changed(tree, pair[0].rpartition(".")[2], _spread_place(pair[1]))
    ]
    return sorted(plain, key=lambda pair: pair[0].rpartition(".")[2] in within)


def _spread_place(function: Callable[..., Any]) -> tuple[int, str]:
    """Place and name of the parameter that is the spread; -1 without one."""
    names = [p.name for p in parameters_of(function)]
    return next(
        ((place, name) for place, name in enumerate(names) if role_of(name) == "raw"), (-1, "")
    )


def _loss_functions(
    program: Program, module: nn.Module
) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Methods of the model first, then functions, then loss modules."""
    for name in filter(LOSS.search, dir(type(module))):
        function = getattr(type(module), name, None)
        own = getattr(function, "__code__", None)
        if callable(function) and own is not None and is_strangers(own.co_filename):
            yield f"{type(module).__name__}.{name}", getattr(module, name)
    yield from (
        (name, function) for name, function in program.functions().items() if LOSS.search(name)
    )
    for owner, kind in program.plain_classes().items():
        own = [
            name
            for name, function in vars(kind).items()
            if LOSS.search(name) and inspect.isroutine(function)
        ]
        yield from ((f"{owner}.{name}", getattr(bare_object(kind), name)) for name in own)
    for name, kind in program.classes().items():
        if LOSS.search(name) and not isinstance(module, kind):
            try:
                yield name, construct(program, kind).forward
            except Exception as error:
                program.trace.append(f"{name} could not be made: {type(error).__name__}: {error}")


def parts_for(
    loss: Callable[..., Any], found: Sequence[tuple[str, nn.Module]]
) -> dict[str, nn.Module]:
    """Parameter -> network of the program, for a loss that takes networks, ``elbo(x, encoder,
    decoder)``; {} unless two fit."""
    parts: dict[str, nn.Module] = {}
    for parameter in parameters_of(loss):
        word = PART.fullmatch(parameter.name.lower())
        fitting = [
            module for _, module in found if word and word[1] in type(module).__name__.lower()
        ]
        if fitting:
            parts[parameter.name] = fitting[0]
    return parts if len(parts) > 1 else {}


def call_with_parts(session: Session, loss: Callable[..., Any], parts: Mapping[str, nn.Module]) -> Any:
    """The loss of the batch, with the networks that it asks for."""
    rest = [p for p in parameters_of(loss) if p.default is p.empty and p.name not in parts]
    return loss(**parts, **dict(zip([p.name for p in rest], rest_of(session, rest), strict=True)))


def call_loss(
    session: Session, loss: Callable[..., Any], module: nn.Module, tree: ast.AST
) -> Any:
    """The loss of the model's outputs on the batch: what goes where is told by names, or by order
    for a tuple."""
    required = [p for p in parameters_of(loss) if p.default is p.empty]
    if required and re.search(r"model|net|vae|^m$", required[0].name):
        return loss(module, *rest_of(session, required[1:]))
    roles = [role_of(p.name) for p in required]
    of_rows = roles[:1] in (["x"], [""]) and not {"x", "recon", "mean", "raw"} & set(roles[1:])
    if of_rows and not hasattr(loss, "__wrapped__") and not OUTPUTS.search(required[0].name):
        return loss(session.batch.x.clone(), *rest_of(session, required[1:]))
    made = call_model(session.batch, module)
    whole = [
        p.name for p in required if OUTPUTS.search(p.name) or "dict" in str(p.annotation).lower()
    ]
    heads = [p.name for p in required if role_of(p.name) in ("mean", "raw")]
    if len(whole) == 1 and not heads and not isinstance(made, Tensor):
        rest = [p for p in required if p.name != whole[0]]
        given = rest_of(session, rest)
        if rest and not any(role_of(p.name) == "x" for p in rest):
            given[0] = session.batch.x.clone()
        return loss(**{whole[0]: made}, **dict(zip([p.name for p in rest], given, strict=True)))
    kept = [
        ("kl", v)
        for part in module.modules()
        for n, v in vars(part).items()
        if KL.search(n) and isinstance(v, Tensor)
    ]
    pairs, lineage = flat_outputs(made), [kind.__name__ for kind in type(module).__mro__]
    names = next(filter(None, (returned(tree, name) for name in lineage)), [])
    if len(names) == len(pairs) and not any(name for name, _ in pairs):
        pairs = [
            (name if role_of(name) in ("mean", "raw", "z") else "", value)
            for name, (_, value) in zip(names, pairs, strict=True)
        ]
    return loss_of(session, loss, [*pairs, *kept[:1]])
