"""Readings of a head, by the sampler and by the KL: logvar, log sigma, sigma, a softplus.

A reading maps an element r of the raw head to a log-variance. The sampler's reading is found from
its deviation. The KL's is found by fitting its gradient with the gradients of mu^2, logvar and
exp(logvar). A right KL has these in the ratio 1/2 : -1/2 : 1/2, in the sampler's reading. Other
ratios and other readings are mistakes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from aevb.checker.tape.measure import Sampled, Slopes, fit, ratio

Function = Callable[[Tensor, Tensor], Tensor]
READINGS: dict[str, Callable[[Tensor], Tensor]] = {
    "logvar": lambda r: r * 1.0,
    "log sigma": lambda r: 2 * r,
    "half logvar": lambda r: r / 2,
    "log sigma / 2": lambda r: 4 * r,
    "sigma": lambda r: r.square().log(),
    "variance": lambda r: r.log(),
    "softplus sigma": lambda r: 2 * F.softplus(r).log(),
    "softplus variance": lambda r: F.softplus(r).log(),
    "softplus logvar": F.softplus,
    "softplus log sigma": lambda r: 2 * F.softplus(r),
    "exp(logvar / 2) as logvar": lambda r: (r / 2).exp(),
    "exp(logvar) as logvar": torch.exp,
    "exp(log sigma) as log sigma": lambda r: 2 * r.exp(),
    "sigmoid sigma": lambda r: 2 * torch.sigmoid(r).log(),
    "sigmoid variance": lambda r: torch.sigmoid(r).log(),
    "sigmoid logvar": torch.sigmoid,
    "relu logvar": F.relu,
    "tanh logvar": torch.tanh,
}

MISSING = ("kl-missing-mu2", "kl-missing-log", "kl-missing-variance")
TOLERANCE = 5e-3
"""A fit with a smaller relative residual counts as exact; float32 sums leave about 1e-5."""


@dataclass(frozen=True)
class Recognised:
    """The KL that a gradient shows.

    class_: "" if it fits the sampler, "mismatch" if it reads the head differently, else a class of
    mistake. weight: that of one element in the loss. reading: the KL's, if it is known. formula:
    the KL in words.
    """

    class_: str
    weight: float
    reading: str = ""
    formula: str = ""


def sampler_reading(s: Sampled) -> tuple[str, float]:
    """The reading and the factor with s = factor * exp(reading(r) / 2); ("", 0) if none fits."""
    for name, reading in READINGS.items():
        expected = (reading(s.r) / 2).exp()
        good = expected.isfinite() & s.s.isfinite()
        if good.sum() < 0.3 * good.numel():
            continue
        factor, residual = ratio(s.s[good].abs(), expected[good])
        if residual < TOLERANCE and abs(factor - 1) < TOLERANCE:
            return name, 1.0
    for name in ("logvar", "log sigma", "sigma", "softplus sigma"):
        factor, residual = ratio(s.s.abs().reshape(-1), (READINGS[name](s.r) / 2).exp().reshape(-1))
        if residual < TOLERANCE:
            return name, factor
    return "", 0.0


def fitted(slopes: Slopes, *functions: Function) -> tuple[list[float], float]:
    """Fit the gradient by those of functions of (mean, raw head): (coefficients, residual)."""
    columns = []
    for function in functions:
        a, r = slopes.a.clone().requires_grad_(), slopes.r.clone().requires_grad_()
        grads = torch.autograd.grad(
            function(a, r).sum(), [a, r], allow_unused=True, materialize_grads=True
        )
        columns.append(torch.cat(grads))
    return fit(slopes.both, columns)


def recognise(slopes: Slopes, right: Slopes, own: str) -> Recognised:
    """Name the KL by its gradient.

    Args:
        slopes: the gradient of the loss.
        right: that of the right KL.
        own: the sampler's reading, "" if it is not known.
    """
    weight, residual = ratio(slopes.both, right.both)
    if residual < TOLERANCE:
        class_ = "" if weight > 0 else "kl-sign"
        return Recognised(class_, weight, own, "1/2 (mu^2 + sigma^2 - 1 - log sigma^2)")
    ways = (
        [_by_coefficients(slopes, own)],
        (_by_reading(slopes, name) for name in READINGS if name != own),
        _swapped(slopes, own),
        _reversed(slopes, own),
        (_by_coefficients(slopes, name) for name in ("logvar", "log sigma") if name != own),
    )
    unknown = Recognised("kl-wrong", 0.0, "", "no combination of mu^2, log sigma^2 and sigma^2")
    return next((kl for way in ways for kl in way if kl is not None), unknown)


def kl_terms(reading: Callable[[Tensor], Tensor]) -> list[Function]:
    """The terms of a KL, mu^2, logvar and exp(logvar), for a reading of the head."""
    return [lambda a, _: a.square(), lambda _, r: reading(r), lambda _, r: reading(r).exp()]


def _by_coefficients(slopes: Slopes, own: str) -> Recognised | None:
    """The given reading with wrong coefficients of mu^2, logvar and exp(logvar)."""
    if not own:
        return None
    found, residual = fitted(slopes, *kl_terms(READINGS[own]))
    if residual > TOLERANCE:
        return None
    mu2, log, variance = found
    largest, weight = max(map(abs, found)), 2 * max(map(abs, found))
    formula = (
        f"{mu2 / largest:.3g} mu^2 {log / largest:+.3g} log sigma^2 {variance / largest:+.3g}"
        " sigma^2, up to a factor"
    )
    missing = [name for name, c in zip(MISSING, found, strict=True) if not abs(c) > 1e-3 * largest]
    if missing:
        class_ = missing[0] if len(missing) == 1 else "kl-wrong"
    elif mu2 > 0 > log and variance > 0:
        class_, weight = "kl-missing-half-terms", 2 * min(map(abs, found))
    else:
        class_ = "kl-sign"
    return Recognised(class_, weight, own, formula)


def _by_reading(slopes: Slopes, name: str) -> Recognised | None:
    """The right formula for another reading of the head."""
    (mu2, log, variance), residual = fitted(slopes, *kl_terms(READINGS[name]))
    if residual > TOLERANCE or mu2 == 0:
        return None
    if abs(variance / mu2 - 1) > 0.02 or abs(log / mu2 + 1) > 0.02:
        return None
    return Recognised("mismatch", 2 * mu2, name, f"reads the head as {name}")


def _swapped(slopes: Slopes, own: str) -> Iterator[Recognised]:
    """KLs with mu and logvar exchanged in some or all terms."""
    f = READINGS.get(own, READINGS["logvar"])
    of_mean: list[Function] = [lambda a, _: f(a), lambda a, _: f(a).exp()]
    for first, formula in (
        (lambda _, r: r.square(), "1/2 (logvar^2 + exp(mu) - 1 - mu)"),
        (lambda _, r: f(r).exp(), "the deviation as mean, and the mean as deviation"),
    ):
        found, residual = fitted(slopes, first, *of_mean)
        if residual < TOLERANCE and found[2] != 0:
            yield Recognised("kl-swapped", 2 * found[0], own, formula)
    found, residual = fitted(
        slopes,
        lambda a, _: a,
        lambda a, _: a.square(),
        lambda a, _: a.exp(),
        lambda _, r: f(r),
        lambda _, r: f(r).square(),
        lambda _, r: f(r).exp(),
    )
    largest = max(map(abs, found))
    if residual < TOLERANCE and max(abs(found[2]), abs(found[4])) > 1e-3 * largest:
        yield Recognised("kl-swapped", largest, own, "mu and logvar in each other's terms")


def _reversed(slopes: Slopes, own: str) -> Iterator[Recognised]:
    """KL(p || q) = sum 1/2 (logvar + (1 + mu^2) exp(-logvar) - 1)."""
    f = READINGS.get(own, READINGS["logvar"])
    found, residual = fitted(
        slopes,
        lambda _, r: f(r),
        lambda _, r: (-f(r)).exp(),
        lambda a, r: a.square() * (-f(r)).exp(),
    )
    if residual <= TOLERANCE and found[0] > 0:
        formula = "1/2 (log sigma^2 + (1 + mu^2) / sigma^2 - 1)"
        yield Recognised("kl-reversed", 2 * found[0], own, formula)
