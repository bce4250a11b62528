"""Pixels of a TIFF: the tiles or strips under a window, and what its colours and alpha mean.

Pixels that lie in the file as they are, are mapped into memory; packed ones are unpacked piece
by piece through `tifffile`, only those under the window.
"""

import logging
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from tifffile import TiffFile, TiffPage

from equicomir.images.opened import MOST, Unreadable, Values, Window
from equicomir.shapes import ArrayMask

_JPEG = {6, 7, 34892, 33007}
_REQUIRED = {
    256: "ImageWidth",
    257: "ImageLength",
    258: "BitsPerSample",
    259: "Compression",
    262: "PhotometricInterpretation",
}
#: Uncompressed bytes a stored byte: no lossless code of a real image comes near.
_MOST_PACKED = 1_000_000


@dataclass(frozen=True)
class Plane:
    """Where one stored plane is: its first pixel if mapped, else its directory (IFD).

    Attributes:
        offset: in bytes.
        mapped: whether it is the first pixel's.
    """

    offset: int
    mapped: bool


@dataclass(frozen=True)
class Level:
    """One level of the pyramid: planes of (separate samples, height, width, samples).

    Attributes:
        planes: where each is.
        shape: of a plane: separate samples, height, width, samples.
        dtype: of its values.
    """

    planes: tuple[Plane, ...]
    shape: tuple[int, int, int, int]
    dtype: np.dtype[Any]


@dataclass(frozen=True)
class Colours:
    """What the stored samples mean.

    Attributes:
        palette: colours of each value, (3, values), or None.
        alpha: the sample that is an alpha channel, or None.
        opaque: its value where fully opaque.
    """

    palette: Values | None = field(default=None, compare=False)
    alpha: int | None = None
    opaque: float = 0

    def channels(self, samples: int) -> int:
        """Number of channels of a plane of so many samples."""
        return 3 if self.palette is not None else samples - (self.alpha is not None)

    def apply(self, plane: Values) -> tuple[Values, ArrayMask | None]:
        """Samples (samples, height, width) to channels, and where alpha is fully opaque."""
        defined = None
        if self.alpha is not None:
            defined = plane[self.alpha] >= self.opaque
            plane = np.delete(plane, self.alpha, axis=0)
        if self.palette is not None:
            plane = self.palette[:, plane[0]]
        return plane, defined


