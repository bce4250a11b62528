"""The whole circle at once: every angle, scale and mirror image by every translation.

At one scale, and that a coarse one: angles are so close that the rim moves by two pixels from one
to the next, and at each the sums over the overlap are taken for all translations in Fourier space.
What is found here is where :mod:`equicomir.registration.frame` starts to climb.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from equicomir.geometry import image_centre, inverse, rigid, warp
from equicomir.registration.measures import (
    Measure,
    View,
    is_rough,
    masked_channels,
    sums_at_half_turns,
)
from equicomir.shapes import Matrix

_AT_ONCE = 2**21  # numbers in a batch of sums: more than a processor's own memory is slower
_ROUGHLY = 0.98  # of the overlap asked for, where it is summed over blocks
_STEP_PIXELS = 2.0  # by which the rim moves from one angle, or one scale, to the next
_APART = 1.5  # steps between two distinct starts


@dataclass(frozen=True)
class Start:
    """One rotation, scale and mirror image, at its best translation.

    Attributes:
        degrees: of the rotation.
        scale: magnification of the moving image.
        mirrored: whether the moving image is mirrored first.
        moving_to_fixed: all of it, with the translation, in pixels of the scale it was tried at.
        score: of the measure, by how much it overlaps.
    """

    degrees: float
    scale: float
    mirrored: bool
    moving_to_fixed: Matrix
    score: float


def all_starts(
    measure: Measure,
    fixed: View,
    moving: View,
    minimum_overlap: float,
    scales: tuple[float, float],
    mirrors: bool,
) -> list[Start]:
    """The best of all translations at each angle, scale and mirror image.

    Args:
        measure: of agreement.
        fixed: at the scale at which all are tried.
        moving: likewise.
        minimum_overlap: fraction of the smaller mask's pixels that overlap, in (0, 1].
        scales: least and greatest magnification of the moving image.
        mirrors: whether its mirror image is tried too.

    Returns:
        One start for each; its score, times overlap^growth of the measure, is minus infinity
        where no overlap is large enough or has content.

    Source:
        Öfverstedt, Lindblad, Sladoje 2022, CMIF, arXiv 2106.14699: angles, by all translations.
    """
    shape, moving_shape = fixed.mask.shape[-2:], moving.mask.shape[-2:]
    radius = min(*shape, *moving_shape) / 2
    count = 4 * math.ceil(2 * math.pi * radius / _STEP_PIXELS / 4)
    span = math.log(scales[1] / scales[0])
    magnifications = np.geomspace(*scales, 1 + math.ceil(span * radius / _STEP_PIXELS))
    starts = []
    for scale in magnifications.tolist():
        most = min(float(fixed.mask.sum()), scale**2 * float(moving.mask.sum()))
        least = minimum_overlap * most
        margin = _margin(shape, moving_shape, scale, least)
        channels = masked_channels(measure, fixed.content, fixed.mask).float()
        size, corner = _canvas(shape, moving_shape, scale)
        lags = (2 * margin[0] + 1, 2 * margin[1] + 1)
        origin = (margin[0] + corner[0], margin[1] + corner[1])
        padded = math.prod(n + side for n, side in zip(shape, size, strict=True))
        at_once = max(1, _AT_ONCE // (len(measure.sums) * padded))
        sums_of = sums_at_half_turns(measure, channels, size, lags, origin)
        for mirrored in (False, True)[: 1 + mirrors]:
            turns = [
                (i * 360 / count, _turned(i * 360 / count, scale, mirrored, shape, moving_shape))
                for i in range(count)
            ]
            half = count // 2
            for first in range(0, half, at_once):
                upper = turns[first : min(half, first + at_once)]
                lower = turns[first + half : first + half + len(upper)]
                canvas = _on_canvas(measure, moving, [x for _, x in upper], size, corner)
                both = sums_of(canvas)
                for some, sums in zip((upper, lower), both, strict=True):
                    scores = _scores(measure, sums, least, most, is_rough(measure, channels))
                    for (degrees, matrix), surface in zip(some, scores, strict=True):
                        row, column = divmod(int(surface.argmax()), surface.shape[1])
                        moved = rigid(0, (margin[0] - row, margin[1] - column)) @ matrix
                        score = float(surface[row, column])
                        starts.append(Start(degrees, scale, mirrored, moved, score))
    starts.sort(key=lambda start: (start.scale, start.mirrored, start.degrees))
    return starts


def _scores(measure: Measure, sums: Tensor, least: float, most: float, rough: bool) -> Tensor:
    """By which lags are compared; minus infinity where the overlap is too small."""
    if rough:
        least *= _ROUGHLY
    enough = sums[0] >= least - 0.5  # counts, but for rounding
    if measure.growth:
        scores = measure.score(sums) * (sums[0].clamp(min=0) / most) ** measure.growth
        return scores.nan_to_num_(nan=-torch.inf).masked_fill_(~enough, -torch.inf)
    # These have many sums: gathering costs less than needless scores.
    scores = torch.full_like(sums[0], -torch.inf)
    scores[enough] = measure.score(sums[:, enough]).nan_to_num(nan=-torch.inf)
    return scores


def _margin(
    shape: tuple[int, ...], moving_shape: tuple[int, ...], scale: float, least: float
) -> tuple[int, int]:
    """How far from centre on centre a translation can lie, in pixels, for the overlap asked for."""
    (height, width), diagonal = shape, scale * math.hypot(*moving_shape)
    rows = (height + diagonal) / 2 - least / min(width, diagonal)
    columns = (width + diagonal) / 2 - least / min(height, diagonal)
    return max(1, math.ceil(rows)), max(1, math.ceil(columns))


def _canvas(
    shape: tuple[int, ...], moving_shape: tuple[int, ...], scale: float
) -> tuple[tuple[int, int], tuple[int, int]]:
    """Size and first pixel of a rectangle that holds the moving image at every angle.

    Its middle is the middle of the moving image as :func:`_turned` turns it, so that half a turn
    of the one is half a turn of the other.
    """
    side = math.ceil(scale * math.hypot(*moving_shape)) + 2
    rows, columns = (side + (side - m) % 2 for m in moving_shape)
    down, right = _between_centres(shape, moving_shape)
    corner = (down + (moving_shape[0] - rows) // 2, right + (moving_shape[1] - columns) // 2)
    return (rows, columns), corner


def _between_centres(shape: tuple[int, ...], moving_shape: tuple[int, ...]) -> tuple[int, int]:
    """A whole number of pixels, so that an image that is not turned is not interpolated."""
    down, right = (round((f - m) / 2) for f, m in zip(shape, moving_shape, strict=True))
    return down, right


def _turned(
    degrees: float,
    scale: float,
    mirrored: bool,
    shape: tuple[int, ...],
    moving_shape: tuple[int, ...],
) -> Matrix:
    """The moving image mirrored, magnified and turned, centre on (about) the fixed one's centre."""
    centre = image_centre(*moving_shape)
    magnified = np.diag([scale, -scale if mirrored else scale, 1.0])
    magnified[:2, 2] = np.asarray(centre) - magnified[:2, :2] @ np.asarray(centre)
    shift = _between_centres(shape, moving_shape)
    matrix: Matrix = rigid(degrees, shift, centre=centre) @ magnified
    return matrix


