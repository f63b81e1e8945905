"""``python -m aevb.drill.six FILE``: run the six checks on a learner's file.

Only ``judge`` starts it, in a process of its own. A learner's code may loop for ever, exit or use
up the memory, and none of that may end the drill's command. All output of the code goes to stderr.
On stdout, each line is one JSON object: {"epoch", "loss"} during training, then the result. The
result is either {"checks", "losses", "points", "seen"}, or {"error"} with one sentence.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from aevb.drill import sentences

MEMORY = 8 * 2**30
"""Bytes of address space that the code may take, including torch's libraries."""

Send = Callable[[dict[str, Any]], None]


def main(path: Path, send: Send) -> None:
    """Judge the file and send the result. An error of the file's code is sent as the result."""
    try:
        send(_judge(_names(path), send))
    except SyntaxError as error:
        send({"error": f"{path.name} has a syntax error in line {error.lineno}: {error.msg}"})
    except ModuleNotFoundError as error:
        send({"error": f"{path.name} imports {error.name!r}, which is not installed"})
    except SystemExit:
        send({"error": f"{path.name} calls sys.exit; only definitions belong there"})
    except MemoryError:
        send({"error": f"{path.name} needs more than {MEMORY // 2**30} GiB of memory"})
    except BaseException as error:
        send({"error": f"{path.name} raises {sentences.of_error(error)}"})


def _names(path: Path) -> dict[str, Any]:
    """Run the file as a module and return its names.

    Raises AttributeError for a missing name, and every error of the file's code.
    """
    names: dict[str, Any] = {"__name__": "learners_vae", "__file__": str(path)}
    exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), names)
    for name in ("VAE", "kl_divergence", "vae_loss"):
        if name not in names:
            raise AttributeError(f"there is no {name} in it")
    return names


def _judge(names: dict[str, Any], send: Send) -> dict[str, Any]:
    from aevb.drill import experiment, sanity

    generated, losses, points, stopped, seen = None, [], None, None, {}
    try:
        outcome = experiment.train(
            on_epoch=lambda epoch, loss: send({"epoch": epoch, "loss": loss}),
            make_model=names["VAE"],
            loss=names["vae_loss"],
        )
        generated, losses = outcome.generated, outcome.losses
        points = {"data": outcome.data.tolist(), "generated": generated.tolist()}
        seen = _seen(outcome, names["vae_loss"])
    except Exception as error:
        stopped = f"there is no trained model: {sentences.of_error(error)}"
    results = sanity.run_checks(names["VAE"], names["kl_divergence"], generated, losses)
    checks = [asdict(result) for result in results]
    for check in checks:
        if stopped and check["number"] in (4, 5):
            check["message"] = stopped
    return {
        "checks": checks,
        "losses": [losses[0], losses[-1]] if losses else None,
        "points": points,
        "seen": seen,
    }


def _seen(outcome: Any, loss: Callable[..., Any]) -> dict[str, float]:
    """Return the final numbers of a training, for a hint.

    They are the squared error and the KL by the learner's own loss, and the least and the greatest
    generated coordinate. The result is empty if the loss does not return three numbers.
    """
    import torch

    with contextlib.suppress(Exception), torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(0)
        recon, mu, logvar = outcome.model(outcome.data)
        _, error, kl = (float(term) for term in loss(recon, outcome.data, mu, logvar))
        return {
            "error": error,
            "kl": kl,
            "low": float(outcome.generated.min()),
            "high": float(outcome.generated.max()),
        }
    return {}


def _sender() -> Send:
    """Return a function that writes messages to stdout, and redirect all other output to stderr."""
    sys.stdout.flush()
    channel = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)

    def send(message: dict[str, Any]) -> None:
        channel.write(json.dumps(message) + "\n")
        channel.flush()

    return send


if __name__ == "__main__":
    with contextlib.suppress(ImportError, ValueError, OSError):
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    main(Path(sys.argv[1]), _sender())
