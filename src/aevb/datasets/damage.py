"""The errors that a damaged file causes, and how to explain them to the user."""

from __future__ import annotations

import struct
import tokenize
import zipfile
import zlib

DAMAGED = (
    EOFError, OSError, ValueError, KeyError, TypeError, ArithmeticError, MemoryError, RuntimeError,
    zipfile.BadZipFile, zlib.error, struct.error, tokenize.TokenError,
)  # fmt: skip
"""Errors that numpy, zipfile, gzip and pandas raised on damaged bytes. zipfile raises RuntimeError
for an encrypted archive or an unknown compression."""


def why(error: BaseException) -> str:
    """Explain in a phrase why a file cannot be read, and what to do."""
    text = " ".join(str(error).split())
    if "pickle" in text.lower():
        return (
            "it holds Python objects, which are never loaded because loading them can run code."
            " Save plain numbers."
        )
    return (
        f"it is damaged or cut short ({text or type(error).__name__}). Copy or download it again."
    )
