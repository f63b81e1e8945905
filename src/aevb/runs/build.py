"""Make the model, the objective and the optimiser from the settings in a ``Config``."""

from __future__ import annotations

import math
from inspect import signature
from typing import Any

import torch
from torch import nn

from aevb.config import OPTIMIZERS, Config
from aevb.datasets.tabular.families import Families
from aevb.engine.optimisers import Update
from aevb.errors import UsageError
from aevb.interfaces import Likelihood, Objective
from aevb.model import VAE
from aevb.parts.likelihoods import LIKELIHOODS
from aevb.parts.likelihoods.mixed import Mixed
from aevb.parts.networks import NETWORKS
from aevb.parts.networks.hidden_cells import HiddenCells
from aevb.parts.networks.indicators import Indicators
from aevb.parts.networks.log_counts import LogCounts
from aevb.parts.networks.mlp import MLP
from aevb.parts.objectives import OBJECTIVES
from aevb.parts.posteriors import POSTERIORS
from aevb.parts.priors import PRIORS
from aevb.probability.cells import HINGES, CellFeatures
from aevb.registry import Registry
from aevb.runs.automatic import FIXED, fixed, known, settle_network

QUIET = 5e-4
"""The last layer of a decoder of mixed rows starts with weights that are so much smaller."""
PRIOR_SETTINGS = {"components": "components"}
"""Settings of a ``Config`` that a prior may take: name in ``Config`` -> name of the argument."""
OBJECTIVE_SETTINGS = {
    "beta": "beta",
    "warmup_epochs": "warmup_steps",
    "free_bits": "free_bits",
    "samples": "samples",
}
"""Settings of a ``Config`` that an objective may take: name in ``Config`` -> argument."""


def build(
    config: Config,
    likelihood: str,
    shape: tuple[int, ...],
    steps_per_epoch: int,
    levels: int | None = None,
    families: Families | None = None,
) -> tuple[VAE, Objective]:
    """Make the model, with fresh weights from torch's generator, and the objective.

    Args:
        config: the settings of the run; what is None has the fixed number of ``FIXED``.
        likelihood: a name in ``LIKELIHOODS``; ``config.likelihood`` may still be ``auto``.
        shape: of one row, such as (3,) or (28, 28).
        steps_per_epoch: turns the epochs of the warm-up into optimiser steps.
        levels: how many values a column can have; only the likelihoods over levels need it.
        families: of the columns; only the likelihood ``mixed`` needs them.

    Returns:
        The model, on the CPU and in training mode, and the objective.

    Raises:
        UsageError: two parts do not fit each other, or a setting would be ignored.

    Example:
        >>> from aevb import Config
        >>> from aevb.runs.build import build
        >>> config = Config(hidden=(8,), latent_dim=2, objective="iwae", samples=5)
        >>> model, objective = build(config, "gaussian", (3,), steps_per_epoch=10)
        >>> model.data_dim, model.latent_dim, objective.samples
        (3, 2, 5)
    """
    if config.objective in ("iwae", "dreg") and likelihood == "gaussian_optimal":
        raise UsageError(
            "gaussian_optimal sets the variance that is best for the elbo, not for"
            f" {config.objective}; use gaussian"
        )
    config, _ = settle_network(fixed(config), shape)
    p = likelihood_for(likelihood, math.prod(shape), levels, families)
    return _model(config, p, shape), _objective(config, steps_per_epoch)


def update_for(config: Config, model: nn.Module) -> Update:
    """Make the optimiser of ``config`` over all parameters of ``model``.

    The optimiser moves the parameters into one tensor if they are few.

    Example:
        >>> from aevb import VAE, Config
        >>> from aevb.runs.build import update_for
        >>> update = update_for(Config(optimizer="adagrad"), VAE())
        >>> type(update).__name__
        'Adagrad'
    """
    rate = known(fixed(config), "learning_rate")
    update: Update = OPTIMIZERS[config.optimizer].of_model(model, lr=rate)
    return update


def _model(config: Config, p: Any, shape: tuple[int, ...]) -> VAE:
    # The parts are made in this order, because each draws its weights from torch's generator:
    # likelihood, encoder, posterior, decoder, prior.
    assert config.hidden is not None
    data_dim, latent_dim = math.prod(shape), known(config, "latent_dim")
    encoder, features = _encoder(config, p, shape)
    posterior = POSTERIORS[config.posterior](features, latent_dim)
    decoder = NETWORKS[config.network].decoder(
        latent_dim,
        config.decoder_hidden or config.hidden[::-1],
        shape,
        p.num_features,
        config.activation,
        config.skip,
    )
    if p.form == "columns":
        _quieten(decoder)
    prior = prior_for(config)
    return VAE(
        data_dim,
        config.hidden,
        latent_dim,
        encoder=encoder,
        posterior=posterior,
        decoder=decoder,
        likelihood=p,
        prior=prior,
    )


