"""Data sets by name: what they hold, where they are found, how they are downloaded and checked."""

import gzip
import hashlib
import http.client
import io
import os
import re
import urllib.error
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import idx, into, refuses
from oracle import is_mean
from scipy.io import savemat

from aevb.datasets import DATASETS, images, load
from aevb.datasets.synthetic import make_gmm, nearest_center_dist
from aevb.errors import DataError, NotFoundError, UsageError


def test_every_data_set_has_its_splits_and_no_others():
    assert all(callable(DATASETS[name]) for name in DATASETS)
    for name in (
        "gmm:valid",
        "moons:a",
        "circles:a",
        "spiral:a",
        "digits:test",
        "mnist:valid",
        "mnist_binarized:a",
        "frey:train",
    ):
        with pytest.raises(
            UsageError,
            match=f"{name.split(':')[0]} has (no splits|the splits train, .*test); got {name}",
        ):
            load(name)


@pytest.mark.parametrize("name", ["gmm", "moons", "circles", "spiral"])
def test_data_in_the_plane(name):
    train, again, test = load(name), load(f"{name}:train"), load(f"{name}:test")
    assert train.rows.shape == test.rows.shape == (2000, 2)
    assert train.columns == ("x", "y")
    assert len(set(train.labels)) == {"moons": 2, "circles": 2}.get(name, 3)
    assert np.array_equal(train.rows, again.rows)
    assert set(map(tuple, test.rows)).isdisjoint(map(tuple, train.rows))


def test_digits_are_those_of_scikit_learn():
    digits = load("digits")
    assert (digits.rows.shape, digits.range, digits.values, digits.white) == (
        (1797, 8, 8),
        (0, 16),
        "grey",
        16,
    )
    assert digits.labels[:10].tolist() == list(range(10))


CENTERS = torch.tensor([[2.0, 0.0], [-2.0, 0.0], [0.0, 2.0]])


def test_the_tutorials_mixture_is_the_same_for_the_same_seed():
    g = torch.Generator().manual_seed(7)
    centers = CENTERS[torch.randint(0, 3, (50,), generator=g)]
    expected = centers + 0.3 * torch.randn(50, 2, generator=g)
    assert torch.equal(make_gmm(50, noise=0.3, seed=7), expected)
    assert not torch.equal(make_gmm(50, noise=0.3, seed=8), expected)
    assert np.array_equal(load("gmm").rows, make_gmm(2000).numpy())
    assert not np.array_equal(load("gmm:test").rows, load("gmm").rows)


def test_the_tutorials_mixture_has_three_equally_likely_centres_and_its_noise():
    points = make_gmm(30_000, noise=0.2, seed=1).double()
    distance = ((points[:, None] - CENTERS) ** 2).sum(2).sqrt()
    nearest = distance.argmin(1)
    # Chi-square with 2 degrees of freedom exceeds 27.6 once in a million draws; five standard
    # errors, once in 1.7 million.
    assert float(((nearest.bincount(minlength=3) - 10_000) ** 2 / 10_000).sum()) < 27.6
    noise = (points - CENTERS[nearest]) / 0.2
    for values, expected in [
        (noise[:, 0], 0),
        (noise[:, 1], 0),
        ((noise**2).ravel(), 1),
        (noise.prod(1), 0),
        (noise[:, 0] ** 4, 3),
    ]:
        assert is_mean(values, expected)
    for dtype in (torch.float32, torch.float64):
        assert torch.allclose(
            nearest_center_dist(points.to(dtype)), distance.min(1).values.to(dtype), atol=1e-3
        )


def test_labels_of_the_mixture_are_the_nearest_centres():
    data = load("gmm")
    assert np.array_equal(
        ((data.rows[:, None] - CENTERS.numpy()) ** 2).sum(2).argmin(1), data.labels
    )


G = np.random.default_rng(0)
GREY, FACES = (
    G.integers(0, 256, (5, 28, 28), dtype=np.uint8),
    G.integers(0, 256, (4, 28, 20), dtype=np.uint8),
)
BITS = (GREY > 127).astype(np.uint8).reshape(5, 784)
AMAT = " \r\n".join(
    " ".join(map(str, row)) for row in BITS
).encode()  # Larochelle's text: one picture a line
ORIGINALS = {  # small stand-ins for the original files
    "mnist": {
        "train-images-idx3-ubyte.gz": gzip.compress(idx(8, GREY.shape, GREY.tobytes())),
        "train-labels-idx1-ubyte.gz": gzip.compress(idx(8, (5,), bytes(range(5)))),
    },
    "mnist_binarized:valid": {"binarized_mnist_valid.amat": AMAT},
    "frey": {
        "frey_rawface.mat": into(savemat, {"ff": FACES.reshape(4, 560).T})
    },  # one frame a column
}
ROWS = {"mnist": GREY, "mnist_binarized:valid": BITS.reshape(5, 28, 28), "frey": FACES}


