"""Several processes train one model: each computes the gradient of its rows of every batch, and all
take the same step.

Started by torchrun, which tells each process its rank. Weights, moments, order and noise are the
same in all of them, so only gradients travel, once per step, in one buffer; process 0 alone writes.
A process that dies takes the group with it: the others find its connection closed, or wait
``PATIENCE`` at most, and leave with one sentence.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from aevb.datasets.batches import Shard, shard_of
from aevb.errors import LostProcessError, UsageError
from aevb.interfaces import Likelihood, Objective

PATIENCE = 60.0
"""Seconds that a process waits for the others before it takes one of them for lost."""


class Group:
    """The processes of this run. rank: this one's number; world: how many; local_rank: its number
    on this machine."""

    def __init__(self) -> None:
        self.rank, self.world = (
            int(os.environ.get("RANK", "0")),
            int(os.environ.get("WORLD_SIZE", "1")),
        )
        self.local_rank = int(os.environ.get("LOCAL_RANK", "0"))

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and speaks."""
        return self.rank == 0

    def device(self, name: str) -> torch.device:
        """This process's device of the kind ``name``: auto, cpu or cuda. Raises UsageError."""
        if name == "cuda" and not torch.cuda.is_available():
            raise UsageError(
                "device cuda: torch sees no CUDA device here. Use device cpu, or auto."
            )
        if name == "cpu" or not torch.cuda.is_available():
            return torch.device("cpu")
        return torch.device("cuda", self.local_rank % torch.cuda.device_count())

    @contextmanager
    def joined(self, device: torch.device) -> Iterator[None]:
        """Meet the other processes, if there are any and they have not met yet. Raises
        LostProcessError."""
        if self.world == 1 or dist.is_initialized():
            yield
            return
        with _others_alive():
            dist.init_process_group(
                "nccl" if device.type == "cuda" else "gloo", timeout=timedelta(seconds=PATIENCE)
            )
        try:
            yield
        finally:
            with suppress(Exception):  # the others may be gone
                dist.destroy_process_group()

    def refuse_coupled(self, objective: Objective, likelihood: Likelihood) -> None:
        """Raise UsageError for a loss that is not a mean over rows: parts of a batch would not add
        up to the whole."""
        coupled = (
            "free_bits"
            if getattr(objective, "free_bits", 0)
            else "gaussian_optimal"
            if likelihood.of_batch
            else ""
        )
        if self.world > 1 and not objective.recordable:
            raise UsageError(
                "monte_carlo_em keeps a chain for each row; it trains in one process, not in"
                f" {self.world}"
            )
        if self.world > 1 and coupled:
            raise UsageError(
                f"{coupled} looks at a whole batch at once; it trains in one process, not in"
                f" {self.world}"
            )

    def shard(self, total: int) -> Shard:
        """This process's part of a batch of ``total`` rows."""
        return shard_of(total, self.rank, self.world)

    def sum_weighted(self, tensors: Sequence[Tensor], weight: float) -> Sequence[Tensor]:
        """The sum over processes of weight times each of ``tensors``, all in one message. Raises
        LostProcessError."""
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors]).mul_(weight)
        with _others_alive():
            dist.all_reduce(flat)
        parts = flat.split([tensor.numel() for tensor in tensors])
        return [part.view_as(tensor) for part, tensor in zip(parts, tensors, strict=True)]

    def same(self, value: Any) -> Any:
        """What process 0 has, in every process: for decisions that all must take alike. Raises
        LostProcessError."""
        if self.world == 1:
            return value
        box = [value]
        with _others_alive():
            dist.broadcast_object_list(box)
        return box[0]


class _others_alive:  # noqa: N801  (a context, read as a phrase)
    def __enter__(self) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> None:
        if isinstance(error, RuntimeError):  # torch.distributed knows no narrower one
            raise LostProcessError(
                "another process of the group was lost. Start the group again, with --resume, to go"
                " on from the last save."
            ) from error
