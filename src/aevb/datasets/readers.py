"""Read the user's own data: a file or a folder of pictures. Nothing is ever unpickled.

``READERS`` lists the formats. To add one, write one line there.
"""

from __future__ import annotations

import glob
import io
import re
import shlex
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path

from aevb.datasets.arrays import read_idx, read_npy
from aevb.datasets.containers import CONTAINERS, inside, refuse_objects
from aevb.datasets.picture_files import PICTURES
from aevb.datasets.pictures import read_pictures
from aevb.datasets.schema import Data, Schema
from aevb.datasets.tabular.columns import Written, quoted
from aevb.datasets.tabular.frames import data_like, data_of_frame, matrix_of_frame
from aevb.datasets.tabular.opening import PACKED, ending
from aevb.datasets.tabular.tables import SUFFIXES, RawTable, read_table, read_tables
from aevb.datasets.tabular.words import are_pixels
from aevb.errors import DataError, NotFoundError, UsageError

STANDARD_INPUT = ("-", "/dev/stdin")
"""Names of standard input."""
READERS: dict[str, Callable[[Path], Data]] = {
    ".npy": read_npy,
    **CONTAINERS,
    ".gz": read_idx,
    ".idx": read_idx,
}
"""The function that reads a file of arrays, by the ending of the file's name. ``tables.SUFFIXES``
has the endings of tables."""
OBJECTS = (".pt", ".pth", ".pkl", ".pickle", ".joblib")
"""Endings of files of Python objects, which are never loaded."""
_UNSAFE = {
    ".xls": "pd.read_excel({name!r}).to_csv('table.csv', index=False)",
    ".ods": "pd.read_excel({name!r}).to_csv('table.csv', index=False)",
    ".rds": "in R: write.csv(readRDS({name!r}), 'table.csv', row.names=FALSE)",
    ".dta": "pd.read_stata({name!r}).to_csv('table.csv', index=False)",
    ".sav": "pd.read_spss({name!r}).to_csv('table.csv', index=False)",
}
# Formats that are not read, with a line that turns a file into one that is.


STANDARD_INPUT = ("-", "/dev/stdin")
"""The names of standard input. The command line turns the first into the second."""

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


