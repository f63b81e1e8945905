"""Read tables, and write them again: text files, Parquet, Feather, Excel and JSON.

``read_table`` gives the columns as they were found, typed where all cells of a column agree. What
the columns mean is decided elsewhere.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

import numpy as np

from aevb import files
from aevb.datasets.damage import DAMAGED, in_quotes, why
from aevb.datasets.tabular.cells import MARKS
from aevb.datasets.tabular.columns import Written
from aevb.datasets.tabular.dialect import delimited
from aevb.datasets.tabular.formats import FORMATS, WRITERS
from aevb.datasets.tabular.opening import PACKED, ending, opener
from aevb.datasets.tabular.reading import Reading
from aevb.datasets.tabular.text import AmbiguousError, is_text, parse, write
from aevb.datasets.tabular.typed import typed_text
from aevb.errors import DataError, OutputExistsError, UsageError

if TYPE_CHECKING:
    import pandas as pd

TEXT = (".csv", ".tsv", ".txt", ".dat", ".data")
"""The endings of text files of cells."""
MOST_NOTES = 5
"""Of so many columns it is noted that a few of their cells are odd."""
SUFFIXES = (*TEXT, *FORMATS)
"""The endings of the files that ``read_table`` reads, each also followed by one of ``PACKED``."""


class RawTable(NamedTuple):
    """A table as it was found.

    Args:
        frame: Its columns: numbers, booleans or dates where all cells are such, else text, with a
            missing cell as NaN, NaT or NA.
        source: Its name, for messages.
        written: How the file writes the cells of a column, where that differs from ``Written()``.
        notes: Sentences the user must read.
        reasons: Why a column became what it is, as a phrase, where there is something to say.
    """

    frame: pd.DataFrame
    source: str
    written: dict[str, Written]
    notes: tuple[str, ...] = ()
    reasons: dict[str, str] = {}  # noqa: RUF012


def read_table(
    path: Path | IO[bytes],
    suffix: str | None = None,
    *,
    like: Mapping[str, Written] | None = None,
    as_text: Collection[str] = (),
    decimal: str = "",
) -> RawTable:
    """Read one file that holds a table.

    A text file may be compressed. Its delimiter, its header and its encoding are found out, and
    what is not certain is said in the notes. A first column without a name that counts the rows is
    left out.

    Args:
        path: The file, or an open one (such as standard input) to be read from where it stands.
        suffix: The ending of its name in small letters, such as ".csv" or ".csv.gz". By default it
            is taken from ``path``; an open file counts as ".csv".
        like: How the columns of a name are written, if this is known from other rows.
        as_text: The names of columns whose cells are left as text.
        decimal: "," or ".": the mark before the decimals in a text file. "": it is found out.

    Raises:
        DataError: The file is damaged or is no table, or cells are not as ``like`` says.
        UsageError: Its numbers or dates can be read in several ways, or a package is missing.

    Example:
        >>> from pathlib import Path
        >>> from aevb.datasets.tabular.tables import read_table
        >>> _ = Path("sales.csv").write_text("day;price\\n31.12.2020;1,5\\n1.1.2021;\\n")
        >>> table = read_table(Path("sales.csv"))
        >>> table.frame.price.tolist(), str(table.frame.day.dt.date[0])
        ([1.5, nan], '2020-12-31')
        >>> table.reasons["day"], table.written["price"].decimal
        ('dates written 31.12.2020', ',')
    """
    source = str(path) if isinstance(path, Path) else str(getattr(path, "name", "standard input"))
    if suffix is None:
        suffix = ending(path) if isinstance(path, Path) else ".csv"
    try:
        found = _found(path, source, suffix, like or {}, as_text, decimal)
    except (DataError, UsageError):
        raise
    except UnicodeDecodeError as error:
        raise DataError(
            f"{source} is not {error.encoding} text: {error.reason} at byte {error.start}. Save it"
            " as UTF-8."
        ) from error
    except DAMAGED as error:
        raise DataError(f"{source} cannot be read as {suffix}: {why(error)}") from error
    return _without_row_numbers(_with_odd_cells(found, like or {}))


def _found(
    path: Path | IO[bytes],
    source: str,
    suffix: str,
    like: Mapping[str, Written],
    as_text: Collection[str],
    decimal: str,
) -> RawTable:
    packed = next((end for end in PACKED if suffix.endswith(end)), "")
    inner = suffix.removesuffix(packed) or ".csv"
    open_ = opener(path if isinstance(path, Path) else path.read(), packed, source)
    if inner in FORMATS:
        frame, notes = FORMATS[inner](open_, source)
        return _typed(RawTable(frame, source, {}, tuple(notes)), like, as_text)
    table = delimited(open_, inner, source, decimal)
    reading = Reading(table, like, as_text, decimal)
    frame = reading.frame()
    return RawTable(frame, source, reading.written, tuple(table.notes), reading.reasons)


def _typed(table: RawTable, like: Mapping[str, Written], as_text: Collection[str]) -> RawTable:
    """Read the texts of a typed file: dates in them are dates, but digits in them stay text."""
    frame = table.frame.copy()
    written: dict[str, Written] = {}
    reasons: dict[str, str] = {}
    for key, cells in table.frame.items():
        name = str(key)
        if name in as_text:
            frame[name] = write(cells, Written()).where(cells.notna())
        elif is_text(cells):
            frame[name], form, reason = typed_text(cells, like.get(name), table.source)
            written |= {name: form} if form != Written() else {}
            reasons |= {name: reason} if reason else {}
    return table._replace(frame=frame, written=written, reasons=reasons)


def _with_odd_cells(table: RawTable, like: Mapping[str, Written]) -> RawTable:
    """Add a note on each column that is text because of a few cells: it may be a mistake."""
    notes = [
        f"{table.source}: column {in_quotes(name)} holds {reason}; it was read as text. Correct"
        " such cells if they are mistakes"
        for name, reason in table.reasons.items()
        if name not in like and " other cell" in reason
    ]
    return table._replace(notes=(*table.notes, *notes[:MOST_NOTES]))


def _without_row_numbers(table: RawTable) -> RawTable:
    """Drop a first column without a name that counts the rows, as pandas and R write them."""
    frame = table.frame
    if not frame.shape[1] or not str(frame.columns[0]).startswith("Unnamed: 0"):
        return table
    first = frame.iloc[:, 0]
    counted = first.dtype.kind == "i" and len(first) > 0 and int(first.iloc[0]) in (0, 1)
    if not counted or not (np.diff(first.to_numpy()) == 1).all():
        return table
    note = f"{table.source}: its first column has no name and counts the rows; it was left out"
    return table._replace(frame=frame.iloc[:, 1:], notes=(*table.notes, note))


def read_tables(
    paths: Sequence[Path],
    source: str,
    *,
    like: Mapping[str, Written] | None = None,
    as_text: Collection[str] = (),
    decimal: str = "",
) -> RawTable:
    """Read the parts of one table from several files, one after the other.

    Args:
        paths: The files, in the order of their rows.
        source: A name for all of them, for messages.
        like: See ``read_table``.
        as_text: See ``read_table``.
        decimal: See ``read_table``.

    Raises:
        DataError: The files differ in their columns, or one cannot be read.

    Example:
        >>> from pathlib import Path
        >>> from aevb.datasets.tabular.tables import read_tables
        >>> for name in "ab":
        ...     _ = Path(f"{name}.csv").write_text(f"word,n\\n{name},1\\n")
        >>> read_tables([Path("a.csv"), Path("b.csv")], "both").frame.word.tolist()
        ['a', 'b']
    """
    import pandas as pd

    parts, unsure = _parts(paths, like, set(as_text), decimal)
    frame = pd.concat([part.frame for part in parts], ignore_index=True)
    written, reasons = dict(parts[0].written), dict(parts[0].reasons)
    for name in unsure:
        try:
            frame[name], written[name], reasons[name] = parse(frame[name], (like or {}).get(name))
        except AmbiguousError as error:
            raise AmbiguousError(f"{source}: {error}") from None
    names = ", ".join(path.name for path in paths[:3]) + (", ..." if len(paths) > 3 else "")
    note = f"{source}: {len(paths)} files were read, one after the other: {names}"
    notes = dict.fromkeys(note for part in parts for note in part.notes)
    return RawTable(frame, source, written, (note, *notes), reasons)


def _parts(
    paths: Sequence[Path], like: Mapping[str, Written] | None, as_text: set[str], decimal: str
) -> tuple[list[RawTable], set[str]]:
    """Read all files, with the columns as text that are typed or written differently in some."""
    unsure: set[str] = set()
    while True:
        text = as_text | unsure
        try:
            parts = [read_table(path, like=like, as_text=text, decimal=decimal) for path in paths]
        except AmbiguousError as error:
            if not error.column or error.column in text:
                raise
            unsure.add(error.column)
            continue
        _require_same_columns(parts)
        forms = [{name: _form(part, name) for name in part.frame.columns} for part in parts]
        differ = {name for form in forms for name in form if form[name] != forms[0][name]}
        if differ <= text:
            return parts, unsure
        unsure |= differ - as_text


def _form(part: RawTable, name: str) -> tuple[Any, Written]:
    """The type of a column and how it is written, as far as all parts must agree on it.

    Among words, whether a mark such as "-" is a missing cell depends on the whole column.
    """
    kind = part.frame[name].dtype.kind
    form = part.written.get(name, Written())
    if not (is_text(part.frame[name]) and form.missing in MARKS):
        form = replace(form, missing="")
    return ("i" if kind in "iu" else kind), form


def _require_same_columns(parts: Sequence[RawTable]) -> None:
    names = list(parts[0].frame.columns)
    for part in parts[1:]:
        here = list(part.frame.columns)
        if here != names:
            odd = next((name for name in [*here, *names] if (name in here) != (name in names)), "")
            what = (
                f"only one of them has a column {in_quotes(odd)}" if odd else "their order differs"
            )
            raise DataError(
                f"{parts[0].source} and {part.source} have different columns: {what}. Give files"
                " with the same columns."
            )


def write_table(frame: pd.DataFrame, written: Mapping[str, Written], path: Path) -> None:
    """Write a table into a new file, with its cells as their source wrote them.

    A text file has semicolons between the cells if the numbers have decimal commas.

    Args:
        frame: The columns.
        written: How to write the cells of a column, by its name; by default as ``Written()`` says.
        path: The file: .csv, .tsv, .txt, .jsonl, .json, .parquet, .feather or .xlsx.

    Raises:
        OutputExistsError: There is such a file.
        UsageError: Its ending is not known, or a package is missing.
        CannotWriteError: It cannot be written.

    Example:
        >>> import pandas as pd
        >>> from pathlib import Path
        >>> from aevb.datasets.tabular.columns import Written
        >>> from aevb.datasets.tabular.tables import write_table
        >>> day = pd.Series(pd.to_datetime(["2020-12-31", None]))
        >>> form = Written(date="%d.%m.%Y")
        >>> write_table(pd.DataFrame({"day": day}), {"day": form}, Path("n.csv"))
        >>> Path("n.csv").read_text().split()
        ['day', '31.12.2020', '""']
    """
    if path.exists():
        raise OutputExistsError(f"{path} exists already; remove it or choose another name")
    suffix = path.suffix.lower()
    if suffix in WRITERS:
        shaped = frame.apply(lambda column: _for_typed(column, written, suffix))
        files.whole(path, lambda part: WRITERS[suffix](shaped, part))
        return
    if suffix not in TEXT:
        raise UsageError(
            f"{path}: a table is written as one of {', '.join((*TEXT, *WRITERS))}; give a name with"
            " such an ending"
        )
    cells = frame.apply(lambda column: write(column, written.get(str(column.name), Written())))
    commas = any(form.decimal == "," for form in written.values())
    delimiter = "\t" if suffix == ".tsv" else ";" if commas else ","
    files.whole(path, lambda part: cells.to_csv(part, sep=delimiter, index=False))


def _for_typed(column: pd.Series, written: Mapping[str, Written], suffix: str) -> pd.Series:
    """A column for a typed file. JSON has no dates, so they are written as their source did.

    A word for a missing cell stands where it stood in the source.

    Dates without a time have been read with a resolution of seconds; Parquet and Arrow have a type
    for them.
    """
    form = written.get(str(column.name), Written())
    if column.dtype.kind == "M" and suffix in (".json", ".jsonl"):
        return write(column, form).where(column.notna())
    if is_text(column) and form.missing and not form.date:
        return column.where(column.notna(), form.missing)
    if str(column.dtype) == "datetime64[s]" and suffix in (".parquet", ".feather", ".arrow"):
        days = column.dropna()
        if (days == days.dt.normalize()).all():
            dates: pd.Series = column.dt.date.where(column.notna(), None)
            return dates
    return column
