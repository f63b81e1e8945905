"""The next hint: four stages for each finding, from a question to the change itself."""

from __future__ import annotations

import re
from dataclasses import dataclass

from aevb.checker.findings import RULES
from aevb.checker.rules import Hint
from aevb.drill.failing import FAILED
from aevb.drill.grading import UNFINISHED, WRONG, DrillFinding
from aevb.drill.hint_texts import HINTS
from aevb.errors import UsageError

STAGES = Hint._fields
_ORDER = (*WRONG, FAILED, "cannot_judge", "unfinished")


@dataclass(frozen=True)
class Shown:
    """A hint to show. about: the finding's class. stage: 1 to 4."""

    about: str
    stage: int
    text: str

    def __str__(self) -> str:
        return f"hint {self.stage} of {len(STAGES)}, {STAGES[self.stage - 1]}: {self.text}"


def find(class_: str) -> Hint:
    """The hints for a finding: its own, those of its rule or its family, or the general ones."""
    if class_ in HINTS:
        return HINTS[class_]
    hint = RULES[class_].hint if class_ in RULES else None
    families = (name for name in HINTS if name.endswith("-") and class_.startswith(name))
    return hint or HINTS[next(families, "")]


def choose(findings: list[DrillFinding], about: str | None) -> DrillFinding:
    """The finding to give a hint on.

    Args:
        findings: those on the file.
        about: the name of one of them; without it a bug comes first, then a failed check, then a
            part that could not be judged, then a function that is not written yet.

    Raises:
        UsageError: there is no such finding, or nothing to give a hint on.
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
    """Return the hint of the next stage on a finding, or of the fourth again, and note the stage.

    Args:
        used: the stage that was shown last, by finding; it is changed.
        finding: the finding to give a hint on.
        file: the name of the learner's file.
        seen: a sentence about the training's numbers, the place for checks 4 and 5.
    """
    stage = min(used.get(finding.class_, 0) + 1, len(STAGES))
    used[finding.class_] = stage
    text = find(finding.class_)[stage - 1].replace("{place}", _place(finding, file) or seen)
    return Shown(finding.class_, stage, text)


def _place(finding: DrillFinding, file: str) -> str:
    """The finding's line, or the function that the mistake must be in.

    For a notebook it is the function, since a line in all of its cells helps nobody.
    """
    if finding.line is not None and file.endswith(".py"):
        return f"line {finding.line} of {file}"
    name = finding.class_
    if name.startswith(UNFINISHED):
        return name.removeprefix(UNFINISHED)
    return next((place for pattern, place in _FUNCTIONS if re.match(pattern, name)), file)


_FUNCTIONS = (
    (r"check-[45]$", ""),  # their numbers are the place
    (r"check-3$", "encode, reparameterize, decode and forward"),
    (r"check-2$", "kl_divergence"),
    (r"check-[16]$|std|noise|gradient|softplus|logvar", "reparameterize"),
    (r"sigmoid|output", "decode"),
    (r"(loss|kl-weight|kl-absent|kl-subtracted|kl-detached)$", "vae_loss"),
    (r"(reconstruction-mean|reduction-ignored)$", "vae_loss"),
    (r"kl", "kl_divergence"),
    (r"head", "encode"),
)
"""The function with the cause, by the name of the finding."""
