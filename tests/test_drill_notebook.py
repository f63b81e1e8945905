"""The learner's notebook is made from one source, stands alone, and says what is missing."""

import ast
import importlib.util
import json
import re
from pathlib import Path

import nbclient
import nbformat
import pytest

from aevb.drill import percent

ROOT = Path(__file__).parents[1]
GIVEN = ("torch", "matplotlib")


@pytest.fixture(scope="module")
def make():
    spec = importlib.util.spec_from_file_location("make_notebooks", ROOT / "notebooks" / "make.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.make


def printed(book):
    """Return the text that the cells print, and their errors."""
    outputs = [output for cell in book.cells for output in cell.get("outputs", [])]
    text = "".join(output["text"] for output in outputs if output["output_type"] == "stream")
    return text, [output for output in outputs if output["output_type"] == "error"]


def execute(text, epochs=None):
    book = nbformat.reads(text, as_version=4)
    for cell in book.cells:
        if epochs is not None:
            cell["source"] = re.sub(
                r"^EPOCHS = \d+", f"EPOCHS = {epochs}", cell["source"], flags=re.MULTILINE
            )
    nbclient.NotebookClient(book, timeout=300, kernel_name="python3", allow_errors=True).execute()
    return printed(book)


@pytest.fixture
def quiet_kernel(monkeypatch, tmp_path):
    monkeypatch.setenv("MPLBACKEND", "Agg")
    monkeypatch.setenv("PYTHONWARNINGS", "ignore")
    monkeypatch.setenv("JUPYTER_RUNTIME_DIR", str(tmp_path))


pytestmark = [
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.usefixtures("quiet_kernel"),
]


def test_the_notebooks_are_made_from_the_source(make):
    made = make(percent.STUB)
    assert percent.NOTEBOOK.read_text(encoding="utf-8") == made
    assert (ROOT / "notebooks" / "vae_mock.ipynb").read_text(encoding="utf-8") == made


def test_with_the_solution_all_six_checks_pass(make):
    """200 epochs are enough for the checks. tests/test_drill.py tests the figures of all 800."""
    text, errors = execute(make(percent.SOLUTION), epochs=200)
    assert errors == []
    assert re.findall(r"^Check (\d): OK:", text, re.MULTILINE) == list("123456"), text
    assert "NOT YET" not in text
    assert "Training: OK: loss 4.190 -> " in text  # the tutorial's first epoch


def test_the_stub_fails_with_sentences_and_no_traceback(make):
    text, errors = execute(make(percent.STUB))
    assert errors == []
    assert "Traceback" not in text
    lines = [line for line in text.splitlines() if line.strip()]
    assert [line.split(":")[0] for line in lines] == [
        "Training",
        *(f"Check {n}" for n in range(1, 7)),
        "Picture",
    ]
    assert all(
        re.fullmatch(r".*: NOT YET: .* (is not written yet: .*|is no trained model yet)\.?", line)
        for line in lines
    ), text


def test_a_mistake_fails_its_check_and_no_other(make, capsys):
    """Without a kernel, which takes seconds to start, and without the picture."""
    wrong = (
        make(percent.SOLUTION)
        .replace("mu + std * eps", "mu + (std * eps).detach()")
        .replace("EPOCHS = 800", "EPOCHS = 2")
    )
    names = {"__name__": "notebook"}
    for cell in [cell for cell in json.loads(wrong)["cells"] if cell["cell_type"] == "code"][:-1]:
        exec("".join(cell["source"]), names)
    text = capsys.readouterr().out
    assert "Check 1: NOT YET: no gradient reaches logvar" in text
    assert re.findall(r"^Check (\d): OK", text, re.MULTILINE) == [
        "2",
        "3",
        "6",
    ]  # 4 and 5 need more than 2 epochs


@pytest.mark.parametrize("source", [percent.STUB, percent.SOLUTION], ids=lambda p: p.stem)
def test_it_needs_torch_and_matplotlib_alone(source):
    names = set()
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module.split(".")[0])
    assert names == set(GIVEN)


def test_the_solution_differs_from_the_stub_in_the_six_functions_alone():
    stub, solution = (ast.parse(percent.module(path)) for path in (percent.STUB, percent.SOLUTION))
    written = []
    for ours, theirs in zip(ast.walk(stub), ast.walk(solution), strict=False):
        if isinstance(ours, ast.FunctionDef) and ast.dump(ours) != ast.dump(theirs):
            assert [ast.dump(ours.args), ours.name] == [ast.dump(theirs.args), theirs.name]
            written.append(ours.name)
            break  # from here on the two walks are no longer in step
    assert written != []
    raising = {
        f.name
        for f in ast.walk(stub)
        if isinstance(f, ast.FunctionDef) and "NotImplementedError" in ast.unparse(f)
    }
    assert raising == {"encode", "reparameterize", "decode", "forward", "kl_divergence", "vae_loss"}
    assert "NotImplementedError" not in ast.unparse(solution)


def test_a_saved_notebook_gives_the_learners_file_back(make):
    book = make(percent.SOLUTION)
    saved = json.loads(book)
    assert ast.dump(ast.parse(percent.notebook_module(book))) == ast.dump(
        ast.Module(ast.parse(percent.module(percent.SOLUTION)).body[1:], [])
    )
    for cell in saved["cells"]:
        cell["metadata"] = {}
    lost = percent.notebook_module(json.dumps(saved))
    assert "class VAE" in lost
    assert "def check_6" in lost
    with pytest.raises(ValueError, match="not a notebook"):
        percent.notebook_module('{"cells": 3}')


def test_cells_are_split_and_marked():
    found = percent.cells(
        '# head\n# %% [markdown]\n# # Title\n#\n# text\n\n\n# %% tags=["vae"]\nx = 1\n\n# %%\ny'
        " = 2\n"
    )
    assert found == [
        percent.Cell(True, (), "# Title\n\ntext"),
        percent.Cell(False, ("vae",), "x = 1"),
        percent.Cell(False, (), "y = 2"),
    ]
