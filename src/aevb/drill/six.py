"""``python -m aevb.drill.six FILE``: the six checks on a learner's file, in a process of its own.

Only ``judge`` starts it: a learner's code may loop, exit or eat memory, and none of that must end
the command. What the code prints goes to stderr; stdout carries one JSON object a line: {"epoch",
"loss"} while it trains, then the result, {"checks", "losses", "points", "seen"} or {"error"}, one
sentence.
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

MEMORY = 8 * 2**30
"""Bytes of address space that the code may take, torch's libraries included."""


def main(path: Path, send: Callable[[dict[str, Any]], None]) -> None:
    """Judge the file and send the result; never raises for what the file's code does."""
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
        send({"error": f"{path.name} raises {_sentence(error)}"})


def _names(path: Path) -> dict[str, Any]:
    """Run the file as a module; returns its names. Raises whatever it raises, AttributeError for a
    name it lacks."""
    names: dict[str, Any] = {"__name__": "learners_vae", "__file__": str(path)}
    exec(compile(path.read_text(encoding="utf-8"), str(path), "exec"), names)
    for name in ("VAE", "kl_divergence", "vae_loss"):
        if name not in names:
            raise AttributeError(f"there is no {name} in it")
    return names


def _judge(names: dict[str, Any], send: Callable[[dict[str, Any]], None]) -> dict[str, Any]:
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
        stopped = f"there is no trained model: {_sentence(error)}"
    checks = [
        asdict(check)
        for check in sanity.run_checks(names["VAE"], names["kl_divergence"], generated, losses)
    ]
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
    """What the trained model ends on, for a hint: squared error and KL, by its own loss, and the
    ends of what it generates.

    Empty for a loss that does not return its three numbers.
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


def _sentence(error: BaseException) -> str:
    return (
        str(error)
        if isinstance(error, NotImplementedError)
        else f"{type(error).__name__}: {' '.join(str(error).split())}"
    )


def _sender() -> Callable[[dict[str, Any]], None]:
    """Keep stdout for results: whatever else writes there goes to stderr from now on."""
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
