"""What was measured of a sampler and a KL, as plain numbers: they travel out of the child and are
drawn by ``picture``."""

from __future__ import annotations

from torch import Tensor

from aevb.checker.findings.evidence import Evidence
from aevb.checker.tape.measure import ratio

MOST = 400
"""Points of each kind."""

Fingerprint = dict[str, list[float]]
"""head, deviation: settings of the deviation's head, and the deviation of z that the sampler made
of them. right_mean, seen_mean, right_deviation, seen_deviation: gradients of the right KL and of
the loss's, with respect to either head; the loss's are divided by factor, which is what they have
in common with the right ones in least squares."""


def fingerprint(e: Evidence) -> Fingerprint:
    """Measure it."""
    found = dict(zip(("head", "deviation"), _both(e.sampler.r, e.sampler.s.abs()), strict=True))
    if e.step.loss is None:
        return found
    seen, right = e.slopes(e.step.loss), e.right
    factor = ratio(seen.both, right.both)[0]
    found["factor"] = [factor]
    scale = factor if abs(factor) > 1e-12 else 1.0
    pairs = {"mean": (right.by_a, seen.by_a), "deviation": (right.by_r, seen.by_r)}
    for name, (own, other) in pairs.items():
        found[f"right_{name}"], found[f"seen_{name}"] = _both(own, other / scale)
    return found


def _both(a: Tensor, b: Tensor) -> tuple[list[float], list[float]]:
    """Where both are finite, as many as are drawn."""
    a, b = a.detach().reshape(-1).double(), b.detach().reshape(-1).double()
    keep = a.isfinite() & b.isfinite()
    step = max(1, -(-int(keep.sum()) // MOST))
    return a[keep][::step].tolist(), b[keep][::step].tolist()
