"""Read one picture file. Its values stay as they are stored: 8, 16 or 32 bits, or floats.

A ``Header`` is read without the pixels, so the size of a whole folder is known before its pixels
are read. ``Pixels`` are the values of one picture: grey (height, width) or colour (height, width,
3). Pillow reads the files; it reads colours of 16 bits as 8 bits, and the header says so.
"""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL import Image

PICTURES = {
    ".png": "PNG",
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jfif": "JPEG",
    ".jpe": "JPEG",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".webp": "WebP",
    ".bmp": "BMP",
    ".gif": "GIF",
    ".ppm": "PPM",
    ".pgm": "PPM",
    ".pbm": "PPM",
    ".pnm": "PPM",
}
"""Endings of the names of the files that are read, and the name of each format."""
UNREAD = (".heic", ".heif", ".avif", ".svg", ".jp2", ".jxl", ".psd", ".dng", ".cr2", ".nef", ".eps")
"""Endings of pictures that are not read, so that they can be told from other files."""

DEPTHS = {"8 bits": np.uint8, "16 bits": np.uint16, "32 bits": np.uint32, "floats": np.float32}
"""How the values of a picture are stored, and the type of the rows that keeps them."""
_DEEP = {"I;16": "16 bits", "I;16L": "16 bits", "I;16B": "16 bits", "I;16N": "16 bits"}
_DEEP |= {"I": "32 bits", "F": "floats"}
_TURNED = (5, 6, 7, 8)
"""Values of EXIF's Orientation that exchange height and width."""
_ORIENTATION = 0x0112


class UnreadableError(Exception):
    """A file that is not used. Its text is the reason, without the name of the file."""


@dataclass(frozen=True)
class Header:
    """What a picture says about itself before its pixels are read.

    Args:
        height: In pixels, once the picture is upright.
        width: In pixels, once the picture is upright.
        depth: A key of ``DEPTHS``.
        may_have_colours: False if the picture cannot be but grey.
        frames: The number of pictures in the file. Only the first one is read.
        loses_bits: Whether the file has 16 bits for each colour, which are read as 8.
        mode: Pillow's name for the form of the pixels, such as "CMYK".

    Example:
        >>> from PIL import Image
        >>> from pathlib import Path
        >>> from aevb.datasets.picture_files import read_header
        >>> Image.new("L", (20, 10)).save("grey.png")
        >>> header = read_header(Path("grey.png"))
        >>> header.height, header.width, header.depth, header.frames
        (10, 20, '8 bits', 1)
    """

    height: int
    width: int
    depth: str
    may_have_colours: bool
    frames: int
    loses_bits: bool
    mode: str


@dataclass(frozen=True)
class Pixels:
    """The values of one picture.

    Args:
        values: (height, width) if grey, else (height, width, 3), in the type of its depth.
        on_white: Whether parts of the picture could be seen through. They were laid on white.
        ignored_alpha: Whether such parts were left as they are, because the picture has more than
            8 bits.

    Example:
        >>> from PIL import Image
        >>> from pathlib import Path
        >>> from aevb.datasets.picture_files import read_header, read_pixels
        >>> Image.new("RGBA", (3, 2), (255, 0, 0, 0)).save("glass.png")
        >>> pixels = read_pixels(Path("glass.png"), read_header(Path("glass.png")))
        >>> pixels.values.tolist(), pixels.on_white
        ([[255, 255, 255], [255, 255, 255]], True)
    """

    values: NDArray[Any]
    on_white: bool = False
    ignored_alpha: bool = False


