r"""Numbers off the tape: the sampler's mean and deviation, its gradients, the KL's gradient, the
reconstruction's.

The KL is what the loss owes to the heads while the decoder's output is held still. Its gradient
with respect to each element is compared with that of the right one for the sampler's own mean m and
deviation s,

    KL = sum 1/2 (m^2 + s^2 - 1 - log s^2),

whatever the head means: logvar, log sigma, a softplus. A Monte-Carlo KL is averaged over the noise
by Gauss-Hermite quadrature with nodes 0, -sqrt(3), sqrt(3) and weights 2/3, 1/6, 1/6, exact for it,
since it is quadratic in the noise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from aevb.checker.tape.entries import Entry
from aevb.checker.tape.parts import Parts, values_of_parameters
from aevb.checker.tape.parts import is_layer as _is_layer
from aevb.checker.tape.tape import Tape

NODES = ((0.0, 2 / 3), (-(3**0.5), 1 / 6), (3**0.5, 1 / 6))
POINTS = 4
"""How many settings of all heads a fit uses."""


@dataclass(frozen=True)
class Sampled:
    """What the sampler does with mean element a and raw element r, each (P, n): mean m and
    deviation s of z.

    linear: whether z is m + s * eps. flows_to_mean, flows_to_raw: whether a gradient goes through z
    to either.
    """

    a: Tensor
    r: Tensor
    m: Tensor
    s: Tensor
    linear: bool
    flows_to_mean: bool
    flows_to_raw: bool


@dataclass(frozen=True)
class Slopes:
    """Gradients with respect to the mean and the raw elements, a vector each of P * n, and the
    settings of both."""

    a: Tensor
    r: Tensor
    by_a: Tensor
    by_r: Tensor

    @property
    def both(self) -> Tensor:
        """(2 P n,)"""
        return torch.cat([self.by_a, self.by_r])


def filled(tape: Tape, parts: Parts, a: Tensor, r: Tensor) -> dict[int, Tensor]:
    """The roots with their n mean elements set to a and their n deviation elements to r,
    differentiable in both."""
    out = {}
    for index, root in enumerate(parts.roots):
        tensor = tape.shown(root).detach().clone().reshape(-1)
        for places, values in ((parts.mean, a), (parts.raw, r)):
            own = (places[:, 0] == index).nonzero().reshape(-1)
            if len(own):
                tensor = tensor.index_put((places[own, 1],), values[own].to(tensor.dtype))
        out[root] = tensor.reshape(tape.shown(root).shape)
    return out


def settings(n: int, low: float, high: float, seed: int) -> list[tuple[Tensor, Tensor]]:
    """POINTS pairs of mean and raw elements: means in [-2, 2], raw in [low, high]."""
    generator = torch.Generator().manual_seed(seed)
    uniform = torch.rand(POINTS, 2, n, generator=generator)
    return [(4 * a - 2, low + (high - low) * r) for a, r in uniform]


def noise_of(value: float) -> Callable[[Entry, Tensor], Tensor]:
    """Noise that is ``value`` everywhere."""
    return lambda _, like: like.fill_(value)


def z_at(
    tape: Tape, parts: Parts, heads: dict[int, Tensor], noise: float, *, transparent: bool = True
) -> Tensor:
    """The first n elements of z for the given roots and noise."""
    z = tape.play(heads, [parts.z], transparent=transparent, draw=noise_of(noise))[parts.z]
    return z.reshape(-1)[: parts.n]


def sampled(tape: Tape, parts: Parts, points: list[tuple[Tensor, Tensor]]) -> Sampled:
    """Measure the sampler at the given settings."""
    means, deviations, linear = [], [], True
    for a, r in points:
        heads = filled(tape, parts, a, r)
        at = {e: z_at(tape, parts, heads, e).detach().double() for e in (0.0, 1.0, -1.0, 2.0)}
        s = (at[1.0] - at[-1.0]) / 2
        gap = (at[2.0] - at[0.0] - 2 * s).abs()
        linear &= bool(
            (gap <= 1e-3 * (s.abs() + at[0.0].abs() + 1e-3)).logical_or(gap.isnan()).all()
        )
        means.append(at[0.0])
        deviations.append(s)
    a, r = points[0][0].clone().requires_grad_(), points[0][1].clone().requires_grad_()
    # Seen where z has entered the decoder: it may be cut on its way there.
    entered = tape.play(filled(tape, parts, a, r), parts.entrances, draw=noise_of(1.0))
    total = torch.stack(
        [
            (one.float() * torch.rand(one.shape, generator=_generator())).sum()
            for one in entered.values()
        ]
    ).sum()
    slopes = (
        torch.autograd.grad(total, [a, r], allow_unused=True)
        if total.requires_grad
        else (None, None)
    )
    reaches = [g is not None and bool((g.abs() > 1e-7).any()) for g in slopes]
    return Sampled(
        torch.stack([p[0] for p in points]).double(), torch.stack([p[1] for p in points]).double(),
        torch.stack(means), torch.stack(deviations), linear, reaches[0], reaches[1],
    )  # fmt: skip


def _generator() -> torch.Generator:
    return torch.Generator().manual_seed(3)


def slopes_of(
    points: list[tuple[Tensor, Tensor]], value: Callable[[Tensor, Tensor], Tensor]
) -> Slopes:
    """Gradients of ``value(a, r)``, () or summed, at each setting."""
    by_a: list[Tensor] = []
    by_r: list[Tensor] = []
    for a0, r0 in points:
        a, r = a0.clone().requires_grad_(), r0.clone().requires_grad_()
        total = value(a, r).sum()
        grads = (
            torch.autograd.grad(total, [a, r], allow_unused=True)
            if total.requires_grad
            else (None, None)
        )
        for out, grad, like in ((by_a, grads[0], a), (by_r, grads[1], r)):
            out.append(torch.zeros_like(like).double() if grad is None else grad.double())
    return Slopes(
        torch.cat([p[0] for p in points]).double(),
        torch.cat([p[1] for p in points]).double(),
        torch.cat(by_a),
        torch.cat(by_r),
    )


def kl_slopes(
    tape: Tape,
    parts: Parts,
    value: int,
    points: list[tuple[Tensor, Tensor]],
    *,
    transparent: bool = True,
) -> Slopes:
    """Gradients of a value of the tape (the loss) with respect to the heads, the decoder held
    still, noise averaged."""
    still = {v: tape.shown(v) for v in parts.entrances}
    drawn = [v for one in parts.noise for v in one.outputs]
    nodes = NODES if value in tape.dependents(drawn, stop=parts.entrances) else ((0.0, 1.0),)

    def averaged(a: Tensor, r: Tensor) -> Tensor:
        total = torch.zeros(())
        for node, weight in nodes:
            heads = filled(tape, parts, a, r)
            played = tape.play(
                {**still, **heads}, [value], transparent=transparent, draw=noise_of(node)
            )[value]
            total = total + weight * played.sum()
        return total

    return slopes_of(points, averaged)


def right_kl_slopes(
    tape: Tape, parts: Parts, points: list[tuple[Tensor, Tensor]], *, moved: bool = True
) -> Slopes:
    """Gradients of the right KL of the sampler's own mean and deviation. moved: the mean with what
    else is added to it."""

    def right(a: Tensor, r: Tensor) -> Tensor:
        heads = filled(tape, parts, a, r)
        m = z_at(tape, parts, heads, 0.0)
        s = z_at(tape, parts, heads, 1.0) - m
        if not moved:
            m = m - z_at(tape, parts, filled(tape, parts, torch.zeros_like(a), r), 0.0).detach()
        return 0.5 * (m.square() + s.square() - s.square().log())

    return slopes_of(points, right)


def ratio(of: Tensor, to: Tensor) -> tuple[float, float]:
    """c such that of = c * to in least squares, and the relative residual; where either is not
    finite, it is left out."""
    keep = of.isfinite() & to.isfinite()
    of, to = of[keep], to[keep]
    size, norm = float(to.square().sum()), float(of.square().sum())
    if size == 0 or norm == 0:
        return 0.0, 1.0 if norm else 0.0
    c = float((of * to).sum()) / size
    return c, float((of - c * to).square().sum() / norm) ** 0.5


def fit(of: Tensor, to: list[Tensor]) -> tuple[list[float], float]:
    """Coefficients of least squares and the relative residual."""
    columns = torch.stack(to, 1)
    keep = of.isfinite() & columns.isfinite().all(1)
    if int(keep.sum()) < 2 * len(to):
        return [0.0] * len(to), 1.0
    of, columns = of[keep], columns[keep]
    scale = columns.square().mean(0).sqrt().clamp(min=1e-12)
    solution = torch.linalg.lstsq(
        columns / scale, of.unsqueeze(1), driver="gelsd"
    ).solution.squeeze(1)
    residual = float((columns / scale @ solution - of).norm() / of.norm().clamp(min=1e-30))
    return [float(c) for c in solution / scale], residual


def outputs_of_decoder(tape: Tape, parts: Parts, loss: int) -> list[int]:
    """Outputs of layers that follow z and from which the loss is reached through no further layer."""
    of_parameters = values_of_parameters(tape)
    layers = {v for e in tape.entries if _is_layer(e, of_parameters) for v in e.outputs}
    downstream = tape.dependents(parts.entrances) & layers
    needed = tape.ancestors(loss)
    last = []
    for value in sorted(downstream & needed):
        others = layers - {value}
        if loss in tape.dependents([value], stop=others):
            last.append(value)
    return last


@dataclass(frozen=True)
class Reconstruction:
    """How the loss reads the decoder's output: error "squared" or "cross-entropy", after
    ``activation``.

    weight: of one element's error. targets: what the output is held against, flat. output: the
    value on the tape.
    """

    error: str
    activation: str
    weight: float
    targets: Tensor
    output: int


ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "none": lambda u: u * 1.0,
    "sigmoid": torch.sigmoid,
    "tanh": torch.tanh,
    "sigmoid twice": lambda u: torch.sigmoid(torch.sigmoid(u)),
    "relu": torch.relu,
    "softplus": torch.nn.functional.softplus,
    "shifted tanh": lambda u: (torch.tanh(u) + 1) / 2,
}


def _error_slopes(
    tape: Tape, value: int, output: int, seed: int
) -> tuple[list[Tensor], list[Tensor]]:
    """Two settings of the output, flat, and the gradients of the value's sum there."""
    generator = torch.Generator().manual_seed(seed)
    # Between 0 and 1, where logarithms of a bare output exist too.
    draws = [
        0.05 + 0.9 * torch.rand(tape.shown(output).shape, generator=generator) for _ in range(2)
    ]
    slopes = []
    for u0 in draws:
        u = u0.clone().requires_grad_()
        total = tape.play({output: u}, [value], transparent=True)[value].sum()
        (slope,) = (
            torch.autograd.grad(total, u, allow_unused=True) if total.requires_grad else (None,)
        )
        slopes.append(
            torch.zeros(u.numel()).double() if slope is None else slope.double().reshape(-1)
        )
    return [u.double().reshape(-1) for u in draws], slopes


