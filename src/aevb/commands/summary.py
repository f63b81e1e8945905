"""What a training command did, for people and for programs: epochs and steps, the terms of the
bound, what next."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from aevb.datasets.batches import steps_per_epoch

if TYPE_CHECKING:
    from aevb.evaluation.bound import Figure
    from aevb.runs.run import Run
    from aevb.storage.checkpoint import Progress


FEWEST_STEPS = 1000
"""Optimiser steps below which a model is hardly trained, whatever its data."""


class Done(NamedTuple):
    """What one call of the command did: from which epoch on, how many steps, in how many seconds."""

    before: int
    steps: int
    seconds: float
    steps_in_all: int
    steps_per_epoch: int


def done_since(before: Progress, run: Run, rows: int, seconds: float) -> Done:
    """What was done from ``before`` on. rows: that were trained on."""
    each = steps_per_epoch(rows, run.config.batch_size)
    return Done(
        before.epoch,
        (run.trained - before.epoch) * each - before.step,
        seconds,
        run.trained * each,
        each,
    )


def as_json(run: Run, found: dict[str, Any], out: Path, done: Done) -> dict[str, Any]:
    """Figures with units, as plain values. found: what ``terminal.describe`` returned."""
    kept = run.kept_record
    error = kept.get("validation_standard_error")
    figures: dict[str, Any] = {
        name: {
            "value": kept[name],
            "standard_error": error if name == "validation_bound" else None,
            "unit": "nats",
        }
        for name in (
            "bound",
            "reconstruction",
            "kl",
            "fidelity",
            "validation_bound",
            "validation_reconstruction",
            "validation_kl",
        )
        if name in kept
    }
    return {
        "run": str(out),
        "data": found,
        "epochs": len(run.history),
        "kept_epoch": run.kept_epoch,
        "epochs_before": done.before,
        "steps": done.steps,
        "steps_in_all": done.steps_in_all,
        "stopped_by_patience": run.stopped_by_patience,
        "seconds": round(done.seconds, 1),
        **figures,
    }


def _what_was_trained(run: Run, done: Done) -> str:
    """Epochs and steps that were done by this call, and why it ended."""
    new, early = run.trained - done.before, run.stopped_by_patience
    if not done.steps:
        text = f"nothing: {run.trained} epochs were done before" + (
            ", then stopped by patience" if early else ", as planned"
        )
    else:
        text = (
            f"{new} {'epoch' if new == 1 else 'epochs'}, {done.steps} steps, in"
            f" {done.seconds:.1f} s"
        )
        text += f": from epoch {done.before + 1} to {run.trained}" if done.before else ""
        text += f"; stopped by patience before {run.config.epochs}" if early else ""
    return text + ("" if run.kept_epoch == run.trained else f", kept epoch {run.kept_epoch}")


def print_for_people(
    run: Run, engine: dict[str, Any], out: Path, done: Done, pictures: int, baseline: Figure | None
) -> None:
    """Lines on stdout."""
    kept = run.kept_record
    print(f"trained    {_what_was_trained(run, done)}")
    threads = f"{engine['threads']} {'thread' if engine['threads'] == 1 else 'threads'}"
    where = threads if engine["world"] == 1 else f"{engine['world']} processes with {threads} each"
    products = engine["precision"] + (" by oneDNN" if engine["kernels"] == "onednn" else "")
    print(f"steps      {engine['mode']}, {products}, {where} ({engine['reason']})")
    for prefix in ("", "validation_"):
        if f"{prefix}bound" in kept:
            name = "validation" if prefix else "training"
            terms = (
                f"reconstruction {kept[prefix + 'reconstruction']:.2f} - KL"
                f" {kept[prefix + 'kl']:.2f}"
            )
            print(f"{name:<10} bound {kept[prefix + 'bound']:.2f} nats per row = {terms}")
    if "fidelity" in kept:
        print(
            f"fidelity   {kept['fidelity']:.2f} nats per row: log p(x|z) at the mean of q(z|x), the"
            " only thing trained"
        )
    if baseline:
        print(f"baseline   {baseline.value:.2f} nats per row: every column by itself, without z")
    if done.steps_in_all < FEWEST_STEPS and not run.stopped_by_patience:
        epochs = -(-FEWEST_STEPS // done.steps_per_epoch)
        print(
            f"note       only {done.steps_in_all} steps in all, and a model usually needs"
            f" thousands. Go on with: aevb fit --resume --out {out} --epochs {epochs}"
        )
    print(
        f"written    {out}: model, config.toml, metrics.jsonl, {pictures} pictures in"
        f" {out / 'pictures'}"
    )
    samples = "samples.png" if run.schema.is_picture else "samples.csv"
    print(
        f"next       aevb sample {out} -n 100 -o {samples}    aevb evaluate {out}    aevb plot"
        f" {out}"
    )
