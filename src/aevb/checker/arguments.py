"""What to call a stranger's functions with: by the names of their parameters, and by what a tensor is."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from aevb.checker.hints import data_range
from aevb.checker.making import bare_object, construct
from aevb.checker.names import role_of as role_of
from aevb.checker.program import Program
from aevb.checker.sizes import SIZES
from aevb.checker.source import calls, last_name, looped_over, returned
from aevb.checker.stand_ins import STRANGER, Batch, FakeLoader, FakeOptimizer, StandIn
from aevb.checker.tape import unrecorded
from aevb.checker.values import flat_outputs

NUMBERS: list[tuple[str, Any]] = [
    (r"beta|weight|lambda|alpha|gamma|coef|anneal|_scale$|factor", 1.0),
    (r"_(idx|index)$", 0),
    (r"^(fn|func|callback)$|perceptual_?(fn|net|loss)", None),
    (r"criterion|loss_?f(n|unc)|reconstruction_function|^(bce|mse)(_?loss)?$", partial(F.mse_loss, reduction="sum")),
    (r"epoch|step|iter", 1_000),
    (r"kwargs", None),
]
ROWS_OF_DATA = r"x|xs|rows|records|x_?train|features?|data|train_?data|inputs?|train_?x|dataset|samples|embeddings"
LABELS = re.compile(r"^y$|label|class|target|digit")
"""What a model calls the numbers of classes."""
OUTPUTS = re.compile(r"^(model_?)?(out|outs|outputs?|res|results?|ret|preds?|forward_ret)$|_outputs?$")
"""What a loss calls all that a model returned."""


def rows(program: Program, count: int, shape: tuple[int, ...], numbers: str = "") -> Tensor:
    """A batch of random rows in the range of the program's data. numbers: "tokens", small whole ones; "double"; else float."""
    if numbers == "tokens":
        return torch.randint(0, 10, (count, *shape[:1]))
    uniform = 0.02 + 0.96 * torch.rand(count, *shape, dtype=torch.double if numbers == "double" else torch.float)
    kind = data_range(program)
    if kind == "symmetric":
        return 2 * uniform - 1
    if kind == "bytes":
        return (255 * uniform).round()
    return torch.randn_like(uniform) * 1.3 if kind == "real" else uniform


def for_function(program: Program, function: Callable[..., Any]) -> dict[str, Any]:
    """Arguments for a function that trains: its model, loaders and the rest by name, as the program would have them."""
    out: dict[str, Any] = {}
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if parameter.default not in (parameter.empty, None) and not re.search(r"epoch|step", name):
            continue
        with unrecorded():
            value = FakeLoader() if name in looped_over(program.source.tree, function.__name__) else program.get(name)
            if isinstance(value, StandIn) and not isinstance(value, FakeOptimizer):
                given = _as_called(program, function.__name__, len(out), name)
                value = value if given is None else given
            if isinstance(value, StandIn) and re.fullmatch(ROWS_OF_DATA, name.lower()):
                value = Batch.x.clone()
            if isinstance(value, StandIn) and not isinstance(value, FakeOptimizer):
                value = next((v for pattern, v in NUMBERS[:4] + SIZES if re.search(pattern, name.lower())), value)
        if isinstance(value, StandIn) and parameter.default is not parameter.empty and not re.search("^opt|optim", name):
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
            program.trace.append(f"line {call.lineno}: the argument {name} could not be made: {type(error).__name__}: {error}")
    return None


def _further(name: str, labels: Tensor, module: nn.Module) -> Any:
    """What a model gets besides the batch: a graph's adjacency, lengths of sequences, a mask, numbers as wide as its
    attribute says that they are (``action``, ``action_dim``); else labels."""
    name = name.lower()
    if re.search(r"^adj|_adj$|^a_hat$", name):
        return torch.eye(len(Batch.x))
    if re.search(r"len(gth)?s?$|lens?_|lengths?_", name):
        length = Batch.x.shape[1] if Batch.x.ndim > 1 else 1
        return length if re.search(r"seq_?len|max_?len|out_?len", name) else torch.full((len(Batch.x),), length)
    said = (
        getattr(module, form.format(name), None) for form in ("{}_dim", "{}_size", "dim_{}", "n_{}", "num_{}", "{}_features")
    )
    width = next((int(one) for one in said if isinstance(one, int) and one > 1), 0)
    if width and labels.ndim < 2 and not LABELS.search(name):
        return torch.rand(len(Batch.x), width)
    return torch.ones_like(Batch.x) if "mask" in name else labels


