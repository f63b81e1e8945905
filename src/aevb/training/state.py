"""Where a run stands: weights, moments, counters, history; saved, taken up again, and put back when
training diverges."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from aevb.engine.optimisers import Update
from aevb.engine.step import Engine
from aevb.errors import DivergedError
from aevb.runs.run import Run
from aevb.storage import checkpoint
from aevb.storage.checkpoint import Progress
from aevb.storage.run_folder import append_metrics, metrics_to_disk, recorded, refuse_other_run

SAVE_SHARE = 0.02
"""A run saves itself as often as this share of its time allows, and at its end."""
SAVE_SECONDS = 10.0
"""But inside an epoch not more often than this."""


class Standing:
    """kept: what the objective keeps from step to step. folder: where it is saved; None: nowhere.

    The caller sees to it that no signal interrupts what changes it.
    """

    def __init__(
        self,
        run: Run,
        update: Update,
        kept: dict[str, Tensor],
        rows_sha256: str,
        folder: Path | None,
    ) -> None:
        self.run, self.update, self.kept, self.folder = run, update, kept, folder
        self.progress = Progress(rows_sha256=rows_sha256)
        self.engine: Engine | None = None
        self.step = 0
        self._names: tuple[str, ...] = ()
        self._totals: Tensor | None = None
        self._best: dict[str, Tensor] | None = None
        # All that a step changes, by reference: every change is made in place.
        self._live = [*run.model.buffers(), *update.tensors(), *kept.values()]
        self._floats = [
            value for value in self._live if value.is_floating_point() and value.numel()
        ]
        self._good: list[Tensor] | None = None
        self._at: tuple[int, int] | None = None  # of the newest save: epoch, step
        self._saved_at, self._save_seconds = time.monotonic(), 0.0

    @property
    def epoch(self) -> int:
        """Completed epochs."""
        return self.progress.epoch

    def totals(self) -> dict[str, float]:
        """Sums over the rows of the epoch so far, of each figure of the log."""
        return (
            {}
            if self._totals is None
            else dict(zip(self._names, self._totals.tolist(), strict=True))
        )

    def finish_step(self, names: tuple[str, ...], log: Tensor, rows: int) -> None:
        """Count a step. names, log: of its figures, (names,), averaged over ``rows``."""
        if self._totals is None:
            self._names, self._totals = (
                names,
                torch.zeros(len(names), dtype=torch.float64, device=log.device),
            )
        self._totals.add_(log, alpha=rows)
        self.step += 1

    def is_due(self) -> bool:
        """Whether it is time to save inside an epoch, when the step under way is done."""
        if self.folder is None:
            return False
        every, waited = self.run.config.save_every, time.monotonic() - self._saved_at
        return bool(every and (self.step + 1) % every == 0) or waited > max(
            SAVE_SECONDS, self._save_seconds / SAVE_SHARE
        )

    def is_finite(self) -> bool:
        """Whether all weights and moments are. A moment overflows before a gradient does: it holds
        the square."""
        # The least and the greatest number carry every NaN and infinity on, in a thirtieth of the
        # time of a largest norm.
        ends = [end for value in self._floats for end in torch.aminmax(value)]
        return bool(torch.isfinite(torch.stack(ends)).all())

    def finish_epoch(self, record: dict[str, Any]) -> None:
        """Keep the best weights if they are wanted, write the record, and save when it is time."""
        self.progress = replace(self.progress, epoch=self.progress.epoch + 1)
        self.step, self._totals = 0, None
        bound = record.get("validation_bound")
        if bound is not None and (
            self.progress.best_bound is None or bound > self.progress.best_bound
        ):
            self.progress = replace(self.progress, best_epoch=self.epoch, best_bound=bound)
            if self.run.config.patience:
                self._best = {
                    name: value.clone() for name, value in self.run.model.state_dict().items()
                }
        self._keep_good()
        self.run.history.append(record)
        if self.folder is not None:
            append_metrics(self.folder, record)
            if time.monotonic() - self._saved_at > self._save_seconds / SAVE_SHARE:
                self.save()

    def is_out_of_patience(self) -> bool:
        """Whether the validation bound has not risen for ``patience`` epochs."""
        return 0 < self.run.config.patience <= self.epoch - self.progress.best_epoch

    def finish(self, save: bool = True) -> None:
        """Save, and leave the model with the weights that are to be used."""
        if save:
            self.save()
        if self._best is not None:
            self.run.model.load_state_dict(self._best)
        self.run.kept_epoch, self.run.trained = (
            self.progress.kept_epoch(self.run.config),
            self.epoch,
        )
        self.run.model.eval()

    def back_to_good(self, error: DivergedError) -> None:
        """Put back the weights and moments of the last epoch that ended well, save them, and let
        the error say so."""
        if self._good is None:
            saved = (
                f"the last save is that of epoch {self._at[0] + 1}, step {self._at[1]}"
                if self._at
                else "nothing was saved"
            )
            error.args = (f"{error}; {saved}.",)
            return
        torch._foreach_copy_(self._live, self._good)
        self.step, self._totals = 0, None
        error.run = self.run
        goes_on = "--resume --learning-rate goes on from there"
        unchanged = self._at == (self.epoch, 0)
        if self.folder is None:
            error.args = (f"{error}; the error's run has the weights of epoch {self.epoch}.",)
        elif unchanged:
            error.args = (
                (
                    f"{error}: what was saved before is unchanged, the weights of epoch"
                    f" {self.epoch}; {goes_on}."
                ),
            )
        else:
            error.args = (
                f"{error}: the weights of epoch {self.epoch} are back and saved; {goes_on}.",
            )
        self.finish(save=not unchanged)

    def _keep_good(self) -> None:
        """Remember weights and moments, to go back to if the next epoch diverges."""
        if self._good is None:
            self._good = [value.clone() for value in self._live]
        torch._foreach_copy_(self._good, self._live)

    def save(self) -> None:
        """Save the weights to be used (the best ones if they are wanted) and everything needed to
        continue."""
        if self.folder is None:
            return
        started = time.monotonic()
        metrics_to_disk(self.folder)
        weights = self.run.model.state_dict()
        state = {f"current.{name}": value for name, value in weights.items()}
        state |= {f"optimizer.{name}": value for name, value in self.update.state_dict().items()}
        state |= {f"objective.{name}": value for name, value in self.kept.items()}
        progress = replace(
            self.progress,
            step=self.step,
            totals=self.totals(),
            engine=asdict(self.engine) if self.engine else {},
        )
        checkpoint.save(
            self.run, self.folder, weights=self._best or weights, progress=progress, state=state
        )
        self._at = (self.epoch, self.step)
        self._saved_at = time.monotonic()
        self._save_seconds = self._saved_at - started

    def restore(self, folder: Path) -> None:
        """Take up weights, moments, counters and history where they were saved."""
        saved, progress, state = checkpoint.load_to_continue(folder)
        refuse_other_run(saved, progress, self.run, self.progress.rows_sha256)
        self.progress = replace(progress, rows_sha256=self.progress.rows_sha256)
        config = self.run.config = replace(self.run.config, start=saved.config.start)
        if config.patience and saved.config.patience:
            self._best = {
                name: value.to(self.run.device) for name, value in saved.model.state_dict().items()
            }
        elif (
            config.patience
        ):  # the best weights so far were not kept: look for the best from here on
            self.progress = replace(self.progress, best_epoch=progress.epoch, best_bound=None)
        self.run.model.load_state_dict(
            {name[8:]: value for name, value in state.items() if name.startswith("current.")}
        )
        self.update.load_state_dict(
            {name[10:]: value for name, value in state.items() if name.startswith("optimizer.")}
        )
        for name, value in self.kept.items():
            value.copy_(state[f"objective.{name}"])
        self.step, self._names = progress.step, tuple(progress.totals)
        if progress.step:
            self._totals = torch.tensor(
                list(progress.totals.values()), dtype=torch.float64, device=self.run.device
            )
        self.engine = Engine(**progress.engine) if progress.engine else None
        self.run.history = recorded(folder, saved.history, progress.epoch)
        self._at = (progress.epoch, progress.step)
        if not progress.step:
            self._keep_good()
