"""Read a folder of pictures as rows of one size, one depth and one colour mode.

``picture_files.py`` reads the single file. A file that cannot be used is left out, and
``Data.notes`` says which ones and why. So do the notes for everything that was changed or left
out of the pictures that are used.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from aevb import memory
from aevb.datasets.damage import short
from aevb.datasets.picture_files import (
    DEPTHS,
    PICTURES,
    UNREAD,
    Header,
    Pixels,
    UnreadableError,
    read_header,
    read_pixels,
)
from aevb.datasets.schema import Data
from aevb.errors import DataError

_SYSTEM = ("thumbs.db", "desktop.ini", "__macosx")
"""Names, in small letters, of files and folders that systems put beside pictures."""
_OF_ONE = {
    "are hidden files": "is a hidden file",
    "are links to nothing": "is a link to nothing",
    "are no pictures": "is no picture",
    "are pictures of a kind that aevb does not read": (
        "is a picture of a kind that aevb does not read"
    ),
}
"""The reasons not to use files, for a single file."""
_MOST_REASONS = 5
# A message gives so many reasons not to use files.
_TOO_MANY = 0.5
"""If more than this share of the pictures is damaged, the whole folder is refused."""
_TO_16_BITS = 257  # white of 8 bits, 255, becomes 65535


@dataclass
class _Found:
    """The pictures of a folder, and the files that are not used.

    headers: of each picture by its name, which is its path within the folder.
    unused: the names of the files that are not used, by the reason.
    broken: how many of these are damaged pictures.
    """

    folder: Path
    headers: dict[str, Header] = field(default_factory=dict)
    unused: dict[str, list[str]] = field(default_factory=dict)
    broken: int = 0

    def leave_out(self, name: str, why: str) -> None:
        """Note that a file is not used."""
        self.unused.setdefault(why, []).append(name)

    def lose(self, name: str, error: UnreadableError) -> None:
        """Note that a picture is damaged."""
        self.headers.pop(name, None)
        self.broken += 1
        self.leave_out(name, f"cannot be read: {error}")

    def reasons(self) -> str:
        """All reasons with their counts and first names, as a phrase; "" if there are none."""
        clauses = []
        for why, names in list(self.unused.items())[:_MOST_REASONS]:
            what, _, detail = why.partition(": ")
            what = _OF_ONE.get(what, what) if len(names) == 1 else what
            detail = detail and f": {short(detail, 60)}"
            clauses.append(f"{len(names)} {what} ({_first(names)}{detail})")
        others = sum(map(len, list(self.unused.values())[_MOST_REASONS:]))
        return ", ".join([*clauses, *([f"{others} for other reasons"] if others else [])])

    def note(self) -> list[str]:
        """A sentence about the files that are not used, if there are any."""
        unused = sum(map(len, self.unused.values()))
        files = unused + len(self.headers)
        return [f"{unused} of {files} files not used: {self.reasons()}."] if unused else []


def read_pictures(
    folder: Path,
    *,
    resize: tuple[int, int] | None = None,
    grey: bool | None = None,
    form: tuple[str, float | None] | None = None,
) -> Data:
    """Read all pictures in a folder and its subfolders, in the order of their names.

    The values are those in the files. A file that is no picture, or that is damaged, is left out;
    ``Data.notes`` names it. If all pictures lie in subfolders of the folder, in two of them or
    more, the names of these are the labels.

    Args:
        folder: The folder.
        resize: (height, width) to bring every picture to, or None to leave their sizes.
        grey: True for grey pictures, False for RGB, None for grey if all of them are grey.
        form: Type and white of the rows that a model takes, from its ``Schema``. Pictures of 8 and
            of 16 bits are then brought to it.

    Returns:
        Rows of shape (N, height, width) if grey, else (N, height, width, 3): integers of 8, 16 or
        32 bits, or floats. Grey levels of more than 8 bits have as white the smallest 2^k - 1 that
        no value exceeds.

    Raises:
        DataError: There are no pictures, more than half of them are damaged, their sizes or their
            depths differ, or they do not fit into the memory.

    Example:
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> from aevb.datasets.pictures import read_pictures
        >>> Path("shots").mkdir()
        >>> Image.new("L", (20, 10), 255).save("shots/white.png")
        >>> Image.new("L", (20, 10), 0).save("shots/black.png")
        >>> _ = Path("shots/notes.txt").write_text("two pictures")
        >>> data = read_pictures(Path("shots"))
        >>> data.rows.shape, data.rows[:, 0, 0].tolist(), data.names.tolist()
        ((2, 10, 20), [0, 255], ['black.png', 'white.png'])
        >>> data.notes
        ('1 of 3 files not used: 1 is no picture (notes.txt).',)
    """
    found = _find(folder)
    _require_enough(found)
    depth = _one_depth(found)
    shape = resize or _one_size(found)
    _require_memory(found, shape, depth, grey)
    rows, pixels = _read_all(found, shape, depth, resize, grey)
    _require_enough(found)
    rows, white, changed = _white(rows, depth, found, form)
    names = list(pixels)
    labels, about_labels = _labels(names)
    return Data(
        rows,
        source=str(folder),
        labels=labels,
        white=white,
        resize=resize,
        grey=rows.ndim == 3 if grey is None else grey,
        kind="pictures",
        reason="a folder of pictures",
        names=np.array(names, dtype=np.str_),
        names_of="file",
        notes=(*found.note(), *changed, *_notes(found, pixels), *about_labels),
    )


def _find(folder: Path) -> _Found:
    """Find the pictures of a folder, and read what they say about themselves."""
    found = _Found(folder)
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if not path.is_file():
            if path.is_symlink():
                found.leave_out(name, "are links to nothing")
        elif _is_hidden(name):
            found.leave_out(name, "are hidden files")
        elif path.suffix.lower() in UNREAD:
            found.leave_out(name, "are pictures of a kind that aevb does not read")
        elif path.suffix.lower() not in PICTURES:
            found.leave_out(name, "are no pictures")
        else:
            try:
                found.headers[name] = read_header(path)
            except UnreadableError as error:
                found.lose(name, error)
    return found


def _is_hidden(name: str) -> bool:
    parts = name.lower().split("/")
    return any(part.startswith(".") or part in _SYSTEM for part in parts)


def _require_enough(found: _Found) -> None:
    """Raise DataError if there are no pictures, or if more than half of them are damaged."""
    pictures = found.broken + len(found.headers)
    if found.broken > _TOO_MANY * pictures:
        whys = {why: names for why, names in found.unused.items() if why.startswith("cannot")}
        lost = _Found(found.folder, unused=whys).reasons()
        if "negative values" in lost:
            raise DataError(
                f"most of the {pictures} pictures in {found.folder} hold no grey levels, which are"
                f" numbers from 0: {lost}. Save them as one array (pictures, height, width) in a"
                " .npy file."
            )
        raise DataError(
            f"most of the {pictures} pictures in {found.folder} are damaged: {lost}. Copy the"
            " folder again, or remove these files."
        )
    if not pictures:
        there = f"; {found.reasons()}" if found.unused else ""
        kinds = ", ".join(dict.fromkeys(PICTURES.values()))
        raise DataError(
            f"the folder {found.folder} holds no pictures ({kinds}){there}. Give the folder that"
            " holds them."
        )


def _one_depth(found: _Found) -> str:
    """The depth to bring all pictures to. Raises DataError if there is none that keeps them all."""
    depths = Counter(header.depth for header in found.headers.values())
    for together, depth in _TOGETHER.items():
        if set(depths) <= set(together):
            return depth
    raise DataError(_of_two_depths(found))


_TOGETHER = {
    ("8 bits",): "8 bits",
    ("8 bits", "16 bits"): "16 bits",
    ("16 bits", "32 bits"): "32 bits",
    ("floats",): "floats",
}
"""Depths that may come together, and the one that keeps the values of both."""


def _of_two_depths(found: _Found) -> str:
    depths: dict[str, list[str]] = {}
    for name, header in found.headers.items():
        depths.setdefault(header.depth, []).append(name)
    each = ", ".join(f"{len(names)} of {depth} ({names[0]})" for depth, names in depths.items())
    return (
        f"the pictures in {found.folder} have values of different depths: {each}. Their greys"
        " cannot be compared; save them all with one depth, or put each kind into its own folder."
    )


def _one_size(found: _Found) -> tuple[int, int]:
    """(height, width) of all pictures. Raises DataError if they differ."""
    sizes: dict[tuple[int, int], list[str]] = {}
    for name, header in found.headers.items():
        sizes.setdefault((header.height, header.width), []).append(name)
    if len(sizes) == 1:
        return next(iter(sizes))
    by_count = sorted(sizes.items(), key=lambda item: -len(item[1]))
    common = ", ".join(f"{len(names)} of {h}x{w}" for (h, w), names in by_count[:3])
    more = ", ..." if len(sizes) > 3 else ""
    rare = by_count[-1][1]
    raise DataError(
        f"the {len(found.headers)} pictures in {found.folder} have {len(sizes)} sizes"
        f" ({common}{more}; {rare[0]} is one of the rarest size); bring them to one with --resize"
        " HEIGHTxWIDTH, for example --resize 32x32."
    )


def _require_memory(found: _Found, shape: tuple[int, int], depth: str, grey: bool | None) -> None:
    """Raise DataError, before a pixel is read, if the rows do not fit into the memory."""
    values = len(found.headers) * (1 if grey or not _may_have_colours(found) else 3)
    size = np.dtype(DEPTHS[depth]).itemsize * values
    needed, free = size * shape[0] * shape[1], memory.free()
    if needed <= free.bytes:
        return
    # A quarter is for the pictures: training needs copies of them, and a network.
    side = max(1, int((free.bytes / 4 / size) ** 0.5))
    side = max((fit for fit in (8, 16, 32, 64, 128, 256, 512) if fit <= side), default=side)
    raise DataError(
        f"the {len(found.headers)} pictures of {shape[0]}x{shape[1]} in {found.folder} need"
        f" {memory.in_words(needed)} of memory, and {memory.in_words(free.bytes)} are free"
        f" {free.of}; bring them to a smaller size, for example --resize {side}x{side}."
    )


def _may_have_colours(found: _Found) -> bool:
    return any(header.may_have_colours for header in found.headers.values())


def _read_all(
    found: _Found,
    shape: tuple[int, int],
    depth: str,
    resize: tuple[int, int] | None,
    grey: bool | None,
) -> tuple[NDArray[Any], dict[str, Pixels]]:
    """Read the pixels of all pictures into one array, and leave out those that are damaged.

    Returns the rows, and for each name what happened to the picture, without its values.
    """
    colours = grey is False or (not grey and _may_have_colours(found))
    form = (*shape, 3) if colours else shape
    rows = np.empty((len(found.headers), *form), DEPTHS[depth])
    read: dict[str, Pixels] = {}
    is_grey = grey is None
    for name, header in list(found.headers.items()):
        try:
            pixels = read_pixels(found.folder / name, header, resize=resize, grey=grey)
        except UnreadableError as error:
            found.lose(name, error)
            continue
        values, factor = pixels.values, 1
        if depth == "16 bits" and header.depth == "8 bits":
            values, factor = values.astype(np.uint16), _TO_16_BITS
        is_grey = is_grey and values.ndim == 2
        rows[len(read)] = (values[..., None] if values.ndim < len(form) else values) * factor
        read[name] = Pixels(values[:0, :0], pixels.on_white, pixels.ignored_alpha)
    rows = rows[: len(read)]
    return (rows[..., 0].copy() if colours and is_grey else rows), read


def _white(
    rows: NDArray[Any], depth: str, found: _Found, form: tuple[str, float | None] | None
) -> tuple[NDArray[Any], float | None, list[str]]:
    """The rows in their final type, the value of white, and notes about both."""
    if depth == "8 bits":
        return _as_the_model_takes(rows, 255.0, form)
    if depth == "floats":
        return _of_floats(rows)
    notes = _of_8_bits_among_16(rows, found) if depth == "16 bits" else []
    white = _smallest_white(float(rows.max()))
    if white <= 65535:
        rows = rows.astype(np.uint16, copy=False)
    rows, taken, more = _as_the_model_takes(rows, white, form)
    if taken not in (255, 65535) and (form is None or form[1] != taken):
        notes.append(
            f"the values go up to {rows.max()}, so white is taken to be {taken:g}; other"
            " pictures of the same kind may be brighter."
        )
    return rows, taken, [*notes, *more]


def _of_8_bits_among_16(rows: NDArray[Any], found: _Found) -> list[str]:
    """A note about pictures of 8 bits that were brought to 16, if there are any.

    Raises DataError if white of the others is not that of 16 bits: it is a guess then, and the
    greys of both cannot be compared.
    """
    narrow = np.array([header.depth == "8 bits" for header in found.headers.values()])
    if not narrow.any():
        return []
    if not narrow.all() and _smallest_white(float(rows[~narrow].max())) != 65535:
        raise DataError(_of_two_depths(found))
    return [f"{narrow.sum()} of {len(rows)} pictures had 8 bits and were brought to 16."]


def _smallest_white(most: float) -> float:
    """The smallest 2^k - 1 of at least ``most``, with k from 8."""
    return float(2 ** max(8, int(most).bit_length()) - 1)


def _of_floats(rows: NDArray[Any]) -> tuple[NDArray[Any], float | None, list[str]]:
    """White of pictures of floats: 1 or, for whole numbers, as for integers; else there is none."""
    low, high = float(rows.min()), float(rows.max())
    span = f"the pictures hold floats from {low:.6g} to {high:.6g}"
    if high <= 1:
        return rows, None, [f"{span}: 0 is taken for black and 1 for white."]
    if bool((rows == np.round(rows)).all()):
        white = _smallest_white(high)
        return rows, white, [f"{span}, all whole: 0 is taken for black and {white:g} for white."]
    return rows, None, [f"{span}: they are taken as amounts without a white."]


def _as_the_model_takes(
    rows: NDArray[Any], white: float, form: tuple[str, float | None] | None
) -> tuple[NDArray[Any], float, list[str]]:
    """Bring 8 bits to 16, or 16 bits to 8, if a model takes the other. See ``read_pictures``."""
    if form is None or form[1] is None:
        return rows, white, []
    found, wanted = (str(rows.dtype), white), (form[0], form[1])
    if (found, wanted) == (("uint8", 255), ("uint16", 65535)):
        wide = rows.astype(np.uint16) * np.uint16(_TO_16_BITS)
        return wide, 65535.0, ["the pictures had 8 bits and were brought to the model's 16."]
    if (found, wanted) == (("uint16", 65535), ("uint8", 255)):
        narrow = np.round(rows / _TO_16_BITS).astype(np.uint8)
        return narrow, 255.0, ["the pictures had 16 bits and were brought to the model's 8."]
    # Pictures may be darker than those that the model was trained on.
    is_darker = found[0] == wanted[0] and white <= wanted[1]
    return rows, wanted[1] if is_darker else white, []


def _labels(names: Sequence[str]) -> tuple[NDArray[np.str_] | None, list[str]]:
    """The folder of each picture as its label, if the folders are classes, and a note about it."""
    folders = [name.rpartition("/")[0] for name in names]
    counts = Counter(folders)
    if len(counts) < 2:
        return None, []
    if any(not folder or "/" in folder for folder in counts):
        return None, [
            "the pictures lie at different depths of folders, so the folders' names are no labels."
        ]
    each = ", ".join(f"{folder} ({count})" for folder, count in list(counts.items())[:5])
    more = ", ..." if len(counts) > 5 else ""
    return np.array(folders, dtype=np.str_), [
        f"the {len(counts)} subfolders give the labels: {each}{more}."
    ]


_CHANGES: dict[str, Callable[[Header, Pixels], bool]] = {
    "have several frames, of which only the first is used": lambda header, _: header.frames > 1,
    "have 16 bits for each colour and were read with 8": lambda header, _: header.loses_bits,
    "are in CMYK and were turned into RGB": lambda header, _: header.mode == "CMYK",
    "have transparent parts and were laid on white": lambda _, pixels: pixels.on_white,
    "have more than 8 bits and a transparent colour, which was left as it is": (
        lambda _, pixels: pixels.ignored_alpha
    ),
}
"""What may be left out of a picture or changed, and how to see it."""


def _notes(found: _Found, pixels: Mapping[str, Pixels]) -> list[str]:
    """Sentences about what was left out of the pictures that are used."""
    notes = []
    for what, happened in _CHANGES.items():
        names = [name for name, header in found.headers.items() if happened(header, pixels[name])]
        if names:
            notes.append(f"{len(names)} of {len(pixels)} pictures {what} ({_first(names)}).")
    lost = sum(header.frames - 1 for header in found.headers.values())
    return [note.replace("is used", f"is used and {lost} are not") for note in notes]


def _first(names: Sequence[str]) -> str:
    return ", ".join(short(name, 60) for name in names[:2]) + (", ..." if len(names) > 2 else "")