def exists(text: str) -> bool:
    """Whether ``text`` names something to read.

    That is a file, a folder, an array in a file (``arrays.npz:name``), a pattern that files match
    (``parts/*.csv``), or standard input (``-``). Addresses count too: ``read`` refuses them.

    Example:
        >>> from aevb.datasets.readers import exists
        >>> exists("."), exists("no such file.csv")
        (True, False)
    """
    return (
        text in STANDARD_INPUT
        or _ADDRESS.match(text) is not None
        or _there(text)
        or inside(text) is not None
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


def read(
    text: str,
    *,
    kind: str = "auto",
    columns: Mapping[str, str] | None = None,
    decimal: str = "",
    resize: tuple[int, int] | None = None,
    grey: bool | None = None,
) -> Data:
    """Read a file, a folder, or standard input.

    Args:
        text: A path, ``file:name`` for one array of a file that holds several, a pattern such as
            ``parts/*.csv``, or "-" for a table on standard input.
        kind: The kind of the data, or "auto". Columns of a table have kinds of their own; those of
            pixels, counts and tokens do not.
        columns: Kinds of columns of a table: name -> kind. A kind "date:%d/%m/%Y" also says how the
            dates are written.
        decimal: The mark before the decimals in a text file: "," or ".". "": it is found out.
        resize: (height, width). Pictures are brought to this size, and cropped about the centre if
            their proportions differ.
        grey: True for grey pictures, False for RGB, None for grey if all of them are grey.

    Raises:
        NotFoundError: There is no such file.
        DataError: The file is damaged, empty, or of an unknown format.
        UsageError: An option does not apply, or cells can be read in several ways.

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
    _refuse_address(text)
    asked = columns or {}
    forms = {
        name: Written(date=each.partition(":")[2]) for name, each in asked.items() if ":" in each
    }
    table = raw_table(text, forms, decimal)
    if table is not None:
        _refuse_picture_options(text, resize, grey, "table")
        return _of_table(table, kind, asked)
    if asked or decimal:
        raise UsageError(f"kinds of columns and decimal marks are for tables; {text} is none")
    path = Path(text).expanduser()
    if path.is_dir():
        return read_pictures(path, resize=resize, grey=grey)
    _refuse_picture_options(text, resize, grey, "file")
    return _read_array(text, path)


def _refuse_picture_options(
    text: str, resize: tuple[int, int] | None, grey: bool | None, what: str
) -> None:
    if resize is not None or grey is not None:
        raise UsageError(f"resize and grey are for a folder of pictures; {text} is a {what}")


def read_like(text: str, schema: Schema, ignore: Sequence[str] = ()) -> Data:
    """Read new rows in the form of ``schema``: columns by name, and cells as they were written.

    Args:
        text: As for ``read``.
        schema: The form of the rows that a model was trained on.
        ignore: Names of further columns that a table may have.

    Raises:
        UsageError: The table has no column of a name in ``ignore``.
        DataError: The rows do not have that form.

    Example:
        >>> from pathlib import Path
        >>> from aevb.datasets.planning import plan
        >>> from aevb.datasets.readers import read, read_like
        >>> _ = Path("old.csv").write_text("a,b\\n1.5,2\\n0.5,9\\n2.5,4\\n")
        >>> _ = Path("new.csv").write_text("b,a\\n7,0.5\\n")
        >>> read_like("new.csv", plan(read("old.csv")).schema).rows
        array([[0.5, 7. ]])
    """
    table = table_like(text, schema, ignore)
    if table is None:
        return _array_like(text, schema, ignore)
    if schema.table is not None:
        return data_like(table.frame, table.source, schema.table, notes=table.notes)
    return matrix_of_frame(table.frame, table.source, table.notes)


def table_like(text: str, schema: Schema, ignore: Sequence[str] = ()) -> RawTable | None:
    """Read a table of new rows with its cells as they were written in training.

    Args:
        text: As for ``read``.
        schema: The form of the rows that a model was trained on.
        ignore: Names of columns to leave out.

    Returns:
        The table, or None if ``text`` names none.

    Raises:
        UsageError: The table has no column of a name in ``ignore``.
        DataError: It cannot be read.

    Example:
        >>> from pathlib import Path
        >>> from aevb.datasets.planning import plan
        >>> from aevb.datasets.readers import read, table_like
        >>> _ = Path("t.csv").write_text("a,b\\n1.5,2\\n0.5,9\\n2.5,4\\n")
        >>> table_like("t.csv", plan(read("t.csv")).schema, ignore=["b"]).frame.a.tolist()
        [1.5, 0.5, 2.5]
    """
    _refuse_address(text)
    table = _raw_table_like(text, schema)
    if table is None or not ignore:
        return table
    names = [str(name) for name in table.frame.columns]
    unknown = [name for name in ignore if name not in names]
    if unknown:
        raise UsageError(f"{text} has no column {unknown[0]!r} to ignore; it has {quoted(names)}")
    return table._replace(frame=table.frame.loc[:, [name not in ignore for name in names]])


def _raw_table_like(text: str, schema: Schema) -> RawTable | None:
    """Read the table that ``text`` names, with its cells as the columns of ``schema`` have them."""
    known = schema.table.columns if schema.table is not None else ()
    written = {column.name: column.written for column in known if column.written != Written()}
    return raw_table(text, written, as_text=[each.name for each in known if each.holds_text])


def _array_like(text: str, schema: Schema, ignore: Sequence[str]) -> Data:
    """Read pictures of a folder in the size and type of ``schema``, or an array as it is."""
    if ignore:
        raise UsageError(f"there are no columns to ignore in {text}: it is no table")
    path = Path(text).expanduser()
    if not (path.is_dir() and schema.is_picture):
        return read(text)
    return read_pictures(
        path,
        resize=schema.resize or (schema.shape[0], schema.shape[1]),
        grey=len(schema.shape) == 2,
        form=(schema.dtype, schema.white),
    )


def raw_table(
    text: str,
    like: Mapping[str, Written] | None = None,
    decimal: str = "",
    as_text: Collection[str] = (),
) -> RawTable | None:
    """Read the table that ``text`` names. None if it names something else.

    Args:
        text: As for ``read``.
        like: How columns are written, by name, where this is known.
        decimal: The mark before the decimals, or "".
        as_text: Names of columns whose cells stay text, even if all of them are numbers.

    Raises:
        DataError: The table is damaged or empty.

    Example:
        >>> from pathlib import Path
        >>> from aevb.datasets.readers import raw_table
        >>> _ = Path("t.csv").write_text("a;b\\n1,5;x\\n2,5;y\\n")
        >>> raw_table("t.csv").frame.a.tolist()
        [1.5, 2.5]
        >>> print(raw_table("t.npy"))
        None
    """
    if text in STANDARD_INPUT:
        return _from_standard_input(like, decimal, as_text)
    path = Path(text).expanduser()
    parts = _tables(text, path)
    if len(parts) > 1:
        return read_tables(parts, text, like=like, decimal=decimal, as_text=as_text)
    path = parts[0] if parts else path
    if not path.is_file() or not _is_table(path):
        return None
    if path.stat().st_size == 0:
        raise DataError(f"{path} is empty: 0 bytes. Copy or save it again.")
    return read_table(path, like=like, decimal=decimal, as_text=as_text)


def _is_table(path: Path) -> bool:
    suffix = path.suffix.lower()
    inner = ending(path).removesuffix(suffix)
    return suffix in SUFFIXES or (suffix in PACKED and (inner in SUFFIXES or suffix != ".gz"))


def _of_table(table: RawTable, kind: str, columns: Mapping[str, str]) -> Data:
    """Make ``Data`` from a table: with kinds of columns, or as numbers of one meaning."""
    pixels = kind == "auto" and not columns and are_pixels(list(map(str, table.frame.columns)))
    if pixels or kind not in ("auto", "table"):
        return matrix_of_frame(table.frame, table.source, table.notes)
    return data_of_frame(
        table.frame,
        table.source,
        columns=columns,
        written=table.written,
        reasons=table.reasons,
        notes=table.notes,
        frame="file",
    )


def _refuse_address(text: str) -> None:
    if _ADDRESS.match(text):
        name = text.rstrip("/").rpartition("/")[2].partition("?")[0] or "data.csv"
        raise UsageError(
            f"{text} is an address, and aevb reads files; download it and give the file: curl -L -o"
            f" {shlex.quote(name)} {shlex.quote(text)}"
        )


def _read_array(text: str, path: Path) -> Data:
    """Read a file that holds an array."""
    if (named := inside(text)) is not None:
        return CONTAINERS[named[0].suffix.lower()](*named)
    if not path.exists():
        raise NotFoundError(f"there is no file {text!r}. Check the path.")
    if path.stat().st_size == 0:
        raise DataError(f"{text} is empty: 0 bytes. Copy or save it again.")
    return _reader(path)(path)


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


def _from_standard_input(
    like: Mapping[str, Written] | None, decimal: str, as_text: Collection[str]
) -> RawTable:
    """Read a table from standard input. Its first bytes tell Parquet and JSON from text."""
    content = b"" if sys.stdin.isatty() else sys.stdin.buffer.read()
    if not content:
        raise DataError("standard input is empty: 0 bytes. Give it a table, such as: < table.csv")
    start = content.lstrip()[:1]
    suffix = ".parquet" if content.startswith(b"PAR1") else ".txt"
    if start == b"[" or start == b"{":
        suffix = ".json" if start == b"[" else ".jsonl"
    file = io.BytesIO(content)
    return read_table(file, suffix, like=like, decimal=decimal, as_text=as_text)


def _reader(path: Path) -> Callable[[Path], Data]:
    """Choose the reader for a file. Raises DataError for a format that is not known."""
    suffix = path.suffix.lower()
    if suffix in READERS:
        return READERS[suffix]
    if path.name.endswith("ubyte"):
        return read_idx
    if suffix in PICTURES:
        raise DataError(
            f"{path} is one picture; give the folder that holds the pictures to learn from"
        )
    if suffix in OBJECTS:
        return refuse_objects
    if suffix in _UNSAFE:
        line = _UNSAFE[suffix].format(name=str(path))
        raise DataError(
            f"{path} is not read, because opening a {suffix} file can run code or needs other"
            f" programs; if you trust it, save it as a table or an array first: {line}"
        )
    known = ", ".join((*SUFFIXES, *READERS))
    raise DataError(
        f"{path}: cannot tell what kind of file this is. Save it as one of {known}, or give a"
        " folder of pictures."
    )
