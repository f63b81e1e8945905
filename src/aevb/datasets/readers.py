"""Read the user's own data: a file or a folder of pictures. Nothing is ever unpickled.

``READERS`` lists the formats. To add one, write one line there.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from aevb.datasets.arrays import read_idx, read_npy, read_npz
from aevb.datasets.picture_files import PICTURES
from aevb.datasets.pictures import read_pictures
from aevb.datasets.schema import Data
from aevb.datasets.tables import read_csv, read_parquet
from aevb.errors import DataError, NotFoundError, UsageError

READERS: dict[str, Callable[[Path], Data]] = {
    ".npy": read_npy,
    ".npz": read_npz,
    ".csv": read_csv,
    ".tsv": read_csv,
    ".txt": read_csv,
    ".parquet": read_parquet,
    ".gz": read_idx,
    ".idx": read_idx,
}
"""The function that reads a file, by the ending of the file's name."""


def exists(text: str) -> bool:
    """Whether ``text`` names a file, a folder, or an array in an archive (``arrays.npz:name``).

    Example:
        >>> from aevb.datasets.readers import exists
        >>> exists("."), exists("no such file.csv")
        (True, False)
    """
    return _there(text) or _inside_npz(text) is not None


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
    if path.is_dir():
        return read_pictures(path, resize=resize, grey=grey)
    if resize is not None or grey is not None:
        raise UsageError(f"resize and grey are for a folder of pictures; {text} is a file")
    inside = _inside_npz(text)
    if inside is not None:
        return read_npz(*inside)
    if not path.exists():
        raise NotFoundError(f"there is no file {text!r}. Check the path.")
    if path.stat().st_size == 0:
        raise DataError(f"{text} is empty: 0 bytes. Copy or save it again.")
    return _reader(path)(path)


def _inside_npz(text: str) -> tuple[Path, str] | None:
    """Split ``archive.npz:name`` into archive and name. None if there is no such archive."""
    file, _, name = text.rpartition(":")
    return (Path(file).expanduser(), name) if file.endswith(".npz") and _there(file) else None


def _reader(path: Path) -> Callable[[Path], Data]:
    """Choose the reader for a file. Raises DataError for a format that is not known."""
    suffix = path.suffix.lower()
    if suffix == ".gz" and Path(path.stem).suffix.lower() in READERS.keys() - {".idx", ".gz"}:
        raise DataError(f"{path} is compressed; unpack it and give the file inside, {path.stem}")
    if suffix in READERS:
        return READERS[suffix]
    if path.name.endswith("ubyte"):
        return read_idx
    if suffix in PICTURES:
        raise DataError(
            f"{path} is one picture; give the folder that holds the pictures to learn from"
        )
    raise DataError(
        f"{path}: cannot tell what kind of file this is. Save it as one of {', '.join(READERS)}, or"
        " give a folder of pictures."
    )
