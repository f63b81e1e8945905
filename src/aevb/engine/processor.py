"""What this machine's processor is good at, as far as it decides how steps are executed.

The answers depend on the processor alone, so they are the same every time.
"""

from __future__ import annotations

import platform
from functools import cache
from pathlib import Path

import torch

CPUINFO = Path("/proc/cpuinfo")
"""Where Linux says who made the processor."""


@cache
def multiplies_bf16() -> bool:
    """Whether the processor has instructions for products in bfloat16.

    Without them torch makes float32 of each number first, which takes ten times as long.

    Example:
        >>> from aevb.engine.processor import multiplies_bf16
        >>> multiplies_bf16() in (True, False)
        True
    """
    return _has("_is_avx512_bf16_supported") or _has("_is_amx_tile_supported")


@cache
def is_faster_with_onednn() -> bool:
    """Whether oneDNN multiplies float32 matrices faster than MKL, which torch uses.

    MKL does not use AVX-512 on processors that Intel did not make, and oneDNN does.

    Example:
        >>> from aevb.engine.processor import is_faster_with_onednn
        >>> is_faster_with_onednn() in (True, False)
        True
    """
    return torch.backends.cpu.get_cpu_capability().startswith("AVX512") and not _is_intel()


def _has(name: str) -> bool:
    """An answer of torch about the processor. It has no public name for all of them."""
    ask = getattr(torch.cpu, name, None)
    return bool(ask is not None and ask())


def _is_intel() -> bool:
    try:
        found = CPUINFO.read_text(encoding="utf-8", errors="replace")
    except OSError:  # no Linux
        found = platform.processor()
    return "GenuineIntel" in found
