"""A trained run: data in, data out, nothing random where nothing should be."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

import aevb
from aevb.config import Config
from aevb.datasets.schema import Data
from aevb.errors import DataError, NotFoundError, UsageError

SMALL = Config(hidden=(8,), latent_dim=2, epochs=2, batch_size=32)


@pytest.fixture(scope="module")
def table():
    """Three columns on very different scales."""
    z = np.random.default_rng(0).normal(size=(300, 1))
    noise = np.random.default_rng(1).normal(size=(300, 3))
    return Data(
        (z + 0.1 * noise) * [1.0, 100.0, 1e-3] + [0.0, 5000.0, 2.0],
        "table",
        columns=("a", "b", "c"),
    )


@pytest.fixture(scope="module")
def run(table):
    return aevb.fit(
        table, Config(hidden=(32,), latent_dim=2, epochs=150, batch_size=32, learning_rate=3e-3)
    )


def test_everything_is_in_the_datas_units(run, table):
    made, rebuilt = run.sample(2000, noise=True), run.reconstruct(table)
    assert made.shape == (2000, 3)
    assert rebuilt.shape == table.rows.shape
    mean, std = table.rows.mean(0), table.rows.std(0)
    assert np.abs((made.mean(0) - mean) / std).max() < 0.2
    assert np.corrcoef(rebuilt[:, 1], table.rows[:, 1])[0, 1] > 0.9


def test_encode_is_deterministic_and_decode_inverts_it(run, table):
    mu, logvar = run.encode(table)
    assert mu.shape == logvar.shape == (300, 2)
    assert np.array_equal(mu, run.encode(table)[0])
    assert np.allclose(run.decode(mu), run.reconstruct(table), rtol=1e-5)


def test_samples_follow_the_seed(run):
    state = torch.get_rng_state()
    assert np.array_equal(run.sample(10), run.sample(10))
    assert not np.array_equal(run.sample(10), run.sample(10, seed=1))
    assert torch.equal(torch.get_rng_state(), state)


def test_chunks_do_not_change_results(run, table, monkeypatch):
    whole = run.encode(table)[0], run.reconstruct(table)
    monkeypatch.setattr("aevb.runs.run.CHUNK", 7)
    assert np.allclose(run.encode(table)[0], whole[0], atol=1e-5)
    assert np.allclose(run.reconstruct(table), whole[1], rtol=1e-5)
    assert run.sample(20).shape == (20, 3)


def test_plain_arrays_are_taken_as_rows(run, table):
    assert aevb.fit(table.rows.astype(np.float32), SMALL).sample(5).shape == (5, 3)
    assert np.array_equal(run.encode(table.rows)[0], run.encode(table)[0])
    with pytest.raises(
        DataError, match=r"rows of shape \(3,\); the array has rows of shape \(2,\)"
    ):
        run.encode(table.rows[:, :2])


def test_other_columns_are_refused(run, table):
    with pytest.raises(DataError, match=r"columns a, b, c, in this order; other has c, b, a"):
        run.evaluate(Data(table.rows, "other", columns=("c", "b", "a")))


def test_pictures_come_back_as_8_bit_grey_levels():
    pictures = Data(
        np.random.default_rng(0).integers(0, 256, (60, 5, 4)).astype(np.uint8), "pictures"
    )
    for likelihood in ("bernoulli", "gaussian"):
        run = aevb.fit(pictures, Config(hidden=(8,), latent_dim=2, epochs=1, likelihood=likelihood))
        made = run.sample(7)
        assert (made.shape, made.dtype) == ((7, 5, 4), np.uint8)
        assert made.std() > 0


def test_grey_levels_on_another_scale_are_refused():
    pictures = Data(
        np.random.default_rng(0).integers(0, 256, (60, 4, 4)).astype(np.uint8), "pictures"
    )
    run = aevb.fit(pictures, SMALL)
    with pytest.raises(DataError, match="grey levels from 0 to 255"):
        run.evaluate(Data(pictures.rows / 255.0, "others"))


def test_an_array_on_the_scale_of_the_training_is_taken_and_any_other_refused():
    from aevb.datasets import load

    pictures = np.random.default_rng(0).integers(0, 256, (60, 4, 4)).astype(np.uint8)
    run = aevb.fit(pictures, SMALL)
    for array in (
        pictures,
        pictures.astype(np.float32),
        pictures.astype(np.int64),
        pictures // 255,
        0.0 * pictures,
    ):
        run.encode(array)
    for array in (
        pictures / 255,
        pictures > 127,
        pictures * 2.0,
        pictures - 1.0,
        pictures.astype(np.uint16) * 3,
    ):
        with pytest.raises(DataError, match="grey levels from 0 to 255; the array has values in"):
            run.encode(array)
    digits = load("digits")  # white is 16, which their array does not say
    run = aevb.fit(digits, SMALL)
    assert np.array_equal(run.encode(digits.rows)[0], run.encode(digits)[0])
    assert np.array_equal(run.encode(digits.rows.astype(np.uint8))[0], run.encode(digits)[0])
    for array in (digits.rows / 16, (digits.rows * 15).astype(np.uint8)):
        with pytest.raises(DataError, match="grey levels from 0 to 16"):
            run.encode(array)
    run = aevb.fit(pictures / 255, SMALL)
    run.encode(pictures[:9] / 255)
    for likelihood in ("gaussian", "bernoulli"):
        with pytest.raises(DataError):
            aevb.fit(pictures / 255, replace(SMALL, likelihood=likelihood)).encode(pictures)


def test_a_data_frame_keeps_the_names_of_its_columns(table):
    frame = pd.DataFrame(table.rows, columns=table.columns)
    run = aevb.fit(frame, SMALL)
    assert run.schema.columns == table.columns
    assert np.array_equal(run.encode(frame)[0], run.encode(table.rows)[0])
    assert np.array_equal(run.encode(frame[["c", "a", "b"]])[0], run.encode(frame)[0])
    with pytest.raises(DataError, match="the table: column 'c' is missing"):
        run.encode(frame[["a", "b"]])


def test_what_cannot_be_sampled_or_decoded_is_said(run):
    for n in (0, -3):
        with pytest.raises(UsageError, match=f"number of samples must be at least 1; got {n}"):
            run.sample(n)
    for shape in ((5, 3), (2,), (1, 5, 2)):
        with pytest.raises(DataError, match=r"codes of shape \(N, 2\); got"):
            run.decode(np.zeros(shape))


@pytest.mark.parametrize("binarize", ["static", "dynamic"])
def test_random_binarisation_is_the_same_for_the_same_seed(binarize):
    pictures = Data(
        np.random.default_rng(0).integers(0, 256, (60, 4, 4)).astype(np.uint8), "pictures"
    )
    run = aevb.fit(
        pictures,
        Config(hidden=(8,), latent_dim=2, epochs=1, likelihood="bernoulli", binarize=binarize),
    )
    x = run.tensor(pictures, seed=1)
    assert set(x.unique().tolist()) == {0.0, 1.0}
    assert torch.equal(x, run.tensor(pictures, seed=1))
    assert not torch.equal(x, run.tensor(pictures, seed=2))


def test_save_and_load_through_the_front_door(run, table, tmp_path):
    aevb.save(run, tmp_path / "run")
    back = aevb.load(tmp_path / "run")
    assert np.array_equal(back.sample(5), run.sample(5))
    assert back.evaluate(table) == run.evaluate(table)


def test_a_run_is_shown_in_one_line(run):
    text = repr(run)
    assert text.startswith("<Run on ")
    assert (
        f"latent_dim 2; trained {run.trained} of {run.config.epochs} epochs, validation bound "
        in text
    )
    assert "\n" not in text
    assert len(text) < 200


def test_paths_and_names_do_wherever_rows_do(tmp_path):
    """As the command line takes them, to the same bits, and with its errors."""
    rows = np.random.default_rng(0).normal(size=(60, 3))
    path = tmp_path / "num.csv"
    np.savetxt(path, rows, delimiter=",", header="a,b,c", comments="", fmt="%.17g")
    config = Config(hidden=(8,), latent_dim=2, epochs=1)
    run, same = (aevb.fit(source, config) for source in (str(path), path))
    assert run.schema.columns == ("a", "b", "c")
    for got in (run.score(str(path), samples=10), run.score(path, samples=10)):
        assert np.array_equal(got["log_likelihood"], same.score(rows, samples=10)["log_likelihood"])
    assert np.array_equal(run.encode(path)[0], run.encode(rows)[0])
    assert torch.equal(run.tensor(str(path)), run.tensor(rows))
    moons = aevb.fit("moons", config)
    assert moons.evaluate("moons:test") == moons.evaluate(aevb.datasets.load("moons:test"))
    for call in (aevb.fit, run.score, run.encode, run.evaluate):
        with pytest.raises(NotFoundError, match="there is no file or folder"):
            call(str(tmp_path / "nowhere.csv"))
    with pytest.raises(DataError, match="this model takes rows of shape"):
        run.score("moons")


def test_a_folder_of_pictures_is_brought_to_the_size_trained_on(tmp_path):
    from PIL import Image

    for size, name in ((8, "a"), (12, "b")):
        (tmp_path / name).mkdir()
        for i in range(30):
            pixels = np.random.default_rng(i).integers(0, 256, (size, size)).astype(np.uint8)
            Image.fromarray(pixels).save(tmp_path / name / f"{i}.png")
    run = aevb.fit(tmp_path / "a", Config(hidden=(8,), latent_dim=2, epochs=1))
    assert run.encode(str(tmp_path / "b"))[0].shape == (30, 2)


@pytest.mark.parametrize("shape", [(3,), (4, 4)])
def test_samples_are_draws_of_a_table_and_means_of_pictures(shape):
    """As the command line has it; means alone would say that a table varies less than it does."""
    rows = np.random.default_rng(0).normal(size=(60, *shape))
    kind = "table" if len(shape) == 1 else "pictures"
    run = aevb.fit(rows, Config(hidden=(8,), latent_dim=2, epochs=1, kind=kind))
    assert np.array_equal(run.sample(50), run.sample(50, noise=len(shape) == 1))
    assert not np.array_equal(run.sample(50), run.sample(50, noise=len(shape) != 1))
