"""A run that begins with the weights of another one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from torch import Tensor

from aevb.errors import UsageError
from aevb.model import VAE
from aevb.runs.run import Run
from aevb.storage import checkpoint
from aevb.storage.run_folder import absolute


def begin_with(run: Run, folder: str) -> dict[str, str]:
    """Give ``run.model`` the weights of the run in ``folder``, in place.

    Encoder and decoder must be the same in both runs. Their weights are taken, and so are those of
    the mean and the variance of q(z|x), which every posterior has. The rest of the posterior, the
    prior, and the likelihood's own parameters are each taken if all their names and sizes agree.
    Otherwise that part begins with fresh weights.

    Returns:
        A description of each part that begins with fresh weights, by the part's name.

    Raises:
        UsageError: another network, another latent space, other data or another kind of likelihood.
        NotFoundError, DataError: as ``checkpoint.load``.
    """
    there = checkpoint.load(Path(folder))
    _refuse_other_networks(there, run, folder)
    names = {
        "posterior": f"{run.config.posterior} but for its mean and variance",
        "prior": run.config.prior,
        "likelihood": run.likelihood,
    }
    found, own = _parts(there.model), _parts(run.model)
    fresh: dict[str, str] = {}
    for part, name in names.items():
        if _sizes(own, part) != _sizes(found, part):
            found.pop(part, None)
            fresh |= {part: f"{part} {name}"} if part in own else {}
    weights = {name: value for part in found.values() for name, value in part.items()}
    run.model.load_state_dict(weights, strict=False)
    run.config = replace(run.config, start=absolute(folder))
    return fresh


def _parts(model: VAE) -> dict[str, dict[str, Tensor]]:
    """All tensors of a model, by the part that they belong to.

    The part "gaussian" holds the mean and the variance of q(z|x).
    """
    parts: dict[str, dict[str, Tensor]] = {}
    for name, value in model.state_dict().items():
        is_gaussian = name.startswith(("posterior.mu.", "posterior.logvar."))
        part = "gaussian" if is_gaussian else name.split(".")[0]
        parts.setdefault(part, {})[name] = value
    return parts


def _sizes(parts: dict[str, dict[str, Tensor]], part: str) -> dict[str, tuple[int, ...]]:
    """The shapes of a part's tensors; none for a part without tensors."""
    return {name: tuple(value.shape) for name, value in parts.get(part, {}).items()}


def _refuse_other_networks(there: Run, here: Run, folder: str) -> None:
    """Raise UsageError unless encoder and decoder mean the same in both runs.

    Tensors of the same size may mean different things.
    """
    before, now = _meaning(there), _meaning(here)
    likelihoods = (there.model.likelihood, here.model.likelihood)
    is_gaussian = all(each.form == "real" for each in likelihoods)
    if is_gaussian and likelihoods[0].num_features == likelihoods[1].num_features:
        now["likelihood"] = there.likelihood  # the decoder emits a mean, whatever the noise
    for name, value in before.items():
        if value != now[name]:
            raise UsageError(
                f"start {folder}: that run has {name} {value}, this one {now[name]}; give this one"
                " the same, or leave start out"
            )


def _meaning(run: Run) -> dict[str, Any]:
    """The settings that say what the weights of encoder and decoder mean."""
    config = run.config
    assert config.hidden is not None
    return {
        "network": config.network,
        "hidden": config.hidden,
        "decoder_hidden": config.decoder_hidden or config.hidden[::-1],
        "skip": config.skip,
        "activation": config.activation,
        "latent_dim": config.latent_dim,
        "rows of shape": run.schema.shape,
        "likelihood": run.likelihood,
        "levels": run.schema.levels,
    }
