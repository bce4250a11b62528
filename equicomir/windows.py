"""How far a representation looks, and so what a window of an image must hold.

A pixel of a representation depends on the image no further away than the encoder's *reach*. So
windows that overlap by twice the reach, begin on the network's coarsest grid, and end where the
continued image ends, make together what the whole image makes: :mod:`equicomir.tiles`.
"""

import numbers
from typing import NamedTuple

from equicomir.images.layer_names import layer_of
from equicomir.representations import EncoderSettings

#: Height and width of a window, in pixels: ``benchmarks/tiled_encoding.py`` prints why.
TILE = 512


class Strip(NamedTuple):
    """One axis of a window that goes through the network, in pixels of the continued image.

    Attributes:
        start: its first pixel.
        stop: past its last pixel.
        first: the first pixel it answers for.
        past: past the last pixel it answers for.
    """

    start: int
    stop: int
    first: int
    past: int


def reach(settings: EncoderSettings) -> int:
    """How far a pixel of a representation looks, in pixels, without the extra layers; exactly.

    It is the sum of what each step adds, measured between pixel centres: of convolutions, of
    pooling on the way down and of bilinear doubling on the way up, each times the distance of
    the pixels that it works on.

    Args:
        settings: of the encoder.

    Returns:
        The greatest distance, along rows or columns, at which a pixel of the image matters.

    Raises:
        ValueError: a Tiramisu, which looks too far for tiles.

    Example:
        >>> reach(EncoderSettings(widths=(2,), kernel_size=5))
        2
        >>> reach(EncoderSettings())
        38
    """
    if settings.family == "tiramisu":
        # 630 of its dense blocks, pooling and upsampling, 256 of the bottleneck, 1 of the start.
        raise ValueError(
            "model: expected an encoder that looks no further than a tile ('steerable', "
            "'roto_translation' or 'plain'), got 'tiramisu', which looks 887 pixels far; "
            "encode the whole image."
        )
    block = settings.kernel_size // 2
    # Half the taps less one, in fine pixels: 2, 6 taps in the even scheme, 3, 7 in the odd one.
    down = {"average": 0.5, "blur": 2.5}[settings.pooling]
    up = 1.5  # a pixel lies a quarter of a coarse one off its own, three off the next
    if settings.parity == "odd":
        down, up = down + 0.5, 1.0
    smooth = 1 if settings.pooling == "blur" else 0
    levels = len(settings.widths) - 1
    # Two blocks work on the coarser pixels, twice as far apart, and one on the finer ones.
    each = down + 2 * 2 * block + up + smooth + block
    return int(block + sum(2**level * each for level in range(levels)))


def overlap(settings: EncoderSettings) -> int:
    """What a window must hold around the pixels it answers for: whole pixels of the coarsest grid.

    Args:
        settings: of the encoder; its extra layers count twice their reach.

    Returns:
        In pixels, at least the reach.

    Raises:
        ValueError: as for :func:`reach`.

    Example:
        >>> overlap(EncoderSettings())
        40
    """
    around = max((2 * layer_of(name).reach for name in settings.layers), default=0)
    grid = _grid(settings)[0]
    return -(-(reach(settings) + around) // grid) * grid


def smallest_tile(settings: EncoderSettings) -> int:
    """The smallest window, in pixels, that answers for any: one pixel of the coarsest grid.

    Raises:
        ValueError: as for :func:`reach`.

    Example:
        >>> smallest_tile(EncoderSettings())
        84
    """
    grid, offset = _grid(settings)
    return grid + offset + 2 * overlap(settings)


def default_tile(settings: EncoderSettings) -> int:
    """The size of windows, in pixels, that is taken where none is asked for.

    :data:`TILE`, or four times the smallest if that is more: then at least half of a window's
    pixels are answered for.

    Raises:
        ValueError: as for :func:`reach`.

    Example:
        >>> default_tile(EncoderSettings()), default_tile(EncoderSettings(widths=(1,) * 5))
        (512, 1600)
    """
    return max(TILE, 4 * smallest_tile(settings))


def checked_tile(tile: int | None, settings: EncoderSettings) -> int:
    """The tile asked for, or the default.

    Args:
        tile: in pixels; None for the default.
        settings: of the encoder.

    Returns:
        In pixels.

    Raises:
        TypeError: it is no whole number.
        ValueError: it is too small, or as for :func:`reach`.

    Example:
        >>> checked_tile(None, EncoderSettings()), checked_tile(84, EncoderSettings())
        (512, 84)
    """
    least = smallest_tile(settings)
    if tile is None:
        return default_tile(settings)
    if isinstance(tile, bool) or not isinstance(tile, numbers.Integral):
        raise TypeError(f"tile: expected a whole number of pixels, got {type(tile).__name__}.")
    if tile < least:
        raise ValueError(
            f"tile: expected at least {least} pixels, as this encoder looks {overlap(settings)} "
            f"pixels around, got {tile}; choose {least}, or faster {default_tile(settings)}."
        )
    return int(tile)


def strips(extent: int, tile: int, settings: EncoderSettings) -> list[Strip]:
    """Cover one axis of an image that has been continued to a valid size.

    Args:
        extent: valid for the encoder, in pixels.
        tile: greatest length of a window, in pixels, at least :func:`smallest_tile`.
        settings: of the encoder.

    Returns:
        Windows of valid lengths, whose answers join without gap.

    Example:
        >>> for strip in strips(200, 124, EncoderSettings()):
        ...     print(*strip)
        0 124 0 84
        44 168 84 128
        88 200 128 200
    """
    around, (grid, offset) = overlap(settings), _grid(settings)
    length = (tile - offset) // grid * grid + offset
    step = length - offset - 2 * around
    starts = range(0, max(1, extent - length + step), step)
    return [
        Strip(
            start,
            min(start + length, extent),
            start + around if start else 0,
            start + step + around if start + length < extent else extent,
        )
        for start in starts
    ]


def _grid(settings: EncoderSettings) -> tuple[int, int]:
    """Sizes of windows are multiples of the first, plus the second, as those of images are."""
    return 2 ** (len(settings.widths) - 1), int(settings.parity == "odd")
