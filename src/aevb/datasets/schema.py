"""``Data``: rows as they were found. ``Schema``: how rows become the model's numbers and back.

The model works on float32 rows x = (row - shift) / scale, flattened to (N, D). The ``Schema`` holds
shift and scale and is saved with the model. So the rows that the model makes are returned in the
data's own units, and densities are reported in these units, too:

    log p(row) = log p(x) - sum_d log scale_d.

Two models of the same data can then be compared even if they scale it differently.
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

from aevb.datasets.checks import not_finite, require_form, require_numbers
from aevb.datasets.draws import uniforms
from aevb.datasets.form import Form, codes, within
from aevb.datasets.stored import LazyRows, Stored, Survey, chunks, survey
from aevb.datasets.tabular.columns import Table
from aevb.datasets.tabular.families import Families

BINARIZE = {
    "none": "kept as targets, as in the paper",
    "static": "binarised once at random, P(1) = grey level",
    "dynamic": "binarised at random anew at every step, P(1) = grey level",
    "threshold": "binarised at one half",
}
"""The ways to treat grey levels under a Bernoulli likelihood, and what each one does."""
FEWEST_SAMPLED = 100
"""A sample may always hold this many rows, even if they are long."""
MOST_NUMBERS = 2**24
"""A sample of more than ``FEWEST_SAMPLED`` rows holds at most this many numbers."""


def sample_size(most: int, data_dim: int) -> int:
    """Return how many rows to sample, at most ``most``, so that the sample fits into memory.

    data_dim: the numbers in one row.

    Example:
        >>> from aevb.datasets.schema import sample_size
        >>> sample_size(10_000, data_dim=784), sample_size(10_000, data_dim=10_000)
        (10000, 1677)
    """
    return min(most, max(FEWEST_SAMPLED, MOST_NUMBERS // data_dim))


@dataclass(frozen=True, eq=False)
class Data:
    """Rows as they were found, and the facts that are known about them.

    Args:
        rows: (N, *shape), of any numeric type, in memory or in a file. One axis means one column.
        source: The name or the path, for messages.
        columns: Names of the columns, for a table.
        labels: (N,), used only to colour pictures.
        white: The value of white if the rows are grey levels (255 for 8 bits). Black is 0.
        test_split: The name under which ``load`` finds rows meant for testing.
        resize: (height, width) that pictures were brought to.
        grey: Whether pictures were read as grey.
        kind: The kind of the data: a name in ``aevb.datasets.kinds.KINDS``. "": not decided yet;
            ``aevb.datasets.kinds.with_kind`` decides it.
        reason: Why it is of that kind, as a phrase to print.
        channel_axis: Which axis of one row, from 0, has channels with units of their own. None if
            there are no such channels.
        form: The form of the user's rows, if ``rows`` are not in it.
        table: How the columns of the table became the rows. None for an array.
        names: (N,), a name of every row: the name of its file, or the value of an identifier.
        names_of: What the names are: "file", or the name of the identifier column.
        notes: Sentences that the user must read, for example about files that were not used.

    Raises:
        DataError: The rows are empty, are not numbers, or are not all finite.

    Example:
        >>> import numpy as np
        >>> from aevb.datasets import Data
        >>> data = Data(np.array([[1.0, 20.0], [2.0, 30.0], [3.0, 10.0]]), source="mine")
        >>> len(data), data.shape, data.range, data.values
        (3, (2,), (1.0, 30.0), 'real')
        >>> Data(np.array([[0, 1], [1, 1]]), source="bits").values
        'binary'
        >>> Data(np.array([[1.0, np.nan]]), source="mine", columns=("a", "b"))
        Traceback (most recent call last):
        aevb.errors.DataError: mine: 1 missing (NaN) of 2 values, the first at row 1, column 'b'. \
