"""Rows of one data set on their way into a step: kept as they were stored where that is smaller, in
memory or in their file.

Grey levels of 8 bits stay 8 bits until they are in the step, a quarter of what float32 would move;
so do integers within 0..255 and bits. Everything else is kept as the model's numbers. What a step
sees is the same, to the last bit, whether the rows are in memory or read from their file: which
rows, in which order, and with which bits where they were binarised once.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aevb.datasets.schema import FEWEST_SAMPLED, MOST_NUMBERS, Data, Schema
from aevb.datasets.stored import FileRows
from aevb.probability.seeds import generator

AHEAD = 2
"""Batches that are read, or wait, while a step runs."""


class Rows(ABC):
    """The rows of ``data`` for a model of ``schema``. seed: of the draw, where the schema binarises
    once.

    Raises DataError for rows that the schema does not allow.
    """

    def __init__(self, data: Data, schema: Schema, seed: int, device: torch.device) -> None:
        schema.require(data)
        self.schema, self.seed, self.device = schema, seed, device
        self.shape = (len(data), schema.data_dim)
        low, high = data.range
        decided = schema.binarize in ("static", "threshold")  # bits before they are stored
        whole = data.survey.bits or (data.rows.dtype.kind in "ui" and low >= 0 and high <= 255)
        self._as_found = whole and not decided
        self.dtype = torch.uint8 if whole or decided else torch.float32
        self._bits = decided or (set(schema.shift), set(schema.scale)) == ({0.0}, {1.0})
        self._narrow = (
            self._as_found
            and len(schema.scale) == len(schema.shift) == 1
            and _divides_alike(schema)
        )
        self._shift = torch.tensor(schema.shift, dtype=torch.float64, device=device)
        self._scale = torch.tensor(schema.scale, dtype=torch.float64, device=device)

    def __len__(self) -> int:
        return self.shape[0]

    @abstractmethod
    def take(self, index: Tensor) -> Tensor:
        """index: (B,), integers from 0 -> (B, D), uint8 or float32, on the device."""

    @abstractmethod
    def batches(self, indices: Iterator[Tensor]) -> Iterator[Tensor]:
        """Yield ``take(index)`` for each of ``indices``, which are asked for a few steps ahead, in
        the caller's thread."""

    def to_x(self, stored: Tensor) -> Tensor:
        """stored: (B, D), from ``take`` -> x: (B, D), the model's numbers, bit by bit those of
        ``Schema.to_model``.

        Made of tensor operations alone, to be compiled into a step. By tensors: a quotient by a
        Python number is rounded in other ways on other devices.
        """
        if stored.dtype == torch.float32:
            return stored
        if self._bits:
            return stored.float()
        if self._narrow:
            return (stored.float() - self._shift.float()) / self._scale.float()
        return ((stored.double() - self._shift) / self._scale).float()

    def split(self, size: int) -> Iterator[Tensor]:
        """Yield x of all rows in order, ``size`` at a time, as ``Tensor.split`` does: (size, D),
        the last may be smaller.

        Of rows of many numbers fewer, so that 64 MiB hold them.
        """
        size = max(1, min(size, MOST_NUMBERS // self.shape[1]))
        indices = (
            torch.arange(start, min(start + size, len(self))) for start in range(0, len(self), size)
        )
        for stored in self.batches(indices):
            yield self.to_x(stored)

    def head(self, n: int) -> Tensor:
        """x of the first n rows, or of all if there are fewer: (n, D)."""
        return self._x(torch.arange(min(n, len(self))))

    def sample(self, most: int) -> Tensor:
        """x of a fixed random subset of at most ``most`` rows, in their order, and fewer of rows of
        many numbers: (n, D)."""
        most = min(most, max(FEWEST_SAMPLED, MOST_NUMBERS // self.shape[1]))
        if len(self) <= most:
            return self.head(most)
        return self._x(
            torch.randperm(len(self), generator=generator(0, "sample"))[:most].sort().values
        )

    def _x(self, index: Tensor) -> Tensor:
        """Many rows at once, without the double precision of all of them: index (n,) -> x (n, D)."""
        x = torch.empty((len(index), self.shape[1]), device=self.device)
        for start in range(0, len(index), 1024):
            part = index[start : start + 1024]
            x[start : start + len(part)] = self.to_x(self.take(part))
        return x

    def _encode(self, rows: NDArray[Any], index: NDArray[Any]) -> Tensor:
        """rows: (M, *shape), as found; index: (M,), their numbers -> (M, D), as they are kept."""
        if self._as_found:
            flat = rows.reshape(len(rows), -1)
            # torch takes no array that it must not write to, though it would not.
            return torch.from_numpy(flat.astype(np.uint8, order="C", copy=not flat.flags.writeable))
        x = torch.from_numpy(self.schema.numbers(rows, index, self.seed))
        return x.to(self.dtype)


class RowsInMemory(Rows):
    """Rows kept on the device."""

    def __init__(self, data: Data, schema: Schema, seed: int, device: torch.device) -> None:
        super().__init__(data, schema, seed, device)
        if self._as_found and data.rows.dtype == np.uint8 and device.type == "cpu":
            self._stored = self._encode(data.rows[:], np.empty(0))  # without a copy
            return
        self._stored = torch.empty(self.shape, dtype=self.dtype, device=device)
        for start, rows in data.chunks():
            self._stored[start : start + len(rows)] = self._encode(
                rows, np.arange(start, start + len(rows))
            )

    def take(self, index: Tensor) -> Tensor:
        """index: (B,), integers from 0 -> (B, D), uint8 or float32, on the device."""
        return self._stored.index_select(
            0, index.to(self.device)
        )  # copies rows, where indexing gathers numbers

    def batches(self, indices: Iterator[Tensor]) -> Iterator[Tensor]:
        """Yield ``take(index)`` for each of ``indices``."""
        if self.device.type != "cuda":
            yield from map(self.take, indices)
            return
        parts = list(indices)  # sent together: to send each would be to wait for the GPU each time
        for part in (
            torch.cat(parts).to(self.device).split([len(each) for each in parts]) if parts else ()
        ):
            yield self._stored.index_select(0, part)


class RowsStreamed(Rows):
    """Rows read from their file when they are asked for; a thread reads the next batches while a
    step runs."""

    def __init__(self, data: Data, schema: Schema, seed: int, device: torch.device) -> None:
        super().__init__(data, schema, seed, device)
        self._rows = data.rows

    def take(self, index: Tensor) -> Tensor:
        """index: (B,), integers from 0 -> (B, D), uint8 or float32, on the device. Raises DataError
        if the file is gone."""
        return to_device(self._read(index), self.device)

    def batches(self, indices: Iterator[Tensor]) -> Iterator[Tensor]:
        """Yield ``take(index)`` for each of ``indices``, which are asked for a few steps ahead, in
        the caller's thread."""
        with ThreadPoolExecutor(1, "rows") as reader:
            waiting: deque[Future[Tensor]] = deque()
            try:
                for index in indices:
                    waiting.append(reader.submit(self._read, index))
                    if len(waiting) > AHEAD:
                        yield to_device(waiting.popleft().result(), self.device)
                while waiting:
                    yield to_device(waiting.popleft().result(), self.device)
            finally:  # the caller may have stopped half-way
                reader.shutdown(wait=False, cancel_futures=True)

    def _read(self, index: Tensor) -> Tensor:
        numbers = index.cpu().numpy()
        stored = self._encode(self._rows[numbers], numbers)
        return stored.pin_memory() if self.device.type == "cuda" else stored


def _divides_alike(schema: Schema) -> bool:
    """Whether float32 gives all 256 numbers of 8 bits the same x as double precision: grey levels
    over 255 do."""
    wide = (np.arange(256) - np.float64(schema.shift[0])) / np.float64(schema.scale[0])
    narrow = (np.arange(256, dtype=np.float32) - np.float32(schema.shift[0])) / np.float32(
        schema.scale[0]
    )
    return bool((wide.astype(np.float32) == narrow).all())


def to_device(x: Tensor, device: torch.device) -> Tensor:
    """x on the device, sent without waiting for a GPU to be done with what it was given before."""
    return (
        x.pin_memory().to(device, non_blocking=True)
        if device.type == "cuda" and not x.is_cuda
        else x.to(device)
    )


def rows_of(data: Data, schema: Schema, seed: int = 0, device: torch.device | str = "cpu") -> Rows:
    """The rows of ``data``, kept where they are: in memory, on the device, or in their file."""
    kind = RowsStreamed if isinstance(data.rows, FileRows) else RowsInMemory
    return kind(data, schema, seed, torch.device(device))
