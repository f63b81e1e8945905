"""Arrays into files, whole or not at all, and never over something that is there."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aevb.errors import CannotWriteError, OutputExistsError, UsageError

ARRAYS = (".npy", ".npz", ".csv")
PICTURES = (".png", ".pdf", ".svg")


def check(path: Path, *, make_folder: bool = False) -> None:
    """Raise before the work is done rather than after it: OutputExistsError, UsageError for a
    format that is not known."""
    if path.suffix.lower() not in ARRAYS + PICTURES:
        raise UsageError(
            f"cannot write {path.name!r}: its name must end in {', '.join(ARRAYS + PICTURES)}"
        )
    if path.exists():
        raise OutputExistsError(f"{path} exists already; remove it or choose another name")
    if not make_folder and not path.parent.is_dir():
        raise CannotWriteError(f"there is no folder {path.parent} to write {path.name} into")


def is_picture(path: Path) -> bool:
    """Whether the name asks for a picture rather than for numbers."""
    return path.suffix.lower() in PICTURES


def write(path: Path, arrays: dict[str, NDArray[Any]], columns: Sequence[str]) -> None:
    """Write arrays with one row per example: .npy the first of them, .npz each by name, .csv side
    by side.

    columns: names for .csv, of all arrays together, each flattened to (N, columns). Raises
    CannotWriteError.
    """
    first = next(iter(arrays.values()))
    writers: dict[str, Callable[[Path], object]] = {
        ".npy": lambda part: _with_open(part, lambda file: np.save(file, first)),
        ".npz": lambda part: _with_open(
            part, lambda file: np.savez_compressed(file, allow_pickle=False, **arrays)
        ),
        ".csv": lambda part: _write_csv(part, list(arrays.values()), columns),
    }
    whole(path, writers[path.suffix.lower()])


def whole(path: Path, write_to: Callable[[Path], object]) -> None:
    """Let ``write_to`` write beside ``path``, then move the finished file there: at every instant
    the old file or the new.

    Raises CannotWriteError. Whatever ends it early, Ctrl-C included, leaves nothing half-written
    behind.
    """
    part = part_of(path)
    try:
        write_to(part)
        to_disk(part)
        part.replace(path)
        to_disk(path.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        if not isinstance(error, OSError):
            raise
        raise CannotWriteError(f"{path} could not be written: {error.strerror or error}") from error


def part_of(path: Path) -> Path:
    """Where ``whole`` writes what will become ``path``."""
    return path.with_name(f".{path.stem}.part{path.suffix}")


def to_disk(path: Path) -> None:
    """Wait until a file, or a folder's list of names, has left the machine's memory."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _with_open(path: Path, write_to: Callable[[Any], object]) -> None:
    with path.open("wb") as file:
        write_to(file)


def _write_csv(path: Path, arrays: list[NDArray[Any]], columns: Sequence[str]) -> None:
    import pandas as pd

    flat = np.concatenate([array.reshape(len(array), -1) for array in arrays], axis=1)
    pd.DataFrame(flat, columns=pd.Index(columns)).to_csv(path, index=False)
