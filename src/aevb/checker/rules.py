"""The table of rules: one for each class of mistake, and the functions that look for it.

The decorator ``rule`` declares a class of mistake, on a function that looks at the evidence of one
recorded step. The decorator ``note`` is for a function that reports no mistake. The modules of
``aevb.checker.findings`` use them when they are imported. The drill's hints and the table in
docs/checker.md come from here too. Rules import no torch: they read what ``Evidence`` has measured.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

from aevb.checker.places import Place
from aevb.checker.report import BUG, RIGHT, SCALE, WEIGHT, Finding

CHECKS = (
    "noise", "gradient", "heads", "parts", "sampler", "kl", "loss", "weight", "decoder", "prior",
)  # fmt: skip
"""The parts of a check, in the order in which they are looked at."""
SAMPLE, NO_SAMPLE, PROGRAM = "sample", "no sample", "program"
"""Kinds of evidence for a look: ``Evidence`` of a latent sample, ``Unsampled`` for a step without
one, ``ProgramEvidence`` for the text of the program."""


class Hint(NamedTuple):
    """Four stages of help. ``{place}`` in one becomes the line of the finding."""

    question: str
    rule: str
    place: str
    change: str


@dataclass(frozen=True)
class Seen:
    """An observation of a look, from which ``Look.finding`` makes a ``Finding``.

    class_: needed if the look belongs to several rules. verdict: RIGHT, UNUSUAL or CANNOT_JUDGE if
    this is no mistake. check: given if it differs from the rule's.
    """

    message: str
    measured: str = ""
    expected: str = ""
    place: Place | None = None
    class_: str = ""
    verdict: str = ""
    check: str = ""


@dataclass(frozen=True)
class Rule:
    """A class of mistake. hides: classes whose findings only show effects of this one."""

    name: str
    says: str
    check: str
    verdict: str
    hides: tuple[str, ...]
    hint: Hint | None


@dataclass
class Look:
    """A function that looks at evidence, and the classes that it may name.

    of: the kind of evidence. alone: it is asked first, and if it sees anything, no later look is
    asked. otherwise: it is asked only if its check has no finding yet. of_check: a note's check.
    """

    see: Callable[[Any], Iterable[Seen]]
    of: str = SAMPLE
    alone: bool = False
    otherwise: bool = False
    of_check: str = ""
    classes: tuple[str, ...] = ()

    @property
    def check(self) -> str:
        """The note's check, or that of the first class."""
        return self.of_check or RULES[self.classes[0]].check

    def finding(self, seen: Seen) -> Finding:
        """A finding of one of the classes; without a class if it is no mistake."""
        figures = (seen.message, seen.measured, seen.expected)
        if seen.verdict:
            found = Finding(seen.check or self.check, seen.verdict, "", *figures)
        else:
            one = RULES[seen.class_ or self.classes[0]]
            found = Finding(seen.check or one.check, one.verdict, one.name, *figures)
        return found.at(seen.place)


RULES: dict[str, Rule] = {}
CLASSES: dict[str, str] = {}
"""The sentence of each class of mistake."""
LOOKS: dict[Callable[[Any], Iterable[Seen]], Look] = {}
See = TypeVar("See", bound=Callable[[Any], Iterable[Seen]])


def rule(
    name: str,
    says: str,
    check: str,
    *,
    hides: tuple[str, ...] = (),
    hint: Hint | None = None,
    of: str = SAMPLE,
    alone: bool = False,
) -> Callable[[See], See]:
    """Declare a class of mistake, found by the decorated function.

    Args:
        name: of the class, as users see it.
        says: the mistake in one sentence without a number.
        check: one of CHECKS, the part of a VAE that is wrong. A mistake of "weight" has the verdict
            SCALE: both terms are right, but reduced differently. Every other one is a BUG.
        hides: classes that are left out if this one is found.
        hint: for the drill, if its own texts have none for the class.
        of: what the function looks at: SAMPLE, NO_SAMPLE or PROGRAM.
        alone: whether the function is asked first, and no other one if it sees anything.

    Raises:
        ValueError: there is such a class already.
    """
    if name in RULES:
        raise ValueError(f"there is a rule {name} already")
    RULES[name] = Rule(name, says, check, SCALE if check == "weight" else BUG, hides, hint)
    CLASSES[name] = says
    return also(name, of=of, alone=alone)


def also(*names: str, of: str = SAMPLE, alone: bool = False) -> Callable[[See], See]:
    """Declare that the decorated function also finds these classes, declared elsewhere."""

    def added(see: See) -> See:
        look = LOOKS.setdefault(see, Look(see, of=of, alone=alone))
        look.classes += names
        return see

    return added


def note(
    check: str, *, of: str = SAMPLE, alone: bool = False, otherwise: bool = False
) -> Callable[[See], See]:
    """Declare that the decorated function says what is right, unusual or cannot be judged."""

    def added(see: See) -> See:
        LOOKS[see] = Look(see, of, alone, otherwise, check)
        return see

    return added


def forget(name: str) -> None:
    """Remove a class, and the looks that find no other class."""
    del RULES[name], CLASSES[name]
    for see, look in [(see, look) for see, look in LOOKS.items() if name in look.classes]:
        look.classes = tuple(one for one in look.classes if one != name)
        if not look.classes:
            del LOOKS[see]


def judged(evidence: Any, of: str = SAMPLE) -> list[Finding]:
    """Ask the looks for that kind of evidence: those that are alone, then in order of CHECKS."""
    looks = [look for look in LOOKS.values() if look.of == of]
    found: list[Finding] = []
    for look in sorted(looks, key=lambda look: (not look.alone, _place(look.check))):
        if look.otherwise and any(finding.check == look.check for finding in found):
            continue
        seen = [look.finding(one) for one in look.see(evidence)]
        found += seen
        if look.alone and seen:
            break
    return found


def _place(check: str) -> int:
    return CHECKS.index(check) if check in CHECKS else len(CHECKS)


def ordered(found: Iterable[Finding]) -> list[Finding]:
    """The findings, the worst first, without those that another one hides."""
    found = list(found)
    hidden = {name for one in found if one.class_ in RULES for name in RULES[one.class_].hides}
    if any(one.check == "kl" and one.verdict == BUG for one in found):
        # A KL of the right form may have a wrong factor or sign: it is not called right then.
        found = [one for one in found if (one.check, one.verdict) != ("kl", RIGHT)]
    kept = (one for one in found if one.class_ not in hidden)
    return sorted(kept, key=lambda one: -WEIGHT[one.verdict])


def table() -> str:
    """The classes as rows of a Markdown table: name, verdict, sentence."""
    rows = (f"| {one.name} | {one.verdict} | {one.says} |" for one in RULES.values())
    return "\n".join(["| class | verdict | what it says |", "| --- | --- | --- |", *rows])
