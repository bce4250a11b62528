"""TIFF, BigTIFF and OME-TIFF: what is in them, which of their axes are channels.

A file may hold several images, pyramids, depths and times. One image is taken, its finest level
first; axes that are neither rows, columns nor channels are refused until the caller says which
plane, because a guess would be a wrong image that looks right.
"""

import math
import re
from functools import partial
from pathlib import Path

import numpy as np
from tifffile import TiffFile, TiffPage, TiffPageSeries

from equicomir.images.opened import ImageFile, Unreadable, image_file
from equicomir.images.tiff_labels import labels
from equicomir.images.tiff_pixels import (
    Colours,
    Level,
    Plane,
    check_page,
    listening,
    mapped_at,
    page_at,
    read_level,
)

# Layouts whose planes are read as they are described; others need their maker's reader.
_LAYOUTS = {"shaped", "ome", "imagej", "uniform", "generic", "svs", "qpi"}
_AXES = {"Z": "depth", "T": "time", "I": "unnamed pages", "Q": "an unnamed axis"}
_COLOURS = {5: "CMYK", 8: "CIELAB", 9: "ICCLAB", 10: "ITULAB", 32803: "raw sensor", 32844: "LogL"}
_JPEG = {6, 7}


def _notes(path: Path, messages: list[str]) -> list[str]:
    """Notes on what was said of unimportant tags; everything else means damage."""
    notes = []
    for message in messages:
        tag = re.search(r"TiffTag (\d+)", message)
        if tag is None or 254 <= int(tag[1]) <= 347:
            plain = re.sub(r"^<.*?>\s*|^.*?(?=OME series|ImageJ series)", "", message)
            raise Unreadable(path, f"expected a whole TIFF, got: {plain[:160].rstrip('.')}.")
        notes.append(f"the tag {tag[1]} is damaged and was ignored")
    return notes


def open_tiff(path: Path, image: int | None, plane: int | slice | None) -> ImageFile:
    """Look into a TIFF; as :func:`equicomir.images.files.open_image`."""
    with listening() as messages, TiffFile(path) as tiff:
        len(tiff.pages)  # counted first, a chain of pages that bites its tail is found; else never
        every = tiff.series
        _notes(path, messages)  # before anything is said of what damage has left
        series = _series(path, every, image)
        index = next(i for i, s in enumerate(every) if s is series)
        first = series.keyframe
        planes, names = _planes(path, series, plane)
        levels = tuple(_level(path, tiff, one, planes, series) for one in series.levels)
        notes = _notes(path, messages)
        colours, told = _colours(path, first)
        pixel_size, channel_names = labels(tiff, index)
        samples = first.shaped[0] * first.shaped[4]
        channels = len(planes) * colours.channels(samples)
        if names:
            channel_names = ()
        if len(channel_names) != channels and len(planes) == 1 and first.photometric in (2, 6):
            channel_names = ("red", "green", "blue")
        dtype = levels[0].dtype if colours.palette is None else colours.palette.dtype
        return image_file(
            path,
            "TIFF",
            dtype,
            channels,
            [level.shape[1:3] for level in levels],
            partial(read_level, path, levels, colours),
            orientation=int(first.tags.valueof(274, default=1)),
            stored_pixel_size=pixel_size,
            channel_names=channel_names,
            notes=notes + told + names,
        )


def _series(path: Path, every: list[TiffPageSeries], image: int | None) -> TiffPageSeries:
    """The one image asked for; without asking, the first, if it is the largest."""
    if not every:
        raise Unreadable(path, "expected a readable image, got a TIFF without pages.")
    sizes = [math.prod(s.keyframe.shaped[1:4]) for s in every]
    if image is None and max(sizes[1:], default=0) >= sizes[0]:
        shown = ", ".join("{2} x {3}".format(*s.keyframe.shaped) for s in every[:6])
        raise Unreadable(
            path,
            f"expected one image, got {len(every)} ({shown} pixels); choose one with "
            f"image=0 to {len(every) - 1}, or save it alone.",
        )
    if image is not None and not 0 <= image < len(every):
        raise Unreadable(path, f"expected image from 0 to {len(every) - 1}, got {image}.")
    series = every[image or 0]
    if series.is_multifile:
        raise Unreadable(path, "expected one file, got a part of many; save it as one OME-TIFF.")
    if series.kind not in _LAYOUTS or series.transform is not None:
        raise Unreadable(
            path, f"expected a plain or OME-TIFF, got {series.kind}; save it as OME-TIFF."
        )
    if series.keyframe.dtype is None or series.keyframe.dtype.kind not in "buif":
        page = series.keyframe
        came = page.dtype or f"{page.bitspersample} bit of sample format {page.sampleformat}"
        raise Unreadable(path, f"expected integers or floats, got {came}.")
    return series


