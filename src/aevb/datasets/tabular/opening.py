"""Open files of bytes again and again, whether they are compressed or not."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zipfile
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import IO, Any

from aevb.errors import DataError, UsageError

PACKED = (".gz", ".bz2", ".xz", ".zst", ".zip")
"""The endings of compressed files."""
Opener = Callable[[], IO[bytes]]
"""Opens the bytes of a file at their beginning."""


def ending(path: Path) -> str:
    """Return the ending of a file's name in small letters, with the one before a compressed one's.

    Example:
        >>> from pathlib import Path
        >>> from aevb.datasets.tabular.opening import ending
        >>> ending(Path("a.b.CSV")), ending(Path("a.csv.gz"))
        ('.csv', '.csv.gz')
    """
    ends = [end.lower() for end in path.suffixes[-2:]]
    return "".join(ends) if ends and ends[-1] in PACKED else "".join(ends[-1:])


def opener(source: Path | bytes, packed: str, name: str) -> Opener:
    """Return what opens the bytes of a file, unpacked.

    Args:
        source: A path, or the bytes themselves.
        packed: An ending in ``PACKED``, or "".
        name: The name of the file, for messages.

    Raises:
        DataError: A .zip file holds not exactly one file.

    Example:
        >>> import gzip
        >>> from aevb.datasets.tabular.opening import opener
        >>> opener(gzip.compress(b"1,2"), ".gz", "a.csv.gz")().read()
        b'1,2'
    """

    def plain() -> Any:
        return io.BytesIO(source) if isinstance(source, bytes) else source

    if packed == ".zip":
        with zipfile.ZipFile(plain()) as archive:
            inside = _only_file(archive, name)
        return lambda: zipfile.ZipFile(plain()).open(inside)
    if packed:
        unpack: dict[str, Callable[[Any], Any]] = {
            ".gz": gzip.open,
            ".bz2": bz2.open,
            ".xz": lzma.open,
            ".zst": _unpack_zst,
        }
        return lambda: unpack[packed](plain())
    return lambda: io.BytesIO(source) if isinstance(source, bytes) else source.open("rb")


def _only_file(archive: zipfile.ZipFile, name: str) -> str:
    files = [
        each.filename
        for each in archive.infolist()
        if not each.is_dir() and not each.filename.startswith("__MACOSX/")
    ]
    if len(files) != 1:
        raise DataError(
            f"{name} holds {len(files)} files; unpack it and give one of them"
            + (f", such as {files[0]}" if files else "")
        )
    return files[0]


def _unpack_zst(file: Any) -> Any:
    try:
        import zstandard
    except ImportError as error:
        raise UsageError("reading .zst needs zstandard: pip install 'aevb[zstd]'") from error
    with closing(file.open("rb") if isinstance(file, Path) else file) as packed:
        try:
            reader = zstandard.ZstdDecompressor().stream_reader(packed, read_across_frames=True)
            return io.BytesIO(reader.read())
        except zstandard.ZstdError as error:
            raise OSError(str(error)) from error
