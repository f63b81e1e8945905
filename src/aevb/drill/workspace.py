"""The folder of a drill: its files, how it starts and begins again, and which file to judge."""

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
    """The learner's file.

    source: its Python code; the cells of a notebook are joined. unchanged: whether the file is
    still the stub.
    """

    path: Path
    source: str
    unchanged: bool


def contents() -> dict[str, str]:
    """Return the texts of the files that ``start`` writes, by name."""
    return {
        FILE: percent.module(percent.STUB),
        NOTEBOOK: percent.NOTEBOOK.read_text(encoding="utf-8"),
        GUIDE: percent.GUIDE.read_text(encoding="utf-8"),
    }


def start(folder: Path, *, untimed: bool, now: float) -> None:
    """Write a new drill into a folder.

    Args:
        folder: The folder, which is made if it is missing.
        untimed: Whether times are hidden.
        now: Seconds since 1970.

    Raises:
        OutputExistsError: There is a drill already, or a file of the same name with other content.
    """
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
    """Begin again, and keep the old files under numbered names (vae-1.py, drill-1.json).

    This works with a damaged state as well.

    Args:
        folder: The folder of the drill.
        untimed: Whether times are hidden from now on.
        now: Seconds since 1970.

    Returns:
        The paths of the kept files.

    Raises:
        NotFoundError: There is no drill in the folder.
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
        raise state.cannot_write(folder, error) from error
    for name, text in contents().items():
        write(folder / name, text)
    state.save(folder, state.State(untimed=untimed, events=[Event(now, "start")]))


def write(path: Path, text: str) -> None:
    """Write a text completely or not at all. Raises CannotWriteError."""
    files.whole(path, lambda part: part.write_text(text, encoding="utf-8"))


def _put_aside(path: Path, *, copy: bool = False) -> Path:
    """Rename a file to its name with the first free number, and return the new path.

    copy: copy it instead, so that the old file stays until a new one takes its place.
    """
    names = (f"{path.stem}-{number}{path.suffix}" for number in itertools.count(1))
    free = next(place for name in names if not (place := path.with_name(name)).exists())
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
    """Return a file's text, "" if there is no file.

    Bytes that are not UTF-8 are replaced, so the text differs from all texts that the drill writes.
    """
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def find_work(folder: Path) -> Work:
    """Return the file to judge: vae.py or the notebook.

    It is the one that differs from the stub. If both do, it is the one saved last.

    Raises:
        NotFoundError: Neither file exists.
        DataError: There is only a notebook, and it cannot be read.
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
    except (OSError, ValueError):  # it has just been removed, or an editor is writing it
        return None
