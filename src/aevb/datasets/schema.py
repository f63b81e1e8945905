"""What the rows are, and how they become the model's numbers and back.

The model sees float32 rows x = (row - shift) / scale, flattened to (N, D). The ``Schema`` that says
so is saved with the model: whatever the model makes is returned in the data's own units, and a
density is reported per unit of the data,

    log p(row) = log p(x) - sum_d log scale_d,

so that two models of the same data can be compared although they scale it differently.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from copy import copy
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aevb.datasets.draws import uniforms
from aevb.datasets.stored import FileRows, Stored, Survey, chunks, survey
from aevb.errors import DataError, UsageError

BINARIZE = {
    "none": "kept as targets, as in the paper",
    "static": "binarised once at random, P(1) = grey level",
    "dynamic": "binarised at random anew at every step, P(1) = grey level",
    "threshold": "binarised at one half",
}
"""Ways to treat grey levels under a Bernoulli likelihood, and what each does."""
FEWEST_SAMPLED, MOST_NUMBERS = 100, 2**24
"""Rows of a sample, at least, and numbers in one beyond them, at most."""


@dataclass(frozen=True, eq=False)
class Data:
    """Rows as they were found, and what is known of them. Raises DataError unless they are numbers,
    and finite.

    rows: (N, *shape), any numeric type, in memory or in a file. columns: names of a table's
    columns. labels: (N,), used only to colour pictures. white: for grey levels, the value of white
    (255 for 8 bits); black is 0. test_split: the name under which ``load`` finds rows meant for
    testing. resize, grey: how pictures were brought to one form.
    """

    rows: Stored
    source: str
    columns: tuple[str, ...] | None = None
    labels: NDArray[Any] | None = None
    white: float | None = None
    test_split: str | None = None
    resize: tuple[int, int] | None = None
    grey: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.rows, FileRows):
            rows = np.asarray(self.rows)
            object.__setattr__(self, "rows", rows[:, None] if rows.ndim == 1 else rows)
        _check_rows(self.rows, self.source)
        if not (math.isfinite(self.survey.low) and math.isfinite(self.survey.high)):
            raise _not_finite(self.rows, self.columns, self.source)
        pictures = self.columns is None and (self.rows.ndim > 2 or self.rows.dtype == np.uint8)
        if self.white is None and pictures and self.rows.dtype.kind in "ui":
            low, high = self.range
            # Integers in 0..255 in the form of pictures are 8-bit grey levels; 0 and 1 alone are
            # binary pictures.
            if low >= 0 and 1 < high <= 255:
                object.__setattr__(self, "white", 255.0)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one row."""
        return self.rows.shape[1:]

    @property
    def in_file(self) -> bool:
        """Whether the rows are read as they are needed."""
        return isinstance(self.rows, FileRows)

    @cached_property
    def survey(self) -> Survey:
        """Least and greatest value, and whether all are 0 or 1: one pass over the rows."""
        return survey(self.rows)

    @property
    def range(self) -> tuple[float, float]:
        """Least and greatest value."""
        return self.survey.low, self.survey.high

    @property
    def kind(self) -> str:
        """``binary`` (0 and 1 alone), ``grey`` (grey levels 0..white), ``unit`` (real, within [0,
        1]) or ``real``."""
        if self.survey.bits:
            return "binary"
        if self.white is not None:
            return "grey"
        return "unit" if self.survey.low >= 0 and self.survey.high <= 1 else "real"

    def chunks(self) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield (number of the first row, rows) of one part after another: never more than a few
        MiB at once."""
        return chunks(self.rows)

    def take(self, index: NDArray[Any]) -> Data:
        """The rows of ``index``: (M,), integers. Those of a file are not read yet."""
        # Not replace(): these rows were checked, and what is known of the whole is not to be
        # guessed anew from a part.
        part = copy(self)
        part.__dict__.pop("survey", None)
        rows = self.rows.take(index) if isinstance(self.rows, FileRows) else self.rows[index]
        part.__dict__.update(rows=rows, labels=None if self.labels is None else self.labels[index])
        _check_rows(rows, self.source)
        return part

    def sample(self, most: int) -> Data:
        """A fixed random subset of at most ``most`` rows, in their order; of rows of many numbers,
        fewer.

        So that a look at a few rows of any data set fits into memory. All rows where there are no
        more.
        """
        most = min(most, max(FEWEST_SAMPLED, MOST_NUMBERS // math.prod(self.shape)))
        if len(self) <= most:
            return self
        return self.take(np.sort(np.random.default_rng(0).choice(len(self), most, replace=False)))


@dataclass(frozen=True)
class Schema:
    """How rows become the model's numbers: x = (row - shift) / scale, each one number or one a
    column. Saved as JSON.

    levels: how many integers 0, 1, ... a value can be, where the likelihood counts them.
    """

    kind: str
    shape: tuple[int, ...]
    dtype: str
    shift: tuple[float, ...]
    scale: tuple[float, ...]
    columns: tuple[str, ...] | None = None
    white: float | None = None
    binarize: str = "none"
    resize: tuple[int, int] | None = None
    grey: bool = False
    levels: int | None = None

    @property
    def data_dim(self) -> int:
        """D: how many numbers one row has."""
        return math.prod(self.shape)

    @property
    def log_jacobian(self) -> float:
        """log |dx/drow| in nats: add it to log p(x) for the log-density in the data's own units."""
        return -sum(math.log(s) for s in self.scale) * (
            self.data_dim if len(self.scale) == 1 else 1
        )

    @property
    def is_picture(self) -> bool:
        """Whether one row can be shown as a picture: (height, width), or three-dimensional with 1,
        3 or 4 channels."""
        return len(self.shape) == 2 or (
            len(self.shape) == 3 and (self.shape[-1] in (1, 3, 4) or self.shape[0] in (1, 3))
        )

    @property
    def has_one_unit(self) -> bool:
        """Whether all columns are measured alike, as pixels and bits are; those of a table are not."""
        return (
            len(self.shape) > 1
            or self.kind == "binary"
            or (self.kind in ("grey", "unit") and self.columns is None)
        )

    @property
    def noun(self) -> str:
        """What to call values between two ends: grey levels are those of pictures."""
        return "grey levels" if self.white is not None or self.is_picture else "values"

    @property
    def treatment(self) -> str:
        """What a Bernoulli likelihood makes of values between 0 and 1, as a phrase; empty where
        there are none."""
        phrase = BINARIZE[self.binarize].replace("grey level", self.noun.removesuffix("s"))
        return phrase if self.kind in ("grey", "unit") else ""

    def to_model(self, data: Data, seed: int = 0) -> NDArray[np.float32]:
        """Data -> x: (N, D). Raises DataError for rows of another shape, other columns or another
        range of grey levels.

        seed: of the draw when the schema binarises statically; dynamic binarisation is left to the
        training step.
        """
        self.require(data)
        x = np.empty((len(data), self.data_dim), np.float32)
        for start, rows in data.chunks():
            x[start : start + len(rows)] = self.numbers(
                rows, np.arange(start, start + len(rows)), seed
            )
        return x

    def numbers(
        self, rows: NDArray[Any], index: NDArray[Any], seed: int = 0
    ) -> NDArray[np.float32]:
        """rows: (M, *shape), as ``require`` allows them -> x: (M, D). index: (M,), their numbers
        among all rows of the data.

        Static binarisation is a pure function of seed, row and column: a row's bits do not depend
        on those read with it.
        """
        flat = rows.reshape(len(rows), -1)
        x: NDArray[np.float32]
        if flat.dtype == np.float32 and (self.shift, self.scale) == ((0.0,), (1.0,)):
            x = (
                flat if flat.flags.writeable else flat.copy()
            )  # torch takes none that it must not write to
        else:
            in_double = flat - np.asarray(self.shift)
            in_double /= np.asarray(self.scale)
            x = in_double.astype(np.float32)
        if self.binarize == "threshold":
            return (x >= 0.5).astype(np.float32)
        if self.binarize == "static":
            return (uniforms(seed, index, self.data_dim) < x).astype(np.float32)
        return x

    def to_data(self, x: NDArray[Any]) -> NDArray[Any]:
        """x: (N, D) -> rows: (N, *shape) in the data's units; grey levels are clipped, and rounded
        if they were integers."""
        rows: NDArray[Any] = x.astype(np.float64) * np.asarray(self.scale) + np.asarray(self.shift)
        rows = rows.reshape(len(x), *self.shape)
        if self.kind == "grey":
            assert self.white is not None
            rows = rows.clip(0, self.white)
            if np.dtype(self.dtype).kind in "ui":
                return rows.round().astype(self.dtype)
        if (
            self.levels is not None
        ):  # a draw is an integer but for the rounding of float32; a mean is not
            rows = np.where(np.abs(rows - rows.round()) < 1e-3, rows.round(), rows)
        return rows.astype(
            np.result_type(np.float32, np.dtype(self.dtype))
        )  # float32 cannot tell two dates in seconds apart

    def require(self, data: Data) -> None:
        """Raise DataError for rows of another shape, other columns or another range of grey levels."""
        if data.shape != self.shape:
            raise DataError(
                f"this model takes rows of shape {self.shape}; {data.source} has rows of shape"
                f" {data.shape}. Use a model that was trained on such rows."
            )
        if self.columns and data.columns and data.columns != self.columns:
            raise DataError(
                f"this model takes the columns {', '.join(self.columns)}, in this order; "
                f"{data.source} has {', '.join(data.columns)}. Bring them into this order."
            )
        # Integers of which none passes 1 may well be the darkest of grey levels; fractions may not.
        dark = (
            data.white is None
            and data.rows.dtype.kind in "ui"
            and data.range[0] >= 0
            and data.range[1] <= 1
        )
        if self.kind != "real" and data.white != self.white and not dark:
            raise DataError(
                f"this model takes {self.noun} from 0 to {self.white or 1:g}; {data.source} has"
                f" values in [{data.range[0]:.4g}, {data.range[1]:.4g}]. Bring them into the form"
                " that the model was trained on."
            )
        if self.binarize != "none" and not (
            data.range[0] >= 0 and np.float32(data.range[1] / self.scale[0]) <= 1
        ):
            low, high = data.range
            raise DataError(
                f"binarisation needs {self.noun} in [0, {self.scale[0]:g}]; {data.source} has"
                f" [{low:.4g}, {high:.4g}]. Save the rows in the form that the model was"
                " trained on."
            )