class _Heard(logging.Handler):
    """What tifffile says of a file while it goes on all the same."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.messages: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.messages.append(record.getMessage())


@contextmanager
def listening() -> Iterator[list[str]]:
    """Keep what tifffile says for whoever judges it, instead of on the terminal."""
    heard, logger = _Heard(), logging.getLogger("tifffile")
    propagated, logger.propagate = logger.propagate, False
    logger.addHandler(heard)
    try:
        yield heard.messages
    finally:
        logger.removeHandler(heard)
        logger.propagate = propagated


def read_level(
    path: Path, levels: Sequence[Level], colours: Colours, level: int, window: Window
) -> tuple[Values, ArrayMask | None]:
    """Read a window of all planes of a level: (channels, height, width), and where defined.

    Args:
        path: of the file.
        levels: of the pyramid, finest first.
        colours: what the samples mean.
        level: which of them.
        window: first and past the last row, then column.

    Returns:
        The values, and None where all of them are defined.
    """
    chosen = levels[level]
    top, bottom, left, right = window
    channels: list[Values] = []
    defined: ArrayMask | None = None
    for plane in chosen.planes:
        stored: ArrayMask | None = None
        if plane.mapped:
            file = np.memmap(path, chosen.dtype, "r", plane.offset, chosen.shape)
            cut = np.array(file[:, top:bottom, left:right])
        else:
            cut, stored = _unpack(path, plane, chosen, window)
        samples = cut.transpose(0, 3, 1, 2).reshape(-1, bottom - top, right - left)
        values, opaque = colours.apply(samples)
        channels.append(values)
        for mask in (stored, opaque):
            if mask is not None:
                defined = mask if defined is None else defined & mask
    return channels[0] if len(channels) == 1 else np.concatenate(channels), defined


def _unpack(
    path: Path, plane: Plane, level: Level, window: Window
) -> tuple[Values, ArrayMask | None]:
    """Unpack the pieces under a window: (separate, height, width, samples), and where stored."""
    top, bottom, left, right = window
    size = (bottom - top, right - left)
    pixels = np.zeros((level.shape[0], *size, level.shape[3]), level.dtype.newbyteorder("="))
    absent: ArrayMask | None = None
    with listening(), TiffFile(path) as tiff:  # what it says was judged at opening
        page = page_at(tiff, plane.offset)
        tables: dict[str, Any] = {}
        if page.compression in _JPEG:
            tables = {"jpegtables": page.jpegtables, "jpegheader": page.jpegheader}
        for index in _pieces_under(page, window):
            offset, count = page.dataoffsets[index], page.databytecounts[index]
            tiff.filehandle.seek(offset)
            packed = tiff.filehandle.read(count) if offset and count else None
            if packed is not None and len(packed) < count:
                raise Unreadable(path, "expected a readable image, got: the file is truncated.")
            piece, (sample, _, row, column, _), shape = page.decode(packed, index, **tables)
            rows = slice(max(row, top), min(row + shape[1], bottom))
            columns = slice(max(column, left), min(column + shape[2], right))
            here = (
                slice(rows.start - top, rows.stop - top),
                slice(columns.start - left, columns.stop - left),
            )
            if piece is None:  # never written: a sparse file, or one that was not finished
                absent = np.zeros(size, bool) if absent is None else absent
                absent[here] = True
                continue
            pixels[(sample, *here)] = piece[
                0,
                rows.start - row : rows.stop - row,
                columns.start - column : columns.stop - column,
            ]
    return pixels, None if absent is None else ~absent


def _piece_size(page: TiffPage) -> tuple[int, int]:
    """(height, width) of a tile or strip."""
    if page.is_tiled:
        return page.tilelength, page.tilewidth
    return min(page.rowsperstrip, page.imagelength), page.imagewidth


def _pieces_under(page: TiffPage, window: Window) -> list[int]:
    """Indices of the tiles or strips that a window touches."""
    top, bottom, left, right = window
    height, width = _piece_size(page)
    down, across = math.ceil(page.imagelength / height), math.ceil(page.imagewidth / width)
    rows = range(top // height, (bottom - 1) // height + 1)
    columns = range(left // width, (right - 1) // width + 1)
    return [
        (sample * down + row) * across + column
        for sample, row, column in product(range(page.shaped[0]), rows, columns)
    ]


def page_at(tiff: TiffFile, offset: int) -> TiffPage:
    """Read the directory (IFD) at a place of the file.

    Args:
        tiff: open.
        offset: in bytes.

    Returns:
        The page.
    """
    tiff.filehandle.seek(offset)
    return TiffPage(tiff, 0)


def _one_bit(page: TiffPage) -> bool:
    """Whether so few bytes are stored that a page can be of 1 bit, as it says by default."""
    height, width = _piece_size(page)
    pieces = len(page.databytecounts)
    most = pieces * height * ((width + 7) // 8)
    # What packing adds to each piece: of those in use LZMA the most, 68 bytes and more.
    room = 0 if page.compression == 1 else most // 10 + 96 * pieces
    return page.samplesperpixel == 1 and sum(page.databytecounts) <= most + room


def check_page(path: Path, tiff: TiffFile, page: TiffPage) -> None:
    """Refuse a page whose size and stored bytes cannot belong together.

    Args:
        path: of the file, for the sentence.
        tiff: open.
        page: of it.
    """
    lost = [name for code, name in _REQUIRED.items() if code not in page.tags]
    if lost == ["BitsPerSample"] and _one_bit(page):  # the only one that may be left out
        lost = []
    if lost:  # tifffile would go on with a default
        raise Unreadable(path, f"expected the tag {lost[0]}, got a TIFF without; save it anew.")
    height, width = _piece_size(page)
    if min(height, width, page.imagelength, page.imagewidth, page.samplesperpixel) < 1:
        raise Unreadable(path, "expected a readable image, got one without pixels.")
    size = f"{page.imagelength} x {page.imagewidth} pixels"
    samples = page.shaped[4]
    piece = height * width * samples * np.dtype(page.dtype).itemsize
    if piece > MOST:
        raise Unreadable(
            path,
            f"expected tiles or strips of at most {MOST} bytes, got {piece} in an image of "
            f"{size}; save it in tiles.",
        )
    pieces = page.shaped[0] * math.ceil(page.imagelength / height)
    pieces *= math.ceil(page.imagewidth / width)
    if not len(page.dataoffsets) == len(page.databytecounts) == pieces:
        raise Unreadable(
            path,
            f"expected {pieces} tiles or strips for {size}, got {len(page.dataoffsets)}; "
            f"the file is damaged.",
        )
    offsets, counts = np.array(page.dataoffsets), np.array(page.databytecounts)
    present = (offsets > 0) & (counts > 0)
    if present.any() and int((offsets + counts)[present].max()) > tiff.filehandle.size:
        raise Unreadable(
            path,
            f"expected a readable image, got: the file is truncated at {tiff.filehandle.size} "
            f"bytes; copy it again.",
        )
    if page.compression != 1 and int(counts.max()) > 4 * piece + 2**16:
        raise Unreadable(
            path, f"expected tiles or strips of {piece} bytes, got {counts.max()}; it is damaged."
        )
    stored, full = int(counts[present].sum()), int(present.sum()) * piece
    if full > _MOST_PACKED * stored and present.any():
        raise Unreadable(
            path, f"expected an image, got {stored} bytes for {size}; the header is wrong."
        )


def mapped_at(page: TiffPage) -> int | None:
    """Where the pixels lie in the file as they are, in one run; None if packed or scattered."""
    if not page.is_final or min(page.dataoffsets) <= 0:
        return None
    return page.dataoffsets[0] if sum(page.databytecounts) >= page.nbytes else None
