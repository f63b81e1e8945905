r"""Measure the sampler, the KL and the reconstruction error by playing the tape with other values.

With the decoder's output held constant, the heads change only the KL in the loss. The gradient with
respect to the heads is compared with that of the right KL for the sampler's mean m and standard
deviation s,

    KL = sum 1/2 (m^2 + s^2 - 1 - log s^2),

which holds for any reading of the heads. A Monte-Carlo KL is averaged over the noise by
Gauss-Hermite quadrature with nodes 0, -sqrt(3), sqrt(3) and weights 2/3, 1/6, 1/6. That is exact,
since a Monte-Carlo KL is quadratic in the noise.

Many functions share arguments. tape, parts: the step, and the VAE on it. a, r: settings of the n
mean elements and the n raw (deviation) elements of the heads, (n,) each; points: several such
pairs. value, loss, output: numbers of values on the tape. transparent: whether gradients also pass
where the program cuts them. seed: for drawing settings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from aevb.checker.tape.parts import Parts, outputs_of, outputs_of_layers, values_of_parameters
from aevb.checker.tape.tape import Tape, gradients, noise_of

NODES = ((0.0, 2 / 3), (-(3**0.5), 1 / 6), (3**0.5, 1 / 6))
POINTS = 4
"""How many settings of all heads a fit uses."""

Point = tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Sampled:
    """The sampler's results for mean elements a and raw elements r, (P, n) each, at P points.

    m, s: mean and deviation of z, (P, n). linear: whether z is m + s * eps. flows_to_mean,
    flows_to_raw: whether a gradient goes through z to the mean and to the raw elements.
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
    """Settings of the mean and raw elements, and gradients with respect to both: (P * n,) each."""

    a: Tensor
    r: Tensor
    by_a: Tensor
    by_r: Tensor

    @property
    def both(self) -> Tensor:
        """(2 P n,)"""
        return torch.cat([self.by_a, self.by_r])


def filled(tape: Tape, parts: Parts, a: Tensor, r: Tensor) -> dict[int, Tensor]:
    """The roots with their elements set to a and to r, differentiable in both."""
    out = {}
    for index, root in enumerate(parts.roots):
        tensor = tape.shown(root).detach().clone().reshape(-1)
        for places, values in ((parts.mean, a), (parts.raw, r)):
            own = (places[:, 0] == index).nonzero().reshape(-1)
            if len(own):
                tensor = tensor.index_put((places[own, 1],), values[own].to(tensor.dtype))
        out[root] = tensor.reshape(tape.shown(root).shape)
    return out


def settings(n: int, low: float, high: float, seed: int) -> list[Point]:
    """Draw POINTS points: means uniform in [-2, 2], raw elements uniform in [low, high]."""
    generator = torch.Generator().manual_seed(seed)
    uniform = torch.rand(POINTS, 2, n, generator=generator)
    return [(4 * a - 2, low + (high - low) * r) for a, r in uniform]


def z_at(
    tape: Tape, parts: Parts, heads: dict[int, Tensor], noise: float, *, transparent: bool = True
) -> Tensor:
    """The first n elements of z for given roots and the same noise everywhere."""
    z = tape.play(heads, [parts.z], transparent=transparent, draw=noise_of(noise))[parts.z]
    return z.reshape(-1)[: parts.n]


def sampled(tape: Tape, parts: Parts, points: list[Point]) -> Sampled:
    """Measure the sampler: play z with noise 0, 1, -1 and 2 everywhere."""
    means, deviations, linear = [], [], True
    for a, r in points:
        heads = filled(tape, parts, a, r)
        at = {e: z_at(tape, parts, heads, e).detach().double() for e in (0.0, 1.0, -1.0, 2.0)}
        s = (at[1.0] - at[-1.0]) / 2
        gap = (at[2.0] - at[0.0] - 2 * s).abs()
        straight = gap <= 1e-3 * (s.abs() + at[0.0].abs() + 1e-3)
        linear &= bool(straight.logical_or(gap.isnan()).all())
        means.append(at[0.0])
        deviations.append(s)
    a, r = _joined(points, torch.stack)
    m, s = torch.stack(means), torch.stack(deviations)
    flows_to_mean, flows_to_raw = _flows(tape, parts, *points[0])
    return Sampled(a, r, m, s, linear, flows_to_mean, flows_to_raw)


