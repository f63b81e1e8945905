"""Load data sets: a built-in one by its name, or your own file by its path.

``load("digits")``, ``load("mnist:test")`` and ``load("table.csv")`` all return ``Data``. The
command line accepts the same names and paths.

Where to find the code:

==================  ==============================================================================
``readers.py``      chooses the reader for a path by the ending of its name
``tables.py``       reads and writes tables in files: ``RawTable``
``tabular/``        how these files are opened, and what their text and their types become
``text.py``         turns cells of text into numbers, dates and booleans, and back
``numerals.py``     numbers as text
``dates.py``        dates and times as text
``arrays.py``       reads .npy, .npz and idx
``containers.py``   reads files of several arrays: MATLAB and safetensors, and lists all
``hdf5.py``         reads HDF5 and .h5ad files
``numbers.py``      makes ``Data`` from an array of any type
``given.py``        makes ``Data`` from any value of Python: tensors, frames, Datasets, lists
``collected.py``    collects the items of a Dataset or of a list
``sparse.py``       keeps sparse matrices sparse, and reads them
``pictures.py``     reads a folder of pictures; ``picture_files.py`` reads one of them
``synthetic.py``    makes points in the plane: gmm, moons, circles, spiral
``images.py``       loads digits, mnist, mnist_binarized and frey; downloads what is missing
``schema.py``       defines ``Data`` (rows as they were found) and ``Schema`` (their form)
``columns.py``      says of a table what kind each column is; ``cells.py`` converts its cells
``column_kinds.py`` finds the kind of each column, and says why
``frames.py``       turns data frames into ``Data``, and rows into data frames
``kinds.py``        tells tables, pictures, series, counts and tokens apart
``checks.py``       refuses values that are not finite numbers, and names the first one
``kinds.py``        tells what an array holds, or asks
``looks.py``        finds the facts that tell the kind of an array
``form.py``         leaves out constant columns and one-hot axes, and puts them back
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

from collections.abc import Mapping, Sequence
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


def load(
    source: str | Path,
    *,
    kind: str = "auto",
    columns: Mapping[str, str] | None = None,
    decimal: str = "",
    resize: tuple[int, int] | None = None,
    grey: bool | None = None,
) -> Data:
    """Load a data set by its name or from a path.

    Args:
        source: A name (``digits``), a name with a split (``mnist:test``), or the path of a file or
            a folder.
        kind: What the rows are: a name in ``aevb.datasets.kinds.KINDS``, or ``auto`` to tell it
            from their form.
        columns: Kinds of columns of a table: name -> a name in
            ``aevb.datasets.tabular.columns.COLUMN_KINDS``. The kinds of other columns are found.
        decimal: The mark before the decimals in a text file: "," or ".". "": it is found out.
        resize: (height, width), for a folder of pictures.
        grey: True for grey pictures, for a folder of pictures.

    Returns:
        The rows and the facts that are known about them.

    Raises:
        UsageError: The split or a kind is unknown, or an option does not apply.
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
        >>> load("my_rows.npy", kind="counts").kind
        'counts'
    """
    data = _found(str(source), kind, columns, decimal, resize, grey)
    if kind == "auto":
        return data
    from aevb.datasets.kinds import KINDS, with_kind

    return with_kind(data, Registry("kind", KINDS).check(kind))


def _found(
    text: str,
    kind: str,
    columns: Mapping[str, str] | None,
    decimal: str,
    resize: tuple[int, int] | None,
    grey: bool | None,
) -> Data:
    """Load a built-in data set, a file or a folder. Raises as ``load``."""
    name, _, split = text.partition(":")
    if name in DATASETS:
        _refuse_options(name, columns, decimal, resize, grey)
        data: Data = DATASETS[name](split or None)
        return data
    from aevb.datasets import readers

    if readers.exists(text):
        return readers.read(
            text, kind=kind, columns=columns, decimal=decimal, resize=resize, grey=grey
        )
    if any(mark in text for mark in "/\\.~*?"):
        raise NotFoundError(f"there is no file or folder {text!r}. Check the path.")
    try:
        known = DATASETS.check(name)
    except UsageError as error:
        raise NotFoundError(f"{error} Nor is there a file or folder of that name.") from None
    raise AssertionError(known)  # pragma: no cover


def _refuse_options(
    name: str,
    columns: Mapping[str, str] | None,
    decimal: str,
    resize: tuple[int, int] | None,
    grey: bool | None,
) -> None:
    """Raise UsageError for an option that a built-in data set does not take."""
    if columns or decimal:
        raise UsageError(f"columns and decimal are for tables of your own; {name} is built in")
    if resize or grey is not None:
        raise UsageError(f"resize and grey are for a folder of pictures; {name} is built in")


def load_like(source: str | Path, schema: Schema, *, ignore: Sequence[str] = ()) -> Data:
    """Load more rows in the form that ``schema`` describes.

    The columns of a table are found by name. The pictures of a folder are brought to the size and
    the colours of the schema. Other sources are loaded as ``load`` does.

    Args:
        source: As for ``load``.
        schema: The form of the rows that a model was trained on.
        ignore: Names of further columns that a table may have. One text may hold several, with
            commas between them.

    Raises:
        UsageError: A table has no column of a name in ``ignore``.
        DataError: A column is missing or not known, or a cell does not fit its column.

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
    from aevb.datasets import readers

    text, names = str(source), [name.strip() for each in ignore for name in each.split(",")]
    if names and text.partition(":")[0] in DATASETS:
        raise UsageError(f"{text} is built in; do not give --ignore {','.join(names)}")
    if text.partition(":")[0] in DATASETS or not readers.exists(text):
        return load(source)
    return readers.read_like(text, schema, names)


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        from importlib import import_module

        return getattr(import_module(f"aevb.datasets.{_EXPORTS[name]}"), name)
    raise AttributeError(f"module 'aevb.datasets' has no attribute {name!r}")
