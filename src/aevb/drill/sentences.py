"""Errors of a learner's code as one line."""

from __future__ import annotations


def of_error(error: BaseException) -> str:
    """Return the message of an error on one line, with its type in front.

    A NotImplementedError comes from the stub, whose message is a full sentence already.
    """
    message = " ".join(str(error).split())
    return (
        message if isinstance(error, NotImplementedError) else f"{type(error).__name__}: {message}"
    )
