"""The child's side of a check: ``python -m aevb.checker.child FILE MAPPING``, MAPPING in JSON.

Only ``sandbox.parent.run`` starts it.
"""

from __future__ import annotations

import gc
import json
import sys
import warnings
from dataclasses import asdict
from pathlib import Path

import torch

from aevb.checker.judge import judge
from aevb.checker.program.program import Program
from aevb.checker.program.replacing import patched
from aevb.checker.program.source import read
from aevb.checker.report import CANNOT_JUDGE, Finding, Report, cannot_judge
from aevb.checker.sandbox.confine import confine, send
from aevb.checker.session import Session
from aevb.checker.steps.mapped import UnknownNameError


def judge_file(path: Path, mapping: dict[str, str], session: Session) -> Report:
    """Judge the file, in this process."""
    program = Program(read(path), session, mapping=mapping)
    report = judge(program)
    if session.missing:
        names = ", ".join(sorted({name.split(".")[0] for name in session.missing}))
        message = f"not installed here, and replaced by what does nothing: {names}"
        if report.verdict == CANNOT_JUDGE:
            report.findings.append(Finding("imports", CANNOT_JUDGE, "", message))
        else:
            report.parts["what is not installed here, and does nothing,"] = names
    return report


def main(path: str, mapping: str) -> None:
    """Confine this process, judge the file, send the report."""
    warnings.simplefilter("ignore")
    torch.set_num_threads(1)
    source = Path(path)
    with patched(Session()) as session:
        layers = confine()
        gc.freeze()  # the search for names of layers then sees only the program's objects
        try:
            report = judge_file(source, json.loads(mapping), session)
        except UnknownNameError as error:
            report = cannot_judge(str(error))
        except RecursionError:
            report = cannot_judge("the program calls itself without end")
    report.trace.append(f"confined by {', '.join(layers)}")
    findings = [asdict(finding) for finding in report.findings]
    send(
        report.to_dict()
        | {"findings": findings, "trace": report.trace, "fingerprint": report.fingerprint}
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