def only_split(name: str, split: str | None, allowed: tuple[str, ...]) -> None:
    """Raise UsageError unless ``split`` is None or one of ``allowed``."""
    if split is not None and split not in allowed:
        raise UsageError(
            f"{name} has {'the splits ' + ', '.join(allowed) if allowed else 'no splits'}; got"
            f" {name}:{split}"
        )


def column_name(columns: tuple[str, ...] | None, index: int) -> str:
    """Name of a column in a message, counted from 1 where it has none."""
    return f"{columns[index]!r}" if columns else f"column_{index + 1}"


def _check_rows(rows: Stored, source: str) -> None:
    if rows.dtype.kind not in "buif":
        raise DataError(
            f"{source}: expected numbers; got values of type {rows.dtype}. Save them as integers or"
            " floats."
        )
    if rows.size == 0:
        raise DataError(
            f"{source} is empty: shape {rows.shape}. Expected rows of numbers. Is it the right"
            " file?"
        )


def _not_finite(rows: Stored, columns: tuple[str, ...] | None, source: str) -> DataError:
    """The error that names the first value which is not a finite number, and counts them all."""
    where, nan, infinite = None, 0, 0
    for start, part in chunks(rows):
        bad = ~np.isfinite(part)
        if where is None and bad.any():
            first = np.argwhere(bad)[0].tolist()
            where = [start + first[0], *first[1:]]
        nan += int(np.isnan(part).sum())
        infinite += int(np.isinf(part).sum())
    assert where is not None
    kinds = " and ".join(
        f"{n} {what}" for n, what in [(nan, "missing (NaN)"), (infinite, "infinite")] if n
    )
    place = (
        f"row {where[0] + 1}, column {column_name(columns, where[1])}"
        if columns
        else f"index {where}"
    )
    return DataError(
        f"{source}: {kinds} of {rows.size} values, the first at {place}. Fill them in or remove"
        " those rows."
    )
