"""Make vae_mock.ipynb, here and in the package, from its source.

It needs jupytext: pip install -e '.[dev]'.
"""

import json
from pathlib import Path

import jupytext

ROOT = Path(__file__).parents[1]
MATERIAL = ROOT / "src" / "aevb" / "drill" / "material"


def make(source: Path) -> str:
    """Return the notebook of a percent-format file. The same source gives the same bytes."""
    book = jupytext.read(source)
    book.metadata.pop("jupytext", None)
    book.metadata["colab"] = {"provenance": []}
    for number, cell in enumerate(book.cells, start=1):
        cell["metadata"].pop("lines_to_next_cell", None)
        cell["id"] = f"cell-{number:02d}"
    book.nbformat, book.nbformat_minor = 4, 5
    return json.dumps(book, indent=1, ensure_ascii=False, sort_keys=True) + "\n"


if __name__ == "__main__":
    for target in (ROOT / "notebooks" / "vae_mock.ipynb", MATERIAL / "vae_mock.ipynb"):
        target.write_text(make(MATERIAL / "stub.py"), encoding="utf-8")
