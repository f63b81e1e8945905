"""Modules of a stranger's program: made as it makes them, else with sizes chosen by the names of parameters."""

from __future__ import annotations

import inspect
import re
from collections.abc import Mapping
from functools import partial
from typing import Any

from torch import nn

from aevb.checker.guards import at_most
from aevb.checker.hints import channels
from aevb.checker.program import Program
from aevb.checker.source import calls, last_name
from aevb.checker.tape import unrecorded

DATA_DIM, LATENT, HIDDEN = 12, 5, 16
SIZES: list[tuple[str, Any]] = [
    (r"latent|z_dim|zdim|^z$|nz|code|bottleneck|embed|encoding", LATENT),
    (r"hidden_dims|hidden_sizes|layers|widths|layer_sizes", [HIDDEN, HIDDEN]),
    (r"hid|^h|h_dim|units|width|inter|enc_|dec_|mid|feature_dim", HIDDEN),
    (r"img_size|image_size|^size", 28),
    (r"input|data|in_dim|in_feat|x_dim|xdim|n_feat|features|out|obs|dim", DATA_DIM),
    (r"class|label|cond|n_y", 10),
    (r"dropout|^p$", 0.0),
    (r"beta|weight|gamma", 1.0),
    (r"device", "cpu"),
    (r"batch", 7),
    (r"lr|rate", 1e-3),
    (r"kernel", 3),
]


class Setting(int):
    """A size that may turn out to be a table of sizes: ``args.latent_dim``, ``config["model"]["hidden"]``."""

    def __getitem__(self, key: Any) -> Any:
        return size_of(str(key))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        return size_of(name)


def size_of(name: str, *first: tuple[str, Any]) -> Any:
    """What a parameter of that name is given."""
    value = next((value for pattern, value in (*first, *SIZES) if re.search(pattern, name.lower())), HIDDEN)
    return Setting(value) if type(value) is int else value


def construct(kind: type[nn.Module], channels: int = 1, others: Mapping[str, type[nn.Module]] | None = None) -> nn.Module:
    """A module of the class, with sizes chosen by the names of its parameters. Raises what the class raises.

    others: classes of which one is meant where a parameter is called "encoder" or "decoder", by name.
    """
    settings: dict[str, Any] = {}
    for name, parameter in inspect.signature(kind.__init__).parameters.items():
        if name == "self" or parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        if parameter.default is not parameter.empty:
            continue
        part = _part_of(name, kind, others or {})
        given = (r"channel|in_ch|^nc$|img_ch", channels)
        settings[name] = size_of(name, given) if part is None else construct(part, channels)
    with unrecorded():
        return kind(**settings)


def _part_of(name: str, kind: type[nn.Module], others: Mapping[str, type[nn.Module]]) -> type[nn.Module] | None:
    """The class that a parameter such as ``encoder`` or ``dec`` takes an object of."""
    word = re.fullmatch(r"_?(enc|dec)(oder)?(_net|_model)?", name.lower())
    fitting = [other for title, other in others.items() if word and word[1] in title.lower() and other is not kind]
    return fitting[0] if fitting else None


def models(program: Program) -> list[tuple[str, nn.Module]]:
    """The program's modules, made as it makes them, or by guess; one of each class, those that are parts of others last."""
    made = program.modules()
    known = {type(module).__name__ for _, module in made}
    inner = {type(m).__name__ for _, module in made for m in module.modules() if m is not module}
    for name, kind in reversed(program.classes().items()):
        if name in known | inner or issubclass(kind, nn.modules.loss._Loss):
            continue
        try:
            with at_most(5):
                module = program.run(partial(_made, program, kind, name))
        except Exception as error:
            program.note(f"{name} could not be made: {type(error).__name__}: {error}")
            continue
        inner |= {type(m).__name__ for m in module.modules() if m is not module}
        made.append((name, module))
    return [pair for pair in made if type(pair[1]).__name__ not in inner]


def _made(program: Program, kind: type[nn.Module], name: str) -> nn.Module:
    for call in calls(program.source.tree):
        if last_name(call.func) == name:
            try:
                module = program.evaluate(call)
            except NameError:
                raise
            except Exception as error:
                program.note(f"line {call.lineno}: {name} could not be made: {type(error).__name__}: {error}")
                continue
            if isinstance(module, nn.Module):
                return module
    return construct(kind, channels(program.source.text), program.classes())
