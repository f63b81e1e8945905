"""Files that know the types of their cells: Parquet, Feather, Arrow, Excel and JSON."""

from __future__ import annotations

import datetime
import decimal
import json
from collections.abc import Callable, Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any

import numpy as np

from aevb.datasets.columns import Written
from aevb.datasets.damage import DAMAGED, why
from aevb.datasets.delimited import Opener, refuse_twice
from aevb.datasets.header import has_header
from aevb.datasets.text import AmbiguousError, is_text, parse, text_type
from aevb.errors import DataError, UsageError

if TYPE_CHECKING:
    from pathlib import Path

    import pandas as pd

Found = tuple["pd.DataFrame", list[str]]
"""The columns of a file, and notes on them."""


def read_parquet_file(open_: Opener, source: str) -> Found:
    """Read a .parquet file. This needs the extra ``parquet``.

    Example:
        >>> import pandas as pd
        >>> from pathlib import Path
        >>> from aevb.datasets.formats import read_parquet_file
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
        >>> from aevb.datasets.formats import read_arrow_file
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

    refuse_twice(table.column_names, source)
    for field in table.schema:
        if pa.types.is_nested(field.type) or _is_bytes(field.type):
            raise DataError(
                f"{source}: column {field.name!r} holds {field.type}; a cell of a table is one"
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
        names = [name or f"index_{i}" for i, name in enumerate(frame.index.names)]
        frame = frame.reset_index(names=[str(name) for name in names])
        notes.append(f"{source}: its index became the columns {', '.join(map(str, names))}")
    frame.columns = pd.Index([str(name) for name in frame.columns])
    refuse_twice(list(frame.columns), source)
    return pd.DataFrame({name: plain(column) for name, column in frame.items()}), notes


def _is_bytes(kind: Any) -> bool:
    import pyarrow as pa

    return any(
        test(kind)
        for test in (pa.types.is_binary, pa.types.is_large_binary, pa.types.is_fixed_size_binary)
    )


def plain(column: pd.Series) -> pd.Series:
    """Bring a typed column to the types of a table: (N,).

    Decimals become float64, days and periods dates, durations seconds, and intervals text. Whole
    numbers and booleans without gaps get numpy's types. Categories stay as they are.

    Example:
        >>> import pandas as pd
        >>> from aevb.datasets.formats import plain
        >>> plain(pd.Series(pd.to_timedelta(["1 min"]))).tolist()
        [60.0]
    """
    import pandas as pd

    dtype = column.dtype
    if isinstance(dtype, pd.PeriodDtype):
        return column.dt.to_timestamp()
    if isinstance(dtype, pd.IntervalDtype):
        return column.astype(text_type())
    if isinstance(dtype, pd.DatetimeTZDtype):
        return column.dt.tz_convert("UTC").dt.tz_localize(None)
    if dtype.kind == "m":
        return column.dt.total_seconds()
    if pd.api.types.is_extension_array_dtype(dtype) and dtype.kind in "iub":
        numpy = getattr(dtype, "numpy_dtype", None)
        return column if column.isna().any() or numpy is None else column.astype(numpy)
    if pd.api.types.is_object_dtype(dtype):
        return objects(column.tolist()).set_axis(column.index).rename(column.name)
    return column


def objects(cells: Sequence[Any]) -> pd.Series:
    """Turn Python objects into a typed column: (N,). Cells of several types become text.

    Example:
        >>> from aevb.datasets.formats import objects
        >>> objects([1, None, 1157567399403462676]).tolist()
        [1, <NA>, 1157567399403462676]
        >>> objects([1, "a"]).tolist()
        ['1', 'a']
    """
    import pandas as pd

    kinds = {_kind(cell) for cell in cells} - {"missing"}
    gaps = [_kind(cell) == "missing" for cell in cells]
    if not kinds:
        return pd.Series(np.full(len(cells), np.nan))
    filled = [None if gap else cell for cell, gap in zip(cells, gaps, strict=True)]
    if kinds == {"boolean"}:
        return pd.Series(filled, dtype="boolean" if any(gaps) else "bool")
    if kinds == {"integer"}:
        whole = [cell for cell in filled if cell is not None]
        low, high = min(whole), max(whole)
        if low >= -(2**63) and high < 2**63:
            return pd.Series(pd.array(filled, dtype="Int64")) if any(gaps) else pd.Series(whole)
        if low >= 0 and high < 2**64:
            return pd.Series(pd.array(filled, dtype="UInt64" if any(gaps) else "uint64"))
    elif kinds <= {"integer", "real"}:
        return pd.Series([np.nan if cell is None else float(cell) for cell in filled])
    elif kinds == {"date"}:
        return pd.Series(pd.to_datetime(pd.Series(filled, dtype=object), errors="coerce"))
    words = [cell if cell is None or isinstance(cell, str) else str(cell) for cell in filled]
    return pd.Series(words, dtype=text_type())


def _kind(cell: Any) -> str:
    """Name the type of one Python object."""
    if cell is None or cell != cell or type(cell).__name__ in ("NAType", "NaTType"):
        return "missing"
    names = (
        ((bool, np.bool_), "boolean"),
        ((int, np.integer), "integer"),
        ((float, np.floating, decimal.Decimal), "real"),
        ((datetime.datetime, datetime.date), "date"),
        ((dict, list, tuple, set, np.ndarray), "nested"),
    )
    return next((name for types, name in names if isinstance(cell, types)), "text")


def typed_text(
    cells: pd.Series, written: Written | None, source: str
) -> tuple[pd.Series, Written, str]:
    """Read dates in the texts of a typed file. Texts of digits stay text.

    Example:
        >>> import pandas as pd
        >>> from aevb.datasets.formats import typed_text
        >>> typed_text(pd.Series(["2020-01-31"]), None, "it")[2]
        'dates written 2020-12-31'
        >>> typed_text(pd.Series(["12", "13"]), None, "it")[2]
        'text in the file, though all cells are numbers'
    """
    try:
        values, form, reason = parse(cells, written)
    except AmbiguousError as error:
        if error.decimal:
            return cells, written or Written(), "text in the file"
        raise AmbiguousError(f"{source}: {error}") from None
    if form.date or is_text(values):
        return values, form, reason
    if values.dtype.kind in "iuf" and values.notna().any():
        return cells, Written(), "text in the file, though all cells are numbers"
    return cells, Written(), ""


def read_json_file(open_: Opener, source: str) -> Found:
    """Read a table from JSON: an array of records, of rows, or an object of columns.

    Example:
        >>> import io
        >>> from aevb.datasets.formats import read_json_file
        >>> read_json_file(lambda: io.BytesIO(b'[{"a": 1}, {"a": null}]'), "it")[0].a.tolist()
        [1, <NA>]
    """
    with open_() as file:
        content = json.loads(_utf8(file, source), object_pairs_hook=_once)
    if isinstance(content, dict):
        if {"columns", "data"} <= set(content) and isinstance(content["data"], list):
            content = [dict(zip(content["columns"], row, strict=True)) for row in content["data"]]
        elif content and all(isinstance(column, list) for column in content.values()):
            return _columns(content, source), []
        elif content and all(isinstance(column, dict) for column in content.values()):
            rows = list(dict.fromkeys(key for column in content.values() for key in column))
            found = {name: [column.get(r) for r in rows] for name, column in content.items()}
            return _columns(found, source), []
    if isinstance(content, list) and content:
        if all(isinstance(row, dict) for row in content):
            return _records(content, source), []
        if all(isinstance(row, list) for row in content):
            return _matrix(content, source), []
        if not any(isinstance(row, dict | list) for row in content):
            return _columns({"column_1": content}, source), []
    raise DataError(
        f"{source} holds no table: expected an array of records, [{{...}}, ...], or an object of"
        " columns. Save it as .csv."
    )


def read_jsonl_file(open_: Opener, source: str) -> Found:
    """Read a table from lines of JSON, one record a line.

    Example:
        >>> import io
        >>> from aevb.datasets.formats import read_jsonl_file
        >>> read_jsonl_file(lambda: io.BytesIO(b'{"a": 1}\\n{"a": 2}\\n'), "it")[0].a.tolist()
        [1, 2]
    """
    rows = []
    with open_() as file:
        for number, line in enumerate(_utf8(file, source).split("\n"), 1):
            if line.strip():
                try:
                    rows.append(json.loads(line, object_pairs_hook=_once))
                except ValueError as error:
                    raise DataError(
                        f"{source}: line {number} is no JSON record ({error}). Correct it, or save"
                        " the table as .csv."
                    ) from error
    if rows and all(isinstance(row, list) for row in rows):
        return _matrix(rows, source), []
    odd = next((i for i, row in enumerate(rows) if not isinstance(row, dict)), None)
    if odd is not None or not rows:
        raise DataError(
            f"{source}: row {(odd or 0) + 1} is no record; expected one {{...}} a line. Save the"
            " table as .csv."
        )
    return _records(rows, source), []


def _utf8(file: IO[bytes], source: str) -> str:
    try:
        return file.read().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{source} is not UTF-8 text: {error.reason} at byte {error.start}. Save it as UTF-8."
        ) from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    record = dict(pairs)
    if len(record) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"a record has the name {twice!r} twice")
    return record


def _records(rows: Sequence[Mapping[str, Any]], source: str) -> pd.DataFrame:
    names = dict.fromkeys(name for row in rows for name in row)
    return _columns({name: [row.get(name) for row in rows] for name in names}, source)


def _matrix(rows: Sequence[Sequence[Any]], source: str) -> pd.DataFrame:
    width = len(rows[0])
    for number, row in enumerate(rows, 1):
        if len(row) != width:
            raise DataError(
                f"{source}: row {number} has {len(row)} values, the first has {width}. Give every"
                " row as many."
            )
    columns = {f"column_{i + 1}": [row[i] for row in rows] for i in range(width)}
    return _columns(columns, source)


def _columns(columns: Mapping[str, Sequence[Any]], source: str) -> pd.DataFrame:
    """Turn lists into typed columns. Refuse lists and records in cells."""
    import pandas as pd

    lengths = {len(column) for column in columns.values()}
    if len(lengths) > 1:
        raise DataError(
            f"{source}: its columns have {min(lengths)} to {max(lengths)} cells. Give every column"
            " as many."
        )
    for name, column in columns.items():
        nested = next((i for i, cell in enumerate(column) if _kind(cell) == "nested"), None)
        if nested is not None:
            what = "a record" if isinstance(column[nested], dict) else "a list"
            raise DataError(
                f"{source}: column {name!r} holds {what} at row {nested + 1}; a cell of a table is"
                " one number, date or text. Remove the column, or give each value a column of its"
                " own."
            )
    return pd.DataFrame({name: objects(column) for name, column in columns.items()})


def read_excel_file(open_: Opener, source: str) -> Found:
    """Read the first sheet of an .xlsx file. This needs the extra ``excel``."""
    try:
        import openpyxl
    except ImportError as error:
        raise UsageError("reading .xlsx needs openpyxl: pip install 'aevb[excel]'") from error
    with open_() as file:
        try:
            book = openpyxl.load_workbook(file, read_only=True, data_only=True)
            sheets = book.worksheets
            cells = [list(row) for row in sheets[0].iter_rows(values_only=True)]
        except (*DAMAGED, IndexError) as error:
            raise DataError(f"{source} cannot be read as .xlsx: {why(error)}") from error
    notes = []
    if len(sheets) > 1:
        notes.append(
            f"{source}: only the first of its {len(sheets)} sheets was read, {sheets[0].title!r}"
        )
    return _from_sheet(cells, source, notes)


def _from_sheet(cells: list[list[Any]], source: str, notes: list[str]) -> Found:
    import pandas as pd

    cells = [row for row in cells if any(cell is not None for cell in row)]
    width = max(
        (i + 1 for row in cells for i, cell in enumerate(row) if cell is not None), default=0
    )
    if not width:
        raise DataError(
            f"{source} is not a table: its first sheet is empty. Check that it is the right file."
        )
    rows = [[*row, *[None] * width][:width] for row in cells]
    shown = [["" if cell is None else str(cell) for cell in row] for row in rows[:200]]
    header, note = has_header(shown)
    notes += [f"{source}: {note}"] if note else []
    names = [f"column_{i + 1}" for i in range(width)]
    if header:
        names = [name.strip() or f"Unnamed: {i}" for i, name in enumerate(shown[0])]
        refuse_twice(names, source)
    columns = {}
    for i, name in enumerate(names):
        column = [row[i] for row in rows[header:]]
        columns[name] = _of_sheet(column)
    return pd.DataFrame(columns), notes


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