def _on_canvas(
    measure: Measure,
    moving: View,
    matrices: list[Matrix],
    size: tuple[int, int],
    corner: tuple[int, int],
) -> Tensor:
    """The channels of the moving image under each matrix, on a canvas that begins at a corner."""
    back = inverse(rigid(0, (-corner[0], -corner[1])) @ np.stack(matrices))
    both = torch.cat([moving.content, moving.mask]).float().expand(len(matrices), -1, -1, -1)
    canvas = warp(both, torch.from_numpy(back), size=size)
    weight = canvas[:, -1:]
    inside = (weight > 0.5).to(canvas)
    # Near its border the turned image is mixed with the zeros outside; that is undone.
    return masked_channels(measure, canvas[:, :-1] / weight.clamp(min=0.5) * inside, inside)


def distinct(starts: list[Start], fixed: View, moving: View, count: int) -> list[Start]:
    """The best ``count`` starts, no two of which are neighbours on the circle.

    Args:
        starts: in any order.
        fixed: at the scale at which they were tried.
        moving: likewise.
        count: at most so many.

    Returns:
        The best first; those whose score is not finite are left out.

    Example:
        >>> seen = View(torch.ones(1, 9, 9), torch.ones(1, 9, 9))
        >>> some = [Start(degrees, 1.0, False, np.eye(3), 0.5) for degrees in (0.0, 0.0, 180.0)]
        >>> [start.degrees for start in distinct(some, seen, seen, 3)]
        [0.0, 180.0]
    """
    radius = min(*fixed.mask.shape[-2:], *moving.mask.shape[-2:]) / 2
    apart = _APART * _STEP_PIXELS
    kept: list[Start] = []
    for start in sorted(starts, key=lambda s: -s.score):
        if not math.isfinite(start.score) or len(kept) == count:
            break
        gaps = (
            math.hypot(
                math.radians((start.degrees - k.degrees + 180) % 360 - 180),
                math.log(start.scale / k.scale),
            )
            for k in kept
            if k.mirrored == start.mirrored
        )
        if all(gap * radius >= apart for gap in gaps):
            kept.append(start)
    return kept
