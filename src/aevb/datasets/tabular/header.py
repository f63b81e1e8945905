"""Tell from the first rows of a table whether the first one holds the names of the columns."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import chain, pairwise
from typing import NamedTuple

from aevb.datasets.damage import short
from aevb.datasets.tabular.text import MISSING

_NUMBER = re.compile(r"[+-]?(?:\d+[.,]?\d*|[.,]\d+)(?:[eE][+-]?\d+)?|[+-]?(?i:inf|infinity)")
_TYPED = re.compile(
    rf"(?:{_NUMBER.pattern})\s?%?|\d{{1,4}}[-/.]\d{{1,2}}[-/.]\d{{1,4}}(?:[T ].*)?"
    r"|\d{1,2}:\d{2}(?::\d{2}.*)?|[$€£¥]\s?[\d.,]+"
)

_AS_ROW = (
    "its first line was read as a row, since it looks like the others; without names, the columns"
    " are called column_1, column_2, ..."
)


class _Evidence(NamedTuple):
    """What the columns say: in how many the first cell differs from all others, or is like them."""

    differs: int
    alike: int
    repeats: int
    text: int


def has_header(rows: Sequence[Sequence[str]]) -> tuple[bool, str]:
    """Return whether the first row holds names, and a sentence if it might as well not.

    A first row of text over numbers holds names. A first row of numbers over numbers is a row,
    unless it counts 0, 1, 2, ... or steps evenly, as years do, and no other row does.

    Args:
        rows: The first rows, the first one included.

    Example:
        >>> from aevb.datasets.tabular.header import has_header
        >>> has_header([["a", "b"], ["1", "2"]]), has_header([["1", "2.5"], ["3", "4"]])
        ((True, ''), (False, ''))
        >>> has_header([["2019", "2020", "2021"], ["1.5", "2.5", "0.1"]])[0]
        True
        >>> has_header([["a", "b"], ["NA", ""]])
        (True, '')
        >>> has_header([["5", "red"], ["6", "blue"], ["7", "red"]])
        (False, 'its first line was read as a row, since it looks like the others; without names, \
the columns are called column_1, column_2, ...')
    """
    first, body = [cell.strip() for cell in rows[0]], rows[1:]
    numbers = [cell for cell in first if _NUMBER.fullmatch(cell)]
    if all(_is_missing(cell.strip()) for row in body for cell in row):
        return len(numbers) < len(list(filter(None, first))), ""
    if _telling(first, numbers, body):
        plain = len(numbers) < len(first) or _counted(numbers)
        names = ", ".join(short(cell, 40) for cell in first[:3])
        note = f"its first line, {names}, ..., was read as names of columns"
        return True, "" if plain else note
    return _judged(_evidence(first, body), numbers)


def _judged(evidence: _Evidence, numbers: list[str]) -> tuple[bool, str]:
    """Whether a first row that does not tell by itself holds names, and a note if it may not."""
    if evidence.alike > evidence.differs:
        others = evidence.text + evidence.differs
        even = _counted(numbers) or (len(numbers) > 2 and _even(numbers))
        return False, _AS_ROW if others or (even and len(numbers) > 1) else ""
    if not evidence.differs and 0 < evidence.text <= evidence.repeats:
        return False, _AS_ROW
    return evidence.differs + evidence.text > 0, ""


def _evidence(first: Sequence[str], body: Sequence[Sequence[str]]) -> _Evidence:
    differs = alike = repeats = text = 0
    for i, name in enumerate(first):
        cells = [row[i].strip() for row in body if i < len(row)]
        cells = [cell for cell in cells if not _is_missing(cell)]
        if not cells or _is_missing(name):
            continue
        if sum(map(_is_typed, cells)) <= len(cells) / 2:
            text += 1
            repeats += name in cells
        elif _is_typed(name):
            alike += 1
        else:
            differs += 1
    return _Evidence(differs, alike, repeats, text)


def _is_missing(cell: str) -> bool:
    return cell in MISSING or cell == "?"


def _is_typed(cell: str) -> bool:
    return _TYPED.fullmatch(cell) is not None


def _telling(first: Sequence[str], numbers: list[str], body: Sequence[Sequence[str]]) -> bool:
    """Whether the numbers of the first row are names: they step evenly, and no other row does.

    Years may leave some out.
    """
    if not (_even(numbers) or _are_years(numbers)):
        return False
    where = [i for i, cell in enumerate(first) if _NUMBER.fullmatch(cell)]
    rows = [[row[i].strip() for i in where] for row in body if len(row) == len(first)]
    # pandas writes the header 0, 1, 2, ... for columns without names.
    if len(numbers) == len(first) and _counted(numbers):
        return len(first) > 3 or set().union(*rows) != set(numbers)
    return _are_names(numbers, rows)


def _are_names(numbers: list[str], rows: list[list[str]]) -> bool:
    """Whether the numbers are years, or at least three that are unlike those of the rows."""
    values = [_value(cell) for cell in chain(*rows) if _NUMBER.fullmatch(cell)]
    low, high = _value(numbers[0]), _value(numbers[-1])
    outside = not any(low <= value <= high for value in values)
    if _are_years(numbers):
        return outside or not any(map(_are_years, rows))
    over_decimals = all(map(str.isdigit, numbers)) and any(value % 1 for value in values)
    enough = 3 if outside or over_decimals else 6
    return len(numbers) >= enough and not any(map(_even, rows))


def _are_years(cells: Sequence[str]) -> bool:
    """Whether numbers are years that grow from one to the next."""
    if len(cells) < 2 or not all(re.fullmatch(r"(18|19|20|21)\d\d", cell) for cell in cells):
        return False
    return all(a < b for a, b in pairwise(cells))


def _counted(numbers: list[str]) -> bool:
    return numbers == [str(i) for i in range(len(numbers))]


def _value(cell: str) -> float:
    return float(cell.replace(",", "."))


def _even(cells: Sequence[str]) -> bool:
    """Whether numbers grow in equal steps."""
    if len(cells) < 2 or not all(_NUMBER.fullmatch(cell) for cell in cells):
        return False
    values = [_value(cell) for cell in cells]
    steps = [b - a for a, b in pairwise(values)]
    return steps[0] > 0 and all(abs(step - steps[0]) <= 1e-6 * abs(values[-1]) for step in steps)
