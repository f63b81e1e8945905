"""The help of a command, made from the docstring of its function."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import TypeVar

Command = TypeVar("Command", bound=Callable[..., object])

PARAMETERS = "\n\nParameters\n----------\n"


def unwrapped(command: Command) -> Command:
    """Join the lines of each paragraph and of each option's description in a docstring.

    The help would keep the line breaks of the docstring, which do not fit the terminal's width.
    """
    about, header, parameters = (inspect.getdoc(command) or "").partition(PARAMETERS)
    paragraphs = [" ".join(paragraph.split("\n")) for paragraph in about.split("\n\n")]
    lines: list[str] = []
    for line in parameters.splitlines():
        if line.startswith(" ") and lines and lines[-1].startswith(" "):
            lines[-1] += f" {line.strip()}"
        else:
            lines.append(line)
    command.__doc__ = "\n\n".join(paragraphs) + header + "\n".join(lines)
    return command
