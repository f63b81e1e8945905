"""The stub and its solution are one file each, in jupytext's percent format; this reads their
cells.

A cell begins with a line ``# %%``, which may carry ``[markdown]`` and ``tags=["vae"]``. The cells
with that tag are the learner's file ``vae.py``; all of them together are the notebook, which is
shipped as jupytext makes it.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MATERIAL = Path(__file__).parent / "material"
STUB, SOLUTION, NOTEBOOK, GUIDE = (
    MATERIAL / name for name in ("stub.py", "solution.py", "vae_mock.ipynb", "notes.md")
)
TAG = "vae"
"""Marks the cells that are the learner's file."""

_MARK = re.compile(r"^# %%(?P<markdown> \[markdown\])?(?: tags=(?P<tags>\[.*\]))?$")
_HEAD = (
    '"""A variational autoencoder, to be written: six functions, each with one sentence. Then: aevb'
    ' drill check"""\n\n'
)


@dataclass(frozen=True)
class Cell:
    """One cell of a notebook. source: without its mark; of Markdown, without the comment signs."""

    markdown: bool
    tags: tuple[str, ...]
    source: str


def cells(text: str) -> list[Cell]:
    """Split a percent-format text; what stands before its first cell is not one."""
    found: list[tuple[re.Match[str], list[str]]] = []
    for line in text.splitlines():
        if mark := _MARK.match(line):
            found.append((mark, []))
        elif found:
            found[-1][1].append(line)
    return [_cell(mark, lines) for mark, lines in found]


def _cell(mark: re.Match[str], lines: list[str]) -> Cell:
    if mark["markdown"]:
        lines = [line.removeprefix("#").removeprefix(" ") for line in lines if line]
    return Cell(
        bool(mark["markdown"]),
        tuple(json.loads(mark["tags"] or "[]")),
        "\n".join(lines).strip("\n"),
    )


def module(path: Path) -> str:
    """The learner's file that STUB or SOLUTION holds, as text."""
    tagged = [cell.source for cell in cells(path.read_text(encoding="utf-8")) if TAG in cell.tags]
    return _HEAD + "\n\n\n".join(tagged) + "\n"


def notebook_module(text: str) -> str:
    """What ``module`` gives, from a notebook as a learner saved it: its tagged cells, or all code
    if the tags are lost.

    Raises ValueError if the text is no notebook.
    """
    try:
        book: dict[str, Any] = json.loads(text)
        code = [cell for cell in book["cells"] if cell["cell_type"] == "code"]
        tagged = [cell for cell in code if TAG in cell.get("metadata", {}).get("tags", [])] or code
        return "\n\n\n".join("".join(cell["source"]) for cell in tagged) + "\n"
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("not a notebook") from error
