"""Hand the rows of a data set to a training step, from memory or from their file.

Integers in 0..255 stay 8 bits wide until they are inside the step, so only a quarter of the bytes
of float32 is moved. Other rows are stored as the model's numbers. A step sees the same numbers, to
the last bit, whether the rows are in memory or in a file.
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

from aevb.datasets.kinds import like
from aevb.datasets.schema import MOST_NUMBERS, Data, Schema, sample_size
from aevb.datasets.stored import LazyRows
from aevb.probability.seeds import generator

AHEAD = 2
"""How many batches are read ahead while a step runs."""


class Rows(ABC):
    """The rows of a data set for one model. ``rows_of`` makes them.

    ``take`` and ``batches`` return rows as they are stored, uint8 or float32; ``to_x`` turns those
    into the model's numbers. ``split``, ``head`` and ``sample`` return the model's numbers x.

    Args:
        data: The rows as they were found.
        schema: How they become the model's numbers.
        seed: Seeds the draw if the schema binarises statically.
        device: Where ``take`` puts the rows.

    Raises:
        DataError: The schema does not allow these rows.

    Example:
        >>> import torch
        >>> from aevb.datasets import load
        >>> from aevb.datasets.planning import plan
        >>> from aevb.datasets.rows import rows_of
        >>> digits = load("digits")
        >>> rows = rows_of(digits, plan(digits).schema)
        >>> stored = rows.take(torch.tensor([3, 1, 4]))
        >>> stored.shape, stored.dtype, stored.max()
        (torch.Size([3, 64]), torch.float32, tensor(1.))
        >>> rows.head(2).shape
        torch.Size([2, 64])
        >>> [len(x) for x in rows.split(1000)]
        [1000, 797]
        >>> rows.sample(100).shape
        torch.Size([100, 64])
    """

    def __init__(self, data: Data, schema: Schema, seed: int, device: torch.device) -> None:
        schema.require(data)
        self.schema, self.seed, self.device = schema, seed, device
        self.shape = (len(data), schema.data_dim)
        low, high = data.range
        # Once binarised, the rows are stored as bits.
        decided = schema.binarize in ("static", "threshold")
        whole = data.survey.bits or (data.rows.dtype.kind in "ui" and low >= 0 and high <= 255)
        # Tokens and columns of a table become other numbers than a shift and a scale make.
        whole = whole and schema.vocabulary is None and schema.families is None
        self._as_found = whole and not decided
        self.dtype = torch.uint8 if whole or decided else torch.float32
        self._bits = decided or (set(schema.shift), set(schema.scale)) == ({0.0}, {1.0})
        self._narrow = (
            self._as_found
            and len(schema.scale) == len(schema.shift) == 1
            and _divides_alike(schema)
        )
        self._shift = torch.tensor(schema.wide(schema.shift), device=device)
        self._scale = torch.tensor(schema.wide(schema.scale), device=device)

    def __len__(self) -> int:
        return self.shape[0]

    @abstractmethod
    def take(self, index: Tensor) -> Tensor:
        """Return the rows of ``index`` as they are stored: (B, D), uint8 or float32, on the device.

        index: (B,), integers from 0.
        """

    @abstractmethod
    def batches(self, indices: Iterator[Tensor]) -> Iterator[Tensor]:
        """Yield ``take(index)`` for each of ``indices``.

        The indices are drawn a few steps ahead, in the caller's thread.
        """

    def to_x(self, stored: Tensor) -> Tensor:
        """Turn stored rows (B, D) into the model's numbers x: (B, D).

        The result equals that of ``Schema.to_model`` bit by bit. Only tensor operations are used,
        so that it can be compiled into a step. Shift and scale are tensors, because devices round a
        division by a Python number differently.
        """
        if stored.dtype == torch.float32:
            return stored
        if self._bits:
            return stored.float()
        if self._narrow:
            return (stored.float() - self._shift.float()) / self._scale.float()
        return ((stored.double() - self._shift) / self._scale).float()

    def split(self, size: int) -> Iterator[Tensor]:
        """Yield x of all rows in order, ``size`` rows at a time, as ``Tensor.split`` does.

        Each part is (size, D); the last may be smaller. Parts of long rows are smaller too, so that
        each fits into 64 MiB.
        """
        size = max(1, min(size, MOST_NUMBERS // self.shape[1]))
        indices = (
            torch.arange(start, min(start + size, len(self))) for start in range(0, len(self), size)
        )
        for stored in self.batches(indices):
            yield self.to_x(stored)

    def head(self, n: int) -> Tensor:
        """Return x of the first n rows, or of all rows if there are fewer: (n, D)."""
        return self._x(torch.arange(min(n, len(self))))

    def sample(self, most: int) -> Tensor:
        """Return x of a fixed random subset of at most ``most`` rows, in their order: (n, D).

        The subset is smaller for long rows. See ``aevb.datasets.schema.sample_size``.
        """
        most = sample_size(most, self.shape[1])
        if len(self) <= most:
            return self.head(most)
        return self._x(
            torch.randperm(len(self), generator=generator(0, "sample"))[:most].sort().values
        )

    def _x(self, index: Tensor) -> Tensor:
        """Return x of the rows of ``index``: (n,) -> (n, D).

        Parts of 1024 rows are converted in turn, since the conversion uses double precision.
        """
        x = torch.empty((len(index), self.shape[1]), device=self.device)
        for start in range(0, len(index), 1024):
            part = index[start : start + 1024]
            x[start : start + len(part)] = self.to_x(self.take(part))
        return x

    def _encode(self, rows: NDArray[Any], index: NDArray[Any]) -> Tensor:
        """Turn rows (M, *shape) as found into rows (M, D) as stored. index: (M,), their numbers."""
        if self._as_found:
            flat = rows.reshape(len(rows), -1)
            # torch accepts only arrays that it may write to, although it does not write here.
            return torch.from_numpy(flat.astype(np.uint8, order="C", copy=not flat.flags.writeable))
        x = torch.from_numpy(self.schema.numbers(rows, index, self.seed))
        return x.to(self.dtype)


class RowsInMemory(Rows):
    """Rows that are kept on the device.

    Example:
        >>> from aevb.datasets import load
        >>> from aevb.datasets.planning import plan
        >>> from aevb.datasets.rows import RowsInMemory, rows_of
        >>> digits = load("digits")
        >>> isinstance(rows_of(digits, plan(digits).schema), RowsInMemory)
        True
    """

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
        """Return the rows of ``index``: (B,) -> (B, D)."""
        # index_select copies whole rows; indexing would gather single numbers.
        return self._stored.index_select(0, index.to(self.device))

    def batches(self, indices: Iterator[Tensor]) -> Iterator[Tensor]:
        """Yield ``take(index)`` for each of ``indices``."""
        if self.device.type != "cuda":
            yield from map(self.take, indices)
            return
        parts = list(indices)
        if not parts:
            return
        # All indices are sent at once: each transfer waits for the GPU.
        for part in torch.cat(parts).to(self.device).split([len(each) for each in parts]):
            yield self._stored.index_select(0, part)


class RowsStreamed(Rows):
    """Rows that are read from their file, or made from a sparse matrix, when they are needed.

    A thread reads the next batches while a step runs.
    """

    def __init__(self, data: Data, schema: Schema, seed: int, device: torch.device) -> None:
        super().__init__(data, schema, seed, device)
        self._rows = data.rows

    def take(self, index: Tensor) -> Tensor:
        """Return the rows of ``index``: (B,) -> (B, D). Raises DataError if the file is gone."""
        return to_device(self._read(index), self.device)

    def batches(self, indices: Iterator[Tensor]) -> Iterator[Tensor]:
        """Yield ``take(index)`` for each of ``indices``, which are drawn a few steps ahead."""
        with ThreadPoolExecutor(1, "rows") as reader:
            waiting: deque[Future[Tensor]] = deque()
            try:
                for index in indices:
                    waiting.append(reader.submit(self._read, index))
                    if len(waiting) > AHEAD:
                        yield to_device(waiting.popleft().result(), self.device)
                while waiting:
                    yield to_device(waiting.popleft().result(), self.device)
            finally:  # The caller may stop half-way.
                reader.shutdown(wait=False, cancel_futures=True)

    def _read(self, index: Tensor) -> Tensor:
        numbers = index.cpu().numpy()
        stored = self._encode(self._rows[numbers], numbers)
        return stored.pin_memory() if self.device.type == "cuda" else stored


def _divides_alike(schema: Schema) -> bool:
    """Whether float32 and double precision give the same x for all 256 numbers of 8 bits.

    They do so for grey levels that are divided by 255.
    """
    wide = (np.arange(256) - np.float64(schema.shift[0])) / np.float64(schema.scale[0])
    narrow = (np.arange(256, dtype=np.float32) - np.float32(schema.shift[0])) / np.float32(
        schema.scale[0]
    )
    return bool((wide.astype(np.float32) == narrow).all())


def to_device(x: Tensor, device: torch.device) -> Tensor:
    """Return x on the device. Sending it to a GPU does not wait for the GPU's earlier work.

    Example:
        >>> import torch
        >>> from aevb.datasets.rows import to_device
        >>> to_device(torch.ones(2), torch.device("cpu"))
        tensor([1., 1.])
    """
    if device.type == "cuda" and not x.is_cuda:
        return x.pin_memory().to(device, non_blocking=True)
    return x.to(device)


def rows_of(data: Data, schema: Schema, seed: int = 0, device: torch.device | str = "cpu") -> Rows:
    """Make the ``Rows`` of a data set. Rows in a file and sparse rows are streamed.

    Args:
        data: The rows as they were found.
        schema: How they become the model's numbers.
        seed: Seeds the draw if the schema binarises statically.
        device: Where the rows are needed.

    Raises:
        DataError: The schema does not allow these rows.

    Example:
        >>> from aevb.datasets import load
        >>> from aevb.datasets.planning import plan
        >>> from aevb.datasets.rows import rows_of
        >>> moons = load("moons")
        >>> rows = rows_of(moons, plan(moons).schema)
        >>> len(rows), rows.shape
        (2000, (2000, 2))
    """
    data = like(data, schema)
    kind = RowsStreamed if isinstance(data.rows, LazyRows) else RowsInMemory
    return kind(data, schema, seed, torch.device(device))
