"""Tables in JSON: records, lines of records, rows, or columns."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import IO, TYPE_CHECKING, Any

from aevb.datasets.damage import in_quotes
from aevb.datasets.tabular.opening import Opener
from aevb.datasets.tabular.typed import kind_of, objects
from aevb.errors import DataError

if TYPE_CHECKING:
    import pandas as pd


def read_json_file(open_: Opener, source: str) -> tuple[pd.DataFrame, list[str]]:
    """Read a table from JSON: an array of records, of rows, or an object of columns.

    Example:
        >>> import io
        >>> from aevb.datasets.tabular.json_tables import read_json_file
        >>> read_json_file(lambda: io.BytesIO(b'[{"a": 1}, {"a": null}]'), "it")[0].a.tolist()
        [1, <NA>]
    """
    with open_() as file:
        content = json.loads(_utf8(file, source), object_pairs_hook=_once)
    frame = _of_object(content, source) if isinstance(content, dict) else None
    if isinstance(content, list) and content:
        frame = _of_array(content, source)
    if frame is None:
        raise DataError(
            f"{source} holds no table: expected an array of records, [{{...}}, ...], or an object"
            " of columns. Save it as .csv."
        )
    return frame, []


def _of_object(content: Mapping[str, Any], source: str) -> pd.DataFrame | None:
    """Columns as lists, as pandas's "split", or as objects with one entry for each row."""
    columns = list(content.values())
    kinds = {type(column) for column in columns}
    if {"columns", "data"} <= set(content) and kinds == {list}:
        names = content["columns"]
        return _records([dict(zip(names, row, strict=True)) for row in content["data"]], source)
    if kinds == {list}:
        return _columns(content, source)
    if kinds == {dict}:
        rows = list(dict.fromkeys(key for column in columns for key in column))
        found = {name: [column.get(row) for row in rows] for name, column in content.items()}
        return _columns(found, source)
    return None


def _of_array(content: Sequence[Any], source: str) -> pd.DataFrame | None:
    """Records, rows, or the cells of one column."""
    kinds = {type(row) for row in content}
    if kinds == {dict}:
        return _records(content, source)
    if kinds == {list}:
        return _matrix(content, source)
    return None if kinds & {dict, list} else _columns({"column_1": content}, source)


def read_jsonl_file(open_: Opener, source: str) -> tuple[pd.DataFrame, list[str]]:
    """Read a table from lines of JSON, one record a line.

    Example:
        >>> import io
        >>> from aevb.datasets.tabular.json_tables import read_jsonl_file
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
        raise ValueError(f"a record has the name {in_quotes(twice)} twice")
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
        nested = next((i for i, cell in enumerate(column) if kind_of(cell) == "nested"), None)
        if nested is not None:
            what = "a record" if isinstance(column[nested], dict) else "a list"
            raise DataError(
                f"{source}: column {in_quotes(name)} holds {what} at row {nested + 1}; a cell of a"
                " table is"
                " one number, date or text. Remove the column, or give each value a column of its"
                " own."
            )
    return pd.DataFrame({name: objects(column) for name, column in columns.items()})
