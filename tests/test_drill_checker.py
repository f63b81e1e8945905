"""The drill with the real checker: the solution is right, and mistakes get a name and hints."""

import json

import pytest

from aevb.datasets.synthetic import make_gmm
from aevb.drill import grading, hints, percent, reach
from aevb.drill.hint_texts import HINTS
from aevb.drill.workspace import Work

checker = pytest.importorskip("aevb.checker", reason="the checker is not part of this checkout")
SOLUTION = percent.module(percent.SOLUTION)
pytestmark = pytest.mark.usefixtures("warm_children")


def graded(path, source):
    path.write_text(source, encoding="utf-8")
    return grading.grade(
        Work(path, percent.notebook_module(source) if path.suffix == ".ipynb" else source, False)
    )


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
    tagged = iter(
        [
            cell.source
            for cell in percent.cells(percent.SOLUTION.read_text(encoding="utf-8"))
            if cell.tags
        ]
    )
    for cell in book["cells"]:
        if percent.TAG in cell["metadata"].get("tags", []):
            cell["source"] = next(tagged)
    assert graded(tmp_path / "vae_mock.ipynb", json.dumps(book)).verdict == "right"


def test_every_class_of_the_checker_has_hints_of_its_own():
    assert [name for name in checker.CLASSES if hints.find(name) is HINTS[""]] == []


@pytest.mark.parametrize(
    ("end", "name"),
    [
        ("torch.sigmoid(self.dec(z))", "sigmoid-range"),
        ("torch.tanh(self.dec(z))", "output-range"),
        ("torch.relu(self.dec(z))", "output-range"),
        ("F.softmax(self.dec(z), dim=1)", "output-range"),
    ],
)
def test_a_decoder_that_cannot_reach_the_drills_data_is_named(end, name, tmp_path):
    grade = graded(tmp_path / "vae.py", SOLUTION.replace("self.dec(z)", end))
    assert (grade.verdict, grade.exit_code) == ("bug", 1)
    (finding,) = [finding for finding in grade.findings if finding.verdict != "right"]
    assert (finding.class_, finding.line) == (name, 56)
    assert "decoder" not in [finding.class_ for finding in grade.findings]
    assert "the data" in finding.message
    assert "training loop" not in finding.message


@pytest.mark.parametrize(
    "end", ["3 * torch.tanh(self.dec(z))", "self.dec(z) * 2 + 1", "F.leaky_relu(self.dec(z))"]
)
def test_a_decoder_that_can_reach_them_is_not(end, tmp_path):
    grade = graded(tmp_path / "vae.py", SOLUTION.replace("self.dec(z)", end))
    assert grade.passed, grade.findings


def test_a_notebooks_decoder_is_tried_too(tmp_path):
    book = json.loads(percent.NOTEBOOK.read_text(encoding="utf-8"))
    tagged = iter(
        [
            cell.source
            for cell in percent.cells(percent.SOLUTION.read_text(encoding="utf-8"))
            if cell.tags
        ]
    )
    for cell in book["cells"]:
        if percent.TAG in cell["metadata"].get("tags", []):
            cell["source"] = next(tagged).replace("self.dec(z)", "torch.tanh(self.dec(z))")
    grade = graded(tmp_path / "vae_mock.ipynb", json.dumps(book))
    assert [finding.class_ for finding in grade.findings if finding.verdict == "bug"] == [
        "output-range"
    ]


def test_what_the_learner_put_beside_the_file_and_behind_it_is_taken_along(tmp_path):
    """A helper in another file, names that the drill might use too, and a cross-entropy."""
    (tmp_path / "mine.py").write_text(
        "import torch\n\n\ndef noise(like):\n    return torch.rand_like(like)\n"
    )
    helped = SOLUTION.replace(
        "from torch import nn", "from torch import nn\n\nfrom mine import noise"
    )
    grade = graded(tmp_path / "vae.py", helped.replace("torch.randn_like(std)", "noise(std)"))
    assert [finding.class_ for finding in grade.findings if finding.verdict == "bug"] == [
        "noise-uniform"
    ]
    assert (
        graded(
            tmp_path / "vae.py",
            SOLUTION + "\n\ndata = torch.rand(10, 784)\nmodel = nn.Linear(3, 3)\n",
        ).verdict
        == "right"
    )
    wrong = SOLUTION.replace("self.dec(z)", "torch.sigmoid(self.dec(z))").replace(
        "F.mse_loss(", "F.binary_cross_entropy("
    )
    assert [
        f.class_ for f in graded(tmp_path / "vae.py", wrong).findings if f.verdict == "bug"
    ] == ["bce-out-of-range"]


def test_half_a_file_with_a_decoder_is_judged_as_far_as_it_goes(tmp_path):
    head = SOLUTION.split("    error = F.mse_loss")[0].replace(
        "torch.randn_like(std)", "torch.rand_like(std)"
    )
    grade = graded(
        tmp_path / "vae.py", head + '    raise NotImplementedError("vae_loss is not written yet")\n'
    )
    assert grade.verdict == "unfinished"
    assert [finding.class_ for finding in grade.findings] == [
        "noise-uniform",
        "unfinished-vae_loss",
    ]


def test_the_ends_of_the_data_are_those_of_the_experiment():
    points = make_gmm(2000)
    assert points.amin(0).tolist() == pytest.approx(reach.LEAST, abs=0.01)
    assert points.amax(0).tolist() == pytest.approx(reach.GREATEST, abs=0.01)
    assert not reach.falls_short([-2.0, 0.0], [2.0, 2.0])
    assert reach.falls_short([-1.9, 0.0], [2.0, 2.0])
    assert reach.falls_short([-2.0, 0.0], [2.0, 1.9])


LOSS = "return (error + kl).mean(), error.mean(), kl.mean()"


@pytest.mark.parametrize(
    ("old", "new", "verdict", "name", "part"),
    [
        ("(error + kl)", "(error + 0.01 * kl)", "scale", "kl-weight", "0.01"),
        (LOSS, "return (error + kl).mean()", "bug", "training-stopped", "0-d tensor"),
        ("self.dec(z)", "self.dec(z).sum(dim=1)", "bug", "training-stopped", "size of tensor"),
        (
            ".sum(dim=1)\n\n\ndef",
            ".sum(dim=1).clamp(min=0.5)\n\n\ndef",
            "cannot_judge",
            "kl",
            "not seen",
        ),
    ],
)
def test_what_passes_elsewhere_is_wrong_in_the_drill(old, new, verdict, name, part, tmp_path):
    """A weight on the KL, another interface than the training's, and a KL cut to a constant."""
    assert old in SOLUTION
    grade = graded(tmp_path / "vae.py", SOLUTION.replace(old, new))
    assert grade.verdict == verdict
    (finding,) = [finding for finding in grade.findings if finding.class_ == name]
    assert part in finding.message
    assert "--map" not in str(grade.findings)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("(error + kl)", "(0.5 * error + kl)"),  # a Gaussian of variance 1
        (LOSS, "return error.mean() + kl.mean(), error.mean(), kl.mean()"),
        (LOSS, "return (error + kl).sum(), error.sum(), kl.sum()"),
        (
            "        std = torch.exp",
            "        if not self.training:\n            return mu\n        std = torch.exp",
        ),
    ],
)
def test_other_right_solutions_are_right(old, new, tmp_path):
    grade = graded(tmp_path / "vae.py", SOLUTION.replace(old, new))
    assert grade.verdict == "right", grade.findings
