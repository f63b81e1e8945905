"""The training loop, from top to bottom: prepare, build, plan, step, measure, save.

Each step is a pure function of (seed, epoch, step) and of the weights and moments before it: the
order of the rows, the binarisation and the noise of z are drawn from counters, never from a
generator that remembers. That is why a run that was killed at any instant and resumed ends in the
same bits as one that was not (in the same ``Engine``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn

import torch
from torch import Tensor

from aevb.config import Config
from aevb.datasets.batches import Shard, binarize, epoch_batches, random_bits, steps_per_epoch
from aevb.datasets.rows import rows_of, to_device
from aevb.datasets.schema import Data
from aevb.engine.processes import Group
from aevb.engine.step import Engine, Step, plan
from aevb.errors import DivergedError, LostProcessError
from aevb.evaluation.baseline import fit_baseline
from aevb.evaluation.bound import elbo_rows, summarise
from aevb.evaluation.noise import noise_of_rows
from aevb.evaluation.nonfinite import where_not_finite
from aevb.interfaces import Objective
from aevb.probability.seeds import counter_seed
from aevb.runs.build import build, update_for
from aevb.runs.run import CHUNK, Run, Source, from_array
from aevb.storage import checkpoint
from aevb.storage.checkpoint import SETTINGS
from aevb.storage.run_folder import clear, refuse_existing, start
from aevb.training.signals import Interrupts
from aevb.training.split import Prepared, lasting_name, load_data, prepare
from aevb.training.start import begin_with
from aevb.training.state import Standing

CHECK_EVERY = {"cpu": 1, "cuda": 50}
"""Steps after which the loop asks whether all numbers were finite. On a GPU asking means waiting
for it to catch up; the step itself looks every time, and changes nothing once they were not."""

MOST_INITIAL = 5000
"""Rows, drawn once for all, that a prior sees when it starts from training rows."""

Record = dict[str, Any]
"""One line of metrics.jsonl: figures of one epoch, in nats per row and in the data's own units."""
OnStep = Callable[[int, int, dict[str, Tensor]], None]


def fit(
    data: Source,
    config: Config | None = None,
    *,
    out: str | Path | None = None,
    resume: bool = False,
    prepared: Prepared | None = None,
    on_fresh: Callable[[list[str]], None] | None = None,
    on_start: Callable[[Engine], None] | None = None,
    on_step: OnStep | None = None,
    on_epoch: Callable[[Record], None] | None = None,
) -> Run:
    """Train a VAE on ``data``: what ``aevb.datasets.load`` returns, an array with one row per
    example, or a name or a path.

    out: a folder for the run, saved as it goes; without one nothing is written. resume: continue
    the run that is there. prepared: from ``prepare``, where it was called before. on_fresh(parts):
    called with what does not come from the run in ``config.start``, in words, if anything.
    on_start(engine): called once it is decided how steps are executed. on_step(epoch, step, log),
    counted from 0 and from 1, and on_epoch(record): called after each.

    Under torchrun all processes train one model, each on its share of every batch; only the first
    one writes.

    Raises UsageError or DataError for settings or rows that cannot be used, NotFoundError,
    OutputExistsError if ``out`` holds anything and ``resume`` is False, CannotWriteError,
    DivergedError when the loss is no longer a finite number, and LostProcessError.
    KeyboardInterrupt passes through after a save.
    """
    config = config or Config()
    if isinstance(data, str | Path):
        data = load_data(str(data), config)
    elif not isinstance(data, Data):
        data = from_array(data, "an array")
    group, folder = Group(), None if out is None else Path(out)
    if folder is not None and group.is_first and not (resume and (folder / SETTINGS).is_file()):
        refuse_existing(folder)
    prepared = prepared or prepare(data, config)
    device = group.device(config.device)
    with (
        _threads(config.threads),
        torch.random.fork_rng(),
        Interrupts() as interrupts,
        group.joined(device),
    ):
        steps = steps_per_epoch(len(prepared.train), config.batch_size)
        torch.manual_seed(counter_seed(config.seed, "weights"))
        schema = prepared.plan.schema
        model, objective = build(
            config, prepared.plan.likelihood, schema.shape, steps, schema.levels
        )
        group.refuse_coupled(objective, model.likelihood)
        run = Run(
            model.to(device), config, prepared.plan.likelihood, schema, lasting_name(data.source)
        )
        restored = folder is not None and resume and checkpoint.exists(folder)
        begun = begin_with(run, config.start) if config.start and not restored else None
        if begun and on_fresh:
            on_fresh(list(begun.values()))
        loop = _Loop(run, objective.to(device), prepared, folder, group, interrupts)
        torch.manual_seed(counter_seed(config.seed, "prior"))
        if begun is None or "prior" in begun:
            model.prior.initialise(loop.x.sample(MOST_INITIAL))
        if folder is not None and restored:
            loop.standing.restore(folder)
        created = start(folder, run) if folder is not None and group.is_first else []
        try:
            loop.run_epochs(on_start, on_step, on_epoch)
        except DivergedError:
            if folder is not None and not checkpoint.exists(folder):
                clear(created)
            raise
    return run


