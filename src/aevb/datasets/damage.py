"""The errors that a damaged file causes, and how to explain them to the user."""

from __future__ import annotations

import lzma
import struct
import tokenize
import zipfile
import zlib

DAMAGED = (
    EOFError, OSError, ValueError, KeyError, TypeError, ArithmeticError, MemoryError, RuntimeError,
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error, tokenize.TokenError,
)  # fmt: skip
"""Errors that numpy, zipfile, gzip, lzma and pandas raised on damaged bytes. zipfile raises RuntimeError
for an encrypted archive or an unknown compression."""


LONGEST = 200
"""The most letters of a library's message, or of a file's text, in one of ours."""


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
