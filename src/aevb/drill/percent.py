"""Read the cells of the stub and of the solution, which are files in jupytext's percent format.

A cell begins with a line ``# %%``, which may carry ``[markdown]`` and ``tags=["vae"]``. The cells
with that tag form the learner's file ``vae.py``. All cells together form the notebook. The package
contains the notebook as jupytext made it.
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
"""The tag of the cells that form the learner's file."""

_MARK = re.compile(r"^# %%(?P<markdown> \[markdown\])?(?: tags=(?P<tags>\[.*\]))?$")
_HEAD = """\
\"\"\"A variational autoencoder. Write the six functions, then run: aevb drill check\"\"\"

"""
"""The first lines of the learner's file."""


@dataclass(frozen=True)
class Cell:
    """One cell of a notebook. source: its text, without the mark and without Markdown's "#"."""

    markdown: bool
    tags: tuple[str, ...]
    source: str


def cells(text: str) -> list[Cell]:
    """Split a percent-format text into cells. Lines before the first mark are left out."""
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
    """Return the text of the learner's file that STUB or SOLUTION holds."""
    tagged = [cell.source for cell in cells(path.read_text(encoding="utf-8")) if TAG in cell.tags]
    return _HEAD + "\n\n\n".join(tagged) + "\n"


def notebook_module(text: str) -> str:
    """Return the learner's code in a saved notebook: its tagged code cells, joined.

    If the tags are lost, all code cells are joined. Raises ValueError if the text is no notebook.
    """
    try:
        book: dict[str, Any] = json.loads(text)
        code = [cell for cell in book["cells"] if cell["cell_type"] == "code"]
        tagged = [cell for cell in code if TAG in cell.get("metadata", {}).get("tags", [])] or code
        return "\n\n\n".join("".join(cell["source"]) for cell in tagged) + "\n"
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("not a notebook") from error
