"""Find out how a text file writes its table: encoding, delimiter, header and decimal mark."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Sequence
from contextlib import closing
from itertools import islice, zip_longest
from typing import IO

from aevb.datasets.damage import in_quotes
from aevb.datasets.tabular.delimited import (
    BLANKS,
    CHUNK,
    COMMENTS,
    Delimited,
    column_names,
    not_csv,
    records,
)
from aevb.datasets.tabular.header import has_header
from aevb.datasets.tabular.opening import Opener
from aevb.errors import DataError

_SAMPLE = 200
_FREE = (".txt", ".dat", ".data")
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


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
        >>> from aevb.datasets.tabular.dialect import delimited
        >>> table = delimited(lambda: io.BytesIO(b"a;b\\n1,5;x\\n2,25;y\\n"), ".csv", "it")
        >>> table.delimiter, table.names, table.decimal
        (';', ['a', 'b'], ',')
        >>> table.rows().a.tolist()
        [1.5, 2.25]
    """
    encoding, notes = _encoding(open_, source)
    with closing(io.TextIOWrapper(open_(), encoding=encoding, newline="")) as file:
        head = _head(file, source)
    _refuse_other_text(head, source)
    delimiter = _delimiter(head, suffix)
    try:
        rows = [
            cells for _, cells in islice(records(io.StringIO(head, newline=""), delimiter), _SAMPLE)
        ]
    except csv.Error as error:
        raise not_csv(error, source) from error
    if not rows:
        raise DataError(
            f"{source} is not a table: it has no cells. Check that it is the right file."
        )
    header, note = has_header(rows)
    names = column_names(rows[0], header, source)
    notes += [f"{source}: {note}"] if note else []
    table = Delimited(source, open_, encoding, delimiter, names, header, notes=notes)
    table.decimal = decimal or _decimal(rows[header:], delimiter)
    return table


def _refuse_other_text(head: str, source: str) -> None:
    """Refuse well-known text that is no table, or that has a line before the table."""
    start = head.lstrip()[:64].lower()
    if start.startswith(("<!doctype", "<html", "<?xml")):
        raise DataError(
            f"{source} is a web page and no table. Give the file itself: download it again."
        )
    if start.startswith("version https://git-lfs"):
        raise DataError(
            f"{source} is a pointer of Git LFS and no table. Give the file itself: git lfs pull"
        )
    if start.startswith("sep="):
        raise DataError(
            f"{source} begins with the line {in_quotes(head.split(chr(10))[0].strip())}, which is"
            " no part of"
            " the table. Remove this line."
        )


def _encoding(open_: Opener, source: str) -> tuple[str, list[str]]:
    """Find the encoding by reading the whole file once. Refuse what is no text."""
    with open_() as file:
        start = file.read(4)
    for mark, encoding in _MARKS:
        if start.startswith(mark):
            return encoding, []
    encoding = "utf-8" if _is_utf8(open_, source) else _one_byte(open_)
    if encoding == "utf-8":
        return encoding, []
    return encoding, [
        f"{source} is not UTF-8, and was read as {encoding}; save it as UTF-8 if letters are wrong"
    ]


def _is_utf8(open_: Opener, source: str) -> bool:
    """Whether all bytes are UTF-8. Refuse NUL bytes, and a file that is UTF-8 only in part."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    position, letters = 0, False
    with open_() as file:
        for chunk in iter(lambda: file.read(CHUNK), b""):
            if b"\0" in chunk:
                raise DataError(
                    f"{source} holds NUL bytes, the first at byte {position + chunk.index(0)}, and"
                    " is no text. Save it as UTF-8."
                )
            if not chunk.isascii() or decoder.getstate()[0]:
                try:
                    decoder.decode(chunk)
                except UnicodeDecodeError as error:
                    if letters or not error.object[: error.start].isascii():
                        raise DataError(
                            f"{source} is UTF-8 only in part: byte {position + error.start} is not."
                            " Save it as UTF-8."
                        ) from error
                    return False
                letters = True
            position += len(chunk)
    return not decoder.getstate()[0]


def _one_byte(open_: Opener) -> str:
    """Windows' encoding, unless a byte has no letter there."""
    with open_() as file:
        for chunk in iter(lambda: file.read(CHUNK), b""):
            if re.search(rb"[\x81\x8d\x8f\x90\x9d]", chunk):
                return "latin-1"
    return "cp1252"


def _head(file: IO[str], source: str) -> str:
    """Read the first lines, at least one whole line."""
    head = file.read(CHUNK)
    while "\n" not in head.lstrip() and "\r" not in head.lstrip():
        more = file.read(CHUNK)
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
    """Choose the delimiter that cuts most of the first rows into as many cells as the first."""
    best, found = (0.0, False, 0), ","
    for mark in "\t;|,":
        widths = _widths(head, mark)
        agree = sum(width == widths[0] for width in widths) / len(widths)
        # With the wrong delimiter, a quote may swallow all rows but the first.
        score = (agree, len(widths) > 1, 1 if agree == 1 else widths[0])
        if widths[0] > 1 and score > best:
            best, found = score, mark
    return BLANKS if best[0] < 1 and _blanks(head, suffix) else found


def _widths(head: str, mark: str) -> list[int]:
    """How many cells the first rows have, if ``mark`` separates them."""
    try:
        rows = islice(records(io.StringIO(head, newline=""), mark), _SAMPLE)
        return [len(cells) for _, cells in rows] or [0]
    except csv.Error:
        return [0]


def _blanks(head: str, suffix: str) -> bool:
    """Whether blanks separate the cells: in a file named for text, or if all cells are numbers."""
    lines = [line.strip() for line in head.split("\n")]
    lines = [line for line in lines if line and not line.startswith(COMMENTS)][:_SAMPLE]
    widths = _widths("\n".join(lines), BLANKS)
    if widths[0] < 2 or set(widths) != {widths[0]}:
        return False
    numbers = all(re.fullmatch(r"[-+0-9.eE\s]+", line) for line in lines[1:])
    return suffix in _FREE or (len(lines) > 1 and numbers)


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
