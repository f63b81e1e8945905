"""Makers and checks that several test modules need."""

import io
import json
import re
import shlex
import signal
import struct
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import pytest
import torch
from oracle import all_bits, square_grid

from aevb.commands import cli
from aevb.config import Config
from aevb.datasets.schema import Schema
from aevb.engine import decisions
from aevb.errors import AevbError
from aevb.runs.build import build
from aevb.runs.run import Run
from aevb.training.callbacks import Callbacks
from aevb.training.fit import fit

NEXT_STEP = (
    r"; there is|\b(save|remove|fill|correct|copy|give|check|name|bring|put|install|use|try|did you"
    r" mean|right file|needs)\b"
)


def refuses(kind, parts, call, *args, **options):
    """Check that ``call`` raises exactly this kind of error, and return its message.

    The message holds ``parts`` and says what to do next.
    """
    with pytest.raises(AevbError) as caught:
        call(*args, **options)
    message = str(caught.value)
    assert type(caught.value) is kind, message
    assert [part for part in parts if part not in message] == [], message
    assert re.search(NEXT_STEP, message, re.IGNORECASE), message
    return message


def into(write, *args, **named):
    """The bytes that ``write`` writes into a file."""
    write(file := io.BytesIO(), *args, **named)
    return file.getvalue()


def idx(code, shape, content):
    return struct.pack(f">HBB{len(shape)}I", 0, code, len(shape), *shape) + content


def numbers(dtype, shape):
    return (np.arange(np.prod(shape)) % 7).astype(dtype).reshape(shape)


# -------------------------------------------------------------------------------------------------
# likelihoods


def all_levels(dims, levels):
    """Every row of ``dims`` levels k / (levels - 1): (levels**dims, dims)."""
    k = torch.arange(levels, dtype=torch.float64) / (levels - 1)
    return torch.cartesian_prod(*[k] * dims).reshape(-1, dims)


def all_counts(dims, most):
    """Every row of ``dims`` counts from 0 to ``most`` - 1: (most**dims, dims)."""
    k = torch.arange(most, dtype=torch.float64)
    return torch.cartesian_prod(*[k] * dims).reshape(-1, dims)


def every_value(p, h):
    """All rows there can be: (M, D), and the weight of each. Counts above 400 are too rare.

    The weight is 1 for a sum, and the volume of a cell for an integral.
    """
    if not p.discrete:
        return square_grid(p(h).event_shape[0], 12.0, 1200)
    dims = p(h).event_shape[0]
    if p.form == "counts":
        return all_counts(dims, 400), 1.0
    return (all_levels(dims, p.levels) if p.form == "levels" else all_bits(dims)), 1.0


def check_shapes_of_a_likelihood(p):
    """Features with any leading dimensions, and any number of samples."""
    for lead in [(), (5,), (3, 5)]:
        d = p(torch.randn(*lead, p.num_features, dtype=torch.float64))
        x = d.sample()
        assert d.batch_shape == lead
        assert x.shape == d.mean.shape == (*lead, *d.event_shape)
        assert d.log_prob(x).shape == lead
        assert d.sample((2, 4)).shape == (2, 4, *lead, *d.event_shape)
        assert d.log_prob(d.sample((2, 4))).shape == (2, 4, *lead)


def check_likelihood_is_normalised(p, h):
    """The probabilities of all values sum, or integrate, to 1."""
    x, weight = every_value(p, h)
    assert float((p(h).log_prob(x).exp().sum() * weight).detach()) == pytest.approx(
        1.0, abs=1e-4 if weight != 1 else 1e-9
    )


def check_mean_of_a_likelihood(p, h):
    """``mean`` is the mean over all values."""
    x, weight = every_value(p, h)
    mean = (p(h).log_prob(x).exp()[:, None] * x).sum(0) * weight
    assert torch.allclose(p(h).mean, mean, atol=1e-4 if weight != 1 else 1e-9)


# -------------------------------------------------------------------------------------------------
# the command line


FIT = "--hidden 8 --latent-dim 2 --epochs 2 --batch-size 256 --threads 1"


class Result(NamedTuple):
    code: int
    out: str
    err: str


def aevb(line):
    """Run a command line in this process: another one pays seconds for torch."""
    out, err, sigterm = io.StringIO(), io.StringIO(), signal.getsignal(signal.SIGTERM)
    try:
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as exit_:
            cli.main(shlex.split(line))
    finally:
        signal.signal(signal.SIGTERM, sigterm)
    return Result(exit_.value.code, out.getvalue(), err.getvalue())


def done(line):
    """Run a command line that must succeed and keep quiet on stderr. Returns its stdout."""
    result = aevb(line)
    assert (result.code, result.err) == (0, ""), result
    return result.out


def tree(folder):
    """Everything below a folder: names, and the bytes of files."""
    return {
        p.relative_to(folder): p.read_bytes() if p.is_file() else None
        for p in Path(folder).rglob("*")
    }


def manifest(run):
    return json.loads((Path(run) / "manifest.json").read_text())


def check_figures(report, names):
    for name in names:
        assert {"value", "standard_error", "unit"} <= set(report[name])
        assert np.isfinite(report[name]["value"])
        assert report[name]["unit"] == ("bits per dimension" if name == "bits_per_dim" else "nats")


# -------------------------------------------------------------------------------------------------
# saved runs


SAVED = Config(hidden=(6,), latent_dim=2, likelihood="gaussian", epochs=3)


