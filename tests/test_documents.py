"""The documents are true: their code runs and prints what they show, their links lead somewhere."""

import contextlib
import io
import os
import re
import subprocess
import sys
from itertools import chain, pairwise
from pathlib import Path

import pytest
import torch
from helpers import done
from markdown_it import MarkdownIt

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
NAMES = [str(path.relative_to(ROOT)) for path in DOCUMENTS]
COMMAND_LINE = ROOT / "docs" / "command-line.md"
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
    """(command, expected output) for each line of a console block that starts with $."""
    parts = re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]
    return [tuple(part.split("\n", 1)) for part in parts]


def anchors(path):
    """The anchors of a page's headings, as GitHub and the site make them."""
    tokens = MarkdownIt().parse(path.read_text(encoding="utf-8"))
    heads = [after.content for token, after in pairwise(tokens) if token.type == "heading_open"]
    return {re.sub(r"[^\w -]", "", head).strip().lower().replace(" ", "-") for head in heads}


@pytest.mark.parametrize("path", DOCUMENTS, ids=NAMES)
def test_python_blocks_run(path, tmp_path, monkeypatch):
    """A document's blocks run in one session. A ``text`` block shows what the one before prints."""
    monkeypatch.chdir(tmp_path)
    tokens = [
        token
        for token in MarkdownIt().parse(path.read_text(encoding="utf-8"))
        if token.type == "fence"
    ]
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    names = {"__name__": "__main__"}
    for token, following in zip(tokens, [*tokens, None][1:], strict=True):
        if token.info.strip() == "python":
            printed = io.StringIO()
            with contextlib.redirect_stdout(printed):
                exec(compile(token.content, f"{path.name}:{token.map[0] + 1}", "exec"), names)
            if following is not None and following.info.strip() == "text":
                assert shape(printed.getvalue()) == shape(following.content)


def in_a_shell(command):
    """What a command prints when a shell starts it; it prints nothing to stderr."""
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        command,
        shell=True,
        env=os.environ | {"PATH": path},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr
    return done.stdout


def test_commands_run_as_printed(tmp_path, monkeypatch):
    """Every command of the console blocks prints what is shown, those of the README first.

    The page on the command line goes on in the folder that the README's commands leave. A shell
    starts one of the commands, and this process all others, once each: starting takes seconds.
    """
    monkeypatch.chdir(tmp_path)
    (tmp_path / "docs").symlink_to(ROOT / "docs")
    pages = [blocks(path, "console") for path in (ROOT / "README.md", COMMAND_LINE)]
    assert all(pages)
    shown = list(chain.from_iterable(map(commands, chain.from_iterable(pages))))
    printed = {}
    for command, expected in shown:
        words, _, head = command.partition(" | head -")
        if words not in printed:
            of_a_shell = words.startswith("aevb sample")
            printed[words] = in_a_shell(words) if of_a_shell else done(words.removeprefix("aevb "))
        lines = printed[words].splitlines()
        assert shape("\n".join(lines[: int(head)] if head else lines)) == shape(expected), command
    assert any(words.startswith("aevb sample") for words in printed)


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


@pytest.mark.parametrize("path", DOCUMENTS, ids=NAMES)
def test_links_lead_somewhere(path):
    text = path.read_text(encoding="utf-8")
    for target, _, anchor in re.findall(r"\]\((?!https?:)([^)#]*)(#([^)]+))?\)", text):
        page = path.parent / target if target else path
        assert page.exists(), target
        if anchor and page.suffix == ".md":
            assert anchor in anchors(page), f"{target}#{anchor}"


def test_every_command_is_named():
    from aevb.commands.cli import COMMANDS

    for path in (ROOT / "README.md", COMMAND_LINE):
        text = path.read_text(encoding="utf-8")
        assert [name for name in COMMANDS if f"aevb {name}" not in text] == []


def test_every_exit_code_is_given():
    from aevb import errors

    text = COMMAND_LINE.read_text(encoding="utf-8")
    codes = {
        error.exit_code
        for error in vars(errors).values()
        if isinstance(error, type) and hasattr(error, "exit_code")
    }
    table = re.findall(r"^\| (\d+(?:, \d+)*) \|", text, flags=re.MULTILINE)
    assert codes | {0, 1, 130, 143} == {int(code) for row in table for code in row.split(", ")}


def test_readme_is_read_in_minutes():
    lines = (ROOT / "README.md").read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 120
    assert sum(line.startswith("|") for line in lines) <= 2 + 12  # a head, a rule, twelve rows


GUESTS = ("checker", "drill", "paper")


def test_the_architecture_names_every_file_of_the_house_and_no_other():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    source = ROOT / "src" / "aevb"
    files = {str(path.relative_to(source)) for path in source.rglob("[a-z]*.py")}
    named = set(re.findall(r"`((?:[a-z_]+/)*\w+\.py)`", text))
    known = files | {path.rsplit("/", 1)[-1] for path in files} | {"tests/complexity.py"}
    known |= {"tests/test_architecture.py", "__init__.py"}
    known |= {str(path.relative_to(source)) for path in source.rglob("__init__.py")}
    assert named - known == {"table.py"}  # of the first plan

    def is_named(path):
        folder, _, name = path.rpartition("/")
        one_line = f"`{folder}/`" in text and f"`{name}`" in text  # a folder and its files
        return path in named or one_line or f"`{folder}/*.py`" in text

    house = {path for path in files if path.split("/")[0] not in GUESTS}
    assert {path for path in house if not is_named(path)} == set()
    rooms = {path.split("/")[0] for path in files if "/" in path}
    assert {room for room in rooms if f"`{room}/" not in text} == set()


def test_version_is_told_once():
    import aevb

    assert f"version: {aevb.__version__}\n" in (ROOT / "CITATION.cff").read_text()


def documented():
    """What the pages of the reference name: modules, classes and functions."""
    text = "".join(path.read_text() for path in (ROOT / "docs" / "reference").glob("*.md"))
    return set(re.findall(r"^::: ([\w.]+)$", text, flags=re.MULTILINE))


def test_every_public_name_is_in_the_reference():
    from public_names import public

    import aevb

    named = documented()
    lacking = {
        thing.__module__
        for thing in public().values()
        if thing.__module__ not in named
        and f"{thing.__module__}.{thing.__qualname__.split('.')[0]}" not in named
        and f"aevb.{thing.__qualname__.split('.')[0]}" not in named
    }
    assert lacking == set()
    assert {f"aevb.{name}" for name in aevb.__all__} - named <= {
        "aevb.datasets",
        "aevb.report",
    }  # rooms with pages of their own


def test_the_site_builds_without_a_warning(tmp_path):
    """In strict mode every link, anchor and docstring of the site is right."""
    own = ROOT / ".venv-docs" / "bin" / "python"
    python = own if own.exists() else Path(sys.executable)
    tools = "import material, mkdocs, mkdocstrings_handlers.python"
    if subprocess.run([python, "-c", tools], capture_output=True, check=False).returncode:
        pytest.skip("the site needs the tools of `make docs`")
    build = [python, "-m", "mkdocs", "build", "--strict", "--site-dir", tmp_path / "site"]
    done = subprocess.run(build, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / "site" / "docs" / "reference" / "aevb" / "index.html").read_text()
    assert 'id="aevb.fit"' in page
    assert list((tmp_path / "site" / "assets" / "stylesheets").glob("*.css"))
