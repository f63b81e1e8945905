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
from aevb.datasets.columns import Written
from aevb.datasets.damage import DAMAGED, why
from aevb.datasets.delimited import PACKED, Delimited, delimited, opener
from aevb.datasets.formats import FORMATS, WRITERS
from aevb.datasets.text import (
    AmbiguousError,
    Known,
    described,
    is_text,
    parse,
    text_type,
    write,
)
from aevb.errors import DataError, UsageError

if TYPE_CHECKING:
    import pandas as pd

TEXT = (".csv", ".tsv", ".txt", ".dat", ".data")
"""The endings of text files of cells."""
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
        >>> from aevb.datasets.tables import read_table
        >>> _ = Path("sales.csv").write_text("day;price\\n31.12.2020;1,5\\n1.1.2021;\\n")
        >>> table = read_table(Path("sales.csv"))
        >>> table.frame.price.tolist(), str(table.frame.day.dt.date[0])
        ([1.5, nan], '2020-12-31')
        >>> table.reasons["day"], table.written["price"].decimal
        ('dates written 31.12.2020', ',')
    """
    source = str(path) if isinstance(path, Path) else str(getattr(path, "name", "standard input"))
    suffix = _suffix(path) if suffix is None else suffix
    packed = next((end for end in PACKED if suffix.endswith(end)), "")
    inner = suffix.removesuffix(packed) or ".csv"
    content = path if isinstance(path, Path) else path.read()
    try:
        open_ = opener(content, packed, source)
        if inner in FORMATS:
            frame, notes = FORMATS[inner](open_, source)
            return _typed(frame, source, notes, like or {}, as_text)
        table = delimited(open_, inner, source, decimal)
        return _from_text(table, like or {}, as_text, decimal)
    except (DataError, UsageError):
        raise
    except UnicodeDecodeError as error:
        raise DataError(
            f"{source} is not {error.encoding} text: {error.reason} at byte {error.start}. Save it"
            " as UTF-8."
        ) from error
    except DAMAGED as error:
        raise DataError(f"{source} cannot be read as {inner}: {why(error)}") from error


def _suffix(path: Path | IO[bytes]) -> str:
    if not isinstance(path, Path):
        return ".csv"
    ends = [end.lower() for end in path.suffixes[-2:]]
    return "".join(ends) if ends and ends[-1] in PACKED else "".join(ends[-1:])


def _from_text(
    table: Delimited, like: Mapping[str, Written], as_text: Collection[str], decimal: str
) -> RawTable:
    """Read a text file, with its numbers by pandas and all other cells by ``parse``."""
    import pandas as pd

    given = {like[name].decimal for name in table.names if name in like and not like[name].date}
    if given and "." in given:
        table.decimal = "."
    frame = table.rows()
    again = _to_read_again(table, frame, like, as_text)
    if again:
        text = table.rows(text=again)
        frame = frame.assign(**{name: text[name] for name in again})
    readers = _Reading(table, like, set(as_text), decimal)
    columns = readers.columns(frame)
    frame = pd.DataFrame(columns) if columns else frame
    notes = (*table.notes, *readers.notes)
    return _without_row_numbers(
        RawTable(frame, table.source, readers.written, notes, readers.reasons)
    )


def _to_read_again(
    table: Delimited, frame: pd.DataFrame, like: Mapping[str, Written], as_text: Collection[str]
) -> list[str]:
    """The columns that pandas took for numbers and whose text must be looked at."""
    again, whole = [], []
    for name, column in frame.items():
        form = like.get(str(name))
        kind = column.dtype.kind
        if str(name) in as_text or (form and form != Written(missing=form.missing)) or kind == "b":
            again.append(str(name))
        elif kind == "i" or (kind == "f" and _may_be_whole(column.to_numpy())):
            (whole if kind == "i" else again).append(str(name))
    if whole and table.zeros_in_front():
        again += whole
    if table.decimal == "." and table.delimiter != ",":
        again += _with_three_decimals(frame, again)
    return [name for name in table.names if name in set(again)]


def _may_be_whole(values: np.ndarray) -> bool:
    """Whether floats may be whole numbers with gaps, or longer than a float can hold."""
    gaps = np.isnan(values)
    filled = values[~gaps]
    whole = bool((filled == np.floor(filled)).all())
    return bool((whole and gaps.any()) or (np.abs(filled) >= 2**53).any())


def _with_three_decimals(frame: pd.DataFrame, known: Collection[str]) -> list[str]:
    """Columns of numbers like 1.239 only, whose point may stand between thousands."""
    found = []
    for name, column in frame.items():
        if name in known or column.dtype.kind != "f":
            continue
        values = column.dropna().to_numpy()
        size = np.abs(values) * 1000
        if len(values) and (size < 1e6).all() and (np.abs(size - np.round(size)) < 1e-6).all():
            found.append(str(name))
    return found


class _Reading:
    """The columns of one text file while they are read: what one says about the others."""

    def __init__(
        self, table: Delimited, like: Mapping[str, Written], as_text: set[str], decimal: str
    ) -> None:
        self.table, self.like, self.as_text = table, like, as_text
        self.written: dict[str, Written] = {}
        self.reasons: dict[str, str] = {}
        self.notes: list[str] = []
        self.decimals = {decimal} - {""}
        self.sure = bool(decimal)
        self.dates: list[str] = []

    def columns(self, frame: pd.DataFrame) -> dict[str, pd.Series]:
        """Read all columns. Those that several readings fit come last."""
        done: dict[str, pd.Series] = {}
        waiting = []
        for name, cells in frame.items():
            if not is_text(cells):
                self._of_numbers(str(name), cells)
                done[str(name)] = cells
                continue
            try:
                done[str(name)] = self._of_text(str(name), cells)
            except AmbiguousError:
                waiting.append(str(name))
        for name in waiting:
            try:
                done[name] = self._of_text(name, frame[name])
            except AmbiguousError as error:
                raise AmbiguousError(f"{self.table.source}: {error}") from None
        return {name: done[name] for name in self.table.names}

    def _of_numbers(self, name: str, cells: pd.Series) -> None:
        if cells.dtype.kind != "f":
            return
        if self.table.decimal == ",":
            self.written[name] = Written(decimal=",")
            self.reasons[name] = described(self.written[name])
        if not self.sure:
            self.decimals.add(self.table.decimal)

    def _known(self) -> Known:
        if len(self.decimals) == 1:
            return Known(next(iter(self.decimals)), tuple(self.dates))
        return Known("" if self.table.delimiter == "," else "?", tuple(self.dates))

    def _of_text(self, name: str, cells: pd.Series) -> pd.Series:
        form = self.like.get(name)
        if name in self.as_text:
            values, written, reason = _as_text(cells, form)
        else:
            values, written, reason = parse(cells, form, self._known())
            _require(values, cells, form, name, self.table.source)
        if written != Written():
            self.written[name] = written
        if reason:
            self.reasons[name] = reason
        if written.date:
            self.dates.append(written.date)
        elif values.dtype.kind == "f" and written.decimal and not self.sure:
            self.decimals.add(written.decimal)
        return values


def _as_text(cells: pd.Series, form: Written | None) -> tuple[pd.Series, Written, str]:
    from aevb.datasets.text import MISSING

    stripped = cells.str.strip()
    missing = stripped.isin(MISSING | {form.missing if form else ""})
    words = stripped[missing].value_counts()
    word = str(words.index[0]) if len(words) else ""
    text = stripped.mask(missing.astype(bool)).astype(text_type())
    return text, replace(form or Written(), missing=form.missing if form else word), "left as text"


def _require(
    values: pd.Series, cells: pd.Series, form: Written | None, name: str, source: str
) -> None:
    """Raise DataError if cells are not written as the other rows of the column are."""
    if form is None or not is_text(values) or form == Written(missing=form.missing):
        return
    from aevb.datasets.text import MISSING, MISSING_NUMBER

    wrong = cells.notna() & ~cells.isin(MISSING | MISSING_NUMBER | {form.missing})
    for row in np.flatnonzero(wrong):
        one = cells.iloc[[row]]
        if is_text(parse(one, form)[0]):
            raise DataError(
                f"{source}: column {name!r} should hold {described(form)}; got"
                f" {str(one.iloc[0])!r} at data row {row + 1}. Correct it, or write the column as"
                " the rows of the training are written."
            )


def _typed(
    frame: pd.DataFrame,
    source: str,
    notes: Sequence[str],
    like: Mapping[str, Written],
    as_text: Collection[str],
) -> RawTable:
    """Read the texts of a typed file: dates in them are dates, but digits in them stay text."""
    from aevb.datasets.formats import typed_text

    written: dict[str, Written] = {}
    reasons: dict[str, str] = {}
    columns: dict[str, Any] = {}
    for name, cells in frame.items():
        key = str(name)
        if key in as_text and not is_text(cells):
            columns[key] = write(cells, Written()).where(cells.notna())
        elif is_text(cells) and key not in as_text:
            columns[key], form, reason = typed_text(cells, like.get(key), source)
            written |= {key: form} if form != Written() else {}
            reasons |= {key: reason} if reason else {}
        else:
            columns[key] = cells
    import pandas as pd

    table = RawTable(
        pd.DataFrame(columns) if columns else frame, source, written, tuple(notes), reasons
    )
    return _without_row_numbers(table)


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
        >>> from aevb.datasets.tables import read_tables
        >>> for name in "ab":
        ...     _ = Path(f"{name}.csv").write_text(f"word,n\\n{name},1\\n")
        >>> read_tables([Path("a.csv"), Path("b.csv")], "both").frame.word.tolist()
        ['a', 'b']
    """
    import pandas as pd

    text = set(as_text)
    while True:
        parts = [read_table(path, like=like, as_text=text, decimal=decimal) for path in paths]
        _require_same_columns(parts)
        differ = {
            name
            for part in parts[1:]
            for name in part.frame.columns
            if _form(part, name) != _form(parts[0], name)
        }
        if not differ - text:
            break
        text |= differ
    frame = pd.concat([part.frame for part in parts], ignore_index=True)
    written, reasons = dict(parts[0].written), dict(parts[0].reasons)
    for name in text - set(as_text):
        column, form, reason = parse(frame[name].rename(name), (like or {}).get(name))
        frame[name] = column
        written[name], reasons[name] = form, reason
    names = ", ".join(path.name for path in paths[:3]) + (", ..." if len(paths) > 3 else "")
    note = f"{source}: {len(paths)} files were read, one after the other: {names}"
    notes = dict.fromkeys(note for part in parts for note in part.notes)
    return RawTable(frame, source, written, (note, *notes), reasons)


