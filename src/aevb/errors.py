"""What can go wrong through no fault of the program, each with the exit code that the command line
returns for it.

Every message says what was expected, what was found and what to try next. The classes also derive
from the built-in exception that a Python user would catch, so that ``except FileNotFoundError``
works as it does elsewhere.
"""

from __future__ import annotations

from typing import Any


class AevbError(Exception):
    """Base of all errors that aevb raises on purpose. ``exit_code``: what the command line returns
    (sysexits.h)."""

    exit_code = 70


class UsageError(AevbError, ValueError):
    """An argument or an option that cannot be used: an unknown name, a number out of range, a pair
    that makes no sense."""

    exit_code = 2


class DataError(AevbError, ValueError):
    """Data that cannot be used: NaN, text in a numeric column, another shape, a damaged file."""

    exit_code = 65


class NotFoundError(AevbError, FileNotFoundError):
    """A file, a folder or a run that is not there."""

    exit_code = 66


class OutputExistsError(AevbError, FileExistsError):
    """An output that would overwrite something."""

    exit_code = 73


class CannotWriteError(AevbError, OSError):
    """An output that could not be written, for example on a full disk."""

    exit_code = 74


class DivergedError(AevbError, ArithmeticError):
    """Training that produced a loss that is not a finite number.

    ``run``: the run as it was after the last epoch that ended well, or None if the first did not.
    """

    exit_code = 70
    run: Any = None


class LostProcessError(AevbError, RuntimeError):
    """A process of a group that trains together has gone, or does not answer."""

    exit_code = 75


class DamagedCheckpointWarning(UserWarning):
    """The newest save of a run is damaged, and an older one, or only its model, was loaded in its
    place."""
