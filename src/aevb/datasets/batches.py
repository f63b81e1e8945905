"""Decide which rows a step sees, and seed its random bits.

All functions depend only on (seed, epoch, step) and keep no state. Epoch 7 of a run is the same
whether the first six epochs ran in the same process or not.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from aevb.probability.seeds import counter_seed, generator


def epoch_batches(rows: int, batch_size: int, seed: int, epoch: int) -> Iterator[Tensor]:
    """Yield the row numbers (B,) of each batch of an epoch.

    Every epoch has a different random order. The last batch may be smaller; no row is dropped.

    Args:
        rows: How many rows there are.
        batch_size: B.
        seed: The seed of the run.
        epoch: The number of the epoch.

    Example:
        >>> from aevb.datasets.batches import epoch_batches
        >>> batches = list(epoch_batches(10, 4, seed=0, epoch=1))
        >>> [len(batch) for batch in batches]
        [4, 4, 2]
        >>> sorted(row for batch in batches for row in batch.tolist())
        [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    """
    order = torch.randperm(rows, generator=generator(seed, "order", epoch))
    yield from order.split(batch_size)


class Shard(NamedTuple):
    """The part of a batch that one process works on.

    It holds ``rows`` of the batch's ``total`` rows, from position ``first`` on. ``weight`` is its
    share of the batch.

    Example:
        >>> from aevb.datasets.batches import Shard
        >>> Shard(first=0, rows=8, total=8).is_whole
        True
    """

    first: int
    rows: int
    total: int
    weight: float = 1.0

    @property
    def is_whole(self) -> bool:
        """Whether one process has the whole batch."""
        return self.rows == self.total


def shard_of(total: int, rank: int, world: int) -> Shard:
    """Return the part of a batch that belongs to one process.

    If there are fewer rows than processes, a process without a row repeats the first row with
    weight 0.

    Args:
        total: Rows in the batch.
        rank: The number of the process, from 0.
        world: How many processes there are.

    Example:
        >>> from aevb.datasets.batches import shard_of
        >>> shard_of(10, rank=1, world=4)
        Shard(first=2, rows=3, total=10, weight=0.3)
    """
    first, stop = total * rank // world, total * (rank + 1) // world
    if stop == first:
        return Shard(0, 1, total, 0.0)
    return Shard(first, stop - first, total, (stop - first) / total)


def random_bits(seed: int, epoch: int, step: int, shard: Shard, columns: int) -> Tensor:
    """Draw uniform 32-bit integers for the rows of a shard: (rows, columns), int32.

    A row gets the same integers for any division of the batch among processes.

    Args:
        seed: The seed of the run.
        epoch: The number of the epoch.
        step: The number of the step in the epoch.
        shard: The rows of this process.
        columns: Integers for each row.

    Example:
        >>> from aevb.datasets.batches import random_bits, shard_of
        >>> whole = random_bits(0, 1, 2, shard_of(6, 0, 1), columns=5)
        >>> second = random_bits(0, 1, 2, shard_of(6, 1, 2), columns=5)
        >>> whole.shape, bool((whole[3:] == second).all())
        (torch.Size([6, 5]), True)
    """
    bits = np.random.PCG64DXSM(counter_seed(seed, "binarize", epoch, step))
    words = -(-columns // 2)  # 64-bit words for each row
    bits.advance(shard.first * words)  # Skip the words of the rows before this shard.
    raw = bits.random_raw(shard.rows * words).view(np.int32).reshape(shard.rows, 2 * words)
    return torch.from_numpy(raw[:, :columns])


def binarize(probability: Tensor, bits: Tensor) -> Tensor:
    """Draw 1 with the given probability, else 0.

    The upper 24 bits of each integer have 2^24 values; those below 2^24 p give 1. The probability
    is right to 2^-24, and exact for p = 0 and p = 1.

    Args:
        probability: float32 in [0, 1].
        bits: Uniform int32 of the same shape, from ``random_bits``.

    Example:
        >>> import torch
        >>> from aevb.datasets.batches import Shard, binarize, random_bits
        >>> p = torch.tensor([[0.0, 0.3, 1.0]]).expand(10_000, 3)
        >>> bits = random_bits(0, 1, 1, Shard(0, 10_000, 10_000), columns=3)
        >>> [round(share, 1) for share in binarize(p, bits).mean(0).tolist()]
        [0.0, 0.3, 1.0]
    """
    upper = (bits >> 8) + 2**23  # integers from 0 to 2^24 - 1, which float32 holds exactly
    return (upper.float() < probability * 2.0**24).to(probability.dtype)


def steps_per_epoch(rows: int, batch_size: int) -> int:
    """Return how many batches ``epoch_batches`` yields.

    Example:
        >>> from aevb.datasets.batches import steps_per_epoch
        >>> steps_per_epoch(rows=10, batch_size=4)
        3
    """
    return -(-rows // batch_size)


def split_rows(rows: int, fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """Split the row numbers 0, 1, ... at random into training rows and held-out rows.

    Both parts are in ascending order. Each has at least one row if there are two rows or more.

    Args:
        rows: How many rows there are.
        fraction: The share of rows to hold out. It is rounded to whole rows.
        seed: The seed of the run.

    Returns:
        The numbers of the training rows, and those of the held-out rows.

    Example:
        >>> from aevb.datasets.batches import split_rows
        >>> training, held_out = split_rows(100, fraction=0.2, seed=0)
        >>> len(training), len(held_out)
        (80, 20)
    """
    held_out = max(0, min(max(1, round(rows * fraction)), rows - 1))
    order = torch.randperm(rows, generator=generator(seed, "split"))
    return order[held_out:].sort().values, order[:held_out].sort().values
