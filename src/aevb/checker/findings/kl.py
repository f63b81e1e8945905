"""The KL: is it there, is it that of the sampler's own Gaussian from N(0, I), does its gradient
reach both heads?"""

from __future__ import annotations

import ast
import re
from dataclasses import dataclass

import torch
from torch import Tensor

from aevb.checker.findings.evidence import Evidence
from aevb.checker.findings.readings import KL, TOLERANCE, recognise
from aevb.checker.program.source import place_of
from aevb.checker.report import BUG, CANNOT_JUDGE, CLASSES, RIGHT, UNUSUAL, Finding
from aevb.checker.steps.steps import output_values
from aevb.checker.tape.measure import Slopes, ratio, reachable, right_kl_slopes
from aevb.checker.tape.parts import SHAPES

LIMITS = {
    "clamp",
    "clamp_min",
    "clamp_max",
    "clip",
    "max",
    "maximum",
    "relu",
    "abs",
    "where",
    "softplus",
    "hinge",
}
NOTHING = 1e-13
"""A gradient below this is none; that of a KL of weight 1e-5, averaged over a batch of pictures, is
1e-10."""
MOST_NODES = 80
FORMULA = "1/2 sum(mu^2 + sigma^2 - 1 - log sigma^2)"
LOG_SIGMA = re.compile(r"log_?(sigma|std|sd|scale)|lsig|logstd", re.IGNORECASE)


@dataclass(frozen=True)
class Divergence:
    """What is known of the KL. node: the value on the tape that was judged; None without one. kl:
    how it was recognised."""

    kl: KL | None
    node: int | None
    findings: list[Finding]


def divergence(e: Evidence, loss: int) -> Divergence:
    """Judge the KL in ``loss``."""
    slopes = e.slopes(loss)
    if _still(slopes):
        return _absent(e, loss)
    own = e.reading[0] if e.reading[1] == 1.0 else ""
    kl = recognise(slopes, e.right, own)
    if kl.class_ and e.parts.shifted:
        before = right_kl_slopes(e.tape, e.parts, e.points, moved=False)
        if not recognise(slopes, before, own).class_:
            e.right, kl = before, recognise(slopes, before, own)
    node = loss
    if kl.class_ == "kl-wrong":
        inner = _inside_a_limit(e, loss)
        if inner is not None:
            node, kl = inner, recognise(e.slopes(inner), e.right, e.reading[0])
    detached = _detached(e, loss, slopes)
    findings = [detached] if detached else _named(e, kl, _place(e, loss))
    return Divergence(kl, node, findings)


def has_literal(e: Evidence, value: int, numbers: tuple[float, ...]) -> bool:
    """Whether the statement that made the value, or one that uses it, multiplies or divides by one
    of the bare numbers."""
    places = {e.place(value)} | {one.place for one in e.tape.entries if value in one.inputs}
    for node in ast.walk(e.program.source.tree):
        if (
            isinstance(node, ast.BinOp)
            and isinstance(node.op, ast.Mult | ast.Div)
            and place_of(node) in places
        ):
            sides = (node.left, node.right)
            if any(isinstance(side, ast.Constant) and side.value in numbers for side in sides):
                return True
    return False


def _largest(values: Tensor) -> float:
    return float(values.nan_to_num().abs().max())


def _still(slopes: Slopes) -> bool:
    return _largest(slopes.both) < NOTHING


def nodes(e: Evidence, loss: int) -> list[int]:
    """Values that the loss owes to the heads without the decoder, in order."""
    found = reachable(e.tape, loss, e.parts.roots, e.parts.entrances)
    return [v for v in found if e.tape.shown(v).is_floating_point()][-MOST_NODES:]


def right_nodes(e: Evidence, values: list[int]) -> list[tuple[int, float]]:
    """Those of the values whose sum is a multiple of the right KL, with the factor."""
    out = []
    for value in values:
        factor, residual = ratio(e.slopes(value).both, e.right.both)
        if residual < TOLERANCE and factor:
            out.append((value, factor))
    return out


def _inside_a_limit(e: Evidence, loss: int) -> int | None:
    """The right KL before free bits or a capacity limit it."""
    between = nodes(e, loss)
    if not any(entry.name in LIMITS for entry in e.makers(between)):
        return None
    right = right_nodes(e, between)
    return right[-1][0] if right else None


def _place(e: Evidence, loss: int) -> int:
    """The value where the KL is put together: the last that depends on the heads and not on the
    decoder."""
    between = [v for v in nodes(e, loss) if v != loss and e.place(v) is not None]
    outside = set(e.tape.ancestors(e.parts.z))
    between = [v for v in between if v not in outside]
    return between[-1] if between else loss


