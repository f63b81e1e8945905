"""The checker against the shelf: programs of many authors, each with a label.

tests/wild/README.md says more.
"""

import json
from pathlib import Path
from typing import Any

import pytest
from judging import judged

SHELF = Path(__file__).parent / "wild"
LABELS: dict[str, dict[str, Any]] = json.loads((SHELF / "labels.json").read_text(encoding="utf-8"))
PARTS = 4


@pytest.mark.parametrize("part", range(PARTS))
def test_the_shelf(part: int) -> None:
    """No right code is accused, every bug that is judged is named, and few files are not judged."""
    seen = judged([SHELF / name for name in sorted(LABELS)[part::PARTS]])
    wrong, silent = [], []
    for name, (verdict, classes) in seen.items():
        label = LABELS[name]
        if verdict == "cannot_judge":
            silent.append(name)
        elif label["verdict"] in ("right", "unusual"):
            if verdict not in ("right", "unusual"):
                wrong.append(f"{name}: right, got {verdict} {classes}")
        elif {label["class"], *label["also"]}.isdisjoint(classes):
            wrong.append(f"{name}: {label['class']}, got {verdict} {classes}")
    assert not wrong, "\n".join(wrong)
    assert len(silent) <= 0.15 * len(seen), silent


def test_a_program_is_judged_as_if_it_were_the_first() -> None:
    """A file that could not be opened once gave the batch of the program before."""
    later = "tokens_softmax_mean_error.py"
    seen = judged([SHELF / "td_free_energy.py", SHELF / later])
    assert seen[later] == ("scale", ["reconstruction-mean"])
