"""The folder of a drill: what ``start`` writes into it, what ``reset`` keeps, and which file is the
learner's."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from pathlib import Path

from aevb import files
from aevb.drill import percent, state
from aevb.drill.clock import Event
from aevb.errors import CannotWriteError, DataError, NotFoundError, OutputExistsError

FILE, NOTEBOOK, GUIDE, REPORT = "vae.py", "vae_mock.ipynb", "notes.md", "report.html"


@dataclass(frozen=True)
class Work:
    """The learner's file. path: of it; source: Python, cells of a notebook joined; unchanged:
    whether it is still the stub."""

    path: Path
    source: str
    unchanged: bool


def contents() -> dict[str, str]:
    """What ``start`` writes, by name."""
    return {
        FILE: percent.module(percent.STUB),
        NOTEBOOK: percent.NOTEBOOK.read_text(encoding="utf-8"),
        GUIDE: percent.GUIDE.read_text(encoding="utf-8"),
    }


def start(folder: Path, *, untimed: bool, now: float) -> None:
    """Write a new drill, its state last. Raises OutputExistsError for anything that is there and is
    not what it would write."""
    if (folder / state.NAME).exists():
        raise OutputExistsError(
            f"there is a drill in {folder} already; go on with aevb drill status, or aevb drill"
            f" reset {folder}"
        )
    for name, text in contents().items():
        if (folder / name).exists() and _text(folder / name) != text:
            raise OutputExistsError(
                f"{folder / name} exists and nothing is overwritten; choose another folder"
            )
    _write(folder, untimed, now)


def reset(folder: Path, *, untimed: bool, now: float) -> list[Path]:
    """Begin again; what differs from the stub is kept under a number (vae-1.py, drill-1.json).
    Returns what was kept.

    A damaged state is no hindrance. Raises NotFoundError if there was no drill.
    """
    if not (folder / state.NAME).exists():
        state.load(folder)
    kept = [
        _put_aside(folder / name)
        for name, text in contents().items()
        if _text(folder / name) not in ("", text)
    ]
    if (folder / REPORT).exists():
        kept.append(_put_aside(folder / REPORT))
    kept.append(_put_aside(folder / state.NAME, copy=True))
    (folder / "points.csv").unlink(missing_ok=True)
    _write(folder, untimed, now)
    return kept


def _write(folder: Path, untimed: bool, now: float) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CannotWriteError(
            f"{folder} could not be written: {error.strerror or error}"
        ) from error
    for name, text in contents().items():
        write(folder / name, text)
    state.save(folder, state.State(untimed=untimed, events=[Event(now, "start")]))


def write(path: Path, text: str) -> None:
    """Write a text whole or not at all. Raises CannotWriteError."""
    files.whole(path, lambda part: part.write_text(text, encoding="utf-8"))


def _put_aside(path: Path, *, copy: bool = False) -> Path:
    """Rename a file to the first free number, or copy it there, so that it is there until a new one
    takes its place."""
    free = next(
        p
        for n in itertools.count(1)
        if not (p := path.with_name(f"{path.stem}-{n}{path.suffix}")).exists()
    )
    try:
        if copy:
            files.whole(free, lambda part: part.write_bytes(path.read_bytes()))
        else:
            path.rename(free)
    except OSError as error:
        raise CannotWriteError(
            f"{path} could not be kept as {free.name}: {error.strerror or error}"
        ) from error
    return free


def _text(path: Path) -> str:
    """A file's text, empty if there is none; bytes that are no text are replaced, and so differ
    from any that we write."""
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def find_work(folder: Path) -> Work:
    """The file to judge: of vae.py and the notebook the one that is no longer the stub, or the one
    saved last if both are.

    Raises NotFoundError if neither is there, DataError for a notebook that cannot be read and is
    all there is.
    """
    found = [work for name in (FILE, NOTEBOOK) if (work := _work(folder / name)) is not None]
    if not found:
        if (folder / NOTEBOOK).exists():
            raise DataError(
                f"{folder / NOTEBOOK} is no notebook, and {FILE} is gone; aevb drill reset writes"
                " both anew"
            )
        raise NotFoundError(f"{folder / FILE} is gone; aevb drill reset {folder} writes it anew")
    begun = [work for work in found if not work.unchanged]
    return max(begun, key=lambda work: work.path.stat().st_mtime) if begun else found[0]


def _work(path: Path) -> Work | None:
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
        if path.suffix != ".ipynb":
            return Work(path, text, text == percent.module(percent.STUB))
        stub = percent.notebook_module(percent.NOTEBOOK.read_text(encoding="utf-8"))
        source = percent.notebook_module(text)
        return Work(path, source, source == stub)
    except (OSError, ValueError):  # gone between two looks, or half-written by an editor
        return None