def _absent(e: Evidence, loss: int) -> Divergence:
    dependent = e.tape.dependents(e.parts.roots, stop=e.parts.entrances)
    needed = e.tape.ancestors(loss)
    before = e.tape.ancestors(e.parts.z)
    inner = [v for v in nodes(e, loss) if v not in before and not _still(e.slopes(v))]
    if inner:
        return _of_weight_0(e, loss, inner[-1])
    taken_out = {value for _, value in e.tape.items}
    found = right_nodes(
        e,
        [v for v in sorted(dependent - set(needed)) if e.tape.shown(v).is_floating_point()][
            -MOST_NODES:
        ],
    )
    for value, _ in found:
        if value in taken_out:
            message = (
                "the KL enters the loss as a plain number (.item()), without a gradient; add the"
                " tensor itself"
            )
            return Divergence(
                None,
                None,
                [e.finding("kl", BUG, "kl-detached", message, "gradient 0", FORMULA, value)],
            )
    scalars = [v for v in output_values(e.step) if e.tape.shown(v).numel() == 1]
    if not e.step.faithful and len(scalars) == 2 and scalars[1] in [value for value, _ in found]:
        message = (
            "the loss function returns the KL beside the error, and where they are added was not"
            " seen; use --map loss=..."
        )
        return Divergence(
            None, None, [e.finding("kl", CANNOT_JUDGE, "", message, "", "", scalars[1])]
        )
    if found:
        message = "the loss has no KL: it is computed and not added"
        return Divergence(
            None,
            None,
            [e.finding("kl", BUG, "kl-absent", message, "gradient 0", FORMULA, found[-1][0])],
        )
    if not e.step.faithful and re.search(
        r"kl|logvar.*exp|log_var.*exp", e.program.source.text, re.IGNORECASE
    ):
        message = (
            "the loss that was found has no KL, and the program seems to have one elsewhere; use"
            " --map loss=..."
        )
        return Divergence(None, None, [e.finding("kl", CANNOT_JUDGE, "", message, "", "", loss)])
    message = (
        "the loss has no KL: with the reconstruction held still, its gradient with respect to mu"
        " and logvar is 0"
    )
    return Divergence(
        None, None, [e.finding("kl", BUG, "kl-absent", message, "gradient 0", FORMULA, loss)]
    )


def _of_weight_0(e: Evidence, loss: int, node: int) -> Divergence:
    """A KL that is multiplied by 0: by a bare 0, or by a weight that is 0 at this step."""
    if any(has_literal(e, value, (0,)) for value in (node, loss)):
        message = "the KL is multiplied by 0"
        return Divergence(
            None, None, [e.finding("kl", BUG, "kl-absent", message, "weight 0", "weight 1", node)]
        )
    kl = recognise(e.slopes(node), e.right, e.reading[0] if e.reading[1] == 1.0 else "")
    if kl.class_:
        return Divergence(None, node, _named(e, kl, node))
    message = (
        "the KL is right and has the weight 0 at the step that was seen, as at the start of a"
        " warm-up"
    )
    return Divergence(
        None, node, [e.finding("kl", UNUSUAL, "", message, "weight 0", "weight 1", node)]
    )


def _detached(e: Evidence, loss: int, slopes: Slopes) -> Finding | None:
    """A KL whose value depends on the heads while its gradient, in the program as it is written,
    does not."""
    faithful = e.slopes(loss, transparent=False)
    for name, seen, whole in (
        ("mu", faithful.by_a, slopes.by_a),
        ("logvar", faithful.by_r, slopes.by_r),
    ):
        if _largest(whole) > NOTHING and _largest(seen) < 1e-6 * _largest(whole):
            both = _still(faithful)
            to = "mu and logvar" if both else name
            message = (
                f"the KL is in the loss without a gradient to {to} (detach, no_grad, .data or"
                " .item())"
            )
            return e.finding(
                "kl", BUG, "kl-detached", message, "gradient 0", FORMULA, _place(e, loss)
            )
    return None


