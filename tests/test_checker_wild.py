"""The checker against the shelf: programs of many authors, each with a label.

tests/wild/README.md says more.
"""

from pathlib import Path

import pytest
from judging import SHELF, exact_cases
from warm import Warm

WILD = Path(__file__).parent / "wild"
PARTS = 4


@pytest.mark.parametrize("part", range(PARTS))
def test_the_shelf(part: int, warm: Warm) -> None:
    """No right code is accused, every bug that is judged is named, and few files are not judged."""
    seen = warm.judged([WILD / name for name in sorted(SHELF)[part::PARTS]])
    exact = {case: name for name, case in exact_cases().items() if isinstance(case, str)}
    wrong, silent = [], []
    for name, (verdict, classes) in seen.items():
        label = SHELF[name]
        if name in exact:  # no program of the zoo has that mistake
            if exact[name] not in classes:
                wrong.append(f"{name}: exactly {exact[name]}, got {verdict} {classes}")
        elif verdict == "cannot_judge":
            silent.append(name)
        elif label["verdict"] in ("right", "unusual"):
            if verdict not in ("right", "unusual"):
                wrong.append(f"{name}: right, got {verdict} {classes}")
        elif {label["class"], *label["also"]}.isdisjoint(classes):
            wrong.append(f"{name}: {label['class']}, got {verdict} {classes}")
    assert not wrong, "\n".join(wrong)
    assert len(silent) <= 0.15 * len(seen), silent


def test_a_program_is_judged_as_if_it_were_the_first(warm: Warm) -> None:
    """A file that could not be opened once gave the batch of the program before."""
    later = "tokens_softmax_mean_error.py"
    seen = warm.judged([WILD / "td_free_energy.py", WILD / later])
    assert seen[later] == ("scale", ["reconstruction-mean"])
