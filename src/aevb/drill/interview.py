"""The interview: questions, model answers, and marks that learners give themselves.

A learner marks each point of an answer. Questions with a missed point are asked again.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Mapping
from typing import Any

from aevb.drill.questions import BY_KEY, CORE, FOLLOW_UPS, QUESTIONS, Question

WIDTH = 96
Marks = Mapping[str, Mapping[str, Any]]


class Left(Exception):  # noqa: N818 - this is no error: the learner has had enough for now
    """Raised by ``ask`` when the learner wants to leave the interview."""


def missed(marks: Marks) -> list[Question]:
    """Return the questions that had a missed point when they were last asked."""
    return [
        question
        for question in QUESTIONS
        if question.key in marks and not all(marks[question.key]["marks"])
    ]


def rounds(marks: Marks) -> list[tuple[str, list[Question]]]:
    """Return the remaining rounds in order, each with a heading.

    The core questions come first, then the missed ones, then the follow-ups.
    """
    new = [question for question in CORE if question.key not in marks]
    more = [question for question in FOLLOW_UPS if question.key not in marks]
    found = [
        ("The four core questions", new),
        ("Once more, the questions with a missed point", missed(marks)),
        ("Follow-up questions", more),
    ]
    return [(heading, questions) for heading, questions in found if questions]


def hold(
    marks: Marks,
    ask: Callable[[str], str],
    say: Callable[[str], None],
    keep: Callable[[str, list[bool], str], None],
) -> None:
    """Hold one round: the first that ``rounds`` returns, or all questions if none remains.

    Args:
        marks: The marks so far, by question.
        ask: Shows a prompt and returns the learner's line. It raises Left to end the round.
        say: Shows a text to the learner.
        keep: Stores a question's key, marks and answer. It is called after each question, so
            that a learner who leaves loses nothing.
    """
    heading, questions = next(
        iter(rounds(marks)),
        ("Every question was answered in full; all of them again", list(QUESTIONS)),
    )
    say(
        f"{heading}: {len(questions)}. Type an answer, or say it aloud and press Enter."
        " Ctrl-D leaves; nothing is lost."
    )
    for number, question in enumerate(questions, start=1):
        say(f"\n{number}/{len(questions)}  {_wrap(question.text, '     ').lstrip()}")
        answer = ask("> ")
        say(f"\n{_wrap(question.answer, '  | ')}\n")
        keep(question.key, [_yes(ask, point) for point in question.points], answer)


def _yes(ask: Callable[[str], str], point: str) -> bool:
    while (reply := ask(f"  said: {point}? [y/n] ").strip().lower()) not in ("y", "yes", "n", "no"):
        pass
    return reply.startswith("y")


def note(interview: dict[str, dict[str, Any]], key: str, marks: list[bool], answer: str) -> None:
    """Store the marks of a question, and append the typed answer to the earlier ones.

    Args:
        interview: The field ``interview`` of a ``State``. It is changed in place.
        key: The question's key.
        marks: One mark for each point of the question.
        answer: The typed answer. An empty one is not kept.
    """
    answers = list(interview.get(key, {}).get("answers", []))
    if answer.strip():
        answers.append(answer.strip())
    interview[key] = {"marks": marks, "answers": answers}


def summary(marks: Marks) -> str:
    """Return in one line how many questions are answered, and which will come back."""
    back = [question.key for question in missed(marks)]
    asked = sum(key in BY_KEY for key in marks)
    tail = f"; to come back: {', '.join(back)}" if back else ""
    return f"{asked} of {len(QUESTIONS)} questions answered{tail}"


def _wrap(text: str, indent: str) -> str:
    return textwrap.fill(text, WIDTH, initial_indent=indent, subsequent_indent=indent)
