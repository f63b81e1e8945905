"""Judge a learner's file: what is not written yet, by reading it; what is wrong, by the checker.
The seam between both."""

from __future__ import annotations

import ast
import hashlib
import tempfile
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aevb.drill import program, reach
from aevb.drill.workspace import Work

if TYPE_CHECKING:
    from aevb.checker import Report

FUNCTIONS = ("encode", "reparameterize", "decode", "forward", "kl_divergence", "vae_loss")
"""What the learner writes, in the order of the file."""
UNFINISHED = "unfinished-"
WRONG = ("bug", "scale")
"""Verdicts of findings that the learner has to act on. A weight on the KL is one: the drill asks
for the plain bound."""


@dataclass(frozen=True)
class Finding:
    """One line for the learner. class_: its name in hints and reports; line: in the file, or None."""

    class_: str
    verdict: str
    message: str
    line: int | None = None

    def to_dict(self) -> dict[str, Any]:
        """As the state and ``--json`` hold it: "class", not "class_"."""
        return {
            "class": self.class_,
            "verdict": self.verdict,
            "message": self.message,
            "line": self.line,
        }


@dataclass(frozen=True)
class Grade:
    """verdict: right, bug, scale, unusual, cannot_judge, or unfinished. digest: of the file that
    was judged."""

    verdict: str
    file: str
    digest: str
    findings: list[Finding] = field(default_factory=list)

    @property
    def passed(self) -> bool:
        """Whether nothing is left to do."""
        return self.verdict in ("right", "unusual")

    @property
    def exit_code(self) -> int:
        """0 right, 1 wrong or unfinished, 2 could not judge: as ``aevb check``."""
        return 0 if self.passed else 2 if self.verdict == "cannot_judge" else 1

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self) | {"findings": [finding.to_dict() for finding in self.findings]}


def from_dict(value: dict[str, Any] | None) -> Grade | None:
    """The grade that ``to_dict`` made an object of, None for None. The state has checked its
    fields."""
    if value is None:
        return None
    findings = [
        Finding(f["class"], f["verdict"], f["message"], f.get("line")) for f in value["findings"]
    ]
    return Grade(value["verdict"], value["file"], value.get("digest", ""), findings)


def digest(work: Work) -> str:
    """What tells two versions of the learner's code apart."""
    return hashlib.sha256(work.source.encode()).hexdigest()[:16]


def unfinished(work: Work) -> list[Finding]:
    """What is not written yet, found without running it; a syntax error is the only finding, if
    there is one."""
    try:
        tree = ast.parse(work.source)
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None)
        return [
            Finding(
                "syntax-error",
                "bug",
                f"line {line}: Python cannot read this: {getattr(error, 'msg', error)}",
                line,
            )
        ]
    found = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    findings = []
    for name in FUNCTIONS:
        node = found.get(name)
        if node is None:
            findings.append(
                Finding(
                    UNFINISHED + name,
                    "unfinished",
                    f"{name} is gone; the drill calls it by that name",
                )
            )
        elif any(_raises_not_implemented(statement) for statement in node.body):
            message = f"line {node.lineno}: {name} is not written yet"
            findings.append(Finding(UNFINISHED + name, "unfinished", message, node.lineno))
    return findings


def _raises_not_implemented(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.Raise) and "NotImplementedError" in ast.unparse(statement)


def grade(work: Work) -> Grade:
    """Judge a file. The checker runs its code in a process of its own, and only once something of
    it can be judged."""
    open_ = unfinished(work)
    names = {finding.class_ for finding in open_}
    if "syntax-error" in names:
        return Grade("bug", work.path.name, digest(work), open_)
    if {UNFINISHED + "reparameterize", UNFINISHED + "kl_divergence"} <= names:
        return Grade("unfinished", work.path.name, digest(work), open_)
    report = check(work)
    far = (
        []
        if any(one.check == "decoder" and one.verdict in WRONG for one in report.findings)
        else out_of_reach(work)
    )
    findings = far + [
        _ours(finding, work)
        for finding in report.findings
        if not open_ or finding.verdict in WRONG  # of half a file, what cannot be judged is no news
        if not far
        or finding.check
        != "decoder"  # an error of the right form says nothing of what the output can be
    ]
    error = program.stopped(work, report.trace) if not open_ and work.path.suffix == ".py" else ""
    if error:
        findings = [
            Finding("training-stopped", "bug", f"training stops in its first step: {error}"),
            *findings,
        ]
    if (
        not open_
        and report.verdict in ("right", "unusual")
        and not any(finding.check == "kl" for finding in report.findings)
    ):
        message = (
            "the KL was not seen in the loss: it does not change with mu and logvar where it was"
            " looked at"
        )
        findings.append(Finding("kl", "cannot_judge", message))
    worst = next(
        (
            verdict
            for verdict in (*WRONG, "cannot_judge")
            if verdict in {finding.verdict for finding in findings}
        ),
        report.verdict,
    )
    return Grade("unfinished" if open_ else worst, work.path.name, digest(work), findings + open_)


def _ours(finding: Any, work: Work) -> Finding:
    """A finding of the checker as one line with a number, and with its line if that is one that the
    learner can find."""
    message = program.told(finding.message)
    if finding.measured and not any(sign.isdigit() for sign in message):
        message += f" (measured {finding.measured}" + (
            f", expected {finding.expected})" if finding.expected else ")"
        )
    name, verdict = finding.class_ or finding.check, finding.verdict
    if (
        finding.check == "weight" and verdict == "unusual" and finding.expected
    ):  # elsewhere a choice, here not what is asked for
        name, verdict = "kl-weight", "scale"
    if work.path.suffix != ".py":
        return Finding(name, verdict, message, None if finding.file else finding.line)
    own = not finding.file and program.is_the_learners(finding.line, work)
    line = finding.line if own else None
    return Finding(name, verdict, message if line is None else f"line {line}: {message}", line)


def check(work: Work) -> Report:
    """Ask the checker. Its import is put off: commands that do not judge never pay for it.

    A notebook has its own training, on the data that it was given.
    """
    from aevb.checker import check_file

    if work.path.suffix != ".py":
        return check_file(work.path)
    with tempfile.TemporaryDirectory() as folder:
        return check_file(program.put(work, Path(folder)))


def out_of_reach(work: Work) -> list[Finding]:
    """A finding if the decoder cannot give the data; one that is written as the solution's can, and
    is not tried."""
    from aevb.checker.sandbox.parent import run

    if reach.is_plain(work.source):
        return []
    with tempfile.TemporaryDirectory() as folder:
        ended = run("aevb.drill.reach", [str(program.put(work, Path(folder)).resolve())])
    ends = ended.result or {}
    if not ends or not reach.falls_short(ends["low"], ends["high"]):
        return []
    line = reach.line_of_decode(work.source) if work.path.suffix == ".py" else None
    message = reach.told(ends["low"], ends["high"])
    return [
        Finding("output-range", "bug", message if line is None else f"line {line}: {message}", line)
    ]