def _planes(
    path: Path, series: TiffPageSeries, plane: int | slice | None
) -> tuple[list[int], list[str]]:
    """Which stored planes become channels, in order; and a note if the caller chose them."""
    page = series.keyframe
    separate, depth, height, width, samples = page.shaped
    axes = [
        (a, n) for a, n in zip(series.axes, series.shape, strict=True) if n > 1 or a in ("Y", "X")
    ]
    letters = "".join(a for a, _ in axes)
    row = letters.find("YX")
    before, count, split = axes[: max(row, 0)], 1, 0
    while split < len(before) and count < len(series):
        count *= before[split][1]
        split += 1
    inner = math.prod(n for _, n in before[split:])
    outside = math.prod(n for _, n in axes[row + 2 :])
    ours = [n for a, n in axes if a in ("Y", "X")]
    stored = ([height, width], len(series), separate, samples)
    if row < 0 or depth > 1 or (ours, count, inner, outside) != stored:
        raise Unreadable(
            path,
            f"expected planes of rows and columns, got {series.shape} with axes {series.axes}; "
            f"save it as OME-TIFF.",
        )
    outer = before[:split]
    order = np.arange(count).reshape([n for _, n in outer] or [1])
    stack = [k for k, (a, _) in enumerate(outer) if a not in ("C", "S")]
    order = np.moveaxis(order, stack, range(len(stack)))
    order = order.reshape(math.prod(outer[k][1] for k in stack), -1)
    if plane is None and len(order) > 1:
        told = " and ".join(
            f"{outer[k][1]} of {_AXES.get(outer[k][0], outer[k][0])}" for k in stack
        )
        raise Unreadable(
            path,
            f"expected one plane, got a stack ({told}); save one plane, or choose one with "
            f"plane=0 to {len(order) - 1}, or take all as channels with plane=slice(None).",
        )
    if isinstance(plane, int) and not 0 <= plane < len(order):
        raise Unreadable(path, f"expected plane from 0 to {len(order) - 1}, got {plane}.")
    chosen = order[0 if plane is None else plane].ravel()
    if not len(chosen):
        raise Unreadable(path, f"expected planes of 0 to {len(order) - 1}, got {plane}.")
    kept = [] if not isinstance(plane, slice) else [f"{len(chosen)} planes taken as channels"]
    return chosen.tolist(), kept


def _level(
    path: Path, tiff: TiffFile, level: TiffPageSeries, planes: list[int], series: TiffPageSeries
) -> Level:
    """Where the chosen planes of a level are, each one checked."""
    run = level.dataoffset  # all planes in one run, perhaps under one directory
    found = []
    page: TiffPage = level.keyframe
    if len(level) != len(series):
        raise Unreadable(path, "expected levels of as many planes, got fewer; save it anew.")
    for index in planes:
        frame = level[index] if run is None else level.keyframe
        if frame is None:
            raise Unreadable(path, f"expected plane {index}, got a file without it.")
        page = page_at(tiff, frame.offset)
        if page.shaped[0::4] != series.keyframe.shaped[0::4] or page.dtype != series.dtype:
            raise Unreadable(path, "expected planes of one kind, got different ones.")
        if page.shaped != level.keyframe.shaped or page.photometric != level.keyframe.photometric:
            raise Unreadable(path, "expected planes of one size and colour, got different ones.")
        check_page(path, tiff, page)
        offset = mapped_at(page) if run is None else run + index * page.nbytes
        if offset is not None and offset + page.nbytes > tiff.filehandle.size:
            raise Unreadable(
                path,
                f"expected a readable image, got: the file is truncated at "
                f"{tiff.filehandle.size} bytes; copy it again.",
            )
        found.append(Plane(frame.offset if offset is None else offset, offset is not None))
    separate, _, height, width, samples = page.shaped
    dtype = np.dtype(page.dtype).newbyteorder(tiff.byteorder)
    return Level(tuple(found), (separate, height, width, samples), dtype)


def _colours(path: Path, page: TiffPage) -> tuple[Colours, list[str]]:
    """What the samples mean, and notes for a person."""
    bits, dtype, meaning = page.bitspersample, np.dtype(page.dtype), int(page.photometric)
    extra = tuple(map(int, page.extrasamples))
    first_extra = page.samplesperpixel - len(extra)
    unconverted = meaning == 6 and page.compression not in _JPEG
    if meaning not in (0, 1, 2, 3, 4, 6) or unconverted or not isinstance(bits, int):
        came = _COLOURS.get(meaning, f"{page.photometric!s} of {bits} bit")
        raise Unreadable(path, f"expected grey, RGB or channels, got {came}; convert it to RGB.")
    if meaning in (2, 6) and first_extra < 3:
        raise Unreadable(path, f"expected 3 colours, got {first_extra}; the file is damaged.")
    notes = []
    alpha = next((first_extra + k for k, kind in enumerate(extra) if kind in (1, 2)), None)
    if alpha == 0:
        raise Unreadable(path, "expected an image, got an alpha channel alone.")
    opaque = 1.0 if dtype.kind in "fb" else float(np.iinfo(dtype).max)
    if dtype.kind == "u":
        opaque = float(2**bits - 1)
    if alpha is not None:
        notes.append("the alpha channel is dropped where fully opaque, undefined elsewhere")
    if meaning == 0:
        notes.append("0 is white in the file; values are read as stored, so that dark is high")
    palette = None
    if meaning == 3:
        palette = page.colormap
        if palette is None or dtype.kind not in "ub" or page.samplesperpixel != 1:
            raise Unreadable(path, "expected a palette of colours, got none; convert it to RGB.")
        if palette.shape != (3, 2**bits):
            raise Unreadable(path, "expected a palette as long as its values; convert it to RGB.")
        if (palette % 257 == 0).all() or (palette % 256 == 0).all():
            palette = (palette >> 8).astype(np.uint8)
        notes.append("the palette's colours are read, not its indices")
    return Colours(palette, alpha, opaque), notes
