"""PNG and JPEG: pictures that are unpacked whole, checked before they are trusted.

Pillow, which imageio and scikit-image read them with, is asked directly: through those, colours
of 16 bit come as 8, palettes and alpha change by their own rules, and size limits are global.
"""

import struct
import zlib
from collections.abc import Iterator
from functools import partial
from importlib import import_module
from pathlib import Path

import numpy as np
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile

from equicomir.images.opened import (
    MOST,
    ImageFile,
    Unreadable,
    Values,
    Window,
    believable_size,
    image_file,
)
from equicomir.shapes import ArrayMask

_SAMPLES = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # of PNG's colour types
_ORIENTATION = 274
_RGB = ("red", "green", "blue")


def _check_size(path: Path, height: int, width: int, values: int, fewest_bytes: float) -> None:
    """Refuse before unpacking what is too large, or larger than the file can hold."""
    size = path.stat().st_size
    if min(height, width) < 1 or fewest_bytes > size:
        raise Unreadable(
            path,
            f"expected a readable image, got: {size} bytes for {height} x {width} pixels; the "
            f"header is wrong, or the file truncated.",
        )
    if values > MOST:
        raise Unreadable(
            path,
            f"expected at most {MOST} bytes of pixels, got {height} x {width} pixels; save it "
            f"as a tiled TIFF, of which windows can be read.",
        )


def _png_chunks(path: Path) -> Iterator[tuple[bytes, bytes]]:
    """(kind, content) of every chunk, each against its checksum; content of pixels left out."""
    with path.open("rb") as file:
        file.seek(8)
        kind = b""
        while kind != b"IEND":
            head = file.read(8)
            if len(head) < 8:
                raise Unreadable(path, "expected a readable image, got: the PNG is truncated.")
            length, kind = struct.unpack(">I4s", head)
            checksum, kept, left = zlib.crc32(kind), b"", length
            while left > 0:  # in parts: the length may be a lie
                part = file.read(min(left, 2**20))
                if not part:
                    break
                checksum, left = zlib.crc32(part, checksum), left - len(part)
                kept = kept + part if kind != b"IDAT" and len(kept) < 2**20 else kept
            if file.read(4) != struct.pack(">I", checksum) or left:
                raise Unreadable(
                    path,
                    f"expected a readable image, got: the PNG is damaged or truncated in "
                    f"{kind.decode('ascii', 'replace')!r}.",
                )
            yield kind, kept


def open_png(path: Path) -> ImageFile:
    """Look into a PNG, and check it against its checksums."""
    chunks = dict(_png_chunks(path))
    if b"acTL" in chunks:
        raise Unreadable(path, "expected one image, got an animation; save one frame.")
    head = chunks.get(b"IHDR", b"")
    if len(head) < 10 or head[9] not in _SAMPLES or head[8] not in (1, 2, 4, 8, 16):
        raise Unreadable(path, "expected a readable image, got: a PNG with a wrong header.")
    width, height, bits, colour = struct.unpack(">IIBB", head[:10])
    samples = _SAMPLES[colour]
    row_bytes = (width * samples * bits + 7) // 8
    _check_size(
        path, height, width, height * width * samples * -(-bits // 8), height * row_bytes / 1040
    )
    wide = bits == 16 and colour != 0
    notes = []
    if wide:
        try:  # Pillow would give 8 of the 16 bits without a word
            import_module("imagecodecs")
        except ImportError as error:
            raise Unreadable(
                path,
                "expected imagecodecs, to read colours of 16 bit in PNG; pip install it, or save "
                "the image as TIFF.",
            ) from error
    if colour == 3:
        notes.append("the palette's colours are read, not its indices")
    if colour in (4, 6) or b"tRNS" in chunks:
        notes.append("the alpha channel is dropped where fully opaque, undefined elsewhere")
    with PngImageFile(path) as picture:
        exif = picture.info.get("exif") or b"".join([b"Exif\0\0", chunks.get(b"eXIf", b"")])
        if b"eXIf" in chunks:
            picture.info["exif"] = exif
        orientation = picture.getexif().get(_ORIENTATION, 1) if b"eXIf" in chunks else 1
        across, down = picture.info.get("dpi", (0, 0))
    dtype = np.dtype(bool if (bits, colour) == (1, 0) else np.uint16 if bits == 16 else np.uint8)
    channels = 3 if colour in (2, 3, 6) else 1
    return image_file(
        path,
        "PNG",
        dtype,
        channels,
        [(height, width)],
        partial(_read_png, path, bits, colour),
        orientation=orientation,
        stored_pixel_size=believable_size((down, across)),
        channel_names=_RGB,
        notes=notes,
    )


def _read_png(
    path: Path, bits: int, colour: int, level: int, window: Window
) -> tuple[Values, ArrayMask | None]:
    if bits == 16 and colour != 0:
        pixels: Values = import_module("imagecodecs").png_decode(path.read_bytes())
        return _cut(pixels, 3 if colour in (2, 6) else 1, window, 65535)
    with PngImageFile(path) as picture:
        clear = picture.info.get("transparency")
        if colour == 3 or (colour == 2 and clear is not None):
            pixels = np.array(picture.convert("RGB" if clear is None else "RGBA"))
        else:
            pixels = np.array(picture)
    if colour != 0 or clear is None:
        return _cut(pixels, 3 if colour in (2, 3, 6) else 1, window, 255)
    if bits == 1:  # Pillow's own: 0 or 255
        clear = bool(clear)
    elif bits in (2, 4):  # Pillow spreads values over 0 to 255, but not the transparent one
        clear *= 255 // (2**bits - 1)
    values, _ = _cut(pixels, 1, window, 255)
    return values, values[0] != clear


def _cut(
    pixels: Values, channels: int, window: Window, opaque: int
) -> tuple[Values, ArrayMask | None]:
    """The window of (height, width, ...) as (channels, height, width), and where opaque."""
    top, bottom, left, right = window
    cut = pixels[top:bottom, left:right].reshape(bottom - top, right - left, -1)
    values = cut[..., :channels].transpose(2, 0, 1)
    return values, cut[..., -1] == opaque if cut.shape[2] > channels else None


def open_jpeg(path: Path) -> ImageFile:
    """Look into a JPEG."""
    with JpegImageFile(path) as picture:
        if picture.mode not in ("L", "RGB"):
            raise Unreadable(
                path, f"expected a grey or RGB JPEG, got {picture.mode}; convert it to RGB."
            )
        channels = len(picture.getbands())
        width, height = picture.size
        orientation = picture.getexif().get(_ORIENTATION, 1)
        across, down = picture.info.get("dpi", (0, 0))
    _check_size(path, height, width, height * width * channels, height * width / 1000)
    return image_file(
        path,
        "JPEG",
        np.dtype(np.uint8),
        channels,
        [(height, width)],
        partial(_read_jpeg, path, channels),
        orientation=orientation,
        stored_pixel_size=believable_size((down, across)),
        channel_names=_RGB,
    )


def _read_jpeg(
    path: Path, channels: int, level: int, window: Window
) -> tuple[Values, ArrayMask | None]:
    content = path.read_bytes()
    if content.rfind(b"\xff\xd9") < content.rfind(b"\xff\xda"):  # no end after the last scan
        raise Unreadable(path, "expected a readable image, got: the JPEG is truncated.")
    with JpegImageFile(path) as picture:
        return _cut(np.array(picture), channels, window, 255)
