"""The decoder: do error, activation and data range fit, and is z of new points normal?"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from aevb.checker.report import RIGHT
from aevb.checker.rules import CLASSES, PROGRAM, Seen, rule

if TYPE_CHECKING:
    from aevb.checker.evidence.evidence import Evidence
    from aevb.checker.evidence.program import ProgramEvidence
    from aevb.checker.tape.measure import Reconstruction

OUTSIDE = 1e-2
IN_0_TO_1 = ("sigmoid", "shifted tanh", "another activation")


def span(r: Reconstruction) -> tuple[str, bool]:
    """The range of the targets in words, and whether they leave [0, 1]."""
    low, high = float(r.targets.min()), float(r.targets.max())
    return f"{low:.2f} to {high:.2f}", low < -OUTSIDE or high > 1 + OUTSIDE


@rule("sigmoid-twice", "the output goes through a sigmoid twice", "decoder")
@rule("sigmoid-range", "a sigmoid limits the reconstruction of data that leaves [0, 1]", "decoder")
@rule(
    "sigmoid-missing",
    "binary cross-entropy of probabilities gets an output without a sigmoid",
    "decoder",
)
@rule("bce-out-of-range", "binary cross-entropy meets targets outside [0, 1]", "decoder")
def decoder(e: Evidence) -> Iterator[Seen]:
    """Compare the error's form, the activation before it and the targets."""
    r = e.error
    if r is None:
        return
    targets, outside = span(r)
    if r.activation == "sigmoid twice":
        message = (
            "the output goes through a sigmoid twice: it can reach 0.50 to 0.73 and nothing else"
        )
        yield e.at(r.output, message, "0.50 to 0.73", "0 to 1", class_="sigmoid-twice")
    elif r.error == "cross-entropy" and outside:
        message = f"binary cross-entropy meets targets from {targets}; they have to lie in [0, 1]"
        yield e.at(r.output, message, targets, "0 to 1", class_="bce-out-of-range")
    elif r.error == "cross-entropy" and r.activation not in IN_0_TO_1:
        last = "a bare layer" if r.activation == "none" else r.activation
        message = (
            f"binary cross-entropy of probabilities gets the output of {last}; use a sigmoid, or"
            " the form with logits"
        )
        yield e.at(r.output, message, last, "sigmoid", class_="sigmoid-missing")
    elif (r.error, r.activation) == ("squared", "sigmoid") and outside:
        message = f"a sigmoid limits the output to [0, 1], and the data go from {targets}"
        yield e.at(r.output, message, "0 to 1", targets, class_="sigmoid-range")
    else:
        after = f" after {r.activation}" if r.activation != "none" else ""
        yield e.at(r.output, f"{r.error} error{after}", verdict=RIGHT)


@rule(
    "bce-swapped",
    "binary cross-entropy gets the data for its prediction and the output for its target",
    "decoder",
)
def bce_swapped(e: Evidence) -> Iterator[Seen]:
    """Find a cross-entropy whose target depends on z and whose prediction does not."""
    if e.loss is None:
        return
    after = e.tape.dependents([e.parts.z])
    for entry in e.makers(sorted(e.tape.ancestors(e.loss))):
        of_z = [value in after for value in entry.inputs[:2]]
        if "binary_cross_entropy" in entry.name and of_z == [False, True]:
            yield e.at(entry.outputs[0], f"{CLASSES['bce-swapped']}: exchange them")
            return


@rule(
    "prior-uniform",
    "new points are decoded from uniform z; the prior is normal",
    "prior",
    of=PROGRAM,
)
def prior_uniform(e: ProgramEvidence) -> Iterator[Seen]:
    """Find uniform numbers that the program decodes to make new points."""
    if e.uniform_z is not None:
        message = (
            "new points are decoded from uniform z (rand): the prior is normal; draw z with randn"
        )
        yield Seen(message, "uniform", "standard normal", e.uniform_z)
