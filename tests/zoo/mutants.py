"""The zoo: four right programs, mutants of each with one mistake, and right rewritings.

programs/NAME.changes lists the changes to programs/NAME.py. A block is

    @ name | verdict | class, other classes that fit as well
    ! loss: EXPRESSION      how the loss is computed, if names or outputs changed
    ! prior: NUMBER         the value of the head for sigma = 1 in the KL, if that changed
    - text that occurs exactly once in the base
    + its replacement

Several "- " and "+ " lines belong together; a "- " after a "+ " starts another replacement. A right
rewriting has no class; its third field says how its gradients relate to the base's
(``RELATIONS``).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

PROGRAMS = Path(__file__).parent / "programs"
BASES = ("tutorial", "convolutional", "log_sigma", "distributions")
VERDICTS = ("right", "bug", "scale")
RELATIONS = {
    "same": "equal loss gradients for equal noise",
    "scaled": "loss gradients in proportion, for equal noise",
    "mean": "equal loss gradients on average over the noise",
    "half": "the reconstruction term counts half: a unit-variance Gaussian",
    "head": "another function of the head, read alike by the sampler and the KL",
    "squared": "a squared error of the same reconstructions",
    "other": "another network",
}


@dataclass(frozen=True)
class Mutant:
    """A program of the zoo.

    verdict: right, bug or scale. class_: the class that a checker should name. also: other classes
    that describe it equally well. relation: for a right rewriting, one of RELATIONS. loss: a Python
    expression with model and x, "" for the base's own. prior: the head's value for sigma = 1, None
    for the base's own.
    """

    base: str
    name: str
    verdict: str
    class_: str
    source: str
    also: tuple[str, ...] = ()
    relation: str = ""
    loss: str = ""
    prior: float | None = None

    @property
    def accepted(self) -> frozenset[str]:
        """Every class that describes it."""
        return frozenset((self.class_, *self.also))


@dataclass
class _Block:
    name: str
    verdict: str
    labels: tuple[str, ...]
    edits: list[tuple[str, str]] = field(default_factory=list)
    loss: str = ""
    prior: float | None = None


def source(base: str) -> str:
    """The text of a base program."""
    return (PROGRAMS / f"{base}.py").read_text(encoding="utf-8")


def _blocks(text: str) -> Iterator[_Block]:
    for part in text.split("\n@ "):
        head, *lines = part.removeprefix("@ ").rstrip("\n").split("\n")
        name, verdict, labels = (cell.strip() for cell in head.split("|"))
        block = _Block(name, verdict, tuple(label.strip() for label in labels.split(",")))
        before: list[str] = []
        after: list[str] = []
        for line in [*lines, "-"]:
            if line.startswith("-") and after:
                block.edits.append(("\n".join(before), "\n".join(after)))
                before, after = [], []
            if line.startswith("! loss: "):
                block.loss = line.removeprefix("! loss: ")
            elif line.startswith("! prior: "):
                block.prior = float(line.removeprefix("! prior: "))
            elif line[:1] in ("-", "+") and line[1:2] in (" ", ""):
                (before if line[0] == "-" else after).append(line[2:])
            else:
                raise ValueError(
                    f'{name}: expected a line that starts with "- ", "+ " or "! ", got {line!r}'
                )
        yield block


def apply(text: str, edits: list[tuple[str, str]], name: str) -> str:
    """Replace each old text, which must occur exactly once in the base."""
    for old, _ in edits:
        if text.count(old) != 1:
            raise ValueError(
                f"{name}: expected {old!r} exactly once in the base, found it {text.count(old)}"
                " times"
            )
    for old, new in edits:
        text = text.replace(old, new, 1)
    return text


@cache
def of(base: str) -> tuple[Mutant, ...]:
    """The base itself, called "base", then its mutants and right rewritings."""
    text = source(base)
    made = [Mutant(base, "base", "right", "", text, relation="same")]
    for block in _blocks((PROGRAMS / f"{base}.changes").read_text(encoding="utf-8")):
        if block.verdict not in VERDICTS or (
            block.verdict == "right" and block.labels[0] not in RELATIONS
        ):
            raise ValueError(f"{base} {block.name}: verdict {block.verdict}, {block.labels}")
        changed = apply(text, block.edits, f"{base} {block.name}")
        class_, *also = block.labels if block.verdict != "right" else ("",)
        relation = block.labels[0] if block.verdict == "right" else ""
        made.append(
            Mutant(
                base,
                block.name,
                block.verdict,
                class_,
                changed,
                tuple(also),
                relation,
                block.loss,
                block.prior,
            )
        )
    return tuple(made)


def all() -> tuple[Mutant, ...]:
    """Every program of the zoo, the bases included."""
    return tuple(mutant for base in BASES for mutant in of(base))
