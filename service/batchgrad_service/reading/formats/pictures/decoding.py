"""Decode pictures of untrusted files to arrays of bytes."""

import io
import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageOps, UnidentifiedImageError

from batchgrad.contract import PictureOptions
from batchgrad_service.problems import InvalidError

FORMATS = ("PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF", "PPM")
MOST_PIXELS = 50_000_000
_SIXTEEN_BITS = ("I;16", "I;16L", "I;16B", "I;16N")
_MORE_BITS = ("I", "F")  # 32, which have no fixed range


def decoded(name: str, content: bytes, options: PictureOptions) -> npt.NDArray[np.uint8]:
    """Return a picture as (channels, height, width), 0 to 255; the first one of several.

    It is turned as its EXIF orientation says. Transparent pixels are laid over white. Of 16 bits
    the upper 8 are kept.

    Raises:
        InvalidError: the file is damaged, no such picture, or a huge one.
    """
    with warnings.catch_warnings(action="ignore"):  # of damaged metadata, which are not needed
        try:
            with Image.open(io.BytesIO(content), formats=FORMATS) as opened:
                _check_size(name, opened)
                image = ImageOps.exif_transpose(opened)
            plain = _plain(image, "L" if options.mode == "gray" else "RGB")
        except InvalidError:
            raise
        except MemoryError as error:
            raise _problem(name, "takes more memory than there is", "make it smaller") from error
        except UnidentifiedImageError as error:
            raise _problem(name, "is no picture that can be read", _SAVE) from error
        except Image.DecompressionBombError as error:
            raise _problem(name, f"is too large ({error!s:.100})", "make it smaller") from error
        except Exception as error:  # Pillow's decoders raise whatever they meet
            raise _problem(name, f"is damaged ({error!s:.100})", _SAVE) from error
    if options.size is not None and plain.size != (options.size[1], options.size[0]):
        plain = plain.resize((options.size[1], options.size[0]), Image.Resampling.BILINEAR)
    pixels = np.asarray(plain)
    return pixels[None] if pixels.ndim == 2 else np.moveaxis(pixels, 2, 0)


_SAVE = f"save it again, as {', '.join(FORMATS[:-1])} or {FORMATS[-1]}, or remove it"


def _check_size(name: str, image: Image.Image) -> None:
    width, height = image.size
    if width * height > MOST_PIXELS:
        raise _problem(
            name, f"has {width} x {height} pixels, more than {MOST_PIXELS}", "make it smaller"
        )


def _plain(image: Image.Image, mode: str) -> Image.Image:
    """Convert to the mode L or RGB."""
    if image.mode in _SIXTEEN_BITS:
        values: npt.NDArray[Any] = np.asarray(image).astype(np.uint16)
        image = Image.fromarray((values >> 8).astype(np.uint8))
    if image.mode in _MORE_BITS:
        raise ValueError("its pixels have 32 bits, expected 8 or 16")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return image.convert(mode)


def _problem(name: str, what: str, remedy: str) -> InvalidError:
    return InvalidError.field("/file", f"The picture {name!r:.200} {what}: {remedy}.")
