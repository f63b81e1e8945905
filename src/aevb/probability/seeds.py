"""Seeds as pure functions of a run's seed and of counters, so that no generator carries state."""

from __future__ import annotations

import hashlib

import torch


def counter_seed(seed: int, *counters: int | str) -> int:
    """A seed in [0, 2**63) for one use of randomness, named by ``counters``: (epoch, step),
    ("split",), ...

    A hash, so that neighbouring counters and neighbouring seeds give unrelated streams.
    """
    # int(): NumPy's integers have another repr.
    text = repr((int(seed), *(c if isinstance(c, str) else int(c) for c in counters))).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1


def generator(
    seed: int, *counters: int | str, device: torch.device | str = "cpu"
) -> torch.Generator:
    """A random generator started at ``counter_seed(seed, *counters)``."""
    return torch.Generator(device).manual_seed(counter_seed(seed, *counters))
