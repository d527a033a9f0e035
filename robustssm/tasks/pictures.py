"""Encoded images as arrays: sizes are checked before pixels are decoded, half an image is none."""

import io
import struct
import zlib
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from robustssm.tasks.reading import check_room

Bytes = npt.NDArray[np.uint8]
FORMATS = ("PNG", "JPEG", "WEBP")
# Largest image, pixels: as many steps as a sequence may have.
_PIXELS = 1 << 20
_GREY, _COLOUR = ("1", "L", "LA"), ("P", "RGB", "RGBA", "CMYK", "YCbCr")
_PNG = b"\x89PNG"
# What Pillow raises for damaged bytes.
_DAMAGED = (OSError, SyntaxError, ValueError, MemoryError, struct.error, zlib.error)
# The last chunk of a PNG file: its name and check sum.
_END = b"IEND\xaeB`\x82"


class PictureError(ValueError):
    """Says why bytes are no image that can be used."""


def decoded(content: bytes, gray: bool = False, formats: tuple[str, ...] = FORMATS) -> Bytes:
    """Return the levels (rows, columns, channels) of an encoded image: 1 channel if grey, or 3.

    gray: in any case (ITU-R 601-2). Transparency is dropped. Raises PictureError.
    """
    from PIL import Image

    try:
        if content.startswith(_PNG) and _END not in content:
            raise PictureError("it has no end")
        with Image.open(io.BytesIO(content), formats=formats) as image:
            columns, rows = image.size
            if columns * rows > _PIXELS:
                raise PictureError(f"it has {columns} x {rows} pixels, at most {_PIXELS} are read")
            if image.mode not in _GREY + _COLOUR:
                raise PictureError(f"its mode is {image.mode}, expected grey or colour of 8 bits")
            mode = "L" if gray or image.mode in _GREY else "RGB"
            values = np.asarray(image.convert(mode))
    except PictureError:
        raise
    except (*_DAMAGED, Image.DecompressionBombError) as error:
        raise PictureError(str(error)) from None
    return values.reshape(rows, columns, -1)


def stacked(
    who: str, contents: Sequence[bytes], gray: bool, wrong: Callable[[str], Exception]
) -> Bytes:
    """Return the levels (N, rows, columns, channels) of encoded images of one size.

    Grey images among coloured ones have their level three times. wrong: makes the refusal of a
    problem. Raises UsageError if they take more than half of the memory.
    """
    images: list[Bytes] = []
    for number, content in enumerate(contents):
        try:
            images.append(decoded(content, gray))
        except PictureError as error:
            raise wrong(f"has a row that is no whole image ({error})") from None
        if number == 0:
            check_room(who, (len(contents), *images[0].shape), 5, "give limit=1000")
        if images[-1].shape[:2] != images[0].shape[:2]:
            a, b = (f"{one.shape[1]} x {one.shape[0]}" for one in (images[-1], images[0]))
            raise wrong(f"has images of {a} and of {b} pixels, expected one size")
    channels = max(one.shape[2] for one in images)
    return np.stack([np.broadcast_to(one, (*one.shape[:2], channels)) for one in images])
