"""The state of a run: weights, moments, counters and history.

It is saved, restored when the run is resumed, and put back when training diverges.
"""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from aevb.engine.optimisers import Update
from aevb.engine.step import Engine, StepResult
from aevb.errors import DivergedError
from aevb.runs.run import Run
from aevb.storage import checkpoint
from aevb.storage.checkpoint import Progress, Saved
from aevb.storage.run_folder import append_metrics, metrics_to_disk, recorded, refuse_other_run

SAVE_SHARE = 0.02
"""Share of its time that a run spends on saves, at most."""
SAVE_SECONDS = 10.0
"""Seconds between two saves inside an epoch, at least."""


class TrainingState:
    """Everything that training changes. The caller makes sure that no signal interrupts a change.

    Args:
        run: the run; its model is trained in place.
        update: the optimiser, with its moments.
        kept: the tensors that the objective keeps from step to step.
        rows_sha256: the digest of the rows.
        folder: where the run is saved, or None.
        epoch_steps: steps of an epoch, to count those of a save that has no count.
    """

    def __init__(
        self,
        run: Run,
        update: Update,
        kept: dict[str, Tensor],
        rows_sha256: str,
        folder: Path | None,
        epoch_steps: int = 0,
    ) -> None:
        self.run, self.update, self.kept, self.folder = run, update, kept, folder
        self.epoch_steps = epoch_steps
        self._started = time.monotonic()
        self.progress = Progress(rows_sha256=rows_sha256)
        self.engine: Engine | None = None
        self.step = 0
        self._names: tuple[str, ...] = ()
        self._totals: Tensor | None = None
        self._best: dict[str, Tensor] | None = None
        self._best_rows: Tensor | None = None  # log p of the validation rows at their best
        # Everything that a step changes. References suffice, since every change is in place.
        self._live = [*run.model.buffers(), *update.tensors(), *kept.values()]
        self._floats = [
            value for value in self._live if value.is_floating_point() and value.numel()
        ]
        self._good: list[Tensor] | None = None
        self._last: dict[str, Tensor] | None = None  # where the best weights took their place
        self._newest: tuple[int, int] | None = None  # epoch and step of the newest save
        self._saved_at, self._save_seconds = time.monotonic(), 0.0

    @property
    def epoch(self) -> int:
        """The number of completed epochs."""
        return self.progress.epoch

    @property
    def steps(self) -> int:
        """The number of completed steps of the completed epochs."""
        return self.progress.steps

    @property
    def seconds(self) -> float:
        """How long the run has been training, if its settings limit that, else 0."""
        if self.run.config.minutes is None:
            return self.progress.seconds
        return self.progress.seconds + time.monotonic() - self._started

    def start_clock(self) -> None:
        """Count the time of training from now on."""
        self._started = time.monotonic()

    def totals(self) -> dict[str, float]:
        """The sum of each figure over the rows of the epoch so far."""
        if self._totals is None:
            return {}
        return dict(zip(self._names, self._totals.tolist(), strict=True))

    def finish_step(self, result: StepResult, rows: int) -> None:
        """Count a step on a batch of ``rows`` rows."""
        if self._totals is None:
            self._names = result.names
            self._totals = torch.zeros_like(result.log, dtype=torch.float64)
        self._totals.add_(result.log, alpha=rows)
        self.step += 1

    def is_due(self) -> bool:
        """Whether to save after the current step, in the middle of an epoch."""
        if self.folder is None:
            return False
        every, waited = self.run.config.save_every, time.monotonic() - self._saved_at
        enough = max(SAVE_SECONDS, self._save_seconds / SAVE_SHARE)
        return bool(every and (self.step + 1) % every == 0) or waited > enough

    def is_finite(self) -> bool:
        """Whether all weights and moments are finite.

        A moment may overflow before a gradient does, since it holds the gradient's square.
        """
        # Minimum and maximum show every NaN and infinity, and are 30 times as fast as a norm.
        ends = [end for value in self._floats for end in torch.aminmax(value)]
        return bool(torch.isfinite(torch.stack(ends)).all())

    def finish_epoch(self, record: dict[str, Any], rows: Tensor | None = None) -> None:
        """Count an epoch, keep its weights if they are the best so far, and save if it is time.

        rows: (N,), log p of the validation rows, whose mean is the record's. With it the weights
        are also kept if they are worse than the best by less than a standard error: of equals, the
        one that is trained longest.
        """
        self.progress = replace(
            self.progress, epoch=self.epoch + 1, steps=self.progress.steps + self.step
        )
        self.step, self._totals = 0, None
        self._keep_best(self._watched(record), rows)
        self._keep_good()
        self.run.history.append(record)
        if self.folder is not None:
            append_metrics(self.folder, record)
            if time.monotonic() - self._saved_at > self._save_seconds / SAVE_SHARE:
                self.save()

    def _watched(self, record: dict[str, Any]) -> float | None:
        """The figure that the best epoch has the most of: log p of the validation rows, or the
        validation bound. For a table of many rows the KL counts as at least what is free.
        Otherwise an epoch that makes no use of z would seem better than one trained to do so.
        """
        if "validation_log_likelihood" in record:
            return float(record["validation_log_likelihood"])
        bound: float | None = record.get("validation_bound")
        config = self.run.config
        if bound is None or self.run.likelihood != "mixed" or not config.free_bits:
            return bound
        free = config.free_bits * self.run.model.latent_dim
        return bound - max(0.0, free - float(record["validation_kl"]))

    def _keep_best(self, figure: float | None, rows: Tensor | None) -> None:
        """Note the best validation so far. With patience, keep its weights as well."""
        best = self.progress.best_bound
        if figure is None:
            return
        if best is None or figure > best:
            best, self._best_rows = figure, rows
        elif not self._is_as_good(rows):
            return
        self.progress = replace(self.progress, best_epoch=self.epoch, best_bound=best)
        if self.run.config.patience:
            weights = self.run.model.state_dict()
            self._best = {name: value.clone() for name, value in weights.items()}

    def _is_as_good(self, rows: Tensor | None) -> bool:
        """Whether log p of the rows is worse than the best by less than a standard error."""
        if rows is None or self._best_rows is None:
            return False
        worse = self._best_rows - rows
        return bool(worse.mean() < worse.std() / len(worse) ** 0.5)

    def _keep_good(self) -> None:
        """Remember weights and moments, to return to them if the next epoch diverges."""
        if self._good is None:
            self._good = [value.clone() for value in self._live]
        torch._foreach_copy_(self._good, self._live)

    def is_out_of_patience(self) -> bool:
        """Whether the validation bound has not risen for ``patience`` epochs."""
        patience = self.run.config.patience or 0
        return 0 < patience <= self.epoch - self.progress.best_epoch

    def finish(self, save: bool = True) -> None:
        """Save, and load the weights to use (with patience the best ones) into the model."""
        if save:
            self.save()
        if self._best is not None:
            weights = self.run.model.state_dict()
            self._last = {name: value.clone() for name, value in weights.items()}
            self.run.model.load_state_dict(self._best)
        self.run.kept_epoch = self.progress.kept_epoch(self.run.config)
        self.run.trained, self.run.steps = self.epoch, self.progress.steps
        self.run.seconds = self.seconds
        self.run.model.eval()

    def back_to_good(self, error: DivergedError) -> None:
        """Return to the end of the last good epoch, save it, and let the error say so."""
        if self._good is None:
            error.args = (f"{error}; {self._saved_in_words()}.",)
            return
        torch._foreach_copy_(self._live, self._good)
        self.step, self._totals = 0, None
        error.run = self.run
        is_saved = self._newest == (self.epoch, 0)
        error.args = (self._returned_in_words(str(error), is_saved),)
        self.finish(save=not is_saved)

    def _saved_in_words(self) -> str:
        """The newest save, as a phrase."""
        if self._newest is None:
            return "nothing was saved"
        epoch, step = self._newest
        return f"the last save is that of epoch {epoch + 1}, step {step}"

    def _returned_in_words(self, what: str, is_saved: bool) -> str:
        """A sentence about the weights that remain after a failure. what: what went wrong."""
        weights = f"the weights of epoch {self.epoch}"
        goes_on = "--resume --learning-rate goes on from there"
        if self.folder is None:
            return f"{what}; the error's run has {weights}."
        if is_saved:
            return f"{what}: what was saved before is unchanged, {weights}; {goes_on}."
        return f"{what}: {weights} are back and saved; {goes_on}."

    def save_prior(self, run: Run) -> None:
        """Save the finished run again, with the prior of ``run``, which was fitted to its codes.

        A run that is continued goes on with the prior that it was trained with.
        """
        if run is not self.run:
            self.save(run)

    def save(self, fitted: Run | None = None) -> None:
        """Save the weights to use, and everything that is needed to continue.

        fitted: the finished run with another prior.
        """
        if self.folder is None:
            return
        started = time.monotonic()
        metrics_to_disk(self.folder)
        weights = self._last or self.run.model.state_dict()
        parts = {"current": weights, "optimizer": self.update.state_dict(), "objective": self.kept}
        if self._best_rows is not None:
            parts["best"] = {"rows": self._best_rows}
        progress = replace(
            self.progress,
            step=self.step,
            totals=self.totals(),
            seconds=self.seconds,
            engine=asdict(self.engine) if self.engine else {},
            prior=_prior_of(fitted),
        )
        checkpoint.save(
            self.run,
            self.folder,
            weights=self._best or weights,
            progress=progress,
            prior=None if fitted is None else fitted.model.prior.state_dict(),
            state={
                f"{part}.{name}": value
                for part, tensors in parts.items()
                for name, value in tensors.items()
            },
        )
        self._newest = (self.epoch, self.step)
        self._saved_at = time.monotonic()
        self._save_seconds = self._saved_at - started

    def restore(self, folder: Path) -> Saved:
        """Continue from the newest save: weights, moments, counters and history.

        Returns the save. Raises UsageError or DataError for a save of another run or other rows.
        """
        saved = checkpoint.load_to_continue(folder)
        progress = saved.progress
        refuse_other_run(saved.run, progress, self.run, self.progress.rows_sha256)
        steps = progress.steps or progress.epoch * self.epoch_steps
        self.progress = replace(progress, rows_sha256=self.progress.rows_sha256, steps=steps)
        self.run.config = replace(self.run.config, start=saved.run.config.start)
        self._restore_best(saved.run, saved.state)
        self.run.model.load_state_dict(_part(saved.state, "current"))
        self.update.load_state_dict(_part(saved.state, "optimizer"))
        for name, value in self.kept.items():
            value.copy_(saved.state[f"objective.{name}"])
        self._restore_totals(progress)
        self.engine = Engine(**progress.engine) if progress.engine else None
        self.run.history = recorded(folder, saved.run.history, progress.epoch)
        self._newest = (progress.epoch, progress.step)
        if not progress.step:
            self._keep_good()
        return saved

    def _restore_best(self, saved: Run, state: dict[str, Tensor]) -> None:
        """Restore the best weights so far, if patience needs them and they were saved."""
        if not self.run.config.patience:
            return
        if saved.config.patience:
            weights = saved.model.state_dict()
            self._best = {name: value.to(self.run.device) for name, value in weights.items()}
            self._best_rows = state.get("best.rows")
        else:  # look for the best from here on
            self.progress = replace(self.progress, best_epoch=self.epoch, best_bound=None)

    def _restore_totals(self, progress: Progress) -> None:
        """Restore the step within the current epoch, and the sums of its figures."""
        self.step, self._names = progress.step, tuple(progress.totals)
        if progress.step:
            totals = list(progress.totals.values())
            self._totals = torch.tensor(totals, dtype=torch.float64, device=self.run.device)


def _part(state: dict[str, Tensor], name: str) -> dict[str, Tensor]:
    """The tensors of one part of a saved state, by their names within it."""
    prefix = f"{name}."
    return {
        key.removeprefix(prefix): value for key, value in state.items() if key.startswith(prefix)
    }


def _prior_of(run: Run | None) -> dict[str, Any]:
    """The settings of a prior that was fitted after training."""
    if run is None:
        return {}
    return {"prior": run.config.prior, "components": run.config.components}
