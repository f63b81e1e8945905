"""Figures: the right numbers in the right place, and a file that opens."""

import numpy as np
import pytest
from PIL import Image

from aevb import plots
from aevb.errors import CannotWriteError

RNG = np.random.default_rng(0)


def test_tile_puts_pictures_row_by_row():
    pictures = np.arange(5)[:, None, None] / 10 * np.ones((5, 2, 3))
    sheet = plots.tile(pictures, columns=3)
    assert sheet.shape == (5, 11)
    assert sheet[0, 0] == 0.0
    assert sheet[1, 4] == 0.1
    assert sheet[3, 4] == 0.4  # the fifth picture starts the second column of the second row
    assert sheet[2, 0] == sheet[4, 10] == 1.0  # gap, and the place of a sixth picture
    assert plots.tile(np.zeros((4, 2, 3, 3)), columns=2, gap=0).shape == (4, 6, 3)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((4, 5, 6), (4, 5, 6)),
        ((4, 5, 6, 1), (4, 5, 6)),
        ((4, 5, 6, 3), (4, 5, 6, 3)),
        ((4, 3, 5, 6), (4, 5, 6, 3)),
    ],
)
def test_as_pictures_knows_channels_first_and_last(shape, expected):
    rows = RNG.integers(0, 256, shape).astype(np.uint8)
    pictures = plots.as_pictures(rows, 0, 255)
    assert pictures.shape == expected
    assert (pictures.min(), pictures.max()) == (rows.min() / 255, rows.max() / 255)


def test_as_pictures_clips_and_survives_a_constant():
    assert plots.as_pictures(np.array([[[-5.0, 300.0]]]), 0, 255).tolist() == [[[0.0, 1.0]]]
    assert plots.as_pictures(np.full((1, 2, 2), 7.0), 7, 7).max() == 0.0


HISTORY = [
    {
        "epoch": e,
        "bound": -9.0 / e,
        "reconstruction": -8.0 / e,
        "kl": 1.0 / e,
        "validation_bound": -9.5 / e,
    }
    for e in range(1, 6)
]
PICTURES = RNG.random((30, 6, 5))


def evaluation_page(latent_dim, kl=True):
    rows = {"bound": RNG.normal(size=50), "log_likelihood": RNG.normal(size=50)}
    codes, prior = RNG.normal(size=(2, 50, latent_dim))
    real, generated = RNG.normal(size=(2, 50, latent_dim))
    return plots.evaluation(
        rows, RNG.random(latent_dim) if kl else None, codes, prior, real, generated, "title"
    )


FIGURES = {
    "curves": lambda: plots.curves(HISTORY),
    "curves of one epoch": lambda: plots.curves(HISTORY[:1]),
    "grid": lambda: plots.grid(PICTURES, 6, "title"),
    "colour grid": lambda: plots.grid(RNG.random((4, 6, 5, 3)), 2, "title"),
    "reconstructions": lambda: plots.reconstructions(PICTURES, PICTURES),
    "three reconstructions": lambda: plots.reconstructions(PICTURES[:3], PICTURES[:3]),
    "manifold": lambda: plots.manifold(RNG.random((16, 6, 5)), np.array([-1.0, -0.3, 0.3, 1.0])),
    "warped grid": lambda: plots.warped_grid(
        RNG.random((50, 2)), [RNG.random((10, 2))], ("a", "b")
    ),
    "scatter": lambda: plots.scatter(RNG.random((50, 2)), RNG.random((50, 2)), title="title"),
    "scatter matrix": lambda: plots.scatter_matrix(
        RNG.random((50, 3)), RNG.random((20, 3)), ("a", "b", "c")
    ),
    "one column": lambda: plots.scatter_matrix(RNG.random((50, 1)), RNG.random((20, 1)), ("a",)),
    "latent": lambda: plots.latent_scatter(RNG.normal(size=(50, 2)), None),
    "latent with labels": lambda: plots.latent_scatter(
        RNG.normal(size=(50, 2)), RNG.integers(0, 10, 50)
    ),
    "evaluation": lambda: evaluation_page(7),
    "evaluation in one dimension, without a closed KL": lambda: evaluation_page(1, kl=False),
}


@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_becomes_a_file(name, tmp_path):
    path = plots.save(FIGURES[name](), tmp_path / "folder" / "figure.png")
    with Image.open(path) as picture:
        assert min(picture.size) > 100
        assert len(picture.convert("L").getcolors()) > 3  # not blank


def test_curves_show_the_records():
    figure = plots.curves(HISTORY)
    training, validation = figure.axes[0].lines
    assert training.get_ydata().tolist() == [record["bound"] for record in HISTORY]
    assert validation.get_ydata().tolist() == [record["validation_bound"] for record in HISTORY]


def test_scatter_shows_the_points():
    real, made = RNG.random((50, 2)), RNG.random((40, 2))
    left, right = plots.scatter(real, made).axes
    assert np.allclose(left.collections[0].get_offsets(), real)
    assert np.allclose(right.collections[0].get_offsets(), made)


def test_reconstructions_stand_below_their_originals():
    originals, rebuilt = np.zeros((2, 3, 3)), np.full((2, 3, 3), 0.5)
    (axes,) = plots.reconstructions(originals, rebuilt).axes
    sheet = axes.images[0].get_array()
    assert float(sheet[0, 0]) == 0.0
    assert float(sheet[4, 0]) == 0.5


def test_a_folder_that_cannot_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotWriteError, match="could not be written"):
        plots.save(FIGURES["evaluation"](), tmp_path / "file" / "figure.png")
