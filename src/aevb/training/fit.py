"""Train a model: load and prepare the data, build or resume the run, and let the loop work."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import torch

from aevb.config import Config
from aevb.datasets.batches import steps_per_epoch
from aevb.engine.processes import Group
from aevb.errors import DivergedError
from aevb.interfaces import Objective
from aevb.probability.seeds import counter_seed
from aevb.runs.build import build
from aevb.runs.run import Run, Source
from aevb.storage import checkpoint
from aevb.storage.checkpoint import SETTINGS
from aevb.storage.run_folder import clear, refuse_existing, start
from aevb.training.callbacks import Callbacks
from aevb.training.loop import Loop
from aevb.training.signals import Interrupts
from aevb.training.sizing import memory_errors_told, require_memory, settled, sized
from aevb.training.split import Prepared, lasting_name, load_source, prepare
from aevb.training.start import begin_with


def fit(
    data: Source,
    config: Config | None = None,
    *,
    out: str | Path | None = None,
    resume: bool = False,
    callbacks: Callbacks | None = None,
) -> Run:
    """Train a VAE.

    Under torchrun all processes train one model, each on its share of every batch. Only the first
    one writes files.

    Args:
        data: ``Data`` as ``aevb.datasets.load`` returns it, an array with one row per example, the
            name of a data set, or a path.
        config: the settings; by default those of ``Config()``.
        out: a folder where the run saves itself while it trains. Without one, nothing is written.
        resume: continue the run in ``out``, if there is one.
        callbacks: hooks that are called on the way.

    Raises:
        UsageError: settings that cannot be used, or that differ from those of the resumed run.
        DataError: rows that cannot be used, or that have changed since the run began.
        NotFoundError: there are no such data.
        OutputExistsError: ``out`` is not empty, and there is no run in it to resume.
        CannotWriteError: the run could not be saved.
        DivergedError: a number is not finite. The error's ``run`` has the weights of the last good
            epoch.
        LostProcessError: another process of the group is gone.
        KeyboardInterrupt: the user interrupted the run. It is saved first.

    Example:
        >>> from dataclasses import replace
        >>> import aevb
        >>> config = aevb.Config(hidden=(16,), latent_dim=2, epochs=3)
        >>> run = aevb.fit("gmm", config, out="fitted")
        >>> run.trained, sorted(run.evaluate("gmm:test"))
        (3, ['bound', 'kl', 'reconstruction'])
        >>> longer = aevb.fit("gmm", replace(config, epochs=5), out="fitted", resume=True)
        >>> longer.trained
        5
    """
    config, callbacks = config or Config(), callbacks or Callbacks()
    group, folder = Group(), None if out is None else Path(out)
    if folder is not None and group.is_first:
        _refuse_occupied(folder, resume)
    prepared = prepare(load_source(data, config), config)
    saved_in, device = _saved_in(folder, resume), group.device(config.device)
    asked = config
    config, why = settled(asked, prepared, saved_in)
    saves = folder is not None
    size = replace(sized(prepared, config, saves=saves, device=device), reason=why)
    prepared = replace(prepared, size=size)
    callbacks.on_data(prepared)
    resumes = saved_in is not None
    # Smaller pictures may get another network, so the settings are those that were asked for.
    require_memory(size, prepared, asked, saves=saves, resumes=resumes, device=device)
    with memory_errors_told(size):
        run = _train(prepared, config, folder, saved_in, group, callbacks)
    callbacks.on_end(run)
    return run


def _train(
    prepared: Prepared,
    config: Config,
    folder: Path | None,
    saved_in: Path | None,
    group: Group,
    callbacks: Callbacks,
) -> Run:
    """Build the run, restore its last save if it is resumed, and train. Raises as ``fit``."""
    device = group.device(config.device)
    with (
        _settled(config.threads),
        torch.random.fork_rng(),
        Interrupts() as interrupts,
        group.joined(device),
    ):
        run, objective = _built(prepared, config, group, device)
        keeps_prior = saved_in is None and _take_start(run, callbacks)
        loop = Loop(run, objective, prepared, folder, group, interrupts, callbacks)
        if not keeps_prior:
            loop.initialise_prior()
        if saved_in is not None:
            callbacks.on_resume(loop.state.restore(saved_in))
        _run(loop, folder if group.is_first else None)
    return run


def _refuse_occupied(folder: Path, resume: bool) -> None:
    """Raise OutputExistsError if the folder is not empty, unless it holds a run to resume."""
    if not (resume and (folder / SETTINGS).is_file()):
        refuse_existing(folder)


def _saved_in(folder: Path | None, resume: bool) -> Path | None:
    """The folder of the save to continue from, if there is one."""
    return folder if folder is not None and resume and checkpoint.exists(folder) else None


def _built(
    prepared: Prepared, config: Config, group: Group, device: torch.device
) -> tuple[Run, Objective]:
    """A run with fresh weights, and its objective, on the device. Raises UsageError."""
    torch.manual_seed(counter_seed(config.seed, "weights"))
    likelihood, schema = prepared.plan.likelihood, prepared.plan.schema
    steps = steps_per_epoch(len(prepared.train), config.batch_size)
    model, objective = build(config, likelihood, schema.shape, steps, schema.levels)
    group.refuse_coupled(objective, model.likelihood)
    source = lasting_name(prepared.data.source)
    return Run(model.to(device), config, likelihood, schema, source), objective.to(device)


def _take_start(run: Run, callbacks: Callbacks) -> bool:
    """Take the weights of the run in ``config.start``, if there is one.

    Returns whether the prior has its weights from there.
    """
    if not run.config.start:
        return False
    fresh = begin_with(run, run.config.start)
    if fresh:
        callbacks.on_fresh(list(fresh.values()))
    return "prior" not in fresh


def _run(loop: Loop, folder: Path | None) -> None:
    """Open the run's folder, if there is one, and train.

    A run that diverges before its first save leaves nothing behind, so that the same command can
    be tried again.
    """
    created = [] if folder is None else start(folder, loop.run)
    try:
        loop.run_epochs()
    except DivergedError:
        if folder is not None and not checkpoint.exists(folder):
            clear(created)
        raise


@contextmanager
def _settled(threads: int | None) -> Iterator[None]:
    """Inside a ``with`` block: this many CPU threads, and deterministic convolutions on a GPU."""
    before = torch.get_num_threads()
    torch.set_num_threads(threads or before)
    try:
        with torch.backends.cudnn.flags(enabled=True, deterministic=True):
            yield
    finally:
        torch.set_num_threads(before)
