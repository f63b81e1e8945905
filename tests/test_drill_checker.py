"""The drill with the real checker: the solution is right, and what a learner gets wrong is found by name, with hints for it."""

import json

import pytest

from aevb.drill import grading, hints, percent
from aevb.drill.hint_texts import HINTS
from aevb.drill.workspace import Work

checker = pytest.importorskip("aevb.checker", reason="the checker is not part of this checkout")
SOLUTION = percent.module(percent.SOLUTION)


def graded(path, source):
    path.write_text(source, encoding="utf-8")
    return grading.grade(Work(path, percent.notebook_module(source) if path.suffix == ".ipynb" else source, False))


@pytest.mark.parametrize(
    ("old", "new", "name"),
    [
        ("torch.randn_like(std)", "torch.rand_like(std)", "noise-uniform"),
        ("mu + std * eps", "mu + (std * eps).detach()", "gradient-cut-logvar"),
        ("(error + kl).mean()", "error.mean()", "kl-absent"),
    ],
)
def test_a_mistake_is_named_in_one_line_with_a_number(old, new, name, tmp_path):
    grade = graded(tmp_path / "vae.py", SOLUTION.replace(old, new))
    assert (grade.verdict, grade.exit_code) == ("bug", 1)
    (finding,) = [finding for finding in grade.findings if finding.verdict == "bug"]
    assert finding.class_ == name
    assert finding.message.startswith("line ")
    assert any(sign.isdigit() for sign in finding.message.split(": ", 1)[1])
    assert "\n" not in finding.message


def test_the_solution_is_right_as_a_file_and_as_a_notebook(tmp_path):
    assert graded(tmp_path / "vae.py", SOLUTION).verdict == "right"
    book = json.loads(percent.NOTEBOOK.read_text(encoding="utf-8"))
    tagged = iter([cell.source for cell in percent.cells(percent.SOLUTION.read_text(encoding="utf-8")) if cell.tags])
    for cell in book["cells"]:
        if percent.TAG in cell["metadata"].get("tags", []):
            cell["source"] = next(tagged)
    assert graded(tmp_path / "vae_mock.ipynb", json.dumps(book)).verdict == "right"


def test_every_class_of_the_checker_has_hints_of_its_own():
    assert [name for name in checker.CLASSES if hints.find(name) is HINTS[""]] == []
