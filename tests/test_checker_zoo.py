"""The checker against the zoo: every mutant is named with its class, nothing right is accused."""

from pathlib import Path

import pytest
from judging import exact_cases
from warm import Warm
from zoo import mutants


@pytest.mark.parametrize("base", mutants.BASES)
def test_that_every_mutant_is_named_and_nothing_right_accused(
    base: str, tmp_path: Path, warm: Warm
) -> None:
    """One mutant of each class is called by exactly its own, also if others fit as well.

    A mistake is judged twice, with two seeds. Here the tutorial's mutants are, and the others with
    one of the seeds in turn: on the shelf again all programs are judged as a user's are.
    """
    programs, exact = mutants.of(base), exact_cases()
    paths = [tmp_path / f"{number}.py" for number in range(len(programs))]
    for path, program in zip(paths, programs, strict=True):
        path.write_text(program.source, encoding="utf-8")
    if base == mutants.BASES[0]:
        seen = warm.judged(paths)
    else:
        looks = [warm.judged(paths[seed::2], seeds=[seed]) for seed in (0, 1)]
        seen = {name.split()[0]: said for look in looks for name, said in look.items()}
    assert len(seen) == len(paths)
    wrong = []
    for path, program in zip(paths, programs, strict=True):
        verdict, classes = seen[path.name]
        if program.verdict == "right":
            good = verdict in ("right", "unusual")
        else:
            accepted = {program.class_} if exact[program.class_] is program else program.accepted
            good = verdict == program.verdict and not accepted.isdisjoint(classes)
        if not good:
            wrong.append(
                f"{program.name}: expected {program.verdict} {program.class_}, got {verdict}"
                f" {classes}"
            )
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("base", mutants.BASES)
def test_that_no_seed_accuses_a_right_program(base: str, tmp_path: Path, warm: Warm) -> None:
    """A single look, without the second seed that confirms; docs/checker.md says more of 200 seeds.

    Here are 8 for each base.
    """
    path = tmp_path / f"{base}.py"
    path.write_text(mutants.source(base), encoding="utf-8")
    seen = warm.judged([path], seeds=range(8))
    assert len(seen) == 8
    assert {verdict for verdict, _ in seen.values()} <= {"right", "unusual"}


@pytest.mark.parametrize(
    "prepared",
    [
        "pictures.unsqueeze(1).float() / 255",
        "(pictures > 127).unsqueeze(1).float()",
        "pictures.unsqueeze(1).float() / pictures.max()",
        "torch.bernoulli(pictures.unsqueeze(1).float() / 2**8)",
        "scaled(pictures)",
    ],
)
def test_bytes_that_are_brought_to_0_to_1_are_no_mistake(
    prepared: str, tmp_path: Path, warm: Warm
) -> None:
    bytes_ = next(
        one for one in mutants.of("convolutional") if one.name == "bce-out-of-range-bytes"
    )
    text = bytes_.source.replace("pictures.unsqueeze(1).float()", prepared)
    assert text != bytes_.source
    path = tmp_path / "program.py"
    path.write_text(
        text.replace(
            "def prepare", "def scaled(rows):\n    return rows.unsqueeze(1) / 255\n\n\ndef prepare"
        ),
        encoding="utf-8",
    )
    verdict, _ = warm.judged([path])[path.name]
    assert verdict in ("right", "unusual")
