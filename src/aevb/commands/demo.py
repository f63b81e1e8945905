"""aevb demo: a VAE learns, generates and proves itself, offline and within a minute."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from aevb.config import Config
from aevb.errors import CannotWriteError, OutputExistsError

if TYPE_CHECKING:
    from aevb.drill.experiment import Outcome
    from aevb.drill.sanity import CheckResult
    from aevb.runs.run import Run

MARK = "demo.json"
"""The file by which a folder is known to be a demonstration's, so that a second one may replace it.
"""

DIGITS = Config(
    latent_dim=2, hidden=(256, 256), epochs=80, batch_size=128, learning_rate=2e-3, threads=1
)


def demo(
    *, out: Path = Path("aevb-demo"), json: Annotated[bool, Parameter(negative=())] = False
) -> int:
    """Train the tutorial's VAE of three clusters and run its six checks, then train a VAE of
    handwritten digits.

    Exits with 1 if a check fails.

    Parameters
    ----------
    out
        The folder for pictures and models. That of an earlier demonstration is replaced; any other
        must be empty.
    json
        Print one JSON object and nothing else.
    """
    import json as encoder

    from aevb import kl_divergence, plots
    from aevb.commands import terminal
    from aevb.drill import sanity
    from aevb.model import VAE

    say = (lambda *_: None) if json else print
    _make_folder(out)
    say("1. Three clusters in the plane (2000 points, 800 epochs, seed 0)\n")
    outcome = _experiment(json)
    say(f"   loss {outcome.losses[0]:.3f} -> {outcome.losses[-1]:.3f}")
    say(f"   generated mean dist-to-nearest-center: {outcome.mean_distance:.3f}")
    say(f"   fraction within 1.0 of a cluster: {outcome.fraction_within:.3f}\n")
    checks = sanity.run_checks(VAE, kl_divergence, outcome.generated, outcome.losses)
    for check in checks:
        say(
            f"   {'ok    ' if check.passed else 'FAILED'}  check {check.number}: {check.name}:"
            f" {check.message}"
        )
    clusters = plots.save(
        plots.scatter(
            outcome.data.numpy(),
            outcome.generated.numpy(),
            title="the tutorial's VAE after 800 epochs; generated: means of p(x|z), z ~ p(z)",
        ),
        out / "clusters.png",
    )
    say(
        f"\n   picture: {clusters}\n\n2. Handwritten digits (1797 pictures of 8 x 8 pixels, latent"
        " plane)\n"
    )
    run, pictures = _digits(out / "digits", json)
    last = run.history[-1]
    say(f"   validation bound {last['validation_bound']:.2f} nats a picture")
    say(
        f"     = reconstruction {last['validation_reconstruction']:.2f} - KL"
        f" {last['validation_kl']:.2f}\n"
    )
    for name in ("samples", "manifold"):
        say(f"   picture: {out / 'digits' / 'pictures' / name}.png")
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


def _make_folder(out: Path) -> None:
    if (
        out.exists()
        and not (out / MARK).is_file()
        and not (out.is_dir() and not any(out.iterdir()))
    ):
        raise OutputExistsError(
            f"{out} holds something that is not a demonstration; choose another --out"
        )
    try:
        if (out / MARK).is_file() and (out / "digits").is_dir():
            shutil.rmtree(out / "digits")
        out.mkdir(parents=True, exist_ok=True)
        # Mark it now: a demonstration that is interrupted may be started again.
        (out / MARK).write_text("{}")
    except OSError as error:
        raise CannotWriteError(f"{out} could not be written: {error.strerror or error}") from error


def _experiment(quiet: bool) -> Outcome:
    from aevb.commands import terminal
    from aevb.drill import experiment, tutorial

    with terminal.progress(quiet) as bar:
        task = bar.add_task("   training", total=tutorial.EPOCHS, terms="")
        return experiment.train(
            on_epoch=lambda epoch, loss: bar.update(task, completed=epoch, terms=f"loss {loss:.3f}")
        )


def _digits(folder: Path, quiet: bool) -> tuple[Run, list[Path]]:
    from aevb.commands import terminal
    from aevb.datasets import load
    from aevb.runs.pictures import draw
    from aevb.training.loop import fit
    from aevb.training.split import prepare

    data = load("digits")
    prepared = prepare(data, DIGITS)
    with terminal.progress(quiet) as bar:
        task = bar.add_task("   training", total=DIGITS.epochs, terms="")
        run = fit(
            data,
            DIGITS,
            out=folder,
            prepared=prepared,
            on_epoch=lambda record: bar.update(
                task,
                completed=record["epoch"],
                terms=f"validation bound {record['validation_bound']:.2f}",
            ),
        )
    return run, draw(run, folder / "pictures", prepared.validation)


def _summary(
    outcome: Outcome, checks: list[CheckResult], run: Run, pictures: list[Path]
) -> dict[str, Any]:
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