def make_run(seed=0):
    """A tiny run that was never trained; each seed has other weights."""
    torch.manual_seed(seed)
    schema = Schema(
        "real", (3,), "float64", (0.1, -1 / 3, 1e9), (2.0, 1e-3, 7.0), columns=("a", "b", "c")
    )
    return Run(build(SAVED, "gaussian", (3,), 1)[0], SAVED, "gaussian", schema, "somewhere.csv")


def same_weights(a, b):
    """Whether two runs have the same weights, bit for bit."""
    first, second = a.model.state_dict(), b.model.state_dict()
    return first.keys() == second.keys() and all(
        torch.equal(first[name], second[name]) for name in first
    )


# -------------------------------------------------------------------------------------------------
# runs of every kind


SMALL = Config(hidden=(8,), latent_dim=2, batch_size=32, epochs=2, validation="0", threads=1)
TABLE = np.random.default_rng(0).normal(size=(72, 4)).astype(np.float32)
PICTURES = np.random.default_rng(0).integers(0, 256, size=(72, 6, 6), dtype=np.uint8)
LEVELS = np.random.default_rng(0).integers(0, 4, size=(72, 5))
COUNTS = np.random.default_rng(0).poisson([0.1, 1.0, 8.0, 90.0, 1000.0], size=(72, 5))
SPIKES = np.random.default_rng(0).poisson(2.0, size=(72, 6, 6)).astype(np.uint8)


def mixed_table(n=72, seed=0):
    """A table with a column of each family, with gaps, a spike, rare values and a rule."""
    rng = np.random.default_rng(seed)
    size = rng.normal(170, 10, n).round(1)
    gain = np.where(rng.random(n) < 0.6, 0.0, np.exp(rng.normal(7, 1, n)).round())
    return pd.DataFrame(
        {
            "name": rng.choice(["ann", "bob", "eve", None], n, p=[0.4, 0.3, 0.2, 0.1]),
            "grade": rng.choice([1, 2, 3, 5], n, p=[0.5, 0.3, 0.15, 0.05]),
            "gain": gain,
            "size": pd.Series(size).mask(rng.random(n) < 0.2),
            "heavy": 0.9 * size - 80 + rng.normal(0, 5, n),
            "again": rng.choice(["x", "y"], n),
        }
    ).assign(copy=lambda t: t["again"].map({"x": "p", "y": "q"}))


# A small run with each kind of part: its rows, and its settings beyond SMALL.
RUNS = {
    "elbo": (TABLE, {}),
    "several samples": (TABLE, {"samples": 3}),
    "warm-up and free bits": (TABLE, {"warmup_epochs": 1.5, "free_bits": 0.2}),
    "iwae": (TABLE, {"objective": "iwae", "samples": 3}),
    "dreg": (TABLE, {"objective": "dreg", "samples": 3}),
    "full": (TABLE, {"posterior": "full"}),
    "full, dreg, vamp": (
        TABLE,
        {"posterior": "full", "objective": "dreg", "samples": 3, "prior": "vamp", "components": 5},
    ),
    "flow, stl": (TABLE, {"posterior": "flow", "objective": "stl"}),
    "spline flow": (TABLE, {"posterior": "spline_flow"}),
    "mixture": (TABLE, {"prior": "mixture", "components": 3}),
    "vamp": (TABLE, {"prior": "vamp", "components": 5}),
    "flow prior": (TABLE, {"prior": "flow"}),
    "gaussian_optimal": (TABLE, {"likelihood": "gaussian_optimal"}),
    "gaussian_optimal, autoencoder": (
        TABLE,
        {"likelihood": "gaussian_optimal", "objective": "autoencoder"},
    ),
    "gaussian_network": (TABLE, {"likelihood": "gaussian_network"}),
    "adagrad": (TABLE, {"optimizer": "adagrad", "learning_rate": 0.05}),
    "bernoulli": (PICTURES, {"likelihood": "bernoulli"}),
    "dynamic": (PICTURES, {"likelihood": "bernoulli", "binarize": "dynamic"}),
    "convolutions": (PICTURES, {"likelihood": "bernoulli", "network": "conv", "hidden": (4, 8)}),
    "skip": (PICTURES, {"likelihood": "bernoulli", "skip": True}),
    "discretized_logistic": (PICTURES, {"likelihood": "discretized_logistic"}),
    "categorical": (LEVELS, {"likelihood": "categorical"}),
    "poisson": (COUNTS, {"likelihood": "poisson"}),
    "poisson, convolutions": (
        SPIKES,
        {"likelihood": "poisson", "network": "conv", "hidden": (4, 8)},
    ),
    "poisson, wake_sleep": (COUNTS, {"likelihood": "poisson", "objective": "wake_sleep"}),
    "negative_binomial": (COUNTS, {"likelihood": "negative_binomial"}),
    "mixed": (mixed_table(), {"likelihood": "mixed"}),
}


def hooks(**functions):
    """Callbacks that call these functions: ``hooks(on_epoch=print)``."""
    unknown = [name for name in functions if not hasattr(Callbacks, name)]
    assert not unknown, unknown
    callbacks = Callbacks()
    vars(callbacks).update(functions)
    return callbacks


def trained(rows, config, mode, monkeypatch):
    """A run whose steps were executed in the given mode."""
    monkeypatch.setattr(decisions, "choose_mode", lambda *_, **__: (mode, "asked for"))
    found = []
    run = fit(rows, config, callbacks=hooks(on_step=lambda *_: None, on_start=found.append))
    assert found[0].mode == mode, found[0].reason
    return run