Fill them in or remove those rows.
    """

    rows: Stored
    source: str
    columns: tuple[str, ...] | None = None
    labels: NDArray[Any] | None = None
    white: float | None = None
    test_split: str | None = None
    resize: tuple[int, int] | None = None
    grey: bool = False
    kind: str = ""
    reason: str = ""
    channel_axis: int | None = None
    form: Form | None = None
    table: Table | None = None
    names: NDArray[np.str_] | None = None
    names_of: str = ""
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if not isinstance(self.rows, LazyRows):
            rows = np.asarray(self.rows)
            object.__setattr__(self, "rows", rows[:, None] if rows.ndim == 1 else rows)
        require_numbers(self.rows, self.source)
        finite = math.isfinite(self.survey.low) and math.isfinite(self.survey.high)
        # A table may have missing cells. Whether a model takes them is decided later.
        if not finite and self.table is None:
            raise not_finite(self.rows, self.columns, self.source)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one row."""
        return self.rows.shape[1:]

    @property
    def in_file(self) -> bool:
        """Whether the rows are read when they are needed, from a file or a sparse matrix."""
        return isinstance(self.rows, LazyRows)

    @cached_property
    def survey(self) -> Survey:
        """Smallest and largest value, and whether all are 0 or 1: one pass over the rows."""
        return survey(self.rows)

    @property
    def range(self) -> tuple[float, float]:
        """Smallest and largest value."""
        return self.survey.low, self.survey.high

    @property
    def values(self) -> str:
        """``binary``: 0 and 1. ``grey``: 0 to ``white``. ``unit``: [0, 1]. ``real``: others."""
        if self.survey.bits:
            return "binary"
        if self.white is not None:
            return "grey"
        return "unit" if self.survey.low >= 0 and self.survey.high <= 1 else "real"

    def chunks(self) -> Iterator[tuple[int, NDArray[Any]]]:
        """Yield (number of the first row, rows) of one part after another, each at most a few MiB.

        Example:
            >>> import numpy as np
            >>> from aevb.datasets import Data
            >>> data = Data(np.ones((3000, 1000)), source="mine")
            >>> [(start, len(rows)) for start, rows in data.chunks()]
            [(0, 1048), (1048, 1048), (2096, 904)]
        """
        return chunks(self.rows)

    def take(self, index: NDArray[Any]) -> Data:
        """Return the rows of ``index``: (M,), integers. Rows of a file are not read yet.

        Example:
            >>> import numpy as np
            >>> from aevb.datasets import load
            >>> load("digits").take(np.array([5, 0, 0])).labels
            array([5, 0, 0])
        """
        # dataclasses.replace would check the rows again.
        part = copy(self)
        part.__dict__.pop("survey", None)
        rows = self.rows.take(index) if isinstance(self.rows, LazyRows) else self.rows[index]
        part.__dict__.update(
            rows=rows,
            labels=None if self.labels is None else self.labels[index],
            names=None if self.names is None else self.names[index],
        )
        require_numbers(rows, self.source)
        return part

    def sample(self, most: int) -> Data:
        """Return a fixed random subset of at most ``most`` rows, in their order.

        Long rows are limited further, to about 16 million numbers but at least 100 rows, so that
        the subset fits into memory. All rows are returned if there are no more than that.

        Example:
            >>> from aevb.datasets import load
            >>> digits = load("digits")
            >>> len(digits.sample(10)), len(digits.sample(10_000))
            (10, 1797)
        """
        most = sample_size(most, math.prod(self.shape))
        if len(self) <= most:
            return self
        return self.take(np.sort(np.random.default_rng(0).choice(len(self), most, replace=False)))


