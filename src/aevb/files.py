"""Write files safely: completely or not at all, and never over an existing file."""

from __future__ import annotations

import contextlib
import csv
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aevb.errors import CannotWriteError, OutputExistsError, UsageError

ARRAYS = (".npy", ".npz", ".csv")
"""Endings of the names of files with numbers."""
PICTURES = (".png", ".pdf", ".svg")
"""Endings of the names of files with pictures."""


TABLES = (".csv", ".tsv", ".txt", ".parquet", ".feather", ".json", ".jsonl", ".xlsx")
"""Endings of the names of files with tables, whose columns have types."""


def check(path: Path, *, make_folder: bool = False, also: Sequence[str] = ()) -> None:
    """Check that an output can be written, before the work is done.

    Args:
        path: The output.
        make_folder: Whether its folder will be made if there is none.
        also: Endings that are allowed besides those of arrays and pictures.

    Raises:
        UsageError: The format is unknown.
        OutputExistsError: The file exists already.
        CannotWriteError: There is no such folder.

    Example:
        >>> from pathlib import Path
        >>> from aevb.files import check
        >>> check(Path("new.csv"))
        >>> check(Path("new.xls"))
        Traceback (most recent call last):
        aevb.errors.UsageError: cannot write 'new.xls': its name must end in .npy, .npz, .csv, \
.png, .pdf, .svg
    """
    endings = (*ARRAYS, *(ending for ending in also if ending not in ARRAYS), *PICTURES)
    if path.suffix.lower() not in endings:
        raise UsageError(f"cannot write {path.name!r}: its name must end in {', '.join(endings)}")
    if path.exists():
        raise OutputExistsError(f"{path} exists already; remove it or choose another name")
    if not make_folder and not path.parent.is_dir():
        raise CannotWriteError(f"there is no folder {path.parent} to write {path.name} into")


def is_picture(path: Path) -> bool:
    """Whether the ending of the name is one of a picture.

    Example:
        >>> from pathlib import Path
        >>> from aevb.files import is_picture
        >>> is_picture(Path("sheet.png")), is_picture(Path("rows.csv"))
        (True, False)
    """
    return path.suffix.lower() in PICTURES


def write(
    path: Path, arrays: dict[str, NDArray[Any]], columns: Sequence[str], *, main: str = ""
) -> None:
    """Write arrays (N, ...) into a file. The ending of its name gives the format.

    A .npy file holds one array, a .npz file all arrays by name. A .csv file holds all arrays side
    by side, each flattened to (N, columns). Arrays may hold text: it is quoted in a .csv file where
    it has to be, and never pickled.

    Args:
        path: The file.
        arrays: By name.
        columns: The header of a .csv file: one name for each column of all arrays.
        main: The name of the array for a .npy file. The default is the first.

    Raises:
        CannotWriteError: The file could not be written.

    Example:
        >>> import numpy as np
        >>> from pathlib import Path
        >>> from aevb.files import write
        >>> write(Path("codes.csv"), {"z": np.array([[1, 2], [3, 4]])}, ["z_1", "z_2"])
        >>> Path("codes.csv").read_text().split()
        ['z_1,z_2', '1,2', '3,4']
        >>> names = np.array(["a.png", 'b,"2".png'])
        >>> write(Path("named.csv"), {"names": names, "z": np.array([1, 2])}, ["file", "z"])
        >>> print(Path("named.csv").read_text().strip())
        file,z
        a.png,1
        "b,""2"".png",2
    """
    arrays = {name: _plain(array) for name, array in arrays.items()}
    first = arrays[main] if main else next(iter(arrays.values()))
    writers: dict[str, Callable[[Path], object]] = {
        ".npy": lambda part: _with_open(part, lambda file: np.save(file, first)),
        ".npz": lambda part: _with_open(
            part, lambda file: np.savez_compressed(file, allow_pickle=False, **arrays)
        ),
        ".csv": lambda part: _write_csv(part, list(arrays.values()), columns),
    }
    whole(path, writers[path.suffix.lower()])


def whole(path: Path, write_to: Callable[[Path], object]) -> None:
    """Write a file completely or not at all.

    ``write_to`` writes a temporary file beside ``path``, which is then moved there. At every
    instant ``path`` is the old file or the complete new one. If anything ends the writing early,
    Ctrl-C included, the temporary file is removed.

    Args:
        path: The file.
        write_to: Writes to the path that it is given.

    Raises:
        CannotWriteError: The file could not be written.

    Example:
        >>> from pathlib import Path
        >>> from aevb.files import whole
        >>> whole(Path("note.txt"), lambda part: part.write_text("done"))
        >>> Path("note.txt").read_text(), len(list(Path().iterdir()))
        ('done', 1)
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
    """Return the temporary file that ``whole`` writes before it becomes ``path``.

    Example:
        >>> from pathlib import Path
        >>> from aevb.files import part_of
        >>> part_of(Path("note.txt")).name
        '.note.part.txt'
    """
    return path.with_name(f".{path.stem}.part{path.suffix}")


def to_disk(path: Path) -> None:
    """Wait until a file, or the list of names in a folder, is on the disk.

    Example:
        >>> from pathlib import Path
        >>> from aevb.files import to_disk
        >>> to_disk(Path("."))
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _with_open(path: Path, write_to: Callable[[Any], object]) -> None:
    with path.open("wb") as file:
        write_to(file)


def _plain(array: NDArray[Any]) -> NDArray[Any]:
    """Turn objects into text, since an array of objects could only be pickled."""
    return array.astype(str) if array.dtype.kind == "O" else array


def _write_csv(path: Path, arrays: list[NDArray[Any]], columns: Sequence[str]) -> None:
    import pandas as pd

    # Each array keeps its type: in one array, numbers beside text would become text. Texts are
    # objects, because pandas' own type of text refuses the name of a file that is no UTF-8.
    flat = [array.reshape(len(array), -1) for array in arrays]
    kinds = [object if array.dtype.kind == "U" else array.dtype for array in flat]
    frames = [pd.DataFrame(array, dtype=kind) for array, kind in zip(flat, kinds, strict=True)]
    frame = pd.concat(frames, axis=1)
    frame.columns = pd.Index(columns)
    # A reader takes a carriage return for the end of a row, but csv quotes only commas, quotes and
    # newlines by itself.
    returns = any("\r" in str(text) for text in (*columns, *_texts(flat)))
    # Bytes in the name of a file that are no UTF-8 are written as \udc80 and the like.
    frame.to_csv(
        path,
        index=False,
        quoting=csv.QUOTE_NONNUMERIC if returns else csv.QUOTE_MINIMAL,
        errors="backslashreplace",
    )


def _texts(arrays: Sequence[NDArray[Any]]) -> Iterator[str]:
    """Yield every text in arrays (N, ...) of any type."""
    return (text for array in arrays if array.dtype.kind == "U" for text in array.flat)
