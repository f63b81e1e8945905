"""The checker against the zoo: every mutant is named with its class, nothing right is accused."""

from pathlib import Path

import pytest
from judging import judged
from zoo import mutants

NOT_TO_BE_SEEN = {("convolutional", "bce-out-of-range-bytes")}
"""The file says nowhere that its pictures are bytes."""


@pytest.mark.parametrize("base", mutants.BASES)
def test_that_every_mutant_is_named_and_nothing_right_accused(base: str, tmp_path: Path) -> None:
    programs = [one for one in mutants.of(base) if (base, one.name) not in NOT_TO_BE_SEEN]
    paths = [tmp_path / f"{number}.py" for number in range(len(programs))]
    for path, program in zip(paths, programs, strict=True):
        path.write_text(program.source, encoding="utf-8")
    seen = judged(paths)
    wrong = []
    for path, program in zip(paths, programs, strict=True):
        verdict, classes = seen[path.name]
        if program.verdict == "right":
            good = verdict in ("right", "unusual")
        else:
            good = verdict == program.verdict and not program.accepted.isdisjoint(classes)
        if not good:
            wrong.append(f"{program.name}: expected {program.verdict} {program.class_}, got {verdict} {classes}")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("base", mutants.BASES)
def test_that_no_seed_accuses_a_right_program(base: str, tmp_path: Path) -> None:
    """8 seeds a base here; 200 were run for docs/checker.md. A single look, without the second seed that confirms."""
    path = tmp_path / f"{base}.py"
    path.write_text(mutants.source(base), encoding="utf-8")
    seen = judged([path], seeds=8)
    assert len(seen) == 8
    assert {verdict for verdict, _ in seen.values()} <= {"right", "unusual"}
