"""Text files of cells: their encoding, their delimiter, their header, and their rows.

pandas's parser reads the rows. What it would do without a word is looked for here: rows that are
too short, zeros in front of codes, digits that a float cannot hold, and lines that are left out.
"""

from __future__ import annotations

import csv
import io
import re
import warnings
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any

from aevb.datasets.damage import in_quotes, short
from aevb.datasets.tabular.opening import Opener
from aevb.errors import DataError

if TYPE_CHECKING:
    import pandas as pd

BLANKS = r"\s+"
"""The delimiter, as a regular expression, of a file whose cells are separated by blanks."""
MOST_COLUMNS = 100_000
"""A text file with more columns is refused: pandas needs about 50 microseconds for each."""
COMMENTS = ("#", "%", "//")
"""What a comment begins with. A text file with comments is refused."""
CHUNK = 2**20
"""A file is looked through in parts of so many bytes."""
_EDGES = b',;\t|" \r\n'
_CLASSES = bytes(
    48 if byte == 48 else 49 if 48 < byte < 58 else 44 if byte in _EDGES else 120
    for byte in range(256)
)
_MAYBE = re.compile(rb",0[01]")
_ZEROS = re.compile(rb"[,;\t|\" \r\n][+-]?0[0-9]+(?=[,;\t|\" \r\n])")


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
    _rows: int | None = None

    def rows(self, text: Collection[str] | None = None) -> pd.DataFrame:
        """Read the rows. A column becomes int64, float64 or text.

        Args:
            text: Read only these columns, as text, with empty cells as NaN.

        Raises:
            DataError: A row has more or fewer cells than the others.
        """
        import pandas as pd

        try:
            return self._read(text)
        except pd.errors.DtypeWarning:
            # Read in parts, a column became numbers in one part and text in another.
            return self._read(text, low_memory=False)

    def _read(self, text: Collection[str] | None, low_memory: bool = True) -> pd.DataFrame:
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
                warnings.simplefilter("error", pd.errors.DtypeWarning)
                frame = pd.read_csv(
                    file,
                    sep=self.delimiter,
                    header=0 if self.has_header and not alone else None,
                    skiprows=self._lines_before() if alone else None,
                    index_col=False,
                    skipinitialspace=True,
                    keep_default_na=False,
                    na_values=[""],
                    low_memory=low_memory,
                    decimal=self.decimal,
                    skip_blank_lines=not alone,
                    **options,
                )
        except (pd.errors.ParserError, pd.errors.EmptyDataError, pd.errors.ParserWarning) as error:
            self.refuse_ragged()
            raise self._no_table(error) from error
        return self._named(self._without_empty_end(frame), text)

    def _without_empty_end(self, frame: pd.DataFrame) -> pd.DataFrame:
        """Drop the rows at the end that have no filled cell, as spreadsheets write them."""
        end = len(frame)
        if self._rows is None:
            while end and bool(frame.iloc[end - 1].isna().all()):
                end -= 1
            self._rows = end
            if end < len(frame) and frame.shape[1] > 1:
                self.refuse_ragged()
                self.notes.append(
                    f"{self.source}: {len(frame) - end} rows without any filled cell at the end"
                    " were left out"
                )
        return frame.iloc[: self._rows]

    def _lines_before(self) -> int:
        """How many rows stand before the first one: blank lines and the header.

        In a single column a blank line is a missing cell, so pandas must not skip any.
        """
        line, cells = next(self.records())
        return line - 1 - cells[0].count("\n") + self.has_header

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
        try:
            for number, (line, cells) in enumerate(self.records()):
                if len(cells) != len(self.names):
                    raise self._ragged(number, line, cells)
        except csv.Error as error:
            raise not_csv(error, self.source) from error

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
            + (", or remove the lines above the table" if len(self.names) < len(cells) else "")
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
        """Whether some cell of digits begins with a zero that a number would lose, as 007 does."""
        if self.encoding.startswith(("utf-16", "utf-32")):
            return True
        last = b"\n"
        with self.open() as file:
            for chunk in iter(lambda: file.read(CHUNK), b""):
                part = last + chunk
                if _MAYBE.search(part.translate(_CLASSES)) and _ZEROS.search(part):
                    return True
                last = chunk[-64:]
        return _ZEROS.search(last + b"\n") is not None


def records(file: IO[str], delimiter: str) -> Iterator[tuple[int, list[str]]]:
    """Yield (number of its last line, cells) of every row that is not blank.

    Example:
        >>> import io
        >>> from aevb.datasets.tabular.delimited import records
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


def not_csv(error: csv.Error, source: str) -> DataError:
    """Make the error for text that cannot be cut into cells.

    Example:
        >>> import csv
        >>> from aevb.datasets.tabular.delimited import not_csv
        >>> not_csv(csv.Error("field larger than field limit (131072)"), "it")
        DataError('it is not a table: it has a cell of more than 131072 letters. Close its quotes, \
or remove it.')
    """
    what = short(str(error))
    if "field limit" in what:
        what = f"it has a cell of more than {csv.field_size_limit()} letters"
    return DataError(f"{source} is not a table: {what}. Close its quotes, or remove it.")


def column_names(first: Sequence[str], header: bool, source: str) -> list[str]:
    """Return the names of the columns. Without a header they are column_1, column_2, ...

    Args:
        first: The cells of the first row.
        header: Whether they are names. One that is empty becomes "Unnamed: 0", as in pandas.
        source: The file, for messages.

    Raises:
        DataError: A name stands twice, or there are too many columns.

    Example:
        >>> from aevb.datasets.tabular.delimited import column_names
        >>> column_names(["", "a "], True, "it"), column_names(["1", "2"], False, "it")
        (['Unnamed: 0', 'a'], ['column_1', 'column_2'])
    """
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
        >>> from aevb.datasets.tabular.delimited import refuse_twice
        >>> refuse_twice(["a", "b"], "it")
    """
    seen: dict[str, int] = {}
    for number, name in enumerate(names, 1):
        if name in seen:
            raise DataError(
                f"{source}: columns {seen[name]} and {number} are both named {in_quotes(name)}."
                " Give each"
                " column a name of its own."
            )
        seen[name] = number


def _pandas_2() -> bool:
    import pandas as pd

    return pd.__version__.startswith("2.")