def call_model(module: nn.Module, method: str = "forward") -> Any:
    """The module on the batch; further parameters get labels, or what their names say."""
    target = module if method == "forward" else getattr(module, method)
    parameters = list(inspect.signature(getattr(module, method)).parameters.values())
    failures: list[Exception] = []
    named = [p for p in parameters if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]
    for labels in (Batch.y, F.one_hot(Batch.y.long().reshape(-1), 10).float()):
        values = [Batch.x.clone()]
        if named:
            values += [_further(p.name, labels, module) for p in named[1:] if p.default is p.empty]
        elif failures or labels is not Batch.y:  # forward(*inputs)
            values.append(Batch.y)
        try:
            return target(*values)
        except NameError:
            raise
        except Exception as error:
            failures.append(error)
    try:
        return target({"data": Batch.x.clone()})
    except Exception:
        raise _both(failures if named else failures[::-1]) from None


def _both(failures: list[Exception]) -> Exception:
    """The first failure, with what the second says if that is something else: either may tell the size that was wanted."""
    first, second = failures
    return first if str(second) == str(first) else type(first)(f"{first}; with labels one-hot: {second}")


ASKED_FOR = 0.37
"""The value of a weight that the program takes from outside: no number of rows or dimensions."""
LOSS = re.compile(r"loss|elbo|criterion|objective|nll|free_energy|cost", re.IGNORECASE)
KL = re.compile(r"kl|divergence|latent_loss|regulari", re.IGNORECASE)


def loss_functions(program: Program, module: nn.Module) -> Iterator[tuple[str, Callable[..., Any]]]:
    """Functions and methods that sound like the whole loss, methods of the model first, then functions, then loss modules."""
    for name in filter(LOSS.search, dir(type(module))):
        function = getattr(type(module), name, None)
        own = getattr(function, "__code__", None)
        if callable(function) and own is not None and own.co_filename == STRANGER:
            yield f"{type(module).__name__}.{name}", getattr(module, name)
    yield from ((name, function) for name, function in program.functions().items() if LOSS.search(name))
    for owner, kind in program.plain_classes().items():
        own = [name for name, function in vars(kind).items() if LOSS.search(name) and inspect.isroutine(function)]
        yield from ((f"{owner}.{name}", getattr(bare_object(kind), name)) for name in own)
    for name, kind in program.classes().items():
        if LOSS.search(name) and not isinstance(module, kind):
            try:
                yield name, construct(kind).forward
            except Exception as error:
                program.trace.append(f"{name} could not be made: {type(error).__name__}: {error}")


def parameters_of(function: Callable[..., Any]) -> list[inspect.Parameter]:
    """Its parameters, without ``*args`` and ``**kwargs``."""
    return [p for p in inspect.signature(function).parameters.values() if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD)]


def call_loss(loss: Callable[..., Any], module: nn.Module, tree: ast.AST) -> Any:
    """The loss of the model's outputs on the batch: what goes where is told by names, or by order for a tuple."""
    required = [p for p in parameters_of(loss) if p.default is p.empty]
    if required and re.search(r"model|net|vae|^m$", required[0].name):
        return loss(module, *_rest(required[1:]))
    roles = [role_of(p.name) for p in required]
    of_rows = roles[:1] in (["x"], [""]) and not {"x", "recon", "mean", "raw"} & set(roles[1:])
    if of_rows and not hasattr(loss, "__wrapped__") and not OUTPUTS.search(required[0].name):
        return loss(Batch.x.clone(), *_rest(required[1:]))
    made = call_model(module)
    whole = [p.name for p in required if OUTPUTS.search(p.name) or "dict" in str(p.annotation).lower()]
    heads = [p.name for p in required if role_of(p.name) in ("mean", "raw")]
    if len(whole) == 1 and not heads and not isinstance(made, Tensor):
        rest = [p for p in required if p.name != whole[0]]
        given = _rest(rest)
        if rest and not any(role_of(p.name) == "x" for p in rest):
            given[0] = Batch.x.clone()
        return loss(**{whole[0]: made}, **dict(zip([p.name for p in rest], given, strict=True)))
    kept = [("kl", v) for part in module.modules() for n, v in vars(part).items() if KL.search(n) and isinstance(v, Tensor)]
    pairs, lineage = flat_outputs(made), [kind.__name__ for kind in type(module).__mro__]
    names = next(filter(None, (returned(tree, name) for name in lineage)), [])
    if len(names) == len(pairs) and not any(name for name, _ in pairs):
        pairs = [
            (name if role_of(name) in ("mean", "raw", "z") else "", value)
            for name, (_, value) in zip(names, pairs, strict=True)
        ]
    return loss_of(loss, [*pairs, *kept[:1]])


