"""Configuration: defaults, refusals, and the way to objects and to TOML."""

import subprocess
import sys
import tomllib

import pytest

from aevb.config import Config
from aevb.errors import UsageError
from aevb.parts.likelihoods.bernoulli import Bernoulli
from aevb.parts.networks.log_counts import LogCounts
from aevb.runs.build import build


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"likelihood": "bernouli"}, "Did you mean 'bernoulli'"),
        ({"posterior": "flows"}, "Did you mean 'flow'"),
        ({"prior": "vampire"}, "unknown prior"),
        ({"components": 0}, "components must be at least 1; got 0"),
        ({"decoder_hidden": (0,)}, "decoder_hidden needs widths"),
        ({"optimizer": "adagard"}, "Did you mean 'adagrad'"),
        ({"activation": "swish"}, "unknown activation"),
        ({"binarize": "always"}, "unknown binarize"),
        ({"device": "tpu"}, "unknown device"),
        ({"latent_dim": 0}, "latent_dim must be at least 1; got 0"),
        ({"epochs": 0}, "epochs"),
        ({"batch_size": -3}, "batch_size"),
        ({"threads": 0}, "threads"),
        ({"hidden": ()}, "hidden needs widths"),
        ({"hidden": (5, 0)}, "got 5,0"),
        ({"beta": -0.1}, "beta"),
        ({"free_bits": float("nan")}, "free_bits"),
        ({"learning_rate": 0.0}, "learning_rate must be positive"),
        ({"learning_rate": float("inf")}, "learning_rate"),
        ({"decay": 1.5}, "decay must be a share of the steps, from 0 to 1; got 1.5"),
        ({"decay": -0.1}, "decay"),
        ({"decay": float("nan")}, "decay"),
        ({"validation": "1.0"}, r"fraction in \[0, 1\)"),
        ({"validation": "nan"}, "fraction"),
        ({"resize": "32*32"}, "32x32"),
        ({"start": ""}, "start must be the folder of a run; got an empty name"),
        ({"resize": "0x5"}, "HEIGHT|height"),
        ({"patience": 3, "validation": "0"}, "patience watches"),
    ],
)
def test_settings_that_cannot_be_used_are_refused(settings, says):
    with pytest.raises(UsageError, match=says):
        Config(**settings)


@pytest.mark.parametrize(("text", "size"), [("32x48", (32, 48)), ("28", (28, 28)), ("8X9", (8, 9))])
def test_picture_size(text, size):
    assert Config(resize=text).picture_size() == size


def test_validation_is_a_fraction_or_a_name():
    assert Config(validation="0.25").validation_fraction() == 0.25
    assert Config(validation="0").validation_fraction() == 0
    assert Config(validation="mnist:test").validation_fraction() is None


def test_toml_round_trip():
    config = Config(
        hidden=(7, 5), likelihood="gaussian", resize="8x8", learning_rate=3e-4, threads=2
    )
    values = tomllib.loads(config.to_toml('a "quoted" \\ name é'))
    assert values.pop("data") == 'a "quoted" \\ name é'
    assert Config(**values) == config


def test_build_makes_what_the_names_say():
    config = Config(
        hidden=(7, 5),
        latent_dim=3,
        activation="tanh",
        beta=2.0,
        warmup_epochs=1.5,
        free_bits=0.1,
        samples=4,
    )
    model, objective = build(config, "bernoulli", (6,), steps_per_epoch=10)
    assert [tuple(p.shape) for p in model.parameters() if p.ndim == 2] == [
        (7, 6),
        (5, 7),
        (3, 5),
        (3, 5),
        (5, 3),
        (7, 5),
        (6, 7),
    ]
    assert isinstance(model.likelihood, Bernoulli)
    assert (objective.beta, objective.warmup_steps, objective.free_bits, objective.samples) == (
        2.0,
        15,
        0.1,
        4,
    )


def test_reading_the_names_does_not_import_torch():
    code = "import sys, aevb, aevb.config, aevb.commands.cli; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"components": 5}, "prior standard_normal takes no components"),
        ({"prior": "flow", "components": 5}, "prior flow takes no components"),
        ({"objective": "iwae", "samples": 5, "beta": 2.0}, "objective iwae takes no beta"),
        (
            {"objective": "dreg", "samples": 5, "warmup_epochs": 2.0},
            "objective dreg takes no warmup_epochs",
        ),
        (
            {"objective": "iwae", "samples": 5, "free_bits": 0.5},
            "objective iwae takes no free_bits",
        ),
        ({"objective": "stl", "free_bits": 0.5}, "objective stl takes no free_bits"),
        ({"objective": "iwae"}, "at least 2 samples of z a row; got 1"),
        ({"objective": "dreg"}, "at least 2 samples of z a row; got 1"),
        ({"network": "conv"}, "network conv needs pictures"),
    ],
)
def test_settings_that_would_be_ignored_or_make_no_sense_are_refused(settings, says):
    with pytest.raises(UsageError, match=says):
        build(Config(**settings), "gaussian", (6,), 10)


@pytest.mark.parametrize("objective", ["iwae", "dreg"])
def test_a_variance_that_is_best_for_the_elbo_is_refused_elsewhere(objective):
    with pytest.raises(
        UsageError, match="gaussian_optimal sets the variance that is best for the elbo"
    ):
        build(Config(objective=objective, samples=5), "gaussian_optimal", (6,), 10)


def test_widths_are_those_of_the_network_unless_given():
    assert Config().hidden is None  # until the rows are known
    assert Config(network="mlp").hidden == (500, 500)
    assert Config(network="conv").hidden == (32, 64)
    model, _ = build(Config(hidden=(7, 5), decoder_hidden=(4,), skip=True), "bernoulli", (6,), 10)
    assert [tuple(p.shape) for p in model.decoder.parameters()] == [(4, 20), (4,), (6, 24), (6,)]


def test_categories_are_seen_as_indicators():
    model, _ = build(Config(hidden=(7,)), "categorical", (6,), 10, levels=3)
    assert model.encoder[1][0].weight.shape == (7, 18)
    ordered, _ = build(Config(hidden=(7,)), "discretized_logistic", (6,), 10, levels=3)
    assert ordered.encoder[0].weight.shape == (7, 6)


@pytest.mark.parametrize(("network", "hidden"), [("mlp", (7,)), ("conv", (4, 8))])
def test_every_network_sees_the_logarithms_of_counts(network, hidden):
    model, _ = build(Config(network=network, hidden=hidden), "poisson", (6, 5), 10)
    assert isinstance(model.encoder[0], LogCounts)
    assert model.encoder[0].centre.shape == (30,)
