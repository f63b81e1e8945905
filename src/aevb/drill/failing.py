"""The six checks that failed, as findings that a hint can be given on, and what their numbers say
of the cause."""

from __future__ import annotations

import math
from typing import Any

from aevb.drill.grading import Finding, Grade

FAILED = "failed"
"""The verdict of such a finding."""
FIRST = (3, 1, 6, 2, 5, 4)
"""What to mend first: a model that cannot be called fails everything else; what generates badly may
not have been trained."""
UNTRAINED = "there is no trained model"
"""How the message of checks 4 and 5 begins where training stopped with an error."""
RIGHT = {"error": 0.36, "kl": 1.24, "low": -2.25, "high": 2.19}
"""What a right solution ends on: squared error and KL (nats), a mean over rows; least and greatest
coordinate it generates."""
MOVED, NOTHING, MUCH, NARROW = 0.02, 0.1, 5.0, 0.75


def findings(six: dict[str, Any] | None, grade: Grade) -> list[Finding]:
    """One for each check that failed on the file as it was graded, what to mend first; none while
    functions are missing."""
    if (
        six is None
        or grade.verdict == "unfinished"
        or (six["file"], six.get("digest")) != (grade.file, grade.digest)
    ):
        return []
    if "error" in six:
        return [Finding("six-error", FAILED, str(six["error"]))]
    failed = {check["number"]: check["message"] for check in six["checks"] if not check["passed"]}
    found = []
    for number in (n for n in FIRST if n in failed):
        stopped = number in (4, 5) and failed[number].startswith(UNTRAINED)
        found.append(
            Finding("training-stopped" if stopped else f"check-{number}", FAILED, failed[number])
        )
    return list(dict.fromkeys(found))


def diagnosis(six: dict[str, Any] | None) -> str:
    """What the numbers of the training say, the usual causes in order; for checks 4 and 5."""
    losses, seen = (six or {}).get("losses"), (six or {}).get("seen") or {}
    if losses and not all(map(math.isfinite, (*losses, *seen.values()))):
        return (
            "the loss is no number at its end: sigma has become 0 or infinite, or a logarithm met"
            " 0; see that sigma is exp(0.5 * logvar) and that nothing else takes a logarithm"
        )
    if losses and losses[1] > (1 - MOVED) * losses[0] > 0:
        return (
            f"the loss hardly moved, {losses[0]:.3f} -> {losses[1]:.3f}: no gradient reaches the"
            " weights (detach, no_grad, .data, .item() on the way), or the loss does not depend on"
            " them"
        )
    return f"{_cause(seen)} {_seen(seen)}" if seen else _USUAL


def _cause(seen: dict[str, float]) -> str:
    """The likely cause by squared error, KL and range."""
    narrow = seen["high"] - seen["low"] < NARROW * (RIGHT["high"] - RIGHT["low"])
    if seen["kl"] < NOTHING and seen["error"] < NOTHING:
        return (
            "the error is 0 though z carries nothing of x, so forgetting x costs nothing: the error"
            " compares the reconstruction with itself, or x reaches the reconstruction by a way"
            " around z."
        )
    if seen["kl"] < NOTHING:
        return (
            "z carries nothing of x, since the KL has gone to 0: the KL weighs too much, being"
            " summed where the error is averaged; or decode and forward do not use z; or the error"
            " does not reach the weights."
        )
    if seen["kl"] > MUCH:
        return (
            "nothing holds the codes near the prior: the KL is divided, averaged or multiplied by a"
            " small number in vae_loss, or it is not in the loss at all; so z ~ N(0, I) falls where"
            " the decoder has learnt nothing."
        )
    if narrow:
        return (
            "the output does not reach the data, which go from -2.5 to 2.5: something limits it at"
            " the end of decode."
        )
    return f"no number stands out; so {_USUAL}"


def _seen(seen: dict[str, float]) -> str:
    return (
        f"Seen, and with a right solution: squared error {seen['error']:.2f} (0.36), KL"
        f" {seen['kl']:.2f} nats (1.24), generated coordinates from {seen['low']:.2f} (-2.25) to"
        f" {seen['high']:.2f} (2.19)"
    )


_USUAL = (
    "in this order: does decode end in a bare linear layer; is the error summed over dim=1 and then"
    " averaged over rows together with the KL; is the KL that of appendix B, at weight 1; is z = mu"
    " + exp(0.5 * logvar) * eps what decode gets?"
)