def loss_of(loss: Callable[..., Any], pairs: list[tuple[str, Any]]) -> Any:
    """The loss of (name or "", value) pairs that a model returned."""
    required = [p for p in parameters_of(loss) if p.default is p.empty]
    settings: dict[str, float] = {}
    while True:
        try:
            return loss(**_matched(required, pairs), **settings) if required else loss(*_spread(pairs), **settings)
        except KeyError as error:  # a weight that the loss looks for among its **kwargs
            key = error.args[0] if error.args else None
            if not isinstance(key, str) or key in settings or len(settings) > 3:
                raise
            settings[key] = ASKED_FOR


def _rest(parameters: list[inspect.Parameter]) -> list[Any]:
    return [Batch.x.clone() if role_of(p.name) == "x" else _number(p.name) for p in parameters]


def _number(name: str) -> Any:
    return next((v for pattern, v in NUMBERS if re.search(pattern, name.lower())), Batch.y.clone())


def _spread(pairs: list[tuple[str, Any]]) -> list[Any]:
    """For ``loss(*args)``: the outputs as they come where the input is among them, else the input after the first."""
    values = [value for _, value in pairs]
    if any(isinstance(v, Tensor) and v.shape == Batch.x.shape and torch.equal(v, Batch.x) for v in values):
        return values
    return [values[0], Batch.x.clone(), *(v for v in values[1:] if v is not None)]


def _matched(parameters: list[inspect.Parameter], pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Values for the parameters: by the outputs' own names, else in the order reconstruction, mean, spread."""
    recons, x = _compared([value for _, value in pairs if isinstance(value, Tensor)])
    roles = _roles(pairs, recons, x)
    names = [parameter.name for parameter in parameters]
    own = [role_of(name) for name in names]
    # One name that says nothing, beside those that do: the reconstruction or what it is held against.
    left = "recon" if "x" in own else "x"
    known = {names[own.index("")]: left} if own.count("") == 1 and left not in own and {"mean", "raw"} <= set(own) else {}
    values = {}
    for place, name in enumerate(names):
        role = known.get(name) or role_of(name)
        if role == "x" and any(role_of(earlier) == "x" for earlier in names[:place]):
            role = "recon"
        value = recons.pop(0) if role == "recon" and len(recons) > 1 else roles.get(role)
        if value is None and any(name in other and other != name and role_of(other) == "recon" for other in names):
            value = roles["x"]  # what recon_{name} is held against
        values[name] = _number(name) if value is None else value
    return values


def _compared(outputs: list[Tensor]) -> tuple[list[Tensor], Tensor]:
    """What may be reconstructions among a model's outputs, and the batch; of other channels, one that has theirs."""
    x = Batch.x.clone()
    recons = [v for v in outputs if v.numel() == x.numel()]
    if not recons and not x.is_floating_point():  # of tokens, numbers for each of the words
        recons = [v for v in outputs if v.ndim == x.ndim + 1 and v.shape[: x.ndim] == x.shape]
    if not recons and outputs and outputs[0].ndim == x.ndim > 2:
        recons, x = outputs[:1], outputs[0].detach().clone().uniform_(0.02, 0.98)
    return recons, x


def _roles(pairs: list[tuple[str, Any]], recons: list[Tensor], x: Tensor) -> dict[str, Any]:
    """Role -> what plays it."""
    left = [(role_of(name) if name else "", value) for name, value in pairs]
    recon = recons[0] if recons else None
    roles: dict[str, Any] = {"x": x, "recon": recon}
    others = [value for role, value in left if value is not recon and value is not None and role != "kl"]
    heads = [v for v in others if isinstance(v, Tensor) and v.ndim > 0 and v.numel() < 4 * x.numel()]
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
