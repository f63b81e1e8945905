"""Turn failed checks into findings, and guess their cause from the numbers of the training."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from aevb.drill.grading import DrillFinding, Grade

FAILED = "failed"
"""The verdict of a failed check's finding."""
FIRST = (3, 1, 6, 2, 5, 4)
"""Numbers of the checks in the order in which a learner should mend them.

A model that cannot be called fails every check. A model that generates badly may only be untrained.
"""
UNTRAINED = "there is no trained model"
"""The beginning of the message of checks 4 and 5 if training stopped with an error."""
RIGHT = {"error": 0.36, "kl": 1.24, "low": -2.25, "high": 2.19}
"""Final numbers of a right solution.

error, kl: means over rows of squared error and KL (nats). low, high: the least and the greatest
generated coordinate.
"""
MOVED, NOTHING, MUCH, NARROW = 0.02, 0.1, 5.0, 0.75
"""Thresholds for the numbers of a training.

The loss has hardly moved if it changed by less than the fraction MOVED. A squared error or a KL
below NOTHING counts as 0. A KL above MUCH nats is large. A range is narrow if it is less than
NARROW times that of a right solution.
"""

Numbers = dict[str, float]


def findings(six: dict[str, Any] | None, grade: Grade) -> list[DrillFinding]:
    """Return a finding for each failed check, in the order in which they should be mended.

    The list is empty if the checks and the grade are of different versions of the file, or if
    functions are still missing.
    """
    if (
        six is None
        or grade.verdict == "unfinished"
        or (six["file"], six.get("digest")) != (grade.file, grade.digest)
    ):
        return []
    if "error" in six:
        return [DrillFinding("six-error", FAILED, str(six["error"]))]
    failed = {check["number"]: check["message"] for check in six["checks"] if not check["passed"]}
    found = [_finding(number, failed[number]) for number in FIRST if number in failed]
    return list(dict.fromkeys(found))  # a training that stopped fails checks 4 and 5 alike


def _finding(number: int, message: str) -> DrillFinding:
    stopped = number in (4, 5) and message.startswith(UNTRAINED)
    return DrillFinding("training-stopped" if stopped else f"check-{number}", FAILED, message)


def diagnosis(six: dict[str, Any] | None) -> str:
    """Return the likely cause of a failed check 4 or 5, judging by the numbers of the training."""
    losses, seen = (six or {}).get("losses"), (six or {}).get("seen") or {}
    if losses and not all(map(math.isfinite, (*losses, *seen.values()))):
        return (
            "the final loss is no number (NaN or infinite): sigma has become 0 or infinite, or a"
            " logarithm was taken of 0; make sure that sigma is exp(0.5 * logvar) and that nothing"
            " else takes a logarithm"
        )
    if losses and losses[1] > (1 - MOVED) * losses[0] > 0:
        return (
            f"the loss hardly moved, {losses[0]:.3f} -> {losses[1]:.3f}: no gradient reaches the"
            " weights (detach, no_grad, .data, .item() on the way), or the loss does not depend on"
            " them"
        )
    return f"{_cause(seen)} {_compared(seen)}" if seen else _USUAL


def _cause(seen: Numbers) -> str:
    """Return the likely cause by squared error, KL and range: the first that fits."""
    return next(
        (cause for fits, cause in _CAUSES if fits(seen)), f"no number stands out; check {_USUAL}"
    )


def _compared(seen: Numbers) -> str:
    """Return the numbers of the training, each beside that of a right solution."""
    return (
        f"Seen, and with a right solution: squared error {seen['error']:.2f} ({RIGHT['error']}),"
        f" KL {seen['kl']:.2f} nats ({RIGHT['kl']}), generated coordinates from"
        f" {seen['low']:.2f} ({RIGHT['low']}) to {seen['high']:.2f} ({RIGHT['high']})"
    )


def _is_narrow(seen: Numbers) -> bool:
    return seen["high"] - seen["low"] < NARROW * (RIGHT["high"] - RIGHT["low"])


_CAUSES: tuple[tuple[Callable[[Numbers], bool], str], ...] = (
    (
        lambda seen: seen["kl"] < NOTHING and seen["error"] < NOTHING,
        "the error is 0 although z carries nothing of x: the error compares the reconstruction with"
        " itself, or x reaches the reconstruction by a way around z.",
    ),
    (
        lambda seen: seen["kl"] < NOTHING,
        "z carries nothing of x, since the KL has gone to 0: the KL weighs too much, because it is"
        " summed where the error is averaged; or decode and forward do not use z; or no gradient of"
        " the error reaches the weights.",
    ),
    (
        lambda seen: seen["kl"] > MUCH,
        "nothing holds the codes near the prior: the KL is divided, averaged or multiplied by a"
        " small number in vae_loss, or it is not in the loss at all. So z ~ N(0, I) falls where"
        " the decoder has learnt nothing.",
    ),
    (
        _is_narrow,
        "the output does not reach the data, which go from -2.5 to 2.5: something limits it at the"
        " end of decode.",
    ),
)
"""Conditions on the numbers, each with the cause that it points to."""
_USUAL = (
    "in this order: does decode end in a bare linear layer; is the error summed over dim=1 and then"
    " averaged over rows together with the KL; is the KL that of appendix B, at weight 1; does"
    " decode get z = mu + exp(0.5 * logvar) * eps?"
)
