"""The pictures that a run allows: which ones, and what stands in them."""

import math

import numpy as np
import pytest
import torch

import aevb
from aevb.config import Config
from aevb.datasets import load
from aevb.datasets.schema import Data
from aevb.runs import pictures


def short_run(data, **settings):
    return aevb.fit(
        data, Config(**{"hidden": (8,), "latent_dim": 2, "epochs": 2, "batch_size": 64, **settings})
    )


@pytest.mark.parametrize(
    ("data", "settings", "names"),
    [
        (
            lambda: load("digits"),
            {},
            {"curves", "samples", "reconstructions", "interpolations", "manifold", "latent"},
        ),
        (
            lambda: load("digits"),
            {"latent_dim": 5},
            {"curves", "samples", "reconstructions", "interpolations", "latent"},
        ),
        (
            lambda: load("digits"),
            {"latent_dim": 1},
            {"curves", "samples", "reconstructions", "interpolations"},
        ),
        (lambda: load("gmm"), {}, {"curves", "samples", "manifold", "latent"}),
        (
            lambda: Data(np.random.default_rng(0).normal(size=(60, 4)), "table"),
            {},
            {"curves", "samples", "latent"},
        ),
        (
            lambda: Data(np.random.default_rng(0).normal(size=(60, 1)), "column"),
            {"latent_dim": 1},
            {"curves", "samples"},
        ),
        (
            lambda: Data(
                np.random.default_rng(0).integers(0, 256, (60, 6, 6, 3)).astype(np.uint8), "rgb"
            ),
            {},
            {"curves", "samples", "reconstructions", "interpolations", "manifold", "latent"},
        ),
        (
            lambda: Data(
                np.random.default_rng(0).normal(size=(60, 6, 7)), "fields", kind="pictures"
            ),
            {},
            {"curves", "samples", "reconstructions", "interpolations", "manifold", "latent"},
        ),
    ],
)
def test_draws_what_the_model_allows(data, settings, names, tmp_path):
    rows = data()
    run = short_run(rows, **settings)
    assert {path.stem for path in pictures.draw(run, tmp_path, rows)} == names
    without = {path.stem for path in pictures.draw(run, tmp_path / "without")}
    assert without <= {"curves", "samples", "manifold"}


@pytest.mark.parametrize("columns", [1, 2, 4])
def test_pictures_of_a_table_show_draws_and_say_so(columns):
    data = Data(np.random.default_rng(0).normal(size=(60, columns)), "table")
    run = short_run(data)
    figure = dict(pictures.figures(run, data))["samples"]
    assert figure.get_suptitle() == "generated: drawn from p(x|z), z ~ p(z)"
    means = pictures.table_figure(run, data, 30, noise=False)
    assert means.get_suptitle() == "generated: means of p(x|z), z ~ p(z)"
    if columns == 2:
        assert np.allclose(figure.axes[1].collections[0].get_offsets(), run.sample(60, noise=True))


def test_probability_grid_is_the_inverse_of_the_gaussian_cdf():
    z = pictures._probability_grid(4)
    cdf = [0.5 * (1 + math.erf(value / math.sqrt(2))) for value in z]
    assert cdf == pytest.approx([0.125, 0.375, 0.625, 0.875])


def test_manifold_shows_z2_upwards_and_z1_to_the_right():
    """Against a decoder whose first pixel is z_1 and second z_2."""
    data = Data(np.random.default_rng(0).random((60, 1, 2)), "pairs", kind="pictures")
    run = short_run(data, likelihood="bernoulli")
    run.model.decoder = torch.nn.Linear(2, 2)
    with torch.no_grad():
        run.model.decoder.weight.copy_(torch.eye(2))
        run.model.decoder.bias.zero_()
    figure = dict(pictures.figures(run))["manifold"]
    sheet = np.asarray(figure.axes[0].images[0].get_array())
    first, second = sheet[::2, ::3], sheet[::2, 1::3]
    assert (np.diff(first, axis=1) > 0).all()
    assert (np.diff(second, axis=0) < 0).all()


def test_latent_scatter_takes_the_two_dimensions_that_vary_most():
    data = Data(np.random.default_rng(0).normal(size=(200, 3)), "table")
    run = short_run(data, latent_dim=4)
    with torch.no_grad():
        run.model.posterior.mu.weight[[0, 2]] *= 0.01
    axes = pictures.latent_figure(run, data).axes[0]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("$z_{2}$", "$z_{4}$")
    assert np.allclose(axes.collections[0].get_offsets(), run.encode(data)[0][:, [1, 3]])
