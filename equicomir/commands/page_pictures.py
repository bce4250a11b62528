"""The pictures of a registration's page: a few hundred pixels of images of any size.

A page is looked at whole and kept for years, so it holds no more pixels than a screen shows.
What an image says between those is averaged, not left out: else a fine pattern would be seen as a
coarse one that is not there.
"""

import base64
import html
import io
import itertools
import math
from collections.abc import Sequence

import numpy as np
from PIL import Image
from scipy import ndimage

from equicomir.geometry import inverse, pixel_centres, transform_points
from equicomir.shapes import Array, ArrayMask, Matrix

LONGEST_SIDE = 900  # pixels of a picture
_LARGEST_PNG = 500_000  # bytes; beyond, JPEG, so that a page of noise too stays below 5 MB
_NOTHING = (226, 231, 240)  # colour of what is not defined, where it cannot be transparent
_COPPER = (1.25, 0.78, 0.5)  # of white; what is above 1 is cut
_WIDTH, _HEIGHT = 360, 218  # of the curve, in units of 1/11 of its letters
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 8, 28, 38  # its margins
_Bytes = np.ndarray[tuple[int, ...], np.dtype[np.uint8]]


def page_step(size: tuple[int, int], longest: int | None = None) -> float:
    """How many pixels of an image of this (height, width) one pixel of the page stands for.

    Args:
        size: of the image.
        longest: side of the picture, in pixels; ``LONGEST_SIDE`` if None.

    Returns:
        At least 1.
    """
    return max(1.0, max(size) / (longest or LONGEST_SIDE))


def page_places(size: tuple[int, int], longest: int | None = None) -> Array:
    """Where the pixels of the page's pictures lie in the fixed image.

    Args:
        size: (height, width) of the fixed image, in pixels.
        longest: greatest number of rows and columns; ``LONGEST_SIDE`` if None.

    Returns:
        (2, rows, columns), as (row, column), in pixels of the fixed image. An image that is not
        larger is taken pixel by pixel.

    Example:
        >>> page_places((4, 3))[:, 2, 1].tolist(), page_places((1800, 9)).shape
        ([2.0, 1.0], (2, 900, 4))
    """
    step = page_step(size, longest)
    rows, columns = (max(1, int(n / step + 1e-9)) for n in size)
    return pixel_centres(rows, columns).T.reshape(2, rows, columns) * step + (step - 1) / 2


def places_in_moving(
    moving_to_fixed: Matrix, places: Array, displacement: Array | None = None
) -> Array:
    """Where places of the fixed image come from in the moving one.

    Args:
        moving_to_fixed: 3 x 3 matrix; not looked at where there is a displacement.
        places: (2, rows, columns), in pixels of the fixed image.
        displacement: (2, height, width) in pixels on the fixed image's grid, or None.

    Returns:
        The shape of ``places``, in pixels of the moving image.

    Example:
        >>> from equicomir.geometry import rigid
        >>> places_in_moving(rigid(0, (3, 1)), page_places((9, 9)))[:, 4, 4].tolist()
        [1.0, 3.0]
    """
    if displacement is None:
        points = places.reshape(2, -1).T
        return transform_points(inverse(moving_to_fixed), points).T.reshape(places.shape)
    moved = [ndimage.map_coordinates(d, places, order=1, mode="nearest") for d in displacement]
    return np.asarray(places + np.stack(moved))


