"""aevb demo: train and check two VAEs, offline and within a minute."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from aevb.commands.help import unwrapped
from aevb.config import Config
from aevb.errors import CannotWriteError, OutputExistsError
from aevb.training.callbacks import Callbacks, Record

if TYPE_CHECKING:
    from rich.progress import Progress

    from aevb.drill.experiment import Outcome
    from aevb.drill.sanity import CheckResult
    from aevb.runs.run import Run
    from aevb.training.split import Prepared

MARK = "demo.json"
"""A file that marks the folder of a demonstration. A later demonstration may replace it."""

Say = Callable[..., object]
"""Prints a line, or does nothing."""

DIGITS = Config(
    latent_dim=2, hidden=(256, 256), epochs=80, batch_size=128, learning_rate=2e-3, threads=1
)


@unwrapped
def demo(
    *, out: Path = Path("aevb-demo"), json: Annotated[bool, Parameter(negative=())] = False
) -> int:
    """Train the tutorial's VAE of three clusters, check it, and train a VAE of handwritten digits.

    Exits with 1 if one of the tutorial's six checks fails.

    Parameters
    ----------
    out
        The folder for pictures and models. An earlier demonstration in it is replaced; otherwise
        the folder must be empty.
    json
        Print one JSON object and nothing else.
    """
    import json as encoder

    from aevb.commands import terminal

    say: Say = (lambda *_: None) if json else print
    _make_folder(out)
    outcome, checks, clusters = _show_clusters(out, say, quiet=json)
    run, pictures = _show_digits(out, say, quiet=json)
    summary = _summary(outcome, checks, run, [clusters, *pictures])
    (out / MARK).write_text(encoder.dumps(summary, indent=1))
    if json:
        terminal.print_json(summary)
    say("\n3. What next\n")
    say(f"   aevb sample {out / 'digits'} -n 100 -o samples.png   new digits")
    say(f"   aevb evaluate {out / 'digits'}                       figures with error bars")
    say(
        "   aevb fit YOUR_DATA --out runs/first                  .csv, .npy, .npz, or a folder of"
        " pictures"
    )
    return 0 if all(check.passed for check in checks) else 1


def _show_clusters(out: Path, say: Say, *, quiet: bool) -> tuple[Outcome, list[CheckResult], Path]:
    """Train the tutorial's VAE, run its checks and draw what it generates."""
    from aevb import kl_divergence, plots
    from aevb.drill import sanity
    from aevb.model import VAE

    say("1. Three clusters in the plane (2000 points, 800 epochs, seed 0)\n")
    outcome = _experiment(quiet)
    say(f"   loss {outcome.losses[0]:.3f} -> {outcome.losses[-1]:.3f}")
    say(f"   generated mean dist-to-nearest-center: {outcome.mean_distance:.3f}")
    say(f"   fraction within 1.0 of a cluster: {outcome.fraction_within:.3f}\n")
    checks = sanity.run_checks(VAE, kl_divergence, outcome.generated, outcome.losses)
    for check in checks:
        verdict = "ok    " if check.passed else "FAILED"
        say(f"   {verdict}  check {check.number}: {check.name}: {check.message}")
    figure = plots.scatter(
        outcome.data.numpy(),
        outcome.generated.numpy(),
        title="the tutorial's VAE after 800 epochs; generated: means of p(x|z), z ~ p(z)",
    )
    picture = plots.save(figure, out / "clusters.png")
    say(f"\n   picture: {picture}")
    return outcome, checks, picture


def _show_digits(out: Path, say: Say, *, quiet: bool) -> tuple[Run, list[Path]]:
    """Train a VAE of handwritten digits and draw it."""
    say("\n2. Handwritten digits (1797 pictures of 8 x 8 pixels, latent plane)\n")
    run, pictures = _digits(out / "digits", quiet)
    last = run.history[-1]
    bound, reconstruction, kl = (
        f"{last['validation_' + term]:.2f}" for term in ("bound", "reconstruction", "kl")
    )
    say(f"   validation bound {bound} nats a picture")
    say(f"     = reconstruction {reconstruction} - KL {kl}\n")
    for name in ("samples", "manifold"):
        say(f"   picture: {out / 'digits' / 'pictures' / name}.png")
    return run, pictures


def _make_folder(out: Path) -> None:
    """Make the folder, and mark it. Raises OutputExistsError or CannotWriteError."""
    is_empty = out.is_dir() and not any(out.iterdir())
    if out.exists() and not is_empty and not (out / MARK).is_file():
        raise OutputExistsError(
            f"{out} holds something that is not a demonstration; choose another --out"
        )
    try:
        if (out / MARK).is_file() and (out / "digits").is_dir():
            shutil.rmtree(out / "digits")
        out.mkdir(parents=True, exist_ok=True)
        # Mark it now, so that an interrupted demonstration can be started again.
        (out / MARK).write_text("{}")
    except OSError as error:
        raise CannotWriteError(f"{out} could not be written: {error.strerror or error}") from error


def _experiment(quiet: bool) -> Outcome:
    """The tutorial's experiment, under a progress bar."""
    from aevb.commands import terminal
    from aevb.drill import experiment, tutorial

    with terminal.progress(quiet) as bar:
        task = bar.add_task("   training", total=tutorial.EPOCHS, terms="")
        return experiment.train(
            on_epoch=lambda epoch, loss: bar.update(task, completed=epoch, terms=f"loss {loss:.3f}")
        )


def _digits(folder: Path, quiet: bool) -> tuple[Run, list[Path]]:
    """Train on the digits under a progress bar, and draw."""
    from aevb.commands import terminal
    from aevb.runs.pictures import draw
    from aevb.training.fit import fit

    with terminal.progress(quiet) as bar:
        watch = _EpochsOnBar(bar)
        run = fit("digits", DIGITS, out=folder, callbacks=watch)
    return run, draw(run, folder / "pictures", watch.prepared.validation)


class _EpochsOnBar(Callbacks):
    """Shows the epochs of the digits on a progress bar, and keeps the rows to draw."""

    prepared: Prepared

    def __init__(self, bar: Progress) -> None:
        self.bar = bar
        self.task = bar.add_task("   training", total=DIGITS.epochs, terms="")

    def on_data(self, prepared: Prepared) -> None:
        """Keep the rows."""
        self.prepared = prepared

    def on_epoch(self, record: Record) -> None:
        """Move the bar."""
        terms = f"validation bound {record['validation_bound']:.2f}"
        self.bar.update(self.task, completed=record["epoch"], terms=terms)


def _summary(
    outcome: Outcome, checks: list[CheckResult], run: Run, pictures: list[Path]
) -> dict[str, Any]:
    """The results of the demonstration as plain values."""
    last = run.history[-1]
    return {
        "loss_first": outcome.losses[0],
        "loss_last": outcome.losses[-1],
        "mean_distance": outcome.mean_distance,
        "fraction_within": outcome.fraction_within,
        "checks": [check.__dict__ for check in checks],
        "digits_validation_bound": {
            "value": last["validation_bound"],
            "standard_error": last["validation_standard_error"],
            "unit": "nats",
        },
        "pictures": [str(path) for path in pictures],
    }
