"""A run that begins with the weights of another one: which parts it takes, and which pairs of runs
are refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from torch import Tensor

from aevb.errors import UsageError
from aevb.model import VAE
from aevb.runs.run import Run
from aevb.storage import checkpoint
from aevb.storage.run_folder import absolute


def begin_with(run: Run, folder: str) -> dict[str, str]:
    """Give ``run.model`` the weights of the run in ``folder``, in place. Returns in words what
    begins afresh, by its part.

    Encoder, decoder and the Gaussian of q(z|x), which every posterior has, must be the same and are taken. What else makes up
    the posterior, the prior, and the likelihood's own numbers are each taken as a whole, where all names and sizes agree.
    Raises UsageError for another network, another latent space, other data or another kind of likelihood, and as
    ``checkpoint.load`` does.
    """
    there = checkpoint.load(Path(folder))
    _refuse_other_networks(there, run, folder)
    names = {
        "posterior": f"{run.config.posterior} but for its mean and variance",
        "prior": run.config.prior,
        "likelihood": run.likelihood,
    }
    parts, own = _parts(there.model), _parts(run.model)
    fresh: dict[str, str] = {}
    for part, name in names.items():
        sizes, found = (
            {n: value.shape for n, value in each.get(part, {}).items()} for each in (own, parts)
        )
        if sizes != found:
            parts.pop(part, None)
            fresh |= {part: f"{part} {name}"} if sizes else {}
    run.model.load_state_dict(
        {name: value for part in parts.values() for name, value in part.items()}, strict=False
    )
    run.config = replace(run.config, start=absolute(folder))
    return fresh


def _parts(model: VAE) -> dict[str, dict[str, Tensor]]:
    """All tensors of a model, by the part that they belong to; "gaussian" are the mean and variance
    of q(z|x)."""
    parts: dict[str, dict[str, Tensor]] = {}
    for name, value in model.state_dict().items():
        part = (
            "gaussian"
            if name.startswith(("posterior.mu.", "posterior.logvar."))
            else name.split(".")[0]
        )
        parts.setdefault(part, {})[name] = value
    return parts


def _refuse_other_networks(there: Run, here: Run, folder: str) -> None:
    """Raise UsageError unless encoder and decoder mean the same in both runs; tensors of one size
    may mean another thing."""
    settings = ("network", "hidden", "decoder_hidden", "skip", "activation", "latent_dim")
    before, now = ({name: getattr(run.config, name) for name in settings} for run in (there, here))
    for each in (before, now):
        each["decoder_hidden"] = each["decoder_hidden"] or each["hidden"][::-1]
    before |= {
        "rows of shape": there.schema.shape,
        "likelihood": there.likelihood,
        "levels": there.schema.levels,
    }
    now |= {
        "rows of shape": here.schema.shape,
        "likelihood": here.likelihood,
        "levels": here.schema.levels,
    }
    real = {there.model.likelihood.form, here.model.likelihood.form} == {"real"}
    if real and there.model.likelihood.num_features == here.model.likelihood.num_features:
        now["likelihood"] = (
            there.likelihood
        )  # a Gaussian's mean is a Gaussian's mean, whatever is thought of its noise
    for name, value in before.items():
        if value != now[name]:
            raise UsageError(
                f"start {folder}: that run has {name} {value}, this one {now[name]}; give this one"
                " the same, or leave start out"
            )
