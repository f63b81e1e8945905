"""Places in a program: a file and a line in it."""

from __future__ import annotations

from typing import NamedTuple

STRANGER = "<stranger>"
"""The name of the module that holds a stranger's code, and its file name when compiled."""


class Place(NamedTuple):
    """A line of a file; the file has the name that it is compiled under."""

    file: str
    line: int


def beside(number: int) -> str:
    """The compiled name of the n-th file that the program imports from, counted from 1."""
    return f"{STRANGER}{number:02}"


def is_strangers(file: str) -> bool:
    """Whether the file name is that of the program, or of a file that it imports from."""
    return file.startswith(STRANGER)
