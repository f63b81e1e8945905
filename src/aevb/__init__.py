"""aevb: train, evaluate and study variational autoencoders.

    from aevb import VAE, kl_divergence, vae_loss          the model and its loss, on tensors
    run = aevb.fit("digits")                               train on a data set by name, on a file,
                                                           on a folder of pictures, on an array
    run.sample(16); run.encode(rows); run.evaluate(rows)   use the trained model; rows as for fit
    aevb.save(run, "runs/digits"); aevb.load("runs/digits")
    aevb.report.evaluate(run, rows)                        every figure, with its standard error
    aevb.checker.check_file("their_vae.py")                find mistakes in the code of a VAE

``import aevb`` does not import torch: each name is imported when it is first used.

Example:
    >>> import aevb
    >>> settings = aevb.Config(hidden=(16,), latent_dim=2, epochs=2)
    >>> run = aevb.fit("moons", settings)
    >>> run.sample(5).shape
    (5, 2)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from aevb import checker as checker
    from aevb import datasets as datasets
    from aevb.config import Config as Config
    from aevb.datasets.schema import Data as Data
    from aevb.model import VAE as VAE
    from aevb.parts.objectives.elbo import ELBO as ELBO
    from aevb.parts.objectives.elbo import vae_loss as vae_loss
    from aevb.parts.posteriors.gaussian import kl_divergence as kl_divergence
    from aevb.runs import report as report
    from aevb.runs.run import Run as Run
    from aevb.storage.checkpoint import load as load
    from aevb.storage.checkpoint import save as save
    from aevb.training.callbacks import Callbacks as Callbacks
    from aevb.training.fit import fit as fit

__version__ = "0.2.0"

_MODULES = {
    "checker": "aevb.checker",
    "datasets": "aevb.datasets",
    "report": "aevb.runs.report",
}
_HOMES = {
    "Callbacks": "aevb.training.callbacks",
    "Config": "aevb.config",
    "Data": "aevb.datasets.schema",
    "ELBO": "aevb.parts.objectives.elbo",
    "Run": "aevb.runs.run",
    "VAE": "aevb.model",
    "fit": "aevb.training.fit",
    "kl_divergence": "aevb.parts.posteriors.gaussian",
    "load": "aevb.storage.checkpoint",
    "save": "aevb.storage.checkpoint",
    "vae_loss": "aevb.parts.objectives.elbo",
}

__all__ = [
    "ELBO",
    "VAE",
    "Callbacks",
    "Config",
    "Data",
    "Run",
    "checker",
    "datasets",
    "fit",
    "kl_divergence",
    "load",
    "report",
    "save",
    "vae_loss",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return import_module(_MODULES[name])
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'aevb' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
