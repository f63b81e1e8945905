"""Data sets by name, and the user's own files.

``load("digits")``, ``load("mnist:test")``, ``load("table.csv")``. A name here is one line; the
command line reads them too.
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
    """Load a data set by name (``digits``, ``mnist:test``) or from a path. Returns ``Data``.

    options: for files only, see ``aevb.datasets.files.read``: ``resize=(height, width)`` and
    ``grey=True`` for pictures. Raises UsageError for an unknown name, NotFoundError for a missing
    file, DataError for one that cannot be used.
    """
    text = str(source)
    name, _, split = text.partition(":")
    if name in DATASETS:
        if options:
            raise UsageError(
                f"{' and '.join(options)} are for a folder of pictures; {name} has a form of"
                " its own"
            )
        data: Data = DATASETS[name](split or None)
        return data
    from aevb.datasets import files

    if files.exists(text):
        return files.read(text, **options)
    if any(mark in text for mark in "/\\.~"):
        raise NotFoundError(f"there is no file or folder {text!r}. Check the path.")
    try:
        known = DATASETS.check(name)
    except UsageError as error:
        raise NotFoundError(f"{error} Nor is there a file or folder of that name.") from None
    raise AssertionError(known)  # pragma: no cover


def load_like(source: str | Path, schema: Schema) -> Data:
    """Load further rows in the form of ``schema``: a folder's pictures are brought to the same size
    and colours."""
    if not Path(source).expanduser().is_dir() or not schema.is_picture:
        return load(source)
    return load(source, resize=schema.resize or schema.shape[:2], grey=len(schema.shape) == 2)


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        from importlib import import_module

        return getattr(import_module(f"aevb.datasets.{_EXPORTS[name]}"), name)
    raise AttributeError(f"module 'aevb.datasets' has no attribute {name!r}")
