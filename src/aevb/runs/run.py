"""Use a trained model: rows of the data go in, and rows of the data come out."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Self

import torch
from numpy.typing import NDArray
from torch import Tensor

from aevb.config import Config
from aevb.datasets.given import given
from aevb.datasets.kinds import like
from aevb.datasets.rows import Rows, rows_of
from aevb.datasets.schema import Data, Schema
from aevb.datasets.tabular.frames import frame_of
from aevb.engine.processes import Group
from aevb.errors import DataError, UsageError
from aevb.evaluation.baseline import baseline_rows
from aevb.evaluation.bound import Figure, RowTerms, elbo_rows, summarise
from aevb.model import VAE
from aevb.parts.likelihoods.mixed import Mixed
from aevb.probability.distributions import DiagonalNormal
from aevb.probability.seeds import counter_seed
from aevb.runs.automatic import planned_epochs, why_ended

Source = Data | NDArray[Any] | str | os.PathLike[str] | Any
"""Rows: ``Data``, the name of a data set, a path, or any value that ``given`` understands."""

CHUNK = 2048
"""Outside training, this many rows go through the network at once. It bounds the memory."""
MOST_DECODED = 2**22
"""Rows of more numbers than this in all are not decoded at once: a network takes many times more.

Samples of rows of more than 2048 numbers depend on this bound, since each part is drawn by itself.
"""


@dataclass(repr=False)
class Run:
    """A trained VAE, with all that is needed to use it. ``aevb.fit`` and ``aevb.load`` return one.

    Arrays of rows have the units and the shape of the data that the model was trained on. Methods
    that take rows also take the name of a data set or a path. The pictures of a folder are resized
    to the size of the training pictures.

    Args:
        model: The VAE.
        config: The settings of the training.
        likelihood: The name of the likelihood.
        schema: The form of the data.
        source: The name or the path of the data.
        history: One dictionary for each epoch, as in metrics.jsonl.
        kept_epoch: The epoch whose weights the model has, or 0 if this is not known.
        baseline: The parameters of the baseline, from ``fit_baseline`` on the training rows.
        trained: How many epochs were completed, or 0 if this is not known.
        steps: How many steps these epochs had, or 0 if this is not known.
        seconds: How long the training took, if its settings limit that (``minutes``), else 0.

    Example:
        >>> import aevb
        >>> run = aevb.fit("moons", aevb.Config(epochs=2, hidden=(16,), latent_dim=2))
        >>> run.source, run.likelihood, run.trained, len(run.history)
        ('moons', 'gaussian', 2, 2)
        >>> rows = run.sample(5)
        >>> means, logvars = run.encode(rows)
        >>> rows.shape, means.shape, logvars.shape, run.decode(means).shape
        ((5, 2), (5, 2), (5, 2), (5, 2))
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
    steps: int = 0
    seconds: float = 0.0

    def __post_init__(self) -> None:
        # Tokens have no mean: that of 3 and 5 is not the token 4.
        self.model.most_likely = self.schema.vocabulary is not None

    def __repr__(self) -> str:
        rows, record = " x ".join(map(str, self.schema.shape)), self.kept_record
        epochs = (
            f"trained {self.trained} of {planned_epochs(self.config)} epochs"
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
    def ended(self) -> str:
        """Why training ended: ``planned``, ``patience`` or ``time``; "" if it was cut short."""
        return why_ended(self.config, self.trained, self.steps, self.kept_epoch, self.seconds)

    @property
    def stopped_by_patience(self) -> bool:
        """Whether training ended because the validation bound stopped rising (``patience``)."""
        return self.ended == "patience"

    @property
    def is_unfinished(self) -> bool:
        """Whether training was cut short, for example by Ctrl-C."""
        return self.trained > 0 and not self.ended

    @property
    def device(self) -> torch.device:
        """Where the model's parameters are."""
        return next(self.model.parameters()).device

    def to(self, device: str) -> Self:
        """Move the model to a device and return the run. All later work happens there.

        device: "cpu", "cuda" or "auto".

        Raises:
            UsageError: There is no such device.

        Example:
            >>> import aevb
            >>> run = aevb.fit("moons", aevb.Config(epochs=1, hidden=(8,), latent_dim=2))
            >>> run.to("cpu").device
            device(type='cpu')
        """
        self.model.to(Group().device(device))
        return self

    @property
    def kept_record(self) -> dict[str, Any]:
        """The record of the epoch whose weights the model has, or {} if it is missing.

        This is the best epoch with ``patience``, and otherwise the last.
        """
        return next((record for record in self.history if record["epoch"] == self.kept_epoch), {})

    @property
    def log_jacobian(self) -> float:
        """Nats to add to a log-density of the model's numbers to get that of the data.

        It is 0 if p(x|z) is a probability and not a density.
        """
        return 0.0 if self.model.likelihood.discrete else self.schema.log_jacobian

    def tensor(self, data: Source, seed: int = 0) -> Tensor:
        """Turn rows of the data into the model's numbers x: (N, D).

        Args:
            data: Rows.
            seed: Seeds the binarisation, if the model was trained on rows binarised at random.

        Raises:
            DataError: The rows do not have the form of the training rows.
            NotFoundError: There is no such data set or file.

        Example:
            >>> import aevb
            >>> run = aevb.fit("moons", aevb.Config(epochs=1, hidden=(8,), latent_dim=2))
            >>> x = run.tensor("moons")
            >>> x.shape, [round(s, 2) for s in x.std(0).tolist()]  # standardised
            (torch.Size([2000, 2]), [1.0, 1.0])
        """
        rows = self.stored(data, seed)
        return rows.head(len(rows))

    def stored(self, data: Source, seed: int = 0, binarize: str = "") -> Rows:
        """Return ``Rows``, which become the model's numbers one part at a time.

        Other arguments and errors are those of ``tensor``. The rows may be too many for memory.

        binarize: How grey levels are treated. "": as in training, but each row is drawn once.

        Example:
            >>> import aevb
            >>> run = aevb.fit("moons", aevb.Config(epochs=1, hidden=(8,), latent_dim=2))
            >>> [len(x) for x in run.stored("moons").split(1500)]
            [1500, 500]
        """
        # Outside training, dynamic binarisation draws each row once, as static binarisation does.
        once = "static" if self.schema.binarize == "dynamic" else self.schema.binarize
        data = given(data, like=self.schema)
        data = like(data, self.schema)
        self.schema.require(data)
        schema = replace(self.schema, binarize=binarize or once)
        rows = rows_of(data, schema, counter_seed(seed, "binarize"), self.device)
        for x in rows.split(CHUNK):
            self.model.likelihood.check(x)
        return rows

    def sample(
        self, n: int | None = None, *, given: Any = None, seed: int = 0, noise: bool | None = None
    ) -> Any:
        """Draw z ~ p(z) and return new rows: (n, *shape), or a frame for a table.

        Args:
            n: How many rows. It may be left out if ``given`` is a data frame.
            given: Conditions on the rows of a table: {"sex": "Female", "age": (60, None)}, or texts
                as ``aevb sample --given`` takes them. With a data frame, each of its rows is a set
                of conditions for one new row; missing cells and absent columns are free.
            seed: Seeds the draws. ``aevb sample`` with the same seed makes the same rows.
            noise: True for draws from p(x|z), False for its means, which vary less than the data.
                Default: means for pictures, draws for counts and for anything else. Tokens have no
                mean; the most likely ones take its place, here and in ``decode`` and
                ``reconstruct``.

        Raises:
            UsageError: ``n`` is below 1, or a condition cannot be met.
            DataError: A data frame of conditions has a column or a cell that the model cannot have.

        Example:
            >>> import aevb
            >>> run = aevb.fit("moons", aevb.Config(epochs=1, hidden=(8,), latent_dim=2))
            >>> rows = run.sample(16, seed=3)
            >>> rows.shape, bool((run.sample(16, seed=3) == rows).all())
            ((16, 2), True)
        """
        if given is None:
            return self.rows(self.sample_x(0 if n is None else n, seed=seed, noise=noise))
        from aevb.runs.given import sample_frame

        return sample_frame(self, n, given, seed=seed)

    def impute(
        self,
        data: Source,
        *,
        draws: int | None = None,
        method: str = "",
        seed: int = 0,
    ) -> Any:
        """Fill the missing cells of a table, given the other cells of each row.

        Args:
            data: Rows: a data frame, or the path of a table. All other cells stay as they are.
            draws: How many versions to draw (multiple imputation). They come one after the other in
                one frame, with the columns .imp (the version) and .id (the row), as in R's mice.
            method: "mean": the conditional mean of numbers and the most likely level; "draw": a
                draw. Default: "draw" if ``draws`` are given, else "mean".
            seed: Seeds the draws.

        Raises:
            DataError: The rows do not have the form of the training rows.
            UsageError: The model does not take missing cells.

        Example:
            >>> import aevb
            >>> run = aevb.fit("moons", aevb.Config(epochs=1, hidden=(8,), latent_dim=2))
            >>> run.impute("holes.csv")
            Traceback (most recent call last):
            aevb.errors.UsageError: impute is for tables; this run was trained on moons, which is \
none; give a run of a table
        """
        from aevb.runs.impute import impute

        return impute(self, data, draws=draws, method=method, seed=seed)

    def sample_x(self, n: int, *, seed: int = 0, noise: bool | None = None) -> Tensor:
        """Draw new rows as ``sample`` does, as the model's numbers x: (n, D).

        Example:
            >>> import aevb
            >>> run = aevb.fit("moons", aevb.Config(epochs=1, hidden=(8,), latent_dim=2))
            >>> bool((run.rows(run.sample_x(3)) == run.sample(3)).all())
            True
        """
        if n < 1:
            raise UsageError(f"the number of samples must be at least 1; got {n}")
        noise = self.schema.is_drawn if noise is None else noise
        with torch.random.fork_rng():
            torch.manual_seed(counter_seed(seed, "sample"))
            most = self._decoded_at_once
            sizes = [min(most, n - start) for start in range(0, n, most)]
            return torch.cat([self.model.sample(size, noise=noise) for size in sizes])

    @property
    def _decoded_at_once(self) -> int:
        most = CHUNK * (4 if self.schema.families else 1)  # a chain has small steps
        return min(most, max(1, MOST_DECODED // self.schema.data_dim))

    @torch.no_grad()
    def encode(self, data: Source) -> tuple[NDArray[Any], NDArray[Any]]:
        """Return the mean and the log-variance of q(z|x) for every row: (N, L) each.

        The same rows always give the same codes. The mean and the variance of a flow have no closed
        form, and are computed from a fixed set of draws.

        Example:
            >>> import aevb
            >>> run = aevb.fit("moons", aevb.Config(epochs=1, hidden=(8,), latent_dim=2))
            >>> means, logvars = run.encode("moons:test")
            >>> means.shape, logvars.shape
            ((2000, 2), (2000, 2))
        """
        means, logvars = [], []
        # The mean and the variance of a flow take many draws for each row.
        size = CHUNK if self.config.posterior == "diagonal" else CHUNK // 16
        for x in self.stored(data).split(size):
            q = self.model.posterior_given(x)
            means.append(q.mean)
            logvars.append(q.logvar if isinstance(q, DiagonalNormal) else q.variance.log())
        return torch.cat(means).cpu().numpy(), torch.cat(logvars).cpu().numpy()

    def decode(self, z: NDArray[Any]) -> Any:
        """Return the means of p(x|z): (N, *shape), or a frame for a table. z: (N, L).

        Raises:
            DataError: The codes have a wrong shape.

        Example:
            >>> import aevb, numpy as np
            >>> run = aevb.fit("moons", aevb.Config(epochs=1, hidden=(8,), latent_dim=2))
            >>> run.decode(np.zeros((3, 2))).shape
            (3, 2)
        """
        return self.rows(self.decode_x(z))

    @torch.no_grad()
    def decode_x(self, z: NDArray[Any]) -> Tensor:
        """Return the means of p(x|z) as ``decode`` does, as the model's numbers x: (N, D).

        Example:
            >>> import aevb, numpy as np
            >>> run = aevb.fit("moons", aevb.Config(epochs=1, hidden=(8,), latent_dim=2))
            >>> run.decode_x(np.zeros((3, 2))).shape
            torch.Size([3, 2])
        """
        latent_dim = self.model.latent_dim
        codes = torch.as_tensor(z, dtype=torch.float32, device=self.device)
        if codes.ndim != 2 or codes.shape[1] != latent_dim:
            raise DataError(
                f"expected codes of shape (N, {latent_dim}); got {tuple(codes.shape)}. "
                "Give the means that encode returns, or draws from the prior."
            )
        parts = codes.split(self._decoded_at_once)
        return torch.cat([self.model.decode(part) for part in parts])

    def reconstruct(self, data: Source) -> Any:
        """Encode every row and decode the mean of q(z|x): (N, *shape), or a frame for a table.

        Example:
            >>> import aevb
            >>> run = aevb.fit("moons", aevb.Config(epochs=1, hidden=(8,), latent_dim=2))
            >>> run.reconstruct("moons").shape
            (2000, 2)
        """
        parts = [self.model.reconstruct(x) for x in self.stored(data).split(CHUNK)]
        return self.rows(torch.cat(parts))

    def elbo_rows(self, data: Source, *, samples: int = 1, seed: int = 0) -> RowTerms:
        """Estimate the terms of the bound for every row, in nats and in the data's own units.

        Args:
            data: Rows.
            samples: Draws of z for each row.
            seed: Seeds the draws.

        Example:
            >>> import aevb
            >>> run = aevb.fit("moons", aevb.Config(epochs=1, hidden=(8,), latent_dim=2))
            >>> terms = run.elbo_rows("moons")
            >>> terms.bound.shape, terms.kl.shape
            (torch.Size([2000]), torch.Size([2000, 2]))
        """
        return self.elbo_rows_of(self.stored(data, seed), samples=samples, seed=seed)

    def elbo_rows_of(self, x: Tensor | Rows, *, samples: int = 1, seed: int = 0) -> RowTerms:
        """Estimate the terms of the bound as ``elbo_rows`` does, from the model's numbers.

        Args:
            x: (N, D).
            samples: Draws of z for each row.
            seed: Seeds the draws.

        Example:
            >>> import aevb
            >>> run = aevb.fit("moons", aevb.Config(epochs=1, hidden=(8,), latent_dim=2))
            >>> x = run.tensor("moons")
            >>> bool((run.elbo_rows_of(x).bound == run.elbo_rows("moons").bound).all())
            True
        """
        seed = counter_seed(seed, "evaluate")
        return elbo_rows(self.model, x, samples=samples, seed=seed, log_jacobian=self.log_jacobian)

    def score(
        self,
        data: Source,
        *,
        samples: int = 1000,
        seed: int = 0,
        columns: bool = False,
        on_rows: Callable[[int], None] | None = None,
    ) -> dict[str, NDArray[Any]]:
        """Measure how likely each row is.

        The scores of a row are a function of the row, the model, ``samples`` and ``seed``: they are
        the same, to the last bit, for the row alone, among others and in any order. A row goes
        through the networks by itself, and its draws are seeded by what is in it. (Another
        machine, or another number of threads, may round differently.)

        Args:
            data: Rows.
            samples: Draws of z for each row.
            seed: Seeds the draws.
            columns: Also say what each column adds, for a table whose model takes missing cells.
            on_rows: Called with the number of rows each time some are done.

        Returns:
            Arrays (N,), in nats: ``log_likelihood`` by importance sampling, ``bound``,
            ``reconstruction`` and ``kl``, and ``baseline`` if the run has one. The array
            ``effective_sample_size`` belongs to ``log_likelihood``. All but the baseline are from
            the same draws: ``bound`` = ``reconstruction`` - ``kl`` is the mean over them of the
            logs whose exponentials ``log_likelihood`` averages, so it is never higher.
            For a table of mixed columns there is ``oddness``: minus log p(x) in units that can be
            compared, which ranks odd rows better. With ``columns`` there are also
            ``contributions`` (N, C), which add up to ``log_likelihood``, and ``oddest`` (N,), the
            name of each row's oddest column.

        Raises:
            DataError: The rows do not have the form of the training rows.
            UsageError: ``samples`` is below 1.

        Example:
            >>> import aevb
            >>> run = aevb.fit("moons", aevb.Config(epochs=1, hidden=(8,), latent_dim=2))
            >>> rows = [[0.0, 0.5], [50.0, 50.0]]
            >>> likely, odd = run.score(rows, samples=100)["log_likelihood"]
            >>> bool(likely > odd), bool(run.score(rows[1:], samples=100)["log_likelihood"] == odd)
            (True, True)
            >>> len(run.score(rows))
            6
        """
        from aevb.runs import scoring

        return scoring.score(
            self, data, samples=samples, seed=seed, columns=columns, on_rows=on_rows
        )

    def baseline_rows(self, x: Tensor | Rows) -> Tensor | None:
        """Return log p(x) of every row under independent columns: (N,), nats.

        The density is in the data's own units. None if the run has no baseline. x: (N, D).

        Example:
            >>> import aevb
            >>> run = aevb.fit("moons", aevb.Config(epochs=1, hidden=(8,), latent_dim=2))
            >>> run.baseline_rows(run.tensor("moons")).shape
            torch.Size([2000])
        """
        if self.baseline is None:
            return None
        baseline, likelihood = self.baseline.to(x.device), self.model.likelihood
        if isinstance(likelihood, Mixed):
            return torch.cat([likelihood.independent_rows(baseline, p) for p in x.split(CHUNK)])
        parts = [baseline_rows(baseline, part, likelihood.form) for part in x.split(CHUNK)]
        return torch.cat(parts) + self.log_jacobian

    def evaluate(self, data: Source, *, samples: int = 1, seed: int = 0) -> dict[str, Figure]:
        """Average ``bound``, ``reconstruction`` and ``kl`` over the rows, with standard errors.

        ``aevb.report.evaluate`` also measures log p(x), the samples and the codes.

        Args:
            data: Rows.
            samples: Draws of z for each row.
            seed: Seeds the draws.

        Example:
            >>> import aevb
            >>> run = aevb.fit("moons", aevb.Config(epochs=1, hidden=(8,), latent_dim=2))
            >>> sorted(run.evaluate("moons:test"))
            ['bound', 'kl', 'reconstruction']
        """
        return summarise(self.elbo_rows(data, samples=samples, seed=seed))

    def rows(self, x: Tensor) -> Any:
        """Turn the model's numbers x: (N, D) into rows of the data: (N, *shape).

        The rows of a table become a frame of the library that the data came from, with the same
        columns: constants are put back, and identifiers are numbered from 1.

        Example:
            >>> import aevb, torch
            >>> run = aevb.fit("moons", aevb.Config(epochs=1, hidden=(8,), latent_dim=2))
            >>> run.rows(torch.zeros(1, 2)).shape
            (1, 2)
        """
        rows, table = self.schema.to_data(x.cpu().numpy()), self.schema.table
        return rows if table is None else frame_of(rows, table)
