"""Load data sets: a built-in one by its name, or your own file by its path.

``load("digits")``, ``load("mnist:test")`` and ``load("table.csv")`` all return ``Data``. The
command line accepts the same names and paths.

Where to find the code:

==================  ==============================================================================
``readers.py``      chooses the reader for a path by the ending of its name
``tables.py``       reads .csv, .tsv, .txt and .parquet
``arrays.py``       reads .npy, .npz and idx
``pictures.py``     reads a folder of pictures; ``picture_files.py`` reads one of them
``synthetic.py``    makes points in the plane: gmm, moons, circles, spiral
``images.py``       loads digits, mnist, mnist_binarized and frey; downloads what is missing
``schema.py``       defines ``Data`` (rows as they were found) and ``Schema`` (their form)
``checks.py``       refuses values that are not finite numbers, and names the first one
``planning.py``     chooses the likelihood and the ``Schema`` for a data set
``stored.py``       leaves a large file on disk and reads its rows when they are needed
``rows.py``         hands rows to a training step, from memory or from a file
``batches.py``      decides which rows each step sees, and seeds its random numbers
``draws.py``        draws random numbers that depend only on seed, row and column
``damage.py``       lists the errors that a damaged file causes, and explains them
==================  ==============================================================================

To add a data set by name, write one line in ``DATASETS``. To add a file format, write one line in
``readers.READERS``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from aevb.errors import NotFoundError, UsageError
from aevb.registry import Registry

if TYPE_CHECKING:
    from aevb.datasets.schema import Data, Schema

DATASETS = Registry(
    "data set",
    {
        "gmm": "aevb.datasets.synthetic:load_gmm",
        "moons": "aevb.datasets.synthetic:load_moons",
        "circles": "aevb.datasets.synthetic:load_circles",
        "spiral": "aevb.datasets.synthetic:load_spiral",
        "digits": "aevb.datasets.images:load_digits",
        "mnist": "aevb.datasets.images:load_mnist",
        "mnist_binarized": "aevb.datasets.images:load_mnist_binarized",
        "frey": "aevb.datasets.images:load_frey",
    },
)

_EXPORTS = {
    "make_gmm": "synthetic",
    "nearest_center_dist": "synthetic",
    "CENTERS": "synthetic",
    "Data": "schema",
    "Schema": "schema",
}


def load(source: str | Path, **options: Any) -> Data:
    """Load a data set by its name or from a path.

    Args:
        source: A name (``digits``), a name with a split (``mnist:test``), or the path of a file or
            a folder of pictures.
        options: ``resize=(height, width)`` and ``grey=True``, only for a folder of pictures. See
            ``aevb.datasets.readers.read``.

    Returns:
        The rows and the facts that are known about them.

    Raises:
        UsageError: The split is unknown, or the options do not apply.
        NotFoundError: There is no data set, file or folder of that name.
        DataError: The file cannot be used.

    Example:
        >>> from aevb.datasets import load
        >>> digits = load("digits")
        >>> len(digits), digits.shape, digits.range
        (1797, (8, 8), (0.0, 16.0))
        >>> load("gmm:test").columns
        ('x', 'y')
        >>> import numpy as np
        >>> np.save("my_rows.npy", np.arange(12).reshape(4, 3))
        >>> load("my_rows.npy").rows[0]
        array([0, 1, 2])
    """
    text = str(source)
    name, _, split = text.partition(":")
    if name in DATASETS:
        if options:
            raise UsageError(
                f"{' and '.join(options)} are for a folder of pictures; {name} is a built-in data"
                " set"
            )
        data: Data = DATASETS[name](split or None)
        return data
    from aevb.datasets import readers

    if readers.exists(text):
        return readers.read(text, **options)
    if any(mark in text for mark in "/\\.~"):
        raise NotFoundError(f"there is no file or folder {text!r}. Check the path.")
    try:
        known = DATASETS.check(name)
    except UsageError as error:
        raise NotFoundError(f"{error} Nor is there a file or folder of that name.") from None
    raise AssertionError(known)  # pragma: no cover


def load_like(source: str | Path, schema: Schema) -> Data:
    """Load more rows in the form that ``schema`` describes.

    The pictures of a folder are brought to the size and the colours of the schema. Other sources
    are loaded as ``load`` does.

    Example:
        >>> from aevb.datasets import load, load_like
        >>> from aevb.datasets.planning import plan
        >>> from PIL import Image
        >>> from pathlib import Path
        >>> Path("new").mkdir()
        >>> Image.new("RGB", (30, 30), "red").save("new/one.png")
        >>> schema = plan(load("digits")).schema
        >>> load("new").shape, load_like("new", schema).shape
        ((30, 30, 3), (8, 8))
    """
    if not Path(source).expanduser().is_dir() or not schema.is_picture:
        return load(source)
    from aevb.datasets.pictures import read_pictures

    return read_pictures(
        Path(source).expanduser(),
        resize=schema.resize or (schema.shape[0], schema.shape[1]),
        grey=len(schema.shape) == 2,
        form=(schema.dtype, schema.white),
    )


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        from importlib import import_module

        return getattr(import_module(f"aevb.datasets.{_EXPORTS[name]}"), name)
    raise AttributeError(f"module 'aevb.datasets' has no attribute {name!r}")
