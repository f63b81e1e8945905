"""Files that know the types of their cells: Parquet, Feather, Arrow, Excel and JSON."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from aevb.datasets.damage import in_quotes, short, why
from aevb.datasets.tabular.delimited import column_names, refuse_twice
from aevb.datasets.tabular.header import has_header
from aevb.datasets.tabular.json_tables import read_json_file, read_jsonl_file
from aevb.datasets.tabular.opening import Opener
from aevb.datasets.tabular.text import is_text, parse
from aevb.datasets.tabular.typed import objects, plain
from aevb.errors import DataError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

_SAMPLE = 200
Found = tuple["pd.DataFrame", list[str]]
"""The columns of a file, and notes on them."""


def read_parquet_file(open_: Opener, source: str) -> Found:
    """Read a .parquet file. This needs the extra ``parquet``.

    Example:
        >>> import pandas as pd
        >>> from pathlib import Path
        >>> from aevb.datasets.tabular.formats import read_parquet_file
        >>> pd.DataFrame({"a": [1.0, 2.0]}).to_parquet("a.parquet")
        >>> read_parquet_file(lambda: open("a.parquet", "rb"), "a.parquet")[0].a.tolist()
        [1.0, 2.0]
    """
    _need_arrow(".parquet")
    from pyarrow import parquet

    with open_() as file:
        return _from_arrow(parquet.ParquetFile(file).read(), source)


def read_arrow_file(open_: Opener, source: str) -> Found:
    """Read a Feather or an Arrow file, or an Arrow stream. This needs the extra ``parquet``.

    Example:
        >>> import pandas as pd
        >>> from aevb.datasets.tabular.formats import read_arrow_file
        >>> pd.DataFrame({"a": [1.0, 2.0]}).to_feather("a.feather")
        >>> read_arrow_file(lambda: open("a.feather", "rb"), "a.feather")[0].a.tolist()
        [1.0, 2.0]
    """
    _need_arrow(".feather")
    import pyarrow

    with open_() as file:
        start = file.read(6)
        file.seek(0)
        if start == b"ARROW1":
            table = pyarrow.ipc.open_file(file).read_all()
        else:
            table = pyarrow.ipc.open_stream(file).read_all()
        return _from_arrow(table, source)


def _need_arrow(suffix: str) -> None:
    try:
        import pyarrow  # noqa: F401
    except ImportError as error:
        raise UsageError(f"reading {suffix} needs pyarrow: pip install 'aevb[parquet]'") from error


def _from_arrow(table: Any, source: str) -> Found:
    """Turn an Arrow table into columns, with whole numbers exact and a set index as columns."""
    import pandas as pd
    import pyarrow as pa

    table.validate(full=True)  # damaged offsets would end the process
    refuse_twice(table.column_names, source)
    for field in table.schema:
        if pa.types.is_nested(field.type) or _is_bytes(field.type):
            raise DataError(
                f"{source}: column {in_quotes(field.name)} holds {short(str(field.type), 60)}; a"
                " cell of a table is one"
                " number, date or text. Remove the column, or give each value a column of its own."
            )
    exact = {
        getattr(pa, f"{sign}int{bits}")(): getattr(pd, f"{sign.upper()}Int{bits}Dtype")()
        for sign in ("", "u")
        for bits in (8, 16, 32, 64)
    }
    mapped = {**exact, pa.bool_(): pd.BooleanDtype()}
    frame = table.to_pandas(types_mapper=mapped.get)
    notes = []
    if not isinstance(frame.index, pd.RangeIndex):
        names = [str(name or f"index_{i}") for i, name in enumerate(frame.index.names)]
        refuse_twice([*names, *map(str, frame.columns)], source)
        frame = frame.reset_index(names=names)
        notes.append(f"{source}: its index became the columns {', '.join(names)}")
    frame.columns = pd.Index([str(name) for name in frame.columns])
    refuse_twice(list(frame.columns), source)
    notes += _of_times(frame, source)
    return pd.DataFrame({name: plain(column) for name, column in frame.items()}), notes


def _of_times(frame: pd.DataFrame, source: str) -> list[str]:
    """Notes on the columns of times and durations that lose something."""
    import pandas as pd

    notes = []
    for name, column in frame.items():
        if isinstance(column.dtype, pd.DatetimeTZDtype):
            notes.append(
                f"{source}: the times of column {in_quotes(name)} are those of {column.dt.tz}"
            )
        if column.dtype.kind == "m":
            notes.append(
                f"{source}: the durations of column {in_quotes(name)} were read as seconds"
            )
    return notes


def _is_bytes(kind: Any) -> bool:
    import pyarrow as pa

    return any(
        test(kind)
        for test in (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary)
    )


def read_excel_file(open_: Opener, source: str) -> Found:
    """Read the first sheet of an .xlsx file. This needs the extra ``excel``."""
    try:
        import openpyxl
    except ImportError as error:
        raise UsageError("reading .xlsx needs openpyxl: pip install 'aevb[excel]'") from error
    with open_() as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of styles, names and other things that are no cells
        try:
            book = openpyxl.load_workbook(file, read_only=True, data_only=True)
            sheets = book.worksheets
            cells = [list(row) for row in sheets[0].iter_rows(values_only=True)]
        except Exception as error:  # damaged bytes cause any error in openpyxl
            raise DataError(f"{source} cannot be read as .xlsx: {why(error)}") from error
    notes = []
    if len(sheets) > 1:
        notes.append(
            f"{source}: only the first of its {len(sheets)} sheets was read,"
            f" {in_quotes(sheets[0].title)}"
        )
    return _from_sheet(cells, source, notes)


def _from_sheet(cells: list[list[Any]], source: str, notes: list[str]) -> Found:
    import pandas as pd

    sheet = pd.DataFrame(cells, dtype=object).dropna(how="all")
    filled = np.flatnonzero(sheet.notna().any())
    if not len(filled):
        raise DataError(
            f"{source} is not a table: its first sheet is empty. Check that it is the right file."
        )
    sheet = sheet.iloc[:, : filled[-1] + 1]
    sheet = sheet.where(sheet.notna(), None)
    shown = [list(map(_shown, row)) for row in sheet.head(_SAMPLE).itertuples(index=False)]
    header, note = has_header(shown)
    notes += [f"{source}: {note}"] if note else []
    names = column_names(shown[0], header, source)
    columns = [_of_sheet(sheet.iloc[int(header) :, i].tolist()) for i in range(len(names))]
    return pd.DataFrame(dict(zip(names, columns, strict=True))), notes


def _shown(cell: Any) -> str:
    return "" if cell is None else str(cell)


def _of_sheet(column: list[Any]) -> pd.Series:
    """Type a column of a sheet. Words among numbers are read as those of a text file."""
    typed = objects(column)
    if is_text(typed) and any(not isinstance(cell, str) and cell is not None for cell in column):
        return parse(typed)[0]
    return typed


FORMATS: dict[str, Callable[[Opener, str], Found]] = {
    ".parquet": read_parquet_file,
    ".pq": read_parquet_file,
    ".feather": read_arrow_file,
    ".arrow": read_arrow_file,
    ".ipc": read_arrow_file,
    ".json": read_json_file,
    ".jsonl": read_jsonl_file,
    ".ndjson": read_jsonl_file,
    ".xlsx": read_excel_file,
}
"""The function that reads a typed file, by the ending of its name."""


def _write_arrow(frame: pd.DataFrame, path: Path) -> None:
    frame.reset_index(drop=True).to_feather(path)


WRITERS: dict[str, Callable[[Any, Path], Any]] = {
    ".parquet": lambda frame, path: frame.to_parquet(path, index=False),
    ".pq": lambda frame, path: frame.to_parquet(path, index=False),
    ".feather": _write_arrow,
    ".arrow": _write_arrow,
    ".json": lambda frame, path: frame.to_json(path, orient="records", date_format="iso"),
    ".jsonl": lambda frame, path: frame.to_json(
        path, orient="records", lines=True, date_format="iso"
    ),
    ".xlsx": lambda frame, path: frame.to_excel(path, index=False, engine="openpyxl"),
}
"""The function that writes a typed file, by the ending of its name."""
