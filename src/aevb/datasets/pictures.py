"""Read a folder of pictures. All become 8-bit pictures of one size and one colour mode."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from aevb.datasets.schema import Data
from aevb.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

PICTURES = (".png", ".jpg", ".jpeg")
"""Endings of the names of the files that are read."""


def read_pictures(
    folder: Path, *, resize: tuple[int, int] | None = None, grey: bool | None = None
) -> Data:
    """Read all PNG and JPEG files in a folder and its subfolders, in the order of their names.

    Args:
        folder: The folder.
        resize: (height, width) to bring every picture to, or None to leave their sizes.
        grey: True for grey pictures, False for RGB, None for grey if all of them are grey.

    Returns:
        Rows of shape (N, height, width) if grey, else (N, height, width, 3), as 8-bit integers.

    Raises:
        DataError: There are no pictures, one of them cannot be read, or their sizes differ.

    Example:
        >>> from pathlib import Path
        >>> from PIL import Image
        >>> from aevb.datasets.pictures import read_pictures
        >>> Path("shots").mkdir()
        >>> Image.new("L", (20, 10), 255).save("shots/white.png")
        >>> Image.new("L", (20, 10), 0).save("shots/black.png")
        >>> data = read_pictures(Path("shots"))
        >>> data.rows.shape, data.rows[:, 0, 0].tolist()
        ((2, 10, 20), [0, 255])
    """
    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in PICTURES and p.is_file())
    if not files:
        raise DataError(
            f"the folder {folder} holds no PNG or JPEG pictures. Give the folder that holds them."
        )
    pictures = [_open(file, resize) for file in files]
    if grey is None:
        grey = all(picture.mode == "L" for picture in pictures)
    _require_one_size(pictures, folder)
    rows = np.stack([np.asarray(picture.convert("L" if grey else "RGB")) for picture in pictures])
    return Data(rows, source=str(folder), white=255.0, resize=resize, grey=grey)


def _open(file: Path, resize: tuple[int, int] | None) -> Image.Image:
    from PIL import Image

    try:
        with Image.open(file) as picture:
            return _in_one_form(picture, resize)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        raise DataError(
            f"{file} cannot be read as a picture: {error}. Remove or replace it."
        ) from error


def _require_one_size(pictures: Sequence[Image.Image], folder: Path) -> None:
    sizes = Counter(f"{picture.height}x{picture.width}" for picture in pictures)
    if len(sizes) > 1:
        common = ", ".join(f"{count} of {size}" for size, count in sizes.most_common(3))
        more = ", ..." if len(sizes) > 3 else ""
        raise DataError(
            f"the {len(pictures)} pictures in {folder} have {len(sizes)} sizes ({common}{more}); "
            "bring them to one with --resize HEIGHTxWIDTH, for example --resize 32x32."
        )


def _in_one_form(picture: Image.Image, resize: tuple[int, int] | None) -> Image.Image:
    """Turn a picture upright and bring it to 8 bits: mode L or RGB.

    Transparent parts become white. With ``resize``, the picture is resized, and cropped about the
    centre.
    """
    from PIL import Image, ImageOps

    picture = ImageOps.exif_transpose(picture)
    if picture.mode.startswith("I"):  # 16 bits per pixel
        picture = Image.fromarray(
            (np.asarray(picture).clip(0, 65535) / 257).round().astype(np.uint8)
        )
    if picture.mode in ("LA", "P", "PA", "RGBA") or "transparency" in picture.info:
        picture = _on_white(picture)
    if picture.mode not in ("L", "RGB"):
        picture = picture.convert("L" if picture.mode == "1" else "RGB")
    if resize is not None:
        picture = ImageOps.fit(picture, (resize[1], resize[0]), Image.Resampling.LANCZOS)
    return picture


def _on_white(picture: Image.Image) -> Image.Image:
    """Lay a transparent picture on white: mode L if it has no colours, else RGB."""
    from PIL import Image

    picture = picture.convert("RGBA")
    white = Image.new("RGBA", picture.size, "white")
    colour = Image.alpha_composite(white, picture).convert("RGB")
    return colour.convert("L") if _is_grey(colour) else colour


def _is_grey(picture: Image.Image) -> bool:
    red, green, blue = (np.asarray(channel) for channel in picture.split())
    return bool((red == green).all() and (green == blue).all())