def seen_at(image: Array, mask: ArrayMask, places: Array, step: float) -> tuple[Array, ArrayMask]:
    """What is seen of an image at some places, about ``step`` of its pixels apart.

    Args:
        image: (channels, height, width), finite where the mask is true.
        mask: (height, width), true where the image is defined.
        places: (2, rows, columns), in pixels of the image.
        step: at least 1; finer detail than that is averaged away.

    Returns:
        (channels, rows, columns), zero where not defined, and where it is.

    Example:
        >>> image = np.arange(12.0).reshape(1, 3, 4)
        >>> came, inside = seen_at(image, image[0] != 5, page_places((3, 4)), 1.0)
        >>> bool((came == np.where(inside, image, 0)).all()), int(inside.sum())
        (True, 11)
    """
    block = int(step)
    firsts = [np.arange(0, n, block) for n in mask.shape]

    def sums(plane: Array) -> Array:
        by_rows = np.add.reduceat(plane, firsts[0], axis=0, dtype=np.float64)
        total = np.add.reduceat(by_rows, firsts[1], axis=1)
        # Blocks have taken most of the fine detail away; this takes the rest.
        sigma = 0.5 * math.sqrt(max(0.0, (step / block) ** 2 - 1))
        return np.asarray(ndimage.gaussian_filter(total, sigma)) if sigma else total

    within = (places - (block - 1) / 2) / block
    counts = sums(mask.astype(np.float32))
    last = np.array(mask.shape)[:, None, None] - 1
    inside = ((places >= -1e-6) & (places <= last + 1e-6)).all(0)
    nearest = np.clip(np.rint(places), 0, last).astype(np.int64)
    inside &= mask[nearest[0], nearest[1]]
    planes = []
    for plane in image:
        means = sums(np.where(mask, plane, 0)) / np.maximum(counts, 1e-9)
        values = ndimage.map_coordinates(means, within, order=1, mode="nearest")
        planes.append(np.where(inside, values, 0))
    return np.stack(planes), inside


def stretched(image: Array, inside: ArrayMask) -> Array:
    """Values between their 1st and 99th percentiles, 0 to 1, for the eye.

    Args:
        image: (channels, height, width).
        inside: (height, width), what the percentiles are of.

    Returns:
        The shape of ``image``.
    """
    low, high = np.percentile(image[:, inside], [1, 99]) if inside.any() else (0.0, 1.0)
    return np.asarray(np.clip((image - low) / max(high - low, 1e-12), 0, 1))


def around_median(image: Array, inside: ArrayMask) -> Array:
    """The mean of the channels, 0 to 1, with the median at one half.

    The level of a representation means nothing; what deviates from it looks alike in both.

    Args:
        image: (channels, height, width).
        inside: (height, width), what the median is of.

    Returns:
        (1, height, width).
    """
    grey = image.mean(0, keepdims=True)
    deviation = grey - (np.median(grey[:, inside]) if inside.any() else 0.0)
    reach = np.percentile(np.abs(deviation[:, inside]), 98) if inside.any() else 0.0
    return np.asarray(np.clip(0.5 + deviation / max(2 * reach, 1e-12), 0, 1))


