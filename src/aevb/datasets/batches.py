"""Which rows a step sees, and the seed of its noise: pure functions of (seed, epoch, step).

Nothing here remembers anything. Epoch 7 of a run is the same whether the six before it were run,
resumed or skipped.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from aevb.probability.seeds import counter_seed, generator


def epoch_batches(rows: int, batch_size: int, seed: int, epoch: int) -> Iterator[Tensor]:
    """Yield the indices (B,) of each batch of an epoch, in an order of its own; the last may be
    smaller, none is dropped."""
    order = torch.randperm(rows, generator=generator(seed, "order", epoch))
    yield from order.split(batch_size)


class Shard(NamedTuple):
    """The rows of a batch that one process works on: ``rows`` of ``total``, from position ``first``
    on."""

    first: int
    rows: int
    total: int
    weight: float = 1.0

    @property
    def is_whole(self) -> bool:
        """Whether one process has the whole batch."""
        return self.rows == self.total


def shard_of(total: int, rank: int, world: int) -> Shard:
    """The part of a batch of ``total`` rows for process ``rank`` of ``world``.

    Where there are fewer rows than processes, those that have none repeat the first one, with
    weight 0.
    """
    first, stop = total * rank // world, total * (rank + 1) // world
    return (
        Shard(first, stop - first, total, (stop - first) / total)
        if stop > first
        else Shard(0, 1, total, 0.0)
    )


def random_bits(seed: int, epoch: int, step: int, shard: Shard, columns: int) -> Tensor:
    """Uniform 32-bit integers for the rows of ``shard``: (rows, columns), int32, by (seed, epoch,
    step) and place alone."""
    bits = np.random.PCG64DXSM(counter_seed(seed, "binarize", epoch, step))
    words = -(
        -columns // 2
    )  # of 64 bits, for each row: a process skips those of the rows before its own
    bits.advance(shard.first * words)
    raw = bits.random_raw(shard.rows * words).view(np.int32).reshape(shard.rows, 2 * words)
    return torch.from_numpy(raw[:, :columns])


def binarize(probability: Tensor, bits: Tensor) -> Tensor:
    """1 with the given probability, else 0. probability: float32 in [0, 1]; bits: uniform int32 of
    the same shape.

    Of the 2^24 values of the upper 24 bits, those below 2^24 p give 1: right to 2^-24, and exact
    for p = 0 and p = 1.
    """
    upper = (bits >> 8) + 2**23  # whole numbers from 0 to 2^24 - 1, all of which float32 has
    return (upper.float() < probability * 2.0**24).to(probability.dtype)


def steps_per_epoch(rows: int, batch_size: int) -> int:
    """How many batches ``epoch_batches`` yields."""
    return -(-rows // batch_size)


def split_rows(rows: int, fraction: float, seed: int) -> tuple[Tensor, Tensor]:
    """Split range(rows) at random into the rest and a held-out part of about ``fraction``, one row
    each at least, of two."""
    held_out = max(0, min(max(1, round(rows * fraction)), rows - 1))
    order = torch.randperm(rows, generator=generator(seed, "split"))
    return order[held_out:].sort().values, order[:held_out].sort().values
