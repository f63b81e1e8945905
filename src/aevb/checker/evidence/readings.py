r"""How a head is read: as logvar, log sigma, sigma, variance, through a softplus; by the sampler
and by the KL.

A reading maps the head's raw element r to a log-variance. The sampler's is seen from its deviation,
the KL's from the combination of mu^2, logvar and exp(logvar) that its gradient is made of. A right
KL has these in the ratio 1/2 : -1/2 : 1/2 for the sampler's own reading; other vectors, and other
readings, are the mistakes that are named here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from aevb.checker.tape.measure import Sampled, Slopes, fit, ratio

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

TOLERANCE = 5e-3
"""Relative residual under which a fit counts as exact: float32 sums leave about 1e-5."""


@dataclass(frozen=True)
class Recognised:
    """What the KL is. class_: "" if it fits the sampler. weight: of one element, in the loss.
    reading: the KL's, where known.

    formula: the coefficients found, for the message.
    """

    class_: str
    weight: float
    reading: str = ""
    formula: str = ""


def sampler_reading(s: Sampled) -> tuple[str, float]:
    """The reading that gives the deviation, and a constant factor: s = factor * exp(reading(r) /
    2); ("", 0) for none."""
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


def terms(a: Tensor, r: Tensor, values: list[Callable[[Tensor, Tensor], Tensor]]) -> list[Tensor]:
    """Gradients of sums of functions of (a, r) with respect to a, then r: (2 P n,) each."""
    out = []
    for value in values:
        a1, r1 = a.clone().requires_grad_(), r.clone().requires_grad_()
        total = value(a1, r1).sum()
        grads = (
            torch.autograd.grad(total, [a1, r1], allow_unused=True)
            if total.requires_grad
            else (None, None)
        )
        out.append(
            torch.cat(
                [
                    torch.zeros_like(x) if g is None else g
                    for g, x in zip(grads, (a, r), strict=True)
                ]
            )
        )
    return out


def recognise(slopes: Slopes, right: Slopes, own: str) -> Recognised:
    """Name the KL by its gradient. right: that of the right one; own: the sampler's reading, "" if
    it is not known."""
    weight, residual = ratio(slopes.both, right.both)
    if residual < TOLERANCE:
        return Recognised(
            "" if weight > 0 else "kl-sign", weight, own, "1/2 (mu^2 + sigma^2 - 1 - log sigma^2)"
        )
    for kl in (
        _by_coefficients(slopes, own),
        *(_by_reading(slopes, name) for name in READINGS if name != own),
        _swapped(slopes, own),
        _reversed(slopes, own),
        *(_by_coefficients(slopes, name) for name in ("logvar", "log sigma") if name != own),
    ):
        if kl is not None:
            return kl
    return Recognised("kl-wrong", 0.0, "", "no combination of mu^2, log sigma^2 and sigma^2")


def kl_terms(reading: Callable[[Tensor], Tensor]) -> list[Callable[[Tensor, Tensor], Tensor]]:
    """The terms of a KL, mu^2, logvar and exp(logvar), for a head that is read like that."""
    return [lambda a, _: a.square(), lambda _, r: reading(r), lambda _, r: reading(r).exp()]


def _by_coefficients(slopes: Slopes, own: str) -> Recognised | None:
    """The sampler's own reading with wrong coefficients of mu^2, logvar, exp(logvar)."""
    if not own:
        return None
    found, residual = fit(slopes.both, terms(slopes.a, slopes.r, kl_terms(READINGS[own])))
    if residual > TOLERANCE:
        return None
    mu2, log, variance = found
    largest = max(abs(c) for c in found)
    present = [abs(c) > 1e-3 * largest for c in found]
    formula = (
        f"{mu2 / largest:.3g} mu^2 {log / largest:+.3g} log sigma^2 {variance / largest:+.3g}"
        " sigma^2, up to a factor"
    )
    for name, there in zip(
        ("kl-missing-mu2", "kl-missing-log", "kl-missing-variance"), present, strict=True
    ):
        if not there and sum(present) == 2:
            return Recognised(name, 2 * largest, own, formula)
    if sum(present) < 2:
        return Recognised("kl-wrong", 2 * largest, own, formula)
    if not (mu2 > 0 > log and variance > 0):
        return Recognised("kl-sign", 2 * largest, own, formula)
    return Recognised("kl-missing-half-terms", 2 * min(abs(c) for c in found), own, formula)


def _by_reading(slopes: Slopes, name: str) -> Recognised | None:
    """The right formula for another reading of the head."""
    basis = kl_terms(READINGS[name])
    columns = terms(slopes.a, slopes.r, basis)
    if not all(column.isfinite().any() for column in columns):
        return None
    found, residual = fit(slopes.both, columns)
    if residual > TOLERANCE or found[0] == 0:
        return None
    mu2, log, variance = found
    if abs(variance / mu2 - 1) > 0.02 or abs(log / mu2 + 1) > 0.02:
        return None
    return Recognised("mismatch", 2 * mu2, name, f"reads the head as {name}")


def _swapped(slopes: Slopes, own: str) -> Recognised | None:
    """mu where logvar belongs, and the reverse, in any of the terms."""
    reading = READINGS.get(own, READINGS["logvar"])
    whole: list[Callable[[Tensor, Tensor], Tensor]] = [
        lambda _, r: r.square(),
        lambda a, _: reading(a),
        lambda a, _: reading(a).exp(),
    ]
    found, residual = fit(slopes.both, terms(slopes.a, slopes.r, whole))
    if residual < TOLERANCE and found[2] != 0:
        return Recognised("kl-swapped", 2 * found[0], own, "1/2 (logvar^2 + exp(mu) - 1 - mu)")
    spreads: list[Callable[[Tensor, Tensor], Tensor]] = [
        lambda _, r: reading(r).exp(),
        lambda a, _: reading(a),
        lambda a, _: reading(a).exp(),
    ]
    found, residual = fit(slopes.both, terms(slopes.a, slopes.r, spreads))
    if residual < TOLERANCE and found[2] != 0:
        return Recognised(
            "kl-swapped", 2 * found[0], own, "the deviation as mean, and the mean as deviation"
        )
    mixed: list[Callable[[Tensor, Tensor], Tensor]] = [
        lambda a, _: a,
        lambda a, _: a.square(),
        lambda a, _: a.exp(),
        *(lambda _, r, f=f: f(reading(r)) for f in (lambda v: v * 1, torch.square, torch.exp)),
    ]
    found, residual = fit(slopes.both, terms(slopes.a, slopes.r, mixed))
    largest = max(abs(c) for c in found)
    if residual < TOLERANCE and (abs(found[2]) > 1e-3 * largest or abs(found[4]) > 1e-3 * largest):
        return Recognised("kl-swapped", largest, own, "mu and logvar in each other's terms")
    return None


def _reversed(slopes: Slopes, own: str) -> Recognised | None:
    """Recognised(p || q) = sum 1/2 (logvar + (1 + mu^2) exp(-logvar) - 1)."""
    reading = READINGS.get(own, READINGS["logvar"])
    basis = [
        lambda _, r: reading(r),
        lambda _, r: (-reading(r)).exp(),
        lambda a, r: a.square() * (-reading(r)).exp(),
    ]
    found, residual = fit(slopes.both, terms(slopes.a, slopes.r, basis))
    if residual > TOLERANCE or found[0] <= 0:
        return None
    return Recognised(
        "kl-reversed", 2 * found[0], own, "1/2 (log sigma^2 + (1 + mu^2) / sigma^2 - 1)"
    )