def read_header(file: Path) -> Header:
    """Read what a picture says about itself.

    Raises:
        UnreadableError: The file is damaged, or holds something else.

    Example:
        >>> from pathlib import Path
        >>> from aevb.datasets.picture_files import UnreadableError, read_header
        >>> _ = Path("fake.png").write_text("no picture")
        >>> try:
        ...     read_header(Path("fake.png"))
        ... except UnreadableError as error:
        ...     print(error)
        not the content of a picture
    """
    from PIL import Image

    with _opened(file) as picture:
        width, height = picture.size
        # The method of a PNG would read all pixels first, in case its EXIF comes after them.
        if Image.Image.getexif(picture).get(_ORIENTATION) in _TURNED:
            width, height = height, width
        depth = _depth(picture)
        return Header(
            height=height,
            width=width,
            depth=depth,
            may_have_colours=depth == "8 bits" and picture.mode not in ("1", "L"),
            frames=_frames(picture),
            loses_bits=depth == "8 bits" and _has_16_bits(picture),
            mode=picture.mode,
        )


def read_pixels(
    file: Path,
    header: Header,
    *,
    resize: tuple[int, int] | None = None,
    grey: bool | None = None,
) -> Pixels:
    """Read the pixels of a picture, upright.

    Args:
        file: The picture.
        header: The result of ``read_header``.
        resize: (height, width) to bring the picture to. It is cropped about the centre if the
            proportions differ.
        grey: True turns colours into grey levels.

    Raises:
        UnreadableError: The file is damaged, or its values are negative or not finite.

    Example:
        >>> import numpy as np
        >>> from PIL import Image
        >>> from pathlib import Path
        >>> from aevb.datasets.picture_files import read_header, read_pixels
        >>> Image.fromarray(np.array([[0, 4000]], np.uint16)).save("deep.png")
        >>> read_pixels(Path("deep.png"), read_header(Path("deep.png"))).values
        array([[   0, 4000]], dtype=uint16)
    """
    from PIL import ImageOps

    with _opened(file) as picture, _silent(picture):
        largest = _largest_of_ppm(picture)
        upright = ImageOps.exif_transpose(picture)
        if upright.size != (header.width, header.height):
            raise UnreadableError("a size that its header does not name")
        if header.depth != "8 bits":
            values = _resized(_stored(upright, header.depth, largest), resize)
            return Pixels(values, ignored_alpha="transparency" in picture.info)
        form, on_white = in_8_bits(upright)
        if resize is not None:
            form = _fitted(form, resize)
        return Pixels(np.asarray(form.convert("L") if grey else form), on_white)


@contextmanager
def _opened(file: Path) -> Iterator[Image.Image]:
    """Open a picture; every way in which that can fail becomes an ``UnreadableError``."""
    from PIL import Image

    formats = sorted({name.upper() for name in PICTURES.values()})
    try:
        # Pillow warns of large pictures and odd headers. The pixels say whether all is well.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            with Image.open(file, formats=formats) as picture:
                yield picture
    except (UnreadableError, MemoryError):
        raise
    except Exception as error:  # Pillow raises all kinds for damaged files
        raise UnreadableError(_reason(file, error)) from error


@contextmanager
def _silent(picture: Image.Image) -> Iterator[None]:
    """Keep libtiff from writing to stderr: what it says is in Pillow's errors, too."""
    try:
        kept = os.dup(2) if picture.format == "TIFF" else None
    except OSError:  # there is no stderr
        kept = None
    if kept is None:
        yield
        return
    nowhere = os.open(os.devnull, os.O_WRONLY)
    try:
        os.dup2(nowhere, 2)
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(nowhere)


def _reason(file: Path, error: Exception) -> str:
    """Why a file cannot be read, in words that are the same for all files of that kind."""
    from PIL import Image, UnidentifiedImageError

    if isinstance(error, UnidentifiedImageError):
        is_empty = file.is_file() and file.stat().st_size == 0
        return "empty" if is_empty else "not the content of a picture"
    if isinstance(error, Image.DecompressionBombError):
        return "too many pixels"
    if isinstance(error, PermissionError):
        return "no permission to open"
    text = str(error).split("\n")[0].replace(str(file), "the file")
    if "truncated" in text.lower() or isinstance(error, EOFError):
        return "the end is missing"
    return re.sub(r"\s*\(.*?\)|\d+ bytes?", "", text).strip() or type(error).__name__


