"""The training loop, from top to bottom: split, plan, build, step, measure, save.

Each step is a pure function of (seed, epoch, step) and of the weights and moments before it: the order of the rows, the
binarisation and the noise of z are drawn from counters, never from a generator that remembers. That is why a run that was
interrupted and resumed ends in the same bits as one that was not (on the same number of threads).
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from aevb import checkpoint
from aevb.batches import counter_seed, epoch_batches, generator, steps_per_epoch
from aevb.checkpoint import SETTINGS, Progress
from aevb.config import Config, build, optimizer_for
from aevb.datasets.schema import Data
from aevb.errors import DivergedError, UsageError
from aevb.evaluation.baseline import fit_baseline
from aevb.evaluation.bound import elbo_rows, summarise
from aevb.evaluation.nonfinite import where_not_finite
from aevb.folder import append_metrics, clear, metrics_to_disk, recorded, refuse_existing, refuse_other_run, start
from aevb.interfaces import Estimate, Objective
from aevb.preparation import Prepared, lasting_name, prepare
from aevb.run import Run, from_array

SAVE_SHARE = 0.02
"""A run saves itself at the end of an epoch, as often as this share of its time allows, and at its own end."""

Record = dict[str, Any]
"""One line of metrics.jsonl: figures of one epoch, in nats per row and in the data's own units."""


def fit(
    data: Data | NDArray[Any],
    config: Config | None = None,
    *,
    out: str | Path | None = None,
    resume: bool = False,
    prepared: Prepared | None = None,
    on_step: Callable[[int, int, dict[str, Tensor]], None] | None = None,
    on_epoch: Callable[[Record], None] | None = None,
) -> Run:
    """Train a VAE on ``data``: what ``aevb.datasets.load`` returns, or an array with one row per example.

    out: a folder for the run, saved as it goes; without one nothing is written. resume: continue the run that is there.
    prepared: from ``prepare``, where it was called before. on_step(epoch, step, log), counted from 0 and from 1, and
    on_epoch(record): called after each.

    Raises UsageError or DataError for settings or rows that cannot be used, OutputExistsError if ``out`` holds anything and
    ``resume`` is False, CannotWriteError, and DivergedError when the loss is no longer a finite number.
    """
    config = config or Config()
    if not isinstance(data, Data):
        data = from_array(data, "an array")
    folder = None if out is None else Path(out)
    if folder is not None and not (resume and (folder / SETTINGS).is_file()):
        refuse_existing(folder)
    prepared = prepared or prepare(data, config)
    with _threads(config.threads), torch.random.fork_rng():
        device = _device(config.device)
        steps = steps_per_epoch(len(prepared.train), config.batch_size)
        torch.manual_seed(counter_seed(config.seed, "weights"))
        schema = prepared.plan.schema
        model, objective = build(config, prepared.plan.likelihood, schema.shape, steps, schema.levels)
        run = Run(model.to(device), config, prepared.plan.likelihood, prepared.plan.schema, lasting_name(data.source))
        loop = _Loop(run, objective.to(device), prepared, folder)
        torch.manual_seed(counter_seed(config.seed, "prior"))
        model.prior.initialise(loop.x)
        created: list[Path] = []
        if folder is not None:
            if resume and checkpoint.exists(folder):
                loop.restore(folder)
            created = start(folder, run)
        try:
            loop.run_epochs(on_step, on_epoch)
        except DivergedError:
            if folder is not None and not checkpoint.exists(folder):
                clear(created)
            raise
    return run