def _named(e: Evidence, kl: KL, place: int) -> list[Finding]:
    if (
        kl.class_ in ("", "kl-sign")
        and e.reading[1] not in (0.0, 1.0)
        and kl.formula.startswith("1/2")
    ):
        return []
    if kl.class_ == "":
        return [_right(e, kl, place)]
    if kl.class_ == "mismatch":
        return [_mismatch(e, kl, place)]
    if kl.class_ == "kl-wrong":
        message = (
            f"the KL is {kl.formula}: no formula that is known here; name it with --map kl=..."
        )
        return [e.finding("kl", CANNOT_JUDGE, "", message, kl.formula, FORMULA, place)]
    if kl.class_ == "kl-sign" and kl.formula.startswith("1/2"):
        # of the right form: whether it is added or subtracted is seen beside the reconstruction
        return []
    if kl.class_ == "kl-swapped" and not e.step.faithful:
        message = (
            "mu and logvar may be exchanged in the KL, or were handed over in the wrong order here;"
            " name them with --map"
        )
        return [e.finding("kl", CANNOT_JUDGE, "", message, kl.formula, FORMULA, place)]
    return [
        e.finding(
            "kl",
            BUG,
            kl.class_,
            f"{CLASSES[kl.class_]}: it is {kl.formula}",
            kl.formula,
            FORMULA,
            place,
        )
    ]


def _right(e: Evidence, kl: KL, place: int) -> Finding:
    reading = e.reading[0]
    if reading in ("logvar", ""):
        return e.finding(
            "kl",
            RIGHT,
            "",
            "the closed KL of the sampler's Gaussian from N(0, I)",
            kl.formula,
            FORMULA,
            place,
        )
    message = f"the head is read as {reading}, by the sampler and by the KL alike: right"
    return e.finding("kl", UNUSUAL, "", message, kl.formula, FORMULA, place)


def _mismatch(e: Evidence, kl: KL, place: int) -> Finding:
    own, factor = e.reading
    sampler = own or "something else"
    if factor not in (0.0, 1.0):
        sampler = f"{factor:.2g} times what {own} gives"
    class_, value = _class_of_mismatch(e, own, factor, kl.reading), e.parts.z
    if class_ in ("kl-log-sigma-reading",):
        value = place
    exponent = _exponent(e)
    measured = f"sampler: {sampler}{exponent}; KL: {kl.reading}"
    head = e.layer(e.parts.roots[int(e.parts.raw[0, 0])])
    name = f"{head} " if head else ""
    message = (
        f"{CLASSES[class_]}: the sampler reads the head {name}as {sampler}{exponent}, the KL as"
        f" {kl.reading}"
    )
    return e.finding("sampler", BUG, class_, message, measured, "one reading in both", value)


def _exponent(e: Evidence) -> str:
    """The fit log std = a * head + b, where it is one."""
    s = e.sampler.s.abs().reshape(-1)
    good = s.isfinite() & (s > 0)
    if good.sum() < 4:
        return ""
    r, log = e.sampler.r.reshape(-1)[good], s[good].log()
    a = float(((r - r.mean()) * (log - log.mean())).sum() / (r - r.mean()).square().sum())
    b = float(log.mean() - a * r.mean())
    if float((log - a * r - b).abs().max()) > 1e-2:
        return ""
    return f" (log std = {a:.2f} head {b:+.2f})"


def _class_of_mismatch(e: Evidence, own: str, factor: float, reading: str) -> str:
    if _changed_in_place(e):
        return "logvar-in-place"
    if own == reading and factor not in (0.0, 1.0):
        return "noise-scaled"
    if "softplus" in own or "softplus" in reading:
        return "softplus-confusion"
    log_sigma = any(LOG_SIGMA.search(e.named(root)) for root in e.parts.roots)
    if own == "log sigma" and reading == "logvar" and not log_sigma:
        return (
            "std-half-exp-logvar"
            if abs(factor - 0.5) < 0.01
            else "std-exp-logvar"
            if factor == 1.0
            else "noise-scaled"
        )
    if own == "sigma" and reading in ("logvar", "log sigma"):
        return "std-raw-head"
    if own == "logvar" and reading == "log sigma" and not log_sigma:
        return "kl-log-sigma-reading"
    return "sampler-kl-mismatch"


def _changed_in_place(e: Evidence) -> bool:
    """Whether a call on the way to z changes the deviation's head itself, which the KL then reads:
    not what is made of it."""
    same = (
        {e.parts.roots[int(i)] for i in torch.unique(e.parts.raw[:, 0])}
        if len(e.parts.raw)
        else set()
    )
    before = e.tape.ancestors(e.parts.z)
    for entry in e.tape.entries:
        if not same.intersection(entry.inputs[:1]):
            continue
        if entry.in_place and before.intersection(entry.outputs):
            read = e.tape.dependents(entry.outputs, stop=e.parts.entrances)
            return e.step.loss is None or e.step.loss in read
        if entry.name in SHAPES - {"cat", "stack"}:
            same.update(entry.outputs)
    return False
