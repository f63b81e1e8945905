"""The documents agree with the drill, and every claim names a command or a test that exists."""

import re
from pathlib import Path

import pytest

from aevb.commands.cli import COMMANDS
from aevb.commands.drill import drill
from aevb.drill.questions import BY_KEY, CORE, QUESTIONS
from aevb.drill.rubric import lines
from aevb.drill.state import State

ROOT = Path(__file__).parents[1]
FAQ, SHEET, DRILL = (
    (ROOT / "docs" / name).read_text(encoding="utf-8")
    for name in ("faq.md", "cheat-sheet.md", "drill.md")
)


def plain(text):
    return " ".join(text.replace("\\*", "*").split())


@pytest.mark.parametrize("question", QUESTIONS, ids=lambda q: q.key)
def test_the_faq_is_the_interview_and_names_what_shows_it(question):
    section = next(
        part
        for part in re.split(r"^### ", FAQ, flags=re.MULTILINE)
        if part.startswith(question.text)
    )
    assert plain(question.answer) in plain(section)
    assert re.findall(r"^\* (.*)$", section.replace("\\*", "*"), re.MULTILINE) == list(
        question.points
    )
    assert re.search(
        r"^Shown by: .*(`aevb |`tests/|block below)", plain(section[section.index("Shown by") :])
    )


def test_there_is_nothing_else_in_the_faq():
    assert len(re.findall(r"^### ", FAQ, re.MULTILINE)) == len(QUESTIONS) == len(BY_KEY)
    assert [question.key for question in CORE] == [
        "autoencoder",
        "reparameterisation",
        "logvar",
        "kl",
    ]
    assert all(question.points and question.text.endswith("?") for question in QUESTIONS)


def test_every_row_of_the_cheat_sheet_names_what_shows_it():
    rows = [
        line
        for line in SHEET.splitlines()
        if line.startswith("| ") and not line.startswith("| thing")
    ]
    assert len(rows) >= 12
    assert [
        row
        for row in rows
        if not re.search(r"`aevb |`tests/|check \d|block below", row.rsplit("|", 2)[1])
    ] == []


@pytest.mark.parametrize("text", [FAQ, SHEET, DRILL], ids=["faq", "cheat-sheet", "drill"])
def test_what_is_named_exists(text):
    for file, name in re.findall(r"`(tests/\w+\.py)(?:::(\w+))?`", text):
        assert not name or f"def {name}(" in (ROOT / file).read_text(encoding="utf-8"), (file, name)
        assert (ROOT / file).exists()
    for name in re.findall(r"`aevb (\w+)", text):
        assert name in {*COMMANDS, "check"}, name  # aevb check is the checker's own command
    for name in re.findall(r"aevb drill (\w+)", text):
        assert name in drill, name


def test_the_document_names_every_command():
    names = {name for name in drill if not name.startswith("-")}
    table = DRILL[DRILL.index("## Commands") : DRILL.index("Exit codes")]
    assert names - {"watch"} <= set(re.findall(r"`(\w+)`", table)), names
    assert "`watch`" in table


def test_the_rubric_has_four_lines():
    assert len(lines(State())) == 4
    assert {line.verdict for line in lines(State())} == {"not shown"}