@pytest.fixture
def web(monkeypatch, tmp_path):
    """Serve these files, or answer with these errors. The cache is empty."""
    pages = {name: content for files in ORIGINALS.values() for name, content in files.items()}

    def urlopen(url, timeout):
        content = pages.get(Path(url).name, urllib.error.URLError("no route to host"))
        if isinstance(content, Exception):
            raise content
        return io.BytesIO(content)

    monkeypatch.setattr(urllib.request, "urlopen", urlopen)
    monkeypatch.delenv("AEVB_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name, content in ORIGINALS["mnist"].items():
        monkeypatch.setitem(images.MNIST_SHA256, name, hashlib.sha256(content).hexdigest())
    monkeypatch.setitem(
        images.BINARIZED_SHA256,
        "valid",
        hashlib.sha256(np.packbits(BITS, axis=1).tobytes()).hexdigest(),
    )
    monkeypatch.setattr(images, "FREY_SHA256", hashlib.sha256(FACES.tobytes()).hexdigest())
    return pages


def cached():
    return [path for path in images.cache_folder().rglob("*") if path.is_file()]


@pytest.mark.parametrize("name", ORIGINALS)
def test_a_download_is_decoded_and_kept(web, name):
    assert np.array_equal(load(name).rows, ROWS[name])
    web.clear()
    again = load(name)
    assert np.array_equal(again.rows, ROWS[name])
    assert name != "mnist" or again.labels.tolist() == [0, 1, 2, 3, 4]


FAILURES = [
    urllib.error.URLError("no route"),
    TimeoutError("late"),
    ConnectionResetError(),
    http.client.IncompleteRead(b"", 9),
]


@pytest.mark.parametrize("name", ORIGINALS)
@pytest.mark.parametrize("error", FAILURES, ids=lambda error: type(error).__name__)
def test_without_the_network_the_message_says_what_to_do_and_doing_it_works(web, name, error):
    web.update(dict.fromkeys(web, error))
    for page, content in ORIGINALS[name].items():
        message = refuses(
            NotFoundError, [f"/{page}.", "AEVB_DATA", "could not be downloaded"], load, name
        )
        assert cached() == [] or page == list(ORIGINALS[name])[-1]
        place = Path(re.search(r"put it at (\S+);", message)[1])
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(content)
    assert np.array_equal(load(name).rows, ROWS[name])


@pytest.mark.parametrize("name", ORIGINALS)
def test_originals_are_found_in_the_folder_of_the_environment(web, monkeypatch, tmp_path, name):
    web.clear()
    monkeypatch.setenv("AEVB_DATA", str(tmp_path))
    for page, content in ORIGINALS[name].items():
        (tmp_path / page).write_bytes(content)
    assert np.array_equal(load(name).rows, ROWS[name])


def another(content):
    """A whole file of other values."""
    if content[:2] == b"\x1f\x8b":
        return gzip.compress(another(gzip.decompress(content)))
    return content[:-1] + bytes([content[-1] ^ 1])


DAMAGE = {
    "cut": lambda content: content[:-9],
    "another": another,
    "page": lambda _: b"<html>Please log in</html>",
}


@pytest.mark.parametrize("name", ORIGINALS)
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_download_is_refused_and_not_kept(web, name, damage):
    whole = dict(web)
    web.update({page: DAMAGE[damage](content) for page, content in web.items()})
    assert refuses(DataError, [next(iter(ORIGINALS[name]))], load, name)
    assert cached() == []
    web.update(whole)
    assert np.array_equal(load(name).rows, ROWS[name])


@pytest.mark.parametrize("name", ORIGINALS)
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_file_that_was_damaged_since_is_refused_by_name(web, name, damage):
    load(name)
    for path in cached():
        whole = path.read_bytes()
        path.write_bytes(DAMAGE[damage](whole))
        assert refuses(DataError, [str(path)], load, name)
        path.write_bytes(whole)


def test_the_packed_file_of_binarized_mnist_is_used_and_checked(web, monkeypatch, tmp_path):
    web.clear()
    monkeypatch.setenv("AEVB_DATA", str(tmp_path))
    path = tmp_path / "binarized_mnist_packed.npz"
    np.savez(path, valid=np.packbits(BITS, axis=1))
    assert np.array_equal(load("mnist_binarized:valid").rows, ROWS["mnist_binarized:valid"])
    for damaged in (
        path.read_bytes()[:-30],
        into(np.savez, valid=np.packbits(1 - BITS, axis=1)),
        into(np.savez, a=BITS),
    ):
        path.write_bytes(damaged)
        assert refuses(DataError, ["binarized"], load, "mnist_binarized:valid")


@pytest.mark.parametrize("name", ORIGINALS)
def test_an_interrupted_download_leaves_nothing_that_looks_finished(web, monkeypatch, name):
    def interrupted(path, content):
        with path.open("wb") as file:
            file.write(content[: len(content) // 2])
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", interrupted)
        with pytest.raises(KeyboardInterrupt):
            load(name)
    assert np.array_equal(load(name).rows, ROWS[name])


# the file it needs, shape, mean grey level in [0, 1] (MNIST's 0.1307 is folklore), first labels
REAL = {
    "mnist": ("mnist/train-images-idx3-ubyte.gz", (60_000, 28, 28), 0.1307, [5, 0, 4, 1, 9]),
    "mnist:test": ("mnist/t10k-images-idx3-ubyte.gz", (10_000, 28, 28), 0.1325, [7, 2, 1, 0, 4]),
    "mnist_binarized": ("binarized_mnist_packed.npz", (50_000, 28, 28), 0.1307, None),
    "mnist_binarized:valid": ("binarized_mnist_packed.npz", (10_000, 28, 28), 0.1307, None),
    "mnist_binarized:test": ("binarized_mnist_packed.npz", (10_000, 28, 28), 0.1325, None),
    "frey": ("frey_faces.npy", (1965, 28, 20), 0.606, None),
}


@pytest.mark.parametrize("name", REAL)
def test_the_published_data(name):
    file, shape, mean, labels = REAL[name]
    if not (Path(os.environ.get("AEVB_DATA", "/nowhere")) / file).is_file():
        pytest.skip(f"{file} is not in the folder AEVB_DATA")
    data = load(name)
    assert data.rows.shape == shape
    assert data.values == ("binary" if "binarized" in name else "grey")
    assert data.rows.mean() / (data.white or 1) == pytest.approx(mean, abs=2e-3)
    assert labels is None or data.labels[:5].tolist() == labels
