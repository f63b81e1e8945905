"""The KL: is it in the loss, is it that of the sampler's Gaussian from N(0, I), does it train?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from aevb.checker.report import CANNOT_JUDGE, RIGHT, UNUSUAL
from aevb.checker.rules import CLASSES, Seen, note, rule

if TYPE_CHECKING:
    from aevb.checker.evidence.evidence import Evidence
    from aevb.checker.evidence.readings import Recognised

FORMULA = "1/2 sum(mu^2 + sigma^2 - 1 - log sigma^2)"
NO_GRADIENT, NO_WEIGHT = ("gradient 0", FORMULA), ("weight 0", "weight 1")
ABSENT = {
    "times 0": ("the KL is multiplied by 0", NO_WEIGHT),
    "not added": ("the loss has no KL: it is computed and not added", NO_GRADIENT),
    "none": (
        "the loss has no KL: with the reconstruction held still, its gradient with respect to mu"
        " and logvar is 0",
        NO_GRADIENT,
    ),
}
NOT_SEEN = {
    "beside": (
        "the loss function returns the KL beside the error, and where they are added was not seen;"
        " use --map loss=..."
    ),
    "elsewhere": (
        "the loss that was found has no KL, and the program seems to have one elsewhere; use --map"
        " loss=..."
    ),
}


@rule("kl-absent", "the loss has no KL", "kl", hides=("sigma-raw-linear",))
def kl_absent(e: Evidence) -> Iterator[Seen]:
    """Find a loss that a KL does not change."""
    d = e.divergence
    if d is not None and d.absent in ABSENT:
        message, figures = ABSENT[d.absent]
        yield e.at(d.place, message, *figures)


@note("kl")
def kl_not_seen(e: Evidence) -> Iterator[Seen]:
    """Say where the KL may be, if the loss has none."""
    d = e.divergence
    if d is not None and d.absent in NOT_SEEN:
        yield e.at(d.place, NOT_SEEN[d.absent], verdict=CANNOT_JUDGE)


@rule("kl-detached", "the KL is in the loss without a gradient", "kl")
def kl_detached(e: Evidence) -> Iterator[Seen]:
    """Find a KL in the loss that trains no head, or only one."""
    d = e.divergence
    if d is None:
        return
    if d.absent == "item":
        message = (
            "the KL enters the loss as a plain number (.item()), without a gradient; add the tensor"
            " itself"
        )
        yield e.at(d.place, message, *NO_GRADIENT)
    elif d.cut and not e.negative_deviation:
        message = (
            f"the KL is in the loss without a gradient to {d.cut} (detach, no_grad, .data or"
            " .item())"
        )
        yield e.at(d.place, message, *NO_GRADIENT)


def recognised(e: Evidence) -> Recognised | None:
    """The KL, if its formula is to be called right or wrong; else None.

    Other rules name a factor on the deviation. The sign of a KL of the right form is judged with
    the reconstruction error, by the rules on weights.
    """
    d = e.divergence
    if d is None or d.absent not in ("", "weight 0") or d.cut or e.negative_deviation:
        return None
    closed = d.kl.formula.startswith("1/2") and d.kl.class_ in ("", "kl-sign")
    scaled = e.reading[1] not in (0.0, 1.0) and not d.absent
    if closed and (d.kl.class_ or scaled):
        return None
    return d.kl


@rule("kl-sign", "the KL, or a part of it, has the wrong sign", "kl")
@rule("kl-missing-mu2", "the KL lacks mu^2", "kl")
@rule("kl-missing-log", "the KL lacks the log-variance", "kl")
@rule("kl-missing-variance", "the KL lacks the variance", "kl")
@rule("kl-missing-half-terms", "some terms of the KL lack their factor 1/2", "kl")
@rule("kl-wrong", "the KL is not that of any Gaussian from N(0, I)", "kl")
@rule("kl-swapped", "the KL has mu and logvar exchanged", "kl")
@rule("kl-reversed", "the KL is that of the prior from the posterior", "kl")
def wrong_formula(e: Evidence) -> Iterator[Seen]:
    """Name the mistake in a KL with a wrong formula."""
    kl, d = recognised(e), e.divergence
    if kl is None or d is None or kl.class_ in ("", "mismatch"):
        return
    figures = kl.formula, FORMULA
    if kl.class_ == "kl-wrong" and not kl.weight:
        message = (
            f"the KL is {kl.formula}: no formula that is known here; name it with --map kl=..."
        )
        yield e.at(d.place, message, *figures, verdict=CANNOT_JUDGE)
    elif kl.class_ == "kl-swapped" and not e.step.faithful:
        message = (
            "mu and logvar may be exchanged in the KL, or were handed over in the wrong order here;"
            " name them with --map"
        )
        yield e.at(d.place, message, *figures, verdict=CANNOT_JUDGE)
    else:
        message = f"{CLASSES[kl.class_]}: it is {kl.formula}"
        yield e.at(d.place, message, *figures, class_=kl.class_)


@note("kl")
def kl_right(e: Evidence) -> Iterator[Seen]:
    """Say that the KL is right, with the reading of the head if it is unusual."""
    kl, d = recognised(e), e.divergence
    if kl is None or d is None or kl.class_:
        return
    reading, figures = e.reading[0], (kl.formula, FORMULA)
    if d.absent:
        message = (
            "the KL is right and has the weight 0 at the step that was seen, as at the start of a"
            " warm-up"
        )
        yield e.at(d.place, message, *NO_WEIGHT, verdict=UNUSUAL)
    elif reading in ("logvar", ""):
        message = "the closed KL of the sampler's Gaussian from N(0, I)"
        yield e.at(d.place, message, *figures, verdict=RIGHT)
    else:
        message = f"the head is read as {reading}, by the sampler and by the KL alike: right"
        yield e.at(d.place, message, *figures, verdict=UNUSUAL)
