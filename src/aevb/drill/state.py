"""``drill.json``: everything that a drill remembers, read with suspicion and written whole or not
at all.

Commands in several terminals may change it at once: each reads, changes and writes it under a lock
(``editing``).
"""

from __future__ import annotations

import contextlib
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from aevb import files
from aevb.drill.clock import EVENTS, Event
from aevb.errors import CannotWriteError, DataError, NotFoundError

NAME = "drill.json"
FORM = 1
"""The version of the file's form."""


@dataclass
class State:
    """A drill so far.

    events: of its clock. interview: by question, "marks" (one a point) and "answers" (typed ones).
    hints: stage shown (1 to 4), by finding. grade: the last report on the learner's file. met:
    classes of bugs that any report named. six: the last run of the six checks. solution_seen: when,
    or None.
    """

    untimed: bool = False
    events: list[Event] = field(default_factory=list)
    interview: dict[str, dict[str, Any]] = field(default_factory=dict)
    hints: dict[str, int] = field(default_factory=dict)
    grade: dict[str, Any] | None = None
    met: list[str] = field(default_factory=list)
    six: dict[str, Any] | None = None
    solution_seen: float | None = None


def load(folder: Path) -> State:
    """Read the state of a folder. Raises NotFoundError, or DataError for one that was damaged or
    edited."""
    path = folder / NAME
    try:
        text = path.read_text(encoding="utf-8")
    except (FileNotFoundError, NotADirectoryError) as error:
        raise NotFoundError(
            f"there is no drill in {folder}; begin one with: aevb drill start {folder}"
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise _damaged(path, "cannot be read") from error
    try:
        return _state(json.loads(text))
    except (ValueError, RecursionError) as error:
        reason = "is not JSON" if isinstance(error, json.JSONDecodeError) else str(error)
        raise _damaged(path, reason) from error


def save(folder: Path, state: State) -> None:
    """Write the state of a folder: at every instant the old one or the new one. Raises
    CannotWriteError."""
    text = json.dumps({"aevb_drill": FORM, **asdict(state)}, indent=1)
    files.whole(folder / NAME, lambda part: part.write_text(text, encoding="utf-8"))


@contextlib.contextmanager
def editing(folder: Path) -> Iterator[State]:
    """The state of a folder, to be changed; it is written when the block ends well, while nobody
    else can change it."""
    if not folder.is_dir() or not (folder / NAME).exists():
        load(folder)
    with _locked(folder):
        state = load(folder)
        yield state
        save(folder, state)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock where the system and its disk have locks; elsewhere the last writer
    wins, with a whole file."""
    try:
        file = (folder / ".drill.lock").open("a")
    except OSError as error:
        raise CannotWriteError(
            f"{folder} could not be written: {error.strerror or error}"
        ) from error
    with file:
        with contextlib.suppress(ImportError, OSError):
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _damaged(path: Path, reason: str) -> DataError:
    return DataError(
        f"{path} was damaged or edited ({reason}); use aevb drill reset {path.parent}, which begins"
        " again and keeps your vae.py"
    )


def _state(value: Any) -> State:
    """A state from JSON. Raises ValueError that names the first field which is not what ``save``
    writes."""
    if not isinstance(value, dict) or value.pop("aevb_drill", None) != FORM:
        raise ValueError("it is not a drill of this version")
    for name, fits in _FIELDS.items():
        if name not in value or not fits(value[name]):
            raise ValueError(f"{name!r} is not what it should be")
    if unknown := value.keys() - _FIELDS.keys():
        raise ValueError(f"{min(unknown)!r} does not belong there")
    return State(
        **{**value, "events": [Event(event["at"], event["what"]) for event in value["events"]]}
    )


def _is_time(value: Any) -> bool:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and math.isfinite(value)
        and value >= 0
    )


def _are_events(value: Any) -> bool:
    return (
        isinstance(value, list)
        and all(isinstance(e, dict) and e.keys() == {"at", "what"} for e in value)
        and all(_is_time(e["at"]) and e["what"] in EVENTS for e in value)
        and [e["what"] == "start" for e in value] == [i == 0 for i in range(max(1, len(value)))]
    )


def _is_interview(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(entry, dict)
        and entry.keys() == {"marks", "answers"}
        and all(isinstance(mark, bool) for mark in _list(entry["marks"]))
        and all(isinstance(answer, str) for answer in _list(entry["answers"]))
        for entry in value.values()
    )


def _is_grade(value: Any) -> bool:
    return value is None or (
        isinstance(value, dict)
        and isinstance(value.get("verdict"), str)
        and isinstance(value.get("file"), str)
        and all(
            isinstance(f, dict)
            and all(isinstance(f.get(key), str) for key in ("class", "verdict", "message"))
            for f in _list(value.get("findings"))
        )
    )


def _is_six(value: Any) -> bool:
    return value is None or (
        isinstance(value, dict)
        and isinstance(value.get("file"), str)
        and all(
            isinstance(c, dict)
            and isinstance(c.get("number"), int)
            and isinstance(c.get("passed"), bool)
            and all(isinstance(c.get(key), str) for key in ("name", "message"))
            for c in _list(value.get("checks"))
        )
        and _are_numbers(value.get("losses"), list)
        and _are_numbers(value.get("seen"), dict)
    )


def _are_numbers(value: Any, kind: type) -> bool:
    """Whether it is absent, or a list or dictionary of numbers, infinite ones too."""
    numbers = value.values() if isinstance(value, dict) else value
    return value is None or (
        isinstance(value, kind) and all(isinstance(one, int | float) for one in numbers)
    )


def _list(value: Any) -> list[Any]:
    """A list, or one that holds what nothing fits."""
    return value if isinstance(value, list) else [None]


_FIELDS: dict[str, Callable[[Any], bool]] = {
    "untimed": lambda value: isinstance(value, bool),
    "events": _are_events,
    "interview": _is_interview,
    "hints": lambda value: (
        isinstance(value, dict)
        and all(
            isinstance(stage, int) and not isinstance(stage, bool) and 1 <= stage <= 4
            for stage in value.values()
        )
    ),
    "grade": _is_grade,
    "met": lambda value: isinstance(value, list) and all(isinstance(name, str) for name in value),
    "six": _is_six,
    "solution_seen": lambda value: value is None or _is_time(value),
}
