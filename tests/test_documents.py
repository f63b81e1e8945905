"""The documents are true: their code runs, their output is what is printed, their links lead
somewhere."""

import contextlib
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])
NUMBER = re.compile(r"\d[\d,.]*")


def blocks(path, language):
    """Fenced blocks of one language, in order."""
    tokens = MarkdownIt().parse(path.read_text(encoding="utf-8"))
    return [
        token.content
        for token in tokens
        if token.type == "fence" and token.info.strip() == language
    ]


def shape(text):
    """Text without its numbers: machines differ in the last digits, and in speed."""
    return re.sub(r" +", " ", NUMBER.sub("#", text)).strip()


def commands(block):
    """(command, expected output) of a console block: lines that start with $, and what follows
    them."""
    parts = re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]
    return [tuple(part.split("\n", 1)) for part in parts]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)
def test_python_blocks_run(path, tmp_path, monkeypatch):
    """All of a document's blocks in one session, each with the output that the block behind it
    shows, if there is one."""
    monkeypatch.chdir(tmp_path)
    tokens = [
        token
        for token in MarkdownIt().parse(path.read_text(encoding="utf-8"))
        if token.type == "fence"
    ]
    names = {"__name__": "__main__"}
    for token, following in zip(tokens, [*tokens, None][1:], strict=True):
        if token.info.strip() == "python":
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(compile(token.content, f"{path.name}:{token.map[0] + 1}", "exec"), names)
            if following is not None and following.info.strip() == "text":
                assert shape(printed.getvalue()) == shape(following.content)


def test_readme_commands_run_as_printed(tmp_path):
    """Every command of the README's console blocks, in one folder, with the output that is printed
    there."""
    environment = os.environ | {
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    }
    seen = 0
    for block in blocks(ROOT / "README.md", "console"):
        for command, expected in commands(block):
            done = subprocess.run(
                command,
                shell=True,
                cwd=tmp_path,
                env=environment,
                capture_output=True,
                text=True,
                check=False,
            )
            assert done.returncode == 0, done.stderr
            assert shape(done.stdout) == shape(expected), command
            seen += 1
    assert seen >= 4


def test_the_likelihood_of_the_example_is_one_file_one_line_and_one_case(tmp_path, monkeypatch):
    """The file as printed, the line as printed, the case as printed: it passes the contract,
    trains, saves and loads."""
    from helpers import (
        check_likelihood_is_normalised,
        check_mean_of_a_likelihood,
        check_shapes_of_a_likelihood,
    )

    import aevb
    from aevb.parts.likelihoods import LIKELIHOODS

    text = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    (tmp_path / "laplace_of_the_example.py").write_text(
        blocks(ROOT / "docs" / "extending.md", "python")[0]
    )
    monkeypatch.syspath_prepend(tmp_path)
    name, home = re.search(r'^ +"(laplace)": "(.*)",$', text, re.MULTILINE).groups()
    made = re.search(r'^ +"laplace": lambda: (\w+)\((\d)\),$', text, re.MULTILINE)
    monkeypatch.setitem(
        LIKELIHOODS._entries,
        name,
        home.replace("aevb.parts.likelihoods.laplace", "laplace_of_the_example"),
    )
    case = LIKELIHOODS[name]
    assert case.__name__ == made[1]
    part = case(int(made[2])).double()
    check_shapes_of_a_likelihood(part)
    for check in (check_likelihood_is_normalised, check_mean_of_a_likelihood):
        check(part, torch.randn(part.num_features, dtype=torch.float64))
    settings = aevb.Config(likelihood=name, hidden=(8,), latent_dim=2, epochs=1)
    run = aevb.fit(aevb.datasets.load("moons"), settings, out=tmp_path / "run")
    assert type(aevb.load(tmp_path / "run").model.likelihood) is type(run.model.likelihood) is case


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda p: p.name)
def test_links_lead_somewhere(path):
    for target in re.findall(r"\]\(([^)#]+)\)", path.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (path.parent / target).exists(), target


def test_readme_names_every_command():
    from aevb.commands.cli import COMMANDS

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert [name for name in COMMANDS if f"aevb {name}" not in text] == []


def test_readme_gives_every_exit_code():
    from aevb import errors

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    codes = {
        error.exit_code
        for error in vars(errors).values()
        if isinstance(error, type) and hasattr(error, "exit_code")
    }
    table = re.findall(r"^\| (\d+(?:, \d+)*) \|", text, flags=re.MULTILINE)
    assert codes | {0, 1, 130, 143} == {int(code) for row in table for code in row.split(", ")}


def test_version_is_told_once():
    import aevb

    assert f"version: {aevb.__version__}\n" in (ROOT / "CITATION.cff").read_text()
