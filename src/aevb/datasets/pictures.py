"""A folder of pictures: 8 bits, grey or RGB, of one size or brought to one."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from aevb.datasets.schema import Data
from aevb.errors import DataError

if TYPE_CHECKING:
    from PIL import Image

PICTURES = (".png", ".jpg", ".jpeg")


def read_pictures(
    folder: Path, *, resize: tuple[int, int] | None = None, grey: bool | None = None
) -> Data:
    """All PNG and JPEG files in a folder and its subfolders, in the order of their names: 8 bits,
    grey or RGB."""
    from PIL import Image

    files = sorted(p for p in folder.rglob("*") if p.suffix.lower() in PICTURES and p.is_file())
    if not files:
        raise DataError(
            f"the folder {folder} holds no PNG or JPEG pictures. Give the folder that holds them."
        )
    pictures = []
    for file in files:
        try:
            with Image.open(file) as picture:
                pictures.append(_in_one_form(picture, resize))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise DataError(
                f"{file} cannot be read as a picture: {error}. Remove or replace it."
            ) from error
    if grey is None:
        grey = all(picture.mode == "L" for picture in pictures)
    sizes = Counter(f"{picture.height}x{picture.width}" for picture in pictures)
    if len(sizes) > 1:
        common = ", ".join(f"{count} of {size}" for size, count in sizes.most_common(3)) + (
            ", ..." if len(sizes) > 3 else ""
        )
        raise DataError(
            f"the {len(files)} pictures in {folder} have {len(sizes)} sizes ({common}); "
            "bring them to one with --resize HEIGHTxWIDTH, for example --resize 32x32."
        )
    rows = np.stack([np.asarray(picture.convert("L" if grey else "RGB")) for picture in pictures])
    return Data(rows, source=str(folder), white=255.0, resize=resize, grey=grey)


def _in_one_form(picture: Image.Image, resize: tuple[int, int] | None) -> Image.Image:
    """To 8 bits (mode L or RGB), upright, transparency on white; resized and cropped about the
    centre if asked for."""
    from PIL import Image, ImageOps

    picture = ImageOps.exif_transpose(picture)
    if picture.mode.startswith("I"):  # 16 bits per pixel
        picture = Image.fromarray(
            (np.asarray(picture).clip(0, 65535) / 257).round().astype(np.uint8)
        )
    if picture.mode in ("LA", "P", "PA", "RGBA") or "transparency" in picture.info:
        picture = picture.convert("RGBA")
        colour = Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert(
            "RGB"
        )
        picture = colour.convert("L") if _is_grey(colour) else colour
    if picture.mode not in ("L", "RGB"):
        picture = picture.convert("L" if picture.mode == "1" else "RGB")
    if resize is not None:
        picture = ImageOps.fit(picture, (resize[1], resize[0]), Image.Resampling.LANCZOS)
    return picture


def _is_grey(picture: Image.Image) -> bool:
    red, green, blue = (np.asarray(channel) for channel in picture.split())
    return bool((red == green).all() and (green == blue).all())
