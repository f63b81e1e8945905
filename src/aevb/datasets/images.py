"""Load picture data sets by name: digits, mnist, mnist_binarized, frey.

A file is looked for in the folder that AEVB_DATA names, then in the cache. If it is in neither, it
is downloaded. Every file is checked against its SHA-256.
"""

from __future__ import annotations

import hashlib
import io
import os
import urllib.request
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aevb.datasets.arrays import idx_array, read_npy, read_npz
from aevb.datasets.checks import only_split
from aevb.datasets.schema import Data
from aevb.errors import DataError, NotFoundError
from aevb.files import whole

MNIST_URL = "https://ossci-datasets.s3.amazonaws.com/mnist/"
MNIST_SHA256 = {
    "train-images-idx3-ubyte.gz": (
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"
    ),
    "train-labels-idx1-ubyte.gz": (
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"
    ),
    "t10k-images-idx3-ubyte.gz": "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
    "t10k-labels-idx1-ubyte.gz": "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
}
"""SHA-256 of the original files."""

BINARIZED_URL = (
    "https://www.cs.toronto.edu/~larocheh/public/datasets/binarized_mnist/"
    "binarized_mnist_{split}.amat"
)
BINARIZED_SHA256 = {
    "train": "727146c35424b019f3e350e1e69faa05644a0abaf787e3f4e1a9632220a13906",
    "valid": "a256ac44ae26be720fad8616a05ed6ecfd1619930d9a208379bb2a4405df5b6d",
    "test": "9fcd8da6f0fdf09b2ba30fe63a0bb784042a0de82563172530229b983e294ff2",
}
"""SHA-256 of the bits of each split, packed eight to a byte, for any format of the file."""

FREY_URL = "https://cs.nyu.edu/~roweis/data/frey_rawface.mat"
FREY_SHA256 = "2438ba4f0d2a6bd8bac43de756141eaa33c8d248dd613d464bdb1210d9b7af78"
"""SHA-256 of the 1965 x 28 x 20 bytes."""


def cache_folder() -> Path:
    """Return the folder for downloads: $XDG_CACHE_HOME/aevb, by default ~/.cache/aevb.

    Example:
        >>> from aevb.datasets.images import cache_folder
        >>> cache_folder().name
        'aevb'
    """
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "aevb"


def find(name: str) -> Path | None:
    """Find the file ``name`` in AEVB_DATA or in the cache. None if it is in neither.

    Example:
        >>> from aevb.datasets.images import find
        >>> print(find("no such file"))
        None
    """
    folders = [Path(os.environ["AEVB_DATA"])] if os.environ.get("AEVB_DATA") else []
    return next(
        (folder / name for folder in [*folders, cache_folder()] if (folder / name).is_file()), None
    )


def load_digits(split: str | None = None) -> Data:
    """Load the 1797 handwritten digits that come with scikit-learn (Alpaydin & Kaynak).

    They have 8 x 8 pixels and grey levels from 0 to 16. There are no splits.

    Example:
        >>> from aevb.datasets.images import load_digits
        >>> digits = load_digits()
        >>> digits.rows.shape, digits.white, digits.labels[:3]
        ((1797, 8, 8), 16.0, array([0, 1, 2]))
    """
    import sklearn.datasets

    only_split("digits", split, ())
    digits = sklearn.datasets.load_digits()
    return Data(
        digits.images.astype(np.float32),
        source="digits",
        labels=digits.target,
        white=16.0,
        kind="pictures",
    )


def load_mnist(split: str | None = None) -> Data:
    """Load MNIST (LeCun, Cortes & Burges): 60,000 training and 10,000 test pictures.

    They have 28 x 28 pixels and grey levels from 0 to 255. split: "train" (the default) or "test".

    Example:
        >>> from aevb.datasets.images import load_mnist
        >>> load_mnist("test").rows.shape  # doctest: +SKIP
        (10000, 28, 28)
    """
    only_split("mnist", split, ("train", "test"))
    prefix = "t10k" if split == "test" else "train"
    images, labels = (
        _mnist_file(f"{prefix}-{part}-ubyte.gz") for part in ("images-idx3", "labels-idx1")
    )
    return Data(
        images,
        source=f"mnist:{split or 'train'}",
        labels=labels,
        white=255.0,
        test_split="mnist:test",
        kind="pictures",
    )


