"""Which hint comes next: four stages for each finding, from a question to the change itself."""

from __future__ import annotations

import re
from dataclasses import dataclass

from aevb.drill.failing import FAILED
from aevb.drill.grading import UNFINISHED, WRONG, DrillFinding
from aevb.drill.hint_texts import HINTS, Hint
from aevb.drill.hint_texts_checks import CHECK_HINTS
from aevb.errors import UsageError

STAGES = Hint._fields
_ORDER = (*WRONG, FAILED, "cannot_judge", "unfinished")


@dataclass(frozen=True)
class Shown:
    """A hint as it is shown. stage: 1 to 4."""

    about: str
    stage: int
    text: str

    def __str__(self) -> str:
        return f"hint {self.stage} of {len(STAGES)}, {STAGES[self.stage - 1]}: {self.text}"


def find(class_: str) -> Hint:
    """The hints for a class of findings: its own, those of its family, or the general ones."""
    if class_ in CHECK_HINTS or class_ in HINTS:
        return CHECK_HINTS.get(class_) or HINTS[class_]
    return next(
        (hint for name, hint in HINTS.items() if name.endswith("-") and class_.startswith(name)),
        HINTS[""],
    )


def choose(findings: list[DrillFinding], about: str | None) -> DrillFinding:
    """The finding to give a hint on: the one asked for, or else a bug, a check that failed, what is
    not written yet, in order.

    Raises UsageError if there is none of that name, or nothing to hint at.
    """
    open_ = [finding for finding in findings if finding.verdict in _ORDER]
    if not open_:
        raise UsageError(
            "nothing is found that a hint could be given on; aevb drill check judges anew, with"
            " --six the six checks too"
        )
    if about is None:
        return min(
            open_,
            key=lambda finding: finding.verdict not in WRONG and _ORDER.index(finding.verdict),
        )
    for finding in open_:
        if about in (finding.class_, finding.class_.removeprefix(UNFINISHED)):
            return finding
    raise UsageError(
        f"no finding is called {about!r}; there is {', '.join(finding.class_ for finding in open_)}"
    )


def advance(used: dict[str, int], finding: DrillFinding, file: str, seen: str = "") -> Shown:
    """The next stage on a finding, noted in ``used``; after the fourth, the fourth again. seen: the
    place of checks 4, 5."""
    stage = min(used.get(finding.class_, 0) + 1, len(STAGES))
    used[finding.class_] = stage
    text = find(finding.class_)[stage - 1].replace("{place}", _place(finding, file) or seen)
    return Shown(finding.class_, stage, text)


def _place(finding: DrillFinding, file: str) -> str:
    """The finding's line, that of a notebook's cell being of no use to anybody, or the function
    that it must be in."""
    if finding.line is not None and file.endswith(".py"):
        return f"line {finding.line} of {file}"
    name = finding.class_
    if name in _CHECKED:
        return _CHECKED[name]
    if name.startswith(UNFINISHED):
        return name.removeprefix(UNFINISHED)
    if re.match("std|noise|gradient|softplus|logvar", name):
        return "reparameterize"
    if re.match("sigmoid|output", name):
        return "decode"
    if name in (
        "loss",
        "kl-weight",
        "kl-absent",
        "kl-subtracted",
        "kl-detached",
        "reconstruction-mean",
        "reduction-ignored",
    ):
        return "vae_loss"
    return (
        "kl_divergence" if name.startswith("kl") else "encode" if name.startswith("head") else file
    )


_CHECKED = {
    "check-1": "reparameterize",
    "check-2": "kl_divergence",
    "check-3": "encode, reparameterize, decode and forward",
    "check-4": "",
    "check-5": "",
    "check-6": "reparameterize",
}
"""Where the cause of a failed check is; of those that have to do with training, their numbers say
it."""
