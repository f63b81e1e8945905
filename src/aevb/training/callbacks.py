"""Hooks into a run: to watch it, to log it, or to stop it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

    from aevb.engine.step import Engine
    from aevb.runs.best_prior import PriorChoice
    from aevb.runs.run import Run
    from aevb.storage.checkpoint import Saved
    from aevb.training.split import Prepared

Record = dict[str, Any]
"""One line of metrics.jsonl: figures of one epoch, in nats per row and in the data's own units."""


class Callbacks:
    """Hooks that ``fit`` calls while it trains. Each does nothing unless a subclass overrides it.

    The hooks run between steps, in this order: on_data, then on_fresh or on_resume, on_start,
    on_step and on_epoch, on_prior, on_end. An exception in a hook ends the run. Under torchrun
    every process calls its own hooks.

    Example:
        >>> import aevb
        >>> class StopAfterThree(aevb.Callbacks):
        ...     def __init__(self):
        ...         self.bounds = []
        ...     def on_epoch(self, record):
        ...         self.bounds.append(record["bound"])
        ...         return len(self.bounds) == 3
        >>> watch = StopAfterThree()
        >>> config = aevb.Config(hidden=(8,), latent_dim=2, epochs=50)
        >>> run = aevb.fit("gmm", config, callbacks=watch)
        >>> run.trained, len(watch.bounds)
        (3, 3)
    """

    def on_data(self, prepared: Prepared) -> None:
        """The data are loaded and split, and likelihood and transform are chosen.

        prepared: the rows, and the chosen likelihood and transform.

        Example:
            >>> import aevb
            >>> class Rows(aevb.Callbacks):
            ...     def on_data(self, prepared):
            ...         print(len(prepared.train), "rows,", prepared.plan.likelihood)
            >>> config = aevb.Config(hidden=(8,), latent_dim=2, epochs=1)
            >>> run = aevb.fit("digits", config, callbacks=Rows())
            1617 rows, bernoulli
        """

    def on_fresh(self, parts: Sequence[str]) -> None:
        """The run takes its weights from the run in ``config.start``, except for some parts.

        This is not called if the run takes all parts. parts: those that begin with fresh weights,
        in words.

        Example:
            >>> from dataclasses import replace
            >>> import aevb
            >>> class Fresh(aevb.Callbacks):
            ...     def on_fresh(self, parts):
            ...         print(parts)
            >>> config = aevb.Config(hidden=(8,), latent_dim=2, epochs=1)
            >>> first = aevb.fit("gmm", config, out="first")
            >>> config = replace(config, start="first", prior="mixture")
            >>> second = aevb.fit("gmm", config, callbacks=Fresh())
            ['prior mixture']
        """

    def on_resume(self, saved: Saved) -> None:
        """The run continues from a save. saved: everything that the save holds.

        Example:
            >>> from dataclasses import replace
            >>> import aevb
            >>> class Resumed(aevb.Callbacks):
            ...     def on_resume(self, saved):
            ...         print("after epoch", saved.progress.epoch)
            >>> config = aevb.Config(hidden=(8,), latent_dim=2, epochs=1)
            >>> run = aevb.fit("gmm", config, out="resumed")
            >>> longer = replace(config, epochs=2)
            >>> run = aevb.fit("gmm", longer, out="resumed", resume=True, callbacks=Resumed())
            after epoch 1
        """

    def on_prior(self, choice: PriorChoice) -> None:
        """The prior of a table is chosen, after training. choice: which one, and why.

        Example:
            >>> import aevb
            >>> class Prior(aevb.Callbacks):
            ...     def on_prior(self, choice):
            ...         print(choice.name)
            >>> run = aevb.fit("moons", steps=1, callbacks=Prior())
            standard_normal
        """

    def on_start(self, engine: Engine) -> None:
        """Training is about to begin. engine: how the steps are executed.

        Example:
            >>> import aevb
            >>> class Mode(aevb.Callbacks):
            ...     def on_start(self, engine):
            ...         print(engine.mode, engine.precision)
            >>> config = aevb.Config(hidden=(8,), latent_dim=2, epochs=1)
            >>> run = aevb.fit("gmm", config, callbacks=Mode())
            eager fp32
        """

    def on_step(self, epoch: int, step: int, log: dict[str, Tensor]) -> None:
        """One optimiser step is done.

        ``fit`` copies the figures of each step only if this hook is overridden.

        Args:
            epoch: the current epoch, counted from 0.
            step: the number of steps done in this epoch, counted from 1.
            log: the figures of the step by name: tensors () on the device of the model, in nats,
                averaged over the batch.

        Example:
            >>> import aevb
            >>> class Steps(aevb.Callbacks):
            ...     seen = 0
            ...     def on_step(self, epoch, step, log):
            ...         self.seen += 1
            >>> steps = Steps()
            >>> config = aevb.Config(hidden=(8,), latent_dim=2, epochs=2, batch_size=300)
            >>> run = aevb.fit("gmm", config, callbacks=steps)
            >>> steps.seen  # 2 epochs of 1800 rows
            12
        """

    def on_epoch(self, record: Record) -> bool | None:  # noqa: ARG002  (for subclasses)
        """One epoch is done. Return True to end the run here; it can be resumed later.

        record: the figures of the epoch, as in metrics.jsonl. Under torchrun process 0 decides.

        Example:
            >>> import aevb
            >>> class OneEpoch(aevb.Callbacks):
            ...     def on_epoch(self, record):
            ...         print(sorted(record)[:3])
            ...         return True
            >>> config = aevb.Config(hidden=(8,), latent_dim=2, epochs=50)
            >>> run = aevb.fit("gmm", config, callbacks=OneEpoch())
            ['bound', 'epoch', 'kl']
        """
        return None

    def on_end(self, run: Run) -> None:
        """The run has ended: after its last epoch, by patience, or by ``on_epoch``.

        run: the trained run.

        Example:
            >>> import aevb
            >>> class Done(aevb.Callbacks):
            ...     def on_end(self, run):
            ...         print(run.sample(3).shape)
            >>> config = aevb.Config(hidden=(8,), latent_dim=2, epochs=1)
            >>> run = aevb.fit("gmm", config, callbacks=Done())
            (3, 2)
        """


def watches_steps(callbacks: Callbacks) -> bool:
    """Whether ``on_step`` is overridden. If not, the loop does not call it."""
    return getattr(callbacks.on_step, "__func__", None) is not Callbacks.on_step
