"""Measurements of the sampler: the moments of its noise, who shares it, and limits on the heads.

The fourth moment is taken over at least 10,000 numbers. For normal noise it is 3, with a standard
deviation of 0.05. The rules accuse at 10 standard deviations, so a false alarm is all but
impossible. Shared noise needs no statistics: it is equal everywhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from aevb.checker.tape.measure import filled, fit, z_at
from aevb.checker.tape.parts import NORMALISING
from aevb.checker.tape.tape import noise_of as constant_noise

if TYPE_CHECKING:
    from aevb.checker.evidence.evidence import Evidence

DRAWS = 10_000
FAR = -30.0
"""A raw head this low gives a deviation near 0 in every reading, unless something limits it."""


@dataclass(frozen=True)
class Noise:
    """Moments of the noise in z. shape: that of one draw.

    shared: "rows" if one vector serves all rows of the batch, "dimensions" if one number serves all
    ``dimensions`` of a row, otherwise "".
    """

    mean: float
    deviation: float
    fourth: float
    shape: tuple[int, ...]
    shared: str
    dimensions: int


def noise_of(e: Evidence) -> Noise:
    """Draw the noise anew and measure it."""
    noise = standardised(e, e.seed + 17, DRAWS)
    flat = noise[noise.isfinite()]
    centred = flat - flat.mean()
    second = centred.square().mean()
    fourth = float(centred.pow(4).mean() / second.square())
    eps = standardised(e, e.seed + 29, 1)[0]
    over_rows = next((axis for axis, size in enumerate(eps.shape) if size == e.rows), -1)
    others = [axis for axis, size in enumerate(eps.shape) if size > 1 and axis != over_rows]
    shared = ""
    if over_rows >= 0 and _constant_along(eps, over_rows):
        shared = "rows"
    elif others and _constant_along(eps, others[-1]):
        shared = "dimensions"
    dimensions = eps.shape[others[-1]] if others else 1
    return Noise(
        float(flat.mean()), float(second.sqrt()), fourth, tuple(eps.shape), shared, dimensions
    )


def standardised(e: Evidence, seed: int, numbers: int) -> Tensor:
    """At least ``numbers`` numbers of noise, by draws of z: (z - z without noise) / deviation."""
    n = e.parts.n
    low, high = (0.5, 1.5) if e.may_be_negative else (-1.0, 1.0)
    raw = low + (high - low) * torch.rand(n, generator=torch.Generator().manual_seed(seed))
    heads = {k: v.detach() for k, v in filled(e.tape, e.parts, torch.zeros(n), raw).items()}
    z = e.parts.z

    def at(value: float) -> Tensor:
        return e.tape.play(heads, [z], draw=constant_noise(value))[z].detach().double()

    middle, unit = at(0.0), (at(1.0) - at(-1.0)) / 2
    torch.manual_seed(seed)
    draws = max(1 + (numbers > 1), -(-numbers // middle.numel()))
    drawn = [e.tape.play(heads, [z], redraw=True)[z].detach().double() for _ in range(draws)]
    return torch.stack([(one - middle) / unit for one in drawn])


def _constant_along(eps: Tensor, axis: int) -> bool:
    gap = (eps - eps.narrow(axis, 0, 1)).abs()
    return bool(gap.nan_to_num().max() < 1e-3)


@dataclass
class Heads:
    """The layers whose outputs z is made of, and the calls between them and z."""

    e: Evidence

    @property
    def mean(self) -> int:
        """The number of the value that is the mean's head."""
        return self._root(self.e.parts.mean)

    @property
    def raw(self) -> int:
        """The number of the value that is the deviation's head."""
        return self._root(self.e.parts.raw)

    def _root(self, places: Tensor) -> int:
        return self.e.parts.roots[int(places[0, 0])] if len(places) else self.e.parts.z

    @cached_property
    def names(self) -> list[str]:
        """The program's names for the deviation's heads and their layers."""
        heads = {self.e.parts.roots[int(place)] for place in self.e.parts.raw[:, 0].unique()}
        return [word for head in heads for word in (self.e.named(head), self.e.layer(head))]

    @cached_property
    def shared(self) -> str:
        """The layer that gives both heads, by two calls on one input; or ""."""
        first, second = (self.e.tape.made_by(value) for value in (self.mean, self.raw))
        if first is None or second is None or first is second:
            return ""
        if (first.name, first.inputs) != (second.name, second.inputs):
            return ""
        return self.e.layer(second.outputs[0]) or first.name

    @cached_property
    def normalised(self) -> tuple[str, int] | None:
        """The name of a dropout or normalisation on a head, and the head; or None."""
        roots = self.e.parts.roots
        calls = zip(self.e.makers(roots), roots, strict=False)
        return next(((one.name, root) for one, root in calls if one.name in NORMALISING), None)

    @cached_property
    def span_of_mean(self) -> str:
        """The range to which something limits the mean of z; "" if the mean follows its head."""
        s = self.e.on_the_whole_line
        flat = s.m[s.m.isfinite()]
        if not flat.numel():
            return ""
        # Differences between settings: a class's code that is added to the mean cancels.
        moved, by = (s.m[1:] - s.m[:1]).reshape(-1), (s.a[1:] - s.a[:1]).reshape(-1)
        if fit(moved, [by])[1] < 1e-3:
            return ""
        return f"{float(flat.min()):.2f} to {float(flat.max()):.2f}"

    @cached_property
    def least_deviation(self) -> float:
        """The deviation of z at a raw head of FAR; 0 if the deviation may be negative."""
        e = self.e
        if e.may_be_negative:
            return 0.0
        n = e.parts.n
        heads = filled(e.tape, e.parts, torch.zeros(n), torch.full((n,), FAR))
        high, low = (z_at(e.tape, e.parts, heads, noise) for noise in (1.0, 0.0))
        return float((high - low).abs().mean())

    @cached_property
    def drawn_twice(self) -> bool:
        """Whether the noise is drawn with the mean and the deviation that z applies to it again."""
        e = self.e
        z = e.tape.shown(e.parts.z).double()
        for entry in e.parts.noise:
            if entry.function is not torch.normal or len(entry.inputs) != 2:
                continue
            values = (*entry.inputs, *entry.outputs)
            mean, deviation, drawn = (e.tape.shown(value).double() for value in values)
            again = drawn.shape == z.shape and torch.allclose(
                z, mean + deviation * drawn, atol=1e-5
            )
            if again and not torch.allclose(z, drawn):
                return True
        return False
