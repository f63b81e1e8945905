"""Read the user's own data: a file or a folder of pictures. Nothing is ever unpickled.

``READERS`` lists the formats. To add one, write one line there.
"""

from __future__ import annotations

import glob
import io
import re
import shlex
import sys
from collections.abc import Callable
from pathlib import Path

from aevb.datasets.arrays import read_idx, read_npy, read_npz
from aevb.datasets.pictures import PICTURES, read_pictures
from aevb.datasets.schema import Data
from aevb.datasets.tables import SUFFIXES, as_numbers, read_csv, read_table, read_tables
from aevb.datasets.tabular.opening import PACKED, ending
from aevb.errors import DataError, NotFoundError, UsageError

READERS: dict[str, Callable[[Path], Data]] = {
    ".npy": read_npy,
    ".npz": read_npz,
    **dict.fromkeys(SUFFIXES, read_csv),
    ".gz": read_idx,
    ".idx": read_idx,
}
"""The function that reads a file, by the ending of the file's name."""
_PICKLED = "pd.read_pickle({name!r}).to_csv('table.csv', index=False)"
_UNSAFE = {
    ".pkl": _PICKLED,
    ".pickle": _PICKLED,
    ".pt": "in the program that made it: np.save('rows.npy', tensor.numpy())",
    ".pth": "in the program that made it: np.save('rows.npy', tensor.numpy())",
    ".xls": "pd.read_excel({name!r}).to_csv('table.csv', index=False)",
    ".ods": "pd.read_excel({name!r}).to_csv('table.csv', index=False)",
    ".rds": "in R: write.csv(readRDS({name!r}), 'table.csv', row.names=FALSE)",
    ".dta": "pd.read_stata({name!r}).to_csv('table.csv', index=False)",
    ".sav": "pd.read_spss({name!r}).to_csv('table.csv', index=False)",
}
# Formats that are not read, with a line that turns a file into one that is.


_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


def exists(text: str) -> bool:
    """Whether ``text`` names something to read.

    That is a file, a folder, an array in an archive (``arrays.npz:name``), a pattern that files
    match (``parts/*.csv``), or standard input (``-``). Addresses count too: ``read`` refuses them.

    Example:
        >>> from aevb.datasets.readers import exists
        >>> exists("."), exists("no such file.csv")
        (True, False)
    """
    return (
        text == "-"
        or _ADDRESS.match(text) is not None
        or _there(text)
        or _inside_npz(text) is not None
        or bool(_matching(text))
    )


def _matching(text: str) -> list[Path]:
    """The files that a pattern such as ``parts/*.csv`` names, in the order of their names."""
    if not any(mark in text for mark in "*?["):
        return []
    return sorted(Path(name) for name in glob.glob(str(Path(text).expanduser())))  # noqa: PTH207


def _there(text: str) -> bool:
    try:
        return Path(text).expanduser().exists()
    except (OSError, RuntimeError):
        # The name is too long for the file system, or ~ stands for an unknown user.
        return False


def read(text: str, *, resize: tuple[int, int] | None = None, grey: bool | None = None) -> Data:
    """Read a file or a folder of pictures.

    Args:
        text: A path, or ``archive.npz:name`` for one array of an archive.
        resize: (height, width). Pictures are brought to this size, and cropped about the centre if
            their proportions differ.
        grey: True for grey pictures, False for RGB, None for grey if all of them are grey.

    Raises:
        NotFoundError: There is no such file.
        DataError: The file is damaged, empty, or of an unknown format.
        UsageError: ``resize`` or ``grey`` was given for a file.

    Example:
        >>> from pathlib import Path
        >>> from aevb.datasets.readers import read
        >>> _ = Path("points.csv").write_text("x,y\\n1,2\\n3,4\\n5,6\\n")
        >>> read("points.csv").rows.shape
        (3, 2)
        >>> import numpy as np
        >>> np.savez("arrays.npz", train=np.ones((5, 2)), test=np.zeros((4, 2)))
        >>> read("arrays.npz:test").rows.shape
        (4, 2)
    """
    path = Path(text).expanduser()
    parts = _tables(text, path)
    if parts:
        return as_numbers(read_tables(parts, text) if len(parts) > 1 else read_table(parts[0]))
    if _there(text) and path.is_dir():
        return read_pictures(path, resize=resize, grey=grey)
    if resize is not None or grey is not None:
        raise UsageError(f"resize and grey are for a folder of pictures; {text} is a file")
    if text == "-":
        return _from_standard_input()
    inside = _inside_npz(text)
    if inside is not None:
        return read_npz(*inside)
    _require_file(text, path)
    return _reader(path)(path)


