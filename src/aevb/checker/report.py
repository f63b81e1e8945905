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

CLASSES: Mapping[str, str] = {
    "noise-uniform": "the noise is uniform; the posterior is normal",
    "noise-scaled": "the noise does not have variance 1",
    "noise-of-the-sample": (
        "the noise is drawn around mu with the deviation std, and is no noise but the sample"
    ),
    "noise-repeated": "every call draws the same noise",
    "noise-shared-batch": "one noise vector serves all rows of the batch",
    "noise-shared-dims": "one noise number serves all latent dimensions of a row",
    "noise-missing": "no noise reaches the decoder",
    "noise-eval-only": "noise is drawn in evaluation and not in training",
    "std-exp-logvar": "the deviation is exp(logvar); it is exp(logvar / 2)",
    "std-half-exp-logvar": "the deviation is exp(logvar) / 2; it is exp(logvar / 2)",
    "std-raw-head": "the head that the KL reads as logvar is used as the deviation as it is",
    "sigma-raw-linear": "the deviation comes straight out of a linear layer and can be negative",
    "gradient-cut-mu": "no gradient flows through z to mu",
    "gradient-cut-logvar": "no gradient flows through z to logvar",
    "gradient-cut-both": "no gradient flows through z to the encoder",
    "logvar-in-place": "logvar is changed in place before the KL reads it",
    "softplus-confusion": "the softplus output is read in two ways",
    "sampler-kl-mismatch": "the sampler and the KL read the head in two ways",
    "heads-shared": "one layer gives both the mean and the deviation",
    "head-activation": (
        "an activation, dropout or normalisation sits on a head that has to reach all real numbers"
    ),
    "kl-sign": "the KL, or a part of it, has the wrong sign",
    "kl-doubled": "the KL is twice what it should be",
    "kl-halved": "the KL is half of what it should be",
    "kl-missing-mu2": "the KL lacks mu^2",
    "kl-missing-log": "the KL lacks the log-variance",
    "kl-missing-variance": "the KL lacks the variance",
    "kl-missing-half-terms": "some terms of the KL lack their factor 1/2",
    "kl-wrong": "the KL is not that of any Gaussian from N(0, I)",
    "kl-log-sigma-reading": "the KL reads logvar as log sigma",
    "kl-swapped": "the KL has mu and logvar exchanged",
    "kl-reversed": "the KL is that of the prior from the posterior",
    "kl-sum-over-batch": (
        "the KL is summed over the rows of the batch and not over latent dimensions"
    ),
    "kl-mean-over-latents": "the KL is averaged over latent dimensions; it is their sum",
    "kl-mean-over-all": "the KL is averaged over everything",
    "kl-absent": "the loss has no KL",
    "kl-detached": "the KL is in the loss without a gradient",
    "kl-subtracted": "the KL is subtracted from the reconstruction error",
    "kl-mean-over-batch": (
        "the KL is averaged over the rows of the batch, the reconstruction error summed"
    ),
    "reconstruction-mean": (
        "the reconstruction error is averaged over data dimensions, the KL summed"
    ),
    "draws-summed": (
        "the reconstruction errors of several draws of z are added up; they are averaged"
    ),
    "reduction-ignored": (
        "the reduction that was asked for does not take effect: the error is averaged"
    ),
    "bce-swapped": (
        "binary cross-entropy gets the data for its prediction and the output for its target"
    ),
    "bce-out-of-range": "binary cross-entropy meets targets outside [0, 1]",
    "sigmoid-range": "a sigmoid limits the reconstruction of data that leaves [0, 1]",
    "sigmoid-twice": "the output goes through a sigmoid twice",
    "sigmoid-missing": "binary cross-entropy of probabilities gets an output without a sigmoid",
    "prior-uniform": "new points are decoded from uniform z; the prior is normal",
}
"""Each class of findings with what it says; the first are fixed names, others may be added."""


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
