"""Text files of cells: their encoding, their delimiter, their header, and their rows.

pandas's parser reads the rows. What it would do without a word is looked for here: rows that are
too short, zeros in front of codes, digits that a float cannot hold, and lines that are left out.
"""

from __future__ import annotations

import bz2
import codecs
import csv
import gzip
import io
import lzma
import re
import warnings
import zipfile
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from itertools import islice, zip_longest
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from aevb.datasets.header import has_header
from aevb.errors import DataError, UsageError

if TYPE_CHECKING:
    import pandas as pd

PACKED = (".gz", ".bz2", ".xz", ".zst", ".zip")
"""The endings of compressed files."""
BLANKS = r"\s+"
"""The delimiter, as a regular expression, of a file whose cells are separated by blanks."""
COMMENTS = ("#", "%", "//")
"""What a comment begins with. A text file with comments is refused."""
MOST_COLUMNS = 100_000
"""A text file with more columns is refused: pandas needs about 50 microseconds for each."""
_CHUNK = 2**20
_SAMPLE = 200
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)

Opener = Callable[[], IO[bytes]]
"""Opens the bytes of a file at their beginning, again and again."""


@dataclass
class Delimited:
    """A text file of cells.

    Args:
        source: Its name, for messages.
        open: Opens its bytes.
        encoding: Its encoding.
        delimiter: What stands between two cells.
        names: The names of its columns.
        has_header: Whether its first line holds these names.
        decimal: The decimal mark that its numbers are read with.
        notes: Sentences the user must read.
    """

    source: str
    open: Opener
    encoding: str
    delimiter: str
    names: list[str]
    has_header: bool
    decimal: str = "."
    notes: list[str] = field(default_factory=list)

    def rows(self, text: Collection[str] | None = None) -> pd.DataFrame:
        """Read the rows. A column becomes int64, float64 or text.

        Args:
            text: Read only these columns, as text, with empty cells as NaN.

        Raises:
            DataError: A row has more or fewer cells than the others.
        """
        import pandas as pd

        alone = len(self.names) == 1
        options: dict[str, Any] = {"float_precision": "round_trip"} if _pandas_2() else {}
        if text is not None:
            options["usecols"] = [i for i, name in enumerate(self.names) if name in text]
            options["dtype"] = str
        try:
            with self._text() as file, warnings.catch_warnings():
                # With a row that is too long, pandas takes cells for row labels, and warns.
                warnings.simplefilter("error", pd.errors.ParserWarning)
                frame = pd.read_csv(
                    file,
                    sep=self.delimiter,
                    header=0 if self.has_header else None,
                    index_col=False,
                    skipinitialspace=True,
                    keep_default_na=False,
                    na_values=[""],
                    low_memory=False,
                    decimal=self.decimal,
                    skip_blank_lines=not alone,
                    **options,
                )
        except (pd.errors.ParserError, pd.errors.EmptyDataError, pd.errors.ParserWarning) as error:
            self.refuse_ragged()
            raise self._no_table(error) from error
        if alone:
            filled = np.flatnonzero(frame.iloc[:, 0].notna())
            frame = frame.iloc[: filled[-1] + 1 if len(filled) else 0]
        return self._named(frame, text)

    def _named(self, frame: pd.DataFrame, text: Collection[str] | None) -> pd.DataFrame:
        import pandas as pd

        names = self.names if text is None else [name for name in self.names if name in text]
        if frame.shape[1] != len(names):
            self.refuse_ragged()
            raise self._no_table(ValueError("its rows differ in length"))
        frame.columns = pd.Index(names)
        if text is None and len(names) > 1 and self.names[-1].startswith("Unnamed: "):
            return self._without_last(frame)
        if text is None and len(frame) and len(names) > 1 and frame.iloc[:, -1].isna().any():
            self.refuse_ragged()  # pandas fills up a row that is too short
        return frame

    def _without_last(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Drop a last column without a name and without cells: a delimiter ends every line."""
        if frame.iloc[:, -1].notna().any():
            return frame
        self.refuse_ragged()
        self.notes.append(f"{self.source}: its last column has no name and no cells; left out")
        self.names = self.names[:-1]
        return frame.iloc[:, :-1]

    def _text(self) -> io.TextIOWrapper:
        return io.TextIOWrapper(self.open(), encoding=self.encoding, newline="")

    def records(self) -> Iterator[tuple[int, list[str]]]:
        """Yield (number of its last line, cells) of every row that is not blank."""
        with self._text() as file:
            yield from records(file, self.delimiter)

    def refuse_ragged(self) -> None:
        """Raise DataError if some row has more or fewer cells than the first one."""
        for number, (line, cells) in enumerate(self.records()):
            if len(cells) != len(self.names):
                raise self._ragged(number, line, cells)

    def _ragged(self, number: int, line: int, cells: list[str]) -> DataError:
        number += not self.has_header
        where = f"data row {number} (line {line})" if number else f"line {line}"
        comment = f"{cells[0].lstrip()}\n".startswith(COMMENTS) or (
            self.has_header and self.names[0].startswith(COMMENTS)
        )
        remedy = (
            "Remove the lines that are comments"
            if comment
            else "Give every row as many cells as the first has"
        )
        return DataError(
            f"{self.source} is not a table: {where} has {len(cells)} cells, the first line has"
            f" {len(self.names)}. {remedy}."
        )

    def _no_table(self, error: Exception) -> DataError:
        message = " ".join(str(error).split()).rstrip(".")
        quote = re.search(r"EOF inside string starting at row (\d+)", message)
        if quote:
            row = int(quote[1]) + (not self.has_header)
            return DataError(
                f"{self.source} is not a table: a quote that is opened in data row {row} is never"
                " closed. Close it, or remove it."
            )
        return DataError(
            f"{self.source} is not a table: {message}. Give every row as many cells as the first"
            " has."
        )

    def zeros_in_front(self) -> bool:
        """Whether some cell may begin with a zero that a number would lose, as 007 does."""
        digits = re.compile(rb"(?:^|[^0-9A-Za-z.+:/-])0[0-9]")
        last = b"\n"
        with self.open() as file:
            if self.encoding.startswith(("utf-16", "utf-32")):
                return True
            for chunk in iter(lambda: file.read(_CHUNK), b""):
                if _maybe_zeros(last + chunk) and digits.search(last + chunk):
                    return True
                last = chunk[-2:]
        return False


def _maybe_zeros(chunk: bytes) -> bool:
    """A fast first look: a zero before a digit and after none, nor after a point."""
    values = np.frombuffer(chunk, np.uint8)
    zero = values[1:-1] == 48
    zero &= (values[2:] - np.uint8(48)) < 10
    before = values[:-2]
    zero &= ((before - np.uint8(48)) > 9) & (before != 46)
    return bool(zero.any())


def records(file: IO[str], delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield (number of its last line, cells) of every row that is not blank.

    Example:
        >>> import io
        >>> from aevb.datasets.delimited import records
        >>> list(records(io.StringIO('a,"b\\nc"\\n\\n1, 2\\n'), ","))
        [(2, ['a', 'b\\nc']), (4, ['1', '2'])]
    """
    lines: Any = file
    if delimiter == BLANKS:
        delimiter, lines = " ", (re.sub(r"[ \t]+", " ", line.strip(" \t")) for line in file)
    reader = csv.reader(lines, delimiter=delimiter, skipinitialspace=True)
    for cells in reader:
        if delimiter == " " and cells and not cells[-1].strip():
            cells = cells[:-1]
        if cells and (len(cells) > 1 or cells[0].strip()):
            yield reader.line_num, cells


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
        >>> from aevb.datasets.delimited import opener
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


def delimited(open_: Opener, suffix: str, source: str, decimal: str = "") -> Delimited:
    """Find out how a text file writes its table.

    Args:
        open_: Opens its bytes.
        suffix: The ending of its name, such as ".csv".
        source: Its name, for messages.
        decimal: The decimal mark, if the user named it.

    Raises:
        DataError: It is no text, has no cells, or has two columns of one name.

    Example:
        >>> import io
        >>> from aevb.datasets.delimited import delimited
        >>> table = delimited(lambda: io.BytesIO(b"a;b\\n1,5;x\\n2,25;y\\n"), ".csv", "it")
        >>> table.delimiter, table.names, table.decimal
        (';', ['a', 'b'], ',')
        >>> table.rows().a.tolist()
        [1.5, 2.25]
    """
    encoding, notes = _encoding(open_, source)
    with closing(io.TextIOWrapper(open_(), encoding=encoding, newline="")) as file:
        head = _head(file, source)
    delimiter = _delimiter(head, suffix)
    try:
        rows = [
            cells for _, cells in islice(records(io.StringIO(head, newline=""), delimiter), _SAMPLE)
        ]
    except csv.Error:
        rows = []
    if not rows:
        raise DataError(
            f"{source} is not a table: it has no cells. Check that it is the right file."
        )
    header, note = has_header(rows)
    names = _names(rows[0], header, source)
    notes += [f"{source}: {note}"] if note else []
    table = Delimited(source, open_, encoding, delimiter, names, header, notes=notes)
    table.decimal = decimal or _decimal(rows[header:], delimiter)
    return table


def _encoding(open_: Opener, source: str) -> tuple[str, list[str]]:
    """Find the encoding by reading the whole file once. Refuse what is no text."""
    with open_() as file:
        start = file.read(4)
    for mark, encoding in _MARKS:
        if start.startswith(mark):
            return encoding, []
    decode = codecs.getincrementaldecoder("utf-8")()
    encoding, position = "utf-8", 0
    with open_() as file:
        for chunk in iter(lambda: file.read(_CHUNK), b""):
            if b"\0" in chunk:
                raise DataError(
                    f"{source} holds NUL bytes, the first at byte {position + chunk.index(0)}, and"
                    " is no text. Save it as UTF-8."
                )
            try:
                if encoding == "utf-8" and not (chunk.isascii() and decode.getstate()[0] == b""):
                    decode.decode(chunk)
            except UnicodeDecodeError:
                encoding = "cp1252"
            if encoding == "cp1252" and re.search(rb"[\x81\x8d\x8f\x90\x9d]", chunk):
                encoding = "latin-1"
            position += len(chunk)
    if encoding == "utf-8" and decode.getstate()[0] == b"":
        return encoding, []
    encoding = "cp1252" if encoding == "utf-8" else encoding
    return encoding, [
        f"{source} is not UTF-8, and was read as {encoding}; save it as UTF-8 if letters are wrong"
    ]


def _head(file: IO[str], source: str) -> str:
    """Read the first lines, at least one whole line."""
    head = file.read(_CHUNK)
    while "\n" not in head.lstrip() and "\r" not in head.lstrip():
        more = file.read(_CHUNK)
        if not more:
            break
        if len(head) > 2**26:
            raise DataError(
                f"{source} has a first line of more than 64 million characters. Save an array as"
                " .npy."
            )
        head += more
    else:
        if file.read(1):
            # The last line may be cut off.
            whole = max(head.rfind("\n"), head.rfind("\r")) + 1
            head = head[:whole] if head[:whole].strip() else head
    return head


def _delimiter(head: str, suffix: str) -> str:
    """Choose the delimiter that cuts most of the first rows into equally many cells."""
    best, found = (0.0, 0), ","
    for mark in "\t;|,":
        if mark not in head:
            continue
        try:
            rows = islice(records(io.StringIO(head, newline=""), mark), _SAMPLE)
            widths = [len(cells) for _, cells in rows]
        except csv.Error:
            continue
        first = widths[0] if widths else 0
        agree = sum(width == first for width in widths) / max(len(widths), 1)
        if first > 1 and (agree, 1 if agree == 1 else first) > best:
            best, found = (agree, 1 if agree == 1 else first), mark
    if best[0] < 1 and _blanks(head, suffix):
        return BLANKS
    return found


def _blanks(head: str, suffix: str) -> bool:
    """Whether blanks separate the cells: in a file named for text, or if all cells are numbers."""
    lines = [line.strip() for line in head.split("\n") if line.strip()]
    rows = [re.split(BLANKS, line) for line in lines if not line.startswith(COMMENTS)][:_SAMPLE]
    if not rows or len(rows[0]) < 2 or {len(row) for row in rows} != {len(rows[0])}:
        return '"' in head and suffix in (".txt", ".dat", ".data") and " " in head.strip()
    if suffix in (".txt", ".dat", ".data"):
        return True
    numbers = [all(re.fullmatch(r"[-+\d.eE]+", cell) for cell in row) for row in rows[1:]]
    return bool(numbers) and all(numbers)


def _names(first: Sequence[str], header: bool, source: str) -> list[str]:
    """The names of the columns. Refuse a name that stands twice."""
    if len(first) > MOST_COLUMNS:
        raise DataError(
            f"{source} has {len(first)} columns, and a text file may have {MOST_COLUMNS}. Save an"
            " array as .npy."
        )
    if not header:
        return [f"column_{i + 1}" for i in range(len(first))]
    names = [name.strip() or f"Unnamed: {i}" for i, name in enumerate(first)]
    refuse_twice(names, source)
    return names


def refuse_twice(names: Sequence[str], source: str) -> None:
    """Raise DataError if two columns have one name.

    Example:
        >>> from aevb.datasets.delimited import refuse_twice
        >>> refuse_twice(["a", "b"], "it")
    """
    seen: dict[str, int] = {}
    for number, name in enumerate(names, 1):
        if name in seen:
            raise DataError(
                f"{source}: columns {seen[name]} and {number} are both named {name!r}. Give each"
                " column a name of its own."
            )
        seen[name] = number


def _decimal(rows: Sequence[Sequence[str]], delimiter: str) -> str:
    """Whether a column of the first rows has decimal commas for certain."""
    if delimiter == ",":
        return "."
    for column in zip_longest(*rows, fillvalue=""):
        cells = [cell.strip() for cell in column if cell.strip()]
        commas = [cell for cell in cells if "," in cell]
        numbers = all(
            re.fullmatch(r"[+-]?(?:\d+(?:,\d*)?|,\d+)(?:[eE][+-]?\d+)?", cell) for cell in cells
        )
        grouped = all(re.fullmatch(r"[+-]?[1-9]\d{0,2},\d{3}", cell) for cell in commas)
        if commas and numbers and not grouped:
            return ","
    return "."


def _pandas_2() -> bool:
    import pandas as pd

    return pd.__version__.startswith("2.")