def checkerboard(fixed: Array, moving: Array, inside: ArrayMask, tiles: int = 8) -> Array:
    """Fixed (grey) and moving (copper) in alternating tiles.

    Args:
        fixed: (channels, height, width), 0 to 1.
        moving: likewise, on the same grid.
        inside: (height, width), where the moving image is defined; fixed is shown elsewhere.
        tiles: along the longer side.

    Returns:
        (3, height, width), 0 to 1.
    """
    side = max(1.0, max(inside.shape) / tiles)
    rows, columns = np.indices(inside.shape)
    take_moving = ((rows // side + columns // side) % 2 == 1) & inside
    grey, other = (image.mean(0, keepdims=True) for image in (fixed, moving))
    copper = np.minimum(other * np.array(_COPPER)[:, None, None], 1)
    return np.where(take_moving, copper, grey)


def embedded(picture: Array, inside: ArrayMask) -> str:
    """A picture as the address that an ``img`` takes, with all its data.

    Args:
        picture: (1 or 3, height, width), 0 to 1.
        inside: (height, width); what is not is transparent, or pale where the picture is so
            large that only JPEG makes it small enough.

    Returns:
        ``data:image/png;base64,...``, or jpeg.
    """
    values = np.rint(255 * picture).astype(np.uint8)
    alpha = np.where(inside, 255, 0).astype(np.uint8)[None]
    planes = np.concatenate([values, alpha]) if not inside.all() else values
    file = io.BytesIO()
    Image.fromarray(_last(planes)).save(file, "PNG")
    kind = "png"
    if file.tell() > _LARGEST_PNG:
        coloured = np.broadcast_to(values, (3, *inside.shape))
        coloured = np.where(inside, coloured, np.array(_NOTHING, np.uint8)[:, None, None])
        file, kind = io.BytesIO(), "jpeg"
        Image.fromarray(_last(coloured)).save(file, "JPEG", quality=85)
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"


def _last(planes: _Bytes) -> _Bytes:
    """Channels last, as pillow wants them; one alone has no axis."""
    return np.ascontiguousarray(planes[0] if len(planes) == 1 else planes.transpose(1, 2, 0))


def curve(score_by_angle: Sequence[tuple[float, float]], found_degrees: float) -> str:
    """Score against angle as SVG for a page, with the angle found.

    Args:
        score_by_angle: (degrees, score); those that are not finite are left out.
        found_degrees: the angle found, in (-180, 180].

    Returns:
        The element; empty where fewer than two angles have a score.
    """
    points = sorted(((a + 180) % 360 - 180, s) for a, s in score_by_angle if math.isfinite(s))
    if len(points) < 2:
        return ""
    ticks = _ticks(min(s for _, s in points), max(s for _, s in points))

    def across(degrees: float) -> float:
        return _LEFT + (degrees + 180) / 360 * (_WIDTH - _LEFT - _RIGHT)

    def down(score: float) -> float:
        share = (score - ticks[0]) / (ticks[-1] - ticks[0])
        return _HEIGHT - _BOTTOM - share * (_HEIGHT - _TOP - _BOTTOM)

    bottom, at = down(ticks[0]), across(found_degrees)
    parts = []
    for tick in ticks:
        y = down(tick)
        parts += [
            f'<line class="grid" x1="{_LEFT}" x2="{_WIDTH - _RIGHT}" y1="{y:.2f}" y2="{y:.2f}"/>',
            f'<text x="{_LEFT - 5}" y="{y + 3.5:.2f}" text-anchor="end">{tick:g}</text>',
        ]
    for angle in range(-180, 181, 60):
        x, anchor = across(angle), "end" if angle == 180 else "middle"
        parts += [
            f'<line class="tick" x1="{x:.2f}" x2="{x:.2f}" y1="{bottom}" y2="{bottom + 4}"/>',
            f'<text x="{x:.2f}" y="{bottom + 16}" text-anchor="{anchor}">{angle}°</text>',
        ]
    for stretch in _stretches(points):
        line = " ".join(f"{across(a):.2f},{down(s):.2f}" for a, s in stretch)
        parts.append(f'<polyline points="{line}"/>')
    side = "end" if found_degrees > 0 else "start"
    label = html.escape(
        f"Score at {len(points)} angles, in degrees; found: {found_degrees:.1f} degrees"
    )
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    return (
        f'<svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" aria-label="{label}">{"".join(parts)}'
        f'<line class="found" x1="{at:.2f}" x2="{at:.2f}" y1="{_TOP - 9}" y2="{bottom}"/>'
        f'<text class="found" x="{at + (-3 if side == "end" else 3):.2f}" y="{_TOP - 14}" '
        f'text-anchor="{side}">found: {found_degrees:.1f}°</text>'
        f'<text x="2" y="{_TOP - 14}">score</text>'
        f'<text x="{middle:g}" y="{_HEIGHT - 4}" text-anchor="middle">angle tried, degrees</text>'
        "</svg>"
    )


def _stretches(points: Sequence[tuple[float, float]]) -> list[list[tuple[float, float]]]:
    """Points along the circle, parted where some between them have no score."""
    gaps = np.diff([angle for angle, _ in points])
    ends = np.flatnonzero(gaps > 1.5 * np.median(gaps)) + 1
    edges = [0, *ends.tolist(), len(points)]
    return [list(points[a:b]) for a, b in itertools.pairwise(edges)]


def _ticks(low: float, high: float) -> list[float]:
    """Four to seven round numbers that span a range."""
    spread = max(high - low, 1e-6 * max(1.0, abs(high)))
    power = 10 ** math.floor(math.log10(spread / 3))
    for step in (power, 2 * power, 5 * power, 10 * power):
        first = math.floor(low / step + 1e-9)
        last = math.ceil((low + spread) / step - 1e-9)
        if last - first <= 6:
            break
    return [round(n * step, 12) for n in range(first, last + 1)]
