"""Data frames of pandas, polars and pyarrow become ``Data``, and the model's rows become frames.

The columns of new rows are found by name, whatever their order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from aevb.datasets.damage import in_quotes
from aevb.datasets.schema import Data, Schema
from aevb.datasets.tabular.cells import numbers, plain
from aevb.datasets.tabular.column_kinds import find
from aevb.datasets.tabular.columns import ASIDE, Column, Label, Table, Written, quoted, text_of
from aevb.datasets.tabular.words import are_pixels
from aevb.errors import DataError, UsageError

if TYPE_CHECKING:
    import pandas as pd

MOST_SHOWN = 8
"""How many columns a message names."""
_LONGEST_NAME = 200
# Longer names of rows are cut.


def frame_kind(value: Any) -> str:
    """Say which library a data frame is from: "pandas", "polars", "arrow". "" for other values.

    Example:
        >>> import pandas as pd
        >>> from aevb.datasets.tabular.frames import frame_kind
        >>> frame_kind(pd.DataFrame({"a": [1]})), frame_kind([1, 2])
        ('pandas', '')
    """
    package, name = type(value).__module__.partition(".")[0], type(value).__name__
    kinds = {
        ("pandas", "DataFrame"): "pandas",
        ("pandas", "Series"): "pandas",
        ("polars", "DataFrame"): "polars",
        ("pyarrow", "Table"): "arrow",
        ("pyarrow", "RecordBatch"): "arrow",
    }
    return kinds.get((package, name), "")


def to_pandas(value: Any) -> pd.DataFrame:
    """Turn a frame of any of these libraries into one of pandas. Whole numbers stay exact.

    Raises:
        UsageError: The frame needs pyarrow, and pyarrow is not installed.

    Example:
        >>> import pandas as pd, pyarrow as pa
        >>> from aevb.datasets.tabular.frames import to_pandas
        >>> to_pandas(pa.table({"a": [1, None]})).dtypes.astype(str).to_dict()
        {'a': 'Int64'}
        >>> to_pandas(pd.Series([1.5], name="b")).columns.tolist()
        ['b']
    """
    import pandas as pd

    if isinstance(value, pd.DataFrame):
        return value.astype(
            {
                label: dtype.subtype
                for label, dtype in value.dtypes.items()
                if isinstance(dtype, pd.SparseDtype)
            }
        )
    if isinstance(value, pd.Series):
        return value.to_frame("column_1" if value.name is None else value.name)
    try:
        import pyarrow as pa
    except ImportError as error:
        raise UsageError(
            "a frame of polars or pyarrow needs pyarrow: pip install 'aevb[parquet]'"
        ) from error
    table = value.to_arrow() if hasattr(value, "to_arrow") else pa.table(value)
    types = {
        getattr(pa, name)(): dtype
        for name, dtype in {
            "bool_": pd.BooleanDtype(),
            "float32": pd.Float32Dtype(),
            "float64": pd.Float64Dtype(),
            **{f"int{n}": pd.api.types.pandas_dtype(f"Int{n}") for n in (8, 16, 32, 64)},
            **{f"uint{n}": pd.api.types.pandas_dtype(f"UInt{n}") for n in (8, 16, 32, 64)},
        }.items()
    }
    return cast("pd.DataFrame", table.to_pandas(types_mapper=types.get))


def data_of_frame(
    value: Any,
    source: str,
    *,
    columns: Mapping[str, str] | None = None,
    written: Mapping[str, Written] | None = None,
    reasons: Mapping[str, str] | None = None,
    notes: Sequence[str] = (),
    frame: str = "",
) -> Data:
    """Make ``Data`` from a data frame: find the kind of every column, and encode the cells.

    Args:
        value: A frame of pandas, polars or pyarrow, or a pandas Series.
        source: The name of the rows, for messages.
        columns: Kinds of columns that the user gave: name -> kind.
        written: How a file writes the cells of some columns.
        reasons: What the reader of a file found out about some columns.
        notes: Sentences for the user, which are handed on.
        frame: What the model's rows become: "file", or the library of ``value`` by default.

    Raises:
        DataError: A column cannot be used, or no column can be modelled.
        UsageError: ``columns`` names a column that the frame does not have.

    Example:
        >>> import pandas as pd
        >>> from aevb.datasets.tabular.frames import data_of_frame
        >>> frame = pd.DataFrame({"id": range(1, 13), "age": [30, 41, 22] * 4, "x": [1.5] * 12})
        >>> data = data_of_frame(frame, "people")
        >>> [(column.name, column.kind) for column in data.table.columns]
        [('id', 'identifier'), ('age', 'integer'), ('x', 'constant')]
        >>> data.columns, data.rows[0]
        (('age',), array([30.]))
    """
    found = to_pandas(value)
    labels = _labels(found, source)
    _require_rows(found, source)
    asked = _kinds_asked(columns or {}, [text_of(label) for label in labels], source)
    forms, phrases = written or {}, reasons or {}
    parts = []
    for i, label in enumerate(labels):
        name = text_of(label)
        cells = found.iloc[:, i]
        parts.append(
            _named(
                source, cells, label, asked.get(name, ""), forms.get(name), phrases.get(name, "")
            )
        )
    table = Table(tuple(parts), frame or frame_kind(value))
    if len(found) == 1:
        raise DataError(
            f"{source} has 1 row to learn from; a model needs at least 2, and usually hundreds."
        )
    if not table.modelled:
        raise DataError(f"{source}: no column can be modelled: {_why_none(table.columns)}.")
    rows = table.encode(found, source)
    return _data(found, source, table, rows, [*notes, *_empty_rows(found, source)])


def _empty_rows(frame: pd.DataFrame, source: str) -> list[str]:
    """A note that counts the rows without a filled cell, if a row has several cells."""
    empty = frame.isna().all(axis=1).to_numpy()
    if not empty.any() or frame.shape[1] == 1:
        return []
    count, first = int(empty.sum()), int(empty.argmax()) + 1
    what = "1 row has" if count == 1 else f"{count} rows have"
    return [
        f"{source}: {what} no filled cell, the first is row {first}; such rows are modelled as they"
        " are. Remove them if they are no rows"
    ]


def data_like(
    value: Any, source: str, table: Table, *, ignore: Sequence[str] = (), notes: Sequence[str] = ()
) -> Data:
    """Make ``Data`` from a frame of new rows for a table that is known.

    Args:
        value: A frame, whose columns may have any order.
        source: The name of the rows, for messages.
        table: The columns that the model was trained on.
        ignore: Names of further columns that the frame may have.
        notes: Sentences for the user, which are handed on.

    Raises:
        DataError: A column is missing or not known, or a cell does not fit its column.

    Example:
        >>> import pandas as pd
        >>> from aevb.datasets.tabular.frames import data_like, data_of_frame
        >>> table = data_of_frame(pd.DataFrame({2019: [1.5, 2.5], 2020: [3.5, 7.5]}), "a").table
        >>> data_like(pd.DataFrame({2020: [0.5], 2019: [9.5]}), "b", table).rows
        array([[9.5, 0.5]])
    """
    found = to_pandas(value)
    order = [text_of(label) for label in _labels(found, source)]
    _require_rows(found, source)
    rows = table.encode(found, source, ignore)
    wanted = [column.name for column in table.columns if column.name in order]
    moved = [name for name in order if name in wanted] != wanted
    said = ["its columns have another order than in training, and were found by name"] * moved
    return _data(found, source, table, rows, [*notes, *said])


def _data(
    frame: pd.DataFrame,
    source: str,
    table: Table,
    rows: NDArray[np.float64],
    notes: Sequence[str],
) -> Data:
    names, names_of = _names_of_rows(frame, table)
    return Data(
        rows,
        source,
        columns=tuple(column.name for column in table.modelled),
        kind="table",
        reason="columns with names",
        table=table,
        names=names,
        names_of=names_of,
        notes=tuple(notes),
    )


def _kinds_asked(
    columns: Mapping[str, str], names: Sequence[str], source: str
) -> Mapping[str, str]:
    """The kinds by name, without formats. Raises UsageError for a name that is not there."""
    for name in columns:
        if name not in names:
            raise UsageError(
                f"{source} has no column {in_quotes(name)}; it has {quoted(names, MOST_SHOWN)}"
            )
    return {name: kind.partition(":")[0] for name, kind in columns.items()}


def table_of(
    value: Any,
    source: str,
    columns: Mapping[str, str] | None = None,
    like: Schema | None = None,
    kind: str = "auto",
) -> Data:
    """Make ``Data`` from a frame: a table, or bare numbers for data of another kind.

    Args:
        value: A frame of pandas, polars or pyarrow.
        source: The name of the rows, for messages.
        columns: Kinds of columns that the user gave: name -> kind.
        like: The form that new rows should have.
        kind: The kind of the data: a name in ``aevb.datasets.kinds.KINDS``, or "auto".

    Raises:
        DataError: The columns cannot be used, or are not those of ``like``.

    Example:
        >>> import pandas as pd
        >>> from aevb.datasets.tabular.frames import table_of
        >>> table_of(pd.DataFrame({"a": [1.5, 2.5]}), "mine").columns
        ('a',)
    """
    if like is not None and like.table is not None:
        return data_like(value, source, like.table)
    wanted = kind if like is None else like.kind
    found = to_pandas(value)
    pixels = wanted == "auto" and not columns and are_pixels(list(map(text_of, found.columns)))
    if wanted in ("auto", "table", "") and not pixels:
        return data_of_frame(found, source, columns=columns, frame=frame_kind(value))
    return matrix_of_frame(found, source)


def matrix_of_frame(value: Any, source: str, notes: Sequence[str] = ()) -> Data:
    """Make ``Data`` from a frame whose columns have one meaning: pixels, counts, tokens.

    One column of text becomes the labels.

    Raises:
        DataError: A cell is missing or is not a number.

    Example:
        >>> import pandas as pd
        >>> from aevb.datasets.tabular.frames import matrix_of_frame
        >>> data = matrix_of_frame(pd.DataFrame({"digit": ["a", "b"], "p1": [0, 9]}), "mine")
        >>> data.rows, data.labels
        (array([[0],
               [9]]), array(['a', 'b'], dtype='<U1'))
    """
    frame = to_pandas(value)
    _labels(frame, source)
    _require_rows(frame, source)
    frame, labels = _without_labels(frame)
    try:
        rows = np.stack([numbers(text_of(name), cells) for name, cells in frame.items()], axis=1)
    except DataError as error:
        raise DataError(f"{source}: {error}") from error
    whole = all(str(dtype).lower().startswith(("int", "uint")) for dtype in frame.dtypes)
    return Data(
        rows.astype(np.int64) if whole and np.isfinite(rows).all() else rows,
        source,
        columns=tuple(text_of(label) for label in frame.columns),
        labels=labels,
        notes=tuple(notes),
    )


def _without_labels(frame: pd.DataFrame) -> tuple[pd.DataFrame, NDArray[np.str_] | None]:
    """Take out the only column of text, which holds the labels: the rest, and the labels (N,)."""
    kinds = ("str", "string", "object", "category")
    text = [i for i, dtype in enumerate(frame.dtypes) if str(dtype) in kinds]
    if len(text) != 1:
        return frame, None
    labels = frame.iloc[:, text[0]].astype("str").to_numpy(dtype=np.str_)
    return frame.iloc[:, [i for i in range(frame.shape[1]) if i != text[0]]], labels


def frame_of(rows: NDArray[Any], table: Table, aside: dict[str, pd.Series] | None = None) -> Any:
    """Turn rows in the units of the data, (N, C), into a frame of the library that the data had.

    aside: Identifiers of the rows, by name. By default they are numbered from 1.

    Example:
        >>> import numpy as np, pyarrow as pa
        >>> from aevb.datasets.tabular.frames import data_of_frame, frame_of
        >>> table = data_of_frame(pa.table({"a": [1, 2, 4]}), "mine").table
        >>> frame_of(np.array([[2.2]]), table).to_pylist()
        [{'a': 2}]
    """
    return frame_like(table.decode(rows, aside), table.frame)


def frame_like(frame: pd.DataFrame, library: str) -> Any:
    """Turn a frame of pandas into one of another library: "polars", "arrow", or as it is.

    Example:
        >>> import pandas as pd
        >>> from aevb.datasets.tabular.frames import frame_like
        >>> frame_like(pd.DataFrame({"a": [1]}), "arrow").to_pylist()
        [{'a': 1}]
    """
    if library == "polars":
        import polars

        return polars.from_pandas(frame)
    if library == "arrow":
        import pyarrow

        return pyarrow.Table.from_pandas(frame, preserve_index=False)
    return frame


def _named(
    source: str,
    cells: pd.Series,
    label: Label,
    asked: str,
    written: Written | None,
    reason: str,
) -> Column:
    """Find the kind of one column. Errors name the source."""
    try:
        return find(cells, label, asked, written, reason)
    except DataError as error:
        raise DataError(f"{source}: {error}") from error
    except UsageError as error:
        raise UsageError(f"{source}: {error}") from error


def _labels(frame: pd.DataFrame, source: str) -> list[Label]:
    """The names of the columns. Raises DataError for names that occur twice, or are no names."""
    labels = [_label(label) for label in frame.columns]
    odd = [label for label in labels if not isinstance(label, str | int | float | tuple)]
    if odd:
        raise DataError(
            f"{source}: the name of a column is of type {type(odd[0]).__name__}; use text, with"
            " frame.columns = frame.columns.astype(str)"
        )
    texts = [text_of(label) for label in labels]
    twice = sorted({text for text in texts if texts.count(text) > 1}) if _has_twins(texts) else []
    if twice:
        raise DataError(
            f"{source}: several columns are named {quoted(twice)}. Give each column a name of its"
            " own."
        )
    return cast("list[Label]", labels)


def _has_twins(texts: list[str]) -> bool:
    return len(set(texts)) < len(texts)


def _label(label: Any) -> Any:
    """A name as a Python value: numpy's numbers become Python's."""
    return tuple(map(plain, label)) if isinstance(label, tuple) else plain(label)


def _require_rows(frame: pd.DataFrame, source: str) -> None:
    if frame.shape[1] == 0 or len(frame) == 0:
        raise DataError(
            f"{source} is empty: {len(frame)} rows and {frame.shape[1]} columns. Is it the right"
            " file?"
        )


def _why_none(columns: Sequence[Column]) -> str:
    """Say of each column why it is not modelled."""
    assert all(column.kind in ASIDE for column in columns)
    shown = [
        f"{in_quotes(column.name)} ({column.kind}: {column.reason})"
        for column in columns[:MOST_SHOWN]
    ]
    if any(column.kind == "ignore" for column in columns):
        remedy = "Leave fewer columns out"
    elif all(
        column.kind == "identifier" and column.dtype in ("str", "string", "object")
        for column in columns
    ):
        remedy = "Text is not modelled; give it as numbers, such as one number for each letter"
    else:
        remedy = "Add a column of numbers, or give a column its kind with --column NAME=KIND"
    return ", ".join([*shown, *(["..."] if len(columns) > MOST_SHOWN else [])]) + f". {remedy}"


def _names_of_rows(frame: pd.DataFrame, table: Table) -> tuple[NDArray[np.str_] | None, str]:
    """The names of the rows: the first identifier, or else the frame's own index."""
    import pandas as pd

    for name, cells in table.aside(frame).items():
        texts = cells.astype("str")
        # Each row of an array of text takes as much memory as the longest one.
        texts = texts.where(texts.str.len() <= _LONGEST_NAME, texts.str[:_LONGEST_NAME] + "...")
        return texts.to_numpy(dtype=np.str_, na_value=""), name
    if isinstance(frame.index, pd.RangeIndex):
        return None, ""
    names = np.array([text_of(label) for label in frame.index], np.str_)
    return names, str(frame.index.name or "index")
