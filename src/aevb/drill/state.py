"""``drill.json``: everything that a drill remembers.

The file is checked when it is read. It is written completely or not at all. Commands in several
terminals may want to change it at the same time. So each command reads, changes and writes it under
a lock (``editing``).
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
"""Version of the file's format."""


@dataclass
class State:
    """A drill so far.

    Attributes:
        untimed: Whether times are hidden.
        events: The events of the clock.
        interview: For each question, its "marks" (one for each point) and the typed "answers".
        hints: For each finding, the last stage shown (1 to 4).
        grade: The last grade of the learner's file.
        met: Names of the bugs in any grade so far.
        six: The last run of the six checks.
        solution_seen: When the learner looked at the solution, or None.
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
    """Read the state of a folder.

    Raises:
        NotFoundError: There is no drill in the folder.
        DataError: The file was damaged or edited.
    """
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
    """Write the state of a folder. At every moment the file holds the old state or the new one.

    Raises CannotWriteError.
    """
    text = json.dumps({"aevb_drill": FORM, **asdict(state)}, indent=1)
    files.whole(folder / NAME, lambda part: part.write_text(text, encoding="utf-8"))


@contextlib.contextmanager
def editing(folder: Path) -> Iterator[State]:
    """Give the state of a folder to a ``with`` block that changes it, and write it afterwards.

    Nobody else can change the state meanwhile. It is not written if the block raises an error.
    """
    if not folder.is_dir() or not (folder / NAME).exists():
        load(folder)
    with _locked(folder):
        state = load(folder)
        yield state
        save(folder, state)


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Hold the folder's lock.

    If the system or its disk has no locks, the last writer wins. Its file is still complete.
    """
    try:
        file = (folder / ".drill.lock").open("a")
    except OSError as error:
        raise cannot_write(folder, error) from error
    with file:
        with contextlib.suppress(ImportError, OSError):
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def cannot_write(path: Path, error: OSError) -> CannotWriteError:
    """Return the error to raise for a file or folder that the system does not let us write."""
    return CannotWriteError(f"{path} could not be written: {error.strerror or error}")


def _damaged(path: Path, reason: str) -> DataError:
    return DataError(
        f"{path} was damaged or edited ({reason}); use aevb drill reset {path.parent}, which begins"
        " again and keeps your vae.py"
    )


def _state(value: Any) -> State:
    """Return the state that JSON holds.

    Raises ValueError with the name of the first field that ``save`` would not have written.
    """
    if not isinstance(value, dict) or value.pop("aevb_drill", None) != FORM:
        raise ValueError("it is not a drill of this version")
    for name, fits in _FIELDS.items():
        if name not in value or not fits(value[name]):
            raise ValueError(f"{name!r} is missing or has a wrong value")
    if unknown := value.keys() - _FIELDS.keys():
        raise ValueError(f"{min(unknown)!r} does not belong there")
    events = [Event(event["at"], event["what"]) for event in value["events"]]
    return State(**{**value, "events": events})


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
        and all(isinstance(event, dict) and event.keys() == {"at", "what"} for event in value)
        and all(_is_time(event["at"]) and event["what"] in EVENTS for event in value)
        and [event["what"] for event in value].count("start") == 1
        and value[0]["what"] == "start"
    )


def _is_interview(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(entry, dict)
        and entry.keys() == {"marks", "answers"}
        and all(isinstance(mark, bool) for mark in _list(entry["marks"]))
        and all(isinstance(answer, str) for answer in _list(entry["answers"]))
        for entry in value.values()
    )


def _are_hints(value: Any) -> bool:
    return isinstance(value, dict) and all(
        isinstance(stage, int) and not isinstance(stage, bool) and 1 <= stage <= 4
        for stage in value.values()
    )


def _is_grade(value: Any) -> bool:
    return value is None or (
        isinstance(value, dict)
        and isinstance(value.get("verdict"), str)
        and isinstance(value.get("file"), str)
        and all(
            isinstance(finding, dict)
            and all(isinstance(finding.get(key), str) for key in ("class", "verdict", "message"))
            for finding in _list(value.get("findings"))
        )
    )


def _is_six(value: Any) -> bool:
    return value is None or (
        isinstance(value, dict)
        and isinstance(value.get("file"), str)
        and all(_is_check(check) for check in _list(value.get("checks")))
        and _are_numbers(value.get("losses"), list)
        and _are_numbers(value.get("seen"), dict)
    )


def _is_check(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and isinstance(value.get("number"), int)
        and isinstance(value.get("passed"), bool)
        and all(isinstance(value.get(key), str) for key in ("name", "message"))
    )


def _are_numbers(value: Any, kind: type) -> bool:
    """Whether a value is None, or of this kind (list or dict) with numbers alone, finite or not."""
    numbers = value.values() if isinstance(value, dict) else value
    return value is None or (
        isinstance(value, kind) and all(isinstance(one, int | float) for one in numbers)
    )


def _list(value: Any) -> list[Any]:
    """Return a list as it is. For anything else, return a list that fails every check."""
    return value if isinstance(value, list) else [None]


_FIELDS: dict[str, Callable[[Any], bool]] = {
    "untimed": lambda value: isinstance(value, bool),
    "events": _are_events,
    "interview": _is_interview,
    "hints": _are_hints,
    "grade": _is_grade,
    "met": lambda value: isinstance(value, list) and all(isinstance(name, str) for name in value),
    "six": _is_six,
    "solution_seen": lambda value: value is None or _is_time(value),
}
"""What each field of the file must be."""
