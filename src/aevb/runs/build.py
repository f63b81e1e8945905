"""How the names and numbers of a ``Config`` become objects: model, objective, optimiser."""

from __future__ import annotations

import math
from inspect import signature
from typing import Any

from torch import nn

from aevb.config import OPTIMIZERS, Config
from aevb.engine.optimisers import Update
from aevb.errors import UsageError
from aevb.interfaces import Objective
from aevb.model import VAE
from aevb.parts.likelihoods import LIKELIHOODS
from aevb.parts.networks import NETWORKS
from aevb.parts.networks.indicators import Indicators
from aevb.parts.objectives import OBJECTIVES
from aevb.parts.posteriors import POSTERIORS
from aevb.parts.priors import PRIORS
from aevb.registry import Table


def build(
    config: Config,
    likelihood: str,
    shape: tuple[int, ...],
    steps_per_epoch: int,
    levels: int | None = None,
) -> tuple[VAE, Objective]:
    """Make the model, with fresh weights from torch's generator, and the objective.

    likelihood: by name, since ``config.likelihood`` may be ``auto``. shape: of one row.
    steps_per_epoch: turns epochs of warm-up into steps. levels: how many values a column can have,
    for the likelihoods over levels. Raises UsageError for parts that do not go together.
    """
    network, data_dim = NETWORKS[config.network], math.prod(shape)
    family = LIKELIHOODS[likelihood]
    if config.objective in ("iwae", "dreg") and likelihood == "gaussian_optimal":
        raise UsageError(
            "gaussian_optimal sets the variance that is best for the elbo, not for"
            f" {config.objective}; use gaussian"
        )
    p = family(data_dim, levels) if family.form == "levels" else family(data_dim)
    assert config.hidden is not None
    if p.nominal and config.network == "mlp":
        encoder, features = network.encoder(
            (data_dim * p.levels,), config.hidden, config.activation
        )
        encoder = nn.Sequential(Indicators(p.levels), encoder)
    else:
        encoder, features = network.encoder(shape, config.hidden, config.activation)
    posterior = POSTERIORS[config.posterior](features, config.latent_dim)
    widths = config.decoder_hidden or config.hidden[::-1]
    model = VAE(
        data_dim,
        config.hidden,
        config.latent_dim,
        encoder=encoder,
        posterior=posterior,
        decoder=network.decoder(
            config.latent_dim, widths, shape, p.num_features, config.activation, config.skip
        ),
        likelihood=p,
        prior=PRIORS[config.prior](
            config.latent_dim,
            **_accepted(PRIORS, config.prior, config, {"components": "components"}),
        ),
    )
    settings = {
        "beta": "beta",
        "warmup_epochs": "warmup_steps",
        "free_bits": "free_bits",
        "samples": "samples",
    }
    arguments = _accepted(OBJECTIVES, config.objective, config, settings)
    if "warmup_steps" in arguments:
        arguments["warmup_steps"] = round(config.warmup_epochs * steps_per_epoch)
    return model, OBJECTIVES[config.objective](**arguments)


def _accepted(table: Table, part: str, config: Config, settings: dict[str, str]) -> dict[str, Any]:
    """Those of ``settings`` (name in Config -> argument) that the ``part`` of a table takes.

    Raises UsageError for one that was set and would be ignored.
    """
    taken = signature(table[part]).parameters
    arguments = {}
    for name, argument in settings.items():
        value = getattr(config, name)
        if argument in taken:
            if value is not None:
                arguments[argument] = value
        elif value != getattr(Config, name):
            raise UsageError(
                f"{table.what} {part} takes no {name}; got {name} {value}. Leave it out, or choose"
                f" another {table.what}."
            )
    return arguments


def update_for(config: Config, model: nn.Module) -> Update:
    """The optimiser of ``config`` over all parameters of ``model``, which are moved into one tensor
    if they are few."""
    update: Update = OPTIMIZERS[config.optimizer].of_model(model, lr=config.learning_rate)
    return update
