"""Fill docs/reproduction.md from benchmarks/results and docs/figures: `python docs/make_tables.py`.

A table stands between `<!-- table NAME -->` and `<!-- end -->`, and a picture does too. Both come
from `aevb reproduce`. The full form is used if it exists, and else the quick form, with a note.
"""

import re
from pathlib import Path

from aevb.paper.page import TABLES, table
from aevb.paper.running import read

ROOT = Path(__file__).parents[1]
DOCUMENT = ROOT / "docs" / "reproduction.md"
QUICK = "Of `--quick`: the full run is not finished."


def filled(text: str) -> str:
    """Return the document with the tables and pictures of the results."""

    def of(match: re.Match[str]) -> str:
        kind, name = match[1], match[2]
        content = "Not run."
        for length in ("quick", "full"):
            file = ROOT / "benchmarks" / "results" / f"paper_{name}_{length}.json"
            picture = ROOT / "docs" / "figures" / f"paper_{name}_{length}.png"
            said = f"{QUICK}\n\n" if length == "quick" else ""
            if kind == "table" and file.is_file():
                content = said + "\n".join(TABLES.get(name, table)(read(file)))
            elif kind == "picture" and picture.is_file():
                content = f"{said}![{name}](figures/{picture.name})"
        return f"<!-- {kind} {name} -->\n\n{content}\n\n<!-- end -->"

    return re.sub(r"<!-- (table|picture) (\w+) -->.*?<!-- end -->", of, text, flags=re.DOTALL)


if __name__ == "__main__":
    DOCUMENT.write_text(filled(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
