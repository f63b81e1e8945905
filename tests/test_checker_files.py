"""What the checker makes of a file: a script or a notebook, with its imports and its faults."""

import json
from pathlib import Path

import pytest
from judging import Edit, program, put
from zoo import mutants

from aevb.checker import check_file
from aevb.checker.program.source import SourceError, read
from aevb.checker.sandbox.parent import Limits
from aevb.errors import NotFoundError, UsageError

pytestmark = pytest.mark.usefixtures("warm_children")

TUTORIAL = mutants.source("tutorial")


def test_a_notebook_is_judged_by_its_cells(tmp_path: Path) -> None:
    top, rest = TUTORIAL.replace("randn_like", "rand_like").split("class VAE", 1)
    cells = [
        {"cell_type": "code", "source": source}
        for source in ("!pip install torch\n%matplotlib inline\n", top, "class VAE" + rest)
    ]
    file = tmp_path / "mine.ipynb"
    file.write_text(json.dumps({"cells": cells}), encoding="utf-8")
    report = check_file(file)
    assert report.findings[0].class_ == "noise-uniform"
    assert report.findings[0].where.startswith("cell 3, line ")


def test_a_package_that_is_not_here_is_said(tmp_path: Path) -> None:
    file = tmp_path / "mine.py"
    file.write_text("import no_such_package.inner as n\n" + TUTORIAL, encoding="utf-8")
    report = check_file(file)
    assert report.verdict == "right"
    assert "no_such_package" in report.parts.values()


def test_a_mapping_names_the_parts(tmp_path: Path) -> None:
    file = put(tmp_path, "jitter")
    assert check_file(file).verdict == "cannot_judge"
    report = check_file(file, mapping={"sampler": "jitter", "kl": "price"})
    assert report.findings[0].class_ == "std-exp-logvar"
    unknown = check_file(file, mapping={"sampler": "shake"})
    assert unknown.verdict == "cannot_judge"
    assert "shake" in unknown.findings[0].message
    assert "jitter" in unknown.findings[0].message


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no such file"):
        check_file(tmp_path / "none.py")
    file = tmp_path / "mine.py"
    file.write_text("x = 1\n", encoding="utf-8")
    with pytest.raises(UsageError, match="did you mean sampler"):
        check_file(file, mapping={"samplr": "f"})
    assert "no class or function looked like a model" in check_file(file).findings[0].message
    file.write_text("def f(:\n", encoding="utf-8")
    broken = check_file(file)
    assert broken.exit_code == 2
    assert "line 1" in broken.findings[0].message
    file.write_bytes(b"\xff\xfe\x00")
    assert "UTF-8" in check_file(file).findings[0].message
    notebook = tmp_path / "mine.ipynb"
    notebook.write_text("{}", encoding="utf-8")
    with pytest.raises(SourceError, match="notebook"):
        read(notebook)


def test_that_a_top_level_is_not_run(tmp_path: Path) -> None:
    file = tmp_path / "hostile.py"
    file.write_text(TUTORIAL + program("hostile_top_level"), encoding="utf-8")
    assert check_file(file).verdict == "right"
    assert not (tmp_path / "gone").exists()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("while True: pass", "stopped"),
        ("bytearray(20 * 10**9)", "memory"),
        ("__import__('sys').exit(3)", "sys.exit"),
        ("__import__('os')._exit(3)", "end"),
        ("input()", "input"),
    ],
)
def test_that_hostile_models_are_contained(line: str, said: str, tmp_path: Path) -> None:
    """Each within ``forward``, where it does run."""
    head = "    def forward(self, x):\n"
    file = tmp_path / "hostile.py"
    edited = mutants.apply(TUTORIAL, [(head, f"{head}        {line}\n")], "hostile")
    file.write_text(edited, encoding="utf-8")
    report = check_file(file, limits=Limits(wall_s=45, cpu_s=3))
    assert report.exit_code == 2
    assert said in report.findings[0].message


# A program that is split over files: encoder.py, model.py, main.py.

UNIFORM = ("randn_like", "rand_like")
ENCODER = "from encoder import Encoder, drawn"
MODEL = "from model import VAE"
WAYS: dict[str, tuple[list[Edit], str]] = {
    "plain": ([], MODEL),
    "renamed": (
        [
            (ENCODER, "from encoder import Encoder as Coder, drawn as z_of"),
            (" Encoder(", " Coder("),
            ("(drawn(", "(z_of("),
        ],
        "from model import VAE as Net\nVAE = Net",
    ),
    "all": ([(ENCODER, "from encoder import *")], "from model import *"),
    "module": (
        [(ENCODER, "import encoder as e"), (" Encoder(", " e.Encoder("), ("(drawn(", "(e.drawn(")],
        "import model as m\nVAE = m.VAE",
    ),
    "either": (
        [
            (
                ENCODER,
                "try:\n    from .encoder import Encoder, drawn\n"
                "except ImportError:\n    from encoder import *",
            )
        ],
        MODEL,
    ),
}


def split(folder: Path, *encoder: Edit, way: str = "plain") -> Path:
    """The three files, with main.py last; encoder: edits of the first."""
    model, main = WAYS[way]
    put(folder, "split/encoder", *encoder)
    put(folder, "split/model", *model)
    return put(folder, "split/main", (MODEL, main))


@pytest.mark.parametrize("way", WAYS)
def test_files_beside_are_read(tmp_path: Path, way: str) -> None:
    report = check_file(split(tmp_path, way=way))
    assert report.verdict == "right", report


def test_a_mistake_in_another_file_is_named_with_its_place(tmp_path: Path) -> None:
    report = check_file(split(tmp_path, UNIFORM))
    (found,) = [one for one in report.findings if one.verdict == "bug"]
    assert found.class_ == "noise-uniform"
    assert (found.file, found.line) == ("encoder.py", 7)
    assert found.to_dict()["line"] is None
    assert "file" not in found.to_dict()
    assert "encoder.py, line 7" in "\n".join(report.lines("main.py"))
    assert found.to_dict()["message"].startswith("encoder.py, line 7")


def test_of_another_file_only_what_is_needed_is_taken(tmp_path: Path) -> None:
    source = read(split(tmp_path))
    names = [getattr(one, "name", None) for one in source.tree.body]
    assert {"drawn", "Encoder", "VAE", "loss_function"} <= set(names)
    assert "Unused" not in names
    assert "never ends" not in source.text
    assert [file.name for file in source.beside] == ["model.py", "encoder.py"]


def test_a_package_above_is_found_and_circles_end(tmp_path: Path) -> None:
    package, scripts = tmp_path / "nets", tmp_path / "scripts"
    package.mkdir()
    scripts.mkdir()
    (package / "__init__.py").write_text("from .model import VAE\n")
    put(package, "split/encoder", ("import torch\n", "from .model import VAE\nimport torch\n"))
    put(package, "split/model", ("from encoder", "from .encoder"))
    main = put(scripts, "split/main", (MODEL, "from nets import VAE"))
    assert check_file(main).verdict == "right"


def test_two_files_with_one_name_are_kept_apart(tmp_path: Path) -> None:
    """A class that the file itself defines is never replaced by another's of that name."""
    main = split(tmp_path, UNIFORM)
    own = program("split/encoder").split("class Unused")[0]
    put(tmp_path, "split/main", (MODEL, f"{MODEL}\n{own}"))
    assert "noise-uniform" not in {one.class_ for one in check_file(main).findings}