def _joined(points: list[Point], join: Callable[[list[Tensor]], Tensor]) -> Point:
    firsts, seconds = zip(*points, strict=True)
    return join(list(firsts)).double(), join(list(seconds)).double()


def _flows(tape: Tape, parts: Parts, a: Tensor, r: Tensor) -> list[bool]:
    """Whether the mean and the raw elements get a gradient from where z enters the decoder.

    The program may cut z on its way there.
    """
    leaves = [_leaf(a), _leaf(r)]
    entered = tape.play(filled(tape, parts, *leaves), parts.entrances, draw=noise_of(1.0))
    sums = [
        (one.float() * torch.rand(one.shape, generator=torch.Generator().manual_seed(3))).sum()
        for one in entered.values()
    ]
    slopes = gradients(torch.stack(sums).sum(), leaves)
    return [slope is not None and bool((slope.abs() > 1e-7).any()) for slope in slopes]


def _leaf(tensor: Tensor) -> Tensor:
    return tensor.clone().requires_grad_()


def slopes_of(points: list[Point], value: Callable[[Tensor, Tensor], Tensor]) -> Slopes:
    """Gradients of the sum of ``value(a, r)`` at each point."""
    slopes = []
    for point in points:
        leaves = [_leaf(one) for one in point]
        by_a, by_r = map(_or_zeros, gradients(value(*leaves).sum(), leaves), leaves)
        slopes.append((by_a, by_r))
    return Slopes(*_joined(points, torch.cat), *_joined(slopes, torch.cat))


def _or_zeros(slope: Tensor | None, leaf: Tensor) -> Tensor:
    return (torch.zeros_like(leaf) if slope is None else slope).double()


def kl_slopes(
    tape: Tape, parts: Parts, value: int, points: list[Point], *, transparent: bool = True
) -> Slopes:
    """Gradients of a value with respect to the heads, without the decoder, averaged over noise."""
    still = {v: tape.shown(v) for v in parts.entrances}
    noisy = value in tape.dependents(outputs_of(parts.noise), stop=parts.entrances)
    nodes = NODES if noisy else ((0.0, 1.0),)

    def averaged(a: Tensor, r: Tensor) -> Tensor:
        total = torch.zeros(())
        replaced = {**still, **filled(tape, parts, a, r)}
        for node, weight in nodes:
            played = tape.play(replaced, [value], transparent=transparent, draw=noise_of(node))
            total = total + weight * played[value].sum()
        return total

    return slopes_of(points, averaged)


def right_kl_slopes(tape: Tape, parts: Parts, points: list[Point], *, moved: bool = True) -> Slopes:
    """Gradients of the right KL. moved: whether the mean includes what is added to its head."""

    def right(a: Tensor, r: Tensor) -> Tensor:
        heads = filled(tape, parts, a, r)
        m = z_at(tape, parts, heads, 0.0)
        s = z_at(tape, parts, heads, 1.0) - m
        if not moved:
            m = m - z_at(tape, parts, filled(tape, parts, torch.zeros_like(a), r), 0.0).detach()
        return 0.5 * (m.square() + s.square() - s.square().log())

    return slopes_of(points, right)


def ratio(of: Tensor, to: Tensor) -> tuple[float, float]:
    """Fit of = c * to by least squares over finite elements: c and the relative residual."""
    keep = of.isfinite() & to.isfinite()
    of, to = of[keep], to[keep]
    size, norm = float(to.square().sum()), float(of.square().sum())
    if size == 0 or norm == 0:
        return 0.0, 1.0 if norm else 0.0
    c = float((of * to).sum()) / size
    return c, float((of - c * to).square().sum() / norm) ** 0.5


def fit(of: Tensor, to: list[Tensor]) -> tuple[list[float], float]:
    """Fit a weighted sum of tensors by least squares: the weights and the relative residual."""
    columns = torch.stack(to, 1)
    keep = of.isfinite() & columns.isfinite().all(1)
    if int(keep.sum()) < 2 * len(to):
        return [0.0] * len(to), 1.0
    of, columns = of[keep], columns[keep]
    scale = columns.square().mean(0).sqrt().clamp(min=1e-12)
    found = torch.linalg.lstsq(columns / scale, of.unsqueeze(1), driver="gelsd")
    solution = found.solution.squeeze(1)
    residual = float((columns / scale @ solution - of).norm() / of.norm().clamp(min=1e-30))
    return [float(c) for c in solution / scale], residual


