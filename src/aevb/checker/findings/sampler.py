"""The sampler: z = mean + deviation * noise, with gradients to both heads.

The heads may take any value, and the KL reads them as the sampler does.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from aevb.checker.report import CANNOT_JUDGE, RIGHT
from aevb.checker.rules import CLASSES, NO_SAMPLE, Seen, also, note, rule

if TYPE_CHECKING:
    from aevb.checker.evidence.divergence import Misread
    from aevb.checker.evidence.evidence import Evidence
    from aevb.checker.evidence.unsampled import Unsampled


@note("sampler", alone=True)
def not_linear(e: Evidence) -> Iterator[Seen]:
    """Find a z that is not mean + deviation * noise: no other rule can judge it."""
    if not e.sampler.linear:
        message = "z is not mean + deviation * noise; name the sampler with --map"
        yield e.at_z(message, verdict=CANNOT_JUDGE)


@note("parts", alone=True)
def entangled(e: Evidence) -> Iterator[Seen]:
    """Find a mean and a deviation computed from the same number."""
    if e.parts.entangled:
        message = (
            "the model has a mean and a deviation made of the same number; only one Gaussian z is"
            " judged"
        )
        yield e.at_z(message, verdict=CANNOT_JUDGE)


@rule("gradient-cut-mu", "no gradient flows through z to mu", "gradient")
@rule("gradient-cut-logvar", "no gradient flows through z to logvar", "gradient")
@rule("gradient-cut-both", "no gradient flows through z to the encoder", "gradient")
def gradient_cut(e: Evidence) -> Iterator[Seen]:
    """Look at the gradient through z, in the program as it is written."""
    s = e.on_the_whole_line
    flows = s.flows_to_mean, s.flows_to_raw
    cut = {(False, False): "both", (False, True): "mu", (True, False): "logvar"}.get(flows)
    if cut is not None:
        to = "mu and logvar" if cut == "both" else cut
        message = (
            f"no gradient flows through z to {to}: d z / d ({to}) is 0; use mu + std * eps on"
            " tensors that carry gradients"
        )
        expected = "1" if cut == "mu" else "eps std / 2"
        yield e.at_z(message, "0", expected, class_=f"gradient-cut-{cut}")


@also("gradient-cut-mu", "gradient-cut-logvar", of=NO_SAMPLE)
def head_without_a_part(e: Unsampled) -> Iterator[Seen]:
    """Find a sample that uses only one of the two heads that the KL reads."""
    if e.heads is None or e.drawn is None:
        return
    mean, raw = (head in e.drawn.roots for head in e.heads)
    if mean and not raw:
        message = (
            "the deviation has no part in z: no gradient flows through z to logvar; use mu + std *"
            " eps"
        )
        yield e.at(e.drawn.z, message, "0", "eps std / 2", class_="gradient-cut-logvar")
    if raw and not mean:
        message = "the mean has no part in z: no gradient flows through z to mu; use mu + std * eps"
        yield e.at(e.drawn.z, message, "0", "1", class_="gradient-cut-mu")


@note("gradient", otherwise=True)
def gradient_right(e: Evidence) -> Iterator[Seen]:
    """Say that both heads get a gradient."""
    message = "z = mu + std * eps passes gradients to both heads"
    yield e.at_z(message, "1 and eps std / 2", verdict=RIGHT)


@rule("heads-shared", "one layer gives both the mean and the deviation", "heads")
def heads_shared(e: Evidence) -> Iterator[Seen]:
    """Find two calls of one layer on one input, which give mean and deviation the same number."""
    if e.heads.shared:
        message = (
            f"mean and deviation come from one layer, {e.heads.shared}, on the same input: they are"
            " one number; use a layer for each"
        )
        yield e.at(e.heads.raw, message, "one layer", "two")


@rule(
    "head-activation",
    "an activation, dropout or normalisation sits on a head that has to reach all real numbers",
    "heads",
    hides=("sampler-kl-mismatch", "softplus-confusion", "noise-scaled"),
)
@also("softplus-confusion")
def head_held(e: Evidence) -> Iterator[Seen]:
    """Find a call that keeps a head from taking every value; name the first."""
    h = e.heads
    if h.shared:
        return
    if h.normalised is not None:
        call, root = h.normalised
        message = (
            f"{call.replace('_', ' ')} is the last call before z; a head has to be free to take any"
            " value"
        )
        yield e.at(root, message, call, "none", class_="head-activation")
    elif h.span_of_mean:
        message = (
            f"an activation holds the mean of z: for heads from -2 to 2 it lies in"
            f" {h.span_of_mean}; use the linear output"
        )
        yield e.at(h.mean, message, h.span_of_mean, "-2 to 2", class_="head-activation")
    elif h.least_deviation > 0.3:
        name, far = e.reading[0], f"{h.least_deviation:.2g}"
        softplus = name in ("softplus logvar", "softplus log sigma")
        what = f"a {name.removesuffix(' sigma').removesuffix(' variance')}" if name else ""
        message = (
            f"{what or 'an activation'} holds the deviation of z above {far}, however low the head:"
            " logvar has to be free to fall"
        )
        class_ = "softplus-confusion" if softplus else "head-activation"
        yield e.at(h.raw, message, far, "0", class_=class_, check="heads")


@rule(
    "sigma-raw-linear",
    "the deviation comes straight out of a linear layer and can be negative",
    "heads",
)
def sigma_raw_linear(e: Evidence) -> Iterator[Seen]:
    """Find a right KL with a deviation that may be negative."""
    if e.negative_deviation:
        message = (
            "the deviation is the output of a linear layer and can be negative; let the head be"
            " logvar, or use a softplus"
        )
        yield e.at_z(message, "any sign", "above 0")


MISREADINGS: list[tuple[str, Callable[[Misread], bool]]] = [
    ("logvar-in-place", lambda m: m.in_place),
    ("noise-scaled", lambda m: m.sampler == m.kl and m.factor not in (0.0, 1.0)),
    ("softplus-confusion", lambda m: "softplus" in m.sampler + m.kl),
    ("std-half-exp-logvar", lambda m: m.exp_of_logvar and abs(m.factor - 0.5) < 0.01),
    ("std-exp-logvar", lambda m: m.exp_of_logvar and m.factor == 1.0),
    ("noise-scaled", lambda m: m.exp_of_logvar),
    ("std-raw-head", lambda m: m.sampler == "sigma" and m.kl in ("logvar", "log sigma")),
    ("kl-log-sigma-reading", lambda m: m.log_sigma_in_kl),
    ("sampler-kl-mismatch", lambda _: True),
]
"""The classes for two readings of one head, with their conditions; the first that holds counts."""


@rule("std-exp-logvar", "the deviation is exp(logvar); it is exp(logvar / 2)", "sampler")
@rule("std-half-exp-logvar", "the deviation is exp(logvar) / 2; it is exp(logvar / 2)", "sampler")
@rule(
    "std-raw-head",
    "the head that the KL reads as logvar is used as the deviation as it is",
    "sampler",
    hides=("sigma-raw-linear",),
)
@rule(
    "logvar-in-place",
    "logvar is changed in place before the KL reads it",
    "sampler",
    hides=("sampler-kl-mismatch", "head-activation", "gradient-cut-logvar"),
)
@rule(
    "softplus-confusion",
    "the softplus output is read in two ways",
    "sampler",
    hides=("head-activation", "sampler-kl-mismatch"),
)
@rule("sampler-kl-mismatch", "the sampler and the KL read the head in two ways", "sampler")
@rule("kl-log-sigma-reading", "the KL reads logvar as log sigma", "sampler")
@also("noise-scaled")
def two_readings(e: Evidence) -> Iterator[Seen]:
    """Name the mistake if the sampler and the KL read the deviation's head differently."""
    m, d = e.misread, e.divergence
    if m is None or d is None:
        return
    class_ = next(name for name, holds in MISREADINGS if holds(m))
    sampler = m.sampler or "something else"
    if m.factor not in (0.0, 1.0):
        sampler = f"{m.factor:.2g} times what {m.sampler} gives"
    head = e.layer(e.heads.raw)
    message = (
        f"{CLASSES[class_]}: the sampler reads the head {f'{head} ' if head else ''}as"
        f" {sampler}{m.fit}, the KL as {m.kl}"
    )
    figures = f"sampler: {sampler}{m.fit}; KL: {m.kl}", "one reading in both"
    named: dict[str, Any] = {"class_": class_, "check": "sampler"}
    at = d.place if class_ == "kl-log-sigma-reading" else e.parts.z
    yield e.at(at, message, *figures, **named)
