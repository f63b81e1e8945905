"""The columns that commands write: first those that say which row of the data a row belongs to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from aevb.datasets.schema import Data


class Columns:
    """Arrays with a row for each row of the data, and the headers of their columns.

    The first is ``row``, the number of the row in the data, counted from 1. If the rows have names,
    such as those of the files of pictures, ``names`` is next. Its header says what they name.
    """

    def __init__(self, data: Data) -> None:
        self.arrays: dict[str, NDArray[Any]] = {"row": np.arange(1, len(data) + 1)}
        self.headers = ["row"]
        names = getattr(data, "names", None)
        if names is not None:
            self.add("names", np.asarray(names), [getattr(data, "names_of", "") or "name"])

    def add(self, name: str, array: NDArray[Any], headers: Sequence[str] = ()) -> None:
        """Add an array (N, ...). headers: one for each of its columns; the default is its name."""
        self.arrays[name] = array
        self.headers += headers or [name]

    def write(self, path: Path, *, main: str) -> None:
        """Write the arrays into a file. main: the array that a .npy file holds."""
        from aevb import files

        headers: list[str] = []
        for header in self.headers:  # The data may call its rows' names "row", too.
            headers.append(header if header not in headers else f"{header}_of_data")
        files.write(path, self.arrays, headers, main=main)