class _Loop:
    """A run at work: what it trains on, and how."""

    def __init__(
        self,
        run: Run,
        objective: Objective,
        prepared: Prepared,
        folder: Path | None,
        group: Group,
        interrupts: Interrupts,
    ) -> None:
        self.run, self.objective, self.prepared, self.group, self.interrupts = (
            run,
            objective,
            prepared,
            group,
            interrupts,
        )
        self.config, self.model = run.config, run.model
        self.x = rows_of(
            prepared.train,
            run.schema,
            counter_seed(self.config.seed, "binarize", "train"),
            run.device,
        )
        for x in self.x.split(CHUNK):
            self.model.likelihood.check(x)
        run.baseline = fit_baseline(self.x, self.model.likelihood.form, run.schema.levels)
        self.x_validation = (
            None
            if prepared.validation is None
            else run.stored(prepared.validation, self.config.seed)
        )
        self.steps = steps_per_epoch(len(self.x), self.config.batch_size)
        self.check_every = CHECK_EVERY.get(run.device.type, 1)
        torch.manual_seed(counter_seed(self.config.seed, "begin"))
        objective.begin(len(self.x), self.model.latent_dim)
        update = update_for(run.config, run.model)
        self.standing = Standing(
            run,
            update,
            objective.state_dict(),
            prepared.rows_sha256(),
            folder if group.is_first else None,
        )
        reduce = group.sum_weighted if group.world > 1 else None
        self.step = Step(self.model, objective, update, self.to_x, Engine(), reduce)

    def run_epochs(
        self,
        on_start: Callable[[Engine], None] | None,
        on_step: OnStep | None,
        on_epoch: Callable[[Record], None] | None,
    ) -> None:
        """Train, measure and save epoch by epoch, from where the run stands to its end."""
        self.choose_engine()
        if on_start:
            on_start(self.step.engine)
        try:
            for epoch in range(self.standing.epoch, self.config.epochs):
                if self.standing.is_out_of_patience():
                    break
                record = self.train_epoch(epoch, on_step)
                record |= self.group.same(self.validate(epoch))
                with self.interrupts.held():
                    self.standing.finish_epoch(record)
                if on_epoch:
                    on_epoch(record)
            with self.interrupts.held():
                self.standing.finish()
        except DivergedError as error:
            self.standing.back_to_good(error)
            raise
        except (KeyboardInterrupt, LostProcessError):
            with self.interrupts.held():
                # Where a step failed and it was not noticed yet, it counts for nothing, nor do
                # those after it.
                if not bool(self.step.failures) and self.standing.is_finite():
                    self.standing.save()
            raise

    def choose_engine(self) -> None:
        """Decide how steps are executed: as at the beginning of the run where it is resumed, else
        now."""
        self.model.train()
        inputs, shard = self.first_inputs(min(self.config.batch_size, len(self.x)))
        config, steps = self.config, self.config.epochs * self.steps
        # What docs/performance.md measures: the ELBO of grey levels or bits, a Gaussian posterior.
        bf16_is_free = (config.objective, config.posterior, self.model.likelihood.form) == (
            "elbo",
            "diagonal",
            "unit",
        )
        self.step.engine = plan(
            self.step, inputs, config, steps, self.group.world, self.standing.engine, bf16_is_free
        )
        self.step.engine = self.group.same(self.step.engine)
        torch.set_num_threads(self.step.engine.threads)
        self.step.make_ready(inputs, shard)
        if (
            last := len(self.x) % self.config.batch_size
        ):  # now, when a signal need not wait until it is recorded
            self.step.make_ready(*self.first_inputs(last))
        self.standing.engine = self.step.engine

    def first_inputs(self, rows: int) -> tuple[list[Tensor], Shard]:
        """``inputs`` of a batch of the first ``rows`` training rows."""
        return self.inputs(0, 0, rows, self.x.take(self.own(torch.arange(rows))))

    def train_epoch(self, epoch: int, on_step: OnStep | None) -> Record:
        """What is left of one pass over the training rows. The figures are averages over the rows
        as they were when seen."""
        if not self.model.training:
            self.model.train()
        left = list(epoch_batches(len(self.x), self.config.batch_size, self.config.seed, epoch))[
            self.standing.step :
        ]
        for index, stored in zip(left, self.x.batches(map(self.own, left)), strict=True):
            # until weights, moments and counters are those of one step again
            self.interrupts.hold()
            step = self.standing.step
            try:
                log = self.train_step(epoch, step, index, stored)
            finally:
                self.interrupts.release()
            if on_step:  # a copy: on a GPU the next step writes there again
                on_step(epoch, step + 1, dict(zip(self.step.names, log.clone(), strict=True)))
        if not self.standing.is_finite():
            raise self.diverged(
                f"weights or moments that are not finite at the end of epoch {epoch + 1}"
            )
        means = {name: total / len(self.x) for name, total in self.standing.totals().items()}
        for name in means.keys() & {"bound", "reconstruction", "importance_bound", "fidelity"}:
            means[name] += self.run.log_jacobian
        means |= {} if (noise := noise_of_rows(self.model, self.x)) is None else {"noise": noise}
        return {"epoch": epoch + 1, "samples": (epoch + 1) * len(self.x), **means}

    def train_step(self, epoch: int, step: int, index: Tensor, stored: Tensor) -> Tensor:
        """One update, counted, and saved when it is time. Returns the log, as ``Step`` does.

        index: (B,), the training rows of the whole batch. stored: those of this process, as
        ``Rows.take`` gives them.
        """
        inputs, shard = self.inputs(epoch, step, len(index), stored)
        done = epoch * self.steps + step
        self.step.update.set_rate(self.config.rate(done, self.config.epochs * self.steps))
        self.objective.schedule(done)
        self.objective.select(index)
        log, bad = self.step(inputs, counter_seed(self.config.seed, "noise", epoch, step), shard)
        due = self.standing.is_due()
        if (due or step % self.check_every == 0 or step + 1 == self.steps) and bool(bad):
            self.refuse_not_finite(epoch, step, index, stored)
        self.standing.finish_step(self.step.names, log, len(index))
        if due:
            if not self.standing.is_finite():
                raise self.diverged(
                    f"weights or moments that are not finite at epoch {epoch + 1}, step {step + 1}"
                )
            self.standing.save()
        return log

    def own(self, index: Tensor) -> Tensor:
        """This process's part of a batch. index: (B,)."""
        if self.group.world == 1:
            return index
        shard = self.group.shard(len(index))
        return index[shard.first : shard.first + shard.rows]

    def inputs(
        self, epoch: int, step: int, rows: int, stored: Tensor
    ) -> tuple[list[Tensor], Shard]:
        """What x is made from in this process. rows: of the whole batch. stored: its own."""
        shard = self.group.shard(rows)
        if self.run.schema.binarize != "dynamic":
            return [stored], shard
        bits = random_bits(self.config.seed, epoch, step, shard, stored.shape[1])
        return [stored, to_device(bits, stored.device)], shard

    def to_x(self, stored: Tensor, bits: Tensor | None = None) -> Tensor:
        """What is stored of the rows -> x: (B, D). bits: random, for rows that are binarised anew
        at every step."""
        x = self.x.to_x(stored)
        return x if bits is None else binarize(x, bits)

    def refuse_not_finite(self, epoch: int, step: int, index: Tensor, stored: Tensor) -> NoReturn:
        """Do the failed step again, with time to look, and raise DivergedError with what was found."""
        if (
            later := int(self.step.failures) - 1
        ) > 0:  # the first that failed: since then nothing has changed
            step -= later
            index = list(
                epoch_batches(len(self.x), self.config.batch_size, self.config.seed, epoch)
            )[step]
            stored = self.x.take(self.own(index))
        inputs, _ = self.inputs(epoch, step, len(index), stored)
        x = self.to_x(*inputs)
        torch.manual_seed(counter_seed(self.config.seed, "noise", epoch, step))
        self.objective.schedule(epoch * self.steps + step)
        self.objective.select(index)
        loss = self.objective(self.model, x).loss
        loss.backward()
        where = where_not_finite(self.model, x, self.own(index))
        self.model.zero_grad()
        raise self.diverged(
            f"a loss of {loss.item():.4g} at epoch {epoch + 1}, step {step + 1} ({where})"
        )

    def diverged(self, what: str) -> DivergedError:
        """The error, with a remedy."""
        return DivergedError(
            f"training led to {what}. Try a smaller learning rate than"
            f" {self.config.learning_rate:g}"
        )

    def validate(self, epoch: int) -> Record:
        """The bound on the validation rows, always with weight 1 on the KL, on the same noise at
        every epoch."""
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
            raise self.diverged(
                f"a validation bound that is not finite for {bad} rows at the end of epoch"
                f" {epoch + 1}"
            )
        figures = summarise(rows)
        return {
            f"validation_{name}": figures[name].value for name in ("bound", "reconstruction", "kl")
        } | {"validation_standard_error": figures["bound"].standard_error}


@contextmanager
def _threads(threads: int | None) -> Iterator[None]:
    """Set the number of CPU threads for the time of a run, and put the old number back.
    Convolutions repeat their bits."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        with torch.backends.cudnn.flags(enabled=True, deterministic=True):
            yield
    finally:
        torch.set_num_threads(before)
