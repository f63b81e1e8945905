"""The values that a model or a step returned, with their names, and the loss among them."""

from __future__ import annotations

import dataclasses
from typing import Any

from torch import Tensor

LOSSES = ("loss", "total_loss", "total", "elbo", "neg_elbo", "nelbo", "objective")


def flat_outputs(outputs: Any) -> list[tuple[str, Any]]:
    """(name or "", value) of tuples, lists, dictionaries, dataclasses, named tuples, objects."""
    if dataclasses.is_dataclass(outputs) and not isinstance(outputs, type):
        return [(one.name, getattr(outputs, one.name)) for one in dataclasses.fields(outputs)]
    if isinstance(outputs, dict):
        return [(str(name), value) for name, value in outputs.items()]
    if isinstance(outputs, tuple) and hasattr(outputs, "_fields"):
        return list(zip(outputs._fields, outputs, strict=True))
    if isinstance(outputs, tuple | list):
        flat: list[tuple[str, Any]] = []
        for value in outputs:
            flat += flat_outputs(value) if isinstance(value, tuple | list) else [("", value)]
        return flat
    return [("", outputs)]


def loss_in(result: Any) -> Tensor | None:
    """Find the scalar to differentiate: the result, the value called loss, or the first one."""
    if isinstance(result, Tensor):
        return result if result.numel() == 1 else None
    attributes = [(name, getattr(result, name, None)) for name in ("loss", "total_loss")]
    named = [*flat_outputs(result), *attributes]
    scalars = [(name.lower(), value) for name, value in named if _is_scalar(value)]
    by_name = dict(reversed(scalars))  # of two with one name the first counts
    found = [by_name[name] for name in LOSSES if name in by_name]
    return next(iter([*found, *(value for _, value in scalars)]), None)


def _is_scalar(value: Any) -> bool:
    return isinstance(value, Tensor) and value.numel() == 1 and value.is_floating_point()


def sum_of_rows(result: Any) -> Tensor | None:
    """The sum of a loss that has a number for each row, (B,) or (B, 1)."""
    plain = isinstance(result, Tensor) and result.is_floating_point() and result.requires_grad
    return result.sum() if plain and result.ndim and result.numel() == len(result) else None