def _depth(picture: Image.Image) -> str:
    depth = _DEEP.get(picture.mode, "8 bits")
    # Pillow keeps 16 bits of a PGM in integers of 32 bits.
    return "16 bits" if picture.mode == "I" and picture.format == "PPM" else depth


def _frames(picture: Image.Image) -> int:
    try:
        return int(getattr(picture, "n_frames", 1))
    except Exception:  # a later frame is damaged; the first one may be whole
        return 1


def _has_16_bits(picture: Image.Image) -> bool:
    """Whether the file stores 16 bits for each colour, as its raw form says."""
    raw = [tile.args if isinstance(tile.args, tuple) else (tile.args,) for tile in _tiles(picture)]
    largest = _largest_of_ppm(picture)
    return (largest or 0) > 255 or any(";16" in str(part) for args in raw for part in args)


def _tiles(picture: Image.Image) -> list[Any]:
    """Where the pixels of an open file lie, and in which raw form."""
    return list(getattr(picture, "tile", []))


def _largest_of_ppm(picture: Image.Image) -> int | None:
    """The value of white that a PGM or PPM names, where Pillow would scale it to another."""
    tiles = _tiles(picture) if picture.format == "PPM" else []
    args = tiles[0].args if tiles else None
    return args[1] if isinstance(args, tuple) and isinstance(args[1], int) else None


def _stored(picture: Image.Image, depth: str, largest: int | None) -> NDArray[Any]:
    """The values of a picture of more than 8 bits. Raises UnreadableError."""
    values = np.asarray(picture)
    if largest is not None:  # Pillow has scaled the values to 0..65535; undo it
        values = np.round(values.astype(np.float64) * largest / 65535)
    if not np.isfinite(values).all():
        raise UnreadableError("values that are not finite")
    if values.min() < 0:
        raise UnreadableError("negative values")
    return values.astype(DEPTHS[depth])


def _resized(values: NDArray[Any], resize: tuple[int, int] | None) -> NDArray[Any]:
    """Bring values (H, W) of more than 8 bits to another size, within their own range."""
    if resize is None:
        return values
    from PIL import Image

    fitted = np.asarray(_fitted(Image.fromarray(values.astype(np.float32)), resize))
    fitted = fitted.clip(values.min(), values.max())
    return (fitted if values.dtype.kind == "f" else fitted.round()).astype(values.dtype)


def _fitted(picture: Image.Image, resize: tuple[int, int]) -> Image.Image:
    from PIL import Image, ImageOps

    return ImageOps.fit(picture, (resize[1], resize[0]), Image.Resampling.LANCZOS)


def in_8_bits(picture: Image.Image) -> tuple[Image.Image, bool]:
    """Bring an upright picture to mode L or RGB, and say whether it was laid on white."""
    on_white = False
    if picture.mode in ("La", "RGBa"):  # colours that were multiplied with their opacity
        picture = picture.convert(picture.mode.upper())
    if picture.mode in ("LA", "P", "PA", "RGBA") or "transparency" in picture.info:
        picture, on_white = _on_white(picture)
    if picture.mode not in ("L", "RGB"):
        picture = picture.convert("L" if picture.mode == "1" else "RGB")
    return picture, on_white


def _on_white(picture: Image.Image) -> tuple[Image.Image, bool]:
    """Lay a picture on white: mode L if it has no colours, else RGB.

    The second value says whether any part of it could be seen through.
    """
    from PIL import Image

    picture = picture.convert("RGBA")
    is_opaque = bool((np.asarray(picture.getchannel("A")) == 255).all())
    white = Image.new("RGBA", picture.size, "white")
    colour = Image.alpha_composite(white, picture).convert("RGB")
    return (colour.convert("L") if _is_grey(colour) else colour), not is_opaque


def _is_grey(picture: Image.Image) -> bool:
    red, green, blue = (np.asarray(channel) for channel in picture.split())
    return bool((red == green).all() and (green == blue).all())
