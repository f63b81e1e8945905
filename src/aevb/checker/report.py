"""What the checker says: findings with a verdict, a class, a sentence with a number, and a line;
and their report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Protocol

from aevb.checker.places import Place

RIGHT, BUG, SCALE, UNUSUAL, CANNOT_JUDGE = "right", "bug", "scale", "unusual", "cannot_judge"
WORDS = {
    RIGHT: "right",
    BUG: "BUG",
    SCALE: "SCALE",
    UNUSUAL: "right, but unusual",
    CANNOT_JUDGE: "cannot judge",
}
WEIGHT = {BUG: 4, SCALE: 3, CANNOT_JUDGE: 2, UNUSUAL: 1, RIGHT: 0}
ROLES = ("model", "sampler", "kl", "loss")
"""What ``mapping`` may name: a class, or functions and methods ("VAE.reparameterize" or
"reparameterize")."""
EXIT_CODES = {RIGHT: 0, UNUSUAL: 0, BUG: 1, SCALE: 1, CANNOT_JUDGE: 2}


@dataclass(frozen=True)
class Finding:
    """One thing that was seen. class_: one of CLASSES, "" for what is right. measured, expected:
    figures or short formulas.

    line: of the file, or of all code cells of a notebook one after another. file: the name of the
    file beside the program that the line is in; "" for the program itself. where: the place for a
    person, with the cell or the other file.
    """

    check: str
    verdict: str
    class_: str
    message: str
    measured: str = ""
    expected: str = ""
    line: int | None = None
    where: str = ""
    file: str = ""

    def to_dict(self) -> dict[str, Any]:
        """A JSON object, with ``class`` for ``class_``."""
        fields = asdict(self)
        where = fields.pop("where")
        if fields.pop("file"):
            fields |= {"line": None, "message": f"{where}: {self.message}"}
        return {"class" if name == "class_" else name: value for name, value in fields.items()}

    def at(self, place: Place | None) -> Finding:
        """The same finding at a place of the program."""
        return self if place is None else replace(self, file=place.file, line=place.line)

    def placed(self, source: Named) -> Finding:
        """The same with the place named for people."""
        if self.line is None:
            return self
        place = Place(self.file, self.line)
        return replace(self, where=source.where(place), file=source.other(place.file))


class Named(Protocol):
    """Gives names to places: a program's source."""

    def where(self, place: Place | None) -> str:
        """The place in words."""

    def other(self, file: str) -> str:
        """The name of the file beside the program; "" for the program itself."""


@dataclass(frozen=True)
class Report:
    """parts: what plays which role, in the author's words. findings: worst first. trace: how the
    parts were found.

    fingerprint: what was measured, for a picture (``fingerprint.Fingerprint``); empty where nothing
    was.
    """

    findings: list[Finding]
    parts: dict[str, str] = field(default_factory=dict)
    trace: list[str] = field(default_factory=list)
    fingerprint: dict[str, list[float]] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """The worst verdict among the findings."""
        return max(
            (finding.verdict for finding in self.findings),
            key=WEIGHT.__getitem__,
            default=CANNOT_JUDGE,
        )

    def placed(self, source: Named) -> Report:
        """The same report with its places named for people."""
        return replace(self, findings=[finding.placed(source) for finding in self.findings])

    @property
    def exit_code(self) -> int:
        """0 right, 1 wrong, 2 could not judge."""
        return EXIT_CODES[self.verdict]

    def to_dict(self) -> dict[str, Any]:
        """The object that ``--json`` prints."""
        return {
            "verdict": self.verdict,
            "parts": self.parts,
            "findings": [finding.to_dict() for finding in self.findings],
        }

    def lines(self, name: str, *, trace: bool = False) -> list[str]:
        """For people: the verdict, a line for each finding, the parts. name: of what was judged.
        trace: how, too."""
        out = [f"{name}: {WORDS[self.verdict]}"]
        width = max((len(finding.class_ or finding.check) for finding in self.findings), default=0)
        for finding in self.findings:
            place = f"{finding.where}: " if finding.where else ""
            label = (finding.class_ or finding.check).ljust(width)
            out.append(f"  {WORDS[finding.verdict]:<18} {label}  {place}{finding.message}")
        if self.parts:
            out.append(
                "found: " + "; ".join(f"{role} is {words}" for role, words in self.parts.items())
            )
        return [*out, *(f"trace: {line}" for line in self.trace)] if trace else out

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any], trace: list[str] | None = None) -> Report:
        """The report of which ``to_dict`` made an object. Raises KeyError or TypeError for another
        object."""
        findings = [
            Finding(
                **{"class_" if name == "class" else name: value for name, value in finding.items()}
            )
            for finding in fields["findings"]
        ]
        return cls(findings, dict(fields["parts"]), trace or [])


def cannot_judge(message: str, check: str = "parts", line: int | None = None) -> Report:
    """A report of nothing but the reason why nothing could be judged."""
    return Report([Finding(check, CANNOT_JUDGE, "", message, line=line)])
