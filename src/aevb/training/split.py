"""Rows to train on and rows held out, with the likelihood and the transform chosen from the former."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from aevb.config import Config
from aevb.datasets import DATASETS, load, load_like
from aevb.datasets.batches import split_rows
from aevb.datasets.planning import Plan, plan
from aevb.datasets.schema import Data
from aevb.parts.likelihoods import LIKELIHOODS

if TYPE_CHECKING:
    from aevb.runs.run import Run


@dataclass(frozen=True)
class Prepared:
    """train, validation: rows as found. plan: likelihood and transform, decided on the training
    rows alone."""

    train: Data
    validation: Data | None
    plan: Plan

    def rows_sha256(self) -> str:
        """SHA-256 of all rows, their shapes and types: by it a run knows whether its data is still
        the same."""
        digest = hashlib.sha256()
        for data in (self.train, self.validation):
            if data is not None:
                digest.update(f"{data.rows.dtype} {data.rows.shape};".encode())
                for _, rows in data.chunks():
                    digest.update(np.ascontiguousarray(rows).data)
        return digest.hexdigest()


def load_data(source: str, config: Config) -> Data:
    """Load what is to be trained on, with the configuration's wishes about pictures. Raises as
    ``datasets.load``."""
    size = config.picture_size()
    return load(
        source, **({"resize": size, "grey": config.grey or None} if size or config.grey else {})
    )


def lasting_name(source: str) -> str:
    """The name of a data set as it is, a path made absolute: a run must find its data from any
    folder."""
    file, mark, name = source.rpartition(":") if ".npz:" in source else (source, "", "")
    path = Path(file).expanduser()
    return (
        f"{path.resolve()}{mark}{name}"
        if file.partition(":")[0] not in DATASETS and path.exists()
        else source
    )


def prepare(data: Data, config: Config) -> Prepared:
    """Split off the validation rows and decide likelihood and transform. Raises UsageError and
    DataError."""
    fraction = config.validation_fraction()
    train, held_out = data, None
    if fraction and len(data) > 1:
        kept, apart = split_rows(len(data), fraction, config.seed)
        train, held_out = data.take(kept.numpy()), data.take(apart.numpy())
    decided = plan(
        train, config.likelihood, config.binarize, lambda name: str(LIKELIHOODS[name].form), data
    )
    if fraction is None:
        held_out = load_like(config.validation, decided.schema)
    return Prepared(train, held_out, decided)


def held_out(run: Run) -> tuple[Data, str]:
    """Rows that ``run`` was not trained on, and what they are: the data's test split, else its
    validation rows.

    Without either, the training rows: a bound on them flatters the model, and their name says so.
    Raises NotFoundError or DataError where the data of the run is gone or has changed.
    """
    data = load_data(run.source, run.config)
    if data.test_split and data.test_split != run.source:
        return load(data.test_split), data.test_split
    prepared = prepare(data, run.config)
    if prepared.validation is not None:
        return prepared.validation, f"the validation rows of {run.source}"
    return data, f"the training rows of {run.source}"
