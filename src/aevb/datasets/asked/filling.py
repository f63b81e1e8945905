"""Put values into the missing cells of a table, and leave every other cell as it stands.

A text file is written again letter by letter: what stands in the missing cells alone is replaced.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from aevb import files
from aevb.datasets import readers
from aevb.datasets.schema import Schema
from aevb.datasets.tabular.columns import Table, text_of
from aevb.datasets.tabular.delimited import BLANKS, Delimited
from aevb.datasets.tabular.dialect import delimited
from aevb.datasets.tabular.frames import data_like, frame_kind, to_pandas
from aevb.datasets.tabular.opening import PACKED, ending, opener
from aevb.datasets.tabular.tables import TEXT, write_table
from aevb.datasets.tabular.text import write
from aevb.errors import DataError, NotFoundError

if TYPE_CHECKING:
    import pandas as pd

IMPUTATION, ROW = ".imp", ".id"
"""Columns of several versions in one table: the number of the version, and that of the row. R's
mice calls them so."""


class Gappy(NamedTuple):
    """A table of rows as it was read.

    Args:
        frame: The rows, as a frame of pandas.
        codes: (N, C), the codes of the modelled columns, NaN for a missing cell.
        library: The library that the frame came from, or "file".
        source: The file, if the rows are from a single one.
        notes: Sentences the user must read.

    Example:
        >>> import numpy as np, pandas as pd
        >>> from aevb.datasets.asked.filling import Gappy
        >>> Gappy(pd.DataFrame({"a": [None]}), np.array([[np.nan]]), "pandas").source is None
        True
    """

    frame: pd.DataFrame
    codes: NDArray[np.float64]
    library: str
    source: Path | None = None
    notes: tuple[str, ...] = ()


def read_gappy(data: Any, schema: Schema, ignore: Sequence[str] = ()) -> Gappy:
    """Read rows with missing cells: a data frame, or the path of a table.

    Args:
        data: The rows.
        schema: The form of the rows that a model of a table was trained on.
        ignore: Names of columns that the model does not know. They stay as they are.

    Raises:
        DataError: The rows do not have the form of the training rows, or are no table.
        NotFoundError: There is no such file.

    Example:
        >>> import pandas as pd
        >>> from aevb.datasets.planning import plan
        >>> from aevb.datasets.asked.filling import read_gappy
        >>> from aevb.datasets.tabular.frames import data_of_frame
        >>> schema = plan(data_of_frame(pd.DataFrame({"a": [1.5, 2.5, 4.5]}), "mine")).schema
        >>> read_gappy(pd.DataFrame({"a": [0.5, None]}), schema).codes.tolist()
        [[0.5], [nan]]
    """
    table = schema.table
    assert table is not None
    if isinstance(data, str | os.PathLike):
        text = os.fspath(data)
        if not readers.exists(text):
            raise NotFoundError(f"there is no file {text!r}. Check the path.")
        raw = readers.table_like(text, schema)
        if raw is None:
            raise DataError(f"{text} is no table; give a file such as {text}.csv with columns")
        path = Path(text).expanduser()
        known = data_like(raw.frame, raw.source, table, ignore=ignore, notes=raw.notes)
        source = path if path.is_file() else None
        return Gappy(raw.frame, np.asarray(known.rows), "file", source, known.notes)
    kind = frame_kind(data)
    frame = to_pandas(data if kind else _pandas(data))
    known = data_like(frame, "the table", table, ignore=ignore)
    return Gappy(frame, np.asarray(known.rows), kind or "pandas")


def _pandas(data: Any) -> pd.DataFrame:
    """Make a frame of pandas of a dictionary of columns or a list of rows."""
    import pandas as pd

    try:
        return pd.DataFrame(data)
    except (ValueError, TypeError) as error:
        raise DataError(
            f"impute takes a data frame or the path of a table; got {type(data).__name__}. Give a"
            " pandas.DataFrame."
        ) from error


def filled_frame(
    frame: pd.DataFrame, table: Table, codes: NDArray[np.float64], missing: NDArray[np.bool_]
) -> pd.DataFrame:
    """Return a frame whose missing cells are filled from codes.

    Args:
        frame: The rows, in which every modelled column of the table is found by its name.
        table: The columns.
        codes: (N, C), the codes of all cells.
        missing: (N, C), the cells to fill.

    Example:
        >>> import numpy as np, pandas as pd
        >>> from aevb.datasets.tabular.columns import Column, Table
        >>> from aevb.datasets.asked.filling import filled_frame
        >>> table = Table((Column("age", "integer", "int64"),))
        >>> frame = pd.DataFrame({"id": ["a", "b"], "age": [30.0, None]})
        >>> filled_frame(frame, table, np.array([[30.0], [41.2]]), np.array([[False], [True]]))
          id   age
        0  a  30.0
        1  b  41.0
    """
    whole: Any = frame.copy()
    labels = {text_of(label): i for i, label in enumerate(frame.columns)}
    for i, column in enumerate(table.modelled):
        gaps = missing[:, i]
        if not gaps.any():
            continue
        place = labels[column.name]
        cells: Any = frame.iloc[:, place]
        values = column.decode(codes[gaps, i])
        mixed = cells.astype(object).to_numpy(copy=True)
        mixed[gaps] = values.astype(object).to_numpy()
        whole.isetitem(place, _like(mixed, cells))
    filled: pd.DataFrame = whole
    return filled


def _like(values: NDArray[Any], cells: Any) -> Any:
    """Make a column of the type of ``cells``, or of objects if the values do not fit into it."""
    import pandas as pd

    try:
        return pd.Series(values, index=cells.index).astype(cells.dtype)
    except (TypeError, ValueError):
        return pd.Series(values, index=cells.index, dtype=object)


def versions_frame(frames: Sequence[pd.DataFrame]) -> pd.DataFrame:
    """Join several versions of the same rows, one after the other, in the long form of R's mice.

    Example:
        >>> import pandas as pd
        >>> from aevb.datasets.asked.filling import versions_frame
        >>> versions_frame([pd.DataFrame({"a": [1.0, 2.0]}), pd.DataFrame({"a": [1.0, 3.0]})])
           .imp  .id    a
        0     1    1  1.0
        1     1    2  2.0
        2     2    1  1.0
        3     2    2  3.0
    """
    import pandas as pd

    parts = []
    for number, frame in enumerate(frames, 1):
        part = frame.reset_index(drop=True)
        part.insert(0, ROW, np.arange(1, len(part) + 1))
        part.insert(0, IMPUTATION, number)
        parts.append(part)
    return pd.concat(parts, ignore_index=True)


def write_filled(
    source: Path | None,
    frame: pd.DataFrame,
    table: Table,
    codes: NDArray[np.float64],
    missing: NDArray[np.bool_],
    path: Path,
    *,
    numbered: bool,
) -> None:
    """Write a table whose missing cells are filled.

    If source and output are text files of one ending, all other cells keep their letters.

    Args:
        source: The file that the rows are from, or None if there is no such single file.
        frame: The rows as they were read.
        table: The columns.
        codes: (M, N, C), the codes of M versions.
        missing: (N, C), the cells to fill.
        path: The new file.
        numbered: Whether to write the versions one after the other, with the columns .imp and .id.

    Raises:
        OutputExistsError: There is such a file.
        CannotWriteError: It cannot be written.
        DataError: A value cannot be written in the encoding of the source.
    """
    text = _Text.of(source, frame) if source is not None and _is_alike(source, path) else None
    if text is not None:
        cells = [_texts(table, version, missing) for version in codes]
        data = text.encoded(text.filled(cells, numbered), path)
        files.whole(path, lambda part: part.write_bytes(data))
        return
    frames = [filled_frame(frame, table, version, missing) for version in codes]
    written = {column.name: column.written for column in table.columns}
    write_table(versions_frame(frames) if numbered else frames[0], written, path)


def _is_alike(source: Path, path: Path) -> bool:
    inner = ending(source)
    for end in PACKED:
        inner = inner.removesuffix(end)
    return inner == path.suffix.lower() and inner in TEXT


def _texts(
    table: Table, codes: NDArray[np.float64], missing: NDArray[np.bool_]
) -> dict[str, dict[int, str]]:
    """The texts for the missing cells of each column: name -> number of the row -> text."""
    found = {}
    for i, column in enumerate(table.modelled):
        rows = np.flatnonzero(missing[:, i])
        cells: Any = write(column.decode(codes[rows, i]), column.written) if len(rows) else ()
        found[column.name] = dict(zip(rows.tolist(), map(str, cells), strict=True))
    return found


class _Cell(NamedTuple):
    """Where the text of a cell begins and ends, with its quotes and without blanks around it."""

    start: int
    end: int


class _Text(NamedTuple):
    """A text file of cells, taken apart.

    text: All of it. rows: For each row of data, its first place and its cells. header: The place
    where the header begins, or None. end: The place after the header's line.
    """

    text: str
    encoding: str
    delimiter: str
    names: list[str]
    rows: list[tuple[int, list[_Cell]]]
    header: int | None

    @classmethod
    def of(cls, source: Path, frame: pd.DataFrame) -> _Text | None:
        """Take a file apart. None if its rows are not those of the frame, one by one."""
        suffix = ending(source)
        packed = next((end for end in PACKED if suffix.endswith(end)), "")
        open_ = opener(source, packed, str(source))
        table = delimited(open_, suffix.removesuffix(packed), str(source))
        if table.delimiter == BLANKS or len(table.names) == 1:
            return None
        with io.TextIOWrapper(open_(), encoding=table.encoding, newline="") as file:
            text = file.read()
        rows = list(_records(text, table.delimiter))
        return cls._checked(text, table, rows, len(frame))

    @classmethod
    def _checked(
        cls, text: str, table: Delimited, rows: list[tuple[int, list[_Cell]]], n: int
    ) -> _Text | None:
        header = rows[0][0] if table.has_header and rows else None
        data = rows[1:] if table.has_header else rows
        fits = len(data) >= n and all(len(cells) == len(table.names) for _, cells in data[:n])
        if not fits:
            return None
        return cls(text, table.encoding, table.delimiter, table.names, data[:n], header)

    def filled(self, versions: Sequence[Mapping[str, Mapping[int, str]]], numbered: bool) -> str:
        """Return the file with texts in cells, for each version: column -> row -> text."""
        if not numbered:
            return "".join(self._pieces(versions[0], 0))
        parts, first = [], self.rows[0][0] if self.rows else len(self.text)
        if self.header is not None:
            lead = f"{IMPUTATION}{self.delimiter}{ROW}{self.delimiter}"
            parts = [self.text[: self.header], lead, self.text[self.header : first]]
        for number, cells in enumerate(versions, 1):
            version = "".join(self._pieces(cells, first, f"{number}{self.delimiter}"))
            parts.append(version if version.endswith(("\n", "\r")) else version + "\n")
        return "".join(parts)

    def encoded(self, text: str, path: Path) -> bytes:
        """Return the bytes of a text. Raises DataError if the file's encoding lacks a letter."""
        try:
            return text.encode(self.encoding)
        except UnicodeEncodeError as error:
            letters = text[error.start : error.end]
            raise DataError(
                f"{path.name} would hold {letters!r}, which {self.encoding} cannot write; save the"
                " file as UTF-8, and fill that one"
            ) from error

    def _pieces(
        self, cells: Mapping[str, Mapping[int, str]], done: int, lead: str = ""
    ) -> Iterator[str]:
        """Yield the text from the place ``done`` on. lead: what stands before a row's number."""
        columns = [(self.names.index(name), rows) for name, rows in cells.items()]
        columns.sort(key=lambda pair: pair[0])
        for row, (start, places) in enumerate(self.rows):
            if lead:
                yield self.text[done:start]
                yield f"{lead}{row + 1}{self.delimiter}"
                done = start
            for i, rows in columns:
                if row in rows:
                    yield self.text[done : places[i].start]
                    yield self._cell(rows[row], places[i])
                    done = places[i].end
        yield self.text[done:]

    def _cell(self, text: str, place: _Cell) -> str:
        """Put a text into quotes if the cell had some, or if it needs them."""
        had = place.end > place.start and self.text[place.start] == '"'
        needs = any(mark in text for mark in (self.delimiter, '"', "\n", "\r"))
        return '"' + text.replace('"', '""') + '"' if had or needs else text


def _records(text: str, delimiter: str) -> Iterator[tuple[int, list[_Cell]]]:
    """Yield the place and the cells of every row that is not blank."""
    d = re.escape(delimiter)
    cell = re.compile(rf' *(?P<quoted>"(?:[^"]|"")*")[^{d}\r\n]*|(?P<plain>[^{d}\r\n]*)')
    place, start = 0, 0
    cells: list[_Cell] = []
    while place <= len(text):
        match = cell.match(text, place)
        assert match is not None
        cells.append(_inner(match))
        place = match.end()
        if text.startswith(delimiter, place):
            place += len(delimiter)
            continue
        if len(cells) > 1 or cells[0].end > cells[0].start:
            yield start, cells
        place += 2 if text.startswith("\r\n", place) else 1
        start, cells = place, []


def _inner(match: re.Match[str]) -> _Cell:
    if match["quoted"] is not None:
        return _Cell(*match.span("quoted"))
    start, end = match.span()
    plain = match[0]
    if not plain.strip():
        return _Cell(end, end)
    return _Cell(start + len(plain) - len(plain.lstrip()), end - len(plain) + len(plain.rstrip()))