@dataclass(frozen=True)
class Schema:
    """How rows become the model's numbers x = (row - shift) / scale, and back.

    It is saved as JSON with the model. ``aevb.datasets.planning.plan`` makes one for a data set.

    Args:
        values: What the values are, as in ``Data.values``, or ``counts``: the integers 0, 1, 2, ...
        shape: Shape of one row.
        dtype: numpy's name for the type of the rows.
        shift: One number, one for each column, or one for each channel on the last axis.
        scale: One number, one for each column, or one for each channel on the last axis.
        columns: Names of the columns, for a table.
        white: The value of white, for grey levels.
        binarize: How grey levels become bits: a key of ``BINARIZE``.
        resize: (height, width) that pictures are brought to.
        grey: Whether pictures are read as grey.
        levels: How many integers 0, 1, ... a value can take, for a likelihood over levels.
        kind: The kind of the data: a name in ``aevb.datasets.kinds.KINDS``.
        table: How the columns of a table become numbers, and numbers become columns again.
        form: The form of the user's rows, if the model learns them in another one.
        vocabulary: The tokens that occur, in ascending order. Level k stands for the k-th of them.
        limits: The smallest and the largest value of each column of an array of whole numbers.
        families: The families of the columns, for the likelihood ``mixed``.

    Example:
        >>> import numpy as np
        >>> from aevb.datasets import Data, Schema
        >>> schema = Schema("real", (2,), "float64", shift=(5.0, 100.0), scale=(1.0, 50.0))
        >>> x = schema.to_model(Data(np.array([[6.0, 150.0], [5.0, 100.0]]), source="mine"))
        >>> x
        array([[1., 1.],
               [0., 0.]], dtype=float32)
        >>> schema.to_data(x)
        array([[  6., 150.],
               [  5., 100.]])
        >>> round(schema.log_jacobian, 3)  # -log 50
        -3.912
    """

    values: str
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
    kind: str = ""
    table: Table | None = None
    form: Form | None = None
    vocabulary: tuple[int, ...] | None = None
    limits: tuple[tuple[int, int], ...] = ()
    families: Families | None = None

    @property
    def data_dim(self) -> int:
        """D: how many numbers one row has."""
        return math.prod(self.shape)

    @property
    def log_jacobian(self) -> float:
        """log |dx/drow| in nats. Add it to log p(x) for the log-density in the data's own units."""
        return -sum(math.log(s) for s in self.scale) * (self.data_dim // len(self.scale))

    def wide(self, values: tuple[float, ...]) -> NDArray[np.float64]:
        """Return shift or scale so that it can be combined with flat rows: (1,) or (D,).

        Example:
            >>> from aevb.datasets import Schema
            >>> schema = Schema("real", (2, 2), "float64", shift=(0.0,), scale=(1.0, 5.0))
            >>> schema.wide(schema.scale)  # two steps of two channels
            array([1., 5., 1., 5.])
        """
        of_channels = len(values) > 1
        return np.tile(values, self.data_dim // len(values) if of_channels else 1)

    @property
    def is_picture(self) -> bool:
        """Whether one row can be shown as a picture.

        It can if its shape is (height, width), or has a third axis of 1, 3 or 4 channels. Series,
        counts and tokens are no pictures, whatever their shape.
        """
        if self.kind not in ("", "pictures"):
            return False
        return len(self.shape) == 2 or (
            len(self.shape) == 3 and (self.shape[-1] in (1, 3, 4) or self.shape[0] in (1, 3))
        )

    @property
    def is_drawn(self) -> bool:
        """Whether new rows are draws from p(x|z). The means look better, but only in pictures."""
        return self.values == "counts" or not self.is_picture

    @property
    def has_one_unit(self) -> bool:
        """Whether all columns share one unit, as pixels and bits do. Those of a table do not."""
        if self.kind:
            shared = self.kind in ("pictures", "counts", "tokens") and len(self.scale) == 1
            return shared or self.values == "binary"
        return (
            len(self.shape) > 1
            or self.values == "binary"
            or (self.values in ("grey", "unit") and self.columns is None)
        )

    @property
    def is_unit_picture(self) -> bool:
        """Whether the model learned pictures whose black is 0 and whose white is 1."""
        return self.kind == "pictures" and self.values in ("unit", "binary")

    @property
    def noun(self) -> str:
        """The word for the values in messages: "grey levels" for pictures, else "values"."""
        return "grey levels" if self.white is not None or self.is_picture else "values"

    @property
    def treatment(self) -> str:
        """How a Bernoulli likelihood treats values between 0 and 1, as a phrase.

        Empty if there are no such values.
        """
        phrase = BINARIZE[self.binarize].replace("grey level", self.noun.removesuffix("s"))
        return phrase if self.values in ("grey", "unit") else ""

    def to_model(self, data: Data, seed: int = 0) -> NDArray[np.float32]:
        """Turn rows of the data into the model's numbers x: (N, D).

        Args:
            data: The rows.
            seed: Seeds the draw if the schema binarises statically. Dynamic binarisation is left to
                the training step.

        Raises:
            DataError: The rows do not have the schema's form. See ``require``.

        Example:
            >>> from aevb.datasets import load
            >>> from aevb.datasets.planning import plan
            >>> digits = load("digits")
            >>> schema = plan(digits, "bernoulli", "static").schema
            >>> x = schema.to_model(digits)
            >>> x.shape, sorted(set(x.ravel().tolist()))
            ((1797, 64), [0.0, 1.0])
        """
        data = self.fitted(data)
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
        """Turn some rows into the model's numbers x: (M, D), without checking them.

        Static binarisation depends only on seed, row and column. So a row becomes the same bits in
        any batch.

        Args:
            rows: (M, *shape), in the form that ``require`` allows.
            index: (M,), the numbers of these rows among all rows of the data.
            seed: Seeds the draw if the schema binarises statically.

        Example:
            >>> import numpy as np
            >>> from aevb.datasets import Schema
            >>> schema = Schema("grey", (2,), "uint8", (0.0,), (255.0,), white=255.0)
            >>> schema.numbers(np.array([[0, 255]], np.uint8), np.array([7]))
            array([[0., 1.]], dtype=float32)
        """
        flat = rows.reshape(len(rows), -1)
        if self.families is not None:
            return self.families.numbers(flat)
        if self.vocabulary is not None:
            flat = codes(flat, self.vocabulary)
        x: NDArray[np.float32]
        if flat.dtype == np.float32 and (self.shift, self.scale) == ((0.0,), (1.0,)):
            x = flat if flat.flags.writeable else flat.copy()
        else:
            in_double = flat - self.wide(self.shift)
            in_double /= self.wide(self.scale)
            x = in_double.astype(np.float32)
        if self.binarize == "threshold":
            return (x >= 0.5).astype(np.float32)
        if self.binarize == "static":
            return (uniforms(seed, index, self.data_dim) < x).astype(np.float32)
        return x

    def to_data(self, x: NDArray[Any]) -> NDArray[Any]:
        """Turn the model's numbers x: (N, D) into rows (N, *shape) in the data's units.

        Grey levels are clipped to 0..white, and rounded if the data had integers. Draws of counts
        have the integer type of the data, or int64 if there is none or it is too narrow. Means of
        counts are real numbers. Columns of whole numbers are rounded, and stay within their limits.

        Example:
            >>> import numpy as np
            >>> from aevb.datasets import Schema
            >>> schema = Schema("grey", (2,), "uint8", (0.0,), (255.0,), white=255.0)
            >>> schema.to_data(np.array([[0.5, 1.2]]))
            array([[128, 255]], dtype=uint8)
        """
        rows = self._unscaled(x)
        return rows if self.form is None else self.form.outward(rows)

    def _unscaled(self, x: NDArray[Any]) -> NDArray[Any]:
        """Turn x: (N, D) into rows (N, *shape) as the model learns them."""
        if self.families is not None:
            x = self.families.codes(x)
        rows: NDArray[Any] = x.astype(np.float64) * self.wide(self.scale) + self.wide(self.shift)
        rows = rows.reshape(len(x), *self.shape)
        if self.vocabulary is not None:
            tokens = np.asarray(self.vocabulary)[rows.round().astype(np.int64)]
            return tokens.astype(self.dtype)
        if self.values == "grey":
            assert self.white is not None
            rows = rows.clip(0, self.white)
            if np.dtype(self.dtype).kind in "ui":
                return rows.round().astype(self.dtype)
        if self.values == "counts" and bool((rows == rows.round()).all()):
            kept = np.dtype(self.dtype)
            fits = kept.kind in "ui" and rows.max(initial=0) <= np.iinfo(kept).max
            return rows.astype(kept if fits else np.int64)
        if self.limits:
            return within(rows, self.limits).astype(self.dtype)
        if self.levels is not None:
            # A draw is an integer, up to the rounding of float32. A mean need not be one.
            rows = np.where(np.abs(rows - rows.round()) < 1e-3, rows.round(), rows)
        return rows.astype(np.result_type(np.float32, np.dtype(self.dtype)))

    def fitted(self, data: Data) -> Data:
        """Return the data with their rows in the form that the model learns.

        Constant columns are left out, one-hot rows become tokens, and flat rows become squares of
        pixels, if the training rows were brought into that form.

        Raises:
            DataError: A row cannot be brought into that form.

        Example:
            >>> import numpy as np
            >>> from aevb.datasets import Data, Schema
            >>> schema = Schema("unit", (2, 2), "float64", (0.0,), (1.0,), kind="pictures")
            >>> schema.fitted(Data(np.ones((5, 4)), source="flat")).shape
            (2, 2)
        """
        rows: Stored
        if self.form is not None and data.form is None and data.shape == self.form.shape:
            rows = np.concatenate(
                [self.form.inward(part, data.source) for _, part in data.chunks()]
            )
        elif self._is_flat(data):
            rows = (
                data.rows.shaped(self.shape)
                if isinstance(data.rows, LazyRows)
                else data.rows.reshape(len(data), *self.shape)
            )
        else:
            return data
        found = copy(data)
        found.__dict__.pop("survey", None)
        found.__dict__.update(rows=rows, form=self.form)
        return found

    def _is_flat(self, data: Data) -> bool:
        """Whether the rows are flat, and those of the model are squares of as many pixels."""
        square = len(self.shape) == 2 and self.shape[0] == self.shape[1]
        return self.kind == "pictures" and square and data.shape == (self.data_dim,)

    def require(self, data: Data) -> None:
        """Raise DataError unless ``data`` has this schema's shape, columns and range of values.

        Example:
            >>> from aevb.datasets import load
            >>> from aevb.datasets.planning import plan
            >>> schema = plan(load("gmm")).schema
            >>> schema.require(load("moons"))
            >>> schema.require(load("digits"))
            Traceback (most recent call last):
            aevb.errors.DataError: this model takes rows of shape (2,); digits has rows of shape \
(8, 8). Use a model that was trained on such rows.
        """
        require_form(data, self)
