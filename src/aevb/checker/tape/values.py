"""Tensors in the arguments of calls: found, replaced by references, kept on the CPU; and one call
that must not fail."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class Ref:
    """Stands for a tensor among the arguments of an entry. value: its number."""

    value: int


def binary_cross_entropy(
    input: Tensor,
    target: Tensor,
    weight: Tensor | None = None,
    size_average: bool | None = None,
    reduce: bool | None = None,
    reduction: str = "mean",
) -> Tensor:
    """torch's function of that name, for inputs and targets outside [0, 1] too: those are to be
    seen and named, not to fail."""
    if size_average is not None or reduce is not None:
        reduction = nn._reduction.legacy_get_string(size_average, reduce)
    if input.shape != target.shape:
        raise ValueError(
            f"binary cross-entropy of shapes {tuple(input.shape)} and {tuple(target.shape)}"
        )
    p = input.clamp(1e-12, 1 - 1e-7)
    error = -(target * p.log() + (1 - target) * (1 - p).log())
    error = error if weight is None else error * weight
    return error if reduction == "none" else error.mean() if reduction == "mean" else error.sum()


def tensors(tree: Any) -> Iterable[Tensor]:
    """All tensors in nested tuples, lists and dictionaries, in order."""
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, tuple | list):
        for item in tree:
            yield from tensors(item)
    elif isinstance(tree, dict):
        for item in tree.values():
            yield from tensors(item)


def mapped(tree: Any, change: Callable[[Any], Any]) -> Any:
    """A copy of the tree with ``change`` applied to its tensors, or to the references that stand
    for them."""
    if isinstance(tree, Tensor | Ref):
        return change(tree)
    if isinstance(tree, tuple) and hasattr(tree, "_fields"):
        return type(tree)(*(mapped(item, change) for item in tree))
    if isinstance(tree, tuple | list):
        return (
            type(tree)(mapped(item, change) for item in tree)
            if type(tree) in (tuple, list)
            else tree
        )
    if isinstance(tree, dict):
        return {key: mapped(item, change) for key, item in tree.items()}
    return tree


def on_cpu(
    func: Callable[..., Any], args: Any, kwargs: dict[str, Any]
) -> tuple[Any, dict[str, Any]]:
    """The same call, on the CPU: strangers' programs name devices that are not here."""
    if "device" in kwargs and kwargs["device"] is not None:
        kwargs["device"] = "cpu"
    if func is Tensor.to and len(args) > 1:
        args = tuple("cpu" if _names_a_device(arg) else arg for arg in args)
    return args, kwargs


def _names_a_device(value: Any) -> bool:
    return isinstance(value, torch.device) or (
        isinstance(value, str) and value.split(":")[0] in ("cuda", "mps", "xpu", "cpu")
    )


def flat_outputs(outputs: Any) -> list[tuple[str, Any]]:
    """(name or "", value) of what a model returned: tuples, lists, dictionaries, dataclasses, named
    tuples, objects."""
    if isinstance(outputs, Tensor) or outputs is None:
        return [("", outputs)]
    if dataclasses.is_dataclass(outputs) and not isinstance(outputs, type):
        return [(f.name, getattr(outputs, f.name)) for f in dataclasses.fields(outputs)]
    if isinstance(outputs, dict):
        return [(str(k), v) for k, v in outputs.items()]
    if isinstance(outputs, tuple) and hasattr(outputs, "_fields"):
        return list(zip(outputs._fields, outputs, strict=True))
    if isinstance(outputs, tuple | list):
        return [
            pair
            for value in outputs
            for pair in (flat_outputs(value) if isinstance(value, tuple | list) else [("", value)])
        ]
    return [("", outputs)]


def loss_in(result: Any) -> Tensor | None:
    """The scalar to differentiate in what was returned: itself, the one called loss, the first of
    several."""
    if isinstance(result, Tensor):
        return result if result.numel() == 1 else None
    named = [(n.lower(), v) for n, v in flat_outputs(result)] + [
        (n.lower(), getattr(result, n))
        for n in ("loss", "total_loss")
        if isinstance(getattr(result, n, None), Tensor)
    ]
    scalars = [
        (n, v)
        for n, v in named
        if isinstance(v, Tensor) and v.numel() == 1 and v.is_floating_point()
    ]
    for wanted in ("loss", "total_loss", "total", "elbo", "neg_elbo", "nelbo", "objective"):
        for name, value in scalars:
            if name == wanted:
                return value
    return scalars[0][1] if scalars else None


def sum_of_rows(result: Any) -> Tensor | None:
    """The sum of a loss that has a number for each row, (B,) or (B, 1)."""
    plain = isinstance(result, Tensor) and result.is_floating_point() and result.requires_grad
    return result.sum() if plain and result.ndim and result.numel() == len(result) else None
