"""Where something stands: a file and a line of it."""

from __future__ import annotations

from typing import NamedTuple

STRANGER = "<stranger>"
"""The module that a stranger's code is in, and the file name that it is compiled under."""


class Place(NamedTuple):
    """A line of a file, which goes by the name that it is compiled under."""

    file: str
    line: int


def beside(number: int) -> str:
    """The name that the code of the n-th file beside the program is compiled under, n from 1 on."""
    return f"{STRANGER}{number:02}"


def is_strangers(file: str) -> bool:
    """Whether code of that file name is the program's own, or comes from a file beside it."""
    return file.startswith(STRANGER)