def reconstruction(tape: Tape, loss: int, output: int, seed: int) -> Reconstruction | None:
    """Recognise the reconstruction error by its gradient at the decoder's output; None if it is
    none of these."""
    flat, slopes = _error_slopes(tape, loss, output, seed)
    best: tuple[float, Reconstruction] | None = None
    for name, activation in ACTIVATIONS.items():
        for error in ("squared", "cross-entropy"):
            found = _recognised(error, activation, flat, slopes)
            # A sigmoid of what lies in [0, 1] is nearly a line: the closest form is the one, not
            # the first that is close.
            if found and (best is None or found[2] < best[0]):
                best = found[2], Reconstruction(error, name, found[0], found[1], output)
    return best[1] if best else None


def weight_at(tape: Tape, value: int, seen: Reconstruction, seed: int) -> float:
    """The weight of one element's error, of the form already seen, in the sum of another value; 0
    if it is not of that form."""
    draws, slopes = _error_slopes(tape, value, seen.output, seed)
    found = _recognised(
        seen.error, ACTIVATIONS.get(seen.activation, ACTIVATIONS["none"]), draws, slopes
    )
    return found[0] if found else 0.0


def factor_at(tape: Tape, value: int, seen: Reconstruction, seed: int) -> float:
    """What the output, after its activation, is multiplied by in a value of its size; 0 where that
    is no one number."""
    draws, slopes = _error_slopes(tape, value, seen.output, seed)
    factors = []
    for u0, g in zip(draws, slopes, strict=True):
        u = u0.clone().requires_grad_()
        (slope,) = torch.autograd.grad(
            ACTIVATIONS.get(seen.activation, ACTIVATIONS["none"])(u).sum(), u
        )
        factors.append(g / slope)
    both = torch.cat(factors)
    return (
        float(both.mean())
        if bool((both - both.mean()).abs().max() < 1e-3 * both.abs().max())
        else 0.0
    )


def _recognised(
    error: str, activation: Callable[[Tensor], Tensor], draws: list[Tensor], slopes: list[Tensor]
) -> tuple[float, Tensor, float] | None:
    v, h = [], []
    for u0, g in zip(draws, slopes, strict=True):
        u = u0.clone().requires_grad_()
        value = activation(u)
        (slope,) = torch.autograd.grad(value.sum(), u)
        value = value.detach()
        h.append(g / slope * (0.5 if error == "squared" else value * (1 - value)))
        v.append(value)
    weight, residual = ratio(h[0] - h[1], v[0] - v[1])
    if residual > 1e-2 or abs(weight) < 1e-12:
        return None
    return weight, v[0] - h[0] / weight, residual


def reachable(tape: Tape, loss: int, starts: Iterable[int], closed: Iterable[int]) -> list[int]:
    """Values between ``starts`` and the loss that do not depend on ``closed``, in the order they
    were made, the loss last."""
    shut = tape.dependents(closed)
    return sorted((tape.dependents(starts) & tape.ancestors(loss)) - shut - set(starts))
