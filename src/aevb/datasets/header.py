"""Tell from the first rows of a table whether the first one holds the names of the columns."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from aevb.datasets.text import MISSING

_NUMBER = re.compile(r"[+-]?(?:\d+[.,]?\d*|[.,]\d+)(?:[eE][+-]?\d+)?|[+-]?(?i:inf|infinity)")
_TYPED = re.compile(
    rf"(?:{_NUMBER.pattern})\s?%?|\d{{1,4}}[-/.]\d{{1,2}}[-/.]\d{{1,4}}(?:[T ].*)?"
    r"|\d{1,2}:\d{2}(?::\d{2}.*)?|[$€£¥]\s?[\d.,]+"
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
        >>> from aevb.datasets.header import has_header
        >>> has_header([["a", "b"], ["1", "2"]]), has_header([["1", "2.5"], ["3", "4"]])
        ((True, ''), (False, ''))
        >>> has_header([["2019", "2020", "2021"], ["1.5", "2.5", "0.1"]])[0]
        True
        >>> has_header([["5", "red"], ["6", "blue"], ["7", "red"]])
        (False, 'its first line was read as a row, since it looks like the others; without names, \
the columns are called column_1, column_2, ...')
    """
    first, body = [cell.strip() for cell in rows[0]], rows[1:]
    numbers = [cell for cell in first if _NUMBER.fullmatch(cell)]
    if not body:
        return len(numbers) < len([cell for cell in first if cell]), ""
    evidence = _evidence(first, body)
    if _telling(first, numbers, body):
        return True, (
            f"its first line, {', '.join(first[:3])}, ..., was read as names of columns"
            if len(numbers) == len(first) and numbers != [str(i) for i in range(len(first))]
            else ""
        )
    row = (
        "its first line was read as a row, since it looks like the others; without names, the"
        " columns are called column_1, column_2, ..."
    )
    if evidence.alike > evidence.differs:
        sure = evidence.text == evidence.differs == 0 and not (len(numbers) > 2 and _even(numbers))
        return False, "" if sure else row
    if evidence.differs or not evidence.text or evidence.repeats < evidence.text:
        return evidence.differs > 0 or evidence.text > 0, ""
    return False, row


def _evidence(first: Sequence[str], body: Sequence[Sequence[str]]) -> _Evidence:
    differs = alike = repeats = text = 0
    for i, name in enumerate(first):
        cells = [row[i].strip() for row in body if i < len(row)]
        cells = [cell for cell in cells if cell not in MISSING and cell != "?"]
        if not cells or name in MISSING or name == "?":
            continue
        typed = sum(_TYPED.fullmatch(cell) is not None for cell in cells) > len(cells) / 2
        if not typed:
            text += 1
            repeats += name in cells
        elif _TYPED.fullmatch(name):
            alike += 1
        else:
            differs += 1
    return _Evidence(differs, alike, repeats, text)


def _telling(first: Sequence[str], numbers: list[str], body: Sequence[Sequence[str]]) -> bool:
    """Whether the numbers of the first row are names: they step evenly, and no other row does."""
    if not _even(numbers):
        return False
    where = [i for i, cell in enumerate(first) if _NUMBER.fullmatch(cell)]
    rows = [[row[i].strip() for i in where] for row in body if len(row) == len(first)]
    cells = {cell for row in rows for cell in row}
    # pandas writes the header 0, 1, 2, ... for columns without names.
    if numbers == [str(i) for i in range(len(first))]:
        return len(first) > 3 or cells != set(numbers)
    values = [_value(cell) for cell in cells if _NUMBER.fullmatch(cell)]
    outside = not any(_value(numbers[0]) <= value <= _value(numbers[-1]) for value in values)
    if _years(numbers):
        return outside
    if len(numbers) < 3 or any(_even(row) for row in rows):
        return False
    decimals = any(value % 1 for value in values) and all(cell.isdigit() for cell in numbers)
    return decimals or outside or len(numbers) > 5


def _years(numbers: Sequence[str]) -> bool:
    return all(cell.isdigit() and 1800 <= int(cell) <= 2200 for cell in numbers)


def _value(cell: str) -> float:
    return float(cell.replace(",", "."))


def _even(cells: Sequence[str]) -> bool:
    """Whether numbers grow in equal steps."""
    if len(cells) < 2 or not all(_NUMBER.fullmatch(cell) for cell in cells):
        return False
    values = [_value(cell) for cell in cells]
    steps = [b - a for a, b in pairwise(values)]
    return steps[0] > 0 and all(abs(step - steps[0]) <= 1e-6 * abs(values[-1]) for step in steps)
