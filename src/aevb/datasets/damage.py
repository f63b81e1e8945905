"""The errors that a damaged file causes, and how to explain them to the user."""

from __future__ import annotations

import lzma
import struct
import tokenize
import zipfile
import zlib
from typing import Any

DAMAGED = (
    EOFError, OSError, ValueError, KeyError, TypeError, ArithmeticError, MemoryError, RuntimeError,
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, tokenize.TokenError,
)  # fmt: skip
"""Errors that numpy, zipfile, gzip, lzma and pandas raised on damaged bytes. zipfile raises
RuntimeError for an encrypted archive or an unknown compression."""


LONGEST = 200
"""The most letters of a library's message, or of a file's text, in one of ours."""


_SHOWN = 60
# The most letters of a name or of a cell.


def short(text: str, most: int = LONGEST) -> str:
    """Bring text to one line of at most ``most`` letters, without control characters.

    Example:
        >>> from aevb.datasets.damage import short
        >>> short("no\\n table"), short("a" * 30, most=9)
        ('no table', 'aaaaaa...')
    """
    cut = text if len(text) <= 4 * most else text[: 4 * most] + " ..."  # it may have megabytes
    line = " ".join("".join(c if c.isprintable() else " " for c in cut).split())
    return line if len(line) <= most else line[: most - 3] + "..."


def in_quotes(value: Any) -> str:
    """Write a name or a cell in quotes for a message. The end of a long one is left out.

    Example:
        >>> from aevb.datasets.damage import in_quotes
        >>> in_quotes("age"), len(in_quotes("a" * 1000))
        ("'age'", 60)
    """
    text = repr(value[: 2 * _SHOWN] if isinstance(value, str) else value)
    return text if len(text) <= _SHOWN else f"{text[: _SHOWN - 4]}...{text[0]}"


def why(error: BaseException) -> str:
    """Explain in a phrase why a file cannot be read, and what to do."""
    text = short(str(error))
    if "pickle" in text.lower():
        return (
            "it holds Python objects, which are never loaded because loading them can run code."
            " Save plain numbers."
        )
    return (
        f"it is damaged or cut short ({text or type(error).__name__}). Copy or download it again."
    )
