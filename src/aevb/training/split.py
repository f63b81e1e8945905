"""Split data into training and validation rows, and choose likelihood and transform for them."""

from __future__ import annotations

import hashlib
import os
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from aevb.config import Config
from aevb.datasets import DATASETS, load, load_like
from aevb.datasets.batches import split_rows
from aevb.datasets.containers import inside
from aevb.datasets.given import given
from aevb.datasets.kinds import like, with_kind
from aevb.datasets.planning import Plan, plan
from aevb.datasets.readers import STANDARD_INPUT
from aevb.datasets.schema import Data
from aevb.parts.likelihoods import LIKELIHOODS
from aevb.runs.run import Run, Source
from aevb.runs.sizes import Size


@dataclass(frozen=True)
class Prepared:
    """Data that are ready for training.

    data: all rows before the split, in the units of the data. train, validation: the two parts, in
    the same units. plan: likelihood and transform, chosen from the training rows alone. size: of
    the run, once its settings are decided. config: these settings. reasons: what was decided, one
    phrase to print for each decision, by a word for it.
    """

    data: Data
    train: Data
    validation: Data | None
    plan: Plan
    size: Size | None = None
    config: Config | None = None
    reasons: dict[str, str] = field(default_factory=dict)

    def rows_sha256(self) -> str:
        """SHA-256 of all rows, their shapes and types.

        A resumed run compares it with the saved one, to notice that its data has changed.
        """
        digest = hashlib.sha256()
        for data in (self.train, self.validation):
            if data is not None:
                digest.update(f"{data.rows.dtype} {data.rows.shape};".encode())
                for _, rows in data.chunks():
                    digest.update(np.ascontiguousarray(rows).data)
        return digest.hexdigest()


def load_source(source: Source, config: Config) -> Data:
    """Load rows to train on from a name, a path, or a value of Python.

    Raises as ``datasets.load`` and ``datasets.given.given``.
    """
    if isinstance(source, str | os.PathLike):
        return load_data(os.fsdecode(source), config)
    return given(source, kind=config.kind, columns=config.column_kinds())


def load_data(source: str, config: Config) -> Data:
    """Load rows by name or path, with the configuration's options for pictures.

    Raises as ``datasets.load``.
    """
    return load(
        source,
        kind=config.kind,
        columns=config.column_kinds(),
        decimal=config.decimal,
        resize=config.picture_size(),
        grey=config.grey or None,
    )


def lasting_name(source: str) -> str:
    """A name that finds the same data from any folder: paths become absolute, other names stay."""
    if source in STANDARD_INPUT:
        return STANDARD_INPUT[0]
    if (named := inside(source)) is not None:
        return f"{named[0].resolve()}:{named[1]}"
    path = Path(source).expanduser()
    is_path = source.partition(":")[0] not in DATASETS and path.exists()
    return str(path.resolve()) if is_path else source


def prepare(data: Data, config: Config, arrays: bool | None = None) -> Prepared:
    """Decide the kind, split off the validation rows, and choose likelihood and transform.

    arrays: whether arrays without names are modelled column by column, as tables are. By default
    they are, unless the settings name the epochs: such a run is as it always was.

    Raises UsageError for settings that do not suit the data and for data whose kind has to be
    asked, DataError for data that cannot be used.
    """
    data = with_kind(data, config.kind, config.likelihood, config.binarize)
    fraction = config.validation_fraction()
    train, held_out = data, None
    if fraction and len(data) > 1:
        kept, apart = split_rows(len(data), fraction, config.seed)
        train, held_out = data.take(kept.numpy()), data.take(apart.numpy())
    decided = plan(
        train,
        config.likelihood,
        config.binarize,
        lambda name: str(LIKELIHOODS[name].form),
        data,
        arrays=config.epochs is None if arrays is None else arrays,
    )
    if fraction is None:
        held_out = like(load_like(config.validation, decided.schema), decided.schema)
    return Prepared(data, train, held_out, decided)


class RunData:
    """The data of a trained run, loaded once.

    Raises NotFoundError or DataError where the data of the run is gone or has changed.
    """

    def __init__(self, run: Run) -> None:
        self._source, self._config = run.source, run.config
        # The columns of a table are read as they were for training, even if its rows have changed.
        self._data = (
            load_data(run.source, run.config)
            if run.schema.table is None
            else load_like(run.source, run.schema)
        )

    @cached_property
    def prepared(self) -> Prepared:
        """The rows as they were split for training."""
        return prepare(self._data, self._config)

    def held_out(self) -> tuple[Data, str]:
        """Rows that the run was not trained on, and a phrase that names them.

        They are the test split of the data, or else the validation rows. If there are neither,
        they are the training rows. A bound on these is too optimistic, so the phrase says that they
        are training rows.
        """
        test = self._data.test_split
        if test and test != self._source:
            return load(test), test
        if self.prepared.validation is not None:
            return self.prepared.validation, f"the validation rows of {self._source}"
        return self._data, f"the training rows of {self._source}"


def held_out(run: Run) -> tuple[Data, str]:
    """Rows that ``run`` was not trained on, as ``RunData.held_out`` chooses them."""
    return RunData(run).held_out()