@torch.no_grad()
def _quieten(decoder: nn.Module) -> None:
    """Make a fresh decoder's output small: training then starts from the likelihood's own values.

    These are a good model of the table already.
    """
    last = [layer for layer in decoder.modules() if isinstance(layer, nn.Linear)][-1]
    last.weight.mul_(QUIET)
    last.bias.zero_()


def likelihood_for(
    name: str, data_dim: int, levels: int | None, families: Families | None = None
) -> Any:
    """Make a likelihood.

    Args:
        name: Of the likelihood.
        data_dim: How many numbers a row has.
        levels: How many values a column can have; only the likelihoods over levels need it.
        families: Of the columns; only the likelihood ``mixed`` needs them.

    Example:
        >>> from aevb.runs.build import likelihood_for
        >>> likelihood_for("gaussian_network", 3, None).num_features
        6
    """
    family: type[Likelihood] = LIKELIHOODS[name]
    if family.form == "columns":
        assert families is not None
        return Mixed(families.factors, families.components, families.width, families.rows)
    sizes = (data_dim, levels) if family.form == "levels" else (data_dim,)
    return family(*sizes)


def prior_for(config: Config) -> Any:
    """Make the prior of ``config``.

    Raises:
        UsageError: a setting would be ignored.

    Example:
        >>> from aevb import Config
        >>> from aevb.runs.build import prior_for
        >>> prior_for(Config(latent_dim=3, prior="mixture", components=5))().event_shape
        torch.Size([3])
    """
    config = fixed(config)
    name = known(config, "prior")
    accepted = _accepted(PRIORS, name, config, PRIOR_SETTINGS)
    return PRIORS[name](known(config, "latent_dim"), **accepted)


def cell_features(likelihood: Any) -> CellFeatures:
    """Make the features of mixed rows that an encoder sees.

    Example:
        >>> from aevb.parts.likelihoods.mixed import Mixed
        >>> from aevb.probability.factors import Factor
        >>> from aevb.runs.build import cell_features
        >>> cell_features(Mixed([Factor("a", "levels", values=(0.0, 1.0))], 0, 0)).width
        2
    """
    return CellFeatures(likelihood.factors, HINGES if likelihood.numbers.width else 0)


def _encoder(config: Config, likelihood: Any, shape: tuple[int, ...]) -> tuple[nn.Module, int]:
    """Return the encoder's network and its number of features.

    If the levels are names, a perceptron sees an indicator for each level. Every network sees
    counts as logarithms.
    """
    make = NETWORKS[config.network].encoder
    if likelihood.form == "columns":
        assert config.hidden is not None
        cells = cell_features(likelihood)
        network, features = MLP.encoder((cells.width,), config.hidden, config.activation)
        return nn.Sequential(HiddenCells(), cells, network), features
    if likelihood.form == "counts":
        network, features = make(shape, config.hidden, config.activation)
        return nn.Sequential(LogCounts(math.prod(shape)), network), features
    if not (likelihood.nominal and config.network == "mlp"):
        network, features = make(shape, config.hidden, config.activation)
        return network, features
    inputs = (math.prod(shape) * likelihood.levels,)
    network, features = make(inputs, config.hidden, config.activation)
    return nn.Sequential(Indicators(likelihood.levels), network), features


def _objective(config: Config, steps_per_epoch: int) -> Objective:
    arguments = _accepted(OBJECTIVES, config.objective, config, OBJECTIVE_SETTINGS)
    if "warmup_steps" in arguments:
        arguments["warmup_steps"] = round(arguments["warmup_steps"] * steps_per_epoch)
    objective: Objective = OBJECTIVES[config.objective](**arguments)
    return objective


def _accepted(
    registry: Registry, part: str, config: Config, settings: dict[str, str]
) -> dict[str, Any]:
    """Return the arguments that ``part`` takes from ``settings`` (name in Config -> argument).

    Raises UsageError for a setting that the user changed and the part would ignore.
    """
    taken = signature(registry[part]).parameters
    arguments = {}
    for name, argument in settings.items():
        value = getattr(config, name)
        if argument in taken:
            if value is not None:
                arguments[argument] = value
        elif value not in (getattr(Config, name), FIXED.get(name)):
            raise UsageError(
                f"{registry.what} {part} takes no {name}; got {name} {value}. Leave it out, or"
                f" choose another {registry.what}."
            )
    return arguments
