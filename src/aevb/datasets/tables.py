"""Read tables of numbers: .csv, .tsv, .txt and .parquet."""

from __future__ import annotations

import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from aevb.datasets.damage import DAMAGED, why
from aevb.datasets.schema import Data
from aevb.errors import DataError, UsageError

if TYPE_CHECKING:
    import pandas as pd

BLANKS = r"\s+"
"""The delimiter, as a regular expression, of a .txt file whose cells are separated by blanks."""


class Dialect(NamedTuple):
    """How a text file writes its table: the delimiter, and whether its first line is a header."""

    delimiter: str
    has_header: bool


def read_csv(path: Path, *, ignore: Sequence[str] = ()) -> Data:
    """Read a table of numbers from a text file, with or without a header.

    Commas, semicolons, tabs or bars separate the cells; in a .txt file, blanks may do so. A first
    column without a name that counts the rows from 0 is left out. Without a header, the columns are
    called column_1, column_2, ...

    Args:
        path: The file, in UTF-8.
        ignore: Names of columns that are left out.

    Raises:
        DataError: The file is not a table, or a cell is not a number. The message counts rows from
            1, without the header.

    Example:
        >>> from pathlib import Path
        >>> from aevb.datasets.tables import read_csv
        >>> _ = Path("sizes.csv").write_text("height,width\\n1.5,20\\n2.5,30\\n")
        >>> data = read_csv(Path("sizes.csv"))
        >>> data.columns
        ('height', 'width')
        >>> data.rows
        array([[ 1.5, 20. ],
               [ 2.5, 30. ]])
    """
    import pandas as pd

    try:
        dialect = _dialect(path)
        frame = _frame(path, dialect)
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path} is not UTF-8 text: {error.reason} at byte {error.start}. Save it as UTF-8 CSV."
        ) from error
    except (pd.errors.ParserError, pd.errors.EmptyDataError, pd.errors.ParserWarning) as error:
        message = " ".join(str(error).split()).rstrip(".")
        raise DataError(
            f"{path} is not a table: {message}. Give every row as many cells as the first has."
        ) from error
    frame = _without_row_numbers(frame)
    if not dialect.has_header:
        frame.columns = pd.Index([f"column_{i + 1}" for i in range(frame.shape[1])])
    return _from_frame(_without(frame, ignore, path), path)


def _dialect(path: Path) -> Dialect:
    """Tell from the first line how the file writes its table."""
    with path.open(encoding="utf-8-sig") as file:
        first = file.readline()
    delimiter = max(",;\t|", key=first.count)
    if delimiter not in first and path.suffix.lower() == ".txt":
        delimiter = BLANKS
    cells = re.split(delimiter if delimiter == BLANKS else re.escape(delimiter), first.strip())
    # pandas writes the header 0, 1, 2, ... for columns without names.
    counted = len(cells) > 1 and cells == [str(i) for i in range(len(cells))]
    return Dialect(delimiter, counted or not all(_is_number(cell) for cell in cells))


def _is_number(cell: str) -> bool:
    try:
        float(cell.strip().strip('"') or "nan")
    except ValueError:
        return False
    return True


def _frame(path: Path, dialect: Dialect) -> pd.DataFrame:
    import pandas as pd

    with warnings.catch_warnings():
        # If a row has more cells than the header, pandas by default takes the first cells for row
        # labels and drops them. index_col=False makes it warn, and the warning is an error here.
        warnings.simplefilter("error", pd.errors.ParserWarning)
        return pd.read_csv(
            path,
            sep=dialect.delimiter,
            header=0 if dialect.has_header else None,
            index_col=False,
            skipinitialspace=True,
            encoding="utf-8-sig",
            low_memory=False,
        )


def _without_row_numbers(frame: pd.DataFrame) -> pd.DataFrame:
    """Drop the first column if it has no name and counts the rows, as pandas writes them."""
    unnamed = str(frame.columns[0]).startswith("Unnamed: 0")
    if unnamed and list(frame.iloc[:, 0]) == list(range(len(frame))):
        return frame.iloc[:, 1:]
    return frame


def read_parquet(path: Path, *, ignore: Sequence[str] = ()) -> Data:
    """Read a table of numbers from a .parquet file. This needs the extra ``parquet``.

    ignore: names of columns that are left out.

    Example:
        >>> import pandas as pd
        >>> from pathlib import Path
        >>> from aevb.datasets.tables import read_parquet
        >>> pd.DataFrame({"a": [1.0, 2.0]}).to_parquet("a.parquet")
        >>> read_parquet(Path("a.parquet")).columns
        ('a',)
    """
    import pandas as pd

    try:
        frame = pd.read_parquet(path)
    except ImportError as error:
        raise UsageError("reading .parquet needs pyarrow: pip install 'aevb[parquet]'") from error
    except DAMAGED as error:
        raise DataError(f"{path} cannot be read as .parquet: {why(error)}") from error
    return _from_frame(_without(frame, ignore, path), path)


def _without(frame: pd.DataFrame, ignore: Sequence[str], path: Path) -> pd.DataFrame:
    """Drop columns by their names. A text that is no name itself may hold several, with commas."""
    names = [str(name) for name in frame.columns]
    wanted = [
        name.strip() for text in ignore for name in ([text] if text in names else text.split(","))
    ]
    for name in wanted:
        if name not in names:
            raise UsageError(
                f"{path} has no column {name!r} to leave out; there is {', '.join(names)}"
            )
    return frame.loc[:, [name not in wanted for name in names]]


def _from_frame(frame: pd.DataFrame, path: Path) -> Data:
    numbers = {str(name): _column(column, str(name), path) for name, column in frame.items()}
    columns = tuple(numbers)
    rows = (
        np.stack([numbers[name] for name in columns], axis=1)
        if columns and len(frame)
        else np.empty((len(frame), len(columns)))
    )
    return Data(rows, source=str(path), columns=columns)


def _column(column: pd.Series, name: str, path: Path) -> np.ndarray:
    """Turn a column into numbers: (N,). Raises DataError for a cell that holds text."""
    import pandas as pd

    values = pd.to_numeric(column, errors="coerce")
    text = values.isna() & column.notna()
    if text.any():
        row = int(text.to_numpy().argmax())
        raise DataError(
            f"{path}: column {name!r} should hold numbers; got {str(column.iloc[row])!r}"
            f" at data row {row + 1} ({int(text.sum())} such cells). Correct them, or remove"
            " the column or encode it as numbers."
        )
    return values.to_numpy(dtype=np.float64)
