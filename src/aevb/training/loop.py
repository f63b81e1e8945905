"""The training loop: choose the engine, step, measure, save.

An epoch is one pass over the rows, or as many steps as the settings say (``epoch_steps``): several
passes of few rows, or a part of a pass of many. It ends with a validation and a line of history.

Each step is a pure function of (seed, pass, step of the pass) and of the weights and moments before
it, wherever epochs begin. The order of the rows, the binarisation and the noise of z are drawn with
seeds made from counters, never from a generator whose state lasts from step to step. So a run that
was killed at any instant and resumed ends with the same bits as a run that was not, as long as its
``Engine`` is the same. Only a run whose time is limited (``minutes``) depends on the clock.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from pathlib import Path
from typing import NoReturn

import torch
from torch import Tensor

from aevb.datasets.batches import Shard, binarize, epoch_batches, random_bits, steps_per_epoch
from aevb.datasets.rows import rows_of, to_device
from aevb.engine.decisions import Circumstances, Wishes, plan
from aevb.engine.processes import Group
from aevb.engine.step import Engine, Step, StepResult
from aevb.errors import DivergedError, LostProcessError
from aevb.evaluation.baseline import fit_baseline
from aevb.evaluation.bound import elbo_rows, summarise
from aevb.evaluation.log_likelihood import importance_rows
from aevb.evaluation.noise import noise_of_rows
from aevb.evaluation.nonfinite import where_not_finite
from aevb.interfaces import Objective
from aevb.parts.likelihoods.mixed import Mixed
from aevb.parts.networks.log_counts import LogCounts
from aevb.probability.seeds import counter_seed
from aevb.runs.automatic import known, planned_epochs, step_size
from aevb.runs.build import update_for
from aevb.runs.run import CHUNK, Run
from aevb.training.callbacks import Callbacks, Record, watches_steps
from aevb.training.signals import Interrupts
from aevb.training.split import Prepared
from aevb.training.state import TrainingState

CHECK_EVERY = {"cpu": 1, "cuda": 50}
"""The loop checks after this many steps, by device, whether all numbers were finite.

