"""The parent's side of a check: it lets a confined child judge the file, and reads the answer."""

from __future__ import annotations

import difflib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

from aevb.checker.program.source import Source, SourceError, read
from aevb.checker.report import ROLES, Report, cannot_judge
from aevb.checker.sandbox.confine import Limits
from aevb.checker.sandbox.parent import run
from aevb.errors import NotFoundError, UsageError


def in_a_child(path: Path, mapping: dict[str, str], limits: Limits | None) -> Report:
    """Do what ``aevb.checker.check_file`` says."""
    for role in (one for one in mapping if one not in ROLES):
        near = difflib.get_close_matches(role, ROLES, 1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise UsageError(f"--map knows the roles {', '.join(ROLES)}; got {role!r}{hint}")
    if not path.is_file():
        message = f"no such file: {path}; expected a .py or an .ipynb file with a VAE in it"
        raise NotFoundError(message)
    try:
        source = read(path)
    except SourceError as error:
        return cannot_judge(str(error), "source")
    given = [str(path.resolve()), json.dumps(mapping)]
    ended = run("aevb.checker.child", given, limits or Limits())
    if ended.result is None:
        return cannot_judge(ended.sentence, "sandbox")
    try:
        return _answered(ended.result, source)
    except (KeyError, TypeError, ValueError, AttributeError):
        message = "the program answered in the checker's place, with something that is no report"
        return cannot_judge(message, "sandbox")


def _answered(result: dict[str, Any], source: Source) -> Report:
    """The report that the child sent, with its places in words."""
    trace = [str(line) for line in result.get("trace", [])]
    measured = result.get("fingerprint", {}).items()
    numbers = {str(name): [float(x) for x in values] for name, values in measured}
    return replace(Report.from_dict(result, trace), fingerprint=numbers).placed(source)
