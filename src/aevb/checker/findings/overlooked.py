"""What had a part in the step that was judged, in the author's words; and the classes that draw a
sample and had none."""

from __future__ import annotations

import ast

from aevb.checker.findings.evidence import Evidence
from aevb.checker.program.source import calls, covers, last_name
from aevb.checker.report import CANNOT_JUDGE, RIGHT, UNUSUAL, WEIGHT, Finding

DRAWS = {"randn", "randn_like", "rand", "rand_like", "normal", "normal_", "rsample"}
SPREADS = {"exp", "sqrt", "softplus", "Normal", "pow"}


def draw_a_sample(tree: ast.AST) -> list[ast.ClassDef]:
    """Classes that draw noise and make a deviation."""
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            names = {last_name(call.func) for call in calls(node)}
            if names & DRAWS and names & SPREADS:
                found.append(node)
    return found


def overlooked(e: Evidence) -> list[str]:
    """Names of such classes of which no line ran in the step that was judged."""
    ran = {entry.place for entry in e.tape.entries}
    return [
        one.name
        for one in draw_a_sample(e.program.source.tree)
        if not any(covers(one, place) for place in ran)
    ]


def without_the_sampler(e: Evidence, found: list[Finding]) -> list[Finding]:
    """A finding if all would be right while the noise was ours and a class of the file draws some
    that was not looked at."""
    worst = max((f.verdict for f in found), key=WEIGHT.__getitem__, default=CANNOT_JUDGE)
    if worst not in (RIGHT, UNUSUAL) or any(entry.place is not None for entry in e.parts.noise):
        return []
    names = overlooked(e)
    message = (
        f"the sampler of {', '.join(names)} could not be run, and was not looked at; name it with"
        " --map"
    )
    return [Finding("parts", CANNOT_JUDGE, "", message)] if names else []


def named_parts(e: Evidence) -> dict[str, str]:
    """What plays which role, in the author's words."""

    def of(value: int) -> str:
        name, line = e.layer(value) or e.named(value), e.program.source.where(e.place(value))
        return f"{name} ({line})" if name and line else name or line

    roots = e.parts.roots
    out = {"step": e.step.how, "z": of(e.parts.z)}
    if len(e.parts.mean) and len(e.parts.raw):
        out["mu"] = of(roots[int(e.parts.mean[0, 0])])
        out["logvar"] = of(roots[int(e.parts.raw[0, 0])])
        out["reading"] = e.reading[0] or "of no known form"
    if e.step.loss is not None:
        out["loss"] = of(e.step.loss)
    out["not looked at"] = ", ".join(overlooked(e))
    return {role: words for role, words in out.items() if words}
