"""Train a model: load and prepare the data, build or resume the run, and let the loop work."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Set
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import torch

from aevb.config import HIDDEN, Config
from aevb.datasets.batches import steps_per_epoch
from aevb.engine.processes import Group
from aevb.errors import DivergedError, UsageError
from aevb.interfaces import Objective
from aevb.parts.priors import PRIORS
from aevb.probability.seeds import counter_seed
from aevb.registry import Registry
from aevb.runs.automatic import known
from aevb.runs.best_prior import best_prior
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
    data: Source = None,
    config: Config | Mapping[str, Any] | None = None,
    *,
    out: str | Path | None = None,
    resume: bool = False,
    callbacks: Callbacks | None = None,
    **settings: Any,
) -> Run:
    """Train a VAE.

    Under torchrun all processes train one model, each on its share of every batch. Only the first
    one writes files.

    Args:
        data: the name of a data set, a path, or a value with one row per example: an array, a
            tensor, a data frame, a torch ``Dataset``, and what else ``given`` takes.
        config: the settings, or a dictionary of settings; by default those of ``Config()``.
        out: a folder where the run saves itself while it trains. Without one, nothing is written.
        resume: continue the run in ``out``, if there is one.
        callbacks: hooks that are called on the way.
        settings: settings of ``Config`` by name; they take the place of those in ``config``.

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
        >>> import aevb
        >>> run = aevb.fit("gmm", hidden=(16,), latent_dim=2, epochs=3, out="fitted")
        >>> run.trained, sorted(run.evaluate("gmm:test"))
        (3, ['bound', 'kl', 'reconstruction'])
        >>> longer = aevb.fit("gmm", run.config, epochs=5, out="fitted", resume=True)
        >>> longer.trained
        5
    """
    config = _settings(config, settings)
    _refuse_prior(config.prior)
    folder = _folder(out, resume)
    callbacks = _hooks(callbacks)
    group = Group()
    if folder is not None and group.is_first:
        _refuse_occupied(folder, resume)
    prepared = prepare(load_source(data, config), config)
    saved_in, device = _saved_in(folder, resume), group.device(config.device)
    if group.world > 1 and config.free_bits is None:
        # Their floor is that of the whole batch, of which a process knows only its part.
        config = replace(config, free_bits=0.0)
    asked = config
    config, reasons = settled(asked, prepared, saved_in)
    saves = folder is not None
    size = sized(prepared, config, saves=saves, device=device)
    size = replace(size, reason=reasons.pop("network"))
    prepared = replace(prepared, size=size, config=config, reasons=reasons)
    callbacks.on_data(prepared)
    resumes = saved_in is not None
    # Smaller pictures may get another network, so the settings are those that were asked for.
    require_memory(size, prepared, asked, saves=saves, resumes=resumes, device=device)
    with memory_errors_told(size):
        run = _train(prepared, config, folder, saved_in, group, callbacks, asked.prior is None)
    callbacks.on_end(run)
    return run


def _settings(config: Any, named: Mapping[str, Any]) -> Config:
    """The settings of a run, from ``config`` and from arguments by name. Raises UsageError."""
    if isinstance(config, Mapping):
        config, named = None, {**config, **named}
    if config is not None and not isinstance(config, Config):
        hint = (
            " A file of settings is for the command line: aevb fit --config FILE."
            if isinstance(config, str | Path)
            else ""
        )
        raise UsageError(
            f"config must be aevb.Config(...) or a dictionary of settings; got"
            f" {type(config).__qualname__}. Give settings by name, such as epochs=10.{hint}"
        )
    known = Registry("setting", {setting.name: "" for setting in fields(Config)})
    for name, value in named.items():
        if hasattr(value, "state_dict"):
            raise UsageError(
                f"{name} is a network; fit builds the network that a name stands for. Give your own"
                " one a name as docs/extending.md shows, or train it with aevb.ELBO in a loop."
            )
        known.check(name)
    return replace(config or Config(), **_with_one_length(_with_default_widths(config, named)))


def _with_one_length(named: Mapping[str, Any]) -> Mapping[str, Any]:
    """A length in epochs takes the place of one in steps, and the other way round."""
    if "epochs" in named:
        return {"steps": None, **named}
    return {"epochs": None, **named} if "steps" in named else named


def _refuse_prior(name: str | None) -> None:
    """Raise UsageError for a prior that cannot be trained with the model."""
    if name is not None and getattr(PRIORS[name], "after_training", False):
        raise UsageError(
            f"the density of the prior {name} is too slow for training; train with another prior,"
            f" such as standard_normal, then use: aevb refit RUN --out RUN2 --prior {name}"
        )


def _with_default_widths(config: Config | None, named: Mapping[str, Any]) -> Mapping[str, Any]:
    """Another network has other widths by default: those of the old one do not stay.

    The widths count as chosen if they differ from the default of the old network.
    """
    by_default = config is None or config.hidden == HIDDEN.get(config.network, HIDDEN["mlp"])
    return {"hidden": None, **named} if "network" in named and by_default else named


def _folder(out: Any, resume: bool) -> Path | None:
    """The folder of the run, or None. Raises UsageError for what names no folder."""
    if out is None:
        if resume:
            raise UsageError("resume continues the run in a folder; name it: out='runs/mine'")
        return None
    if not isinstance(out, str | os.PathLike) or not str(out).strip():
        raise UsageError(f"out must be the name of a folder; got {out!r}. Give out='runs/mine'.")
    return Path(out)


def _hooks(callbacks: Any) -> Callbacks:
    """The hooks of a training. Raises UsageError for anything else."""
    if callbacks is not None and not isinstance(callbacks, Callbacks):
        raise UsageError(
            f"callbacks must be an object of aevb.Callbacks; got {type(callbacks).__qualname__}."
            " Give an object of a subclass of it."
        )
    return callbacks or Callbacks()


def _train(
    prepared: Prepared,
    config: Config,
    folder: Path | None,
    saved_in: Path | None,
    group: Group,
    callbacks: Callbacks,
    may_refit: bool,
) -> Run:
    """Build the run, restore its last save if it is resumed, and train. Raises as ``fit``.

    may_refit: whether a table may get a prior that is fitted to the codes.
    """
    device = group.device(config.device)
    with (
        _settled(config.threads),
        torch.random.fork_rng(),
        Interrupts() as interrupts,
        group.joined(device),
    ):
        run, objective = _built(prepared, config, group, device)
        fresh = _fresh_parts(run, callbacks) if saved_in is None else frozenset[str]()
        loop = Loop(run, objective, prepared, folder, group, interrupts, callbacks)
        loop.initialise(fresh)
        if saved_in is not None:
            callbacks.on_resume(loop.state.restore(saved_in))
        _run(loop, folder if group.is_first else None)
        if may_refit and run.likelihood == "mixed" and group.world == 1:
            run, choice = best_prior(run, prepared.train, prepared.validation, seed=config.seed)
            callbacks.on_prior(choice)
            with interrupts.held():
                loop.state.save_prior(run)
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
    in_pass = steps_per_epoch(len(prepared.train), known(config, "batch_size"))
    steps = config.epoch_steps or in_pass
    model, objective = build(
        config, likelihood, schema.shape, steps, schema.levels, schema.families
    )
    group.refuse_coupled(objective, model.likelihood)
    source = lasting_name(prepared.data.source)
    return Run(model.to(device), config, likelihood, schema, source), objective.to(device)


def _fresh_parts(run: Run, callbacks: Callbacks) -> Set[str]:
    """Take the weights of the run in ``config.start``, if there is one.

    Returns the parts of the model that keep their fresh weights.
    """
    if not run.config.start:
        return {"encoder", "likelihood", "prior"}
    fresh = begin_with(run, run.config.start)
    if fresh:
        callbacks.on_fresh(list(fresh.values()))
    return fresh.keys()


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
