"""The table of rules: every class is said of a case, and a new class is one file and one case."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from judging import exact_cases
from markdown_it import MarkdownIt
from warm import Warm
from zoo import mutants

from aevb.checker import CLASSES, Finding, check, rules
from aevb.checker.findings import RULES
from aevb.checker.report import BUG, RIGHT, SCALE

HERE = Path(__file__).parent
EXTENDING = (HERE.parent / "docs" / "extending.md").read_text(encoding="utf-8")


def test_every_class_has_a_case() -> None:
    """The tests of the zoo and of the shelf judge them, and expect exactly that class."""
    assert CLASSES.keys() - exact_cases().keys() == set()


def test_every_look_has_a_check_and_names_classes_that_exist() -> None:
    assert {look.check for look in rules.LOOKS.values()} <= set(rules.CHECKS)
    assert {name for look in rules.LOOKS.values() for name in look.classes} == RULES.keys()
    assert {name for rule in RULES.values() for name in rule.hides} <= RULES.keys()
    assert {name: rule.says for name, rule in RULES.items()} == CLASSES
    scale = {name for name, rule in RULES.items() if rule.verdict == SCALE}
    assert scale == {name for name, rule in RULES.items() if rule.check == "weight"}


def test_a_class_is_declared_once() -> None:
    with pytest.raises(ValueError, match="kl-doubled"):
        rules.rule("kl-doubled", "again", "kl")


def test_what_hides_what() -> None:
    cause = Finding("noise", BUG, "noise-uniform", "m")
    effect, other = (Finding("noise", BUG, name, "m") for name in ("noise-scaled", "kl-sign"))
    right = Finding("kl", RIGHT, "", "m")
    assert rules.ordered([right, effect, cause]) == [cause, right]
    assert rules.ordered([effect, other]) == [effect]
    halved = Finding("kl", BUG, "kl-halved", "m")
    assert rules.ordered([right, halved]) == [halved]


def test_the_document_has_the_table_of_classes() -> None:
    text = (HERE.parent / "docs" / "checker.md").read_text(encoding="utf-8")
    begin, end = "<!-- classes -->\n\n", "\n\n<!-- end of classes -->"
    assert text.partition(begin)[2].partition(end)[0] == rules.table()


def fences(heading: str) -> list[str]:
    """The fenced blocks of a section of docs/extending.md."""
    section = EXTENDING.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return [one.content for one in MarkdownIt().parse(section) if one.type == "fence"]


@pytest.fixture
def example(tmp_path: Path) -> Iterator[Path]:
    """A folder with the rule of the example; what it declares here is taken back."""
    folder = tmp_path / "rules"
    folder.mkdir()
    (folder / "z_skipped.py").write_text(fences("A class of mistake")[0], encoding="utf-8")
    yield folder
    if "z-skipped" in RULES:
        rules.forget("z-skipped")


def test_the_rule_of_the_example_is_one_file_and_one_case(
    tmp_path: Path, example: Path, warm: Warm
) -> None:
    block = re.sub(r"\A@ ", "", fences("A class of mistake")[1])
    (mutant,) = mutants._blocks(block)
    base, changed = tmp_path / "base.py", tmp_path / "changed.py"
    text = mutants.source("tutorial")
    base.write_text(text, encoding="utf-8")
    changed.write_text(mutants.apply(text, mutant.edits, mutant.name), encoding="utf-8")
    assert warm.judged([changed, base], rules=example) == {
        "changed.py": (mutant.verdict, [mutant.labels[0]]),
        "base.py": ("right", []),
    }
    assert warm.judged([changed]) == {"changed.py": ("right", [])}


def test_a_rule_is_taken_back(example: Path) -> None:
    looks = dict(rules.LOOKS)
    exec((example / "z_skipped.py").read_text(encoding="utf-8"), {"__name__": "z_skipped"})
    assert "z-skipped" in CLASSES
    assert len(rules.LOOKS) == len(looks) + 1
    names: dict[str, object] = {}
    exec(fences("A class of mistake")[2].partition("print(")[0], names)
    model = names["Skips"]()  # type: ignore[operator]
    assert [f.class_ for f in check(model).findings if f.class_] == ["z-skipped"]
    rules.forget("z-skipped")
    assert "z-skipped" not in CLASSES
    assert looks == rules.LOOKS
    assert check(model).verdict == "right"
