"""Grade a learner's file: read it for missing functions, and let the checker find mistakes."""

from __future__ import annotations

import ast
import hashlib
import tempfile
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aevb.drill import program, reach
from aevb.drill.workspace import Work

if TYPE_CHECKING:
    from aevb.checker import Report
    from aevb.checker.report import Finding

FUNCTIONS = ("encode", "reparameterize", "decode", "forward", "kl_divergence", "vae_loss")
"""The functions that the learner writes, in the order of the file."""
UNFINISHED = "unfinished-"
WRONG = ("bug", "scale")
"""Verdicts that the learner has to act on, the worst first.

A weight on the KL is one of them, since the drill asks for the plain bound.
"""


@dataclass(frozen=True)
class DrillFinding:
    """One line for the learner.

    It comes from a finding of the checker, a function that is missing, or a check that failed.

    Attributes:
        class_: The name of the finding in hints and reports.
        verdict: One of WRONG, "right", "unusual", "cannot_judge", "unfinished" or "failed".
        message: One sentence.
        line: The line in the file that it is about, or None.
    """

    class_: str
    verdict: str
    message: str
    line: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the finding as plain values, in which ``class_`` is called "class"."""
        return {
            "class": self.class_,
            "verdict": self.verdict,
            "message": self.message,
            "line": self.line,
        }


@dataclass(frozen=True)
class Grade:
    """The judgement of one version of a file.

    Attributes:
        verdict: "right", "unusual", "bug", "scale", "cannot_judge" or "unfinished".
        file: The name of the file.
        digest: A digest of the version that was judged.
        findings: The lines for the learner.
    """

    verdict: str
    file: str
    digest: str
    findings: list[DrillFinding] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether nothing is left to do."""
        return self.verdict in ("right", "unusual")

    @property
    def exit_code(self) -> int:
        """0 right, 1 wrong or unfinished, 2 could not judge, as for ``aevb check``."""
        return 0 if self.passed else 2 if self.verdict == "cannot_judge" else 1

    def to_dict(self) -> dict[str, Any]:
        """Return the grade as plain values."""
        return asdict(self) | {"findings": [finding.to_dict() for finding in self.findings]}


def from_dict(value: dict[str, Any] | None) -> Grade | None:
    """Undo ``to_dict``; return None for None. The fields were checked when the state was read."""
    if value is None:
        return None
    findings = [
        DrillFinding(one["class"], one["verdict"], one["message"], one.get("line"))
        for one in value["findings"]
    ]
    return Grade(value["verdict"], value["file"], value.get("digest", ""), findings)


def digest(work: Work) -> str:
    """Return a short text that differs between two versions of the learner's code."""
    return hashlib.sha256(work.source.encode()).hexdigest()[:16]


def unfinished(work: Work) -> list[DrillFinding]:
    """Return a finding for each function that is not written yet, without running the file.

    A syntax error, if there is one, is the only finding.
    """
    try:
        tree = ast.parse(work.source)
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        message = f"line {line}: Python cannot read this: {getattr(error, 'msg', error)}"
        return [DrillFinding("syntax-error", "bug", message, line)]
    found = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    findings = (_unfinished(name, found.get(name)) for name in FUNCTIONS)
    return [finding for finding in findings if finding is not None]


def _unfinished(name: str, function: ast.FunctionDef | None) -> DrillFinding | None:
    if function is None:
        message = f"{name} is gone; the drill calls it by that name"
        return DrillFinding(UNFINISHED + name, "unfinished", message)
    if not any(_raises_not_implemented(statement) for statement in function.body):
        return None
    message = f"line {function.lineno}: {name} is not written yet"
    return DrillFinding(UNFINISHED + name, "unfinished", message, function.lineno)


def _raises_not_implemented(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Raise) and "NotImplementedError" in ast.unparse(statement)


def grade(work: Work) -> Grade:
    """Grade a file.

    The checker runs the file's code in a process of its own. It is not called if there is a syntax
    error, or if reparameterize and kl_divergence, which it can judge alone, are both missing.
    """
    missing = unfinished(work)
    names = {finding.class_ for finding in missing}
    if "syntax-error" in names:
        return Grade("bug", work.path.name, digest(work), missing)
    if {UNFINISHED + "reparameterize", UNFINISHED + "kl_divergence"} <= names:
        return Grade("unfinished", work.path.name, digest(work), missing)
    report = check(work)
    if missing:
        # In an unfinished file, parts that cannot be judged yet are not worth a line.
        wrong = [finding for finding in report.findings if finding.verdict in WRONG]
        findings = _judged(wrong, work) + missing
        return Grade("unfinished", work.path.name, digest(work), findings)
    findings = [
        *_stopped(report, work),
        *_judged(report.findings, work),
        *_kl_not_seen(report),
    ]
    return Grade(_worst(findings, report.verdict), work.path.name, digest(work), findings)


