"""Which rows a step sees, and the seed of its noise: pure functions of (seed, epoch, step).

Nothing here remembers anything. Epoch 7 of a run is the same whether the six before it were run, resumed or skipped.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import torch
from torch import Tensor


def counter_seed(seed: int, *counters: int | str) -> int:
    """A seed in [0, 2**63) for one use of randomness, named by ``counters``: (epoch, step), ("split",), ...

    A hash, so that neighbouring counters and neighbouring seeds give unrelated streams.
    """
    # int(): NumPy's integers have another repr.
    text = repr((int(seed), *(c if isinstance(c, str) else int(c) for c in counters))).encode()
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "big") >> 1


def generator(seed: int, *counters: int | str, device: torch.device | str = "cpu") -> torch.Generator:
    """A random generator started at ``counter_seed(seed, *counters)``."""
    return torch.Generator(device).manual_seed(counter_seed(seed, *counters))


def epoch_batches(rows: int, batch_size: int, seed: int, epoch: int) -> Iterator[Tensor]:
    """Yield the indices (B,) of each batch of an epoch, in an order of its own; the last may be smaller, none is dropped."""
    order = torch.randperm(rows, generator=generator(seed, "order", epoch))
    yield from order.split(batch_size)


def steps_per_epoch(rows: int, batch_size: int) -> int:
    """How many batches ``epoch_batches`` yields."""
    return -(-rows // batch_size)


def split_rows(rows: int, fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """Split range(rows) at random into the rest and a held-out part of about ``fraction``, one row each at least, of two."""
    held_out = max(0, min(max(1, round(rows * fraction)), rows - 1))
    order = torch.randperm(rows, generator=generator(seed, "split"))
    return order[held_out:].sort().values, order[:held_out].sort().values
