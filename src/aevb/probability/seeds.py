"""Compute each seed from the run's seed and counters, so that no generator state is saved."""

from __future__ import annotations

import hashlib

import torch


def counter_seed(seed: int, *counters: int | str) -> int:
    """Return a seed in [0, 2**63) for one use of randomness.

    ``counters`` name the use, for example (epoch, step) or ("split",). The result is a hash, so
    neighbouring counters and neighbouring seeds give unrelated random numbers.

    Example:
        >>> from aevb.probability.seeds import counter_seed
        >>> counter_seed(0, "split") == counter_seed(0, "split")
        True
        >>> counter_seed(0, 1, 2) == counter_seed(0, 1, 3)
        False
    """
    # int(): NumPy's integers have another repr.
    text = repr((int(seed), *(c if isinstance(c, str) else int(c) for c in counters))).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1


def generator(
    seed: int, *counters: int | str, device: torch.device | str = "cpu"
) -> torch.Generator:
    """Return a random generator that starts at ``counter_seed(seed, *counters)``.

    Example:
        >>> import torch
        >>> from aevb.probability.seeds import generator
        >>> first = torch.rand(3, generator=generator(0, "noise"))
        >>> torch.equal(first, torch.rand(3, generator=generator(0, "noise")))
        True
    """
    return torch.Generator(device).manual_seed(counter_seed(seed, *counters))
