"""aevb through its public interface: ``aevb.fit``, with a callback after each step.

The callback waits for the parent between bursts.
"""

from __future__ import annotations

import dataclasses
import gc
import math
from typing import Any

import torch

import aevb
from peers.protocol import FinishedError, Turns
from peers.torch_nets import count
from peers.workloads import data_for


def main() -> None:
    turns = Turns()
    w = turns.workload
    gaussian = w.likelihood == "gaussian"
    config = aevb.Config(
        likelihood="gaussian_fixed" if gaussian else "bernoulli",
        network=w.network,
        hidden=w.hidden,
        latent_dim=w.latent_dim,
        activation=w.activation,
        batch_size=w.batch,
        epochs=w.epochs,
        binarize="dynamic" if w.dynamic else "none",
        validation="0",
        threads=turns.threads,
        device=turns.device,
        **turns.options,
    )
    rows, facts = data_for(w), {}
    # aevb's Gaussian bound includes a constant that the other loops leave out.
    constant = w.data_dim / 2 * math.log(math.pi) if gaussian else 0.0

    class Watch(aevb.Callbacks):
        def on_step(self, _epoch: int, _step: int, log: dict[str, Any]) -> None:
            try:
                turns.step(lambda: -log["bound"] - constant)
            except FinishedError:
                # fit has not returned its Run yet, so look for it among the living: there is one.
                run = next(o for o in gc.get_objects() if isinstance(o, aevb.Run))
                facts.update(described(run))
                raise

        def on_start(self, engine: Any) -> None:
            facts["engine"] = dataclasses.asdict(engine)

    def run() -> float:
        trained = aevb.fit(rows, config, callbacks=Watch())
        facts.update(described(trained))
        return -trained.history[-1]["bound"] - constant

    turns.train(run, lambda: facts)


def described(run: aevb.Run) -> dict[str, Any]:
    """Return the parameters, the versions, and the run's plain values about its execution."""
    shown = {
        name: plain(value)
        for name, value in vars(run).items()
        if name not in ("config", "schema", "history", "source")
    }
    chosen = {name: value for name, value in shown.items() if value is not None}
    wanted = {
        name: getattr(run.config, name)
        for name in ("compile", "precision", "threads")
        if hasattr(run.config, name)
    }
    return {
        "parameters": count(run.model),
        "versions": {"aevb": aevb.__version__, "torch": torch.__version__},
        "settings": wanted | chosen,
    }


def plain(value: Any) -> Any:
    """Return a value that JSON can hold: a dataclass as a dictionary, other objects as None."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = dataclasses.asdict(value)
    return value if isinstance(value, str | bool | int | float | dict) else None


if __name__ == "__main__":
    main()
