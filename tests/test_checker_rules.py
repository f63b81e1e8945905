"""The table of rules: every class is said of a case, and a new class is one file and one case."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from zoo import mutants

from aevb.checker import CLASSES, Finding, check, rules
from aevb.checker.findings import RULES
from aevb.checker.report import BUG, RIGHT, SCALE

HERE = Path(__file__).parent
SHELF = json.loads((HERE / "wild" / "labels.json").read_text(encoding="utf-8"))
EXTENDING = (HERE.parent / "docs" / "extending.md").read_text(encoding="utf-8")
JUDGE = """
import sys
import judging
from aevb.checker import findings
findings.__path__.append(sys.argv[1])
findings.load()
judging.main(0, sys.argv[2:])
"""
"""Judge programs where the rules of one more folder belong to the package."""


def judged(folder: Path, paths: list[Path]) -> dict[str, tuple[str, list[str]]]:
    """(verdict, classes) by file name, with the rules of the folder."""
    command = [sys.executable, "-c", JUDGE, str(folder), *map(str, paths)]
    done = subprocess.run(
        command, cwd=HERE, capture_output=True, text=True, timeout=600, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith('{"file"')]
    return {line["file"]: (line["verdict"], line["classes"]) for line in lines}


def case_of(name: str, folder: Path) -> Path | None:
    """A program of the zoo or of the shelf whose mistake is of that class."""
    for mutant in mutants.all():
        if mutant.class_ == name:
            path = folder / f"{name}.py"
            path.write_text(mutant.source, encoding="utf-8")
            return path
    labelled = (file for file, label in SHELF.items() if label["class"] == name)
    return next((HERE / "wild" / file for file in labelled), None)


def test_every_class_has_a_case_of_which_it_is_said(tmp_path: Path) -> None:
    cases = {name: case_of(name, tmp_path) for name in CLASSES}
    assert [name for name, path in cases.items() if path is None] == []
    paths = [path for path in cases.values() if path is not None]
    seen = judged(tmp_path / "no_rules", paths)
    silent = [name for name, path in cases.items() if path and name not in seen[path.name][1]]
    assert silent == []


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


def test_the_rule_of_the_example_is_one_file_and_one_case(tmp_path: Path, example: Path) -> None:
    block = re.sub(r"\A@ ", "", fences("A class of mistake")[1])
    (mutant,) = mutants._blocks(block)
    base, changed = tmp_path / "base.py", tmp_path / "changed.py"
    text = mutants.source("tutorial")
    base.write_text(text, encoding="utf-8")
    changed.write_text(mutants.apply(text, mutant.edits, mutant.name), encoding="utf-8")
    assert judged(example, [changed, base]) == {
        "changed.py": (mutant.verdict, [mutant.labels[0]]),
        "base.py": ("right", []),
    }
    assert judged(tmp_path / "no_rules", [changed]) == {"changed.py": ("right", [])}


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
