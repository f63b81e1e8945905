"""What a drill came to, as plain values and as text; and the points that the learner's model
generated."""

from __future__ import annotations

import csv
from dataclasses import asdict
from pathlib import Path
from typing import Any

from aevb.drill import clock, interview, rubric
from aevb.drill.blocks import BLOCKS
from aevb.drill.questions import Question
from aevb.drill.state import State
from aevb.drill.watch import VERDICTS
from aevb.errors import DataError

POINTS = "points.csv"


def collect(state: State, now: float) -> dict[str, Any]:
    """The report as plain values, for ``--json`` and for the other two forms."""
    standing = clock.read(state.events, now)
    return {
        "over": standing.over,
        "timed": not state.untimed,
        "rubric": [
            {
                "line": line.text,
                "verdict": line.verdict,
                "evidence": [asdict(e) for e in line.evidence],
            }
            for line in rubric.lines(state)
        ],
        "red_flags": [asdict(flag) for flag in rubric.flags(state)],
        "blocks": [
            {
                "name": block.name,
                "title": block.title,
                "planned": block.shown,
                "seconds": round(seconds),
            }
            for block, seconds in zip(BLOCKS, standing.seconds, strict=True)
        ],
        "interview": {
            "summary": interview.summary(state.interview),
            "missed": [
                {"question": question.text, "points": _points_missed(state, question)}
                for question in interview.missed(state.interview)
            ],
        },
        "verdict": state.grade["verdict"] if state.grade else None,
        "findings": state.grade["findings"] if state.grade else [],
        "met": state.met,
        "checks": state.six["checks"] if state.six else [],
        "hints": [{"about": about, "stages": stage} for about, stage in state.hints.items()],
        "solution_seen": state.solution_seen is not None,
    }


def position(state: State, now: float) -> dict[str, Any]:
    """Where a drill stands, as plain values. Seconds are null in an untimed drill."""
    standing = clock.read(state.events, now)
    return {
        "block": standing.block.name if standing.block else None,
        "paused": standing.paused,
        "seconds": (
            None
            if state.untimed
            else round(standing.seconds[standing.index])
            if standing.block
            else 0
        ),
        "left": None if state.untimed else round(standing.left),
        "interview": interview.summary(state.interview),
        "grade": state.grade,
    }


def _points_missed(state: State, question: Question) -> list[str]:
    marks = state.interview[question.key]["marks"]
    return [point for point, said in zip(question.points, marks, strict=False) if not said]


def text(report: dict[str, Any]) -> str:
    """The report for a terminal."""
    parts = ["Rubric"]
    for line in report["rubric"]:
        parts.append(f"  {line['verdict']:<10} {line['line']}")
        parts += [
            f"             {'+' if e['seen'] else '-'} {e['what']}"
            for e in line["evidence"]
            if line["verdict"] != "shown" or e["seen"]
        ]
    parts += ["", "Red flags"]
    parts += [f"  {flag['state']:<10} {flag['text']}" for flag in report["red_flags"]]
    parts += [
        "",
        (
            "Six checks"
            if report["checks"]
            else "Six checks: not run (aevb drill check, in the last block)"
        ),
    ]
    parts += [
        f"  {'passed' if c['passed'] else 'FAILED':<10} {c['number']}. {c['name']}: {c['message']}"
        for c in report["checks"]
    ]
    parts += ["", f"Extra, the checker: {verdict(report)}"]
    parts += [
        f"  {finding['verdict']:<10} {finding['class']}: {finding['message']}"
        for finding in report["findings"]
    ]
    parts += ["", f"Time per block{'' if report['timed'] else ' (untimed)'}"]
    parts += [
        f"  {clock.minutes(block['seconds']):<10} {block['title']} (planned: {block['planned']})"
        for block in report["blocks"]
    ]
    parts += ["", f"Interview: {report['interview']['summary']}", f"Hints: {hints(report)}"]
    if report["changed_since"]:
        parts.append(
            "The file has changed since it was last judged or checked: aevb drill check judges it"
            " anew."
        )
    return "\n".join(parts)


def verdict(report: dict[str, Any]) -> str:
    """The checker's verdict in words."""
    return VERDICTS.get(report["verdict"], "not run")


def word(check: dict[str, Any]) -> str:
    """The outcome of a check in a word."""
    return "passed" if check["passed"] else "FAILED"


def hints(report: dict[str, Any]) -> str:
    """Which hints were asked for, in a line."""
    used = (
        ", ".join(f"{hint['about']} up to stage {hint['stages']} of 4" for hint in report["hints"])
        or "none"
    )
    return used + ("; the solution was looked at" if report["solution_seen"] else "")


def read_points(path: Path) -> dict[str, list[tuple[float, float]]] | None:
    """The points that the last training left behind, by kind ("data", "generated"), or None. Raises
    DataError if damaged."""
    if not path.exists():
        return None
    points: dict[str, list[tuple[float, float]]] = {"data": [], "generated": []}
    try:
        with path.open(newline="", encoding="utf-8") as file:
            for row in csv.DictReader(file):
                points[row["kind"]].append((float(row["x"]), float(row["y"])))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{path} was damaged or edited; aevb drill check writes it anew") from error
    return points


def points_text(points: dict[str, list[list[float]]]) -> str:
    """Points by kind as the text of POINTS."""
    rows = [f"{kind},{x:.6g},{y:.6g}" for kind, cloud in points.items() for x, y in cloud]
    return "\n".join(["kind,x,y", *rows]) + "\n"
