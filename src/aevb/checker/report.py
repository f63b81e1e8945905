"""A report and its findings, each with a verdict, a class, a sentence and a line."""

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
"""Roles in ``mapping``: a model's class, or functions and methods by name ("reparameterize" or
"VAE.reparameterize")."""
EXIT_CODES = {RIGHT: 0, UNUSUAL: 0, BUG: 1, SCALE: 1, CANNOT_JUDGE: 2}


@dataclass(frozen=True)
class Finding:
    """One statement of the checker about a program.

    Attributes:
        check: the part that was checked, such as "noise" or "kl".
        verdict: "right", "unusual", "cannot_judge", "scale" or "bug".
        class_: the class of the mistake, one of CLASSES; "" if it is no mistake.
        message: one sentence.
        measured: a figure or a short formula.
        expected: the right figure or formula.
        line: the line in the file, or in all code cells of a notebook one after another.
        where: the place in words, with the cell or the other file.
        file: the name of the imported file that the line is in, "" for the program itself.

    Example:
        >>> from aevb.checker import Finding
        >>> finding = Finding("kl", "bug", "kl-doubled", "the KL is twice what it should be")
        >>> finding.to_dict()["class"]
        'kl-doubled'
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
        """The same finding with its place in words."""
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
    """All that the checker says about one program.

    Attributes:
        findings: the worst first.
        parts: the author's name for each part, by role.
        trace: how the parts were found.
        fingerprint: measurements for a picture; empty if there are none.

    Example:
        >>> from aevb.checker import Finding, Report
        >>> doubled = Finding("kl", "bug", "kl-doubled", "it is twice the KL", where="line 7")
        >>> report = Report([doubled, Finding("noise", "right", "", "standard normal")])
        >>> report.verdict, report.exit_code
        ('bug', 1)
        >>> print("\\n".join(report.lines("vae.py")))
        vae.py: BUG
          BUG                kl-doubled  line 7: it is twice the KL
          right              noise       standard normal
        >>> Report.from_dict(report.to_dict()).verdict
        'bug'
    """

    findings: list[Finding]
    parts: dict[str, str] = field(default_factory=dict)
    trace: list[str] = field(default_factory=list)
    fingerprint: dict[str, list[float]] = field(default_factory=dict)

    @property
    def verdict(self) -> str:
        """The worst verdict among the findings."""
        verdicts = (finding.verdict for finding in self.findings)
        return max(verdicts, key=WEIGHT.__getitem__, default=CANNOT_JUDGE)

    def placed(self, source: Named) -> Report:
        """The same report with its places in words."""
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
        """The report as text: the verdict, a line for each finding, the parts.

        Args:
            name: the name of the file or model that was judged.
            trace: whether to add how the parts were found.
        """
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
        """Make a report from the result of ``to_dict``.

        Raises:
            KeyError, TypeError: the object has another form.
        """
        names = {"class": "class_"}
        findings = [
            Finding(**{names.get(name, name): value for name, value in one.items()})
            for one in fields["findings"]
        ]
        return cls(findings, dict(fields["parts"]), trace or [])


def cannot_judge(message: str, check: str = "parts", line: int | None = None) -> Report:
    """A report with one finding, which says why nothing could be judged."""
    return Report([Finding(check, CANNOT_JUDGE, "", message, line=line)])