def outputs_of_decoder(tape: Tape, parts: Parts, loss: int) -> list[int]:
    """Outputs of layers after z with no further layer between them and the loss."""
    layers = outputs_of_layers(tape, values_of_parameters(tape))
    candidates = tape.dependents(parts.entrances) & layers & tape.ancestors(loss)
    return [v for v in sorted(candidates) if loss in tape.dependents([v], stop=layers - {v})]


def reachable(tape: Tape, loss: int, starts: Iterable[int], closed: Iterable[int]) -> list[int]:
    """Values between ``starts`` and the loss that do not depend on ``closed``; the loss is last."""
    shut = tape.dependents(closed)
    return sorted((tape.dependents(starts) & tape.ancestors(loss)) - shut - set(starts))


@dataclass(frozen=True)
class Reconstruction:
    """The reconstruction error in the loss.

    error: "squared" or "cross-entropy". activation: the one applied to the output first. weight:
    that of one element's error. targets: the data that the output is compared with, flat. output:
    the number of the decoder's output on the tape.
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


def _error_slopes(tape: Tape, value: int, output: int, seed: int) -> list[Point]:
    """Two settings of the output, each with the gradient of the value's sum there, flat."""
    generator = torch.Generator().manual_seed(seed)
    shape = tape.shown(output).shape
    # Between 0 and 1, so that a logarithm of the output itself exists.
    draws = [0.05 + 0.9 * torch.rand(shape, generator=generator) for _ in range(2)]
    found = []
    for u in map(_leaf, draws):
        total = tape.play({output: u}, [value], transparent=True)[value].sum()
        slope = _or_zeros(gradients(total, [u])[0], u)
        found.append((u.detach().double().reshape(-1), slope.reshape(-1)))
    return found


def reconstruction(tape: Tape, loss: int, output: int, seed: int) -> Reconstruction | None:
    """Recognise the reconstruction error by its gradient at the decoder's output.

    Returns the form that fits best. The first that fits may be wrong, since a sigmoid of values in
    [0, 1] is nearly a line.
    """
    points = _error_slopes(tape, loss, output, seed)
    found = [
        (residual, Reconstruction(error, name, weight, targets, output))
        for name, activation in ACTIVATIONS.items()
        for error in ("squared", "cross-entropy")
        for weight, targets, residual in _recognised(error, activation, points)
    ]
    return min(found, key=lambda one: one[0])[1] if found else None


def weight_at(tape: Tape, value: int, seen: Reconstruction, seed: int) -> float:
    """The weight of one element's error, of the form ``seen``, in the value; 0 if none."""
    points = _error_slopes(tape, value, seen.output, seed)
    activation = ACTIVATIONS.get(seen.activation, ACTIVATIONS["none"])
    return next((weight for weight, _, _ in _recognised(seen.error, activation, points)), 0.0)


def factor_at(tape: Tape, value: int, seen: Reconstruction, seed: int) -> float:
    """The factor on the activated output in a value of its size; 0 if it is not one number."""
    activation = ACTIVATIONS.get(seen.activation, ACTIVATIONS["none"])
    points = _error_slopes(tape, value, seen.output, seed)
    factors = torch.cat([slope / _activated(activation, u)[1] for u, slope in points])
    gap = (factors - factors.mean()).abs().max()
    return float(factors.mean()) if bool(gap < 1e-3 * factors.abs().max()) else 0.0


def _activated(activation: Callable[[Tensor], Tensor], output: Tensor) -> Point:
    """The activated output and its slope."""
    u = _leaf(output)
    value = activation(u)
    return value.detach(), torch.autograd.grad(value.sum(), u)[0]


def _recognised(
    error: str, activation: Callable[[Tensor], Tensor], points: list[Point]
) -> Iterator[tuple[float, Tensor, float]]:
    """Yield (weight, targets, residual) if the error has that form: a slope of weight * (v - x)."""
    v, h = [], []
    for u, slope in points:
        value, by_u = _activated(activation, u)
        h.append(slope / by_u * (0.5 if error == "squared" else value * (1 - value)))
        v.append(value)
    weight, residual = ratio(h[0] - h[1], v[0] - v[1])
    if residual > 1e-2 or abs(weight) < 1e-12:
        return
    yield weight, v[0] - h[0] / weight, residual
