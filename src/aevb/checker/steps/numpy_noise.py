"""Noise that a stranger's program draws with numpy: numpy's functions remember what they drew, the
tape finds it again."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
import torch

from aevb.checker.tape.entries import Entry
from aevb.checker.tape.tape import Tape

NORMAL = ("randn", "standard_normal", "normal")
UNIFORM = ("rand", "random", "random_sample", "uniform")
CONVERSIONS = {"tensor", "from_numpy", "as_tensor"}


class Drawn:
    """arrays: what numpy drew since ``forget``, with the function of torch that draws the like."""

    arrays: ClassVar[list[tuple[Callable[..., Any], tuple[float, float], Any]]] = []

    @classmethod
    def forget(cls) -> None:
        """Begin anew."""
        cls.arrays = []


def _remembering(
    function: Callable[..., Any], normal: bool, scaled: bool, skip: int = 0
) -> Callable[..., Any]:
    """skip: how many arguments come before those of the draw: 1 for a method of a class."""

    @functools.wraps(function)
    def draw(*args: Any, **kwargs: Any) -> Any:
        array = function(*args, **kwargs)
        given = args[skip:]
        loc, scale = (
            kwargs.get("loc", given[0] if given else 0.0),
            kwargs.get("scale", given[1] if len(given) > 1 else 1.0),
        )
        plain = (
            scaled and normal and isinstance(loc, float | int) and isinstance(scale, float | int)
        )
        if np.size(array) > 1 and (plain or not (scaled and normal)):
            shape = (float(loc), float(scale)) if plain else (0.0, 1.0)
            Drawn.arrays.append((torch.normal if normal else torch.rand, shape, np.array(array)))
        return array

    return draw


class RememberingGenerator:
    """One of numpy's generators, with the functions above."""

    def __init__(self, own: Any) -> None:
        self._own = own

    def __getattr__(self, name: str) -> Any:
        function = getattr(self._own, name)
        if name in NORMAL + UNIFORM:
            return _remembering(function, name in NORMAL, name in ("normal", "uniform"))
        return function


def install() -> None:
    """Make numpy's functions remember, for the rest of this process."""
    for name in NORMAL + UNIFORM:
        setattr(
            np.random,
            name,
            _remembering(getattr(np.random, name), name in NORMAL, name in ("normal", "uniform")),
        )
    make = np.random.default_rng
    np.random.default_rng = lambda *args, **kwargs: RememberingGenerator(make(*args, **kwargs))  # type: ignore[assignment]
    old = np.random.RandomState
    own = {}
    for name in NORMAL + UNIFORM:
        own[name] = _remembering(
            getattr(old, name), name in NORMAL, name in ("normal", "uniform"), skip=1
        )
    np.random.RandomState = type("RandomState", (old,), own)  # type: ignore


def adopt(tape: Tape) -> None:
    """Make calls of torch's random functions of those entries, or bare values, of the tape that
    hold what numpy drew."""
    for function, (loc, scale), array in Drawn.arrays:
        flat = torch.as_tensor(array, dtype=torch.float32).reshape(-1)
        for value, tensor in enumerate(tape.values):
            entry = tape.made_by(value)
            shown = tape.shown(value)
            if entry is not None and entry.name not in CONVERSIONS:
                continue
            if (
                not tensor.is_floating_point()
                or shown.numel() != flat.numel()
                or not torch.allclose(shown.reshape(-1).float(), flat)
            ):
                continue
            arguments = (
                ((loc, scale), {"size": shown.shape})
                if function is torch.normal
                else ((shown.shape,), {})
            )
            made = Entry(
                function, arguments, [], [value], tensor, False, entry.line if entry else None
            )
            tape.put(made)