def _judged(findings: list[Finding], work: Work) -> list[DrillFinding]:
    """Return the checker's findings in the drill's form.

    If the decoder cannot reach the data, a finding about its range comes first.
    """
    wrong = {finding.check for finding in findings if finding.verdict in WRONG}
    short = [] if "decoder" in wrong else out_of_reach(work)
    # The checker calls the decoder right if the error has the right form. That says nothing about
    # the range of the output, so a finding about the range takes its place.
    return short + [
        _for_learner(finding, work)
        for finding in findings
        if not (short and finding.check == "decoder")
    ]


def _stopped(report: Report, work: Work) -> list[DrillFinding]:
    """Return a finding if the drill's own training ended in an error."""
    error = program.stopped(work, report.trace) if work.path.suffix == ".py" else ""
    message = f"training stops in its first step: {error}"
    return [DrillFinding("training-stopped", "bug", message)] if error else []


def _kl_not_seen(report: Report) -> list[DrillFinding]:
    """Return a finding if the checker called the file right without having judged a KL."""
    judged = any(finding.check == "kl" for finding in report.findings)
    if judged or report.verdict not in ("right", "unusual"):
        return []
    message = (
        "the KL was not seen in the loss: it does not change with mu and logvar where it was"
        " looked at"
    )
    return [DrillFinding("kl", "cannot_judge", message)]


def _worst(findings: Iterable[DrillFinding], otherwise: str) -> str:
    """Return the worst verdict of the findings, or ``otherwise`` if there is no bad one."""
    verdicts = {finding.verdict for finding in findings}
    return next((bad for bad in (*WRONG, "cannot_judge") if bad in verdicts), otherwise)


def _for_learner(finding: Finding, work: Work) -> DrillFinding:
    """Return a finding of the checker in the drill's form: one line, with a number in it."""
    ours = DrillFinding(
        finding.class_ or finding.check, finding.verdict, _with_number(finding), finding.line
    )
    if finding.check == "weight" and finding.verdict == "unusual" and finding.expected:
        # Elsewhere a weight on the KL is a choice. The drill asks for the plain bound.
        ours = replace(ours, class_="kl-weight", verdict="scale")
    if work.path.suffix != ".py":
        return replace(ours, line=None if finding.file else finding.line)
    own = not finding.file and program.is_the_learners(finding.line, work)
    line = finding.line if own else None
    return replace(ours, line=line, message=_placed(ours.message, line))


def _with_number(finding: Finding) -> str:
    """Return the message, with the measured number behind it if it holds none."""
    message = program.told(finding.message)
    if not finding.measured or any(sign.isdigit() for sign in message):
        return message
    expected = f", expected {finding.expected}" if finding.expected else ""
    return f"{message} (measured {finding.measured}{expected})"


def _placed(message: str, line: int | None) -> str:
    return message if line is None else f"line {line}: {message}"


def check(work: Work) -> Report:
    """Run the checker on the file. A notebook is checked with its own training, on its own data.

    The checker is imported here, so that commands that do not judge start fast.
    """
    from aevb.checker import check_file

    if work.path.suffix != ".py":
        return check_file(work.path)
    with tempfile.TemporaryDirectory() as folder:
        return check_file(program.put(work, Path(folder)))


def out_of_reach(work: Work) -> list[DrillFinding]:
    """Return a finding if the decoder cannot reach the data.

    A decoder that is written like the solution's can reach it, so it is not tested.
    """
    from aevb.checker.sandbox.parent import run

    if reach.is_plain(work.source):
        return []
    with tempfile.TemporaryDirectory() as folder:
        ended = run("aevb.drill.reach", [str(program.put(work, Path(folder)).resolve())])
    ends = ended.result or {}
    if not ends or not reach.falls_short(ends["low"], ends["high"]):
        return []
    line = reach.line_of_decode(work.source) if work.path.suffix == ".py" else None
    message = _placed(reach.told(ends["low"], ends["high"]), line)
    return [DrillFinding("output-range", "bug", message, line)]