def _require_file(text: str, path: Path) -> None:
    """Refuse an address, and a file that is not there or is empty."""
    if _ADDRESS.match(text):
        name = text.rstrip("/").rpartition("/")[2].partition("?")[0] or "data.csv"
        raise UsageError(
            f"{text} is an address, and aevb reads files; download it and give the file: curl -L -o"
            f" {shlex.quote(name)} {shlex.quote(text)}"
        )
    if not path.exists():
        raise NotFoundError(f"there is no file {text!r}. Check the path.")
    if path.stat().st_size == 0:
        raise DataError(f"{text} is empty: 0 bytes. Copy or save it again.")


def _inside_npz(text: str) -> tuple[Path, str] | None:
    """Split ``archive.npz:name`` into archive and name. None if there is no such archive."""
    file, _, name = text.rpartition(":")
    return (Path(file).expanduser(), name) if file.endswith(".npz") and _there(file) else None


def _tables(text: str, path: Path) -> list[Path]:
    """The files of a table in parts: those of a folder, or those that a pattern names."""
    if _there(text):
        return _parts(path) if path.is_dir() else []
    parts = _matching(text)
    odd = next((part for part in parts if ending(part).partition(".gz")[0] not in SUFFIXES), None)
    if odd is not None:
        raise UsageError(
            f"{text} names {odd} among {len(parts)} files, and only tables are read in parts; give"
            " one file, or a folder"
        )
    return parts


def _parts(folder: Path) -> list[Path]:
    """The files of a folder that holds nothing but tables of one kind, in the order of names."""
    files = sorted(path for path in folder.iterdir() if path.name[0] not in "._")
    endings = {ending(path) for path in files}
    tables = len(endings) == 1 and next(iter(endings)).partition(".gz")[0] in SUFFIXES
    return files if tables and all(path.is_file() for path in files) else []


def _from_standard_input() -> Data:
    """Read a table from standard input. Its first bytes tell Parquet and JSON from text."""
    content = sys.stdin.buffer.read()
    if not content:
        raise DataError("standard input is empty: 0 bytes. Give it a table, such as: < table.csv")
    start = content.lstrip()[:1]
    suffix = ".parquet" if content.startswith(b"PAR1") else ".txt"
    if start == b"[" or start == b"{":
        suffix = ".json" if start == b"[" else ".jsonl"
    return as_numbers(read_table(io.BytesIO(content), suffix))


def _reader(path: Path) -> Callable[[Path], Data]:
    """Choose the reader for a file. Raises DataError for a format that is not known."""
    suffix = path.suffix.lower()
    inner = ending(path).removesuffix(suffix)
    if suffix in PACKED and (inner in SUFFIXES or suffix != ".gz"):
        return read_csv
    if suffix in READERS:
        return READERS[suffix]
    if path.name.endswith("ubyte"):
        return read_idx
    if suffix in PICTURES:
        raise DataError(
            f"{path} is one picture; give the folder that holds the pictures to learn from"
        )
    if suffix in _UNSAFE:
        line = _UNSAFE[suffix].format(name=str(path))
        raise DataError(
            f"{path} is not read, because opening a {suffix} file can run code or needs other"
            f" programs; if you trust it, save it as a table or an array first: {line}"
        )
    raise DataError(
        f"{path}: cannot tell what kind of file this is. Save it as one of {', '.join(READERS)}, or"
        " give a folder of pictures."
    )
