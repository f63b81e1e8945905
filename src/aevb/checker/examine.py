"""The parent's side of a check: read the file, hand it to a confined child, make a report of what
comes back."""

from __future__ import annotations

import difflib
import json
from dataclasses import replace
from pathlib import Path

from aevb.checker.program.source import SourceError, read
from aevb.checker.report import ROLES, Report, cannot_judge
from aevb.checker.sandbox.parent import Limits, run
from aevb.errors import NotFoundError, UsageError


def in_a_child(path: Path, mapping: dict[str, str], limits: Limits | None) -> Report:
    """See ``aevb.checker.check_file``."""
    for role in mapping:
        if role not in ROLES:
            near = difflib.get_close_matches(role, ROLES, 1)
            hint = f"; did you mean {near[0]}?" if near else ""
            raise UsageError(f"--map knows the roles {', '.join(ROLES)}; got {role!r}{hint}")
    if not path.is_file():
        raise NotFoundError(
            f"no such file: {path}; expected a .py or an .ipynb file with a VAE in it"
        )
    try:
        source = read(path)
    except SourceError as error:
        return cannot_judge(str(error), "source")
    ended = run(
        "aevb.checker.child", [str(path.resolve()), json.dumps(mapping)], limits or Limits()
    )
    if ended.result is None:
        return cannot_judge(ended.sentence, "sandbox")
    try:
        trace = [str(line) for line in ended.result.get("trace", [])]
        numbers = {
            str(name): [float(x) for x in values]
            for name, values in ended.result.get("fingerprint", {}).items()
        }
        return replace(Report.from_dict(ended.result, trace), fingerprint=numbers).placed(
            source
        )
    except (KeyError, TypeError, ValueError, AttributeError):
        return cannot_judge(
            "the program answered in the checker's place, with something that is no report",
            "sandbox",
        )