To check on a GPU, the loop has to wait for the GPU. That can be rare, since each step itself looks
for numbers that are not finite. If it finds one, it and all later steps change nothing.
"""

MOST_INITIAL = 5000
"""Parts that are initialised from training rows see at most this many of them."""

MOST_FITTED = 50_000
"""Independent columns of a mixed table are fitted to at most this many rows."""

MOST_WEIGHED, MOST_DRAWS = 4000, 8
"""Draws of z for log p of all validation rows together, and of one row, at most."""

LEAST_HELD = 10
"""A run of fewer epochs than this changes its first values from its first step on."""

DENSITIES = {"bound", "reconstruction", "importance_bound", "fidelity"}
"""Figures that are log-densities: they depend on the units of the data."""


class Loop:
    """The training loop of one run. Its constructor makes everything that the steps share.

    Args:
        run: the run; its model is trained in place.
        objective: how to train it, on the model's device.
        prepared: the rows.
        folder: where the run is saved, or None.
        group: the processes that train this model together.
        interrupts: holds signals back during a step or a save.
        callbacks: the caller's hooks.
    """

    def __init__(
        self,
        run: Run,
        objective: Objective,
        prepared: Prepared,
        folder: Path | None,
        group: Group,
        interrupts: Interrupts,
        callbacks: Callbacks,
    ) -> None:
        self.run, self.config, self.model = run, run.config, run.model
        self.objective, self.group = objective, group
        self.interrupts, self.callbacks = interrupts, callbacks
        self.watches_steps = watches_steps(callbacks)
        seed = counter_seed(self.config.seed, "binarize", "train")
        self.x = rows_of(prepared.train, run.schema, seed, run.device)
        for x in self.x.split(CHUNK):
            self.model.likelihood.check(x)
        run.baseline = self.baseline()
        held_out = prepared.validation
        self.x_validation = None if held_out is None else run.stored(held_out, self.config.seed)
        self.batch_size: int = known(self.config, "batch_size")
        self.in_pass = steps_per_epoch(len(self.x), self.batch_size)
        self.steps = self.config.epoch_steps or self.in_pass
        self.planned = self.config.steps or planned_epochs(self.config) * self.steps
        self.held = self.steps if self.holds_first_values else 0
        self.limit = None if self.config.minutes is None else 60 * self.config.minutes
        self.check_every = CHECK_EVERY.get(run.device.type, 1)
        if self.limit is not None:
            self.check_every = 1  # to wait for the GPU, or the clock would run ahead of it
        self.elapsed = 0.0
        torch.manual_seed(counter_seed(self.config.seed, "begin"))
        objective.begin(len(self.x), self.model.latent_dim)
        update = update_for(run.config, run.model)
        self.state = TrainingState(
            run,
            update,
            objective.state_dict(),
            prepared.rows_sha256(),
            folder if group.is_first else None,
            self.steps,
        )
        reduce = group.sum_weighted if group.world > 1 else None
        self.step = Step(self.model, objective, update, self.to_x, Engine(), reduce)

    def baseline(self) -> Tensor:
        """The parameters of independent columns, fitted to the training rows."""
        likelihood = self.model.likelihood
        if isinstance(likelihood, Mixed):
            return likelihood.independent(self.x.sample(MOST_FITTED))
        return fit_baseline(self.x, likelihood.form, self.run.schema.levels)

    @property
    def holds_first_values(self) -> bool:
        """Whether the first epoch changes no weight, so that the first values can be kept.

        Those of a table are a good model of it. If it has few rows, training may not better them.
        """
        config, is_table = self.config, isinstance(self.model.likelihood, Mixed)
        return bool(
            is_table and config.steps and config.patience and planned_epochs(config) >= LEAST_HELD
        )

    def initialise(self, parts: Collection[str]) -> None:
        """Initialise parts of the model from training rows.

        parts: which of "encoder", "likelihood" and "prior".
        """
        if not parts:
            return
        x = self.x.sample(MOST_INITIAL)
        if "encoder" in parts:
            for part in self.model.encoder.modules():
                if isinstance(part, LogCounts):
                    part.initialise(x)
        if "likelihood" in parts:
            self.model.likelihood.initialise(x)
        if "prior" in parts:
            torch.manual_seed(counter_seed(self.config.seed, "prior"))
            self.model.prior.initialise(x)

    def run_epochs(self) -> None:
        """Train, measure and save epoch by epoch, from the present state of the run to its end."""
        self.state.start_clock()
        self.choose_engine()
        self.callbacks.on_start(self.step.engine)
        try:
            while self.state.steps < self.planned and not self.is_time_up():
                if self.state.is_out_of_patience() or self.run_epoch(self.state.epoch):
                    break
            with self.interrupts.held():
                self.state.finish()
        except DivergedError as error:
            self.state.back_to_good(error)
            raise
        except (KeyboardInterrupt, LostProcessError):
            with self.interrupts.held():
                # Do not save if a step failed unnoticed: it and all later steps changed nothing.
                if not bool(self.step.failures) and self.state.is_finite():
                    self.state.save()
            raise

    def run_epoch(self, epoch: int) -> bool:
        """Train and measure one epoch. Returns whether a callback asks to end the run."""
        record = self.train_epoch(epoch)
        record |= self.group.same(self.validate(epoch))
        rows = self.group.same(self.validation_log_likelihoods())
        if rows is not None:
            record["validation_log_likelihood"] = float(rows.mean())
        with self.interrupts.held():
            self.state.finish_epoch(record, rows)
        return bool(self.group.same(self.callbacks.on_epoch(record) is True))

    def is_time_up(self) -> bool:
        """Whether the run has been training for the minutes that it may."""
        if self.limit is None:
            return False
        self.elapsed = self.group.same(self.state.seconds)
        return self.elapsed >= self.limit

    def rate(self, done: int) -> float:
        """The step size after ``done`` steps. If the time is limited, it falls in time as well."""
        if done < self.held:
            return 0.0
        rate = step_size(self.config, done, self.planned)
        if self.limit is None:
            return rate
        return min(rate, step_size(self.config, self.elapsed, self.limit))

    def choose_engine(self) -> None:
        """Decide how steps are executed, and record the step. A resumed run keeps its engine."""
        self.model.train()
        inputs, shard = self.first_inputs(min(self.batch_size, len(self.x)))
        config = self.config
        wishes = Wishes(config.compile, config.precision, config.kernels, config.threads)
        run = Circumstances(self.planned, self.group.world, self.bf16_is_free, self.state.engine)
        self.step.engine = self.group.same(plan(self.step, inputs, wishes, run))
        torch.set_num_threads(self.step.engine.threads)
        self.step.make_ready(inputs, shard)
        # The smaller last batch of an epoch is recorded now, since during training a signal would
        # have to wait for it.
        if last := len(self.x) % self.batch_size:
            self.step.make_ready(*self.first_inputs(last))
        self.state.engine = self.step.engine

    @property
    def bf16_is_free(self) -> bool:
        """Whether bfloat16 is known to change the result less than another seed does.

        docs/performance.md measures it for the ELBO of grey levels or bits with a Gaussian
        posterior.
        """
        form = self.model.likelihood.form
        kind = (self.config.objective, self.config.posterior, form)
        return kind == ("elbo", "diagonal", "unit")

    def first_inputs(self, rows: int) -> tuple[list[Tensor], Shard]:
        """``inputs`` of a batch of the first ``rows`` training rows."""
        return self.inputs(0, rows, self.x.take(self.own(torch.arange(rows))))

    def train_epoch(self, epoch: int) -> Record:
        """Train on the batches of an epoch that are left, or until the time is up.

        Returns the figures of the epoch. They are averages over the rows, each measured at its own
        step.
        """
        if not self.model.training:
            self.model.train()
        left = list(self.batches_left())
        for index, stored in zip(left, self.x.batches(map(self.own, left)), strict=True):
            # Signals wait until the step is complete in weights, moments and counters.
            self.interrupts.hold()
            step = self.state.step
            try:
                result = self.train_step(epoch, step, index, stored)
            finally:
                self.interrupts.release()
            if self.watches_steps:
                self.callbacks.on_step(epoch, step + 1, result.figures())
            if self.is_time_up():
                break
        self.refuse_unless_finite(f"at the end of epoch {epoch + 1}")
        seen = self.rows_seen(self.state.steps + self.state.step)
        rows = seen - self.rows_seen(self.state.steps)
        means = {name: total / rows for name, total in self.state.totals().items()}
        for name in means.keys() & DENSITIES:
            means[name] += self.run.log_jacobian
        means |= {} if (noise := noise_of_rows(self.model, self.x)) is None else {"noise": noise}
        return {"epoch": epoch + 1, "samples": seen, **means}

    def rows_seen(self, done: int) -> int:
        """How many rows the first ``done`` steps take, a row counted each time."""
        passes, steps = divmod(done, self.in_pass)
        return passes * len(self.x) + min(steps * self.batch_size, len(self.x))

    def batches_left(self) -> Iterator[Tensor]:
        """The training rows of each batch that is left of this epoch: (B,) each."""
        done = self.state.steps + self.state.step
        end = min(self.state.steps + self.steps, self.planned)
        while done < end:
            number, first = divmod(done, self.in_pass)
            batches = self.order(number)[first : first + end - done]
            done += len(batches)
            yield from batches

    def order(self, number: int) -> list[Tensor]:
        """The training rows of each batch of a pass: (B,) each."""
        return list(epoch_batches(len(self.x), self.batch_size, self.config.seed, number))

    def noise_seed(self, done: int) -> int:
        """The seed for the noise of a step, by the number of steps before it."""
        return counter_seed(self.config.seed, "noise", *divmod(done, self.in_pass))

    def train_step(self, epoch: int, step: int, index: Tensor, stored: Tensor) -> StepResult:
        """Take one step, count it, and save the run when it is time.

        Args:
            epoch: the current epoch, counted from 0.
            step: the step of this epoch, counted from 0.
            index: (B,), the training rows of the whole batch.
            stored: the rows of this process, as ``Rows.take`` returns them.
        """
        done = self.state.steps + step
        inputs, shard = self.inputs(done, len(index), stored)
        self.step.update.set_rate(self.rate(done))
        self.objective.schedule(done)
        self.objective.select(index)
        result = self.step(inputs, self.noise_seed(done), shard)
        due = self.state.is_due()
        is_last = step + 1 == self.steps or done + 1 == self.planned
        is_checked = due or is_last or step % self.check_every == 0
        if is_checked and bool(result.bad):
            self.refuse_step(epoch, step, index, stored)
        self.state.finish_step(result, len(index))
        if due:
            self.refuse_unless_finite(f"at epoch {epoch + 1}, step {step + 1}")
            self.state.save()
        return result

    def own(self, index: Tensor) -> Tensor:
        """The part of a batch that belongs to this process. index: (B,)."""
        if self.group.world == 1:
            return index
        shard = self.group.shard(len(index))
        return index[shard.first : shard.first + shard.rows]

    def inputs(self, done: int, rows: int, stored: Tensor) -> tuple[list[Tensor], Shard]:
        """The tensors from which this process makes its x, and its part of the batch.

        done: steps before this one. rows: number of rows of the whole batch. stored: the rows of
        this process.
        """
        shard = self.group.shard(rows)
        if self.run.schema.binarize != "dynamic":
            return [stored], shard
        numbers = divmod(done, self.in_pass)
        bits = random_bits(self.config.seed, *numbers, shard, stored.shape[1])
        return [stored, to_device(bits, stored.device)], shard

    def to_x(self, stored: Tensor, bits: Tensor | None = None) -> Tensor:
        """Rows as they are stored -> x: (B, D).

        bits: random bits, for rows that are binarised anew at every step.
        """
        x = self.x.to_x(stored)
        return x if bits is None else binarize(x, bits)

    def refuse_step(self, epoch: int, step: int, index: Tensor, stored: Tensor) -> NoReturn:
        """Repeat a failed step, find where it went wrong, and raise DivergedError with the cause.

        The arguments are those of ``train_step`` for the step at which the failure was noticed.
        """
        # The failure may have begun at an earlier step. Nothing has changed since then.
        if (later := int(self.step.failures) - 1) > 0:
            step -= later
            number, place = divmod(self.state.steps + step, self.in_pass)
            index = self.order(number)[place]
            stored = self.x.take(self.own(index))
        done = self.state.steps + step
        inputs, _ = self.inputs(done, len(index), stored)
        x = self.to_x(*inputs)
        torch.manual_seed(self.noise_seed(done))
        self.objective.schedule(done)
        self.objective.select(index)
        loss = self.objective(self.model, x).loss
        loss.backward()
        where = where_not_finite(self.model, x, self.own(index))
        self.model.zero_grad()
        raise self.diverged(
            f"a loss of {loss.item():.4g} at epoch {epoch + 1}, step {step + 1} ({where})"
        )

    def refuse_unless_finite(self, where: str) -> None:
        """Raise DivergedError unless all weights and moments are finite.

        where: the place in the run, as a phrase.
        """
        if not self.state.is_finite():
            raise self.diverged(f"weights or moments that are not finite {where}")

    def diverged(self, what: str) -> DivergedError:
        """The error, with a remedy. what: a phrase for what training led to."""
        rate = known(self.config, "learning_rate")
        return DivergedError(f"training led to {what}. Try a smaller learning rate than {rate:g}")

    def validate(self, epoch: int) -> Record:
        """Measure the bound on the validation rows.

        The KL has weight 1 and the noise is the same at every epoch. Raises DivergedError.
        """
        if self.x_validation is None:
            return {}
        rows = elbo_rows(
            self.model,
            self.x_validation,
            seed=counter_seed(self.config.seed, "evaluate"),
            log_jacobian=self.run.log_jacobian,
        )
        if bad := int((~torch.isfinite(rows.bound)).sum()):
            raise self.diverged(
                f"a validation bound that is not finite for {bad} rows at the end of epoch"
                f" {epoch + 1}"
            )
        figures = summarise(rows)
        terms = ("bound", "reconstruction", "kl")
        record: Record = {f"validation_{name}": figures[name].value for name in terms}
        return record | {"validation_standard_error": figures["bound"].standard_error}

    def validation_log_likelihoods(self) -> Tensor | None:
        """Log p of the validation rows of a table, if few enough for several draws of z: (N,).

        The bound would judge epochs that make little use of z differently from the others.
        """
        rows = 0 if self.x_validation is None else len(self.x_validation)
        draws = min(MOST_DRAWS, MOST_WEIGHED // max(rows, 1))
        if self.x_validation is None or draws < 2 or not isinstance(self.model.likelihood, Mixed):
            return None
        seed = counter_seed(self.config.seed, "evaluate")
        parts = [
            importance_rows(self.model, x, samples=draws, seed=seed).log_likelihood
            for x in self.x_validation.split(CHUNK)
        ]
        return torch.cat(parts) + self.run.log_jacobian
