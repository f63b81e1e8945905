"""The report of a drill as plain values and as text, and the file of the generated points."""

from __future__ import annotations

import csv
from collections.abc import Iterable
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
NO_CHECKS = "not run (aevb drill check, in the last block)"


def collect(state: State, now: float) -> dict[str, Any]:
    """Return the report as plain values, for ``--json``, for the text and for the page."""
    reading = clock.read(state.events, now)
    return {
        "over": reading.over,
        "timed": not state.untimed,
        "rubric": [
            {
                "line": line.text,
                "verdict": line.verdict,
                "evidence": [asdict(observation) for observation in line.evidence],
            }
            for line in rubric.lines(state)
        ],
        "red_flags": [asdict(flag) for flag in rubric.flags(state)],
        "blocks": _blocks(reading),
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
    """Return the drill's progress as plain values. Seconds are None in an untimed drill."""
    reading = clock.read(state.events, now)
    seconds = 0 if reading.over else round(reading.seconds[reading.index])
    return {
        "block": reading.block.name if reading.block else None,
        "paused": reading.paused,
        "seconds": None if state.untimed else seconds,
        "left": None if state.untimed else round(reading.left),
        "interview": interview.summary(state.interview),
        "grade": state.grade,
    }


def _blocks(reading: clock.Reading) -> list[dict[str, Any]]:
    return [
        {
            "name": block.name,
            "title": block.title,
            "planned": block.shown,
            "seconds": round(seconds),
        }
        for block, seconds in zip(BLOCKS, reading.seconds, strict=True)
    ]


def _points_missed(state: State, question: Question) -> list[str]:
    marks = state.interview[question.key]["marks"]
    return [point for point, said in zip(question.points, marks, strict=False) if not said]


def text(report: dict[str, Any]) -> str:
    """Return the report for a terminal."""
    parts = [
        *_rubric_part(report),
        *_part("Red flags", ((flag["state"], flag["text"]) for flag in report["red_flags"])),
        *_part("Six checks" + ("" if report["checks"] else f": {NO_CHECKS}"), checks(report)),
        *_part(f"Extra, the checker: {verdict(report)}", findings(report)),
        *_part(time_heading(report), times(report)),
        "",
        f"Interview: {report['interview']['summary']}",
        f"Hints: {hints(report)}",
    ]
    if report["changed_since"]:
        parts.append(
            "The file has changed since it was last judged or checked: aevb drill check judges it"
            " anew."
        )
    return "\n".join(parts)


def _rubric_part(report: dict[str, Any]) -> list[str]:
    """Return the rubric in lines: each verdict, and the evidence below it."""
    parts = ["Rubric"]
    for line in report["rubric"]:
        parts.append(row(line["verdict"], line["line"]))
        parts += [
            f"             {'+' if one['seen'] else '-'} {one['what']}"
            for one in line["evidence"]
            if line["verdict"] != "shown" or one["seen"]
        ]
    return parts


def _part(heading: str, rows: Iterable[tuple[str, str]]) -> list[str]:
    return ["", heading, *(row(word, what) for word, what in rows)]


def row(word: str, what: str) -> str:
    """Return a line of the report: a word, and the text that it judges."""
    return f"  {word:<10} {what}"


def checks(report: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the outcome of each check in one word, and its name and message."""
    return [
        (
            "passed" if check["passed"] else "FAILED",
            f"{check['number']}. {check['name']}: {check['message']}",
        )
        for check in report["checks"]
    ]


def findings(report: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the verdict of each finding, and its name and message."""
    return [
        (finding["verdict"], f"{finding['class']}: {finding['message']}")
        for finding in report["findings"]
    ]


def times(report: dict[str, Any]) -> list[tuple[str, str]]:
    """Return the time spent in each block, and the block's title and planned time."""
    return [
        (clock.minutes(block["seconds"]), f"{block['title']} (planned: {block['planned']})")
        for block in report["blocks"]
    ]


def time_heading(report: dict[str, Any]) -> str:
    """Return the heading of ``times``."""
    return "Time per block" + ("" if report["timed"] else " (untimed)")


def verdict(report: dict[str, Any]) -> str:
    """Return the checker's verdict in words."""
    return VERDICTS.get(report["verdict"], "not run")


def hints(report: dict[str, Any]) -> str:
    """Return in one line which hints the learner asked for."""
    used = [f"{hint['about']} up to stage {hint['stages']} of 4" for hint in report["hints"]]
    looked = "; the solution was looked at" if report["solution_seen"] else ""
    return (", ".join(used) or "none") + looked


def read_points(path: Path) -> dict[str, list[tuple[float, float]]] | None:
    """Read the points of the last training, by kind ("data", "generated").

    Returns None if there is no file. Raises DataError for a damaged file.
    """
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
    """Return points by kind as the text of the file ``POINTS``."""
    rows = [f"{kind},{x:.6g},{y:.6g}" for kind, cloud in points.items() for x, y in cloud]
    return "\n".join(["kind,x,y", *rows]) + "\n"
