"""The sampler: z = mean + deviation * noise, with gradients to both, and heads that reach what they
have to."""

from __future__ import annotations

import torch

from aevb.checker.findings.evidence import Evidence
from aevb.checker.report import BUG, CANNOT_JUDGE, RIGHT, Finding
from aevb.checker.tape.measure import filled, fit, z_at
from aevb.checker.tape.parts import NORMALISING

FAR = -30.0
"""A raw head this low means a deviation of nearly 0, whatever it is read as, unless something holds
it."""


def gradient_finding(e: Evidence) -> Finding:
    """Whether the gradient flows through z to mean and deviation, in the program as it is written."""
    s = e.on_the_whole_line
    cut = {(False, False): "both", (False, True): "mu", (True, False): "logvar"}.get(
        (s.flows_to_mean, s.flows_to_raw)
    )
    if cut is None:
        return e.finding(
            "gradient",
            RIGHT,
            "",
            "z = mu + std * eps passes gradients to both heads",
            "1 and eps std / 2",
            "",
            e.parts.z,
        )
    to = {"both": "mu and logvar", "mu": "mu", "logvar": "logvar"}[cut]
    message = (
        f"no gradient flows through z to {to}: d z / d ({to}) is 0; use mu + std * eps on tensors"
        " that carry gradients"
    )
    return e.finding(
        "gradient",
        BUG,
        f"gradient-cut-{cut}",
        message,
        "0",
        "1" if cut == "mu" else "eps std / 2",
        e.parts.z,
    )


def head_findings(e: Evidence) -> list[Finding]:
    """Activations, normalisation and dropout on the heads."""
    found = [
        f
        for f in (_one_layer(e), _normalised(e), _mean_held(e), _deviation_held(e))
        if f is not None
    ]
    return found[:1]


def _one_layer(e: Evidence) -> Finding | None:
    """Two calls of one layer on one input: the heads are the same number under two names."""
    first, second = (
        e.tape.made_by(e.parts.roots[int(places[0, 0])]) for places in (e.parts.mean, e.parts.raw)
    )
    if (
        first is None
        or second is None
        or first is second
        or first.name != second.name
        or first.inputs != second.inputs
    ):
        return None
    name = e.layer(second.outputs[0]) or first.name
    message = (
        f"mean and deviation come from one layer, {name}, on the same input: they are one number;"
        " use a layer for each"
    )
    return e.finding("heads", BUG, "heads-shared", message, "one layer", "two", second.outputs[0])


def _normalised(e: Evidence) -> Finding | None:
    for root, entry in zip(e.parts.roots, e.makers(e.parts.roots), strict=False):
        if entry.name in NORMALISING:
            message = (
                f"{entry.name.replace('_', ' ')} is the last call before z; a head has to be free"
                " to take any value"
            )
            return e.finding("heads", BUG, "head-activation", message, entry.name, "none", root)
    return None


def _mean_held(e: Evidence) -> Finding | None:
    s = e.on_the_whole_line
    flat = s.m.reshape(-1)
    good = flat.isfinite()
    if not good.any():
        return None
    # Between settings: what else is added to the mean of an element, such as the code of a class,
    # stays the same.
    moved, by = (s.m[1:] - s.m[:1]).reshape(-1), (s.a[1:] - s.a[:1]).reshape(-1)
    _, residual = fit(moved, [by])
    if residual < 1e-3:
        return None
    message = (
        f"an activation holds the mean of z: for heads from -2 to 2 it lies in {_span(flat[good])};"
        " use the linear output"
    )
    return e.finding(
        "heads",
        BUG,
        "head-activation",
        message,
        _span(flat[good]),
        "-2 to 2",
        _root(e, e.parts.mean),
    )


def _deviation_held(e: Evidence) -> Finding | None:
    if e.may_be_negative:
        return None
    n = e.parts.n
    heads = filled(e.tape, e.parts, torch.zeros(n), torch.full((n,), FAR))
    far = float(
        (z_at(e.tape, e.parts, heads, 1.0) - z_at(e.tape, e.parts, heads, 0.0)).abs().mean()
    )
    if not far > 0.3:
        return None
    name, _ = e.reading
    class_ = (
        "softplus-confusion"
        if name in ("softplus logvar", "softplus log sigma")
        else "head-activation"
    )
    what = f"a {name.removesuffix(' sigma').removesuffix(' variance')}" if name else "an activation"
    message = (
        f"{what} holds the deviation of z above {far:.2g}, however low the head: logvar has to be"
        " free to fall"
    )
    return e.finding("heads", BUG, class_, message, f"{far:.2g}", "0", _root(e, e.parts.raw))


def drawn_twice(e: Evidence) -> Finding | None:
    """``eps = torch.normal(mu, std)`` and then ``mu + std * eps``: what was drawn was the sample."""
    z = e.tape.shown(e.parts.z).double()
    for entry in e.parts.noise:
        if entry.function is not torch.normal or len(entry.inputs) != 2:
            continue
        mean, deviation, drawn = (
            e.tape.shown(value).double() for value in (*entry.inputs, *entry.outputs)
        )
        if (
            drawn.shape == z.shape
            and torch.allclose(z, mean + deviation * drawn, atol=1e-5)
            and not torch.allclose(z, drawn)
        ):
            message = (
                "the noise is drawn with mean mu and deviation std, and multiplied by std and added"
                " to mu again: z has the mean mu + std * mu and the deviation std^2; draw it with"
                " randn_like(std)"
            )
            return e.finding(
                "noise", BUG, "noise-of-the-sample", message, "N(mu, std^2)", "N(0, 1)", e.parts.z
            )
    return None


def _span(values: torch.Tensor) -> str:
    return f"{float(values.min()):.2f} to {float(values.max()):.2f}"


def _root(e: Evidence, places: torch.Tensor) -> int:
    return e.parts.roots[int(places[0, 0])] if len(places) else e.parts.z


def not_linear(e: Evidence) -> Finding | None:
    """A sampler that is no mean plus deviation times noise cannot be judged by what follows."""
    if e.sampler.linear:
        return None
    return e.finding(
        "sampler",
        CANNOT_JUDGE,
        "",
        "z is not mean + deviation * noise; name the sampler with --map",
        "",
        "",
        e.parts.z,
    )