def _form(part: RawTable, name: str) -> tuple[Any, Written]:
    kind = part.frame[name].dtype.kind
    form = replace(part.written.get(name, Written()), missing="")
    return ("i" if kind in "iu" else kind), form


def _require_same_columns(parts: Sequence[RawTable]) -> None:
    names = list(parts[0].frame.columns)
    for part in parts[1:]:
        here = list(part.frame.columns)
        if here != names:
            odd = next((name for name in [*here, *names] if (name in here) != (name in names)), "")
            what = f"only one of them has a column {odd!r}" if odd else "their order differs"
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
        >>> from aevb.datasets.columns import Written
        >>> from aevb.datasets.tables import write_table
        >>> day = pd.Series(pd.to_datetime(["2020-12-31", None]))
        >>> form = Written(date="%d.%m.%Y")
        >>> write_table(pd.DataFrame({"day": day}), {"day": form}, Path("n.csv"))
        >>> Path("n.csv").read_text().split()
        ['day', '31.12.2020', '""']
    """
    suffix = path.suffix.lower()
    if suffix in FORMATS:
        typed = {
            name: write(column, written[str(name)]).where(column.notna())
            if str(name) in written and written[str(name)].date and suffix in (".json", ".jsonl")
            else column
            for name, column in frame.items()
        }
        import pandas as pd

        shaped = pd.DataFrame(typed, index=frame.index)
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
