"""Several processes that train one model.

Each process computes the gradient of its rows of every batch, and all take the same step. torchrun
starts the processes and gives each its rank. Weights, moments, order and noise are the same in all
of them, so they exchange only gradients: once per step, in one buffer. Process 0 alone writes
files. If a process dies, the whole group ends. The others find its connection closed, or wait for
``PATIENCE`` seconds at most, and then stop with an error.
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
"""Seconds that a process waits for the others before it considers one of them lost."""


class Group:
    """The processes of a run.

    rank: the number of this process. world: the number of processes. local_rank: the number of this
    process on its machine.
    """

    def __init__(self) -> None:
        self.rank = int(os.environ.get("RANK", "0"))
        self.world = int(os.environ.get("WORLD_SIZE", "1"))
        self.local_rank = int(os.environ.get("LOCAL_RANK", "0"))

    @property
    def is_first(self) -> bool:
        """Whether this process writes files and prints."""
        return self.rank == 0

    def device(self, name: str) -> torch.device:
        """The device of this process. name: auto, cpu or cuda.

        Raises UsageError for cuda where there is none.
        """
        if name == "cuda" and not torch.cuda.is_available():
            raise UsageError(
                "device cuda: torch sees no CUDA device here. Use device cpu, or auto."
            )
        if name == "cpu" or not torch.cuda.is_available():
            return torch.device("cpu")
        return torch.device("cuda", self.local_rank % torch.cuda.device_count())

    @contextmanager
    def joined(self, device: torch.device) -> Iterator[None]:
        """Connect to the other processes, if there are any, unless they are connected already.

        Raises LostProcessError.
        """
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
        """Raise UsageError for several processes and a loss that is not a mean over rows.

        The losses of parts of a batch would not add up to that of the whole batch.
        """
        if self.world == 1:
            return
        in_one = f"it trains in one process, not in {self.world}"
        coupled = objective.couples_rows_by or ("gaussian_optimal" if likelihood.of_batch else "")
        why = f"{coupled} looks at a whole batch at once" if coupled else ""
        if not objective.recordable:
            why = "monte_carlo_em keeps a chain for each row"
        if why:
            # Every process gets here, so that none takes the end of another for a loss.
            self.same(why)
            raise UsageError(f"{why}; {in_one}")

    def shard(self, total: int) -> Shard:
        """This process's part of a batch of ``total`` rows."""
        return shard_of(total, self.rank, self.world)

    def sum_weighted(self, tensors: Sequence[Tensor], weight: float) -> Sequence[Tensor]:
        """Sum each tensor over the processes, in one message.

        weight: the factor of this process's tensors in the sum. Raises LostProcessError.
        """
        flat = torch.cat([tensor.reshape(-1) for tensor in tensors]).mul_(weight)
        with _others_alive():
            dist.all_reduce(flat)
        parts = flat.split([tensor.numel() for tensor in tensors])
        return [part.view_as(tensor) for part, tensor in zip(parts, tensors, strict=True)]

    def same(self, value: Any) -> Any:
        """Return process 0's value in every process, for a decision that must be the same in all.

        Raises LostProcessError.
        """
        if self.world == 1:
            return value
        box = [value]
        with _others_alive():
            dist.broadcast_object_list(box)
        return box[0]


class _others_alive:  # noqa: N801  (reads as a phrase after ``with``)
    """Turns a broken connection into a LostProcessError."""

    def __enter__(self) -> None: ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: object
    ) -> None:
        if isinstance(error, RuntimeError):  # torch.distributed knows no narrower one
            raise LostProcessError(
                "another process of the group was lost. Start the group again, with --resume, to go"
                " on from the last save."
            ) from error