def load_mnist_binarized(split: str | None = None) -> Data:
    """Load MNIST with a fixed binarisation (Larochelle & Murray 2011).

    split: "train" (50,000 pictures, the default), "valid" (10,000) or "test" (10,000).

    Example:
        >>> from aevb.datasets.images import load_mnist_binarized
        >>> data = load_mnist_binarized("valid")  # doctest: +SKIP
        >>> data.rows.shape, data.values  # doctest: +SKIP
        ((10000, 28, 28), 'binary')
    """
    only_split("mnist_binarized", split, ("train", "valid", "test"))
    split = split or "train"
    found, sha256 = find("binarized_mnist_packed.npz"), BINARIZED_SHA256[split]
    if found:
        packed = _verified(lambda: np.asarray(read_npz(found, split).rows), sha256, found)
    else:
        url = BINARIZED_URL.format(split=split)
        packed = _cached(f"binarized_mnist_{split}.npy", url, _packed, sha256)
    bits = np.unpackbits(packed, axis=1).reshape(-1, 28, 28)
    return Data(
        bits,
        source=f"mnist_binarized:{split}",
        test_split="mnist_binarized:test",
        kind="pictures",
    )


def load_frey(split: str | None = None) -> Data:
    """Load Frey Face (B. Frey, S. Roweis): 1965 frames of one face.

    They have 28 x 20 pixels and grey levels from 0 to 255. There are no splits.

    Example:
        >>> from aevb.datasets.images import load_frey
        >>> load_frey().rows.shape  # doctest: +SKIP
        (1965, 28, 20)
    """
    only_split("frey", split, ())
    faces = _cached("frey_faces.npy", FREY_URL, _frey_frames, FREY_SHA256)
    return Data(faces, source="frey", white=255.0, kind="pictures")


def _mnist_file(name: str) -> NDArray[Any]:
    path = find(f"mnist/{name}") or find(name)
    if path is None:
        path = cache_folder() / "mnist" / name
        _keep(path, _download(MNIST_URL + name, path, MNIST_SHA256[name]))
    elif hashlib.sha256(path.read_bytes()).hexdigest() != MNIST_SHA256[name]:
        raise DataError(
            f"{path} is not the original MNIST file: its SHA-256 differs. Remove it to have it"
            " downloaded anew."
        )
    return idx_array(path)


def _amat(raw: bytes) -> NDArray[Any]:
    """Decode text with 784 zeros and ones on each line: (N, 784)."""
    digits = raw.translate(None, delete=b" \r\n")
    return (np.frombuffer(digits, np.uint8) - ord("0")).reshape(-1, 784)


def _packed(raw: bytes) -> NDArray[Any]:
    return np.packbits(_amat(raw), axis=1)


def _frey_frames(raw: bytes) -> NDArray[Any]:
    """Decode the MATLAB file, which has one frame in each column: (1965, 28, 20)."""
    from scipy.io import loadmat

    return np.ascontiguousarray(loadmat(io.BytesIO(raw))["ff"].T).reshape(-1, 28, 20)


def _cached(
    name: str, url: str, decode: Callable[[bytes], NDArray[Any]], sha256: str
) -> NDArray[Any]:
    """Return an array from AEVB_DATA or the cache, or decode it from the original and cache it.

    Args:
        name: The name of the .npy file with the decoded array.
        url: Where the original file comes from. It may be in AEVB_DATA or the cache, too.
        decode: Turns the bytes of the original into the array.
        sha256: The SHA-256 of the bytes of the array.

    Raises:
        NotFoundError: The original could not be downloaded.
        DataError: The array is not the expected one.
    """
    found = find(name)
    if found:
        return _verified(lambda: np.asarray(read_npy(found).rows), sha256, found)
    original = find(Path(url).name)
    raw = original.read_bytes() if original else _download(url, cache_folder() / Path(url).name)
    array = _verified(lambda: decode(raw), sha256, original or url)
    buffer = io.BytesIO()
    np.save(buffer, array)
    _keep(cache_folder() / name, buffer.getvalue())
    return array


def _download(url: str, path: Path, sha256: str | None = None) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=30) as reply:
            content: bytes = reply.read()
    except (OSError, HTTPException) as error:
        raise NotFoundError(
            f"{path.name} is not on this machine and could not be downloaded ({error}). Set"
            f" AEVB_DATA to the folder that has it, or put it at {path}; it comes from {url}."
        ) from error
    if sha256 and hashlib.sha256(content).hexdigest() != sha256:
        raise DataError(
            f"the download of {url} is damaged or has changed: its SHA-256 differs. Try again"
            " later."
        )
    return content


def _verified(load: Callable[[], NDArray[Any]], sha256: str, where: Path | str) -> NDArray[Any]:
    """Return the array that ``load`` returns. Raises DataError unless its bytes are as expected."""
    try:
        array = load()
        reason = "its SHA-256 differs"
        if hashlib.sha256(np.ascontiguousarray(array).tobytes()).hexdigest() == sha256:
            return array
    # A decoder may raise anything on other bytes, for example on a log-in page.
    except Exception as error:
        reason = " ".join(str(error).split())
    raise DataError(f"{where} is damaged or has changed ({reason}). Remove it, or try again later.")


def _keep(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    whole(path, lambda part: part.write_bytes(content))
