"""A trained model together with what is needed to use it: rows of the data go in, rows of the data
come out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from aevb.config import Config
from aevb.datasets import load_like
from aevb.datasets.rows import Rows, rows_of
from aevb.datasets.schema import Data, Schema
from aevb.engine.processes import Group
from aevb.errors import DataError, UsageError
from aevb.evaluation.baseline import baseline_rows
from aevb.evaluation.bound import Figure, RowTerms, elbo_rows, summarise
from aevb.evaluation.log_likelihood import importance_rows
from aevb.model import VAE
from aevb.probability.distributions import DiagonalNormal
from aevb.probability.seeds import counter_seed

Source = Data | NDArray[Any] | str | Path
"""Rows: what ``aevb.datasets.load`` returns, an array, or what it takes: the name of a data set, or
a path."""

CHUNK = 2048
"""Rows that go through the network at once outside training: bounds memory, changes no result."""


@dataclass(repr=False)
class Run:
    """A trained VAE. Every array is in the units and the shape of the data that it was trained on.
    Where rows are asked for, the name of a data set or a path does as well: a folder's pictures are
    brought to the size of those trained on.

    model: the VAE. config: how it was trained. likelihood: by name. schema: the data's form.
    source: the data's name or path. history: one dictionary per epoch, as in metrics.jsonl.
    kept_epoch: the epoch whose weights the model has, 0 where it is not known. baseline: the
    independent columns of the training rows, from ``fit_baseline``. trained: completed epochs, 0
    where it is not known.
    """

    model: VAE
    config: Config
    likelihood: str
    schema: Schema
    source: str
    history: list[dict[str, Any]] = field(default_factory=list)
    kept_epoch: int = 0
    baseline: Tensor | None = None
    trained: int = 0

    def __repr__(self) -> str:
        rows, record = " x ".join(map(str, self.schema.shape)), self.kept_record
        epochs = (
            f"trained {self.trained} of {self.config.epochs} epochs"
            if self.trained
            else "epochs not known"
        )
        which = "validation_bound" if "validation_bound" in record else "bound"
        bound = f", {which.replace('_', ' ')} {record[which]:.2f} nats" if which in record else ""
        return (
            f"<Run on {self.source}: rows of {rows}, {self.likelihood}, latent_dim"
            f" {self.model.latent_dim}; {epochs}{bound}>"
        )

    @property
    def stopped_by_patience(self) -> bool:
        """Whether training ended early since the validation bound had not risen for ``patience``
        epochs."""
        return (
            self.trained < self.config.epochs
            and 0 < self.config.patience <= self.trained - self.kept_epoch
        )

    @property
    def is_unfinished(self) -> bool:
        """Whether training was cut short, by a signal or a kill."""
        return 0 < self.trained < self.config.epochs and not self.stopped_by_patience

    @property
    def device(self) -> torch.device:
        """Where the model's parameters are."""
        return next(self.model.parameters()).device

    def to(self, device: str) -> Self:
        """Move the model, and with it all that is computed: "cpu", "cuda", or "auto". Returns the
        run. Raises UsageError."""
        self.model.to(Group().device(device))
        return self

    @property
    def kept_record(self) -> dict[str, Any]:
        """The record of the epoch whose weights were kept, the best with patience, else the last;
        empty if it is missing."""
        return next((record for record in self.history if record["epoch"] == self.kept_epoch), {})

    @property
    def log_jacobian(self) -> float:
        """Nats to add to a log-density of the model's numbers for one of the data; 0 where log p is
        that of a probability."""
        return 0.0 if self.model.likelihood.discrete else self.schema.log_jacobian

    def tensor(self, data: Source, seed: int = 0) -> Tensor:
        """Rows of the data -> x: (N, D), the model's numbers. Raises DataError for rows of another
        form, NotFoundError.

        seed: of the binarisation, where the model was trained on pictures binarised at random.
        """
        rows = self.stored(data, seed)
        return rows.head(len(rows))

    def stored(self, data: Source, seed: int = 0) -> Rows:
        """As ``tensor``, for any number of rows: they become the model's numbers a part at a time."""
        if isinstance(data, str | Path):
            data = load_like(data, self.schema)
        elif not isinstance(data, Data):
            data = from_array(data, "the array", like=self.schema)
        # Outside training, dynamic binarisation is one draw as well.
        schema = (
            replace(self.schema, binarize="static")
            if self.schema.binarize == "dynamic"
            else self.schema
        )
        rows = rows_of(data, schema, counter_seed(seed, "binarize"), self.device)
        for x in rows.split(CHUNK):
            self.model.likelihood.check(x)
        return rows

    def sample(self, n: int, *, seed: int = 0, noise: bool | None = None) -> NDArray[Any]:
        """Draw z ~ p(z) and return new rows: (n, *shape), as ``aevb sample`` does.

        noise: True for draws from p(x|z), False for its means, which vary less than the data does. None: draws, but means of
        pictures. Raises UsageError unless n is at least 1.
        """
        if n < 1:
            raise UsageError(f"the number of samples must be at least 1; got {n}")
        noise = not self.schema.is_picture if noise is None else noise
        with torch.random.fork_rng():
            torch.manual_seed(counter_seed(seed, "sample"))
            sizes = [min(CHUNK, n - start) for start in range(0, n, CHUNK)]
            return self.rows(torch.cat([self.model.sample(size, noise=noise) for size in sizes]))

    @torch.no_grad()
    def encode(self, data: Source) -> tuple[NDArray[Any], NDArray[Any]]:
        """Mean and log-variance of q(z|x) for every row: (N, L) each. No sampling: the same rows give the same codes.

        Those of a flow are taken over a fixed set of draws, since they have no closed form.
        """
        means, logvars = [], []
        for x in self.stored(data).split(
            CHUNK if self.config.posterior == "diagonal" else CHUNK // 16
        ):
            q = self.model.posterior_given(x)
            means.append(q.mean)
            logvars.append(q.logvar if isinstance(q, DiagonalNormal) else q.variance.log())
        return torch.cat(means).cpu().numpy(), torch.cat(logvars).cpu().numpy()

    @torch.no_grad()
    def decode(self, z: NDArray[Any]) -> NDArray[Any]:
        """z: (N, L) -> the means of p(x|z): (N, *shape). Raises DataError for codes of another
        shape."""
        codes, latent_dim = (
            torch.as_tensor(z, dtype=torch.float32, device=self.device),
            self.model.latent_dim,
        )
        if codes.ndim != 2 or codes.shape[1] != latent_dim:
            raise DataError(
                f"expected codes of shape (N, {latent_dim}); got {tuple(codes.shape)}. "
                "Give the means that encode returns, or draws from the prior."
            )
        return self.rows(torch.cat([self.model.decode(part) for part in codes.split(CHUNK)]))

    def reconstruct(self, data: Source) -> NDArray[Any]:
        """Decode the mean of q(z|x) of every row: (N, *shape)."""
        return self.rows(
            torch.cat([self.model.reconstruct(x) for x in self.stored(data).split(CHUNK)])
        )

    def elbo_rows(self, data: Source, *, samples: int = 1, seed: int = 0) -> RowTerms:
        """The bound's terms for every row, in nats and in the data's own units. samples: draws of z
        per row."""
        return self.elbo_rows_of(self.stored(data, seed), samples=samples, seed=seed)

    def elbo_rows_of(self, x: Tensor | Rows, *, samples: int = 1, seed: int = 0) -> RowTerms:
        """As ``elbo_rows``, of the model's own numbers x: (N, D)."""
        seed = counter_seed(seed, "evaluate")
        return elbo_rows(self.model, x, samples=samples, seed=seed, log_jacobian=self.log_jacobian)

    def score(
        self,
        data: Source,
        *,
        samples: int = 1000,
        seed: int = 0,
        on_rows: Callable[[int], None] | None = None,
    ) -> dict[str, NDArray[Any]]:
        """How likely each row is, (N,) each, nats: ``log_likelihood``, by importance sampling with
        ``samples`` draws of z, and its ``effective_sample_size``; ``bound``, ``reconstruction`` and
        ``kl``; ``baseline``, where the run has one.

        on_rows(n): called as rows are done. Raises DataError for rows of another form, UsageError
        for samples below 1.
        """
        x, done = self.stored(data, seed), 0
        estimates = []
        for part in x.split(CHUNK):
            estimates.append(
                importance_rows(
                    self.model,
                    part,
                    samples=samples,
                    seed=seed,
                    first=done,
                    log_jacobian=self.log_jacobian,
                    on_rows=on_rows,
                )
            )
            done += len(part)
        terms = self.elbo_rows_of(x, seed=seed)
        found = {
            "log_likelihood": torch.cat([estimate.log_likelihood for estimate in estimates]),
            "effective_sample_size": torch.cat(
                [estimate.effective_sample_size for estimate in estimates]
            ),
            "bound": terms.bound,
            "reconstruction": terms.reconstruction,
            "kl": terms.kl.sum(-1),
            "baseline": self.baseline_rows(x),
        }
        return {
            name: values.double().cpu().numpy()
            for name, values in found.items()
            if values is not None
        }

    def baseline_rows(self, x: Tensor | Rows) -> Tensor | None:
        """log p of the independent columns. x: (N, D) -> (N,), nats in the data's own units; None
        without a baseline."""
        if self.baseline is None:
            return None
        baseline, form = self.baseline.to(x.device), self.model.likelihood.form
        return (
            torch.cat([baseline_rows(baseline, part, form) for part in x.split(CHUNK)])
            + self.log_jacobian
        )

    def evaluate(self, data: Source, *, samples: int = 1, seed: int = 0) -> dict[str, Figure]:
        """``bound``, ``reconstruction`` and ``kl`` as means over the rows, with standard errors.

        For log p(x), samples and latents too, see ``aevb.runs.report.evaluate``.
        """
        return summarise(self.elbo_rows(data, samples=samples, seed=seed))

    def rows(self, x: Tensor) -> NDArray[Any]:
        """x: (N, D), the model's numbers -> rows of the data: (N, *shape)."""
        return self.schema.to_data(x.cpu().numpy())


def from_array(array: Any, source: str, like: Schema | None = None) -> Data:
    """Rows without a file: an array, or a data frame, whose columns keep their names.

    like: the form that the rows are meant to have. An array cannot say which value is white; it is
    taken to be that of ``like`` unless the values tell otherwise: beyond it, or fractions of 1
    where white is more than that.
    """
    names = tuple(getattr(array, "columns", ()))
    columns = names if names and all(isinstance(name, str) for name in names) else None
    data = Data(np.asarray(array), source, columns=columns)
    if like is None or like.white is None or data.white == like.white:
        return data
    low, high = data.range
    fractions = data.rows.dtype.kind in "bf" and 0 < high <= 1 < like.white
    return (
        replace(data, white=like.white)
        if low >= 0 and high <= like.white and not fractions
        else data
    )
