"""The errors that aevb raises on purpose, each with the exit code of the command line.

Every message says three things: what was expected, what was found, and what to try next. Each class
also derives from the built-in exception that a Python user would catch, so ``except
FileNotFoundError`` works as it does elsewhere. The exit codes follow sysexits.h.

Example:
    >>> from aevb import Config
    >>> try:
    ...     Config(likelihood="bernouli")
    ... except ValueError as error:
    ...     print(type(error).__name__, error.exit_code)
    ...     print(str(error)[-25:])
    UsageError 2
    Did you mean 'bernoulli'?
"""

from __future__ import annotations

from typing import Any


class AevbError(Exception):
    """The base of all errors that aevb raises on purpose.

    Attributes:
        exit_code: the exit code of the command line after this error.
    """

    exit_code = 70

    def __str__(self) -> str:
        """The message as one line, whatever names and cells of a file it holds."""
        return _one_line(super().__str__())


_LONGEST = 2000


def _one_line(text: str) -> str:
    """Escape what cannot be printed, and leave out the middle of a message of many letters."""
    if len(text) > _LONGEST:
        text = f"{text[: _LONGEST // 2]} ... {text[-_LONGEST // 2 :]}"
    if text.isprintable():
        return text
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


class UsageError(AevbError, ValueError):
    """An argument or an option that cannot be used.

    Examples are an unknown name, a number out of range, and two settings that contradict each
    other.
    """

    exit_code = 2


class DataError(AevbError, ValueError):
    """Data that cannot be used: NaN, text in a numeric column, a wrong shape, a damaged file."""

    exit_code = 65


class NotFoundError(AevbError, FileNotFoundError):
    """A file, a folder or a run that does not exist."""

    exit_code = 66


class OutputExistsError(AevbError, FileExistsError):
    """An output that would overwrite something."""

    exit_code = 73


class CannotWriteError(AevbError, OSError):
    """An output that could not be written, for example on a full disk."""

    exit_code = 74


class DivergedError(AevbError, ArithmeticError):
    """Training that produced a loss that is not a finite number.

    Attributes:
        run: the run after its last good epoch, or None if the first epoch failed.
    """

    exit_code = 70
    run: Any = None


class LostProcessError(AevbError, RuntimeError):
    """One of several processes that train together has ended or does not answer."""

    exit_code = 75


class DamagedCheckpointWarning(UserWarning):
    """The newest save of a run is damaged, so something older or smaller was loaded.

    That is the save before it, or the model of the newest save without its training state.
    """