class _Loop:
    """What changes while a run trains: weights, moments, progress, history."""

    def __init__(self, run: Run, objective: Objective, prepared: Prepared, folder: Path | None) -> None:
        self.run, self.objective, self.prepared, self.folder = run, objective, prepared, folder
        self.config, self.model = run.config, run.model
        self.optimizer = optimizer_for(run.config, run.model)
        self.x = torch.from_numpy(run.schema.to_model(prepared.train, counter_seed(self.config.seed, "binarize", "train")))
        self.model.likelihood.check(self.x)
        self.x = self.x.to(run.device)
        run.baseline = fit_baseline(self.x, self.model.likelihood.form, run.schema.levels)
        self.x_validation = None if prepared.validation is None else run.tensor(prepared.validation, self.config.seed)
        self.progress = Progress(threads=torch.get_num_threads(), rows_sha256=prepared.rows_sha256())
        self.best: dict[str, Tensor] | None = None
        self.good: dict[str, Any] | None = None
        self.resumed_at: int | None = None
        self.saved_at, self.save_seconds = time.monotonic(), 0.0

    def run_epochs(
        self, on_step: Callable[[int, int, dict[str, Tensor]], None] | None, on_epoch: Callable[[Record], None] | None
    ) -> None:
        """Train, measure and save epoch by epoch, from where the run stands to its end."""
        for epoch in range(self.progress.epoch, self.config.epochs):
            if self.is_out_of_patience():
                break
            try:
                record = self.train_epoch(epoch, on_step)
                record |= self.validate(epoch)
            except DivergedError as error:
                self.back_to_good(error)
                raise
            self.finish_epoch(epoch, record)
            if on_epoch:
                on_epoch(record)
        self.finish()

    def train_epoch(self, epoch: int, on_step: Callable[[int, int, dict[str, Tensor]], None] | None) -> Record:
        """One pass over the training rows. The record's figures are averages over the rows as they were when seen."""
        self.model.train()
        steps = steps_per_epoch(len(self.x), self.config.batch_size)
        totals: dict[str, float] = {}
        for step, index in enumerate(epoch_batches(len(self.x), self.config.batch_size, self.config.seed, epoch)):
            log = self.train_step(epoch, step, epoch * steps + step, index)
            for name, value in log.items():
                totals[name] = totals.get(name, 0.0) + float(value) * len(index)
            if on_step:
                on_step(epoch, step + 1, log)
        if not all(bool(torch.isfinite(value).all()) for value in self.model.parameters()):
            raise self._diverged(f"weights that are not finite at the end of epoch {epoch + 1}")
        means = {name: total / len(self.x) for name, total in totals.items()}
        for name in means.keys() & {"bound", "reconstruction", "importance_bound"}:
            means[name] += self.run.log_jacobian
        if (noise := self.model.likelihood.noise) is not None:
            means["noise"] = float(noise.square().mean().sqrt())
        return {"epoch": epoch + 1, "samples": (epoch + 1) * len(self.x), **means}

    def train_step(self, epoch: int, step: int, global_step: int, index: Tensor) -> dict[str, Tensor]:
        """One update from the training rows of index: (B,). Weights never change by a gradient that is not finite."""
        x = self.x[index]
        if self.run.schema.binarize == "dynamic":
            x = torch.bernoulli(x, generator=generator(self.config.seed, "binarize", epoch, step, device=x.device))
        torch.manual_seed(counter_seed(self.config.seed, "noise", epoch, step))
        self.objective.schedule(global_step)
        estimate: Estimate = self.objective(self.model, x)
        self.optimizer.zero_grad(set_to_none=True)
        estimate.loss.backward()
        gradients = [parameter.grad for parameter in self.model.parameters() if parameter.grad is not None]
        if not (math.isfinite(estimate.loss.item()) and math.isfinite(torch.nn.utils.get_total_norm(gradients).item())):
            where = where_not_finite(self.model, x, index)
            raise self._diverged(f"a loss of {estimate.loss.item():.4g} at epoch {epoch + 1}, step {step + 1} ({where})")
        self.optimizer.step()
        return estimate.log

    def _diverged(self, what: str) -> DivergedError:
        return DivergedError(f"training led to {what}. Try a smaller learning rate than {self.config.learning_rate:g}")

    def back_to_good(self, error: DivergedError) -> None:
        """Put back the weights and moments of the last epoch that ended well, save them, and let the error say so."""
        done = self.progress.epoch
        if self.good is None:
            error.args = (f"{error}; nothing was saved.",)
            return
        self.model.load_state_dict(self.good["model"])
        self.optimizer.load_state_dict(self.good["optimizer"])
        error.run = self.run
        goes_on = "--resume --learning-rate goes on from there"
        if self.folder is None:
            error.args = (f"{error}; the error's run has the weights of epoch {done}.",)
        elif done == self.resumed_at:
            error.args = (f"{error}: what was saved before is unchanged, the weights of epoch {done}; {goes_on}.",)
        else:
            error.args = (f"{error}: the weights of epoch {done} are back and saved; {goes_on}.",)
        self.finish(save=done != self.resumed_at)

    def validate(self, epoch: int) -> Record:
        """The bound on the validation rows, always with weight 1 on the KL, on the same noise at every epoch."""
        if self.x_validation is None:
            return {}
        rows = elbo_rows(
            self.model,
            self.x_validation,
            seed=counter_seed(self.config.seed, "evaluate"),
            log_jacobian=self.run.log_jacobian,
        )
        if not bool(torch.isfinite(rows.bound).all()):
            bad = int((~torch.isfinite(rows.bound)).sum())
            raise self._diverged(f"a validation bound that is not finite for {bad} rows at the end of epoch {epoch + 1}")
        figures = summarise(rows)
        return {f"validation_{name}": figures[name].value for name in ("bound", "reconstruction", "kl")} | {
            "validation_standard_error": figures["bound"].standard_error
        }

    def finish_epoch(self, epoch: int, record: Record) -> None:
        """Keep the best weights if they are wanted, write the record, and save when it is time."""
        self.progress = replace(self.progress, epoch=epoch + 1)
        bound = record.get("validation_bound")
        if bound is not None and (self.progress.best_bound is None or bound > self.progress.best_bound):
            self.progress = replace(self.progress, best_epoch=epoch + 1, best_bound=bound)
            if self.config.patience:
                self.best = {name: value.clone() for name, value in self.model.state_dict().items()}
        self.keep_good()
        self.run.history.append(record)
        if self.folder is not None:
            append_metrics(self.folder, record)
            if time.monotonic() - self.saved_at > self.save_seconds / SAVE_SHARE:
                self.save()

    def keep_good(self) -> None:
        """Remember weights and moments, to go back to if the next epoch diverges."""
        self.good = {"model": deepcopy(self.model.state_dict()), "optimizer": deepcopy(self.optimizer.state_dict())}

    def is_out_of_patience(self) -> bool:
        """Whether the validation bound has not risen for ``patience`` epochs."""
        return 0 < self.config.patience <= self.progress.epoch - self.progress.best_epoch

    def finish(self, save: bool = True) -> None:
        """Save, and leave the model with the weights that are to be used."""
        if save and self.folder is not None:
            self.save()
        if self.best is not None:
            self.model.load_state_dict(self.best)
        self.run.kept_epoch = self.progress.kept_epoch(self.config)
        self.model.eval()

    def save(self) -> None:
        """Save the weights to be used (the best ones if they are wanted) and everything needed to continue."""
        assert self.folder is not None
        started = time.monotonic()
        metrics_to_disk(self.folder)
        weights = self.model.state_dict()
        state = {f"current.{name}": value for name, value in weights.items()}
        for index, moments in self.optimizer.state_dict()["state"].items():
            state |= {f"optimizer.{index}.{name}": value for name, value in moments.items()}
        checkpoint.save(self.run, self.folder, weights=self.best or weights, progress=self.progress, state=state)
        self.saved_at = time.monotonic()
        self.save_seconds = self.saved_at - started

    def restore(self, folder: Path) -> None:
        """Take up weights, moments, progress and history where they were saved."""
        saved = checkpoint.load(folder)
        progress, state = checkpoint.load_progress(folder)
        refuse_other_run(saved, progress, self.run, self.progress.rows_sha256)
        self.progress = replace(progress, rows_sha256=self.progress.rows_sha256)
        if self.config.patience and saved.config.patience:
            self.best = {name: value.to(self.run.device) for name, value in saved.model.state_dict().items()}
        elif self.config.patience:  # the best weights so far were not kept: look for the best from here on
            self.progress = replace(self.progress, best_epoch=self.progress.epoch, best_bound=None)
        self.model.load_state_dict({name[8:]: value for name, value in state.items() if name.startswith("current.")})
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in state.items():
            if name.startswith("optimizer."):
                _, index, key = name.split(".", 2)
                moments.setdefault(int(index), {})[key] = value
        self.optimizer.load_state_dict(self.optimizer.state_dict() | {"state": moments})
        self.run.history = recorded(folder, saved.history, self.progress.epoch)
        self.resumed_at = self.progress.epoch
        self.keep_good()


def _device(name: str) -> torch.device:
    if name == "cuda" and not torch.cuda.is_available():
        raise UsageError("device cuda: torch sees no CUDA device here. Use device cpu, or auto.")
    return torch.device("cuda" if name == "cuda" or (name == "auto" and torch.cuda.is_available()) else "cpu")


@contextmanager
def _threads(threads: int | None) -> Iterator[None]:
    """Set the number of CPU threads for the time of a run, and put the old number back."""
    before = torch.get_num_threads()
    if threads:
        torch.set_num_threads(threads)
    try:
        yield
    finally:
        torch.set_num_threads(before)
