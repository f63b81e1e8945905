"""A summary of a training command, for people and for programs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from aevb.datasets.batches import steps_per_epoch
from aevb.runs.automatic import known, planned_epochs

if TYPE_CHECKING:
    from aevb.evaluation.bound import Figure
    from aevb.runs.run import Run
    from aevb.storage.checkpoint import Progress


FEWEST_STEPS = 1000
"""With fewer optimiser steps than this a model is hardly trained, whatever its data."""


FIGURES = (
    "bound",
    "reconstruction",
    "kl",
    "fidelity",
    "validation_bound",
    "validation_reconstruction",
    "validation_kl",
)
"""Figures of an epoch that the JSON of a run reports."""


class Done(NamedTuple):
    """What one call of the command did.

    before: epochs that were done before this call. steps, seconds: the steps and the time of this
    call. steps_in_all: the steps of the whole run so far.
    """

    before: int
    steps: int
    seconds: float
    steps_in_all: int
    steps_per_epoch: int


def done_since(before: Progress | None, run: Run, rows: int, seconds: float) -> Done:
    """Count the epochs and steps that this call of the command trained.

    Args:
        before: how far the run was when the command began, None for a new run.
        run: the run as it is now.
        rows: number of training rows.
        seconds: the duration of the training.
    """
    each = run.config.epoch_steps or steps_per_epoch(rows, known(run.config, "batch_size"))
    if before is None:
        return Done(0, run.steps, seconds, run.steps, each)
    begun = (before.steps or before.epoch * each) + before.step
    return Done(before.epoch, run.steps - begun, seconds, run.steps, each)


def as_json(run: Run, found: dict[str, Any], out: Path, done: Done) -> dict[str, Any]:
    """Figures with units, as plain values. found: the result of ``terminal.describe``."""
    kept = run.kept_record
    figures: dict[str, Any] = {
        name: {"value": kept[name], "standard_error": None, "unit": "nats"}
        for name in FIGURES
        if name in kept
    }
    if "validation_bound" in figures:
        error = kept.get("validation_standard_error")
        figures["validation_bound"]["standard_error"] = error
    return {
        "run": str(out),
        "data": found,
        "epochs": len(run.history),
        "kept_epoch": run.kept_epoch,
        "epochs_before": done.before,
        "steps": done.steps,
        "steps_in_all": done.steps_in_all,
        "stopped_by_patience": run.stopped_by_patience,
        "stopped_by_time": run.ended == "time",
        "seconds": round(done.seconds, 1),
        **figures,
    }


def _what_was_trained(run: Run, done: Done) -> str:
    """The epochs and steps of this call, and why it ended, as a phrase."""
    text = _new_steps(run, done) if done.steps else _nothing_new(run)
    return text + ("" if run.kept_epoch == run.trained else f", kept epoch {run.kept_epoch}")


def _nothing_new(run: Run) -> str:
    why = f"then stopped by {_what_stopped(run)}" if _what_stopped(run) else "as planned"
    return f"nothing: {run.trained} epochs were done before, {why}"


def _new_steps(run: Run, done: Done) -> str:
    new = run.trained - done.before
    epochs = "epoch" if new == 1 else "epochs"
    text = f"{new} {epochs}, {done.steps} steps, in {done.seconds:.1f} s"
    if done.before:
        text += f": from epoch {done.before + 1} to {run.trained}"
    if why := _what_stopped(run):
        text += f"; stopped by {why} before {planned_epochs(run.config)}"
    return text


def _what_stopped(run: Run) -> str:
    """What ended the training before its planned length, or ""."""
    return "" if run.ended == "planned" else run.ended


def print_for_people(
    run: Run,
    engine: dict[str, Any],
    out: Path,
    done: Done,
    pictures: int,
    baseline: Figure | None,
    prior: str = "",
) -> None:
    """Print the summary on stdout.

    Args:
        run: the trained run.
        engine: how its steps were executed, as plain values.
        prior: which prior was chosen after training, and why; "" if none was.
        out: the folder of the run.
        done: what this call did.
        pictures: the number of pictures that were drawn.
        baseline: the bound of independent columns on held-out rows, if it is known.
    """
    print(f"trained    {_what_was_trained(run, done)}")
    print(f"steps      {_how(engine)}")
    if prior:
        print(f"prior      {prior.removeprefix('prior ')}")
    _print_figures(run.kept_record, baseline)
    if done.steps_in_all < FEWEST_STEPS and not run.stopped_by_patience:
        print(
            f"note       only {done.steps_in_all} steps in all, and a model usually needs"
            f" thousands. Go on with: aevb fit --resume --out {out} {_longer(run, done)}"
        )
    written = f"model, config.toml, metrics.jsonl, {pictures} pictures in {out / 'pictures'}"
    print(f"written    {out}: {written}")
    samples = sample_file(run)
    then = (f"aevb sample {out} -n 100 -o {samples}", f"aevb evaluate {out}", f"aevb plot {out}")
    print(f"next       {'    '.join(then)}")


def _longer(run: Run, done: Done) -> str:
    """The options for a run of at least ``FEWEST_STEPS``, in the unit of its present length."""
    minutes = f" --minutes {2 * known(run.config, 'minutes'):g}" if run.ended == "time" else ""
    if run.config.steps is not None:
        return f"--steps {max(FEWEST_STEPS, run.config.steps)}{minutes}"
    epochs = max(-(-FEWEST_STEPS // done.steps_per_epoch), planned_epochs(run.config))
    return f"--epochs {epochs}{minutes}"


def sample_file(run: Run) -> str:
    """A good name for a file of samples: .csv would lose the axes of series and the like."""
    if run.schema.is_picture:
        return "samples.png"
    shape = run.schema.shape if run.schema.form is None else run.schema.form.shape
    return "samples.csv" if len(shape) == 1 else "samples.npy"


def _how(engine: dict[str, Any]) -> str:
    """How the steps were executed, as a phrase."""
    threads = f"{engine['threads']} {'thread' if engine['threads'] == 1 else 'threads'}"
    where = threads if engine["world"] == 1 else f"{engine['world']} processes with {threads} each"
    products = engine["precision"] + (" by oneDNN" if engine["kernels"] == "onednn" else "")
    return f"{engine['mode']}, {products}, {where} ({engine['reason']})"


def _print_figures(kept: dict[str, Any], baseline: Figure | None) -> None:
    """Print the terms of the bound on training and validation rows, and the baseline."""
    for prefix, name in (("", "training"), ("validation_", "validation")):
        if f"{prefix}bound" in kept:
            bound, reconstruction, kl = (
                f"{kept[prefix + term]:.2f}" for term in ("bound", "reconstruction", "kl")
            )
            terms = f"reconstruction {reconstruction} - KL {kl}"
            print(f"{name:<10} bound {bound} nats per row = {terms}")
    if "fidelity" in kept:
        print(
            f"fidelity   {kept['fidelity']:.2f} nats per row: log p(x|z) at the mean of q(z|x), the"
            " only thing trained"
        )
    if baseline:
        print(f"baseline   {baseline.value:.2f} nats per row: every column by itself, without z")
