"""aevb: variational autoencoders to use, to trust and to learn from.

    from aevb import VAE, kl_divergence, vae_loss          the model and its loss, on tensors
    run = aevb.fit("digits")                               train on a data set by name, a file, a folder of pictures, an array
    run.sample(16); run.encode(rows); run.evaluate(rows)   use what was trained; rows: as for fit
    aevb.save(run, "runs/digits"); aevb.load("runs/digits")

Names are imported when they are first used: ``import aevb`` does not import torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aevb import datasets as datasets
    from aevb.config import Config as Config
    from aevb.datasets.schema import Data as Data
    from aevb.model import VAE as VAE
    from aevb.parts.objectives.elbo import ELBO as ELBO
    from aevb.parts.objectives.elbo import vae_loss as vae_loss
    from aevb.parts.posteriors.gaussian import kl_divergence as kl_divergence
    from aevb.runs.run import Run as Run
    from aevb.storage.checkpoint import load as load
    from aevb.storage.checkpoint import save as save
    from aevb.training.loop import fit as fit

__version__ = "0.2.0"

_HOMES = {
    "Config": "aevb.config",
    "Data": "aevb.datasets.schema",
    "ELBO": "aevb.parts.objectives.elbo",
    "Run": "aevb.runs.run",
    "VAE": "aevb.model",
    "fit": "aevb.training.loop",
    "kl_divergence": "aevb.parts.posteriors.gaussian",
    "load": "aevb.storage.checkpoint",
    "save": "aevb.storage.checkpoint",
    "vae_loss": "aevb.parts.objectives.elbo",
}

__all__ = [
    "ELBO",
    "VAE",
    "Config",
    "Data",
    "Run",
    "datasets",
    "fit",
    "kl_divergence",
    "load",
    "save",
    "vae_loss",
]


def __getattr__(name: str) -> Any:
    if name == "datasets":
        return import_module("aevb.datasets")
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'aevb' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
